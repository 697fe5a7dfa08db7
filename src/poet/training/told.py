"""What trials tell the rest of the house of, and ask it for."""

from __future__ import annotations

from collections.abc import Callable

from poet.model.estimate import Estimate
from poet.model.event import Kind
from poet.model.parameters import ParameterSet
from poet.training.trainee import Trainee

Tell = Callable[[Kind, Trainee, str], None]
"""What has happened, to which function, in words."""
Paper = Callable[[Trainee, ParameterSet, float], Estimate | None]
"""By the calls recorded since a moment [Unix s], what a version would have gained per call; None: nobody can tell."""


def silent(kind: Kind, trainee: Trainee, detail: str) -> None:
    """Nobody wants to know."""


def unread(trainee: Trainee, version: ParameterSet, since: float) -> Estimate | None:
    """Nobody can tell."""
    return None
