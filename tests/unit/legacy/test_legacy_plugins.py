from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from houses import House
from poet import legacy
from poet.domains.interface import Checks
from poet.domains.registry import Registry
from poet.errors import ConfigurationError, EnforceError, InputRejected, PerceiveError, ResultRejected
from poet.legacy.plugins import PluginDomain, PluginRegistry
from poet.seams import SYSTEM_CLOCK

NUMBERS = count()


def new_name() -> str:
    return f"trade of the old kind no {next(NUMBERS)}"


class Thermostat(legacy.POETPlugin):
    """Reads temperatures from text, and knows nothing of other arguments."""

    def __init__(self) -> None:
        self.contexts: list[dict[str, Any]] = []

    def get_plugin_name(self) -> str:
        return "thermostat"

    def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        kwargs.pop("room", None)
        return {"args": (float(str(args[0]).rstrip("F")),), "kwargs": {}}

    def validate_output(self, result: Any, context: dict[str, Any]) -> Any:
        self.contexts.append(context)
        if result["heating"] > 100:
            raise ValueError("more than all")
        return {**result, "checked": True}


class First:
    """Of the first kind: no base, no name, the result in an envelope."""

    def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return {"args": tuple(each * 2 for each in args), "kwargs": kwargs}

    def validate_output(self, operation_result: dict[str, Any], processed_input: dict[str, Any]) -> Any:
        assert operation_result["success"] is True
        assert operation_result["execution_time"] >= 0
        return operation_result["result"], processed_input["args"]


def decorated(plugin: Any, function: Any, house: House | None = None, **options: Any) -> Any:
    name = new_name()
    legacy.PLUGIN_REGISTRY.register_plugin(name, plugin)
    agent = (house or House()).agent
    return legacy.poet(domain=name, agent=agent, **options)(function)


def heat(temperature: float, room: int = 1, *, mode: str = "eco") -> dict[str, Any]:
    return {"heating": temperature, "room": room, "mode": mode}


def test_a_plugin_reads_and_checks_and_loses_no_argument() -> None:
    plugin = Thermostat()
    call = decorated(plugin, heat)
    given = {"room": 7}
    expected = {"heating": 68.0, "room": 7, "mode": "eco", "checked": True}
    assert call("68F", **given) == expected
    assert call("68F", 7) == expected
    assert call("68F", 7, mode="full") == {**expected, "mode": "full"}
    assert given == {"room": 7}
    assert call._poet_executor.domain_plugin is plugin


def test_it_is_told_what_it_gave_and_how_long_that_is_ago() -> None:
    plugin = Thermostat()
    decorated(plugin, heat)("68F", 7)
    (context,) = plugin.contexts
    assert set(context) == {"success", "perceived_input", "execution_time"}
    assert context["perceived_input"] == {"args": (68.0,), "kwargs": {}}
    assert context["execution_time"] >= 0


def test_input_and_output_that_it_rejects_come_no_further() -> None:
    calls: list[Any] = []

    def body(temperature: float) -> dict[str, Any]:
        calls.append(temperature)
        return {"heating": temperature}

    call = decorated(Thermostat(), body, retries=0)
    with pytest.raises(InputRejected, match="could not convert string to float"):
        call("warm")
    assert calls == []
    with pytest.raises(ResultRejected, match="more than all"):
        call("900F")


def test_the_originals_own_error_for_outputs_rejects_one() -> None:
    class Strict(Thermostat):
        def validate_output(self, result: Any, context: dict[str, Any]) -> Any:
            raise legacy.OutputValidationError("int", "dict", "No number.")

    with pytest.raises(ResultRejected, match="expected int, got dict"):
        decorated(Strict(), heat, retries=0)("68F")


def test_a_fault_of_its_own_is_no_longer_passed_over() -> None:
    class Broken(Thermostat):
        def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            return super().process_inputs(args, kwargs) if args[0] else {}["missing"]

        def validate_output(self, result: Any, context: dict[str, Any]) -> Any:
            raise TypeError("odd")

    call = decorated(Broken(), heat, retries=0)
    with pytest.raises(PerceiveError, match="KeyError: 'missing'"):
        call(0)
    with pytest.raises(EnforceError, match="TypeError: odd"):
        call("68F")


@pytest.mark.parametrize("given", [None, {"args": (1,)}, {"args": 1, "kwargs": {}}, [1]], ids=str)
def test_what_is_no_input_is_said_to_be_none(given: Any) -> None:
    class Odd(Thermostat):
        def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            return given  # type: ignore[no-any-return]

    with pytest.raises(PerceiveError, match="process_inputs must give"):
        decorated(Odd(), heat)("68F")


def test_arguments_that_the_function_does_not_take_are_refused_with_the_plugins_name() -> None:
    class Four(Thermostat):
        def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
            return {"args": (1, 2, 3, 4), "kwargs": {}}

    with pytest.raises(PerceiveError, match="gave what the function does not take: too many positional"):
        decorated(Four(), lambda x, y: x)(1, 2)


def test_a_wrong_call_gets_the_functions_own_type_error() -> None:
    call = decorated(First(), lambda x: x)
    with pytest.raises(TypeError, match="positional argument"):
        call(1, 2)


def test_one_of_the_first_kind_gets_its_envelope() -> None:
    call = decorated(First(), lambda *values, **named: (sum(values), named))
    assert call(1, 2, key="a") == ((6, {"key": "a"}), (2, 4))


def test_an_async_function_is_checked_in_each_task_for_itself() -> None:
    async def body(x: int) -> int:
        await asyncio.sleep(0)
        return x

    call = decorated(First(), body, House(clock=SYSTEM_CLOCK))

    async def both() -> list[Any]:
        return await asyncio.gather(call(1), call(10))

    assert asyncio.run(both()) == [(2, (2,)), (20, (20,))]


def test_a_generators_input_is_read_and_its_items_are_left_alone() -> None:
    def body(x: int) -> Iterator[int]:
        yield x

    assert list(decorated(First(), body)(2)) == [4]


def test_of_a_class_each_function_gets_its_own_object() -> None:
    made: list[Thermostat] = []

    class Kept(Thermostat):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    name, house = new_name(), House()
    legacy.PLUGIN_REGISTRY.register_plugin(name, Kept)
    for _ in range(2):
        legacy.poet(domain=name, agent=house.agent)(heat)("68F")
    assert [len(plugin.contexts) for plugin in made] == [1, 1]
    asked = legacy.PLUGIN_REGISTRY.get_plugin(name)
    assert asked is legacy.PLUGIN_REGISTRY.get_plugin(name)
    assert isinstance(asked, Kept)


def test_registering_again_does_no_harm_and_another_under_the_name_does_not_pass() -> None:
    name, plugin = new_name(), First()
    legacy.PLUGIN_REGISTRY.register_plugin(name, plugin)
    legacy.PLUGIN_REGISTRY.register_plugin(name, plugin)
    with pytest.raises(ConfigurationError, match=r"registered as .* already"):
        legacy.PLUGIN_REGISTRY.register_plugin(name, First())
    with pytest.raises(ConfigurationError, match="offers a domain 'semiconductor' already"):
        legacy.PLUGIN_REGISTRY.register_plugin("semiconductor", First())
    assert name in legacy.PLUGIN_REGISTRY.list_plugins()
    assert legacy.PLUGIN_REGISTRY.list_domains() == legacy.PLUGIN_REGISTRY.list_plugins()


def test_what_is_no_plugin_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must have a method process_inputs, got 3"):
        legacy.PLUGIN_REGISTRY.register_plugin(new_name(), 3)

    class Needy(First):
        def __init__(self, needed: int) -> None: ...

    with pytest.raises(ConfigurationError, match="cannot be made: TypeError"):
        decorated(Needy, lambda: 1)


def test_an_unknown_plugin_is_none_and_tells_nothing() -> None:
    assert legacy.PLUGIN_REGISTRY.get_plugin("webshop") is None
    assert legacy.PLUGIN_REGISTRY.get_plugin_info("webshop") is None
    name = new_name()
    legacy.PLUGIN_REGISTRY.register_plugin(name, First)
    assert legacy.PLUGIN_REGISTRY.get_plugin_info(name) is None


def test_plugins_tell_of_themselves_what_is_true() -> None:
    info = legacy.PLUGIN_REGISTRY.get_plugin_info("financial_services")
    assert info == {
        "name": "financial_services",
        "type": "poet_plugin",
        "version": "unknown",
        "author": "unknown",
        "capabilities": ["process_inputs", "validate_output"],
    }


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("financial_services", ("excellent", "$75,000", "25%", "5 years"), (780, 75000.0, 0.25, 5.0)),
        ("financial_services", ("very good", "2.5M", "0.25", "30 months"), (780, 2500000.0, 0.25, 2.5)),
        ("building_management", ("68F", 66, False, 80), (68.0, 65, False, 80)),
        ("semiconductor", (5, 500, "100", 25, 120), (5, 500, 100.0, 25, 120)),
        ("llm_optimization", ("Help",), ("Please provide a detailed and accurate response to: Help",)),
    ],
)
def test_our_domains_answer_as_plugins_in_the_old_order_of_arguments(
    name: str, args: tuple[Any, ...], expected: tuple[Any, ...]
) -> None:
    plugin = legacy.PLUGIN_REGISTRY.get_plugin(name)
    assert isinstance(plugin, legacy.POETPlugin)
    assert plugin.process_inputs(args, {}) == {"args": expected, "kwargs": {}}
    assert plugin.process_inputs((*args, "more"), {"other": 1}) == {"args": (*expected, "more"), "kwargs": {"other": 1}}


def test_our_domains_reject_as_plugins_too() -> None:
    building = legacy.PLUGIN_REGISTRY.get_plugin("building_management")
    assert building is not None
    with pytest.raises(ValueError, match="120 °F"):
        building.process_inputs((500, 66, False, 80), {})
    with pytest.raises(ValueError, match="at once"):
        building.validate_output({"heating": 60, "cooling": 60, "fan": 50}, {})
    command = {"heating": 60, "cooling": 0, "fan": 50}
    assert building.validate_output(command, {}) is command


def test_a_domain_without_a_table_is_a_plugin_that_takes_anything() -> None:
    class Upper:
        name = "upper"

        def for_function(self, signature: inspect.Signature) -> Checks:
            return Checks(lambda *args, **kwargs: (tuple(map(str.upper, args)), kwargs), None)

    registry = Registry("a group that nobody has")
    registry.register("upper", Upper())  # type: ignore[arg-type]
    plugins = PluginRegistry(register=registry.register, find=registry.find, known=registry.known)
    plugin = plugins.get_plugin("upper")
    assert plugin is not None
    assert plugin.process_inputs(("a",), {"b": 1}) == {"args": ("A",), "kwargs": {"b": 1}}
    assert plugin.validate_output("x", {}) == "x"
    plugins.register_plugin("first", First)
    assert plugins.list_plugins() == ["first", "upper"]
    assert isinstance(registry.find("first"), PluginDomain)


def test_an_abstract_plugin_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        legacy.POETPlugin()  # type: ignore[abstract]
