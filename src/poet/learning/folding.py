"""How a block of noted attempts becomes counts, weights and beliefs: pure functions on arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import BINS, FINE
from poet.kernels.online.ewma import Ewma, mean, observe_all
from poet.kernels.online.survival import Array, Grid, Hazards, read
from poet.learning.notes import CENSORED, KIND, MEMORIES, REFUSED_HALF_LIFE, Note, duration
from poet.model.execution import Outcome

SHARE = (
    0.01  # of the weight that is dealt out anew per call: no memory is ever out of the race (Herbster & Warmuth 1998)
)
DEPENDENT = 1.5  # a retry after a timeout counts 1 - this times the chance that latency repeats
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
) -> State:
    """``state`` after ``n_calls`` calls whose attempts are ``notes``, oldest first.

    picture: of ``state``; None where it is empty.
    keeps: share of a count that is kept per call, one per memory, in (0, 1); record_keep: of the memories' record.
    """
    picture = picture or pictured(state)[0]
    decays = np.array(keeps)
    expected = picture.repeats @ repetition.REPEATS
    dependent = max(0.0, 1.0 - DEPENDENT * float(expected))
    if dependent < 0.1:
        dependent = 0.0

    cells, weights, calls = [], [], []
    judged: list[tuple[int, int, int]] = []  # call, kind and bin of first attempts
    after_errors: list[list[tuple[bool, float, float]]] = []
    after_timeouts: list[list[tuple[bool, float]]] = []
    n_refused = 0
    curves: tuple[Array, Array] | None = None
    for call, group in groupby(notes, key=attrgetter("call")):
        attempts = list(group)
        n_refused += attempts[-1].outcome == Outcome.REFUSED
        for index, note in enumerate(attempts):
            kind = KIND[note.outcome]
            if index == 0:
                weight = 1.0
                judged.append((call, kind, note.bin + (note.position > FINE // 2)))
            elif attempts[index - 1].outcome == Outcome.TIMEOUT:
                weight = dependent
            else:
                continue  # what follows an error depends on it
            if not weight:
                continue
            # an attempt cut off within a bin was at risk in the part of it before the cut
            part = note.position / FINE if kind == CENSORED else 0.0
            cells.append(kind * BINS + note.bin)
            weights.append(weight * (1 - part))
            calls.append(call)
            if part and note.bin + 1 < BINS:
                cells.append(kind * BINS + note.bin + 1)
                weights.append(weight * part)
                calls.append(call)
        if len(attempts) > 1:
            failing = _sequence(attempts, Outcome.ERROR)
            if failing:
                after_errors.append([(note.outcome == Outcome.ERROR, note.pause / 1000, 1.0) for note in failing])
            slow = _sequence(attempts, Outcome.TIMEOUT)
            if slow:
                curves = curves or _mixed(picture)
                limit = duration(next(note for note in attempts if note.outcome == Outcome.TIMEOUT))
                chance = float(read(curves[0], Grid.of(np.array([limit])))[0][0])
                after_timeouts.append([(note.outcome in _ANSWERS, chance) for note in slow])

    counts = state.counts.astype(float).reshape(MEMORIES, -1) * (decays**n_calls)[:, None]
    if cells:
        ages = n_calls - 1 - np.array(calls)
        worth = np.array(weights) * decays[:, None] ** ages
        index = np.array(cells)
        for memory in range(MEMORIES):
            counts[memory] += np.bincount(index, worth[memory], minlength=counts.shape[1])

    error_share = float(min(0.98, picture.weights @ picture.failed[:, -1]))
    errors, repeats = state.errors, state.repeats
    if after_errors:
        likely = repetition.after_errors(after_errors, error_share)
        errors = repetition.updated(errors, repetition.PRIOR.errors, likely)
    if after_timeouts:
        likely = repetition.after_timeouts(after_timeouts)
        repeats = repetition.updated(repeats, repetition.PRIOR.repeats, likely)
    return State(
        counts.reshape(MEMORIES, 3, BINS).astype(np.float32),
        _recorded(state, picture, judged, n_calls, record_keep),
        errors,
        repeats,
        observe_all(state.refused, n_refused, n_calls, half_life=REFUSED_HALF_LIFE),
        (state.retried[0] + len(after_errors), state.retried[1] + len(after_timeouts)),
    )


def _sequence(attempts: Sequence[Note], cause: Outcome) -> list[Note]:
    """The retries that directly followed ``cause``, up to and with the first that ended otherwise; verdicts only."""
    found: list[Note] = []
    for before, note in pairwise(attempts):
        if before.outcome != cause:
            continue
        if note.outcome not in _VERDICTS or (cause == Outcome.TIMEOUT and note.outcome == Outcome.ERROR):
            break  # given up or refused, or an error that says nothing of latency
        found.append(note)
        if note.outcome != cause:
            break
    return found


def _mixed(picture: Picture) -> tuple[Array, Array]:
    """Chance of an answer and of an error by each knot, over all memories: (BINS,) each."""
    return picture.weights @ picture.answered, picture.weights @ picture.failed


def _recorded(
    state: State, picture: Picture, judged: Sequence[tuple[int, int, int]], n_calls: int, keep: float
) -> Array:
    """The memories' record after a block: how well each foretold the first attempts."""
    if not judged:
        return state.record
    calls, kinds, bins = np.array(judged).T
    seen = picture.likely[kinds, :, np.minimum(bins, BINS - 1)]  # (n, MEMORIES)
    record = keep**n_calls * state.record + (keep ** (n_calls - 1 - calls)) @ seen
    share = 1 - (1 - SHARE) ** n_calls
    weights = (1 - share) * repetition.normalised(record) + share / MEMORIES
    result: Array = np.log(weights)
    return result


def restarted(state: State, stale: Sequence[bool]) -> State:
    """``state`` with the shortest memory in place of the ``stale`` ones, and the race between memories begun anew."""
    counts = state.counts.copy()
    counts[np.array(stale)] = counts[0]
    return state._replace(counts=counts, record=np.zeros(MEMORIES))


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
