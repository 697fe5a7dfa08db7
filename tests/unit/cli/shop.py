"""A small shop's functions in a store, filled through the Store protocol at fixed times."""

from __future__ import annotations

from poet.model.estimate import Estimate
from poet.model.execution import Attempt, Context, Execution, Outcome
from poet.model.explanation import Explanation, Forecast
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord, ProcessReport, Store
from poet.testing.clock import VirtualClock

OPENING = 1_700_000_000.0  # Unix time [s] of the first event: 2023-11-14 22:13:20 UTC
NOW = OPENING + 7_200.0  # when the tests look

PRICES = FunctionKey("shop.prices", "fetch", "aaaa0001")
STOCK = FunctionKey("shop.stock", "fetch", "bbbb0002")
PARCEL = FunctionKey("shop.post", "Parcel.send", "cccc0003")
NIGHTLY = FunctionKey("", "nightly report", "dddd0004")


def clock() -> VirtualClock:
    return VirtualClock(wall=OPENING)


def record(key: FunctionKey, *, learner: str = "adaptive", timeout: float = 30.0, retries: int = 3) -> FunctionRecord:
    declared = {"timeout": timeout, "retries": retries, "backoff": 0.1}
    return FunctionRecord(key, None, learner, declared, {"value": 1.0, "attempt_cost": 0.03}, 0, 0, 0.0, 0.0)


def executions(n: int, *, writer: str = "w1", start: float = OPENING, failing: int = 10) -> list[Execution]:
    """``n`` calls, 10 s apart, of 0.2 s each; every ``failing``-th finds no answer."""
    rows = []
    for i in range(n):
        outcome = Outcome.ERROR if i % failing == failing - 1 else Outcome.SUCCESS
        error = "OSError" if outcome is Outcome.ERROR else ""
        rows.append(Execution(writer, i, start + 10.0 * i, 0.2, outcome, 1, (Attempt(outcome, 0.2),), error))
    return rows


def fresh() -> list[Execution]:
    """The newest calls, oldest first: one that a hedge won, one that was shed, one that nobody answered."""
    hedged = (Attempt(Outcome.CANCELLED, 0.75), Attempt(Outcome.SUCCESS, 0.25, 0.5, hedge=True))
    features: Context = (("region", "eu-west-1"), ("size", 12_000), ("cached", False), ("load", 0.123456))
    shed, limit = (Attempt(Outcome.SHED, 0.0),), (Attempt(Outcome.TIMEOUT, 1.25),)
    return [
        Execution("w9", 0, NOW - 300, 0.75, Outcome.SUCCESS, 3, hedged, "", features),
        Execution("w9", 1, NOW - 200, 0.0, Outcome.SHED, 3, shed, "CircuitOpen", features[:1]),
        Execution("w9", 2, NOW - 100, 1.25, Outcome.TIMEOUT, 3, limit, "PoetTimeout"),
    ]


def learned(live: ParameterSet, *, timeout: float, retries: int, reason: str, evidence: int) -> ParameterSet:
    return ParameterSet(
        values_={**live, "timeout": timeout, "retries": retries},
        origin="learned",
        reason=reason,
        estimates={"timeout": Estimate(timeout, timeout * 0.8, timeout * 1.3, evidence)},
        evidence=evidence,
    )


def fill(store: Store, clock: VirtualClock) -> None:
    """Four functions: one that learned twice, one paused, one that only declares, one never called."""
    standing = store.register(record(PRICES))
    for timeout, retries, reason in (
        (2.5, 3, "timeout 30 → 2.5 s: 99 % of answers come within it"),
        (0.84321, 2, "timeout 2.5 → 0.843 s, retries 3 → 2: expected gain +0.04 per call"),
    ):
        clock.sleep(1_800)
        draft = learned(standing.live, timeout=timeout, retries=retries, reason=reason, evidence=50)
        standing = store.publish(PRICES, draft, expected=standing.generation)
    store.append(PRICES, executions(100))
    store.register(record(STOCK))
    store.append(STOCK, executions(20, failing=1000))
    store.steer(STOCK, author="ann", reason="release tonight", paused=True)
    store.register(record(PARCEL, learner=""))
    store.register(record(NIGHTLY))
    store.report(ProcessReport("w1", "till", 4711, OPENING, NOW - 5, 0, 0, ""))
    store.report(ProcessReport("w2", "depot", 4712, OPENING, NOW - 600, 7, 2, "store: disk is full"))


def picture() -> Explanation:
    """What a learner might say of ``PRICES``."""
    live = Forecast({"timeout": 0.84321, "retries": 2}, Estimate(0.9, 0.88, 0.92, 100), 0.991, 0.25, 1.12)
    worse = Forecast({"timeout": 30.0, "retries": 3}, Estimate(0.7, 0.6, 0.8, 100), 0.995, 3.2, 1.4)
    better = Forecast({"timeout": 1.2, "retries": 2}, Estimate(0.91, 0.87, 0.93, 100), 0.993, 0.26, 1.1)
    return Explanation(
        executions=100,
        objective=Objective().for_latency(0.2),
        latency={0.5: 0.2, 0.9: 0.4, 0.99: 0.8},
        unanswered=0.012,
        longest=30.0,
        failures={"transient": 0.08, "permanent": 0.01},
        live=live,
        neighbours=(better, worse),
        sentences=("A shorter timeout would cut off answers that come.",),
    )
