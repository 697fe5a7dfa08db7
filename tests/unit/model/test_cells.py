"""Names of values for some contexts only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.cells import base_of, by_features, features_of, held, named, spread, text_of
from poet.model.tunable import Choice, Integer, Real, Space

texts = st.text(min_size=1, max_size=20).filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text))
values = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts)


@given(st.dictionaries(texts, values, min_size=1, max_size=4))
def test_a_name_tells_its_features_whatever_they_are(features: dict[str, bool | int | float | str]) -> None:
    name = named("timeout", features.items())
    assert base_of(name) == "timeout"
    assert features_of(name) == tuple(sorted((each, text_of(value)) for each, value in features.items()))
    backwards = named("timeout", reversed(features.items()))
    assert features_of(backwards) == features_of(name)


@pytest.mark.parametrize("name", ["timeout@", "timeout@eu", "timeout@=eu", "timeout@a=1,", "timeout@a=1,a=2"])
def test_what_has_not_the_form_of_a_name_is_refused_with_one_that_has(name: str) -> None:
    with pytest.raises(ConfigurationError, match="write it as 'timeout@region=eu'"):
        features_of(name)
    assert by_features({name: 1.0}) == {}


def test_values_for_contexts_come_by_their_features_those_of_fewer_first() -> None:
    told = {"k@b=1,a=2": 1, "k@c=3": 2, "k": 3, "m@a=2,b=1": 4}
    assert list(by_features(told).items()) == [((("c", "3"),), {"k": 2}), ((("a", "2"), ("b", "1")), {"k": 1, "m": 4})]


def test_what_is_fixed_for_all_contexts_holds_in_each() -> None:
    live = {"timeout": 1.0, "timeout@region=eu": 2.0, "retries": 1.0}
    assert held(live, {"timeout": 3.0}) == {"timeout": 3.0, "retries": 1.0}
    assert held(live, {"timeout@region=us": 3.0}) == {**live, "timeout@region=us": 3.0}
    assert spread({"timeout": 3.0}, live) == {"timeout": 3.0, "timeout@region=eu": 3.0}
    assert spread({"timeout": 3.0, "timeout@region=eu": 4.0}, live) == {"timeout": 3.0, "timeout@region=eu": 4.0}


def test_a_space_has_its_parents_bounds_for_values_of_contexts() -> None:
    space = Space(timeout=Real(0.1, 5.0), k=Integer(1, 9), model=Choice("a", "b"))
    assert space.check({"timeout@region=eu": 2, "k@region=eu": 3, "model@x=1": "b"}) == {
        "timeout@region=eu": 2.0,
        "k@region=eu": 3,
        "model@x=1": "b",
    }
    with pytest.raises(ConfigurationError, match=r"timeout@region=eu must be in \[0.1, 5\], got 9; the nearest is 5"):
        space.check({"timeout@region=eu": 9.0})
    with pytest.raises(ConfigurationError, match="no tunable 'timout': did you mean 'timeout'"):
        space.check({"timout@region=eu": 1.0})
    with pytest.raises(ConfigurationError, match="no name of a value for a context: 'timeout@eu'"):
        space.check({"timeout@eu": 1.0})
    assert space.clip({"timeout@region=eu": 9.0, "model@x=1": "c", "other@x=1": 3}) == {
        "timeout@region=eu": 5.0,
        "other@x=1": 3,
    }
