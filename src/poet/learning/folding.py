"""How a block of noted attempts becomes a picture, and what it adds to counts, weights and beliefs."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online import drift, repetition, survival
from poet.kernels.online.bins import BINS, FINE, bin_of
from poet.kernels.online.ewma import Ewma, mean, observe_all
from poet.kernels.online.hedging import Durations
from poet.kernels.online.survival import KNOTS, WIDTHS, Array, Grid, Hazards, read
from poet.kernels.pieces import between
from poet.learning.gains import NOTHING, Gain
from poet.learning.notes import (
    ACCOUNT,
    ALLOWANCE,
    ANSWER,
    CENSORED,
    FAR_FEWER,
    FAR_MORE,
    FORMAT,
    KIND,
    LEVELS,
    MEMORIES,
    REFUSED_HALF_LIFE,
    SHIFTS,
    WORSE,
    Copy,
    Note,
    Pace,
    duration,
    marked,
)
from poet.learning.states import Sparse, State, numbered
from poet.learning.strain import Heard
from poet.model.execution import Outcome

DEPENDENT = 1.5  # a retry after a timeout counts 1 - this times the chance that latency repeats
TELLING = 0.1  # chance that a fresh copy answers in time, below which that none has tells nothing
LEAST_WEIGHT = 0.1  # of a sample that is worth counting
_ANSWERS = (Outcome.SUCCESS, Outcome.LATE)
_VERDICTS = (Outcome.SUCCESS, Outcome.LATE, Outcome.ERROR, Outcome.TIMEOUT)
# By outcome: the kind of sample that it is, and whether it says if the service answers.
_KINDS = np.array([KIND.get(outcome, CENSORED) for outcome in Outcome])
_VERDICT = np.array([outcome in _VERDICTS for outcome in Outcome])
_NOTED = np.dtype([("call", "u1"), ("outcome", "u1"), ("bin", "u1"), ("position", "u1"), ("pause", "<u2")])

FAR = 4.0  # ratio of the odds of no answer that counts as a change
MUCH_WORSE = 8.0  # ratio that makes it worth looking at once
MOST_SAID = 2.5  # by a single attempt [nats]


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


class Watch(NamedTuple):
    """By what the next first attempts are judged."""

    evidence: Array  # (LEVELS - MEMORIES, 3, BINS) by kind and bin: that something has changed [nats]
    alert: array[float]  # by kind and bin: that anything has, for a quick look at every attempt [nats]


def watch(picture: Picture, limit: float) -> Watch:
    """What would say that things have changed since ``picture``. limit: timeout in force [s]."""
    weights = picture.weights.copy()
    weights[0] = 1e-9  # the shortest memory follows every cluster
    weights /= weights.sum()
    answered, failed = weights @ picture.answered, weights @ picture.failed
    evidence = np.zeros((LEVELS - MEMORIES, 3, BINS))
    shifts = slice(0, len(SHIFTS))
    evidence[shifts, ANSWER], evidence[shifts, CENSORED] = drift.shifted(
        np.diff(answered, append=answered[-1]), np.maximum(1 - answered - failed, 0.0), SHIFTS, most=MOST_SAID
    )
    seen = float(weights @ picture.hazards.at_risk[:, 0])
    missing = 1 - min(float(answered[min(bin_of(limit), BINS - 1)]), 1.0)
    for place, share, ratio in (
        (FAR_MORE, (missing * seen + 1) / (seen + 2), FAR),
        (FAR_FEWER, (float(failed[-1]) * seen + 1) / (seen + 2), 1 / FAR),
        (WORSE, min(max(missing, 1e-3), 0.9), MUCH_WORSE),
    ):
        good, bad = drift.odds(share, ratio)
        evidence[place - MEMORIES, ANSWER], evidence[place - MEMORIES, 1:] = good, bad
    # of errors alone: where copies end slow attempts, there are fewer timeouts than the curve says
    evidence[FAR_FEWER - MEMORIES, CENSORED] = 0.0
    alert = np.log(np.exp(evidence[:-1]).mean(axis=0))
    return Watch(evidence, array("f", alert.astype(np.float32).tobytes()))


def gained(
    notes: bytes, first: int, n_calls: int, picture: Picture, pace: Pace, *, copies: bytes = b"", watch: Watch | None
) -> Gain:
    """What calls teach whose attempts are ``notes`` and whose hedges are ``copies``, packed, oldest first.

    first, n_calls: the calls from the ``first`` of the block on, of so many in it. picture: of what was known before.
    watch: by which they are judged; None: there was nothing to judge them by.
    """
    noted = np.frombuffer(notes, _NOTED)
    noted = noted[noted["call"] >= first]
    n_calls -= first
    call, outcome, bins, place = (noted[name].astype(np.intp) for name in ("call", "outcome", "bin", "position"))
    call -= first
    starts = np.append(True, call[1:] != call[:-1]) if len(call) else np.zeros(0, np.bool_)
    kinds = _KINDS[outcome]
    expected = float(picture.repeats @ repetition.REPEATS)
    dependent = 1.0 - DEPENDENT * expected
    retried = _retried(noted, call, starts)
    made = [Copy(of - first, *rest) for of, *rest in FORMAT.iter_unpack(copies) if of >= first]
    after_errors = [sequence for attempts in retried if (sequence := _sequence(attempts, Outcome.ERROR))]
    after_timeouts = [
        (attempts, sequence) for attempts in retried if (sequence := _sequence(attempts, Outcome.TIMEOUT))
    ]
    between()
    repeats, repeated = _of_repeats(after_timeouts, made, picture)
    between()
    near = bins[starts] + (place[starts] > FINE // 2)
    likely = picture.likely[kinds[starts], :, near]
    ages = n_calls - 1 - call[starts]
    rise, least = _watched(outcome[starts], kinds[starts], near, likely, watch)
    lasts = np.append(starts[1:], True) if len(call) else starts
    refused = int((outcome[lasts] == Outcome.REFUSED).sum())
    n_firsts = int(starts.sum())
    return Gain(
        n_calls,
        _counted(
            _first_cells(call[starts], kinds[starts], bins[starts], place[starts]),
            _weighed(retried, dependent) + _weighed_copies(made, dependent),
            n_calls,
            pace.keeps,
        ),
        NOTHING.stale,
        (pace.record_keep**ages) @ likely if n_firsts else NOTHING.record,
        n_calls if n_firsts else 0,
        False,
        n_calls if n_firsts else 0,
        _of_errors(after_errors, picture),
        repeats,
        repeated,
        (len(after_errors), len(after_timeouts)),
        observe_all(Ewma(), refused, n_calls, half_life=REFUSED_HALF_LIFE),
        observe_all(Ewma(), len(made), n_calls, half_life=ACCOUNT),
        rise,
        least,
    )


def heard(notes: bytes, copies: bytes, n_calls: int, quick: float) -> Heard:
    """What the first attempts among ``notes`` say of load. quick: time by which they are usually answered [s]."""
    noted = np.frombuffer(notes, _NOTED)
    call = noted["call"]
    firsts = noted[np.append(True, call[1:] != call[:-1])] if len(call) else noted
    outcome, late = firsts["outcome"], firsts["bin"] >= bin_of(quick)
    bad = late | (outcome == Outcome.ERROR) | (outcome == Outcome.TIMEOUT)
    tells = (outcome != Outcome.REFUSED) & ((outcome != Outcome.CANCELLED) | late)
    return Heard(bad[tells].tolist(), n_calls, len(noted) - len(firsts) + len(copies) // FORMAT.size)


def _retried(
    noted: npt.NDArray[np.void], call: npt.NDArray[np.intp], starts: npt.NDArray[np.bool_]
) -> list[list[Note]]:
    """The attempts of each call that made more than one."""
    again = np.flatnonzero(~starts)
    calls: list[list[Note]] = []
    last = -1
    for place in again.tolist():
        if call[place] != last:
            last = int(call[place])
            calls.append([Note(last, *noted[place - 1].tolist()[1:])])
        calls[-1].append(Note(last, *noted[place].tolist()[1:]))
    return calls


Cells = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]  # call, cell of a table of counts, and weight


def _first_cells(
    call: npt.NDArray[np.intp], kinds: npt.NDArray[np.intp], bins: npt.NDArray[np.intp], place: npt.NDArray[np.intp]
) -> Cells:
    """What first attempts add to the counts. One that was cut off was at risk in the part of its bin before that."""
    cells, share = kinds * BINS + bins, np.where(kinds == CENSORED, place / FINE, 0.0)
    part = np.flatnonzero(share)
    return np.append(call, call[part]), np.append(cells, cells[part] + 1), np.append(1.0 - share, share[part])


def _weighed(calls: Sequence[Sequence[Note]], dependent: float) -> list[tuple[int, int, float]]:
    """Call, cell and weight of each retry that is a sample of latency.

    dependent: weight of a retry after a timeout; what follows an error is no sample at all.
    """
    cells: list[tuple[int, int, float]] = []
    if dependent < LEAST_WEIGHT:
        return cells
    for attempts in calls:
        for before, note in pairwise(attempts):
            if before.outcome != Outcome.TIMEOUT:
                break
            cells += _cells(note, dependent)
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


def _counted(firsts: Cells, others: Sequence[tuple[int, int, float]], n_calls: int, keeps: Sequence[float]) -> Sparse:
    """All of these as counts, faded to the end of the block."""
    calls, index, weights = firsts
    if others:
        more = np.array(others).T
        calls = np.append(calls, more[0].astype(np.intp))
        index = np.append(index, more[1].astype(np.intp))
        weights = np.append(weights, more[2])
    if not len(calls):
        return NOTHING.counts
    worth = weights * np.array(keeps)[:, None] ** (n_calls - 1 - calls)
    found, place = numbered(index)
    where = place[index] + len(found) * np.arange(MEMORIES)[:, None]
    table: Array = np.bincount(where.ravel(), worth.ravel(), MEMORIES * len(found)).astype(float)
    return Sparse(found, table.reshape(MEMORIES, -1))


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


def _watched(
    outcome: npt.NDArray[np.intp],
    kinds: npt.NDArray[np.intp],
    bins: npt.NDArray[np.intp],
    likely: Array,
    watch: Watch | None,
) -> tuple[Array, Array]:
    """What first attempts add to the levels that are watched: see ``Gain.rise`` and ``Gain.least``."""
    if watch is None or not len(outcome):
        return NOTHING.rise, NOTHING.least
    steps = np.empty((len(outcome), LEVELS))
    steps[:, :MEMORIES] = likely[:, :1] - ALLOWANCE - likely
    steps[:, MEMORIES:] = watch.evidence[:, kinds, bins].T
    steps[:, FAR_MORE:] *= _VERDICT[outcome][:, None]
    levels = steps.cumsum(axis=0)
    rise: Array = levels[-1]
    return rise, rise - np.minimum(levels.min(axis=0), 0.0)


def durations(marks: Iterable[int]) -> Durations:
    """Marked durations, see ``notes.marked``, put in order."""
    codes = np.fromiter(marks, np.intp)
    bins = codes >> 9
    seconds = KNOTS[bins] + np.append(WIDTHS, 0.0)[bins] * (codes & 0xFF) / FINE
    return Durations.of(seconds, codes >> 8 & 1 == 0)
