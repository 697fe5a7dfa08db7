from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import pytest

from poet.domains.results import Field, changed, field


@dataclass
class Plain:
    fan_speed: float
    heating: float = 1.0


@dataclass(frozen=True, slots=True)
class Frozen:
    fan_speed: float
    heating: float = 1.0


class Tuple(NamedTuple):
    fan_speed: float
    heating: float = 1.0


class Checked:
    def __init__(self) -> None:
        self._speed, self.heating = 5.0, 1.0

    @property
    def fan_speed(self) -> float:
        return self._speed

    @fan_speed.setter
    def fan_speed(self, value: float) -> None:
        self._speed = value


class Fixed:
    heating = 1.0

    @property
    def fan_speed(self) -> float:
        return 5.0


MAPPINGS = [{"fan_speed": 5.0, "heating": 1.0}, OrderedDict(fan_speed=5.0, heating=1.0)]


@pytest.mark.parametrize(
    "result", [Plain(5.0), Frozen(5.0), Tuple(5.0), SimpleNamespace(fan_speed=5.0, heating=1.0), Checked()]
)
def test_a_changed_copy_of_an_object_leaves_the_object_alone(result: Any) -> None:
    copied = changed(result, fan_speed=4.0)
    assert (copied.fan_speed, copied.heating, type(copied)) == (4.0, 1.0, type(result))
    assert result.fan_speed == 5.0


@pytest.mark.parametrize("result", MAPPINGS)
def test_a_changed_copy_of_a_mapping_leaves_the_mapping_alone(result: Any) -> None:
    copied = changed(result, fan_speed=4.0)
    assert (copied, type(copied)) == ({"fan_speed": 4.0, "heating": 1.0}, type(result))
    assert result["fan_speed"] == 5.0


def test_a_mapping_that_cannot_be_changed_becomes_a_dict() -> None:
    assert changed(MappingProxyType({"heating": 1.0}), fan_speed=4.0) == {"heating": 1.0, "fan_speed": 4.0}


@pytest.mark.parametrize("result", [Fixed(), Plain, (5.0,), "text"])
def test_what_cannot_be_changed_is_an_error_and_not_a_rejection(result: Any) -> None:
    with pytest.raises(TypeError, match="no changed copy"):
        changed(result, fan_speed=4.0)


class Single:
    fan_speed = 5.0

    def __copy__(self) -> Single:
        return self


def test_an_object_whose_copy_is_itself_is_never_changed() -> None:
    single = Single()
    with pytest.raises(TypeError, match="its copy is itself"):
        changed(single, fan_speed=4.0)
    assert single.fan_speed == 5.0


def test_a_field_is_a_key_of_a_mapping_and_an_attribute_of_anything_else() -> None:
    assert field({"fan": 1, "heating": 2}, "fan_speed", "fan") == Field("fan", 1)
    assert field(Plain(3.0), "fan", "fan_speed") == Field("fan_speed", 3.0)
    assert field({"fan": 1}, "items") is None
    assert field(None, "fan") is None
