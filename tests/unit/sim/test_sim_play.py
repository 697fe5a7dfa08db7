from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.seams import Probe
from poet.sim.evaluate import expected_utility, oracle, oracle_series
from poet.sim.play import Fixed, PercentileRule, changes, perform, play, regret, share
from poet.sim.scenarios import SCENARIOS, START, step_slowdown
from poet.sim.services import Dice, Mode, Plan, Service
from poet.testing.clock import VirtualClock
from poet.testing.learners import Learned


class Recorder(Fixed):
    """Keeps its parameters and all that it was told."""

    def __init__(self, plan: Plan = START) -> None:
        super().__init__(*plan)
        self.told: list[Execution] = []

    def observe(self, execution: Execution) -> None:
        self.told.append(execution)


class Script:
    """Plays given parameters, one after the other."""

    def __init__(self, *parameters: Mapping[str, object]) -> None:
        self._all = parameters

    def parameters(self, t: int) -> Mapping[str, object]:
        return self._all[t]

    def observe(self, execution: Execution) -> None:
        pass


def test_equal_seeds_play_alike_to_the_bit() -> None:
    one, two = (play(SCENARIOS["fast_api"], PercentileRule(), 3, 400) for _ in range(2))
    for name in ("expected", "utility", "seconds", "requests", "timeout", "version"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert not np.array_equal(one.seconds, play(SCENARIOS["fast_api"], PercentileRule(), 4, 400).seconds)


def test_two_policies_meet_the_same_luck() -> None:
    few, many = Recorder(Plan(5.0, 0)), Recorder(Plan(5.0, 3, 1.0))
    for policy in (few, many):
        play(SCENARIOS["flaky20"], policy, 1, 300)
    assert [execution.attempts[0] for execution in few.told] == [execution.attempts[0] for execution in many.told]


def test_an_execution_tells_all_that_happened() -> None:
    policy, clock = Recorder(Plan(0.4, 3, 0.5)), VirtualClock(wall=1000.0)
    record = play(SCENARIOS["flaky20"], policy, 1, 500, clock=clock)
    assert [execution.sequence for execution in policy.told] == list(range(500))
    moment = 1000.0
    for t, execution in enumerate(policy.told):
        assert execution.started == pytest.approx(moment)
        moment += execution.seconds
        assert execution.seconds == pytest.approx(sum(a.seconds + a.waited for a in execution.attempts))
        assert execution.outcome is execution.attempts[-1].outcome
        assert all(a.outcome in (Outcome.ERROR, Outcome.TIMEOUT) for a in execution.attempts[:-1])
        assert len(execution.attempts) == record.requests[t] <= 4
        assert all(a.seconds == 0.4 for a in execution.attempts if a.outcome is Outcome.TIMEOUT)
        assert all(a.seconds <= 0.4 for a in execution.attempts)
        assert all(a.waited <= 0.5 * 2 ** (k - 1) for k, a in enumerate(execution.attempts) if k)
        assert execution.attempts[0].waited == 0.0
        assert bool(record.success[t]) == execution.outcome.good == (execution.error == "")
        assert execution.version == 1
    assert clock.wall() == pytest.approx(moment)
    assert {execution.outcome for execution in policy.told} >= {Outcome.SUCCESS, Outcome.ERROR}


def test_a_hedged_attempt_tells_what_became_of_both_requests() -> None:
    """Each ends by itself or with the attempt; that ends with the first answer, with both errors, or at its limit."""
    plan = Plan(0.5, 2, 0.1, 0.1)
    service = Service(
        (Mode(0.7, 0.1, 0.5), Mode(0.3, 0.4, 0.6)), hang=0.1, error=0.3, error_latency=Mode(1.0, 0.2, 0.5)
    )
    dice = Dice(3, "hedged", 2000)
    seen = set()
    for t in range(2000):
        done = perform(service, plan, dice.call(t))
        assert done.requests == len(done.attempts)
        groups: list[list[Attempt]] = []
        for attempt in done.attempts:
            groups += [] if attempt.hedge else [[]]
            groups[-1].append(attempt)
        assert len(groups) <= 3
        spent = 0.0
        for group in groups:
            first, *copies = group
            if not copies:
                seen.add((first.outcome,))
                spent += first.waited + first.seconds
                assert first.seconds <= 0.1  # it ended before the copy was due
                continue
            (copy,) = copies
            assert copy.waited == 0.1
            took = max(first.seconds, 0.1 + copy.seconds)
            spent += first.waited + took
            assert first.seconds > 0.1 or first.outcome is Outcome.ERROR
            assert took <= 0.5 + 1e-12
            assert [first.outcome, copy.outcome].count(Outcome.SUCCESS) <= 1
            if Outcome.TIMEOUT in (first.outcome, copy.outcome):
                assert took == pytest.approx(0.5)
            seen.add((first.outcome, copy.outcome))
        assert done.seconds == pytest.approx(spent)
        ends = {attempt.outcome for attempt in groups[-1]}
        assert done.outcome.good == (Outcome.SUCCESS in ends)
        if done.outcome is Outcome.ERROR:
            assert ends == {Outcome.ERROR}
    success, error, timeout, cancelled = Outcome.SUCCESS, Outcome.ERROR, Outcome.TIMEOUT, Outcome.CANCELLED
    assert seen == {
        (success,),
        (error,),
        (success, cancelled),
        (success, error),
        (cancelled, success),
        (error, success),
        (error, error),
        (error, cancelled),
        (timeout, cancelled),
        (timeout, error),
    }


def test_pauses_are_jittered_over_their_whole_range() -> None:
    service, dice = Service((Mode(1.0, 1.0, 0.5),), error=0.9), Dice(0, "jitter", 2000)
    performances = [perform(service, Plan(1.0, 1, 2.0), dice.call(t)) for t in range(2000)]
    waited = [done.attempts[1].waited for done in performances if len(done.attempts) > 1]
    # Uniform on [0, 2]: five standard errors of the mean, a false alarm in one of a million seeds.
    assert np.mean(waited) == pytest.approx(1.0, abs=5 * 2 / np.sqrt(12 * len(waited)))
    assert 0.0 <= min(waited) < 0.05 < 1.95 < max(waited) <= 2.0


def test_a_probe_is_worth_what_it_does_and_leaves_the_parameters_alone() -> None:
    scenario = SCENARIOS["flaky20"]
    base = {"timeout": 0.3, "retries": 1, "backoff": 0.1}
    record = play(scenario, Script(base, {**base, "limit_stretch": 2.5}, {**base, "extra_retry": 1}, base), 0, 4)
    assert record.expected.tolist() == [
        expected_utility(scenario, 0, plan)
        for plan in (Plan(0.3, 1, 0.1), Plan(0.75, 1, 0.1), Plan(0.3, 2, 0.1), Plan(0.3, 1, 0.1))
    ]
    assert record.probed.tolist() == [False, True, True, False]
    assert record.version.tolist() == [1, 1, 1, 1]
    assert record.timeout.tolist() == [0.3] * 4


@pytest.mark.parametrize("probe", [{"limit_stretch": 0.5}, {"extra_retry": 2}, {"limit_stretch": float("nan")}])
def test_a_probe_that_is_none_is_refused(probe: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a probe needs"):
        play(SCENARIOS["flaky20"], Script({"timeout": 1.0, "retries": 1, **probe}), 0, 1)


def test_a_policy_out_of_range_is_refused_with_its_value() -> None:
    with pytest.raises(ValueError, match=r"retries must be in \[0, 6\], got 7"):
        play(SCENARIOS["flaky20"], Script({"timeout": 1.0, "retries": 7}), 0, 1)


def test_changes_count_and_tell_what_they_gained() -> None:
    scenario = SCENARIOS["fast_api"]
    good, bad = {"timeout": 0.4, "retries": 2, "backoff": 0.0}, {"timeout": 0.01, "retries": 0, "backoff": 0.0}
    record = play(scenario, Script(bad, bad, good, good, bad), 0, 5)
    found = changes(scenario, record)
    assert [change.t for change in found] == [2, 4]
    assert found[0].gain == pytest.approx(-found[1].gain)
    assert found[0].gain > 0.5
    assert record.version.tolist() == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("name", ["fast_api", "perm_heavy", "sticky_err"])
def test_who_plays_the_oracles_plan_has_its_utility(name: str) -> None:
    scenario = SCENARIOS[name]
    record = play(scenario, Fixed(*oracle(scenario, 0).plan), 0, 50)
    assert share(record, oracle_series(scenario, calls=50)) == pytest.approx(1.0, abs=1e-3)
    assert abs(regret(record, oracle_series(scenario, calls=50))[-1]) < 50 * 1e-3


def test_regret_adds_up_what_was_missed() -> None:
    scenario = SCENARIOS["bimodal"]
    best, record = oracle_series(scenario, calls=100), play(scenario, Fixed(), 0, 100)
    missed = regret(record, best)
    assert missed[-1] == pytest.approx(100 * (1 - share(record, best)) * best.mean())
    assert (np.diff(missed) >= 0).all()


def test_a_share_needs_an_oracle_of_all_calls_that_is_worth_something() -> None:
    record = play(SCENARIOS["bimodal"], Fixed(), 0, 10)
    with pytest.raises(ValueError, match="covers 9 calls, the record 10"):
        share(record, np.ones(9))
    with pytest.raises(ValueError, match="use regret"):
        share(record, np.zeros(10))


def test_own_load_is_felt_in_an_overload_only() -> None:
    eager = Fixed(0.5, 5, 0.0)
    assert play(SCENARIOS["overload"], eager, 0, 300).load[-1] > 1.5
    assert (play(SCENARIOS["flaky20"], eager, 0, 300).load == 1.0).all()


def test_a_percentile_rule_keeps_its_start_until_it_saw_enough() -> None:
    record = play(SCENARIOS["fast_api"], PercentileRule(start=7.0), 0, 100)
    assert (record.timeout[:10] == 7.0).all()
    assert record.timeout[-1] < 7.0


def test_a_percentile_rule_follows_the_latest_window() -> None:
    rule = PercentileRule(quantile=0.5, factor=2.0, window=20)
    scenario = SCENARIOS["fast_api"]
    told = Recorder()
    play(scenario, told, 0, 300)
    latest: list[float] = []
    for execution in told.told:
        rule.observe(execution)
        latest += [a.seconds for a in execution.attempts if a.outcome is Outcome.SUCCESS]
    assert rule.parameters(0)["timeout"] == 2.0 * sorted(latest[-20:])[9]


def test_a_percentile_rule_locks_itself_out_after_a_slow_down_where_patience_does_not() -> None:
    scenario = step_slowdown(30.0)
    rule, patient = play(scenario, PercentileRule(), 0), play(scenario, Fixed(), 0)
    assert rule.success[:3000].mean() > 0.99
    assert rule.success[4000:].mean() < 0.01
    assert patient.success[4000:].mean() > 0.99


def test_nothing_played_is_an_empty_record() -> None:
    assert len(play(SCENARIOS["bimodal"], Fixed(), 0, 0).utility) == 0


# --- without retries and copies ---------------------------------------------------------------------------------------


class Calm:
    """Keeps its parameters, and is calm in every second call."""

    def __init__(self) -> None:
        self.seen: list[Execution] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        return {"timeout": 2.0, "retries": 4, "backoff": 0.1, "hedge_delay": 0.3, "calm": t % 2 == 0}

    def observe(self, execution: Execution) -> None:
        self.seen.append(execution)


def test_a_calm_call_sends_one_request_and_counts_as_a_probe() -> None:
    policy = Calm()
    record = play(SCENARIOS["flaky20"], policy, 0, 400)
    assert (record.requests[::2] == 1).all()
    assert record.requests[1::2].max() > 1
    assert all(len(execution.attempts) == 1 for execution in policy.seen[::2])
    assert record.probed[::2].all()
    assert not record.probed[1::2].any()
    assert (record.retries == 4).all()  # the parameters, without the probe
    assert record.success[::2].mean() < record.success[1::2].mean()


def test_a_learner_that_listens_is_calm() -> None:
    scenario = SCENARIOS["flaky20"]
    learner = OnlineLearner(objective=scenario.objective)
    policy = Learned(learner)
    assert not policy.parameters(0)["calm"]
    play(scenario, policy, 0, 50)
    strain = learner._evidence.strain
    assert strain is not None
    strain.listening, strain._until = True, 10_000
    assert learner.probe().calm
    record = play(scenario, policy, 1, 30)
    assert (record.requests == 1).all()
    assert OnlineLearner(mind_load=False).probe() == Probe()
