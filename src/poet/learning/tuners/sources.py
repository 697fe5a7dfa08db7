"""What another tuner has learned, in the terms of this one's space: a surface through few points, free of scale.

A source is asked for what it *expects* at some places (posterior means, so that its noise is mostly gone), among them
its best and what it would try; a small process goes through these. Only tunables that both sides have count, by name
and by kind; where the source has more, they stay at its best; where the target has more, the source says nothing of
them. Values are compared as values, whatever the ranges; what is far out of the target's range is left out.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from poet.kernels.online import surrogate
from poet.kernels.online.surrogate import Array, Hyper, Process
from poet.learning.axes import Cube
from poet.learning.tuners.candidates import same_option
from poet.learning.tuners.dumps import Scale
from poet.model.tunable import Choice, Space, Tunable, Value
from poet.seams import Tuner

MOST_SOURCES = 8  # of a prior
MOST_NUMBERS = 24_000  # in all points of a prior
MOST_ANCHORS, LEAST_ANCHORS = 140, 4  # places that a source is asked about
TRIED = 0.85  # share of them that it has tried, at most
BROAD = 128  # places anywhere, over which its scores are standardised
LEAST_TRIALS = 8  # that a source must rest on
MOST_TRIALS = 10**9  # that one may claim
FARTHEST = 0.25  # beyond the target's range that a place may lie [1]

_QUIET = -5.0  # logit of the noise's share: posterior means have next to none
_DIGITS = 4  # that are kept


class Source(NamedTuple):
    """One related tuner's surface; frozen."""

    name: str
    helps: float  # probability that it does, in (0, 1)
    columns: tuple[int, ...]  # of the target's cube that it says something of
    x: Array  # (n, c) places there
    y: Array  # (n,) expected scores, standardised over the source's own space [1]
    scale: float  # standard deviation of these scores [utility]
    process: Process

    def mean(self, points: Array) -> Array:
        """What it expects at points of the target's cube, (m, >= d): (m,) [1]."""
        return surrogate.mean(self.process, points[:, self.columns])

    def facts(self) -> list[Any]:
        """For JSON."""
        hyper = self.process.hyper
        lengths = [round(each, _DIGITS) for each in hyper.lengths]
        shape = [lengths, hyper.noise, None if hyper.trend is None else round(hyper.trend, _DIGITS)]
        return [self.name, self.helps, list(self.columns), self.x.tolist(), self.y.tolist(), self.scale, shape]


def source_from(facts: Sequence[Any], levels: Sequence[int]) -> Source:
    """From ``Source.facts``. levels: of the target's cube. Raises ValueError, TypeError or IndexError: it is none."""
    name, helps, columns, x, y, scale, (lengths, noise, bent) = facts
    hyper = Hyper(tuple(map(float, lengths)), float(noise), trend=None if bent is None else float(bent))
    columns = tuple(int(column) for column in columns)
    if any(not 0 <= column < len(levels) for column in columns) or len(lengths) != len(columns):
        raise ValueError(f"a source of other columns: {columns!r}")
    return _made(
        str(name), float(helps), columns, np.array(x, dtype=float), np.array(y, dtype=float), scale, hyper, levels
    )


def _made(
    name: str,
    helps: float,
    columns: tuple[int, ...],
    x: Array,
    y: Array,
    scale: float,
    hyper: Hyper,
    levels: Sequence[int],
) -> Source:
    if x.shape != (len(y), len(columns)) or not (np.isfinite(x).all() and np.isfinite(y).all() and scale > 0):
        raise ValueError("a source's points are cut short, or not finite")
    kinds = [levels[column] for column in columns]
    process = surrogate.fit(x, y, kinds, hyper, learn=False)
    # Away from all that it knows it expects its own mean, not that of what it was asked about, which was good.
    solved = np.asarray(process.inverse @ y)
    process = process._replace(centre=0.0, scale=1.0, solved=solved, inverse=np.empty((0, 0)))  # means need no more
    return Source(name, helps, columns, x, y, float(scale), process)


class Unfit(Exception):
    """A source that says nothing of this space; its text says why."""


def common(theirs: Mapping[str, Tunable], ours: Mapping[str, Tunable]) -> dict[str, str]:
    """Why a tunable of ``ours`` has nothing to learn from ``theirs``, by name; empty text: it has.

    By name and kind; a choice needs an option that both have, a range one value that both hold.
    """
    found = {}
    for name, our in ours.items():
        their = theirs.get(name)
        if their is None:
            found[name] = "it has none"
        elif isinstance(our, Choice) is not isinstance(their, Choice):
            found[name] = f"there it is {_kind(their)}, and here {_kind(our)}"
        elif isinstance(our, Choice) and isinstance(their, Choice):
            shared = [each for each in our.options if any(same_option(each, other) for other in their.options)]
            found[name] = "" if shared else "no option is the same"
        else:
            assert not isinstance(our, Choice)
            assert not isinstance(their, Choice)
            apart = their.high < our.low or their.low > our.high
            found[name] = f"[{their.low:g}, {their.high:g}] does not meet [{our.low:g}, {our.high:g}]" if apart else ""
    return found


def _kind(tunable: Tunable) -> str:
    return "one of several" if isinstance(tunable, Choice) else "a number"


def asked(
    name: str,
    tuner: Tuner,
    theirs: tuple[Space, Mapping[str, Value]],
    ours: tuple[Space, Cube],
    *,
    helps: float,
    anchors: int = MOST_ANCHORS,
) -> Source:
    """What a tuner of ``theirs``, a space and its start, says of ``ours``. It is asked, so let it be a copy.

    anchors: places to ask about, at most. Raises Unfit with the reason.
    """
    best = tuner.recommend()
    if not LEAST_TRIALS <= best.evidence <= MOST_TRIALS:
        raise Unfit(f"it rests on {best.evidence} trials; {LEAST_TRIALS} to {MOST_TRIALS:g} count")
    space, (target, cube) = theirs[0], ours
    why = common(space, target)
    names = [each for each in target if not why[each]]
    if not names:
        raise Unfit("nothing in common: " + "; ".join(f"{each}: {text}" for each, text in why.items()))
    values, broad = _places(name, tuner, theirs, best.values, names, anchors)
    scores, wide = (np.array([tuner.expected(each) for each in those]) for those in (values, broad))
    if not (np.isfinite(scores).all() and np.isfinite(wide).all()):
        raise Unfit("what it expects is not finite")
    centre, scale = float(wide.mean()), float(wide.std())
    if not scale > 1e-9 * max(1.0, abs(centre)):
        raise Unfit("to it, all values score alike")
    columns = tuple(j for j, each in enumerate(target) if each in names)
    home = dict(zip(target, cube.values(cube.home).values(), strict=True))
    x, y = [], []
    for each, score in zip(values, scores.tolist(), strict=True):
        row = cube.row({**home, **{own: each[own] for own in names}})
        if row is not None and all(-FARTHEST <= row[j] <= 1 + FARTHEST or cube.levels[j] for j in columns):
            x.append([row[j] for j in columns])
            y.append((score - centre) / scale)
    if len(x) < LEAST_ANCHORS:
        raise Unfit(f"only {len(x)} of the {len(values)} places it was asked about lie in this space")
    places, heights = np.round(x, _DIGITS), np.round(y, _DIGITS)
    kinds = [cube.levels[j] for j in columns]
    prior = surrogate.usual(kinds, trend=True)._replace(noise=_QUIET)
    known: dict[str, float] = getattr(tuner, "shape", dict)()
    if all(each in known for each in names):
        # Its own kernel through its own expectations is its own posterior mean again.
        lengths = tuple(_stretched(known[each], space[each], target[each]) for each in names)
        hyper = Hyper(lengths, _QUIET, trend=known[""])
    else:
        hyper = surrogate.fit(surrogate.seen(places, heights), levels=kinds, hyper=prior, prior=prior).hyper
    shape = Hyper(
        tuple(round(each, _DIGITS) for each in hyper.lengths),
        _QUIET,
        trend=None if hyper.trend is None else round(hyper.trend, _DIGITS),
    )
    return _made(name, helps, columns, places, heights, float(f"{scale:.6g}"), shape, cube.levels)


def _stretched(length: float, theirs: Tunable, ours: Tunable) -> float:
    """A log length of their range, of ours."""
    moved = Scale.of(theirs).moved(Scale.of(ours))
    return length + math.log(moved[1]) if moved is not None else length


def _places(
    name: str,
    tuner: Tuner,
    theirs: tuple[Space, Mapping[str, Value]],
    best: Mapping[str, Value],
    names: Sequence[str],
    anchors: int,
) -> tuple[list[Mapping[str, Value]], list[Mapping[str, Value]]]:
    """Values to ask about, and others from anywhere; tunables that are not ``names`` are at their best.

    What it has tried comes first, where it tells: it knows most of that.
    """
    space, start = theirs
    cube, rng = Cube(space, start), np.random.default_rng(zlib.crc32(name.encode()))
    tried: list[Mapping[str, Value]] = getattr(tuner, "tried", list)()
    first = [best, start, *tried] if tried else [best, start, *(tuner.suggest() for _ in range(anchors // 3))]
    drawn = surrogate.anywhere(max(BROAD, anchors), cube.levels, rng)
    broad = [cube.values(point.tolist()) for point in drawn]
    rest = {each: value for each, value in best.items() if each not in names}
    asked_ = [{**each, **rest} for each in first[: max(LEAST_ANCHORS, round(TRIED * anchors))]]
    wide: list[Mapping[str, Value]] = [{**each, **rest} for each in broad]
    return [*asked_, *wide[: anchors - len(asked_)]], wide


def anchors_for(sources: int, columns: int) -> int:
    """Places that each of so many sources may be asked about, so that all keep within ``MOST_NUMBERS``."""
    each = MOST_NUMBERS // max(1, sources) // (columns + 1)
    return max(LEAST_ANCHORS, min(MOST_ANCHORS, each))


def clean_odds(helps: float) -> float:
    """A probability that leaves room for doubt. Raises Unfit: it is none."""
    if isinstance(helps, bool) or not isinstance(helps, int | float) or not 0 <= helps <= 1 or math.isnan(helps):
        raise Unfit(f"helps must be a probability in [0, 1], got {helps!r}")
    if not helps:
        raise Unfit("it is known not to help")
    return min(max(float(helps), 0.02), 0.98)
