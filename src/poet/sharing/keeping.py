"""Fingerprints in a store: a document of each function, which processes that run it keep up to date. Loads no numpy."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable

from poet.errors import StaleDocument
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.likeness import Behaviour, Fingerprint
from poet.seams import Store
from poet.sharing.behaviour import LEAST, behaviour
from poet.sharing.packing import Poisoned, packed, unpacked

KIND, NAME = "fingerprint", "code and behaviour"
NEWEST = 2000  # executions that behaviour is measured from
GROWN = 2  # times as many calls as before: then it is measured anew
STALE = 7 * 86_400.0  # age of a measurement, after which a single new call is enough [s]
FORMAT = 1


def read(document: Document) -> Fingerprint:
    """The fingerprint in a document, which anyone may have written. Raises Poisoned with the reason."""
    try:
        told = json.loads(document.body)
        if told["format"] != FORMAT:
            raise Poisoned(f"a fingerprint's document of format {told['format']!r}, and this release reads {FORMAT}")
        data = base64.b64decode(told["packed"], validate=True)
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        if isinstance(error, Poisoned):
            raise
        raise Poisoned(f"no fingerprint's document: {type(error).__name__}: {error}") from None
    return unpacked(data)


def kept(store: Store, function: FunctionKey) -> tuple[Document | None, Fingerprint | None]:
    """The document of a function, and its fingerprint; None where there is none, or it cannot be true."""
    found = store.documents(KIND, function, name=NAME)
    if not found:
        return None, None
    try:
        return found[0], read(found[0])
    except Poisoned:
        return found[0], None


def measured(store: Store, function: FunctionKey) -> Behaviour | None:
    """What the function's calls were like, by what the store keeps of them; None: there are too few."""
    live = store.standing(function).live
    learned = {} if live.origin == "declared" else dict(live)
    hours = store.hours(function)
    calls = sum(hour.calls for hour in hours)
    told = behaviour(list(store.executions(function, limit=NEWEST)), hours, learned)
    return None if told is None else told._replace(executions=max(told.executions, calls))


def introduce(
    store: Store, function: FunctionKey, code: Fingerprint, meaning: Callable[[], bytes] | None = None
) -> bool:
    """Keep what the code says of a function, and its behaviour where that is due; whether anything was kept.

    code: words, types, domain and tunables. meaning: embeds the text that the words are of; asked where they are new.
    Others may do the same at the same time: then theirs holds. The function's
    generation grows, so that other processes notice. Raises UnknownFunction, StoreUnavailable.
    """
    document, before = kept(store, function)
    known = None if before is None else before.behaviour
    if before is not None and before.meaning and before.words == code.words:
        code = code._replace(meaning=before.meaning)
    elif meaning is not None:
        code = code._replace(meaning=meaning())
    after = code._replace(behaviour=known)
    if _due(store, function, document, known):
        after = code._replace(behaviour=measured(store, function) or known)
    if document is not None and before is not None and packed(after) == packed(before):
        return False
    try:
        keep(store, function, after, 0 if document is None else document.revision)
    except StaleDocument:
        return False
    return True


def keep(store: Store, function: FunctionKey, fingerprint: Fingerprint, revision: int) -> Document:
    """Keep it in place of the document of that revision. Raises StaleDocument, UnknownFunction."""
    body = json.dumps({"format": FORMAT, "packed": base64.b64encode(packed(fingerprint)).decode("ascii")})
    return store.keep(Document(KIND, NAME, body, function, revision=revision))


def _due(store: Store, function: FunctionKey, document: Document | None, known: Behaviour | None) -> bool:
    hours = store.hours(function)
    calls = sum(hour.calls for hour in hours)
    if document is None or known is None:
        return calls >= LEAST
    newest = max((hour.start for hour in hours), default=0.0)
    return calls >= GROWN * known.executions or (calls > known.executions and newest > document.at + STALE)
