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


@pytest.mark.parametrize(
    ("make", "space", "calls"),
    [
        (lambda space, start: SpsaTuner(space, start, seed=3), SPACE, 5_000),
        (lambda space, start: ArmTuner(space, start, seed=3), FEW, 5_000),
        (lambda space, start: GaussianTuner(space, start, seed=3), SPACE, 1_000),
        (lambda space, start: MixtureTuner(space, start, seed=3), FEW, 2_000),
        (lambda space, start: ChosenTuner(space, start, seed=3), SPACE, 1_000),
        (lambda space, start: ChosenTuner(space, start, seed=3), FEW, 2_000),
    ],
    ids=["spsa", "arms", "gaussian", "mixture", "chosen of ranges", "chosen of few"],
)
def test_a_tuner_keeps_the_laws(make: Make, space: Space, calls: int) -> None:
    check_tuner(make, space=space, calls=calls, rounds=90)


@pytest.mark.parametrize(
    ("make", "space"),
    [
        (lambda space, start: SpsaTuner(space, start, constraints=2), SPACE),
        (lambda space, start: ArmTuner(space, start, constraints=2), FEW),
        (lambda space, start: GaussianTuner(space, start, constraints=2), SPACE),
        (lambda space, start: MixtureTuner(space, start, constraints=2), FEW),
        (lambda space, start: ChosenTuner(space, start, constraints=2), SPACE),
        (lambda space, start: ChosenTuner(space, start, constraints=2, contextual=True), FEW),
    ],
    ids=["spsa", "arms", "gaussian", "mixture", "chosen of ranges", "chosen of few, by context"],
)
def test_a_tuner_with_constraints_keeps_the_laws(make: Make, space: Space) -> None:
    check_tuner(make, space=space, calls=1_000, rounds=45, constraints=2)
