from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.aggregate import HOUR, Hour
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.likeness import MEASURED, Behaviour, Fingerprint
from poet.sharing.behaviour import LEAST, behaviour
from poet.sharing.packing import packed


def call(k: int, seconds: float, outcome: Outcome = Outcome.SUCCESS, error: str = "") -> Execution:
    return Execution("w", k, 1.7e9 + k, seconds, outcome, 1, (Attempt(outcome, seconds),), error)


def number(told: Behaviour | None, name: str) -> float:
    assert told is not None
    value = told.numbers[MEASURED.index(name)]
    assert value is not None
    return value


def error(told: Behaviour | None, name: str) -> float:
    assert told is not None
    value = told.errors[MEASURED.index(name)]
    assert value is not None
    return value


def test_few_calls_say_nothing() -> None:
    assert behaviour([call(k, 0.1) for k in range(LEAST - 1)]) is None
    assert behaviour([call(k, 0.1) for k in range(LEAST)]) is not None


def test_quantiles_are_those_of_the_sample_where_nothing_was_cut_off() -> None:
    rng = np.random.default_rng(1)
    seconds = np.exp(rng.normal(-2, 0.7, 999))
    told = behaviour([call(k, x) for k, x in enumerate(seconds.tolist())])
    logs = np.log(seconds)
    assert number(told, "level") == pytest.approx(float(np.median(logs)))
    for name, q in (("p25", 0.25), ("p90", 0.9), ("p99", 0.99)):
        exact = float(np.quantile(logs, q, method="inverted_cdf") - np.median(logs))
        assert number(told, name) == pytest.approx(exact, abs=1e-9)


def test_the_shape_does_not_depend_on_the_unit_of_time() -> None:
    rng = np.random.default_rng(2)
    seconds = np.exp(rng.normal(-2, 0.7, 400)).tolist()
    one, other = (behaviour([call(k, x * unit) for k, x in enumerate(seconds)]) for unit in (1.0, 60.0))
    assert number(other, "level") - number(one, "level") == pytest.approx(math.log(60))
    assert number(other, "p90") == pytest.approx(number(one, "p90"))


def test_what_was_cut_off_is_censored_and_not_taken_for_its_limit() -> None:
    rng = np.random.default_rng(3)
    seconds = np.exp(rng.normal(0, 1, 2000))
    limits = np.exp(rng.normal(0.8, 0.5, 2000))
    cut = [
        call(k, min(x, limit), Outcome.TIMEOUT if x > limit else Outcome.SUCCESS)
        for k, (x, limit) in enumerate(zip(seconds.tolist(), limits.tolist(), strict=True))
    ]
    told = behaviour(cut)
    # 4 standard errors of the median and of the upper quartile of 2000: one false alarm in some 15 000
    assert abs(number(told, "level")) < 4 * 1.2533 / math.sqrt(2000) * 1.5
    assert abs(number(told, "p75") - 0.6745) < 4 * 2 / math.sqrt(2000)


def test_behind_the_longest_limit_nothing_is_said() -> None:
    calls = [call(k, 0.1 + k / 1e4) for k in range(80)] + [call(80 + k, 1.0, Outcome.TIMEOUT) for k in range(20)]
    told = behaviour(calls)
    assert told is not None
    assert told.numbers[MEASURED.index("p90")] is None
    assert number(told, "timeouts") == pytest.approx(math.log(20.5 / 80.5))


def test_errors_shrink_as_calls_grow_and_hold_the_spread_of_the_median() -> None:
    dice = random.Random(4)
    few, many = (behaviour([call(k, math.exp(dice.gauss(0, 1))) for k in range(n)]) for n in (100, 1600))
    assert error(many, "level") < 0.5 * error(few, "level")
    medians = [number(behaviour([call(k, math.exp(dice.gauss(0, 1))) for k in range(100)]), "level") for _ in range(60)]
    assert 0.5 < float(np.std(medians)) / error(few, "level") < 2.0


def test_kinds_of_failures_are_shares_by_digest() -> None:
    calls = [call(k, 0.1) for k in range(60)]
    calls += [call(k, 0.1, Outcome.ERROR, "OSError") for k in range(60, 90)]
    calls += [call(k, 0.1, Outcome.REFUSED, "KeyError") for k in range(90, 100)]
    told = behaviour(calls)
    assert told is not None
    assert sorted(share for _, share in told.kinds) == [0.25, 0.75]
    assert number(told, "failures") == pytest.approx(math.log(40.5 / 60.5))


def test_the_pattern_of_the_day_is_told_from_two_days_on() -> None:
    def hours(days: int) -> list[Hour]:
        return [Hour(HOUR * h, 1, 100 if 8 <= h % 24 < 16 else 5, (), 0, 0, 0.0, 0, 0.0, {}) for h in range(24 * days)]

    calls = [call(k, 0.1) for k in range(50)]
    told = behaviour(calls, hours(5))
    assert number(told, "day_cos") < -0.5  # most at noon
    one_day = behaviour(calls, hours(1))
    assert one_day is not None
    assert one_day.numbers[MEASURED.index("day_cos")] is None


def test_learned_values_are_relative_to_durations() -> None:
    calls = [call(k, 0.1) for k in range(50)]
    told = behaviour(calls, (), {"timeout": 1.0, "retries": 2})
    assert number(told, "timeout") == pytest.approx(math.log(10))
    assert number(told, "retries") == pytest.approx(math.log(3))
    odd = behaviour(calls, (), {"timeout": math.inf, "retries": "many"})
    assert odd is not None
    assert odd.numbers[MEASURED.index("timeout")] is None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e6) | st.sampled_from([0.0, math.inf, math.nan, -1.0]), st.sampled_from(list(Outcome))),
        max_size=60,
    )
)
def test_whatever_was_recorded_what_is_told_can_be_packed(calls: list[tuple[float, Outcome]]) -> None:
    told = behaviour([call(k, seconds, outcome, "E") for k, (seconds, outcome) in enumerate(calls)])
    if told is not None:
        packed(Fingerprint(behaviour=told))
