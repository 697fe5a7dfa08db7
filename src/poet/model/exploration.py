"""Values near those of a version, drawn so that a number alone tells which they were.

An execution that explores keeps the number of its draw and not the values: a byte or two once packed, where the bits of
drawn values cannot be packed at all. Whoever needs the values draws them again. The generator is counter-based (as in
Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), with BLAKE2b as the mixing function: no state, the
same on every machine, and any draw may be made before any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from poet.model.function import FunctionKey
from poet.model.tunable import Value

SPREAD = 0.1  # share of a tunable's range by which a draw may leave the version's value, to either side
_UNIT = 1 << 53


def uniform(function: FunctionKey, version: int, draw: int, name: str) -> float:
    """In [0, 1), the same for the same arguments for ever. draw: >= 0.

    >>> key = FunctionKey("shop", "fetch", "0a1b2c3d")
    >>> round(uniform(key, 3, 12, "temperature"), 12)
    0.221948352681
    """
    told = "\0".join((*function, str(version), str(draw), name)).encode("utf-8", "surrogatepass")
    return (int.from_bytes(blake2b(told, digest_size=8).digest(), "big") >> 11) / _UNIT


def explored(
    values: Mapping[str, Value],
    space: Mapping[str, Sequence[float]],
    function: FunctionKey,
    version: int,
    draw: int,
) -> dict[str, Value]:
    """What an execution of ``version``, whose values are ``values``, used by its ``draw``; 0: these values.

    space: hard bounds by name, lowest and highest; what has none, and what is no number, is not explored. A number is
    drawn uniformly from the tenth of its range to either side, on a log scale where both bounds are above 0 and it is
    no whole number; whole numbers stay whole. Bounds are kept.
    """
    if not draw:
        return dict(values)
    drawn = dict(values)
    for name, value in values.items():
        bounds = space.get(name)
        if bounds is None or isinstance(value, bool | str):
            continue
        low, high = bounds
        share = uniform(function, version, draw, name)
        drawn[name] = _near(value, low, high, 2 * share - 1)
    return drawn


def _near(value: float, low: float, high: float, where: float) -> float:
    """A number near ``value``; where: in [-1, 1)."""
    if isinstance(value, int):
        reach = math.floor(SPREAD * (high - low)) + 0.5  # by halves, so that the ends are as likely as the rest
        return min(max(round(value + where * reach), math.ceil(low)), math.floor(high))
    step = SPREAD * where
    near = value * math.exp(step * math.log(high / low)) if low > 0 and value > 0 else value + step * (high - low)
    return min(max(near, float(low)), float(high))
