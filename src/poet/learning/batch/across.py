"""Incidents of several functions that came together, told as one: which dependency they share, and which came first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from poet.kernels.batch import coincidence
from poet.kernels.batch.coincidence import Company
from poet.kernels.batch.findings import adjusted
from poet.learning.batch.saying import moment, share, span
from poet.model.estimate import Estimate
from poet.model.insight import Analysed, Insight

RATE = 0.1  # of false discoveries among what is told as one, by the word of the test; measured it is 0.01 to 0.03
SURE = 0.05  # chance of as many callers of a dependency, below which it is named where others do not call it
NEAR = 3.0  # points of time by which the beginnings of two incidents may lie apart
NAMED = 4  # functions that a sentence names
LEVEL = 0.9


class Shared(NamedTuple):
    """What functions of a company have in common."""

    dependency: str  # empty: none that they share more than others do
    members: int  # of them that call it


def put_together(
    insights: Sequence[Insight], functions: Sequence[Analysed], dependencies: Mapping[str, str]
) -> list[Insight]:
    """All findings, with one in place of the incidents that belong together.

    dependencies: what each function calls, by its full name, with or without its fingerprint, as far as known.
    """
    incidents = [each for each in insights if each.kind == "incident"]
    if len({each.function for each in incidents}) < 2:
        return list(insights)
    looked = {each.function: each for each in functions if each.step > 0}
    incidents = [each for each in incidents if each.function in looked]
    names = sorted(looked)
    called = {name: dependencies.get(name) or dependencies.get(_short(name), "") for name in names}
    told: list[Insight] = []
    gone: set[int] = set()
    families = Counter(name for name in called.values() if name)
    for family in [*sorted(name for name, k in families.items() if k > 1), ""]:  # "": what is left of all functions
        some = [each for each in incidents if id(each) not in gone and family in ("", called[each.function])]
        owners = [name for name in names if family in ("", called[name])]
        for members, company in _companies(some, owners, looked):
            if company.q > RATE:
                continue
            common = _shared([each.function for each in members], names, called)
            if common.dependency:  # what began first is asked of those that call it
                members.sort(key=lambda each: (called[each.function] != common.dependency, each.since, each.function))
            told.append(_told(members, company, common, [looked[each.function].step for each in members]))
            gone.update(id(each) for each in members)
    return [each for each in insights if id(each) not in gone] + told


def _companies(
    incidents: Sequence[Insight], owners: Sequence[str], looked: Mapping[str, Analysed]
) -> list[tuple[list[Insight], Company]]:
    """Those of some functions that came together."""
    place = {name: i for i, name in enumerate(owners)}
    steps = np.array([looked[each.function].step for each in incidents])
    found = coincidence.together(
        np.array([each.since for each in incidents]),
        np.array([each.until for each in incidents]),
        np.array([place[each.function] for each in incidents], np.int64),
        np.array([looked[name].first for name in owners]),
        np.array([looked[name].last for name in owners]),
        near=NEAR * steps,
        grain=steps,
    )
    return [([incidents[i] for i in company.members], company) for company in found]


def _shared(members: Sequence[str], names: Sequence[str], dependencies: Mapping[str, str]) -> Shared:
    """The dependency that all members call, or more of them than of other functions beyond chance (Fisher's test)."""
    from scipy import stats

    mine = Counter(dependencies[name] for name in members if dependencies.get(name))
    every = Counter(dependencies[name] for name in names if dependencies.get(name))
    several = sorted(name for name, k in mine.items() if k > 1)
    if not several:
        return Shared("", 0)
    chances = [float(stats.hypergeom.sf(mine[name] - 1, len(names), every[name], len(members))) for name in several]
    best = min(range(len(several)), key=lambda i: (chances[i], several[i]))
    if mine[several[best]] < len(members) and adjusted(chances)[best] > SURE:
        return Shared("", 0)
    return Shared(several[best], mine[several[best]])


def _told(members: Sequence[Insight], company: Company, common: Shared, steps: Sequence[float]) -> Insight:
    first, *others = members
    since, until = min(each.since for each in members), max(each.until for each in members)
    callers = others[: common.members - 1] if common.dependency else others
    ahead = min(each.since for each in callers) - first.since
    unsure = max(steps)
    order = (
        f"{_short(first.function)} came first, {span(ahead)} before the next"
        if ahead >= unsure
        else f"which came first cannot be told within {span(unsure)}"
    )
    named = ", ".join(_short(each.function) for each in members[:NAMED])
    more = f" and {len(members) - NAMED} more" if len(members) > NAMED else ""
    calls = ""
    if common.dependency:
        who = "all of them call" if common.members == len(members) else f"{common.members} of them call"
        calls = f"; {who} {common.dependency}"
    kind = _agreed(members, "failure 1")
    where = _agreed(members, "slice 1")
    also = "".join(f"; {text}" for text in (kind and f"all with {kind}", where and f"all where {where}") if text)
    n = sum(each.calls for each in members)
    size = sum(each.effect.value * each.calls for each in members) / max(n, 1)
    half = math.sqrt(sum(((each.effect.high - each.effect.low) / 2 * each.calls) ** 2 for each in members)) / max(n, 1)
    if common.dependency:
        action = f"Look at {common.dependency} before the functions one by one."
    elif ahead >= unsure:
        action = f"Look at {_short(first.function)} first, and at what they share: a host, a network, a deployment."
    else:
        action = "Look at what they share: a host, a network, a dependency, a deployment."
    return Insight(
        first.function,
        "incident",
        "several functions",
        f"{len(members)} functions had an incident at once from {moment(since)} to {moment(until)}: {named}{more}"
        f"{calls}; {order}{also}; {share(size)} more of their calls were bad",
        action,
        Estimate(size, size - half, size + half, n, LEVEL),
        "share of calls",
        n,
        since,
        until,
        worth=sum(each.worth for each in members),
        picture=_drawn(members, since, until),
        facts={
            "chance": company.p,
            "q": company.q,
            "functions": ", ".join(each.function for each in members),
            "first": first.function if ahead >= unsure else "",
            "dependency": common.dependency,
            **{f"function {i}": f"{each.sentence}" for i, each in enumerate(members, 1)},
        },
        also=tuple(each.function for each in others),
    )


def _short(function: str) -> str:
    return function.partition("#")[0]


def _agreed(members: Sequence[Insight], fact: str) -> str:
    """What all members say of a fact; empty where they do not agree."""
    said = {str(each.facts.get(fact, "")) for each in members}
    return said.pop() if len(said) == 1 else ""


def _drawn(members: Sequence[Insight], since: float, until: float, width: int = 40) -> tuple[str, ...]:
    """When each had its incident, one line each."""
    scale = width / max(until - since, 1.0)
    lines = []
    for each in members[: 2 * NAMED]:
        start = min(int((each.since - since) * scale), width - 1)
        end = max(math.ceil((each.until - since) * scale), start + 1)
        lines.append(f"{' ' * start}{'█' * (end - start)}{' ' * (width - end)}  {_short(each.function)}")
    return (*lines, f"{moment(since)} to {moment(until)}")
