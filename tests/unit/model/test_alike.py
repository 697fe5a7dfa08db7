"""What thousands of functions have in common is there once, and is what each would have had alone."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.model.tunable import Integer, Real, Space, Value, shared
from poet.options import Options

NUMBERS = st.floats(allow_nan=False)
ESTIMATES = st.builds(Estimate, NUMBERS, NUMBERS, NUMBERS, st.integers(0, 2**53), NUMBERS)


NAMES = st.text(max_size=5)
VALUES = st.booleans() | st.integers() | NUMBERS | st.text(max_size=5)


@given(
    st.builds(
        ParameterSet,
        values_=st.dictionaries(NAMES, VALUES, max_size=5),
        version=st.integers(0, 2**62),
        parent=st.none() | st.integers(0, 2**62),
        origin=st.sampled_from(("declared", "learned", "manual")),
        reason=st.text(),
        author=st.text(),
        estimates=st.dictionaries(NAMES, ESTIMATES, max_size=5),
        evidence=st.integers(0, 2**62),
        span=st.tuples(NUMBERS, NUMBERS),
        created=NUMBERS,
    ),
    st.dictionaries(NAMES, VALUES, max_size=5),
)
def test_a_version_is_a_mapping_that_can_be_copied_and_pickled_and_changed_only_as_another(
    version: ParameterSet, values: dict[str, Value]
) -> None:
    assert pickle.loads(pickle.dumps(version)) == copy.deepcopy(version) == version
    assert repr(version) == repr(copy.copy(version))
    other = version.changed(values_=values)
    assert dict(other) == other.values_ == values
    assert [type(value) for value in other.values()] == [type(value) for value in values.values()]
    assert list(other) == list(values)
    assert other.changed(values_=dict(version)) == version
    with pytest.raises(AttributeError, match="version"):
        version.version = 7
    with pytest.raises(AttributeError, match="origin"):
        del version.origin


@given(st.dictionaries(NAMES, ESTIMATES, max_size=5), st.text(), st.none() | st.integers(0, 2**62))
def test_what_is_said_of_a_version_is_kept_as_it_was_said(
    estimates: dict[str, Estimate], reason: str, parent: int | None
) -> None:
    version = ParameterSet(
        values_={}, parent=parent, reason=reason, estimates=estimates, evidence=3, span=(1.5, 2.5), created=0.1
    )
    assert version.estimates == estimates
    assert list(version.estimates) == list(estimates)
    assert (version.parent, version.reason) == (parent, reason)
    assert (version.evidence, version.span, version.created) == (3, (1.5, 2.5), 0.1)


def test_half_a_character_in_a_reason_is_kept() -> None:
    assert ParameterSet(values_={}, reason="\udc80").reason == "\udc80"


def test_a_value_or_an_estimate_that_is_not_there_is_a_key_error() -> None:
    version = ParameterSet(values_={"timeout": 1.0}, estimates={"timeout": Estimate(1.0, 0.5, 2.0, 10)})
    assert (version["timeout"], version.number("timeout"), version.number("retries", 2)) == (1.0, 1.0, 2.0)
    for mapping in (version, version.values_, version.estimates):
        with pytest.raises(KeyError, match="retries"):
            mapping["retries"]


def test_values_that_come_again_are_the_same_objects_and_zeros_keep_their_sign() -> None:
    first, second = (ParameterSet(values_={"backoff": float("0.05"), "retries": 1}) for _ in range(2))
    assert first["backoff"] is second["backoff"]
    signs = [str(ParameterSet(values_={"backoff": zero})["backoff"]) for zero in (0.0, -0.0, 0, False)]
    assert signs == ["0.0", "-0.0", "0", "False"]


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
