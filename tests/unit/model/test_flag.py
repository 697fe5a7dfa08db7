from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.model import flag as flags
from poet.model.flag import FLAGS, FlagChange, Rule, Whom

NAMES = st.sampled_from(sorted(FLAGS))
WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
ANYONE = Whom("shop.prices.fetch", "web-1", "acme")


def test_the_list_of_flags_is_closed_and_every_default_is_one_of_its_phases() -> None:
    assert list(FLAGS) == [
        "learn.online",
        "learn.batch",
        "share.read",
        "share.write",
        "rollout.auto",
        "dashboard.write",
    ]
    for flag in FLAGS.values():
        assert flag.default in flag.phases
        assert flags.SAFE in flag.phases
        assert flag.phases[-1] == flags.ON


@pytest.mark.parametrize(
    ("name", "value", "selected", "said"),
    [
        ("learn.onlin", "off", {}, "no flag 'learn.onlin': did you mean 'learn.online'?"),
        ("learn.online", "of", {}, "learn.online has no value 'of': did you mean 'off'?"),
        ("rollout.auto", "observe", {}, "rollout.auto has no value 'observe'"),
        ("learn.batch", "defaults", {}, "learn.batch has no value 'defaults'"),
        ("learn.online", None, {}, "learn.online has no value None"),
        ("learn.online", "off", {"percent": 0}, r"percent of a rule must be in \(0, 100\], got 0"),
        ("learn.online", "off", {"percent": 100.5}, "got 100.5"),
        ("learn.online", "off", {"percent": math.nan}, "got nan"),
        ("learn.online", "off", {"percent": True}, "got True"),
        ("learn.online", "off", {"percent": "5"}, "got '5'"),
        ("learn.online", "off", {"function": ""}, "function of a rule must be a name or a pattern"),
        ("learn.online", "off", {"host": "x" * 101}, "host of a rule"),
        ("learn.online", "off", {"tenant": 3}, "tenant of a rule"),
        ("learn.online", "off", {"hosts": "a"}, "no 'hosts': did you mean 'host'?"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(
    name: str, value: object, selected: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        flags.rule(name, value, **selected)


@pytest.mark.parametrize(
    ("glob", "fits"),
    [
        ("shop.prices.fetch", True),
        ("shop.*", True),
        ("fetch", True),
        ("prices.fetch", True),
        ("prices.*", True),
        ("shop.prices", False),
        ("etch", False),
        ("Fetch", False),
        ("*", True),
    ],
)
def test_a_function_is_meant_by_its_name_a_pattern_or_its_end_after_a_dot(glob: str, fits: bool) -> None:
    assert Rule("off", function=glob).matches("learn.online", ANYONE) is fits


def test_the_first_rule_that_matches_wins() -> None:
    rules = (
        Rule("observe", host="db-*"),
        Rule("off", function="fetch", tenant="acme"),
        Rule("on", host="web-?"),
        Rule("defaults"),
    )
    decided = [
        flags.decided("learn.online", rules, whom)
        for whom in (ANYONE, ANYONE._replace(host="db-7"), ANYONE._replace(tenant="zoo"), Whom("f", "x", ""))
    ]
    assert [each.value for each in decided if each] == ["off", "observe", "on", "defaults"]
    assert flags.decided("learn.online", rules[:1], ANYONE) is None


# --- shares ----------------------------------------------------------------------------------------------------------


@given(NAMES, WORDS, WORDS, st.floats(0.001, 100), st.floats(0.001, 100))
def test_a_greater_share_holds_all_of_a_smaller_one_and_is_the_same_each_time(
    name: str, function: str, host: str, one: float, other: float
) -> None:
    whom = Whom(function, host)
    smaller, greater = (Rule("off", percent=x).matches(name, whom) for x in sorted((one, other)))
    assert smaller <= greater
    assert Rule("off", percent=one).matches(name, whom) is Rule("off", percent=one).matches(name, whom)
    assert Rule("off", percent=100.0).matches(name, whom)
    assert 0 <= flags.bucket(name, function, host) < 100


def test_buckets_never_change() -> None:
    """A release that moved them would hand every share to other functions."""
    assert round(flags.bucket("learn.online", "shop.fetch", "web-1"), 6) == 8.152178
    assert round(flags.bucket("share.read", "shop.fetch", "web-1"), 6) == 99.639904


@pytest.mark.parametrize("percent", [1.0, 10.0, 50.0, 90.0])
@pytest.mark.parametrize("name", sorted(FLAGS))
def test_a_share_is_met_within_binomial_bounds(name: str, percent: float) -> None:
    """10 000 pairs, each in by a coin of the share: |k - n p| <= 4.5 sd but for 7e-6; 24 cases, fixed names: 2e-4."""
    n, p = 10_000, percent / 100
    rule = Rule("off", percent=percent)
    hit = sum(rule.matches(name, Whom(f"shop.f{i % 100}", f"web-{i // 100}")) for i in range(n))
    assert abs(hit - n * p) <= 4.5 * math.sqrt(n * p * (1 - p))


def test_flags_choose_their_shares_apart() -> None:
    """Independent at 50 %: agreement of 10 000 pairs is binomial(1/2), within 4.5 sd but for 7e-6 each."""
    whom = [Whom(f"shop.f{i % 100}", f"web-{i // 100}") for i in range(10_000)]
    names = sorted(FLAGS)
    for one, other in pairwise(names):
        rule = Rule("off", percent=50.0)
        same = sum(rule.matches(one, each) is rule.matches(other, each) for each in whom)
        assert abs(same - 5000) <= 4.5 * 50


def test_canary_is_on_for_a_tenth_of_functions_the_same_on_all_hosts_and_the_phase_below_for_others() -> None:
    """2000 functions: |k - 200| <= 4.5 sd = 60 but for 7e-6."""
    values = {}
    for i in range(2000):
        found = {
            flags.decided("share.read", (Rule("canary"),), Whom(f"shop.f{i}", host)) or Rule("")
            for host in ("web-1", "web-2", "")
        }
        assert len(found) == 1
        values[i] = found.pop().value
    assert set(values.values()) == {"on", "observe"}
    assert abs(list(values.values()).count("on") - 200) <= 60
    assert flags.settled("rollout.auto", "canary", "shop.f1") in ("off", "on")
    assert flags.settled("learn.online", "canary", "") == "canary"


# --- texts -----------------------------------------------------------------------------------------------------------


def test_words_of_the_environment_are_read_and_what_is_wrong_of_them_turns_off_what_is_not_said() -> None:
    said = flags.from_words(" learn.online = observe ,rollout.auto=OFF,, ")
    assert (said.of("learn.online"), said.of("rollout.auto")) == ((Rule("observe"),), (Rule("off"),))
    assert (said.of("share.read"), said.faults) == ((), ())
    for wrong, hint in (
        ("learn.online=observe,rolout.auto=off", "did you mean 'rollout.auto'?"),
        ("learn.online=observe,rollout.auto=down", "rollout.auto has no value 'down'"),
        ("learn.online=observe,rollout.auto", "needs a value, as in rollout.auto=off"),
        ("learn.online=observe,=", "no flag ''"),
    ):
        said = flags.from_words(wrong)
        assert hint in said.faults[0], wrong
        assert said.of("learn.online") == (Rule("observe"),)  # it was understood
        assert said.of("rollout.auto") == (Rule("off"),)
        assert said.of("share.read") == (Rule("off"),)


def test_a_file_holds_values_or_rules() -> None:
    said = flags.from_json(
        '{"learn.online": [{"value": "on", "function": "shop.*", "percent": 5}], "learn.batch": "off"}'
    )
    assert said.of("learn.online") == (Rule("on", function="shop.*", percent=5.0),)
    assert said.of("learn.batch") == (Rule("off"),)
    assert said.of("share.read") == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "off",
        "[]",
        "null",
        '{"learn.online": ',
        "[" * 100_000,
        '{"learn.onlin": "off"}',
        '{"learn.online": "down"}',
        '{"learn.online": 0}',
        '{"learn.online": [1]}',
        '{"learn.online": [{"function": "f"}]}',
        '{"learn.online": [{"value": "on", "percent": NaN}]}',
        '{"learn.online": [{"value": "on", "percent": 1e999}]}',
        '{"learn.online": {"value": "on"}}',
        '{"learn.online": [' + ", ".join(['{"value": "on"}'] * 21) + "]}",
    ],
)
def test_a_damaged_file_turns_everything_off(text: str) -> None:
    said = flags.from_json(text)
    assert said.faults
    assert all(said.of(name)[0].value == "off" for name in FLAGS)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | NAMES | st.just("value"), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(NAMES | WORDS, JSON, max_size=4) | JSON)
def test_any_json_is_read_without_an_error_and_every_flag_then_has_a_value_of_its_own(told: Any) -> None:
    said = flags.from_json(json.dumps(told))
    for name, flag in FLAGS.items():
        for rule in said.of(name):
            assert rule.value in flag.phases
        assert not said.faults or name in said.rules or said.of(name) == (Rule("off"),)


RULES = st.builds(
    Rule,
    st.sampled_from(("off", "on")),
    function=WORDS.filter(bool),
    host=st.just("*") | WORDS.filter(bool),
    tenant=st.just("*"),
    percent=st.floats(0.01, 100),
)


@given(
    st.lists(
        st.builds(
            FlagChange,
            st.integers(1, 99),
            st.floats(0, 2e9),
            WORDS,
            WORDS,
            st.lists(RULES.filter(lambda rule: "\0" not in rule.function + rule.host), max_size=4).map(tuple),
        ),
        max_size=4,
    )
)
def test_changes_come_back_as_they_went_in(changes: list[FlagChange]) -> None:
    assert flags.changes_of("learn.online", flags.body_of(changes)) == changes


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"changes": 3}', '{"changes": [{}]}', '{"changes": [null]}'])
def test_a_damaged_row_is_said(body: str) -> None:
    with pytest.raises(ConfigurationError, match=r"learn\.online cannot be read"):
        flags.changes_of("learn.online", body)


def test_a_new_rule_goes_first_in_place_of_the_one_that_selects_the_same() -> None:
    rules: tuple[Rule, ...] = ()
    rules = flags.with_rule(rules, Rule("observe"))
    rules = flags.with_rule(rules, Rule("on", percent=10.0))
    rules = flags.with_rule(rules, Rule("on", percent=50.0))  # the share grows
    rules = flags.with_rule(rules, Rule("off", function="fetch"))
    assert rules == (Rule("off", function="fetch"), Rule("on", percent=50.0), Rule("observe"))
    killed = flags.with_rule(rules, Rule("off"))
    assert flags.decided("learn.online", killed, ANYONE) == Rule("off")
    assert flags.without_rule(rules, Rule("", function="fetch")) == rules[1:]
    assert flags.without_rule(killed, Rule("")) == (Rule("off", function="fetch"),)
