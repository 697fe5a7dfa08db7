from __future__ import annotations

import math
import pickle
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.learning.online_learner import OnlineLearner, StatisticalOnlineLearner
from poet.model.execution import Attempt, Outcome
from poet.model.feedback import ExecutionFeedback
from poet.model.objective import Objective
from poet.model.tunable import Choice, Integer, Real, Value

FREE = Objective(latency_cost=0.0)
UNIT = {"x": Real(0.0, 1.0), "y": Real(0.0, 1.0)}


def feedback(quality: float, used: dict[str, Any], name: str = "f", **more: Any) -> ExecutionFeedback:
    return ExecutionFeedback(name, "", True, 0.1, output_quality=quality, parameters_used=used, **more)


def bowl(p: dict[str, Any], top: tuple[float, float] = (0.7, 0.35)) -> float:
    return 0.95 - (p["x"] - top[0]) ** 2 - (p["y"] - top[1]) ** 2


def climbed(learner: StatisticalOnlineLearner, calls: int, seed: int, top: tuple[float, float]) -> list[dict[str, Any]]:
    dice = random.Random(seed)
    p: dict[str, Any] = {"x": 0.4, "y": 0.6}
    path = []
    for _ in range(calls):
        path.append(p)
        p = learner.update_parameters(feedback(bowl(p, top) + dice.gauss(0, 0.05), p), p)
    return path


# --- update_parameters ------------------------------------------------------------------------------------------------


def test_it_climbs_a_noisy_bowl() -> None:
    """In each of 10 seeds the mean regret of 300 calls is below 0.6 of the start's, of the last 50 of 600 below 0.3."""
    for seed in range(10):
        top = (random.Random(seed).uniform(0.6, 0.8), random.Random(seed).uniform(0.2, 0.4))
        path = climbed(StatisticalOnlineLearner(space=UNIT, objective=FREE, seed=seed), 600, seed, top)
        lost = [0.95 - bowl(p, top) for p in path]
        assert sum(lost[:300]) / 300 < 0.6 * lost[0]
        assert sum(lost[-50:]) / 50 < 0.3 * lost[0]


def test_without_exploration_and_without_variation_nothing_moves_and_it_says_that_it_does_not_know() -> None:
    learner = StatisticalOnlineLearner(exploration_rate=0.0, space=UNIT, objective=FREE)
    p: dict[str, Any] = {"x": 0.4, "y": 0.6}
    for _ in range(200):
        p = learner.update_parameters(feedback(0.5, p), p)
    assert p == {"x": 0.4, "y": 0.6}
    assert learner.statistics()["f"]["gradients"]["x"].value == 0.0


def test_twins_agree_and_a_pickle_forgets_nothing() -> None:
    one, two = (StatisticalOnlineLearner(space=UNIT, objective=FREE, seed=3) for _ in range(2))
    assert climbed(one, 100, 0, (0.7, 0.3)) == climbed(two, 100, 0, (0.7, 0.3))
    three = pickle.loads(pickle.dumps(one))
    p = {"x": 0.5, "y": 0.5}
    assert one.update_parameters(feedback(0.6, p), p) == three.update_parameters(feedback(0.6, p), p)
    assert one.thompson_sampling("x", [0.1, 0.2]) == three.thompson_sampling("x", [0.1, 0.2])


def test_functions_share_nothing() -> None:
    """What the ancestor leaked: momentum and rates by parameter name. The other function's life is as if alone."""
    alone, both = StatisticalOnlineLearner(seed=1), StatisticalOnlineLearner(seed=1)
    quiet: dict[str, Any] = {"timeout": 30.0, "retries": 3, "size": 40}
    noisy, twin = dict(quiet), dict(quiet)
    for number in range(60):
        failed = ExecutionFeedback("noisy", "", False, 30.0, error_type="TimeoutError")
        noisy = both.update_parameters(failed, noisy)
        told = ExecutionFeedback("quiet", "", True, 0.1 + 0.001 * number)
        quiet, twin = both.update_parameters(told, quiet), alone.update_parameters(told, twin)
        assert quiet == twin
    assert noisy["timeout"] > 30.0
    assert both.learning_rates["noisy:timeout"] != both.learning_rates["quiet:timeout"]


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**400), 10**400),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), ODD, ODD, ODD, st.sampled_from((None, "TimeoutError", "E"))), max_size=30),
    st.dictionaries(st.sampled_from(("timeout", "retries", "rate", "flag", "name", "size", "zero")), ODD),
)
def test_odd_feedback_harms_nothing(rows: list[tuple[Any, ...]], current: dict[str, Any]) -> None:
    learner = StatisticalOnlineLearner()
    for success, seconds, quality, satisfaction, error in rows:
        told = ExecutionFeedback(
            "f", "", success, seconds, output_quality=quality, user_satisfaction=satisfaction, error_type=error
        )
        before = dict(current)
        after = learner.update_parameters(told, current)
        assert repr(current) == repr(before)
        assert list(after) == list(current)
        for name, value in after.items():
            assert type(value) is type(current[name]) or (name, type(current[name])) == ("timeout", int)
            if isinstance(value, float) and math.isfinite(current[name]) and abs(current[name]) < 1e300:
                assert math.isfinite(value)
    learner.statistics()
    learner.get_learning_stats()


def test_what_was_odd_is_counted_by_what_was_odd() -> None:
    learner = StatisticalOnlineLearner()
    for seconds in (-1.0, math.nan, 1e9, "3"):
        told = ExecutionFeedback("f", "", True, seconds, output_quality=math.nan)  # type: ignore[arg-type]
        learner.update_parameters(told, {})
    assert learner.statistics()["f"]["left_out"] == {
        "execution_time negative": 1,
        "execution_time nan": 1,
        "execution_time too large": 1,
        "execution_time no number but a str": 1,
        "output_quality nan": 4,
    }


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), min_size=1, max_size=80), st.integers(0, 99))
def test_bounds_and_kinds_hold_whatever_the_scores(rows: list[tuple[float, float]], seed: int) -> None:
    space = {"x": Real(0.2, 0.4), "k": Integer(2, 6), "b": Real(0.5, 50.0, log=True), "m": Choice("a", "b")}
    learner = StatisticalOnlineLearner(0.5, exploration_rate=1.0, space=space, seed=seed)
    p: dict[str, Any] = {"x": 0.3, "k": 3, "b": 5.0, "m": "a", "flag": True, "timeout": 30.0, "retries": 3}
    for quality, seconds in rows:
        told = ExecutionFeedback("f", "", quality > 0.2, seconds, output_quality=quality)
        p = learner.update_parameters(told, p)
        assert 0.2 <= p["x"] <= 0.4
        assert p["k"] in range(2, 7)
        assert 0.5 <= p["b"] <= 50.0
        assert (p["m"], p["flag"]) == ("a", True)
        assert 0.001 <= p["timeout"] <= 300.0
        assert p["retries"] in range(6)
    assert all(0.05 <= rate <= 2.0 for rate in learner.learning_rates.values())


def test_a_value_that_somebody_else_set_is_gone_on_from() -> None:
    learner = StatisticalOnlineLearner(exploration_rate=0.0)
    p = {"timeout": 30.0}
    for _ in range(20):
        p = learner.update_parameters(ExecutionFeedback("f", "", True, 1.0), p)
    after = learner.update_parameters(ExecutionFeedback("f", "", True, 1.0), {"timeout": 77.7})
    assert 60 < after["timeout"] <= 77.7


def test_values_outside_a_declared_range_are_brought_in() -> None:
    learner = StatisticalOnlineLearner(space={"x": Real(0.0, 1.0)}, exploration_rate=0.0)
    assert learner.update_parameters(ExecutionFeedback("f", "", True, 1.0), {"x": 7.0}) == {"x": 1.0}


def test_a_change_is_noticed_and_withdraws_convergence() -> None:
    learner = StatisticalOnlineLearner(space=UNIT, objective=FREE, seed=2)
    dice = random.Random(2)
    p: dict[str, Any] = {"x": 0.7, "y": 0.35}
    for _ in range(900):
        p = learner.update_parameters(feedback(bowl(p) + dice.gauss(0, 0.02), p), p)
    assert learner.detect_convergence("x") is True
    assert learner.statistics()["f"]["drifts"] == 0
    noticed = None
    for number in range(200):
        p = learner.update_parameters(feedback(bowl(p, (0.2, 0.35)) + dice.gauss(0, 0.02), p), p)
        if noticed is None and learner.statistics()["f"]["drifts"]:
            noticed = number
            assert learner.detect_convergence("x") is False
    assert noticed is not None
    assert noticed < 30


def test_a_statistic_of_gain_is_what_scores_have_gained() -> None:
    learner = StatisticalOnlineLearner(space=UNIT, objective=FREE, seed=4)
    scores = [bowl(p, (0.75, 0.25)) for p in climbed(learner, 400, 4, (0.75, 0.25))]
    told = learner.statistics()["f"]
    assert told["calls"] == 400
    assert told["drifts"] == 0
    assert told["gain"].low < sum(scores[-50:]) / 50 - sum(scores[:50]) / 50 < told["gain"].high
    assert told["improvements"] >= 1


def test_without_any_change_gains_are_chance_at_the_stated_rate() -> None:
    """Improvements and setbacks of 100 lives of 8 epochs: 5 % each of 700 comparisons, within 4 standard errors."""
    found: Counter[str] = Counter()
    for seed in range(100):
        learner, dice = StatisticalOnlineLearner(seed=seed), random.Random(seed)
        for _ in range(400):
            learner.update_parameters(ExecutionFeedback("f", "", True, 1.0, output_quality=dice.gauss(0.5, 0.1)), {})
        told = learner.statistics()["f"]
        found.update({name: told[name] for name in ("improvements", "setbacks", "drifts")})
    limit = 4 * math.sqrt(700 * 0.05 * 0.95)
    assert abs(found["improvements"] - 35) < limit
    assert abs(found["setbacks"] - 35) < limit
    assert found["drifts"] <= 2  # of 40 000 calls


# --- the three methods ------------------------------------------------------------------------------------------------


def test_an_average_leans_to_what_did_well() -> None:
    learner = StatisticalOnlineLearner()
    assert learner.exponential_weighted_moving_average("timeout", 10.0, 0.5) == 10.0
    dice = random.Random(0)
    for _ in range(300):
        value = dice.uniform(0, 30)
        found = learner.exponential_weighted_moving_average("timeout", value, -abs(value - 24.0))
    assert 18 < found < 25
    interval = learner.confidence_intervals["timeout"]
    assert interval.low < found < interval.high
    assert interval.n == 301
    assert learner.parameter_estimators["timeout"].values.mean == found
    assert learner.learning_rates["timeout"] == 0.05


@pytest.mark.parametrize(("value", "score"), [(math.nan, 1.0), (1.0, math.inf), ("3", 1.0), (None, 1.0), (True, 1.0)])
def test_an_average_of_what_is_no_number_is_refused(value: Any, score: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a finite number"):
        StatisticalOnlineLearner().exponential_weighted_moving_average("x", value, score)


@pytest.mark.parametrize("binary", [True, False])
def test_sampling_settles_on_the_best_candidate_and_keeps_looking_at_the_others_at_first(binary: bool) -> None:
    chances: dict[Value, float] = {1.0: 0.3, 2.0: 0.8, 3.0: 0.5}
    chosen: list[float] = []
    learner, dice = StatisticalOnlineLearner(seed=5), random.Random(5)
    for _ in range(400):
        value = learner.thompson_sampling("k", list(chances))
        chosen.append(value)
        score = float(dice.random() < chances[value]) if binary else chances[value] + dice.gauss(0, 0.2)
        learner.exponential_weighted_moving_average("k", value, score)
    assert set(chosen[:60]) == {1.0, 2.0, 3.0}
    assert chosen[-100:].count(2.0) > 70


def test_sampling_is_by_function_and_gives_back_the_candidate_itself() -> None:
    learner = StatisticalOnlineLearner()
    for _ in range(50):
        learner.exponential_weighted_moving_average("k", 1, 1.0, function_name="f")
        learner.exponential_weighted_moving_average("k", 2, 0.1, function_name="f")
    ours = Counter(learner.thompson_sampling("k", (1, 2), function_name="f") for _ in range(200))
    theirs = Counter(learner.thompson_sampling("k", (1, 2), function_name="g") for _ in range(200))
    assert ours[1] > 190
    assert 60 < theirs[1] < 140
    assert learner.thompson_sampling("m", ["small"]) == "small"
    with pytest.raises(ConfigurationError, match="candidate_values of k are empty"):
        learner.thompson_sampling("k", [])


def test_sampling_knows_what_calls_were_made_with() -> None:
    learner = StatisticalOnlineLearner()
    for number in range(80):
        used = {"k": 1.0 + number % 2}
        told = ExecutionFeedback("f", "", number % 2 == 0, 0.1, parameters_used=used)
        learner.update_parameters(told, {"k": used["k"]})
    assert Counter(learner.thompson_sampling("k", (1.0, 2.0), function_name="f") for _ in range(100))[1.0] > 95


def test_choices_are_sampled_from_what_calls_and_records_tell() -> None:
    learner, dice = StatisticalOnlineLearner(seed=9), random.Random(9)
    mode = "small"
    for _ in range(150):
        mode = learner.thompson_sampling("mode", ["small", "large"], function_name="f")
        told = feedback((0.8 if mode == "large" else 0.4) + dice.gauss(0, 0.1), {"mode": mode})
        assert learner.update_parameters(told, {"mode": mode}) == {"mode": mode}
        stream = learner.thompson_sampling("stream", [True, False])
        learner.record("stream", stream, float(stream))
    late = [learner.thompson_sampling("mode", ["small", "large"], function_name="f") for _ in range(100)]
    assert late.count("large") > 90
    assert [learner.thompson_sampling("stream", [True, False]) for _ in range(100)].count(True) > 90
    assert learner.learning_rates == learner.confidence_intervals == {}
    with pytest.raises(ConfigurationError, match="performance_score must be a finite number, got nan"):
        learner.record("stream", True, math.nan)


def test_only_so_many_values_are_told_apart() -> None:
    learner = StatisticalOnlineLearner()
    for number in range(5000):
        learner.exponential_weighted_moving_average("k", float(number), 1.0)
    assert len(pickle.dumps(learner)) < 12_000


SPACE = {"rate": {"low": 0.001, "high": 1.0, "log": True}, "k": (1, 9), "mode": ["a", "b", "c"]}


def worth(p: dict[str, Any]) -> float:
    return 1 - 0.1 * (math.log10(p["rate"]) + 2) ** 2 - 0.01 * (p["k"] - 7) ** 2 - 0.3 * (p["mode"] != "b")


def test_optimisation_finds_a_good_setting_in_forty_trials() -> None:
    """Mean regret of the recommendation over 5 seeds below a tenth of the first trial's."""
    lost = []
    for seed in range(5):
        learner, dice = StatisticalOnlineLearner(seed=seed), random.Random(seed)
        history: list[tuple[dict[str, Any], float]] = []
        for _ in range(40):
            p = learner.bayesian_optimization(SPACE, history)
            assert 0.001 <= p["rate"] <= 1.0
            assert p["k"] in range(1, 10)
            assert p["mode"] in ("a", "b", "c")
            history.append((p, worth(p) + dice.gauss(0, 0.05)))
        best = learner.bayesian_optimization(SPACE, history, explore=False)
        assert best in [tried for tried, _ in history]
        lost.append(1 - worth(best))
    assert sum(lost) / 5 < 0.1 * (1 - worth(history[0][0]))


def test_optimisation_begins_in_the_middle_and_reads_several_kinds_of_rows() -> None:
    learner = StatisticalOnlineLearner()
    first = learner.bayesian_optimization(SPACE, [])
    assert first == {"rate": pytest.approx(0.0316, rel=1e-3), "k": 5, "mode": "a"}
    p = {"rate": 0.1, "k": 3, "mode": "b"}
    rows = [
        (p, 0.5),
        {"parameters": p, "score": 0.5},
        {"parameter_values": p, "performance_score": 0.5},
        {**p, "performance": 0.5},
        {"parameters": p, "success": True},
    ]
    found = [learner.bayesian_optimization(SPACE, [row], explore=False) for row in rows]
    assert found == [p] * 5
    nothing = [(p, math.nan), ({"rate": 0.1}, 1.0), {"parameters": p}, "row", (p, "high"), None]
    assert learner.bayesian_optimization(SPACE, nothing) == first
    assert learner.bayesian_optimization(SPACE, rows) == learner.bayesian_optimization(SPACE, rows)


@pytest.mark.parametrize("space", [{}, {"x": 3}, {"x": (5, 1)}, {"x": {"low": 1}}])
def test_optimisation_of_no_space_is_refused(space: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        StatisticalOnlineLearner().bayesian_optimization(space, [])


# --- at the door ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_learning_rate", 0.0),
        ("base_learning_rate", math.nan),
        ("momentum", 1.0),
        ("confidence_threshold", 1.0),
        ("exploration_rate", -0.1),
        ("convergence_threshold", -1.0),
        ("half_life", 1.0),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name} must be in .*, got {value!r}"):
        StatisticalOnlineLearner(**{name: value})


def test_it_stands_beside_the_online_learner() -> None:
    assert not issubclass(StatisticalOnlineLearner, OnlineLearner)
    with pytest.raises(ImportError, match="cannot import name 'StatisticalLearner'"):
        from poet.learning.online_learner import StatisticalLearner  # type: ignore[attr-defined]  # noqa: F401


def test_what_attempts_tell_counts() -> None:
    """Errors that no retry ever mends take retries away, those that one mends add them."""
    ends = {}
    for mends in (True, False):
        learner, dice = StatisticalOnlineLearner(), random.Random(6)
        p: dict[str, Any] = {"timeout": 30.0, "retries": 2}
        for _ in range(150):
            attempts = []
            doomed = not mends and dice.random() < 0.5
            for _ in range(p["retries"] + 1):
                failed = doomed or (mends and dice.random() < 0.5)
                attempts.append(Attempt(Outcome.ERROR if failed else Outcome.SUCCESS, 0.1))
                if not failed:
                    break
            good = attempts[-1].outcome is Outcome.SUCCESS
            told = ExecutionFeedback("f", "", good, 0.1 * len(attempts), attempts=attempts)
            p = learner.update_parameters(told, p)
        ends[mends] = p["retries"]
    assert ends[True] > 2 > ends[False]
