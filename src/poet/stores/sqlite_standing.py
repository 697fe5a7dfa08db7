"""SQL on functions, versions, names and changes, in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

from poet.errors import StaleParameters, UnknownFunction, UnknownVersion
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import FunctionRecord
from poet.stores import rules
from poet.stores import sqlite_documents as documents
from poet.stores.rows import (
    RECORD_COLUMNS,
    VERSION_COLUMNS,
    Damage,
    Kept,
    change_fields,
    dumped,
    loaded,
    told,
    version_fields,
    version_of,
)

NO_PINS: Mapping[str, Value] = MappingProxyType({})
_SELECT_VERSION = f"SELECT {VERSION_COLUMNS} FROM version"  # noqa: S608 - no word of a user's
_INSERT_VERSION = f"INSERT INTO version (function, {VERSION_COLUMNS}) VALUES (?{', ?' * 11})"  # noqa: S608


def number_of(file: sqlite3.Connection, function: FunctionKey) -> int | None:
    """The function's number in this file; None where it is not known."""
    row = file.execute(
        "SELECT id FROM function WHERE module = ? AND qualname = ? AND fingerprint = ?", function
    ).fetchone()
    return None if row is None else int(row[0])


def known(file: sqlite3.Connection, function: FunctionKey) -> int:
    """The function's number in this file. Raises UnknownFunction."""
    number = number_of(file, function)
    if number is None:
        raise unknown(file, function)
    return number


def unknown(file: sqlite3.Connection, function: FunctionKey) -> UnknownFunction:
    """The error that names the functions that are known."""
    keys = [FunctionKey(*row) for row in file.execute("SELECT module, qualname, fingerprint FROM function")]
    return UnknownFunction(function.name, tuple(sorted(key.name for key in keys)))


def kept(file: sqlite3.Connection, function: FunctionKey) -> Kept:
    """All that holds of the function. Raises UnknownFunction, Damage."""
    number = known(file, function)
    generation, paused, pinned, steered = file.execute(
        "SELECT generation, paused, pinned, steering FROM function WHERE id = ?", (number,)
    ).fetchone()
    aliases = aliases_of(file, number)
    if rules.LIVE not in aliases:
        raise Damage("a function has no live version")
    live = version(file, number, aliases[rules.LIVE].version)
    canary = version(file, number, aliases["canary"].version) if "canary" in aliases else None
    steering = documents.steering(file, number, function) if steered else ()
    return Kept(number, function, standing_of(live, generation, paused, pinned, canary, steering), aliases)


def found(file: sqlite3.Connection, function: FunctionKey) -> Kept | None:
    """The same; None where it is not known. Raises Damage."""
    return None if number_of(file, function) is None else kept(file, function)


def expected(file: sqlite3.Connection, function: FunctionKey, generation: int) -> Kept:
    """The same. Raises StaleParameters where another generation holds."""
    now = kept(file, function)
    if now.standing.generation != generation:
        raise StaleParameters(function.name, generation, now.standing.generation)
    return now


def standing_of(
    live: ParameterSet,
    generation: int,
    paused: str,
    pinned: str,
    canary: ParameterSet | None = None,
    steering: tuple[Document, ...] = (),
) -> Standing:
    """What holds, from a row. Raises Damage."""
    pins: Mapping[str, Value] = MappingProxyType(loaded(pinned)) if pinned != "{}" else NO_PINS
    return Standing(live, generation, paused, pins, canary, steering)


def aliases_of(file: sqlite3.Connection, number: int) -> dict[AliasName, Alias]:
    """Where names stand."""
    rows = file.execute("SELECT name, version, generation FROM alias WHERE function = ? ORDER BY name", (number,))
    return {name: Alias(version, generation) for name, version, generation in rows}


def version(file: sqlite3.Connection, number: int, version: int) -> ParameterSet:
    """One version. Raises Damage where it is missing."""
    row = file.execute(f"{_SELECT_VERSION} WHERE function = ? AND number = ?", (number, version)).fetchone()
    if row is None:
        raise Damage(f"version {version} of a function is missing")
    return version_of(row)


def versions(file: sqlite3.Connection, number: int) -> list[ParameterSet]:
    """All versions, oldest first."""
    rows = file.execute(f"{_SELECT_VERSION} WHERE function = ? ORDER BY number", (number,)).fetchall()
    return [version_of(row) for row in rows]


def checked_version(file: sqlite3.Connection, found: Kept, version: int | None) -> int:
    """``version`` where the function has it. Raises UnknownVersion."""
    rows = file.execute("SELECT number FROM version WHERE function = ? ORDER BY number", (found.id,))
    numbers = tuple(row[0] for row in rows)
    if version is None or version not in numbers:
        raise UnknownVersion(found.key.name, version or 0, numbers)
    return version


def begin(file: sqlite3.Connection, record: FunctionRecord, at: float) -> Kept:
    """A function that is new, as it was declared. at: Unix time [s]."""
    number = file.execute(
        f"INSERT INTO function ({RECORD_COLUMNS}, generation, paused, pinned)"  # noqa: S608
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', '{}')",
        (*record.key, *told(record)),
    ).lastrowid
    assert number is not None
    file.execute(
        "INSERT INTO counter (function, calls, failures, seconds, last_call) VALUES (?, 0, 0, 0, 0)", (number,)
    )
    first = rules.declared_version(record, at)
    insert(file, number, first)
    log(file, number, rules.change(first.created, "publish", 1, first.author, first.reason))
    new = Kept(number, record.key, Standing(first, 0), {})
    move(file, new, rules.first_places())
    return kept(file, record.key)


def newest(file: sqlite3.Connection, found: Kept) -> int:
    """The number of the newest version."""
    (number,) = file.execute("SELECT max(number) FROM version WHERE function = ?", (found.id,)).fetchone()
    return int(number)


def keep(file: sqlite3.Connection, found: Kept, draft: ParameterSet, at: float) -> int:
    """``draft`` as the next version; nothing points at it yet. Gives its number."""
    new = rules.next_version(draft, found.live, newest(file, found), at)
    insert(file, found.id, new)
    return new.version


def insert(file: sqlite3.Connection, number: int, version: ParameterSet) -> None:
    """Keep a version under its number."""
    file.execute(_INSERT_VERSION, (number, *version_fields(version)))


def move(file: sqlite3.Connection, found: Kept, places: rules.Places) -> None:
    """Move names, and count a change of the function and so of the store."""
    generation = found.standing.generation + 1
    aliases, gone = rules.moved(found.aliases, places, generation)
    file.executemany("DELETE FROM alias WHERE function = ? AND name = ?", [(found.id, name) for name in gone])
    file.executemany(
        "INSERT OR REPLACE INTO alias (function, name, version, generation) VALUES (?, ?, ?, ?)",
        [(found.id, name, *alias) for name, alias in aliases.items() if found.aliases.get(name) != alias],
    )
    count(file, found.id)


def count(file: sqlite3.Connection, number: int) -> None:
    """Count a change of the function and so of the store."""
    if number == documents.NO_FUNCTION:
        file.execute("UPDATE store SET generation = generation + 1, functionless = functionless + 1")
        return
    file.execute("UPDATE store SET generation = generation + 1")
    file.execute(
        "UPDATE function SET generation = generation + 1, changed = (SELECT generation FROM store) WHERE id = ?",
        (number,),
    )


def change(file: sqlite3.Connection, found: Kept, places: rules.Places, entry: Change) -> Standing:
    """Move names and tell history of it; what holds then."""
    log(file, found.id, entry)
    move(file, found, places)
    return kept(file, found.key).standing


def steer(file: sqlite3.Connection, found: Kept, paused: str, pinned: Mapping[str, Value]) -> None:
    """Why learning is paused, and what is pinned."""
    file.execute("UPDATE function SET paused = ?, pinned = ? WHERE id = ?", (paused, dumped(pinned), found.id))


def log(file: sqlite3.Connection, number: int, entry: Change) -> None:
    """Tell history of a change."""
    file.execute(
        "INSERT INTO change (function, at, action, version, author, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (number, *change_fields(entry)),
    )
