"""Faults survived, on the real thing: killed writers, crashed servers, cut connections, failover, hostile files.

Not part of ``make bench``: `make study` runs it for long, the tests run each of them shortly. A fault that is not
survived raises, with what was lost; so a row that is printed holds.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Row, show
from poet.learners import learner_for
from poet.stores.memory import MemoryStore
from poet.stores.sqlite import SqliteStore
from poet.testing import hostile

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # where the faults are made, for tests and for this

from kills import Survived, kill_writers_of_a_file
from postgres import faults
from postgres.server import running

KILLS = 200
FILES = 10_000


def run(kills: int = KILLS, files: int = FILES) -> Iterator[Row]:
    """All rows, each when it is survived."""
    yield from _hostile(files)
    yield from _sqlite(kills)
    yield from _postgres(kills)


def _sqlite(kills: int) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        kept = kill_writers_of_a_file(Path(folder) / "poet.db", kills)
        yield Row(f"SQLite: {kept.kills} writers killed", "nothing that was told is lost or doubled", _told(kept), True)


def _postgres(kills: int) -> Iterator[Row]:
    with running(durable=True) as server:
        survived = faults.kill_clients(server, kills)
        yield Row(f"PostgreSQL: {survived.kills} clients killed", "the same", _told(survived), True)
        ended, kept = faults.terminate_connections(server, seconds=0.3 * kills)
        told = f"{kept:,} versions"
        yield Row(f"… {ended:,} connections ended at random moments", "no change lost or doubled", told, True)
        kept = faults.crash_server(server, rounds=max(2, kills // 10))
        yield Row(f"… {max(2, kills // 10)} crashes of the server", "no version lost", f"{kept:,} versions", True)
    for _ in range(max(1, kills // 50)):
        with tempfile.TemporaryDirectory(prefix="poet-pg-") as folder:
            Path(folder).chmod(0o755)
            kept = faults.fail_over(Path(folder))
        yield Row("… a primary killed, its standby promoted", "no version lost", f"{kept:,} versions", True)


def _told(kept: Survived) -> str:
    return f"{kept.executions:,} executions, {kept.versions:,} versions, {kept.contributions:,} contributions"


def _hostile(files: int) -> Iterator[Row]:
    state = learner_for(hostile.record(hostile.ASK), None).dump()
    with tempfile.TemporaryDirectory() as folder:
        made = iter(range(1 << 30))

        def in_a_file() -> SqliteStore:
            store = SqliteStore(Path(folder) / f"{next(made)}.db")
            hostile.fill(store, state)
            return store

        def in_memory() -> MemoryStore:
            store = MemoryStore()
            hostile.fill(store, state)
            return store

        for name, fresh in (("memory", in_memory), ("SQLite", in_a_file)):
            began = time.perf_counter()
            told = hostile.attack(fresh, hostile.genuine(state), learner_for, files=files)
            yield Row(
                f"{told.files:,} hostile files to import, {name}",
                "refused clearly or taken in; nothing half",
                f"{told.refused:,} refused, {told.kept + told.taken:,} read, {time.perf_counter() - began:.0f} s",
                True,
            )


if __name__ == "__main__":
    sys.exit(not show("Faults survived", run(*map(int, sys.argv[1:3]))))
