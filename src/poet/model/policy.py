"""How calls pick values of declared tunables: made off the call path, run on it. Standard library only, immutable."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from poet.model.execution import Context
from poet.model.tunable import Value

NOTHING: Mapping[str, Value] = MappingProxyType({})


class Pick(NamedTuple):
    """What one call uses in place of its version's own values."""

    draw: int  # 0: not to try something out, but as it is believed to be best; else which of the tries, from 1
    values: Mapping[str, Value]  # that differ; empty: none


OWN = Pick(0, NOTHING)


class Policy(Protocol):
    """Which values a call uses, by its context and a random number."""

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call. uniform: in [0, 1); the same context and number give the same pick. Never raises."""

    def with_share(self, share: float) -> Policy:
        """The same, with another share of calls that try something, in [0, 1]."""


class Tries(NamedTuple):
    """Some calls, ``share`` of them, try one of several sets of values, each as often; the others use their own.

    >>> Tries(0.5, ({"k": 3}, {"k": 5})).pick((), 0.3)
    Pick(draw=2, values={'k': 5})
    >>> Tries(0.5, ({"k": 3}, {"k": 5})).pick((), 0.7) is OWN
    True
    """

    share: float  # of calls, in [0, 1]
    values: tuple[Mapping[str, Value], ...]

    def with_share(self, share: float) -> Tries:
        """The same, with another share of calls that try something."""
        return self._replace(share=share)

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call."""
        if uniform >= self.share or not self.values:
            return OWN
        number = min(int(uniform / self.share * len(self.values)), len(self.values) - 1)
        return Pick(number + 1, self.values[number])


class _Without(NamedTuple):
    """A policy that leaves some parameters alone."""

    policy: Policy
    names: frozenset[str]

    def with_share(self, share: float) -> _Without:
        """The same, with another share of calls that try something."""
        return _Without(self.policy.with_share(share), self.names)

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call."""
        draw, values = self.policy.pick(context, uniform)
        left = {name: value for name, value in values.items() if name not in self.names}
        return Pick(draw, left) if left else OWN


def without(policy: Policy, names: frozenset[str]) -> Policy:
    """``policy``, but it leaves these parameters as the version has them.

    >>> without(Tries(0.5, ({"k": 3, "m": "a"}, {"k": 5})), frozenset({"k"}))
    Tries(share=0.25, values=({'m': 'a'},))
    """
    if not isinstance(policy, Tries):
        return _Without(policy, names)
    left = [{name: value for name, value in each.items() if name not in names} for each in policy.values]
    kept = tuple(each for each in left if each)
    return Tries(policy.share * len(kept) / max(1, len(left)), kept)


# --- by context -------------------------------------------------------------------------------------------------------

FARTHEST = 3.0  # standard deviations from its mean that a number counts for, at most


class Numeric(NamedTuple):
    """How a number is read: standardised."""

    slot: int  # of the vector, from 1
    log: bool  # by its logarithm
    centre: float  # what lies at 0 [unit of the number, or of its logarithm]
    inverse: float  # of the standard deviation, >= 0; 0: it says nothing yet


class Named(NamedTuple):
    """How a text is read: one slot for each text that has its own."""

    slots: Mapping[str, int]
    full: bool  # no more get their own: the others share the pool


class Reading(NamedTuple):
    """How a context becomes a vector, whose slot 0 is 1: numbers standardised, texts as 0 and 1.

    What is missing, not known or no finite number counts for 0. Texts beyond those that have slots of their own share a
    few by their checksum, with either sign, so that what they say of each other is nothing on average (Weinberger et
    al. 2009).
    """

    numbers: Mapping[str, Numeric]
    texts: Mapping[str, Named]
    pool: int = 0  # first of the shared slots
    shared: int = 0  # how many there are; 0: none

    def read(self, context: Context) -> list[tuple[int, float]]:
        """The slots other than 0 that have a value, in the context's order; empty: nothing of it is known.

        >>> reading = Reading({"chars": Numeric(1, False, 100.0, 0.01)}, {"lang": Named({"de": 2}, False)})
        >>> reading.read((("chars", 150), ("lang", "de"), ("other", 1)))
        [(1, 0.5), (2, 1.0)]
        """
        found: list[tuple[int, float]] = []
        numbers, texts = self.numbers, self.texts
        for name, value in context:
            if value.__class__ is str:
                named = texts.get(name)
                if named is None:
                    continue
                slot = named.slots.get(value)
                if slot is not None:
                    found.append((slot, 1.0))
                elif named.full and self.shared:
                    found.append(self.hashed(name, value))
                continue
            number = numbers.get(name)
            if number is None:
                continue
            slot, log, centre, inverse = number
            try:
                z = ((math.log(value) if log else value) - centre) * inverse  # type: ignore[arg-type, operator]
            except ValueError:  # the logarithm of what is not above 0
                z = -FARTHEST
            except (OverflowError, TypeError):
                continue
            if -1e300 < z < 1e300:
                found.append((slot, FARTHEST if z > FARTHEST else -FARTHEST if z < -FARTHEST else z))
        return found

    def hashed(self, name: str, text: str) -> tuple[int, float]:
        """Which shared slot a text has, and with which sign."""
        digest = zlib.crc32(f"{name}={text}".encode(errors="surrogatepass"))
        return self.pool + (digest >> 1) % self.shared, 1.0 if digest & 1 else -1.0


Weights = tuple[tuple[float, ...], ...]
"""By option, and by slot of the vector, all that the reading has: what to multiply it with."""


class Drawn(NamedTuple):
    """One idea of how good each option is in which context."""

    picks: tuple[Pick, ...]  # by option
    scores: Weights  # empty: the context does not matter, it is always ``unknown``
    slacks: tuple[Weights, ...] = ()  # of each constraint, in units that can be added
    unknown: int = 0  # the option where nothing is known of the context

    def option(self, read: list[tuple[int, float]]) -> int:
        """The best of those options that keep all constraints, else the one that breaks them least."""
        if not read or not self.scores:
            return self.unknown
        best, top = 0, -math.inf
        if not self.slacks:
            for number, weights in enumerate(self.scores):
                score = weights[0]
                for slot, value in read:
                    score += weights[slot] * value
                if score > top:
                    best, top = number, score
            return best
        least = -math.inf
        for number, weights in enumerate(self.scores):
            kept = 0.0
            for slack in self.slacks:
                kept += min(0.0, _product(slack[number], read))
            score = _product(weights, read)
            if kept > least or (kept == least and score > top):
                best, top, least = number, score, kept
        return best


def _product(weights: tuple[float, ...], read: list[tuple[int, float]]) -> float:
    return weights[0] + sum(weights[slot] * value for slot, value in read)


class Contextual(NamedTuple):
    """Calls choose among options by their context: most as it is believed to be best, ``share`` by one of the tries.

    Where each try is a draw from what is believed, calls do Thompson sampling by context (Thompson 1933; Agrawal &
    Goyal 2013), with the draws made beforehand.

    >>> small, large = {"model": "small"}, {"model": "large"}
    >>> best = Drawn((Pick(0, small), Pick(0, large)), ((0.5, 0.0), (0.4, 0.2)))
    >>> policy = Contextual(Reading({"chars": Numeric(1, False, 100.0, 0.01)}, {}), 0.0, best)
    >>> policy.pick((("chars", 300),), 0.5).values, policy.pick((("chars", 10),), 0.5).values
    ({'model': 'large'}, {'model': 'small'})
    """

    reading: Reading
    share: float  # of calls that use one of the tries, in [0, 1]
    best: Drawn
    tries: tuple[Drawn, ...] = ()
    loss: float = 0.0  # what a call that tries something is believed to lose, on average [score]

    def with_share(self, share: float) -> Contextual:
        """The same, with another share of calls that try something."""
        return self._replace(share=share)

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call."""
        drawn = self.best
        if uniform < self.share and self.tries:
            drawn = self.tries[min(int(uniform / self.share * len(self.tries)), len(self.tries) - 1)]
        if not drawn.scores:  # not read where it does not matter
            return drawn.picks[drawn.unknown]
        return drawn.picks[drawn.option(self.reading.read(context))]
