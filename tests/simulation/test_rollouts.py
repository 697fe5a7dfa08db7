"""Roll-outs through the real agent, on a virtual clock: what is good gets through, what does harm is taken back."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from houses import House
from poet import Objective, RolloutPolicy
from poet.app import Agent, build
from poet.decorator import bind
from poet.errors import StoreAway
from poet.model import flag
from poet.model.event import Event
from poet.model.rollout import KIND, STEPS, Rollout
from poet.model.tunable import Value
from poet.seams import Store
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.testing.believer import Believer
from poet.testing.clock import VirtualClock
from poet.training import by_hand, flags

GOOD = {"timeout": 2.0}
HARMFUL = {"timeout": 0.001}  # cuts off every call
STEADY = RolloutPolicy(first=STEPS)  # the usual steps, also for what replaces the declared values


class Service:
    """Answers after a while, by a log-normal law around 0.1 s; what its caller does not wait for has failed."""

    def __init__(self, seed: int, clock: VirtualClock, fails: float = 0.0) -> None:
        self.random, self.clock, self.fails = random.Random(seed), clock, fails

    def __call__(self, factor: float = 1.0) -> None:
        from poet import remaining

        seconds = factor * math.exp(self.random.gauss(math.log(0.1), 0.4))
        left = remaining()
        if seconds > left:
            self.clock.sleep(left)
            raise TimeoutError
        self.clock.sleep(seconds)
        if self.random.random() < self.fails:
            raise ConnectionError


class Site:
    """A function under an agent, and its calls."""

    def __init__(
        self,
        values: Mapping[str, Value],
        *,
        seed: int = 1,
        store: Store | None = None,
        clock: VirtualClock | None = None,
        urgent: bool = False,
        fails: float = 0.01,
        retries: int = 0,
        automatic: bool = True,
        rollout: Any = STEADY,
        **options: Any,
    ) -> None:
        self.clock = clock or VirtualClock(100.0)
        self.store = store or MemoryStore(clock=self.clock)
        self.agent: Agent = build(
            Settings(store="memory:", seed=seed, rollout="canary"), store=self.store, clock=self.clock, thread=False
        )
        if not automatic:
            rule = flag.rule("rollout.auto", "off")
            flags.set_rule(self.store, "rollout.auto", rule, author="ada", reason="a freeze", at=self.clock.wall())
        service = self.service = Service(seed, self.clock, fails)
        self.events: list[Event] = []
        self.agent.listeners.add(self.events.append)

        @bind(self.agent)(
            enable_training=True, timeout=5.0, retries=retries, backoff=0.0, name="fetch", rollout=rollout, **options
        )
        def fetch() -> None:
            service()

        self.fetch: Any = fetch
        self.used: list[int] = []  # version of each call
        self.failed = 0
        self.call()
        self.fetch.poet._trainee.learner = Believer(values, urgent=urgent)
        self.call()

    @property
    def key(self) -> Any:
        return self.fetch.poet._trainee.key

    def call(self, times: int = 1) -> None:
        """Calls, each learned from before the next."""
        for _ in range(times):
            try:
                self.fetch()
            except (TimeoutError, ConnectionError):
                self.failed += 1
            self.used.append(self.fetch.poet.last.version)
            self.agent.flush()

    def until(self, phase: str, most: int = 2000) -> int:
        """Calls until the newest roll-out is in this phase."""
        for number in range(most):
            if self.rollouts()[-1].phase == phase:
                return number
            self.call()
        raise AssertionError(f"never {phase}: {self.rollouts()[-1]}")

    def rollouts(self) -> list[Rollout]:
        return [Rollout.of(document) for document in self.store.documents(KIND, self.key)]


def test_a_good_version_reaches_few_calls_then_half_then_nearly_all_then_all() -> None:
    site = Site(GOOD)
    assert site.fetch.poet.parameters["timeout"] == 5.0  # live
    until = [site.until("bake"), site.until("done")]
    canary = site.used[2 : until[0] + 2]
    assert 18 <= canary.count(2) < until[0] / 2
    assert site.fetch.poet.parameters["timeout"] == 2.0
    bake = site.used[until[0] + 2 :]
    assert 0.8 < bake.count(2) / len(bake) < 1.0
    site.call(50)
    assert set(site.used[-50:]) == {2}
    (rollout,) = site.rollouts()
    assert [note.what for note in rollout.log] == ["canary at 25 %", "canary at 50 %", "bake at 90 %", "done"]
    assert site.store.documents("evidence", site.key) == []


def test_every_call_tells_the_probability_of_its_version() -> None:
    site = Site(GOOD)
    site.until("done")
    told = {(row.version, round(row.propensity, 9)) for row in site.store.executions(site.key)}
    assert told == {(1, 1.0), (1, 0.75), (2, 0.25), (1, 0.5), (2, 0.5), (2, 0.9), (1, 0.1)}


def test_a_harmful_version_is_taken_back_within_a_handful_of_calls_and_nobody_else_suffers() -> None:
    """Of 40 agents whose learner proposes what fails always, none lets it through; at most 1 may err (alpha is 1 %)."""
    exposed = []
    for seed in range(40):
        site = Site(HARMFUL, seed=seed, fails=0.0)
        site.until("rolled back", most=200)
        exposed.append(site.failed)
        assert site.used.count(2) == site.failed
        site.call(30)
        assert site.failed == exposed[-1]  # the learner still believes in it, but the region is left alone
        assert set(site.used[-30:]) == {1}
    exposed.sort()
    assert exposed[20] <= 6
    assert exposed[-1] <= 8


def test_harm_is_told_in_a_sentence_with_figures_in_the_history_to_listeners_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    site = Site(HARMFUL, fails=0.0)
    with caplog.at_level("WARNING", "poet"):
        site.until("rolled back")
    (rollout,) = site.rollouts()
    assert rollout.verdict == "harm"
    assert f"{site.failed} of {site.failed} calls with it failed (100 %), 0 of" in rollout.sentence
    assert site.store.history(site.key)[-1].reason == f"v2 rolled back: {rollout.sentence}"
    (event,) = [event for event in site.events if event.kind == "rolled_back"]
    assert event.detail == rollout.sentence
    assert [record.message for record in caplog.records] == [f"rolled back of fetch: {rollout.sentence}"]


def test_the_same_region_is_left_alone_for_longer_each_time() -> None:
    site = Site(HARMFUL, fails=0.0)
    moments = []
    for number in range(3):
        for _ in range(200_000):
            if len(site.rollouts()) > number and site.rollouts()[number].ended:
                break
            site.clock.sleep(5.0)
            site.call()
        moments.append(site.rollouts()[number])
    rests = [later.begun - earlier.log[-1].at for earlier, later in pairwise(moments)]
    assert 60 <= rests[0] < 75
    assert 240 <= rests[1] < 300


def test_what_makes_calls_slower_is_taken_back_and_what_is_worth_it_is_not() -> None:
    """Retries make the calls of a service that often fails slower, and worth more."""
    site = Site({"retries": 2}, fails=0.3)
    assert site.until("done") > 0
    (rollout,) = site.rollouts()
    assert rollout.phase == "done"


def test_by_policy_harm_pauses_or_is_only_observed() -> None:
    paused = Site(HARMFUL, rollout=RolloutPolicy(first=STEPS, on_harm="pause"))
    paused.call(60)
    (rollout,) = paused.rollouts()
    assert (rollout.phase, rollout.verdict) == ("canary", "harm")
    assert rollout.paused.startswith("harm: ")
    assert set(paused.used[-20:]) == {1}
    assert [event.kind for event in paused.events if "roll" in event.kind] == ["rollout_paused"]

    observed = Site(HARMFUL, rollout=RolloutPolicy(first=STEPS, on_harm={"timeout": "observe"}))
    observed.until("done")
    (rollout,) = observed.rollouts()
    assert rollout.verdict == "harm"
    assert [event.kind for event in observed.events if "harm" in event.kind] == ["harm_observed"]


def test_on_evidence_it_goes_on_only_once_harm_is_excluded() -> None:
    policy = RolloutPolicy(first=((0.5, 10),), advance="evidence", margin=0.5, alpha=0.4)
    site = Site(GOOD, fails=0.0, rollout=policy)
    site.call(60)
    assert site.rollouts()[0].phase == "canary"  # by exposure it would be over
    site.until("bake", most=4_000)
    assert site.rollouts()[0].verdict == "safe"


def test_what_is_urgent_takes_fewer_calls() -> None:
    slow, fast = Site(GOOD), Site(GOOD, urgent=True)
    assert fast.until("bake") < slow.until("bake") / 2


def test_while_one_is_open_a_second_is_refused_and_by_hand_it_is_promoted_held_or_withdrawn() -> None:
    site = Site(GOOD)
    by: Any = {"author": "ada", "reason": "by hand", "now": site.clock.wall()}
    with pytest.raises(ValueError, match="there is one at a time"):
        by_hand.propose(site.store, site.key, {"timeout": 3.0}, **by)
    by_hand.hold(site.store, site.key, **by)
    site.call(40)
    assert set(site.used[-39:]) == {1}
    by_hand.go_on(site.store, site.key, **by)
    site.call(40)
    assert 2 in site.used[-40:]
    by_hand.withdraw(site.store, site.key, **by)
    site.agent.flush()
    site.fetch.poet._trainee.learner = None
    site.call(40)
    assert set(site.used[-39:]) == {1}
    by["now"] += 60.0
    by_hand.propose(site.store, site.key, {"timeout": 3.0}, **by)
    by_hand.promote(site.store, site.key, **by)
    site.call(3)
    assert site.fetch.poet.parameters["timeout"] == 3.0
    assert [rollout.phase for rollout in site.rollouts()] == ["withdrawn", "done"]


def test_a_rollback_by_hand_during_a_rollout_ends_it() -> None:
    site = Site(GOOD)
    site.call(5)
    site.fetch.poet.rollback(to=1, reason="enough")
    site.call(60)
    assert set(site.used[-59:]) == {1}
    (rollout,) = site.rollouts()
    assert (rollout.phase, rollout.sentence) == ("withdrawn", "rolled back: enough")


def test_a_paused_function_keeps_its_share_and_its_guards() -> None:
    site = Site(HARMFUL)
    site.fetch.poet.pause()
    site.until("rolled back", most=200)
    assert site.failed < 12


def test_another_process_follows_and_both_count_together() -> None:
    one = Site(GOOD, seed=1)
    two = Site(GOOD, seed=2, store=one.store, clock=one.clock)
    one.call(), two.call()
    assert len(one.rollouts()) == 1
    calls = 0
    while one.rollouts()[-1].phase == "canary":
        one.call(), two.call()
        calls += 2
    assert calls < 120  # as one alone, not twice as many
    two.call()
    assert two.fetch.poet.parameters["timeout"] == 2.0
    assert {2} <= set(two.used)


def test_a_process_that_ends_leaves_what_its_guard_has_seen() -> None:
    one = Site(GOOD, seed=1)
    one.call(20)
    one.agent.flush()
    assert len(one.store.documents("evidence", one.key)) == 1
    two = Site(GOOD, seed=2, store=one.store, clock=one.clock)
    before = two.fetch.poet._trainee.trial._pooled().exposed
    assert before >= one.used.count(2) > 0


class Leaving(MemoryStore):
    """A store that goes away."""

    gone = False

    def _open(self) -> Any:
        if self.gone:
            raise StoreAway(self.url, "it is gone", "wait")
        return super()._open()


@pytest.mark.parametrize("values", [GOOD, HARMFUL])
def test_while_the_store_is_away_a_rollout_stays_at_its_share_and_harm_is_still_answered(
    values: Mapping[str, Value],
) -> None:
    clock = VirtualClock(100.0)
    store = Leaving(clock=clock)
    site = Site(values, store=store, clock=clock, fails=0.0)
    store.gone = True
    site.call(100)
    share = site.used[-60:].count(2) / 60
    store.gone = False
    if values is HARMFUL:
        assert share == 0.0
        assert site.failed <= 8
        site.call(3)
        assert [rollout.phase for rollout in site.rollouts()] == ["rolled back"]
    else:
        assert 0.1 < share < 0.45
        assert site.rollouts()[0].step == 0
        site.until("done")


@pytest.mark.parametrize("values", [GOOD, HARMFUL])
def test_a_rollout_that_begins_while_the_store_is_away_is_local_and_guarded_too(values: Mapping[str, Value]) -> None:
    clock = VirtualClock(100.0)
    store = Leaving(clock=clock)
    site = Site({"timeout": 5.0}, store=store, clock=clock, fails=0.0)
    store.gone = True
    site.fetch.poet._trainee.learner = Believer(values)
    site.call(150)
    store.gone = False
    if values is HARMFUL:
        assert site.failed <= 8
        assert site.fetch.poet.parameters["timeout"] == 5.0
    else:
        site.call(5)
        assert site.fetch.poet.parameters["timeout"] == 2.0
        assert store.standing(site.key).live["timeout"] == 2.0


def test_the_declared_guess_is_replaced_in_fewer_calls_and_harm_is_found_all_the_same() -> None:
    quick = Site(GOOD, rollout=None)
    assert quick.until("bake") < 30
    exposed = []
    for seed in range(20):
        site = Site(HARMFUL, seed=seed, fails=0.0, rollout=None)
        site.until("rolled back", most=300)
        exposed.append(site.failed)
    assert sorted(exposed)[10] <= 12
    assert max(exposed) <= 20


def test_direct_is_direct() -> None:
    site = Site(GOOD, rollout="direct")
    assert site.fetch.poet.parameters["timeout"] == 2.0
    house = House(rollout="canary")
    assert house.agent.settings.rollout == "canary"


def test_on_paper_what_would_have_been_worse_never_meets_a_call_and_what_would_have_been_better_goes_on() -> None:
    policy = RolloutPolicy(shadow=60)
    objective = Objective(latency_cost=0.1)
    bad = Site({"timeout": 0.05}, rollout=policy, objective=objective)
    bad.call(70)
    (rollout, *_) = bad.rollouts()
    assert (rollout.phase, rollout.verdict) == ("rolled back", "harm")
    assert rollout.sentence.startswith("on paper it gains -")
    assert set(bad.used) == {1}
    good = Site(GOOD, rollout=policy, objective=objective)
    good.call(55)
    assert (good.rollouts()[0].phase, set(good.used)) == ("proposed", {1})
    good.until("done")


def test_where_a_person_decides_it_waits_proposed_and_is_replaced_by_what_is_newer() -> None:
    site = Site(GOOD, automatic=False)
    site.call(60)
    assert [rollout.phase for rollout in site.rollouts()] == ["proposed"]
    assert set(site.used) == {1}
    site.fetch.poet._trainee.learner.values = {"timeout": 3.0}
    site.call(60)
    assert [rollout.phase for rollout in site.rollouts()] == ["withdrawn", "proposed"]
    by_hand.go_on(site.store, site.key, author="ada", reason="looks right", now=site.clock.wall())
    site.call(200)
    assert site.rollouts()[-1].phase == "canary"  # the last step, too, is a person's
    assert 3 in site.used
    site.fetch.poet.promote()
    assert site.fetch.poet.parameters["timeout"] == 3.0
