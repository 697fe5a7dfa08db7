"""What happens to servers, connections and clients, done on purpose: each returns when all was found in order.

Each takes how long or how often, so that a test does it shortly and a study for long.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from kills import Survived, kill_writers
from poet.errors import StaleParameters, StoreUnavailable
from poet.model.execution import Feedback
from poet.model.function import FunctionKey
from poet.stores.postgres import PostgresStore
from poet.testing.stores import KEY, START, draft, execution, record
from postgres.server import Server, options_for_replication, require, until_true

T = TypeVar("T")

LOSABLE = 1.5  # executions of the last moments that a crash of the server may cost [s]
PATIENCE = 5.0  # of the stores here [s]


def wrong(store: PostgresStore) -> list[object]:
    """What the store finds wrong with itself, once the server has ended what its dead clients left open."""
    return [finding for finding in store.check() if not finding.ok]


class Writer(threading.Thread):
    """Appends, publishes and exchanges until it is stopped, and remembers what it was told is kept.

    What failed it repeats as a trainer does: executions and contributions as they are, parameters with a new reason.
    """

    def __init__(self, url: str, name: str, *, pause: float = 0.0) -> None:
        super().__init__(name=name, daemon=True)
        self.url, self.pause = url, pause
        self.executions: list[float] = []  # when each was acknowledged, on the monotonic clock [s]
        self.versions: dict[int, str] = {}  # acknowledged: version -> its reason
        self.asked = 0  # versions that were asked for
        self.contributions = 0  # acknowledged
        self.refused = 0  # times that the store was unavailable
        self.error: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self.error = error

    def _work(self) -> None:
        store = self._persist(lambda: PostgresStore(self.url, patience=PATIENCE))
        try:
            generation = self._persist(lambda: store.register(record())).generation
            while not self._done.is_set():
                first = len(self.executions)
                rows = [execution(i, writer=self.name) for i in range(first, first + 1 + first % 7)]
                self._persist(lambda: store.append(KEY, rows))  # noqa: B023 - called at once
                self.executions += [time.monotonic()] * len(rows)
                number = self.contributions + 1
                self._persist(lambda: store.exchange(KEY, self.name, number, _one_more))  # noqa: B023
                self.contributions = number
                self.asked += 1
                reason = f"{self.name} {self.asked}"
                try:
                    standing = store.publish(KEY, draft(reason=reason), expected=generation)
                    generation = standing.generation
                    # where the answer was lost and asked for again, others may have gone on meanwhile
                    if standing.live.reason == reason:
                        self.versions[standing.live.version] = reason
                except StaleParameters:
                    generation = self._persist(lambda: store.standing(KEY)).generation
                except StoreUnavailable:
                    self.refused += 1
                    generation = self._persist(lambda: store.standing(KEY)).generation
                self._done.wait(self.pause)
        finally:
            store.close()

    def _persist(self, step: Callable[[], T]) -> T:
        until = time.monotonic() + 60
        while True:
            try:
                return step()
            except StoreUnavailable:
                self.refused += 1
                if time.monotonic() > until:
                    raise
                threading.Event().wait(0.02)

    def finish(self) -> None:
        """Stop, and raise what went wrong."""
        self._done.set()
        self.join(60)
        assert not self.is_alive()
        if self.error is not None:
            raise self.error


def _one_more(state: bytes | None) -> bytes:
    return str(int(state or b"0") + 1).encode()


@contextlib.contextmanager
def writing(url: str, names: str = "ab", *, pause: float = 0.0) -> Iterator[list[Writer]]:
    """Writers that are at work meanwhile."""
    writers = [Writer(url, name, pause=pause) for name in names]
    for writer in writers:
        writer.start()
    try:
        yield writers
    finally:
        for writer in writers:
            writer.finish()


def check_kept(store: PostgresStore, writers: list[Writer], *, away: tuple[float, float] | None = None) -> None:
    """All that was acknowledged is kept, once, in order; nothing is half there.

    away: from when to when the server was away after a crash, which may have cost the last executions [s, monotonic];
    an answer that came before may have been noted meanwhile.
    """
    assert wrong(store) == []
    kept = {version.version: version.reason for version in store.versions(KEY)}
    stored: dict[str, list[int]] = {}
    for row in store.executions(KEY):
        stored.setdefault(row.writer, []).append(row.sequence)
    for writer in writers:
        assert {number: kept.get(number) for number in writer.versions} == writer.versions
        there = sorted(stored.get(writer.name, []))
        assert len(there) == len(set(there))
        missing = set(range(len(writer.executions))) - set(there)
        lost = [writer.executions[i] for i in missing]
        assert not lost or (away is not None and away[0] - LOSABLE <= min(lost) <= max(lost) <= away[1]), (away, lost)
    reasons = list(kept.values())
    assert len(reasons) == len(set(reasons))  # nothing was done twice
    if away is None:
        assert int(store.load_learner(KEY) or b"0") == sum(writer.contributions for writer in writers)


def kill_clients(server: Server, kills: int, seed: int = 1) -> Survived:
    """Kill ``kills`` writing processes, two at a time, at random moments. Gives what was kept."""
    name = f"kill_{seed}"

    def opened() -> PostgresStore:
        until_true(lambda: _clients(server, name) == 0)
        return PostgresStore(server.url(name))

    with server.database(name) as url:
        return kill_writers(url, opened, kills, seed=seed)


def _clients(server: Server, database: str) -> int:
    ((count,),) = server.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'poet%%'", database
    )
    return int(str(count))


def terminate_connections(server: Server, seconds: float, seed: int = 1) -> tuple[int, int]:
    """Ends the writers' connections at random moments. Gives how many times, and how many versions were kept."""
    rng = random.Random(seed)
    name = f"terminate_{seed}"
    ended = 0
    with server.database(name) as url:
        with server.connect(name) as killer, writing(url) as writers:
            until_true(lambda: all(writer.versions or writer.asked > 3 for writer in writers))
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                rows = killer.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND application_name = 'poet' AND random() < 0.7",
                    (name,),
                ).fetchall()
                ended += len(rows)
                threading.Event().wait(rng.uniform(0.0, 0.05))
        store = PostgresStore(url)
        check_kept(store, writers)
        kept = len(store.versions(KEY))
        store.close()
    assert all(writer.versions for writer in writers)
    return ended, kept


def keep_up(server: Server, seconds: float, keepers: int = 3) -> int:
    """Several do the upkeep again and again while clients write. Gives how many chunks were put together."""
    done = threading.Event()
    merged = []

    def keep(url: str) -> None:
        store = PostgresStore(url)
        while not done.is_set():
            for sequence in range(0, 10_000, 97):  # most of them of executions to come
                store.score(KEY, [Feedback(writer, sequence, 0.5, START) for writer in "ab"])
            told = store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12)
            merged.append(told.merged)
        store.close()

    with server.database("upkeep") as url:
        with writing(url) as writers:
            until_true(lambda: all(writer.versions for writer in writers))
            with ThreadPoolExecutor(keepers) as pool:
                tasks = [pool.submit(keep, url) for _ in range(keepers)]
                threading.Event().wait(seconds)
                done.set()
                for task in tasks:
                    task.result(60)
        store = PostgresStore(url)
        check_kept(store, writers)
        store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12)
        check_kept(store, writers)
        scored = {(row.writer, row.sequence) for row in store.executions(KEY) if row.score is not None}
        assert scored == {
            (writer.name, sequence) for writer in writers for sequence in range(0, len(writer.executions), 97)
        }
        assert sum(hour.scored for hour in store.hours(KEY)) == len(scored)
        store.close()
    return sum(merged)


def crash_server(server: Server, rounds: int, seed: int = 1) -> int:
    """Kills all processes of the server while clients write, and starts it again. Gives how many versions were kept."""
    rng = random.Random(seed)
    name = f"crash_{seed}"
    kept = 0
    for round_ in range(rounds):
        with server.database(f"{name}_{round_}") as url:
            with writing(url) as writers:
                until_true(lambda: all(writer.versions for writer in writers))
                threading.Event().wait(rng.uniform(0.0, 0.3))
                server.kill()
                moment = time.monotonic()
                server.start()
                back = time.monotonic()
                before = [len(writer.versions) for writer in writers]
                until_true(
                    lambda: any(len(w.versions) > b + 2 for w, b in zip(writers, before, strict=True))  # noqa: B023
                )
            store = PostgresStore(url)
            check_kept(store, writers, away=(moment, back))
            kept += len(store.versions(KEY))
            store.close()
    return kept


def fail_over(folder: Path, seed: int = 1) -> int:
    """Kills a primary while clients write, and promotes the standby that it has waited for. Gives the versions kept."""
    require()
    rng = random.Random(seed)
    primary = Server(folder / "one", durable=True, **options_for_replication("one", "two"))
    standby = Server(folder / "two", durable=True, **options_for_replication("two", ""), hot_standby="on")
    try:
        primary.make()
        primary.options["synchronous_standby_names"] = ""  # nothing can be committed before it is there
        primary.start().make_owner()
        primary.make_database("shop")
        standby.copy_of(primary, "two").start()
        primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'two'")
        primary.stop()
        del primary.options["synchronous_standby_names"]
        primary.start()
        until_true(lambda: bool(primary.ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")))
        hosts = f"{primary.folder},{standby.folder}"
        with writing(f"host={hosts} port=5432 dbname=shop user=poet_owner") as writers:
            until_true(lambda: all(len(writer.versions) > 3 for writer in writers))
            onlooker = PostgresStore(standby.url("shop"), readonly=True)  # a standby will do to look
            assert wrong(onlooker) == []
            onlooker.close()
            threading.Event().wait(rng.uniform(0.0, 0.3))
            primary.kill()
            moment = time.monotonic()
            standby.ask("SELECT pg_promote()")
            back = time.monotonic()
            before = [len(writer.versions) for writer in writers]
            until_true(lambda: any(len(w.versions) > b + 2 for w, b in zip(writers, before, strict=True)))
        store = PostgresStore(standby.url("shop"))
        check_kept(store, writers, away=(moment, back))
        kept = len(store.versions(KEY))
        store.close()
        return kept
    finally:
        standby.remove()
        primary.remove()


def fill_disk(server: Server, space: Path, grow: Callable[[], object]) -> tuple[str, int]:
    """Fills a table space until it is full. Gives the error, and how many executions are kept.

    space: its folder, of limited size. grow: gives it more.
    """
    key = FunctionKey("shop", "filler", "00000000")
    server.ask(f"CREATE TABLESPACE small LOCATION '{space}'")
    server.ask("CREATE DATABASE small OWNER poet_owner TABLESPACE small")
    store = PostgresStore(server.url("small"))
    generation = store.register(record(key)).generation
    sequence = 0
    said = ""
    try:
        while True:
            store.append(key, [execution(i, error=f"E{os.urandom(300).hex()}") for i in range(sequence, sequence + 20)])
            sequence += 20
            generation = store.publish(key, draft(reason="x" * 2000), expected=generation).generation
    except StoreUnavailable as error:
        said = str(error)
    assert store.standing(key).generation == generation
    assert len(store.versions(key)) == generation
    assert {row.sequence for row in store.executions(key)} >= set(range(sequence))
    grow()
    assert wrong(store) == []
    store.append(key, [execution(10**6)])  # with space again, it goes on
    store.publish(key, draft(), expected=generation)
    assert wrong(store) == []
    store.close()
    server.drop_database("small")
    server.ask("DROP TABLESPACE small")
    return said, sequence
