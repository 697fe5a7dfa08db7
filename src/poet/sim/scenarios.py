"""Named situations: a service that may change from call to call, and what its caller cares for."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from poet.model.objective import Objective
from poet.sim.services import Mode, Plan, Service

START = Plan(timeout=30.0, retries=3, backoff=1.0)  # what every learner starts from
AnyLoad = TypeVar("AnyLoad", float, NDArray[np.float64])
LOAD_STEP = 0.01  # loads are rounded to this, so that few distinct services arise


@dataclass(frozen=True, slots=True)
class Overload:
    """How a service suffers from our own requests: the share of its capacity that is left sets its pace.

    utilisation: share of the capacity that one request per call takes, in (0, 1) [1].
    half_life: calls until an old request weighs one half in the load.
    bursts: (first call, call after the last, factor): there the same load weighs ``factor`` times as much.

    Latency follows the M/M/1 queue, ``(1 - utilisation) / (1 - u)`` with u capped at 0.97; from u = 0.85 on requests
    are also turned away, up to 60 % of them.
    """

    utilisation: float = 0.75
    half_life: float = 30.0
    bursts: tuple[tuple[int, int, float], ...] = ()

    def burst(self, t: int) -> float:
        """The factor of the burst at call ``t``; 1 outside of bursts."""
        return math.prod((factor for first, end, factor in self.bursts if first <= t < end), start=1.0)

    def effect(self, load: float, burst: float) -> tuple[float, float]:
        """(latency factor, added error share) at ``load`` requests per call, >= 1."""
        u = self.utilisation * load * burst
        slower = (1.0 - self.utilisation) / (1.0 - min(u, 0.97))
        return slower, min(0.6, max(0.0, (u - 0.85) / 0.15 * 0.5))

    def folded(self, load: AnyLoad, requests: AnyLoad) -> AnyLoad:
        """The load after a call of ``requests`` [requests per call]; numbers or arrays."""
        keep: float = 0.5 ** (1.0 / self.half_life)
        return keep * load + (1.0 - keep) * requests


@dataclass(frozen=True, slots=True)
class Scenario:
    """A service over ``calls`` calls, and the objective of who calls it.

    at: the service that call ``t`` >= 0 meets. Equal instants should give equal services: they are evaluated once.
    """

    name: str
    at: Callable[[int], Service]
    objective: Objective
    calls: int = 5000
    overload: Overload | None = None

    def service(self, t: int, load: float = 1.0) -> Service:
        """The service at call ``t`` under our own ``load`` [requests per call], which counts for an overload only."""
        service = self.at(t)
        if self.overload is None:
            return service
        return loaded(service, self.overload, round((load - 1.0) / LOAD_STEP), self.overload.burst(t))


@lru_cache(maxsize=4096)
def loaded(service: Service, overload: Overload, steps: int, burst: float) -> Service:
    """``service`` under a load that is ``steps`` times ``LOAD_STEP`` above one request per call."""
    load = 1.0 + steps * LOAD_STEP
    factor, errors = overload.effect(load, burst)
    return service.slowed(factor, errors=errors)


def _always(service: Service) -> Callable[[int], Service]:
    return lambda _t: service


def _scenario(
    name: str,
    at: Service | Callable[[int], Service],
    latency_cost: float,
    attempt_cost: float,
    overload: Overload | None = None,
) -> Scenario:
    objective = Objective(latency_cost=latency_cost, attempt_cost=attempt_cost)
    return Scenario(name, _always(at) if isinstance(at, Service) else at, objective, overload=overload)


_QUICK = Service((Mode(1.0, 0.2, 0.5),), hang=0.01, error=0.02)
_SLOW = Service((Mode(1.0, 3.0, 0.5),), hang=0.01, error=0.02)


def _regime_shift(t: int) -> Service:
    return _SLOW if 1500 <= t < 3500 else _QUICK


@lru_cache(maxsize=128)
def _time_of_day(phase: float) -> Service:
    factor = math.exp(1.1 * phase)
    modes = (Mode(0.97, 0.3 * factor, 0.4), Mode(0.03, 2.0 * factor, 0.5))
    return Service(modes, hang=0.004, error=0.02 + 0.08 * max(0.0, phase))


def _diurnal(t: int) -> Service:
    # In steps of 25 calls: 60 services a period, each evaluated once; rounding makes the same hour the same service.
    return _time_of_day(round(math.sin(2.0 * math.pi * (t // 25 * 25) / 1500.0), 9))


_TWELVE = (
    # Fast, with a rare slow path: a short limit pays.
    _scenario(
        "fast_api",
        Service((Mode(0.97, 0.08, 0.4), Mode(0.03, 0.8, 0.6)), 0.002, 0.01, Mode(1.0, 0.03, 0.5), permanent=0.005),
        1.0,
        0.03,
    ),
    # Slow and dear, hangs in 4 %: the default of 30 s is not far off, a retry costs.
    _scenario(
        "slow_llm",
        Service((Mode(0.9, 6.0, 0.5), Mode(0.1, 20.0, 0.4)), 0.04, 0.03, Mode(1.0, 0.3, 0.5), permanent=0.005),
        0.03,
        0.08,
    ),
    # Two modes by attempt: giving up on the slow one pays ...
    _scenario("bimodal", Service((Mode(0.7, 0.05, 0.3), Mode(0.3, 1.5, 0.3)), 0.005, 0.01), 0.4, 0.03),
    # ... and the same modes by call: a slow input is slow again, giving up never pays.
    _scenario("bimodal_key", Service((Mode(1.0, 0.05, 0.3),), 0.005, 0.01, work=((0.7, 1.0), (0.3, 30.0))), 0.3, 0.03),
    _scenario("heavy_tail", Service((Mode(0.95, 0.3, 0.4), Mode(0.05, 5.0, 1.3)), 0.01, 0.005), 0.2, 0.03),
    # Errors that go away at once: what was never retried is never known to be worth a retry.
    _scenario("flaky20", Service((Mode(1.0, 0.25, 0.4),), 0.003, 0.2, Mode(1.0, 0.1, 0.5), permanent=0.02), 0.3, 0.04),
    # Our own retries make it worse.
    _scenario(
        "overload",
        Service((Mode(1.0, 0.3, 0.5),), 0.001, 0.03, Mode(1.0, 0.1, 0.5)),
        0.2,
        0.005,
        Overload(0.75, 30.0, ((800, 950, 1.35), (3000, 3150, 1.35))),
    ),
    _scenario("regime_shift", _regime_shift, 0.08, 0.04),
    _scenario("diurnal", _diurnal, 0.3, 0.04),
    # Latency belongs almost wholly to the call.
    _scenario("corr_input", Service((Mode(1.0, 0.8, 0.15),), 0.01, 0.01, work=1.0), 0.05, 0.04),
    # Errors that last about two seconds: waiting pays.
    _scenario(
        "sticky_err", Service((Mode(1.0, 0.3, 0.4),), 0.003, 0.08, Mode(1.0, 0.1, 0.5), persistence=2.0), 0.05, 0.02
    ),
    # Errors that no retry mends.
    _scenario(
        "perm_heavy", Service((Mode(1.0, 0.5, 0.4),), 0.005, 0.03, Mode(1.0, 0.4, 0.4), permanent=0.15), 0.15, 0.06
    ),
)
SCENARIOS = MappingProxyType({scenario.name: scenario for scenario in _TWELVE})


def step_slowdown(factor: float) -> Scenario:
    """The lock-out: a median of 0.1 s (sigma 0.5) for 3000 calls, then ``factor`` > 0 times that for 4000.

    A limit that follows the latencies of successes sees none any more once it is too short, and stays so for ever.
    A second costs 0.05, so that an answer is worth waiting for up to about ``factor`` 150.
    """
    before = Service((Mode(1.0, 0.1, 0.5),))
    after = before.slowed(factor)
    objective = Objective(latency_cost=0.05, attempt_cost=0.03)
    return Scenario(f"step_slowdown_{factor:g}", lambda t: before if t < 3000 else after, objective, calls=7000)


def random_service(seed: int, calls: int = 2000) -> Scenario:
    """A service drawn at random, for figures that nothing was tuned on; every odd ``seed`` >= 0 changes its regime.

    Medians of 0.03 to 5 s in one to three modes, up to 3 % hangs, 15 % errors and 5 % permanent errors; a third each
    has errors that persist and latency that belongs to the call. The objective's scales follow the median. The change,
    between 30 % and 70 % of the calls, multiplies latencies by 1/4 to 6 and draws hangs and errors anew.
    """
    rng = np.random.default_rng([seed, 0x5E41])
    before = _drawn(rng)
    typical = sum(mode.share * mode.median for mode in before.latency)
    objective = Objective(
        latency_cost=round(float(rng.uniform(0.03, 0.15)) / typical, 4), attempt_cost=float(rng.uniform(0.01, 0.08))
    )
    change = int(rng.uniform(0.3, 0.7) * calls) if seed % 2 else calls
    anew = _drawn(rng)
    moved = before.slowed(_between(rng, 0.25, 6.0))
    after = Service(
        moved.latency, anew.hang, anew.error, before.error_latency, before.permanent, before.persistence, before.work
    )
    return Scenario(f"random_{seed}", lambda t: before if t < change else after, objective, calls=calls)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform in [low, high]."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _drawn(rng: np.random.Generator) -> Service:
    median = _between(rng, 0.03, 5.0)
    minor = [float(rng.uniform(0.02, 0.3)) for _ in range(int(rng.integers(0, 3)))]
    modes = [Mode(1.0 - sum(minor), median, float(rng.uniform(0.2, 0.7)))]
    modes += [Mode(share, median * _between(rng, 2.0, 30.0), float(rng.uniform(0.2, 0.9))) for share in minor]
    return Service(
        tuple(modes),
        hang=float(rng.uniform(0.0, 0.03)),
        error=float(rng.uniform(0.0, 0.15)),
        error_latency=Mode(1.0, median * _between(rng, 0.1, 1.0), 0.5),
        permanent=float(rng.uniform(0.0, 0.05)),
        persistence=_between(rng, 0.3, 5.0) if rng.random() < 1 / 3 else 0.0,
        work=float(rng.uniform(0.2, 1.0)) if rng.random() < 1 / 3 else 0.0,
    )
