"""Regression whose errors resemble their neighbours in time: intervals that mind it.

Where an input and an error both drift slowly, a thousand rows may be worth ten, and the usual test finds relations that
are none. Given the inputs, the variance of ``z'e`` is the sum over frequencies of the input's power times the error's
spectrum (Hannan 1963, "Regression for time series"): nothing is assumed of the inputs, and of the errors that they are
stationary. The spectrum is the periodogram of residuals, smoothed over a share of each frequency, so that slow drifts
are not averaged away; what the fit itself took away of a frequency is given back (as HC2 does for rows: MacKinnon &
White 1985), for a slow input fits slow drifts by chance. Degrees of freedom are Satterthwaite's: where a few slow waves
make up the variance, it is known no better than from a few values.

Two more estimates stand beside it, and the largest counts: the same without smoothing, for errors with a sharp period,
and White's 1980, for errors whose size depends on the input.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Spectrum = npt.NDArray[np.complex128]

_LEAST_SPAN = 4  # frequencies on either side that a spectrum is smoothed over, at the least
_LEAST_LEFT = 0.02  # share of a frequency's power that an input leaves to the residual, at the least


class Fit(NamedTuple):
    """A least-squares fit; q inputs."""

    coefficients: Array  # (q,) [unit of the outcome per unit of the input]
    covariance: Array  # (q, q)
    df: float  # degrees of freedom of the covariance
    effective: float  # independent rows that would know as much, in (0, n]
    explained: float  # share of the outcome's variance, in [0, 1] [1]

    def p(self, which: slice | npt.NDArray[np.intp] = slice(None)) -> float:
        """The chance that these coefficients would lie as far from 0 if they were 0; NaN where it cannot be told.

        Hotelling's T2 on the covariance's degrees of freedom.
        """
        from scipy.special import fdtrc

        b = self.coefficients[which]
        covariance = self.covariance[which][:, which]
        q = len(b)
        if q == 0 or not np.isfinite(covariance).all():
            return float("nan")
        try:
            statistic = float(b @ np.linalg.solve(covariance, b))
        except np.linalg.LinAlgError:
            return float("nan")
        left = max(self.df - q + 1.0, 1.0)
        return float(fdtrc(q, left, max(statistic, 0.0) * left / (max(self.df, left) * q)))

    def interval(self, weights: npt.ArrayLike, level: float = 0.9) -> tuple[float, float, float]:
        """A weighted sum of the coefficients and its interval: value, low, high. weights: (q,)."""
        from scipy.special import stdtrit

        w = np.asarray(weights, float)
        value = float(w @ self.coefficients)
        half = float(stdtrit(max(self.df, 1.0), 0.5 + 0.5 * level)) * float(np.sqrt(max(w @ self.covariance @ w, 0.0)))
        return value, value - half, value + half


def orthogonal(columns: Array) -> Array:
    """An orthonormal basis of what ``columns`` span: (n, q) -> (n, rank <= q)."""
    if columns.shape[1] == 0 or columns.shape[0] == 0:
        return columns[:, :0]
    scaled = columns / np.maximum(np.sqrt(np.einsum("ij,ij->j", columns, columns)), 1e-300)
    values, vectors = np.linalg.eigh(scaled.T @ scaled)
    keep = values > 1e-8 * max(float(values[-1]), 1e-300)
    return np.asarray(scaled @ (vectors[:, keep] / np.sqrt(values[keep])))


def less(columns: Array, basis: Array) -> Array:
    """What of ``columns``, (n,) or (n, q), an orthonormal ``basis``, (n, r), does not span. Twice, for the digits."""
    for _ in range(2):
        columns = columns - basis @ (basis.T @ columns)
    return columns


def waves(columns: Array) -> Spectrum:
    """The Fourier transform of each column, (n, q) -> (n // 2 + 1, q), of use for several outcomes."""
    return np.asarray(np.fft.rfft(columns, axis=0))


def fit(z: Array, y: Array, *, spent: int = 1, z_waves: Spectrum | None = None) -> Fit:
    """Regress an outcome on inputs, rows in order of time. O(n log n) for few inputs.

    z: (n, q) inputs of full rank and y: (n,), both free of what else is in the model (see ``less``), of which there are
    ``spent`` terms, the mean among them. z_waves: ``waves(z)`` where it is at hand. All NaN where rows do not suffice.
    """
    n, q = z.shape
    unknown = Fit(np.full(q, np.nan), np.full((q, q), np.nan), 0.0, 0.0, float("nan"))
    if n - q - spent < 3 or q == 0:
        return unknown
    gram = z.T @ z
    try:
        inverse = np.linalg.inv(gram) if q > 1 else 1.0 / gram
    except np.linalg.LinAlgError:
        return unknown
    b = inverse @ (z.T @ y)
    e = y - z @ b
    total, unexplained = float(y @ y), float(e @ e)
    zf = waves(z) if z_waves is None else z_waves
    twice = np.full(n // 2 + 1, 2.0)  # each frequency stands for its mirror image, too
    twice[0] = 1.0
    if n % 2 == 0:
        twice[-1] = 1.0
    part = np.einsum("fi,fi->f", zf.conj(), zf @ inverse).real * twice
    power = np.abs(np.fft.rfft(e)) ** 2 / n / np.maximum(1.0 - part / n, _LEAST_LEFT)
    spectra = (smoothed(power), power)
    inner = (z * (e * e)[:, None]).T @ z
    sizes = [float(part @ each) / n for each in spectra]
    largest = float((inverse * inner).sum())
    for size, each in zip(sizes, spectra, strict=True):
        if size > largest:
            largest, inner = size, ((zf * (twice * each)[:, None]).conj().T @ zf).real / n
    shares = smoothed(part) * power
    top = float(np.max(shares, initial=0.0))
    df = 2.0 * float(shares.sum() / top) ** 2 / float(((shares / top) ** 2).sum()) if top > 0 else 1.0
    left = float(n - q - spent)
    return Fit(
        b,
        inverse @ inner @ inverse * (n / left),
        min(df, left),
        n * min(1.0, q * unexplained / n / max(largest, 1e-300)) if unexplained > 0 else float(n),
        1.0 - unexplained / total if total > 0 else float("nan"),
    )


def plain(z: Array, y: Array, inverse: Array, *, spent: int = 1) -> Fit:
    """The usual fit, as if rows were independent: what it does not tell, ``fit`` does not tell either.

    inverse: of ``z.T @ z``.
    """
    n, q = z.shape
    b = inverse @ (z.T @ y)
    e = y - z @ b
    total, unexplained = float(y @ y), float(e @ e)
    left = float(max(n - q - spent, 1))
    explained = 1.0 - unexplained / total if total > 0 else float("nan")
    return Fit(b, inverse * (unexplained / left), left, float(n), explained)


def smoothed(power: Array) -> Array:
    """A periodogram, (m,), averaged over about half of each frequency to either side, within 4 and n^0.6.

    Frequency 0, where the mean was taken away, is left out and gets what its neighbours have.
    """
    if len(power) < 3:
        return power
    low, high = _spans(len(power))
    sums = np.cumsum(power)
    return np.asarray((sums[high] - sums[low - 1]) / (high - low + 1))


@lru_cache(maxsize=8)
def _spans(m: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    place = np.arange(m)
    span = np.clip(place // 2, _LEAST_SPAN, max(_LEAST_SPAN, int((2 * m) ** 0.6)))
    return np.clip(place - span, 1, m - 1), np.clip(place + span, 1, m - 1)
