"""Tells a body how long it may take, in the argument that it has for that."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

from poet.calls.deadline import DEADLINE, NEVER
from poet.errors import ConfigurationError, PoetTimeout, nearest

Body = Callable[..., Any]
TimeoutArg = str | tuple[str, Callable[[float], object]]


def injected(
    function: Body,
    body: Body,
    timeout_arg: TimeoutArg,
    *,
    name: str | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Body:
    """``body``, which takes the arguments of ``function``, with the seconds left to its attempt (``DEADLINE``) in one.

    timeout_arg: the argument's name; or the name and a function that makes its value from the seconds, > 0, for one
    that wants something else: ``("timeout", lambda s: (min(3.05, s), s))``.

    A number that the caller passes is lowered to ours where ours is a number and smaller; anything else that the caller
    passes is left alone. A default is not what the caller passes: it gives way. Without a limit nothing is done.
    Where nothing is left, the attempt is not begun: most libraries take a timeout of 0 for something else.

    Raises ConfigurationError where the function has no such argument, or one that takes no keyword.
    """
    argument, value_of = _parsed(timeout_arg)
    place = _place(function, argument)
    called = name or function.__qualname__

    def fill(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """Writes into ``kwargs``, which are the call's own; the positional arguments to use."""
        limit = DEADLINE.get()
        if limit == NEVER:
            return args
        left = limit - now()
        if left <= 0:
            raise PoetTimeout(called, 0.0)
        value = left if value_of is None else value_of(left)
        if place is not None and len(args) > place:
            return (*args[:place], _smaller(args[place], value), *args[place + 1 :])
        kwargs[argument] = _smaller(kwargs[argument], value) if argument in kwargs else value
        return args

    if inspect.iscoroutinefunction(function):

        async def told_async(*args: Any, **kwargs: Any) -> Any:
            args = fill(args, kwargs)
            return await body(*args, **kwargs)

        return told_async

    def told(*args: Any, **kwargs: Any) -> Any:
        args = fill(args, kwargs)
        return body(*args, **kwargs)

    return told


def check(function: Body, timeout_arg: TimeoutArg) -> None:
    """Raises ConfigurationError where ``function`` cannot be told so."""
    _place(function, _parsed(timeout_arg)[0])


def _smaller(passed: Any, ours: Any) -> Any:
    if not (_is_number(passed) and _is_number(ours)):
        return passed
    return passed if passed <= ours else ours  # so written, a NaN becomes ours


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parsed(timeout_arg: TimeoutArg) -> tuple[str, Callable[[float], object] | None]:
    argument: object = timeout_arg
    value_of: Any = None
    if isinstance(timeout_arg, tuple) and len(timeout_arg) == 2:
        argument, value_of = timeout_arg
    if isinstance(argument, str) and argument.isidentifier() and (value_of is None or callable(value_of)):
        return argument, value_of
    raise ConfigurationError(
        "timeout_arg is the name of an argument, or that name and a function of the seconds, "
        f"('timeout', lambda s: (min(3.05, s), s)), got {timeout_arg!r}"
    )


def _place(function: Body, argument: str) -> int | None:
    """Where the argument stands among the positional ones; None: by keyword only. Raises ConfigurationError."""
    parameters = inspect.signature(function).parameters
    variadic = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    found = parameters.get(argument)
    if found is not None and found.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD:
        return list(parameters).index(argument)
    if found is not None and found.kind is inspect.Parameter.KEYWORD_ONLY:
        return None
    if found is not None and found.kind is inspect.Parameter.POSITIONAL_ONLY and not variadic:
        raise ConfigurationError(
            f"timeout_arg={argument!r}: {function.__qualname__} takes it by position only; move it behind the slash"
        )
    if variadic:
        return None
    collectors = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [name for name, p in parameters.items() if p.kind not in collectors]
    hint = nearest(argument, named) if named else "it has none"
    raise ConfigurationError(f"timeout_arg={argument!r}: {function.__qualname__} has no such argument: {hint}")
