"""What the decorator may be told of a function, checked at the door."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

from poet.calls.choosing import Score
from poet.calls.declaring import NOWHERE, Own
from poet.calls.declaring import declared as declared_by
from poet.calls.enforce import Enforce, OnResult, must_be_awaited, verdict_of
from poet.calls.inject import check as check_timeout_arg
from poet.calls.perceive import Perceive
from poet.calls.transient import RetryOn, classifier, parts
from poet.calls.wrapper import Mode, kind_of
from poet.errors import ConfigurationError, nearest
from poet.model.dependency import Dependency
from poet.model.execution import LONGEST_TEXT, MOST_FEATURES
from poet.model.objective import Goal, Objective
from poet.model.rollout import RolloutPolicy
from poet.model.tunable import Choice, Integer, Real, Space, Tunable, Value, shared

Algorithm = Literal["basic", "statistical", "adaptive"]
FLAGS = ("enable_training", "collect_metrics", "performance_tracking", "idempotent", "enable_cross_function_learning")
ALGORITHMS = ("adaptive", "basic", "statistical")
# where nothing is declared
TIMEOUT = 30.0  # [s]
RETRIES = 3
BACKOFF = 0.1  # bound of the first pause before a retry [s]
LONGEST_BACKOFF = 60.0  # [s]
LONGEST_TIMEOUT = 120.0  # what learning may raise a timeout to, unless the user declares bounds [s]
MOST_RETRIES = 5
MOST_HEDGES = 2
EXPLORATION = 0.02  # share of a success's value that calls may lose on average by trying out tunables
SHORTEST = 0.001  # what learning may lower a timeout or a hedge's delay to, unless the user declares bounds [s]
LONGEST_SPAN = 1e300  # what is longer is no float any more when it is multiplied [s]
MODES: tuple[Mode, ...] = ("cooperative", "thread", "signal", "process")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the decorator was told of one function, checked."""

    retries: int = RETRIES
    timeout: float = TIMEOUT
    domain: str | None = None
    enable_training: bool = False
    collect_metrics: bool = True
    learning_algorithm: Algorithm = "adaptive"
    learning_rate: float = 0.05
    convergence_threshold: float = 0.01
    enable_cross_function_learning: bool = False
    performance_tracking: bool = True
    name: str | None = None
    objective: Objective | None = None
    context: str | Sequence[str] | Callable[..., object] | None = None
    retry_on: RetryOn | None = None
    perceive: Perceive | None = None
    enforce: Enforce | None = None
    deadline: float | None = None
    backoff: float = BACKOFF
    idempotent: bool = True
    enforce_timeout: Mode = "cooperative"
    tunables: Mapping[str, Tunable] | None = None
    dependency: str | Dependency | None = None
    hedge_delay: float | None = None
    hedges: int | None = None
    timeout_arg: str | tuple[str, Callable[[float], object]] | None = None
    key_arg: str | None = None
    item_timeout: float | None = None
    cost: Callable[[Any], float] | None = None
    cost_limit: float | None = None
    score: Score | None = None
    goals: Mapping[str, Goal] | None = None
    exploration: float = EXPLORATION
    rollout: RolloutPolicy | Literal["direct"] | None = None
    # settled by ``fitted``, not by users
    hedging: bool = False  # whether it may hedge at all
    own: tuple[Own, ...] | None = None  # tunables that are the function's own parameters; None: not known yet

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise ConfigurationError(f"retries must be a whole number >= 0, got {self.retries!r}")
        for name in ("timeout", "deadline", "hedge_delay", "item_timeout"):
            span = getattr(self, name)
            if span is None and name != "timeout":
                continue
            if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span <= LONGEST_SPAN:
                raise ConfigurationError(f"{name} must be a finite number of seconds > 0, got {span!r}")
        if (
            isinstance(self.backoff, bool)
            or not isinstance(self.backoff, int | float)
            or not 0 <= self.backoff <= LONGEST_BACKOFF
        ):
            raise ConfigurationError(
                f"backoff must be a number of seconds in [0, {LONGEST_BACKOFF:g}], got {self.backoff!r}"
            )
        for name in ("learning_rate", "convergence_threshold"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise ConfigurationError(f"{name} must be in (0, 1], got {share!r}")
        for name in FLAGS:
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("domain", "name"):
            text = getattr(self, name)
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise ConfigurationError(f"{name} must be a text that is not empty, got {text!r}")
        if self.learning_algorithm not in ALGORITHMS:
            hint = nearest(str(self.learning_algorithm), ALGORITHMS)
            raise ConfigurationError(f"no learning_algorithm {self.learning_algorithm!r}: {hint}")
        if self.enforce_timeout not in MODES:
            hint = nearest(str(self.enforce_timeout), MODES)
            raise ConfigurationError(f"no enforce_timeout {self.enforce_timeout!r}: {hint}")
        self._check_context()
        self._check_score()
        if not (self.rollout in (None, "direct") or isinstance(self.rollout, RolloutPolicy)):
            raise ConfigurationError(f'rollout must be a poet.RolloutPolicy or "direct", got {self.rollout!r}')
        if self.objective is not None and not isinstance(self.objective, Objective):
            raise ConfigurationError(f"objective must be a poet.Objective, got {self.objective!r}")
        for name in ("perceive", "cost"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ConfigurationError(f"{name} must be callable, got {getattr(self, name)!r}")
        if self.enforce is not None:
            verdict_of(self.enforce)
        classifier(self.retry_on)
        if self.dependency is not None and not isinstance(self.dependency, Dependency):
            Dependency(self.dependency)
        self._check_hedges()
        self._check_cost()
        self.space.check(self.declared)

    def _check_context(self) -> None:
        context = self.context
        if context is None:
            return
        if callable(context):
            if must_be_awaited(context):
                raise ConfigurationError(f"context must be a plain function, not an async one, got {context!r}")
            return
        names = (context,) if isinstance(context, str) else tuple(context) if isinstance(context, Sequence) else ()
        if not names or not all(isinstance(name, str) and name for name in names):
            raise ConfigurationError(
                "context must be the name of an argument, several of them, or a function of the arguments that gives "
                f"features by name, got {context!r}"
            )
        if len(set(names)) < len(names):
            raise ConfigurationError(f"context names an argument twice, got {context!r}")
        if len(names) > MOST_FEATURES:
            raise ConfigurationError(f"context may name at most {MOST_FEATURES} arguments, got {len(names)}")

    def _check_score(self) -> None:
        share = self.exploration
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ConfigurationError(
                f"exploration must be in [0, 1], the share of a success's value that trying may cost, got {share!r}"
            )
        if self.score is not None:
            if not callable(self.score):
                raise ConfigurationError(
                    f"score must be a function of a result and the seconds it took, got {self.score!r}"
                )
            if must_be_awaited(self.score):
                raise ConfigurationError(f"score must be a plain function, not an async one, got {self.score!r}")
        if self.goals is None:
            return
        if not isinstance(self.goals, Mapping) or not self.goals:
            raise ConfigurationError(f"goals must be a mapping from name to poet.Goal, got {self.goals!r}")
        for name, goal in self.goals.items():
            if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_TEXT:
                raise ConfigurationError(
                    f"a goal's name must be a text of at most {LONGEST_TEXT} characters, got {name!r}"
                )
            if not isinstance(goal, Goal):
                raise ConfigurationError(f"the goal {name!r} must be a poet.Goal, got {goal!r}")
        if len(self.goals) > MOST_FEATURES:
            raise ConfigurationError(f"at most {MOST_FEATURES} goals are kept, got {len(self.goals)}")

    def _check_hedges(self) -> None:
        if self.hedges is not None:
            if isinstance(self.hedges, bool) or not isinstance(self.hedges, int) or not 0 <= self.hedges <= 8:
                raise ConfigurationError(f"hedges must be a whole number in [0, 8], got {self.hedges!r}")
            if self.hedge_delay is None:
                raise ConfigurationError("hedges needs hedge_delay: the seconds after which a copy is sent")
        if self.hedge_delay is not None and not self.idempotent:
            raise ConfigurationError(
                "a function that is not idempotent must not be hedged: a copy may have its effect twice; "
                "leave out hedge_delay, or say idempotent=True where the dependency tells copies by a key (key_arg)"
            )

    def _check_cost(self) -> None:
        if (self.cost is None) != (self.cost_limit is None):
            raise ConfigurationError(
                "cost and cost_limit belong together: what a result costs, and how much may be spent"
            )
        if self.cost_limit is not None:
            limit = self.cost_limit
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < float("inf"):
                raise ConfigurationError(f"cost_limit must be a finite number > 0, got {limit!r}")
            if self.enforce is None and not self.repeat:
                raise ConfigurationError(
                    "cost counts results that are rejected: it needs enforce, or on_result in retry_on"
                )

    @property
    def repeat(self) -> tuple[OnResult, ...]:
        """What ``retry_on`` says of results."""
        return tuple(each for each in parts(self.retry_on) if isinstance(each, OnResult))

    def fitted(self, function: Callable[..., Any]) -> Options:
        """These options for ``function``, one that can be wrapped. Raises ConfigurationError where they do not fit."""
        kind, name = kind_of(function), function.__qualname__
        mode = self.enforce_timeout
        if mode != "cooperative" and kind != "sync":
            instead = "it is cancelled at its limit anyway" if kind.startswith("async") else "use a plain function"
            what = f"an {kind}" if kind.startswith("async") else f"a {kind}"
            raise ConfigurationError(
                f"enforce_timeout={mode!r} is for plain functions, {name} is {what} function: leave it out, {instead}"
            )
        hedgeable = kind == "async" or mode == "thread"
        if self.hedge_delay is not None and not hedgeable:
            raise ConfigurationError(
                f"{name} cannot be hedged as it is: hedges need an async function, or enforce_timeout='thread'"
            )
        streams = kind.endswith("generator")
        if streams and (self.enforce is not None or self.repeat):
            raise ConfigurationError(
                f"{name} is a generator: enforce and on_result check one result; check the items inside of it"
            )
        if self.item_timeout is not None and not streams:
            raise ConfigurationError(f"item_timeout is for generators, {name} is none; use timeout")
        if streams and self.score is not None:
            raise ConfigurationError(
                f"{name} is a generator, score judges one result: leave it out, and say what a stream was worth with "
                f"{name}.poet.feedback(…)"
            )
        for argument in ("perceive", "enforce"):
            if must_be_awaited(getattr(self, argument)) and not kind.startswith("async"):
                raise ConfigurationError(
                    f"{argument} of {name} is async, {name} is not: make {argument} a plain function"
                )
        if must_be_awaited(self.cost):
            raise ConfigurationError(f"cost of {name} is async: make it a plain function")
        if self.timeout_arg is not None:
            check_timeout_arg(function, self.timeout_arg)
            told = self.timeout_arg if isinstance(self.timeout_arg, str) else self.timeout_arg[0]
            if told == self.key_arg:
                raise ConfigurationError(f"key_arg and timeout_arg of {name} name one argument, {told!r}: name two")
        if self.key_arg is not None:
            _check_argument(function, "key_arg", self.key_arg)
        for tunable in ("hedges", "hedge_delay"):
            if tunable in (self.tunables or {}) and not (self.idempotent and hedgeable):
                raise ConfigurationError(f"{name} cannot be hedged: leave out the tunable {tunable!r}")
        hedging = self.idempotent and hedgeable and (self.enable_training or bool(self.hedge_delay))
        tunables = self.tunables or {}
        filled = self.timeout_arg
        own, bounds = declared_by(
            function, tunables, filled if filled is None or isinstance(filled, str) else filled[0], self.key_arg
        )
        timeout = self.timeout
        limits = bounds.get("timeout")
        if isinstance(limits, Real) and "timeout" not in tunables and timeout == TIMEOUT:  # nobody said another one
            timeout = limits.clip(timeout)
        known = {**bounds, **tunables} if bounds else self.tunables
        fitted = replace(self, hedging=hedging, own=own, timeout=timeout, tunables=known)
        fitted._check_features(function)
        return fitted

    def _check_features(self, function: Callable[..., Any]) -> None:
        """Raises ConfigurationError where ``context`` names what cannot be a feature."""
        for name, *_ in self.features(function):
            if any(name == own.name for own in self.own or ()):
                raise ConfigurationError(
                    f"context: {name!r} of {function.__qualname__} is tuned: it cannot be what tuning depends on"
                )

    def features(self, function: Callable[..., Any]) -> tuple[tuple[str, int, object], ...]:
        """The arguments that are features: names, places among the positional ones, and defaults; None: not a feature.

        None where ``context`` names none. Raises ConfigurationError.
        """
        if self.context is None or callable(self.context):
            return ()
        names = (self.context,) if isinstance(self.context, str) else self.context
        parameters = inspect.signature(function).parameters
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        known = [name for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        found: list[tuple[str, int, object]] = []
        for name in names:
            parameter = parameters.get(name)
            if name not in known and not takes_any:
                hint = nearest(name, known) if known else "it takes none"
                raise ConfigurationError(f"context: {function.__qualname__} has no argument {name!r}: {hint}")
            if parameter is None or name not in known:
                found.append((name, NOWHERE, None))
                continue
            place = NOWHERE if parameter.kind is parameter.KEYWORD_ONLY else known.index(name)
            default = None if parameter.default is parameter.empty else parameter.default
            found.append((name, place, default))
        return tuple(found)

    def unnamed(self) -> Options:
        """These without the name; the same object for the same plain values, as thousands of functions are alike."""
        options = replace(self, name=None)
        alike = not self.own and all(getattr(options, name) is None for name in _OBJECTS)
        return _first_of(options) if alike else options

    @property
    def declared(self) -> Mapping[str, Value]:
        """The values to begin with."""
        values: dict[str, Value] = {
            "timeout": float(self.timeout),
            "retries": self.retries,
            "backoff": float(self.backoff),
        }
        if self.hedging:
            delay = self._near("hedge_delay", self.timeout) if self.hedge_delay is None else self.hedge_delay
            usual = 0 if self.hedge_delay is None else 1
            values["hedge_delay"] = float(delay)
            values["hedges"] = int(self._near("hedges", usual)) if self.hedges is None else self.hedges
        values.update((own.name, own.default) for own in self.own or ())
        return shared(values)

    def _near(self, name: str, usual: float) -> float:
        """The usual value, as near as the bounds allow that were drawn for it."""
        bounds = (self.tunables or {}).get(name)
        return bounds.clip(usual) if isinstance(bounds, Real | Integer) else usual

    @property
    def space(self) -> Space:
        """The hard bounds of all that is learned. Raises ConfigurationError."""
        declared = self.tunables or {}
        if not isinstance(declared, Mapping):
            raise ConfigurationError(
                f"tunables must be a mapping from name to Real, Integer or Choice, got {declared!r}"
            )
        longest = max(LONGEST_TIMEOUT, 4.0 * self.timeout)
        known: dict[str, Tunable] = {
            "timeout": Real(min(SHORTEST, self.timeout), longest, log=True),
            "retries": Integer(0, max(MOST_RETRIES, self.retries)),
            "backoff": Real(0.0, LONGEST_BACKOFF),
        }
        if self.hedging:
            delay = SHORTEST if self.hedge_delay is None else min(SHORTEST, self.hedge_delay)
            known["hedge_delay"] = Real(delay, max(longest, self.hedge_delay or 0.0), log=True)
            known["hedges"] = Integer(0, max(MOST_HEDGES, self.hedges or 0))
        for name, tunable in declared.items():
            if name not in known:  # a parameter of the function, or of hedges that it cannot have: ``fitted`` knows
                if not isinstance(tunable, Real | Integer | Choice):
                    raise ConfigurationError(
                        f"the tunable {name!r} must be a poet.Real, poet.Integer or poet.Choice, got {tunable!r}"
                    )
                continue
            if not isinstance(tunable, type(known[name])):
                wanted = type(known[name]).__name__
                raise ConfigurationError(f"the tunable {name!r} must be a poet.{wanted}, got {tunable!r}")
            known[name] = tunable
        timeout = known["timeout"]
        if isinstance(timeout, Real) and not timeout.low > 0:
            raise ConfigurationError(f"the bounds of timeout must be > 0 seconds, got low {timeout.low!r}")
        retries = known["retries"]
        if isinstance(retries, Integer) and retries.low < 0:
            raise ConfigurationError(f"the bounds of retries must be >= 0, got low {retries.low!r}")
        backoff = known["backoff"]
        if isinstance(backoff, Real) and not 0 <= backoff.low <= backoff.high <= LONGEST_BACKOFF:
            raise ConfigurationError(
                f"the bounds of backoff must be in [0, {LONGEST_BACKOFF:g}] seconds, "
                f"got {backoff.low!r} to {backoff.high!r}"
            )
        hedges = known.get("hedges")
        if isinstance(hedges, Integer) and hedges.low < 0:
            raise ConfigurationError(f"the bounds of hedges must be >= 0, got low {hedges.low!r}")
        if not self.idempotent:  # what is repeated only where it had no effect does not show what repeating is worth
            known["retries"] = Integer(self.retries, self.retries)
        if self.own:  # not shared: options that say they are equal, as 1 and True, may be two
            return Space(**known, **{own.name: own.tunable for own in self.own})
        return Space.shared(**known)


# What the user hands over as objects: two that say they are equal may still be two.
_OBJECTS = (
    "objective",
    "retry_on",
    "perceive",
    "enforce",
    "tunables",
    "dependency",
    "timeout_arg",
    "cost",
    "context",
    "score",
    "goals",
)


@lru_cache
def _first_of(options: Options) -> Options:
    return options


USABLE = tuple(field.name for field in fields(Options) if field.name not in ("hedging", "own"))  # for the decorator


def _check_argument(function: Callable[..., Any], option: str, argument: object) -> None:
    """Raises ConfigurationError unless ``function`` takes ``argument`` by keyword."""
    parameters = inspect.signature(function).parameters
    by_keyword = {
        name
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    }
    if not isinstance(argument, str):
        raise ConfigurationError(f"{option} must be the name of an argument, got {argument!r}")
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if argument not in by_keyword and not takes_any:
        hint = nearest(argument, by_keyword) if by_keyword else "it takes none by keyword"
        raise ConfigurationError(f"{option}: {function.__qualname__} has no argument {argument!r}: {hint}")
