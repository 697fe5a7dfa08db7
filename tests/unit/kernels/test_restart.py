"""The recursion against playing the same calls with dice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS
from poet.kernels.online.repetition import PERSISTENCE
from poet.kernels.online.restart import World, outlook, pauses
from poet.kernels.online.survival import KNOTS, Grid

CALLS = 20_000


def curve(median: float, spread: float, total: float) -> np.ndarray:
    z = np.log(np.maximum(KNOTS, 1e-12) / median) / spread
    return total * np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in z])


def world(error: float, permanent: float, persists: float, repeats: float, hang: float) -> World:
    answered = curve(0.3, 0.6, (1 - error) * (1 - hang))
    failed = curve(0.1, 0.4, error)
    return World(answered[None], failed[None], np.array([permanent]), lasting(persists), np.array([repeats]))


def lasting(seconds: float) -> np.ndarray:
    """That errors persist so long for certain: one of the values that are told apart."""
    return (seconds == PERSISTENCE).astype(float)[None]


def played(
    one: World, timeout: float, bounds: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Success, seconds and requests of CALLS calls, attempt by attempt."""
    error_share = float(one.failed[0, -1])
    doomed_share = float(one.permanent[0]) * error_share
    fresh_error = (error_share - doomed_share) / (1 - doomed_share)
    answer, failure = one.answered[0] / (1 - error_share), one.failed[0] / max(error_share, 1e-9)
    kind = rng.random(CALLS)
    doomed = kind < doomed_share
    repeating = ~doomed & (rng.random(CALLS) < float(one.repeats[0]))
    going, erred, timed_out = np.ones(CALLS, bool), np.zeros(CALLS, bool), np.zeros(CALLS, bool)
    success, seconds, requests = np.zeros(CALLS, bool), np.zeros(CALLS), np.zeros(CALLS)
    for k in range(len(bounds) + 1):
        if k:
            seconds += going * rng.random(CALLS) * bounds[k - 1]
        requests += going
        chance = np.full(CALLS, fresh_error)
        if k:
            again = fresh_error + (1 - fresh_error) * float(one.fading(bounds)[0, k - 1])
            chance = np.where(erred, again, chance)
        faulty = doomed | (rng.random(CALLS) < chance)
        uniform = rng.random(CALLS)
        # the inverse of a curve that is straight between knots; behind its end nothing comes
        come = np.where(faulty, np.interp(uniform, failure, KNOTS), np.interp(uniform, answer, KNOTS))
        come = np.where(uniform > np.where(faulty, failure[-1], answer[-1]), np.inf, come)
        come = np.where(repeating & timed_out & ~faulty, np.inf, come)
        took = np.minimum(come, timeout)
        seconds += going * took
        ended = going & (come <= timeout)
        success |= ended & ~faulty
        erred, timed_out = ended & faulty, going & (come > timeout)
        going = erred | timed_out
    return success, seconds, requests


@pytest.mark.parametrize(
    ("error", "permanent", "persists", "repeats", "hang"),
    [
        (0.0, 0.0, 0.0, 0.0, 0.02),
        (0.2, 0.0, 0.0, 0.0, 0.0),
        (0.2, 0.5, 0.0, 0.0, 0.01),
        (0.15, 0.0, 0.5, 0.0, 0.01),
        (0.1, 0.1, 0.15, 0.6, 0.05),
    ],
    ids=["hangs", "passing errors", "permanent errors", "lasting errors", "all at once"],
)
@pytest.mark.parametrize("timeout", [0.25, 1.0])
def test_the_recursion_agrees_with_playing_the_calls(
    error: float, permanent: float, persists: float, repeats: float, hang: float, timeout: float
) -> None:
    """Each mean within 5 standard errors of 20 000 played calls, or 5 calls: a false alarm once in some 10 000 runs."""
    bounds = pauses(0.1, 8.0, 3)
    one = world(error, permanent, persists, repeats, hang)
    told = outlook(one, Grid.of(np.array([timeout])), bounds)
    seen = played(one, timeout, bounds, np.random.default_rng(11))
    for exact, sample in zip(told, seen, strict=True):
        error_of_mean = float(sample.std()) / math.sqrt(CALLS)
        assert float(exact[3, 0, 0]) == pytest.approx(float(sample.mean()), abs=5 * error_of_mean + 5 / CALLS)


shares = st.floats(0, 0.9)
persistences = st.sampled_from(PERSISTENCE.tolist())


@given(shares, shares, persistences, shares, st.floats(0, 0.3))
@settings(max_examples=60)
def test_more_retries_never_lessen_success_nor_spare_requests(
    error: float, permanent: float, persists: float, repeats: float, hang: float
) -> None:
    grid = Grid.of(np.array([0.05, 0.3, 1.0, 30.0]))
    told = outlook(world(error, permanent, persists, repeats, hang), grid, pauses(0.1, 8.0, 5))
    assert (np.diff(told.success, axis=0) >= -1e-12).all()
    assert (np.diff(told.requests, axis=0) >= -1e-12).all()
    assert (np.diff(told.seconds, axis=0) >= -1e-12).all()
    assert (told.success <= 1 + 1e-12).all()
    assert told.requests[0] == pytest.approx(1.0)


@given(shares, shares)
@settings(max_examples=30)
def test_without_retries_success_is_the_share_of_answers_by_the_timeout(error: float, permanent: float) -> None:
    one = world(error, permanent, 0.0, 0.0, 0.01)
    told = outlook(one, Grid.of(KNOTS[40:60]), np.empty(0))
    assert told.success[0, 0] == pytest.approx(one.answered[0, 40:60], abs=1e-9)


def test_where_latency_repeats_a_retry_after_a_timeout_is_worth_nothing() -> None:
    grid = Grid.of(np.array([0.3]))
    told = outlook(world(0.0, 0.0, 0.0, 1.0, 0.0), grid, np.zeros(4))
    assert told.success[4, 0, 0] == pytest.approx(told.success[0, 0, 0])
    fresh = outlook(world(0.0, 0.0, 0.0, 0.0, 0.0), grid, np.zeros(4))
    assert fresh.success[4, 0, 0] > 0.95


def test_a_draw_does_not_look_at_its_neighbours() -> None:
    a, b = world(0.2, 0.3, 0.15, 0.2, 0.01), world(0.05, 0.0, 0.5, 0.7, 0.05)
    both = World(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    grid, bounds = Grid.of(np.array([0.2, 2.0])), pauses(0.5, 8.0, 3)
    together = outlook(both, grid, bounds)
    for index, one in enumerate((a, b)):
        for part, alone in zip(together, outlook(one, grid, bounds), strict=True):
            assert part[:, index] == pytest.approx(alone[:, 0])
    assert a.answered.shape == (1, BINS)


def test_one_guess_goes_with_any_number_of_pauses() -> None:
    one, grid = world(0.2, 0.3, 0.15, 0.2, 0.01), Grid.of(np.array([0.2, 2.0]))
    several = np.stack([pauses(backoff, 8.0, 3) for backoff in (0.0, 0.1, 3.0)], axis=1)
    for mine, repeated in zip(outlook(one, grid, several), outlook(one.times(3), grid, several), strict=True):
        assert mine == pytest.approx(repeated)


def test_chances_that_come_to_more_than_one_count_as_one() -> None:
    """Answers and errors are drawn apart: where a service never fails, both together may be a little more."""
    exact = world(error=1e-5, permanent=0.0, persists=0.5, repeats=0.0, hang=0.0)
    over = exact._replace(answered=exact.answered / exact.answered[0, -1])
    long = Grid.of(np.array([1.0, 30.0, 1800.0]))
    told, truth = (outlook(each, long, pauses(0.1, 60.0, 1)) for each in (over, exact))
    np.testing.assert_allclose(told.seconds, truth.seconds, rtol=1e-3)
    assert (told.success <= 1.0).all()
