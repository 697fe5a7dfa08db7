from __future__ import annotations

import re

import pytest

from poet.cli import commands, rollback
from poet.cli.commands import Asked, parse_values
from poet.cli.rollback import Rollback
from poet.errors import ConfigurationError, UnknownVersion
from poet.model.tunable import Value
from poet.stores.memory import MemoryStore
from unit.cli import shop
from unit.cli.shop import NOW, PRICES

KNOWN: dict[str, Value] = {
    "timeout": 30,
    "retries": 3,
    "backoff": 0.1,
    "temperature": 0.2,
    "model": "small",
    "fast": True,
}
ASKED = Asked(now=NOW)


def filled() -> MemoryStore:
    clock = shop.clock()
    store = MemoryStore(clock=clock)
    shop.fill(store, clock)
    return store


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("timeout=2.5", 2.5),
        ("timeout = 2", 2.0),
        ("retries=0", 0),
        ("model=large=best", "large=best"),
        ("fast=False", False),
        ("temperature=-1e-3", -0.001),
    ],
)
def test_a_value_is_read_as_what_its_parameter_is(text: str, value: Value) -> None:
    (read,) = parse_values((text,), KNOWN).values()
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timeot=2", "did you mean 'timeout'"),
        ("timeout", "name=value"),
        ("=2", "name=value"),
        ("timeout=", "name=value"),
        ("timeout=2s", "a number of seconds, without a unit, got '2s'"),
        ("timeout=nan", "a number of seconds"),
        ("timeout=inf", "a number of seconds"),
        ("timeout=0", "above 0"),
        ("backoff=-1", "0 seconds or more"),
        ("retries=1.5", "whole number"),
        ("retries=-1", "0 or more"),
        ("temperature=warm", "finite number"),
        ("fast=yes", "true or false"),
    ],
)
def test_a_value_that_does_not_suit_is_refused_with_what_would(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        parse_values((text,), KNOWN)


def test_a_second_pin_keeps_the_first() -> None:
    store = filled()
    commands.pin(store, "prices.fetch", ASKED._replace(values=("timeout=4",)))
    doc = commands.pin(store, "prices.fetch", ASKED._replace(values=("retries=1",), reason="quota"))
    assert doc["pinned"] == {"timeout": 4.0, "retries": 1}
    assert doc["diff"] == {"retries": (2, 1)}
    assert store.history(PRICES)[-1].reason == "quota"


def test_a_value_for_one_context_or_one_of_several_options_can_be_pinned() -> None:
    store = filled()
    record = shop.record(PRICES)
    choices = {"model": ("small", "large"), "batch": (1, 2.5)}
    store.register(record._replace(declared={**record.declared, "model": "small", "batch": 1}, choices=choices))
    pins = ("timeout@region=eu=1.5", "timeout@size>=100=2", "model@vip=True,region=eu=large", "batch=2.5")
    doc = commands.pin(store, "prices.fetch", ASKED._replace(values=pins))
    assert doc["pinned"] == {
        "timeout@region=eu": 1.5,
        "timeout@size>=100": 2.0,
        "model@region=eu,vip=True": "large",
        "batch": 2.5,
    }
    doc = commands.pin(store, "prices.fetch", ASKED._replace(values=("timeout=3",)))
    assert {name: doc["pinned"][name] for name in doc["pinned"] if name.startswith("timeout")} == {
        "timeout": 3.0,
        "timeout@region=eu": 3.0,
        "timeout@size>=100": 3.0,
    }
    for wrong, said in (
        ("model=huge", "model must be one of small, large, got huge"),
        ("timeout@eu=1", "no condition on a feature: 'eu'"),
        ("timeout@region=eu=-1", "timeout must be above 0 seconds, got -1"),
        ("timout@region=eu=1", "no parameter 'timout': did you mean 'timeout'?"),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(said)):
            commands.pin(store, "prices.fetch", ASKED._replace(values=(wrong,)))


def test_unpinning_nothing_changes_nothing() -> None:
    store = filled()
    generation = store.generation()
    assert commands.unpin(store, "prices.fetch", ASKED)["done"] is False
    assert store.generation() == generation


def test_a_rollback_without_a_version_goes_to_the_parent_and_pauses() -> None:
    store = filled()
    doc = rollback.run(store, Rollback(now=NOW, function="prices.fetch"))
    assert (doc["before"]["version"], doc["after"]["version"]) == (3, 2)
    assert doc["diff"] == {"timeout": (0.84321, 2.5), "retries": (2, 3)}
    assert store.standing(PRICES).paused == doc["paused"] != ""


def test_a_rollback_to_a_version_that_is_not_there_changes_nothing() -> None:
    store = filled()
    before = store.generation()
    with pytest.raises(UnknownVersion, match="it has: 1, 2, 3"):
        rollback.run(store, Rollback(now=NOW, function="prices.fetch", to=9))
    assert store.generation() == before


def test_pause_and_resume_do_their_work_once() -> None:
    store = filled()
    first = commands.pause(store, "prices.fetch", ASKED._replace(reason="audit"))
    again = commands.pause(store, "prices.fetch", ASKED)
    assert (first["done"], again["done"], again["paused"]) == (True, False, "audit")
    assert commands.resume(store, "prices.fetch", ASKED)["done"] is True
    assert commands.resume(store, "prices.fetch", ASKED)["done"] is False
    assert store.standing(PRICES).paused == ""
