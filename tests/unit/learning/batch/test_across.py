from __future__ import annotations

from poet.learning.batch.across import put_together
from poet.model.estimate import Estimate
from poet.model.insight import Analysed, Insight, OptimizationInsights

DAY, HOUR, START = 86_400.0, 3_600.0, 1_700_438_400.0
NAMES = [f"shop.f{i}#0123abcd" for i in range(12)]
LOOKED = [Analysed(name, 1000, START, START + 30 * DAY, HOUR, {}, ()) for name in NAMES]


def incident(number: int, hour: float, lasts: float = 5.0, **facts: str) -> Insight:
    size = Estimate(0.4, 0.3, 0.5, 100, 0.9)
    at = START + hour * HOUR
    return Insight(
        NAMES[number],
        "incident",
        "failures",
        "it failed",
        "",
        size,
        "share of calls",
        100,
        at,
        at + lasts * HOUR,
        worth=2.0,
        facts=facts,
    )


OUTAGE = [incident(0, 100.0), incident(4, 101.0), incident(7, 101.0), incident(9, 102.0)]
OTHERS = [incident(2, 300.0), incident(5, 500.0)]


def test_incidents_that_came_together_are_told_as_one() -> None:
    told = put_together([*OUTAGE, *OTHERS], LOOKED, {})
    (one,) = [each for each in told if each.also]
    assert (one.function, one.also) == (NAMES[0], tuple(NAMES[i] for i in (4, 7, 9)))
    assert one.facts["first"] == NAMES[0]
    assert "shop.f0 came first, 60 min before the next" in one.sentence or "1 h before" in one.sentence
    assert (one.since, one.until) == (START + 100 * HOUR, START + 107 * HOUR)
    assert one.worth == 8.0
    assert one.effect.low < one.effect.value < one.effect.high
    assert len(one.picture) == 5
    assert [each for each in told if not each.also] == OTHERS
    everything = OptimizationInsights(tuple(told), tuple(LOOKED))
    assert everything.of(NAMES[7]) == (one,)


def test_what_they_share_is_named() -> None:
    called = dict.fromkeys(["shop.f0", "shop.f4", "shop.f7", "shop.f9"], "payments") | {"shop.f2": "index"}
    (one,) = [each for each in put_together([*OUTAGE, *OTHERS], LOOKED, called) if each.also]
    assert one.facts["dependency"] == "payments"
    assert "all of them call payments" in one.sentence
    assert "payments" in one.action


def test_two_of_one_dependency_need_less_than_two_of_any() -> None:
    pair = [incident(0, 100.0), incident(4, 100.0)]
    usual = [incident(i, 110.0 + 13.0 * (12 * k + i), 1.0) for i in range(12) for k in range(3)]
    assert not any(each.also for each in put_together([*pair, *usual], LOOKED, {}))
    called = {NAMES[0]: "payments", NAMES[4]: "payments"}
    assert any(each.also for each in put_together([*pair, *usual], LOOKED, called))


def test_a_kind_of_failure_that_all_have_is_told() -> None:
    alike = [incident(i, 100.0, **{"failure 1": "ConnectError", "slice 1": "region=us"}) for i in (0, 4, 7, 9)]
    (one,) = [each for each in put_together([*alike, *OTHERS], LOOKED, {}) if each.also]
    assert "all with ConnectError" in one.sentence
    assert "all where region=us" in one.sentence
    assert one.facts["first"] == ""
    assert "cannot be told within 60 min" in one.sentence or "cannot be told within 1 h" in one.sentence


def test_one_function_and_no_incident_stay_as_they_are() -> None:
    alone = [incident(0, 100.0), incident(0, 101.0)]
    assert put_together(alone, LOOKED, {}) == alone
    assert put_together([], [], {}) == []
