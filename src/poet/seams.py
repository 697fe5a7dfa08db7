"""Where the rooms meet: small protocols in the domain's own verbs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from poet.model.estimate import Estimate
from poet.model.execution import Execution
from poet.model.explanation import Explanation
from poet.model.function import FunctionKey
from poet.model.parameters import Change, ParameterSet, Standing
from poet.model.tunable import Value


class Clock(Protocol):
    """Time as the house sees it; a virtual one makes a run repeatable."""

    def now(self) -> float:
        """Seconds that never go back, from any origin."""

    def wall(self) -> float:
        """Unix time [s]; it may be set back."""

    def sleep(self, seconds: float) -> None:
        """Return after ``seconds``, >= 0."""


class SystemClock:
    """The machine's own clock. Its methods are the built-ins themselves, so that a reading costs no extra frame."""

    now = staticmethod(time.monotonic)
    wall = staticmethod(time.time)
    sleep = staticmethod(time.sleep)


SYSTEM_CLOCK = SystemClock()


class Suggestion(NamedTuple):
    """What a learner proposes to make live."""

    values: Mapping[str, Value]
    reason: str
    estimates: Mapping[str, Estimate]
    evidence: int  # executions that it rests on


class Probe(NamedTuple):
    """How calls that fail anyway may look beyond the live values, so that what is never tried stays visible."""

    retry: float = 0.0  # probability of one attempt more where the retries are used up, in [0, 1]
    limit: float = 0.0  # probability that a call's attempts get a longer limit, in [0, 1]
    stretch: float = 1.0  # that limit as a multiple of the timeout, >= 1


class Learner(Protocol):
    """Learns from executions and proposes values. One function each; used by one thread at a time; seeded."""

    def update(self, executions: Sequence[Execution]) -> None:
        """Fold them in, oldest first. Never changes them."""

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """Better values than ``live`` where the evidence is good enough, else None."""

    def probe(self) -> Probe:
        """How to probe from now on."""

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        """Why ``live``, or why not."""

    def dump(self) -> bytes:
        """All it knows, for a store; readable by ``load`` of this and later releases."""

    def load(self, state: bytes) -> None:
        """Take up where ``dump`` left off. Raises ValueError, unchanged, where ``state`` is not of this kind."""


class FunctionRecord(NamedTuple):
    """What a store keeps of a function beside its versions."""

    key: FunctionKey
    domain: str | None
    learner: str  # name of the algorithm; empty: it does not learn
    declared: Mapping[str, Value]
    objective: Mapping[str, float]  # as declared
    calls: int  # executions stored
    failures: int  # of them without an answer
    seconds: float  # their summed duration [s]
    last_call: float  # Unix time [s]; 0: never
    space: Mapping[str, Sequence[float]] = MappingProxyType({})  # hard bounds, lowest and highest, where declared


class ProcessReport(NamedTuple):
    """How one process fares: what ``poet status`` and ``poet doctor`` show of it."""

    writer: str
    host: str
    pid: int
    started: float  # Unix time [s]
    seen: float  # Unix time of this report [s]
    dropped: int  # executions lost because a buffer was full
    faults: int  # of learners, stores and listeners
    last_fault: str


class Finding(NamedTuple):
    """One result of a store's self-check."""

    ok: bool
    what: str  # the check
    detail: str


class Store(Protocol):
    """Values in, values out: what it returns is never shared. Safe to use from several threads and processes.

    Every method raises StoreUnavailable where the store cannot be reached or written.
    """

    @property
    def url(self) -> str:
        """Where it is, as a user would configure it."""

    def register(self, record: FunctionRecord) -> Standing:
        """Make the function known, with ``record.declared`` as version 1 where it has none. Counters are kept."""

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""

    def generation(self) -> int:
        """Grows whenever any function's standing changes, by whichever process. Cheap: made to be polled."""

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now. Raises UnknownFunction."""

    def publish(self, function: FunctionKey, draft: ParameterSet, *, expected: int) -> Standing:
        """Keep ``draft`` as the next version and make it live, in one step.

        expected: the generation that the draft was made from. Raises StaleParameters where another one holds.
        """

    def rollback(self, function: FunctionKey, to: int | None, *, author: str, reason: str) -> Standing:
        """Make an older version live and pause learning, in one step. ``None``: the parent of the live version.

        Raises UnknownVersion.
        """

    def steer(
        self,
        function: FunctionKey,
        *,
        author: str,
        reason: str,
        paused: bool | None = None,
        pinned: Mapping[str, Value] | None = None,
    ) -> Standing:
        """Pause or resume learning, pin values (a new live version holds them) or lift pins (an empty mapping)."""

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """All versions, oldest first."""

    def history(self, function: FunctionKey) -> list[Change]:
        """All changes, oldest first."""

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions of one writer, in order of their sequence. Committed when it returns.

        Features come back as they went in. Raises ValueError where one cannot be kept (``stores.features.check``).
        """

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions, oldest first; the newest ``limit`` of those started at or after ``since`` [Unix s]."""

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before."""

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares, in place of its report before."""

    def processes(self) -> list[ProcessReport]:
        """The last report of each process, newest first."""

    def check(self) -> list[Finding]:
        """Look for damage and broken rules; changes nothing."""

    def close(self) -> None:
        """Release what is held. Closing twice does no harm."""


class Listener(Protocol):
    """Told of changes, off the call path."""

    def changed(self, function: FunctionKey, standing: Standing, **facts: Any) -> None:
        """The function's standing is now this one."""
