"""What an execution costs on the disk: bytes and time, in the SQLite store and as plain rows of a table.

The mix: 40 functions called by a Zipf law, log-normal durations, 5 % of the calls retried, 1 % failed. Sizes are of the
file after everything was stored and its log written back: indexes, free pages and all.
"""

from __future__ import annotations

import random
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from benchmarks.table import Row, show
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord
from poet.stores.sqlite import SqliteStore

FUNCTIONS = 40
EXECUTIONS = 100_000
RATE = 400.0  # calls a second in all: some ten per function and second
SEED = 20
LIMIT = 10_000  # bytes per 1000 executions, the largest that we accept
BAR = "≤ 10,000 bytes"


class Cost(NamedTuple):
    """What one way to store takes."""

    size: float  # bytes per 1000 executions
    rate: float  # executions written per second, encoding and commits included
    append: float  # median time of one append [s]

    def __str__(self) -> str:
        return f"{self.size:,.0f} bytes; {self.rate:,.0f} executions/s; {1e3 * self.append:.2f} ms an append"


def run(executions: int = EXECUTIONS) -> list[Row]:
    """All rows, each way measured with the same calls."""
    calls = traffic(executions)
    by_thousand = _chunks(calls, by_count(calls, 1000))
    each_second = _chunks(calls, by_second(calls))
    return [
        Row("1000 executions, appended at once", BAR, str(by_thousand), by_thousand.size <= LIMIT),
        Row("1000 executions, appended every second", BAR, str(each_second), each_second.size <= LIMIT),
        Row("1000 plain rows of a table", "for comparison", str(_plain(calls, indexed=False))),
        Row("the same, indexed by function and time", "for comparison", str(_plain(calls, indexed=True))),
        *standing_rows(),
    ]


def standing_rows(changes: int = 200) -> list[Row]:
    """What a trainer asks often."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteStore(Path(folder) / "poet.db")
        key = FunctionKey("app", "function", "00000000")
        store.register(FunctionRecord(key, None, "adaptive", {"timeout": 30.0}, {}, 0, 0, 0.0, 0.0))
        draft = ParameterSet(values_={"timeout": 1.0}, origin="learned")
        poll = _median(store.generation, 2000)
        publish = _median(lambda: store.publish(key, draft, expected=store.standing(key).generation), changes)
        read = _median(lambda: store.standing(key), changes)
        store.close()
    return [
        Row("ask whether anything has changed", "≤ 50 µs", f"{1e6 * poll:.1f} µs", poll <= 50e-6),
        Row("read a function's live parameters from the file", "≤ 5 ms", f"{1e6 * read:.0f} µs", read <= 5e-3),
        Row("publish a version, safe from a power cut", "as the disk allows", f"{1e3 * publish:.2f} ms"),
    ]


def _median(question: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        question()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def traffic(executions: int) -> list[tuple[int, Execution]]:
    """Function and execution of each call, by start; the same every time."""
    rng = random.Random(SEED)
    weights = [1 / (rank + 1) for rank in range(FUNCTIONS)]
    typical = [rng.lognormvariate(-2.5, 1.0) for _ in range(FUNCTIONS)]
    sequences = [0] * FUNCTIONS
    now = 1_800_000_000.0
    calls = []
    for function in rng.choices(range(FUNCTIONS), weights, k=executions):
        now += rng.expovariate(RATE)
        calls.append((function, _call(rng, sequences[function], now, typical[function])))
        sequences[function] += 1
    return calls


def _call(rng: random.Random, sequence: int, started: float, typical: float) -> Execution:
    first = typical * rng.lognormvariate(0.0, 0.5)
    version = 1 + sequence // 5000
    if rng.random() >= 0.05:
        attempts: tuple[Attempt, ...] = (Attempt(Outcome.SUCCESS, first),)
        return Execution("host-4711", sequence, started, first, Outcome.SUCCESS, version, attempts)
    pause, second = rng.uniform(0.0, 0.1), typical * rng.lognormvariate(0.0, 0.5)
    outcome = Outcome.ERROR if rng.random() < 0.2 else Outcome.SUCCESS
    attempts = (
        Attempt(rng.choice((Outcome.ERROR, Outcome.TIMEOUT)), first),
        Attempt(outcome, second, pause),
    )
    error = "" if outcome.good else rng.choice(("ConnectionError", "TimeoutError"))
    return Execution("host-4711", sequence, started, first + pause + second, outcome, version, attempts, error)


Batches = Iterable[tuple[int, list[Execution]]]


def by_count(calls: Iterable[tuple[int, Execution]], count: int) -> Batches:
    """Each function's executions as soon as there are ``count`` of them, the rest at the end."""
    waiting: dict[int, list[Execution]] = {}
    for function, call in calls:
        batch = waiting.setdefault(function, [])
        batch.append(call)
        if len(batch) == count:
            yield function, waiting.pop(function)
    yield from waiting.items()


def by_second(calls: Iterable[tuple[int, Execution]]) -> Batches:
    """Each function's executions of each second, as a trainer hands them over."""
    waiting: dict[int, list[Execution]] = {}
    second = None
    for function, call in calls:
        if int(call.started) != second:
            yield from waiting.items()
            waiting, second = {}, int(call.started)
        waiting.setdefault(function, []).append(call)
    yield from waiting.items()


def _chunks(calls: list[tuple[int, Execution]], batches: Batches) -> Cost:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poet.db"
        store = SqliteStore(path)
        keys = [FunctionKey("app", f"function_{i}", "00000000") for i in range(FUNCTIONS)]
        for key in keys:
            store.register(FunctionRecord(key, None, "adaptive", {"timeout": 30.0}, {}, 0, 0, 0.0, 0.0))
        store.close()
        empty = path.stat().st_size
        store = SqliteStore(path)
        times = []
        for function, batch in batches:
            begun = time.perf_counter()
            store.append(keys[function], batch)
            times.append(time.perf_counter() - begun)
        store.close()
        return _cost(len(calls), path.stat().st_size - empty, times)


def _plain(calls: list[tuple[int, Execution]], *, indexed: bool) -> Cost:
    """A table of executions and one of the attempts of those that had several: 1000 executions a transaction."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.db"
        file = sqlite3.connect(path, isolation_level=None)
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        file.execute(
            "CREATE TABLE execution (id INTEGER PRIMARY KEY, function INTEGER, writer TEXT, sequence INTEGER,"
            " started REAL, seconds REAL, outcome INTEGER, version INTEGER, error TEXT)"
        )
        file.execute("CREATE TABLE attempt (execution INTEGER, outcome INTEGER, seconds REAL, waited REAL)")
        if indexed:
            file.execute("CREATE INDEX by_function ON execution (function, started)")
        file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        empty = path.stat().st_size
        times = []
        numbered = enumerate(calls)
        while batch := list(islice(numbered, 1000)):
            begun = time.perf_counter()
            file.execute("BEGIN")
            file.executemany(
                "INSERT INTO execution VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (i, f, c.writer, c.sequence, c.started, c.seconds, c.outcome, c.version, c.error)
                    for i, (f, c) in batch
                ),
            )
            file.executemany("INSERT INTO attempt VALUES (?, ?, ?, ?)", _several(batch))
            file.execute("COMMIT")
            times.append(time.perf_counter() - begun)
        file.close()
        return _cost(len(calls), path.stat().st_size - empty, times)


def _several(batch: Iterable[tuple[int, tuple[int, Execution]]]) -> Iterator[tuple[int, int, float, float]]:
    for number, (_, call) in batch:
        if len(call.attempts) > 1:
            yield from ((number, a.outcome, a.seconds, a.waited) for a in call.attempts)


def _cost(executions: int, size: int, times: list[float]) -> Cost:
    return Cost(size / executions * 1000, executions / sum(times), statistics.median(times))


if __name__ == "__main__":
    sys.exit(not show("What an execution costs on the disk", run()))
