"""Relatives as a prior: what they add, how soon own calls outweigh them, and what becomes of it in stores."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
import pytest

from poet.kernels.online import survival
from poet.kernels.online.bins import BINS
from poet.learning import borrowed
from poet.learning.borrowed import Lent
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.tunable import Integer, Real, Space
from poet.testing.learners import LIVE, check_learner

SPACE = Space(timeout=Real(0.001, 120.0, log=True), retries=Integer(0, 5), backoff=Real(0.0, 60.0))


def learner(seed: int = 0) -> OnlineLearner:
    return OnlineLearner(space=SPACE, declared=LIVE, seed=seed)


def calls(n: int, median: float, *, hang: float = 0.0, error: float = 0.0, seed: int = 0) -> Iterator[Execution]:
    """Calls with up to three retries, under a timeout of 30 medians."""
    dice = random.Random(seed)
    for number in range(n):
        attempts: list[Attempt] = []
        while len(attempts) < 4 and not (attempts and attempts[-1].outcome is Outcome.SUCCESS):
            if dice.random() < hang:
                attempts.append(Attempt(Outcome.TIMEOUT, 30 * median))
            elif dice.random() < error:
                attempts.append(Attempt(Outcome.ERROR, median / 5))
            else:
                attempts.append(Attempt(Outcome.SUCCESS, median * math.exp(dice.gauss(0, 0.3))))
        seconds = sum(each.seconds for each in attempts)
        yield Execution("w", number, float(number), seconds, attempts[-1].outcome, 1, tuple(attempts))


def of(source: str, median: float, n: int = 300, *, hang: float = 0.0, error: float = 0.0) -> Lent:
    """What a function lends after ``n`` calls."""
    trained = learner()
    trained.update(list(calls(n, median, hang=hang, error=error, seed=7)))
    lent = trained.lent(source, 0.9)
    assert lent is not None
    return lent


def test_log_gamma_is_that_of_the_standard_library() -> None:
    x = np.geomspace(1e-6, 1e5, 400)
    assert np.allclose(borrowed._log_gamma(x), [math.lgamma(each) for each in x], rtol=1e-9, atol=1e-8)


def test_the_likelihood_is_that_of_one_attempt_after_the_other() -> None:
    """By Polya's urn: each attempt adds itself to the counts by which the next is foretold."""
    table = np.zeros((2, 3, BINS))
    table[:, 0, 40:43] = [[5, 9, 2], [1, 0, 1]]
    table[:, 1, 38] = 3
    own = np.zeros((3, BINS))
    own[0, [40, 41]], own[1, 38] = [1, 2], 1
    with_own, start = survival.hazards(table + own), survival.hazards(table)
    total = np.zeros(2)
    seen: list[tuple[int, int]] = []
    for kind, bin_ in [(0, 40), (0, 41), (1, 38), (0, 41)]:
        for at in range(bin_ + 1):
            rows = [
                with_own.prior_answer[:, at] + start.answers[:, at] + seen.count((0, at)),
                with_own.prior_error[:, at] + start.errors[:, at] + seen.count((1, at)),
            ]
            risk = 1 + start.at_risk[:, at] + sum(place >= at for _, place in seen)
            total += np.log(rows[kind] / risk) if at == bin_ else np.log1p(-(rows[0] + rows[1]) / risk)
        seen.append((kind, bin_))
    assert np.allclose(borrowed._foretold(table, own), total)


def test_a_relative_in_other_units_helps_from_the_first_calls() -> None:
    new, alone = learner(), learner()
    assert new.borrow([of("hours", 3.0, hang=0.05)]) == ("hours",)
    for each in (new, alone):
        each.update(list(calls(5, 0.003, seed=1)))
    told, other = new.suggest(LIVE), alone.suggest(LIVE)
    assert told is not None
    assert told.origin == "transfer"
    assert "hours" in told.reason
    assert float(told.values["timeout"]) < 0.1
    assert other is None or other.origin == "learned"


def test_a_wrong_relatives_weight_dies_within_some_calls() -> None:
    new = learner()
    new.borrow([of("alike", 1.0), of("failing", 1.0, hang=0.3, error=0.4)])
    new.update(list(calls(15, 1.0, seed=2)))
    heard = new.heard
    assert heard is not None
    right, wrong = heard.weights
    assert wrong < 0.03 < 0.5 < right
    assert math.isclose(right + wrong + heard.nobody, 1.0)


def test_where_all_are_wrong_they_hardly_count() -> None:
    new, alone = learner(), learner()
    new.borrow([of("tight", 1.0), of("tighter", 0.5)])
    for pair in zip(calls(20, 0.1, seed=3), calls(20, 9.0, seed=4), strict=True):
        new.update(pair)
        alone.update(pair)
    heard = new.heard
    assert heard is not None
    own = alone._evidence.picture()
    assert abs(heard.picture.weights @ heard.picture.answered - own.weights @ own.answered).max() < 0.1


def test_own_calls_outweigh_it_in_the_end() -> None:
    new = learner()
    new.borrow([of("alike", 1.0)])
    new.update(list(calls(borrowed.OUTWEIGHED, 1.0)))
    assert new.heard is None
    assert new.borrowed == ("alike",)


def test_who_has_seen_too_little_lends_nothing() -> None:
    trained = learner()
    trained.update(list(calls(10, 1.0)))
    assert trained.lent("young", 0.9) is None


def test_it_is_kept_and_shared_and_given_back_for_good() -> None:
    first, second = learner(), learner(1)
    first.borrow([of("alike", 1.0)])
    first.update(list(calls(5, 1.0)))
    again = learner()
    again.load(first.dump())
    assert again.borrowed == ("alike",)
    assert again.dump() == first.dump()
    shared = first.merged(None, first.contribution() or b"")
    second.load(shared)
    assert second.borrowed == ("alike",)
    assert second.give_back() == ("alike",)
    assert second.borrow([of("alike", 1.0)]) == ()
    second.update(list(calls(5, 1.0)))
    first.load(second.merged(shared, second.contribution() or b""))
    assert first.borrowed == ()
    assert first.heard is None


def test_no_more_than_twelve_the_likeliest() -> None:
    new, lent = learner(), of("x", 1.0)
    some = [lent._replace(source=str(k), helps=k / 20) for k in range(20)]
    assert new.borrow(some) == tuple(str(k) for k in range(19, 7, -1))
    assert new.borrow(some) == ()


def test_it_keeps_the_laws_of_learners() -> None:
    loans = [of("alike", 0.1, n=80), of("other", 5.0, n=80, hang=0.1)]

    def make() -> OnlineLearner:
        made = learner()
        made.borrow(loans)
        return made

    check_learner(make, space=SPACE, calls=400, most_bytes=12_000)


@pytest.mark.parametrize(
    "change",
    [
        {"helps": 1.5},
        {"helps": math.nan},
        {"retried": -1.0},
        {"source": 3},
        {"parts": ["AAAAAA==", "", ""]},
        {"parts": ["", "AAAA", ""]},
        {"parts": ["!", "", ""]},
        {"parts": [""]},
    ],
)
def test_what_is_no_loan_is_refused(change: dict[str, object]) -> None:
    told = of("alike", 1.0, n=80).told()
    with pytest.raises((ValueError, TypeError)):
        Lent.of({**told, **change})
