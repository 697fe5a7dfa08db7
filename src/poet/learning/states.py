"""What is known of one function, as arrays, and in the little room that it takes while nobody looks."""

from __future__ import annotations

import math
import struct
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition
from poet.kernels.online.bins import BINS
from poet.kernels.online.ewma import Ewma
from poet.kernels.online.survival import Array
from poet.learning.notes import MEMORIES

CELLS = 3 * BINS  # of a table of counts, for each memory

Number = TypeVar("Number", bound=np.generic)

_NO_COUNTS = np.zeros((MEMORIES, 3, BINS), np.float32)
_NO_CELLS = np.zeros(0, np.uint16)
_NO_RECORD = np.zeros(MEMORIES)
_HEAD = struct.Struct("=I2?2x4d")  # cells; whether there are beliefs, of errors and of repeats; refused, retried


class State(NamedTuple):
    """All that a fold changes."""

    counts: npt.NDArray[np.float32]  # (MEMORIES, 3, BINS); single precision, so that the dump is small and exact
    record: Array  # (MEMORIES,) discounted log likelihood of each memory
    errors: Array  # log posterior over (permanent share, persistence)
    repeats: Array  # log posterior over the chance that latency repeats
    refused: Ewma  # share of calls
    retried: tuple[float, float]  # calls seen to retry after an error, after a timeout


class Sparse(NamedTuple):
    """A table of counts most of whose cells are 0, in all memories; never to be changed."""

    cells: npt.NDArray[np.uint16]  # (n,) rising, in [0, CELLS)
    values: npt.NDArray[np.float32] | Array  # (MEMORIES, n)

    @classmethod
    def of(cls, counts: npt.NDArray[np.float32] | Array) -> Sparse:
        """``counts``, (MEMORIES, CELLS), without those that are 0; exact."""
        cells = np.flatnonzero(counts.any(axis=0))
        return cls(cells.astype(np.uint16), counts[:, cells])

    def dense(self) -> npt.NDArray[np.float32] | Array:
        """The table again, (MEMORIES, CELLS)."""
        table = np.zeros((MEMORIES, CELLS), self.values.dtype)
        table[:, self.cells] = self.values
        return table


def numbered(*cells: npt.NDArray[np.integer]) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.intp]]:
    """The cells that are in any of ``cells``, rising, and where in that list each cell is: (n,) and (CELLS,)."""
    there = np.zeros(CELLS, np.bool_)
    for each in cells:
        there[each] = True
    return np.flatnonzero(there).astype(np.uint16), there.cumsum() - 1


class Kept:
    """A state at rest, a kilobyte or so, exact: in one piece, as every array takes 0.1 kB beside what it says."""

    __slots__ = ("_packed",)

    def __init__(self, packed: bytes) -> None:
        """packed: what ``of`` makes."""
        self._packed = packed

    @classmethod
    def of(cls, state: State) -> Kept:
        """``state``, put to rest."""
        start = repetition.PRIOR
        table = Sparse.of(state.counts.reshape(MEMORIES, -1))
        # left out where they are as before any retry was seen
        errors = None if state.errors is start.errors else state.errors
        repeats = None if state.repeats is start.repeats else state.repeats
        head = _HEAD.pack(len(table.cells), errors is not None, repeats is not None, *state.refused, *state.retried)
        arrays = (state.record, errors, repeats, table.values, table.cells)
        return cls(head + b"".join(array.tobytes() for array in arrays if array is not None))

    @property
    def retried(self) -> tuple[float, float]:
        """As the state's."""
        *_, errors, timeouts = _HEAD.unpack_from(self._packed)
        return errors, timeouts

    def state(self) -> State:
        """The state again; what it shares with this one is never to be changed."""
        n, has_errors, has_repeats, total, weight, errors, timeouts = _HEAD.unpack_from(self._packed)
        offset = _HEAD.size

        def take(like: npt.NDArray[Number], shape: tuple[int, ...]) -> npt.NDArray[Number]:
            nonlocal offset
            taken = np.frombuffer(self._packed, like.dtype, math.prod(shape), offset).reshape(shape)
            offset += taken.nbytes
            return taken

        start = repetition.PRIOR
        record = take(_NO_RECORD, _NO_RECORD.shape)
        of_errors = take(start.errors, start.errors.shape) if has_errors else start.errors
        of_repeats = take(start.repeats, start.repeats.shape) if has_repeats else start.repeats
        values = take(_NO_COUNTS, (MEMORIES, n))
        table = Sparse(take(_NO_CELLS, (n,)), values).dense()
        counts = table.astype(np.float32, copy=False).reshape(_NO_COUNTS.shape)
        return State(counts, record, of_errors, of_repeats, Ewma(total, weight), (errors, timeouts))


def empty() -> State:
    """Nothing seen yet."""
    counts = np.zeros((MEMORIES, 3, BINS), np.float32)
    return State(counts, np.zeros(MEMORIES), *repetition.PRIOR, Ewma(), (0.0, 0.0))


def packed(state: State) -> bytes:
    """The arrays of ``state``, as a store keeps them."""
    return b"".join(array.tobytes() for array in (state.counts, state.record, state.errors, state.repeats))


def unpacked(blob: bytes, refused: Ewma, retried: tuple[float, float], *, earlier: bool = False) -> State:
    """The inverse of ``packed``. Raises ValueError where ``blob`` is none. earlier: by a release of another grid."""
    start = empty()
    size = start.counts.nbytes
    counts = np.frombuffer(blob[:size], np.float32)
    rest = np.frombuffer(blob[size:], np.float64)  # raises where the bytes are no whole number of floats
    shapes = [start.record.shape, start.errors.shape, start.repeats.shape]
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    if counts.size != start.counts.size or rest.size != ends[-1]:
        raise ValueError(f"{len(blob)} bytes are not the size of a state")
    if not (np.isfinite(counts).all() and np.isfinite(rest).all() and (counts >= 0).all()):
        raise ValueError("a number is out of range")
    parts = np.split(rest, ends[:-1])
    record, errors, repeats = (part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))
    if earlier and not np.array_equal(errors, repetition.PRIOR.errors):
        errors = repetition.PRIOR.errors + repetition.resampled(errors - repetition.PRIOR.errors)
    errors, repeats = (  # copied, as each would hold all of them; most functions never retry
        prior if np.array_equal(belief, prior) else belief.copy()
        for belief, prior in zip((errors, repeats), repetition.PRIOR, strict=True)
    )
    return State(counts.reshape(start.counts.shape), record.copy(), errors, repeats, refused, retried)
