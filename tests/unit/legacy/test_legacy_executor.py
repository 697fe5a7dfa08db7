from __future__ import annotations

from typing import Any

import pytest

from houses import House, Script
from poet import legacy
from poet.errors import ConfigurationError
from poet.legacy.executor import CLOCK_STEP
from poet.stores.memory import MemoryStore

KEYS = {
    "learning_enabled",
    "learning_algorithm",
    "function_name",
    "domain",
    "poe_metrics",
    "online_learning",
    "performance_summary",
    "convergence_status",
}


def test_metrics_count_attempts_failures_and_mean_time_of_this_function() -> None:
    house = House()
    script = Script(house.clock, 1.0, ConnectionError("down"), 3.0, ValueError("mine"))
    fetch = legacy.POETExecutor(legacy.POETConfig(), agent=house.agent)(lambda: script())
    fetch()
    began = house.clock.now()
    fetch()
    second = house.clock.now() - began
    with pytest.raises(ValueError, match="mine"):
        fetch()
    stats = fetch.get_metrics()
    assert stats is not None
    assert stats == {
        "total_executions": 3,
        "success_rate": pytest.approx(2 / 3),
        "failure_rate": pytest.approx(1 / 3),
        "avg_execution_time": pytest.approx((1.0 + second) / 3, rel=1e-6),
        "total_retries": 1,
    }
    metrics = fetch._poet_executor.metrics
    assert metrics is not None
    assert (metrics.total_executions, metrics.successful_executions, metrics.retry_count) == (3, 2, 1)


def test_a_failed_call_counts_all_its_attempts() -> None:
    house = House()
    script = Script(house.clock, ConnectionError("down"))
    fetch = legacy.POETExecutor(legacy.POETConfig(retries=3), agent=house.agent)(lambda: script())
    with pytest.raises(ConnectionError):
        fetch()
    assert script.calls == 4
    assert fetch._poet_executor.get_metrics()["total_retries"] == 3  # type: ignore[index]


def test_only_this_processs_calls_are_counted() -> None:
    store = MemoryStore()
    counts = []
    for calls in (3, 2):
        house = House(store=store)
        fetch = legacy.poet(name="fetch", agent=house.agent)(lambda: None)
        for _ in range(calls):
            fetch()
        counts.append(fetch.get_metrics()["total_executions"])
    assert counts == [3, 2]
    assert [record.calls for record in store.functions()] == [5]


def test_a_wall_clock_that_is_set_back_loses_no_call() -> None:
    house = House()
    fetch = legacy.poet(agent=house.agent)(lambda: None)
    fetch()
    house.clock.set_wall(house.clock.wall() - CLOCK_STEP / 2)
    fetch()
    assert fetch.get_metrics()["total_executions"] == 2


def test_an_executor_stands_for_its_first_function_and_the_next_gets_its_own() -> None:
    house = House()
    executor = legacy.POEExecutor(legacy.POEConfig(), agent=house.agent)
    assert (executor.function_name, executor.parameters, executor.online_learner) == (None, None, None)
    assert executor.get_metrics() == legacy.POEMetrics().get_stats()

    def one() -> None: ...

    def other(x: int) -> None: ...

    first, second = executor(one), executor(other)
    assert first._poet_executor is executor
    assert (executor.function_name, second._poet_executor.function_name) == ("one", "other")
    assert second._poet_executor.config is executor.config
    first()
    second(1)
    second(2)
    assert [call.get_metrics()["total_executions"] for call in (first, second)] == [1, 2]  # type: ignore[index]


def test_without_metrics_there_are_none() -> None:
    house = House()
    fetch = legacy.POETExecutor(legacy.POEProfiles.minimal_overhead(), agent=house.agent)(lambda: None)
    fetch()
    assert fetch.get_metrics() is None
    assert fetch._poet_executor.metrics is None
    assert "poe_metrics" not in fetch.get_learning_status()
    house.agent.flush()
    assert [record.calls for record in house.store.functions()] == [0]


def trained(house: House, **options: Any) -> Any:
    script = Script(house.clock, *[0.04, 0.06, 0.05, 0.09, 0.03, 0.11, 0.05] * 9)

    def fetch() -> int:
        return script()

    call = legacy.poet(enable_training=True, agent=house.agent, **options)(fetch)
    for _ in range(60):
        call()
        house.agent.flush()
    return call


def test_the_status_of_a_function_that_learns_tells_all_it_promises() -> None:
    fetch = trained(House(), learning_algorithm="statistical")
    status = fetch.get_learning_status()
    assert set(status) == KEYS
    assert (status["learning_enabled"], status["learning_algorithm"]) == (True, "statistical")
    assert (status["function_name"], status["domain"]) == ("fetch", None)
    assert status["poe_metrics"]["total_executions"] == 60
    learned = [version for version in fetch.poet.versions() if version.origin == "learned"]
    online = status["online_learning"]
    assert (online["update_count"], online["successful_updates"]) == (60, len(learned))
    assert online["last_update"].startswith("20")
    assert status["performance_summary"]["metrics"]["calls"] == 60
    assert status["performance_summary"]["insights"] == fetch.get_learning_recommendations()
    assert all(isinstance(value, bool) for value in status["convergence_status"].values())


def test_a_parameter_has_converged_where_no_neighbour_gains_the_threshold() -> None:
    fetch = trained(House(), learning_algorithm="statistical")
    picture = fetch.poet.explain()
    assert picture.live is not None
    assert picture.objective is not None
    for threshold in (1e-9, 0.01, 1.0):
        fetch._poet_executor.config.convergence_threshold = threshold
        for name, converged in fetch.get_learning_status()["convergence_status"].items():
            gains = [
                (other.utility.value - picture.live.utility.value) / picture.objective.value
                for other in picture.neighbours
                if other.values[name] != picture.live.values[name]
            ]
            assert converged == (max(gains) < threshold)
    assert set(fetch.get_learning_status()["convergence_status"]) == {"backoff", "retries", "timeout"}


def test_the_basic_rule_claims_no_convergence() -> None:
    status = trained(House(), learning_algorithm="basic").get_learning_status()
    assert set(status) == KEYS
    assert status["convergence_status"] == {}


def test_learning_is_exposed_as_what_it_is() -> None:
    house = House()
    fetch = trained(house, learning_algorithm="statistical")
    executor = fetch._poet_executor
    assert type(executor.online_learner).__name__ == "OnlineLearner"
    assert executor.performance_tracker is None
    assert executor.parameters == dict(fetch.poet.parameters)
    still = legacy.poet(agent=house.agent)(lambda: None)
    assert (still._poet_executor.online_learner, still._poet_executor.parameters) == (None, None)


def test_a_function_that_does_not_learn_says_so_and_nothing_else() -> None:
    house = House()
    fetch = legacy.poet(agent=house.agent)(lambda: None)
    fetch()
    assert fetch.get_learning_recommendations() == ["This function does not learn: set enable_training=True."]
    status = fetch.get_learning_status()
    assert set(status) == KEYS - {"online_learning", "convergence_status"}
    assert status["learning_enabled"] is False
    unused = legacy.POETExecutor(legacy.POETConfig(enable_training=True), agent=house.agent)
    assert unused.get_learning_recommendations() == ["No function is decorated with this executor yet."]


def test_recommendations_are_the_explanation_itself() -> None:
    fetch = trained(House(), learning_algorithm="statistical")
    assert fetch.get_learning_recommendations() == list(fetch.poet.explain().sentences)


def test_where_learning_is_off_nothing_is_recorded_and_nothing_claimed() -> None:
    house = House(learning="off")
    fetch = legacy.poet(enable_training=True, agent=house.agent)(lambda: 3)
    assert fetch() == 3
    assert fetch.get_metrics() is None
    assert fetch._poet_executor.online_learner is None
    status = fetch.get_learning_status()
    assert set(status) == {"learning_enabled", "learning_algorithm", "function_name", "domain"}
    assert status["learning_enabled"] is False
    (sentence,) = fetch.get_learning_recommendations()
    assert "Learning is off" in sentence
    assert house.store.functions() == []


def test_a_function_decorated_with_the_new_decorator_has_an_executor_too() -> None:
    house = House()

    def fetch() -> int:
        return 1

    call = house.poet(retries=1, timeout=2.0, enable_training=True, learning_rate=0.2)(fetch)
    call()
    executor = legacy.executor_of(call)
    assert legacy.executor_of(call) is executor is call._poet_executor
    assert (executor.config.retries, executor.config.timeout, executor.config.learning_rate) == (1, 2.0, 0.2)
    assert executor.get_metrics()["total_executions"] == 1  # type: ignore[index]
    again = executor(lambda x: x)
    again(1)
    house.agent.flush()
    assert len(house.store.functions()) == 2, "it decorates for the agent of its function"
    with pytest.raises(ConfigurationError, match="is not decorated with @poet"):
        legacy.executor_of(len)


def test_the_domain_plugin_is_what_checks_the_calls() -> None:
    def plugin(domain: str | None) -> Any:
        return legacy.POETExecutor(legacy.POETConfig(domain=domain)).domain_plugin

    assert plugin("financial_services").get_plugin_name() == "financial_services"
    assert plugin("webshop") is None
    assert plugin(None) is None
