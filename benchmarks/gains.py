"""What learning has gained, against the truth: simulated services whose every plan has a known worth, and recordings.

    python -m benchmarks.gains [services] [calls]

A learner lives in each service; from what it left behind, versions and executions, the gain over the declared values
is told. The truth of a simulated service is the exact expected utility of what was used less that of the declared
values, call by call; beside it the difference that the very same dice would have made. Of a recording it is the latter.
None of the random services was used to make the estimate.
"""

from __future__ import annotations

import bisect
import math
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.recorded import attempted
from benchmarks.table import Row, show
from poet.calls.operate import full_jitter
from poet.kernels.batch.blocks import share
from poet.learning.analytics.changes import WINDOW
from poet.learning.analytics.report import gains
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.gains import Gains
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value
from poet.sim.evaluate import expected_utility
from poet.sim.play import Fixed, Policy, play
from poet.sim.scenarios import SCENARIOS, Scenario, random_service
from poet.sim.services import Plan
from poet.sim.traffic import Recording, load_recordings
from poet.testing.learners import Learned

DECLARED: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
DEFAULT = Plan(30.0, 3, 0.1)
APART = 6.0  # from one call to the next [s]
BEGIN = 1_700_000_000.0  # Unix time [s]
HELD_OUT = 5000  # first seed of the random services
AIMED = 0.9
NOTHING = 1e-9  # of rounding
LEAST = 0.87  # of the intervals that must hold the truth
RECORDED = 450  # calls of a recording
BY_LOT = 0.1  # share of calls that keep to the declared values
# our own retries change what the overloaded service answers, which no replay of a record can know
LEFT_OUT = ("overload",)


class Life(NamedTuple):
    """What a function leaves behind, and the truth of it."""

    executions: Sequence[Execution]
    versions: Mapping[int, ParameterSet]
    objective: Objective
    expected: np.ndarray  # (n,) true gain of each call
    lucky: float  # mean gain with the same dice

    def told(self, *, thorough: bool = False) -> Gains:
        """What is told of it."""
        live = self.versions[max(self.versions)]
        return gains("f", self.executions, self.versions, DECLARED, live, self.objective, thorough=thorough)


class Recorder:
    """Lets a policy choose, and writes down what it is told."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.seen: list[Execution] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        """The policy's."""
        return self._policy.parameters(t)

    def observe(self, execution: Execution) -> None:
        """Write it down, and tell the policy."""
        self.seen.append(execution)
        self._policy.observe(execution)


def lived(scenario: Scenario, seed: int, calls: int) -> Life:
    """A learner's life in a service."""
    learner = Learned(OnlineLearner(objective=scenario.objective, seed=seed), DECLARED, seed=seed)
    recorder = Recorder(learner)
    record = play(scenario, recorder, seed, calls)
    same = play(scenario, Fixed(*DEFAULT), seed, calls)
    default = np.array([expected_utility(scenario, t, DEFAULT, float(record.load[t])) for t in range(calls)])
    versions, starts = {1: ParameterSet(values_=DECLARED, version=1)}, []
    for number, (after, said) in enumerate(learner.said, 2):
        starts.append(after)
        versions[number] = ParameterSet(
            values_=said.values,
            version=number,
            parent=number - 1,
            origin="learned",
            estimates=said.estimates,
            created=BEGIN + APART * after,
        )
    executions = [
        each._replace(started=BEGIN + APART * i, version=1 + bisect.bisect_right(starts, i))
        for i, each in enumerate(recorder.seen)
    ]
    return Life(
        executions,
        versions,
        scenario.objective,
        record.expected - default,
        float(record.utility.mean() - same.utility.mean()),
    )


class Mixed:
    """A lot decides of each call whether it keeps to the declared values."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self._plan, self._coin = plan, random.Random(seed)
        self.declared: list[bool] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        """Of the plan, or declared."""
        self.declared.append(self._coin.random() < BY_LOT)
        return (DEFAULT if self.declared[-1] else self._plan)._asdict()

    def observe(self, execution: Execution) -> None:
        """Learns nothing."""


def by_lot(scenario: Scenario, seed: int, calls: int) -> tuple[float, float, float] | None:
    """The contrast's interval and the truth; None: none was told."""
    plan = Plan(2.0, 1, 0.1)
    mixed = Mixed(plan, seed)
    recorder = Recorder(mixed)
    play(scenario, recorder, seed, calls)
    worth = [expected_utility(scenario, t, plan) - expected_utility(scenario, t, DEFAULT) for t in range(calls)]
    other = {"timeout": 2.0, "retries": 1, "backoff": 0.1}
    versions = {1: ParameterSet(values_=DECLARED, version=1), 2: ParameterSet(values_=other, version=2, parent=1)}
    executions = [
        each._replace(started=BEGIN + APART * i, version=1 if declared else 2)
        for i, (each, declared) in enumerate(zip(recorder.seen, mixed.declared, strict=True))
    ]
    told = gains("f", executions, versions, DECLARED, other, scenario.objective, thorough=False).contrast
    return None if told is None else (told.gain.low, told.gain.high, float(np.mean(worth)))


def of_recording(recording: Recording, seed: int, calls: int) -> Life:
    """A learner's life with recorded answers; a retry meets the next one of the same client."""
    objective = recording.objective()
    learner = OnlineLearner(objective=objective, declared=DECLARED, seed=seed)
    live, coin = dict(DECLARED), random.Random(seed)
    versions, executions = {1: ParameterSet(values_=live, version=1)}, []
    numbers = recording.calls(calls, seed)
    for number, call in enumerate(numbers):
        probe = learner.probe()
        limit = float(live["timeout"]) * (probe.stretch if coin.random() < probe.limit else 1.0)
        attempts: list[Attempt] = []
        waited = 0.0
        while True:
            attempts.append(attempted(recording, call, len(attempts), limit)._replace(waited=waited))
            beyond = len(attempts) - int(live["retries"])
            if attempts[-1].outcome is Outcome.SUCCESS or probe.calm or beyond > 1:
                break
            if beyond == 1 and coin.random() >= probe.retry:
                break
            waited = full_jitter(float(live["backoff"]), len(attempts), coin.random())
        seconds = sum(attempt.seconds + attempt.waited for attempt in attempts)
        made = Execution(
            "r", number, BEGIN + APART * number, seconds, attempts[-1].outcome, max(versions), tuple(attempts)
        )
        executions.append(made)
        learner.update([made])
        suggestion = learner.suggest(live)
        if suggestion is not None:
            live.update(suggestion.values)
            born = max(versions) + 1
            versions[born] = ParameterSet(
                values_=live, version=born, parent=born - 1, origin="learned", estimates=suggestion.estimates
            )
    worth = [objective.utility(e.outcome.good, e.seconds, len(e.attempts)) for e in executions]
    default = [as_declared(recording, call, made, versions) for call, made in zip(numbers, executions, strict=True)]
    gained = np.array(worth) - [objective.utility(*each) for each in default]
    return Life(executions, versions, objective, gained, float(gained.mean()))


def as_declared(
    recording: Recording, call: int, made: Execution, versions: Mapping[int, ParameterSet]
) -> tuple[bool, float, int]:
    """The call under the declared values, with the luck that its own pauses had: success, seconds, requests."""
    backoff, timeout = float(versions[made.version]["backoff"]), float(DECLARED["timeout"])
    most, seconds = int(DECLARED["retries"]) + 1, 0.0
    for k in range(most):
        if k:
            bound = float(DECLARED["backoff"]) * 2 ** (k - 1)
            luck = made.attempts[k].waited / (backoff * 2 ** (k - 1)) if k < len(made.attempts) and backoff else 0.5
            seconds += bound * luck
        attempt = attempted(recording, call, k, timeout)
        seconds += attempt.seconds
        if attempt.outcome is Outcome.SUCCESS:
            return True, seconds, k + 1
    return False, seconds, most


class Case(NamedTuple):
    """One life, told."""

    name: str
    told: Gains
    truth: float
    lucky: float
    band: bool  # whether the band held the running truth at all moments
    seconds: float  # CPU [s]


def case(name: str, life: Life) -> Case:
    """Tell of it, and compare."""
    began = time.process_time()
    told = life.told()
    spent = time.process_time() - began
    running = np.cumsum(life.expected) / np.arange(1, len(life.expected) + 1)
    band = all(
        moment.low - NOTHING <= running[moment.calls - 1] <= moment.high + NOTHING
        for moment in told.running
        if not math.isnan(moment.low)
    )
    return Case(name, told, float(life.expected.mean()), life.lucky, band, spent)


def rows_of(what: str, cases: Sequence[Case]) -> Iterator[Row]:
    """Coverage, bias, width and signs of many lives."""
    told = [(each, each.told.gain) for each in cases if each.told.gain is not None]
    n = len(told)
    held = sum(gain.low - NOTHING <= each.truth <= gain.high + NOTHING for each, gain in told)
    lucky = sum(gain.low - NOTHING <= each.lucky <= gain.high + NOTHING for each, gain in told)
    cover = share(held, n, level=0.95)
    yield Row(
        f"{what}: intervals of 90 % that hold the truth",
        f"≥ {100 * LEAST:.0f} %",
        f"{100 * cover.value:.1f} % [{100 * cover.low:.1f}, {100 * cover.high:.1f}] of {n}; "
        f"with the same dice {100 * lucky / n:.1f} %",
        cover.value >= LEAST,
    )
    band = share(sum(each.band for each in cases), len(cases), level=0.95)
    yield Row(
        f"{what}: running bands that hold at all moments",
        f"≥ {100 * AIMED:.0f} %",
        f"{100 * band.value:.1f} % [{100 * band.low:.1f}, {100 * band.high:.1f}]",
        band.high >= AIMED,
    )
    off = np.array([gain.value - each.truth for each, gain in told])
    width = np.array([gain.high - gain.low for _, gain in told])
    size = np.mean([abs(each.truth) for each, _ in told])
    yield Row(
        f"{what}: error of the figure, utility per call",
        "",
        f"median {np.median(off):+.4f}, mean {off.mean():+.4f}, beside a mean gain of {size:.4f} in size; "
        f"median width {np.median(width):.4f}",
    )
    clear = [(gain.value > 0) == (each.truth > 0) for each, gain in told if gain.low > 0 or gain.high < 0]
    wrong = share(len(clear) - sum(clear), len(clear), level=0.95)
    yield Row(
        f"{what}: sign errors where the interval leaves zero out",
        "≤ 5 %",
        f"{len(clear) - sum(clear)} of {len(clear)} (at most {100 * wrong.high:.1f} %); {n - len(clear)} are not clear",
        len(clear) - sum(clear) <= 0.05 * len(clear),
    )


def true_changes(scenario: Scenario, life: Life, told: Gains) -> list[tuple[bool | None, float]]:
    """Of each change that was measured: what was told, and its true gain over the calls that it was measured on."""
    numbers = np.array([each.version for each in life.executions])
    found = []
    for change in told.changes:
        if change.measured is None:
            continue
        before = np.flatnonzero(numbers == change.parent)[-WINDOW:]
        after = np.flatnonzero(numbers == change.version)[:WINDOW]
        new, old = (Plan.of({**DECLARED, **life.versions[v]}) for v in (change.version, change.parent))
        rows = np.concatenate([before, after]).tolist()
        gain = np.mean([expected_utility(scenario, t, new) - expected_utility(scenario, t, old) for t in rows])
        found.append((change.improved, float(gain)))
    return found


def changes_rows(pairs: Sequence[tuple[Scenario, Life, Case]]) -> Iterator[Row]:
    """What is told of changes of version beside the truth."""
    found = [each for scenario, life, told in pairs for each in true_changes(scenario, life, told.told)]
    clear = [(improved, gain) for improved, gain in found if improved is not None]
    wrong = sum((gain > 0) != improved for improved, gain in clear)
    yield Row(
        "changes of version: verdicts that are wrong",
        "≤ 5 %",
        f"{wrong} of {len(clear)}; of {len(found) - len(clear)} more it is said that it cannot be told",
        wrong <= 0.05 * len(clear),
    )
    truly = [gain > 0 for _, gain in found]
    agreed = [change.agreed for _, _, told in pairs for change in told.told.changes if change.agreed is not None]
    yield Row(
        "changes that truly improved, of those measured; predicted gains that agree with what was measured",
        "",
        f"{sum(truly)} of {len(truly)}; {sum(agreed)} of {len(agreed)}",
    )


def lots_row(services: int, calls: int) -> Row:
    """Contrasts by lot."""
    found = [by_lot(random_service(HELD_OUT + seed, calls), seed, calls) for seed in range(services)]
    told = [each for each in found if each is not None]
    cover = share(sum(low <= truth <= high for low, high, truth in told), len(told), level=0.95)
    return Row(
        f"contrasts, {100 * BY_LOT:.0f} % of the calls by lot as declared: intervals of 90 % that hold the truth",
        "≥ 85 %",
        f"{100 * cover.value:.1f} % [{100 * cover.low:.1f}, {100 * cover.high:.1f}] of {len(told)}",
        cover.high >= 0.85,
    )


def nothing_row(calls: int) -> Row:
    """A function that learned nothing."""
    recorder = Recorder(Fixed(*DEFAULT))
    play(SCENARIOS["bimodal"], recorder, 0, calls)
    made = [each._replace(started=BEGIN + APART * i) for i, each in enumerate(recorder.seen)]
    versions = {1: ParameterSet(values_=DECLARED, version=1)}
    told = gains("f", made, versions, DECLARED, DECLARED, SCENARIOS["bimodal"].objective, thorough=False).gain
    assert told is not None
    return Row(
        "declared values all along: the gain", "0", f"{told.value:g} [{told.low:g}, {told.high:g}]", told.high == 0
    )


def time_row(*, thorough: bool, calls: int = 100_000) -> Row:
    """CPU of many executions."""
    life = lived(SCENARIOS["fast_api"], 0, 5000)
    many = [
        each._replace(sequence=i, started=BEGIN + APART * i, version=each.version if i < 5000 else max(life.versions))
        for i in range(calls)
        for each in [life.executions[i if i < 5000 else 2500 + i % 2500]]
    ]
    began = time.process_time()
    life._replace(executions=many).told(thorough=thorough)
    spent = time.process_time() - began
    what = "with the best values in hindsight" if thorough else "without hindsight"
    return Row(f"CPU of 10^5 executions, {what}", "≤ 60 s", f"{spent:.1f} s", spent <= 60)


def run(services: int = 40, calls: int = 2000) -> Iterator[Row]:
    """Rows for ``table.show``. services: random ones; of the named ones and of recordings about as many."""
    pairs = []
    for seed in range(services):
        scenario = random_service(HELD_OUT + seed, calls)
        life = lived(scenario, seed, calls)
        pairs.append((scenario, life, case(scenario.name, life)))
    yield from rows_of("random services", [each for *_, each in pairs])
    named = []
    for name in SCENARIOS.keys() - set(LEFT_OUT):
        for seed in range(900, 900 + max(1, services // (len(SCENARIOS) - 1))):
            life = lived(SCENARIOS[name], seed, calls)
            named.append((SCENARIOS[name], life, case(name, life)))
    yield from rows_of("named services", [each for *_, each in named])
    yield from rows_of(
        "recorded services",
        [
            case(name, of_recording(recording, seed, RECORDED))
            for seed in range(max(1, services // 10))
            for name, recording in load_recordings().items()
        ],
    )
    yield from changes_rows([*pairs, *named])
    yield lots_row(services, calls)
    yield nothing_row(calls)
    for thorough in (False, True):
        yield time_row(thorough=thorough)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(not show("What learning has gained", run(*given)))
