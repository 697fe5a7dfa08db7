"""May one look at an experiment after every call? False alarms, samples, traps, and real A/B tests.

    python -m benchmarks.sequential [runs]

By default 300 runs and 2,000 looks, in under a minute; with 2000 runs, 10,000 looks. A false alarm is a run in which
any of the looks, one after each call, found an effect where none is; the bar is the rate agreed plus three standard
errors. ``benchmarks.many_runs`` follows all runs at once. The real data are not part of the project; see
``benchmarks.traces`` for where they are looked for.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.many_runs import Effects, coin_log_e, sample_ratio_log_e
from benchmarks.table import Row, show
from benchmarks.traces import folder
from poet.kernels.online.coin import CoinTest
from poet.kernels.online.confidence import Arm, Bounded, difference, planned_calls, tuning
from poet.kernels.online.effect import BoundedEffect, Effect, Side
from poet.kernels.online.sample_ratio import SampleRatio

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Outcomes = Callable[[], Array]  # of a call of every run

ALPHA = 0.05
LEVEL = -math.log(ALPHA)
PLANNED = 500.0


class Size(NamedTuple):
    """How much is run."""

    runs: int
    looks: int

    def bar(self, alpha: float = ALPHA) -> float:
        """The rate agreed, and three standard errors."""
        return alpha + 3 * math.sqrt(alpha * (1 - alpha) / self.runs)

    def row(self, what: str, false: float, alpha: float = ALPHA, bar: float | None = None) -> Row:
        """A rate of false alarms against its bar."""
        most = self.bar(alpha) if bar is None else max(bar, self.bar(alpha) if self.runs < 1000 else 0.0)
        return Row(what, f"<= {most:.2%}", f"{false:.2%}", false <= most)


# --- false alarms -----------------------------------------------------------------------------------------------------


def weather(rng: np.random.Generator, runs: int, keep: float = 0.99, deviation: float = 1.0) -> Outcomes:
    """Normal outcomes of deviation 1 about a level that drifts: autoregressive, ``keep`` from call to call."""
    level = deviation * rng.normal(size=runs)

    def outcomes() -> Array:
        nonlocal level
        level = keep * level + deviation * math.sqrt(1 - keep**2) * rng.normal(size=runs)
        return level + rng.normal(size=runs)

    return outcomes


class Drift(NamedTuple):
    """How a level drifts."""

    keep: float
    deviation: float

    def best(self) -> float:
        """Variance of the best prediction of the next outcome of ``weather``, by the Kalman filter."""
        level = 1.0
        for _ in range(10_000):
            level = self.keep**2 * level / (1 + level) + (1 - self.keep**2) * self.deviation**2
        return 1 + level


def worlds(rng: np.random.Generator, runs: int) -> dict[str, Outcomes]:
    """The laws of the outcomes that are tried."""
    return {
        "normal": lambda: rng.normal(size=runs),
        "log-normal, deviation 1": lambda: np.exp(rng.normal(size=runs)),
        "Student's t of 3 degrees": lambda: rng.standard_t(3, size=runs),
        "Bernoulli 3 %": lambda: (rng.random(runs) < 0.03).astype(float),
        "Bernoulli 50 %": lambda: (rng.random(runs) < 0.5).astype(float),
        "drift, AR(1) 0.99": weather(rng, runs),
    }


def false_alarms(size: Size, outcomes: Outcomes, share: float, rng: np.random.Generator) -> dict[str, float]:
    """By what was looked for: both sides, above, below; and, for the warning, by plain z looked at like that."""
    effects = Effects(Effect.planned(calls=PLANNED), size.runs)
    alarms = {side.value: np.zeros(size.runs, dtype=bool) for side in Side}
    alarms["plain z"] = np.zeros(size.runs, dtype=bool)
    for _ in range(size.looks):
        effects.add(rng.random(size.runs) < share, share, outcomes())
        for side in Side:
            alarms[side.value] |= effects.log_e(0.0, side) >= LEVEL
        z, log_scale = effects.scaled(0.0)
        with np.errstate(over="ignore"):
            alarms["plain z"] |= np.abs(z) * np.sqrt(1 + 1 / np.expm1(log_scale)) > 1.96
    return {name: float(alarm.mean()) for name, alarm in alarms.items()}


def every_world(size: Size) -> Iterator[Row]:
    """Of the running effect, at even shares and at a tenth."""
    for share in 0.5, 0.1:
        rng = np.random.default_rng(1)
        for name, outcomes in worlds(rng, size.runs).items():
            rates = false_alarms(size, outcomes, share, rng)
            most = max(rates[side.value] for side in Side)
            yield Row(
                f"false alarms of the running effect, {name}, share {share:.0%}: both sides, above, below",
                f"<= {size.bar():.2%} each",
                f"{' · '.join(f'{rates[side.value]:.2%}' for side in Side)} (plain z, looked at as often:"
                f" {rates['plain z']:.0%})",
                most <= size.bar(),
            )


def processes(size: Size, many: int = 4) -> Iterator[Row]:
    """False alarms of one experiment in several processes: by the sums of all, and if each decides by its own."""
    rng = np.random.default_rng(12)
    plan = Effect.planned(calls=PLANNED)
    each, whole = Effects(plan, many * size.runs), Effects(plan, size.runs)
    together, apart = np.zeros(size.runs, dtype=bool), np.zeros(size.runs, dtype=bool)
    outcomes = weather(rng, many * size.runs)
    for _ in range(size.looks // many):
        each.add(rng.random(many * size.runs) < 0.5, 0.5, outcomes())
        whole.sums, whole.n0, whole.n1 = (
            part.reshape(*part.shape[:-1], many, size.runs).sum(axis=-2) for part in (each.sums, each.n0, each.n1)
        )
        together |= whole.log_e() >= LEVEL
        apart |= (each.log_e() >= LEVEL).reshape(many, size.runs).any(axis=0)
    row = size.row(f"false alarms of one experiment in {many} processes, by their sums", float(together.mean()))
    yield row._replace(measured=f"{row.measured} (if each decides by its own calls: {apart.mean():.2%})")


def other_tests(size: Size) -> Iterator[Row]:
    """Of the tests of counts, and of bounded outcomes."""
    rng = np.random.default_rng(2)
    for share in 0.01, 0.1, 0.5:
        most = _highest(rng, size, share, lambda counts, n, share=share: coin_log_e(counts, n, share))
        yield size.row(f"false alarms of the coin test, share {share:.0%}", float((most >= LEVEL).mean()))
    most = _highest(rng, size, 0.5, lambda counts, n: sample_ratio_log_e(counts, n, 0.5))
    for alpha in 0.001, ALPHA:
        false = float((most >= -math.log(alpha)).mean())
        yield size.row(f"false alarms of the sample-ratio test at {alpha:.1%}", false, alpha)
    few = min(size.runs, 300)
    wrong = 0
    for _ in range(few):
        seen, out = Bounded(), False
        for x in (rng.random(300) < 0.03).astype(float).tolist():
            seen = seen.add(x)
            out = out or not seen.lower(ALPHA / 2) <= 0.03 <= seen.upper(ALPHA / 2)
        wrong += out
    yield Size(few, 300).row("misses of the exact bounds, Bernoulli 3 %, 300 looks from the first on", wrong / few)


def _highest(rng: np.random.Generator, size: Size, share: float, log_e: Callable[[Whole, Whole], Array]) -> Array:
    """The highest evidence of each run over all looks, some runs at a time."""
    n, parts = np.arange(1, size.looks + 1), []
    for first in range(0, size.runs, 50):
        counts = (rng.random((min(50, size.runs - first), size.looks)) < share).cumsum(axis=1)
        parts.append(log_e(counts, n).max(axis=1))
    return np.concatenate(parts)


# --- what it costs ----------------------------------------------------------------------------------------------------


def stopped(
    plan: Effect, size: Size, shift: float, seed: int, drift: Drift | None, most: int, *, adjusted: bool = True
) -> Array:
    """Calls until an effect was found, ``most`` where it was not."""
    rng = np.random.default_rng(seed)
    outcomes = (lambda: rng.normal(size=size.runs)) if drift is None else weather(rng, size.runs, *drift)
    effects = Effects(plan, size.runs, adjusted=adjusted)
    stop = np.full(size.runs, float(most))
    for i in range(1, most):
        arm = rng.random(size.runs) < 0.5
        effects.add(arm, 0.5, outcomes() + shift * arm)
        found = (effects.log_e() >= LEVEL) & (stop == most)
        stop[found] = i
        if i % 50 == 0 and (stop < most).all():
            break
    return stop


def samples(size: Size) -> Iterator[Row]:
    """Relative to a single look, planned for a power of 80 %; and beside a plain difference of means under drift."""
    for shift, bar in (0.1, 1.3), (0.2, 1.3), (0.5, 1.4):
        size_here = Size(size.runs // 2, size.looks) if shift == 0.1 and size.runs < 1000 else size
        n = planned_calls(shift)
        plan = Effect.planned(minimum_effect=shift)
        stop = stopped(plan, size_here, shift, 3, None, int(8 * n)) / n
        error = float(stop.std() / math.sqrt(size_here.runs))
        yield Row(
            f"calls to find an effect of {shift} standard deviations, over those of a single planned look: mean",
            f"<= {bar}",
            f"{stop.mean():.2f} (SE {error:.2f}; power of 80 % at {np.quantile(stop, 0.8):.2f})",
            stop.mean() <= bar + (3 * error if size.runs < 1000 else 0.0),
        )
    rng, few, calls = np.random.default_rng(11), min(size.runs, 100), np.zeros((2, min(size.runs, 100)))
    for run in range(few):
        exact, usual = BoundedEffect.planned(0.0, 1.0), Effect.planned(minimum_effect=0.6)
        while not calls[:, run].all():
            arm = int(rng.random() < 0.5)
            y = float(rng.random() < 0.3 + 0.3 * arm)
            exact, usual = exact.add(arm, 0.5, y), usual.add(arm, 0.5, y)
            for test, log_e in enumerate((exact.log_e(), usual.log_e())):
                if not calls[test, run] and log_e >= LEVEL:
                    calls[test, run] = usual.n
    exact_calls, usual_calls = calls.mean(axis=1).tolist()
    yield Row(
        "scores of 0 and 1, 30 % against 60 %: calls until found by the exact bounds, over those of the running effect",
        "for comparison",
        f"{exact_calls / usual_calls:.2f} ({exact_calls:.0f} against {usual_calls:.0f})",
    )
    for keep, deviation, bar in (0.998, 2.0, 1.7), (0.99, 2.0, 1.7), (0.99, 1.0, None):
        few = Size(max(size.runs // 3, 100), size.looks)
        plan = Effect.planned(calls=planned_calls(0.2, math.hypot(1, deviation)))
        world = Drift(keep, deviation)
        ours, plain = (
            float(stopped(plan, few, 0.2, 4, world, 10_000, adjusted=adjusted).mean()) for adjusted in (True, False)
        )
        yield Row(
            f"drift of {deviation:.0f} times the noise, AR(1) {keep}, effect 0.2: calls of a plain difference of means,"
            " over ours",
            f">= {bar}" if bar else "for comparison",
            f"{plain / ours:.2f} ({plain:.0f} against {ours:.0f}; ratio of the variances, at best"
            f" {(1 + deviation**2) / world.best():.2f})",
            plain / ours >= bar if bar else None,
        )


# --- traps ------------------------------------------------------------------------------------------------------------


def traps(size: Size) -> Iterator[Row]:
    """What systems that learn fall into, done right; each beside what it gives when done wrong, where that is short."""
    bar = 0.07
    rng = np.random.default_rng(5)
    yield size.row(
        "trap: drift, a coin for each call",
        false_alarms(size, weather(rng, size.runs, 0.998, 2.0), 0.5, rng)["both"],
        bar=bar,
    )
    for calls in 20, 200, 1000:
        blocks = 400 if size.runs >= 1000 else 200
        runs = min(size.runs, 200_000 // calls) if size.runs < 1000 else size.runs
        per_block, per_call = switchback(Size(runs, blocks), calls, np.random.default_rng(6))
        row = Size(runs, blocks).row(
            f"trap: switchback, blocks of {calls} calls, analysed by block", per_block, bar=bar
        )
        yield row._replace(measured=f"{row.measured} (analysed by call: {per_call:.0%})")
    for hosts in 4, 20, 100:
        by_coin, by_block, by_call = sticky(size, hosts, np.random.default_rng(7))
        row = size.row(f"trap: {hosts} hosts that differ, a coin for each call", by_coin, bar=bar)
        yield row._replace(measured=f"{row.measured} (a host keeps its arm, analysed by call: {by_call:.0%})")
        what = f"trap: {hosts} hosts that differ, a new coin for each 20 calls of a host, analysed by block"
        yield size.row(what, by_block, bar=bar)
    for drifts in True, False:
        ours, plain = greedy(size, np.random.default_rng(8), drifts=drifts)
        row = size.row(f"trap: a greedy bandit allocates{', under drift' if drifts else ''}", ours, bar=bar)
        yield row._replace(measured=f"{row.measured} (difference of means: {plain:.0%})")
    yield size.row("trap: arm 1 improves as it learns; the running average effect is missed", growing(size))


def switchback(size: Size, calls: int, rng: np.random.Generator) -> tuple[float, float]:
    """False alarms by block, and by call, of ``looks`` blocks; the drift lasts some 100 calls."""
    by_block = Effects(Effect.planned(), size.runs)
    by_call = Effects(Effect.planned(), size.runs)
    alarm_block, alarm_call = np.zeros(size.runs, dtype=bool), np.zeros(size.runs, dtype=bool)
    outcomes = weather(rng, size.runs)
    followed = max(1, 4000 // calls)  # blocks that are analysed by call as well
    for block in range(size.looks):
        arm = rng.random(size.runs) < 0.5
        total = np.zeros(size.runs)
        for _ in range(calls):
            y = outcomes()
            total += y
            if block < followed:
                by_call.add(arm, 0.5, y)
                alarm_call |= by_call.log_e() >= LEVEL
        by_block.add(arm, 0.5, total / calls)
        alarm_block |= by_block.log_e() >= LEVEL
    return float(alarm_block.mean()), float(alarm_call.mean())


def sticky(size: Size, hosts: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """False alarms with a coin per call, by block of 20 calls of a host, and where each host keeps its arm."""
    runs, each = size.runs, np.arange(size.runs)
    differ = 0.3 * rng.normal(size=(runs, hosts))
    kept = rng.random((runs, hosts)) < 0.5
    coin, block, call = (Effects(Effect.planned(), runs) for _ in range(3))
    alarms = np.zeros((3, runs), dtype=bool)
    arms, totals, seen = rng.random((runs, hosts)) < 0.5, np.zeros((runs, hosts)), np.zeros((runs, hosts))
    for _ in range(size.looks):
        host = rng.integers(hosts, size=runs)
        y = differ[each, host] + rng.normal(size=runs)
        coin.add(rng.random(runs) < 0.5, 0.5, y)
        call.add(kept[each, host], 0.5, y)
        totals[each, host] += y
        seen[each, host] += 1
        full = seen[each, host] == 20
        if full.any():
            block.add(arms[each, host], 0.5, totals[each, host] / 20, full)
            who = each[full], host[full]
            totals[who], seen[who], arms[who] = 0.0, 0.0, rng.random(int(full.sum())) < 0.5
        for alarm, test in zip(alarms, (coin, block, call), strict=True):
            alarm |= test.log_e() >= LEVEL
    by_coin, by_block, by_call = alarms.mean(axis=1).tolist()
    return by_coin, by_block, by_call


def greedy(size: Size, rng: np.random.Generator, *, drifts: bool) -> tuple[float, float]:
    """Of an arm that leads in 95 % of the calls; and of the plain difference of means with the same bounds."""
    runs = size.runs
    outcomes = weather(rng, runs, 0.998) if drifts else (lambda: rng.normal(size=runs))
    ours = Effects(Effect.planned(), runs)
    n, total, squares = np.ones((2, runs)), np.zeros((2, runs)), np.ones((2, runs))
    alarms, plain = np.zeros(runs, dtype=bool), np.zeros(runs, dtype=bool)
    rho = tuning(PLANNED, ALPHA)
    for i in range(size.looks):
        p = np.where(total[1] / n[1] > total[0] / n[0], 0.95, 0.05) if i > 20 else np.full(runs, 0.5)
        arm = rng.random(runs) < p
        y = outcomes()
        ours.add(arm, p, y)
        for a in 0, 1:
            here = arm == a
            n[a] += here
            total[a] += here * y
            squares[a] += here * y * y
        alarms |= ours.log_e() >= LEVEL
        variance = (squares / n - (total / n) ** 2) / n
        scale = i * rho**2 + 1.0
        z2 = (total[1] / n[1] - total[0] / n[0]) ** 2 / variance.sum(axis=0) * (scale - 1) / scale
        plain |= (0.5 * (z2 - math.log(scale)) >= LEVEL) & (n.min(axis=0) >= 50)
    return float(alarms.mean()), float(plain.mean())


def growing(size: Size) -> float:
    """How often the bounds ever miss the running average of an effect that grows from 0 to 1, under drift."""
    rng = np.random.default_rng(9)
    outcomes, effects = weather(rng, size.runs), Effects(Effect.planned(), size.runs)
    missed, total, weight = np.zeros(size.runs, dtype=bool), 0.0, 0.0
    for i in range(size.looks):
        true = 1 - math.exp(-i / (0.2 * size.looks))
        arm = rng.random(size.runs) < 0.5
        before = float(effects.sums[0][0])
        effects.add(arm, 0.5, outcomes() + true * arm)
        w = float(effects.sums[0][0]) - before  # 0 where the call only taught the predictions
        total, weight = total + w * true, weight + w
        if weight:
            missed |= effects.log_e(total / weight) >= LEVEL
    return float(missed.mean())


# --- real -------------------------------------------------------------------------------------------------------------


def agrees() -> Row:
    """With GrowthBook's figures, kept in ``tests/golden``."""
    kept = json.loads((Path("tests") / "golden" / "growthbook_intervals.json").read_text())
    off = 0.0
    for row in kept["rows"]:
        control, treatment = (
            Arm(*(row[f"{x}_{a}"] for x in ("n", "mean", "variance"))) for a in ("control", "treatment")
        )
        low, high = difference(control, treatment, tuning(row["planned"], row["alpha"]), row["alpha"])
        off = max(off, *(abs(a - b) / (high - low) for a, b in ((low, row["low"]), (high, row["high"]))))
    what = f"intervals beside those of {kept['source']}, {len(kept['rows'])} cases: farthest apart, of a width"
    return Row(what, "<= 1e-6", f"{off:.0e}", off <= 1e-6)


def real_tests(place: Path) -> Iterator[Row]:
    """Real A/B tests, of which each snapshot is looked at: does what was called early still hold at the end?"""
    cells: dict[tuple[str, str, str], list[tuple[float, Arm, Arm]]] = {}
    with gzip.open(place / "ab_asos" / "dev.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            if row["variance_c"] and row["variance_t"]:
                arms = [Arm(*(float(row[f"{x}_{a}"]) for x in ("count", "mean", "variance"))) for a in "ct"]
                if all(arm.n > 1 for arm in arms):
                    key = row["experiment_id"], row["variant_id"], row["metric_id"]
                    cells.setdefault(key, []).append((float(row["time_since_start"]), *arms))
    found, saved, full = {(test, held): [0, 0] for test in ("ours", "plain z") for held in (1, 3)}, [], 0
    for snapshots in cells.values():
        snapshots.sort(key=lambda snapshot: snapshot[0])
        (_, *first), (end, *last) = snapshots[0], snapshots[-1]
        if len(snapshots) < 5:
            continue
        z = _z(*last)
        full += abs(z) > 1.96
        rho = tuning(10 * sum(arm.n for arm in first), ALPHA)  # planned: ten times what the first snapshot brought
        for (test, held), counts in found.items():
            signs: list[float] = []
            for at, control, treatment in snapshots:
                low, high = difference(control, treatment, rho, ALPHA)
                if test == "plain z":
                    middle = _z(control, treatment)
                    low, high = middle - 1.96, middle + 1.96
                signs = [*signs, 1.0 if low > 0 else -1.0 if high < 0 else 0.0][-held:]
                if abs(sum(signs)) == held:
                    counts[0] += 1
                    counts[1] += signs[0] * z > 1.96
                    if (test, held) == ("ours", 3):
                        saved.append(1 - at / end)
                    break
    (early, agreed), (peeked, right) = found["ours", 3], found["plain z", 3]
    yield Row(
        f"real A/B tests, {len(cells)} metrics: called at three snapshots in a row, and the same at full length",
        ">= 90 %, and more than by plain z",
        f"{agreed} of {early} ({agreed / early:.0%}; by plain z {right} of {peeked}, {right / peeked:.0%}), with"
        f" {float(np.median(saved)):.0%} of the time left; significant at full length: {full}",
        agreed / early >= 0.9 and agreed / early > right / peeked,
    )
    (early, agreed), (peeked, right) = found["ours", 1], found["plain z", 1]
    yield Row(
        "the same, called at one snapshot: some count one arm later than the other, and are taken back by the next",
        "for comparison",
        f"{agreed} of {early} ({agreed / early:.0%}; by plain z {right} of {peeked}, {right / peeked:.0%})",
    )


def _z(control: Arm, treatment: Arm) -> float:
    return (treatment.mean - control.mean) / math.sqrt(control.variance / control.n + treatment.variance / treatment.n)


def real_noise(place: Path, size: Size) -> Iterator[Row]:
    """Machines in a cloud, measured for months: a coin for each measurement, and nothing to find."""
    groups: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    with gzip.open(place / "azure_vm_noise" / "dev.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            if float(row["value"]) > 0:
                key = row["metric"], row["lifespan"], row["sku"]
                groups.setdefault(key, []).append((float(row["ts"]), math.log(float(row["value"]))))
    runs, most = (100, 10_000) if size.runs >= 1000 else (40, 800)
    for share in 0.5, 0.1:
        rng, alarms = np.random.default_rng(10), []
        for series in groups.values():
            effects, alarm = Effects(Effect.planned(), runs), np.zeros(runs, dtype=bool)
            for _, y in sorted(series)[:most]:
                effects.add(rng.random(runs) < share, share, np.full(runs, y))
                alarm |= effects.log_e() >= LEVEL
            alarms.append(alarm.mean())
        what = f"A/A on cloud machines, {len(groups)} series, {runs} draws of the coins each, share {share:.0%}"
        yield Row(f"{what}: false alarms", "<= 5 %", f"{np.mean(alarms):.2%}", float(np.mean(alarms)) <= 0.05)


def speed() -> Iterator[Row]:
    """CPU time of what ships, one call at a time."""
    effect, n = Effect.planned(), 20_000
    began = time.thread_time()
    for i in range(n):
        effect = effect.add(i & 1, 0.5, float(i % 7))
    added = (time.thread_time() - began) / n
    test = CoinTest()
    began = time.thread_time()
    for i in range(n):
        test = test.add(0.1, i % 10 == 0, 1)
        test.harm(0.01)
    looked = (time.thread_time() - began) / n
    shares = SampleRatio().add((0.5, 0.5), (n, n))
    began = time.thread_time()
    for _ in range(n):
        shares.mismatch()
    ratio = (time.thread_time() - began) / n
    what = "CPU: a call added to the effect · an event added to the coin test, and a look · a look at the sample ratio"
    yield Row(what, "", f"{added * 1e6:.1f} · {looked * 1e6:.1f} · {ratio * 1e6:.1f} us")


def run(runs: int = 300, looks: int = 2_000) -> Iterator[Row]:
    """Short by default."""
    size = Size(runs, looks)
    yield from every_world(size)
    yield from processes(size)
    yield from other_tests(size)
    yield agrees()
    yield from samples(size)
    yield from traps(size)
    place = folder()
    if place is None:
        yield Row("real A/B tests", "for comparison", "not here: name its folder in POET_TRACES")
    else:
        yield from real_tests(place)
        yield from real_noise(place, size)
    yield from speed()


def main(arguments: list[str]) -> int:
    began = time.perf_counter()
    held = show("Looks at any time", run(int(arguments[0]), 10_000) if arguments else run())
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
