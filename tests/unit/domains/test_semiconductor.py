from __future__ import annotations

import inspect
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.domains.semiconductor import DOMAIN
from poet.errors import ConfigurationError


def etch(
    pressure: float, power: float, gas_flow_rate: float, temperature: float, etch_rate: float | None = None
) -> None: ...


PERCEIVE, ENFORCE = DOMAIN.for_function(inspect.signature(etch))
assert PERCEIVE is not None
assert ENFORCE is not None


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        ((5, 1200, 100, 25, 120), (5, 1200, 100, 25, 120)),
        (("500 mTorr", "1.2 kW", "0.05 slm", "77F"), (0.5, 1200.0, 50.0, 25.0)),
        (("2 Torr", "100", "100 sccm", "−20 °C", "1200 Å/min"), (2.0, 100.0, 100.0, -20.0, 120.0)),
        ((2, 100, 1, 400, None), (2, 100, 1, 400, None)),
    ],
)
def test_a_recipe_is_read(given_: tuple[Any, ...], read: tuple[Any, ...]) -> None:
    assert PERCEIVE(*given_) == (read, {})


def test_an_atmosphere_is_760_torr() -> None:
    ((pressure,), _) = DOMAIN.for_function(inspect.signature(lambda pressure: None)).perceive("1013.25 Pa")  # type: ignore[misc]
    assert pressure == pytest.approx(7.6)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pressure", 20),
        ("pressure", "50 mTorr"),
        ("power", 50),
        ("power", "3 MW"),
        ("gas_flow_rate", 0),
        ("gas_flow_rate", "abc"),
        ("temperature", 401),
        ("temperature", None),
        ("etch_rate", -1),
    ],
)
def test_a_recipe_out_of_limits_is_rejected_and_not_moved_into_them(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*accepted: "):
        PERCEIVE(**{name: value})


@pytest.mark.parametrize("power", [2000, "2 kW", Decimal(2000), Fraction(2000)])
def test_high_power_at_low_pressure_is_interlocked(power: Any) -> None:
    with pytest.raises(ValueError, match=r"interlock: a power of 2000 W while pressure is 0.5 Torr, below 1"):
        PERCEIVE("500 mTorr", power, 100, 20)


def test_power_without_gas_is_interlocked() -> None:
    with pytest.raises(ValueError, match="interlock: a power of 1200 W while gas_flow_rate is 5 sccm, below 10"):
        PERCEIVE(2, 1200, 5, 20)


def test_at_the_edge_nothing_is_interlocked() -> None:
    assert PERCEIVE(0.5, 1500, 10, 20) == ((0.5, 1500, 10, 20), {})
    assert PERCEIVE(0.5, 1000, 5, 20) == ((0.5, 1000, 5, 20), {})
    assert PERCEIVE(1.0, 3000, 10, 20) == ((1.0, 3000, 10, 20), {})


def test_an_interlock_counts_what_is_not_known_as_dangerous() -> None:
    def strike(power: float, pressure: float | None = None) -> None: ...

    perceive = DOMAIN.for_function(inspect.signature(strike)).perceive
    assert perceive is not None
    assert perceive(1500) == ((1500,), {})
    with pytest.raises(ValueError, match="while pressure is not known"):
        perceive(2000)
    with pytest.raises(ValueError, match="while pressure is not known"):
        perceive(2000, None)


def test_an_interlock_reads_defaults() -> None:
    def strike(power: float, pressure: object = "500 mTorr") -> None: ...

    perceive = DOMAIN.for_function(inspect.signature(strike)).perceive
    assert perceive is not None
    with pytest.raises(ValueError, match="interlock"):
        perceive(2000)
    assert perceive(2000, 2) == ((2000, 2), {})


def test_a_default_out_of_limits_is_refused_at_decoration() -> None:
    def strike(power: float, pressure: float = 20) -> None: ...

    with pytest.raises(ConfigurationError, match="the default of pressure: 20 is out of range"):
        DOMAIN.for_function(inspect.signature(strike))


def test_a_function_without_a_pressure_is_not_judged_by_it() -> None:
    perceive = DOMAIN.for_function(inspect.signature(lambda power: None)).perceive
    assert perceive is not None
    assert perceive(3000) == ((3000,), {})


@given(st.tuples(st.floats(0, 12), st.floats(0, 3200), st.floats(0, 210), st.floats(-30, 410)))
def test_what_passes_is_within_limits_and_interlocks_and_unchanged(values: tuple[float, ...]) -> None:
    try:
        read, _ = PERCEIVE(*values)
    except ValueError:
        return
    pressure, power, flow, temperature = read
    assert read == values
    assert 0.1 <= pressure <= 10
    assert 100 <= power <= 3000
    assert 1 <= flow <= 200
    assert -20 <= temperature <= 400
    assert not (power > 1500 and pressure < 1)
    assert not (power > 1000 and flow < 10)


@given(st.tuples(*[st.one_of(st.text(), st.floats(), st.decimals(), st.none(), st.binary(), st.lists(st.none()))] * 5))
def test_anything_is_read_or_rejected(values: tuple[Any, ...]) -> None:
    try:
        read, _ = PERCEIVE(*values)
    except ValueError:
        return
    assert PERCEIVE(*read) == (read, {})


def test_an_analysis_says_what_it_lacks_on_a_copy() -> None:
    analysis: dict[str, Any] = {"recommendations": [], "tool": "E7"}
    assert ENFORCE(analysis) == {
        "tool": "E7",
        "root_cause": "Analysis incomplete: root_cause not determined",
        "confidence": None,
        "recommendations": ["Analysis incomplete: recommendations not determined"],
    }
    assert analysis == {"recommendations": [], "tool": "E7"}
    assert ENFORCE(ENFORCE(analysis)) == ENFORCE(analysis)


@pytest.mark.parametrize(
    "result",
    [
        {"root_cause": "pump", "confidence": 0.9, "recommendations": ["check it"]},
        MappingProxyType({"root_cause": "pump", "confidence": None, "recommendations": "check it"}),
        {"root_cause": "pump", "confidence": 1, "recommendations": iter(["check it"])},
        {"rate": 12.0},
        12.0,
        None,
        "pump",
    ],
)
def test_a_complete_analysis_and_what_is_none_pass_as_they_are(result: Any) -> None:
    assert ENFORCE(result) is result


@pytest.mark.parametrize("confidence", [85, -0.1, 1.01, float("nan"), "high", True])
def test_a_confidence_that_is_none_is_rejected_and_not_moved(confidence: object) -> None:
    with pytest.raises(ValueError, match=r"confidence is .*accepted: 0 to 1"):
        ENFORCE({"root_cause": "pump", "confidence": confidence, "recommendations": ["check it"]})
