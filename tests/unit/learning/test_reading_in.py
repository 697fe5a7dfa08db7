"""What was seen does not depend on how it comes: one by one, or in parcels of any size."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import islice

from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.pieces import in_pieces
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.tunable import Integer, Real, Space
from poet.testing.learners import LIVE, traffic

SPACE = Space(
    timeout=Real(0.001, 120.0, log=True),
    retries=Integer(0, 5),
    hedges=Integer(0, 2),
    hedge_delay=Real(0.001, 120.0, log=True),
)
SEEN = 700


def learner(*, hedging: bool) -> OnlineLearner:
    return OnlineLearner(seed=3, space=SPACE if hedging else None, hedge_budget=0.1)


@cache
def seen(seed: int) -> tuple[Execution, ...]:
    """A service that becomes eight times slower, with odd calls, calls that were not made, and copies in between."""
    found = []
    for number, call in enumerate(traffic(seed, SEEN)):
        execution = call(LIVE)
        if number % 17 == 0:
            execution = execution._replace(
                attempts=(*execution.attempts, Attempt(Outcome.CANCELLED, 0.01 * number, 0.3, hedge=True))
            )
        found.append(execution)
        if number % 50 == 0:
            found.append(execution._replace(attempts=(Attempt(Outcome.SHED, 0.0),)))
            found.append(execution._replace(attempts=()))
            found.append(execution._replace(attempts=(Attempt(Outcome.SUCCESS, float("nan")),)))
            found.append(execution._replace(attempts=(Attempt(Outcome.SUCCESS, 0.1, 0.2, hedge=True),)))
            found.append(execution._replace(attempts=(Attempt(Outcome.REFUSED, 0.1, -1.0),) * 40))
    return tuple(found)


@cache
def one_by_one(seed: int, *, hedging: bool) -> bytes:
    mine = learner(hedging=hedging)
    for execution in seen(seed):
        mine.update((execution,))
    return mine.dump()


def parcels(seed: int, sizes: list[int]) -> Iterator[tuple[Execution, ...]]:
    rest = iter(seen(seed))
    while True:
        for size in sizes:
            parcel = tuple(islice(rest, size))
            if not parcel:
                return
            yield parcel


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2), st.booleans(), st.lists(st.integers(1, 500), min_size=1, max_size=6))
def test_parcels_of_any_size_teach_what_single_executions_do(seed: int, hedging: bool, sizes: list[int]) -> None:
    mine = learner(hedging=hedging)
    for parcel in parcels(seed, sizes):
        mine.update(parcel)
    assert mine.dump() == one_by_one(seed, hedging=hedging)


def test_where_a_look_is_interrupted_does_not_change_what_it_comes_to() -> None:
    pauses = []
    plain, in_between = learner(hedging=True), learner(hedging=True)
    live = {**LIVE, "hedges": 1, "hedge_delay": 0.5}
    for parcel in parcels(1, [60]):
        plain.update(parcel)
        expected = plain.suggest(live)
        with in_pieces(lambda: pauses.append(None)):
            in_between.update(parcel)
            assert in_between.suggest(live) == expected
    assert in_between.dump() == plain.dump()
    assert len(pauses) > 50
