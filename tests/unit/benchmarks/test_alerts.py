import math

import numpy as np
import pytest
from benchmarks.alerts import Labelled, best, made_up, nab_score, poisson_interval, scored


def series(number=200, windows=((100, 119),), probation=30):
    return Labelled(np.arange(number, dtype=float), np.zeros(number), windows, probation)


def score_of(alarms, profile="standard", **given):
    score = np.zeros(200)
    score[list(alarms)] = 1.0
    return float(nab_score([scored(series(**given), score)], np.array([0.5]), profile)[0])


def test_silence_is_0_and_an_alarm_at_the_start_of_each_window_100():
    assert score_of([]) == 0
    assert score_of([100]) == pytest.approx(100, abs=0.1)
    assert score_of([50, 150], windows=((50, 59), (150, 159))) == pytest.approx(100, abs=0.2)


def test_a_window_counts_once_and_the_earlier_the_more():
    assert score_of([100, 105, 110]) == score_of([100])
    assert score_of([100]) > score_of([110]) > score_of([119]) > 50


def test_an_alarm_outside_costs_and_more_where_it_is_far():
    assert score_of([100, 199]) == pytest.approx(score_of([100]) - 100 * 0.11 / 2)
    assert score_of([100, 121]) > score_of([100, 199])
    assert score_of([100, 199], "few false alarms") == pytest.approx(score_of([100]) - 100 * 0.22 / 2)


def test_the_probation_is_not_scored():
    assert score_of([10, 100]) == score_of([100])


def test_a_window_missed_costs_twice_where_few_shall_be_missed():
    two = ((50, 59), (150, 159))
    assert score_of([50], windows=two) == pytest.approx(50, abs=0.1)
    assert score_of([50], "few missed", windows=two) == pytest.approx(50, abs=0.1)


def test_the_best_threshold_is_found():
    score = np.zeros(200)
    score[[60, 100, 180]] = [0.3, 0.9, 0.5]
    found, threshold = best([scored(series(), score)])
    assert threshold == 0.9
    assert found == pytest.approx(100, abs=0.1)


def test_an_interval_holds_the_count():
    assert poisson_interval(0)[0] == 0
    low, high = poisson_interval(20)
    assert low == pytest.approx(12.217, abs=0.01)
    assert high == pytest.approx(30.888, abs=0.01)


def test_a_season_is_a_day_long():
    times, values = made_up("seasonal", 0)
    day = values.reshape(-1, 288).mean(axis=0)
    assert float(np.ptp(day)) > 5
    assert math.isclose(times[288] - times[0], 86400)
