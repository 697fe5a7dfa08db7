from __future__ import annotations

from functools import partial

import pytest

from poet.learning.online_learner import OnlineLearner
from poet.learning.scoring import Scoring
from poet.learning.tuned_learner import TunedLearner, declared_in
from poet.learning.tuners.arms import ArmTuner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.tunable import Choice, Space

SPACE, START = Space(model=Choice("a", "b")), {"model": "a"}


def learner(*, scored: bool = False) -> TunedLearner:
    return TunedLearner(
        OnlineLearner(seed=1),
        partial(ArmTuner, SPACE, START, seed=2),
        space=SPACE,
        scoring=Scoring(("model",), goals={}, objective=None, scored=scored),
        exploration=0.02,
        contextual=False,
    )


def calls(n: int, score: float | None, first: int = 0) -> list[Execution]:
    tries = (Attempt(Outcome.SUCCESS, 0.1),)
    return [
        Execution("w", k, 1e9, 0.1, Outcome.SUCCESS, 1, tries, score=score, values=(("model", "a"),))
        for k in range(first, first + n)
    ]


def trials(state: bytes) -> float:
    heir = learner()
    heir.load(state)
    return heir.exploration["trials"]


def test_trials_on_two_scales_are_not_mixed_in_a_pool_whoever_tells_first() -> None:
    told, untold = learner(), learner()
    told.update(calls(30, 0.5))
    untold.update(calls(40, None, 100))
    with_scores, without = told.contribution(), untold.contribution()
    assert with_scores is not None
    assert without is not None
    judge = learner()
    assert trials(judge.merged(None, without)) == 21  # by their utility: the first twenty answers say what is usual
    for one, other in ((with_scores, without), (without, with_scores)):
        assert trials(judge.merged(judge.merged(None, one), other)) == 30
    judge.load(judge.merged(judge.merged(None, with_scores), without))
    assert judge.tuner.expected(START) == pytest.approx(0.5)


def test_a_state_says_how_its_learner_was_declared() -> None:
    told = declared_in(learner().dump())
    assert told is not None
    assert told.exploration == 0.02
    assert declared_in(OnlineLearner().dump()) is None
    with pytest.raises(ValueError, match="no state of a learner of declared tunables"):
        declared_in(learner().dump()[:-1])
