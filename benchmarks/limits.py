"""What a limit does to a plain function: when the caller is free again, and whether the body was stopped.

    python -m benchmarks.limits

Six bodies of about a second under a limit of 150 ms, each in a fresh process: what one leaves behind meets no other. A
call that ends at once comes before the measured one, so that threads and processes have started. Then how long the
process takes to end, right after a limit has passed over a body that would run on.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib import import_module as load
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.table import Row, show

LIMIT = 0.15  # [s]
BODY = 1.0  # what each body takes if nobody stops it [s]
LONG = 1.5  # what the body takes that the process's end may have to wait for [s]
GRACE = 0.5  # a body that has not been left so long after its own time, and the call's, was killed [s]
SLACK = 0.1  # what our modes may take beyond the limit [s]
MOMENT = 0.02  # [s]
PROMPT = 0.5  # what the end of a process may take under our modes: an interpreter's own, on a busy machine [s]

Body = Callable[[str, float, bool], None]


@contextmanager
def _watched(mark: str) -> Iterator[None]:
    """Notes when the body is left, however that happens; a process that is killed notes nothing."""
    try:
        yield
    finally:
        Path(f"{mark}.new").write_text(str(time.monotonic()))
        os.replace(f"{mark}.new", mark)


def _span(seconds: float, heeds: bool) -> float:
    """How long the body goes on: its own time, or as long as it may where it heeds that."""
    from poet import remaining

    left = remaining() if heeds else None
    return seconds if left is None else min(seconds, left)


def _answer(seconds: float, span: float) -> None:
    if span < seconds:
        raise TimeoutError


def sleep(mark: str, seconds: float, heeds: bool) -> None:
    with _watched(mark):
        span = _span(seconds, heeds)
        time.sleep(span)
        _answer(seconds, span)


def read(mark: str, seconds: float, heeds: bool) -> None:
    """Reads from a silent peer, and takes a socket's timeout for "nothing there"."""
    ours, theirs = socket.socketpair()
    with _watched(mark), ours, theirs:
        span = _span(seconds, heeds)
        ours.settimeout(span or 1e-3)
        with suppress(socket.timeout):
            ours.recv(1)
        _answer(seconds, span)


def compute(mark: str, seconds: float, heeds: bool) -> None:
    with _watched(mark):
        span = _span(seconds, heeds)
        end = time.monotonic() + span
        while time.monotonic() < end:
            pass
        _answer(seconds, span)


def hold(mark: str, seconds: float, heeds: bool) -> None:
    """One C call that holds the interpreter; there is nothing in it that could heed a limit."""
    with _watched(mark):
        sample = 10**6
        start = time.perf_counter()
        sum(range(sample))
        sum(range(int(sample * seconds / (time.perf_counter() - start))))


def lock(mark: str, seconds: float, heeds: bool) -> None:
    with _watched(mark):
        span = _span(seconds, heeds)
        held = threading.Lock()
        held.acquire()
        held.acquire(timeout=span or 1e-3)
        _answer(seconds, span)


def persist(mark: str, seconds: float, heeds: bool) -> None:
    """Goes on after whatever error."""
    with _watched(mark):
        span = _span(seconds, heeds)
        end = time.monotonic() + span
        while time.monotonic() < end:
            with suppress(Exception):
                time.sleep(0.005)
        _answer(seconds, span)


BODIES: dict[str, tuple[Body, str]] = {
    "sleep": (sleep, "`time.sleep`"),
    "read": (read, "`recv`, catches `socket.timeout`"),
    "compute": (compute, "Python loop"),
    "hold": (hold, "C call that holds the GIL"),
    "lock": (lock, "`Lock.acquire`"),
    "persist": (persist, "loop with `except Exception`"),
}
WAITING, COMPUTING = ("sleep", "read", "lock", "persist"), ("compute", "hold")

Call = Callable[[str, float, bool], Any]
Limit = Callable[[Body], Call]


def of_poet(mode: Any) -> Callable[[], Limit]:
    def make() -> Limit:
        from poet import poet

        limit: Limit = poet(timeout=LIMIT, retries=0, enforce_timeout=mode)
        return limit

    return make


def of_timeout_decorator(signals: bool) -> Callable[[], Limit]:
    return lambda: load("timeout_decorator").timeout(LIMIT, use_signals=signals)


def of_wrapt_timeout_decorator(signals: bool) -> Callable[[], Limit]:
    return lambda: load("wrapt_timeout_decorator").timeout(LIMIT, use_signals=signals)


def of_func_timeout() -> Limit:
    limit: Limit = load("func_timeout").func_set_timeout(LIMIT)
    return limit


def of_futures() -> Limit:
    pool = ThreadPoolExecutor(4)
    return lambda body: lambda *args: pool.submit(body, *args).result(LIMIT)


def of_pyresilience() -> Limit:
    package = load("pyresilience")
    limit: Limit = package.resilient(timeout=package.TimeoutConfig(seconds=LIMIT))
    return limit


def of_redress() -> Limit:
    redress = load("redress")
    strategy = load("redress.strategies").decorrelated_jitter(max_s=1.0)
    retry = redress.Retry(
        classifier=redress.default_classifier, strategy=strategy, max_attempts=1, attempt_timeout_s=LIMIT
    )
    policy = redress.Policy(retry=retry)
    return lambda body: lambda *args: policy.call(lambda: body(*args))


def of_backon() -> Limit:
    backon = load("backon")
    limit: Limit = backon.on_exception(backon.expo, exception=ConnectionError, max_tries=1, attempt_timeout=LIMIT)
    return limit


COOPERATIVE, THREAD, SIGNAL, PROCESS = OURS = tuple(
    f"POET, {mode}" for mode in ("cooperative", "thread", "signal", "process")
)
MECHANISMS: dict[str, Callable[[], Limit]] = {
    COOPERATIVE: of_poet("cooperative"),
    THREAD: of_poet("thread"),
    SIGNAL: of_poet("signal"),
    PROCESS: of_poet("process"),
    "timeout-decorator (signal)": of_timeout_decorator(True),
    "timeout-decorator (process)": of_timeout_decorator(False),
    "wrapt-timeout-decorator (signal)": of_wrapt_timeout_decorator(True),
    "wrapt-timeout-decorator (process)": of_wrapt_timeout_decorator(False),
    "func-timeout (thread)": of_func_timeout,
    "`concurrent.futures` (thread)": of_futures,
    "pyresilience (thread)": of_pyresilience,
    "redress (thread)": of_redress,
    "backon (thread)": of_backon,
}


class Cell(NamedTuple):
    """What became of one body under one mechanism."""

    back: float = 0.0  # after the call's beginning its caller was free again [s]
    error: str = ""  # what the caller got; empty: no error
    lasted: float | None = None  # how long the body went on; None: its process was killed [s]
    missing: str = ""  # why it could not be measured

    @property
    def stopped(self) -> bool:
        """Whether the body was left soon after its limit."""
        return self.lasted is None or self.lasted < LIMIT + SLACK

    @property
    def late(self) -> bool:
        """Whether the caller was free only when the body had ended by itself."""
        return self.lasted is not None and not self.stopped and self.back > self.lasted - MOMENT

    def __str__(self) -> str:
        if self.missing:
            return self.missing
        fate = "stopped" if self.stopped else "late" if self.late else "runs on"
        return f"{1e3 * self.back:.0f} {fate}{'' if self.error else ', no error'}"


def cell(mechanism: str, body: str) -> None:
    """In a process of its own: print the cell."""
    limited = _limited(mechanism, body)
    if limited is None:
        print(json.dumps(Cell(missing="not installed")))
        return
    with tempfile.TemporaryDirectory() as folder:
        mark, heeds = Path(folder, "ended"), mechanism == COOPERATIVE
        limited(str(Path(folder, "first")), 0.0, heeds)
        start, error = time.monotonic(), ""
        try:
            limited(str(mark), BODY, heeds)
        except BaseException as caught:  # func-timeout's is none
            error = type(caught).__name__
        back = time.monotonic() - start
        while not mark.exists() and time.monotonic() < start + max(BODY, back) + GRACE:
            time.sleep(MOMENT)
        lasted = float(mark.read_text()) - start if mark.exists() else None
        print(json.dumps(Cell(back, error, lasted)), flush=True)


def leave(mechanism: str) -> None:
    """In a process of its own: print the moment at which its caller is free, and end."""
    limited = _limited(mechanism, "sleep")
    if limited is None:
        print("null")
        return
    folder = tempfile.mkdtemp()
    limited(os.path.join(folder, "first"), 0.0, False)
    with suppress(BaseException):
        limited(os.path.join(folder, "ended"), LONG, mechanism == COOPERATIVE)
    print(time.monotonic(), flush=True)


def _limited(mechanism: str, body: str) -> Call | None:
    try:
        limit = MECHANISMS[mechanism]()
    except ImportError:
        return None
    return limit(BODIES[body][0])


def _ask(what: str, *arguments: str) -> str:
    """The output of a function of this module, run in a fresh process."""
    quiet = "import sys, warnings; warnings.simplefilter('ignore')"
    code = f"{quiet}; from benchmarks.limits import {what} as f; f(*sys.argv[1:])"
    environ = {**os.environ, "POET_STORE": "memory:", "POET_LEARNING": "on"}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{what}{arguments} ended with code {done.returncode}:\n{done.stderr}")
    return done.stdout


class Figures(NamedTuple):
    """All that is measured."""

    cells: dict[tuple[str, str], Cell]
    exits: dict[str, float | None]  # from the caller's being free to the process's end [s]; None: not installed


def measure() -> Figures:
    """In about a minute. Bodies that wait are measured four at a time, those that compute by themselves."""

    def one(key: tuple[str, str]) -> tuple[tuple[str, str], Cell]:
        return key, Cell(*json.loads(_ask("cell", *key).splitlines()[-1]))

    def end(mechanism: str) -> tuple[str, float | None]:
        moment = json.loads(_ask("leave", mechanism).splitlines()[-1])
        return mechanism, None if moment is None else time.monotonic() - moment

    cells: dict[tuple[str, str], Cell] = {}
    with ThreadPoolExecutor(4) as threads:
        cells.update(threads.map(one, [(mechanism, body) for mechanism in MECHANISMS for body in WAITING]))
        exits = dict(threads.map(end, MECHANISMS))
    cells.update(map(one, [(mechanism, body) for mechanism in MECHANISMS for body in COMPUTING]))
    return Figures(cells, exits)


def matrix(figures: Figures) -> str:
    """All cells as a Markdown table."""
    names = [described for _, described in BODIES.values()]
    lines = [
        f"| caller free after [ms], body … (limit {1e3 * LIMIT:.0f}, body {1e3 * BODY:.0f}) | "
        + " | ".join(names)
        + " | process ends after [ms] |",
        "|---" * (len(names) + 2) + "|",
    ]
    for mechanism in MECHANISMS:
        cells = [str(figures.cells[mechanism, body]) for body in BODIES]
        end = figures.exits[mechanism]
        lines.append(f"| {mechanism} | {' | '.join(cells)} | {'' if end is None else f'{1e3 * end:.0f}'} |")
    return "\n".join(lines)


def claims(figures: Figures) -> list[Row]:
    """What we promise of our modes."""

    def worst(mechanism: str, bodies: tuple[str, ...]) -> float:
        return max(figures.cells[mechanism, body].back for body in bodies)

    def row(mechanism: str, bodies: tuple[str, ...], what: str, *, stops: bool, bar: float = LIMIT + SLACK) -> Row:
        cells = [figures.cells[mechanism, body] for body in bodies]
        stopped, back = sum(cell.stopped for cell in cells), worst(mechanism, bodies)
        holds = back <= bar and all(cell.error for cell in cells) and (not stops or stopped == len(cells))
        wanted = f"≤ {1e3 * bar:.0f} ms" + (", all stopped" if stops else "")
        return Row(f"{mechanism}: caller free, {what}", wanted, f"{1e3 * back:.0f} ms, {stopped} stopped", holds)

    yielding = tuple(body for body in BODIES if body != "hold")
    ends = {mechanism: figures.exits[mechanism] for mechanism in OURS}
    latest = max(ends, key=lambda mechanism: ends[mechanism] or 0.0)
    return [
        row(COOPERATIVE, yielding, "worst of five bodies that heed `poet.remaining()`", stops=True),
        row(THREAD, yielding, "worst of the five bodies that let other threads run", stops=False),
        row(SIGNAL, yielding, "worst of the five bodies that are not one C call", stops=True),
        row(PROCESS, tuple(BODIES), "worst of all six bodies", stops=True),
        Row(
            f"the process ends, a body of {LONG:g} s left behind; the latest of our modes",
            f"≤ {1e3 * PROMPT:.0f} ms",
            f"{1e3 * (ends[latest] or 0.0):.0f} ms ({latest})",
            (ends[latest] or 0.0) <= PROMPT,
        ),
    ]


def run() -> list[Row]:
    """Our claims, then every mechanism's cells in one line: the bodies in the order of ``BODIES``, then the end."""
    figures = measure()
    rows = claims(figures)
    for mechanism in MECHANISMS:
        cells, end = [figures.cells[mechanism, body] for body in BODIES], figures.exits[mechanism]
        if end is None:
            rows.append(Row(mechanism, "", "not installed"))
        else:
            rows.append(Row(mechanism, "", f"{' · '.join(map(str, cells))} · process ends after {1e3 * end:.0f}"))
    return rows


if __name__ == "__main__":
    measured = measure()
    print(f"\n## What a limit does\n\n{matrix(measured)}")
    sys.exit(not show("What our limits promise", claims(measured)))
