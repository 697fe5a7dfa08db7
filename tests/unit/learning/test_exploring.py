from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from poet.learning.exploring import AHEAD, MOST_TRYING, Ledger

amounts = st.floats(0, 1e6)


def test_no_budget_no_tries() -> None:
    assert Ledger().share(0.0, 1.0, 0.1) == 0.0
    assert Ledger(1e6).left(0.0, 1.0) == 0.0


def test_a_new_function_tries_much_and_an_old_one_what_its_calls_earn() -> None:
    assert Ledger().share(0.02, 1.0, 0.2) == MOST_TRYING
    old = Ledger(calls=100_000.0, tries=10_000.0, expected=2000.0)
    assert math.isclose(old.share(0.02, 1.0, 0.2), (AHEAD + 2000.0 - 2000.0) / 100_000.0 / 0.2)


def test_what_is_spent_is_spent() -> None:
    broke = Ledger(calls=100.0, tries=50.0, expected=7.1)
    assert broke.share(0.02, 1.0, 0.2) == 0.0
    lucky = Ledger(calls=100.0, tries=50.0, expected=7.1, seen=-30.0)
    assert lucky.share(0.02, 1.0, 0.2) == 0.0
    unlucky = Ledger(calls=100.0, tries=50.0, expected=0.1, seen=7.1)
    assert unlucky.share(0.02, 1.0, 0.2) == 0.0


@given(amounts, amounts, amounts, st.floats(-1e6, 1e6), st.floats(0, 1), st.floats(1e-6, 1e3), st.floats(0, 1e6))
def test_a_share_is_a_share(
    calls: float, tries: float, expected: float, seen: float, budget: float, worth: float, loss: float
) -> None:
    assert 0.0 <= Ledger(calls, tries, expected, seen).share(budget, worth, loss) <= MOST_TRYING


@given(st.floats(0.001, 1), st.floats(0.01, 1), st.integers(1, 400))
def test_in_the_long_run_tries_cost_no_more_than_the_budget(budget: float, loss: float, rounds: int) -> None:
    ledger = Ledger()
    for _ in range(rounds):
        share = ledger.share(budget, 1.0, loss)
        ledger = ledger.after(10, 1, share * 10 * loss)
    assert ledger.spent <= AHEAD + budget * ledger.calls + 10 * loss


def test_late_scores_are_counted_and_sums_of_two_ledgers_are_of_both() -> None:
    one = Ledger().after(10, 2, 0.4).scored(0.9)
    assert (one.calls, one.tries, one.expected, one.seen, one.spent) == (10, 2, 0.4, 0.9, 0.9)
