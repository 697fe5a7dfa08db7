from __future__ import annotations

import json
import os
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from houses import House, Script
from poet.errors import ConfigurationError, StoreUnavailable
from poet.model import flag as flags
from poet.model.document import LONGEST_BODY, Document
from poet.model.flag import FLAGS, Rule, Whom
from poet.model.rollout import RolloutPolicy
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.stores.postgres import PostgresStore
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock
from poet.training import by_hand
from poet.training.flags import Flags, history, set_rule, unset_rule
from postgres.server import database_for, shared


class Shown:
    """Flags in a folder of their own, and what was told of faults."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.clock, self.faults, self.root = VirtualClock(100.0), list[str](), root
        self.settings = Settings(store="memory:", root=root, **settings)

    def flags(self, folder: Path | None = None) -> Flags:
        def told(where: str, error: BaseException) -> None:
            self.faults.append(f"{where}: {error}")

        return Flags(self.settings, self.clock, told, host="web-1", folder=folder)

    def write(self, text: str, name: str = "flags.json") -> None:
        (self.root / ".poet").mkdir(exist_ok=True)
        (self.root / ".poet" / name).write_text(text, encoding="utf-8")


def kill(store: Any, name: str = "learn.online", value: str = "off", **selected: Any) -> None:
    set_rule(store, name, flags.rule(name, value, **selected), author="ann", reason="incident", at=1.0)


def test_without_a_word_every_flag_has_its_default(tmp_path: Path) -> None:
    seen = Shown(tmp_path).flags()
    assert {name: seen.value(name, "shop.fetch") for name in FLAGS} == {n: f.default for n, f in FLAGS.items()}
    assert seen.decided("learn.online", Whom()).source == "default"
    with pytest.raises(ConfigurationError, match=r"did you mean 'learn\.online'"):
        seen.value("learn.onlin", "shop.fetch")


def test_the_environment_wins_over_the_file_and_that_over_the_row(tmp_path: Path) -> None:
    store = MemoryStore()
    for source, flag in (("row", "learn.batch"), ("file", "share.read"), ("environment", "share.write")):
        for name in ("learn.online", flag):
            shown = Shown(tmp_path, flags="learn.online=observe,share.write=on" if source == "environment" else "")
            if source == "file":
                shown.write('{"learn.online": "on", "share.read": "on"}')
            kill(store, "learn.online", "defaults")
            kill(store, "learn.batch", "observe")
            seen = shown.flags()
            seen.read(store)
            assert seen.decided(name, Whom("f")).source == source, (source, name)


def test_a_mark_of_byte_order_does_no_harm(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    shown.write('\ufeff{"share.read": "on"}')
    assert (shown.flags().value("share.read", "f"), shown.faults) == ("on", [])


def test_who_is_not_meant_by_a_stronger_source_is_told_by_a_weaker_one(tmp_path: Path) -> None:
    shown, store = Shown(tmp_path), MemoryStore()
    shown.write('{"learn.online": [{"value": "observe", "function": "shop.*"}]}')
    kill(store)
    seen = shown.flags()
    seen.read(store)
    assert [seen.value("learn.online", name) for name in ("shop.fetch", "bank.pay")] == ["observe", "off"]
    assert [source for source, _ in seen.rules("learn.online")] == ["file", "row"]


def test_a_file_is_looked_at_once_a_second(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    seen = shown.flags()
    shown.write('{"learn.online": "off"}')
    assert not seen.refresh()
    shown.clock.sleep(0.99)
    assert not seen.refresh()
    assert seen.value("learn.online", "f") == "on"
    shown.clock.sleep(0.02)
    assert seen.refresh()
    assert seen.value("learn.online", "f") == "off"
    before = (tmp_path / ".poet" / "flags.json").stat()
    shown.write('{"learn.online": "on" }')  # as long as before, and of the same moment: seen all the same
    os.utime(tmp_path / ".poet" / "flags.json", ns=(before.st_atime_ns, before.st_mtime_ns))
    shown.clock.sleep(1.0)
    assert seen.refresh()
    assert seen.value("learn.online", "f") == "on"
    (tmp_path / ".poet" / "flags.json").unlink()
    shown.clock.sleep(1.0)
    assert seen.refresh()
    assert seen.decided("learn.online", Whom("f")).source == "default"
    assert shown.faults == []


def test_a_file_named_off_turns_everything_off_but_what_is_to_do_even_less(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    shown.write("", "off")
    seen = shown.flags()
    assert {seen.value(name, "f") for name in FLAGS} == {"off"}
    shown.write('{"learn.online": [{"value": "defaults", "function": "shop.*"}, {"value": "on"}], "share.read": "on"}')
    seen = shown.flags()
    assert [seen.value("learn.online", name) for name in ("shop.f", "bank.f")] == ["defaults", "off"]
    assert seen.value("share.read", "f") == "off"


@pytest.mark.parametrize("learning", ["observe", "off"])
def test_a_flag_never_does_more_than_poet_learning_allows(tmp_path: Path, learning: Any) -> None:
    for said, expected in (("on", learning), ("off", "off"), ("defaults", "defaults")):
        seen = Shown(tmp_path, learning=learning, flags=f"learn.online={said}").flags()
        assert seen.value("learn.online", "f") == expected
    assert Shown(tmp_path, learning=learning).flags().decided("learn.online", Whom("f")).source == "environment"


# --- damage: the safe value, and a fault that is counted once --------------------------------------------------------


def test_a_damaged_file_counts_as_off_until_it_is_mended(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    shown.write('{"learn.online": "on')
    seen = shown.flags()
    assert {seen.value(name, "f") for name in FLAGS} == {"off"}
    for _ in range(5):
        shown.clock.sleep(1.0)
        seen.refresh()
    assert len(shown.faults) == 1
    assert "flags.json: no JSON" in shown.faults[0]
    assert seen.faults == shown.flags().faults
    shown.write('{"learn.online": "on"}')
    shown.clock.sleep(1.0)
    assert seen.refresh()
    assert (seen.value("learn.online", "f"), seen.faults) == ("on", [])


@pytest.mark.parametrize("what", ["a folder", "no text", "too long", "a loop"])
def test_a_file_that_cannot_be_read_counts_as_off(tmp_path: Path, what: str) -> None:
    shown = Shown(tmp_path)
    place = tmp_path / ".poet" / "flags.json"
    shown.write("{}", "other")
    if what == "a folder":
        place.mkdir()
    elif what == "no text":
        place.write_bytes(b"\xff\xfe{}")
    elif what == "too long":
        place.write_text(" " * 70_000 + "{}")
    else:
        place.symlink_to(place)
    seen = shown.flags()
    assert seen.value("learn.online", "f") == "off"
    assert len(shown.faults) == 1


def test_a_switch_of_which_is_not_known_whether_it_is_there_counts_as_there(tmp_path: Path) -> None:
    shown = Shown(tmp_path)
    (tmp_path / ".poet").mkdir()
    (tmp_path / ".poet" / "off").symlink_to(tmp_path / ".poet" / "off")
    seen = shown.flags()
    assert {seen.value(name, "f") for name in FLAGS} == {"off"}
    assert len(shown.faults) == 1


def test_a_project_whose_folder_is_a_file_has_no_flags(tmp_path: Path) -> None:
    (tmp_path / ".poet").write_text("")
    shown = Shown(tmp_path)
    assert shown.flags().value("learn.online", "f") == "on"
    assert shown.faults == []


def test_a_damaged_row_counts_as_off_for_its_own_flag_and_the_next_change_mends_it(tmp_path: Path) -> None:
    store, shown = MemoryStore(), Shown(tmp_path)
    kill(store, "rollout.auto", "canary")
    store.keep(Document("flag", "learn.online", '{"changes": [{}]}'))
    store.keep(Document("flag", "later.release", "{}"))
    seen = shown.flags()
    seen.read(store)
    assert seen.value("learn.online", "f") == "off"
    assert [rule.value for _, rule in seen.rules("rollout.auto")] == ["canary"]
    assert len(shown.faults) == 1
    assert "learn.online cannot be read" in shown.faults[0]
    kill(store, value="observe")
    assert seen.read(store)
    assert (seen.value("learn.online", "f"), seen.faults) == ("observe", [])


def test_a_wrong_word_in_the_environment_counts_as_off_and_does_not_keep_functions_from_working(
    tmp_path: Path,
) -> None:
    house = House(root=tmp_path, flags="lern.online=off")
    script = Script(house.clock, 0.01)

    @house.poet(enable_training=True)
    def fetch() -> int:
        return script()

    for _ in range(30):
        fetch()
        house.agent.flush()
    status = fetch.poet.status()
    assert (status["state"], status["version"], status["calls"], status["faults"]) == ("off", 1, 30, 1)
    assert "did you mean 'learn.online'?" in status["last_fault"]


# --- the rows of a store that is away --------------------------------------------------------------------------------


def test_what_was_known_last_holds_for_whoever_starts_while_the_store_is_away(tmp_path: Path) -> None:
    store, shown, folder = MemoryStore(), Shown(tmp_path), tmp_path / "away"
    seen = shown.flags(folder)
    seen.read(store)
    assert not folder.exists()  # nothing was said
    kill(store, function="shop.*")
    seen.read(store)
    later = shown.flags(folder)
    assert [later.value("learn.online", name) for name in ("shop.f", "bank.f")] == ["off", "on"]
    unset_rule(store, "learn.online", None, author="ann", reason="over", at=2.0)
    seen.read(store)
    assert shown.flags(folder).value("learn.online", "shop.f") == "on"
    assert shown.faults == []


def test_what_was_known_last_is_off_where_it_is_damaged_until_the_store_tells(tmp_path: Path) -> None:
    store, shown, folder = MemoryStore(), Shown(tmp_path), tmp_path / "away"
    folder.mkdir()
    (folder / "flags.known").write_text('{"learn')
    seen = shown.flags(folder)
    assert seen.value("learn.online", "f") == "off"
    assert len(shown.faults) == 1
    assert seen.read(store)
    assert seen.value("learn.online", "f") == "on"


def test_a_disk_that_takes_nothing_costs_a_fault_and_no_flag(tmp_path: Path) -> None:
    store, shown = MemoryStore(), Shown(tmp_path)
    (tmp_path / "away").write_text("a file")
    seen = shown.flags(tmp_path / "away")
    kill(store)
    assert seen.read(store)
    assert seen.value("learn.online", "f") == "off"
    assert len(shown.faults) == 1


# --- changing rows ---------------------------------------------------------------------------------------------------


def test_each_change_is_kept_with_who_when_what_and_why() -> None:
    store = MemoryStore()
    set_rule(store, "learn.online", Rule("observe"), author="ann", reason="try it", at=10.0)
    set_rule(store, "learn.online", Rule("on", percent=10.0), author="bob", reason="a tenth", at=20.0)
    set_rule(store, "share.read", Rule("on"), author="bob", reason="", at=25.0)
    assert unset_rule(store, "learn.online", Rule("", function="x"), author="eve", reason="?", at=27.0) is None
    assert unset_rule(store, "learn.batch", None, author="eve", reason="?", at=27.0) is None
    unset_rule(store, "learn.online", None, author="eve", reason="stop", at=30.0)
    told = [(name, c.number, c.at, c.author, c.reason, [r.value for r in c.rules]) for name, c in history(store)]
    assert told == [
        ("learn.online", 1, 10.0, "ann", "try it", ["observe"]),
        ("learn.online", 2, 20.0, "bob", "a tenth", ["on", "observe"]),
        ("share.read", 1, 25.0, "bob", "", ["on"]),
        ("learn.online", 3, 30.0, "eve", "stop", []),
    ]
    assert [name for name, _ in history(store, "share.read")] == ["share.read"]
    with pytest.raises(ConfigurationError, match="no flag"):
        history(store, "share")


def test_a_history_grows_beyond_what_one_document_holds_and_loses_nothing() -> None:
    store, n = MemoryStore(), 300
    for i in range(n):
        kill(store, function=f"shop.{'x' * 60}{i % 19}", value=("off", "observe")[i % 2])
    told = history(store)
    assert [change.number for _, change in told] == list(range(1, n + 1))
    archives = store.documents("flag.history")
    assert len(archives) > 3
    assert all(len(row.body.encode()) <= LONGEST_BODY for row in (*archives, *store.documents("flag")))


def test_the_longest_rules_fit() -> None:
    store = MemoryStore()
    for i in range(20):
        glob = f"{i:02d}" + "\x01" * 98
        rule = flags.rule("learn.online", "defaults", function=glob, host=glob, tenant=glob, percent=0.1 + 0.2)
        set_rule(store, "learn.online", rule, author="\x01" * 500, reason="\x01" * 500, at=1.0)
    with pytest.raises(ConfigurationError, match="at most 20 rules: unset one of them first"):
        kill(store, function="one more")
    with pytest.raises(ConfigurationError, match="at most 500 characters"):
        set_rule(store, "learn.online", Rule("off"), author="", reason="x" * 501, at=1.0)
    assert len(history(store)) == 20


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres"])
def test_several_who_change_a_flag_at_once_all_find_their_change_in_the_history(tmp_path: Path, kind: str) -> None:
    with ExitStack() as stack:
        memory = MemoryStore()
        url = stack.enter_context(shared().database(database_for(tmp_path))) if kind == "postgres" else ""

        def opened() -> Any:
            if kind == "memory":
                return memory
            store = SqliteStore(tmp_path / "poet.db") if kind == "sqlite" else PostgresStore(url)
            stack.callback(store.close)
            return store

        stores = [opened() for _ in range(4)]

        def change(who: int) -> None:
            for i in range(8):
                rule = Rule("off", function=f"f{who}")
                set_rule(stores[who], "learn.online", rule, author=str(who), reason=str(i), at=1.0)

        threads = [threading.Thread(target=change, args=(who,)) for who in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = [change for _, change in history(stores[0])]
    assert sorted((change.author, change.reason) for change in told) == sorted(
        (str(who), str(i)) for who in range(4) for i in range(8)
    )
    assert [change.number for change in told] == list(range(1, 33))
    assert len(told[-1].rules) == 4


# --- what they do ----------------------------------------------------------------------------------------------------


class Away(MemoryStore):
    """A store that may be away."""

    gone = False

    def changed(self, since: int) -> Any:
        if self.gone:
            raise StoreUnavailable("the test", "it is away")
        return super().changed(since)


class Shop:
    """One function that learns, and the means to kill that."""

    def __init__(self, root: Path, policy: RolloutPolicy | None = None, **settings: Any) -> None:
        self.store = Away()
        self.house = House(root=root, store=self.store, **{"rollout": "direct", **settings})
        script = Script(self.house.clock, 0.05)

        @self.house.poet(enable_training=True, name="shop.fetch", rollout=policy)
        def fetch() -> int:
            return script()

        self.fetch, self.root = fetch, root
        self.say = Shown(root)

    def call(self, times: int) -> None:
        for _ in range(times):
            self.fetch()
            self.house.agent.flush()

    def learned(self) -> int:
        return int(self.fetch.poet.explain().executions)

    def stored(self) -> int:
        (record,) = self.store.functions()
        return record.calls


@pytest.mark.parametrize("source", ["environment", "file", "switch", "row"])
def test_off_lets_learning_stand_still_and_calls_go_on_with_the_last_good_values(tmp_path: Path, source: str) -> None:
    shop = Shop(tmp_path, flags="learn.online=off" if source == "environment" else "")
    if source != "environment":
        shop.call(150)
        assert shop.fetch.poet.parameters["timeout"] < 2.0
    if source == "file":
        shop.say.write('{"learn.online": "off"}')
    elif source == "switch":
        shop.say.write("", "off")
    elif source == "row":
        kill(shop.store, function="shop.*")
    shop.house.clock.sleep(1.0)
    shop.house.agent.flush()
    before, knew = dict(shop.fetch.poet.parameters), shop.learned()
    version = shop.fetch.poet.status()["version"]
    shop.call(100)
    assert shop.fetch.poet.status()["state"] == "off"
    assert (shop.learned(), shop.fetch.poet.status()["version"]) == (knew, version)
    assert dict(shop.fetch.poet.parameters) == before
    plan = shop.fetch.poet._cell.plan
    assert plan.probe_retry == plan.probe_limit == 0
    assert shop.stored() == (100 if source == "environment" else 250)
    assert shop.fetch.poet.status()["faults"] == 0


def test_observe_learns_and_publishes_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    kill(shop.store, value="observe")
    shop.call(150)
    status = shop.fetch.poet.status()
    assert (status["state"], status["version"]) == ("observing", 1)
    assert shop.learned() == 150
    kill(shop.store, value="on")
    shop.call(2)
    assert shop.fetch.poet.status()["version"] > 1


def test_defaults_gives_calls_the_declared_values_at_once_and_on_the_learned_ones_again(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.call(150)
    learned = dict(shop.fetch.poet.parameters)
    kill(shop.store, value="defaults")
    shop.house.agent.flush()
    assert shop.fetch.poet.parameters["timeout"] == 30.0
    assert shop.fetch.poet.status()["state"] == "defaults"
    shop.call(20)
    assert shop.stored() == 170
    unset_rule(shop.store, "learn.online", None, author="ann", reason="over", at=1.0)
    shop.house.agent.flush()
    assert dict(shop.fetch.poet.parameters) == learned
    shop.fetch.poet.pin(timeout=7.0)
    kill(shop.store, value="defaults")
    shop.house.agent.flush()
    assert shop.fetch.poet.parameters["timeout"] == 7.0  # a person said so


def test_a_flag_that_is_set_before_the_first_call_holds_for_the_first_call(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.call(150)
    shop.house.agent.close = lambda: None  # type: ignore[method-assign]
    later = Shop(tmp_path)
    later.house.agent._make_store = lambda _: shop.store
    kill(shop.store, value="defaults")
    later.fetch()
    assert later.fetch.poet.parameters["timeout"] == 30.0


def test_a_row_that_was_known_holds_while_the_store_is_away(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    kill(shop.store)
    shop.call(5)
    shop.store.gone = True
    shop.call(150)
    assert shop.learned() == 0
    assert json.loads(shop.store.documents("flag")[0].body)["changes"][0]["reason"] == "incident"


def test_a_file_works_while_the_store_is_away(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    shop.call(150)
    shop.store.gone = True
    shop.say.write('{"learn.online": "defaults"}')
    shop.house.clock.sleep(1.0)
    shop.call(1)
    assert shop.fetch.poet.parameters["timeout"] == 30.0


# --- roll-outs -------------------------------------------------------------------------------------------------------


FOREVER = ((0.25, 100_000),)
LONG = RolloutPolicy(steps=FOREVER, first=FOREVER, urgent=FOREVER)  # no end to its first step is seen here


def test_without_rollout_auto_new_versions_wait_and_a_person_makes_them_live(tmp_path: Path) -> None:
    shop = Shop(tmp_path, rollout="canary")
    kill(shop.store, "rollout.auto")
    shop.call(300)
    (key,) = (record.key for record in shop.store.functions())
    standing = shop.store.standing(key)
    assert standing.live.version == 1
    assert standing.canary is not None
    assert {execution.version for execution in shop.store.executions(key)} == {1}
    by_hand.promote(shop.store, key, author="ann", reason="it is good", now=1.0)
    shop.call(1)
    assert shop.fetch.poet.parameters["timeout"] < 30.0


def test_no_call_gets_a_version_on_trial_where_learning_stands_still(tmp_path: Path) -> None:
    shop = Shop(tmp_path, LONG, rollout="canary")
    shop.call(300)
    (key,) = (record.key for record in shop.store.functions())
    assert shop.store.standing(key).canary is not None
    kill(shop.store)
    shop.house.agent.flush()
    before = len(list(shop.store.executions(key)))
    shop.call(200)
    assert {execution.version for execution in list(shop.store.executions(key))[before:]} == {1}
    kill(shop.store, value="defaults")
    shop.house.agent.flush()
    shop.call(50)
    assert {execution.version for execution in list(shop.store.executions(key))[before + 200 :]} == {0}
    kill(shop.store, value="on")
    shop.house.agent.flush()
    shop.call(100)
    assert {execution.version for execution in list(shop.store.executions(key))[before + 250 :]} > {1}


def test_a_rollback_ends_the_roll_out_and_no_call_gets_its_version_any_more(tmp_path: Path) -> None:
    shop = Shop(tmp_path, LONG, rollout="canary")
    shop.call(300)
    (key,) = (record.key for record in shop.store.functions())
    (opened,) = shop.store.standing(key).steering
    shop.fetch.poet.rollback(1, reason="sluggish")
    before = len(list(shop.store.executions(key)))
    shop.call(100)
    assert {execution.version for execution in list(shop.store.executions(key))[before:]} == {1}
    (over,) = shop.store.documents("rollout", key, name=opened.name)
    told = json.loads(over.body)
    assert (over.open, told["ended"]["why"], told["phase"]) == (False, "rolled back: sluggish", "canary")
    assert {name: x for name, x in told.items() if name != "ended"} == json.loads(opened.body)
    assert shop.fetch.poet.status()["faults"] == 0
