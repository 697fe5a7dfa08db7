"""What an hour of one function was like, in a few numbers that outlive its executions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

HOUR = 3600.0  # [s]


class Hour(NamedTuple):
    """The executions of one function that started within an hour and used one version of its parameters.

    All fields but the first two add up: two of them about different executions make one by addition.
    """

    start: float  # of the hour, Unix time [s]
    version: int
    calls: int
    outcomes: tuple[int, ...]  # executions by ``Outcome``
    requests: int  # attempts that were made, hedges included
    hedges: int
    seconds: float  # summed durations [s]
    scored: int  # executions with a score
    score: float  # summed
    latency: Mapping[int, int]  # durations of executions that were made: bin of ``kernels.online.bins`` -> how many

    @property
    def failures(self) -> int:
        """Executions without an answer."""
        return self.calls - self.outcomes[0] - self.outcomes[3]
