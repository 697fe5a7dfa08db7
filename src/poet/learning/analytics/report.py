"""What learning has gained, for one function and over all: the parts put together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from poet.errors import StoreError
from poet.kernels.batch import blocks
from poet.kernels.batch.findings import adjusted
from poet.learning.analytics import words
from poet.learning.analytics.against import (
    LEVEL,
    MEANS,
    Array,
    columns,
    compare,
    estimate,
    lived,
)
from poet.learning.analytics.against import Compared as Replayed
from poet.learning.analytics.changes import agreed, changes, improved, untold, values_of
from poet.learning.analytics.contrast import Worth, contrast, worths
from poet.learning.analytics.hindsight import hindsight
from poet.learning.replay import MOST as _REPLAYED
from poet.learning.replay import USUAL, used_by, with_scale
from poet.learning.replay_record import read
from poet.model.aggregate import Hour
from poet.model.contexts import MARK
from poet.model.estimate import Estimate
from poet.model.execution import Execution
from poet.model.gains import RATE, AllGains, Compared, Estimator, Gains, Moment, Overhead, Saved
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.model.replay import FIGURES
from poet.model.tunable import Value

if TYPE_CHECKING:
    from poet.seams import FunctionRecord, Store

MOST = 2 * _REPLAYED  # newest calls that are compared
MOMENTS = 40  # of the running effect, at most
REQUESTS, ATTEMPTS = 3, 7  # requests of an attempt, and attempts of a call, that are looked at
NORMAL = 1.6449  # standard errors on either side of a normal mean that hold it at ``LEVEL``
PER = 1000  # calls of what was saved


def of_store(
    store: Store,
    record: FunctionRecord,
    objective: Objective | None = None,
    *,
    since: float = 0.0,
    thorough: bool = True,
    overhead: Overhead | None = None,
) -> Gains:
    """What learning has gained on the stored calls of a function; at most the newest ``MOST``.

    objective: with its scales, as the learner has it; None: as declared. since: Unix time [s]. thorough: whether to
    look for the best values in hindsight, too, which takes the longest. Raises StoreError where calls cannot be read.
    """
    declared = Objective(**{name: value for name, value in record.objective.items() if value is not None})
    versions = {version.version: version for version in store.versions(record.key)}
    live = store.standing(record.key).live
    executions = list(store.executions(record.key, since=since, limit=MOST + 1))
    try:
        hours = store.hours(record.key, since=since)
    except StoreError:  # calls suffice
        hours = []
    return gains(
        str(record.key),
        executions,
        versions,
        record.declared,
        live,
        objective or declared,
        space=record.space,
        hours=hours,
        thorough=thorough,
        overhead=overhead,
        learns=bool(record.learner),
    )


def gains(
    function: str,
    executions: Iterable[Execution],
    versions: Mapping[int, ParameterSet],
    declared: Mapping[str, Value],
    live: Mapping[str, Value],
    objective: Objective,
    *,
    space: Mapping[str, Sequence[float]] | None = None,
    hours: Sequence[Hour] = (),
    thorough: bool = True,
    overhead: Overhead | None = None,
    learns: bool = True,
    seed: int = 0,
) -> Gains:
    """What learning has gained on recorded calls, oldest first. The same for the same arguments.

    objective: where it has no latency cost, that is derived from the first answers. space: hard bounds. hours: what was
    counted, which may reach further back than the calls. learns: whether the function learns at all.
    """
    found = list(islice(executions, MOST + 1))
    older, found = len(found) > MOST, [each for each in found[-MOST:] if math.isfinite(each.started)]
    record = read(found, used_by(versions), ATTEMPTS, REQUESTS)
    scaled = with_scale(objective, record)
    n = len(record.starts)
    told = Gains(
        function=function,
        declared=dict(declared),
        live=dict(live),
        calls=n,
        older=older,
        first=record.first,
        last=record.last,
        left_out=record.left_out,
        estimator="",
        objective=scaled,
        figures={},
        gain=None,
        unit="utility",
        worse=math.nan,
        saved=None,
        running=(),
        block=0.0,
        blocks=0,
        decided=0.0,
        untold=0.0,
        contrast=None,
        changes=untold(versions, "there is no call on record" if not n else "there is no scale of latency"),
        improved=None,
        agreed=None,
        hindsight=None,
        overhead=overhead,
        sentences=(),
    )
    facts = words.Facts(learns, hours, tuple(sorted(versions)), _changed_declaration(versions, declared), record.late)
    if not n or scaled is None:
        return told._replace(sentences=words.sentences(told, facts))
    own = _lived(record.table.seconds, columns(lived(record, scaled).calls, scaled))
    told = told._replace(figures={name: Compared(own[name], None, None) for name in FIGURES})
    lots = worths(found, versions, declared, scaled)
    told = told._replace(contrast=contrast(lots))
    facts = facts._replace(own=_own_differ(found, versions, declared))
    default = values_of(declared)
    if facts.own or default is None:
        told = _by_contrast(told, lots, versions)
        return told._replace(sentences=words.sentences(told, facts))
    calls = lived(record, scaled)
    replayed = compare(calls, default, seed=seed)
    mean = replayed.gain("utility")
    found_changes = changes(calls, versions, seed=seed)
    used = {number: values_of(versions[number]) for number in set(record.versions.tolist()) & versions.keys()}
    told = told._replace(
        estimator="replay",
        figures=_figures(replayed, own, n),
        gain=estimate(mean, n) if math.isfinite(mean.figure.low) else None,
        worse=1 - mean.p_above() if mean.df > 0 and not _nothing(mean.centres) else math.nan,
        saved=_saved(replayed, n),
        running=_running(replayed),
        block=calls.cut.span,
        blocks=calls.cut.blocks,
        decided=replayed.decided,
        untold=replayed.untold,
        changes=found_changes,
        improved=improved(found_changes),
        agreed=agreed(found_changes),
    )
    if thorough:
        known = {number: values for number, values in used.items() if values is not None}
        told = told._replace(hindsight=hindsight(calls, known, default, space or {}, seed=seed))
    return told._replace(sentences=words.sentences(told, facts))


def over_all(found: Iterable[Gains]) -> AllGains:
    """All functions together, whose calls are taken to be independent of each other."""
    functions = sorted(found, key=_in_all, reverse=True)
    told = [each for each in functions if each.gain is not None and each.unit == "utility"]
    calls = sum(each.calls for each in told)
    rates = adjusted([1 - each.worse for each in functions])  # NaN where it cannot be told: not tested
    worse = tuple(each.function for each, rate in zip(functions, rates, strict=True) if rate <= RATE)
    every = [change for each in functions for change in each.changes]
    result = AllGains(
        tuple(functions),
        calls,
        _weighted([(each.gain, each.calls) for each in told]),
        _saved_together(told),
        improved(every),
        agreed(every),
        worse,
        (),
    )
    return result._replace(sentences=words.of_all(result))


def _in_all(gains: Gains) -> tuple[bool, float]:
    return gains.gain is not None, gains.gain.value * gains.calls if gains.gain is not None else 0.0


def _weighted(parts: Sequence[tuple[Estimate | None, int]]) -> Estimate | None:
    """The mean over all calls of independent parts (Zou & Donner 2008: ends from the root of the sum of squares)."""
    known = [(part, n) for part, n in parts if part is not None]
    calls = sum(n for _, n in known)
    if not calls:
        return None
    value = sum(part.value * n for part, n in known) / calls
    low = math.sqrt(sum(((part.value - part.low) * n) ** 2 for part, n in known)) / calls
    high = math.sqrt(sum(((part.high - part.value) * n) ** 2 for part, n in known)) / calls
    return Estimate(value, value - low, value + high, calls, LEVEL)


def _saved_together(told: Sequence[Gains]) -> Saved | None:
    parts = [(each.saved, each.calls) for each in told if each.saved is not None]
    named = {name: _weighted([(getattr(saved, name), n) for saved, n in parts]) for name in Saved._fields}
    seconds, failures, requests = (named[name] for name in Saved._fields)
    return None if seconds is None or failures is None or requests is None else Saved(seconds, failures, requests)


def _lived(seconds: Array, means: Array) -> dict[str, float]:
    """By ``FIGURES``."""
    p50, p99 = np.quantile(seconds, (0.5, 0.99)).tolist()
    found = dict(zip(MEANS, means.mean(axis=1).tolist(), strict=True))
    return {**found, "p50": p50, "p99": p99}


def _figures(replayed: Replayed, own: Mapping[str, float], n: int) -> dict[str, Compared]:
    found = {}
    for name in FIGURES:
        if name in MEANS:
            mean = replayed.gain(name)
            other = replayed.other[:, :, MEANS.index(name)].reshape(-1, replayed.other.shape[-1])
            declared = blocks.mean(other, replayed.lived.counts, replayed.lived.spell, weights=replayed.weights)
            pair = estimate(declared, n), estimate(mean, n)
        else:
            pair = _quantile(replayed, ("p50", "p99").index(name), own[name], n)
        finite = all(math.isfinite(x) for each in pair for x in each[:3])
        found[name] = Compared(own[name], *pair) if finite else Compared(own[name], None, None)
    return found


def _quantile(replayed: Replayed, i: int, own: float, n: int) -> tuple[Estimate, Estimate]:
    """Of the durations of these very calls: luck of other calls is not in its interval."""
    draws = replayed.quantiles[:, :, i].reshape(-1)
    low, value, high = blocks.quantiles(draws[:, None], replayed.weights, (0.05, 0.5, 0.95))
    return Estimate(value, low, high, n, LEVEL), Estimate(own - value, own - high, own - low, n, LEVEL)


def _saved(replayed: Replayed, n: int) -> Saved | None:
    seconds, success, requests = (estimate(replayed.gain(name), n) for name in ("seconds", "success", "requests"))
    if not all(math.isfinite(each.low) for each in (seconds, success, requests)):
        return None
    return Saved(_times(seconds, -PER), _times(success, PER), _times(requests, -PER))


def _times(of: Estimate, factor: float) -> Estimate:
    low, high = sorted((of.low * factor, of.high * factor))
    return of._replace(value=of.value * factor, low=low, high=high)


def _running(replayed: Replayed) -> tuple[Moment, ...]:
    calls, count = replayed.lived, replayed.lived.cut.blocks
    ends = np.unique(np.linspace(1, count, min(count, MOMENTS)).round().astype(np.intp)).tolist()
    own = replayed.own[0]
    likely = replayed.other[0, :, 0].mean(axis=0)
    last = np.full(count, -math.inf)
    np.maximum.at(last, calls.cut.codes, calls.record.starts)
    found, start = [], 0
    for end, figure in zip(ends, replayed.running(ends), strict=True):
        n = float(calls.counts[start:end].sum())
        found.append(
            Moment(
                float(last[end - 1]),
                int(calls.counts[:end].sum()),
                float(own[start:end].sum()) / n,
                float(likely[start:end].sum()) / n,
                *figure,
            )
        )
        start = end
    return tuple(found)


def _by_contrast(told: Gains, lots: Worth, versions: Mapping[int, ParameterSet]) -> Gains:
    """The gain of a function that no replay can tell of, where a lot can."""
    by_lot: Estimator = "contrast"
    why = "what it changes is more than a replay knows of: the function's own parameters"
    told = told._replace(changes=untold(versions, why))
    if told.contrast is None:
        return told
    gain = _times(told.contrast.gain, lots.share)
    half = max((gain.high - gain.low) / 2, 1e-300)
    worse = 0.5 * math.erfc(gain.value / (half / NORMAL) / math.sqrt(2)) if lots.share else math.nan
    return told._replace(estimator=by_lot, gain=gain, unit=told.contrast.unit, worse=worse)


def _own_differ(
    found: Sequence[Execution], versions: Mapping[int, ParameterSet], declared: Mapping[str, Value]
) -> tuple[str, ...]:
    """The function's own parameters that calls used otherwise than declared: of these a replay knows nothing."""
    names: set[str] = set()
    seen: set[int] = set()
    for execution in found:
        names.update(name for name, value in execution.values if _own(name) and declared.get(name) != value)
        if execution.version not in seen:
            seen.add(execution.version)
            version: Mapping[str, Value] = versions.get(execution.version, {})
            names.update(name for name, value in version.items() if _own(name) and declared.get(name) != value)
    return tuple(sorted(names))


def _own(name: str) -> bool:
    return bool(name) and name.partition(MARK)[0] not in USUAL


def _changed_declaration(versions: Mapping[int, ParameterSet], declared: Mapping[str, Value]) -> bool:
    first = versions.get(1)
    return first is not None and any(first.get(name) != value for name, value in declared.items())


def _nothing(centres: Array) -> bool:
    """Whether nothing was gained in any draw: there is nothing to test."""
    return bool((np.abs(centres) < 1e-12).all())
