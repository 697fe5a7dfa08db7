"""What the calls of an experiment's arms showed: sums that one process keeps, and that add up over processes.

Where each call draws its arm, a call is an outcome. Where a block of time or a host has one arm for all its calls, the
block or the host is: per call, false alarms would be the rule (benchmarks/sequential.py). Its sums are kept apart, by
block and host, until it is over; then it is folded, once, into what is kept in common.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.effect import BURN_IN, Effect
from poet.kernels.online.sample_ratio import SampleRatio
from poet.model.experiment import Experiment

KIND = "evidence"  # of the documents
FOLDED = "folded"  # name of what is kept in common, behind the experiment's
UNITS_BURN_IN = 10  # blocks or hosts of each arm before anything is told
UNITS_PLANNED = 60.0  # at which the bounds are narrowest
BAD = 0.2  # share of failed calls from which on a block is an event ...
WORSE = 2.0  # ... and at least so many times the usual one
MOST_RANGES = 500  # of blocks that were folded; then the two nearest are taken for one

Pair = tuple[int, int]  # places of two arms, the lower first


class Call(NamedTuple):
    """One call, as far as an experiment wants to know."""

    started: float  # Unix time [s]
    arm: int
    shares: tuple[float, ...]  # of the arms, when it drew its own; 0: it got none
    outcome: float | None  # by the metric; None: missing
    failed: bool
    slow: bool  # far slower than usual, by the first arm's calls
    latency: float | None  # log seconds; None: it was not made


@dataclass(slots=True)
class Tally:
    """Of one arm."""

    calls: int = 0
    missing: int = 0  # calls that told nothing by the metric
    failures: int = 0
    bad: int = 0  # failed, or far slower than the first arm's usual ones
    told: int = 0  # outcomes
    total: float = 0.0  # of the outcomes

    def add(self, other: Tally) -> None:
        """``other`` as well."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def mean(self) -> float:
        """Of the outcomes; nan: none."""
        return self.total / self.told if self.told else math.nan

    def state(self) -> list[float]:
        """As plain numbers."""
        return [getattr(self, name) for name in self.__slots__]


@dataclass(slots=True)
class Unit:
    """A block or a host that is not folded yet."""

    arm: int
    shares: tuple[float, ...]
    calls: int = 0
    failures: int = 0
    told: int = 0
    total: float = 0.0
    made: int = 0
    latency: float = 0.0  # sum of log seconds

    def add(self, other: Unit) -> None:
        """``other``, which is of the same block or host, as well."""
        for name in ("calls", "failures", "told", "total", "made", "latency"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(slots=True)
class Evidence:
    """All of it. Made for one experiment: ``Evidence.of(experiment)``."""

    arms: list[Tally]
    effects: dict[Pair, Effect]  # of the second over the first
    latencies: dict[Pair, Effect]  # the same of log seconds, for the guard: the control's pairs only
    failed: dict[Pair, CoinTest]
    bad: dict[Pair, CoinTest]  # calls that failed or were slow: who answers late instead of never does no harm
    ratio: SampleRatio = field(default_factory=SampleRatio)
    units: dict[str, Unit] = field(default_factory=dict)
    folded: list[list[int]] = field(default_factory=list)  # ranges of blocks that are in the effects
    usual: list[float] = field(default_factory=lambda: [0.0, 0.0])  # blocks folded, and their shares of failures
    crossed: int = 0  # calls that had another arm than their block or host
    late: int = 0  # calls of blocks that were folded before
    unknown: int = 0  # calls whose share is not known
    waiting: int = 0  # calls that do not count yet, as calls that began before may still run

    @classmethod
    def of(cls, experiment: Experiment) -> Evidence:
        """Nothing seen yet."""
        k = len(experiment.arms)
        pairs = [(a, b) for a in range(k) for b in range(a + 1, k)]
        alpha = experiment.rules.alpha / max(1, k - 1)
        if experiment.rules.assignment == "call":
            start = Effect.planned(calls=experiment.planned or None, alpha=alpha, burn_in=BURN_IN)
            guard = Effect.planned(alpha=experiment.rules.guard_alpha)
        else:
            start = Effect.planned(calls=UNITS_PLANNED, alpha=alpha, burn_in=UNITS_BURN_IN, window=50.0)
            guard = start
        first = [pair for pair in pairs if pair[0] == 0]
        return cls(
            [Tally() for _ in range(k)],
            dict.fromkeys(pairs, start),
            dict.fromkeys(first, guard),
            dict.fromkeys(first, CoinTest()),
            dict.fromkeys(first, CoinTest()),
        )

    @property
    def calls(self) -> int:
        """Of all arms."""
        return sum(arm.calls for arm in self.arms)

    def add(self, call: Call) -> None:
        """A call more, where each draws its own arm; O(arms)."""
        self._count(call)
        if call.outcome is not None:
            for pair, one, share in self._pairs(call.arm, call.shares, self.effects):
                self.effects[pair] = self.effects[pair].add(one, share, call.outcome)
        if call.latency is not None:
            for pair, one, share in self._pairs(call.arm, call.shares, self.latencies):
                self.latencies[pair] = self.latencies[pair].add(one, share, call.latency)
        counts = [int(place == call.arm) for place, share in enumerate(call.shares) if share]
        self.ratio = self.ratio.add([share for share in call.shares if share], counts)

    def event(self, call: Call) -> None:
        """A call that failed, or was slow, where each draws its own arm."""
        for happened, tests in ((call.failed, self.failed), (call.failed or call.slow, self.bad)):
            for pair, one, share in self._pairs(call.arm, call.shares, tests) if happened else ():
                tests[pair] = tests[pair].add(share, one, 1)

    def scored(self, arm: int, shares: tuple[float, ...], outcome: float, key: str | None = None) -> None:
        """What a call that was missing is worth after all. key: of its block or host; None: each draws its own arm.

        Of a block that is folded it stays missing.
        """
        unit = None if key is None else self.units.get(key)
        if key is not None and (unit is None or unit.arm != arm):
            return
        tally = self.arms[arm]
        tally.missing, tally.told, tally.total = tally.missing - 1, tally.told + 1, tally.total + outcome
        if unit is not None:
            unit.told, unit.total = unit.told + 1, unit.total + outcome
            return
        for pair, one, share in self._pairs(arm, shares, self.effects):
            self.effects[pair] = self.effects[pair].add(one, share, outcome)

    def add_to(self, key: str, call: Call) -> None:
        """A call more of a block or host."""
        self._count(call)
        unit = self.units.setdefault(key, Unit(call.arm, call.shares))
        if unit.arm != call.arm:
            self.crossed += 1
            return
        unit.calls += 1
        unit.failures += call.failed
        if call.outcome is not None:
            unit.told += 1
            unit.total += call.outcome
        if call.latency is not None:
            unit.made += 1
            unit.latency += call.latency

    def _count(self, call: Call) -> None:
        missing = call.outcome is None
        bad = call.failed or call.slow
        seen = Tally(1, int(missing), int(call.failed), int(bad), int(not missing), call.outcome or 0.0)
        self.arms[call.arm].add(seen)

    def _pairs(self, arm: int, shares: tuple[float, ...], known: Iterable[Pair]) -> list[tuple[Pair, int, float]]:
        """Those of an arm, whether it is the second of the pair, and the second's share of their calls."""
        found = []
        for pair in known:
            if arm in pair and all(shares[place] for place in pair):
                first, second = shares[pair[0]], shares[pair[1]]
                found.append((pair, int(arm == pair[1]), second / (first + second)))
        return found

    def fold(self, unit: Unit) -> None:
        """A block or a host as one outcome."""
        if unit.told:
            for pair, one, share in self._pairs(unit.arm, unit.shares, self.effects):
                self.effects[pair] = self.effects[pair].add(one, share, unit.total / unit.told)
        if unit.made:
            for pair, one, share in self._pairs(unit.arm, unit.shares, self.latencies):
                self.latencies[pair] = self.latencies[pair].add(one, share, unit.latency / unit.made)
        if unit.calls:
            failing = unit.failures / unit.calls
            seen, so_far = self.usual
            if failing > max(BAD, WORSE * so_far / seen if seen else BAD):  # by what was known before
                for pair, one, share in self._pairs(unit.arm, unit.shares, self.failed):
                    self.failed[pair] = self.failed[pair].add(share, one, 1)
            self.usual = [seen + 1, so_far + failing]
            counts = [int(place == unit.arm) for place, share in enumerate(unit.shares) if share]
            self.ratio = self.ratio.add([share for share in unit.shares if share], counts)

    def is_folded(self, block: int) -> bool:
        """Whether a block is in the effects."""
        return any(first <= block <= last for first, last in self.folded)

    def mark(self, block: int) -> None:
        """A block is in the effects now."""
        ranges = sorted([*self.folded, [block, block]])
        joined = ranges[:1]
        for first, last in ranges[1:]:
            if first <= joined[-1][1] + 1:
                joined[-1][1] = max(joined[-1][1], last)
            else:
                joined.append([first, last])
        if len(joined) > MOST_RANGES:  # of blocks far apart, as where calls are rare
            near = min(range(len(joined) - 1), key=lambda place: joined[place + 1][0] - joined[place][1])
            joined[near][1] = joined.pop(near + 1)[1]
        self.folded = joined

    def merge(self, other: Evidence) -> None:
        """What another process saw, as well. Units of blocks that are folded are passed over."""
        for mine, theirs in zip(self.arms, other.arms, strict=True):
            mine.add(theirs)
        for ours, others in ((self.effects, other.effects), (self.latencies, other.latencies)):
            for pair, effect in others.items():
                ours[pair] = ours[pair].merged(effect)
        for tests, more in ((self.failed, other.failed), (self.bad, other.bad)):
            for pair, test in more.items():
                tests[pair] = tests[pair].merged(test)
        self.ratio = self.ratio.merged(other.ratio)
        for key, unit in other.units.items():
            there = self.units.get(key)
            if there is None:
                self.units[key] = Unit(**{name: getattr(unit, name) for name in Unit.__slots__})
            elif there.arm == unit.arm:
                there.add(unit)
        self.folded += [list(each) for each in other.folded]
        self.usual = [a + b for a, b in zip(self.usual, other.usual, strict=True)]
        self.crossed += other.crossed
        self.late += other.late
        self.unknown += other.unknown
        self.waiting += other.waiting

    def body(self) -> str:
        """As it is kept."""
        told: dict[str, Any] = {
            "arms": [arm.state() for arm in self.arms],
            "effects": _named(self.effects),
            "latencies": _named(self.latencies),
            "failed": _named(self.failed),
            "bad": _named(self.bad),
            "ratio": self.ratio.state(),
            "units": {key: [getattr(unit, name) for name in Unit.__slots__] for key, unit in self.units.items()},
            "folded": self.folded,
            "usual": self.usual,
            "lost": [self.crossed, self.late, self.unknown, self.waiting],
        }
        return json.dumps(told)

    @classmethod
    def read(cls, body: str, experiment: Experiment) -> Evidence:
        """As it was kept. Raises ValueError where it cannot be read."""
        try:
            told = json.loads(body)
            found = cls.of(experiment)
            found.arms = [Tally(*arm) for arm in told["arms"]]
            for mine, name in ((found.effects, "effects"), (found.latencies, "latencies")):
                mine.update({_pair(each): Effect.from_state(state) for each, state in told[name].items()})
            for tests, name in ((found.failed, "failed"), (found.bad, "bad")):
                tests.update({_pair(each): CoinTest.from_state(state) for each, state in told[name].items()})
            found.ratio = SampleRatio.from_state(told["ratio"])
            found.units = {key: Unit(arm, tuple(shares), *rest) for key, (arm, shares, *rest) in told["units"].items()}
            found.folded, found.usual = told["folded"], told["usual"]
            found.crossed, found.late, found.unknown, found.waiting = told["lost"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"evidence of {experiment.name} cannot be read: {error!r}") from error
        if len(found.arms) != len(experiment.arms):
            raise ValueError(f"evidence of {experiment.name} cannot be read: it is of {len(found.arms)} arms")
        return found


def pooled(experiment: Experiment, parts: Iterable[Evidence]) -> Evidence:
    """What all processes saw together. Hosts are outcomes as they stand now, in the order of their names."""
    whole = Evidence.of(experiment)
    for part in parts:
        whole.merge(part)
    if experiment.rules.assignment == "host":
        for key in sorted(whole.units):
            whole.fold(whole.units[key])
    return whole


def _named(states: Mapping[Pair, Effect | CoinTest]) -> dict[str, Any]:
    return {f"{first}-{second}": state.state() for (first, second), state in states.items()}


def _pair(name: str) -> Pair:
    first, second = name.split("-")
    return int(first), int(second)
