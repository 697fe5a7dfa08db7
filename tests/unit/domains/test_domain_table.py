from __future__ import annotations

import inspect
from decimal import Decimal
from fractions import Fraction
from inspect import Parameter, Signature
from typing import Annotated, Any, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poet.domains import Quantity, TableDomain
from poet.domains.interface import Checks, Perceive
from poet.domains.readers import number
from poet.domains.units import measure
from poet.errors import ConfigurationError

METRES = {"": float, "m": float, "cm": lambda cm: cm / 100}
length = number(0, 20, lambda text: measure(text, METRES))
LEVEL = Quantity("level", length, "0 to 20 m", aliases=("water_level",))
FLOW = Quantity("flow", length, "0 to 20")
RIVER = TableDomain("river", (LEVEL, FLOW))


def of(function: Any, domain: TableDomain = RIVER) -> Perceive:
    perceive = domain.for_function(inspect.signature(function)).perceive
    assert perceive is not None
    return perceive


# names that the domain knows, and others; with what a call brings for each
POOL = ("level", "water_level", "flow", "name", "colour", "x")
VALUES = st.one_of(st.floats(0, 20), st.integers(0, 20), st.integers(0, 2000).map(lambda cm: f"{cm} cm"))


@st.composite
def calls(draw: st.DrawFn) -> tuple[Signature, tuple[Any, ...], dict[str, Any]]:
    """A signature of any shape, and arguments that fit it."""
    names = draw(st.lists(st.sampled_from(POOL), unique=True, max_size=5))
    kinds = sorted(draw(st.sampled_from([0, 1, 3])) for _ in names)
    optional_from = draw(st.integers(0, len(names)))
    parameters, args, kwargs, by_name_only = [], [], {}, False
    for position, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        default = "no level" if position >= optional_from else Parameter.empty
        parameters.append(Parameter(name, list(inspect._ParameterKind)[kind], default=default))
        if default is not Parameter.empty and draw(st.booleans()):
            by_name_only = True
            continue
        if kind == 0 and by_name_only:
            continue
        if kind == 3 or by_name_only or (kind == 1 and draw(st.booleans())):
            by_name_only = True
            kwargs[name] = draw(VALUES)
        else:
            args.append(draw(VALUES))
    if draw(st.booleans()) and len(args) == sum(kind != 3 for kind in kinds):
        at = len(args)
        parameters.insert(at, Parameter("more", Parameter.VAR_POSITIONAL))
        args += draw(st.lists(VALUES, max_size=3))
    if draw(st.booleans()):
        parameters.append(Parameter("rest", Parameter.VAR_KEYWORD))
        for name in draw(st.lists(st.sampled_from(POOL), unique=True)):
            if name not in names:
                kwargs[name] = draw(VALUES)
    return Signature(parameters), tuple(args), dict(draw(st.permutations(list(kwargs.items()))))


@given(calls())
def test_perceiving_is_binding_and_reading_what_is_known_by_name(
    call: tuple[Signature, tuple[Any, ...], dict[str, Any]],
) -> None:
    signature, args, kwargs = call
    perceive = RIVER.for_function(signature).perceive
    bound = signature.bind(*args, **kwargs).arguments
    rest = next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)

    def read(name: str, value: Any) -> Any:
        if rest is not None and name == rest:
            return {key: read(key, each) for key, each in value.items()}
        return length(value) if name in ("level", "water_level", "flow") and name in POOL else value

    if perceive is None:
        assert not {"level", "water_level", "flow"} & set(signature.parameters)
        assert rest is None
        return
    new_args, new_kwargs = perceive(*args, **kwargs)
    assert signature.bind(*new_args, **new_kwargs).arguments == {
        name: read(name, value) for name, value in bound.items()
    }
    assert len(new_args) == len(args)
    assert list(new_kwargs) == list(kwargs)
    assert perceive(*new_args, **new_kwargs) == (new_args, new_kwargs)


def test_a_function_without_a_known_parameter_pays_nothing() -> None:
    def fetch(url: str, *level: float) -> None: ...

    assert RIVER.for_function(inspect.signature(fetch)) == Checks(None, None)


def test_what_is_not_known_by_name_passes_as_the_very_same_object() -> None:
    def store(first: object, level: float, *more: object, key: object, **rest: object) -> None: ...

    marks = [object() for _ in range(4)]
    (first, level, last), named = of(store)(marks[0], "150 cm", marks[1], key=marks[2], other=marks[3])
    assert (first, last, named["key"], named["other"]) == (marks[0], marks[1], marks[2], marks[3])
    assert level == 1.5


def test_a_method_is_called_with_its_object() -> None:
    class Gauge:
        def report(self, water_level: float) -> None: ...

    gauge = Gauge()
    assert of(Gauge.report)(gauge, "3 m") == ((gauge, 3.0), {})


def test_keywords_of_a_function_that_takes_any_are_read_where_they_are_known() -> None:
    def report(**rest: object) -> None: ...

    assert of(report)(level="3 m", mood="3 m") == ((), {"level": 3.0, "mood": "3 m"})


def test_a_keyword_beside_its_positional_namesake_is_read_too() -> None:
    def report(level: float, /, **rest: object) -> None: ...

    assert of(report)("1 m", level="2 m") == ((1.0,), {"level": 2.0})


def test_a_call_that_cannot_be_bound_is_left_for_the_function_to_refuse() -> None:
    def report(level: float) -> None: ...

    assert of(report)() == ((), {})
    assert of(report)(1.0, 2.0, colour="red") == ((1.0, 2.0), {"colour": "red"})
    assert of(report)(1.0, level=2.0) == ((1.0,), {"level": 2.0})


@pytest.mark.parametrize("value", [3, 3.0, Decimal("3.5"), Fraction(7, 2)])
def test_a_number_in_range_stays_the_object_it_is(value: object) -> None:
    def report(level: object) -> None: ...

    ((level,), _) = of(report)(value)
    assert level is value


@pytest.mark.parametrize(
    "value",
    [
        "high",
        "25 m",
        -1,
        21.0,
        float("nan"),
        float("inf"),
        10**400,
        Decimal("NaN"),
        Decimal("sNaN"),
        True,
        [3.0],
        {},
        object(),
        b"3",
        3j,
    ],
)
def test_what_is_no_such_value_is_rejected_with_its_name_and_what_is_accepted(value: object) -> None:
    def report(water_level: object) -> None: ...

    with pytest.raises(ValueError, match=r"^water_level: .*accepted: 0 to 20 m$"):
        of(report)(value)


def test_a_rejection_quotes_no_more_than_a_few_characters() -> None:
    def report(level: object) -> None: ...

    with pytest.raises(ValueError) as caught:
        of(report)("secret " * 1000)
    assert len(str(caught.value)) < 100


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError


def test_a_value_that_cannot_be_shown_is_rejected_all_the_same() -> None:
    def report(level: object) -> None: ...

    for value in (Unprintable(), 10**9999):
        with pytest.raises(ValueError, match="level"):
            of(report)(value)


def test_none_is_left_alone_where_the_parameter_declares_it() -> None:
    def by_default(level: float = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013
    def by_text(level: float | None) -> None: ...
    def by_word(level: Optional[float]) -> None: ...  # noqa: UP045
    def by_any(level: Any) -> None: ...

    for function in (by_default, by_text, by_word, by_any):
        assert of(function)(None) == ((None,), {})
    for annotation in (float | None, Optional[float], Annotated[float | None, "m"], Any, object, None):  # noqa: UP045
        signature = Signature([Parameter("level", Parameter.POSITIONAL_ONLY, annotation=annotation)])
        perceive = RIVER.for_function(signature).perceive
        assert perceive is not None
        assert perceive(None) == ((None,), {})


def test_none_is_rejected_where_the_parameter_does_not_declare_it() -> None:
    def bare(level) -> None: ...  # type: ignore[no-untyped-def]
    def typed(level: float) -> None: ...
    def with_a_default(level: float = 3.0) -> None: ...

    for function in (bare, typed, with_a_default):
        with pytest.raises(ValueError, match="level: None, which its declaration does not allow"):
            of(function)(None)
    for annotation in (float, Annotated[float, "m"], list[None]):
        signature = Signature([Parameter("level", Parameter.KEYWORD_ONLY, annotation=annotation)])
        perceive = RIVER.for_function(signature).perceive
        assert perceive is not None
        with pytest.raises(ValueError, match="level: None"):
            perceive(level=None)


def watched(seen: list[dict[str, Any]], **changes: Any) -> TableDomain:
    """River, with a rule that keeps what it was shown and answers ``changes``."""

    def rule(known: Any) -> dict[str, Any]:
        seen.append(dict(known))
        return changes

    return TableDomain("river", (LEVEL, FLOW), rule=rule)


def test_a_rule_sees_what_was_read_and_the_defaults_of_the_rest() -> None:
    def report(level: object, name: str = "", *, flow: object = "50 cm") -> None: ...

    seen: list[dict[str, Any]] = []
    perceive = of(report, watched(seen))
    perceive("3 m")
    perceive(3, "Rhine", flow=2)
    assert seen == [{"level": 3.0, "flow": 0.5}, {"level": 3, "flow": 2}]


def test_a_rule_sees_none_where_a_value_is_not_known_and_nothing_where_there_is_no_parameter() -> None:
    missing = object()

    def report(level: object = missing, colour: object = None) -> None: ...

    seen: list[dict[str, Any]] = []
    perceive = of(report, watched(seen))
    perceive()
    perceive(None)
    assert seen == [{"level": None}, {"level": None}]


def test_a_rule_changes_what_was_passed_and_never_adds() -> None:
    def report(level: object, *, flow: object = 1) -> None: ...

    perceive = of(report, watched([], level=7, flow=8))
    assert perceive(1) == ((7,), {})
    assert perceive(level=1, flow=2) == ((), {"level": 7, "flow": 8})


def test_of_two_parameters_for_one_quantity_a_rule_reads_the_one_named_earlier_in_the_table() -> None:
    def report(water_level: object = 9, level: object = 8) -> None: ...

    seen: list[dict[str, Any]] = []
    perceive = of(report, watched(seen, level=7))
    assert perceive(1, 2) == ((1, 7), {})
    assert perceive(water_level="1 m") == ((), {"water_level": 7})
    assert perceive() == ((), {})
    assert seen == [{"level": 2}, {"level": 1.0}, {"level": 8}]


def test_a_rule_cannot_change_what_it_is_shown() -> None:
    def rule(known: Any) -> dict[str, Any]:
        known["level"] = 1
        return {}

    def report(level: object) -> None: ...

    with pytest.raises(TypeError):
        of(report, TableDomain("river", (LEVEL,), rule=rule))(2)


def test_a_default_that_a_rule_cannot_use_is_refused_at_decoration() -> None:
    def report(level: object, flow: object = "much") -> None: ...

    with pytest.raises(ConfigurationError, match="the default of flow: 'much'"):
        watched([]).for_function(inspect.signature(report))
    RIVER.for_function(inspect.signature(report))  # without a rule nobody asks


def test_two_quantities_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'level'"):
        TableDomain("river", (LEVEL, Quantity("height", length, "0 to 20 m", aliases=("level",))))


def test_a_fault_of_a_reader_is_not_taken_for_a_rejection() -> None:
    def broken(value: object) -> object:
        raise KeyError(value)

    def report(level: object) -> None: ...

    with pytest.raises(KeyError):
        of(report, TableDomain("river", (Quantity("level", broken, "nothing"),)))(1)
