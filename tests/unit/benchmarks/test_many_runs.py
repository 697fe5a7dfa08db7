"""What the benchmarks follow over many runs at once is what ships, to rounding."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.many_runs import Coins, Effects, Limits, coin_log_e, sample_ratio_log_e

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.effect import Effect, Side
from poet.kernels.online.exceedance import Limit
from poet.kernels.online.sample_ratio import SampleRatio

RUNS = 5


@pytest.mark.parametrize("share", [0.5, 0.1, None])
def test_many_effects_are_each_an_effect(share: float | None) -> None:
    """share: None: another one for each call and run. Every third call is missing in some runs."""
    rng = np.random.default_rng(1)
    plan = Effect.planned(calls=300, burn_in=5)
    many, each = Effects(plan, RUNS), [plan] * RUNS
    level = np.full(RUNS, 100.0)
    for i in range(600):
        level += 0.1 * rng.normal(size=RUNS)
        p = rng.uniform(0.05, 0.95, size=RUNS) if share is None else np.full(RUNS, share)
        arm, y = rng.random(RUNS) < p, level + rng.normal(size=RUNS)
        where = rng.random(RUNS) < 0.5 if i % 3 == 0 else np.ones(RUNS, dtype=bool)
        many.add(arm, p if share is None else share, y, where if i % 3 == 0 else None)
        for run in np.flatnonzero(where):
            each[run] = each[run].add(int(arm[run]), float(p[run]), float(y[run]))
        if i % 20 == 19:
            for side in Side:
                ours = [effect.log_e(0.1, side) for effect in each]
                assert many.log_e(0.1, side).tolist() == pytest.approx(ours, rel=1e-9, abs=1e-9)
    for run, effect in enumerate(each):
        assert many.sums[:, run].tolist() == pytest.approx(list(effect.sums), rel=1e-12, abs=1e-12 * max(effect.sums))
        assert many.totals[:, run].tolist() == pytest.approx(effect.level.totals, rel=1e-11)


def test_many_coins_are_each_a_coin_test() -> None:
    rng = np.random.default_rng(2)
    many, each = Coins(RUNS), [CoinTest()] * RUNS
    for i in range(400):
        share = 0.1 if i < 200 else 0.5
        canary, event = rng.random(RUNS) < share, rng.random(RUNS) < 0.3
        many.add(share, canary, event)
        each = [test.add(share, int(c and e), int(e)) for test, c, e in zip(each, canary, event, strict=True)]
        assert many.log_e.tolist() == pytest.approx([test.log_e() for test in each], rel=1e-12, abs=1e-12)


def test_many_limits_are_each_a_limit() -> None:
    rng = np.random.default_rng(3)
    many, each = Limits(RUNS), [Limit()] * RUNS
    for _ in range(300):
        where, x = rng.random(RUNS) < 0.7, rng.normal(size=RUNS)
        many.add(where, x)
        each = [limit.add(math.exp(v)) if w else limit for limit, w, v in zip(each, where, x, strict=True)]
    ours = [math.log(limit.seconds) for limit in each]
    assert many.log_seconds().tolist() == pytest.approx(ours, rel=1e-12)


def test_counts_at_once_are_each_a_test() -> None:
    counts, n = np.arange(40), np.arange(40) * 2 + 1
    for share in 0.1, 0.5:
        coins = [CoinTest().add(share, int(c), int(m)).log_e() for c, m in zip(counts, n, strict=True)]
        assert coin_log_e(counts, n, share).tolist() == pytest.approx(coins, rel=1e-12, abs=1e-12)
        ratios = [
            SampleRatio().add((share, 1 - share), (int(c), int(m - c))).log_e for c, m in zip(counts, n, strict=True)
        ]
        assert sample_ratio_log_e(counts, n, share).tolist() == pytest.approx(ratios, rel=1e-9, abs=1e-9)
