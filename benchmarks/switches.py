"""How soon a flag, or an order to roll back while the server is down, holds in another process, and what looking costs.

One process calls a decorated function again and again and tells when its calls use another version. This one sets a
flag to and fro, each way that there is; then it stops the server and orders rollbacks on the host.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.postgres.server import running, until_true

from benchmarks.propagation import Caller
from benchmarks.table import Row, show
from poet.app import local_folder, open_store
from poet.model.flag import DEFAULTS, Rule
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import SYSTEM_CLOCK, Store
from poet.settings import Settings
from poet.training.flags import LOOK, Flags, set_rule, unset_rule
from poet.training.orders import Orders, ordering

SOON = 1.0  # a flag holds within this, or a round [s]
SLACK = 0.25  # what a loaded machine may add [s]
AT_ONCE = 0.15  # an order is followed within this, median [s]

CALLER = """
    import sys, time
    import poet

    poet.configure(store=sys.argv[1])

    @poet.poet(name="watched")
    def watched() -> None: ...

    seen = -1
    while True:
        watched()
        version = watched.poet.last.version
        if version != seen:
            seen = version
            print(version, time.monotonic(), flush=True)
        time.sleep(0.0005)
"""


def run(changes: int = 20) -> Iterator[Row]:
    """All rows, each as it is there."""
    with TemporaryDirectory() as folder:
        place = Path(folder)
        settings = Settings(store=f"sqlite:///{place}/poet.db", root=place)
        with _caller(settings) as caller:
            store = open_store(settings)
            _prepare(store, caller)
            yield _row("a row of a flag, SQLite", _rows(store, caller, changes), SOON)
            yield _row("a file of flags", _files(place, caller, changes), LOOK + SLACK)
            store.close()
    with running() as server, server.database("switches") as url, TemporaryDirectory() as folder:
        settings = Settings(store=url, root=Path(folder))
        with _caller(settings) as caller:
            store = open_store(settings)
            key = _prepare(store, caller)
            yield _row("a row of a flag, PostgreSQL", _rows(store, caller, changes), SOON)
            until_true(lambda: _knows(settings, key))
            server.stop()
            try:
                orders = _orders(settings, store, key, caller, changes)
            finally:
                server.start()
            yield _row("a rollback ordered while the server is down", orders, SOON, median=AT_ONCE)
            began = time.monotonic()
            until_true(lambda: not Orders(local_folder(settings)).waiting())
            taken = time.monotonic() - began
            yield Row(f"… {changes} orders taken by the server once it is back", "", f"{taken:.2f} s")
            store.close()
    yield from _price()


def _row(what: str, delays: list[float], bar: float, *, median: float | None = None) -> Row:
    middle, slowest = statistics.median(delays), max(delays)
    said = f"median {1e3 * middle:.0f} ms, slowest of {len(delays)}: {1e3 * slowest:.0f} ms"
    wanted = f"≤ {bar:g} s each" + (f", median ≤ {1e3 * median:.0f} ms" if median else "")
    return Row(
        f"{what}, until another process's calls obey", wanted, said, slowest <= bar and middle <= (median or bar)
    )


def _prepare(store: Store, caller: Caller) -> FunctionKey:
    """Version 2 is live, and nothing is declared but version 1."""
    until_true(lambda: any(record.key.name == "watched" for record in store.functions()))
    key = store.functions()[0].key
    standing = store.standing(key)
    draft = ParameterSet(values_={**standing.live, "timeout": 2.0}, origin="manual", author="benchmark")
    store.publish(key, draft, expected=standing.generation)
    caller.since(2)
    return key


def _delays(caller: Caller, changes: int, to: Callable[[int], int]) -> list[float]:
    """From a change until calls use the version that ``to`` says, each time [s]."""
    rng, delays = random.Random(1), []
    for i in range(changes):
        threading.Event().wait(rng.uniform(0.05, 0.25))  # at any moment of the other's rounds
        begun = time.monotonic()
        version = to(i)
        delays.append(caller.since(version) - begun)
    return delays


def _rows(store: Store, caller: Caller, changes: int) -> list[float]:
    how = {"author": "benchmark", "reason": "to and fro"}

    def to(i: int) -> int:
        if i % 2:
            unset_rule(store, "learn.online", None, at=time.time(), **how)
            return 2
        set_rule(store, "learn.online", Rule(DEFAULTS), at=time.time(), **how)
        return 0

    return _delays(caller, changes, to)


def _files(root: Path, caller: Caller, changes: int) -> list[float]:
    place = root / ".poet" / "flags.json"
    place.parent.mkdir(exist_ok=True)

    def to(i: int) -> int:
        beside = place.with_suffix(".new")
        beside.write_text('{"learn.online": "%s"}' % ("on" if i % 2 else DEFAULTS))
        beside.replace(place)
        return 2 if i % 2 else 0

    return _delays(caller, changes, to)


def _knows(settings: Settings, key: FunctionKey) -> bool:
    known = Orders(local_folder(settings)).known(key)
    return known is not None and len(known.versions) == 2


def _orders(settings: Settings, store: Store, key: FunctionKey, caller: Caller, changes: int) -> list[float]:
    def to(i: int) -> int:
        orders = Orders(local_folder(settings))
        version = 2 if i % 2 else 1
        away = ordering(store, orders, now=time.time(), host=os.uname().nodename)
        away.rollback(key, version, author="benchmark", reason="to and fro")
        return version

    return _delays(caller, changes, to)


@contextmanager
def _caller(settings: Settings) -> Iterator[Caller]:
    (settings.root / "pyproject.toml").touch()
    caller = _Watched(settings.store, str(settings.root))
    try:
        yield caller
    finally:
        caller.end()


class _Watched(Caller):
    """A caller whose function does not learn: nothing but what is done by hand moves it."""

    def __init__(self, url: str, folder: str) -> None:
        command = [sys.executable, "-c", textwrap.dedent(CALLER), url]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder)
        self._heard = threading.Condition()
        self._version, self._moment = -1, 0.0
        threading.Thread(target=self._listen, daemon=True).start()


def _price() -> Iterator[Row]:
    """What it costs the trainer; the call path has no part in it."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        (root / ".poet").mkdir()
        (root / ".poet" / "flags.json").write_text('{"learn.online": [{"value": "off", "function": "shop.*"}]}')
        flags = Flags(Settings(store="memory:", root=root), SYSTEM_CLOCK, host="web-1")
        flags.value("learn.online", "shop.fetch")
        n = 100_000
        value = _cpu(lambda: flags.value("learn.online", "shop.fetch"), n)
        yield Row("CPU of a flag's value that is known, in a round", "", f"{1e9 * value:.0f} ns")
        yield Row("CPU of a look that is not due, each round", "", f"{1e9 * _cpu(flags.refresh, n):.0f} ns")
        each = _cpu(flags._look, 1000)
        yield Row("CPU of a look at the files, once a second", "≤ 1 ms", f"{1e6 * each:.0f} µs", each <= 1e-3)


def _cpu(step: Callable[[], object], n: int) -> float:
    began = time.process_time()
    for _ in range(n):
        step()
    return (time.process_time() - began) / n


if __name__ == "__main__":
    sys.exit(not show("How soon flags and orders hold", run()))
