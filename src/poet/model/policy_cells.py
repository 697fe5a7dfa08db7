"""A policy with cells: calls of different contexts may use different values. Standard library only, immutable."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import NamedTuple

from poet.model.execution import Context
from poet.model.policy import NOTHING, Pick, Tries
from poet.model.tunable import Value

Part = int | str | bool
"""A cell's side: a category's value, or which of the ranges a number lies in, from 0."""


class Cell(NamedTuple):
    """What calls of one kind use."""

    own: Mapping[str, Value]  # where they try nothing; that differ from their version's
    tries: Tries


class Cells(NamedTuple):
    """By context: each cell has values of its own and tries of its own; what lies in none does as all calls together.

    >>> from poet.model.policy import Tries
    >>> cell = Cell({"k": 9}, Tries(0.5, ({"k": 3},)))
    >>> cells = Cells((("size", (10.0,)),), {(1,): cell}, Tries(0.0, ()))
    >>> cells.pick((("size", 12.5),), 0.7), cells.pick((("size", 3),), 0.2).draw
    (Pick(draw=0, values={'k': 9}), 0)
    """

    features: tuple[tuple[str, tuple[float, ...] | None], ...]  # name; limits between a number's ranges; None: category
    cells: Mapping[tuple[Part, ...], Cell]
    parent: Tries
    loss: float = 0.0  # what a call that tries something is believed to lose, on average [score]

    def with_share(self, share: float) -> Cells:
        """The same, with another share of calls that try something."""
        cells = {key: Cell(cell.own, cell.tries.with_share(share)) for key, cell in self.cells.items()}
        return self._replace(cells=cells, parent=self.parent.with_share(share))

    def pick(self, context: Context, uniform: float) -> Pick:
        """The values for a call."""
        cell = self.cells.get(self.key(context))  # type: ignore[arg-type]  # a key with None is in no cell
        if cell is None:
            return self.parent.pick(context, uniform)
        pick = cell.tries.pick(context, uniform)
        if pick.draw:
            return pick
        return Pick(0, cell.own) if cell.own else Pick(0, NOTHING)

    def key(self, context: Context) -> tuple[Part | None, ...]:
        """In which cell it lies; None stands for a feature that is missing or of another kind."""
        told = dict(context)
        return tuple(_part(told.get(name), limits) for name, limits in self.features)


def _part(value: object, limits: tuple[float, ...] | None) -> Part | None:
    if limits is None:
        return value if isinstance(value, bool | int | str) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return bisect_right(limits, value)
