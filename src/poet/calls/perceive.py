"""P: the input is normalised or rejected, once, before the first attempt."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

from poet.errors import ConfigurationError, InputRejected, PerceiveError, PoetError
from poet.model.execution import LONGEST_TEXT, MOST_FEATURES, WIDEST_WHOLE, Context

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Perceive = Callable[..., Any]  # the arguments -> (args, kwargs), or (args, kwargs, features); or None: as they are

FEATURES: ContextVar[Context] = ContextVar("poet_features", default=())  # what ``perceive`` has told of the input


class Perceiver:
    """Runs ``perceive``, and says in the error that it was perceiving where something failed."""

    __slots__ = ("_domain", "_name", "_user")

    def __init__(self, name: str, user: Perceive | None, domain: Perceive | None) -> None:
        """domain: runs last, so that nothing gets past its interlocks."""
        self._name, self._user, self._domain = name, user, domain

    def look(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any], Context]:
        """The arguments to use, and features. Raises InputRejected, PerceiveError."""
        given: Any = None
        if self._user is not None:
            try:
                given = self._user(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - raised again, with its stage
                self._fail(error)
        return self._finished(given, args, kwargs)

    async def look_async(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Context]:
        """The same for an async function; ``perceive`` may be async then, too."""
        given: Any = None
        if self._user is not None:
            try:
                given = self._user(*args, **kwargs)
                if inspect.isawaitable(given):
                    given = await given
            except Exception as error:  # noqa: BLE001 - raised again, with its stage
                self._fail(error)
        return self._finished(given, args, kwargs)

    def _finished(
        self, given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Context]:
        args, kwargs, context = self._unpacked(given, args, kwargs)
        return (*self._by_domain(args, kwargs), context)

    def _by_domain(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        if self._domain is None:
            return args, kwargs
        try:
            given: Arguments = self._domain(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again, with its stage
            self._fail(error)
        return given

    def _fail(self, error: Exception) -> NoReturn:
        if isinstance(error, PoetError) and not isinstance(error, ConfigurationError):
            raise error
        if isinstance(error, ValueError | AssertionError):
            raise InputRejected(self._name, str(error) or type(error).__name__) from error
        raise PerceiveError(self._name, f"{type(error).__name__}: {error}") from error

    def _unpacked(
        self, given: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any], Context]:
        if given is None:
            return args, kwargs, ()
        if isinstance(given, tuple) and len(given) in (2, 3):
            positional, named, *rest = given
            if isinstance(positional, tuple | list) and isinstance(named, Mapping):
                return tuple(positional), dict(named), self._features(rest[0]) if rest else ()
        raise PerceiveError(
            self._name, f"it must return (args, kwargs) or (args, kwargs, features), got {type(given).__name__}"
        )

    def _features(self, features: Any) -> Context:
        if not isinstance(features, Mapping):
            raise PerceiveError(self._name, f"features must be a mapping from name to value, got {features!r}")
        if len(features) > MOST_FEATURES:
            raise PerceiveError(self._name, f"at most {MOST_FEATURES} features are kept, got {len(features)}")
        for name, value in features.items():
            if not (isinstance(name, str) and len(name) <= LONGEST_TEXT and _fits(value)):
                raise PerceiveError(
                    self._name,
                    f"the feature {name!r} must be a finite number, True, False or a text of at most {LONGEST_TEXT} "
                    f"characters, got {type(value).__name__}",
                )
        return tuple(sorted(features.items()))


def _fits(value: object) -> bool:
    """Whether a store can keep it."""
    if isinstance(value, bool):
        return True
    if isinstance(value, int):
        return value.bit_length() <= WIDEST_WHOLE
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str) and len(value) <= LONGEST_TEXT
