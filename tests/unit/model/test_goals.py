"""What calls are scored by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.objective import Goal, scored, together

GOALS = {"quality": Goal(at_least=0.8), "cost": Goal(high=0.05, weight=-20.0)}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"low": 1.0}, "a goal needs a scale with low < high, got 1 and 1"),
        ({"high": math.nan}, "high of a goal must be a finite number, got nan"),
        ({"weight": math.inf}, "weight of a goal must be a finite number, got inf"),
        ({"weight": "1"}, "weight of a goal must be a finite number, got '1'"),
        ({"low": True}, "low of a goal must be a finite number, got True"),
        ({"at_least": 1.5}, r"at_least must be on the goal's scale \[0, 1\], got 1.5; the nearest is 1"),
        ({"at_most": -1.0}, r"at_most must be on the goal's scale \[0, 1\], got -1; the nearest is 0"),
        ({"at_least": 0.8, "at_most": 0.2}, "at_least 0.8 is above at_most 0.2: no value keeps both; swap them"),
    ],
)
def test_a_goal_that_cannot_be_is_refused_with_its_value(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Goal(**wrong)


@pytest.mark.parametrize(
    ("given_", "goals", "said"),
    [
        (1.5, None, r"score must be a number in \[0, 1\], got 1.5; the nearest is 1"),
        (math.nan, None, r"score must be a number in \[0, 1\], got nan"),
        (math.inf, None, r"score must be a number in \[0, 1\], got inf"),
        ("0.5", None, r"score must be a number in \[0, 1\], got '0.5'"),
        (None, None, r"score must be a number in \[0, 1\], got None"),
        ({"quality": 1.0}, None, "declare goals= to name several"),
        (0.5, GOALS, "score must be a mapping, as there are the goals 'quality', 'cost', got 0.5"),
        ({"qualty": 0.5}, GOALS, "no goal 'qualty': did you mean 'quality'?"),
        ({"quality": 2.0}, GOALS, r"quality must be a number in \[0, 1\], got 2.0; the nearest is 1"),
        ({"cost": 0.5}, GOALS, r"cost must be a number in \[0, 0.05\], got 0.5; the nearest is 0.05"),
        ({"cost": math.nan}, GOALS, r"cost must be a number in \[0, 0.05\], got nan"),
        ({}, GOALS, "score must name at least one of the goals"),
        ({3: 0.5}, GOALS, "no goal 3: known are: cost, quality"),
    ],
)
def test_a_score_that_cannot_be_is_refused_with_its_value(given_: Any, goals: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        scored(given_, goals)


def test_a_score_is_the_weighted_sum_of_its_goals() -> None:
    assert scored({"cost": 0.01, "quality": 0.9}, GOALS) == (0.9 - 0.2, (("quality", 0.9), ("cost", 0.01)))
    assert scored({"cost": 0.01}, GOALS) == (-0.2, (("cost", 0.01),))
    assert scored(0.5, {"quality": Goal(weight=2.0)}) == (1.0, (("quality", 0.5),))
    assert scored(np.float32(0.5), None) == (0.5, ())
    assert scored(True, None) == (1.0, ())


def test_goals_that_were_told_apart_are_put_together_once_all_with_a_weight_are_there() -> None:
    goals = {**GOALS, "tokens": Goal(high=1e4, weight=0.0, at_most=500.0)}
    assert together([("quality", 0.9)], goals) is None
    assert together([("cost", 0.01), ("quality", 0.9)], goals) == pytest.approx(0.7)
    assert together([("quality", 0.2), ("quality", 0.9), ("cost", 0.01)], goals) == pytest.approx(0.7)


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.05))
def test_what_is_said_at_once_is_what_is_said_apart(quality: float, cost: float) -> None:
    at_once, told = scored({"quality": quality, "cost": cost}, GOALS)
    apart = [*scored({"quality": quality}, GOALS)[1], *scored({"cost": cost}, GOALS)[1]]
    assert together(apart, GOALS) == at_once == together(told, GOALS)
