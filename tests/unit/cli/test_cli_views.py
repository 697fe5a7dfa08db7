from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from poet.cli import commands, views
from poet.cli.commands import Asked
from poet.errors import StoreCorrupt
from poet.model.execution import Execution, Outcome
from poet.model.explanation import Explanation
from poet.model.function import FunctionKey
from poet.model.parameters import Change, ParameterSet, Standing
from poet.seams import ProcessReport
from poet.stores.memory import MemoryStore
from unit.cli import shop
from unit.cli.shop import NOW, OPENING, PARCEL, PRICES, STOCK

ASKED = Asked(now=NOW)


def filled() -> MemoryStore:
    clock = shop.clock()
    store = MemoryStore(clock=clock)
    shop.fill(store, clock)
    return store


def test_status_has_a_row_per_function_with_its_state() -> None:
    doc = commands.status(filled(), ASKED)
    rows = {row["short_name"]: row for row in doc["functions"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "prices.fetch": "learning",
        "stock.fetch": "paused",
        "send": "declared only",
        "nightly report": "no calls",
    }
    prices = rows["prices.fetch"]
    assert (prices["calls"], prices["failures"], prices["version"]) == (100, 10, 3)
    assert abs(prices["success"] - 0.9) < 1e-9
    assert abs(prices["mean_seconds"] - 0.2) < 1e-6
    assert prices["last_change"]["reason"].startswith("timeout 2.5 → 0.843 s")
    assert rows["nightly report"]["success"] is None


def test_status_sums_what_went_wrong_within_a_day_only() -> None:
    reports = [
        ProcessReport("a", "h", 1, 0.0, NOW - 5, 1, 0, ""),
        ProcessReport("b", "h", 2, 0.0, NOW - 600, 2, 3, "torn"),
        ProcessReport("c", "h", 3, 0.0, NOW - 90_000, 50, 50, "old news"),
    ]
    fare = views.processes(reports, NOW)
    assert (fare["alive"], fare["seen_today"], fare["dropped"], fare["faults"]) == (1, 2, 3, 3)
    assert fare["last_fault"] == {"text": "torn", "seen": NOW - 600, "host": "h", "pid": 2, "writer": "b"}


def test_state_tells_pins_and_settings_apart() -> None:
    record = shop.record(PRICES)._replace(calls=3)
    live = ParameterSet(values_=record.declared, version=1)
    assert views.state(record, Standing(live, 1, "", {"timeout": 1.0}), "on") == "pinned"
    assert views.state(record, Standing(live, 1), "observe") == "observing"
    assert views.state(record, Standing(live, 1), "off") == "off"


def test_show_has_each_parameter_with_its_interval_and_pin() -> None:
    store = filled()
    store.steer(PRICES, author="ann", reason="", pinned={"retries": 1})
    doc = commands.show(store, "prices.fetch", ASKED)
    assert doc["parameters"]["retries"] == {"declared": 3, "live": 1, "pinned": 1, "estimate": None}
    assert doc["parameters"]["timeout"]["live"] == 0.84321
    assert (doc["versions"], doc["version"]["origin"]) == (4, "manual")


def test_requests_hedges_and_shed_calls_of_the_last_hour_are_counted() -> None:
    store = filled()
    store.append(PRICES, shop.fresh())
    rows = {row["short_name"]: row["recent"] for row in commands.status(store, ASKED)["functions"]}
    assert rows["prices.fetch"] == {"calls": 3, "requests": 3, "hedges": 1, "shed": 1}
    assert rows["send"] == {"calls": 0, "requests": 0, "hedges": 0, "shed": 0}
    assert commands.show(store, "prices.fetch", ASKED)["recent"] == rows["prices.fetch"]
    later = ASKED._replace(now=NOW + views.LATELY - 250)
    assert commands.status(store, later)["functions"][2]["recent"]["calls"] == 2
    assert commands.show(store, "prices.fetch", later)["recent"]["calls"] == 2


def test_of_many_calls_in_an_hour_the_newest_are_counted() -> None:
    store = filled()
    many = shop.executions(1500, writer="w7", start=NOW - 3_000.0)
    store.append(PRICES, [call._replace(started=NOW - 3_000.0 + call.sequence) for call in many])
    shed = shop.fresh()[1]
    store.append(PRICES, [shed._replace(sequence=7, started=NOW - 2_999.5)])
    assert commands.show(store, "prices.fetch", ASKED)["recent"] == {
        "calls": views.NEWEST,
        "requests": views.NEWEST,
        "hedges": 0,
        "shed": 0,
    }


def test_show_lists_the_newest_calls_with_attempts_and_features() -> None:
    store = filled()
    store.append(PRICES, shop.fresh())
    timeout, shed, hedged, *older = commands.show(store, "prices.fetch", ASKED)["last_calls"]
    assert timeout["attempts"] == [{"outcome": "timeout", "seconds": 1.25, "waited": 0.0, "hedge": False}]
    assert (timeout["error"], timeout["context"], timeout["version"]) == ("PoetTimeout", {}, 3)
    assert (shed["outcome"], shed["requests"], shed["hedges"], shed["error"]) == ("shed", 0, 0, "CircuitOpen")
    assert (hedged["id"], hedged["at"], hedged["seconds"], hedged["outcome"]) == ("w9-0", NOW - 300, 0.75, "success")
    assert (hedged["requests"], hedged["hedges"], hedged["error"]) == (2, 1, None)
    assert hedged["attempts"][1] == {"outcome": "success", "seconds": 0.25, "waited": 0.5, "hedge": True}
    assert hedged["context"] == {"region": "eu-west-1", "size": 12_000, "cached": False, "load": 0.123456}
    assert [call["id"] for call in older] == ["w1-99", "w1-98"]
    assert commands.show(store, "nightly report", ASKED)["last_calls"] == []


def test_a_function_that_was_not_called_for_long_still_shows_its_last_calls() -> None:
    doc = commands.show(filled(), "prices.fetch", ASKED._replace(now=NOW + 1e6))
    assert (doc["recent"]["calls"], len(doc["last_calls"])) == (0, views.LISTED)


class Damaged(MemoryStore):
    """A store of which no execution can be read."""

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        raise StoreCorrupt("the test", "it is damaged")


def test_what_holds_is_told_even_where_the_calls_cannot_be_read() -> None:
    clock = shop.clock()
    store = Damaged(clock=clock)
    shop.fill(store, clock)
    doc = commands.show(store, "prices.fetch", ASKED)
    assert (doc["version"]["version"], doc["recent"], doc["last_calls"]) == (3, None, None)
    assert {row["recent"] for row in commands.status(store, ASKED)["functions"]} == {None}


def test_explain_counts_the_difference_to_live() -> None:
    store = filled()
    doc = views.explain(shop.record(PRICES), store.standing(PRICES), shop.picture(), short="f", now=NOW)
    assert [round(row["difference"], 6) for row in doc["neighbours"]] == [0.01, -0.2]
    assert doc["known"]


def test_explain_says_that_a_function_without_a_learner_knows_nothing() -> None:
    doc = commands.explain(filled(), "send", ASKED)
    assert (doc["known"], doc["learner"], doc["live"], doc["neighbours"]) == (False, None, None, [])


def test_history_tells_each_version_at_its_change_and_the_steering_between() -> None:
    clock = shop.clock()
    store = MemoryStore(clock=clock)
    shop.fill(store, clock)
    store.rollback(PRICES, 1, author="ann", reason="too eager")
    store.steer(PRICES, author="ann", reason="hold", pinned={"timeout": 4.0})
    store.steer(PRICES, author="ann", reason="go", paused=False)
    doc = commands.history(store, "prices.fetch", ASKED)
    told = [(entry["action"], entry["version"], entry["parent"]) for entry in doc["entries"]]
    assert told == [
        ("publish", 1, None),
        ("publish", 2, 1),
        ("publish", 3, 2),
        ("rollback", 1, None),
        ("pin", 4, 1),
        ("resume", 4, None),
    ]
    assert doc["entries"][2]["diff"] == {"timeout": (2.5, 0.84321), "retries": (3, 2)}
    assert doc["entries"][4]["diff"] == {"timeout": (30.0, 4.0)}
    assert doc["live"] == 4


def test_history_tells_versions_that_no_change_was_kept_of() -> None:
    first = ParameterSet(values_={"timeout": 3.0}, version=1, created=OPENING)
    second = ParameterSet(values_={"timeout": 2.0}, version=2, parent=1, origin="learned", created=OPENING)
    third = ParameterSet(values_={"timeout": 1.0}, version=3, parent=2, origin="learned", created=OPENING)
    changes = [Change(OPENING, "publish", 2, "poet", "why"), Change(OPENING, "pause", 2, "ann", "stop")]
    doc = views.history(shop.record(PRICES), Standing(third, 3), [first, second, third], changes, short="f", now=NOW)
    told = [(entry["action"], entry["version"]) for entry in doc["entries"]]
    assert told == [("declare", 1), ("publish", 2), ("pause", 2), ("publish", 3)]


def test_the_newest_entries_can_be_asked_for() -> None:
    doc = commands.history(filled(), "prices.fetch", ASKED._replace(last=1))
    assert ([entry["version"] for entry in doc["entries"]], doc["left_out"]) == ([3], 2)


def test_faults_within_a_day_are_findings_and_older_ones_are_not() -> None:
    sick = ProcessReport("a", "h", 1, 0.0, NOW - 60, 2, 1, "store: full")
    told = views.process_findings([sick], NOW)
    assert [(finding.ok, finding.what) for finding in told] == [(False, "faults"), (False, "losses")]
    assert all(finding.ok for finding in views.process_findings([sick._replace(seen=NOW - 90_000)], NOW))


anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(list(Outcome)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.floats(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(anything)
def test_whatever_a_document_holds_can_be_said_in_json(x: Any) -> None:
    json.loads(json.dumps(views.plain(x), allow_nan=False))


@given(
    st.dictionaries(st.floats(0, 1), st.floats()),
    st.floats(),
    st.dictionaries(st.text(), st.floats()),
    st.lists(st.text()),
)
def test_every_explanation_can_be_said_in_json(
    latency: dict[float, float], unanswered: float, failures: dict[str, float], sentences: list[str]
) -> None:
    picture = Explanation(1, None, latency, unanswered, unanswered, failures, None, (), tuple(sentences))
    live = ParameterSet(values_={"timeout": 1.0}, version=1)
    doc = views.explain(shop.record(STOCK), Standing(live, 1), picture, short="f", now=NOW)
    json.loads(json.dumps(views.plain(doc), allow_nan=False))


def test_pausing_all_leaves_those_alone_that_are_paused() -> None:
    store = filled()
    doc = commands.pause(store, None, ASKED)
    assert sum(part["done"] for part in doc["functions"]) == 3
    assert store.standing(STOCK).paused == "release tonight"
    assert store.standing(PARCEL).paused
