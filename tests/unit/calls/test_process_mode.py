from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import limit_bodies as bodies
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.calls.deadline import DEADLINE, NEVER
from poet.calls.process import ProcessBody, WorkerError, in_process
from poet.errors import ConfigurationError, OperateError, Overloaded, PoetTimeout
from poet.model.event import Event
from poet.testing.clock import VirtualClock

PATIENCE = 30.0  # for what happens soon unless something is broken [s]
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")


@contextmanager
def limit(seconds: float) -> Iterator[None]:
    """What the wrapper does around an attempt."""
    token = DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        DEADLINE.reset(token)


@pytest.fixture
def started() -> Iterator[Callable[..., ProcessBody]]:
    """Makes bodies whose workers end with the test."""
    made: list[ProcessBody] = []

    def make(function: Callable[..., Any], **options: Any) -> ProcessBody:
        made.append(ProcessBody(function, function.__qualname__, **{"now": time.monotonic, **options}))
        return made[-1]

    yield make
    for body in made:
        body.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[ProcessBody]:
    body = in_process(bodies.echo, "echo")
    yield body
    body.close()


@pytest.fixture(scope="module")
def fail() -> Iterator[ProcessBody]:
    body = in_process(bodies.fail, "shop.fail")
    yield body
    body.close()


@contextmanager
def meeting(count: int) -> Iterator[tuple[int, Callable[[], list[int]], Callable[[], None]]]:
    """A port, what waits until ``count`` bodies have called there and gives their numbers, and what lets them go."""
    lines: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)

        def arrived() -> list[int]:
            numbers = []
            for _ in range(count):
                line, _address = server.accept()
                lines.append(line)
                numbers.append(int(line.recv(32)))
            return numbers

        def let_go() -> None:
            while lines:
                lines.pop().close()

        try:
            yield server.getsockname()[1], arrived, let_go
        finally:
            let_go()


def is_gone(number: int) -> bool:
    """Whether a child of ours has ended, or does so soon; leaves its remains to whom they belong."""

    def wait() -> None:
        with suppress(ChildProcessError):  # they are buried already
            os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    waiting.join(PATIENCE)
    return not waiting.is_alive()


def script(folder: Path, text: str, *, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    path = folder / "job.py"
    path.write_text(text)
    return subprocess.run(
        [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(max_examples=50, deadline=None)
@given(args=st.lists(values), kwargs=st.dictionaries(st.text(min_size=1), values))
def test_arguments_and_answers_cross_unchanged(echo: ProcessBody, args: list[Any], kwargs: dict[str, Any]) -> None:
    assert echo(*args, **kwargs) == (tuple(args), kwargs)


def test_large_arguments_and_answers_cross(echo: ProcessBody) -> None:
    large = os.urandom(3_000_000)
    assert echo(large) == ((large,), {})


def test_one_worker_is_used_again_and_it_is_another_process(started: Callable[..., ProcessBody]) -> None:
    where = started(bodies.where)
    number, parent = where()
    assert parent == os.getpid() != number
    assert where() == (number, parent)


def test_the_body_is_told_how_long_it_may_take(started: Callable[..., ProcessBody]) -> None:
    left = started(bodies.left)
    assert left() == (None, None)
    with limit(5.0):
        remaining, deadline = left()
    assert 0 < remaining <= 5.0
    assert deadline == pytest.approx(time.monotonic() + 5.0, abs=5.0)
    assert left() == (None, None)


def test_the_bodys_exception_comes_out_with_its_type_its_facts_and_the_place_where_it_was_raised(
    fail: ProcessBody,
) -> None:
    with pytest.raises(bodies.Mine) as caught:
        fail("mine")
    assert caught.value.code == 7
    assert caught.value.__context__ is None
    (note,) = caught.value.__notes__
    assert note.startswith("In the worker process:\n")
    assert "raise Mine(7)" in note
    assert "process.py" not in note


@pytest.mark.parametrize(("kind", "words"), [("stubborn", "Stubborn: no (7)"), ("local", "Local: here only")])
def test_an_exception_that_cannot_be_pickled_is_named_with_its_message(
    fail: ProcessBody, kind: str, words: str
) -> None:
    with pytest.raises(WorkerError, match=r"shop\.fail") as caught:
        fail(kind)
    assert words in str(caught.value)
    assert "in fail" in caught.value.__notes__[0]


def test_what_stops_the_program_passes_from_the_body_to_the_caller(fail: ProcessBody) -> None:
    with pytest.raises(SystemExit) as caught:
        fail("exit")
    assert caught.value.code == 3


def test_an_exception_that_was_handled_is_freed_without_the_garbage_collector(fail: ProcessBody) -> None:
    gc.disable()
    try:
        try:
            fail("mine")
        except bodies.Mine as error:
            left = weakref.ref(error)
        assert left() is None
    finally:
        gc.enable()


def test_an_argument_that_cannot_be_pickled_is_named(fail: ProcessBody) -> None:
    with pytest.raises(ConfigurationError, match=r"shop\.fail: the argument kind, a lock, cannot be pickled"):
        fail(threading.Lock())


def test_an_argument_that_cannot_be_unpickled_is_a_matter_of_configuration(echo: ProcessBody) -> None:
    with pytest.raises(ConfigurationError, match=r"arguments cannot be unpickled in the worker process: Mine: 7"):
        echo(bodies.Unreadable())


def test_a_result_that_cannot_be_pickled_is_named(started: Callable[..., ProcessBody]) -> None:
    with pytest.raises(ConfigurationError, match=r"generator: the result, a generator, cannot be pickled"):
        started(bodies.generator)()


def test_a_result_that_cannot_be_unpickled_is_a_matter_of_configuration(started: Callable[..., ProcessBody]) -> None:
    with pytest.raises(ConfigurationError, match=r"unreadable: the answer cannot be unpickled: Mine: 7"):
        started(bodies.unreadable)()


def test_a_wrong_call_is_the_callers_type_error(fail: ProcessBody) -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        fail(wrong=1)
    with pytest.raises(ConfigurationError, match="the argument wrong, a lock"):
        fail(wrong=threading.Lock())


@posix
def test_a_c_call_that_holds_the_interpreter_is_killed_at_the_limit(
    started: Callable[..., ProcessBody], tmp_path: Path
) -> None:
    events: list[Event] = []
    hold = started(bodies.hold_the_interpreter, tell=events.append)
    note = tmp_path / "number"
    hold.warm()
    start = time.monotonic()
    with limit(0.2), pytest.raises(PoetTimeout) as caught:
        hold(str(note))
    assert 0.2 <= time.monotonic() - start < PATIENCE
    assert caught.value.function == "hold_the_interpreter"
    assert 0 < caught.value.limit <= 0.2
    (event,) = events
    assert (event.kind, event.function, event.outcome) == ("killed", "hold_the_interpreter", "timeout")
    assert event.seconds >= 0.2 - 0.01
    assert is_gone(int(note.read_text()))


@posix
def test_what_a_killed_body_had_started_is_killed_too(started: Callable[..., ProcessBody], tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()  # reads until the last process that has it open for writing is gone
    start = started(bodies.start_another)
    start.warm()
    with limit(0.3), pytest.raises(PoetTimeout):
        start(str(pipe))
    reader.join(PATIENCE)
    assert read == [""]


def test_after_a_kill_another_worker_is_started_in_the_background(started: Callable[..., ProcessBody]) -> None:
    sleep = started(bodies.sleep)
    sleep.warm()
    with limit(0.02), pytest.raises(PoetTimeout):
        sleep(60)
    sleep.warm()
    with limit(PATIENCE):
        assert sleep(0) is None


def test_starting_a_worker_is_no_part_of_an_attempt_where_the_call_path_warms_it_first(
    started: Callable[..., ProcessBody],
) -> None:
    echo = started(bodies.echo)
    with limit(0.001), pytest.raises(PoetTimeout):
        echo(1)
    echo.warm()
    with limit(5.0):
        assert echo(1) == ((1,), {})


def test_warming_does_not_wait_beyond_the_moment_it_is_given(started: Callable[..., ProcessBody]) -> None:
    echo = started(bodies.echo)
    echo.warm(time.monotonic())
    assert not echo._staff.idle


def test_no_attempt_begins_when_nothing_is_left_of_its_limit(echo: ProcessBody) -> None:
    with limit(-1.0), pytest.raises(PoetTimeout) as caught:
        echo()
    assert caught.value.limit == 0.0


def test_calls_at_once_run_in_several_workers(started: Callable[..., ProcessBody]) -> None:
    meet = started(bodies.meet)
    with meeting(2) as (port, arrived, let_go), ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(meet, port) for _ in range(2)]
        numbers = arrived()
        let_go()
        assert {call.result(PATIENCE) for call in calls} == set(numbers)
        assert len(set(numbers)) == 2


def test_a_call_that_finds_all_workers_busy_waits_for_one_within_its_limit(
    started: Callable[..., ProcessBody],
) -> None:
    meet = started(bodies.meet, most=1)
    with meeting(1) as (port, arrived, let_go), ThreadPoolExecutor(2) as threads:
        first = threads.submit(meet, port)
        (number,) = arrived()
        meet.warm()  # returns, though there is none: to wait in line is part of the attempt
        with limit(0.02), pytest.raises(Overloaded) as caught:
            meet(port)
        assert (caught.value.function, caught.value.limit) == ("meet", 1)
        second = threads.submit(meet, port)
        let_go()
        assert first.result(PATIENCE) == number
        assert arrived() == [number]
        let_go()
        assert second.result(PATIENCE) == number


@posix
def test_workers_that_are_no_longer_needed_are_let_go(started: Callable[..., ProcessBody]) -> None:
    clock = VirtualClock()
    meet = started(bodies.meet, now=clock.now)
    with meeting(2) as (port, arrived, let_go), ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(meet, port) for _ in range(2)]
        numbers = set(arrived())
        let_go()
        for call in calls:
            call.result(PATIENCE)
    clock.sleep(3600)
    with meeting(1) as (port, arrived, let_go), ThreadPoolExecutor(1) as threads:
        call = threads.submit(meet, port)
        (busy,) = arrived()
        let_go()
        call.result(PATIENCE)
    assert busy in numbers
    (other,) = numbers - {busy}
    assert is_gone(other)


@posix
@pytest.mark.parametrize(
    ("body", "argument", "words"),
    [(bodies.end, 3, "ended with code 3"), (bodies.end, 0, "ended with code 0")]
    + [(bodies.crash, int(number), f"ended with code {-number} ({number.name})") for number in [signal.SIGSEGV]],
)
def test_a_worker_that_dies_under_its_body_is_a_clear_error_and_is_replaced(
    started: Callable[..., ProcessBody], body: Callable[..., Any], argument: int, words: str
) -> None:
    call = started(body)
    for _ in range(2):
        with pytest.raises(OperateError) as caught:
            call(argument)
        assert type(caught.value) is OperateError
        assert words in str(caught.value)


@posix
def test_a_worker_that_dies_while_it_is_idle_is_replaced_unseen(started: Callable[..., ProcessBody]) -> None:
    where = started(bodies.where)
    number, _parent = where()
    os.kill(number, signal.SIGKILL)
    os.waitid(os.P_PID, number, os.WEXITED | os.WNOWAIT)
    other, _parent = where()
    assert other != number


@posix
def test_interrupting_the_waiting_caller_goes_through_and_kills_the_body(
    started: Callable[..., ProcessBody],
) -> None:
    interrupt = started(bodies.interrupt_the_caller)
    interrupt.warm()
    (worker,) = interrupt._staff.idle
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert is_gone(worker._process.pid or 0)


@posix
def test_a_body_may_start_processes(started: Callable[..., ProcessBody]) -> None:
    assert started(bodies.start_a_process)() == 0


@posix
def test_closing_ends_the_workers_and_a_later_call_starts_another(started: Callable[..., ProcessBody]) -> None:
    where = started(bodies.where)
    number, _parent = where()
    where.close()
    assert is_gone(number)
    assert where()[0] != number


@posix
def test_the_workers_of_a_forgotten_function_end() -> None:
    where = in_process(bodies.where, "where")
    number, _parent = where()
    del where
    gc.collect()
    assert is_gone(number)


def test_the_worker_runs_the_function_itself_and_no_wrapper_around_it() -> None:
    mark, (inner_mark, (number, parent)) = bodies.wrapped()  # the outermost one runs here, the innermost one there
    assert (mark, inner_mark) == ("!", "!")
    assert parent == os.getpid() != number


@pytest.mark.parametrize(
    ("call", "first"),
    [
        (lambda shop: shop.pay(2), 6),
        (lambda shop: shop.name(), "shop"),
        (lambda shop: shop.kind(), "Shop"),
        (lambda shop: shop.total, 3),
    ],
    ids=["method", "staticmethod", "classmethod", "property"],
)
def test_methods_of_all_kinds_are_found(call: Callable[[bodies.Shop], Any], first: object) -> None:
    answer, number, parent = call(bodies.Shop(3))
    assert answer == first
    assert parent == os.getpid() != number


def test_an_object_that_cannot_be_pickled_is_named_as_self() -> None:
    shop = bodies.Shop(3)
    shop.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=r"Shop\.pay: the argument self, a Shop, cannot be pickled"):
        shop.pay(1)


def _nested() -> Callable[[], int]:
    def inner() -> int:
        return 1

    return inner


@pytest.mark.parametrize(
    ("function", "words"), [(lambda: 1, "write it as a def"), (_nested(), "move it to the top of its module")]
)
def test_a_function_that_no_import_finds_is_refused_at_once_with_what_to_do(
    function: Callable[..., Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        in_process(function, "f")


def test_a_function_whose_name_leads_elsewhere_is_refused_at_its_first_call() -> None:
    with pytest.raises(ConfigurationError, match=r"must use functools\.wraps"):
        bodies.hidden_call()


def test_in_a_daemonic_process_it_is_refused_with_what_to_do() -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=bodies.call_as_a_daemon, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    assert ours.poll(PATIENCE)
    answer = ours.recv()
    process.join(PATIENCE)
    assert answer.startswith("ConfigurationError: echo: this is a daemonic process")
    assert "enforce_timeout='thread'" in answer


BEGIN = """
import os, sys, time
from poet.calls.deadline import DEADLINE
from poet.calls.process import in_process
from poet.errors import PoetError, PoetTimeout
def limited(function):
    body = in_process(function, function.__name__)
    def call(*args):
        body.warm()
        DEADLINE.set(time.monotonic() + 0.2)
        return body(*args)
    call.__wrapped__ = function
    return call
"""


def test_a_script_may_run_functions_of_its_own_and_its_end_does_not_wait_for_bodies(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        BEGIN
        + """
import threading
@limited
def double(x):
    print("doubling", x)
    return 2 * x
@limited
def hang():
    time.sleep(100)
if __name__ == "__main__":
    print(double(21))
    try:
        hang()
    except PoetTimeout:
        print("hung")
    waiting = in_process(hang.__wrapped__, "hang")
    waiting.warm()
    DEADLINE.set(float("inf"))
    threading.Thread(target=waiting, daemon=True).start()
    while waiting._staff.idle:
        pass
""",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "doubling 21\n42\nhung\n"
    assert done.stderr == ""


def test_a_script_that_forgets_to_guard_its_call_is_told_so(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        BEGIN
        + """
@limited
def double(x):
    return 2 * x
double(21)
""",
    )
    assert done.returncode == 1
    assert "was called while its worker process imports the script" in done.stderr
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]


def test_a_function_without_a_file_is_refused_with_what_to_do() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + "\n@limited\ndef f(): pass\n"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "ConfigurationError: __main__.f stands where a worker process does not look" in done.stderr


def test_a_function_in_a_packages_main_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    package = tmp_path / "tool"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(BEGIN + "\n@limited\ndef f(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "tool"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert "ConfigurationError: __main__.f stands where a worker process does not look" in done.stderr


@posix
def test_workers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    start = time.monotonic()
    done = script(  # returns when everybody who holds its standard output is gone
        tmp_path,
        BEGIN
        + """
import signal
@limited
def kill_the_parent():
    print("killing", flush=True)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(100)
if __name__ == "__main__":
    kill_the_parent()
""",
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "killing\n"
    assert time.monotonic() - start < 50


@posix
def test_a_forked_child_has_workers_of_its_own_and_its_end_leaves_the_parents_alone(tmp_path: Path) -> None:
    done = script(
        tmp_path,
        BEGIN
        + """
import warnings
warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
@limited
def where():
    return os.getpid(), os.getppid()
if __name__ == "__main__":
    number, parent = where()
    assert parent == os.getpid()
    child = os.fork()
    if not child:
        other, parent = where()
        assert parent == os.getpid() and other != number
        sys.exit(0)  # with all that is to be done at the end
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert where() == (number, os.getpid())
    print("fine")
""",
    )
    assert done.stdout == "fine\n", done.stderr


def test_nothing_is_started_before_the_first_call() -> None:
    assert DEADLINE.get() == NEVER
    body = in_process(bodies.echo, "echo")
    assert not body._staff._workers
    assert not body._staff._starting
