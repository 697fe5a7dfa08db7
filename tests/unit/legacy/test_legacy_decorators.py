from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from houses import House, Script
from poet import legacy
from poet.errors import ConfigurationError, UnknownArgument
from poet.seams import SYSTEM_CLOCK

VARIED = [0.04, 0.06, 0.05, 0.09, 0.03, 0.11, 0.05] * 9  # seconds
FACES = [legacy.poet, legacy.enhanced_poet, legacy.poet_with_advanced_learning]
IDS = ["poet", "enhanced_poet", "poet_with_advanced_learning"]


def in_house(face: Callable[..., Any], house: House) -> Callable[..., Any]:
    return partial(face, agent=house.agent)


@pytest.mark.parametrize("face", FACES, ids=IDS)
def test_with_and_without_parentheses_a_function_keeps_what_it_gives_and_its_signature(face: Any) -> None:
    decorator = in_house(face, House())

    def add(x: int, y: int = 1) -> int:
        """Sums."""
        return x + y

    for call in (decorator(add), decorator()(add), decorator(2, 5.0)(add), decorator(timeout=5.0)(add)):
        assert call(2, 3) == 5
        assert call(2) == 3
        assert inspect.signature(call) == inspect.signature(add)
        assert (call.__name__, call.__doc__) == ("add", "Sums.")
        assert isinstance(call._poet_executor, legacy.POETExecutor)
        assert call.poet.name.endswith("add")


@pytest.mark.parametrize("face", FACES, ids=IDS)
def test_an_async_function_stays_one(face: Any) -> None:
    @in_house(face, House(clock=SYSTEM_CLOCK))(timeout=5.0)
    async def ask() -> str:
        return "yes"

    assert inspect.iscoroutinefunction(ask)
    assert asyncio.run(ask()) == "yes"


def test_a_method_can_be_asked_like_a_function() -> None:
    house = House()

    class Client:
        @legacy.poet(agent=house.agent)
        def fetch(self, key: str) -> str:
            return key.upper()

    client = Client()
    assert client.fetch("a") == "A"
    assert client.fetch.get_metrics()["total_executions"] == 1
    assert legacy.executor_of(client.fetch) is Client.fetch._poet_executor


@pytest.mark.parametrize(
    ("face", "learner"), list(zip(FACES, ["adaptive", "statistical", "statistical"], strict=True)), ids=IDS
)
def test_each_face_has_its_own_default_of_how_to_learn(face: Any, learner: str) -> None:
    house = House()
    in_house(face, house)(enable_training=True)(lambda: None)()
    (record,) = house.store.functions()
    assert record.learner == learner


def test_advanced_learning_learns_unless_it_is_told_not_to() -> None:
    learning, still = House(), House()
    legacy.poet_with_advanced_learning(agent=learning.agent)(lambda: None)()
    legacy.poet_with_advanced_learning(enable_training=False, agent=still.agent)(lambda: None)()
    assert [record.learner for record in learning.store.functions()] == ["statistical"]
    assert [record.learner for record in still.store.functions()] == [""]


def test_the_old_positional_order_holds_and_wins_over_a_faces_defaults() -> None:
    house = House()
    ask = legacy.enhanced_poet(2, 10.0, "webshop", True, True, "basic", 0.1, 0.02, agent=house.agent)(lambda: None)
    ask()
    (record,) = house.store.functions()
    assert (record.domain, record.learner) == ("webshop", "basic")
    assert dict(record.declared) == {"timeout": 10.0, "retries": 2, "backoff": 0.1}


def test_what_the_old_decorators_did_not_have_is_passed_on() -> None:
    house = House()
    script = Script(house.clock, KeyError("k"), 0.1)
    assert legacy.enhanced_poet(retry_on=KeyError, backoff=0, agent=house.agent)(lambda: script())() == 2


def test_wrong_arguments_are_refused_where_the_decorator_stands() -> None:
    with pytest.raises(UnknownArgument, match="did you mean 'retries'"):
        legacy.enhanced_poet(retires=3)  # type: ignore[call-overload]
    with pytest.raises(ConfigurationError, match="retries must be a whole number >= 0, got -1"):
        legacy.poet(retries=-1)
    with pytest.raises(TypeError, match="by position and by name"):
        legacy.poet_with_advanced_learning(1, retries=2)
    with pytest.raises(ConfigurationError, match="put @poet below @staticmethod"):
        legacy.enhanced_poet(staticmethod(len))  # type: ignore[call-overload]


@pytest.mark.parametrize("algorithm", ["basic", "statistical", "adaptive"])
def test_what_is_learned_is_used_by_the_next_calls(algorithm: Any) -> None:
    house = House()
    script = Script(house.clock, *VARIED)

    @legacy.poet(3, 30.0, None, True, True, algorithm, agent=house.agent)
    def fetch() -> int:
        return script()

    for _ in range(60):
        fetch()
        house.agent.flush()
    parameters = fetch._poet_executor.parameters
    assert parameters is not None
    assert parameters["timeout"] < 30.0
    fetch()
    assert fetch.poet.last is not None
    assert fetch.poet.last.version == fetch.poet.parameters.version > 1


def test_stored_values_decide_how_often_a_function_is_tried() -> None:
    house = House()
    script = Script(house.clock, ConnectionError("down"))
    fetch = legacy.poet(retries=3, enable_training=True, agent=house.agent)(lambda: script())
    fetch.poet.pin(retries=0)
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == 1


def test_the_users_own_exception_comes_out_unchanged() -> None:
    house = House()
    mine = ValueError("mine")
    script = Script(house.clock, mine)
    for face in FACES:
        with pytest.raises(ValueError, match="mine") as caught:
            in_house(face, house)(lambda: script())()
        assert caught.value is mine
    assert script.calls == 3, "what is no passing trouble is not tried again"


def test_two_failures_and_three_retries_make_a_success() -> None:
    house = House()
    script = Script(house.clock, ConnectionError(), TimeoutError(), 0.1)
    ask = legacy.poet(retries=3, agent=house.agent)(lambda: script())
    assert ask() == 3


def test_an_attempt_that_takes_too_long_is_cut_off_and_the_old_name_catches_it() -> None:
    agent = House(clock=SYSTEM_CLOCK).agent
    never = asyncio.Event()

    @legacy.poet(retries=0, timeout=0.02, agent=agent)
    async def ask() -> None:
        await never.wait()

    with pytest.raises(legacy.TimeoutError) as caught:
        asyncio.run(ask())
    assert caught.value.stage == "operate"


def test_a_configuration_decorates_many_functions_and_each_counts_for_itself() -> None:
    house = House()
    config = legacy.POETConfig(retries=1, timeout=2.0)
    decorate = legacy.poet_with_config(config, agent=house.agent)
    script = Script(house.clock, OSError("x"))
    one, other = decorate(lambda: 1), decorate(lambda key: script())
    one()
    one()
    with pytest.raises(OSError, match="x"):
        other("a")
    assert [call.get_metrics()["total_executions"] for call in (one, other)] == [2, 1]
    assert other.get_metrics()["failure_rate"] == 1.0


def test_a_configuration_that_cannot_be_is_refused_before_there_is_a_function() -> None:
    with pytest.raises(ConfigurationError, match="needs a POETConfig, got 3"):
        legacy.poet_with_config(3)  # type: ignore[arg-type]


def test_functions_decorated_from_many_threads_do_not_mix() -> None:
    house = House()
    decorate = legacy.poet_with_config(legacy.POETConfig(), agent=house.agent)
    calls: dict[int, Any] = {}

    def work(number: int) -> None:
        def body() -> int:
            return number

        body.__qualname__ = f"body_{number}"
        calls[number] = decorate(body)
        for _ in range(number):
            assert calls[number]() == number

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: call.get_metrics()["total_executions"] for number, call in calls.items()} == {
        number: number for number in range(1, 9)
    }
