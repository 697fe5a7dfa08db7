"""How long a dependency asks us to wait before the next request."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

LONGEST_PUSHBACK = 60.0  # one that asks for more is not asked again by this call [s]


def pushback(error: BaseException, wall: float | None = None) -> float | None:
    """Seconds that ``error``'s answer asks to wait, >= 0; ``inf``: not to try again; None where it says nothing.

    Read from the headers of the error's response: ``Retry-After`` (seconds, or a date: RFC 9110 §10.2.3),
    ``retry-after-ms``, ``x-should-retry: false``, gRPC's ``grpc-retry-pushback-ms`` (negative: do not retry); or from
    the error's attribute ``retry_after``. wall: Unix time of now [s].
    """
    try:
        return _asked(error, wall)
    except Exception:  # noqa: BLE001 - an odd error must not hide itself behind another
        return None


def _asked(error: BaseException, wall: float | None) -> float | None:
    headers = _headers(error)
    if headers is not None:
        if _text(headers, "x-should-retry").lower() == "false":
            return math.inf
        for name in ("grpc-retry-pushback-ms", "retry-after-ms"):
            text = _text(headers, name)
            if text:
                milliseconds = _number(text)
                if milliseconds is None and name.startswith("grpc"):
                    return math.inf  # as gRPC A6 has it
                if milliseconds is not None:
                    return math.inf if milliseconds < 0 else milliseconds / 1000
        text = _text(headers, "retry-after")
        if text:
            seconds = _number(text)
            return max(0.0, seconds) if seconds is not None else _until(text, time.time() if wall is None else wall)
    value = getattr(error, "retry_after", None)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    return None


def _headers(error: BaseException) -> Mapping[str, Any] | None:
    for holder in (getattr(error, "response", None), error):
        for name in ("headers", "trailing_metadata"):
            headers = getattr(holder, name, None)
            if callable(headers) and name == "trailing_metadata":  # as grpc has it: a method that gives pairs
                try:
                    headers = dict(headers())
                except Exception:  # noqa: BLE001 - an odd error must not hide itself behind another
                    headers = None
            if headers is not None and hasattr(headers, "get"):
                return headers  # type: ignore[no-any-return]
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # as botocore has it
        metadata = response.get("ResponseMetadata")
        if isinstance(metadata, Mapping) and isinstance(metadata.get("HTTPHeaders"), Mapping):
            return metadata["HTTPHeaders"]  # type: ignore[no-any-return]
    return None


def _text(headers: Mapping[str, Any], name: str) -> str:
    for spelling in (name, name.title()):
        try:
            value = headers.get(spelling)
        except Exception:  # noqa: BLE001 - likewise
            return ""
        if isinstance(value, str):
            return value.strip()
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
    return ""


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _until(text: str, wall: float) -> float | None:
    from datetime import UTC  # needed only for dates
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # asctime's form names no zone: it is GMT all the same
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - wall)
    except (TypeError, ValueError, OverflowError):
        return None
