"""A PostgreSQL server of its own, in a folder of its own, for as long as a test or a benchmark needs one.

It listens on a Unix socket in that folder and nowhere else. The binaries are those of the machine: where ``pg_config``
says, on the path, or where Debian puts them.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

PORT = 5432  # names the socket's file; each server has a folder of its own
OWNER = "poet_owner"  # may make databases and roles, and is no superuser
STARTING = 60.0  # longest wait for a server to come up [s]
SHARED = "POET_TEST_POSTGRES"  # the folder of the server that a test session shares with its child processes

QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}  # where no power cut is played
SMALL = {
    "listen_addresses": "",
    "max_connections": "60",
    "shared_buffers": "64MB",
    "dynamic_shared_memory_type": "posix",
    "log_min_messages": "warning",
    "max_wal_size": "256MB",
    "autovacuum_naptime": "5s",
    "logging_collector": "off",
}


class Missing(Exception):
    """There is no PostgreSQL here."""


@functools.cache
def binaries() -> Path:
    """The folder of ``postgres`` and ``initdb``. Raises Missing."""
    folders: list[Path] = []
    configured = shutil.which("pg_config")
    if configured:
        answer = subprocess.run([configured, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(answer.stdout.strip() or "/nonexistent"))
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda folder: int(folder.parent.name.split(".")[0]), reverse=True)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise Missing("no PostgreSQL server is installed: `apt-get install postgresql`")


def require() -> None:
    """Raises Missing where there is no PostgreSQL; in a test that is not run in CI, it is skipped then."""
    try:
        binaries()
    except Missing as missing:
        if "pytest" in sys.modules and not os.environ.get("CI"):
            import pytest

            pytest.skip(str(missing))
        raise


def lowered() -> list[str]:
    """What to put before a command so that it does not run as root, which PostgreSQL refuses, and dies with us."""
    end_with_us = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    if os.geteuid() != 0:
        return end_with_us
    user = _user()
    return [*(end_with_us or ["setpriv"]), f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]


def _user() -> str:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise Missing("no user `postgres` or `nobody` to run a server as")


def _hand_over(folder: Path) -> None:
    """Make the folder that of the server's user."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(_user())
        os.chown(folder, entry.pw_uid, entry.pw_gid)


class Server:
    """One server. ``folder`` must not be there yet, or be that of a server that was stopped."""

    def __init__(self, folder: Path, *, durable: bool = False, **options: str) -> None:
        """durable: what is committed survives a crash of the machine. options: of ``postgresql.conf``."""
        self.folder, self.data = folder, folder / "data"
        self.options = {**SMALL, **({} if durable else QUICK), **options}
        self._process: subprocess.Popen[bytes] | None = None

    def make(self) -> Server:
        """Make an empty cluster. Raises Missing."""
        self._prepare()
        command = [*lowered(), binaries() / "initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C"]
        _run([*command, "--no-sync", "--auth=trust"])
        return self

    def copy_of(self, primary: Server, slot: str) -> Server:
        """Make a standby of ``primary``, which streams from it under the name ``slot``."""
        self._prepare()
        command = [*lowered(), binaries() / "pg_basebackup", "-D", self.data, "-R", "-X", "stream", "-c", "fast"]
        _run([*command, "--no-sync", "-d", f"{primary.address('postgres', 'postgres')} application_name={slot}"])
        return self

    def _prepare(self) -> None:
        self.folder.mkdir(parents=True)
        self.folder.chmod(0o755)
        _hand_over(self.folder)

    def start(self) -> Server:
        """Start it; returns when it answers. Raises RuntimeError with its log where it does not."""
        arguments = [f"-c{name}={value}" for name, value in self.options.items()]
        command = [*lowered(), binaries() / "postgres", "-D", self.data, f"-p{PORT}", f"-k{self.folder}", *arguments]
        until = time.monotonic() + STARTING
        while True:
            log = self.log.open("ab")
            self._process = subprocess.Popen(
                list(map(str, command)), stdout=log, stderr=log, cwd="/", start_new_session=True
            )
            log.close()
            if self._answers(until):
                return self
            if time.monotonic() > until:  # processes of one that was killed may be about still
                raise RuntimeError(self.log.read_text(errors="replace")[-4000:])
            time.sleep(0.05)

    def _answers(self, until: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(psycopg.OperationalError):
                self.ask("SELECT 1")
                return True
            time.sleep(0.01)
        return False

    @property
    def log(self) -> Path:
        """What the server said."""
        return self.folder / "log"

    def address(self, database: str, user: str = OWNER) -> str:
        """For libpq, as words."""
        return f"host={self.folder} port={PORT} dbname={database} user={user}"

    def url(self, database: str, user: str = OWNER) -> str:
        """For libpq, as a URL."""
        return f"postgresql://{quote(user)}@{quote(str(self.folder), safe='')}:{PORT}/{quote(database)}"

    def connect(self, database: str = "postgres", user: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(self.address(database, user), autocommit=True, connect_timeout=10)

    def ask(self, statement: str, *facts: object, database: str = "postgres") -> list[tuple[object, ...]]:
        """Rows of one statement, as the superuser."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement, facts or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def make_owner(self) -> None:
        """Make the role that owns the tests' databases."""
        known = self.ask("SELECT 1 FROM pg_roles WHERE rolname = %s", OWNER)
        if not known:
            self.ask(f"CREATE ROLE {OWNER} LOGIN CREATEDB CREATEROLE")

    def make_database(self, name: str, owner: str = OWNER) -> None:
        """Make it where it is not there; several may ask at once."""
        statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
        while not self.ask("SELECT 1 FROM pg_database WHERE datname = %s", name):
            with contextlib.suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                self.ask(statement.as_string())

    def drop_database(self, name: str) -> None:
        """Drop it, whoever uses it."""
        self.ask(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)).as_string())

    @contextlib.contextmanager
    def database(self, name: str) -> Iterator[str]:
        """The URL of a new database, which is dropped afterwards."""
        self.make_database(name)
        try:
            yield self.url(name)
        finally:
            self.drop_database(name)

    def kill(self) -> None:
        """SIGKILL to all of its processes, as if the machine had lost them."""
        if self._process is None:
            return
        os.kill(self._process.pid, signal.SIGSTOP)  # so that it does not start others meanwhile
        for process in [*_children(self._process.pid), self._process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._process.wait(30)
        self._process = None

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; SIGINT ends all sessions, SIGTERM waits for them, SIGQUIT leaves a crash to recover from."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def remove(self) -> None:
        """Stop it and delete all that it has."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def _children(parent: int) -> list[int]:
    children = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                children.append(int(entry.parent.name))
    return children


def _run(command: list[object]) -> None:
    answer = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd="/")
    if answer.returncode:
        raise RuntimeError(f"{command[-1]}: {answer.stdout[-2000:]}{answer.stderr[-2000:]}")


def until_true(condition: Callable[[], bool], within: float = 30.0) -> None:
    """Ask until the answer is yes. Raises TimeoutError."""
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {within:g} s")
        time.sleep(0.005)


@contextlib.contextmanager
def running(**options: str | bool) -> Iterator[Server]:
    """A server for one purpose, with its owner; it and its folder are gone afterwards."""
    require()
    with tempfile.TemporaryDirectory(prefix="poet-pg-") as folder:
        Path(folder).chmod(0o755)
        server = Server(Path(folder) / "server", **options)  # type: ignore[arg-type]
        try:
            server.make().start().make_owner()
            yield server
        finally:
            server.remove()


@functools.cache
def shared() -> Server:
    """The server of this test session: started by the first who asks, stopped when that process ends."""
    known = os.environ.get(SHARED)
    if known:
        return Server(Path(known))
    require()
    folder = Path(tempfile.mkdtemp(prefix="poet-pg-"))
    folder.chmod(0o755)
    server = Server(folder / "server")
    owner = os.getpid()

    def end() -> None:
        if os.getpid() == owner:
            server.remove()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    server.make().start().make_owner()
    os.environ[SHARED] = str(server.folder)
    return server


def database_for(folder: Path) -> str:
    """The name of the database that stands for ``folder``."""
    import hashlib

    return "poet_" + hashlib.sha256(str(folder).encode()).hexdigest()[:20]


def options_for_replication(name: str, standby: str) -> Mapping[str, str]:
    """Settings of a primary that commits nothing before ``standby`` has it on its disk."""
    return {"wal_level": "replica", "max_wal_senders": "5", "synchronous_standby_names": standby, "cluster_name": name}
