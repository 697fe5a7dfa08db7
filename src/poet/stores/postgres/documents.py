"""SQL on documents, in PostgreSQL.

A document bears the token of the request that kept it: so one whose answer was lost finds out whether it was committed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from poet.model.document import EVIDENCE, STEERING, Document
from poet.model.function import FunctionKey
from poet.stores import rules
from poet.stores.postgres.link import Row, Statement, Transaction
from poet.stores.postgres.texts import heard, said

NO_FUNCTION = 0  # in place of a function's number, which is 1 at least
_PLACE = "tenant = %s AND kind = %s AND function = %s AND name = %s"
_COLUMNS = "d.kind, d.name, d.body, d.open, d.revision, d.at"
# Those that steer a function of the row ``f``, as one JSON text; of the same moment as the rest of the answer.
STEERING_OF = (
    "(SELECT json_agg(json_build_array(d.kind, d.name, d.body, d.open, d.revision, d.at)"
    ' ORDER BY d.kind COLLATE "C", d.name COLLATE "C")::text FROM poet.document d WHERE d.tenant = f.tenant'
    f" AND d.kind IN ({', '.join(repr(kind) for kind in STEERING)}) AND d.function = f.id AND d.open)"
)


def steering_of(told: str | None, function: FunctionKey) -> tuple[Document, ...]:
    """Those that steer a function, from the text that ``STEERING_OF`` gives."""
    return () if told is None else tuple([_document(row, function) for row in json.loads(told)])


def question(tenant: str, kind: str, function: int | None, name: str | None, *, ended: bool) -> Statement:
    """Asks for those of a kind. function: its number; None: of all, and of none."""
    asked = (
        f"SELECT {_COLUMNS}, f.module, f.qualname, f.fingerprint FROM poet.document d"
        " LEFT JOIN poet.function f ON f.id = d.function AND f.tenant = d.tenant WHERE d.tenant = %s AND d.kind = %s"
    )
    facts: list[object] = [said(tenant), said(kind)]
    if function is not None:
        asked += " AND d.function = %s"
        facts.append(function)
    if name is not None:
        asked += " AND d.name = %s"
        facts.append(said(name))
    return asked + ("" if ended else " AND d.open"), facts


def found(rows: Sequence[Row]) -> list[Document]:
    """The answer to ``question``, by function and name."""
    documents = [_document(row[:6], None if row[6] is None else FunctionKey(*map(heard, row[6:]))) for row in rows]
    return sorted(documents, key=rules.place_of)


def write(
    tx: Transaction, tenant: str, token: UUID, number: int, documents: Sequence[Document], wall: Callable[[], float]
) -> tuple[list[Document], bool]:
    """Keep each in place of the revision that it says. Raises StaleDocument where another is kept.

    Gives them as they are kept, and whether this request has kept them before, on a connection that was lost since.
    """
    again = []
    for each in sorted(documents, key=lambda each: each[:2]):  # in one order, so that two never wait in a circle
        kept = tx.ask(
            f"SELECT revision, token, at FROM poet.document WHERE {_PLACE} FOR UPDATE", _place(tenant, number, each)
        )
        if tx.again and kept and kept[0][1] == token:
            again.append(each._replace(revision=kept[0][0], at=kept[0][2]))
        else:
            rules.check_revision(each, kept[0][0] if kept else 0)
    if again:
        return again, True
    written = [each._replace(revision=each.revision + 1, at=wall()) for each in documents]
    for each in sorted(written, key=lambda each: each[:2]):
        facts = (*_place(tenant, number, each), each.open, each.revision, each.at, each.body, token)
        if not tx.ask(_REPLACE, (*facts, each.revision - 1)):  # another has begun it since we looked
            ((revision,),) = tx.ask(f"SELECT revision FROM poet.document WHERE {_PLACE}", _place(tenant, number, each))
            rules.check_revision(each._replace(revision=each.revision - 1), revision)
    return written, False


_REPLACE = (
    "INSERT INTO poet.document AS d (tenant, kind, function, name, open, revision, at, body, token)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (tenant, kind, function, name) DO UPDATE"
    " SET open = excluded.open, revision = excluded.revision, at = excluded.at, body = excluded.body,"
    " token = excluded.token WHERE d.revision = %s RETURNING revision"
)


def discarded(tenant: str, number: int, document: Document) -> Statement:
    """Deletes it where it is there."""
    return f"DELETE FROM poet.document WHERE {_PLACE}", _place(tenant, number, document)


def expired(tenant: str, before: float) -> Statement:
    """Deletes evidence that is over, of before [Unix s]; what another deletes already is left to it."""
    return (
        "DELETE FROM poet.document WHERE (tenant, kind, function, name) IN (SELECT tenant, kind, function, name"
        " FROM poet.document WHERE tenant = %s AND kind = %s AND NOT open AND at < %s FOR UPDATE SKIP LOCKED)",
        (said(tenant), EVIDENCE, before),
    )


def _place(tenant: str, number: int, document: Document) -> tuple[object, ...]:
    return said(tenant), said(document.kind), number, said(document.name)


def _document(row: Sequence[Any], function: FunctionKey | None) -> Document:
    kind, name, body, is_open, revision, at = row
    return Document(heard(kind), heard(name), body, function, is_open, revision, float(at))
