"""What goes with what: parameters and features of calls against their latency, failures and scores."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from poet.kernels.batch import correlation
from poet.kernels.batch.correlation import Relation
from poet.kernels.batch.findings import Figure
from poet.learning.batch.asked import LEVEL, Asked
from poet.learning.batch.calls import Array, Calls, Coded, Column, number
from poet.learning.batch.outcomes import FEWEST, outcomes
from poet.learning.batch.points import DAY, Points
from poet.learning.batch.saying import by, share
from poet.model.estimate import Estimate
from poet.model.figures import figures
from poet.model.insight import Insight

FEWEST_OF = 30  # calls of a category, for it to be looked at
MOST_CATEGORIES = 4  # of a feature: the most frequent
_OF_PARAMETER, _OF_FEATURE = "parameter ", "feature "


def findings(function: str, calls: Calls, series: Points | None, asked: Asked, untold: list[str]) -> Iterable[Insight]:
    """All of one function: at most one per cause and outcome."""
    if len(calls) < FEWEST:
        untold.append(f"no relations: {len(calls)} calls are too few, it takes {FEWEST}")
        return
    causes = {**_causes(_OF_PARAMETER, calls.parameters), **_causes(_OF_FEATURE, calls.context)}
    if not causes:
        untold.append("no relations: no parameter and no feature differs between calls")
        return
    fared, censored = outcomes(calls)
    fared = {name: outcome for name, outcome in fared.items() if _differs(name, outcome)}
    censored = {name: flags for name, flags in censored.items() if name in fared}
    if not fared:
        untold.append("no relations: all calls fared alike")
        return
    for found in correlation.relations(causes, fared, _confounders(calls, series), censored=censored):
        if found.found:
            yield _told(function, calls, found, asked)


def _causes(of: str, columns: Mapping[str, Column]) -> dict[str, Array]:
    """Numbers as they are, categories one by one: those that differ between calls."""
    causes: dict[str, Array] = {}
    for name, column in columns.items():
        if not isinstance(column, Coded):
            known = column[np.isfinite(column)]
            if len(known) >= FEWEST_OF and float(np.ptp(known)) > 0:
                causes[f"{of}{name}"] = column
            continue
        counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.names))
        frequent = np.argsort(-counts, kind="stable")[:MOST_CATEGORIES]
        known_ = column.codes >= 0
        for code in frequent[: 1 if len(column.names) == 2 else None].tolist():
            if FEWEST_OF <= counts[code] <= known_.sum() - FEWEST_OF:
                told = np.where(known_, (column.codes == code).astype(np.float64), np.nan)
                causes[f"{of}{name} = {column.names[code]}"] = told
    return causes


def _differs(name: str, outcome: Array) -> bool:
    """Whether calls fared differently, and often enough."""
    known = outcome[np.isfinite(outcome)]
    if name == "failures":
        return bool(FEWEST_OF <= known.sum() <= len(known) - FEWEST_OF)
    return float(np.ptp(known)) > 0


def _confounders(calls: Calls, series: Points | None) -> dict[str, Array]:
    """What may drive causes and outcomes both."""
    span = float(calls.started[-1] - calls.started[0])
    found = {"time": calls.started - calls.started[0]} if span > 0 else {}
    if span > 1.5 * DAY:
        found["time of day"] = np.mod(calls.started, DAY) / 3600.0
    if series is not None:
        place = np.floor((calls.started - series.start) / series.step).astype(np.int64)
        found["load"] = series.calls[np.clip(place, 0, len(series) - 1)]
    return found


def _told(function: str, calls: Calls, found: Relation, asked: Asked) -> Insight:
    effect, unit, low, high = _effect(found)
    cause = found.cause.removeprefix(_OF_PARAMETER).removeprefix(_OF_FEATURE)
    parameter = found.cause.startswith(_OF_PARAMETER)
    category = " = " in found.cause
    name = cause.partition(" = ")[0]
    other = "all others" if category else figures(found.low)
    apart = f"{cause} against {other}" if category else f"{cause} at {figures(found.high)} against {other}"
    subject = {"latency": "answers take", "failures": "calls fail", "score": "scores are"}[found.outcome]
    if found.outcome == "latency":
        size = f"{by(1 + effect)} [{figures(100 * low)} to {figures(100 * high)} %]"
    elif found.outcome == "failures":
        size = f"{share(abs(effect))} {'more' if effect > 0 else 'less'} often [{share(low)} to {share(high)}]"
    else:
        size = f"{figures(abs(effect))} {'higher' if effect > 0 else 'lower'} [{figures(low)} to {figures(high)}]"
    bend = ""
    if found.bent and found.optimum is not None:
        best = found.optimum
        bend = (
            f"; {'most' if best.highest else 'least'} at {cause} {figures(best.where.value)} "
            f"[{figures(best.where.low)} to {figures(best.where.high)}]"
        )
    hidden = f"; the plain correlation is {found.raw.value:+.2f}, all else the same {found.partial.value:+.2f}" + (
        f": {found.explained_by} explains most of the difference" if found.explained_by else ""
    )
    worse = {"latency": asked.latency_cost * _seconds(calls), "failures": asked.value, "score": -asked.value}
    return Insight(
        function,
        "relation",
        cause,
        f"{subject} {size} where {apart}{bend}{hidden}; this is a correlation, no proof of a cause",
        (
            f"Let {name} be varied by lot, as learning does with declared tunables: that shows whether it is the cause."
            if parameter
            else f"Declare {name} as context, so that learning may tell its calls apart."
        ),
        Estimate(effect, low, high, found.n, LEVEL),
        unit,
        found.n,
        float(calls.started[0]),
        float(calls.started[-1]),
        worth=1000.0 * abs(effect * worse[found.outcome]) / 2,
        facts={
            "outcome": found.outcome,
            "correlation": found.raw.value,
            "partial": found.partial.value,
            "q": found.q,
            "effective": found.effective,
            **({"explained by": found.explained_by} if found.explained_by else {}),
            **({"twins": ", ".join(found.twins)} if found.twins else {}),
        },
    )


def _seconds(calls: Calls) -> float:
    known = calls.seconds[calls.good & np.isfinite(calls.seconds)]
    return float(np.median(known)) if len(known) else 0.0


def _effect(found: Relation) -> tuple[float, str, float, float]:
    """Size, unit and interval; of latency as a ratio less 1."""
    if found.outcome != "latency":
        return found.effect.value, "share of calls" if found.outcome == "failures" else "score", *found.effect[1:]
    value, low, high = (math.expm1(math.log(10.0) * min(x, 300.0)) for x in found.effect)
    return value, "ratio - 1", low, high


# --- performance alone -----------------------------------------------------------------------------------------------


def of_performance(
    params: Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]], performance: Sequence[float]
) -> dict[str, Any]:
    """See ``PatternRecognitionEngine.performance_correlation_analysis``."""
    outcome = np.array([number(x) for x in performance], np.float64)
    if isinstance(params, Mapping):
        named = {str(name): list(params[name]) for name in sorted(params)}
    else:
        names = sorted({str(name) for each in params for name in each})
        named = {name: [each.get(name) for each in params] for name in names}
        if len(params) != len(outcome):
            raise ValueError(f"params are of {len(params)} executions, performance of {len(outcome)}")
    for name, values in named.items():
        if len(values) != len(outcome):
            raise ValueError(f"{name} has {len(values)} values, performance {len(outcome)}")
    causes: dict[str, Array] = {}
    for name, values in named.items():
        texts = sorted({x for x in values if isinstance(x, str | bool)}, key=str)
        for text in texts[: 1 if len(texts) == 2 else MOST_CATEGORIES]:
            causes[f"{name}={text}"] = np.array([math.nan if x is None else float(x == text) for x in values])
        if not texts:
            causes[name] = np.array([number(x) for x in values], np.float64)
    if not causes or len(outcome) == 0:
        return {}
    return {each.cause: _entry(each) for each in correlation.relations(causes, {"performance": outcome})}


def _entry(found: Relation) -> dict[str, Any]:
    best = found.optimum
    return {
        "correlation": found.raw.value,
        "low": found.raw.low,
        "high": found.raw.high,
        "partial": found.partial.value,
        "q": found.q,
        "executions": found.n,
        "significant": found.found,
        "nonlinear": found.bent,
        "best": best.where.value if best is not None and best.highest else None,
        "effect": _plain(found.effect),
        "note": found.note,
    }


def _plain(found: Figure) -> dict[str, float]:
    return {"value": found.value, "low": found.low, "high": found.high}
