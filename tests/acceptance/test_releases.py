"""``poet releases``: a person allows, a gate lets go, a person sees what left; on a store of SQLite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from poet.cli.main import main
from poet.model.document import Document
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.seams import FunctionRecord, ProcessReport
from poet.sharing import releases
from poet.sharing.privacy import Gate, Party, Policy, Refused, Released, known_calls
from poet.stores.sqlite import SqliteStore

FETCH = FunctionKey("shop.net", "fetch", "00000001")
THEIRS = Party(FunctionKey("acme.net", "get", "00000003"), "acme")
Ask = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a store that three hosts have filled."""
    for variable in ("POET_STORE", "POET_LEARNING", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".poet").mkdir()
    store = SqliteStore(tmp_path / ".poet" / "poet.db")
    store.register(FunctionRecord(FETCH, None, "adaptive", {"timeout": 2.0, "retries": 1}, {}, 0, 0, 0.0, 0.0))
    dice = Random(1)
    for writer in "abc":
        store.report(ProcessReport(writer, f"host-{writer}", 1, 0.0, 1.0, 0, 0, ""))
        made = []
        for k in range(400):
            outcome = Outcome.ERROR if dice.random() < 0.1 else Outcome.SUCCESS
            attempts = (Attempt(outcome, dice.lognormvariate(-2, 0.5)),)
            made.append(Execution(writer, k, 1e9 + k, attempts[0].seconds, outcome, 1, attempts))
        store.append(FETCH, made)
    store.close()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(project: Path, capsys: pytest.CaptureFixture[str]) -> Ask:
    def asked(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(line.split())
        told = capsys.readouterr()
        return code, told.out, told.err

    return asked


def told(ask: Ask, line: str) -> dict[str, Any]:
    code, out, err = ask(f"releases {line} --json")
    assert (code, err) == (0, ""), err
    found: dict[str, Any] = json.loads(out)
    return found


def let_go(project: Path, policy: Policy, why: str = "") -> Released | Refused:
    store = SqliteStore(project / ".poet" / "poet.db")
    try:
        return Gate(store, policy).release(FETCH, THEIRS, known_calls(store, FETCH), by="ann", why=why)
    finally:
        store.close()


def test_a_person_allows_a_gate_lets_go_and_a_person_sees_what_left(ask: Ask, project: Path) -> None:
    policy = Policy(epsilon=8.0)
    assert isinstance(let_go(project, policy), Refused)
    code, out, _ = ask("releases")
    assert (code, out.splitlines()[0]) == (0, "nothing has left")
    code, out, err = ask("releases fetch --allow acme --reason pilot")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "allowed fetch to tenant acme"
    left = let_go(project, policy, "their pilot")
    assert isinstance(left, Released)

    code, out, _ = ask("releases fetch")
    assert code == 0
    for words in ("acme.net.get of acme", "durations and failures,", "ann: their pilot", "allow fetch", "deny"):
        assert words in " ".join(out.split()), out
    assert max(map(len, out.splitlines())) <= 80
    found = told(ask, "fetch")
    (entry,) = found["releases"]
    assert (entry["by"], entry["why"], entry["epsilon"], entry["tenant"]) == ("ann", "their pilot", 1.0, "acme")
    assert sum(n for _, n in entry["left"]["durations"]) + sum(entry["left"]["failures"].values()) == left.statistics.n
    assert abs(left.statistics.n - 1200) < 60  # 27 draws of scale 1: a deviation of 7
    assert [(each["releases"], each["epsilon"]) for each in found["ledgers"]] == [(1, 1.0)]
    assert found["changes"][0]["reason"] == "pilot"


def test_a_month_that_is_used_up_refuses_and_the_page_says_what_was_spent(ask: Ask, project: Path) -> None:
    ask("releases --allow *")
    policy = Policy(epsilon=1.0, releases=2)
    assert [type(let_go(project, policy)) for _ in range(3)] == [Released, Released, Refused]
    _, out, _ = ask("releases")
    assert "spent by month" in out
    assert len(told(ask, "--last 1")["releases"]) == 1
    assert told(ask, "--last 1")["earlier"] == 1


def test_a_rule_denies_and_is_forgotten(ask: Ask, project: Path) -> None:
    ask("releases --allow *")
    ask("releases fetch --deny acme")
    refused = let_go(project, Policy())
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("a rule denies shop.net.fetch to tenant 'acme'")
    assert told(ask, "fetch --forget acme")["done"]
    assert not told(ask, "fetch --forget acme")["done"]
    _, out, _ = ask("releases fetch --forget acme")
    assert out.splitlines()[0] == "nothing to forget: there is no rule for fetch to tenant acme"
    assert isinstance(let_go(project, Policy()), Released)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("releases nobody", "nobody"),
        ("releases --alow acme", "did you mean '--allow'"),
        ("releases --allow acme --deny acme", "not allowed with"),
        (f"releases --allow {'x' * 101}", "tenant must be a name or a pattern of 1 to 100 characters"),
        ("releases --last 0", "--last"),
    ],
)
def test_what_cannot_be_understood_says_so(ask: Ask, line: str, said: str) -> None:
    code, _, err = ask(line)
    assert code == 2
    assert said in err


def test_a_record_that_somebody_has_changed_upsets_no_page(ask: Ask, project: Path) -> None:
    store = SqliteStore(project / ".poet" / "poet.db")
    record = {"number": 1, "at": 1e9, "by": "x\x1b[31m", "why": "", "target": "t\x1b[2J", "tenant": "", "kind": "calls"}
    for k, left in enumerate(({}, {"durations": 3, "failures": {}}, {"durations": [["a", "b"]], "failures": {}})):
        body = json.dumps({**record, "epsilon": None, "refused": "", "left": left})
        store.keep(Document(releases.RECORD, f"odd {k}", body, FETCH, open=False))
    store.keep(Document(releases.RECORD, "worse", json.dumps({"left": []}), FETCH))
    store.close()
    code, out, _ = ask("releases")
    assert code == 0
    assert out.count("cannot be read; see --json") == 3
    assert "1 record cannot be read" in out
    assert "\x1b" not in out
    assert told(ask, "")["unread"] == 1


def test_the_doctor_takes_releases_for_no_damage(ask: Ask, project: Path) -> None:
    ask("releases --allow *")
    assert isinstance(let_go(project, Policy(epsilon=1.0)), Released)
    code, out, _ = ask("doctor")
    assert code == 0, out
