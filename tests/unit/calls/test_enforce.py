"""E: each result is checked inside its attempt; a rejected one is an attempt that failed."""

from __future__ import annotations

import abc
import asyncio
import json
from collections.abc import Callable
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.enforce import Enforcer, verdict_of
from poet.errors import ConfigurationError, EnforceError, ResultRejected
from poet.model.execution import Outcome
from poet.testing.clock import run

T = TypeVar("T")


def causes(error: BaseException) -> list[BaseException]:
    """The chain of causes, as loggers and error trackers walk it."""
    chain: list[BaseException] = []
    cause = error.__cause__
    while cause is not None:
        assert cause not in [error, *chain], "an error is its own cause: whoever walks the chain never comes back"
        chain.append(cause)
        cause = cause.__cause__
    return chain


def giving(result: Any, enforce: Any, **options: Any) -> Any:
    """A function that gives ``result`` every time."""
    house = House()

    @house.poet(enforce=enforce, name="f", **{"retries": 0, "backoff": 0, **options})
    def give() -> Any:
        return result

    return give


def accepts(enforce: Any, result: Any) -> bool:
    give = giving(result, enforce)
    try:
        assert give() is result
    except ResultRejected:
        return False
    return True


class Base(abc.ABC):  # noqa: B024 - an abstract one is a type like others
    pass


class Derived(Base): ...


@pytest.mark.parametrize(
    ("enforce", "good", "bad"),
    [
        (bool, True, 1),
        (int, 3, "3"),
        (int, True, 3.0),
        (type(None), None, 0),
        (str | None, None, b""),
        (int | str, "x", 1.0),
        ((int, str), 3, None),
        (Base, Derived(), object()),
        (list, [], ()),
        (type, int, 3),
    ],
)
def test_a_type_accepts_its_instances(enforce: Any, good: Any, bad: Any) -> None:
    assert accepts(enforce, good)
    assert not accepts(enforce, bad)


def test_a_result_of_another_type_is_told_by_its_type_and_never_by_its_value() -> None:
    with pytest.raises(ResultRejected, match=r"^f: enforce: expected int or str, got bytes$"):
        giving(b"secret", int | str)()
    with pytest.raises(ResultRejected, match=r"^f: enforce: expected int or str, got list$"):
        giving(["secret"], (int, str))()
    with pytest.raises(ResultRejected, match=r"^f: enforce: expected dict, got NoneType$"):
        giving(None, dict)()


@runtime_checkable
class Sized(Protocol):
    def __len__(self) -> int: ...


class Unchecked(Protocol):
    def __len__(self) -> int: ...


def test_a_protocol_serves_where_it_can_be_checked() -> None:
    assert accepts(Sized, [1])
    assert not accepts(Sized, 3)
    with pytest.raises(ConfigurationError, match="cannot be checked"):
        verdict_of(Unchecked)


class Box(Generic[T]): ...


@pytest.mark.parametrize(
    "enforce",
    [
        list[int],
        dict[str, int],
        Box[int],
        int | list[int],
        (int, list[int]),
        (type(None), list[int]),
        Literal["a"],
        Any,
        (),
        3,
        "int",
        [int],
        object(),
    ],
)
def test_what_cannot_be_checked_is_refused_when_the_function_is_decorated(enforce: Any) -> None:
    with pytest.raises(ConfigurationError, match="enforce"):
        poet.poet(enforce=enforce)


def test_a_predicate_rejects_by_false() -> None:
    assert accepts(lambda result: result > 3, 4)
    assert not accepts(lambda result: result > 3, 3)


def test_a_predicate_of_numpy_rejects_by_its_own_false() -> None:
    # (a > 0).all() is no bool, and whoever writes it means a predicate.
    assert accepts(lambda a: (a > 0).all(), np.array([1, 2]))
    assert not accepts(lambda a: (a > 0).all(), np.array([1, -2]))


@pytest.mark.parametrize("value", [None, True, "", 0, [], {}], ids=repr)
def test_a_validator_that_gives_anything_else_has_accepted(value: Any) -> None:
    assert accepts(lambda result: value, "x")
    assert accepts(json.loads, "{}")


def test_what_it_gives_is_not_the_result() -> None:
    assert giving("[1]", json.loads)() == "[1]"


@pytest.mark.parametrize("error", [ValueError("too short"), AssertionError("too short"), UnicodeError("too short")])
def test_a_validator_rejects_by_a_value_error(error: Exception) -> None:
    def check(result: Any) -> None:
        raise error

    give = giving("x", check, retries=2)
    with pytest.raises(ResultRejected, match="f: enforce: too short") as caught:
        give()
    assert causes(caught.value) == [error]
    assert [attempt.outcome for attempt in give.poet.last.attempts] == [Outcome.ERROR] * 3


def test_a_rejection_without_words_names_its_kind() -> None:
    def check(result: Any) -> None:
        raise AssertionError

    with pytest.raises(ResultRejected, match="f: enforce: AssertionError"):
        giving("x", check)()


@pytest.mark.parametrize(
    "error", [KeyError("k"), TypeError("t"), ConnectionError("c"), TimeoutError("o"), OSError("e")]
)
def test_any_other_error_is_enforces_own_and_is_not_worth_another_attempt(error: Exception) -> None:
    def check(result: Any) -> None:
        raise error

    give = giving("x", check, retries=3)
    with pytest.raises(EnforceError, match=type(error).__name__) as caught:
        give()
    assert not isinstance(caught.value, ResultRejected)
    assert causes(caught.value) == [error]
    assert caught.value.stage == "enforce"
    assert [attempt.outcome for attempt in give.poet.last.attempts] == [Outcome.REFUSED]


def test_a_rejection_in_our_own_words_comes_out_as_it_is_and_is_not_its_own_cause() -> None:
    mine = ResultRejected("mine", "no good")

    def check(result: Any) -> None:
        raise mine

    with pytest.raises(ResultRejected) as caught:
        giving("x", check)()
    assert caught.value is mine
    assert causes(caught.value) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_the_program_passes_through(stop: type[BaseException]) -> None:
    def check(result: Any) -> None:
        raise stop

    give = giving("x", check, retries=3)
    with pytest.raises(stop):
        give()
    assert give.poet.last.outcome is Outcome.CANCELLED


class Model:
    """As pydantic's models are: a class with these two."""

    def __init__(self, n: int) -> None:
        self.n = n

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        if not isinstance(value, dict) or not isinstance(value.get("n"), int):
            raise ValueError("n must be a whole number")  # noqa: TRY004 - as pydantic.ValidationError is
        return cls(value["n"])

    @classmethod
    def model_validate_json(cls, text: str | bytes) -> Model:
        return cls.model_validate(json.loads(text))


class Adapter:
    """As pydantic's TypeAdapter of a text is: an object with these two."""

    def validate_python(self, value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("not a text")  # noqa: TRY004 - likewise
        return value

    def validate_json(self, text: str | bytes) -> Any:
        return self.validate_python(json.loads(text))


def test_a_model_checks_mappings_texts_and_its_own_instances_and_replaces_nothing() -> None:
    for good in ({"n": 1}, '{"n": 1}', b'{"n": 1}', Model(1)):
        assert accepts(Model, good)
    for bad in ({"n": "1"}, '{"n": "1"}', b"{", "", None, 3):
        assert not accepts(Model, bad)


def test_an_adapter_of_texts_takes_a_text_for_what_it_is() -> None:
    assert accepts(Adapter(), "not json")
    assert not accepts(Adapter(), 3)


def test_half_a_model_is_refused_when_the_function_is_decorated() -> None:
    class Half:
        @classmethod
        def model_validate(cls, value: Any) -> Any:
            return value

    with pytest.raises(ConfigurationError, match="enforce"):
        poet.poet(enforce=Half)


async def good_later(result: Any) -> bool:
    await asyncio.sleep(0.1)
    return bool(result == "good")


class GoodLater:
    """The same, and no coroutine function by its looks."""

    async def __call__(self, result: Any) -> bool:
        return await good_later(result)


LATER: list[Any] = [good_later, GoodLater(), lambda result: good_later(result)]


@pytest.mark.parametrize("enforce", LATER, ids=["function", "object", "lambda"])
def test_a_check_that_takes_its_time_is_waited_for_by_async_functions(enforce: Any) -> None:
    house = House()
    results = iter(["bad", "good", "never asked"])

    @house.poet(enforce=enforce, backoff=0)
    async def ask() -> str:
        return next(results)

    async def main() -> tuple[str, list[float]]:
        return await ask(), [attempt.seconds for attempt in ask.poet.last.attempts]

    result, seconds = run(main(), house.clock)
    assert result == "good"
    assert seconds == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("enforce", LATER, ids=["function", "object", "lambda"])
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_a_check_that_must_be_awaited_accepts_nothing_of_a_plain_function_by_its_mere_existence(enforce: Any) -> None:
    house = House()
    with pytest.raises((ConfigurationError, EnforceError)):
        house.poet(enforce=enforce, name="f")(lambda: "bad")()


def test_a_check_counts_to_its_attempts_limit() -> None:
    house = House()

    async def endless(result: Any) -> None:
        await asyncio.sleep(60)

    @house.poet(enforce=endless, timeout=1.0, retries=0)
    async def ask() -> str:
        return "x"

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await ask()

    run(main(), house.clock)
    assert house.clock.now() == pytest.approx(101.0)


def test_the_last_result_that_is_not_rejected_is_the_callers() -> None:
    house = House()
    results = iter([3, 2, 1, 0])

    @house.poet(enforce=lambda n: n < 2, backoff=0)
    def ask() -> int:
        return next(results)

    assert ask() == 1
    assert next(results) == 0


def test_where_calls_are_plain_calls_a_result_is_checked_all_the_same() -> None:
    house = House(learning="off")
    calls = 0

    @house.poet(enforce=lambda result: False)
    def ask() -> str:
        nonlocal calls
        calls += 1
        return "x"

    with pytest.raises(ResultRejected):
        ask()
    assert calls == 1


def test_a_rejection_counts_for_the_breaker_and_a_fault_of_the_check_does_not() -> None:
    house = House()

    def circuit_after(check: Callable[[Any], Any], name: str) -> Any:
        dependency = poet.Dependency(name, breaker=poet.Breaker(min_calls=2))

        @house.poet(enforce=check, dependency=dependency, retries=0, name=name)
        def ask() -> str:
            return "x"

        for _ in range(3):
            with pytest.raises((EnforceError, poet.CircuitOpen)):
                ask()
        return ask.poet.status()["dependency"]["breaker"]

    assert circuit_after(lambda result: False, "rejects") == "open"
    assert circuit_after(lambda result: 1 / 0, "fails") == "closed"


def test_a_domain_may_give_another_result_and_the_users_check_sees_that() -> None:
    enforcer = Enforcer("f", enforce=lambda result: result == "[X]", refine=lambda result: f"[{result}]")
    assert enforcer.check("X") == "[X]"
    with pytest.raises(ResultRejected):
        enforcer.check("Y")


def test_a_domain_that_rejects_or_fails_is_like_any_check() -> None:
    with pytest.raises(ResultRejected, match="f: enforce: not a price"):
        Enforcer("f", refine=lambda result: int("not", 3) if result else _reject("not a price")).check(None)
    with pytest.raises(EnforceError, match="f: enforce: ZeroDivisionError"):
        Enforcer("f", refine=lambda result: 1 / 0).check(None)


def _reject(why: str) -> None:
    raise ValueError(why)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.lists(st.integers())))
def test_the_result_that_is_accepted_is_the_very_one(result: Any) -> None:
    assert Enforcer("f", enforce=lambda _: None).check(result) is result
