"""What became of each attempt of many calls, in a few flat columns, and the executions again that they tell of."""

from __future__ import annotations

from array import array
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.model.execution import Attempt, Execution, Outcome

Codes = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


class Attempts(NamedTuple):
    """Of n calls."""

    place: Codes  # (n,) where the first attempt of each is
    number: Codes  # (n,) how many it made
    ended: Codes  # (n,) the call's outcome
    outcome: Codes  # (m,) of each attempt
    seconds: Array  # (m,) [s]
    waited: Array  # (m,) before it [s]
    hedge: Codes  # (m,) 1: a copy

    def take(self, rows: Codes | npt.NDArray[np.bool_]) -> Attempts:
        """Of some of the calls, in the order of ``rows``."""
        return self._replace(place=self.place[rows], number=self.number[rows], ended=self.ended[rows])

    def execution(self, row: int, started: float, seconds: float, version: int) -> Execution:
        """A call as far as a replay asks for it; its number is its row."""
        first = int(self.place[row])
        made = range(first, first + int(self.number[row]))
        return Execution(
            "",
            row,
            started,
            seconds,
            Outcome(int(self.ended[row])),
            version,
            tuple(
                Attempt(
                    Outcome(int(self.outcome[i])), float(self.seconds[i]), float(self.waited[i]), bool(self.hedge[i])
                )
                for i in made
            ),
        )


class Gathered:
    """Puts attempts down, call by call."""

    def __init__(self) -> None:
        self._count, self._ended = array("i"), array("b")
        self._outcome, self._hedge = array("b"), array("b")
        self._seconds, self._waited = array("d"), array("d")

    def add(self, execution: Execution) -> None:
        """One more call."""
        self._count.append(len(execution.attempts))
        self._ended.append(execution.outcome)
        for outcome, seconds, waited, hedge in execution.attempts:
            self._outcome.append(outcome)
            self._hedge.append(hedge)
            self._seconds.append(seconds)
            self._waited.append(waited)

    def attempts(self) -> Attempts:
        """Of all calls so far."""
        count = np.array(self._count, np.int64)
        return Attempts(
            np.cumsum(count) - count,
            count,
            np.array(self._ended, np.int64),
            np.array(self._outcome, np.int64),
            np.array(self._seconds, np.float64),
            np.array(self._waited, np.float64),
            np.array(self._hedge, np.int64),
        )
