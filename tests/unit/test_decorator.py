from __future__ import annotations

import inspect
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House, Script
from poet.errors import ConfigurationError, UnknownArgument, UnknownVersion
from poet.options import Options

VARIED = [0.04, 0.06, 0.05, 0.09, 0.03, 0.11, 0.05] * 9  # seconds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"timeout": -1.0}, "timeout must be a finite number of seconds > 0, got -1.0"),
        ({"timeout": 0}, "timeout must be a finite number of seconds > 0, got 0"),
        ({"timeout": math.nan}, "timeout must be a finite number of seconds > 0, got nan"),
        ({"timeout": math.inf}, "timeout must be"),
        ({"timeout": "3"}, "timeout must be"),
        ({"timeout": True}, "timeout must be"),
        ({"timeout": None}, "timeout must be"),
        ({"deadline": 0.0}, "deadline must be"),
        ({"backoff": -0.1}, r"backoff must be a number of seconds in \[0, 60\], got -0.1"),
        ({"backoff": math.nan}, "backoff must be"),
        ({"retries": -1}, "retries must be a whole number >= 0, got -1"),
        ({"retries": 2.5}, "retries must be a whole number >= 0, got 2.5"),
        ({"retries": True}, "retries must be"),
        ({"learning_rate": 0}, "learning_rate must be in"),
        ({"convergence_threshold": math.nan}, "convergence_threshold must be in"),
        ({"learning_algorithm": "statistics"}, "did you mean 'statistical'"),
        ({"enforce_timeout": "threads"}, "did you mean 'thread'"),
        ({"objective": 3}, "objective must be a poet.Objective"),
        ({"context": "user"}, "has no argument 'user'"),
        ({"name": ""}, "name must be a text"),
        ({"domain": 3}, "domain must be a text"),
        ({"perceive": 3}, "perceive must be callable"),
        ({"enable_training": "yes"}, "enable_training must be True or False"),
        ({"tunables": {"timeout": 3}}, "must be a poet.Real"),
        ({"timeout": 3.0, "tunables": {"timeout": poet.Real(0.5, 2)}}, "the nearest is 2"),
        ({"tunables": {"timeout": poet.Real(-1, 60)}}, "bounds of timeout must be > 0"),
        ({"tunables": {"retries": poet.Integer(-1, 6)}}, "bounds of retries must be >= 0"),
        ({"tunables": {"timeouts": poet.Real(1, 60)}}, "did you mean 'timeout'"),
        ({"tunables": [1]}, "tunables must be a mapping"),
        ({"retry_on": 3}, "retry_on takes types"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_at_the_door_with_its_value(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        poet.poet(**arguments)(lambda: None)


def test_bounds_without_a_value_begin_with_the_usual_one_as_near_as_they_allow() -> None:
    house = House()
    fetch = house.poet(tunables={"timeout": poet.Real(0.5, 2), "retries": poet.Integer(0, 1)})(lambda: None)
    fetch()
    assert dict(fetch.poet.parameters) == {"timeout": 2.0, "retries": 1, "backoff": 0.1}


def test_bounds_upside_down_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="bounds upside down: low 5 is above high 1; swap them"):
        poet.Real(5, 1)
    with pytest.raises(ConfigurationError, match="bounds upside down"):
        poet.Integer(5, 1)


def test_an_unknown_argument_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownArgument, match="poet\\(\\) has no argument 'retires': did you mean 'retries'"):
        poet.poet(retires=3)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        poet.poet(retires=3)  # type: ignore[call-overload]


def test_the_old_positional_order_still_holds() -> None:
    house = House()

    @house.poet(2, 10.0, "llm_optimization", False, True, "statistical", 0.1, 0.02, False, True)
    def ask() -> int:
        return 1

    assert ask() == 1
    assert dict(ask.poet.parameters) == {"timeout": 10.0, "retries": 2, "backoff": 0.1}
    (record,) = house.store.functions()
    assert record.domain == "llm_optimization"


def test_too_many_or_doubled_arguments_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="at most 10 positional"):
        poet.poet(1, 1.0, None, False, True, "basic", 0.1, 0.1, False, True, "eleven")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="by position and by name"):
        poet.poet(1, retries=2)  # type: ignore[call-overload]


@pytest.mark.parametrize("make", [(x for x in "a"), int, dict, 3, "f", House, staticmethod(len)])
def test_what_is_no_function_is_refused_with_what_to_do(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="@poet"):
        poet.poet()(make)


def test_a_generator_stays_a_generator() -> None:
    house = House()

    @house.poet
    def stream() -> Iterator[int]:
        yield from (1, 2)

    @house.poet
    async def later() -> AsyncIterator[int]:
        yield 1

    assert inspect.isgeneratorfunction(stream)
    assert inspect.isasyncgenfunction(later)
    assert list(stream()) == [1, 2]


def test_other_values_hold_for_some_callers_only() -> None:
    house = House()
    asked = 0

    @house.poet(retries=2, backoff=0)
    def fetch() -> None:
        nonlocal asked
        asked += 1
        raise ConnectionResetError

    once = fetch.poet.using(retries=0, timeout=1.0)
    with pytest.raises(ConnectionResetError):
        once()
    assert asked == 1
    assert dict(once.poet.parameters) == {"timeout": 1.0, "retries": 0, "backoff": 0.0}
    with pytest.raises(ConnectionResetError):
        fetch()
    assert asked == 4
    assert fetch.poet.status()["calls"] == 2
    with pytest.raises(ConfigurationError, match="retries must be in"):
        fetch.poet.using(retries=99)


def test_bare_empty_and_full_decorators_keep_name_doc_and_signature() -> None:
    house = House()

    def original(x: int, *, y: str = "a") -> str:
        """What it does."""
        return y * x

    for decorate in (house.poet, house.poet(), house.poet(enable_training=True)):
        wrapped = decorate(original)
        assert wrapped(2, y="b") == "bb"
        assert wrapped.__doc__ == "What it does."
        assert inspect.signature(wrapped) == inspect.signature(original)


def test_two_functions_of_one_name_do_not_mix_and_one_function_decorated_twice_does() -> None:
    house = House()

    def make(seconds: float) -> tuple[Any, Any]:
        def fetch() -> None:
            house.clock.sleep(seconds)

        first = house.poet(fetch)

        def fetch(url: str) -> None:  # type: ignore[misc]
            house.clock.sleep(seconds)

        return first, house.poet(fetch)

    one, other = make(1.0)
    again, _ = make(2.0)
    one()
    again()
    other("x")
    house.agent.flush()
    keys = [record.key for record in house.store.functions()]
    assert len(keys) == len(set(keys)) == 2
    assert sorted(record.calls for record in house.store.functions()) == [1, 2]


def test_a_mapping_of_live_values_cannot_be_changed() -> None:
    house = House()
    fetch = house.poet(lambda: None)
    fetch()
    with pytest.raises(TypeError):
        fetch.poet.parameters["timeout"] = 1.0
    with pytest.raises(TypeError):
        fetch.poet.parameters.values_["timeout"] = 1.0


def test_pin_unpin_pause_resume_and_rollback_are_history_with_author_and_reason() -> None:
    house = House()
    fetch = house.poet(enable_training=True, name="fetch")(lambda: None)
    fetch()
    fetch.poet.pin(timeout=5.0, retries=1)
    assert fetch.poet.parameters["timeout"] == 5.0
    fetch.poet.unpin()
    fetch.poet.pause("incident")
    fetch.poet.resume()
    assert fetch.poet.rollback(reason="slower").version == 1
    assert fetch.poet.parameters["timeout"] == 30.0
    history = fetch.poet.history()
    assert [c.action for c in history] == ["publish", "pin", "unpin", "pause", "resume", "rollback"]
    assert history[-1].reason == "slower"
    assert all(change.author for change in history)


def test_a_pin_outside_the_bounds_is_refused_with_the_nearest_value() -> None:
    house = House()
    fetch = house.poet(lambda: None)
    with pytest.raises(ConfigurationError, match=r"timeout must be in \[0\.001, 120\], got 1000; the nearest is 120"):
        fetch.poet.pin(timeout=1000.0)
    with pytest.raises(ConfigurationError, match="did you mean 'retries'"):
        fetch.poet.pin(retry=1)


def test_a_rollback_to_a_version_that_is_not_there_names_those_that_are() -> None:
    house = House()
    fetch = house.poet(lambda: None)
    fetch()
    with pytest.raises(UnknownVersion, match="has no version 7; it has: 1"):
        fetch.poet.rollback(7)


def test_explain_of_a_function_that_does_not_learn_says_so() -> None:
    house = House()
    fetch = house.poet(lambda: None)
    fetch()
    with pytest.raises(ConfigurationError, match="does not learn: decorate it with enable_training=True"):
        fetch.poet.explain()


def test_without_metrics_and_training_nothing_is_recorded() -> None:
    house = House()
    fetch = house.poet(collect_metrics=False)(lambda: None)
    fetch()
    house.agent.flush()
    (record,) = house.store.functions()
    assert record.calls == 0


def test_training_without_metrics_learns_and_stores_no_execution() -> None:
    house = House()
    script = Script(house.clock, *VARIED)
    fetch = house.poet(collect_metrics=False, enable_training=True)(lambda: script())
    for _ in range(40):
        fetch()
        house.agent.flush()
    assert fetch.poet.parameters["timeout"] < 30.0
    (record,) = house.store.functions()
    assert record.calls == 0


@pytest.mark.parametrize("algorithm", ["basic", "statistical", "adaptive"])
def test_every_algorithm_learns_from_calls_and_the_next_calls_use_it(algorithm: str) -> None:
    house = House()
    script = Script(house.clock, *VARIED)
    fetch = house.poet(enable_training=True, learning_algorithm=algorithm)(lambda: script())
    for _ in range(60):
        fetch()
        house.agent.flush()
    assert fetch.poet.parameters["timeout"] < 30.0
    fetch()
    assert fetch.poet.last.version == fetch.poet.parameters.version > 1


@given(
    timeout=st.floats(0.01, 100),
    retries=st.integers(0, 5),
    low=st.floats(0.001, 0.01),
    high=st.floats(100, 200),
)
def test_options_that_are_in_order_give_declared_values_within_their_bounds(
    timeout: float, retries: int, low: float, high: float
) -> None:
    options = Options(timeout=timeout, retries=retries, tunables={"timeout": poet.Real(low, high, log=True)})
    assert options.space.check(options.declared) == options.declared


def test_the_handle_replays_what_was_recorded() -> None:
    house = House()
    script = Script(house.clock, *VARIED)

    @house.poet(retries=1, timeout=1.0, backoff=0)
    def fetch() -> int:
        return script()

    for _ in range(63):
        fetch()
    told = fetch.poet.replay(timeout=0.1, retries=0)
    assert told.calls == 63
    assert told.replayed["success"].value == pytest.approx(8 / 9 if VARIED.count(0.11) == 7 else 6 / 7)
    assert told.decided == 1
    assert told.values == {"timeout": 0.1, "retries": 0, "backoff": 0.0, "hedges": 0, "hedge_delay": 0.0}
    assert fetch.poet.replay(since=house.clock.wall()).calls == 0
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        fetch.poet.replay(timout=2.0)
