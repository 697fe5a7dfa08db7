"""Names of values for some contexts, and which calls they are for."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model.contexts import Condition, Matcher, cell_of, cells, condition_of, conditions, named, parts, written

TEXTS = st.text(max_size=8) | st.sampled_from(["a,b", "a=b", "a@b", "a<b", "a>=b", "%2C", "True", "1.5"])
NAMES = st.text(min_size=1, max_size=6) | st.sampled_from(["region", "size>", "a=b", "x<y", "%"])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40)
VALUES = TEXTS | NUMBERS | st.booleans()


@given(NAMES, VALUES)
def test_a_condition_on_a_value_comes_back_from_its_text(name: str, value: object) -> None:
    (condition,) = conditions(cell_of(((name, value),), {}))
    assert condition.feature == name
    assert condition.holds(value)


@given(NAMES, st.sampled_from(["<", ">="]), st.floats(allow_nan=False, allow_infinity=False))
def test_a_condition_on_a_number_comes_back_exactly(name: str, how: str, cut: float) -> None:
    condition = Condition(name, how, cut)
    back = condition_of(str(condition))
    assert (back.feature, back.how) == (name, how)
    assert back.value == cut


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_exactly(number: float) -> None:
    assert float(written(number)) == number


@given(NUMBERS, st.lists(st.floats(-1e6, 1e6), max_size=4))
def test_a_number_lies_in_its_finest_cell(value: float, cuts: list[float]) -> None:
    cuts = sorted(set(cuts))
    rule = conditions(cell_of((("n", value),), {"n": cuts}))
    assert all(condition.holds(value) for condition in rule)
    if cuts:
        assert {cut for cut in cuts if any(condition.value == cut for condition in rule)} == {
            *[cut for cut in cuts if cut <= value][-1:],
            *[cut for cut in cuts if cut > value][:1],
        }


CONTEXTS = st.dictionaries(
    st.sampled_from("abc"), st.sampled_from(["eu", "us", "a,b"]) | st.booleans() | st.integers(-3, 3), max_size=3
).map(lambda each: tuple(each.items()))
CONDITIONS = st.one_of(
    st.builds(Condition, st.sampled_from("abc"), st.just("="), st.sampled_from(["eu", "us", "a%2Cb", "True", "1"])),
    st.builds(Condition, st.sampled_from("abc"), st.sampled_from(["<", ">="]), st.integers(-3, 3).map(float)),
)
RULES = st.lists(st.lists(CONDITIONS, min_size=1, max_size=3).map(lambda rule: ",".join(map(str, rule))), max_size=5)


@given(RULES, CONTEXTS)
def test_a_call_is_in_the_cell_of_the_most_conditions_that_hold(rules: list[str], context: tuple) -> None:
    features = dict(context)
    fitting = [
        cell
        for cell in rules
        if all(each.feature in features and each.holds(features[each.feature]) for each in conditions(cell))
    ]
    find = Matcher(rules)
    assert set(find.all(context)) == set(fitting)
    assert find(context) == next(reversed(find.all(context)), None)
    counts = [len(conditions(cell)) for cell in find.all(context)]
    assert counts == sorted(counts)


@given(st.lists(st.builds(Condition, st.sampled_from("ab"), st.just("="), st.sampled_from(["eu", "True", "3"]))))
def test_values_alone_are_found_as_any_rule_is(rules: list[Condition]) -> None:
    """The short way through a table gives what the long one does."""
    texts = [str(rule) for rule in rules]
    short, long = Matcher(texts), Matcher([*texts, "z>=1,z<0"])
    for value in ("eu", "us", True, "True", 3, "3", 3.0):
        for context in ((("a", value),), (("b", value), ("a", "eu"))):
            assert short(context) == long(context)


def test_names_that_are_no_cells_break_no_call() -> None:
    find = cells(["timeout", "timeout@", "timeout@nonsense", "timeout@size<much", "timeout@=eu", "timeout@region=eu"])
    assert find.cells == ("region=eu",)
    assert not cells(["timeout", "retries"])


@pytest.mark.parametrize("text", ["", "region", "=eu", "size<", "size>=nan", "size<inf", ">=3"])
def test_what_is_no_condition_is_refused_with_how_to_write_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match="region=eu"):
        condition_of(text)


def test_a_number_that_is_none_meets_no_cut() -> None:
    find = Matcher(["size>=3", "size<3"])
    assert [find((("size", value),)) for value in (math.nan, "3", True, 2, 3.5)] == [
        None,
        None,
        None,
        "size<3",
        "size>=3",
    ]


@given(NAMES.filter(lambda name: "@" not in name), RULES.filter(bool))
def test_names_come_apart_as_they_were_made(base: str, rules: list[str]) -> None:
    assert parts(named(base, rules[0])) == (base, rules[0])


def test_of_two_cuts_through_a_number_the_narrower_cell_is_a_calls_own() -> None:
    find = Matcher(["size<50", "size<3", "size>=100", "size>=2000"])
    assert [find((("size", size),)) for size in (1, 10, 60, 500, 9000)] == [
        "size<3",
        "size<50",
        None,
        "size>=100",
        "size>=2000",
    ]
