"""A store in PostgreSQL outlives what happens to its clients, its connections and its servers: all of them real."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from poet.errors import StoreUnavailable
from poet.stores.postgres import PostgresStore
from poet.stores.postgres.address import Address
from poet.stores.postgres.faults import translated
from poet.testing.stores import KEY, draft, execution, record
from postgres import faults
from postgres.server import Server, running, shared


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the server's user may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="poet-pg-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def durable() -> Iterator[Server]:
    """A server whose disk holds what it has committed."""
    with running(durable=True) as server:
        yield server


def test_nothing_that_was_committed_is_lost_when_clients_are_killed() -> None:
    survived = faults.kill_clients(shared(), kills=10)
    assert min(survived.executions, survived.versions, survived.contributions) > 10


def test_no_change_is_lost_or_doubled_when_connections_are_ended_at_random_moments() -> None:
    ended, kept = faults.terminate_connections(shared(), seconds=3.0)
    assert ended > 20
    assert kept > 20


def test_several_that_do_the_upkeep_while_clients_write_lose_and_double_nothing() -> None:
    assert faults.keep_up(shared(), seconds=3.0) > 5


def test_a_server_that_crashes_while_clients_write_has_every_version_afterwards(durable: Server) -> None:
    assert faults.crash_server(durable, rounds=2) > 6


def test_a_standby_that_is_promoted_while_clients_write_has_every_version(open_folder: Path) -> None:
    assert faults.fail_over(open_folder) > 6


def test_a_server_that_is_away_for_a_while_is_refused_quickly_and_found_again(durable: Server) -> None:
    with durable.database("away") as url:
        store = PostgresStore(url)
        store.register(record())
        store.append(KEY, [execution(0)])
        durable.stop()
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StoreUnavailable, match="tried again by itself"):
                store.append(KEY, [execution(1)])
            with pytest.raises(StoreUnavailable):
                store.standing(KEY)
        assert time.monotonic() - began < 2
        with pytest.raises(StoreUnavailable):
            PostgresStore(url)
        durable.start()
        faults.until_true(lambda: _works(store))
        assert faults.wrong(store) == []
        store.close()


def _works(store: PostgresStore) -> bool:
    try:
        store.append(KEY, [execution(1)])
    except StoreUnavailable:
        return False
    return True


def test_a_server_that_no_longer_answers_is_given_up(durable: Server) -> None:
    with durable.database("frozen") as url:
        store = PostgresStore(url, patience=0.3)
        store.register(record())
        ((backend,),) = durable.ask("SELECT pid FROM pg_stat_activity WHERE application_name = 'poet'")
        os.kill(int(str(backend)), signal.SIGSTOP)
        assert durable._process is not None
        os.kill(durable._process.pid, signal.SIGSTOP)  # so that nobody answers a second time either
        began = time.monotonic()
        try:
            with pytest.raises(StoreUnavailable):
                store.publish(KEY, draft(), expected=1)
            assert time.monotonic() - began < 10
        finally:
            os.kill(durable._process.pid, signal.SIGCONT)
            os.kill(int(str(backend)), signal.SIGCONT)
        faults.until_true(lambda: _works(store))
        assert store.standing(KEY).generation == 1
        assert faults.wrong(store) == []
        store.close()


def test_a_full_disk_is_named_and_loses_nothing(durable: Server, open_folder: Path) -> None:
    """On a file system of 16 MB where this process may mount one; else the server's error is translated at least."""
    space = open_folder / "space"
    space.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(space)], check=False)
    if mounted.returncode:
        said = str(translated(Address.of("dbname=shop"), psycopg.errors.DiskFull("could not extend file")))
        assert "free some disk space" in said
        return
    try:
        inside = space / "data"
        inside.mkdir()
        if os.geteuid() == 0:
            owner = durable.data.stat()
            os.chown(inside, owner.st_uid, owner.st_gid)
        said, kept = faults.fill_disk(
            durable,
            inside,
            lambda: subprocess.run(["mount", "-o", "remount,size=64m", str(space)], check=True),
        )
        assert "free some disk space" in said
        assert kept > 100
    finally:
        subprocess.run(["umount", "--lazy", str(space)], check=True)
