"""The original's collector of metrics, as questions to POET's own records."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from poet.app import Agent, build
from poet.decorator import _default
from poet.errors import ConfigurationError, nearest
from poet.legacy.ledger import InMemory, InStore, Ledger
from poet.legacy.metrics import (
    STAGES,
    POEAggregateMetrics,
    POEExecutionMetrics,
    Sums,
    checked_attempts,
    checked_seconds,
)
from poet.options import RETRIES, TIMEOUT, Options
from poet.settings import Settings

TOP = 10  # functions in a report
MOST_ATTEMPTS = 1000  # that one execution may have had
LONGEST = 200  # of a text that is kept [characters]


class POEMetricsCollector:
    """Counts, times and failures by function and by domain.

    As it is, it answers from the store of this process: what all decorated functions have left there, earlier and in
    other processes too, and what it was told. With a ``storage_path`` it has a store of its own in that folder; with
    ``enable_persistence=False`` it keeps sums in memory, of what it was told.

    Every question reads what is recorded up to now, and raises StoreError where the store cannot be read. Where
    learning is off nothing is recorded. Safe to use from several threads.
    """

    def __init__(
        self,
        storage_path: Path | str | None = None,
        max_memory_entries: int = 1000,
        enable_persistence: bool = True,
        *,
        agent: Agent | None = None,
    ) -> None:
        """max_memory_entries: the newest executions in ``recent_metrics``, and functions it may be told of, >= 1.

        agent: whose store it reads; default: the one behind ``poet.poet``. Raises ConfigurationError.
        """
        most = max_memory_entries
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise ConfigurationError(f"max_memory_entries must be a whole number >= 1, got {most!r}")
        self.storage_path = None if storage_path is None else Path(storage_path)
        self.max_memory_entries = most
        self.enable_persistence = enable_persistence
        self._clock = (agent or _default).clock
        self._ledger: Ledger
        if not enable_persistence:
            self._ledger = InMemory(most)
        elif self.storage_path is None:
            self._ledger = InStore(agent or _default, most)
        else:
            file = self.storage_path.expanduser().resolve() / "poet.db"
            self._ledger = InStore(build(Settings(store=f"sqlite:///{file}"), clock=self._clock), most)

    def record_execution(
        self,
        function_name: str,
        success: bool,
        total_time: float,
        attempts: int,
        domain: str | None = None,
        stage_timings: Mapping[str, float] | None = None,
        error_info: Mapping[str, str | None] | None = None,
        config_info: Mapping[str, Any] | None = None,
    ) -> POEExecutionMetrics:
        """Tell of one execution that POET did not make, and that has just ended; decorated functions do it themselves.

        function_name: what it is found by; with its domain it is one function of the store. total_time: >= 0 [s].
        attempts: the first included, in [1, 1000]. stage_timings: seconds by stage: perceive, operate, enforce, train.
        error_info: ``type`` and ``stage`` are kept, ``message`` is not: it may quote arguments. config_info:
        ``retries``, ``timeout`` and ``training_enabled``; the store keeps those that a function was first told with.

        Raises ConfigurationError where a value cannot be or a name is unknown. A fault of the store is counted and
        logged once, as it is for calls.
        """
        told = POEExecutionMetrics(
            function_name=_text("function_name", function_name),
            domain=None if domain is None else _text("domain", domain),
            timestamp=self._clock.wall(),
            success=bool(success),
            total_time=checked_seconds("total_time", total_time),
            attempts=checked_attempts(attempts),
        )
        if told.attempts > MOST_ATTEMPTS:
            raise ConfigurationError(f"attempts must be at most {MOST_ATTEMPTS}, got {told.attempts}")
        for stage, seconds in _known("stage_timings", stage_timings, STAGES).items():
            if seconds is not None:
                setattr(told, f"{stage}_time", checked_seconds(f"stage_timings[{stage!r}]", seconds))
        for name, text in _known("error_info", error_info, ("type", "message", "stage")).items():
            if text is not None:
                setattr(told, f"error_{name}", str(text) if name == "message" else _text(f"{name} of the error", text))
        config = _known("config_info", config_info, ("retries", "timeout", "training_enabled"))
        if config:
            checked = Options(retries=config.get("retries", RETRIES), timeout=config.get("timeout", TIMEOUT))
            told.retries_configured, told.timeout_configured = checked.retries, float(checked.timeout)
            told.training_enabled = bool(config.get("training_enabled", False))
        self._ledger.keep(told)
        return told

    @property
    def recent_metrics(self) -> list[POEExecutionMetrics]:
        """The newest ``max_memory_entries`` executions, oldest first."""
        return self._ledger.newest(self.max_memory_entries)

    def get_stats(self) -> dict[str, Any]:
        """Counts, rates in [0, 1], mean time [s] and retries of all executions; 0 where there was none."""
        return _overall(self._ledger.sums())

    def get_function_performance(self, function_name: str) -> dict[str, Any]:
        """The same of one function, or ``{"error": …}`` where none or several answer to the name.

        function_name: ``module.qualname`` or the declared name; or any ending of it after a dot.
        """
        known = self._ledger.sums().function_stats
        word = str(function_name)
        names = [name for name in known if name == word] or [name for name in known if name.endswith(f".{word}")]
        if len(names) > 1:
            return {"error": f"'{word}' means several functions, name one of: {', '.join(sorted(names))}"}
        if not names:
            return {"error": f"No metrics found for function '{word}'{_hint(word, known)}"}
        return {"function_name": names[0], **_performance(known[names[0]])}

    def get_domain_performance(self, domain: str) -> dict[str, Any]:
        """The same of one domain, or ``{"error": …}`` where no execution of it is recorded."""
        known = self._ledger.sums().domain_stats
        if domain not in known:
            return {"error": f"No metrics found for domain '{domain}'{_hint(str(domain), known)}"}
        return {"domain": domain, **_performance(known[domain])}

    def generate_report(self) -> dict[str, Any]:
        """All of it: the ten functions of most executions, the domains, and the moment (ISO 8601, local time)."""
        sums = self._ledger.sums()
        by_executions = sorted(sums.function_stats.items(), key=lambda item: (-item[1]["executions"], item[0]))
        return {
            "timestamp": datetime.fromtimestamp(self._clock.wall(), UTC).astimezone().isoformat(),
            "overall_stats": _overall(sums),
            "top_functions": dict(by_executions[:TOP]),
            "domain_breakdown": sums.domain_stats,
            "recent_executions": min(sums.total_executions, self.max_memory_entries),
        }

    def clear_metrics(self) -> None:
        """From now on this collector counts only what comes. The store keeps what it has: POET learns from it."""
        self._ledger.clear()

    def close(self) -> None:
        """Store what is left and release a store of its own; the process's own store stays open."""
        if self.storage_path is not None:
            self._ledger.close()


POETMetricsCollector = POEMetricsCollector


@functools.cache
def get_global_collector() -> POEMetricsCollector:
    """The one that answers for this process; always the same."""
    return POEMetricsCollector()


def record_execution_metrics(
    function_name: str, success: bool, total_time: float, attempts: int, **more: Any
) -> POEExecutionMetrics:
    """``record_execution`` of the global collector."""
    return get_global_collector().record_execution(function_name, success, total_time, attempts, **more)


def _overall(sums: POEAggregateMetrics) -> dict[str, Any]:
    total = max(sums.total_executions, 1)
    return {
        "total_executions": sums.total_executions,
        "success_rate": sums.successful_executions / total,
        "failure_rate": sums.failed_executions / total,
        "avg_execution_time": sums.total_execution_time / total,
        "total_retries": sums.total_retries,
        "avg_retries": sums.total_retries / total,
    }


def _performance(sums: Sums) -> dict[str, Any]:
    executions = sums["executions"]
    return {
        "executions": executions,
        "success_rate": sums["successes"] / executions,
        "avg_execution_time": sums["total_time"] / executions,
        "total_time": sums["total_time"],
    }


def _hint(word: str, known: Mapping[str, Any]) -> str:
    return f"; {nearest(word, known)}" if known else ""


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST:
        raise ConfigurationError(f"{name} must be a text of 1 to {LONGEST} characters, got {value!r}")
    return value


def _known(name: str, given: Mapping[str, Any] | None, keys: tuple[str, ...]) -> Mapping[str, Any]:
    for key in given or ():
        if key not in keys:
            raise ConfigurationError(f"{name} has no {key!r}: {nearest(str(key), keys)}")
    return given or {}
