"""The functions of the demo, as somebody would write them who uses POET for the services behind them."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy  # noqa: F401 - learners load it when first used: done now, that does not pass for a service's latency

from poet import Handle, poet, remaining
from poet.sim.traffic import Recording

TIMEOUT = 30.0  # of each attempt, to begin with, in recorded seconds [s]
RETRIES = 3  # to begin with
BACKOFF = 0.1  # bound of the first pause before a retry, for all arms, in recorded seconds [s]
PREFIX = "demo."  # of the names under which the functions are stored
_FREE = httpx.Limits(max_connections=None, max_keepalive_connections=None)  # a pool's queue is no service's latency

SyncCall = Callable[[int], str]
AsyncCall = Callable[[int], Awaitable[str]]


class Web:
    """One arm's way to the services: its HTTP clients, and which attempt of a call comes next."""

    def __init__(self, url: str, arm: str) -> None:
        """url: of the playback server."""
        self.arm = arm
        # Each request says its own limit, or is cancelled at it.
        self.client = httpx.Client(base_url=url, limits=_FREE, timeout=None)  # noqa: S113
        self.async_client = httpx.AsyncClient(base_url=url, limits=_FREE, timeout=None)  # noqa: S113
        self._requests: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()

    def address(self, service: str, call: int) -> str:
        """Where the next attempt of this call goes; counted as a request."""
        with self._lock:
            attempt = self._requests[service, call]
            self._requests[service, call] += 1
        return f"/{service}/{call}/{attempt}?arm={self.arm}"

    def requests(self, service: str, call: int) -> int:
        """Requests of this call so far."""
        return self._requests[service, call]

    def get(self, service: str, call: int, limit: float | None) -> str:
        """One attempt. Raises httpx.TransportError or httpx.HTTPStatusError."""
        return self.client.get(self.address(service, call), timeout=limit).raise_for_status().text

    async def get_async(self, service: str, call: int, limit: float | None) -> str:
        """One attempt. Raises httpx.TransportError or httpx.HTTPStatusError."""
        answer = await self.async_client.get(self.address(service, call), timeout=limit)
        return answer.raise_for_status().text

    async def connect(self, count: int) -> None:
        """Open ``count`` connections each way, so that the first calls do not pay for all of them at once."""
        await asyncio.gather(*(self.async_client.get("/health") for _ in range(count)))
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(lambda _: self.client.get("/health"), range(count)))

    async def close(self) -> None:
        """Give the connections back."""
        await self.async_client.aclose()
        self.client.close()


def terms(recording: Recording) -> dict[str, Any]:
    """What each decorator says: the usual beginning and the worth of a call, in seconds of playback."""
    return {
        "enable_training": True,
        "name": PREFIX + recording.name,
        "timeout": TIMEOUT / recording.speed_up,
        "retries": RETRIES,
        "backoff": BACKOFF / recording.speed_up,
        "objective": recording.objective(recording.speed_up),
    }


class Functions:
    """The decorated functions by the service that they call, sync and async ones."""

    def __init__(self, web: Web, recordings: Mapping[str, Recording]) -> None:
        @poet(**terms(recordings["catalog"]))
        def catalog(call: int) -> str:
            return web.get("catalog", call, remaining())

        @poet(**terms(recordings["lookup"]))
        def lookup(call: int) -> str:
            return web.get("lookup", call, remaining())

        @poet(**terms(recordings["archive"]))
        def archive(call: int) -> str:
            return web.get("archive", call, remaining())

        # An async attempt is cancelled at its limit: there is nothing to hand on.
        @poet(**terms(recordings["quote"]))
        async def quote(call: int) -> str:
            return await web.get_async("quote", call, None)

        @poet(**terms(recordings["chat"]))
        async def chat(call: int) -> str:
            return await web.get_async("chat", call, None)

        @poet(**terms(recordings["summary"]))
        async def summary(call: int) -> str:
            return await web.get_async("summary", call, None)

        self.sync: dict[str, SyncCall] = {"catalog": catalog, "lookup": lookup, "archive": archive}
        self.asynchronous: dict[str, AsyncCall] = {"quote": quote, "chat": chat, "summary": summary}
        self.handles: dict[str, Handle] = {
            "catalog": catalog.poet,
            "lookup": lookup.poet,
            "archive": archive.poet,
            "quote": quote.poet,
            "chat": chat.poet,
            "summary": summary.poet,
        }
