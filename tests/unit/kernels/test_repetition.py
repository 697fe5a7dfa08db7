"""Beliefs about retries, against simulated retries and direct Bayes."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.repetition import (
    PERMANENT,
    PERSISTENCE,
    PRIOR,
    REPEATS,
    after_errors,
    after_timeouts,
    fading,
    gathered,
    jittered_fading,
    kept,
    moved,
    normalised,
    updated,
)

sequences = st.lists(
    st.lists(st.tuples(st.booleans(), st.floats(0, 8), st.just(1.0)), min_size=1, max_size=4), min_size=1, max_size=5
)


@given(sequences, st.floats(0.01, 0.9))
@settings(max_examples=50)
def test_the_likelihood_of_retries_after_errors_is_bayes_by_hand(
    seen: list[list[tuple[bool, float, float]]], share: float
) -> None:
    rows = after_errors(seen, share)
    for row, sequence in zip(rows, seen, strict=True):
        for i, permanent in enumerate(PERMANENT):
            for j, persistence in enumerate(PERSISTENCE):
                fresh = share * (1 - permanent) / (1 - permanent * share)
                passing = 1.0
                for again, pause, _ in sequence:
                    left = math.exp(-pause / persistence) if persistence else 0.0
                    chance = min(0.9999, max(1e-4, fresh + (1 - fresh) * left))
                    passing *= chance if again else 1 - chance
                likely = (1 - permanent) * passing + permanent * all(again for again, _, _ in sequence)
                assert row[i, j] == pytest.approx(math.log(max(likely, 1e-6)), abs=1e-9)


def test_permanent_errors_are_told_from_passing_ones() -> None:
    """400 retried calls, 70 % of whose errors are permanent; the posterior's mean within 6 standard errors (0.023)."""
    dice = random.Random(5)
    share, permanent = 0.2, 0.7
    fresh = share * (1 - permanent) / (1 - permanent * share)
    seen = []
    for _ in range(400):
        doomed = dice.random() < permanent
        sequence = []
        for _ in range(3):
            again = doomed or dice.random() < fresh
            sequence.append((again, 0.1, 1.0))
            if not again:
                break
        seen.append(sequence)
    belief = normalised(updated(PRIOR.errors, PRIOR.errors, after_errors(seen, share)))
    assert belief.sum(axis=1) @ PERMANENT == pytest.approx(permanent, abs=6 * 0.023)


def test_persisting_errors_are_told_by_their_pauses() -> None:
    """Errors that last 1.5 s, retried at once or after 8 s: the posterior finds the persistence on its grid."""
    dice = random.Random(6)
    seen = []
    for number in range(400):
        pause = 0.1 if number % 2 else 8.0
        chance = 0.1 + 0.9 * math.exp(-pause / 1.5)
        seen.append([(dice.random() < chance, pause, 1.0)])
    belief = normalised(updated(PRIOR.errors, PRIOR.errors, after_errors(seen, 0.1)))
    assert PERSISTENCE[int(np.argmax(belief.sum(axis=0)))] == 1.5


@given(st.lists(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=4), min_size=1, max_size=5))
def test_the_likelihood_of_retries_after_timeouts_is_bayes_by_hand(seen: list[list[tuple[bool, float]]]) -> None:
    for row, sequence in zip(after_timeouts(seen), seen, strict=True):
        fresh = math.prod((min(0.98, max(0.02, c)) if ok else 1 - min(0.98, max(0.02, c))) for ok, c in sequence)
        out = not any(ok for ok, _ in sequence)
        for value, rho in zip(row, REPEATS, strict=True):
            assert value == pytest.approx(math.log((1 - rho) * fresh + rho * out + 1e-4))


@pytest.mark.parametrize("repeats", [0.0, 0.5, 1.0])
def test_slowness_that_belongs_to_the_call_is_told_from_bad_luck(repeats: float) -> None:
    """300 calls that timed out and were retried once; within 6 standard errors (0.03), or the grid's half step."""
    dice = random.Random(7)
    seen = [[(dice.random() >= repeats and dice.random() < 0.9, 0.9)] for _ in range(300)]
    belief = normalised(updated(PRIOR.repeats, PRIOR.repeats, after_timeouts(seen)))
    assert belief @ REPEATS == pytest.approx(repeats, abs=max(6 * 0.03, 0.05))


@given(st.floats(0, 20))
def test_the_jittered_fading_is_the_average_of_the_fading(bound: float) -> None:
    pauses = (np.arange(20_000) + 0.5) / 20_000 * bound
    assert jittered_fading(np.array(bound)) == pytest.approx(fading(pauses).mean(axis=0), abs=1e-6)


def test_a_belief_returns_to_its_prior_when_what_it_rests_on_fades() -> None:
    strong = PRIOR.repeats + np.linspace(-50, 50, len(REPEATS))
    nothing = np.zeros((20_000, len(REPEATS)))
    back = updated(strong, PRIOR.repeats, nothing)
    assert normalised(back) == pytest.approx(normalised(PRIOR.repeats), abs=0.01)


def test_no_retries_teach_nothing() -> None:
    assert after_errors([], 0.1).shape == (0, len(PERMANENT), len(PERSISTENCE))
    assert updated(PRIOR.repeats, PRIOR.repeats, after_timeouts([])) is PRIOR.repeats


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 2**16))
def test_what_two_lots_of_retries_add_may_be_summed_up_before(first: int, then: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    lots = [np.log(rng.random((n, len(REPEATS)))) for n in (first, then)]
    one_by_one = updated(updated(PRIOR.repeats, PRIOR.repeats, lots[0]), PRIOR.repeats, lots[1])
    gain = kept(then) * gathered(lots[0]) + gathered(lots[1])
    at_once = moved(PRIOR.repeats, PRIOR.repeats, first + then, gain)
    assert normalised(at_once) == pytest.approx(normalised(one_by_one))
