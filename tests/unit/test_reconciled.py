"""What becomes of parameters that were learned, when the code says something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from houses import House
from poet.app import reconciled
from poet.model.parameters import Origin, ParameterSet, Standing
from poet.model.tunable import Choice, Integer, Real, Value
from poet.options import Options

SPACE = {"k": Integer(1, 64), "model": Choice("small", "large")}
OPERATIONAL = {"timeout": 2.0, "retries": 1, "backoff": 0.1}


def fitted(
    tunables: Mapping[str, Any] | None = None, *, k: Any = 8, model: Any = "small", training: bool = True
) -> Options:
    def ask(k: Any = k, model: Any = model, extra: Any = 0.5) -> None: ...

    return Options(enable_training=training, tunables={**SPACE, **(tunables or {})}).fitted(ask)


def standing(origin: Origin = "learned", pinned: Mapping[str, Value] | None = None, **values: Value) -> Standing:
    live = ParameterSet(values_={**OPERATIONAL, **values}, version=3, origin=origin)
    return Standing(live, 5, pinned=pinned or {})


def test_what_still_means_something_stays() -> None:
    assert reconciled(standing(k=3, model="large"), fitted(), 9.0) is None
    assert reconciled(standing(k=3, model="large", **{"k@region=eu": 5}), fitted(), 9.0) is None
    assert reconciled(standing(k=3, model="large"), fitted(k=10), 9.0) is None  # learned: the default is where to begin


@pytest.mark.parametrize(
    ("live", "options", "changed", "said"),
    [
        (
            {"k": 60, "model": "large", "k@region=eu": 50},
            {"k": Integer(1, 32)},
            {"k": 32, "model": "large", "k@region=eu": 32},
            "brought within the declared bounds",
        ),
        (
            {"k": 3, "model": "huge", "model@region=eu": "huge"},
            {},
            {"k": 3, "model": "small"},
            "model 'huge' is dropped: no option any more; model@region=eu 'huge' is dropped: no option any more",
        ),
        (
            {"k": 3, "model": "large", "gone": 0.5, "gone@region=eu": 0.7},
            {},
            {"k": 3, "model": "large"},
            "gone 0.5 is dropped: no tunable any more; gone@region=eu 0.7 is dropped: no tunable any more",
        ),
        (
            {"k": 3, "model": "large"},
            {"extra": Real(0, 1)},
            {"k": 3, "model": "large", "extra": 0.5},
            "extra is new",
        ),
        (
            {"k": "many", "model": "large"},
            {},
            {"k": 8, "model": "large"},
            "k 'many' is dropped: no number",
        ),
    ],
)
def test_a_changed_space_keeps_what_fits_and_says_what_it_drops(
    live: dict[str, Value], options: dict[str, Any], changed: dict[str, Value], said: str
) -> None:
    draft = reconciled(standing(**live), fitted(options), 9.0)
    assert draft is not None
    assert dict(draft) == {**OPERATIONAL, **changed}
    assert (draft.reason, draft.origin, draft.parent, draft.created) == (said, "learned", 3, 9.0)


def test_who_edits_a_default_before_anything_was_learned_means_it() -> None:
    options = fitted(k=10)
    draft = reconciled(standing("declared", **{**options.declared, "k": 8}), options, 9.0)
    assert draft is not None
    assert (draft["k"], draft.origin, draft.reason) == (10, "declared", "declared in the code")


def test_pins_that_fit_hold_and_others_are_left_out() -> None:
    options = fitted()
    values = {**options.declared, "k": 3, "gone": 1}
    draft = reconciled(standing("declared", pinned={"k": 3, "gone": 1, "model": "huge"}, **values), options, 9.0)
    assert draft is not None
    assert dict(draft) == {**options.declared, "k": 3}


def test_learned_values_leave_with_the_training() -> None:
    options = fitted(training=False)
    draft = reconciled(standing(k=3, model="large"), options, 9.0)
    assert draft is not None
    assert dict(draft) == dict(options.declared)


def test_another_release_takes_up_what_the_one_before_has_learned() -> None:
    house = House()

    def released(**tunables: Any) -> Any:
        again = House(store=house.store, clock=house.clock)

        @again.poet(name="ask", enable_training=False, tunables=tunables)
        def ask(k: int = 8, model: str = "small", extra: float = 0.5) -> tuple[int, str]:
            return k, model

        return ask

    first = released(**SPACE)
    first.poet.pin(k=30, model="large")
    assert first() == (30, "large")
    second = released(k=Integer(1, 20), model=Choice("small", "medium"), extra=Real(0, 1))
    assert second() == (20, "small")
    assert second.poet.parameters["extra"] == 0.5
    assert "model 'large' is dropped: no option any more" in second.poet.parameters.reason
    third = released()
    assert third() == (8, "small")
    assert "k" not in third.poet.parameters
