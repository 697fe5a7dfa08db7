"""Every execution comes back from every format as the store gives it."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poet.exchange import table
from poet.exchange.files import Unwritable
from poet.exchange.table import FORMATS, Format, Row
from poet.model.execution import Attempt, Execution, Outcome
from poet.seams import Store
from poet.stores.memory import MemoryStore
from poet.stores.sqlite import SqliteStore
from unit.cli import shop
from unit.exchange import parcels
from unit.stores.strategies import CONTEXTS, GOALS

RECORD = parcels.record(parcels.ASK)
SPANS = st.floats(0, 1e6, width=32)
ATTEMPTS = st.builds(Attempt, st.sampled_from(Outcome), SPANS, SPANS, st.booleans())
EXECUTIONS = st.builds(
    Execution,
    st.sampled_from(["w1", "w2"]),
    st.integers(0, 2**62 - 1),
    st.integers(0, 4_000_000_000_000).map(lambda ms: ms / 1000),  # as stores keep it
    SPANS,
    st.sampled_from(Outcome),
    st.integers(0, 3),
    st.lists(ATTEMPTS, max_size=3).map(tuple),
    st.sampled_from(["", "OSError", "größer"]),
    CONTEXTS,
    st.integers(0, 2**62 - 1),
    st.none() | st.floats(0, 1, width=32),
    st.just(()) | CONTEXTS,
    st.just(()) | GOALS,
    st.just(1.0) | st.floats(0, 1, exclude_min=True),
)


def columns(path: Path, form: Format) -> list[dict[str, Any]]:
    """The rows of a file, read by others' tools."""
    if form == "parquet":
        return [_plain(row) for row in pq.read_table(path).to_pylist()]
    if form == "arrow":
        with pa.ipc.open_file(path) as reader:
            return [_plain(row) for row in reader.read_all().to_pylist()]
    if form == "jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    with path.open(encoding="utf-8", newline="") as file:
        return [_from_csv(row) for row in csv.DictReader(file)]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    for name in ("parameters", "context", "values"):
        row[name] = None if row[name] is None else {key: json.loads(value) for key, value in row[name]}
    return {**row, "goals": dict(row["goals"]), "started": row["started"].isoformat()}


def _from_csv(row: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = dict(row)
    for name in (
        "sequence",
        "seconds",
        "version",
        "requests",
        "draw",
        "score",
        "propensity",
        "attempts",
        *table.MAPPINGS,
    ):
        told[name] = json.loads(row[name]) if row[name] else None
    return {**told, "error": row["error"] or None}


def execution_of(row: Mapping[str, Any]) -> Execution:
    """The execution that a row tells of."""
    return Execution(
        row["writer"],
        row["sequence"],
        datetime.fromisoformat(row["started"]).timestamp(),
        row["seconds"],
        Outcome[row["outcome"].upper()],
        row["version"],
        tuple(Attempt(Outcome[a["outcome"].upper()], a["seconds"], a["waited"], a["hedge"]) for a in row["attempts"]),
        row["error"] or "",
        tuple(row["context"].items()),
        row["draw"],
        row["score"],
        tuple(row["values"].items()),
        tuple(row["goals"].items()),
        row["propensity"],
    )


def written(store: Store, path: Path, form: Format) -> list[dict[str, Any]]:
    n = table.write(table.rows(store, store.functions()), path, form)
    found = columns(path, form)
    assert len(found) == n
    return found


@pytest.mark.parametrize("form", FORMATS)
def test_a_real_stores_executions_come_back_exactly(tmp_path: Path, form: Format) -> None:
    clock = shop.clock()
    store = SqliteStore(tmp_path / "poet.db", clock=clock)
    shop.fill(store, clock)
    store.append(shop.PRICES, shop.fresh())
    found = written(store, tmp_path / f"calls.{form}", form)
    for record in store.functions():
        own = [row for row in found if row["function"] == record.key.name]
        assert [execution_of(row) for row in own] == list(store.executions(record.key))
        assert [row["id"] for row in own] == [execution.id for execution in store.executions(record.key)]
        versions = {version.version: dict(version) for version in store.versions(record.key)}
        assert all(row["parameters"] == versions[row["version"]] for row in own)
        assert all(row["fingerprint"] == record.key.fingerprint for row in own)
    assert sum(row["requests"] for row in found) == 120 + 2 + 0 + 1
    store.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(executions=st.lists(EXECUTIONS, max_size=4, unique_by=lambda e: (e.writer, e.sequence)))
@pytest.mark.parametrize("form", FORMATS)
def test_whatever_an_execution_holds_comes_back(tmp_path: Path, form: Format, executions: list[Execution]) -> None:
    store = MemoryStore()
    store.register(RECORD)
    store.append(parcels.ASK, executions)
    found = written(store, tmp_path / f"calls.{form}", form)
    kept = list(store.executions(parcels.ASK))
    assert list(map(repr, map(execution_of, found))) == list(map(repr, kept))  # repr: 1, 1.0 and True differ


def test_every_format_has_the_same_columns(tmp_path: Path) -> None:
    store = MemoryStore()
    store.register(RECORD)
    store.append(parcels.ASK, shop.executions(3))
    for form in FORMATS:
        [*rows] = written(store, tmp_path / f"calls.{form}", form)
        assert all(tuple(row) == Row._fields for row in rows)
    assert tuple(table.schema().names) == Row._fields


def test_what_is_not_known_is_null_and_not_zero() -> None:
    untold = Execution("ancestor", 0, 1e9, 0.5, Outcome.ERROR, 0, ())
    row = table.row_of(RECORD, untold, None)
    assert (row.requests, row.parameters, row.error, row.score) == (None, None, None, None)
    assert table.row_of(RECORD, untold._replace(started=1e300), None).started is None


def test_what_a_call_used_is_its_versions_values_and_what_it_used_otherwise() -> None:
    tried = shop.executions(1)[0]._replace(
        values=(("k", 3), ("model@region=eu,tier=1", "large")), goals=(("cost", 2.0),)
    )
    row = table.row_of(RECORD, tried, {"k": 1, "timeout": 2.0})
    assert row.parameters == {"k": 3, "timeout": 2.0, "model@region=eu,tier=1": "large"}
    assert (row.values, row.goals) == ({"k": 3, "model@region=eu,tier=1": "large"}, {"cost": 2.0})
    assert table.row_of(RECORD, tried, None).parameters is None


def test_half_characters_do_not_stop_an_export(tmp_path: Path) -> None:
    store = MemoryStore()
    store.register(RECORD)
    store.append(parcels.ASK, [shop.executions(1)[0]._replace(error="\ud800", context=(("size", "\ud800"),))])
    for form in FORMATS:
        [row] = written(store, tmp_path / f"calls.{form}", form)
        assert row["context"] == {"size": "\ud800"}


def test_an_empty_table_is_a_table_all_the_same(tmp_path: Path) -> None:
    store = MemoryStore()
    store.register(RECORD)
    for form in FORMATS:
        assert written(store, tmp_path / f"calls.{form}", form) == []


def test_since_leaves_out_what_started_before(tmp_path: Path) -> None:
    store = MemoryStore()
    store.register(RECORD)
    store.append(parcels.ASK, shop.executions(10))
    rows = list(table.rows(store, [RECORD], since=shop.OPENING + 85.0))
    assert [row.sequence for row in rows] == [9]


@pytest.mark.parametrize("form", FORMATS)
def test_an_export_that_fails_leaves_what_was_there(tmp_path: Path, form: Format) -> None:
    def torn() -> Iterator[Row]:
        for execution in shop.executions(table.BATCH + 10):
            yield table.row_of(RECORD, execution, None)
        raise OSError(28, "No space left on device")

    path = tmp_path / f"calls.{form}"
    path.write_text("before", encoding="utf-8")
    with pytest.raises(Unwritable, match="no space left on device"):
        table.write(torn(), path, form)
    assert path.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["", "missing/calls.csv"])
def test_a_path_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unwritable, match="cannot be written"):
        table.write([], tmp_path / name, "csv")


def test_memory_holds_a_batch_and_not_the_table(tmp_path: Path) -> None:
    row = table.row_of(RECORD, shop.executions(1)[0], None)

    def peak(batches: int) -> int:
        rows = (row._replace(sequence=number) for number in range(batches * table.BATCH))
        tracemalloc.start()
        try:
            table.write(rows, tmp_path / "calls.jsonl", "jsonl")
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(8) < 1.2 * peak(2)  # one that is written, one that is gathered
