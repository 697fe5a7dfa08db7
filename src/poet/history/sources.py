"""Where a history comes from, cut into parts that know nothing of each other.

A part is a description, small enough to be sent to another machine, which reads its calls there. Functions are dealt
out to parts by a hash of their names: no function is in two of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from poet.errors import ConfigurationError, PoetError
from poet.learning.batch.attempts import Attempts
from poet.learning.batch.calls import SILENT, TWICE, Coded, Entries, Loose, Read, of_executions, read, unwritten
from poet.model.execution import Outcome
from poet.seams import FunctionRecord, Store
from poet.settings import Settings

MEMORY = "1GB"  # what DuckDB may take for one part; beyond that it goes to disk
ROWS = 1_000_000  # of one function that are looked at: the newest
BATCH = 100_000  # rows that are read at a time


class Unreadable(PoetError):
    """A history cannot be read. Look at the path, and at what wrote it."""


class Part(Protocol):
    """Some functions of a history."""

    def functions(self) -> Iterator[tuple[str, Read, FunctionRecord | None]]:
        """Each function's full name, its calls, and what a store says of it; by name."""


def part_of(function: str, parts: int) -> int:
    """Which of so many parts a function belongs to.

    >>> part_of("shop.price", 1)
    0
    """
    return zlib.crc32(function.encode("utf-8", "surrogatepass")) % parts


@dataclass(frozen=True, slots=True)
class StorePart:
    """Functions of a store that can be opened by its address.

    number, parts: which of how many. only: full names with fingerprints; empty: all. since: Unix time [s].
    """

    settings: Settings
    number: int = 0
    parts: int = 1
    only: tuple[str, ...] = ()
    since: float = 0.0

    def functions(self) -> Iterator[tuple[str, Read, FunctionRecord | None]]:
        """See ``Part``."""
        from poet.app import open_store  # here, as another process may come from nowhere

        store = open_store(self.settings, readonly=True)
        try:
            yield from of_store(store, self.only, self.since, self.number, self.parts)
        finally:
            store.close()


def of_store(
    store: Store, only: tuple[str, ...] = (), since: float = 0.0, number: int = 0, parts: int = 1
) -> Iterator[tuple[str, Read, FunctionRecord | None]]:
    """Functions of an open store, see ``StorePart``."""
    for record in store.functions():
        named = str(record.key)
        if (only and named not in only) or part_of(named, parts) != number:
            continue
        versions = {each.version: dict(each) for each in store.versions(record.key)}
        found = of_executions(store.executions(record.key, since=since, limit=ROWS), versions)
        yield named, found, record


@dataclass(frozen=True, slots=True)
class TablePart:
    """Functions of exported tables of Parquet.

    paths: files, folders or patterns such as ``history/**/*.parquet``; a scheme (``s3://…``) is opened by fsspec.
    """

    paths: tuple[str, ...]
    number: int = 0
    parts: int = 1
    only: tuple[str, ...] = ()
    since: float = 0.0

    def functions(self) -> Iterator[tuple[str, Read, FunctionRecord | None]]:
        """See ``Part``. Raises Unreadable, ImportError without DuckDB or pyarrow."""
        connection = connect(self.paths)
        try:
            names = self._names(connection)
            if names:
                anything = ask(connection, _ANYTHING, {"paths": patterns(self.paths)})
                answer = ask(
                    connection,
                    _CALLS.format(propensity="propensity" if "propensity" in anything.columns else "null"),
                    {"paths": patterns(self.paths), "names": names, "since": int(self.since * 1e6)},
                )
                yield from ((named, _of_table(table), None) for named, table in _by_name(answer))
        finally:
            connection.close()

    def _names(self, connection: Any) -> list[str]:
        rows = ask(connection, _NAMES, {"paths": patterns(self.paths)}).fetchall()
        found = sorted(name for (name,) in rows if name is not None)
        wanted = self.only and {name for name in found if name in self.only or name.rpartition("#")[0] in self.only}
        return [name for name in found if part_of(name, self.parts) == self.number and (not wanted or name in wanted)]


_NAMES = "select distinct function || '#' || fingerprint from read_parquet($paths, union_by_name = true)"
_ANYTHING = "select * from read_parquet($paths, union_by_name = true) limit 0"
_CALLS = """
    select function || '#' || fingerprint as named, id, epoch_us(started) as started, seconds, outcome, requests,
        version, score, draw, error, attempts, parameters, context, {propensity} as propensity
    from read_parquet($paths, union_by_name = true)
    where function || '#' || fingerprint in (select unnest($names)) and (started is null or epoch_us(started) >= $since)
    order by named, started, id
"""


def _by_name(answer: Any) -> Iterator[tuple[str, Any]]:
    """The rows of each function as a table, of an answer in the order of their names; of a function the newest ROWS."""
    pa = _loaded("pyarrow")
    name: str | None = None
    held: list[Any] = []
    for batch in answer.to_arrow_reader(BATCH):
        table = pa.Table.from_batches([batch])
        codes = table["named"].combine_chunks().dictionary_encode()
        places = codes.indices.to_numpy(zero_copy_only=False)
        cuts = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(places)]
        for start, end in pairwise(cuts):
            mine = codes.dictionary[int(places[start])].as_py()
            if mine != name:
                if name is not None:
                    yield name, pa.concat_tables(held)
                name, held = mine, []
            held.append(table.slice(start, end - start))
            while sum(each.num_rows for each in held[1:]) >= ROWS:
                del held[0]
    if name is not None:
        yield name, pa.concat_tables(held)


def _of_table(table: Any) -> Read:
    """The calls of one function from columns as ``exchange.table`` writes them."""
    left: dict[str, int] = {}
    ids = _codes(table["id"])[0]
    again = np.zeros(len(ids), np.bool_)
    again[1:] = (ids[1:] == ids[:-1]) & (ids[1:] >= 0)  # without an id there is no telling
    outcome, outcomes = _codes(table["outcome"])
    silent = np.zeros(len(ids), np.bool_)
    for kind, reason in SILENT.items():
        word = kind.name.lower()
        mine = outcome == outcomes.index(word) if word in outcomes else np.zeros(len(ids), np.bool_)
        left[reason] = int((mine & ~again).sum())
        silent |= mine
    left[TWICE] = int(again.sum())
    table = table.filter(_loaded("pyarrow").array(~(again | silent)))
    outcome, outcomes = _codes(table["outcome"])
    words = np.array([*outcomes, ""], object)[outcome]
    good = (words == "success") | (words == "late")
    error, errors = _codes(table["error"])
    rows = table.num_rows
    return read(
        Loose(
            _numbers(table["started"]) / 1e6,
            _numbers(table["seconds"]),
            good,
            words == "timeout",
            _numbers(table["requests"]),
            np.nan_to_num(_numbers(table["version"]), nan=-1.0).astype(np.int64),
            _numbers(table["score"]),
            np.nan_to_num(_numbers(table["draw"])) != 0,
            np.full(rows, np.nan),
            np.nan_to_num(_numbers(table["propensity"]), nan=1.0),  # an older release wrote none
            _ordered(np.where(good, -1, error), errors),
            _entries(table["parameters"], rows),
            _entries(table["context"], rows),
            _attempts(table["attempts"], outcome, outcomes),
        ),
        left,
    )


def _attempts(column: Any, ended: Any, words: list[Any]) -> Attempts:
    """What became of each attempt, of a column of lists. ended: of each call, its code in ``words``."""
    pa = _loaded("pyarrow")
    array = column.combine_chunks()
    number = np.diff(array.offsets.to_numpy()).astype(np.int64)
    made = array.flatten()
    outcome, outcomes = _codes(pa.chunked_array([made.field("outcome")]))
    told, waited = (_numbers(pa.chunked_array([made.field(name)])) for name in ("seconds", "waited"))
    hedge = made.field("hedge").fill_null(False).to_numpy(zero_copy_only=False).astype(np.int64)
    place = np.cumsum(number) - number
    return Attempts(place, number, _outcomes(ended, words), _outcomes(outcome, outcomes), told, waited, hedge)


def _outcomes(codes: Any, words: list[Any]) -> Any:
    """Codes of words as the numbers of outcomes; a word that nobody knows is an error."""
    known = {kind.name.lower(): int(kind) for kind in Outcome}
    numbers = np.array([*(known.get(word, int(Outcome.ERROR)) for word in words), int(Outcome.ERROR)], np.int64)
    return numbers[codes]


def _numbers(column: Any) -> Any:
    """A column as float64, NaN where it is null."""
    pa = _loaded("pyarrow")
    return column.cast(pa.float64(), safe=False).to_numpy()


def _codes(column: Any) -> tuple[Any, list[Any]]:
    """Codes, -1 where it is null, and what they stand for."""
    coded_ = column.combine_chunks().dictionary_encode()
    indices = coded_.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return indices, coded_.dictionary.to_pylist()


def _ordered(codes: Any, names: list[str]) -> Coded:
    """Categories by name, those that no call has left out."""
    used = [code for code in sorted(set(codes.tolist()) - {-1}, key=lambda code: names[code]) if names[code]]
    place = np.full(len(names) + 1, -1, np.int64)
    place[used] = np.arange(len(used))
    return Coded(place[codes], tuple(names[code] for code in used))


def _entries(column: Any, rows: int) -> Entries:
    """The entries of a column of maps, whose values are JSON."""
    pa = _loaded("pyarrow")
    array = column.combine_chunks()
    offsets = np.diff(array.offsets.to_numpy())
    name, names = _codes(pa.chunked_array([array.keys]))
    value, values = _codes(pa.chunked_array([array.items]))
    start = int(array.offsets[0].as_py()) if len(array.offsets) else 0
    end = start + int(offsets.sum())
    return Entries(
        np.repeat(np.arange(rows), offsets), name[start:end], names, value[start:end], [unwritten(x) for x in values]
    )


# --- DuckDB ----------------------------------------------------------------------------------------------------------


def patterns(paths: tuple[str, ...]) -> list[str]:
    """Paths as DuckDB reads them: a folder is all of the Parquet in it."""
    return [path if path.endswith(".parquet") or "*" in path else f"{path.rstrip('/')}/**/*.parquet" for path in paths]


def connect(paths: tuple[str, ...]) -> Any:
    """A DuckDB of our own, which can read all of ``paths``. Raises ImportError, ConfigurationError."""
    duckdb = _loaded("duckdb")
    connection = duckdb.connect()
    connection.execute(f"set memory_limit = '{MEMORY}'; set threads = 1; set enable_progress_bar = false")
    for scheme in sorted({path.partition("://")[0] for path in paths if "://" in path}):
        try:
            connection.register_filesystem(_loaded("fsspec").filesystem(scheme))
        except (ValueError, ImportError) as error:
            raise ConfigurationError(f"fsspec cannot open {scheme}:// ({error})") from error
    return connection


def ask(connection: Any, question: str, values: dict[str, Any]) -> Any:
    """The answer to SQL. Raises Unreadable."""
    duckdb = _loaded("duckdb")
    try:
        return connection.sql(question, params=values)
    except duckdb.Error as error:
        raise Unreadable(f"the tables cannot be read: {str(error).splitlines()[0]}") from error


def _loaded(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"analysis of tables needs {module}: pip install 'poet-runtime[batch]'") from error
