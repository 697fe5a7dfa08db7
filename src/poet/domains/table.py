"""A domain told as a table of quantities, each known by the name of its parameter."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter
from types import MappingProxyType, NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, Union, get_args, get_origin

from poet.domains.interface import Checks, Enforce, Perceive
from poet.domains.readers import Read, is_number, shown
from poet.errors import ConfigurationError

if TYPE_CHECKING:
    from inspect import Signature

Rule = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""What holds between several quantities: by name, as read → those to change. Raises ValueError where it is broken.

A quantity is missing where the function has no parameter for it. It is None where its value is not known: None was
passed, or nothing was and the default is no number and no text.
"""

_NAMES_NONE = re.compile(r"\b(None|Optional|Any|object)\b")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A parameter that a domain knows by name.

    name: its name among the quantities, and the first that a parameter may have; aliases: the others.
    read: gives the value that the function gets. Must leave alone what it gave itself.
    accepts: what is accepted, for the message that says why something is not.
    reads_none: whether ``read`` gets None, too. Else None is left alone where the parameter declares it, by its default
        or its annotation, and rejected elsewhere.
    """

    name: str
    read: Read
    accepts: str
    aliases: tuple[str, ...] = ()
    reads_none: bool = False


@dataclass(frozen=True, slots=True)
class TableDomain:
    """Quantities, a rule between them, and a check of results; the functions that have none of them pay nothing.

    Parameters are recognised by their names alone, never by position. Arguments are never added, dropped or reordered,
    and a default stays the function's own: a rule reads it, and changes it not.

    Raises ConfigurationError where two quantities share a name.
    """

    name: str
    quantities: tuple[Quantity, ...] = ()
    rule: Rule | None = None
    enforce: Enforce | None = None

    def __post_init__(self) -> None:
        names = [name for quantity in self.quantities for name in (quantity.name, *quantity.aliases)]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(f"the domain {self.name} has two quantities named {name!r}")

    def for_function(self, signature: Signature) -> Checks:
        """See ``Domain``. Raises ConfigurationError where the rule needs a default that breaks its quantity's range."""
        places = tuple(_places(signature, self.quantities))
        if not places:
            return Checks(None, self.enforce)
        return Checks(_perceive(places, self.rule), self.enforce)


class _Place(NamedTuple):
    """Where a call may bring a quantity."""

    parameter: str
    quantity: Quantity
    at: int | None  # its index among the positional arguments; None: never there
    takes_none: bool
    default: Any = Parameter.empty

    def read(self, value: Any) -> Any:
        quantity = self.quantity
        if value is None and not quantity.reads_none:
            if self.takes_none:
                return None
            raise ValueError(
                f"{self.parameter}: None, which its declaration does not allow; accepted: {quantity.accepts}"
            )
        try:
            return quantity.read(value)
        except ValueError as error:
            # The reader's own error says less, and a traceback of two is read from the wrong end.
            raise ValueError(f"{self.parameter}: {shown(value)} {error}; accepted: {quantity.accepts}") from None

    @property
    def read_default(self) -> Any:
        """The default as a rule sees it; None where it says nothing."""
        default = self.default
        if not (isinstance(default, str | bool) or is_number(default)):
            return None
        try:
            return self.read(default)
        except ValueError as error:
            raise ConfigurationError(f"the default of {error}") from error


def _places(signature: Signature, quantities: tuple[Quantity, ...]) -> list[_Place]:
    """In the table's order: where a function has two parameters for one quantity, a rule reads the earlier name's."""
    parameters = list(signature.parameters.values())
    found = {
        p.name: (index, p) for index, p in enumerate(parameters) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    }
    rest = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
    places = []
    for quantity in quantities:
        for name in (quantity.name, *quantity.aliases):
            index, own = found.get(name, (None, None))
            if own is not None:
                position = None if own.kind is own.KEYWORD_ONLY else index
                takes_none = own.default is None or _allows_none(own.annotation)
                places.append(_Place(name, quantity, position, takes_none, own.default))
            if rest is not None and (own is None or own.kind is own.POSITIONAL_ONLY):
                places.append(_Place(name, quantity, None, _allows_none(rest.annotation)))
    return places


def _perceive(places: tuple[_Place, ...], rule: Rule | None) -> Perceive:
    if rule is None:

        def perceive(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            values = list(args)
            for place in places:
                index = place.at
                if index is not None and index < len(args):
                    values[index] = place.read(args[index])
                elif place.parameter in kwargs:
                    kwargs[place.parameter] = place.read(kwargs[place.parameter])
            return tuple(values), kwargs

        return perceive

    defaults: dict[str, Any] = {}
    for place in reversed(places):  # the earlier name's wins
        if place.default is not Parameter.empty:
            defaults[place.quantity.name] = place.read_default

    def perceive_by_rule(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        values = list(args)
        known = defaults.copy()
        passed: dict[str, _Place] = {}
        for place in places:
            index = place.at
            if index is not None and index < len(args):
                value = values[index] = place.read(args[index])
            elif place.parameter in kwargs:
                value = kwargs[place.parameter] = place.read(kwargs[place.parameter])
            else:
                continue
            name = place.quantity.name
            if name not in passed:
                passed[name], known[name] = place, value
        for name, value in rule(MappingProxyType(known)).items():
            if name in passed:
                index = passed[name].at
                if index is not None and index < len(args):
                    values[index] = value
                else:
                    kwargs[passed[name].parameter] = value
        return tuple(values), kwargs

    return perceive_by_rule


def _allows_none(annotation: Any) -> bool:
    """Whether ``annotation`` says that None may come; one kept as text is searched for the words that say so."""
    if isinstance(annotation, str):
        return _NAMES_NONE.search(annotation) is not None
    if annotation is None or annotation is NoneType or annotation is Any or annotation is object:
        return True
    origin = get_origin(annotation)
    if origin is Annotated:
        return _allows_none(get_args(annotation)[0])
    return origin in (Union, UnionType) and any(_allows_none(each) for each in get_args(annotation))
