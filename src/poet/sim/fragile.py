"""A server that can do so much and no more, and gets into trouble for a while: for the demo of the brakes.

It does not notice that a client has gone: it works off what was asked, in order, for nobody. That is what keeps an
overload alive after its cause is gone (Bronson et al. 2021, "Metastable failures in distributed systems").
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from heapq import heappop, heappush

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

WORKERS, WORK = 4, 0.05  # a request takes a worker so long on average [s]: 80 requests a second
QUEUE = 600  # requests that wait at most; more are turned away


class Pool:
    """Workers and the queue in front of them; each arm of the demo has its own, so that none disturbs another."""

    def __init__(self, seed: int, workers: int = WORKERS, work: float = WORK, queue: int = QUEUE) -> None:
        self._dice, self._work, self._longest = random.Random(seed), work, queue * work / workers
        self._free = [0.0] * workers  # when each worker is
        self.asked: list[float] = []  # when each request came, after the beginning [s]

    def place(self, now: float, factor: Callable[[float], float]) -> float | None:
        """When a request that comes ``now`` will be done; None: the queue is full.

        factor: of the work, by the moment when it begins.
        """
        self.asked.append(now)
        begin = max(now, self._free[0])
        work = self._dice.expovariate(1 / self._work) * factor(begin)
        if begin - now > self._longest:
            return None
        heappop(self._free)
        heappush(self._free, begin + work)
        return begin + work


class Fragile:
    """``/fragile/begin?at=…&until=…&factor=…`` plans trouble, ``/fragile/call/{arm}`` asks, ``/fragile/asked`` counts.

    at, until: seconds after the beginning between which work takes ``factor`` times as long.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._trouble = (float("inf"), float("inf"), 1.0)
        self._pools: dict[str, Pool] = {}

    def routes(self) -> list[Route]:
        """For an application."""
        return [
            Route("/fragile/begin", self.begin),
            Route("/fragile/call/{arm}", self.call),
            Route("/fragile/asked", self.asked),
        ]

    async def begin(self, request: Request) -> Response:
        """From now on."""
        at, until, factor = (float(request.query_params[name]) for name in ("at", "until", "factor"))
        self._began, self._trouble, self._pools = time.monotonic(), (at, until, factor), {}
        return PlainTextResponse("begun")

    async def call(self, request: Request) -> Response:
        """One request: 200 when a worker has done it, 503 where the queue is full."""
        arm = request.path_params["arm"]
        pool = self._pools.setdefault(arm, Pool(len(self._pools)))
        now = time.monotonic() - self._began
        at, until, factor = self._trouble
        end = pool.place(now, lambda begin: factor if at <= begin < until else 1.0)
        if end is None:
            return PlainTextResponse("the queue is full", status_code=503)
        await asyncio.sleep(end - now)
        return PlainTextResponse("done")

    async def asked(self, request: Request) -> Response:
        """When each arm's requests came, after the beginning [s]."""
        return JSONResponse({arm: pool.asked for arm, pool in self._pools.items()})
