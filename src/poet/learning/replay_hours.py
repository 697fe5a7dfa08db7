"""Parameters that follow the hours, in a replay: each call is walked through under what would hold when it began."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from poet.kernels.online.product_limit import Array, Whole
from poet.learning.replay_record import Table
from poet.learning.replay_walk import Candidate, Oracle, Walked, walk
from poet.model import phases
from poet.model.tunable import Value

OracleOf = Callable[[Candidate, "Whole | None"], Oracle]
"""The oracle of calls under a plan: of these rows, (m,); None: of all."""


class Plans(NamedTuple):
    """Which parameters each call has."""

    plans: tuple[Candidate, ...]
    whose: Whole | None  # (n,) of each call; None: all have the first

    @property
    def n_attempts(self) -> int:
        """Most attempts of a call."""
        return 1 + max(plan.retries for plan in self.plans)

    @property
    def n_requests(self) -> int:
        """Most requests of an attempt."""
        return 1 + max(plan.hedges for plan in self.plans)

    def part(self, rows: Whole) -> Plans:
        """Of some calls."""
        return self if self.whose is None else Plans(self.plans, self.whose[rows])

    def walk(self, table: Table, oracle: OracleOf) -> Walked:
        """The calls of ``table`` under their plans."""
        if self.whose is None:
            return walk(table, self.plans[0], oracle(self.plans[0], None))
        n = len(table.made)
        found = Walked(np.zeros(n, np.bool_), np.zeros(n), np.zeros(n, np.intp))
        for i, plan in enumerate(self.plans):
            rows = np.flatnonzero(self.whose == i)
            if len(rows):
                found.success[rows], found.seconds[rows], found.requests[rows] = walk(
                    table.rows(rows), plan, oracle(plan, rows)
                )
        return found


def plan_of(values: Mapping[str, Value]) -> Candidate:
    """The plan that plain ``values`` make; copies without a moment to send them are none."""
    hedges, delay = int(values.get("hedges", 0)), float(values.get("hedge_delay", 0.0))
    if not (hedges and delay):
        hedges, delay = 0, 0.0
    return Candidate(float(values["timeout"]), int(values["retries"]), float(values["backoff"]), hedges, delay)


def plans_of(values: Mapping[str, Value], started: Sequence[float] | Array) -> Plans:
    """The plans of calls that ``started`` then, Unix times [s], under values that may be for some hours only."""
    names = [name for name in values if phases.timed(name)]
    if not names:
        return Plans((plan_of(values),), None)
    minutes: dict[int, int] = {}  # of the epoch: nothing changes within one
    found: dict[Candidate, int] = {}
    whose = np.zeros(len(started), np.intp)
    for i, moment in enumerate(started):
        minute = int(moment // 60)
        if minute not in minutes:
            plan = plan_of(phases.at(values, moment))
            minutes[minute] = found.setdefault(plan, len(found))
        whose[i] = minutes[minute]
    return Plans(tuple(found) or (plan_of(phases.at(values, 0.0)),), whose)
