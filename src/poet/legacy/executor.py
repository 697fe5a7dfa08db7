"""The original's executor: a face over a decorated function and its handle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from poet.app import Agent
from poet.decorator import Handle, Tuned, bind, poet
from poet.errors import ConfigurationError
from poet.legacy.config import ARGUMENTS, POETConfig
from poet.legacy.ledger import attempts_of
from poet.legacy.metrics import POEMetrics
from poet.legacy.plugins import PLUGIN_REGISTRY, POETPlugin
from poet.model.execution import Execution

if TYPE_CHECKING:
    from poet.model.explanation import Explanation
    from poet.seams import Learner

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

CLOCK_STEP = 3600.0  # by which a wall clock may have been set back since the process began [s]


class Executed(Tuned[P, R_co], Protocol[P, R_co]):
    """A decorated function that the original's code can ask about itself."""

    @property
    def _poet_executor(self) -> POETExecutor:
        """Who stands behind it."""

    def get_metrics(self) -> dict[str, Any] | None:
        """See ``POETExecutor``."""

    def get_learning_status(self) -> dict[str, Any]:
        """See ``POETExecutor``."""

    def get_learning_recommendations(self) -> list[str]:
        """See ``POETExecutor``."""


class POETExecutor:
    """Decorates a function with a configuration, and tells how it fares.

    An executor stands for the first function that it decorates. Each further one gets an executor of its own, with the
    same configuration: ``function._poet_executor`` is always the function's, and never mixes it with another.
    Calls run as those of ``poet.poet`` do; the executor takes no part in them.
    """

    performance_tracker: None = None  # there is none: the store keeps executions, ``get_metrics`` counts them

    def __init__(self, config: POETConfig, *, agent: Agent | None = None) -> None:
        """agent: default: the one behind ``poet.poet``. Raises ConfigurationError."""
        if not isinstance(config, POETConfig):
            raise ConfigurationError(f"an executor needs a POETConfig, got {config!r}")
        config.arguments()
        self.config = config
        self.function_name: str | None = None  # of the function it stands for
        self._agent = agent
        self._handle: Handle | None = None

    def __call__(self, func: Callable[P, R]) -> Executed[P, R]:
        """``func``, decorated. Raises ConfigurationError where it cannot be."""
        if self._handle is not None:
            return POETExecutor(self.config, agent=self._agent)(func)
        decorate = poet if self._agent is None else bind(self._agent)
        call: Executed[P, R] = self.stand_for(decorate(**self.config.arguments())(func))
        return call

    def stand_for(self, call: Any) -> Any:
        """``call``, a decorated function, which from now on tells through this executor."""
        self._handle, self.function_name = call.poet, call.__name__
        call._poet_executor = self
        call.get_metrics = self.get_metrics
        call.get_learning_status = self.get_learning_status
        call.get_learning_recommendations = self.get_learning_recommendations
        return call

    @property
    def domain_plugin(self) -> POETPlugin | Any | None:
        """What checks input and output; None where the domain is a label, or there is none."""
        return None if self.config.domain is None else PLUGIN_REGISTRY.get_plugin(self.config.domain)

    @property
    def metrics(self) -> POEMetrics | None:
        """This process's executions so far, counted anew each time; None where none are recorded. Raises StoreError."""
        if not self.config.collect_metrics or self._is_off:
            return None
        metrics = POEMetrics()
        for execution in self._executions():
            metrics.record_execution(execution.outcome.good, execution.seconds, attempts_of(execution))
        return metrics

    @property
    def parameters(self) -> dict[str, Any] | None:
        """The live values; None where the function does not learn, as in the original."""
        if self._handle is None or not self.config.enable_training:
            return None
        return dict(self._handle.parameters)

    @property
    def online_learner(self) -> Learner | None:
        """What learns for this function; None where nothing does. Training uses it in a thread of its own: ask nothing
        of it that changes it.
        """
        if self._handle is None or not self.config.enable_training or self._is_off:
            return None
        agent = self._handle._agent
        trainee = agent.trainee(self._handle._enrolment)
        with agent.open().turn:
            return trainee.learner

    def get_metrics(self) -> dict[str, Any] | None:
        """Total, rates, mean time [s] and retries of this process's executions; None where none are recorded."""
        metrics = self.metrics
        return None if metrics is None else metrics.get_stats()

    def get_learning_status(self) -> dict[str, Any]:
        """How learning stands.

        ``learning_enabled``, ``learning_algorithm``, ``function_name``, ``domain``, ``poe_metrics`` (where executions
        are recorded), ``performance_summary`` (where they are tracked), and where the function learns:
        ``online_learning`` and ``convergence_status``, which says of each parameter that has alternatives whether none
        of them is expected to gain more than ``convergence_threshold`` of a success's value.
        """
        status: dict[str, Any] = {
            "learning_enabled": self.config.enable_training and not self._is_off,
            "learning_algorithm": self.config.learning_algorithm,
            "function_name": self.function_name,
            "domain": self.config.domain,
        }
        stats = self.get_metrics()
        if stats is not None:
            status["poe_metrics"] = stats
        handle = self._handle
        if handle is None or self._is_off:
            return status
        picture = handle.explain() if self.config.enable_training else None
        if picture is not None:
            converged = _converged(picture, self.config.convergence_threshold)
            learned = [version for version in handle.versions() if version.origin == "learned"]
            status["online_learning"] = {
                "update_count": picture.executions,  # executions learned from, in all processes
                "successful_updates": len(learned),  # versions that learning has published
                "parameters_tracked": len(handle.parameters),
                "last_update": datetime.fromtimestamp(learned[-1].created, UTC).isoformat() if learned else None,
                "convergence_status": converged,
            }
            status["convergence_status"] = converged
        if self.config.performance_tracking:
            told = handle.status()
            moving = {name: told[name] for name in ("calls", "failures", "requests", "success", "seconds")}
            insights = [] if picture is None else list(picture.sentences)
            status["performance_summary"] = {"metrics": moving, "insights": insights}
        return status

    def get_learning_recommendations(self) -> list[str]:
        """What is known of this function and what other values would cost: the sentences of ``f.poet.explain()``.

        Where it does not learn, the only sentence says so.
        """
        if self._is_off:
            return ["Learning is off (POET_LEARNING=off): functions are called as if not decorated."]
        if not self.config.enable_training:
            return ["This function does not learn: set enable_training=True."]
        if self._handle is None:
            return ["No function is decorated with this executor yet."]
        return list(self._handle.explain().sentences)

    @property
    def _is_off(self) -> bool:
        return self._handle is not None and self._handle._agent.settings.learning == "off"

    def _executions(self) -> Iterator[Execution]:
        """Those of this process. Raises StoreError."""
        handle = self._handle
        if handle is None:
            return
        agent, key = handle._agent, handle._enrolment.key
        agent.trainee(handle._enrolment)  # makes the function known to the store
        agent.flush()
        for execution in agent.open().store.executions(key, since=agent.started - CLOCK_STEP):
            if execution.writer == agent.writer:
                yield execution


POEExecutor = SimplePOETExecutor = POETExecutor


def executor_of(function: Callable[..., Any]) -> POETExecutor:
    """The executor of a decorated function, made where it was decorated with ``poet.poet`` itself.

    Raises ConfigurationError where it is not decorated.
    """
    function = getattr(function, "__func__", function)  # of a method
    known = getattr(function, "_poet_executor", None)
    if isinstance(known, POETExecutor):
        return known
    handle = getattr(function, "poet", None)
    if not isinstance(handle, Handle):
        raise ConfigurationError(f"{function!r} is not decorated with @poet")
    options = handle._enrolment.options
    config = POETConfig(**{name: getattr(options, name) for name in ARGUMENTS})
    executor = POETExecutor(config, agent=handle._agent)
    executor.stand_for(function)
    return executor


def _converged(picture: Explanation, threshold: float) -> dict[str, bool]:
    """Of each parameter that a neighbour of the live values changes: whether no such neighbour gains ``threshold``."""
    live, objective = picture.live, picture.objective
    if live is None or objective is None:
        return {}
    gains: dict[str, float] = {}
    for neighbour in picture.neighbours:
        gain = (neighbour.utility.value - live.utility.value) / objective.value
        for name, value in neighbour.values.items():
            if value != live.values.get(name):
                gains[name] = max(gain, gains.get(name, gain))
    return {name: gain < threshold for name, gain in gains.items()}
