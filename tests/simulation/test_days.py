"""Days on a virtual clock: values that follow the hours, from the analysis to the calls and back."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from houses import House
from poet import Choice
from poet.cli.analysis import Analyze, of_store
from poet.errors import ConfigurationError
from poet.exchange import table
from poet.learning import replay
from poet.learning.batch.calls import of_executions
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet
from poet.settings import Settings
from poet.testing.clock import VirtualClock

MONDAY = 1_700_438_400.0  # midnight, Unix time [s]
HOUR, DAY = 3600.0, 86_400.0
DAYTIME = "timeout@08:00-20:00"


@pytest.fixture
def house() -> House:
    return House(clock=VirtualClock(100.0, wall=MONDAY))


def fetch_of(house: House, **options: Any) -> Any:
    @house.poet(name="fetch", timeout=1.0, **options)
    def fetch() -> str:
        return "answer"

    fetch()
    house.agent.flush()
    return fetch


def timeouts(house: House, fetch: Any, hours: int) -> list[float]:
    """The timeout that a call uses, at half past each hour to come; training has had its rounds, and nothing else."""
    found = []
    for _ in range(hours):
        house.clock.sleep(HOUR / 2)
        house.agent.flush()
        fetch()
        found.append(fetch.poet.parameters["timeout"])
        house.clock.sleep(HOUR / 2)
    return found


def test_calls_use_what_holds_at_their_hour_and_the_version_stays_one(house: House) -> None:
    fetch = fetch_of(house)
    fetch.poet.pin(**{DAYTIME: 3.0})
    version = fetch.poet.versions()[-1].version
    assert timeouts(house, fetch, 48) == ([1.0] * 8 + [3.0] * 12 + [1.0] * 4) * 2
    assert fetch.poet.versions()[-1].version == version == fetch.poet.parameters.version
    assert dict(fetch.poet.versions()[-1]).keys() >= {"timeout", DAYTIME}
    assert all(name == "timeout" or "@" not in name for name in fetch.poet.parameters)


def test_a_function_without_phases_is_handed_nothing_anew(house: House) -> None:
    fetch, other = fetch_of(house), House(clock=house.clock)
    plain = fetch_of(other)
    fetch.poet.pin(**{DAYTIME: 3.0})
    before = (plain.poet._cell.plan, fetch.poet._cell.plan)
    house.clock.sleep(9 * HOUR)
    for each in (house, other):
        each.agent.flush()
    assert plain.poet._cell.plan is before[0]
    assert fetch.poet._cell.plan is not before[1]
    now = fetch.poet._cell.plan
    house.clock.sleep(HOUR)
    house.agent.flush()
    assert fetch.poet._cell.plan is now, "nothing has turned within the phase"


def test_a_clock_that_is_set_turns_the_values_with_it(house: House) -> None:
    fetch = fetch_of(house)
    fetch.poet.pin(**{DAYTIME: 3.0})
    said = []
    for wall in (MONDAY + 9 * HOUR, MONDAY + 7 * HOUR, MONDAY + 3 * DAY + 19.9 * HOUR, 0.0, MONDAY + 12 * HOUR):
        house.clock.set_wall(wall)
        house.agent.flush()
        said.append(fetch.poet.parameters["timeout"])
    assert said == [3.0, 1.0, 3.0, 1.0, 3.0]


def test_hours_of_a_zone_follow_its_summer_time(house: House) -> None:
    fetch = fetch_of(house)
    fetch.poet.pin(**{"timeout@08:00-20:00 Europe/Berlin": 3.0})
    berlin = ZoneInfo("Europe/Berlin")
    for day in (datetime(2024, 3, 30, tzinfo=berlin), datetime(2024, 4, 1, tzinfo=berlin)):
        house.clock.set_wall(day.timestamp())
        assert timeouts(house, fetch, 24) == [1.0] * 8 + [3.0] * 12 + [1.0] * 4


def test_a_process_that_begins_within_a_phase_begins_with_it(house: House) -> None:
    fetch_of(house).poet.pin(**{DAYTIME: 3.0})
    house.clock.sleep(9 * HOUR)
    again = House(store=house.store, clock=house.clock)

    @again.poet(name="fetch", timeout=1.0)
    def fetch() -> str:
        return "answer"

    assert fetch.poet.parameters["timeout"] == 3.0
    fetch()
    assert fetch.poet.parameters["timeout"] == 3.0


def test_pins_and_rollback_end_them(house: House) -> None:
    fetch = fetch_of(house)
    fetch.poet.pin(**{DAYTIME: 3.0})
    house.clock.sleep(9 * HOUR)
    assert fetch.poet.pin(timeout=2.0)["timeout"] == 2.0
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 2.0
    fetch.poet.rollback(to=1)
    assert fetch.poet.parameters["timeout"] == 1.0
    assert timeouts(house, fetch, 24) == [1.0] * 24
    for version in fetch.poet.versions():
        if DAYTIME in version and version["timeout"] == 1.0:
            fetch.poet.rollback(to=version.version)
    assert set(timeouts(house, fetch, 24)) == {1.0, 3.0}


def test_bounds_and_names_are_checked(house: House) -> None:
    fetch = fetch_of(house)
    for wrong in (
        {DAYTIME: -1.0},
        {"timeout@8-20": 1.0},
        {"timeout@08:00-20:00 Moon/Tycho": 1.0},
        {"tempo@Sat-Sun": 1},
    ):
        with pytest.raises(ConfigurationError):
            fetch.poet.pin(**wrong)
    with pytest.raises(ConfigurationError, match="no contexts"):
        fetch.poet.pin(**{"timeout@region=eu,08:00-20:00": 1.0})


def test_tunables_of_its_own_say_with_each_call_what_they_were(house: House) -> None:
    used = []

    @house.poet(name="answer", enable_training=True, exploration=0.0)
    def answer(model: Annotated[str, Choice("small", "large")] = "small") -> str:
        used.append(model)
        return model

    answer()
    house.agent.flush()
    answer.poet.pin(**{"model@08:00-20:00": "large"})
    for _ in range(24):
        house.clock.sleep(HOUR)
        house.agent.flush()
        answer()
    house.agent.flush()
    assert used.count("large") == 12
    (record,) = house.store.functions()
    told = [dict(each.values).get("model", "small") for each in house.store.executions(record.key)]
    assert told == used
    assert answer.poet.status()["faults"] == 0


def test_what_learning_finds_for_all_hours_leaves_them_and_what_is_far_beyond_ends_them(house: House) -> None:
    slow = [0.05]

    @house.poet(name="fetch", timeout=1.0, enable_training=True, objective=Objective(latency_cost=1.0))
    def fetch() -> str:
        house.clock.sleep(slow[0] * float(rng.lognormal(0, 0.3)))
        return "answer"

    rng = np.random.default_rng(1)
    fetch()
    house.agent.flush()
    trainee = fetch.poet._trainee
    values = {**fetch.poet.versions()[-1], "timeout": 0.3, DAYTIME: 0.4, "timeout@20:00-08:00": 0.2}
    draft = ParameterSet(values_=values, parent=1, origin="learned")
    house.agent.trainer.adopt(
        trainee.key, house.store.publish(trainee.key, draft, expected=trainee.standing.generation)
    )
    assert fetch.poet.parameters["timeout"] == 0.2
    for seconds, stays in ((0.05, True), (8.0, False)):
        slow[0] = seconds
        for _ in range(1500):
            fetch()
            if not fetch.poet._cell.channel.number % 50:
                house.agent.flush()
        live = fetch.poet.versions()[-1]
        assert (DAYTIME in live) is stays, (seconds, dict(live))
    assert fetch.poet.status()["faults"] == 0


def test_explain_and_replay_know_the_hours(house: House) -> None:
    rng = np.random.default_rng(2)

    @house.poet(name="fetch", timeout=4.0, retries=0, enable_training=True, objective=Objective(latency_cost=0.05))
    def fetch() -> str:
        hour = (house.clock.wall() - MONDAY) % DAY / HOUR
        house.clock.sleep((1.0 if 8 <= hour < 20 else 0.1) * float(rng.lognormal(0, 0.3)))
        return "answer"

    fetch()
    fetch.poet.pin(**{DAYTIME: 3.0, "timeout@20:00-08:00": 0.5})
    for _ in range(480):
        house.clock.sleep(DAY / 480)
        fetch()
        house.agent.flush()
    said = str(fetch.poet.explain())
    assert "timeout follows the hours: 3.0 from 08:00-20:00 UTC, 0.5 from 20:00-08:00 UTC, and now" in said
    (record,) = house.store.functions()
    live = house.store.standing(record.key).live
    same = fetch.poet.replay()
    assert same.recorded["success"] == pytest.approx(same.replayed["success"].value)
    assert same.values[DAYTIME] == 3.0
    tight = fetch.poet.replay(retries=0, **{DAYTIME: 0.6})
    assert tight.replayed["success"].value < same.recorded["success"] - 0.3, "by day most answers take longer"
    assert tight.decided == 1.0
    short = fetch.poet.replay(timeout=0.5, retries=0)
    assert short.replayed["success"].value == pytest.approx(tight.replayed["success"].value, abs=0.1)
    assert "timeout@20:00-08:00" not in short.values
    with pytest.raises(ConfigurationError, match="no parameter"):
        replay.wanted({"tempo@08:00-20:00": 1.0}, live, {})


def test_exported_tables_say_what_held_at_each_call(house: House) -> None:
    fetch = fetch_of(house)
    fetch.poet.pin(**{DAYTIME: 3.0})
    assert len(timeouts(house, fetch, 24)) == 24
    house.agent.flush()
    rows = list(table.rows(house.store, house.store.functions()))[1:]
    assert [row.parameters["timeout"] for row in rows if row.parameters] == [1.0] * 8 + [3.0] * 12 + [1.0] * 4
    assert not any("@" in name for row in rows for name in row.parameters or ())
    (record,) = house.store.functions()
    versions = {each.version: dict(each) for each in house.store.versions(record.key)}
    calls = of_executions(house.store.executions(record.key), versions).calls
    assert list(calls.parameters["timeout"])[1:] == [1.0] * 8 + [3.0] * 12 + [1.0] * 4


def test_from_the_record_to_the_calls(house: House) -> None:
    """Three weeks of a service that is slow and hangs by day; then what is found is applied, and calls use it."""
    rng = np.random.default_rng(3)
    taken: list[float] = []

    def declared(where: House) -> Any:
        @where.poet(name="fetch", timeout=6.0, retries=1, backoff=0.0, objective=Objective(latency_cost=0.2))
        def fetch() -> str:
            hour = (house.clock.wall() - MONDAY) % DAY / HOUR
            level = 1.0 if 8 <= hour < 20 else 0.08
            seconds = 30.0 if rng.random() < 0.08 else level * float(rng.lognormal(0, 0.3))
            taken.append(fetch.poet.parameters["timeout"])
            limit = taken[-1]
            house.clock.sleep(min(seconds, limit))
            if seconds > limit:
                raise TimeoutError
            return "answer"

        return fetch

    def call(fetch: Any) -> None:
        with suppress(TimeoutError):
            fetch()

    fetch = declared(house)
    gaps = 21 * DAY / 6000
    for i in range(6000):
        house.clock.sleep(gaps)
        call(fetch)
        if not i % 200:
            house.agent.flush()
    house.agent.flush()
    asked = Analyze(now=house.clock.wall(), function="fetch", apply=True)
    document = of_store(house.store, Settings(store="memory:", rollout="direct"), asked)
    (found,) = [each for each in document["insights"] if each["kind"] == "daily"]
    assert found["subject"].startswith("timeout")
    assert "follow" in found["sentence"]
    assert len(found["picture"]) == 3
    assert found["effect"]["low"] > 0
    (done,) = document["applied"]
    assert done["version"] == 2
    house.agent.flush()
    (record,) = house.store.functions()
    live = house.store.standing(record.key).live
    assert (live.origin, live.evidence) == ("learned", found["calls"])
    names = sorted(name for name in live if name.startswith("timeout@"))
    assert len(names) >= 2

    taken.clear()
    day = (house.clock.wall() // DAY + 1) * DAY
    for hour in range(24):
        house.clock.set_wall(day + (hour + 0.5) * HOUR)
        house.agent.flush()
        call(fetch)
    by_day, by_night = set(taken[9:19]), set(taken[22:]) | set(taken[:6])
    assert max(by_night) < 1.0 < min(by_day)

    again = of_store(
        house.store,
        Settings(store="memory:", rollout="direct"),
        Analyze(now=house.clock.wall(), function="fetch", apply=True),
    )
    assert all(each["version"] is None for each in again["applied"])
    fetch.poet.rollback()
    assert fetch.poet.parameters["timeout"] == 6.0
