"""What an analysis goes by, beside the calls themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from poet.errors import ConfigurationError
from poet.learning.batch.calls import Calls
from poet.model.objective import Objective
from poet.model.phases import zone_of
from poet.model.tunable import Value

LEVEL = 0.9  # of all intervals

Costs = tuple[float, float, float]
"""Of a false alarm, > 0, and of a missed incident, > 0, in one unit; and incidents per day that are expected, > 0."""


@dataclass(frozen=True, slots=True)
class Asked:
    """objective: what calls are worth. live: the values in force; empty: not known. seed: of all that is drawn.

    alarms: false alarms per day that each series of a function may have, > 0. costs: in their place what a false alarm
    and a missed incident cost, and how many incidents come per day; None: the rate holds.
    space: hard bounds of parameters, lowest and highest. zone: that hours of the day are told in, as the IANA's data
    base names it; empty: UTC.
    """

    objective: Objective = field(default_factory=Objective)
    live: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    alarms: float = 0.01
    costs: Costs | None = None
    space: Mapping[str, Sequence[float]] = field(default_factory=dict)
    zone: str = ""

    def __post_init__(self) -> None:
        if not (self.alarms > 0 and math.isfinite(self.alarms)):
            raise ConfigurationError(f"false alarms per day must be > 0, got {self.alarms!r}; 0.01 is one in 100 days")
        if self.costs is not None and not all(x > 0 and math.isfinite(x) for x in self.costs):
            raise ConfigurationError(f"costs and incidents per day must be > 0, got {self.costs!r}")
        if zone_of(self.zone) is None:
            raise ConfigurationError(f"no time zone {self.zone!r}; say it as 'Europe/Berlin', or 'UTC'")

    def scaled(self, calls: Calls) -> Asked:
        """With a latency cost: derived from the median answer where none was declared."""
        if self.objective.latency_cost is not None:
            return self
        answered = calls.seconds[calls.good & (calls.seconds > 0)]
        typical = float(np.median(answered)) if len(answered) else 1.0
        return replace(self, objective=self.objective.for_latency(typical))

    @property
    def value(self) -> float:
        """Of an answer [utility]."""
        return self.objective.value

    @property
    def latency_cost(self) -> float:
        """[utility/s]; 0.0 before ``scaled``."""
        return self.objective.latency_cost or 0.0

    @property
    def timeout(self) -> float | None:
        """The live one [s]; None: not known."""
        live = self.live.get("timeout")
        return float(live) if isinstance(live, int | float) and not isinstance(live, bool) else None
