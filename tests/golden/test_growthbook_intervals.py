"""Where GrowthBook's sequential test and ours answer the same question, they answer the same.

``benchmarks/growthbook.py`` redraws ``growthbook_intervals.json``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from poet.kernels.online.confidence import Arm, difference, difference_log_e, tuning

KEPT = json.loads(Path(__file__).with_name("growthbook_intervals.json").read_text())


def test_the_figures_name_their_source() -> None:
    assert KEPT["source"] == "gbstats 0.8.0"
    assert len(KEPT["rows"]) >= 190


@pytest.mark.parametrize("row", KEPT["rows"])
def test_intervals_and_evidence_are_those_of_growthbook(row: dict[str, float]) -> None:
    arms = [Arm(*(row[f"{name}_{arm}"] for name in ("n", "mean", "variance"))) for arm in ("control", "treatment")]
    rho = tuning(row["planned"], row["alpha"])
    low, high = difference(*arms, rho, row["alpha"])
    width = row["high"] - row["low"]
    assert low == pytest.approx(row["low"], abs=1e-9 * width)
    assert high == pytest.approx(row["high"], abs=1e-9 * width)
    assert min(1.0, math.exp(-difference_log_e(*arms, rho))) == pytest.approx(row["p"], rel=1e-6)
