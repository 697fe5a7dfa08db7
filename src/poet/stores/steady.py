"""A store that may go away: what was known last is at hand, and what cannot be handed over waits on the disk.

Around a store on another host stands this one. While that can be reached, it passes everything on, and keeps beside it
what a new process would need: standings and learners (``snapshot``). While it cannot, functions start from there,
executions and scores wait (``spool``), and what only the other can do is refused at once: it is asked again only after
a rest, so that training never waits for a server that is gone. When it is back, functions that it does not know are
registered, and what has waited is handed over, little by little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Literal, TypeVar

from poet.errors import StoreAway, StoreCorrupt, StoreTooNew, StoreUnavailable, UnknownFunction
from poet.model.aggregate import Hour
from poet.model.document import Document
from poet.model.execution import Execution, Feedback
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import SYSTEM_CLOCK, Clock, Finding, FunctionRecord, Incoming, ProcessReport, Store, Upkeep
from poet.stores import rows, rules
from poet.stores.snapshot import Known, Snapshot
from poet.stores.spool import LIMIT, Entry, Spool

FIRST_REST, LONGEST_REST = 0.25, 5.0  # between two tries to reach the store [s]
KEEP_EVERY = 30.0  # a learner's state goes to the snapshot at most so often [s]
REPORT_EVERY = 10.0  # a process that has nothing new to say says so [s]
_HANDED_OVER = 4  # segments of the spool that go with one report

T = TypeVar("T")


class SteadyStore:
    """A ``Store`` around one that may go away."""

    def __init__(
        self,
        connect: Callable[[], Store],
        url: str,
        folder: Path | None,
        *,
        clock: Clock = SYSTEM_CLOCK,
        may_pass: Callable[[StoreUnavailable], bool] = lambda error: True,
        back_stop: float = 5.0,
        limit: int = LIMIT,
        onlooker: bool = False,
        cause: StoreUnavailable | None = None,
    ) -> None:
        """Reach it for the first time; that it is away now is no error.

        connect: opens it, and raises StoreUnavailable where it cannot be reached. url: without secrets.
        folder: for the snapshot and the spool, made when first needed; None: nothing is kept beside the store, and
            while it is away executions and scores are refused, too, so that whoever offers them offers them again.
        cause: why it could not be reached a moment ago, so that it is not asked at once.
        may_pass: whether an error at this first time may be over by itself; what a person must mend is raised.
        onlooker: leave snapshot and spool as they are.
        back_stop: what ``watch`` says where the store itself cannot be asked [s].
        Raises StoreCorrupt, StoreTooNew, StoreUnavailable.
        """
        self.url = url
        self._connect, self._clock, self._back_stop = connect, clock, back_stop
        self._local = folder is not None and not onlooker
        self._snapshot = Snapshot(folder or Path("/nonexistent"))
        self._spool = Spool(self._snapshot.folder / "spool", limit=limit)
        self._lock = RLock()
        self._inner: Store | None = None
        self._hint: Callable[[], None] | None = None
        self._cause: StoreUnavailable | None = None
        self._rest, self._rests_until = 0.0, 0.0
        self._known: dict[FunctionKey, Known] = {}
        self._stale: set[FunctionKey] = set()  # known better than the snapshot
        self._kept: dict[FunctionKey, float] = {}  # when they were kept there last, on the monotonic clock [s]
        self._to_register: dict[FunctionKey, FunctionRecord] = {}
        self._reported: ProcessReport | None = None  # last, but for when
        self._reported_at = 0.0
        self._closed = False
        self.away = 0.0  # since when it cannot be reached, Unix time [s]; 0: it can
        if cause is not None:
            self._went_away(cause)
            return
        try:
            self._store()
        except StoreAway as error:
            if not may_pass(self._cause or error):
                raise

    @property
    def dropped(self) -> int:
        """Executions that had to go, as the spool was full."""
        return self._spool.dropped

    # ------------------------------------------------------------ what goes on without it

    def register(self, record: FunctionRecord) -> Standing:
        """What holds; what was known last, or the declaration, where the store is away.

        A process that starts meanwhile goes on with the live version alone: no canary, no roll-out, no experiment.
        """
        try:
            standing = self._ask(lambda store: store.register(record))
        except StoreAway:
            self._to_register[record.key] = record
            known = self._known.get(record.key) or self._snapshot.function(record.key)
            if known is None:
                declared = rules.declared_version(record, self._clock.wall())
                known = Known(record, Standing(declared, 0), None, self._clock.wall())
            self._known[record.key] = known._replace(record=record)
            return known.standing
        self._learned(record.key, standing, record)
        return standing

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last; where the store is away the one that was known last."""
        try:
            return self._ask(lambda store: store.load_learner(function))
        except StoreAway:
            known = self._known.get(function) or self._snapshot.function(function)
            return None if known is None else known.state

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state; where the store is away, for the next start on this host."""
        try:
            self._ask(lambda store: store.save_learner(function, state))
        except StoreAway:
            self._stated(function, state)
            self._keep(function)
        else:
            self._stated(function, state)

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions; where the store is away they wait. Raises UnknownFunction, ValueError, StoreUnavailable."""
        try:
            self._ask(lambda store: store.append(function, executions))
        except StoreAway:
            if not self._local:
                raise
            record = self._record(function)
            with self._lock:
                for batch in rules.by_writer(executions).values():
                    self._spool.add(record, batch)
        self._counted(function, executions)

    def score(self, function: FunctionKey, feedback: Sequence[Feedback]) -> None:
        """Keep scores; where the store is away they wait. Raises UnknownFunction, ValueError, StoreUnavailable."""
        feedback = [rows.check_feedback(each) for each in feedback]  # what cannot be kept must not wait
        try:
            self._ask(lambda store: store.score(function, feedback))
        except StoreAway:
            if not self._local:
                raise
            record = self._record(function)
            with self._lock:
                self._spool.add_feedback(record, feedback)

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares; where the store is away, for whoever looks on this host."""
        self._tidy()
        told = process._replace(
            away=self.away, spooled=self._spool.waiting, dropped=process.dropped + self._spool.dropped
        )
        now, news = self._clock.now(), told._replace(seen=0.0)
        if self._cause is None and news == self._reported and now - self._reported_at < REPORT_EVERY:
            return
        try:
            self._ask(lambda store: store.report(told))
            self._reported, self._reported_at = news, now
        except StoreAway:
            if self._local:
                self._snapshot.report(told._replace(away=self.away))
        else:
            self._snapshot.withdraw(process.writer)

    def watch(self, hint: Callable[[], None]) -> float:
        """Hints of the store, and one whenever it is back."""
        with self._lock:
            self._hint = hint
        try:
            return self._ask(lambda store: store.watch(hint))
        except StoreAway:
            return self._back_stop

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name; those known last where the store is away."""
        try:
            return self._ask(lambda store: store.functions())
        except StoreAway:
            return [known.record for known in self._snapshot.functions()]

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now; what was known last where the store is away. Raises UnknownFunction.

        What this process was told is known with its canary and what steers it, what it found on the disk without.
        """
        try:
            standing = self._ask(lambda store: store.standing(function))
        except StoreAway:
            known = self._known.get(function) or self._snapshot.function(function)
            if known is None:
                names = tuple(known.record.key.name for known in self._snapshot.functions())
                raise UnknownFunction(function.name, names) from None
            return known.standing
        self._learned(function, standing)
        return standing

    def processes(self) -> list[ProcessReport]:
        """The last report of each process; where the store is away, of those on this host."""
        try:
            return self._ask(lambda store: store.processes())
        except StoreAway:
            return self._snapshot.processes()

    # ------------------------------------------------------------ what only the store can do

    def generation(self) -> int:
        """As the store says. Raises StoreAway."""
        return self._ask(lambda store: store.generation())

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        """As the store says. Raises StoreAway."""
        return self._ask(lambda store: store.changed(since))

    def aliases(self, function: FunctionKey) -> dict[AliasName, Alias]:
        """As the store says. Raises StoreAway, UnknownFunction."""
        return self._ask(lambda store: store.aliases(function))

    def publish(
        self,
        function: FunctionKey,
        draft: ParameterSet,
        *,
        expected: int,
        alias: Literal["live", "canary"] | None = "live",
        beside: Sequence[Document] = (),
    ) -> Standing:
        """As the store does. Raises StoreAway, UnknownFunction, StaleParameters, StaleDocument, ValueError."""
        return self._steered(
            function, lambda store: store.publish(function, draft, expected=expected, alias=alias, beside=beside)
        )

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
        """As the store does. Raises StoreAway, UnknownFunction, UnknownVersion, StaleDocument, ValueError."""
        return self._steered(
            function,
            lambda store: store.rollback(function, to, author=author, reason=reason, beside=beside, pause=pause),
        )

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
        """As the store does. Raises StoreAway, UnknownFunction, UnknownVersion, StaleParameters, and others."""
        return self._steered(
            function,
            lambda store: store.point(
                function, alias, version, expected=expected, author=author, reason=reason, beside=beside
            ),
        )

    def steer(
        self,
        function: FunctionKey,
        *,
        author: str,
        reason: str,
        paused: bool | None = None,
        pinned: Mapping[str, Value] | None = None,
    ) -> Standing:
        """As the store does. Raises StoreAway, UnknownFunction."""
        return self._steered(
            function, lambda store: store.steer(function, author=author, reason=reason, paused=paused, pinned=pinned)
        )

    def documents(
        self, kind: str, function: FunctionKey | None = None, *, name: str | None = None, ended: bool = True
    ) -> list[Document]:
        """As the store says. Raises StoreAway, UnknownFunction."""
        return self._ask(lambda store: store.documents(kind, function, name=name, ended=ended))

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        """As the store does; it does not wait for one that is away. Raises StoreAway, StaleDocument, and others."""
        return self._ask(lambda store: store.keep(document, quiet=quiet))

    def discard(self, documents: Sequence[Document]) -> None:
        """As the store does. Raises StoreAway."""
        self._ask(lambda store: store.discard(documents))

    def bring_in(self, incoming: Sequence[Incoming]) -> list[Standing]:
        """As the store does. Raises StoreAway, StaleParameters."""
        return self._ask(lambda store: store.bring_in(incoming))

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """As the store says. Raises StoreAway, UnknownFunction."""
        return self._ask(lambda store: store.versions(function))

    def history(self, function: FunctionKey) -> list[Change]:
        """As the store says. Raises StoreAway, UnknownFunction."""
        return self._ask(lambda store: store.history(function))

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """As the store says. Raises StoreAway, UnknownFunction; on the way what the store raises."""
        return self._ask(lambda store: store.executions(function, since=since, limit=limit))

    def find(self, function: FunctionKey, ids: Sequence[tuple[str, int]]) -> list[Execution]:
        """As the store says; what has waited for it goes there first. Raises StoreAway, UnknownFunction."""
        if self._spool.waiting:
            self._tidy()
        return self._ask(lambda store: store.find(function, ids))

    def hours(self, function: FunctionKey, *, since: float = 0.0) -> list[Hour]:
        """As the store says. Raises StoreAway, UnknownFunction."""
        return self._ask(lambda store: store.hours(function, since=since))

    def maintain(self, *, executions_before: float, hours_before: float, settled: float) -> Upkeep:
        """As the store does. Raises StoreAway."""
        return self._ask(
            lambda store: store.maintain(
                executions_before=executions_before, hours_before=hours_before, settled=settled
            )
        )

    def exchange(
        self, function: FunctionKey, writer: str, number: int, merge: Callable[[bytes | None], bytes]
    ) -> bytes:
        """As the store does. Raises StoreAway, UnknownFunction."""
        state = self._ask(lambda store: store.exchange(function, writer, number, merge))
        self._stated(function, state)
        return state

    def check(self) -> list[Finding]:
        """What the store finds; that it is away is a finding."""
        waiting = len(self._spool.segments())
        told = f"{waiting} files wait in {self._spool.folder}: a process that trains hands them over"
        spool = Finding(not waiting, "spool", told if waiting else "nothing waits on this host")
        try:
            return [*self._ask(lambda store: store.check()), spool]
        except StoreAway as error:
            return [Finding(False, "reachable", str(error)), spool]

    def close(self) -> None:
        """Hand over what can be handed over now, and release all. Closing twice does no harm."""
        with self._lock:
            if self._closed:
                return
            with suppress(StoreUnavailable):
                self._tidy(all_of_it=True)
            self._closed = True
            self._spool.close()
            inner, self._inner = self._inner, None
        if inner is not None:
            inner.close()

    # ------------------------------------------------------------ reaching it

    def _ask(self, question: Callable[[Store], T]) -> T:
        """The store's answer. Raises StoreAway where it cannot be reached, now or a moment ago."""
        store = self._store()
        try:
            answer = question(store)
        except (StoreCorrupt, StoreTooNew):
            raise
        except StoreUnavailable as error:
            raise self._went_away(error) from error
        except Exception:
            self._is_back()  # it has answered
            raise
        self._is_back()
        return answer

    def _store(self) -> Store:
        """The store, reached. Raises StoreAway, StoreUnavailable where it was closed."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable(self.url, "the store was closed", "make a new one")
            if self._cause is not None and self._clock.now() < self._rests_until:
                raise StoreAway(*self._cause.args)
            try:
                if self._inner is None:
                    self._inner = self._connect()
                    if self._hint is not None:
                        self._inner.watch(self._hint)
                for key, record in list(self._to_register.items()):
                    self._learned(key, self._inner.register(record), record)
                    del self._to_register[key]
            except (StoreCorrupt, StoreTooNew):
                raise
            except StoreUnavailable as error:
                raise self._went_away(error) from error
            return self._inner

    def _went_away(self, error: StoreUnavailable) -> StoreAway:
        with self._lock:
            if self._cause is None:
                self.away, self._rest = self._clock.wall(), 0.0
                for key in list(self._stale):  # whoever starts meanwhile begins there
                    self._keep(key)
            self._rest = min(max(2 * self._rest, FIRST_REST), LONGEST_REST)
            self._rests_until = self._clock.now() + self._rest
            self._cause = error
        return StoreAway(*error.args)

    def _is_back(self) -> None:
        """It has answered. Whoever watches had better look what has happened meanwhile."""
        if self._cause is None:
            return
        with self._lock:
            self.away, self._cause, self._rest = 0.0, None, 0.0
        if self._hint is not None:
            self._hint()

    def _tidy(self, *, all_of_it: bool = False) -> None:
        """Hand over some of what has waited, and bring the snapshot up to date."""
        if not self._local:
            return
        now = self._clock.now()
        with self._lock:
            if self._cause is None:
                with suppress(StoreAway):
                    self._spool.hand_over(self._take, most=1 << 30 if all_of_it else _HANDED_OVER)
            for key in [
                key for key in self._stale if all_of_it or now - self._kept.get(key, -KEEP_EVERY) >= KEEP_EVERY
            ]:
                self._keep(key)

    def _take(self, entry: Entry) -> None:
        def hand_over(store: Store) -> None:
            if entry.executions:
                store.append(entry.record.key, entry.executions)
            if entry.feedback:
                store.score(entry.record.key, entry.feedback)

        try:
            self._ask(hand_over)
        except UnknownFunction:  # the process that let it wait never got to register it
            self._ask(lambda store: store.register(entry.record))
            self._ask(hand_over)

    # ------------------------------------------------------------ knowing what was

    def _steered(self, function: FunctionKey, step: Callable[[Store], Standing]) -> Standing:
        standing = self._ask(step)
        self._learned(function, standing)
        return standing

    def _record(self, function: FunctionKey) -> FunctionRecord:
        known = self._known.get(function) or self._snapshot.function(function)
        if known is None:
            raise UnknownFunction(function.name, tuple(sorted(key.name for key in self._known)))
        return known.record

    def _learned(self, function: FunctionKey, standing: Standing, record: FunctionRecord | None = None) -> None:
        """What holds for a function: the snapshot has it at once where that is news."""
        with self._lock:
            known = self._known.get(function)
            if known is None and record is None:
                return  # some onlooker's question: there is nothing to go on with
            if known is None or record is not None:
                assert record is not None
                before = known or self._snapshot.function(function)
                if before is not None:
                    old = before.record
                    record = record._replace(
                        calls=old.calls, failures=old.failures, seconds=old.seconds, last_call=old.last_call
                    )
                known = Known(record, standing, None if before is None else before.state, 0.0)
                news = True
            else:
                news = known.standing.generation != standing.generation
                known = known._replace(standing=standing)
            self._known[function] = known
            if news:
                self._keep(function)

    def _counted(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """What this host has counted, for whoever looks while the store is away."""
        with self._lock:
            known = self._known.get(function)
            if known is not None and executions:
                self._known[function] = known._replace(record=rules.counted(known.record, executions))
                self._stale.add(function)

    def _stated(self, function: FunctionKey, state: bytes) -> None:
        with self._lock:
            known = self._known.get(function)
            if known is not None:
                self._known[function] = known._replace(state=state)
                self._stale.add(function)

    def _keep(self, function: FunctionKey) -> None:
        """A disk that is full or read-only costs the snapshot, and nothing else."""
        known = self._known.get(function)
        if known is None or not self._local:
            return
        pins = MappingProxyType(dict(known.standing.pinned))
        self._stale.discard(function)
        self._kept[function] = self._clock.now()
        with suppress(StoreUnavailable):
            self._snapshot.keep(known._replace(at=self._clock.wall(), standing=known.standing._replace(pinned=pins)))
