"""Features of calls, by name, as vectors of bounded length: what they are is learned as they come."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from poet.learning.checks import count, finite
from poet.model.execution import LONGEST_TEXT, MOST_FEATURES, Context
from poet.model.policy import Named, Numeric, Reading

Array = npt.NDArray[np.float64]

MOST_WIDTH = 32  # slots
LONGEST_OWN = 40  # characters of a text that may get a slot of its own
MEMORY = 1000.0  # observations that moments rest on, at most: so they follow
LOOKS = (8, 16, 32, 64)  # observations at which it is decided whether the logarithm is the better scale
SKEWED = 1.0  # skewness from which on it may be
STEPS = 1.1, 0.1  # ratio of scales, and shift of the mean in standard deviations, below which nothing is moved
_LARGEST, _TINY = 1e50, 1e-50  # sizes of numbers that are taken as such; what is smaller has no scale of its own


class Moments:
    """Running moments of one number's values, or of their logarithms; those long ago fade."""

    __slots__ = ("m2", "m3", "mean", "n")

    def __init__(self, n: float = 0.0, mean: float = 0.0, m2: float = 0.0, m3: float = 0.0) -> None:
        self.n, self.mean, self.m2, self.m3 = n, mean, m2, m3

    def add(self, value: float) -> None:
        """Fold in ``value`` (Terriberry 2007)."""
        if self.n >= MEMORY:
            keep = (MEMORY - 1.0) / self.n
            self.n, self.m2, self.m3 = self.n * keep, self.m2 * keep, self.m3 * keep
        before = self.n
        n = self.n = before + 1.0
        delta = value - self.mean
        step = delta / n
        self.mean += step
        self.m3 += delta * step * step * before * (before - 1.0) - 3.0 * step * self.m2
        self.m2 += delta * step * before

    @property
    def deviation(self) -> float:
        """Standard deviation; 0 where all were the same, but for rounding."""
        variance = self.m2 / max(self.n - 1.0, 1.0)
        return math.sqrt(variance) if variance > 1e-24 * self.mean * self.mean else 0.0

    @property
    def skewness(self) -> float:
        """Third standardised moment; 0 where all were the same."""
        return math.sqrt(self.n) * self.m3 / self.m2**1.5 if self.deviation > 0 else 0.0


class _Number:
    """What is known of a numeric feature."""

    __slots__ = ("logs", "plain", "reading", "seen")

    def __init__(self, slot: int) -> None:
        self.plain, self.logs = Moments(), Moments()
        self.seen = 0  # observations
        self.reading = Numeric(slot, False, 0.0, 0.0)

    def add(self, value: float) -> bool:
        """Fold in ``value``; whether it is time to look at how it is read."""
        self.seen += 1
        young = self.seen <= LOOKS[-1]
        if self.reading.log:
            if value > 0:
                self.logs.add(math.log(value))
        else:
            self.plain.add(value)
        if young and not self.reading.log and self.logs.n == self.seen - 1 and value > 0:
            self.logs.add(math.log(value))
        if self.seen == 1:
            self.reading = self.reading._replace(
                centre=value, inverse=1.0 / (abs(value) if abs(value) > _TINY else 1.0)
            )
        if self.seen < 8:
            return True
        return self.seen in LOOKS or self.seen % 128 == 0

    def look(self) -> tuple[float, float] | None:
        """Read it by what is known now; ``(a, b)``: as ``a`` times what it read before, and ``b``; None: as before."""
        old = self.reading
        if self.seen in LOOKS and not old.log and self.logs.n == self.seen:
            skewed = self.plain.skewness
            if skewed > SKEWED and abs(self.logs.skewness) < skewed:
                deviation = self.logs.deviation
                self.reading = Numeric(old.slot, True, self.logs.mean, 1.0 / deviation if deviation > _TINY else 0.0)
                return 0.0, 0.0
        moments = self.logs if old.log else self.plain
        deviation = moments.deviation
        if self.seen < 2 or deviation == 0.0:
            return None
        scale = old.inverse * deviation
        shift = (old.centre - moments.mean) / deviation
        if self.seen >= LOOKS[-1] and 1.0 / STEPS[0] < scale < STEPS[0] and abs(shift) < STEPS[1]:
            return None
        self.reading = old._replace(centre=moments.mean, inverse=1.0 / max(deviation, _TINY))
        return (1.0 / scale, shift) if scale else (0.0, 0.0)

    def dump(self) -> list[Any]:
        moments = [[m.n, m.mean, m.m2, m.m3] for m in (self.plain, self.logs)]
        return [*self.reading, self.seen, *moments]

    @classmethod
    def load(cls, kept: Sequence[Any]) -> _Number:
        slot, log, centre, inverse, seen, plain, logs = kept
        made = cls(count(slot))
        made.reading = Numeric(count(slot), bool(log), finite(centre), finite(inverse))
        made.seen = count(seen)
        made.plain, made.logs = (Moments(*(finite(x) for x in moments)) for moments in (plain, logs))
        return made


class Features:
    """Turns contexts into vectors of at most ``width`` slots, of which the first is always 1.

    Numbers, whole ones and bools are standardised by running moments, by their logarithm where they are positive and
    heavy-tailed, and count for at most three standard deviations. Texts get slots of their own as they come, a third
    of the width at most for one feature; those beyond, and long ones, share up to eight by their checksum: a feature
    with a million values takes no more room than one with a dozen. What is missing counts for 0. What finds no slot is
    left out, and ``notes`` says so.

    A scale that changes changes what a vector means: ``observe`` gives the matrix that brings old vectors up to date.
    """

    def __init__(self, width: int) -> None:
        """width: slots, at least 2."""
        self.width = width
        self._own = max(2, min(12, width // 3))  # texts of one feature with slots of their own
        self._pooled = 8 if width >= 24 else 4 if width >= 12 else 2 if width >= 6 else 0
        self._numbers: dict[str, _Number] = {}
        self._texts: dict[str, dict[str, int]] = {}
        self._full: set[str] = set()  # text features of which some share slots
        self._left: list[str] = []  # features without a slot
        self._pool = 0  # first shared slot; 0: not needed yet
        self.used = 1  # slots
        self.reading = Reading({}, {})
        self._stale = False

    @property
    def names(self) -> int:
        """Features that are made use of."""
        return len(self._numbers) + len(self._texts)

    def observe(self, context: Context) -> Array | None:
        """Learn what features there are and how they lie; the basis change, (used, used), where old vectors change."""
        moved: dict[int, tuple[float, float]] = {}
        for name, value in context[:MOST_FEATURES]:
            if isinstance(value, str):
                self._text(name, value)
            else:
                self._number(name, value, moved)
        if self._stale:
            self.reading = Reading(
                {name: each.reading for name, each in self._numbers.items()},
                {name: Named(dict(slots), name in self._full) for name, slots in self._texts.items()},
                self._pool,
                self._pooled if self._pool else 0,
            )
            self._stale = False
        if not moved:
            return None
        basis = np.eye(self.used)
        for slot, (a, b) in moved.items():
            basis[slot, slot], basis[slot, 0] = a, b
        return basis

    def vector(self, context: Context) -> Array:
        """``context`` as a vector, (used,)."""
        x = np.zeros(self.used)
        x[0] = 1.0
        for slot, value in self.reading.read(context):
            x[slot] += value
        return x

    def _number(self, name: str, value: bool | int | float, moved: dict[int, tuple[float, float]]) -> None:
        if not -_LARGEST < value < _LARGEST:
            return
        known = self._numbers.get(name)
        if known is None:
            slot = self._slot()
            if not slot:
                self._leave(name)
                return
            known = self._numbers[name] = _Number(slot)
        if known.add(float(value)):
            step = known.look()
            if step is not None:
                moved[known.reading.slot] = step
            self._stale = True

    def _text(self, name: str, text: str) -> None:
        slots = self._texts.get(name)
        if slots is None:
            if len(self._texts) >= MOST_FEATURES:
                self._leave(name)
                return
            slots = self._texts[name] = {}
            self._stale = True
        if text in slots:
            return
        slot = self._slot() if len(slots) < self._own and len(text) <= LONGEST_OWN else 0
        if slot:
            slots[text] = slot
            self._stale = True
            return
        if name in self._full:
            return
        self._full.add(name)
        self._stale = True
        if not self._pool and self._pooled and self.used + self._pooled <= self.width:
            self._pool = self.used
            self.used += self._pooled

    def _slot(self) -> int:
        """A slot of its own; 0: there is none, but for those that are to be shared."""
        kept = 0 if self._pool else self._pooled
        if self.used + kept >= self.width:
            return 0
        self.used += 1
        return self.used - 1

    def _leave(self, name: str) -> None:
        if name not in self._left and len(self._left) < MOST_FEATURES:
            self._left.append(name)

    def notes(self) -> Iterator[str]:
        """What is bounded, in words."""
        for name in sorted(self._full):
            own = len(self._texts[name])
            if self._pool:
                yield f"{name}: {own} values have their own estimates, all others share {self._pooled}"
            else:
                yield f"{name}: {own} values have their own estimates, all others count as unknown"
        if self._left:
            yield f"no room for {', '.join(self._left)}: at most {self.width - 1} estimates for each option"

    def dump(self) -> dict[str, Any]:
        """All it knows, as JSON has it."""
        return {
            "width": self.width,
            "used": self.used,
            "pool": [self._pool, self._pooled],
            "numbers": {name: each.dump() for name, each in self._numbers.items()},
            "texts": {name: [slots, name in self._full] for name, slots in self._texts.items()},
            "left": self._left,
        }

    @classmethod
    def load(cls, kept: Mapping[str, Any], width: int) -> Features:
        """What ``dump`` told, in ``width`` slots: what lies beyond them has lost its slot.

        Raises KeyError, TypeError, ValueError where ``kept`` is not of this kind.
        """
        made = cls(width)
        made._pool, pooled = (count(each) for each in kept["pool"])
        used = count(kept["used"])
        if not 1 <= used <= count(kept["width"]) <= MOST_WIDTH or made._pool + pooled > MOST_WIDTH:
            raise ValueError("no features: more slots than there can be")
        if made._pool:
            made._pooled = pooled
            if made._pool + pooled > width:
                made._pool = made._pooled = 0
        made.used = min(used, width)
        for name, each in kept["numbers"].items():
            loaded = _Number.load(each)
            if loaded.reading.slot < width:
                made._numbers[str(name)] = loaded
            else:
                made._leave(str(name))
        for name, (slots, full) in kept["texts"].items():
            placed = {str(text): count(slot) for text, slot in slots.items() if count(slot) < width}
            made._texts[str(name)] = placed
            if full or len(placed) < len(slots):
                made._full.add(str(name))
        slots_used = [e.reading.slot for e in made._numbers.values()]
        slots_used += [slot for texts in made._texts.values() for slot in texts.values()]
        if any(not 0 < slot < made.used for slot in slots_used) or len(slots_used) != len(set(slots_used)):
            raise ValueError("no features: slots that are not there")
        for name in kept["left"]:
            made._leave(str(name)[:LONGEST_TEXT])
        made._stale = True
        made.observe(())
        return made
