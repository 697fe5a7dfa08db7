"""The deadline that holds where the caller stands, carried by the context into nested calls and tasks."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextvars import ContextVar
from time import monotonic

NEVER = math.inf
DEADLINE: ContextVar[float] = ContextVar("poet_deadline", default=NEVER)
TIME: ContextVar[Callable[[], float]] = ContextVar("poet_time", default=monotonic)  # set only by virtual clocks


def deadline() -> float | None:
    """The moment by which the current attempt must end, on ``time.monotonic``'s scale [s]; None outside an attempt."""
    moment = DEADLINE.get()
    return None if moment == NEVER else moment


def remaining() -> float | None:
    """Seconds that the current attempt may still take, >= 0; None outside an attempt.

    Made to be handed on: ``httpx.get(url, timeout=poet.remaining())``.
    """
    moment = DEADLINE.get()
    return None if moment == NEVER else max(0.0, moment - TIME.get()())
