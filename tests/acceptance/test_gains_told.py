"""``poet gains`` and ``f.poet.gains()``, as a user meets them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from poet import Objective, remaining
from poet.app import build
from poet.cli.main import main
from poet.decorator import bind
from poet.errors import PoetTimeout
from poet.model.estimate import Estimate
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord
from poet.settings import Settings
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock
from words import faults

START = 1_700_000_000.0  # Unix time [s]
NOW = START + 86_400.0
PRICE, CHAT, NEVER = (FunctionKey("shop", name, "0123abcd") for name in ("price", "chat", "never"))
OK, WRONG = Outcome.SUCCESS, Outcome.ERROR

Ask = Callable[[str], tuple[int, str, str]]


def record(key: FunctionKey) -> FunctionRecord:
    declared = {"timeout": 2.0, "retries": 0, "backoff": 0.1}
    objective = {"value": 1.0, "latency_cost": 0.1, "attempt_cost": 0.03}
    return FunctionRecord(key, None, "adaptive", declared, objective, 0, 0, 0.0, 0.0)


def calls(retries: int, version: int, first: int, n: int) -> list[Execution]:
    """Every fifth call errs at first, and a retry mends it."""
    made = []
    for i in range(first, first + n):
        attempts = (Attempt(OK, 0.3),) if i % 5 else (Attempt(WRONG, 0.1), Attempt(OK, 0.3))[: retries + 1]
        seconds = sum(attempt.seconds for attempt in attempts)
        made.append(Execution("w", i, START + 20.0 * i, seconds, attempts[-1].outcome, version, attempts))
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("POET_STORE", "POET_LEARNING", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    store = SqliteStore(tmp_path / ".poet" / "poet.db", clock=VirtualClock(wall=START))
    for key, retries in ((PRICE, 1), (CHAT, 0)):
        standing = store.register(record(key))
        if retries:
            draft = ParameterSet(
                values_={**standing.live, "retries": retries},
                parent=1,
                origin="learned",
                reason="a retry pays",
                estimates={"gain": Estimate(0.18, 0.1, 0.25, 100)},
            )
            store.publish(key, draft, expected=standing.generation)
        store.append(key, calls(0, 1, 0, 200) + calls(retries, 2 if retries else 1, 200, 800))
    store.register(record(NEVER))
    store.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(line: str) -> tuple[int, str, str]:
        code = main(line.split(), clock=VirtualClock(wall=NOW))
        said = capsys.readouterr()
        return code, said.out, faults(said.err)

    return run


def asked(ask: Ask, line: str) -> dict[str, Any]:
    code, out, err = ask(f"{line} --json")
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


def test_one_function_is_told_in_figures_and_in_words(project: Path, ask: Ask) -> None:
    code, out, err = ask("gains price")
    assert (code, err) == (0, "")
    assert "Learning has gained" in out
    assert "99 % within" in out
    assert "gain so far" in out
    assert "v1 → v2 learned" in out
    document = asked(ask, "gains price")
    truth = 0.16 * (1 - 0.03 - 0.03)  # of a fifth of 800 in 1000 calls: an answer, for one request and 0.3 s more
    assert document["gain"]["value"] == pytest.approx(truth, abs=0.005)
    assert document["gain"]["low"] > 0
    assert document["estimator"] == "replay"
    assert document["decided"] > 0.95
    (change,) = document["changes"]
    assert (change["improved"], change["agreed"]) == (True, True)
    assert document["improved"]["n"] == 1
    assert document["running"][-1]["calls"] == 1000
    assert document["saved_per_1000_calls"]["failures"]["value"] == pytest.approx(160, abs=5)
    assert document["hindsight"]["values"]["retries"] >= 1
    assert set(document["figures"]) == {"success", "seconds", "p50", "p99", "requests", "utility"}


def test_all_functions_are_told_the_greatest_gain_first(project: Path, ask: Ask) -> None:
    document = asked(ask, "gains")
    assert [row["short_name"] for row in document["functions"]] == ["price", "chat", "never"]
    assert document["calls"] == 2000
    assert document["worse"] == []
    assert document["gain"]["value"] == pytest.approx(0.075, abs=0.01)
    code, out, _ = ask("gains")
    assert code == 0
    assert out.index("price") < out.index("chat") < out.index("never")
    assert "No function was made worse" in out


def test_since_leaves_older_calls_out(project: Path, ask: Ask) -> None:
    assert asked(ask, "gains price --since 20h")["calls"] == 280
    document = asked(ask, "gains price --since 1h")
    assert (document["calls"], document["gain"]) == (0, None)
    assert document["sentences"][0] == "There is no call to compare."


def test_a_function_that_was_never_called_is_told_so(project: Path, ask: Ask) -> None:
    code, out, err = ask("gains never")
    assert (code, err) == (0, "")
    assert "There is no call to compare." in out


def test_wrong_words_are_refused_with_the_nearest_right_ones(project: Path, ask: Ask) -> None:
    assert "price" in ask("gains prize")[2]
    assert ask("gains prize")[0] == 2
    assert "--since" in ask("gains --sinse 7d")[2]


def test_a_store_without_functions_is_no_fault(project: Path, ask: Ask) -> None:
    (project / ".poet" / "poet.db").unlink()
    SqliteStore(project / ".poet" / "poet.db").close()
    assert asked(ask, "gains")["sentences"] == ["No function yet."]


def test_a_function_tells_of_its_own_gains_and_of_what_they_cost() -> None:
    clock, dice = VirtualClock(), random.Random(7)
    tuned = bind(build(Settings(store="memory:"), clock=clock, thread=False))

    @tuned(timeout=30.0, retries=1, enable_training=True, objective=Objective(latency_cost=0.2))
    def quote(symbol: str) -> float:
        wanted = dice.lognormvariate(-1.6, 0.5) if dice.random() < 0.9 else 8.0
        left = remaining()
        clock.sleep(wanted if left is None else min(wanted, left))
        if left is not None and wanted > left:
            raise PoetTimeout("quote", left)
        return 12.5

    for i in range(600):
        with suppress(PoetTimeout):
            quote("ULM")
        clock.sleep(5)
        if i % 20 == 19:
            quote.poet.status()
    told = quote.poet.gains()
    assert told.calls == 600
    assert told.estimator == "replay"
    assert told.gain is not None
    assert told.gain.high > 0
    assert told.overhead is not None
    assert 0 < told.overhead.call < 1e-3
    assert told.overhead.executions == 600
    assert told.overhead.per_execution == told.overhead.training / 600
    status = quote.poet.status()
    assert status["training_executions"] == 600
    assert status["training_seconds"] >= told.overhead.training > 0
    assert "µs of CPU per call for training" in str(told)
    assert quote.poet.gains(since=clock.wall() + 1).calls == 0
