from __future__ import annotations

from enum import Enum, IntEnum, StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.model.execution import Context
from poet.stores import features
from poet.stores.columns import Reader
from unit.stores.strategies import CONTEXTS


class Tier(StrEnum):
    GOLD = "gold"


class Size(IntEnum):
    LARGE = 3


class Digest(int, Enum):
    LONG = 2**80


class Colour(str, Enum):  # noqa: UP042 - prints its own name, unlike a StrEnum
    RED = "red"


def kept(*contexts: Context) -> list[Context]:
    reader = Reader(features.pack(contexts))
    found = features.unpack(reader, len(contexts))
    reader.finish()
    return found


@given(st.lists(CONTEXTS, min_size=1, max_size=20))
def test_names_values_their_kinds_and_their_order_are_kept(contexts: list[Context]) -> None:
    found = kept(*contexts)
    assert found == contexts
    assert repr(found) == repr(contexts)  # 1, 1.0 and True are equal, and not the same


def test_an_execution_may_have_any_of_the_features_in_any_order() -> None:
    contexts: list[Context] = [
        (("size", 3), ("region", "eu")),
        (),
        (("region", "us"), ("size", 3)),
        (("size", "three"),),
        (("size", 3.0),),
    ]
    assert repr(kept(*contexts)) == repr(contexts)


def test_where_nobody_has_a_feature_hardly_anything_is_written() -> None:
    assert len(features.pack([()] * 1000)) == 5


def test_the_most_that_is_let_in_is_kept() -> None:
    context: Context = tuple((f"{i:0{features.LONGEST}}", "\U0001f600" * features.LONGEST) for i in range(32))
    assert kept(context) == [context]


@pytest.mark.parametrize(
    ("context", "complaint"),
    [
        ((("size", 1), ("size", 2)), "feature 'size' is there twice"),
        (tuple((f"f{i}", i) for i in range(33)), "feature 'f32' is one too many: 32 are kept, got 33"),
        ((("load", float("nan")),), "feature 'load' must be finite"),
        ((("load", float("inf")),), "feature 'load' must be finite"),
        ((("query", "x" * 201),), "feature 'query': texts of up to 200 characters are kept, got one of 201"),
        ((("x" * 201, 1),), "names of up to 200 characters are kept, got one of 201"),
        ((("user", 2**512),), "feature 'user': whole numbers of up to 512 bits are kept, got one of 513"),
        ((("user", -(2**512)),), "feature 'user': whole numbers of up to 512 bits"),
        ((("user", None),), "feature 'user' must be a bool, int, float or str, got NoneType"),
        ((("user", b"ada"),), "feature 'user' must be a bool, int, float or str, got bytes"),
        ((("user", np.int64(3)),), "feature 'user' must be a bool, int, float or str, got int64"),
        (((7, 1),), "a feature's name must be a str, got int"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_its_name_and_its_value_is_not_told(context: Context, complaint: str) -> None:
    for refuse in (features.check, lambda context: features.pack([(), context])):
        with pytest.raises(ValueError, match=complaint) as caught:
            refuse(context)
        assert "xxx" * 67 not in str(caught.value)
        assert "ada" not in str(caught.value)


def test_members_of_enums_and_numpy_floats_are_kept_as_the_values_that_they_are() -> None:
    context: Context = (
        ("tier", Tier.GOLD),
        ("size", Size.LARGE),
        ("digest", Digest.LONG),
        ("colour", Colour.RED),
        ("load", np.float64(0.1)),
    )
    assert repr(kept(context)) == (
        f"[(('tier', 'gold'), ('size', 3), ('digest', {2**80}), ('colour', 'red'), ('load', 0.1))]"
    )


@given(st.lists(CONTEXTS, min_size=1, max_size=6), st.data())
def test_whatever_is_read_could_have_been_written(contexts: list[Context], data: st.DataObject) -> None:
    """So a chunk that was read can always be merged with what follows."""
    packed = bytearray(features.pack(contexts))
    packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    reader = Reader(bytes(packed))
    try:
        found = features.unpack(reader, len(contexts))
    except ValueError:
        return
    assert len(found) == len(contexts)
    assert repr(kept(*found)) == repr(found)
