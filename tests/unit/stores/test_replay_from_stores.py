"""A replay reads any store, and says the same of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from poet.learning.replay import of_store, wanted
from poet.model.replay import Replay
from poet.seams import Store
from poet.stores.memory import MemoryStore
from poet.stores.postgres import PostgresStore
from poet.stores.sqlite import SqliteStore
from postgres.server import database_for, shared
from unit.cli import shop
from unit.cli.shop import OPENING, PRICES


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Store]:
    name = database_for(tmp_path)
    shared().make_database(name)
    store = PostgresStore(shared().url(name))
    yield store
    store.close()
    shared().drop_database(name)


def replayed(store: Store, *, since: float = 0.0) -> Replay:
    record = next(record for record in store.functions() if record.key == PRICES)
    live = store.standing(PRICES).live
    return of_store(store, record, wanted({"timeout": 0.15, "retries": 1}, live, record.space), since=since)


def test_every_store_gives_the_same_replay(tmp_path: Path, served: Store) -> None:
    found = []
    for store in (MemoryStore(clock=shop.clock()), SqliteStore(tmp_path / "poet.db", clock=shop.clock()), served):
        shop.fill(store, shop.clock())
        found.append((replayed(store), replayed(store, since=OPENING + 500)))
    for pair in found:  # stores round what they keep to the millisecond and below
        assert [told.calls for told in pair] == [100, 50]
        for told, first in zip(pair, found[0], strict=True):
            assert told.sentences == first.sentences
            assert told.recorded == pytest.approx(dict(first.recorded), abs=1e-6)
            for name, estimate in told.replayed.items():
                assert estimate == pytest.approx(first.replayed[name], abs=1e-6)
                assert told.bounds[name] == pytest.approx(first.bounds[name], abs=1e-6)
