"""What the calls of a function are like: numbers with their errors, from what a store keeps of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from poet.model.aggregate import HOUR, Hour
from poet.model.execution import Execution, Outcome
from poet.model.likeness import MEASURED, Behaviour
from poet.model.tunable import Value
from poet.sharing.stems import digest

LEAST = 10  # attempts below which nothing is said
QUANTILES = {"p05": 0.05, "p25": 0.25, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
MOST_KINDS = 4  # kinds of errors that are told apart
LEARNED_ERROR = 0.35  # of a learned value's logarithm: what two learners of one service differ by
DAYS = 2.0  # of hours with calls, before a pattern of the day is told
FLOOR, CEILING = 1e-7, 1e8  # durations beyond are taken for these [s]
CENSORED = frozenset((Outcome.TIMEOUT, Outcome.CANCELLED))
MADE = frozenset((Outcome.SUCCESS, Outcome.ERROR, Outcome.TIMEOUT, Outcome.LATE, Outcome.REFUSED, Outcome.CANCELLED))


def behaviour(
    executions: Sequence[Execution],
    hours: Sequence[Hour] = (),
    learned: Mapping[str, Value] = MappingProxyType({}),
) -> Behaviour | None:
    """None: there are too few calls to say anything.

    executions: the newest, some thousand at most. hours: what was counted hour by hour. learned: values of timeout,
    retries and backoff that a learner found; not those that are as declared.
    Durations are of attempts that are no hedges; those cut off are censored, and quantiles are of the product limit
    (Kaplan & Meier 1958) up to where it is known. The error of a quantile q is sqrt(q (1 - q) / n) over the density, by
    the difference of neighbouring quantiles (Woodruff 1952).
    """
    attempts = [
        (min(max(each.seconds, FLOOR), CEILING), each.outcome)
        for execution in executions
        for each in execution.attempts
        if not each.hedge and each.outcome in MADE and math.isfinite(each.seconds) and each.seconds >= 0
    ]
    if len(attempts) < LEAST:
        return None
    found: dict[str, tuple[float, float]] = {}
    _durations(found, attempts)
    kinds = _failures(found, executions, attempts)
    _time(found, hours or _hours(executions))
    _learned(found, learned)
    numbers = tuple(found[name][0] if name in found else None for name in MEASURED)
    errors = tuple(found[name][1] if name in found else None for name in MEASURED)
    return Behaviour(len(executions), numbers, errors, kinds)


def _durations(found: dict[str, tuple[float, float]], attempts: Sequence[tuple[float, Outcome]]) -> None:
    curve = _product_limit([(math.log(seconds), outcome in CENSORED) for seconds, outcome in attempts])
    middle = _quantile(curve, 0.5)
    if middle is None:
        return
    n = len(attempts)
    found["level"] = (middle, _error(curve, 0.5, n))
    for name, q in QUANTILES.items():
        at = _quantile(curve, q)
        if at is not None and n * min(q, 1 - q) >= 1:
            found[name] = (at - middle, math.hypot(_error(curve, q, n), found["level"][1]))


def _product_limit(times: list[tuple[float, bool]]) -> list[tuple[float, float]]:
    """Moments, rising, and the share that has ended by each. times: until the end, or (True) until it was cut off."""
    at_risk, alive = len(times), 1.0
    curve = []
    for at, cut in sorted(times):
        if not cut:
            alive *= 1 - 1 / at_risk
            curve.append((at, 1 - alive))
        at_risk -= 1
    return curve


def _quantile(curve: list[tuple[float, float]], q: float) -> float | None:
    """None: it was never seen to end so late."""
    from bisect import bisect_left

    place = bisect_left(curve, q - 1e-9, key=lambda each: each[1])
    return curve[place][0] if place < len(curve) else None


def _error(curve: list[tuple[float, float]], q: float, n: int) -> float:
    width = math.sqrt(q * (1 - q) / n)
    low = _quantile(curve, max(q - width, 1e-6))
    high = _quantile(curve, min(q + width, curve[-1][1]))
    least = 0.02 + 0.5 / n
    return max(least, 0.5 * ((high if high is not None else 0) - (low if low is not None else 0)))


def _share(part: int, whole: int) -> tuple[float, float]:
    """Logit of a share with half a count added on each side, and its error (Gart & Zweifel 1967)."""
    a, b = part + 0.5, whole - part + 0.5
    return math.log(a / b), math.sqrt(1 / a + 1 / b)


def _failures(
    found: dict[str, tuple[float, float]], executions: Sequence[Execution], attempts: Sequence[tuple[float, Outcome]]
) -> tuple[tuple[int, float], ...]:
    judged = [outcome for _, outcome in attempts if outcome is not Outcome.CANCELLED]
    if judged:
        bad = Counter(outcome for outcome in judged if not outcome.good)
        found["failures"] = _share(sum(bad.values()), len(judged))
        found["timeouts"] = _share(bad[Outcome.TIMEOUT], len(judged))
        found["refused"] = _share(bad[Outcome.REFUSED], len(judged))
    kinds = Counter(execution.error for execution in executions if execution.error)
    total = kinds.total()
    if not total:
        return ()
    return tuple(sorted((digest(f"error:{name}"), n / total) for name, n in kinds.most_common(MOST_KINDS)))


def _hours(executions: Sequence[Execution]) -> list[Hour]:
    starts = Counter(HOUR * (each.started // HOUR) for each in executions)
    return [Hour(start, 0, n, (), 0, 0, 0.0, 0, 0.0, {}) for start, n in starts.items()]


def _time(found: dict[str, tuple[float, float]], hours: Sequence[Hour]) -> None:
    calls: Counter[float] = Counter()
    for each in hours:
        if each.calls > 0:
            calls[each.start] += each.calls
    if not calls:
        return
    logs = [math.log(n) for n in calls.values()]
    mean = sum(logs) / len(logs)
    spread = math.sqrt(sum((x - mean) ** 2 for x in logs) / max(1, len(logs) - 1))
    found["rate"] = (mean, math.sqrt((max(spread, 0.7) ** 2) / len(logs)))
    days = (max(calls) - min(calls)) / (24 * HOUR)
    if days < DAYS or len(calls) < 24:
        return
    cos = sin = weight = squares = 0.0
    for start, n in calls.items():
        angle = 2 * math.pi * (start / HOUR % 24) / 24
        cos, sin = cos + n * math.cos(angle), sin + n * math.sin(angle)
        weight, squares = weight + n, squares + n * n
    error = max(0.03, math.sqrt(squares / weight**2 / 2))
    found["day_cos"], found["day_sin"] = (cos / weight, error), (sin / weight, error)


def _learned(found: dict[str, tuple[float, float]], learned: Mapping[str, Value]) -> None:
    level = found.get("level")
    for name in ("timeout", "backoff"):
        value = learned.get(name)
        if level is not None and isinstance(value, int | float) and value > 0 and math.isfinite(value):
            found[name] = (math.log(max(value, 1e-3)) - level[0], math.hypot(LEARNED_ERROR, level[1]))
    retries = learned.get("retries")
    if isinstance(retries, int | float) and retries >= 0 and math.isfinite(retries):
        found["retries"] = (min(math.log1p(retries), 5.0), LEARNED_ERROR)
