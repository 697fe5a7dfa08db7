from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from poet.calls.alarm import _Alarm, under_alarm
from poet.calls.deadline import DEADLINE, NEVER
from poet.errors import ConfigurationError, PoetTimeout

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
LONG = 10.0  # a body that is not stopped takes this long, and its test fails [s]


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """What the wrapper does around an attempt: the smaller deadline holds."""
    token = DEADLINE.set(min(DEADLINE.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        DEADLINE.reset(token)


def limited(body: Callable[..., Any], name: str, seconds: float) -> Callable[..., Any]:
    """``body`` as a function whose every call has a limit."""
    call = under_alarm(body, name)

    def attempt(*args: Any) -> Any:
        with limit(seconds):
            return call(*args)

    return attempt


@pytest.fixture(autouse=True)
def _nothing_is_left_behind() -> Iterator[None]:
    handler, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    yield
    assert signal.getsignal(signal.SIGALRM) == handler
    assert signal.getitimer(signal.ITIMER_REAL) == timer


@pytest.fixture
def own() -> Iterator[list[float]]:
    """The application's own handler of SIGALRM: the moments at which it was called."""
    rings: list[float] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rings.append(time.monotonic()))
    yield rings
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def wait_until(what: Callable[[], object]) -> None:
    """Compute until it is so, as a signal's handler only runs between two steps of ours."""
    end = time.monotonic() + LONG
    while not what():
        assert time.monotonic() < end


def sleeps() -> None:
    time.sleep(LONG)


def reads_and_catches_its_timeout() -> str:
    left, right = socket.socketpair()
    with left, right:
        left.settimeout(LONG)
        try:
            left.recv(1)
        except TimeoutError:
            return "swallowed"
    return "read"


def computes() -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        pass


def waits_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=LONG)


def goes_on_after_every_error() -> None:
    end = time.monotonic() + LONG
    while time.monotonic() < end:
        with suppress(Exception):
            time.sleep(0.002)


@pytest.mark.parametrize(
    "body", [sleeps, reads_and_catches_its_timeout, computes, waits_for_a_lock, goes_on_after_every_error]
)
def test_a_body_is_stopped_at_its_limit(body: Callable[[], object]) -> None:
    start = time.monotonic()
    with pytest.raises(PoetTimeout) as caught:
        limited(body, "shop.fetch", 0.02)()
    assert 0.0199 <= time.monotonic() - start < LONG / 2
    assert caught.value.function == "shop.fetch"
    assert 0 < caught.value.limit <= 0.02


def test_the_place_where_the_body_stood_is_the_cause() -> None:
    with pytest.raises(PoetTimeout) as caught:
        limited(sleeps, "f", 0.01)()
    cause = caught.value.__cause__
    assert cause is not None
    assert not isinstance(cause, Exception)
    frames = []
    trace = cause.__traceback__
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    assert "sleeps" in frames


def test_a_body_that_ends_in_time_answers_and_hears_no_more_of_its_limit() -> None:
    assert limited(lambda x: x + 1, "f", 0.005)(1) == 2
    end = time.monotonic() + 0.01
    wait_until(lambda: time.monotonic() > end)


def test_the_bodys_own_exception_comes_out_unchanged() -> None:
    mine = KeyError("mine")

    def body() -> None:
        raise mine

    with pytest.raises(KeyError) as caught:
        limited(body, "f", LONG)()
    assert caught.value is mine
    assert mine.__context__ is None


def test_a_bare_except_does_not_escape_the_limit_for_long() -> None:
    caught: list[BaseException] = []

    def patient() -> None:
        end = time.monotonic() + LONG
        swallowed = 0
        while time.monotonic() < end and swallowed < 3:
            try:
                time.sleep(LONG)
            except BaseException as error:
                caught.append(error)
                swallowed += 1

    limited(patient, "f", 0.01)()
    assert len(caught) == 3  # the answer of a body that ends by itself all the same is its answer
    assert len({id(error) for error in caught}) == 3


def test_cleaning_up_after_the_limit_is_not_interrupted() -> None:
    steps: list[str] = []

    def body() -> None:
        try:
            time.sleep(LONG)
        finally:
            steps.append("begin")
            time.sleep(0.12)  # longer than the pause before a body that swallowed its limit is interrupted again
            steps.append("end")

    with pytest.raises(PoetTimeout):
        limited(body, "f", 0.01)()
    assert steps == ["begin", "end"]


def test_an_error_raised_while_cleaning_up_after_the_limit_is_the_cause_of_the_timeout() -> None:
    def body() -> None:
        try:
            time.sleep(LONG)
        finally:
            raise OSError("the connection was cut")

    with pytest.raises(PoetTimeout) as caught:
        limited(body, "f", 0.01)()
    assert isinstance(caught.value.__cause__, OSError)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_stops_the_program_passes_even_while_cleaning_up(stop: type[BaseException]) -> None:
    def body() -> None:
        try:
            time.sleep(LONG)
        finally:
            raise stop

    with pytest.raises(stop):
        limited(body, "f", 0.01)()


def test_interrupting_the_body_puts_everything_back() -> None:
    with pytest.raises(KeyboardInterrupt):
        limited(lambda: signal.raise_signal(signal.SIGINT), "f", LONG)()


def test_an_inner_limit_ends_the_inner_function_only() -> None:
    inner = limited(sleeps, "inner", 0.01)

    def body() -> str:
        with pytest.raises(PoetTimeout) as caught:
            inner()
        return caught.value.function

    assert limited(body, "outer", LONG)() == "inner"


def test_after_an_inner_limit_the_outer_one_still_holds() -> None:
    inner = limited(sleeps, "inner", 0.01)

    def body() -> None:
        with suppress(PoetTimeout):
            inner()
        time.sleep(LONG)

    start = time.monotonic()
    with pytest.raises(PoetTimeout) as caught:
        limited(body, "outer", 0.04)()
    assert caught.value.function == "outer"
    assert 0.0399 <= time.monotonic() - start < LONG / 2


def test_an_outer_limit_that_comes_first_passes_through_the_inner_function() -> None:
    seen: list[BaseException] = []
    inner = limited(sleeps, "inner", LONG)

    def body() -> None:
        try:
            inner()
        except PoetTimeout as error:
            seen.append(error)

    with pytest.raises(PoetTimeout) as caught:
        limited(body, "outer", 0.02)()
    assert caught.value.function == "outer"
    assert seen == []


def test_an_outer_limit_reaches_an_inner_function_that_cleans_up() -> None:
    def cleans_up() -> None:
        try:
            time.sleep(LONG)
        finally:
            time.sleep(LONG)

    inner = limited(cleans_up, "inner", 0.01)
    start = time.monotonic()
    with pytest.raises(PoetTimeout) as caught:
        limited(inner, "outer", 0.03)()
    assert caught.value.function == "outer"
    assert time.monotonic() - start < LONG / 2


def test_an_alarm_of_the_application_that_is_due_first_wins(own: list[float]) -> None:
    class Mine(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Mine

    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(Mine):
        limited(sleeps, "f", LONG)()
    assert signal.getsignal(signal.SIGALRM) is handler


def test_after_the_applications_own_alarm_our_limit_still_holds(own: list[float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(PoetTimeout):
        limited(sleeps, "f", 0.04)()
    assert len(own) == 1
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_repeating_alarm_of_the_application_goes_on_repeating(own: list[float]) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    with pytest.raises(PoetTimeout):
        limited(sleeps, "f", 0.1)()
    during = len(own)
    assert during >= 3
    wait_until(lambda: len(own) >= during + 2)


def test_a_handler_that_sets_its_timer_anew_keeps_it() -> None:
    rings: list[float] = []

    def handler(number: int, frame: object) -> None:
        rings.append(time.monotonic())
        if len(rings) < 3:
            signal.setitimer(signal.ITIMER_REAL, 0.01)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(PoetTimeout):
        limited(sleeps, "f", 0.1)()
    signal.signal(signal.SIGALRM, before)
    assert len(rings) == 3


def test_a_handler_that_puts_another_in_its_place_has_done_so_when_the_body_has_ended() -> None:
    before = signal.getsignal(signal.SIGALRM)
    signal.signal(signal.SIGALRM, lambda number, frame: signal.signal(signal.SIGALRM, signal.SIG_IGN))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with pytest.raises(PoetTimeout):
        limited(sleeps, "f", 0.03)()
    assert signal.signal(signal.SIGALRM, before) == signal.SIG_IGN


def test_an_alarm_of_the_application_that_is_due_later_keeps_its_moment(own: list[float]) -> None:
    due = time.monotonic() + 0.05
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    with pytest.raises(PoetTimeout):
        limited(sleeps, "f", 0.01)()
    assert own == []
    wait_until(lambda: own)
    assert own[0] >= due - 0.001


def test_an_alarm_that_is_sent_by_hand_reaches_the_application(own: list[float]) -> None:
    limited(lambda: signal.raise_signal(signal.SIGALRM), "f", LONG)()
    assert len(own) == 1


def test_the_applications_deadly_alarm_stays_deadly() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import signal, time\n"
            "from poet.calls.alarm import under_alarm\n"
            "from poet.calls.deadline import DEADLINE\n"
            "DEADLINE.set(time.monotonic() + 20)\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
            "under_alarm(time.sleep, 'f')(20)\n",
        ],
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGALRM


def test_a_body_that_ends_in_the_instant_of_its_limit_answers_or_times_out_and_nothing_comes_after() -> None:
    answered = timed_out = 0

    def body(end: float) -> int:
        while time.monotonic() < end:
            pass
        return 1

    call = under_alarm(body, "f")
    for i in range(200):
        span = 0.0005
        with limit(span):
            try:
                answered += call(DEADLINE.get() + (i % 40 - 20) * 2e-6)
            except PoetTimeout:
                timed_out += 1
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert answered + timed_out == 200
    assert timed_out > 0


def test_an_alarm_whose_end_never_came_interrupts_nothing_and_removes_itself() -> None:
    before = signal.getsignal(signal.SIGALRM)

    def begins() -> None:
        _Alarm(NEVER, sys._getframe()).set(0.005, before)

    begins()
    assert signal.getsignal(signal.SIGALRM) != before
    wait_until(lambda: signal.getsignal(signal.SIGALRM) == before)


def test_off_the_main_thread_a_limit_is_refused_with_what_to_do() -> None:
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            limited(sleeps, "shop.fetch", 0.01)()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=attempt, name="web-1")
    thread.start()
    thread.join()
    (error,) = errors
    assert isinstance(error, ConfigurationError)
    assert "shop.fetch" in str(error)
    assert "web-1" in str(error)
    assert "enforce_timeout='thread'" in str(error)


def test_without_a_limit_it_is_a_plain_call_on_any_thread() -> None:
    assert DEADLINE.get() == NEVER
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(under_alarm(lambda: 1, "f")()))
    thread.start()
    thread.join()
    assert answers == [1]


def test_no_attempt_begins_when_nothing_is_left_of_its_limit() -> None:
    with limit(-1.0), pytest.raises(PoetTimeout) as caught:
        under_alarm(sleeps, "f")()
    assert caught.value.limit == 0.0


def test_a_timeout_that_was_handled_is_freed_without_the_garbage_collector() -> None:
    import gc
    import weakref

    class Held:
        pass

    def body() -> None:
        held = Held()
        left.append(weakref.ref(held))
        time.sleep(LONG)

    left: list[weakref.ref[Held]] = []
    gc.disable()
    try:
        with suppress(PoetTimeout):
            limited(body, "f", 0.005)()
        assert left[0]() is None
    finally:
        gc.enable()
