"""Does a guard find harm in a handful of calls, and leave a good canary alone?

    python -m benchmarks.guards [runs]

A canary takes 10 % of the calls, by a coin per call. Three guards watch at once, and share 1 % of false alarms over all
looks: failures (``coin.CoinTest``, 0.6 %), breaches of a limit that learns from the live version (``exceedance.Limit``
and ``coin.CoinTest``, 0.1 %), and log latency (``effect.Effect``, above 0, 0.3 %). They look after every call. A call
of the live version fails in 1 % and takes 0.1 s in the median, log-normally, of a deviation of 0.8 of its logarithm; in
a drifting world, the logarithms of both are moved by autoregressive weather of deviation 0.5 that lasts some 500 calls.
A call that hangs takes 30 times as long. ``benchmarks.many_runs`` follows all runs at once.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.many_runs import Coins, Effects, Limits, coin_log_e, log_weights
from benchmarks.table import Row, show
from poet.kernels.online import verdict
from poet.kernels.online.coin import RATIOS, CoinTest
from poet.kernels.online.effect import Effect, Side
from poet.kernels.online.waiting import Waiting

Array = npt.NDArray[np.float64]

ALPHA = 0.01
WEIGHTS = {"failures": 0.6, "slow calls": 0.1, "latency": 0.3}
SHARE = 0.1
FAILS = 0.01
MEDIAN, DEVIATION = 0.1, 0.8  # [s], of its logarithm
HANGS = 30.0  # times as long
PLANNED = 500.0  # balanced calls


class Canary(NamedTuple):
    """How it differs from the live version."""

    failures: float = FAILS
    slower: float = 1.0  # times
    hangs: float = 0.0  # share of its calls
    drift: bool = False  # of the world
    spread: float = 1.0  # deviation of its log latency, over that of the live version


class Ran(NamedTuple):
    """What became of each run."""

    canary_calls: Array  # until it was rolled back; infinite where it was not
    by: npt.NDArray[np.intp]  # which guard; -1: none

    def found(self) -> float:
        """Share of the runs that were rolled back."""
        return float(np.isfinite(self.canary_calls).mean())


def watched(runs: int, calls: int, canary: Canary, seed: int, share: Callable[[int], float] = lambda i: SHARE) -> Ran:
    """All runs, until each is rolled back or had ``calls`` calls of either version."""
    rng = np.random.default_rng(seed)
    levels = [-math.log(alpha) for alpha in verdict.split(ALPHA, WEIGHTS).values()]
    failures, slow, limits = Coins(runs), Coins(runs), Limits(runs)
    latency = Effects(Effect.planned(calls=PLANNED, alpha=ALPHA * WEIGHTS["latency"]), runs)
    weather = np.zeros(runs)
    n, stopped, by = np.zeros(runs), np.full(runs, np.inf), np.full(runs, -1)
    for i in range(calls):
        q = share(i)
        arm = rng.random(runs) < q
        n += arm
        if canary.drift:
            weather = 0.998 * weather + 0.5 * math.sqrt(1 - 0.998**2) * rng.normal(size=runs)
        rate = np.where(arm, canary.failures, FAILS) * np.exp(weather)
        fails = rng.random(runs) < rate
        x = math.log(MEDIAN) + weather + DEVIATION * np.where(arm, canary.spread, 1.0) * rng.normal(size=runs)
        x += arm * math.log(canary.slower)
        if canary.hangs:
            x += np.where(arm & (rng.random(runs) < canary.hangs), math.log(HANGS), 0.0)
        failures.add(q, arm, fails)
        slow.add(q, arm, x > limits.log_seconds())
        limits.add(~arm, x)
        latency.add(arm, q, x)
        evidence = failures.log_e, slow.log_e, latency.log_e(0.0, Side.ABOVE)
        for guard, (log_e, level) in enumerate(zip(evidence, levels, strict=True)):
            new = (log_e >= level) & np.isinf(stopped)
            stopped[new], by[new] = n[new], guard
        if i % 100 == 99 and np.isfinite(stopped).all():
            break
    return Ran(stopped, by)


def steps(i: int) -> float:
    """The share of a roll-out in steps, of 20,000 calls each until half."""
    return 0.01 if i < 20_000 else 0.1 if i < 40_000 else 0.5


FOUND = (
    ("fails always, instead of 1 %", Canary(failures=1.0), 5, 0.999, 2_000),
    ("fails in 20 %", Canary(failures=0.2), 30, 0.999, 5_000),
    ("fails in 5 %", Canary(failures=0.05), 180, 0.99, 20_000),
    ("fails in 5 %, in a drifting world", Canary(failures=0.05, drift=True), None, 0.95, 20_000),
    ("takes 1.5 times as long", Canary(slower=1.5), 75, 0.99, 5_000),
    ("takes 1.2 times as long", Canary(slower=1.2), 300, 0.99, 15_000),
    ("takes 1.2 times as long, in a drifting world", Canary(slower=1.2, drift=True), None, 0.95, 20_000),
    ("hangs in 2 % of its calls", Canary(hangs=0.02), 700, 0.95, 20_000),
    ("hangs in 2 %, in a drifting world", Canary(hangs=0.02, drift=True), None, 0.9, 20_000),
)

ALIKE = (
    ("as good, steady world", Canary(), lambda i: SHARE),
    ("as good, drifting world", Canary(drift=True), lambda i: SHARE),
    ("as good, drifting world, shares of 1, 10 and 50 %", Canary(drift=True), steps),
    ("better: fails in 0.5 %, takes 0.9 times as long", Canary(failures=0.005, slower=0.9), lambda i: SHARE),
)


def stepped(runs: int, seed: int) -> tuple[Array, Array]:
    """Calls of the canary until 2 % of failures, instead of 1 %, are found over the steps of a roll-out, at alpha 1 %.

    By one mixture over all steps, as ships; and by the product of a mixture for each step.
    """
    rng = np.random.default_rng(seed)
    stops = np.full((2, runs), np.inf)
    shares = np.array([steps(i) for i in range(80_000)])
    for run in range(runs):
        canary = rng.random(len(shares)) < shares
        event = rng.random(len(shares)) < np.where(canary, 2 * FAILS, FAILS)
        calls = canary.cumsum()[event]
        apart = np.zeros(len(calls))
        whole = np.zeros((len(RATIOS), len(calls)))
        for share in np.unique(shares):
            here = (shares == share)[event]
            ours, all_ = (canary[event] & here).cumsum(), here.cumsum()
            apart += coin_log_e(ours, all_, float(share))
            for row, ratio in zip(whole, RATIOS, strict=True):
                row += ours * math.log(ratio) - all_ * math.log(1 - share + share * ratio)
        together = np.logaddexp.reduce(whole + log_weights()[:, None], axis=0)
        for stop, log_e in zip(stops, (together, apart), strict=True):
            (found,) = np.nonzero(log_e >= -math.log(ALPHA))
            stop[run] = calls[found[0]] if len(found) else np.inf
    return stops[0], stops[1]


def sooner(runs: int, seed: int, *, wait: bool) -> float:
    """How often a canary that is as good is rolled back, as its timeouts are known after 1 s, the others' after 30 s.

    100 calls a second, of which 1 % time out with either version, for 200 s.
    """
    rng, false = np.random.default_rng(seed), 0
    for _ in range(runs):
        began = np.flatnonzero(rng.random(20_000) < FAILS) / 100
        canary = rng.random(len(began)) < SHARE
        told = began + np.where(canary, 1.0, 30.0)
        test, waiting, harm = CoinTest(), Waiting(30.0), False
        for i in np.argsort(told):
            if wait:
                waiting, due = waiting.add(float(began[i]), SHARE, bool(canary[i])).due(float(told[i]))
                for counts in due:
                    test = test.add(*counts)
            else:
                test = test.add(SHARE, int(canary[i]), 1)
            harm = harm or test.harm(ALPHA)
        false += harm
    return false / runs


def run(runs: int = 200, calls: int = 10_000) -> Iterator[Row]:
    """Short by default; the bars of the false alarms allow three standard errors."""
    for seed, (what, canary, bar, share, most) in enumerate(FOUND):
        ran = watched(runs, most, canary, seed)
        middle, late, found = float(np.median(ran.canary_calls)), float(np.quantile(ran.canary_calls, 0.9)), ran.found()
        slack = 3 * math.sqrt(share * (1 - share) / runs)
        who = " · ".join(f"{name} {np.mean(ran.by == i):.0%}" for i, name in enumerate(WEIGHTS) if (ran.by == i).any())
        yield Row(
            f"a canary that {what}: its calls until it is rolled back, median",
            f"<= {bar}, found in {share:.1%}" if bar else f"found in {share:.1%}",
            f"{middle:.0f} (90 % within {late:.0f}; found {found:.1%}; by {who})",
            (bar is None or middle <= bar) and found >= share - slack,
        )
    for seed, (what, canary, plan) in enumerate(ALIKE):
        false = watched(runs, calls, canary, 100 + seed, plan).found()
        yield Row(
            f"a canary that is {what}: rolled back, within {calls:,} calls, a look at each",
            "<= 1 %",
            f"{false:.2%} (SE {math.sqrt(max(false, 0.005) / runs):.2%})",
            false <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / runs) if runs < 1000 else false <= ALPHA,
        )

    few = min(runs, 1000)
    together, apart = stepped(few, 201)
    yield Row(
        "a canary that fails in 2 %, at 1, 10, 50 % of the calls: its calls until found by one mixture over all steps",
        "fewer than by one for each step",
        f"{np.median(together):.0f}, 90 % within {np.quantile(together, 0.9):.0f}"
        f" ({np.median(apart):.0f} and {np.quantile(apart, 0.9):.0f})",
        bool(np.median(together) <= np.median(apart)),
    )
    hasty, patient = (sooner(few, 200, wait=wait) for wait in (False, True))
    yield Row(
        "a canary that is as good, but tells its timeouts after 1 s and not after 30 s: rolled back; a call counts 30 s"
        " after it began",
        "<= 1 %",
        f"{patient:.2%} (counted as they come: {hasty:.0%})",
        patient <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / few),
    )


def main(arguments: list[str]) -> int:
    began = time.perf_counter()
    runs = int(arguments[0]) if arguments else 0
    held = show("Guards", run(runs, 50_000) if runs else run())
    print(f"\n{time.perf_counter() - began:.0f} s")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
