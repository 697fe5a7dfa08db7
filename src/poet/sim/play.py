"""Lets a policy live through a scenario on a virtual clock, and tells what it got and what it could have had."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, get_type_hints

import numpy as np
from numpy.typing import NDArray

from poet.model.execution import Attempt, Execution, Outcome
from poet.sim.evaluate import expected_utility
from poet.sim.scenarios import START, Scenario
from poet.sim.services import Dice, Draws, Plan, Service
from poet.testing.clock import VirtualClock

Floats = NDArray[np.float64]
WRITER = "sim"


class Policy(Protocol):
    """What chooses the parameters of each call and hears how it went."""

    def parameters(self, t: int) -> Mapping[str, object]:
        """``timeout``, ``retries``, ``backoff`` and, where wanted, ``hedge_delay`` for call ``t``.

        For this call alone it may probe: ``limit_stretch``, >= 1, multiplies the timeout; ``extra_retry``, 0 or 1, adds
        an attempt where the retries are used up; ``calm`` makes do without retries and copies.
        """

    def observe(self, execution: Execution) -> None:
        """Told of each call when it has ended."""


class Performance(NamedTuple):
    """How one call went."""

    outcome: Outcome
    seconds: float
    requests: int
    attempts: tuple[Attempt, ...]  # one per request: behind an attempt stands its copy, if it sent one


def perform(service: Service, plan: Plan, draws: Draws) -> Performance:
    """One call under ``plan``, by these dice. A permanent error looks like any other to the caller."""
    factor, doomed = service.factor(draws.work), draws.permanent < service.permanent
    seconds = 0.0
    attempts: list[Attempt] = []
    outcome, chance = Outcome.TIMEOUT, service.error
    for k in range(plan.retries + 1):
        pause = draws.jitter[k] * plan.longest_pause(k) if k else 0.0
        if outcome is Outcome.ERROR:
            chance = service.error_after(pause)
        outcome, took, requests = _attempt(service, plan, draws, k, factor, chance, pause, doomed=doomed)
        seconds, chance = seconds + pause + took, service.error
        attempts += requests
        if outcome is Outcome.SUCCESS:
            break
    return Performance(outcome, seconds, len(attempts), tuple(attempts))


def _attempt(
    service: Service, plan: Plan, draws: Draws, k: int, factor: float, chance: float, pause: float, *, doomed: bool
) -> tuple[Outcome, float, tuple[Attempt, ...]]:
    """Attempt ``k``: how it ended, after how long [s], and what became of each of its requests.

    factor: the call's work. chance: probability that it errs; doomed: it errs whatever the chance.
    pause: before it [s].
    """

    def request(copy: int, chance: float) -> tuple[bool, float]:
        if doomed or draws.error[k][copy] < chance:
            return True, service.error_seconds(draws.error_normal[k][copy])
        return False, factor * service.seconds(draws.mode[k][copy], draws.normal[k][copy], draws.hang[k][copy])

    errs, end = request(0, chance)
    if not plan.hedged or end <= plan.hedge_delay:
        outcome = Outcome.TIMEOUT if end > plan.timeout else Outcome.ERROR if errs else Outcome.SUCCESS
        took = min(end, plan.timeout)
        return outcome, took, (Attempt(outcome, took, pause),)
    # What is going to fail the first request has begun already, and fails the copy unless it fades in between.
    copy_errs, lasted = request(1, service.error_after(plan.hedge_delay) if errs else service.error)
    copy_end = plan.hedge_delay + lasted
    answered = min(math.inf if errs else end, math.inf if copy_errs else copy_end)
    if answered <= plan.timeout:
        outcome, took = Outcome.SUCCESS, answered
    elif errs and copy_errs and max(end, copy_end) <= plan.timeout:
        outcome, took = Outcome.ERROR, max(end, copy_end)
    else:
        outcome, took = Outcome.TIMEOUT, plan.timeout
    # What still runs when the attempt is over is given up; at the attempt's limit the first has come to its own.
    given_up = Outcome.TIMEOUT if outcome is Outcome.TIMEOUT else Outcome.CANCELLED
    first = given_up if end > took else Outcome.ERROR if errs else Outcome.SUCCESS
    copy = Outcome.CANCELLED if copy_end > took else Outcome.ERROR if copy_errs else Outcome.SUCCESS
    if first is copy is Outcome.SUCCESS:  # at the very same moment: one answer is used
        copy = Outcome.CANCELLED
    return (
        outcome,
        took,
        (
            Attempt(first, min(end, took), pause),
            Attempt(copy, min(lasted, took - plan.hedge_delay), plan.hedge_delay, hedge=True),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A policy's life in a scenario: one entry a call in every array."""

    expected: Floats  # exact expected utility of what was used, probes included [1]
    utility: Floats  # what it got [1]
    success: NDArray[np.bool_]
    seconds: Floats  # [s]
    requests: NDArray[np.int64]
    timeout: Floats  # of the parameters, without the probe [s]
    retries: NDArray[np.int64]
    backoff: Floats  # [s]
    hedge_delay: Floats  # [s]
    probed: NDArray[np.bool_]  # whether the call looked beyond the parameters
    version: NDArray[np.int64]  # from 1; grows with every change of the parameters
    load: Floats  # our own load that the call met [requests per call]

    def plan(self, t: int) -> Plan:
        """The parameters of call ``t``, without the probe."""
        return Plan(float(self.timeout[t]), int(self.retries[t]), float(self.backoff[t]), float(self.hedge_delay[t]))


def play(
    scenario: Scenario, policy: Policy, seed: int, calls: int | None = None, *, clock: VirtualClock | None = None
) -> Record:
    """Run ``policy`` through the first ``calls`` calls of ``scenario``; None: through all of them.

    seed: of the dice; every policy meets the same luck under the same seed. clock: moved on by each call's duration.
    Calls follow each other without a gap. Raises ValueError where a plan is out of range.
    """
    n = scenario.calls if calls is None else calls
    dice = Dice(seed, scenario.name, n)
    clock = VirtualClock() if clock is None else clock
    rows: list[_Row] = []
    load, version, before = 1.0, 0, None
    for t in range(n):
        parameters = policy.parameters(t)
        plan = Plan.of(parameters)
        used = _probing(plan, parameters)
        version, before = version + (plan != before), plan
        expected = expected_utility(scenario, t, used, load)
        done = perform(scenario.service(t, load), used, dice.call(t))
        started = clock.wall()
        clock.sleep(done.seconds)
        good = done.outcome.good
        utility = scenario.objective.utility(good, done.seconds, done.requests)
        rows.append(_Row(expected, utility, good, done.seconds, done.requests, *plan, used != plan, version, load))
        if scenario.overload is not None:
            load = scenario.overload.folded(load, float(done.requests))
        policy.observe(
            Execution(
                WRITER, t, started, done.seconds, done.outcome, version, done.attempts, _ERRORS.get(done.outcome, "")
            )
        )
    return _record(rows)


_ERRORS = {Outcome.ERROR: "ConnectionError", Outcome.TIMEOUT: "PoetTimeout"}


def _probing(plan: Plan, parameters: Mapping[str, object]) -> Plan:
    """The plan with the call's probe. Raises ValueError where a stretch is below 1 or the retries get too many."""
    stretch = float(parameters.get("limit_stretch", 1.0))  # type: ignore[arg-type]  # what is no number raises
    extra = int(parameters.get("extra_retry", 0))  # type: ignore[call-overload]
    calm = bool(parameters.get("calm", False))
    if not stretch >= 1.0 or extra not in (0, 1):
        raise ValueError(f"a probe needs limit_stretch >= 1 and extra_retry 0 or 1, got {stretch!r} and {extra!r}")
    if calm:
        return plan._replace(timeout=plan.timeout * stretch, retries=0, hedge_delay=0.0).check()
    if stretch == 1.0 and not extra:
        return plan
    return plan._replace(timeout=plan.timeout * stretch, retries=plan.retries + extra).check()


class _Row(NamedTuple):
    """One call of a record."""

    expected: float
    utility: float
    success: bool
    seconds: float
    requests: int
    timeout: float
    retries: int
    backoff: float
    hedge_delay: float
    probed: bool
    version: int
    load: float


_KINDS: Mapping[type, type] = {float: np.float64, int: np.int64, bool: np.bool_}


def _record(rows: list[_Row]) -> Record:
    kinds = get_type_hints(_Row)
    columns: dict[str, Any] = {
        name: np.asarray([row[i] for row in rows], dtype=_KINDS[kinds[name]]) for i, name in enumerate(_Row._fields)
    }
    return Record(**columns)


# --- how good it was --------------------------------------------------------------------------------------------------


def share(record: Record, oracle: Floats) -> float:
    """Mean expected utility as a share of the oracle's over the same calls [1]; 1 is perfect, it may be negative.

    oracle: its utility at each call, at least as many as were played. Raises ValueError where its mean is not > 0:
    there the ratio says nothing, use ``regret``.
    """
    best = float(_same_calls(record, oracle).mean())
    if not best > 0:
        raise ValueError(f"the oracle's mean utility must be > 0 for a share, got {best!r}; use regret()")
    return float(record.expected.mean()) / best


def regret(record: Record, oracle: Floats) -> Floats:
    """What was missed up to and with each call, in units of utility."""
    return np.asarray(np.cumsum(_same_calls(record, oracle) - record.expected))


def _same_calls(record: Record, oracle: Floats) -> Floats:
    n = len(record.expected)
    if len(oracle) < n:
        raise ValueError(f"the oracle covers {len(oracle)} calls, the record {n}: compute it for as many")
    return oracle[:n]


class Change(NamedTuple):
    """The policy changed its parameters before call ``t``."""

    t: int
    gain: float  # expected utility per call of the new ones over the old, at this call [1]


def changes(scenario: Scenario, record: Record) -> list[Change]:
    """All changes of parameters, each with what it truly gained."""
    found = []
    for t in (np.flatnonzero(np.diff(record.version)) + 1).tolist():
        new, old = (expected_utility(scenario, t, record.plan(i), float(record.load[t])) for i in (t, t - 1))
        found.append(Change(t, new - old))
    return found


# --- policies to compare with -----------------------------------------------------------------------------------------


class Fixed:
    """Keeps its parameters."""

    def __init__(
        self,
        timeout: float = START.timeout,
        retries: int = START.retries,
        backoff: float = START.backoff,
        hedge_delay: float = 0.0,
    ) -> None:
        """As in ``Plan``. Raises ValueError where one is out of range."""
        self._parameters: Mapping[str, object] = Plan(timeout, retries, backoff, hedge_delay).check()._asdict()

    def parameters(self, t: int) -> Mapping[str, object]:
        """The same for every call."""
        return self._parameters

    def observe(self, execution: Execution) -> None:
        """Learns nothing."""


class PercentileRule:
    """The usual rule: the limit is ``factor`` times a high quantile of the latest successes' latencies.

    Attempts that timed out are not among them. That is how the rule is mostly written, and its flaw: after a
    slow-down it may see no success any more and keep its limit for ever.
    """

    def __init__(
        self,
        quantile: float = 0.99,
        factor: float = 1.5,
        window: int = 200,
        retries: int = 3,
        backoff: float = 0.1,
        start: float = 30.0,
    ) -> None:
        """quantile: in (0, 1); window: successes remembered; start: the limit until 10 were seen [s]."""
        if not 0 < quantile < 1:
            raise ValueError(f"quantile must be in (0, 1), got {quantile!r}")
        self._quantile, self._factor, self._window = quantile, factor, window
        self._plan = Plan(start, retries, backoff).check()
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def parameters(self, t: int) -> Mapping[str, object]:
        """The rule's values now."""
        n = len(self._sorted)
        if n < 10:
            return self._plan._asdict()
        limit = self._factor * self._sorted[min(math.ceil(self._quantile * n), n) - 1]
        return self._plan._replace(timeout=limit)._asdict()

    def observe(self, execution: Execution) -> None:
        """Remember how long the attempt took that succeeded, if one did."""
        for attempt in execution.attempts:
            if attempt.outcome is Outcome.SUCCESS:
                self._remember(attempt.seconds)

    def _remember(self, seconds: float) -> None:
        self._latest.append(seconds)
        insort(self._sorted, seconds)
        if len(self._latest) > self._window:
            self._sorted.pop(bisect_left(self._sorted, self._latest.popleft()))
