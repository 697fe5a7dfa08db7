from __future__ import annotations

import random

import pytest

from poet.model.function import FunctionKey
from poet.model.likeness import MEASURED, Behaviour, Fingerprint
from poet.sharing.packing import Poisoned
from poet.sharing.search import Index, ranked
from poet.sharing.stems import digest

VOCABULARY = [digest(f"word {k}") for k in range(800)]


def made(dice: random.Random, topic: list[int], level: float) -> Fingerprint:
    words = {dice.choice(topic if dice.random() < 0.6 else VOCABULARY): dice.randrange(60, 256) for _ in range(40)}
    numbers = tuple(level + dice.gauss(0, 0.5) if name == "level" else None for name in MEASURED)
    errors = tuple(0.1 if name == "level" else None for name in MEASURED)
    return Fingerprint(tuple(sorted(words.items())), behaviour=Behaviour(200, numbers, errors))


def filled(functions: int, family: int = 4, seed: int = 1) -> Index:
    dice, index = random.Random(seed), Index()
    for k in range(functions):
        if k % family == 0:
            topic, level = dice.sample(VOCABULARY, 10), dice.gauss(-2, 3)
        index.put(FunctionKey("m", f"f{k}", f"{k:08x}"), made(dice, topic, level))
    return index


def asked(index: Index, key: FunctionKey) -> Fingerprint:
    found = index.get(key)
    assert found is not None
    return found


def test_the_index_finds_what_a_comparison_of_all_finds() -> None:
    index = filled(3000)
    keys = random.Random(2).sample(list(index), 40)
    hit = [
        ranked(index.search(asked(index, key), 1, without=key))
        == ranked(index.exhaustive(asked(index, key), 1, without=key))
        for key in keys
    ]
    assert sum(hit) >= 38


def test_relatives_come_first() -> None:
    index = filled(400)
    own = 0
    for key in list(index)[:100]:
        best = index.search(asked(index, key), 1, without=key)[0]
        own += int(best.function.fingerprint, 16) // 4 == int(key.fingerprint, 16) // 4
    assert own >= 90


def test_an_index_that_grew_one_by_one_equals_one_made_anew() -> None:
    grown = filled(500)
    for k in range(0, 500, 3):
        key = FunctionKey("m", f"f{k}", f"{k:08x}")
        grown.put(key, asked(grown, key))  # again
    for k in range(100, 160):
        grown.discard(FunctionKey("m", f"f{k}", f"{k:08x}"))
    anew = Index()
    for key in list(grown):
        anew.put(key, asked(grown, key))
    grown.sketch_all()
    anew.sketch_all()
    for key in list(grown)[:20]:
        assert ranked(grown.search(asked(grown, key), without=key)) == ranked(
            anew.search(asked(anew, key), without=key)
        )
    assert len(grown) == len(anew) == 440


def test_what_is_forgotten_is_not_found() -> None:
    index = filled(40)
    keys = list(index)
    for key in keys[1:]:
        index.discard(key)
    index.discard(FunctionKey("m", "never there", "00000000"))
    assert index.search(asked(index, keys[0]), 5) == index.exhaustive(asked(index, keys[0]), 5)
    assert ranked(index.search(asked(index, keys[0]), 5)) == [keys[0]]
    assert keys[1] not in index
    assert index.get(keys[1]) is None


def test_an_empty_index_finds_nothing() -> None:
    assert Index().search(Fingerprint(), 5) == []


def test_what_is_poisoned_changes_nothing() -> None:
    index = filled(10)
    key = next(iter(index))
    before = asked(index, key)
    for bad in (b"", b"PF", Fingerprint(words=((9, 1), (5, 2)))):
        with pytest.raises(Poisoned):
            index.put(key, bad)
    assert asked(index, key) == before
    assert len(index) == 10


def test_rare_words_tell_more_than_common_ones() -> None:
    index = Index()
    for k in range(100):
        index.put(FunctionKey("", f"f{k}", f"{k:08x}"), Fingerprint(words=((7, 200), (1000 + k, 200))))
    index.put(FunctionKey("", "kin", "kin"), Fingerprint(words=((7, 200), (1005, 200))))
    assert index.rarity(1005) > 2 * index.rarity(7)
    assert (
        ranked(index.search(asked(index, FunctionKey("", "kin", "kin")), 1, without=FunctionKey("", "kin", "kin")))[
            0
        ].name
        == "f5"
    )


def test_a_meaning_alone_finds_its_like() -> None:
    dice, index = random.Random(3), Index()
    one = bytes(dice.randrange(256) for _ in range(384))
    for k in range(2000):
        other = bytes(dice.randrange(256) for _ in range(384 if k % 2 else 100))
        index.put(FunctionKey("", f"f{k}", f"{k:08x}"), Fingerprint(meaning=other))
    near = bytes(x if dice.random() < 0.9 else dice.randrange(256) for x in one)
    index.put(FunctionKey("", "near", "near"), Fingerprint(meaning=near))
    assert index.search(Fingerprint(meaning=one), 1)[0].function.name == "near"


def test_a_function_takes_less_than_two_kilobytes() -> None:
    index = filled(3000)
    assert index.size / len(index) < 2048 + 2_400_000 / len(index)  # signs of projections, the same for any number
