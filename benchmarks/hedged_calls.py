"""The hedging workload once more, made by the real call path: an async function, its learner and its budget.

On a virtual loop; 20 tasks call in turn, each request of a call takes what the dice say, and training runs every 100
calls. `benchmarks.hedging` plays the learner alone, beside other rules; here limits, races, budget and records are
real. Hedges are planned with 92.5 % of the declared share: the budget is a cap, and what it refuses comes in clusters.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import ContextVar
from itertools import count
from statistics import fmean
from typing import Literal

from benchmarks.hedging import MOST_EXTRA, MOST_P99, MOST_P999
from benchmarks.table import Row, show
from poet.app import build
from poet.decorator import bind
from poet.errors import PoetTimeout
from poet.model.dependency import Budget, Dependency
from poet.settings import Settings
from poet.sim.hedging import Workload
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock
from poet.testing.clock import run as run_virtual

SHARE = 0.08  # extra requests per call, at most
EVERY = 100  # calls between two rounds of training
CALL: ContextVar[int] = ContextVar("call")


def figures(seed: int, calls: int, rollout: Literal["canary", "direct"]) -> tuple[float, float, float, float]:
    """p99 and p99.9 of the calls' durations [s], extra requests per call, and the share of calls that failed."""
    workload = Workload(calls=calls)
    latencies = workload.latencies(seed)
    clock = VirtualClock()
    settings = Settings(store="memory:", seed=seed, buffer=2 * calls, rollout=rollout)
    agent = build(settings, store=MemoryStore(), clock=clock, thread=False)
    requests = [0] * calls
    seconds = [0.0] * calls
    failed = [False] * calls

    async def ask() -> None:
        call = CALL.get()
        latency = latencies[call, requests[call]]
        requests[call] += 1
        await asyncio.sleep(float(latency))

    dependency = Dependency("anchor", budget=Budget(share=SHARE))
    tuned = bind(agent)(enable_training=True, dependency=dependency, name="anchor")(ask)
    turn = count()

    async def worker() -> None:
        while (call := next(turn)) < calls:
            CALL.set(call)
            began = clock.now()
            try:
                await tuned()
            except PoetTimeout:
                failed[call] = True
            seconds[call] = clock.now() - began
            if call % EVERY == 0:
                agent.flush()

    async def everything() -> None:
        await asyncio.gather(*(worker() for _ in range(workload.workers)))

    run_virtual(everything(), clock)
    ordered = sorted(seconds)
    last = calls - 1
    return ordered[int(0.99 * last)], ordered[int(0.999 * last)], sum(requests) / calls - 1, sum(failed) / calls


def run(calls: int = 50_000, seeds: int = 5) -> list[Row]:
    """All rows."""
    rows = []
    ways: tuple[tuple[str, Literal["canary", "direct"]], ...] = (("at once", "direct"), ("step by step", "canary"))
    for way, rollout in ways:
        columns = list(zip(*(figures(seed, calls, rollout) for seed in range(seeds)), strict=True))
        p99, p999, extra, failed = (fmean(column) for column in columns)
        worst = [max(column) for column in columns]
        rows.append(
            Row(
                f"{calls} calls by 20 tasks, everything learned, live {way}; p99 / p99.9 at extra requests, mean of "
                f"{seeds} seeds",
                f"≤ {1e3 * MOST_P99:.1f} / {1e3 * MOST_P999:.0f} ms at ≤ {MOST_EXTRA:.1%}",
                f"{1e3 * p99:.2f} / {1e3 * p999:.1f} ms at {extra:.2%}; worst {1e3 * worst[0]:.2f} / "
                f"{1e3 * worst[1]:.1f} ms at {worst[2]:.2%}; {failed:.3%} failed",
                p99 <= MOST_P99 and p999 <= MOST_P999 and extra <= MOST_EXTRA,
            )
        )
    return rows


if __name__ == "__main__":
    sys.exit(not show("Hedged calls", run()))
