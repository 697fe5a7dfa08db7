"""Many executions of one function as one small blob, column by column.

Kept exactly: writer, sequence, outcome, version, draw, error, features, values, goals, propensity, and how many
attempts there were, how they ended and which were hedges. Kept rounded: ``started`` to the millisecond; every duration
and score to a 32-bit float (a relative error of at most 2**-24, or an absolute one of 1e-45).

The blob is a magic number, the length of what follows once inflated, and a zlib stream, whose checksum finds damage.
Inside are, in this order, with numbers at the least width that holds all of a column and cut into planes (``columns``):

- the number of rows, the first sequence, the first start [ms]
- the writers' names and by row which, where there are several; a single one is known from elsewhere
- what each later row adds to the sequence and to the start of the one before
- by row: seconds; outcome, with ``0x08`` where its attempts are written out; version
- the errors' names, and by row which, 0 for none
- by row whose attempts are written out: how many; by attempt: outcome, with ``0x08`` for a hedge; seconds; waited
- the features (``features``)
- by row the draw; whether there is a score; the scores
- the values and the goals, each as features are
- the propensities, each once, and by row which

An attempt is written out only where it tells more than its call: a call of one attempt, which is nearly every call,
costs nothing extra. Where no execution was given its version by a coin, the propensities are not there: that is format
``PXc4``, which the release before reads, too; with them it is ``PXc5``. Where there are neither values nor goals, too,
their part is not there: ``PXc3``. Older formats are still read: ``PXc2`` had one writer, no draws and no scores,
``PXc1`` besides neither hedges nor features, and no call was shed.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, pairwise
from math import inf, isfinite
from operator import lt
from typing import Any

from poet.model.execution import Attempt, Context, Execution, Outcome
from poet.stores import features
from poet.stores.columns import Reader, count, numbers, planes, texts, unzigzag

ROWS = 1000  # executions of a full chunk; a longer one packs no better
_FAMILY, _FORMATS = b"PXc", b"12345"  # a magic number is the family and the format
_HEAD = struct.Struct("<4sI")  # magic, length of the inflated body
_FIRST = struct.Struct("<IQq")  # rows, first sequence, first start [ms]
_LONGEST = 1 << 25  # bytes of an inflated body; a full chunk takes some 20 kB, one of the longest features 26 MB
_RATIO = 1032  # deflate packs nothing tighter: no blob may ask for more than this times its own length
PEEK = 256  # bytes of a blob that tell its first sequence
_LEVEL = 6  # of deflate; 9 takes a third longer and gains nothing on planes of noise
_HOARDED = 20  # length of the tuples of which CPython 3.11 keeps 2000 for later use that it never makes: 0.4 MB
_FLAG = 0x08  # beside a row's outcome: its attempts are written out; beside an attempt's: it is a hedge
_OUTCOMES = tuple(Outcome)
_OLD_OUTCOMES = _OUTCOMES[: Outcome.SHED]
_FURTHEST = (1 << 62) / 1000  # from 1970 [s]
_LIMIT = 1 << 62  # of sequences and of starts [ms], so that their differences fit into 64 bits


class NewerChunk(ValueError):
    """A newer POET wrote this chunk. Nothing is damaged; read it with that one."""


def encode(executions: Sequence[Execution]) -> bytes:
    """A blob of ``executions``: 1 to ``ROWS``, by writer and, of each, in strictly ascending order of their sequence.

    Raises ValueError where they are not, where a duration is negative or not finite, a score is not finite, a draw or a
    propensity is out of range, and where ``features.check`` or ``features.check_goals`` does.
    """
    if not 1 <= len(executions) <= ROWS:
        raise ValueError(f"a chunk holds 1 to {ROWS} executions, got {len(executions)}")
    # Column by column from here on: to take the rows apart once is what makes it quick.
    columns = _columns(executions)
    writer, sequences, started, took, outcomes, versions, tried, errors, contexts, *later = columns
    draws, scores, values, goals, propensities = later
    writers, names = sorted(set(writer)), sorted({*errors} - {""})
    _check_sequences(sequences)
    _check_order(list(zip(writer, sequences, strict=True)) if len(writers) > 1 else sequences)
    starts = _milliseconds(started)
    seconds = _singles(took)
    flags = bytearray(outcomes)
    spelt_out: list[tuple[Attempt, ...]] = []
    for at, (attempts, outcome, duration) in enumerate(zip(tried, outcomes, took, strict=True)):
        if attempts != ((outcome, duration, 0.0, False),) and not _is_plain(attempts, outcome, duration, seconds[at]):
            flags[at] |= _FLAG
            spelt_out.append(attempts)
    endings, lasted, waited, hedges = _attempts(spelt_out)
    body = b"".join(
        (
            _FIRST.pack(len(executions), sequences[0], starts[0]),
            *([texts([])] if len(writers) == 1 else [texts(writers), _places(writer, writers)]),
            numbers([n << 1 if (n := b - a - 1) >= 0 else ~(n << 1) for a, b in pairwise(sequences)]),  # in zigzag
            numbers([n << 1 if (n := b - a) >= 0 else ~(n << 1) for a, b in pairwise(starts)]),
            planes(seconds),
            bytes(flags),
            numbers(versions),
            texts(names),
            _places(errors, ("", *names)) if names else numbers(bytes(len(errors))),
            numbers(map(len, spelt_out)),
            bytes([ending | _FLAG if hedge else ending for ending, hedge in zip(endings, hedges, strict=True)]),
            planes(_singles(lasted)),
            planes(_singles(waited)),
            features.pack(contexts),
            _draws(draws),
            bytes([score is not None for score in scores]),
            planes(_finite(array("f", [score for score in scores if score is not None]))),
        )
    )
    form = _FORMATS[2]
    dealt = any(propensity != 1.0 for propensity in propensities)
    if dealt or any(values) or any(goals):
        form = _FORMATS[3]
        body += features.pack(values, features.VALUE) + features.pack(features.goals(goals), features.GOAL)
    if dealt:
        form = _FORMATS[4]
        body += _propensities(propensities)
    if len(body) > _LONGEST:
        raise ValueError(f"a chunk holds at most {_LONGEST} bytes, got {len(body)}; write fewer executions at a time")
    return _HEAD.pack(_FAMILY + bytes((form,)), len(body)) + zlib.compress(body, _LEVEL)


def _columns(executions: Sequence[Execution]) -> Iterable[Any]:
    """The fields of all of them, one by one."""
    if len(executions) != _HOARDED:
        return zip(*executions, strict=True)
    return [list(column)[1:] for column in zip(executions[0], *executions, strict=True)]


def decode(blob: bytes, writer: str) -> list[Execution]:
    """The executions of ``blob``, by writer and ascending sequence; ``writer`` made them where it names none.

    Raises ValueError where it is damaged or none of ours, NewerChunk where this release does not know its format.
    """
    form, body = _inflate(blob)
    reader = Reader(body)
    rows, first, start = _FIRST.unpack(reader.take(_FIRST.size))
    if not 1 <= rows <= ROWS:
        raise ValueError(f"a chunk holds 1 to {ROWS} executions, this one says {rows}")
    names = reader.texts(rows) if form > 2 else []
    writers = [writer] * rows
    if form < 3:
        sequences = _running(first, (step + 1 for step in reader.numbers(rows - 1)))
    else:
        if names:
            writers = [names[place] for place in _below(len(names), reader.numbers(rows), "a writer")]
        sequences = _running(first, (unzigzag(code) + 1 for code in reader.numbers(rows - 1)))
    starts = _running(start, (unzigzag(code) for code in reader.numbers(rows - 1)))
    seconds = _durations(reader, rows)
    flags = reader.take(rows)
    versions = reader.numbers(rows)
    said = ("", *reader.texts(rows))
    errors = _below(len(said), reader.numbers(rows), "an error name")
    known, hedge = (_OLD_OUTCOMES, 0) if form < 2 else (_OUTCOMES, _FLAG)
    counts = reader.numbers(sum(1 for flag in flags if flag & _FLAG))
    total = sum(counts)
    endings = reader.take(total)
    attempts = [
        Attempt(_outcome(ending & ~hedge, known), took, waited, bool(ending & hedge))
        for ending, took, waited in zip(endings, _durations(reader, total), _durations(reader, total), strict=True)
    ]
    contexts = [()] * rows if form < 2 else features.unpack(reader, rows)
    draws, scores = ([0] * rows, [None] * rows) if form < 3 else (reader.numbers(rows), _scores(reader, rows))
    values: list[Context] = [()] * rows
    goals: list[tuple[tuple[str, float], ...]] = [()] * rows
    if form > 3:
        values = features.unpack(reader, rows, features.VALUE)
        goals = features.goals(features.unpack(reader, rows, features.GOAL))
    propensities = [1.0] * rows if form < 5 else _propensities_of(reader, rows)
    reader.finish()
    executions = []
    spelt_out, at = iter(counts), 0
    for author, sequence, begun, took, flag, version, error, *told in zip(
        writers,
        sequences,
        starts,
        seconds,
        flags,
        versions,
        errors,
        contexts,
        draws,
        scores,
        values,
        goals,
        propensities,
        strict=True,
    ):
        outcome = _outcome(flag & ~_FLAG, known)
        if flag & _FLAG:
            end = at + next(spelt_out)
            tries = tuple(attempts[at:end])
            at = end
        else:
            tries = (Attempt(outcome, took),)
        executions.append(Execution(author, sequence, begun / 1000, took, outcome, version, tries, said[error], *told))
    _check_order(list(zip(writers, sequences, strict=True)) if len(names) > 1 else sequences)
    return executions


def first_sequence(head: bytes) -> int | None:
    """The first sequence in a chunk of a single writer, from the first bytes of its blob; None: they do not tell."""
    try:
        first = zlib.decompressobj().decompress(head[_HEAD.size :], _FIRST.size)
        return int(_FIRST.unpack(first)[1])
    except (zlib.error, struct.error):
        return None


def kept_start(started: float) -> float:
    """``started`` [Unix s] as it will be read back."""
    return _milliseconds((started,))[0] / 1000


def _is_plain(attempts: Sequence[Attempt], outcome: Outcome, seconds: float, single: float) -> bool:
    """Whether the call's own columns say all about its attempts; ``single``: its ``seconds`` as they are read back."""
    if len(attempts) != 1:
        return False
    attempt = attempts[0]
    if attempt.outcome != outcome or attempt.hedge:
        return False
    if attempt.waited != 0 and _single(attempt.waited) != 0:
        return False
    return attempt.seconds == seconds or _single(attempt.seconds) == single


def _attempts(spelt_out: Iterable[tuple[Attempt, ...]]) -> Iterable[Sequence[Any]]:
    """Their outcomes, seconds, pauses and whether they are hedges: a column each."""
    return zip(*chain.from_iterable(spelt_out), strict=True) if spelt_out and any(spelt_out) else ((), (), (), ())


def _single(duration: float) -> float:
    return array("f", (duration,))[0]


def _milliseconds(started: Sequence[float]) -> list[int]:
    for start in started:
        if not -_FURTHEST < start < _FURTHEST:  # so written, a NaN fails too
            raise ValueError(f"started must be a Unix time [s], got {start!r}")
    return [round(start * 1000) for start in started]


def _check_order(keys: Sequence[int] | Sequence[tuple[str, int]]) -> None:
    """keys: sequences, with their writers where there are several."""
    if not all(map(lt, keys, keys[1:])):
        raise ValueError("a writer's sequences must ascend without repeating; sort the executions first")


def _check_sequences(sequences: Sequence[int]) -> None:
    if not 0 <= min(sequences) <= max(sequences) < _LIMIT:
        wrong = min(sequences) if min(sequences) < 0 else max(sequences)
        raise ValueError(f"a sequence must be >= 0 and below 2**62, got {wrong}")


def _places(values: Sequence[str], names: Sequence[str]) -> bytes:
    """Of each value its place among ``names``."""
    place = {name: at for at, name in enumerate(names)}
    return numbers([place[value] for value in values])


def _below(limit: int, places: list[int], what: str) -> list[int]:
    if max(places) >= limit:
        raise ValueError(f"{what} that is not there: {max(places)} of {limit}")
    return places


def _draws(draws: Sequence[int]) -> bytes:
    if not 0 <= min(draws) <= max(draws) < _LIMIT:
        raise ValueError(f"a draw must be in [0, 2**62), got {min(draws)} to {max(draws)}")
    return numbers(draws)


def _finite(column: array[float]) -> array[float]:
    if not all(map(isfinite, column)):
        wrong = next(score for score in column if not isfinite(score))
        raise ValueError(f"a score must be finite, got {wrong!r}")
    return column


def _scores(reader: Reader, rows: int) -> list[float | None]:
    there = reader.take(rows)
    if max(there) > 1:
        raise ValueError(f"a score is there or not, got {max(there)}")
    scores = iter(_finite(reader.singles(sum(there))))
    return [next(scores) if one else None for one in there]


def _propensities(propensities: Sequence[float]) -> bytes:
    """There are few: a coin has as many as it has sides."""
    found = sorted(set(propensities))
    for propensity in found:
        features.check_propensity(propensity)
    place = {propensity: at for at, propensity in enumerate(found)}
    return count(len(found)) + planes(array("d", found)) + numbers([place[propensity] for propensity in propensities])


def _propensities_of(reader: Reader, rows: int) -> list[float]:
    found = reader.doubles(reader.count(rows))
    for propensity in found:
        features.check_propensity(propensity)
    return [found[place] for place in _below(len(found), reader.numbers(rows), "a propensity")]


def _running(first: int, steps: Iterable[int]) -> list[int]:
    values = [first]
    for step in steps:
        first += step
        values.append(first)
    return values


def _outcome(code: int, known: Sequence[Outcome]) -> Outcome:
    if code >= len(known):
        raise ValueError(f"no outcome has the number {code}")
    return known[code]


def _singles(durations: Iterable[float]) -> array[float]:
    column = array("f", durations)
    _check_durations(column)
    return column


def _check_durations(column: array[float]) -> None:
    if not all(0 <= duration < inf for duration in column):  # so written, a NaN fails too
        wrong = next(duration for duration in column if not 0 <= duration < inf)
        raise ValueError(f"a duration must be >= 0 and finite [s], got {wrong!r}")


def _durations(reader: Reader, rows: int) -> array[float]:
    column = reader.singles(rows)
    _check_durations(column)
    return column


def _inflate(blob: bytes) -> tuple[int, bytes]:
    """The number of a blob's format, and its body; never more memory than the blob's own length allows."""
    if len(blob) < _HEAD.size:
        raise ValueError(f"a chunk has at least {_HEAD.size} bytes, got {len(blob)}")
    magic, length = _HEAD.unpack_from(blob)
    family, form = magic[:3], magic[3]
    if family == _FAMILY and max(_FORMATS) < form <= ord("9"):
        raise NewerChunk(f"a newer POET wrote it: its format is {magic.decode()}")
    if family != _FAMILY or form not in _FORMATS:
        raise ValueError(f"not a chunk: it begins with {magic!r}")
    if not _FIRST.size <= length <= min(_LONGEST, _RATIO * len(blob)):
        raise ValueError(f"a chunk of {len(blob)} bytes cannot hold {length}")
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(blob[_HEAD.size :], length + 1)
    except zlib.error as error:
        raise ValueError(f"a damaged chunk: {error}") from error
    if len(body) != length or not inflater.eof or inflater.unused_data:
        raise ValueError(f"a damaged chunk: {length} bytes announced, {len(body)} or more found")
    return form - ord("0"), body
