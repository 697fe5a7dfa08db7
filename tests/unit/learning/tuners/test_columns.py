from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.learning.tuners.columns import MOST_CODES, MOST_COLUMNS, Columns
from poet.model.execution import Context

VALUES = st.one_of(st.booleans(), st.integers(-(2**600), 2**600), st.floats(), st.text(max_size=5))
CONTEXTS = st.lists(
    st.dictionaries(st.sampled_from("abcdefghijkl"), VALUES, max_size=12).map(lambda d: tuple(d.items())), max_size=30
)


@given(CONTEXTS)
def test_any_contexts_give_bounded_rows(contexts: list[Context]) -> None:
    columns = Columns()
    for context in contexts:
        codes = columns.learn(context)
        assert len(codes) == len(columns) <= MOST_COLUMNS
        for level, place in zip(columns.levels, columns.places(codes), strict=True):
            assert 0 <= place <= MOST_CODES if level else -0.5 <= place <= 1.5
    again = Columns.load(json.loads(json.dumps(columns.dump())))
    for context in contexts:
        assert again.places(again.codes(context)) == columns.places(columns.codes(context))
        assert again.known(context) == columns.known(context)


def test_numbers_are_told_by_deviations_and_categories_by_codes() -> None:
    columns = Columns()
    for k in range(101):
        columns.learn((("size", k), ("kind", "even" if k % 2 == 0 else "odd"), ("vip", k > 50)))
    assert columns.names == ("size", "kind", "vip")
    middle = columns.places(columns.codes((("size", 50), ("kind", "odd"), ("vip", False))))
    assert middle == pytest.approx([0.5, 2.0, 1.0])
    far = columns.places(columns.codes((("size", 1e9), ("kind", "new"))))
    assert far == pytest.approx([0.5 + 0.29 * 3, 0.0, 0.0])
    assert columns.known((("size", 3.5), ("kind", "odd"), ("vip", True)))
    assert not columns.known((("size", 3.5), ("kind", "new"), ("vip", True)))
    assert not columns.known((("size", 3.5), ("kind", "odd")))
    assert math.isnan(columns.codes((("size", "wide"),))[0])


def test_only_the_first_values_are_told_apart() -> None:
    columns = Columns()
    for k in range(1000):
        columns.learn((("user", f"u{k}"),))
    assert len({columns.codes((("user", f"u{k}"),))[0] for k in range(1000)}) == MOST_CODES + 1
    assert not columns.known((("user", "u999"),))


@pytest.mark.parametrize(
    "state",
    [
        [["a", "number", [1, math.nan, 0.0]]],
        [["a", "number", [-1, 0.0, 0.0]]],
        [["a", "shade", []]],
        [[1, "category", []]],
        [[f"f{k}", "category", []] for k in range(20)],
    ],
)
def test_what_is_no_dump_is_refused(state: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Columns.load(state)
