"""Which failures another attempt might mend."""

from __future__ import annotations

import errno
from collections.abc import Callable

from poet.errors import ConfigurationError, ResultRejected
from poet.model.execution import Outcome

RetryOn = type[Exception] | tuple[type[Exception], ...] | Callable[[Exception], bool]

# Recognised by package and class, so that none of these packages is imported. A class stands for its subclasses too.
TIMEOUTS = frozenset(
    {
        "anthropic.APITimeoutError",
        "botocore.ConnectTimeoutError",
        "botocore.ReadTimeoutError",
        "google.DeadlineExceeded",
        "httpcore.TimeoutException",
        "httpx.TimeoutException",
        "openai.APITimeoutError",
        "redis.TimeoutError",
        "requests.Timeout",
        "urllib3.TimeoutError",
    }
)
CONNECTIONS = frozenset(
    {
        "aiohttp.ClientConnectionError",
        "aiohttp.ClientPayloadError",
        "anthropic.APIConnectionError",
        "asyncpg.PostgresConnectionError",
        "botocore.ConnectionError",
        "botocore.HTTPClientError",
        "google.ServiceUnavailable",
        "google.TooManyRequests",
        "httpcore.NetworkError",
        "httpcore.RemoteProtocolError",
        "httpx.NetworkError",
        "httpx.ProxyError",
        "httpx.RemoteProtocolError",
        "openai.APIConnectionError",
        "psycopg.OperationalError",
        "psycopg2.OperationalError",
        "redis.ConnectionError",
        "requests.ChunkedEncodingError",
        "requests.ConnectionError",
        "urllib3.NewConnectionError",
        "urllib3.ProtocolError",
    }
)
STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def classify(error: BaseException) -> Outcome:
    """TIMEOUT, ERROR (worth another attempt), REFUSED (not worth one) or CANCELLED, by the error's type.

    Timeouts, lost connections, unreachable hosts and the HTTP statuses 408, 425, 429, 500, 502, 503, 504 are transient.

    >>> classify(ConnectionResetError()).name, classify(TypeError()).name
    ('ERROR', 'REFUSED')
    """
    if not isinstance(error, Exception) or type(error).__name__ == "CancelledError":
        return Outcome.CANCELLED
    if isinstance(error, TimeoutError):
        return Outcome.TIMEOUT
    if isinstance(error, ConnectionError | ResultRejected):
        return Outcome.ERROR
    status = _status(error)
    if status is not None:
        return Outcome.ERROR if status in STATUSES else Outcome.REFUSED
    for base in type(error).__mro__:
        name = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        if name in TIMEOUTS:
            return Outcome.TIMEOUT
        if name in CONNECTIONS:
            return Outcome.ERROR
    if isinstance(error, OSError):
        reason = getattr(error, "reason", None)  # urllib.error.URLError keeps the cause there
        if isinstance(reason, BaseException) and reason is not error:
            return classify(reason)
        if error.errno in UNREACHABLE or _is_passing_lookup_failure(error):
            return Outcome.ERROR
    return Outcome.REFUSED


def _status(error: Exception) -> int | None:
    """The HTTP status that an error bears, where it bears one."""
    for holder in (getattr(error, "response", None), error):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 100 <= status <= 599:
                return status
    return None


def _is_passing_lookup_failure(error: OSError) -> bool:
    """Whether name resolution failed for now, and not for good."""
    return type(error).__name__ == "gaierror" and error.errno == -3  # EAI_AGAIN


def classifier(retry_on: RetryOn | None) -> Callable[[BaseException], Outcome]:
    """``classify``, extended by what the user names.

    retry_on: exception types that are transient too, or a predicate that alone decides. Raises ConfigurationError.
    """
    if retry_on is None:
        return classify
    if isinstance(retry_on, (type, tuple)):
        types = retry_on if isinstance(retry_on, tuple) else (retry_on,)
        for each in types:
            if not (isinstance(each, type) and issubclass(each, Exception)):
                raise ConfigurationError(f"retry_on takes types of Exception, or a predicate, got {each!r}")
        return _by_types(types)
    if not callable(retry_on):
        raise ConfigurationError(f"retry_on takes types of Exception, or a predicate, got {retry_on!r}")
    return _by_predicate(retry_on)


def _by_types(types: tuple[type[Exception], ...]) -> Callable[[BaseException], Outcome]:
    def classify_by_types(error: BaseException) -> Outcome:
        outcome = classify(error)
        return Outcome.ERROR if outcome is Outcome.REFUSED and isinstance(error, types) else outcome

    return classify_by_types


def _by_predicate(predicate: Callable[[Exception], bool]) -> Callable[[BaseException], Outcome]:
    def classify_by_predicate(error: BaseException) -> Outcome:
        outcome = classify(error)
        if outcome is Outcome.CANCELLED or not isinstance(error, Exception):
            return outcome
        if not predicate(error):
            return Outcome.REFUSED
        return Outcome.TIMEOUT if outcome is Outcome.TIMEOUT else Outcome.ERROR

    return classify_by_predicate
