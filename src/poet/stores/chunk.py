"""Many executions of one function and one writer as one small blob, column by column.

Kept exactly: sequence, outcome, version, error, and how many attempts there were and how they ended.
Kept rounded: ``started`` to the millisecond; every duration to a 32-bit float (a relative error of at most 2**-24, or
an absolute one of 1e-45 s).

The blob is a magic number, the length of what follows once inflated, and a zlib stream, whose checksum finds damage.
Inside, each column is cut into planes (all low bytes, then all second bytes ...): the bytes of one plane resemble each
other, so deflate finds what repeats. An attempt is written out only where it tells more than its call: a call of one
attempt, which is nearly every call, costs nothing extra.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import inf
from typing import Any

from poet.model.execution import Attempt, Execution, Outcome

ROWS = 1000  # executions of a full chunk; a longer one packs no better
_MAGIC = b"PXc1"
_HEAD = struct.Struct("<4sI")  # magic, length of the inflated body
_FIRST = struct.Struct("<IQq")  # rows, first sequence, first start [ms]
_LONGEST = 1 << 24  # bytes of an inflated body; a full chunk takes some 20 kB
_RATIO = 1032  # deflate packs nothing tighter: no blob may ask for more than this times its own length
_LEVEL = 6  # of deflate; 9 takes a third longer and gains nothing on planes of noise
_SPELT_OUT = 0x08  # beside the outcome: the attempts of this row are written out
_OUTCOMES = tuple(Outcome)
_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_LIMIT = 1 << 62  # of sequences and of starts [ms], so that their differences fit into 64 bits


def encode(executions: Sequence[Execution]) -> bytes:
    """A blob of ``executions``: 1 to ``ROWS`` of one writer, in strictly ascending order of their sequence.

    Raises ValueError where they are not, or where a duration is negative or not finite.
    """
    if not 1 <= len(executions) <= ROWS:
        raise ValueError(f"a chunk holds 1 to {ROWS} executions, got {len(executions)}")
    sequences = [e.sequence for e in executions]
    starts = [_milliseconds(e.started) for e in executions]
    seconds = _singles(e.seconds for e in executions)
    names = sorted({e.error for e in executions} - {""})
    place = {name: at for at, name in enumerate(("", *names))}
    spelt_out = [e for e, single in zip(executions, seconds, strict=True) if not _is_plain(e, single)]
    flagged = {e.sequence for e in spelt_out}
    attempts = [attempt for e in spelt_out for attempt in e.attempts]
    body = b"".join(
        (
            _FIRST.pack(len(executions), _sequence(sequences[0]), starts[0]),
            _pack(_steps(sequences)),
            _pack(_zigzag(b - a) for a, b in pairwise(starts)),
            _planes(seconds),
            bytes(e.outcome | (_SPELT_OUT if e.sequence in flagged else 0) for e in executions),
            _pack(e.version for e in executions),
            _pack_names(names),
            _pack(place[e.error] for e in executions),
            _pack(len(e.attempts) for e in spelt_out),
            bytes(a.outcome for a in attempts),
            _planes(_singles(a.seconds for a in attempts)),
            _planes(_singles(a.waited for a in attempts)),
        )
    )
    if len(body) > _LONGEST:
        raise ValueError(f"a chunk holds at most {_LONGEST} bytes, got {len(body)}; write fewer executions at a time")
    return _HEAD.pack(_MAGIC, len(body)) + zlib.compress(body, _LEVEL)


def decode(blob: bytes, writer: str) -> list[Execution]:
    """The executions of ``blob``, by ascending sequence. Raises ValueError where it is damaged or none of ours."""
    reader = _Reader(_inflate(blob))
    rows, first, start = _FIRST.unpack(reader.take(_FIRST.size))
    if not 1 <= rows <= ROWS:
        raise ValueError(f"a chunk holds 1 to {ROWS} executions, this one says {rows}")
    sequences = _running(first, (step + 1 for step in reader.numbers(rows - 1)))
    starts = _running(start, (_unzigzag(code) for code in reader.numbers(rows - 1)))
    seconds = reader.singles(rows)
    flags = reader.take(rows)
    versions = reader.numbers(rows)
    names = ("", *reader.names())
    errors = reader.numbers(rows)
    written = sum(1 for flag in flags if flag & _SPELT_OUT)
    counts = reader.numbers(written)
    total = sum(counts)
    endings = reader.take(total)
    attempts = list(
        zip(map(_outcome, endings), reader.singles(total), reader.singles(total), strict=True),
    )
    reader.finish()
    if max(errors) >= len(names):
        raise ValueError(f"an error name that is not there: {max(errors)} of {len(names)}")
    executions = []
    spelt_out, at = iter(counts), 0
    for sequence, begun, took, flag, version, error in zip(
        sequences, starts, seconds, flags, versions, errors, strict=True
    ):
        outcome = _outcome(flag & ~_SPELT_OUT)
        if flag & _SPELT_OUT:
            end = at + next(spelt_out)
            tries = tuple(Attempt(*attempt) for attempt in attempts[at:end])
            at = end
        else:
            tries = (Attempt(outcome, took),)
        executions.append(Execution(writer, sequence, begun / 1000, took, outcome, version, tries, names[error]))
    return executions


def kept_start(started: float) -> float:
    """``started`` [Unix s] as it will be read back."""
    return _milliseconds(started) / 1000


def _is_plain(execution: Execution, single: float) -> bool:
    """Whether the call's own columns say all about its attempts; ``single`` is its duration as it will be read back."""
    if len(execution.attempts) != 1:
        return False
    attempt = execution.attempts[0]
    if attempt.outcome != execution.outcome or attempt.waited != 0:
        return False
    return attempt.seconds == execution.seconds or array("f", (attempt.seconds,))[0] == single


def _milliseconds(started: float) -> int:
    if not -_LIMIT < started * 1000 < _LIMIT:  # so written, a NaN fails too
        raise ValueError(f"started must be a Unix time [s], got {started!r}")
    return round(started * 1000)


def _sequence(sequence: int) -> int:
    if not 0 <= sequence < _LIMIT:
        raise ValueError(f"sequence must be in [0, 2**62), got {sequence}")
    return sequence


def _steps(sequences: Sequence[int]) -> list[int]:
    """What each adds to the one before, less one."""
    steps = [b - a - 1 for a, b in pairwise(sequences)]
    if steps and (min(steps) < 0 or sequences[-1] >= _LIMIT):
        raise ValueError("sequences must ascend without repeating and stay below 2**62; sort the executions first")
    return steps


def _running(first: int, steps: Iterable[int]) -> list[int]:
    values = [first]
    for step in steps:
        first += step
        values.append(first)
    return values


def _zigzag(number: int) -> int:
    """Signed to unsigned, small stays small: 0, -1, 1, -2 ... become 0, 1, 2, 3 ..."""
    return 2 * number if number >= 0 else -2 * number - 1


def _unzigzag(code: int) -> int:
    return -(code >> 1) - 1 if code & 1 else code >> 1


def _outcome(code: int) -> Outcome:
    if code >= len(_OUTCOMES):
        raise ValueError(f"no outcome has the number {code}")
    return _OUTCOMES[code]


def _singles(durations: Iterable[float]) -> array[float]:
    column = array("f", durations)
    _check_durations(column)
    return column


def _check_durations(column: array[float]) -> None:
    if not all(0 <= duration < inf for duration in column):  # so written, a NaN fails too
        wrong = next(duration for duration in column if not 0 <= duration < inf)
        raise ValueError(f"a duration must be >= 0 and finite [s], got {wrong!r}")


def _pack(numbers: Iterable[int]) -> bytes:
    """The numbers, each in [0, 2**64), at the least width that holds all; the first byte says which."""
    column = list(numbers)
    largest = max(column, default=0)
    width = next((width for width in _WIDTHS if largest < 1 << (8 * width)), 8)
    try:
        return bytes((width,)) + _planes(array(_WIDTHS[width], column))
    except OverflowError as error:
        raise ValueError(f"numbers must be in [0, 2**64), got {min(column)} to {largest}") from error


def _pack_names(names: Sequence[str]) -> bytes:
    texts = [name.encode("utf-8", "surrogatepass") for name in names]
    return struct.pack("<I", len(texts)) + _pack(map(len, texts)) + b"".join(texts)


def _planes(column: array[Any]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    flat = column.tobytes()
    return b"".join(flat[at :: column.itemsize] for at in range(column.itemsize))


def _unplanes(planes: bytes, column: array[Any]) -> None:
    """Fill an empty ``column`` from the planes of one of its kind."""
    flat = bytearray(len(planes))
    rows = len(planes) // column.itemsize
    for at in range(column.itemsize):
        flat[at :: column.itemsize] = planes[at * rows : (at + 1) * rows]
    column.frombytes(bytes(flat))
    if sys.byteorder == "big":
        column.byteswap()


def _inflate(blob: bytes) -> bytes:
    """The body of a blob; never more memory than the blob's own length allows."""
    if len(blob) < _HEAD.size:
        raise ValueError(f"a chunk has at least {_HEAD.size} bytes, got {len(blob)}")
    magic, length = _HEAD.unpack_from(blob)
    if magic != _MAGIC:
        raise ValueError(f"not a chunk: it begins with {magic!r}, not {_MAGIC!r}")
    if not _FIRST.size <= length <= min(_LONGEST, _RATIO * len(blob)):
        raise ValueError(f"a chunk of {len(blob)} bytes cannot hold {length}")
    inflater = zlib.decompressobj()
    try:
        body = inflater.decompress(blob[_HEAD.size :], length + 1)
    except zlib.error as error:
        raise ValueError(f"a damaged chunk: {error}") from error
    if len(body) != length or not inflater.eof or inflater.unused_data:
        raise ValueError(f"a damaged chunk: {length} bytes announced, {len(body)} or more found")
    return body


class _Reader:
    """Takes columns off a body; what a column would take beyond the end is an error before it is allocated."""

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._body):
            raise ValueError(f"a chunk that ends too early: {end} bytes wanted, {len(self._body)} there")
        part = self._body[self._at : end]
        self._at = end
        return part

    def numbers(self, rows: int) -> list[int]:
        width = self.take(1)[0]
        if width not in _WIDTHS:
            raise ValueError(f"no column is {width} bytes wide")
        column: array[int] = array(_WIDTHS[width])
        _unplanes(self.take(rows * width), column)
        return column.tolist()

    def singles(self, rows: int) -> array[float]:
        column = array("f")
        _unplanes(self.take(rows * column.itemsize), column)
        _check_durations(column)
        return column

    def names(self) -> list[str]:
        (count,) = struct.unpack("<I", self.take(4))
        return [self.take(length).decode("utf-8", "surrogatepass") for length in self.numbers(count)]

    def finish(self) -> None:
        if self._at != len(self._body):
            raise ValueError(f"a chunk with {len(self._body) - self._at} bytes too many")
