"""What an execution costs on the disk: bytes and time, in the SQLite store and as plain rows of a table.

The mix: 40 functions called by a Zipf law, log-normal durations, 5 % of the calls retried, 1 % failed; every fourth
function is scored 0 or 1, every fifth tells a feature of three values, every eighth tries one of eight sets of two
values in every third call, every tenth is scored by two goals. Sizes are of the file
after everything was stored and its log written back: indexes, hours, free pages and all.

The entropy floor is what no code could go below, on average, for this stream with the precision that is kept: starts to
the millisecond, durations as 32-bit floats, all else exactly. It is reckoned from the laws that the stream follows.
"""

from __future__ import annotations

import contextlib
import math
import random
import sqlite3
import statistics
import subprocess
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
RATE_BAR = 300_000  # executions stored a second, where plain rows of a table do ...
PLAIN_RATE = 580_000  # ... so many: absolute times mean little on a shared machine
FEW = 100  # executions of a short-lived process
SCORED, FEATURED, EXPLORING, AIMING = 4, 5, 8, 10  # every so many functions
TRIED, TRIES = 1 / 3, 8  # share of the calls that try something out, and among how many sets of values
PRICES = 50  # different costs of a call
RETRIED, FAILED = 0.05, 0.2  # share of the calls, and of the retried ones
SIGMA, LONGEST_PAUSE = 0.5, 0.1


KEY = FunctionKey("app", "function", "00000000")


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
    plain = _plain(calls, indexed=False)
    by_thousand = _chunks(calls, by_count(calls, 1000))
    each_second = _chunks(calls, by_second(calls))
    scattered, packed = _short_lived(calls)
    floor = entropy(calls)
    wanted = RATE_BAR * plain.rate / PLAIN_RATE
    return [
        Row("1000 executions, appended at once", BAR, str(by_thousand), by_thousand.size <= LIMIT),
        Row(
            "… executions stored a second, one writer",
            f"≥ {RATE_BAR:,} where plain rows do {PLAIN_RATE:,}",
            f"{by_thousand.rate:,.0f}; plain rows {plain.rate:,.0f}",
            by_thousand.rate >= wanted,
        ),
        Row("1000 executions, appended every second", BAR, str(each_second), each_second.size <= LIMIT),
        Row(f"1000 executions of processes that live for {FEW} each", "for comparison", f"{scattered:,.0f} bytes"),
        Row("… after upkeep has put them together", BAR, f"{packed:,.0f} bytes", packed <= LIMIT),
        Row("entropy floor of the stream, per 1000 executions", "for comparison", f"{floor:,.0f} bytes"),
        Row("1000 plain rows of a table", "for comparison", str(plain)),
        Row("the same, indexed by function and time", "for comparison", str(_plain(calls, indexed=True))),
        *standing_rows(),
    ]


PUBLISHER = """
import sys
from pathlib import Path
from benchmarks.storage import KEY
from poet.model.parameters import ParameterSet
from poet.stores.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    generation = store.standing(KEY).generation
    store.publish(KEY, ParameterSet(values_={"timeout": float(generation)}, origin="learned"), expected=generation)
    if not sys.stdin.read(1):
        break
"""


def standing_rows(changes: int = 200) -> list[Row]:
    """What a trainer asks often, and how soon a process sees what another has changed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poet.db"
        store = SqliteStore(path)
        store.register(FunctionRecord(KEY, None, "adaptive", {"timeout": 30.0}, {}, 0, 0, 0.0, 0.0))
        draft = ParameterSet(values_={"timeout": 1.0}, origin="learned")
        poll = _median(lambda: store.changed(store.generation()), 2000)
        publish = _median(lambda: store.publish(KEY, draft, expected=store.standing(KEY).generation), changes)
        read, fresh = _read_beside_a_publisher(store, path, changes)
        store.close()
    return [
        Row("ask whether anything has changed", "≤ 50 µs", f"{1e6 * poll:.1f} µs", poll <= 50e-6),
        Row(
            "read live parameters that another process keeps in the file",
            "≤ 20 µs",
            f"{1e6 * read:.1f} µs; {1e6 * fresh:.0f} µs just after it has changed them",
            read <= 20e-6,
        ),
        Row("publish a version, safe from a power cut", "as the disk allows", f"{1e3 * publish:.2f} ms"),
    ]


def _read_beside_a_publisher(store: SqliteStore, path: Path, changes: int) -> tuple[float, float]:
    """Median time of a read, and of the first one after a change; another process publishes now and then [s]."""
    command = [sys.executable, "-c", PUBLISHER, str(path)]
    reads, firsts, seen = [], [], 1
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as publisher:
        assert publisher.stdin is not None
        assert publisher.stdout is not None
        publisher.stdout.readline()
        while len(firsts) < changes:
            begun = time.perf_counter()
            generation = store.standing(KEY).generation
            taken = time.perf_counter() - begun
            reads.append(taken)
            if generation != seen:
                seen = generation
                firsts.append(taken)
                publisher.stdin.write(b".")
                publisher.stdin.flush()
        publisher.stdin.close()
    return statistics.median(reads), statistics.median(firsts)


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
        call = _call(rng, sequences[function], now, typical[function])
        if function % SCORED == 0:
            call = call._replace(score=float(rng.random() < 0.9))
        if function % FEATURED == 0:
            call = call._replace(context=(("region", rng.choice(REGIONS)),))
        if function % EXPLORING == 0:
            draw = rng.randrange(TRIES) + 1 if rng.random() < TRIED else 0
            call = call._replace(draw=draw, values=(("temperature", draw / 7), ("k", draw)) if draw else ())
        if function % AIMING == 3:
            goals = (("quality", float(rng.random() < 0.9)), ("cost", rng.randrange(PRICES) / 1000))
            call = call._replace(goals=goals)
        calls.append((function, call))
        sequences[function] += 1
    return calls


REGIONS = ("eu-west-1", "us-east-1", "ap-south-1")


def entropy(calls: list[tuple[int, Execution]]) -> float:
    """Bytes per 1000 executions that no code can go below, by the laws of ``traffic``."""
    weights = [1 / (rank + 1) for rank in range(FUNCTIONS)]
    bits = 0.0
    for function, call in calls:
        rate = RATE * weights[function] / sum(weights)
        chance = -math.expm1(-rate / 1000)  # of a call within a millisecond
        bits += _coin(chance) / chance  # the gap to the one before, a geometric law
        bits += _coin(RETRIED) + _single_bits(call.attempts[0].seconds, _spread_bits(SIGMA))
        if len(call.attempts) > 1:
            bits += 1 + _coin(FAILED) + (not call.outcome.good)
            bits += _single_bits(call.attempts[1].seconds, _spread_bits(SIGMA))
            bits += math.log2(LONGEST_PAUSE) - _single_step(call.attempts[1].waited)
        bits += _coin(0.1) * (function % SCORED == 0) + math.log2(len(REGIONS)) * (function % FEATURED == 0)
        bits += (_coin(TRIED) + TRIED * math.log2(TRIES)) * (function % EXPLORING == 0)
        bits += (_coin(0.1) + math.log2(PRICES)) * (function % AIMING == 3)
    return bits / 8 / len(calls) * 1000


def _coin(chance: float) -> float:
    """Bits of a biased coin."""
    return -chance * math.log2(chance) - (1 - chance) * math.log2(1 - chance)


def _spread_bits(sigma: float) -> float:
    """Differential entropy of a logarithm that is normal."""
    return 0.5 * math.log2(2 * math.pi * math.e * sigma**2)


def _single_bits(seconds: float, spread: float) -> float:
    """Bits of a duration whose logarithm has the differential entropy ``spread``, kept as a 32-bit float."""
    return spread + math.log2(seconds) - _single_step(seconds)


def _single_step(seconds: float) -> float:
    """Binary logarithm of the distance between 32-bit floats there."""
    return math.floor(math.log2(seconds)) - 23


def _call(rng: random.Random, sequence: int, started: float, typical: float) -> Execution:
    first = typical * rng.lognormvariate(0.0, SIGMA)
    version = 1 + sequence // 5000
    if rng.random() >= RETRIED:
        attempts: tuple[Attempt, ...] = (Attempt(Outcome.SUCCESS, first),)
        return Execution("host-4711", sequence, started, first, Outcome.SUCCESS, version, attempts)
    pause, second = rng.uniform(0.0, LONGEST_PAUSE), typical * rng.lognormvariate(0.0, SIGMA)
    outcome = Outcome.ERROR if rng.random() < FAILED else Outcome.SUCCESS
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


def _short_lived(calls: list[tuple[int, Execution]]) -> tuple[float, float]:
    """Bytes per 1000 executions that come from one process after another, before and after upkeep."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "poet.db"
        store = SqliteStore(path)
        key = KEY
        store.register(FunctionRecord(key, None, "adaptive", {"timeout": 30.0}, {}, 0, 0, 0.0, 0.0))
        some = [call for function, call in calls if function == 0][: 200 * FEW]
        for start in range(0, len(some), FEW):
            writer = f"{start * 2654435761 % 2**32:08x}"
            store.append(key, [call._replace(writer=writer) for call in some[start : start + FEW]])
        sizes = []
        for settled in (0.0, 1e12):
            store.maintain(executions_before=0.0, hours_before=0.0, settled=settled)
            with contextlib.closing(sqlite3.connect(path)) as file:
                (size,) = file.execute("SELECT sum(pgsize) FROM dbstat WHERE name IN ('chunk', 'writing')").fetchone()
            sizes.append(size / len(some) * 1000)
        store.close()
    return sizes[0], sizes[1]


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
