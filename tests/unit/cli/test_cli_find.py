from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.cli.find import find, short_name
from poet.errors import AmbiguousFunction, UnknownFunction
from poet.model.function import FunctionKey
from unit.cli.shop import NIGHTLY, PARCEL, PRICES, STOCK, record

ALL = [record(key) for key in (PRICES, STOCK, PARCEL, NIGHTLY)]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("shop.prices.fetch", PRICES),
        ("prices.fetch", PRICES),
        ("fetch#bbbb0002", STOCK),
        ("fetch#b", STOCK),
        ("shop.stock.fetch#bbbb0002", STOCK),
        ("Parcel.send", PARCEL),
        ("send", PARCEL),
        ("nightly report", NIGHTLY),
    ],
)
def test_a_function_answers_to_every_form_of_its_name(name: str, key: FunctionKey) -> None:
    assert find(name, ALL).key == key


def test_a_name_of_two_functions_is_refused_with_names_that_tell_them_apart() -> None:
    with pytest.raises(AmbiguousFunction, match=r"shop\.prices\.fetch, shop\.stock\.fetch"):
        find("fetch", ALL)


def test_two_signatures_of_one_function_are_told_apart_by_fingerprint() -> None:
    older = PRICES._replace(fingerprint="eeee0005")
    with pytest.raises(AmbiguousFunction, match=r"shop\.prices\.fetch#aaaa0001, shop\.prices\.fetch#eeee0005"):
        find("shop.prices.fetch", [*ALL, record(older)])


def test_an_unknown_name_gets_the_nearest_form() -> None:
    with pytest.raises(UnknownFunction, match=r"did you mean 'send'\?"):
        find("sned", ALL)
    with pytest.raises(UnknownFunction, match="none has been called yet"):
        find("send", [])


def test_a_full_name_wins_over_the_ending_of_another() -> None:
    outer, inner = FunctionKey("", "fetch", "0" * 8), FunctionKey("shop", "fetch", "1" * 8)
    assert find("fetch", [record(inner), record(outer)]).key == outer


def test_a_declared_name_may_hold_a_number_sign() -> None:
    key = FunctionKey("", "job #1", "12345678")
    assert find("job #1", [record(key)]).key == key
    assert find("job #1#12345678", [record(key)]).key == key


parts = st.sampled_from(["a", "b", "a.b", "b.a", "C.f", "f.<locals>.g", "x#y"])
keys = st.builds(FunctionKey, st.sampled_from(["", "a", "a.b", "m"]), parts, st.sampled_from(["00000001", "00000002"]))


# By their text: a declared name that repeats another function's full name and signature cannot be told from it.
@given(st.lists(keys, min_size=1, max_size=12, unique_by=str))
def test_the_short_name_and_the_identity_always_find_the_function(known: list[FunctionKey]) -> None:
    records = [record(key) for key in known]
    for one in records:
        assert find(short_name(one, records), records).key == one.key
        assert find(str(one.key), records).key == one.key
