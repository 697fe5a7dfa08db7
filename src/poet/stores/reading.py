"""Chunks put back into the order of their executions, and which of them belong together."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from poet.model.execution import Execution, rescored
from poet.stores import chunk, rules

MERGE = 2  # a new chunk swallows those before it that are at most this many times its size; see ``swallowed``


class Piece(NamedTuple):
    """What a store's table says of a chunk."""

    id: int | str
    writer: str  # of a chunk of several writers it is empty: the chunk names them
    executions: int
    oldest: float  # least start [Unix s]
    newest: float  # greatest start [Unix s]
    body: bytes | None = None  # only while it grows, as it may be gone by the time when it is asked for


Fetch = Callable[[Piece], list[Execution]]


def oldest_first(pieces: Iterable[Piece], fetch: Fetch) -> Iterator[Execution]:
    """All executions by age. Merges chunks whose times overlap: what is older than all chunks to come may go."""
    waiting: list[Execution] = []
    for piece in sorted(pieces, key=lambda piece: (piece.oldest, str(piece.id))):
        ready = bisect_left(waiting, piece.oldest, key=lambda row: row.started)
        yield from waiting[:ready]
        waiting = sorted((*waiting[ready:], *fetch(piece)), key=rules.age)
    yield from waiting


def newest(pieces: Iterable[Piece], limit: int, fetch: Fetch) -> Iterator[Execution]:
    """The newest ``limit``, oldest first; reads no chunk that cannot hold one of them."""
    heap: list[tuple[tuple[float, str, int], Execution]] = []  # by age, the oldest on top
    for piece in sorted(pieces, key=lambda piece: piece.newest, reverse=True):
        if len(heap) >= limit and (not heap or piece.newest < heap[0][1].started):
            break
        for row in fetch(piece):
            if len(heap) < limit:
                heapq.heappush(heap, (rules.age(row), row))
            else:
                heapq.heappushpop(heap, (rules.age(row), row))
    return iter([row for _, row in sorted(heap, key=lambda item: item[0])])


class Said(NamedTuple):
    """What was said of an execution after it had ended."""

    score: float | None  # None: of its goals only
    goals: tuple[tuple[str, float], ...] = ()


Place = tuple[str, int]  # writer and sequence
Scores = Mapping[Place, Said]


def with_scores(executions: Iterable[Execution], scores: Scores) -> list[Execution]:
    """The executions with what was said of them later."""
    if not scores:
        return list(executions)
    return [
        row if (said := scores.get((row.writer, row.sequence))) is None else scored(row, said) for row in executions
    ]


def scored(row: Execution, said: Said) -> Execution:
    """``row`` with what was said later."""
    return rescored(row, said.score, said.goals)


def gathered(
    scores: Iterable[tuple[str, int, float]], goals: Iterable[tuple[str, int, str, float]]
) -> dict[Place, Said]:
    """What rows of scores and of goals say together; goals in the order in which they come."""
    named: dict[Place, list[tuple[str, float]]] = {}
    for writer, sequence, name, value in goals:
        named.setdefault((writer, sequence), []).append((name, value))
    found = {(writer, sequence): Said(score) for writer, sequence, score in scores}
    for place, said in named.items():
        found[place] = Said(found[place].score if place in found else None, tuple(said))
    return found


def in_order(executions: Iterable[Execution], ids: Sequence[Place]) -> list[Execution]:
    """The executions in the order of ``ids``, each once."""
    found = {(row.writer, row.sequence): row for row in executions}
    return [found[place] for place in dict.fromkeys(ids) if place in found]


S = TypeVar("S", bound=tuple[object, ...])


def swallowed(rows: int, growing: Sequence[S], size: Callable[[S], int]) -> list[S]:
    """Which of a writer's ``growing`` chunks, newest first, a new one of ``rows`` executions is put together with.

    A handful of rows every second would make chunks that hold little and pack badly, and to rewrite the newest chunk
    each time would write every row a hundred times. So a new chunk swallows the growing ones before it that are of
    about its size, as in a log-structured merge tree (O'Neil et al. 1996): a row is written some ten times at most, and
    of the growing chunks there are never more than about ten.
    """
    taken = []
    for piece in growing:
        if size(piece) > MERGE * rows:
            break
        rows += size(piece)
        taken.append(piece)
    return taken


def cut(rows: Sequence[Execution]) -> list[Sequence[Execution]]:
    """Executions of one writer, by sequence, as what fits into a chunk each."""
    return [rows[start : start + chunk.ROWS] for start in range(0, len(rows), chunk.ROWS)]


def packed_together(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Groups of small chunks, in order of their age, that fit into one chunk each; those left alone are left out."""
    groups: list[list[Piece]] = [[]]
    held = 0
    for piece in sorted(pieces, key=lambda piece: (piece.oldest, str(piece.id))):
        if held + piece.executions > chunk.ROWS:
            groups.append([])
            held = 0
        groups[-1].append(piece)
        held += piece.executions
    return [group for group in groups if len(group) > 1]
