"""Hedged calls against playing the same calls with dice, and single durations against a naive product limit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import EDGES
from poet.kernels.online.hedging import Durations, Ways, copies_sent, hedged, hedged_each, magnified, race
from poet.kernels.online.repetition import PERSISTENCE, fading
from poet.kernels.online.restart import World, outlook, outlook_each, pauses
from poet.kernels.online.survival import KNOTS, Grid

CALLS = 20_000
NONE = np.empty(0)  # no pauses, as there are no retries


def curve(median: float, spread: float, total: float) -> np.ndarray:
    z = np.log(np.maximum(KNOTS, 1e-12) / median) / spread
    return total * np.array([0.5 * (1 + math.erf(x / math.sqrt(2))) for x in z])


def world(
    error: float, permanent: float, repeats: float, retries: int = 0, hang: float = 0.05, lasting: float = 0.0
) -> World:
    """Two kinds of answers, quick ones and few slow ones; errors that take as long as answers.

    lasting: seconds by which an error fades to 1/e, one of ``PERSISTENCE``.
    """
    answered = (1 - error) * (1 - hang) * (0.9 * curve(0.3, 0.4, 1.0) + 0.1 * curve(3.0, 0.4, 1.0))
    failed = curve(0.3, 0.6, error)
    persistence = (lasting == PERSISTENCE).astype(float)[None]
    return World(answered[None], failed[None], np.array([permanent]), persistence, np.array([repeats]))


def played(
    one: World, timeout: float, copies: int, delay: float, retries: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Success, seconds and requests of CALLS calls without pauses, request by request.

    An error that has not faded when the first copy is sent hits all copies of its attempt, as a permanent one does.
    Without retries: what such errors do to these is in the tests of ``restart``.
    """
    error = float(one.failed[0, -1])
    faded = 1.0 - float(one.persistence[0] @ fading(np.array(delay))) * (retries == 0)
    doomed_share = (1.0 - (1.0 - float(one.permanent[0])) * faded) * error
    fresh_error = (error - doomed_share) / (1 - doomed_share)
    answer, failure = one.answered[0] / (1 - error), one.failed[0] / max(error, 1e-9)
    doomed = rng.random(CALLS) < doomed_share
    alike = ~doomed & (rng.random(CALLS) < float(one.repeats[0]))

    def request(slow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """When a request ends, and whether by an error; ``slow``: it is as slow as the one before, so never in time."""
        faulty = doomed | (rng.random(CALLS) < fresh_error)
        uniform = rng.random(CALLS)
        come = np.where(faulty, np.interp(uniform, failure, KNOTS), np.interp(uniform, answer, KNOTS))
        come = np.where(uniform > np.where(faulty, failure[-1], answer[-1]), np.inf, come)
        return np.where(slow & ~faulty, np.inf, come), faulty

    going, timed_out = np.ones(CALLS, bool), np.zeros(CALLS, bool)
    success, seconds, requests = np.zeros(CALLS, bool), np.zeros(CALLS), np.zeros(CALLS)
    for _ in range(retries + 1):
        requests += going
        first, first_faulty = request(alike & timed_out)
        answers = np.where(first_faulty, np.inf, first)  # when the first answer comes
        last = np.where(first_faulty, first, np.inf)  # when all that were sent have failed; inf: they have not
        for copy in range(1, copies + 1):
            due = copy * delay
            sent = going & (answers > due) & (last > due) & (due < timeout)
            requests += sent
            took, faulty = request(np.zeros(CALLS, bool))
            sent_in_vain = sent & (alike | doomed)  # as slow as the first request, or failing like it
            end = np.where(sent & ~sent_in_vain, due + took, np.inf)
            answers = np.minimum(answers, np.where(faulty, np.inf, end))
            last = np.where(sent & ~sent_in_vain, np.where(faulty, np.maximum(last, end), np.inf), last)
        ended = np.minimum(answers, last)
        seconds += going * np.minimum(ended, timeout)
        success |= going & (answers <= timeout)
        timed_out = going & (ended > timeout)
        going = going & ~(answers <= timeout)
    return success, seconds, requests


@pytest.mark.parametrize(
    ("error", "permanent", "repeats", "retries"),
    [(0.0, 0.0, 0.0, 0), (0.2, 0.0, 0.0, 0), (0.0, 0.0, 0.5, 0), (0.0, 0.0, 1.0, 2), (0.2, 0.5, 0.3, 2)],
    ids=["slow ones", "errors", "half of it repeats", "all of it repeats", "all at once"],
)
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("delay", [0.35, 0.8])
def test_it_agrees_with_playing_the_calls(
    error: float, permanent: float, repeats: float, retries: int, copies: int, delay: float
) -> None:
    """Each mean within 5 standard errors of 20 000 played calls: a false alarm once in some 10 000 runs.

    Beside them 2 % of the mean: curves are straight between knots that lie 25 % apart, and the product of two is not.
    """
    one = world(error, permanent, repeats, retries)
    timeout = EDGES[np.searchsorted(EDGES, 2.0)]
    told = hedged(one, Grid.of(np.array([timeout])), np.zeros(retries), Ways.of((copies, delay)))
    seen = played(one, timeout, copies, delay, retries, np.random.default_rng(11))
    for exact, sample in zip(told, seen, strict=True):
        error_of_mean = float(sample.std()) / math.sqrt(CALLS)
        mean = float(sample.mean())
        assert float(exact[retries, 0, 0, 0]) == pytest.approx(mean, abs=5 * error_of_mean + 0.02 * mean)


@pytest.mark.parametrize("lasting", [0.5, 5.0])
@pytest.mark.parametrize("permanent", [0.0, 0.4])
@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("delay", [0.1, 0.35, 0.8])
def test_a_copy_that_is_sent_before_an_error_has_faded_fails_with_its_request(
    lasting: float, permanent: float, copies: int, delay: float
) -> None:
    """As above, where a third of the requests err: to 5 standard errors and 2 % of the mean.

    5 % of the requests: the dice end an attempt that is lost with its first request, and then send no second copy; the
    kernel counts one, as the first copy is still on its way.
    """
    one = world(0.33, permanent, 0.0, lasting=lasting)
    timeout = EDGES[np.searchsorted(EDGES, 2.0)]
    told = hedged(one, Grid.of(np.array([timeout])), NONE, Ways.of((copies, delay)))
    seen = played(one, timeout, copies, delay, 0, np.random.default_rng(12))
    for exact, sample, share in zip(told, seen, (0.02, 0.02, 0.05), strict=True):
        mean = float(sample.mean())
        assert float(exact[0, 0, 0, 0]) == pytest.approx(mean, abs=5 * float(sample.std()) / CALLS**0.5 + share * mean)


@pytest.mark.parametrize("copies", [1, 2])
def test_the_longer_errors_last_the_less_a_copy_mends(copies: int) -> None:
    """In the end it mends none, and a longer delay mends more of those that fade."""
    timeout, way = Grid.of(np.array([30.0])), Ways.of((copies, 0.2), (copies, 0.5))
    told = [hedged(world(0.3, 0.0, 0.0, lasting=float(each)), timeout, NONE, way).success for each in PERSISTENCE]
    success = np.array(told)[:, 0, 0, :, 0]
    assert (np.diff(success, axis=0) < 0).all()
    plain = outlook(world(0.3, 0.0, 0.0), timeout, NONE).success[0, 0, 0]
    forever = hedged(world(0.3, 1.0, 0.0), timeout, NONE, way).success[0, 0, :, 0]
    assert (success > forever).all()
    assert (forever >= plain - 1e-12).all()  # copies of slow requests still mend hangs
    mended = success - forever
    assert (mended[-1] < 0.15 * mended[0]).all()


shares, delays = st.floats(0, 0.9), st.floats(0.001, 60.0)


@given(shares, shares, shares, delays)
@settings(max_examples=60)
def test_more_copies_never_lessen_success_and_always_cost_requests(
    error: float, permanent: float, repeats: float, delay: float
) -> None:
    ways = Ways.of((0, delay), (1, delay), (2, delay))
    told = hedged(world(error, permanent, repeats), Grid.of(np.array([0.05, 0.5, 2.0, 30.0])), NONE, ways)
    assert (np.diff(told.success, axis=2) >= -1e-12).all()
    assert (np.diff(told.requests, axis=2) >= -1e-12).all()
    assert (told.success <= 1 + 1e-12).all()
    assert (told.requests <= 3 + 1e-12).all()


@given(shares, delays, st.floats(0, 0.3))
@settings(max_examples=40)
def test_without_errors_copies_never_make_a_call_longer(repeats: float, delay: float, hang: float) -> None:
    ways = Ways.of((0, delay), (1, delay), (2, delay))
    told = hedged(world(0.0, 0.0, repeats, hang=hang), Grid.of(np.array([0.05, 2.0, 30.0])), NONE, ways)
    assert (np.diff(told.seconds, axis=2) <= 1e-12).all()


@given(shares, shares, shares, st.integers(0, 2), st.floats(1.0, 5.0))
@settings(max_examples=40)
def test_a_copy_that_is_due_at_the_limit_or_behind_is_no_copy(
    error: float, permanent: float, repeats: float, copies: int, ratio: float
) -> None:
    one, bounds = world(error, permanent, repeats, 3), pauses(0.1, 8.0, 3)
    timeout = Grid.of(np.array([0.7]))
    told = hedged(one, timeout, bounds, Ways.of((copies, 0.7 * ratio)))
    for mine, plain in zip(told, outlook(one, timeout, bounds), strict=True):
        assert mine[:, :, 0] == pytest.approx(plain, abs=1e-9)


@given(shares, shares, shares)
@settings(max_examples=30)
def test_no_copies_are_what_a_call_is_without_hedges(error: float, permanent: float, repeats: float) -> None:
    one, bounds, grid = world(error, permanent, repeats, 2), pauses(0.1, 8.0, 2), Grid.of(np.array([0.3, 1.0]))
    told = hedged(one, grid, bounds, Ways.of((0, 0.1)))
    for mine, plain in zip(told, outlook(one, grid, bounds), strict=True):
        assert mine[:, :, 0] == pytest.approx(plain, abs=1e-9)


def test_where_latency_repeats_a_copy_gains_nothing_and_costs_a_request() -> None:
    grid = Grid.of(np.array([2.0]))
    none, one, two = np.moveaxis(
        np.array(hedged(world(0.0, 0.0, 1.0), grid, NONE, Ways.of((0, 0.5), (1, 0.5), (2, 0.5))))[:, 0, 0, :, 0], 1, 0
    )
    assert one[:2] == pytest.approx(none[:2])
    assert two[:2] == pytest.approx(none[:2])
    assert none[2] == pytest.approx(1.0)
    assert one[2] > 1.1
    assert two[2] > one[2]


@given(shares, shares, shares, delays)
@settings(max_examples=40)
def test_the_copies_are_the_requests_beyond_the_first(
    error: float, permanent: float, repeats: float, delay: float
) -> None:
    one, grid = world(error, permanent, repeats), Grid.of(np.array([0.5, 5.0]))
    ways = Ways.of((0, 1.0), (1, delay), (2, delay))
    requests = hedged(one, grid, NONE, ways).requests[0]
    assert requests - 1 == pytest.approx(copies_sent(one, ways, grid), abs=1e-12)


@given(shares, shares, delays, st.integers(0, 2))
@settings(max_examples=40)
def test_the_curves_of_a_race_are_chances_that_rise(error: float, permanent: float, delay: float, copies: int) -> None:
    raced = race(world(error, permanent, 0.0), Ways.of((copies, delay)))
    for part in raced[:2]:
        assert (np.diff(part, axis=-1) >= -1e-12).all()
    total = raced.answered + raced.failed
    assert ((total >= -1e-12) & (total <= 1 + 1e-12)).all()
    assert ((raced.permanent >= 0) & (raced.permanent <= 1)).all()


def test_a_draw_does_not_look_at_its_neighbours() -> None:
    a, b = world(0.2, 0.3, 0.2, 2), world(0.05, 0.0, 0.7, 2, hang=0.2)
    both = World(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    grid, bounds, ways = Grid.of(np.array([0.2, 2.0])), pauses(0.5, 8.0, 2), Ways.of((1, 0.4), (2, 0.3))
    together = hedged(both, grid, bounds, ways)
    for index, one in enumerate((a, b)):
        for part, alone in zip(together, hedged(one, grid, bounds, ways), strict=True):
            assert part[:, index] == pytest.approx(alone[:, 0])


# --- single durations -------------------------------------------------------------------------------------------------

durations = st.lists(st.tuples(st.floats(0.2, 3.0), st.booleans()), min_size=1, max_size=60)


def naive(pairs: list[tuple[float, bool]], until: float) -> float:
    """Share of attempts that last longer than ``until``, one by one, ends before cuts of the same moment."""
    alive = 1.0
    for moment in sorted({seconds for seconds, ended in pairs if ended and seconds <= until}):
        at_risk = sum(seconds >= moment for seconds, _ in pairs)
        alive *= 1 - sum(ended and seconds == moment for seconds, ended in pairs) / at_risk
    return alive


def of(pairs: list[tuple[float, bool]]) -> Durations:
    # of attempts that take exactly as long, those that ended come first: one that was cut off then had not ended
    pairs = sorted(pairs, key=lambda pair: (pair[0], not pair[1]))
    return Durations.of(np.array([s for s, _ in pairs]), np.array([e for _, e in pairs], dtype=bool))


@given(durations)
def test_what_is_left_is_the_product_limit(pairs: list[tuple[float, bool]]) -> None:
    found = of(pairs)
    for place, seconds in enumerate(found.seconds):
        if place + 1 == len(found.seconds) or found.seconds[place + 1] > seconds:
            assert found.alive[place + 1] == pytest.approx(naive(pairs, float(seconds)))


@given(durations, st.floats(0.2, 3.0))
def test_the_place_within_a_bin_is_between_an_even_spread_and_what_was_seen(
    pairs: list[tuple[float, bool]], time: float
) -> None:
    even = Grid.of(np.array([time]))
    found = magnified(np.array([time]), of(pairs))
    low, high = KNOTS[even.knot[0]], KNOTS[even.knot[0] + 1]
    before, now, after = (naive(pairs, t) for t in (np.nextafter(low, 0), time, np.nextafter(high, 0)))
    assert found.knot == even.knot
    assert 0 <= float(found.share[0]) <= 1
    if before > after:
        seen = (before - now) / (before - after)
        lowest, highest = sorted((seen, float(even.share[0])))
        assert lowest - 1e-9 <= float(found.share[0]) <= highest + 1e-9
    else:
        assert found.share == even.share


def test_where_all_answers_come_at_one_moment_the_place_is_known_to_that_moment() -> None:
    """A cache that answers after 10.0 ms, in a bin from 9.67 to 12.1 ms: an even spread would be wrong by far."""
    found = magnified(np.array([0.00999, 0.01001]), of([(0.01, True)] * 400))
    assert float(found.share[0]) < 0.01
    assert float(found.share[1]) > 0.99


def test_nothing_seen_is_an_even_spread() -> None:
    times = np.array([0.01, 0.5])
    assert magnified(times, of([])).share == pytest.approx(Grid.of(times).share)


plans = st.tuples(st.floats(0.02, 60.0), st.sampled_from([0.0, 0.1, 2.0]), st.integers(0, 2), st.floats(0.01, 5.0))


@settings(max_examples=40, deadline=None)
@given(st.lists(plans, min_size=1, max_size=5), st.floats(0, 0.6), st.floats(0, 1), st.sampled_from([0.0, 0.3, 1.0]))
def test_plans_side_by_side_give_what_each_gives_alone(
    told: list[tuple[float, float, int, float]], error: float, permanent: float, repeats: float
) -> None:
    several = (world(error, permanent, repeats, lasting=0.5), world(0.1, 0.2, 0.4))
    both = World(*(np.concatenate(pair) for pair in zip(*several, strict=True)))
    timeouts = Grid.of(np.array([timeout for timeout, *_ in told]))
    bounds = np.stack([pauses(backoff, 8.0, 3) for _, backoff, *_ in told], axis=1)
    ways = [(copies, delay) for *_, copies, delay in told]
    together, unhedged = hedged_each(both, timeouts, bounds, ways), outlook_each(both, timeouts, bounds)
    for place, (timeout, backoff, copies, delay) in enumerate(told):
        one, each = Grid.of(np.array([timeout])), pauses(backoff, 8.0, 3)
        for mine, alone in zip(together, hedged(both, one, each, Ways.of((copies, delay))), strict=True):
            assert mine[:, :, place] == pytest.approx(alone[:, :, 0, 0], abs=1e-9)
        for mine, alone in zip(unhedged, outlook(both, one, each), strict=True):
            assert mine[:, :, place] == pytest.approx(alone[:, :, 0], abs=1e-9)


def test_the_curves_of_a_race_are_the_same_where_they_are_read_at_short_limits_only() -> None:
    one, ways, timeouts = world(0.2, 0.3, 0.1), Ways.of((1, 0.3), (2, 0.3), (0, 1.0)), Grid.of(np.array([0.4, 2.0]))
    whole, part = race(one, ways), race(one, ways, timeouts)
    knots = part.answered.shape[-1] - 1
    assert knots < len(KNOTS) - 1
    for long, short in ((whole.answered, part.answered), (whole.failed, part.failed)):
        assert np.array_equal(short[..., :-1], long[..., :knots])
        assert np.array_equal(short[..., -1], long[..., -1])
    assert np.array_equal(whole.permanent, part.permanent)
