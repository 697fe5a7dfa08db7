"""What a ``GaussianTuner`` knows, in bytes, and what of it still means something where the space has changed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poet.errors import ConfigurationError
from poet.kernels.online import surrogate
from poet.kernels.online.surrogate import Array, Hyper
from poet.learning.axes import Cube
from poet.learning.checks import count
from poet.learning.tuners.columns import MOST_COLUMNS, Columns
from poet.learning.tuners.dumps import alike, packed, read, rng_of, scales, unpacked
from poet.learning.tuners.prior import prior_from
from poet.model.tunable import Choice, Integer, Space, Value

FARTHEST = 0.5  # beyond the cube that a value may lie, and count [1]

_NO_KIND = (
    ConfigurationError,
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
    IndexError,
)


class Points(NamedTuple):
    """What was tried, oldest first."""

    x: Array  # (n, d) places in the cube; exact in 32 bits
    codes: Array  # (n, f) of contexts; exact in 32 bits
    y: Array  # (n, 1 + constraints) means
    scatter: Array  # (n, 1 + constraints) sums of squared deviations from them
    counts: Array  # (n,) trials
    at: Array  # (n,) number of the trial

    @classmethod
    def none(cls, d: int, outputs: int) -> Points:
        """As none were tried yet."""
        return cls(np.empty((0, d)), np.empty((0, 0)), *(np.empty((0, outputs)),) * 2, *(np.empty(0),) * 2)

    def of(self, order: Any) -> Points:
        """Some of them, in this order."""
        return Points(*(part[order] for part in self))


def written(points: Points, facts: Mapping[str, Any]) -> bytes:
    """For ``Kept.of``."""
    x, codes, *others = points
    return packed("gaus", facts, (x.astype(np.float32), codes.astype(np.float32), *others))


def hyper_facts(hyper: Hyper | None) -> list[Any] | None:
    """Hyper-parameters, for a dump."""
    return None if hyper is None else [list(hyper.lengths), hyper.noise, hyper.memory, hyper.trend]


class Kept:
    """What a dump says."""

    def __init__(self, facts: Mapping[str, Any], parts: Sequence[Array]) -> None:
        self.points = Points(*parts)
        (n, d), f, outputs = parts[0].shape, parts[1].shape[1], parts[2].shape[1]
        shapes = [(n, d), (n, f), (n, outputs), (n, outputs), (n,), (n,)]
        if [part.shape for part in parts] != shapes or max(n, d) > 4096 or f > MOST_COLUMNS or outputs < 1:
            raise ValueError("its points are cut short, or too long")
        if not all(np.isfinite(part).all() for part in (parts[0], *parts[2:])) or not (self.points.counts > 0).all():
            raise ValueError("its points are not finite")
        self.tunables = read(facts["space"])
        self.home = [float(place) for place in facts["home"]]
        if len(self.tunables) != d:
            raise ValueError("its points are of another space")
        self.columns = Columns.load(facts["columns"])
        if len(self.columns) != f and n:
            raise ValueError("its points are of other features")
        self.told, self.fresh = count(facts["told"]), count(facts["fresh"])
        trials, known = facts["fitted"]
        self.fitted = count(trials), count(known)
        self.hypers = [None if told is None else _hyper(told, d + f) for told in facts["hypers"]]
        self.held = np.array([float(place) for place in facts["held"]])
        if len(self.hypers) != outputs or self.held.shape != (d,):
            raise ValueError("its hyper-parameters are of other points")
        self.rng = rng_of(facts["dice"])
        self.prior = prior_from(facts.get("prior"), Cube(self.tunables).levels)  # older states have none

    @classmethod
    def of(cls, state: bytes) -> Kept:
        """From ``written``. Raises ValueError where it is none."""
        try:
            return cls(*unpacked("gaus", state))
        except _NO_KIND as error:
            raise ValueError(f"this is no state of a GaussianTuner ({error}); it was left unread") from error

    def with_outputs(self, outputs: int) -> list[str]:
        """For so many scores and slacks; what got lost, in words."""
        points, before = self.points, self.points.y.shape[1]
        if before < outputs:
            none = np.empty((0, outputs))
            self.points = points.of(slice(0, 0))._replace(y=none, scatter=none)
            self.hypers += [None] * (outputs - before)
            return [f"all {len(points.x)} points, as they tell of {before - 1} constraints and not of {outputs - 1}"]
        self.points = points._replace(y=points.y[:, :outputs], scatter=points.scatter[:, :outputs])
        self.hypers = self.hypers[:outputs]
        return [f"the slacks of {before - outputs} constraints"] if before > outputs else []

    def without_contexts(self) -> list[str]:
        """Where contexts are not looked at any more; what got lost, in words."""
        names, d = self.columns.names, len(self.tunables)
        self.columns = Columns()
        self.points = self.points._replace(codes=np.empty((len(self.points.x), 0)))
        self.hypers = [None if h is None else h._replace(lengths=h.lengths[:d]) for h in self.hypers]
        return [f"contexts: {', '.join(names)}"] if names else []

    def within(self, space: Space, cube: Cube, start: Mapping[str, Value]) -> list[str]:
        """For another space; what got lost, in words. Values are read as what they were."""
        same = list(self.tunables) == list(space) and all(self._means_the_same(name, space) for name in space)
        if same and (not cube.conditional or self.home == short(cube.home).tolist()):
            return []
        old, points = Cube(self.tunables), self.points
        gone = [name for name in self.tunables if name not in space]
        lost = [f"tunable {name!r}, which is gone: its trials count as if it had played no part" for name in gone]
        if self.prior is not None:
            lost.append("what related functions know, as it was told of another space")
            self.prior = None
        rows = [cube.row({**start, **_values(old, point)}) for point in points.x.tolist()]
        keep = [i for i, row in enumerate(rows) if row is not None and _near(row, cube)]
        if len(keep) < len(rows):
            out = len(rows) - len(keep)
            lost.append(f"{out} of {len(rows)} points: an option is gone, or they are far out of bounds now")
        beyond = sum(
            any(not k and not -1e-6 <= x <= 1 + 1e-6 for x, k in zip(rows[i] or (), cube.levels, strict=True))
            for i in keep
        )
        if beyond:
            lost.append(f"{beyond} of {len(rows)} points as values to come back to: they are out of bounds now")
        self.points = points.of(keep)._replace(x=short([rows[i] for i in keep]).reshape(len(keep), len(space)))
        self.hypers = [None if hyper is None else self._hyper_within(hyper, space, cube) for hyper in self.hypers]
        held = cube.row({**start, **_values(old, self.held.tolist())})
        top = np.where(np.array(cube.levels) > 0, np.inf, 1.0)
        self.held = short(cube.home) if held is None else np.clip(short(held), 0.0, top)
        self.fresh = len(keep)
        return lost

    def _means_the_same(self, name: str, space: Space) -> bool:
        """Whether a tunable that both have is as it was, but for its steps and for what a change costs."""
        old, new = self.tunables[name], space[name]
        alike_ = type(old) is type(new) and alike(scales({name: old}), {name: new})
        return alike_ and old.condition == new.condition

    def _hyper_within(self, hyper: Hyper, space: Space, cube: Cube) -> Hyper:
        """With the usual length for each tunable that is new, or another one."""
        lengths, d = dict(zip(self.tunables, hyper.lengths, strict=False)), len(self.tunables)
        usual = surrogate.usual(cube.levels).lengths
        kept = [
            lengths[name] if name in lengths and self._means_the_same(name, space) else usual[j]
            for j, name in enumerate(space)
        ]
        return hyper._replace(lengths=(*kept, *hyper.lengths[d:]))


def _near(row: Sequence[float], cube: Cube) -> bool:
    return all(-FARTHEST <= x <= 1.0 + FARTHEST or k for x, k in zip(row, cube.levels, strict=True))


def _values(cube: Cube, point: Sequence[float]) -> dict[str, Value]:
    """Values at a point that may lie beyond the cube."""
    values: dict[str, Value] = {}
    for (name, tunable), x in zip(cube.tunables.items(), point, strict=True):
        if isinstance(tunable, Choice):
            values[name] = tunable.options[min(max(round(x), 0), len(tunable.options) - 1)]
            continue
        low, high = float(tunable.low), float(tunable.high)
        value = low * math.pow(high / low, x) if tunable.log else low + (high - low) * x
        values[name] = round(value) if isinstance(tunable, Integer) else value
    return values


def _hyper(told: Sequence[Any], width: int) -> Hyper:
    lengths, noise, memory, trend = told
    numbers = [float(each) for each in (*lengths, noise, memory, 0.0 if trend is None else trend)]
    if len(lengths) != width or not all(math.isfinite(each) and abs(each) < 50 for each in numbers):
        raise ValueError(f"expected {width} lengths, and all of them finite, got {told!r}")
    noise, memory, bent = numbers[-3:]
    return Hyper(tuple(numbers[:-3]), noise, memory, None if trend is None else bent)


def short(numbers: Any) -> Array:
    """Rounded to what 32 bits can tell, so that a dump need not tell more."""
    return np.asarray(numbers, dtype=np.float32).astype(np.float64)
