"""Environments and rivals of choice by context."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.routing import (
    CHOOSERS,
    DELAYED,
    MARKS,
    OURS,
    Call,
    Told,
    World,
    irrelevant,
    least_regret,
    life,
    linear,
    play,
    threshold,
)


def test_who_always_takes_the_best_regrets_nothing() -> None:
    for world in (linear(1), linear(1, bits=True), threshold(2), irrelevant(3)):
        best = [int(np.argmax(call.means)) for call in world.calls]
        assert world.regret(best) == pytest.approx([0.0] * len(MARKS))
        assert min(world.regret([(arm + 1) % world.arms for arm in best])) > 0


def test_a_recorded_world_is_judged_by_the_one_option_that_is_best() -> None:
    means = [np.array([1.0, 0.0]), np.array([0.2, 0.6]), np.array([0.9, 0.1])]
    world = World("made", 2, [Call((), np.zeros(1), m) for m in means], 0.0, True)
    assert world.regret([0, 0, 0]) == pytest.approx([0.0] * 3)
    assert world.regret([0, 1, 0]) == pytest.approx([-0.4 / 3] * 3)


@pytest.mark.parametrize("name", CHOOSERS)
def test_every_chooser_learns_the_better_option(name: str) -> None:
    """Two options 0.6 apart under noise of 0.1; whoever learns takes the better one in most of the last 200 calls."""
    calls = [Call((("x", float(k % 3)),), np.array([float(k % 3)]), np.array([0.2, 0.8])) for k in range(600)]
    world = World("made", 2, calls, 0.1, False)
    chosen, _ = play(world, CHOOSERS[name](2, 1), 1)
    assert chosen[-200:].count(1) > (120 if "Exp3" in name else 180)


def test_lives_of_one_seed_are_the_same() -> None:
    for name in (OURS, DELAYED):
        assert life(irrelevant, CHOOSERS[name], 3) == life(irrelevant, CHOOSERS[name], 3)


def test_who_is_told_what_every_option_would_have_scored_regrets_less() -> None:
    assert life(irrelevant, Told, 3)[0] < 0.5 * life(irrelevant, CHOOSERS[OURS], 3)[0]


def test_the_least_regret_is_that_of_the_best_plan() -> None:
    """Against all plans of six calls, by what each might have seen."""

    def lost(one: float, two: float, calls: int) -> float:
        """one, two: how likely it is that what was seen came so, and the first, or second, option is the better one."""
        if not calls:
            return 0.0
        high, low = 0.7, 0.5
        first = lost(one * high, two * low, calls - 1) + lost(one * (1 - high), two * (1 - low), calls - 1)
        second = lost(one * low, two * high, calls - 1) + lost(one * (1 - low), two * (1 - high), calls - 1)
        return min(two * (high - low) + first, one * (high - low) + second)

    assert least_regret(0.7, 0.5, 6) == pytest.approx(lost(0.5, 0.5, 6) / 6)
    assert least_regret(0.7, 0.5, 1) == pytest.approx(0.1)
