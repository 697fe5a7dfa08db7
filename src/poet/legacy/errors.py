"""The errors of the original POET: ancestors of ours, so that old code catches what POET raises.

They are made and printed as they were; ours among them have ``.stage`` and ``.context``, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from poet.forebears import (
    ConfigurationError,
    DomainPluginError,
    EnforceError,
    InputValidationError,
    OperateError,
    OutputValidationError,
    ParameterLearningError,
    PerceiveError,
    POETError,
    RetryExhaustedError,
    TimeoutError,  # noqa: A004 - the original's name
    TrainError,
)

__all__ = [
    "ConfigurationError",
    "DomainPluginError",
    "EnforceError",
    "InputValidationError",
    "OperateError",
    "OutputValidationError",
    "POEError",
    "POETError",
    "ParameterLearningError",
    "PerceiveError",
    "RetryExhaustedError",
    "TimeoutError",
    "TrainError",
    "create_context",
    "wrap_poe_error",
]

POEError = POETError


def wrap_poe_error(
    func_name: str, stage: str, original_error: Exception, context: Mapping[str, Any] | None = None
) -> POETError:
    """An error that tells of ``original_error``, which is its cause, in the class of ``stage``.

    stage: perceive, operate, enforce or train; any other gives a plain ``POETError``. ``context`` is left as it is.

    >>> print(wrap_poe_error("ask", "operate", KeyError("x")).context["original_error_type"])
    KeyError
    """
    facts = {
        **(context or {}),
        "function_name": func_name,
        "original_error_type": type(original_error).__name__,
        "original_error_message": str(original_error),
    }
    message = f"Error in function '{func_name}': {original_error}"
    kind = _BY_STAGE.get(stage)
    error = POETError(message, stage, facts) if kind is None else kind(message, facts)
    error.__cause__ = original_error
    return error


def create_context(
    function_name: str | None = None,
    domain: str | None = None,
    attempt: int | None = None,
    execution_time: float | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The given facts by name; what is None is left out, what is 0 is not.

    >>> create_context("ask", attempt=0, room=7)
    {'function_name': 'ask', 'attempt': 0, 'room': 7}
    """
    named = {"function_name": function_name, "domain": domain, "attempt": attempt, "execution_time": execution_time}
    return {**{name: value for name, value in named.items() if value is not None}, **more}


_BY_STAGE: Mapping[str, type[PerceiveError | OperateError | EnforceError | TrainError]] = {
    "perceive": PerceiveError,
    "operate": OperateError,
    "enforce": EnforceError,
    "train": TrainError,
}
