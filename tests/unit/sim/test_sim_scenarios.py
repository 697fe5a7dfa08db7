from __future__ import annotations

import pytest

from poet.sim.scenarios import LOAD_STEP, SCENARIOS, Overload, random_service, step_slowdown


def test_there_are_the_twelve() -> None:
    assert set(SCENARIOS) == {
        *("fast_api", "slow_llm", "bimodal", "bimodal_key", "heavy_tail", "flaky20"),
        *("overload", "regime_shift", "diurnal", "corr_input", "sticky_err", "perm_heavy"),
    }
    assert all(scenario.calls == 5000 for scenario in SCENARIOS.values())


def test_regimes_change_where_they_should() -> None:
    medians = [SCENARIOS["regime_shift"].service(t).latency[0].median for t in (0, 1499, 1500, 3499, 3500, 4999)]
    assert medians == [0.2, 0.2, 3.0, 3.0, 0.2, 0.2]


def test_a_day_repeats_itself_and_has_few_distinct_hours() -> None:
    diurnal = SCENARIOS["diurnal"]
    assert diurnal.service(100) == diurnal.service(1600)
    assert len({diurnal.service(t) for t in range(5000)}) <= 60


def test_own_load_slows_the_overloaded_service_and_turns_requests_away() -> None:
    overload = SCENARIOS["overload"]
    calm, loaded, burst = overload.service(0), overload.service(0, 1.3), overload.service(900, 1.3)
    assert calm == overload.at(0)
    assert calm.latency[0].median < loaded.latency[0].median
    assert calm.error < loaded.error < burst.error
    assert overload.service(0, 50.0).error == pytest.approx(0.63)


def test_load_is_rounded_so_that_few_services_arise() -> None:
    overload = SCENARIOS["overload"]
    assert overload.service(0, 1.1) is overload.service(0, 1.1 + 0.4 * LOAD_STEP)


def test_load_forgets_half_within_its_half_life() -> None:
    effect, load = Overload(half_life=30.0), 1.0
    for _ in range(30):
        load = effect.folded(load, 3.0)
    assert load == pytest.approx(2.0)


def test_other_scenarios_do_not_mind_our_load() -> None:
    assert SCENARIOS["fast_api"].service(0, 9.0) is SCENARIOS["fast_api"].service(0)


def test_a_step_slows_down_after_three_thousand_calls() -> None:
    step = step_slowdown(30.0)
    assert step.calls == 7000
    assert [step.service(t).latency[0].median for t in (2999, 3000)] == pytest.approx([0.1, 3.0])


def test_random_services_are_seeded_distinct_and_half_of_them_change() -> None:
    services = [random_service(seed) for seed in range(24)]
    assert len({scenario.service(0) for scenario in services}) == 24
    assert [s.service(0) != s.service(s.calls - 1) for s in services] == [bool(seed % 2) for seed in range(24)]
    again = random_service(5)
    assert (again.service(0), again.objective) == (services[5].service(0), services[5].objective)
    assert all(again.service(t) == services[5].service(t) for t in range(again.calls))
