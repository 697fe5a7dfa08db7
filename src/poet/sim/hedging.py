"""A service with stragglers, and workers that hedge: the workload on which hedging rules are compared.

The figures are those of the benchmark in the public repository bhope/hedge (``benchmark/simulate``): 50 000 requests by
20 workers, log-normal latency of mean 5 ms and standard deviation 2 ms, and one request in twenty takes ten times as
long. What its README gives for four rules stands in ``PUBLISHED``. Ours differs in that nothing but the service takes
time: no network, no timer that fires late; so a rule's figures are some tenths of a millisecond better here.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from poet.model.execution import Attempt, Execution, Outcome
from poet.settings import BACKOFF_CAP
from poet.sim.play import Policy

Floats = NDArray[np.float64]
REQUESTS = 24  # of one call that the dice provide for: eight attempts with two copies each


class Figures(NamedTuple):
    """How a rule fared."""

    p99: float  # of the calls' durations [s]
    p999: float  # [s]
    extra: float  # requests beyond one per call, as a share of the calls


PUBLISHED: Mapping[str, Figures] = {
    "no hedging": Figures(0.0643, 0.1045, 0.0),
    "static 10 ms": Figures(0.0174, 0.0465, 0.074),
    "static 50 ms": Figures(0.0547, 0.0602, 0.021),
    "learned p90": Figures(0.0170, 0.0594, 0.089),
}


class Workload(NamedTuple):
    """How long requests take, and who makes them."""

    calls: int = 50_000
    workers: int = 20  # calls that are under way at any time
    mean: float = 0.005  # of the usual latency, log-normal, > 0 [s]
    deviation: float = 0.002  # its standard deviation, > 0 [s]
    stragglers: float = 0.05  # share of the requests that are slow, in [0, 1]
    factor: float = 10.0  # by which they are, > 0 [1]
    by_call: bool = False  # whether slowness lies in the call: then all its requests take as long
    slower: float = 1.0  # factor on all latencies from the middle on, > 0 [1]

    def latencies(self, seed: int) -> Floats:
        """How long each request of each call takes: (calls, REQUESTS) [s].

        Row and column count calls and requests, whether these are retries or copies: every rule meets the same dice.
        """
        rng = np.random.default_rng(seed)
        spread = math.sqrt(math.log1p((self.deviation / self.mean) ** 2))
        shape = (self.calls, 1 if self.by_call else REQUESTS)
        usual = np.exp(math.log(self.mean) - spread**2 / 2 + spread * rng.standard_normal(shape))
        seconds = np.where(rng.random(shape) < self.stragglers, self.factor * usual, usual)
        seconds[self.calls // 2 :] *= self.slower
        return np.broadcast_to(seconds, (self.calls, REQUESTS)).copy()

    def pauses(self, seed: int) -> Floats:
        """How long the pause before each retry is, as a share of its bound: (calls, REQUESTS) [1]."""
        return np.random.default_rng([seed, 1]).random((self.calls, REQUESTS))


class Life(NamedTuple):
    """A rule's life in a workload: one entry a call in each array, in the order in which they began."""

    seconds: Floats  # [s]
    requests: NDArray[np.int64]
    copies: NDArray[np.int64]
    hedges: NDArray[np.int64]  # in force when the call began
    hedge_delay: Floats  # [s]

    def figures(self, first: int = 0, last: int | None = None) -> Figures:
        """How the rule fared in the calls from ``first`` up to ``last``."""
        return _figures(self.seconds[first:last], float(self.requests[first:last].mean()) - 1.0)


def _figures(seconds: Floats, extra: float) -> Figures:
    """Quantiles as in the published benchmark: of the durations in order, the one at the share of the last place."""
    ordered, last = np.sort(seconds), len(seconds) - 1
    return Figures(float(ordered[int(0.99 * last)]), float(ordered[int(0.999 * last)]), extra)


def standing(latencies: Floats, delay: float, copies: int) -> Figures:
    """How a fixed delay [s] with up to two ``copies`` would fare, without a limit: as ``live`` would play it."""
    ends, extra = latencies[:, 0], 0
    for copy in range(1, copies + 1):
        sent = ends > copy * delay
        ends = np.where(sent, np.minimum(ends, copy * delay + latencies[:, copy]), ends)
        extra += int(sent.sum())
    return _figures(ends, extra / len(ends))


def numbers(values: Mapping[str, object]) -> dict[str, float]:
    """Those of ``values`` that are numbers."""
    return {name: float(value) for name, value in values.items() if isinstance(value, int | float)}


def perform(values: Mapping[str, object], latencies: Sequence[float], pauses: Sequence[float]) -> tuple[Attempt, ...]:
    """The attempts of one call, as the call path makes them: its requests take ``latencies`` in turn [s].

    values: ``timeout``, ``retries``, ``backoff``, ``hedges`` and ``hedge_delay``, and for this call alone, as in
        ``poet.sim.play``, ``limit_stretch``, ``extra_retry`` and ``calm``.
    pauses: before each retry, as a share of its bound.
    """
    known = numbers(values)
    timeout, backoff = known["timeout"] * known.get("limit_stretch", 1.0), known.get("backoff", 0.0)
    retries = int(known["retries"] + known.get("extra_retry", 0))
    hedges, delay, dice = int(known.get("hedges", 0)), known.get("hedge_delay", 0.0), iter(latencies)
    if values.get("calm", False):
        retries = hedges = 0
    attempts: list[Attempt] = []
    for retry in range(retries + 1):
        pause = pauses[retry] * min(BACKOFF_CAP, backoff * 2.0 ** (retry - 1)) if retry else 0.0
        ends, sent = [next(dice)], 0
        while sent < hedges and 0.0 < (sent + 1) * delay < min(*ends, timeout):
            sent += 1
            ends.append(sent * delay + next(dice))
        end = min(ends)
        winner = ends.index(end) if end <= timeout else None
        end = min(end, timeout)
        own = Outcome.SUCCESS if winner == 0 else Outcome.TIMEOUT if winner is None else Outcome.CANCELLED
        attempts.append(Attempt(own, end, pause))
        attempts += [
            Attempt(Outcome.SUCCESS if copy == winner else Outcome.CANCELLED, end - copy * delay, copy * delay, True)
            for copy in range(1, sent + 1)
        ]
        if winner is not None:
            break
    return tuple(attempts)


def live(workload: Workload, policy: Policy, seed: int) -> Life:
    """Let ``workers`` make all calls under the values in force when each begins; ``policy`` hears of it at its end."""
    latencies, pauses = workload.latencies(seed), workload.pauses(seed)
    n = workload.calls
    life = Life(np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n))
    ends = [(0.0, -1 - worker) for worker in range(workload.workers)]  # when a worker is free, and the call it ended
    running: dict[int, Execution] = {}
    for call in range(n):
        now, ended = heapq.heappop(ends)
        if ended >= 0:
            policy.observe(running.pop(ended))
        values = policy.parameters(call)
        attempts = perform(values, latencies[call].tolist(), pauses[call].tolist())
        seconds = sum(attempt.seconds + attempt.waited for attempt in attempts if not attempt.hedge)
        good = any(attempt.outcome is Outcome.SUCCESS for attempt in attempts)
        outcome = Outcome.SUCCESS if good else Outcome.TIMEOUT
        running[call] = Execution("sim", call, now, seconds, outcome, 1, attempts)
        heapq.heappush(ends, (now + seconds, call))
        copies = sum(attempt.hedge for attempt in attempts)
        life.seconds[call], life.requests[call], life.copies[call] = seconds, len(attempts), copies
        plan = numbers(values)
        life.hedges[call], life.hedge_delay[call] = int(plan.get("hedges", 0)), plan.get("hedge_delay", 0.0)
    return life
