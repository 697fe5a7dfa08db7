"""What a retry meets: is it a fresh attempt, or more of the same?

Three questions, each with a discrete posterior over a small grid:
- which share of errors belongs to the call, so that every attempt of it fails (permanent);
- how long an error persists otherwise: a retry after a pause w fails again with ``p + (1 - p) exp(-w / m)``;
- with which chance a retry after a timeout meets the same slowness, since it lies in the call and not in the attempt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PERMANENT: Array = np.array([0.0, 0.03, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])  # share of the errors [1]
PERMANENT_BEFORE: Array = np.array([0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.99])  # of earlier releases
PERSISTENCE: Array = np.array([0.0, 0.05, 0.15, 0.5, 1.5, 5.0, 15.0])  # m [s]
REPEATS: Array = np.linspace(0.0, 1.0, 11)  # chance that latency repeats [1]
_NO_RETRY = (0.0, 0.0, 0.0)  # fills up the shorter sequences
MEMORY = 1500.0  # half-life in retried calls: these traits of a service change slowly

# Most errors pass at once: 0 s and 0 % are favoured, by no more than one or two retries can overturn.
_PERMANENT_PRIOR = np.array([3.0, 1, 1, 1, 1, 1, 1, 1, 0.7, 0.4])
_PERSISTENCE_PRIOR = np.array([4.0, 1, 1, 1, 1, 1, 0.5])
_REPEATS_PRIOR = (1 - 0.97 * REPEATS) ** 2


class Beliefs(NamedTuple):
    """Unnormalised log posteriors."""

    errors: Array  # (n_permanent, n_persistence)
    repeats: Array  # (n_repeats,)


def prior() -> Beliefs:
    """What is believed before any retry was seen."""
    errors: Array = np.log(_PERMANENT_PRIOR[:, None] * _PERSISTENCE_PRIOR[None, :])
    return Beliefs(errors, np.log(_REPEATS_PRIOR))


PRIOR = prior()


def resampled(evidence: Array) -> Array:
    """What an earlier release added to its prior, on its grid, on ours: (n_permanent, n_persistence) both."""
    result: Array = np.stack([np.interp(PERMANENT, PERMANENT_BEFORE, column) for column in evidence.T], axis=1)
    return result


def normalised(log_posterior: Array) -> Array:
    """Probabilities from unnormalised log posteriors, of the same shape."""
    weight = np.exp(log_posterior - log_posterior.max())
    result: Array = weight / weight.sum()
    return result


def fading(pause: Array) -> Array:
    """Share of an error's persistence left after ``pause`` [s]: (..., n_persistence).

    >>> fading(np.array(0.5)).round(2).tolist()
    [0.0, 0.0, 0.04, 0.37, 0.72, 0.9, 0.97]
    """
    result: Array = np.where(PERSISTENCE > 0, np.exp(-pause[..., None] / np.maximum(PERSISTENCE, 1e-9)), 0.0)
    return result


def jittered_fading(bound: Array) -> Array:
    """``fading`` averaged over a pause drawn uniformly from ``[0, bound]`` [s]: (..., n_persistence)."""
    ratio = bound[..., None] / np.maximum(PERSISTENCE, 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        averaged = np.where(ratio > 1e-9, -np.expm1(-ratio) / ratio, 1.0)
    result: Array = np.where(PERSISTENCE > 0, averaged, 0.0)
    return result


def after_errors(sequences: Sequence[Sequence[tuple[bool, float, float]]], error_share: float) -> Array:
    """Log likelihood of each retried call: (n_calls, n_permanent, n_persistence).

    sequences: per call what followed its first error, retry by retry up to and with the first that was no error:
        whether it was an error again, the pause before it [s], and 1.
    error_share: of first attempts, in [0, 1).
    """
    if not sequences:
        return np.empty((0, len(PERMANENT), len(PERSISTENCE)))
    longest = max(map(len, sequences))
    padded = [[*sequence, *[_NO_RETRY] * (longest - len(sequence))] for sequence in sequences]
    again, pause, there = np.array(padded, dtype=float).transpose(2, 0, 1)
    transient = error_share * (1 - PERMANENT) / np.maximum(1 - PERMANENT * error_share, 1e-6)
    left = fading(pause)[:, :, None, :]
    chance = np.clip(transient[:, None] + (1 - transient[:, None]) * left, 1e-4, 0.9999)
    again, there = again[:, :, None, None], there[:, :, None, None]
    passing = np.prod(1 - there * np.where(again, 1 - chance, chance), axis=1)
    always = np.min(np.maximum(again, 1 - there), axis=1)
    share = PERMANENT[:, None]
    logs: Array = np.log(np.maximum((1 - share) * passing + share * always, 1e-6))
    return logs


def after_timeouts(sequences: Sequence[Sequence[tuple[bool, float]]]) -> Array:
    """Log likelihood of each retried call: (n_calls, n_repeats).

    sequences: per call what followed its first timeout, retry by retry: whether an answer came, and the chance that a
        fresh attempt would have had; up to and with the first answer.
    """
    found = []
    for sequence in sequences:
        fresh, all_out = 1.0, True
        for answered, chance in sequence:
            likely = min(0.98, max(0.02, chance))
            fresh *= likely if answered else 1 - likely
            all_out &= not answered
        found.append((fresh, all_out))
    fresh_, none = np.array(found, dtype=float).reshape(-1, 2).T[..., None]
    result = (1 - REPEATS) * fresh_ + REPEATS * none
    logs: Array = np.log(result + 1e-4)  # no single answer proves that latency never repeats
    return logs


def updated(belief: Array, start: Array, log_likelihoods: Array, *, half_life: float = MEMORY) -> Array:
    """A log posterior after several observations, drawn back towards ``start`` as the old ones fade.

    belief, start: of one shape; log_likelihoods: (n, *shape), oldest first.
    """
    n = len(log_likelihoods)
    return moved(belief, start, n, gathered(log_likelihoods, half_life=half_life), half_life=half_life) if n else belief


def kept(n: int, *, half_life: float = MEMORY) -> float:
    """Share of what was believed that ``n`` observations leave, in (0, 1] [1]."""
    keep: float = 0.5 ** (1.0 / half_life)
    return keep**n


def gathered(log_likelihoods: Array, *, half_life: float = MEMORY) -> Array:
    """What several observations add to a log posterior: (n, *shape), oldest first -> (*shape)."""
    ages = (0.5 ** (1.0 / half_life)) ** np.arange(len(log_likelihoods) - 1, -1, -1)
    result: Array = np.tensordot(ages, log_likelihoods, axes=1)
    return result


def moved(belief: Array, start: Array, n: int, gain: Array, *, half_life: float = MEMORY) -> Array:
    """A log posterior after ``n`` observations that add ``gain``, drawn back towards ``start``; all of one shape."""
    keep = kept(n, half_life=half_life)
    faded: Array = keep * belief + (1 - keep) * start + gain
    result: Array = faded - faded.max()
    return result
