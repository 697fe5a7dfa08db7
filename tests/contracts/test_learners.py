"""Both learners keep the laws of learners."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from poet.learning.basic_rule import BasicRule
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Execution
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space
from poet.seams import Learner
from poet.testing.learners import BOUNDS, _late_scores_do_no_harm, check_learner


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


def test_the_law_of_late_scores_is_no_empty_word() -> None:
    with pytest.raises(AssertionError, match="it wants no scores"):
        _late_scores_do_no_harm(Meddling, BOUNDS, 0)
    with pytest.raises(ValueError, match="math domain error"):
        _late_scores_do_no_harm(Fragile, BOUNDS, 0)
