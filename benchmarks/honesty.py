"""Does the learner keep its word? Lock-out, false alarms, what its intervals hold, and success that was asked for.

    python -m benchmarks.honesty [seeds]

(a) A service becomes 3, 10 or 30 times slower: the call at which 20 successes in a row begin, and how many attempts
timeouts had ended before the change that were about to succeed. (b) The drift detector: alarms where nothing changes,
and calls until an alarm where latency grows. (c) Of the 90 % intervals in the suggestions, how many hold the truth: for
a parameter the best value that it could have, all others being as suggested; for a predicted gain the gain by exact
expected utility, likewise for what ``explain()`` expects of the live values. (d) With ``success_target`` = 0.999: the
time by which 99 % of the calls that can succeed have done so, and whether the target is met.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import FACTORS, STEP, recovered
from benchmarks.ours import DECLARED, Ours
from benchmarks.rivals import ELEVEN, quantiles
from benchmarks.table import Row, show
from poet.model.estimate import Estimate
from poet.model.execution import Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.seams import Learner, Suggestion
from poet.sim.evaluate import (
    RETRIES,
    evaluate,
    expected_utility,
    outlooks,
)
from poet.sim.play import perform, play
from poet.sim.scenarios import SCENARIOS, random_service, step_slowdown
from poet.sim.services import Dice, Plan, Service

Floats = NDArray[np.float64]

# The bars: what must hold for the benchmark to pass.
MOST_RECOVERY, MOST_FALSE = 20, 0.0015  # calls; share of attempts
MOST_ALARMS = 1.0  # per 100 000 calls where nothing changes
MOST_DELAY: Mapping[float, int] = {1.5: 150, 3.0: 20}  # calls until an alarm, median, by factor of latency
COVERAGE = (0.87, 0.93)  # of intervals of 90 %
MOST_T99: Mapping[str, float] = {"fast_api": 0.19, "heavy_tail": 0.75, "flaky20": 0.67}  # [s]
TARGET, LEAST_WINDOWS = 0.999, 0.99  # success that is asked for; share of windows of 1000 calls that must have it

STILL = tuple(range(300, 340, 2))  # seeds of random services that never change
ASKED = (50, 200, 1000, 3000, 4900)  # calls after which it is asked what it expects
RUN = 20  # successes in a row that say: it is back
SHIFT = 1500  # call at which latency grows
EQUAL = 1e-4  # of a success's value: values of a parameter that differ by less are the best, all of them
ALIKE = 0.002  # the same for nearly as good as the best
# Values may lie this factor outside of an interval and count as in it: half a step of those that are considered.
SLACK: Mapping[str, float] = {"timeout": 1.12, "retries": 1.0, "backoff": 1.5, "hedge_delay": 1.12}


# --- what is asked of the learner, in one place -----------------------------------------------------------------------


def alarms(learner: Learner) -> int:
    """A number that changes with each alarm of the drift detector."""
    return int(learner._evidence._last_alarm)  # type: ignore[attr-defined]


def predicted_gain(suggestion: Suggestion) -> Estimate | None:
    """What a change is said to gain, in utility per call; None: nothing is said."""
    return suggestion.estimates.get("gain")


class Watched(Ours):
    """Our learner as a policy; notes at which calls an alarm was heard, and which attempts a timeout ended."""

    def __init__(self, objective: Objective, seed: int, declared: Mapping[str, Value] = DECLARED) -> None:
        super().__init__(objective, seed, declared)
        self.heard: list[int] = []  # executions that had been seen
        self.attempts: list[int] = []  # of each call
        self.timeouts: list[int] = []  # of them
        self._alarms = alarms(self.learner)

    def observe(self, execution: Execution) -> None:
        super().observe(execution)
        self.attempts.append(len(execution.attempts))
        self.timeouts.append(sum(attempt.outcome is Outcome.TIMEOUT for attempt in execution.attempts))
        if (now := alarms(self.learner)) != self._alarms:
            self._alarms = now
            self.heard.append(self.executions)


# --- (a) lock-out -----------------------------------------------------------------------------------------------------


class Recovery(NamedTuple):
    """A service that became slower all at once."""

    factor: float
    calls: float  # that at which 20 successes in a row begin, from 1; infinite: never
    false: int  # attempts before it that a timeout ended; all of them would have succeeded, as nothing hangs there
    attempts: int  # before it


def recoveries(factor: float, seed: int) -> list[Recovery]:
    """Started at 30 s and at 0.5 s, with the latency cost declared and derived."""
    scenario, found = step_slowdown(factor), []
    for timeout in (30.0, 0.5):
        for objective in (scenario.objective, Objective()):
            policy = Watched(objective, seed, {**DECLARED, "timeout": timeout})
            calls = recovered(play(scenario, policy, seed, STEP + 400), STEP, RUN)
            before = sum(policy.timeouts[:STEP]), sum(policy.attempts[:STEP])
            found.append(Recovery(factor, math.inf if calls is None else float(calls - RUN + 1), *before))
    return found


# --- (b) drift --------------------------------------------------------------------------------------------------------


class Drift(NamedTuple):
    """A service that changes once, or never."""

    factor: float  # of latency; 1: never
    calls: int  # without a change
    alarms: int  # in them
    delay: float  # calls from the change to the first alarm; infinite: none


def still(number: int, calls: int, seed: int) -> Drift:
    """A random service that never changes."""
    scenario = random_service(number, calls)
    policy = Watched(scenario.objective, seed)
    play(scenario, policy, seed, calls)
    return Drift(1.0, calls, len(policy.heard), math.nan)


def moved(number: int, factor: float, seed: int, calls: int = 600) -> Drift:
    """One that becomes ``factor`` times slower."""
    scenario = random_service(number, SHIFT + calls)
    before = scenario.at(0)
    after = before.slowed(factor)
    scenario = replace(scenario, at=lambda t: before if t < SHIFT else after)
    policy = Watched(scenario.objective, seed)
    play(scenario, policy, seed)
    early = sum(heard <= SHIFT for heard in policy.heard)
    delay = float(policy.heard[early] - SHIFT) if early < len(policy.heard) else math.inf
    return Drift(factor, SHIFT, early, delay)


# --- (c) intervals ----------------------------------------------------------------------------------------------------


class Told(Ours):
    """Our learner as a policy; asked now and then what it expects of its values."""

    def __init__(self, objective: Objective, seed: int) -> None:
        super().__init__(objective, seed)
        self.forecasts: list[tuple[int, Estimate]] = []  # executions that had been seen, and the utility per call

    def observe(self, execution: Execution) -> None:
        super().observe(execution)
        if self.executions in ASKED and (forecast := self.learner.explain(self.live).live) is not None:
            self.forecasts.append((self.executions, forecast.utility))


class Claim(NamedTuple):
    """One interval, and whether it holds the truth."""

    what: str  # a parameter's name, "gain", or "utility"
    holds: bool
    near: bool  # of a parameter: whether it holds one that is nearly as good
    off: float  # of a gain: what was predicted less the truth; else nan


def claims(name: str, seed: int) -> list[Claim]:
    """All that the suggestions in one life claim, and what was said when asked."""
    scenario = SCENARIOS[name]
    policy = Told(scenario.objective, seed)
    record = play(scenario, policy, seed)
    found = []
    for seen, utility in policy.forecasts:
        true = expected_utility(scenario, seen, record.plan(seen), float(record.load[seen]))
        found.append(Claim("utility", utility.low <= true <= utility.high, False, utility.value - true))
    for seen, suggestion in policy.said:
        if seen >= len(record.expected):
            continue  # never used
        gain, load = predicted_gain(suggestion), float(record.load[seen])
        old, new = record.plan(seen - 1), record.plan(seen)
        if gain is not None:
            true = expected_utility(scenario, seen, new, load) - expected_utility(scenario, seen, old, load)
            found.append(Claim("gain", gain.low <= true <= gain.high, False, gain.value - true))
        for parameter in sorted(VALUES.keys() & suggestion.estimates.keys()):
            values, worth = profile(scenario.service(seen, load), scenario.objective, parameter, new)
            estimate = suggestion.estimates[parameter]
            slack = SLACK[parameter]
            inside = (values >= estimate.low / slack) & (values <= estimate.high * slack)
            if parameter == "hedge_delay":
                worth = np.where(values < new.timeout, worth, -math.inf)  # beyond it none is sent
            best = float(worth.max())
            short = best - float(worth[inside].max(initial=-math.inf))
            value = scenario.objective.value
            found.append(Claim(parameter, short <= EQUAL * value, short <= ALIKE * value, math.nan))
    return found


VALUES: Mapping[str, tuple[float, ...]] = {
    "timeout": tuple(np.geomspace(0.02, 120.0, 100).tolist()),
    "retries": tuple(range(RETRIES + 1)),
    "backoff": (0.0, *np.geomspace(0.01, 8.0, 40).tolist()),
    "hedge_delay": tuple(np.geomspace(0.001, 60.0, 110).tolist()),
}


@lru_cache(maxsize=4096)
def profile(service: Service, objective: Objective, parameter: str, plan: Plan) -> tuple[Floats, Floats]:
    """Values of a parameter, and the expected utility of each with all else as in ``plan``."""
    values = VALUES[parameter]
    timeouts: tuple[float, ...] = (plan.timeout,)
    backoffs: tuple[float, ...] = (plan.backoff,)
    delays: tuple[float, ...] = (plan.hedge_delay if plan.hedged else 0.0,)
    if parameter == "timeout":
        timeouts = values
    elif parameter == "backoff":
        backoffs = values
    elif parameter == "hedge_delay":
        delays = values
    cost, price = objective.latency_cost or 0.0, objective.attempt_cost
    tables = [outlooks(service, timeouts, backoffs, RETRIES + 1, delay) for delay in delays]
    worth = np.stack([objective.value * o.success - cost * o.seconds - price * o.extra for o in tables])
    best = worth[0, 0, 0, : RETRIES + 1] if parameter == "retries" else worth[..., plan.retries].ravel()
    return np.asarray(values, dtype=float), np.asarray(best)


def binomial(hits: int, n: int) -> tuple[float, float]:
    """The 90 % interval of a share by Wilson's score."""
    z, p = 1.645, hits / n
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


# --- (d) success target -----------------------------------------------------------------------------------------------


class Promise(NamedTuple):
    """A life under a success target."""

    scenario: str
    t99: float  # of the plan at the end; infinite: fewer than 99 % ever succeed [s]
    success: float  # of that plan, of calls that can succeed
    met: float  # share of windows after the first 1000 calls in which the expected success is on target
    plan: Plan


def promise(name: str, seed: int, calls: int = 5000) -> Promise:
    """Let the learner live through a scenario under a target; exact success of what was used, probes left out."""
    scenario = SCENARIOS[name]
    policy = Ours(Objective(success_target=TARGET), seed)
    record = play(scenario, policy, seed, calls)
    service = replace(scenario.at(0), permanent=0.0)  # calls that nothing can save are nobody's failure
    kept = lru_cache(lambda plan: evaluate(service, plan).success)
    success = np.asarray([kept(record.plan(t)) for t in range(calls)])
    windows = np.convolve(success[1000:], np.full(1000, 1e-3), "valid")
    plan = record.plan(calls - 1)
    return Promise(name, t99(service, plan), kept(plan), float(np.mean(windows >= TARGET - 1e-12)), plan)


def t99(service: Service, plan: Plan, calls: int = 20_000) -> float:
    """The time by which 99 % of the calls have succeeded under ``plan``, by simulation; infinite: they never do [s]."""
    dice = Dice(99, "t99", calls)
    done = (perform(service, plan, dice.call(t)) for t in range(calls))
    seconds = sorted(each.seconds if each.outcome is Outcome.SUCCESS else math.inf for each in done)
    return seconds[math.ceil(0.99 * calls) - 1]


# --- measuring and telling --------------------------------------------------------------------------------------------


class Report(NamedTuple):
    """All that was measured."""

    recoveries: list[Recovery]
    drifts: list[Drift]
    claims: list[Claim]
    promises: list[Promise]


def measured(seeds: int, still_calls: int) -> Report:
    """Everything, in two processes. still_calls: of each service that does not change."""
    every = range(seeds)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        slow = [pool.submit(recoveries, factor, seed) for factor in FACTORS for seed in every]
        drifts = [pool.submit(still, number, still_calls, 0) for number in STILL]
        drifts += [pool.submit(moved, number, factor, s) for number in STILL for factor in MOST_DELAY for s in every]
        said = [pool.submit(claims, name, seed) for name in ELEVEN for seed in every]
        kept = [pool.submit(promise, name, seed) for name in MOST_T99 for seed in every]
        return Report(
            [each for job in slow for each in job.result()],
            [job.result() for job in drifts],
            [each for job in said for each in job.result()],
            [job.result() for job in kept],
        )


def rows(report: Report) -> Iterator[Row]:
    """The figures against their bars."""
    yield from _of_recoveries(report.recoveries)
    yield from _of_drifts(report.drifts)
    yield from _of_claims(report.claims)
    yield from _of_promises(report.promises)


def _of_recoveries(found: Sequence[Recovery]) -> Iterator[Row]:
    for factor in FACTORS:
        calls = [each.calls for each in found if each.factor == factor]
        what = f"{factor:g} times slower: call at which {RUN} successes in a row begin, median / worst of {len(calls)}"
        yield Row(what, f"worst <= {MOST_RECOVERY}", quantiles(calls, 0.5, 1.0), max(calls) <= MOST_RECOVERY)
    false, attempts = sum(each.false for each in found), sum(each.attempts for each in found)
    what = f"attempts before it that a timeout ended and that would have succeeded, of {attempts}"
    bar = f"<= {MOST_FALSE:.2%}"
    yield Row(what, bar, f"{false / attempts:.3%}; {false}", false <= MOST_FALSE * attempts)


def _of_drifts(found: Sequence[Drift]) -> Iterator[Row]:
    quiet = [each for each in found if each.factor == 1.0]
    calls, heard = sum(each.calls for each in quiet), sum(each.alarms for each in quiet)
    rate = 1e5 * heard / calls
    what = f"drift: alarms per 100 000 calls where nothing changes, {len(quiet)} services, {calls} calls"
    yield Row(what, f"<= {MOST_ALARMS:g}", f"{rate:.2f}; {heard}", rate <= MOST_ALARMS)
    for factor, most in MOST_DELAY.items():
        delays = [each.delay for each in found if each.factor == factor]
        what = f"drift: calls until an alarm, {factor:g} times slower, median / p90 of {len(delays)} lives"
        middle = sorted(delays)[(len(delays) - 1) // 2]
        yield Row(what, f"median <= {most}", quantiles(delays, 0.5, 0.9), middle <= most)


NAMED = {"gain": "a change's predicted gain", "utility": "the expected utility of live values, as explain() tells it,"}


def _of_claims(found: Sequence[Claim]) -> Iterator[Row]:
    low, high = COVERAGE
    for name in ("timeout", "retries", "backoff", "hedge_delay", "gain", "utility"):
        own = [each for each in found if each.what == name]
        what = f"90 % intervals of {NAMED.get(name, name)} that hold the truth"
        barred = name != "utility"
        bar = f"{low:.0%} to {high:.0%}, as far as can be told" if barred else "for comparison"
        if not own:
            yield Row(what, bar, "none was given", False if name in ("timeout", "retries", "gain") else None)
            continue
        hits, n = sum(each.holds for each in own), len(own)
        least, most = binomial(hits, n)
        shown = f"{hits / n:.1%} [{least:.1%}, {most:.1%}] of {n}"
        if name in ("gain", "utility"):
            shown += f"; predicted less true, median {np.median([each.off for each in own]):+.4f}"
        else:
            shown += f"; one within {ALIKE} of it in {np.mean([each.near for each in own]):.1%}"
        yield Row(what, bar, shown, least <= high and most >= low if barred else None)


def _of_promises(found: Sequence[Promise]) -> Iterator[Row]:
    for name, most in MOST_T99.items():
        own = [each for each in found if each.scenario == name]
        mean, worst = float(np.mean([each.t99 for each in own])), max(each.t99 for each in own)
        success = min(each.success for each in own)
        what = f"success target {TARGET:.1%}, {name}: t99 after 5000 calls, mean / worst of {len(own)} lives"
        shown = f"{mean:.3f} / {worst:.3f} s; least success {success:.3%}"
        yield Row(what, f"mean <= {most:g} s", shown, mean <= most)
    met = float(np.mean([each.met for each in found]))
    what = "… windows of 1000 calls after the first in which it is met"
    shown = f"{met:.1%}; worst life {min(each.met for each in found):.1%}"
    yield Row(what, f">= {LEAST_WINDOWS:.0%}", shown, met >= LEAST_WINDOWS)


def run(seeds: int = 2, still_calls: int = 10_000) -> list[Row]:
    """Measure everything; the figures against their bars."""
    return list(rows(measured(seeds, still_calls)))


def main(arguments: list[str]) -> int:
    """Measure, tell all, and fail where a bar is missed."""
    seeds = int(arguments[0]) if arguments else 2
    return 0 if show("Whether it keeps its word", run(seeds, 10_000 if seeds < 10 else 100_000)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
