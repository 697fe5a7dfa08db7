"""Bounds of a running mean that hold at every look at once: asymptotic for any outcome, exact for bounded ones.

Normal mixtures (Robbins 1970) in the form of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, "Time-uniform central
limit theory and asymptotic confidence sequences", eq. 9: a mean of n outcomes with estimated deviation is treated as if
it were normal. The e-value and the bounds are one thing: a bound excludes a mean at ``alpha`` exactly where the e-value
against that mean passes ``1 / alpha``. The exact sequence is Waudby-Smith & Ramdas 2024, "Estimating means of bounded
random variables by betting", Theorem 2. Standard library only.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from poet.kernels.online.student import quantile


def tuning(planned: float, alpha: float) -> float:
    """The rho of a mixture that is narrowest, at ``alpha``, after ``planned`` outcomes [1].

    planned: > 0; alpha: in (0, 1). Waudby-Smith et al. 2024, appendix on tuning: the closed form.
    """
    if not planned > 0 or math.isinf(planned):
        raise ValueError(f"planned must be > 0 and finite, got {planned!r}")
    check_alpha(alpha)
    most = -2.0 * math.log(alpha)
    return math.sqrt((most + math.log(most + 1.0)) / planned)


def planned_calls(minimum_effect: float, deviation: float = 1.0, alpha: float = 0.05, power: float = 0.8) -> float:
    """Calls of both arms together by which a test with a single look finds an effect, each arm having half of them.

    minimum_effect: the smallest worth finding, > 0, in the unit of ``deviation``, which is of one outcome, > 0.

    >>> round(planned_calls(0.2))
    785
    """
    check_alpha(alpha)
    if not minimum_effect > 0 or not deviation > 0:
        raise ValueError(f"effect and deviation must be > 0, got {minimum_effect!r} and {deviation!r}")
    z = quantile(1 - alpha / 2, math.inf) + quantile(power, math.inf)
    return 4.0 * (z * deviation / minimum_effect) ** 2


def half_width(n: float, deviation: float, rho: float, alpha: float) -> float:
    """Of the two-sided sequence: eq. 9. n: > 0 outcomes; deviation: of one, >= 0; rho: as ``tuning`` gives it."""
    scale = n * rho * rho + 1.0
    return deviation * math.sqrt(2.0 * scale / (n * n * rho * rho) * (0.5 * math.log(scale) - math.log(alpha)))


def one_sided_width(n: float, deviation: float, rho: float, alpha: float) -> float:
    """Of a sequence with one bound only: the same with half a normal mixture, inverted without slack."""
    scale = n * rho * rho + 1.0
    return deviation * _reach(math.log(scale), alpha) * math.sqrt(scale) / (n * rho)


def log_e(n: float, shift: float, deviation: float, rho: float) -> float:
    """Evidence that a mean which lies ``shift`` from the hypothesis is not on it [nats]. deviation: > 0."""
    scale = n * rho * rho + 1.0
    z = n * shift * rho / (deviation * math.sqrt(scale))
    return 0.5 * (z * z - math.log(scale))


def one_sided_log_e(n: float, shift: float, deviation: float, rho: float) -> float:
    """Evidence that a mean which lies ``shift`` above the hypothesis is above it [nats]. deviation: > 0."""
    scale = n * rho * rho + 1.0
    z = n * shift * rho / (deviation * math.sqrt(scale))
    return _log_half(z) - 0.5 * math.log(scale)


def _log_half(z: float) -> float:
    """log(2 Phi(z) exp(z^2 / 2)): what half a normal mixture gives."""
    if z < -25.0:  # where the tail would underflow: its expansion, to 1e-5
        return math.log(2.0 / (-z * math.sqrt(2.0 * math.pi))) + math.log1p(-1.0 / (z * z))
    return math.log(math.erfc(-z / math.sqrt(2.0))) + 0.5 * z * z


def _reach(log_scale: float, alpha: float) -> float:
    """The z at which the one-sided evidence reaches ``1 / alpha``; Newton's method on a convex, rising function."""
    level = 0.5 * log_scale - math.log(alpha)
    z = math.sqrt(2.0 * level)  # to the right of it: 2 Phi >= 1 there
    for _ in range(50):
        slope = z + math.exp(-0.5 * z * z) * math.sqrt(2.0 / math.pi) / math.erfc(-z / math.sqrt(2.0))
        step = (_log_half(z) - level) / slope
        z -= step
        if abs(step) <= 1e-14 * abs(z):
            break
    return z


def check_alpha(alpha: float) -> None:
    """Raises ValueError where it is no rate."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be in (0, 1), got {alpha!r}")


# --- exact, for bounded outcomes --------------------------------------------------------------------------------------

_MOST_BET = 0.5  # of the weight of one outcome; Waudby-Smith & Ramdas 2024 advise 1/2 or 3/4


class Bounded(NamedTuple):
    """Bounds of the mean of outcomes within known limits: exact from the first one on, and wider.

    The empirical Bernstein sequence with predictable weights: sums that add up over processes. Where the mean, given
    what came before, is not the same throughout, it bounds the average of these means, weighted by ``bets``.

    >>> seen = Bounded(0.0, 1.0)
    >>> for x in [0.0, 1.0] * 200:
    ...     seen = seen.add(x)
    >>> [round(x, 2) for x in seen.interval(0.05)]
    [0.41, 0.59]
    """

    low: float = 0.0  # least possible outcome
    high: float = 1.0  # largest possible outcome
    alpha: float = 0.05  # for which the weights are tuned; the bounds hold for any
    n: int = 0
    total: float = 0.0  # sum of outcomes, scaled to [0, 1]
    scatter: float = 0.0  # sum of squares about the running mean
    bets: float = 0.0  # sum of weights
    won: float = 0.0  # sum of weight times outcome
    cost: float = 0.0  # of the evidence in them [nats]

    def add(self, x: float) -> Bounded:
        """With one outcome more. Raises ValueError where it lies outside the limits."""
        if not self.low <= x <= self.high or not self.high > self.low:
            raise ValueError(f"outcome must be within [{self.low!r}, {self.high!r}], got {x!r}")
        x = (x - self.low) / (self.high - self.low)
        n = self.n + 1
        mean = (0.5 + self.total) / n
        variance = (0.25 + self.scatter) / n
        bet = min(math.sqrt(2.0 * math.log(2.0 / self.alpha) / (variance * n * math.log(1.0 + n))), _MOST_BET)
        off = (x - mean) ** 2
        return Bounded(
            self.low,
            self.high,
            self.alpha,
            n,
            self.total + x,
            self.scatter + (x - (0.5 + self.total + x) / (n + 1)) ** 2,
            self.bets + bet,
            self.won + bet * x,
            self.cost + off * (-math.log1p(-bet) - bet),
        )

    def merged(self, other: Bounded) -> Bounded:
        """The bounds by the outcomes of both, which were added to one of them each. Raises ValueError: other limits."""
        if self[:3] != other[:3]:
            raise ValueError(f"limits and alpha must be alike, got {self[:3]} and {other[:3]}")
        sums = (a + b for a, b in zip(self[4:], other[4:], strict=True))
        return Bounded(*self[:3], self.n + other.n, *sums)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Both bounds, within the limits."""
        return self.lower(alpha / 2), self.upper(alpha / 2)

    def lower(self, alpha: float) -> float:
        """The lower bound alone."""
        check_alpha(alpha)
        if not self.n:
            return self.low
        share = (self.won - self.cost + math.log(alpha)) / self.bets
        return self.low + max(0.0, share) * (self.high - self.low)

    def upper(self, alpha: float) -> float:
        """The upper bound alone."""
        check_alpha(alpha)
        if not self.n:
            return self.high
        share = (self.won + self.cost - math.log(alpha)) / self.bets
        return self.low + min(1.0, share) * (self.high - self.low)

    def log_e(self, mean: float) -> float:
        """Evidence that the mean is not ``mean``, half of it in each direction [nats]."""
        shift = self.won - self.bets * (mean - self.low) / (self.high - self.low)
        return abs(shift) - self.cost + math.log1p(math.exp(-2.0 * abs(shift))) - math.log(2.0)


# --- two arms of which only the sums are known ------------------------------------------------------------------------


class Arm(NamedTuple):
    """What one arm of an experiment gave so far."""

    n: float  # outcomes, > 1
    mean: float
    variance: float  # of one outcome, >= 0


def difference(control: Arm, treatment: Arm, rho: float, alpha: float) -> tuple[float, float]:
    """Bounds of the treatment's mean less the control's, at every look; arms that a fair coin fills, of a steady world.

    The same as GrowthBook's sequential intervals (tests/golden). For a service that drifts, use ``effect.Effect``.
    """
    shift, n, deviation = _difference(control, treatment)
    width = half_width(n, deviation, rho, alpha)
    return shift - width, shift + width


def difference_log_e(control: Arm, treatment: Arm, rho: float) -> float:
    """Evidence that the two means differ [nats]; -inf where neither varies."""
    shift, n, deviation = _difference(control, treatment)
    return log_e(n, shift, deviation, rho) if deviation > 0 else -math.inf


def _difference(control: Arm, treatment: Arm) -> tuple[float, float, float]:
    for arm in control, treatment:
        if not (arm.n > 1 and arm.variance >= 0 and math.isfinite(arm.mean + arm.n + arm.variance)):
            raise ValueError(f"an arm needs n > 1, a variance >= 0 and finite numbers, got {arm!r}")
    n = control.n + treatment.n
    deviation = math.sqrt(n * (control.variance / control.n + treatment.variance / treatment.n))
    return treatment.mean - control.mean, n, deviation
