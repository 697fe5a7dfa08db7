"""Many comparisons: which of them stand when false ones shall be few, and which strategies are still tied.

e-BH (Wang & Ramdas 2022, "False discovery rate control with e-values"): of k e-values, the largest j that each reach
``k / (level j)`` stand. Holds however the e-values depend on each other, and at any time they are looked at, if each is
valid then. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple


def e_bh(log_e_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected, so that the expected share of false ones among these is ``level`` at most.

    log_e_values: any number, infinite allowed, nan refused [nats]; level: in (0, 1).

    >>> e_bh([math.log(80.0), math.log(41.0), 0.0], 0.05)
    [True, True, False]
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level!r}")
    if any(math.isnan(x) for x in log_e_values):
        raise ValueError(f"an e-value must be a number, got {list(log_e_values)!r}")
    k = len(log_e_values)
    limit = math.inf
    for j, x in enumerate(sorted(log_e_values, reverse=True), start=1):
        needed = math.log(k / (level * j))
        if x >= needed:
            limit = needed
    return [x >= limit for x in log_e_values]


class Band(NamedTuple):
    """Ranks that a strategy may have, 1 being the best: from the number known to be better, to that known worse."""

    first: int
    last: int

    @property
    def tied(self) -> bool:
        """Whether its rank is not known yet."""
        return self.first < self.last


def rank_bands(better: Mapping[tuple[str, str], float], level: float) -> dict[str, Band]:
    """The ranks of strategies of which each pair was compared, ties told as ties.

    better: ``better[a, b]`` is the log e-value against "a is not better than b"; a pair that is missing was not
    compared. Of several arms, those of a pair: an ``effect.Effect`` of the calls that went to either, at the chance of
    one of them given that it is one of the two.
    level: of false discoveries among all "a is better than b" that are told. The order is by name.

    >>> rank_bands({("a", "b"): 9.0, ("a", "c"): 9.0, ("b", "c"): 0.1}, 0.05)
    {'a': Band(first=1, last=1), 'b': Band(first=2, last=3), 'c': Band(first=2, last=3)}
    """
    names = sorted({name for pair in better for name in pair})
    pairs = [(a, b) for a in names for b in names if a != b]
    stands = e_bh([better.get(pair, 0.0) for pair in pairs], level)
    won = {pair for pair, stand in zip(pairs, stands, strict=True) if stand}
    return {
        name: Band(
            1 + sum((other, name) in won for other in names), len(names) - sum((name, other) in won for other in names)
        )
        for name in names
    }
