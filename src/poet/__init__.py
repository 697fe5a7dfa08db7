"""POET: Python functions that tune their own timeouts and retries.

>>> from poet import poet, remaining
>>> @poet(enable_training=True, timeout=2.0)
... def answer(question: str) -> str:
...     return f"{question} within {remaining():.0f} s"
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poet.calls.deadline import deadline, remaining
    from poet.calls.enforce import on_result
    from poet.decorator import Handle, configure, flush, listen, poet, set_testing
    from poet.errors import (
        CircuitOpen,
        ConfigurationError,
        EnforceError,
        InputRejected,
        OperateError,
        Overloaded,
        PerceiveError,
        PoetError,
        PoetTimeout,
        ResultRejected,
        Shed,
        StaleParameters,
        StoreCorrupt,
        StoreError,
        StoreTooNew,
        StoreUnavailable,
        UnknownArgument,
        UnknownFunction,
        UnknownVersion,
        WorkerError,
    )
    from poet.model.dependency import Breaker, Budget, Dependency
    from poet.model.estimate import Estimate
    from poet.model.event import Event
    from poet.model.execution import Attempt, Execution, Outcome
    from poet.model.objective import Goal, Objective
    from poet.model.rollout import RolloutPolicy
    from poet.model.tunable import Choice, Integer, Real, Space

# Loaded when first asked for, so that `import poet` costs next to nothing and never loads numpy.
_HOMES = {
    "poet.calls.deadline": ("deadline", "remaining"),
    "poet.calls.enforce": ("on_result",),
    "poet.decorator": ("Handle", "configure", "flush", "listen", "poet", "set_testing"),
    "poet.errors": (
        "CircuitOpen",
        "ConfigurationError",
        "EnforceError",
        "InputRejected",
        "OperateError",
        "Overloaded",
        "PerceiveError",
        "PoetError",
        "PoetTimeout",
        "ResultRejected",
        "Shed",
        "StaleParameters",
        "StoreCorrupt",
        "StoreError",
        "StoreTooNew",
        "StoreUnavailable",
        "UnknownArgument",
        "UnknownFunction",
        "UnknownVersion",
        "WorkerError",
    ),
    # Names of the original POET, for code that imports them; docs/how-to/come-from-the-old-poet.md
    "poet.legacy.collector": (
        "POEMetricsCollector",
        "POETMetricsCollector",
        "get_global_collector",
        "record_execution_metrics",
    ),
    "poet.legacy.config": ("EnhancedPOEConfig", "POEConfig", "POETConfig", "SimplePOETConfig"),
    "poet.legacy.decorators": ("enhanced_poet", "poet_with_advanced_learning", "poet_with_config"),
    "poet.legacy.errors": (
        "DomainPluginError",
        "InputValidationError",
        "OutputValidationError",
        "POEError",
        "POETError",
        "ParameterLearningError",
        "RetryExhaustedError",
        "TimeoutError",
        "TrainError",
        "create_context",
        "wrap_poe_error",
    ),
    "poet.legacy.executor": ("POEExecutor", "POETExecutor", "SimplePOETExecutor"),
    "poet.legacy.metrics": (
        "POEAggregateMetrics",
        "POEExecutionMetrics",
        "POEMetrics",
        "POETAggregateMetrics",
        "POETExecutionMetrics",
    ),
    "poet.legacy.plugins": ("PLUGIN_REGISTRY", "POETPlugin"),
    "poet.legacy.profiles": (
        "DomainProfiles",
        "POEProfiles",
        "POETProfiles",
        "create_custom_profile",
        "get_profile_recommendations",
    ),
    "poet.model.dependency": ("Breaker", "Budget", "Dependency"),
    "poet.model.estimate": ("Estimate",),
    "poet.model.event": ("Event",),
    "poet.model.execution": ("Attempt", "Execution", "Outcome"),
    "poet.model.objective": ("Goal", "Objective"),
    "poet.model.rollout": ("RolloutPolicy",),
    "poet.model.tunable": ("Choice", "Integer", "Real", "Space"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Attempt",
    "Breaker",
    "Budget",
    "Choice",
    "CircuitOpen",
    "ConfigurationError",
    "Dependency",
    "EnforceError",
    "Estimate",
    "Event",
    "Execution",
    "Goal",
    "Handle",
    "InputRejected",
    "Integer",
    "Objective",
    "OperateError",
    "Outcome",
    "Overloaded",
    "PerceiveError",
    "PoetError",
    "PoetTimeout",
    "Real",
    "ResultRejected",
    "RolloutPolicy",
    "Shed",
    "Space",
    "StaleParameters",
    "StoreCorrupt",
    "StoreError",
    "StoreTooNew",
    "StoreUnavailable",
    "UnknownArgument",
    "UnknownFunction",
    "UnknownVersion",
    "WorkerError",
    "configure",
    "deadline",
    "flush",
    "listen",
    "on_result",
    "poet",
    "remaining",
    "set_testing",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'poet' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
