"""Which features of a call's context say anything of how its first attempt fares, watched in bounded room.

Of each feature the frequent values are kept (texts; Metwally, Agrawal & El Abbadi 2005, "Space-Saving"), or a few cuts
(numbers), which are taken from the first ``FIRST_NUMBERS`` and then stay. Of each such cell the first attempts are
counted by coarse latency bins, and every ``BLOCK`` calls it is tested whether being in the cell says anything, see
``kernels.online.permutation``: the odds of a cell's own counts against those of all others are bet on the next block,
less where calls of a cell come in runs, as then many of them may have met the same luck.
What is rare, or beyond the room that there is, is not told apart; ``words`` says so.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from poet.kernels.online.bins import BINS, bin_of
from poet.learning.checks import count, finite, number
from poet.learning.notes import ANSWER, CENSORED, ERROR, KIND
from poet.model.contexts import Condition, text_of, written
from poet.model.execution import Context, Execution, Outcome

BLOCK = 32  # calls of one scope that are tested together
LEVEL = math.log(1e6)  # evidence that counts [nats]: of one cell by chance at most once in a million blocks
MOST_FEATURES = 8  # that are looked at, the first by name as declared
MOST_VALUES = 24  # of a feature that are kept
MOST_CELLS = 32  # that are watched
LONGEST = 64  # characters of a text that may become part of a name
LEAST_SHARE = 0.01  # of the calls, from which on a value is frequent enough to be watched
LEAST_COUNT = 8  # calls, likewise
FIRST_NUMBERS = 64  # from which the cuts of a number are taken
FEW_NUMBERS = 6  # distinct ones that are all told apart
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.97)  # at which the cuts are made otherwise, to two digits
PAIRS_AFTER = 16  # blocks without a finding, after which pairs of features are watched, too
SPARE = 8  # cells that are left for single values then
FORGET = 1500  # calls of a scope after which all its counts are halved
UNIT = 16  # of a count: so that halving does not lose a single one at once
COARSE = BINS // 2 + 1  # bins that are told apart here
KINDS = 3 * COARSE
_CAUTION = 10.0  # calls that a cell is taken to have fared as all others: its odds are to be bet on
_LEAST = 0.5  # calls that every way to fare is worth, in all together, before any was seen
_MOST_SAID = 2.0  # by a single call [nats]
_MOST_REPEATED = 0.98  # correlation of neighbouring labels
_KEPT_PAIRS = 0.99  # of the pairs that this is judged by, per block
_SHORT = 4  # calls of a scope in a block that are too few to test


class Feature:
    """What is known of one feature."""

    __slots__ = ("counts", "cuts", "first", "lost", "seen")

    def __init__(self) -> None:
        self.first: array[float] = array("d")  # numbers that cuts are to be taken from
        self.cuts: tuple[float, ...] | None = None  # None: texts, or too few numbers so far
        self.counts: dict[str, list[int]] = {}  # by text: calls at most, and by how many that is too many at most
        self.seen = 0  # calls, of late
        self.lost = 0  # values that had to make room

    def conditions(self, name: str, value: object) -> list[str]:
        """Learn of one more value, and tell the cells that it lies in, as far as they may be watched."""
        if isinstance(value, bool | str):
            return [] if self.first or self.cuts is not None else self._text(name, value)
        if not isinstance(value, int | float) or self.counts:
            return []
        try:
            number = float(value)
        except OverflowError:  # a digest
            return []
        if not math.isfinite(number):
            return []
        if self.cuts is None:
            self.first.append(number)
            if len(self.first) < FIRST_NUMBERS:
                return []
            self.cuts, self.first = cuts_of(self.first), array("d")
        return [str(Condition(name, ">=", cut)) for cut in self.cuts if number >= cut]

    def _text(self, name: str, value: object) -> list[str]:
        text = text_of(value)
        if len(text) > LONGEST:
            return []
        self.seen += 1
        known = self.counts.get(text)
        if known is None:
            error = 0
            if len(self.counts) >= MOST_VALUES:
                rarest = min(self.counts, key=lambda each: self.counts[each][0])
                error = self.counts.pop(rarest)[0]
                self.lost += 1
            known = self.counts[text] = [error, error]
        known[0] += 1
        if self.seen >= 4 * FORGET:
            self.seen //= 2
            for each in self.counts.values():
                each[0], each[1] = each[0] // 2, each[1] // 2
        frequent = known[0] - known[1] >= max(LEAST_COUNT, LEAST_SHARE * self.seen)
        return [str(Condition(name, "=", text))] if frequent else []

    def dump(self) -> dict[str, Any]:
        """All of it."""
        return {
            "first": list(self.first),
            "cuts": self.cuts,
            "counts": [[text, *each] for text, each in self.counts.items()],
            "seen": self.seen,
            "lost": self.lost,
        }

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> Feature:
        """The inverse of ``dump``. Raises ValueError, KeyError or TypeError where it is none."""
        feature = cls()
        feature.first = array("d", (finite(each) for each in facts["first"][:FIRST_NUMBERS]))
        cuts = facts["cuts"]
        feature.cuts = None if cuts is None else tuple(finite(each) for each in cuts)
        for text, most, error in facts["counts"][:MOST_VALUES]:
            feature.counts[_text(text)] = [count(most), count(error)]
        feature.seen, feature.lost = count(facts["seen"]), count(facts["lost"])
        return feature


def cuts_of(numbers: Iterable[float]) -> tuple[float, ...]:
    """Where to cut a number: between all values where they are few, else at readable quantiles.

    >>> cuts_of([1, 2, 2, 3]), cuts_of(range(1, 101))
    ((2.0, 3.0), (26.0, 51.0, 76.0, 91.0, 98.0))
    """
    ordered = sorted(float(each) for each in numbers)
    distinct = sorted(set(ordered))
    if len(distinct) <= FEW_NUMBERS:
        return tuple(distinct[1:])
    cuts = {float(f"{ordered[int(share * len(ordered))]:.2g}") for share in QUANTILES}
    return tuple(sorted(cut for cut in cuts if distinct[0] < cut <= distinct[-1]))


class Cell:
    """One cell that is watched, among the calls of a scope."""

    __slots__ = ("alarmed", "both", "counts", "level", "ones", "scope", "seen")

    def __init__(self, scope: str) -> None:
        self.scope = scope  # the cell with values of its own whose calls these are; empty: those of none
        self.counts = array("H", bytes(2 * KINDS))  # [1/UNIT]
        self.level = -math.inf  # evidence, by Shiryaev & Roberts [nats]
        self.alarmed = False  # whether it was ever enough
        self.seen = self.ones = self.both = 0.0  # of pairs of neighbouring calls: all, the second in it, both in it

    @property
    def runs(self) -> float:
        """How many calls in a row say as much as one, since calls of the cell come in runs; 1: they do not."""
        if not 0 < self.ones < self.seen:
            return 1.0
        share = self.ones / self.seen
        repeated = (self.both / self.seen - share * share) / (share * (1.0 - share))
        repeated = min(max(repeated, 0.0), _MOST_REPEATED)
        return (1.0 + repeated) / (1.0 - repeated)

    def followed(self, pairs: int, ones: int, both: int) -> None:
        """Take in the pairs of one more block."""
        self.seen, self.ones, self.both = (
            _KEPT_PAIRS * old + new for old, new in ((self.seen, pairs), (self.ones, ones), (self.both, both))
        )

    @property
    def calls(self) -> float:
        """That it counts."""
        return sum(self.counts) / UNIT


def kind_of(execution: Execution) -> int:
    """How the first attempt fared, in [0, KINDS); -1: it tells nothing."""
    for attempt in execution.attempts[:1]:
        kind = KIND.get(attempt.outcome)
        if kind is not None and 0 <= attempt.seconds < math.inf and attempt.outcome != Outcome.REFUSED:
            return kind * COARSE + bin_of(attempt.seconds) // 2
    return -1


class ContextWatch:
    """The watch of one function. Not thread-safe; one owner."""

    __slots__ = ("_order", "blocks", "cells", "features", "scopes", "waiting", "wholes")

    def __init__(self, order: Sequence[str] = ()) -> None:
        """order: the features as declared; empty: whatever comes, in the order in which it comes."""
        self._order = tuple(order[:MOST_FEATURES])
        self.features: dict[str, Feature] = {name: Feature() for name in self._order}
        self.cells: dict[str, Cell] = {}
        self.wholes: dict[str, array[int]] = {}  # the same counts of all calls of a scope
        self.waiting: list[tuple[str, int, tuple[str, ...]]] = []  # scope, how it fared, and its conditions
        self.scopes: frozenset[str] = frozenset()  # cells with values of their own, within which pairs are looked for
        self.blocks = 0  # tested since something was found last

    # ------------------------------------------------------------ observing

    def observe(self, scope: str, kind: int, context: Context) -> bool:
        """Take in one call. True: a block is full; then ``test`` it."""
        told: list[str] = []
        for name, value in context:
            feature = self.features.get(name)
            if feature is None:
                if self._order or len(self.features) >= MOST_FEATURES:
                    continue
                feature = self.features[name] = Feature()
            told += feature.conditions(name, value)
        if kind >= 0:
            self.waiting.append((scope, kind, tuple(told)))
        return len(self.waiting) >= BLOCK

    def test(self) -> list[str]:
        """Test the calls that wait, count them, and give the cells of which there is enough evidence now."""
        waiting, self.waiting = self.waiting, []
        found: list[str] = []
        before = sum(cell.alarmed for cell in self.cells.values())
        for scope in dict.fromkeys(scope for scope, *_ in waiting):
            calls = [(kind, self._joined(scope, told)) for each, kind, told in waiting if each == scope]
            found += self._tested(scope, calls)
        new = sum(cell.alarmed for cell in self.cells.values()) > before
        self.blocks = 0 if new else self.blocks + 1
        return found

    def _joined(self, scope: str, told: tuple[str, ...]) -> tuple[str, ...]:
        """The cells that a call of a scope lies in, of those that may be watched there."""
        if scope:
            own = set(map(_feature, scope.split(",")))
            return tuple(self._pair(scope, each) for each in told if _feature(each) not in own)
        if self.blocks < PAIRS_AFTER or len(told) < 2:
            return told
        pairs = [
            self._pair(one, other)
            for place, one in enumerate(told)
            for other in told[place + 1 :]
            if _feature(one) != _feature(other)
        ]
        return (*told, *pairs)

    def _pair(self, one: str, other: str) -> str:
        order = list(map(_escaped_name, self.features))
        both = [*one.split(","), other]
        return ",".join(sorted(both, key=lambda each: order.index(_feature(each)) if _feature(each) in order else -1))

    def _tested(self, scope: str, calls: Sequence[tuple[int, tuple[str, ...]]]) -> list[str]:
        import numpy as np

        from poet.kernels.online import permutation

        whole = self.wholes.setdefault(scope, array("H", bytes(2 * KINDS)))
        there = dict.fromkeys(cell for _, cells in calls for cell in cells)
        for text in sorted(there, key=lambda each: each.count(",")):  # single ones first
            room = MOST_CELLS - (SPARE if "," in text and not scope else 0)
            if text not in self.cells and len(self.cells) < room and ("," not in text or scope or self._wide(text)):
                self.cells[text] = Cell(scope)
        watched = [text for text in there if text in self.cells and self.cells[text].scope == scope]
        kinds = np.array([kind for kind, _ in calls])
        found: list[str] = []
        labels = np.array([[text in cells for text in watched] for _, cells in calls]).reshape(len(calls), -1)
        if watched and len(calls) >= _SHORT:
            inside = np.array([self.cells[text].counts for text in watched], float) / UNIT
            outside = np.maximum(np.frombuffer(whole, np.uint16) / UNIT - inside, 0.0)
            usual = inside + outside + _LEAST / KINDS
            usual /= usual.sum(axis=1, keepdims=True)
            chances = [
                (part + _CAUTION * usual) / (part.sum(axis=1, keepdims=True) + _CAUTION) for part in (inside, outside)
            ]
            scores = np.clip(np.log(chances[0][:, kinds] / chances[1][:, kinds]), -_MOST_SAID, _MOST_SAID).T
            scores = scores / [self.cells[text].runs for text in watched]
            for text, gained in zip(watched, permutation.evidence(scores, labels).tolist(), strict=True):
                cell = self.cells[text]
                cell.level = permutation.raised(cell.level, gained)
                if cell.level >= LEVEL:
                    cell.alarmed = True
                if cell.alarmed:
                    found.append(text)
        if watched and len(calls) > 1:
            ones, both = labels[1:].sum(axis=0).tolist(), (labels[1:] & labels[:-1]).sum(axis=0).tolist()
            for text, one, two in zip(watched, ones, both, strict=True):
                self.cells[text].followed(len(calls) - 1, one, two)
        for kind, cells in calls:
            whole[kind] += UNIT
            for text in cells:
                watched_cell = self.cells.get(text)
                if watched_cell is not None and watched_cell.scope == scope:
                    watched_cell.counts[kind] += UNIT
        if sum(whole) >= FORGET * UNIT:
            self._halve(scope)
        return found

    def _wide(self, pair: str) -> bool:
        """Whether both parts of a pair are watched."""
        return all(part in self.cells for part in pair.split(","))

    def _halve(self, scope: str) -> None:
        self.wholes[scope] = array("H", (each >> 1 for each in self.wholes[scope]))
        enough = LEAST_SHARE / 2 * sum(self.wholes[scope])
        for text, cell in list(self.cells.items()):
            if cell.scope != scope:
                continue
            cell.counts = array("H", (each >> 1 for each in cell.counts))
            if sum(cell.counts) < enough:
                del self.cells[text]  # it has become too rare

    # ------------------------------------------------------------ what comes of it

    def counts(self, text: str, *, others: bool = False) -> array[int]:
        """How first attempts in a cell that is watched fared, or those of its scope outside of it [1/UNIT]."""
        cell = self.cells[text]
        if not others:
            return cell.counts
        whole = self.wholes[cell.scope]
        return array("H", (max(0, all_ - some) for all_, some in zip(whole, cell.counts, strict=True)))

    def share(self, text: str) -> float:
        """Of the calls of its scope that are in a cell that is watched."""
        cell = self.cells[text]
        return sum(cell.counts) / max(1, sum(self.wholes.get(cell.scope, ())))

    def divided(self, scopes: Iterable[str]) -> None:
        """From now on these cells have values of their own: what was counted of other mixtures of calls is void."""
        self.scopes = frozenset(scopes)
        self.cells = {}
        self.wholes = {}
        self.waiting = []
        self.blocks = 0

    # ------------------------------------------------------------ keeping

    def dump(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "features": [[name, feature.dump()] for name, feature in self.features.items()],
            "cells": [
                [
                    text,
                    cell.scope,
                    None if cell.level == -math.inf else cell.level,
                    cell.alarmed,
                    [cell.seen, cell.ones, cell.both],
                    _sparse(cell.counts),
                ]
                for text, cell in self.cells.items()
            ],
            "wholes": [[scope, _sparse(counts)] for scope, counts in self.wholes.items()],
            "waiting": [[scope, kind, list(told)] for scope, kind, told in self.waiting],
            "scopes": sorted(self.scopes),
            "blocks": self.blocks,
        }

    def load(self, facts: Mapping[str, Any]) -> None:
        """Take up ``dump``. Raises ValueError, KeyError or TypeError where it is none; half-changed then."""
        self.features = {_text(name): Feature.of(each) for name, each in facts["features"][:MOST_FEATURES]}
        for name in self._order:  # declared since
            self.features.setdefault(name, Feature())
        self.cells = {}
        for text, scope, level, alarmed, pairs, counts in facts["cells"][:MOST_CELLS]:
            cell = self.cells[_text(text)] = Cell(_text(scope))
            cell.level = -math.inf if level is None else finite(level)
            cell.alarmed, cell.counts = alarmed is True, _dense(counts)
            cell.seen, cell.ones, cell.both = map(number, pairs)
        self.wholes = {_text(scope): _dense(counts) for scope, counts in facts["wholes"]}
        self.waiting = [
            (_text(scope), count(kind, KINDS - 1), tuple(map(_text, told)))
            for scope, kind, told in facts["waiting"][:BLOCK]
        ]
        self.scopes = frozenset(map(_text, facts["scopes"]))
        self.blocks = count(facts["blocks"])

    # ------------------------------------------------------------ in words

    def words(self) -> list[str]:
        """One sentence for each feature: what of it is told apart, and what is not."""
        said = []
        for name, feature in self.features.items():
            if feature.cuts is not None:
                cuts = ", ".join(map(written, feature.cuts)) or "nowhere, as it is always the same"
                said.append(f"{name} is cut at {cuts}")
            elif feature.lost:
                watched = sum(1 for text in self.cells if _feature(text) == _escaped_name(name) and "," not in text)
                said.append(
                    f"{name} has more values than the {MOST_VALUES} that are kept: of the frequent ones {watched} "
                    "are told apart, the others are not"
                )
        return said


def table(counts: Sequence[int]) -> tuple[list[float], list[float], list[float]]:
    """Attempts answered, in error and cut off, each by fine bin, from coarse counts [1/UNIT]."""
    rows = []
    for kind in (ANSWER, ERROR, CENSORED):
        row = counts[kind * COARSE : (kind + 1) * COARSE]
        fine = [each / UNIT / 2 for each in row for _ in range(2)]
        fine[BINS - 1] += sum(fine[BINS:])
        rows.append(fine[:BINS])
    return rows[0], rows[1], rows[2]


def _feature(condition: str) -> str:
    """The escaped name of a condition's feature."""
    for place, mark in enumerate(condition):
        if mark in "=<>":
            return condition[:place]
    return condition


def _escaped_name(name: str) -> str:
    return _feature(str(Condition(name, "=", "")))


def _sparse(counts: Sequence[int]) -> list[int]:
    """Places and values that are not 0, in turn."""
    return [number for place, each in enumerate(counts) if each for number in (place, each)]


def _dense(pairs: Sequence[int]) -> array[int]:
    counts = array("H", bytes(2 * KINDS))
    for place, each in zip(pairs[::2], pairs[1::2], strict=True):
        counts[count(place, KINDS - 1)] = count(each, 0xFFFF)
    return counts


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value
