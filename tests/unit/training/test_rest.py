"""Learners at rest are the same learners, to the bit, whoever else is awake meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from houses import House
from poet.errors import PoetTimeout
from poet.learning.basic_rule import BasicRule
from poet.learning.online_learner import ExecutionFeedback, OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.seams import Learner
from poet.training import rest, trainer
from poet.training.rest import AWAKE, Rest

DELAY = Real(0.001, 120.0, log=True)
SPACE = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)
PLAIN = Space(timeout=DELAY, retries=Integer(0, 5))
LIVE: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
WORTH = Objective(latency_cost=0.1)

MAKERS: dict[str, Callable[[], Learner]] = {
    "hedging": lambda: OnlineLearner(space=SPACE, declared={**LIVE, "hedges": 0, "hedge_delay": 1.0}, seed=3),
    "not hedging": lambda: OnlineLearner(space=PLAIN, objective=WORTH, declared=LIVE, momentum=0.5, seed=4),
    "basic": lambda: BasicRule(space=PLAIN, declared=LIVE),
}


def calls(seed: int, n: int) -> list[Execution]:
    dice = random.Random(seed)
    made = []
    for number in range(n):
        seconds = dice.lognormvariate(-1.0, 0.7)
        attempts: tuple[Attempt, ...] = (Attempt(Outcome.SUCCESS, seconds),)
        if dice.random() < 0.1:
            attempts = (Attempt(Outcome.ERROR, 0.05), Attempt(Outcome.SUCCESS, seconds, 0.02))
        if dice.random() < 0.1:
            attempts = (Attempt(Outcome.TIMEOUT, 3.0), Attempt(Outcome.SUCCESS, seconds, 1.0, hedge=True))
        made.append(Execution("w", number, 1000.0 + number, seconds, attempts[-1].outcome, 1, attempts))
    return made


@pytest.mark.parametrize("kind", MAKERS)
def test_a_learner_that_rests_between_all_calls_does_what_its_twin_does_that_never_rests(kind: str) -> None:
    there = Rest()
    awake, resting = MAKERS[kind](), MAKERS[kind]()
    live = dict(LIVE)
    for number, execution in enumerate(calls(5, 150)):
        packed = there.packed(resting)
        assert packed is not None
        resting = there.unpacked(packed)
        for learner in (awake, resting):
            learner.update([execution])
        assert awake.due() == resting.due()
        suggestion = awake.suggest(live)
        assert resting.suggest(live) == suggestion
        assert awake.probe() == resting.probe()
        live = live if suggestion is None else dict(suggestion.values)
        if number % 40 == 39:
            assert awake.contribution() == resting.contribution()
        assert awake.dump() == resting.dump()


def test_at_rest_it_is_the_same_bytes_again_and_shares_what_never_changes() -> None:
    there = Rest()
    learner: Any = MAKERS["not hedging"]()
    learner.update(calls(1, 100))
    packed = there.packed(learner)
    assert packed is not None
    woken: Any = there.unpacked(packed)
    assert there.packed(woken) == packed
    assert woken._space is learner._space
    assert woken._objective is WORTH
    assert woken._declared is not None
    assert woken.dump() == learner.dump()
    assert there.packed(learner) == packed  # it was left as it was


def test_what_was_learned_by_name_rests_too() -> None:
    there, learner = Rest(), OnlineLearner(seed=1)
    said = ExecutionFeedback("ask", "w-1", True, 1.0)
    for _ in range(5):
        learner.update_parameters(said, {"timeout": 30.0, "retries": 3})
    packed = there.packed(learner)
    assert packed is not None
    assert there.unpacked(packed).dump() == learner.dump()


def test_who_was_woken_first_goes_to_rest_first_and_never_the_one_in_use() -> None:
    class One:
        def __init__(self) -> None:
            self.rested = 0

        def sleep(self) -> None:
            self.rested += 1

    there = Rest(awake=2)
    first, second, third = One(), One(), One()
    for each in (first, second, first, third):
        there.woken(each)
    assert (first.rested, second.rested, third.rested) == (0, 1, 0)
    there.woken(second)
    assert (first.rested, second.rested, third.rested) == (1, 1, 0)


class Restless(OnlineLearner):
    """A kind that cannot be packed."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("not me")


def test_a_kind_that_cannot_be_packed_stays_awake() -> None:
    assert Rest().packed(Restless()) is None


def house(awake: int, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(trainer, "Rest", lambda: Rest(awake))
    return House()


def run(house: House) -> list[Any]:
    """Five functions, called in turn and trained in between; all that is known in the end."""
    dice = random.Random(3)

    def service(usual: float) -> Callable[[], int]:
        def ask() -> int:
            house.clock.sleep(usual * dice.lognormvariate(0.0, 0.6) * (30.0 if dice.random() < 0.04 else 1.0))
            if dice.random() < 0.1:
                raise ConnectionError
            return 1

        return ask

    made = [house.poet(name=f"f{i}", enable_training=True, timeout=20.0)(service(0.1 * (i + 1))) for i in range(5)]
    for _ in range(12):
        for function in made:
            for _ in range(5):
                with suppress(ConnectionError, PoetTimeout):
                    function()
        house.agent.flush()
    return [
        (
            function.poet.status() | {"faults": 0, "training_seconds": 0.0},
            dict(function.poet.parameters),
            function.poet.parameters.reason,
            function.poet.explain(),
            house.store.load_learner(function.poet._enrolment.key),
        )
        for function in made
    ]


def test_functions_whose_learners_take_turns_at_rest_learn_what_they_learn_awake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few, all_of_them = house(2, monkeypatch), house(AWAKE, monkeypatch)
    packed: list[int] = []
    original = rest.Rest.packed

    def counted(self: Rest, learner: Learner) -> bytes | None:
        packed.append(self._most)
        return original(self, learner)

    monkeypatch.setattr(rest.Rest, "packed", counted)
    monkeypatch.setattr(trainer, "Rest", lambda: Rest(2))
    told = run(few)
    assert len(packed) > 50
    assert set(packed) == {2}
    monkeypatch.setattr(trainer, "Rest", lambda: Rest(AWAKE))
    assert run(all_of_them) == told
    assert set(packed) == {2}
    assert any(version > 1 for status, *_ in told for version in [status["version"]])


def test_a_learner_that_refuses_to_rest_goes_on_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    restless = house(2, monkeypatch)
    asked = [restless.poet(name=f"f{i}", enable_training=True)(lambda: 1) for i in range(4)]
    for ask in asked:
        ask()
        ask.poet._trainee.learner = Restless()
    for _ in range(3):
        for ask in asked:
            ask()
        restless.agent.flush()
    assert [ask.poet.explain().executions for ask in asked] == [4, 4, 4, 4]
