"""A version that many hold is in memory once; and only what was committed is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from poet.errors import StoreUnavailable
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord
from poet.stores.sqlite import SqliteStore

KEY = FunctionKey("shop", "fetch", "0a1b2c3d")
RECORD = FunctionRecord(KEY, None, "adaptive", {"timeout": 30.0}, {}, 0, 0, 0.0, 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "poet.db")
    yield store
    store.close()


def test_the_version_that_was_published_is_the_one_that_is_read(store: SqliteStore) -> None:
    declared = store.register(RECORD)
    assert store.standing(KEY).live is declared.live
    assert store.register(RECORD).live == declared.live
    published = store.publish(KEY, ParameterSet(values_={"timeout": 5.0}), expected=declared.generation)
    assert store.standing(KEY).live is published.live
    assert published.live["timeout"] == 5.0


def test_a_version_that_another_published_takes_its_place(store: SqliteStore) -> None:
    before = store.register(RECORD)
    other = SqliteStore(store.path)
    other.publish(KEY, ParameterSet(values_={"timeout": 5.0}), expected=before.generation)
    other.close()
    assert store.standing(KEY).live["timeout"] == 5.0


def test_a_version_that_could_not_be_kept_is_not_remembered(store: SqliteStore) -> None:
    before = store.register(RECORD)
    with store._file.reading() as file:
        (pages,) = file.execute("PRAGMA page_count").fetchone()
        file.execute(f"PRAGMA max_page_count = {pages}")
    draft = ParameterSet(values_={"timeout": 5.0}, reason="because " * 10_000)
    with pytest.raises(StoreUnavailable):
        store.publish(KEY, draft, expected=before.generation)
    assert store.standing(KEY) == before
