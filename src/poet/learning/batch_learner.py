"""What the history knows: findings over all recorded calls of a function, for people and for Train.

The classes that the plan names; they are thin faces over ``learning.batch`` and ``kernels.batch``. Beside numpy they
need what ``pip install 'poet-runtime[batch]'`` brings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from poet.kernels.batch import changepoint, forecast, season
from poet.learning.batch import groups, relations
from poet.learning.batch.analysis import analyse, together
from poet.learning.batch.asked import LEVEL, Asked, Costs
from poet.learning.batch.calls import Array, of_rows
from poet.learning.batch.over_time import AHEAD_SHARE
from poet.learning.batch.points import DAY
from poet.learning.batch.threads import single
from poet.model.estimate import Estimate
from poet.model.insight import (
    ContextCluster,
    OptimizationInsights,
    Season,
    Shift,
    TemporalPatterns,
)
from poet.model.objective import Objective
from poet.model.tunable import Value

__all__ = [
    "BatchLearner",
    "ContextCluster",
    "OptimizationInsights",
    "PatternRecognitionEngine",
    "TemporalPatterns",
]

FEWEST_VALUES = 8  # of a series


class BatchLearner:
    """Finds in recorded executions what a single one cannot show.

    objective: what calls are worth; None: as everywhere, with a latency cost derived from each function's own answers.
    live: values in force by function's name, for what is suggested. seed: of all that is drawn. alarms: false alarms
    per day that each series of a function may have, > 0; or costs: of a false alarm and of a missed incident, in one
    unit, and incidents expected per day, from which the rate follows. dependencies: what each function calls, by its
    name, so that incidents of functions which share one are told as one.
    Raises ConfigurationError where one of them is not > 0.
    """

    def __init__(
        self,
        *,
        objective: Objective | None = None,
        live: Mapping[str, Mapping[str, Value]] = MappingProxyType({}),
        seed: int = 0,
        alarms: float = 0.01,
        costs: Costs | None = None,
        dependencies: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._dependencies = dependencies
        self._asked = Asked(objective or Objective(), seed=seed, alarms=alarms, costs=costs)
        self._live = live

    def analyze_execution_patterns(self, execution_history: Iterable[Mapping[str, Any]]) -> OptimizationInsights:
        """All findings, most at stake first.

        execution_history: rows with ``function``, ``timestamp`` (Unix time [s], a datetime or ISO text), ``success``,
            ``execution_time`` [s], ``attempts`` (their number, or each of them), ``parameters``, ``context``,
            ``score``, ``error_type``, and if there are, ``execution_id``, ``version``, ``randomised`` (whether the
            parameters were dealt out by lot) and ``propensity`` (with what probability these were). What is missing is
            unknown, not zero. In any order; rows told twice count once.
        Rows that cannot be used are counted by reason, with each function and in ``left_out``. Nothing is raised for
        what a row holds.
        """
        read, lost = of_rows(execution_history)
        with single():
            return together(
                [
                    analyse(name, calls, replace(self._asked, live=self._live.get(name, {})))
                    for name, calls in read.items()
                ],
                lost,
                self._dependencies,
            )


class PatternRecognitionEngine:
    """Single looks: at contexts, at parameters and performance, at a series over time. seed: of all that is drawn."""

    def __init__(self, *, seed: int = 0) -> None:
        self._seed = seed

    def context_clustering(self, execution_contexts: Iterable[Mapping[str, Any]]) -> list[ContextCluster]:
        """Groups of contexts that are alike, the largest first; one group where there is no structure beyond chance.

        execution_contexts: features by name: numbers, texts, booleans; each mapping may miss some. None: an empty list.
        """
        with single():
            return groups.clusters_of(list(execution_contexts), self._seed)

    def performance_correlation_analysis(
        self,
        params: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
        performance: Sequence[float],
    ) -> dict[str, Any]:
        """How each parameter and the performance go together; by parameter's name.

        params: one mapping per execution, or one sequence per parameter, in order of time. performance: of each
        execution, the higher the better; NaN where it is not known. Each entry is a mapping: ``correlation`` (of ranks,
        in [-1, 1]) with ``low`` and ``high`` (90 %), ``partial`` (given the other parameters), ``significant`` (beyond
        chance at a false-discovery rate of 2 % over all parameters, and large enough to matter), ``nonlinear``, and
        ``best`` (the value where performance is highest, where that lies within the range). Raises ValueError where the
        two are not of one length.
        """
        with single():
            return relations.of_performance(params, performance)

    def temporal_pattern_detection(self, time_series_data: Any) -> TemporalPatterns:
        """Trend, seasons, shifts and the points to come of a regular series.

        time_series_data: pairs of Unix time [s] and value, a mapping from the one to the other, or values alone, which
        lie a second apart then. Times in any order; values of one moment are averaged; gaps are allowed, NaN is one.
        """
        moments, values = _pairs(time_series_data)
        with single():
            return _temporal(moments, values)


def _pairs(data: Any) -> tuple[Array, Array]:
    """Times and values, in order."""
    found = list(data.items()) if isinstance(data, Mapping) else list(data)
    if found and not isinstance(found[0], Sequence | np.ndarray):
        found = list(enumerate(found))
    table = np.array([(float(at), float(value)) for at, value in found], np.float64).reshape(-1, 2)
    table = table[np.isfinite(table[:, 0])]
    order = np.argsort(table[:, 0], kind="stable")
    return table[order, 0], table[order, 1]


def _temporal(moments: Array, values: Array) -> TemporalPatterns:
    known = int(np.isfinite(values).sum())
    gaps = np.diff(np.unique(moments))
    step = float(np.median(gaps)) if len(gaps) else 0.0
    if known < FEWEST_VALUES or step <= 0:
        few = f"{known} values are too few: it takes {FEWEST_VALUES}"
        return TemporalPatterns(known, step, None, (), (), (), (few,))
    places = np.rint((moments - moments[0]) / step).astype(np.int64)
    if int(places[-1]) > 100 * len(moments):
        said = "the moments are too uneven: most of the points would be empty"
        return TemporalPatterns(known, step, None, (), (), (), (said,))
    fine = np.isfinite(values)
    k = int(places[-1]) + 1
    counts = np.bincount(places[fine], minlength=k)
    with np.errstate(invalid="ignore"):
        series = np.bincount(places[fine], weights=values[fine], minlength=k) / np.where(counts, counts, np.nan)
    periods = season.periods(series)
    shifts = changepoint.changes(series, periods)
    slope = changepoint.trend(series, periods, level=LEVEL)
    ahead = max(1, int(AHEAD_SHARE * k))
    told = forecast.forecast(series[shifts[-1].at if shifts else 0 :], periods, ahead, level=LEVEL)
    untold = []
    if not math.isfinite(slope.per_step):
        untold.append("no trend: too few points")
    if not np.isfinite(told.mean).any():
        untold.append("no forecast: too few points")
    return TemporalPatterns(
        known,
        step,
        _scaled(slope, DAY / step, known),
        tuple(Season(each.length * step, each.strength) for each in periods),
        tuple(
            Shift(
                float(moments[0] + each.at * step),
                float(moments[0] + each.low * step),
                float(moments[0] + each.high * step),
                Estimate(each.magnitude, each.magnitude_low, each.magnitude_high, known, LEVEL),
            )
            for each in shifts
        ),
        tuple(
            Estimate(mean, low, high, known, LEVEL)
            for mean, low, high in zip(told.mean.tolist(), told.low.tolist(), told.high.tolist(), strict=True)
            if math.isfinite(mean)
        ),
        tuple(untold),
    )


def _scaled(slope: changepoint.Slope, steps: float, n: int) -> Estimate | None:
    """A slope over so many steps; None where it is not known."""
    if not math.isfinite(slope.per_step):
        return None
    return Estimate(slope.per_step * steps, slope.low * steps, slope.high * steps, n, LEVEL)
