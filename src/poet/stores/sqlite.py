"""A store in one SQLite file, for all processes of one machine.

What a person or a learner decided is on the disk before the call returns; of executions, a power cut may cost the last
moments. Executions lie in chunks of up to 1000 of one function and one writer; see ``chunk`` for what that rounds.
"""

from __future__ import annotations

import heapq
import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from poet.errors import StaleParameters, StoreCorrupt, StoreTooNew, UnknownFunction, UnknownVersion
from poet.model.estimate import Estimate
from poet.model.execution import Execution
from poet.model.function import FunctionKey
from poet.model.parameters import Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import SYSTEM_CLOCK, Clock, Finding, FunctionRecord, ProcessReport
from poet.stores import chunk, rules
from poet.stores.checks import findings
from poet.stores.connection import PATIENCE, Damage, Database

_MERGE = 2  # a new chunk swallows those before it that are at most this many times its size; see _append


class SqliteStore:
    """A ``Store`` in the file ``path``. Any number of threads and processes may use it at once."""

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

    @property
    def url(self) -> str:
        """Where it is, as a user would configure it."""
        return f"sqlite:///{self.path}"

    def register(self, record: FunctionRecord) -> Standing:
        """Make the function known, with ``record.declared`` as version 1 where it has none; else what holds."""
        told = (
            record.domain,
            record.learner,
            _dumped(record.declared),
            _dumped(record.objective),
            _dumped(record.space),
        )
        with self._file.snapshot() as file:  # most often nothing has changed, and nobody needs to wait for a write
            number = _number(file, record.key)
            if number is not None and told == _told(file, number):
                return _standing(file, number)
        with self._file.writing(durable=True) as file:
            number = _number(file, record.key)
            if number is not None:
                file.execute(
                    "UPDATE function SET domain = ?, learner = ?, declared = ?, objective = ?, space = ? WHERE id = ?",
                    (*told, number),
                )
                return _standing(file, number)
            number = file.execute(
                "INSERT INTO function"
                " (module, qualname, fingerprint, domain, learner, declared, objective, space, paused, pinned)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '{}')",
                (*record.key, *told),
            ).lastrowid
            assert number is not None
            file.execute("INSERT INTO counter VALUES (?, 0, 0, 0.0, 0.0)", (number,))
            first = rules.declared_version(record, self._clock.wall())
            _insert_version(file, number, first)
            file.execute("INSERT INTO alias VALUES (?, ?, 1, 0)", (number, rules.LIVE))
            _log(file, number, Change(first.created, "publish", 1, first.author, first.reason))
            return _changed(file, number)

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""
        with self._file.reading() as file:
            rows = file.execute(
                "SELECT module, qualname, fingerprint, domain, learner, declared, objective, space,"
                " calls, failures, seconds, last_call FROM function JOIN counter ON counter.function = function.id"
            ).fetchall()
            records = [
                FunctionRecord(
                    FunctionKey(module, qualname, fingerprint),
                    domain,
                    learner,
                    _loaded(declared),
                    _loaded(objective),
                    *counted,
                )._replace(space=_loaded(space))
                for module, qualname, fingerprint, domain, learner, declared, objective, space, *counted in rows
            ]
        return sorted(records, key=lambda record: (record.key.name, record.key))

    def generation(self) -> int:
        """A number that grows whenever any function's standing changes, by whichever process; some microseconds."""
        with self._file.reading() as file:
            return _generation(file)

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            return _standing(file, _known(file, function))

    def publish(self, function: FunctionKey, draft: ParameterSet, *, expected: int) -> Standing:
        """Keep ``draft`` as the next version and make it live. Raises UnknownFunction, StaleParameters."""
        with self._file.writing(durable=True) as file:
            number = _known(file, function)
            kept = _standing(file, number)
            if kept.generation != expected:
                raise StaleParameters(function.name, expected, kept.generation)
            version = self._publish(file, number, kept.live, draft)
            _log(file, number, Change(self._clock.wall(), "publish", version, draft.author, draft.reason))
            return _changed(file, number)

    def rollback(self, function: FunctionKey, to: int | None, *, author: str, reason: str) -> Standing:
        """Make an older version live and pause learning. Raises UnknownFunction, UnknownVersion.

        Pins stay where the older version agrees with them; the others are lifted, as they would forbid what is asked.
        """
        with self._file.writing(durable=True) as file:
            number = _known(file, function)
            kept = _standing(file, number)
            target = kept.live.parent if to is None else to
            known = _version_numbers(file, number)
            if target is None or target not in known:
                raise UnknownVersion(function.name, target or 0, known)
            file.execute("UPDATE alias SET version = ? WHERE function = ? AND name = ?", (target, number, rules.LIVE))
            paused = rules.pause_text(reason, author, f"rolled back to version {target}")
            pinned = rules.lasting_pins(kept.pinned, _version(file, number, target))
            file.execute(
                "UPDATE function SET paused = ?, pinned = ? WHERE id = ?", (_text(paused), _dumped(pinned), number)
            )
            _log(file, number, Change(self._clock.wall(), "rollback", target, author, reason))
            return _changed(file, number)

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
        with self._file.writing(durable=True) as file:
            number = _known(file, function)
            kept = _standing(file, number)
            version, now = kept.live.version, self._clock.wall()
            if pinned:
                draft = rules.pinned_draft(kept.live, pinned, author, reason)
                version = self._publish(file, number, kept.live, draft)
                _log(file, number, Change(now, "pin", version, author, reason))
            elif pinned is not None:
                _log(file, number, Change(now, "unpin", version, author, reason))
            if pinned is not None:
                pins = {**kept.pinned, **pinned} if pinned else {}
                file.execute("UPDATE function SET pinned = ? WHERE id = ?", (_dumped(pins), number))
            if paused is not None:
                text = rules.pause_text(reason, author, "paused") if paused else ""
                file.execute("UPDATE function SET paused = ? WHERE id = ?", (_text(text), number))
                _log(file, number, Change(now, "pause" if paused else "resume", version, author, reason))
            return _changed(file, number)

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """All versions, oldest first. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            number = _known(file, function)
            rows = file.execute(f"{_SELECT_VERSION} WHERE function = ? ORDER BY number", (number,)).fetchall()
            return [_version_of(row) for row in rows]

    def history(self, function: FunctionKey) -> list[Change]:
        """All changes, oldest first. Raises UnknownFunction."""
        with self._file.snapshot() as file:
            number = _known(file, function)
            rows = file.execute(
                "SELECT at, action, version, author, reason FROM change WHERE function = ? ORDER BY id", (number,)
            ).fetchall()
        return [Change(*row) for row in rows]

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions; those whose writer and sequence are kept already are passed over.

        So an append may be repeated after a failure that left open whether it was kept.
        Raises UnknownFunction, and ValueError where a duration is negative or not finite or a feature cannot be kept
        (``features.check``).
        """
        with self._file.writing() as file:
            number = _known(file, function)
            for writer, rows in rules.by_writer(executions).items():
                added = self._append(file, number, writer, rows)
                if added:
                    file.execute(
                        "UPDATE counter SET calls = calls + ?, failures = failures + ?, seconds = seconds + ?,"
                        " last_call = max(last_call, ?) WHERE function = ?",
                        (
                            len(added),
                            sum(not row.outcome.good for row in added),
                            sum(row.seconds for row in added),
                            max(row.started for row in added),
                            number,
                        ),
                    )

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions, oldest first; the newest ``limit`` of those started at or after ``since`` [Unix s].

        They are those of the moment of asking; memory holds a few chunks at a time, or ``limit`` executions.
        Raises UnknownFunction here, and on the way StoreCorrupt where a chunk is damaged, StoreTooNew where a newer
        POET has begun to write chunks that this one cannot read.
        """
        with self._file.snapshot() as file:
            number = _known(file, function)
            # A full chunk never changes again, so it may be fetched when its turn comes. One that still grows may be
            # gone by then: its body is taken along now.
            rows = file.execute(
                "SELECT id, writer, executions, oldest, newest, CASE WHEN growing THEN body END FROM chunk"
                " WHERE function = ? AND newest >= ?",
                (number, since),
            ).fetchall()
        chunks = [_Chunk(*row) for row in rows]
        return self._oldest_first(chunks, since) if limit is None else self._newest(chunks, since, limit)

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before. Raises UnknownFunction."""
        with self._file.writing() as file:
            number = _known(file, function)
            file.execute("INSERT OR REPLACE INTO learner VALUES (?, ?)", (number, bytes(state)))

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""
        with self._file.snapshot() as file:
            row = file.execute("SELECT state FROM learner WHERE function = ?", (_number(file, function),)).fetchone()
        return None if row is None else bytes(row[0])

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares, in place of its report before."""
        told = process._replace(host=_text(process.host), last_fault=_text(process.last_fault))
        with self._file.writing() as file:
            file.execute("INSERT OR REPLACE INTO process VALUES (?, ?, ?, ?, ?, ?, ?, ?)", told)
            file.execute(
                "DELETE FROM process WHERE writer IN"
                " (SELECT writer FROM process ORDER BY seen DESC, writer LIMIT -1 OFFSET ?)",
                (rules.REPORTS,),
            )

    def processes(self) -> list[ProcessReport]:
        """The last report of each process, newest first."""
        with self._file.reading() as file:
            rows = file.execute("SELECT * FROM process ORDER BY seen DESC, writer").fetchall()
        return [ProcessReport(*row) for row in rows]

    def check(self) -> list[Finding]:
        """Look for damage and broken rules in the file and around it; changes nothing. Reads all of it."""
        return findings(self._file)

    def close(self) -> None:
        """Release the file. Closing twice does no harm."""
        self._file.close()

    def _publish(self, file: sqlite3.Connection, number: int, live: ParameterSet, draft: ParameterSet) -> int:
        (newest,) = file.execute("SELECT max(number) FROM version WHERE function = ?", (number,)).fetchone()
        version = rules.next_version(draft, live, newest, self._clock.wall())
        _insert_version(file, number, version)
        file.execute(
            "UPDATE alias SET version = ? WHERE function = ? AND name = ?", (version.version, number, rules.LIVE)
        )
        return version.version

    def _append(self, file: sqlite3.Connection, number: int, writer: str, rows: list[Execution]) -> list[Execution]:
        """Store those of ``rows`` that are not stored yet, and return them.

        A handful of rows every second would make chunks that hold little and pack badly, and to rewrite the newest
        chunk each time would write every row a hundred times. So a new chunk swallows the growing ones before it that
        are of about its size, as in a log-structured merge: a row is written some ten times at most, and of the
        growing chunks there are never more than about ten.
        """
        overlapping = file.execute(
            "SELECT body FROM chunk WHERE function = ? AND writer = ? AND last >= ?", (number, writer, rows[0].sequence)
        ).fetchall()
        stored = {row.sequence for (body,) in overlapping for row in self._decoded(body, writer)}
        added = [row for row in rows if row.sequence not in stored]
        if not added:
            return added
        merged = added
        growing = file.execute(
            "SELECT id, executions, body FROM chunk WHERE function = ? AND writer = ? AND growing ORDER BY last DESC",
            (number, writer),
        ).fetchall()
        for identity, count, body in growing:
            if count > _MERGE * len(merged):
                break
            merged = [*self._decoded(body, writer), *merged]
            file.execute("DELETE FROM chunk WHERE id = ?", (identity,))
        merged = sorted(merged, key=lambda row: row.sequence)
        for start in range(0, len(merged), chunk.ROWS):
            piece = merged[start : start + chunk.ROWS]
            body = chunk.encode(piece)
            starts = [chunk.kept_start(row.started) for row in piece]
            file.execute(
                "INSERT INTO chunk (function, writer, last, executions, oldest, newest, growing, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    number,
                    writer,
                    piece[-1].sequence,
                    len(piece),
                    min(starts),
                    max(starts),
                    len(piece) < chunk.ROWS,
                    body,
                ),
            )
        return added

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

    def _rows(self, piece: _Chunk, since: float) -> list[Execution]:
        body = piece.body
        if body is None:
            with self._file.reading() as file:
                found = file.execute("SELECT body FROM chunk WHERE id = ?", (piece.id,)).fetchone()
            if found is None:
                return []
            body = found[0]
        return [row for row in self._decoded(body, piece.writer) if row.started >= since]

    def _oldest_first(self, chunks: list[_Chunk], since: float) -> Iterator[Execution]:
        """Merge chunks whose times overlap: what is older than all chunks to come may go."""
        waiting: list[Execution] = []
        for piece in sorted(chunks, key=lambda piece: (piece.oldest, piece.id)):
            ready = bisect_left(waiting, piece.oldest, key=lambda row: row.started)
            yield from waiting[:ready]
            waiting = sorted((*waiting[ready:], *self._rows(piece, since)), key=rules.age)
        yield from waiting

    def _newest(self, chunks: list[_Chunk], since: float, limit: int) -> Iterator[Execution]:
        """The newest ``limit``, oldest first; reads no chunk that cannot hold one of them."""
        newest: list[tuple[tuple[float, str, int], Execution]] = []  # a heap by age, the oldest on top
        for piece in sorted(chunks, key=lambda piece: piece.newest, reverse=True):
            if len(newest) >= limit and (not newest or piece.newest < newest[0][1].started):
                break
            for row in self._rows(piece, since):
                if len(newest) < limit:
                    heapq.heappush(newest, (rules.age(row), row))
                else:
                    heapq.heappushpop(newest, (rules.age(row), row))
        return iter([row for _, row in sorted(newest)])


class _Chunk(NamedTuple):
    """What the table says of a chunk."""

    id: int
    writer: str
    executions: int
    oldest: float  # [Unix s]
    newest: float  # [Unix s]
    body: bytes | None  # only while it grows


_SELECT_VERSION = 'SELECT number, parent, origin, author, reason, evidence, created, "values", estimates FROM version'


def _number(file: sqlite3.Connection, function: FunctionKey) -> int | None:
    row = file.execute(
        "SELECT id FROM function WHERE module = ? AND qualname = ? AND fingerprint = ?", function
    ).fetchone()
    return None if row is None else int(row[0])


def _known(file: sqlite3.Connection, function: FunctionKey) -> int:
    number = _number(file, function)
    if number is None:
        keys = [FunctionKey(*row) for row in file.execute("SELECT module, qualname, fingerprint FROM function")]
        raise UnknownFunction(function.name, tuple(sorted(key.name for key in keys)))
    return number


def _told(file: sqlite3.Connection, number: int) -> tuple[Any, ...]:
    row = file.execute(
        "SELECT domain, learner, declared, objective, space FROM function WHERE id = ?", (number,)
    ).fetchone()
    return tuple(row)


def _generation(file: sqlite3.Connection) -> int:
    return int(file.execute("SELECT generation FROM store WHERE id = 1").fetchone()[0])


def _changed(file: sqlite3.Connection, number: int) -> Standing:
    """Count a change of this function, and so of the store."""
    file.execute("UPDATE alias SET generation = generation + 1 WHERE function = ? AND name = ?", (number, rules.LIVE))
    file.execute("UPDATE store SET generation = generation + 1")
    return _standing(file, number)


def _standing(file: sqlite3.Connection, number: int) -> Standing:
    row = file.execute(
        "SELECT version, generation, paused, pinned FROM alias JOIN function ON function.id = alias.function"
        " WHERE function = ? AND name = ?",
        (number, rules.LIVE),
    ).fetchone()
    if row is None:
        raise Damage("a function has no live version")
    version, generation, paused, pinned = row
    return Standing(_version(file, number, version), generation, paused, MappingProxyType(_loaded(pinned)))


def _version_numbers(file: sqlite3.Connection, number: int) -> tuple[int, ...]:
    rows = file.execute("SELECT number FROM version WHERE function = ? ORDER BY number", (number,))
    return tuple(row[0] for row in rows)


def _version(file: sqlite3.Connection, number: int, version: int) -> ParameterSet:
    row = file.execute(f"{_SELECT_VERSION} WHERE function = ? AND number = ?", (number, version)).fetchone()
    if row is None:
        raise Damage(f"version {version} of a function is missing")
    return _version_of(row)


def _version_of(row: tuple[Any, ...]) -> ParameterSet:
    version, parent, origin, author, reason, evidence, created, values, estimates = row
    return ParameterSet(
        values_=_loaded(values),
        version=version,
        parent=parent,
        origin=origin,
        reason=reason,
        author=author,
        estimates={name: Estimate(*fields) for name, fields in _loaded(estimates).items()},
        evidence=evidence,
        created=created,
    )


def _insert_version(file: sqlite3.Connection, number: int, version: ParameterSet) -> None:
    file.execute(
        "INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            version.version,
            version.parent,
            version.origin,
            _text(version.author),
            _text(version.reason),
            version.evidence,
            version.created,
            _dumped(version.values_),
            _dumped(version.estimates),
        ),
    )


def _log(file: sqlite3.Connection, number: int, change: Change) -> None:
    told = change._replace(author=_text(change.author), reason=_text(change.reason))
    file.execute(
        "INSERT INTO change (function, at, action, version, author, reason) VALUES (?, ?, ?, ?, ?, ?)", (number, *told)
    )


def _dumped(values: Mapping[str, Any]) -> str:
    """A JSON object; reads back as what it was, whole numbers as whole numbers. Raises TypeError for anything else."""
    return json.dumps(dict(values), separators=(",", ":"))


def _loaded(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise Damage(f"no JSON: {text!r}") from error
    if not isinstance(values, dict):
        raise Damage(f"no JSON object: {text!r}")
    return values


def _text(text: str) -> str:
    """Without the halves of characters that odd bytes from a terminal leave behind: SQLite keeps valid text only."""
    return text.encode("utf-8", "replace").decode("utf-8")
