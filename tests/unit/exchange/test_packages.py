"""Packages are written once, read strictly, and refused by the field."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest

from poet.exchange import document
from poet.exchange.document import BadPackage, checksum
from poet.exchange.package import MOST_STATE, Packaged, read, write
from poet.learners import learner_for
from poet.model.estimate import Estimate
from poet.model.parameters import ParameterSet
from unit.cli import shop
from unit.exchange import parcels


def changed(change: Callable[[Any], object], text: str | None = None) -> bytes:
    """A package with ``change`` made to it, and the checksum that it should then have."""
    tree = json.loads(parcels.whole() if text is None else text)
    change(tree)
    tree["checksum"] = checksum(tree)
    return json.dumps(tree).encode()


def refusal(data: bytes) -> str:
    with pytest.raises(BadPackage) as caught:
        read(data, "team.json")
    return str(caught.value)


def test_what_is_written_is_read_back() -> None:
    functions = (  # a version's parent is of no meaning elsewhere
        parcels.packaged(parcels.ASK, parcels.learned(300).changed(parent=None), parcels.knowledge()),
        Packaged(parcels.record(parcels.REPORT, domain="reports"), ParameterSet(values_=parcels.DECLARED), None),
    )
    package = read(write(functions, written_by="poet 1", created=shop.NOW).encode(), "team.json")
    assert package == ("poet 1", shop.NOW, functions)


def tuned() -> Packaged:
    """A function with tunables of its own, and values for some contexts only."""
    declared = {**parcels.DECLARED, "model": "small", "k": 8, "cached": False, "beams": 2}
    record = parcels.record(parcels.ASK)._replace(
        declared=declared,
        space={**parcels.record(parcels.ASK).space, "k": [1.0, 64.0]},
        choices={"model": ["small", "groß, größer=am@größten"], "cached": [False, True], "beams": [1, 2, 4]},
        goals={"quality": {"low": 0.0, "high": 1.0, "at_least": 0.8}, "cost": {"high": 0.05, "weight": -20.0}},
    )
    values = {
        "model@region=eu,tier=a=b": "groß, größer=am@größten",
        "timeout@region=eu": 0.5,
        "k@region=eu": 64,
        "cached": True,
    }
    return Packaged(record, ParameterSet(values_={**declared, **values}, evidence=9, origin="learned"), None)


def test_options_goals_and_values_for_some_contexts_are_read_back() -> None:
    text = write([tuned()], written_by="poet 1", created=shop.NOW)
    assert read(text.encode(), "team.json").functions == (tuned(),)

    def older(tree: Any) -> None:
        tree.update(format_version="1.1")
        del tree["functions"][0]["choices"], tree["functions"][0]["goals"]

    (function,) = read(changed(older), "team.json").functions[:1]
    assert (function.record.choices, function.record.goals) == ({}, {})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("choices.model", [], "must be a list of 1 to 1000 parts, got a list of 0"),
        ("choices.model.0", None, "must be a truth, a number or a text, got None"),
        ("choices.k", [1, 2], "a choice has no bounds, this one has [1.0, 64.0]"),
        ("goals.cost.weight", "much", "must be a number in [-1e+300, 1e+300], got 'much'"),
        ("goals.cost.wait", 1.0, "no such field; did you mean 'weight'?"),
        ("goals.quality", {"low": 1.0}, "low, 1, must be below high, 1"),
    ],
)
def test_wrong_options_and_goals_are_named_by_their_path(path: str, value: Any, said: str) -> None:
    *way, name = [int(part) if part.isdecimal() else part for part in path.split(".")]

    def change(tree: Any) -> None:
        tree = tree["functions"][0]
        for part in way:
            tree = tree[part]
        tree[name] = value

    shown = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in (*way, name))
    data = changed(change, write([tuned()], written_by="poet 1", created=shop.NOW))
    assert refusal(data).startswith(f"team.json: functions[0]{shown}: {said}")


def test_a_declared_value_that_is_none_of_its_options_is_no_declaration() -> None:
    def change(tree: Any) -> None:
        tree["functions"][0]["declared"]["beams"] = 3

    said = refusal(changed(change, write([tuned()], written_by="poet 1", created=shop.NOW)))
    assert said == "team.json: functions[0].declared: beams is left out: it must be one of 1, 2, 4, got 3"


def test_a_package_is_ascii_and_signed_alike_however_it_is_laid_out() -> None:
    text = parcels.whole()
    assert text.isascii()
    assert read(json.dumps(json.loads(text)).encode(), "a") == read(text.encode(), "a")


def test_what_no_reader_could_take_is_not_written() -> None:
    odd = parcels.learned()
    live = ParameterSet(
        values_=dict(odd),
        reason="half \ud800 and nothing \0",
        estimates={"timeout": Estimate(1.0, 0.5, float("inf"), 3)},
    )
    package = read(parcels.parcel(parcels.packaged(live=live, state=bytes(MOST_STATE + 1))).encode(), "a")
    assert package.functions[0].live.reason == "half ? and nothing "
    assert not package.functions[0].live.estimates
    assert package.functions[0].state is None


def test_a_learners_state_survives_the_journey() -> None:
    state = read(parcels.whole().encode(), "a").functions[0].state
    learner = learner_for(parcels.record(parcels.ASK), state)
    assert learner.explain(parcels.DECLARED).executions == 200


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no JSON, or torn: expecting value at line 1, column 1"),
        (b'{"a": 1', "no JSON, or torn"),
        (b"\xff", "no UTF-8 text at byte 0"),
        (b"[1]", "must be a mapping, got a list of 1"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "1e999 is larger than any float"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of too many digits"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' stands twice in one mapping"),
        (b"[" * 100_000, "nested deeper than 32 levels"),
        (b"[" * 100 + b"]" * 100, "must be a mapping"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, "nested deeper than 32 levels"),
        (b"[" + b"," * document.MOST_PARTS, "more than 1000000 parts"),
        (b"{}", "format_version: is missing: this is no package of POET"),
        (b'{"format_version": "1.0"}', "checksum: is missing: the package was cut or edited; export it anew"),
        (b'{"format_version": "2.0"}', "format_version: 2.0 is newer than this POET, which reads 1: upgrade it"),
        (b'{"format_version": "1.0", "checksum": "00"}', "checksum: does not agree with the rest"),
    ],
)
def test_a_file_that_is_no_package_is_refused_with_the_reason(data: bytes, said: str) -> None:
    assert refusal(data).startswith(f"team.json: {said}")


def test_what_is_too_large_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "MOST_BYTES", 1 << 20)
    assert "more than 1 MiB" in refusal(b" " * ((1 << 20) + 1))


def test_the_second_of_a_million_names_is_found_at_once() -> None:
    names = ",".join(f'"{n}":0' for n in range(400_000))
    began = time.perf_counter()
    assert "'399999' stands twice" in refusal(f'{{{names},"399999":1}}'.encode())
    assert "no such field" in refusal(changed(lambda tree: tree.update({"x" * 1_000_000: 1})))
    assert time.perf_counter() - began < 20  # quadratic work would take hours


def test_one_changed_digit_is_noticed() -> None:
    text = parcels.whole()
    assert "checksum" in refusal(text.replace("0.75", "0.76", 1).encode())


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("functions.1.live.values.timeout", None, "must be a truth, a number or a text, got None"),
        ("functions.0.live.evidence", -1, "must be a whole number in [0, 9007199254740992], got -1"),
        ("functions.0.live.evidence", True, "must be a whole number in [0, 9007199254740992], got True"),
        ("functions.0.live.span", [1.0], "must be a list of 2 parts, got a list of 1"),
        ("functions.0.live.origin", "stolen", "must be one of declared, learned, manual, rollback"),
        ("functions.0.live.estimates.timeout.level", 1.5, "must be a number in [0, 1], got 1.5"),
        ("functions.0.live.reason", "\ud800", "must be a text without NUL and without half characters"),
        ("functions.0.live.reason", "x" * 30_000, "must be a text of 0 to 20000 characters, got 'xxx"),
        ("functions.2.qualname", "", "must be a text of 1 to 500 characters, got ''"),
        ("functions.0.fingerprint", "XYZ", "must be 8 hexadecimal digits, got 'XYZ'"),
        ("functions.0.space.timeout", [5.0, 1.0], "the lowest, 5, is above the highest, 1"),
        ("functions.0.space.timeout.0", 0.0, "must be a number of seconds above 0, got 0.0"),
        ("functions.0.space.retries.1", 10**9, "must be a whole number in [0, 1000], got 1000000000"),
        ("functions.0.declared.retries", 2.5, "must be a whole number in [0, 1000], got 2.5"),
        ("functions.0.objective.attempt_cost", -1, "must be a number in [0, 1e+300], got -1"),
        ("functions.0.state", "no base64!", "must be base64, got 'no base64!'"),
        ("functions.0.counters.failures", 1, "must be a whole number in [0, 0], got 1"),
        ("created", "now", "must be a number in [0, 1e+12], got 'now'"),
    ],
)
def test_a_wrong_field_is_named_by_its_path(path: str, value: Any, said: str) -> None:
    *way, name = [int(part) if part.isdecimal() else part for part in path.split(".")]

    def change(tree: Any) -> None:
        for part in way:
            tree = tree[part]
        tree[name] = value

    shown = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in (*way, name)).removeprefix(".")
    assert refusal(changed(change)).startswith(f"team.json: {shown}: {said}")


def test_values_outside_of_their_own_bounds_are_no_declaration() -> None:
    said = refusal(changed(lambda tree: tree["functions"][0]["declared"].update(timeout=500.0)))
    assert said == "team.json: functions[0].declared: timeout 500 is outside of [0.001, 120]: 120 is taken"


def test_a_function_that_stands_twice_is_refused() -> None:
    assert "stands twice" in refusal(changed(lambda tree: tree["functions"].append(tree["functions"][0])))


def test_a_missing_field_and_an_unknown_one_are_named_with_the_nearest() -> None:
    assert refusal(changed(lambda tree: tree["functions"][1].pop("live"))) == "team.json: functions[1].live: is missing"
    said = refusal(changed(lambda tree: tree["functions"][1]["live"].update(reasons="")))
    assert said == "team.json: functions[1].live.reasons: no such field; did you mean 'reason'?"


def test_a_newer_minor_version_may_have_fields_that_we_do_not_know() -> None:
    def newer(tree: Any) -> None:
        tree.update(format_version="1.7", signature="x")
        tree["functions"][0]["live"]["season"] = "winter"

    assert read(changed(newer), "a") == read(parcels.whole().encode(), "a")


def test_an_error_survives_pickling() -> None:
    error = BadPackage("team.json", "torn")
    assert str(pickle.loads(pickle.dumps(error))) == str(error) == "team.json: torn"
