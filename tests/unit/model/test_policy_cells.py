from __future__ import annotations

import math

from poet.model.policy import OWN, Tries
from poet.model.policy_cells import Cell, Cells

TRIES = Tries(0.5, ({"k": 3},))
CELLS = Cells(
    (("region", None), ("size", (10.0, 20.0))),
    {("eu", 0): Cell({"k": 9}, TRIES), ("eu", 2): Cell({}, Tries(0.0, ()))},
    Tries(0.25, ({"k": 5},)),
)


def test_a_cell_has_values_and_tries_of_its_own() -> None:
    context = (("size", 9.9), ("region", "eu"), ("other", 1))
    assert CELLS.pick(context, 0.6) == (0, {"k": 9})
    assert CELLS.pick(context, 0.4) == (1, {"k": 3})
    assert CELLS.pick((("size", 20.0), ("region", "eu")), 0.0) == OWN


def test_what_lies_in_no_cell_does_as_all_calls_together() -> None:
    for context in (
        (),
        (("region", "eu"),),
        (("region", "us"), ("size", 5)),
        (("region", "eu"), ("size", 15)),
        (("region", "eu"), ("size", math.nan)),
        (("region", 2.5), ("size", "wide")),
        (("region", "eu"), ("size", True)),
    ):
        assert CELLS.pick(context, 0.2) == (1, {"k": 5})
        assert CELLS.pick(context, 0.3) is OWN


def test_the_same_context_and_number_give_the_same_pick() -> None:
    assert [CELLS.pick((("region", "eu"), ("size", 1)), k / 10) for k in range(10)] == [
        CELLS.pick((("size", 1), ("region", "eu")), k / 10) for k in range(10)
    ]
