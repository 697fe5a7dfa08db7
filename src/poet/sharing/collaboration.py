"""A group that tries things out together: each set of values is tried once for all, and each member gets its own best.

What a member holds of a set of values is what its tuner expects, in units of its own spread over the group's shortlist,
so that members with other scales compare. Members whose expectations rise and fall together over the shortlist count
for each other as far as they do (rank correlation, none where it is negative); own evidence outweighs theirs at the
rate of its trials. A set of values that no member has tried is tried by the member that expects to lose least by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from poet.errors import ConfigurationError
from poet.model.tunable import Choice, Space, Value
from poet.seams import Tuner

ASKED = 4  # suggestions of each member for the group's shortlist
MOST_SHORT = 64  # sets of values on the shortlist
KNOWN = 20.0  # own trials that count as much as a group that agrees
MOST_MEMBERS = 64
LEAST_AGREEMENT = 0.2  # rank correlation below which a member says nothing of another


class Member(NamedTuple):
    """A function of a group: its tuner, which is asked, so let it be a copy, and what it declares."""

    tuner: Tuner
    space: Space
    start: Mapping[str, Value]


class _Held(NamedTuple):
    """What a member holds."""

    best: Mapping[str, Value]
    trials: int
    tried: frozenset[tuple[Any, ...]]  # keys of sets of values, in the group's terms
    standard: tuple[float, ...]  # expectations over the shortlist, standardised
    raw: tuple[float, ...]  # the same [utility]


def optimized(members: Mapping[str, Member], *, tries: int = 4) -> dict[str, dict[str, Any]]:
    """What each member should use, and what it should try for all.

    tries: sets of values that each member tries at most, >= 0. Returns by member: ``parameters``, ``try`` (a list of
    sets of values), ``expected`` (its own tuner's mean score of ``parameters``), ``trials`` and ``reasons``.
    Raises ConfigurationError: fewer than two members, too many, or no tunable that all have by name and kind.
    """
    if not 2 <= len(members) <= MOST_MEMBERS:
        raise ConfigurationError(f"a group has 2 to {MOST_MEMBERS} members, got {len(members)}")
    if isinstance(tries, bool) or not isinstance(tries, int) or tries < 0:
        raise ConfigurationError(f"tries must be a whole number >= 0, got {tries!r}")
    names = _common(members)
    short = _shortlist(members, names)
    held = {name: _held(member, names, short) for name, member in members.items()}
    agreed = {(a, b): _agreement(held[a].standard, held[b].standard) for a in held for b in held if a != b}
    plan = _planned(held, short, names, tries)
    return {name: _told(name, members, held, agreed, short, plan[name], names) for name in members}


def _common(members: Mapping[str, Member]) -> list[str]:
    """Tunables that all have by name and kind, whose ranges or options meet."""
    (first, leader), *others = members.items()
    names, why = [], []
    for name, tunable in leader.space.items():
        for other, member in others:
            theirs = member.space.get(name)
            if theirs is None:
                why.append(f"{name}: {other} has none")
                break
            if isinstance(theirs, Choice) is not isinstance(tunable, Choice):
                why.append(f"{name}: it is of another kind in {other}")
                break
            if not _meet(tunable, theirs):
                why.append(f"{name}: nothing that it may be in {first} may it be in {other}")
                break
        else:
            names.append(name)
    if not names:
        raise ConfigurationError(f"the group has no tunable in common: {'; '.join(why)}")
    return names


def _meet(one: Any, other: Any) -> bool:
    if isinstance(one, Choice):
        return any(value == each and type(value) is type(each) for value in one.options for each in other.options)
    return bool(one.low <= other.high and other.low <= one.high)


def _allowed(values: Mapping[str, Value], members: Mapping[str, Member], names: Sequence[str]) -> bool:
    """Whether every member may use them as they are."""
    return all(_fits(member.space[name], values[name]) for member in members.values() for name in names)


def _fits(tunable: Any, value: Value) -> bool:
    if isinstance(tunable, Choice):
        return any(value == each and type(value) is type(each) for each in tunable.options)
    return bool(not isinstance(value, str | bool) and tunable.low <= value <= tunable.high)


def _key(values: Mapping[str, Value], names: Sequence[str]) -> tuple[Any, ...]:
    """Equal for what is the same trial: numbers to three digits."""
    return tuple(
        float(f"{value:.3g}")
        if isinstance(value := values[name], int | float) and not isinstance(value, bool)
        else value
        for name in names
    )


def _shortlist(members: Mapping[str, Member], names: Sequence[str]) -> list[dict[str, Value]]:
    """What any member holds to be best, has tried or would try, of the common tunables, each once; the best first."""
    best = [member.tuner.recommend().values for member in members.values()]
    asked = [member.tuner.suggest() for _ in range(ASKED) for member in members.values()]
    tried = [list(getattr(member.tuner, "tried", list)())[:ASKED] for member in members.values()]
    starts = [member.start for member in members.values()]
    found: dict[tuple[Any, ...], dict[str, Value]] = {}
    for values in (*best, *starts, *asked, *(each for own in tried for each in own)):
        part = {name: values[name] for name in names}
        if _allowed(part, members, names):
            found.setdefault(_key(part, names), part)
    return list(found.values())[:MOST_SHORT]


def _held(member: Member, names: Sequence[str], short: Sequence[Mapping[str, Value]]) -> _Held:
    best = member.tuner.recommend()
    rest = {**member.start, **best.values}
    raw = [member.tuner.expected({**rest, **values}) for values in short]
    raw = [score if math.isfinite(score) else 0.0 for score in raw]
    middle = sum(raw) / max(1, len(raw))
    spread = math.sqrt(sum((score - middle) ** 2 for score in raw) / max(1, len(raw)))
    standard = [(score - middle) / spread if spread > 1e-12 else 0.0 for score in raw]
    tried = frozenset(_key(values, names) for values in getattr(member.tuner, "tried", list)())
    return _Held(best.values, best.evidence, tried, tuple(standard), tuple(raw))


def _agreement(one: Sequence[float], other: Sequence[float]) -> float:
    """Rank correlation, 0 where there is hardly any or nothing to compare, in [0, 1]."""
    if len(one) < 3 or not any(one) or not any(other):
        return 0.0
    a, b = _ranks(one), _ranks(other)
    middle = (len(a) - 1) / 2.0
    top = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
    below = math.sqrt(sum((x - middle) ** 2 for x in a) * sum((y - middle) ** 2 for y in b))
    found = top / below if below > 0 else 0.0
    return found if found >= LEAST_AGREEMENT else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    """Mean ranks from 0; ties share theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks, i = [0.0] * len(values), 0
    while i < len(order):
        j = i
        while j + 1 < len(order) and values[order[j + 1]] == values[order[i]]:
            j += 1
        for k in order[i : j + 1]:
            ranks[k] = (i + j) / 2.0
        i = j + 1
    return ranks


def _planned(
    held: Mapping[str, _Held], short: Sequence[Mapping[str, Value]], names: Sequence[str], tries: int
) -> dict[str, list[int]]:
    """By member, which of the shortlist it tries: what none has tried, the most promising first, each by one."""
    plan: dict[str, list[int]] = {name: [] for name in held}
    done = frozenset[tuple[Any, ...]]().union(*(each.tried for each in held.values()))
    new = [i for i, values in enumerate(short) if _key(values, names) not in done]
    new.sort(key=lambda i: -max(each.standard[i] for each in held.values()))
    for i in new:
        free = [name for name in held if len(plan[name]) < tries]
        if not free:
            break
        least = min(free, key=lambda name: (max(held[name].standard) - held[name].standard[i], len(plan[name])))
        plan[least].append(i)
    return plan


def _told(
    name: str,
    members: Mapping[str, Member],
    held: Mapping[str, _Held],
    agreed: Mapping[tuple[str, str], float],
    short: Sequence[Mapping[str, Value]],
    plan: Sequence[int],
    names: Sequence[str],
) -> dict[str, Any]:
    own, member = held[name], members[name]
    weights = {other: agreed[name, other] * each.trials for other, each in held.items() if other != name}
    weights = {other: weight for other, weight in weights.items() if weight > 0}
    total = sum(weights.values())
    mine = own.trials / (own.trials + KNOWN * min(1.0, total / KNOWN)) if total else 1.0
    reasons = [f"{own.trials} own trials weigh {mine:.0%}"]
    reasons += [
        f"{other} agrees with it ({agreed[name, other]:.2f}) and weighs {(1 - mine) * weight / total:.0%}"
        for other, weight in weights.items()
    ]
    reasons += [
        f"{other} does not agree with it: nothing is taken from it" for other in held if other not in (name, *weights)
    ]
    values = {**member.start, **own.best}
    if total and short:
        theirs = [sum(w * held[other].standard[i] for other, w in weights.items()) / total for i in range(len(short))]
        pooled = [mine * a + (1.0 - mine) * b for a, b in zip(own.standard, theirs, strict=True)]
        values = {**values, **short[max(range(len(short)), key=pooled.__getitem__)]}
    parameters = member.space.clip(values)
    if plan:
        reasons.append(f"it tries {len(plan)} sets of values for all, which it expects to cost it least")
    return {
        "parameters": {each: parameters[each] for each in member.space},
        "try": [dict(member.space.clip({**values, **short[i]})) for i in plan],
        "expected": member.tuner.expected(parameters),
        "trials": own.trials,
        "common": list(names),
        "reasons": reasons,
    }
