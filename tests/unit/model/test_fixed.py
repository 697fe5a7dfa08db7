"""Values that a person fixed, for all contexts or for some only."""

from __future__ import annotations

import pytest

from poet.errors import ConfigurationError
from poet.model.fixed import held, spelt, spread
from poet.model.tunable import Choice, Integer, Real, Space


@pytest.mark.parametrize("name", ["timeout@", "timeout@eu", "timeout@=eu", "timeout@a=1,", "timeout@size<big"])
def test_what_has_not_the_form_of_a_name_is_refused_with_one_that_has(name: str) -> None:
    with pytest.raises(ConfigurationError, match="write it as 'region=eu'"):
        spelt(name)


def test_a_name_is_spelt_in_one_way() -> None:
    assert spelt("k@b=1,a>=2.0") == spelt("k@a>=2,b=1") == "k@a>=2,b=1"
    assert spelt("k@size>=100,region=eu,size<1000") == "k@region=eu,size>=100,size<1000"


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
    with pytest.raises(ConfigurationError, match="no condition on a feature: 'eu'"):
        space.check({"timeout@eu": 1.0})
    assert space.clip({"timeout@region=eu": 9.0, "model@x=1": "c", "other@x=1": 3}) == {
        "timeout@region=eu": 5.0,
        "other@x=1": 3,
    }
