from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from poet.learning.batch.analysis import analyse
from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import of_executions
from poet.learning.batch.daily import clock
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.insight import Insight
from poet.model.objective import Objective
from poet.model.tunable import Value

MONDAY = 1_700_438_400.0  # midnight UTC, Unix time [s]
HOUR, DAY = 3600.0, 86_400.0
USED: Mapping[str, Value] = {"timeout": 5.0, "retries": 0, "backoff": 0.1}
ASKED = Asked(Objective(latency_cost=0.3), live=USED, space={"retries": (0, 0), "timeout": (0.01, 30.0)})


def recorded(
    slow: Callable[[float], bool], seed: int, days: int = 21, calls: int = 5000, used: Mapping[str, Value] = USED
) -> list[Execution]:
    """Calls that take 1 s where ``slow``, 0.1 s else, of which every tenth would hang."""
    rng = np.random.default_rng(seed)
    limit, found = float(used["timeout"]), []
    for i, at in enumerate(np.sort(MONDAY + rng.uniform(0, days * DAY, calls)).tolist()):
        seconds = float((1.0 if slow(at) else 0.1) * rng.lognormal(0, 0.3)) if rng.random() > 0.1 else 60.0
        outcome = Outcome.SUCCESS if seconds <= limit else Outcome.TIMEOUT
        took = min(seconds, limit)
        found.append(Execution("w", i, at, took, outcome, 1, (Attempt(outcome, took),), "" if outcome.good else "T"))
    return found


def told(executions: list[Execution], asked: Asked = ASKED, used: Mapping[str, Value] = USED) -> list[Insight]:
    found = analyse("f", of_executions(executions, {1: used}), asked)
    assert not [said for said in found.looked_at.untold if "fault" in said], found.looked_at.untold
    return [each for each in found.insights if each.kind == "daily"]


def test_the_hours_that_want_another_timeout_are_found_with_what_that_gains() -> None:
    (found,) = told(recorded(lambda at: 8 <= at % DAY / HOUR < 20, 1))
    assert found.subject == "timeout"
    assert found.proposal is not None
    names = {name: float(value) for name, value in found.proposal.values.items()}
    assert names.keys() == {"timeout", "timeout@08:00-20:00", "timeout@20:00-08:00"}
    assert names["timeout@20:00-08:00"] < 0.6 < names["timeout@08:00-20:00"]
    # By night a hung call is given up some 2 s sooner than under what is best for all hours.
    assert found.effect.low < 0.1 * 0.3 * (names["timeout"] - names["timeout@20:00-08:00"]) / 2 < found.effect.high
    assert found.facts["q"] <= 0.05
    assert {*found.picture[1]} == {"1", "2"}


def test_hours_are_told_by_the_clocks_of_the_zone() -> None:
    asked = Asked(ASKED.objective, live=USED, space=ASKED.space, zone="Asia/Kathmandu")

    def slow(at: float) -> bool:
        return 8 <= (at + 5.75 * HOUR) % DAY / HOUR < 20

    (found,) = told(recorded(slow, 2), asked)
    assert found.proposal is not None
    assert "timeout@08:00-20:00 Asia/Kathmandu" in found.proposal.values


def test_weekends_of_their_own() -> None:
    def slow(at: float) -> bool:
        return (at - MONDAY) // DAY % 7 < 5

    (found,) = told(recorded(slow, 3, days=35, calls=8000))
    assert found.proposal is not None
    assert {"timeout@Mon-Fri", "timeout@Sat-Sun"} <= found.proposal.values.keys()


@pytest.mark.parametrize("seed", range(4, 10))
def test_where_nothing_follows_the_day_nothing_is_proposed(seed: int) -> None:
    """At most one history in 20 by the kernel's word; the seeds are those of a run that holds."""
    assert not told(recorded(lambda at: False, seed, calls=3000))


def test_a_season_of_the_load_alone_is_no_reason() -> None:
    found = [
        each
        for each in recorded(lambda at: False, 10, calls=6000)
        if each.started % DAY < 12 * HOUR or each.sequence % 5 == 0
    ]
    assert not told(found)


def test_too_short_a_record_says_so() -> None:
    executions = recorded(lambda at: 8 <= at % DAY / HOUR < 20, 11, days=5, calls=3000)
    found = analyse("f", of_executions(executions, {1: USED}), ASKED)
    assert any("no values by the hour" in said for said in found.looked_at.untold)


def test_what_is_used_already_is_proposed_no_more() -> None:
    used = {"timeout": 2.0, "timeout@08:00-20:00": 2.5, "timeout@20:00-08:00": 0.3, "retries": 0, "backoff": 0.1}
    rng = np.random.default_rng(12)
    executions = []
    for i, at in enumerate(np.sort(MONDAY + rng.uniform(0, 21 * DAY, 5000)).tolist()):
        day = 8 <= at % DAY / HOUR < 20
        seconds = float((1.0 if day else 0.1) * rng.lognormal(0, 0.3)) if rng.random() > 0.1 else 60.0
        limit = 2.5 if day else 0.3
        outcome = Outcome.SUCCESS if seconds <= limit else Outcome.TIMEOUT
        took = min(seconds, limit)
        executions.append(Execution("w", i, at, took, outcome, 1, (Attempt(outcome, took),)))
    for found in told(executions, used=used):
        assert found.proposal is None
        assert "holds already" in found.action


def test_a_tunable_that_a_lot_drew_may_follow_the_day_too() -> None:
    rng = np.random.default_rng(13)
    used = {**USED, "model": "small"}
    executions = []
    for i, at in enumerate(np.sort(MONDAY + rng.uniform(0, 21 * DAY, 6000)).tolist()):
        day = 8 <= at % DAY / HOUR < 20
        tried = bool(rng.random() < 0.3)
        score = float(np.clip(rng.normal(0.7 if tried == day else 0.4, 0.2), 0, 1))
        seconds = float((1.0 if day else 0.5) * rng.lognormal(0, 0.2))
        values = (("model", "large"),) if tried else ()
        executions.append(
            Execution(
                "w",
                i,
                at,
                seconds,
                Outcome.SUCCESS,
                1,
                (Attempt(Outcome.SUCCESS, seconds),),
                draw=int(tried),
                score=score,
                values=values,
            )
        )
    asked = Asked(ASKED.objective, live=used)
    found = {each.subject: each for each in told(executions, asked, used)}
    model = found["model"].proposal
    assert model is not None
    assert model.values["model@08:00-20:00"] == "large"
    assert model.values["model@20:00-08:00"] == "small"
    assert found["model"].effect.low < 0.15 < found["model"].effect.high


def test_the_clock_reads_what_the_zone_says() -> None:
    zone = "Europe/Berlin"
    moments = np.arange(1_711_700_000.0, 1_712_100_000.0, 1234.0)  # over the night that summer time begins
    read = clock(moments, zone)
    when = [datetime.fromtimestamp(moment, ZoneInfo(zone)) for moment in moments.tolist()]
    assert read.hours.tolist() == [each.hour for each in when]
    assert read.weekdays.tolist() == [each.weekday() for each in when]
    assert read.dates.tolist() == [(each.date() - when[0].date()).days for each in when]
    plain = clock(moments, "")
    same = clock(moments, "Africa/Abidjan")  # the same all year
    assert all((one == other).all() for one, other in zip(plain, same, strict=True))
