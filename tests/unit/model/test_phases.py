from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model import phases
from poet.model.contexts import Matcher
from poet.model.fixed import held, spelt
from poet.model.phases import Phase, phase_of

MONDAY = 1_700_438_400.0  # midnight, Unix time [s]
HOUR = 3600.0
ZONES = ("", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe")

PHASES = st.builds(
    Phase,
    st.tuples(st.integers(0, 6), st.integers(0, 6)),
    st.integers(0, 1439),
    st.integers(1, 1440),
    st.sampled_from(ZONES),
)


@given(PHASES)
def test_a_phase_comes_back_from_its_name(phase: Phase) -> None:
    again = phase_of(str(phase))
    assert again is not None
    assert str(again) == str(phase)
    assert again.share == pytest.approx(phase.share)


@given(PHASES, st.floats(0, 4e9))
def test_it_holds_when_the_clocks_of_its_zone_say_so(phase: Phase, moment: float) -> None:
    """A second derivation: every minute that it has begun at on its days is gone through."""
    when = datetime.fromtimestamp(moment // 60 * 60, ZoneInfo(phase.zone or "UTC"))
    now = when.weekday() * 1440 + when.hour * 60 + when.minute
    days = [(phase.days[0] + i) % 7 for i in range((phase.days[1] - phase.days[0]) % 7 + 1)]
    begun = [day * 1440 + phase.since for day in days]
    assert phase.holds(moment) == any((now - start) % 10080 < phase.length for start in begun)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "region=eu",
        "8-20",
        "25:00-26:00",
        "08:00-20:60",
        "Mon-Fry",
        "mon",
        "24:00-06:00",
        "size>=1000",
        "08:00",
        "UTC",
    ],
)
def test_what_is_none_is_none(text: str) -> None:
    assert phase_of(text) is None


def test_no_feature_can_be_taken_for_one() -> None:
    assert not Matcher(["08:00-20:00"]).cells
    assert phases.parted("timeout@slot=08:00-20:00") == ("timeout@slot=08:00-20:00", ())
    assert phases.parted("timeout@Mon=x") == ("timeout@Mon=x", ())


def test_on_the_day_that_the_clock_is_set_a_phase_is_shorter_or_longer() -> None:
    """In Berlin 02:00 to 03:00 is left out on 31 March 2024, and comes twice on 27 October."""
    night = Phase(since=60, until=300, zone="Europe/Berlin")

    def minutes(year: int, month: int, day: int) -> int:
        start = datetime(year, month, day, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        return sum(night.holds(start + 60 * i) for i in range(12 * 60))

    assert [minutes(2024, 3, 30), minutes(2024, 3, 31), minutes(2024, 10, 27)] == [240, 180, 300]


def test_over_midnight_the_day_is_the_one_that_it_began_on() -> None:
    friday = Phase((4, 4), 22 * 60, 6 * 60)
    at = [MONDAY + 4 * 24 * HOUR + hour * HOUR for hour in (5, 21.9, 22, 26, 29.9, 30)]
    assert [friday.holds(moment) for moment in at] == [False, False, True, True, True, False]


def test_the_shortest_stands_above_the_others() -> None:
    values = {"timeout": 1.0, "timeout@08:00-20:00": 2.0, "timeout@Mon-Fri 12:00-13:00": 3.0, "timeout@Sat-Sun": 4.0}
    said = [phases.at(values, MONDAY + hour * HOUR)["timeout"] for hour in (7, 9, 12, 13, 5 * 24 + 7, 5 * 24 + 12)]
    assert said == [1.0, 2.0, 3.0, 2.0, 4.0, 4.0]


def test_beside_a_context_the_rest_of_the_name_stays() -> None:
    values = {"timeout": 1.0, "timeout@region=eu": 2.0, "timeout@region=eu,08:00-20:00": 3.0}
    assert phases.at(values, MONDAY + 9 * HOUR) == {"timeout": 1.0, "timeout@region=eu": 3.0}
    assert phases.at(values, MONDAY) == {"timeout": 1.0, "timeout@region=eu": 2.0}


def test_names_are_spelt_in_one_way() -> None:
    assert spelt("timeout@8:00-20:00,region=eu") == "timeout@region=eu,08:00-20:00"
    assert spelt("timeout@Mon-Sun 8:00-20:00 UTC") == "timeout@08:00-20:00"
    with pytest.raises(ConfigurationError, match="Europe/Berlin"):
        spelt("timeout@08:00-20:00 Europe/Berlim")
    with pytest.raises(ConfigurationError):
        spelt("timeout@08:00")


def test_a_zone_that_nobody_knows_never_holds_and_breaks_nothing() -> None:
    assert phases.at({"timeout": 1.0, "timeout@08:00-20:00 Moon/Tycho": 2.0}, MONDAY + 9 * HOUR) == {"timeout": 1.0}
    assert phases.at({"timeout@08:00-20:00": 2.0}, float("nan")) == {}


def test_what_is_pinned_for_all_hours_holds_at_all() -> None:
    values = {"timeout": 1.0, "timeout@08:00-20:00": 2.0, "retries@08:00-20:00": 1}
    assert held(values, {"timeout": 3.0}) == {"timeout": 3.0, "retries@08:00-20:00": 1}


@pytest.mark.parametrize(("learned", "stay"), [(1.0, True), (4.4, True), (0.7, True), (4.6, False), (0.6, False)])
def test_phases_go_where_learning_goes_far_beyond_them(learned: float, stay: bool) -> None:
    live = {"timeout": 2.0, "timeout@08:00-20:00": 3.0, "timeout@20:00-08:00": 1.0}
    assert bool(phases.going_on(live, {"timeout": learned})) is stay


def test_whole_numbers_may_be_off_by_one_and_words_stay() -> None:
    live = {"retries": 0, "retries@08:00-20:00": 1, "model": "small", "model@08:00-20:00": "large"}
    assert set(phases.going_on(live, {"retries": 2, "model": "tiny"})) == {"retries@08:00-20:00", "model@08:00-20:00"}
    assert set(phases.going_on(live, {"retries": 3})) == {"model@08:00-20:00"}
