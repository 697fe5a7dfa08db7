"""What happens after an attempt has failed: events in, instructions out, without I/O; sync and async share it."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from types import MappingProxyType
from typing import Any

from poet.calls.cell import Cell
from poet.calls.choosing import NO_SCORE, Told
from poet.calls.deadline import DEADLINE
from poet.calls.enforce import Unsatisfying
from poet.calls.hedge import NONE_SENT, Sent, outcome_of
from poet.calls.plan import Plan
from poet.calls.pushback import LONGEST_PUSHBACK, pushback
from poet.calls.transient import was_not_processed
from poet.errors import PoetTimeout, ResultRejected, Shed
from poet.model.event import Event, Kind
from poet.model.execution import Attempt, Detail, Goals, Outcome, detailed
from poet.settings import BACKOFF_CAP

RETRIED = "_poet_retried"  # on an error: the limit of the attempt within which a call has retried in vain [s]
DEEPEST = 20  # links of a chain of causes that are looked at
WORTH_RETRYING = frozenset({Outcome.ERROR, Outcome.TIMEOUT})
_WORDS = MappingProxyType({outcome: outcome.name.lower() for outcome in Outcome})


def full_jitter(backoff: float, failures: int, coin: float) -> float:
    """Pause before the next attempt [s]: uniform in ``[0, min(cap, backoff * 2 ** (failures - 1))]``.

    failures: attempts so far, >= 1. coin: uniform in [0, 1).
    Brooker 2015, "Exponential backoff and jitter" (AWS Architecture Blog): full jitter sends the fewest requests of
    the variants compared there.

    >>> full_jitter(0.5, failures=3, coin=0.5)
    1.0
    """
    return coin * min(BACKOFF_CAP, backoff * 2.0 ** min(failures - 1, 30))


class Operation:
    """One call from the moment on that it is more than one attempt which succeeds."""

    __slots__ = (
        "attempts",
        "began",
        "below",
        "cell",
        "cut_off",
        "end",
        "error",
        "held",
        "limit",
        "outcome",
        "outer",
        "plan",
        "scored",
        "spent",
        "start",
        "stretch",
        "told",
        "waited",
    )

    def __init__(
        self, cell: Cell, plan: Plan, start: float, limit: float, outer: float, told: Told | None = None
    ) -> None:
        """limit: of the first attempt; outer: the deadline around the call; moments on the monotonic clock [s].

        told: what the call uses beside its plan; None: nothing.
        """
        self.cell, self.plan, self.start, self.told = cell, plan, start, told
        self.end = min(outer, start + plan.deadline)
        self.limit, self.outer = limit, outer  # of the attempt that runs, and of the one around it
        self.below = False  # whether a call within the last attempt has retried in vain
        # A probed longer limit holds for all attempts of its call. Halfway, as sums of clock readings round.
        self.stretch = limit - start > (plan.first + plan.stretched) / 2
        self.began = start
        self.waited = 0.0
        self.spent = 0.0  # cost of the results that were rejected
        self.held: list[float] = []  # by the budget, for each repetition
        self.attempts: list[Attempt] = []
        self.scored: tuple[float | None, Goals] = NO_SCORE
        self.error: BaseException | None = None  # that ended the last attempt
        self.outcome, self.cut_off = Outcome.SUCCESS, False  # of the last attempt

    @property
    def number(self) -> int:
        """Of the attempt that runs or has just ended, from 1; copies are not counted."""
        return 1 + sum(not attempt.hedge for attempt in self.attempts)

    def begin(self, now: float) -> float:
        """The pause is over: the limit [s] of the attempt that starts ``now``.

        Raises the error of the attempt before where the pause took longer than the deadline allows, or the brakes
        refuse another one; the call is then handed over.
        """
        if now >= self.end or not self._enters(now):
            error = self.error
            assert error is not None
            self._unsent()
            self.cell.brakes.bucket.ended()
            self._give_up(self.outcome, now)
            try:
                raise error  # where nothing is handled: the user's error keeps its own cause and context
            finally:
                del error  # else error -> traceback -> this frame -> error waits for the garbage collector
        self.began = now
        self.limit = min(now + (self.plan.stretched if self.stretch else self.plan.timeout), self.end)
        return self.limit

    def _enters(self, now: float) -> bool:
        """Whether the brakes let another attempt start."""
        brakes = self.cell.brakes
        if brakes.guarded:
            try:
                brakes.enter(self.cell.name, now)
            except Shed as shed:
                self._tell("shed", error=type(shed).__name__)
                return False
        return True

    def shed(self, error: BaseException, now: float) -> None:
        """The first attempt was not made: hand the call over."""
        self.error = error
        self.attempts.append(Attempt(Outcome.SHED, 0.0))
        self._tell("shed", error=type(error).__name__)
        self._close(Outcome.SHED, now)

    def disturbed(self, error: BaseException, now: float) -> None:
        """Something was raised during a pause: the call is over."""
        self.error, self.cut_off = error, False
        self._unsent()
        self._in_vain()
        self._close(outcome_of(self.cell, error), now)

    def failed(
        self, error: BaseException, now: float, *, cut_off: bool = False, sent: Sent = NONE_SENT
    ) -> float | None:
        """The pause before the next attempt [s], or None: give up; the call is then handed over.

        cut_off: we ended the attempt at its limit, whatever the error's type. sent: its requests.
        """
        self.outcome = outcome = Outcome.TIMEOUT if cut_off else outcome_of(self.cell, error)
        self.error, self.cut_off = error, cut_off
        self.below = _retried_within(error, self.limit)
        failures = self.number
        seconds = self._note(outcome, now, sent)
        self._tell("attempt_failed", failures, seconds, outcome=_WORDS[outcome])
        pause: float | None = None
        if outcome in WORTH_RETRYING:
            bucket = self.cell.brakes.bucket
            bucket.failed()
            pause = self._pause(error, outcome, failures, now)
            if pause is None:
                bucket.ended()
        if pause is None:
            self._give_up(outcome, now)
        else:
            self.waited = pause
        return pause

    def answered(self, now: float, limit: float, result: Any, sent: Sent = NONE_SENT) -> None:
        """The attempt has answered: hand the call over. sent: its requests."""
        outcome = Outcome.SUCCESS if now <= limit else Outcome.LATE
        self._note(outcome, now, sent)
        self.served()
        self.error = None
        chooser = self.cell.chooser
        if chooser is not None and chooser.scorer is not None:
            self.scored = chooser.scorer.score(result, now - self.start)
        self._close(outcome, now)

    def served(self) -> None:
        """The caller gets an answer: no repetition was in vain."""
        if self.held:
            self.cell.brakes.bucket.give_back(sum(self.held))
            self.held = []

    def _in_vain(self) -> None:
        """The caller gets none."""
        if self.held:
            self.cell.brakes.bucket.spend(len(self.held) - sum(self.held))
            self.held = []

    def _unsent(self) -> None:
        """The last repetition was not sent after all."""
        if self.held:
            self.cell.brakes.bucket.give_back(self.held.pop())

    def _note(self, outcome: Outcome, now: float, sent: Sent) -> float:
        """Write the attempt down; how long its first request took [s]."""
        own, seconds = (outcome, max(0.0, now - self.began)) if sent.own is None else sent.own
        self.attempts.append(Attempt(own, seconds, self.waited))
        self.attempts.extend(sent.copies)
        brakes = self.cell.brakes
        if brakes.guarded:
            brakes.ended(self.began, self.began + seconds, own)
        return seconds

    def _pause(self, error: BaseException, outcome: Outcome, failures: int, now: float) -> float | None:
        cell, plan, brakes = self.cell, self.plan, self.cell.brakes
        if failures > plan.retries and not self._probes(failures):
            return None
        if not cell.idempotent and not _had_no_effect(error):
            return None
        if self.below:  # retries within retries multiply the load
            return None
        if cell.cost_limit is not None:
            self.spent += getattr(error, "cost", 0.0) if isinstance(error, Unsatisfying | ResultRejected) else 0.0
            if self.spent >= cell.cost_limit:
                self._tell("budget_spent", failures, detail="cost")
                return None
        pause = full_jitter(plan.backoff, failures, cell.flip())
        asked = pushback(error)
        if asked is not None:
            if asked > LONGEST_PUSHBACK:
                return None
            pause += asked  # the jitter on top: not all who were sent away come back in the same instant
        if plan.instant:
            pause = 0.0
        if now + pause >= self.end:
            return None
        if brakes.circuit is not None and brakes.circuit.shut:
            return None
        if not plan.instant:  # a user's test is no load
            held = brakes.bucket.take(now, max(1, plan.retries - failures + 1))
            if held is None:
                self._tell("budget_spent", failures)
                return None
            self.held.append(held)
        self._tell("retry", failures, wait=pause, pushback=asked is not None)
        return pause

    def _probes(self, failures: int) -> bool:
        plan = self.plan
        return failures == plan.retries + 1 and plan.probe_retry > 0 and self.cell.flip() < plan.probe_retry

    def _give_up(self, outcome: Outcome, now: float) -> None:
        error = self.error
        if self.outer < math.inf and (self.below or self.number > 2) and error is not None:
            with suppress(Exception):  # an error without a dictionary of its own, or an odd one
                setattr(error, RETRIED, self.outer)
        self._in_vain()
        if outcome in WORTH_RETRYING:
            self._tell("gave_up", self.number - 1, outcome=_WORDS[outcome])
        self._close(outcome, now)

    def _close(self, outcome: Outcome, now: float) -> None:
        error = self.error
        name = "" if error is None else PoetTimeout.__name__ if self.cut_off else type(error).__name__
        detail: Detail | None
        detail = plainly = (outcome, tuple(self.attempts), name, ())
        if self.told is not None:
            _, context, draw, values = self.told
            detail = detailed(plainly, context, draw, values, self.scored)
        channel = self.cell.channel
        channel.keep((channel.count(), self.start, now, self.plan.version, detail))
        self.error = None  # its traceback holds the caller's frame, which holds this: arguments would outlive the call

    def _tell(
        self,
        kind: Kind,
        attempt: int = 0,
        seconds: float = 0.0,
        *,
        wait: float = 0.0,
        pushback: bool = False,
        outcome: str = "",
        error: str = "",
        detail: str = "",
    ) -> None:
        cell = self.cell
        if not error and self.error is not None:
            error = type(self.error).__name__
        cell.tell(Event(kind, cell.name, cell.brakes.name, attempt, seconds, wait, pushback, outcome, error, detail))


def _had_no_effect(error: BaseException) -> bool:
    try:
        return was_not_processed(error)
    except Exception:  # noqa: BLE001 - an odd error must not hide itself behind another; any doubt counts as an effect
        return False


def _retried_within(error: BaseException, limit: float) -> bool:
    """Whether a call within the attempt that had this ``limit`` has retried in vain; the mark is taken off.

    One that bears another limit was left by an earlier call, and the error has come up again.
    """
    found, link = False, error
    for _ in range(DEEPEST):
        found = found or vars(link).pop(RETRIED, None) == limit if hasattr(link, "__dict__") else found
        cause = link.__cause__ or link.__context__
        if cause is None:
            break
        link = cause
    return found


def expired(cell: Cell, plan: Plan, now: float, told: Told | None = None) -> PoetTimeout:
    """The error of a call whose deadline has passed before it began; it is handed over."""
    error = PoetTimeout(cell.name, 0.0)
    Operation(cell, plan, now, now, now, told).shed(error, now)
    return error


def admit(cell: Cell, plan: Plan, now: Callable[[], float], told: Told | None = None) -> tuple[float, float, float]:
    """Let a call in: its start, the limit of its first attempt and the deadline around it [s].

    Raises PoetTimeout, CircuitOpen or Overloaded where it is not let in; it is then handed over. Calls of plain and of
    asyncio's functions do the same in their own frame, as one more would cost each of them a tenth of all it pays.
    """
    start = now()
    limit = start + plan.first
    if plan.probe_limit and cell.flip() < plan.probe_limit:
        limit = start + plan.stretched
    outer = DEADLINE.get()
    if limit > outer:
        if outer <= start:
            raise expired(cell, plan, start, told)
        limit = outer
    if cell.brakes.guarded:
        try:
            cell.brakes.enter(cell.name, start)
        except Shed as error:
            Operation(cell, plan, start, limit, outer, told).shed(error, start)
            raise
    return start, limit, outer
