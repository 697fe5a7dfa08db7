"""SQL on functions, versions, names and changes, in PostgreSQL.

Whoever changes a function's standing locks its row first, in a round trip of its own, and commits in a later one. So
where the connection was lost and whether the change was committed is not known, the next to lock that row has waited
for the end of the first, and finds its token among the changes or never will.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from poet.errors import UnknownFunction, UnknownVersion
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.seams import FunctionRecord
from poet.stores import rules
from poet.stores.postgres import documents
from poet.stores.postgres.link import Row, Statement, Transaction
from poet.stores.postgres.texts import heard, said
from poet.stores.rows import VERSION_COLUMNS, Damage, Kept, dumped, loaded, text, told, version_fields, version_of

_PLACE = "tenant = %s AND module = %s AND qualname = %s AND fingerprint = %s"
_ID = f"SELECT id FROM poet.function WHERE {_PLACE}"
_TOLD = f"SELECT id, domain, learner, declared, objective, space, choices, goals FROM poet.function WHERE {_PLACE}"
_LOCKED = f"SELECT id, generation, paused, pinned FROM poet.function WHERE {_PLACE} FOR NO KEY UPDATE"
_ALIASES = 'SELECT name, version, generation FROM poet.alias WHERE function = %s ORDER BY name COLLATE "C"'
_VERSION = f"SELECT {VERSION_COLUMNS} FROM poet.version WHERE function = %s"
_NAMED = f"{_VERSION} AND number = (SELECT version FROM poet.alias WHERE function = %s AND name = %s)"
_STEERING = f"SELECT {documents.STEERING_OF} FROM poet.function f WHERE id = %s"
_STANDING = (
    f"SELECT f.id, f.generation, f.paused, f.pinned, {documents.STEERING_OF}, a.version, c.version,"
    + ", ".join(f"v.{column.strip()}" for column in VERSION_COLUMNS.split(","))
    + " FROM poet.function f LEFT JOIN poet.alias a ON a.function = f.id AND a.name = 'live'"
    " LEFT JOIN poet.version v ON v.function = f.id AND v.number = a.version AND v.number <> %s"
    " LEFT JOIN poet.alias c ON c.function = f.id AND c.name = 'canary'"
    f" WHERE f.{_PLACE.replace(' AND ', ' AND f.')}"
)
_INSERT_VERSION = f"INSERT INTO poet.version (function, tenant, {VERSION_COLUMNS}) VALUES (%s, %s{', %s' * 11})"
_COUNTED = (
    "WITH now AS (INSERT INTO poet.generation (tenant, number) VALUES (%s, 1)"
    " ON CONFLICT (tenant) DO UPDATE SET number = generation.number + 1 RETURNING number)"
    " UPDATE poet.function SET generation = generation + 1, changed = now.number FROM now WHERE id = %s"
)
_FUNCTIONLESS = (
    "INSERT INTO poet.generation (tenant, number, functionless) VALUES (%s, 1, 1) ON CONFLICT (tenant)"
    " DO UPDATE SET number = generation.number + 1, functionless = generation.functionless + 1"
)
_INSERT_CHANGE = (
    "INSERT INTO poet.change (function, tenant, at, action, version, author, reason, token)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
)


class Asker(NamedTuple):
    """On whose behalf a transaction changes something."""

    tenant: str
    channel: str  # where to tell that something has changed
    token: UUID  # of the request


def place(tenant: str, function: FunctionKey) -> tuple[str, ...]:
    """What finds a function's row."""
    return (said(tenant), *map(said, function))


def id_question(tenant: str, function: FunctionKey) -> Statement:
    """Asks for the function's number in this database; no row where it is not known."""
    return _ID, place(tenant, function)


def told_question(tenant: str, function: FunctionKey) -> Statement:
    """Asks for the number and for what the code has said of the function."""
    return _TOLD, place(tenant, function)


def standing_question(tenant: str, function: FunctionKey, known: int) -> Statement:
    """Asks for what holds; for all of the live version only where it is not the ``known`` one."""
    return _STANDING, (known, *place(tenant, function))


def standing_from(
    row: Row, function: FunctionKey, known: ParameterSet | None, canary: Callable[[int, int], ParameterSet]
) -> Standing:
    """What holds, from the answer; known: the live version that was not asked for again.

    canary: finds a version by the numbers of its function and its own. Raises Damage.
    """
    identity, generation, paused, pinned, steered, live, tried, *version = row
    if live is None:
        raise Damage(f"{function.name} has no live version")
    if known is None or known.version != live:
        if version[0] is None:
            raise Damage(f"version {live} of {function.name} is missing")
        known = parsed(tuple(version))
    on_trial = None if tried is None else canary(identity, tried)
    return standing_of(known, generation, paused, pinned, on_trial, documents.steering_of(steered, function))


def version_question(function: int, number: int) -> Statement:
    """Asks for one version."""
    return f"{_VERSION} AND number = %s", (function, number)


def names_question(tenant: str) -> Statement:
    """Asks for the names of all functions."""
    return "SELECT module, qualname, fingerprint FROM poet.function WHERE tenant = %s", (said(tenant),)


def unknown(function: FunctionKey, names: Sequence[Row]) -> UnknownFunction:
    """The error that names the functions that are known."""
    keys = [FunctionKey(*map(heard, row)) for row in names]
    return UnknownFunction(function.name, tuple(sorted(key.name for key in keys)))


def spoken(record: FunctionRecord) -> tuple[str | None, ...]:
    """What the code says of a function, as its row has it."""
    return tuple(None if words is None else said(words) for words in told(record))


def parsed(row: Row) -> ParameterSet:
    """A version from its row. Raises Damage."""
    number, parent, origin, author, reason, *rest = row
    return version_of((number, parent, heard(origin), heard(author), heard(reason), *rest))


def change_of(row: Row) -> Change:
    """A change from its row."""
    at, action, version, author, reason = row
    return Change(at, action, version, heard(author), heard(reason))


def standing_of(
    live: ParameterSet,
    generation: int,
    paused: str,
    pinned: str,
    canary: ParameterSet | None,
    steering: tuple[Document, ...],
) -> Standing:
    """What holds, from a row. Raises Damage."""
    return Standing(live, generation, heard(paused), MappingProxyType(loaded(pinned)), canary, steering)


def versions_question(function: int) -> Statement:
    """Asks for all versions, oldest first."""
    return f"{_VERSION} ORDER BY number", (function,)


def aliases_question(function: int) -> Statement:
    """Asks where names stand."""
    return _ALIASES, (function,)


def aliases_of(found: Sequence[Row]) -> dict[AliasName, Alias]:
    """Where names stand."""
    return {name: Alias(version, generation) for name, version, generation in found}


def locked(tx: Transaction, asker: Asker, function: FunctionKey) -> Kept | None:
    """All that holds of the function, which nobody else changes until the end; None where it is not known.

    Raises Damage.
    """
    found = tx.ask(_LOCKED, place(asker.tenant, function))
    if not found:
        return None
    number, generation, paused, pinned = found[0]
    named = [(_NAMED, (number, number, name)) for name in ("live", "canary")]
    names, live, canary, ((steered,),) = tx.ask_all([aliases_question(number), *named, (_STEERING, (number,))])
    if not live:
        raise Damage("a function has no live version")
    on_trial = parsed(canary[0]) if canary else None
    steering = documents.steering_of(steered, function)
    standing = standing_of(parsed(live[0]), generation, paused, pinned, on_trial, steering)
    return Kept(number, function, standing, aliases_of(names))


def kept(tx: Transaction, asker: Asker, function: FunctionKey) -> Kept:
    """The same. Raises UnknownFunction."""
    found = locked(tx, asker, function)
    if found is None:
        raise unknown(function, tx.ask(*names_question(asker.tenant)))
    return found


def is_done(tx: Transaction, asker: Asker, found: Kept) -> bool:
    """Whether this request has been committed before, on a connection that was lost since. It holds the lock."""
    if not tx.again:
        return False
    return bool(tx.ask("SELECT 1 FROM poet.change WHERE function = %s AND token = %s", (found.id, asker.token)))


def version(tx: Transaction, found: Kept, wanted: int | None) -> ParameterSet:
    """One of the function's versions. Raises UnknownVersion."""
    rows = [] if wanted is None else tx.ask(f"{_VERSION} AND number = %s", (found.id, min(max(wanted, 0), 2**31 - 1)))
    if not rows:
        numbers = tx.ask("SELECT number FROM poet.version WHERE function = %s ORDER BY number", (found.id,))
        raise UnknownVersion(found.key.name, wanted or 0, tuple(number for (number,) in numbers))
    return parsed(rows[0])


def begin(tx: Transaction, asker: Asker, record: FunctionRecord, at: float) -> Kept | None:
    """A function that is new, as it was declared; None where another has just begun it. at: Unix time [s]."""
    found = tx.ask(
        "INSERT INTO poet.function (tenant, module, qualname, fingerprint, domain, learner, declared, objective, space,"
        " choices, goals, generation, changed, paused, pinned)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 0, '', '{}')"
        " ON CONFLICT DO NOTHING RETURNING id",
        (*place(asker.tenant, record.key), *spoken(record)),
    )
    if not found:
        return None
    number = found[0][0]
    first = rules.declared_version(record, at)
    new = Kept(number, record.key, Standing(first, 0), {})
    entry = rules.change(first.created, "publish", 1, first.author, first.reason)
    return change(tx, asker, new, rules.first_places(), [entry], new=first, last=False)


def newest(tx: Transaction, found: Kept) -> int:
    """The number of the newest version."""
    ((number,),) = tx.ask("SELECT max(number) FROM poet.version WHERE function = %s", (found.id,))
    return int(number)


def next_version(tx: Transaction, found: Kept, draft: ParameterSet, at: float) -> ParameterSet:
    """``draft`` as the version after the newest; not kept yet."""
    return rules.next_version(draft, found.live, newest(tx, found), at)


def keep(
    tx: Transaction, asker: Asker, function: FunctionKey | None, document: Document, wall: Callable[[], float]
) -> Document:
    """Keep a document, and count a change of its function, if any, and of the tenant.

    Raises UnknownFunction, StaleDocument.
    """
    number, generation = documents.NO_FUNCTION, _FUNCTIONLESS
    if function is not None:
        row = tx.ask(f"{_ID} FOR NO KEY UPDATE", place(asker.tenant, function))
        if not row:
            raise unknown(function, tx.ask(*names_question(asker.tenant)))
        number, generation = row[0][0], _COUNTED
    (written,), again = documents.write(tx, asker.tenant, asker.token, number, [document], wall)
    if not again:
        facts = (said(asker.tenant),) if function is None else (said(asker.tenant), number)
        tx.finish([(generation, facts), ("SELECT pg_notify(%s, '')", (asker.channel,))])
    return written


def change(
    tx: Transaction,
    asker: Asker,
    found: Kept,
    places: rules.Places,
    entries: Sequence[Change],
    *,
    new: ParameterSet | None = None,
    live: ParameterSet | None = None,
    steering: Standing | None = None,
    beside: Sequence[Document] = (),
    last: bool = True,
) -> Kept:
    """Move names, tell history of it, and count a change of the function and so of the tenant; what holds then.

    new: a version to be kept first. live: the version that goes live, where it is neither the new nor the old one.
    steering: what holds of pauses and pins from now on. beside: documents that were kept.
    last: nothing else is done in this transaction.
    """
    generation = found.standing.generation + 1
    aliases, gone = rules.moved(found.aliases, places, generation)
    steered = steering or found.standing
    done = tx.finish if last else tx.ask_all
    statements: list[Statement] = []
    if new is not None:
        statements.append((_INSERT_VERSION, (found.id, said(asker.tenant), *_spoken(version_fields(new)))))
    statements += [
        (
            _INSERT_CHANGE,
            (
                found.id,
                said(asker.tenant),
                entry.at,
                entry.action,
                entry.version,
                said(entry.author),
                said(entry.reason),
                asker.token,
            ),
        )
        for entry in entries
    ]
    if gone:
        statements.append(("DELETE FROM poet.alias WHERE function = %s AND name = ANY(%s)", (found.id, list(gone))))
    statements += [
        (
            "INSERT INTO poet.alias (function, name, tenant, version, generation) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (function, name) DO UPDATE SET version = excluded.version, generation = excluded.generation",
            (found.id, name, said(asker.tenant), *alias),
        )
        for name, alias in aliases.items()
        if found.aliases.get(name) != alias
    ]
    statements += [
        (
            "WITH now AS (INSERT INTO poet.generation (tenant, number) VALUES (%s, 1)"
            " ON CONFLICT (tenant) DO UPDATE SET number = generation.number + 1 RETURNING number)"
            " UPDATE poet.function SET generation = %s, changed = now.number, paused = %s, pinned = %s"
            " FROM now WHERE id = %s",
            (said(asker.tenant), generation, said(steered.paused), dumped(steered.pinned), found.id),
        ),
        ("SELECT pg_notify(%s, '')", (asker.channel,)),
    ]
    done(statements)
    at = aliases[rules.LIVE].version
    kept_new = None if new is None else version_of(version_fields(new))  # as it will be read back
    known = {each.version: each for each in (found.live, found.standing.canary, live, kept_new) if each is not None}
    standing = Standing(
        known[at],
        generation,
        text(steered.paused),
        MappingProxyType(dict(steered.pinned)),
        known[aliases["canary"].version] if "canary" in aliases else None,
        rules.steering_after(found.standing.steering, beside),
    )
    return Kept(found.id, found.key, standing, aliases)


def _spoken(fields: Sequence[object]) -> list[object]:
    return [said(field) if isinstance(field, str) else field for field in fields]
