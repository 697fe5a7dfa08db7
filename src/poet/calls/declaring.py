"""What a function's own parameters declare: ``temperature: Annotated[float, poet.Real(0, 1)] = 0.2``."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from poet.errors import ConfigurationError, nearest
from poet.model.execution import LONGEST_TEXT, MOST_FEATURES, UNTOLD, WIDEST_WHOLE, kept
from poet.model.tunable import Choice, Integer, Real, Tunable, Value

OPERATIONAL = ("timeout", "retries", "backoff", "hedge_delay", "hedges")  # tunables that every function has
NOWHERE = sys.maxsize  # place of an argument that comes by keyword only
Body = Callable[..., Any]


class Own(NamedTuple):
    """A tunable that is a parameter of the function itself."""

    name: str
    tunable: Tunable
    default: Value
    place: int  # among the positional arguments; ``NOWHERE``: by keyword only


class Declared(NamedTuple):
    """What a function's signature and ``tunables=`` say together."""

    own: tuple[Own, ...]
    bounds: Mapping[str, Tunable]  # of operational tunables, by annotation


def declared(
    function: Body, tunables: Mapping[str, Tunable], timeout_arg: str | None = None, key_arg: str | None = None
) -> Declared:
    """The tunables that are ``function``'s own parameters, in their order.

    tunables: by name, beside the annotations, which they replace. timeout_arg, key_arg: arguments that POET fills.
    Raises ConfigurationError where one of them cannot be tuned.
    """
    wanted = {name: tunable for name, tunable in tunables.items() if name not in OPERATIONAL}
    if not wanted and not any(getattr(function, name, None) for name in _TELLING):
        return NOTHING
    parameters = inspect.signature(function).parameters
    where = function.__qualname__
    tunable_names = [name for name, p in parameters.items() if p.default is not p.empty and p.kind in _INJECTABLE]
    for name in wanted:
        if name not in parameters:
            raise ConfigurationError(f"no tunable {name!r}: {nearest(name, {*OPERATIONAL, *tunable_names})}")
    own: list[Own] = []
    bounds: dict[str, Tunable] = {}
    for index, (name, parameter) in enumerate(parameters.items()):
        told = _annotated(function, name, parameter.annotation)
        tunable = wanted.get(name, told)
        if tunable is None:
            continue
        if name in OPERATIONAL:
            if name != timeout_arg or name != "timeout":
                raise ConfigurationError(
                    f"the parameter {name!r} of {where} cannot be tuned: every function has a tunable of that name; "
                    "give it another one" + (", or say timeout_arg='timeout'" if name == "timeout" else "")
                )
            bounds[name] = tunable
            continue
        if name in (timeout_arg, key_arg):
            argument = "timeout_arg" if name == timeout_arg else "key_arg"
            raise ConfigurationError(f"{name!r} of {where} is filled by {argument}: it cannot be tuned as well")
        if parameter.kind not in _INJECTABLE:
            how = "behind the slash" if parameter.kind is parameter.POSITIONAL_ONLY else "into a parameter of its own"
            raise ConfigurationError(f"{name!r} of {where} cannot be tuned: it takes no keyword; move it {how}")
        if parameter.default is parameter.empty:
            raise ConfigurationError(
                f"{name!r} of {where} cannot be tuned without a default: the value to begin with; "
                + (nearest(name, tunable_names) if name in wanted and tunable_names else f"write {name}=…")
            )
        place = index if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else NOWHERE
        own.append(Own(name, tunable, _default(name, tunable, parameter.default), place))
    if len(own) > MOST_FEATURES:
        raise ConfigurationError(f"{where} has {len(own)} tunables of its own; at most {MOST_FEATURES} are tuned")
    return Declared(tuple(own), bounds)


NOTHING = Declared((), {})
_TELLING = ("__defaults__", "__kwdefaults__", "__annotations__")  # of a function; one without any declares nothing
_INJECTABLE = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def plain_annotations(function: Body, own: tuple[Own, ...]) -> dict[str, str]:
    """The annotations of these parameters without their bounds: another range makes no other function."""
    found: dict[str, str] = {}
    parameters = inspect.signature(function).parameters
    for name, *_ in own:
        annotation = parameters[name].annotation
        if _annotated(function, name, annotation) is not None:
            bare = _bare(_resolved(function, name, annotation))
            found[name] = bare.__qualname__ if isinstance(bare, type) else str(bare)
    return found


def _default(name: str, tunable: Tunable, default: object) -> Value:
    """The default as a value of the tunable. Raises ConfigurationError."""
    options = tunable.options if isinstance(tunable, Choice) else ()
    for option in options:
        if type(option) not in (bool, int, float, str) or kept(option) in (None, UNTOLD):
            raise ConfigurationError(
                f"{name}: an option must be a plain finite number, True, False or a text of 1 to {LONGEST_TEXT} "
                f"characters, got {option!r}; give it a name, and look it up inside of the function"
            )
    try:
        value = kept(tunable.check(name, default))
    except ConfigurationError as error:
        raise ConfigurationError(f"the default of {error}") from None
    if value is None:
        raise ConfigurationError(f"the default of {name} has more than {WIDEST_WHOLE} bits: no store keeps it")
    return value


def _annotated(function: Body, name: str, annotation: object) -> Tunable | None:
    """The tunable in an annotation. Raises ConfigurationError where there are several, or it is out of place."""
    if annotation is inspect.Parameter.empty:
        return None
    resolved = _resolved(function, name, annotation)
    found = list(_found(resolved))
    if len(found) > 1:
        raise ConfigurationError(f"{name!r} of {function.__qualname__} is declared as {found[0]!r} and as {found[1]!r}")
    if found:
        return found[0]
    if any(_everywhere(resolved)):
        raise ConfigurationError(
            f"{name!r} of {function.__qualname__} cannot be tuned: a tunable is for a parameter that is one number or "
            f"one option, got {annotation!r}"
        )
    return None


def _found(annotation: Any) -> Iterator[Tunable]:
    """The tunables next to the parameter: in ``Annotated``, in either part of a union, behind a name for a type."""
    annotation = _unnamed(annotation)
    if get_origin(annotation) is Annotated:
        yield from (each for each in annotation.__metadata__ if isinstance(each, Real | Integer | Choice))
        yield from _found(annotation.__origin__)
    elif get_origin(annotation) in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _found(each)


def _everywhere(annotation: Any) -> Iterator[Tunable]:
    annotation = _unnamed(annotation)
    yield from _found(annotation)
    for each in get_args(annotation):
        if not isinstance(each, Real | Integer | Choice):
            yield from _everywhere(each)


def _unnamed(annotation: Any) -> Any:
    """The type behind a name that ``type`` has given it."""
    kind = type(annotation)
    return annotation.__value__ if (kind.__module__, kind.__name__) == ("typing", "TypeAliasType") else annotation


def _bare(annotation: Any) -> Any:
    """``annotation`` without what ``Annotated`` adds."""
    annotation = _unnamed(annotation)
    if get_origin(annotation) is Annotated:
        return _bare(annotation.__origin__)
    if get_origin(annotation) in (Union, types.UnionType):
        bare = [_bare(each) for each in get_args(annotation)]
        return Union[tuple(bare)]  # noqa: UP007 - of any number
    return annotation


def _resolved(function: Body, name: str, annotation: object) -> object:
    """``annotation`` as an object; a text that cannot be read says nothing, unless it speaks of a tunable."""
    if not isinstance(annotation, str):
        return annotation
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    around = {} if code is None else dict(zip(code.co_freevars, inner.__closure__ or (), strict=False))
    known: dict[str, Any] = {}
    for each, cell in around.items():
        try:
            known[each] = cell.cell_contents
        except ValueError:  # not set yet
            continue
    try:
        return eval(annotation, getattr(inner, "__globals__", {}), known)  # noqa: S307 - the user's own text, as typing reads it
    except Exception as error:
        if "Annotated" in annotation and any(kind in annotation for kind in ("Real", "Integer", "Choice")):
            raise ConfigurationError(
                f"the annotation of {name!r} of {function.__qualname__} cannot be read, {annotation!r}: {error}; "
                f"say tunables={{{name!r}: …}} instead"
            ) from error
        return inspect.Parameter.empty
