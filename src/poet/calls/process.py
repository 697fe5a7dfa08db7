"""A limit that holds whatever a sync function does: the body runs in a process of ours, which is killed at the limit.

Nothing else stops a C call that holds the interpreter. It has its price: arguments and results are pickled, what the
body changes stays in its process, and that process is a fresh interpreter, which imports the function's module.
"""

from __future__ import annotations

import atexit
import importlib
import inspect
import io
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import pickle
import signal
import struct
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from math import inf
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

from poet.calls.deadline import DEADLINE
from poet.errors import ConfigurationError, OperateError, Overloaded, PoetError, PoetTimeout, WorkerError
from poet.model.event import Event

Body = Callable[..., Any]
Tell = Callable[[Event], object]

MOST = 32  # worker processes of one function
START = 60.0  # longest time that a worker may take until it is ready [s]
IDLE = 60.0  # after which a worker beyond the first is let go [s]
LAST_WORDS = 5.0  # longest wait for the exit code of a worker that has hung up [s]
LONGEST = 2e6  # longest wait for an answer that the system's poll can be asked for [s]
MAINS = ("__main__", "__mp_main__")  # the script, in its own process and in those that multiprocessing spawns
LEFT = struct.Struct("!d")  # precedes the arguments: the seconds that the body has

_loads = pickle.loads


def _dumps(value: Any) -> bytes:
    buffer = io.BytesIO()
    ForkingPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()  # not a view of it: with one in a cycle of garbage, some releases of Python crash


def in_process(
    function: Body, name: str, *, now: Callable[[], float] = time.monotonic, tell: Tell | None = None
) -> ProcessBody:
    """``function`` in processes of its own, killed at the limit of the attempt (``DEADLINE``) that calls it.

    tell: gets "killed" events; must not raise. Nothing is started yet.
    Raises ConfigurationError where a fresh process could not find the function.
    """
    return ProcessBody(function, name, now=now, tell=tell)


class ProcessBody:
    """A body that runs in worker processes: as many as are called at once, each used again. Safe for several threads.

    In a worker ``poet.remaining()`` and ``poet.deadline()`` hold; other context variables do not cross. Standard output
    and error are the caller's. What the body starts is killed with it (POSIX). Workers end with this process, and do
    not delay its end. The limit does not interrupt the transfer of large arguments or results.
    """

    def __init__(
        self, function: Body, name: str, *, now: Callable[[], float], tell: Tell | None = None, most: int = MOST
    ) -> None:
        """most: workers at once, >= 1; a call that finds all of them busy waits for one, within its limit."""
        _refuse_what_cannot_be_imported(function)
        self._function, self._name, self._now, self._tell = function, name, now, tell
        self._staff = _Staff(function, name, now, most)
        weakref.finalize(self, self._staff.dissolve).atexit = False

    def warm(self, until: float = inf) -> None:
        """Return when a worker is idle, at the latest at the moment ``until`` on the clock; may start one.

        For the call path, before it sets an attempt's limit: a fresh worker takes a tenth of a second or more, which is
        no part of the attempt. Returns at once where one is idle, and where all are busy: queueing is part of it. What
        keeps a worker from starting is raised by the attempt.
        """
        if not self._staff.idle:
            self._staff.prepare(until)

    def close(self) -> None:
        """Kill the workers, those too that run a body. The next call starts new ones."""
        self._staff.dissolve()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the function returns or raises; its traceback in the worker is a note on the error.

        Raises PoetTimeout at the limit; Overloaded where no worker became free before it; ConfigurationError where an
        argument or the result cannot be pickled; OperateError where the worker died; WorkerError where an exception
        cannot be pickled.
        """
        began, limit = self._now(), DEADLINE.get()
        if limit <= began:
            raise PoetTimeout(self._name, 0.0)
        request = self._pickled(args, kwargs)
        worker = self._staff.take(limit, began)
        try:
            while not worker.send(LEFT.pack(limit - self._now()), request):  # it had died idle: nothing was begun
                self._staff.lose(worker)
                worker = self._staff.take(limit, began)
            reply = worker.receive(limit - self._now())
        except EOFError:
            ending = worker.ending()
            self._staff.lose(worker)
            raise OperateError(self._name, f"the worker process {ending}") from None
        except BaseException:  # the waiting is interrupted: an answer may still be on its way
            self._staff.lose(worker)
            raise
        if reply is None:
            self._staff.lose(worker)
            if self._tell is not None:
                seconds = max(0.0, self._now() - began)
                self._tell(Event("killed", self._name, seconds=seconds, outcome="timeout"))
            raise PoetTimeout(self._name, limit - began)
        self._staff.give_back(worker)
        return self._unpickled(reply)

    def _pickled(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        try:
            return _dumps((args, kwargs))
        except Exception as error:
            what = self._culprit(args, kwargs)
            raise ConfigurationError(
                f"{self._name}: {what} cannot be pickled for the worker process: {_said(error)}"
            ) from error

    def _culprit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Which argument it is that cannot be pickled."""
        try:
            named = inspect.signature(self._function).bind(*args, **kwargs).arguments
        except TypeError:  # the call is wrong in another way too
            named = {**{str(place): value for place, value in enumerate(args, 1)}, **kwargs}
        for name, value in named.items():
            try:
                _dumps(value)
            except Exception:  # noqa: BLE001 - whatever it is, this is the one
                return f"the argument {name}, a {type(value).__qualname__},"
        return "the list of arguments"

    def _unpickled(self, reply: bytes) -> Any:
        try:
            kind, value, text = _loads(reply)
        except Exception as error:
            raise ConfigurationError(f"{self._name}: the answer cannot be unpickled: {_said(error)}") from error
        if kind == "answer":
            return value
        if kind == "unfit":
            raise ConfigurationError(f"{self._name}: {text}")
        if kind == "named":
            value = WorkerError(self._name, value)
        value.add_note(f"In the worker process:\n{text}")
        try:
            raise value
        finally:
            del value  # else error -> traceback -> this frame -> error waits for the garbage collector


class _Staff:
    """The workers of one function."""

    idle: list[_Worker]  # the one that was busy last is the last
    _changed: threading.Condition
    _workers: set[_Worker]  # ready ones, idle or busy
    _starting: int  # of which some are not waited for
    _waiting: int
    _failure: PoetError | None  # of the latest start, while somebody waited for it
    _epoch: int  # a worker whose start began in an earlier one is not wanted any more

    def __init__(self, function: Body, name: str, now: Callable[[], float], most: int) -> None:
        self._function, self._name, self._now, self._most = function, name, now, most
        self._address: Address | None = None
        self._begin_afresh(0)
        _staffs.add(self)

    def prepare(self, until: float) -> None:
        """Return when one is idle, or none can be started, or at ``until``."""
        with self._changed:
            self._failure = None  # of a call that was not made in the end
            self._await(until, in_line=False)

    def take(self, until: float, began: float) -> _Worker:
        """One for oneself. Raises what keeps one from starting; PoetTimeout or Overloaded at ``until``."""
        with self._changed:
            self._await(until, in_line=True)
            if self.idle:
                return self.idle.pop()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if self._starting:
                raise PoetTimeout(self._name, until - began)
            raise Overloaded(self._name, "worker processes are busy", self._most)

    def give_back(self, worker: _Worker) -> None:
        """It is idle again."""
        worker.idle_since = self._now()
        with self._changed:
            if worker not in self._workers:  # dissolved in the meantime
                return
            self.idle.append(worker)
            cold = None
            if len(self.idle) > 1 and self.idle[0].idle_since < worker.idle_since - IDLE:
                cold = self.idle.pop(0)
                self._workers.discard(cold)
            self._changed.notify_all()
        if cold is not None:
            threading.Thread(target=cold.dismiss, daemon=True, name="poet-dismiss").start()

    def lose(self, worker: _Worker) -> None:
        """Kill it, and start another in the background, so that the next attempt mostly finds it ready."""
        worker.kill()
        with self._changed:
            if worker in self._workers:
                self._workers.discard(worker)
                self._start(worker)

    def dissolve(self) -> None:
        """Kill all."""
        with self._changed:
            workers = self._workers
            self._workers, self.idle = set(), []
            self._starting, self._epoch = 0, self._epoch + 1
            self._changed.notify_all()
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.bury()

    def forget(self) -> None:
        """In a forked child: they are the parent's."""
        self._begin_afresh(self._epoch + 1)

    def _begin_afresh(self, epoch: int) -> None:
        self._changed = threading.Condition()
        self._workers, self.idle = set(), []
        self._starting = self._waiting = 0
        self._failure = None
        self._epoch = epoch

    def _await(self, until: float, *, in_line: bool) -> None:
        """in_line: wait for busy ones too."""
        self._waiting += 1
        try:
            while not self.idle and self._failure is None:
                if self._starting < self._waiting and len(self._workers) + self._starting < self._most:
                    self._start(None)
                if not (self._starting or in_line):
                    return
                left = until - self._now()
                if left <= 0:
                    return
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
        finally:
            self._waiting -= 1

    def _start(self, before: _Worker | None) -> None:
        self._starting += 1
        arguments = (self._epoch, before)
        threading.Thread(target=self._start_one, args=arguments, daemon=True, name="poet-start").start()

    def _start_one(self, epoch: int, before: _Worker | None) -> None:
        """In a thread: start a worker where the one ``before`` was killed, and make it known when it is ready."""
        worker: _Worker | None = None
        failure: PoetError | None = None
        if before is not None:
            before.bury()
        try:
            if self._address is None:
                _refuse_where_no_process_may_start(self._name)
                self._address = _address_of(self._function)
            worker = _Worker(self._name, self._address)
            worker.await_ready(self._name, self._address)
        except PoetError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - who waits for the worker raises it
            failure = OperateError(self._name, f"no worker process can be started: {_said(error)}")
            failure.__cause__ = error
        with self._changed:
            wanted = epoch == self._epoch
            if wanted:
                self._starting -= 1
                if failure is not None:
                    self._failure = failure if self._waiting else None
                elif worker is not None:
                    worker.idle_since = self._now()
                    self._workers.add(worker)
                    self.idle.append(worker)
                self._changed.notify_all()
        if worker is not None and (failure is not None or not wanted):
            worker.kill()
            worker.bury()


class _Worker:
    """One process, seen from ours."""

    def __init__(self, name: str, address: Address) -> None:
        """Starts it; ``await_ready`` follows. Raises OSError, as the system does."""
        self.idle_since = 0.0  # on the clock [s]
        self._leads = False  # whether it leads a process group of its own
        self._gone = False  # and its number may be another process's by now
        context = multiprocessing.get_context("spawn")
        self._pipe, pipe = context.Pipe()
        # Held by nobody but us, and never written to: it breaks when this process ends, however it ends.
        lifeline, self._lifeline = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(pipe, lifeline, address), name=f"poet {name}")
        try:
            self._process.start()
        finally:
            pipe.close()
            lifeline.close()
        # Ours to end: multiprocessing would wait for it at exit, and a forked child would take it for one of its own.
        getattr(multiprocessing.process, "_children", set()).discard(self._process)
        _open.add(self)

    def await_ready(self, name: str, address: Address) -> None:
        """Raises ConfigurationError where it cannot find the function, OperateError where it dies or takes too long."""
        try:
            greeting = self.receive(START)
        except EOFError:
            hint = "its traceback is on standard error"
            if address.module in MAINS:
                hint += '; what the script does by itself must stand below `if __name__ == "__main__":`'
            raise OperateError(name, f"the worker process {self.ending()} while it started: {hint}") from None
        if greeting is None:
            raise OperateError(name, f"the worker process was not ready within {START:g} s")
        problem, self._leads = _loads(greeting)
        if problem:
            raise ConfigurationError(f"{name}: {problem}")

    def send(self, *parts: bytes) -> bool:
        """Whether it could be sent: False: the process has gone."""
        try:
            self._pipe.send_bytes(b"".join(parts))
        except OSError:
            return False
        return True

    def receive(self, timeout: float) -> bytes | None:
        """Its answer, or None after ``timeout`` seconds. Raises EOFError where it has gone."""
        try:
            if self._pipe.poll(None if timeout == inf else min(max(0.0, timeout), LONGEST)):
                return self._pipe.recv_bytes()
        except OSError as error:
            raise EOFError from error
        return None

    def ending(self) -> str:
        """How the process has ended, one that has hung up."""
        multiprocessing.connection.wait([self._process.sentinel], LAST_WORDS)
        self.kill()  # what it had started, or itself where it lives on
        self._reap(LAST_WORDS)
        code = self._process.exitcode or 0
        try:
            return f"ended with code {code} ({signal.Signals(-code).name})"
        except ValueError:
            return f"ended with code {code}"

    def kill(self) -> None:
        """End it at once, and what it has started. May be repeated."""
        if self._gone:
            return
        with suppress(OSError):  # it has ended
            if self._leads and self._process.pid is not None:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()

    def bury(self) -> None:
        """Wait until a killed process has gone, and release what belonged to it."""
        self._reap(None)
        self.hang_up()

    def dismiss(self) -> None:
        """Let an idle one end by itself, and wait for that."""
        self._pipe.close()
        self.bury()

    def hang_up(self) -> None:
        """Close our ends."""
        _open.discard(self)
        self._pipe.close()
        self._lifeline.close()

    def _reap(self, timeout: float | None) -> None:
        self._process.join(timeout)
        self._gone = self._process.exitcode is not None


_open: set[_Worker] = set()  # all that may be alive
_staffs: weakref.WeakSet[_Staff] = weakref.WeakSet()


def _at_exit() -> None:
    for worker in list(_open):
        worker.kill()


def _after_fork_in_child() -> None:
    for worker in list(_open):
        worker.hang_up()  # it must see the end of its parent though we live on
    for staff in list(_staffs):
        staff.forget()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


# --- where a function is found -----------------------------------------------------------------------------------


class Address(NamedTuple):
    """Where another process finds a function."""

    module: str
    qualname: str
    depth: int  # wrappers around it, in what stands at that place


def _refuse_what_cannot_be_imported(function: Body) -> None:
    name = f"{function.__module__}.{function.__qualname__}"
    if "<lambda>" in function.__qualname__:
        raise ConfigurationError(f"{name} has no name that a worker process could find: write it as a def in a module")
    if "<locals>" in function.__qualname__:
        raise ConfigurationError(
            f"{name} is made while another function runs, and a worker process could not find it: "
            "move it to the top of its module, or use enforce_timeout='thread'"
        )
    if function.__module__ == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        # What spawning does not run again: an interactive session, `python -c`, and the __main__.py of a package.
        if not hasattr(main, "__file__") or (spec is not None and spec.name.rpartition(".")[2] == "__main__"):
            raise ConfigurationError(
                f"{name} stands where a worker process does not look: move it to a module, and import it from there"
            )


def _refuse_where_no_process_may_start(name: str) -> None:
    here = multiprocessing.current_process()
    if here.daemon:
        raise ConfigurationError(
            f"{name}: this is a daemonic process, which may not start others: use enforce_timeout='thread'"
        )
    if getattr(here, "_inheriting", False):
        raise ConfigurationError(
            f'{name} was called while its worker process imports the script: call it below `if __name__ == "__main__":`'
        )


def _address_of(function: Body) -> Address:
    """Raises ConfigurationError where its name leads to something else."""
    module, qualname = function.__module__, function.__qualname__
    for depth, found in enumerate(_layers(module, qualname)):
        if found is function:
            return Address(module, qualname, depth)
    raise ConfigurationError(
        f"{module}.{qualname} is not the function that was decorated, so a worker process could not find that: "
        "leave it under its name; decorators around @poet must use functools.wraps"
    )


def _layers(module: str, qualname: str) -> list[Any]:
    """What stands at that place, then what that wraps, and so on. Raises ImportError or AttributeError."""
    found: Any = sys.modules["__main__"] if module in MAINS else importlib.import_module(module)
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name)
    layers = [found]
    while True:
        for inner in ("__wrapped__", "__func__", "fget", "func"):  # functions; methods of a class; its properties
            found = getattr(layers[-1], inner, None)
            if found is not None and all(found is not layer for layer in layers):
                layers.append(found)
                break
        else:
            return layers


# --- in the worker process ---------------------------------------------------------------------------------------


def _serve(pipe: Any, lifeline: Any, address: Address) -> None:
    """The worker's life: find the function, then answer one request after the other."""
    leads = hasattr(os, "setpgid")
    if leads:
        # A group of its own, so that it can be killed with all that the body starts. Ctrl-C is then the parent's.
        os.setpgid(0, 0)
    else:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, args=(lifeline, leads), daemon=True, name="poet-lifeline").start()
    function: Any = None
    problem = ""
    try:
        function = _layers(address.module, address.qualname)[address.depth]
    except Exception as error:  # noqa: BLE001 - the parent raises it
        problem = f"the worker process cannot find {address.module}.{address.qualname}: {_said(error)}"
    with suppress(EOFError, OSError):  # the parent has hung up
        pipe.send_bytes(_dumps((problem, leads)))
        while function is not None:
            pipe.send_bytes(_reply(function, pipe.recv_bytes()))


def _end_with_parent(lifeline: Any, leads: bool) -> None:
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    if leads:
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def _reply(function: Body, request: bytes) -> bytes:
    """Pickled: ("answer", result, ""), ("error", exception, traceback), or a word on what cannot cross."""
    (left,) = LEFT.unpack_from(request)
    try:
        args, kwargs = _loads(memoryview(request)[LEFT.size :])
    except Exception as error:  # noqa: BLE001 - the parent raises it
        return _dumps(("unfit", None, f"the arguments cannot be unpickled in the worker process: {_said(error)}"))
    try:
        answer = copy_context().run(_within, left, function, args, kwargs)
    except BaseException as error:  # noqa: BLE001 - it is the caller's, SystemExit too
        return _as_message(error)
    finally:
        for stream in (sys.stdout, sys.stderr):  # a killed process would lose what it has not written
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()
    try:
        return _dumps(("answer", answer, ""))
    except Exception as error:  # noqa: BLE001 - the parent raises it
        what = f"the result, a {type(answer).__qualname__}, cannot be pickled: {_said(error)}"
        return _dumps(("unfit", None, what))


def _within(left: float, function: Body, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if left < inf:
        DEADLINE.set(time.monotonic() + left)
    return function(*args, **kwargs)


def _as_message(error: BaseException) -> bytes:
    trace = error.__traceback__
    for _ in range(2):  # _reply and _within tell nobody anything
        trace = trace and trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    try:
        message = _dumps(("error", error, text))
        _loads(message)  # many exceptions can be pickled but not unpickled
    except Exception:  # noqa: BLE001 - then it is only named
        return _dumps(("named", _said(error), text))
    return message


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
