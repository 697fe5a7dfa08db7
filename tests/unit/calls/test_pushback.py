"""How long a dependency asks to wait: read from real answers, and honoured by calls."""

from __future__ import annotations

import asyncio
import contextlib
import io
import math
import socket
import time
import urllib.error
from collections.abc import Iterator
from email.message import Message
from email.utils import format_datetime, formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet
from houses import House
from poet.calls.pushback import LONGEST_PUSHBACK, pushback
from poet.model.event import Event
from poet.model.execution import Attempt, Outcome
from poet.seams import SYSTEM_CLOCK
from poet.testing.clock import run

NOW = 784_111_777.0  # Unix time of Sun, 06 Nov 1994 08:49:37 GMT, the example of RFC 9110


class Answer(Exception):
    """An error that bears a response with these headers, as the clients of HTTP raise them."""

    def __init__(self, status: int = 503, /, **headers: str) -> None:
        super().__init__(status)
        plain = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = httpx.Response(status, headers=plain, request=httpx.Request("GET", "http://127.0.0.1/"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry_after": "3"}, 3.0),
        ({"retry_after": " 3 "}, 3.0),
        ({"retry_after": "0"}, 0.0),
        ({"retry_after": "1.5"}, 1.5),
        ({"retry_after": "-5"}, 0.0),
        ({"retry_after": ""}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "inf"}, None),
        ({"retry_after": "1, 2"}, None),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after_ms": "250", "retry_after": "7"}, 0.25),
        ({"retry_after_ms": "soon", "retry_after": "7"}, 7.0),
        ({"grpc_retry_pushback_ms": "100"}, 0.1),
        ({"grpc_retry_pushback_ms": "0"}, 0.0),
        ({"grpc_retry_pushback_ms": "-1"}, math.inf),
        ({"x_should_retry": "false"}, math.inf),
        ({"x_should_retry": "False", "retry_after": "1"}, math.inf),
        ({"x_should_retry": "true"}, None),
        ({"x_should_retry": "true", "retry_after": "1"}, 1.0),
    ],
    ids=str,
)
def test_the_headers_of_an_answer_say_how_long_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert pushback(Answer(**headers)) == seconds


@pytest.mark.parametrize(
    "date",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_date_is_read_in_all_three_forms_of_rfc_9110_wherever_the_machine_stands(
    date: str, zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert pushback(Answer(retry_after=date), wall=NOW - 20) == 20.0
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_date_that_has_passed_asks_for_no_pause() -> None:
    assert pushback(Answer(retry_after="Sun, 06 Nov 1994 08:49:37 GMT"), wall=NOW + 1000) == 0.0
    assert pushback(Answer(retry_after="Sun, 06 Nov 1994 08:49:37 GMT")) == 0.0


def test_a_pushback_of_grpc_that_cannot_be_read_forbids_a_retry() -> None:
    # gRPC A6: "If the value for pushback is negative or unparseble, then it will be seen as the server asking the
    # client not to retry at all."
    assert pushback(Answer(grpc_retry_pushback_ms="soon")) == math.inf


class Rpc(Exception):
    """As grpc's errors are: the metadata come from a method, as pairs."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        super().__init__()
        self._pairs = pairs

    def trailing_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._pairs


class Boto(Exception):
    """As botocore's ClientError is."""

    def __init__(self, **headers: str) -> None:
        super().__init__()
        self.response = {"Error": {"Code": "Throttling"}, "ResponseMetadata": {"HTTPHeaders": headers}}


def with_attribute(value: Any) -> Exception:
    error = ConnectionError()
    error.retry_after = value  # type: ignore[attr-defined]  # as rate limiters name it
    return error


def refused_by_urllib(headers: Message) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://127.0.0.1/", 503, "", headers, io.BytesIO())


def test_other_clients_say_it_elsewhere() -> None:
    headers = Message()
    headers["Retry-After"] = "4"
    with refused_by_urllib(headers) as error:
        assert pushback(error) == 4.0
    assert pushback(Rpc(("grpc-status", "14"), ("grpc-retry-pushback-ms", "1500"))) == 1.5
    assert pushback(Rpc()) is None
    assert pushback(Boto(**{"retry-after": "9"})) == 9.0
    assert pushback(with_attribute(2)) == 2.0
    assert pushback(with_attribute(0.5)) == 0.5


@pytest.mark.parametrize("value", [None, True, -1, math.nan, math.inf, "3", object()])
def test_an_attribute_that_is_no_span_says_nothing(value: Any) -> None:
    assert pushback(with_attribute(value)) is None


@given(st.text(max_size=40), st.sampled_from(["retry-after", "retry-after-ms", "grpc-retry-pushback-ms"]))
def test_whatever_a_header_says_it_is_a_span_or_nothing(text: str, name: str) -> None:
    class Headers(dict[str, str]):
        pass

    class Odd(Exception):
        headers = Headers({name: text})

    seconds = pushback(Odd(), wall=NOW)
    assert seconds is None or seconds >= 0


class Closed(ConnectionError):
    """What it knows can no longer be read."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("response", "headers", "trailing_metadata", "retry_after"):
            raise RuntimeError(f"{name}: the connection is closed")
        return super().__getattribute__(name)


class ClosedHeaders(ConnectionError):
    class headers:  # noqa: N801 - as an instance has it
        @staticmethod
        def get(name: str) -> str:
            raise RuntimeError("closed")


class ClosedMetadata(ConnectionError):
    def trailing_metadata(self) -> Any:
        raise RuntimeError("closed")


@pytest.mark.parametrize("make", [Closed, ClosedHeaders, ClosedMetadata])
def test_an_odd_error_does_not_hide_itself_behind_another(make: type[ConnectionError]) -> None:
    house = House()

    @house.poet(retries=1)
    def ask() -> None:
        raise make("mine")

    with pytest.raises(make, match="mine"):
        ask()
    assert [attempt.outcome for attempt in ask.poet.last.attempts] == [Outcome.ERROR] * 2


def asking(house: House, *errors: BaseException, **options: Any) -> Any:
    steps = iter(errors)

    @house.poet(**options)
    def ask() -> str:
        error = next(steps, None)
        if error is not None:
            raise error
        return "answer"

    return ask


@given(st.floats(0.0, LONGEST_PUSHBACK), st.floats(0.0, 5.0))
def test_a_pause_is_what_was_asked_for_and_the_jitter_on_top(asked: float, backoff: float) -> None:
    house = House()
    ask = asking(house, with_attribute(asked), backoff=backoff, timeout=60)
    assert ask() == "answer"
    waited = ask.poet.last.attempts[1].waited
    assert asked <= waited <= asked + backoff
    assert house.clock.now() == pytest.approx(100.0 + waited)


def test_one_that_asks_for_more_than_a_minute_is_not_asked_again() -> None:
    house = House()
    ask = asking(house, with_attribute(LONGEST_PUSHBACK + 0.1))
    with pytest.raises(ConnectionError):
        ask()
    assert house.clock.now() == 100.0
    assert len(ask.poet.last.attempts) == 1


@pytest.mark.parametrize("header", [{"x_should_retry": "false"}, {"grpc_retry_pushback_ms": "-1"}], ids=str)
def test_one_that_forbids_it_is_not_asked_again(header: dict[str, str]) -> None:
    house = House()
    ask = asking(house, Answer(503, **header))
    with pytest.raises(Answer):
        ask()
    assert len(ask.poet.last.attempts) == 1


def test_a_pause_that_would_end_behind_the_deadline_is_not_begun() -> None:
    house = House()
    ask = asking(house, with_attribute(5), deadline=5.0, backoff=0)
    with pytest.raises(ConnectionError):
        ask()
    assert house.clock.now() == 100.0


def test_the_listener_hears_that_it_was_asked_for() -> None:
    house = House()
    events: list[Event] = []
    house.agent.listeners.add(events.append)
    ask = asking(house, with_attribute(5), ConnectionError(), backoff=0)
    assert ask() == "answer"
    assert [(e.wait, e.pushback) for e in events if e.kind == "retry"] == [(5.0, True), (0.0, False)]


def test_a_result_that_is_to_be_asked_for_again_may_say_when() -> None:
    house = House()
    answers = iter([httpx.Response(429, headers={"retry-after": "7"}), httpx.Response(200)])

    @house.poet(retry_on=poet.on_result(lambda response: response.status_code == 429), backoff=0)
    def ask() -> httpx.Response:
        return next(answers)

    assert ask().status_code == 200
    assert house.clock.now() == 107.0


def test_a_pause_that_was_cancelled_gives_its_request_back_to_the_budget() -> None:
    # It was taken for a request that was then never sent.
    house = House()

    @house.poet(dependency=poet.Dependency("x", budget=poet.Budget(share=0.0, floor=1)), backoff=0, retries=1)
    async def ask() -> None:
        raise with_attribute(30)

    async def main() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main(), house.clock)
    assert ask.poet.status()["dependency"]["extra_requests"] == 0


class Service:
    """A real server that answers as it is told, answer by answer; then with 200."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str]]] = []
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked += 1
                status, headers = outer.script.pop(0) if outer.script else (200, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *facts: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    thread = Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def getter(house: House, url: str, **options: Any) -> Any:
    """Real requests, while the pauses pass on the house's clock."""

    @house.poet(**{"timeout": 100.0, "backoff": 0, **options})
    def get() -> int:
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.get(url).raise_for_status().status_code

    return get


def attempts_of(function: Any) -> tuple[Attempt, ...]:
    attempts: tuple[Attempt, ...] = function.poet.last.attempts
    return attempts


@pytest.mark.parametrize("status", [429, 503])
def test_a_real_server_that_asks_for_seconds_gets_them(service: Service, status: int) -> None:
    house = House()
    service.script = [(status, {"Retry-After": "2"}), (status, {"Retry-After": "3"})]
    get = getter(house, service.url)
    assert get() == 200
    assert [a.waited for a in attempts_of(get)] == [0.0, 2.0, 3.0]
    assert [a.outcome for a in attempts_of(get)] == [Outcome.ERROR, Outcome.ERROR, Outcome.SUCCESS]
    assert service.asked == 3


def test_a_real_server_that_names_a_moment_is_asked_at_it(service: Service) -> None:
    house = House()
    moment = math.floor(time.time()) + 20
    service.script = [(503, {"Retry-After": formatdate(moment, usegmt=True)})]
    get = getter(house, service.url)
    before = time.time()
    assert get() == 200
    assert moment - time.time() <= attempts_of(get)[1].waited <= moment - before


def test_the_formats_agree_on_the_same_moment() -> None:
    from datetime import UTC, datetime

    moment = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    told = [formatdate(moment.timestamp(), usegmt=True), format_datetime(moment), moment.strftime("%a %b %e %T %Y")]
    assert {pushback(Answer(retry_after=each), moment.timestamp() - 30) for each in told} == {30.0}


def test_a_real_server_that_says_nothing_is_asked_after_the_jitter_alone(service: Service) -> None:
    house = House()
    service.script = [(500, {}), (502, {}), (504, {})]
    get = getter(house, service.url, backoff=1.0)
    assert get() == 200
    bounds = [0.0, 1.0, 2.0, 4.0]
    assert all(0 <= a.waited <= bound for a, bound in zip(attempts_of(get), bounds, strict=True))


@pytest.mark.parametrize("status", [400, 401, 404, 409, 501])
def test_a_real_refusal_is_not_repeated_even_where_it_says_when(service: Service, status: int) -> None:
    house = House()
    service.script = [(status, {"Retry-After": "1"})]
    get = getter(house, service.url)
    with pytest.raises(httpx.HTTPStatusError):
        get()
    assert (service.asked, house.clock.now()) == (1, 100.0)


def test_a_port_where_nobody_listens_is_tried_again() -> None:
    house = House()
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # and does not listen
        get = getter(house, f"http://127.0.0.1:{held.getsockname()[1]}/", retries=2)
        with pytest.raises(httpx.ConnectError):
            get()
    assert [a.outcome for a in attempts_of(get)] == [Outcome.ERROR] * 3


def test_under_asyncio_a_real_server_gets_its_pause_in_real_time(service: Service) -> None:
    house = House(clock=SYSTEM_CLOCK)
    service.script = [(503, {"retry-after-ms": "30"})]

    @house.poet(timeout=10, backoff=0)
    async def get() -> int:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return (await client.get(service.url)).raise_for_status().status_code

    async def main() -> tuple[int, Attempt]:
        return await get(), attempts_of(get)[1]

    start = time.monotonic()
    status, second = asyncio.run(main())
    assert (status, second.waited) == (200, 0.03)
    assert time.monotonic() - start >= 0.03


def test_a_server_in_trouble_is_not_asked_more_than_its_budget_allows(service: Service) -> None:
    house = House()
    service.script = [(503, {"Retry-After": "0"})] * 100
    get = getter(house, service.url, dependency=poet.Dependency("x", budget=poet.Budget(floor=2)), retries=3)
    for _ in range(5):
        with contextlib.suppress(httpx.HTTPStatusError):
            get()
    assert service.asked == 5 + 2
