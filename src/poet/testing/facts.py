"""What contracts of stores are tried with: functions, drafts and executions as they come in real life."""

from __future__ import annotations

from typing import Any

from poet.model.estimate import Estimate
from poet.model.execution import Attempt, Context, Execution, Outcome
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value
from poet.seams import FunctionRecord, ProcessReport

KEY = FunctionKey("shop.orders", "fetch", "0a1b2c3d")
OTHER = FunctionKey("shop.orders", "Cart.total", "99999999")
DECLARED: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.5, "model": "small", "hedge": False}
LEARNED: dict[str, Value] = {"timeout": 1.25, "retries": 2, "backoff": 0.1, "model": "large", "hedge": True}
START = 1_800_000_000.0  # Unix time [s]
PRECISION = 0.001  # to which a store may round times [s]; durations: to a 32-bit float


def record(key: FunctionKey = KEY, **changes: Any) -> FunctionRecord:
    """A function as it is registered on its first call."""
    return FunctionRecord(
        key=key,
        domain="web",
        learner="adaptive",
        declared=dict(DECLARED),
        objective={"value": 1.0, "attempt_cost": 0.03},
        calls=0,
        failures=0,
        seconds=0.0,
        last_call=0.0,
        space={"timeout": [0.001, 120.0], "retries": [0, 5]},
    )._replace(**changes)


def draft(**changes: Any) -> ParameterSet:
    """Parameters as a trainer proposes them."""
    fields: dict[str, Any] = {
        "values_": LEARNED,
        "origin": "learned",
        "reason": "a shorter timeout answers sooner",
        "author": "adaptive",
        "estimates": {"utility": Estimate(0.9, 0.85, 0.95, 120)},
        "evidence": 120,
        "created": START,
    }
    return ParameterSet(**(fields | changes))


def execution(sequence: int, *, writer: str = "w1", started: float | None = None, **changes: Any) -> Execution:
    """A call that took 0.25 s; those of one writer start a second apart."""
    begun = START + sequence if started is None else started
    attempts = (Attempt(Outcome.SUCCESS, 0.25),)
    return Execution(writer, sequence, begun, 0.25, Outcome.SUCCESS, 1, attempts)._replace(**changes)


def failure(sequence: int, *, writer: str = "w1") -> Execution:
    """A call of two attempts: the first timed out, the second failed."""
    attempts = (Attempt(Outcome.TIMEOUT, 1.0), Attempt(Outcome.ERROR, 0.5, 0.25))
    return Execution(writer, sequence, START + sequence, 1.75, Outcome.ERROR, 2, attempts, "ConnectionResetError")


def hedged(sequence: int, *, writer: str = "w1") -> Execution:
    """A call of which a copy was sent after 0.5 s, and answered first."""
    attempts = (Attempt(Outcome.CANCELLED, 0.75), Attempt(Outcome.SUCCESS, 0.25, 0.5, hedge=True))
    return Execution(writer, sequence, START + sequence, 0.75, Outcome.SUCCESS, 2, attempts)


def shed(sequence: int, *, writer: str = "w1") -> Execution:
    """A call that was not made."""
    attempts = (Attempt(Outcome.SHED, 0.0),)
    return Execution(writer, sequence, START + sequence, 0.0, Outcome.SHED, 2, attempts, "CircuitOpen")


FEATURES: Context = (("region", "eu"), ("size", 3), ("load", 0.1), ("cached", False), ("user", 2**64 - 1))


def report(writer: str, **changes: Any) -> ProcessReport:
    """How a process fares."""
    return ProcessReport(writer, "host", 4711, START, START + 1, 0, 0, "")._replace(**changes)
