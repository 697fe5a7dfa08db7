"""Executions as a table for anyone's tools: one row each, the same columns in every format, never all in memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from poet.exchange.files import replacing
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.phases import at, timed
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Store

Format = Literal["parquet", "arrow", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)
NEED_ARROW: tuple[Format, ...] = ("parquet", "arrow")

BATCH = 8192  # rows in memory at a time, and of a row group
MAPPINGS = ("parameters", "context", "values", "goals")  # columns
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999 [us]


class Row(NamedTuple):
    """One execution; the field's order is the columns'."""

    function: str  # full name
    fingerprint: str  # of its signature
    writer: str  # the process that made it
    sequence: int  # its number within function and writer
    id: str  # names it among all of its function
    started: int | None  # Unix time [us]; None: outside of the years 1 to 9999
    seconds: float  # from the call's start to its end, pauses included [s]
    outcome: str
    version: int  # of the parameters that it used; 0: not known
    requests: int | None  # attempts that were made, hedges included; None: not known
    error: str | None  # the type's name where it failed
    draw: int  # which of the policy's tries it was; 0: none
    score: float | None  # 0 worst .. 1 best; None: nobody has said
    attempts: tuple[Attempt, ...]  # empty: not known
    parameters: Mapping[str, Value] | None  # that it used; None: not known
    context: Mapping[str, Value]  # features of the input
    values: Mapping[str, Value]  # of its parameters those that are not its version's: tried, or the caller's own
    goals: Mapping[str, float]  # what it was scored by, where there are several
    propensity: float  # probability with which a coin gave it its version; 1: there was none


def rows(store: Store, records: Iterable[FunctionRecord], *, since: float = 0.0) -> Iterator[Row]:
    """The executions of these functions that started since [Unix s], one function after the other, oldest first."""
    for record in records:
        known = {version.version: dict(version) for version in store.versions(record.key)}
        for execution in store.executions(record.key, since=since):
            yield row_of(record, execution, known.get(execution.version))


def row_of(record: FunctionRecord, execution: Execution, parameters: Mapping[str, Value] | None) -> Row:
    """One execution as a row. parameters: of its version; what is for some hours only is told by its start."""
    values = dict(execution.values)
    if parameters is not None and any(map(timed, parameters)):
        parameters = at(parameters, execution.started)
    if parameters is not None and values:
        parameters = {**parameters, **values}
    made = sum(attempt.outcome is not Outcome.SHED for attempt in execution.attempts)
    started = execution.started * 1e6
    return Row(
        record.key.name,
        record.key.fingerprint,
        execution.writer,
        execution.sequence,
        execution.id,
        round(started) if _FIRST <= started <= _LAST else None,
        execution.seconds,
        execution.outcome.name.lower(),
        execution.version,
        made if execution.attempts else None,
        execution.error or None,
        execution.draw,
        execution.score,
        execution.attempts,
        parameters,
        dict(execution.context),
        values,
        dict(execution.goals),
        execution.propensity,
    )


def write(found: Iterable[Row], path: Path, format_: Format) -> int:
    """Write all rows to ``path``, which appears when it is complete; gives their number.

    Raises Unwritable, ImportError where ``format_`` needs pyarrow and it is not installed, and what ``found`` raises.
    """
    written = 0
    waiting = iter(found)
    with replacing(path) as partial, _WRITERS[format_](partial) as put:
        while batch := list(islice(waiting, BATCH)):
            put(batch)
            written += len(batch)
    return written


Put = Callable[[Sequence[Row]], None]


# --- text ------------------------------------------------------------------------------------------------------------


def as_json(row: Row) -> dict[str, Any]:
    """A row as JSON can say it: the moment as text, attempts as a list of mappings."""
    moment = None if row.started is None else (_EPOCH + timedelta(microseconds=row.started)).isoformat()
    return {
        **row._asdict(),
        "started": moment and moment.replace("+00:00", "Z"),
        "attempts": [_attempt(attempt) for attempt in row.attempts],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {**attempt._asdict(), "outcome": attempt.outcome.name.lower()}


@contextmanager
def _jsonl(path: Path) -> Iterator[Put]:
    with path.open("w", encoding="ascii", newline="\n") as file:

        def put(batch: Sequence[Row]) -> None:
            file.writelines(f"{json.dumps(as_json(row), allow_nan=False)}\n" for row in batch)

        yield put


@contextmanager
def _csv(path: Path) -> Iterator[Put]:
    with path.open("w", encoding="utf-8", newline="", errors="replace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)

        def put(batch: Sequence[Row]) -> None:
            for row in batch:
                cells = as_json(row)
                for name in ("attempts", *MAPPINGS):
                    cells[name] = None if cells[name] is None else json.dumps(cells[name], allow_nan=False)
                writer.writerow(cells.values())

        yield put


# --- columns ---------------------------------------------------------------------------------------------------------


def _loaded(module: str) -> Any:
    """A module of pyarrow, which not everybody has, and which has no types. Raises ImportError."""
    return import_module(module)


def schema() -> Any:
    """The Arrow schema of both binary formats. Raises ImportError without pyarrow."""
    pa = _loaded("pyarrow")

    attempt = pa.struct(
        [("outcome", pa.string()), ("seconds", pa.float64()), ("waited", pa.float64()), ("hedge", pa.bool_())]
    )
    named = pa.map_(pa.string(), pa.string())
    kinds = {
        "function": pa.string(),
        "fingerprint": pa.string(),
        "writer": pa.string(),
        "sequence": pa.int64(),
        "id": pa.string(),
        "started": pa.timestamp("us", tz="UTC"),
        "seconds": pa.float64(),
        "outcome": pa.string(),
        "version": pa.int64(),
        "requests": pa.int32(),
        "error": pa.string(),
        "draw": pa.int64(),
        "score": pa.float64(),
        "attempts": pa.list_(attempt),
        "parameters": named,
        "context": named,
        "values": named,
        "goals": pa.map_(pa.string(), pa.float64()),
        "propensity": pa.float64(),
    }
    return pa.schema([pa.field(name, kinds[name]) for name in Row._fields])


def _columns(batch: Sequence[Row], form: Any) -> Any:
    pa = _loaded("pyarrow")

    columns: dict[str, list[Any]] = dict(zip(Row._fields, map(list, zip(*batch, strict=True)), strict=True))
    for name in ("function", "writer", "id", "error"):
        columns[name] = [text and _utf8(text) for text in columns[name]]
    columns["attempts"] = [[_attempt(attempt) for attempt in attempts] for attempts in columns["attempts"]]
    columns["goals"] = [[(_utf8(name), value) for name, value in found.items()] for found in columns["goals"]]
    for name in MAPPINGS[:-1]:
        columns[name] = [
            None if found is None else [_entry(*pair) for pair in found.items()] for found in columns[name]
        ]
    return pa.record_batch([pa.array(columns[field.name], field.type) for field in form], schema=form)


def _entry(name: str, value: Value) -> tuple[str, str]:
    """A pair of a map, whose values must be of one kind: each is JSON, so that its own kind is not lost."""
    said = json.dumps(value, ensure_ascii=False)
    return _utf8(name), said if _utf8(said) == said else json.dumps(value)


def _utf8(text: str) -> str:
    """``text`` with a question mark for each half character, which UTF-8 cannot say."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@contextmanager
def _parquet(path: Path) -> Iterator[Put]:
    pq = _loaded("pyarrow.parquet")

    form = schema()
    with pq.ParquetWriter(path, form, compression="zstd") as writer:
        yield lambda batch: writer.write_batch(_columns(batch, form))


@contextmanager
def _arrow(path: Path) -> Iterator[Put]:
    pa = _loaded("pyarrow")

    form = schema()
    with path.open("wb") as file, pa.ipc.new_file(file, form) as writer:
        yield lambda batch: writer.write_batch(_columns(batch, form))


_WRITERS: dict[Format, Callable[[Path], AbstractContextManager[Put]]] = {
    "parquet": _parquet,
    "arrow": _arrow,
    "jsonl": _jsonl,
    "csv": _csv,
}
