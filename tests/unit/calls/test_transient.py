from __future__ import annotations

import errno
import socket
import urllib.error
from email.message import Message

import httpx
import pytest

from poet.calls.operate import full_jitter
from poet.calls.transient import classifier, classify
from poet.errors import ConfigurationError
from poet.model.execution import Outcome
from poet.settings import BACKOFF_CAP

REQUEST = httpx.Request("GET", "http://127.0.0.1/")


def status(code: int) -> httpx.HTTPStatusError:
    return httpx.HTTPStatusError("", request=REQUEST, response=httpx.Response(code, request=REQUEST))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (TimeoutError(), Outcome.TIMEOUT),
        (ConnectionRefusedError(), Outcome.ERROR),
        (BrokenPipeError(), Outcome.ERROR),
        (httpx.ReadTimeout(""), Outcome.TIMEOUT),
        (httpx.ConnectTimeout(""), Outcome.TIMEOUT),
        (httpx.ConnectError(""), Outcome.ERROR),
        (httpx.RemoteProtocolError(""), Outcome.ERROR),
        (httpx.UnsupportedProtocol(""), Outcome.REFUSED),
        (status(503), Outcome.ERROR),
        (status(429), Outcome.ERROR),
        (status(404), Outcome.REFUSED),
        (status(501), Outcome.REFUSED),
        (urllib.error.URLError(ConnectionResetError()), Outcome.ERROR),
        (urllib.error.URLError(TimeoutError()), Outcome.TIMEOUT),
        (urllib.error.HTTPError("", 502, "", Message(), None), Outcome.ERROR),
        (urllib.error.HTTPError("", 403, "", Message(), None), Outcome.REFUSED),
        (OSError(errno.EHOSTUNREACH, ""), Outcome.ERROR),
        (socket.gaierror(socket.EAI_AGAIN, ""), Outcome.ERROR),
        (socket.gaierror(socket.EAI_NONAME, ""), Outcome.REFUSED),
        (FileNotFoundError(), Outcome.REFUSED),
        (ValueError(), Outcome.REFUSED),
        (KeyboardInterrupt(), Outcome.CANCELLED),
    ],
    ids=repr,
)
def test_what_another_attempt_might_mend_is_told_by_the_errors_type(error: BaseException, outcome: Outcome) -> None:
    assert classify(error) is outcome


def test_an_error_whose_attributes_raise_is_refused_not_passed_on() -> None:
    class Odd(Exception):
        @property
        def response(self) -> object:
            raise AttributeError("closed")

    assert classify(Odd()) is Outcome.REFUSED


@pytest.mark.parametrize("wrong", [KeyboardInterrupt, (ValueError, int), 3, "ValueError", (ValueError, "x")])
def test_retry_on_refuses_what_is_no_exception(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="retry_on takes types of Exception"):
        classifier(wrong)  # type: ignore[arg-type]


def test_the_pause_is_uniform_below_a_bound_that_doubles_up_to_a_cap() -> None:
    assert [full_jitter(0.5, n, 1.0) for n in (1, 2, 3, 4, 5, 6, 99)] == [0.5, 1, 2, 4, 8, BACKOFF_CAP, BACKOFF_CAP]
    assert full_jitter(0.5, 3, 0.25) == 0.5
    assert full_jitter(0.0, 3, 0.9) == 0.0
