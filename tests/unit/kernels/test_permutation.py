"""The exact test of a label, against its definition, and how often it is wrong."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poet.kernels.online.permutation import evidence, raised

SCORES = st.lists(st.floats(-2, 2), min_size=1, max_size=8)


@given(SCORES, st.integers(0, 255))
def test_evidence_is_the_sum_over_its_mean_by_all_shuffles(scores: list[float], bits: int) -> None:
    labels = np.array([bool(bits >> place & 1) for place in range(len(scores))])
    sums = [sum(scores[i] for i in subset) for subset in combinations(range(len(scores)), int(labels.sum()))]
    expected = float(np.array(scores)[labels].sum()) - math.log(np.mean(np.exp(sums)))
    found = evidence(np.array(scores)[:, None], labels[:, None])[0]
    assert math.isclose(found, expected, abs_tol=1e-9)


@given(SCORES, st.integers(0, 8))
def test_its_mean_is_one_where_labels_say_nothing(scores: list[float], size: int) -> None:
    """Over all ways to deal out so many labels: exactly."""
    size = min(size, len(scores))
    found = []
    for subset in combinations(range(len(scores)), size):
        labels = np.isin(np.arange(len(scores)), subset)
        found.append(math.exp(evidence(np.array(scores)[:, None], labels[:, None])[0]))
    assert math.isclose(np.mean(found), 1.0, rel_tol=1e-9)


def test_labels_are_judged_each_on_its_own() -> None:
    rng = np.random.default_rng(1)
    scores, labels = rng.uniform(-2, 2, (32, 5)), rng.random((32, 5)) < 0.3
    together = evidence(scores, labels)
    assert np.allclose(together, [evidence(scores[:, [k]], labels[:, [k]])[0] for k in range(5)])


def test_where_labels_say_nothing_a_level_is_passed_no_more_often_than_it_may() -> None:
    """Of 20 000 blocks none may be an alarm at 4 nats more often than once in exp(4), on average over time.

    After an alarm the level begins anew, so alarms are nearly independent and their number is about Poisson: 5 standard
    deviations above the mean that is allowed would be a false alarm of this test once in a million runs. The service
    drifts from block to block, and the scores bet on what the label has shown so far.
    """
    rng, blocks, allowed = np.random.default_rng(5), 20_000, math.exp(-4.0)
    level, alarms, believed = -math.inf, 0, 0.0
    for _ in range(blocks):
        centre = rng.normal()
        seen, labels = rng.normal(centre, 1.0, 16), rng.random(16) < 0.4
        level = raised(level, float(evidence(np.clip(believed * seen, -2, 2)[:, None], labels[:, None])[0]))
        if 0 < labels.sum() < 16:
            believed = 0.9 * believed + 0.1 * float(seen[labels].mean() - seen[~labels].mean())
        if level > 4.0:
            alarms, level = alarms + 1, -math.inf
    most = blocks * allowed
    assert alarms <= most + 5 * math.sqrt(most)


def test_a_label_that_matters_is_found() -> None:
    rng, level = np.random.default_rng(6), -math.inf
    for _ in range(20):
        labels = rng.random(16) < 0.5
        seen = rng.normal(np.where(labels, 1.0, 0.0), 1.0)
        level = raised(level, float(evidence(seen[:, None], labels[:, None])[0]))
    assert level > 14.0
