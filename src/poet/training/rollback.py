"""What a person does to a function's versions: back to an older one, and that undone, as the history tells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from poet.errors import PoetError, StaleDocument, StaleParameters
from poet.model.document import Document, closed
from poet.model.function import FunctionKey
from poet.model.parameters import Change, Standing
from poet.seams import Store

GUARD = "poet"  # whose rollbacks do not pause learning
KIND = "rollback"  # of the documents that tell what a rollback by hand found
TRIES = 20  # of a change, while others change the same function
_LIVE_AFTERWARDS = frozenset({"publish", "rollback", "pin", "unpin", "pause", "resume", "promote", "import"})


class NothingToUndo(PoetError):
    """The last rollback cannot be undone: there was none, or something else went live since. Name a version instead."""

    def __init__(self, function: str, why: str) -> None:
        super().__init__(function, why)
        self.function, self.why = function, why

    def __str__(self) -> str:
        return f"{self.function}: {self.why}"


def roll_back(store: Store, function: FunctionKey, to: int | None, *, author: str, reason: str, at: float) -> Standing:
    """Make an older version live, pause learning, and end what is open of roll-outs and experiments, in one step.

    to: the version; None: the parent of the live one. at: Unix time [s]. Raises UnknownFunction, UnknownVersion, and
    StoreError where the store cannot be had.
    """
    for left in reversed(range(TRIES)):
        standing = store.standing(function)
        ended = closed(standing.steering, by=author, why=f"rolled back: {reason}", at=at)
        found = json.dumps({"reason": reason, "paused": standing.paused})
        beside = [*ended, Document(KIND, f"{standing.generation:012d}", found, function, open=False)]
        try:
            return store.rollback(function, to, author=author, reason=reason, beside=beside)
        except StaleDocument:  # a roll-out went on meanwhile: end it as it is now
            if not left:
                raise
    raise AssertionError("unreachable")


class Undo(NamedTuple):
    """What undoing the last rollback restores."""

    rollback: Change
    version: int  # that was live before it
    paused: str | None  # why learning was paused then; None: it was not


def undoing(function: FunctionKey, changes: Sequence[Change], live: int, found: Sequence[Document] = ()) -> Undo:
    """What there is to undo. changes: the history; live: the version that is live now. Raises NothingToUndo.

    found: what rollbacks by hand have noted of the state before them; the history alone does not tell for sure whether
    learning was paused, as what is taken back without a pause looks the same there.
    """
    place = max((i for i, change in enumerate(changes) if change.action == "rollback"), default=None)
    if place is None:
        raise NothingToUndo(function.name, "was never rolled back")
    done = changes[place]
    since = [each for each in changes[place + 1 :] if each.action in _LIVE_AFTERWARDS and each.version != done.version]
    if since or live != done.version:
        went = f"version {since[-1].version} went live ({since[-1].reason})" if since else f"version {live} is live"
        raise NothingToUndo(
            function.name, f"{went} since it was rolled back to {done.version}: name the version to go to with --to"
        )
    before = live_before(changes[:place])
    if before is None:
        raise NothingToUndo(function.name, "its history does not tell what was live before it was rolled back")
    newest = max(found, key=lambda document: document.name, default=None)
    noted = {} if newest is None else json.loads(newest.body)
    paused = (noted["paused"] or None) if noted.get("reason") == done.reason else _paused(changes[:place])
    return Undo(done, before, paused)


def undo(store: Store, function: FunctionKey, *, author: str, reason: str, at: float) -> Standing:
    """Make live again what was so before the last rollback, and let learning go on if it did; each in the history.

    Pins that the rollback has lifted stay lifted. Raises NothingToUndo, StoreError.
    """
    for left in reversed(range(TRIES)):
        standing = store.standing(function)
        known = undoing(function, store.history(function), standing.live.version, store.documents(KIND, function))
        said = f"undo of the rollback to {known.rollback.version}" + (f": {reason}" if reason else "")
        ended = closed(standing.steering, by=author, why=said, at=at)
        expected = standing.generation
        try:
            standing = store.point(
                function, "live", known.version, expected=expected, author=author, reason=said, beside=ended
            )
        except StaleParameters:
            if not left:
                raise
            continue
        if known.paused is None and standing.paused:
            return store.steer(function, author=author, reason=said, paused=False)
        if known.paused is not None and standing.paused != known.paused:
            return store.steer(function, author=author, reason=known.paused, paused=True)
        return standing
    raise AssertionError("unreachable")


def live_before(changes: Sequence[Change], at: float | None = None) -> int | None:
    """The version that was live last, or before the moment ``at`` [Unix s]; None: it was not recorded yet.

    >>> told = (1.0, "publish", 1), (5.0, "publish", 2), (6.0, "propose", 3)
    >>> story = [Change(*each, author="", reason="") for each in told]
    >>> live_before(story), live_before(story, 5.0), live_before(story, 1.0)
    (2, 1, None)
    """
    found = None
    for change in changes:
        if at is not None and change.at >= at:  # what came later may bear an earlier time, where a clock was set back
            break
        if change.action in _LIVE_AFTERWARDS:
            found = change.version
    return found


def _paused(changes: Sequence[Change]) -> str | None:
    """Why learning is paused after these; None: it is not."""
    why: str | None = None
    for change in changes:
        if change.action == "pause" or (change.action == "rollback" and change.author != GUARD):
            why = change.reason
        elif change.action == "resume":
            why = None
    return why
