"""Flags and rollbacks by hand, from the command line, on real processes with a store in a file and on a real server."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from poet.app import open_store
from poet.settings import Settings
from poet.stores.sqlite import SqliteStore
from postgres.server import Server, running, shared, until_true
from unit.cli import shop

SOON = 20.0  # longest wait for a process to follow, on a busy machine [s]

SERVICE = textwrap.dedent(
    """
    import json, sys, time
    from poet import decorator, poet

    @poet(name="shop.fetch", retries=0)
    def fetch():
        time.sleep(0.001)

    seen = None
    while True:
        fetch()
        live, trainer = fetch.poet.parameters, decorator._default.trainer
        phase = "" if trainer is None else trainer.flags.value("learn.online", "shop.fetch")
        faults = 0 if trainer is None else trainer.faults.count
        now = [live["timeout"], live.version, phase, faults]
        if now != seen:
            print(json.dumps([*now, time.time()]), flush=True)
            seen = now
    """
)


class Service:
    """A process that calls a decorated function without end, and tells which values it uses."""

    def __init__(self, project: Path, **environ: str) -> None:
        self.told: list[list[Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE],
            cwd=project,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))

    def uses(self, timeout: float) -> bool:
        """Whether its calls use this timeout now."""
        return bool(self.told) and self.told[-1][0] == timeout

    @property
    def phase(self) -> str:
        """What it takes ``learn.online`` for now."""
        return str(self.told[-1][2]) if self.told else ""

    @property
    def faults(self) -> int:
        return int(self.told[-1][3]) if self.told else 0

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self._reader.join(30)
        assert self.process.stdout is not None
        self.process.stdout.close()


class Project:
    """A folder with a store, the program ``poet``, and services."""

    def __init__(self, folder: Path, store: str) -> None:
        self.folder, self.store = folder, store
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text('[tool.poet]\nrollout = "direct"\n', encoding="utf-8")
        self.services: list[Service] = []
        self.environ = {"POET_STORE": store} if store else {}

    def service(self, **environ: str) -> Service:
        self.services.append(Service(self.folder, **self.environ, **environ))
        return self.services[-1]

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "poet.cli.main", *words],
            cwd=self.folder,
            env={**os.environ, **self.environ, **environ},
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )

    def ask(self, *words: str, **environ: str) -> dict[str, Any]:
        done = self.run(*words, "--json", **environ)
        assert done.returncode == 0, done.stderr + done.stdout
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def prepared(self, services: int) -> list[Service]:
        """Services that use version 2, with a timeout of 2 s, which is no pin."""
        started = [self.service() for _ in range(services)]
        for each in started:
            until_true(lambda each=each: each.uses(30.0) and each.told[-1][1] == 1, SOON)  # type: ignore[misc]
        until_true(lambda: self.run("pin", "fetch", "timeout=2").returncode == 0, SOON)
        self.ask("pause", "fetch", "--reason", "so that nothing else moves")
        self.ask("unpin", "fetch")
        self.all_use(2.0)
        until_true(lambda: len(self.users_of(2)) >= services, SOON)
        return started

    def users_of(self, version: int) -> set[str]:
        """Processes of which calls with it are stored."""
        store = open_store(Settings.load(start=self.folder, environ=self.environ), readonly=True)
        try:
            (record,) = store.functions()
            return {each.writer for each in store.executions(record.key) if each.version == version}
        finally:
            store.close()

    def all_use(self, timeout: float) -> None:
        until_true(lambda: all(each.uses(timeout) for each in self.services), SOON)

    def write(self, text: str, name: str = "flags.json") -> None:
        (self.folder / ".poet").mkdir(exist_ok=True)
        place = self.folder / ".poet" / name
        beside = place.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.replace(place)

    def away(self, kind: str) -> list[Path]:
        """What this host keeps for a server that is away."""
        return list((self.folder / ".poet" / "away").glob(f"*/{kind}/*.json"))

    def end(self) -> None:
        for each in self.services:
            each.end()


@pytest.fixture(params=["sqlite", "postgres"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    if request.param == "sqlite":
        one = Project(tmp_path / "a", "")
        yield one
        one.end()
        return
    with shared().database(f"flags_{os.getpid()}_{time.monotonic_ns()}") as url:
        one = Project(tmp_path / "a", url)
        yield one
        one.end()


def test_a_rollback_its_undo_and_flags_of_every_kind_reach_all_processes(project: Project) -> None:
    services = project.prepared(2)

    done = project.ask("rollback", "fetch", "--to", "1", "--reason", "sluggish")
    assert done["diff"] == {"timeout": [2.0, 30.0]}
    assert (done["radius"]["calls"] > 0, len(done["radius"]["processes"]), len(done["radius"]["hosts"])) == (True, 2, 1)
    project.all_use(30.0)
    done = project.ask("rollback", "--undo", "fetch", "--reason", "it was the network")
    assert done["paused"] == "so that nothing else moves"  # as it was before
    project.all_use(2.0)

    project.ask("flags", "set", "learn.online", "defaults", "--function", "shop.*", "--reason", "incident 7")
    project.all_use(30.0)
    assert {each.phase for each in services} == {"defaults"}
    project.ask("flags", "unset", "learn.online", "--function", "shop.*", "--reason", "over")
    project.all_use(2.0)

    project.write('{"learn.online": "defaults"}')
    project.all_use(30.0)
    project.write("{damaged")
    until_true(lambda: {each.phase for each in services} == {"off"}, SOON)
    project.all_use(2.0)
    assert {each.faults for each in services} == {1}
    (project.folder / ".poet" / "flags.json").unlink()
    until_true(lambda: {each.phase for each in services} == {"on"}, SOON)
    project.write("", "off")
    until_true(lambda: {each.phase for each in services} == {"off"}, SOON)
    (project.folder / ".poet" / "off").unlink()

    other = project.service(POET_FLAGS="learn.online=defaults")
    until_true(lambda: other.uses(30.0) and other.phase == "defaults", SOON)
    assert all(each.uses(2.0) for each in services)

    told = project.ask("flags", "history")["entries"]
    assert [(each["flag"], each["reason"]) for each in told] == [
        ("learn.online", "incident 7"),
        ("learn.online", "over"),
    ]
    assert [e["action"] for e in project.ask("history", "fetch")["entries"]][-3:] == ["rollback", "promote", "pause"]


def test_everything_that_has_changed_since_a_moment_goes_back_in_one_command(project: Project) -> None:
    project.prepared(1)
    born = project.ask("history", "fetch")["entries"][1]["at"]
    before = datetime.fromtimestamp(born - 0.001, UTC).isoformat()
    done = project.ask("rollback", "--all", "--to-before", before, "--reason", "bad deploy")
    assert [(each["short_name"], each["after"]["version"]) for each in done["functions"]] == [("fetch", 1)]
    project.all_use(30.0)
    assert project.ask("show", "fetch")["paused"] == "bad deploy"


def test_analyze_publishes_nothing_where_the_flag_says_so(project: Project) -> None:
    project.prepared(1)
    project.ask("flags", "set", "learn.batch", "off", "--reason", "audit")
    done = project.run("analyze", "fetch", "--apply")
    assert done.returncode == 2
    assert "the flag learn.batch is off: analyze without --apply" in done.stderr
    assert project.run("analyze", "fetch").returncode == 0
    project.ask("flags", "unset", "learn.batch")
    assert project.run("analyze", "fetch", "--apply").returncode == 0


@pytest.mark.parametrize(("answer", "version"), [("n", 2), ("", 2), ("y", 1)])
def test_on_a_terminal_it_shows_what_would_change_and_asks(tmp_path: Path, answer: str, version: int) -> None:
    clock = shop.clock()
    store = SqliteStore(tmp_path / ".poet" / "poet.db", clock=clock)
    shop.fill(store, clock)
    store.rollback(shop.PRICES, 2, author="ann", reason="to begin with")
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "poet.cli.main", "rollback", "prices.fetch", "--to", "1"],
        cwd=tmp_path,
        env={**os.environ, "TERM": "dumb", "COLUMNS": "100"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        close_fds=True,
    ) as process:
        os.close(theirs)
        told = b""
        while b"[y/N]" not in told:
            told += os.read(ours, 4096)
        assert store.standing(shop.PRICES).live.version == 2
        os.write(ours, f"{answer}\n".encode())
        with contextlib.suppress(OSError):  # the terminal is gone with the process
            while more := os.read(ours, 4096):
                told += more
        code = process.wait(30)
    os.close(ours)
    assert b"version 2 \xe2\x86\x92 1" in told
    assert (code, b"nothing was changed" in told) == ((0, False) if answer == "y" else (1, True))
    assert store.standing(shop.PRICES).live.version == version
    store.close()


# --- a server that is away -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running() as one:
        yield one


@pytest.fixture
def stoppable(server: Server) -> Server:
    """A server that runs, and that a test may stop."""
    server.stop()
    return server.start()


def test_a_rollback_while_the_server_is_down_holds_on_this_host_at_once_and_everywhere_when_it_is_back(
    stoppable: Server, tmp_path: Path
) -> None:
    stoppable.make_database("orders")
    here, elsewhere = (Project(tmp_path / name, stoppable.url("orders")) for name in ("a", "b"))
    try:
        services = here.prepared(2)
        other = elsewhere.service()
        until_true(lambda: other.uses(2.0), SOON)
        until_true(lambda: any('"unpin"' in path.read_text() for path in here.away("versions")), SOON)
        stoppable.stop()

        done = here.ask("rollback", "fetch", "--to", "1", "--reason", "sluggish")
        assert (done["ordered"], done["diff"]) == (True, {"timeout": [2.0, 30.0]})
        here.all_use(30.0)
        assert len(here.away("orders")) == 1
        assert other.uses(2.0)
        late = here.service()  # who starts meanwhile finds the order
        until_true(lambda: late.uses(30.0), SOON)
        assert here.ask("show", "fetch")["parameters"]["timeout"]["live"] == 30.0
        refused = here.run("rollback", "--undo", "fetch")
        assert refused.returncode == 2
        assert "--to 2 works all the same" in refused.stderr

        stoppable.start()
        until_true(lambda: not here.away("orders"), SOON)
        elsewhere.all_use(30.0)
        assert all(each.uses(30.0) for each in [*services, late])
        entries = here.ask("history", "fetch")["entries"]
        assert [each["action"] for each in entries].count("rollback") == 1
        assert entries[-1]["reason"].startswith("sluggish (ordered on ")
        here.ask("rollback", "--undo", "fetch")
        here.all_use(2.0)
        elsewhere.all_use(2.0)
    finally:
        here.end()
        elsewhere.end()


def test_each_kill_switch_works_while_the_server_is_down_also_for_who_starts_meanwhile(
    stoppable: Server, tmp_path: Path
) -> None:
    stoppable.make_database("kill")
    project = Project(tmp_path / "a", stoppable.url("kill"))

    def all_are(phase: str, timeout: float) -> None:
        until_true(lambda: all(each.phase == phase and each.uses(timeout) for each in project.services), SOON)

    try:
        project.prepared(1)
        stoppable.stop()
        project.service()
        for text, name, phase, timeout in (
            ('{"learn.online": "defaults"}', "flags.json", "defaults", 30.0),
            ("\x00{", "flags.json", "off", 2.0),
            ("{}", "flags.json", "on", 2.0),
            ("", "off", "off", 2.0),
        ):
            project.write(text, name)
            all_are(phase, timeout)
        assert {row["value"] for row in project.ask("flags")["flags"]} == {"off"}
        (project.folder / ".poet" / "off").unlink()
        all_are("on", 2.0)
        ended = project.service(POET_FLAGS="learn.online=defaults")
        until_true(lambda: ended.phase == "defaults" and ended.uses(30.0), SOON)
        ended.end()
        project.services.remove(ended)

        refused = project.run("flags", "set", "learn.online", "off")
        assert refused.returncode == 2
        assert "a file .poet/flags.json, or POET_FLAGS, works on each host" in refused.stderr
        stoppable.start()
        until_true(lambda: project.run("flags", "set", "learn.online", "defaults").returncode == 0, SOON)
        all_are("defaults", 30.0)
        stoppable.stop()
        project.service()  # it finds what was known last
        all_are("defaults", 30.0)
        shown = project.ask("flags")
        assert (shown["flags"][0]["value"], shown["flags"][0]["source"]) == ("defaults", "row")
        assert any("rows cannot be read now" in fault for fault in shown["faults"])
    finally:
        project.end()
