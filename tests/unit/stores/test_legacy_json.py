"""Files as the original wrote them, whole, torn and foreign."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.execution import Attempt, Outcome
from poet.model.function import FunctionKey
from poet.model.tunable import Value
from poet.seams import FunctionRecord
from poet.stores import chunk
from poet.stores.fitting import fit
from poet.stores.legacy_json import (
    LONGEST_LINE,
    BadLine,
    Told,
    draft_of,
    find_files,
    legacy_parameters,
    match_file,
    match_told,
    read_executions,
)

DECLARED: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
SPACE = {"timeout": (0.001, 120.0), "retries": (0, 5), "backoff": (0.0, 60.0)}
LINE = {
    "function_name": "ask",
    "domain": None,
    "timestamp": 1_750_000_000.57,
    "success": True,
    "total_time": 0.5,
    "attempts": 1,
    "perceive_time": 1.7e-05,
    "operate_time": 0.25,
    "enforce_time": 0.0044,
    "train_time": 0.0005,
    "error_type": None,
    "error_message": None,
    "error_stage": None,
    "retries_configured": 3,
    "timeout_configured": 30.0,
    "training_enabled": True,
}


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def found(tmp_path: Path, text: str | bytes, **known: Any) -> tuple[dict[str, Value], tuple[str, ...]]:
    write(tmp_path, ".poet/ask_params.json", text)
    parameters = legacy_parameters("ask", None, tmp_path, tmp_path / "home", **known)
    assert parameters is not None
    return dict(parameters.values), parameters.notes


def lines(tmp_path: Path, text: str | bytes, name: str = "poe_metrics_2025-06-15.jsonl") -> list[Told | BadLine]:
    return list(read_executions(write(tmp_path, name, text)))


def line(**changes: Any) -> str:
    return json.dumps({**LINE, **changes}) + "\n"


def record(name: str, domain: str | None = None, last_call: float = 0.0, fingerprint: str = "0" * 8) -> FunctionRecord:
    module, _, qualname = name.partition(":")
    return FunctionRecord(
        FunctionKey(module, qualname, fingerprint), domain, "adaptive", DECLARED, {}, 0, 0, 0.0, last_call
    )


# --- parameters ------------------------------------------------------------------------------------------------------


def test_flat_parameters_of_the_project_are_read(tmp_path: Path) -> None:
    assert found(tmp_path, '{\n  "retries": 3,\n  "timeout": 27.0\n}') == ({"retries": 3, "timeout": 27.0}, ())


def test_the_envelope_of_the_documents_is_read(tmp_path: Path) -> None:
    parameters = {"retries": 2, "timeout": 12.5}
    text = json.dumps(
        {"function_id": "ask", "domain": None, "parameters": parameters, "timestamp": 1, "version": "1.0"}
    )
    assert found(tmp_path, text) == (parameters, ())


def test_the_projects_file_goes_before_the_users(tmp_path: Path) -> None:
    home = tmp_path / "home"
    users = write(home, ".opendxa/poet/ask_params.json", '{"timeout": 5.0}')
    parameters = legacy_parameters("ask", None, tmp_path, home)
    assert parameters is not None
    assert (parameters.values, parameters.file) == ({"timeout": 5.0}, users)
    own = write(tmp_path, ".poet/ask_params.json", '{"timeout": 7.0}')
    parameters = legacy_parameters("ask", None, tmp_path, home)
    assert parameters is not None
    assert (parameters.values, parameters.file) == ({"timeout": 7.0}, own)


def test_the_domain_is_part_of_the_name(tmp_path: Path) -> None:
    write(tmp_path, ".poet/ask_llm_optimization_params.json", '{"timeout": 7.0}')
    assert legacy_parameters("ask", None, tmp_path, tmp_path) is None
    assert legacy_parameters("Shop.ask", "llm_optimization", tmp_path, tmp_path) is not None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (b"\0\0\0\0", "empty"),
        ('{"retries": 3, "time', "torn"),
        ("[1, 2]", "mapping"),
        (b'{"timeout": "\xff"}', "UTF-8"),
        ("[" * 60_000, "deep"),
        ("{}", "no parameters"),
        (" " * (1 << 17), "bytes"),
        ('{"retries": "x", "timeout": NaN}', "retries is left out"),
        ("9" * 5_000, "torn"),
    ],
)
def test_a_file_that_is_no_good_is_named_and_gives_nothing(tmp_path: Path, text: str | bytes, why: str) -> None:
    values, notes = found(tmp_path, text)
    assert values == {}
    assert why in "; ".join(notes)


def test_values_are_brought_within_the_bounds_and_each_change_is_said(tmp_path: Path) -> None:
    text = '{"retries": 8, "timeout": 300.0, "backoff": 1, "energy_setback_degrees": 3.0}'
    values, notes = found(tmp_path, text, declared=DECLARED, space=SPACE)
    assert values == {"retries": 5, "timeout": 120.0, "backoff": 1.0}
    assert notes[0] == "retries 8 is outside of [0, 5]: 5 is taken"
    assert len(notes) == 3


def test_a_folder_in_the_files_place_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / ".poet" / "ask_params.json").mkdir(parents=True)
    parameters = legacy_parameters("ask", None, tmp_path, tmp_path)
    assert parameters is not None
    assert not parameters.values
    assert "cannot be read" in parameters.notes[0]


@pytest.mark.parametrize("name", ["", "../ask", "a\0b", "nightly report", "<lambda>", "x" * 5000])
def test_a_name_that_can_be_no_file_raises_nothing(tmp_path: Path, name: str) -> None:
    parameters = legacy_parameters(name, None, tmp_path, tmp_path)
    assert parameters is None or not parameters.values


def test_looking_where_there_is_nothing_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    def once() -> float:
        began = time.perf_counter()
        assert legacy_parameters("ask", None, tmp_path, tmp_path) is None
        return time.perf_counter() - began

    assert min(once() for _ in range(20)) < 0.001


def test_looking_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from poet.stores.legacy_json import legacy_parameters as look;"
        "assert look('ask', None, Path('.'), Path('.')) is None;"
        "print([m for m in ('numpy', 'json', 'sqlite3', 'hashlib', 'datetime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_was_learned_becomes_a_version_only_where_it_differs(tmp_path: Path) -> None:
    write(tmp_path, ".poet/ask_params.json", '{"retries": 3, "timeout": 27.0}')
    parameters = legacy_parameters("ask", None, tmp_path, tmp_path)
    assert parameters is not None
    draft = draft_of(parameters, DECLARED)
    assert draft is not None
    assert (dict(draft), draft.origin, draft.evidence) == ({**DECLARED, "timeout": 27.0}, "import", 0)
    assert "ask_params.json" in draft.reason
    assert draft_of(parameters, draft) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["timeout", "retries", "backoff", "x"]), JSON))
def test_whatever_comes_fits_or_is_left_out(foreign: dict[str, Any]) -> None:
    fitted = fit(foreign, DECLARED, SPACE)
    for name, value in fitted.values.items():
        assert type(value) is type(DECLARED[name])
        low, high = SPACE[name]
        assert low <= float(value) <= high
    exact = [name for name, value in fitted.values.items() if value == foreign[name]]
    assert len(exact) + len(fitted.notes) == len(foreign)
    assert fit(fitted.values, DECLARED, SPACE) == (fitted.values, ())


# --- executions ------------------------------------------------------------------------------------------------------


def test_a_success_at_the_first_attempt_says_how_long_the_attempt_took(tmp_path: Path) -> None:
    [told] = lines(tmp_path, line())
    assert isinstance(told, Told)
    assert (told.function, told.domain, told.domain_known) == ("ask", None, True)
    execution = told.execution
    assert (execution.started, execution.seconds, execution.sequence) == (1_750_000_000.57, 0.5, 0)
    assert execution.attempts == (Attempt(Outcome.SUCCESS, 0.25),)
    assert (execution.version, execution.score, execution.error) == (0, None, "")


def test_of_all_other_calls_the_attempts_are_unknown_not_made_up(tmp_path: Path) -> None:
    text = line(attempts=3) + line(success=False, attempts=3, error_type="TimeoutError") + line(attempts=None)
    retried, failed, unsaid = (told.execution for told in lines(tmp_path, text) if isinstance(told, Told))
    assert (retried.outcome, retried.attempts, retried.context) == (Outcome.SUCCESS, (), (("attempts", 3),))
    assert (failed.outcome, failed.attempts, failed.context) == (Outcome.ERROR, (), ())
    assert (failed.error, failed.seconds) == ("TimeoutError", 0.5)
    assert unsaid.attempts == ()


def test_the_history_is_read_with_its_local_times(tmp_path: Path) -> None:
    row = {
        "timestamp": "2026-11-22T12:28:15.630884",
        "function_name": "f",
        "parameter_values": {"timeout": 30.0, "retries": 3},
        "performance_score": 0.8,
        "execution_time": 1.0,
        "success": True,
        "error_type": None,
        "context_signature": "",
    }
    [told] = lines(tmp_path, json.dumps(row), "performance_history.jsonl")
    assert isinstance(told, Told)
    assert told.execution.started == datetime(2026, 11, 22, 12, 28, 15, 630884).timestamp()
    assert not told.domain_known
    assert (told.execution.attempts, told.execution.score) == ((), None)


def test_every_good_line_is_used_and_every_other_is_named(tmp_path: Path) -> None:
    good = line()
    text = (
        b"\xef\xbb\xbf"
        + good.encode()  # 1, behind a byte order mark
        + b'{"function_name": "ask", "dom\n'  # 2, torn
        + b"\n"  # 3, empty
        + b"\xff\xfe\n"  # 4
        + line(success="yes").encode()  # 5
        + line(total_time=float("nan")).encode()  # 6
        + line(total_time=None, attempts=2).encode()  # 7
        + line(timestamp="yesterday").encode()  # 8
        + line(function_name="").encode()  # 9
        + line(attempts=0).encode()  # 10
        + b'{"function_name": "ask", "domain"'
        + good.encode()  # 11: torn, and the next on the same line
        + b"x" * (LONGEST_LINE + 5)
        + b"\n"  # 12
        + b"[" * 5000
        + b"\n"  # 13
        + good.encode()  # 14
        + good[:40].encode()  # 15, torn at the end
    )
    told = lines(tmp_path, text)
    assert [t.execution.sequence + 1 for t in told if isinstance(t, Told)] == [1, 11, 14]
    assert [t.number for t in told if isinstance(t, BadLine)] == [2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15]
    assert all(t.why for t in told if isinstance(t, BadLine))


def test_a_file_that_has_grown_or_was_moved_names_its_executions_as_before(tmp_path: Path) -> None:
    before = lines(tmp_path, line())
    after = lines(tmp_path / "elsewhere", line() + line(total_time=1.0))
    other = lines(tmp_path / "other", line(timestamp=1_750_000_001.0))
    assert before == after[:1]
    ids = {told.execution.id for told in (*after, *other) if isinstance(told, Told)}
    assert len(ids) == 3


@given(st.lists(st.dictionaries(st.sampled_from(sorted(LINE)), JSON, max_size=3), max_size=5), st.binary(max_size=50))
def test_whatever_the_lines_say_a_store_can_keep_what_is_used(
    tmp_path_factory: pytest.TempPathFactory, changes: list[dict[str, Any]], rest: bytes
) -> None:
    text = "".join(line(**change) for change in changes).encode("utf-8", "surrogatepass") + rest
    executions = [t.execution for t in lines(tmp_path_factory.mktemp("m"), text) if isinstance(t, Told)]
    if executions:
        kept = chunk.decode(chunk.encode(executions), executions[0].writer)
        assert [e.id for e in kept] == [e.id for e in executions]


# --- which files, which function -------------------------------------------------------------------------------------


def test_a_folder_is_searched_for_the_originals_files_and_no_others(tmp_path: Path) -> None:
    for name in (
        ".poet/ask_params.json",
        ".poet/metrics/performance_history.jsonl",
        ".poet/metrics/current_metrics.json",
        ".poet/metrics/poe_metrics_2025-06-11.jsonl",
        ".poet/poet.db",
        ".poet/notes.json",
        "src/ask_params.json",
    ):
        write(tmp_path, name, "")
    names = [str(path.relative_to(tmp_path / ".poet")) for path in find_files(tmp_path)]
    assert names == [
        "ask_params.json",
        "metrics/current_metrics.json",
        "metrics/performance_history.jsonl",
        "metrics/poe_metrics_2025-06-11.jsonl",
    ]
    assert names == [str(path.relative_to(tmp_path / ".poet")) for path in find_files(tmp_path / ".poet")]


def test_a_file_is_matched_by_name_and_domain_and_never_guessed() -> None:
    one, two = record("shop:ask"), record("mall:Desk.ask")
    banked = record("bank:ask", "financial_services")
    path = Path("ask_params.json")
    assert match_file(path, [one, banked]).record == one
    assert match_file(Path("ask_financial_services_params.json"), [one, banked]).record == banked
    nobody = match_file(path, [one, two])
    assert nobody.record is None
    assert nobody.why_not == "it may be about any of mall.Desk.ask, shop.ask: which one is not guessed"
    assert match_file(path, [banked]).record is None


def test_of_several_signatures_of_one_function_the_one_in_use_is_meant() -> None:
    old, new = record("shop:ask", last_call=1.0), record("shop:ask", last_call=2.0, fingerprint="1" * 8)
    assert match_file(Path("ask_params.json"), [old, new]).record == new


def test_an_execution_is_matched_by_its_domain_where_its_line_tells_of_one(tmp_path: Path) -> None:
    plain, banked = record("shop:ask"), record("bank:ask", "financial_services")
    told = [t for t in lines(tmp_path, line() + line(domain="financial_services")) if isinstance(t, Told)]
    assert [match_told(t, [plain, banked]).record for t in told] == [plain, banked]
    assert "another now" in match_told(told[0], [banked]).why_not
    unsaid = told[0]._replace(domain_known=False)
    assert match_told(unsaid, [banked]).record == banked
    assert match_told(unsaid, [plain, banked]).record is None
