"""What ``poet doctor`` asks a store's file. Each check answers for itself, so that no damage hides another."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from array import array
from collections import Counter
from collections.abc import Callable
from math import isclose

from poet.errors import StoreError
from poet.model.document import STEERING, Document
from poet.model.parameters import AliasName
from poet.seams import Finding
from poet.stores import chunk, rules, schema, tallying
from poet.stores.connection import Database

_SHOWN = 5  # pieces of damage that one finding names
_LONG_LOG = 64 << 20  # bytes; a log grows like this only where some reader never ends
_LITTLE_SPACE = 64 << 20  # bytes
_GUARDED = (3, 51, 3)  # first release without the fault that the lease guards against


def findings(database: Database) -> list[Finding]:
    """Every check, in the order in which a person would ask; all of one moment."""
    with database.snapshot() as file:
        found = [_ask(what, question, file) for what, question in _INSIDE]
    return [*found, _writable(database), _log(database), _space(database), _release(), _journal(database)]


def _ask(what: str, question: Callable[[sqlite3.Connection], list[str] | str], file: sqlite3.Connection) -> Finding:
    """One finding: a list names the damage, a text says what was found in order."""
    try:
        answer = question(file)
    except (sqlite3.Error, ValueError, TypeError) as error:
        return Finding(False, what, f"cannot be read: {error}")
    if isinstance(answer, str):
        return Finding(True, what, answer)
    more = f" and {len(answer) - _SHOWN} more" if len(answer) > _SHOWN else ""
    return Finding(False, what, "; ".join(answer[:_SHOWN]) + more)


def _pages(file: sqlite3.Connection) -> list[str] | str:
    rows = [row[0] for row in file.execute(f"PRAGMA quick_check({_SHOWN + 1})")]
    (count,) = file.execute("PRAGMA page_count").fetchone()
    return f"{_counted(count, 'page')}, all sound" if rows == ["ok"] else rows


def _layout(file: sqlite3.Connection) -> list[str] | str:
    (version,) = file.execute("PRAGMA user_version").fetchone()
    found, wanted = schema.layout(file), schema.expected_layout()
    newer = schema.Layout.of(version).version > schema.VERSION
    if newer:  # it may have grown tables and columns that we need not know
        found = {name: text for name, text in wanted.items() if name in found}
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not ours" for name in found if name not in wanted]
    wrong += [
        f"{name} is not laid out as it should be" for name in wanted if found.get(name, wanted[name]) != wanted[name]
    ]
    more = f", newer than this release's {schema.VERSION}, which may use it" if newer else ""
    return wrong or f"version {schema.Layout.of(version).version}{more}"


def _references(file: sqlite3.Connection) -> list[str] | str:
    rows = file.execute("PRAGMA foreign_key_check").fetchall()
    wrong = [f"a row of {table} refers to a {parent} that is not there" for table, _, parent, _ in rows]
    return wrong or "every row refers to what is there"


def _names_of_versions(file: sqlite3.Connection) -> list[str] | str:
    names = _names(file)
    versions = set(file.execute("SELECT function, number FROM version").fetchall())
    generations = dict(file.execute("SELECT id, generation FROM function").fetchall())
    pinned = {number for (number,) in file.execute("SELECT id FROM function WHERE pinned <> '{}'")}
    aliases = file.execute("SELECT function, name, version, generation FROM alias").fetchall()
    wrong = [
        f"{names.get(function, function)}: {name} is version {version}, which is not there"
        for function, name, version, _ in aliases
        if (function, version) not in versions
    ]
    wrong += [
        f"{names.get(function, function)}: {name} moved at generation {generation}, which is still to come"
        for function, name, _, generation in aliases
        if generation > generations.get(function, 0)
    ]
    for alias in ("live", "last_good"):
        led = {function for function, name, *_ in aliases if name == alias}
        wrong += [f"{name}: no version is {alias}" for function, name in names.items() if function not in led]
    held = {function for function, name, *_ in aliases if name == "pinned"}
    wrong += [f"{names[function]}: pins and the version that holds them disagree" for function in held ^ pinned]
    (changes,) = file.execute("SELECT generation - functionless FROM store").fetchone()
    if changes != sum(generations.values()):
        wrong.append(f"{sum(generations.values())} changes of functions, but the store counts {changes}")
    return wrong or f"{_counted(len(names), 'function')}, each with a live version"


def _versions(file: sqlite3.Connection) -> list[str] | str:
    names = _names(file)
    numbers: dict[int, list[int]] = {function: [] for function in names}
    parents: list[tuple[int, int, int]] = []
    for function, number, parent, values, estimates in file.execute(
        'SELECT function, number, parent, "values", estimates FROM version ORDER BY function, number'
    ):
        numbers.setdefault(function, []).append(number)
        json.loads(values), json.loads(estimates)
        if parent is not None:
            parents.append((function, number, parent))
    wrong = [
        f"{names.get(function, function)}: version {missing} is missing"
        for function, kept in numbers.items()
        for missing in sorted(set(range(1, max(kept, default=1) + 1)) - set(kept))
    ]
    wrong += [
        f"{names.get(function, function)}: version {number} comes from {parent}, which is not there"
        for function, number, parent in parents
        if parent not in numbers[function] or parent >= number
    ]
    return wrong or f"{_counted(sum(map(len, numbers.values())), 'version')}, none missing, each with its parent"


def _executions(file: sqlite3.Connection) -> list[str] | str:
    names = _names(file)
    calls, failures, seconds, wrong = _stored(file, names)
    counters = {
        row[0]: row[1:]
        for row in file.execute(
            "SELECT function, calls - expired_calls, failures - expired_failures, seconds - expired_seconds,"
            " expired_calls FROM counter"
        )
    }
    for function, name in names.items():
        counted = counters.get(function)
        if counted is None:
            wrong.append(f"{name}: its counters are missing")
        elif (calls[function], failures[function]) != counted[:2]:
            wrong.append(
                f"{name}: {calls[function]} executions with {failures[function]} failures are stored,"
                f" {counted[0]} with {counted[1]} were counted"
            )
        elif not isclose(seconds[function], counted[2], rel_tol=1e-6, abs_tol=1e-6):  # stored as 32-bit floats
            wrong.append(f"{name}: {seconds[function]:.6g} s are stored, {counted[2]:.6g} s were counted")
    expired = sum(row[3] for row in counters.values())
    left = f"; {expired} more have expired" if expired else ""
    return wrong or f"{_counted(sum(calls.values()), 'execution')}, all readable, as many as were counted{left}"


def _stored(
    file: sqlite3.Connection, names: dict[int, str]
) -> tuple[dict[int, int], dict[int, int], dict[int, float], list[str]]:
    """Calls, failures and seconds of each function by its chunks, and what is wrong with these."""
    calls, failures, seconds = dict.fromkeys(names, 0), dict.fromkeys(names, 0), dict.fromkeys(names, 0.0)
    wrong = []
    sequences: dict[tuple[int, str], array[int]] = {}
    writing: dict[int, set[str]] = {}
    for identity, writer in file.execute("SELECT chunk, writer FROM writing"):
        writing.setdefault(identity, set()).add(writer)
    for identity, function, writer, last, count, oldest, newest, body in file.execute(
        "SELECT id, function, writer, last, executions, oldest, newest, body FROM chunk"
    ):
        where = f"{names.get(function, function)}: chunk {identity} of {writer or 'several writers'}"
        try:
            rows = chunk.decode(body, writer)
        except (ValueError, TypeError) as error:
            wrong.append(f"{where} cannot be read: {error}")
            continue
        starts = [row.started for row in rows]
        if (rows[-1].sequence, len(rows), min(starts), max(starts)) != (last, count, oldest, newest):
            wrong.append(f"{where} does not hold what its row says")
        writers = {row.writer for row in rows}
        if writers != {writer} and not writers <= writing.get(identity, set()):
            wrong.append(f"{where}: not all of its writers are listed")
        for row in rows:
            sequences.setdefault((function, row.writer), array("q")).append(row.sequence)
        calls[function] = calls.get(function, 0) + len(rows)
        failures[function] = failures.get(function, 0) + sum(not row.outcome.good for row in rows)
        seconds[function] = seconds.get(function, 0.0) + sum(row.seconds for row in rows)
    wrong += [
        f"{names.get(function, function)}: some executions of {writer} are stored twice"
        for (function, writer), numbers in sequences.items()
        if len(set(numbers)) < len(numbers)
    ]
    return calls, failures, seconds, wrong


def _hours(file: sqlite3.Connection) -> list[str] | str:
    names = _names(file)
    wrong = []
    counted = dict.fromkeys(names, 0)
    for function, start, version, calls, sums in file.execute("SELECT function, start, version, calls, sums FROM hour"):
        try:
            tallying.unpack(start, version, calls, sums)
        except ValueError as error:
            wrong.append(f"{names.get(function, function)}: an hour cannot be read: {error}")
        counted[function] = counted.get(function, 0) + calls
    for function, calls in file.execute("SELECT function, calls - hourless_calls FROM counter"):
        if counted.get(function, 0) != calls:
            wrong.append(
                f"{names.get(function, function)}: its hours hold {counted.get(function, 0)} calls, not {calls}"
            )
    (hours,) = file.execute("SELECT count(*) FROM hour").fetchone()
    return wrong or f"{_counted(hours, 'hour')}, as many calls as were counted"


def _documents(file: sqlite3.Connection) -> list[str] | str:
    names = _names(file)
    places: dict[int, dict[AliasName, int]] = {}
    for function, name, version in file.execute("SELECT function, name, version FROM alias"):
        places.setdefault(function, {})[name] = version
    rows = file.execute("SELECT function, kind, name, open, body FROM document").fetchall()
    wrong = [
        fault
        for function, kind, name, is_open, body in rows
        for fault in rules.wrong_with(
            Document(kind, name, body, open=bool(is_open)), function, names, places.get(function, {})
        )
    ]
    steered = Counter(function for function, kind, _, is_open, _ in rows if function and is_open and kind in STEERING)
    for function, counted in file.execute("SELECT id, steering FROM function"):
        if counted != steered[function]:
            wrong.append(f"{names[function]}: {steered[function]} open documents steer it, {counted} were counted")
    return wrong or f"{_counted(len(rows), 'document')}, all readable"


_INSIDE: tuple[tuple[str, Callable[[sqlite3.Connection], list[str] | str]], ...] = (
    ("file", _pages),
    ("layout", _layout),
    ("references", _references),
    ("live versions", _names_of_versions),
    ("versions", _versions),
    ("executions", _executions),
    ("hours", _hours),
    ("documents", _documents),
)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _names(file: sqlite3.Connection) -> dict[int, str]:
    rows = file.execute("SELECT id, module, qualname FROM function").fetchall()
    return {number: f"{module}.{qualname}" if module else qualname for number, module, qualname in rows}


def _writable(database: Database) -> Finding:
    """A transaction that changes nothing, as permissions alone do not tell."""
    if database.readonly:
        able = os.access(database.path, os.W_OK) and os.access(database.path.parent, os.W_OK)
        return Finding(able, "writable", "yes" if able else f"this user may not write to {database.path.parent}")
    try:
        with database.writing():
            pass
    except StoreError as error:
        return Finding(False, "writable", str(error))
    return Finding(True, "writable", "yes")


def _log(database: Database) -> Finding:
    log = database.path.with_name(database.path.name + "-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > _LONG_LOG:
        return Finding(
            False,
            "write-ahead log",
            f"{size >> 20} MiB: some program reads without end; `fuser {database.path}` names it",
        )
    return Finding(True, "write-ahead log", f"{size >> 10} KiB")


def _space(database: Database) -> Finding:
    free = shutil.disk_usage(database.path.parent).free
    return Finding(free >= _LITTLE_SPACE, "disk space", f"{free >> 20} MiB free")


def _release() -> Finding:
    note = (
        ""
        if sqlite3.sqlite_version_info >= _GUARDED
        else ", whose fault in resetting the log our write lease guards against"
    )
    return Finding(True, "SQLite", sqlite3.sqlite_version + note)


def _journal(database: Database) -> Finding:
    with database.reading() as file:
        (mode,) = file.execute("PRAGMA journal_mode").fetchone()
    if mode == "wal" or database.readonly:
        return Finding(True, "journal", str(mode))
    return Finding(
        True, "journal", f"{mode}: this file system allows no write-ahead log, so writes are slower but safe"
    )
