import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poet.kernels.batch.anomaly import (
    Alarm,
    Baseline,
    Detector,
    Gate,
    PeakLaw,
    alarms,
    held,
    least_cost,
    level_for,
    peak_law,
    probation_of,
    spent,
    surprises,
)

DAY = 86400.0
START = 19_000 * DAY
values_of_any_kind = st.floats(allow_nan=True, allow_infinity=True)


def every(seconds, number):
    return START + seconds * np.arange(number)


def noise(number, seed=0):
    return np.random.default_rng(seed).standard_normal(number)


def test_a_spike_is_the_greatest_surprise():
    values = noise(1000)
    values[700] = 15.0
    assert int(np.argmax(surprises(every(300, 1000), values))) == 700


def test_a_small_shift_that_stays_is_found_by_the_mean():
    values = noise(2000)
    values[1500:] += 1.5
    found = surprises(every(300, 2000), values)
    assert found[1500:1600].max() > found[300:1500].max()


def test_a_missing_daily_peak_is_a_surprise_though_its_values_are_usual():
    times = every(300, 288 * 14)
    values = 10 * np.maximum(np.sin(2 * np.pi * times / DAY), 0) + 0.1 * noise(len(times))
    values[288 * 12 : 288 * 13] = 0.1 * noise(288, 1)
    found = surprises(times, values)
    assert 288 * 12 <= int(np.argmax(found)) < 288 * 13


def test_nothing_looks_ahead():
    values = noise(800)
    whole = surprises(every(300, 800), values, probation=100)
    part = surprises(every(300, 500), values[:500], probation=100)
    assert np.array_equal(whole[:500], part)


@settings(max_examples=25, deadline=None)
@example([(0.0, 0.0)] * 29 + [(0.0, 1e300)] + [(1.0, -1e308), (2.0, math.inf), (4e9, 1.0)] * 20, 40)
@given(st.lists(st.tuples(st.floats(0, 4e9), values_of_any_kind), max_size=120), st.integers(0, 120))
def test_a_detector_that_was_dumped_goes_on_as_if_nothing_had_been(points, cut):
    points = sorted(points, key=lambda point: point[0])
    one, other = Detector(probation=30), Detector(probation=30)
    said = [one.update(*point) for point in points]
    told = [other.update(*point) for point in points[:cut]]
    other = Detector.load(json.loads(json.dumps(other.dump())))
    told += [other.update(*point) for point in points[cut:]]
    assert said == told
    assert all(math.isfinite(each) and each >= 0 for each in said)
    whole = surprises([time for time, _ in points], [value for _, value in points], probation=30)
    assert whole.tolist() == said


def test_its_state_is_bounded():
    detector = Detector(probation=50)
    sizes = []
    values = np.random.default_rng(0).uniform(0, 1e6, 30_000)
    for place, (time, value) in enumerate(zip(every(60, 30_000).tolist(), values.tolist(), strict=True)):
        detector.update(time, value)
        if place % 5000 == 4999:
            sizes.append(sum(len(pattern.counts) + len(pattern.totals) for pattern in detector._patterns))
    assert max(sizes) <= 3 * 2 * 15_001


def test_what_is_no_number_says_and_teaches_nothing():
    times, values = every(60, 400), noise(400)
    holes = values.copy()
    holes[200:210] = math.nan
    detector = Detector(probation=100)
    said = [detector.update(time, value) for time, value in zip(times, holes, strict=True)]
    assert said[200:210] == [0.0] * 10
    assert detector.skipped == 10


@pytest.mark.parametrize("values", [[], [1.0], [1.0] * 29])
def test_too_few_values_say_nothing(values):
    assert surprises(every(60, len(values)), values).tolist() == [0.0] * len(values)
    assert alarms(every(60, len(values)), values, per_day=1) == ()


def test_a_constant_is_no_surprise_and_what_leaves_it_is():
    values = np.full(500, 3.0)
    assert surprises(every(60, 500), values).max() < 3
    values[400] = 3.1
    found = surprises(every(60, 500), values)
    assert 400 <= int(np.argmax(found)) < 406
    assert found[400] > 5


def test_the_order_in_which_values_are_given_does_not_matter():
    times, values = every(60, 300), noise(300)
    order = np.random.default_rng(3).permutation(300)
    assert np.array_equal(surprises(times, values)[order], surprises(times[order], values[order]))


def test_doubled_times_and_clocks_that_go_back_are_taken_as_they_come():
    times, values = every(60, 300), noise(300)
    times[150:160] -= 3600
    times[200] = times[199]
    detector = Detector(probation=50)
    assert all(math.isfinite(detector.update(time, value)) for time, value in zip(times, values, strict=True))


def test_after_a_gap_the_pattern_starts_anew():
    values = np.tile([0.0, 1.0, 2.0, 3.0], 250)
    times = every(60, 1000)
    times[501:] += 7 * 3600
    assert surprises(times, values)[501] < 3


def test_shapes_that_differ_and_a_short_probation_are_refused():
    with pytest.raises(ValueError, match="one length"):
        surprises([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="at least 30"):
        Detector(probation=3)


def test_a_probation_is_a_part_of_the_whole():
    assert [probation_of(number) for number in (0, 200, 4000, 10**6)] == [30, 30, 600, 750]


@given(st.lists(st.floats(0, 20), max_size=60), st.integers(0, 10))
def test_what_is_held_is_a_new_maximum(surprise, hold):
    out = held(surprise, hold)
    for place, value in enumerate(surprise):
        before = surprise[max(place - hold, 0) : place]
        assert out[place] == (value if all(value > other for other in before) else 0.0)


def test_later_looks_need_more():
    assert spent([5.0] * 2001)[[1, 1000, 2000]].tolist() == pytest.approx([9.0, 6.0, 6 - math.log10(2)])


# Rates. 20 days of white noise every 5 minutes at 2 false alarms a day wanted: about 34 in the 17 days after the
# probation. More than 68 or fewer than 10 has a chance below 1e-5 if the rate is true.
@pytest.mark.parametrize("seed", range(3))
def test_the_rate_of_false_alarms_is_as_wanted(seed):
    number = 20 * 288
    found = alarms(every(300, number), noise(number, seed), per_day=2.0, hold=1800)
    assert 10 <= len(found) <= 68


def test_an_alarm_tells_what_it_passed():
    values = noise(2000)
    values[1500] = 30.0
    found = alarms(every(300, 2000), values, per_day=0.1)
    assert 1500 in [alarm.place for alarm in found]
    assert all(isinstance(alarm, Alarm) and alarm.surprise >= alarm.threshold for alarm in found)


def test_a_law_of_peaks_gives_back_its_rate():
    law = PeakLaw(2.0, 5.0, 0.9)
    assert law.rate(law.threshold(0.5)) == pytest.approx(0.5)
    peaks = np.random.default_rng(0).exponential(0.8, 4000)
    fitted = peak_law(peaks.tolist(), days=100.0)
    assert fitted.rate(4.0) == pytest.approx(40 * math.exp(-5), rel=0.4)
    with pytest.raises(ValueError, match="least"):
        peak_law([1.0], 1.0)


def test_the_dearer_an_alert_the_higher_the_threshold():
    law = PeakLaw(2.0, 5.0, 0.9)
    thresholds = [
        least_cost(law, alert_cost=cost, missed_cost=100.0).threshold for cost in (0.0, 0.1, 1.0, 10.0, 100.0)
    ]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] == 0.0


def test_the_least_cost_is_the_least():
    law = PeakLaw(2.0, 5.0, 0.9)
    known = [3.0, 6.0, 9.0, 12.0]
    best = least_cost(law, alert_cost=1.0, missed_cost=50.0, incidents_per_day=0.2, incidents=known)
    for other in np.linspace(0, 20, 50):
        missed = (np.sum(np.array(known) < other) + 5 * (1 - math.exp(-other / 8))) / 9
        assert best.cost_per_day <= law.rate(other) + 50 * 0.2 * missed + 1e-9


def test_a_gate_needs_one_thing_to_go_by():
    for wrong in (
        {},
        {"per_day": 1.0, "costs": (1.0, 1.0, 1.0)},
        {"per_day": 0.0},
        {"costs": (1.0, 0.0, 1.0)},
        {"per_day": 1.0, "hold": -1.0},
    ):
        with pytest.raises(ValueError):
            Gate(**wrong)


def test_costs_set_the_rate():
    number = 20 * 288
    series = every(300, number), noise(number)
    dear, cheap = (len(alarms(*series, costs=(cost, 100.0, 0.1))) for cost in (50.0, 0.5))
    assert dear < cheap


def test_a_baseline_is_not_bent_by_incidents_in_its_history():
    history = noise(500)
    plain = Baseline(history, least=0.01)
    bent = Baseline(np.concatenate((history, np.full(80, 12.0), [math.nan, math.inf])), least=0.01)
    assert bent.surprise(8.0) == pytest.approx(plain.surprise(8.0), rel=0.35)
    assert bent.surprise(8.0) > 4 > 2 > plain.surprise(1.0)


def test_a_baseline_without_a_history_drops_what_stood_out_while_it_was_new():
    one = Baseline(least=0.01)
    for place, value in enumerate(noise(400)):
        one.update(value + (12.0 if place % 50 < 8 else 0.0))
    assert one.surprise(12.0) > 4


def test_what_has_come_to_stay_is_usual():
    one = Baseline(noise(200), least=0.01)
    said = [one.update(9.0 + 0.1 * value) for value in noise(1500, 1)]
    assert said[0] > 4
    assert said[-1] < 3
    assert len(one.values) <= 600


def test_a_baseline_says_nothing_of_what_it_does_not_know():
    assert Baseline(least=1.0).surprise(5.0) == 0.0
    assert Baseline([1.0] * 30, least=1.0).surprise(math.nan) == 0.0
    assert Baseline([1.0] * 30, least=0.1).surprise(1.0) < 1
    with pytest.raises(ValueError, match="least"):
        Baseline(least=0.0)


# 20 000 looks at values like those of the history: at a level of 3, 20 are expected; more than 60 or none has a
# chance below 1e-8 for independent looks, and the fitted tail is good to a factor of 3.
@pytest.mark.parametrize("kind", ["normal", "exponential"])
def test_a_baseline_keeps_its_word(kind):
    rng = np.random.default_rng(0)
    values = getattr(rng, f"standard_{kind}")(20_600)
    one = Baseline(values[:600], least=1e-3)
    assert sum(one.surprise(value) >= 3 for value in values[600:]) <= 60


def test_a_level_takes_all_looks_into_account():
    assert level_for(2.0, 2000.0) == pytest.approx(3)
    with pytest.raises(ValueError, match="per_day"):
        level_for(0.0, 1.0)
