"""Do our own extra requests make things worse? If they do, fewer are sent; and only then.

Retries and copies help where a service fails by chance, and feed the fire where it fails under load (Bronson et al.
2021, "Metastable failures in distributed systems"). From the outside both look alike: failures, and requests that
follow them. What tells them apart is to do without for a while. Two experiments are made, both judged by first attempts
only, as those are what an extra request can do harm to:

- *raising*: how many extra requests a plan may send per call begins low and is raised step by step, as long as plans
  want more and first attempts stay as good as before;
- *listening*: where first attempts are far worse than usual while many extra requests are sent, it is first looked how
  bad they are, for some twenty calls, and then no extra ones are sent for some calls. If first attempts recover within
  these, the trouble was of our own making: from then on few are sent, and the next trouble is met in the same way where
  only few are sent. If they do not, its cause lies outside, and the next experiment waits twice as long.

Standard library only. Counts calls, knows no clock. Of processes that learn together each makes these experiments for
itself, by calls of its own; what it found is told with its next contribution, for whoever starts later.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from poet.kernels.online.bins import BINS, EDGES, bin_of
from poet.learning.checks import count, number, numbers

START = 0.1  # extra requests per call that a plan may send to begin with, unless what is live sends more
STEP = 2.0  # factor of one raising
ENOUGH = 1.6  # from which on nothing is held back any more
PATIENCE = 20  # calls from one raising to the next
HOLD = 1000  # calls until the next raising where one did harm, three times as many each time

LISTEN = 60  # calls without extra requests, at least ...
DRAIN = 30  # ... and so many more for each time that they were twice as many: load takes time to fall
GAP = 100  # calls after listening in vain, doubling each time ...
MOST_GAP = 1600  # ... up to this; then the trouble is what is usual now
LONGEST = 300  # calls of listening where trouble was of our own making before
AMPLIFIED = 0.15  # extra requests per call, from which on they may be the cause
SUSPECT = 0.05  # the same where trouble was of our own making before

USUAL = 30  # calls after which it is known what is usual
RENEW = 1000  # calls without trouble after which it is taken anew
SHARE = 0.9  # of the first attempts that are answered as quickly as usual

_KEEP = 0.5 ** (1 / 20.0)  # of how first attempts fare, per first attempt
_LISTENING_KEEP = 0.5 ** (1 / 14.0)  # the same while listening: how they fare now counts
_EXTRA_KEEP = 0.5 ** (1 / 60.0)  # of the extra requests, per call
_SETTLED = 0.6 / (1 - _KEEP)  # first attempts that say how things are
_APART = 0.2  # difference of two shares that counts ...
_SURE = 3.0  # ... if it is so many standard errors, too
ONSET = 14.0  # first attempts since trouble began that tell how bad it is
_FINE = 10_000  # steps in which chances are kept, as thousands of functions keep some
_FEW = 5.0  # first attempts that say nothing yet


_NUMBERS: Mapping[str, type] = {
    "allowed": float,
    "listening": bool,
    "feared": bool,
    "_onset": bool,
    "_usual": float,
    "_bad": float,
    "_weight": float,
    "_extra": float,
    "_before": float,
    "_until": int,
    "_begun": int,
    "_gap": int,
    "_hold": int,
    "_quiet": int,
}


class Heard(NamedTuple):
    """What the first attempts of some calls say, newest last."""

    bad: Sequence[bool]  # whether each was not answered as quickly as usual; those that do not tell are left out
    calls: int
    extra: int  # requests beyond the first of each call


class Strain:
    """The two experiments of one function."""

    __slots__ = (
        "_bad",
        "_before",
        "_begun",
        "_curve",
        "_extra",
        "_gap",
        "_hold",
        "_onset",
        "_quiet",
        "_until",
        "_usual",
        "_weight",
        "allowed",
        "feared",
        "listening",
        "quick",
    )

    def __init__(self) -> None:
        self.allowed = START  # extra requests per call that a plan may send
        self.listening = False
        self.feared = False  # whether trouble was of our own making before
        self.quick = math.inf  # time by which first attempts are judged, at most the timeout in force [s]
        self._curve = array("H")  # chance of an answer by each knot, as usual [1/_FINE]; empty: not known yet
        self._usual = 0.0  # share of first attempts that are usually not answered by ``quick``
        self._bad = self._weight = 0.0  # of first attempts of late
        self._extra = 0.0  # requests per call, of late
        self._onset = False  # whether trouble has begun, and it is looked how bad it is
        self._before = 0.0  # share of bad ones before listening
        self._begun = 0  # call at which listening began
        self._until = 0  # call at which listening is to end, or the next experiment may begin
        self._gap, self._hold = GAP, HOLD
        self._quiet = 0  # last call at which it was taken what is usual, or there was trouble

    @property
    def share(self) -> float:
        """Of bad first attempts, of late."""
        return self._bad / self._weight if self._weight else 0.0

    @property
    def ends(self) -> float:
        """Call at which listening is to end; inf: nobody listens."""
        return self._until if self.listening else math.inf

    @property
    def usual(self) -> float:
        """Share of first attempts that are usually bad."""
        return self._usual

    @property
    def before(self) -> float:
        """Share of bad first attempts before it began to listen."""
        return self._before

    def waits(self, calls: int) -> int:
        """Calls after ``calls`` until listening is to end or, where nobody listens, until more may be allowed."""
        return max(0, self._until - calls)

    def stale(self, calls: int) -> bool:
        """Whether it is time to take anew what is usual, of a function that has made so many ``calls``."""
        if not self._curve:
            return calls >= USUAL
        return not self.listening and calls - self._quiet >= RENEW

    def knows(self, curve: Sequence[float], limit: float, calls: int) -> None:
        """From now on ``curve``, the chance of an answer by each knot, is usual. limit: timeout in force [s]."""
        self._curve, self._quiet = array("H", (round(each * _FINE) for each in curve)), calls
        self.under(limit)

    def under(self, limit: float) -> None:
        """The timeout in force is ``limit`` [s] from now on."""
        if not self._curve:
            return
        place = min(bisect_left(self._curve, SHARE * self._curve[-1]), bin_of(limit), BINS - 1)
        quick = EDGES[place - 1] if place else EDGES[0]
        self._usual = 1.0 - self._curve[place] / _FINE
        if quick != self.quick:
            self.quick = quick
            self._bad = self._weight = 0.0

    def hear(self, heard: Heard, calls: int) -> bool:
        """Take in the newest calls of a function that has made ``calls``; True: what is to be done has changed."""
        if heard.calls:
            keep = _EXTRA_KEEP**heard.calls
            self._extra = keep * self._extra + (1 - keep) * heard.extra / heard.calls
        keep = _LISTENING_KEEP if self.listening else _KEEP
        for bad in heard.bad:
            self._bad = keep * self._bad + bad
            self._weight = keep * self._weight + 1.0
        if self.listening:
            return self._judged(calls)
        if self._onset and self._weight < ONSET:
            return False
        if not self._troubled():
            self._onset = False
            return False
        self._quiet = calls
        if calls < self._until or self._extra < (SUSPECT if self.feared else AMPLIFIED):
            return False
        if not self._onset:  # of late there were mostly good ones: how bad it is now is seen by what comes from here on
            self._onset, self._bad, self._weight = True, 0.0, 0.0
            return False
        self.listening, self._before, self._onset = True, self.share, False
        self._until = calls + LISTEN + int(DRAIN * math.log2(max(1.0, self._extra / AMPLIFIED)))
        self._begun = calls
        return True

    def wants(self, calls: int) -> bool:
        """A plan wants more than is allowed. True: it may have it."""
        known = self._curve and self._weight > 0.5 / (1 - _KEEP)
        if self.listening or self.allowed >= ENOUGH or calls < self._until or not known or self._troubled():
            return False
        self.allowed *= STEP
        self._until = calls + PATIENCE
        return True

    def elsewhere(self, calls: int) -> None:
        """So many ``calls`` were made by others, or, below 0, were not: it waits for calls of its own."""
        self._until, self._quiet = (max(0, call + calls) for call in (self._until, self._quiet))

    def after(self, before: Strain) -> Strain:
        """This, which is newer than ``before`` of somebody else, and does not forget what that one has found."""
        if before.feared and not self.feared:
            self.feared, self.allowed = True, before.allowed
        return self

    def among(self, calls: int, before: int, curve: Sequence[float], limit: float) -> Strain:
        """A copy for another part of the calls, ``calls`` of them so far, where this has counted ``before``.

        What harm was found holds for them, too. curve, limit: what is usual among them, as for ``knows``; they are
        taken to have fared so of late.
        """
        strain = Strain.of(self.dump())
        strain.listening = strain._onset = False
        strain.elsewhere(calls - before)
        if not strain.feared:
            strain._until = min(strain._until, calls)
        strain.quick = math.inf
        strain.knows(curve, limit, calls)
        strain._weight = _SETTLED
        strain._bad = strain._usual * _SETTLED
        return strain

    def warned(self) -> None:
        """Others have found that trouble was of our own making."""
        if not self.feared:
            self.feared, self.allowed = True, min(self.allowed, START)

    def dump(self) -> dict[str, Any]:
        """All of it, as scalars and lists."""
        facts: dict[str, Any] = {name.strip("_"): getattr(self, name) for name in _NUMBERS}
        facts["quick"] = self.quick if self.quick < math.inf else None
        facts["curve"] = [each / _FINE for each in self._curve]
        return facts

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Strain:
        """The inverse of ``dump``. Raises ValueError, KeyError or TypeError where it is none."""
        strain = cls()
        for name, kind in _NUMBERS.items():
            value = facts[name.strip("_")]
            if kind is bool:
                setattr(strain, name, value is True)
            else:
                setattr(strain, name, count(value) if kind is int else number(value))
        strain.quick = math.inf if facts["quick"] is None else number(facts["quick"])
        curve = numbers(facts["curve"], range(BINS + 1))
        if len(curve) not in (0, BINS) or any(each > 1 for each in curve):
            raise ValueError("no curve of chances")
        strain._curve = array("H", (round(each * _FINE) for each in curve))
        return strain

    def _judged(self, calls: int) -> bool:
        """Whether listening has come to an end."""
        now, before = self.share, self._before
        doubt = math.sqrt(
            max(now * (1 - now), 0.02) / max(self._weight, 1.0) + max(before * (1 - before), 0.02) / ONSET
        )
        if before - now > max(_APART, _SURE * doubt) and not self._troubled():
            self.feared, self.allowed = True, START
            self._until, self._hold, self._gap = calls + self._hold, 3 * self._hold, GAP
        elif calls < self._until:
            return False
        elif self.feared and calls < self._begun + LONGEST:
            self._until = calls + DRAIN
            return False
        else:
            self._until, self._gap = calls + self._gap, 2 * self._gap
            if self._gap > MOST_GAP:  # what was trouble is usual now
                self._gap = GAP
                del self._curve[:]
                self._usual, self._quiet = 0.0, calls
        self.listening = False
        return True

    def _troubled(self) -> bool:
        """Whether first attempts of late fare far worse than usual."""
        if not self._curve or self._weight < _FEW:
            return False
        doubt = math.sqrt(max(self._usual * (1 - self._usual), 0.02) / self._weight)
        return self.share - self._usual > max(_APART, _SURE * doubt)
