"""Values per context: when they come, when they go, and what they are called."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import pytest

from poet.learning.contexts import MOST, ContextLearner
from poet.learning.online_learner import OnlineLearner
from poet.model.contexts import parts
from poet.model.execution import Attempt, Context, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.testing.learners import valid

LIVE: Mapping[str, Value] = {"timeout": 30.0, "retries": 2, "backoff": 0.1}
SPACE = Space(timeout=Real(0.05, 60.0, log=True), retries=Integer(0, 3))
OBJECTIVE = Objective(latency_cost=0.2, attempt_cost=0.03)

Service = Callable[[int, Context], tuple[float, float]]  # median [s] and share of hangs


def made(seed: int = 0, **options: object) -> ContextLearner:
    return ContextLearner(
        OnlineLearner(objective=OBJECTIVE, space=SPACE, declared=LIVE, seed=seed),
        **options,  # type: ignore[arg-type]
    )


class Life:
    """Calls of a service by region, and what a learner makes of them."""

    def __init__(self, learner: ContextLearner, service: Service, seed: int = 0) -> None:
        self.learner, self.service = learner, service
        self.dice = random.Random(seed)
        self.live: Mapping[str, Value] = dict(LIVE)
        self.reasons: list[str] = []
        self.calls = 0

    def context(self) -> Context:
        return (
            ("region", self.dice.choice(("eu", "us", "us"))),
            ("user", f"u{self.dice.randrange(10**6)}"),
            ("size", self.dice.randrange(1000)),
        )

    def through(self, calls: int) -> Life:
        for _ in range(calls):
            self.one()
        return self

    def one(self) -> None:
        context = self.context()
        median, hangs = self.service(self.calls, context)
        values = valid(self.live, context)
        attempts: list[Attempt] = []
        for _ in range(int(values["retries"]) + 1):
            took = math.inf if self.dice.random() < hangs else median * math.exp(0.5 * self.dice.gauss(0, 1))
            good = took <= float(values["timeout"])
            attempts.append(Attempt(Outcome.SUCCESS if good else Outcome.TIMEOUT, min(took, float(values["timeout"]))))
            if good:
                break
        seconds = sum(each.seconds for each in attempts)
        self.learner.update(
            [
                Execution(
                    "test",
                    self.calls,
                    float(self.calls),
                    seconds,
                    attempts[-1].outcome,
                    1,
                    tuple(attempts),
                    "",
                    context,
                )
            ]
        )
        self.calls += 1
        suggestion = self.learner.suggest(self.live)
        if suggestion is not None:
            self.live = dict(suggestion.values)
            self.reasons.append(suggestion.reason)

    @property
    def cells(self) -> set[str]:
        return {cell for _, cell in map(parts, self.live) if cell}


def apart(t: int, context: Context) -> tuple[float, float]:
    return (0.1, 0.05) if context[0][1] == "eu" else (2.0, 0.02)


def alike(t: int, context: Context) -> tuple[float, float]:
    return (0.5, 0.03)


def test_where_regions_differ_one_gets_values_of_its_own() -> None:
    life = Life(made(), apart).through(900)
    assert life.cells in ({"region=eu"}, {"region=us"})
    (cell,) = life.cells
    assert {f"timeout@{cell}", f"retries@{cell}"} == {name for name in life.live if "@" in name}
    quick, slow = (valid(life.live, (("region", region),)) for region in ("eu", "us"))
    assert float(quick["timeout"]) < 0.5 * float(slow["timeout"])
    assert any(cell in reason and "of the calls" in reason for reason in life.reasons)
    unseen = valid(life.live, (("region", "mars"),))
    assert unseen == {name: value for name, value in life.live.items() if "@" not in name}


def test_where_they_are_alike_all_is_as_without_contexts() -> None:
    life = Life(made(), alike).through(900)
    plain = OnlineLearner(objective=OBJECTIVE, space=SPACE, declared=LIVE, seed=0)
    other = Life(ContextLearner(plain, most=0), alike).through(900)
    assert not life.cells
    assert life.live == other.live


def test_values_are_taken_back_when_regions_have_become_alike() -> None:
    life = Life(made(), lambda t, context: apart(t, context) if t < 600 else (0.1, 0.05)).through(600)
    assert life.cells
    life.through(4000)
    assert not life.cells
    assert "taken back" in "; ".join(life.reasons)
    assert set(life.live) == set(LIVE)


def test_values_keep_within_the_bounds_of_the_plain_names() -> None:
    life = Life(made(), apart)
    for _ in range(1200):
        life.one()
        for name, value in life.live.items():
            base = parts(name)[0]
            if base in SPACE:
                assert SPACE.check({base: value}) == {base: value}


def test_there_are_never_more_cells_than_allowed() -> None:
    def by_region(t: int, context: Context) -> tuple[float, float]:
        return 0.02 * 3.0 ** float(str(context[0][1])[1:]), 0.02

    class Many(Life):
        def context(self) -> Context:
            return (("region", f"r{self.dice.randrange(6)}"),)

    life = Many(made(most=2), by_region).through(2500)
    assert 0 < len(life.cells) <= 2 < MOST


def test_a_version_from_elsewhere_brings_its_cells_along() -> None:
    """Their values are taken up, judged, and, where nothing is gained by them, taken back."""
    life = Life(made(), alike)
    life.live = {**LIVE, "timeout@region=eu": 9.0, "retries@region=eu": 0, "timeout@nonsense": 3.0}
    life.through(20)
    assert life.cells == {"region=eu"}
    assert life.live["retries@region=eu"] in (0, 1, 2, 3)
    assert life.learner.cells == ("region=eu",)


def test_it_tells_what_was_split_and_what_was_not() -> None:
    life = Life(made(), apart).through(900)
    (cell,) = life.cells
    told = life.learner.explain(life.live)
    text = "\n".join(told.sentences)
    assert told.executions == 900
    assert f"context {cell}: values of its own" in text
    assert "size is cut at" in text
    assert "user has more values than" in text
    assert "not found to fare otherwise" in text


def test_a_state_of_a_learner_without_contexts_is_taken_up() -> None:
    plain = OnlineLearner(objective=OBJECTIVE, space=SPACE, declared=LIVE)
    for number in range(60):
        plain.update([Execution("w", number, 0.0, 0.2, Outcome.SUCCESS, 1, (Attempt(Outcome.SUCCESS, 0.2),))])
    learner = made()
    learner.load(plain.dump())
    assert learner.explain(LIVE).executions == 60


def test_a_state_with_cells_goes_on_to_the_bit() -> None:
    one = Life(made(), apart, seed=3).through(700)
    assert one.cells
    state = one.learner.dump()
    other = Life(made(), apart, seed=3)
    other.learner.load(state)
    assert other.learner.dump() == state
    other.dice.setstate(one.dice.getstate())
    other.live, other.calls = one.live, one.calls
    one.through(500)
    other.through(500)
    assert one.live == other.live
    assert one.learner.dump() == other.learner.dump()
    assert len(state) <= 8192 + 4096 * (1 + len(one.cells))


def test_a_damaged_state_changes_nothing() -> None:
    life = Life(made(), apart, seed=3).through(700)
    state = life.learner.dump()
    for place in range(8, len(state), 97):
        torn = bytearray(state)
        torn[place] ^= 0x55
        with pytest.raises(ValueError, match="no state"):
            life.learner.load(bytes(torn))
        assert life.learner.dump() == state


def test_a_fleet_finds_the_cells_together_and_knows_what_each_has_seen() -> None:
    lives = [Life(made(), apart, seed=seed) for seed in range(3)]
    shared: bytes | None = None
    live: Mapping[str, Value] = dict(LIVE)
    for _ in range(30):
        for life in lives:
            life.live = live
            life.through(20)
            live = life.live
            told = life.learner.contribution()
            assert told is not None
            shared = life.learner.merged(shared, told)
            life.learner.load(shared)
    assert {parts(name)[1] for name in live} - {""} in ({"region=eu"}, {"region=us"})
    for life in lives:
        assert shared is not None
        life.learner.load(shared)
        assert life.learner.explain(live).executions == 3 * 30 * 20
        assert len(life.learner.cells) == 1
        assert life.learner.contribution() is None


def test_a_large_cell_makes_experiments_with_our_load_and_a_small_one_goes_by_those_of_the_rest() -> None:
    class Rare(Life):
        def context(self) -> Context:
            return (("region", "sa" if self.dice.random() < 0.06 else self.dice.choice(("eu", "us", "ap", "me"))),)

    large = Life(made(), apart).through(700)
    small = Rare(made(), lambda t, c: (9.0, 0.5) if c[0][1] == "sa" else (0.1, 0.02)).through(2500)
    assert small.cells == {"region=sa"}
    for life, alone in ((large, True), (small, False)):
        (cell,) = life.cells
        own, rest = life.learner._own[cell].learner, life.learner._base
        assert (own._strain is not rest._strain) is alone
        assert own._strain is not None


def test_harm_that_one_cell_has_found_is_known_to_all() -> None:
    life = Life(made(), apart).through(700)
    (cell,) = life.cells
    own, rest = life.learner._own[cell].learner._strain, life.learner._base._strain
    assert own is not None
    assert rest is not None
    assert not rest.feared
    own.warned()
    life.through(800)
    assert rest.feared
