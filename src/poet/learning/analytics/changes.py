"""Did a change of version improve anything? The calls before it and after it, each under both versions' values.

What a version's maker believed of it is on record, too: how often belief and measurement agree says what it is worth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from poet.errors import ConfigurationError
from poet.kernels.batch import blocks
from poet.learning.analytics.against import LEVEL, Lived, compare, estimate, joined, part
from poet.learning.replay import wanted
from poet.learning.replay_hours import plan_of
from poet.model.estimate import Estimate
from poet.model.gains import ChangeGain
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value

WINDOW = 1000  # calls on either side of a change, at most
FEWEST = 20  # calls on both sides together, at least
DRAWS = 20  # of what nobody saw
BY_LEARNING = ("learned",)  # origins of versions that count in the share of those that improved


def changes(lived: Lived, versions: Mapping[int, ParameterSet], *, seed: int = 0) -> tuple[ChangeGain, ...]:
    """All versions that were made from others, oldest first."""
    return tuple(
        _change(lived, versions, born, seed)
        for _, born in sorted(versions.items())
        if born.parent is not None and born.parent != born.version
    )


def untold(versions: Mapping[int, ParameterSet], why: str) -> tuple[ChangeGain, ...]:
    """The same where nothing can be measured."""
    return tuple(
        _told(born, None, why)
        for _, born in sorted(versions.items())
        if born.parent is not None and born.parent != born.version
    )


def improved(found: Iterable[ChangeGain]) -> Estimate | None:
    """The share that improved of the learned ones that can be told; None: none can."""
    told = [change.improved for change in found if change.origin in BY_LEARNING and change.improved is not None]
    return share(sum(told), len(told))


def agreed(found: Iterable[ChangeGain]) -> Estimate | None:
    """The share of predictions that agree with what was measured; None: there is none of both."""
    told = [change.agreed for change in found if change.agreed is not None]
    return share(sum(told), len(told))


def share(k: int, n: int) -> Estimate | None:
    """A share as an estimate; None of nothing."""
    return Estimate(*blocks.share(k, n, level=LEVEL), n, LEVEL) if n else None


def values_of(version: Mapping[str, Value]) -> dict[str, Value] | None:
    """What a replay knows of a version's values; None: it cannot have been lived under."""
    try:
        return wanted({}, version, {})
    except ConfigurationError:
        return None


def _change(lived: Lived, versions: Mapping[int, ParameterSet], born: ParameterSet, seed: int) -> ChangeGain:
    assert born.parent is not None
    parent = versions.get(born.parent)
    if parent is None:
        return _told(born, None, f"version {born.parent}, which it was made from, is gone")
    new, old = values_of(born), values_of(parent)
    if new is None or old is None:
        return _told(born, None, "its values are none that calls can use")
    if plan_of(new) == plan_of(old):
        return _told(born, None, "it changes nothing that a replay knows of: not timeout, retries, backoff or hedges")
    numbers = lived.record.versions
    before = np.flatnonzero(numbers == parent.version)[-WINDOW:]
    after = np.flatnonzero(numbers == born.version)[:WINDOW]
    if len(before) + len(after) < FEWEST:
        return _told(born, None, f"only {len(before) + len(after)} calls beside it are on record")
    sides = []
    if len(before):  # what the new values would have gained there, nobody got
        sides.append((-1, compare(part(lived, before), new, seed=seed, draws=DRAWS)))
    if len(after):
        sides.append((1, compare(part(lived, after), old, seed=seed + 1, draws=DRAWS)))
    return _told(born, estimate(joined(sides), sum(side.lived.n for _, side in sides)), "")


def _told(born: ParameterSet, measured: Estimate | None, why: str) -> ChangeGain:
    predicted = born.estimates.get("gain")
    if predicted is not None and not all(math.isfinite(x) for x in predicted[:3]):
        predicted = None
    if measured is not None and not (math.isfinite(measured.low) and math.isfinite(measured.high)):
        measured, why = None, "too few calls beside it are on record"
    better = None
    if measured is not None:
        better = True if measured.low > 0 else False if measured.high < 0 else None
    return ChangeGain(
        born.version,
        born.parent or 0,
        born.created,
        born.origin,
        predicted,
        measured,
        better,
        None if predicted is None or measured is None else agree(predicted, measured),
        why if measured is None else "" if better is not None else "its interval holds zero",
    )


def agree(one: Estimate, other: Estimate) -> bool:
    """Whether two independent estimates differ by no more than both intervals allow, as root of the sum of squares."""
    low, high = sorted((one, other), key=lambda estimate: estimate.value)
    return high.value - low.value <= math.hypot(low.high - low.value, high.value - high.low)
