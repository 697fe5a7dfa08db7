"""Tunables that are a function's own parameters: how they are declared, and what is refused."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import AsyncIterator, Iterator
from enum import Enum
from typing import Annotated, Any, Optional

import pytest

import poet
from houses import House
from poet.calls.declaring import NOWHERE, declared, plain_annotations
from poet.errors import ConfigurationError
from poet.model.function import FunctionKey
from poet.model.tunable import Choice, Integer, Real

Warmth = Annotated[float, "how bold it is", Real(0, 1)]


def ask(
    question: str,
    temperature: Annotated[float, poet.Real(0, 1)] = 0.2,
    *,
    k: Annotated[int, poet.Integer(1, 64, log=True)] = 8,
    model: Annotated[str, poet.Choice("small", "large")] = "small",
    warmth: Warmth = 0.5,
    top: Optional[Annotated[float, Real(0, 1)]] = 1.0,  # noqa: UP045 - as older code writes it
    depth: Annotated[int | None, Integer(1, 3)] = 1,
    loud: bool = False,
) -> str:
    return question


def names(function: Any, **tunables: Any) -> list[str]:
    return [own.name for own in declared(function, tunables).own]


def test_tunables_are_read_from_annotations_with_their_places_and_defaults() -> None:
    own = {each.name: each for each in declared(ask, {}).own}
    assert list(own) == ["temperature", "k", "model", "warmth", "top", "depth"]
    assert own["temperature"] == ("temperature", Real(0, 1), 0.2, 1)
    assert own["k"] == ("k", Integer(1, 64, log=True), 8, NOWHERE)
    assert own["model"] == ("model", Choice("small", "large"), "small", NOWHERE)
    assert own["warmth"].tunable == own["top"].tunable == Real(0, 1)


def test_a_local_name_is_found_where_the_function_was_written() -> None:
    limit = Real(0, 3)

    def local(x: Annotated[float, limit] = 1.0) -> object:
        return limit, x  # so that it is in the function's closure

    assert declared(local, {}).own[0].tunable == limit


def test_annotations_that_cannot_be_read_are_nobodys_business_unless_they_speak_of_a_tunable() -> None:
    def odd(x: NoSuchThing = 1, y: Annotated[float, Real(0, 1)] = 0.5) -> None:  # type: ignore[name-defined]  # noqa: F821
        ...

    assert names(odd) == ["y"]

    def wrong(y: Annotated[float, Reel.Real(0, 1)] = 0.5) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match=r"the annotation of 'y' .* cannot be read.* say tunables={'y': …}"):
        declared(wrong, {})


def test_tunables_given_to_the_decorator_replace_annotations_and_need_none() -> None:
    def plain(x: float = 0.5, y: Annotated[float, Real(0, 1)] = 0.5) -> None: ...

    own = declared(plain, {"x": Real(0, 2), "y": Real(0, 5), "timeout": Real(0.1, 5)}).own
    assert [(each.name, each.tunable) for each in own] == [("x", Real(0, 2)), ("y", Real(0, 5))]


def several(x: Annotated[Annotated[float, Real(0, 1)], Real(0, 2)] = 0.5) -> None: ...


def listed(x: list[Annotated[float, Real(0, 1)]] = []) -> None: ...  # noqa: B006 - never called


def by_place(x: Annotated[float, Real(0, 1)] = 0.5, /) -> None: ...


def gathered(*x: Annotated[float, Real(0, 1)]) -> None: ...


def bare(x: Annotated[float, Real(0, 1)], y: float = 0.5) -> None: ...


def outside(x: Annotated[float, Real(0, 1)] = 2.0) -> None: ...


def foreign(x: Annotated[str, Choice("a", "b")] = "c") -> None: ...


def flag(x: Annotated[int, Integer(0, 1)] = True) -> None: ...


def long(x: Annotated[str, Choice("a", "b" * 201)] = "a") -> None: ...


def empty(x: Annotated[str, Choice("a", "")] = "a") -> None: ...


def big(x: Annotated[int, Integer(0, 10**400)] = 10**399) -> None: ...


class Colour(str, Enum):  # noqa: UP042 - as code for older Pythons has it
    RED = "red"
    BLUE = "blue"


def coloured(x: Annotated[str, Choice(Colour.RED, Colour.BLUE)] = Colour.RED) -> None: ...


def timed(timeout: Annotated[float, Real(0, 1)] = 0.5) -> None: ...


def retried(retries: Annotated[int, Integer(0, 1)] = 0) -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "said"),
    [
        (several, {}, "'x' of several is declared as Real(low=0, high=1"),
        (listed, {}, "'x' of listed cannot be tuned: a tunable is for a parameter that is one number or one option"),
        (by_place, {}, "'x' of by_place cannot be tuned: it takes no keyword; move it behind the slash"),
        (gathered, {}, "'x' of gathered cannot be tuned: it takes no keyword; move it into a parameter of its own"),
        (bare, {}, "'x' of bare cannot be tuned without a default: the value to begin with; write x=…"),
        (bare, {"tunables": {"x": Real(0, 1)}}, "'x' of bare cannot be tuned without a default"),
        (outside, {}, "the default of x must be in [0, 1], got 2; the nearest is 1"),
        (foreign, {}, "the default of x must be one of 'a', 'b', got 'c'"),
        (flag, {}, "the default of x must be a whole number in [0, 1], got True"),
        (long, {}, "x: an option must be a plain finite number, True, False or a text of 1 to 200 characters, got 'bb"),
        (empty, {}, "x: an option must be a plain finite number, True, False or a text of 1 to 200 characters, got ''"),
        (coloured, {}, "an option must be a plain finite number, True, False or a text of 1 to 200 characters, got <"),
        (big, {}, "the default of x has more than 512 bits: no store keeps it"),
        (timed, {}, "the parameter 'timeout' of timed cannot be tuned: every function has a tunable of that name; give "
        "it another one, or say timeout_arg='timeout'"),
        (retried, {}, "the parameter 'retries' of retried cannot be tuned: every function has a tunable of that name"),
        (ask, {"tunables": {"temprature": Real(0, 1)}}, "no tunable 'temprature': did you mean 'temperature'?"),
        (ask, {"tunables": {"temperature": 3}}, "the tunable 'temperature' must be a poet.Real, poet.Integer or poet."),
        (ask, {"timeout_arg": "temperature"}, "'temperature' of ask is filled by timeout_arg: it cannot be tuned as"),
        (ask, {"key_arg": "model"}, "'model' of ask is filled by key_arg: it cannot be tuned as well"),
        (ask, {"context": "model"}, "context: 'model' of ask is tuned: it cannot be what tuning depends on"),
        (ask, {"tunables": {"k": Integer(1, 9, when={"modal": "large"})}}, "when of k: no tunable 'modal': did you"),
        (ask, {"tunables": {"k": Integer(9, 64)}}, "the default of k must be in [9, 64], got 8; the nearest is 9"),
    ],
)  # fmt: skip
def test_what_cannot_be_tuned_is_refused_with_what_to_do(function: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        House().poet(**options)(function)


def test_what_has_no_annotations_declares_nothing() -> None:
    assert declared(len, {}).own == declared(lambda x: x, {}).own == ()
    assert House().poet(len)("ab") == 2


def test_bounds_of_a_timeout_argument_are_those_of_the_timeout() -> None:
    def fetch(timeout: Annotated[float, Real(0.1, 5)] = 1.0) -> float:
        return timeout

    tuned = House().poet(timeout_arg="timeout")(fetch)
    assert tuned.poet.parameters["timeout"] == 5.0  # the usual 30 s, as near as it may be
    assert 0 < tuned() <= 5.0
    with pytest.raises(ConfigurationError, match=r"timeout must be in \[0.1, 5\], got 9"):
        tuned.poet.pin(timeout=9)


def test_a_function_keeps_its_evidence_when_bounds_are_drawn_or_moved() -> None:
    def keys(*functions: Any) -> set[str]:
        return {
            FunctionKey.of(each, "f", plain_annotations(each, declared(each, {}).own)).fingerprint for each in functions
        }

    def first(x: Annotated[float, Real(0, 1)] = 0.5) -> None: ...

    def moved(x: Annotated[float, Real(0, 9)] = 0.5) -> None: ...

    def plain(x: float = 0.5) -> None: ...

    def other(x: int = 0) -> None: ...

    assert len(keys(first, moved, plain)) == 1
    assert len(keys(first, other)) == 2
    before = FunctionKey.of(ask)  # of a function without tunables nothing has changed
    assert FunctionKey.of(ask, None, {}) == before


def test_each_kind_of_function_has_tunables_of_its_own() -> None:
    house = House()
    options = {"enable_training": False, "tunables": {"k": Integer(1, 9)}}

    @house.poet(**options)
    def plain(k: int = 2) -> int:
        return k

    @house.poet(**options)
    async def later(*, k: int = 2) -> int:
        return k

    @house.poet(**options)
    def items(k: int = 2) -> Iterator[int]:
        yield k

    @house.poet(**options)
    async def items_later(k: int = 2) -> AsyncIterator[int]:
        yield k

    class Service:
        @house.poet(**options)
        def ask(self, k: int = 2) -> int:
            return k

    @house.poet(**options, name="wrapped")
    @functools.wraps(plain)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return plain(*args, **kwargs)

    async def all_of_it() -> list[int]:
        return [each async for each in items_later()]

    for function, call in (
        (plain, plain),
        (later, lambda: asyncio.run(later())),
        (items, lambda: next(items())),
        (items_later, lambda: asyncio.run(all_of_it())[0]),
        (Service.ask, Service().ask),
        (wrapped, wrapped),
    ):
        assert call() == 2
        function.poet.pin(k=5)  # type: ignore[attr-defined]
        assert call() == 5, function
        assert function.poet.parameters["k"] == 5  # type: ignore[attr-defined]
