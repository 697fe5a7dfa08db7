"""Progress: bars on a terminal, else a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

EVERY = 3.0  # between two lines [s]


class Watched(Protocol):
    """A service whose calls are being made."""

    @property
    def name(self) -> str:
        """Of the service."""

    @property
    def done(self) -> int:
        """Calls made so far, of all arms."""

    @property
    def total(self) -> int:
        """Calls to make, of all arms."""

    @property
    def live(self) -> str:
        """POET's live values."""


class Show:
    """A context manager whose ``look`` shows how far the services are."""

    def __init__(self, services: Sequence[Watched], out: TextIO, every: float = EVERY) -> None:
        """every: pause between two lines where ``out`` is no terminal, >= 0 [s]."""
        self._services, self._out, self._every = services, out, every
        self._began = time.monotonic()
        self._said = self._began
        self._bars: tuple[Progress, dict[str, TaskID]] | None = None

    def __enter__(self) -> Callable[[], None]:
        console = Console(file=self._out)
        if not console.is_terminal:
            return self._line
        bars = Progress(
            TextColumn("{task.description:<8}"),
            BarColumn(12),
            TextColumn("{task.completed:>5.0f}/{task.total:.0f} calls"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[live]}"),
            console=console,
        )
        tasks = {each.name: bars.add_task(each.name, total=each.total, live="") for each in self._services}
        bars.start()
        self._bars = bars, tasks
        return self._move

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars[0].stop()

    def _move(self) -> None:
        assert self._bars is not None
        bars, tasks = self._bars
        for each in self._services:
            bars.update(tasks[each.name], completed=each.done, live=each.live)

    def _line(self) -> None:
        now = time.monotonic()
        if now - self._said < self._every:
            return
        self._said = now
        done, total = sum(each.done for each in self._services), sum(each.total for each in self._services)
        shares = ", ".join(f"{each.name} {100 * each.done // each.total} %" for each in self._services)
        self._out.write(f"{now - self._began:4.0f} s: {done} of {total} calls; {shares}\n")
        self._out.flush()
