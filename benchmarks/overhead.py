"""What POET adds to a call, beside its peers on the same body.

CPU time of the calling thread, rounds interleaved in shuffled order, median over rounds of "case minus bare of the same
round": other jobs on the machine then widen the spread, and hardly move the figure. The trainer's own CPU is not in it;
`benchmarks.learning` counts that per execution.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import stamina
import tenacity

from benchmarks.table import Row, show
from poet.app import build
from poet.decorator import bind
from poet.model.policy import Tries
from poet.model.tunable import Real
from poet.seams import Probe
from poet.settings import Settings
from poet.stores.memory import MemoryStore

ROUNDS = 61
CALLS = 2000
TRYING = 0.02  # share of calls that try another value of a learned tunable
USUAL = 13.9e-6  # what tenacity.retry took per call on the machine and the day on which bars in seconds were set [s]


def nothing() -> None:
    """The body."""


async def nothing_async() -> None:
    """The body, async."""


def has_a_tunable(k: float = 0.5) -> None:
    """The body, with a parameter that may be learned."""


def has_a_context(region: str = "eu") -> None:
    """The body, with a parameter that may matter to the others."""


async def suspends_once() -> None:
    """The body, async, that gives way once."""
    await asyncio.sleep(0)


def poet_for(learning: str = "on") -> Callable[..., Any]:
    return bind(build(Settings(store="memory:", learning=learning), store=MemoryStore()))  # type: ignore[arg-type]


def medians(cases: dict[str, Callable[[int], float]], calls: int = CALLS) -> dict[str, float]:
    """Seconds per call that each case adds to the first one."""
    for case in cases.values():
        case(200)
    rng = random.Random(1)
    names = list(cases)
    added: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        rng.shuffle(names)
        spent = {
            name: cases[name](max(50, calls // 20) if "stamina" in name or "tenacity" in name else calls)
            for name in names
        }
        bare = spent[next(iter(cases))]
        for name in names:
            added[name].append(spent[name] - bare)
    return {name: statistics.median(values) for name, values in added.items()}


def timed(function: Callable[[], Any]) -> Callable[[int], float]:
    def case(calls: int) -> float:
        rounds = range(calls)
        start = time.thread_time()
        for _ in rounds:
            function()
        return (time.thread_time() - start) / calls

    return case


def timed_async(function: Callable[[], Awaitable[Any]], loop: asyncio.AbstractEventLoop) -> Callable[[int], float]:
    async def case(calls: int) -> float:
        rounds = range(calls)
        start = time.thread_time()
        for _ in rounds:
            await function()
        return (time.thread_time() - start) / calls

    return lambda calls: loop.run_until_complete(case(calls))


def slowness() -> float:
    """How slow the machine is right now: what tenacity.retry takes, over what it took, > 0 [1].

    A virtual machine that shares its cores is a third slower on some days, and a bar in seconds means nothing then.
    """
    peer = tenacity.retry(stop=tenacity.stop_after_attempt(4))(nothing)
    return medians({"bare": timed(nothing), "tenacity": timed(peer)})["tenacity"] / USUAL


def sync_rows() -> list[Row]:
    poet = poet_for()
    trained, recorded = poet(enable_training=True, name="trained")(nothing), poet(name="recorded")(nothing)
    off = poet_for("off")(enable_training=True, name="off")(nothing)
    parameters = trained.poet
    cost = medians(
        {
            "bare": timed(nothing),
            "training on": timed(trained),
            "recording": timed(recorded),
            "off": timed(off),
            "stamina": timed(stamina.retry(on=ConnectionError, attempts=4)(nothing)),
            "tenacity": timed(tenacity.retry(stop=tenacity.stop_after_attempt(4))(nothing)),
            "read": timed(lambda: parameters.parameters),
            "empty lambda": timed(lambda: None),
        }
    )
    us = {name: 1e6 * value for name, value in cost.items()}
    ours, read = us["training on"], us["read"] - us["empty lambda"]
    return [
        Row("added per sync call, training on, no-op body", "≤ 1.0 µs", f"{ours:.2f} µs", ours <= 1.0),
        Row(
            "… as a share of stamina's",
            "≤ 0.1",
            f"{ours / us['stamina']:.3f} of {us['stamina']:.1f} µs",
            ours <= 0.1 * us["stamina"],
        ),
        Row(
            "… as a share of tenacity's",
            "≤ 0.1",
            f"{ours / us['tenacity']:.3f} of {us['tenacity']:.1f} µs",
            ours <= 0.1 * us["tenacity"],
        ),
        Row("… recording only", "", f"{us['recording']:.2f} µs"),
        Row(
            "added per call, `POET_LEARNING=off`",
            "≤ 0.15 µs where tenacity takes 13.9 µs",
            f"{us['off']:.3f} µs where it takes {us['tenacity']:.1f}",
            us["off"] <= 0.15 * us["tenacity"] / (1e6 * USUAL),
        ),
        Row("reading the current parameters", "≤ 0.2 µs", f"{read:.3f} µs", read <= 0.2),
    ]


def tunable_rows() -> list[Row]:
    """What own tunables, contexts and scores add to a decorated call of the same body, with calls that try."""
    poet = poet_for("observe")
    tunables = {"k": Real(0.0, 1.0)}
    plain = poet(enable_training=True, name="plain")(has_a_tunable)
    tuned = poet(enable_training=True, name="tuned", tunables=tunables)(has_a_tunable)
    scored = poet(enable_training=True, name="scored", score=lambda result, seconds: 1.0)(has_a_tunable)
    alike = poet(enable_training=True, name="alike")(has_a_context)
    apart = poet(enable_training=True, name="apart", context="region")(has_a_context)
    for call in (plain, tuned, scored, alike, apart):
        call()
    tries = Probe(policy=Tries(TRYING, ({"k": 0.25}, {"k": 0.75})))
    tuned.poet._cell.plan = tuned.poet._cell.compile(tuned.poet.parameters, tries)
    cost = medians(
        {
            "bare": timed(has_a_tunable),
            "plain": timed(plain),
            "tuned": timed(tuned),
            "scored": timed(scored),
            "alike": timed(alike),
            "apart": timed(apart),
            "tenacity": timed(tenacity.retry(stop=tenacity.stop_after_attempt(4))(nothing)),
        }
    )
    us = {name: 1e6 * value for name, value in cost.items()}
    more, ratio = us["tuned"] - us["plain"], us["tuned"] / us["plain"]
    return [
        Row(
            f"a learned tunable adds, {TRYING:.0%} of calls try another value",
            "≤ 0.3 µs where tenacity takes 13.9 µs",
            f"{more:.2f} µs where it takes {us['tenacity']:.1f}; {ratio:.2f} of a plain decorated call",
            more <= 0.3 * us["tenacity"] / (1e6 * USUAL),
        ),
        Row("a context of one argument adds", "", f"{us['apart'] - us['alike']:.2f} µs"),
        Row("a score in the call adds", "", f"{us['scored'] - us['plain']:.2f} µs"),
    ]


def async_rows() -> list[Row]:
    poet = poet_for()
    rows = []
    loop = asyncio.new_event_loop()
    try:
        for what, body in (("never suspends", nothing_async), ("suspends once", suspends_once)):
            tuned = poet(enable_training=True, timeout=5.0, name=what)(body)

            async def limited(body: Callable[[], Awaitable[None]] = body) -> None:
                async with asyncio.timeout(5.0):
                    await body()

            cost = medians(
                {
                    "bare": timed_async(body, loop),
                    "poet": timed_async(tuned, loop),
                    "asyncio.timeout": timed_async(limited, loop),
                }
            )
            ours, theirs = 1e6 * cost["poet"], 1e6 * cost["asyncio.timeout"]
            rows.append(
                Row(
                    f"added per async call, timeout enforced, training on; body {what}",
                    "≤ asyncio.timeout alone",
                    f"{ours:.2f} µs; asyncio.timeout {theirs:.2f} µs; ratio {ours / theirs:.2f}",
                    ours <= theirs,
                )
            )
    finally:
        loop.close()
    return rows


def import_rows(runs: int = 15) -> list[Row]:
    def wall(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    added: dict[str, list[float]] = {"import poet": [], "from poet import poet, Objective": []}
    for _ in range(runs):
        bare = wall("pass")
        for code, values in added.items():
            values.append(wall(code) - bare)
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys; from poet import poet; print('numpy' in sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    rows = [
        Row(
            f"`{code}`, more than bare Python",
            "≤ 60 ms",
            f"{1e3 * statistics.median(v):.0f} ms",
            statistics.median(v) <= 0.06,
        )
        for code, v in added.items()
    ]
    return [*rows, Row("numpy loaded by it", "no", "no" if loaded == "False" else "yes", loaded == "False")]


def run() -> list[Row]:
    """All rows."""
    return [*sync_rows(), *tunable_rows(), *async_rows(), *import_rows()]


if __name__ == "__main__":
    sys.exit(not show("What a call costs", run()))
