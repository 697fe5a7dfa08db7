"""How a block of noted attempts becomes a picture, and what it adds to counts, weights and beliefs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import BINS, FINE
from poet.kernels.online.ewma import Ewma, mean, observe_all
from poet.kernels.online.hedging import Durations
from poet.kernels.online.survival import KNOTS, WIDTHS, Array, Grid, Hazards, read
from poet.learning.gains import NOTHING, Gain
from poet.learning.notes import (
    ACCOUNT,
    ALLOWANCE,
    CENSORED,
    KIND,
    MEMORIES,
    REFUSED_HALF_LIFE,
    Copy,
    Note,
    Pace,
    duration,
    marked,
)
from poet.learning.states import Sparse, State, numbered
from poet.model.execution import Outcome

DEPENDENT = 1.5  # a retry after a timeout counts 1 - this times the chance that latency repeats
TELLING = 0.1  # chance that a fresh copy answers in time, below which that none has tells nothing
LEAST_WEIGHT = 0.1  # of a sample that is worth counting
_ANSWERS = (Outcome.SUCCESS, Outcome.LATE)
_VERDICTS = (Outcome.SUCCESS, Outcome.LATE, Outcome.ERROR, Outcome.TIMEOUT)
# What each outcome says to the watch: an answer, none and that says something of the service, or nothing at all.
_SAYS = np.array([0 if o in _ANSWERS else 1 if o in (Outcome.ERROR, Outcome.TIMEOUT) else 2 for o in Outcome])


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


def pictured(state: State) -> Picture:
    """The picture of ``state``."""
    evidence = survival.hazards(state.counts.astype(float))
    answer, error = survival.posterior_mean(evidence)
    answered, failed, alive = survival.incidence(answer, error)
    with np.errstate(divide="ignore"):
        log_alive = np.log(np.maximum(alive, 1e-12))
        likely = np.stack([log_alive + np.log(answer), log_alive + np.log(error), log_alive])
    return Picture(
        evidence,
        answered,
        failed,
        repetition.normalised(state.record),
        repetition.normalised(state.errors),
        repetition.normalised(state.repeats),
        mean(state.refused) if state.refused.weight else 0.0,
        likely,
    )


def table(picture: Picture) -> array[float]:
    """By what the next attempts are judged: log likelihood by kind, bin and memory, the last running fastest.

    In single precision, as hundreds of them are kept, and what is judged by them is compared to a threshold.
    """
    return array("f", picture.likely.transpose(0, 2, 1).astype(np.float32).tobytes())


def gained(
    notes: Sequence[Note],
    n_calls: int,
    picture: Picture,
    pace: Pace,
    *,
    copies: Sequence[Copy] = (),
    surprise: tuple[float, float] | None = None,
) -> Gain:
    """What ``n_calls`` calls teach whose attempts are ``notes`` and whose hedges are ``copies``, oldest first.

    picture: of what was known before. surprise: evidence for "far worse than expected", in an answer and in none
    [nats]; None: there was nothing to judge them by.
    """
    calls = _by_call(notes)
    firsts = [attempts[0] for attempts in calls]
    expected = float(picture.repeats @ repetition.REPEATS)
    retried = [attempts for attempts in calls if len(attempts) > 1]
    after_errors = [sequence for attempts in retried if (sequence := _sequence(attempts, Outcome.ERROR))]
    after_timeouts = [
        (attempts, sequence) for attempts in retried if (sequence := _sequence(attempts, Outcome.TIMEOUT))
    ]
    dependent = 1.0 - DEPENDENT * expected
    repeats, repeated = _of_repeats(after_timeouts, copies, picture)
    likely, ages = _foretold(firsts, n_calls, picture)
    rise, least = _watched(firsts, likely, surprise)
    refused = sum(attempts[-1].outcome == Outcome.REFUSED for attempts in calls)
    return Gain(
        n_calls,
        _counted(_weighed(calls, dependent) + _weighed_copies(copies, dependent), n_calls, pace.keeps),
        NOTHING.stale,
        (pace.record_keep**ages) @ likely if firsts else NOTHING.record,
        n_calls if firsts else 0,
        False,
        n_calls if firsts else 0,
        _of_errors(after_errors, picture),
        repeats,
        repeated,
        (len(after_errors), len(after_timeouts)),
        observe_all(Ewma(), refused, n_calls, half_life=REFUSED_HALF_LIFE),
        observe_all(Ewma(), len(copies), n_calls, half_life=ACCOUNT),
        rise,
        least,
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


def _counted(cells: Sequence[tuple[int, int, float]], n_calls: int, keeps: Sequence[float]) -> Sparse:
    """``cells`` as counts, faded to the end of the block."""
    if not cells:
        return NOTHING.counts
    decays = np.array(keeps)[:, None]
    calls, index, weights = np.array(cells).T
    worth = weights * decays ** (n_calls - 1 - calls)
    index = index.astype(np.intp)
    found, place = numbered(index)
    return Sparse(found, np.array([np.bincount(place[index], each) for each in worth], dtype=float))


def _of_errors(sequences: Sequence[Sequence[Note]], picture: Picture) -> Array | None:
    """What retries that followed an error say of errors; None where there were none."""
    if not sequences:
        return None
    share = min(0.98, float(picture.weights @ picture.failed[:, -1]))
    seen = [[(note.outcome == Outcome.ERROR, note.pause / 1000, 1.0) for note in sequence] for sequence in sequences]
    return repetition.gathered(repetition.after_errors(seen, share))


def _of_repeats(
    sequences: Sequence[tuple[Sequence[Note], Sequence[Note]]], copies: Sequence[Copy], picture: Picture
) -> tuple[Array | None, int]:
    """What retries and hedges of slow attempts say of repeating latency, and how many calls say it."""
    shown = [said for said in (_after_timeouts(sequences, picture), _after_copies(copies, picture)) if said]
    if not shown:
        return None, 0
    likelihoods = repetition.after_timeouts([call for calls in shown for call in calls])
    return repetition.gathered(likelihoods), len(likelihoods)


def _after_timeouts(
    sequences: Sequence[tuple[Sequence[Note], Sequence[Note]]], picture: Picture
) -> list[list[tuple[bool, float]]]:
    """By call, whether each retry that followed a timeout was answered, and the chance of a fresh attempt.

    sequences: all attempts of a call, and those that followed a timeout.
    """
    if not sequences:
        return []
    limits = [duration(next(note for note in attempts if note.outcome == Outcome.TIMEOUT)) for attempts, _ in sequences]
    chances = read(picture.weights @ picture.answered, Grid.of(np.array(limits)))[0].tolist()
    return [
        [(note.outcome in _ANSWERS, chance) for note in slow]
        for (_, slow), chance in zip(sequences, chances, strict=True)
    ]


def _after_copies(copies: Sequence[Copy], picture: Picture) -> list[list[tuple[bool, float]]]:
    """The same of hedges of slow requests.

    Where latency repeats, no copy answers as soon as the request that it copies should have. A copy that was given up
    before has shown so only as long as it ran. One that hardly any answer is as quick as says nothing: not even a fresh
    one would have answered.
    """
    shown: list[tuple[int, bool, float]] = []  # call, whether it answered in time, and the time that it had [s]
    for copy in copies:
        slow, ran = marked(copy.slow)[0], duration(copy)
        if copy.outcome in _ANSWERS:
            shown.append((copy.call, ran <= slow, slow))
        elif KIND[copy.outcome] == CENSORED and copy.outcome != Outcome.REFUSED:
            shown.append((copy.call, False, min(ran, slow)))
    if not shown:
        return []
    times = np.array([seconds for *_, seconds in shown])
    chances = read(picture.weights @ picture.answered, Grid.of(times))[0].tolist()
    calls: dict[int, list[tuple[bool, float]]] = {}
    for (call, answered, _), chance in zip(shown, chances, strict=True):
        if answered or chance >= TELLING:
            calls.setdefault(call, []).append((answered, chance))
    return list(calls.values())


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


def _foretold(firsts: Sequence[Note], n_calls: int, picture: Picture) -> tuple[Array, Array]:
    """How well each memory foretold each first attempt, (n, MEMORIES) [nats], and how many calls came since, (n,)."""
    kinds = [KIND[note.outcome] for note in firsts]
    bins = [note.bin + (note.position > FINE // 2) for note in firsts]
    return picture.likely[kinds, :, bins], n_calls - 1 - np.array([note.call for note in firsts])


def _watched(firsts: Sequence[Note], likely: Array, surprise: tuple[float, float] | None) -> tuple[Array, Array]:
    """What first attempts add to the levels of the alarm and to the watch: see ``Gain.rise`` and ``Gain.least``."""
    if surprise is None or not firsts:
        return NOTHING.rise, NOTHING.least
    says = _SAYS[[note.outcome for note in firsts]]
    steps = np.empty((len(firsts), MEMORIES + 1))
    steps[:, :-1] = likely[:, :1] - ALLOWANCE - likely
    steps[:, -1] = np.array([*surprise, 0.0])[says]
    levels = steps.cumsum(axis=0)
    rise: Array = levels[-1]
    return rise, rise - np.minimum(levels.min(axis=0), 0.0)


def durations(marks: Iterable[int]) -> Durations:
    """Marked durations, see ``notes.marked``, put in order."""
    codes = np.fromiter(marks, np.intp)
    bins = codes >> 9
    seconds = KNOTS[bins] + np.append(WIDTHS, 0.0)[bins] * (codes & 0xFF) / FINE
    return Durations.of(seconds, codes >> 8 & 1 == 0)
