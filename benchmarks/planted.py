"""Planted truth: simulated histories of which it is known what is in them, and what the batch kernels tell of them.

    python -m benchmarks.planted [histories] [first seed]

A history has a daily season, a load that follows it and drifts, latencies with heavy-tailed autocorrelated noise that
load and hour drive, and causes of which some matter: along a line, along a curve with an optimum, or only by the hour,
up or down. Beside these stand causes that matter not: driven by load, by the hour, correlated with one that matters, a
random walk, a value per version, and one at random. Contexts form one to four groups, in which latency or the best
batch size may differ. An experiment draws among three arms with odds that depend on load. A quarter of the histories
has no effects and no groups at all.

Whatever is told and was not planted is a false discovery; so is a wrong number of groups.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.table import Row, show
from poet.kernels.batch.causal import effects
from poet.kernels.batch.cluster import clusters, differ, tailored
from poet.kernels.batch.correlation import relations

Array = npt.NDArray[np.float64]

LEAST_FOUND, MOST_FALSE = 0.9, 0.05
MOST_PER_FUNCTION = 0.15  # CPU seconds of all kernels here for a function of 1000 executions
MILLION = 1_000_000
STRENGTH = (0.2, 0.6)  # standard deviation of an effect, in deviations of the noise
DISTANCE = (3.5, 6.0)  # of the nearest two groups' centres, in deviations within a group
EFFECT = 0.3  # of the arm, in deviations of the noise
KINDS = (
    "groups",
    "latency differs between groups",
    "a parameter pays per group",
    "along a line",
    "along a line, failures",
    "along a curve",
    "by the hour",
    "an arm's effect",
)


class Planted(NamedTuple):
    """A history and what is in it."""

    causes: dict[str, Array]
    outcomes: dict[str, Array]
    confounders: dict[str, Array]
    numbers: Array
    categories: list[npt.NDArray[np.int64]]
    group: npt.NDArray[np.int64]
    groups: int
    batch: Array
    utility: Array
    arm: npt.NDArray[np.int64]
    propensity: Array
    censored: npt.NDArray[np.bool_]
    planted: frozenset[str]  # of KINDS
    optimum: float  # of the curve


class Told(NamedTuple):
    """What became of one history."""

    planted: frozenset[str]
    found: frozenset[str]
    told: int  # findings told
    false: tuple[str, ...]  # those that are none
    optimum_held: bool | None  # whether the interval of the optimum holds it; None where none was told
    effect_held: bool | None  # whether the interval of the arm's effect holds it
    hidden: int  # confounded causes with a raw correlation of 0.1 or more
    explained: int  # of these, with what drives both named
    seconds: float  # of CPU
    rows: int


def drifting(rng: np.random.Generator, n: int, keep: float, heavy: bool = False) -> Array:
    """An autoregressive series of about unit variance."""
    from scipy.signal import lfilter

    noise = rng.standard_t(4, n + 500) / np.sqrt(2.0) if heavy else rng.normal(size=n + 500)
    return np.asarray(lfilter([np.sqrt(1 - keep * keep)], [1.0, -keep], noise)[500:])


def history(seed: int, n: int | None = None) -> Planted:
    """The history of a seed."""
    rng = np.random.default_rng(seed)
    n = int(np.exp(rng.uniform(np.log(1000), np.log(4000)))) if n is None else n
    days = int(rng.integers(14, 31))
    null = rng.random() < 0.25
    there = {kind for kind in KINDS if not null and rng.random() < 0.6}
    moment = rng.random(4 * n) * 24
    moment = moment[rng.random(4 * n) < 0.6 + 0.4 * np.sin(2 * np.pi * (moment - 8) / 24)][:n]
    hour = np.sort(rng.integers(0, days, len(moment)) * 24 + moment) % 24
    n = len(hour)
    wave = np.sin(2 * np.pi * (hour - 8) / 24)
    load = np.exp(0.7 * wave + 0.3 * drifting(rng, n, 0.95))
    busy = (np.log(load) - np.log(load).mean()) / np.log(load).std()
    size = rng.normal(size=n)
    causes = {
        "line": np.exp(0.5 * size),
        "curve": rng.uniform(0, 10, n),
        "hourly": rng.normal(size=n),
        "by load": busy + rng.uniform(0.5, 1.5) * rng.normal(size=n),
        "by hour": np.cos(4 * np.pi * hour / 24) + rng.uniform(0.5, 1.5) * rng.normal(size=n),
        "beside": 0.6 * size + 0.8 * rng.normal(size=n),
        "walk": np.cumsum(rng.normal(size=n)),
        "version": rng.normal(size=6)[np.sort(rng.integers(0, 6, n))],
        "chance": rng.normal(size=n),
    }
    strength = {kind: rng.uniform(*STRENGTH) * rng.choice([-1, 1]) for kind in KINDS}
    optimum = float(rng.uniform(3, 7))
    latency = rng.uniform(0.3, 0.8) * busy + 0.3 * np.cos(4 * np.pi * (hour - 3) / 24)
    latency = latency + drifting(rng, n, rng.uniform(0.3, 0.8), heavy=True)
    if "along a line" in there:
        latency = latency + strength["along a line"] * size
    if "along a curve" in there:
        bow = (causes["curve"] - optimum) ** 2
        latency = latency + strength["along a curve"] * bow / bow.std()
    if "by the hour" in there:
        turn = np.sqrt(2) * np.sin(2 * np.pi * (hour - rng.uniform(0, 24)) / 24)
        latency = latency + strength["by the hour"] * causes["hourly"] * turn
    odds = -1.5 + 0.4 * busy
    if "along a line, failures" in there:
        odds = odds + 2.0 * strength["along a line, failures"] * size
    failed = (rng.random(n) < 1 / (1 + np.exp(-odds))).astype(float)

    k = int(rng.integers(2, 5)) if "groups" in there else 1
    there -= {"latency differs between groups", "a parameter pays per group"} if k == 1 else set()
    runs = int(rng.choice([1, 5]))
    group = np.repeat(rng.choice(k, n // runs + 1, p=rng.dirichlet(np.full(k, 20.0))), runs)[:n]
    centres = _apart(rng, k, rng.uniform(*DISTANCE))
    numbers = np.column_stack((centres[group] + rng.normal(size=(n, 3)), rng.normal(size=n)))
    numbers[:, 0] = np.exp(0.7 * numbers[:, 0])
    kept = rng.random(n) < 0.8
    categories = [np.where(kept, group, rng.integers(0, 5, n)), rng.integers(0, 3, n)]
    if "latency differs between groups" in there:
        latency = latency + abs(strength["latency differs between groups"]) * 1.5 * (group == 0)
    batch = rng.choice([1.0, 2.0, 4.0, 8.0], n)
    best = np.where((group == 0) & ("a parameter pays per group" in there), 0.0, 3.0)
    steep = abs(strength["a parameter pays per group"])
    utility = -steep * abs(np.log2(batch) - best) + 0.3 * busy + drifting(rng, n, 0.6)

    one = 0.1 + 0.5 / (1 + np.exp(-busy))
    odds_of = np.column_stack((0.9 - one, one, np.full(n, 0.1)))
    arm = (rng.random(n)[:, None] > odds_of.cumsum(axis=1)).sum(axis=1).clip(max=2)
    if "an arm's effect" in there:
        latency = latency + EFFECT * (arm == 1)
    limit = float(np.quantile(latency, 0.97))
    return Planted(
        causes,
        {"latency": np.minimum(latency, limit), "failed": failed},
        {"hour": hour, "load": load},
        numbers,
        categories,
        group,
        k,
        batch,
        utility,
        arm,
        odds_of[np.arange(n), arm],
        latency > limit,
        frozenset(there),
        optimum,
    )


def _apart(rng: np.random.Generator, k: int, distance: float) -> Array:
    """Centres in three dimensions, the nearest two that far apart."""
    centres = rng.normal(size=(k, 3))
    if k == 1:
        return centres
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)[np.triu_indices(k, 1)]
    return np.asarray(centres * distance / gaps.min())


def judged(seed: int, n: int | None = None) -> Told:
    """All kernels on one history, and what of it is true."""
    made = history(seed, n)
    start = time.process_time()
    cut = {"latency": made.censored}
    related = relations(made.causes, made.outcomes, made.confounders, censored=cut)
    grouped = clusters(made.numbers, made.categories, seed=seed)
    apart, fitted = (), ()
    if grouped.k > 1:
        apart = differ(grouped.labels, made.outcomes, censored=cut, confounders=made.confounders)
        fitted = tailored(grouped.labels, {"batch": made.batch}, made.utility)
    context = np.column_stack((made.confounders["load"], made.causes["line"]))
    arms = effects(made.arm, made.propensity, made.outcomes["latency"], reference=0, features=context, seed=seed)
    seconds = time.process_time() - start

    found, false, told = set(), [], 0
    held: bool | None = None
    hidden = explained = 0
    for each in related:
        pair = f"{each.cause} → {each.outcome}"
        flags = [name for name in ("linear", "bent", "varies") if getattr(each, name)]
        kind = {
            ("line", "latency"): "along a line",
            ("line", "failed"): "along a line, failures",
            ("curve", "latency"): "along a curve",
            ("hourly", "latency"): "by the hour",
        }.get((each.cause, each.outcome), "")
        told += len(flags)
        if kind not in made.planted:
            false.extend(f"{pair}: {flag}" for flag in flags)
            if each.cause in ("by load", "by hour") and each.outcome == "latency" and abs(each.raw.value) >= 0.1:
                hidden += 1
                explained += each.explained_by in ("load", "hour")
            continue
        wanted, allowed = {
            "along a line": ("linear", ()),
            "along a line, failures": ("linear", ("bent", "varies")),  # odds that add up bend probabilities
            "along a curve": ("bent", ("linear",)),
            "by the hour": ("varies", ("linear",)),
        }[kind]
        if wanted in flags:
            found.add(kind)
        false.extend(f"{pair}: {flag}" for flag in flags if flag != wanted and flag not in allowed)
        if kind == "along a curve" and each.optimum is not None:
            held = each.optimum.where.low <= made.optimum <= each.optimum.where.high
    if grouped.k > 1:
        told += 1
        if grouped.k == made.groups and _same(made.group, grouped.labels) > 0.85:
            found.add("groups")
        else:
            false.append(f"{grouped.k} groups of {made.groups}")
    for difference in apart:
        if difference.found:
            told += 1
            if difference.outcome == "latency" and "latency differs between groups" in made.planted:
                found.add("latency differs between groups")
            else:
                false.append(f"groups differ in {difference.outcome}")
    for fit in fitted:
        if fit.pays:
            told += 1
            if "a parameter pays per group" in made.planted:
                found.add("a parameter pays per group")
            else:
                false.append("a parameter per group")
    effect_held: bool | None = None
    for effect in arms:
        true = effect.arm == 1 and "an arm's effect" in made.planted
        if effect.arm == 1:
            truth = EFFECT if true else 0.0
            effect_held = effect.dr.low <= truth <= effect.dr.high
        if effect.found:
            told += 1
            if true:
                found.add("an arm's effect")
            else:
                false.append(f"arm {effect.arm}")
    return Told(
        made.planted, frozenset(found), told, tuple(false), held, effect_held, hidden, explained, seconds, len(made.arm)
    )


def _same(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> float:
    """Adjusted Rand index (Hubert & Arabie 1985)."""
    both = np.zeros((int(a.max()) + 1, int(b.max()) + 1))
    np.add.at(both, (a, b), 1)

    def pairs(counts: Array) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns = pairs(both.sum(axis=1)), pairs(both.sum(axis=0))
    chance = rows * columns / pairs(np.array([len(a)]))
    return (pairs(both) - chance) / max((rows + columns) / 2 - chance, 1e-9)


class Cost(NamedTuple):
    """Of one job."""

    seconds: float  # of CPU
    megabytes: float  # the most that is held at a time, beside inputs


def cost(job: str, n: int) -> Cost:
    """Of one job on so many rows: once for the time, once for what it allocates."""
    made = history(1, n)
    distinct = np.random.default_rng(0).permutation(len(made.arm))
    jobs = {
        "groups, a category of 10⁶ values among 6 features": lambda: clusters(
            made.numbers, [*made.categories, distinct]
        ),
        "9 causes × 2 outcomes, 2 confounders": lambda: relations(made.causes, made.outcomes, made.confounders),
        "differences between groups": lambda: differ(made.group, made.outcomes, confounders=made.confounders),
        "a parameter per group": lambda: tailored(made.group, {"batch": made.batch}, made.utility),
        "effects of 2 arms, 4 features": lambda: effects(
            made.arm, made.propensity, made.outcomes["latency"], reference=0, features=made.numbers
        ),
    }
    small = history(1, 1000)
    relations(small.causes, small.outcomes, small.confounders)  # what is loaded once is loaded
    start = time.process_time()
    jobs[job]()
    seconds = time.process_time() - start
    tracemalloc.start()
    jobs[job]()
    return Cost(seconds, tracemalloc.get_traced_memory()[1] / 2**20)


JOBS = (
    "groups, a category of 10⁶ values among 6 features",
    "9 causes × 2 outcomes, 2 confounders",
    "differences between groups",
    "a parameter per group",
    "effects of 2 arms, 4 features",
)


def measured(histories: int, first: int, *, processes: int = 2) -> list[Told]:
    """All histories, in parallel."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(judged, range(first, first + histories), chunksize=5))


def _share(pairs: Sequence[tuple[int, int]]) -> tuple[float, float, float]:
    """A ratio of sums over histories, and its 90 % interval by drawing histories again."""
    both = np.array(pairs, float).reshape(-1, 2)
    if both[:, 1].sum() == 0:
        return 0.0, 0.0, 1.0
    drawn = np.random.default_rng(0).integers(0, len(both), (2000, len(both)))
    sums = both[drawn].sum(axis=1)
    low, high = np.quantile(sums[:, 0] / np.maximum(sums[:, 1], 1.0), (0.05, 0.95))
    return float(both[:, 0].sum() / both[:, 1].sum()), float(low), float(high)


def _said(share: tuple[float, float, float], pairs: Sequence[tuple[int, int]]) -> str:
    value, low, high = share
    return f"{value:.1%} [{low:.1%}, {high:.1%}] of {sum(pair[1] for pair in pairs)}"


def bars(told: Sequence[Told]) -> Iterator[Row]:
    """The figures against their bars."""
    pairs = [(len(each.found), len(each.planted)) for each in told]
    share = _share(pairs)
    what = f"{len(told)} histories: of what was planted, found"
    yield Row(what, f">= {LEAST_FOUND:.0%}", _said(share, pairs), share[0] >= LEAST_FOUND)
    pairs = [(len(each.false), each.told) for each in told]
    share = _share(pairs)
    yield Row("… of what was told, false", f"<= {MOST_FALSE:.0%}", _said(share, pairs), bool(share[0] <= MOST_FALSE))
    for kind in KINDS:
        pairs = [(int(kind in each.found), int(kind in each.planted)) for each in told]
        yield Row(f"… found: {kind}", "", _said(_share(pairs), pairs))
    nothing = [each for each in told if not each.planted]
    pairs = [(int(bool(each.false)), 1) for each in nothing]
    yield Row("… with nothing planted: of these, with anything told", "", _said(_share(pairs), pairs))
    pairs = [(each.explained, each.hidden) for each in told]
    yield Row(
        "… confounded, with a raw correlation over 0.1: explained by load or hour", "", _said(_share(pairs), pairs)
    )
    for name, place in (("optimum", "optimum_held"), ("arm's effect", "effect_held")):
        pairs = [(int(bool(getattr(each, place))), int(getattr(each, place) is not None)) for each in told]
        yield Row(f"… 90 % intervals of the {name} that hold it", "", _said(_share(pairs), pairs))


def run(histories: int = 200, first: int = 10_000) -> Iterator[Row]:
    """Measure everything; the figures against their bars."""
    told = measured(histories, first)
    yield from bars(told)
    per_row = sum(each.seconds for each in told) / len(told)
    rows = sum(each.rows for each in told) / len(told)
    yield Row(f"CPU of a history, mean of {rows:.0f} executions", "", f"{1000 * per_row:.0f} ms")
    judged(first, 1000)  # what is loaded once is loaded
    seconds = sum(min(judged(first + each, 1000).seconds for _ in range(3)) for each in range(10)) / 10
    yield Row(
        "CPU of a function of 1000 executions, 18 relations, 6 features, least of three",
        f"<= {1000 * MOST_PER_FUNCTION:.0f} ms",
        f"{1000 * seconds:.0f} ms",
        seconds <= MOST_PER_FUNCTION,
    )
    for job in JOBS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found = pool.submit(cost, job, MILLION).result()
        yield Row(f"10⁶ executions of one function: {job}", "", f"{found.seconds:.1f} s, {found.megabytes:.0f} MB")


if __name__ == "__main__":
    given = [int(each) for each in sys.argv[1:]]
    sys.exit(0 if show("Planted truth", run(*given)) else 1)
