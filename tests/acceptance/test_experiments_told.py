"""Experiments from the command line, over several real processes that share a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from poet.cli.main import main
from postgres.server import shared

WORKER = """
import random, sys, time
from pathlib import Path
from typing import Annotated
import poet

poet.configure(store_interval=0.1, train_interval=0.02, poll_interval=0.5, rollout="direct")
rng = random.Random(int(sys.argv[1]))
FAILS = {0: 0.4, 3: 0.02, 9: 1.0}

@poet.poet(name="shop.quote", retries=0, timeout=5.0)
def quote(k: Annotated[int, poet.Integer(0, 9)] = 0):
    time.sleep(0.001)
    if rng.random() < FAILS[k]:
        raise ConnectionError("no")
    return k

until = time.monotonic() + 60
while not Path("stop").exists() and time.monotonic() < until:
    try:
        quote()
    except ConnectionError:
        pass
    time.sleep(0.002)
poet.flush()
print(quote.poet.status()["faults"], quote.poet.status()["last_fault"])
"""
PATIENCE = 50.0  # [s]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield "sqlite:///poet.db"
    else:
        with shared().database("experiments") as made:
            yield made


@contextmanager
def working(folder: Path, url: str, processes: int) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes that call the function until the block ends."""
    (folder / "job.py").write_text(WORKER)
    (folder / "pyproject.toml").write_text("")
    env = {k: v for k, v in os.environ.items() if not k.startswith("POET_") or k.startswith("POET_TEST")}
    made = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "job.py", str(seed)],
            cwd=folder,
            env={**env, "POET_STORE": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for seed in range(processes)
    ]
    try:
        yield made
        (folder / "stop").write_text("")
        for each in made:
            told, complaints = each.communicate(timeout=30)
            assert each.returncode == 0, complaints
            assert told.startswith("0 "), told + complaints
    finally:
        for each in made:
            if each.poll() is None:
                each.kill()
                each.communicate()


class Desk:
    """The command line in a project's folder."""

    def __init__(self, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.url, self.capsys = url, capsys

    def __call__(self, *words: str, code: int = 0) -> dict[str, Any]:
        found = main([*words, "--store", self.url, "--json"])
        told, complaints = self.capsys.readouterr()
        assert found == code, complaints
        doc: dict[str, Any] = json.loads(told)
        return doc

    def text(self, *words: str) -> str:
        assert main([*words, "--store", self.url]) == 0
        return self.capsys.readouterr().out

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < end, self.text("experiment", "list")
            time.sleep(0.1)

    def calls(self) -> int:
        """That are stored; 0 as long as there is no store."""
        found = main(["status", "--store", self.url, "--json"])
        told = self.capsys.readouterr().out  # also of a refusal, or the next look would meet it
        rows = json.loads(told)["functions"] if found == 0 else []
        return int(rows[0]["calls"]) if rows else 0

    def live(self) -> dict[str, Any]:
        return {name: each["live"] for name, each in self("show", "quote")["parameters"].items()}

    def experiment(self, name: str) -> dict[str, Any]:
        told: dict[str, Any] = self("experiment", "show", name)["experiment"]
        return told


def test_one_is_decided_by_all_processes_and_its_winner_goes_live(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = Desk(url, capsys)
    with working(tmp_path, url, 3):
        desk.until(lambda: desk.calls() > 100)
        start = ("experiment", "start", "quote")
        refused = desk(*start, "--arm", "sound:k=12", code=2)
        assert "k must be in [0, 9], got 12; the nearest is 9" in refused["error"]["message"]
        begun = desk(*start, "--arm", "sound:k=3", "--metric", "success", "--promote", "winner", "--reason", "see")
        assert begun["experiment"]["id"] == "quote-1"
        desk.until(lambda: desk.experiment("quote-1")["phase"] == "ended")
        told = desk.experiment("quote-1")
        assert (told["verdict"], told["winner"], told["promoted"]) == ("decided", "sound", "sound"), told["sentence"]
        figures = told["figures"]
        assert figures["calls"] == sum(arm["calls"] for arm in figures["arms"])
        assert not figures["health"]["sample_ratio_mismatch"]
        assert desk.live()["k"] == 3
        actions = [entry["action"] for entry in desk("history", "quote")["entries"]]
        assert "arm" in actions
        assert "promote" in actions

        broken = ("--arm", "broken:k=9", "--share", "broken=0.2")
        desk(*start, *broken, "--metric", "success")
        desk.until(lambda: desk.experiment("quote-2")["phase"] == "ended")
        told = desk.experiment("quote-2")
        assert (told["verdict"], told["winner"]) == ("harm", "live")
        assert "broken fails more often than live" in told["sentence"]
        page = desk.text("experiment", "show", "quote-2")
        assert page.index("health") < page.index("effect on")
        board = desk("experiment", "leaderboard")
        assert board["comparisons"][0]["verdict"] in ("better", "not told apart")  # e-BH asks for more than one test
        ranks = {row["strategy"]: row["first"] for row in board["strategies"]}
        assert ranks["k=3"] == 1
    assert desk("doctor")["ok"]


def test_a_process_that_is_killed_and_one_that_comes_later_take_nothing_from_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = Desk(url, capsys)
    never = ("--alpha", "0.0000001", "--guard-alpha", "0.0000001", "--metric", "success")
    with working(tmp_path, url, 1) as processes:
        desk.until(lambda: desk.calls() > 60)
        desk("experiment", "start", "quote", "--arm", "one:k=3", "--arm", "two:timeout=4,k=3", *never)
        desk.until(lambda: desk.experiment("quote-1")["figures"]["calls"] > 200)
        processes[0].kill()
        processes[0].communicate()
        before = desk.experiment("quote-1")["figures"]["calls"]
        processes.clear()
    (tmp_path / "stop").unlink()
    with working(tmp_path, url, 1):
        desk.until(lambda: desk.experiment("quote-1")["figures"]["calls"] > before + 200)
        changed = desk("experiment", "change", "quote-1", "--share", "one=0.8", "--reason", "more of it")["experiment"]
        assert (changed["id"], changed["replaces"]) == ("quote-2", "quote-1")
        desk.until(lambda: desk.experiment("quote-2")["figures"]["calls"] > 200)
        stopped = desk("experiment", "stop", "quote-2", "--reason", "enough")["experiment"]
        assert stopped["verdict"] == "stopped"
        desk("experiment", "promote", "quote-2", "two")
        desk.until(lambda: desk.live() == {"timeout": 4.0, "retries": 0, "backoff": 0.1, "k": 3})
