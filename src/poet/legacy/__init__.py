"""The names of the original POET (aitomatic/dana), for code that was written for it.

All of them are faces over ``poet``: one call path, one store, one way to learn. What runs unchanged, what is renamed
and where the original's behaviour was a defect stands in ``docs/how-to/come-from-the-old-poet.md``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from poet.legacy.collector import (
        POEMetricsCollector,
        POETMetricsCollector,
        get_global_collector,
        record_execution_metrics,
    )
    from poet.legacy.config import EnhancedPOEConfig, POEConfig, POETConfig, SimplePOETConfig
    from poet.legacy.decorators import enhanced_poet, poet, poet_with_advanced_learning, poet_with_config
    from poet.legacy.errors import (
        ConfigurationError,
        DomainPluginError,
        EnforceError,
        InputValidationError,
        OperateError,
        OutputValidationError,
        ParameterLearningError,
        PerceiveError,
        POEError,
        POETError,
        RetryExhaustedError,
        TimeoutError,  # noqa: A004 - the original's name
        TrainError,
        create_context,
        wrap_poe_error,
    )
    from poet.legacy.executor import POEExecutor, POETExecutor, SimplePOETExecutor, executor_of
    from poet.legacy.metrics import (
        POEAggregateMetrics,
        POEExecutionMetrics,
        POEMetrics,
        POETAggregateMetrics,
        POETExecutionMetrics,
    )
    from poet.legacy.plugins import PLUGIN_REGISTRY, PluginRegistry, POETPlugin
    from poet.legacy.profiles import (
        DomainProfiles,
        POEProfiles,
        POETProfiles,
        building,
        create_custom_profile,
        dev,
        fast,
        finance,
        get_profile_recommendations,
        learning,
        llm,
        minimal,
        prod,
        reliable,
        semiconductor,
    )

_HOMES = {
    "poet.legacy.collector": (
        "POEMetricsCollector",
        "POETMetricsCollector",
        "get_global_collector",
        "record_execution_metrics",
    ),
    "poet.legacy.config": ("EnhancedPOEConfig", "POEConfig", "POETConfig", "SimplePOETConfig"),
    "poet.legacy.decorators": ("enhanced_poet", "poet", "poet_with_advanced_learning", "poet_with_config"),
    "poet.legacy.errors": (
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
    ),
    "poet.legacy.executor": ("POEExecutor", "POETExecutor", "SimplePOETExecutor", "executor_of"),
    "poet.legacy.metrics": (
        "POEAggregateMetrics",
        "POEExecutionMetrics",
        "POEMetrics",
        "POETAggregateMetrics",
        "POETExecutionMetrics",
    ),
    "poet.legacy.plugins": ("PLUGIN_REGISTRY", "POETPlugin", "PluginRegistry"),
    "poet.legacy.profiles": (
        "DomainProfiles",
        "POEProfiles",
        "POETProfiles",
        "building",
        "create_custom_profile",
        "dev",
        "fast",
        "finance",
        "get_profile_recommendations",
        "learning",
        "llm",
        "minimal",
        "prod",
        "reliable",
        "semiconductor",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "PLUGIN_REGISTRY",
    "ConfigurationError",
    "DomainPluginError",
    "DomainProfiles",
    "EnforceError",
    "EnhancedPOEConfig",
    "InputValidationError",
    "OperateError",
    "OutputValidationError",
    "POEAggregateMetrics",
    "POEConfig",
    "POEError",
    "POEExecutionMetrics",
    "POEExecutor",
    "POEMetrics",
    "POEMetricsCollector",
    "POEProfiles",
    "POETAggregateMetrics",
    "POETConfig",
    "POETError",
    "POETExecutionMetrics",
    "POETExecutor",
    "POETMetricsCollector",
    "POETPlugin",
    "POETProfiles",
    "ParameterLearningError",
    "PerceiveError",
    "PluginRegistry",
    "RetryExhaustedError",
    "SimplePOETConfig",
    "SimplePOETExecutor",
    "TimeoutError",
    "TrainError",
    "building",
    "create_context",
    "create_custom_profile",
    "dev",
    "enhanced_poet",
    "executor_of",
    "fast",
    "finance",
    "get_global_collector",
    "get_profile_recommendations",
    "learning",
    "llm",
    "minimal",
    "poet",
    "poet_with_advanced_learning",
    "poet_with_config",
    "prod",
    "record_execution_metrics",
    "reliable",
    "semiconductor",
    "wrap_poe_error",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'poet.legacy' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
