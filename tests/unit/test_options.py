"""What the decorator may be told: each thing that cannot be is refused at the door, with its value and what to do."""

from __future__ import annotations

import asyncio
import functools
import itertools
import math
import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House
from poet.errors import ConfigurationError, UnknownArgument
from poet.options import MODES, USABLE, Options


def plain(x: int = 0, timeout: float | None = None, key: str | None = None) -> int:
    return x


async def later(x: int = 0, timeout: float | None = None, key: str | None = None) -> int:
    return x


def items(x: int = 0, timeout: float | None = None, key: str | None = None) -> Iterator[int]:
    yield x


async def items_later(x: int = 0, timeout: float | None = None, key: str | None = None) -> AsyncIterator[int]:
    yield x


KINDS: dict[str, Callable[..., Any]] = {
    "sync": plain,
    "async": later,
    "generator": items,
    "async generator": items_later,
}


async def look_later(*args: Any, **kwargs: Any) -> None: ...


async def check_later(result: Any) -> bool:
    return True


class CalledLater:
    """Callable, and what it gives has to be awaited."""

    async def __call__(self, *args: Any, **kwargs: Any) -> bool:
        return True


again = poet.on_result(lambda result: result is None)
HUGE = 10**400  # a whole number that is no float any more

# What is wrong with an argument by itself, whatever the function.
WRONG: list[tuple[dict[str, Any], str]] = [
    *[({"retries": bad}, f"retries must be a whole number >= 0, got {bad!r}") for bad in (-1, 2.0, True, "3", None)],
    *[
        ({name: bad}, f"{name} must be a finite number of seconds > 0, got {bad!r}")
        for name in ("timeout", "deadline", "hedge_delay", "item_timeout")
        for bad in (0, -0.0, -1.0, math.nan, math.inf, "3", True, [1])
    ],
    ({"timeout": None}, "timeout must be a finite number of seconds > 0, got None"),
    *[
        ({name: HUGE}, f"{name} must be a finite number of seconds > 0")
        for name in ("timeout", "deadline", "hedge_delay", "item_timeout")
    ],
    *[
        ({"backoff": bad}, f"backoff must be a number of seconds in [0, 60], got {bad!r}")
        for bad in (-0.1, 60.1, math.nan, math.inf, "1", True, None)
    ],
    *[
        ({name: bad}, f"{name} must be in (0, 1], got {bad!r}")
        for name in ("learning_rate", "convergence_threshold")
        for bad in (0, -0.1, 1.1, math.nan, "1", True, None)
    ],
    *[
        ({name: bad}, f"{name} must be True or False, got {bad!r}")
        for name in ("enable_training", "collect_metrics", "performance_tracking", "idempotent")
        for bad in (None, 1, "yes")
    ],
    *[
        ({name: bad}, f"{name} must be a text that is not empty, got {bad!r}")
        for name in ("domain", "name")
        for bad in ("", "  ", 3, b"x")
    ],
    ({"enable_cross_function_learning": "yes"}, "enable_cross_function_learning must be True or False, got 'yes'"),
    ({"learning_algorithm": "statistics"}, "no learning_algorithm 'statistics': did you mean 'statistical'?"),
    ({"learning_algorithm": None}, "no learning_algorithm None: known are: adaptive, basic, statistical"),
    ({"enforce_timeout": "threads"}, "no enforce_timeout 'threads': did you mean 'thread'?"),
    ({"enforce_timeout": None}, "no enforce_timeout None"),
    *[
        (
            {"context": bad},
            f"context must be the name of an argument, several of them, or a function of the arguments "
            f"that gives features by name, got {bad!r}",
        )
        for bad in (3, "", (), ("x", 3), [], {"x"})
    ],
    ({"context": ("x", "x")}, "context names an argument twice, got ('x', 'x')"),
    ({"context": look_later}, "context must be a plain function, not an async one"),
    ({"context": "keys"}, "has no argument 'keys': did you mean 'key'?"),
    ({"score": 0.5}, "score must be a function of a result and the seconds it took, got 0.5"),
    ({"score": check_later}, "score must be a plain function, not an async one"),
    *[
        (
            {"exploration": bad},
            f"exploration must be in [0, 1], the share of a success's value that trying may cost, got {bad!r}",
        )
        for bad in (-0.1, 1.1, math.nan, True, "0.1", None)
    ],
    *[({"goals": bad}, f"goals must be a mapping from name to poet.Goal, got {bad!r}") for bad in ({}, [1], "quality")],
    ({"goals": {"quality": 0.8}}, "the goal 'quality' must be a poet.Goal, got 0.8"),
    ({"goals": {"": poet.Goal()}}, "a goal's name must be a text of at most 200 characters, got ''"),
    ({"objective": 1.0}, "objective must be a poet.Objective, got 1.0"),
    ({"perceive": 3}, "perceive must be callable, got 3"),
    ({"cost": 3, "cost_limit": 1.0, "enforce": bool}, "cost must be callable, got 3"),
    ({"enforce": 3}, "enforce must be a predicate, a validator, a type or a pydantic model, got 3"),
    ({"enforce": list[int]}, "cannot be checked: give a plain type, or pydantic.TypeAdapter"),
    ({"retry_on": 3}, "retry_on takes types of Exception, predicates of an exception, or poet.on_result(…), got 3"),
    ({"retry_on": KeyboardInterrupt}, "retry_on takes types of Exception, got <class 'KeyboardInterrupt'>"),
    ({"retry_on": [ValueError, "x"]}, "got 'x'"),
    ({"dependency": ""}, "a dependency needs a name, which its callers share, got ''"),
    ({"dependency": 3}, "a dependency needs a name, which its callers share, got 3"),
    *[
        ({"hedges": bad, "hedge_delay": 1.0}, f"hedges must be a whole number in [0, 8], got {bad!r}")
        for bad in (-1, 9, 1.0, True, "1")
    ],
    *[
        ({"cost": len, "cost_limit": bad, "enforce": bool}, f"cost_limit must be a finite number > 0, got {bad!r}")
        for bad in (0, -1, math.nan, math.inf, "1", True)
    ],
    ({"tunables": [1]}, "tunables must be a mapping from name to Real, Integer or Choice, got [1]"),
    ({"tunables": {"timeout": 3}}, "the tunable 'timeout' must be a poet.Real, got 3"),
    ({"tunables": {"timeout": poet.Integer(1, 3)}}, "the tunable 'timeout' must be a poet.Real"),
    ({"tunables": {"retries": poet.Real(1, 3)}}, "the tunable 'retries' must be a poet.Integer"),
    ({"tunables": {"retries": poet.Choice(1, 2)}}, "the tunable 'retries' must be a poet.Integer"),
    ({"tunables": {"y": 3}}, "the tunable 'y' must be a poet.Real, poet.Integer or poet.Choice, got 3"),
    (
        {"tunables": {"y": poet.Real(0, 3)}},
        "no tunable 'y': known are: backoff, hedge_delay, hedges, key, retries, timeout, x",
    ),
    ({"tunables": {"retry": poet.Integer(0, 3)}}, "no tunable 'retry': did you mean 'retries'?"),
    ({"tunables": {"timeout": poet.Real(0, 60)}}, "the bounds of timeout must be > 0 seconds, got low 0"),
    ({"tunables": {"retries": poet.Integer(-1, 3)}}, "the bounds of retries must be >= 0, got low -1"),
    ({"tunables": {"backoff": poet.Real(-1, 3)}}, "the bounds of backoff must be in [0, 60] seconds, got -1 to 3"),
    ({"tunables": {"backoff": poet.Real(0, 61)}}, "the bounds of backoff must be in [0, 60] seconds, got 0 to 61"),
    (
        {"timeout": 3.0, "tunables": {"timeout": poet.Real(0.5, 2)}},
        "timeout must be in [0.5, 2], got 3; the nearest is 2",
    ),
    ({"retries": 3, "tunables": {"retries": poet.Integer(0, 2)}}, "retries must be in [0, 2], got 3; the nearest is 2"),
]

# What does not go together, or not with the kind of the function: which, what is said.
TOGETHER: list[tuple[str, dict[str, Any], str]] = [
    *[(kind, {"hedges": 1}, "hedges needs hedge_delay: the seconds after which a copy is sent") for kind in KINDS],
    *[
        (kind, {"hedge_delay": 1.0, "idempotent": False}, "a function that is not idempotent must not be hedged")
        for kind in KINDS
    ],
    *[(kind, {"cost": len, "enforce": bool}, "cost and cost_limit belong") for kind in ("sync", "async")],
    *[
        (kind, {"cost_limit": 1.0, "enforce": bool}, "cost and cost_limit belong together")
        for kind in ("sync", "async")
    ],
    *[
        (
            kind,
            {"cost": len, "cost_limit": 1.0},
            "cost counts results that are rejected: it needs enforce, or on_result",
        )
        for kind in KINDS
    ],
    *[
        (
            kind,
            {"enforce_timeout": mode},
            f"enforce_timeout='{mode}' is for plain functions, {KINDS[kind].__name__} is ",
        )
        for kind in KINDS
        for mode in MODES
        if kind != "sync" and mode != "cooperative"
    ],
    ("generator", {"enforce_timeout": "thread"}, "items is a generator function: leave it out, use a plain function"),
    ("async", {"enforce_timeout": "signal"}, "later is an async function: leave it out, it is cancelled at its limit"),
    *[
        (
            "sync",
            {"hedge_delay": 1.0, "enforce_timeout": mode},
            "plain cannot be hedged as it is: hedges need an async function, or enforce_timeout='thread'",
        )
        for mode in ("cooperative", "signal", "process")
    ],
    *[(kind, {"hedge_delay": 1.0}, "cannot be hedged as it is") for kind in ("generator", "async generator")],
    *[
        (kind, {name: value}, "is a generator: enforce and on_result check one result; check the items inside of it")
        for kind in ("generator", "async generator")
        for name, value in (("enforce", bool), ("retry_on", again), ("retry_on", [KeyError, again]))
    ],
    *[
        (kind, {"item_timeout": 1.0}, f"item_timeout is for generators, {KINDS[kind].__name__} is none; use timeout")
        for kind in ("sync", "async")
    ],
    *[
        (kind, {"perceive": look}, f"perceive of {KINDS[kind].__name__} is async")
        for kind in ("sync", "generator")
        for look in (look_later, CalledLater())
    ],
    *[
        ("sync", {"enforce": check}, "enforce of plain is async, plain is not: make enforce a plain function")
        for check in (check_later, CalledLater())
    ],
    *[("async", {"cost": check_later, "cost_limit": 1.0, "enforce": bool}, "cost")],
    *[("async", {"retry_on": predicate}, "retry_on") for predicate in (check_later, [KeyError, CalledLater()])],
    *[(kind, {name: "tiemout"}, "tiemout") for kind in KINDS for name in ("timeout_arg", "key_arg")],
    ("sync", {"key_arg": "keys"}, "key_arg: plain has no argument 'keys': did you mean 'key'?"),
    ("sync", {"key_arg": 3}, "key_arg must be the name of an argument, got 3"),
    ("sync", {"timeout_arg": 3}, "timeout_arg is the name of an argument"),
    ("sync", {"timeout_arg": ("timeout", 3)}, "timeout_arg is the name of an argument"),
    *[(kind, {"key_arg": "key", "timeout_arg": "key"}, "key") for kind in ("sync", "async")],
    ("async", {"tunables": {"hedges": poet.Integer(-1, 2)}, "hedge_delay": 1.0}, "the bounds of hedges must be >= 0"),
    *[
        ("sync", {"tunables": {name: bounds}}, name)
        for name, bounds in (("hedges", poet.Integer(0, 2)), ("hedge_delay", poet.Real(0.1, 2.0)))
    ],
]


def named(case: tuple[Any, ...]) -> str:
    return ", ".join(re.sub(r" at 0x\w+", "", repr(part))[:70] for part in case[:-1])


@pytest.mark.parametrize("case", WRONG, ids=named)
@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_is_refused_with_its_value_and_what_can(kind: str, case: tuple[dict[str, Any], str]) -> None:
    arguments, sentence = case
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        House().poet(**arguments)(KINDS[kind])


@pytest.mark.parametrize("case", TOGETHER, ids=named)
@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_what_does_not_go_together_is_refused_when_the_function_is_decorated(
    case: tuple[str, dict[str, Any], str],
) -> None:
    kind, arguments, sentence = case
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        House().poet(**arguments)(KINDS[kind])


GOOD: dict[str, list[Any]] = {
    "retries": [0, 5],
    "timeout": [0.5, 3],
    "deadline": [None, 0.1, 100],
    "backoff": [0, 60],
    "idempotent": [True, False],
    "enable_training": [True, False],
    "collect_metrics": [True, False],
    "performance_tracking": [True, False],
    "learning_algorithm": ["basic", "statistical", "adaptive"],
    "learning_rate": [1, 0.001],
    "convergence_threshold": [1, 0.001],
    "objective": [None, poet.Objective(value=2.0)],
    "name": [None, "f"],
    "domain": [None, "a label"],
    "context": [None],
    "retry_on": [None, KeyError, (), [KeyError, ValueError], lambda error: True],
    "perceive": [None, lambda *args, **kwargs: None],
    "dependency": [None, "x", poet.Dependency("y", breaker=poet.Breaker(), concurrency=2)],
    "key_arg": [None, "key"],
    "timeout_arg": [None, "timeout", ("timeout", lambda seconds: seconds / 2)],
    "tunables": [
        None,
        {},
        {"timeout": poet.Real(0.001, 200, log=True)},
        {"retries": poet.Integer(0, 5)},
        {"backoff": poet.Real(0, 60)},
    ],
}
# And what only some kinds may have beside it.
ONLY: dict[str, dict[str, list[Any]]] = {
    "sync": {
        "enforce": [None, bool, int | str, lambda result: None],
        "enforce_timeout": ["cooperative", "thread", "signal", "process"],
    },
    "async": {"enforce": [None, bool, check_later], "enforce_timeout": ["cooperative"]},
    "generator": {"item_timeout": [None, 1.0], "enforce_timeout": ["cooperative"]},
    "async generator": {"item_timeout": [None, 1.0], "enforce_timeout": ["cooperative"]},
}


@given(st.data(), st.sampled_from(list(KINDS)))
def test_whatever_is_in_order_is_accepted(data: st.DataObject, kind: str) -> None:
    choices = {**GOOD, **ONLY[kind]}
    if kind.startswith("async"):
        choices["perceive"] = [*GOOD["perceive"], look_later]
    chosen = data.draw(st.lists(st.sampled_from(sorted(choices)), unique=True))
    arguments = {name: data.draw(st.sampled_from(choices[name])) for name in chosen}
    hedgeable = kind == "async" or arguments.get("enforce_timeout") == "thread"
    if hedgeable and arguments.get("idempotent", True) and data.draw(st.booleans()):
        arguments["hedge_delay"] = data.draw(st.sampled_from([0.0001, 0.1, 100.0]))
        if data.draw(st.booleans()):
            arguments["hedges"] = data.draw(st.integers(0, 8))
    if arguments.get("enforce") is not None and data.draw(st.booleans()):
        arguments["cost"], arguments["cost_limit"] = len, data.draw(st.sampled_from([0.001, 5, 1e9]))
    options = Options(**arguments).fitted(KINDS[kind])
    assert options.space.check(options.declared) == options.declared
    for name in chosen:
        assert getattr(options, name) is arguments[name]
    assert options.hedging is (
        options.idempotent and hedgeable and (options.enable_training or bool(options.hedge_delay))
    )


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (kind, dict(zip(("enable_training", "idempotent"), flags, strict=True)))
        for kind in KINDS
        for flags in itertools.product((True, False), repeat=2)
    ],
    ids=str,
)
def test_every_kind_of_function_can_be_decorated_and_called(kind: str, arguments: dict[str, Any]) -> None:
    house = House()
    call = house.poet(**arguments)(KINDS[kind])

    async def collected() -> Any:
        return [item async for item in call(3)] if kind == "async generator" else await call(3)

    if kind == "sync":
        result = call(3)
    elif kind == "generator":
        result = list(call(3))
    else:
        from poet.testing.clock import run

        result = run(collected(), house.clock)
    assert result == (3 if kind in ("sync", "async") else [3])


def test_what_is_settled_inside_is_no_argument() -> None:
    assert "hedging" not in USABLE
    with pytest.raises(UnknownArgument, match="poet\\(\\) has no argument 'hedging'"):
        poet.poet(hedging=True)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("typo", "meant"),
    [
        ("retires", "retries"),
        ("hedge_delays", "hedge_delay"),
        ("timeout_args", "timeout_arg"),
        ("idempotency", "idempotent"),
    ],
)
def test_an_unknown_argument_is_named_with_the_nearest(typo: str, meant: str) -> None:
    with pytest.raises(UnknownArgument, match=f"no argument '{typo}': did you mean '{meant}'"):
        poet.poet(**{typo: 1})


def test_the_defaults_are_those_that_existing_code_relies_on() -> None:
    options = Options()
    assert (options.retries, options.timeout, options.domain, options.enable_training) == (3, 30.0, None, False)
    assert (options.collect_metrics, options.learning_algorithm, options.learning_rate) == (True, "adaptive", 0.05)
    assert (options.convergence_threshold, options.performance_tracking) == (0.01, True)
    assert options.enable_cross_function_learning is False
    assert USABLE[:10] == (
        "retries",
        "timeout",
        "domain",
        "enable_training",
        "collect_metrics",
        "learning_algorithm",
        "learning_rate",
        "convergence_threshold",
        "enable_cross_function_learning",
        "performance_tracking",
    )


def test_a_refusal_leaves_no_function_behind() -> None:
    house = House()
    with pytest.raises(ConfigurationError):
        house.poet(hedge_delay=1.0, dependency="x")(plain)
    with pytest.raises(ConfigurationError):
        house.poet(key_arg="keys", dependency="x")(plain)
    with pytest.raises(ConfigurationError):
        house.poet(timeout_arg="tiemout", dependency="x")(plain)
    assert house.agent.enrolments == {}
    assert house.agent.dependencies == {}


def test_what_is_not_idempotent_keeps_the_retries_it_was_given() -> None:
    options = Options(retries=2, idempotent=False, tunables={"retries": poet.Integer(0, 5)})
    assert options.space["retries"] == poet.Integer(2, 2)


def test_a_delay_of_hedges_beyond_the_usual_bounds_widens_them() -> None:
    options = Options(timeout=500.0, hedge_delay=1e-5).fitted(later)
    assert options.space.check(options.declared) == options.declared
    assert options.declared["hedges"] == 1


def test_learned_hedges_begin_with_none() -> None:
    options = Options(enable_training=True).fitted(later)
    assert (options.declared["hedges"], options.declared["hedge_delay"]) == (0, 30.0)
    assert "hedges" not in Options(enable_training=True).fitted(plain).declared


def test_a_partial_is_no_function() -> None:
    with pytest.raises(ConfigurationError, match="@poet decorates functions"):
        poet.poet(functools.partial(plain, 3))


def test_a_decorated_async_function_is_still_one() -> None:
    assert asyncio.iscoroutinefunction(House().poet(perceive=look_later)(later))
