"""The original's plug-ins: its interface, its registry, and what makes a domain of one of them."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from poet import domains
from poet.domains import Checks, Domain, TableDomain
from poet.errors import ConfigurationError, PerceiveError
from poet.forebears import OutputValidationError
from poet.seams import SYSTEM_CLOCK

Inputs = dict[str, Any]  # ``{"args": tuple, "kwargs": dict}``


class POETPlugin(ABC):
    """A trade's knowledge, as the original's plug-ins brought it.

    Three methods are called; whatever else a plug-in has, for learning or feedback, is not.
    """

    @abstractmethod
    def get_plugin_name(self) -> str:
        """What it is called."""

    @abstractmethod
    def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        """``{"args": …, "kwargs": …}``: the arguments to use. Raises ValueError where the input is rejected."""

    @abstractmethod
    def validate_output(self, result: Any, context: dict[str, Any]) -> Any:
        """The result to use. Raises ValueError or OutputValidationError where it is rejected.

        context: ``success`` (True), ``perceived_input`` (what ``process_inputs`` gave) and ``execution_time``: seconds
        since then, pauses and failed attempts included.
        """

    def get_plugin_info(self) -> dict[str, Any]:
        """Name, version and author, and which of its methods are called."""
        return {
            "name": self.get_plugin_name(),
            "type": "poet_plugin",
            "version": getattr(self, "__version__", "unknown"),
            "author": getattr(self, "__author__", "unknown"),
            "capabilities": ["process_inputs", "validate_output"],
        }


class _Perceived(NamedTuple):
    """What the call of now was given."""

    inputs: Inputs
    at: float  # on the monotonic clock [s]


class PluginDomain:
    """A domain whose checks are those of a plug-in of the original.

    The plug-in gets all arguments and decides as it did. What it leaves out is called with as the caller passed it: the
    original's plug-ins dropped every argument that they did not know. What it adds must be a parameter of the function.
    What it raises is no longer passed over: the input or the result is rejected.

    A function that calls itself sees in ``perceived_input``, after the inner call, that of the inner call.
    """

    def __init__(self, name: str, plugin: Any) -> None:
        """plugin: an object, shared by all functions; or a class, of which each function gets its own object.

        It has ``process_inputs(args, kwargs)`` and ``validate_output``. With ``get_plugin_name`` beside them they are
        those of ``POETPlugin``. Without, it is of the original's first kind: ``validate_output(operation_result,
        processed_input)``, with the result as ``operation_result["result"]``. Raises ConfigurationError.
        """
        self.name, self._plugin = name, plugin
        for method in ("process_inputs", "validate_output"):
            if not callable(getattr(plugin, method, None)):
                raise ConfigurationError(f"the plug-in {name!r} must have a method {method}, got {plugin!r}")

    def made(self) -> Any:
        """The plug-in, or a new object of its class. Raises ConfigurationError where the class makes none."""
        if not isinstance(self._plugin, type):
            return self._plugin
        try:
            return self._plugin()
        except Exception as error:
            raise ConfigurationError(
                f"the plug-in {self.name!r} cannot be made: {type(error).__name__}: {error}"
            ) from error

    def is_made_of(self, plugin: Any) -> bool:
        """Whether it is ``plugin`` that it stands for."""
        return self._plugin is plugin

    def for_function(self, signature: inspect.Signature) -> Checks:
        """See ``poet.domains.Domain``. Raises ConfigurationError."""
        plugin = self.made()
        newer = callable(getattr(plugin, "get_plugin_name", None))
        perceived: ContextVar[_Perceived | None] = ContextVar("poet_perceived", default=None)

        def perceive(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            inputs = self._processed(plugin, args, kwargs)
            perceived.set(_Perceived(inputs, SYSTEM_CLOCK.now()))
            return self._completed(signature, args, kwargs, inputs)

        def enforce(result: Any) -> Any:
            told: dict[str, Any] = {"success": True}
            seen = perceived.get()
            if seen is not None:
                told["execution_time"] = SYSTEM_CLOCK.now() - seen.at
            inputs = None if seen is None else seen.inputs
            try:
                if newer:
                    return plugin.validate_output(result, {**told, "perceived_input": inputs})
                return plugin.validate_output({**told, "result": result}, inputs)
            except OutputValidationError as error:
                raise ValueError(str(error)) from error

        return Checks(perceive, enforce)

    def _processed(self, plugin: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        given = plugin.process_inputs(args, dict(kwargs))
        if isinstance(given, Mapping) and {"args", "kwargs"} <= given.keys():
            positional, named = given["args"], given["kwargs"]
            if isinstance(positional, tuple | list) and isinstance(named, Mapping):
                return {**given, "args": tuple(positional), "kwargs": dict(named)}
        raise PerceiveError(
            self.name, f"process_inputs must give {{'args': …, 'kwargs': …}}, got {type(given).__name__}"
        )

    def _completed(
        self, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: Inputs
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The plug-in's arguments, and where it left one out the caller's. Raises PerceiveError."""
        try:
            passed = signature.bind(*args, **kwargs)
        except TypeError:
            return args, kwargs  # the function itself will say what its caller did wrong
        try:
            wanted = signature.bind_partial(*inputs["args"], **inputs["kwargs"])
        except TypeError as error:
            raise PerceiveError(self.name, f"process_inputs gave what the function does not take: {error}") from error
        both = inspect.BoundArguments(signature, {})
        for parameter in signature.parameters.values():
            name, kind = parameter.name, parameter.kind
            before, after = passed.arguments.get(name), wanted.arguments.get(name)
            if kind is parameter.VAR_KEYWORD:
                both.arguments[name] = {**(before or {}), **(after or {})}
            elif name in wanted.arguments:
                both.arguments[name] = after
            elif name in passed.arguments:
                both.arguments[name] = before
        return both.args, both.kwargs


class DomainPlugin(POETPlugin):
    """One of POET's domains, as the original's code asks a plug-in.

    It is told values without their function. So positional arguments are taken for the domain's quantities in the
    original's order; what is passed by name is known by its name.
    """

    def __init__(self, name: str, domain: Domain) -> None:
        """name: by which the domain was found. Raises ConfigurationError."""
        self._name = name
        parameter = inspect.Parameter
        parameters = []
        if isinstance(domain, TableDomain):
            parameters = [parameter(each.name, parameter.POSITIONAL_OR_KEYWORD) for each in domain.quantities]
        rest = [parameter("args", parameter.VAR_POSITIONAL), parameter("kwargs", parameter.VAR_KEYWORD)]
        self._checks = domain.for_function(inspect.Signature([*parameters, *rest]))

    def get_plugin_name(self) -> str:
        """The domain's name."""
        return self._name

    def process_inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Inputs:
        """``{"args": …, "kwargs": …}``. Raises ValueError where the input is rejected."""
        if self._checks.perceive is not None:
            args, kwargs = self._checks.perceive(*args, **kwargs)
        return {"args": args, "kwargs": dict(kwargs)}

    def validate_output(self, result: Any, context: dict[str, Any] | None = None) -> Any:
        """The result to use. Raises ValueError where it is rejected. context: not used."""
        return result if self._checks.enforce is None else self._checks.enforce(result)


class PluginRegistry:
    """Domains by name, as plug-ins; a face over ``poet.domains``, where decorated functions find theirs."""

    def __init__(
        self,
        *,
        register: Callable[[str, Domain], None] = domains.register,
        find: Callable[[str], Domain] = domains.find,
        known: Callable[[], tuple[str, ...]] = domains.known,
    ) -> None:
        """register, find, known: of the registry behind it."""
        self._register, self._find, self._known = register, find, known
        self._made: dict[str, POETPlugin | Any] = {}

    def register_plugin(self, name: str, plugin: Any) -> None:
        """Make a plug-in, or a class of one, known as ``domain=name`` for functions that are decorated from now on.

        To register the same one again does no harm. Raises ConfigurationError where it is none, or the name is taken.
        """
        if name in self._known():
            domain = self._find(name)
            if isinstance(domain, PluginDomain) and domain.is_made_of(plugin):
                return
        self._register(name, PluginDomain(name, plugin))

    def get_plugin(self, name: str) -> POETPlugin | Any | None:
        """The plug-in that was registered, of a class one object of it; of another domain its face; None: none.

        Raises ConfigurationError where a known domain cannot be had.
        """
        if name not in self._made:
            if name not in self._known():
                return None
            domain = self._find(name)
            self._made[name] = domain.made() if isinstance(domain, PluginDomain) else DomainPlugin(name, domain)
        return self._made[name]

    def get_plugin_info(self, name: str) -> dict[str, Any] | None:
        """What a plug-in tells of itself; None where there is none of this name, or it tells nothing."""
        tell = getattr(self.get_plugin(name), "get_plugin_info", None)
        return None if tell is None else dict(tell())

    def list_plugins(self) -> list[str]:
        """The names of all domains that can be found, sorted."""
        return list(self._known())

    def list_domains(self) -> list[str]:
        """The same, by its older name."""
        return self.list_plugins()


PLUGIN_REGISTRY: Final = PluginRegistry()
