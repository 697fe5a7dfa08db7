"""SQL on executions, hours and scores, in an SQLite file."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence

from poet.model.aggregate import Hour
from poet.model.execution import Execution, Feedback
from poet.stores import chunk, reading, tallying
from poet.stores.reading import Piece, Place, Said, Scores
from poet.stores.rows import Damage

_SMALL = chunk.ROWS // 2  # executions of a chunk up to which it may be put together with others

Decode = Callable[[bytes, str], list[Execution]]


def append(
    file: sqlite3.Connection, function: int, writer: str, rows: Sequence[Execution], decode: Decode
) -> list[Execution]:
    """Store those of a writer's ``rows`` that are not stored yet, and give them."""
    stored = _stored(file, function, writer, rows[0].sequence, decode)
    added = [row for row in rows if row.sequence not in stored] if stored else list(rows)
    if not added:
        return added
    growing = file.execute(
        "SELECT id, executions, body FROM chunk WHERE function = ? AND writer = ? AND growing ORDER BY last DESC",
        (function, writer),
    ).fetchall()
    merged = added
    for identity, _, body in reading.swallowed(len(added), growing, lambda piece: int(piece[1])):
        merged = [*decode(body, writer), *merged]
        file.execute("DELETE FROM chunk WHERE id = ?", (identity,))
    if merged is not added:
        merged = sorted(merged, key=lambda row: row.sequence)
    for piece in reading.cut(merged):
        insert(file, function, writer, piece, growing=len(piece) < chunk.ROWS)
    return added


def _stored(file: sqlite3.Connection, function: int, writer: str, first: int, decode: Decode) -> set[int]:
    """Sequences from ``first`` on, and some before it, that are stored of a writer."""
    bodies = file.execute(
        "SELECT body FROM chunk WHERE function = ? AND writer = ? AND last >= ?"
        " UNION ALL SELECT body FROM writing JOIN chunk ON chunk.id = writing.chunk"
        " WHERE writing.function = ? AND writing.writer = ? AND writing.last >= ?",
        (function, writer, first, function, writer, first),
    ).fetchall()
    return {row.sequence for (body,) in bodies for row in decode(body, writer) if row.writer == writer}


def insert(
    file: sqlite3.Connection, function: int, writer: str, rows: Sequence[Execution], *, growing: bool = False
) -> None:
    """A chunk of ``rows``; of several writers where ``writer`` is empty and they are."""
    identity = file.execute(
        "INSERT INTO chunk (function, writer, growing, last, executions, oldest, newest, body)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (function, writer, growing, *_described(rows)),
    ).lastrowid
    last = {row.writer: row.sequence for row in rows}
    if len(last) > 1:
        file.executemany(
            "INSERT INTO writing (function, writer, last, chunk) VALUES (?, ?, ?, ?)",
            [(function, name, sequence, identity) for name, sequence in last.items()],
        )


def _described(rows: Sequence[Execution]) -> tuple[int, int, float, float, bytes]:
    """What the table says of a chunk, and the chunk."""
    starts = [row.started for row in rows]
    oldest, newest = chunk.kept_start(min(starts)), chunk.kept_start(max(starts))
    return rows[-1].sequence, len(rows), oldest, newest, chunk.encode(rows)


def _replace(file: sqlite3.Connection, identity: int, rows: Sequence[Execution]) -> None:
    """Let a chunk hold ``rows``; of one of several writers one may be left."""
    writers = {row.writer for row in rows}
    file.execute(
        "UPDATE chunk SET writer = ?, last = ?, executions = ?, oldest = ?, newest = ?, body = ? WHERE id = ?",
        (writers.pop() if len(writers) == 1 else "", *_described(rows), identity),
    )


def count(file: sqlite3.Connection, function: int, added: Sequence[Execution]) -> None:
    """Count what was added, in all and by the hour."""
    file.execute(
        "UPDATE counter SET calls = calls + ?, failures = failures + ?, seconds = seconds + ?,"
        " last_call = max(last_call, ?) WHERE function = ?",
        (
            len(added),
            sum([not row.outcome.good for row in added]),
            sum([row.seconds for row in added]),
            max([row.started for row in added]),
            function,
        ),
    )
    for (start, version), hour in tallying.tallied(added).items():
        kept = _hour(file, function, start, version)
        _keep_hour(file, function, start, hour if kept is None else tallying.added(kept, hour))


def _hour(file: sqlite3.Connection, function: int, start: int, version: int) -> Hour | None:
    row = file.execute(
        "SELECT calls, sums FROM hour WHERE function = ? AND start = ? AND version = ?", (function, start, version)
    ).fetchone()
    if row is None:
        return None
    try:
        return tallying.unpack(start, version, *row)
    except ValueError as error:  # of ours, not of the caller's executions
        raise Damage(f"an hour is damaged: {error}") from error


def _keep_hour(file: sqlite3.Connection, function: int, start: int, hour: Hour) -> None:
    file.execute(
        "INSERT OR REPLACE INTO hour (function, start, version, calls, sums) VALUES (?, ?, ?, ?, ?)",
        (function, start, hour.version, hour.calls, tallying.pack(hour)),
    )


def hours(file: sqlite3.Connection, function: int, since: float) -> list[Hour]:
    """Hours that end after ``since`` [Unix s], by their start."""
    rows = file.execute(
        "SELECT start, version, calls, sums FROM hour WHERE function = ? AND start >= ? ORDER BY start, version",
        (function, tallying.hour_of(since)),
    ).fetchall()
    return [tallying.unpack(*row) for row in rows]


def pieces(file: sqlite3.Connection, function: int, since: float) -> list[Piece]:
    """What holds executions that started at or after ``since`` [Unix s].

    A chunk that is at least half full keeps its place, so it may be fetched when its turn comes. One that grows or is
    small may have been put together with others by then: its body is taken along now.
    """
    rows = file.execute(
        "SELECT id, writer, executions, oldest, newest, CASE WHEN growing OR executions <= ? THEN body END FROM chunk"
        " WHERE function = ? AND newest >= ?",
        (_SMALL, function, since),
    ).fetchall()
    return [Piece(*row) for row in rows]


def find(
    file: sqlite3.Connection, function: int, writer: str, sequences: Sequence[int], decode: Decode
) -> list[Execution]:
    """Those of a writer's ``sequences``, ascending, that are stored; decodes no chunk that cannot hold one of them."""
    chunks = file.execute(
        "SELECT id, last, 0, substr(body, 1, ?) FROM chunk WHERE function = ? AND writer = ? AND last >= ?"
        " UNION ALL SELECT chunk, last, 1, '' FROM writing WHERE function = ? AND writer = ? AND last >= ?"
        " ORDER BY last",
        (chunk.PEEK, function, writer, sequences[0], function, writer, sequences[0]),
    ).fetchall()
    missing = list(sequences)
    found: list[Execution] = []
    for identity, last, several, head in chunks:
        if not missing:
            break
        first = (None if several else chunk.first_sequence(head)) or 0
        if bisect_left(missing, first) == bisect_right(missing, last):
            continue
        (body,) = file.execute("SELECT body FROM chunk WHERE id = ?", (identity,)).fetchone()
        wanted = set(missing)
        here = [row for row in decode(body, writer) if row.sequence in wanted and row.writer == writer]
        found += here
        missing = sorted(wanted.difference(row.sequence for row in here))
    return found


def scores(file: sqlite3.Connection, function: int) -> dict[Place, Said]:
    """What was said of executions, and their chunks do not have yet."""
    return reading.gathered(
        file.execute("SELECT writer, sequence, score FROM score WHERE function = ?", (function,)),
        file.execute(
            "SELECT writer, sequence, name, value FROM goal WHERE function = ? ORDER BY at, name", (function,)
        ),
    )


def scores_of(file: sqlite3.Connection, function: int, places: Iterable[Place]) -> dict[Place, Said]:
    """The same of some executions."""
    one = " WHERE function = ? AND writer = ? AND sequence = ?"
    found: dict[Place, Said] = {}
    for place in places:
        asked = (function, *place)
        found |= reading.gathered(
            file.execute(f"SELECT writer, sequence, score FROM score{one}", asked),  # noqa: S608
            file.execute(f"SELECT writer, sequence, name, value FROM goal{one} ORDER BY at, name", asked),  # noqa: S608
        )
    return found


def score(file: sqlite3.Connection, function: int, feedback: Iterable[Feedback]) -> None:
    """Keep what was said; of several the newest, of goals the newest of each name."""
    told = list(feedback)
    file.executemany(
        "INSERT INTO score (function, writer, sequence, score, at) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (function, writer, sequence) DO UPDATE SET score = excluded.score, at = excluded.at"
        " WHERE excluded.at >= at",
        [(function, each.writer, each.sequence, each.score, each.at) for each in told],
    )
    file.executemany(
        "INSERT INTO goal (function, writer, sequence, name, value, at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (function, writer, sequence, name) DO UPDATE SET value = excluded.value, at = excluded.at"
        " WHERE excluded.at >= at",
        [(function, each.writer, each.sequence, *goal, each.at) for each in told for goal in each.goals],
    )


def expire(file: sqlite3.Connection, function: int, before: float, decode: Decode) -> int:
    """Delete executions that started before a moment [Unix s]; they stay counted. Gives how many went."""
    old = file.execute(
        "SELECT id, writer, body FROM chunk WHERE function = ? AND oldest < ?", (function, before)
    ).fetchall()
    gone: list[Execution] = []
    for identity, writer, body in old:
        rows = decode(body, writer)
        left = [row for row in rows if row.started >= before]
        gone += [row for row in rows if row.started < before]
        if left:  # in place, where a reader on its way to it finds it
            _replace(file, identity, left)
        else:
            file.execute("DELETE FROM chunk WHERE id = ?", (identity,))
    if gone:
        file.execute(
            "UPDATE counter SET expired_calls = expired_calls + ?, expired_failures = expired_failures + ?,"
            " expired_seconds = expired_seconds + ? WHERE function = ?",
            (len(gone), sum(not row.outcome.good for row in gone), sum(row.seconds for row in gone), function),
        )
    return len(gone)


def expire_hours(file: sqlite3.Connection, function: int, before: float) -> int:
    """Delete hours that ended at or before a moment [Unix s]; their calls stay counted. Gives how many went."""
    end = tallying.hour_of(before)
    gone, calls = file.execute(
        "SELECT count(*), coalesce(sum(calls), 0) FROM hour WHERE function = ? AND start < ?", (function, end)
    ).fetchone()
    if gone:
        file.execute("DELETE FROM hour WHERE function = ? AND start < ?", (function, end))
        file.execute("UPDATE counter SET hourless_calls = hourless_calls + ? WHERE function = ?", (calls, function))
    return int(gone)


def put_together(file: sqlite3.Connection, function: int, settled: float, decode: Decode) -> int:
    """Make few chunks of many small ones whose executions all started before ``settled``. Gives how many went in."""
    rows = file.execute(
        "SELECT id, writer, executions, oldest, newest, body FROM chunk"
        " WHERE function = ? AND newest < ? AND executions <= ?",
        (function, settled, _SMALL),
    ).fetchall()
    merged = 0
    for group in reading.packed_together([Piece(*row) for row in rows]):
        together = [row for piece in group for row in decode(piece.body or b"", piece.writer)]
        together.sort(key=lambda row: (row.writer, row.sequence))
        for piece in group:
            file.execute("DELETE FROM chunk WHERE id = ?", (piece.id,))
        writers = {row.writer for row in together}
        insert(file, function, writers.pop() if len(writers) == 1 else "", together)
        merged += len(group)
    return merged


def settle_scores(file: sqlite3.Connection, function: int, settled: float, forgotten: float, decode: Decode) -> int:
    """Write scores that were said before ``settled`` to their executions; drop those whose executions never came.

    forgotten: what was said before this moment of an execution that is not there is dropped [Unix s]. Gives how many
    were written.
    """
    said = file.execute(
        "SELECT writer, sequence, max(at) AS said FROM (SELECT writer, sequence, at FROM score WHERE function = ?"
        " UNION ALL SELECT writer, sequence, at FROM goal WHERE function = ?)"
        " GROUP BY writer, sequence HAVING said < ?",
        (function, function, max(settled, forgotten)),
    ).fetchall()
    wanted: dict[int, list[Place]] = {}
    for writer, sequence, at in said:
        place = writer, sequence
        identity = _chunk_of(file, function, writer, sequence, decode)
        if identity is not None and at < settled:
            wanted.setdefault(identity, []).append(place)
        elif identity is None and at < forgotten:
            _drop_scores(file, function, [place])
    for identity, here in wanted.items():
        _rewrite(file, function, identity, scores_of(file, function, here), decode)
    return sum(map(len, wanted.values()))


def _drop_scores(file: sqlite3.Connection, function: int, places: Iterable[Place]) -> None:
    rows = [(function, *place) for place in places]
    file.executemany("DELETE FROM score WHERE function = ? AND writer = ? AND sequence = ?", rows)
    file.executemany("DELETE FROM goal WHERE function = ? AND writer = ? AND sequence = ?", rows)


def _chunk_of(file: sqlite3.Connection, function: int, writer: str, sequence: int, decode: Decode) -> int | None:
    """The chunk that holds an execution; None where none does."""
    candidates = file.execute(
        "SELECT id, body FROM chunk WHERE function = ? AND writer = ? AND last >= ?"
        " UNION ALL SELECT chunk.id, body FROM writing JOIN chunk ON chunk.id = writing.chunk"
        " WHERE writing.function = ? AND writing.writer = ? AND writing.last >= ?",
        (function, writer, sequence, function, writer, sequence),
    )
    for identity, body in candidates:
        if any(row.sequence == sequence and row.writer == writer for row in decode(body, writer)):
            return int(identity)
    return None


def _rewrite(
    file: sqlite3.Connection,
    function: int,
    identity: int,
    values: Scores,
    decode: Decode,
) -> None:
    writer, body = file.execute("SELECT writer, body FROM chunk WHERE id = ?", (identity,)).fetchone()
    before = decode(body, writer)
    after = reading.with_scores(before, values)
    _replace(file, identity, after)
    for (start, version), (scored, total) in tallying.rescored(before, after).items():
        kept = _hour(file, function, start, version)
        if kept is not None:
            _keep_hour(file, function, start, kept._replace(scored=kept.scored + scored, score=kept.score + total))
    _drop_scores(file, function, values)
