"""What the store in PostgreSQL costs: bytes and time, on a server of its own on this machine's disk.

The traffic is that of ``storage``: 250 s of calls, sent as fast as they are taken. Each minute of it has the upkeep of
a trainer and the VACUUM of a server. Sizes are of the tables of executions with their indexes, as VACUUM leaves them,
less those of the empty tables. What is appended every second lies in small chunks first. The room for these, and for
what is left of them until it is used again, is taken once, so it has a row of its own, and the row of sizes says what
the tables grow by from the third minute on. The server runs with the settings of a new installation: what must be on
the disk is.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.postgres.server import Server, running

from benchmarks.storage import BAR, FUNCTIONS, LIMIT, Batches, Cost, by_count, by_second, entropy, traffic
from benchmarks.table import Row, show
from poet.model.execution import Execution
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord
from poet.stores.postgres import PostgresStore

EXECUTIONS = 100_000
RATE = 150_000  # executions a second, the least that we accept
READ = 200e-6  # [s]
SETTLING = 2  # minutes until the room for small chunks is taken
TABLES = ("chunk", "writing", "hour", "score", "counter")
KEYS = [FunctionKey("app", f"function_{i}", "00000000") for i in range(FUNCTIONS)]


def run(executions: int = EXECUTIONS) -> list[Row]:
    """All rows."""
    calls = traffic(executions)
    with running(durable=True) as server:
        by_thousand, _ = _stored(server, "thousand", calls, by_count(calls, 1000))
        each_second, room = _stored(server, "second", calls, by_second(calls), SETTLING)
        return [
            Row("1000 executions, appended at once", BAR, str(by_thousand), by_thousand.size <= LIMIT),
            Row(
                "executions stored per second, one writer, 1000 of a function at once",
                f"≥ {RATE:,}",
                f"{by_thousand.rate:,.0f}",
                by_thousand.rate >= RATE,
            ),
            Row("1000 executions, appended every second", BAR, str(each_second), each_second.size <= LIMIT),
            Row("room for chunks of the last minute", "for comparison", f"{room / FUNCTIONS:,.0f} bytes a function"),
            Row("entropy floor of the stream, per 1000 executions", "for comparison", f"{entropy(calls):,.0f} bytes"),
            *standing_rows(server),
        ]


def standing_rows(server: Server, times: int = 2000) -> list[Row]:
    """What a trainer asks often."""
    rows = []
    with server.database("standing") as url:
        store = PostgresStore(url)
        key = KEYS[0]
        store.register(_record(key))
        draft = ParameterSet(values_={"timeout": 1.0}, origin="learned")
        publish = _median(lambda: store.publish(key, draft, expected=store.standing(key).generation), 200)
        read = _median(lambda: store.standing(key), times)
        poll = _median(store.generation, times)
        numbers = iter(range(1, times + 1))
        state = bytes(2000)
        exchange = _median(lambda: store.exchange(key, "w", next(numbers), lambda _: state), 500)
        rows = [
            Row("read a function's live parameters", "≤ 200 µs", f"{1e6 * read:.0f} µs", read <= READ),
            Row("ask whether anything has changed", "≤ 200 µs", f"{1e6 * poll:.0f} µs", poll <= READ),
            Row("exchange what was learned", "for comparison", f"{1e3 * exchange:.2f} ms"),
            Row("publish a version, on the disk", "as the disk allows", f"{1e3 * publish:.2f} ms"),
        ]
        store.close()
    return rows


class Kept(NamedTuple):
    """What was stored, and what its tables take."""

    cost: Cost
    room: float  # bytes that the tables took from the first two minutes on, beside what each execution takes


def _stored(
    server: Server, name: str, calls: Sequence[tuple[int, Execution]], batches: Batches, settling: int = 0
) -> Kept:
    """settling: minutes until the tables have taken the room that is taken once."""
    with server.database(name) as url:
        store = PostgresStore(url)
        for key in KEYS:
            store.register(_record(key))
        empty = _size(server, name)
        times = []
        sizes = [(0, empty)]
        start = minute = int(calls[0][1].started // 60)
        stored = 0
        for function, batch in batches:
            now = batch[-1].started
            if int(now // 60) > minute:
                minute = int(now // 60)
                store.maintain(executions_before=0.0, hours_before=0.0, settled=now - 60)
                _vacuum(server, name)
                if minute == start + settling:
                    sizes.append((stored, _size(server, name)))
            begun = time.perf_counter()
            store.append(KEYS[function], batch)
            times.append(time.perf_counter() - begun)
            stored += len(batch)
        _vacuum(server, name)
        before, size = sizes[-1]
        each = (_size(server, name) - size) / (stored - before)
        wrong = [finding for finding in store.check() if not finding.ok]
        if wrong:
            raise RuntimeError(f"{name}: {wrong}")
        store.close()
    return Kept(Cost(each * 1000, len(calls) / sum(times), statistics.median(times)), size - empty - each * before)


def _vacuum(server: Server, name: str) -> None:
    for table in TABLES:
        server.ask(f"VACUUM poet.{table}", database=name)


def _size(server: Server, name: str) -> int:
    ((size,),) = server.ask(
        "SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c WHERE c.relname = ANY(%s)"
        " AND c.relnamespace = 'poet'::regnamespace",
        list(TABLES),
        database=name,
    )
    return int(str(size))


def _record(key: FunctionKey) -> FunctionRecord:
    return FunctionRecord(key, None, "adaptive", {"timeout": 30.0}, {}, 0, 0, 0.0, 0.0)


def _median(question: Callable[[], object], times: int) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        question()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(not show("What the store in PostgreSQL costs", run()))
