"""Where the rooms meet: small protocols in the domain's own verbs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from poet.model.aggregate import Hour
from poet.model.document import Document
from poet.model.estimate import Estimate
from poet.model.execution import Context, Execution, Feedback
from poet.model.explanation import Explanation
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.policy import Policy
from poet.model.trial import Recommendation, Trial
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
    origin: Literal["learned", "transfer"] = "learned"  # transfer: mostly by what other functions have learned


class Probe(NamedTuple):
    """How calls that fail anyway may look beyond the live values, so that what is never tried stays visible."""

    retry: float = 0.0  # probability of one attempt more where the retries are used up, in [0, 1]
    limit: float = 0.0  # probability that a call's attempts get a longer limit, in [0, 1]
    stretch: float = 1.0  # that limit as a multiple of the timeout, >= 1
    calm: bool = False  # no retries and no copies for now, so that it shows what first attempts do without them
    policy: Policy | None = None  # how calls pick declared tunables; None: always the version's own


class Arm(NamedTuple):
    """One of several versions that calls get by lot."""

    parameters: ParameterSet
    share: float  # of calls, in (0, 1)
    probe: Probe = Probe()


class Lot(NamedTuple):
    """How calls get one of several versions. The first arm is what calls get where no lot can be drawn."""

    arms: tuple[Arm, ...]  # two at least; their shares together are 1
    seed: str = ""  # of the blocks
    block: float = 0.0  # seconds that all calls get the same for, > 0 [s]; 0: each call draws its own


class Learner(Protocol):
    """Learns from executions and proposes values. One function each; used by one thread at a time; seeded."""

    @property
    def scores(self) -> bool:
        """Whether it wants scores that come later: the same as long as it lives. What has no such word wants none."""

    def update(self, executions: Sequence[Execution]) -> None:
        """Fold them in, oldest first. Never changes them. Some may have a score, or goals, already."""

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Executions that it has seen, whose score or goals came later, or came anew: with them now.

        before: the same executions as they were told of last; one that had a score, or goals, then is not to be counted
        twice. In the order in which the scores came. It, or a learner of the same function in another process, which
        may have ended since, has seen each. Never changes them; never raises. Who wants no scores is not told.
        """

    def due(self) -> int:
        """Whether ``suggest`` would look at the evidence now: 0 no, 1 yes, 2 yes and it must not wait. Cheap."""

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

    def contribution(self) -> bytes | None:
        """What it has seen since the last one was handed out, or since ``load``, for others to learn from.

        None: nothing. Small, and made to be merged once: two contributions of a learner never tell of one execution.
        """

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        """``shared``, what all know together as ``dump`` writes it, with a contribution of any of them folded in.

        None: nobody knows anything yet. Changes nothing in this learner. Contributions may come in any order; what they
        add up to hardly depends on it. Raises ValueError where one of the two is not of this kind.
        """


@runtime_checkable
class Reminded(Protocol):
    """A learner that is told which values the versions say, as executions only tell what they used otherwise."""

    def under(self, parameters: ParameterSet, *, live: bool = False) -> None:
        """A version, with its values; live: calls use it from now on."""

    def knows(self, version: int) -> bool:
        """Whether ``under`` has told of it, and it is kept in mind."""


class Tuner(Protocol):
    """Finds good values of a function's declared tunables from scored calls. Used by one thread at a time; seeded."""

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in, oldest first. Never changes them; passes over those whose score or slack is not finite."""

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next in such a call, the best known included: within bounds, all tunables named."""

    def recommend(self, context: Context = ()) -> Recommendation:
        """What is best in such a call, or in all calls together where the context is empty or was never seen."""

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score of ``values``, tried or not [utility]."""

    def policy(self, share: float, tries: int, own: Mapping[str, Value] | None = None) -> Policy:
        """How calls pick values until the next one is made.

        share: of calls that may try something out, in [0, 1]; 0: each as it is believed to be best in its context.
        tries: most sets of values to try, >= 1. own: what calls use anyway, from which picks name what differs; None:
        what ``recommend()`` says.
        """

    def dump(self) -> bytes:
        """All it knows; readable by ``load`` of this and later releases, whose space may have changed."""

    def load(self, state: bytes) -> tuple[str, ...]:
        """Take up where ``dump`` left off; what had to be dropped, as the space is another one, in words.

        Raises ValueError, unchanged, where ``state`` is not of this kind.
        """


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
    choices: Mapping[str, Sequence[Value]] = MappingProxyType({})  # options of tunables that are one of several
    goals: Mapping[str, Mapping[str, float]] = MappingProxyType({})  # what calls are scored by, as declared


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
    away: float = 0.0  # since when the store could not be reached, Unix time [s]; 0: it can
    spooled: int = 0  # executions that wait for it


class Finding(NamedTuple):
    """One result of a store's self-check."""

    ok: bool
    what: str  # the check
    detail: str


class Incoming(NamedTuple):
    """A function's parameters and knowledge from elsewhere, checked and ready to be taken in."""

    record: FunctionRecord
    draft: ParameterSet | None  # to go live as it is; None: nothing better
    state: bytes | None  # of its learner, to replace what is kept; None: keep that
    expected: int  # generation that the draft was made for; 0: the function is not known yet


class Upkeep(NamedTuple):
    """What ``Store.maintain`` did."""

    expired: int = 0  # executions deleted, as they were too old
    hours: int = 0  # hours deleted
    merged: int = 0  # chunks that were put together with others
    scored: int = 0  # scores written into the executions that they are about


class Store(Protocol):
    """Values in, values out: what it returns is never shared. Safe to use from several threads and processes.

    Every method raises StoreUnavailable where the store cannot be reached or written.
    """

    @property
    def url(self) -> str:
        """Where it is, as a user would configure it; without a password."""

    @property
    def away(self) -> float:
        """Since when it cannot be reached, Unix time [s]; 0: it can."""

    def register(self, record: FunctionRecord) -> Standing:
        """Make the function known, with ``record.declared`` as version 1 where it has none. Counters are kept."""

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""

    def generation(self) -> int:
        """Grows whenever any function's standing changes, by whichever process. Cheap: made to be polled."""

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        """The generation now, and the functions whose standing has changed after it was ``since``; -1: all of them."""

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now. Raises UnknownFunction."""

    def aliases(self, function: FunctionKey) -> dict[AliasName, Alias]:
        """Where each name stands; ``live`` and ``last_good`` always do. Raises UnknownFunction."""

    def publish(
        self,
        function: FunctionKey,
        draft: ParameterSet,
        *,
        expected: int,
        alias: Literal["live", "canary"] | None = "live",
        beside: Sequence[Document] = (),
    ) -> Standing:
        """Keep ``draft`` as the next version and make it live, or the canary, in one step; None: no name moves there.

        The version that was live becomes the last good one where a learner or a person replaces it by a new live one.
        expected: the generation that the draft was made from. Raises StaleParameters where another one holds.
        beside: documents that are kept in the same step, as by ``keep``; where one cannot be, nothing has changed.
            ``document.THIS_VERSION`` in their bodies stands for the number that the draft gets.
        """

    def rollback(
        self,
        function: FunctionKey,
        to: int | None,
        *,
        author: str,
        reason: str,
        beside: Sequence[Document] = (),
        pause: bool = True,
    ) -> Standing:
        """Make an older version live and pause learning, in one step. ``None``: the parent of the live version.

        pause: False: learning goes on as it was.
        It becomes the last good one, and a canary is taken back. Pins stay where the older version agrees with them.
        beside: documents that are kept in the same step, as by ``keep``. Raises UnknownVersion.
        """

    def point(
        self,
        function: FunctionKey,
        alias: Literal["live", "canary", "last_good"],
        version: int | None,
        *,
        expected: int,
        author: str,
        reason: str,
        beside: Sequence[Document] = (),
    ) -> Standing:
        """Move a name to a version that is there, in one step; None takes a canary back.

        To make the canary live ends its trial; what was live becomes the last good one. Raises UnknownVersion,
        StaleParameters where the generation is not ``expected``, and ValueError where live or last_good would be None.
        beside: documents that are kept in the same step, as by ``keep``.
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

    def documents(
        self, kind: str, function: FunctionKey | None = None, *, name: str | None = None, ended: bool = True
    ) -> list[Document]:
        """Those of a kind, by function and name; of one function only, of one name only. ended: also those not open."""

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        """Keep it in place of the revision that it says, and give it as it is kept.

        The generation of its function, and of the store, grows; quiet: not, as nobody needs to know of it soon.
        Raises StaleDocument where another revision is kept, UnknownFunction, and ValueError where it cannot be kept:
        too long, or no JSON (``model.document``).
        """

    def discard(self, documents: Sequence[Document]) -> None:
        """Delete these, whatever their revision; those that are not there are passed over. Quiet."""

    def bring_in(self, incoming: Sequence[Incoming]) -> list[Standing]:
        """Take in what was learned elsewhere: all of it or nothing, in one step.

        Raises StaleParameters where one of the functions is no longer at the generation that was expected.
        """

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """All versions, oldest first."""

    def history(self, function: FunctionKey) -> list[Change]:
        """All changes, oldest first."""

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions of one or more writers. Committed when it returns.

        Those whose writer and sequence are kept already are passed over, so that an append may be repeated. Features
        come back as they went in, and so do values and goals. Raises ValueError where one cannot be kept
        (``stores.features.check_execution``).
        """

    def score(self, function: FunctionKey, feedback: Sequence[Feedback]) -> None:
        """Keep what was said of executions, which may come later or have expired. Of several the newest counts.

        Of goals it is the newest of each name, so that they may be said one after the other.

        Raises ValueError where a score, a goal or a moment is not finite.
        """

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions with their scores, oldest first; the newest ``limit`` of those started since [Unix s]."""

    def find(self, function: FunctionKey, ids: Sequence[tuple[str, int]]) -> list[Execution]:
        """Those of these executions, by writer and sequence, that are stored, with their scores so far; in that order,
        each once."""

    def hours(self, function: FunctionKey, *, since: float = 0.0) -> list[Hour]:
        """What was counted hour by hour, oldest first, and by version; those hours that end after ``since`` [Unix s].

        A score that was said later is counted once ``maintain`` has written it to its execution.
        """

    def maintain(self, *, executions_before: float, hours_before: float, settled: float) -> Upkeep:
        """Delete executions and hours older than these moments, put small chunks together, write scores where they
        belong. What was counted of a function in all stays. May be called by several at once, and often.

        settled: chunks whose executions all started before are put together, of all writers; Unix times [s].
        """

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before."""

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""

    def exchange(
        self, function: FunctionKey, writer: str, number: int, merge: Callable[[bytes | None], bytes]
    ) -> bytes:
        """Replace the kept state s by ``merge(s)`` in one step, and give what is kept then.

        number: of the writer's contributions, from 1. Where it, or a later one, was taken in already, nothing is
        merged: so an exchange may be repeated after a failure that left open whether it was kept. ``merge`` is called
        once or never, is quick and touches no store; what it raises comes out, and nothing has changed.
        """

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares, in place of its report before."""

    def processes(self) -> list[ProcessReport]:
        """The last report of each process, newest first."""

    def watch(self, hint: Callable[[], None]) -> float:
        """Call ``hint``, from any thread, soon after others may have changed a standing; a hint may get lost.

        Gives the time after which to ask for the generation all the same [s]; 0: there are no hints, asking is cheap.
        A new ``hint`` replaces the one before.
        """

    def check(self) -> list[Finding]:
        """Look for damage and broken rules; changes nothing."""

    def close(self) -> None:
        """Release what is held. Closing twice does no harm."""


class Engine(Protocol):
    """Does a task for each of many parts, somewhere. What runs where is its own affair, and changes no result."""

    def map(self, task: Callable[[Any], Any], parts: Sequence[Any]) -> list[Any]:
        """``task(part)`` of each, in the order of the parts. A fault of a task comes out; others may have run.

        Both may be sent elsewhere: the task is a function of a module, parts and results can be pickled.
        """

    def close(self) -> None:
        """Release what is held. Closing twice does no harm."""


class Listener(Protocol):
    """Told of changes, off the call path."""

    def changed(self, function: FunctionKey, standing: Standing, **facts: Any) -> None:
        """The function's standing is now this one."""
