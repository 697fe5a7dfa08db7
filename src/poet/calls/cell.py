"""What a decorated function and learning share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count

from poet.calls.brakes import Brakes
from poet.calls.plan import Plan
from poet.model.event import Event
from poet.model.execution import Outcome, Record
from poet.model.parameters import ParameterSet
from poet.seams import Probe


class Channel:
    """The way up: records of one function, from all its cells."""

    __slots__ = ("count", "last", "number", "records")

    def __init__(self, buffer: int) -> None:
        """buffer: records that may wait; a full one drops the oldest, and the gap in the sequence tells of it."""
        self.records: deque[Record] = deque(maxlen=buffer)
        self.count = count().__next__
        self.number = 0  # calls so far; threads may set it out of order, so it may lag behind by a few
        self.last: ContextVar[Record | None] = ContextVar("poet_last", default=None)  # of the reader's context

    def keep(self, record: Record) -> None:
        """Hand a finished call up."""
        self.records.append(record)
        self.number = record[0] + 1
        self.last.set(record)


class Cell:
    """All that one decorated function and learning share: a plan on its way down, a channel on the way up."""

    __slots__ = (
        "__weakref__",
        "brakes",
        "channel",
        "classify",
        "compile",
        "cost_limit",
        "flip",
        "idempotent",
        "name",
        "off",
        "perceptive",
        "plan",
        "start",
        "tell",
    )

    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        classify: Callable[[BaseException], Outcome],
        start: Callable[[Cell], Plan | None],
        compile: Callable[[ParameterSet, Probe], Plan],  # noqa: A002 - the word for it
        flip: Callable[[], float],
        brakes: Brakes,
        tell: Callable[[Event], None],
        idempotent: bool = True,
        cost_limit: float | None = None,
        perceptive: bool = False,
        off: bool = False,
    ) -> None:
        """start: gives the first plan, at the first call, or None: be a plain call. flip: uniform in [0, 1).

        tell: the listeners. cost_limit: of the rejected results of one call, from which on it is not repeated.
        perceptive: whether ``perceive`` may tell features of the input.
        """
        self.name, self.channel = name, channel
        self.classify, self.start, self.compile, self.flip = classify, start, compile, flip
        self.brakes, self.tell = brakes, tell
        self.idempotent, self.cost_limit, self.perceptive = idempotent, cost_limit, perceptive
        self.plan: Plan | None = None
        self.off = off
