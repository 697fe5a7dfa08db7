"""Where a collector's executions are: in POET's own store, or in a collector that keeps nothing."""

from __future__ import annotations

import copy
import heapq
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from poet.app import Agent, Enrolment
from poet.calls.cell import Channel
from poet.errors import ConfigurationError, PoetError
from poet.legacy.metrics import STAGES, POEAggregateMetrics, POEExecutionMetrics
from poet.model.execution import Attempt, Context, Detail, Execution, Outcome
from poet.model.function import FunctionKey
from poet.options import Options
from poet.seams import FunctionRecord, Store

_TIMEOUTS = ("PoetTimeout", "TimeoutError")
_ENFORCING = ("EnforceError", "OutputValidationError", "ResultRejected")
_FEATURES = (*(f"{stage}_time" for stage in STAGES), "error_stage")  # that an execution has no field of its own for


class Ledger(Protocol):
    """What a collector reads and writes. Safe to use from several threads."""

    def keep(self, told: POEExecutionMetrics) -> None:
        """Keep one. Raises ConfigurationError where its function cannot be one."""

    def sums(self) -> POEAggregateMetrics:
        """Over all since the last ``clear``; the caller's own."""

    def newest(self, count: int) -> list[POEExecutionMetrics]:
        """The newest ``count`` since the last ``clear``, oldest first."""

    def clear(self) -> None:
        """Leave out from now on what there is now."""

    def close(self) -> None:
        """Release what is held."""


class InMemory:
    """Sums and the newest few, of what was told to this very collector; gone with it."""

    def __init__(self, most: int) -> None:
        """most: executions that are kept one by one, and functions that may be told of; both >= 1."""
        self._newest: deque[POEExecutionMetrics] = deque(maxlen=most)
        self._sums = POEAggregateMetrics()
        self._most = most
        self._lock = threading.Lock()

    def keep(self, told: POEExecutionMetrics) -> None:
        """Keep one. Raises ConfigurationError where it names one function too many."""
        with self._lock:
            if told.function_name not in self._sums.function_stats:
                refuse_one_too_many(len(self._sums.function_stats), self._most, told.function_name)
            self._sums.add_execution(told)
            self._newest.append(told)

    def sums(self) -> POEAggregateMetrics:
        """Over all since the last ``clear``."""
        with self._lock:
            return copy.deepcopy(self._sums)

    def newest(self, count: int) -> list[POEExecutionMetrics]:
        """The newest ``count`` since the last ``clear``, oldest first."""
        with self._lock:
            return list(self._newest)[-count:]

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._sums = POEAggregateMetrics()
            self._newest.clear()

    def close(self) -> None:
        """Nothing is held."""


class InStore:
    """The executions of an agent's store, those of decorated functions and those it is told of.

    What it is told goes the way of a call: into a buffer, from there by the agent's trainer into the store. So keeping
    one costs no I/O, and a store that is away costs executions only when the buffer is full. Questions read the store,
    every execution of it: some microseconds each.
    """

    def __init__(self, agent: Agent, most: int) -> None:
        """most: functions that may be told of, >= 1."""
        self._agent, self._most = agent, most
        self._told: dict[FunctionKey, Enrolment] = {}
        self._cleared: dict[FunctionKey, dict[str, int]] = {}  # by writer the newest sequence that does not count
        self._lock = threading.Lock()

    def keep(self, told: POEExecutionMetrics) -> None:
        """Keep one; a fault of the store is counted as one, and logged once. Raises ConfigurationError."""
        agent = self._agent
        key = FunctionKey("", told.function_name, f"{zlib.crc32(repr(told.domain).encode()):08x}")
        enrolment = self._told.get(key) or self._enrolled(key, told)
        try:
            if agent.settings.learning == "off":
                return
            end, channel = agent.clock.now(), enrolment.channel
            channel.keep((channel.count(), end - told.total_time, end, 0, _detail(told)))
            if agent.trainer is None or key not in agent.trainer.trainees:
                agent.trainee(enrolment)
        except PoetError as error:
            agent.fault("recording", error)

    def sums(self) -> POEAggregateMetrics:
        """Over all since the last ``clear``. Raises StoreError."""
        sums = POEAggregateMetrics()
        for told in self._all():
            sums.add_execution(told)
        return sums

    def newest(self, count: int) -> list[POEExecutionMetrics]:
        """The newest ``count`` since the last ``clear``, oldest first. Raises StoreError."""
        return heapq.nlargest(count, self._all(count), key=lambda told: told.timestamp)[::-1]

    def clear(self) -> None:
        """Leave out from now on what is stored now; the store keeps it. Raises StoreError."""
        store = self._store()
        for record in [] if store is None else store.functions():
            newest = self._cleared.setdefault(record.key, {})
            for execution in store.executions(record.key) if store is not None else ():
                newest[execution.writer] = max(newest.get(execution.writer, -1), execution.sequence)

    def close(self) -> None:
        """Store what is left, and release the store."""
        self._agent.close()

    def _enrolled(self, key: FunctionKey, told: POEExecutionMetrics) -> Enrolment:
        with self._lock:
            if key not in self._told:
                refuse_one_too_many(len(self._told), self._most, told.function_name)
                options = Options(
                    retries=told.retries_configured, timeout=told.timeout_configured, domain=told.domain, name=key.name
                )
                agent = self._agent
                made = Enrolment(key, options, Channel(agent.settings.buffer), agent.brakes(None, key.name))
                self._told[key] = agent.enrolments.setdefault(key, made)
            return self._told[key]

    def _store(self) -> Store | None:
        """The store with all executions so far in it; None where nothing is recorded. Raises StoreError."""
        if self._agent.settings.learning == "off":
            return None
        trainer = self._agent.open()
        trainer.flush()
        return trainer.store

    def _all(self, limit: int | None = None) -> Iterator[POEExecutionMetrics]:
        """Those that count; of each function the newest ``limit``."""
        store = self._store()
        if store is None:
            return
        for record in store.functions():
            cleared = self._cleared.get(record.key, {})
            executions = store.executions(record.key, limit=limit)
            for execution in executions:
                if execution.sequence > cleared.get(execution.writer, -1):
                    yield as_told(execution, record)


def as_told(execution: Execution, record: FunctionRecord) -> POEExecutionMetrics:
    """An execution of the store in the original's words."""
    features = dict(execution.context)
    told = POEExecutionMetrics(
        function_name=record.key.name,
        domain=record.domain,
        timestamp=execution.started,
        success=execution.outcome.good,
        total_time=execution.seconds,
        attempts=attempts_of(execution),
        error_type=execution.error or None,
        training_enabled=bool(record.learner),
    )
    retries, timeout = record.declared.get("retries"), record.declared.get("timeout")
    if isinstance(retries, int):
        told.retries_configured = retries
    if isinstance(timeout, int | float):
        told.timeout_configured = float(timeout)
    if not told.success:
        told.error_stage = "enforce" if execution.error in _ENFORCING else "operate"
    if execution.version == 0 and not record.key.module:  # told, not made by a decorated function
        for name in _FEATURES:
            if name in features:
                setattr(told, name, features[name])
    return told


def attempts_of(execution: Execution) -> int:
    """How often the function was run for its own sake: hedges, copies of an attempt, are not counted."""
    return max(1, sum(not attempt.hedge for attempt in execution.attempts))


def refuse_one_too_many(known: int, most: int, name: str) -> None:
    """Raises ConfigurationError where ``known`` functions are as many as may be."""
    if known >= most:
        raise ConfigurationError(
            f"{known} functions were told of, that is max_memory_entries: is {name!r} the name of a function, "
            "or of one of its calls?"
        )


def _detail(told: POEExecutionMetrics) -> Detail:
    """How it went, as the call path would say it.

    Only the sum of the attempts' times is known: each gets an equal share, and no pause is assumed.
    """
    outcome = Outcome.SUCCESS
    if not told.success:
        outcome = Outcome.TIMEOUT if told.error_type in _TIMEOUTS else Outcome.ERROR
    share = told.total_time / told.attempts
    attempts = [Attempt(Outcome.ERROR, share)] * (told.attempts - 1) + [Attempt(outcome, share)]
    features: Context = tuple((name, value) for name in _FEATURES if (value := getattr(told, name)) is not None)
    error = "" if told.success else told.error_type or "Exception"
    return outcome, tuple(attempts), error, features
