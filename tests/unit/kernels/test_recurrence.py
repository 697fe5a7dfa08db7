"""Known again, or not: the closed form against a slow one, its error rate, and how far pictures are apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS, bin_of
from poet.kernels.online.recurrence import SHIFTS, divergence, log_gamma, recurrence
from poet.kernels.online.survival import ANSWER, CENSORED, ERROR, PRIOR_WEIGHT, Array, hazards


def table(median: float, n: float, *, spread: float = 0.5, errors: float = 0.02, hang: float = 0.0) -> Array:
    """Expected counts of ``n`` attempts of a log-normal latency."""
    counts = np.zeros((3, BINS))
    grid = np.random.default_rng(0).normal(size=20_000)
    for z in grid[:4000]:
        counts[ANSWER, bin_of(median * math.exp(spread * z))] += (1 - errors - hang) * n / 4000
    counts[ERROR, bin_of(0.05)] = errors * n
    counts[CENSORED, bin_of(30.0)] = hang * n
    return counts


@given(st.lists(st.floats(1e-4, 1e5), min_size=1, max_size=30))
def test_log_gamma_is_what_the_standard_library_says(xs: list[float]) -> None:
    wanted = np.array([math.lgamma(x) for x in xs])
    assert log_gamma(np.array(xs)) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def slow_likelihood(picture: Array, prior: Array, newest: Array) -> float:
    """Attempt by attempt: the posterior of each bin's hazards foretells the next, and takes it in.

    picture, newest: (3, BINS), whole numbers in newest; prior: whose prior is taken.
    """
    around = hazards(prior[None])
    there = hazards(picture[None])
    total = 0.0
    ended = {ANSWER: there.answers[0].copy(), ERROR: there.errors[0].copy()}
    risk = there.at_risk[0].copy()
    for kind, bin_ in zip(*np.nonzero(newest), strict=True):
        for _ in range(int(newest[kind, bin_])):
            for j in range(bin_ + (kind != CENSORED)):
                a = PRIOR_WEIGHT * around.prior_answer[0, j] + ended[ANSWER][j]
                e = PRIOR_WEIGHT * around.prior_error[0, j] + ended[ERROR][j]
                whole = PRIOR_WEIGHT + risk[j]
                came = {ANSWER: a, ERROR: e}[kind] if j == bin_ else whole - a - e
                total += math.log(came / whole)
                risk[j] += 1
                if j == bin_:
                    ended[kind][j] += 1
    return total


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 12))
def test_the_closed_form_is_what_foretelling_one_by_one_comes_to(seed: int, n: int) -> None:
    dice = np.random.default_rng(seed)
    picture = table(0.2, 60.0)
    newest = np.zeros((3, BINS))
    for _ in range(n):
        newest[dice.integers(0, 3), dice.integers(30, 60)] += 1
    moved = [np.roll(picture, shift, axis=1) for shift in SHIFTS]  # nothing lies at the ends
    likely, evidence = recurrence(picture[None], newest)
    rivals = [slow_likelihood(each, each, newest) for each in moved]
    rivals.append(slow_likelihood(np.zeros_like(picture), picture, newest))
    own = slow_likelihood(picture, picture, newest)
    most = max(rivals)
    mixture = most + math.log(sum(math.exp(each - most) for each in rivals) / 3)
    assert likely[0] == pytest.approx(own, abs=1e-6)
    assert evidence[0] == pytest.approx(own - mixture, abs=1e-6)


def drawn(picture: Array, n: int, dice: np.random.Generator) -> Array:
    cells = dice.choice(picture.size, n, p=(picture / picture.sum()).ravel())
    return np.bincount(cells, minlength=picture.size).reshape(picture.shape).astype(float)


def test_it_knows_what_comes_back_within_some_twenty_attempts_and_takes_nothing_else_for_it() -> None:
    """Of 200 services 1.56 times as slow at most 1 % pass ln(100) at any time, up to chance: 200 * .01 + 3 sd = 6."""
    dice, there = np.random.default_rng(3), table(0.2, 300.0)
    known = [recurrence(there[None], drawn(there, 30, dice))[1][0] > math.log(100) for _ in range(100)]
    assert np.mean(known) > 0.6
    slower = np.roll(there, SHIFTS[1], axis=1)
    mistaken = 0
    for _ in range(200):
        newest, passed = np.zeros_like(there), False
        for _ in range(15):
            newest += drawn(slower, 4, dice)
            passed |= bool(recurrence(there[None], newest)[1][0] > math.log(100))
        mistaken += passed
    assert mistaken <= 6


def test_pictures_are_as_far_apart_from_here_as_from_there_and_chance_is_little() -> None:
    dice, there = np.random.default_rng(1), table(0.2, 4000.0)
    samples = [drawn(there, 300, dice) for _ in range(20)]
    assert max(float(divergence(np.stack([there, sample]))[0]) for sample in samples) < 0.3
    others: Sequence[Array] = [table(0.4, 300.0), table(0.2, 300.0, errors=0.2), table(0.2, 300.0, hang=0.2)]
    for other in others:
        assert float(divergence(np.stack([there, other]))[0]) > 0.3
        assert divergence(np.stack([there, other])) == pytest.approx(divergence(np.stack([other, there])))
