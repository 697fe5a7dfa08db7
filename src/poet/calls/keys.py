"""One key for all attempts of a call, so that a server can tell a repetition from another request."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from os import urandom
from typing import Any

Keying = Callable[[tuple[Any, ...], dict[str, Any]], tuple[tuple[Any, ...], dict[str, Any]]]  # arguments, with a key


def keying(function: Callable[..., Any], argument: str) -> Keying:
    """What puts a key into the arguments of a call of ``function`` that gives none, by name or by position."""
    names = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    place = names.index(argument) if argument in names else math.inf

    def put(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if len(args) > place:
            return tuple(urandom(16).hex() if i == place and a is None else a for i, a in enumerate(args)), kwargs
        if kwargs.get(argument) is None:
            kwargs[argument] = urandom(16).hex()
        return args, kwargs

    return put


def keyed(call: Callable[..., Any], put: Keying, is_async: bool) -> Callable[..., Any]:
    """``call`` whose attempts all bear one key, so that a server can tell a repetition from another request."""
    if is_async:

        async def keyed_async(*args: Any, **kwargs: Any) -> Any:
            args, kwargs = put(args, kwargs)
            return await call(*args, **kwargs)

        return keyed_async

    def keyed_sync(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = put(args, kwargs)
        return call(*args, **kwargs)

    return keyed_sync
