"""Calls counted over equal steps of time: how many, how many failed, how long they took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from poet.learning.batch.calls import Array, Calls

STEPS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 86400.0)  # [s]; a day is a whole number of each
DAY = 86400.0  # [s]
USUAL = 3600.0  # what is taken where the history is long enough for it [s]
FEWEST_POINTS = 24
MOST_POINTS = 4000
FEWEST_CALLS = 5  # at a point, for its latency and its failures to be told
TYPICAL_CALLS = 10.0  # at a point on average, where finer steps than an hour are taken
EMPTIEST = 0.5  # share of the points that may have too few calls


@dataclass(frozen=True, slots=True)
class Points:
    """Equal steps of time, k of them, from the first call to the last."""

    start: float  # of the first, Unix time [s]; a multiple of the step
    step: float  # [s]
    calls: Array  # (k,) whose start lies in each
    failures: Array  # (k,) of them without an answer
    latency: Array  # (k,) mean of log10 of the answered calls' seconds; NaN where there are too few

    def __len__(self) -> int:
        return len(self.calls)

    def at(self, index: float) -> float:
        """When a point begins, Unix time [s]; between two points the share of the step."""
        return self.start + index * self.step

    @property
    def failed(self) -> Array:
        """(k,) Share of calls without an answer, in [0, 1]; NaN where there are too few."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(self.calls >= FEWEST_CALLS, self.failures / self.calls, np.nan)


def step_for(calls: Calls) -> float:
    """The width of a step [s]; 0.0 where no width makes enough points of enough calls."""
    if len(calls) < FEWEST_POINTS:
        return 0.0
    span = float(calls.started[-1] - calls.started[0])
    wide = [step for step in STEPS if FEWEST_POINTS <= span / step <= MOST_POINTS]
    if USUAL in wide and _filled(calls, USUAL):
        return USUAL
    for step in wide:
        if (step >= USUAL or len(calls) * step / span >= TYPICAL_CALLS) and _filled(calls, step):
            return step
    return 0.0


def _filled(calls: Calls, step: float) -> bool:
    first = np.floor(calls.started[0] / step)
    counts = np.bincount((np.floor(calls.started / step) - first).astype(np.int64))
    return float((counts < FEWEST_CALLS).mean()) <= EMPTIEST


def points(calls: Calls, step: float) -> Points:
    """The points of calls in the order of time; step > 0 [s]. The first and the last are whole only by chance."""
    first = np.floor(calls.started[0] / step)
    places = (np.floor(calls.started / step) - first).astype(np.int64)
    k = int(places[-1]) + 1
    counts = np.asarray(np.bincount(places, minlength=k), np.float64)
    failures = np.asarray(np.bincount(places, weights=(~calls.good).astype(np.float64), minlength=k), np.float64)
    answered = calls.good & (calls.seconds > 0)
    where, logs = places[answered], np.log10(np.maximum(calls.seconds[answered], 1e-9))
    n = np.bincount(where, minlength=k).astype(np.float64)
    enough = n >= FEWEST_CALLS
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(where, weights=logs, minlength=k) / n
    return Points(float(first * step), step, counts, failures, np.where(enough, mean, np.nan))
