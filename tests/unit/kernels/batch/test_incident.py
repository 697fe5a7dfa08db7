import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.batch.incident import Calls, Signal, culprits, explain, group, shifts, slow


def test_alarms_that_belong_together_are_one_incident():
    found = group(
        {
            "latency": Signal([0, 60, 120, 180, 240, 3000], [1, 8, 9, 3, 1, 6], 5.0),
            "failures": Signal([100, 160, 400], [7, 3, 0], 5.0),
        },
        gap=300,
    )
    assert [(each.start, each.end) for each in found] == [(60, 180), (3000, 3000)]
    assert [voice.series for voice in found[0].voices] == ["latency", "failures"]
    assert found[0].voices[0].peak == pytest.approx(9)
    assert 0.5 < found[1].severity < found[0].severity < 1


def test_no_alarm_is_no_incident():
    assert group({}, gap=60) == ()
    assert group({"a": Signal([], [], 5.0)}, gap=60) == ()
    assert group({"a": Signal([1, math.nan, 3], [4.9, 9, math.nan], 5.0)}, gap=60) == ()


def test_what_cannot_be_grouped_is_refused():
    with pytest.raises(ValueError, match="gap"):
        group({}, gap=0)
    with pytest.raises(ValueError, match="threshold"):
        group({"a": Signal([1], [1], 0.0)}, gap=1)
    with pytest.raises(ValueError, match="one length"):
        group({"a": Signal([1, 2], [1], 1.0)}, gap=1)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 10_000), st.floats(0, 10)), max_size=50))
def test_incidents_are_apart_and_hold_every_alarm(points):
    signals = {
        name: Signal([t for n, t, _ in points if n == name], [s for n, _, s in points if n == name], 5.0)
        for name in "ab"
    }
    found = group(signals, gap=200)
    assert all(later.start - earlier.end > 200 for earlier, later in pairwise(found))
    for _, time, surprise in points:
        assert surprise < 5 or any(each.start <= time <= each.end for each in found)


def calls(number, seed, chance, mix=(0.9, 0.1)):
    rng = np.random.default_rng(seed)
    features = {
        "context": rng.choice(["a", "b", "c", "d"], number),
        "version": rng.choice(["1", "2"], number, p=mix),
        "region": rng.choice([f"r{place}" for place in range(30)], number),
    }
    return features, rng.random(number) < chance(features)


def quiet(features):
    return np.full(len(features["context"]), 0.02)


def explained(chance, mix=(0.9, 0.1), seed=1):
    before, was = calls(5000, seed, quiet)
    during, now = calls(3000, seed + 1, chance, mix)
    return explain(before, during, was, now)


def test_a_context_that_fails_is_named():
    found = explained(lambda of: np.where(of["context"] == "a", 0.1, 0.02))
    assert [each.where for each in found] == [(("context", "a"),)]
    assert found[0].share == pytest.approx(1, abs=0.3)
    assert found[0].low < found[0].during - found[0].before < found[0].high


def test_a_pair_is_named_where_only_the_pair_fails():
    found = explained(lambda of: np.where((of["context"] == "a") & (of["version"] == "2"), 0.3, 0.02))
    assert set(found[0].where) == {("context", "a"), ("version", "2")}


def test_two_causes_are_both_named():
    found = explained(lambda of: np.where((of["context"] == "a") | (of["version"] == "2"), 0.15, 0.02))
    assert {each.where for each in found} == {(("context", "a"),), (("version", "2"),)}


def test_what_fails_everywhere_is_no_slice():
    assert explained(lambda of: np.full(len(of["context"]), 0.1)) == ()


def test_a_shift_of_the_mix_is_no_worsening_of_a_slice():
    def risky(of):
        return np.where(of["version"] == "2", 0.3, 0.02)

    before, was = calls(5000, 1, risky)
    rng = np.random.default_rng(5)
    during, _ = calls(5000, 2, risky)
    during["version"] = np.where(
        during["context"] == "a", rng.choice(["1", "2"], 5000, p=[0.2, 0.8]), during["version"]
    )
    now = rng.random(5000) < risky(during)
    assert now[during["context"] == "a"].mean() > 2 * now[during["context"] == "b"].mean()
    assert explain(before, during, was, now) == ()


def test_a_shift_of_the_mix_is_told_as_such():
    def risky(of):
        return np.where(of["version"] == "2", 0.3, 0.02)

    before, was = calls(5000, 1, risky, (0.9, 0.1))
    during, now = calls(5000, 2, risky, (0.6, 0.4))
    assert explain(before, during, was, now) == ()
    found = shifts(before, during, was)
    assert (found[0].feature, found[0].value) == ("version", "2")
    assert sum(each.effect for each in found) == pytest.approx(now.mean() - was.mean(), abs=0.03)
    assert shifts(before, before, was) == ()
    assert shifts({}, {}, []) == ()
    assert shifts({"a": []}, {"a": []}, []) == ()
    with pytest.raises(ValueError, match="value per call"):
        shifts({"a": [1]}, {"a": [1]}, [])


def test_a_new_version_that_fails_is_named():
    before, was = calls(5000, 1, quiet, (1.0, 0.0))
    during, now = calls(3000, 2, lambda of: np.where(of["version"] == "2", 0.2, 0.02), (0.5, 0.5))
    assert explain(before, during, was, now)[0].where == (("version", "2"),)


# 200 pairs of histories in which nothing changed: at 5 % false discoveries, more than 20 have a chance of 0.001.
def test_nothing_is_named_where_nothing_changed():
    named = 0
    for seed in range(200):
        before, was = calls(1000, seed, quiet)
        during, now = calls(800, 10_000 + seed, quiet)
        named += bool(explain(before, during, was, now))
    assert named <= 20


def test_few_calls_name_nothing():
    before, was = calls(300, 1, quiet)
    assert explain(before, {name: values[:3] for name, values in before.items()}, was, [True] * 3) == ()
    assert explain({}, {}, [], []) == ()
    assert explain(before, {name: values[:0] for name, values in before.items()}, was, []) == ()
    assert explain({}, {}, was, was) == ()


def test_a_feature_with_a_value_per_call_names_nothing():
    before, was = calls(2000, 1, quiet)
    during, now = calls(2000, 2, quiet)
    before["id"], during["id"] = np.arange(2000), np.arange(2000, 4000)
    assert explain(before, during, was, now) == ()


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="value per call"):
        explain({"a": [1, 2]}, {"a": [1]}, [True], [True])


def test_slow_is_slower_than_nearly_all_before():
    was, now = slow(np.arange(100.0), [10.0, 98.0, math.nan])
    assert was.sum() == 5
    assert now.tolist() == [False, True, True]
    assert slow([], [1.0])[1].tolist() == [False]


USUAL = {  # caller, callee: median [s], calls
    ("", "front"): (0.2, 100),
    ("front", "cart"): (0.02, 100),
    ("front", "pay"): (0.05, 30),
    ("front", "ads"): (0.01, 100),
    ("pay", "bank"): (0.03, 30),
}


def made(change=(), drop=(), failing=(), seed=0):
    """Calls as usual; change: by pair, seconds more; drop: share of its calls that come; failing: share that fails."""
    rng = np.random.default_rng(seed)
    caller, callee, seconds, failed = [], [], [], []
    for pair, (median, number) in USUAL.items():
        number = int(number * dict(drop).get(pair, 1.0))
        caller += [pair[0]] * number
        callee += [pair[1]] * number
        seconds += (median * rng.lognormal(0, 0.2, number) + dict(change).get(pair, 0.0)).tolist()
        failed += (rng.random(number) < dict(failing).get(pair, 0.01)).tolist()
    return Calls(caller, callee, seconds, failed)


def first(**given):
    found = culprits(made(), made(seed=1, **given))
    return found[0].service, found[0]


def test_who_only_waits_is_not_blamed():
    slow = 0.5
    name, found = first(change={("pay", "bank"): slow, ("front", "pay"): slow, ("", "front"): 0.3 * slow})
    assert name == "bank"
    assert found.slower > 1


def test_who_is_slow_itself_is_blamed():
    assert first(change={("front", "pay"): 0.5, ("", "front"): 0.15})[0] == "pay"


def test_what_slows_all_calls_of_one_is_its_own_doing():
    alike = {("front", "cart"): 0.2, ("front", "pay"): 0.5, ("front", "ads"): 0.1, ("", "front"): 2.0}
    assert first(change=alike)[0] == "front"


def test_calls_that_do_not_come_any_more_speak_against_who_made_them():
    name, found = first(drop={("front", "cart"): 0.1, ("front", "pay"): 0.1, ("front", "ads"): 0.1})
    assert name == "front"
    assert found.missing > 1


def test_failures_are_laid_to_the_deepest():
    failing = {("pay", "bank"): 0.8, ("front", "pay"): 0.8, ("", "front"): 0.3}
    name, found = first(failing=failing)
    assert name == "bank"
    assert found.failing > 1


def test_no_calls_no_culprit():
    nothing = Calls([], [], [])
    assert culprits(nothing, nothing) == ()
    assert culprits(made(), nothing) == ()
    assert culprits(nothing, made()) == ()
    with pytest.raises(ValueError, match="one length"):
        culprits(Calls(["a"], [], []), nothing)
    with pytest.raises(ValueError, match="value per call"):
        culprits(Calls(["a"], ["b"], [1.0], []), nothing)


def test_odd_times_are_left_out():
    odd = Calls(["a"] * 6, ["b"] * 6, [1.0, 1.0, 1.0, 0.0, -1.0, math.nan])
    assert culprits(odd, odd) == ()
