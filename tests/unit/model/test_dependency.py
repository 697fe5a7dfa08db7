from __future__ import annotations

import math
from typing import Any

import pytest

from poet.errors import ConfigurationError
from poet.model.dependency import Breaker, Budget, Dependency
from poet.model.event import KINDS, Event


def test_a_dependency_has_a_budget_and_no_breaker_and_no_limit_unless_it_says_so() -> None:
    dependency = Dependency("payments")
    assert (dependency.budget, dependency.breaker, dependency.concurrency) == (Budget(), None, None)
    assert Dependency("payments") == dependency
    assert hash(Dependency("payments")) == hash(dependency)


@pytest.mark.parametrize("name", ["", "  ", None, 7])
def test_a_dependency_without_a_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="a dependency needs a name"):
        Dependency(name)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"budget": None}, "budget must be a poet.Budget, got None"),
        ({"budget": 0.1}, "budget must be a poet.Budget"),
        ({"breaker": True}, "breaker must be a poet.Breaker"),
        ({"concurrency": 0}, "concurrency must be a whole number >= 1, got 0"),
        ({"concurrency": True}, "concurrency must be a whole number"),
        ({"concurrency": 2.0}, "concurrency must be a whole number"),
    ],
    ids=str,
)
def test_a_dependency_refuses_what_cannot_be(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Dependency("payments", **wrong)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"share": -0.1}, r"share must be in \[0, 1\]"),
        ({"share": 1.1}, r"share must be in \[0, 1\]"),
        ({"share": math.nan}, r"share must be in \[0, 1\]"),
        ({"share": True}, r"share must be in \[0, 1\]"),
        ({"floor": -1}, "floor must be a whole number >= 0"),
        ({"floor": 1.5}, "floor must be a whole number >= 0"),
        ({"window": 0}, "window must be a finite number of seconds > 0"),
        ({"window": math.inf}, "window must be a finite number of seconds > 0"),
    ],
    ids=str,
)
def test_a_budget_refuses_what_cannot_be(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Budget(**wrong)


def test_a_budget_may_forbid_every_extra_request() -> None:
    assert Budget(share=0, floor=0).share == 0


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"failure_rate": 0}, r"failure_rate must be in \(0, 1\]"),
        ({"failure_rate": math.nan}, r"failure_rate must be in \(0, 1\]"),
        ({"slow_rate": 1.5}, r"slow_rate must be in \(0, 1\]"),
        ({"slow_after": 0}, "slow_after must be a finite number of seconds > 0"),
        ({"window": 0}, "window must be a whole number >= 1"),
        ({"min_calls": 0}, "min_calls must be a whole number >= 1"),
        ({"max_age": -1.0}, "max_age must be a finite number of seconds > 0"),
        ({"open_for": math.inf}, "open_for must be a finite number of seconds > 0"),
        ({"window": 5, "min_calls": 6}, "min_calls must be at most window, else it never opens: 6 > 5"),
    ],
    ids=str,
)
def test_a_breaker_refuses_what_cannot_be(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        Breaker(**wrong)


def test_a_breaker_may_open_at_the_first_failure() -> None:
    assert Breaker(failure_rate=1, window=1, min_calls=1).min_calls == 1


def test_every_kind_of_event_is_named_once() -> None:
    assert len(KINDS) == len(set(KINDS))
    assert {"retry", "hedge", "hedge_won", "shed", "breaker"} <= set(KINDS)
    assert Event("retry", "shop.fetch").seconds == 0.0
