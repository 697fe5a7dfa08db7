"""Semiconductor manufacturing: the limits of a plasma process, its interlocks, and analyses that say what they lack.

A recipe that was moved into its limits is another recipe than the one asked for: what is out of range is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, Final

from poet.domains.readers import is_number, number, shown, within
from poet.domains.results import changed
from poet.domains.table import Quantity, TableDomain
from poet.domains.units import Scale, measure

PASCAL_PER_TORR: Final = 101325 / 760  # by definition
HIGH_POWER, LOW_PRESSURE = 1500.0, 1.0  # beyond both the plasma is not stable [W], [Torr]
HOT_POWER, LOW_FLOW = 1000.0, 10.0  # beyond both the chamber takes damage [W], [sccm]
ANALYSIS: Final = ("root_cause", "confidence", "recommendations")
MISSING: Final = "Analysis incomplete: {} not determined"

TORR: Final[Mapping[str, Scale]] = {
    **dict.fromkeys(("", "torr"), float),
    "mtorr": lambda millitorr: millitorr / 1000,
    "pa": lambda pascal: pascal / PASCAL_PER_TORR,
}
WATT: Final[Mapping[str, Scale]] = {
    **dict.fromkeys(("", "w", "watt", "watts"), float),
    "kw": lambda kilowatt: kilowatt * 1000,
}
SCCM: Final[Mapping[str, Scale]] = {
    **dict.fromkeys(("", "sccm"), float),
    "slm": lambda slm: slm * 1000,
}
CELSIUS: Final[Mapping[str, Scale]] = {
    **dict.fromkeys(("", "c", "°c", "celsius"), float),
    **dict.fromkeys(("f", "°f", "fahrenheit"), lambda fahrenheit: (fahrenheit - 32) * 5 / 9),
}
NANOMETRE_PER_MINUTE: Final[Mapping[str, Scale]] = {
    **dict.fromkeys(("", "nm/min"), float),
    **dict.fromkeys(("å/min", "angstrom/min"), lambda angstrom: angstrom / 10),
}


def interlocks(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """Nothing to change. Raises ValueError where values are each in range and dangerous together.

    A value that the function has a parameter for and that is not known counts as dangerous.
    """
    power = known.get("power")
    if power is None:
        return {}
    if power > HIGH_POWER and "pressure" in known:
        _refuse(power, "pressure", known["pressure"], LOW_PRESSURE, "Torr", "the plasma may become unstable")
    if power > HOT_POWER and "gas_flow_rate" in known:
        _refuse(power, "gas_flow_rate", known["gas_flow_rate"], LOW_FLOW, "sccm", "the chamber may be damaged")
    return {}


def _refuse(power: Any, name: str, value: Any, least: float, unit: str, danger: str) -> None:
    if value is None or value < least:
        state = "not known" if value is None else f"{float(value):g} {unit}, below {least:g}"
        raise ValueError(f"interlock: a power of {float(power):g} W while {name} is {state}: {danger}")


def complete_analysis(result: Any) -> Any:
    """``result``, or a copy of it that says what is missing. Raises ValueError for a confidence outside [0, 1].

    A mapping with any of ``root_cause``, ``confidence`` and ``recommendations`` is an analysis; all else is left alone.
    """
    if not isinstance(result, Mapping) or not any(name in result for name in ANALYSIS):
        return result
    confidence = result.get("confidence")
    if confidence is not None and not (is_number(confidence) and within(confidence, 0, 1)):
        raise ValueError(f"confidence is {shown(confidence)}; accepted: 0 to 1")
    lacking: dict[str, Any] = {}
    if result.get("root_cause") in (None, ""):
        lacking["root_cause"] = MISSING.format("root_cause")
    if "confidence" not in result:
        lacking["confidence"] = None  # not known; a number would be one that nobody determined
    recommendations = result.get("recommendations")
    if recommendations is None or (isinstance(recommendations, Sized) and not len(recommendations)):
        lacking["recommendations"] = [MISSING.format("recommendations")]
    return changed(result, **lacking) if lacking else result


def _limits(
    name: str, low: float, high: float, unit: str, scales: Mapping[str, Scale], example: str, *aliases: str
) -> Quantity:
    accepts = f"{low:g} to {high:g} {unit}, also as text, {example!r}"
    return Quantity(name, number(low, high, lambda text: measure(text, scales)), accepts, aliases)


DOMAIN: Final = TableDomain(
    name="semiconductor",
    quantities=(
        _limits("pressure", 0.1, 10, "Torr", TORR, "500 mTorr", "chamber_pressure"),
        _limits("power", 100, 3000, "W", WATT, "1.2 kW", "rf_power"),
        _limits("gas_flow_rate", 1, 200, "sccm", SCCM, "50 sccm", "gas_flow"),
        _limits("temperature", -20, 400, "°C", CELSIUS, "25 C"),
        _limits("etch_rate", 0, 1000, "nm/min", NANOMETRE_PER_MINUTE, "120 nm/min"),
    ),
    rule=interlocks,
    enforce=complete_analysis,
)
