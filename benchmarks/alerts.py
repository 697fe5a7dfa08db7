"""What is out of the ordinary: labelled anomalies, injected faults, and series in which nothing happens.

    python -m benchmarks.alerts [split] [draws]
    python -m benchmarks.alerts nab        # what happened in each labelled series
    python -m benchmarks.alerts faults     # what was missed, and who was blamed

Four parts. (1) The Numenta Anomaly Benchmark, scored as it scores itself (Lavin & Ahmad 2015; its sweeper and
normalisation made anew): a window counts once, by how early it is found; alarms outside cost by how far they are from
the last window; 0 is what saying nothing gets, 100 perfection. One threshold for all series. (2) Faults injected into a
shop of ten services, watched minute by minute through the front end's latencies and failures and a sample of its calls.
Each day is judged with another day as its history. (3) Calls that are made up, of which
one slice gets worse. (4) Series that are made up, in which nothing happens.

Data in ``../*/data`` or in the folder that ``POET_TRACES`` names; parts without theirs are left out.
"""

from __future__ import annotations

import csv
import gzip
import math
import re
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, show
from benchmarks.traces import folder
from poet.kernels.batch.anomaly import Baseline, Gate, held, level_for, spent, surprises
from poet.kernels.batch.classes import risen
from poet.kernels.batch.incident import Calls, Culprit, Signal, culprits, explain, group

Floats = NDArray[np.float64]

# The bars.
LEAST_NAB, LEAST_NAB_OTHERS = 65.0, 61.0
LEAST_FOUND, LEAST_BLAMED, MOST_FALSE = 0.80, 0.70, 1.0
MOST_RATE = 1.5  # times the false alarms wanted

DAY = 86400.0


def _table(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt") as lines:
        yield from csv.DictReader(lines)


# --- labelled anomalies -----------------------------------------------------------------------------------------------

HOLD = 0.5  # of the probation: an alarm must be a new maximum for so long
THRESHOLD = 4.71  # the best on the development series, for others
PROFILES = {"standard": (1.0, 0.11, 1.0), "few false alarms": (1.0, 0.22, 1.0), "few missed": (1.0, 0.11, 2.0)}
# by profile: worth of a window found, cost of a false alarm, cost of a window missed


class Labelled(NamedTuple):
    """A series with windows in which something was wrong."""

    times: Floats
    values: Floats
    windows: tuple[tuple[int, int], ...]  # first and last place
    probation: int  # places that are not scored


@lru_cache
def labelled(path: Path) -> dict[str, Labelled]:
    """By name, the series of a file."""
    columns: dict[str, list[tuple[float, float, int]]] = defaultdict(list)
    for row in _table(path):
        columns[row["series"]].append((float(row["t"]), float(row["value"]), int(row["label"])))
    found = {}
    for name, rows in columns.items():
        times, values, labels = (np.array(each, float) for each in zip(*rows, strict=True))
        edges = np.flatnonzero(np.diff(np.concatenate(([0.0], labels, [0.0]))))
        windows = tuple(zip(edges[::2].tolist(), (edges[1::2] - 1).tolist(), strict=True))
        found[name] = Labelled(times, values, windows, int(min(0.15 * len(times), 750)))
    return found


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(np.where(x > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(x, 3))) - 1))


class Scored(NamedTuple):
    """A series as the benchmark sees it, from the end of its probation on."""

    score: Floats
    worth: Floats  # of an alarm: in a window up to 1, outside 0 to -1
    window: NDArray[np.int64]  # -1: outside
    windows: int


def scored(series: Labelled, score: Floats) -> Scored:
    """What an alarm at each place is worth."""
    number = len(score)
    place = np.arange(number)
    worth, window = np.full(number, -1.0), np.full(number, -1)
    for count, (first, last) in enumerate(series.windows):
        width = last - first + 1
        inside = slice(first, last + 1)
        window[inside] = count
        worth[inside] = _sigmoid(-(last - place[inside] + 1) / width) / _sigmoid(np.array(-1.0))
        after = slice(last + 1, series.windows[count + 1][0] if count + 1 < len(series.windows) else number)
        worth[after] = _sigmoid((place[after] - last) / max(width - 1, 1))
    rest = slice(series.probation, number)
    return Scored(score[rest], worth[rest], window[rest], len(series.windows))


def raw(series: Scored, thresholds: Floats, profile: str) -> Floats:
    """The raw score of a series at each threshold."""
    gain, cost, miss = PROFILES[profile]
    outside = series.window < 0
    order = np.argsort(-series.score[outside])
    sums = np.append(0.0, np.cumsum(series.worth[outside][order])) * cost
    total: Floats = sums[np.searchsorted(-series.score[outside][order], -thresholds, side="right")]
    for count in range(series.windows):
        inside = series.window == count
        highest = np.maximum.accumulate(series.score[inside]) if inside.any() else np.array([-math.inf])
        worth = series.worth[inside] if inside.any() else np.array([0.0])
        first = np.searchsorted(highest, thresholds, side="left")
        total = total + np.where(first < len(highest), gain * worth[np.minimum(first, len(worth) - 1)], -miss)
    return total


def nab_score(series: Sequence[Scored], thresholds: Floats, profile: str = "standard") -> Floats:
    """The normalised score at each threshold: 0 for saying nothing, 100 for perfection."""
    gain, _, miss = PROFILES[profile]
    windows = sum(each.windows for each in series)
    total = np.sum([raw(each, thresholds, profile) for each in series], axis=0)
    return np.asarray(100 * (total + windows * miss) / (windows * (gain + miss)))


def best(series: Sequence[Scored], profile: str = "standard") -> tuple[float, float]:
    """The best score over all thresholds, and the threshold."""
    every = np.unique(np.concatenate([each.score for each in series]))
    thresholds = np.append(every[every > 0], math.inf)
    score = nab_score(series, thresholds, profile)
    return float(score.max()), float(thresholds[int(np.argmax(score))])


@lru_cache
def detected(path: Path) -> tuple[dict[str, Scored], float]:
    """By name, what the detector says; and the CPU time per value [s]."""
    series = labelled(path)
    began = time.process_time()
    said = {}
    for name, each in series.items():
        surprise = surprises(each.times, each.values, probation=max(each.probation, 30))
        said[name] = scored(each, spent(held(surprise, int(HOLD * each.probation))))
    return said, (time.process_time() - began) / sum(len(each.times) for each in series.values())


def nab_rows(path: Path, draws: int, *, seen: bool) -> Iterator[Row]:
    """The figures. seen: whether these are the series that the threshold was chosen on."""
    said, each_takes = detected(path)
    series = list(said.values())
    for profile in PROFILES:
        score, threshold = best(series, profile)
        bar = LEAST_NAB if profile == "standard" else None
        yield Row(
            f"NAB, {len(series)} series, {profile}",
            f">= {bar:.0f}" if bar else "",
            f"{score:.1f} at {threshold:.2f}",
            score >= bar if bar else None,
        )
    rng = np.random.default_rng(0)
    others = []
    for _ in range(draws):
        order = rng.permutation(len(series))
        halves = order[: len(order) // 2], order[len(order) // 2 :]
        for one, other in (halves, halves[::-1]):
            _, threshold = best([series[place] for place in one])
            others.append(float(nab_score([series[place] for place in other], np.array([threshold]))[0]))
    mean = float(np.mean(others))
    yield Row(
        f"… standard, threshold from the other half, {draws} draws",
        f">= {LEAST_NAB_OTHERS:.0f}",
        f"{mean:.1f} (sd {np.std(others):.1f})",
        mean >= LEAST_NAB_OTHERS,
    )
    if not seen:
        score = float(nab_score(series, np.array([THRESHOLD]))[0])
        yield Row(
            "… standard, streams and threshold from the development series",
            f">= {LEAST_NAB_OTHERS:.0f}",
            f"{score:.1f}",
            score >= LEAST_NAB_OTHERS,
        )
    yield Row("… CPU time per value", "", f"{1e6 * each_takes:.0f} µs")


# --- injected faults --------------------------------------------------------------------------------------------------

FRONT = {"p50_s": 0.05, "p90_s": 0.05, "p99_s": 0.05}  # by series of the front end, a difference that is none [log]
SUCCESS, LEAST_FAILURES = "success_pct", 0.002
LEAST_CALL = 0.05  # the same of a pair's mean call [log]
WITHIN, WINDOW = 180.0, 360.0  # after an injection: an alarm in time; alarms that are not false [s]
MINUTE = 60.0


class Fault(NamedTuple):
    """An injected fault."""

    at: float
    service: str
    kind: str
    day: int


class Shop(NamedTuple):
    """What was recorded of a system."""

    faults: tuple[Fault, ...]
    values: tuple[tuple[float, str, float], ...]  # when known, series, value
    calls: tuple[tuple[float, str, str, float], ...]  # when, caller, callee, seconds
    edges: tuple[float, ...]  # where a day ends

    def day(self, at: float) -> int:
        """Which day it is."""
        return int(np.searchsorted(self.edges, at))


def plain(name: str) -> str:
    """A service's name without what all names have."""
    return re.sub(r"^ts-|-|_|service$|controller$", "", name.lower()).removesuffix("service")


def pair_of(caller: str, op: str) -> tuple[str, str]:
    """Caller and callee of a call: ``CartService/GetCart``, or an address; a controller is the caller's own entry."""
    address = re.search(r"ts-[a-z0-9-]+-service", op.lower())
    if address is not None:
        return plain(caller), plain(address.group())
    if "controller" in op.lower():
        return "", plain(caller)
    return plain(caller), plain(op.split("/")[0])


@lru_cache
def shop(place: Path, split: str) -> Shop:
    """Everything of a split. A day ends where nothing was recorded for hours."""
    front = list(_table(place / f"{split}_front.csv.gz"))
    times = np.array([float(row["t"]) for row in front])
    edges = tuple((times[:-1] + 0.5 * np.diff(times))[np.diff(times) > 3 * 3600].tolist())
    values = []
    for at, row in zip(times.tolist(), front, strict=True):
        values += [(at, name, math.log(max(float(row[name]), 1e-3))) for name in FRONT]
        if SUCCESS in row:
            values.append((at, SUCCESS, 1 - float(row[SUCCESS]) / 100))
    calls = []
    minutes: dict[tuple[float, str], list[float]] = defaultdict(list)
    for row in _table(place / f"{split}_calls.csv.gz"):
        at, seconds = float(row["t_ms"]) / 1000, float(row["dur_ms"]) / 1000
        calls.append((at, *pair_of(row["caller"], row["op"]), seconds))
        known = (at // MINUTE + 1) * MINUTE
        minutes[known, f"{row['caller']}>{row['op']}"].append(math.log(max(seconds, 1e-5)))
    values += [(at, name, float(np.mean(some))) for (at, name), some in minutes.items()]
    calls += [
        (float(row["t_ms"]) / 1000, "", "frontend", float(row["dur_ms"]) / 1000)
        for count, row in enumerate(_table(place / f"{split}_requests.csv.gz"))
        if count % 8 == 0  # as many as of the calls
    ]
    unplaced = Shop((), tuple(sorted(values)), tuple(sorted(calls)), edges)
    faults = tuple(
        Fault(float(row["t_inject"]), row["service"], row["fault"], unplaced.day(float(row["t_inject"])))
        for row in _table(place / f"{split}_faults.csv.gz")
    )
    return unplaced._replace(faults=faults)


def watched(shop: Shop, *, in_order: bool = False) -> tuple[dict[str, Signal], float]:
    """How surprising each series is, day by day, and the threshold for ``MOST_FALSE`` a day.

    Each day's history are the other days, faults and all; in_order: nothing but what came before.
    """
    days = range(len(shop.edges) + 1)
    by_day = [[each for each in shop.values if shop.day(each[0]) == day] for day in days]
    told: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
    span = 0.0
    baselines: dict[str, Baseline] = {}
    for day in days:
        history: dict[str, list[float]] = defaultdict(list)
        for other in days:
            if other != day and not in_order:
                for _, name, value in by_day[other]:
                    history[name].append(value)
        baselines = baselines if in_order else {}
        for at, name, value in by_day[day]:
            if name not in baselines:
                least = LEAST_FAILURES if name == SUCCESS else FRONT.get(name, LEAST_CALL)
                baselines[name] = Baseline(history[name], least=least)
            told[name][0].append(at)
            told[name][1].append(baselines[name].update(value))
        span += by_day[day][-1][0] - by_day[day][0][0]
    threshold = level_for(MOST_FALSE, len(shop.values) / (span / DAY))
    return {name: Signal(at, said, threshold) for name, (at, said) in told.items()}, threshold


class Verdict(NamedTuple):
    """What was found."""

    found: tuple[bool, ...]  # by fault
    false: int  # incidents that are no labelled fault, in hours without faults
    hours: float  # of those
    unlabelled: int  # the same between the first and the last fault of a day
    threshold: float


def judged(shop: Shop, *, in_order: bool = False) -> Verdict:
    """Faults found in time, and alarms in vain."""
    signals, threshold = watched(shop, in_order=in_order)
    alarms = sorted({at for each in signals.values() for at, said in zip(*each[:2], strict=True) if said >= threshold})
    at = np.array([fault.at for fault in shop.faults])
    found = tuple(bool(np.any((np.array(alarms) >= when) & (np.array(alarms) <= when + WITHIN))) for when in at)
    vain = [when for when in alarms if not np.any((when >= at) & (when <= at + WINDOW))]
    incidents = group({"any": Signal(vain, [threshold] * len(vain), threshold)}, gap=300.0)
    spans = [
        (min(times) - 600, max(times) + 1200)
        for day in range(len(shop.edges) + 1)
        if (times := [fault.at for fault in shop.faults if fault.day == day])
    ]
    inside = sum(any(low <= each.start <= high for low, high in spans) for each in incidents)
    minutes = {each for each, name, _ in shop.values if name in FRONT}
    quiet = sum(not any(low <= each <= high for low, high in spans) for each in minutes)
    return Verdict(found, len(incidents) - inside, quiet / 60, inside, threshold)


def blamed(shop: Shop) -> list[tuple[Culprit, ...]]:
    """By fault: who is blamed for what was seen within ``WITHIN``, most blamed first."""

    def calls(some: Sequence[tuple[float, str, str, float]]) -> Calls:
        return Calls([each[1] for each in some], [each[2] for each in some], [each[3] for each in some])

    usual = {
        day: calls([each for each in shop.calls if shop.day(each[0]) != day]) for day in range(len(shop.edges) + 1)
    }
    return [
        culprits(usual[fault.day], calls([each for each in shop.calls if fault.at <= each[0] < fault.at + WITHIN]))
        for fault in shop.faults
    ]


def rank(fault: Fault, ranked: Sequence[Culprit]) -> float:
    """The place of the service that is to blame; infinite where it is not named."""
    names = [each.service for each in ranked]
    return names.index(plain(fault.service)) + 1 if plain(fault.service) in names else math.inf


def fault_rows(shop: Shop) -> Iterator[Row]:
    """The figures."""
    verdict = judged(shop)
    faults = len(shop.faults)
    found = sum(verdict.found)
    yield Row(
        f"{faults} injected faults: an alarm within {WITHIN / 60:.0f} minutes",
        f">= {LEAST_FOUND:.0%}",
        f"{found} ({found / faults:.0%}) at {verdict.threshold:.2f}",
        found >= LEAST_FOUND * faults,
    )
    per_day = verdict.false / (verdict.hours / 24)
    yield Row(
        "… false alarms a day, in hours without faults",
        f"<= {MOST_FALSE:.0f}",
        f"{per_day:.1f} ({verdict.false} in {verdict.hours:.1f} hours)",
        per_day <= MOST_FALSE,
    )
    yield Row("… alarms at no labelled fault, in the hours of faults", "", f"{verdict.unlabelled}")
    alone = judged(shop, in_order=True)
    yield Row(
        "… with nothing but what came before, from the first fault on",
        "",
        f"{sum(alone.found)} found; {alone.false} false, {alone.unlabelled} at no labelled fault",
    )
    ranks = [rank(fault, each) for fault, each in zip(shop.faults, blamed(shop), strict=True)]
    near, first = sum(each <= 3 for each in ranks), sum(each == 1 for each in ranks)
    yield Row(
        "… the service to blame among the first three",
        f">= {LEAST_BLAMED:.0%}",
        f"{near} ({near / faults:.0%}); first: {first}",
        near >= LEAST_BLAMED * faults,
    )


# --- planted slices ---------------------------------------------------------------------------------------------------

PLANTED = ("nothing", "everything", "a context", "a version in a context", "the mix of versions")
LEAST_NAMED, MOST_MISNAMED = 0.90, 0.05


def history(planted: str, seed: int, *, during: bool) -> tuple[dict[str, NDArray[np.str_]], NDArray[np.bool_]]:
    """Calls and whether each failed: 2 % of those of version 1, 10 % of those of version 2, and what is planted."""
    rng = np.random.default_rng((seed, during))
    number = 3000 if during else 6000
    mixed = 0.5 if during and planted == "the mix of versions" else 0.15
    features = {
        "context": rng.choice([f"c{place}" for place in range(8)], number),
        "version": np.where(rng.random(number) < mixed, "2", "1"),
        "region": rng.choice([f"r{place}" for place in range(20)], number, p=np.arange(1, 21) / 210),
        "client": rng.integers(0, 5000, number).astype(str),
    }
    chance = np.where(features["version"] == "2", 0.1, 0.02)
    where = {
        "everything": np.ones(number, bool),
        "a context": features["context"] == "c3",
        "a version in a context": (features["context"] == "c3") & (features["version"] == "2"),
    }
    if during and planted in where:
        chance = np.where(where[planted], chance + (0.4 if "version" in planted else 0.1), chance)
    return features, rng.random(number) < chance


def slice_rows(histories: int) -> Iterator[Row]:
    """How often the planted slice is named first, and something where nothing is to be named."""
    truth = {"a context": {("context", "c3")}, "a version in a context": {("context", "c3"), ("version", "2")}}
    for planted in PLANTED:
        right = 0
        more = 0
        told = 0
        for seed in range(histories):
            (before, was), (now, bad) = (history(planted, seed, during=during) for during in (False, True))
            found = explain(before, now, was, bad)
            right += bool(found) and set(found[0].where) == truth.get(planted)
            more += len(found) - (planted in truth and bool(found))
            told += bool(found)
        if planted in truth:
            yield Row(
                f"planted: {planted} fails, {histories} histories: named first",
                f">= {LEAST_NAMED:.0%}",
                f"{right / histories:.0%}; {more} further slices named",
                right >= LEAST_NAMED * histories,
            )
        else:
            yield Row(
                f"planted: {planted}, {histories} histories: a slice is named",
                f"<= {MOST_MISNAMED:.0%}",
                f"{told / histories:.0%}",
                told <= MOST_MISNAMED * histories,
            )


# --- nothing happens --------------------------------------------------------------------------------------------------

SPACING, DAYS = 300.0, 20
WANTED = 1.0  # false alarms a day
KINDS = ("white", "autoregressive, .6", "heavy-tailed, t(3)", "log-normal", "seasonal")


def made_up(kind: str, seed: int) -> tuple[Floats, Floats]:
    """Times and values of a series in which nothing happens."""
    rng = np.random.default_rng(seed)
    number = int(DAYS * DAY / SPACING)
    times = 19_700 * DAY + SPACING * np.arange(number)
    values = rng.standard_t(3, number) if kind.startswith("heavy") else rng.standard_normal(number)
    if kind.startswith("auto"):
        for place in range(1, number):
            values[place] += 0.6 * values[place - 1]
    if kind == "log-normal":
        values = np.exp(values)
    if kind == "seasonal":
        values += 3 * np.sin(2 * np.pi * times / DAY)
    return times, values


def still_rows(series: int) -> Iterator[Row]:
    """False alarms a day, against those wanted."""
    for kind in KINDS:
        alarms, days = 0, 0.0
        for seed in range(series):
            times, values = made_up(kind, seed)
            surprise = surprises(times, values)
            gate = Gate(per_day=WANTED)
            first = int(np.argmax(surprise > 0))
            alarms += sum(
                gate.update(at, said)
                for at, said in zip(times[first:].tolist(), surprise[first:].tolist(), strict=True)
            )
            days += (len(times) - first) * SPACING / DAY
        low, high = poisson_interval(alarms)
        yield Row(
            f"false alarms a day, {kind}, {series} series of {DAYS} days, {WANTED:.0f} wanted",
            f"<= {MOST_RATE * WANTED:.1f}",
            f"{alarms / days:.2f} [{low / days:.2f}, {high / days:.2f}]",
            alarms / days <= MOST_RATE * WANTED,
        )


def poisson_interval(count: int) -> tuple[float, float]:
    """A 95 % interval of the mean behind a count (Garwood 1936)."""
    from scipy.stats import chi2

    return (float(chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0), float(chi2.ppf(0.975, 2 * count + 2)) / 2


# --- planted kinds of failure -----------------------------------------------------------------------------------------

FAILURES = ("OSError", "ReadTimeout", "KeyError", "ConnectError", "ValueError", "a rare one")
USUALLY = np.array([0.01, 0.02, 0.002, 0.0, 0.005, 0.0002])  # share of the calls that each is
RISEN: dict[str, dict[int, float]] = {
    "nothing": {},
    "one kind": {1: 0.04},
    "one that was never there": {3: 0.03},
    "two kinds": {0: 0.03, 4: 0.05},
}


def failed(planted: str, seed: int, *, during: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each call's kind of failure, -1: none, and its hour; the second kind comes in bursts, by the hour."""
    rng = np.random.default_rng((seed, during, 7))
    hours, number = (8, 1500) if during else (48, 9000)
    hour = np.sort(rng.integers(0, hours, number))
    chance = np.tile(USUALLY, (number, 1))
    chance[:, 1] *= rng.gamma(1.0, 1.0, hours)[hour]
    if during:
        for kind, more in RISEN[planted].items():
            chance[:, kind] += more
    edges = np.cumsum(chance, axis=1)
    kind = (rng.random(number)[:, None] >= edges).sum(axis=1)
    return np.where(kind < len(FAILURES), kind, -1).astype(np.int64), hour.astype(np.int64)


def kind_rows(histories: int) -> Iterator[Row]:
    """How often the kinds of failure that were planted are named, and others."""
    for planted, kinds in RISEN.items():
        all_of_them = told = wrong = wrongly = 0
        for seed in range(histories):
            (was, hour), (now, _) = (failed(planted, seed, during=during) for during in (False, True))
            worse = float((now >= 0).sum() - len(now) * (was >= 0).mean())
            found = {each.name for each in risen(FAILURES, was, now, worse, blocks=hour)}
            true = {FAILURES[kind] for kind in kinds}
            all_of_them += found >= true
            told += len(found)
            wrong += len(found - true)
            wrongly += bool(found - true)
        if kinds:
            yield Row(
                f"planted: {planted} of failure, {histories} histories: all named",
                f">= {LEAST_NAMED:.0%}; false <= {MOST_MISNAMED:.0%} of what is named",
                f"{all_of_them / histories:.0%}; {wrong / max(told, 1):.1%} of {told}",
                all_of_them >= LEAST_NAMED * histories and wrong <= MOST_MISNAMED * told,
            )
        else:
            yield Row(
                f"planted: no kind of failure, {histories} histories: one is named",
                f"<= {MOST_MISNAMED:.0%}",
                f"{wrongly / histories:.1%}",
                wrongly <= MOST_MISNAMED * histories,
            )


# --- all --------------------------------------------------------------------------------------------------------------


def run(split: str = "dev", draws: int = 10, series: int = 10) -> Iterator[Row]:
    """The figures against their bars."""
    place = folder()
    if place is not None and (path := place / "nab" / f"{split}.csv.gz").is_file():
        yield from nab_rows(path, draws, seen=split == "dev")
    if place is not None and (place / "nezha_faults" / f"{split}_faults.csv.gz").is_file():
        yield from fault_rows(shop(place / "nezha_faults", split))
    yield from slice_rows(20 * series)
    yield from kind_rows(20 * series)
    yield from still_rows(series)


def each_series(path: Path) -> Iterator[str]:
    """What happened in each labelled series at the best threshold."""
    said, _ = detected(path)
    _, threshold = best(list(said.values()))
    yield "| series | values scored | windows | found | false alarms | raw score |\n|---|---|---|---|---|---|"
    for name, each in said.items():
        over = each.score >= threshold
        found = len(set(each.window[over].tolist()) - {-1})
        score = float(raw(each, np.array([threshold]), "standard")[0])
        vain = int((over & (each.window < 0)).sum())
        yield f"| {name} | {len(over)} | {each.windows} | {found} | {vain} | {score:.2f} |"


def each_fault(shop: Shop) -> Iterator[str]:
    """What was missed, and who was blamed."""
    verdict = judged(shop)
    yield "| service | fault | found | place | blamed |\n|---|---|---|---|---|"
    for fault, found, ranked in zip(shop.faults, verdict.found, blamed(shop), strict=True):
        some = ", ".join(f"{each.service} {each.score:.1f}" for each in ranked[:3])
        yield f"| {fault.service} | {fault.kind} | {'yes' if found else 'no'} | {rank(fault, ranked):.0f} | {some} |"


def main(arguments: list[str]) -> int:
    """Measure, tell, and fail where a bar is missed."""
    place = folder()
    several: Mapping[str, object] = {"nab": each_series, "faults": each_fault}
    if arguments and arguments[0] in several:
        assert place is not None, "the data are not here"
        lines = (
            each_series(place / "nab" / "dev.csv.gz")
            if arguments[0] == "nab"
            else each_fault(shop(place / "nezha_faults", "dev"))
        )
        print("\n".join(lines))
        return 0
    split = arguments[0] if arguments else "dev"
    draws = int(arguments[1]) if len(arguments) > 1 else 10
    return 0 if show("What is out of the ordinary", run(split, draws)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
