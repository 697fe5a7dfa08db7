"""What a function calls, and the brakes that all its callers share."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from poet.errors import ConfigurationError


def _share(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise ConfigurationError(f"{name} must be in (0, 1], got {value!r}")


def _span(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigurationError(f"{name} must be a finite number of seconds > 0, got {value!r}")


def _count(name: str, value: object, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigurationError(f"{name} must be a whole number >= {least}, got {value!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many extra requests, retries and hedges together, may go to a dependency.

    Within ``window`` seconds: at most ``share`` of the calls made in it, but ``floor`` in any case. Retries of a call
    that succeeds in the end are given back: what is limited are those in vain. Hedges give nothing back.

    share: in [0, 1] [1]. floor: >= 0, so that a lone caller still may retry. window: > 0 [s].
    """

    share: float = 0.1
    floor: int = 10
    window: float = 10.0

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not isinstance(self.share, int | float) or not 0 <= self.share <= 1:
            raise ConfigurationError(f"share must be in [0, 1], got {self.share!r}")
        _count("floor", self.floor, least=0)
        _span("window", self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """When calls to a dependency are no longer made, and for how long.

    ``closed``: calls are made. ``open``, for ``open_for`` seconds: they fail at once. Then ``half_open``: one attempt
    is let through, and its end closes the circuit or opens it again.

    failure_rate: share of failed attempts among the last ``window`` that opens it, in (0, 1].
    slow_after: an answer that takes longer is slow, > 0 [s]; None: none is. slow_rate: share of slow ones, the failed
        included, that opens it, in (0, 1].
    window: attempts that are looked at, not older than ``max_age`` seconds; ``min_calls``: with fewer it stays closed.
    open_for: > 0 [s].
    """

    failure_rate: float = 0.5
    slow_after: float | None = None
    slow_rate: float = 0.8
    window: int = 100
    max_age: float = 60.0
    min_calls: int = 10
    open_for: float = 30.0

    def __post_init__(self) -> None:
        _share("failure_rate", self.failure_rate)
        _share("slow_rate", self.slow_rate)
        if self.slow_after is not None:
            _span("slow_after", self.slow_after)
        _count("window", self.window)
        _count("min_calls", self.min_calls)
        _span("max_age", self.max_age)
        _span("open_for", self.open_for)
        if self.min_calls > self.window:
            raise ConfigurationError(
                f"min_calls must be at most window, else it never opens: {self.min_calls} > {self.window}"
            )


@dataclass(frozen=True, slots=True)
class Dependency:
    """What one or several functions call: all that name it share one budget, one breaker, one limit.

    name: not empty. breaker: None: none. concurrency: attempts that may run at once, >= 1; None: any number.
    """

    name: str
    budget: Budget = field(default=Budget(), kw_only=True)
    breaker: Breaker | None = field(default=None, kw_only=True)
    concurrency: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigurationError(f"a dependency needs a name, which its callers share, got {self.name!r}")
        for name, kind in (("budget", Budget), ("breaker", Breaker)):
            value = getattr(self, name)
            if not (isinstance(value, kind) or (value is None and name == "breaker")):
                raise ConfigurationError(f"{name} must be a poet.{kind.__name__}, got {value!r}")
        if self.concurrency is not None:
            _count("concurrency", self.concurrency)
