"""Experiments through the real agent on a virtual clock: errors of their tests, harm, processes, stores and clocks."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import pytest

from houses import House
from poet.app import Agent
from poet.decorator import bind
from poet.errors import ConfigurationError, StoreAway
from poet.model.document import Document
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.experiment import Experiment, Rules, strategy
from poet.model.flag import Rule
from poet.model.function import FunctionKey
from poet.model.tunable import Integer
from poet.seams import Clock, ProcessReport, Store
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock
from poet.training import by_hand, experiments
from poet.training.evidence import Call, Evidence
from poet.training.experiment import ExperimentTrial
from poet.training.flags import set_rule

EVERY = 10  # calls between two rounds of training


def tolerated(rate: float, runs: int) -> float:
    return rate + 3.0 * math.sqrt(rate * (1.0 - rate) / runs)


class Service:
    """A function on trial: it fails with a chance that depends on its own parameter ``k``, and takes its time."""

    def __init__(self, poet: Callable[..., Any], clock: Clock, seed: int, flush: Callable[[], None], **options: Any):
        self.rng, self.clock, self.flush = random.Random(seed), clock, flush
        self.fails = {0: 0.1}  # chance to fail by k; else that of 0
        self.takes = {0: 0.1}  # median seconds by k; else that of 0
        self.drift = self.level = 0.0
        self.calls = 0
        self.used: list[int] = []  # values of k

        @poet(**{"retries": 0, "timeout": 5.0, "name": "shop.quote", "rollout": "direct", **options})
        def quote(k: Annotated[int, Integer(0, 9)] = 0) -> int:
            self.used.append(k)
            self.level = 0.98 * self.level + self.drift * self.rng.gauss(0, 1)
            typical = self.takes.get(k, self.takes[0])
            clock.sleep(typical * math.exp(self.level + 0.5 * self.rng.gauss(0, 1)))
            if self.rng.random() < self.fails.get(k, self.fails[0]):
                raise ConnectionError("no")
            return k

        self.quote: Any = quote

    def run(self, calls: int, *, pause: float = 0.4, until: Callable[[], bool] = lambda: False) -> None:
        for n in range(calls):
            self.calls += 1
            with suppress(ConnectionError):
                self.quote()
            self.clock.sleep(pause)
            if n % EVERY == EVERY - 1:
                self.flush()
                if until():
                    return

    def taken(self, calls: int) -> set[int]:
        """Values of k that so many calls more get."""
        for _ in range(calls):
            with suppress(ConnectionError):
                self.quote()
        return set(self.used[-calls:])

    def latest(self) -> Experiment:
        found: Experiment = self.quote.poet.experiments()[-1]
        return found


def service(seed: int = 1, store: Store | None = None, **options: Any) -> Service:
    house = House(seed=seed, store=store)
    made = Service(house.poet, house.clock, seed, house.agent.flush, **options)
    made.run(60)
    return made


def over(each: Service) -> Callable[[], bool]:
    return lambda: each.quote.poet.experiments()[-1].over


# --- errors of the tests ---


@pytest.mark.parametrize("metric", ["success", "latency"])
def test_what_is_the_same_is_seldom_told_apart(metric: str) -> None:
    """20 A/A runs of 300 calls, looked at after every ten, with drift: wrong in 5 % + 1 % (guards) at most, + 3 SE."""
    runs, wrong = 20, 0
    for seed in range(runs):
        each = service(seed)
        each.drift = 0.1
        each.quote.poet.experiment({"one": {"k": 1}, "two": {"k": 2}}, metric=metric)
        each.run(300)
        wrong += each.latest().verdict in ("decided", "harm")
    assert wrong / runs <= tolerated(0.06, runs)


def test_blocks_are_outcomes_where_calls_act_on_each_other() -> None:
    """12 A/A runs of 80 blocks under strong drift: per call, the evidence counts 85 % and more of them as different."""
    runs, wrong, blocks = 12, 0, []
    for seed in range(runs):
        each = service(seed)
        each.drift = 0.15
        each.quote.poet.experiment({"one": {"k": 1}, "two": {"k": 2}}, metric="latency", assignment="block", block=8.0)
        each.run(1100)
        found = each.latest()
        wrong += found.verdict in ("decided", "harm")
        blocks.append(found.figures["units"])
        assert sum(arm["calls"] for arm in found.figures["arms"]) == found.figures["calls"] > 900
    assert min(blocks) > 60
    assert wrong / runs <= tolerated(0.06, runs)


def test_shares_that_follow_the_outcomes_are_weighed_by_what_they_were() -> None:
    """100 runs of a bandit's allocation under drift, both arms the same: the difference of means errs in 53 %."""
    runs, wrong = 100, 0
    arms = (strategy("one", {"k": 1}), strategy("two", {"k": 2}))
    experiment = Experiment(name="x", arms=arms, rules=Rules(metric="score"))
    for seed in range(runs):
        rng, evidence = random.Random(seed), Evidence.of(experiment)
        totals, counts, level, apart = [0.0, 0.0], [1, 1], 0.0, False
        for _ in range(500):
            level = 0.99 * level + 0.2 * rng.gauss(0, 1)
            leads = int(totals[1] / counts[1] > totals[0] / counts[0])
            shares = (0.9, 0.1) if leads == 0 else (0.1, 0.9)
            arm = int(rng.random() < shares[1])
            y = level + rng.gauss(0, 1)
            totals[arm], counts[arm] = totals[arm] + y, counts[arm] + 1
            evidence.add(Call(0.0, arm, shares, y, False, False, None))
            low, high = evidence.effects[0, 1].interval(0.05)
            apart = apart or low > 0 or high < 0
        wrong += apart
    assert wrong / runs <= tolerated(0.05, runs)


@pytest.mark.parametrize("assignment", ["call", "block"])
def test_an_arm_that_is_better_wins_and_goes_live_where_that_was_agreed(assignment: str) -> None:
    for seed in range(3):
        each = service(seed)
        each.fails = {0: 0.3, 3: 0.02}
        each.quote.poet.experiment(
            {"live": "live", "sound": {"k": 3}}, assignment=assignment, block=4.0, promote="winner", metric="success"
        )
        each.run(3000, until=over(each))
        found = each.latest()
        assert (found.verdict, found.winner, found.promoted) == ("decided", "sound", "sound"), found.sentence
        assert "sound is better than live by" in found.sentence
        live = each.quote.poet.parameters
        assert (live["k"], live.version) == (3, found.arms[1].version)
        assert each.quote.poet.history()[-1].action == "promote"
        each.run(30)
        assert each.taken(1) == {3}
        assert each.quote.poet.status()["faults"] == 0


def test_an_arm_that_always_fails_is_ended_within_a_few_calls() -> None:
    taken = []
    for seed in range(9):
        each = service(seed)
        each.fails = {0: 0.01, 9: 1.0}
        each.quote.poet.experiment({"live": "live", "broken": {"k": 9}}, shares={"broken": 0.1})
        for _ in range(400):
            each.run(1)
            each.flush()
            if each.latest().over:
                break
        found = each.latest()
        assert (found.verdict, found.winner) == ("harm", "live")
        assert "broken fails more often than live" in found.sentence
        taken.append(found.figures["arms"][1]["calls"])
        before = each.quote.poet.parameters.version
        each.run(50)
        assert each.quote.poet.last.version == before
    assert sorted(taken)[len(taken) // 2] <= 6
    assert max(taken) <= 15


def test_an_arm_that_is_slow_or_hangs_is_ended_too() -> None:
    each = service(2)
    each.takes = {0: 0.1, 9: 0.3}
    each.quote.poet.experiment({"live": "live", "slow": {"k": 9}}, metric="success")
    each.run(1500, until=over(each))
    found = each.latest()
    assert (found.verdict, found.winner) == ("harm", "live")
    assert "slow takes longer than live" in found.sentence or "slow fails or hangs more often" in found.sentence


# --- learners ---


def test_each_arm_has_a_learner_of_its_own_that_hears_of_its_own_calls_only() -> None:
    each = service(4, enable_training=True, retries=3)
    each.fails = {0: 0.2}
    heard_before = each.quote.poet.explain().executions
    each.quote.poet.experiment(
        {"live": "live", "other": {"learner": "statistical", "learning_rate": 0.2}, "old": {"learner": "basic"}},
        metric="success",
        alpha=1e-6,
        guard_alpha=1e-6,
    )
    each.run(900)
    found = each.latest()
    live = found.figures["arms"][0]
    assert each.quote.poet.explain().executions - heard_before == pytest.approx(live["calls"], abs=2)
    assert len(found.arms[1].versions) > 1, "its learner has made versions of its own"
    mine = {version.version: version for version in each.quote.poet.versions()}
    for arm in found.arms[1:]:
        assert all(f"{arm.name} of quote-1" in mine[version].reason for version in arm.versions)
    assert not {v.version for v in mine.values() if v.origin == "learned" and "quote-1" not in v.reason} & set(
        found.arms[1].versions + found.arms[2].versions
    )
    assert each.quote.poet.status()["faults"] == 0


def test_what_an_arm_has_learned_outlives_the_process() -> None:
    clock, store = VirtualClock(100.0), MemoryStore()
    first = Shop(store, clock, 1, enable_training=True)
    first.run(60)
    first.quote.poet.experiment({"live": "live", "other": {"learner": "statistical"}}, alpha=1e-6, guard_alpha=1e-6)
    first.run(400)
    versions = first.latest().arms[1].versions
    kept = store.documents("arm", store.functions()[0].key)
    assert [document.name for document in kept] == ["quote-1 other"]
    second = Shop(store, clock, 2, enable_training=True)  # the first one is not asked again
    second.run(300)
    found = second.latest()
    assert found.figures["calls"] > 650, "what the first one saw counts"
    assert found.arms[1].versions[: len(versions)] == versions
    assert store.documents("arm", store.functions()[0].key)[0].revision > kept[0].revision
    assert second.quote.poet.status()["faults"] == 0


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("assignment", ["call", "block"])
def test_scores_decide_that_are_said_later(assignment: str, training: bool) -> None:
    each = service(2, enable_training=training)
    each.fails = {0: 0.0}
    each.quote.poet.experiment(
        {"live": "live", "good": {"k": 4}}, metric="score", assignment=assignment, block=2.0, alpha=1e-6
    )
    waiting: list[tuple[str, float]] = []
    for n in range(240):
        each.run(1, pause=0.1)
        waiting.append((each.quote.poet.last.id, 0.4 + 0.2 * (n % 2) + 0.02 * (each.used[-1] == 4)))
        if len(waiting) > 5:
            name, score = waiting.pop(0)
            if n % 8:  # of some calls nobody says anything
                each.quote.poet.feedback(score, name)
        if n % EVERY == 0:
            each.flush()
    found = each.latest()
    live, good = found.figures["arms"]
    assert (live["mean"], good["mean"]) == (pytest.approx(0.5, abs=0.03), pytest.approx(0.52, abs=0.03))
    assert 30 <= live["missing"] + good["missing"] <= 45
    assert not found.figures["health"]["missing_differs"]
    if assignment == "call":
        assert found.figures["effects"][0]["value"] == pytest.approx(0.02, abs=0.03)
    assert each.quote.poet.status()["feedback_lost"] == 0


# --- several processes ---


class Elsewhere(Agent):
    """An agent on a host of its own."""

    host = "here"

    def report(self) -> ProcessReport:
        return super().report()._replace(host=self.host)


class Shop(Service):
    """The same function in another process."""

    def __init__(self, store: Store, clock: VirtualClock, seed: int, host: str = "here", **options: Any) -> None:
        settings = Settings(store="memory:", seed=seed)
        self.agent = Elsewhere(lambda: settings, store=lambda _: store, clock=clock, thread=False)
        self.agent.host = host
        super().__init__(bind(self.agent), clock, seed, self.agent.flush, **options)


def in_turn(shops: Sequence[Shop], calls: int, until: Callable[[], bool] = lambda: False) -> None:
    for _ in range(calls // EVERY):
        for shop in shops:
            shop.run(EVERY, pause=0.1)
        if until():
            return


@pytest.mark.parametrize("assignment", ["call", "block"])
def test_processes_decide_together_and_all_follow(assignment: str) -> None:
    clock, store = VirtualClock(100.0), MemoryStore()
    shops = [Shop(store, clock, seed) for seed in range(3)]
    in_turn(shops, 60)
    for shop in shops:
        shop.fails = {0: 0.4, 3: 0.05}
    shops[0].quote.poet.experiment(
        {"live": "live", "sound": {"k": 3}}, metric="success", assignment=assignment, block=4.0
    )
    in_turn(shops, 3000, over(shops[1]))
    found = shops[2].latest()
    assert (found.verdict, found.winner) == ("decided", "sound"), found.sentence
    made = sum(arm["calls"] for arm in found.figures["arms"])
    assert made > 1.5 * max(shop.calls - 60 for shop in shops), "calls of all three count"
    assert not found.figures["health"]["sample_ratio_mismatch"]
    for shop in shops:
        shop.run(20)
        assert shop.quote.poet.last.propensity == 1.0
        assert shop.quote.poet.status()["faults"] == 0


def test_a_host_keeps_its_arm_and_is_one_outcome() -> None:
    clock, store = VirtualClock(100.0), MemoryStore()
    shops = [Shop(store, clock, seed, host=f"host{seed}") for seed in range(12)]
    in_turn(shops[:1], 60)
    shops[0].quote.poet.experiment({"one": {"k": 1}, "two": {"k": 2}}, metric="success", assignment="host")
    in_turn(shops, 40)
    found = shops[0].latest()
    assert found.figures["units"] == 12
    assert found.figures["calls"] >= 12 * 20
    assert not found.over
    for shop in shops:
        assert len(shop.taken(5)) == 1


# --- what people do meanwhile ---


def test_two_at_once_are_refused_and_named() -> None:
    each = service()
    each.quote.poet.experiment({"one": {"k": 1}})
    with pytest.raises(ConfigurationError, match=r"the experiment quote-1 of shop\.quote is under way"):
        each.quote.poet.experiment({"two": {"k": 2}})
    assert [one.name for one in each.quote.poet.experiments()] == ["quote-1"]


def test_a_roll_out_that_is_under_way_is_named_and_none_begins_beside_an_experiment() -> None:
    house = House(rollout="canary")
    each = Service(house.poet, house.clock, 1, house.agent.flush, rollout=None, enable_training=True)
    each.run(60)
    key = house.store.functions()[0].key
    for document in house.store.standing(key).steering:
        assert document.kind == "rollout"
        by_hand.withdraw(house.store, key, author="anna", reason="an experiment is due", now=house.clock.wall())
    by_hand.propose(house.store, key, {"k": 5}, author="anna", reason="try", now=house.clock.wall())
    with pytest.raises(ConfigurationError, match=r"the roll-out \S+ of shop\.quote is under way.* --withdraw ends it"):
        each.quote.poet.experiment({"one": {"k": 1}})
    by_hand.withdraw(house.store, key, author="anna", reason="an experiment is due", now=house.clock.wall())
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}}, alpha=1e-9, guard_alpha=1e-9)
    with pytest.raises(ConfigurationError, match="has an open experiment, quote-1"):
        by_hand.propose(house.store, key, {"k": 5}, author="anna", reason="try", now=house.clock.wall())
    before = house.store.standing(key).live.version
    each.run(500)
    standing = house.store.standing(key)
    assert [document.kind for document in standing.steering] == ["experiment"]
    assert standing.live.version > before, "what is live has learned on, without a roll-out"
    assert each.quote.poet.status()["faults"] == 0


@pytest.mark.parametrize(
    ("arms", "rules", "said"),
    [
        ({"one": {"k": 12}}, {}, r"k must be in \[0, 9\], got 12; the nearest is 9"),
        ({"one": {"timeot": 1.0}}, {}, "has no parameter 'timeot': did you mean 'timeout'"),
        ({"one": {"k": "three"}}, {}, "one: k must be like 0, got 'three'"),
        ({"one": {"k": 0}}, {}, "one has the values that are live"),
        ({"one": {"k": 1}}, {"metrc": "success"}, "no rule 'metrc': did you mean 'metric'"),
        ({"one": {"k": 1}}, {"shares": {"two": 0.5}}, "shares names no arm 'two'"),
        ({}, {}, "2 to 6 arms, got 0"),
    ],
)
def test_what_cannot_be_is_refused_at_the_door(arms: Any, rules: dict[str, Any], said: str) -> None:
    each = service()
    versions = each.quote.poet.versions()
    with pytest.raises(ConfigurationError, match=said):
        each.quote.poet.experiment(arms, **rules)
    assert each.quote.poet.versions() == versions
    assert each.quote.poet.experiments() == []


def test_a_function_without_calls_has_no_scale_for_its_utility() -> None:
    house = House()
    each = Service(house.poet, house.clock, 1, house.agent.flush)
    each.run(10)
    with pytest.raises(ConfigurationError, match="it takes 20 calls that succeed, there are"):
        each.quote.poet.experiment({"one": {"k": 1}})
    assert each.quote.poet.experiment({"one": {"k": 1}}, metric="success").phase == "running"


def test_a_pause_a_pin_and_a_rollback_take_all_calls_to_what_is_live() -> None:
    each = service()
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}}, shares={"live": 0.05})
    each.run(20)
    assert {each.quote.poet.last.propensity} < {0.05, 0.95}
    each.quote.poet.pause("something is odd")
    assert each.taken(40) == {0}
    each.quote.poet.resume()
    assert 1 in each.taken(40)
    each.quote.poet.pin(k=2)
    assert each.taken(40) == {2}
    each.quote.poet.unpin()
    assert each.latest().phase == "running"
    each.quote.poet.rollback(1, reason="to be sure")
    assert each.taken(40) == {0}
    ended = each.latest()
    assert (ended.phase, ended.verdict) == ("ended", "stopped")
    assert ended.why.startswith("rolled back: to be sure (")
    assert ended.figures["calls"] > 0
    assert each.quote.poet.status()["faults"] == 0
    each.quote.poet.resume()
    assert each.quote.poet.experiment({"two": {"k": 2}}).name == "quote-2"


@pytest.mark.parametrize("value", ["off", "observe"])
def test_a_flag_takes_all_calls_to_what_is_live_and_back(value: str) -> None:
    house = House()
    each = Service(house.poet, house.clock, 1, house.agent.flush)
    each.run(60)
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}})
    assert each.taken(40) == {0, 1}
    said = {"author": "anna", "reason": "an incident", "at": house.clock.wall()}
    set_rule(house.store, "learn.online", Rule(value), **said)
    each.flush()
    assert each.taken(40) == {0}
    set_rule(house.store, "learn.online", Rule("on"), **said)
    each.flush()
    assert each.taken(40) == {0, 1}
    assert each.quote.poet.status()["faults"] == 0


def test_to_change_one_midway_ends_it_and_says_why() -> None:
    house = House()
    each = Service(house.poet, house.clock, 1, house.agent.flush)
    each.run(60)
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}})
    each.run(100)
    said = {"author": "anna", "reason": "faster", "now": house.clock.wall()}
    new = experiments.change(house.store, "quote-1", rules={"metric": "success"}, **said)
    old, same = each.quote.poet.experiments()
    assert same.name == new.name == "quote-2"
    assert (old.phase, old.verdict, new.replaces) == ("ended", "stopped", "quote-1")
    assert "changed: metric utility → success; it goes on as quote-2, with nothing carried over" in old.why
    assert "in place of quote-1" in new.log[0].why
    assert old.figures["calls"] >= 90
    assert same.figures["calls"] == 0
    each.run(100)
    assert each.latest().figures["calls"] >= 90


def test_one_that_is_held_goes_on_when_a_person_says_so() -> None:
    house = House()
    each = Service(house.poet, house.clock, 1, house.agent.flush)
    each.run(60)
    each.fails = {0: 0.01, 9: 1.0}
    each.quote.poet.experiment({"live": "live", "broken": {"k": 9}}, on_harm="hold", metric="success")
    each.run(100)
    assert each.latest().phase == "held"
    assert each.taken(20) == {0}
    said = {"author": "anna", "reason": "mended", "now": house.clock.wall()}
    with pytest.raises(ConfigurationError, match="no experiment 'quote-7'"):
        experiments.resume(house.store, "quote-7", **said)
    assert experiments.resume(house.store, "quote-1", **said).phase == "running"
    each.run(20)
    assert each.latest().phase == "running", "who let it go on knows of the harm"
    assert each.latest().log[-1].what == "harm: broken"
    assert 9 in each.taken(20)
    stopped = experiments.stop(house.store, "quote-1", **said)
    assert (stopped.phase, stopped.verdict) == ("ended", "stopped")
    with pytest.raises(ConfigurationError, match="quote-1 has ended already: stopped by anna: mended"):
        experiments.stop(house.store, "quote-1", **said)


class Busy(MemoryStore):
    """A store in which somebody else changes an experiment just before one's own change, a few times."""

    times = 0

    def _others(self) -> None:
        if self.times:
            self.times -= 1
            for document in super().documents("experiment", ended=False):
                super().keep(document)

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        if document.kind == "experiment":
            self._others()
        return super().keep(document, quiet=quiet)

    def publish(self, *arguments: Any, **named: Any) -> Any:
        self._others()
        return super().publish(*arguments, **named)

    def point(self, *arguments: Any, **named: Any) -> Any:
        self._others()
        return super().point(*arguments, **named)


def test_who_changes_one_while_others_do_tries_again() -> None:
    store = Busy()
    house = House(store=store)
    each = Service(house.poet, house.clock, 1, house.agent.flush)
    each.run(60)
    said = {"author": "anna", "reason": "", "now": house.clock.wall()}
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}, "two": {"k": 2}})
    store.times = 2
    assert experiments.change(store, "quote-1", rules={"metric": "success"}, **said).name == "quote-2"
    store.times = 2
    assert experiments.stop(store, "quote-2", **said).over
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}})
    store.times = 2
    assert experiments.promote(store, "quote-3", "one", **said).promoted == "one"
    assert each.quote.poet.status()["parameters"]["k"] == 1
    each.quote.poet.experiment({"live": "live", "two": {"k": 2}})
    store.times = 10
    with pytest.raises(ConfigurationError, match="quote-4 is changed by others all the time: try again"):
        experiments.stop(store, "quote-4", **said)


# --- stores and clocks that misbehave ---


class Leaving(MemoryStore):
    """A store that can be away."""

    gone = False

    def _here(self) -> None:
        if self.gone:
            raise StoreAway("memory:", "gone for a while")

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        self._here()
        return super().keep(document, quiet=quiet)

    def documents(
        self, kind: str, function: FunctionKey | None = None, *, name: str | None = None, ended: bool = True
    ) -> list[Document]:
        self._here()
        return super().documents(kind, function, name=name, ended=ended)

    def append(self, *arguments: Any) -> None:
        self._here()
        super().append(*arguments)

    def publish(self, *arguments: Any, **named: Any) -> Any:
        self._here()
        return super().publish(*arguments, **named)


def test_while_the_store_is_away_it_goes_on_and_tells_later() -> None:
    store = Leaving()
    each = service(3, store)
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}}, shares={"one": 0.3}, metric="success")
    each.run(50)
    store.gone = True
    each.run(150)
    propensities = set()
    for _ in range(30):
        each.taken(1)
        propensities.add(round(each.quote.poet.last.propensity, 6))
    assert propensities <= {0.3, 0.7}, "arms and shares stay as they are"
    store.gone = False
    each.run(20)
    assert each.latest().figures["calls"] >= 240, "what was seen meanwhile is told"


def test_harm_is_answered_while_the_store_is_away_and_told_later() -> None:
    store = Leaving()
    each = service(3, store)
    each.fails = {0: 0.01, 9: 0.01}
    each.quote.poet.experiment({"live": "live", "broken": {"k": 9}}, metric="success")
    each.run(50)
    store.gone = True
    each.fails = {0: 0.01, 9: 1.0}
    each.run(100)
    assert each.taken(40) == {0}
    store.gone = False
    assert each.latest().phase in ("running", "ended")
    each.run(20)
    found = each.latest()
    assert (found.phase, found.verdict) == ("ended", "harm")


@pytest.mark.parametrize("body", ["{}", "[]", '"text"', '{"state": 7, "points": 3, "arms": [[1]]}'])
@pytest.mark.parametrize("assignment", ["call", "block"])
def test_what_cannot_be_read_is_a_fault_and_the_calls_go_on(body: str, assignment: str) -> None:
    house = House(seed=1)
    each = Service(house.poet, house.clock, 1, house.agent.flush, enable_training=True)
    each.run(60)
    each.quote.poet.experiment(
        {"live": "live", "one": {"learner": "statistical"}}, metric="success", assignment=assignment, block=2.0
    )
    each.run(100)
    key = house.store.functions()[0].key
    for kind in ("evidence", "arm", "effect"):
        for document in house.store.documents(kind, key):
            house.store.keep(document._replace(body=body))
    house.store.keep(Document("evidence", "quote-1 other", body, key))
    each.run(100)
    assert each.quote.poet.status()["faults"] > 0
    assert 0.4 < each.quote.poet.last.propensity < 0.6, "lots are drawn as before"
    assert house.store.functions()[0].calls >= 250, "and calls are stored"
    assert each.latest().figures["calls"] > 0


def test_a_clock_that_jumps_gives_no_block_two_arms_and_counts_none_twice() -> None:
    for seed in range(3):
        house = House(seed=seed)
        each = Service(house.poet, house.clock, seed, house.agent.flush)
        each.run(60)
        each.quote.poet.experiment({"one": {"k": 1}, "two": {"k": 2}}, metric="success", assignment="block", block=5.0)
        for jump in (0.0, -600.0, 86_400.0 * 365, -86_400.0 * 365, 30.0):
            house.clock.set_wall(house.clock.wall() + jump)
            each.run(200)
        found = each.latest()
        health = found.figures["health"]
        assert found.phase == "running" or found.verdict == "same"
        assert not health["sample_ratio_mismatch"]
        assert found.figures["units"] > 60
        assert health["crossed"] <= 30
        assert each.quote.poet.status()["faults"] == 0


def test_effects_are_drawn_over_time_in_no_more_than_200_points() -> None:
    house = House(seed=1)
    each = Service(house.poet, house.clock, 1, house.agent.flush)
    each.run(60)
    each.quote.poet.experiment({"live": "live", "one": {"k": 1}}, metric="success", alpha=1e-6)
    each.run(3200, pause=0.9)
    (document,) = house.store.documents("effect")
    points = json.loads(document.body)["points"]
    calls = [point[1] for point in points]
    assert 90 < len(points) <= 200
    assert calls == sorted(set(calls))
    assert calls[-1] > 3000
    widths = [high - low for _, _, ((_, low, high),) in points if low is not None]
    assert widths[-1] < 0.4 * widths[0]


def test_in_an_outage_an_arm_with_a_short_limit_does_not_look_bad_as_it_tells_first() -> None:
    """Calls that run at once: those of one arm know after 2 s that nothing answers, those of the other after 30 s."""
    house = House(seed=3)
    each = Service(house.poet, house.clock, 3, house.agent.flush, timeout=30.0)
    each.fails = {0: 0.01}
    each.run(60)
    each.quote.poet.experiment({"live": "live", "short": {"timeout": 2.0}}, metric="success", shares={"short": 0.5})
    each.run(100)
    trainer = house.agent.trainer
    assert trainer is not None
    (trainee,) = trainer.trainees.values()
    trial, now = trainee.trial, house.clock.wall()
    assert isinstance(trial, ExperimentTrial)
    versions = [trainee.standing.live.version, trial.experiment.arms[1].version]
    limits = (30.0, 2.0)
    begun = [(now + 0.1 * n, n % 2) for n in range(300)]  # the outage: each takes as long as its limit
    ends = sorted((start + limits[arm], start, arm) for start, arm in begun)
    for place, (end, start, arm) in enumerate(ends):
        house.clock.sleep(max(0.0, end - house.clock.wall()))
        attempt = Attempt(Outcome.TIMEOUT, limits[arm])
        ended = Execution("w", place, start, limits[arm], Outcome.TIMEOUT, versions[arm], (attempt,), propensity=0.5)
        trial.heard([ended])
        assert trial.experiment.phase == "running", (place, trial.experiment.sentence)
    house.clock.sleep(200.0)
    trial.stored(last=False)
    assert trial.experiment.phase == "running"
    assert [arm.failures for arm in trial.whole().arms] == [
        pytest.approx(150, abs=5),
        pytest.approx(150, abs=5),
    ]
