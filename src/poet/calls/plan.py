"""The values that a call reads in one load."""

from __future__ import annotations

from collections.abc import Mapping

from poet.calls.deadline import NEVER
from poet.model.parameters import ParameterSet
from poet.model.tunable import Integer, Real, Tunable
from poet.seams import Probe


class Plan:
    """One parameter set, compiled for the call path; never changed once it is made."""

    __slots__ = (
        "backoff",
        "deadline",
        "first",
        "hedge_delay",
        "hedges",
        "instant",
        "parameters",
        "probe_limit",
        "probe_retry",
        "retries",
        "stretched",
        "timeout",
        "version",
    )

    def __init__(
        self,
        parameters: ParameterSet,
        space: Mapping[str, Tunable],
        probe: Probe,
        deadline: float | None,
        *,
        instant: bool = False,
    ) -> None:
        """instant: never pause, as in users' tests."""
        self.parameters = parameters
        self.version = parameters.version
        self.instant = instant
        self.timeout = parameters.number("timeout")
        self.retries = int(parameters.number("retries"))
        self.backoff = parameters.number("backoff")
        self.hedges = int(parameters.number("hedges"))  # copies of an attempt, at most
        self.hedge_delay = parameters.number("hedge_delay")  # the k-th is sent after k times this [s]
        if probe.calm:
            self.retries, self.hedges = (_least(space.get(name)) for name in ("retries", "hedges"))
        self.deadline = NEVER if deadline is None else deadline
        self.first = min(self.timeout, self.deadline)  # limit of a first attempt
        longest, most = space["timeout"], space["retries"]
        stretched = self.timeout * probe.stretch
        if isinstance(longest, Real):
            stretched = max(self.timeout, longest.clip(stretched))
        self.stretched = min(stretched, self.deadline)
        self.probe_limit = probe.limit if self.stretched > self.first else 0.0
        may_grow = not isinstance(most, Integer) or self.retries < most.high
        self.probe_retry = probe.retry if may_grow else 0.0
        if not 0 < self.hedge_delay < self.stretched:  # none would ever be sent
            self.hedges = 0


def _least(tunable: Tunable | None) -> int:
    """The fewest that the bounds allow."""
    return max(0, tunable.low) if isinstance(tunable, Integer) else 0
