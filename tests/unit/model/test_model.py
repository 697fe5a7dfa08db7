from __future__ import annotations

import math
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

import poet.errors as errors
from poet.errors import ConfigurationError
from poet.model.function import FunctionKey
from poet.model.objective import PATIENCE, Objective
from poet.model.parameters import ParameterSet
from poet.model.tunable import Choice, Integer, Real, Space


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(allow_nan=False, allow_infinity=False))
def test_a_clipped_value_is_within_bounds_and_a_value_within_stays(a: float, b: float, x: float) -> None:
    real = Real(min(a, b), max(a, b))
    clipped = real.clip(x)
    assert real.check("x", clipped) == clipped
    if real.low <= x <= real.high:
        assert clipped == x


@pytest.mark.parametrize("value", [math.nan, math.inf, "1", None, True])
def test_a_real_refuses_what_is_no_finite_number(value: object) -> None:
    with pytest.raises(ConfigurationError, match="x must be a finite number"):
        Real(0, 1).check("x", value)


@pytest.mark.parametrize("value", [1.0, True, "1", None])
def test_an_integer_refuses_what_is_no_whole_number(value: object) -> None:
    with pytest.raises(ConfigurationError, match="x must be a whole number"):
        Integer(0, 3).check("x", value)


def test_a_choice_knows_true_from_one() -> None:
    with pytest.raises(ConfigurationError, match="x must be one of 1, 2, got True"):
        Choice(1, 2).check("x", True)
    with pytest.raises(ConfigurationError, match="at least one option"):
        Choice()
    with pytest.raises(ConfigurationError, match="distinct"):
        Choice("a", "a")


def test_log_scales_need_bounds_above_zero() -> None:
    with pytest.raises(ConfigurationError, match="log scale needs low > 0"):
        Real(0, 1, log=True)
    with pytest.raises(ConfigurationError, match="log scale needs low > 0"):
        Integer(0, 1, log=True)


def test_a_space_checks_and_clips_by_name() -> None:
    space = Space(timeout=Real(1, 2), retries=Integer(0, 3), model=Choice("a", "b"))
    assert space.check({"timeout": 1.5}) == {"timeout": 1.5}
    assert space.clip({"timeout": 9.0, "retries": 2.6, "model": "c", "other": 1}) == {
        "timeout": 2.0,
        "retries": 3,
        "other": 1,
    }
    with pytest.raises(ConfigurationError, match="did you mean 'timeout'"):
        space.check({"timout": 1.5})
    with pytest.raises(ConfigurationError, match="must be a Real"):
        Space(x=3)  # type: ignore[arg-type]


def test_the_derived_latency_cost_makes_ten_typical_latencies_worth_a_failure() -> None:
    objective = Objective().for_latency(0.2)
    assert objective.utility(True, PATIENCE * 0.2, 1) == pytest.approx(0.0)
    assert Objective(latency_cost=0.5).for_latency(0.2).latency_cost == 0.5
    assert Objective().for_latency(5e-324) == Objective().for_latency(1e-9), "no clock tells less"
    with pytest.raises(ConfigurationError, match="not known yet"):
        Objective().utility(True, 1.0, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"value": 0},
        {"value": math.nan},
        {"latency_cost": -1},
        {"attempt_cost": math.inf},
        {"success_target": 1.0},
        {"success_target": math.nan},
        {"latency_target": 0.0},
        {"latency_target": math.inf},
        {"latency_target": math.nan},
    ],
    ids=str,
)
def test_an_objective_refuses_what_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Objective(**wrong)


def test_an_objective_has_one_target_and_the_error_names_both() -> None:
    with pytest.raises(ConfigurationError, match=r"success_target and latency_target cannot both.* 0\.99 and 0\.5"):
        Objective(success_target=0.99, latency_target=0.5)
    assert Objective(latency_target=0.5).for_latency(0.1) == Objective(latency_cost=1.0, latency_target=0.5)


def test_a_parameter_set_is_a_copy_that_cannot_be_changed() -> None:
    values = {"timeout": 1.0}
    parameters = ParameterSet(values_=values)
    values["timeout"] = 2.0
    assert dict(parameters) == {"timeout": 1.0}
    with pytest.raises(AttributeError):
        parameters.version = 3  # type: ignore[misc]


def test_the_fingerprint_tells_signatures_apart_and_ignores_the_body() -> None:
    def one(x: int, y: str = "a") -> None: ...
    def same(x: int, y: str = "b") -> None:
        print(x)

    def other(x: int, z: str = "a") -> None: ...

    assert FunctionKey.of(one).fingerprint == FunctionKey.of(same).fingerprint != FunctionKey.of(other).fingerprint
    assert FunctionKey.of(one, "named") == FunctionKey("", "named", FunctionKey.of(one).fingerprint)


@pytest.mark.parametrize(
    "error",
    [
        errors.StaleParameters("f", 1, 2),
        errors.UnknownVersion("f", 3, (1, 2)),
        errors.UnknownFunction("f", ("g",)),
        errors.AmbiguousFunction("f", ("a.f", "b.f")),
        errors.PoetTimeout("f", 1.0),
        errors.StoreCorrupt("x.db", "damaged", "restore it"),
        errors.UnknownArgument("x", ("y",)),
        errors.ResultRejected("f"),
        errors.ResultRejected("f", "too short"),
        errors.PerceiveError("f", "no region"),
        errors.InputRejected("f", "too long"),
        errors.CircuitOpen("f", "payments", 12.5),
        errors.Overloaded("f", "calls to payments", 8),
        errors.EnforceError("f", "no schema"),
    ],
    ids=lambda e: type(e).__name__,
)
def test_errors_carry_their_facts_through_a_pickle(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error) != ""
    assert vars(again) == vars(error)


def test_errors_of_a_call_name_their_stage_and_what_to_catch() -> None:
    shed: tuple[errors.Shed, ...] = (errors.CircuitOpen("f", "payments", 12.5), errors.Overloaded("f", "calls", 8))
    assert [error.stage for error in shed] == ["operate", "operate"]
    assert str(shed[0]) == "f: operate: the circuit of payments is open for 12.5 s more"
    assert str(shed[1]) == "f: operate: 8 calls already, that is the limit"
    assert isinstance(errors.PoetTimeout("f", 1.0), TimeoutError)
    assert not isinstance(shed[0], TimeoutError)
    assert isinstance(errors.InputRejected("f", "too long"), ValueError)
    assert errors.InputRejected("f", "too long").stage == "perceive"
    assert errors.ResultRejected("f").stage == "enforce"
