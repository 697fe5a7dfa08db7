"""Plans that are scored together, against each by itself; draws against the picture that they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import EDGES
from poet.kernels.online.hedging import Ways, hedged
from poet.kernels.online.repetition import PERMANENT, PERSISTENCE, REPEATS
from poet.kernels.online.restart import World, outlook, pauses
from poet.kernels.online.survival import KNOTS, Grid
from poet.learning.evidence import Evidence
from poet.learning.guesses import Plan, distinct, drawn_worlds, foreseen, mean_world, rising, scored
from poet.model.execution import Attempt, Execution, Outcome

CAP = 8.0


def worlds(seed: int, n: int = 3) -> World:
    """Some guesses, none like the other."""
    rng = np.random.default_rng(seed)
    medians, spread = rng.uniform(0.05, 2.0, (n, 1)), rng.uniform(0.3, 1.5, (n, 1))
    share = 1 / (1 + (medians / np.maximum(KNOTS, 1e-9)) ** (1.7 / spread))
    error = rng.uniform(0.0, 0.4, (n, 1))
    persistence = rng.dirichlet(np.ones(len(PERSISTENCE)), n)
    return World((1 - error) * 0.95 * share, error * share, rng.random(n), persistence, rng.random(n))


plans = st.builds(
    Plan,
    st.floats(0.01, 60.0),
    st.integers(0, 5),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 4.0]),
    st.integers(0, 2),
    st.sampled_from([0.02, 0.3, 1.0, 9.0]),
).map(lambda plan: plan if plan.hedges else plan._replace(hedge_delay=0.0))


@given(st.lists(plans, min_size=1, max_size=12), st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_plans_scored_together_are_scored_as_each_alone(several: list[Plan], seed: int) -> None:
    world = worlds(seed)
    together = scored(world, several, CAP)
    for place, plan in enumerate(several):
        bounds, grid = pauses(plan.backoff, CAP, plan.retries), Grid.of(np.array([plan.timeout]))
        if plan.hedges:
            alone = [part[-1, :, 0, 0] for part in hedged(world, grid, bounds, Ways.of(plan.way))]
        else:
            alone = [part[-1, :, 0] for part in outlook(world, grid, bounds)]
        for mine, other in zip(together, alone, strict=True):
            assert mine[place] == pytest.approx(other, rel=1e-9, abs=1e-12)


@given(st.sampled_from([(0, 0.0), (1, 0.3), (2, 0.5)]), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_a_table_of_one_way_is_that_of_its_plans(way: tuple[int, float], seed: int) -> None:
    world, times = worlds(seed), np.array([0.4, 2.0, 30.0])
    table = foreseen(world, way, Grid.of(times), pauses(0.1, CAP, 3))
    some = [Plan(float(timeout), retries, 0.1, *way) for retries in range(4) for timeout in times]
    for mine, other in zip(table, scored(world, some, CAP), strict=True):
        assert mine.transpose(0, 2, 1).reshape(len(some), -1) == pytest.approx(other)


def taught() -> Evidence:
    evidence, dice = Evidence(), np.random.default_rng(5)
    for number in range(600):
        first = Attempt(Outcome.SUCCESS, float(dice.lognormal(-1, 0.5)))
        again = Attempt(Outcome.SUCCESS, 0.3, 0.2)
        attempts: tuple[Attempt, ...] = (first,)
        if dice.random() < 0.2:
            attempts = (Attempt(Outcome.ERROR, 0.05), again)
        elif dice.random() < 0.05:
            attempts = (Attempt(Outcome.TIMEOUT, 3.0), again)
        evidence.observe([Execution("w", number, 0.0, 1.0, attempts[-1].outcome, 1, attempts)])
    return evidence


def test_draws_are_about_the_mean_picture() -> None:
    """By 4000 draws: each share within 6 of its standard errors, which are at most 0.5 / sqrt(4000) = 0.008."""
    picture = taught().picture()
    mean, drawn = mean_world(picture), drawn_worlds(picture, 4000, 10.0, np.random.default_rng(1))
    for timeout in (0.2, 0.4, 1.0, 3.0):
        place = int(np.searchsorted(KNOTS, timeout))
        assert float(drawn.answered[:, place].mean()) == pytest.approx(float(mean.answered[0, place]), abs=0.048)
        assert float(drawn.failed[:, place].mean()) == pytest.approx(float(mean.failed[0, place]), abs=0.048)
    assert float(drawn.permanent.mean()) == pytest.approx(float(mean.permanent[0]), abs=0.048)
    assert drawn.persistence.mean(axis=0) == pytest.approx(mean.persistence[0], abs=0.048)
    assert float(drawn.repeats.mean()) == pytest.approx(float(mean.repeats[0]), abs=0.048)
    assert set(drawn.permanent) <= set(PERMANENT)
    assert set(drawn.repeats) <= set(REPEATS)
    assert (drawn.persistence.sum(axis=1) == 1).all()


def test_the_world_of_one_memory_is_that_memory() -> None:
    picture = taught().picture()
    for memory in range(len(picture.weights)):
        world = mean_world(picture, memory)
        assert world.answered[0] == pytest.approx(picture.answered[memory])
        assert world.failed[0] == pytest.approx(picture.failed[memory])


@given(st.lists(st.sampled_from(EDGES), min_size=1, max_size=30))
def test_in_order_and_once_is_what_numpy_says(values: list[float]) -> None:
    once, place = np.unique(values, return_inverse=True)
    assert np.array_equal(rising(values), once)
    mine, mine_place = distinct(np.array(values))
    assert np.array_equal(mine, once)
    assert np.array_equal(mine_place, place)
