from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.model.likeness import MEASURED, Behaviour, Declared, Fingerprint
from poet.sharing.fingerprint import of_words
from poet.sharing.similarity import behaviours_alike, compare, declared_alike
from poet.sharing.weights import PRIOR, SOURCES
from unit.sharing.test_packing import fingerprints


def told(n: int, level: float, error: float, kinds: tuple[tuple[int, float], ...] = ()) -> Behaviour:
    numbers = tuple(level if name == "level" else None for name in MEASURED)
    errors = tuple(error if name == "level" else None for name in MEASURED)
    return Behaviour(n, numbers, errors, kinds)


def likeness(a: Behaviour, b: Behaviour) -> float:
    value = behaviours_alike(a, b)[0]
    assert value is not None
    return value


@settings(deadline=None)
@given(fingerprints, fingerprints)
def test_likeness_is_symmetric_and_bounded(a: Fingerprint, b: Fingerprint) -> None:
    one, other = compare(a, b, PRIOR), compare(b, a, PRIOR)
    assert one.helps.value == pytest.approx(other.helps.value)
    assert 0 <= one.helps.low <= one.helps.high <= 1
    assert [each.source for each in one.told] == list(SOURCES)
    assert all(-1 <= each <= 1 for each in one.outcome)
    assert all(each.words for each in one.told)


@settings(deadline=None)
@given(fingerprints)
def test_nothing_is_liker_to_a_function_than_itself_by_its_names(a: Fingerprint) -> None:
    names = compare(a, a, PRIOR).told[0]
    assert names.likeness is None or names.likeness == pytest.approx(0.92)


def test_a_missing_source_widens_the_doubt() -> None:
    words = of_words("fetch_page", (("url", "str", ""),), "bytes", "Download a page.")
    behaviour = told(500, -2.0, 0.05)
    full = words._replace(behaviour=behaviour)
    with_all, without = compare(full, full, PRIOR).helps, compare(words, words, PRIOR).helps
    width = [math.log(x.high / (1 - x.high)) - math.log(x.low / (1 - x.low)) for x in (with_all, without)]
    assert width[1] > width[0]


def test_noise_makes_behaviour_say_less() -> None:
    near, far = told(1000, -2.0, 0.02), told(1000, 6.0, 0.02)
    vague = told(10, 6.0, 20.0)
    assert likeness(near, near) > 0.2
    assert likeness(near, far) < -0.5
    assert abs(likeness(near, vague)) < 0.1


def test_one_odd_number_cannot_outvote_all_others() -> None:
    a = Behaviour(1000, (0.0,) * len(MEASURED), (0.05,) * len(MEASURED))
    odd = a._replace(numbers=(-20.0, *a.numbers[1:]))
    assert likeness(a, odd) > -0.9


def test_common_kinds_of_failures_speak_for_and_others_against() -> None:
    a, b, c = (told(100, 0.0, 0.1, ((kind, 1.0),)) for kind in (1, 1, 2))
    assert likeness(a, b) > likeness(a, told(100, 0.0, 0.1)) > likeness(a, c)


def test_tunables_count_by_name_kind_and_range() -> None:
    def of(*each: Declared) -> Fingerprint:
        return Fingerprint(tunables=each)

    k = Declared(1, 1, 1.0, 64.0)
    same = declared_alike(of(k), of(k))[0]
    wider = declared_alike(of(k), of(k._replace(high=4096.0)))[0]
    renamed = declared_alike(of(k), of(k._replace(name=2)))[0]
    other = declared_alike(of(k), of(Declared(1, 2, 0.0, 2.0, (5, 6))))[0]
    lacking = declared_alike(of(k), of())[0]
    assert same == 1.0
    assert None not in (wider, renamed, other, lacking)
    assert same > wider > renamed > other  # type: ignore[operator]
    assert lacking is not None
    assert lacking < 0


def test_domains_count_where_both_have_one() -> None:
    bank, shop, none = Fingerprint(domain=1), Fingerprint(domain=2), Fingerprint()
    assert (declared_alike(bank, bank)[0] or 0) > 0 > (declared_alike(bank, shop)[0] or 0)
    assert declared_alike(bank, none)[0] is None


def test_reasons_are_in_words_the_weightiest_first() -> None:
    a = of_words("fetch_page", (), "", "Download a page over HTTP.")._replace(behaviour=told(300, -2.0, 0.05))
    b = of_words("get_document", (), "", "Retrieve a document from a web site.")._replace(
        behaviour=told(300, 5.0, 0.05)
    )
    likeness_ = compare(a, b, PRIOR)
    words = {each.source: each.words for each in likeness_.told}
    assert "1.1e+03 times apart" in words["behaviour"]
    assert words["declared"] == "domain and tunables: none that both declare"


@settings(deadline=None)
@given(st.integers(0, 1000))
def test_units_of_time_are_told_apart_from_shape(seed: int) -> None:
    dice = random.Random(seed)
    shape = [dice.gauss(0, 0.3) for _ in MEASURED]
    a = Behaviour(500, tuple(shape), (0.05,) * len(MEASURED))
    slower = a._replace(numbers=(shape[0] + math.log(60), *shape[1:]))
    level_only = a._replace(numbers=(shape[0] + math.log(60), *(None,) * 15), errors=(0.05, *(None,) * 15))
    assert likeness(a, slower) > likeness(a, level_only)  # the same shape speaks for them all the same
