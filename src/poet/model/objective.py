"""What a call is worth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from poet.errors import ConfigurationError, nearest


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
        """This objective with a latency cost; derived from ``typical`` [s], > 0, where none was declared.

        A typical latency below a nanosecond counts as a nanosecond: no clock tells less.
        """
        if self.latency_cost is not None:
            return self
        return replace(self, latency_cost=self.value / (PATIENCE * max(typical, INSTANT)))


INSTANT = 1e-9  # [s]
PATIENCE = 10.0  # typical latencies after which an answer is worth nothing; docs/decisions/0004 gives the reason


@dataclass(frozen=True, slots=True)
class Goal:
    """One of several things that calls are scored by: ``{"quality": Goal(at_least=0.8), "cost": Goal(weight=-1)}``.

    low, high: its scale: what is said of a call lies in [low, high]. weight: of its value in the score of a call, which
    is the sum over all goals; negative where less is better, 0 where only its constraint counts [utility per unit].
    at_least, at_most: constraints: what its mean must keep, within the scale; None: none.

    >>> Goal(low=0.0, high=0.05, weight=-20.0).check("cost", 0.02)
    0.02
    """

    low: float = 0.0
    high: float = 1.0
    weight: float = 1.0
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        for name in ("low", "high", "weight", "at_least", "at_most"):
            value = getattr(self, name)
            if value is None and name.startswith("at_"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ConfigurationError(f"{name} of a goal must be a finite number, got {value!r}")
        if not self.low < self.high:
            raise ConfigurationError(f"a goal needs a scale with low < high, got {self.low:g} and {self.high:g}")
        for name in ("at_least", "at_most"):
            bound = getattr(self, name)
            if bound is not None and not self.low <= bound <= self.high:
                raise ConfigurationError(
                    f"{name} must be on the goal's scale [{self.low:g}, {self.high:g}], got {bound:g}; "
                    f"the nearest is {self.clip(bound):g}"
                )
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ConfigurationError(
                f"at_least {self.at_least:g} is above at_most {self.at_most:g}: no value keeps both; swap them"
            )

    def clip(self, value: float) -> float:
        """The nearest value on the scale."""
        return min(max(value, self.low), self.high)

    def check(self, name: str, value: object) -> float:
        """``value`` as a float. Raises ConfigurationError where it is no finite number on the scale."""
        number = math.nan
        if isinstance(value, int | float) or (hasattr(value, "__float__") and not isinstance(value, str | bytes)):
            try:
                number = float(value)
            except (TypeError, ValueError, OverflowError):
                number = math.nan
        if not math.isfinite(number):
            raise ConfigurationError(f"{name} must be a number in [{self.low:g}, {self.high:g}], got {value!r}")
        if not self.low <= number <= self.high:
            raise ConfigurationError(
                f"{name} must be a number in [{self.low:g}, {self.high:g}], got {value!r}; "
                f"the nearest is {self.clip(number):g}"
            )
        return number


SCORE = Goal()  # the scale of a plain score


def scored(given: object, goals: Mapping[str, Goal] | None) -> tuple[float, tuple[tuple[str, float], ...]]:
    """What was said of a call: its score, and its goals by name, in the order of their declaration.

    given: a number; or with ``goals`` a mapping from some of their names to numbers. The score is then the sum of
    weight times value of those named. A plain number is that of the only goal. Raises ConfigurationError.

    >>> scored({"quality": 0.9, "cost": 0.5}, {"quality": Goal(), "cost": Goal(weight=-1.0)})
    (0.4, (('quality', 0.9), ('cost', 0.5)))
    """
    if not goals:
        if isinstance(given, Mapping):
            raise ConfigurationError(f"score must be a number in [0, 1], got {given!r}; declare goals= to name several")
        return SCORE.check("score", given), ()
    if not isinstance(given, Mapping):
        if len(goals) > 1:
            names = ", ".join(map(repr, goals))
            raise ConfigurationError(f"score must be a mapping, as there are the goals {names}, got {given!r}")
        given = {next(iter(goals)): given}
    for name in given:
        if name not in goals:
            raise ConfigurationError(f"no goal {name!r}: {nearest(str(name), goals)}")
    if not given:
        raise ConfigurationError(f"score must name at least one of the goals {', '.join(map(repr, goals))}, got {{}}")
    told = tuple((name, goals[name].check(name, given[name])) for name in goals if name in given)
    return sum(goals[name].weight * value for name, value in told), told


def together(told: Iterable[tuple[str, float]], goals: Mapping[str, Goal]) -> float | None:
    """The score of a call of which all this was said; None while a goal that has a weight is missing."""
    known = dict(told)
    if any(goal.weight and name not in known for name, goal in goals.items()):
        return None
    return sum(goal.weight * known.get(name, 0.0) for name, goal in goals.items())
