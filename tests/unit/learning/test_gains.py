"""What executions add to a state: one after the other, or summed up and then added, it comes to the same."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.ewma import Ewma
from poet.kernels.online.repetition import PRIOR, normalised
from poet.learning import gains
from poet.learning.gains import Gain, applied, composed, overtaken, restarted
from poet.learning.notes import BLOCK, LEVELS, MEMORIES, Pace, pace_of
from poet.learning.states import CELLS, Kept, Sparse, State, empty

PACE = pace_of(1.0, 0.98, hedging=True)
dice = st.integers(0, 2**32 - 1)


def table(rng: np.random.Generator) -> Sparse:
    cells = np.sort(rng.choice(CELLS, rng.integers(0, 12), replace=False)).astype(np.uint16)
    return Sparse(cells, rng.exponential(2.0, (MEMORIES, len(cells))))


def gain_of(seed: int) -> Gain:
    """The gain of a block, maybe with an alarm in its end."""
    rng = np.random.default_rng(seed)
    calls, retried = int(rng.integers(0, BLOCK + 1)), (int(rng.integers(0, 5)), int(rng.integers(0, 5)))
    retried = (min(retried[0], calls), min(retried[1], calls))
    levels = rng.normal(0.0, 1.0, (max(calls, 1), LEVELS)).cumsum(axis=0)
    gain = gains.NOTHING._replace(
        calls=calls,
        counts=table(rng),
        record=rng.normal(0.0, 1.0, MEMORIES),
        recorded=calls,
        mixed=0,
        errors=rng.normal(0.0, 1.0, PRIOR.errors.shape) if retried[0] else None,
        repeats=rng.normal(0.0, 1.0, PRIOR.repeats.shape) if retried[1] else None,
        repeated=retried[1],
        retried=retried,
        refused=Ewma(rng.random(), rng.random()),
        spent=Ewma(rng.random(), rng.random()),
        rise=levels[-1],
        least=levels[-1] - np.minimum(levels.min(axis=0), 0.0),
    )
    return restarted(gain, [False, *(rng.random(MEMORIES - 1) < 0.5)]) if rng.random() < 0.3 else gain


def state_of(seed: int) -> State:
    state = applied(empty(), gain_of(seed), PACE)
    return state._replace(counts=np.random.default_rng(seed).exponential(9.0, state.counts.shape).astype(np.float32))


def levels(before: list[float], gain: Gain) -> np.ndarray:
    return np.maximum(np.array(before) + gain.rise, gain.least)


def agree(one: State, other: State) -> None:
    assert np.allclose(one.counts, other.counts, rtol=1e-5, atol=1e-6)
    assert np.allclose(normalised(one.record), normalised(other.record), atol=1e-9)
    assert np.allclose(normalised(one.errors), normalised(other.errors), atol=1e-9)
    assert np.allclose(normalised(one.repeats), normalised(other.repeats), atol=1e-9)
    assert one.refused == pytest.approx(other.refused)
    assert one.retried == other.retried


@given(dice, dice, dice)
@settings(deadline=None)
def test_two_gains_summed_up_do_what_they_do_one_after_the_other(start: int, first: int, then: int) -> None:
    state, a, b = state_of(start), gain_of(first), gain_of(then)
    both = composed(a, b, PACE)
    agree(applied(applied(state, a, PACE), b, PACE), applied(state, both, PACE))
    assert both.calls == a.calls + b.calls
    before = [1.0] * (LEVELS)
    assert levels(levels(before, a).tolist(), b) == pytest.approx(levels(before, both))


@given(dice, dice, dice, dice)
@settings(deadline=None)
def test_it_does_not_matter_which_are_summed_up_first(start: int, first: int, second: int, third: int) -> None:
    state, a, b, c = state_of(start), gain_of(first), gain_of(second), gain_of(third)
    left, right = composed(composed(a, b, PACE), c, PACE), composed(a, composed(b, c, PACE), PACE)
    agree(applied(state, left, PACE), applied(state, right, PACE))
    assert left.stale == right.stale
    assert left.spent == pytest.approx(right.spent)


@given(dice, dice)
def test_nothing_adds_nothing(start: int, some: int) -> None:
    state, gain = state_of(start), gain_of(some)
    agree(applied(state, gains.NOTHING, PACE), state)
    agree(applied(state, composed(gain, gains.NOTHING, PACE), PACE), applied(state, gain, PACE))


@given(dice, dice)
def test_after_an_alarm_the_stale_memories_hold_what_the_shortest_holds(start: int, some: int) -> None:
    stale = [False, True, False, True, True]
    after = applied(state_of(start), restarted(gain_of(some), stale), PACE)
    for memory in (1, 3, 4):
        assert np.array_equal(after.counts[memory], after.counts[0])
    assert np.array_equal(after.record, np.zeros(MEMORIES))


def test_an_alarm_that_was_overtaken_leaves_the_memories_alone() -> None:
    state, gain = state_of(1), restarted(gain_of(2), [False] + [True] * (MEMORIES - 1))
    after = applied(state, overtaken(gain), PACE)
    assert after.counts[4].sum() > 0.9 * PACE.keeps[4] ** gain.calls * state.counts[4].sum()
    assert (overtaken(gain).rise[:-1] == 0.0).all()


def test_what_was_there_fades_at_the_pace_of_whoever_holds_it() -> None:
    state = state_of(1)._replace(refused=Ewma())
    slow, fast = Pace((0.9,) * MEMORIES, 0.98, None), Pace((0.5,) * MEMORIES, 0.98, None)
    gain = gains.NOTHING._replace(calls=2)
    assert np.allclose(applied(state, gain, slow).counts, 0.81 * state.counts)
    assert np.allclose(applied(state, gain, fast).counts, 0.25 * state.counts)


@given(dice, dice)
@settings(deadline=None)
def test_a_gain_that_was_sent_does_what_it_did(start: int, some: int) -> None:
    gain = gain_of(some)
    facts, blob = gains.written(gain)
    sent = gains.read(json.loads(json.dumps(facts)), blob)
    agree(applied(state_of(start), sent, PACE), applied(state_of(start), gain, PACE))
    assert sent.stale == gain.stale
    assert np.array_equal(sent.rise, gain.rise)


@pytest.mark.parametrize(
    "change",
    [
        {"calls": -1},
        {"calls": 2**50},
        {"calls": 1.5},
        {"calls": True},
        {"stale": [0, -1, -1, -1, -1]},
        {"stale": [-1, 5]},
        {"stale": "none"},
        {"recorded": 10**6},
        {"mixed": gains.BLOCK + 1},
        {"repeated": None},
        {"repeated": 641},
        {"retried": [1]},
        {"errors": True},
        {"cells": 9999},
        {"cells": 0},
    ],
    ids=str,
)
def test_a_forged_gain_is_refused(change: dict[str, object]) -> None:
    gain = gains.NOTHING._replace(calls=10, counts=table(np.random.default_rng(5)))
    facts, blob = gains.written(gain)
    with pytest.raises((ValueError, TypeError)):
        gains.read({**json.loads(json.dumps(facts)), **change}, blob)


def test_what_was_seen_since_a_block_began_or_of_copies_may_be_more_than_there_are_calls() -> None:
    gain = gains.NOTHING._replace(
        calls=5,
        counts=table(np.random.default_rng(5)),
        fresh=True,
        stale=(gains.NEVER,) * MEMORIES,
        mixed=9,
        repeated=7,
    )
    facts, blob = gains.written(gain)
    sent = gains.read(json.loads(json.dumps(facts)), blob)
    assert (sent.mixed, sent.repeated) == (9, 7)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, 1e300, -1e13])
@pytest.mark.parametrize("place", range(0, MEMORIES + 2 * LEVELS + 4, 4))
def test_numbers_out_of_range_are_refused(place: int, number: float) -> None:
    facts, blob = gains.written(gains.NOTHING)
    forged = bytearray(blob)
    forged[8 * place : 8 * place + 8] = np.float64(number).tobytes()
    if number == -math.inf and MEMORIES <= place < MEMORIES + LEVELS:
        return  # so a level says that it began anew
    with pytest.raises(ValueError, match="range"):
        gains.read(json.loads(json.dumps(facts)), bytes(forged))


@given(dice)
def test_a_state_at_rest_is_the_state(seed: int) -> None:
    state = state_of(seed)
    state.counts[:, :, ::3] = 0.0
    again = Kept.of(state).state()
    assert np.array_equal(again.counts, state.counts)
    assert again.counts.dtype == np.float32
    assert np.array_equal(again.errors, state.errors)
    assert (again.refused, again.retried) == (state.refused, state.retried)
