"""What ``poet doctor`` asks a database. Each check answers for itself, so that no damage hides another."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from math import isclose
from typing import Any

import psycopg

from poet.errors import StoreError, StoreUnavailable
from poet.model.document import Document
from poet.model.parameters import AliasName
from poet.seams import Finding
from poet.stores import chunk, rules, tallying
from poet.stores.postgres import schema
from poet.stores.postgres.link import Link, Row, Transaction
from poet.stores.postgres.texts import heard, said

_SHOWN = 5  # pieces of damage that one finding names
_FEW = 0.9  # share of the server's connections in use from which on it is told
_BATCH = 200  # chunks that are read at once
_OLDEST = 120000  # first release of the server that we are tried with, as it numbers itself

Answer = list[str] | str  # a list names the damage, a text says what was found in order


def findings(link: Link, tenant: str) -> list[Finding]:
    """Every check, in the order in which a person would ask; all of one moment."""
    inside = link.snapshot(lambda tx: [_ask(what, question, tx, tenant) for what, question in _INSIDE], at_leisure=True)
    return [*inside, _writable(link), *(_ask_once(link, what, question) for what, question in _AROUND)]


def _ask(what: str, question: Callable[[Transaction, str], Answer], tx: Transaction, tenant: str) -> Finding:
    try:
        answer = question(tx, said(tenant))
    except (ValueError, TypeError) as error:
        return Finding(False, what, f"cannot be read: {error}")
    return _finding(what, answer)


def _finding(what: str, answer: Answer) -> Finding:
    if isinstance(answer, str):
        return Finding(True, what, answer)
    more = f" and {len(answer) - _SHOWN} more" if len(answer) > _SHOWN else ""
    return Finding(False, what, "; ".join(answer[:_SHOWN]) + more)


def _layout(tx: Transaction, tenant: str) -> Answer:
    ((version, compatible),) = tx.ask("SELECT version, compatible FROM poet.store")
    rows = tx.ask(
        "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'poet' AND c.relkind IN ('r', 'p')"
    )
    guarded: dict[str, bool] = dict(rows)
    wrong = [f"{name} is missing" for name in schema.tables() if name not in guarded]
    wrong += [
        f"{name} shows every tenant's rows to all"
        for name in schema.tables()
        if name != "store" and not guarded.get(name, True)
    ]
    return wrong or f"version {version}, for releases that know {compatible}"


def _references(tx: Transaction, tenant: str) -> Answer:
    wrong = []
    for table in ("version", "alias", "change", "chunk", "writing", "hour", "counter", "score", "goal", "learner"):
        rows = tx.ask(
            f"SELECT count(*) FROM poet.{table} t WHERE tenant = %s AND NOT EXISTS"
            " (SELECT 1 FROM poet.function f WHERE f.id = t.function AND f.tenant = t.tenant)",
            (tenant,),
        )
        ((lost,),) = rows
        if lost:
            wrong.append(f"{_counted(lost, 'row')} of {table} of a function that is not there")
    ((lost,),) = tx.ask(
        "SELECT count(*) FROM poet.writing w WHERE tenant = %s AND NOT EXISTS (SELECT 1 FROM poet.chunk c"
        " WHERE c.function = w.function AND c.newest = w.newest AND c.id = w.chunk)",
        (tenant,),
    )
    if lost:
        wrong.append(f"{_counted(lost, 'row')} of writing of a chunk that is not there")
    return wrong or "every row refers to what is there"


def _live(tx: Transaction, tenant: str) -> Answer:
    names = _names(tx, tenant)
    versions = set(tx.ask("SELECT function, number FROM poet.version WHERE tenant = %s", (tenant,)))
    aliases = tx.ask("SELECT function, name, version, generation FROM poet.alias WHERE tenant = %s", (tenant,))
    generations: dict[int, int] = dict(tx.ask("SELECT id, generation FROM poet.function WHERE tenant = %s", (tenant,)))
    wrong = [
        f"{names.get(function, function)}: {name} is version {version}, which is not there"
        for function, name, version, _ in aliases
        if (function, version) not in versions
    ]
    wrong += [
        f"{names.get(function, function)}: {name} moved at generation {moved}, it is at {generations.get(function)}"
        for function, name, _, moved in aliases
        if moved > generations.get(function, 0)
    ]
    for wanted in ("live", "last_good"):
        led = {function for function, name, _, _ in aliases if name == wanted}
        wrong += [f"{name}: no version is {wanted}" for function, name in names.items() if function not in led]
    ((counted,),) = tx.ask(
        "SELECT coalesce((SELECT number - functionless FROM poet.generation WHERE tenant = %s), 0)", (tenant,)
    )
    if counted != sum(generations.values()):
        wrong.append(f"the functions changed {sum(generations.values())} times in all, {counted} were counted")
    return wrong or f"{_counted(len(names), 'function')}, each with a live version"


def _versions(tx: Transaction, tenant: str) -> Answer:
    names = _names(tx, tenant)
    numbers: dict[int, list[int]] = {function: [] for function in names}
    parents: list[tuple[int, int, int]] = []
    for function, number, parent, values, estimates in tx.ask(
        'SELECT function, number, parent, "values", estimates FROM poet.version WHERE tenant = %s'
        " ORDER BY function, number",
        (tenant,),
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


def _changes(tx: Transaction, tenant: str) -> Answer:
    """No request was carried out twice, and each new version has its entry."""
    rows = tx.ask(
        "SELECT f.module, f.qualname, c.token FROM poet.change c JOIN poet.function f ON f.id = c.function"
        " WHERE c.tenant = %s GROUP BY f.id, c.token, c.action HAVING count(*) > 1 AND c.action <> 'import'",
        (tenant,),
    )
    wrong = [f"{_name(module, qualname)}: request {token} was carried out twice" for module, qualname, token in rows]
    rows = tx.ask(
        "SELECT f.module, f.qualname, v.number FROM poet.version v JOIN poet.function f ON f.id = v.function"
        " WHERE v.tenant = %s AND NOT EXISTS (SELECT 1 FROM poet.change c WHERE c.function = v.function"
        " AND c.version = v.number)",
        (tenant,),
    )
    wrong += [
        f"{_name(module, qualname)}: history does not tell of version {number}" for module, qualname, number in rows
    ]
    ((count,),) = tx.ask("SELECT count(*) FROM poet.change WHERE tenant = %s", (tenant,))
    return wrong or f"{_counted(count, 'change')}, each carried out once"


def _executions(tx: Transaction, tenant: str) -> Answer:
    names = _names(tx, tenant)
    calls = dict.fromkeys(names, 0)
    failures = dict.fromkeys(names, 0)
    seconds = dict.fromkeys(names, 0.0)
    wrong: list[str] = []
    seen: dict[str, array[int]] = {}  # sequences by writer, of one function at a time
    place = 0
    for function, identity, writer, last, count, oldest, newest, body in _chunks(tx, tenant):
        where = f"{names.get(function, function)}: chunk {identity} of {writer or 'several'}"
        try:
            rows = chunk.decode(body, writer)
        except (ValueError, TypeError) as error:
            wrong.append(f"{where} cannot be read: {error}")
            continue
        starts = [row.started for row in rows]
        if (rows[-1].sequence, len(rows), min(starts), max(starts)) != (last, count, oldest, newest):
            wrong.append(f"{where} does not hold what its row says")
        if function != place:
            wrong += _twice(names.get(place, place), seen)
            place, seen = function, {}
        for row in rows:
            seen.setdefault(row.writer, array("q")).append(row.sequence)
        calls[function] = calls.get(function, 0) + len(rows)
        failures[function] = failures.get(function, 0) + sum(not row.outcome.good for row in rows)
        seconds[function] = seconds.get(function, 0.0) + sum(row.seconds for row in rows)
    wrong += _twice(names.get(place, place), seen)
    counters = {
        row[0]: row[1:]
        for row in tx.ask(
            "SELECT function, sum(calls)::bigint - sum(expired_calls)::bigint,"
            " sum(failures)::bigint - sum(expired_failures)::bigint, sum(seconds), sum(expired_seconds)"
            " FROM poet.counter WHERE tenant = %s GROUP BY function",
            (tenant,),
        )
    }
    for function, name in names.items():
        counted = counters.get(function, (0, 0, 0.0, 0.0))
        if (calls[function], failures[function]) != counted[:2]:
            wrong.append(
                f"{name}: {calls[function]} executions with {failures[function]} failures are stored,"
                f" {counted[0]} with {counted[1]} were counted"
            )
        elif not isclose(seconds[function] + counted[3], counted[2], rel_tol=1e-6, abs_tol=1e-9):  # 32-bit floats
            wrong.append(f"{name}: {seconds[function]:.6g} s are stored, {counted[2] - counted[3]:.6g} s were counted")
    return wrong or f"{_counted(sum(calls.values()), 'execution')}, all readable, as many as were counted"


def _twice(name: object, seen: Mapping[str, array[int]]) -> list[str]:
    """What stands in two chunks."""
    doubled = {writer: sum(a == b for a, b in pairwise(sorted(numbers))) for writer, numbers in seen.items()}
    return [
        f"{name}: {_counted(count, 'execution')} of {writer} in two chunks"
        for writer, count in doubled.items()
        if count
    ]


def _chunks(tx: Transaction, tenant: str) -> Any:
    """All chunks, some at a time."""
    place: Sequence[Any] = (0, float("-inf"), "00000000-0000-0000-0000-000000000000")
    while True:
        rows = tx.ask(
            "SELECT function, newest, id, writer, last, executions, oldest, body FROM poet.chunk"
            " WHERE tenant = %s AND (function, newest, id) > (%s::bigint, %s::double precision, %s::uuid)"
            " ORDER BY function, newest, id LIMIT %s",
            (tenant, *place, _BATCH),
        )
        for function, newest, identity, writer, last, count, oldest, body in rows:
            yield function, identity, heard(writer), last, count, oldest, newest, body
        if len(rows) < _BATCH:
            return
        place = rows[-1][:3]


def _hours(tx: Transaction, tenant: str) -> Answer:
    names = _names(tx, tenant)
    wrong = []
    sums: dict[int, int] = dict.fromkeys(names, 0)
    count = 0
    for function, *row in tx.ask(
        "SELECT function, start, version, calls, sums FROM poet.hour WHERE tenant = %s", (tenant,)
    ):
        try:
            hour = tallying.unpack(*row)
        except ValueError as error:
            wrong.append(f"{names.get(function, function)}: hour {row[0]} of version {row[1]}: {error}")
            continue
        count += 1
        sums[function] = sums.get(function, 0) + hour.calls
    counted: dict[int, int] = dict(
        tx.ask(
            "SELECT function, sum(calls)::bigint - sum(hourless_calls)::bigint FROM poet.counter"
            " WHERE tenant = %s GROUP BY function",
            (tenant,),
        )
    )
    wrong += [
        f"{name}: {sums[function]} calls are in its hours, {counted.get(function, 0)} were counted"
        for function, name in names.items()
        if sums[function] != counted.get(function, 0)
    ]
    return wrong or f"{_counted(count, 'row')} of hours, all readable, with as many calls as were counted"


def _documents(tx: Transaction, tenant: str) -> Answer:
    names = _names(tx, tenant)
    places: dict[int, dict[AliasName, int]] = {}
    for function, name, version in tx.ask(
        "SELECT function, name, version FROM poet.alias WHERE tenant = %s", (tenant,)
    ):
        places.setdefault(function, {})[name] = version
    rows = tx.ask("SELECT function, kind, name, open, body FROM poet.document WHERE tenant = %s", (tenant,))
    wrong = [
        fault
        for function, kind, name, is_open, body in rows
        for fault in rules.wrong_with(
            Document(heard(kind), heard(name), body, open=is_open), function, names, places.get(function, {})
        )
    ]
    return wrong or f"{_counted(len(rows), 'document')}, all readable"


_INSIDE: tuple[tuple[str, Callable[[Transaction, str], Answer]], ...] = (
    ("layout", _layout),
    ("references", _references),
    ("live versions", _live),
    ("versions", _versions),
    ("changes", _changes),
    ("executions", _executions),
    ("hours", _hours),
    ("documents", _documents),
)


def _writable(link: Link) -> Finding:
    """A transaction that changes nothing, as permissions alone do not tell."""
    if link.readonly:
        return Finding(True, "writable", "not asked: opened for reading only")
    try:
        link.writing(
            lambda tx: tx.ask("UPDATE poet.generation SET number = number WHERE tenant = %s", (link.tenant,)),
            durable=True,
        )
    except StoreError as error:
        return Finding(False, "writable", str(error))
    return Finding(True, "writable", "yes")


def _ask_once(link: Link, what: str, question: Callable[[Link], Answer]) -> Finding:
    try:
        return _finding(what, question(link))
    except StoreUnavailable as error:
        if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
            return Finding(True, what, "this role may not ask")
        return Finding(False, what, str(error))


def _server(link: Link) -> Answer:
    ((number, version, encoding),) = link.once(
        "SELECT current_setting('server_version_num')::integer, current_setting('server_version'),"
        " current_setting('server_encoding')"
    )
    wrong = [] if number >= _OLDEST else [f"PostgreSQL {version} is older than any that POET is tried with"]
    if encoding != "UTF8":
        wrong.append(f"the database's encoding is {encoding}: texts beyond it are refused; make one with UTF8")
    return wrong or f"PostgreSQL {version}"


def _tenancy(link: Link) -> Answer:
    rows: list[Row] = link.once("SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user")
    ((role, above),) = rows
    if above:
        return f"{role} is above the rows' policies: tenants are kept apart by POET alone"
    return f"{role} sees the rows of its tenant only"


def _replication(link: Link) -> Answer:
    ((standby, standbys, waits),) = link.once(
        "SELECT pg_is_in_recovery(), (SELECT count(*) FROM pg_stat_replication),"
        " current_setting('synchronous_standby_names') <> ''"
    )
    if standby:
        return "this is a standby: it can be looked at, not written"
    if not standbys:
        return "a primary" + (" that waits for a standby which is not there" if waits else " without a standby")
    return f"a primary with {_counted(standbys, 'standby')}" + (", which it waits for" if waits else "")


def _connections(link: Link) -> Answer:
    ((used, most, reserved),) = link.once(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
        " current_setting('max_connections')::integer, current_setting('superuser_reserved_connections')::integer"
    )
    if used >= _FEW * (most - reserved):
        return [f"{used} of {most - reserved} are in use: raise max_connections"]
    return f"{used} of {most - reserved} are in use"


def _durability(link: Link) -> Answer:
    rows = link.once("SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')")
    off = sorted(name for name, setting in rows if setting == "off")
    if off:
        return f"{' and '.join(off)} off: a crash of the server may lose versions"
    return "versions are on the server's disk when they are published"


def _size(link: Link) -> Answer:
    ((size, chunks, dead),) = link.once(
        "SELECT (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n"
        " ON n.oid = c.relnamespace WHERE n.nspname = 'poet' AND c.relkind = 'r')::bigint,"
        " pg_total_relation_size('poet.chunk'),"
        " coalesce((SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'poet.chunk'::regclass), 0)"
    )
    return f"{size >> 10} KiB, of which chunks {chunks >> 10} KiB, with {_counted(dead, 'dead row')}"


_AROUND: tuple[tuple[str, Callable[[Link], Answer]], ...] = (
    ("server", _server),
    ("tenancy", _tenancy),
    ("replication", _replication),
    ("connections", _connections),
    ("durability", _durability),
    ("size", _size),
)


def _counted(number: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun}" if number == 1 else f"{number} {plural}"


def _names(tx: Transaction, tenant: str) -> dict[int, str]:
    rows = tx.ask("SELECT id, module, qualname FROM poet.function WHERE tenant = %s", (tenant,))
    return {number: _name(module, qualname) for number, module, qualname in rows}


def _name(module: str, qualname: str) -> str:
    return heard(f"{module}.{qualname}" if module else qualname)
