"""What may be told of a function: refused where it cannot be true, coarse without noise, private with it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.execution import Attempt, Execution, Outcome
from poet.sharing.packing import Poisoned
from poet.sharing.statistics import (
    BINS,
    FAILURES,
    GRAIN,
    LONGEST,
    MOST_CELLS,
    SHORTEST,
    STEP,
    Calls,
    Cell,
    Space,
    Tunables,
    calls_of,
    checked,
    coarse,
    failure_rate,
    needed,
    noisy,
    quantile,
)

SPACE = Space({"k": (1, 64), "heat": (0.0, 1.0), "fixed": (2.0, 2.0)}, {"model": ("small", "large")})
NONE = Space({}, {})
CALLS = Calls(((0.1, 60), (0.5, 30)), {"error": 10}, 3, {"region": "eu"})
TUNABLES = Tunables({"model": (Cell("small", 40, 0.5, 0.1), Cell("large", 60, 0.75, 0.05))}, 0.0, 1.0, 3)


@dataclass
class Silent:
    """Dice under which all noise is zero, and that count what was asked of them: the scales' numerators."""

    asked: list[int] = field(default_factory=list)

    def randrange(self, stop: int, /) -> int:
        self.asked.append(stop)
        # u = 0 is accepted at once; then exp(-1): the first of the series succeeds, the second ends it; the sign: plus
        return 0 if len(self.asked) % 5 != 4 else stop - 1


def calls(**more: Any) -> Calls:
    return CALLS._replace(**more)


def tunables(*cells: Cell, name: str = "model", **more: Any) -> Tunables:
    return TUNABLES._replace(cells={name: cells}, **more)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (calls(durations=((0.1, -1),)), "a count must be a whole number >= 0, got -1"),
        (calls(durations=((0.1, 2.5),)), "got 2.5"),
        (calls(durations=((0.1, True),)), "got True"),
        (calls(durations=((math.nan, 30),)), "a duration must be a number of seconds >= 0, got nan"),
        (calls(durations=((math.inf, 30),)), "got inf"),
        (calls(durations=((-1.0, 30),)), "got -1.0"),
        (calls(durations=((0.1, 10**9),)), "1000000010 executions are claimed, and the store has counted 100"),
        (calls(failures={"ValueError": 1}), "failures are told by error, timeout, refused, got 'ValueError'"),
        (calls(failures={"error": math.nan}), "got nan"),
        (calls(contributors=-1), "contributors must be a whole number >= 0"),
        (calls(contributors=10**9), "contributors must be a whole number >= 0 and <= 1000000"),
        (tunables(Cell("huge", 9, 0.5, 0.1)), "model cannot be 'huge'"),
        (tunables(Cell(0, 9, 0.5, 0.1), name="k"), "k cannot be 0"),
        (tunables(Cell(math.nan, 9, 0.5, 0.1), name="heat"), "heat cannot be nan"),
        (tunables(Cell("x", 9, 0.5, 0.1), name="heat"), "heat cannot be 'x'"),
        (tunables(Cell(1, 9, 0.5, 0.1), name="other"), "no tunable 'other' is declared"),
        (tunables(Cell("small", 10**9, 0.5, 0.1)), "1000000000 executions are claimed"),
        (tunables(Cell("small", -3, 0.5, 0.1)), "a count must be a whole number"),
        (tunables(Cell("small", 9, 1.5, 0.1)), "a mean of scores in [0, 1] cannot be 1.5"),
        (tunables(Cell("small", 9, math.nan, 0.1)), "cannot be nan"),
        (tunables(Cell("small", 9, 0.5, 0.3)), "a variance of scores with this mean must be in"),
        (tunables(Cell("small", 9, 0.5, math.nan)), "got nan"),
        (tunables(Cell("small", 9, 0.5, -0.1)), "got -0.1"),
        (tunables(low=1.0, high=0.0), "scores must have finite bounds"),
        (tunables(low=-math.inf), "scores must have finite bounds"),
        (TUNABLES._replace(cells={}), f"1 to {MOST_CELLS} cells"),
    ],
)
def test_what_cannot_be_true_is_refused_with_its_reason(state: Any, said: str) -> None:
    with pytest.raises(Poisoned) as told:
        checked(state, 100, SPACE)
    assert said in str(told.value)


def test_what_can_be_true_passes_also_a_little_ahead_of_the_store() -> None:
    checked(CALLS, 100, NONE)
    checked(calls(durations=((0.1, 900),)), 0, NONE)
    checked(TUNABLES, 100, SPACE)
    checked(tunables(Cell(2.0, 9, 0.0, 0.0), name="fixed"), 100, SPACE)


def test_too_many_cells_are_refused() -> None:
    with pytest.raises(Poisoned, match=r"and these tunables have 401"):
        checked(tunables(Cell(1, 9, 0.5, 0.1), name="n"), 100, Space({}, {"n": tuple(range(401))}))


def test_first_attempts_are_counted_each_execution_once() -> None:
    def made(*outcomes: Outcome) -> Execution:
        attempts = tuple(Attempt(each, 0.25) for each in outcomes)
        return Execution("w", 0, 0.0, 1.0, outcomes[-1], 1, attempts)

    told = calls_of(
        [
            made(Outcome.SUCCESS),
            made(Outcome.ERROR, Outcome.SUCCESS),
            made(Outcome.TIMEOUT, Outcome.TIMEOUT),
            made(Outcome.LATE),
            made(Outcome.REFUSED),
            made(Outcome.CANCELLED),
            made(Outcome.SHED),
        ],
        contributors=2,
    )
    assert told == Calls(((0.25, 2),), {"error": 1, "timeout": 1, "refused": 1}, 2)


def test_coarse_counts_come_in_steps_and_durations_in_bins() -> None:
    told = coarse(calls(durations=((0.1, 61), (0.1001, 1), (0.5, 2), (1e-9, 40), (1e9, 40))), 20, NONE)
    assert isinstance(told, Calls)
    assert all(count % STEP == 0 and count for _, count in told.durations)
    assert [count for _, count in told.durations] == [40, 60, 40]  # two at .5 s are none
    assert SHORTEST < told.durations[0][0] < told.durations[-1][0] < LONGEST
    assert told.failures == {"error": 10, "timeout": 0, "refused": 0}


def test_coarse_tunables_drop_small_cells_and_tell_values_by_levels() -> None:
    state = TUNABLES._replace(
        cells={
            "model": (Cell("small", 19, 0.5, 0.1), Cell("large", 61, 0.7512345, 0.05)),
            "k": (Cell(3, 80, 0.5, 0.1),),
        }
    )
    told = coarse(state, 20, SPACE)
    assert isinstance(told, Tunables)
    (large,) = told.cells["model"]
    assert (large.value, large.n) == ("large", 60)
    assert large.mean == pytest.approx(0.7512345, abs=0.5 / GRAIN * 2)
    assert large.mean * GRAIN == round(large.mean * GRAIN)
    (k,) = told.cells["k"]
    assert k.value != 3
    assert 1 <= float(k.value) <= 64


def test_cells_of_one_level_are_put_together() -> None:
    state = tunables(Cell(0.51, 30, 0.2, 0.0), Cell(0.52, 10, 0.6, 0.0), name="heat")
    told = coarse(state, 20, SPACE)
    assert isinstance(told, Tunables)
    (cell,) = told.cells["heat"]
    assert cell.n == 40
    assert cell.mean == pytest.approx(0.3, abs=1 / GRAIN)
    assert cell.variance == pytest.approx(0.03, abs=2 / GRAIN)


def test_noise_reaches_every_bin_also_where_nothing_was_seen_and_no_context_is_told() -> None:
    told = noisy(CALLS, Fraction(1, 5), 20, NONE, Random(1))
    assert isinstance(told, Calls)
    assert len(told.durations) == BINS
    assert set(told.failures) == set(FAILURES)
    assert not told.context
    assert sum(count != 0 for _, count in told.durations) > BINS // 2
    assert any(count < 0 for _, count in told.durations)


def test_without_noise_the_noisy_way_tells_the_truth() -> None:
    told = noisy(CALLS, Fraction(1), 20, NONE, Silent())
    assert isinstance(told, Calls)
    assert told.n == CALLS.n
    assert quantile(told, 0.5) == pytest.approx(0.12, rel=0.5)
    cells = noisy(TUNABLES, Fraction(2), 20, SPACE, Silent())
    assert isinstance(cells, Tunables)
    for cell, true in zip(cells.cells["model"], TUNABLES.cells["model"], strict=True):
        assert (cell.value, cell.n) == (true.value, true.n)
        assert cell.mean == pytest.approx(true.mean, abs=2 / GRAIN)
        assert cell.variance == pytest.approx(true.variance, abs=2 / GRAIN)


@given(
    st.lists(st.floats(0, 1e6), max_size=60),
    st.dictionaries(st.sampled_from(FAILURES), st.integers(0, 9)),
    st.one_of(st.floats(0, 1e6), st.sampled_from(FAILURES)),
)
@settings(deadline=None)
def test_one_execution_more_changes_one_count_by_one(
    durations: list[float], failures: dict[str, int], one: float | str
) -> None:
    def told(durations: list[float], failures: dict[str, int]) -> list[int]:
        state = Calls(tuple((seconds, 1) for seconds in durations), failures, 3)
        silent = noisy(state, Fraction(1), 20, NONE, Silent())
        assert isinstance(silent, Calls)
        return [*(n for _, n in silent.durations), *silent.failures.values()]

    before = told(durations, failures)
    if isinstance(one, str):
        after = told(durations, {**failures, one: failures.get(one, 0) + 1})
    else:
        after = told([*durations, one], failures)
    assert sorted(b - a for a, b in zip(before, after, strict=True)) == [0] * (len(before) - 1) + [1]


@given(
    st.lists(st.tuples(st.sampled_from(["small", "large"]), st.floats(0, 1)), min_size=1, max_size=60),
    st.tuples(st.sampled_from(["small", "large"]), st.floats(0, 1)),
)
@settings(deadline=None)
def test_one_execution_more_moves_each_sum_by_no_more_than_noise_is_made_for(
    scored: list[tuple[str, float]], one: tuple[str, float]
) -> None:
    def integers(executions: list[tuple[str, float]]) -> list[int]:
        """The numbers that noise is added to, by a second derivation from executions as a learner keeps them."""
        from poet.sharing.statistics import _summed

        cells = []
        for value in ("small", "large"):
            xs = [x for which, x in executions if which == value]
            mean = sum(xs) / len(xs) if xs else 0.5
            variance = sum((x - mean) ** 2 for x in xs) / len(xs) if xs else 0.0
            cells.append(Cell(value, len(xs), mean, variance))
        sums = _summed(tunables(*cells), SPACE)["model"]
        return [each for s in sums for each in (s.n, round(s.scores * GRAIN), round(s.squares * GRAIN))]

    moved = [abs(a - b) for a, b in zip(integers(scored), integers([*scored, one]), strict=True)]
    assert sum(moved[0::3]) == 1
    assert sum(moved[1::3]) <= GRAIN + 1
    assert sum(moved[2::3]) <= GRAIN + 1


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 50)), max_size=30),
    st.tuples(st.integers(0, 50), st.integers(0, 50)),
    st.fractions(Fraction(1, 100), Fraction(8)),
    st.integers(),
)
@settings(deadline=None, max_examples=60)
def test_whatever_noise_makes_what_is_read_of_it_can_be(
    durations: list[tuple[float, int]], failed: tuple[int, int], epsilon: Fraction, seed: int
) -> None:
    state = Calls(tuple(durations), {"error": failed[0], "timeout": failed[1]}, 3)
    told = noisy(state, epsilon, 20, NONE, Random(seed))
    assert isinstance(told, Calls)
    assert 0 <= failure_rate(told) <= 1
    if sum(count for _, count in told.durations) > 0:
        found = [quantile(told, q) for q in (0.05, 0.5, 0.95)]
        assert found == sorted(found)
        assert SHORTEST <= found[0] <= found[-1] <= LONGEST * (1 + 1e-9)


@given(
    st.lists(st.tuples(st.integers(0, 80), st.floats(-2, 3), st.floats(0, 1)), min_size=2, max_size=2),
    st.fractions(Fraction(1, 100), Fraction(8)),
    st.integers(),
)
@settings(deadline=None, max_examples=60)
def test_noisy_means_and_variances_stay_within_their_bounds(
    shapes: list[tuple[int, float, float]], epsilon: Fraction, seed: int
) -> None:
    cells = [
        Cell(value, n, mean, share * (3 - mean) * (mean + 2))
        for value, (n, mean, share) in zip(("small", "large"), shapes, strict=True)
    ]
    state = tunables(*cells, low=-2.0, high=3.0)
    checked(state, 1000, SPACE)
    told = noisy(state, epsilon, 20, SPACE, Random(seed))
    assert isinstance(told, Tunables)
    for cell in told.cells["model"]:
        assert cell.n >= 20
        assert -2 <= cell.mean <= 3
        assert -1e-9 <= cell.variance <= (3 - cell.mean) * (cell.mean + 2) + 1e-9


def test_what_noise_would_drown_is_not_told() -> None:
    assert needed(CALLS, Fraction(1, 8), 20) == 588  # ten deviations of 27 draws of scale 8: 10 sqrt(27 * 2 * 64)
    assert needed(CALLS, Fraction(100), 20) == 20
    told = noisy(TUNABLES, Fraction(1), 20, SPACE, Silent())  # ten deviations of one draw of scale 3: 43
    assert isinstance(told, Tunables)
    assert [cell.value for cell in told.cells["model"]] == ["large"]


def test_noisy_counts_are_right_on_average() -> None:
    n, draws = 50, 4000
    state, dice = Calls(((0.1, n),), {}, 3), Random(2)
    seen = Counter[int]()
    for _ in range(draws):
        told = noisy(state, Fraction(1), 20, NONE, dice)
        seen["n"] += told.n
    # 27 draws of variance 2 e / (e - 1)^2 each; six standard errors: a false alarm once in 5e8
    error = math.sqrt((BINS + len(FAILURES)) * 2 * math.e / (math.e - 1) ** 2 / draws)
    assert abs(seen["n"] / draws - n) < 6 * error


def test_quantiles_of_nothing_are_none() -> None:
    with pytest.raises(ValueError, match="no quantile"):
        quantile(Calls((), {"error": 30}, 3), 0.5)
    with pytest.raises(ValueError, match="no quantile"):
        quantile(CALLS, 1.0)
    assert failure_rate(Calls((), {}, 3)) == 0
