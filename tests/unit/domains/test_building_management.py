from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.domains.building_management import DOMAIN, SetBack


def control(current_temp: float, setpoint: float, occupancy: bool, outdoor_temp: float) -> None: ...


PERCEIVE, ENFORCE = DOMAIN.for_function(inspect.signature(control))
assert PERCEIVE is not None
assert ENFORCE is not None


@pytest.mark.parametrize(
    ("given_", "read"),
    [
        ((70, 66, False, 80), (70, 65.0, False, 80)),
        (("68F", "20C", True, "30 °F"), (68.0, 68.0, True, 30.0)),
        ((70, 72, "vacant", 30), (70, 69.0, False, 30)),
        ((70, 72, "occupied", 30), (70, 72, True, 30)),
        ((70, 72, 0, 30), (70, 69.0, 0, 30)),
        ((70, 72, "12", 30), (70, 72, 12.0, 30)),
        ((70, None, True, 30), (70, 72.0, True, 30)),
        ((70, None, False, 30), (70, 68.0, False, 30)),
        ((0, 120, True, 120), (0, 120, True, 120)),
    ],
)
def test_a_room_is_read(given_: tuple[Any, ...], read: tuple[Any, ...]) -> None:
    assert PERCEIVE(*given_) == (read, {})


@pytest.mark.parametrize("setpoint", [65, 62, 40.5])
def test_an_empty_room_is_never_heated_more_than_was_asked_for(setpoint: float) -> None:
    assert PERCEIVE(70, setpoint, False, 30)[0][1] == setpoint


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("current_temp", 500),
        ("current_temp", "warm"),
        ("current_temp", None),
        ("setpoint", "300K"),
        ("setpoint", 121),
        ("outdoor_temp", "-30F"),
        ("occupancy", "perhaps"),
        ("occupancy", -1),
        ("occupancy", [True]),
    ],
)
def test_what_is_no_reading_of_a_sensor_is_rejected(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name}: .*accepted: "):
        PERCEIVE(**{name: value})


def test_the_flags_of_numpy_are_flags() -> None:
    assert PERCEIVE(setpoint=np.float64(72), occupancy=np.False_)[1]["setpoint"] == 69
    assert PERCEIVE(setpoint=np.float64(72), occupancy=np.True_)[1]["setpoint"] == 72


def test_an_empty_room_is_known_by_default_too() -> None:
    def night(setpoint: float, occupancy: bool = False) -> None: ...
    def unknown(setpoint: float, occupancy: bool | None = None) -> None: ...

    by_night, _ = DOMAIN.for_function(inspect.signature(night))
    by_nobody, _ = DOMAIN.for_function(inspect.signature(unknown))
    assert by_night is not None
    assert by_nobody is not None
    assert by_night(72) == ((69.0,), {})
    assert by_night(72, True) == ((72, True), {})
    assert by_nobody(72) == ((72,), {})
    assert by_night() == ((), {})


TEMPERATURE = st.one_of(
    st.floats(0, 120), st.integers(0, 120).map("{} F".format), st.integers(-17, 48).map("{}°C".format)
)
PRESENT = st.one_of(st.booleans(), st.integers(0, 500), st.sampled_from(["yes", "no", "empty", "occupied"]))


@given(st.tuples(TEMPERATURE, st.one_of(TEMPERATURE, st.none()), PRESENT, TEMPERATURE))
def test_what_was_read_is_read_again_without_a_change(values: tuple[Any, ...]) -> None:
    read, _ = PERCEIVE(*values)
    current, setpoint, occupancy, outdoor = read
    assert all(0 <= each <= 120 for each in (current, setpoint, outdoor))
    again, _ = PERCEIVE(*read)
    assert all(new is old for new, old in zip(again, read, strict=True))
    assert isinstance(setpoint, SetBack) is not bool(occupancy)


@given(st.tuples(*[st.one_of(st.text(), st.floats(), st.decimals(), st.none(), st.binary(), st.lists(st.none()))] * 4))
def test_anything_is_read_or_rejected(values: tuple[Any, ...]) -> None:
    try:
        read, _ = PERCEIVE(*values)
    except ValueError:
        return
    assert PERCEIVE(*read) == (read, {})


def test_a_set_back_point_is_a_number_that_travels() -> None:
    point = PERCEIVE(70, 72, False, 30)[0][1]
    assert (point, f"{point:.1f}", point + 1) == (69.0, "69.0", 70.0)
    assert type(point + 3) is float
    assert type(pickle.loads(pickle.dumps(point))) is SetBack


@dataclass(frozen=True)
class Command:
    heating_output: float
    cooling_output: float
    fan_speed: float
    status: str = "ok"


def command(heating: object, cooling: object, fan: object) -> list[Any]:
    return [
        Command(heating, cooling, fan),  # type: ignore[arg-type]
        {"heating_output": heating, "cooling_output": cooling, "fan_speed": fan},
        {"heating": heating, "cooling": cooling, "fan": fan},
    ]


@pytest.mark.parametrize(("fan", "slower"), [(100, 80.0), (50.0, 40.0), (24, 20.0), (21, 20.0)])
def test_little_heating_and_cooling_needs_less_air(fan: float, slower: float) -> None:
    for each in command(5, 19.9, fan):
        before = copy.copy(each)
        copied = ENFORCE(each)
        assert copied == command(5, 19.9, slower)[command(5, 19.9, fan).index(each)]
        assert each == before


@pytest.mark.parametrize(
    "sound",
    [
        *command(5, 0, 20),
        *command(5, 0, 0),
        *command(20, 0, 100),
        *command(0, 100, 100),
        *command(True, False, True),
        *command(False, False, True),
    ],
)
def test_a_sound_command_passes_as_the_very_same_object(sound: Any) -> None:
    assert ENFORCE(sound) is sound


@pytest.mark.parametrize(
    "other", [{"heating": 50}, {"fan": 90}, {"heating": 0, "cooling": None, "fan": 90}, None, 5, "on", {}, [60, 60]]
)
def test_what_says_too_little_passes_as_it_is(other: Any) -> None:
    assert ENFORCE(other) is other


@pytest.mark.parametrize(
    "unsafe",
    [
        *command(60, 60, 50),
        *command(10.1, 10.1, 50),
        *command(True, True, True),
        *command(101, 0, 50),
        *command(0, -1, 50),
        *command(0, 0, 150),
        *command(float("nan"), 0, 50),
        *command("full", 0, 50),
        {"fan_speed": 150},
    ],
)
def test_an_unsafe_command_is_rejected(unsafe: Any) -> None:
    with pytest.raises(ValueError, match=r"accepted: 0 to 100 %|at once"):
        ENFORCE(unsafe)
