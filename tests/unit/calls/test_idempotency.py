"""A function that is not idempotent is repeated only where the failed attempt surely had no effect."""

from __future__ import annotations

import asyncio
import errno
import io
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import Message
from typing import Any

import httpcore
import httpx
import pytest

import poet
from houses import House
from poet.calls.transient import was_not_processed
from poet.errors import CircuitOpen, ConfigurationError, Overloaded, PoetTimeout
from poet.testing.clock import run

REQUEST = httpx.Request("POST", "http://127.0.0.1/")


def refused_port() -> socket.socket:
    """Bound, so that nobody else takes it, and nobody listens."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held


class Hangup:
    """A server that reads a request, or part of it, and hangs up without an answer."""

    def __init__(self, answer: bytes = b"") -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.read = 0
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Hangup:
        self._thread.start()
        return self

    def __exit__(self, *facts: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                self.read += len(connection.recv(65536)) > 0
                connection.sendall(self._answer)


def by_httpx(url: str) -> Any:
    with httpx.Client(trust_env=False, timeout=5) as client:
        return client.post(url).raise_for_status()


def by_httpcore(url: str) -> Any:
    with httpcore.ConnectionPool() as pool:
        return pool.request("POST", url)


def by_urllib(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, data=b"", timeout=5) as response:
        return response.read()


def by_socket(url: str) -> Any:
    host, _, port = url.removeprefix("http://").rstrip("/").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"x")
        if not connection.recv(1):
            raise ConnectionResetError
    return None


CLIENTS: list[Callable[[str], Any]] = [by_httpx, by_httpcore, by_urllib, by_socket]


def raised_by(send: Callable[[], Any]) -> Exception:
    try:
        send()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("send", CLIENTS)
def test_a_real_connection_that_was_refused_had_no_effect_and_is_tried_again(send: Callable[[str], Any]) -> None:
    house, sent = House(), 0
    with refused_port() as held:
        url = f"http://127.0.0.1:{held.getsockname()[1]}/"

        @house.poet(idempotent=False, retries=2, backoff=0)
        def post() -> Any:
            nonlocal sent
            sent += 1
            return send(url)

        assert was_not_processed(raised_by(post))
    assert sent == 3


@pytest.mark.parametrize("send", CLIENTS)
def test_a_real_request_that_got_no_answer_may_have_had_its_effect_and_is_sent_once(send: Callable[[str], Any]) -> None:
    house = House()
    with Hangup() as server:
        url = f"http://127.0.0.1:{server.port}/"
        post = house.poet(idempotent=False, retries=3, backoff=0, name="post")(lambda: send(url))
        assert not was_not_processed(raised_by(post))
        assert server.read == 1


@pytest.mark.parametrize(
    ("status", "sent"),
    [("429 Too Many Requests", 3), ("425 Too Early", 3), ("503 Service Unavailable", 1), ("500 Oh", 1), ("502 Bad", 1)],
)
@pytest.mark.parametrize("send", [by_httpx, by_urllib])
def test_a_real_answer_says_whether_it_was_begun(send: Callable[[str], Any], status: str, sent: int) -> None:
    house = House()
    with Hangup(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()) as server:
        url = f"http://127.0.0.1:{server.port}/"
        post = house.poet(idempotent=False, retries=2, backoff=0, name="post")(lambda: send(url))
        error = raised_by(post)
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        assert server.read == sent


def status_of(code: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(code, request=REQUEST))


def named(module: str, name: str, *bases: type[Exception]) -> type[Exception]:
    """An exception as a package that is not installed here has it."""
    return type(name, bases or (Exception,), {"__module__": module})


NewConnectionError = named("urllib3.exceptions", "NewConnectionError")
MaxRetryError = named("urllib3.exceptions", "MaxRetryError")
ProtocolError = named("urllib3.exceptions", "ProtocolError")
ReadTimeoutError = named("urllib3.exceptions", "ReadTimeoutError")
RequestsConnectionError = named("requests.exceptions", "ConnectionError", OSError)
ClientConnectorError = named("aiohttp.client_exceptions", "ClientConnectorError", OSError)


def with_reason(error: Exception, reason: object) -> Exception:
    error.reason = reason  # type: ignore[attr-defined]  # where urllib3 keeps it
    return error


class Own(httpx.ConnectError):
    """A user's own kind."""


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(),
        urllib.error.URLError(ConnectionRefusedError()),
        socket.gaierror(socket.EAI_AGAIN, ""),
        httpx.ConnectError(""),
        httpx.ConnectTimeout(""),
        httpx.PoolTimeout(""),
        Own(""),
        httpcore.ConnectError(),
        httpcore.ConnectTimeout(),
        httpcore.PoolTimeout(),
        status_of(429),
        status_of(425),
        CircuitOpen("f", "x", 1.0),
        Overloaded("f", "attempts run", 1),
        NewConnectionError(),
        RequestsConnectionError(with_reason(MaxRetryError(), NewConnectionError())),
        named("requests.exceptions", "ConnectTimeout", RequestsConnectionError)(),
        ClientConnectorError(),
        named("aiohttp.client_exceptions", "ClientConnectorDNSError", ClientConnectorError)(),
        named("botocore.exceptions", "EndpointConnectionError")(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_what_never_arrived_had_no_effect(error: Exception) -> None:
    assert was_not_processed(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        ConnectionAbortedError(),
        BrokenPipeError(),
        TimeoutError(),
        PoetTimeout("f", 1.0),
        asyncio.CancelledError(),
        urllib.error.URLError(TimeoutError()),
        urllib.error.URLError("unknown"),
        httpx.ReadTimeout(""),
        httpx.WriteTimeout(""),
        httpx.ReadError(""),
        httpx.WriteError(""),
        httpx.RemoteProtocolError(""),
        httpx.ProxyError(""),
        httpcore.ReadError(),
        httpcore.RemoteProtocolError(),
        status_of(408),
        status_of(500),
        status_of(502),
        status_of(503),
        status_of(504),
        named("aiohttp.client_exceptions", "ServerDisconnectedError")(),
        RequestsConnectionError(ProtocolError("Connection aborted.", ConnectionResetError())),
        RequestsConnectionError(with_reason(MaxRetryError(), ReadTimeoutError())),
        named("redis.exceptions", "ConnectionError")(),
        named("psycopg2", "OperationalError")(),
        ExceptionGroup("several", [ConnectionRefusedError(), ConnectionResetError()]),
        ValueError("refused"),
        Exception(),
    ],
    ids=lambda error: f"{type(error).__module__}.{type(error).__name__}",
)
def test_any_doubt_counts_as_an_effect(error: BaseException) -> None:
    assert not was_not_processed(error)


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN])
def test_a_host_that_is_unreachable_now_may_have_been_reached_before(number: int) -> None:
    # Linux ends a connection that stands, and has sent its request, with the last error that routers reported:
    # EHOSTUNREACH in place of ETIMEDOUT (tcp_write_err takes sk_err_soft). A bare errno does not tell which it was.
    assert not was_not_processed(OSError(number, "unreachable"))


def test_an_error_that_holds_itself_is_no_riddle_without_end() -> None:
    error = with_reason(ValueError(), None)
    with_reason(error, error)
    assert not was_not_processed(error)
    assert not was_not_processed(ValueError(error))


class Odd(ConnectionError):
    """What it knows can no longer be read."""

    @property
    def response(self) -> Any:
        raise RuntimeError("closed")

    @property
    def reason(self) -> Any:
        raise RuntimeError("closed")


def test_an_odd_error_does_not_hide_itself_behind_another() -> None:
    house = House()

    @house.poet(idempotent=False)
    def post() -> None:
        raise Odd("mine")

    with pytest.raises(Odd, match="mine"):
        post()
    assert len(post.poet.last.attempts) == 1


def test_an_attempt_that_we_cut_off_ourselves_is_not_repeated() -> None:
    house, sent = House(), 0

    @house.poet(idempotent=False, timeout=1.0, retries=3)
    async def post() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(60)

    async def main() -> None:
        with pytest.raises(poet.PoetTimeout):
            await post()

    run(main(), house.clock)
    assert sent == 1


def test_a_result_that_is_rejected_has_had_its_effect() -> None:
    house, sent = House(), 0

    @house.poet(idempotent=False, enforce=lambda result: False)
    def post() -> str:
        nonlocal sent
        sent += 1
        return "x"

    with pytest.raises(poet.ResultRejected):
        post()
    assert sent == 1


def test_a_response_that_was_turned_away_is_asked_for_again_and_any_other_result_is_not() -> None:
    house = House()
    for status, requests in ((429, 3), (503, 1), (200, 1)):
        sent = 0

        @house.poet(idempotent=False, retries=2, backoff=0, retry_on=poet.on_result(lambda response: True), name="post")
        def post(status: int = status) -> httpx.Response:
            nonlocal sent
            sent += 1
            return httpx.Response(status)

        assert post().status_code == status
        assert sent == requests


def test_a_predicate_does_not_overrule_it() -> None:
    house, sent = House(), 0

    @house.poet(idempotent=False, retry_on=lambda error: True)
    def post() -> None:
        nonlocal sent
        sent += 1
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        post()
    assert sent == 1


@pytest.mark.parametrize("training", [False, True])
def test_it_is_never_hedged_whatever_is_learned(training: bool) -> None:
    house, sent = House(), 0

    @house.poet(idempotent=False, enable_training=training, timeout=10.0)
    async def post() -> None:
        nonlocal sent
        sent += 1
        await asyncio.sleep(5)

    async def main() -> None:
        await post()
        with pytest.raises(ConfigurationError):
            post.poet.pin(hedges=2, hedge_delay=0.1)
        await post()

    run(main(), house.clock)
    assert sent == 2


def keyed(house: House, **options: Any) -> tuple[Any, list[Any]]:
    """A function that fails twice and notes the key of each attempt."""
    keys: list[Any] = []

    @house.poet(**{"key_arg": "key", "backoff": 0, "name": "post", **options})
    def post(amount: int, key: str | None = None) -> int:
        keys.append(key)
        if len(keys) % 3:
            raise ConnectionResetError
        return amount

    return post, keys


def test_all_attempts_of_a_call_bear_one_key_and_calls_bear_others() -> None:
    post, keys = keyed(House())
    assert [post(1), post(2)] == [1, 2]
    assert len(keys) == 6
    assert len(set(keys[:3])) == len(set(keys[3:])) == 1
    assert keys[0] != keys[3]
    assert len(keys[0]) == 32
    int(keys[0], 16)


def test_a_key_that_the_caller_gives_is_kept_by_name_and_by_position() -> None:
    post, keys = keyed(House())
    assert post(1, key="mine") == 1
    assert keys == ["mine"] * 3
    post, keys = keyed(House())
    assert post(1, "mine") == 1
    assert keys == ["mine"] * 3


def test_a_caller_that_gives_none_by_position_gets_one_as_by_name() -> None:
    post, keys = keyed(House())
    assert post(1, key=None) == 1
    assert keys[0] is not None
    post, keys = keyed(House())
    assert post(1, None) == 1
    assert keys[0] is not None


def test_a_perceive_that_knows_nothing_of_the_key_neither_fails_nor_loses_it() -> None:
    # "gets the arguments": those of the caller, who gave no key.
    post, keys = keyed(House(), perceive=lambda amount: ((amount + 1,), {}))
    assert post(1) == 2
    assert keys[0] is not None
    assert len(set(keys)) == 1


def test_of_methods_and_of_functions_that_take_anything_it_works_too() -> None:
    house = House()
    seen: list[Any] = []

    class Client:
        @house.poet(key_arg="idempotency_key")
        def post(self, amount: int, /, *, idempotency_key: str = "") -> None:
            seen.append(idempotency_key)

        @house.poet(key_arg="idempotency_key")
        def send(self, **rest: Any) -> None:
            seen.append(rest["idempotency_key"])

    client = Client()
    client.post(1)
    client.send(a=1)
    assert [len(key) for key in seen] == [32, 32]


def test_an_async_function_and_its_copies_bear_one_key() -> None:
    house = House()
    keys: list[str] = []

    @house.poet(key_arg="key", hedge_delay=1.0, hedges=2, timeout=10.0)
    async def post(*, key: str = "") -> None:
        keys.append(key)
        await asyncio.sleep(5)

    run(post(), house.clock)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert len(keys[0]) == 32


def test_where_calls_are_plain_calls_there_is_a_key_all_the_same() -> None:
    seen: list[Any] = []
    post = House(learning="off").poet(key_arg="key")(lambda key=None: seen.append(key))
    post()
    assert len(seen[0]) == 32


def test_the_callers_own_mapping_gets_no_key() -> None:
    post, _ = keyed(House())
    mine = {"amount": 3}
    post(**mine)
    assert mine == {"amount": 3}


@pytest.mark.parametrize("kind", ["generator", "async generator"])
def test_a_generator_gets_its_key_or_is_refused(kind: str) -> None:
    house = House()

    def items(key: str = "") -> Any:
        yield key

    async def items_later(key: str = "") -> Any:
        yield key

    try:
        function = house.poet(key_arg="key")(items if kind == "generator" else items_later)
    except ConfigurationError:
        return

    async def first() -> Any:
        items = function()
        item = await anext(items)
        await items.aclose()
        return item

    key = next(function()) if kind == "generator" else run(first(), house.clock)
    assert len(key) == 32


def test_an_http_error_of_urllib_says_it_by_its_code() -> None:
    for code, expected in ((429, True), (503, False)):
        with urllib.error.HTTPError("http://127.0.0.1/", code, "no", Message(), io.BytesIO()) as error:
            assert was_not_processed(error) is expected
