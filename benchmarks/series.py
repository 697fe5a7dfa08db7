"""What time tells: seasons, changes of level and forecasts, on series whose truth is known and on recorded ones.

    POET_TRACES=folder python -m benchmarks.series [series per kind] [seed]

The recorded series are not part of the project; the folder that holds them is named in ``POET_TRACES``, or lies in a
``data`` folder beside the project; without it their rows are left out. ``changepoint_tcpd``: series with the change
points that five people saw in each; F1 (margin 5) and covering as TCPDBench defines them (van den Burg & Williams,
arXiv:2003.06222). Five others: forecasts of 48 steps from up to 720, beside the last 24 values once more.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.table import Row, show
from poet.kernels.batch.changepoint import changes, trend
from poet.kernels.batch.forecast import forecast
from poet.kernels.batch.season import periods

Array = NDArray[np.float64]

N, AT, NEAR = 720, 480, 24  # thirty days of hours; where the step is; a hit is not further off
STEPS = (0.05, 0.1, 0.2)
HOURS = np.arange(N)
LIKELY = (24, 168)
AHEAD = 48
KINDS = ("nab", "vm", "seattle", "lambda", "upptime")

# The bars: what must hold for the benchmark to pass.
MOST_FALSE = 0.05  # changes per series that has none
HITS = {"white": 0.95, "autocorrelated": 0.85, "heavy-tailed": 0.95, "seasonal": 0.95, "seasonal, autocorrelated": 0.85}
LEAST_FOUND, MOST_FALSE_SEASONS = 0.95, 0.02
MOST_ERROR, COVERED, MOST_MS = 0.8, (0.87, 0.93), 10.0


class Judged(NamedTuple):
    """Forecasts of one series."""

    name: str
    seasonal: bool
    scaled: float  # mean absolute error over the mean absolute difference of 24 steps (MASE)
    naive: float  # the same of the seasonal naive forecast
    covered: float
    ms: float


def autocorrelated(rng: np.random.Generator, n: int, follow: float = 0.6) -> Array:
    """Unit variance, autocorrelation of the first order."""
    fresh = rng.normal(size=n + 100) * np.sqrt(1 - follow**2)
    for place in range(1, n + 100):
        fresh[place] += follow * fresh[place - 1]
    return fresh[100:]


def daily(rng: np.random.Generator) -> Array:
    """A day's course of amplitude 0.3 and another harmonic, begun anywhere."""
    turn = rng.uniform(0, 2 * np.pi, 2)
    return 0.3 * np.sin(2 * np.pi * HOURS / 24 + turn[0]) + 0.15 * np.sin(4 * np.pi * HOURS / 24 + turn[1])


NOISE: dict[str, Callable[[np.random.Generator], Array]] = {
    "white": lambda rng: 0.1 * rng.normal(size=N),
    "autocorrelated": lambda rng: 0.1 * autocorrelated(rng, N),
    "heavy-tailed": lambda rng: 0.1 * rng.standard_t(3, size=N) / np.sqrt(3),
    "seasonal": lambda rng: daily(rng) + 0.1 * rng.normal(size=N),
    "seasonal, autocorrelated": lambda rng: daily(rng) + 0.1 * autocorrelated(rng, N),
}


def steps(count: int, seed: int) -> Iterator[Row]:
    """False alarms, hits, and whether the intervals hold; the seasons are looked for, not given."""
    for place, (kind, noise) in enumerate(NOISE.items()):
        draws = [noise(np.random.default_rng([seed, place, each])) for each in range(count)]
        began = time.process_time()
        alarms = [len(changes(x, periods(x, likely=LIKELY))) for x in draws]
        ms = 1000 * (time.process_time() - began) / count
        mean, high = float(np.mean(alarms)), _at_most(sum(alarms), count)
        yield Row(
            f"{kind}: false alarms per series of {count}; CPU each",
            f"<= {MOST_FALSE}",
            f"{mean:.3f} (95 % sure: below {high:.3f}); {ms:.0f} ms",
            mean <= MOST_FALSE,
        )
        for step in STEPS:
            hit, inside, told, other = 0, 0, 0, 0
            for each in range(count):
                x = noise(np.random.default_rng([seed + 1, place, each])) + np.where(HOURS >= AT, step, 0.0)
                found = changes(x, periods(x, likely=LIKELY))
                near = [change for change in found if abs(change.at - AT) <= NEAR]
                other += len(found) - len(near)
                if near:
                    hit += 1
                    inside += near[0].low <= AT <= near[0].high
                    told += near[0].magnitude_low <= step <= near[0].magnitude_high
            share, bar = hit / count, HITS[kind] if step == 0.1 else None
            yield Row(
                f"… a step of {step:.0%} within {NEAR} h; others per series; 90 % intervals hold: place, size",
                "" if bar is None else f">= {bar}",
                f"{share:.2f}; {other / count:.2f}; {inside / max(1, hit):.2f}, {told / max(1, hit):.2f}",
                None if bar is None else share >= bar,
            )


def _at_most(events: int, count: int) -> float:
    """Upper end of a Poisson rate, 95 % sure."""
    from scipy.stats import chi2

    return float(chi2.ppf(0.95, 2 * (events + 1)) / 2 / count)


def drifts(count: int, seed: int) -> Iterator[Row]:
    """Whether the interval of a drift holds."""
    for follow in (0.0, 0.6, 0.9):
        inside = 0
        for each in range(count):
            x = 0.001 * HOURS + autocorrelated(np.random.default_rng([seed, 77, each]), N, follow)
            found = trend(x)
            inside += found.low <= 0.001 <= found.high
        yield Row(f"drift, autocorrelation {follow}: 90 % interval holds", "", f"{inside / count:.2f}")


def season_kinds(rng: np.random.Generator) -> dict[str, tuple[Array, set[int]]]:
    """One series of each kind, and its seasons."""
    profile, week = rng.normal(size=24), np.where(HOURS // 24 % 7 >= 5, -1.0, 0.0)
    odd = int(rng.integers(7, 60))
    step = np.where(rng.integers(200, 600) < HOURS, 4.0, 0.0)
    sine = np.sin(2 * np.pi * HOURS / 24)
    noise = rng.normal(size=N)
    return {
        "a day's sine": (sine + noise, {24}),
        "any profile of a day, autocorrelated": (profile[HOURS % 24] + autocorrelated(rng, N), {24}),
        "… and a step": (profile[HOURS % 24] + autocorrelated(rng, N) + step, {24}),
        "one hour a day": (3.0 * (HOURS % 24 == 3) + 0.6 * noise, {24}),
        "day and week": (sine + week + 0.6 * noise, {24, 168}),
        "heavy tails": (sine + rng.standard_t(3, size=N), {24}),
        "a fifth missing": (np.where(rng.random(N) < 0.2, np.nan, profile[HOURS % 24] + noise), {24}),
        "any length": (np.sin(2 * np.pi * HOURS / odd) + noise, {odd}),
        "none: white": (noise, set()),
        "none: autocorrelated": (autocorrelated(rng, N, 0.8), set()),
        "none: random walk": (np.cumsum(noise), set()),
        "none: step": (noise + step, set()),
        "none: drift": (noise + 0.01 * HOURS, set()),
        "none: heavy tails": (rng.standard_t(2, size=N), set()),
    }


def seasons(count: int, seed: int) -> Iterator[Row]:
    """Found and false by kind, and in all; a length within 1 step or 2 % is right."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in range(count):
        for kind, (x, truth) in season_kinds(np.random.default_rng([seed, 5, each])).items():
            told = [period.length for period in periods(x, likely=LIKELY)]
            right = {length for length in truth if any(abs(length - one) <= max(1, 0.02 * length) for one in told)}
            sums[kind][0] += len(right)
            sums[kind][1] += len(truth)
            sums[kind][2] += len(told) > len(right)
    for kind, (found, there, false) in sums.items():
        share = f"found {found / there:.2f}; " if there else ""
        yield Row(f"season: {kind}", "", f"{share}false in {false / count:.3f}")
    found, there, false = (sum(each[k] for each in sums.values()) for k in range(3))
    yield Row(f"seasons found, of {there}", f">= {LEAST_FOUND}", f"{found / there:.3f}", found / there >= LEAST_FOUND)
    share = false / (count * len(sums))
    yield Row(
        f"series of {count * len(sums)} with a false one",
        f"<= {MOST_FALSE_SEASONS}",
        f"{share:.4f}",
        share <= MOST_FALSE_SEASONS,
    )


def folder() -> Path | None:
    """Where the recorded series are."""
    named = os.environ.get("POET_TRACES")
    places = [Path(named)] if named else [each.parent for each in sorted(Path("..").glob("*/data/changepoint_tcpd"))]
    return places[0] if places else None


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from csv.DictReader(file)


def f_one(told: Sequence[int], people: Sequence[Sequence[int]], margin: int = 5) -> float:
    """F1 as TCPDBench has it: precision against all that any saw, recall as the mean over people; index 0 counts."""

    def right(truth: set[int], said: set[int]) -> int:
        left, hits = set(said), 0
        for place in sorted(truth):
            near = [(abs(place - each), each) for each in left if abs(place - each) <= margin]
            if near:
                left.discard(min(near)[1])
                hits += 1
        return hits

    said = {0, *told}
    sets = [{0, *each} for each in people]
    precision = right(set().union(*sets), said) / len(said)
    recall = float(np.mean([right(each, said) / len(each) for each in sets]))
    return 2 * precision * recall / (precision + recall)


def covering(told: Sequence[int], people: Sequence[Sequence[int]], n: int) -> float:
    """How well the told stretches cover those that people saw, mean over people, weighed by length (Jaccard)."""

    def stretches(cuts: Sequence[int]) -> list[range]:
        edges = sorted({0, n, *cuts})
        return [range(a, b) for a, b in pairwise(edges)]

    def alike(a: range, b: range) -> float:
        both = max(0, min(a.stop, b.stop) - max(a.start, b.start))
        return both / (len(a) + len(b) - both)

    mine = stretches(told)
    return float(
        np.mean([sum(len(a) * max(alike(a, b) for b in mine) for a in stretches(each)) / n for each in people])
    )


def annotated(place: Path) -> Iterator[Row]:
    """TCPD: ours and ruptures' with the usual penalty, and what says nothing."""
    import ruptures

    values: dict[str, list[float]] = defaultdict(list)
    for row in _rows(place / "changepoint_tcpd/dev.csv.gz"):
        values[row["series"]].append(float(row["value"] or "nan"))
    people = {
        row["series"]: json.loads(row["annotations"]) for row in _rows(place / "changepoint_tcpd/dev_labels.csv.gz")
    }

    def ruptured(method: Callable[[], object]) -> Callable[[Array], list[int]]:
        def cut(x: Array) -> list[int]:
            y = (x - x.mean()) / x.std()
            return [int(e) for e in method().fit(y).predict(pen=3 * np.log(len(y)))[:-1]]  # type: ignore[attr-defined]

        return cut

    methods: dict[str, Callable[[Array], list[int]]] = {
        "ours, as for services": lambda x: [each.at for each in changes(x, periods(x))],
        "nothing told": lambda x: [],
        "ruptures KernelCPD linear, 3 log n": ruptured(lambda: ruptures.KernelCPD("linear")),
        "ruptures Pelt l2, 3 log n": ruptured(lambda: ruptures.Pelt("l2", jump=1)),
        "ruptures Binseg l2, 3 log n": ruptured(lambda: ruptures.Binseg("l2", jump=1)),
    }
    for name, method in methods.items():
        scores, covers = [], []
        for series, seen in people.items():
            x = np.array(values[series])
            told = method(x)
            scores.append(f_one(told, seen))
            covers.append(covering(told, seen, len(x)))
        yield Row(
            f"TCPD, {len(people)} series, {name}: F1; covering", "", f"{np.mean(scores):.3f}; {np.mean(covers):.3f}"
        )


def binned(points: Sequence[tuple[float, float]], step: float) -> Array:
    """Medians by steps of time, NaN where nothing was recorded."""
    t, v = np.array(points).T
    place = ((t - t.min()) // step).astype(int)
    order = np.argsort(place, kind="stable")
    steps, firsts = np.unique(place[order], return_index=True)
    found = np.full(steps[-1] + 1, np.nan)
    found[steps] = [np.median(each) for each in np.split(v[order], firsts[1:])]
    return found


def recorded(place: Path) -> dict[str, Array]:
    """Series of equal steps, by name: NAB by the hour; logarithms of all others: benchmarks of machines by four hours,
    status checks by two, cold starts by the day, round trips by the slice, arrivals of requests by five seconds.
    """
    points: dict[tuple[str, float], list[tuple[float, float]]] = defaultdict(list)
    for row in _rows(place / "nab/dev.csv.gz"):
        if "artificial" not in row["series"]:
            points[f"nab/{row['series']}", 3600].append((float(row["t"]), float(row["value"])))
    for row in _rows(place / "azure_vm_noise/dev.csv.gz"):
        if row["lifespan"] == "long":
            key = f"vm/{row['metric']}/{row['sku']}/{row['vm']}"
            points[key, 4 * 3600].append((float(row["ts"]), float(np.log(float(row["value"])))))
    for row in _rows(place / "upptime/dev.csv.gz"):
        if float(row["latency_ms"]) > 0:
            points[f"upptime/{row['eid']}", 2 * 3600].append(
                (float(row["ts"]), float(np.log(float(row["latency_ms"]))))
            )
    for row in _rows(place / "lambda_coldstart/dev.csv.gz"):
        if row["arch"] == "x86_64" and row["memory_mb"] in ("128", "1024") and row["package"] == "zip":
            day = date.fromisoformat(row["date"]).toordinal()
            key = f"lambda/{row['runtime']}/{row['memory_mb']}"
            points[key, 1].append((day, float(np.log(float(row["init_p50_ms"])))))
    found = {name: binned(pairs, step) for (name, step), pairs in points.items() if len(pairs) > 300}
    trips = np.load(place / "netlatency_seattle/dev.npz")["rtt_ms"].astype(float)
    for pair in range(0, trips.shape[1], 35):
        with np.errstate(divide="ignore"):
            found[f"seattle/{pair}"] = np.where(trips[:, pair] > 0, np.log(trips[:, pair]), np.nan)
    arrivals = [float(row["t_s"]) for row in _rows(place / "azure_llm_trace/dev.csv.gz")]
    found["azure_llm"] = np.log1p(np.bincount((np.array(arrivals) // 5).astype(int)))
    return found


def judged(name: str, x: Array, origins: int, seed: int) -> Judged | None:
    """Forecasts from several places of one series; the seasonal naive one repeats the last day."""
    if len(x) < 300:
        return None
    got = []
    for end in np.random.default_rng(seed).integers(240, len(x) - AHEAD, origins):
        past, coming = x[max(0, end - N) : end], x[end : end + AHEAD]
        known = np.isfinite(coming)
        if np.isfinite(past).mean() < 0.5 or known.sum() < AHEAD // 2:
            continue
        found = periods(past, likely=LIKELY)
        began = time.process_time()
        told = forecast(past, found, AHEAD)
        ms = 1000 * (time.process_time() - began)
        last = np.where(np.isfinite(past[-24:]), past[-24:], np.nanmedian(past))
        naive = float(np.abs(coming - np.tile(last, 2))[known].mean())
        scale = float(np.nanmean(np.abs(past[24:] - past[:-24])))
        if scale > 0:
            error = float(np.abs(coming - told.mean)[known].mean())
            inside = float(((coming >= told.low) & (coming <= told.high))[known].mean())
            got.append((error / scale, naive / scale, inside, ms, float(bool(found))))
    if not got:
        return None
    error, naive, inside, ms, seasonal = np.mean(got, axis=0)
    return Judged(name, seasonal > 0.5, float(error), float(naive), float(inside), float(ms))


def forecasts(place: Path, origins: int, seed: int) -> Iterator[Row]:
    """Against the seasonal naive one. Every other series was looked at while the method was made."""
    series = recorded(place)
    for half, what in enumerate(("series looked at while it was made", "others")):
        names = [name for k, name in enumerate(sorted(series)) if k % 2 == half]
        found = [one for name in names if (one := judged(name, series[name], origins, seed)) is not None]
        for kind, part in (
            ("all", found),
            ("with a season", [each for each in found if each.seasonal]),
            *((kind, [each for each in found if each.name.startswith(kind)]) for kind in KINDS),
        ):
            if not part:
                continue
            mean = {name: float(np.mean([getattr(each, name) for each in part])) for name in Judged._fields[2:]}
            share = mean["scaled"] / mean["naive"]
            bars = half == 1 and kind == "all"
            yield Row(
                f"forecasts {AHEAD} ahead, {what}, {kind} ({len(part)}): error as a share of the last day's; MASE",
                f"<= {MOST_ERROR}" if bars else "",
                f"{share:.3f}; {mean['scaled']:.3f}",
                share <= MOST_ERROR if bars else None,
            )
            yield Row(
                "… 90 % intervals cover",
                "87–93 %" if bars else "",
                f"{mean['covered']:.1%}",
                COVERED[0] <= mean["covered"] <= COVERED[1] if bars else None,
            )
            if bars:
                ms = mean["ms"]
                yield Row("… CPU per series", f"<= {MOST_MS:.0f} ms", f"{ms:.1f} ms", ms <= MOST_MS)


def run(count: int = 40, seed: int = 2026) -> Iterator[Row]:
    """Measure everything; the figures against their bars."""
    yield from steps(count, seed)
    yield from drifts(count, seed)
    yield from seasons(max(10, count // 4), seed)
    place = folder()
    if place is not None:
        yield from annotated(place)
        yield from forecasts(place, max(4, count // 25), seed)


def main(arguments: list[str]) -> int:
    """Measure, and fail where a bar is missed."""
    numbers = [int(each) for each in arguments]
    return 0 if show("What time tells", run(*(numbers or [200]))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
