"""What thousands of functions have in common is there once, and is what each would have had alone."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.parameters import Estimates, ParameterSet
from poet.model.tunable import Integer, Real, Space, shared
from poet.options import Options

NUMBERS = st.floats(allow_nan=False)
ESTIMATES = st.builds(Estimate, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 2**53), NUMBERS)


@given(st.dictionaries(st.text(max_size=5), ESTIMATES, max_size=5))
def test_estimates_are_the_mapping_that_they_were_made_of(estimates: dict[str, Estimate]) -> None:
    kept = Estimates(estimates)
    assert kept == estimates
    assert estimates == ParameterSet(values_={}, estimates=estimates).estimates
    assert list(kept) == list(estimates)
    assert len(kept) == len(estimates)
    assert repr(kept) == repr(estimates)
    assert pickle.loads(pickle.dumps(kept)) == copy.deepcopy(kept) == kept


def test_an_estimate_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="retries"):
        Estimates({"timeout": Estimate(1.0, 0.5, 2.0, 10)})["retries"]


def test_spaces_of_the_same_bounds_are_one() -> None:
    bounds = {"timeout": Real(0.1, 5.0), "retries": Integer(0, 2)}
    assert Space.shared(**bounds) is Space.shared(**bounds)
    assert Space.shared(**bounds) == Space(**bounds)
    assert hash(Space.shared(**bounds)) == hash(Space(**bounds))
    assert Space.shared(**bounds) != Space.shared(timeout=Real(0.1, 6.0), retries=Integer(0, 2))


def test_shared_values_are_the_same_object_only_where_they_are_of_the_same_type() -> None:
    assert shared({"a": 1, "b": 2.0}) is shared({"a": 1, "b": 2.0})
    assert type(shared({"a": 1})["a"]) is int
    assert type(shared({"a": 1.0})["a"]) is float
    with pytest.raises(TypeError):
        shared({"a": 1})["a"] = 2  # type: ignore[index]


def test_options_that_differ_in_their_name_only_are_one() -> None:
    first, second = Options(name="first", timeout=5.0).unnamed(), Options(name="second", timeout=5.0).unnamed()
    assert first is second
    assert first.timeout == 5.0
    assert Options(name="first", timeout=6.0).unnamed() is not first


def test_options_with_objects_of_the_user_stay_apart() -> None:
    """Two objects that say they are equal may have a life of their own."""
    one, other = Options(objective=Objective()), Options(objective=Objective())
    assert one == other
    assert one.unnamed() is not other.unnamed()
