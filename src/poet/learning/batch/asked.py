"""What an analysis goes by, beside the calls themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from poet.learning.batch.calls import Calls
from poet.model.objective import Objective
from poet.model.tunable import Value


@dataclass(frozen=True, slots=True)
class Asked:
    """objective: what calls are worth. live: the values in force; empty: not known. seed: of all that is drawn.

    alarms: false alarms per day that each series of a function may have, > 0.
    """

    objective: Objective = field(default_factory=Objective)
    live: Mapping[str, Value] = field(default_factory=dict)
    seed: int = 0
    alarms: float = 0.01

    def scaled(self, calls: Calls) -> Asked:
        """With a latency cost: derived from the median answer where none was declared."""
        if self.objective.latency_cost is not None:
            return self
        answered = calls.seconds[calls.good & (calls.seconds > 0)]
        typical = float(np.median(answered)) if len(answered) else 1.0
        return Asked(self.objective.for_latency(typical), self.live, self.seed, self.alarms)

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
