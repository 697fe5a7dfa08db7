from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet import Objective
from poet.learning.batch import groups
from poet.learning.batch_learner import BatchLearner, PatternRecognitionEngine
from poet.model.insight import OptimizationInsights

DAY = 86_400.0


def analyse(rows: list[dict[str, Any]], **more: Any) -> OptimizationInsights:
    return BatchLearner(**more).analyze_execution_patterns([{"function": "f", **row} for row in rows])


def history(n: int = 2000, days: float = 14.0, seed: int = 1) -> list[dict[str, Any]]:
    """Calls in which nothing is to be found."""
    rng = np.random.default_rng(seed)
    return [
        {
            "timestamp": float(t),
            "success": bool(rng.random() > 0.05),
            "execution_time": float(rng.lognormal(-1.5, 0.3)),
            "parameters": {"batch": int(rng.integers(1, 64)), "model": str(rng.choice(["a", "b"]))},
            "context": {"region": str(rng.choice(["eu", "us"])), "items": float(rng.integers(1, 100))},
        }
        for t in np.sort(1.7e9 + rng.uniform(0, days * DAY, n))
    ]


def test_where_nothing_is_to_be_found_hardly_anything_is_told() -> None:
    """Ten histories, each with relations at 5 % of false discoveries and three series with alarms and shifts: more than
    four findings are rare (Poisson with mean 1: 0.4 %)."""
    told = [analyse(history(1000, seed=seed)) for seed in range(10)]
    assert sum(len(each) for each in told) <= 4, [str(x) for each in told for x in each]


def test_it_tells_the_same_again_and_leaves_rows_as_they_are() -> None:
    rows = history()
    before = [dict(row) for row in rows]
    assert analyse(rows) == analyse(rows) == analyse(rows[::-1])
    assert rows == before


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([], None),
        (history(1), "1 calls are too few"),
        (history(19), "19 calls are too few"),
        ([{**row, "success": False, "error_type": "OSError"} for row in history(500)], None),
        ([{**row, "execution_time": 0.1, "success": True} for row in history(500)], None),
        ([{**row, "timestamp": 1.7e9} for row in history(500)], "lie too thin"),
        ([{"timestamp": row["timestamp"], "success": True} for row in history(500)], "no relations"),
    ],
    ids=["empty", "one row", "few", "all failing", "constant", "one moment", "bare"],
)
def test_a_history_that_shows_nothing_says_so(rows: list[dict[str, Any]], word: str | None) -> None:
    told = analyse(rows)
    assert len([each for each in told if each.kind != "season"]) == 0
    if word is not None:
        assert any(word in said for each in told.functions for said in each.untold)


def test_gaps_disorder_doubles_and_mixed_versions_do_no_harm() -> None:
    rng = np.random.default_rng(3)
    rows = [
        {**row, "version": int(rng.integers(1, 4)), "timestamp": row["timestamp"] + (5 * DAY if i > 1000 else 0)}
        for i, row in enumerate(history())
    ]
    mixed = [*rows, *rows[:100]]
    rng.shuffle(mixed)  # type: ignore[arg-type]
    told = analyse(mixed)
    assert told.functions[0].left_out == {"told twice": 100}
    assert told.insights == analyse(rows).insights


def test_very_many_values_of_a_feature_stay_within_bounds() -> None:
    rows = [{**row, "context": {"user": f"u{i}"}} for i, row in enumerate(history(5000))]
    assert len(analyse(rows)) <= 1


def test_a_parameter_that_matters_is_told_as_a_correlation_unless_it_was_drawn_by_lot() -> None:
    rows = history(3000)
    for row in rows:
        row["success"] = bool(
            row["success"] and not (row["parameters"]["model"] == "b" and hash(row["timestamp"]) % 4 == 0)
        )
    (relation,) = [
        each for each in analyse(rows) if each.kind == "relation" and "failures" in str(each.facts["outcome"])
    ]
    assert "no proof of a cause" in relation.sentence
    assert relation.proposal is None
    drawn = analyse([{**row, "randomised": True, "propensity": 0.5} for row in rows])
    (effect,) = [each for each in drawn if each.kind == "effect"]
    assert effect.subject == "model"
    assert abs(effect.effect.value) > 0.1


def test_the_best_setting_that_was_drawn_is_proposed_with_its_gain() -> None:
    rng = np.random.default_rng(5)
    rows = [
        {
            **row,
            "randomised": True,
            "score": float(np.clip(rng.normal(0.8 if row["parameters"]["model"] == "b" else 0.6, 0.1), 0, 1)),
        }
        for row in history(1000)
    ]
    (effect,) = [each for each in analyse(rows, live={"f": {"model": "a"}}) if each.kind == "effect"]
    usual = effect.sentence
    assert ("model b instead of a gains" in usual) or ("model a instead of b costs" in usual)
    assert abs(abs(effect.effect.value) - 0.2) < 0.05


def test_what_a_call_is_worth_decides_the_order() -> None:
    rows = history(3000, 28.0)
    for row in rows:
        if row["timestamp"] > 1.7e9 + 14 * DAY:
            row["execution_time"] *= 1.5
            row["success"] = bool(row["success"] and hash(row["timestamp"]) % 10 > 1)
    patient = analyse(rows, objective=Objective(latency_cost=1e-6))
    hasty = analyse(rows, objective=Objective(latency_cost=100.0))
    assert patient.insights[0].subject == "failures"
    assert hasty.insights[0].subject == "latency"


ROW = st.fixed_dictionaries(
    {"timestamp": st.floats(0, 1e6)},
    optional={
        "success": st.booleans(),
        "execution_time": st.floats(0, 1e4) | st.just(math.nan),
        "parameters": st.dictionaries(st.sampled_from(["a", "b"]), st.floats(-5, 5) | st.text(max_size=2), max_size=2),
        "context": st.dictionaries(st.sampled_from(["c", "d"]), st.integers(0, 3) | st.text(max_size=2), max_size=2),
        "score": st.floats(0, 1),
        "error_type": st.sampled_from(["TimeoutError", "OSError"]),
        "randomised": st.booleans(),
    },
)


@given(st.lists(ROW, max_size=150), st.integers(1, 3))
@settings(deadline=None, max_examples=25)
def test_no_history_is_a_fault(rows: list[dict[str, Any]], times: int) -> None:
    told = analyse([{**row, "timestamp": row["timestamp"] + 7 * k} for k in range(times) for row in rows])
    assert not [said for each in told.functions for said in each.untold if "fault" in said]
    for each in told:
        assert math.isfinite(each.worth)
        assert each.effect.low <= each.effect.value <= each.effect.high
        assert each.sentence
        assert each.action


def test_a_fault_of_ours_in_one_function_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = groups.findings

    def broken(function: str, *rest: Any) -> Any:
        return whole(function, *rest) if function == "g" else 1 / 0

    monkeypatch.setattr(groups, "findings", broken)
    rows = history(300)
    told = BatchLearner().analyze_execution_patterns([{"function": name, **row} for name in "fg" for row in rows])
    f, g = told.functions
    assert "please report it: ZeroDivisionError" in f.untold[0]
    assert not [said for said in g.untold if "fault" in said]


# --- single looks ----------------------------------------------------------------------------------------------------


def test_contexts_that_are_alike_are_one_group_and_those_that_are_not_several() -> None:
    rng = np.random.default_rng(2)
    engine = PatternRecognitionEngine()
    (one,) = engine.context_clustering([{"items": float(rng.normal())} for _ in range(300)])
    assert (one.size, one.share) == (300, 1.0)
    small = [{"items": float(rng.normal(10, 1)), "kind": "small"} for _ in range(200)]
    large = [{"items": float(rng.normal(90, 5)), "kind": "large"} for _ in range(100)]
    two = engine.context_clustering([*small, *large])
    assert [each.size for each in two] == [200, 100]
    assert two[0].centre["kind"] == "small"
    assert two[1].centre["items"] == pytest.approx(90, abs=3)
    assert min(each.stability for each in two) > 0.9
    assert engine.context_clustering([]) == []
    assert [each.size for each in engine.context_clustering([{}, {}])] == [2]


def test_performance_is_correlated_with_what_matters_alone() -> None:
    rng = np.random.default_rng(4)
    params = [
        {"batch": float(rng.uniform(1, 64)), "temperature": float(rng.uniform()), "model": "ab"[i % 2]}
        for i in range(600)
    ]
    performance = [0.01 * each["batch"] + float(rng.normal(0, 0.2)) for each in params]
    engine = PatternRecognitionEngine()
    told = engine.performance_correlation_analysis(params, performance)
    assert told["batch"]["significant"]
    assert told["batch"]["low"] <= told["batch"]["correlation"] <= told["batch"]["high"]
    assert not told["temperature"]["significant"]
    assert not told["model=a"]["significant"]
    columns = {name: [each[name] for each in params] for name in params[0]}
    assert engine.performance_correlation_analysis(columns, performance) == told
    assert engine.performance_correlation_analysis([], []) == {}
    with pytest.raises(ValueError, match="600"):
        engine.performance_correlation_analysis(params, performance[:-1])


def test_a_series_has_its_trend_seasons_shifts_and_what_is_to_come() -> None:
    rng = np.random.default_rng(6)
    hours = np.arange(24 * 28)
    values = 10 + 2 * np.sin(2 * np.pi * hours / 24) + rng.normal(0, 0.5, len(hours)) + 1.5 * (hours > 400)
    told = PatternRecognitionEngine().temporal_pattern_detection(
        [(1.7e9 + 3600.0 * hour, value) for hour, value in zip(hours.tolist(), values.tolist(), strict=True)][::-1]
    )
    assert (told.points, told.step) == (len(hours), 3600.0)
    assert [each.seconds for each in told.seasons] == [DAY]
    (shift,) = told.shifts
    assert abs(shift.at - (1.7e9 + 401 * 3600.0)) <= 6 * 3600.0
    assert shift.effect.low <= 1.5 <= shift.effect.high
    inside = [
        each.low <= 11.5 + 2 * math.sin(2 * math.pi * (len(hours) + ahead) / 24) <= each.high
        for ahead, each in enumerate(told.forecast)
    ]
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize("data", [[], [1.0], [(5.0, 1.0)] * 20, [math.nan] * 30, {}])
def test_a_series_that_is_none_says_why(data: Any) -> None:
    told = PatternRecognitionEngine().temporal_pattern_detection(data)
    assert told.seasons == told.shifts == told.forecast == ()
    assert told.untold
