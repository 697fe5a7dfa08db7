from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from poet.errors import AmbiguousFunction, ConfigurationError, StoreUnavailable, UnknownFunction
from poet.model.document import Document
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.seams import FunctionRecord, Store
from poet.sharing import keeping
from poet.sharing.fingerprint import of_words
from poet.sharing.intelligence_registry import CrossFunctionLearning, IntelligenceRegistry
from poet.sharing.weights import PRIOR
from poet.stores.memory import MemoryStore
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock

FETCH, LOAD, PARSE, OTHER = (
    FunctionKey("shop.net", "fetch_page", "00000001"),
    FunctionKey("shop.web", "download_site", "00000002"),
    FunctionKey("shop.data", "parse_invoice", "00000003"),
    FunctionKey("other.net", "fetch_page", "00000004"),
)


def record(key: FunctionKey, **more: Any) -> FunctionRecord:
    return FunctionRecord(key, None, "adaptive", {"timeout": 2.0, "retries": 1}, {}, 0, 0, 0.0, 0.0, **more)


def introduce(store: Store, key: FunctionKey, doc: str) -> None:
    store.register(record(key))
    keeping.introduce(store, key, of_words(key.name, (("url", "str", ""),), "bytes", doc))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    clock = VirtualClock(wall=1.7e9)
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "poet.db", clock=clock)
    introduce(made, FETCH, "Download a page over HTTP.")
    introduce(made, LOAD, "Get a web site from its URL.")
    introduce(made, PARSE, "Read an invoice as JSON.")
    yield made
    made.close()


def calls(n: int, seconds: float, first: int = 0) -> list[Execution]:
    return [
        Execution("w", first + k, 1.7e9 + k, seconds, Outcome.SUCCESS, 1, (Attempt(Outcome.SUCCESS, seconds),))
        for k in range(n)
    ]


def test_relatives_are_found_by_name_key_and_signature(store: Store) -> None:
    registry = IntelligenceRegistry(store)
    for asked in ("shop.net.fetch_page", "fetch_page", "fetch_page#00000001", FETCH):
        meant = "shop.net.fetch_page#00000001" if asked == "fetch_page#00000001" else asked
        found = registry.find_similar_functions(meant)
        assert [each.function for each in found] == [LOAD, PARSE]
        assert found[0].similarity > 0.5 > found[1].similarity
    unknown = registry.find_similar_functions("http_get(url: str) -> bytes", top=1)
    assert unknown[0].function in (FETCH, LOAD)


def test_other_processes_are_heard_of(store: Store) -> None:
    registry = IntelligenceRegistry(store)
    assert registry.refresh() == 3
    assert registry.refresh() == 0
    introduce(store, OTHER, "Download a page over HTTP.")
    assert registry.refresh() == 1
    assert registry.find_similar_functions(FETCH, top=1)[0].function == OTHER


def test_behaviour_is_measured_as_calls_grow_and_heard_of(store: Store) -> None:
    registry = IntelligenceRegistry(store)
    registry.refresh()
    code = of_words(FETCH.name, (("url", "str", ""),), "bytes", "Download a page over HTTP.")
    assert not keeping.introduce(store, FETCH, code)  # nothing is new
    store.append(FETCH, calls(50, 0.2))
    assert keeping.introduce(store, FETCH, code)
    assert not keeping.introduce(store, FETCH, code)
    store.append(FETCH, calls(30, 0.2, first=50))
    assert not keeping.introduce(store, FETCH, code)  # not twice as many yet
    store.append(FETCH, calls(30, 0.2, first=80))
    assert keeping.introduce(store, FETCH, code)
    behaviour = registry.fingerprint(FETCH).behaviour
    assert behaviour is not None
    assert behaviour.executions == 110


def test_a_function_that_nobody_described_is_known_by_its_name(store: Store) -> None:
    store.register(record(OTHER, space={"k": (1, 64)}))
    registry = IntelligenceRegistry(store)
    found = registry.find_similar_functions(OTHER)
    assert found[0].function == FETCH
    assert len(registry.fingerprint(OTHER).tunables) == 1


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        '"x"',
        '{"format": 1, "packed": "!!"}',
        '{"format": 1, "packed": "UEYB"}',
        '{"format": 2, "packed": ""}',
        '{"format": 1, "packed": 3}',
    ],
)
def test_a_poisoned_fingerprint_is_passed_over_with_the_reason(store: Store, body: str) -> None:
    kept = store.documents(keeping.KIND, FETCH, name=keeping.NAME)[0]
    store.keep(kept._replace(body=body))
    registry = IntelligenceRegistry(store)
    assert registry.find_similar_functions(LOAD)
    assert list(registry.refused) == [FETCH]
    assert registry.refused[FETCH]
    introduce(store, FETCH, "Download a page over HTTP.")  # who runs it mends it
    registry.refresh()
    assert not registry.refused


def test_what_is_meant_must_be_clear(store: Store) -> None:
    introduce(store, OTHER, "Download a page over HTTP.")
    registry = IntelligenceRegistry(store)
    with pytest.raises(AmbiguousFunction, match=r"other\.net\.fetch_page#00000004, shop\.net\.fetch_page#00000001"):
        registry.find_similar_functions("fetch_page")
    assert registry.find_similar_functions("other.net.fetch_page")[0].function == FETCH
    with pytest.raises(UnknownFunction, match=r"did you mean 'shop\.data\.parse_invoice'"):
        registry.find_similar_functions("shop.data.parse_invoices")
    with pytest.raises(ConfigurationError, match="signature"):
        registry.find_similar_functions("fetch(")
    with pytest.raises(ConfigurationError, match="a function is a name"):
        registry.find_similar_functions(7)  # type: ignore[arg-type]
    for top in (0, -1, True, 2.5):
        with pytest.raises(ConfigurationError, match="top must be"):
            registry.find_similar_functions(FETCH, top=top)  # type: ignore[arg-type]


class Gone(MemoryStore):
    """A store that can be taken away."""

    gone = False

    def generation(self) -> int:
        if self.gone:
            raise StoreUnavailable("memory:", "the line is cut")
        return super().generation()

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        if self.gone:
            raise StoreUnavailable("memory:", "the line is cut")
        return super().changed(since)


def test_a_registry_that_is_down_answers_with_what_it_knew() -> None:
    store = Gone()
    introduce(store, FETCH, "Download a page over HTTP.")
    introduce(store, LOAD, "Get a web site from its URL.")
    registry = IntelligenceRegistry(store)
    registry.refresh()
    store.gone = True
    assert registry.find_similar_functions(FETCH)[0].function == LOAD
    assert "the line is cut" in registry.away
    with pytest.raises(StoreUnavailable):
        IntelligenceRegistry(store).find_similar_functions(FETCH)
    store.gone = False
    registry.refresh()
    assert registry.away == ""


def test_outcomes_are_learned_from_by_all_processes(store: Store) -> None:
    one, other = IntelligenceRegistry(store), IntelligenceRegistry(store)
    before = CrossFunctionLearning(one).compute_function_similarity(FETCH, LOAD)
    other.refresh()
    one.teach(FETCH, LOAD, 0.0)
    other.teach(FETCH, LOAD, 0.0)  # it has to read what the first one kept
    assert other.weights.n == 2
    one.teach(FETCH, LOAD, 0.0)
    after = CrossFunctionLearning(one).compute_function_similarity(FETCH, LOAD)
    assert one.weights.n == 3
    assert after < before
    assert IntelligenceRegistry(store).compare(FETCH, LOAD).helps.n == 3


def test_weights_that_cannot_be_are_passed_over(store: Store) -> None:
    store.keep(Document("similarity", "weights", json.dumps({"version": 1, "mean": "none"})))
    registry = IntelligenceRegistry(store)
    registry.refresh()
    assert registry.weights == PRIOR


def test_similarity_is_the_probability_that_learning_helps(store: Store) -> None:
    learning = CrossFunctionLearning(IntelligenceRegistry(store))
    near, far = (learning.compute_function_similarity(FETCH, key) for key in (LOAD, PARSE))
    assert 0 <= far < near <= 1
    assert learning.compute_function_similarity(LOAD, FETCH) == pytest.approx(near)
    assert learning.compute_function_similarity(FETCH, FETCH) == 1.0
    assert learning.compute_function_similarity("f(x: int) -> int", "f(x: int) -> int") == 1.0
    assert learning.compute_function_similarity(json.loads, "load_json(text: str) -> dict") > 0.0
