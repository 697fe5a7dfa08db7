"""What happens after an attempt has failed: events in, instructions out, without I/O; sync and async share it."""

from __future__ import annotations

from poet.calls.cell import Cell
from poet.calls.plan import Plan
from poet.errors import PoetTimeout
from poet.model.execution import Attempt, Detail, Outcome
from poet.settings import BACKOFF_CAP


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
    """One call from its first failed attempt on."""

    __slots__ = ("attempts", "began", "cell", "end", "plan", "start", "stretch", "waited")

    def __init__(self, cell: Cell, plan: Plan, start: float, limit: float, outer: float) -> None:
        """limit: of the first attempt; outer: the deadline around the call; moments on the monotonic clock [s]."""
        self.cell, self.plan, self.start = cell, plan, start
        self.end = min(outer, start + plan.deadline)
        # A probed longer limit holds for all attempts of its call. Halfway, as sums of clock readings round.
        self.stretch = limit - start > (plan.first + plan.stretched) / 2
        self.began: float | None = start
        self.waited = 0.0
        self.attempts: list[Attempt] = []

    def begin(self, now: float) -> float:
        """The pause is over: the limit [s] of the attempt that starts ``now``."""
        self.began = now
        return min(now + (self.plan.stretched if self.stretch else self.plan.timeout), self.end)

    def failed(self, error: BaseException, now: float, *, cut_off: bool = False) -> float | None:
        """The pause before the next attempt [s], or None: give up; the call is then handed over.

        cut_off: we ended the attempt at its limit, whatever the error's type.
        """
        outcome = Outcome.TIMEOUT if cut_off else self._classify(error)
        if self.began is None:  # disturbed during a pause
            self._close(outcome, now, type(error).__name__)
            return None
        self.attempts.append(Attempt(outcome, max(0.0, now - self.began), self.waited))
        self.began = None
        if outcome is Outcome.ERROR or outcome is Outcome.TIMEOUT:
            failures = len(self.attempts)
            if failures <= self.plan.retries or self._probes(failures):
                pause = full_jitter(self.plan.backoff, failures, self.cell.flip())
                if now + pause < self.end:
                    self.waited = pause
                    return pause
        self._close(outcome, now, PoetTimeout.__name__ if cut_off else type(error).__name__)
        return None

    def answered(self, now: float, limit: float) -> None:
        """The attempt has answered: hand the call over."""
        began = now if self.began is None else self.began
        outcome = Outcome.SUCCESS if now <= limit else Outcome.LATE
        self.attempts.append(Attempt(outcome, max(0.0, now - began), self.waited))
        self._close(outcome, now, "")

    def _classify(self, error: BaseException) -> Outcome:
        try:
            return self.cell.classify(error)
        except Exception:  # noqa: BLE001 - a user's predicate that fails must not hide the error it was asked about
            return Outcome.REFUSED

    def _probes(self, failures: int) -> bool:
        plan = self.plan
        return failures == plan.retries + 1 and plan.probe_retry > 0 and self.cell.flip() < plan.probe_retry

    def _close(self, outcome: Outcome, now: float, error: str) -> None:
        detail: Detail = (outcome, tuple(self.attempts), error, ())
        channel = self.cell.channel
        channel.keep((channel.count(), self.start, now, self.plan.version, detail))
