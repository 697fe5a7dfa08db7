"""The demo's second part: a dependency that slows down under load, and what brings it back."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import httpx

from poet import Breaker, Dependency, Event, listen, poet
from poet.demo.services import PREFIX

RATE = 40.0  # calls of each arm per second; the server can do 80
TIMEOUT, RETRIES, BACKOFF = 0.5, 3, 0.1
SLOWER = 10.0
SPANS = (3.0, 4.0, 11.0)  # before, trouble, after [s]
FAST_SPANS = (1.0, 2.0, 3.0)
OPEN_FOR = 1.0  # [s]
FUNCTIONS = ("with_budget", "with_breaker")  # as they are called below ``PREFIX``
PHASES = ("before", "slow", "after")
ARMS = {
    "fixed": "fixed: 0.5 s, 3 retries",
    "budget": "POET: the same, its budget",
    "breaker": "POET: and a breaker",
}

Call = Callable[[], Awaitable[object]]


class Made(NamedTuple):
    """One call."""

    began: float  # after the beginning [s]
    seconds: float
    success: bool


class Phase(NamedTuple):
    """How one arm fared in one phase."""

    success: float  # share of the calls that began in it
    requests: float  # per call
    seconds: float  # mean duration of a call, failed ones too [s]


@dataclass(frozen=True, slots=True)
class Outage:
    """What came of it."""

    spans: Sequence[float]  # of the phases [s]
    phases: dict[str, list[Phase]]  # by arm
    changes: list[tuple[float, str]]  # of the breaker: when, and to which state


def play(url: str, *, fast: bool, seed: int) -> Outage:
    """Call the fragile server at ``url`` from all arms at once, through its trouble."""
    return asyncio.run(_play(url, FAST_SPANS if fast else SPANS, seed))


async def _play(url: str, spans: Sequence[float], seed: int) -> Outage:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    made: dict[str, list[Made]] = {arm: [] for arm in ARMS}
    changes: list[tuple[float, str]] = []
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=None) as client:  # noqa: S113 - the arms limit
        calls = _arms(client, seed)
        plan = {"at": spans[0], "until": spans[0] + spans[1], "factor": SLOWER}
        (await client.get("/fragile/begin", params=plan)).raise_for_status()
        began = time.monotonic()

        def note(event: Event) -> None:
            if event.kind == "breaker":
                changes.append((time.monotonic() - began, event.detail))

        hush = listen(note)
        try:
            await asyncio.gather(*(_drive(calls[arm], made[arm], began, sum(spans), seed) for arm in ARMS))
        finally:
            hush()
        asked: dict[str, list[float]] = (await client.get("/fragile/asked")).json()
    return Outage(spans, {arm: _phases(made[arm], asked[arm], spans) for arm in ARMS}, changes)


def _arms(client: httpx.AsyncClient, seed: int) -> dict[str, Call]:
    coin = random.Random(seed)

    async def ask(arm: str) -> str:
        return (await client.get(f"/fragile/call/{arm}")).raise_for_status().text

    async def fixed() -> str:
        """What most retry loops do."""
        for attempt in range(RETRIES + 1):
            try:
                async with asyncio.timeout(TIMEOUT):
                    return await ask("fixed")
            except (httpx.HTTPError, TimeoutError):
                if attempt == RETRIES:
                    raise
                await asyncio.sleep(coin.uniform(0, BACKOFF * 2.0**attempt))
        raise AssertionError

    @poet(name=PREFIX + FUNCTIONS[0], timeout=TIMEOUT, retries=RETRIES, backoff=BACKOFF)
    async def budget() -> str:
        return await ask("budget")

    guarded = Dependency("fragile server", breaker=Breaker(min_calls=20, open_for=OPEN_FOR))

    @poet(name=PREFIX + FUNCTIONS[1], timeout=TIMEOUT, retries=RETRIES, backoff=BACKOFF, dependency=guarded)
    async def breaker() -> str:
        return await ask("breaker")

    return {"fixed": fixed, "budget": budget, "breaker": breaker}


async def _drive(call: Call, made: list[Made], began: float, end: float, seed: int) -> None:
    """Callers that do not wait for each other, Poisson; all arms meet the same moments."""
    dice = random.Random(seed)
    due = 0.0
    running: set[asyncio.Task[None]] = set()

    async def one() -> None:
        start = time.monotonic()
        success = True
        try:
            await call()
        except Exception:  # noqa: BLE001 - whatever it is, the caller has no answer
            success = False
        made.append(Made(start - began, time.monotonic() - start, success))

    while (due := due + dice.expovariate(RATE)) < end:
        await asyncio.sleep(max(0.0, began + due - time.monotonic()))
        task = asyncio.create_task(one())
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.wait(running)


def _phases(made: Sequence[Made], asked: Sequence[float], spans: Sequence[float]) -> list[Phase]:
    phases = []
    start = 0.0
    for span in spans:
        calls = [call for call in made if start <= call.began < start + span]
        requests = sum(start <= moment < start + span for moment in asked)
        phases.append(
            Phase(
                statistics.fmean(call.success for call in calls),
                requests / len(calls),
                statistics.fmean(call.seconds for call in calls),
            )
        )
        start += span
    return phases


def lines(outage: Outage) -> list[str]:
    """The report."""
    before, slow, after = outage.spans
    told = [
        f"a dependency in trouble – a real server that can do 80 requests a second gets {RATE:.0f} calls a second;",
        f"after {before:g} s it is {SLOWER:g} times slower for {slow:g} s, then as before; seen for {after:g} s more",
        f"  {'':<28}" + "".join(f"{f'{phase}: success':>16}{'requests':>10}{'mean':>8}" for phase in PHASES),
    ]
    for arm, title in ARMS.items():
        cells = "".join(
            f"{f'{phase.success:.0%}'.replace('%', ' %'):>16}{phase.requests:>10.2f}{phase.seconds:>6.2f} s"
            for phase in outage.phases[arm]
        )
        told.append(f"  {title:<28}{cells}")
    states = ", ".join(f"{state.replace('_', ' ')} at {moment:.1f} s" for moment, state in outage.changes)
    told.append(f"  The breaker: {states or 'never opened'}.")
    told.append(
        "  Requests are per call. The budget sees trouble after some 40 failed attempts and then allows a tenth more:"
    )
    told.append("  so the queue can drain when the trouble is over.")
    return told


def as_document(outage: Outage) -> dict[str, Any]:
    """The same for programs."""
    return {
        "spans": list(outage.spans),
        "arms": {
            arm: {name: phase._asdict() for name, phase in zip(PHASES, phases, strict=True)}
            for arm, phases in outage.phases.items()
        },
        "breaker": [{"at": moment, "state": state} for moment, state in outage.changes],
    }
