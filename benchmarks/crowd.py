"""100 000 calls at once, with random lengths, failures, limits, hedges and cancellations: does everything add up?

On a virtual loop, so that each seed is one exact run. Nothing may be left behind, no task, timer or thread; every call
ends in exactly one outcome; what callers saw, what was recorded and what the service was asked is the same.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
import time
from collections import Counter
from contextlib import suppress

from benchmarks.table import Row, show
from poet.app import build
from poet.decorator import bind
from poet.errors import Overloaded, PoetTimeout
from poet.model.dependency import Budget, Dependency
from poet.model.execution import Outcome, from_record
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock, VirtualLoop

CALLS = 100_000
CANCELLED, FAILING, LATE, HANGING = 0.1, 0.1, 0.02, 0.1  # shares


def run(calls: int = CALLS, seed: int = 1) -> list[Row]:
    """All rows."""
    clock = VirtualClock()
    settings = Settings(store="memory:", seed=seed, buffer=2 * calls)
    agent = build(settings, store=MemoryStore(), clock=clock, thread=False)
    dependency = Dependency("crowd", budget=Budget(share=0.5), concurrency=calls - calls // 50)
    dice = random.Random(seed)
    asked = ended = 0

    async def body() -> int:
        nonlocal asked, ended
        asked += 1
        fate, length = dice.random(), dice.lognormvariate(-1.5, 0.7)
        try:
            if fate < HANGING:
                await asyncio.sleep(1e6)
            if fate < HANGING + LATE:  # swallows its cancellation and answers all the same
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(length)
                return 1
            await asyncio.sleep(length)
            if fate > 1 - FAILING:
                raise ConnectionResetError
        finally:
            ended += 1
        return 1

    call = bind(agent)(
        timeout=0.8,
        retries=1,
        backoff=0.05,
        deadline=2.0,
        hedge_delay=0.4,
        hedges=2,
        dependency=dependency,
        name="crowd",
    )(body)
    seen: Counter[str] = Counter()

    async def one() -> None:
        try:
            await call()
        except PoetTimeout:
            seen["timeout"] += 1
        except ConnectionResetError:
            seen["error"] += 1
        except Overloaded:
            seen["shed"] += 1
        except asyncio.CancelledError:
            seen["cancelled"] += 1
            raise
        else:
            seen["answered"] += 1

    async def crowd() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(one()) for _ in range(calls)]
        for task in dice.sample(tasks, int(CANCELLED * calls)):
            loop.call_later(dice.uniform(0.0, 1.0), task.cancel)
        await asyncio.wait(tasks)
        await asyncio.sleep(10.0)  # of virtual time: losers of the last races end, timers ring
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        return len(asyncio.all_tasks()) - 1, len(timers)

    threads = threading.active_count()
    began = time.process_time()
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(clock)) as runner:
        tasks_left, timers_left = runner.run(crowd())
    seconds = time.process_time() - began
    records = [from_record(record, "", 0.0) for record in agent.enrolments.popitem()[1].channel.records]
    outcomes = Counter(record.outcome for record in records)
    recorded = {
        "answered": outcomes[Outcome.SUCCESS] + outcomes[Outcome.LATE],
        "error": outcomes[Outcome.ERROR],
        "timeout": outcomes[Outcome.TIMEOUT],
        "cancelled": outcomes[Outcome.CANCELLED],
        "shed": outcomes[Outcome.SHED],
    }
    # One that was cancelled before its first step has made no call.
    recorded["cancelled"] += calls - len(records)
    attempts = sum(attempt.outcome is not Outcome.SHED for record in records for attempt in record.attempts)
    hedges = sum(attempt.hedge for record in records for attempt in record.attempts)
    sequences = sorted(record.sequence for record in records)
    free = agent.dependencies["crowd"].running
    return [
        Row(
            f"{calls} calls at once: answered, failed, timed out, cancelled, shed",
            "as recorded",
            ", ".join(f"{seen[name]} {name}" for name in recorded),
            dict(seen) == {name: count for name, count in recorded.items() if count} and sum(seen.values()) == calls,
        ),
        Row(
            "records: each call one",
            "none lost, none twice",
            f"{len(records)}",
            sequences == list(range(sequences[0], sequences[0] + len(records))) and len(records) >= calls * 0.99,
        ),
        Row(
            "requests that the service was asked",
            "as recorded",
            f"{asked}, of them {hedges} hedges; recorded {attempts}",
            asked == attempts == ended,
        ),
        Row(
            "tasks, timers, threads, places left behind",
            "0, 0, 0, 0",
            f"{tasks_left}, {timers_left}, {threading.active_count() - threads}, {free}",
            (tasks_left, timers_left, threading.active_count() - threads, free) == (0, 0, 0, 0),
        ),
        Row("CPU per call, all of it", "", f"{1e6 * seconds / calls:.0f} µs"),
    ]


if __name__ == "__main__":
    sys.exit(not show("A crowd", run()))
