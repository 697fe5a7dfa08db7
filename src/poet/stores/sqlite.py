"""A store in one SQLite file, for all processes of one machine.

What a person or a learner decided is on the disk before the call returns; of executions, a power cut may cost the last
moments. Executions lie in chunks of up to 1000 of one function; see ``chunk`` for what that rounds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from poet.errors import StaleParameters, StoreCorrupt, StoreTooNew
from poet.model.aggregate import Hour
from poet.model.document import Document
from poet.model.execution import Execution, Feedback
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import SYSTEM_CLOCK, Clock, Finding, FunctionRecord, Incoming, ProcessReport, Upkeep
from poet.stores import chunk, reading, rules
from poet.stores import sqlite_documents as shelf
from poet.stores import sqlite_history as history
from poet.stores import sqlite_standing as standing
from poet.stores.connection import PATIENCE, Database
from poet.stores.reading import Piece
from poet.stores.rows import RECORD_COLUMNS, Damage, Kept, check_feedback, record_of, text, told

_STANDING = (
    "SELECT function.id, function.generation, paused, pinned, steering, live.version, canary.version FROM function"
    " LEFT JOIN alias live ON live.function = function.id AND live.name = 'live'"
    " LEFT JOIN alias canary ON canary.function = function.id AND canary.name = 'canary'"
    " WHERE module = ? AND qualname = ? AND fingerprint = ?"
)


_REMEMBERED = 4096  # functions whose live versions and canaries are kept parsed, as these never change
Parsed = dict[int, tuple[ParameterSet, ParameterSet | None]]  # live and canary, by function


class SqliteStore:
    """A ``Store`` in the file ``path``. Any number of threads and processes may use it at once."""

    away = 0.0  # a file is there, or what asks for it fails

    def __init__(
        self, path: Path, *, readonly: bool = False, clock: Clock = SYSTEM_CLOCK, patience: float = PATIENCE
    ) -> None:
        """Open the file; make it, and its folder, where there is none.

        readonly: for onlookers: nothing is made, every change is refused.
        patience: longest wait for another writer, > 0 [s].
        Raises StoreUnavailable, StoreCorrupt, StoreTooNew; the file is untouched then.
        """
        self.path = path.absolute()
        self._clock = clock
        self._file = Database(self.path, readonly=readonly, patience=patience)
        self._parsed: Parsed = {}  # what was committed
        self._parsed_from = 0  # opening of the file that they were read in

    @property
    def url(self) -> str:
        """Where it is, as a user would configure it."""
        return f"sqlite:///{self.path}"

    def register(self, record: FunctionRecord) -> Standing:
        """Make the function known, with ``record.declared`` as version 1 where it has none; else what holds."""
        said = told(record)
        with self._file.snapshot() as file:  # most often nothing has changed, and nobody needs to wait for a write
            number = standing.number_of(file, record.key)
            if number is not None and said == _told(file, number):
                found = standing.kept(file, record.key)
                return _remembered(self._versions(), found.id, found.standing)
        with self._file.writing(durable=True) as file:
            versions = self._versions()
            number = standing.number_of(file, record.key)
            if number is None:
                found = standing.begin(file, record, self._clock.wall())
            else:
                file.execute(
                    "UPDATE function SET domain = ?, learner = ?, declared = ?, objective = ?, space = ?, choices = ?,"
                    " goals = ? WHERE id = ?",
                    (*said, number),
                )
                found = standing.kept(file, record.key)
        return _remembered(versions, found.id, found.standing)

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""
        with self._file.reading() as file:
            rows = file.execute(
                f"SELECT calls, failures, seconds, last_call, {RECORD_COLUMNS}"  # noqa: S608 - no word of a user's
                " FROM function JOIN counter ON counter.function = function.id"
            ).fetchall()
            records = [record_of(tuple(row[4:]), row[:4]) for row in rows]
        return sorted(records, key=lambda record: (record.key.name, record.key))

    def generation(self) -> int:
        """A number that grows whenever any function's standing changes, by whichever process; some microseconds."""
        with self._file.reading() as file:
            return int(file.execute("SELECT generation FROM store WHERE id = 1").fetchone()[0])

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        """The generation now, and the functions whose standing has changed after it was ``since``."""
        with self._file.snapshot() as file:
            (generation,) = file.execute("SELECT generation FROM store WHERE id = 1").fetchone()
            rows = file.execute("SELECT module, qualname, fingerprint FROM function WHERE changed > ?", (since,))
            return int(generation), sorted(FunctionKey(*row) for row in rows)

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now. Raises UnknownFunction.

        It always asks the file; but a version never changes, so it is not parsed again while it stays the live one.
        """
        with self._file.reading() as file:
            now, steered = self._standing(file, function)
        if not steered:
            return now
        with self._file.snapshot() as file:  # what steers it and the versions that it speaks of, of one moment
            now, steered = self._standing(file, function)
            if steered:
                now = now._replace(steering=shelf.steering(file, standing.known(file, function), function))
        return now

    def _standing(self, file: sqlite3.Connection, function: FunctionKey) -> tuple[Standing, int]:
        """What holds but for documents, and how many steer it."""
        row = file.execute(_STANDING, function).fetchone()
        if row is None:
            raise standing.unknown(file, function)
        number, generation, paused, pinned, steered, live, tried = row
        if live is None:
            raise Damage("a function has no live version")
        versions = self._versions()
        version, canary = versions.get(number, (None, None))
        if version is None or version.version != live:
            version = standing.version(file, number, live)
        if tried is None:
            canary = None
        elif canary is None or canary.version != tried:
            canary = standing.version(file, number, tried)
        now = standing.standing_of(version, generation, paused, pinned, canary)
        return _remembered(versions, number, now), steered

    def aliases(self, function: FunctionKey) -> dict[AliasName, Alias]:
        """Where each name stands. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            return standing.aliases_of(file, standing.known(file, function))

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
        with self._file.writing(durable=True) as file:
            versions = self._versions()
            found = standing.expected(file, function, expected)
            self._beside(file, found, beside, standing.newest(file, found) + 1 if beside else 0)
            version = standing.keep(file, found, draft, self._clock.wall())
            entry = rules.change(self._clock.wall(), rules.published_as(alias), version, draft.author, draft.reason)
            now = standing.change(file, found, rules.after_publish(found.places, version, alias), entry)
        return _remembered(versions, found.id, now)

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
        with self._file.writing(durable=True) as file:
            found = standing.kept(file, function)
            target = standing.checked_version(file, found, found.live.parent if to is None else to)
            self._beside(file, found, beside, target)
            pins = rules.lasting_pins(found.standing.pinned, standing.version(file, found.id, target))
            paused = found.standing.paused
            if pause:
                paused = rules.pause_text(text(reason), text(author), f"rolled back to version {target}")
            standing.steer(file, found, paused, pins)
            entry = rules.change(self._clock.wall(), "rollback", target, author, reason)
            return standing.change(file, found, rules.after_rollback(found.places, target, pinned=bool(pins)), entry)

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
        with self._file.writing(durable=True) as file:
            found = standing.expected(file, function, expected)
            places = rules.after_point(found.places, alias, version)
            target = found.places.get(alias, 0) if version is None else standing.checked_version(file, found, version)
            if places == found.places and not beside:
                return found.standing
            self._beside(file, found, beside, target)
            entry = rules.change(self._clock.wall(), rules.action_of(alias, version), target, author, reason)
            return standing.change(file, found, places, entry)

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
        with self._file.writing(durable=True) as file:
            found = standing.kept(file, function)
            if pinned is None and paused is None:
                return found.standing
            now, places = self._clock.wall(), found.places
            why, pins = found.standing.paused, found.standing.pinned
            if pinned:
                draft = rules.pinned_draft(found.live, pinned, author, reason)
                version = standing.keep(file, found, draft, self._clock.wall())
                places = rules.after_publish(places, version, "live", pinned=True)
                pins = {**pins, **pinned}
                standing.log(file, found.id, rules.change(now, "pin", version, author, reason))
            elif pinned is not None:
                places, pins = rules.after_unpin(places), {}
                standing.log(file, found.id, rules.change(now, "unpin", places["live"], author, reason))
            if paused is not None:
                why = rules.pause_text(text(reason), text(author), "paused") if paused else ""
                action = "pause" if paused else "resume"
                standing.log(file, found.id, rules.change(now, action, places["live"], author, reason))
            standing.steer(file, found, why, pins)
            standing.move(file, found, places)
            return standing.kept(file, function).standing

    def documents(
        self, kind: str, function: FunctionKey | None = None, *, name: str | None = None, ended: bool = True
    ) -> list[Document]:
        """Those of a kind, by function and name; of one function only, of one name only. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            number = None if function is None else standing.known(file, function)
            return shelf.found(file, kind, number, name, ended=ended)

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        """Keep it in place of its revision. Raises StaleDocument, UnknownFunction, ValueError.

        What is kept quietly may be lost with the last moments before a power cut.
        """
        rules.check_document(document)
        with self._file.writing(durable=not quiet) as file:
            function = document.function
            number = shelf.NO_FUNCTION if function is None else standing.known(file, function)
            (written,) = shelf.write(file, number, [document], self._clock.wall)
            if not quiet:
                standing.count(file, number)
            return written

    def discard(self, documents: Sequence[Document]) -> None:
        """Delete these. Those that are not there are passed over."""
        with self._file.writing() as file:
            for each in documents:
                function = each.function
                number = shelf.NO_FUNCTION if function is None else standing.number_of(file, function)
                if number is not None:
                    shelf.discard(file, number, each)

    def _beside(self, file: sqlite3.Connection, found: Kept, beside: Sequence[Document], version: int) -> None:
        shelf.write(file, found.id, rules.beside(beside, found.key, version), self._clock.wall)

    def bring_in(self, incoming: Sequence[Incoming]) -> list[Standing]:
        """Take in what was learned elsewhere, all of it or nothing. Raises StaleParameters."""
        with self._file.writing(durable=True) as file:
            known = [standing.found(file, each.record.key) for each in incoming]
            for each, found in zip(incoming, known, strict=True):
                generation = 0 if found is None else found.standing.generation
                if generation != each.expected:
                    raise StaleParameters(each.record.key.name, each.expected, generation)
            return [self._bring_in(file, each, found) for each, found in zip(incoming, known, strict=True)]

    def _bring_in(self, file: sqlite3.Connection, each: Incoming, found: Kept | None) -> Standing:
        draft = each.draft
        if found is None:
            found = standing.begin(file, each.record, self._clock.wall())
        if each.state is not None:
            _save_learner(file, found.id, each.state)
        if draft is None:
            return found.standing
        version = standing.keep(file, found, draft, self._clock.wall())
        entry = rules.change(self._clock.wall(), "import", version, draft.author, draft.reason)
        return standing.change(file, found, rules.after_publish(found.places, version, "live"), entry)

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """All versions, oldest first. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            return standing.versions(file, standing.known(file, function))

    def history(self, function: FunctionKey) -> list[Change]:
        """All changes, oldest first. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            number = standing.known(file, function)
            rows = file.execute(
                "SELECT at, action, version, author, reason FROM change WHERE function = ? ORDER BY id", (number,)
            ).fetchall()
        return [Change(*row) for row in rows]

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions; those whose writer and sequence are kept already are passed over.

        So an append may be repeated after a failure that left open whether it was kept.
        Raises UnknownFunction, and ValueError where a duration is negative or not finite, a score is not finite, or a
        feature, value or goal cannot be kept (``features.check_execution``).
        """
        with self._file.writing() as file:
            number = standing.known(file, function)
            for writer, rows in rules.by_writer(executions).items():
                added = history.append(file, number, writer, rows, self._decoded)
                if added:
                    history.count(file, number, added)

    def score(self, function: FunctionKey, feedback: Sequence[Feedback]) -> None:
        """Keep what was said of executions. Raises UnknownFunction, and ValueError where it is not finite."""
        said = [check_feedback(each) for each in feedback]
        with self._file.writing() as file:
            history.score(file, standing.known(file, function), said)

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions, oldest first; the newest ``limit`` of those started at or after ``since`` [Unix s].

        They are those of the moment of asking; memory holds a few chunks at a time, or ``limit`` executions.
        Raises UnknownFunction here, and on the way StoreCorrupt where a chunk is damaged, StoreTooNew where a newer
        POET has begun to write chunks that this one cannot read.
        """
        with self._file.snapshot() as file:
            number = standing.known(file, function)
            pieces = history.pieces(file, number, since)
            scores = history.scores(file, number)

        def fetch(piece: Piece) -> list[Execution]:
            return reading.with_scores([row for row in self._rows(piece) if row.started >= since], scores)

        return reading.oldest_first(pieces, fetch) if limit is None else reading.newest(pieces, limit, fetch)

    def find(self, function: FunctionKey, ids: Sequence[tuple[str, int]]) -> list[Execution]:
        """Those of these executions that are stored, with their scores so far. Raises UnknownFunction, StoreCorrupt."""
        with self._file.snapshot() as file:
            number = standing.known(file, function)
            found = [
                row
                for writer, sequences in rules.asked(ids).items()
                for row in history.find(file, number, text(writer), sequences, self._decoded)
            ]
            scores = history.scores_of(file, number, [(row.writer, row.sequence) for row in found])
        return reading.in_order(reading.with_scores(found, scores), ids)

    def hours(self, function: FunctionKey, *, since: float = 0.0) -> list[Hour]:
        """What was counted hour by hour and by version, oldest first. Raises UnknownFunction, StoreCorrupt."""
        with self._file.snapshot() as file:
            number = standing.known(file, function)
            try:
                return history.hours(file, number, since)
            except ValueError as error:
                raise Damage(f"hours of {function.name} are damaged: {error}") from error

    def maintain(self, *, executions_before: float, hours_before: float, settled: float) -> Upkeep:
        """Delete what is older, put small chunks together, write scores to their executions.

        Each function is a transaction of its own, so that others need not wait for long.
        """
        with self._file.reading() as file:
            functions = [number for (number,) in file.execute("SELECT id FROM function ORDER BY id")]
        expired = gone = merged = scored = 0
        for number in functions:
            with self._file.writing() as file:
                expired += history.expire(file, number, executions_before, self._decoded)
                gone += history.expire_hours(file, number, hours_before)
                scored += history.settle_scores(file, number, settled, executions_before, self._decoded)
                merged += history.put_together(file, number, settled, self._decoded)
        with self._file.writing() as file:
            file.execute("DELETE FROM contribution WHERE at < ?", (hours_before,))
            shelf.expire(file, hours_before)
        return Upkeep(expired, gone, merged, scored)

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before. Raises UnknownFunction."""
        with self._file.writing() as file:
            _save_learner(file, standing.known(file, function), state)

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""
        with self._file.snapshot() as file:
            number = standing.number_of(file, function)
            return None if number is None else _learner(file, number)

    def exchange(
        self, function: FunctionKey, writer: str, number: int, merge: Callable[[bytes | None], bytes]
    ) -> bytes:
        """Merge a contribution into the kept state, unless it was taken in already. Raises UnknownFunction."""
        with self._file.writing() as file:
            row = standing.known(file, function)
            state = _learner(file, row)
            last = file.execute(
                "SELECT number FROM contribution WHERE function = ? AND writer = ?", (row, text(writer))
            ).fetchone()
            if state is not None and last is not None and last[0] >= number:
                return state
            merged = bytes(merge(state))
            _save_learner(file, row, merged)
            file.execute(
                "INSERT OR REPLACE INTO contribution (function, writer, number, at) VALUES (?, ?, ?, ?)",
                (row, text(writer), number, self._clock.wall()),
            )
            return merged

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares, in place of its report before."""
        said = process._replace(host=text(process.host), last_fault=text(process.last_fault))
        with self._file.writing() as file:
            file.execute(f"INSERT OR REPLACE INTO process ({_PROCESS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", said)  # noqa: S608
            file.execute(
                "DELETE FROM process WHERE writer IN"
                " (SELECT writer FROM process ORDER BY seen DESC, writer LIMIT -1 OFFSET ?)",
                (rules.REPORTS,),
            )

    def processes(self) -> list[ProcessReport]:
        """The last report of each process, newest first."""
        with self._file.reading() as file:
            rows = file.execute(f"SELECT {_PROCESS} FROM process ORDER BY seen DESC, writer").fetchall()  # noqa: S608
        return [ProcessReport(*row) for row in rows]

    def watch(self, hint: Callable[[], None]) -> float:
        """There are no hints in a file, and asking it is cheap: 0.0."""
        return 0.0

    def check(self) -> list[Finding]:
        """Look for damage and broken rules in the file and around it; changes nothing. Reads all of it."""
        from poet.stores.checks import findings  # here: hardly any process asks

        return findings(self._file)

    def close(self) -> None:
        """Release the file. Closing twice does no harm."""
        self._file.close()

    def _versions(self) -> Parsed:
        """Versions that are known, by function; within ``reading``, ``snapshot`` or ``writing``.

        What was read through one opening of the file says nothing of another: it may have been replaced.
        """
        if self._parsed_from != self._file.openings:
            self._parsed, self._parsed_from = {}, self._file.openings
        return self._parsed

    def _decoded(self, body: bytes, writer: str) -> list[Execution]:
        try:
            return chunk.decode(body, writer)
        except chunk.NewerChunk as error:
            # the file itself was brought up to date while we had it open
            raise StoreTooNew(
                str(self.path), f"executions of {writer}: {error}", "upgrade this one; nothing was changed in the file"
            ) from error
        except (ValueError, TypeError) as error:
            raise StoreCorrupt(
                str(self.path), f"executions of {writer} are damaged: {error}", "`poet doctor` lists all damage"
            ) from error

    def _rows(self, piece: Piece) -> list[Execution]:
        writer, body = piece.writer, piece.body
        if body is None:
            with self._file.reading() as file:
                found = file.execute("SELECT writer, body FROM chunk WHERE id = ?", (piece.id,)).fetchone()
            if found is None:
                return []
            writer, body = found  # together, as upkeep may have left one of several writers
        return self._decoded(body, writer)


_PROCESS = "writer, host, pid, started, seen, dropped, faults, last_fault, away, spooled"


def _remembered(versions: Parsed, number: int, now: Standing) -> Standing:
    """``now``, which is committed; its versions are there once, whoever asks for them again."""
    if len(versions) >= _REMEMBERED:
        versions.clear()
    versions[number] = now.live, now.canary
    return now


def _told(file: sqlite3.Connection, number: int) -> tuple[object, ...]:
    row = file.execute(
        "SELECT domain, learner, declared, objective, space, choices, goals FROM function WHERE id = ?", (number,)
    ).fetchone()
    return tuple(row)


def _learner(file: sqlite3.Connection, number: int) -> bytes | None:
    row = file.execute("SELECT state FROM learner WHERE function = ?", (number,)).fetchone()
    return None if row is None else bytes(row[0])


def _save_learner(file: sqlite3.Connection, number: int, state: bytes) -> None:
    file.execute("INSERT OR REPLACE INTO learner (function, state) VALUES (?, ?)", (number, bytes(state)))
