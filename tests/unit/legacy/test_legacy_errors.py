from __future__ import annotations

import pickle
from typing import Any

import pytest

import poet
from houses import House, Script
from poet import errors, legacy

OURS = [
    (errors.ConfigurationError, errors.ConfigurationError("no"), legacy.ConfigurationError),
    (errors.InputRejected, errors.InputRejected("f", "no"), legacy.InputValidationError),
    (errors.InputRejected, errors.InputRejected("f", "no"), legacy.PerceiveError),
    (errors.PerceiveError, errors.PerceiveError("f", "no"), legacy.PerceiveError),
    (errors.PoetTimeout, errors.PoetTimeout("f", 1.0), legacy.TimeoutError),
    (errors.PoetTimeout, errors.PoetTimeout("f", 1.0), legacy.OperateError),
    (errors.CircuitOpen, errors.CircuitOpen("f", "d", 1.0), legacy.OperateError),
    (errors.Overloaded, errors.Overloaded("f", "calls", 1), legacy.OperateError),
    (errors.ResultRejected, errors.ResultRejected("f"), legacy.OutputValidationError),
    (errors.ResultRejected, errors.ResultRejected("f"), legacy.EnforceError),
    (errors.EnforceError, errors.EnforceError("f", "no"), legacy.EnforceError),
]
TOLD: list[tuple[Any, type[Exception], str, str]] = [
    (legacy.POETError("m", "operate", {"a": 1}), legacy.POEError, "operate", "[OPERATE Stage] m | Context: {'a': 1}"),
    (legacy.PerceiveError("m"), legacy.POETError, "perceive", "[PERCEIVE Stage] m"),
    (legacy.OperateError("m", {"a": 1}), legacy.POETError, "operate", "[OPERATE Stage] m | Context: {'a': 1}"),
    (legacy.EnforceError("m"), legacy.POETError, "enforce", "[ENFORCE Stage] m"),
    (
        legacy.InputValidationError("income", "not a number", {"a": 1}),
        legacy.PerceiveError,
        "perceive",
        "[PERCEIVE Stage] Input validation failed for income: not a number | Context: {'a': 1}",
    ),
    (
        legacy.TimeoutError(1.0, 2.5),
        legacy.OperateError,
        "operate",
        "[OPERATE Stage] Function execution timeout: 2.50s > 1.00s",
    ),
    (
        legacy.OutputValidationError("int", "str", "A text."),
        legacy.EnforceError,
        "enforce",
        "[ENFORCE Stage] Output validation failed: expected int, got str. A text.",
    ),
    (
        legacy.ConfigurationError("retries", "below 0"),
        legacy.POETError,
        "configuration",
        "[CONFIGURATION Stage] Configuration error for 'retries': below 0",
    ),
    (legacy.TrainError("m", {"a": 1}), legacy.POETError, "train", "[TRAIN Stage] m | Context: {'a': 1}"),
    (
        legacy.ParameterLearningError("timeout", "no data"),
        legacy.TrainError,
        "train",
        "[TRAIN Stage] Parameter learning failed for 'timeout': no data",
    ),
    (
        legacy.DomainPluginError("hvac", "no such file", {"a": 1}),
        legacy.PerceiveError,
        "perceive",
        "[PERCEIVE Stage] Domain plugin 'hvac' failed: no such file | Context: {'a': 1}",
    ),
    (
        legacy.RetryExhaustedError(4, ValueError("x")),
        legacy.OperateError,
        "operate",
        "[OPERATE Stage] All 4 retry attempts failed. Last error: x",
    ),
]


def catches(name: type[Exception], error: Exception) -> bool:
    """What ``except`` does: it looks at real bases only, unlike isinstance and ``pytest.raises``."""
    try:
        raise error  # noqa: TRY301 - an except clause is what is tried
    except name:
        return True
    except Exception:
        return False


@pytest.mark.parametrize(("kind", "error", "name"), OURS, ids=lambda each: getattr(each, "__name__", ""))
def test_code_that_catches_an_old_name_catches_what_poet_raises(
    kind: type[Exception], error: Exception, name: type[Exception]
) -> None:
    assert type(error) is kind
    for old in (name, legacy.POETError, legacy.POEError):
        assert catches(old, error)


def test_every_error_of_ours_is_caught_by_the_old_root() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) > 15
    assert all(issubclass(kind, legacy.POETError) for kind in kinds)


@pytest.mark.parametrize(
    ("name", "others"),
    [
        (legacy.TimeoutError, [errors.InputRejected, errors.ResultRejected, errors.CircuitOpen]),
        (legacy.InputValidationError, [errors.ResultRejected, errors.PoetTimeout, errors.PerceiveError]),
        (legacy.OutputValidationError, [errors.InputRejected, errors.EnforceError]),
        (legacy.RetryExhaustedError, [errors.PoetTimeout, errors.OperateError]),
        (legacy.TrainError, [errors.StoreError, errors.ConfigurationError]),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_an_old_name_catches_nothing_else(name: type[Exception], others: list[type[Exception]]) -> None:
    assert not any(issubclass(other, name) for other in others)


def test_what_poet_raises_tells_its_stage_and_its_facts_as_a_context() -> None:
    timeout = errors.PoetTimeout("shop.fetch", 2.0)
    assert (timeout.stage, timeout.context["function_name"], timeout.context["limit"]) == ("operate", "shop.fetch", 2.0)
    assert str(timeout) == "shop.fetch: no answer within 2 s"
    for error in (
        errors.ConfigurationError("no"),
        errors.StoreUnavailable("here", "gone"),
        errors.UnknownArgument("a", ("b",)),
    ):
        assert error.stage == ""
        assert "Stage]" not in str(error)
        assert isinstance(error.context, dict)
        twin = pickle.loads(pickle.dumps(error))
        assert (type(twin), twin.args, twin.context) == (type(error), error.args, error.context)


def test_an_old_error_rejects_where_it_is_raised() -> None:
    house = House()

    def refuse(x: int) -> None:
        raise legacy.InputValidationError("x", "too small")

    with pytest.raises(errors.InputRejected, match="Input validation failed for x: too small"):
        legacy.poet(perceive=refuse, agent=house.agent)(lambda x: x)(1)
    script = Script(house.clock, legacy.TimeoutError(1.0, 2.0), 0.1)
    assert legacy.poet(agent=house.agent)(lambda: script())() == 2


def test_real_calls_raise_what_the_old_names_catch() -> None:
    house = House()

    def refuse(x: int) -> None:
        raise ValueError("too small")

    picky = legacy.poet(perceive=refuse, agent=house.agent)(lambda x: x)
    with pytest.raises(legacy.InputValidationError) as caught:
        picky(1)
    assert caught.value.stage == "perceive"
    strict = legacy.poet(enforce=int, retries=0, agent=house.agent)(lambda: "no number")
    with pytest.raises(legacy.OutputValidationError) as rejected:
        strict()
    assert rejected.value.stage == "enforce"
    with pytest.raises(legacy.ConfigurationError):
        legacy.poet(retries=-1)


@pytest.mark.parametrize(("error", "base", "stage", "text"), TOLD, ids=lambda each: type(each).__name__)
def test_what_old_code_makes_itself_prints_and_pickles_as_it_did(
    error: Any, base: type[Exception], stage: str, text: str
) -> None:
    assert catches(base, error)
    assert not isinstance(error, poet.PoetError), "it is not one that POET raises"
    assert (str(error), error.stage) == (text, stage)
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), str(twin), twin.stage, twin.context) == (type(error), text, stage, error.context)


def test_facts_stay_with_the_error() -> None:
    exhausted = legacy.RetryExhaustedError(4, last := ValueError("x"))
    assert (exhausted.attempts, exhausted.last_error) == (4, last)
    plugin = legacy.DomainPluginError("hvac", "gone")
    assert (plugin.domain, plugin.reason, plugin.context) == ("hvac", "gone", {})
    learning = legacy.ParameterLearningError("timeout", "no data")
    assert (learning.parameter, learning.reason) == ("timeout", "no data")


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        ("perceive", legacy.PerceiveError),
        ("operate", legacy.OperateError),
        ("enforce", legacy.EnforceError),
        ("train", legacy.TrainError),
        ("elsewhere", legacy.POETError),
    ],
)
def test_a_wrapped_error_tells_what_it_wraps(stage: str, kind: type[Exception]) -> None:
    facts = {"attempt": 2}
    original = KeyError("x")
    error = legacy.wrap_poe_error("ask", stage, original, facts)
    assert isinstance(error, kind)
    assert error.__cause__ is original
    assert facts == {"attempt": 2}, "what the caller gave stays as it was"
    assert error.context == {
        "attempt": 2,
        "function_name": "ask",
        "original_error_type": "KeyError",
        "original_error_message": "'x'",
    }
    assert str(error).startswith(f"[{stage.upper()} Stage] Error in function 'ask': 'x' | Context: {{'attempt': 2")


def test_a_context_holds_zeros_and_leaves_out_what_is_not_known() -> None:
    assert legacy.create_context("ask", None, 0, 0.0, room=None) == {
        "function_name": "ask",
        "attempt": 0,
        "execution_time": 0.0,
        "room": None,
    }
