"""Incidents of several functions: how often what belongs together is told as one, and what does not.

    python -m benchmarks.together [fleets] [first seed] [whole histories]

Planted truth, twice. First lists of incidents as a detector would give them: 24 functions over 30 days, each with
incidents of its own at a rate of its own, which in half of the fleets come by day more than by night; in every second
fleet up to four outages of a dependency that five to eight functions call, each of which shows in three quarters of
them, from the first of them on within two hours. Then whole histories: six functions whose calls are analysed from
the start, of which three share a dependency that fails once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.table import Row, show
from poet.learning.batch.across import put_together
from poet.learning.batch_learner import BatchLearner
from poet.model.estimate import Estimate
from poet.model.insight import Analysed, Insight

DAY, HOUR = 86_400.0, 3_600.0
START = 1_700_438_400.0  # a midnight, Unix time [s]
FUNCTIONS, DAYS = 24, 30
ALARMS = 0.05  # false ones per day and series, in whole histories
SEVERAL = 5  # functions of an outage, from which on it can be told from chance where it is not known what they call
LEAST_FOUND, MOST_FALSE = 0.9, 0.05


class Fleet(NamedTuple):
    """Incidents, and which belong together."""

    incidents: list[Insight]
    functions: list[Analysed]
    dependencies: dict[str, str]
    planted: list[frozenset[tuple[str, float]]]  # each outage's incidents: function and beginning
    first: list[str]  # of each, the function that it began with


def fleet(seed: int, *, known: bool) -> Fleet:
    """The fleet of a seed. known: whether it is known what the functions call."""
    rng = np.random.default_rng([seed, 0x7067])
    names = [f"f{i:02}" for i in range(FUNCTIONS)]
    rates = rng.uniform(0.02, 0.15, FUNCTIONS)  # incidents per day
    by_day = bool(rng.integers(2))
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for name, rate in zip(names, rates.tolist(), strict=True):
        for _ in range(int(rng.poisson(rate * DAYS))):
            hour = float(rng.normal(14, 3)) % 24 if by_day else float(rng.uniform(0, 24))
            at = START + int(rng.integers(DAYS)) * DAY + hour * HOUR
            found[name].append((at // HOUR * HOUR, float(rng.exponential(3 * HOUR)) + HOUR))
    group = [names[i] for i in rng.permutation(FUNCTIONS)[: int(rng.integers(5, 9))]]
    planted: list[frozenset[tuple[str, float]]] = []
    first: list[str] = []
    for _ in range(int(rng.integers(1, 5)) if seed % 2 else 0):
        at = START + float(rng.uniform(1, DAYS - 1)) * DAY
        hit = [name for name in group if rng.random() < 0.75]
        if len(hit) < 3:
            continue
        lags = np.sort(rng.uniform(0, 2 * HOUR, len(hit)))
        members = [(name, (at + lag) // HOUR * HOUR) for name, lag in zip(hit, lags.tolist(), strict=True)]
        for name, begin in members:
            found[name] = [each for each in found[name] if abs(each[0] - begin) > 6 * HOUR]
            found[name].append((begin, float(rng.uniform(3, 8)) * HOUR))
        planted.append(frozenset(members))
        first.append(hit[0] if members[1][1] > members[0][1] else "")
    incidents = [_incident(name, begin, begin + lasts) for name in names for begin, lasts in sorted(found[name])]
    functions = [Analysed(name, 1000, START, START + DAYS * DAY, HOUR, {}, ()) for name in names]
    dependencies = dict.fromkeys(group, "payments") if known else {}
    return Fleet(incidents, functions, dependencies, planted, first)


def _incident(function: str, since: float, until: float) -> Insight:
    size = Estimate(0.3, 0.2, 0.4, 100, 0.9)
    return Insight(function, "incident", "failures", "", "", size, "share of calls", 100, since, until)


class Told(NamedTuple):
    """What became of one fleet."""

    planted: int
    found: int  # outages of which most incidents are told as one, and at most a quarter of that is not of it
    told: int
    false: int  # told as one, and most of it not of one outage
    named: int  # of those found, with the right dependency
    first: tuple[int, int]  # of those where one came first by more than an hour: told, and told rightly


def judged(seed: int, *, known: bool) -> Told:
    """One fleet."""
    made = fleet(seed, known=known)
    planted = [each for each in made.planted if len(each) >= (3 if known else SEVERAL)]
    after = put_together(made.incidents, made.functions, made.dependencies)
    groups = [each for each in after if each.subject == "several functions"]
    found = named = false = 0
    firsts = [0, 0]
    for group in groups:
        members = {
            (each.function, each.since)
            for each in made.incidents
            if each.function in (group.function, *group.also) and group.since <= each.since <= group.since + 4 * HOUR
        }
        best = max(made.planted, key=lambda outage: len(outage & members), default=frozenset())
        if 2 * len(best & members) <= len(members):
            false += 1
            continue
        if 2 * len(best & members) > len(best) and 4 * len(members - best) <= len(members) and best in planted:
            found += 1
            named += group.facts["dependency"] == "payments"
            if group.facts["first"]:
                firsts[0] += 1
                firsts[1] += group.facts["first"] == min(best, key=lambda each: each[1])[0]
    return Told(len(planted), found, len(groups), false, named, (firsts[0], firsts[1]))


# --- whole histories -------------------------------------------------------------------------------------------------

CALLERS = ("cart", "checkout", "refund")
OTHERS = ("search", "images", "mail")
CALLED = dict.fromkeys(CALLERS, "payments") | {"search": "index", "images": "files", "mail": "smtp"}


def rows(seed: int, *, fails: bool) -> tuple[list[dict[str, Any]], float]:
    """Three weeks of six functions, of which one in seven fails alone for some hours; and when the dependency fails."""
    rng = np.random.default_rng([seed, 0xCA11])
    at = START + float(rng.uniform(10, 19)) * DAY
    made: list[dict[str, Any]] = []
    for number, name in enumerate((*CALLERS, *OTHERS)):
        moments: npt.NDArray[np.float64] = np.sort(START + rng.uniform(0, 21 * DAY, 9000))
        own = START + float(rng.uniform(10, 20)) * DAY if rng.random() < 1 / 7 else np.inf
        hit = (moments >= own) & (moments < own + 5 * HOUR)
        if fails and name in CALLERS:
            hit |= (moments >= at + 0.4 * number * HOUR) & (moments < at + 6 * HOUR)
        bad = rng.random(len(moments)) < np.where(hit, 0.8, 0.01)
        seconds = rng.lognormal(-2, 0.3, len(moments))
        for moment, failed, took in zip(moments.tolist(), bad.tolist(), seconds.tolist(), strict=True):
            made.append(
                {
                    "function": name,
                    "timestamp": moment,
                    "success": not failed,
                    "execution_time": took,
                    "error_type": "ConnectError" if failed else None,
                }
            )
    return made, at


def whole(histories: int, first: int) -> tuple[int, int, int]:
    """Of whole histories: where the outage is told as one with its dependency; of all three; where it is in vain."""
    learner = BatchLearner(dependencies=CALLED, alarms=ALARMS)
    found = complete = false = 0
    for seed in range(first, first + histories):
        for fails in (True, False):
            made, at = rows(seed, fails=fails)
            told = [each for each in learner.analyze_execution_patterns(made) if each.subject == "several functions"]
            if fails:
                right = [
                    {each.function, *each.also}
                    for each in told
                    if each.facts["dependency"] == "payments" and abs(each.since - at) <= 2 * HOUR
                ]
                found += any(each <= set(CALLERS) for each in right)
                complete += set(CALLERS) in right
            else:
                false += bool(told)
    return found, complete, false


def run(fleets: int = 200, first: int = 0, histories: int = 10) -> Iterator[Row]:
    """The figures against their bars."""
    for known in (True, False):
        told = [judged(seed, known=known) for seed in range(first, first + fleets)]
        planted, found = sum(each.planted for each in told), sum(each.found for each in told)
        groups, false = sum(each.told for each in told), sum(each.false for each in told)
        what = "what they call is known" if known else "it is not known what they call"
        yield Row(
            f"{fleets} fleets, {what}: of {planted} outages of {3 if known else SEVERAL} functions or more told as one",
            f">= {LEAST_FOUND:.0%}",
            f"{found / planted:.1%}",
            found >= LEAST_FOUND * planted,
        )
        yield Row(
            "… false among what is told as one",
            f"<= {MOST_FALSE:.0%}",
            f"{false / max(groups, 1):.1%} of {groups}",
            false <= MOST_FALSE * groups,
        )
        if known:
            named = sum(each.named for each in told)
            yield Row("… with the dependency named", ">= 90%", f"{named / max(found, 1):.1%}", named >= 0.9 * found)
        one, right = (sum(each.first[i] for each in told) for i in (0, 1))
        bar, holds = (
            (">= 90%", right >= 0.9 * one) if known else ("shown", None)
        )  # one that came by chance may be first
        yield Row("… said which came first, rightly", bar, f"{right} of {one}", holds)
    found, complete, false = whole(histories, first)
    yield Row(
        f"{histories} whole histories of six functions: the outage of three told as one, with its dependency",
        f">= {LEAST_FOUND:.0%}",
        f"{found} of {histories}; with all three in it {complete}",
        found >= LEAST_FOUND * histories,
    )
    yield Row(
        f"{histories} without it: anything told as one",
        f"<= {MOST_FALSE:.0%}",
        f"{false}",
        false <= MOST_FALSE * histories,
    )


if __name__ == "__main__":
    sys.exit(not show("Incidents of several functions", run(*map(int, sys.argv[1:4]))))
