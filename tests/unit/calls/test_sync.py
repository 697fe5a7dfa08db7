from __future__ import annotations

import contextlib
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House, Script
from poet.model.execution import Execution, Outcome
from poet.seams import SYSTEM_CLOCK


def decorated(house: House, script: Script, **options: Any) -> Any:
    @house.poet(**options)
    def fetch() -> int:
        return script()

    return fetch


def last(function: Any) -> Execution:
    execution = function.poet.last
    assert isinstance(execution, Execution)
    return execution


def test_a_call_that_succeeds_is_one_attempt_as_long_as_the_call() -> None:
    house = House()
    fetch = decorated(house, Script(house.clock, 0.25))
    assert fetch() == 1
    assert last(fetch).outcome is Outcome.SUCCESS
    assert last(fetch).seconds == pytest.approx(0.25)
    assert [a.seconds for a in last(fetch).attempts] == pytest.approx([0.25])


def test_a_transient_error_is_retried_and_its_pause_is_part_of_the_call() -> None:
    house = House()
    fetch = decorated(house, Script(house.clock, ConnectionError("gone"), ConnectionError("gone"), 0.1), retries=2)
    assert fetch() == 3
    execution = last(fetch)
    assert [a.outcome for a in execution.attempts] == [Outcome.ERROR, Outcome.ERROR, Outcome.SUCCESS]
    waits = [a.waited for a in execution.attempts]
    assert waits[0] == 0
    assert 0 <= waits[1] <= 0.1
    assert 0 <= waits[2] <= 0.2
    assert execution.seconds == pytest.approx(0.1 + sum(waits))


def test_retries_are_the_attempts_after_the_first() -> None:
    house = House()
    script = Script(house.clock, ConnectionError("gone"))
    fetch = decorated(house, script, retries=3)
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == 4


def test_the_users_own_exception_comes_out_unchanged_with_its_own_traceback() -> None:
    house = House(clock=SYSTEM_CLOCK)
    error = KeyError("mine")
    fetch = decorated(house, Script(house.clock, error))
    with pytest.raises(KeyError) as caught:
        fetch()
    assert caught.value is error
    assert error.__context__ is None
    assert error.__cause__ is None
    names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
    assert names[1:] == ["call", "fetch", "__call__"]


def test_after_retries_the_last_exception_comes_out_without_the_ones_before_in_its_context() -> None:
    house = House()
    first, second = ConnectionError("first"), ConnectionError("second")
    fetch = decorated(house, Script(house.clock, first, second), retries=1)
    with pytest.raises(ConnectionError) as caught:
        fetch()
    assert caught.value is second
    assert second.__context__ is None


@pytest.mark.parametrize("error", [TypeError(), ValueError(), KeyError(), AttributeError(), ZeroDivisionError()])
def test_an_error_that_no_attempt_can_mend_is_not_retried(error: Exception) -> None:
    house = House()
    script = Script(house.clock, error)
    fetch = decorated(house, script)
    with pytest.raises(type(error)):
        fetch()
    assert script.calls == 1
    assert last(fetch).outcome is Outcome.REFUSED
    assert last(fetch).error == type(error).__name__


def test_retry_on_names_more_errors_and_keeps_the_usual_ones() -> None:
    house = House()
    script = Script(house.clock, KeyError(), ConnectionError(), 0.0)
    fetch = decorated(house, script, retry_on=(KeyError,))
    assert fetch() == 3


def test_a_predicate_for_retry_on_decides_alone() -> None:
    house = House()
    script = Script(house.clock, ConnectionError("no"))
    fetch = decorated(house, script, retry_on=lambda error: "yes" in str(error))
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == 1


def test_a_predicate_that_fails_does_not_hide_the_error_it_was_asked_about() -> None:
    house = House()
    fetch = decorated(house, Script(house.clock, ConnectionError("mine")), retry_on=lambda error: 1 / 0 > 0)
    with pytest.raises(ConnectionError, match="mine"):
        fetch()


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_what_stops_the_program_is_never_retried(stop: BaseException) -> None:
    house = House()
    script = Script(house.clock, stop)
    fetch = decorated(house, script, retry_on=lambda error: True)
    with pytest.raises(type(stop)):
        fetch()
    assert script.calls == 1
    assert last(fetch).outcome is Outcome.CANCELLED


def test_an_answer_after_the_limit_is_returned_and_recorded_as_late() -> None:
    house = House()
    fetch = decorated(house, Script(house.clock, 5.0), timeout=1.0)
    assert fetch() == 1
    assert last(fetch).outcome is Outcome.LATE
    assert last(fetch).attempts[0].seconds == pytest.approx(5.0)


def test_the_body_sees_how_long_its_attempt_may_take() -> None:
    house = House()

    @house.poet(timeout=2.0)
    def fetch() -> tuple[float | None, float | None, float | None]:
        before = poet.remaining()
        house.clock.sleep(0.5)
        return before, poet.remaining(), poet.deadline()

    assert fetch() == (2.0, 1.5, 102.0)
    assert poet.deadline() is None
    assert poet.remaining() is None


def test_what_remains_is_never_negative() -> None:
    house = House()

    @house.poet(timeout=1.0)
    def fetch() -> float | None:
        house.clock.sleep(3.0)
        return poet.remaining()

    assert fetch() == 0.0


def test_a_nested_call_inherits_the_smaller_deadline() -> None:
    house = House()

    @house.poet(timeout=10.0)
    def inner() -> float | None:
        return poet.remaining()

    @house.poet(timeout=3.0)
    def outer() -> tuple[float | None, float | None]:
        house.clock.sleep(1.0)
        return inner(), poet.remaining()

    assert outer() == (2.0, 2.0)
    assert inner() == 10.0


def test_a_nested_call_is_not_begun_after_the_deadline_around_it() -> None:
    house = House()
    script = Script(house.clock, 0.0)
    inner = decorated(house, script)

    @house.poet(timeout=1.0, retries=0)
    def outer() -> int:
        house.clock.sleep(2.0)
        return int(inner())

    with pytest.raises(poet.PoetTimeout):
        outer()
    assert script.calls == 0


def test_the_deadline_limits_the_whole_call_attempts_and_pauses_together() -> None:
    house = House()
    seen: list[float | None] = []

    @house.poet(timeout=2.0, deadline=3.0, retries=5)
    def fetch() -> None:
        left = poet.remaining()
        seen.append(left)
        assert left is not None
        house.clock.sleep(left)
        raise TimeoutError

    start = house.clock.now()
    with pytest.raises(TimeoutError):
        fetch()
    assert seen[0] == 2.0
    assert sum(x for x in seen if x is not None) <= 3.0
    assert house.clock.now() - start <= 3.0 + 1e-9


def test_a_deadline_below_the_timeout_limits_the_first_attempt() -> None:
    house = House()

    @house.poet(timeout=30.0, deadline=1.5)
    def fetch() -> float | None:
        return poet.remaining()

    assert fetch() == 1.5


def test_enforce_makes_a_rejected_result_an_attempt_that_failed() -> None:
    house = House()
    answers = iter(["", "", "good"])

    @house.poet(enforce=lambda answer: answer != "", retries=2)
    def fetch() -> str:
        return next(answers)

    assert fetch() == "good"
    assert [a.outcome for a in last(fetch).attempts] == [Outcome.ERROR, Outcome.ERROR, Outcome.SUCCESS]


def test_enforce_that_rejects_for_good_comes_out_as_an_error() -> None:
    house = House()

    @house.poet(enforce=lambda result: result != 1, retries=0)
    def fetch() -> int:
        return 1

    with pytest.raises(poet.ResultRejected, match="enforce rejected the result"):
        fetch()


def test_perceive_sees_the_input_once_and_may_change_it() -> None:
    house = House()
    seen: list[str] = []

    def tidy(text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        seen.append(text)
        return (text.strip(),), {}

    tries = iter([ConnectionError(), None])

    @house.poet(perceive=tidy)
    def fetch(text: str) -> str:
        error = next(tries)
        if error:
            raise error
        return text

    assert fetch("  hello ") == "hello"
    assert seen == ["  hello "]


def test_a_function_that_is_not_idempotent_is_never_repeated() -> None:
    house = House()
    script = Script(house.clock, ConnectionError())
    fetch = decorated(house, script, idempotent=False, retries=3)
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == 1


def test_methods_are_bound_and_share_one_handle() -> None:
    house = House()

    class Client:
        def __init__(self, base: int) -> None:
            self.base = base

        @house.poet(retries=1)
        def add(self, x: int) -> int:
            return self.base + x

    assert Client(1).add(2) == 3
    assert Client(10).add(x=2) == 12
    assert Client.add.poet.name.endswith("Client.add")


@given(
    st.lists(st.sampled_from(["ok", "error", "timeout", "refused"]), min_size=1, max_size=8),
    st.integers(0, 4),
)
def test_every_call_ends_in_one_execution_that_adds_up(kinds: list[str], retries: int) -> None:
    house = House()
    errors: dict[str, BaseException] = {"error": ConnectionError(), "timeout": TimeoutError(), "refused": ValueError()}
    fetch = decorated(house, Script(house.clock, *[errors.get(k, 0.125) for k in kinds]), retries=retries, timeout=1.0)
    with contextlib.suppress(ConnectionError, TimeoutError, ValueError):
        fetch()
    house.agent.flush()
    stored = list(house.store.executions(fetch.poet._trainee.key))
    assert len(stored) == 1
    execution = stored[0]
    assert 1 <= len(execution.attempts) <= retries + 1
    assert execution.attempts[-1].outcome is execution.outcome
    assert execution.seconds == pytest.approx(sum(a.seconds + a.waited for a in execution.attempts))
    assert all(a.outcome in (Outcome.ERROR, Outcome.TIMEOUT) for a in execution.attempts[:-1])
