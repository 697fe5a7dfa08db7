from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.calls.deadline import DEADLINE
from poet.calls.inject import injected
from poet.errors import ConfigurationError, PoetTimeout
from poet.testing.clock import VirtualClock


@contextmanager
def limit(moment: float) -> Iterator[None]:
    """What the wrapper does around an attempt; the clock of these tests stands at 0."""
    token = DEADLINE.set(moment)
    try:
        yield
    finally:
        DEADLINE.reset(token)


def told(function: Callable[..., Any], timeout_arg: Any = "timeout") -> Callable[..., Any]:
    return injected(function, function, timeout_arg, name="shop.fetch", now=VirtualClock().now)


def plain(url: str, timeout: object = 10.0) -> object:
    return timeout


def keyword_only(url: str, *, timeout: object = None) -> object:
    return timeout


def anything(url: str, **options: object) -> object:
    return options.get("timeout", "not told")


class Client:
    def fetch(self, url: str, timeout: object = 10.0) -> object:
        return timeout


@pytest.mark.parametrize("function", [plain, keyword_only, anything])
def test_the_body_is_told_the_seconds_that_are_left(function: Callable[..., Any]) -> None:
    with limit(2.5):
        assert told(function)("url") == 2.5


@pytest.mark.parametrize(("function", "untold"), [(plain, 10.0), (keyword_only, None), (anything, "not told")])
def test_without_a_limit_nothing_is_told(function: Callable[..., Any], untold: object) -> None:
    assert told(function)("url") == untold


@pytest.mark.parametrize("function", [plain, keyword_only, anything])
@pytest.mark.parametrize(("passed", "used"), [(1, 1), (4.0, 2.5), (2.5, 2.5), (float("inf"), 2.5), (float("nan"), 2.5)])
def test_a_number_that_the_caller_passes_is_lowered_to_what_is_left(
    function: Callable[..., Any], passed: float, used: float
) -> None:
    with limit(2.5):
        assert told(function)("url", timeout=passed) == used


@pytest.mark.parametrize("passed", [None, (3, 5), True, "fast"])
def test_anything_else_that_the_caller_passes_is_left_alone(passed: object) -> None:
    with limit(2.5):
        assert told(plain)("url", timeout=passed) is passed
        assert told(plain)("url", passed) is passed


def test_what_the_caller_passes_by_position_is_found_there() -> None:
    with limit(2.5):
        assert told(plain)("url", 4.0) == 2.5
        assert told(plain)("url", 1.0) == 1.0
        assert told(Client.fetch)(Client(), "url", 4.0) == 2.5
        assert told(Client.fetch)(Client(), "url") == 2.5


def test_a_function_makes_the_value_where_it_is_not_a_number_of_seconds() -> None:
    both = told(plain, ("timeout", lambda s: (min(3.05, s), s)))
    with limit(2.5):
        assert both("url") == (2.5, 2.5)
        assert both("url", timeout=1.0) == 1.0
    with limit(8.0):
        assert both("url") == (3.05, 8.0)


def test_a_number_is_compared_in_the_unit_that_the_function_makes() -> None:
    milliseconds = told(plain, ("timeout", lambda s: 1000 * s))
    with limit(2.5):
        assert milliseconds("url", timeout=5000) == 2500
        assert milliseconds("url", timeout=300) == 300


def test_async_functions_are_told_too() -> None:
    async def fetch(url: str, timeout: float = 10.0) -> float:
        return timeout

    with limit(2.5):
        assert asyncio.run(told(fetch)("url")) == 2.5
        assert asyncio.run(told(fetch)("url", 1.0)) == 1.0


def test_each_attempt_is_told_anew() -> None:
    clock = VirtualClock()
    call = injected(plain, plain, "timeout", now=clock.now)
    with limit(2.5):
        assert call("url") == 2.5
        clock.sleep(1.0)
        assert call("url") == 1.5


@pytest.mark.parametrize("moment", [0.0, -1.0])
def test_no_attempt_begins_when_nothing_is_left(moment: float) -> None:
    begun: list[int] = []

    def body(timeout: float) -> None:
        begun.append(1)

    with limit(moment), pytest.raises(PoetTimeout) as caught:
        told(body)()
    assert caught.value.function == "shop.fetch"
    assert begun == []


@given(st.floats(1e-6, 1e6), st.none() | st.floats(0, 1e6) | st.integers(0, 1000), st.booleans())
def test_no_body_is_told_more_than_is_left_unless_the_caller_says_so_in_other_words(
    left: float, passed: float | None, by_position: bool
) -> None:
    call = told(plain)
    with limit(left):
        value = call("url", passed) if by_position else call("url", timeout=passed)
    assert value is None if passed is None else value == min(passed, left)


def test_the_callers_own_dictionary_is_not_written_to() -> None:
    options = {"timeout": 4.0}
    with limit(2.5):
        assert told(plain)("url", **options) == 2.5
    assert options == {"timeout": 4.0}


def test_a_name_that_the_function_has_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="plain has no such argument: did you mean 'timeout'"):
        told(plain, "timeuot")
    with pytest.raises(ConfigurationError, match="has no such argument: it has none"):
        told(lambda *args: args)


def test_an_argument_by_position_only_is_refused() -> None:
    def body(timeout: float, /) -> float:
        return timeout

    with pytest.raises(ConfigurationError, match="by position only"):
        told(body)


def test_the_collectors_of_other_arguments_are_no_arguments() -> None:
    def body(*timeout: object) -> object:
        return timeout

    def other(**timeout: object) -> object:
        return timeout

    with pytest.raises(ConfigurationError, match="no such argument"):
        told(body)
    with limit(2.5):
        assert told(other)() == {"timeout": 2.5}


@pytest.mark.parametrize("wrong", ["", "no name", 3, ("timeout",), ("timeout", 3), (3, float), None])
def test_what_cannot_be_a_timeout_arg_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="timeout_arg is the name of an argument"):
        told(plain, wrong)
