from __future__ import annotations

import pytest

from poet.errors import StoreUnavailable
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.relatives import Relatives, Subject
from poet.seams import FunctionRecord
from poet.sharing import embedding, keeping
from poet.stores.memory import MemoryStore

KEYS = [FunctionKey("m", f"fetch_{k}", f"{k:08x}") for k in range(6)]


def subject(key: FunctionKey) -> Subject:
    record = FunctionRecord(key, "llm_optimization", "adaptive", {"timeout": 1.0}, {}, 0, 0, 0.0, 0.0)
    return Subject(record, len if key is KEYS[0] else None)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    for key in KEYS:
        made.register(subject(key).record)
    return made


def introduced(store: MemoryStore) -> list[FunctionKey]:
    return [each.function for each in store.documents(keeping.KIND) if each.function is not None]


def fail(where: str, error: BaseException) -> None:
    raise AssertionError(where) from error


def test_functions_that_do_not_fit_in_the_time_come_next_time(store: MemoryStore) -> None:
    relatives, subjects = Relatives(fail), [lambda key=key: subject(key) for key in KEYS]
    assert relatives.introduce(store, subjects, within=0.0) == 1  # one at least
    assert introduced(store) == KEYS[:1]
    assert relatives.introduce(store, subjects, within=0.0) == 1
    assert introduced(store) == KEYS[:2]
    assert relatives.introduce(store, subjects, within=60.0) == len(KEYS)
    assert introduced(store) == KEYS
    assert relatives.introduce(store, [], within=60.0) == 0


def test_a_fault_is_told_once_and_ends_the_round(store: MemoryStore) -> None:
    class Full(MemoryStore):
        def keep(self, document: Document, *, quiet: bool = False) -> Document:
            raise StoreUnavailable("memory:", "it is full")

    full = Full()
    for key in KEYS:
        full.register(subject(key).record)
    told: list[str] = []
    relatives = Relatives(lambda where, error: told.append(f"{where}: {error}"))
    assert relatives.introduce(full, [lambda key=key: subject(key) for key in KEYS]) == 0
    assert told == ["what m.fetch_0 is like cannot be kept: memory:: it is full"]


def test_without_its_packages_an_embedding_is_told_of_and_done_without(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "MODEL_PACKAGE", "no_such_package")
    told: list[str] = []
    relatives = Relatives(lambda where, error: told.append(f"{where}: {error}"))
    subjects = [lambda key=key: subject(key) for key in KEYS]
    assert relatives.introduce(store, subjects, embedding=True, within=60.0) == len(KEYS)
    assert introduced(store) == KEYS
    assert len(told) == 1
    assert "pip install 'poet-runtime[embedding]'" in told[0]


def test_a_store_has_one_registry_until_it_is_let_go(store: MemoryStore) -> None:
    relatives = Relatives(fail)
    one = relatives.registry(store)
    assert relatives.registry(store) is one
    relatives.forget()
    assert relatives.registry(store) is not one
    assert relatives.registry(MemoryStore()) is not one
