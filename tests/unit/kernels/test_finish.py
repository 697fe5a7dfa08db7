"""Quantiles of a call's time against playing the same calls with dice."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.finish import finish_times
from poet.kernels.online.hedging import Ways, hedged
from poet.kernels.online.repetition import PERSISTENCE
from poet.kernels.online.restart import World, outlook, pauses
from poet.kernels.online.survival import KNOTS, Grid

CALLS = 40_000
NEAR = 0.04  # curves are straight between knots that lie 25 % apart, and few points stand for the sum of all pauses


def curve(median: float, spread: float, total: float) -> np.ndarray:
    z = np.log(np.maximum(KNOTS, 1e-12) / median) / spread
    return total * np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in z])


def world(error: float, permanent: float, lasts: float, repeats: float, hang: float) -> World:
    """Quick answers and few slow ones; errors that take a third as long; ``lasts``: one of ``PERSISTENCE`` [s]."""
    answered = (1 - error) * (1 - hang) * (0.9 * curve(0.3, 0.4, 1.0) + 0.1 * curve(2.0, 0.5, 1.0))
    failed = curve(0.1, 0.4, error)
    lasting = (lasts == PERSISTENCE).astype(float)[None]
    return World(answered[None], failed[None], np.array([permanent]), lasting, np.array([repeats]))


def played(
    one: World, timeout: float, bounds: np.ndarray, copies: int, delay: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """When each of CALLS calls succeeded, inf where it did not, and when it ended; request by request."""
    error = float(one.failed[0, -1])
    doomed_share = float(one.permanent[0]) * error
    fresh_error = (error - doomed_share) / (1 - doomed_share)
    lasts = float(one.persistence[0] @ PERSISTENCE)
    answer, failure = one.answered[0] / (1 - error), one.failed[0] / max(error, 1e-9)
    doomed = rng.random(CALLS) < doomed_share
    alike = ~doomed & (rng.random(CALLS) < float(one.repeats[0]))

    def request(slow: np.ndarray, chance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When a request ends, and whether by an error; ``slow``: as slow as the one before, so never in time."""
        faulty = doomed | (rng.random(CALLS) < chance)
        uniform = rng.random(CALLS)
        come = np.where(faulty, np.interp(uniform, failure, KNOTS), np.interp(uniform, answer, KNOTS))
        come = np.where(uniform > np.where(faulty, failure[-1], answer[-1]), np.inf, come)
        return np.where(slow & ~faulty, np.inf, come), faulty

    def faded(pause: np.ndarray | float) -> np.ndarray:
        return np.exp(-np.asarray(pause) / lasts) if lasts else np.zeros(CALLS)

    going, erred, timed_out = np.ones(CALLS, bool), np.zeros(CALLS, bool), np.zeros(CALLS, bool)
    clock, succeeded = np.zeros(CALLS), np.full(CALLS, np.inf)
    for k in range(len(bounds) + 1):
        pause = rng.random(CALLS) * bounds[k - 1] if k else np.zeros(CALLS)
        clock += going * pause
        chance = np.where(erred, fresh_error + (1 - fresh_error) * faded(pause), fresh_error)
        first, first_faulty = request(alike & timed_out, chance)
        answers = np.where(first_faulty, np.inf, first)
        last = np.where(first_faulty, first, np.inf)
        for copy in range(1, copies + 1):
            due = copy * delay
            sent = going & (answers > due) & (last > due) & (due < timeout) & ~alike & ~doomed
            sent &= ~(first_faulty & (rng.random(CALLS) < faded(delay)))  # its cause is still there
            took, faulty = request(np.zeros(CALLS, bool), np.full(CALLS, fresh_error))
            end = np.where(sent, due + took, np.inf)
            answers = np.minimum(answers, np.where(faulty, np.inf, end))
            last = np.where(sent, np.where(faulty, np.maximum(last, end), np.inf), last)
        won = going & (answers <= timeout)
        clock += going * np.minimum(np.minimum(answers, last), timeout)
        succeeded[won] = clock[won]
        erred, timed_out = going & ~won & (last <= timeout), going & ~won & (last > timeout)
        going = erred | timed_out
    return succeeded, clock


WORLDS = {
    "slow ones": world(0.0, 0.0, 0.0, 0.0, 0.01),
    "passing errors": world(0.2, 0.0, 0.0, 0.0, 0.0),
    "permanent errors": world(0.2, 0.2, 0.0, 0.0, 0.01),
    "lasting errors": world(0.15, 0.0, 0.5, 0.0, 0.01),
    "half repeats": world(0.05, 0.0, 0.0, 0.5, 0.01),
    "all at once": world(0.1, 0.1, 0.15, 0.3, 0.03),
}


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize(("timeout", "backoff"), [(0.5, 0.01), (1.0, 0.5), (8.0, 0.1)])
@pytest.mark.parametrize(("copies", "delay"), [(0, 1.0), (1, 0.4), (2, 0.7)])
def test_quantiles_agree_with_playing_the_calls(
    name: str, timeout: float, backoff: float, copies: int, delay: float
) -> None:
    """By the quantile as told, as large a share has come as was asked for, up to ``NEAR`` of the time.

    5 standard errors of 40 000 played calls beside it: a false alarm once in some 10 000 runs.
    """
    one, retries = WORLDS[name], 3
    bounds = pauses(backoff, 8.0, retries)
    grid = Grid.of(np.array([timeout]))
    succeeded, ended = played(one, timeout, bounds, copies, delay, np.random.default_rng(5))
    for share in (0.5, 0.9, 0.97):
        told = finish_times(one, grid, bounds, share, Ways.of((copies, delay)))
        doubt = 5 * math.sqrt(share * (1 - share) / CALLS) + 1e-3
        for times, quantile in (
            (succeeded, float(told.succeeded[retries, 0, 0, 0])),
            (ended, float(told.ended[retries, 0, 0, 0])),
        ):
            if math.isinf(quantile):
                assert np.isfinite(times).mean() < share + doubt
                continue
            assert (times <= quantile * (1 + NEAR)).mean() >= share - doubt
            assert (times <= quantile * (1 - NEAR)).mean() <= share + doubt


shares = st.floats(0, 0.9)
traits = (shares, shares, st.sampled_from(PERSISTENCE.tolist()), shares, st.floats(0, 0.3))
GRID = Grid.of(np.array([0.05, 0.3, 1.0, 30.0]))
WAYS = Ways.of((0, 1.0), (1, 0.2), (2, 0.5))


@given(*traits, st.floats(0.3, 0.99), st.floats(0.0, 2.0))
@settings(max_examples=40, deadline=None)
def test_more_retries_succeed_no_later_and_end_no_sooner(
    error: float, permanent: float, lasts: float, repeats: float, hang: float, share: float, backoff: float
) -> None:
    told = finish_times(world(error, permanent, lasts, repeats, hang), GRID, pauses(backoff, 8.0, 4), share, WAYS)
    assert (told.succeeded[1:] <= told.succeeded[:-1] * (1 + 1e-9)).all()
    assert (told.ended[1:] >= told.ended[:-1] * 0.995).all()  # moments stand at few points: exact to some thousandths
    assert np.isfinite(told.ended).all()
    assert (told.succeeded >= told.ended * (1 - NEAR)).all()


@given(*traits, st.floats(0.06, 0.95), st.floats(0.01, 0.04))
@settings(max_examples=40, deadline=None)
def test_a_larger_share_takes_longer(
    error: float, permanent: float, lasts: float, repeats: float, hang: float, share: float, more: float
) -> None:
    one, bounds = world(error, permanent, lasts, repeats, hang), pauses(0.1, 8.0, 3)
    less, larger = (finish_times(one, GRID, bounds, each, WAYS) for each in (share, share + more))
    for before, after in zip(less, larger, strict=True):
        assert (before <= after * (1 + 1e-9)).all()


@given(*traits, st.floats(0.06, 0.99))
@settings(max_examples=40, deadline=None)
def test_a_share_is_reached_where_as_many_calls_succeed(
    error: float, permanent: float, lasts: float, repeats: float, hang: float, share: float
) -> None:
    one, bounds = world(error, permanent, lasts, repeats, hang), pauses(0.1, 8.0, 3)
    success = hedged(one, GRID, bounds, WAYS).success
    reached = np.isfinite(finish_times(one, GRID, bounds, share, WAYS).succeeded)
    sure = np.abs(success - share) > 0.02  # curves of hedged attempts are read at other places
    assert (reached == (success > share))[sure].all()


def test_without_hedges_it_needs_no_ways() -> None:
    one, bounds = WORLDS["all at once"], pauses(0.1, 8.0, 3)
    plain, hedges = finish_times(one, GRID, bounds, 0.9), finish_times(one, GRID, bounds, 0.9, Ways.of((0, 1.0)))
    for mine, other in zip(plain, hedges, strict=True):
        assert mine.shape == outlook(one, GRID, bounds).success.shape
        assert mine == pytest.approx(other[:, :, 0])


def test_a_guess_does_not_look_at_its_neighbours() -> None:
    a, b = WORLDS["all at once"], WORLDS["slow ones"]
    both = World(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    bounds = np.stack([pauses(0.1, 8.0, 3), pauses(1.0, 8.0, 3)], axis=1)
    together = finish_times(both, GRID, bounds, np.array([0.9, 0.95]), WAYS)
    for index, one in enumerate((a, b)):
        alone = finish_times(one, GRID, bounds[:, index], (0.9, 0.95)[index], WAYS)
        for part, other in zip(together, alone, strict=True):
            assert part[:, index] == pytest.approx(other[:, 0], rel=0.04)  # one point or five stand for short pauses


def test_where_nothing_answers_a_call_ends_after_all_its_limits() -> None:
    one = world(0.0, 0.0, 0.0, 0.0, 0.3)
    none = one._replace(answered=np.zeros_like(one.answered))
    told = finish_times(none, Grid.of(np.array([0.4])), np.zeros(3), 0.9)
    assert np.isinf(told.succeeded).all()
    assert told.ended[:, 0, 0] == pytest.approx([0.4, 0.8, 1.2, 1.6], rel=0.02)
