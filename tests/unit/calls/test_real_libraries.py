"""The classes that are recognised by name, met as the libraries themselves make them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pydantic
import pytest
import requests

import poet
from houses import House
from poet.calls.transient import classify, was_not_processed
from poet.model.execution import Outcome


class Invoice(pydantic.BaseModel):
    number: int
    total: float = pydantic.Field(ge=0)


@pytest.fixture
def closed() -> str:
    """An address where nobody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def mute() -> Iterator[str]:
    """An address where somebody listens and never answers."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(8)
        yield f"http://127.0.0.1:{other.getsockname()[1]}/"


@pytest.mark.parametrize("get", [httpx.get, requests.get])
def test_a_refused_connection_is_transient_and_had_no_effect(closed: str, get: object) -> None:
    assert callable(get)
    with pytest.raises((httpx.TransportError, requests.RequestException)) as caught:
        get(closed, timeout=5.0)
    assert classify(caught.value) is Outcome.ERROR
    assert was_not_processed(caught.value)


@pytest.mark.parametrize("get", [httpx.get, requests.get])
def test_an_answer_that_does_not_come_is_a_timeout_and_may_have_had_an_effect(mute: str, get: object) -> None:
    assert callable(get)
    with pytest.raises((httpx.TransportError, requests.RequestException)) as caught:
        get(mute, timeout=0.05)
    assert classify(caught.value) is Outcome.TIMEOUT
    assert not was_not_processed(caught.value)


def test_a_pydantic_model_rejects_with_its_own_reason() -> None:
    house = House()
    answers = iter([{"number": "x", "total": 1.0}, {"number": 1, "total": 2.0}])

    @house.poet(enforce=Invoice, retries=1, backoff=0)
    def fetch() -> dict[str, object]:
        return next(answers)

    assert fetch() == {"number": 1, "total": 2.0}

    @house.poet(enforce=Invoice, retries=0, name="bad")
    def bad() -> dict[str, object]:
        return {"number": 1, "total": -1.0}

    with pytest.raises(poet.ResultRejected, match="greater than or equal to 0") as caught:
        bad()
    assert isinstance(caught.value.__cause__, pydantic.ValidationError)


def test_a_text_is_read_as_json_and_an_adapter_checks_any_type() -> None:
    house = House()

    @house.poet(enforce=Invoice, retries=0, name="text")
    def text(total: str) -> str:
        return f'{{"number": 1, "total": {total}}}'

    assert text("3") == '{"number": 1, "total": 3}'
    with pytest.raises(poet.ResultRejected):
        text('"none"')

    @house.poet(enforce=pydantic.TypeAdapter(list[int]), retries=0, name="listed")
    def listed(items: list[object]) -> list[object]:
        return items

    assert listed([1, 2]) == [1, 2]
    with pytest.raises(poet.ResultRejected):
        listed([1, "two"])
