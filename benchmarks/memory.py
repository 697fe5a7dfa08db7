"""What an agent holds: 1000 learning functions of five parameters each, and where its room goes.

    python -m benchmarks.memory [functions]

Each figure is that of a fresh process: bare Python, the same with numpy, the same with asyncio, and an agent whose
functions have made 60 calls each, with varied latencies, failures and hedges, on a virtual loop; all of them learned
from and stored in a SQLite file. Resident memory counts what the allocator keeps for itself, too; what is told by room
was counted allocation by allocation, in runs of their own.

No process compiles what it measures, as no installed package is compiled when it is used: a run before fills a cache of
bytecode.
"""

from __future__ import annotations

import gc
import json
import os
import random
import subprocess
import sys
import tempfile
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.table import Row, show

FUNCTIONS = 1000
ROUNDS, EACH = 6, 10  # calls of each function: so many times so many, learned from in between
TOGETHER = 100  # functions that are called between two rounds of training
ALL_OF_IT, OURS = 35.0, 12.0  # [MB]
PARAMETERS = ("timeout", "retries", "backoff", "hedges", "hedge_delay")

MOST_ROOMS = 24  # that are told

_KINDS = ("bare", "numpy", "loop", "idle", "agent")
_MB = 1e6
_SOURCE = Path(__file__).resolve().parent.parent / "src" / "poet"


def run(functions: int = FUNCTIONS) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as cache:
        _child("agent", min(functions, TOGETHER), cache)
        bare, numpy, loop, idle, busy = (_child(what, functions, cache) for what in _KINDS)
        sample = max(2, functions // 5)
        none, some = (_child("counted", n, cache)["rooms"] for n in (1, sample))
    grown = {room: (size - none.get(room, 0)) / (sample - 1) for room, size in some.items()}
    rooms = sorted(grown.items(), key=lambda item: -item[1])
    each = f"{functions} functions of {len(PARAMETERS)} parameters, {ROUNDS * EACH} calls each"

    def above(more: dict[str, Any], less: dict[str, Any], what: str = "resident") -> float:
        return float(more[what] - less[what]) / _MB

    asyncio = above(loop, numpy)
    whole, ours = above(busy, bare), above(busy, loop)
    return [
        Row(f"{each}: above bare Python", f"≤ {ALL_OF_IT:g} MB", f"{whole:.1f} MB", whole <= ALL_OF_IT),
        Row("… above bare Python with asyncio", "", f"{whole - asyncio:.1f} MB"),
        Row("… of it asyncio, which their callers need", "", f"{asyncio:.1f} MB"),
        Row("… of it numpy, as loaded", "", f"{above(numpy, bare):.1f} MB"),
        Row("… of it ours: above bare Python with numpy and asyncio", f"≤ {OURS:g} MB", f"{ours:.1f} MB", ours <= OURS),
        Row("…… and asyncio", "", f"{ours + asyncio:.1f} MB"),
        Row("…… in pages of libraries, which processes share", "", f"{above(busy, loop, 'shared'):.1f} MB"),
        Row("…… before the first call: code that is loaded", "", f"{above(idle, loop):.1f} MB"),
        Row("allocated for each further function", "", f"{sum(grown.values()) / 1e3:.1f} kB"),
        *(Row(f"… in {room}", "", f"{size / 1e3:.2f} kB") for room, size in rooms[:MOST_ROOMS]),
    ]


def _child(what: str, functions: int, cache: str) -> dict[str, Any]:
    """cache: folder of compiled modules."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.memory", "child", what, str(functions), folder]
        environ = {**own, "PYTHONPYCACHEPREFIX": cache}
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=environ)
    result: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return result


def _resident() -> dict[str, Any]:
    """Bytes of this process that are in memory: all, and those of files that processes share."""
    gc.collect()
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    if not {"VmRSS", "RssFile"} <= told.keys():
        raise OSError("the system does not say how much memory a process takes")
    return {name: 1024 * int(told[line].split()[0]) for name, line in (("resident", "VmRSS"), ("shared", "RssFile"))}


def _measure(what: str, functions: int, folder: str) -> dict[str, Any]:
    """In a process of its own: what is there at the end."""
    if what != "bare":
        import numpy as np

        np.random.default_rng(0).beta(1.0, 2.0)
    if what == "loop":
        import asyncio

        asyncio.run(asyncio.sleep(0))
    if what in ("bare", "numpy", "loop"):
        return _resident()
    if what == "counted":
        tracemalloc.start()
    there = _agent(functions, folder, calls=what != "idle")
    result = _resident()
    if what == "counted":
        gc.collect()
        result["rooms"] = _by_room(tracemalloc.take_snapshot())
    del there
    return result


def _agent(functions: int, folder: str, *, calls: bool) -> object:
    """An agent with its functions; ``calls``: that have been called, learned from and stored."""
    import asyncio  # here, so that bare Python is bare

    from poet.app import build
    from poet.decorator import bind
    from poet.errors import PoetTimeout
    from poet.settings import Settings
    from poet.testing.clock import VirtualClock, VirtualLoop

    clock = VirtualClock()
    settings = Settings(store=f"sqlite:///{folder}/poet.db", seed=1)
    agent = build(settings, clock=clock, thread=False)
    dice = random.Random(1)
    if not calls:
        functions = 1
    decorate = bind(agent)
    made = [
        decorate(name=f"f{i}", enable_training=True, timeout=20.0, retries=2, backoff=0.05, hedges=1, hedge_delay=5.0)(
            _service(dice)
        )
        for i in range(functions)
    ]

    async def some(functions: Iterable[Callable[[], Awaitable[int]]]) -> None:
        for function in functions:
            for _ in range(EACH):
                with suppress(ConnectionError, PoetTimeout):
                    await function()

    if calls:
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
            dice.shuffle(made)
            for first in [*range(0, functions, TOGETHER)] * ROUNDS:
                runner.run(some(made[first : first + TOGETHER]))
                agent.flush()
    return agent, made


def _service(dice: random.Random) -> Callable[[], Awaitable[int]]:
    usual, failing = dice.lognormvariate(-2.0, 1.0), dice.choice((0.0, 0.02, 0.2))

    import asyncio

    async def call() -> int:
        await asyncio.sleep(usual * dice.lognormvariate(0.0, 0.6) * (20.0 if dice.random() < 0.03 else 1.0))
        if dice.random() < failing:
            raise ConnectionError
        return 1

    return call


def _by_room(snapshot: tracemalloc.Snapshot) -> dict[str, int]:
    """Bytes by the file that asked for them: ours by room and module, all others by package."""
    rooms: Counter[str] = Counter()
    for statistic in snapshot.statistics("filename"):
        path = Path(statistic.traceback[0].filename)
        if path.is_relative_to(_SOURCE):
            name = path.relative_to(_SOURCE).with_suffix("").as_posix()
        elif "importlib" in str(path):
            name = "code that was loaded"
        else:
            name = f"{path.parent.name}/{path.stem}"
        rooms[name] += statistic.size
    return dict(rooms)


def main(arguments: list[str]) -> int:
    """Measure and tell; as a child, print one measurement."""
    if arguments[:1] == ["child"]:
        _, what, functions, folder = arguments
        print(json.dumps(_measure(what, int(functions), folder)))
        return 0
    return 0 if show("What an agent holds", run(int(arguments[0]) if arguments else FUNCTIONS)) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
