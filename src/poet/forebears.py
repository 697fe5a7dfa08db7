"""The errors of the original POET (aitomatic/dana), from which ours descend.

``except`` looks at real bases and at nothing else. So for old code to catch what we raise, and to make its own errors
as it always did, its classes have to be ancestors of ours. POET itself raises none of them. ``poet.legacy.errors``
offers them under their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TimeoutError = TimeoutError  # the built-in, whose name is taken below


class POETError(Exception):
    """The root: a message, a stage, and facts by name.

    >>> print(POETError("too cold", "operate", {"room": 7}))
    [OPERATE Stage] too cold | Context: {'room': 7}
    """

    stage = ""
    message = ""
    _context: Mapping[str, Any] = {}

    def __init__(self, message: str, stage: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, message, stage, context)
        self._tell(message, str(stage), context)

    @property
    def context(self) -> dict[str, Any]:
        """The facts."""
        return dict(self._context)

    def __str__(self) -> str:
        facts = f" | Context: {self.context}" if self._context else ""
        return f"[{self.stage.upper()} Stage] {self.message}{facts}"

    def _tell(self, message: str, stage: str, context: Mapping[str, Any] | None) -> None:
        """Also for those below, whose ``args`` are what they are made from: so they survive pickling."""
        self.message, self.stage, self._context = message, stage, dict(context or {})


class PerceiveError(POETError):
    """Of the first stage."""

    def __init__(self, message: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, message, context)
        self._tell(message, "perceive", context)


class OperateError(POETError):
    """Of the second stage."""

    def __init__(self, message: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, message, context)
        self._tell(message, "operate", context)


class EnforceError(POETError):
    """Of the third stage."""

    def __init__(self, message: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, message, context)
        self._tell(message, "enforce", context)


class TrainError(POETError):
    """Of the fourth stage. We have no such error: a fault of learning breaks no call."""

    def __init__(self, message: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, message, context)
        self._tell(message, "train", context)


class DomainPluginError(PerceiveError):
    """A plug-in failed. Ours are PerceiveError and EnforceError, and ConfigurationError at decoration."""

    def __init__(self, domain: str, reason: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, domain, reason, context)
        self._tell(f"Domain plugin '{domain}' failed: {reason}", "perceive", context)
        self.domain, self.reason = domain, reason


class InputValidationError(PerceiveError, ValueError):
    """The input is not valid. Also a ValueError, as it was not: raised in ``perceive``, it rejects the input."""

    def __init__(self, input_type: str, reason: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, input_type, reason, context)
        self._tell(f"Input validation failed for {input_type}: {reason}", "perceive", context)
        self.input_type, self.reason = input_type, reason


class RetryExhaustedError(OperateError):
    """All attempts failed. We raise the last attempt's own error."""

    def __init__(self, attempts: int, last_error: Exception, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, attempts, last_error, context)
        self._tell(f"All {attempts} retry attempts failed. Last error: {last_error}", "operate", context)
        self.attempts, self.last_error = attempts, last_error


class TimeoutError(OperateError, _TimeoutError):  # noqa: A001 - the original's name
    """It took too long. Also the built-in TimeoutError, as it was not: raised in a body, it is worth a retry."""

    def __init__(self, timeout: float, actual_time: float, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, timeout, actual_time, context)
        self._tell(f"Function execution timeout: {actual_time:.2f}s > {timeout:.2f}s", "operate", context)
        self.timeout, self.actual_time = timeout, actual_time


class OutputValidationError(EnforceError):
    """The result is not valid."""

    def __init__(
        self, expected_type: str, actual_type: str, reason: str, context: Mapping[str, Any] | None = None
    ) -> None:
        Exception.__init__(self, expected_type, actual_type, reason, context)
        message = f"Output validation failed: expected {expected_type}, got {actual_type}. {reason}"
        self._tell(message, "enforce", context)
        self.expected_type, self.actual_type, self.reason = expected_type, actual_type, reason


class ParameterLearningError(TrainError):
    """A parameter could not be learned. We have no such error."""

    def __init__(self, parameter: str, reason: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, parameter, reason, context)
        self._tell(f"Parameter learning failed for '{parameter}': {reason}", "train", context)
        self.parameter, self.reason = parameter, reason


class ConfigurationError(POETError):
    """A configuration cannot be."""

    def __init__(self, config_item: str, reason: str, context: Mapping[str, Any] | None = None) -> None:
        Exception.__init__(self, config_item, reason, context)
        self._tell(f"Configuration error for '{config_item}': {reason}", "configuration", context)
        self.config_item, self.reason = config_item, reason
