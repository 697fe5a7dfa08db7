"""Both learners keep the laws of learners."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pytest

from poet.learning.basic_rule import BasicRule
from poet.learning.contexts import ContextLearner
from poet.learning.online_learner import OnlineLearner
from poet.learning.scoring import Scoring
from poet.learning.tuned_learner import TunedLearner
from poet.learning.tuners.chosen import ChosenTuner
from poet.model.execution import Context, Execution
from poet.model.objective import Objective
from poet.model.tunable import Choice, Integer, Real, Space, Value
from poet.seams import Learner
from poet.testing.learners import BOUNDS, LIVE, Traffic, _late_scores_do_no_harm, check_learner


class Meddling(BasicRule):
    """Wants no scores, and remembers them all the same."""

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        self.update(executions)


class Fragile(BasicRule):
    """Wants scores, and cannot bear odd ones."""

    scores = True

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        for execution in executions:
            math.sqrt(execution.score or 0.0)


NARROW = Space(timeout=Real(0.15, 40.0, log=True), retries=Integer(1, 4))


@pytest.mark.parametrize(
    "make",
    [
        BasicRule,
        OnlineLearner,
        lambda: OnlineLearner(objective=Objective(latency_cost=0.3), seed=7),
        lambda: OnlineLearner(objective=Objective(success_target=0.99), seed=3),
        lambda: OnlineLearner(objective=Objective(latency_target=1.0), seed=3),
        lambda: OnlineLearner(0.2, 0.5, 0.95, 0.5, seed=5),
    ],
    ids=["basic", "derived cost", "declared cost", "success target", "latency target", "other pace"],
)
def test_a_learner_keeps_the_laws(make: Callable[[], Learner]) -> None:
    check_learner(make)


@pytest.mark.parametrize(
    "make", [lambda: BasicRule(space=NARROW), lambda: OnlineLearner(space=NARROW)], ids=["basic", "online"]
)
def test_a_learner_keeps_within_narrow_bounds(make: Callable[[], Learner]) -> None:
    check_learner(make, space=NARROW)


DELAY = Real(0.001, 120.0, log=True)
HEDGING = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)


def test_a_learner_that_hedges_keeps_the_laws() -> None:
    check_learner(lambda: OnlineLearner(space=HEDGING), space=HEDGING)


def region_and_more(number: int) -> Context:
    dice = random.Random(number)
    return (
        ("region", dice.choice(("eu", "us"))),
        ("size", dice.randrange(10_000)),
        ("user", f"u{dice.randrange(10**6)}"),
        ("an odd, =@<name>", dice.random() < 0.5),
    )


@pytest.mark.parametrize(
    "objective",
    [None, Objective(success_target=0.99)],
    ids=["derived cost", "success target"],
)
def test_a_learner_by_context_keeps_the_laws(objective: Objective | None) -> None:
    check_learner(
        lambda: ContextLearner(OnlineLearner(objective=objective, seed=2)), calls=800, contexts=region_and_more
    )


def test_without_contexts_a_learner_by_context_keeps_the_laws() -> None:
    check_learner(lambda: ContextLearner(OnlineLearner(seed=4)), calls=600)


def test_a_learner_by_context_that_hedges_keeps_the_laws_within_narrow_bounds() -> None:
    space = Space(timeout=NARROW["timeout"], retries=NARROW["retries"], hedges=Integer(0, 1), hedge_delay=DELAY)
    check_learner(
        lambda: ContextLearner(OnlineLearner(space=space, seed=1), ("region", "size")),
        space=space,
        calls=800,
        contexts=region_and_more,
    )


@pytest.mark.parametrize("make", [BasicRule, OnlineLearner], ids=["basic", "online"])
def test_who_knows_nothing_of_contexts_is_not_troubled_by_them(make: Callable[[], Learner]) -> None:
    check_learner(make, calls=600, contexts=region_and_more)


OWN: dict[str, tuple[Space, Mapping[str, Value]]] = {
    "choices": (Space(model=Choice("a", "b"), k=Integer(0, 4)), {"model": "a", "k": 4}),
    "ranges": (
        Space(x=Real(0.0, 1.0), n=Integer(1, 500, log=True), model=Choice("a", "b")),
        {"x": 0.9, "n": 4, "model": "a"},
    ),
}
TUNED_BYTES = 66_000  # of a state, with a tuner's


@pytest.mark.parametrize("own", list(OWN))
@pytest.mark.parametrize("contextual", [False, True], ids=["plain", "by context"])
def test_a_learner_with_declared_tunables_keeps_the_laws(own: str, contextual: bool) -> None:
    tunables, start = OWN[own]

    def make() -> Learner:
        operational = OnlineLearner(seed=2)
        return TunedLearner(
            ContextLearner(operational) if contextual else operational,
            partial(ChosenTuner, tunables, start, seed=1, contextual=contextual),
            space=tunables,
            scoring=Scoring(tuple(tunables), goals={}, objective=None, scored=True),
            exploration=0.05,
            contextual=contextual,
        )

    check_learner(
        make,
        space=Space(**BOUNDS, **tunables),
        calls=150,
        declared={**LIVE, **start},
        most_bytes=TUNED_BYTES,
        contexts=region_and_more if contextual else None,
    )


def test_the_law_of_late_scores_is_no_empty_word() -> None:
    with pytest.raises(AssertionError, match="it wants no scores"):
        _late_scores_do_no_harm(Meddling, BOUNDS, 0, Traffic())
    with pytest.raises(ValueError, match="math domain error"):
        _late_scores_do_no_harm(Fragile, BOUNDS, 0, Traffic())
