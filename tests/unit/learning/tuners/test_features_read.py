"""Features by name become vectors of bounded length."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from poet.learning.tuners.features import LONGEST_OWN, MOST_WIDTH, Features, Moments
from poet.model.execution import LONGEST_TEXT, MOST_FEATURES, Context
from poet.model.policy import FARTHEST


def told(contexts: Sequence[Context], width: int = 20) -> Features:
    features = Features(width)
    for context in contexts:
        features.observe(context)
    return features


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60))
def test_moments_are_those_of_all_values(values: list[float]) -> None:
    moments = Moments()
    for value in values:
        moments.add(value)
    mean = statistics.fmean(values)
    assert moments.mean == pytest.approx(mean, abs=1e-6)
    assert moments.m2 == pytest.approx(sum((v - mean) ** 2 for v in values), rel=1e-6, abs=1e-3)
    assert moments.m3 == pytest.approx(sum((v - mean) ** 3 for v in values), rel=1e-4, abs=1e6)


def test_numbers_come_out_standardised_whatever_their_scale() -> None:
    dice = random.Random(1)
    features = told([(("a", dice.gauss(5e6, 1e3)), ("b", dice.gauss(-3.0, 1e-6))) for _ in range(500)])
    vectors = np.array(
        [features.vector((("a", dice.gauss(5e6, 1e3)), ("b", dice.gauss(-3.0, 1e-6)))) for _ in range(500)]
    )
    assert np.allclose(vectors[:, 1:].mean(axis=0), 0.0, atol=0.25)
    assert np.allclose(vectors[:, 1:].std(axis=0), 1.0, atol=0.2)
    assert np.all(vectors[:, 0] == 1.0)


def test_heavy_tails_are_read_by_their_logarithm() -> None:
    dice = random.Random(2)
    features = told([(("size", dice.lognormvariate(5, 2)), ("level", dice.gauss(5, 1))) for _ in range(200)])
    assert features.reading.numbers["size"].log
    assert not features.reading.numbers["level"].log
    assert features.vector((("size", math.exp(5)),))[1] == pytest.approx(0.0, abs=0.5)
    assert features.vector((("size", 0),))[1] == -FARTHEST


def test_a_basis_change_brings_old_vectors_up_to_date() -> None:
    """After the scale was settled once, what comes out of the matrix is what would be read now."""
    dice, features = random.Random(3), Features(8)
    contexts: list[Context] = [(("a", dice.gauss(0, 1)), ("b", dice.gauss(9, 2))) for _ in range(40)]
    vectors: list[np.ndarray] = []
    for context in contexts:
        basis = features.observe(context)
        if basis is not None:
            vectors = [basis @ np.pad(x, (0, len(basis) - len(x))) for x in vectors]
        vectors.append(features.vector(context))
    for context, x in list(zip(contexts, vectors, strict=True))[12:]:
        if max(abs(x[1:])) < FARTHEST - 0.5:
            assert x == pytest.approx(features.vector(context), abs=0.05)


def test_a_constant_says_nothing_until_it_changes() -> None:
    features = told([(("a", 7.0),)] * 50)
    assert features.vector((("a", 7.0),)).tolist() == [1.0, 0.0]


def test_categories_get_slots_as_they_come_and_share_some_beyond() -> None:
    features = told([(("user", f"u{k}"),) for k in range(100_000)])
    assert features.used <= 20
    own = features.vector((("user", "u0"),))
    assert own.sum() == 2.0
    beyond = features.vector((("user", "u99999"),))
    assert sorted(abs(beyond))[-2:] == [1.0, 1.0]
    assert beyond.tolist() == features.vector((("user", "u99999"),)).tolist()
    assert len(json.dumps(features.dump())) < 1000
    (note,) = features.notes()
    assert note.startswith("user: 6 values have their own estimates, all others share 4")


def test_long_texts_get_no_slots_of_their_own() -> None:
    features = told([(("text", f"{k}" + "x" * LONGEST_OWN),) for k in range(5)])
    assert not features.reading.texts["text"].slots
    assert abs(features.vector((("text", "0" + "x" * LONGEST_OWN),))).sum() == 2.0


def test_what_finds_no_slot_is_left_out_and_it_says_so() -> None:
    features = told([tuple((f"n{k}", float(j)) for k in range(30)) for j in range(5)], width=8)
    assert features.used <= 8
    assert any("no room for n" in note for note in features.notes())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2**2000, -1e300])
def test_what_is_no_usual_number_is_missing(value: float) -> None:
    features = told([(("a", float(k)),) for k in range(20)])
    before = features.dump()
    features.observe((("a", value),))
    assert features.dump() == before
    assert features.vector((("a", value),))[1] in (0.0, -FARTHEST)


KINDS = st.one_of(st.booleans(), st.integers(-(2**80), 2**80), st.floats(), st.text(max_size=LONGEST_TEXT))
CONTEXTS = st.lists(st.tuples(st.text(max_size=5), KINDS), max_size=MOST_FEATURES).map(tuple)


@given(st.lists(CONTEXTS, max_size=30), st.integers(2, MOST_WIDTH), st.integers(2, MOST_WIDTH))
@example([(("", 2.2e-309),)], 2, 2)
@settings(max_examples=60, deadline=None)
def test_any_contexts_make_bounded_finite_vectors_and_survive_a_dump(
    contexts: list[Context], width: int, other: int
) -> None:
    features = told(contexts, width)
    assert features.used <= width
    kept = json.loads(json.dumps(features.dump()))
    same, narrow = Features.load(kept, width), Features.load(kept, other)
    assert same.dump() == features.dump()
    for context in contexts:
        x = features.vector(context)
        assert len(x) == features.used
        assert np.isfinite(x).all()
        assert x.tolist() == same.vector(context).tolist()
        assert len(narrow.vector(context)) == narrow.used <= other
    assert (same.observe(contexts[0]) is None) == (features.observe(contexts[0]) is None) if contexts else True


@pytest.mark.parametrize(
    "spoil",
    [
        {"used": 99},
        {"width": 99},
        {"numbers": {"a": [0, False, 0.0, 1.0, 3, [1, 1, 1, 1], [0, 0, 0, 0]]}},
        {"numbers": {"a": [1, False, math.nan, 1.0, 3, [1, 1, 1, 1], [0, 0, 0, 0]]}},
        {"numbers": {"a": [1]}},
        {"texts": {"a": [{"x": 1, "y": 1}, False]}},
        {"pool": "no"},
    ],
)
def test_what_is_no_dump_is_refused(spoil: dict[str, object]) -> None:
    kept = {**told([(("a", 1.0), ("b", "x"))]).dump(), **spoil}
    with pytest.raises((ValueError, KeyError, TypeError)):
        Features.load(kept, 20)
