"""Which functions are alike: families of library functions, planted families, what outcomes teach, a large registry.

    python -m benchmarks.similar [functions in the registry] [seeds]

hit@1: the share of functions whose likeliest helper, among the others of the set, is one of their own family.
"""

from __future__ import annotations

import math
import random
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import families
from benchmarks.table import Row, show
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.model.likeness import MEASURED, Behaviour, Fingerprint
from poet.seams import FunctionRecord
from poet.sharing import embedding, fingerprint, keeping, packing
from poet.sharing.behaviour import behaviour
from poet.sharing.intelligence_registry import IntelligenceRegistry
from poet.sharing.search import Index, ranked
from poet.sharing.similarity import SPREADS, compare
from poet.sharing.stems import digest
from poet.sharing.weights import PRIOR, Weights, helps, updated
from poet.stores.sqlite import SqliteStore

HIT, HIT_EMBEDDED, RECALL = 0.65, 0.9, 0.95
SEARCH, BYTES = 20.0, 2048  # [ms], [B]
DRAWS = 2000  # bootstrap of families
SIX = 6  # functions of a family in the large registry
Score = Callable[[str, str], float]


def run(functions: int = 100_000, seeds: int = 3) -> Iterator[Row]:
    yield from library()
    yield from planted(seeds)
    yield from taught(seeds)
    yield from large(functions)
    yield from kept()


# --- functions of libraries ------------------------------------------------------------------------------------------


def hits(names: Sequence[str], score: Score) -> dict[str, bool]:
    best = {a: max((b for b in names if b != a), key=lambda b, a=a: score(a, b)) for a in names}  # type: ignore[misc]
    return {a: families.FAMILY[a] == families.FAMILY[b] for a, b in best.items()}


def _interval(hit: Mapping[str, bool]) -> str:
    """The share and its 90 % interval, families drawn again."""
    by: dict[str, list[bool]] = {}
    for name, one in hit.items():
        by.setdefault(families.FAMILY[name], []).append(one)
    dice, groups = random.Random(1), list(by.values())
    draws = sorted(
        statistics.fmean(x for group in dice.choices(groups, k=len(groups)) for x in group) for _ in range(DRAWS)
    )
    return f"{_rate(hit):.2f} [{draws[DRAWS // 20]:.2f}, {draws[-DRAWS // 20]:.2f}]"


def _rate(hit: Mapping[str, bool]) -> float:
    return statistics.fmean(hit.values())


def _scored(names: Sequence[str], prints: Mapping[str, Fingerprint], only: Sequence[str] = ()) -> Score:
    """By what an index of these functions would say; only: sources that are asked."""
    index = Index()
    for k, name in enumerate(names):
        index.put(FunctionKey("", name, f"{k:08x}"), prints[name])
    kept: dict[frozenset[str], float] = {}
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            told = compare(prints[a], prints[b], PRIOR, index.rarity)
            kept[frozenset((a, b))] = (
                sum(each.pull for each in told.told if each.source in only) if only else told.helps.value
            )
    return lambda a, b: kept[frozenset((a, b))]


def _letters(texts: Sequence[str]) -> Any:
    """(n, runs) of each text its runs of 3 to 5 letters within words, by TF-IDF, of length one."""
    counts = []
    for text in texts:
        words = re.sub(r"\s+", " ", text.lower()).split()
        counts.append(Counter(f" {w} "[i : i + n] for w in words for n in (3, 4, 5) for i in range(len(w) + 3 - n)))
    seen = Counter(run for count in counts for run in count)
    place = {each: k for k, each in enumerate(seen)}
    rows = np.zeros((len(texts), len(place)))
    for row, count in zip(rows, counts, strict=True):
        for each, n in count.items():
            row[place[each]] = (1 + math.log(n)) * (math.log((1 + len(texts)) / (1 + seen[each])) + 1)
        row /= max(float(np.linalg.norm(row)), 1e-9)
    return rows


def tfidf(names: Sequence[str]) -> Score:
    """0.7 times the cosine of all text by runs of 3 to 5 letters with TF-IDF, and 0.3 times that of parameters."""

    def cosines(texts: list[str]) -> Any:
        rows = _letters(texts)
        return rows @ rows.T

    whole = cosines([families.signature(name) for name in names])
    types = cosines([families.parameters(name) for name in names])
    at = {name: k for k, name in enumerate(names)}
    return lambda a, b: 0.7 * float(whole[at[a], at[b]]) + 0.3 * float(types[at[a], at[b]])


def library() -> Iterator[Row]:
    calls = families.measured()
    shown, hidden = (
        {
            name: fingerprint.of_callable(families.found(name), name if told else "f")._replace(
                behaviour=behaviour(calls.get(name, []))
            )
            for name in families.NAMES
        }
        for told in (True, False)
    )
    some = sum(each.behaviour is not None for each in shown.values())
    reported = hits(families.REPORTED, _scored(families.REPORTED, shown))
    rate = _rate(reported)
    yield Row("12 families of 4 library functions: hit@1, default", f"≥ {HIT}", _interval(reported), rate >= HIT)
    for what, prints, only in (
        ("names and docstrings alone", shown, ("names",)),
        (f"measured behaviour alone ({some} of {len(families.NAMES)} were measured)", shown, ("behaviour",)),
        ("default, names hidden", hidden, ()),
    ):
        yield Row(f"… {what}", "", _interval(hits(families.REPORTED, _scored(families.REPORTED, prints, only))))
    yield Row(
        "… letters' TF-IDF of all text, and types", "", _interval(hits(families.REPORTED, tfidf(families.REPORTED)))
    )
    yield Row("… of the 12 families that weights were fitted with", "", _of(families.TUNED, shown))
    yield Row("… of all 24 families together", "", _of(families.NAMES, shown))
    yield Row("… letters' TF-IDF of all 24", "", _interval(hits(families.NAMES, tfidf(families.NAMES))))
    yield from _namesakes()
    yield from _embedded(shown)
    yield from _told_rightly(shown)


def _namesakes() -> Iterator[Row]:
    """Functions of one library, each to be found in another one that has it by the same name, which is hidden."""
    pairs = families.namesakes()
    index = Index()
    prints = {}
    for name in (each for pair in pairs for each in pair):
        function = families.found(name)
        prints[name] = fingerprint.of_callable(function, "f")
        hidden = re.sub(rf"\b{re.escape(name.rpartition('.')[2])}\b", " ", fingerprint.doc_of(function))
        prints[name] = fingerprint.of_words("f", (), "", hidden)
        index.put(FunctionKey("", name, ""), prints[name])
    whole = dict(zip(prints, range(len(prints)), strict=True))
    others = [other for _, other in pairs]

    def rate(score: Score) -> float:
        return statistics.fmean(max(others, key=lambda b, a=a: score(a, b)) == true for a, true in pairs)  # type: ignore[misc]

    ours = rate(lambda a, b: compare(prints[a], prints[b], PRIOR, index.rarity).helps.value)
    rows = _letters(
        [re.sub(rf"\b{name.rpartition('.')[2]}\b", " ", fingerprint.doc_of(families.found(name))) for name in whole]
    )
    theirs = rate(lambda a, b: float(rows[whole[a]] @ rows[whole[b]]))
    yield Row(
        f"{len(pairs)} functions that two libraries have by one name: hit@1 by docstrings alone, the name taken out;"
        " letters' TF-IDF",
        "",
        f"{ours:.2f}; {theirs:.2f}",
    )


def _of(names: Sequence[str], prints: Mapping[str, Fingerprint]) -> str:
    return _interval(hits(names, _scored(names, prints)))


def _embedded(shown: Mapping[str, Fingerprint]) -> Iterator[Row]:
    if not embedding.available():
        yield Row("… with the sentence embedding", f"≥ {HIT_EMBEDDED}", "its packages are not installed here")
        return
    start = time.perf_counter()
    prints = {
        name: shown[name]._replace(
            meaning=embedding.meaning(embedding.text_of(name, fingerprint.doc_of(families.found(name))))
        )
        for name in families.NAMES
    }
    each = 1e3 * (time.perf_counter() - start) / len(prints)
    hit = hits(families.REPORTED, _scored(families.REPORTED, prints))
    yield Row("… with the sentence embedding", f"≥ {HIT_EMBEDDED}", _interval(hit), _rate(hit) >= HIT_EMBEDDED)
    alone = hits(families.REPORTED, _scored(families.REPORTED, prints, ("meaning",)))
    yield Row("… the embedding alone", "", _interval(alone))
    yield Row("… of all 24 families together, with the embedding", "", _of(families.NAMES, prints))
    yield Row("… time to embed one function, the model loaded", "", f"{each:.0f} ms")


def _told_rightly(prints: Mapping[str, Fingerprint]) -> Iterator[Row]:
    """Whether what is told of the reported pairs happens as often as it is told."""
    names = families.REPORTED
    score = _scored(names, prints)
    pairs = [
        (score(a, b), families.FAMILY[a] == families.FAMILY[b]) for i, a in enumerate(names) for b in names[i + 1 :]
    ]
    for low, high in ((0.0, 0.2), (0.2, 0.8), (0.8, 1.0)):
        those = [(p, y) for p, y in pairs if low <= p < high or (p == high == 1.0)]
        told, true = (statistics.fmean(x[k] for x in those) for k in (0, 1))
        yield Row(
            f"… {len(those)} pairs told in [{low}, {high}): told on average, and true", "", f"{told:.2f}, {true:.2f}"
        )


# --- planted families ------------------------------------------------------------------------------------------------


def _planted(dice: random.Random, family: int, calls: int) -> list[Execution]:
    """Calls of a function of one of 16 families: duration, tail, failures and their kinds differ between families."""
    own = random.Random(family)
    level, spread, tail = own.uniform(-6, 1), own.uniform(0.2, 0.9), own.uniform(0.0, 0.08)
    failing, cut, kind = own.uniform(0, 0.12), own.random() < 0.4, own.choice(("OSError", "ValueError", "KeyError"))
    level, failing = level + dice.gauss(0, 0.4), min(0.4, failing * math.exp(dice.gauss(0, 0.3)))
    limit = math.exp(level + 2.5 * spread)
    made = []
    for k in range(calls):
        seconds = math.exp(dice.gauss(level, spread) + (dice.expovariate(0.7) if dice.random() < tail else 0.0))
        outcome, error = Outcome.SUCCESS, ""
        if dice.random() < failing:
            outcome, error = Outcome.ERROR, kind
        if cut and seconds > limit:
            seconds, outcome, error = limit, Outcome.TIMEOUT, "PoetTimeout"
        made.append(Execution("w", k, 1.7e9 + 30 * k, seconds, outcome, 1, (Attempt(outcome, seconds),), error))
    return made


def planted(seeds: int) -> Iterator[Row]:
    """64 functions of 16 families whose names share nothing: behaviour alone."""
    for calls in (20, 100, 300, 1000):
        rates = []
        for seed in range(seeds):
            dice = random.Random(f"planted {calls} {seed}")
            prints = [Fingerprint(behaviour=behaviour(_planted(dice, k % 16, calls))) for k in range(64)]
            good = 0
            for i, a in enumerate(prints):
                told = [-1.0 if i == j else compare(a, b, PRIOR).helps.value for j, b in enumerate(prints)]
                good += told.index(max(told)) % 16 == i % 16
            rates.append(good / 64)
        bar = 0.5 if calls == 1000 else None
        rate = statistics.fmean(rates)
        yield Row(
            f"16 planted families of 4, names that say nothing: hit@1 from {calls} calls each (chance 0.05)",
            f"≥ {bar}" if bar else "",
            f"{rate:.2f}",
            rate >= bar if bar else None,
        )


# --- what outcomes teach ---------------------------------------------------------------------------------------------


def _world(dice: random.Random, truth: Sequence[float]) -> tuple[tuple[float, ...], float]:
    """One transfer between two functions: likenesses, and whether it helped."""
    likeness = (
        dice.uniform(-0.1, 0.5),
        0.0,
        dice.uniform(-0.25, 0.5),
        dice.choice((0.0, 0.6, -0.5)),
        dice.uniform(-1, 1),
    )
    odds = truth[0] + sum(w * x for w, x in zip(truth[1:], likeness, strict=True))
    return likeness, float(dice.random() < 1 / (1 + math.exp(-odds)))


def _loss(weights: Weights, truth: Sequence[float], seed: int) -> float:
    """Mean log loss over 2000 further transfers [nat]."""
    dice, total = random.Random(f"held out {seed}"), 0.0
    for _ in range(2000):
        likeness, helped = _world(dice, truth)
        p = helps(weights, likeness, (0.0,) * 5).value
        total -= math.log(max(1e-9, p if helped else 1 - p))
    return total / 2000


def taught(seeds: int) -> Iterator[Row]:
    """Weights learn where names mislead, and stay where the prior is right."""
    worlds = {
        "names say nothing, behaviour all": (0.0, 0.0, 0.0, 0.0, 0.0, 3.0),
        "the prior is right": PRIOR.mean,
    }
    for what, truth in worlds.items():
        before, after, best = [], [], []
        for seed in range(seeds):
            dice, weights = random.Random(f"{what} {seed}"), PRIOR
            for _ in range(200):
                weights = updated(weights, *_world(dice, truth))
            before.append(_loss(PRIOR, truth, seed))
            after.append(_loss(weights, truth, seed))
            best.append(_loss(Weights(tuple(truth), tuple((0.0,) * 6 for _ in range(6))), truth, seed))
        a, b, c = (statistics.fmean(x) for x in (before, after, best))
        closed = (a - b) / (a - c) if a - c > 0.02 else None
        holds = closed >= 0.8 if closed is not None else b <= c + 0.02
        yield Row(
            f"200 outcomes, {what}: log loss before, after, with the true weights",
            "80 % of the gap closed" if closed is not None else "≤ 0.02 above the true ones",
            f"{a:.3f}, {b:.3f}, {c:.3f}",
            holds,
        )


# --- a large registry ------------------------------------------------------------------------------------------------


def _made(dice: random.Random, number: int, topic: Sequence[int], vocabulary: Sequence[int]) -> Fingerprint:
    """One of a family of six: most of its words are the family's."""
    words: dict[int, int] = {}
    for _ in range(48):
        word = dice.choice(topic) if dice.random() < 0.6 else vocabulary[int(len(vocabulary) * dice.random() ** 3)]
        words[word] = dice.randrange(60, 256)
    types = {digest(f"t{dice.randrange(60)}"): 200 for _ in range(4)}
    own = random.Random(number // SIX)
    numbers: list[float | None] = []
    for name in MEASURED:
        within, between, _ = SPREADS[name]
        x = own.gauss(0, between) + dice.gauss(0, within / 2)
        low, high = packing.BOUNDS.get(name, packing.USUAL_BOUNDS)
        numbers.append(min(high, max(low, x)))
    told = Behaviour(500, tuple(numbers), tuple(SPREADS[name][0] / 4 for name in MEASURED), ((7, 0.5), (9, 0.25)))
    return Fingerprint(tuple(sorted(words.items())), tuple(sorted(types.items())), behaviour=told)


def _filled(functions: int) -> Index:
    dice = random.Random(5)
    vocabulary = [digest(f"word {k}") for k in range(5000)]
    index, topic = Index(), vocabulary[:12]
    for k in range(functions):
        if k % SIX == 0:
            topic = dice.sample(vocabulary, 12)
        index.put(
            FunctionKey(f"package{k % 97}.module", f"function_{k}", f"{k:08x}"), _made(dice, k, topic, vocabulary)
        )
    return index


def large(functions: int) -> Iterator[Row]:
    small = _filled(min(functions, 5000))
    asked = random.Random(3).sample(list(small), 20)
    found = [set(ranked(small.search(small.get(key) or Fingerprint(), without=key))) for key in asked]
    all_of = [set(ranked(small.exhaustive(small.get(key) or Fingerprint(), without=key))) for key in asked]
    recall = statistics.fmean(len(a & b) / len(b) for a, b in zip(found, all_of, strict=True))
    yield Row(
        f"the five best of {len(small)}, found by the index",
        f"≥ {100 * RECALL:.0f}%",
        f"{100 * recall:.1f}%",
        recall >= RECALL,
    )
    before = _resident()
    start = time.perf_counter()
    index = _filled(functions)
    built = 1e6 * (time.perf_counter() - start) / functions
    grown = (_resident() - before) / functions
    keys = random.Random(4).sample(list(index), 30)
    prints = [index.get(key) or Fingerprint() for key in keys]
    rounds = []
    for _ in range(3):
        spans, busy, own = [], time.process_time(), 0
        for key, each in zip(keys, prints, strict=True):
            start = time.perf_counter()
            best = index.search(each, without=key)
            spans.append(1e3 * (time.perf_counter() - start))
            own += sum(_family(one.function) == _family(key) for one in best)
        busy = 1e3 * (time.process_time() - busy) / len(keys)
        rounds.append((statistics.median(spans), max(spans), busy, own / (5 * len(keys))))
    median, slowest, _, relatives = min(rounds)
    busy = min(each for _, _, each, _ in rounds)
    beside, dense = _beside(functions)
    yield Row(
        f"{functions} functions: a search for the best five, processor time, mean of 30, best of three rounds",
        f"≤ {SEARCH:.0f} ms",
        f"{busy:.1f} ms",
        busy <= SEARCH,
    )
    yield Row("… by the clock, on a machine that others use: median, slowest", "", f"{median:.1f} ms, {slowest:.1f} ms")
    yield Row(
        "… beside one product of as many float32 vectors of 384 dimensions with one: processor time, clock",
        "",
        f"{busy / dense:.2f} ×, {median / beside:.2f} ×",
    )
    yield Row("… of the five found, of the function's own family of six", "", f"{100 * relatives:.1f}%")
    each = index.size / len(index)
    yield Row("… of memory, the fingerprint included", f"≤ {BYTES} B a function", f"{each:.0f} B", each <= BYTES)
    largest = max(len(packing.packed(each)) for each in prints)
    yield Row("… packed, the largest of 30", f"≤ {BYTES} B", f"{largest} B", largest <= BYTES)
    yield Row("… by which the process grew, for each", "", f"{grown:.0f} B")
    yield Row("… to make and take in one, sketches made anew included", "", f"{built:.0f} µs")


def kept(functions: int = 1000) -> Iterator[Row]:
    """What a process takes to know a store that others fill."""
    dice = random.Random(6)
    vocabulary = [digest(f"word {k}") for k in range(5000)]
    with tempfile.TemporaryDirectory() as folder:
        store, topic = SqliteStore(Path(folder) / "poet.db"), vocabulary[:12]
        for k in range(functions):
            key = FunctionKey("m", f"f{k}", f"{k:08x}")
            store.register(FunctionRecord(key, None, "adaptive", {"timeout": 1.0}, {}, 0, 0, 0.0, 0.0))
            keeping.keep(store, key, _made(dice, k, topic, vocabulary), 0)
        registry, start = IntelligenceRegistry(store), time.process_time()
        registry.refresh()
        first = 1e6 * (time.process_time() - start) / functions
        document = store.documents(keeping.KIND, key, name=keeping.NAME)[0]
        spans = {}
        for what in ("nothing", "one"):
            if what == "one":
                keeping.keep(store, key, _made(dice, 1, topic, vocabulary), document.revision)
            start = time.perf_counter()
            registry.refresh()
            spans[what] = 1e3 * (time.perf_counter() - start)
        store.close()
    yield Row(
        f"a SQLite store of {functions}: read at first, processor time of each; then with nothing new, with one",
        "",
        f"{first:.0f} µs; {spans['nothing']:.1f} ms, {spans['one']:.1f} ms",
    )


def _family(function: FunctionKey) -> int:
    return int(function.fingerprint, 16) // SIX


def _resident() -> int:
    """Bytes of this process that are in memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def _beside(functions: int) -> tuple[float, float]:
    """The least times of a dense scan, by the clock and of the processor [ms]: what searching embeddings would take."""
    vectors = np.ones((functions, 384), np.float32)
    one = vectors[0]
    spans, busy = [], []
    for _ in range(7):
        start, own = time.perf_counter(), time.process_time()
        vectors @ one
        spans.append(1e3 * (time.perf_counter() - start))
        busy.append(1e3 * (time.process_time() - own))
    return min(spans), max(min(busy), 1e-3)


if __name__ == "__main__":
    sys.exit(0 if show("Which functions are alike", run(*(int(x) for x in sys.argv[1:3]))) else 1)
