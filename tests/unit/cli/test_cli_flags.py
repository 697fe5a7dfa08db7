from __future__ import annotations

import io
import json
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from poet.cli import flags
from poet.cli.arguments import UsageError, parse
from poet.cli.hand_pages import PAGES
from poet.cli.pages import show_page
from poet.cli.views import Document, plain
from poet.errors import ConfigurationError, StoreAway, StoreUnavailable
from poet.model.document import Document as Kept
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from unit.cli import shop
from unit.cli.shop import NOW


class Lasting(MemoryStore):
    """It outlives the command that closes it."""

    def close(self) -> None: ...


class Shell:
    """``poet flags …`` on a filled store in memory that passes for one in a file."""

    def __init__(self, root: Path, **settings: Any) -> None:
        clock = shop.clock()
        self.store, self.now = Lasting(clock=clock), NOW
        shop.fill(self.store, clock)
        self.settings = Settings(root=root, **settings)

    def ask(self, line: str, *reason: str) -> Document:
        words = parse(["flags", *line.split(), *(("--reason", *reason) if reason else ())], "1")
        self.now += 1.0
        doc = flags.run(words, self.settings, self.now, lambda: True, lambda: self.store, lambda: self.store)
        json.dumps(plain(doc), allow_nan=False)
        return doc

    def value(self, name: str, line: str = "") -> str:
        return str(next(row["value"] for row in self.ask(line)["flags"] if row["name"] == name))


def page(doc: Document, width: int = 110) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
    show_page(doc, console, UTC, PAGES)
    return stream.getvalue()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_all_flags_are_listed_with_their_phases_and_who_said_so(tmp_path: Path) -> None:
    shell = Shell(tmp_path, flags="share.read=on")
    shell.ask("set learn.online off --function prices.*", "incident 7")
    doc = shell.ask("--function shop.prices.fetch")
    told = {row["name"]: (row["value"], row["source"]) for row in doc["flags"]}
    assert told == {
        "learn.online": ("off", "row"),
        "learn.batch": ("on", "default"),
        "share.read": ("on", "environment"),
        "share.write": ("off", "default"),
        "rollout.auto": ("on", "default"),
        "dashboard.write": ("on", "default"),
    }
    assert doc["faults"] == []
    said = page(doc)
    assert "defaults off observe canary on" in said
    assert "off for function prices.*" in said
    assert "incident 7 (" in said
    assert shell.value("learn.online") == "on"  # for no function in particular
    assert shell.value("learn.online", "--function shop.stock.fetch") == "on"


def test_a_rule_is_set_grows_and_is_taken_away(shell: Shell) -> None:
    shell.ask("set learn.online observe", "look first")
    doc = shell.ask("set learn.online on --percent 10 --host web-*")
    assert [rule["value"] for rule in doc["after"]] == ["on", "observe"]
    doc = shell.ask("set learn.online on --host web-* --percent 50%")
    assert [(rule["value"], rule["percent"]) for rule in doc["after"]] == [("on", 50.0), ("observe", 100.0)]
    assert "learn.online: on for host web-*, 50 %; observe" in page(doc)
    doc = shell.ask("set learn.online off")  # before all others: a kill switch
    assert [rule["value"] for rule in doc["after"]] == ["off", "on"]
    doc = shell.ask("unset learn.online")
    assert [rule["value"] for rule in doc["after"]] == ["on"]
    assert shell.ask("unset learn.online --function f")["done"] is False
    doc = shell.ask("unset learn.online --all", "over")
    assert doc["after"] == []
    assert "learn.online: no rule" in page(doc)
    assert "there is no such rule" in page(shell.ask("unset learn.online"))


def test_a_kill_switch_for_all_holds_beside_a_rule_for_a_share_of_all(shell: Shell) -> None:
    shell.ask("set learn.online on --percent 10")
    doc = shell.ask("set learn.online off")
    assert [rule["value"] for rule in doc["after"]] == ["off", "on"]
    assert shell.value("learn.online", "--function shop.prices.fetch") == "off"


def test_how_many_functions_a_pattern_names_is_said(shell: Shell) -> None:
    for glob, number in (("shop.*", 3), ("fetch", 2), ("prices.fetch", 1), ("typo.*", 0)):
        doc = shell.ask(f"set share.read on --function {glob} --host x --percent 1")
        assert doc["functions"] == number, glob
    assert "it names 0 functions that this store knows" in page(doc)
    assert shell.ask("set share.read on")["functions"] is None


def test_the_history_tells_before_and_after_with_who_when_and_why(shell: Shell) -> None:
    shell.ask("set learn.online off --function prices.fetch", "incident 7")
    shell.ask("set rollout.auto off")
    shell.ask("unset learn.online --function prices.fetch", "it was the network")
    doc = shell.ask("history")
    told = [(each["flag"], each["number"], len(each["before"]), len(each["after"])) for each in doc["entries"]]
    assert told == [("learn.online", 1, 0, 1), ("rollout.auto", 1, 0, 1), ("learn.online", 2, 1, 0)]
    assert [each["reason"] for each in doc["entries"]] == ["incident 7", "", "it was the network"]
    assert all(each["author"] and NOW < each["at"] <= shell.now for each in doc["entries"])
    assert [each["flag"] for each in shell.ask("history rollout.auto")["entries"]] == ["rollout.auto"]
    said = page(doc)
    assert "off for function prices.fetch → no rule" in said
    assert "2023-11-15 00:13:21" in said
    assert "no flag was ever changed" in page(shell.ask("history share.read"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("set learn.onlin off", "no flag 'learn.onlin': did you mean 'learn.online'?"),
        ("set learn.online of", "learn.online has no value 'of': did you mean 'off'?"),
        ("set learn.online off --percent 0", "percent of a rule must be in"),
        ("set learn.online off --percent nan", "percent of a rule must be in"),
        ("unset learn", "no flag 'learn'"),
        ("history learn", "no flag 'learn'"),
    ],
)
def test_a_mistake_is_refused_with_the_nearest_and_changes_nothing(shell: Shell, line: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        shell.ask(line)
    assert shell.store.documents("flag") == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("set learn.online", "the following arguments are required: VALUE"),
        ("set learn.online off --percent ten", "must be a number in"),
        ("sett learn.online off", "invalid choice: 'sett'"),
        ("set learn.online off --functon f", "did you mean '--function'?"),
    ],
)
def test_words_that_are_none_are_refused(shell: Shell, line: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        shell.ask(line)


def test_faults_of_every_source_are_shown(tmp_path: Path) -> None:
    shell = Shell(tmp_path, flags="lern.online=off")
    (tmp_path / ".poet").mkdir()
    (tmp_path / ".poet" / "flags.json").write_text("{")
    shell.store.keep(Kept("flag", "rollout.auto", "{}"))
    doc = shell.ask("")
    assert [fault.partition(":")[0] for fault in doc["faults"]] == ["POET_FLAGS", "file", "row in the store"]
    assert {row["value"] for row in doc["flags"]} == {"off"}
    assert "did you mean 'learn.online'?" in page(doc)


def test_values_are_shown_where_the_store_cannot_be_asked_and_a_change_says_what_else_works(tmp_path: Path) -> None:
    class Away(Lasting):
        gone = False

        def documents(self, *how: Any, **more: Any) -> Any:
            if self.gone:
                raise StoreAway("postgresql://db/shop", "it is away")
            return super().documents(*how, **more)

    shell = Shell(tmp_path, flags="learn.online=off")
    shell.store = Away()
    shell.store.gone = True
    doc = shell.ask("")
    assert doc["flags"][0]["value"] == "off"
    assert "rows cannot be read now" in doc["faults"][0]
    with pytest.raises(StoreUnavailable, match=r"a file \.poet/flags\.json, or POET_FLAGS, works on each host"):
        shell.ask("set learn.online off")


def test_no_store_is_made_by_looking_and_none_in_memory_is_changed(tmp_path: Path) -> None:
    words = parse(["flags"], "1")

    def never() -> Any:
        raise AssertionError("it is not there")

    doc = flags.run(words, Settings(root=tmp_path), NOW, lambda: False, never, never)
    assert [row["source"] for row in doc["flags"]] == ["default"] * 6
    with pytest.raises(StoreUnavailable, match="only the process that fills it"):
        flags.run(
            parse(["flags", "set", "learn.online", "off"], "1"),
            Settings(store="memory:"),
            NOW,
            lambda: True,
            never,
            never,
        )
