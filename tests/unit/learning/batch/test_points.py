from __future__ import annotations

import math

import numpy as np
import pytest

from poet.learning.batch.calls import Calls, of_rows
from poet.learning.batch.points import FEWEST_POINTS, points, step_for

HOUR = 3600.0


def calls(at: np.ndarray, good: np.ndarray | None = None) -> Calls:  # type: ignore[type-arg]
    rows = [
        {"function": "f", "timestamp": float(t), "success": bool(good is None or good[i]), "execution_time": 0.1}
        for i, t in enumerate(at)
    ]
    return of_rows(rows)[0]["f"].calls


@pytest.mark.parametrize(
    ("n", "span", "step"),
    [
        (30 * 24 * 20, 30 * 24 * HOUR, HOUR),
        (5000, 3 * HOUR, 60.0),
        (40, 30 * 24 * HOUR, 0.0),
        (200, 1.0, 0.0),
        (1000, 365 * 24 * HOUR, 0.0),
        (4000, 365 * 24 * HOUR, 86400.0),
    ],
)
def test_a_step_makes_enough_points_of_enough_calls(n: int, span: float, step: float) -> None:
    assert step_for(calls(1e9 + np.linspace(0.0, span, n) + 0.001)) == step


def test_points_add_up() -> None:
    rng = np.random.default_rng(3)
    at = np.sort(1e9 + rng.uniform(0, 100 * HOUR, 3000))
    good = rng.random(3000) > 0.2
    found = points(calls(at, good), HOUR)
    assert found.calls.sum() == 3000
    assert found.failures.sum() == (~good).sum()
    assert found.start % HOUR == 0
    assert len(found) >= FEWEST_POINTS
    assert np.nanmax(np.abs(found.latency + 1.0)) < 1e-9, "log10 of 0.1 s"
    assert found.at(1) - found.at(0) == HOUR


def test_points_of_few_calls_say_nothing_of_latency_and_failures() -> None:
    found = points(calls(np.array([0.5, 10.5, 10.6, 10.7, 10.8, 10.9])), 1.0)
    assert found.calls.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5]
    assert [math.isnan(x) for x in found.latency] == [True] * 10 + [False]
    assert [math.isnan(x) for x in found.failed] == [True] * 10 + [False]
