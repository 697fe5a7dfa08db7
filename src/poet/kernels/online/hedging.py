"""What copies of a slow request give: one world is turned into another, and the recursion over attempts stays as it is.

Hedged requests (Dean & Barroso 2013, "The tail at scale"): a copy is sent when the first request has not ended after a
delay, a second one after twice that delay, and the first answer wins. An error ends the attempt only when all that were
sent have failed. Copies of a call whose attempts are independent are fresh draws; where latency repeats, a copy is as
slow as the request that it copies and gains nothing; of a call that fails whatever one does, all copies fail.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.repetition import fading
from poet.kernels.online.restart import (
    MOST_ERRORS,
    World,
    chances,
    fading_each,
    followed,
    mixed,
    summed,
)
from poet.kernels.online.survival import KNOTS, WIDTHS, Grid, areas
from poet.kernels.pieces import between

Array = npt.NDArray[np.float64]

MOST_COPIES = 2
SMOOTH = 1.0  # attempts that an even spread within a bin is worth beside those seen there


class Ways(NamedTuple):
    """Ways to hedge an attempt, one beside the other."""

    delays: Grid  # (n_ways,) when the first copy is sent, the second after twice that, > 0 [s]
    copies: npt.NDArray[np.intp]  # (n_ways,) at most, in [0, MOST_COPIES]

    @classmethod
    def of(cls, *ways: tuple[int, float]) -> Ways:
        """Each way as its copies and its delay [s]; the delay of a way without copies does not matter."""
        return cls(Grid.of(np.array([delay or 1.0 for _, delay in ways])), np.array([copies for copies, _ in ways]))


class Hedged(NamedTuple):
    """What a hedged call gives; each (n_retries + 1, n, n_ways, n_timeouts), the first axis being the retries."""

    success: Array  # probability
    seconds: Array  # expected duration, pauses included [s]
    requests: Array  # expected number of requests, copies included


def hedged(world: World, timeouts: Grid, bounds: Array, ways: Ways) -> Hedged:
    """The outlook of a call each of whose attempts is hedged in one of several ways.

    timeouts, bounds: as for ``restart.outlook``; a limit counts from the first request of its attempt, and a copy that
    would be due at the limit or behind it is not sent.
    An error of a request that has not faded by the time its first copy is sent hits both, as a permanent one does.
    """
    raced, weights = race(world, ways, timeouts), areas(timeouts)
    between()
    if bounds.ndim == 1:
        bounds = bounds[:, None]
    fading = world.fading(bounds).T[..., None]  # (n_retries, n, 1)
    attempt = chances(raced.answered, raced.failed, raced.permanent, timeouts, weights=weights)
    steps = followed(attempt, fading[..., None], timeouts.times, (1 - attempt.doomed,))
    copied = summed(attempt, steps.of(0), bounds[..., None, None])
    attempt = chances(world.answered, world.failed, world.permanent, timeouts, weights=weights)
    steps = followed(attempt, fading, timeouts.times, (1 - attempt.doomed,) * 2)
    between()
    # without copies; calls whose latency repeats
    alone, alike = (summed(attempt, steps.of(kind), bounds[..., None]) for kind in range(2))
    due = _due(ways, timeouts)  # curves are straight between knots: a copy behind the limit would shine through
    for mine, other in zip(copied, alone, strict=True):
        np.copyto(mine, other[:, :, None], where=~due[0])
    sent, first_alike = (_by_limit(chance, due) for chance in _sent(world, ways))
    left = 1 - _value(world.answered, timeouts)
    late = ((left - _value(world.failed, timeouts)) / np.maximum(left, 1e-12))[:, None]
    # a retry after a timeout is slow for certain, one after an error as a first attempt is
    again_alike = late * due.sum(axis=0) + (1 - late) * first_alike
    sent = copied.requests * sent
    share = world.repeats[:, None, None]
    for mine, other in zip(copied, alike, strict=True):
        mine *= 1 - share
        mine += (share[:, 0] * other)[:, :, None]
    sent *= 1 - share
    sent += share * (first_alike + (alike.requests - 1)[:, :, None] * again_alike)
    return Hedged(copied.success, copied.seconds, np.add(copied.requests, sent, out=sent))


def hedged_each(world: World, timeouts: Grid, bounds: Array, ways: Sequence[tuple[int, float]]) -> Hedged:
    """The same of timeouts that have pauses and a way to hedge of their own each: (n_retries + 1, n, n_timeouts).

    bounds: (n_retries, n_timeouts); ways: as for ``Ways.of``, one per timeout.
    """
    each, times, pauses = Ways.of(*ways), timeouts.times, bounds[:, None]
    due = _due(each, timeouts, own=True)
    copied = list(dict.fromkeys(way for way, is_due in zip(ways, due[0].tolist(), strict=True) if is_due))
    fading, weights = fading_each(world, bounds), areas(timeouts)
    alone = chances(world.answered, world.failed, world.permanent, timeouts, weights=weights)
    if not copied:
        return Hedged(*mixed(alone, fading, times, world.repeats[:, None], pauses))
    raced = race(world, Ways.of(*copied), timeouts)
    between()
    knots = _read_at(timeouts)
    rows = [1 + copied.index(way) if is_due else 0 for way, is_due in zip(ways, due[0].tolist(), strict=True)]
    answered, failed = (
        np.concatenate([mine[:, None, knots], copies], axis=1)[:, rows]
        for mine, copies in ((world.answered, raced.answered), (world.failed, raced.failed))
    )
    permanent = np.concatenate([world.permanent[:, None], raced.permanent], axis=1)[:, rows]
    attempt = chances(answered, failed, permanent, timeouts, weights=weights, each=True)
    apart = summed(attempt, followed(attempt, fading, times, (1 - attempt.doomed,)).of(0), pauses)
    between()
    mended = 1 - alone.doomed
    alike = summed(alone, followed(alone, fading, times, (mended, mended)).of(1), pauses)
    sent, first_alike = ((chance * due[:, None]).sum(axis=0) for chance in _sent(world, each))
    left = 1 - _value(world.answered, timeouts)
    late = (left - _value(world.failed, timeouts)) / np.maximum(left, 1e-12)
    again_alike = late * due.sum(axis=0) + (1 - late) * first_alike
    share = world.repeats[:, None]
    sent = (1 - share) * apart.requests * sent + share * (first_alike + (alike.requests - 1) * again_alike)
    success, seconds, requests = ((1 - share) * mine + share * other for mine, other in zip(apart, alike, strict=True))
    return Hedged(success, seconds, requests + sent)


class Race(NamedTuple):
    """An attempt whose copies run against it."""

    answered: Array  # (n, n_ways, BINS) chance of an answer by each knot
    failed: Array  # (n, n_ways, BINS) chance that it has failed by each knot
    permanent: Array  # (n, n_ways) share of these failures that no retry mends


def race(world: World, ways: Ways, timeouts: Grid | None = None) -> Race:
    """What becomes of the curves of a first attempt whose copies are fresh draws; ``world.repeats`` is left aside.

    The copies of an attempt that fails whatever one does, as its cause is there still when they are sent, are not
    followed: it fails with its first request.

    timeouts: the curves are read at these only; all knots behind them but the last are left out.
    """
    knots = slice(None) if timeouts is None else _read_at(timeouts)
    error = np.minimum(world.failed[:, -1], MOST_ERRORS)[:, None]
    permanent = world.permanent[:, None]
    lasting = permanent + (1 - permanent) * (world.persistence @ fading(ways.delays.times).T)  # (n, n_ways)
    doomed = (lasting * error)[..., None]
    lasting = lasting[..., None]
    answered, failed = _raced(world.answered, world.failed, ways, 1 / (1 - doomed), (1 - lasting) / (1 - doomed), knots)
    failed *= 1 - doomed
    failed += lasting * world.failed[:, None, knots]
    answered *= 1 - doomed
    share = np.minimum(permanent * error / np.maximum(failed[..., -1], 1e-12), 1.0)
    return Race(answered, failed, share)


def _read_at(timeouts: Grid) -> npt.NDArray[np.intp]:
    """The knots up to the one behind the longest of them, and the last one."""
    behind = int(timeouts.knot.max(initial=0)) + 2
    return np.append(np.arange(min(behind, len(KNOTS) - 1)), len(KNOTS) - 1)


def copies_sent(world: World, ways: Ways, timeouts: Grid) -> Array:
    """Expected copies of one attempt: (n, n_ways, n_timeouts). It reads the curves at few places only."""
    share = world.repeats[:, None]
    apart, alike = _sent(world, ways)
    return _by_limit((1 - share) * apart + share * alike, _due(ways, timeouts))


def _raced(
    answered: Array, failed: Array, ways: Ways, right: Array, wrong: Array, knots: slice | npt.NDArray[np.intp]
) -> tuple[Array, Array]:
    """Curves of the attempt, (n, n_ways, n_knots) each, from those of each request, all independent: (n, BINS) each.

    right, wrong: (n, n_ways, 1) by which the curves of answers and of errors are to be multiplied before.
    """
    own, lost = right * answered[:, None, knots], wrong * failed[:, None, knots]
    start, copies, at = ways.delays.times[:, None], ways.copies[:, None], KNOTS[knots]
    early = wrong * _value(failed, ways.delays)[..., None]  # failed before a copy was sent: the attempt is over
    gone_first = 1 - early
    unanswered, bad = gone_first - own, lost - early
    between()
    _joined(unanswered, bad, answered, failed, at - start, right, wrong)
    if (copies > 1).any():
        twice = wrong * _value(failed, Grid.of(2 * ways.delays.times))[..., None]
        gone = (twice - early) * early  # both failed before the second copy was sent
        late = (2 * start <= at) & (copies > 1)
        then, bad_then = unanswered - gone, bad - gone
        _joined(then, bad_then, answered, failed, at - 2 * start, right, wrong)
        np.copyto(unanswered, then + gone, where=late)
        np.copyto(bad, bad_then + gone, where=late)
    between()
    copied = (start <= at) & (copies > 0)
    np.copyto(own, gone_first - unanswered, where=copied)
    np.copyto(lost, early + bad, where=copied)
    return own, lost


def _joined(
    unanswered: Array, bad: Array, answered: Array, failed: Array, ages: Array, right: Array, wrong: Array
) -> None:
    """Another copy joins, which is as old as ``ages`` [s]: (n_ways, n_knots). Changes the first two."""
    grid = Grid.of(np.maximum(ages, 0.0).ravel())
    between()
    shape = (len(answered), *ages.shape)
    come = _value(answered, grid).reshape(shape)
    come *= right
    np.subtract(1, come, out=come)
    unanswered *= come
    lost = _value(failed, grid).reshape(shape)
    lost *= wrong
    bad *= lost


def _sent(world: World, ways: Ways) -> tuple[Array, Array]:
    """Chance that each copy of an attempt falls due, by attempts that are independent and where latency repeats.

    Each (MOST_COPIES, n, n_ways), whether or not the way sends as many. A copy that is as slow as the request that it
    copies is never ahead of it.
    """
    answered, failed, twice = world.answered, world.failed, Grid.of(2 * ways.delays.times)
    early, lost = _value(answered, ways.delays), _value(failed, ways.delays)
    answered_then, lost_then = _value(answered, twice), _value(failed, twice)
    first = 1 - early - lost
    second = (1 - lost - answered_then) * (1 - early) - (lost_then - lost) * lost
    alike = 1 - answered_then - lost_then
    return np.maximum([first, second], 0.0), np.maximum([first, alike], 0.0)


def _by_limit(sent: Array, due: npt.NDArray[np.bool_]) -> Array:
    """Expected copies of an attempt under each limit: (n, n_ways, n_timeouts). due: as ``_due`` gives it."""
    result: Array = (sent[..., None] * due[:, None]).sum(axis=0)
    return result


def _due(ways: Ways, timeouts: Grid, *, own: bool = False) -> npt.NDArray[np.bool_]:
    """Whether each copy is due before the limit: (MOST_COPIES, n_ways, n_timeouts).

    own: of each way by a timeout of its own: (MOST_COPIES, n_ways).
    """
    number = np.arange(1, MOST_COPIES + 1)[:, None]
    delays, sent = number * ways.delays.times, number <= ways.copies
    result: npt.NDArray[np.bool_] = (
        (delays < timeouts.times) & sent if own else (delays[..., None] < timeouts.times) & sent[..., None]
    )
    return result


def _value(curve: Array, grid: Grid) -> Array:
    """A curve given at the knots, (n, BINS), at the times of ``grid``: (n, n_times)."""
    low = curve.take(grid.knot, axis=1)
    part = curve.take(grid.knot + 1, axis=1)
    part -= low
    part *= grid.share
    part += low
    return part


class Durations(NamedTuple):
    """How long single attempts took: their product limit (Kaplan & Meier 1958)."""

    seconds: Array  # (n,) rising [s]
    alive: Array  # (n + 1,) share that is left after as many of them
    ended: npt.NDArray[np.intp]  # (n + 1,) how many of the first ones ended, and were not cut off

    @classmethod
    def of(cls, seconds: Array, ended: npt.NDArray[np.bool_]) -> Durations:
        """Of single attempts in any order: (n,) each. ended: False where it was cut off, and would have run on."""
        order = np.argsort(seconds, kind="stable")
        stays = 1 - ended[order] / np.arange(len(seconds), 0, -1)
        return cls(
            seconds[order], np.append(1.0, np.cumprod(stays)), np.append(0, np.cumsum(ended[order], dtype=np.intp))
        )


def magnified(times: Array, seen: Durations) -> Grid:
    """``times`` as a grid that knows how attempts are spread within each bin; > 0 [s].

    A curve knows its value at the edges of a bin and takes what ends in between to be spread evenly. Where the load of
    a hedge falls by 2 % from one hundredth of a bin to the next, that is not good enough; so the place within the bin
    is read from single attempts, with an even spread worth ``SMOOTH`` more.
    """
    grid = Grid.of(times)
    low = KNOTS[grid.knot]
    first, last = np.searchsorted(seen.seconds, low), np.searchsorted(seen.seconds, low + WIDTHS[grid.knot])
    by = np.clip(np.searchsorted(seen.seconds, times, side="right"), first, last)
    fallen = seen.alive[first] - seen.alive[last]
    seldom = fallen <= 0  # none has ended in this bin
    part = np.where(seldom, grid.share, (seen.alive[first] - seen.alive[by]) / np.where(seldom, 1.0, fallen))
    weight = seen.ended[last] - seen.ended[first]
    return grid._replace(share=np.clip((weight * part + SMOOTH * grid.share) / (weight + SMOOTH), 0.0, 1.0))
