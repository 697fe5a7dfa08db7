"""What left: a ledger of epsilon for each tenant, function and month, and a record of each release; as documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from fractions import Fraction
from hashlib import blake2b
from typing import Any, NamedTuple

from poet.errors import StaleDocument
from poet.model.document import LONGEST_BODY, Document
from poet.model.function import FunctionKey
from poet.seams import Store

LEDGER, RECORD = "release.ledger", "release"  # kinds
FORMAT = 1
TRIES = 20  # of an entry, while others make theirs
LONGEST_WORDS = 500  # of who and why [characters]


class OverBudget(Exception):
    """So much epsilon is not left in this month. Wait for the next one, or ask for less."""

    def __init__(self, spent: Fraction, asked: Fraction, budget: Fraction) -> None:
        super().__init__(spent, asked, budget)
        self.spent, self.asked, self.budget = spent, asked, budget

    def __str__(self) -> str:
        return (
            f"epsilon {float(self.spent):g} of {float(self.budget):g} is spent in this month,"
            f" and this would take {float(self.asked):g}"
        )


class DamagedLedger(Exception):
    """What was spent cannot be read, so that nothing may be spent. A person is to look, and to discard it."""


class Ledger(NamedTuple):
    """Of one tenant, function and month."""

    tenant: str
    month: str  # as 2026-11, in UTC
    releases: int  # with noise and without
    spent: Fraction  # epsilon, exactly


class Record(NamedTuple):
    """One release, or one that spent epsilon and told nothing."""

    function: FunctionKey | None
    number: int  # within tenant, function and month, from 1
    at: float  # Unix time [s]
    by: str  # who asked
    why: str
    target: str  # the function that it is for
    tenant: str  # whose that is
    kind: str  # "calls" or "tunables"
    epsilon: float | None  # spent; None: no noise was added
    refused: str  # empty: it left
    left: Mapping[str, Any]  # all that left, as plain values


def month_of(at: float) -> str:
    """The month of a Unix time [s] in UTC.

    >>> month_of(1_764_547_199.0), month_of(1_764_547_200.0)
    ('2025-11', '2025-12')
    """
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m")


def charge(
    store: Store, function: FunctionKey, tenant: str, at: float, cost: Fraction, budget: Fraction | None
) -> Ledger:
    """Enter one release in the ledger, before anything is drawn; how it stands then.

    cost: epsilon, >= 0. budget: of a month; None: there is none, and the cost is zero.
    Raises OverBudget, DamagedLedger, StoreError: nothing was spent then, but where the store cannot tell.
    """
    month = month_of(at)
    name = f"{_short(tenant)}/{month}"
    for left in reversed(range(TRIES)):
        found = store.documents(LEDGER, function, name=name)
        revision = found[0].revision if found else 0
        known = _ledger(found[0], tenant, month) if found else Ledger(tenant, month, 0, Fraction(0))
        spent = known.spent + cost
        if budget is not None and spent > budget:
            raise OverBudget(known.spent, cost, budget)
        after = known._replace(releases=known.releases + 1, spent=spent)
        body = json.dumps({"format": FORMAT, "tenant": tenant, "releases": after.releases, "spent": str(spent)})
        try:
            store.keep(Document(LEDGER, name, body, function, revision=revision), quiet=True)
        except StaleDocument:  # somebody else was faster
            if not left:
                raise
        else:
            return after
    raise AssertionError("unreachable")


def ledgers(store: Store, function: FunctionKey | None = None) -> list[tuple[FunctionKey, Ledger]]:
    """How all of them stand, oldest month first; those that cannot be read are passed over."""
    told = []
    for each in store.documents(LEDGER, function):
        try:
            if each.function is not None:
                told.append((each.function, _ledger(each, None, each.name.rpartition("/")[2])))
        except DamagedLedger:
            continue
    return sorted(told, key=lambda pair: (pair[1].month, str(pair[0])))


def _ledger(document: Document, tenant: str | None, month: str) -> Ledger:
    try:
        told = json.loads(document.body)
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']!r}, and this release reads {FORMAT}")  # noqa: TRY301
        releases, spent = told["releases"], Fraction(told["spent"])
        if isinstance(releases, bool) or not isinstance(releases, int) or releases < 0 or spent < 0:
            raise ValueError(f"{releases!r} releases, {spent} spent")  # noqa: TRY301
        if not isinstance(told["spent"], str) or told["tenant"] != (told["tenant"] if tenant is None else tenant):
            raise ValueError(f"it is of tenant {told['tenant']!r}")  # noqa: TRY301
    except (ValueError, KeyError, TypeError, RecursionError, ZeroDivisionError) as error:
        raise DamagedLedger(f"the ledger {document.name} cannot be read: {error}") from error
    return Ledger(told["tenant"], month, releases, spent)


def _short(tenant: str) -> str:
    """As it is, where it fits the name of a document beside the month."""
    if len(tenant) <= 100:
        return tenant
    return blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def body_of(record: Record) -> str:
    """The text of a record. Raises ValueError where it is too long to be kept."""
    told = {**record._asdict(), "format": FORMAT, "by": record.by[:LONGEST_WORDS], "why": record.why[:LONGEST_WORDS]}
    del told["function"]
    body = json.dumps(told, separators=(",", ":"), allow_nan=False)
    if len(body) > LONGEST_BODY:
        raise ValueError(f"a record of {len(body)} bytes, and at most {LONGEST_BODY} can be kept")
    return body


def enter(store: Store, record: Record, source_tenant: str) -> None:
    """Keep a record. Raises ValueError, StoreError."""
    name = f"{_short(source_tenant)}/{month_of(record.at)}/{record.number:08d}"
    store.keep(Document(RECORD, name, body_of(record), record.function, open=False), quiet=True)


def records(store: Store, function: FunctionKey | None = None) -> tuple[list[Record], int]:
    """All of a function, or of all; oldest first. And how many cannot be read. Raises StoreError."""
    told, unread = [], 0
    for each in store.documents(RECORD, function):
        try:
            said = json.loads(each.body)
            told.append(
                Record(
                    each.function,
                    int(said["number"]),
                    float(said["at"]),
                    str(said["by"]),
                    str(said["why"]),
                    str(said["target"]),
                    str(said["tenant"]),
                    str(said["kind"]),
                    None if said["epsilon"] is None else float(said["epsilon"]),
                    str(said["refused"]),
                    dict(said["left"]),
                )
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            unread += 1
    return sorted(told, key=lambda record: (record.at, str(record.function), record.number)), unread
