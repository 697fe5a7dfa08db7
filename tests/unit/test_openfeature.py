"""Through the SDK's own client, as it turns whatever a provider raises into the caller's default."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from houses import House
from poet.model import flag as flags
from poet.model.flag import FLAGS
from poet.openfeature import PoetProvider
from poet.stores.memory import MemoryStore
from poet.training.flags import set_rule

TYPES = ("boolean", "string", "object", "integer", "float")
ANOTHER: dict[str, Any] = {"boolean": None, "string": "?", "object": {"?": 1}, "integer": -1, "float": -1.0}


class Asked:
    def __init__(self, root: Path, **settings: Any) -> None:
        self.store = MemoryStore()
        self.house = House(root=root, store=self.store, **settings)
        api.set_provider_and_wait(PoetProvider(self.house.agent), "poet")
        self.client: OpenFeatureClient = api.get_client("poet")

    def details(self, kind: str, name: str, default: Any, *, later: bool = False, **attributes: Any) -> Any:
        key = attributes.pop("key", None)
        context = EvaluationContext(key, attributes)
        if later:
            return asyncio.run(getattr(self.client, f"get_{kind}_details_async")(name, default, context))
        return getattr(self.client, f"get_{kind}_details")(name, default, context)


@pytest.fixture
def asked(tmp_path: Path) -> Iterator[Asked]:
    yield Asked(tmp_path)
    api.clear_providers()


def kill(asked: Asked, name: str, value: str, **selected: Any) -> None:
    set_rule(asked.store, name, flags.rule(name, value, **selected), author="ann", reason="", at=1.0)
    asked.house.agent.flush()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("name", sorted(FLAGS))
def test_every_flag_is_told_by_every_method_with_no_error(asked: Asked, name: str, later: bool) -> None:
    default = FLAGS[name].default
    for kind, wanted in (
        ("boolean", default == "on"),
        ("string", default),
        ("object", {"on": default == "on", "value": default, "source": "default"}),
    ):
        other = default != "on" if kind == "boolean" else ANOTHER[kind]
        told = asked.details(kind, name, other, later=later)
        assert (told.value, told.error_code, told.error_message) == (wanted, None, None)
        assert (told.reason, told.variant) == (Reason.DEFAULT, default)
        assert told.flag_metadata == {"source": "default", "default": default}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", ["integer", "float"])
def test_a_flag_is_no_number_and_that_is_said(asked: Asked, kind: str, later: bool) -> None:
    told = asked.details(kind, "learn.online", ANOTHER[kind], later=later)
    assert (told.value, told.error_code) == (ANOTHER[kind], ErrorCode.TYPE_MISMATCH)
    assert told.error_message == "learn.online is 'on': ask for a string, or for a boolean"


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("kind", TYPES)
def test_what_is_no_flag_gives_the_default_with_the_nearest_flag_in_the_details(
    asked: Asked, kind: str, later: bool
) -> None:
    default = True if kind == "boolean" else ANOTHER[kind]
    told = asked.details(kind, "learn.onlin", default, later=later)
    assert (told.value, told.error_code, told.reason) == (default, ErrorCode.FLAG_NOT_FOUND, Reason.ERROR)
    assert "did you mean 'learn.online'?" in told.error_message


def test_the_context_says_for_whom(asked: Asked) -> None:
    kill(asked, "learn.online", "off", function="shop.*", host="web-1", tenant="acme")
    whom = {"function": "shop.fetch", "host": "web-1", "tenant": "acme"}
    told = asked.details("string", "learn.online", "?", **whom)
    assert (told.value, told.reason, told.flag_metadata["source"]) == ("off", Reason.TARGETING_MATCH, "row")
    for other in ({"function": "bank.pay"}, {"host": "web-2"}, {"tenant": "zoo"}):
        assert asked.details("string", "learn.online", "?", **{**whom, **other}).value == "on"
    del whom["function"]
    assert asked.details("string", "learn.online", "?", key="shop.fetch", **whom).value == "off"
    told = asked.details("string", "learn.online", "?", host=3)
    assert (told.value, told.error_code) == ("?", ErrorCode.INVALID_CONTEXT)


def test_a_rule_for_all_is_static_and_one_for_a_share_a_split(asked: Asked) -> None:
    kill(asked, "share.read", "on", percent=99.999)
    assert asked.details("boolean", "share.read", False, function="f").reason == Reason.SPLIT
    kill(asked, "share.read", "observe")
    told = asked.details("boolean", "share.read", True, function="f")
    assert (told.value, told.variant, told.reason) == (False, "observe", Reason.STATIC)


@pytest.mark.parametrize("learning", ["off", "on"])
def test_environment_and_file_are_heard_where_nothing_learns(tmp_path: Path, learning: str) -> None:
    (tmp_path / ".poet").mkdir()
    (tmp_path / ".poet" / "flags.json").write_text('{"share.read": "on"}')
    asked = Asked(tmp_path, learning=learning, flags="share.write=on")
    try:
        assert asked.details("boolean", "share.read", False).value is True
        assert asked.details("boolean", "share.write", False).value is True
        assert asked.details("string", "learn.online", "?").value == learning
    finally:
        api.clear_providers()


def test_the_provider_has_a_name() -> None:
    assert PoetProvider().get_metadata().name == "poet"
