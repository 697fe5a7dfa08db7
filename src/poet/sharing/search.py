"""Which of many functions are like one: an index of a few hundred bytes a function that looks at all in milliseconds.

Each function is kept as its packed fingerprint and as a row of sketches. A sketch is the signs of random projections of
its weighted features (Charikar 2002, "Similarity estimation techniques from rounding algorithms", section 3): the share
of bits in which two differ is their angle over pi. A search scores every row by its sketches and its main figures of
behaviour, as the weights say, and compares the best few with care, from their fingerprints.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.model.function import FunctionKey
from poet.model.likeness import MEASURED, Features, Fingerprint, SimilarFunction
from poet.sharing.packing import MOST_EXECUTIONS, packed, unpacked, words_of
from poet.sharing.similarity import FULL, MOST_AGAINST, MOST_FOR, SPREADS, STRANGERS, compare
from poet.sharing.weights import PRIOR, SOURCES, Weights

Array = npt.NDArray[Any]

WORD_BITS, TYPE_BITS = 512, 64  # of the sketches
BUCKETS = 4096  # features are told apart by a digest of so many values, in sketches
NARROW = 4096  # rows whose behaviour is looked at: those that are likeliest by all else
CLOSE = 192  # rows whose words are compared one by one
CAREFUL = 16  # rows that are compared with care, at least; or three for each that is asked for
COMMON = 10.0  # functions that a feature counts as if it had been sought in before there were any
BLOCK = 8192  # rows that are scored in one go, so that what is in between stays in the processor's cache
MAIN = ("level", "p75", "p90", "failures")  # figures of behaviour that every row is scored by
FIRST_ROWS = 64

_ROW = np.dtype(
    [
        ("words", "u8", WORD_BITS // 64),
        ("types", "u8", TYPE_BITS // 64),
        ("meaning", "u8", WORD_BITS // 64),
        ("domain", "u4"),
        ("tunables", "u8"),
        ("numbers", "f4", len(MAIN)),
        ("errors", "f4", len(MAIN)),
    ]
)


class Entry(NamedTuple):
    """What is kept of a function beside its row."""

    function: FunctionKey
    packed: bytes


class Index:
    """All fingerprints that are known. Used by one thread at a time."""

    def __init__(self) -> None:
        self._entries: list[Entry | None] = []
        self._rows: dict[FunctionKey, int] = {}
        self._free: list[int] = []
        self._columns = {name: np.zeros((FIRST_ROWS, *_ROW[name].shape), _ROW[name].base) for name in _ROW.names or ()}
        self._count = np.zeros(1 << 16, np.uint32)  # functions with a feature, by the digest's lower half
        self._sketched = 0  # functions that were known when all sketches were made last
        self._planes: dict[int, Array] = {}
        self._rare: Array | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, function: FunctionKey) -> bool:
        return function in self._rows

    def __iter__(self) -> Iterator[FunctionKey]:
        return iter(tuple(self._rows))

    def get(self, function: FunctionKey) -> Fingerprint | None:
        """Its fingerprint; None: it is not known."""
        row = self._rows.get(function)
        entry = None if row is None else self._entries[row]
        return None if entry is None else unpacked(entry.packed)

    def put(self, function: FunctionKey, data: Fingerprint | bytes) -> None:
        """Keep it, in place of the one before. Raises Poisoned, with nothing changed, where it cannot be."""
        row, fingerprint = self._enter(function, data)
        self._sketch(row, fingerprint)
        if len(self._rows) >= 4 * max(self._sketched, FIRST_ROWS // 4):
            self.sketch_all()

    def put_all(self, found: Iterable[tuple[FunctionKey, Fingerprint]]) -> None:
        """Keep many; quicker than one by one, as sketches are made once. Raises Poisoned at the first that is."""
        rows = [self._enter(function, fingerprint)[0] for function, fingerprint in found]  # packed: few are held whole
        if len(self._rows) >= 4 * max(self._sketched, FIRST_ROWS // 4):
            self.sketch_all()
            return
        for row in rows:
            entry = self._entries[row]
            if entry is not None:
                self._sketch(row, unpacked(entry.packed, trusted=True))

    def _enter(self, function: FunctionKey, data: Fingerprint | bytes) -> tuple[int, Fingerprint]:
        fingerprint = unpacked(data) if isinstance(data, bytes) else data
        told = fingerprint.behaviour
        # Packed anew where more calls are told of than are believed.
        as_it_is = isinstance(data, bytes) and (told is None or told.executions < MOST_EXECUTIONS)
        kept = data if isinstance(data, bytes) and as_it_is else packed(fingerprint)
        self.discard(function)
        row = self._free.pop() if self._free else len(self._entries)
        if row == len(self._entries):
            self._entries.append(None)
        if row >= len(self._columns["domain"]):
            self._grow()
        self._entries[row] = Entry(function, kept)
        self._rows[function] = row
        self._counted(fingerprint, +1)
        return row, fingerprint

    def discard(self, function: FunctionKey) -> None:
        """Forget it; one that is not known is passed over."""
        row = self._rows.pop(function, None)
        if row is None:
            return
        entry, self._entries[row] = self._entries[row], None
        assert entry is not None
        self._counted(unpacked(entry.packed, trusted=True), -1)
        self._free.append(row)

    def rarity(self, feature: int) -> float:
        """How much a feature tells, in (0, 1]: less, the more functions have it."""
        return float(self._rarities()[feature & 0xFFFF])

    def _rarities(self) -> Array:
        """By the lower half of the digest; made anew where functions came or went."""
        if self._rare is None:
            self._rare = self._rare_by(self._count)
        return self._rare

    def _rare_by(self, count: Array) -> Array:
        n = len(self._rows) + COMMON
        rare: Array = np.maximum(0.05, np.log(n / (count.astype(np.float32) + 1)) / math.log(n))
        return rare

    def search(
        self, asked: Fingerprint, top: int = 5, *, weights: Weights = PRIOR, without: FunctionKey | None = None
    ) -> list[SimilarFunction]:
        """The functions that are most like ``asked``, the likeliest to help first. top: how many, >= 1."""
        size = len(self._entries)
        if not size:
            return []
        spare = 1 + len(self._free)
        close, scores = self._close(asked, weights, size, max(CLOSE, 4 * top) + spare)
        names = weights.mean[1]
        table = _cosines(WORD_BITS, STRANGERS["names"], names)
        if asked.words:
            signs = self._signs(asked.words, WORD_BITS)
            sketched = table[_ones(self._columns["words"][close] ^ signs)]
            exact = self._names(asked.words, close.tolist())
            scores = scores - sketched + np.float32(names) * (exact - np.float32(STRANGERS["names"]))
        best = close[_largest(scores, max(CAREFUL, 3 * top) + spare)]
        found = []
        for row in best.tolist():
            entry = self._entries[row]
            if entry is not None and entry.function != without:
                likeness = compare(asked, unpacked(entry.packed, trusted=True), weights, self.rarity)
                found.append(SimilarFunction(entry.function, likeness.helps, likeness.told))
        found.sort(key=lambda each: (-each.helps.value, each.function))
        return found[:top]

    def exhaustive(
        self, asked: Fingerprint, top: int = 5, *, weights: Weights = PRIOR, without: FunctionKey | None = None
    ) -> list[SimilarFunction]:
        """As ``search``, with every function compared with care: what it is measured against."""
        found = []
        for entry in self._entries:
            if entry is not None and entry.function != without:
                likeness = compare(asked, unpacked(entry.packed), weights, self.rarity)
                found.append(SimilarFunction(entry.function, likeness.helps, likeness.told))
        found.sort(key=lambda each: (-each.helps.value, each.function))
        return found[:top]

    @property
    def size(self) -> int:
        """Bytes that it takes, without what Python keeps of its own for texts that are there anyway."""
        import sys

        entries = sum(
            sys.getsizeof(each) + sys.getsizeof(each.packed) + sys.getsizeof(each.function)
            for each in self._entries
            if each is not None
        )
        lists = sys.getsizeof(self._entries) + sys.getsizeof(self._rows) + sys.getsizeof(self._free)
        arrays = sum(column.nbytes for column in self._columns.values()) + self._count.nbytes
        return entries + lists + arrays + sum(plane.nbytes for plane in self._planes.values())

    # --- rows -------------------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        for name, column in self._columns.items():
            grown = np.zeros((max(FIRST_ROWS, len(column) * 5 // 4), *column.shape[1:]), column.dtype)
            grown[: len(column)] = column
            self._columns[name] = grown

    def _counted(self, fingerprint: Fingerprint, by: int) -> None:
        where = list({number & 0xFFFF for number, _ in (*fingerprint.words, *fingerprint.types)})
        self._rare = None
        self._count[where] += np.uint32(1) if by > 0 else np.uint32(0xFFFFFFFF)  # which wraps to minus one

    def sketch_all(self) -> None:
        """Make all sketches anew, with how rare features are now; done by itself as the index grows fourfold."""
        for row, entry in enumerate(self._entries):
            if entry is not None:
                self._sketch(row, unpacked(entry.packed, trusted=True))
        self._sketched = len(self._rows)

    def _sketch(self, row: int, fingerprint: Fingerprint) -> None:
        columns = self._columns
        columns["words"][row] = self._signs(fingerprint.words, WORD_BITS)
        columns["types"][row] = self._signs(fingerprint.types, TYPE_BITS)
        columns["meaning"][row] = _signs_of(fingerprint.meaning)
        columns["domain"][row] = fingerprint.domain
        columns["tunables"][row] = _bloom(fingerprint)
        numbers, errors = _main(fingerprint)
        columns["numbers"][row], columns["errors"][row] = numbers, errors

    def _signs(self, features: Features, bits: int) -> Array:
        if not features:
            return np.zeros(bits // 64, np.uint64)
        planes = self._planes.get(bits)
        if planes is None:
            drawn = np.random.default_rng(bits).integers(0, 2, (BUCKETS, bits), dtype=np.int8)
            planes = self._planes[bits] = (2 * drawn - 1).astype(np.int8)
        whole = np.array(features, np.int64)
        weights = (whole[:, 1] * self._rare_by(self._count[whole[:, 0] & 0xFFFF])).astype(np.float32)
        packed_bits = np.packbits(weights @ planes[whole[:, 0] % BUCKETS] > 0)
        return packed_bits.view(np.uint64)

    # --- scores -----------------------------------------------------------------------------------------------------

    def _close(self, asked: Fingerprint, weights: Weights, size: int, most: int) -> tuple[Array, Array]:
        """The likeliest rows by sketches and figures, free ones among them, and what those add to the log odds."""
        by = dict(zip(("base", *SOURCES), weights.mean, strict=True))
        scores = self._sketched_scores(asked, by, size)
        if asked.behaviour is None:
            close = _largest(scores, most)
            return close, scores[close]
        near = _largest(scores, max(NARROW, most))
        told = _behaviour(asked, self._columns["numbers"][near], self._columns["errors"][near])
        scores = scores[near] + np.float32(by["behaviour"]) * told
        close = _largest(scores, most)
        return near[close], scores[close]

    def _sketched_scores(self, asked: Fingerprint, by: Mapping[str, float], size: int) -> Array:
        """Of every row: what words, types, domain and tunables add to the log odds, by their sketches."""
        scores = np.zeros(size, np.float32)
        columns = self._columns
        words = self._signs(asked.words, WORD_BITS) if asked.words else None
        types = self._signs(asked.types, TYPE_BITS) if asked.types else None
        meaning = _signs_of(asked.meaning) if asked.meaning else None
        words_table = _cosines(WORD_BITS, STRANGERS["names"], by["names"])
        signs_of_meaning = min(WORD_BITS, max(1, len(asked.meaning)))
        meaning_table = _cosines(signs_of_meaning, STRANGERS["meaning"], by["meaning"])
        types_table = _cosines(TYPE_BITS, STRANGERS["types"], by["types"])
        declared = np.float32(by["declared"] / (2 if asked.domain and asked.tunables else 1))
        bloom = np.uint64(_bloom(asked))
        for start in range(0, size, BLOCK):
            block = slice(start, min(start + BLOCK, size))
            score = scores[block]
            if words is not None:
                score += words_table[_ones(columns["words"][block] ^ words)]
            if meaning is not None:
                part = columns["meaning"][block]
                add = meaning_table[np.minimum(_ones(part ^ meaning), signs_of_meaning)]
                score += np.where(part.any(axis=1), add, np.float32(0))
            if types is not None:
                part = columns["types"][block]
                score += np.where(part[:, 0] == 0, np.float32(0), types_table[_ones(part ^ types)])
            if asked.domain:
                domain = columns["domain"][block]
                vote = np.where(domain == asked.domain, np.float32(0.6), np.float32(-0.5))
                score += declared * np.where(domain == 0, np.float32(0), vote)
            if asked.tunables:
                part = columns["tunables"][block, None]
                covered = np.maximum(_ones(part | bloom), 1)
                score += declared * (2 * _ones(part & bloom).astype(np.float32) / covered - 1)
        return scores

    def _names(self, asked: Features, rows: Sequence[int]) -> Array:
        """(n,) cosine of the words of each row with those asked for, exactly; 0 of a free one."""
        rare = self._rarities()
        mine = {number: weight * float(rare[number & 0xFFFF]) for number, weight in asked}
        size = math.sqrt(sum(x * x for x in mine.values()))
        digests, weights, owners = [], [], []
        for place, row in enumerate(rows):
            entry = self._entries[row]
            if entry is not None:
                numbers, heavy = words_of(entry.packed)
                digests.append(numbers)
                weights.append(heavy)
                owners.append((place, len(heavy)))
        if not owners:
            return np.zeros(len(rows), np.float32)
        number = np.frombuffer(b"".join(digests), "<u4")
        weight = np.frombuffer(b"".join(weights), np.uint8) * rare[number & 0xFFFF]
        owner = np.repeat([place for place, _ in owners], [count for _, count in owners])
        order = np.fromiter(sorted(mine), np.uint32, len(mine))
        place_of = np.minimum(np.searchsorted(order, number), len(order) - 1)
        heavy_of = np.fromiter((mine[int(x)] for x in order), np.float64, len(mine))
        theirs = np.where(order[place_of] == number, heavy_of[place_of], 0.0)
        common = np.bincount(owner, weight * theirs, len(rows))
        norm = np.sqrt(np.bincount(owner, weight * weight, len(rows)))
        cosines: Array = (common / np.maximum(norm * size, 1e-9)).astype(np.float32)
        return cosines


def _largest(scores: Array, most: int) -> Array:
    """The places of the ``most`` largest, in no order."""
    if most >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(scores, len(scores) - most)[len(scores) - most :]


def _bloom(fingerprint: Fingerprint) -> int:
    """A bit of 64 for each tunable's name and kind."""
    bits = 0
    for each in fingerprint.tunables:
        bits |= 1 << ((each.name ^ (each.kind * 0x9E3779B1)) % 64)
    return bits


def _signs_of(meaning: bytes) -> Array:
    """Of the dimensions of an embedding, the first ``WORD_BITS``; its axes are as good as random ones."""
    vector = np.frombuffer(meaning, np.int8)[:WORD_BITS]
    bits = np.zeros(WORD_BITS, bool)
    bits[: len(vector)] = vector > 0
    return np.packbits(bits).view(np.uint64)


def _main(fingerprint: Fingerprint) -> tuple[list[float], list[float]]:
    told = fingerprint.behaviour
    if told is None:
        return [math.nan] * len(MAIN), [math.nan] * len(MAIN)
    places = [MEASURED.index(name) for name in MAIN]
    numbers, errors = ([each[k] for k in places] for each in (told.numbers, told.errors))
    return [math.nan if x is None else x for x in numbers], [math.nan if x is None else x for x in errors]


def _behaviour(asked: Fingerprint, numbers: Array, errors: Array) -> Array:
    """The likeness of ``similarity.behaviours_alike`` by the main figures."""
    total = np.zeros(len(numbers), np.float32)
    for k, (x, dx) in enumerate(zip(*_main(asked), strict=True)):
        if math.isnan(x):
            continue
        within, between, news = SPREADS[MAIN[k]]
        noise = errors[:, k] * errors[:, k] + np.float32(dx * dx)
        near, far = noise + np.float32(within**2), noise + np.float32(between**2)
        apart = numbers[:, k] - np.float32(x)
        ratio = np.float32(0.5) * (np.log(far / near) + apart * apart * (1 / far - 1 / near))
        total += np.nan_to_num(np.float32(news) * np.clip(ratio, MOST_AGAINST, MOST_FOR), nan=0.0)
    likeness: Array = np.tanh(total / np.float32(FULL))
    return likeness


def _cosines(bits: int, strangers: float, weight: float) -> Array:
    """Of each number of bits that differ: what the cosine that it stands for adds to the log odds."""
    return (weight * (np.cos(np.pi * np.arange(bits + 1) / bits) - strangers)).astype(np.float32)


_COUNTS = np.array([bin(k).count("1") for k in range(256)], np.uint8)
_EVEN = np.uint64(0x00FF00FF00FF00FF)
_ALL = np.uint64(0x0001000100010001)


def _ones(words: Array) -> Array:
    """(n,) ones in each row of unsigned words: (n, 1) or (n, 8).

    The eight counts of a row, a byte each, are added as one word: a sum along such a short axis takes far longer.
    """
    counted: Array
    if hasattr(np, "bitwise_count"):  # numpy 2
        counted = np.bitwise_count(words)
    else:
        each = _COUNTS[np.ascontiguousarray(words).view(np.uint8)]
        counted = each.reshape(len(words), -1, 8).sum(axis=2, dtype=np.uint8)
    if counted.shape[1] == 1:
        return counted[:, 0]
    together = np.ascontiguousarray(counted).view(np.uint64)[:, 0]
    pairs = (together & _EVEN) + ((together >> np.uint64(8)) & _EVEN)
    total: Array = ((pairs * _ALL) >> np.uint64(48)).astype(np.intp)
    return total


def ranked(found: Sequence[SimilarFunction]) -> list[FunctionKey]:
    """The functions alone, in their order."""
    return [each.function for each in found]
