"""The original's decorators, by their names and with their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, overload

from poet.app import Agent
from poet.decorator import bind
from poet.decorator import poet as _poet
from poet.legacy.config import ARGUMENTS, POETConfig
from poet.legacy.executor import Executed, POETExecutor, executor_of
from poet.options import Algorithm

P = ParamSpec("P")
R = TypeVar("R")
Decorator = Callable[[Callable[P, R]], Executed[P, R]]


@overload
def poet(function: Callable[P, R], /) -> Executed[P, R]: ...


@overload
def poet(
    retries: int = 3,
    timeout: float = 30.0,
    domain: str | None = None,
    enable_training: bool = False,
    collect_metrics: bool = True,
    learning_algorithm: Algorithm = "adaptive",
    learning_rate: float = 0.05,
    convergence_threshold: float = 0.01,
    enable_cross_function_learning: bool = False,
    performance_tracking: bool = True,
    *,
    agent: Agent | None = None,
    **more: Any,
) -> Callable[[Callable[P, R]], Executed[P, R]]: ...


def poet(*positional: Any, agent: Agent | None = None, **named: Any) -> Any:
    """``poet.poet``, whose functions also bear ``_poet_executor`` and its questions, as the original's did.

    agent: default: the one behind ``poet.poet``. The rest, and what is raised, is as there.
    """
    return _decorating(positional, named, {}, agent)


@overload
def enhanced_poet(function: Callable[P, R], /) -> Executed[P, R]: ...


@overload
def enhanced_poet(
    retries: int = 3,
    timeout: float = 30.0,
    domain: str | None = None,
    enable_training: bool = False,
    collect_metrics: bool = True,
    learning_algorithm: Algorithm = "statistical",
    learning_rate: float = 0.05,
    convergence_threshold: float = 0.01,
    *,
    agent: Agent | None = None,
    **more: Any,
) -> Callable[[Callable[P, R]], Executed[P, R]]: ...


def enhanced_poet(*positional: Any, agent: Agent | None = None, **named: Any) -> Any:
    """``poet`` with statistical learning as its default, where training is enabled."""
    return _decorating(positional, named, {"learning_algorithm": "statistical"}, agent)


@overload
def poet_with_advanced_learning(function: Callable[P, R], /) -> Executed[P, R]: ...


@overload
def poet_with_advanced_learning(
    *positional: Any, agent: Agent | None = None, **named: Any
) -> Callable[[Callable[P, R]], Executed[P, R]]: ...


def poet_with_advanced_learning(*positional: Any, agent: Agent | None = None, **named: Any) -> Any:
    """``enhanced_poet`` that learns unless it is told not to."""
    return _decorating(positional, named, {"enable_training": True, "learning_algorithm": "statistical"}, agent)


def poet_with_config(config: POETConfig, *, agent: Agent | None = None) -> Callable[[Callable[P, R]], Executed[P, R]]:
    """Decorates with ``config``, as it is now or is changed to until then. Raises ConfigurationError."""
    POETExecutor(config, agent=agent)

    def decorate(function: Callable[P, R]) -> Executed[P, R]:
        return POETExecutor(config, agent=agent)(function)

    return decorate


def _decorating(
    positional: tuple[Any, ...], named: dict[str, Any], defaults: Mapping[str, Any], agent: Agent | None
) -> Any:
    """Decorates where there is a function and nothing else, else gives what will. Raises as ``poet.poet`` does."""
    bare = len(positional) == 1 and not named and (callable(positional[0]) or hasattr(positional[0], "__func__"))
    given = () if bare else positional
    by_place = set(ARGUMENTS[: len(given)])
    left = {name: value for name, value in defaults.items() if name not in by_place}
    decorate_with = (_poet if agent is None else bind(agent))(*given, **{**left, **named})

    def decorate(function: Callable[..., Any]) -> Any:
        call = decorate_with(function)
        executor_of(call)
        return call

    return decorate(positional[0]) if bare else decorate
