"""What a simulated service does with a request, and the dice that decide it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple
from zlib import crc32

import numpy as np

from poet.settings import BACKOFF_CAP

ATTEMPTS = 7  # most attempts of a call that the dice provide for: five retries, one more as a probe, and the first
ERROR_CEILING = 0.95  # no load drives the share of errors beyond this [1]


class Plan(NamedTuple):
    """The operational parameters of one call."""

    timeout: float  # limit of each attempt, > 0 [s]
    retries: int  # attempts after the first, in [0, ATTEMPTS - 1]
    backoff: float = 0.0  # upper bound of the pause before the first retry, >= 0 [s]; it doubles with each retry
    hedge_delay: float = 0.0  # a second copy is sent after this, >= 0 [s]; 0, or >= timeout: none is sent

    def longest_pause(self, retry: int) -> float:
        """Upper bound of the pause before ``retry`` >= 1 [s]; the pause itself is uniform between 0 and this.

        >>> Plan(1.0, 3, 0.5).longest_pause(3)
        2.0
        """
        return min(BACKOFF_CAP, self.backoff * 2.0 ** (retry - 1))

    @property
    def hedged(self) -> bool:
        """Whether a second copy may be sent."""
        return 0.0 < self.hedge_delay < self.timeout

    @classmethod
    def of(cls, parameters: Mapping[str, object]) -> Plan:
        """The plan among ``parameters``; other names are ignored.

        Raises ValueError where a value is missing or out of range.
        """
        try:
            plan = cls(
                float(parameters["timeout"]),  # type: ignore[arg-type]  # what is no number raises below
                int(parameters["retries"]),  # type: ignore[call-overload]
                float(parameters.get("backoff", 0.0)),  # type: ignore[arg-type]
                float(parameters.get("hedge_delay", 0.0)),  # type: ignore[arg-type]
            )
        except (KeyError, TypeError) as fault:
            raise ValueError(f"a plan needs numbers for timeout and retries, got {dict(parameters)!r}") from fault
        return plan.check()

    def check(self) -> Plan:
        """This plan. Raises ValueError where a value is out of range."""
        if not (0 < self.timeout < math.inf):
            raise ValueError(f"timeout must be > 0 and finite, got {self.timeout!r}")
        if not 0 <= self.retries < ATTEMPTS:
            raise ValueError(f"retries must be in [0, {ATTEMPTS - 1}], got {self.retries!r}")
        for name in ("backoff", "hedge_delay"):
            if not (0 <= getattr(self, name) < math.inf):
                raise ValueError(f"{name} must be >= 0 and finite, got {getattr(self, name)!r}")
        return self


class Mode(NamedTuple):
    """One log-normal part of a mixture of latencies."""

    share: float  # of the mixture, in (0, 1] [1]
    median: float  # > 0 [s]
    sigma: float  # standard deviation of the logarithm, > 0 [1]


QUICK_ERROR = Mode(1.0, 0.05, 0.5)


@dataclass(frozen=True)
class Service:
    """A service at one instant. Frozen and hashable, so that what was computed of it can be kept.

    latency: mixture of the attempts that would succeed; shares sum to 1.
    hang: share of those that never answer, in [0, 1).
    error: share of attempts that fail in a way that another attempt may mend, in [0, ERROR_CEILING].
    error_latency: how long an error takes; its share is 1.
    permanent: share of calls whose attempts all fail, in [0, 1). The caller cannot tell them from other errors.
    persistence: seconds by which the cause of an error has faded to 1/e, >= 0. Right after an error the next attempt
        fails for certain, after a pause w with probability ``error + (1 - error) * exp(-w / persistence)``.
        0: errors come independently.
    work: what the *call* contributes to the latency of its successful attempts, as a factor: the sigma of a log-normal
        of median 1, or (share, factor) pairs. 0.0: nothing. It is the same for all attempts of a call.
    """

    latency: tuple[Mode, ...]
    hang: float = 0.0
    error: float = 0.0
    error_latency: Mode = QUICK_ERROR
    permanent: float = 0.0
    persistence: float = 0.0
    work: float | tuple[tuple[float, float], ...] = 0.0

    def __post_init__(self) -> None:
        if not math.isclose(sum(mode.share for mode in self.latency), 1.0, abs_tol=1e-9):
            raise ValueError(f"the shares of latency must sum to 1, got {self.latency!r}")
        for mode in (*self.latency, self.error_latency):
            if not (mode.median > 0 and mode.sigma > 0 and mode.share > 0):
                raise ValueError(f"share, median and sigma of a mode must be > 0, got {mode!r}")
        for name, ceiling in (("hang", 1.0), ("error", ERROR_CEILING), ("permanent", 1.0)):
            if not 0 <= getattr(self, name) <= ceiling:
                raise ValueError(f"{name} must be in [0, {ceiling:g}], got {getattr(self, name)!r}")
        if not self.persistence >= 0:
            raise ValueError(f"persistence must be >= 0 seconds, got {self.persistence!r}")
        if isinstance(self.work, tuple):
            if not math.isclose(sum(share for share, _ in self.work), 1.0, abs_tol=1e-9):
                raise ValueError(f"the shares of work must sum to 1, got {self.work!r}")
        elif not self.work >= 0:
            raise ValueError(f"work must be >= 0 as a sigma, got {self.work!r}")

    def slowed(self, factor: float, *, errors: float = 0.0) -> Service:
        """This service with latencies ``factor`` > 0 times as long and ``errors`` more of errors.

        How long an error takes stays: a service that is full says so at once.
        """
        if factor == 1.0 and errors == 0.0:
            return self
        return replace(
            self,
            latency=tuple(mode._replace(median=mode.median * factor) for mode in self.latency),
            error=min(ERROR_CEILING, self.error + errors),
        )

    def error_after(self, pause: float) -> float:
        """Probability that an attempt errs which starts ``pause`` >= 0 seconds after an error [1]."""
        if self.persistence == 0.0:
            return self.error
        return self.error + (1.0 - self.error) * math.exp(-pause / self.persistence)

    def error_after_pause_up_to(self, bound: float) -> float:
        """The mean of ``error_after`` over a pause that is uniform between 0 and ``bound`` >= 0 seconds [1]."""
        if self.persistence == 0.0:
            return self.error
        ratio = bound / self.persistence
        faded = -math.expm1(-ratio) / ratio if ratio > 0.0 else 1.0  # mean of exp(-w / persistence)
        return self.error + (1.0 - self.error) * faded

    @cached_property
    def _ends(self) -> list[float]:
        """Cumulative shares of the latency's modes."""
        return list(accumulate(mode.share for mode in self.latency))

    def factor(self, normal: float) -> float:
        """The call's work factor at a standard normal draw [1]."""
        if not isinstance(self.work, tuple):
            return math.exp(self.work * normal) if self.work else 1.0
        ends = list(accumulate(share for share, _ in self.work))
        return self.work[_place(ends, 0.5 * math.erfc(-normal / math.sqrt(2.0)))][1]

    def seconds(self, uniform: float, normal: float, hang: float) -> float:
        """How long a successful attempt takes by these draws, for a call of factor 1 [s]; infinite where it hangs."""
        if hang < self.hang:
            return math.inf
        mode = self.latency[_place(self._ends, uniform)]
        return mode.median * math.exp(mode.sigma * normal)

    def error_seconds(self, normal: float) -> float:
        """How long an error takes by this draw [s]."""
        return self.error_latency.median * math.exp(self.error_latency.sigma * normal)


def _place(ends: Sequence[float], uniform: float) -> int:
    """Index of the part that ``uniform`` falls into; the last one takes what rounding leaves over."""
    return min(bisect_left(ends, uniform), len(ends) - 1)


class Draws(NamedTuple):
    """The dice of one call. Rows are attempts, columns are the request and its hedged copy."""

    permanent: float  # uniform
    work: float  # normal
    mode: list[list[float]]  # uniform
    normal: list[list[float]]
    hang: list[list[float]]  # uniform
    error: list[list[float]]  # uniform
    error_normal: list[list[float]]
    jitter: list[float]  # uniform, one for the pause before each attempt


class Dice:
    """Common random numbers: whatever a policy does, attempt k of call t meets the same luck.

    So the difference between two policies is theirs, not the dice's, and needs far fewer calls to show.
    """

    def __init__(self, seed: int, name: str, calls: int) -> None:
        """seed, name: the stream; another name gives other dice. calls: how many, >= 0."""
        rng = np.random.default_rng([seed, crc32(name.encode())])
        shape = (calls, ATTEMPTS, 2)
        self._permanent, self._work = rng.random(calls), rng.standard_normal(calls)
        self._mode, self._normal = rng.random(shape), rng.standard_normal(shape)
        self._hang, self._error = rng.random(shape), rng.random(shape)
        self._error_normal, self._jitter = rng.standard_normal(shape), rng.random((calls, ATTEMPTS))

    def call(self, t: int) -> Draws:
        """The draws of call ``t``, in [0, calls)."""
        return Draws(
            float(self._permanent[t]),
            float(self._work[t]),
            self._mode[t].tolist(),
            self._normal[t].tolist(),
            self._hang[t].tolist(),
            self._error[t].tolist(),
            self._error_normal[t].tolist(),
            self._jitter[t].tolist(),
        )
