"""Groups that try things out together. Seeds are fixed; nothing here is left to chance."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import partial

import pytest

from poet.errors import ConfigurationError, UnknownFunction
from poet.learners import learner_for, member_of
from poet.learning.tuners.chosen import ChosenTuner
from poet.model.function import FunctionKey
from poet.model.trial import Trial
from poet.model.tunable import Choice, Integer, Real, Space, Value
from poet.seams import FunctionRecord
from poet.sharing.collaboration import Member, optimized
from poet.sharing.intelligence_registry import CrossFunctionLearning, IntelligenceRegistry
from poet.stores.memory import MemoryStore

SPACE = Space(model=Choice("a", "b", "c"), heat=Real(0.0, 1.0, step=0.05))
START: Mapping[str, Value] = {"model": "a", "heat": 0.9}


def truth(values: Mapping[str, Value]) -> float:
    return 0.4 * (values["model"] == "b") - (float(values["heat"]) - 0.2) ** 2


def member(trials: int, seed: int, sign: float = 1.0, space: Space = SPACE, noise: float = 0.05) -> Member:
    start = {name: START.get(name, 1) for name in space}
    tuner, dice = ChosenTuner(space, start, seed=seed), random.Random(seed)
    for _ in range(trials):
        values = tuner.suggest()
        tuner.update([Trial(values, sign * truth({**START, **values}) + noise * dice.gauss(0, 1))])
    return Member(tuner, space, start)


def test_a_member_that_knows_little_gets_what_those_know_that_agree_with_it() -> None:
    told = optimized({"old": member(60, 1), "older": member(60, 2), "new": member(7, 3)})
    assert set(told) == {"old", "older", "new"}
    new = told["new"]
    assert truth(new["parameters"]) > 0.35  # of 0.4
    assert new["trials"] == 7
    assert any("7 own trials" in reason for reason in new["reasons"])
    assert any("old agrees" in reason for reason in new["reasons"])


def test_each_set_of_values_is_tried_once_for_all() -> None:
    group = {f"f{seed}": member(10 + seed, seed) for seed in range(4)}
    told = optimized(group, tries=3)
    plans = [tuple(sorted(values.items())) for each in told.values() for values in each["try"]]
    assert plans
    assert len(plans) == len(set(plans))
    assert all(len(each["try"]) <= 3 for each in told.values())
    done = {tuple(sorted(values.items())) for each in group.values() for values in each.tuner.tried()}  # type: ignore[attr-defined]
    assert not done & set(plans)


def test_nothing_is_taken_from_a_member_that_disagrees() -> None:
    told = optimized({"one": member(40, 1), "other": member(40, 2, sign=-1.0)}, tries=0)
    assert truth(told["one"]["parameters"]) > 0.35
    assert truth(told["other"]["parameters"]) < -0.3
    assert any("other does not agree" in reason for reason in told["one"]["reasons"])
    assert all(each["try"] == [] for each in told.values())


def test_each_member_keeps_its_own_bounds_and_its_own_tunables() -> None:
    narrow = Space(heat=Real(0.5, 2.0), beams=Integer(1, 8))
    told = optimized({"wide": member(30, 1), "narrow": member(30, 2, space=narrow)})
    SPACE.check(told["wide"]["parameters"])
    for values in (told["narrow"]["parameters"], *told["narrow"]["try"]):
        narrow.check(values)
    assert told["wide"]["common"] == ["heat"]


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (Space(beams=Integer(1, 8)), "has none"),
        (Space(model=Real(0, 1), heat=Real(1000, 2000)), "another kind"),
        (Space(model=Choice("x", "y"), heat=Real(1000, 2000)), "nothing that it may be"),
    ],
)
def test_a_group_without_a_tunable_in_common_is_refused(space: Space, why: str) -> None:
    start = {name: each.options[0] if isinstance(each, Choice) else each.low for name, each in space.items()}
    odd = Member(ChosenTuner(space, start), space, start)
    with pytest.raises(ConfigurationError, match=why):
        optimized({"one": member(5, 1), "odd": odd})


def test_a_group_is_two_or_more_and_tries_are_counted() -> None:
    one = member(5, 1)
    with pytest.raises(ConfigurationError, match="got 1"):
        optimized({"one": one})
    with pytest.raises(ConfigurationError, match="-1"):
        optimized({"one": one, "two": one}, tries=-1)
    with pytest.raises(ConfigurationError, match="True"):
        optimized({"one": one, "two": one}, tries=True)


def test_a_group_of_a_store_is_planned_for_by_name() -> None:
    store, keys = MemoryStore(), [FunctionKey("shop", name, "00000001") for name in ("rank", "sort", "plain")]
    for key in keys:
        own = not key.name.endswith("plain")
        declared: dict[str, Value] = {"timeout": 2.0, "retries": 1} | ({"heat": 0.5} if own else {})
        space = {"heat": (0.0, 1.0)} if own else {}
        record = FunctionRecord(key, None, "adaptive", declared, {}, 0, 0, 0.0, 0.0, space=space)
        store.register(record)
        if own:
            store.save_learner(key, learner_for(record, None).dump())
    registry = IntelligenceRegistry(store)
    learning = CrossFunctionLearning(registry, opened=partial(member_of, store))
    told = learning.collaborative_optimization(["rank", keys[1]])
    assert set(told) == {str(keys[0]), str(keys[1])}
    assert all(each["parameters"] == {"heat": 0.5} for each in told.values())
    with pytest.raises(ConfigurationError, match="plain"):
        learning.collaborative_optimization(["rank", "plain"])
    with pytest.raises(UnknownFunction):
        learning.collaborative_optimization(["rank", "nobody"])
    with pytest.raises(ConfigurationError, match="opened="):
        CrossFunctionLearning(registry).collaborative_optimization(["rank", "sort"])
