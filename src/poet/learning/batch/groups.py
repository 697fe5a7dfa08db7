"""Contexts that are alike, and whether they fare differently or want other values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from poet.kernels.batch import cluster
from poet.kernels.batch.cluster import Clusters, Difference, Tailored
from poet.learning.batch.asked import LEVEL, Asked
from poet.learning.batch.calls import Calls, Coded, Column, columns_of
from poet.learning.batch.outcomes import FEWEST, outcomes, worths
from poet.learning.batch.saying import share, span
from poet.model.estimate import Estimate
from poet.model.figures import figures
from poet.model.insight import ContextCluster, Insight, Proposal
from poet.model.tunable import Value

SAMPLE = 400  # calls that choose the number of groups: the structure that is worth telling shows in these
TOLD = 2  # features by which a group is described: those that set it apart most


def findings(function: str, calls: Calls, asked: Asked, untold: list[str]) -> Iterable[Insight]:
    """All of one function: groups that fare differently, and parameters that want other values in each."""
    if not calls.context:
        return
    if len(calls) < FEWEST:
        untold.append(f"no groups of contexts: {len(calls)} calls are too few, it takes {FEWEST}")
        return
    found, names = _clusters(calls.context, asked.seed)
    if found.k == 1:
        return
    fared, censored = outcomes(calls)
    for each in cluster.differ(found.labels, fared, censored=censored):
        if each.found:
            yield _apart(function, calls, found, names, each, asked)
    numbers = {name: column for name, column in calls.parameters.items() if not isinstance(column, Coded)}
    for told in cluster.tailored(found.labels, numbers, worths(calls, asked)[0]):
        if told.pays:
            yield _own_values(function, calls, found, names, told)


def _clusters(context: Mapping[str, Column], seed: int) -> tuple[Clusters, tuple[list[str], list[str]]]:
    numbers = {name: column for name, column in context.items() if not isinstance(column, Coded)}
    texts = {name: column.codes for name, column in context.items() if isinstance(column, Coded)}
    table = np.stack(list(numbers.values()), axis=1) if numbers else None
    return cluster.clusters(table, list(texts.values()), seed=seed, sample=SAMPLE), (list(numbers), list(texts))


def _described(calls: Calls, found: Clusters, names: tuple[list[str], list[str]], group: int) -> str:
    """A group by the features that set it apart most."""
    return ", ".join(
        f"{name} {_said(value)}" for name, value in list(_centre(calls.context, found, names, group).items())[:TOLD]
    )


def _centre(
    context: Mapping[str, Column], found: Clusters, names: tuple[list[str], list[str]], group: int
) -> dict[str, Value]:
    """What is typical of a group, by feature; what sets groups apart most comes first."""
    numbers, texts = names
    values: dict[str, Value] = {}
    order = np.argsort(-np.nan_to_num(np.array(found.separating)), kind="stable")
    for feature in order.tolist():
        if feature < len(numbers):
            value = float(found.centres[group, feature])
            if math.isfinite(value):
                values[numbers[feature]] = value
        else:
            name = texts[feature - len(numbers)]
            column, code = context[name], found.typical[group][feature - len(numbers)]
            if isinstance(column, Coded) and code >= 0:
                values[name] = column.names[code]
    return values


def _said(value: Value) -> str:
    return f"about {figures(value)}" if isinstance(value, float) else f"= {value}"


def _apart(
    function: str, calls: Calls, found: Clusters, names: tuple[list[str], list[str]], told: Difference, asked: Asked
) -> Insight:
    of_times = told.outcome == "latency"
    middle = [_plain(told, x) for x in told.median] if of_times else [each.value for each in told.mean]
    order = sorted(range(len(told.groups)), key=lambda i: middle[i])
    best, worst = (order[0], order[-1]) if told.outcome != "score" else (order[-1], order[0])
    say = {"latency": span, "failures": share, "score": figures}[told.outcome]
    groups = "; ".join(
        f"{_described(calls, found, names, told.groups[i])}: "
        f"{say(middle[i]) if math.isfinite(middle[i]) else 'no answer'} "
        f"({share(told.rows[i] / max(told.n, 1))} of the calls)"
        for i in order
    )
    what = {"latency": "the usual answer takes", "failures": "calls fail", "score": "scores are"}[told.outcome]
    ends = [[_plain(told, x) for x in told.mean[i]] for i in (worst, best)]
    size = abs(ends[0][0] - ends[1][0])
    doubt = math.hypot(ends[0][2] - ends[0][1], ends[1][2] - ends[1][1]) / 2
    stake = {"latency": asked.latency_cost, "failures": asked.value, "score": asked.value}[told.outcome]
    lead = sorted(_centre(calls.context, found, names, told.groups[worst]))
    return Insight(
        function,
        "cluster",
        told.outcome,
        f"calls come in {found.k} groups that fare differently; {what}: {groups}",
        f"Declare {', '.join(lead[:3])} as context, so that learning may give each group values of its own."
        if told.outcome != "failures"
        else f"Look at what fails where {_described(calls, found, names, told.groups[worst])}.",
        Estimate(size, max(size - doubt, 0.0), size + doubt, told.n, LEVEL),
        {"latency": "s", "failures": "share of calls", "score": "score"}[told.outcome],
        told.n,
        float(calls.started[0]),
        float(calls.started[-1]),
        worth=1000.0 * stake * size * min(told.rows[worst], told.n - told.rows[worst]) / max(told.n, 1) / 2,
        facts={"groups": float(found.k), "silhouette": found.silhouette, "strength": told.strength, "q": told.q},
    )


def _plain(told: Difference, x: float) -> float:
    """A figure of an outcome in its own units: latencies are looked at as logarithms."""
    return float(10.0 ** min(x, 300.0)) if told.outcome == "latency" else x


def _own_values(
    function: str,
    calls: Calls,
    found: Clusters,
    names: tuple[list[str], list[str]],
    told: Tailored,
) -> Insight:
    groups = "; ".join(
        f"{_described(calls, found, names, group)}: {figures(best)}"
        for group, best in zip(told.groups, told.best, strict=True)
    )
    gain = Estimate(*told.gain, told.n, LEVEL)
    away = int(np.argmax(np.abs(np.array(told.best) - told.common)))
    context = _centre(calls.context, found, names, told.groups[away])
    only = dict(list(context.items())[:1])
    return Insight(
        function,
        "cluster",
        told.parameter,
        f"{told.parameter} is best at another value in each group of contexts: {groups}; one for all: "
        f"{figures(told.common)}; values of their own gain {figures(gain.value)} per call "
        f"[{figures(gain.low)} to {figures(gain.high)}]",
        "Let learning tell these contexts apart (context=), which gives each group its own value where that pays.",
        gain,
        "utility per call",
        told.n,
        float(calls.started[0]),
        float(calls.started[-1]),
        worth=1000.0 * max(gain.value, 0.0),
        proposal=Proposal({told.parameter: float(told.best[away])}, only, gain),
        facts={"q": told.q, "common": told.common},
    )


def clusters_of(contexts: Sequence[Mapping[str, Any]], seed: int) -> list[ContextCluster]:
    """See ``PatternRecognitionEngine.context_clustering``."""
    if not contexts:
        return []
    columns = columns_of(contexts)
    found, names = _clusters(columns, seed)
    told = []
    for group in range(found.k):
        centre = _centre(columns, found, names, group) if columns else {}
        size = int((found.labels == group).sum()) if found.k > 1 else len(contexts)
        stability = found.stability[group] if group < len(found.stability) else 1.0
        told.append(ContextCluster(group, size, size / len(contexts), centre, stability))
    return told
