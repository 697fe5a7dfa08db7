"""Drive the arms: every call of the traffic in its order, a few in flight, timed where the caller stands."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import httpx

from poet import PoetTimeout
from poet.demo.services import AsyncCall, SyncCall, Web
from poet.sim.traffic import Recording, Result

IN_FLIGHT = 6  # calls of one arm to one service at the same time
NO_ANSWER = (httpx.HTTPError, PoetTimeout)


@dataclass(slots=True)
class Lane:
    """The calls of one arm to one service, and what became of them."""

    arm: str
    recording: Recording
    numbers: Sequence[int]
    web: Web
    results: dict[int, Result] = field(default_factory=dict)  # by the call's number, in recorded seconds

    def note(self, number: int, success: bool, seconds: float) -> None:
        """Keep what the caller of this call has met; ``seconds`` as played."""
        requests = self.web.requests(self.recording.name, number)
        self.results[number] = Result(success, seconds * self.recording.speed_up, requests)

    @property
    def in_order(self) -> list[Result]:
        """The results in the order of the calls."""
        return [self.results[number] for number in self.numbers]


async def drive_async(lane: Lane, call: AsyncCall) -> None:
    """Make all calls of a lane from the event loop."""
    waiting = iter(lane.numbers)

    async def work() -> None:
        for number in waiting:
            began = time.monotonic()
            success = True
            try:
                await call(number)
            except NO_ANSWER:
                success = False
            lane.note(number, success, time.monotonic() - began)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


async def drive_sync(lane: Lane, call: SyncCall, threads: Executor, stop: threading.Event) -> None:
    """Make all calls of a lane from threads; after ``stop`` none is begun."""
    waiting, lock = iter(lane.numbers), threading.Lock()

    def work() -> None:
        for number in _shared(waiting, lock):
            if stop.is_set():
                return
            began = time.monotonic()
            success = True
            try:
                call(number)
            except NO_ANSWER:
                success = False
            lane.note(number, success, time.monotonic() - began)

    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(threads, work) for _ in range(IN_FLIGHT)))


def _shared(numbers: Iterator[int], lock: threading.Lock) -> Iterator[int]:
    while True:
        with lock:
            number = next(numbers, None)
        if number is None:
            return
        yield number


async def watched(work: Awaitable[object], look: Callable[[], None], every: float) -> None:
    """Await ``work`` and ``look`` at it every so many seconds."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=every)
            look()
        task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)  # so that nothing is left running, nor unasked for its error
