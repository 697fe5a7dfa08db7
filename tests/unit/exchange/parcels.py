"""Functions with something learned, and packages of them."""

from __future__ import annotations

from poet.exchange.package import Packaged, write
from poet.learners import learner_for
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import Store
from poet.stores.memory import MemoryStore
from poet.testing import hostile
from poet.testing.clock import VirtualClock
from poet.testing.hostile import ASK, DECLARED, REPORT, WEIGH, learned, record
from unit.cli import shop

__all__ = [
    "ASK",
    "DECLARED",
    "REPORT",
    "WEIGH",
    "fill",
    "filled",
    "knowledge",
    "learned",
    "packaged",
    "parcel",
    "record",
]


def knowledge(key: FunctionKey = ASK, calls: int = 200) -> bytes:
    learner = learner_for(record(key), None)
    learner.update(shop.executions(calls))
    return learner.dump()


def packaged(key: FunctionKey = ASK, live: ParameterSet | None = None, state: bytes | None = None) -> Packaged:
    return Packaged(record(key), live or learned(), state)


def parcel(*functions: Packaged) -> str:
    return write(functions, written_by="poet test", created=shop.NOW)


def whole() -> str:
    return hostile.genuine(knowledge())


def fill(store: Store) -> None:
    hostile.fill(store, knowledge(WEIGH, 50))


def filled() -> MemoryStore:
    store = MemoryStore(clock=VirtualClock(wall=shop.NOW))
    fill(store)
    return store
