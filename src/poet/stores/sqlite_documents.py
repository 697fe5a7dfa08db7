"""SQL on documents, in an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from poet.model.document import EVIDENCE, STEERING, Document
from poet.model.function import FunctionKey
from poet.stores import rules
from poet.stores.rows import text

NO_FUNCTION = 0  # in place of a function's number, which is 1 at least
_OF = "function = ? AND kind = ? AND name = ?"
_KINDS = ", ".join(f"'{kind}'" for kind in STEERING)


def steering(file: sqlite3.Connection, number: int, function: FunctionKey) -> tuple[Document, ...]:
    """Those of the function that say which version a call gets, by kind and name."""
    rows = file.execute(
        f"SELECT kind, name, body, open, revision, at FROM document WHERE function = ? AND kind IN ({_KINDS})"  # noqa: S608
        " AND open ORDER BY kind, name",
        (number,),
    )
    return tuple([_document(row, function) for row in rows])


def found(file: sqlite3.Connection, kind: str, number: int | None, name: str | None, *, ended: bool) -> list[Document]:
    """Those of a kind. number: of one function; None: of all, and of none."""
    asked = "SELECT kind, name, body, open, revision, at, module, qualname, fingerprint FROM document"
    asked += " LEFT JOIN function ON function.id = document.function WHERE kind = ?"
    facts: list[object] = [text(kind)]
    if number is not None:
        asked += " AND function = ?"
        facts.append(number)
    if name is not None:
        asked += " AND name = ?"
        facts.append(text(name))
    if not ended:
        asked += " AND open"
    rows = file.execute(asked, facts).fetchall()
    documents = [_document(row[:6], None if row[6] is None else FunctionKey(*row[6:])) for row in rows]
    return sorted(documents, key=rules.place_of)


def write(
    file: sqlite3.Connection, number: int, documents: Sequence[Document], wall: Callable[[], float]
) -> list[Document]:
    """Keep each in place of the revision that it says; none of them where another is kept. Raises StaleDocument."""
    for each in documents:
        kept = file.execute(f"SELECT revision FROM document WHERE {_OF}", (number, each.kind, each.name)).fetchone()  # noqa: S608
        rules.check_revision(each, 0 if kept is None else kept[0])
    written = [each._replace(revision=each.revision + 1, at=wall()) for each in documents]
    file.executemany(
        "INSERT OR REPLACE INTO document (function, kind, name, open, revision, at, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(number, each.kind, each.name, each.open, each.revision, each.at, each.body) for each in written],
    )
    _count(file, number, documents)
    return written


def discard(file: sqlite3.Connection, number: int, document: Document) -> None:
    """Delete it where it is there."""
    file.execute(f"DELETE FROM document WHERE {_OF}", (number, text(document.kind), text(document.name)))  # noqa: S608
    _count(file, number, [document])


def expire(file: sqlite3.Connection, before: float) -> None:
    """Delete evidence that is over, of before [Unix s]."""
    file.execute("DELETE FROM document WHERE kind = ? AND NOT open AND at < ?", (EVIDENCE, before))


def _count(file: sqlite3.Connection, number: int, touched: Sequence[Document]) -> None:
    """How many steer the function stands in its row, which whoever asks for its standing reads anyway."""
    if number != NO_FUNCTION and any(each.kind in STEERING for each in touched):
        file.execute(
            "UPDATE function SET steering = (SELECT count(*) FROM document WHERE document.function = function.id"  # noqa: S608
            f" AND kind IN ({_KINDS}) AND open) WHERE id = ?",
            (number,),
        )


def _document(row: tuple[str, str, str, int, int, float], function: FunctionKey | None) -> Document:
    kind, name, body, is_open, revision, at = row
    return Document(kind, name, body, function, bool(is_open), revision, at)
