"""What POET is compared with: a loop that retries under a fixed timeout, or under one that follows the usual rule."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httpx

from poet.calls.operate import full_jitter
from poet.demo.services import BACKOFF, RETRIES, TIMEOUT, AsyncCall, SyncCall, Web
from poet.sim.traffic import Recording

WINDOW = 200  # answers that the usual rule remembers
FIRST = 20  # answers that it waits for before it leaves the fixed timeout
QUANTILE, FACTOR = 0.99, 1.5
FAILURES = (httpx.TransportError, httpx.HTTPStatusError)


class Rule(Protocol):
    """Says how long an attempt may take."""

    def limit(self) -> float:
        """The timeout from now on, > 0 [s]."""

    def answered(self, seconds: float) -> None:
        """An attempt was answered after ``seconds``."""


class Fixed:
    """The timeout that many a program begins with, and stays with."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def limit(self) -> float:
        """The timeout."""
        return self._timeout

    def answered(self, seconds: float) -> None:
        """Nothing is learned."""


class UsualRule:
    """1.5 × the 99th percentile of the last 200 answers. It counts only answers, as it is usually written."""

    def __init__(self, timeout: float) -> None:
        """timeout: until ``FIRST`` answers are known."""
        self._limit = timeout
        self._answers: deque[float] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()

    def limit(self) -> float:
        """The timeout."""
        return self._limit

    def answered(self, seconds: float) -> None:
        """Learn from an answer."""
        with self._lock:
            self._answers.append(seconds)
            if len(self._answers) >= FIRST:
                ordered = sorted(self._answers)
                self._limit = FACTOR * ordered[round(QUANTILE * (len(ordered) - 1))]


RULES: dict[str, Callable[[float], Rule]] = {"fixed": Fixed, "rule": UsualRule}


def sync_loop(web: Web, recording: Recording, rule: Rule, seed: int) -> SyncCall:
    """A function that tries up to ``1 + RETRIES`` times, with the pauses that POET makes."""
    coin = random.Random(f"{seed} {web.arm} {recording.name}")

    def call(number: int) -> str:
        for failures in range(1, RETRIES + 2):
            began = time.monotonic()
            try:
                answer = web.get(recording.name, number, rule.limit())
            except FAILURES:
                if failures > RETRIES:
                    raise
                time.sleep(_pause(recording, failures, coin))
            else:
                rule.answered(time.monotonic() - began)
                return answer
        raise AssertionError("the last attempt returns or raises")

    return call


def async_loop(web: Web, recording: Recording, rule: Rule, seed: int) -> AsyncCall:
    """The same for the event loop."""
    coin = random.Random(f"{seed} {web.arm} {recording.name}")

    async def call(number: int) -> str:
        for failures in range(1, RETRIES + 2):
            began = time.monotonic()
            try:
                answer = await web.get_async(recording.name, number, rule.limit())
            except FAILURES:
                if failures > RETRIES:
                    raise
                await asyncio.sleep(_pause(recording, failures, coin))
            else:
                rule.answered(time.monotonic() - began)
                return answer
        raise AssertionError("the last attempt returns or raises")

    return call


def rule_of(arm: str, recording: Recording) -> Rule:
    """The arm's rule for a service, from the timeout that all arms begin with."""
    return RULES[arm](TIMEOUT / recording.speed_up)


def _pause(recording: Recording, failures: int, coin: random.Random) -> float:
    return full_jitter(BACKOFF / recording.speed_up, failures, coin.random())
