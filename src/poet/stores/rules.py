"""What every store does alike, wherever it keeps things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import lt

from poet.errors import StaleDocument
from poet.model.document import LONGEST_BODY, LONGEST_NAME, STEERING, THIS_VERSION, Document
from poet.model.execution import Execution
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet
from poet.model.tunable import Value
from poet.seams import FunctionRecord

LIVE: AliasName = "live"  # the alias that calls follow
Places = Mapping[AliasName, int]  # by name the version where it stands
MOST_SEQUENCE = 1 << 62  # of an execution, exclusive
REPORTS = 1000  # processes whose last report is kept; a script that runs every minute must not fill the store


def counted(record: FunctionRecord, executions: Sequence[Execution]) -> FunctionRecord:
    """``record`` with these, at least one, counted, too."""
    return record._replace(
        calls=record.calls + len(executions),
        failures=record.failures + sum(not execution.outcome.good for execution in executions),
        seconds=record.seconds + sum(execution.seconds for execution in executions),
        last_call=max(record.last_call, *[execution.started for execution in executions]),
    )


def declared_version(record: FunctionRecord, at: float) -> ParameterSet:
    """Version 1 of a function: the values of its declaration. ``at``: Unix time [s]."""
    return ParameterSet(values_=record.declared, version=1, reason="declared in the code", created=at)


def change(at: float, action: str, version: int, author: str, reason: str) -> Change:
    """An entry of a history; ``action`` is one of ``Change``'s."""
    return Change(at, action, version, author, reason)  # type: ignore[arg-type]


def next_version(draft: ParameterSet, live: ParameterSet, newest: int, at: float) -> ParameterSet:
    """``draft`` as the version after ``newest``, a child of ``live``; made at ``at`` [Unix s] where it does not say."""
    return draft.changed(version=newest + 1, parent=live.version, created=draft.created or at)


def pinned_draft(live: ParameterSet, pinned: Mapping[str, Value], author: str, reason: str) -> ParameterSet:
    """The live values with those that a person pinned."""
    return ParameterSet(
        values_={**live, **pinned}, origin="manual", author=author, reason=reason, evidence=live.evidence
    )


def lasting_pins(pinned: Mapping[str, Value], restored: ParameterSet) -> dict[str, Value]:
    """The pins that a restored version keeps to; to go back behind a pin is to lift it."""
    return {name: value for name, value in pinned.items() if name in restored and restored[name] == value}


def first_places() -> dict[AliasName, int]:
    """Where names stand for a function that is new."""
    return {"live": 1, "last_good": 1}


def after_publish(
    places: Places, version: int, alias: AliasName | None, *, pinned: bool = False
) -> dict[AliasName, int]:
    """A new ``version`` is live, or the canary; ``pinned``: it holds what a person fixed. None: it has no name."""
    if alias is None:
        return dict(places)
    if alias != LIVE:
        return {**places, alias: version}
    moved = {**places, "live": version, "last_good": places["live"]}
    return {**moved, "pinned": version} if pinned else moved


def after_rollback(places: Places, version: int, *, pinned: bool) -> dict[AliasName, int]:
    """An older ``version`` is live again; ``pinned``: some pins have lasted."""
    gone = {"canary"} if pinned else {"canary", "pinned"}
    return {**{name: at for name, at in places.items() if name not in gone}, "live": version, "last_good": version}


def after_unpin(places: Places) -> dict[AliasName, int]:
    """No value is fixed any more."""
    return {name: at for name, at in places.items() if name != "pinned"}


def check_publishable(alias: str | None) -> None:
    """Raises ValueError where a new version cannot have this name."""
    if alias not in ("live", "canary", None):
        raise ValueError(f"a new version goes live or becomes the canary, not {alias!r}")


def after_point(places: Places, alias: AliasName, version: int | None) -> dict[AliasName, int]:
    """A name was moved by itself. Raises ValueError where it cannot be without a version, or cannot be moved."""
    if alias not in ("live", "canary", "last_good"):
        raise ValueError(f"alias must be live, canary or last_good, got {alias!r}")
    if version is None:
        if alias != "canary":
            raise ValueError(f"{alias} always stands somewhere: name a version")
        return {name: at for name, at in places.items() if name != alias}
    moved = {**places, alias: version}
    if alias == LIVE and version != places["live"]:
        moved["last_good"] = places["live"]
        if places.get("canary") == version:
            del moved["canary"]
    return moved


def published_as(alias: str | None) -> str:
    """What history calls a new version that has this name."""
    return "arm" if alias is None else "publish" if alias == LIVE else "propose"


def check_document(document: Document) -> Document:
    """``document`` where it can be kept. Raises ValueError."""
    for what, text in (("kind", document.kind), ("name", document.name)):
        if not (isinstance(text, str) and 0 < len(text) <= LONGEST_NAME) or "\0" in text:
            raise ValueError(f"the {what} of a document must be a text of 1 to {LONGEST_NAME} characters, got {text!r}")
        text.encode()  # a half character cannot be kept, and is a ValueError
    if document.revision < 0:
        raise ValueError(f"the revision of the {document.kind} {document.name!r} must be >= 0, got {document.revision}")
    if len(document.body.encode()) > LONGEST_BODY:
        raise ValueError(f"the {document.kind} {document.name!r} must be of at most {LONGEST_BODY} bytes")
    import json  # here: most processes keep none

    try:
        json.loads(document.body)
    except ValueError as error:
        raise ValueError(f"the {document.kind} {document.name!r} must be a JSON text: {error}") from None
    return document


def beside(documents: Sequence[Document], function: FunctionKey, version: int) -> list[Document]:
    """Documents that are kept with a new version. Raises ValueError where one is about another function, or twice."""
    for document in documents:
        if document.function != function:
            raise ValueError(f"the {document.kind} {document.name!r} is not about {function.name}")
        if sum(each[:2] == document[:2] for each in documents) > 1:
            raise ValueError(f"the {document.kind} {document.name!r} stands twice among what is to be kept")
    return [check_document(each._replace(body=each.body.replace(THIS_VERSION, str(version)))) for each in documents]


def check_revision(document: Document, kept: int) -> None:
    """kept: the revision that is there; 0: none. Raises StaleDocument where it is not the one to be replaced."""
    if document.revision != kept:
        raise StaleDocument(f"{document.kind} {document.name}", document.revision, kept)


def place_of(document: Document) -> tuple[tuple[str, ...], str]:
    """Where it stands among those of its kind: those of no function first."""
    return document.function or (), document.name


def steering_after(before: Sequence[Document], written: Sequence[Document]) -> tuple[Document, ...]:
    """Documents that steer a function, once these are kept."""
    places = {each[:2]: each for each in (*before, *written) if each.kind in STEERING}
    return tuple(sorted([each for each in places.values() if each.open], key=lambda each: each[:2]))


def wrong_with(document: Document, function: int, names: Mapping[int, str], places: Places) -> list[str]:
    """What is wrong with a document as it is kept.

    function: its number, 0 for none. names: those of all functions. places: where names of its versions stand.
    """
    what = f"{names.get(function, function)}: {document.kind} {document.name}" if function else document.name
    found = []
    import json

    version = None
    try:
        told = json.loads(document.body)
        version = told.get("version") if isinstance(told, dict) else None
    except ValueError as error:
        found.append(f"{what} is no JSON: {error}")
    if function and function not in names:
        found.append(f"{what} is of a function that is not there")
    elif document.kind == "rollout" and document.open and "canary" not in places and places.get(LIVE) != version:
        # a version that has just gone live is looked at for a while longer
        found.append(f"{what} is under way, but no version is the canary")
    return found


def action_of(alias: AliasName, version: int | None) -> str:
    """What history calls the moving of a name."""
    return "withdraw" if version is None else {"live": "promote", "canary": "propose", "last_good": "vouch"}[alias]


def moved(
    aliases: Mapping[AliasName, Alias], places: Places, generation: int
) -> tuple[dict[AliasName, Alias], list[AliasName]]:
    """The aliases at ``places``, those that moved there with the new ``generation``; and the names that are gone."""
    kept = {
        name: aliases[name] if name in aliases and aliases[name].version == at else Alias(at, generation)
        for name, at in places.items()
    }
    return kept, [name for name in aliases if name not in places]


def pause_text(reason: str, author: str, action: str) -> str:
    """Why learning is paused; never empty, as empty says that it is not."""
    return reason or f"{action} by {author or 'an unnamed author'}"


def age(execution: Execution) -> tuple[float, str, int]:
    """The order in which executions come back: oldest start first, and always the same among equals."""
    return execution.started, execution.writer, execution.sequence


def asked(ids: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    """Of each writer the sequences, ascending, that there may be."""
    wanted: dict[str, set[int]] = {}
    for writer, sequence in ids:
        if 0 <= sequence < MOST_SEQUENCE:
            wanted.setdefault(writer, set()).add(sequence)
    return {writer: sorted(sequences) for writer, sequences in wanted.items()}


def by_writer(executions: Iterable[Execution]) -> dict[str, list[Execution]]:
    """Executions of each writer by ascending sequence; of several with one sequence the first."""
    executions = list(executions)
    if len({execution.writer for execution in executions}) == 1:  # as a trainer hands them over, most often in order
        sequences = [execution.sequence for execution in executions]
        if all(map(lt, sequences, sequences[1:])):
            return {executions[0].writer: executions}
    writers: dict[str, dict[int, Execution]] = {}
    for execution in executions:
        writers.setdefault(execution.writer, {}).setdefault(execution.sequence, execution)
    return {writer: [rows[sequence] for sequence in sorted(rows)] for writer, rows in writers.items()}
