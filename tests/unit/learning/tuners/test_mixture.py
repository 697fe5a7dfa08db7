"""The mixture of linear models: laws, statistics with their rates of error, odd input."""

from __future__ import annotations

import math
import pickle
import random
import sys
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.learning.tuners.mixture import HOLD, HORIZON, MixtureTuner, arms_of
from poet.model.execution import Context
from poet.model.policy import Pick
from poet.model.trial import Trial
from poet.model.tunable import Choice, Integer, Real, Space, Value

SPACE = Space(model=Choice("a", "b", "c"))
START: dict[str, Value] = {"model": "a"}
Score = Callable[[str, float], float]


def context(dice: random.Random) -> tuple[Context, float]:
    x = dice.gauss(0, 1)
    return (("x", x), ("lang", dice.choice("defg")), ("flag", dice.random() < 0.3)), x


def live(tuner: MixtureTuner, score: Score, calls: int, seed: int, noise: float = 0.3) -> list[str]:
    """What it suggested, one call after the other."""
    dice, chosen = random.Random(seed), []
    for _ in range(calls):
        given_, x = context(dice)
        values = tuner.suggest(given_)
        chosen.append(str(values["model"]))
        tuner.update([Trial(values, score(chosen[-1], x) + noise * dice.gauss(0, 1), given_)])
    return chosen


def plain(model: str, x: float) -> float:
    return {"a": 0.3, "b": 0.5, "c": 0.4}[model]


def by_context(model: str, x: float) -> float:
    return {"a": 0.5 - 0.3 * x, "b": 0.5 + 0.3 * x, "c": 0.2}[model]


# --- what may be chosen -----------------------------------------------------------------------------------------------


def test_arms_are_combinations_that_differ_in_what_matters() -> None:
    space = Space(model=Choice("a", "b"), k=Integer(1, 3, when={"model": "b"}), share=Real(0.0, 1.0, step=0.5))
    arms = arms_of(space, {"model": "b", "k": 2, "share": 0.5})
    assert len(arms) == (1 + 3) * 3
    assert arms[0] == {"model": "b", "k": 2, "share": 0.5}
    assert {arm["k"] for arm in arms if arm["model"] == "a"} == {2}


@pytest.mark.parametrize(
    "space",
    [
        Space(x=Real(0.0, 1.0)),
        Space(k=Integer(1, 100)),
        Space(a=Integer(1, 9), b=Integer(1, 9)),
        Space(**{f"c{k}": Choice("x", "y") for k in range(20)}),
    ],
)
def test_ranges_and_too_many_combinations_are_refused(space: Space) -> None:
    with pytest.raises(ConfigurationError, match="64"):
        MixtureTuner(space, {})


@pytest.mark.parametrize(
    "options", [{"half_life": 0.0}, {"half_life": math.nan}, {"temper": 0.0}, {"temper": math.inf}]
)
def test_arguments_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        MixtureTuner(SPACE, START, **options)  # type: ignore[arg-type]


def test_true_is_not_one() -> None:
    tuner = MixtureTuner(Space(how=Choice(True, False)), {"how": True})
    tuner.update([Trial({"how": 1}, 1.0), Trial({"how": False}, 0.0)])
    assert tuner.recommend().evidence == 1


# --- what it learns ---------------------------------------------------------------------------------------------------


def test_the_best_is_found_and_recommended() -> None:
    """After 2000 calls; a wrong one would need a mean of some 600 scores off by 0.05, 4 standard errors."""
    for seed in range(3):
        tuner = MixtureTuner(SPACE, START, seed=seed)
        live(tuner, plain, 2000, seed)
        found = tuner.recommend()
        assert found.values == {"model": "b"}
        assert found.low < found.mean < found.high
        assert found.evidence == 2000


def test_each_context_gets_what_is_best_in_it() -> None:
    tuner = MixtureTuner(SPACE, START, seed=1)
    live(tuner, by_context, 1500, 1)
    for x, best in ((-1.5, "a"), (1.5, "b")):
        assert tuner.recommend((("x", x), ("lang", "d"), ("flag", False))).values == {"model": best}
    late = live(tuner, lambda model, x: by_context(model, x), 300, 2)
    assert late.count("c") < 15


def test_an_unknown_or_empty_context_gets_what_is_best_of_all() -> None:
    tuner = MixtureTuner(SPACE, START, seed=1)
    live(tuner, lambda model, x: plain(model, x) + 0.2 * x, 400, 1)
    whole = tuner.recommend()
    for unknown in ((), (("region", "eu"),), (("x", math.nan),)):
        assert tuner.recommend(unknown) == whole
        assert tuner.policy(0.0, 1).pick(unknown, 0.5) == Pick(0, {})


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """At 90 %, over 200 worlds with scores for every option: fewer than 164 or more than 194 come once in 1000."""
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        tuner = MixtureTuner(SPACE, START, seed=seed, half_life=math.inf)
        means = dict(zip("abc", rng.normal(0.5, 0.09, 3), strict=True))
        tuner.update([Trial({"model": m}, means[m] + 0.3 * rng.standard_normal()) for m in "abc" * 20])
        found = tuner.recommend()
        held += found.low <= means[str(found.values["model"])] <= found.high
    assert 164 <= held <= 194


def test_a_context_that_says_nothing_costs_little() -> None:
    """Regret over 300 calls, mean of 12 seeds: at most half as much again as without a context, whose own is .03."""

    def regret(contextual: bool) -> float:
        lost = [
            0.5 - plain(model, 0.0)
            for seed in range(12)
            for model in live(MixtureTuner(SPACE, START, seed=seed, contextual=contextual), plain, 300, seed)
        ]
        return sum(lost) / len(lost)

    assert regret(True) < 1.5 * regret(False) + 0.01


def test_scores_of_any_scale_are_learned_from_alike() -> None:
    shift, scale = 1e6, 50.0
    one, other = (MixtureTuner(SPACE, START, seed=5) for _ in range(2))
    chosen = live(one, by_context, 200, 4)
    again = live(other, lambda model, x: shift + scale * by_context(model, x), 200, 4, noise=0.3 * scale)
    assert sum(a == b for a, b in zip(chosen[20:], again[20:], strict=True)) > 140
    assert other.recommend().mean == pytest.approx(shift + scale * one.recommend().mean, abs=0.2 * scale)


def test_constant_scores_do_no_harm() -> None:
    for score in (0.0, 1.0, -3.0):
        tuner = MixtureTuner(SPACE, START)
        chosen = live(tuner, lambda model, x, score=score: score, 100, 1, noise=0.0)  # type: ignore[misc]
        assert set(chosen) <= {"a", "b", "c"}
        assert tuner.recommend().mean == pytest.approx(score, abs=1e-9)


def test_a_change_is_noticed_and_followed() -> None:
    tuner = MixtureTuner(SPACE, START, seed=2)
    live(tuner, plain, 2000, 1)
    worse = {"a": 0.3, "b": 0.1, "c": 0.4}
    chosen = live(tuner, lambda model, x: worse[model], 400, 2)
    assert chosen[200:].count("c") > 150
    assert any("changed" in note for note in tuner.notes())


def test_where_nothing_changes_alarms_are_rare() -> None:
    """By the stated rate one run of 3000 trials in fifty raises one: two or more in four runs come once in 400."""
    alarms = 0
    for seed in range(4):
        tuner = MixtureTuner(SPACE, START, seed=seed)
        live(tuner, by_context, 3000, seed)
        alarms += any("changed" in note for note in tuner.notes())
    assert alarms < 2


# --- constraints, costs -----------------------------------------------------------------------------------------------


def test_the_best_of_those_that_keep_the_constraint_is_recommended() -> None:
    tuner, dice = MixtureTuner(SPACE, START, seed=3, constraints=1), random.Random(3)
    slack = {"a": 0.2, "b": -0.2, "c": 0.1}
    tried = []
    for _ in range(600):
        values = tuner.suggest()
        model = str(values["model"])
        tried.append(model)
        tuner.update(
            [Trial(values, plain(model, 0) + 0.2 * dice.gauss(0, 1), (), (slack[model] + 0.2 * dice.gauss(0, 1),))]
        )
    found = tuner.recommend()
    assert found.values == {"model": "c"}
    assert found.feasible
    assert tried[300:].count("b") < 30
    assert tuner.policy(0.0, 1).pick((), 0.5) == Pick(0, {})


def test_where_no_option_keeps_it_the_one_that_breaks_it_least_is() -> None:
    tuner, dice = MixtureTuner(SPACE, START, constraints=1), random.Random(3)
    for model in "abc" * 60:
        slack = {"a": -0.5, "b": -0.2, "c": -0.4}[model]
        tuner.update([Trial({"model": model}, plain(model, 0), (), (slack + 0.1 * dice.gauss(0, 1),))])
    found = tuner.recommend()
    assert (found.values["model"], found.feasible) == ("b", False)


def test_what_is_costly_to_change_is_changed_seldom_and_only_where_it_pays() -> None:
    cheap, dear = (
        MixtureTuner(Space(model=Choice("a", "b", "c", change_cost=cost)), START, seed=4) for cost in (0.0, 5.0)
    )
    changes = []
    for tuner in (cheap, dear):
        chosen = live(tuner, plain, 600, 4)
        changes.append(sum(a != b for a, b in pairwise(chosen)))
    assert changes[1] <= 600 / HOLD
    assert changes[1] < changes[0]
    assert dear.recommend().values == {"model": "b"}
    unpaid = MixtureTuner(Space(model=Choice("a", "b", "c", change_cost=HORIZON)), START, seed=4)
    unpaid.update([Trial({"model": m}, plain(m, 0)) for m in "abc" * 100])
    assert unpaid.recommend().values == START
    policy = dear.policy(1.0, 16)
    assert len({str(policy.pick((("x", x / 10),), u / 100).values) for x in range(-20, 20) for u in range(100)}) == 1


# --- twins, dumps -----------------------------------------------------------------------------------------------------


def odd_trials(dice: random.Random, count: int) -> list[Trial]:
    return [
        Trial({"model": dice.choice("abc")}, dice.random(), context(dice)[0], (dice.random() - 0.5,))
        for _ in range(count)
    ]


@given(st.integers(0, 2**32 - 1), st.integers(0, 120))
@settings(max_examples=15, deadline=None)
def test_whoever_loads_a_dump_goes_on_as_the_one_that_wrote_it(seed: int, n: int) -> None:
    one = MixtureTuner(SPACE, START, seed=seed, constraints=1)
    twin = MixtureTuner(SPACE, START, seed=seed, constraints=1)
    one.update(odd_trials(random.Random(seed), n))
    twin.update(odd_trials(random.Random(seed), n))
    other = MixtureTuner(SPACE, START, seed=seed + 1, constraints=1)
    assert other.load(one.dump()) == ()
    assert other.dump() == one.dump() == twin.dump()
    more = odd_trials(random.Random(seed + 1), 60)
    for trial in more:
        suggested = {str(each.suggest(trial.context)) for each in (one, twin, other)}
        assert len(suggested) == 1
        for each in (one, twin, other):
            each.update([trial])
    assert one.policy(0.5, 4) == other.policy(0.5, 4)
    assert one.recommend(more[0].context) == other.recommend(more[0].context)


def test_a_changed_space_keeps_what_is_still_true_and_says_what_it_dropped() -> None:
    old = MixtureTuner(Space(model=Choice("a", "b", "c"), k=Integer(1, 2)), {"model": "a", "k": 1}, seed=1)
    score = {"a": 0.3, "b": 0.9, "c": 0.6}
    old.update([Trial({"model": m, "k": k}, score[m]) for m in "abc" for k in (1, 2)] * 20)
    new = MixtureTuner(Space(model=Choice("a", "c", "d"), mode=Choice("x", "y")), {"model": "a", "mode": "x"})
    said = new.load(old.dump())
    assert any("k, which is no tunable any more" in word for word in said)
    assert any("model='b'" in word for word in said)
    assert new.recommend().values == {"model": "c", "mode": "x"}
    assert new.expected({"model": "c", "mode": "x"}) == pytest.approx(0.6, abs=0.05)
    assert abs(new.expected({"model": "d", "mode": "x"}) - 0.6) > 0.05


def test_fewer_estimates_fit_where_there_are_more_options_and_it_says_so() -> None:
    dice = random.Random(1)
    wide = MixtureTuner(Space(model=Choice("a", "b")), START, seed=1)
    for k in range(400):
        given_: Context = (*((f"n{j}", dice.gauss(0, 1)) for j in range(20)), ("user", f"u{k}"))
        wide.update([Trial({"model": "ab"[k % 2]}, float(k % 2) + 0.1 * dice.gauss(0, 1), given_)])
    many = MixtureTuner(Space(model=Choice("a", "b", *(f"m{k}" for k in range(60)))), START)
    assert any("no more room" in word for word in many.load(wide.dump()))
    assert many.recommend().values == {"model": "b"}
    assert many.suggest(given_)["model"] in {"a", "b", *(f"m{k}" for k in range(60))}
    many.update([Trial({"model": "m1"}, 0.5, given_)])
    plainly = MixtureTuner(Space(model=Choice("a", "b")), START, contextual=False)
    assert any("contexts are not to matter" in word for word in plainly.load(wide.dump()))
    assert plainly.recommend(given_) == plainly.recommend()
    assert plainly.expected({"model": "b"}) == pytest.approx(1.0, abs=0.05)


def test_new_constraints_drop_what_was_seen_and_it_says_so() -> None:
    old = MixtureTuner(SPACE, START)
    live(old, plain, 50, 1)
    new = MixtureTuner(SPACE, START, constraints=1)
    assert any("constraints" in word for word in new.load(old.dump()))
    assert new.recommend().evidence == 0
    back = MixtureTuner(SPACE, START)
    new.update(odd_trials(random.Random(1), 30))
    assert back.load(new.dump()) == ()
    assert back.recommend().evidence == 30


def test_what_is_no_dump_is_refused_without_a_change() -> None:
    tuner = MixtureTuner(SPACE, START)
    live(tuner, plain, 30, 1)
    kept = tuner.dump()
    for state in (b"", b"\0", b"{}", kept[:-5], kept[:20], kept[:8] + b"\xff" * 30, b"POETmix1" + bytes(50)):
        with pytest.raises(ValueError, match="no state of a MixtureTuner"):
            tuner.load(state)
    assert tuner.dump() == kept


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_odd_trials_are_passed_over_and_counted() -> None:
    tuner = MixtureTuner(SPACE, START)
    before = tuner.dump()
    odd = [
        Trial({"model": "a"}, math.nan),
        Trial({"model": "a"}, math.inf),
        Trial({"model": "zzz"}, 1.0),
        Trial({}, 1.0),
        Trial({"model": "a"}, 1.0, (), (0.5,)),
    ]
    tuner.update(odd)
    assert tuner.recommend().evidence == 0
    assert any(note.startswith("5 trials passed over") for note in tuner.notes())
    assert len(tuner.dump()) < len(before) + 10


@pytest.mark.parametrize(("share", "tries"), [(-0.1, 1), (1.1, 1), (math.nan, 1), (0.5, 0)])
def test_policies_need_a_share_and_tries(share: float, tries: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        MixtureTuner(SPACE, START).policy(share, tries)


def test_a_policy_tries_each_option_as_often_as_it_may_be_the_best() -> None:
    """4000 tries; without a context they are normal draws, here as wide as believed.

    Apart by more than 5 standard errors once in a million.
    """
    tuner, n = MixtureTuner(SPACE, START, seed=6, contextual=False, temper=1.0), 4000
    live(tuner, plain, 60, 6)
    policy, own = tuner.policy(1.0, n), tuner.recommend().values
    tried = [str({**own, **policy.pick((), (k + 0.5) / n).values}["model"]) for k in range(n)]
    dice, told = np.random.default_rng(1), []
    for model in "abc":
        mean, deviation = tuner.expected({"model": model}), spread(tuner, model)
        told.append(mean + deviation * dice.standard_normal(n))
    best = np.bincount(np.argmax(told, axis=0), minlength=3) / n
    for model, p in zip("abc", best, strict=True):
        q = tried.count(model) / n
        assert abs(p - q) < 5 * math.sqrt((p * (1 - p) + q * (1 - q)) / n) + 1e-9
    assert pickle.loads(pickle.dumps(policy)) == policy


def spread(tuner: MixtureTuner, model: str) -> float:
    """Standard deviation of an option's mean, as believed."""
    return math.sqrt(float(tuner._told(())[1]["abc".index(model), 0]))


def test_tries_by_context_differ_and_most_are_what_is_best_there() -> None:
    tuner, n = MixtureTuner(SPACE, START, seed=6), 2000
    live(tuner, by_context, 60, 6)
    policy, own = tuner.policy(1.0, n), tuner.recommend().values
    for x, best in ((-1.5, "a"), (1.5, "b")):
        given_: Context = (("x", x), ("lang", "d"), ("flag", True))
        tried = [str({**own, **policy.pick(given_, (k + 0.5) / n).values}["model"]) for k in range(n)]
        assert n / 2 < tried.count(best) < n
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize("seed", range(4))
def test_large_differences_under_little_noise_are_found(seed: int) -> None:
    """22 options, noise 0.1, differences up to 1.5: none is given up after one bad score, none kept after a good one.

    A neighbour of the best, 0.02 below it, is a fifth of a standard deviation off and may still be tried.
    """
    space = Space(x=Real(0.0, 1.0, step=0.1), m=Choice("a", "b"))
    tuner, dice, lost = MixtureTuner(space, {"x": 0.5, "m": "a"}, seed=seed), random.Random(seed), []
    for _ in range(1000):
        values = tuner.suggest()
        loss = 2 * (float(values["x"]) - 0.2) ** 2 + 0.2 * (values["m"] == "a")
        lost.append(loss)
        tuner.update([Trial(values, 1.0 - loss + dice.gauss(0, 0.1))])
    assert sum(lost[500:]) / 500 < 0.03
    assert sum(lost) / 1000 < 0.06


def test_a_policy_names_what_differs_from_what_calls_use_anyway() -> None:
    tuner = MixtureTuner(SPACE, START, seed=6)
    live(tuner, plain, 300, 6)
    assert tuner.policy(0.0, 1).pick((), 0.5) == Pick(0, {})
    assert tuner.policy(0.0, 1, {"model": "a"}).pick((), 0.5) == Pick(0, {"model": "b"})


def test_a_policy_tells_what_its_tries_lose() -> None:
    """Against the means over 2000 calls' contexts; the contexts it is told by are 32, so a third of it may differ."""
    tuner, dice = MixtureTuner(SPACE, START, seed=6), random.Random(1)
    live(tuner, by_context, 60, 6)
    policy, own, lost = tuner.policy(1.0, 50), tuner.recommend().values, 0.0
    for _ in range(2000):
        given_, _ = context(dice)
        values = {**own, **policy.pick(given_, dice.random()).values}
        lost += tuner.recommend(given_).mean - tuner.expected(values, given_)
    assert policy.loss == pytest.approx(lost / 2000, rel=0.5, abs=0.01)
    assert tuner.policy(0.0, 1).loss == 0.0
    assert MixtureTuner(SPACE, START).policy(1.0, 3).loss == 0.0


def size(thing: object, seen: set[int]) -> int:
    """Bytes of an object and of what it holds, but for what the interpreter shares."""
    if id(thing) in seen or isinstance(thing, type | Space | np.random.Generator):
        return 0
    seen.add(id(thing))
    whole = sys.getsizeof(thing)
    if isinstance(thing, dict):
        whole += sum(size(k, seen) + size(v, seen) for k, v in thing.items())
    elif isinstance(thing, list | tuple | set):
        whole += sum(size(each, seen) for each in thing)
    elif hasattr(thing, "__dict__") or hasattr(thing, "__slots__"):
        names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
        whole += sum(size(getattr(thing, name, None), seen) for name in names)
    return whole


@pytest.mark.parametrize("arms", [2, 9, 64])
def test_memory_and_dump_stay_small_whatever_comes(arms: int) -> None:
    options = [f"m{k}" for k in range(arms)]
    tuner = MixtureTuner(Space(model=Choice(*options)), {"model": "m0"}, constraints=2)
    dice = random.Random(1)
    for k in range(3000):
        given_: Context = (
            ("user", f"u{k}"),
            *((f"n{j}", dice.random()) for j in range(25)),
            ("tag", dice.choice("ab")),
        )
        tuner.update([Trial({"model": dice.choice(options)}, dice.random(), given_, (dice.random(), -dice.random()))])
    tuner.suggest(given_)
    assert size(tuner, set()) < 200_000
    assert len(tuner.dump()) < 64_000
    assert list(tuner.notes())
