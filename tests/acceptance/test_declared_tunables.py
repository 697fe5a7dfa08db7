"""Declared tunables from the decorator to the store and back, on a virtual clock and with real stores.

The seeds are fixed, so nothing here fails by chance; what is asked of what was learned is far from what chance gives.
"""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest

import poet as the_house
from houses import House
from poet import Choice, Goal, Integer, Objective, Real
from poet.app import build
from poet.decorator import bind
from poet.errors import ConfigurationError
from poet.settings import Settings
from poet.testing.clock import VirtualClock

BEST = {"x": 0.2, "model": "good"}


def worth(x: float, model: str) -> float:
    """Of a result; the declared values have .58, the best ones 1."""
    return max(0.0, 1.0 - 2.0 * (x - 0.2) ** 2 - (0.3 if model == "plain" else 0.0))


def declared(poet: Callable[..., Any], **told: Any) -> Any:
    @poet(enable_training=True, name="work", exploration=0.05, **told)
    def work(
        x: Annotated[float, Real(0.0, 1.0)] = 0.45,
        *,
        model: Annotated[str, Choice("plain", "good")] = "plain",
    ) -> tuple[float, str]:
        return x, model

    return work


def served(house: House, work: Any, calls: int, *, each: Callable[[Any], None] = lambda result: None) -> list[float]:
    """Worths of the results, in order; training comes after every fourth call."""
    found = []
    for number in range(calls):
        house.clock.sleep(0.5)
        result = work()
        found.append(worth(*result))
        each(result)
        if number % 4 == 3:
            house.agent.flush()
    return found


@pytest.mark.parametrize("late", [False, True], ids=["score=", "feedback"])
def test_values_get_better_while_the_function_serves(late: bool) -> None:
    house, dice = House(), random.Random(1)

    def told(result: Any) -> float:
        return min(max(worth(*result) + dice.gauss(0, 0.05), 0.0), 1.0)

    work = declared(house.poet, **({} if late else {"score": lambda result, seconds: told(result)}))
    found = served(house, work, 400, each=(lambda result: work.poet.feedback(told(result))) if late else lambda _: None)
    house.agent.flush()
    start = worth(0.45, "plain")
    assert sum(found[-100:]) / 100 > start + 0.3
    assert work.poet.parameters["model"] == "good"
    assert abs(float(work.poet.parameters["x"]) - 0.2) < 0.15
    latest = [version for version in work.poet.versions() if "expected score" in version.reason][-1]
    assert latest.estimates["score"].low <= latest.estimates["score"].value <= latest.estimates["score"].high
    spent = work.poet.status()["exploration"]
    assert spent["budget"] == 0.05
    assert spent["tries"] > 0
    assert spent["spent"] <= 5.0 + 0.05 * spent["calls"] + 2.0
    assert any("have tried other values" in sentence for sentence in work.poet.explain().sentences)


def test_where_nobody_scores_the_outcome_and_the_time_decide() -> None:
    house = House()

    @house.poet(enable_training=True, exploration=0.05, objective=Objective(latency_cost=0.5))
    def batch(*, size: Annotated[int, Integer(1, 256, log=True)] = 4) -> int:
        house.clock.sleep(0.05 + 1.2 / size + size / 600)  # best near 27
        return size

    for number in range(300):
        batch()
        if number % 4 == 3:
            house.agent.flush()
    assert 10 <= batch.poet.parameters["size"] <= 80


def test_the_callers_own_value_wins_and_is_learned_from_as_what_it_is() -> None:
    house = House()
    work = declared(house.poet, score=lambda result, seconds: worth(*result))
    for number in range(60):
        assert work(0.2, model="good") == (0.2, "good")
        said = work.poet.parameters
        assert {**{name: said[name] for name in BEST}, **dict(work.poet.last.values)} == BEST
        assert work.poet.last.draw == 0
        work()
        if number % 4 == 3:
            house.agent.flush()
    assert work.poet.parameters["model"] == "good"


def test_no_budget_tries_nothing() -> None:
    house = House()

    @house.poet(enable_training=True, exploration=0.0, score=lambda result, seconds: result)
    def work(*, x: Annotated[float, Real(0.0, 1.0)] = 0.5) -> float:
        return x

    for _ in range(40):
        assert work() == 0.5
        house.agent.flush()
    assert work.poet.status()["exploration"]["tries"] == 0


def test_what_is_pinned_paused_or_observed_is_not_tried() -> None:
    house = House()
    work = declared(house.poet, score=lambda result, seconds: worth(*result))
    served(house, work, 12)
    work.poet.pin(model="plain")
    assert {work()[1] for _ in range(60)} == {"plain"}
    work.poet.unpin()
    work.poet.pause()
    live = work.poet.parameters
    assert {work() for _ in range(40)} == {(live["x"], live["model"])}
    watching = House(learning="observe")
    other = declared(watching.poet, score=lambda result, seconds: worth(*result))
    assert set(served(watching, other, 40)) == {worth(0.45, "plain")}
    assert "been judged" in str(other.poet.explain())


def test_a_rollback_takes_tuned_values_back_and_ends_the_tries() -> None:
    house = House()
    work = declared(house.poet, score=lambda result, seconds: worth(*result))
    served(house, work, 200)
    assert work.poet.parameters["model"] == "good"
    back = work.poet.rollback(to=1, reason="test")
    assert (back["x"], back["model"]) == (0.45, "plain")
    assert {work() for _ in range(40)} == {(0.45, "plain")}


def test_goals_with_a_bound_keep_it_as_cheaply_as_can_be() -> None:
    house, dice = House(), random.Random(3)
    price = {"small": 0.01, "middle": 0.02, "large": 0.05}
    right = {"small": 0.55, "middle": 0.93, "large": 0.95}

    @house.poet(
        enable_training=True,
        exploration=0.2,
        goals={"right": Goal(weight=0.0, at_least=0.8), "dollars": Goal(high=0.1, weight=-10.0)},
        score=lambda model, seconds: {"dollars": price[model]},
    )
    def ask(*, model: Annotated[str, Choice("small", "middle", "large")] = "large") -> str:
        return model

    for number in range(600):
        model = ask()
        ask.poet.feedback({"right": float(dice.random() < right[model])})
        if number % 4 == 3:
            house.agent.flush()
    assert ask.poet.parameters["model"] == "middle"


def test_values_follow_the_context_where_it_matters() -> None:
    house, dice = House(), random.Random(5)

    @house.poet(
        enable_training=True,
        exploration=0.1,
        context="topic",
        score=lambda result, seconds: float(result[0] == {"code": "coder", "chat": "talker"}[result[1]]),
    )
    def answer(topic: str, *, model: Annotated[str, Choice("talker", "coder")] = "talker") -> tuple[str, str]:
        return model, topic

    right = []
    for number in range(400):
        model, topic = answer(dice.choice(("code", "chat")))
        right.append(model == {"code": "coder", "chat": "talker"}[topic])
        if number % 4 == 3:
            house.agent.flush()
    assert sum(right[-100:]) >= 85
    assert sum(right[:20]) < 20


def agent_at(folder: Path, clock: VirtualClock, seed: int) -> Any:
    return build(Settings(store=f"sqlite:///{folder}/poet.db", root=folder, seed=seed), clock=clock, thread=False)


def test_what_was_learned_survives_a_restart_and_scores_reach_executions_of_before(tmp_path: Path) -> None:
    clock = VirtualClock(100.0, wall=1.7e9)
    agent = agent_at(tmp_path, clock, 1)
    work = declared(bind(agent), score=lambda result, seconds: worth(*result))
    for number in range(160):
        clock.sleep(0.5)
        work()
        if number % 4 == 3:
            agent.flush()
    trials = work.poet.status()["exploration"]["trials"]
    agent.close()
    again = agent_at(tmp_path, clock, 2)
    heir = declared(bind(again), score=lambda result, seconds: worth(*result))
    heir()
    assert heir.poet.status()["exploration"]["trials"] == trials + 1
    assert heir.poet.parameters["model"] == "good"
    again.close()


def test_feedback_from_another_process_is_learned_from(tmp_path: Path) -> None:
    clock = VirtualClock(100.0, wall=1.7e9)
    one, other = agent_at(tmp_path, clock, 1), agent_at(tmp_path, clock, 2)
    serving, telling = declared(bind(one)), declared(bind(other))
    ids = []
    for _ in range(20):
        serving()
        ids.append(serving.poet.last.id)
    one.flush()
    for each in ids:
        telling.poet.feedback(0.5, each)
    other.flush()
    assert telling.poet.status()["exploration"]["trials"] == 20
    assert telling.poet.status()["feedback_lost"] == 0
    one.close()
    other.close()


def test_a_space_that_has_changed_keeps_what_still_means_something(tmp_path: Path) -> None:
    clock = VirtualClock(100.0, wall=1.7e9)
    agent = agent_at(tmp_path, clock, 1)
    work = declared(bind(agent), score=lambda result, seconds: worth(*result))
    for number in range(120):
        work()
        if number % 4 == 3:
            agent.flush()
    agent.close()
    again = agent_at(tmp_path, clock, 2)

    @bind(again)(enable_training=True, name="work", exploration=0.05, score=lambda result, seconds: worth(*result))
    def changed(
        x: Annotated[float, Real(0.1, 0.6)] = 0.45,
        *,
        model: Annotated[str, Choice("plain", "newest")] = "plain",
    ) -> tuple[float, str]:
        return x, model

    changed()
    assert changed.poet.parameters["model"] == "plain"
    assert 0.1 <= float(changed.poet.parameters["x"]) <= 0.6
    assert changed.poet.status()["faults"] == 0
    said = str(changed.poet.explain())
    assert "good" in said
    again.close()


@pytest.mark.parametrize("score", [math.nan, math.inf, -0.1, 1.5, "0.5", None, True and [1]])
def test_scores_that_are_none_are_refused_at_the_door(score: Any) -> None:
    house = House()
    work = declared(house.poet)
    work()
    with pytest.raises(ConfigurationError, match="score must be"):
        work.poet.feedback(score)


def test_a_score_function_that_fails_breaks_no_call_and_is_counted() -> None:
    house = House()

    def broken(result: Any, seconds: float) -> float:
        raise ZeroDivisionError

    work = declared(house.poet, score=broken)
    assert [work() for _ in range(3)]
    status = work.poet.status()
    assert status["faults"] == 3
    assert "ZeroDivisionError" in status["last_fault"]
    off_scale = declared(House().poet, score=lambda result, seconds: 7.0)
    off_scale()
    assert "the nearest is 1" in off_scale.poet.status()["last_fault"]


def test_feedback_for_an_execution_that_nobody_knows_is_counted_and_said() -> None:
    house = House()
    work = declared(house.poet)
    work()
    work.poet.feedback(0.5, "0badcafe-7")
    house.clock.sleep(600.0)
    house.agent.flush()
    house.clock.sleep(600.0)
    assert work.poet.status()["feedback_lost"] == 1


def test_constant_scores_and_a_body_that_ignores_its_tunable_change_nothing() -> None:
    house = House()

    @house.poet(enable_training=True, exploration=0.05, score=lambda result, seconds: 0.7)
    def same(*, k: Annotated[int, Integer(1, 9)] = 4) -> int:
        return 1

    for number in range(200):
        same()
        if number % 4 == 3:
            house.agent.flush()
    assert same.poet.parameters["k"] == 4
    assert [version.origin for version in same.poet.versions() if version["k"] != 4] == []


def test_a_million_distinct_contexts_stay_within_bounds() -> None:
    house = House()

    @house.poet(enable_training=True, context="user", score=lambda result, seconds: 0.5)
    def greet(user: str, *, tone: Annotated[str, Choice("warm", "brief")] = "warm") -> str:
        return tone

    for number in range(3000):
        greet(f"u{number * 7919 % 1_000_003}")
        if number % 200 == 199:
            house.agent.flush()
    learner = house.agent.trainee(greet.poet._enrolment).learner
    assert len(learner.dump()) < 80_000


def test_the_default_agent_tunes_in_the_background(tmp_path: Path) -> None:
    the_house.configure(store=f"sqlite:///{tmp_path}/poet.db", root=tmp_path, seed=3, train_interval=0.005)
    try:
        work = declared(the_house.poet, score=lambda result, seconds: worth(*result))
        for _ in range(50):
            work()
        the_house.flush()
        assert work.poet.status()["exploration"]["trials"] == 50
    finally:
        the_house.configure(store="memory:")


def test_a_version_says_what_a_pin_has_kept() -> None:
    house = House()
    work = declared(house.poet, score=lambda result, seconds: worth(*result))
    served(house, work, 4)
    work.poet.pin(x=0.45)
    served(house, work, 200)
    assert work.poet.parameters["x"] == 0.45
    assert work.poet.parameters["model"] == "good"
    assert "as pinned: x 0.45" in " ".join(version.reason for version in work.poet.versions())


def test_of_several_scores_for_one_execution_learning_counts_one() -> None:
    house = House()
    work = declared(house.poet, objective=Objective())  # its latency cost is derived from the first answers
    for _ in range(30):
        work()
        work.poet.feedback(0.5)
    house.agent.flush()
    trials = work.poet.status()["exploration"]["trials"]
    assert trials > 0
    work.poet.feedback(0.9)
    house.agent.flush()
    assert work.poet.status()["exploration"]["trials"] == trials


def test_status_tells_of_listening_and_convergence_of_functions_with_tunables_too() -> None:
    house, dice, failing = House(), random.Random(1), [0.1]

    @house.poet(enable_training=True, context="region", backoff=0.0, objective=Objective(latency_cost=0.1))
    def fetch(region: str, *, k: Annotated[int, Integer(1, 9)] = 4) -> int:
        house.clock.sleep(0.1)
        if dice.random() < failing[0]:
            raise ConnectionError
        return k

    said = {}
    for number in range(400):
        failing[0] = 0.1 if number < 300 else 0.9  # while retries are sent: it may be their doing
        with contextlib.suppress(ConnectionError):
            fetch("eu")
        house.agent.flush()
        if number >= 250:
            said[number] = fetch.poet.status()
    listening = [number for number, status in said.items() if status["listening"]]
    assert listening
    assert listening[0] >= 300
    assert all(said[number]["converged"] is False for number in listening)
