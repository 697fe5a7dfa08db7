"""E: each result is checked inside its attempt; a rejected one is an attempt that failed."""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, get_origin

from poet.errors import ConfigurationError, EnforceError, PoetError, ResultRejected

Enforce = Any  # a predicate, a validator, a type, or a pydantic model or TypeAdapter
Verdict = Callable[[Any], object]


class Unsatisfying(PoetError):
    """A result that ``retry_on`` wants to see repeated; never leaves the call, which gives the result in the end."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = self.response = result  # a response may say in its headers how long to wait


def must_be_awaited(function: object) -> bool:
    """Whether what ``function`` gives is a coroutine, as far as its looks tell."""
    calling = getattr(type(function), "__call__", None)  # noqa: B004 - looked at, not called
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(calling)


class OnResult:
    """What ``on_result`` gives."""

    __slots__ = ("predicate",)

    def __init__(self, predicate: Callable[[Any], object]) -> None:
        if not callable(predicate):
            raise ConfigurationError(f"on_result takes a predicate of the result, got {predicate!r}")
        if must_be_awaited(predicate):
            raise ConfigurationError(f"on_result takes a plain predicate, not an async one, got {predicate!r}")
        self.predicate = predicate


def on_result(predicate: Callable[[Any], object]) -> OnResult:
    """For ``retry_on``: repeat the call while ``predicate`` is true of its result.

    When there are no more retries, the last result is returned as it is.

    >>> from poet import poet
    >>> @poet(retry_on=on_result(lambda answer: answer == "pending"), backoff=0)
    ... def ask(answers=iter(["pending", "done"])) -> str:
    ...     return next(answers)
    >>> ask()
    'done'
    """
    return OnResult(predicate)


class Enforcer:
    """All checks of a function's results. Rejecting is raising; what it gives is the result to use."""

    __slots__ = ("_cost", "_name", "_predicates", "_refine", "_verdict", "may_await")

    def __init__(
        self,
        name: str,
        *,
        enforce: Enforce | None = None,
        refine: Callable[[Any], Any] | None = None,
        repeat: Sequence[OnResult] = (),
        cost: Callable[[Any], float] | None = None,
    ) -> None:
        """refine: of the domain, gives the result to use. cost: what a result that is not used has cost."""
        self._name, self._cost, self._refine = name, cost, refine
        self._verdict = None if enforce is None else verdict_of(enforce)
        self._predicates = [each.predicate for each in repeat]
        self.may_await = enforce is not None

    def check(self, result: Any) -> Any:
        """The result to use. Raises ResultRejected, EnforceError, Unsatisfying."""
        result = self._before(result)
        if self._verdict is not None:
            try:
                answer = self._verdict(result)
                if inspect.isawaitable(answer):
                    close = getattr(answer, "close", None)
                    if close is not None:
                        close()
                    raise TypeError("what it gives must be awaited, and the function is not async")  # noqa: TRY301
            except Exception as error:  # noqa: BLE001 - raised again, with its stage
                self._fail(error, result)
            self._say(answer, result)
        return result

    async def check_async(self, result: Any) -> Any:
        """The same where ``enforce`` is an async function."""
        result = self._before(result)
        if self._verdict is not None:
            try:
                answer = self._verdict(result)
                if inspect.isawaitable(answer):
                    answer = await answer
            except Exception as error:  # noqa: BLE001 - raised again, with its stage
                self._fail(error, result)
            self._say(answer, result)
        return result

    def _before(self, result: Any) -> Any:
        for predicate in self._predicates:
            try:
                again = bool(predicate(result))
            except Exception as error:
                raise EnforceError(self._name, f"on_result's predicate raised {_said(error)}") from error
            if again:
                raise self._charged(Unsatisfying(result), result)
        if self._refine is None:
            return result
        try:
            return self._refine(result)
        except Exception as error:  # noqa: BLE001 - raised again, with its stage
            self._fail(error, result)

    def _say(self, answer: object, result: Any) -> None:
        if answer is False or (_is_numpys_bool(answer) and not answer):
            raise self._charged(ResultRejected(self._name), result)

    def _fail(self, error: Exception, result: Any) -> NoReturn:
        if isinstance(error, ResultRejected):
            raise self._charged(error, result)
        if isinstance(error, ValueError | AssertionError | _Mismatch):
            raise self._charged(ResultRejected(self._name, str(error) or type(error).__name__), result) from error
        raise EnforceError(self._name, _said(error)) from error

    def _charged(self, error: Exception, result: Any) -> Exception:
        if self._cost is not None:
            try:
                cost = float(self._cost(result))
                if not math.isfinite(cost):
                    raise ValueError(f"a cost must be a finite number, got {cost!r}")  # noqa: TRY301
                error.cost = cost  # type: ignore[attr-defined]  # read by the operation
            except Exception as fault:
                raise EnforceError(self._name, f"cost raised {_said(fault)}") from fault
        return error


def _is_numpys_bool(answer: object) -> bool:
    kind = type(answer)
    return kind.__module__ == "numpy" and kind.__name__ in ("bool", "bool_")


class _Mismatch(Exception):
    """A result is of another type."""


def verdict_of(enforce: Enforce) -> Verdict:
    """The check that ``enforce`` stands for. Raises ConfigurationError where it is none."""
    for name in ("model_validate", "validate_python"):  # a pydantic model, a TypeAdapter; pydantic is not imported
        validate = getattr(enforce, name, None)
        if callable(validate):
            from_json = getattr(enforce, "model_validate_json" if name == "model_validate" else "validate_json", None)
            if not callable(from_json):
                raise ConfigurationError(f"enforce={enforce!r} has {name}, but cannot read JSON: give a pydantic model")
            return _pydantic(enforce, validate, from_json)
    if isinstance(enforce, type | types.UnionType) or (isinstance(enforce, tuple) and enforce):
        try:
            for each in _parts(enforce):  # one by one, as isinstance stops at the first that fits
                isinstance(None, each)
        except TypeError as error:
            raise ConfigurationError(
                f"enforce={enforce!r} cannot be checked: give a plain type, or pydantic.TypeAdapter({enforce!r})"
            ) from error
        return _of_type(enforce)
    if get_origin(enforce) is not None:
        raise ConfigurationError(
            f"enforce={enforce!r} cannot be checked: give a plain type, or pydantic.TypeAdapter({enforce!r})"
        )
    if not callable(enforce):
        raise ConfigurationError(
            f"enforce must be a predicate, a validator, a type or a pydantic model, got {enforce!r}"
        )
    verdict: Verdict = enforce
    return verdict


def _of_type(expected: Any) -> Verdict:
    names = " or ".join(getattr(each, "__name__", str(each)) for each in _parts(expected))

    def is_of_type(result: Any) -> None:
        if not isinstance(result, expected):
            raise _Mismatch(f"expected {names}, got {type(result).__name__}")

    return is_of_type


def _parts(expected: Any) -> tuple[Any, ...]:
    if isinstance(expected, types.UnionType):
        return tuple(expected.__args__)
    return expected if isinstance(expected, tuple) else (expected,)


def _pydantic(model: Any, validate: Verdict, from_json: Verdict) -> Verdict:
    """A text is read as JSON; the result itself is not replaced, so that the function's type stays true."""
    wants_text = not isinstance(model, type)  # an adapter may be one of str

    def is_valid(result: Any) -> None:
        if isinstance(result, str | bytes) and not wants_text:
            from_json(result)
        elif not (isinstance(model, type) and isinstance(result, model)):
            validate(result)

    return is_valid


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
