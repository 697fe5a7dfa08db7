"""A parameter's newest values and what they scored, as the first POET kept them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from poet.kernels.online.student import half_width
from poet.learning.axes import is_number
from poet.model.estimate import Estimate

KEPT = 100  # observations
RECENT = 10  # of them, that a trend or a gradient is taken from


def _newest() -> deque[float]:
    return deque(maxlen=KEPT)


@dataclass
class ParameterHistory:
    """The newest 100 observations of one parameter; all four columns are of one length.

    >>> history = ParameterHistory()
    >>> for value, score in ((30.0, 0.8), (28.0, 0.85), (26.0, 0.9)):
    ...     history.add_observation(value, score)
    >>> round(history.get_recent_trend(), 3), round(history.estimate_gradient(), 3)
    (0.05, -0.025)
    """

    values: deque[float] = field(default_factory=_newest)
    performances: deque[float] = field(default_factory=_newest)
    timestamps: deque[datetime] = field(default_factory=lambda: deque(maxlen=KEPT))
    confidence_scores: deque[float] = field(default_factory=_newest)

    def add_observation(self, value: float, performance: float, confidence: float = 0.5) -> None:
        """Take in that ``value`` scored ``performance``. Raises ValueError where one of them is no finite number."""
        for name, number in (("value", value), ("performance", performance), ("confidence", confidence)):
            if not is_number(number):
                raise ValueError(f"{name} must be a finite number, got {number!r}")
        self.values.append(value)
        self.performances.append(performance)
        self.timestamps.append(datetime.now(UTC))
        self.confidence_scores.append(confidence)

    def get_recent_trend(self, window: int = RECENT) -> float:
        """Slope of the newest ``window`` scores over their number [score per observation]; 0 for fewer than two."""
        scores = list(self.performances)[-window:]
        return _line(range(len(scores)), scores).value

    def estimate_gradient(self) -> float:
        """Least-squares slope of the newest ten scores in the value; 0 for fewer than three, or if it never varied."""
        return self.gradient().value

    def gradient(self) -> Estimate:
        """The same with its 90 % interval, which holds all numbers while nothing can be said."""
        values, scores = list(self.values)[-RECENT:], list(self.performances)[-RECENT:]
        return _line(values, scores) if len(values) > 2 else Estimate(0.0, -math.inf, math.inf, len(values))


def _line(xs: Sequence[float], ys: Sequence[float]) -> Estimate:
    """Least-squares slope of ``ys`` in ``xs``."""
    n = len(xs)
    unknown = Estimate(0.0, -math.inf, math.inf, n)
    if n < 2:
        return unknown
    x_mean, y_mean = math.fsum(xs) / n, math.fsum(ys) / n
    spread = math.fsum((x - x_mean) ** 2 for x in xs)
    if not spread > 1e-24 * max(1.0, x_mean * x_mean):
        return unknown
    slope = math.fsum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True)) / spread
    if n < 3:
        return unknown._replace(value=slope)
    rest = math.fsum((y - y_mean - slope * (x - x_mean)) ** 2 for x, y in zip(xs, ys, strict=True))
    width = half_width(0.9, n - 2.0) * math.sqrt(rest / (n - 2) / spread)
    return Estimate(slope, slope - width, slope + width, n)
