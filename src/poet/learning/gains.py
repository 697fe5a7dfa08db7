"""What executions add to a state, whoever made them: the step on which a fleet learns as one.

A fold fades what was there and adds something. Done one after the other, such steps are again one of their kind, so a
learner can sum up what it has seen since it last told, as a gain, and whoever holds the state of all applies it there:
``applied(applied(s, a), b) == applied(s, composed(a, b))``, up to rounding. What fades does so by calls, of anybody.

The watch over change adds up in the same way: ``level -> max(0, level + x)``, again and again, is
``level -> max(level + rise, least)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition
from poet.kernels.online.ewma import Ewma
from poet.kernels.online.survival import Array
from poet.learning.checks import count
from poet.learning.notes import ACCOUNT, BLOCK, LEVELS, MEMORIES, REFUSED_HALF_LIFE, Pace
from poet.learning.states import CELLS, Sparse, State, numbered

# Of the weight that is dealt out anew per call: no memory is ever out of the race (Herbster & Warmuth 1998).
SHARE = 0.01
NEVER = -1  # in ``Gain.stale``

_OLD_LEVELS = MEMORIES + 1  # of the first release that told others
_MOST_CALLS = 2**40
_MOST_SAID = 64  # times that a call says something of repeating latency: by its retries, and by each of its copies
_MOST = 1e12  # a number in a gain that came from elsewhere


class Gain(NamedTuple):
    """What a number of calls add to any state."""

    calls: int
    counts: Sparse
    stale: tuple[int, ...]  # calls since the shortest memory took the place of each, or NEVER; NEVER of the first
    record: Array  # (MEMORIES,) added to the memories' record
    recorded: int  # calls by which the record fades
    fresh: bool  # whether the race between memories began anew
    mixed: int  # calls by which weight is dealt out anew in the end; at most a block's
    errors: Array | None  # added to the log posterior; None: nothing
    repeats: Array | None
    repeated: int  # how often calls said something of repeating latency, by their retries and by copies
    retried: tuple[int, int]  # calls seen to retry after an error, after a timeout
    refused: Ewma
    spent: Ewma  # copies per call
    rise: Array  # (LEVELS,) of the levels that are watched [nats]; -inf: they began anew
    least: Array  # (LEVELS,) where these are at least, >= 0 [nats]


_UNMOVED = np.zeros(MEMORIES)
_CALM = np.zeros(LEVELS)
_NO_COUNTS = Sparse.of(np.zeros((MEMORIES, CELLS)))
NOTHING = Gain(
    0, _NO_COUNTS, (NEVER,) * MEMORIES, _UNMOVED, 0, False, 0, None, None, 0, (0, 0), Ewma(), Ewma(), _CALM, _CALM
)


def applied(state: State, gain: Gain, pace: Pace) -> State:
    """``state`` after the calls behind ``gain``; it fades at this ``pace``, whichever that of the gain's maker was."""
    counts = _faded(state.counts.reshape(MEMORIES, -1), gain, pace)
    counts[:, gain.counts.cells] += gain.counts.values
    errors, repeats = state.errors, state.repeats
    if gain.errors is not None:
        errors = repetition.moved(errors, repetition.PRIOR.errors, gain.retried[0], gain.errors)
    start = repetition.PRIOR.repeats
    if pace.doubt is not None and repeats is not start:
        repeats = start + 0.5 ** (gain.calls / pace.doubt) * (repeats - start)
    if gain.repeats is not None:
        repeats = repetition.moved(repeats, start, gain.repeated, gain.repeats)
    return State(
        counts.astype(np.float32).reshape(state.counts.shape),
        _raced(state.record, gain, pace),
        errors,
        repeats,
        added(state.refused, gain.refused, gain.calls, REFUSED_HALF_LIFE),
        (state.retried[0] + gain.retried[0], state.retried[1] + gain.retried[1]),
    )


def composed(first: Gain, then: Gain, pace: Pace) -> Gain:
    """Both, one after the other."""
    doubt = 1.0 if pace.doubt is None else 0.5 ** (then.calls / pace.doubt)
    renewed = then.fresh or then.recorded
    return Gain(
        first.calls + then.calls,
        _together(first.counts.cells, _faded(first.counts.values, then, pace), then.counts),
        _since(first, then) if first.fresh or then.fresh else NOTHING.stale,
        then.record if then.fresh else pace.record_keep**then.recorded * first.record + then.record,
        then.recorded if then.fresh else first.recorded + then.recorded,
        first.fresh or then.fresh,
        then.mixed if renewed else first.mixed,
        _sum(first.errors, repetition.kept(then.retried[0]), then.errors),
        _sum(first.repeats, doubt * repetition.kept(then.repeated), then.repeats),
        first.repeated + then.repeated,
        (first.retried[0] + then.retried[0], first.retried[1] + then.retried[1]),
        added(first.refused, then.refused, then.calls, REFUSED_HALF_LIFE),
        added(first.spent, then.spent, then.calls, ACCOUNT),
        first.rise + then.rise,
        np.maximum(first.least + then.rise, then.least),
    )


def restarted(gain: Gain, stale: Sequence[bool]) -> Gain:
    """After ``gain`` the shortest memory takes the place of the ``stale`` ones, and all begin their race anew."""
    values = gain.counts.values.copy()
    values[np.array(stale)] = values[0]
    return gain._replace(
        counts=gain.counts._replace(values=values),
        stale=tuple(0 if gone else since for gone, since in zip(stale, gain.stale, strict=True)),
        record=_UNMOVED,
        recorded=0,
        fresh=True,
        mixed=0,
        rise=np.append(np.full(LEVELS - 1, -np.inf), gain.rise[-1]),
        least=np.append(np.zeros(LEVELS - 1), gain.least[-1]),
    )


def calmed(gain: Gain) -> Gain:
    """After ``gain`` the watch begins anew, as it has been heard."""
    rise, least = gain.rise.copy(), gain.least.copy()
    rise[-1], least[-1] = -np.inf, 0.0
    return gain._replace(rise=rise, least=least)


def overtaken(gain: Gain) -> Gain:
    """``gain`` where somebody else has sounded the alarm meanwhile: it says nothing against the new memories."""
    rise, least = (np.append(np.zeros(LEVELS - 1), part[-1]) for part in (gain.rise, gain.least))
    return gain._replace(stale=NOTHING.stale, fresh=False, rise=rise, least=least)


def added(mean: Ewma, gain: Ewma, calls: int, half_life: float) -> Ewma:
    """``mean`` faded by ``calls``, and what these add to it."""
    keep = 0.5 ** (calls / half_life)
    return Ewma(keep * mean.total + gain.total, keep * mean.weight + gain.weight)


def _faded(counts: npt.NDArray[np.float32] | Array, gain: Gain, pace: Pace) -> Array:
    """What the calls behind ``gain`` leave of ``counts``: (MEMORIES, -1)."""
    keeps = np.array(pace.keeps)
    shares: Array = keeps**gain.calls
    if gain.fresh:
        since = np.array(gain.stale)
        sources = np.where(since == NEVER, np.arange(MEMORIES), 0)
        since = np.maximum(since, 0)
        counts, shares = counts[sources], keeps[sources] ** (gain.calls - since) * keeps**since
    result: Array = counts * shares[:, None]
    return result


def _together(cells: npt.NDArray[np.uint16], values: Array, more: Sparse) -> Sparse:
    """The sum of two tables."""
    found, place = numbered(cells, more.cells)
    table = np.zeros((MEMORIES, len(found)))
    table[:, place[cells]] = values
    table[:, place[more.cells]] += more.values
    return Sparse(found, table)


def _raced(record: Array, gain: Gain, pace: Pace) -> Array:
    """The memories' record afterwards."""
    record = gain.record if gain.fresh else pace.record_keep**gain.recorded * record + gain.record
    if not gain.mixed:
        return record
    share = 1 - (1 - SHARE) ** gain.mixed
    result: Array = np.log((1 - share) * repetition.normalised(record) + share / MEMORIES)
    return result


def _since(first: Gain, then: Gain) -> tuple[int, ...]:
    older = (NEVER if since == NEVER else since + then.calls for since in first.stale)
    return tuple(old if new == NEVER else new for old, new in zip(older, then.stale, strict=True))


def _sum(first: Array | None, keep: float, then: Array | None) -> Array | None:
    if first is None:
        return then
    return keep * first if then is None else keep * first + then


# --- on its way -------------------------------------------------------------------------------------------------------

_SHAPES = tuple(start.shape for start in repetition.PRIOR)


def written(gain: Gain) -> tuple[dict[str, Any], bytes]:
    """``gain`` as scalars and bytes, to be sent; counts in single precision."""
    facts: dict[str, Any] = {
        "calls": gain.calls,
        "stale": gain.stale,
        "recorded": gain.recorded,
        "fresh": gain.fresh,
        "mixed": gain.mixed,
        "repeated": gain.repeated,
        "retried": gain.retried,
        "errors": gain.errors is not None,
        "repeats": gain.repeats is not None,
        "cells": len(gain.counts.cells),
        "levels": LEVELS,
    }
    sums = np.concatenate([gain.record, gain.rise, gain.least, gain.refused, gain.spent])
    beliefs = [belief for belief in (gain.errors, gain.repeats) if belief is not None]
    counts = (gain.counts.cells, gain.counts.values.astype(np.float32))
    return facts, b"".join(part.tobytes() for part in (sums, *beliefs, *counts))


def read(facts: Mapping[str, Any], blob: bytes) -> Gain:
    """The inverse of ``written``. Raises ValueError, KeyError or TypeError where it is none."""
    calls = count(facts["calls"], _MOST_CALLS)
    stale = _counts(facts["stale"], MEMORIES, NEVER, calls)
    recorded, repeated = count(facts["recorded"], calls), count(facts["repeated"], _MOST_SAID * calls)
    mixed = count(facts["mixed"], BLOCK)  # a block may have begun before the last contribution was handed out
    retried = _counts(facts["retried"], 2, 0, calls)
    numbers, start = [], 0
    levels = count(facts.get("levels", _OLD_LEVELS), LEVELS, _OLD_LEVELS)
    shapes = [(MEMORIES,), (levels,), (levels,), (2,), (2,)]
    shapes += [shape for shape, name in zip(_SHAPES, ("errors", "repeats"), strict=True) if facts[name] is True]
    for shape in shapes:
        end = start + 8 * int(np.prod(shape))
        numbers.append(np.frombuffer(blob[start:end]).reshape(shape))
        start = end
    record, rise, least, refused, spent, *beliefs = numbers
    if levels != LEVELS:  # of a release that watched less
        rise, least = (np.concatenate([part[:-1], np.zeros(LEVELS - levels), part[-1:]]) for part in (rise, least))
    beginning = rise == -np.inf  # the only number that may be endless
    for part in (record, rise[~beginning], least, refused, spent, *beliefs):
        if not (np.abs(part) <= _MOST).all():  # so written, a NaN fails too
            raise ValueError("a number is out of range")
    end = start + 2 * count(facts["cells"], CELLS)
    cells = np.frombuffer(blob[start:end], np.uint16)
    with np.errstate(invalid="ignore"):  # what is no number is refused below
        counts = np.frombuffer(blob[end:], np.float32).astype(float).reshape(MEMORIES, len(cells))
    if not (np.diff(cells.astype(int), prepend=-1, append=CELLS) > 0).all():
        raise ValueError("a table of counts has no such cells")
    if not ((counts >= 0) & (counts <= _MOST)).all() or any((part < 0).any() for part in (least, refused, spent)):
        raise ValueError("a number is out of range")
    fresh = facts["fresh"] is True
    if stale[0] != NEVER or not (fresh or stale == NOTHING.stale):
        raise ValueError(f"no gain: {stale!r}, {mixed!r}")
    if levels != LEVELS and facts["errors"] is True:
        beliefs[0] = repetition.resampled(beliefs[0])
    return Gain(
        calls,
        Sparse(cells, counts),
        stale,
        record,
        recorded,
        fresh,
        mixed,
        beliefs.pop(0) if facts["errors"] is True else None,
        beliefs.pop(0) if facts["repeats"] is True else None,
        repeated,
        (retried[0], retried[1]),
        Ewma(*refused.tolist()),
        Ewma(*spent.tolist()),
        rise,
        least,
    )


def _counts(values: object, length: int, least: int, most: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) != length:
        raise ValueError(f"expected {length} whole numbers, got {values!r}")
    return tuple(count(value, most, least) for value in values)
