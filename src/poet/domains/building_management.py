"""Building management: temperatures in degrees Fahrenheit, an empty room's set point, and commands that fit together.

Outputs are not scaled down in an empty building: the set point was set back already, and a cap on the heating that
knows no outdoor temperature lets pipes freeze.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from poet.domains.readers import is_flag, is_number, number, shown, within
from poet.domains.results import changed, field
from poet.domains.table import Quantity, TableDomain
from poet.domains.units import Scale, measure

COLDEST, HOTTEST = 0.0, 120.0  # that is taken for a temperature in or around a building [°F]
SET_BACK = 3.0  # while nobody is there [°F]
LOWEST_SET_BACK = 65.0  # [°F]
USUAL, USUAL_SET_BACK = 72.0, 68.0  # where no set point is given: occupied, not occupied [°F]
BOTH = 10.0  # heating and cooling above it at once work against each other [%]
LOW_LOAD = 20.0  # both below it: less air is enough [%]
LESS_AIR = 0.8  # share of the fan's speed at low load
LEAST_AIR = 20.0  # to which a fan is slowed down [%]
MOST_PEOPLE = 1e6  # in one building

_OCCUPIED: Final = {"occupied", "yes", "true", "on"}
_EMPTY: Final = {"unoccupied", "vacant", "empty", "no", "false", "off"}


def _in_all_spellings(letter: str, word: str, scale: Scale) -> dict[str, Scale]:
    marks = (letter, f"°{letter}", f"° {letter}", f"deg {letter}", f"degrees {letter}", word, f"degrees {word}")
    return dict.fromkeys(marks, scale)


FAHRENHEIT: Final[Mapping[str, Scale]] = {
    **dict.fromkeys(("", "°", "deg", "degrees"), float),
    **_in_all_spellings("f", "fahrenheit", float),
    **_in_all_spellings("c", "celsius", lambda celsius: celsius * 9 / 5 + 32),
}
"""To degrees Fahrenheit; a number without a unit is in them."""

temperature: Final = number(COLDEST, HOTTEST, lambda text: measure(text, FAHRENHEIT))


class SetBack(float):
    """A set point that was set back already [°F].

    It is marked, so that it is set back only once where a decorated function hands it on to another.
    """

    __slots__ = ()


def set_point(value: Any) -> Any:
    """A temperature, or None: the rule gives the usual one. Raises ValueError."""
    return None if value is None else temperature(value)


def occupancy(value: Any) -> Any:
    """Whether anybody is there, or how many; words for it become True or False. Raises ValueError.

    >>> occupancy("vacant"), occupancy(True), occupancy("12")
    (False, True, 12.0)
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _OCCUPIED or word in _EMPTY:
            return word in _OCCUPIED
    elif is_flag(value):
        return value
    return _COUNT(value)


def set_back(known: Mapping[str, Any]) -> Mapping[str, Any]:
    """The set point of an empty building: 3 °F lower, but not lowered below 65 °F. Unknown occupancy is occupied."""
    if "setpoint" not in known:
        return {}
    present = known.get("occupancy")
    occupied = present is None or bool(present)
    wanted = known["setpoint"]
    if wanted is None:
        return {"setpoint": USUAL if occupied else SetBack(USUAL_SET_BACK)}
    if occupied or isinstance(wanted, SetBack):
        return {}
    wanted = float(wanted)
    return {"setpoint": SetBack(min(wanted, max(wanted - SET_BACK, LOWEST_SET_BACK)))}


def sound_command(command: Any) -> Any:
    """``command``, or a copy of it with a slower fan where little is heated and cooled.

    Raises ValueError where an output is not within 0 to 100 %, or it heats and cools at once.
    """
    heating = _percent(command, "heating_output", "heating")
    cooling = _percent(command, "cooling_output", "cooling")
    fan = _percent(command, "fan_speed", "fan")
    if heating is None or cooling is None:
        return command
    if heating[1] > BOTH and cooling[1] > BOTH:
        raise ValueError(f"heats with {heating[1]:g} % and cools with {cooling[1]:g} % at once")
    if fan is None or heating[1] >= LOW_LOAD or cooling[1] >= LOW_LOAD or is_flag(fan[2]):
        return command
    slower = max(fan[1] * LESS_AIR, LEAST_AIR)
    return changed(command, **{fan[0]: slower}) if slower < fan[1] else command


def _percent(command: Any, *names: str) -> tuple[str, float, Any] | None:
    """Name, per cent and the value itself of the first of ``names`` that is set; on is 100, off is 0."""
    found = field(command, *names)
    if found is None or found.value is None:
        return None
    name, value = found
    if is_flag(value):
        return name, 100.0 if value else 0.0, value
    if not (is_number(value) and within(value, 0, 100)):
        raise ValueError(f"{name} is {shown(value)}; accepted: 0 to 100 %")
    return name, float(value), value


_COUNT = number(0, MOST_PEOPLE, lambda text: measure(text, {"": float}))
_ACCEPTED = f"{COLDEST:g} to {HOTTEST:g} °F, also as '68F' or '20C'"

DOMAIN: Final = TableDomain(
    name="building_management",
    quantities=(
        Quantity("current_temp", temperature, _ACCEPTED, aliases=("current_temperature", "indoor_temp")),
        Quantity(
            "setpoint",
            set_point,
            f"{_ACCEPTED}; None for {USUAL:g} °F, or {USUAL_SET_BACK:g} °F where nobody is there",
            aliases=("set_point", "target_temp"),
            reads_none=True,
        ),
        Quantity(
            "occupancy",
            occupancy,
            "True, False, a number of people, or a word: occupied, unoccupied, vacant, empty, yes, no, on, off",
            aliases=("occupied", "is_occupied"),
        ),
        Quantity("outdoor_temp", temperature, _ACCEPTED, aliases=("outdoor_temperature", "outside_temp")),
    ),
    rule=set_back,
    enforce=sound_command,
)
