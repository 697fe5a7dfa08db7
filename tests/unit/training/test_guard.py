from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator

import pytest

from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.rollout import Rollout, RolloutPolicy
from poet.training.guard import Guard

OBJECTIVE = Objective(latency_cost=0.1)


def rollout(**policy: object) -> Rollout:
    return Rollout(name="r", base=1, version=2, phase="canary", policy=RolloutPolicy(**policy))  # type: ignore[arg-type]


def call(
    arm: int, share: float, *, started: float = 0.0, seconds: float = 0.1, outcome: Outcome = Outcome.SUCCESS
) -> Execution:
    """A call of one arm, 0 or 1, the new one having this share."""
    chance = share if arm else 1.0 - share
    attempt = Attempt(outcome, seconds)
    return Execution("w", 0, started, seconds, outcome, 1 + arm, (attempt,), propensity=chance)


def stream(seed: int, n: int, share: float, fails: tuple[float, float], slower: float = 1.0) -> Iterator[Execution]:
    dice = random.Random(seed)
    for number in range(n):
        arm = int(dice.random() < share)
        seconds = math.exp(dice.gauss(math.log(0.1), 0.5)) * (slower if arm else 1.0)
        outcome = Outcome.ERROR if dice.random() < fails[arm] else Outcome.SUCCESS
        yield call(arm, share, started=float(number), seconds=seconds, outcome=outcome)


def verdict_after(guard: Guard, executions: Iterator[Execution]) -> int | None:
    """Calls of the new version until harm; None: never."""
    for execution in executions:
        guard.add([execution])
        if guard.harmful:
            assert guard.judgement().verdict == "harm"
            return guard.exposed
    return None


def test_a_version_that_fails_always_is_found_in_a_handful_of_calls() -> None:
    found = sorted(
        verdict_after(Guard(rollout(), OBJECTIVE), stream(seed, 400, 0.1, (0.01, 1.0))) or 400 for seed in range(61)
    )
    assert found[30] <= 5
    assert found[-1] <= 12


def test_a_slower_version_is_found() -> None:
    found = sorted(
        verdict_after(Guard(rollout(), OBJECTIVE), stream(seed, 3000, 0.25, (0.01, 0.01), 1.5)) or 3000
        for seed in range(11)
    )
    assert found[5] <= 75


def test_what_is_as_good_is_left_alone() -> None:
    """Of 40 runs each errs with at most 1 %: three or more have a chance below 1 %."""
    wrong = [
        seed
        for seed in range(40)
        if verdict_after(Guard(rollout(), OBJECTIVE), stream(seed, 1000, 0.25, (0.05, 0.05))) is not None
    ]
    assert len(wrong) <= 2


@pytest.mark.parametrize("rate", [1.0, 10.0])
def test_in_an_outage_a_shorter_limit_tells_its_failures_sooner_and_is_not_taken_for_harm(rate: float) -> None:
    """Calls of the old version hang for 30 s, those of the new one for 1 s; both fail while the outage lasts."""
    wrong = 0
    for seed in range(20):
        dice = random.Random(seed)
        calls = []
        for number in range(int(200 * rate)):
            started = number / rate
            arm = int(dice.random() < 0.25)
            if 50.0 < started < 150.0:
                calls.append(call(arm, 0.25, started=started, seconds=1.0 if arm else 30.0, outcome=Outcome.TIMEOUT))
            else:
                calls.append(call(arm, 0.25, started=started, seconds=math.exp(dice.gauss(math.log(0.1), 0.5))))
        calls.sort(key=lambda each: each.started + each.seconds)  # they are heard of when they end
        wrong += verdict_after(Guard(rollout(), OBJECTIVE), iter(calls)) is not None
    assert wrong <= 1


def test_what_two_processes_have_seen_is_what_one_had_seen() -> None:
    both, one, two = (Guard(rollout(), OBJECTIVE) for _ in range(3))
    for number, execution in enumerate(stream(1, 400, 0.5, (0.2, 0.3))):
        both.add([execution])
        (one, two)[number % 2].add([execution])
    merged = one.merged(Guard.of(rollout(), OBJECTIVE, json.loads(json.dumps(two.state()))))
    assert (merged.exposed, merged.seen) == (both.exposed, both.seen)
    told, wanted = merged.judgement().figures, both.judgement().figures
    assert told["after"]["failures"] == wanted["after"]["failures"]
    assert told["guards"]["failures"]["log_e"] == pytest.approx(wanted["guards"]["failures"]["log_e"])


def test_calls_of_other_versions_without_a_lot_shed_or_cancelled_do_not_count() -> None:
    guard = Guard(rollout(), OBJECTIVE)
    guard.add(
        [
            call(1, 0.5)._replace(version=7),
            call(1, 0.5)._replace(propensity=1.0),
            call(1, 0.5, outcome=Outcome.SHED),
            call(1, 0.5, outcome=Outcome.CANCELLED),
        ]
    )
    assert (guard.exposed, guard.seen) == (0, 0)
    assert guard.judgement().verdict == "undecided"


def test_scores_that_fall_are_harm_and_count_once() -> None:
    guard = Guard(rollout(), OBJECTIVE)
    dice = random.Random(1)
    for number in range(600):
        arm = int(dice.random() < 0.5)
        before = call(arm, 0.5, started=float(number))
        after = before._replace(score=min(1.0, max(0.0, dice.gauss(0.5 if arm else 0.8, 0.1))))
        guard.add([before])
        guard.rescored([after], [before])
        guard.rescored([after], [after])
    judged = guard.judgement()
    assert judged.verdict == "harm"
    assert "scored" in judged.sentence
    assert judged.figures["before"]["score"] == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"seen": 1, "events": {}, "means": {}, "fared": []},
        {"seen": math.nan},
    ],
)
def test_what_cannot_have_been_seen_is_refused(state: dict[str, object]) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Guard.of(rollout(), OBJECTIVE, state)
