from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.learning.batch import calls as columns
from poet.learning.batch.calls import CLOCK, NO_OUTCOME, NO_TIME, TWICE, Calls, Coded, of_executions, of_rows
from poet.model.execution import Attempt, Execution, Outcome


def only(rows: list[dict[str, Any]]) -> tuple[Calls, dict[str, int]]:
    found, lost = of_rows([{"function": "f", **row} for row in rows])
    assert lost == {}
    return found["f"].calls, dict(found["f"].left_out)


def test_rows_become_columns_in_order_of_time() -> None:
    calls, left = only(
        [
            {"timestamp": 20.0, "success": False, "execution_time": 2.0, "error_type": "ReadTimeout", "attempts": 3},
            {
                "timestamp": 10.0,
                "success": True,
                "execution_time": 0.5,
                "parameters": {"timeout": 2, "model": "small"},
                "context": {"items": 3},
                "score": 0.8,
                "attempts": [{"outcome": "success"}],
            },
        ]
    )
    assert left == {}
    assert calls.started.tolist() == [10.0, 20.0]
    assert calls.good.tolist() == [True, False]
    assert calls.censored.tolist() == [False, True]
    assert calls.requests.tolist() == [1.0, 3.0]
    assert calls.error == Coded(calls.error.codes, ("ReadTimeout",))
    assert calls.error.codes.tolist() == [-1, 0]
    assert calls.parameters["timeout"][0] == 2.0
    assert math.isnan(calls.parameters["timeout"][1])
    model = calls.parameters["model"]
    assert isinstance(model, Coded)
    assert (model.codes.tolist(), model.names) == ([0, -1], ("small",))
    assert calls.score[0] == 0.8
    assert math.isnan(calls.score[1])


def test_moments_come_as_numbers_datetimes_and_texts() -> None:
    when = datetime(2026, 3, 1, 12, 0)
    calls, _ = only(
        [
            {"timestamp": when, "success": True},
            {"timestamp": when.isoformat(), "success": True},
            {"timestamp": "2026-03-01T12:00:00+00:00", "success": True},
            {"timestamp": np.float64(when.timestamp()), "success": True},
        ]
    )
    assert sorted({x - when.timestamp() for x in calls.started.tolist()} - {0.0}) in (
        [],
        [datetime.fromisoformat("2026-03-01T12:00:00+00:00").timestamp() - when.timestamp()],
    )
    assert np.isnan(calls.seconds).all()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"success": True}, NO_TIME),
        ({"timestamp": "yesterday", "success": True}, NO_TIME),
        ({"timestamp": math.nan, "success": True}, NO_TIME),
        ({"timestamp": 5.0}, NO_OUTCOME),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_by_its_reason(row: dict[str, Any], reason: str) -> None:
    calls, left = only([row, {"timestamp": 5.5, "success": True}])
    assert (len(calls), left) == (1, {reason: 1})


def test_what_is_told_twice_counts_once() -> None:
    row = {"timestamp": 5.5, "success": True, "execution_time": 0.25}
    calls, left = only([row, row, {**row, "timestamp": 6.0}, {**row, "timestamp": 6.0}])
    assert (len(calls), left) == (3, {TWICE: 1}), "whole seconds may be a coarse clock's"
    named = {**row, "execution_id": "a"}
    calls, left = only([named, {**named, "timestamp": 7.5}])
    assert (len(calls), left) == (1, {TWICE: 1})


def test_a_clock_far_off_is_left_out() -> None:
    rows = [{"timestamp": 1.7e9 + i, "success": True} for i in range(500)]
    calls, left = only([*rows, {"timestamp": 0.0, "success": True}, {"timestamp": 4e9, "success": True}])
    assert (len(calls), left) == (500, {CLOCK: 2})


def test_rows_of_no_function_and_of_no_form_are_counted() -> None:
    found, lost = of_rows([{"timestamp": 1.0}, "what", {"function": "g", "timestamp": 2.0, "success": 1}])  # type: ignore[list-item]
    assert (sorted(found), lost) == (["g"], {"without a function": 1, "no mapping": 1})


def test_a_feature_with_very_many_values_stays_one_column() -> None:
    rows = [{"timestamp": i / 7, "success": True, "context": {"user": f"u{i}"}} for i in range(5000)]
    calls, _ = only(rows)
    assert len(calls.context["user"].names) == 5000  # type: ignore[union-attr]


def test_only_the_most_frequent_features_are_looked_at() -> None:
    context = [{f"f{k}": 1.0 for k in range(i % 100 + 1)} for i in range(300)]
    calls, _ = only([{"timestamp": i / 3, "success": True, "context": each} for i, each in enumerate(context)])
    assert len(calls.context) == columns.MOST_NAMES
    assert "f0" in calls.context


ROWS = st.dictionaries(
    st.sampled_from(
        [
            "timestamp",
            "success",
            "execution_time",
            "attempts",
            "parameters",
            "context",
            "score",
            "error_type",
            "version",
        ]
    ),
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.floats() | st.text(max_size=3), max_size=3)
    | st.lists(st.integers(), max_size=2),
)


@given(st.lists(ROWS, max_size=12))
@settings(deadline=None, max_examples=100)
def test_whatever_a_row_holds_it_is_a_call_or_left_out(rows: list[dict[str, Any]]) -> None:
    found, lost = of_rows([{**row, "function": "f"} for row in rows])
    assert lost == {}
    if rows:
        calls = found["f"].calls
        assert len(calls) + sum(found["f"].left_out.values()) == len(rows)
        assert (np.diff(calls.started) >= 0).all()
        assert not (calls.seconds < 0).any()


def test_executions_are_told_with_what_they_used() -> None:
    def made(i: int, outcome: Outcome, **more: Any) -> Execution:
        return Execution("w", i, 100.0 + i, 0.5, outcome, 1, (Attempt(outcome, 0.5),), **more)

    found = of_executions(
        [
            made(0, Outcome.SUCCESS),
            made(1, Outcome.TIMEOUT, error="TimeoutError", context=(("region", "eu"),)),
            made(2, Outcome.SHED),
            made(3, Outcome.LATE, draw=5, values=(("timeout", 3.0),)),
        ],
        {1: {"timeout": 2.0, "retries": 1}},
    )
    assert found.left_out == {"not made": 1}
    assert found.calls.good.tolist() == [True, False, True]
    assert found.calls.parameters["timeout"].tolist() == [2.0, 2.0, 3.0]  # type: ignore[union-attr]
    assert found.calls.tried.tolist() == [False, False, True]
    assert found.calls.context["region"].codes.tolist() == [-1, 0, -1]  # type: ignore[union-attr]
