"""Packages: what functions learned, as one JSON document that others can check and take in.

A package holds no call: neither executions nor arguments nor results. What it holds of a function is what
``poet show`` and ``poet explain`` need: who it is, what was declared, what is live and why, what its learner knows.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple, cast, get_args

from poet.errors import ConfigurationError
from poet.exchange.document import LONGEST_NAME, BadPackage, Misfit, Part, checksum, parse
from poet.model.estimate import Estimate
from poet.model.execution import MOST_FEATURES
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import Origin, ParameterSet
from poet.model.tunable import Value
from poet.seams import FunctionRecord
from poet.stores.fitting import LARGEST, fit, shown

FORMAT = (1, 2)  # major: grows where an older reader would be misled; minor: where fields were added

MOST_FUNCTIONS = 20_000
MOST_NAMES = 1000  # parameters of a function, those for one context only included
MOST_OPTIONS = 1000  # of a choice
MOST_STATE = 1 << 18  # bytes of a learner's state; some thousand are usual, and reading takes time for each
MOST_TRIES = 1000  # upper bound of retries and of hedges
MOST_COUNTED = 1 << 53  # beyond, a whole number is no float any more
LAST_MOMENT = 1e12  # Unix time [s]

_COSTS = ("value", "latency_cost", "attempt_cost", "success_target", "latency_target")
_GOAL = ("low", "high", "weight", "at_least", "at_most")
_TRIES = ("retries", "hedges")
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})")
_FINGERPRINT = re.compile(r"[0-9a-f]{8}")


class Packaged(NamedTuple):
    """One function in a package."""

    record: FunctionRecord
    live: ParameterSet
    state: bytes | None  # of its learner


class Package(NamedTuple):
    """What was read, checked."""

    written_by: str  # program and release
    created: float  # Unix time [s]
    functions: tuple[Packaged, ...]


# --- writing ---------------------------------------------------------------------------------------------------------


def write(functions: Iterable[Packaged], *, written_by: str, created: float) -> str:
    """The text of a package. A state that is too large for readers is left out."""
    document: dict[str, Any] = {
        "format_version": f"{FORMAT[0]}.{FORMAT[1]}",
        "written_by": written_by,
        "created": created,
        "functions": [_written(function) for function in functions],
    }
    document["checksum"] = checksum(document)
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _written(function: Packaged) -> dict[str, Any]:
    record, live, state = function
    return {
        "module": record.key.module,
        "qualname": record.key.qualname,
        "fingerprint": record.key.fingerprint,
        "domain": record.domain,
        "learner": record.learner,
        "declared": dict(record.declared),
        "space": {name: list(bounds) for name, bounds in record.space.items()},
        "choices": {name: list(options) for name, options in record.choices.items()},
        "goals": {
            name: {word: number for word, number in goal.items() if number is not None}
            for name, goal in record.goals.items()
        },
        "objective": {name: cost for name, cost in record.objective.items() if cost is not None},
        "counters": {
            "calls": record.calls,
            "failures": record.failures,
            "seconds": record.seconds,
            "last_call": record.last_call,
        },
        "live": {
            "version": live.version,
            "origin": live.origin,
            "author": _keepable(live.author),
            "reason": _keepable(live.reason),
            "values": dict(live),
            "estimates": {name: e._asdict() for name, e in live.estimates.items() if _finite(e)},
            "evidence": live.evidence,
            "span": list(live.span),
            "created": live.created,
        },
        "state": None if state is None or len(state) > MOST_STATE else base64.b64encode(state).decode("ascii"),
    }


def _keepable(text: str) -> str:
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _finite(estimate: Estimate) -> bool:
    return all(map(math.isfinite, estimate))


# --- reading ---------------------------------------------------------------------------------------------------------


def read(data: bytes, source: str) -> Package:
    """The package that ``data`` is; every field is checked before anything is believed.

    source: names the file in errors. Raises BadPackage.
    """
    try:
        return _package(parse(data))
    except Misfit as error:
        raise BadPackage(source, str(error)) from None


def _package(document: dict[str, Any]) -> Package:
    strict = _check_version(document)
    _check_sum(document)
    top = Part("", document).fields(("format_version", "written_by", "created", "functions", "checksum"), strict=strict)
    functions = []
    seen: set[FunctionKey] = set()
    for part in top["functions"].items(MOST_FUNCTIONS):
        function = _function(part, strict)
        if function.record.key in seen:
            raise Misfit(f"{part.path}: {function.record.key} stands twice in the package")
        seen.add(function.record.key)
        functions.append(function)
    return Package(top["written_by"].text(LONGEST_NAME), top["created"].number(0, LAST_MOMENT), tuple(functions))


def _check_version(document: dict[str, Any]) -> bool:
    """Whether names that are not known are wrong; in a newer minor version they are what was added since."""
    if "format_version" not in document:
        raise Misfit("format_version: is missing: this is no package of POET")
    said = Part("format_version", document["format_version"])
    match = _VERSION.fullmatch(said.text(LONGEST_NAME))
    if match is None:
        said.fail("two numbers with a dot between them")
    major, minor = int(match[1]), int(match[2])
    if major > FORMAT[0]:
        raise Misfit(f"format_version: {major}.{minor} is newer than this POET, which reads {FORMAT[0]}: upgrade it")
    if major < FORMAT[0]:
        raise Misfit(f"format_version: {major}.{minor} was never written: this POET reads {FORMAT[0]}")
    return minor <= FORMAT[1]


def _check_sum(document: dict[str, Any]) -> None:
    said = document.get("checksum")
    if said is None:
        raise Misfit("checksum: is missing: the package was cut or edited; export it anew")
    right = checksum(document)
    if said != right:
        raise Misfit("checksum: does not agree with the rest: the package was damaged or edited; export it anew")


def _function(part: Part, strict: bool) -> Packaged:
    names = ("module", "qualname", "fingerprint", "domain", "learner", "declared", "space", "objective", "counters")
    fields = part.fields((*names, "live", "state"), ("choices", "goals"), strict=strict)
    if _FINGERPRINT.fullmatch(fields["fingerprint"].text(LONGEST_NAME)) is None:
        fields["fingerprint"].fail("8 hexadecimal digits")
    key = FunctionKey(
        fields["module"].text(LONGEST_NAME), fields["qualname"].text(LONGEST_NAME, 1), fields["fingerprint"].value
    )
    space = _space(fields["space"])
    choices = _choices(fields["choices"], space) if "choices" in fields else {}
    counters = fields["counters"].fields(("calls", "failures", "seconds", "last_call"), strict=strict)
    calls = counters["calls"].whole(0, MOST_COUNTED)
    record = FunctionRecord(
        key=key,
        domain=None if fields["domain"].value is None else fields["domain"].text(LONGEST_NAME, 1),
        learner=fields["learner"].text(LONGEST_NAME),
        declared=_declared(fields["declared"], space, choices),
        objective=_objective(fields["objective"], strict),
        calls=calls,
        failures=counters["failures"].whole(0, calls),
        seconds=counters["seconds"].number(0, LARGEST),
        last_call=counters["last_call"].number(0, LAST_MOMENT),
        space=space,
        choices=choices,
        goals=_goals(fields["goals"], strict) if "goals" in fields else {},
    )
    return Packaged(record, _live(fields["live"], strict), _state(fields["state"]))


def _space(part: Part) -> dict[str, list[float]]:
    space: dict[str, list[float]] = {}
    for name, bounds in part.entries(MOST_NAMES).items():
        low, high = bounds.items(2, 2)
        if name in _TRIES:
            least: float = low.whole(0, MOST_TRIES)
            most: float = high.whole(0, MOST_TRIES)
        else:
            least, most = low.number(-LARGEST, LARGEST), high.number(-LARGEST, LARGEST)
        if least > most:
            raise Misfit(f"{bounds.path}: the lowest, {least:g}, is above the highest, {most:g}")
        if name in ("timeout", "hedge_delay") and not least > 0:
            low.fail("a number of seconds above 0")
        space[name] = [least, most]
    return space


def _choices(part: Part, space: dict[str, list[float]]) -> dict[str, list[Value]]:
    choices: dict[str, list[Value]] = {}
    for name, options in part.entries(MOST_NAMES).items():
        if name in space:
            raise Misfit(f"{options.path}: a choice has no bounds, this one has {space[name]}")
        choices[name] = [option.scalar(LARGEST) for option in options.items(MOST_OPTIONS, 1)]
    return choices


def _goals(part: Part, strict: bool) -> dict[str, dict[str, float]]:
    goals: dict[str, dict[str, float]] = {}
    for name, goal in part.entries(MOST_FEATURES).items():
        words = goal.fields((), _GOAL, strict=strict)
        goals[name] = {word: number.number(-LARGEST, LARGEST) for word, number in words.items()}
        low, high = goals[name].get("low", 0.0), goals[name].get("high", 1.0)
        if not low < high:
            raise Misfit(f"{goal.path}: low, {low:g}, must be below high, {high:g}")
    return goals


def _values(part: Part) -> dict[str, Value]:
    return {name: value.scalar(LARGEST) for name, value in part.entries(MOST_NAMES).items()}


def _declared(part: Part, space: dict[str, list[float]], choices: dict[str, list[Value]]) -> dict[str, Value]:
    """The declared values; a whole number of tries, a positive timeout, and all within their own bounds and choices."""
    declared = _values(part)
    for name in _TRIES:
        if name in declared:
            Part(f"{part.path}.{name}", declared[name]).whole(0, MOST_TRIES)
    for name in ("timeout", "backoff", "hedge_delay"):
        if name in declared:
            Part(f"{part.path}.{name}", declared[name]).number(0, LARGEST)
    for name in space:
        if name not in declared:
            raise Misfit(f"{part.path}: {shown(name)} has bounds, but no value")
    for name in choices:
        if name not in declared:
            raise Misfit(f"{part.path}: {shown(name)} has options, but no value")
    fitted = fit(declared, declared, space, choices)
    if fitted.notes:
        raise Misfit(f"{part.path}: {fitted.notes[0]}")
    return declared


def _objective(part: Part, strict: bool) -> dict[str, float]:
    costs = {name: cost.number(0, LARGEST) for name, cost in part.fields((), _COSTS, strict=strict).items()}
    try:
        Objective(**costs)
    except ConfigurationError as error:
        raise Misfit(f"{part.path}: {error}") from None
    return costs


def _live(part: Part, strict: bool) -> ParameterSet:
    names = ("version", "origin", "author", "reason", "values", "estimates", "evidence", "span", "created")
    fields = part.fields(names, strict=strict)
    first, last = (moment.number(0, LAST_MOMENT) for moment in fields["span"].items(2, 2))
    return ParameterSet(
        values_=_values(fields["values"]),
        version=fields["version"].whole(0, MOST_COUNTED),
        origin=cast(Origin, fields["origin"].one_of(get_args(Origin))),
        reason=fields["reason"].text(),
        author=fields["author"].text(LONGEST_NAME),
        estimates={name: _estimate(e, strict) for name, e in fields["estimates"].entries(MOST_NAMES).items()},
        evidence=fields["evidence"].whole(0, MOST_COUNTED),
        span=(first, last),
        created=fields["created"].number(0, LAST_MOMENT),
    )


def _estimate(part: Part, strict: bool) -> Estimate:
    fields = part.fields(("value", "low", "high", "n", "level"), strict=strict)
    value, low, high = (fields[name].number(-LARGEST, LARGEST) for name in ("value", "low", "high"))
    return Estimate(value, low, high, fields["n"].whole(0, MOST_COUNTED), fields["level"].number(0, 1))


def _state(part: Part) -> bytes | None:
    if part.value is None:
        return None
    most = (MOST_STATE + 2) // 3 * 4
    if not isinstance(part.value, str) or len(part.value) > most:
        part.fail(f"base64 of up to {most} characters")
    try:
        return base64.b64decode(part.value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        part.fail("base64")
