"""Hedged attempts: a copy is sent where the first request is slow, and the first answer wins.

Dean & Barroso 2013, "The tail at scale". What tasks and threads share; `hedge_tasks` and `hedge_threads` run the race.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from poet.calls.cell import Cell
from poet.errors import Shed
from poet.model.event import Event, Kind
from poet.model.execution import Attempt, Outcome

SENT = "_poet_sent"  # on an error: the requests of the hedged attempt that it ended


class Sent(NamedTuple):
    """The requests of an attempt that may have been hedged."""

    copies: tuple[Attempt, ...] = ()
    own: tuple[Outcome, float] | None = None  # how the first one ended and after how long [s], where not as the attempt


class Raced(NamedTuple):
    """The answer of an attempt that was hedged."""

    result: Any
    sent: Sent


NONE_SENT = Sent()


def sent_before(error: BaseException) -> Sent:
    """The requests of the attempt that ended with ``error``."""
    # Not by getattr: a ``__getattr__`` that raises would hide the error, and keep its place in the brakes.
    return vars(error).pop(SENT, NONE_SENT) if hasattr(error, "__dict__") else NONE_SENT


def mark(error: BaseException, sent: Sent) -> None:
    """Note on ``error`` the requests of the attempt that it ends."""
    if sent.copies:
        with suppress(Exception):  # an error without a dictionary of its own, or an odd one: copies go unrecorded
            setattr(error, SENT, sent)


def tell(cell: Cell, kind: Kind) -> None:
    """Tell the listeners of a hedge."""
    cell.tell(Event(kind, cell.name, cell.brakes.name))


def may_hedge(cell: Cell, now: float) -> bool:
    """Whether a copy may be sent now; it has then entered the brakes, and is paid for and told of."""
    brakes = cell.brakes
    if brakes.circuit is not None and brakes.circuit.shut:
        return False
    if not brakes.bucket.take_whole(now):
        tell(cell, "budget_spent")
        return False
    if brakes.guarded:
        try:
            brakes.enter(cell.name, now)
        except Shed:
            brakes.bucket.give_back(1.0)
            return False
    tell(cell, "hedge")
    return True


class Copy:
    """One further request."""

    __slots__ = ("attempt", "start", "waited", "work")

    def __init__(self, start: float, waited: float) -> None:
        """waited: since the start of the first request [s]."""
        self.start, self.waited = start, waited
        self.work: Any = None  # the task or the job that makes the request
        self.attempt: Attempt | None = None  # how it ended

    def end(self, outcome: Outcome, now: float, cell: Cell) -> None:
        """It is over, and leaves the brakes."""
        self.attempt = Attempt(outcome, max(0.0, now - self.start), self.waited, True)
        if cell.brakes.guarded:
            cell.brakes.ended(self.start, now, outcome)


def give_up(
    copies: Sequence[Copy], now: float, cell: Cell, leave: Callable[[Any], object] = lambda work: None
) -> tuple[Attempt, ...]:
    """The attempt is over: what became of its copies. leave: called with the work of those that still run."""
    for copy in copies:
        if copy.attempt is None:
            leave(copy.work)
            copy.end(Outcome.CANCELLED, now, cell)
        copy.work = None  # else task -> its error -> traceback -> race -> copy -> task waits for the collector
    return tuple(copy.attempt for copy in copies if copy.attempt is not None)


def outcome_of(cell: Cell, error: BaseException) -> Outcome:
    """How an attempt that ended with ``error`` ended."""
    try:
        return cell.classify(error)
    except Exception:  # noqa: BLE001 - a user's predicate that fails must not hide the error it was asked about
        return Outcome.REFUSED
