"""How soon a rollback on one host is seen by the calls of another: two processes, one server in PostgreSQL.

One process calls a decorated function again and again and tells when its parameters change. The other rolls back to and
fro. First with hints, then without the connection that hears them, so that only asking from time to time is left.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from tests.postgres.server import OWNER, Server, running, until_true

from benchmarks.table import Row, show
from poet.model.parameters import ParameterSet
from poet.stores.postgres import PostgresStore
from poet.stores.postgres.store import POLL

SOON = 0.020  # [s]
SLACK = 0.25  # what a loaded machine may add to the interval of asking [s]

CALLER = """
    import sys, time
    import poet

    poet.configure(store=sys.argv[1])

    @poet.poet(name="watched", enable_training=True)
    def watched() -> None: ...

    seen = 0
    while True:
        watched()
        version = watched.poet.last.version
        if version != seen:
            seen = version
            print(version, time.monotonic(), flush=True)
        time.sleep(0.0005)
"""


def run(changes: int = 40, lost: int = 5) -> list[Row]:
    """All rows."""
    with running(durable=True) as server, server.database("propagation") as url:
        PostgresStore(url).close()
        with _caller(url) as caller:
            hinted = _delays(server.url("propagation", "postgres"), caller, changes)
            with _deaf(server):
                polled = _delays(server.url("propagation", "postgres"), caller, lost)
    slowest = max(hinted)
    return [
        Row(
            "a rollback seen by the calls of another process, median",
            "≤ 20 ms",
            f"{1e3 * statistics.median(hinted):.1f} ms, slowest of {changes}: {1e3 * slowest:.1f} ms",
            statistics.median(hinted) <= SOON,
        ),
        Row(
            f"the same where hints get lost, slowest of {lost}",
            f"≤ {POLL:g} s, the interval of asking",
            f"{max(polled):.2f} s",
            max(polled) <= POLL + SLACK,
        ),
    ]


class Caller:
    """The process that calls."""

    def __init__(self, url: str, folder: str) -> None:
        """folder: where it keeps what it knows, in case that the server goes."""
        command = [sys.executable, "-c", textwrap.dedent(CALLER), url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        self._heard = threading.Condition()
        self._version, self._moment = 0, 0.0
        threading.Thread(target=self._listen, daemon=True).start()

    def since(self, version: int, within: float = 60.0) -> float:
        """The moment from which on its calls use ``version``, waiting for it [s]. Raises TimeoutError."""
        with self._heard:
            if not self._heard.wait_for(lambda: self._version == version, within):
                raise TimeoutError(f"version {version} was not seen within {within:g} s, {self._version} is used")
            return self._moment

    def end(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                version, moment = line.split()
                with self._heard:
                    self._version, self._moment = int(version), float(moment)
                    self._heard.notify_all()


def _delays(url: str, caller: Caller, changes: int) -> list[float]:
    """From the request to roll back until the calls use the older version, each time [s]."""
    rng = random.Random(1)
    store = PostgresStore(url)
    until_true(lambda: any(record.key.name == "watched" for record in store.functions()))
    key = store.functions()[0].key
    standing = store.steer(key, author="benchmark", reason="only rollbacks from now on", paused=True)
    if len(store.versions(key)) == 1:
        draft = ParameterSet(values_={**standing.live, "timeout": 2.0}, origin="manual", author="benchmark")
        standing = store.publish(key, draft, expected=standing.generation)
    newest, now = len(store.versions(key)), standing.live.version
    caller.since(now)
    delays = []
    for _ in range(changes):
        threading.Event().wait(rng.uniform(0.05, 0.25))  # at any moment of the other's rounds
        now = newest if now == 1 else 1
        begun = time.monotonic()
        store.rollback(key, now, author="benchmark", reason="to and fro")
        delays.append(caller.since(now) - begun)
    store.close()
    return delays


@contextmanager
def _caller(url: str) -> Iterator[Caller]:
    with TemporaryDirectory() as folder:
        caller = Caller(url, folder)
        try:
            yield caller
        finally:
            caller.end()


@contextmanager
def _deaf(server: Server) -> Iterator[None]:
    """The caller hears no hints meanwhile: its role may have one connection, and that is the other one."""
    listeners = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'poet listener'"
    server.ask(f"ALTER ROLE {OWNER} CONNECTION LIMIT 1")
    until_true(lambda: not server.ask(listeners))
    try:
        yield
    finally:
        server.ask(f"ALTER ROLE {OWNER} CONNECTION LIMIT -1")


if __name__ == "__main__":
    sys.exit(not show("How soon a change is seen elsewhere", run()))
