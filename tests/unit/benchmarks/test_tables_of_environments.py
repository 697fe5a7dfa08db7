"""The rivals of transfer, on a problem whose answer is known."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest
from benchmarks.environments import Environment
from benchmarks.tables import Life, ratio
from benchmarks.transfer_peers import PEERS, Rgpe

from poet.model.trial import Trial
from poet.model.tunable import Choice, Real, Space, Value

SPACE = Space(kind=Choice("a", "b"), x=Real(0.0, 1.0))
START: Mapping[str, Value] = {"kind": "a", "x": 0.9}


def truth(values: Mapping[str, Value]) -> float:
    return 0.3 * (values["kind"] == "b") - (float(values["x"]) - 0.3) ** 2


def trials(sign: float, n: int, seed: int) -> list[Trial]:
    dice, found = random.Random(seed), []
    for _ in range(n):
        values: dict[str, Value] = {"kind": dice.choice("ab"), "x": dice.random()}
        found.append(Trial(values, sign * truth(values) + 0.02 * dice.gauss(0, 1)))
    return found


@pytest.mark.parametrize("name", list(PEERS))
def test_rivals_find_what_a_right_source_knows(name: str) -> None:
    tuner = PEERS[name](SPACE, START, [trials(1.0, 30, 1), trials(1.0, 30, 2)], seed=0)
    for _ in range(6):
        values = SPACE.check(tuner.suggest())
        tuner.update([Trial(values, truth(values))])
    assert truth(tuner.recommend()) > 0.27


def test_an_ensemble_leaves_out_a_source_that_misranks() -> None:
    tuner = Rgpe(SPACE, START, [trials(1.0, 30, 1), trials(-1.0, 30, 2)], seed=0)
    assert tuner._weights()[0].tolist() == [0.5, 0.5, 0.0]
    tuner.update(trials(1.0, 12, 3))
    right, wrong, own = tuner._weights()[0].tolist()
    assert right + own == pytest.approx(1.0)
    assert wrong == 0.0


def test_ratios_are_of_means_in_which_each_family_weighs_the_same() -> None:
    lives = [
        Life(Environment(family, str(k)), who, 0, regret, regret, 1.0 - regret)
        for family, many, pair in (("one", 4, (0.1, 0.2)), ("other", 1, (0.3, 0.2)))
        for k in range(many)
        for who, regret in zip(("with", "alone"), pair, strict=True)
    ]
    assert ratio(lives, "with", "alone", "regret").value == pytest.approx(1.0)
