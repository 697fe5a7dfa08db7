"""Whether trouble is of our own making: the two experiments with extra requests, step by step and by whole lives."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.online.bins import BINS, EDGES, bin_of
from poet.kernels.online.survival import KNOTS
from poet.learning import strain as rules
from poet.learning.strain import START, Heard, Strain

# chance of an answer by each knot: half within 0.1 s, 0.9 within 1 s, and no more than 0.95 ever
CURVE = np.interp(np.log(np.maximum(KNOTS, 1e-9)), np.log([0.05, 0.1, 1.0, 10.0]), [0.0, 0.5, 0.9, 0.95]).tolist()
USUAL_SHARE = 0.1  # of first attempts that are not answered by the time at which 0.9 of the answers have come


def known(calls: int = 40) -> Strain:
    """One that knows what is usual, of a function that has made so many calls."""
    strain = Strain()
    strain.knows(CURVE, 30.0, calls)
    return strain


class Life:
    """Calls, each of which is told at once: ``bad`` of the first attempts are, and ``extra`` requests are sent."""

    def __init__(self, strain: Strain, calls: int = 40, seed: int = 1) -> None:
        self.strain, self.calls, self.dice = strain, calls, random.Random(seed)
        self.turns: list[int] = []  # calls at which what is to be done changed

    def through(self, n: int, bad: float = USUAL_SHARE, extra: float = 0.0, calm: float | None = None) -> Life:
        """calm: share of bad ones while it listens; as ``bad`` where None. No extra requests are sent then."""
        for _ in range(n):
            self.calls += 1
            listening = self.strain.listening
            share = bad if calm is None or not listening else calm
            sent = 0 if listening else int(self.dice.random() < extra)
            if self.strain.hear(Heard([self.dice.random() < share], 1, sent), self.calls):
                self.turns.append(self.calls)
        return self

    def until(self, listening: bool, most: int, bad: float, extra: float = 0.0, calm: float | None = None) -> int:
        """Calls until it listens, or no longer does; ``most`` at most."""
        for n in range(1, most + 1):
            self.through(1, bad, extra, calm)
            if self.strain.listening is listening:
                return n
        raise AssertionError(f"not within {most} calls")


# --- what is usual ----------------------------------------------------------------------------------------------------


def test_first_attempts_are_judged_by_the_time_at_which_nine_in_ten_answers_have_come() -> None:
    strain = known()
    assert strain.quick == pytest.approx(1.0, rel=0.6)  # 0.9 of 0.95: a little before 1 s, in bins of 25 %
    strain.under(0.2)
    assert strain.quick <= EDGES[bin_of(0.2)]


def test_under_another_timeout_what_was_heard_by_another_time_counts_no_more() -> None:
    life = Life(known()).through(30, bad=1.0)
    assert life.strain.share == 1.0
    life.strain.under(20.0)  # still far behind the time by which nearly all are answered
    assert life.strain.share == 1.0
    life.strain.under(0.2)
    assert life.strain.share == 0.0


def test_what_is_usual_is_taken_after_forty_calls_and_anew_where_there_was_no_trouble_for_long() -> None:
    strain = Strain()
    assert not strain.stale(rules.USUAL - 1)
    assert strain.stale(rules.USUAL)
    strain.knows(CURVE, 30.0, 40)
    assert not strain.stale(39 + rules.RENEW)
    assert strain.stale(40 + rules.RENEW)
    life = Life(strain, calls=900).through(40, bad=0.9)
    assert not strain.stale(40 + rules.RENEW)  # there was trouble since
    assert strain.stale(life.calls + rules.RENEW)
    life.until(True, 60, bad=0.9, extra=1.0)
    assert not strain.stale(10**6)  # nothing is usual while it listens


# --- raising ----------------------------------------------------------------------------------------------------------


def test_extra_requests_are_raised_step_by_step_until_nothing_is_held_back() -> None:
    life, allowed = Life(known()).through(40), []
    for _ in range(400):
        life.through(1)
        if life.strain.wants(life.calls):
            allowed.append((life.calls, life.strain.allowed))
    assert [limit for _, limit in allowed] == pytest.approx([0.2, 0.4, 0.8, 1.6])
    assert np.diff([calls for calls, _ in allowed]).min() >= rules.PATIENCE
    assert not life.strain.wants(life.calls)


def test_nothing_is_raised_while_nobody_knows_what_is_usual() -> None:
    life = Life(Strain()).through(200)
    assert not life.strain.wants(life.calls)
    life.strain.knows(CURVE, 30.0, life.calls)
    life.through(40)
    assert life.strain.wants(life.calls)


@pytest.mark.parametrize("heard", [0, 5])
def test_nothing_is_raised_on_the_word_of_a_few(heard: int) -> None:
    life = Life(known()).through(heard, bad=0.0)
    assert not life.strain.wants(life.calls)


def test_nothing_is_raised_in_trouble_and_it_is_afterwards() -> None:
    life = Life(known()).through(60).through(40, bad=0.7)
    assert not life.strain.wants(life.calls)
    assert life.strain.allowed == START
    life.through(150)
    assert life.strain.wants(life.calls)


def test_nothing_is_raised_while_it_listens() -> None:
    life = Life(known())
    life.until(True, 60, bad=0.9, extra=1.0)
    assert not life.strain.wants(life.calls)


# --- listening --------------------------------------------------------------------------------------------------------


def test_it_listens_in_trouble_where_many_extra_requests_are_sent() -> None:
    life = Life(known()).through(200, extra=0.5)
    assert not life.strain.listening
    assert life.until(True, 40, bad=0.8, extra=1.0) > 3  # a single bad one says nothing


@pytest.mark.parametrize(("bad", "extra"), [(USUAL_SHARE, 1.0), (0.8, 0.02)], ids=["no trouble", "hardly any extra"])
def test_it_does_not_listen_without_a_reason(bad: float, extra: float) -> None:
    life = Life(known()).through(600, bad=bad, extra=extra)
    assert not life.turns
    assert not life.strain.feared


def test_trouble_that_ends_with_the_extra_requests_was_of_our_own_making() -> None:
    life = Life(known()).through(100).through(20, bad=0.9)  # trouble first, and then so many more requests
    life.strain.allowed = 0.8
    life.until(True, 60, bad=0.9, extra=1.0)
    length = life.until(False, rules.LISTEN, bad=0.9, calm=USUAL_SHARE)
    assert life.strain.feared
    assert life.strain.allowed == START
    assert length < rules.LISTEN  # no longer than it takes to see it
    ended = life.calls
    while not life.strain.wants(life.calls):
        life.through(1)
    assert life.calls - ended >= rules.HOLD


def test_trouble_that_comes_all_at_once_is_found_to_be_of_our_own_making() -> None:
    """Where many extra requests are sent already, it is suspected as soon as it is there; then it is first looked how
    bad it is, as nobody could tell else whether it has ended. 40 lives: nine in ten at the first listening.
    """
    found = 0
    for seed in range(40):
        life = Life(known(), seed=seed).through(100, extra=1.0)
        life.until(True, 100, bad=0.6, extra=1.0)
        life.until(False, 200, bad=0.6, calm=USUAL_SHARE)
        found += life.strain.feared
    assert found >= 36


@pytest.mark.parametrize("bad", [0.35, 0.5, 0.7, 0.9])
def test_trouble_from_outside_is_hardly_ever_taken_for_our_own(bad: float) -> None:
    """Of 40 lives of 600 calls, in which it listens two or three times, one at most."""
    lives = [Life(known(), seed=seed).through(100, extra=1.0).through(600, bad=bad, extra=1.0) for seed in range(40)]
    assert sum(bool(life.turns) for life in lives) >= 30
    assert sum(life.strain.feared for life in lives) <= 1


def test_a_few_bad_ones_are_looked_at_and_forgotten() -> None:
    life = Life(known()).through(100, extra=1.0).through(8, bad=1.0, extra=1.0).through(200, extra=1.0)
    assert not life.turns


def test_each_harm_holds_the_next_raising_three_times_as_long() -> None:
    life, held = Life(known()), []
    for _ in range(2):
        life.until(True, 2 * rules.HOLD, bad=0.9, extra=1.0)
        life.until(False, 200, bad=0.9, calm=USUAL_SHARE)
        ended = life.calls
        while not life.strain.wants(life.calls):
            life.through(1)
        held.append(life.calls - ended)
    assert held == pytest.approx([rules.HOLD, 3 * rules.HOLD], abs=2)


def test_who_fears_listens_where_few_extra_requests_are_sent() -> None:
    """As many as ten calls send are too few for a first suspicion, and enough for a second."""
    for feared in (False, True):
        life = Life(known(), seed=4)
        life.strain.feared = feared
        life.through(300, bad=0.8, extra=0.09)
        assert bool(life.turns) is feared


def test_trouble_that_stays_came_from_outside_and_the_next_listening_waits_twice_as_long() -> None:
    life = Life(known())
    waits: list[int] = []
    for _ in range(4):
        life.until(True, 3000, bad=0.9, extra=1.0)
        begun = life.calls
        life.until(False, 400, bad=0.9, extra=1.0)
        assert rules.LISTEN <= life.calls - begun <= rules.LISTEN + rules.DRAIN * math.log2(1 / rules.AMPLIFIED) + 1
        ended = life.calls
        waits.append(life.until(True, 3000, bad=0.9, extra=1.0))
        life = _turned_back(life, ended)
    assert not life.strain.feared
    assert life.strain.allowed == START
    look = 19  # first attempts until as many as ``ONSET`` weigh, the newest counting in full
    assert sum(0.5 ** (n / 20) for n in range(look - 1)) < rules.ONSET <= sum(0.5 ** (n / 20) for n in range(look))
    assert waits == pytest.approx([rules.GAP * 2**turn + look for turn in range(4)], abs=2)


def _turned_back(life: Life, ended: int) -> Life:
    """The same life before it began to listen again at once; the next listening begins as it would."""
    heir = Strain.of(life.strain.dump())
    heir.listening = False
    heir._until = life.calls
    again = Life(heir, life.calls)
    assert ended < life.calls
    return again


def test_where_trouble_does_not_end_it_is_what_is_usual_in_the_end() -> None:
    life = Life(known())
    calls, learned = 0, False
    while calls < 6000 and not learned:
        life.through(1, bad=0.9, extra=1.0)
        calls += 1
        learned = life.strain.stale(life.calls)
    assert learned
    assert sum(rules.GAP * 2**k for k in range(4)) < calls < sum(rules.GAP * 2**k for k in range(6))
    # from then on the same is no trouble
    usual = [0.1 * chance for chance in CURVE]
    life.strain.knows(usual, 30.0, life.calls)
    turns = len(life.turns)
    life.through(1000, bad=0.91, extra=1.0)
    assert len(life.turns) == turns


def test_the_more_was_sent_the_longer_it_may_listen() -> None:
    """Load takes time to fall."""
    lengths = []
    for extra in (0.2, 0.8, 3):
        strain = known()
        for number in range(41, 200):
            sent = int(extra) if extra >= 1 else int(extra * number) - int(extra * (number - 1))
            strain.hear(Heard([True], 1, sent), number)
            if strain.listening:
                lengths.append(strain.ends - number)
                break
    assert lengths == sorted(lengths)
    assert lengths[0] >= rules.LISTEN
    assert lengths[-1] > lengths[0]


def test_where_it_was_feared_before_it_listens_for_longer() -> None:
    life = Life(known())
    life.strain.feared = True
    life.until(True, 60, bad=0.9, extra=1.0)
    with pytest.raises(AssertionError, match="not within"):
        life.until(False, rules.LONGEST, bad=0.9)
    life.until(False, 3 * rules.LISTEN, bad=0.9)


def test_its_end_is_asked_for() -> None:
    life = Life(known())
    assert life.strain.ends == math.inf
    life.until(True, 60, bad=0.9, extra=1.0)
    assert life.strain.ends >= life.calls + rules.LISTEN


# --- whatever happens -------------------------------------------------------------------------------------------------

Batch = tuple[int, float, float, bool, float]  # calls, share of bad ones, extra requests, whether more is wanted, limit

steps = st.lists(
    st.tuples(st.integers(1, 128), st.floats(0, 1), st.floats(0, 3), st.booleans(), st.floats(0.002, 120.0)),
    min_size=1,
    max_size=60,
)


Batch = tuple[int, float, float, bool, float]


def _told(strain: Strain, batches: Sequence[Batch], seed: int) -> list[tuple[int, bool]]:
    """Blocks of calls with a share of bad ones and extra requests per call; calls so far, and whether it listens."""
    dice, calls, seen = random.Random(seed), 0, []
    for n, bad, extra, wanting, limit in batches:
        calls += n
        strain.hear(Heard([dice.random() < bad for _ in range(n)], n, int(extra * n)), calls)
        if strain.stale(calls):
            strain.knows(CURVE, limit, calls)
        if wanting:
            strain.wants(calls)
        strain.under(limit)
        seen.append((calls, strain.listening))
        assert START <= strain.allowed <= rules.STEP * rules.ENOUGH
        assert 0 <= strain.share <= 1
    return seen


@given(steps, st.integers(0, 2**16))
@settings(max_examples=150, deadline=None)
def test_as_much_as_at_first_is_always_allowed_and_all_listening_ends(batches: list[Batch], seed: int) -> None:
    strain = Strain()
    calls = _told(strain, batches, seed)[-1][0]
    before = calls
    while strain.listening:  # whatever comes, none at all included
        calls += 1
        strain.hear(Heard([], 1, 0), calls)
        assert calls - before <= rules.LISTEN + rules.DRAIN * 16 + rules.LONGEST


@given(steps, steps, st.integers(0, 2**16))
@settings(max_examples=60, deadline=None)
def test_what_was_dumped_goes_on_as_it_would_have(before: list[Batch], after: list[Batch], seed: int) -> None:
    strain = Strain()
    _told(strain, before, seed)
    heir = Strain.of(strain.dump())
    assert heir.dump() == strain.dump()
    again = Strain.of(heir.dump())
    assert _told(heir, after, seed) == _told(again, after, seed)
    assert heir.dump() == again.dump()


@pytest.mark.parametrize(
    "change",
    [
        {"allowed": -1.0},
        {"allowed": math.nan},
        {"allowed": "much"},
        {"until": -1},
        {"until": 1.5},
        {"gap": True},
        {"quick": -0.1},
        {"quick": "soon"},
        {"curve": [0.5] * (BINS - 1)},
        {"curve": [1.5] * BINS},
        {"curve": [-0.1] * BINS},
        {"curve": None},
        {"bad": math.inf},
        {"weight": None},
    ],
    ids=str,
)
def test_forged_facts_are_refused(change: dict[str, object]) -> None:
    facts = known().dump()
    assert set(change) <= set(facts)
    with pytest.raises((ValueError, TypeError)):
        Strain.of({**facts, **change})


@pytest.mark.parametrize("name", sorted(Strain().dump()))
def test_missing_facts_are_refused(name: str) -> None:
    facts = known().dump()
    del facts[name]
    with pytest.raises(KeyError):
        Strain.of(facts)
