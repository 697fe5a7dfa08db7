"""What one project learned starts another; what the original left is kept; other tools read the calls."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from poet import Real
from poet.app import Agent, build
from poet.cli import transfer
from poet.cli.main import main
from poet.decorator import bind
from poet.learners import learner_for
from poet.settings import Settings
from poet.stores.sqlite import SqliteStore
from poet.testing import hostile
from poet.testing.clock import VirtualClock
from unit.cli import shop
from unit.cli.shop import NOW, PRICES, STOCK
from unit.exchange import parcels
from words import faults

Ask = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(line: str) -> tuple[int, str, str]:
        """The program in this process, at the fixed time."""
        code = main(line.split(), clock=VirtualClock(wall=NOW))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def asked(ask: Ask, line: str) -> dict[str, Any]:
    code, out, err = ask(f"{line} --json")
    assert (code, faults(err)) == (0, ""), err
    document: dict[str, Any] = json.loads(out)
    return document


@pytest.fixture(autouse=True)
def _away_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("POET_STORE", "POET_LEARNING", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a filled store, in which the tests work."""
    folder = made(tmp_path / "ours")
    clock = shop.clock()
    store = SqliteStore(folder / ".poet" / "poet.db", clock=clock)
    shop.fill(store, clock)
    store.append(PRICES, shop.fresh())
    store.save_learner(PRICES, parcels.knowledge())
    store.close()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A project in which nothing was recorded."""
    return made(tmp_path / "theirs")


def made(folder: Path) -> Path:
    folder.mkdir()
    (folder / "pyproject.toml").write_text("", encoding="utf-8")
    return folder


def opened(project: Path) -> SqliteStore:
    return SqliteStore(project / ".poet" / "poet.db")


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# --- parameters ------------------------------------------------------------------------------------------------------


def test_what_one_project_learned_starts_another(
    project: Path, elsewhere: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = ask("export --output ../shop.json")
    assert (code, faults(err)) == (0, "")
    assert "poet import ../shop.json" in out
    monkeypatch.chdir(elsewhere)
    document = asked(ask, "import ../shop.json")
    assert [part["taken"] for part in document["functions"]] == [True] * 4
    ours, theirs = opened(project), opened(elsewhere)
    assert dict(theirs.standing(PRICES).live) == dict(ours.standing(PRICES).live)
    assert theirs.standing(PRICES).live.origin == "import"
    assert theirs.load_learner(PRICES) == ours.load_learner(PRICES)
    assert [finding for finding in theirs.check() if not finding.ok] == []
    ours.close()
    theirs.close()
    code, out, _ = ask("history prices.fetch")
    assert code == 0
    assert "imported from shop.json" in " ".join(out.split())


def test_without_a_file_the_package_goes_to_the_pipe(project: Path, elsewhere: Path, ask: Ask) -> None:
    program = [sys.executable, "-m", "poet.cli.main"]
    sent = subprocess.run([*program, "export", "prices.fetch"], cwd=project, capture_output=True, check=True)
    (elsewhere / "one.json").write_bytes(sent.stdout)
    done = subprocess.run([*program, "import", "one.json", "--json"], cwd=elsewhere, capture_output=True, check=True)
    [part] = json.loads(done.stdout)["functions"]
    assert (part["name"], part["taken"], part["knowledge"]) == ("shop.prices.fetch", True, True)


def test_worse_evidence_is_left_and_said_and_force_takes_it(project: Path, ask: Ask) -> None:
    ask("export --output all.json")
    store = opened(project)
    standing = store.standing(PRICES)
    store.publish(PRICES, parcels.learned(400, timeout=1.5), expected=standing.generation)
    store.close()
    [part] = [part for part in asked(ask, "import all.json")["functions"] if part["name"] == PRICES.name]
    assert (part["taken"], part["why"]) == (
        False,
        "it rests on 50 executions, ours on 400; --force takes it all the same",
    )
    code, out, _ = ask("import all.json --force")
    assert code == 0
    assert "timeout 1.5 → 0.84321 s" in out
    assert max(map(len, out.splitlines())) <= 80


def test_a_dry_run_makes_not_even_a_store(project: Path, elsewhere: Path, ask: Ask, monkeypatch: Any) -> None:
    ask("export --output ../shop.json")
    monkeypatch.chdir(elsewhere)
    document = asked(ask, "import ../shop.json --dry-run")
    assert document["dry_run"]
    assert len(document["functions"]) == 4
    assert not (elsewhere / ".poet").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("export nobody", "no function 'nobody'"),
        ("export --format csv", "--format is about executions: say --executions, too"),
        ("export --executions --output a.csv", "takes the names of functions, or --all of them"),
        ("export --executions --all", "export --executions needs --output FILE"),
        ("export --executions --all --output a.txt", "the ending of 'a.txt' names no format"),
        ("export --executions --all --output a.csv --since 3", "such as 30d or 12h, got '3'"),
        ("export --output no/such/folder.json", "no/such/folder.json cannot be written: no such file or directory"),
        ("import no.json", "no.json: no such file or folder"),
        ("import pyproject.toml", "pyproject.toml: no JSON, or torn"),
        ("import --store memory:", "what is imported into it would be lost at once"),
        ("export --exections", "did you mean '--executions'?"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_way_out(project: Path, ask: Ask, line: str, said: str) -> None:
    before = contents(project)
    code, out, err = ask(line)
    assert (code, out) == (2, "")
    assert said in err
    assert {name: sum_ for name, sum_ in contents(project).items() if "-" not in name} == before


def test_a_package_is_refused_before_a_store_is_made(elsewhere: Path, ask: Ask, monkeypatch: Any) -> None:
    monkeypatch.chdir(elsewhere)
    (elsewhere / "torn.json").write_text(parcels.whole()[:1000], encoding="utf-8")
    code, _, err = ask("import torn.json")
    assert code == 2
    assert err.startswith("poet: torn.json: no JSON, or torn")
    assert not (elsewhere / ".poet").exists()


def test_hostile_files_leave_a_file_store_whole(tmp_path: Path) -> None:
    made_so_far = iter(range(1000))

    def fresh() -> SqliteStore:
        store = SqliteStore(tmp_path / f"{next(made_so_far)}.db", clock=VirtualClock(wall=NOW))
        parcels.fill(store)
        return store

    files = int(os.environ.get("POET_HOSTILE_FILES", "2000")) // 4
    survived = hostile.attack(fresh, parcels.whole(), learner_for, files=files, seed=7)
    assert survived.refused + survived.kept + survived.taken == files
    assert survived.taken > 0


def decorated(project: Path, **arguments: Any) -> tuple[Agent, Any]:
    """A function as users write it, under an agent of the project."""
    agent = build(Settings(root=project, learning="on", rollout="direct"), clock=VirtualClock(wall=NOW), thread=False)

    @bind(agent)(enable_training=True, name="oracle", **arguments)  # type: ignore[untyped-decorator]
    def oracle(question: str) -> str:
        return question.upper()

    return agent, oracle


def test_a_decorated_function_begins_with_what_another_project_knows(
    project: Path, elsewhere: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, oracle = decorated(project)
    for _ in range(60):
        oracle("how long?")
    agent.flush()
    learned = dict(oracle.poet.parameters)
    agent.close()
    asked(ask, "export oracle --output ../oracle.json")
    monkeypatch.chdir(elsewhere)
    asked(ask, "import ../oracle.json")
    agent, oracle = decorated(elsewhere)
    assert oracle("how long?") == "HOW LONG?"
    assert (dict(oracle.poet.parameters), oracle.poet.parameters.origin) == (learned, "import")
    assert learned["timeout"] < 1.0
    assert oracle.poet.explain().executions == 60 + 1
    agent.close()


def test_bounds_that_the_code_declares_hold_at_the_first_call(
    project: Path, elsewhere: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, oracle = decorated(project)
    oracle("how long?")
    store = agent.open().store
    [key] = [record.key for record in store.functions() if record.key.name == "oracle"]
    store.publish(key, parcels.learned(60, timeout=100.0), expected=store.standing(key).generation)
    agent.close()
    asked(ask, "export --output ../oracle.json")
    monkeypatch.chdir(elsewhere)
    asked(ask, "import ../oracle.json")
    agent, oracle = decorated(elsewhere, tunables={"timeout": Real(0.5, 40.0)})
    oracle("how long?")
    assert oracle.poet.parameters["timeout"] == 40.0
    agent.close()


# --- executions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["parquet", "arrow", "jsonl", "csv"])
def test_all_calls_leave_in_any_format(project: Path, ask: Ask, form: str) -> None:
    document = asked(ask, f"export --executions --all --output calls.{form}")
    assert (document["kind"], document["file_format"], document["rows"]) == ("executions", form, 123)
    assert (project / f"calls.{form}").stat().st_size > 0


def test_the_calls_of_one_function_of_late_are_read_by_anyones_tools(project: Path, ask: Ask) -> None:
    code, out, _ = ask("export prices.fetch --executions --format parquet --output calls --since 1h")
    assert code == 0
    assert "3 executions of 1 function" in out
    store = opened(project)
    assert pq.read_table(project / "calls")["id"].to_pylist() == [e.id for e in list(store.executions(PRICES))[-3:]]
    store.close()


def test_without_pyarrow_the_extra_is_named(project: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "find_spec", lambda name: None)
    code, _, err = ask("export --executions --all --output calls.parquet")
    assert code == 2
    assert 'pip install "poet-runtime[arrow]"' in err
    assert ask("export --executions --all --output calls.csv")[0] == 0


# --- what the original left ------------------------------------------------------------------------------------------


def metrics(name: str, start: float, n: int, **changes: Any) -> str:
    row = {"function_name": name, "domain": None, "success": True, "total_time": 0.25, "attempts": 1, **changes}
    return "".join(json.dumps({**row, "timestamp": start + 10.0 * i}) + "\n" for i in range(n))


def history(name: str, moments: list[str]) -> str:
    row = {"function_name": name, "parameter_values": {}, "performance_score": 0.8, "execution_time": 1.0}
    return "".join(json.dumps({**row, "timestamp": moment, "success": True}) + "\n" for moment in moments)


def leave(project: Path, home: Path) -> None:
    """What the original would have left of the shop."""
    files = {
        project / ".poet/nightly report_params.json": '{"retries": 8, "timeout": 12.5}',
        project / ".poet/send_params.json": '{"timeout": 12.5}',
        project / ".poet/fetch_params.json": '{"timeout": 27.0}',
        project / ".poet/gone_params.json": '{"timeout": 27.0}',
        project / ".poet/metrics/performance_history.jsonl": history("nightly report", ["2025-06-01T12:00:00"])
        + history("nightly report", ["2025-06-12T12:00:00"]),
        home / ".opendxa/poet/nightly report_params.json": '{"timeout": 3.0}',
        home / ".opendxa/poet/metrics/poe_metrics_2025-06-11.jsonl": metrics("nightly report", 1_749_600_000.0, 3)
        + '{"function_name": "send", "doma\n'
        + metrics("fetch", 1_749_600_000.0, 2)
        + metrics("nightly report", 1_749_800_000.0, 1, success=False, attempts=4, error_type="OSError"),
        home / ".opendxa/poet/metrics/current_metrics.json": "{}",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_what_the_original_left_is_taken_in_and_never_touched(
    project: Path, tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    leave(project, home)
    monkeypatch.setenv("TZ", "UTC")
    before = contents(home)
    own = {name: digest for name, digest in contents(project).items() if name.endswith(("json", "jsonl"))}
    code, out, err = ask("import --dry-run")
    assert (code, faults(err)) == (0, "")
    assert "would take parameters of 1 function and 5 executions" in out
    document = asked(ask, "import")
    taken = {Path(part["file"]).parent.name: part for part in document["functions"] if part["taken"]}
    assert list(taken) == [".poet"]
    assert taken[".poet"]["diff"] == {"timeout": [30.0, 12.5], "retries": [3, 8]}  # the shop declares no bounds
    why = {part["why"] for part in document["functions"] if not part["taken"]}
    assert why == {
        "it may be about any of shop.prices.fetch, shop.stock.fetch: which one is not guessed",
        "no function that was called so far has this name and domain",
        "it does not learn here, so its declared values hold; --force takes these all the same",
        "another file was taken for this function: the project's goes first",
    }
    calls, past = document["executions"]
    assert calls["taken"] == [{"name": "nightly report", "id": str(shop.NIGHTLY), "executions": 4, "new": 4}]
    assert (calls["bad"], calls["bad_lines"][0]["number"]) == (1, 4)
    assert past["left"] == [{"executions": 1, "why": "the metrics tell of these calls already"}]
    assert past["taken"][0]["new"] == 1
    store = opened(project)
    assert [len(e.attempts) for e in store.executions(shop.NIGHTLY)] == [0, 1, 1, 1, 0]
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()
    assert contents(home) == before
    assert {name: digest for name, digest in contents(project).items() if name.endswith(("json", "jsonl"))} == own


def test_a_second_import_doubles_nothing(project: Path, tmp_path: Path, ask: Ask) -> None:
    leave(project, tmp_path / "home")
    asked(ask, "import")
    store = opened(project)
    before = hostile.listing(store)
    store.close()
    document = asked(ask, "import")
    assert not any(part["taken"] for part in document["functions"])
    assert [part["new"] for told in document["executions"] for part in told["taken"]] == [0, 0]
    store = opened(project)
    assert hostile.listing(store) == before
    store.close()


def test_where_there_is_nothing_it_says_so_and_makes_no_store(elsewhere: Path, ask: Ask, monkeypatch: Any) -> None:
    monkeypatch.chdir(elsewhere)
    code, out, _ = ask("import")
    assert code == 0
    assert out.startswith("nothing to import in")
    assert not (elsewhere / ".poet").exists()


def test_an_unreadable_file_is_named_and_the_others_are_taken(project: Path, tmp_path: Path, ask: Ask) -> None:
    leave(project, tmp_path / "home")
    path = project / ".poet" / "nightly report_params.json"
    path.write_bytes(b"")
    document = asked(ask, "import")
    left = {part["file"]: part["why"] for part in document["functions"] if not part["taken"]}
    assert left[str(path)] == "it is empty: the original was writing it, or ended while it did"
    assert [part["diff"] for part in document["functions"] if part["taken"]] == [{"timeout": [30.0, 3.0]}]


def test_the_pages_of_an_import_fit_eighty_columns(project: Path, tmp_path: Path, ask: Ask) -> None:
    leave(project, tmp_path / "home")
    _, out, err = ask("import .poet")
    assert err == ""
    assert max(map(len, out.splitlines())) <= 80
    assert STOCK.name in " ".join(out.split())


def test_a_store_that_is_no_store_is_named(project: Path, ask: Ask) -> None:
    (project / "all.json").write_text(parcels.whole(), encoding="utf-8")
    (project / "odd.db").write_bytes(b"no database at all, and longer than a header " * 50)
    code, _, err = ask("import all.json --store sqlite:///odd.db")
    assert code == 2
    assert "odd.db" in err
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.connect(project / "odd.db").execute("SELECT 1 FROM function")
