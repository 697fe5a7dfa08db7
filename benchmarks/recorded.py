"""The learner on recorded services, without HTTP: exact replay of the recordings that the demo plays.

    python -m benchmarks.recorded [orders]

Each order draws another sequence of the recorded calls; a retry meets the next recorded answer of the same client, so
that outages and bursts of errors stay what they were. The learner hears of each call as it ends.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Sequence

from benchmarks.table import Row, show
from poet.calls.operate import full_jitter
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.traffic import Choice, Recording, best_fixed, load_recordings, pause, utility

CALLS = 450
DECLARED: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
SPACE = Space(timeout=Real(0.001, 120.0, log=True), retries=Integer(0, 5), backoff=Real(0.0, 60.0))


def attempted(recording: Recording, call: int, k: int, limit: float) -> Attempt:
    """Attempt ``k`` of a call under ``limit`` [s], as it was recorded."""
    sample = recording.at(call, k)
    if sample.outcome == "hang" or sample.seconds > limit:
        return Attempt(Outcome.TIMEOUT, limit)
    return Attempt(Outcome.SUCCESS if sample.outcome == "ok" else Outcome.ERROR, sample.seconds)


def learned(recording: Recording, calls: Sequence[int], objective: Objective, seed: int) -> float:
    """Mean utility per call of a learner that starts with nothing, by the recording's own objective."""
    learner = OnlineLearner(objective=objective, space=SPACE, declared=DECLARED, seed=seed)
    live, coin, judge, worth = dict(DECLARED), random.Random(seed), recording.objective(), []
    for number, call in enumerate(calls):
        probe = learner.probe()
        limit = float(live["timeout"]) * (probe.stretch if coin.random() < probe.limit else 1.0)
        attempts: list[Attempt] = []
        waited = 0.0
        while True:
            attempts.append(attempted(recording, call, len(attempts), limit)._replace(waited=waited))
            if probe.calm:
                break
            beyond = len(attempts) - int(live["retries"])
            if attempts[-1].outcome is Outcome.SUCCESS or beyond > 1 or (beyond == 1 and coin.random() >= probe.retry):
                break
            waited = full_jitter(float(live["backoff"]), len(attempts), coin.random())
        seconds = sum(attempt.seconds + attempt.waited for attempt in attempts)
        outcome = attempts[-1].outcome
        worth.append(judge.utility(outcome.good, seconds, len(attempts)))
        learner.update([Execution("recorded", number, float(number), seconds, outcome, 1, tuple(attempts))])
        suggestion = learner.suggest(live)
        if suggestion is not None:
            live.update(suggestion.values)
    return statistics.fmean(worth)


def ruled(recording: Recording, calls: Sequence[int]) -> float:
    """The same of the usual rule: 1.5 x p99 of the last 200 answers, once there are 20; 3 retries."""
    judge, answers, limit, worth = recording.objective(), list[float](), 30.0, []
    for call in calls:
        seconds, good, k = 0.0, False, 0
        for k in range(4):
            seconds += pause(0.1, k) if k else 0.0
            attempt = attempted(recording, call, k, limit)
            seconds += attempt.seconds
            if attempt.outcome is Outcome.SUCCESS:
                answers = [*answers, attempt.seconds][-200:]
                good = True
                break
        if len(answers) >= 20:
            limit = 1.5 * sorted(answers)[round(0.99 * (len(answers) - 1))]
        worth.append(judge.utility(good, seconds, k + 1))
    return statistics.fmean(worth)


def run(orders: int = 6) -> list[Row]:
    """Mean utility per call by service and policy, over ``orders`` orders."""
    rows, total = [], dict[str, list[float]]()
    for recording in load_recordings().values():
        found: dict[str, list[float]] = {}
        for seed in range(orders):
            calls, judge = recording.calls(CALLS, seed), recording.objective()
            lives = {
                "best fixed in hindsight": best_fixed(recording, calls, judge)[1],
                "POET, declared cost": learned(recording, calls, judge, seed),
                "POET, derived cost": learned(recording, calls, Objective(), seed),
                "1.5 × p99": ruled(recording, calls),
                "fixed": utility(recording, calls, Choice(30.0, 3, 0.1), judge),
            }
            for policy, worth in lives.items():
                found.setdefault(policy, []).append(worth)
        means = {policy: statistics.fmean(worths) for policy, worths in found.items()}
        for policy, worth in means.items():
            total.setdefault(policy, []).append(worth)
        rows.append(Row(recording.name, "", _told(means)))
    means = {policy: statistics.fmean(worths) for policy, worths in total.items()}
    ahead = min(means["POET, declared cost"], means["POET, derived cost"]) > max(means["1.5 × p99"], means["fixed"])
    return [*rows, Row("mean of all", "POET ahead of the rule and of fixed values", _told(means), ahead)]


def _told(means: dict[str, float]) -> str:
    return "; ".join(f"{policy} {worth:.3f}" for policy, worth in means.items())


if __name__ == "__main__":
    arguments = sys.argv[1:]
    sys.exit(not show("Recorded services", run(int(arguments[0]) if arguments else 6)))
