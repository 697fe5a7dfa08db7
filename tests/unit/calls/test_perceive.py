"""P: the input is normalised or rejected once, before the first attempt; its features are the call's own."""

from __future__ import annotations

import asyncio
import inspect
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.perceive import FEATURES, LONGEST_TEXT, MOST_FEATURES, Perceiver
from poet.errors import ConfigurationError, InputRejected, PerceiveError
from poet.model.execution import Outcome
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import run


def causes(error: BaseException) -> list[BaseException]:
    """The chain of causes, as loggers and error trackers walk it."""
    chain: list[BaseException] = []
    cause = error.__cause__
    while cause is not None:
        assert cause not in [error, *chain], "an error is its own cause: whoever walks the chain never comes back"
        chain.append(cause)
        cause = cause.__cause__
    return chain


def told(house: House, features: Any) -> Any:
    """A function whose ``perceive`` tells these."""

    @house.poet(perceive=lambda: ((), {}, features))
    def ask() -> str:
        return "answer"

    return ask


def test_none_leaves_the_arguments_as_they_are() -> None:
    house = House()
    seen: list[Any] = []

    @house.poet(perceive=lambda *args, **kwargs: seen.append((args, kwargs)))
    def ask(x: int, *, y: int) -> tuple[int, int]:
        return x, y

    assert ask(1, y=2) == (1, 2)
    assert seen == [((1,), {"y": 2})]
    assert ask.poet.last.context == ()


def test_lists_and_other_mappings_serve_as_well() -> None:
    from types import MappingProxyType

    house = House()

    @house.poet(perceive=lambda x, y: ([x], MappingProxyType({"y": y}), MappingProxyType({"n": 1})))
    def ask(x: int, y: int) -> tuple[int, int]:
        return x, y

    assert ask(1, 2) == (1, 2)
    assert ask.poet.last.context == (("n", 1),)


def test_the_callers_own_keyword_arguments_are_not_touched() -> None:
    house = House()

    def greedy(**kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        kwargs.clear()
        return (), {"x": 2}

    @house.poet(perceive=greedy)
    def ask(x: int) -> int:
        return x

    mine = {"x": 1}
    assert ask(**mine) == 2
    assert mine == {"x": 1}


def test_of_a_method_it_sees_the_object_too() -> None:
    house = House()

    class Client:
        base = 10

        @house.poet(perceive=lambda self, x: ((self, x + self.base), {}))
        def ask(self, x: int) -> int:
            return x

    assert Client().ask(1) == 11


@pytest.mark.parametrize("algorithm", ["sync", "async", "async perceive"])
def test_it_looks_once_however_often_the_function_is_repeated(algorithm: str) -> None:
    house = House()
    seen: list[int] = []
    asked: list[int] = []

    def look(x: int) -> Any:
        seen.append(x)
        return (x + 1,), {}, {"size": x}

    async def look_later(x: int) -> Any:
        await asyncio.sleep(0)
        return look(x)

    def body(x: int) -> int:
        asked.append(x)
        if len(asked) < 3:
            raise ConnectionResetError
        return x

    if algorithm == "sync":
        sync = house.poet(perceive=look, backoff=0, name="f")(body)
        assert sync(5) == 6
        execution = sync.poet.last
    else:

        @house.poet(perceive=look if algorithm == "async" else look_later, backoff=0, name="f")
        async def ask(x: int) -> int:
            return body(x)

        async def main() -> Any:
            assert await ask(5) == 6
            return ask.poet.last

        execution = run(main(), house.clock)
    assert (seen, asked) == ([5], [6, 6, 6])
    assert execution.context == (("size", 5),)


@pytest.mark.parametrize(
    "given",
    [
        1,
        "ab",
        ((),),
        ((), {}, {}, {}),
        ((), ()),
        ({}, ()),
        ("ab", {}),
        [(), {}],
        ((), {}, None),
        ((), {}, [("a", 1)]),
        ((), {}, "ab"),
    ],
    ids=repr,
)
def test_what_it_may_not_return_is_said(given: Any) -> None:
    house = House()
    called = False

    @house.poet(perceive=lambda: given)
    def ask() -> None:
        nonlocal called
        called = True

    with pytest.raises(PerceiveError, match="ask: perceive: ") as caught:
        ask()
    assert not isinstance(caught.value, InputRejected)
    assert not called


@pytest.mark.parametrize(
    "value",
    [None, math.nan, math.inf, -math.inf, "x" * (LONGEST_TEXT + 1), b"x", 1j, [1], (1,), object()],
    ids=lambda value: repr(value)[:20],
)
def test_a_feature_that_cannot_be_kept_is_refused_by_name_and_its_value_is_not_told(value: Any) -> None:
    with pytest.raises(PerceiveError, match="the feature 'size' must be a finite number, True, False or a text") as e:
        told(House(), {"size": value})()
    assert "xxx" not in str(e.value)


def test_a_feature_needs_a_name_that_is_a_text() -> None:
    with pytest.raises(PerceiveError, match="3"):
        told(House(), {3: "x"})()


def test_as_many_and_as_long_as_is_said_and_no_more() -> None:
    ask = told(House(), {"t": "x" * LONGEST_TEXT, **{f"n{i}": i for i in range(MOST_FEATURES - 1)}})
    ask()
    assert len(ask.poet.last.context) == MOST_FEATURES
    with pytest.raises(PerceiveError, match="at most 32 features are kept, got 33"):
        told(House(), {f"n{i}": i for i in range(MOST_FEATURES + 1)})()


def test_features_are_kept_by_name_in_order_with_their_kinds() -> None:
    ask = told(House(), {"b": 1, "a": True, "d": 1.0, "c": "x"})
    ask()
    assert ask.poet.last.context == (("a", True), ("b", 1), ("c", "x"), ("d", 1.0))
    assert [type(value) for _, value in ask.poet.last.context] == [bool, int, str, float]


Feature = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(min_value=2**500, max_value=2**600),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=LONGEST_TEXT),
    st.text(st.characters(categories=["Cs", "Cc", "Co"]), max_size=5),
)
Name = st.text(max_size=8) | st.text(st.characters(categories=["Cs", "Cc"]), max_size=3) | st.just("n" * 300)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(Name, Feature, max_size=4))
def test_what_is_accepted_can_be_stored_and_read_again(features: dict[str, Any]) -> None:
    # Else one odd feature would take the executions of others with it, long after the call that told it.
    house = House()
    ask = told(house, features)
    with suppress(PerceiveError):
        ask()
    with suppress(PerceiveError):
        told(house, {"usual": 1})()
    house.agent.flush()
    assert ask.poet.status()["faults"] == 0
    assert ask.poet.status()["last_fault"] == ""


@pytest.mark.parametrize(
    "features",
    [{"n": 2**600}, {"n" * 300: 1}, {"lone surrogate": "\ud800"}, {"\ud800": 1}, {"nul": "\0"}],
    ids=["a wide number", "a long name", "a lone surrogate", "a lone surrogate in the name", "a nul"],
)
def test_an_odd_feature_is_refused_in_the_call_or_kept_on_disk(features: dict[str, Any], tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "poet.db")
    house = House(store=store)
    ask = told(house, features)
    refused = False
    try:
        ask()
    except PerceiveError:
        refused = True
    house.agent.flush()
    status = ask.poet.status()
    kept = list(store.executions(ask.poet._trainee.key))
    store.close()
    assert (status["faults"], status["last_fault"]) == (0, "")
    if not refused:
        assert [execution.context for execution in kept] == [tuple(features.items())]


@pytest.mark.parametrize("error", [ValueError("too long"), AssertionError("too long")])
def test_a_value_error_rejects_the_input(error: Exception) -> None:
    house = House()
    called = False

    def look(x: int) -> None:
        raise error

    @house.poet(perceive=look)
    def ask(x: int) -> None:
        nonlocal called
        called = True

    with pytest.raises(InputRejected, match="ask: perceive: too long") as caught:
        ask(1)
    assert isinstance(caught.value, ValueError)
    assert causes(caught.value) == [error]
    assert caught.value.stage == "perceive"
    assert not called
    house.agent.flush()
    assert ask.poet.status()["calls"] == 0
    assert ask.poet.last is None


def test_a_rejection_without_words_names_its_kind() -> None:
    house = House()

    def look() -> None:
        raise AssertionError

    with pytest.raises(InputRejected, match="perceive: AssertionError"):
        house.poet(perceive=look)(lambda: None)()


@pytest.mark.parametrize(
    "error", [KeyError("k"), TypeError("t"), ConnectionError("c"), TimeoutError("o"), RuntimeError()]
)
def test_any_other_error_is_perceives_own_with_its_cause(error: Exception) -> None:
    house = House()

    def look() -> None:
        raise error

    with pytest.raises(PerceiveError, match=type(error).__name__) as caught:
        house.poet(perceive=look)(lambda: None)()
    assert not isinstance(caught.value, InputRejected)
    assert causes(caught.value) == [error]


def test_arguments_that_do_not_fit_it_are_its_fault() -> None:
    house = House()
    with pytest.raises(PerceiveError, match="TypeError"):
        house.poet(perceive=lambda: None)(lambda x: x)(1)


@pytest.mark.parametrize("error", [InputRejected("mine", "no"), poet.CircuitOpen("inner", "x", 3.0)])
def test_our_own_errors_come_out_as_they_are_and_are_not_their_own_cause(error: Exception) -> None:
    house = House()

    def look() -> None:
        raise error

    async def look_later() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        house.poet(perceive=look, name="f")(lambda: None)()
    assert caught.value is error
    assert causes(caught.value) == []

    @house.poet(perceive=look_later)
    async def ask() -> None: ...

    async def main() -> None:
        with pytest.raises(type(error)) as caught:
            await ask()
        assert caught.value is error
        assert causes(caught.value) == []

    run(main(), house.clock)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_the_program_passes_through(stop: type[BaseException]) -> None:
    house = House()

    def look() -> None:
        raise stop

    with pytest.raises(stop):
        house.poet(perceive=look)(lambda: None)()
    assert FEATURES.get() == ()


def test_a_cancellation_while_it_looks_ends_the_call() -> None:
    house = House()
    called = False

    async def look() -> None:
        await asyncio.sleep(60)

    @house.poet(perceive=look, timeout=1.0)
    async def ask() -> None:
        nonlocal called
        called = True

    async def main() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(5)  # the attempt's limit does not hold for it
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main(), house.clock)
    assert not called


class Later:
    """Callable, and what it gives has to be awaited: no coroutine function by its looks."""

    async def __call__(self, x: int) -> Any:
        await asyncio.sleep(0)
        return (x + 1,), {}


def test_whatever_can_be_awaited_is_awaited_of_an_async_function() -> None:
    house = House()

    @house.poet(perceive=Later())
    async def ask(x: int) -> int:
        return x

    assert run(ask(1), house.clock) == 2


def test_what_must_be_awaited_is_refused_of_a_plain_function() -> None:
    house = House()

    async def look(x: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"perceive of .* is async"):
        house.poet(perceive=look)(lambda x: x)
    with pytest.raises(ConfigurationError, match=r"perceive of .* is async"):
        house.poet(perceive=Later())(lambda x: x)


def test_features_are_the_calls_own_also_of_one_within_another() -> None:
    house = House()

    @house.poet(perceive=lambda depth: ((depth,), {}, {"depth": depth}))
    def dig(depth: int) -> list[Any]:
        below = dig(depth - 1) if depth else []
        return [*below, dig.poet.last.context if depth else None]

    @house.poet
    def blind() -> Any:
        dig(0)
        return FEATURES.get()

    dig(2)
    assert dig.poet.last.context == (("depth", 2),)
    blind()
    assert blind.poet.last.context == ()
    house.agent.flush()
    stored = [execution.context for execution in house.store.executions(dig.poet._trainee.key)]
    assert stored == [(("depth", depth),) for depth in (0, 1, 2, 0)]


def test_a_look_that_tells_nothing_does_not_inherit_the_features_around_it() -> None:
    house = House()

    @house.poet(perceive=lambda: None)
    def inner() -> None: ...

    @house.poet(perceive=lambda: ((), {}, {"mine": 1}))
    def outer() -> Any:
        inner()
        return inner.poet.last.context

    assert outer() == ()


def test_calls_at_once_keep_their_features_apart() -> None:
    house = House()

    @house.poet(perceive=lambda n: ((n,), {}, {"n": n}), backoff=0)
    async def ask(n: int) -> int:
        await asyncio.sleep((n * 7) % 5)
        if n % 3 == 0:
            raise ValueError
        return n

    async def main() -> None:
        await asyncio.gather(*(ask(n) for n in range(20)), return_exceptions=True)

    run(main(), house.clock)
    house.agent.flush()
    stored = {dict(e.context)["n"]: e.outcome for e in house.store.executions(ask.poet._trainee.key)}
    assert stored == {n: Outcome.REFUSED if n % 3 == 0 else Outcome.SUCCESS for n in range(20)}


def test_features_are_recorded_however_the_call_ends() -> None:
    house = House()
    ends: dict[str, Any] = {"refused": ValueError(), "error": ConnectionError(), "late": 9.0, "good": 0.1}

    @house.poet(perceive=lambda how: ((how,), {}, {"how": how}), timeout=1.0, retries=0)
    def ask(how: str) -> None:
        end = ends[how]
        if isinstance(end, BaseException):
            raise end
        house.clock.sleep(end)

    for how in ends:
        with suppress(ValueError, ConnectionError):
            ask(how)
        assert ask.poet.last.context == (("how", how),)
    assert FEATURES.get() == ()


def test_where_calls_are_plain_calls_the_input_is_perceived_all_the_same() -> None:
    house = House(learning="off")

    @house.poet(perceive=lambda text: ((text.strip(),), {}, {"n": 1}))
    def ask(text: str) -> str:
        return text

    assert ask(" a ") == "a"


def test_the_domain_looks_last_so_that_nothing_gets_past_it() -> None:
    def user(x: int) -> Any:
        return (x * 10,), {}, {"x": x}

    def domain(x: int) -> Any:
        return (x + 1,), {}

    assert Perceiver("f", user, domain).look((1,), {}) == ((11,), {}, (("x", 1),))
    assert Perceiver("f", None, domain).look((1,), {}) == ((2,), {}, ())
    assert run(Perceiver("f", user, domain).look_async((1,), {})) == ((11,), {}, (("x", 1),))


def test_a_domain_that_fails_is_named_like_any_perceive() -> None:
    def domain(x: int) -> Any:
        raise ValueError("not a price")

    with pytest.raises(InputRejected, match="f: perceive: not a price"):
        Perceiver("f", None, domain).look((1,), {})


def test_the_signature_stays_the_functions_own() -> None:
    house = House()

    def ask(x: int, *, y: str = "a") -> str:
        return y * x

    wrapped = house.poet(perceive=lambda *a, **k: None)(ask)
    assert inspect.signature(wrapped) == inspect.signature(ask)
