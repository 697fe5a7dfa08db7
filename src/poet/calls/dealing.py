"""Which of several plans a call gets, while a function tries some beside each other.

A cell whose plans are dealt has none of its own: so calls of all others look for nothing.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate

from poet.calls.plan import Plan
from poet.model.blocks import block_of

Deal = Callable[[], Plan]


def by_coin(plans: Sequence[Plan], shares: Sequence[float], flip: Callable[[], float]) -> Deal:
    """Each call throws a coin of its own. shares: of the plans, > 0, together 1. flip: uniform in [0, 1)."""
    if len(plans) == 2:
        first, second = plans
        share = shares[0]

        def tossed() -> Plan:
            return first if flip() < share else second

        return tossed
    bounds = list(accumulate(shares))[:-1]

    def drawn() -> Plan:
        return plans[bisect(bounds, flip())]

    return drawn


def by_block(
    plans: Sequence[Plan], shares: Sequence[float], wall: Callable[[], float], *, seconds: float, seed: str
) -> Deal:
    """All calls of a block of time get the same, in every process: for calls that have an effect on each other.

    wall: Unix time [s]. seconds: length of a block, > 0. seed: of the experiment.
    """
    bounds = list(accumulate(shares))[:-1]
    number, plan = -1, plans[0]

    def dealt() -> Plan:
        nonlocal number, plan
        block = int(wall() // seconds)
        if block != number:
            plan = plans[bisect(bounds, block_of(seed, block))]
            number = block
        return plan

    return dealt
