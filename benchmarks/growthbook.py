"""Draws the figures of ``tests/golden/growthbook_intervals.json`` from GrowthBook's own statistics.

    python benchmarks/growthbook.py

in an environment of its own that has ``gbstats`` 0.8.0 and nothing of ours (it needs a numpy below 2). Prints JSON.
"""

from __future__ import annotations

import itertools
import json
from importlib.metadata import version

CELLS = itertools.product(
    (120, 2_000, 500_000),  # calls of the control
    (0.25, 1.0),  # of the treatment, times as many
    ((1.0, 1.0), (1.0, 1.2), (-3.0, -3.1), (250.0, 251.0)),  # means
    ((1.0, 1.0), (4.0, 0.3)),  # variances
    (0.05, 0.01),  # alpha
    (500.0, 5_000.0),  # planned calls
)
RATES = (((2_000, 60), (2_000, 90)), ((400, 200), (380, 170)), ((90_000, 900), (10_000, 140)))  # calls, successes


def drawn() -> list[dict[str, float]]:
    """One row for each cell: what goes in, and GrowthBook's interval and p-value."""
    from gbstats.frequentist.tests import SequentialConfig, SequentialTwoSidedTTest
    from gbstats.models.statistics import ProportionStatistic, SampleMeanStatistic

    def row(control: object, treatment: object, alpha: float, planned: float) -> dict[str, float]:
        config = SequentialConfig(difference_type="absolute", alpha=alpha, sequential_tuning_parameter=planned)
        result = SequentialTwoSidedTTest(control, treatment, config).compute_result()
        inputs = {
            f"{name}_{arm}": float(getattr(stat, name))
            for arm, stat in (("control", control), ("treatment", treatment))
            for name in ("n", "mean", "variance")
        }
        low, high = map(float, result.ci)
        return {**inputs, "alpha": alpha, "planned": planned, "low": low, "high": high, "p": float(result.p_value)}

    rows = []
    for n, times, means, variances, alpha, planned in CELLS:
        arms = [
            SampleMeanStatistic(n=m, sum=mean * m, sum_squares=variance * (m - 1) + mean * mean * m)
            for m, mean, variance in zip((n, int(n * times)), means, variances, strict=True)
        ]
        rows.append(row(*arms, alpha, planned))
    for control, treatment in RATES:
        arms = [ProportionStatistic(n=n, sum=successes) for n, successes in (control, treatment)]
        rows.append(row(*arms, 0.05, 5_000.0))
    return rows


if __name__ == "__main__":
    head = {"source": f"gbstats {version('gbstats')}", "recipe": "python benchmarks/growthbook.py"}
    rows = ",\n".join(json.dumps(row) for row in drawn())
    print(json.dumps(head)[:-1] + f', "rows": [\n{rows}\n]}}')
