"""One function as the trainer sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from poet.model.execution import Execution, Feedback, Outcome, Record, from_record
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Learner, Probe


class Inbox:
    """Takes finished calls from the call path's buffer, in the order of their sequence, and counts what was dropped."""

    __slots__ = ("_first", "_held", "_most", "_next", "_records", "_taken")

    def __init__(self, records: list[Record], first: int = 0, most: int | None = None) -> None:
        """first: the sequence that the next call will draw, or that the first one drew.

        most: records that the buffer holds: it may have a few more, older ones, which count as dropped. None: any.
        """
        self._records, self._most = records, most
        self._held: Sequence[Record] = ()
        self._next = self._first = first  # first sequence that was not taken yet
        self._taken = 0

    @property
    def dropped(self) -> int:
        """Executions that a full buffer has lost so far."""
        return max(0, self._next - self._first - self._taken)

    def take(self, writer: str, epoch: float, *, all_of_it: bool = False) -> list[Execution]:
        """The executions that have come in, oldest first.

        A thread may draw its sequence number and be interrupted before it appends. So what stands behind a gap is held
        back for one round, unless ``all_of_it`` is wanted. epoch: Unix time at the monotonic clock's zero [s].
        """
        held = self._held
        patience = held[-1][0] if held else -1  # up to here the gaps have had their round
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
        self._held = waiting[ready:]
        self._next = following
        self._taken += ready
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


@dataclass(slots=True, kw_only=True)
class Trainee:
    """What the trainer keeps of one function. Touched by one thread at a time, under the trainer's lock."""

    record: FunctionRecord
    inbox: Inbox
    tally: Tally
    tracked: bool  # whether the tally is kept
    learner: Learner | None  # None: executions are kept, nothing is learned
    history: bool  # whether executions are stored
    apply: bool  # whether suggestions are published
    deliver: Callable[[ParameterSet, Probe], None]  # hands parameters down to the call path
    standing: Standing
    dependency: str = ""  # what the function calls
    # tells who listens of finished calls of a function, by its name, of a dependency
    heard: Callable[[str, str, Sequence[Execution]], None] = lambda function, dependency, executions: None
    # No deques: empty ones take 0.8 kB each.
    unsaved: list[Execution] = field(default_factory=list)
    feedback: list[Feedback] = field(default_factory=list)  # that the store does not have yet
    span: tuple[float, float] = (0.0, 0.0)  # starts of the oldest and the newest execution learned from [Unix s]
    taught: bool = False  # whether the learner knows more than the store
    news: int = 0  # executions since the others were told of any
    shared: int = 0  # executions that they were told of, by this process
    exchanged: float = -inf  # when they were told last, on the monotonic clock [s]
    contributions: int = 0  # that were handed out
    told: int = 0  # digest of what all knew after the last of them
    company: bool = False  # whether others have told of this function since
    pending: bytes | None = None  # the last of them, where it is not known whether the store has it
    draft: bool = False  # whether the live version is one that the store has not taken yet

    @property
    def key(self) -> FunctionKey:
        """Who the function is."""
        return self.record.key

    def seen(self, executions: Sequence[Execution]) -> None:
        """These are taught now."""
        self.news += len(executions)
        oldest = self.span[0] or min(execution.started for execution in executions)
        self.span = (oldest, max(self.span[1], *[execution.started for execution in executions]))

    def with_pins(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The live values, changed to ``values`` where nothing is pinned."""
        return {**self.standing.live, **values, **self.standing.pinned}
