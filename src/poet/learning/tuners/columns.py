"""Features of calls as columns beside the tunables: inputs that are given, not chosen."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from poet.learning.checks import count, number
from poet.model.execution import Context

MOST_COLUMNS = 8  # features that are made use of: the first that are seen
MOST_CODES = 32  # values of a category that are told apart, the first that are seen; all others are one
_UNIT = 0.29  # of the unit cube that one standard deviation takes: as much as a uniform number has
_FARTHEST = 3.0  # standard deviations
_OTHER = 0.0  # code of a category's values that are not told apart, and of a missing one


class _Number:
    """A feature that is a number: told as standard deviations from its mean so far."""

    kind = "number"

    def __init__(self, seen: int = 0, mean: float = 0.0, squares: float = 0.0) -> None:
        self.seen, self.mean, self.squares = seen, mean, squares

    def learn(self, value: object) -> float:
        code = self.code(value)
        if not math.isnan(code):
            self.seen += 1
            away = code - self.mean
            self.mean += away / self.seen
            self.squares += away * (code - self.mean)
        return code

    @staticmethod
    def code(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return math.nan
        try:
            found = float(value)
        except OverflowError:
            return math.nan
        return found if abs(found) < 1e100 else math.nan

    def place(self, code: float) -> float:
        deviation = math.sqrt(self.squares / self.seen) if self.seen > 1 else 0.0
        if math.isnan(code) or not deviation > 0:
            return 0.5
        return 0.5 + _UNIT * min(max((code - self.mean) / deviation, -_FARTHEST), _FARTHEST)

    def known(self, value: object) -> bool:
        return self.seen > 0 and not math.isnan(self.code(value))

    def dump(self) -> list[Any]:
        return [self.seen, self.mean, self.squares]


class _Category:
    """A feature that is a text or a truth value: one code for each of the first values."""

    kind = "category"

    def __init__(self, values: Sequence[str] = ()) -> None:
        self.codes = {value: float(k + 1) for k, value in enumerate(values)}

    def learn(self, value: object) -> float:
        key = _key(value)
        if key is not None and key not in self.codes and len(self.codes) < MOST_CODES:
            self.codes[key] = float(len(self.codes) + 1)
        return self.code(value)

    def code(self, value: object) -> float:
        return self.codes.get(_key(value) or "", _OTHER)

    @staticmethod
    def place(code: float) -> float:
        return code

    def known(self, value: object) -> bool:
        return _key(value) in self.codes

    def dump(self) -> list[Any]:
        return list(self.codes)


def _key(value: object) -> str | None:
    return None if isinstance(value, float) or value is None else f"{type(value).__name__}:{value}"


class Columns:
    """Contexts as rows of numbers, by what was seen of them so far. Bounded."""

    def __init__(self) -> None:
        self._features: dict[str, _Number | _Category] = {}

    def __len__(self) -> int:
        return len(self._features)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features, in order of their columns."""
        return tuple(self._features)

    @property
    def levels(self) -> tuple[int, ...]:
        """By column: 0: a number; else how many codes there may be."""
        return tuple(0 if isinstance(f, _Number) else MOST_CODES + 1 for f in self._features.values())

    def learn(self, context: Context) -> list[float]:
        """The codes of a context that was met, (columns,); new features and new values get theirs."""
        told = dict(context)
        for name, value in told.items():
            if name not in self._features and len(self._features) < MOST_COLUMNS:
                whole = isinstance(value, int | float) and not isinstance(value, bool)
                self._features[name] = _Number() if whole else _Category()
        return [feature.learn(told.get(name)) for name, feature in self._features.items()]

    def codes(self, context: Context) -> list[float]:
        """The codes of any context; what is missing or unknown has none (nan), or that of all others."""
        told = dict(context)
        return [feature.code(told.get(name)) for name, feature in self._features.items()]

    def known(self, context: Context) -> bool:
        """Whether all features are there, and each category's value was met before."""
        told = dict(context)
        return all(feature.known(told.get(name)) for name, feature in self._features.items())

    def unknown(self) -> list[float]:
        """Codes of a context of which nothing is known."""
        return [feature.code(None) for feature in self._features.values()]

    def places(self, codes: Sequence[float]) -> list[float]:
        """Where these codes lie, beside the unit cube's columns."""
        return [feature.place(code) for feature, code in zip(self._features.values(), codes, strict=False)]

    def parts(
        self, codes: Sequence[float], limits: Sequence[tuple[float, ...] | None]
    ) -> tuple[str | bool | int, ...] | None:
        """The cell of ``model.policy_cells`` that these codes lie in; None: in none, as one of them is unknown."""
        parts: list[str | bool | int] = []
        for code, edges, feature in zip(codes, limits, self._features.values(), strict=True):
            if isinstance(feature, _Category):
                keys = [key for key, each in feature.codes.items() if each == code]
                if not keys:
                    return None
                kind, _, value = keys[0].partition(":")
                parts.append(value == "True" if kind == "bool" else value)
            elif math.isnan(code) or edges is None:
                return None
            else:
                parts.append(bisect_right(edges, code))
        return tuple(parts)

    def dump(self) -> list[Any]:
        """For ``load``; JSON."""
        return [[name, feature.kind, feature.dump()] for name, feature in self._features.items()]

    @classmethod
    def load(cls, state: Sequence[Any]) -> Columns:
        """From ``dump``. Raises ValueError, TypeError or KeyError where it is none."""
        columns = cls()
        for name, kind, facts in state:
            if not isinstance(name, str):
                raise TypeError(f"expected a feature's name, got {name!r}")
            if kind == _Number.kind:
                seen, mean, squares = facts
                if not math.isfinite(mean):
                    raise ValueError(f"expected a finite mean, got {mean!r}")
                columns._features[name] = _Number(count(seen), float(mean), number(squares))
            elif kind == _Category.kind:
                columns._features[name] = _Category([str(value) for value in facts][:MOST_CODES])
            else:
                raise ValueError(f"expected a number or a category, got {kind!r}")
        if len(columns) > MOST_COLUMNS:
            raise ValueError(f"expected at most {MOST_COLUMNS} features, got {len(columns)}")
        return columns
