"""What a decorated function and learning share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Any

from poet.calls.brakes import Brakes
from poet.calls.plan import Plan
from poet.model.event import Event
from poet.model.execution import Outcome, Record
from poet.model.parameters import ParameterSet
from poet.model.tunable import Tunable, Value
from poet.seams import SYSTEM_CLOCK, Clock, Probe

if TYPE_CHECKING:
    from poet.calls.choosing import Chooser
    from poet.calls.dealing import Deal
    from poet.calls.watch import Watch

NOTHING: Mapping[str, Value] = {}


class Channel:
    """The way up: records of one function, from all its cells.

    Whoever appends to ``records`` calls ``trim`` with a sequence number that is ``full`` or greater.
    """

    __slots__ = ("buffer", "full", "last", "number", "records", "sequence")

    def __init__(self, buffer: int) -> None:
        """buffer: records that may wait; a full one drops the oldest, and the gap in the sequence tells of it."""
        self.buffer = buffer
        # No deque of that length: an empty one takes 0.8 kB, and most of thousands of functions have nothing waiting.
        self.records: list[Record] = []
        self.full = _room(buffer)  # first sequence number at which there may be too many
        self.sequence = count()  # ``next`` of it numbers a call, without a lock
        self.number = 0  # calls so far; threads may set it out of order, so it may lag behind by a few
        self.last: ContextVar[Record | None] = ContextVar("poet_last", default=None)  # of the reader's context

    def count(self) -> int:
        """The number of one more call."""
        return next(self.sequence)

    def keep(self, record: Record) -> None:
        """Hand a finished call up."""
        number = record[0]
        self.records.append(record)
        self.number = number + 1
        self.last.set(record)
        if number >= self.full:
            self.trim(number)

    def trim(self, number: int) -> None:
        """Drop what the buffer does not hold. number: a sequence, as many more of which may follow as there is room."""
        if len(self.records) >= _room(self.buffer):
            del self.records[: -self.buffer or None]
        self.full = number + _room(self.buffer) - len(self.records)


@lru_cache
def _room(buffer: int) -> int:
    """Records that are let in before the oldest are dropped, all at once: one by one each would move all others."""
    return buffer + buffer // 8 + 64


class Cell:
    """All that one decorated function and learning share: a plan on its way down, a channel on the way up."""

    __slots__ = (
        "__weakref__",
        "brakes",
        "channel",
        "chooser",
        "classify",
        "clock",
        "compiler",
        "cost_limit",
        "deadline",
        "deal",
        "fixed",
        "flip",
        "guard",
        "hedges",
        "idempotent",
        "name",
        "now",
        "off",
        "owner",
        "plan",
        "space",
        "start",
        "tell",
        "watch",
    )

    def __init__(
        self,
        name: str,
        channel: Channel,
        *,
        owner: Any = None,
        clock: Clock = SYSTEM_CLOCK,
        now: Callable[[], float] | None = None,
        classify: Callable[[BaseException], Outcome],
        start: Callable[[Cell], Plan | None],
        compiler: Callable[[Cell, ParameterSet, Probe], Plan],
        flip: Callable[[], float],
        brakes: Brakes,
        tell: Callable[[Event], None],
        space: Mapping[str, Tunable],
        deadline: float | None = None,
        fixed: Mapping[str, Value] = NOTHING,
        idempotent: bool = True,
        cost_limit: float | None = None,
        chooser: Chooser | None = None,
        hedges: bool = False,
        off: bool = False,
    ) -> None:
        """owner: what the maker knows the function by. now: ``clock.now``, bound once for all. flip: uniform in [0, 1).

        start: gives the first plan, at the first call, or None: be a plain call. compiler: makes the plans. tell: the
        listeners. space: hard bounds. deadline: limit of a call [s]; None: none.
        fixed: values that hold whatever is live. cost_limit: of the rejected results of one call, from which on it is
        not repeated. chooser: what calls use and tell beside their plan; None: nothing. hedges: whether the plan may
        ask for some.

        ``start``, ``compiler``, ``flip`` and ``tell`` get the cell, or need none: so all functions share them.
        """
        self.name, self.channel, self.owner = name, channel, owner
        self.classify, self.start, self.compiler, self.flip = classify, start, compiler, flip
        self.clock, self.now = clock, clock.now if now is None else now
        self.brakes, self.tell = brakes, tell
        self.guard = brakes if brakes.guarded else None  # where attempts need to enter
        self.space, self.deadline, self.fixed = space, deadline, fixed
        self.idempotent, self.cost_limit, self.chooser = idempotent, cost_limit, chooser
        self.hedges = hedges
        self.watch: Watch | None = None  # of the attempts of an async function, on the newest of its loops
        self.plan: Plan | None = None
        self.deal: Deal | None = None  # where several plans are tried beside each other; ``plan`` is None then
        self.off = off

    def compile(self, parameters: ParameterSet, probe: Probe) -> Plan:
        """The plan that these make."""
        return self.compiler(self, parameters, probe)
