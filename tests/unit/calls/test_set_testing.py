"""``poet.set_testing``: users' tests neither wait, nor repeat more than is said, nor leave anything behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import poet
from houses import House, Script
from poet.app import build
from poet.decorator import bind
from poet.errors import ConfigurationError
from poet.model.execution import Outcome
from poet.settings import Settings
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import run


@pytest.fixture
def house(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[House]:
    """One whose agent is the process's own for as long as the test lasts: what ``poet.set_testing`` works on.

    Its store is a file, as what is closed is opened again.
    """
    made = House()
    settings = Settings(store=f"sqlite:///{tmp_path}/poet.db", seed=7)
    made.agent = build(settings, clock=made.clock, thread=False)
    made.poet = bind(made.agent)
    monkeypatch.setattr("poet.decorator._default", made.agent)
    yield made
    made.agent.close()


def failing(house: House, error: BaseException | None = None, **options: Any) -> tuple[Any, Script]:
    script = Script(house.clock, ConnectionResetError("mine") if error is None else error)
    return house.poet(**{"name": "f", **options})(lambda: script()), script


def requests(call: Any, script: Script) -> int:
    before = script.calls
    with suppress(ConnectionResetError, poet.Shed):
        call()
    return script.calls - before


class Pushed(ConnectionResetError):
    retry_after = 30.0


def test_by_default_a_call_is_one_attempt(house: House) -> None:
    call, script = failing(house, retries=5)
    with poet.set_testing():
        assert requests(call, script) == 1
    assert requests(call, script) == 6


@pytest.mark.parametrize(("attempts", "retries", "made"), [(1, 5, 1), (2, 5, 2), (9, 5, 6), (9, 0, 1)])
def test_a_call_makes_no_more_attempts_than_said_and_no_more_than_its_own(
    house: House, attempts: int, retries: int, made: int
) -> None:
    call, script = failing(house, retries=retries)
    with poet.set_testing(attempts=attempts):
        assert requests(call, script) == made


@pytest.mark.parametrize("error", [ConnectionResetError(), Pushed()])
def test_it_never_pauses_not_even_where_the_dependency_asks_for_it(house: House, error: Exception) -> None:
    call, script = failing(house, error, backoff=8.0, retries=5)
    with poet.set_testing(attempts=4):
        assert requests(call, script) == 4
    assert house.clock.now() == 100.0
    assert requests(call, script) > 1
    assert house.clock.now() > 100.0


def test_it_never_pauses_under_asyncio_either(house: House) -> None:
    asked = 0

    @house.poet(backoff=8.0)
    async def ask() -> None:
        nonlocal asked
        asked += 1
        raise Pushed

    async def main() -> None:
        with pytest.raises(Pushed):
            await ask()

    with poet.set_testing(attempts=3):
        run(main(), house.clock)
    assert asked == 3
    assert house.clock.now() == 100.0


def test_it_sends_no_copies(house: House) -> None:
    asked = 0

    @house.poet(hedge_delay=1.0, hedges=3, timeout=20.0)
    async def ask() -> None:
        nonlocal asked
        asked += 1
        await asyncio.sleep(10)

    with poet.set_testing():
        run(ask(), house.clock)
    assert asked == 1
    run(ask(), house.clock)
    assert asked == 1 + 4


def test_blocks_within_blocks_end_one_by_one(house: House) -> None:
    call, script = failing(house, retries=5)
    with poet.set_testing(attempts=3):
        assert requests(call, script) == 3
        with poet.set_testing():
            assert requests(call, script) == 1
            with poet.set_testing(False):
                assert requests(call, script) == 6
            assert requests(call, script) == 1
        assert requests(call, script) == 3
    assert requests(call, script) == 6


def test_a_block_that_breaks_off_ends_all_the_same(house: House) -> None:
    call, script = failing(house, retries=5)
    with pytest.raises(KeyError), poet.set_testing():
        raise KeyError
    assert requests(call, script) == 6


def test_without_a_block_it_holds_until_it_is_taken_back(house: House) -> None:
    call, script = failing(house, retries=5)
    poet.set_testing(attempts=2)
    assert [requests(call, script), requests(call, script)] == [2, 2]
    poet.set_testing(False)
    assert requests(call, script) == 6


def test_functions_that_were_called_before_and_such_that_are_decorated_within_obey(house: House) -> None:
    before, script = failing(house, retries=5, name="before")
    requests(before, script)
    with poet.set_testing():
        within, other = failing(house, retries=5, name="within")
        assert (requests(before, script), requests(within, other)) == (1, 1)
    assert (requests(before, script), requests(within, other)) == (6, 6)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2", None])
def test_a_number_of_attempts_that_cannot_be_is_refused_and_changes_nothing(house: House, wrong: Any) -> None:
    call, script = failing(house, retries=5)
    with pytest.raises(ConfigurationError, match=f"attempts must be a whole number >= 1, got {wrong!r}"):
        poet.set_testing(attempts=wrong)
    assert requests(call, script) == 6


def test_nothing_is_stored_and_what_is_stored_stays(house: House) -> None:
    call, script = failing(house, retries=0)
    requests(call, script)
    with poet.set_testing():
        requests(call, script)
        poet.flush()
        requests(call, script)
    requests(call, script)
    poet.flush()
    store = house.agent.open().store
    (record,) = store.functions()
    assert record.calls == 2
    stored = list(store.executions(record.key))
    assert len(stored) == 2
    assert len({execution.sequence for execution in stored}) == 2


def test_nothing_is_learned_and_what_was_learned_is_back_afterwards(house: House) -> None:
    script = Script(house.clock, *[0.04, 0.06, 0.05, 0.09, 0.03, 0.11, 0.05] * 40)
    call = house.poet(enable_training=True, name="f")(lambda: script())
    for _ in range(60):
        call()
        poet.flush()
    learned = dict(call.poet.parameters)
    assert learned["timeout"] < 30.0
    with poet.set_testing():
        for _ in range(30):
            call()
        assert call.poet.parameters["timeout"] == 30.0  # what is tested is the code as it is declared
        poet.flush()
    assert dict(call.poet.parameters) == learned
    versions = [version.version for version in call.poet.versions()]
    assert versions == sorted(set(versions))


def test_a_pin_does_not_get_past_it_nor_out_of_it(house: House) -> None:
    call, script = failing(house, retries=1)
    call.poet.pin(retries=4)
    with poet.set_testing(attempts=2):
        call.poet.pin(retries=5)
        assert requests(call, script) == 2
    assert requests(call, script) == 5
    assert call.poet.status()["pinned"] == {"retries": 4}


def test_a_breaker_that_a_test_has_opened_is_closed_for_the_next(house: House) -> None:
    call, script = failing(house, dependency=poet.Dependency("x", breaker=poet.Breaker(min_calls=2)))
    for _ in range(3):
        with poet.set_testing():
            assert [requests(call, script) for _ in range(3)] == [1, 1, 0]
            with pytest.raises(poet.CircuitOpen):
                call()
    assert call.poet.status()["dependency"]["breaker"] == "closed"
    assert call.poet.status()["dependency"]["calls"] == 0


def test_no_budget_is_asked_as_a_test_is_no_load(house: House) -> None:
    call, script = failing(house, dependency=poet.Dependency("x", budget=poet.Budget(share=0.0, floor=1)))
    for _ in range(3):
        with poet.set_testing(attempts=2):
            assert [requests(call, script) for _ in range(2)] == [2, 2]


def test_within_one_block_a_test_does_not_depend_on_how_many_came_before(house: House) -> None:
    # As with one set_testing() for a whole suite, in its conftest: the hundredth test sees what the first has seen.
    call, script = failing(house, retries=5)
    with poet.set_testing(attempts=2):
        assert {requests(call, script) for _ in range(100)} == {2}


def test_a_call_that_runs_across_the_border_makes_no_place_that_was_not_there(house: House) -> None:
    limit = 2
    entered, go_on = threading.Semaphore(0), threading.Event()

    @house.poet(dependency=poet.Dependency("x", concurrency=limit), retries=0)
    def work() -> None:
        entered.release()
        go_on.wait(10)

    old = [threading.Thread(target=work) for _ in range(limit)]
    for thread in old:
        thread.start()
    for _ in old:
        entered.acquire()
    with poet.set_testing():
        go_on.set()
        for thread in old:
            thread.join()
        assert house.agent.dependencies["x"].running == 0
        go_on.clear()
        seen: list[str] = []

        def attempt() -> None:
            try:
                work()
            except poet.Overloaded:
                seen.append("overloaded")
                entered.release()

        new = [threading.Thread(target=attempt) for _ in range(limit + 1)]
        for thread in new:
            thread.start()
        for _ in new:
            entered.acquire()
        go_on.set()
        for thread in new:
            thread.join()
    assert seen == ["overloaded"]


def test_limits_and_deadlines_hold_as_ever(house: House) -> None:
    @house.poet(timeout=2.0, retries=3)
    async def ask() -> None:
        await asyncio.sleep(60)

    with poet.set_testing(), pytest.raises(poet.PoetTimeout):
        run(ask(), house.clock)
    assert house.clock.now() == pytest.approx(102.0)


def test_the_last_execution_can_be_looked_at(house: House) -> None:
    call, script = failing(house)
    with poet.set_testing(attempts=2):
        requests(call, script)
        assert [attempt.outcome for attempt in call.poet.last.attempts] == [Outcome.ERROR] * 2
        assert [attempt.waited for attempt in call.poet.last.attempts] == [0.0, 0.0]


def test_listeners_hear_as_ever(house: House) -> None:
    kinds: list[str] = []
    end = poet.listen(lambda event: kinds.append(event.kind))
    call, script = failing(house)
    with poet.set_testing(attempts=2):
        requests(call, script)
    end()
    assert kinds == ["attempt_failed", "retry", "attempt_failed", "gave_up"]


def test_where_calls_are_plain_calls_it_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(learning="off")
    monkeypatch.setattr("poet.decorator._default", house.agent)
    call, script = failing(house)
    with poet.set_testing(attempts=3):
        assert requests(call, script) == 1
    assert requests(call, script) == 1


PROGRAM = """
import threading
import time

import poet

asked = 0

@poet.poet(name="f", retries=4, backoff=60, enable_training=True)
def ask():
    global asked
    asked += 1
    if asked > 1:
        error = ConnectionResetError()
        error.retry_after = 60
        raise error
    return "answer"

assert ask() == "answer"  # the store is opened, and the trainer runs
start = time.monotonic()
for attempts in (1, 3):
    with poet.set_testing(attempts=attempts):
        before = asked
        try:
            ask()
        except ConnectionResetError:
            pass
        else:
            raise SystemExit("no error")
        assert asked == before + attempts, (asked, before)
        assert "poet-trainer" not in [thread.name for thread in threading.enumerate()]
        poet.flush()
assert time.monotonic() - start < 30  # and not the minutes that were asked for
asked = 0
assert ask() == "answer"
poet.flush()
status = ask.poet.status()
assert status["faults"] == 0, status
assert status["store"].startswith("sqlite:///"), status
print("done")
"""


def test_the_agent_of_the_process_stores_what_came_before_and_after(tmp_path: Path) -> None:
    (tmp_path / ".poet").mkdir()
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM],
        cwd=tmp_path,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (answer.stdout, answer.stderr, answer.returncode) == ("done\n", "", 0)
    store = SqliteStore(tmp_path / ".poet" / "poet.db", readonly=True)
    (record,) = store.functions()
    outcomes = [execution.outcome for execution in store.executions(record.key)]
    store.close()
    assert outcomes == [Outcome.SUCCESS] * 2


UNUSED = """
import poet

@poet.poet
def ask():
    return "answer"

with poet.set_testing():
    assert ask() == "answer"
print("done")
"""


def test_a_process_that_only_tests_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", UNUSED],
        cwd=tmp_path,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (answer.stdout, answer.stderr, answer.returncode) == ("done\n", "", 0)
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]
