from __future__ import annotations

import io
import time
from collections.abc import Iterator
from datetime import UTC
from typing import Any

import pytest
from rich.console import Console

from poet.cli import rollback
from poet.cli.arguments import UsageError
from poet.cli.hand_pages import PAGES
from poet.cli.pages import show_page
from poet.cli.rollback import Rollback, moment
from poet.cli.views import Document
from poet.errors import ConfigurationError, UnknownVersion
from poet.model.document import Document as Kept
from poet.model.execution import Execution, Outcome
from poet.model.parameters import ParameterSet
from poet.seams import ProcessReport
from poet.stores.memory import MemoryStore
from poet.training.rollback import NothingToUndo
from unit.cli import shop
from unit.cli.shop import NIGHTLY, NOW, OPENING, PARCEL, PRICES, STOCK


def page(doc: Document) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=100, markup=False, highlight=False, emoji=False)
    show_page(doc, console, UTC, PAGES)
    return stream.getvalue()


def filled() -> tuple[MemoryStore, Any]:
    clock = shop.clock()
    store = MemoryStore(clock=clock)
    shop.fill(store, clock)
    return store, clock


def live(store: MemoryStore, key: Any = PRICES) -> int:
    return store.standing(key).live.version


def test_a_rollback_tells_the_exact_diff_and_whom_it_touches() -> None:
    store, _ = filled()
    calls = [Execution("w1", 500 + i, NOW - 60.0 * i, 0.2, Outcome.SUCCESS, 3 - (i > 2), ()) for i in range(5)]
    store.append(PRICES, [*calls, Execution("w2", 1, NOW - 30, 0.2, Outcome.SUCCESS, 2, ())])
    store.report(ProcessReport("w3", "other", 1, OPENING, NOW - 1, 0, 0, ""))
    store.keep(Kept("rollout", "r1", '{"phase": "canary", "share": 0.25}', PRICES))
    doc = rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=1, reason="sluggish"))
    assert doc["diff"] == {"timeout": (0.84321, 30.0), "retries": (2, 3)}
    radius = doc["radius"]
    assert (radius["calls"], radius["under_live"], radius["hosts"]) == (6, 3, ["till"])  # w2 was seen long ago
    assert [each["writer"] for each in radius["processes"]] == ["w1"]
    assert doc["ends"] == [{"kind": "rollout", "name": "r1"}]
    said = page(doc)
    assert "version 3 → 1" in said
    assert "touches: 1 process on 1 host (till); 6 calls within the last hour, 3 of them under it" in said
    assert "ended: rollout r1" in said
    (over,) = store.documents("rollout", PRICES)
    assert not over.open
    assert '"share": 0.25, "ended": {"by": ' in over.body
    assert store.standing(PRICES).steering == ()


def test_who_is_asked_and_says_no_has_changed_nothing() -> None:
    store, _ = filled()
    before, shown = store.generation(), []

    def no(doc: Document) -> bool:
        shown.append(doc)
        return False

    doc = rollback.run(store, Rollback(now=NOW, function="prices.fetch", confirm=no))
    assert (doc["ok"], store.generation()) == (False, before)
    assert page(doc) == "nothing was changed\n"
    said = page(shown[0])
    assert "version 3 → 2" in said
    assert "undo" not in said
    everything = Rollback(now=NOW, all=True, before=OPENING + 1, confirm=no)
    assert rollback.run(store, everything)["ok"] is False
    assert "would roll back 1 function; " in page(shown[1])
    assert store.generation() == before


def test_a_rollback_and_its_undo_leave_what_was_there_and_both_in_the_history() -> None:
    store, clock = filled()
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=1, reason="sluggish"))
    assert store.standing(PRICES).paused == "sluggish"
    clock.sleep(60)
    doc = rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True, reason="it was the network"))
    assert (live(store), store.standing(PRICES).paused) == (3, "")
    assert [(c.action, c.version) for c in store.history(PRICES)][-3:] == [
        ("rollback", 1),
        ("promote", 3),
        ("resume", 3),
    ]
    assert store.history(PRICES)[-2].reason == "undo of the rollback to 1: it was the network"
    assert "learning goes on" in page(doc)
    with pytest.raises(NothingToUndo, match=r"version 3 went live \(undo of the rollback to 1"):
        rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))


def test_undo_keeps_a_pause_that_was_there_before_and_one_that_was_not() -> None:
    store, _ = filled()
    store.steer(PRICES, author="ann", reason="audit", paused=True)
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=1, reason="sluggish"))
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))
    assert (live(store), store.standing(PRICES).paused) == (3, "audit")
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=1, reason="again"))
    store.steer(PRICES, author="ann", reason="", paused=False)
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))
    assert (live(store), store.standing(PRICES).paused) == (3, "audit")


def test_undo_knows_a_pause_from_a_version_that_was_taken_back_without_one() -> None:
    store, _ = filled()
    store.rollback(PRICES, 2, author="ann", reason="withdrawn", pause=False)  # as a roll-out is, late
    assert store.standing(PRICES).paused == ""
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=1, reason="sluggish"))
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))
    assert (live(store), store.standing(PRICES).paused) == (2, "")


def test_undo_goes_by_the_history_where_nothing_else_tells() -> None:
    store, _ = filled()
    store.steer(PRICES, author="ann", reason="audit", paused=True)
    store.rollback(PRICES, 1, author="ann", reason="by an older release")
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))
    assert (live(store), store.standing(PRICES).paused) == (3, "audit")


def test_undo_is_refused_where_something_else_went_live_or_nothing_was_rolled_back() -> None:
    store, _ = filled()
    with pytest.raises(NothingToUndo, match=r"shop\.prices\.fetch: was never rolled back"):
        rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=1))
    draft = ParameterSet(values_={**store.standing(PRICES).live, "timeout": 7.0}, origin="manual", reason="mine")
    store.publish(PRICES, draft, expected=store.standing(PRICES).generation)
    with pytest.raises(NothingToUndo, match=r"version 4 went live \(mine\) since it was rolled back to 1: name"):
        rollback.run(store, Rollback(now=NOW, function="prices.fetch", undo=True))


def test_to_last_good_goes_where_that_name_stands() -> None:
    store, _ = filled()
    assert store.aliases(PRICES)["last_good"].version == 2
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", to="last-good"))
    assert live(store) == 2


def test_all_that_has_changed_since_a_moment_goes_back_and_the_rest_stays() -> None:
    store, clock = filled()  # versions 2 and 3 of prices.fetch came after 1800 s and 3600 s
    draft = ParameterSet(values_={**store.standing(STOCK).live, "timeout": 7.0}, origin="manual", reason="deploy")
    clock.sleep(100)
    store.publish(STOCK, draft, expected=store.standing(STOCK).generation)
    told = Rollback(now=NOW, all=True, before=OPENING + 2_000, reason="bad deploy")
    doc = rollback.run(store, told)
    assert {key: live(store, key) for key in (PRICES, STOCK, PARCEL, NIGHTLY)} == {
        PRICES: 2,
        STOCK: 2,
        PARCEL: 1,
        NIGHTLY: 1,
    }
    # stock.fetch was first recorded after 3600 s: there is no version of it from before
    assert [(part["short_name"], part["after"]["version"]) for part in doc["functions"]] == [("prices.fetch", 2)]
    assert {each["why"] for each in doc["left"]} == {"it was not there yet"}
    assert store.standing(PRICES).paused == "bad deploy"
    assert "rolled back 1 function; 3 as they were" in page(doc)
    doc = rollback.run(store, Rollback(now=NOW, all=True, before=OPENING + 3_650))
    assert {part["short_name"]: part["after"]["version"] for part in doc["functions"]} == {
        "prices.fetch": 3,
        "stock.fetch": 1,
    }
    doc = rollback.run(store, Rollback(now=NOW, all=True, before=OPENING + 3_650))
    assert doc["functions"] == []
    assert "nothing to do" in page(doc)


def test_one_function_goes_back_to_a_moment_and_not_to_one_before_it_was_there() -> None:
    store, _ = filled()
    rollback.run(store, Rollback(now=NOW, function="prices.fetch", before=OPENING + 1_800))  # before, not at
    assert live(store) == 1
    with pytest.raises(ConfigurationError, match="was not there yet"):
        rollback.run(store, Rollback(now=NOW, function="prices.fetch", before=OPENING))


def test_a_version_that_is_not_there_is_named_with_those_that_are() -> None:
    store, _ = filled()
    with pytest.raises(UnknownVersion, match="has no version 9; it has: 1, 2, 3"):
        rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=9))


@pytest.fixture
def in_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


class Words:
    def __init__(self, **words: Any) -> None:
        self.__dict__.update(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "rollback takes one function, or --all"),
        ({"function": "f", "all": True}, "rollback takes one function, or --all"),
        ({"all": True}, "needs --to-before TIME, or --to last-good"),
        ({"all": True, "to": 3}, "needs --to-before TIME, or --to last-good"),
        ({"all": True, "undo": True}, "needs --to-before TIME, or --to last-good"),
        ({"function": "f", "to": 3, "undo": True}, "exclude each other"),
        ({"function": "f", "to": 3, "to_before": "2h"}, "exclude each other"),
    ],
)
def test_words_that_say_two_things_are_refused(words: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        rollback.asked(Words(**words), NOW, None)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("2h", 7200.0),
        ("90s", 90.0),
        ("2023-11-15T00:13:20+00:00", 0.0),
        ("2023-11-15 00:00", 800.0),
        ("2023-11-15T01:00:00+01:00", 800.0),
        ("00:10", 200.0),
        ("00:10:00", 200.0),
        ("23:00", 4400.0),  # of the day before
        ("2023-11-14", 87_200.0),
    ],
)
def test_a_moment_is_read_as_people_write_it(text: str, ago: float, in_utc: None) -> None:
    assert moment(text, NOW) == NOW - ago


@pytest.mark.parametrize("text", ["", "h", "soon", "2x", "-2h", "25:00", "2023-13-01", "9" * 12 + "h", "1e3h", "²h"])
def test_what_is_no_moment_is_refused_with_what_is_one(text: str) -> None:
    with pytest.raises(ConfigurationError, match="a time is written as 2026-11-28 18:00"):
        moment(text, NOW)


def test_a_moment_that_is_yet_to_come_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="is yet to come"):
        moment("2199-01-01", NOW)
