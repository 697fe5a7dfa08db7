"""``poet rollback``: back to an older version, for one function or all, with what that changes and whom it touches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from poet.cli import views
from poet.cli.arguments import UsageError
from poet.cli.find import find, short_name
from poet.cli.views import ALIVE, LATELY, Document
from poet.errors import ConfigurationError, StoreAway, StoreCorrupt, StoreTooNew, UnknownVersion
from poet.model.execution import Execution
from poet.model.parameters import ParameterSet, Standing
from poet.seams import FunctionRecord, Store
from poet.settings import person
from poet.training.rollback import live_before, roll_back, undo, undoing

COUNTED = 10_000  # calls of the last hour that are looked at, at most
BY_HAND = "from the command line"
UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


@dataclass(frozen=True, slots=True)
class Rollback:
    """What was asked for. confirm: shown what would change, says whether it should; None: it should."""

    now: float  # Unix time [s]
    function: str | None = None
    all: bool = False
    to: int | Literal["last-good"] | None = None  # None: the parent of the live version
    before: float | None = None  # what was live before this moment, Unix time [s]
    undo: bool = False
    reason: str = ""
    confirm: Callable[[Document], bool] | None = None


def asked(words: object, now: float, confirm: Callable[[Document], bool] | None) -> Rollback:
    """What the words of the command line ask for. Raises UsageError, ConfigurationError."""
    text: str | None = getattr(words, "to_before", None)
    told = Rollback(
        now=now,
        function=getattr(words, "function", None),
        all=getattr(words, "all", False),
        to=getattr(words, "to", None),
        before=None if text is None else moment(text, now),
        undo=getattr(words, "undo", False),
        reason=getattr(words, "reason", ""),
        confirm=confirm,
    )
    if told.all == (told.function is not None):
        raise UsageError("rollback takes one function, or --all; poet rollback --help lists what there is")
    if (told.to is not None) + (told.before is not None) + told.undo > 1:
        raise UsageError("--to, --to-before and --undo exclude each other")
    if told.all and told.before is None and told.to != "last-good":
        raise UsageError("rollback --all needs --to-before TIME, or --to last-good")
    return told


def moment(text: str, now: float) -> float:
    """A moment as people write it, Unix time [s]; without a zone it is the local time. Raises ConfigurationError.

    ``2026-11-28 18:00``, ``2026-11-28T18:00:00+01:00``, ``18:00`` (the last time it was), ``2h`` (ago).
    """
    text = text.strip()
    number, unit = text[:-1], text[-1:]
    try:
        if unit in UNITS and number.isascii() and number.isdecimal() and len(number) <= 9:
            return now - int(number) * UNITS[unit]
        if len(text) in (5, 8) and text[2] == ":":
            day = datetime.fromtimestamp(now).date()
            at = datetime.fromisoformat(f"{day}T{text}")
            at = at if at.timestamp() <= now else at - timedelta(days=1)
        else:
            at = datetime.fromisoformat(text)
        when = at.timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigurationError(
            f"a time is written as 2026-11-28 18:00, as 18:00, or as 2h for two hours ago; got {text!r}"
        ) from None
    if when > now:
        raise ConfigurationError(f"{text} is yet to come: nothing has changed since")
    return when


class Step(NamedTuple):
    """One function, and where it is to go."""

    record: FunctionRecord
    short: str
    before: Standing
    target: ParameterSet


def run(store: Store, asked: Rollback) -> Document:
    """Do it. Raises UnknownFunction, AmbiguousFunction, UnknownVersion, NothingToUndo, StoreError."""
    records = store.functions()
    if asked.function is None:
        return _all(store, records, asked)
    record = find(asked.function, records)
    step = _step(store, record, short_name(record, records), asked)
    if step is None:
        raise ConfigurationError(f"{record.key.name} was not there yet: it has no version from before that moment")
    planned = _document(store, step, None, asked)
    if asked.confirm is not None and not asked.confirm(planned):
        return {**planned, "ok": False, "done": False}
    return planned | _document(store, step, _carry_out(store, step, asked), asked, radius=planned["radius"])


def _all(store: Store, records: list[FunctionRecord], asked: Rollback) -> Document:
    steps, left = [], []
    for record in records:
        short = short_name(record, records)
        step = _step(store, record, short, asked)
        if step is None:
            left.append({**views.identity(record, short), "why": "it was not there yet"})
        elif step.target.version == step.before.live.version:
            left.append({**views.identity(record, short), "why": "this version is live"})
        else:
            steps.append(step)
    planned = [_document(store, step, None, asked) for step in steps]
    facts = {"at": asked.now, "store": store.url, "before_moment": asked.before, "left": left}
    doc = views.document("rollback", **facts, planned=True, functions=planned)
    if asked.confirm is not None and steps and not asked.confirm(doc):
        return {**doc, "ok": False}
    parts = [
        part | _document(store, step, _carry_out(store, step, asked), asked, radius=part["radius"])
        for step, part in zip(steps, planned, strict=True)
    ]
    return views.document("rollback", **facts, planned=False, functions=parts)


def _step(store: Store, record: FunctionRecord, short: str, asked: Rollback) -> Step | None:
    """None: there was no version of it before the moment that was named."""
    key = record.key
    before = store.standing(key)
    versions = {version.version: version for version in store.versions(key)}
    target: int | None
    if asked.undo:
        target = undoing(key, store.history(key), before.live.version).version
    elif asked.before is not None:
        target = live_before(store.history(key), asked.before)
        if target is None:
            return None
    elif asked.to == "last-good":
        target = store.aliases(key)["last_good"].version
    else:
        target = before.live.parent if asked.to is None else asked.to
    if target not in versions:
        raise UnknownVersion(key.name, target or 0, tuple(versions))
    return Step(record, short, before, versions[target])


def _carry_out(store: Store, step: Step, asked: Rollback) -> Standing:
    key, reason = step.record.key, asked.reason
    if asked.undo:
        return undo(store, key, author=person(), reason=reason, at=asked.now)
    said = reason or f"rolled back {BY_HAND}"
    return roll_back(store, key, step.target.version, author=person(), reason=said, at=asked.now)


def _document(
    store: Store, step: Step, after: Standing | None, asked: Rollback, *, radius: Document | None = None
) -> Document:
    """What has changed, or with ``after`` None what would; with whom it touches."""
    before = step.before
    then = after or before._replace(live=step.target, paused=asked.reason or f"rolled back {BY_HAND}")
    return views.steered("rollback", step.record, before, then, short=step.short) | {
        "planned": after is None,
        "undone": asked.undo,
        "radius": radius or _radius(store, step.record, before, asked.now),
        "ends": [{"kind": each.kind, "name": each.name} for each in before.steering],
    }


def _radius(store: Store, record: FunctionRecord, standing: Standing, now: float) -> Document:
    """Whom a change touches: processes that called the function within the hour and are alive, and how often."""
    calls: list[Execution] | None
    try:
        calls = list(store.executions(record.key, since=now - LATELY, limit=COUNTED))
    except (StoreAway, StoreCorrupt, StoreTooNew):
        calls = None
    alive = [report for report in store.processes() if now - report.seen <= ALIVE]
    if calls is not None:
        writers = {call.writer for call in calls}
        alive = [report for report in alive if report.writer in writers]
    hosts: Mapping[str, None] = dict.fromkeys(sorted(report.host for report in alive))
    return {
        "calls": None if calls is None else len(calls),
        "more_calls": calls is not None and len(calls) == COUNTED,
        "under_live": None if calls is None else sum(call.version == standing.live.version for call in calls),
        "processes": [views.process_name(report) for report in alive],
        "hosts": list(hosts),
    }
