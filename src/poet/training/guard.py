"""Watches a roll-out: are calls worse off with the new version than with the old one, at the same time?

Several guards look at the same calls (``kernels.online.verdict``): failures, timeouts and breaches of the service level
are counted by whose they are; log latency, requests and the user's score are compared as running effects. Each has its
part of ``alpha``; all hold at every look. What they call harm counts unless the calls with the new version are worth
more by the function's own objective: a longer limit makes calls slower, and is right where more of them succeed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.effect import Effect, Side
from poet.kernels.online.exceedance import Limit
from poet.kernels.online.proportion import upper
from poet.kernels.online.verdict import Finding, Verdict, of_effect, of_events, split, together
from poet.model.execution import Execution, Outcome
from poet.model.objective import INSTANT, Objective
from poet.model.rollout import Rollout

WEIGHTS = {"failures": 5.5, "latency": 2.6, "breaches": 1.0, "timeouts": 0.3, "requests": 0.3, "score": 0.3}
"""Of the rate of false alarms: what is worst gets most. benchmarks/guards.py shows what they find, and how soon."""
EVENTS: tuple[Kind, ...]
Kind = Literal["failures", "timeouts", "breaches"]
Mean = Literal["latency", "requests", "score"]
EVENTS = ("failures", "timeouts", "breaches")
MEANS: tuple[Mean, ...] = ("latency", "requests", "score")
SAFE = 0.5  # by which the odds of an event may be higher at least where it is called safe
ALIKE = 50  # calls of each arm that show that there is nothing to compare
FEW = 4  # calls of each arm without which nothing is plain
PLAIN = 1.64  # standard deviations
RARE = 0.02  # probability of an event below which there are hardly any
TELLING = 0.3  # share of the old version's calls that must have ended, too, where the new one's are taken for harm
REMEMBERED = 64  # calls of each arm whose starts are known for that


class Fared(NamedTuple):
    """How the calls of one arm fared: sums."""

    calls: float = 0.0
    good: float = 0.0
    seconds: float = 0.0
    logs: float = 0.0  # of seconds
    requests: float = 0.0
    in_time: float = 0.0  # ended within a latency target
    scored: float = 0.0
    score: float = 0.0
    # of products, for the variance of what a call is worth
    good_seconds: float = 0.0
    good_requests: float = 0.0
    seconds_requests: float = 0.0
    seconds_2: float = 0.0
    requests_2: float = 0.0

    def worth(self, value: float, per_second: float, per_request: float) -> tuple[float, float]:
        """Mean utility of a call, and the variance of that mean; there are calls."""
        n, v, s, r = self.calls, value, per_second, per_request
        mean = (v * self.good - s * self.seconds - r * self.requests) / n
        square = v * v * self.good + s * s * self.seconds_2 + r * r * self.requests_2
        square += 2.0 * (s * r * self.seconds_requests - v * s * self.good_seconds - v * r * self.good_requests)
        return mean, max(square / n - mean * mean, 0.0) / n

    def added(self, *more: float) -> Fared:
        """Both together."""
        return Fared(*(a + b for a, b in zip(self, more, strict=True)))


class Judgement(NamedTuple):
    """What was found."""

    verdict: Literal["harm", "safe", "undecided"]
    sentence: str
    figures: Mapping[str, Any]


class Guard:
    """What one process has seen of a roll-out; of several, together, what ``merged`` gives."""

    def __init__(self, rollout: Rollout, objective: Objective) -> None:
        self.rollout, self.objective = rollout, objective
        self.seen = 0  # executions of either arm that came in
        self._coins: dict[Kind, CoinTest] = {kind: CoinTest() for kind in EVENTS}
        self._means: dict[Mean, Effect] = {
            mean: Effect.planned(alpha=_split(rollout.policy.alpha)[mean]) for mean in MEANS
        }
        self._fared = (Fared(), Fared())  # with the old version, and with the new one
        self._limit = Limit()
        self._starts: tuple[deque[float], deque[float]] = (deque(maxlen=REMEMBERED), deque(maxlen=REMEMBERED))
        self._failed: deque[float] = deque(maxlen=REMEMBERED)  # starts of the new version's calls that failed

    @property
    def exposed(self) -> int:
        """Calls that got the new version by lot, and have ended."""
        return int(self._fared[1].calls)

    def add(self, executions: Sequence[Execution]) -> None:
        """These have ended. Those of other versions, or that no coin was thrown for, are passed over."""
        for execution in executions:
            found = self._arm(execution)
            if found is None or execution.outcome in (Outcome.SHED, Outcome.CANCELLED):
                continue
            self._add(execution, *found)

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores that came late; one that was known before is not counted again."""
        for execution, known in zip(executions, before, strict=True):
            found = self._arm(execution)
            if found is not None and known.score is None and execution.score is not None:
                self._scored(execution.score, *found)

    def merged(self, other: Guard) -> Guard:
        """What both have seen."""
        both = Guard(self.rollout, self.objective)
        both.seen = self.seen + other.seen
        both._coins = {kind: coin.merged(other._coins[kind]) for kind, coin in self._coins.items()}
        both._means = {mean: effect.merged(other._means[mean]) for mean, effect in self._means.items()}
        ours, theirs = self._fared, other._fared
        both._fared = ours[0].added(*theirs[0]), ours[1].added(*theirs[1])
        both._starts, both._failed = self._starts, self._failed  # of this process alone
        return both

    def state(self) -> dict[str, Any]:
        """As plain numbers, for others."""
        return {
            "seen": self.seen,
            "events": {kind: coin.state() for kind, coin in self._coins.items()},
            "means": {mean: effect.state() for mean, effect in self._means.items()},
            "fared": [list(fared) for fared in self._fared],
        }

    @classmethod
    def of(cls, rollout: Rollout, objective: Objective, state: Mapping[str, Any]) -> Guard:
        """What ``state`` gave. Raises ValueError, KeyError or TypeError where it cannot have been that."""
        guard = cls(rollout, objective)
        guard.seen = int(state["seen"])
        guard._coins = {kind: CoinTest.from_state(state["events"][kind]) for kind in EVENTS}
        guard._means = {mean: Effect.from_state(state["means"][mean]) for mean in MEANS}
        old, new = (Fared(*map(float, numbers)) for numbers in state["fared"])
        if not all(math.isfinite(number) and number >= 0 for fared in (old, new) for number in fared[:3]):
            raise ValueError("sums must be finite and >= 0")
        guard._fared = old, new
        return guard

    @property
    def harmful(self) -> bool:
        """Whether the verdict is harm; quick, to be asked after every call."""
        return self._alarmed() and self._better() is not True and self._comparable()

    def _alarmed(self) -> bool:
        """Whether any guard speaks of harm."""
        alphas = self._alphas()
        return any(coin.harm(alphas[kind]) for kind, coin in self._coins.items()) or any(
            self._means[mean].log_e(0.0, Side.ABOVE) >= -math.log(alphas[mean]) for mean in self._margins()
        )

    def judgement(self) -> Judgement:
        """What all guards say together, in words and figures."""
        findings = self._findings()
        verdict = together(findings)
        worse = max(findings, key=lambda finding: (finding.verdict is Verdict.HARM, finding.log_e))
        better = self._better()
        told: Literal["harm", "safe", "undecided"] = "undecided"
        if verdict is Verdict.HARM:
            told = "harm" if better is not True and self._comparable() else "undecided"
        elif verdict is Verdict.SAFE:
            told = "safe"
        sentence = self._sentence(worse, better) if verdict is Verdict.HARM else self._plainly()
        return Judgement(told, sentence, self._figures(findings, better))

    @property
    def balanced(self) -> bool:
        """Whether calls with the old version have ended, too, and nearly as many as the lot gave: there is a contrast.

        Calls that fail at once end before the others, which began with them.
        """
        old, new = self._fared
        stage = self.rollout.stage
        due = 0.0 if stage is None else TELLING * new.calls * (1.0 - stage.share) / stage.share
        return old.calls >= max(FEW, due)

    @property
    def plainly_better(self) -> bool:
        """Whether calls with the new version are worth more by far more than chance; told at a look, it speeds up."""
        return self._leaning() > PLAIN and bool(self._better())

    @property
    def plainly_worse(self) -> bool:
        """Whether they are worth less by far more than chance; told at a look, it holds up, and is no verdict."""
        return self._leaning() < -PLAIN and not self._better()

    def _leaning(self) -> float:
        """By how many standard deviations calls are worth more with the new version [1]; 0 while there are few."""
        old, new = self._fared
        if min(old.calls, new.calls) < FEW:
            return 0.0
        objective = self.objective.for_latency(math.exp(old.logs / old.calls))
        costs = objective.value, objective.latency_cost or 0.0, objective.attempt_cost
        (before, doubt), (after, doubt_too) = old.worth(*costs), new.worth(*costs)
        # Of calls that were all alike so far, some chance of another outcome is left.
        doubt += (objective.value / (old.calls + 1.0)) ** 2
        doubt_too += (objective.value / (new.calls + 1.0)) ** 2
        return (after - before) / math.sqrt(doubt + doubt_too)

    # ------------------------------------------------------------ counting

    def _arm(self, execution: Execution) -> tuple[int, float] | None:
        """Which arm it was, and the probability of the new one then."""
        chance = execution.propensity
        if not 0.0 < chance < 1.0:
            return None
        if execution.version == self.rollout.version:
            return 1, chance
        return (0, 1.0 - chance) if execution.version == self.rollout.base else None

    def _add(self, execution: Execution, arm: int, share: float) -> None:
        seconds = max(execution.seconds, INSTANT)
        good = execution.outcome.good
        requests = max(1, sum(attempt.outcome is not Outcome.SHED for attempt in execution.attempts))
        slo, target = self.rollout.policy.slo, self.objective.latency_target
        self.seen += 1
        self._starts[arm].append(execution.started)
        if arm and not good:
            self._failed.append(execution.started)
        happened = {
            "failures": not good,
            "timeouts": execution.outcome is Outcome.TIMEOUT,
            "breaches": self._limit.breached(seconds) if slo is None else seconds > slo,
        }
        for kind in EVENTS:
            if happened[kind]:
                self._coins[kind] = self._coins[kind].add(share, arm, 1)
        if not arm:
            self._limit = self._limit.add(seconds)
        self._means["latency"] = self._means["latency"].add(arm, share, math.log(seconds))
        self._means["requests"] = self._means["requests"].add(arm, share, math.log(requests))
        sums = (1.0, good, seconds, math.log(seconds), requests, seconds <= (target or math.inf), 0.0, 0.0)
        products = (good * seconds, good * requests, seconds * requests, seconds**2, requests**2)
        self._sum(arm, (*sums, *products))
        if execution.score is not None:
            self._scored(execution.score, arm, share)

    def _scored(self, score: float, arm: int, share: float) -> None:
        self._means["score"] = self._means["score"].add(arm, share, -score)
        self._sum(arm, (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, score, 0.0, 0.0, 0.0, 0.0, 0.0))

    def _sum(self, arm: int, told: Sequence[float]) -> None:
        old, new = self._fared
        self._fared = (old, new.added(*told)) if arm else (old.added(*told), new)

    # ------------------------------------------------------------ judging

    def _findings(self) -> list[Finding]:
        alphas = self._alphas()
        found = [self._events(kind, alphas[kind]) for kind in EVENTS]
        return [*found, *(self._mean(mean, alphas[mean], margin) for mean, margin in self._margins().items())]

    def _alphas(self) -> dict[str, float]:
        """Each guard's part; the score's, too, whether or not there are any, as nothing must be changed later."""
        return _split(self.rollout.policy.alpha)

    def _margins(self) -> dict[Mean, float]:
        """What is tolerated, in the unit of each mean that there is."""
        margin = self.rollout.policy.margin
        margins: dict[Mean, float] = {"latency": math.log1p(margin), "requests": math.log1p(margin)}
        if self._fared[0].scored + self._fared[1].scored > 0:
            margins["score"] = 0.5 * margin
        return margins

    def _mean(self, mean: Mean, alpha: float, margin: float) -> Finding:
        """What a mean says: any rise is harm, and one beyond the margin must be excluded to be safe.

        It is safe, too, where all calls of both were alike.
        """
        effect = self._means[mean]
        harm = of_effect(mean, effect, alpha)
        if harm.verdict is Verdict.HARM:
            return harm
        alike = min(effect.n0, effect.n1) >= ALIKE and effect.sums.spread == 0.0
        found = of_effect(mean, effect, alpha, margin)
        return found._replace(verdict=Verdict.SAFE if alike or found.verdict is Verdict.SAFE else Verdict.UNDECIDED)

    def _events(self, kind: Kind, alpha: float) -> Finding:
        """What a count says; it is safe, too, where the new version has hardly any, whatever the old one has."""
        coin, calls = self._coins[kind], self._fared[1].calls
        found = of_events(kind, coin, alpha, safe=1.0 + max(self.rollout.policy.margin, SAFE))
        if found.verdict is Verdict.UNDECIDED and upper(min(coin.canary_events, calls), calls, alpha) < RARE:
            return found._replace(verdict=Verdict.SAFE)
        return found

    def _better(self) -> bool | None:
        """Whether calls are worth more with the new version, by what was seen; None: one of them has no calls."""
        old, new = self._fared
        if not old.calls or not new.calls:
            return None
        objective = self.objective.for_latency(math.exp(old.logs / old.calls))
        rates = [fared.good / fared.calls for fared in (old, new)]
        target = objective.success_target
        if target is not None and (rates[0] < target or rates[1] < target):
            return min(rates[1], target) > min(rates[0], target)
        if objective.latency_target is not None:
            in_time = [fared.in_time / fared.calls for fared in (old, new)]
            if min(in_time) < 0.99:
                return min(in_time[1], 0.99) > min(in_time[0], 0.99)
        worth = []
        for fared, rate in zip((old, new), rates, strict=True):
            value = objective.value * rate - objective.attempt_cost * (fared.requests / fared.calls - 1.0)
            if objective.latency_target is None:
                value -= (objective.latency_cost or 0.0) * fared.seconds / fared.calls
            if old.scored and new.scored:
                value += objective.value * fared.score / fared.scored
            worth.append(value)
        return worth[1] > worth[0]

    def _comparable(self) -> bool:
        """Whether calls of the old version that began with those in trouble have ended, too.

        Where they hang, as in an outage that longer limits wait out, the new version's failures only come sooner.
        """
        if not self._failed:
            return True
        since = self._failed[len(self._failed) // 2]
        new = sum(start >= since for start in self._starts[1])
        old = sum(start >= since for start in self._starts[0])
        stage = self.rollout.stage
        if stage is None or len(self._failed) < 3:
            return True
        return old >= TELLING * new * (1.0 - stage.share) / stage.share - 1.0

    def _sentence(self, finding: Finding, better: bool | None) -> str:
        old, new = self._fared
        kind = finding.guard
        if kind in self._coins:
            coin = self._coins[kind]
            ours, theirs = coin.canary_events, coin.events - coin.canary_events
            word = {"failures": "failed", "timeouts": "timed out", "breaches": "were too slow"}[kind]
            said = f"{ours} of {new.calls:.0f} calls with it {word} ({_percent(ours, new.calls)}), "
            said += f"{theirs} of {old.calls:.0f} without it ({_percent(theirs, old.calls)})"
        elif kind == "score":
            said = f"calls with it scored {-finding.value:+.3g} against those without it"
        else:
            word = "take" if kind == "latency" else "make"
            what = "as long" if kind == "latency" else "as many requests"
            said = f"calls with it {word} {math.exp(finding.value):.3g} times {what} as those without it"
            said += f" [{math.exp(finding.low):.3g}, ...), {new.calls:.0f} and {old.calls:.0f} calls"
        chance = math.exp(-min(finding.log_e, 700.0))
        said += f"; by chance with at most {chance:.1g}, where {finding.alpha:.1g} is agreed on"
        return said + ("; all in all they are worth more" if better else "")

    def _plainly(self) -> str:
        old, new = self._fared
        if not new.calls:
            return "no call has got it yet"
        return (
            f"{new.calls - new.good:.0f} of {new.calls:.0f} calls with it failed, "
            f"{old.calls - old.good:.0f} of {old.calls:.0f} without it; "
            f"{_mean_log(new):.3g} s and {_mean_log(old):.3g} s typically"
        )

    def _figures(self, findings: Sequence[Finding], better: bool | None) -> dict[str, Any]:
        guards = {
            finding.guard: {
                "verdict": finding.verdict.value,
                "log_e": _finite(finding.log_e),
                "value": _finite(finding.value),
                "low": _finite(finding.low),
                "high": _finite(finding.high),
                "margin": _finite(finding.margin),
                "alpha": finding.alpha,
                "n": finding.n,
            }
            for finding in findings
        }
        arms = {
            name: {
                "calls": int(fared.calls),
                "failures": int(fared.calls - fared.good),
                "seconds": fared.seconds / fared.calls if fared.calls else None,
                "requests": fared.requests / fared.calls if fared.calls else None,
                "score": fared.score / fared.scored if fared.scored else None,
            }
            for name, fared in zip(("before", "after"), self._fared, strict=True)
        }
        return {"guards": guards, "worth_more": better, **arms}


@lru_cache
def _split(alpha: float) -> dict[str, float]:
    return split(alpha, WEIGHTS)


def _percent(part: float, whole: float) -> str:
    return f"{round(100 * part / whole, 0 if 10 * part >= whole else 1):g} %" if whole else "none"


def _mean_log(fared: Fared) -> float:
    return math.exp(fared.logs / fared.calls) if fared.calls else math.nan


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
