"""What a call is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from poet.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Objective:
    """The utility of a call: ``value * success - latency_cost * seconds - attempt_cost * (requests - 1)``.

    value: worth of a success, > 0 [1].
    latency_cost: worth of a second, >= 0 [1/s]; None derives it from the function's own first latencies: an answer that
        takes ``PATIENCE`` times the typical one is then worth as much as a failure at once.
    attempt_cost: worth of one more request, >= 0 [1]. It keeps retries from being free where they do not pay.
    success_target: share of calls that must succeed, in (0, 1), of those that can; subject to it, the time by which
        99 % of them have succeeded is made as short as it is worth, by the costs of a second and of a request. None:
        none.
    latency_target: time by which 99 % of calls must have ended, however they end, > 0 [s]; subject to it, as many calls
        as possible succeed, by their value and the cost of a request, while a second costs nothing. None: none. Not
        together with ``success_target``.

    >>> Objective(latency_cost=0.1).utility(success=True, seconds=2.0, requests=2)
    0.77
    """

    value: float = 1.0
    latency_cost: float | None = None
    attempt_cost: float = 0.03
    success_target: float | None = None
    latency_target: float | None = None

    def __post_init__(self) -> None:
        if not (self.value > 0 and math.isfinite(self.value)):
            raise ConfigurationError(f"value must be > 0 and finite, got {self.value!r}")
        for name in ("latency_cost", "attempt_cost"):
            cost = getattr(self, name)
            if cost is not None and not (cost >= 0 and math.isfinite(cost)):
                raise ConfigurationError(
                    f"{name} must be >= 0 and finite, got {cost!r}; 0 says that it does not matter"
                )
        if self.success_target is not None and not 0 < self.success_target < 1:
            raise ConfigurationError(f"success_target must be in (0, 1), got {self.success_target!r}")
        if self.latency_target is None:
            return
        if not (self.latency_target > 0 and math.isfinite(self.latency_target)):
            raise ConfigurationError(f"latency_target must be > 0 seconds and finite, got {self.latency_target!r}")
        if self.success_target is not None:
            raise ConfigurationError(
                f"success_target and latency_target cannot both be aimed for, got {self.success_target!r} and "
                f"{self.latency_target!r}: one is kept, the other is made as good as it gets"
            )

    def utility(self, success: bool, seconds: float, requests: int) -> float:
        """The utility of one call [1]. Raises ConfigurationError while ``latency_cost`` is still to be derived."""
        if self.latency_cost is None:
            raise ConfigurationError("latency_cost is not known yet: derive it with for_latency(typical)")
        return self.value * success - self.latency_cost * seconds - self.attempt_cost * (requests - 1)

    def for_latency(self, typical: float) -> Objective:
        """This objective with a latency cost; derived from ``typical`` [s], > 0, where none was declared."""
        if self.latency_cost is not None:
            return self
        return replace(self, latency_cost=self.value / (PATIENCE * typical))


PATIENCE = 10.0  # typical latencies after which an answer is worth nothing; docs/decisions/0004 gives the reason
