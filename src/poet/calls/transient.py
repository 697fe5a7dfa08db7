"""Which failures another attempt might mend."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence

from poet.calls.enforce import OnResult, Unsatisfying, must_be_awaited
from poet.errors import ConfigurationError, ResultRejected, Shed
from poet.model.execution import Outcome

Predicate = Callable[[Exception], bool]
RetryOn = type[Exception] | Predicate | OnResult | Sequence[type[Exception] | OnResult | Predicate]

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
# Raised before a request was sent: it cannot have had an effect.
UNSENT = frozenset(
    {
        "aiohttp.ClientConnectorError",
        "botocore.ConnectTimeoutError",
        "botocore.EndpointConnectionError",
        "httpcore.ConnectError",
        "httpcore.ConnectTimeout",
        "httpcore.PoolTimeout",
        "httpx.ConnectError",
        "httpx.ConnectTimeout",
        "httpx.PoolTimeout",
        "requests.ConnectTimeout",
        "urllib3.ConnectTimeoutError",
        "urllib3.NewConnectionError",
    }
)
SAME_AS = {"httpx2": "httpx", "httpcore2": "httpcore"}  # successors under another name
THROTTLED = frozenset(  # codes by which AWS says that it is too much at the moment
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
UNDONE = frozenset({425, 429})  # the server says that it has not begun
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
    if isinstance(error, ConnectionError | ResultRejected | Unsatisfying):
        return Outcome.ERROR
    if isinstance(error, Shed):  # by a nested call
        return Outcome.SHED
    status = _status(error)
    if status is not None:
        return Outcome.ERROR if status in STATUSES else Outcome.REFUSED
    for name in _names(error):
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


def was_not_processed(error: BaseException, depth: int = 4) -> bool:
    """Whether a request that failed with ``error`` can have had no effect: no connection, or turned away unread.

    Any doubt counts as an effect: a lost connection, a timeout, a 500 or a 503.

    >>> was_not_processed(ConnectionRefusedError()), was_not_processed(ConnectionResetError())
    (True, False)
    """
    if isinstance(error, ConnectionRefusedError | Shed):
        return True
    if isinstance(error, Exception):
        status = _status(error)
        if status is not None:
            return status in UNDONE
    if any(name in UNSENT for name in _names(error)):
        return True
    if isinstance(error, OSError) and _is_passing_lookup_failure(error):
        return True
    # requests wraps urllib3's MaxRetryError, which wraps the reason; urllib's URLError has one, too
    reason = getattr(error, "reason", None) or next(iter(error.args), None)
    return depth > 0 and isinstance(reason, BaseException) and was_not_processed(reason, depth - 1)


def _names(error: BaseException) -> Iterator[str]:
    """What the sets above call the error's class and its bases."""
    for base in type(error).__mro__:
        package = base.__module__.partition(".")[0]
        yield f"{SAME_AS.get(package, package)}.{base.__name__}"


def _status(error: Exception) -> int | None:
    """The HTTP status that an error bears, where it bears one."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore's ClientError
        said, metadata = response.get("Error"), response.get("ResponseMetadata")
        if isinstance(said, Mapping) and said.get("Code") in THROTTLED:
            return 429  # whatever the status: some services say 400
        status = metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
        return status if isinstance(status, int) else None
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

    Types make errors transient that would not be; a predicate decides for every exception by itself. ``on_result`` is
    for results, and changes nothing here. Raises ConfigurationError.
    """
    types: list[type[Exception]] = []
    predicates: list[Predicate] = []
    for each in parts(retry_on):
        if isinstance(each, OnResult):
            continue
        if isinstance(each, type):
            if not issubclass(each, Exception):
                raise ConfigurationError(f"retry_on takes types of Exception, got {each!r}")
            types.append(each)
        elif callable(each) and not must_be_awaited(each):
            predicates.append(each)
        else:
            raise ConfigurationError(
                f"retry_on takes types of Exception, predicates of an exception, or poet.on_result(…), got {each!r}"
            )
    if predicates:
        return _by_predicate(predicates, tuple(types))
    return _by_types(tuple(types)) if types else classify


def parts(retry_on: RetryOn | None) -> Sequence[object]:
    """What ``retry_on`` is made of."""
    if retry_on is None:
        return ()
    if isinstance(retry_on, Sequence) and not isinstance(retry_on, str):
        return retry_on
    return (retry_on,)


def _by_types(types: tuple[type[Exception], ...]) -> Callable[[BaseException], Outcome]:
    def classify_by_types(error: BaseException) -> Outcome:
        outcome = classify(error)
        return Outcome.ERROR if outcome is Outcome.REFUSED and isinstance(error, types) else outcome

    return classify_by_types


def _by_predicate(
    predicates: Sequence[Predicate], types: tuple[type[Exception], ...]
) -> Callable[[BaseException], Outcome]:
    def classify_by_predicate(error: BaseException) -> Outcome:
        outcome = classify(error)
        fixed = outcome is Outcome.CANCELLED or outcome is Outcome.SHED or isinstance(error, Unsatisfying)
        if fixed or not isinstance(error, Exception):
            return outcome
        if not isinstance(error, types) and not any(predicate(error) for predicate in predicates):
            return Outcome.REFUSED
        return Outcome.TIMEOUT if outcome is Outcome.TIMEOUT else Outcome.ERROR

    return classify_by_predicate
