"""The original's ready-made configurations."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from poet.errors import ConfigurationError, nearest
from poet.legacy.config import ARGUMENTS, POETConfig


class POEProfiles:
    """Configurations by the use they are for; each call makes a new one."""

    @staticmethod
    def development() -> POETConfig:
        """Few retries and a short timeout: trouble shows soon."""
        return POETConfig(retries=2, timeout=10.0)

    @staticmethod
    def production() -> POETConfig:
        """The defaults, written down."""
        return POETConfig(retries=3, timeout=30.0)

    @staticmethod
    def high_reliability() -> POETConfig:
        """More retries, and twice the time for each attempt."""
        return POETConfig(retries=5, timeout=60.0)

    @staticmethod
    def fast_execution() -> POETConfig:
        """One retry and five seconds for each attempt."""
        return POETConfig(retries=1, timeout=5.0)

    @staticmethod
    def learning_enabled() -> POETConfig:
        """The defaults to begin with; timeout and retries are learned."""
        return POETConfig(retries=3, timeout=30.0, enable_training=True)

    @staticmethod
    def minimal_overhead() -> POETConfig:
        """One attempt of two seconds, of which nothing is recorded and nothing learned.

        What is left of POET in such a call: the body is told its deadline, and an async body is cancelled at it.
        """
        return POETConfig(retries=0, timeout=2.0, collect_metrics=False)


POETProfiles = POEProfiles


class DomainProfiles:
    """Configurations of the four domains; each learns, and each call makes a new one."""

    @staticmethod
    def llm_optimization() -> POETConfig:
        """For calls of language models: they take long."""
        return POETConfig(retries=3, timeout=45.0, domain="llm_optimization", enable_training=True)

    @staticmethod
    def building_management() -> POETConfig:
        """For calls of a building's controllers."""
        return POETConfig(retries=4, timeout=20.0, domain="building_management", enable_training=True)

    @staticmethod
    def financial_services() -> POETConfig:
        """For credit decisions and the data behind them."""
        return POETConfig(retries=5, timeout=15.0, domain="financial_services", enable_training=True)

    @staticmethod
    def semiconductor() -> POETConfig:
        """For process tools and the analysis of what they did."""
        return POETConfig(retries=4, timeout=60.0, domain="semiconductor", enable_training=True)


dev = POEProfiles.development
prod = POEProfiles.production
reliable = POEProfiles.high_reliability
fast = POEProfiles.fast_execution
learning = POEProfiles.learning_enabled
minimal = POEProfiles.minimal_overhead
llm = DomainProfiles.llm_optimization
building = DomainProfiles.building_management
finance = DomainProfiles.financial_services
semiconductor = DomainProfiles.semiconductor


def create_custom_profile(
    profile_name: str,
    retries: int = 3,
    timeout: float = 30.0,
    domain: str | None = None,
    enable_training: bool = False,
    collect_metrics: bool = True,
    **more: Any,
) -> POETConfig:
    """A configuration that remembers its name, as ``_profile_name``.

    more: further fields of ``POETConfig``; the original took any and used none.
    Raises ConfigurationError where a field is unknown or its value cannot be.

    >>> create_custom_profile("partner api", timeout=5.0, learning_algorithm="statistical").learning_algorithm
    'statistical'
    """
    if not isinstance(profile_name, str) or not profile_name.strip():
        raise ConfigurationError(f"profile_name must be a text that is not empty, got {profile_name!r}")
    for name in more:
        if name not in ARGUMENTS:
            known = [each.name for each in fields(POETConfig) if each.init]
            raise ConfigurationError(f"a profile has no field {name!r}: {nearest(name, known)}")
    config = POETConfig(retries, timeout, domain, enable_training, collect_metrics, **more)
    config._profile_name = profile_name
    return config


def get_profile_recommendations(use_case: str) -> dict[str, Any]:
    """The first profile that ``use_case`` mentions a key word of, or ``"production"``.

    Keys: ``recommended`` and ``alternatives``, names of ``POEProfiles``; ``explanation``, which tells the word that was
    found; ``domain_suggestions``, names of domains. A word counts where another begins with it: "testing" is a mention
    of "test". The original looked inside words too, so that "maintain" was a mention of "ai".
    Raises ConfigurationError.

    >>> get_profile_recommendations("fast price look-ups for a bank")["domain_suggestions"]
    ['financial_services']
    """
    if not isinstance(use_case, str):
        raise ConfigurationError(f"use_case must be a text, got {use_case!r}")
    recommended, alternatives = "production", list(_ALTERNATIVES["production"])
    explanation = "No key word was found: production holds the defaults."
    for profile, words in _WORDS.items():
        found = _mentioned(use_case, words)
        if found is not None:
            recommended, alternatives = profile, list(_ALTERNATIVES[profile])
            summary = (getattr(POEProfiles, profile).__doc__ or "").partition("\n")[0]
            explanation = f"It mentions {found!r}. {profile}: {summary}"
            break
    domains = [domain for domain, words in _DOMAIN_WORDS.items() if _mentioned(use_case, words) is not None]
    return {
        "recommended": recommended,
        "alternatives": alternatives,
        "explanation": explanation,
        "domain_suggestions": domains,
    }


def _mentioned(text: str, words: tuple[str, ...]) -> str | None:
    match = re.search(rf"\b(?:{'|'.join(words)})\w*", text, re.IGNORECASE)
    return None if match is None else match[0]


_WORDS = {
    "development": ("dev", "test", "debug", "experiment"),
    "production": ("prod", "deploy", "live"),
    "fast_execution": ("fast", "speed", "quick", "performance"),
    "high_reliability": ("reliab", "critical", "fault", "retr(?:y|ies)"),
    "learning_enabled": ("learn", "adapt", "optimi[sz]", "improv"),
}
_ALTERNATIVES = {
    "development": ("minimal_overhead", "fast_execution"),
    "production": ("high_reliability",),
    "fast_execution": ("minimal_overhead", "production"),
    "high_reliability": ("production", "learning_enabled"),
    "learning_enabled": ("production",),
}
_DOMAIN_WORDS = {
    "llm_optimization": ("llm", "ai\\b", "model", "prompt"),
    "building_management": ("building", "hvac", "iot", "sensor"),
    "financial_services": ("financ", "bank", "trading", "money"),
    "semiconductor": ("chip", "semiconductor", "hardware", "fab"),
}
