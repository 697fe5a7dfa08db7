"""Three-valued verdicts: what is missing is never safe."""

from __future__ import annotations

import math
from itertools import product
from random import Random

import pytest

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.effect import Effect
from poet.kernels.online.verdict import Finding, Verdict, of_effect, of_events, split, together


def effect_of(shift: float, n: int = 4000) -> Effect:
    rng, effect = Random(1), Effect.planned()
    for _ in range(n):
        arm = int(rng.random() < 0.1)
        effect = effect.add(arm, 0.1, rng.gauss(shift * arm, 0.8))
    return effect


def test_harm_counts_before_all_and_safety_only_where_all_are_safe() -> None:
    for said in product(Verdict, repeat=3):
        whole = together(Finding("g", verdict) for verdict in said)
        assert (whole is Verdict.HARM) == (Verdict.HARM in said)
        assert (whole is Verdict.SAFE) == (set(said) == {Verdict.SAFE})
    assert together([]) is Verdict.UNDECIDED


def test_what_was_not_seen_is_undecided() -> None:
    for finding in (
        of_events("failures", None, 0.01),
        of_events("failures", CoinTest(), 0.01),
        of_effect("latency", None, 0.01, 0.1),
        of_effect("latency", Effect.planned(), 0.01, 0.1),
    ):
        assert finding.verdict is Verdict.UNDECIDED


def test_events_speak_with_their_figures() -> None:
    harm = of_events("failures", CoinTest().add(0.1, 14, 17), 0.01)
    assert harm.verdict is Verdict.HARM
    assert harm.value == pytest.approx(14 / 3 * 9)
    assert 1 < harm.low < harm.value < harm.high
    assert harm.n == 17
    safe = of_events("failures", CoinTest().add(0.5, 480, 1000), 0.01)
    assert safe.verdict is Verdict.SAFE
    assert safe.high < 1.5
    assert of_events("failures", CoinTest().add(0.5, 5, 10), 0.01).verdict is Verdict.UNDECIDED
    assert of_events("failures", CoinTest().add(0.5, 0, 3), 0.01).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize("ratio", [1.5, 2.0])
def test_a_canary_at_the_margin_is_seldom_called_safe_at_any_look(ratio: float) -> None:
    """Every sequence of 7 events at a margin of 1.5, alpha 30 %: the chance that any look says safe, enumerated."""
    share, alpha, wrong = 0.5, 0.3, 0.0
    theta = share * ratio / (1 - share + share * ratio)
    for owners in product((0, 1), repeat=7):
        test, called = CoinTest(), False
        for owner in owners:
            test = test.add(share, owner, 1)
            called = called or test.upper(alpha) < 1.5
        wrong += called * math.prod(theta if owner else 1 - theta for owner in owners)
    assert 0 < wrong <= alpha


def test_a_mean_speaks_on_either_side_of_what_is_tolerated() -> None:
    assert of_effect("latency", effect_of(0.4), 0.01, 0.1).verdict is Verdict.HARM
    assert of_effect("latency", effect_of(0.0), 0.01, 0.2).verdict is Verdict.SAFE
    assert of_effect("latency", effect_of(0.1), 0.01, 0.1).verdict is Verdict.UNDECIDED
    harm = of_effect("latency", effect_of(0.4), 0.01, 0.1)
    assert harm.log_e > -math.log(0.01)
    assert 0.1 < harm.low < harm.value < harm.high


def test_alpha_is_split_and_nothing_else_is_given_away() -> None:
    parts = split(0.01, {"a": 6, "b": 1, "c": 3})
    assert sum(parts.values()) == pytest.approx(0.01)
    assert parts["a"] == pytest.approx(0.006)
    for weights in {}, {"a": 0.0}, {"a": math.nan}:
        with pytest.raises(ValueError, match="weights"):
            split(0.01, weights)
    with pytest.raises(ValueError, match="alpha"):
        split(math.nan, {"a": 1.0})


def test_impossible_margins_are_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        of_effect("latency", None, 0.01, -0.1)
    with pytest.raises(ValueError, match="safe"):
        of_events("failures", None, 0.01, tolerated=2.0, safe=1.5)
