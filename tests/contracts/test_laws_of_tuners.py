"""All tuners keep the laws of tuners."""

from __future__ import annotations

import pytest

from poet.learning.tuners.arms import ArmTuner
from poet.learning.tuners.chosen import ChosenTuner
from poet.learning.tuners.gaussian import GaussianTuner
from poet.learning.tuners.mixture import MixtureTuner
from poet.learning.tuners.spsa import SpsaTuner
from poet.model.tunable import Choice, Integer, Real, Space
from poet.testing.tuners import SPACE, Make, check_tuner

FEW = Space(
    model=Choice("small", "medium", "large"),
    threshold=Real(0.0, 1.0, step=0.5),
    depth=Integer(1, 3, when={"model": ("medium", "large")}),
)
DEAR = Space(model=Choice("small", "large", change_cost=5.0), temperature=Real(0.0, 1.5, change_cost=0.5))
WIDE = Space(**{f"share{k}": Real(0.0, 1.0) for k in range(30)}, prompt=Choice(*"abcdefgh"))


@pytest.mark.parametrize(
    ("make", "space", "calls"),
    [
        (lambda space, start: SpsaTuner(space, start, seed=3), SPACE, 5_000),
        (lambda space, start: SpsaTuner(space, start, seed=3, coins=True), SPACE, 500),
        (lambda space, start: SpsaTuner(space, start, seed=3), DEAR, 500),
        (lambda space, start: SpsaTuner(space, start, seed=3), WIDE, 500),
        (lambda space, start: ArmTuner(space, start, seed=3), FEW, 5_000),
        (lambda space, start: MixtureTuner(space, start, seed=3), FEW, 1_000),
        (lambda space, start: ChosenTuner(space, start, seed=3), FEW, 500),
        (lambda space, start: ChosenTuner(space, start, seed=3, contextual=True), FEW, 500),
        (lambda space, start: ChosenTuner(space, start, seed=3), WIDE, 500),
    ],
    ids=[
        "spsa",
        "spsa of coins",
        "spsa, dear changes",
        "spsa, wide",
        "arms",
        "mixture",
        "chosen of few",
        "chosen by context",
        "chosen of many",
    ],
)
def test_a_tuner_keeps_the_laws(make: Make, space: Space, calls: int) -> None:
    check_tuner(make, space=space, calls=calls, rounds=60)


@pytest.mark.parametrize(
    "make",
    [
        lambda space, start: GaussianTuner(space, start, seed=3),
        lambda space, start: ChosenTuner(space, start, seed=3),
        lambda space, start: ChosenTuner(space, start, seed=3, contextual=True),
    ],
    ids=["gaussian", "chosen of ranges", "chosen of ranges, by context"],
)
def test_a_tuner_of_few_trials_keeps_the_laws(make: Make) -> None:
    check_tuner(make, calls=400, rounds=24)


@pytest.mark.parametrize(
    ("make", "space"),
    [
        (lambda space, start: SpsaTuner(space, start, constraints=2), SPACE),
        (lambda space, start: ArmTuner(space, start, constraints=2), FEW),
        (lambda space, start: MixtureTuner(space, start, constraints=2), FEW),
        (lambda space, start: ChosenTuner(space, start, constraints=2), FEW),
    ],
    ids=["spsa", "arms", "mixture", "chosen of few"],
)
def test_a_tuner_with_constraints_keeps_the_laws(make: Make, space: Space) -> None:
    check_tuner(make, space=space, calls=500, rounds=45, constraints=2)
