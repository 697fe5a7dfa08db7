from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping

import pytest

from poet.errors import ConfigurationError
from poet.learning.tuners.spsa import BATCH, SpsaTuner
from poet.model.policy import Tries
from poet.model.trial import Trial
from poet.model.tunable import Choice, Integer, Real, Space, Value

Score = Callable[[Mapping[str, Value]], float]

PLANE = Space(x=Real(0.0, 1.0), y=Real(0.0, 1.0))
MIDDLE: dict[str, Value] = {"x": 0.5, "y": 0.5}
MIXED = Space(model=Choice("a", "b", "c"), x=Real(0.0, 1.0))


def hill(values: Mapping[str, Value]) -> float:
    return 1.0 - 2.0 * (float(values["x"]) - 0.8) ** 2 - 2.0 * (float(values["y"]) - 0.25) ** 2


def mixed(values: Mapping[str, Value]) -> float:
    return {"a": 0.2, "b": 0.5, "c": 0.35}[str(values["model"])] - (float(values["x"]) - 0.7) ** 2


def lived(tuner: SpsaTuner, score: Score, n: int, seed: int, *, noise: float = 0.1, coins: bool = False) -> float:
    """The mean of what the calls were worth."""
    dice, total = random.Random(seed), 0.0
    for _ in range(n):
        values = tuner.suggest()
        worth = score(values)
        total += worth
        tuner.update([Trial(values, float(dice.random() < worth) if coins else worth + dice.gauss(0.0, noise))])
    return total / n


def test_it_finds_the_top_of_a_hill() -> None:
    """The start is worth 0.69, the top 1. Of 100 other seeds none ended below 0.94."""
    found = []
    for seed in range(20):
        tuner = SpsaTuner(PLANE, MIDDLE, seed=seed)
        lived(tuner, hill, 200, seed)
        found.append(hill(tuner.recommend().values))
    assert sum(value < 0.94 for value in found) < 2, sorted(found)


def test_it_learns_from_scores_of_0_and_1() -> None:
    """The start is worth 0.16, the best 0.5. Of 100 other seeds two ended below 0.35: 5 of 20 do once in 20,000."""
    found = []
    for seed in range(20):
        tuner = SpsaTuner(MIXED, {"model": "a", "x": 0.5}, seed=seed)
        lived(tuner, mixed, 400, seed, coins=True)
        found.append(mixed(tuner.recommend().values))
    assert sum(value < 0.35 for value in found) < 5, sorted(found)


def test_where_the_start_never_succeeds_scores_of_0_and_1_lead_away_from_it() -> None:
    """Of 100 other seeds 6 were not half way up after 400 calls: 6 of 20 are once in 1000. Without ``coins`` 31."""
    missed = 0
    for seed in range(20):
        tuner = SpsaTuner(PLANE, {"x": 0.2, "y": 0.9}, seed=seed + 100, coins=True)
        lived(tuner, lambda values: 0.9 * hill(values), 400, seed + 100, coins=True)
        missed += hill(tuner.recommend().values) < 0.5
    assert missed < 6


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_what_was_learned_of_one_kind_of_scores_serves_for_the_other(before: bool, after: bool) -> None:
    tuner = SpsaTuner(PLANE, MIDDLE, seed=1, coins=before)
    lived(tuner, hill, 400, 1, coins=True)
    heir = SpsaTuner(PLANE, MIDDLE, coins=after)
    assert heir.load(tuner.dump()) == ()
    assert heir.recommend().evidence == 400
    assert hill(heir.recommend().values) > hill(MIDDLE)
    other = SpsaTuner(Space(x=Real(0.0, 1.0)), {"x": 0.5}, coins=after)
    assert other.load(tuner.dump()) == ("y is no tunable any more",)
    assert float(other.recommend().values["x"]) > 0.5


def test_scores_may_come_late_and_in_any_order() -> None:
    prompt, late = [], []
    for seed in range(10):
        prompt.append(SpsaTuner(PLANE, MIDDLE, seed=seed))
        lived(prompt[-1], hill, 300, seed)
        late.append(SpsaTuner(PLANE, MIDDLE, seed=seed))
        dice, open_ = random.Random(seed), []
        for _ in range(300):
            values = late[-1].suggest()
            open_.append(Trial(values, hill(values) + dice.gauss(0.0, 0.1)))
            if len(open_) > 20:
                late[-1].update([open_.pop(dice.randrange(20))])
        late[-1].update(open_)
    worth = [sum(hill(each.recommend().values) for each in tuners) / 10 for tuners in (prompt, late)]
    assert worth[1] > worth[0] - 0.02 > 0.93


def test_it_follows_a_world_that_changes() -> None:
    """The option that was best becomes the worst. Of 100 other seeds none missed it, so that fewer than 3 % do (at
    95 %): 3 of 20 at most once in 50."""
    missed = 0
    for seed in range(20):
        tuner = SpsaTuner(MIXED, {"model": "a", "x": 0.5}, seed=seed)
        lived(tuner, mixed, 300, seed)
        assert tuner.recommend().values["model"] == "b"
        lived(tuner, lambda values: mixed(values) - 0.5 * (values["model"] == "b"), 150, seed + 100)
        missed += tuner.recommend().values["model"] != "c"
    assert missed < 3


def test_its_calls_are_seldom_worse_than_the_start() -> None:
    worse = []
    for seed in range(20):
        tuner, dice = SpsaTuner(PLANE, MIDDLE, seed=seed), random.Random(seed)
        bad = 0
        for _ in range(300):
            values = tuner.suggest()
            bad += hill(values) < hill(MIDDLE) - 0.05
            tuner.update([Trial(values, hill(values) + dice.gauss(0.0, 0.1))])
        worse.append(bad / 300)
    assert sum(worse) / 20 <= 0.08


def test_it_keeps_a_constraint_where_the_best_would_break_it() -> None:
    """Of 25 other seeds none failed, so that fewer than 12 % do (at 95 %): more than 4 of 20 at most once in 12."""
    kept = 0
    for seed in range(20):
        tuner, dice = SpsaTuner(PLANE, MIDDLE, seed=seed, constraints=1), random.Random(seed)
        for _ in range(300):
            values = tuner.suggest()
            slack = 0.65 - float(values["x"]) + dice.gauss(0.0, 0.1)  # the top is at 0.8
            tuner.update([Trial(values, hill(values) + dice.gauss(0.0, 0.1), (), (slack,))])
        told = tuner.recommend()
        assert told.feasible
        kept += float(told.values["x"]) <= 0.65 + 0.05 and hill(told.values) > 0.85
    assert kept >= 16


def test_where_no_constraint_can_be_kept_it_breaks_them_least_and_says_so() -> None:
    tuner, dice = SpsaTuner(PLANE, MIDDLE, constraints=1), random.Random(0)
    for _ in range(300):
        values = tuner.suggest()
        slack = -0.5 - float(values["x"]) + dice.gauss(0.0, 0.05)
        tuner.update([Trial(values, hill(values) + dice.gauss(0.0, 0.1), (), (slack,))])
    told = tuner.recommend()
    assert not told.feasible
    assert float(told.values["x"]) < 0.3


CONDITIONAL = Space(model=Choice("a", "b"), depth=Integer(1, 9, when={"model": "b"}))


def test_what_plays_no_part_says_nothing() -> None:
    one, other = (SpsaTuner(CONDITIONAL, {"model": "a", "depth": 5}) for _ in range(2))
    for k in range(40):
        one.update([Trial({"model": "a", "depth": 1 + k % 9}, float(k % 9))])
        other.update([Trial({"model": "a", "depth": 5}, float(k % 9))])
    assert one.dump() == other.dump()


def test_a_part_that_is_played_is_learned() -> None:
    tuner, dice = SpsaTuner(CONDITIONAL, {"model": "a", "depth": 5}, seed=1), random.Random(1)
    for _ in range(400):
        values = tuner.suggest()
        worth = 0.5 if values["model"] == "a" else 1.0 - 0.1 * abs(int(values["depth"]) - 7)
        tuner.update([Trial(values, worth + dice.gauss(0.0, 0.1))])
    told = tuner.recommend().values
    assert told["model"] == "b"
    assert int(told["depth"]) in (6, 7, 8)


@pytest.mark.parametrize(("cost", "best"), [(0.0, "b"), (3.0, "b"), (300.0, "a")])
def test_a_change_must_pay_for_itself(cost: float, best: str) -> None:
    space = Space(model=Choice("a", "b", change_cost=cost))
    tuner = SpsaTuner(space, {"model": "a"})
    dice = random.Random(0)
    for k in range(200):
        values: dict[str, Value] = {"model": "ab"[k % 2]}
        tuner.update([Trial(values, 0.3 * (values["model"] == "b") + dice.gauss(0.0, 0.1))])
    assert tuner.recommend().values["model"] == best


def test_steps_and_whole_numbers_are_kept_and_left() -> None:
    space = Space(n=Integer(1, 4), share=Real(0.0, 1.0, step=0.5))
    tuner, dice = SpsaTuner(space, {"n": 1, "share": 0.0}, seed=2), random.Random(2)
    for _ in range(300):
        values = tuner.suggest()
        assert values["n"] in (1, 2, 3, 4)
        assert values["share"] in (0.0, 0.5, 1.0)
        tuner.update([Trial(values, 0.3 * int(values["n"]) - abs(float(values["share"]) - 0.5) + dice.gauss(0, 0.1))])
    assert dict(tuner.recommend().values) == {"n": 4, "share": 0.5}


def test_a_callers_own_values_count_as_what_they_are() -> None:
    tuner, dice = SpsaTuner(PLANE, MIDDLE), random.Random(0)
    for _ in range(300):
        values: dict[str, Value] = {"x": dice.uniform(0.3, 0.7), "y": dice.uniform(0.3, 0.7)}
        tuner.update([Trial(values, hill(values) + dice.gauss(0.0, 0.1))])
    for values in (MIDDLE, {"x": 0.6, "y": 0.4}):
        assert abs(tuner.expected(values) - hill(values)) < 0.06  # standard errors are near 0.01
    told = tuner.recommend()
    assert hill(told.values) > hill(MIDDLE) + 0.1


def test_it_begins_at_the_start_and_knows_nothing() -> None:
    tuner = SpsaTuner(PLANE, MIDDLE)
    assert tuner.suggest() == MIDDLE
    told = tuner.recommend()
    assert (dict(told.values), told.evidence, told.low, told.high) == (MIDDLE, 0, -math.inf, math.inf)
    assert tuner.policy(0.5, 2) == Tries(0.5, (MIDDLE, MIDDLE))


def test_learning_together_is_as_good_as_one_by_one() -> None:
    one, other = (SpsaTuner(PLANE, MIDDLE) for _ in range(2))
    dice, trials = random.Random(0), []
    for _ in range(40 * BATCH):
        values: dict[str, Value] = {"x": dice.uniform(0.3, 0.7), "y": dice.uniform(0.3, 0.7)}
        trials.append(Trial(values, hill(values) + dice.gauss(0.0, 0.1)))
    one.update(trials)
    for trial in trials:
        other.update([trial])
    assert one.dump() == other.dump()


def test_more_than_can_be_learned_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="120 options and 0 numbers"):
        SpsaTuner(Space(model=Choice(*range(120))), {"model": 0})
    with pytest.raises(ConfigurationError, match="start must name"):
        SpsaTuner(PLANE, {"x": 0.5, "y": "high"})


@pytest.mark.parametrize("numbers", [40, 80])
def test_wide_spaces_are_learned_in_the_same_room(numbers: int) -> None:
    space = Space(**{f"x{k}": Real(0.0, 1.0) for k in range(numbers)})
    start: dict[str, Value] = dict.fromkeys(space, 0.5)
    tuner, dice = SpsaTuner(space, start), random.Random(0)
    for _ in range(1500):
        values = tuner.suggest()
        tuner.update([Trial(values, sum(float(each) for each in values.values()) / numbers + dice.gauss(0.0, 0.05))])
    best = tuner.recommend().values.values()
    assert sum(float(each) for each in best) / numbers > 0.7
    assert len(tuner.dump()) <= 65_536


def test_a_wider_range_keeps_what_was_learned() -> None:
    tuner = SpsaTuner(PLANE, MIDDLE, seed=4)
    lived(tuner, hill, 300, 4)
    wide = SpsaTuner(Space(x=Real(0.0, 1.5), y=Real(0.0, 1.0)), MIDDLE)
    assert wide.load(tuner.dump()) == ()
    there = [dict(each.recommend().values) for each in (tuner, wide)]
    assert there[1] == pytest.approx(there[0], abs=1e-5)
    for x in (0.6, 0.7, 0.8):
        values = {**there[0], "x": x}
        assert wide.expected(values) == pytest.approx(tuner.expected(values), abs=0.02)


def test_what_means_nothing_any_more_is_said() -> None:
    tuner = SpsaTuner(Space(model=Choice("a", "b"), x=Real(0.0, 1.0), k=Integer(1, 9)), {"model": "a", "x": 0, "k": 3})
    tuner.update([Trial({"model": "b", "x": 0.5, "k": 3}, 1.0)])
    now = Space(model=Choice("a", "c"), x=Real(0.5, 1.0), k=Integer(1, 9, log=True))
    assert SpsaTuner(now, {"model": "a", "x": 0.5, "k": 3}).load(tuner.dump()) == (
        "model: 'b' is no option any more",
        "x has a narrower range: [0.5, 1]",
        "k has another scale: log=True",
    )
    other = SpsaTuner(PLANE, MIDDLE, constraints=1)
    assert other.load(tuner.dump())[-1] == "0 constraints were learned, 1 are declared"
    assert other.recommend().evidence == 1
