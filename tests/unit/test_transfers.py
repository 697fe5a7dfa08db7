"""From one function to another: why it is refused, how it comes to a version, and what becomes of it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from tests.houses import House

from poet.errors import ConfigurationError, StoreUnavailable, UnknownFunction
from poet.model.document import Document
from poet.model.flag import ON, Rule
from poet.model.function import FunctionKey
from poet.model.transfer import KIND, Transfer
from poet.sharing.intelligence_registry import CrossFunctionLearning, IntelligenceRegistry
from poet.sharing.transfer import transfers
from poet.stores.memory import MemoryStore
from poet.training.flags import set_rule

WEB = "shop.fetch_page", "shop.download_page"


def allow(store: MemoryStore, *names: str) -> None:
    for name in names or ("share.read", "share.write"):
        set_rule(store, name, Rule(ON), author="ann", reason="a test", at=1.0)


class Web:
    """Two functions that fetch pages: quick, one call in ten hangs; the second is new."""

    def __init__(self, calls: int = 120, **given: Any) -> None:
        self.house = House(**given.pop("house", {}))
        self.dice = random.Random(5)
        self.slow = 1.0
        self.first = self.decorated(WEB[0])
        self.second = self.decorated(WEB[1], **given)
        for _ in range(calls):
            self.call(self.first)
        self.second.poet.status()  # type: ignore[attr-defined]  # known from here on

    def decorated(self, name: str, **given: Any) -> Callable[[str], bytes]:
        def fetch(url: str) -> bytes:
            """Fetch a page of a web site over HTTP."""
            seconds = 40.0 if self.dice.random() < 0.1 else 0.05 * self.dice.lognormvariate(0, 0.3)
            self.house.clock.sleep(self.slow * seconds)
            return b""

        decorated: Callable[[str], bytes] = self.house.poet(
            enable_training=True, name=name, enforce_timeout="cooperative", **given
        )(fetch)
        return decorated

    def call(self, function: Callable[[str], bytes], n: int = 1) -> None:
        for _ in range(n):
            try:
                function("u")
            except TimeoutError:
                continue

    @property
    def registry(self) -> IntelligenceRegistry:
        self.house.agent.introduce(self.house.agent.open())
        return IntelligenceRegistry(self.house.store)

    def key(self, name: str) -> FunctionKey:
        return next(each.key for each in self.house.store.functions() if each.key.name == name)

    def of_second(self) -> list[Transfer]:
        return transfers(self.house.store, self.key(WEB[1]))


def test_what_one_has_learned_becomes_a_version_of_the_other() -> None:
    web = Web()
    allow(web.house.store)
    web.call(web.second, 2)
    web.house.agent.flush()
    registry = web.registry
    assert registry.share_learning(*WEB), registry.said
    assert "as a prior" in registry.said
    web.call(web.second, 3)
    web.house.agent.flush()
    (each,) = web.of_second()
    assert (each.phase, each.source.name) == ("taken", WEB[0])
    versions = web.house.store.versions(web.key(WEB[1]))
    assert [version.origin for version in versions][:2] == ["declared", "transfer"]
    assert WEB[0] in versions[1].reason
    status = web.second.poet.status()  # type: ignore[attr-defined]
    assert status["transfers"][0]["source"] == str(each.source)
    assert not registry.share_learning(*WEB)
    assert registry.said == f"{WEB[1]} has it already: taken"


def test_own_calls_say_whether_it_has_helped_and_likeness_learns_it() -> None:
    web = Web()
    allow(web.house.store)
    registry = web.registry
    assert registry.share_learning(*WEB)
    web.call(web.second, 30)
    web.house.agent.flush()
    web.call(web.second, 60)
    web.house.agent.flush()
    web.house.agent.flush()  # judged before the next training
    (each,) = web.of_second()
    assert each.phase == "done"
    assert each.helped is not None
    assert each.helped > 0.5
    registry.refresh()
    assert registry.weights.n == 1


def test_harm_withdraws_it_for_good() -> None:
    web = Web()
    allow(web.house.store)
    registry = web.registry
    assert registry.share_learning(*WEB)
    web.call(web.second, 5)
    web.house.agent.flush()
    agent = web.house.agent
    trainer = agent.open()
    trainee = trainer.trainees[web.key(WEB[1])]
    agent._told("rolled_back", trainee, "9 of 9 calls failed")
    (each,) = web.of_second()
    assert (each.phase, each.helped) == ("withdrawn", 0.0)
    registry.refresh()
    assert registry.weights.n == 1
    assert not registry.share_learning(*WEB)
    assert registry.said == "it was tried before, and withdrawn: it did harm: 9 of 9 calls failed"


def test_it_goes_step_by_step_where_new_versions_do() -> None:
    web = Web(house={"rollout": "canary"})
    allow(web.house.store)
    assert web.registry.share_learning(*WEB)
    web.call(web.second, 4)
    web.house.agent.flush()
    standing = web.house.store.standing(web.key(WEB[1]))
    assert standing.live.origin == "declared"
    assert standing.canary is not None
    assert standing.canary.origin == "transfer"


def test_a_new_function_asks_its_relatives() -> None:
    web = Web(enable_cross_function_learning=True)
    web.call(web.second)
    web.house.agent.flush()
    assert web.of_second() == []  # the flags are off
    web = Web(enable_cross_function_learning=True)
    allow(web.house.store)
    web.call(web.second, 1)
    web.house.agent.flush()
    web.call(web.second, 4)
    web.house.agent.flush()
    assert [each.source.name for each in web.of_second()] == [WEB[0]]
    assert "transfer" in [version.origin for version in web.house.store.versions(web.key(WEB[1]))]


def test_flags_are_off_until_somebody_says_otherwise() -> None:
    web = Web()
    web.call(web.second)
    web.house.agent.flush()
    registry = web.registry
    assert not registry.share_learning(*WEB)
    assert registry.said.startswith(
        "the flag share.read, whether shop.download_page may take over what was learned, is 'off'"
    )
    allow(web.house.store, "share.read")
    assert not registry.share_learning(*WEB)
    assert registry.said.startswith("the flag share.write, whether shop.fetch_page may give away")


def test_below_the_threshold_it_is_refused_with_both_numbers() -> None:
    web = Web()
    allow(web.house.store)
    web.call(web.second)
    web.house.agent.flush()
    learning = CrossFunctionLearning(web.registry)
    assert not learning.transfer_learned_parameters(*WEB, confidence_threshold=1.0)
    assert "and 100 % are asked for" in learning.said
    with pytest.raises(ConfigurationError, match="confidence_threshold"):
        learning.transfer_learned_parameters(*WEB, confidence_threshold=2.0)


def test_circles_and_oneself_are_refused() -> None:
    web = Web()
    allow(web.house.store)
    web.call(web.second, 120)
    web.house.agent.flush()
    registry = web.registry
    assert not registry.share_learning(WEB[0], WEB[0])
    assert "cannot learn from itself" in registry.said
    assert registry.share_learning(*WEB)
    assert not registry.share_learning(*reversed(WEB))
    assert registry.said == f"{WEB[1]} has learned from {WEB[0]} itself: that would go in a circle"


def test_unlearned_and_poisoned_sources_are_refused() -> None:
    web = Web(calls=0)
    allow(web.house.store)
    web.call(web.first, 3)
    web.call(web.second, 3)
    web.house.agent.flush()
    registry = web.registry
    assert not registry.share_learning(*WEB)
    assert registry.said == f"{WEB[0]} has learned from 3 calls only, and 40 are the least"
    key = web.key(WEB[0])
    (document,) = web.house.store.documents("fingerprint", key)
    web.house.store.keep(document._replace(body=json.dumps({"format": 1, "packed": "AAAA"})))
    assert not registry.share_learning(*WEB)
    assert registry.said.startswith(f"what is kept of {WEB[0]} cannot be true: ")


def test_a_state_that_cannot_be_read_is_refused_when_it_is_taken() -> None:
    web = Web()
    allow(web.house.store)
    assert web.registry.share_learning(*WEB)
    web.house.store.save_learner(web.key(WEB[0]), b"nonsense")
    web.call(web.second)
    web.house.agent.flush()
    (each,) = web.of_second()
    assert each.phase == "refused"
    assert "cannot be read" in each.why


def test_ranges_that_have_nothing_in_common_are_refused() -> None:
    from poet import Real

    web = Web(tunables={"timeout": Real(500.0, 900.0)}, timeout=600.0)
    allow(web.house.store)
    web.call(web.second)
    web.house.agent.flush()
    registry = web.registry
    assert not registry.share_learning(*WEB)
    assert "have nothing in common" in registry.said


def test_a_registry_that_is_away_says_so() -> None:
    class Away(MemoryStore):
        gone = False

        def generation(self) -> int:
            if self.gone:
                raise StoreUnavailable("memory:", "it is gone")
            return super().generation()

    store = Away()
    web = Web(house={"store": store})
    web.call(web.second)
    web.house.agent.flush()
    registry = web.registry
    registry.refresh()
    store.gone = True
    assert not registry.share_learning(*WEB)
    assert registry.said.startswith("the registry cannot be reached: ")
    store.gone = False
    with pytest.raises(UnknownFunction):
        registry.share_learning("nobody", WEB[1])


@pytest.mark.parametrize(
    "change", [{"helps": 2}, {"phase": "?"}, {"calls": -1}, {"source": [1, 2, 3]}, {"asked": None}]
)
def test_what_is_no_transfer_is_refused(change: dict[str, object]) -> None:
    key = FunctionKey("", "a", "0" * 8)
    document = Transfer(source=key, target=key, helps=0.5, asked=1.0).document()
    assert document.kind == KIND
    assert Transfer.of(document).helps == 0.5
    body = json.dumps({**json.loads(document.body), **change})
    with pytest.raises(ValueError, match="no document of a transfer"):
        Transfer.of(document._replace(body=body))
    with pytest.raises(ValueError, match="no document of a transfer"):
        Transfer.of(Document(KIND, "x", "[]", key))
