"""What a failing or overloaded dependency gets to bear: 200 callers, POET beside fixed retries.

The call path is the real one, on a virtual loop: minutes of traffic take seconds, and every run of a seed is the same.
The callers do not wait for each other (open arrivals): whoever is slow gets more at once, as in production. The server
has a number of workers and a queue; it does not notice that a caller has given up, so it goes on to work on requests
that nobody waits for. That is what makes an overload last after its cause is gone (Bronson et al. 2021, "Metastable
failures in distributed systems").
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from benchmarks.table import Row, show
from poet.app import build
from poet.calls.operate import full_jitter
from poet.decorator import bind
from poet.model.dependency import Breaker, Budget, Dependency
from poet.settings import Settings
from poet.sim.fragile import Pool
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock
from poet.testing.clock import run as run_virtual

CALLERS, RATE = 200, 2.0  # calls of each per second, Poisson
WORKERS, WORK = 40, 0.08  # of the server; a request takes so long on average [s]: it can do 500 a second
QUEUE = 2000  # requests that wait at most; more are turned away
TIMEOUT, RETRIES, BACKOFF = 1.0, 3, 0.1
BEGIN, END, LAST = 20.0, 50.0, 115.0  # of the trouble, and of the run [s]
SETTLED = 35.0  # seconds after the trouble by which all must be well again


class Server:
    """A dependency. trouble: ``fails`` or ``slows``."""

    def __init__(self, clock: VirtualClock, trouble: str, seed: int) -> None:
        self.clock, self.trouble = clock, trouble
        self.pool = Pool(seed, WORKERS, WORK, QUEUE)

    async def serve(self) -> None:
        """Answer one request. Raises ConnectionError."""
        now = self.clock.now()
        if self.trouble == "fails" and BEGIN <= now < END:
            self.pool.asked.append(now)
            await asyncio.sleep(0.02)
            raise ConnectionResetError
        end = self.pool.place(now, self._factor)
        if end is None:
            raise ConnectionRefusedError
        await asyncio.sleep(end - now)

    def _factor(self, begin: float) -> float:
        return 10.0 if self.trouble == "slows" and BEGIN <= begin < END else 1.0


class Account(NamedTuple):
    """What came of one run."""

    calls: int
    requests: int
    during: float  # requests per call, from one window of the budget before the trouble to its end
    after: float  # share of calls that succeed, from SETTLED seconds after its end on
    recovered: float  # seconds from the end of the trouble until 99 % of the calls of a second succeed; inf: never


Make = Callable[[Server, VirtualClock, int], tuple[Callable[[], Awaitable[None]], Callable[[], None]]]


def fixed(server: Server, clock: VirtualClock, seed: int) -> tuple[Callable[[], Awaitable[None]], Callable[[], None]]:
    """Retries as most libraries make them."""
    coin = random.Random(seed)

    async def call() -> None:
        for attempt in range(RETRIES + 1):
            try:
                async with asyncio.timeout(TIMEOUT):
                    await server.serve()
            except (ConnectionError, TimeoutError):
                if attempt == RETRIES:
                    raise
                await asyncio.sleep(full_jitter(BACKOFF, attempt + 1, coin.random()))
            else:
                return

    return call, lambda: None


def poet_with(**options: Any) -> Make:
    """POET, declared with the same values."""

    def make(
        server: Server, clock: VirtualClock, seed: int
    ) -> tuple[Callable[[], Awaitable[None]], Callable[[], None]]:
        settings = Settings(store="memory:", seed=seed)
        agent = build(settings, store=MemoryStore(), clock=clock, thread=False)
        decorate = bind(agent)(timeout=TIMEOUT, retries=RETRIES, backoff=BACKOFF, name="load", **options)

        async def serve() -> None:
            await server.serve()

        call: Callable[[], Awaitable[None]] = decorate(serve)
        return call, agent.flush

    return make


ARMS: dict[str, Make] = {
    "fixed: 3 retries": fixed,
    "POET": poet_with(),
    "POET, breaker": poet_with(dependency=Dependency("server", breaker=Breaker(open_for=5.0))),
    "POET, learning": poet_with(enable_training=True),
}


def account(make: Make, trouble: str, seed: int) -> Account:
    """Run all callers once."""
    clock = VirtualClock()
    server = Server(clock, trouble, seed)
    call, flush = make(server, clock, seed)
    ended: list[tuple[float, bool]] = []  # when a call began, and whether it succeeded

    async def one() -> None:
        began = clock.now()
        try:
            await call()
        except Exception:
            ended.append((began, False))
        else:
            ended.append((began, True))

    async def caller(dice: random.Random) -> None:
        pending: set[asyncio.Task[None]] = set()
        while clock.now() < LAST:
            await asyncio.sleep(dice.expovariate(RATE))
            task = asyncio.create_task(one())
            pending.add(task)
            task.add_done_callback(pending.discard)
        if pending:
            await asyncio.wait(pending)

    async def trainer(work: asyncio.Task[Any]) -> None:
        while not work.done():
            await asyncio.wait({work}, timeout=0.5)
            flush()

    async def everything() -> None:
        dice = random.Random(seed + 1)
        callers = asyncio.gather(*(caller(random.Random(dice.random())) for _ in range(CALLERS)))
        await trainer(asyncio.ensure_future(callers))

    run_virtual(everything(), clock)
    # What the budget saved up in the window before may be spent in the trouble's first second: it is counted in.
    window = Budget().window
    troubled = sum(BEGIN - window <= began < END for began, _ in ended)
    asked = sum(BEGIN - window <= came < END for came in server.pool.asked)
    late = [good for began, good in ended if began >= END + SETTLED]
    return Account(len(ended), len(server.pool.asked), asked / troubled, sum(late) / len(late), _recovery(ended))


def _recovery(ended: list[tuple[float, bool]]) -> float:
    """Seconds after the trouble until a second in which 99 % of the calls that begin succeed, and all later ones do."""
    seconds = int(LAST - END)
    good = [[0, 0] for _ in range(seconds)]
    for began, success in ended:
        if END <= began < LAST:
            good[int(began - END)][success] += 1
    bad = [second for second, (failed, fine) in enumerate(good) if failed > 0.01 * (failed + fine)]
    return float("inf") if bad and bad[-1] == seconds - 1 else float(bad[-1] + 1 if bad else 0)


def run(seeds: int = 2) -> list[Row]:
    """All rows."""
    rows = []
    for trouble, words in (("fails", "fails completely for 30 s"), ("slows", "is 10 times slower for 30 s")):
        for arm, make in ARMS.items():
            accounts = [account(make, trouble, seed) for seed in range(seeds)]
            load = max(a.requests / a.calls for a in accounts)
            during, after = max(a.during for a in accounts), min(a.after for a in accounts)
            recovered = max(a.recovered for a in accounts)
            ours = arm.startswith("POET")
            rows.append(
                Row(
                    f"dependency {words}; {arm}",
                    "load ≤ 1.1 ×, all well in 35 s" if ours else "",
                    f"{load:.3f} requests per call, {during:.3f} in the trouble and 10 s before; well again after "
                    f"{'never' if recovered == float('inf') else f'{recovered:.0f} s'}; "
                    f"{after:.1%} succeed from 35 s after it on",
                    (load <= 1.1 and during <= 1.1 and recovered <= SETTLED) if ours else None,
                )
            )
    return rows


if __name__ == "__main__":
    sys.exit(not show(f"Load on a dependency in trouble, {CALLERS} callers", run()))
