"""One function as the trainer sees it.

Of thousands of functions few are busy at a time: what is only looked at when there is something to train is kept in a
few pieces of bytes, as every object takes 16 to 60 bytes beside what it says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, isnan, nan
from struct import Struct
from typing import Any, Generic, Literal, Protocol, TypeVar, overload

from poet.model.contexts import MARK
from poet.model.execution import Execution, Feedback, Outcome, Record, from_record
from poet.model.fixed import held
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.phases import going_on, timed
from poet.model.rollout import RolloutPolicy
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Learner, Lot, Probe
from poet.training.late import Late
from poet.training.rest import Rest
from poet.training.trial import Trial

T = TypeVar("T")


class Subject(Protocol):
    """The function that is trained."""

    @property
    def key(self) -> FunctionKey:
        """Who it is."""

    @property
    def record(self) -> FunctionRecord:
        """What a store keeps of it."""

    @property
    def dependency(self) -> str:
        """What it calls."""

    @property
    def rate(self) -> float:
        """Weight of the newest execution in the moving averages, in (0, 1] [1]."""

    @property
    def rollout(self) -> RolloutPolicy | Literal["direct"] | None:
        """How new versions that were learned reach its calls; None: as the settings say."""

    @property
    def tracked(self) -> bool:
        """Whether a tally is kept."""

    @property
    def kept(self) -> bool:
        """Whether executions are stored."""

    def deliver(self, parameters: ParameterSet, probe: Probe, lot: Lot | None = None) -> None:
        """Hand parameters down to the call path. lot: calls get one of several versions by it, in their place."""


class Inbox:
    """Takes finished calls from the call path's buffer, in the order of their sequence, and counts what was dropped."""

    __slots__ = ("_held", "_lost", "_most", "_next", "_records")

    def __init__(self, records: list[Record], first: int = 0, most: int | None = None) -> None:
        """first: the sequence that the next call will draw, or that the first one drew.

        most: records that the buffer holds: it may have a few more, older ones, which count as dropped. None: any.
        """
        self._records, self._most = records, most
        self._held: Sequence[Record] = ()
        self._next = first  # first sequence that was not taken yet
        self._lost = 0  # sequences below, by now, of which nothing came

    @property
    def dropped(self) -> int:
        """Executions that a full buffer has lost so far."""
        return max(0, self._lost)

    def take(self, writer: str, epoch: float, *, all_of_it: bool = False) -> list[Execution]:
        """The executions that have come in, oldest first.

        A thread may draw its sequence number and be interrupted before it appends. So what stands behind a gap is held
        back for one round, unless ``all_of_it`` is wanted. epoch: Unix time at the monotonic clock's zero [s].
        """
        held = self._held
        patience = held[-1][0] if held else -1  # up to here the gaps have had their round
        if not (self._records or held):  # of thousands of functions most are idle
            return []
        waiting = self._records[:]
        # Calls append meanwhile, behind these. Where one has just trimmed a full buffer, more of them go, unseen: they
        # count as dropped, as those that were trimmed.
        del self._records[: len(waiting)]
        if self._most is not None and len(waiting) > self._most:
            del waiting[: len(waiting) - self._most]
        waiting += held
        waiting.sort()
        ready = 0
        following = self._next
        for sequence, *_ in waiting:
            if sequence > max(patience, following) and not all_of_it:
                break
            following = max(following, sequence + 1)
            ready += 1
        self._held = waiting[ready:] or ()
        self._lost += following - self._next - ready
        self._next = following
        return [from_record(record, writer, epoch) for record in waiting[:ready]]


class Tally:
    """Counts and moving averages of one function since the process began.

    A shed call has failed for its caller, and counts as such; but nothing was asked, so it is no request, and it took
    no time that would say how long calls take.
    """

    __slots__ = ("calls", "failures", "hedges", "last", "outcomes", "rate", "requests", "seconds", "shed", "success")

    def __init__(self, rate: float) -> None:
        """rate: weight of the newest execution in the moving averages, in (0, 1] [1]."""
        self.rate = rate
        self.calls = self.failures = 0
        self.requests = 0  # attempts that were made, hedges included
        self.hedges = 0
        self.shed = 0  # calls that were not made
        self.success: float | None = None  # moving average of successes, in [0, 1]
        self.seconds: float | None = None  # moving average of the durations of calls that were made [s]
        self.outcomes = [0] * len(Outcome)
        self.last = 0.0  # Unix time of the newest call [s]

    def add(self, execution: Execution) -> None:
        """Count it; O(attempts)."""
        good, seconds = float(execution.outcome.good), execution.seconds
        self.calls += 1
        self.failures += not good
        for attempt in execution.attempts:
            if attempt.outcome is not Outcome.SHED:
                self.requests += 1
                self.hedges += attempt.hedge
        self.outcomes[execution.outcome] += 1
        self.success = good if self.success is None else self.success + self.rate * (good - self.success)
        if execution.outcome is Outcome.SHED:
            self.shed += 1
        else:
            self.seconds = seconds if self.seconds is None else self.seconds + self.rate * (seconds - self.seconds)
        self.last = max(self.last, execution.started)

    def packed(self) -> bytes:
        """All of it but the rate, in an eighth of the room."""
        unknown = nan
        success = unknown if self.success is None else self.success
        seconds = unknown if self.seconds is None else self.seconds
        return _TALLY.pack(self.requests, self.hedges, success, seconds, self.last, *self.outcomes)

    @classmethod
    def unpacked(cls, packed: bytes, rate: float) -> Tally:
        """The inverse of ``packed``."""
        tally = cls(rate)
        tally.requests, tally.hedges, success, seconds, tally.last, *tally.outcomes = _TALLY.unpack(packed)
        tally.success = None if isnan(success) else success
        tally.seconds = None if isnan(seconds) else seconds
        tally.calls, tally.shed = sum(tally.outcomes), tally.outcomes[Outcome.SHED]
        tally.failures = tally.calls - sum(tally.outcomes[outcome] for outcome in Outcome if outcome.good)
        return tally


_TALLY = Struct(f"=qqddd{len(Outcome)}q")


class _Booked(Generic[T]):
    """One of the numbers that a trainee keeps in one piece."""

    def __init__(self, place: int) -> None:
        self._place = place

    @overload
    def __get__(self, trainee: None, owner: type) -> _Booked[T]: ...

    @overload
    def __get__(self, trainee: Trainee, owner: type) -> T: ...

    def __get__(self, trainee: Trainee | None, owner: type) -> Any:
        return self if trainee is None else _BOOKS.unpack(trainee._books)[self._place]

    def __set__(self, trainee: Trainee, value: T) -> None:
        books: list[Any] = list(_BOOKS.unpack(trainee._books))
        books[self._place] = value
        trainee._books = _BOOKS.pack(*books)


_BOOKS = Struct("=dddqqqq???")
_NO_TALLY = Tally(1.0).packed()


class Trainee(Inbox):
    """What the trainer keeps of one function. Touched by one thread at a time, under the trainer's lock."""

    __slots__ = (
        "_books",
        "_learner",
        "_rest",
        "_tally",
        "feedback",
        "late",
        "pending",
        "standing",
        "subject",
        "trial",
        "unsaved",
    )

    def __init__(
        self,
        subject: Subject,
        learner: Learner | None,
        standing: Standing,
        rest: Rest,
        records: list[Record],
        first: int = 0,
        most: int | None = None,
    ) -> None:
        """learner: None: executions are kept, nothing is learned. rest: where it sleeps.

        records, first, most: of the inbox.
        """
        super().__init__(records, first, most)
        self.subject, self.standing = subject, standing
        self._rest = rest
        self._learner: Learner | bytes | None = None
        self.late: Late | None = None  # scores on their way to the learner; None: it wants none
        self.learner = learner
        # None: nothing, as an empty list takes 56 bytes
        self.unsaved: list[Execution] | None = None  # executions that the store does not have yet
        self.feedback: list[Feedback] | None = None  # that the store does not have yet
        self.trial: Trial | None = None  # what takes care of its roll-out or experiment
        self.pending: bytes | None = None  # the last contribution, where it is not known whether the store has it
        self._tally = _NO_TALLY
        self._books = _BOOKS.pack(*standing.live.span, -inf, 0, 0, 0, 0, False, False, False)

    exchanged = _Booked[float](2)  # when the others were told last, on the monotonic clock [s]
    news = _Booked[int](3)  # executions since they were told of any
    shared = _Booked[int](4)  # executions that they were told of, by this process
    contributions = _Booked[int](5)  # that were handed out
    told = _Booked[int](6)  # digest of what all knew after the last of them
    taught = _Booked[bool](7)  # whether the learner knows more than the store
    company = _Booked[bool](8)  # whether others have told of this function since
    draft = _Booked[bool](9)  # whether the live version is one that the store has not taken yet

    @property
    def key(self) -> FunctionKey:
        """Who the function is."""
        return self.subject.key

    @property
    def learns(self) -> bool:
        """Whether there is a learner."""
        return self._learner is not None

    @property
    def learner(self) -> Learner | None:
        """The learner, awake, to be used at once: it may be at rest again, and another object, later."""
        learner = self._learner
        if isinstance(learner, bytes):
            learner = self._learner = self._rest.unpacked(learner)
        if learner is not None:
            self._rest.woken(self)
        return learner

    @learner.setter
    def learner(self, learner: Learner | None) -> None:
        self._learner = learner
        if learner is None or not getattr(learner, "scores", False):  # those of before had no such word
            self.late = None
        elif self.late is None:
            self.late = Late()
        if learner is not None:
            self._rest.woken(self)

    def sleep(self) -> None:
        """Put the learner to rest."""
        learner = self._learner
        if learner is not None and not isinstance(learner, bytes):
            self._learner = self._rest.packed(learner) or learner

    @property
    def span(self) -> tuple[float, float]:
        """Starts of the oldest and the newest execution learned from, Unix time [s]; 0: none."""
        oldest, newest, *_ = _BOOKS.unpack(self._books)
        return oldest, newest

    @property
    def tally(self) -> Tally:
        """What was counted so far."""
        return Tally.unpacked(self._tally, self.subject.rate)

    def count(self, executions: Sequence[Execution]) -> None:
        """Count these in."""
        tally = self.tally
        for execution in executions:
            tally.add(execution)
        self._tally = tally.packed()

    @property
    def feedback_lost(self) -> int:
        """Scores that were said of executions which are not to be found; 0 where nobody looks for them."""
        return 0 if self.late is None else self.late.lost

    @property
    def feedback_waiting(self) -> int:
        """Scores whose executions were not found yet."""
        return 0 if self.late is None else self.late.waiting

    def said(self, feedback: Feedback) -> None:
        """This is for the store, and for a learner that wants it. No execution has a number above 2**62."""
        if not 0 <= feedback.sequence < 1 << 62:
            if self.late is not None:
                self.late.lose(feedback)
            return
        if self.feedback is None:
            self.feedback = [feedback]
        else:
            self.feedback.append(feedback)
        if self.late is not None:
            self.late.said(feedback)

    def seen(self, executions: Sequence[Execution]) -> None:
        """These are taught now."""
        oldest, newest, exchanged, news, *others = _BOOKS.unpack(self._books)
        oldest = oldest or min(execution.started for execution in executions)
        newest = max(newest, *[execution.started for execution in executions])
        self._books = _BOOKS.pack(oldest, newest, exchanged, news + len(executions), *others)

    def with_pins(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The live values, changed to ``values`` where nothing is pinned, for all contexts or for some.

        What holds for some contexts only and is not named in ``values`` has gone; for some hours, see ``going_on``.
        """
        live = {name: value for name, value in self.standing.live.items() if MARK not in name}
        phases = going_on(self.standing.live, values)
        return held({**live, **{n: x for n, x in values.items() if not timed(n)}, **phases}, self.standing.pinned)
