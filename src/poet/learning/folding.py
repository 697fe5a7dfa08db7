"""How a block of noted attempts becomes counts, weights and beliefs: pure functions on arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import BINS, FINE
from poet.kernels.online.ewma import Ewma, mean, observe_all
from poet.kernels.online.hedging import Durations
from poet.kernels.online.survival import KNOTS, WIDTHS, Array, Grid, Hazards, read
from poet.learning.notes import CENSORED, KIND, MEMORIES, REFUSED_HALF_LIFE, Copy, Note, duration, marked
from poet.model.execution import Outcome

SHARE = (
    0.01  # of the weight that is dealt out anew per call: no memory is ever out of the race (Herbster & Warmuth 1998)
)
DEPENDENT = 1.5  # a retry after a timeout counts 1 - this times the chance that latency repeats
LEAST_WEIGHT = 0.1  # of a sample that is worth counting
_ANSWERS = (Outcome.SUCCESS, Outcome.LATE)
_VERDICTS = (Outcome.SUCCESS, Outcome.LATE, Outcome.ERROR, Outcome.TIMEOUT)


class State(NamedTuple):
    """All that a fold changes."""

    counts: npt.NDArray[np.float32]  # (MEMORIES, 3, BINS); single precision, so that the dump is small and exact
    record: Array  # (MEMORIES,) discounted log likelihood of each memory
    errors: Array  # log posterior over (permanent share, persistence)
    repeats: Array  # log posterior over the chance that latency repeats
    refused: Ewma  # share of calls
    retried: tuple[float, float]  # calls seen to retry after an error, after a timeout


class Picture(NamedTuple):
    """What follows from a state: one set of curves per memory, and the weights between them."""

    hazards: Hazards
    answered: Array  # (MEMORIES, BINS) chance of an answer by each knot
    failed: Array  # (MEMORIES, BINS) chance of an error by each knot
    weights: Array  # (MEMORIES,)
    errors: Array  # (n_permanent, n_persistence) probabilities
    repeats: Array  # (n_repeats,) probabilities
    refused: float  # share of calls that are refused
    likely: Array  # (3, MEMORIES, BINS) log likelihood of an attempt by kind, memory and bin


Table = list[list[list[float]]]  # log likelihood by kind, bin and memory


def empty() -> State:
    """Nothing seen yet."""
    counts = np.zeros((MEMORIES, 3, BINS), np.float32)
    return State(counts, np.zeros(MEMORIES), *repetition.PRIOR, Ewma(), (0.0, 0.0))


def pictured(state: State) -> tuple[Picture, Table]:
    """The picture, and the table by which the next attempts are judged."""
    evidence = survival.hazards(state.counts.astype(float))
    answer, error = survival.posterior_mean(evidence)
    answered, failed, alive = survival.incidence(answer, error)
    with np.errstate(divide="ignore"):
        log_alive = np.log(np.maximum(alive, 1e-12))
        rows = np.stack([log_alive + np.log(answer), log_alive + np.log(error), log_alive])
    refused = mean(state.refused) if state.refused.weight else 0.0
    picture = Picture(
        evidence,
        answered,
        failed,
        repetition.normalised(state.record),
        repetition.normalised(state.errors),
        repetition.normalised(state.repeats),
        refused,
        rows,
    )
    table: Table = rows.transpose(0, 2, 1).tolist()
    return picture, table


def folded(
    state: State,
    notes: Sequence[Note],
    n_calls: int,
    picture: Picture | None,
    keeps: Sequence[float],
    record_keep: float,
    *,
    copies: Sequence[Copy] = (),
    doubt: float | None = None,
) -> State:
    """``state`` after ``n_calls`` calls whose attempts are ``notes`` and whose hedges are ``copies``, oldest first.

    picture: of ``state``; None where it is empty.
    keeps: share of a count that is kept per call, one per memory, in (0, 1); record_keep: of the memories' record.
    doubt: half-life of what is believed of repeating latency [calls]; None: only new evidence moves it.
    """
    picture = picture or pictured(state)[0]
    calls = _by_call(notes)
    expected = float(picture.repeats @ repetition.REPEATS)
    after_errors = [sequence for attempts in calls if (sequence := _sequence(attempts, Outcome.ERROR))]
    after_timeouts = [(attempts, sequence) for attempts in calls if (sequence := _sequence(attempts, Outcome.TIMEOUT))]
    dependent = 1.0 - DEPENDENT * expected
    repeats = state.repeats if doubt is None else _doubted(state.repeats, n_calls, doubt)
    return State(
        _counted(state.counts, _weighed(calls, dependent) + _weighed_copies(copies, dependent), n_calls, keeps),
        _recorded(state, picture, [attempts[0] for attempts in calls], n_calls, record_keep),
        _after_errors(state.errors, after_errors, picture),
        _after_copies(_after_timeouts(repeats, after_timeouts, picture), copies, picture),
        observe_all(
            state.refused,
            sum(attempts[-1].outcome == Outcome.REFUSED for attempts in calls),
            n_calls,
            half_life=REFUSED_HALF_LIFE,
        ),
        (state.retried[0] + len(after_errors), state.retried[1] + len(after_timeouts)),
    )


def _by_call(notes: Sequence[Note]) -> list[list[Note]]:
    """The attempts of each call."""
    calls: list[list[Note]] = []
    last = -1
    for note in notes:
        if note.call != last:
            calls.append([])
            last = note.call
        calls[-1].append(note)
    return calls


def _weighed(calls: Sequence[Sequence[Note]], dependent: float) -> list[tuple[int, int, float]]:
    """Call, cell of a table of counts and weight of each attempt that is a sample of latency.

    dependent: weight of a retry after a timeout; what follows an error is no sample at all.
    """
    cells: list[tuple[int, int, float]] = []
    for attempts in calls:
        weight = 1.0
        for note in attempts:
            cells += _cells(note, weight)
            weight = dependent if note.outcome == Outcome.TIMEOUT else 0.0
            if weight < LEAST_WEIGHT:
                break
    return cells


def _cells(note: Note | Copy, weight: float) -> list[tuple[int, int, float]]:
    cell = KIND[note.outcome] * BINS + note.bin
    if note.position and KIND[note.outcome] == CENSORED:  # at risk in the part of its bin before the cut
        share = weight * note.position / FINE
        return [(note.call, cell + 1, share), (note.call, cell, weight - share)]
    return [(note.call, cell, weight)]


def _weighed_copies(copies: Sequence[Copy], dependent: float) -> list[tuple[int, int, float]]:
    """The same of hedges: each is a sample of latency as far as latency does not repeat."""
    if dependent < LEAST_WEIGHT:
        return []
    return [cell for copy in copies for cell in _cells(copy, dependent)]


def _counted(
    counts: npt.NDArray[np.float32], cells: Sequence[tuple[int, int, float]], n_calls: int, keeps: Sequence[float]
) -> npt.NDArray[np.float32]:
    """``counts`` with ``cells`` added, all faded to the end of the block."""
    decays = np.array(keeps)[:, None]
    result = counts.reshape(MEMORIES, -1) * decays**n_calls
    if cells:
        calls, index, weights = np.array(cells).T
        index = index.astype(np.intp)
        worth = weights * decays ** (n_calls - 1 - calls)
        for memory in range(MEMORIES):
            result[memory] += np.bincount(index, worth[memory], minlength=result.shape[1])
    kept: npt.NDArray[np.float32] = result.astype(np.float32).reshape(counts.shape)
    return kept


def _after_errors(belief: Array, sequences: Sequence[Sequence[Note]], picture: Picture) -> Array:
    """What errors are believed to be, after more retries that followed one."""
    if not sequences:
        return belief
    share = min(0.98, float(picture.weights @ picture.failed[:, -1]))
    seen = [[(note.outcome == Outcome.ERROR, note.pause / 1000, 1.0) for note in sequence] for sequence in sequences]
    return repetition.updated(belief, repetition.PRIOR.errors, repetition.after_errors(seen, share))


def _after_timeouts(
    belief: Array, sequences: Sequence[tuple[Sequence[Note], Sequence[Note]]], picture: Picture
) -> Array:
    """How much latency is believed to repeat, after more retries that followed a timeout.

    sequences: all attempts of a call, and those that followed a timeout.
    """
    if not sequences:
        return belief
    limits = [duration(next(note for note in attempts if note.outcome == Outcome.TIMEOUT)) for attempts, _ in sequences]
    chances = read(picture.weights @ picture.answered, Grid.of(np.array(limits)))[0].tolist()
    seen = [
        [(note.outcome in _ANSWERS, chance) for note in slow]
        for (_, slow), chance in zip(sequences, chances, strict=True)
    ]
    return repetition.updated(belief, repetition.PRIOR.repeats, repetition.after_timeouts(seen))


def _after_copies(belief: Array, copies: Sequence[Copy], picture: Picture) -> Array:
    """How much latency is believed to repeat, after more hedges of slow requests.

    Where it repeats, no copy answers as soon as the request that it copies should have. A copy that was given up before
    has shown so only as long as it ran.
    """
    shown: list[tuple[int, bool, float]] = []  # call, whether it answered in time, and the time that it had [s]
    for copy in copies:
        slow, ran = marked(copy.slow)[0], duration(copy)
        if copy.outcome in _ANSWERS:
            shown.append((copy.call, ran <= slow, slow))
        elif KIND[copy.outcome] == CENSORED and copy.outcome != Outcome.REFUSED:
            shown.append((copy.call, False, min(ran, slow)))
    if not shown:
        return belief
    times = np.array([seconds for *_, seconds in shown])
    chances = read(picture.weights @ picture.answered, Grid.of(times))[0].tolist()
    calls: dict[int, list[tuple[bool, float]]] = {}
    for (call, answered, _), chance in zip(shown, chances, strict=True):
        calls.setdefault(call, []).append((answered, chance))
    return repetition.updated(belief, repetition.PRIOR.repeats, repetition.after_timeouts(list(calls.values())))


def _doubted(belief: Array, n_calls: int, half_life: float) -> Array:
    """A log posterior drawn back towards its prior by ``n_calls`` calls without any evidence."""
    start = repetition.PRIOR.repeats
    faded: Array = start + 0.5 ** (n_calls / half_life) * (belief - start)
    return faded


def _sequence(attempts: Sequence[Note], cause: Outcome) -> list[Note]:
    """The retries that directly followed ``cause``, up to and with the first that ended otherwise; verdicts only."""
    found: list[Note] = []
    if len(attempts) < 2:
        return found
    for before, note in pairwise(attempts):
        if before.outcome != cause:
            continue
        if note.outcome not in _VERDICTS or (cause == Outcome.TIMEOUT and note.outcome == Outcome.ERROR):
            break  # given up or refused, or an error that says nothing of latency
        found.append(note)
        if note.outcome != cause:
            break
    return found


def _recorded(state: State, picture: Picture, firsts: Sequence[Note], n_calls: int, keep: float) -> Array:
    """The memories' record after a block: how well each foretold the first attempts."""
    if not firsts:
        return state.record
    kinds = [KIND[note.outcome] for note in firsts]
    bins = [note.bin + (note.position > FINE // 2) for note in firsts]
    ages = n_calls - 1 - np.array([note.call for note in firsts])
    record = keep**n_calls * state.record + (keep**ages) @ picture.likely[kinds, :, bins]
    share = 1 - (1 - SHARE) ** n_calls
    result: Array = np.log((1 - share) * repetition.normalised(record) + share / MEMORIES)
    return result


def restarted(state: State, stale: Sequence[bool]) -> State:
    """``state`` with the shortest memory in place of the ``stale`` ones, and the race between memories begun anew."""
    counts = state.counts.copy()
    counts[np.array(stale)] = counts[0]
    return state._replace(counts=counts, record=np.zeros(MEMORIES))


def durations(marks: Iterable[int]) -> Durations:
    """Marked durations, see ``notes.marked``, put in order."""
    codes = np.fromiter(marks, np.intp)
    bins = codes >> 9
    seconds = KNOTS[bins] + np.append(WIDTHS, 0.0)[bins] * (codes & 0xFF) / FINE
    return Durations.of(seconds, codes >> 8 & 1 == 0)


def packed(state: State) -> bytes:
    """The arrays of ``state``."""
    return b"".join(array.tobytes() for array in (state.counts, state.record, state.errors, state.repeats))


def unpacked(blob: bytes, refused: Ewma, retried: tuple[float, float]) -> State:
    """The inverse of ``packed``. Raises ValueError where ``blob`` is none."""
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
    return State(counts.reshape(start.counts.shape), record, errors, repeats, refused, retried)
