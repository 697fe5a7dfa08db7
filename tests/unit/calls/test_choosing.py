"""What a call uses and tells beside its plan: values of its own tunables, its context, its score."""

from __future__ import annotations

import asyncio
import gc
import math
import operator
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Annotated, Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.choosing import MOST_CALLS, pause_of
from poet.calls.deadline import DEADLINE
from poet.errors import ConfigurationError, InputRejected, PoetTimeout
from poet.model.contexts import cells
from poet.model.execution import UNTOLD, Context, Execution, Outcome
from poet.model.objective import Goal
from poet.model.policy import OWN, Pick, Policy, Tries
from poet.model.tunable import Choice, Integer, Real, Value
from poet.seams import Probe
from poet.testing.clock import run

SPACE = {"k": Integer(1, 64, log=True), "model": Choice("small", "large")}


def deliver(function: Any, policy: Policy | None = None, **values: Value) -> None:
    """Hand down these values and this policy, as training would."""
    live = function.poet.parameters
    function.poet._cell.owner.deliver(live.changed(values_={**live, **values}, version=7), Probe(policy=policy))


def last(function: Any) -> Execution:
    execution: Execution = function.poet.last
    return execution


def asked(house: House, **options: Any) -> Any:
    @house.poet(name="ask", tunables=SPACE, **options)
    def ask(question: str = "", k: int = 8, *, model: str = "small", region: str = "eu") -> tuple[Any, Any]:
        return k, model

    return ask


class Always:
    """A policy of one pick."""

    def __init__(self, draw: int, **values: Any) -> None:
        self.one = Pick(draw, values)
        self.asked: list[Context] = []

    def pick(self, context: Context, uniform: float) -> Pick:
        self.asked.append(context)
        return self.one


# values


def test_a_call_uses_the_live_values_and_tells_nothing_beside_its_version() -> None:
    ask = asked(House())
    assert ask("x") == (8, "small")
    assert (last(ask).draw, last(ask).values, last(ask).score, last(ask).goals) == (0, (), None, ())
    deliver(ask, k=3, model="large")
    assert ask("x") == (3, "large")
    assert (last(ask).version, last(ask).draw, last(ask).values) == (7, 0, ())


@given(
    st.sampled_from([(), ("x",), ("x", 5)]),
    st.dictionaries(st.sampled_from(["model", "region"]), st.sampled_from(["small", "large"])),
    st.booleans(),
    st.booleans(),
)
def test_what_the_caller_gives_wins_and_is_told_as_what_it_is(
    args: tuple[Any, ...], kwargs: dict[str, Any], by_name: bool, tried: bool
) -> None:
    ask = asked(House())
    deliver(ask, Always(4, k=30, model="large") if tried else None, k=3)
    if by_name and len(args) < 2:
        kwargs = {**kwargs, "k": 6}
    before = dict(kwargs)
    given_k = args[1] if len(args) > 1 else kwargs.get("k")
    k, model = ask(*args, **kwargs)
    assert kwargs == before
    assert k == (given_k if given_k is not None else 30 if tried else 3)
    assert model == kwargs.get("model", "large" if tried else "small")
    says = {"k": 3, "model": "small"}
    assert dict(last(ask).values) == {name: v for name, v in {"k": k, "model": model}.items() if v != says[name]}
    assert last(ask).draw == (4 if tried and given_k is None and "model" not in kwargs else 0)


class Size(str, Enum):  # noqa: UP042 - as code for older Pythons has it
    BIG = "large"


@pytest.mark.parametrize(
    ("passed", "told"),
    [
        (9, 9),
        (0.5, 0.5),
        ("many", "many"),
        (True, True),
        (None, UNTOLD),
        ([1], UNTOLD),
        (math.nan, UNTOLD),
        (math.inf, UNTOLD),
        ("x" * 201, UNTOLD),
        (Size.BIG, "large"),
        (1000, 1000),
    ],
)
def test_a_value_of_the_callers_is_not_checked_and_told_where_it_can_be_kept(passed: Any, told: Any) -> None:
    ask = asked(House())
    assert ask(k=passed)[0] is passed
    assert last(ask).values == (("k", told),)
    assert type(last(ask).values[0][1]) is type(told)


def test_one_tunable_takes_the_same_course_as_several() -> None:
    house = House()

    @house.poet(tunables={"k": Integer(1, 64)})
    def one(question: str = "", k: int = 8, loud: bool = False) -> int:
        return k

    assert (one(), one("x", 5), one(k=6), one("x", loud=True)) == (8, 5, 6, 8)
    deliver(one, Tries(1.0, ({"k": 3},)), k=9)
    assert (one(), last(one).draw, last(one).values) == (3, 1, (("k", 3),))
    assert (one(k=4), last(one).draw, last(one).values) == (4, 0, (("k", 4),))
    assert (one(k=9), last(one).draw, last(one).values) == (9, 0, ())
    deliver(one, k=9)
    assert (one(loud=True), last(one).values) == (9, ())


def test_a_share_of_calls_tries_what_the_policy_says_and_all_attempts_use_the_same() -> None:
    house = House()
    seen: list[int] = []

    @house.poet(tunables={"k": Integer(1, 9)}, retries=2, backoff=0.0, enable_training=False)
    def flaky(k: int = 1) -> int:
        seen.append(k)
        if len(seen) % 2:
            raise ConnectionError
        return k

    deliver(flaky, Tries(0.5, ({"k": 3}, {"k": 5})))
    told: Counter[tuple[int, Context]] = Counter()
    for _ in range(400):
        seen.clear()
        flaky()
        assert len(set(seen)) == 1
        assert len(seen) == 2
        execution = last(flaky)
        told[execution.draw, execution.values] += 1
        assert seen[0] == dict(execution.values).get("k", 1)
    assert set(told) == {(0, ()), (1, (("k", 3),)), (2, (("k", 5),))}
    assert 150 < told[0, ()] < 250  # half of 400, +- 5 standard deviations


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0, exclude_max=True))
def test_a_pause_lasts_until_a_coin_falls(share: float, uniform: float) -> None:
    pause = pause_of(share, uniform)
    if share == 0:
        assert next(pause, 1) is None
        return
    calls = operator.length_hint(pause)  # P(at least so many) is above 1 - uniform, and of one more it is not
    keep = 1.0 - share
    assert calls == MOST_CALLS or keep ** (calls + 1) <= (1.0 - uniform) * (1 + 1e-6) + 1e-12
    assert calls == MOST_CALLS or keep**calls >= (1.0 - uniform) * (1 - 1e-6) - 1e-12


@pytest.mark.parametrize(
    "policy", [Always(1, k=500), Always(1, k=None), Always(1, k=math.nan), Always(1, model="huge")]
)
def test_no_policy_leaves_the_bounds(policy: Policy) -> None:
    ask = asked(House())
    deliver(ask, policy)
    assert ask() == (8, "small")


class Wrong:
    def pick(self, context: Context, uniform: float) -> Any:
        raise RuntimeError("odd")


class Empty:
    def pick(self, context: Context, uniform: float) -> Any:
        return None


@pytest.mark.parametrize("policy", [Wrong(), Empty()])
def test_a_fault_of_the_policy_breaks_no_call_and_is_counted(policy: Any) -> None:
    ask = asked(House())
    ask()
    deliver(ask, policy)
    assert (ask(), ask(k=2)) == ((8, "small"), (2, "small"))
    assert ask.poet.status()["faults"] == 2
    assert "policy of ask" in ask.poet.status()["last_fault"]


def test_what_no_store_should_hold_gives_way_to_the_default() -> None:
    ask = asked(House())
    for wrong in ({"k": 1000}, {"k": "many"}, {"model": "huge"}, {"model": 3}):
        deliver(ask, **wrong)
        assert ask() == (8, "small")
    live = ask.poet.parameters
    ask.poet._cell.owner.deliver(live.changed(values_={"timeout": 1.0, "retries": 1}), Probe())
    assert ask() == (8, "small")


def test_a_variant_holds_its_own_values_and_tells_where_they_differ_from_the_version() -> None:
    ask = asked(House())
    ask()
    variant = ask.poet.using(k=4)
    deliver(ask, Always(3, k=9), model="large")
    assert variant() == (4, "large")
    assert (last(variant).version, last(variant).draw, last(variant).values) == (7, 0, (("k", 4),))
    assert ask()[0] == 9
    assert variant(k=5) == (5, "large")
    assert last(variant).values == (("k", 5),)
    with pytest.raises(ConfigurationError, match=r"k must be in \[1, 64\], got 100; the nearest is 64"):
        ask.poet.using(k=100)
    with pytest.raises(ConfigurationError, match="model must be one of 'small', 'large', got 'huge'"):
        ask.poet.using(model="huge")


def test_pins_and_their_end() -> None:
    ask = asked(House())
    ask.poet.pin(k=5)
    assert (ask(), ask.poet.parameters["k"]) == ((5, "small"), 5)
    ask.poet.pin(model="large")
    assert ask() == (5, "large")
    assert ask.poet.status()["pinned"] == {"k": 5, "model": "large"}
    with pytest.raises(ConfigurationError, match="model must be one of"):
        ask.poet.pin(model="huge")


def test_tests_of_users_use_the_declared_values() -> None:
    house = House()
    ask = asked(house)
    ask()
    deliver(ask, Always(1, k=9))
    assert ask()[0] == 9
    house.agent.set_testing(1)
    assert ask() == (8, "small")
    house.agent.set_testing(None)


def test_where_learning_is_off_a_call_is_plain() -> None:
    told: list[Any] = []
    ask = asked(House(learning="off"), score=lambda result, seconds: told.append(result), context=told.append)
    assert ask("x") == (8, "small")
    assert told == []
    assert ask.poet.parameters["k"] == 8


def test_values_reach_async_functions_hedges_and_trio() -> None:
    house = House()

    @house.poet(tunables=SPACE, hedge_delay=0.1, timeout=5.0, enable_training=False)
    async def later(k: int = 8, *, model: str = "small", slow: bool = False) -> tuple[int, str]:
        seen.append(k)
        if slow and len(seen) == 1:
            await asyncio.sleep(1.0)
        return k, model

    seen: list[int] = []

    async def main() -> None:
        assert await later() == (8, "small")
        deliver(later, Always(2, k=3))
        assert await later(model="large") == (3, "large")
        assert (last(later).draw, last(later).values) == (2, (("k", 3), ("model", "large")))
        seen.clear()
        assert await later(slow=True) == (3, "small")
        assert seen == [3, 3]
        assert [attempt.hedge for attempt in last(later).attempts] == [False, True]
        assert (last(later).draw, last(later).values) == (2, (("k", 3),))

    run(main(), house.clock)

    async def under_trio() -> None:
        assert await later() == (3, "small")
        assert (last(later).draw, last(later).values) == (2, (("k", 3),))

    trio.run(under_trio)


def test_values_reach_streams() -> None:
    house = House()

    @house.poet(tunables=SPACE, context="region", enable_training=False)
    def items(k: int = 8, *, model: str = "small", region: str = "eu") -> Iterator[Any]:
        yield k
        yield model

    @house.poet(tunables=SPACE, context="region", enable_training=False)
    async def items_later(k: int = 8, *, model: str = "small", region: str = "eu") -> AsyncIterator[Any]:
        yield k
        yield model

    async def all_of_it(**kwargs: Any) -> list[Any]:
        return [each async for each in items_later(**kwargs)]

    assert list(items()) == [8, "small"]
    assert asyncio.run(all_of_it()) == [8, "small"]
    for function in (items, items_later):
        deliver(function, Always(2, k=3), **{"model@region=us": "large"})
    assert list(items(region="us")) == asyncio.run(all_of_it(region="us")) == [3, "large"]
    told = last(items)
    assert (told.context, told.draw, told.values, told.outcome) == (
        (("region", "us"),),
        2,
        (("k", 3), ("model", "large")),
        Outcome.SUCCESS,
    )
    assert list(items(k=4)) == [4, "small"]
    assert (last(items).draw, last(items).values) == (0, (("k", 4),))


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_values_reach_threads_and_processes(mode: str) -> None:
    tuned = House(clock=poet.seams.SYSTEM_CLOCK).poet(enforce_timeout=mode, timeout=20.0, context="region")(remote)
    assert tuned() == (8, "eu")
    deliver(tuned, Always(2, k=3), **{"timeout@region=us": 30.0})
    assert tuned(region="us") == (3, "us")
    assert (last(tuned).draw, last(tuned).values, last(tuned).context) == (2, (("k", 3),), (("region", "us"),))


def remote(k: Annotated[int, Integer(1, 9)] = 8, region: str = "eu") -> tuple[int, str]:
    return k, region


def test_failures_tell_what_they_used() -> None:
    house = House()

    @house.poet(tunables={"k": Integer(1, 9)}, context="region", retries=0)
    def fails(k: int = 1, region: str = "eu") -> int:
        raise ValueError("no")

    deliver(fails, Always(5, k=3))
    with pytest.raises(ValueError, match="no"):
        fails()
    told = last(fails)
    assert (told.outcome, told.draw, told.values) == (Outcome.REFUSED, 5, (("k", 3),))
    assert told.context == (("region", "eu"),)


def test_a_deadline_that_has_passed_tells_what_it_would_have_used() -> None:
    ask = asked(House(), context="region")
    token = DEADLINE.set(1.0)
    try:
        with pytest.raises(PoetTimeout):
            ask(k=3)
    finally:
        DEADLINE.reset(token)
    assert (last(ask).outcome, last(ask).values, last(ask).context) == (
        Outcome.SHED,
        (("k", 3),),
        (("region", "eu"),),
    )


def test_threads_that_share_a_function_get_values_that_belong_together() -> None:
    ask = asked(House())
    deliver(ask, Tries(0.5, ({"k": 3, "model": "large"}, {"k": 5, "model": "large"})))

    def call(_: int) -> bool:
        k, model = ask()
        told = last(ask)
        return dict(told.values) == ({"k": k, "model": model} if told.draw else {})

    with ThreadPoolExecutor(8) as crew:
        assert all(crew.map(call, range(4000)))


def test_a_domain_sees_the_values_that_the_function_gets() -> None:
    house = House()

    @house.poet(domain="building_management", retries=0, tunables={"setpoint": Real(0, 200)})
    def heat(setpoint: float = 70.0) -> float:
        return setpoint

    assert heat() == 70.0
    deliver(heat, setpoint=150.0)
    with pytest.raises(InputRejected):
        heat()
    assert last(heat).outcome is Outcome.REFUSED


def test_arguments_do_not_outlive_the_call() -> None:
    class Thing: ...

    ask = asked(House(), context=lambda *args, **kwargs: {"n": len(args)}, score=lambda result, seconds: 1.0)
    thing = Thing()
    gone = weakref.ref(thing)
    gc.disable()
    try:
        ask(thing)
        ask(k=thing)
        del thing
        assert gone() is None
    finally:
        gc.enable()


# context


def test_named_arguments_are_features_wherever_they_come_from() -> None:
    house = House()

    @house.poet(context=("size", "region"))
    def ask(size: int, region: str | None = None, **more: Any) -> None: ...

    ask(3, "eu")
    assert last(ask).context == (("region", "eu"), ("size", 3))
    ask(region="us", size=4)
    assert last(ask).context == (("region", "us"), ("size", 4))
    ask(3)
    assert last(ask).context == (("size", 3),)

    @house.poet(context="user")
    def open_to_all(**more: Any) -> None: ...

    open_to_all(user="a")
    assert last(open_to_all).context == (("user", "a"),)
    open_to_all()
    assert last(open_to_all).context == ()


def test_a_function_tells_features_and_wins_over_perceive() -> None:
    house = House()

    def look(text: str) -> tuple[tuple[str], dict[str, Any], dict[str, Any]]:
        return (text.strip(),), {}, {"length": len(text), "kind": "perceived"}

    @house.poet(perceive=look, context=lambda text: {"kind": "told", "first": text[:1]})
    def ask(text: str) -> str:
        return text

    assert ask("  ab ") == "ab"
    assert last(ask).context == (("first", "a"), ("kind", "told"), ("length", 5))


@pytest.mark.parametrize(
    ("context", "said"),
    [
        (lambda n=0: 1 / n, "ZeroDivisionError: division by zero"),
        (lambda n=0: 3, "context must give a mapping from name to value, got int"),
        (lambda n=0: {"x": None}, "the feature 'x' must be a finite number, True, False or a text"),
        (lambda n=0: {"x": math.nan}, "the feature 'x' must be a finite number, True, False or a text"),
        (lambda n=0: {"x": "y" * 201}, "the feature 'x' must be a finite number, True, False or a text"),
        (lambda n=0: {3: "y"}, "a feature's name must be a text of at most 200 characters"),
        (lambda n=0: {f"x{i}": i for i in range(33)}, "at most 32 features are kept, got 34"),
    ],
)
def test_what_context_does_wrong_is_counted_and_the_call_goes_on_without(context: Any, said: str) -> None:
    house = House()

    @house.poet(context=context, perceive=lambda n=0: ((n,), {}, {"seen": 1}))
    def ask(n: int = 0) -> int:
        return n

    ask()
    assert ask(0) == 0
    assert last(ask).context == (("seen", 1),)
    status = ask.poet.status()
    assert status["faults"] == 2
    assert "context of" in status["last_fault"]
    assert said in status["last_fault"]


def test_context_may_say_nothing() -> None:
    house = House()

    @house.poet(context=lambda: None)
    def ask() -> None: ...

    ask()
    assert (last(ask).context, ask.poet.status()["faults"]) == ((), 0)


# plans per context


def test_a_call_uses_the_values_of_its_context_and_the_parents_where_there_are_none() -> None:
    house = House()

    @house.poet(context=("region", "vip"), timeout=30.0, tunables={"k": Integer(1, 64)})
    def ask(region: str = "eu", vip: bool = False, k: int = 8) -> tuple[float, int]:
        return round(poet.remaining(), 6), k

    deliver(
        ask,
        **{
            "timeout@region=eu": 2.0,
            "k@region=eu": 3,
            "timeout@vip=True,region=eu": 4.0,
            "k@vip=True": 5,
            "timeout@region=": 1.0,
            "timeout@odd": 1.0,
        },
    )
    assert ask("us") == (30.0, 8)
    assert ask("eu") == (2.0, 3)
    assert ask("eu", True) == (4.0, 5)  # two of one feature each tell k: the last by its name
    assert ask("us", True) == (30.0, 5)
    assert ask("eu", k=9) == (2.0, 9)
    assert last(ask).values == (("k", 9),)
    assert ask("eu") == (2.0, 3)
    assert last(ask).values == (("k", 3),)
    assert ask("eu", k=8) == (2.0, 8)
    assert last(ask).values == ()  # as its version says of all contexts together
    assert ask("us", k=3) == (30.0, 3)
    assert last(ask).values == (("k", 3),)
    assert last(ask).version == 7


def test_retries_hedges_and_deadlines_go_by_the_context() -> None:
    house = House()
    tries: list[str] = []

    @house.poet(context="region", retries=0, backoff=0.0)
    def fails(region: str) -> None:
        tries.append(region)
        raise ConnectionError

    deliver(fails, **{"retries@region=eu": 2})
    for region, attempts in (("eu", 3), ("us", 1)):
        tries.clear()
        with pytest.raises(ConnectionError):
            fails(region)
        assert len(tries) == attempts


def test_numbers_go_by_their_ranges_and_the_more_special_wins() -> None:
    house = House()

    @house.poet(context=("size", "region"), timeout=30.0, backoff=0.1)
    def ask(size: float, region: str = "eu") -> tuple[float, float]:
        return round(poet.remaining(), 6), ask.poet._cell.plan.cells.plan(last_context(size, region), None).backoff

    def last_context(size: float, region: str) -> Context:
        return (("region", region), ("size", size))

    deliver(
        ask,
        **{
            "timeout@size>=100": 5.0,
            "timeout@size>=1000": 9.0,
            "backoff@size>=100": 0.5,
            "timeout@region=eu,size>=1000": 12.0,
        },
    )
    assert ask(100) == (5.0, 0.5)
    assert ask(5000, "us") == (9.0, 0.5)
    assert ask(5000, "eu") == (12.0, 0.5)
    deliver(ask, **{"timeout@region=us": 4.0})
    assert ask(5000, "us") == (9.0, 0.5)  # of one condition each: the last by its name

    @house.poet(context="size", timeout=30.0)
    def other(size: Any) -> float:
        return round(poet.remaining(), 6)

    deliver(other, **{"timeout@size<100": 5.0})
    assert [other(size) for size in (99, 100, "99", True, None)] == [5.0, 30.0, 30.0, 30.0, 30.0]


FEATURES = {"a": st.sampled_from([1, 2, 3]), "b": st.sampled_from("xyz"), "size": st.integers(0, 200)}
CELLS = ("a=1", "a=2", "b=x", "b=y", "a=1,b=x", "size>=10", "size<10", "b=x,size>=10", "a=1,b=x,size>=100")


@given(
    st.dictionaries(st.sampled_from(CELLS), st.tuples(st.floats(0.01, 20.0), st.integers(1, 64)), max_size=6),
    st.lists(st.fixed_dictionaries({}, optional=FEATURES), min_size=1, max_size=5),
)
def test_the_values_of_a_context_are_those_of_all_its_cells_the_special_above_the_general(
    special: dict[str, tuple[float, int]], calls: list[dict[str, Any]]
) -> None:
    house = House()

    @house.poet(context=lambda k=8, **features: features, timeout=30.0, tunables={"k": Integer(1, 64)})
    def ask(k: int = 8, **features: Any) -> tuple[float, int]:
        return round(poet.remaining(), 6), k

    named = {f"timeout@{cell}": timeout for cell, (timeout, _) in special.items()}
    deliver(ask, **named, **{f"k@{cell}": k for cell, (_, k) in special.items()})
    for features in calls:
        wanted = (30.0, 8)
        for cell in cells(named).all(tuple(sorted(features.items()))):
            wanted = (round(special[cell][0], 6), special[cell][1])
        assert ask(**features) == wanted
        assert last(ask).values == (() if wanted[1] == 8 else (("k", wanted[1]),))


def test_tests_of_users_have_few_attempts_in_each_context() -> None:
    house = House()
    tries: list[str] = []

    @house.poet(context="region", retries=5, tunables={"k": Integer(1, 9)})
    def fails(region: str, k: int = 3) -> None:
        tries.append(region)
        raise ConnectionError

    house.agent.set_testing(2)
    deliver(fails, Always(1, k=7), **{"retries@region=eu": 4, "hedges@region=eu": 2})
    for region in ("eu", "us"):
        tries.clear()
        with pytest.raises(ConnectionError):
            fails(region)
        assert len(tries) == 2
        assert last(fails).draw == 0
    house.agent.set_testing(None)


def test_what_perceive_tells_is_a_context_too() -> None:
    house = House()

    @house.poet(perceive=lambda n: ((n,), {}, {"size": "big" if n > 9 else "small"}), timeout=30.0)
    def ask(n: int) -> float:
        return round(poet.remaining(), 6)

    assert ask(3) == 30.0
    ask.poet.pin(**{"timeout@size=big": 5.0})
    assert (ask(3), ask(30)) == (30.0, 5.0)


def test_the_policy_is_asked_with_the_context() -> None:
    ask = asked(House(), context="region")
    policy = Always(0, k=5)
    deliver(ask, policy)
    assert ask("x", region="us") == (5, "small")
    assert policy.asked == [(("region", "us"),)]
    assert (last(ask).draw, last(ask).values) == (0, (("k", 5),))


def test_pins_for_one_context_hold_there_and_pins_for_all_hold_everywhere() -> None:
    house = House()

    @house.poet(context="region", timeout=30.0)
    def ask(region: str) -> float:
        return round(poet.remaining(), 6)

    ask.poet.pin(**{"timeout@region=eu": 2})
    assert (ask("eu"), ask("us")) == (2.0, 30.0)
    assert ask.poet.parameters["timeout@region=eu"] == 2.0
    ask.poet.pin(timeout=7)
    assert (ask("eu"), ask("us")) == (7.0, 7.0)
    assert ask.poet.using(timeout=9)("eu") == 9.0
    trainee = ask.poet._trainee
    assert trainee.with_pins({"timeout": 1.0, "timeout@region=us": 1.0, "retries@region=us": 1}) == {
        **ask.poet.parameters,
        "retries@region=us": 1,
    }
    assert ask.poet.using(**{"timeout@region=us": 9})("us") == 9.0
    for wrong, said in (
        ({"timeout@region=eu": 1e9}, "timeout@region=eu must be in"),
        ({"timeout@regoin=eu": 1.0}, "no feature 'regoin': did you mean 'region'?"),
        ({"timout@region=eu": 1.0}, "no tunable 'timout': did you mean 'timeout'?"),
        ({"timeout@eu": 1.0}, "write it as 'region=eu'"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            ask.poet.pin(**wrong)
        assert said in str(caught.value)
    plain = house.poet(lambda: None)
    with pytest.raises(ConfigurationError, match=r"has no contexts: say 'timeout' in place of 'timeout@region=eu'"):
        plain.poet.pin(**{"timeout@region=eu": 1.0})


def test_contexts_without_end_take_no_room() -> None:
    ask = asked(House(), context="region")
    deliver(ask, **{"k@region=eu": 3})
    for number in range(5000):
        assert ask(region=f"r{number}") == (8, "small")
    assert len(ask.poet._cell.plan.cells._plans) == 1


# scores


def test_an_answer_is_scored_in_the_call_by_result_and_seconds() -> None:
    house = House()

    def score(result: float, seconds: float) -> float:
        return result / seconds

    @house.poet(score=score, retries=1, backoff=0.0)
    def works(seconds: float, fail: bool = False) -> float:
        house.clock.sleep(seconds)
        if fail and not tries:
            tries.append(1)
            raise ConnectionError
        return 1.0

    tries: list[int] = []
    works(2.0)
    assert (last(works).score, last(works).goals) == (0.5, ())
    works(2.0, fail=True)
    assert last(works).score == 0.25
    assert len(last(works).attempts) == 2


def test_an_answer_of_an_async_function_is_scored_first_or_late_or_by_a_copy() -> None:
    house = House()

    @house.poet(score=lambda result, seconds: result, hedge_delay=0.1, timeout=5.0, retries=1, backoff=0.0)
    async def later(*steps: float) -> float:
        step = script.pop(0)
        if step < 0:
            raise ConnectionError
        await asyncio.sleep(step)
        return 0.25 + step / 4

    script: list[float] = []

    async def main() -> None:
        for steps, score in (([0.05], 0.2625), ([-1.0, 0.05], 0.2625), ([3.0, 0.05], 0.2625)):
            script[:] = steps
            await later()
            assert last(later).score == pytest.approx(score)

    run(main(), house.clock)

    @house.poet(score=lambda result, seconds: result, retries=1, backoff=0.0)
    async def under(*steps: float) -> float:
        step = script.pop(0)
        if step < 0:
            raise ConnectionError
        return 0.25

    async def under_trio() -> None:
        for steps in ([0.0], [-1.0, 0.0]):
            script[:] = steps
            await under()
            assert last(under).score == 0.25

    trio.run(under_trio)


GOALS: Mapping[str, Goal] = {"quality": Goal(at_least=0.8), "cost": Goal(high=0.05, weight=-20.0)}


@pytest.mark.parametrize(
    ("said", "goals", "score", "told"),
    [
        (0.5, None, 0.5, ()),
        (True, None, 1.0, ()),
        (None, None, None, ()),
        ({"quality": 1.0, "cost": 0.01}, GOALS, 0.8, (("quality", 1.0), ("cost", 0.01))),
        ({"cost": 0.01}, GOALS, -0.2, (("cost", 0.01),)),
    ],
)
def test_what_a_score_may_be(said: Any, goals: Any, score: Any, told: Any) -> None:
    @House().poet(score=lambda result, seconds: said, goals=goals)
    def works() -> int:
        return 1

    assert works() == 1
    assert (last(works).score, last(works).goals) == (score, told)


async def _never() -> float:
    return 1.0


@pytest.mark.parametrize(
    ("score", "goals"),
    [
        (lambda result, seconds: 1 / 0, None),
        (lambda result: 1.0, None),
        (lambda result, seconds: math.nan, None),
        (lambda result, seconds: 1.01, None),
        (lambda result, seconds: "good", None),
        (lambda result, seconds: {"quality": 1.0}, None),
        (lambda result, seconds: 0.5, GOALS),
        (lambda result, seconds: {"qualty": 0.5}, GOALS),
        (lambda result, seconds: {"cost": 1.0}, GOALS),
    ],
)
def test_a_score_that_cannot_be_breaks_no_call_and_is_counted(score: Any, goals: Any) -> None:
    @House().poet(score=score, goals=goals)
    def works() -> int:
        return 1

    works()
    assert works() == 1
    assert (last(works).score, last(works).goals) == (None, ())
    assert works.poet.status()["faults"] == 2
    assert "score of" in works.poet.status()["last_fault"]


def test_a_failed_call_has_no_score() -> None:
    @House().poet(score=lambda result, seconds: 1.0, retries=0)
    def fails() -> int:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fails()
    assert last(fails).score is None


def test_a_stream_is_scored_by_feedback_only() -> None:
    with pytest.raises(ConfigurationError, match=r"is a generator, score judges one result: leave it out, and say"):

        @House().poet(score=lambda result, seconds: 1.0)
        def items() -> Iterator[int]:
            yield 1


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        (math.nan, "score must be a mapping"),
        ({"quality": math.nan}, r"quality must be a number in \[0, 1\], got nan"),
        ({"quality": 5}, r"quality must be a number in \[0, 1\], got 5; the nearest is 1"),
        ({"qualty": 0.5}, "no goal 'qualty': did you mean 'quality'?"),
    ],
)
def test_feedback_that_cannot_be_is_refused(said: Any, wrong: str) -> None:
    @House().poet(goals=GOALS)
    def works() -> int:
        return 1

    works()
    with pytest.raises(ConfigurationError, match=wrong):
        works.poet.feedback(said)
    for odd in ("x", "a-", "-1", "a-b", 7):
        with pytest.raises(ConfigurationError, match="execution_id must be like '1a2b3c4d-7', got"):
            works.poet.feedback({"quality": 0.5}, odd)


def test_feedback_hands_on_the_goals_and_their_sum() -> None:
    @House().poet(goals=GOALS)
    def works() -> int:
        return 1

    works()
    works.poet.feedback({"cost": 0.01, "quality": 0.9})
    works.poet.feedback({"quality": 1})
    told = works.poet._trainee.feedback
    assert [(each.sequence, each.goals) for each in told] == [
        (0, (("quality", 0.9), ("cost", 0.01))),
        (0, (("quality", 1.0),)),
    ]
    assert [each.score for each in told] == pytest.approx([0.7, 1.0])


def test_a_record_of_a_function_says_what_there_is_to_choose_from_and_its_goals() -> None:
    record = asked(House(), goals=GOALS).poet._cell.owner.record
    assert record.choices == {"model": ("small", "large")}
    assert record.space["k"] == (1, 64)
    assert record.declared["model"] == "small"
    assert record.goals == {
        "quality": {"low": 0.0, "high": 1.0, "weight": 1.0, "at_least": 0.8},
        "cost": {"low": 0.0, "high": 0.05, "weight": -20.0},
    }
    plain = House().poet(lambda: None).poet._cell.owner.record
    assert (plain.choices, plain.goals) == ({}, {})


def test_nothing_is_tried_by_a_policy_that_says_so() -> None:
    ask = asked(House())

    class Quiet:
        def pick(self, context: Context, uniform: float) -> Pick:
            return OWN

    deliver(ask, Quiet())
    assert ask() == (8, "small")
    assert last(ask).values == ()
