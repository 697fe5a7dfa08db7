"""Many calls of one function as columns, from rows of any origin; what cannot be used is counted by its reason."""

from __future__ import annotations

import json
import math
import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.learning.batch.attempts import Attempts, Gathered
from poet.model import phases
from poet.model.execution import Execution, Outcome
from poet.model.tunable import Value

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

NO_TIME, NO_OUTCOME, TWICE, CLOCK = "without a time", "without an outcome", "told twice", "with a clock far off"
SILENT = {Outcome.SHED: "not made", Outcome.CANCELLED: "cancelled by the caller"}  # what says nothing of a service
MOST_NAMES = 64  # parameters, and features, that are looked at: the most frequent
FAR = 10.0  # times the span of nearly all calls beyond which a moment is taken for a clock that is wrong
NEARLY_ALL = 0.005  # share of the calls at each end that may lie anywhere


class Coded(NamedTuple):
    """Categories: each call's code in ``names``, -1 where it is not known."""

    codes: Codes
    names: tuple[Value, ...]


Column = Array | Coded
"""Numbers, NaN where they are not known; or categories."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one function in the order of their starts; all columns of the same length n."""

    started: Array  # Unix time [s]
    seconds: Array  # of the whole call [s]; NaN: not known
    good: Bools  # whether the caller got an answer
    censored: Bools  # whether it ended at a limit: it would have taken longer
    requests: Array  # attempts that were made; NaN: not known
    version: Codes  # of the parameters; -1: not known
    score: Array  # NaN: nobody has said
    tried: Bools  # whether its values were dealt out by lot
    odds: Array  # with what probability they were, in (0, 1]; NaN: not known
    dealt: Array  # with what probability a coin gave it its version, in (0, 1]; 1: none did, or nobody said
    error: Coded  # the type's name where it failed
    parameters: Mapping[str, Column]
    context: Mapping[str, Column]
    attempts: Attempts | None = None  # None: what became of each is not known

    def __len__(self) -> int:
        return len(self.started)

    def take(self, rows: Codes | Bools) -> Calls:
        """Some of them, in the order of ``rows``."""
        return replace(
            self,
            **{name: getattr(self, name)[rows] for name in _PLAIN},
            error=_taken(self.error, rows),
            parameters={name: _taken(column, rows) for name, column in self.parameters.items()},
            context={name: _taken(column, rows) for name, column in self.context.items()},
            attempts=None if self.attempts is None else self.attempts.take(rows),
        )


_PLAIN = ("started", "seconds", "good", "censored", "requests", "version", "score", "tried", "odds", "dealt")


def _taken(column: Any, rows: Codes | Bools) -> Any:
    return Coded(column.codes[rows], column.names) if isinstance(column, Coded) else column[rows]


class Read(NamedTuple):
    """What came of rows."""

    calls: Calls
    left_out: Mapping[str, int]  # rows, by reason


class Loose(NamedTuple):
    """Calls as plain columns, in any order, of which nothing is checked yet; mappings as entries."""

    started: Sequence[float] | Array
    seconds: Sequence[float] | Array
    good: Sequence[bool] | Bools
    censored: Sequence[bool] | Bools
    requests: Sequence[float] | Array
    version: Sequence[int] | Codes
    score: Sequence[float] | Array
    tried: Sequence[bool] | Bools
    odds: Sequence[float] | Array
    dealt: Sequence[float] | Array
    error: Coded
    parameters: Entries
    context: Entries
    attempts: Attempts | None = None


class Entries(NamedTuple):
    """A mapping of each of many calls: entry i says that call ``rows[i]`` has, under a name, a value; both by code."""

    rows: Codes
    name: Codes
    names: Sequence[str]
    value: Codes
    values: Sequence[Value]


# --- from where ------------------------------------------------------------------------------------------------------


_Kept = tuple[
    float, float, bool, bool, float, int, float, bool, float, float, str
]  # the fields of ``Loose`` but mappings


def of_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Read], dict[str, int]]:
    """Rows of a history, see ``BatchLearner``, by function; and those that name none, by reason."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    lost: Counter[str] = Counter()
    for row in rows:
        if not isinstance(row, Mapping):
            lost["no mapping"] += 1
            continue
        function = row.get("function", row.get("function_name"))
        if not isinstance(function, str) or not function:
            lost["without a function"] += 1
            continue
        found.setdefault(function, []).append(row)
    return {function: _of_rows(found[function]) for function in sorted(found)}, dict(lost)


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> Read:
    left: Counter[str] = Counter()
    seen: set[object] = set()
    kept: list[_Kept] = []
    parameters, context = _Gathered(), _Gathered()
    for row in rows:
        at = _moment(row.get("timestamp"))
        error = row.get("error_type")
        error = "" if error is None else str(error)
        good = row.get("success")
        if math.isnan(at):
            left[NO_TIME] += 1
            continue
        if good is None and not error:
            left[NO_OUTCOME] += 1
            continue
        good = not error if good is None else bool(good)
        seconds = _span(row.get("execution_time"))
        known = row.get("execution_id", row.get("id"))
        mark = known if isinstance(known, str | int) else (at, seconds, good, error) if at % 1.0 else None
        if mark is not None and mark in seen:
            left[TWICE] += 1
            continue
        seen.add(mark)
        attempts = row.get("attempts")
        made = float(len(attempts)) if isinstance(attempts, Sequence) and not isinstance(attempts, str) else attempts
        version = row.get("version")
        odds = number(row.get("propensity"))
        parameters.add(len(kept), row.get("parameters"))
        context.add(len(kept), row.get("context"))
        kept.append(
            (
                at,
                seconds,
                good,
                not good and "timeout" in error.lower(),
                _span(made),
                version if isinstance(version, int) and 0 <= version < 2**62 else -1,
                number(row.get("score")),
                bool(row.get("draw") or row.get("randomised")),
                odds if 0 < odds <= 1 else math.nan,
                1.0,
                "" if good else error,
            )
        )
    return read(_loose(kept, parameters, context), left)


def of_executions(executions: Iterable[Execution], versions: Mapping[int, Mapping[str, Value]]) -> Read:
    """Stored executions of one function. versions: the values of each version that is known."""
    left: Counter[str] = Counter()
    kept: list[_Kept] = []
    parameters, context, attempts = _Gathered(), _Gathered(), Gathered()
    hours = {number for number, values in versions.items() if any(map(phases.timed, values))}
    for each in executions:
        if each.outcome in SILENT:
            left[SILENT[each.outcome]] += 1
            continue
        good = each.outcome.good
        attempts.add(each)
        used = versions.get(each.version)
        if used is not None:
            used = phases.at(used, each.started) if each.version in hours else used
            parameters.add(len(kept), {**used, **dict(each.values)} if each.values else used)
        if each.context:
            context.add(len(kept), dict(each.context))
        kept.append(
            (
                round(each.started * 1e6) / 1e6 if math.isfinite(each.started) else math.nan,  # as tables say it
                each.seconds,
                good,
                each.outcome is Outcome.TIMEOUT,
                float(len(each.attempts)) or math.nan,
                each.version,
                math.nan if each.score is None else each.score,
                each.draw != 0,
                math.nan,
                each.propensity,
                "" if good else each.error,
            )
        )
    return read(_loose(kept, parameters, context)._replace(attempts=attempts.attempts()), left)


def _loose(kept: Sequence[_Kept], parameters: _Gathered, context: _Gathered) -> Loose:
    columns: list[Any] = list(zip(*kept, strict=True)) or [()] * 11
    at, seconds, good, censored, requests, version, score, tried, odds, dealt, error = columns
    return Loose(
        at,
        seconds,
        good,
        censored,
        requests,
        version,
        score,
        tried,
        odds,
        dealt,
        coded(error),
        parameters.entries(),
        context.entries(),
    )


def coded(texts: Sequence[str]) -> Coded:
    """Texts as categories; an empty one is not known."""
    names = sorted({text for text in texts if text})
    place: dict[str, int] = {name: i for i, name in enumerate(names)}
    return Coded(np.fromiter((place.get(text, -1) for text in texts), np.int64, len(texts)), tuple(names))


class _Gathered:
    """Mappings of calls, put down entry by entry."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._name: list[int] = []
        self._value: list[int] = []
        self._names: dict[str, int] = {}
        self._values: dict[tuple[type, Value], int] = {}

    def add(self, row: int, mapping: object) -> None:
        if not isinstance(mapping, Mapping):
            return
        for name, value in mapping.items():
            if not isinstance(value, bool | int | float | str):
                if not isinstance(value, numbers.Real):
                    continue
                value = float(value)  # of numpy, say
            self._rows.append(row)
            self._name.append(self._names.setdefault(str(name), len(self._names)))
            self._value.append(self._values.setdefault((type(value), value), len(self._values)))

    def entries(self) -> Entries:
        codes = (np.array(each, np.int64) for each in (self._rows, self._name, self._value))
        rows, name, value = codes
        return Entries(rows, name, tuple(self._names), value, [value for _, value in self._values])


def columns_of(mappings: Sequence[Mapping[str, Any]]) -> dict[str, Column]:
    """The columns of mappings, by name."""
    gathered = _Gathered()
    for row, mapping in enumerate(mappings):
        gathered.add(row, mapping)
    return _columns(gathered.entries(), len(mappings))


# --- to columns ------------------------------------------------------------------------------------------------------


def read(loose: Loose, left_out: Mapping[str, int]) -> Read:
    """Columns in order of time, without what cannot be used. left_out: what was left out before."""
    left = Counter(left_out)
    n = len(loose.started)
    started = np.asarray(loose.started, np.float64)
    seconds = np.asarray(loose.seconds, np.float64)
    plain = {
        "started": started,
        "seconds": np.where(seconds >= 0, seconds, np.nan),
        "good": np.asarray(loose.good, np.bool_),
        "censored": np.asarray(loose.censored, np.bool_),
        "requests": np.asarray(loose.requests, np.float64),
        "version": np.asarray(loose.version, np.int64),
        "score": np.asarray(loose.score, np.float64),
        "tried": np.asarray(loose.tried, np.bool_),
        "odds": np.asarray(loose.odds, np.float64),
        "dealt": np.asarray(loose.dealt, np.float64),
    }
    calls = Calls(
        **plain,
        error=loose.error,
        parameters=_columns(loose.parameters, n),
        context=_columns(loose.context, n),
        attempts=loose.attempts,
    )
    sane = np.isfinite(started)
    left[NO_TIME] += int(n - sane.sum())
    near = sane & _near(started)
    left[CLOCK] += int((sane & ~near).sum())
    rows = np.flatnonzero(near)
    rows = rows[np.lexsort((seconds[rows], started[rows]))]
    ordered = np.array_equal(rows, np.arange(n))
    return Read(calls if ordered else calls.take(rows), {reason: many for reason, many in left.items() if many})


def _near(started: Array) -> Bools:
    """Which moments are not far from nearly all others."""
    sane = started[np.isfinite(started)]
    if len(sane) < 3:
        return np.ones(len(started), np.bool_)
    low, high = np.quantile(sane, (NEARLY_ALL, 1 - NEARLY_ALL), method="nearest")
    reach = FAR * max(float(high - low), 3600.0)
    near: Bools = (started >= low - reach) & (started <= high + reach)
    return near


def _columns(entries: Entries, n: int) -> dict[str, Column]:
    """The most frequent names' columns, by name: numbers where all values are, else categories."""
    counts = np.bincount(entries.name, minlength=len(entries.names))
    order = sorted(range(len(entries.names)), key=lambda code: (-counts[code], entries.names[code]))
    frequent = [code for code in order[:MOST_NAMES] if counts[code]]
    return {
        entries.names[code]: _column(entries, entries.name == code, n)
        for code in sorted(frequent, key=lambda code: entries.names[code])
    }


def _column(entries: Entries, mine: Bools, n: int) -> Column:
    rows, codes = entries.rows[mine], entries.value[mine]
    used = np.unique(codes)
    values = [entries.values[code] for code in used.tolist()]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        column = np.full(n, np.nan)
        column[rows] = np.array([number(value) for value in values])[np.searchsorted(used, codes)]
        return column
    order = sorted(range(len(values)), key=lambda i: (type(values[i]).__name__, str(values[i])))
    place = np.empty(len(values), np.int64)
    place[order] = np.arange(len(values))
    told = np.full(n, -1, np.int64)
    told[rows] = place[np.searchsorted(used, codes)]
    return Coded(told, tuple(values[i] for i in order))


def unwritten(text: str) -> Value:
    """A value from its JSON, as exported tables say it; the text itself where it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float | str) else text


# --- single values ---------------------------------------------------------------------------------------------------


def number(value: object) -> float:
    """``value`` as a float; NaN where it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return math.nan
    try:
        told = float(value)
    except OverflowError:
        return math.nan
    return told if math.isfinite(told) else math.nan


def _span(value: object) -> float:
    """``value`` as a float >= 0; NaN where it is none."""
    told = number(value)
    return told if told >= 0 else math.nan


def _moment(value: object) -> float:
    """Unix time [s] of a number, a datetime (local where it has no zone) or an ISO text; NaN where it is none."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return math.nan
    if isinstance(value, datetime):
        return value.timestamp()
    return number(value)
