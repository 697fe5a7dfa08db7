from __future__ import annotations

import logging
import statistics
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from houses import House, Script
from poet import legacy
from poet.errors import ConfigurationError, StoreUnavailable
from poet.legacy.metrics import POEAggregateMetrics
from poet.model.execution import Outcome
from poet.seams import FunctionRecord, Store
from poet.stores.memory import MemoryStore

SECONDS = st.floats(0, 1e4, width=32)
TOLD = st.fixed_dictionaries(
    {
        "function_name": st.sampled_from(["ask", "shop.fetch", "shop.Client.fetch"]),
        "success": st.booleans(),
        "total_time": SECONDS,
        "attempts": st.integers(1, 5),
        "domain": st.sampled_from([None, "web", "hvac"]),
        "stage_timings": st.none() | st.dictionaries(st.sampled_from(["perceive", "operate", "train"]), SECONDS),
        "error_info": st.none() | st.fixed_dictionaries({"type": st.sampled_from(["KeyError", "TimeoutError"])}),
    }
)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
def collector(house: House) -> legacy.POEMetricsCollector:
    return legacy.POEMetricsCollector(agent=house.agent)


def test_executions_of_decorated_functions_answer_its_questions(
    house: House, collector: legacy.POEMetricsCollector
) -> None:
    script = Script(house.clock, 1.0, ConnectionError("down"), 3.0, ValueError("mine"))
    fetch = legacy.poet(name="shop.fetch", domain="webshop", agent=house.agent)(lambda: script())
    fetch()
    fetch()
    with pytest.raises(ValueError, match="mine"):
        fetch()
    assert collector.get_stats() == pytest.approx({**fetch.get_metrics(), "avg_retries": 1 / 3})  # type: ignore[dict-item]
    performance = collector.get_function_performance("shop.fetch")
    assert (performance["executions"], performance["success_rate"]) == (3, pytest.approx(2 / 3))
    assert collector.get_domain_performance("webshop") == {
        "domain": "webshop",
        **{key: value for key, value in performance.items() if key != "function_name"},
    }
    first, _, last = collector.recent_metrics
    assert (first.function_name, first.domain, first.success, first.total_time) == ("shop.fetch", "webshop", True, 1.0)
    assert (first.attempts, first.error_type, first.operate_time) == (1, None, None)
    assert (last.success, last.error_type, last.error_stage) == (False, "ValueError", "operate")
    assert (last.retries_configured, last.timeout_configured, last.training_enabled) == (3, 30.0, False)


def test_a_result_that_was_rejected_failed_in_enforce(house: House, collector: legacy.POEMetricsCollector) -> None:
    strict = legacy.poet(enforce=int, retries=0, agent=house.agent)(lambda: "text")
    with pytest.raises(legacy.OutputValidationError):
        strict()
    (told,) = collector.recent_metrics
    assert (told.error_type, told.error_stage) == ("ResultRejected", "enforce")


def test_what_is_told_is_an_execution_of_that_function_in_the_same_store(
    house: House, collector: legacy.POEMetricsCollector
) -> None:
    house.clock.sleep(100)
    told = collector.record_execution(
        "ask",
        False,
        2.0,
        4,
        domain="web",
        stage_timings={"perceive": 0.25, "operate": 1.75},
        error_info={"type": "KeyError", "message": "secret", "stage": "operate"},
        config_info={"retries": 5, "timeout": 7.0, "training_enabled": True},
    )
    assert (told.function_name, told.timestamp, told.error_message) == ("ask", house.clock.wall(), "secret")
    (read,) = collector.recent_metrics
    assert read.timestamp == pytest.approx(house.clock.wall() - 2.0)
    assert {**read.to_dict(), "timestamp": 0} == {
        **told.to_dict(),
        "timestamp": 0,
        "error_message": None,
        "training_enabled": False,
    }
    (record,) = house.store.functions()
    assert (record.key.name, record.domain, record.calls, record.failures) == ("ask", "web", 1, 1)
    (execution,) = house.store.executions(record.key)
    assert [attempt.seconds for attempt in execution.attempts] == [0.5] * 4


@pytest.mark.parametrize(
    ("error", "outcome"), [("TimeoutError", Outcome.TIMEOUT), ("KeyError", Outcome.ERROR), (None, Outcome.ERROR)]
)
def test_a_failure_is_stored_as_what_it_was(
    house: House, collector: legacy.POEMetricsCollector, error: str | None, outcome: Outcome
) -> None:
    collector.record_execution("ask", False, 3.0, 2, error_info={"type": error})
    (told,) = collector.recent_metrics
    assert (told.success, told.error_type) == (False, error or "Exception")
    (execution,) = house.store.executions(house.store.functions()[0].key)
    assert [attempt.outcome for attempt in execution.attempts] == [Outcome.ERROR, outcome]


def test_the_global_collector_is_one_and_records_for_everybody() -> None:
    assert legacy.get_global_collector() is legacy.get_global_collector()
    assert legacy.get_global_collector().storage_path is None


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(TOLD, max_size=20), st.integers(0, 20))
def test_a_collector_on_a_store_and_one_in_memory_count_alike(told: list[dict[str, Any]], cleared_after: int) -> None:
    house = House()
    stored = legacy.POEMetricsCollector(agent=house.agent)
    kept = legacy.POEMetricsCollector(enable_persistence=False, agent=house.agent)
    expected = POEAggregateMetrics()
    for number, arguments in enumerate(told):
        if number == cleared_after:
            stored.clear_metrics()
            kept.clear_metrics()
            expected = POEAggregateMetrics()
        house.clock.sleep(arguments["total_time"] + 0.01)
        stored.record_execution(**arguments)
        expected.add_execution(kept.record_execution(**arguments))
    close = pytest.approx
    for one in (stored, kept):
        assert one.get_stats()["total_executions"] == expected.total_executions
        assert one.get_stats()["total_retries"] == expected.total_retries
        report = one.generate_report()
        for name, sums in expected.function_stats.items():
            assert report["top_functions"][name] == close(sums)
        for name, sums in expected.domain_stats.items():
            assert report["domain_breakdown"][name] == close(sums)
        assert report["recent_executions"] == expected.total_executions
    names = [told.function_name for told in kept.recent_metrics]
    assert sorted(told.function_name for told in stored.recent_metrics) == sorted(names)


def test_clearing_leaves_the_store_as_it_is_and_other_collectors_too(
    house: House, collector: legacy.POEMetricsCollector
) -> None:
    fetch = legacy.poet(agent=house.agent)(lambda: None)
    fetch()
    collector.clear_metrics()
    assert collector.get_stats()["total_executions"] == 0
    assert collector.generate_report()["top_functions"] == {}
    assert collector.recent_metrics == []
    collector.record_execution("slow", True, 1e4, 1)  # began long before the clearing, ended after it
    fetch()
    assert collector.get_stats()["total_executions"] == 2
    assert legacy.POEMetricsCollector(agent=house.agent).get_stats()["total_executions"] == 3
    assert fetch.get_metrics()["total_executions"] == 2  # type: ignore[index]


def test_a_function_is_found_by_the_end_of_its_name_where_only_one_has_it(
    collector: legacy.POEMetricsCollector,
) -> None:
    for name in ("shop.fetch", "shop.Client.get", "bank.get", "fetch.all"):
        collector.record_execution(name, True, 1.0, 1)
    assert collector.get_function_performance("fetch")["function_name"] == "shop.fetch"
    assert collector.get_function_performance("Client.get")["function_name"] == "shop.Client.get"
    assert collector.get_function_performance("get") == {
        "error": "'get' means several functions, name one of: bank.get, shop.Client.get"
    }
    assert collector.get_function_performance("bank.got") == {
        "error": "No metrics found for function 'bank.got'; did you mean 'bank.get'?"
    }
    assert collector.get_domain_performance("hvac") == {"error": "No metrics found for domain 'hvac'"}


def test_one_function_in_two_domains_counts_for_each_and_together(collector: legacy.POEMetricsCollector) -> None:
    collector.record_execution("ask", True, 1.0, 1, domain="web")
    collector.record_execution("ask", True, 2.0, 1, domain="bank")
    assert collector.get_domain_performance("web")["total_time"] == 1.0
    assert collector.get_function_performance("ask")["total_time"] == 3.0


def test_the_newest_executions_come_oldest_first_and_no_more_than_was_asked_for(house: House) -> None:
    for persistent in (True, False):
        collector = legacy.POEMetricsCollector(max_memory_entries=3, enable_persistence=persistent, agent=house.agent)
        for number in range(5):
            house.clock.sleep(2.0)
            collector.record_execution("ab"[number % 2], True, 1.0, number + 1)
        assert [told.attempts for told in collector.recent_metrics] == [3, 4, 5]
        assert collector.generate_report()["recent_executions"] == 3
        assert collector.get_stats()["total_executions"] == 5


def test_a_report_shows_the_ten_functions_of_most_executions(collector: legacy.POEMetricsCollector) -> None:
    for number in range(12):
        for _ in range(number + 1):
            collector.record_execution(f"f{number}", True, 1.0, 1)
    report = collector.generate_report()
    assert list(report["top_functions"]) == [f"f{number}" for number in range(11, 1, -1)]
    assert report["overall_stats"] == collector.get_stats()
    assert report["timestamp"].startswith("2023-11-1")


@pytest.mark.parametrize("persistent", [True, False])
def test_names_of_calls_instead_of_functions_do_not_fill_the_memory(house: House, persistent: bool) -> None:
    collector = legacy.POEMetricsCollector(max_memory_entries=2, enable_persistence=persistent, agent=house.agent)
    for name in ("a", "b", "a"):
        collector.record_execution(name, True, 1.0, 1)
    with pytest.raises(ConfigurationError, match="2 functions were told of, that is max_memory_entries: is 'c'"):
        collector.record_execution("c", True, 1.0, 1)
    assert collector.get_stats()["total_executions"] == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"function_name": ""}, "function_name must be a text"),
        ({"function_name": "x" * 201}, "function_name must be a text"),
        ({"total_time": -1.0}, "total_time must be a finite number of seconds >= 0, got -1.0"),
        ({"total_time": float("nan")}, "total_time must be"),
        ({"attempts": 0}, "attempts must be a whole number >= 1, the first included, got 0"),
        ({"attempts": 1001}, "attempts must be at most 1000"),
        ({"domain": 3}, "domain must be a text"),
        ({"stage_timings": {"percieve": 1.0}}, "stage_timings has no 'percieve': did you mean 'perceive'"),
        ({"stage_timings": {"train": "1"}}, r"stage_timings\['train'\] must be a finite number"),
        ({"error_info": {"kind": "KeyError"}}, "error_info has no 'kind'"),
        ({"error_info": {"type": "x" * 201}}, "type of the error must be a text of 1 to 200 characters"),
        ({"config_info": {"retries": -1}}, "retries must be a whole number >= 0, got -1"),
        ({"config_info": {"retry": 1}}, "did you mean 'retries'"),
    ],
    ids=str,
)
@pytest.mark.parametrize("persistent", [True, False])
def test_what_cannot_be_is_refused_and_nothing_is_kept(
    house: House, arguments: dict[str, Any], sentence: str, persistent: bool
) -> None:
    collector = legacy.POEMetricsCollector(enable_persistence=persistent, agent=house.agent)
    usual = {"function_name": "ask", "success": True, "total_time": 1.0, "attempts": 1}
    with pytest.raises(ConfigurationError, match=sentence):
        collector.record_execution(**{**usual, **arguments})
    assert collector.get_stats()["total_executions"] == 0
    with pytest.raises(ConfigurationError, match="max_memory_entries must be a whole number >= 1, got 0"):
        legacy.POEMetricsCollector(max_memory_entries=0)


def test_a_store_of_its_own_keeps_what_was_told_for_the_next_collector(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    first = legacy.POEMetricsCollector(folder)
    for _ in range(3):
        first.record_execution("ask", True, 0.5, 2, domain="web")
    assert first.get_stats()["total_executions"] == 3
    first.record_execution("ask", False, 0.5, 1, domain="web")
    first.close()
    assert (folder / "poet.db").exists()
    second = legacy.POEMetricsCollector(str(folder))
    try:
        stats = second.get_stats()
        assert (stats["total_executions"], stats["total_retries"], stats["success_rate"]) == (4, 3, 0.75)
        second.record_execution("ask", True, 0.5, 1, domain="web")
        assert second.get_function_performance("ask")["executions"] == 5
    finally:
        second.close()


def test_many_threads_lose_nothing(house: House, tmp_path: Path) -> None:
    collectors = [
        legacy.POEMetricsCollector(tmp_path),
        legacy.POEMetricsCollector(enable_persistence=False),
        legacy.POEMetricsCollector(agent=house.agent),
    ]

    def work(name: str) -> None:
        for number in range(50):
            for collector in collectors:
                collector.record_execution(name, True, 0.0, 1 + number % 2)

    threads = [threading.Thread(target=work, args=(name,)) for name in "aabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for collector in collectors:
        stats = collector.get_stats()
        assert (stats["total_executions"], stats["total_retries"]) == (200, 100)
        assert collector.get_function_performance("a")["executions"] == 100
    collectors[0].close()


def test_after_another_configuration_it_goes_on_with_the_new_store(house: House) -> None:
    from poet.settings import Settings

    stores = [MemoryStore(), MemoryStore()]
    house.agent._make_store = lambda _: stores.pop(0)
    collector = legacy.POEMetricsCollector(agent=house.agent)
    collector.record_execution("ask", True, 1.0, 1)
    assert collector.get_stats()["total_executions"] == 1
    house.agent.reconfigure(Settings(store="memory:"))
    assert collector.get_stats()["total_executions"] == 0
    collector.record_execution("ask", True, 1.0, 1)
    collector.record_execution("ask", True, 1.0, 1)
    assert collector.get_stats()["total_executions"] == 2


def test_where_learning_is_off_nothing_is_recorded_and_no_store_opened() -> None:
    house = House(learning="off")
    collector = legacy.POEMetricsCollector(agent=house.agent)
    collector.record_execution("ask", True, 1.0, 1)
    assert collector.get_stats()["total_executions"] == 0
    assert collector.recent_metrics == []
    collector.clear_metrics()
    assert house.agent.trainer is None


class Away(MemoryStore):
    """A store that takes no function while it is away."""

    away = True

    def register(self, record: FunctionRecord) -> Any:
        if self.away:
            raise StoreUnavailable(self.url, "away")
        return super().register(record)


def test_a_store_that_is_away_breaks_nothing_and_loses_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = Away()
    house = House(store=store)
    collector = legacy.POEMetricsCollector(agent=house.agent)
    with caplog.at_level(logging.ERROR, "poet"):
        collector.record_execution("ask", True, 1.0, 1)
        collector.record_execution("ask", True, 1.0, 1)
    assert len(caplog.records) == 1
    assert house.agent.report().faults == 2
    store.away = False
    collector.record_execution("ask", True, 1.0, 1)
    assert collector.get_stats()["total_executions"] == 3


class Counting(MemoryStore):
    """A store that gives executions one by one, and remembers the most that were asked for at once."""

    most = 0

    def executions(self, function: Any, *, since: float = 0.0, limit: int | None = None) -> Iterator[Any]:
        self.most = max(self.most, limit or 0)
        return super().executions(function, since=since, limit=limit)


def test_the_newest_few_are_read_as_the_newest_few() -> None:
    store: Store = Counting()
    house = House(store=store)
    collector = legacy.POEMetricsCollector(max_memory_entries=7, agent=house.agent)
    for _ in range(20):
        house.clock.sleep(1.0)
        collector.record_execution("ask", True, 0.5, 1)
    assert len(collector.recent_metrics) == 7
    assert store.most == 7  # type: ignore[attr-defined]


@given(st.lists(st.tuples(st.booleans(), SECONDS, st.integers(1, 9)), min_size=1))
def test_metrics_of_one_function_are_what_a_slow_count_says(rows: list[tuple[bool, float, int]]) -> None:
    metrics = legacy.POEMetrics()
    for success, seconds, attempts in rows:
        metrics.record_execution(success, seconds, attempts)
    stats = metrics.get_stats()
    assert stats["total_executions"] == len(rows)
    assert stats["success_rate"] == sum(success for success, *_ in rows) / len(rows)
    assert stats["success_rate"] + stats["failure_rate"] == pytest.approx(1.0)
    assert stats["avg_execution_time"] == pytest.approx(statistics.fmean(row[1] for row in rows), abs=1e-9)
    assert stats["total_retries"] == sum(attempts - 1 for *_, attempts in rows)


def test_metrics_refuse_what_was_no_execution() -> None:
    metrics = legacy.POEMetrics()
    with pytest.raises(ConfigurationError, match="execution_time must be"):
        metrics.record_execution(True, -1.0, 1)
    with pytest.raises(ConfigurationError, match="attempts must be"):
        metrics.record_execution(True, 1.0, 0)
    assert metrics == legacy.POEMetrics()


def execution(name: str = "ask", success: bool = True, seconds: float = 1.0, **more: Any) -> legacy.POEExecutionMetrics:
    return legacy.POEExecutionMetrics(name, None, 1e9, success, seconds, more.pop("attempts", 1), **more)


def test_an_execution_goes_to_a_mapping_and_back_and_leaves_it_alone() -> None:
    told = execution(success=False, operate_time=0.5, error_type="KeyError")
    data = told.to_dict()
    before = dict(data)
    assert legacy.POEExecutionMetrics.from_dict(data) == told
    assert legacy.POEExecutionMetrics.from_dict(data) == told
    assert data == before
    line = {
        "function_name": "ask",
        "domain": None,
        "timestamp": 1795351012.57,
        "success": True,
        "total_time": 0.0044,
        "attempts": 1,
        "perceive_time": 1.7e-05,
        "operate_time": 7e-06,
        "enforce_time": 0.0044,
        "train_time": 0.0005,
        "error_type": None,
        "error_message": None,
        "error_stage": None,
        "retries_configured": 3,
        "timeout_configured": 30.0,
        "training_enabled": True,
    }
    assert legacy.POEExecutionMetrics.from_dict(line).to_dict() == line, "as the original wrote them"


def test_aggregates_say_what_they_sum_and_what_nobody_measured() -> None:
    sums = POEAggregateMetrics()
    assert sums.get_summary() == {"message": "No executions recorded"}
    assert sums.get_performance_insights() == ["No executions recorded"]
    assert sums.get_error_analysis()["most_common_error_type"] is None
    sums.add_execution(execution(seconds=1.0, operate_time=0.75, perceive_time=0.25))
    sums.add_execution(execution(seconds=3.0, attempts=3))
    sums.add_execution(execution("other", False, 2.0, error_type="KeyError", error_stage="operate"))
    summary = sums.get_summary()
    assert summary["timing_summary"] == {"total_time": 6.0, "average_time": 2.0, "min_time": 1.0, "max_time": 3.0}
    assert summary["stage_timing"] == {
        "average_perceive_time": 0.25,
        "average_operate_time": 0.75,
        "average_enforce_time": None,
        "average_train_time": None,
    }
    assert summary["retry_summary"]["max_retries_used"] == 2
    assert sums.get_error_analysis() == {
        "errors_by_type": {"KeyError": 1},
        "errors_by_stage": {"operate": 1},
        "errors_by_function": {"other": 1},
        "most_common_error_type": ("KeyError", 1),
        "most_problematic_stage": ("operate", 1),
        "most_problematic_function": ("other", 1),
    }
    assert sums.get_performance_insights() == [
        "1 of 3 executions failed (33.3%).",
        "They took 2 s on average, from 1 s to 3 s.",
        "2 retries were made, 0.67 per execution, at most 2 in one.",
        "Most failures, 1, are of the error KeyError.",
        "Most failures, 1, are of the function other.",
        "Of the time that was measured by stage: perceive 25.0%, operate 75.0%.",
    ]
