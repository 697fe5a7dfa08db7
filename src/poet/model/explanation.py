"""Why these values: what a learner believes, in words and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from poet.model.drawing import Bin, Mark, over_seconds, window
from poet.model.estimate import Estimate
from poet.model.objective import Objective
from poet.model.tunable import Value


class Forecast(NamedTuple):
    """What a candidate would give, per call."""

    values: Mapping[str, Value]
    utility: Estimate
    success: float  # probability that the call succeeds
    seconds: float  # expected duration of the call [s]
    requests: float  # expected number of requests


class Explanation(NamedTuple):
    """The picture that a learner's choice rests on."""

    executions: int  # seen in all
    objective: Objective | None  # with its derived scales; None while too little was seen
    latency: Mapping[float, float]  # share of answers -> seconds within which they come; missing: never seen to come
    unanswered: float  # share of attempts not answered by the longest limit tried
    longest: float  # that limit [s]
    failures: Mapping[str, float]  # "transient", "permanent", "refused", "repeats" ... -> share in [0, 1]
    live: Forecast | None
    neighbours: tuple[Forecast, ...]  # best first
    sentences: tuple[str, ...]
    spread: tuple[Bin, ...] = ()  # how many of the answers come when, as shares of all attempts; empty: not known
    timeouts: tuple[
        Forecast, ...
    ] = ()  # other timeouts, the shortest first, all else as it is live, which is among them
    converged: bool | None = None  # whether further learning is worth less than it costs; None: not known
    listening: int = 0  # calls for which no retries and no copies are sent yet, to see what load does; 0: they are sent

    def __str__(self) -> str:
        """The picture and the sentences, for people."""
        return "\n".join((*self.picture(), *self.sentences))

    def picture(self, width: int = 72, span: Callable[[float], str] = "{:.3g} s".format) -> list[str]:
        """How long answers take and what other timeouts would be worth, over one axis: lines of at most ``width``.

        width: columns, 28 at least. span: how seconds are written. No lines where next to nothing is known.
        """
        if not self.spread:
            return []
        points = [(float(each.values["timeout"]), each.utility.value) for each in self.timeouts]
        live = None if self.live is None else self.live.utility.value
        value = 1.0 if self.objective is None else self.objective.value
        marks = [(f"p{100 * part:g}", self.latency[part]) for part in sorted(MARKED & self.latency.keys())]
        named = [Mark(seconds, f"{name} {span(seconds)}") for name, seconds in (*marks, *self._limits())]
        return over_seconds(self.spread, named, points, window([worth for _, worth in points], live, value), width)

    def _limits(self) -> Iterator[tuple[str, float]]:
        """Moments at which the live values end an attempt, or copy it [s]."""
        values = {} if self.live is None else self.live.values
        timeout, delay = values.get("timeout", 0), values.get("hedge_delay", 0)
        if isinstance(timeout, int | float) and timeout > 0:
            yield "timeout", float(timeout)
        if values.get("hedges") and isinstance(delay, int | float) and delay > 0:
            yield "hedge", float(delay)


MARKED = {0.5, 0.9, 0.99}  # quantiles
