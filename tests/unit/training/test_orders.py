from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from houses import Script
from poet.app import Agent, build
from poet.decorator import bind
from poet.errors import StoreAway, StoreUnavailable, UnknownVersion
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock
from poet.testing.stores import DECLARED, KEY, OTHER, record
from poet.training.orders import MARK, Order, Ordering, Orders, ordering
from poet.training.rollback import undo

URL = "postgresql://ann@db/shop"


class Server(MemoryStore):
    """A store that is a server's, and that may be away: all that is asked of it then is refused."""

    url = URL

    def __init__(self, clock: Any = None) -> None:
        super().__init__(**({} if clock is None else {"clock": clock}))
        self.gone = False

    @property
    def away(self) -> float:  # type: ignore[override]
        return 1.0 if self.gone else 0.0

    def _open(self) -> threading.RLock:
        if self.gone:
            raise StoreAway(self.url, "it is away")
        return super()._open()

    def close(self) -> None:
        """What it holds outlives an agent."""


class Steady(Server):
    """The same; what was known last of a standing is told all the same, as behind ``SteadyStore``."""

    def __init__(self, clock: Any = None) -> None:
        super().__init__(clock)
        self.last: dict[FunctionKey, Standing] = {}

    def standing(self, function: FunctionKey) -> Standing:
        if not self.gone:
            self.last[function] = super().standing(function)
        return self.last[function]


def timed(timeout: float) -> ParameterSet:
    return ParameterSet(values_={**DECLARED, "timeout": timeout}, origin="learned", reason="faster")


def filled() -> Steady:
    """A function of three versions, of which the last is live."""
    store = Steady()
    standing = store.register(record())
    store.register(record(OTHER))
    for timeout in (2.0, 1.0):
        standing = store.publish(KEY, timed(timeout), expected=standing.generation)
    return store


def order(action: Any = "rollback", version: ParameterSet | None = None, **how: Any) -> Order:
    facts = {"author": "ann", "reason": "sluggish", "at": 2_000_000_000.0, "host": "web-1", "id": "ab12"}
    return Order(**{"function": KEY, "action": action, "version": version, **facts, **how})


# --- orders ----------------------------------------------------------------------------------------------------------


def test_an_order_comes_back_as_it_was_left_and_is_new_once(tmp_path: Path) -> None:
    store, ours, theirs = filled(), Orders(tmp_path), Orders(tmp_path)
    assert (ours.waiting(), ours.new()) == ([], [])
    later = order("pause", at=2_000_000_001.0, id="cd34")
    first = order(version=store.versions(KEY)[0])
    ours.leave(later)
    ours.leave(first)
    assert ours.waiting() == [first, later]
    assert ours.new() == theirs.new() == [first, later]
    assert (ours.new(), len(ours.waiting())) == ([], 2)


def test_the_store_gets_an_order_once_whoever_hands_it_over(tmp_path: Path) -> None:
    store, ours, theirs = filled(), Orders(tmp_path), Orders(tmp_path)
    store.keep(Document("rollout", "r", '{"phase": "canary"}', KEY))
    told = order(version=store.versions(KEY)[0])
    ours.leave(told)
    theirs.waiting()
    standing = ours.hand_over(told, store)
    assert standing is not None
    assert (standing.live.version, standing.steering) == (1, ())
    assert standing.paused == told.text
    assert theirs.hand_over(told, store) is None
    assert (ours.waiting(), theirs.waiting()) == ([], [])
    assert [change.action for change in store.history(KEY)].count("rollback") == 1
    assert MARK in store.history(KEY)[-1].reason


def test_an_order_that_was_carried_out_by_a_process_that_died_then_is_not_carried_out_again(tmp_path: Path) -> None:
    store, orders = filled(), Orders(tmp_path)
    told = order(version=store.versions(KEY)[0])
    orders.leave(told)
    (path,) = (tmp_path / "orders").glob("*.json")
    kept = path.read_bytes()
    orders.hand_over(told, store)
    path.write_bytes(kept)  # it was about to be deleted
    assert Orders(tmp_path).hand_over(told, store) is not None
    assert [change.action for change in store.history(KEY)].count("rollback") == 1
    assert not path.exists()


def test_an_order_that_somebody_has_overtaken_is_dropped_and_said(tmp_path: Path) -> None:
    store, faults = filled(), list[str]()
    orders = Orders(tmp_path, lambda where, error: faults.append(str(error)))
    told = order(version=store.versions(KEY)[0], at=1.0)
    store.steer(KEY, author="bob", reason="quota", pinned={"timeout": 5.0})
    orders.leave(told)
    standing = orders.hand_over(told, store)
    assert standing is not None
    assert standing.live["timeout"] == 5.0
    assert "pin by bob came later (quota)" in faults[0]
    assert orders.waiting() == []


def test_of_several_orders_the_last_holds_and_none_overtakes_another(tmp_path: Path) -> None:
    store, faults = filled(), list[str]()
    orders = Orders(tmp_path, lambda where, error: faults.append(str(error)))
    orders.leave(order(version=store.versions(KEY)[0], at=1.0, id="a"))
    orders.leave(order("resume", at=2.0, id="b"))
    orders.leave(order("pause", at=3.0, id="c", reason=""))
    orders.leave(order("resume", at=4.0, id="d"))
    orders.obey(store, lambda key: None, lambda key, standing: None)
    standing = store.standing(KEY)
    assert (standing.live.version, standing.paused, faults) == (1, "", [])
    assert [change.action for change in store.history(KEY)][-4:] == ["rollback", "resume", "pause", "resume"]


def test_an_order_for_a_version_that_the_store_does_not_have_is_dropped_and_said(tmp_path: Path) -> None:
    store, faults = filled(), list[str]()
    orders = Orders(tmp_path, lambda where, error: faults.append(str(error)))
    told = order(version=store.versions(KEY)[0].changed(version=9))
    orders.leave(told)
    assert orders.hand_over(told, store) is not None
    assert "has no version 9" in faults[0]


def test_an_order_for_a_function_that_the_store_does_not_know_waits(tmp_path: Path) -> None:
    store, orders = Steady(), Orders(tmp_path)
    told = order("pause")
    orders.leave(told)
    assert orders.hand_over(told, store) is None
    assert orders.waiting() == [told]


def test_a_store_in_memory_that_stands_in_for_one_that_cannot_be_opened_gets_no_order(tmp_path: Path) -> None:
    store, orders = MemoryStore(), Orders(tmp_path)
    store.register(record())
    orders.leave(order("pause"))
    seen: list[Standing] = []
    orders.obey(store, store.standing, lambda key, standing: seen.append(standing))
    assert [standing.paused for standing in seen] == [order("pause").text]  # followed all the same
    assert orders.waiting()
    assert store.standing(KEY).paused == ""


def test_one_of_two_processes_at_a_time_hands_over(tmp_path: Path) -> None:
    import fcntl

    store, orders = filled(), Orders(tmp_path)
    told = order("pause")
    orders.leave(told)
    with (tmp_path / "orders" / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert orders.hand_over(told, store) is None
        assert store.standing(KEY).paused == ""
    assert orders.hand_over(told, store) is not None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"action": "erase"}', '{"action": "pause", "function": ["a"]}'])
def test_a_damaged_order_is_counted_once_and_hinders_no_other(tmp_path: Path, text: str) -> None:
    faults: list[str] = []
    orders = Orders(tmp_path, lambda where, error: faults.append(str(error)))
    orders.leave(order("pause"))
    (tmp_path / "orders" / "0000000001.000000-x.json").write_text(text)
    for _ in range(3):
        assert orders.waiting() == [order("pause")]
    assert len(faults) == 1


@pytest.mark.parametrize("ours", [True, False])
def test_an_order_that_root_leaves_belongs_to_the_owner_of_the_folder(tmp_path: Path, ours: bool) -> None:
    """Where the test itself is not root's, root's part cannot be played: all belongs to who runs it anyway."""
    owner = os.geteuid() if ours or os.geteuid() else 65_534
    os.chown(tmp_path, owner, -1)
    Orders(tmp_path / "away" / "ab").leave(order("pause"))
    made = [tmp_path / "away", *(tmp_path / "away").rglob("*")]
    assert len(made) == 4
    assert {path.stat().st_uid for path in made} == {owner}


def test_a_process_that_may_not_hand_over_follows_and_says_so_once(tmp_path: Path) -> None:
    store, faults = filled(), list[str]()
    orders = Orders(tmp_path, lambda where, error: faults.append(type(error).__name__))
    orders.leave(order("pause"))
    (tmp_path / "orders" / "lock").mkdir()  # cannot be opened
    seen: list[Standing] = []
    for _ in range(3):
        orders.obey(store, store.standing, lambda key, standing: seen.append(standing))
    assert (len(seen), len(orders.waiting()), faults) == (1, 1, ["IsADirectoryError"])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "away").write_text("")
    with pytest.raises(StoreUnavailable, match="make it writable"):
        Orders(tmp_path / "away").leave(order("pause"))


# --- what is known while the store is away ---------------------------------------------------------------------------


def test_while_the_store_is_away_versions_are_those_known_last_and_changes_are_orders(tmp_path: Path) -> None:
    store, orders = filled(), Orders(tmp_path)
    store.steer(KEY, author="ann", reason="quota", pinned={"timeout": 1.0})
    orders.remember(KEY)
    orders.remember(OTHER)
    orders.keep(store, 1)
    store.standing(KEY)
    store.gone = True
    seen: Ordering = ordering(store, orders, now=5.0, host="web-1")  # type: ignore[assignment]
    assert [version.version for version in seen.versions(KEY)] == [1, 2, 3, 4]
    assert seen.versions(KEY)[1]["timeout"] == 2.0
    assert seen.aliases(KEY)["last_good"].version == 3
    assert [change.action for change in seen.history(KEY)] == ["publish", "publish", "publish", "pin"]
    with pytest.raises(StoreAway, match=r"POET_FLAGS=learn\.online=defaults"):
        seen.versions(OTHER)
    with pytest.raises(UnknownVersion, match="it has: 1, 2, 3, 4"):
        seen.rollback(KEY, 9, author="ann", reason="?")
    standing = seen.rollback(KEY, None, author="ann", reason="sluggish")
    assert (standing.live.version, dict(standing.pinned)) == (3, {"timeout": 1.0})
    with pytest.raises(StoreAway, match="--to 4 works all the same"):
        undo(seen, KEY, author="ann", reason="", at=6.0)  # type: ignore[arg-type]
    standing = seen.rollback(KEY, 2, author="ann", reason="sluggish")
    assert (standing.live["timeout"], dict(standing.pinned)) == (2.0, {})
    assert seen.standing(KEY) == standing
    assert seen.steer(KEY, author="ann", reason="", paused=False).paused == ""
    assert seen.standing(KEY).paused == ""
    with pytest.raises(StoreAway):
        seen.steer(KEY, author="ann", reason="", pinned={"timeout": 1.0})
    with pytest.raises(StoreAway, match="--to 3 works all the same"):
        undo(seen, KEY, author="ann", reason="", at=6.0)  # type: ignore[arg-type]
    with pytest.raises(StoreAway):
        seen.documents("flag")
    assert [each.action for each in orders.waiting()] == ["rollback", "rollback", "resume"]
    assert [(change.action, change.version) for change in seen.history(KEY)][-3:] == [
        ("rollback", 3),
        ("rollback", 2),
        ("resume", 2),
    ]


def test_of_many_versions_the_newest_are_known_and_the_last_good_one(tmp_path: Path) -> None:
    store, orders = filled(), Orders(tmp_path)
    store.point(KEY, "last_good", 1, expected=3, author="ann", reason="")
    for i in range(40):
        standing = store.standing(KEY)
        store.publish(KEY, timed(1.0 + i), expected=standing.generation, alias="canary")
    orders.remember(KEY)
    orders.keep(store, 1)
    known = orders.known(KEY)
    assert known is not None
    assert {1, 3} <= {version.version for version in known.versions}  # last good, and live
    assert len(known.versions) < 34


def test_what_was_known_is_nothing_where_its_file_is_damaged(tmp_path: Path) -> None:
    store, faults = filled(), list[str]()
    orders = Orders(tmp_path, lambda where, error: faults.append(where))
    orders.remember(KEY)
    orders.keep(store, 1)
    (path,) = (tmp_path / "versions").iterdir()
    for text in ("", "[]", '{"versions": [{"values": 3}]}'):
        path.write_text(text)
        assert orders.known(KEY) is None
    assert len(faults) == 3
    assert json.loads('{"versions": []}')["versions"] == []


# --- processes that follow -------------------------------------------------------------------------------------------


class Shop:
    """Two processes of one host around one server."""

    def __init__(self, root: Path) -> None:
        self.clock = VirtualClock(100.0, wall=1_700_000_000.0)
        self.store = Steady(self.clock)
        self.settings = Settings(store=URL, root=root, seed=3, rollout="direct")
        self.agents: list[Agent] = []

    def process(self, *steps: float) -> Any:
        agent = build(self.settings, store=self.store, clock=self.clock, thread=False)
        self.agents.append(agent)
        script = Script(self.clock, *steps)

        @bind(agent)(enable_training=True, name="fetch")
        def fetch() -> int:
            return script()

        return fetch

    def call(self, fetch: Any, times: int = 1) -> None:
        for _ in range(times):
            fetch()
            fetch.poet._agent.flush()

    @property
    def orders(self) -> Orders:
        trainer = self.agents[0].trainer
        assert trainer is not None
        assert trainer.orders is not None
        return trainer.orders

    def by_hand(self) -> Any:
        from poet.app import local_folder

        return ordering(self.store, Orders(local_folder(self.settings)), now=self.clock.wall(), host="web-1")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    one = Shop(tmp_path)
    yield one
    for agent in one.agents:
        agent.close()


def test_an_order_holds_in_all_processes_of_the_host_in_their_next_round_and_in_the_store_when_it_is_back(
    shop: Shop,
) -> None:
    here, there = shop.process(0.05), shop.process(0.05)
    shop.call(here, 60)
    shop.call(there, 60)
    (key,) = (each.key for each in shop.store.functions())
    learned = shop.store.standing(key).live
    assert learned.version > 1
    shop.store.gone = True
    shop.call(here)
    assert here.poet.parameters["timeout"] == learned["timeout"]
    shop.by_hand().rollback(key, 1, author="ann", reason="sluggish")
    shop.call(here)
    shop.call(there)
    assert here.poet.parameters["timeout"] == there.poet.parameters["timeout"] == 30.0
    shop.call(here, 100)  # and nothing is learned over it
    assert here.poet.status()["state"] == "paused"
    assert here.poet.parameters["timeout"] == 30.0
    later = shop.process(0.05)  # who starts while it is away finds the order
    shop.call(later)
    assert later.poet.parameters["timeout"] == 30.0

    shop.store.gone = False
    for fetch in (there, here, later):
        shop.call(fetch)
        assert fetch.poet.parameters["timeout"] == 30.0
    standing = shop.store.standing(key)
    assert (standing.live.version, MARK in standing.paused) == (1, True)
    assert [change.action for change in shop.store.history(key)].count("rollback") == 1
    assert here.poet._trainee.standing == standing
    assert shop.orders.waiting() == []
    here.poet.resume()
    shop.call(here, 5)
    assert here.poet.status()["state"] == "learning"


def test_what_a_process_had_learned_meanwhile_does_not_come_back_over_an_order(shop: Shop) -> None:
    fetch = shop.process(0.05)
    shop.call(fetch)
    shop.store.gone = True
    shop.call(fetch, 60)
    (key,) = fetch.poet._agent.trainer.trainees
    assert fetch.poet._trainee.draft
    shop.by_hand().rollback(key, 1, author="ann", reason="no drafts")
    shop.call(fetch)
    shop.store.gone = False
    shop.call(fetch, 3)
    assert [version.version for version in shop.store.versions(key)] == [1]
    assert shop.store.standing(key).live.version == 1


def test_a_pause_that_was_ordered_is_over_when_resuming_was_ordered(shop: Shop) -> None:
    fetch = shop.process(0.05)
    shop.call(fetch)
    (key,) = fetch.poet._agent.trainer.trainees
    shop.store.gone = True
    shop.by_hand().steer(key, author="ann", reason="look", paused=True)
    shop.call(fetch)
    assert fetch.poet.status()["state"] == "paused"
    shop.clock.sleep(1.0)
    shop.by_hand().steer(key, author="ann", reason="seen", paused=False)
    shop.call(fetch)
    assert fetch.poet.status()["state"] == "learning"
    shop.store.gone = False
    shop.call(fetch)
    assert [change.action for change in shop.store.history(key)][-2:] == ["pause", "resume"]


def test_the_handle_goes_back_and_pauses_while_the_store_is_away_and_the_other_process_follows(shop: Shop) -> None:
    here, there = shop.process(0.05), shop.process(0.05)
    shop.call(here, 60)
    shop.call(there, 60)
    shop.store.gone = True
    shop.call(here)
    assert here.poet.rollback(1, reason="sluggish")["timeout"] == 30.0
    assert here.poet.parameters["timeout"] == 30.0
    shop.call(there)
    assert there.poet.parameters["timeout"] == 30.0
    with pytest.raises(StoreAway):
        here.poet.pin(timeout=3.0)
    shop.clock.sleep(1.0)
    there.poet.resume("it was the network")
    shop.call(here)
    assert here.poet.status()["state"] == "learning"
    shop.store.gone = False
    shop.call(here)
    (key,) = (each.key for each in shop.store.functions())
    assert [change.action for change in shop.store.history(key)][-2:] == ["rollback", "resume"]
