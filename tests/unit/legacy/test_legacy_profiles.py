from __future__ import annotations

import inspect
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houses import House
from poet import domains, legacy
from poet.errors import ConfigurationError


def test_a_configuration_holds_the_decorators_arguments_and_their_defaults() -> None:
    config = legacy.POETConfig()
    assert config.arguments() == {
        "retries": 3,
        "timeout": 30.0,
        "domain": None,
        "enable_training": False,
        "collect_metrics": True,
        "learning_algorithm": "basic",
        "learning_rate": 0.05,
        "convergence_threshold": 0.01,
        "enable_cross_function_learning": False,
        "performance_tracking": True,
    }
    assert (config.feedback_mode, config.enable_simulation_feedback) == ("real_world", False)
    assert config.simulation_confidence_threshold == 0.6
    assert list(inspect.signature(legacy.POETConfig).parameters) == list(config.arguments())


def test_the_enhanced_configuration_differs_in_how_it_learns() -> None:
    enhanced = legacy.EnhancedPOEConfig(2, 5.0)
    assert isinstance(enhanced, legacy.POEConfig)
    assert enhanced.arguments() == {
        **legacy.POETConfig(2, 5.0).arguments(),
        "learning_algorithm": "statistical",
    }


def test_the_old_names_are_the_same_things() -> None:
    assert legacy.POEConfig is legacy.POETConfig is legacy.SimplePOETConfig
    assert legacy.POEExecutor is legacy.POETExecutor is legacy.SimplePOETExecutor
    assert legacy.POEProfiles is legacy.POETProfiles
    assert legacy.POEExecutionMetrics is legacy.POETExecutionMetrics
    assert legacy.POEMetricsCollector is legacy.POETMetricsCollector


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"retries": -1}, "retries must be a whole number >= 0, got -1"),
        ({"timeout": 0}, "timeout must be"),
        ({"learning_algorithm": "statistics"}, "did you mean 'statistical'"),
        ({"enable_training": "yes"}, "enable_training must be True or False"),
        ({"learning_rate": float("nan")}, "learning_rate must be in"),
        ({"domain": ""}, "domain must be a text"),
    ],
    ids=str,
)
def test_a_configuration_is_checked_at_the_door(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        legacy.POETConfig(**arguments)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("retries", 2.5, "retries must be a whole number"),
        ("feedback_mode", "simulation", "feedback comes from real calls only, got feedback_mode='simulation'"),
        ("enable_simulation_feedback", True, "feedback comes from real calls only"),
    ],
)
def test_what_is_set_later_is_checked_when_it_is_used(name: str, value: Any, sentence: str) -> None:
    config = legacy.POETConfig()
    setattr(config, name, value)
    with pytest.raises(ConfigurationError, match=sentence):
        legacy.poet_with_config(config)
    with pytest.raises(ConfigurationError, match=sentence):
        legacy.POETExecutor(config)


def test_changing_a_configuration_later_changes_no_function() -> None:
    house = House()
    config = legacy.POETConfig(retries=1)
    fetch = legacy.poet_with_config(config, agent=house.agent)(lambda: None)
    config.retries = 5
    assert fetch.poet.parameters["retries"] == 1


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (legacy.POEProfiles.development, (2, 10.0, None, False, True)),
        (legacy.POEProfiles.production, (3, 30.0, None, False, True)),
        (legacy.POEProfiles.high_reliability, (5, 60.0, None, False, True)),
        (legacy.POEProfiles.fast_execution, (1, 5.0, None, False, True)),
        (legacy.POEProfiles.learning_enabled, (3, 30.0, None, True, True)),
        (legacy.POEProfiles.minimal_overhead, (0, 2.0, None, False, False)),
        (legacy.DomainProfiles.llm_optimization, (3, 45.0, "llm_optimization", True, True)),
        (legacy.DomainProfiles.building_management, (4, 20.0, "building_management", True, True)),
        (legacy.DomainProfiles.financial_services, (5, 15.0, "financial_services", True, True)),
        (legacy.DomainProfiles.semiconductor, (4, 60.0, "semiconductor", True, True)),
    ],
    ids=lambda profile: getattr(profile, "__name__", ""),
)
def test_every_profile_is_what_it_was_and_decorates(profile: Any, expected: tuple[Any, ...]) -> None:
    config = profile()
    assert tuple(config.arguments().values())[:5] == expected
    assert profile() is not config, "one may be changed without the others"
    fetch = legacy.poet_with_config(config, agent=House().agent)(lambda: "done")
    assert fetch() == "done"
    assert (fetch.poet.parameters["retries"], fetch.poet.parameters["timeout"]) == expected[:2]


def test_the_domains_of_profiles_are_known_domains() -> None:
    for name in ("llm_optimization", "building_management", "financial_services", "semiconductor"):
        assert domains.find(getattr(legacy.DomainProfiles, name)().domain).name == name


def test_short_names_are_the_profiles() -> None:
    assert legacy.dev is legacy.POEProfiles.development
    assert legacy.prod is legacy.POEProfiles.production
    assert legacy.reliable is legacy.POEProfiles.high_reliability
    assert legacy.fast is legacy.POEProfiles.fast_execution
    assert legacy.learning is legacy.POEProfiles.learning_enabled
    assert legacy.minimal is legacy.POEProfiles.minimal_overhead
    assert legacy.llm is legacy.DomainProfiles.llm_optimization
    assert legacy.building is legacy.DomainProfiles.building_management
    assert legacy.finance is legacy.DomainProfiles.financial_services
    assert legacy.semiconductor is legacy.DomainProfiles.semiconductor


def test_the_learning_profile_and_the_learning_package_do_not_hide_each_other() -> None:
    import poet.learning.online_learner

    assert inspect.ismodule(poet.learning)
    assert legacy.learning().enable_training is True


def test_a_custom_profile_keeps_its_name_and_every_field() -> None:
    config = legacy.create_custom_profile("partner api", 1, 5.0, learning_rate=0.2, performance_tracking=False)
    assert config._profile_name == "partner api"
    assert (config.retries, config.timeout, config.learning_rate) == (1, 5.0, 0.2)
    assert config.performance_tracking is False
    assert legacy.poet_with_config(config, agent=House().agent)(lambda: 1)() == 1


def test_a_custom_profile_refuses_what_it_would_not_use() -> None:
    with pytest.raises(ConfigurationError, match="no field 'learning_rates': did you mean 'learning_rate'"):
        legacy.create_custom_profile("p", learning_rates=0.2)
    with pytest.raises(ConfigurationError, match="learning_rate must be in"):
        legacy.create_custom_profile("p", learning_rate=7)
    with pytest.raises(ConfigurationError, match="profile_name must be a text"):
        legacy.create_custom_profile("")


@pytest.mark.parametrize(
    ("use_case", "profile", "suggested"),
    [
        ("Testing an LLM prompt", "development", ["llm_optimization"]),
        ("production deploys of HVAC sensors", "production", ["building_management"]),
        ("a quick look-up", "fast_execution", []),
        ("critical bank transfers with retries", "high_reliability", ["financial_services"]),
        ("improve chip yield", "learning_enabled", ["semiconductor"]),
        ("to maintain e-mails of colleagues", "production", []),
        ("", "production", []),
    ],
)
def test_a_profile_is_recommended_for_the_words_that_are_there(
    use_case: str, profile: str, suggested: list[str]
) -> None:
    told = legacy.get_profile_recommendations(use_case)
    assert (told["recommended"], told["domain_suggestions"]) == (profile, suggested)
    assert told["explanation"]


@given(st.text())
def test_every_recommendation_names_profiles_that_there_are(use_case: str) -> None:
    told = legacy.get_profile_recommendations(use_case)
    assert set(told) == {"recommended", "alternatives", "explanation", "domain_suggestions"}
    for name in (told["recommended"], *told["alternatives"]):
        assert isinstance(getattr(legacy.POEProfiles, name)(), legacy.POETConfig)
    assert told["recommended"] not in told["alternatives"]


def test_a_use_case_must_be_a_text() -> None:
    with pytest.raises(ConfigurationError, match="use_case must be a text, got 3"):
        legacy.get_profile_recommendations(3)  # type: ignore[arg-type]
