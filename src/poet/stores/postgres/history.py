"""SQL on executions, hours and scores, in PostgreSQL.

Who appends holds an advisory lock on the writer, and shares one on the function with other writers; who puts chunks
together holds the latter alone. So what was looked up of a writer's executions stays true until the commit, also for
one who repeats an append while the server has not noticed yet that the first connection is gone. Sums are kept in
shards, by a digest of the writer; who adds to hours of a shard has changed its counter before, and so locked all of
them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4
from zlib import crc32

from poet.model.aggregate import Hour
from poet.model.execution import Execution, Feedback
from poet.stores import chunk, reading, tallying
from poet.stores.postgres.link import Row, Statement, Transaction
from poet.stores.postgres.schema import SHARDS, SMALL
from poet.stores.postgres.texts import heard, said
from poet.stores.reading import Piece, Place, Said, Scores
from poet.stores.rows import Damage

Decode = Callable[[bytes, str], list[Execution]]

BATCH = 20  # chunks, and
_LOOKED_AT = 32  # newest chunks of a writer among which the growing ones are looked for
_TIER = 8  # growing chunks of about one size that are put together
SCORES = 2000  # scores that one transaction of upkeep deals with, so that nobody waits for long


class Home(NamedTuple):
    """A function in a database."""

    id: int
    tenant: str


def shard_of(writer: str) -> int:
    """The shard that counts a writer's executions."""
    return crc32(writer.encode("utf-8", "surrogatepass")) % SHARDS


def _lock(home: Home, *, alone: bool) -> Statement:
    name = "pg_advisory_xact_lock" if alone else "pg_advisory_xact_lock_shared"
    return f"SELECT {name}(%s::bigint)", (-2 * home.id,)


def _lock_writer(home: Home, writer: str) -> Statement:
    code = crc32(writer.encode("utf-8", "surrogatepass"))
    return "SELECT pg_advisory_xact_lock(%s::integer, %s::integer)", (home.id % 2**31, code - 2**31)


def append(tx: Transaction, home: Home, batches: Mapping[str, Sequence[Execution]], decode: Decode) -> int:
    """Store those executions of each writer that are not stored yet, and count them. Gives how many."""
    writers = sorted(batches)
    asked: list[Statement] = [_lock(home, alone=False), *(_lock_writer(home, writer) for writer in writers)]
    for writer in writers:
        first = batches[writer][0].sequence
        asked += [
            (
                "SELECT id, executions, growing FROM poet.chunk WHERE function = %s AND writer = %s"
                " ORDER BY last DESC LIMIT %s",
                (home.id, said(writer), _LOOKED_AT),
            ),
            _bodies_from(home, writer, first),
        ]
    answers = tx.ask_all(asked)[1 + len(writers) :]
    statements: list[Statement] = []
    shards: dict[int, list[Execution]] = {}
    for writer, newest, bodies in zip(writers, answers[::2], answers[1::2], strict=True):
        stored = {
            row.sequence for body, author in bodies for row in decode(body, heard(author)) if row.writer == writer
        }
        batch = batches[writer]
        added = [row for row in batch if row.sequence not in stored] if stored else batch
        if not added:
            continue
        merged = added
        growing = [(identity, size) for identity, size, grows in newest if grows]
        swallowed = _swallowed(len(added), [size for _, size in growing])
        if swallowed:
            merged = list(added)
            for (body,) in tx.ask(
                "DELETE FROM poet.chunk WHERE function = %s AND writer = %s AND growing AND id = ANY(%s)"
                " RETURNING body",
                (home.id, said(writer), [identity for identity, _ in growing[:swallowed]]),
            ):
                merged += decode(body, writer)
            merged.sort(key=lambda row: row.sequence)
        for piece in reading.cut(merged):
            statements += _inserted(home, piece, growing=len(piece) < chunk.ROWS)
        shards.setdefault(shard_of(writer), []).extend(added)
    _count(tx, home, shards, statements)
    return sum(map(len, shards.values()))


def _swallowed(rows: int, sizes: Sequence[int]) -> int:
    """How many of a writer's growing chunks, newest first, a new one of ``rows`` executions is put together with.

    A handful of rows every second would make chunks that hold little and pack badly. To put two together as soon as
    they are of about one size, as the store in a file does, writes each row some seven times, and what was there before
    is dead weight until it is vacuumed. So here some of a size are gathered first (the tiers of Cassandra's size-tiered
    compaction): a row is written three times, and of the growing chunks there are never more than some twenty.

    >>> _swallowed(10, [10] * 6), _swallowed(10, [10] * 7), _swallowed(10, [10] * 7 + [80] * 7), _swallowed(600, [500])
    (0, 7, 14, 1)
    """
    taken = 0
    while True:
        alike = 0
        for size in sizes[taken:]:
            if size > reading.MERGE * rows:
                break
            alike += 1
        gained = sum(sizes[taken : taken + alike])
        if not alike or (alike < _TIER - 1 and rows + gained < chunk.ROWS):
            return taken
        taken += alike
        rows += gained


def _bodies_from(home: Home, writer: str, first: int) -> Statement:
    """Asks for chunks that may hold a writer's executions from the sequence ``first`` on, and whose they are."""
    return (
        "SELECT body, writer FROM poet.chunk WHERE function = %s AND writer = %s AND last >= %s"
        " UNION ALL SELECT c.body, '' FROM poet.writing w JOIN poet.chunk c"
        " ON c.function = w.function AND c.newest = w.newest AND c.id = w.chunk"
        " WHERE w.function = %s AND w.writer = %s AND w.last >= %s",
        (home.id, said(writer), first, home.id, said(writer), first),
    )


def _inserted(home: Home, rows: Sequence[Execution], *, growing: bool = False) -> list[Statement]:
    """A chunk of ``rows``, which may be of several writers."""
    identity = uuid4()
    newest = chunk.kept_start(max([row.started for row in rows]))
    return [
        (
            "INSERT INTO poet.chunk (function, newest, id, growing, tenant, oldest, last, executions, writer, body)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (home.id, newest, identity, growing, said(home.tenant), *_described(rows)),
        ),
        *_named(home, identity, newest, rows),
    ]


def _described(rows: Sequence[Execution]) -> tuple[Any, ...]:
    """A chunk's oldest start, last sequence, number of executions, writer and body."""
    single = rows[0].writer == rows[-1].writer  # they are in the order of their writers
    return (
        chunk.kept_start(min([row.started for row in rows])),
        rows[-1].sequence,
        len(rows),
        said(rows[0].writer) if single else "",
        chunk.encode(rows),
    )


def _named(home: Home, identity: UUID, newest: float, rows: Sequence[Execution]) -> list[Statement]:
    """Says whose executions a chunk of several writers holds."""
    last = {row.writer: row.sequence for row in rows}
    if len(last) == 1:
        return []
    return [
        (
            "INSERT INTO poet.writing (function, last, newest, chunk, tenant, writer) VALUES (%s, %s, %s, %s, %s, %s)",
            (home.id, sequence, newest, identity, said(home.tenant), said(name)),
        )
        for name, sequence in last.items()
    ]


def _count(
    tx: Transaction, home: Home, shards: Mapping[int, Sequence[Execution]], statements: Sequence[Statement]
) -> None:
    """Count what was added, in all and by the hour, after ``statements``."""
    order = sorted(shards)
    sums = {shard: tallying.tallied(shards[shard]) for shard in order}
    asked = list(statements)
    for shard in order:
        added = shards[shard]
        asked += [
            (
                "INSERT INTO poet.counter AS c (function, shard, tenant, calls, failures, seconds, last_call)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (function, shard) DO UPDATE SET"
                " calls = c.calls + excluded.calls, failures = c.failures + excluded.failures,"
                " seconds = c.seconds + excluded.seconds, last_call = greatest(c.last_call, excluded.last_call)",
                (
                    home.id,
                    shard,
                    said(home.tenant),
                    len(added),
                    sum([not row.outcome.good for row in added]),
                    sum([row.seconds for row in added]),
                    max([0.0, *[row.started for row in added]]),
                ),
            ),
            (
                "SELECT start, version, calls, sums FROM poet.hour"
                " WHERE function = %s AND shard = %s AND start = ANY(%s::integer[]) AND version = ANY(%s::integer[])",
                (home.id, shard, sorted({s for s, _ in sums[shard]}), sorted({v for _, v in sums[shard]})),
            ),
        ]
    if not asked:
        return
    answers = tx.ask_all(asked)[len(statements) :][1::2]
    kept: list[Statement] = []
    for shard, found in zip(order, answers, strict=True):
        known = {(row[0], row[1]): _hour_of(row) for row in found}
        for (start, version), hour in sums[shard].items():
            before = known.get((start, version))
            kept.append(_kept_hour(home, shard, start, hour if before is None else tallying.added(before, hour)))
    tx.finish(kept)


def _kept_hour(home: Home, shard: int, start: int, hour: Hour) -> Statement:
    return (
        "INSERT INTO poet.hour (function, start, version, shard, calls, tenant, sums)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (function, start, version, shard)"
        " DO UPDATE SET calls = excluded.calls, sums = excluded.sums",
        (home.id, start, hour.version, shard, hour.calls, said(home.tenant), tallying.pack(hour)),
    )


def hours_question(function: int, since: float) -> Statement:
    """Asks for the shards of hours that end after ``since`` [Unix s]."""
    return (
        "SELECT start, version, calls, sums FROM poet.hour WHERE function = %s AND start >= %s",
        (function, _whole(tallying.hour_of(since))),
    )


def hours_of(found: Iterable[Row]) -> list[Hour]:
    """Hours by their start and version. Raises Damage."""
    return list(tallying.total(map(_hour_of, found)).values())


def _hour_of(row: Row) -> Hour:
    """An hour from its start, its version, its calls and their sums. Raises Damage."""
    try:
        return tallying.unpack(*row)
    except ValueError as error:
        raise Damage(f"hour {row[0]} of version {row[1]}: {error}") from error


def pieces_question(function: int, since: float) -> Statement:
    """Asks for what holds executions that started at or after ``since`` [Unix s].

    A full chunk never changes again but for its scores, so it may be fetched when its turn comes. A smaller one may be
    gone by then: its body is taken along now.
    """
    return (
        "SELECT id, writer, executions, oldest, newest, CASE WHEN growing OR executions <= %s THEN body END"
        " FROM poet.chunk WHERE function = %s AND newest >= %s",
        (SMALL, function, since),
    )


def pieces_of(found: Iterable[Row]) -> list[Piece]:
    """Chunks as the reader wants them."""
    return [Piece(str(identity), heard(writer), *rest) for identity, writer, *rest in found]


def body_question(function: int, piece: Piece) -> Statement:
    """Asks for the body of a chunk, and whose it is now."""
    return (
        "SELECT body, writer FROM poet.chunk WHERE function = %s AND newest = %s AND id = %s",
        (function, piece.newest, UUID(str(piece.id))),
    )


def find(tx: Transaction, home: Home, writer: str, sequences: Sequence[int], decode: Decode) -> list[Execution]:
    """Those of a writer's ``sequences``, ascending, that are stored; fetches no chunk that cannot hold one of them."""
    chunks = tx.ask(
        "SELECT id, newest, last, head FROM (SELECT id, newest, last, substring(body FROM 1 FOR %s) AS head"
        " FROM poet.chunk WHERE function = %s AND writer = %s AND last >= %s"
        " UNION ALL SELECT chunk, newest, last, NULL FROM poet.writing"
        " WHERE function = %s AND writer = %s AND last >= %s) found ORDER BY last",
        (chunk.PEEK, home.id, said(writer), sequences[0], home.id, said(writer), sequences[0]),
    )
    missing = list(sequences)
    found: list[Execution] = []
    for identity, newest, last, head in chunks:
        if not missing:
            break
        first = (None if head is None else chunk.first_sequence(bytes(head))) or 0
        if bisect_left(missing, first) == bisect_right(missing, last):
            continue
        wanted = set(missing)
        for (body,) in tx.ask(*_body(home, identity, newest)):
            here = [row for row in decode(body, writer) if row.sequence in wanted and row.writer == writer]
            found += here
            missing = sorted(wanted.difference(row.sequence for row in here))
    return found


def scores_questions(function: int, places: Sequence[Place] | None = None) -> list[Statement]:
    """Ask for the scores and the goals of executions, of these or of all, that their chunks do not have yet."""
    some = ""
    facts: tuple[object, ...] = (function,)
    if places is not None:
        some = " AND (writer, sequence) IN (SELECT * FROM unnest(%s::text[], %s::bigint[]))"
        facts = function, [said(writer) for writer, _ in places], [sequence for _, sequence in places]
    by_age = 'ORDER BY at, name COLLATE "C"'
    return [
        (f"SELECT writer, sequence, score FROM poet.score WHERE function = %s{some}", facts),
        (f"SELECT writer, sequence, name, value FROM poet.goal WHERE function = %s{some} {by_age}", facts),
    ]


def scores_of(scores: Iterable[Row], goals: Iterable[Row]) -> dict[Place, Said]:
    """What both say, by writer and sequence."""
    return reading.gathered(
        ((heard(writer), sequence, score) for writer, sequence, score in scores),
        ((heard(writer), sequence, heard(name), value) for writer, sequence, name, value in goals),
    )


def score(tx: Transaction, home: Home, feedback: Sequence[Feedback]) -> None:
    """Keep what was said; of several the newest, of goals the newest of each name."""
    goals: dict[tuple[str, int, str], tuple[float, float]] = {}
    for each in feedback:
        for name, value in each.goals:
            goal = (said(each.writer), each.sequence, said(name))
            if goal not in goals or each.at >= goals[goal][1]:
                goals[goal] = value, each.at
    latest: dict[tuple[str, int], Feedback] = {}
    for each in feedback:
        place = (said(each.writer), each.sequence)
        if place not in latest or each.at >= latest[place].at:
            latest[place] = each
    if latest:
        order = sorted(latest)  # so that two who tell of the same executions never wait for each other in a circle
        tx.ask(
            "INSERT INTO poet.score AS s (function, tenant, writer, sequence, score, at)"
            " SELECT %s::bigint, %s::text, * FROM"
            " unnest(%s::text[], %s::bigint[], %s::double precision[], %s::double precision[])"
            " ON CONFLICT (function, writer, sequence) DO UPDATE SET score = excluded.score, at = excluded.at"
            " WHERE excluded.at >= s.at",
            (
                home.id,
                said(home.tenant),
                [writer for writer, _ in order],
                [sequence for _, sequence in order],
                [float(latest[place].score) for place in order],
                [float(latest[place].at) for place in order],
            ),
        )
    if goals:
        named = sorted(goals)
        tx.ask(
            "INSERT INTO poet.goal AS g (function, tenant, writer, sequence, name, value, at)"
            " SELECT %s::bigint, %s::text, * FROM unnest(%s::text[], %s::bigint[], %s::text[],"
            " %s::double precision[], %s::double precision[])"
            " ON CONFLICT (function, writer, sequence, name) DO UPDATE SET value = excluded.value, at = excluded.at"
            " WHERE excluded.at >= g.at",
            (
                home.id,
                said(home.tenant),
                *map(list, zip(*named, strict=True)),
                *map(list, zip(*[goals[place] for place in named], strict=True)),
            ),
        )


class Bounds(NamedTuple):
    """What upkeep is to do: see ``Store.maintain``; Unix times [s]."""

    executions_before: float
    hours_before: float
    settled: float

    @property
    def last_hour(self) -> int:
        """The first hour that stays."""
        return _whole(tallying.hour_of(self.hours_before))


def work_question(tenant: str, bounds: Bounds) -> Statement:
    """Asks for the functions that there is something to do for."""
    return (
        "SELECT id FROM poet.function f WHERE tenant = %s AND ("
        "EXISTS (SELECT 1 FROM poet.chunk c WHERE c.function = f.id AND c.oldest < %s)"
        " OR EXISTS (SELECT 1 FROM poet.hour h WHERE h.function = f.id AND h.start < %s)"
        " OR EXISTS (SELECT 1 FROM poet.score s WHERE s.function = f.id AND s.at < %s)"
        " OR EXISTS (SELECT 1 FROM poet.goal g WHERE g.function = f.id AND g.at < %s)"
        " OR (SELECT count(*) FROM (SELECT 1 FROM poet.chunk c WHERE c.function = f.id AND c.newest < %s"
        f" AND c.executions <= {SMALL} LIMIT 2) few) = 2) ORDER BY id",
        (
            said(tenant),
            bounds.executions_before,
            bounds.last_hour,
            max(bounds.settled, bounds.executions_before),
            max(bounds.settled, bounds.executions_before),
            bounds.settled,
        ),
    )


def begin_upkeep(tx: Transaction, home: Home) -> bool:
    """Take the function for upkeep, until the end of the transaction; False where another has it."""
    ((free,),) = tx.ask("SELECT pg_try_advisory_xact_lock(%s::bigint)", (-2 * home.id - 1,))
    if free:
        tx.ask(*_lock(home, alone=True))
    return bool(free)


def expire(tx: Transaction, home: Home, before: float, decode: Decode) -> int:
    """Delete executions of some chunks that started before then [Unix s]; they stay counted. Gives how many went."""
    old = tx.ask(
        "SELECT id, newest, writer, body FROM poet.chunk WHERE function = %s AND oldest < %s ORDER BY oldest LIMIT %s",
        (home.id, before, BATCH),
    )
    gone: list[Execution] = []
    statements: list[Statement] = []
    for identity, newest, writer, body in old:
        rows = decode(body, heard(writer))
        left = [row for row in rows if row.started >= before]
        gone += [row for row in rows if row.started < before]
        if not left:
            statements += _deleted(home, identity, newest, rows)
            continue
        # In place, where a reader on its way to it finds it; the newest of them is left, so ``newest`` stays.
        statements += _unnamed(home, identity, rows)
        statements.append(
            (
                "UPDATE poet.chunk SET oldest = %s, last = %s, executions = %s, writer = %s, body = %s"
                " WHERE function = %s AND newest = %s AND id = %s",
                (*_described(left), home.id, newest, identity),
            )
        )
        statements += _named(home, identity, newest, left)
    if gone:
        statements.append(
            (
                "INSERT INTO poet.counter AS c (function, shard, tenant, expired_calls, expired_failures,"
                " expired_seconds) VALUES (%s, 0, %s, %s, %s, %s) ON CONFLICT (function, shard) DO UPDATE SET"
                " expired_calls = c.expired_calls + excluded.expired_calls,"
                " expired_failures = c.expired_failures + excluded.expired_failures,"
                " expired_seconds = c.expired_seconds + excluded.expired_seconds",
                (
                    home.id,
                    said(home.tenant),
                    len(gone),
                    sum(not row.outcome.good for row in gone),
                    sum(row.seconds for row in gone),
                ),
            )
        )
        tx.ask_all(statements)
    return len(gone)


def _deleted(home: Home, identity: UUID, newest: float, rows: Iterable[Execution]) -> list[Statement]:
    return [
        ("DELETE FROM poet.chunk WHERE function = %s AND newest = %s AND id = %s", (home.id, newest, identity)),
        *_unnamed(home, identity, rows),
    ]


def _unnamed(home: Home, identity: UUID, rows: Iterable[Execution]) -> list[Statement]:
    writers = {row.writer for row in rows}
    if len(writers) == 1:
        return []
    return [
        (
            "DELETE FROM poet.writing WHERE function = %s AND writer = ANY(%s::text[]) AND chunk = %s",
            (home.id, [said(name) for name in writers], identity),
        )
    ]


def expire_hours(tx: Transaction, home: Home, bounds: Bounds) -> int:
    """Delete hours that are over by then; their calls stay counted. Gives how many of hour and version went."""
    ((gone, calls),) = tx.ask(
        "WITH gone AS (DELETE FROM poet.hour WHERE function = %s AND start < %s RETURNING start, version, calls)"
        " SELECT count(DISTINCT (start, version)), coalesce(sum(calls), 0)::bigint FROM gone",
        (home.id, bounds.last_hour),
    )
    if gone:
        tx.ask(
            "INSERT INTO poet.counter AS c (function, shard, tenant, hourless_calls) VALUES (%s, 0, %s, %s)"
            " ON CONFLICT (function, shard) DO UPDATE SET hourless_calls = c.hourless_calls + excluded.hourless_calls",
            (home.id, said(home.tenant), calls),
        )
    return int(gone)


def put_together(tx: Transaction, home: Home, settled: float, decode: Decode) -> int:
    """Make few chunks of many small ones whose executions all started before ``settled``. Gives how many went in."""
    found = tx.ask(
        "SELECT id, writer, executions, oldest, newest FROM poet.chunk WHERE function = %s AND newest < %s"
        f" AND executions <= {SMALL} ORDER BY newest LIMIT %s",
        (home.id, settled, 10 * BATCH),
    )
    merged = 0
    for group in reading.packed_together(pieces_of(found)):
        answers = tx.ask_all([body_question(home.id, piece) for piece in group])
        statements: list[Statement] = []
        together: list[Execution] = []
        for piece, ((body, writer),) in zip(group, answers, strict=True):
            rows = decode(body, heard(writer))
            together += rows
            statements += _deleted(home, UUID(str(piece.id)), piece.newest, rows)
        together.sort(key=lambda row: (row.writer, row.sequence))
        statements += _inserted(home, together)
        tx.ask_all(statements)
        merged += len(group)
    return merged


def settle_scores(tx: Transaction, home: Home, bounds: Bounds, decode: Decode) -> tuple[int, int]:
    """Write scores that were said before ``settled`` to their executions; drop those whose executions never came.

    What was said before ``executions_before`` of an execution that is not there is dropped. Gives how many were
    written, and how many were looked at.
    """
    told = tx.ask(
        "SELECT writer, sequence, max(at) FROM (SELECT writer, sequence, at FROM poet.score WHERE function = %s"
        " UNION ALL SELECT writer, sequence, at FROM poet.goal WHERE function = %s) found"
        " GROUP BY writer, sequence HAVING max(at) < %s ORDER BY max(at) LIMIT %s",
        (home.id, home.id, max(bounds.settled, bounds.executions_before), SCORES),
    )
    by_writer: dict[str, dict[int, float]] = {}
    for writer, sequence, at in told:
        by_writer.setdefault(heard(writer), {})[sequence] = at
    places = [(heard(writer), sequence) for writer, sequence, _ in told]
    scores = scores_of(*tx.ask_all(scores_questions(home.id, places))) if places else {}
    written = 0
    done: list[tuple[str, int]] = []
    for writer, wanted in sorted(by_writer.items()):
        missing = dict(wanted)
        for identity, newest, author in tx.ask(*_chunks_from(home, writer, min(wanted))):
            if not missing:
                break
            ((body,),) = tx.ask(*_body(home, identity, newest))
            before = decode(body, heard(author))
            here = {row.sequence for row in before if row.writer == writer and row.sequence in missing}
            values = {(writer, s): scores[writer, s] for s in here if missing[s] < bounds.settled}
            for sequence in here:
                del missing[sequence]
            if values:
                _rewrite(tx, home, identity, newest, before, values)
                written += len(values)
                done += values
        done += [(writer, sequence) for sequence, at in missing.items() if at < bounds.executions_before]
    if done:
        facts = ([said(writer) for writer, _ in done], [sequence for _, sequence in done], home.id)
        tx.ask_all(
            [
                (
                    f"DELETE FROM poet.{table} s USING unnest(%s::text[], %s::bigint[]) AS d (writer, sequence)"
                    " WHERE s.function = %s AND s.writer = d.writer AND s.sequence = d.sequence",
                    facts,
                )
                for table in ("score", "goal")
            ]
        )
    return written, len(told)


def _chunks_from(home: Home, writer: str, first: int) -> Statement:
    """Asks for the chunks that may hold a writer's executions from ``first`` on, by their last."""
    return (
        "SELECT id, newest, writer FROM (SELECT id, newest, writer, last FROM poet.chunk"
        " WHERE function = %s AND writer = %s AND last >= %s"
        " UNION ALL SELECT chunk, newest, '', last FROM poet.writing"
        " WHERE function = %s AND writer = %s AND last >= %s) found ORDER BY last",
        (home.id, said(writer), first, home.id, said(writer), first),
    )


def _body(home: Home, identity: UUID, newest: float) -> Statement:
    return (
        "SELECT body FROM poet.chunk WHERE function = %s AND newest = %s AND id = %s",
        (home.id, newest, identity),
    )


def _rewrite(
    tx: Transaction,
    home: Home,
    identity: UUID,
    newest: float,
    before: Sequence[Execution],
    values: Scores,
) -> None:
    """Write scores into a chunk, and count them in one shard of its hours."""
    after = reading.with_scores(before, values)
    statements: list[Statement] = [
        (
            "UPDATE poet.chunk SET body = %s WHERE function = %s AND newest = %s AND id = %s",
            (chunk.encode(after), home.id, newest, identity),
        )
    ]
    for (start, version), (scored, total) in tallying.rescored(before, after).items():
        found = tx.ask(
            "SELECT shard, calls, sums FROM poet.hour WHERE function = %s AND start = %s AND version = %s"
            " ORDER BY shard LIMIT 1",
            (home.id, start, version),
        )
        for shard, calls, sums in found:
            kept = _hour_of((start, version, calls, sums))
            changed = kept._replace(scored=kept.scored + scored, score=kept.score + total)
            statements.append(_kept_hour(home, shard, start, changed))
    tx.ask_all(statements)


def _whole(hour: Any) -> int:
    """An hour's number as its column can hold it."""
    return int(min(max(hour, -(2**31)), 2**31 - 1))
