"""What a block teaches, summed up by arrays, against the same call by call in plain Python."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS, FINE, bin_of, position
from poet.kernels.online.ewma import Ewma, observe
from poet.kernels.online.repetition import REPEATS
from poet.learning import folding
from poet.learning.evidence import Evidence
from poet.learning.folding import DEPENDENT, LEAST_WEIGHT, Picture, Watch, gained, heard, watch
from poet.learning.notes import (
    ACCOUNT,
    ALLOWANCE,
    ANSWER,
    BLOCK,
    CENSORED,
    FAR_MORE,
    FORMAT,
    KIND,
    LEVELS,
    MEMORIES,
    REFUSED_HALF_LIFE,
    mark,
    pace_of,
)
from poet.learning.states import CELLS
from poet.model.execution import Attempt, Execution, Outcome

PACE = pace_of(1.0, 0.98, hedging=True)
VERDICTS = (Outcome.SUCCESS, Outcome.LATE, Outcome.ERROR, Outcome.TIMEOUT)
MADE = [outcome for outcome in Outcome if outcome in KIND]

One = tuple[Outcome, float, float]  # outcome, seconds, pause before it or, of a copy, seconds that were slow

seconds = st.floats(-5, 3).map(lambda exponent: 10.0**exponent) | st.sampled_from([0.0, 0.2, 1.0, 30.0, 5000.0])
attempts = st.tuples(st.sampled_from(MADE), seconds, st.floats(0, 3))
# mostly what retries follow upon
chains = st.lists(st.tuples(st.sampled_from([Outcome.TIMEOUT, Outcome.ERROR]), seconds, st.floats(0, 3)), max_size=3)
calls = st.lists(
    st.tuples(chains, st.lists(attempts, max_size=2), st.lists(st.tuples(st.sampled_from(MADE), seconds, seconds))).map(
        lambda call: (call[0] + call[1], call[2][:2])
    ),
    max_size=40,
)


@cache
def known(repeating: bool) -> tuple[Picture, Watch]:
    """Of a service that hangs now and then; ``repeating``: latency lies in the call."""
    evidence, dice = Evidence(), np.random.default_rng(3)
    for number in range(200):
        first = Attempt(Outcome.SUCCESS, float(dice.lognormal(-1, 0.6)))
        if number % 10 == 0:
            first = Attempt(Outcome.ERROR, 0.05)
        after = [Attempt(Outcome.SUCCESS, 0.2, 0.1)] if number % 10 == 0 else []
        if number % 8 == 1:
            first, again = Attempt(Outcome.TIMEOUT, 2.0), Outcome.TIMEOUT if repeating else Outcome.SUCCESS
            after = [Attempt(again, 2.0 if repeating else 0.3, 0.1)]
        evidence.observe([Execution("w", number, 0.0, 1.0, Outcome.SUCCESS, 1, (first, *after))])
    picture = evidence.picture()
    return picture, watch(picture, 2.0)


def noted(calls: Sequence[tuple[list[One], list[One]]]) -> tuple[bytes, bytes]:
    notes = copies = b""
    for number, (made, copied) in enumerate(calls):
        for outcome, took, pause in made:
            place = position(took, bin_of(took)) if KIND[outcome] == CENSORED else 0
            notes += FORMAT.pack(number, outcome, bin_of(took), place, int(pause * 1000))
        for outcome, took, slow in copied:
            copies += FORMAT.pack(number, outcome, bin_of(took), position(took, bin_of(took)), mark(slow))
    return notes, copies


def cells(outcome: Outcome, took: float) -> list[tuple[int, float]]:
    """Cells that one attempt adds to, and its share in each."""
    bin_ = bin_of(took)
    if KIND[outcome] != CENSORED:
        return [(KIND[outcome] * BINS + bin_, 1.0)]
    share = position(took, bin_) / FINE
    part = [(CENSORED * BINS + bin_ + 1, share)] if share else []
    return [(CENSORED * BINS + bin_, 1 - share), *part]


@given(calls, st.booleans(), st.integers(0, 45))
@settings(max_examples=150, deadline=None)
def test_a_block_counts_as_its_calls_do_one_by_one(
    told: list[tuple[list[One], list[One]]], repeating: bool, first: int
) -> None:
    first = min(first, len(told))
    picture, watched = known(repeating)
    notes, copies = noted(told)
    gain = gained(notes, first, len(told), picture, PACE, copies=copies, watch=watched)
    dependent = 1 - DEPENDENT * float(picture.repeats @ REPEATS)
    dependent = dependent if dependent >= LEAST_WEIGHT else 0.0
    counts, record = np.zeros((MEMORIES, CELLS)), np.zeros(MEMORIES)
    after_errors = after_timeouts = 0
    refused, spent, levels = Ewma(), Ewma(), np.full(LEVELS, 0.7)
    lasts: list[float] = []
    for made, copied in told[first:]:
        counts *= np.array(PACE.keeps)[:, None]
        record *= PACE.record_keep
        weighed = [(cell, share * dependent) for one in copied for cell, share in cells(*one[:2])]
        for before, (outcome, took, _) in pairwise(made):
            if before[0] != Outcome.TIMEOUT:
                break
            weighed += [(cell, share * dependent) for cell, share in cells(outcome, took)]
        if made:
            outcome, took, _ = made[0]
            kind = KIND[outcome]
            weighed += cells(outcome, took)
            near = bin_of(took) + (kind == CENSORED and position(took, bin_of(took)) > FINE // 2)
            likely = picture.likely[kind, :, near]
            record += likely
            steps = np.concatenate([likely[0] - ALLOWANCE - likely, watched.evidence[:, kind, near]])
            steps[FAR_MORE:] *= outcome in VERDICTS
            levels = np.maximum(levels + steps, 0.0)
        for cell, share in weighed:
            counts[:, cell] += share
        followed = [(before[0], after[0]) for before, after in pairwise(made)]
        after_error = next((after for before, after in followed if before == Outcome.ERROR), None)
        after_timeout = next((after for before, after in followed if before == Outcome.TIMEOUT), None)
        after_errors += after_error in VERDICTS
        after_timeouts += after_timeout in VERDICTS and after_timeout != Outcome.ERROR
        lasts.append(float(bool(made) and made[-1][0] == Outcome.REFUSED))
    found = np.zeros((MEMORIES, CELLS))
    found[:, gain.counts.cells] = gain.counts.values
    assert gain.calls == len(told) - first
    assert found == pytest.approx(counts, abs=1e-9)
    assert gain.record == pytest.approx(record, abs=1e-9)
    assert gain.retried == (after_errors, after_timeouts)
    assert np.maximum(0.7 + gain.rise, gain.least) == pytest.approx(levels, abs=1e-9)
    assert (gain.errors is None) is (after_errors == 0)
    # what calls have in common is spread over all of them, as if it had come evenly
    for share, half_life, mine in ((np.mean(lasts or [0]), REFUSED_HALF_LIFE, gain.refused),):
        for _ in lasts:
            refused = observe(refused, float(share), half_life=half_life)
        assert tuple(mine) == pytest.approx(tuple(refused), abs=1e-9)
    sent = sum(len(copied) for _, copied in told[first:])
    for _ in lasts:
        spent = observe(spent, sent / len(lasts), half_life=ACCOUNT)
    assert tuple(gain.spent) == pytest.approx(tuple(spent), abs=1e-9)


@given(calls, st.floats(0.001, 60.0))
@settings(max_examples=150, deadline=None)
def test_what_first_attempts_say_of_load_is_heard_of_each(
    told: list[tuple[list[One], list[One]]], quick: float
) -> None:
    notes, copies = noted(told)
    bad = []
    for made, _ in told:
        if not made:
            continue
        outcome, took, _ = made[0]
        late = bin_of(took) >= bin_of(quick)
        if outcome == Outcome.REFUSED or (outcome == Outcome.CANCELLED and not late):
            continue  # says nothing
        bad.append(late or outcome in (Outcome.ERROR, Outcome.TIMEOUT))
    extra = sum(max(len(made) - 1, 0) + len(copied) for made, copied in told)
    assert heard(notes, copies, len(told), quick) == folding.Heard(bad, len(told), extra)


def test_a_block_is_not_longer_than_its_numbers_allow() -> None:
    assert BLOCK <= 256  # the number of a call within the block is one byte


def test_the_quick_look_hears_what_the_exact_one_does() -> None:
    """By kind and bin: where any of the watched says "changed" by a nat or more, so does the alert, less the log of
    how many there are; and where all say "as before", it does, too.
    """
    _, watched = known(False)
    exact = watched.evidence[:-1]
    alert = np.array(watched.alert).reshape(3, BINS)
    assert (alert >= exact.max(axis=0) - np.log(len(exact)) - 1e-5).all()
    assert (alert <= exact.max(axis=0) + 1e-5).all()
    assert alert[ANSWER, bin_of(0.3)] < 0  # an answer as quick as most
