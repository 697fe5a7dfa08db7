"""From alarms to an incident: when, how bad, which slice of the calls it is, and which service is to blame.

- ``group`` puts the alarms of several series together that belong together in time;
- ``explain`` tells which slice of the calls (one value of a feature, or a pair of values) it is that fails or is slow;
- ``culprits`` tells, of services that call each other, whose own doing it is.

Sources: incidents by gap and hysteresis as any alert manager has them; the slice as in a scan statistic (Kulldorff
1997), with two proportions in place of Poisson rates, false discoveries held down as in Benjamini & Hochberg 1995, and
then peeled off, so that what only overlaps with the cause is not named; the check for a mere change of the mix is
direct standardisation (Simpson 1951).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.batch.findings import adjusted

Array = npt.NDArray[np.float64]


class Signal(NamedTuple):
    """How surprising one series is over time, and what counts as an alarm in it."""

    times: npt.ArrayLike  # (n,) Unix times [s], in any order
    surprise: npt.ArrayLike  # (n,) >= 0 [log10]
    threshold: float  # an alarm from here on [log10]


class Voice(NamedTuple):
    """One series' part in an incident."""

    series: str
    first: float  # time of its first alarm [s]
    peak: float  # its greatest surprise [log10]


class Incident(NamedTuple):
    """What went wrong together."""

    start: float  # first alarm [s]
    end: float  # last time at which one of its series was above half its threshold [s]
    severity: float  # in (0, 1]: grows with how far the peaks are beyond their thresholds, over all its series
    voices: tuple[Voice, ...]  # the series that say so, the first to say so first


KEEP = 0.5  # share of the threshold above which an incident goes on
LONGEST = 7 * 86400.0  # an incident is closed after so long, however it goes on [s]


def group(signals: Mapping[str, Signal], *, gap: float) -> tuple[Incident, ...]:
    """Incidents, in order of time. An incident opens with an alarm and closes after ``gap`` without a sign of it.

    signals: by name of the series; gap: > 0 [s]. Times need not be sorted; what is not finite is left out.
    ``severity`` is ``1 - 2 ** -excess``, where ``excess`` sums ``peak / threshold`` over the series (one series at its
    threshold: 0.5). Empty for no alarms. Raises ValueError for a gap or a threshold that is not > 0.
    """
    if not gap > 0:
        raise ValueError(f"gap must be > 0 seconds, got {gap!r}")
    signs: list[tuple[float, str, float, bool]] = []
    for name, signal in signals.items():
        if not signal.threshold > 0:
            raise ValueError(f"threshold of {name!r} must be > 0, got {signal.threshold!r}")
        times, surprise = np.asarray(signal.times, float), np.asarray(signal.surprise, float)
        if times.ndim != 1 or times.shape != surprise.shape:
            raise ValueError(
                f"{name!r}: times and surprise must be of one length, got {times.shape} and {surprise.shape}"
            )
        share = surprise / signal.threshold
        kept = np.isfinite(times) & (share >= KEEP)  # so written, a NaN is left out
        signs += [(t, name, s, s >= 1) for t, s in zip(times[kept].tolist(), share[kept].tolist(), strict=True)]
    signs.sort()
    found: list[Incident] = []
    start = end = -math.inf
    first: dict[str, float] = {}
    peak: dict[str, float] = {}

    def close() -> None:
        if first:
            voices = sorted(
                (Voice(name, at, peak[name] * signals[name].threshold) for name, at in first.items()),
                key=lambda v: (v.first, -v.peak),
            )
            excess = sum(peak[name] for name in first)
            found.append(Incident(start, end, 1 - 2.0**-excess, tuple(voices)))
            first.clear()
            peak.clear()

    for time, name, part, alarm in signs:
        if first and (time - end > gap or time - start > LONGEST):
            close()
        if not alarm and not first:
            continue
        if not first:
            start = time
        end = max(end, time) if first else time
        if alarm:
            first.setdefault(name, time)
            peak[name] = max(peak.get(name, 0.0), part)
    close()
    return tuple(found)


# Which slice explains it.

LEAST = 200  # calls of a slice before and during, each, for its own share to be taken as it is
SUPPOSED = 20  # calls like the others, at most, that are supposed beside fewer
FEWEST = 20  # calls of a slice during, to be looked at
VALUES = 200  # of a feature that are looked at: the most frequent during
LEVEL = 0.05  # false discoveries among the slices named
APART = 3.0  # z by which a pair must be worse than the rest of each of its parents
GONE = 2.0  # z below which a slice is not worse once a pair is taken out of it


class Slice(NamedTuple):
    """A part of the calls in which things got worse than in the rest."""

    where: tuple[tuple[str, str], ...]  # feature and value; one or two; all must hold
    share: float  # of all that got worse, what came from here, in (0, 1]; 1 where all together did not get worse
    before: float  # share of its calls that were bad before, shrunk to that of all where it was seen seldom
    during: float  # the same during
    low: float  # 95 % interval of (during - before), less that of the rest
    high: float
    z: float  # of its change against that of the rest
    p: float  # the same, corrected for the number of slices looked at (Benjamini-Hochberg)
    number: int  # its calls during


class _Coded(NamedTuple):
    name: str
    labels: tuple[str, ...]
    before: npt.NDArray[np.int64]
    during: npt.NDArray[np.int64]  # -1: a value not looked at


def slow(
    before: npt.ArrayLike, during: npt.ArrayLike, *, quantile: float = 0.95
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which latencies are slow: above a quantile of those before. Makes of latencies what ``explain`` takes.

    NaN (no answer) counts as slow. quantile: in (0, 1). Where nothing was before, nothing is slow.
    """
    was, now = np.asarray(before, float), np.asarray(during, float)
    known = was[np.isfinite(was)]
    limit = float(np.quantile(known, quantile)) if len(known) else math.inf
    return ~(was <= limit) & (len(known) > 0), ~(now <= limit) & (len(known) > 0)


def explain(
    before: Mapping[str, Sequence[object] | npt.NDArray[np.generic]],
    during: Mapping[str, Sequence[object] | npt.NDArray[np.generic]],
    bad_before: npt.ArrayLike,
    bad_during: npt.ArrayLike,
    *,
    most: int = 3,
    least: int = LEAST,
) -> tuple[Slice, ...]:
    """The slices in which calls got worse, the one that explains the most first; empty where none stands out.

    before, during: by feature (context, version, error class ...), a value per call; values are compared as text;
    features that only one of them has are left out. bad_before, bad_during: whether each call was bad (failed, or
    ``slow``); most: slices named at most; least: calls from which a slice's own share is taken as it is; below, it is
    shrunk to the share of all calls before, as if up to ``SUPPOSED`` more calls had been like those.

    How it goes: each slice's change of the share of bad calls is compared with the change in the rest; the slice with
    the greatest z is named if it holds after correction for all slices looked at; then its calls are taken out, and
    the rest is looked at again. A pair is named only where it got worse than the rest of each of its parents did, by
    ``APART``, and a single value is not named where one such pair is all that got worse in it. A slice whose change is
    at least half explained by a shift of the mix within it (of the values of another feature) is not named, as nothing
    got worse there. Raises ValueError where lengths differ.
    """
    was, now = np.asarray(bad_before, bool), np.asarray(bad_during, bool)
    names = [name for name in before if name in during]
    for name in names:
        if len(before[name]) != len(was) or len(during[name]) != len(now):
            raise ValueError(
                f"feature {name!r} must have a value per call: {len(was)} before and {len(now)} during, "
                f"got {len(before[name])} and {len(during[name])}"
            )
    if not len(was) or not len(now):
        return ()
    coded = [_coded(name, before[name], during[name]) for name in names]
    total = float(now.sum() - len(now) * was.mean())
    in_before, in_during = np.ones(len(was), bool), np.ones(len(now), bool)
    found: list[Slice] = []
    for _ in range(most):
        best = _scan(coded, was, now, in_before, in_during, total, least)
        if best is None:
            break
        found.append(best)
        taken = dict(best.where)
        for side, codes in ((in_before, "before"), (in_during, "during")):
            inside = np.ones(len(side), bool)
            for each in coded:
                if each.name in taken:
                    inside &= getattr(each, codes) == each.labels.index(taken[each.name])
            side &= ~inside
        if in_before.sum() < FEWEST or in_during.sum() < FEWEST:
            break
    return tuple(found)


def _coded(
    name: str, before: Sequence[object] | npt.NDArray[np.generic], during: Sequence[object] | npt.NDArray[np.generic]
) -> _Coded:
    places: dict[str, int] = {}
    codes = np.array([places.setdefault(str(value), len(places)) for value in during], dtype=np.int64)
    values = list(places)
    counts = np.bincount(codes, minlength=len(values))
    kept = sorted(range(len(values)), key=lambda each: (-counts[each], values[each]))[:VALUES]
    labels = tuple(values[place] for place in kept if counts[place] >= FEWEST)
    where = {label: place for place, label in enumerate(labels)}
    renamed = np.array([where.get(value, -1) for value in values], dtype=np.int64)
    return _Coded(
        name, labels, np.array([where.get(str(value), -1) for value in before], dtype=np.int64), renamed[codes]
    )


class _Counts(NamedTuple):
    number_before: Array
    bad_before: Array
    number: Array
    bad: Array


def _counted(
    cells_before: npt.NDArray[np.int64],
    cells: npt.NDArray[np.int64],
    size: int,
    was: npt.NDArray[np.bool_],
    now: npt.NDArray[np.bool_],
) -> _Counts:
    def count(cells: npt.NDArray[np.int64], bad: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
        known = cells >= 0
        return (
            np.bincount(cells[known], minlength=size).astype(float),
            np.bincount(cells[known], weights=bad[known], minlength=size).astype(float),
        )

    return _Counts(*count(cells_before, was), *count(cells, now))


def _contrast(
    counts: _Counts, whole: tuple[float, float, float, float], least: int
) -> tuple[Array, Array, Array, Array]:
    """Shares of bad calls before and during, and the change against that of the rest with its standard error."""
    all_before, all_bad_before, every, all_bad = whole
    base = all_bad_before / all_before
    lack_before = np.clip(least - counts.number_before, 0.0, SUPPOSED)
    p0 = (counts.bad_before + lack_before * base) / (counts.number_before + lack_before)
    lack = np.clip(least - counts.number, 0.0, SUPPOSED)
    p1 = (counts.bad + lack * p0) / (counts.number + lack)
    rest_before = np.maximum(all_before - counts.number_before, 1.0)
    rest = np.maximum(every - counts.number, 1.0)
    r0 = np.clip((all_bad_before - counts.bad_before) / rest_before, 0, 1)
    r1 = np.clip((all_bad - counts.bad) / rest, 0, 1)
    n0, n1 = counts.number_before + lack_before, counts.number + lack
    mean = (p0 * n0 + p1 * n1 + r0 * rest_before + r1 * rest) / (n0 + n1 + rest_before + rest)

    def spread(p: Array, n: Array) -> Array:
        return np.asarray(((p * n + mean * 1.0) / (n + 1)) * (1 - (p * n + mean) / (n + 1)) / n)

    variance = spread(p0, n0) + spread(p1, n1) + spread(r0, rest_before) + spread(r1, rest)
    lone = (every - counts.number < FEWEST) | (all_before - counts.number_before < FEWEST)
    change = (p1 - p0) - np.where(lone, 0.0, r1 - r0)
    return p0, p1, change, np.sqrt(np.maximum(variance, 1e-18))


class _Look(NamedTuple):
    where: tuple[tuple[str, str], ...]
    z: float
    counts: tuple[float, float, float, float]  # calls and bad ones before, the same during
    before: float
    during: float
    change: float
    error: float


def _scan(
    coded: Sequence[_Coded],
    was: npt.NDArray[np.bool_],
    now: npt.NDArray[np.bool_],
    in_before: npt.NDArray[np.bool_],
    in_during: npt.NDArray[np.bool_],
    total: float,
    least: int,
) -> Slice | None:
    was, now = was[in_before], now[in_during]
    whole = (float(len(was)), float(was.sum()), float(len(now)), float(now.sum()))
    codes = {each.name: (each.before[in_before], each.during[in_during]) for each in coded}
    looked: list[_Look] = []
    for size in (1, 2):
        for several in combinations((each for each in coded if each.labels), size):
            width = len(several[-1].labels)
            joint_before, joint = codes[several[0].name]
            if size == 2:
                cells_before, cells = codes[several[1].name]
                joint_before = np.where(
                    (joint_before >= 0) & (cells_before >= 0), joint_before * width + cells_before, -1
                )
                joint = np.where((joint >= 0) & (cells >= 0), joint * width + cells, -1)
            counts = _counted(joint_before, joint, len(several[0].labels) * (width if size == 2 else 1), was, now)
            p0, p1, change, error = _contrast(counts, whole, least)
            for cell in np.flatnonzero(counts.number >= FEWEST).tolist():
                places = (cell,) if size == 1 else divmod(cell, width)
                where = tuple((each.name, each.labels[place]) for each, place in zip(several, places, strict=True))
                four = (
                    float(counts.number_before[cell]),
                    float(counts.bad_before[cell]),
                    float(counts.number[cell]),
                    float(counts.bad[cell]),
                )
                z = float(change[cell] / error[cell])
                looked.append(
                    _Look(where, z, four, float(p0[cell]), float(p1[cell]), float(change[cell]), float(error[cell]))
                )
    if not looked:
        return None
    looked.sort(key=lambda each: -each.z)
    single = {each.where[0]: each for each in looked if len(each.where) == 1}
    corrected = adjusted([0.5 * math.erfc(each.z / math.sqrt(2)) for each in looked])
    found = [(each, p) for each, p in zip(looked, corrected.tolist(), strict=True) if p <= LEVEL and each.z > 0]
    apart = {
        each.where: len(each.where) == 1 or all(_apart(each, single[part], least) for part in each.where)
        for each, _ in found
    }
    for each, p in found:
        if not apart[each.where]:
            continue
        inner = next(
            (
                (pair, q)
                for pair, q in found
                if len(each.where) == 1 < len(pair.where)
                and each.where[0] in pair.where
                and apart[pair.where]
                and _gone(each, pair, whole, least)
            ),
            (each, p),
        )
        best, corrected_p = inner
        worse = best.counts[3] - best.counts[2] * best.before
        if worse <= 0 or _mixed(best.where, coded, codes, was, now, least):
            continue
        low, high = best.change - 1.96 * best.error, best.change + 1.96 * best.error
        number = int(best.counts[2])
        return Slice(
            best.where, worse / max(total, worse), best.before, best.during, low, high, best.z, corrected_p, number
        )
    return None


def _z(part: tuple[float, ...], whole: tuple[float, float, float, float], least: int) -> float:
    _, _, change, error = _contrast(_Counts(*(np.array([each]) for each in part)), whole, least)
    return float(change[0] / error[0])


def _apart(pair: _Look, parent: _Look, least: int) -> bool:
    """Whether a pair got worse than the rest of its parent did; yes where there is hardly a rest during."""
    if parent.counts[2] - pair.counts[2] < FEWEST:
        return False  # no telling them apart: the simpler one is named
    if parent.counts[0] < 1:
        return pair.counts[3] / pair.counts[2] > 2 * parent.counts[3] / parent.counts[2]
    return _z(pair.counts, parent.counts, least) > APART


def _gone(parent: _Look, pair: _Look, whole: tuple[float, float, float, float], least: int) -> bool:
    """Whether a slice is no worse than the rest once a pair is taken out of it."""
    rest = tuple(max(one - other, 0.0) for one, other in zip(parent.counts, pair.counts, strict=True))
    return rest[2] < FEWEST or _z(rest, whole, least) < GONE


def _mixed(
    where: tuple[tuple[str, str], ...],
    coded: Sequence[_Coded],
    codes: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    was: npt.NDArray[np.bool_],
    now: npt.NDArray[np.bool_],
    least: int,
) -> bool:
    """Whether half or more of the slice's change is a shift of the mix of another feature's values within it."""
    inside_before, inside = np.ones(len(was), bool), np.ones(len(now), bool)
    of = dict(where)
    for each in coded:
        if each.name in of:
            place = each.labels.index(of[each.name])
            inside_before &= codes[each.name][0] == place
            inside &= codes[each.name][1] == place
    was, now = was[inside_before], now[inside]
    if len(was) < FEWEST:
        return False  # a slice that was not there before has no mix of its own
    plain = float(now.sum() - len(now) * was.mean())
    for each in coded:
        if each.name in of or len(each.labels) < 2:
            continue
        size = len(each.labels)
        cells_before, cells = codes[each.name][0][inside_before], codes[each.name][1][inside]
        shifted = np.where(cells_before < 0, size, cells_before), np.where(cells < 0, size, cells)
        counts = _counted(*shifted, size + 1, was, now)
        lack = np.where(counts.number_before < least, np.maximum(FEWEST - counts.number_before, 0.0), 0.0)
        p0 = (counts.bad_before + lack * was.mean()) / np.maximum(counts.number_before + lack, 1e-9)
        if float(counts.bad.sum() - (counts.number * p0).sum()) < 0.5 * plain:
            return True
    return False


class Shift(NamedTuple):
    """A value of a feature that more calls, or fewer, have than before, and that matters for how many are bad."""

    feature: str
    value: str
    before: float  # share of the calls that had it before
    during: float  # the same during
    bad: float  # share of its calls that were bad before
    effect: float  # what the shift does to the share of bad calls, at the shares of bad calls before
    z: float  # of the shift
    p: float  # the same, corrected for the number of values looked at (Benjamini-Hochberg)


def shifts(
    before: Mapping[str, Sequence[object] | npt.NDArray[np.generic]],
    during: Mapping[str, Sequence[object] | npt.NDArray[np.generic]],
    bad_before: npt.ArrayLike,
    *,
    least: int = LEAST,
) -> tuple[Shift, ...]:
    """Shifts of the mix by which more calls are bad though no slice got worse, the greatest effect first.

    What ``explain`` does not name on purpose. before, during, bad_before: as for ``explain``; least: calls before from
    which a value's share of bad calls is taken as it is, and shrunk to that of all below. Values with fewer than
    ``FEWEST`` calls during, and those that are gone, are not looked at. Empty where there is no such shift.
    """
    was = np.asarray(bad_before, bool)
    looked: list[tuple[str, str, float, float, float, float]] = []
    for name in (name for name in before if name in during):
        if len(before[name]) != len(was):
            raise ValueError(f"feature {name!r} must have a value per call: {len(was)} before, got {len(before[name])}")
        each = _coded(name, before[name], during[name])
        number_before, number = len(each.before), len(each.during)
        if not number_before or not number:
            continue
        nobody = np.zeros(number, bool)
        counts = _counted(each.before, each.during, len(each.labels), was, nobody)
        lack = np.maximum(least - counts.number_before, 0.0)
        bad = (counts.bad_before + lack * was.mean()) / (counts.number_before + lack)
        q0, q1 = counts.number_before / number_before, counts.number / number
        pooled = (counts.number_before + counts.number + 1) / (number_before + number + 2)
        error = np.sqrt(pooled * (1 - pooled) * (1 / number_before + 1 / number))
        for place, label in enumerate(each.labels):
            z = float((q1[place] - q0[place]) / error[place])
            looked.append((name, label, float(q0[place]), float(q1[place]), float(bad[place]), z))
    looked.sort(key=lambda one: -abs(one[5]))
    corrected = adjusted([math.erfc(abs(one[5]) / math.sqrt(2)) for one in looked])
    mean = float(was.mean()) if len(was) else 0.0
    found = [
        Shift(name, label, q0, q1, bad, (q1 - q0) * (bad - mean), z, p)
        for (name, label, q0, q1, bad, z), p in zip(looked, corrected.tolist(), strict=True)
        if p <= LEVEL
    ]
    return tuple(sorted((one for one in found if one.effect > 0), key=lambda one: -one.effect))


# Whose own doing it is.


class Calls(NamedTuple):
    """Calls from service to service in some time; those from outside have the caller ``""``."""

    caller: Sequence[str]
    callee: Sequence[str]
    seconds: npt.ArrayLike  # (n,) how long each took, with all that it called itself
    failed: npt.ArrayLike | None = None  # (n,) whether it failed, where known


class Culprit(NamedTuple):
    """How much speaks for one service as the cause."""

    service: str
    score: float  # >= 0, the sum of the next four [log, natural]
    slower: float  # growth of its own time: what its callers wait beyond what it waits for itself
    calling: float  # growth of the time of all its calls alike: the caller's doing rather than that of all it calls
    missing: float  # calls to it, or from it, that used to come and do not
    failing: float  # growth of its failures, beyond that of the services it calls


SEVERAL = 3  # services that one must call for what they have in common to be its own doing
_KNOWN = 3  # calls of a pair before, from which something is usual


class _Pair(NamedTuple):
    number: int
    usual: float  # median time [s]
    failures: float


def culprits(before: Calls, during: Calls) -> tuple[Culprit, ...]:
    """The services, the one with the most evidence against it first; empty where nothing can be compared.

    before: calls in which things were mostly well (medians are taken, so that some incidents among them do no harm);
    during: calls of the incident. Both may be samples, if all pairs are sampled alike. Calls of a service to itself are
    left out, and times that are not > 0.

    The time of a service is compared without that of its callees (``self time``: the growth of its median less that of
    each callee times how often it is called), so that who only waits is not blamed; what grew for most services that
    one service calls is laid to the caller; evidence from ``n`` calls counts ``n / (n + 1)``, so that one odd call
    says half of what it seems to.
    """
    was, now = _pairs(before), _pairs(during)
    services = sorted({service for pair in was for service in pair if service})
    inbound_before, inbound = _inbound(was), _inbound(now)
    growth: dict[tuple[str, str], float] = {}
    lost: dict[tuple[str, str], float] = {}
    odds: dict[tuple[str, str], float] = {}
    for pair, usual in was.items():
        if usual.number < _KNOWN:
            continue
        seen = now.get(pair, _Pair(0, 0.0, 0.0))
        if seen.number:
            growth[pair] = math.log(seen.usual / usual.usual) * seen.number / (seen.number + 1)
            odds[pair] = _failing(usual, seen)
        arrivals_before, arrivals = inbound_before.get(pair[0], 0), inbound.get(pair[0], 0)
        if arrivals_before and arrivals:
            expected = usual.number * arrivals / arrivals_before
            lost[pair] = math.log((expected + 1) / (seen.number + 1))
    found = []
    for service in services:
        callers = [pair for pair in growth if pair[1] == service]
        slower = [_own(pair, was, now, growth) - _common(pair[0], service, growth) for pair in callers]
        failing = [
            odds[pair] - max((odds[other] for other in odds if other[0] == service), default=0.0) for pair in callers
        ]
        gone = [lost[pair] - _common(pair[0], service, lost) for pair in lost if pair[1] == service]
        parts = (
            max(slower, default=0.0),
            _common(service, "", growth),
            max(gone, default=0.0) + _common(service, "", lost),
            max(failing, default=0.0),
        )
        parts = tuple(max(part, 0.0) for part in parts)  # type: ignore[assignment]
        found.append(Culprit(service, sum(parts), *parts))
    return tuple(sorted((each for each in found if each.score > 0), key=lambda each: -each.score))


def _pairs(calls: Calls) -> dict[tuple[str, str], _Pair]:
    seconds = np.asarray(calls.seconds, float)
    if not len(calls.caller) == len(calls.callee) == len(seconds):
        raise ValueError(
            "caller, callee and seconds must be of one length, "
            f"got {len(calls.caller)}, {len(calls.callee)} and {len(seconds)}"
        )
    failed = np.zeros(len(seconds)) if calls.failed is None else np.asarray(calls.failed, float)
    if len(failed) != len(seconds):
        raise ValueError(f"failed must have a value per call, {len(seconds)}, got {len(failed)}")
    places: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(zip(calls.caller, calls.callee, strict=True)):
        if pair[0] != pair[1] and seconds[place] > 0:
            places.setdefault((str(pair[0]), str(pair[1])), []).append(place)
    return {
        pair: _Pair(len(some), float(np.median(seconds[some])), float(failed[some].sum()))
        for pair, some in places.items()
    }


def _inbound(pairs: Mapping[tuple[str, str], _Pair]) -> dict[str, int]:
    count: dict[str, int] = {}
    for pair, each in pairs.items():
        count[pair[1]] = count.get(pair[1], 0) + each.number
    return count


def _failing(usual: _Pair, seen: _Pair) -> float:
    """Growth of the failures beyond those expected, one of each supposed."""
    expected = seen.number * (usual.failures + 0.5) / (usual.number + 1)
    return max(math.log((seen.failures + 1) / (expected + 1)), 0.0)


def _own(
    pair: tuple[str, str],
    was: Mapping[tuple[str, str], _Pair],
    now: Mapping[tuple[str, str], _Pair],
    growth: Mapping[tuple[str, str], float],
) -> float:
    """Growth of a service's own time, as one of its callers sees it."""
    usual, seen = was[pair], now[pair]
    longer = seen.usual - usual.usual
    arrivals = _inbound(was)[pair[1]]
    for child in growth:
        if child[0] == pair[1]:
            longer -= max(now[child].usual - was[child].usual, 0.0) * was[child].number / arrivals
    weight = seen.number / (seen.number + 1)
    return min(math.log1p(max(longer, 0.0) / usual.usual) * weight, max(growth[pair], 0.0))


def _common(caller: str, but: str, of: Mapping[tuple[str, str], float]) -> float:
    """What most of a caller's calls have in common, one callee left out, >= 0; 0.0 where it calls few services."""
    values = [value for pair, value in of.items() if pair[0] == caller and pair[1] != but]
    several = caller and len(values) + any(pair == (caller, but) for pair in of) >= SEVERAL
    return max(float(np.median(values)), 0.0) if several else 0.0
