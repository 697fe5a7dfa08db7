"""What the original counted of executions, as plain sums."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict

from poet.errors import ConfigurationError

STAGES = ("perceive", "operate", "enforce", "train")


def checked_seconds(name: str, value: object) -> float:
    """``value`` as seconds. Raises ConfigurationError where it is no finite number >= 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ConfigurationError(f"{name} must be a finite number of seconds >= 0, got {value!r}")
    return float(value)


def checked_attempts(value: object) -> int:
    """``value`` as a number of attempts. Raises ConfigurationError where it is no whole number >= 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"attempts must be a whole number >= 1, the first included, got {value!r}")
    return value


@dataclass
class POEMetrics:
    """Counts of one function's executions."""

    total_executions: int = 0
    successful_executions: int = 0
    failed_executions: int = 0
    avg_execution_time: float = 0.0  # [s]; 0 where there was none
    retry_count: int = 0  # attempts after the first, of all executions

    def record_execution(self, success: bool, execution_time: float, attempts: int) -> None:
        """Count one. execution_time: >= 0 [s]. attempts: the first included, >= 1. Raises ConfigurationError."""
        seconds, made = checked_seconds("execution_time", execution_time), checked_attempts(attempts)
        self.total_executions += 1
        if success:
            self.successful_executions += 1
        else:
            self.failed_executions += 1
        self.avg_execution_time += (seconds - self.avg_execution_time) / self.total_executions
        self.retry_count += made - 1

    def get_stats(self) -> dict[str, Any]:
        """The counts, with rates in [0, 1] that are 0 where there was no execution."""
        total = max(self.total_executions, 1)
        return {
            "total_executions": self.total_executions,
            "success_rate": self.successful_executions / total,
            "failure_rate": self.failed_executions / total,
            "avg_execution_time": self.avg_execution_time,
            "total_retries": self.retry_count,
        }


@dataclass
class POEExecutionMetrics:
    """One execution. The times of its stages are None where nobody measured them: POET itself measures calls."""

    function_name: str
    domain: str | None
    timestamp: float  # of its start where POET recorded it, of its being told where you did [Unix s]
    success: bool
    total_time: float  # pauses included [s]
    attempts: int  # the first included, hedges not
    perceive_time: float | None = None  # [s]
    operate_time: float | None = None  # [s]
    enforce_time: float | None = None  # [s]
    train_time: float | None = None  # [s]
    error_type: str | None = None
    error_message: str | None = None  # never stored: it may quote arguments
    error_stage: str | None = None
    retries_configured: int = 3
    timeout_configured: float = 30.0  # [s]
    training_enabled: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> POEExecutionMetrics:
        """What ``to_dict`` gave. Raises TypeError where a field is unknown or one without default is missing."""
        return cls(**data)


POETExecutionMetrics = POEExecutionMetrics


class Sums(TypedDict):
    """What is summed of a function or a domain."""

    executions: int
    successes: int
    failures: int
    total_time: float  # [s]


def no_sums() -> Sums:
    """Of nothing yet."""
    return {"executions": 0, "successes": 0, "failures": 0, "total_time": 0.0}


@dataclass
class POEAggregateMetrics:
    """Sums over many executions; their memory grows with functions, domains and types of error, not with executions."""

    total_executions: int = 0
    successful_executions: int = 0
    failed_executions: int = 0
    total_execution_time: float = 0.0  # [s]
    min_execution_time: float = math.inf  # [s]; infinite where there was none
    max_execution_time: float = 0.0  # [s]
    total_retries: int = 0
    max_retries_used: int = 0  # in one execution
    stage_seconds: dict[str, float] = field(default_factory=dict)  # by stage, of those that were measured [s]
    stage_executions: Counter[str] = field(default_factory=Counter)  # by stage, how many were measured
    errors_by_type: Counter[str] = field(default_factory=Counter)
    errors_by_stage: Counter[str] = field(default_factory=Counter)
    errors_by_function: Counter[str] = field(default_factory=Counter)
    function_stats: dict[str, Sums] = field(default_factory=dict)
    domain_stats: dict[str, Sums] = field(default_factory=dict)

    def add_execution(self, metrics: POEExecutionMetrics) -> None:
        """Count one; O(1)."""
        seconds, retries = metrics.total_time, metrics.attempts - 1
        self.total_executions += 1
        self.total_execution_time += seconds
        self.min_execution_time = min(self.min_execution_time, seconds)
        self.max_execution_time = max(self.max_execution_time, seconds)
        self.total_retries += retries
        self.max_retries_used = max(self.max_retries_used, retries)
        for stage in STAGES:
            measured = getattr(metrics, f"{stage}_time")
            if measured is not None:
                self.stage_seconds[stage] = self.stage_seconds.get(stage, 0.0) + measured
                self.stage_executions[stage] += 1
        if metrics.success:
            self.successful_executions += 1
        else:
            self.failed_executions += 1
            self.errors_by_function[metrics.function_name] += 1
            if metrics.error_type:
                self.errors_by_type[metrics.error_type] += 1
            if metrics.error_stage:
                self.errors_by_stage[metrics.error_stage] += 1
        _add(self.function_stats, metrics.function_name, metrics)
        if metrics.domain:
            _add(self.domain_stats, metrics.domain, metrics)

    def get_summary(self) -> dict[str, Any]:
        """Counts, times, stages and retries; an average over nothing is None."""
        total = self.total_executions
        if not total:
            return {"message": "No executions recorded"}
        return {
            "execution_summary": {
                "total_executions": total,
                "successful_executions": self.successful_executions,
                "failed_executions": self.failed_executions,
                "success_rate": self.successful_executions / total,
                "failure_rate": self.failed_executions / total,
            },
            "timing_summary": {
                "total_time": self.total_execution_time,
                "average_time": self.total_execution_time / total,
                "min_time": self.min_execution_time,
                "max_time": self.max_execution_time,
            },
            "stage_timing": {f"average_{stage}_time": self._average(stage) for stage in STAGES},
            "retry_summary": {
                "total_retries": self.total_retries,
                "average_retries": self.total_retries / total,
                "max_retries_used": self.max_retries_used,
            },
        }

    def get_error_analysis(self) -> dict[str, Any]:
        """Failures by type, stage and function, and of each the most frequent with its count, or None."""
        return {
            "errors_by_type": dict(self.errors_by_type),
            "errors_by_stage": dict(self.errors_by_stage),
            "errors_by_function": dict(self.errors_by_function),
            "most_common_error_type": _most(self.errors_by_type),
            "most_problematic_stage": _most(self.errors_by_stage),
            "most_problematic_function": _most(self.errors_by_function),
        }

    def get_performance_insights(self) -> list[str]:
        """What the sums say, in sentences: facts, no advice. What to change is for ``f.poet.explain()`` to say."""
        total = self.total_executions
        if not total:
            return ["No executions recorded"]
        sentences = [
            f"{self.failed_executions} of {total} executions failed ({self.failed_executions / total:.1%}).",
            f"They took {self.total_execution_time / total:.3g} s on average, "
            f"from {self.min_execution_time:.3g} s to {self.max_execution_time:.3g} s.",
        ]
        if self.total_retries:
            sentences.append(
                f"{self.total_retries} retries were made, {self.total_retries / total:.2g} per execution, "
                f"at most {self.max_retries_used} in one."
            )
        for what, counts in (("error", self.errors_by_type), ("function", self.errors_by_function)):
            most = _most(counts)
            if most is not None and (what == "error" or len(self.function_stats) > 1):
                sentences.append(f"Most failures, {most[1]}, are of the {what} {most[0]}.")
        measured = sum(self.stage_seconds.values())
        if measured > 0:
            shares = ", ".join(f"{stage} {spent / measured:.1%}" for stage, spent in self.stage_seconds.items())
            sentences.append(f"Of the time that was measured by stage: {shares}.")
        return sentences

    def _average(self, stage: str) -> float | None:
        count = self.stage_executions[stage]
        return self.stage_seconds[stage] / count if count else None


POETAggregateMetrics = POEAggregateMetrics


def _add(sums: dict[str, Sums], name: str, metrics: POEExecutionMetrics) -> None:
    known = sums.setdefault(name, no_sums())
    known["executions"] += 1
    known["total_time"] += metrics.total_time
    if metrics.success:
        known["successes"] += 1
    else:
        known["failures"] += 1


def _most(counts: Counter[str]) -> tuple[str, int] | None:
    return counts.most_common(1)[0] if counts else None
