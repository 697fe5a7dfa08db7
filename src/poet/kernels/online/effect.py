"""What one of two arms is worth over the other, as it runs: an effect with bounds that hold at every look.

Each call is given to arm 1 by a coin of known chance ``p``. Its pseudo-outcome, ``m1 - m0`` plus the error of the
prediction of the arm it was given to, over the chance of that arm, is an unbiased guess at the effect in that very call
(augmented inverse propensity weighting, Robins, Rotnitzky & Zhao 1994), whatever the predictions ``m0`` and ``m1`` are,
as long as they were made before the call: so drift that both arms share, and shares that change, do no harm. Good
predictions make it precise: they are running means of recent outcomes (regression adjustment without a period before
the experiment), with the half-life that has predicted best so far.

The mean of the pseudo-outcomes, bounded by ``confidence``, is the *running average effect*: of all calls so far, a call
counting ``4 p (1 - p)``, as much as it can tell. So a call at a share of 1 % does not drown those at 50 %; where ``p``
stays the same, it is the plain mean. Nothing is clipped: the weighted pseudo-outcome is bounded by four times the error
of the prediction however small ``p`` is. ``p`` must be what was truly used: a share that is clipped for the analysis
only is a bias. Allocators that follow the outcomes should keep within [0.1, 0.9], or they learn little and late.

Valid asymptotically: nothing is told before each arm has ``burn_in`` calls and ``LEAST_WITNESSES`` outcomes carry the
variance (rare failures need some failures, not some calls), and where outcomes never vary, nothing is told at all. For
few, bounded outcomes there is ``confidence.Bounded``, which is exact. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from poet.kernels.online import confidence
from poet.kernels.online.student import quantile

HALF_LIVES = (10.0, 60.0, 400.0)  # of the predictions among which the best is used [calls]
MEMORY = 0.99  # of their squared errors, per call
BURN_IN = 25  # calls of each arm
LEAST_WITNESSES = 10.0  # (sum x^2)^2 / sum x^4 of the pseudo-outcomes, from which on their variance is believed
FIRST = 2  # calls from which only predictions are learned
SHRINKAGE = 20.0  # balanced calls without effect that the predictions start from
MOST = 1e70  # that an outcome may be: its fourth power is summed
ROUNDING = 1e-12  # of an outcome: what a prediction misses by less was foreseen
PLANNED = 500.0  # balanced calls at which the bounds are narrowest, where nothing was said


class Side(Enum):
    """In which direction an effect is looked for."""

    BOTH = "both"
    ABOVE = "above"
    BELOW = "below"


class Level(NamedTuple):
    """Predictions of an outcome of arm 0: three running means, and how well they did. Local to a process."""

    totals: tuple[float, ...] = (0.0, 0.0, 0.0)  # [unit of y]
    weights: tuple[float, ...] = (0.0, 0.0, 0.0)  # [1]
    errors: tuple[float, ...] = (0.0, 0.0, 0.0)  # faded sums of squared errors [unit of y, squared]
    n: int = 0

    @property
    def value(self) -> float:
        """By the half-life that did best lately; nan before the first."""
        best = min(range(len(self.errors)), key=self.errors.__getitem__)
        return self.totals[best] / self.weights[best] if self.n else math.nan

    def add(self, y: float) -> Level:
        """With an outcome of arm 0, or one of arm 1 less the effect."""
        (t0, t1, t2), (w0, w1, w2), (e0, e1, e2) = self.totals, self.weights, self.errors
        if self.n:
            d0, d1, d2 = y - t0 / w0, y - t1 / w1, y - t2 / w2
            e0, e1, e2 = MEMORY * e0 + d0 * d0, MEMORY * e1 + d1 * d1, MEMORY * e2 + d2 * d2
        k0, k1, k2 = _KEEP
        return Level(
            (k0 * t0 + (1 - k0) * y, k1 * t1 + (1 - k1) * y, k2 * t2 + (1 - k2) * y),
            (k0 * w0 + 1 - k0, k1 * w1 + 1 - k1, k2 * w2 + 1 - k2),
            (e0, e1, e2),
            self.n + 1,
        )

    def merged(self, other: Level) -> Level:
        """The mean of both, by weight."""
        return Level(
            tuple(a + b for a, b in zip(self.totals, other.totals, strict=True)),
            tuple(a + b for a, b in zip(self.weights, other.weights, strict=True)),
            tuple(a + b for a, b in zip(self.errors, other.errors, strict=True)),
            self.n + other.n,
        )


_KEEP = tuple(0.5 ** (1.0 / half_life) for half_life in HALF_LIVES)


class Recent(NamedTuple):
    """The effect in the last calls, and its bounds at this one look."""

    value: float
    low: float
    high: float


class Sums(NamedTuple):
    """Of weighted pseudo-outcomes; they add up."""

    weight: float = 0.0  # sum of w = 4 p (1 - p): balanced calls [1]
    total: float = 0.0  # sum of w x
    squares: float = 0.0  # sum of w^2
    tilt: float = 0.0  # sum of w^2 x
    spread: float = 0.0  # sum of w^2 x^2
    fourth: float = 0.0  # sum of w^4 x^4
    calls: float = 0.0  # sum of 1
    misses: float = 0.0  # sum of squared errors of the predictions, of either arm

    @property
    def variance(self) -> float:
        """Of ``total``, >= 0: sum of w^2 (x - mean)^2, or what both arms' errors together say, if that is more.

        An arm that had few calls and, by luck, none of the rare large outcomes would pass for a steady one.
        """
        if not self.weight > 0:
            return 0.0
        mean = self.total / self.weight
        rest = self.spread - 2.0 * mean * self.tilt + mean * mean * self.squares
        return max(rest, 4.0 * self.weight * self.misses / self.calls) if rest > 1e-12 * self.spread else 0.0

    def add(self, w: float, x: float, miss: float, keep: float = 1.0) -> Sums:
        """With one more; what came before counts ``keep``."""
        wx = w * x
        return Sums(
            keep * self.weight + w,
            keep * self.total + wx,
            keep * self.squares + w * w,
            keep * self.tilt + w * wx,
            keep * self.spread + wx * wx,
            keep * self.fourth + wx**4,
            keep * self.calls + 1.0,
            keep * self.misses + miss * miss,
        )

    def merged(self, other: Sums) -> Sums:
        """Of both."""
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class Effect(NamedTuple):
    """The running average effect of arm 1 over arm 0.

    Make it with ``Effect.planned``. A frozen state: ``add`` gives the next one, O(1).

    ``merged`` adds up the sums of several processes, which is valid as each pseudo-outcome is unbiased by its own
    process's predictions; the predictions themselves stay local (of merged states, their mean is gone on with). As for
    every such test: decide by one sequence of looks, of one process or of the merged state, not by whichever process
    passes first.

    >>> effect = Effect.planned(minimum_effect=0.5)
    >>> for i in range(400):
    ...     effect = effect.add(i % 2, 0.5, (i % 2) + 0.1 * (i % 7))
    >>> low, high = effect.interval(0.05)
    >>> low < 1.0 < high, effect.lower(0.05) > 0.9
    (True, True)
    """

    rho: float  # of the mixture
    burn_in: int = BURN_IN  # calls of each arm before anything is told
    window: float = 500.0  # half-life of what ``recent`` tells [calls]
    n0: int = 0  # calls of arm 0
    n1: int = 0  # calls of arm 1
    sums: Sums = Sums()
    last: Sums = Sums()  # the same, fading
    level: Level = Level()

    @classmethod
    def planned(
        cls,
        *,
        minimum_effect: float | None = None,
        calls: float | None = None,
        alpha: float = 0.05,
        burn_in: int = BURN_IN,
        window: float = 500.0,
    ) -> Effect:
        """Nothing seen yet; bounds will be narrowest where an effect worth finding is about to be found.

        minimum_effect: the smallest worth finding, in standard deviations of an outcome, > 0; or calls: of both arms
        that the experiment shall take, balanced, > 0. Neither: ``PLANNED`` calls. alpha: at which it will be decided.
        burn_in: >= 2 [calls of each arm]; window: half-life of what ``recent`` tells, > 0 [calls].
        """
        if minimum_effect is not None and calls is not None:
            raise ValueError("say either the minimum effect or the calls planned, not both")
        if minimum_effect is not None:
            calls = confidence.planned_calls(minimum_effect, alpha=alpha)
        if not burn_in >= 2 or not window > 0:
            raise ValueError(f"burn_in must be >= 2 and window > 0, got {burn_in!r} and {window!r}")
        return cls(confidence.tuning(PLANNED if calls is None else calls, alpha), burn_in, window)

    def add(self, arm: int, propensity: float, y: float, expected: float = 0.0) -> Effect:
        """With one more call.

        arm: 0 or 1; propensity: the chance of arm 1 that was used, in (0, 1); y: the outcome, within +-``MOST``;
        expected: what was expected of it before the call and without its arm, as the mean of its cell of the context
        [unit of y].
        Raises ValueError where a number is not possible.
        """
        if arm not in (0, 1):
            raise ValueError(f"arm must be 0 or 1, got {arm!r}")
        if not 0 < propensity < 1:
            raise ValueError(f"propensity must be in (0, 1), got {propensity!r}")
        y -= expected
        if not abs(y) <= MOST:
            raise ValueError(f"outcome and expectation must differ by {MOST:g} at most, got a difference of {y!r}")
        n0, n1 = (self.n0, self.n1 + 1) if arm else (self.n0 + 1, self.n1)
        sums, level = self.sums, self.level
        shift = sums.total / (sums.weight + SHRINKAGE)  # of arm 1, as predicted
        if level.n < FIRST:
            return Effect(self.rho, self.burn_in, self.window, n0, n1, sums, self.last, level.add(y))
        plain = y - shift if arm else y
        miss = plain - level.value
        if abs(miss) <= ROUNDING * abs(plain):
            miss = 0.0
        x = shift + (miss / propensity if arm else -miss / (1.0 - propensity))
        w = 4.0 * propensity * (1.0 - propensity)
        sums, last = sums.add(w, x, miss), self.last.add(w, x, miss, 0.5 ** (1.0 / self.window))
        return Effect(self.rho, self.burn_in, self.window, n0, n1, sums, last, level.add(plain))

    def merged(self, other: Effect) -> Effect:
        """The effect by the calls of both. Raises ValueError where they were not planned alike."""
        if self[:3] != other[:3]:
            raise ValueError(f"two effects must be planned alike, got {self[:3]} and {other[:3]}")
        return Effect(
            *self[:3],
            self.n0 + other.n0,
            self.n1 + other.n1,
            self.sums.merged(other.sums),
            self.last.merged(other.last),
            self.level.merged(other.level),
        )

    @property
    def n(self) -> int:
        """Calls of both arms."""
        return self.n0 + self.n1

    @property
    def value(self) -> float:
        """The running average effect; nan where nothing is known."""
        return self.sums.total / self.sums.weight if self.sums.weight > 0 else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation of a pseudo-outcome of a balanced call: twice that of an outcome; 0 where none varied."""
        return math.sqrt(self.sums.variance / self.sums.weight) if self.sums.weight > 0 else 0.0

    @property
    def ready(self) -> bool:
        """Whether the burn-in is over, and the variance known."""
        sums = self.sums
        if min(self.n0, self.n1) < self.burn_in or not sums.variance > 0:
            return False
        return sums.spread**2 >= LEAST_WITNESSES * sums.fourth

    def interval(self, alpha: float) -> tuple[float, float]:
        """Both bounds, valid at every look; all numbers before the effect is ``ready``."""
        confidence.check_alpha(alpha)
        if not self.ready:
            return -math.inf, math.inf
        width = confidence.half_width(self.sums.weight, self.deviation, self.rho, alpha)
        return self.value - width, self.value + width

    def lower(self, alpha: float) -> float:
        """The lower bound alone: closer than that of the interval."""
        confidence.check_alpha(alpha)
        if not self.ready:
            return -math.inf
        return self.value - confidence.one_sided_width(self.sums.weight, self.deviation, self.rho, alpha)

    def upper(self, alpha: float) -> float:
        """The upper bound alone."""
        confidence.check_alpha(alpha)
        if not self.ready:
            return math.inf
        return self.value + confidence.one_sided_width(self.sums.weight, self.deviation, self.rho, alpha)

    def log_e(self, null: float = 0.0, side: Side = Side.BOTH) -> float:
        """Evidence that the effect is not ``null``, or lies above or below it [nats]; 0 before it is ``ready``.

        It reaches ``-log(alpha)`` exactly where the bound at ``alpha`` excludes ``null``.
        """
        if not self.ready:
            return 0.0
        n, shift, deviation = self.sums.weight, self.value - null, self.deviation
        if side is Side.BOTH:
            return confidence.log_e(n, shift, deviation, self.rho)
        return confidence.one_sided_log_e(n, shift if side is Side.ABOVE else -shift, deviation, self.rho)

    def e_value(self, null: float = 0.0, side: Side = Side.BOTH) -> float:
        """The same as a factor, >= 0."""
        return math.exp(min(self.log_e(null, side), 700.0))

    def samples_still_needed(self, minimum_effect: float, alpha: float = 0.05, power: float = 0.8) -> int | None:
        """Calls of both arms, at the shares so far, by which an effect of this size is found with chance ``power``.

        minimum_effect: > 0, in the unit of an outcome. 0 where that many were seen; None where nothing is known yet.
        """
        if not minimum_effect > 0:
            raise ValueError(f"the minimum effect must be > 0, got {minimum_effect!r}")
        if not self.ready:
            return None
        deviation, luck = self.deviation, max(0.0, quantile(power, math.inf))

        def missing(n: float) -> bool:
            width = confidence.half_width(n, deviation, self.rho, alpha) + luck * deviation / math.sqrt(n)
            return width > minimum_effect

        now = high = self.sums.weight
        while missing(high):
            high *= 2.0
        low = 0.5 * high if high > now else now
        for _ in range(60):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if missing(middle) else (low, middle)
        return max(0, math.ceil((high - now) * self.n / now - 1e-6))

    def recent(self, level: float = 0.95) -> Recent | None:
        """The effect in the last calls, weights halving every ``window`` calls; None before the effect is ``ready``.

        Its bounds hold at one look, not at all of them: it shows where an effect goes, and decides nothing.
        """
        if not self.ready or not self.last.weight > 0:
            return None
        value = self.last.total / self.last.weight
        width = quantile(0.5 + 0.5 * level, math.inf) * math.sqrt(self.last.variance) / self.last.weight
        return Recent(value, value - width, value + width)

    def state(self) -> list[float]:
        """As plain numbers, for a store."""
        level = self.level
        return [
            *self[:5],
            *self.sums,
            *self.last,
            *level.totals,
            *level.weights,
            *level.errors,
            level.n,
        ]

    @classmethod
    def from_state(cls, state: Sequence[float]) -> Effect:
        """What ``state`` gave. Raises ValueError where the numbers are not possible."""
        if len(state) != _LENGTH or not all(math.isfinite(x) for x in state):
            raise ValueError(f"an effect is kept as {_LENGTH} finite numbers, got {len(state)}")
        rho, burn_in, window, n0, n1 = state[:5]
        if not (rho > 0 and burn_in >= 2 and window > 0 and n0 >= 0 and n1 >= 0):
            raise ValueError(f"no effect was planned like this: {state[:5]!r}")
        level = Level(tuple(state[21:24]), tuple(state[24:27]), tuple(state[27:30]), int(state[30]))
        return cls(rho, int(burn_in), window, int(n0), int(n1), Sums(*state[5:13]), Sums(*state[13:21]), level)


_LENGTH = 31


class Blocks(NamedTuple):
    """The same for calls that act on each other: whole blocks of calls get an arm, and a block is one outcome.

    For switchbacks (one arm for some minutes, by a new coin each), and for hosts that keep an arm: there, one such
    state per host, of which the effects are merged, and a new coin each hour, say. Analysed per call, such a test
    raises false alarms in most cases (benchmarks/sequential.py).

    >>> blocks = Blocks(Effect.planned())
    >>> for i in range(6):
    ...     blocks = blocks.add(block=i // 3, arm=i // 3 % 2, propensity=0.5, y=float(i))
    >>> blocks.effect.n, blocks.total, blocks.calls
    (1, 12.0, 3)
    """

    effect: Effect  # by the blocks that have ended
    washout: int = 0  # first calls of a block that do not count, as the arm before still acts on them
    block: int | None = None  # the one under way
    arm: int = 0
    propensity: float = 0.5
    total: float = 0.0  # of the outcomes that count
    calls: int = 0

    def add(self, block: int, arm: int, propensity: float, y: float) -> Blocks:
        """With one more call; a new ``block`` ends the one before. Raises ValueError where a block has two arms."""
        if not abs(y) <= MOST:
            raise ValueError(f"outcome must be {MOST:g} at most, got {y!r}")
        if block == self.block:
            if arm != self.arm or propensity != self.propensity:
                raise ValueError(
                    f"block {block!r} has arm {self.arm!r} at {self.propensity!r}, got {arm!r} at {propensity!r}"
                )
            counts = self.calls >= self.washout
            return self._replace(total=self.total + y if counts else self.total, calls=self.calls + 1)
        return Blocks(self.ended().effect, self.washout, block, arm, propensity, 0.0 if self.washout else y, 1)

    def ended(self) -> Blocks:
        """With the block under way taken as complete, if it has calls that count."""
        counted = self.calls - self.washout
        if self.block is None or counted < 1:
            return Blocks(self.effect, self.washout)
        return Blocks(self.effect.add(self.arm, self.propensity, self.total / counted), self.washout)


class BoundedEffect(NamedTuple):
    """The running average effect on outcomes within known limits: exact from the first call on, and wider.

    Where few calls must do, or no limit theorem is to be leant on: scores in [0, 1], say. It needs half as
    many calls again as ``Effect`` (benchmarks/sequential.py). Make it with ``BoundedEffect.planned``.

    >>> effect = BoundedEffect.planned(0.0, 1.0)
    >>> for i in range(200):
    ...     effect = effect.add(i % 2, 0.5, float(i % 2))
    >>> effect.interval(0.05)[0] > 0.5
    True
    """

    low: float  # least possible outcome
    high: float  # largest possible outcome
    least: float  # of the two arms' shares that is allowed
    seen: confidence.Bounded  # pseudo-outcomes
    total: float = 0.0  # of all outcomes

    @classmethod
    def planned(cls, low: float, high: float, *, least: float = 0.5, alpha: float = 0.05) -> BoundedEffect:
        """Nothing seen yet.

        least: the smallest share of either arm that will occur, in (0, 0.5]; the bounds widen as it falls. alpha: at
        which it will be decided; the bounds hold at any.
        """
        if not (math.isfinite(low) and low < high < math.inf) or not 0 < least <= 0.5:
            raise ValueError(f"need low < high and least in (0, 0.5], got {low!r}, {high!r} and {least!r}")
        most = (high - low) / least
        return cls(low, high, least, confidence.Bounded(-most, most, alpha))

    def add(self, arm: int, propensity: float, y: float) -> BoundedEffect:
        """With one more call; as ``Effect.add``. Raises ValueError where a number is not possible, or out of limits."""
        if arm not in (0, 1):
            raise ValueError(f"arm must be 0 or 1, got {arm!r}")
        if not self.least <= propensity <= 1 - self.least:
            raise ValueError(f"propensity must be in [{self.least!r}, {1 - self.least!r}], got {propensity!r}")
        if not self.low <= y <= self.high:
            raise ValueError(f"outcome must be within [{self.low!r}, {self.high!r}], got {y!r}")
        n = self.seen.n
        miss = y - (self.total + 0.5 * (self.low + self.high)) / (n + 1)
        x = miss / propensity if arm else -miss / (1.0 - propensity)
        most = self.seen.high  # rounding may pass it
        seen = self.seen.add(min(max(x, -most), most))
        return BoundedEffect(self.low, self.high, self.least, seen, self.total + y)

    def merged(self, other: BoundedEffect) -> BoundedEffect:
        """The effect by the calls of both. Raises ValueError where they were not planned alike."""
        if self[:3] != other[:3]:
            raise ValueError(f"two effects must be planned alike, got {self[:3]} and {other[:3]}")
        return BoundedEffect(*self[:3], self.seen.merged(other.seen), self.total + other.total)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Both bounds, valid at every look, within what is possible."""
        most = self.high - self.low
        low, high = self.seen.interval(alpha)
        return max(low, -most), min(high, most)

    def log_e(self, null: float = 0.0) -> float:
        """Evidence that the effect is not ``null`` [nats]."""
        return self.seen.log_e(null)
