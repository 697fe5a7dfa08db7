from __future__ import annotations

import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import poet
from poet.calls.deadline import DEADLINE, NEVER
from poet.calls.workers import CREW, Crew, Job, threaded
from poet.errors import ConfigurationError, Overloaded, PoetTimeout
from poet.model.event import Event

PATIENCE = 10.0  # for what happens at once unless something is broken [s]


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """What the wrapper does around an attempt."""
    token = DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        DEADLINE.reset(token)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Bodies wait at it; it opens at the latest at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def script(text: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_the_answer_comes_back_with_all_arguments_passed_on() -> None:
    call = threaded(lambda *args, **kwargs: (args, kwargs), "f")
    with limit(PATIENCE):
        assert call(1, 2, x=3) == ((1, 2), {"x": 3})


def test_the_bodys_own_exception_comes_out_unchanged_with_a_short_traceback() -> None:
    mine = KeyError("mine")

    def body() -> None:
        raise mine

    call = threaded(body, "f")
    with limit(PATIENCE), pytest.raises(KeyError) as caught:
        call()
    assert caught.value is mine
    assert mine.__context__ is None
    assert mine.__cause__ is None
    names = [frame.name for frame in traceback.extract_tb(mine.__traceback__)]
    assert names[1:] == ["in_thread", "result", "body"]


def test_an_exception_that_was_handled_is_freed_without_the_garbage_collector() -> None:
    class Mine(Exception):
        pass

    def body() -> None:
        raise Mine

    crew = Crew()
    call = threaded(body, "f", crew=crew)
    gc.disable()
    try:
        try:
            call()
        except Mine as error:
            left = weakref.ref(error)
        crew.submit(int, "g").result()  # the worker has put the first job away before it takes the second
        assert crew.size == 1
        assert left() is None
    finally:
        gc.enable()


def test_an_idle_worker_does_not_hold_the_last_result() -> None:
    class Large:
        pass

    crew = Crew()
    call = threaded(Large, "f", crew=crew)
    with limit(PATIENCE):
        left = weakref.ref(call())
        threaded(int, "g", crew=crew)()  # the worker has put the first job away before it takes the second
    assert crew.size == 1
    assert left() is None


def test_the_body_sees_the_callers_context_and_what_it_sets_stays_with_it() -> None:
    colour = contextvars.ContextVar("colour", default="none")

    def body() -> str:
        seen = colour.get()
        colour.set("blue")
        return seen

    call = threaded(body, "f")
    colour.set("red")
    with limit(PATIENCE):
        assert call() == "red"
        assert call() == "red"
    assert colour.get() == "red"


def test_the_body_is_told_how_long_it_may_take() -> None:
    call = threaded(lambda: poet.remaining(), "f")
    with limit(5.0):
        left = call()
    assert left is not None
    assert 0 < left <= 5.0


def test_without_a_limit_the_body_runs_in_a_worker_all_the_same() -> None:
    assert DEADLINE.get() == NEVER
    assert threaded(threading.get_ident, "f")() != threading.get_ident()


def test_a_worker_is_used_again() -> None:
    call = threaded(threading.get_ident, "f", crew=Crew())
    with limit(PATIENCE):
        assert call() == call()


def test_at_the_limit_the_caller_leaves_and_the_body_runs_on(gate: threading.Event) -> None:
    events: SimpleQueue[Event] = SimpleQueue()
    crew = Crew()
    call = threaded(gate.wait, "shop.fetch", crew=crew, tell=events.put)
    start = time.monotonic()
    with limit(0.02), pytest.raises(PoetTimeout) as caught:
        call(PATIENCE)
    assert 0.02 <= time.monotonic() - start < 5.0
    assert caught.value.function == "shop.fetch"
    assert 0 < caught.value.limit <= 0.02
    left = events.get(timeout=PATIENCE)
    assert (left.kind, left.function, left.outcome) == ("abandoned", "shop.fetch", "timeout")
    assert left.seconds >= 0.015
    assert (crew.abandoned, crew.late) == (1, 0)
    gate.set()
    late = events.get(timeout=PATIENCE)
    assert (late.kind, late.function, late.outcome, late.error) == ("late", "shop.fetch", "success", "")
    assert late.seconds >= left.seconds
    assert (crew.abandoned, crew.late) == (0, 1)


def test_a_late_error_is_dropped_and_its_event_names_it(gate: threading.Event) -> None:
    events: SimpleQueue[Event] = SimpleQueue()

    def body() -> None:
        gate.wait(PATIENCE)
        raise KeyError("late")

    call = threaded(body, "f", crew=Crew(), tell=events.put)
    with limit(0.01), pytest.raises(PoetTimeout):
        call()
    gate.set()
    assert events.get(timeout=PATIENCE).kind == "abandoned"
    late = events.get(timeout=PATIENCE)
    assert (late.kind, late.outcome, late.error) == ("late", "error", "KeyError")


def test_another_worker_takes_the_place_of_an_abandoned_one_which_comes_back_when_it_is_free(
    gate: threading.Event,
) -> None:
    events: SimpleQueue[Event] = SimpleQueue()
    crew = Crew()
    with limit(0.01), pytest.raises(PoetTimeout):
        threaded(gate.wait, "f", crew=crew, tell=events.put)(PATIENCE)
    where = threaded(threading.get_ident, "f", crew=crew)
    with limit(PATIENCE):
        second = where()
        assert crew.size == 2
        gate.set()
        assert [events.get(timeout=PATIENCE).kind for _ in range(2)] == ["abandoned", "late"]
        together = threading.Barrier(2)
        pair = [crew.submit(lambda: (together.wait(PATIENCE), threading.get_ident())[1], "f") for _ in range(2)]
        assert second in {job.result() for job in pair}
    assert crew.size <= 3  # the first one may still have been putting its job away


def test_no_attempt_begins_when_nothing_is_left_of_its_limit() -> None:
    begun: list[int] = []
    with limit(-1.0), pytest.raises(PoetTimeout) as caught:
        threaded(lambda: begun.append(1), "f")()
    assert caught.value.limit == 0.0
    assert begun == []


def test_too_many_abandoned_bodies_and_the_next_call_fails_fast_without_being_begun(gate: threading.Event) -> None:
    events: SimpleQueue[Event] = SimpleQueue()
    crew = Crew(most_abandoned=2)
    stuck = threaded(gate.wait, "stuck", crew=crew, tell=events.put)
    begun: list[int] = []
    other = threaded(lambda: begun.append(1), "other", crew=crew)
    with limit(0.01):
        for _ in range(2):
            DEADLINE.set(time.monotonic() + 0.01)
            with pytest.raises(PoetTimeout):
                stuck(PATIENCE)
    with limit(PATIENCE):
        with pytest.raises(Overloaded) as caught:
            other()
        assert (caught.value.function, caught.value.limit) == ("other", 2)
        assert "2 abandoned attempts run" in str(caught.value)
        assert begun == []
        gate.set()
        assert sorted(events.get(timeout=PATIENCE).kind for _ in range(4)) == ["abandoned"] * 2 + ["late"] * 2
        other()
    assert begun == [1]


def test_interrupting_the_waiting_caller_goes_through_and_abandons_the_body(gate: threading.Event) -> None:
    events: SimpleQueue[Event] = SimpleQueue()
    crew = Crew()
    caller = threading.get_ident()

    def body() -> None:
        signal.pthread_kill(caller, signal.SIGINT)
        gate.wait(PATIENCE)

    with limit(PATIENCE), pytest.raises(KeyboardInterrupt):
        threaded(body, "f", crew=crew, tell=events.put)()
    assert crew.abandoned == 1
    left = events.get(timeout=PATIENCE)
    assert (left.kind, left.outcome) == ("abandoned", "cancelled")
    gate.set()
    assert events.get(timeout=PATIENCE).kind == "late"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_the_program_passes_from_the_body_to_the_caller(stop: type[BaseException]) -> None:
    def body() -> None:
        raise stop

    with limit(PATIENCE), pytest.raises(stop):
        threaded(body, "f")()


def test_a_job_that_has_ended_cannot_be_abandoned_and_its_result_counts() -> None:
    crew = Crew()
    job = crew.submit(lambda: 7, "f")
    assert job.wait(PATIENCE)
    assert not job.abandon()
    assert job.result() == 7
    assert job.result() == 7
    assert (crew.abandoned, crew.late) == (0, 0)


def test_a_job_is_abandoned_once(gate: threading.Event) -> None:
    crew = Crew()
    job = crew.submit(lambda: gate.wait(PATIENCE), "f")
    assert not job.wait(0)
    assert job.abandon()
    assert not job.abandon()
    assert crew.abandoned == 1
    gate.set()
    assert job.result() is None
    assert (crew.abandoned, crew.late) == (0, 1)


def test_a_shared_queue_tells_which_of_several_jobs_was_first(gate: threading.Event) -> None:
    crew = Crew()
    ended: SimpleQueue[Job] = SimpleQueue()
    slow = crew.submit(lambda: gate.wait(PATIENCE), "slow", ended=ended)
    fast = crew.submit(lambda: "fast", "fast", ended=ended)
    assert ended.get(timeout=PATIENCE) is fast
    assert fast.result() == "fast"
    assert slow.abandon()
    gate.set()
    assert ended.get(timeout=PATIENCE) is slow


def test_idle_workers_beyond_the_spare_ones_end_after_some_time() -> None:
    crew = Crew(spare=0, idle=0.01)
    together = threading.Barrier(3)
    jobs = [crew.submit(lambda: together.wait(PATIENCE), "f") for _ in range(3)]
    threads = crew.threads()
    for job in jobs:
        job.result()
    for thread in threads:
        thread.join(PATIENCE)
    assert crew.size == 0
    assert crew.submit(lambda: 1, "f").result() == 1


@settings(max_examples=25, deadline=None)
@given(st.lists(st.booleans(), max_size=8))
def test_what_was_abandoned_is_counted_until_it_ends_and_nothing_else(left: list[bool]) -> None:
    crew, gate = Crew(), threading.Event()
    stuck = [crew.submit(lambda: gate.wait(PATIENCE), "f") for leave in left if leave]
    answers = [crew.submit(lambda: 1, "f").result() for leave in left if not leave]
    assert all(job.abandon() for job in stuck)
    assert (crew.abandoned, crew.late) == (len(stuck), 0)
    gate.set()
    for job in stuck:
        job.wait(PATIENCE)
    assert (crew.abandoned, crew.late) == (0, len(stuck))
    assert sum(answers) == len(left) - len(stuck)


def test_bodies_that_end_in_the_instant_of_their_limit_either_answer_or_count_as_abandoned() -> None:
    crew, calls = Crew(most_abandoned=1000), 150
    events: SimpleQueue[Event] = SimpleQueue()
    call = threaded(lambda: time.sleep(0.001) or 1, "f", crew=crew, tell=events.put)
    answered = 0
    for _ in range(calls):
        with limit(0.00115), suppress(PoetTimeout):
            answered += call()
    kinds = [events.get(timeout=PATIENCE).kind for _ in range(2 * (calls - answered))]
    assert kinds.count("abandoned") == kinds.count("late") == crew.late == calls - answered
    assert crew.abandoned == 0
    assert events.empty()


def test_the_process_shares_one_crew_with_a_cap() -> None:
    assert CREW.most_abandoned == 64


@pytest.mark.parametrize("wrong", [{"most_abandoned": 0}, {"spare": -1}, {"idle": 0.0}, {"idle": float("nan")}])
def test_a_crew_refuses_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Crew(**wrong)


def test_a_listener_that_fails_costs_its_thread_and_nothing_else() -> None:
    seen: SimpleQueue[Any] = SimpleQueue()
    hook, threading.excepthook = threading.excepthook, seen.put
    try:
        crew, gate = Crew(), threading.Event()

        def tell(event: Event) -> None:
            if event.kind == "late":
                raise ValueError("listener")

        with limit(0.01), pytest.raises(PoetTimeout):
            threaded(gate.wait, "f", crew=crew, tell=tell)(PATIENCE)
        (thread,) = crew.threads()
        gate.set()
        thread.join(PATIENCE)
        assert seen.get(timeout=PATIENCE).exc_type is ValueError
        assert (crew.abandoned, crew.size) == (0, 0)
        assert crew.submit(lambda: 1, "f").result() == 1
    finally:
        threading.excepthook = hook


BEGIN = """
import os, sys, threading, time
from poet.calls.deadline import DEADLINE
from poet.calls.workers import CREW, threaded
from poet.errors import PoetTimeout, Shed
def limit(seconds): DEADLINE.set(time.monotonic() + seconds)
"""


def test_leaving_the_interpreter_does_not_wait_for_an_abandoned_body() -> None:
    start = time.monotonic()
    done = script(
        BEGIN
        + """
limit(0.05)
try:
    threaded(time.sleep, "f")(30)
except PoetTimeout:
    print("left", CREW.abandoned)
"""
    )
    assert done.stdout == "left 1\n", done.stderr
    assert done.stderr == ""
    assert time.monotonic() - start < 15


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_crew_of_its_own() -> None:
    done = script(
        BEGIN
        + """
import warnings
warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
where = threaded(threading.get_ident, "f")
where()
gate = threading.Event()
limit(0.05)
try:
    threaded(gate.wait, "f")(20)
except PoetTimeout:
    pass
limit(20)
child = os.fork()
if not child:
    fine = CREW.size == CREW.abandoned == 0 and where() != threading.get_ident() and CREW.size == 1
    os._exit(0 if fine else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert CREW.abandoned == 1
where()
gate.set()
print("fine")
"""
    )
    assert done.stdout == "fine\n", done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_body_that_forks_and_returns_in_the_child_ends_the_child() -> None:
    done = script(
        BEGIN
        + """
import warnings
warnings.simplefilter("ignore")
child = threaded(os.fork, "f")()
assert child, "the child's thread must not come back here"
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("fine", CREW.size)
"""
    )
    assert done.stdout == "fine 1\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="relies on a stack size that Linux refuses when the thread starts")
def test_a_system_without_threads_sheds_the_call() -> None:
    done = script(
        BEGIN
        + """
threading.stack_size(1 << 46)
try:
    threaded(int, "f")()
except Shed as error:
    print(type(error).__name__, error, CREW.size)
"""
    )
    assert done.stdout.startswith("Shed f: operate: no thread can be started"), (done.stdout, done.stderr)
    assert done.stdout.endswith(" 0\n")


def test_functions_call_each_other_however_deep() -> None:
    crew = Crew()

    def nested(depth: int, call: Callable[[int], int]) -> int:
        return 0 if depth == 0 else 1 + call(depth - 1)

    call: Callable[[int], int] = threaded(lambda depth: nested(depth, call), "f", crew=crew)
    with limit(PATIENCE):
        assert call(20) == 20
    assert crew.size == 21
