from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.experiment import Experiment, Rules, strategy
from poet.training.comparing import leaderboard, read, sentence
from poet.training.deciding import decided, resumed
from poet.training.evidence import Call, Evidence, Unit, pooled

HALF = (0.5, 0.5)


def made(arms: int = 2, **rules: Any) -> Experiment:
    told = [strategy("live", "live")] + [strategy(f"arm{n}", {"timeout": 1.0 + n}) for n in range(1, arms)]
    return Experiment(name="quote-1", arms=tuple(told), rules=Rules(**{"metric": "success", **rules}))


def call(arm: int, outcome: float | None, shares: tuple[float, ...] = HALF, **more: Any) -> Call:
    return Call(
        **{
            "started": 0.0,
            "arm": arm,
            "shares": shares,
            "outcome": outcome,
            "failed": outcome == 0.0,
            "slow": False,
            "latency": 0.0,
            **more,
        }
    )


def filled(experiment: Experiment, seed: int, calls: int, chances: tuple[float, ...]) -> Evidence:
    rng, evidence = random.Random(seed), Evidence.of(experiment)
    for _ in range(calls):
        arm = rng.randrange(len(chances))
        each = call(arm, float(rng.random() < chances[arm]), experiment.shares, latency=rng.gauss(0, 1))
        evidence.add(each)
        if each.failed:
            evidence.event(each)
    return evidence


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 300), st.sampled_from([2, 3]))
def test_what_is_kept_comes_back_as_it_was(seed: int, calls: int, arms: int) -> None:
    experiment = made(arms)
    evidence = filled(experiment, seed, calls, (0.9, 0.7, 0.8)[:arms])
    evidence.units["17"] = Unit(1, HALF, 2, 1, 2, 1.5, 2, 0.25)
    again = Evidence.read(evidence.body(), experiment)
    assert again.body() == evidence.body()
    assert again.effects == evidence.effects


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=2, max_size=5, unique=True), st.randoms())
def test_parts_add_up_in_any_order(seeds: list[int], shuffled: random.Random) -> None:
    experiment = made()
    parts = [filled(experiment, seed, 80, (0.9, 0.6)) for seed in seeds]
    one = pooled(experiment, parts)
    shuffled.shuffle(parts)
    other = pooled(experiment, parts)
    assert [arm.state() for arm in one.arms] == [arm.state() for arm in other.arms]
    assert one.effects[0, 1].value == pytest.approx(other.effects[0, 1].value)
    assert one.failed[0, 1] == other.failed[0, 1]
    assert one.ratio == other.ratio


def test_pooling_changes_no_part() -> None:
    experiment = made(assignment="host")
    part = Evidence.of(experiment)
    part.add_to("a", call(0, 1.0))
    before = part.body()
    pooled(experiment, [part, part])
    assert part.body() == before


@pytest.mark.parametrize("body", ["{}", "[]", "no", '{"arms": [[0,0,0,0,0,0]]}'])
def test_evidence_that_cannot_be_read_is_said_to_be_so(body: str) -> None:
    with pytest.raises(ValueError, match="evidence of quote-1 cannot be read"):
        Evidence.read(body, made())


def test_evidence_of_another_number_of_arms_is_not_taken() -> None:
    with pytest.raises(ValueError, match="it is of 3 arms"):
        Evidence.read(Evidence.of(made(3)).body(), made(2))


@settings(deadline=None)
@given(st.sets(st.integers(0, 100_000), max_size=60))
def test_blocks_that_were_folded_are_known(blocks: set[int]) -> None:
    evidence = Evidence.of(made(assignment="block"))
    for block in blocks:
        evidence.mark(block)
    assert all(evidence.is_folded(block) for block in blocks)
    far = 1_000_000_000  # a clock that was wrong for a while leaves a range of its own
    evidence.mark(far)
    assert not evidence.is_folded(far - 500_000)


def test_a_score_that_comes_late_is_no_longer_missing() -> None:
    experiment = made(metric="score")
    evidence = Evidence.of(experiment)
    evidence.add(call(1, None))
    assert (evidence.arms[1].missing, evidence.arms[1].told) == (1, 0)
    evidence.scored(1, HALF, 0.5)
    assert (evidence.arms[1].missing, evidence.arms[1].told, evidence.arms[1].mean) == (0, 1, 0.5)
    assert evidence.effects[0, 1].n == 1


def test_arms_that_miss_unlike_shares_are_told() -> None:
    experiment = made(metric="score")
    rng, evidence = random.Random(1), Evidence.of(experiment)
    for n in range(400):
        evidence.add(call(n % 2, None if n % 2 and rng.random() < 0.3 else 0.5))
    assert read(experiment, evidence).lopsided
    even = Evidence.of(experiment)
    for n in range(400):
        even.add(call(n % 2, None if n % 8 < 2 else 0.5))
    assert not read(experiment, even).lopsided


def test_calls_that_went_astray_hold_it_and_no_effect_is_told() -> None:
    experiment, evidence = made(), Evidence.of(made())
    for n in range(400):
        evidence.add(call(int(n % 4 == 0), float(n % 3 > 0)))
    after = decided(experiment, evidence, 5.0)
    assert after is not None
    assert (after.phase, after.verdict) == ("held", "undecided")
    assert after.why.startswith("calls went astray: the arms' numbers of calls do not fit their shares")
    going_on = resumed(after, 6.0, "by anna")
    assert decided(going_on, evidence, 7.0) is None, "neither held again nor decided, as no effect can be believed"


@pytest.mark.parametrize(("on_harm", "phase"), [("end", "ended"), ("hold", "held"), ("observe", "running")])
def test_harm_is_answered_as_the_rules_say(on_harm: Any, phase: str) -> None:
    experiment = made(on_harm=on_harm)
    evidence = Evidence.of(experiment)
    for _ in range(18):
        for arm in (0, 1):
            each = call(arm, float(arm == 0))
            evidence.add(each)
            if arm:
                evidence.event(each)
    after = decided(experiment, evidence, 5.0)
    assert after is not None
    assert after.phase == phase
    assert "arm1 fails more often than live: 18 of 18 calls, there 0 of 18" in after.log[-1].why
    if phase == "running":
        assert decided(after, evidence, 6.0) is None, "it is said once"
    if phase == "ended":
        assert (after.verdict, after.winner, after.arms[1].ended[:4]) == ("harm", "live", "harm")


def test_of_three_arms_one_that_does_harm_leaves_the_others_on_trial() -> None:
    experiment = made(3)
    evidence = Evidence.of(experiment)
    third = (1 / 3,) * 3
    for _ in range(20):
        for arm in range(3):
            each = call(arm, float(arm != 2), third)
            evidence.add(each)
            if arm == 2:
                evidence.event(each)
    after = decided(experiment, evidence, 5.0)
    assert after is not None
    assert (after.phase, after.running, after.shares) == ("running", (0, 1), (0.5, 0.5))
    assert "harm: arm2 fails more often than live" in after.arms[2].ended
    assert decided(after, evidence, 6.0) is None


def test_a_tie_is_told_as_one() -> None:
    experiment = made(metric="latency", minimum_effect=0.5)
    rng, evidence = random.Random(3), Evidence.of(experiment)
    for _ in range(2000):
        evidence.add(call(rng.randrange(2), rng.gauss(0, 0.5)))
    after = decided(experiment, evidence, 5.0)
    assert after is not None
    assert (after.phase, after.verdict, after.winner) == ("ended", "same", "")
    assert "arm1 and live are the same: what differs is less than 50 % of the latency" in after.sentence


def test_two_arms_that_are_better_are_not_put_in_an_order_that_is_not_known() -> None:
    experiment = made(3)
    evidence = filled(experiment, 5, 1500, (0.5, 0.9, 0.9))
    after = decided(replace(experiment, rules=Rules(metric="success", guard_alpha=1e-9)), evidence, 5.0)
    assert after is not None
    assert after.winner in ("arm1", "arm2")
    assert "are not told apart from each other" in after.sentence
    assert {tuple(arm["ranks"]) for arm in after.figures["arms"]} == {(3, 3), (1, 2)}


def test_what_takes_too_long_ends_undecided() -> None:
    experiment = made(most_calls=100)
    after = decided(experiment, filled(experiment, 2, 100, (0.9, 0.9)), 5.0)
    assert after is not None
    assert (after.phase, after.verdict, after.winner) == ("ended", "undecided", "")
    assert after.why.startswith("100 calls are over: ")
    experiment = made(longest=60.0)
    assert decided(experiment, Evidence.of(experiment), 59.0) is None
    after = decided(experiment, Evidence.of(experiment), 60.0)
    assert after is not None
    assert after.why.startswith("its time is over: nothing is known")


def test_less_is_better_for_latency_and_cost() -> None:
    experiment = made(metric="latency", guard_alpha=1e-9)
    rng, evidence = random.Random(4), Evidence.of(experiment)
    for _ in range(600):
        arm = rng.randrange(2)
        evidence.add(call(arm, rng.gauss(-0.4 * arm, 0.5)))
    reading = read(experiment, evidence)
    assert (reading.against[0].verdict, reading.best) == ("better", "arm1")
    assert "arm1 is better than live by" in sentence(experiment, reading)
    assert "% of the latency (95 %, at any look: -" in sentence(experiment, reading)


def test_the_leaderboard_puts_experiments_together_and_tells_ties() -> None:
    rules = Rules(metric="success", guard_alpha=1e-9)
    told = []
    for place, chances in enumerate([(0.5, 0.9), (0.5, 0.85), (0.8, 0.8)]):
        name = "quick" if place < 2 else "calm"
        arms = (strategy("live", "live"), strategy(name, {"timeout": 1.0 if place < 2 else 2.0}))
        one = Experiment(name=f"quote-{place}", arms=arms, rules=rules)
        after = decided(replace(one, rules=replace(rules, most_calls=1)), filled(one, place, 800, chances), 5.0)
        assert after is not None
        told.append((f"f{place}", after))
    board = leaderboard(told, 0.05)
    assert [row["verdict"] for row in board["comparisons"]] == ["better", "better", "not told apart"]
    ranks = {row["strategy"]: (row["first"], row["last"], row["experiments"]) for row in board["strategies"]}
    assert ranks["timeout=1.0"][2] == 2
    assert ranks["what is live"][2] == 3
    assert ranks["timeout=1.0"][0] == 1
    assert ranks["timeout=2.0"] == (1, 3, 1)
    assert leaderboard([], 0.05) == {"comparisons": [], "strategies": []}


def test_of_many_comparisons_of_what_is_the_same_few_are_told_as_better() -> None:
    """20 comparisons that are all null, 40 times: e-BH at 5 % rejects any in 5 % of them at most (+ 3 SE: 15.3 %)."""
    wrong = 0
    for seed in range(40):
        told = []
        for place in range(20):
            one = made(most_calls=1)
            after = decided(one, filled(one, 1000 * seed + place, 200, (0.8, 0.8)), 5.0)
            assert after is not None
            told.append((f"f{place}", after))
        wrong += any(row["verdict"] != "not told apart" for row in leaderboard(told, 0.05)["comparisons"])
    assert wrong / 40 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 40)
