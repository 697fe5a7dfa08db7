from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.learning.axes import Axis, Cube, declared_axis, guessed_axis, is_number, tunable_of
from poet.model.tunable import Choice, Integer, Real

numbers = st.one_of(st.integers(-1000, 1000), st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6))


@given(numbers)
def test_a_guessed_axis_holds_the_value_and_brings_it_back(value: int | float) -> None:
    axis = guessed_axis(value)
    assert axis.low <= value <= axis.high
    assert axis.value(axis.place(value)) == pytest.approx(value, rel=1e-5, abs=1e-9)
    assert type(axis.value(axis.place(value))) is type(value)


@given(numbers, st.floats(-1e9, 1e9), st.floats(0, 0.999))
def test_no_place_leads_out_of_bounds_nor_changes_the_kind(value: int | float, place: float, coin: float) -> None:
    for axis in (guessed_axis(value), declared_axis(Integer(1, 64, log=True)), declared_axis(Real(-2.0, 5.0))):
        found = axis.value(place, coin)
        assert axis.low <= found <= axis.high
        assert isinstance(found, int) == axis.whole


def test_a_guess_is_careful() -> None:
    assert (guessed_axis(0.2).low, guessed_axis(0.2).high) == (0.02, 1.0)  # a share stays one
    assert (guessed_axis(30.0).low, guessed_axis(30.0).high, guessed_axis(30.0).log) == (3.0, 300.0, True)
    assert (guessed_axis(3).low, guessed_axis(3).log) == (1.0, False)
    assert (guessed_axis(0.0).low, guessed_axis(0.0).high) == (0.0, 1.0)
    assert (guessed_axis(-4.0).low, guessed_axis(-4.0).high) == (-8.0, 0.0)


def test_whole_numbers_are_rounded_in_proportion() -> None:
    """4.3 is 4 in 70 % of 10 000 draws, within 4 standard errors."""
    axis, dice = declared_axis(Integer(0, 10)), random.Random(1)
    fours = sum(axis.value(0.43, dice.random()) == 4 for _ in range(10_000))
    assert abs(fours - 7000) < 4 * math.sqrt(10_000 * 0.3 * 0.7)
    assert axis.value(0.43) == 4
    assert axis.value(0.47) == 5


@pytest.mark.parametrize(
    ("given", "tunable"),
    [
        ((1, 5), Integer(1, 5)),
        ([0.1, 5], Real(0.1, 5.0)),
        (["a", "b"], Choice("a", "b")),
        ([1, 2, 3], Choice(1, 2, 3)),
        ((True, False), Choice(True, False)),
        ({"low": 1, "high": 64, "log": True}, Integer(1, 64, log=True)),
        ({"min": 0.5, "max": 2.0}, Real(0.5, 2.0)),
        ({"range": (1.0, 8.0), "type": "continuous"}, Real(1.0, 8.0)),
        ({"options": ["x", "y"]}, Choice("x", "y")),
        (Real(0, 1), Real(0, 1)),
    ],
)
def test_ranges_may_be_given_in_several_ways(given: object, tunable: object) -> None:
    assert tunable_of("p", given) == tunable


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("abc", "p needs a range"),
        (3.0, "p needs a range"),
        ({"low": 1}, "p needs two numbers as its range, got (1, None)"),
        ({"lwo": 1, "high": 2}, "p: unknown key 'lwo' in its range: did you mean 'low'?"),
        ((5, 1), "bounds upside down"),
        ([], "at least one option"),
        ({"low": 0.0, "high": 1.0, "log": True}, "a log scale needs low > 0"),
    ],
)
def test_what_is_no_range_is_refused_with_its_name(given: object, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        tunable_of("p", given)
    assert says in str(caught.value)


SPACE = {"t": Real(0.1, 10.0, log=True), "k": Integer(1, 9), "m": Choice("a", "b", "c"), "one": Real(2.0, 2.0)}


@given(st.floats(0.1, 10), st.integers(1, 9), st.sampled_from("abc"))
def test_a_cube_brings_values_back(t: float, k: int, m: str) -> None:
    cube = Cube(SPACE)
    row = cube.row({"t": t, "k": k, "m": m, "one": 2.0})
    assert row is not None
    assert cube.values(row) == {"t": pytest.approx(t, rel=1e-5), "k": k, "m": m, "one": 2.0}


@given(st.lists(st.floats(-1, 2), min_size=4, max_size=4))
def test_a_rounded_point_is_one_that_can_be_tried(point: list[float]) -> None:
    cube = Cube(SPACE)
    rounded = cube.rounded(point)
    assert cube.values(rounded) == {**cube.values(point), "t": pytest.approx(cube.values(point)["t"])}
    assert cube.rounded(rounded) == pytest.approx(rounded)


@pytest.mark.parametrize(
    "values", [{}, {"t": 1.0, "k": 1, "m": "z", "one": 2.0}, {"t": "x", "k": 1, "m": "a", "one": 2.0}]
)
def test_rows_that_lack_something_are_no_points(values: dict[str, object]) -> None:
    assert Cube(SPACE).row(values) is None


def test_what_is_a_number() -> None:
    assert [is_number(x) for x in (1, 1.5, True, None, math.nan, math.inf, 10**400, "1")] == [True, True] + [False] * 6
    assert Axis(1.0, 5.0, False, True, 1.0).value(9.0) == 5
    with pytest.raises(ConfigurationError, match="param_space is empty"):
        Cube({})


def test_a_cube_knows_steps_and_idle_tunables() -> None:
    space = {
        "model": Choice("a", "b"),
        "heat": Real(0.0, 1.0, step=0.25, when={"model": "b"}),
        "beams": Integer(1, 9, step=4, log=True),
        "free": Real(0.0, 2.0),
    }
    cube = Cube(space, {"model": "a", "heat": 0.75, "beams": 5, "free": 1.0})
    assert cube.conditional
    assert cube.steps()[1] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert cube.steps()[2] == pytest.approx([0.0, math.log(5) / math.log(9), 1.0])
    assert cube.steps()[0] is cube.steps()[3] is None
    assert cube.conditions() == [[], [(0, [1.0])], [], []]
    idle = cube.row({"model": "a", "heat": 0.0, "beams": 1, "free": 0.0})
    assert idle == [0.0, 0.75, 0.0, 0.0]
    assert cube.row({"model": "b", "heat": 0.0, "beams": 1, "free": 0.0}) == [1.0, 0.0, 0.0, 0.0]
    assert cube.values([1.0, 0.4, 0.6, 0.5]) == {"model": "b", "heat": 0.5, "beams": 5, "free": 1.0}
    assert cube.rounded([0.0, 0.4, 0.6, 0.5]) == pytest.approx([0.0, 0.75, math.log(5) / math.log(9), 0.5])
