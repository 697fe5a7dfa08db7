"""Decorated functions on a store in PostgreSQL: real servers that stop and start, real processes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from houses import Host
from poet.app import build
from poet.cli.main import main
from poet.errors import StoreUnavailable
from poet.settings import Settings
from poet.stores.postgres import PostgresStore
from postgres.server import Server, running, shared, until_true


@pytest.fixture(scope="module")
def stoppable() -> Iterator[Server]:
    with running() as one:
        yield one


@pytest.fixture
def server(stoppable: Server) -> Server:
    """A server that runs, and that a test may stop."""
    stoppable.stop()
    return stoppable.start()


def learn(host: Host, agent: Any, fetch: Any, calls: int) -> None:
    for _ in range(calls):
        fetch()
        agent.flush()


def test_hosts_learn_as_one_and_a_rollback_on_one_reaches_the_other(tmp_path: Path) -> None:
    with shared().database("hosts") as url:
        one, other = Host(tmp_path / "a", url), Host(tmp_path / "b", url)
        ours, theirs = one.agent(), other.agent()
        here, there = one.fetch(ours, 0.05), other.fetch(theirs, 0.05)
        for _ in range(120):
            learn(one, ours, here, 1)
            learn(other, theirs, there, 1)
        assert here.poet.explain().executions >= 239
        assert there.poet.explain().executions >= 239
        assert there.poet.parameters["timeout"] < 1.0
        here.poet.rollback(1, reason="not sure")
        theirs.flush()
        there()
        assert there.poet.parameters["timeout"] == 30.0
        assert there.poet.status()["paused"] == "not sure"
        assert [change.action for change in there.poet.history()][-1] == "rollback"
        one.close()
        other.close()
        store = PostgresStore(url, readonly=True)
        assert store.functions()[0].calls == 241
        assert [finding for finding in store.check() if not finding.ok] == []
        store.close()


def test_a_server_that_goes_away_stops_nothing_and_misses_nothing(server: Server, tmp_path: Path) -> None:
    with server.database("outage") as url:
        host = Host(tmp_path, url, wall=time.time())
        agent = host.agent()
        fetch = host.fetch(agent, 0.05)
        learn(host, agent, fetch, 1)
        last = fetch.poet.parameters
        server.stop()
        learn(host, agent, fetch, 200)
        status = fetch.poet.status()
        assert (status["calls"], status["away"] is not None) == (201, True)
        assert fetch.poet.parameters != last  # learned on, without it
        assert status["faults"] <= 3  # an outage is one fault, not thousands
        (spooled,) = agent.trainer.store.processes()
        assert spooled.spooled == 200

        later = Host(tmp_path, url, wall=time.time())  # another process of this host begins with what it knew
        newer = later.agent()
        again = later.fetch(newer, 0.05)
        again()
        assert again.poet.parameters == last  # the version that all hosts had last
        assert newer.trainer.trainees[again.poet._trainee.key].learner.explain(again.poet.parameters).executions > 0
        later.close()

        server.start()

        def caught_up() -> bool:
            host.clock.sleep(10.0)
            agent.flush()
            return not agent.trainer.store.away and not agent.trainer.store.processes()[0].spooled

        until_true(caught_up)
        fetch()
        agent.flush()
        store = PostgresStore(url, readonly=True)
        (record,) = store.functions()
        rows = list(store.executions(record.key))
        assert record.calls == len(rows) == 203
        assert len({(row.writer, row.sequence) for row in rows}) == 203
        assert store.standing(record.key).live["timeout"] == fetch.poet.parameters["timeout"] < 1.0
        assert fetch.poet.status()["away"] is None
        assert [finding for finding in store.check() if not finding.ok] == []
        store.close()
        host.close()


def test_whoever_looks_during_an_outage_is_told_so_and_sees_what_was_known(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".poet").mkdir()
    monkeypatch.chdir(tmp_path)
    with server.database("looking") as url:
        monkeypatch.setenv("POET_STORE", url)
        host = Host(tmp_path, url, wall=time.time())
        agent = host.agent()
        fetch = host.fetch(agent, 0.05)
        learn(host, agent, fetch, 5)
        assert main(["status"]) == 0
        assert "away" not in capsys.readouterr().out
        server.stop()
        try:
            learn(host, agent, fetch, 3)
            assert main(["status"]) == 0
            page = capsys.readouterr().out
            assert "could not be reached" in page
            assert "3 executions wait" in page
            assert re.search(r"fetch +learning +8 ", page)  # as far as this host has counted
            assert main(["status", "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert told["away"] is not None
            assert told["processes"]["spooled"] == 3
            assert main(["doctor"]) == 1
            assert "reachable" in capsys.readouterr().out
            assert main(["rollback", "fetch", "--to", "9"]) == 2
            assert "has no version 9; it has: 1" in capsys.readouterr().err
            assert main(["rollback", "fetch", "--to", "1"]) == 0
            assert "the store is away: processes on this host follow at once" in capsys.readouterr().out
            assert main(["pin", "fetch", "timeout=1"]) == 2
            assert "tried again" in capsys.readouterr().err
        finally:
            server.start()
        host.close()


def test_what_a_person_must_mend_is_said_at_the_door_and_no_password_is(tmp_path: Path) -> None:
    missing = shared().url("no_such_database").replace("@", ":s3cret@", 1)
    agent = build(Settings(store=missing, root=tmp_path), thread=False)
    with pytest.raises(StoreUnavailable, match="create the database") as caught:
        agent.open()
    assert "s3cret" not in str(caught.value)


CALLS = """
    import poet, time
    poet.configure(store={url!r}, root={root!r}, learning="on")

    @poet.poet(enable_training=True, name="fetch")
    def fetch():
        time.sleep(0.001)

    for _ in range(50):
        fetch()
    poet.flush()
    print(fetch.poet.status()["away"] is None, fetch.poet.parameters.version)
"""


def script(url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    code = textwrap.dedent(CALLS.format(url=url, root=str(folder)))
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)


def test_a_process_may_begin_and_end_while_the_server_is_away(server: Server, tmp_path: Path) -> None:
    with server.database("short") as url:
        server.stop()
        try:
            lonely = script(url, tmp_path)
            assert lonely.returncode == 0, lonely.stderr
            assert lonely.stdout.startswith("False")
            assert lonely.stderr.count("refused") + lonely.stderr.count("No such file") == 1  # said once
        finally:
            server.start()
        after = script(url, tmp_path)
        assert after.returncode == 0, after.stderr
        assert after.stdout.startswith("True")
        store = PostgresStore(url, readonly=True)
        assert store.functions()[0].calls == 100  # what the first one left behind was handed over by the second
        assert [finding for finding in store.check() if not finding.ok] == []
        store.close()
