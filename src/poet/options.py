"""What the decorator may be told of a function, checked at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from poet.calls.transient import RetryOn
from poet.calls.wrapper import Enforce, Perceive
from poet.errors import ConfigurationError, nearest
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Tunable, Value

Algorithm = Literal["basic", "statistical", "adaptive"]
ALGORITHMS = ("adaptive", "basic", "statistical")
# where nothing is declared
TIMEOUT = 30.0  # [s]
RETRIES = 3
BACKOFF = 0.1  # bound of the first pause before a retry [s]
LONGEST_BACKOFF = 60.0  # [s]
LONGEST_TIMEOUT = 120.0  # what learning may raise a timeout to, unless the user declares bounds [s]
MOST_RETRIES = 5


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
    context: None = None
    retry_on: RetryOn | None = None
    perceive: Perceive | None = None
    enforce: Enforce | None = None
    deadline: float | None = None
    backoff: float = BACKOFF
    idempotent: bool = True
    enforce_timeout: str = "cooperative"
    tunables: Mapping[str, Tunable] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise ConfigurationError(f"retries must be a whole number >= 0, got {self.retries!r}")
        for name in ("timeout", "deadline"):
            span = getattr(self, name)
            if span is None and name == "deadline":
                continue
            if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span < float("inf"):
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
        for name in ("enable_training", "collect_metrics", "performance_tracking", "idempotent"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("domain", "name"):
            text = getattr(self, name)
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise ConfigurationError(f"{name} must be a text that is not empty, got {text!r}")
        if self.learning_algorithm not in ALGORITHMS:
            hint = nearest(str(self.learning_algorithm), ALGORITHMS)
            raise ConfigurationError(f"no learning_algorithm {self.learning_algorithm!r}: {hint}")
        if self.enforce_timeout != "cooperative":
            raise ConfigurationError(
                f"enforce_timeout must be 'cooperative', got {self.enforce_timeout!r}: sync functions are told their "
                "deadline (poet.remaining()), async ones are cancelled at it"
            )
        if self.context is not None:
            raise ConfigurationError(
                f"context must be None: functions do not learn per context yet, got {self.context!r}"
            )
        if self.objective is not None and not isinstance(self.objective, Objective):
            raise ConfigurationError(f"objective must be a poet.Objective, got {self.objective!r}")
        for name in ("perceive", "enforce"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ConfigurationError(f"{name} must be callable, got {getattr(self, name)!r}")
        self.space.check(self.declared)

    @property
    def declared(self) -> dict[str, Value]:
        """The values to begin with."""
        retries = self.retries if self.idempotent else 0
        return {"timeout": float(self.timeout), "retries": retries, "backoff": float(self.backoff)}

    @property
    def space(self) -> Space:
        """The hard bounds of all that is learned. Raises ConfigurationError."""
        declared = self.tunables or {}
        if not isinstance(declared, Mapping):
            raise ConfigurationError(f"tunables must be a mapping from name to Real or Integer, got {declared!r}")
        longest = max(LONGEST_TIMEOUT, 4.0 * self.timeout)
        known: dict[str, Tunable] = {
            "timeout": Real(min(0.001, self.timeout), longest, log=True),
            "retries": Integer(0, max(MOST_RETRIES, self.retries)),
        }
        for name, tunable in declared.items():
            if name not in known:
                raise ConfigurationError(f"no tunable {name!r}: {nearest(name, known)}")
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
        if not self.idempotent:
            known["retries"] = Integer(0, 0)
        return Space(backoff=Real(0.0, LONGEST_BACKOFF), **known)
