"""The kernels of sequential tests over many runs at once: twins of what ships, equal to it to 1e-12 (tests)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, erfc

from poet.kernels.online import coin, effect, exceedance, sample_ratio

Array = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
Yes = npt.NDArray[np.bool_]


class Effects:
    """``effect.Effect`` of many runs side by side."""

    def __init__(self, plan: effect.Effect, runs: int, *, adjusted: bool = True) -> None:
        """adjusted: by recent outcomes, as what ships is; False: by the mean of all, a plain difference of means."""
        self.adjusted = adjusted
        self.rho, self.burn_in = plan.rho, plan.burn_in
        self.n0, self.n1 = np.zeros(runs), np.zeros(runs)
        self.sums = np.zeros((8, runs))  # as in effect.Sums
        self.totals, self.weights, self.errors = (np.zeros((len(effect.HALF_LIVES), runs)) for _ in range(3))
        self.n = np.zeros(runs)
        half_lives = effect.HALF_LIVES if adjusted else [1e9] * len(effect.HALF_LIVES)
        self._keep = np.array([0.5 ** (1.0 / half_life) for half_life in half_lives])[:, None]
        self._each = np.arange(runs)

    def add(self, arm: Yes, propensity: Array | float, y: Array, where: Yes | None = None) -> None:
        """One call of every run, or of some."""
        before = [part.copy() for part in self._parts()] if where is not None else []
        self.n1 += arm
        self.n0 += ~arm
        shift = self.sums[1] / (self.sums[0] + effect.SHRINKAGE)
        started = self.n.min() >= effect.FIRST
        if self.n.max() >= effect.FIRST:
            with np.errstate(invalid="ignore"):
                best = self.errors.argmin(axis=0)
                value = self.totals[best, self._each] / self.weights[best, self._each]
                plain = np.where(arm, y - shift, y)
                miss = plain - value
            if not started:
                miss = np.where(self.n >= effect.FIRST, miss, 0.0)
                plain = np.where(self.n >= effect.FIRST, plain, y)
            x = shift + np.where(arm, miss / propensity, -miss / (1.0 - propensity))
            w = 4.0 * propensity * (1.0 - propensity) * (1.0 if started else self.n >= effect.FIRST)
            wx = w * x
            more = w, wx, w * w, w * wx, wx * wx, wx**4, 1.0 if started else self.n >= effect.FIRST, miss * miss
            for total, part in zip(self.sums, more, strict=True):
                total += part
            y = plain
        with np.errstate(invalid="ignore"):
            errors = effect.MEMORY * self.errors + (y - self.totals / self.weights) ** 2
        self.errors[:] = errors if started else np.where(self.n > 0, errors, 0.0)
        self.totals *= self._keep
        self.totals += (1 - self._keep) * y
        self.weights *= self._keep
        self.weights += 1 - self._keep
        self.n += 1
        for new, old in zip(self._parts(), before, strict=False):
            new[..., ~where] = old[..., ~where]

    def _parts(self) -> tuple[Array, ...]:
        return self.n0, self.n1, self.sums, self.totals, self.weights, self.errors, self.n

    def scaled(self, null: Array | float) -> tuple[Array, Array]:
        """The z of the mixture, and the logarithm of its scale; 0 and inf where a run is not ready."""
        weight, total, squares, tilt, spread, fourth, calls, misses = self.sums
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / weight
            rest = spread - 2.0 * mean * tilt + mean * mean * squares
            variance = np.maximum(rest, 4.0 * weight * misses / calls)
            scale = weight * self.rho**2 + 1.0
            z = (total - null * weight) * self.rho / np.sqrt(variance / weight * scale)
        ready = np.minimum(self.n0, self.n1) >= self.burn_in
        ready &= (rest > 1e-12 * spread) & (spread**2 >= effect.LEAST_WITNESSES * fourth)
        return np.where(ready, z, 0.0), np.where(ready, np.log(scale), np.inf)

    def log_e(self, null: Array | float = 0.0, side: effect.Side = effect.Side.BOTH) -> Array:
        """Evidence, 0 where a run is not ready."""
        z, log_scale = self.scaled(null)
        if side is effect.Side.BOTH:
            log_e = 0.5 * (z * z - log_scale)
        else:
            z = z if side is effect.Side.ABOVE else -z
            far = np.maximum(z, -25.0)
            log_e = np.log(erfc(-far / math.sqrt(2.0))) + 0.5 * far * far - 0.5 * log_scale
        return np.where(np.isinf(log_scale), 0.0, log_e)


def log_weights() -> Array:
    """Of ``coin.RATIOS``."""
    return np.log(np.array(coin._WEIGHTS))


def coin_log_e(canary: Whole, events: Whole, share: float) -> Array:
    """``coin.CoinTest.log_e`` of many counts at one share."""
    exponents = []
    for ratio, weight in zip(coin.RATIOS, coin._WEIGHTS, strict=True):
        rest = 1 - share + share * ratio
        exponents.append(canary * math.log(ratio / rest) + (events - canary) * math.log(1 / rest) + math.log(weight))
    most = np.max(exponents, axis=0)
    result: Array = most + np.log(np.sum(np.exp(np.array(exponents) - most), axis=0))
    return result


class Coins:
    """``coin.CoinTest`` of many runs side by side, their shares alike."""

    def __init__(self, runs: int) -> None:
        self.exponents = np.tile(log_weights(), (runs, 1))
        self.log_e = np.zeros(runs)

    def add(self, share: float, canary: Yes, event: Yes) -> None:
        """One call of every run, of which some are events."""
        for owner in True, False:
            (where,) = np.nonzero(event & (canary == owner))
            if len(where):
                nats = [ours if owner else theirs for ours, theirs in coin._nats(share, 1.0, coin.RATIOS)]
                self.exponents[where] += nats
                self.log_e[where] = np.logaddexp.reduce(self.exponents[where], axis=1)


class Limits:
    """``exceedance.Limit`` of many runs side by side."""

    def __init__(self, runs: int) -> None:
        self.n, self.weight, self.mean, self.scatter, self.squares = (np.zeros(runs) for _ in range(5))

    def log_seconds(self) -> Array:
        """The logarithm of the limit; infinite before enough was seen."""
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = self.scatter / (self.weight - self.squares / self.weight)
            limit: Array = self.mean + exceedance.DEVIATIONS * np.sqrt(variance)
        return np.where(self.n < exceedance.FIRST, np.inf, limit)

    def add(self, where: Yes, x: Array) -> None:
        """One call of the live version, in the runs in which there was one. x: log seconds."""
        keep = np.where(where, 0.5 ** (1.0 / exceedance.HALF_LIFE), 1.0)
        before = keep * self.weight
        delta = np.where(where, x - self.mean, 0.0)
        self.weight = before + where
        shift = np.divide(delta, self.weight, out=np.zeros(len(delta)), where=self.weight > 0)
        self.mean = self.mean + shift
        self.scatter = keep * self.scatter + delta * (delta - shift)
        self.squares = keep * keep * self.squares + where
        self.n += where


def sample_ratio_log_e(counts: Whole, n: Whole, share: float) -> Array:
    """``sample_ratio.SampleRatio.log_e`` of many counts of the first of two arms."""
    parts = []
    for concentration in sample_ratio.CONCENTRATIONS:
        a, b = concentration * share, concentration * (1 - share)
        parts.append(betaln(a + counts, b + n - counts) - betaln(a, b))
    null = counts * math.log(share) + (n - counts) * math.log(1 - share)
    result: Array = np.logaddexp.reduce(parts, axis=0) - null - math.log(len(parts))
    return result
