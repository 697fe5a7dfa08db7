"""Bodies that worker processes run: they must be found by import."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import poet
from poet.calls.process import in_process
from poet.errors import PoetError


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def where() -> tuple[int, int]:
    """The worker's number, and its parent's."""
    return os.getpid(), os.getppid()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def hold_the_interpreter(path: str) -> None:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    sum(range(10**11))  # an hour of C, without a look at signals or other threads


def start_another(path: str) -> None:
    subprocess.run(["sh", "-c", 'exec sleep 60 > "$1"', "sh", path], check=False)


def meet(port: int) -> int:
    """Tell our number to who listens there, and wait for leave to go."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.sendall(str(os.getpid()).encode())
        line.recv(1)
    return os.getpid()


def left() -> tuple[float | None, float | None]:
    return poet.remaining(), poet.deadline()


def end(code: int) -> None:
    os._exit(code)


def crash(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    time.sleep(60)


def interrupt_the_caller() -> None:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(60)


class Mine(Exception):
    """An exception with facts of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Stubborn(Exception):
    """Can be pickled and not unpickled, as its arguments are not those of its constructor."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


def fail(kind: str) -> None:
    if kind == "mine":
        raise Mine(7)
    if kind == "stubborn":
        raise Stubborn(7, "no")
    if kind == "local":

        class Local(Exception):
            pass

        raise Local("here only")
    if kind == "exit":
        sys.exit(3)
    raise AssertionError(kind)


def generator() -> Any:
    return (x for x in "ab")


def start_a_process() -> int | None:
    process = multiprocessing.get_context("fork").Process(target=int)
    process.start()
    process.join()
    return process.exitcode


class Unreadable:
    """Can be pickled, and fails where it is unpickled."""

    def __reduce__(self) -> Any:
        return fail, ("mine",)


def unreadable() -> Unreadable:
    return Unreadable()


def shouting(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of somebody else's."""

    @functools.wraps(function)
    def shouted(*args: Any) -> Any:
        return ("!", function(*args))

    return shouted


def hiding(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that does not say what it wraps."""
    return lambda *args: function(*args)


def limited(function: Callable[..., Any]) -> Callable[..., Any]:
    """What @poet does."""
    body = in_process(function, function.__qualname__)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return body(*args)

    call.body = body  # type: ignore[attr-defined]
    return call


@shouting
@limited
@shouting
def wrapped() -> tuple[int, int]:
    return where()


@hiding
@limited
def hidden() -> int:
    return 1


hidden_call = hidden.__closure__[0].cell_contents  # type: ignore[attr-defined]


class Shop:
    """One with all kinds of methods."""

    def __init__(self, price: int) -> None:
        self.price = price

    @limited
    def pay(self, count: int) -> tuple[int, int, int]:
        return count * self.price, *where()

    @staticmethod
    @limited
    def name() -> tuple[str, int, int]:
        return "shop", *where()

    @classmethod
    @limited
    def kind(cls) -> tuple[str, int, int]:
        return cls.__name__, *where()

    @property
    @limited
    def total(self) -> tuple[int, int, int]:
        return self.price, *where()


def call_as_a_daemon(answer: Any) -> None:
    try:
        in_process(echo, "echo")()
    except PoetError as error:
        answer.send(f"{type(error).__name__}: {error}")
