"""Rows of a database as words of ours, and back: what the stores that speak SQL have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

from poet.model.estimate import Estimate
from poet.model.execution import Feedback
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.seams import FunctionRecord
from poet.stores import features, rules

# In the order of ``version_of`` and ``version_fields``; the word "values" is one of SQL's own.
VERSION_COLUMNS = 'number, parent, origin, author, reason, evidence, since, until, created, "values", estimates'
RECORD_COLUMNS = "module, qualname, fingerprint, domain, learner, declared, objective, space, choices, goals"
LARGEST_SCORE = 3.4028234663852886e38  # of a 32-bit float


class Damage(Exception):
    """Something in a store is not as every release of ours writes it. Leaves this room as StoreCorrupt."""


class Kept(NamedTuple):
    """A function as a database has it now, inside a transaction that changes it."""

    id: int
    key: FunctionKey
    standing: Standing
    aliases: dict[AliasName, Alias]

    @property
    def live(self) -> ParameterSet:
        """The version that calls use."""
        return self.standing.live

    @property
    def places(self) -> dict[AliasName, int]:
        """Where names stand."""
        return {name: alias.version for name, alias in self.aliases.items()}


def version_of(row: tuple[Any, ...]) -> ParameterSet:
    """A version from its row. Raises Damage."""
    number, parent, origin, author, reason, evidence, since, until, created, values, estimates = row
    return ParameterSet(
        values_=loaded(values),
        version=number,
        parent=parent,
        origin=sys.intern(origin),  # type: ignore[arg-type]  # a text that is one of them
        reason=reason,
        author=sys.intern(author),
        estimates={name: Estimate(*fields) for name, fields in loaded(estimates).items()},
        evidence=evidence,
        span=(since, until),
        created=created,
    )


def version_fields(version: ParameterSet) -> tuple[Any, ...]:
    """The row of a version. Raises TypeError where a value is none of a tunable's."""
    return (
        version.version,
        version.parent,
        version.origin,
        text(version.author),
        text(version.reason),
        version.evidence,
        *version.span,
        version.created,
        dumped(version.values_),
        dumped(version.estimates),
    )


def told(record: FunctionRecord) -> tuple[Any, ...]:
    """What the code says of a function, without its key."""
    return (
        record.domain,
        record.learner,
        dumped(record.declared),
        dumped(record.objective),
        dumped(record.space),
        dumped({name: list(choices) for name, choices in record.choices.items()}),
        dumped({name: dict(goal) for name, goal in record.goals.items()}),
    )


def record_of(row: tuple[Any, ...], counted: tuple[int, int, float, float]) -> FunctionRecord:
    """A function from its row and its counters: calls, failures, seconds, last call. Raises Damage."""
    module, qualname, fingerprint, domain, learner, declared, objective, *later = row
    space, choices, goals = map(loaded, (*later, *["{}"] * (3 - len(later))))  # an older release kept fewer
    key = FunctionKey(module, qualname, fingerprint)
    return FunctionRecord(
        key, domain, learner, loaded(declared), loaded(objective), *counted, space=space, choices=choices, goals=goals
    )


def change_fields(change: Change) -> Change:
    """The row of a change."""
    return change._replace(author=text(change.author), reason=text(change.reason))


def dumped(values: Mapping[str, Any]) -> str:
    """A JSON object; reads back as what it was, whole numbers as whole numbers. Raises TypeError for anything else."""
    return json.dumps(dict(values), separators=(",", ":"))


def loaded(kept: str) -> dict[str, Any]:
    """The inverse of ``dumped``. Raises Damage."""
    try:
        values = json.loads(kept)
    except ValueError as error:
        raise Damage(f"no JSON: {kept!r}") from error
    if not isinstance(values, dict):
        raise Damage(f"no JSON object: {kept!r}")
    return {sys.intern(name): value for name, value in values.items()}  # thousands of versions have the same names


def text(said: str) -> str:
    """Without the halves of characters that odd bytes from a terminal leave behind: databases keep valid text only."""
    return said.encode("utf-8", "replace").decode("utf-8")


def check_feedback(feedback: Feedback) -> Feedback:
    """With numbers as every store gives them back.

    Raises ValueError where a score, a goal or a moment is not finite, the score is none of a 32-bit float's, a goal
    cannot be kept (``features.check_goals``), or no execution can have this sequence.
    """
    for name, value in (("score", feedback.score), ("at", feedback.at)):
        if not isfinite(value) or (name == "score" and abs(value) > LARGEST_SCORE):
            raise ValueError(f"{name} of {feedback.writer}-{feedback.sequence} must be finite, got {value!r}")
    if not 0 <= feedback.sequence < rules.MOST_SEQUENCE:
        raise ValueError(f"a sequence must be >= 0 and below 2**62, got {feedback.sequence}")
    return feedback._replace(
        writer=text(feedback.writer),
        score=feedback.score + 0.0,
        at=float(feedback.at),
        goals=tuple([(text(name), value + 0.0) for name, value in features.check_goals(feedback.goals)]),
    )
