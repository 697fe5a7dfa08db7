"""Off-policy estimators against a made-up log whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from benchmarks.offpolicy import Decision, Log, Table, additive, best_of_all, judged, learned, logged, valued

QUERIES, MODELS = 60, 4


def made(seed: int, *, decisions: int = 1500) -> tuple[Log, np.ndarray]:
    """Policies that choose at random, two in each of two runs; scores of 0 and 1 by question and model."""
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.uniform(0.1, 0.6, (QUERIES, 1)) + np.array([0.0, 0.1, 0.35, 0.2]), 0, 1)
    log = []
    for number in range(decisions):
        query, model = int(rng.integers(QUERIES)), int(rng.choice(MODELS, p=[0.4, 0.3, 0.2, 0.1]))
        score = float(rng.random() < truth[query, model])
        log.append(Decision(f"run{number % 2}", f"policy{number % 4}", query, query, model, score))
    names = [f"q{k}" for k in range(QUERIES)], [f"m{k}" for k in range(MODELS)]
    return Log(log, *names), truth


def test_all_estimators_find_the_value_of_a_policy() -> None:
    """20 logs: beyond 5 standard errors once in a million; the prior of the table, and of guesses, shrinks a little."""
    chosen = [(k * 7) % MODELS for k in range(QUERIES)]
    off: list[list[float]] = []
    for seed in range(20):
        log, truth = made(seed)
        values, value = valued(log, Table.of(log), chosen), float(truth[np.arange(QUERIES), chosen].mean())
        ips = values.ips.sum(axis=0)
        off.append([values.table.mean() - value, ips[0] / ips[1] - value, values.dr.mean() - value])
    means, errors = np.mean(off, axis=0), np.std(off, axis=0, ddof=1) / math.sqrt(20)
    assert np.all(np.abs(means) < 5 * errors + 0.005)
    assert np.all(np.abs(means) < 0.04)


def test_what_is_learned_from_other_questions_is_the_best_model() -> None:
    log, _ = made(1)
    assert set(learned(log)) == {2}


def test_it_is_above_policies_at_random() -> None:
    log, _ = made(2)
    lives = {run: logged(log, run) for run in ("run0", "run1")}
    assert [len(several) for several in lives.values()] == [2, 2]
    values = valued(log, Table.of(log), learned(log))
    assert judged(values, best_of_all(lives).scores).above


def test_cells_that_were_not_seen_are_the_sum_of_question_and_model() -> None:
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 1, (80, 1)) + rng.normal(0, 1, (1, 30))
    known = rng.random(truth.shape) < 0.7
    assert additive(known, truth) == pytest.approx(truth, abs=0.6)
    assert np.corrcoef(additive(known, truth)[~known], truth[~known])[0, 1] > 0.98
