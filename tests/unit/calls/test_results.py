"""Results that are asked for again (``on_result``), and what the rejected ones may cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.enforce import Unsatisfying
from poet.errors import ConfigurationError, EnforceError, ResultRejected
from poet.model.event import Event
from poet.model.execution import Outcome
from poet.testing.clock import run


def pending(result: Any) -> bool:
    return bool(result == "pending")


def asking(house: House, answers: Sequence[Any], **options: Any) -> Any:
    """A function that gives, or raises, one answer after another; then the last one for ever."""
    asked = 0

    @house.poet(**{"retry_on": poet.on_result(pending), "backoff": 0, "name": "f", **options})
    def ask() -> Any:
        nonlocal asked
        asked += 1
        answer = answers[min(asked, len(answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    return ask


def outcomes(function: Any) -> list[Outcome]:
    return [attempt.outcome for attempt in function.poet.last.attempts]


@given(st.integers(0, 6), st.integers(0, 4))
def test_the_first_that_satisfies_or_else_the_last_is_given_as_it_is(bad: int, retries: int) -> None:
    house = House()
    ask = asking(house, ["pending"] * bad + ["done"], retries=retries)
    assert ask() == ("done" if bad <= retries else "pending")
    assert len(ask.poet.last.attempts) == min(bad, retries) + 1
    good = Outcome.SUCCESS if bad <= retries else Outcome.ERROR
    assert ask.poet.last.outcome is good


@pytest.mark.parametrize("retries", [0, 2])
def test_async_functions_give_it_too(retries: int) -> None:
    house = House()
    mine = ["pending"]

    @house.poet(retry_on=poet.on_result(lambda result: result == ["pending"]), retries=retries, backoff=0)
    async def ask() -> list[str]:
        await asyncio.sleep(0.1)
        return mine

    assert run(ask(), house.clock) is mine


def test_the_error_that_stands_for_it_never_leaves_the_call() -> None:
    house = House()
    events: list[Event] = []
    house.agent.listeners.add(events.append)
    assert asking(house, ["pending"], deadline=1.0, backoff=8.0)() == "pending"
    assert asking(house, ["pending"], dependency=poet.Dependency("x", budget=poet.Budget(floor=0)))() == "pending"
    assert asking(house, ["pending"], idempotent=False)() == "pending"
    shut = poet.Dependency("y", breaker=poet.Breaker(min_calls=1))
    assert asking(house, ["pending"], dependency=shut)() == "pending"
    assert "budget_spent" in [event.kind for event in events]
    assert all("pending" not in repr(event) for event in events)


def test_where_calls_are_plain_calls_the_result_is_given() -> None:
    house = House(learning="off")
    assert asking(house, ["pending", "done"])() == "pending"


def test_errors_stay_what_they_are_beside_it() -> None:
    house = House()
    ask = asking(house, ["pending", ConnectionError("gone"), "pending", "done"])
    assert ask() == "done"
    assert outcomes(ask) == [Outcome.ERROR] * 3 + [Outcome.SUCCESS]
    ask = asking(House(), ["pending", KeyError("no")])
    with pytest.raises(KeyError):
        ask()
    ask = asking(House(), ["pending", ConnectionError("last")], retries=1)
    with pytest.raises(ConnectionError, match="last") as caught:
        ask()
    assert caught.value.__context__ is None


def test_it_goes_with_types_and_with_predicates_of_errors() -> None:
    ask = asking(House(), ["pending", KeyError(), "done"], retry_on=[KeyError, poet.on_result(pending)])
    assert ask() == "done"
    ask = asking(House(), ["pending", "done"], retry_on=[lambda error: False, poet.on_result(pending)])
    assert ask() == "done"


def test_several_predicates_each_ask_again() -> None:
    again = [poet.on_result(pending), poet.on_result(lambda result: result is None)]
    ask = asking(House(), ["pending", None, "done"], retry_on=again)
    assert ask() == "done"


def test_whatever_counts_as_true_asks_again() -> None:
    assert asking(House(), ["", "x"], retry_on=poet.on_result(lambda result: not result and [1]))() == "x"


def test_a_predicate_that_fails_is_a_fault_of_the_check_and_hides_no_result_for_ever() -> None:
    ask = asking(House(), ["x"], retry_on=poet.on_result(lambda result: result.status))
    with pytest.raises(EnforceError, match="f: enforce: on_result's predicate raised AttributeError") as caught:
        ask()
    assert isinstance(caught.value.__cause__, AttributeError)
    assert outcomes(ask) == [Outcome.REFUSED]


def test_a_predicate_whose_answer_is_neither_true_nor_false_is_a_fault_of_the_check() -> None:
    # "array == 0" is an array, and its truth raises ValueError, which is not the function's.
    ask = asking(House(), [np.array([0, 1])], retry_on=poet.on_result(lambda array: array == 0))
    with pytest.raises(EnforceError, match="on_result"):
        ask()


@pytest.mark.parametrize("wrong", [None, True, "x", 3, []], ids=repr)
def test_what_is_no_predicate_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="on_result takes a predicate of the result"):
        poet.on_result(wrong)


@pytest.mark.filterwarnings("ignore:coroutine:RuntimeWarning")
def test_an_async_predicate_is_refused_as_a_coroutine_is_always_true() -> None:
    async def predicate(result: Any) -> bool:
        return False

    with pytest.raises(ConfigurationError):
        asking(House(), ["done"], retry_on=poet.on_result(predicate))


def test_first_comes_on_result_and_then_enforce() -> None:
    seen: list[Any] = []

    def check(result: Any) -> bool:
        seen.append(result)
        return bool(result != "empty")

    ask = asking(House(), ["pending", "empty", "done"], enforce=check)
    assert ask() == "done"
    assert seen == ["empty", "done"]


def test_the_last_rejection_decides_what_the_caller_sees() -> None:
    check = {"enforce": lambda result: result != "empty", "retries": 1}
    with pytest.raises(ResultRejected):
        asking(House(), ["pending", "empty"], **check)()
    assert asking(House(), ["empty", "pending"], **check)() == "pending"


def test_a_nested_call_gives_its_last_result_to_the_call_around_it() -> None:
    house = House()
    inner = asking(house, ["pending"], retries=1, name="inner")

    @house.poet(retries=0)
    def outer() -> Any:
        return inner()

    assert outer() == "pending"


def test_unsatisfied_threads_and_tasks_do_not_mix() -> None:
    house = House()

    @house.poet(retry_on=poet.on_result(lambda result: result[1] < 3), backoff=0.01, retries=5)
    async def ask(n: int, tries: list[int]) -> tuple[int, int]:
        tries.append(n)
        await asyncio.sleep(n / 10)
        return n, len(tries)

    async def main() -> list[tuple[int, int]]:
        return await asyncio.gather(*(ask(n, []) for n in range(3)))

    assert run(main(), house.clock) == [(n, 3) for n in range(3)]


def costing(house: House, cost: Any, limit: Any, answers: Sequence[Any] = ("pending",), **options: Any) -> Any:
    return asking(house, answers, cost=cost, cost_limit=limit, **{"retries": 5, **options})


@given(st.lists(st.floats(0.0, 3.0), min_size=6, max_size=6), st.floats(0.1, 12.0))
def test_a_call_that_has_spent_its_limit_is_not_repeated(costs: list[float], limit: float) -> None:
    house = House()
    each = iter(costs)
    ask = costing(house, lambda result: next(each), limit, retry_on=None, enforce=lambda result: False)
    with pytest.raises(ResultRejected):
        ask()
    spent, expected = 0.0, 0
    for cost in costs:
        expected += 1
        spent += cost
        if spent >= limit:
            break
    assert len(ask.poet.last.attempts) == expected


def test_the_listener_hears_that_it_was_the_cost() -> None:
    house = House()
    events: list[Event] = []
    house.agent.listeners.add(events.append)
    assert costing(house, lambda result: 2.0, 4.0)() == "pending"
    assert [(event.kind, event.attempt, event.detail) for event in events] == [
        ("attempt_failed", 1, ""),
        ("retry", 1, ""),
        ("attempt_failed", 2, ""),
        ("budget_spent", 2, "cost"),
        ("gave_up", 2, ""),
    ]


def test_calls_do_not_share_what_they_spend() -> None:
    house = House()
    ask = costing(house, lambda result: 1.0, 2.5, retries=2, backoff=0)
    for _ in range(3):
        ask()
        assert len(ask.poet.last.attempts) == 3


def test_a_result_that_is_used_costs_nothing() -> None:
    seen: list[Any] = []
    assert costing(House(), seen.append, 1.0, ["done"])() == "done"
    assert seen == []


def test_what_is_no_result_costs_nothing() -> None:
    ask = costing(House(), lambda result: 100.0, 1.0, [ConnectionError(), ConnectionError(), "done"])
    assert ask() == "done"


@pytest.mark.parametrize("cost", [None, "3 tokens", 5.0, [1]], ids=repr)
def test_an_error_of_the_functions_own_with_a_cost_of_its_own_is_not_counted(cost: Any) -> None:
    class Billed(ConnectionError):
        pass

    error = Billed("mine")
    error.cost = cost  # type: ignore[attr-defined]  # whatever its library means by it
    ask = costing(House(), lambda result: 1.0, 2.0, [error, error, "done"])
    assert ask() == "done"


@pytest.mark.parametrize("cost", [lambda result: 1 / 0, lambda result: "much", lambda result: None])
def test_a_cost_that_cannot_be_told_is_a_fault_of_the_check(cost: Any) -> None:
    ask = costing(House(), cost, 1.0)
    with pytest.raises(EnforceError, match="f: enforce: cost raised"):
        ask()


def test_a_cost_that_is_no_number_does_not_lift_the_limit() -> None:
    ask = costing(House(), lambda result: math.nan, 1.0)
    with pytest.raises(EnforceError):
        ask()


def test_costs_are_counted_under_asyncio_too() -> None:
    house = House()

    @house.poet(enforce=lambda result: False, cost=len, cost_limit=5, retries=5, backoff=0)
    async def ask() -> str:
        return "abc"

    async def main() -> int:
        with pytest.raises(ResultRejected):
            await ask()
        return len(ask.poet.last.attempts)

    assert run(main(), house.clock) == 2


def test_what_stands_for_a_result_tells_nothing_of_it() -> None:
    assert "secret" not in repr(Unsatisfying("secret"))
    assert "secret" not in str(Unsatisfying("secret"))
