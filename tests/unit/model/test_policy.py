"""Policies of the call path."""

from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.policy import FARTHEST, OWN, Contextual, Drawn, Named, Numeric, Pick, Reading, Tries

READING = Reading(
    {
        "n": Numeric(1, False, 10.0, 0.5),
        "size": Numeric(2, True, math.log(100.0), 1.0),
        "new": Numeric(3, False, 0.0, 0.0),
    },
    {"lang": Named({"de": 4, "en": 5}, True), "kind": Named({"a": 6}, False)},
    7,
    2,
)
A, B = {"model": "a"}, {"model": "b"}


def drawn(number: int, *scores: tuple[float, ...], **more: object) -> Drawn:
    return Drawn((Pick(number, A), Pick(number, B)), scores, **more)  # type: ignore[arg-type]


def test_numbers_are_standardised_and_cut_off() -> None:
    assert READING.read((("n", 11), ("size", 100.0))) == [(1, 0.5), (2, 0.0)]
    assert READING.read((("n", 1e9), ("size", 0))) == [(1, FARTHEST), (2, -FARTHEST)]
    assert READING.read((("n", True), ("new", 5))) == [(1, -FARTHEST), (3, 0.0)]


def test_what_is_missing_unknown_or_no_number_counts_for_nothing() -> None:
    odd = (("n", math.nan), ("size", math.inf), ("n", 2**4000), ("other", 1), ("kind", "z"), ("n", "text"), ("lang", 3))
    assert READING.read(odd) == []
    assert READING.read(()) == []


def test_texts_beyond_those_with_slots_share_a_few() -> None:
    assert READING.read((("lang", "en"),)) == [(5, 1.0)]
    several = [READING.read((("lang", f"l{k}"),))[0] for k in range(200)]
    assert {slot for slot, _ in several} == {7, 8}
    assert {sign for _, sign in several} == {-1.0, 1.0}
    assert READING.read((("lang", "l7"),)) == [several[7]]


def test_each_call_takes_what_is_best_in_its_context() -> None:
    policy = Contextual(READING, 0.0, drawn(0, (0.5,) + (0.0,) * 8, (0.4, 0.2) + (0.0,) * 7))
    assert policy.pick((("n", 8),), 0.0) == Pick(0, A)
    assert policy.pick((("n", 14),), 0.0) == Pick(0, B)


def test_a_share_of_the_calls_uses_the_tries_each_as_often() -> None:
    best = drawn(0, (1.0, 0.0), (0.0, 0.0))
    tries = (drawn(1, (0.0, 0.0), (1.0, 0.0)), drawn(2, (0.0, 1.0), (0.0, -1.0)))
    policy = Contextual(READING, 0.5, best, tries)
    picks = [policy.pick((("n", 20),), k / 1000) for k in range(1000)]
    assert [sum(pick.draw == number for pick in picks) for number in range(3)] == [500, 250, 250]
    assert {pick.draw: pick.values["model"] for pick in picks} == {0: "a", 1: "b", 2: "a"}


def test_an_unknown_context_gets_what_is_best_without_one() -> None:
    policy = Contextual(READING, 0.0, drawn(0, (9.0, 0.0), (0.0, 0.0), unknown=1))
    assert policy.pick((("other", 1),), 0.9).values == B
    assert policy.pick((), 0.9).values == B
    assert policy.pick((("n", 3),), 0.9).values == A


def test_an_option_that_keeps_the_constraints_goes_before_a_better_one() -> None:
    best = drawn(0, (1.0, 0.0), (0.0, 0.0), slacks=(((0.1, -1.0), (0.2, 0.0)),))
    policy = Contextual(READING, 0.0, best)
    assert policy.pick((("n", 10.1),), 0.0).values == A
    assert policy.pick((("n", 14),), 0.0).values == B
    broken = drawn(0, (1.0, 0.0), (0.0, 0.0), slacks=(((-0.3, 0.0), (-0.2, 0.0)),))
    assert Contextual(READING, 0.0, broken).pick((("n", 1),), 0.0).values == B


VALUES = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.just(2**500), st.just(-(10**400))
)


@given(
    st.lists(st.tuples(st.sampled_from(["n", "size", "new", "lang", "kind", "x"]), VALUES)),
    st.floats(0, 1, exclude_max=True),
)
def test_a_policy_takes_any_context_and_says_the_same_twice(context: list[tuple[str, object]], uniform: float) -> None:
    policy = Contextual(READING, 0.3, drawn(0, (0.0,) * 9, (0.1,) * 9), (drawn(1, (0.2,) * 9, (0.1,) * 9),))
    given_ = tuple(context)
    pick = policy.pick(given_, uniform)  # type: ignore[arg-type]
    assert pick == policy.pick(given_, uniform)  # type: ignore[arg-type]
    assert pick.draw == (uniform < 0.3)


def test_policies_can_be_sent_elsewhere() -> None:
    policy = Contextual(READING, 0.3, drawn(0, (0.0,) * 9, (0.1,) * 9))
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_tries_leave_the_other_calls_alone() -> None:
    assert Tries(0.5, (A, B)).pick((), 0.5) is OWN
    assert Tries(0.0, (A,)).pick((), 0.0) is OWN
    assert Tries(1.0, (A, B)).pick((), 0.999999).draw == 2


@pytest.mark.parametrize("uniform", [0.0, 0.29999999999999999, 0.9999999999999999])
def test_the_last_number_below_the_share_is_the_last_try(uniform: float) -> None:
    a, b = (1.0,) * 9, (0.0,) * 9
    policy = Contextual(READING, 1.0, drawn(0, a, b), (drawn(1, a, b), drawn(2, a, b)))
    assert policy.pick((("n", 1),), uniform).draw in {1, 2}
