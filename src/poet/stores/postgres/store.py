"""A store in a PostgreSQL database, for any number of processes on any number of hosts.

What a person or a learner decided is on the server's disk before the call returns, and on those of the standbys that it
waits for; of executions, and of what learners exchange, a crash of the server may cost the last moments. Executions lie
in chunks of up to 1000 of one function; see ``chunk`` for what that rounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Literal, TypeVar
from uuid import uuid4

from poet.errors import (
    ConfigurationError,
    StaleParameters,
    StoreCorrupt,
    StoreTooNew,
    StoreUnavailable,
    UnknownFunction,
)
from poet.model.aggregate import Hour
from poet.model.document import Document
from poet.model.execution import Execution, Feedback
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import SYSTEM_CLOCK, Clock, Finding, FunctionRecord, Incoming, ProcessReport, Upkeep
from poet.stores import chunk, reading, rules
from poet.stores.postgres import checks, history, schema, standing
from poet.stores.postgres import documents as shelf
from poet.stores.postgres.address import Address
from poet.stores.postgres.history import Bounds, Home
from poet.stores.postgres.link import Link, Row, Transaction
from poet.stores.postgres.listening import Listener
from poet.stores.postgres.standing import Asker
from poet.stores.postgres.texts import heard, said
from poet.stores.reading import Piece
from poet.stores.rows import RECORD_COLUMNS, Damage, Kept, check_feedback, record_of

PATIENCE = 10.0  # longest wait for a lock, or for an answer of the server [s]
POLL = 5.0  # how often to ask whether anything has changed, though hints come, too [s]
_REMEMBERED = 4096  # functions whose numbers, live versions and canaries are kept, as none changes
_TRIM = 64  # reports after which a process looks whether too many are kept
_PROCESS = "writer, host, pid, started, seen, dropped, faults, last_fault, away, spooled"
_COUNTED = (
    "SELECT coalesce(sum(c.calls), 0)::bigint, coalesce(sum(c.failures), 0)::bigint,"
    " coalesce(sum(c.seconds ORDER BY c.shard), 0), coalesce(max(c.last_call), 0),"
    f" {', '.join('f.' + column.strip() for column in RECORD_COLUMNS.split(','))}"
    " FROM poet.function f LEFT JOIN poet.counter c ON c.function = f.id WHERE f.tenant = %s GROUP BY f.id"
)

T = TypeVar("T")


class PostgresStore:
    """A ``Store`` in the database at ``dsn``. Any number of threads, processes and hosts may use it at once."""

    away = 0.0  # it does not remember: ``stores.steady`` does

    def __init__(
        self,
        dsn: str,
        *,
        tenant: str = "",
        readonly: bool = False,
        clock: Clock = SYSTEM_CLOCK,
        patience: float = PATIENCE,
        poll: float = POLL,
    ) -> None:
        """Connect; lay the database out where it is empty and this role may.

        dsn: a URL or the words of libpq; several hosts for a primary and its standbys.
        tenant: whose functions; what others keep in the same database is neither seen nor changed.
        readonly: for onlookers: nothing is made, every change is refused, a standby will do.
        patience: longest wait for a lock, or for an answer of the server, > 0 [s].
        poll: how often to ask whether anything has changed, though hints come, too, > 0 [s].
        Raises ConfigurationError, StoreUnavailable, StoreCorrupt, StoreTooNew.
        """
        for name, seconds in (("patience", patience), ("poll", poll)):
            if not 0 < seconds < 86_400:
                raise ConfigurationError(f"{name} must be in (0, 86400) seconds, got {seconds!r}")
        self._address = Address.of(dsn)
        self._tenant, self._clock, self._poll = tenant, clock, poll
        self._channel = "poet" + (f"_{hashlib.sha256(said(tenant).encode()).hexdigest()[:16]}" if tenant else "")
        self._link = Link(self._address, tenant=said(tenant), readonly=readonly, patience=patience)
        self._listener: Listener | None = None
        self._homes: dict[tuple[int, FunctionKey], int] = {}  # numbers of functions, by opening
        # live versions and canaries, by opening and function
        self._parsed: dict[tuple[int, int], tuple[ParameterSet, ParameterSet | None]] = {}
        self._reports = 0
        try:
            self._link.once("SELECT 1")
        except BaseException:
            self._link.close()
            raise

    @property
    def url(self) -> str:
        """Where it is, as a user would configure it, without a password."""
        return self._address.url

    def register(self, record: FunctionRecord) -> Standing:
        """Make the function known, with ``record.declared`` as version 1 where it has none; else what holds."""
        kept = self._link.once(*standing.told_question(self._tenant, record.key))
        if kept and kept[0][1:] == standing.spoken(record):  # most often nothing has changed
            return self.standing(record.key)

        def work(tx: Transaction, asker: Asker) -> Standing:
            found = standing.locked(tx, asker, record.key) or standing.begin(tx, asker, record, self._clock.wall())
            if found is None:  # another has just begun it
                found = standing.kept(tx, asker, record.key)
            tx.ask(
                "UPDATE poet.function SET domain = %s, learner = %s, declared = %s, objective = %s, space = %s,"
                " choices = %s, goals = %s WHERE id = %s",
                (*standing.spoken(record), found.id),
            )
            return found.standing

        return self._changing(work)

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""
        rows = self._link.once(_COUNTED, (said(self._tenant),))
        with self._damage_told():
            records = [record_of(_heard(row[4:]), row[:4]) for row in rows]
        return sorted(records, key=lambda record: (record.key.name, record.key))

    def generation(self) -> int:
        """A number that grows whenever any function's standing changes, by whichever process; one round trip.

        Raises StoreTooNew where a newer release has shut this one out meanwhile.
        """
        ((version, compatible, number),) = self._link.once(
            "SELECT version, compatible, (SELECT number FROM poet.generation WHERE tenant = %s) FROM poet.store",
            (said(self._tenant),),
        )
        schema.check_compatible(self._address, version, compatible)
        return int(number or 0)

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        """The generation now, and the functions whose standing has changed after it was ``since``; one round trip.

        Raises StoreTooNew where a newer release has shut this one out meanwhile.
        """
        rows = self._link.once(
            "SELECT s.version, s.compatible, g.number, f.module, f.qualname, f.fingerprint FROM poet.store s"
            " LEFT JOIN poet.generation g ON g.tenant = %s"
            " LEFT JOIN poet.function f ON f.tenant = %s AND f.changed > %s",
            (said(self._tenant), said(self._tenant), since),
        )
        version, compatible, number, *_ = rows[0]
        schema.check_compatible(self._address, version, compatible)
        return int(number or 0), sorted(FunctionKey(*map(heard, row[3:])) for row in rows if row[3] is not None)

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now; one round trip, or two where a version has just become the canary. Raises UnknownFunction.

        It always asks the database; but a version never changes, so it is not sent again while it stays what it is.
        """
        number = self._homes.get((self._link.openings, function), 0)
        live, canary = self._parsed.get((self._link.openings, number), (None, None))
        rows = self._link.once(*standing.standing_question(self._tenant, function, 0 if live is None else live.version))
        if not rows:
            raise self._unknown(function)
        identity = rows[0][0]
        if live is not None and identity != number:  # the database was another one a moment ago
            self._parsed.clear()
            return self.standing(function)
        with self._damage_told():
            now = standing.standing_from(
                rows[0],
                function,
                live,
                lambda home, wanted: (
                    canary if canary is not None and canary.version == wanted else self._version(home, wanted)
                ),
            )
        if now.live is not live or now.canary is not canary:
            if len(self._parsed) >= _REMEMBERED:
                self._parsed.clear()
            self._remember(function, identity)
            self._parsed[self._link.openings, identity] = now.live, now.canary
        return now

    def _version(self, home: int, number: int) -> ParameterSet:
        """One version, which never changes. Raises Damage."""
        rows = self._link.once(*standing.version_question(home, number))
        if not rows:
            raise Damage(f"version {number} of a function is missing")
        return standing.parsed(rows[0])

    def aliases(self, function: FunctionKey) -> dict[AliasName, Alias]:
        """Where each name stands. Raises UnknownFunction."""
        return standing.aliases_of(self._link.once(*standing.aliases_question(self._number(function))))

    def publish(
        self,
        function: FunctionKey,
        draft: ParameterSet,
        *,
        expected: int,
        alias: Literal["live", "canary"] | None = "live",
        beside: Sequence[Document] = (),
    ) -> Standing:
        """Keep ``draft`` as the next version and make it live, or the canary, or neither.

        Raises UnknownFunction, StaleParameters, StaleDocument, and ValueError for another alias or documents that
        cannot be kept.
        """
        rules.check_publishable(alias)

        def work(tx: Transaction, asker: Asker, found: Kept) -> Kept:
            self._expect(found, expected)
            newest = standing.newest(tx, found)
            written = self._beside(tx, asker, found, beside, newest + 1)
            new = rules.next_version(draft, found.live, newest, self._clock.wall())
            entry = rules.change(self._clock.wall(), rules.published_as(alias), new.version, draft.author, draft.reason)
            places = rules.after_publish(found.places, new.version, alias)
            return standing.change(tx, asker, found, places, [entry], new=new, beside=written)

        return self._change(function, work)

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
        """Make an older version live and pause learning. Raises UnknownFunction, UnknownVersion, StaleDocument.

        Pins stay where the older version agrees with them; the others are lifted, as they would forbid what is asked.
        """

        def work(tx: Transaction, asker: Asker, found: Kept) -> Kept:
            target = standing.version(tx, found, found.live.parent if to is None else to)
            written = self._beside(tx, asker, found, beside, target.version)
            pins = rules.lasting_pins(found.standing.pinned, target)
            paused = found.standing.paused
            if pause:
                paused = rules.pause_text(reason, author, f"rolled back to version {target.version}")
            places = rules.after_rollback(found.places, target.version, pinned=bool(pins))
            entry = rules.change(self._clock.wall(), "rollback", target.version, author, reason)
            steering = found.standing._replace(paused=paused, pinned=pins)
            return standing.change(tx, asker, found, places, [entry], live=target, steering=steering, beside=written)

        return self._change(function, work)

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
        """Move a name. Raises UnknownFunction, UnknownVersion, StaleParameters, StaleDocument, ValueError."""

        def work(tx: Transaction, asker: Asker, found: Kept) -> Kept:
            self._expect(found, expected)
            places = rules.after_point(found.places, alias, version)
            target = None if version is None else standing.version(tx, found, version)
            if places == found.places and not beside:
                return found
            about = found.places.get(alias, 0) if target is None else target.version
            written = self._beside(tx, asker, found, beside, about)
            entry = rules.change(self._clock.wall(), rules.action_of(alias, version), about, author, reason)
            return standing.change(tx, asker, found, places, [entry], live=target, beside=written)

        return self._change(function, work)

    def steer(
        self,
        function: FunctionKey,
        *,
        author: str,
        reason: str,
        paused: bool | None = None,
        pinned: Mapping[str, Value] | None = None,
    ) -> Standing:
        """Pause or resume learning, pin values or lift all pins. Raises UnknownFunction."""
        if paused is None and pinned is None:
            return self.standing(function)

        def work(tx: Transaction, asker: Asker, found: Kept) -> Kept:
            now, places, new = self._clock.wall(), found.places, None
            why, pins = found.standing.paused, found.standing.pinned
            entries: list[Change] = []
            if pinned:
                draft = rules.pinned_draft(found.live, pinned, author, reason)
                new = standing.next_version(tx, found, draft, self._clock.wall())
                places = rules.after_publish(places, new.version, "live", pinned=True)
                pins = {**pins, **pinned}
                entries.append(rules.change(now, "pin", new.version, author, reason))
            elif pinned is not None:
                places, pins = rules.after_unpin(places), {}
                entries.append(rules.change(now, "unpin", places["live"], author, reason))
            if paused is not None:
                why = rules.pause_text(reason, author, "paused") if paused else ""
                entries.append(rules.change(now, "pause" if paused else "resume", places["live"], author, reason))
            steering = found.standing._replace(paused=why, pinned=pins)
            return standing.change(tx, asker, found, places, entries, new=new, steering=steering)

        return self._change(function, work)

    def documents(
        self, kind: str, function: FunctionKey | None = None, *, name: str | None = None, ended: bool = True
    ) -> list[Document]:
        """Those of a kind, by function and name; of one function only, of one name only. Raises UnknownFunction."""
        number = None if function is None else self._number(function)
        return shelf.found(self._link.once(*shelf.question(self._tenant, kind, number, name, ended=ended)))

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        """Keep it in place of its revision. Raises StaleDocument, UnknownFunction, ValueError.

        What is kept quietly may be lost with the last moments before a crash of the server.
        """
        rules.check_document(document)
        function = document.function
        if not quiet:
            return self._changing(lambda tx, asker: standing.keep(tx, asker, function, document, self._clock.wall))
        number = shelf.NO_FUNCTION if function is None else self._number(function)
        token = uuid4()

        def work(tx: Transaction) -> Document:
            (written,), _ = shelf.write(tx, self._tenant, token, number, [document], self._clock.wall)
            return written

        return self._link.writing(work)

    def discard(self, documents: Sequence[Document]) -> None:
        """Delete these. Those that are not there are passed over."""
        statements = []
        for each in sorted(documents, key=lambda each: (each.kind, *rules.place_of(each))):
            with suppress(UnknownFunction):
                number = shelf.NO_FUNCTION if each.function is None else self._number(each.function)
                statements.append(shelf.discarded(self._tenant, number, each))
        if statements:
            self._link.writing(lambda tx: tx.finish(statements))

    def _beside(
        self, tx: Transaction, asker: Asker, found: Kept, beside: Sequence[Document], version: int
    ) -> list[Document]:
        wanted = rules.beside(beside, found.key, version)
        return shelf.write(tx, asker.tenant, asker.token, found.id, wanted, self._clock.wall)[0]

    def bring_in(self, incoming: Sequence[Incoming]) -> list[Standing]:
        """Take in what was learned elsewhere, all of it or nothing. Raises StaleParameters."""

        def work(tx: Transaction, asker: Asker) -> list[Standing]:
            # all of them first, in one order, so that two who bring in the same never wait for each other in a circle
            order = sorted({each.record.key for each in incoming})
            found = {key: standing.locked(tx, asker, key) for key in order}
            if any(kept is not None and standing.is_done(tx, asker, kept) for kept in found.values()):
                return [kept.standing for each in incoming if (kept := found[each.record.key]) is not None]
            for each in incoming:
                kept = found[each.record.key]
                generation = 0 if kept is None else kept.standing.generation
                if generation != each.expected:
                    raise StaleParameters(each.record.key.name, each.expected, generation)
            standings = []
            for each in incoming:
                after = self._brought_in(tx, asker, each, found[each.record.key])
                found[each.record.key] = after
                standings.append(after.standing)
            return standings

        return self._changing(work)

    def _brought_in(self, tx: Transaction, asker: Asker, each: Incoming, found: Kept | None) -> Kept:
        if found is None:
            found = standing.begin(tx, asker, each.record, self._clock.wall())
            if found is None:
                raise StaleParameters(each.record.key.name, each.expected, 1)
        if each.state is not None:
            _save_learner(tx, Home(found.id, self._tenant), each.state)
        if each.draft is None:
            return found
        new = standing.next_version(tx, found, each.draft, self._clock.wall())
        entry = rules.change(self._clock.wall(), "import", new.version, each.draft.author, each.draft.reason)
        places = rules.after_publish(found.places, new.version, "live")
        return standing.change(tx, asker, found, places, [entry], new=new, last=False)

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """All versions, oldest first. Raises UnknownFunction."""
        rows = self._link.once(*standing.versions_question(self._number(function)))
        with self._damage_told():
            return [standing.parsed(row) for row in rows]

    def history(self, function: FunctionKey) -> list[Change]:
        """All changes, oldest first. Raises UnknownFunction."""
        rows = self._link.once(
            "SELECT at, action, version, author, reason FROM poet.change WHERE function = %s ORDER BY id",
            (self._number(function),),
        )
        return [standing.change_of(row) for row in rows]

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions; those whose writer and sequence are kept already are passed over.

        So an append may be repeated after a failure that left open whether it was kept.
        Raises UnknownFunction, and ValueError where a duration is negative or not finite, a score is not finite, or a
        feature, value or goal cannot be kept (``features.check_execution``).
        """
        batches = rules.by_writer(executions)
        home = self._home(function)
        if not batches:
            return
        self._link.writing(lambda tx: history.append(tx, home, batches, self._decoded))

    def score(self, function: FunctionKey, feedback: Sequence[Feedback]) -> None:
        """Keep what was said of executions. Raises UnknownFunction, and ValueError where it is not finite."""
        told = [check_feedback(each) for each in feedback]
        home = self._home(function)
        self._link.writing(lambda tx: history.score(tx, home, told))

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions, oldest first; the newest ``limit`` of those started at or after ``since`` [Unix s].

        They are those of the moment of asking; memory holds a few chunks at a time, or ``limit`` executions.
        Raises UnknownFunction here, and on the way StoreCorrupt where a chunk is damaged, StoreTooNew where a newer
        POET has begun to write chunks that this one cannot read.
        """
        number = self._number(function)
        found, *told = self._link.snapshot(
            lambda tx: tx.ask_all([history.pieces_question(number, since), *history.scores_questions(number)])
        )
        scores = history.scores_of(*told)

        def fetch(piece: Piece) -> list[Execution]:
            body, writer = piece.body, piece.writer
            if body is None:
                rows = self._link.once(*history.body_question(number, piece))
                if not rows:
                    return []
                body, writer = rows[0][0], heard(rows[0][1])
            executions = self._decoded(body, writer)
            return reading.with_scores([row for row in executions if row.started >= since], scores)

        pieces = history.pieces_of(found)
        return reading.oldest_first(pieces, fetch) if limit is None else reading.newest(pieces, limit, fetch)

    def find(self, function: FunctionKey, ids: Sequence[tuple[str, int]]) -> list[Execution]:
        """Those of these executions that are stored, with their scores so far. Raises UnknownFunction, StoreCorrupt."""
        home, wanted = self._home(function), rules.asked(ids)

        def question(tx: Transaction) -> list[Execution]:
            found = [
                row
                for writer, sequences in wanted.items()
                for row in history.find(tx, home, writer, sequences, self._decoded)
            ]
            told = tx.ask_all(history.scores_questions(home.id, [(row.writer, row.sequence) for row in found]))
            return reading.with_scores(found, history.scores_of(*told))

        return reading.in_order(self._link.snapshot(question), ids) if wanted else []

    def hours(self, function: FunctionKey, *, since: float = 0.0) -> list[Hour]:
        """What was counted hour by hour and by version, oldest first. Raises UnknownFunction, StoreCorrupt."""
        rows = self._link.once(*history.hours_question(self._number(function), since))
        with self._damage_told():
            return history.hours_of(rows)

    def maintain(self, *, executions_before: float, hours_before: float, settled: float) -> Upkeep:
        """Delete what is older, put small chunks together, write scores to their executions.

        In many small transactions, so that others need not wait for long; what another does already is left to it.
        """
        bounds = Bounds(executions_before, hours_before, settled)
        total = Upkeep()
        for (number,) in self._link.once(*history.work_question(self._tenant, bounds)):
            home = Home(number, self._tenant)
            more = True
            while more:
                done, more = self._link.writing(lambda tx, home=home: self._upkeep(tx, home, bounds))  # type: ignore[misc]
                total = Upkeep(*map(sum, zip(total, done, strict=True)))
        contributions = "DELETE FROM poet.contribution WHERE tenant = %s AND at < %s"
        self._link.writing(
            lambda tx: tx.finish(
                [(contributions, (said(self._tenant), hours_before)), shelf.expired(self._tenant, hours_before)]
            )
        )
        return total

    def _upkeep(self, tx: Transaction, home: Home, bounds: Bounds) -> tuple[Upkeep, bool]:
        """One small step for one function: what was done, and whether there is more."""
        if not history.begin_upkeep(tx, home):
            return Upkeep(), False
        expired = history.expire(tx, home, bounds.executions_before, self._decoded)
        if expired:
            return Upkeep(expired=expired), True
        gone = history.expire_hours(tx, home, bounds)
        written, looked_at = history.settle_scores(tx, home, bounds, self._decoded)
        if written and looked_at == history.SCORES:
            return Upkeep(hours=gone, scored=written), True
        merged = history.put_together(tx, home, bounds.settled, self._decoded)
        return Upkeep(hours=gone, scored=written, merged=merged), merged >= history.BATCH

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before. Raises UnknownFunction."""
        home = self._home(function)
        self._link.writing(lambda tx: _save_learner(tx, home, state))

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""
        rows = self._link.once(
            "SELECT state FROM poet.learner WHERE function ="
            " (SELECT id FROM poet.function WHERE tenant = %s AND module = %s AND qualname = %s AND fingerprint = %s)",
            standing.place(self._tenant, function),
        )
        return rows[0][0] if rows else None

    def exchange(
        self, function: FunctionKey, writer: str, number: int, merge: Callable[[bytes | None], bytes]
    ) -> bytes:
        """Merge a contribution into the kept state, unless it was taken in already. Raises UnknownFunction.

        Where the connection is lost after ``merge`` was called, and nothing was kept, it raises StoreUnavailable.
        """
        home = self._home(function)
        name = said(writer)
        called = False

        def work(tx: Transaction) -> bytes:
            nonlocal called
            # The second question is asked when the row is ours: so it finds what one that was lost has committed.
            questions = [
                ("SELECT state FROM poet.learner WHERE function = %s FOR NO KEY UPDATE", (home.id,)),
                ("SELECT number FROM poet.contribution WHERE function = %s AND writer = %s", (home.id, name)),
            ]
            states, numbers = tx.ask_all(questions)
            if not states:
                tx.ask(
                    "INSERT INTO poet.learner (function, tenant) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                    (home.id, said(self._tenant)),
                )
                states, numbers = tx.ask_all(questions)
            ((state,),) = states
            if state is not None and numbers and numbers[0][0] >= number:
                return bytes(state)
            if called:
                raise StoreUnavailable(self.url, "the connection was lost before the exchange was kept", "repeat it")
            called = True
            merged = bytes(merge(state))
            tx.finish(
                [
                    ("UPDATE poet.learner SET state = %s WHERE function = %s", (merged, home.id)),
                    (
                        "INSERT INTO poet.contribution (function, number, at, tenant, writer)"
                        " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (function, writer)"
                        " DO UPDATE SET number = excluded.number, at = excluded.at",
                        (home.id, number, self._clock.wall(), said(self._tenant), name),
                    ),
                ]
            )
            return merged

        return self._link.writing(work)

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares, in place of its report before."""
        words = [said(fact) if isinstance(fact, str) else fact for fact in process]
        names = _PROCESS.split(", ")
        self._reports += 1
        trim = self._reports % _TRIM == 1

        def work(tx: Transaction) -> None:
            tx.ask(
                f"INSERT INTO poet.process (tenant, {_PROCESS}) VALUES (%s{', %s' * len(names)})"
                " ON CONFLICT (tenant, writer) DO UPDATE SET "
                + ", ".join(f"{name} = excluded.{name}" for name in names[1:]),
                (said(self._tenant), *words),
            )
            if trim:
                tx.ask(
                    "DELETE FROM poet.process WHERE tenant = %s AND writer IN (SELECT writer FROM poet.process"
                    ' WHERE tenant = %s ORDER BY seen DESC, writer COLLATE "C" OFFSET %s FOR UPDATE SKIP LOCKED)',
                    (said(self._tenant), said(self._tenant), rules.REPORTS),
                )

        self._link.writing(work)

    def processes(self) -> list[ProcessReport]:
        """The last report of each process, newest first."""
        rows = self._link.once(
            f'SELECT {_PROCESS} FROM poet.process WHERE tenant = %s ORDER BY seen DESC, writer COLLATE "C" LIMIT %s',
            (said(self._tenant), rules.REPORTS),
        )
        return [ProcessReport(*_heard(row)) for row in rows]

    def watch(self, hint: Callable[[], None]) -> float:
        """Call ``hint`` soon after another has changed a standing; where a hint got lost, ``poll`` seconds find it."""
        if self._listener is None:
            self._listener = Listener(self._link, self._channel)
        self._listener.start(hint)
        return self._poll

    def check(self) -> list[Finding]:
        """Look for damage and broken rules in the database and around it; changes nothing. Reads all of it."""
        return checks.findings(self._link, self._tenant)

    def close(self) -> None:
        """Release the connections. Closing twice does no harm."""
        if self._listener is not None:
            self._listener.stop()
            self._listener = None
        self._link.close()

    def _changing(self, work: Callable[[Transaction, Asker], T]) -> T:
        """Run ``work`` for one request to change what holds."""
        asker = Asker(self._tenant, self._channel, uuid4())
        return self._link.writing(lambda tx: work(tx, asker), durable=True)

    def _change(self, function: FunctionKey, work: Callable[[Transaction, Asker, Kept], Kept]) -> Standing:
        """Change one function's standing, once. Raises UnknownFunction."""

        def once(tx: Transaction, asker: Asker) -> Standing:
            found = standing.kept(tx, asker, function)
            if standing.is_done(tx, asker, found):
                return found.standing
            return work(tx, asker, found).standing

        return self._changing(once)

    @staticmethod
    def _expect(found: Kept, generation: int) -> None:
        if found.standing.generation != generation:
            raise StaleParameters(found.key.name, generation, found.standing.generation)

    def _number(self, function: FunctionKey) -> int:
        """The function's number in this database. Raises UnknownFunction."""
        self._link.ensure()
        known = self._homes.get((self._link.openings, function))
        if known is not None:
            return known
        rows = self._link.once(*standing.id_question(self._tenant, function))
        if not rows:
            raise self._unknown(function)
        ((number,),) = rows
        self._remember(function, number)
        return int(number)

    def _remember(self, function: FunctionKey, number: int) -> None:
        if len(self._homes) >= _REMEMBERED:
            self._homes.clear()
        self._homes[self._link.openings, function] = number

    def _home(self, function: FunctionKey) -> Home:
        return Home(self._number(function), self._tenant)

    def _unknown(self, function: FunctionKey) -> UnknownFunction:
        return standing.unknown(function, self._link.once(*standing.names_question(self._tenant)))

    def _decoded(self, body: bytes, writer: str) -> list[Execution]:
        try:
            return chunk.decode(body, writer)
        except chunk.NewerChunk as error:
            raise StoreTooNew(
                self.url, f"executions of {writer}: {error}", "upgrade this one; nothing was changed in the database"
            ) from error
        except (ValueError, TypeError) as error:
            raise StoreCorrupt(
                self.url, f"executions of {writer} are damaged: {error}", "`poet doctor` lists all damage"
            ) from error

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """Puts what is damaged into an error of ours."""
        try:
            yield
        except Damage as error:
            raise StoreCorrupt(self.url, str(error), "`poet doctor` lists all damage") from error


def _heard(row: Row) -> Row:
    return tuple([heard(fact) if isinstance(fact, str) else fact for fact in row])


def _save_learner(tx: Transaction, home: Home, state: bytes) -> None:
    tx.ask(
        "INSERT INTO poet.learner (function, tenant, state) VALUES (%s, %s, %s)"
        " ON CONFLICT (function) DO UPDATE SET state = excluded.state",
        (home.id, said(home.tenant), bytes(state)),
    )
