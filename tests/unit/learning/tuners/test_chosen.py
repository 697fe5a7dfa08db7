from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from poet.learning.tuners.chosen import COINS, ChosenTuner
from poet.model.trial import Trial
from poet.model.tunable import Choice, Integer, Real, Space, Value

FEW = Space(model=Choice("a", "b"), depth=Integer(1, 3))
RANGES = Space(model=Choice("a", "b"), x=Real(0.0, 1.0))
MANY = Space(model=Choice(*"abcdefgh"), style=Choice(*"abcdefghi"))
WIDE = Space(**{f"x{k}": Real(0.0, 1.0) for k in range(40)})


def start(space: Space) -> dict[str, Value]:
    return {name: each.options[0] if isinstance(each, Choice) else each.low for name, each in space.items()}


def score(values: Mapping[str, Value]) -> float:
    return 0.3 * (values["model"] == "b") + 0.3 - (float(values.get("x", 0.0)) - 0.6) ** 2


def lived(tuner: ChosenTuner, n: int, *, coins: bool = False, seed: int = 0) -> None:
    dice = random.Random(seed)
    for _ in range(n):
        values = tuner.suggest()
        worth = score(values)
        tuner.update([Trial(values, float(dice.random() < worth) if coins else worth + dice.gauss(0.0, 0.1))])


@pytest.mark.parametrize(
    ("space", "contextual", "serving", "word"),
    [
        (FEW, False, "arms", "6 combinations"),
        (FEW, True, "mixture", "6 combinations of values, and contexts"),
        (RANGES, False, "gaussian", "Gaussian process"),
        (RANGES, True, "gaussian", "in its context"),
        (MANY, False, "gaussian", "Gaussian process"),
        (WIDE, False, "spsa", "many tunables"),
        (WIDE, True, "spsa", "many tunables"),
    ],
    ids=["few", "few by context", "ranges", "ranges by context", "many", "wide", "wide by context"],
)
def test_the_space_says_which_one_serves(space: Space, contextual: bool, serving: str, word: str) -> None:
    tuner = ChosenTuner(space, start(space), contextual=contextual)
    assert isinstance(tuner, ChosenTuner)
    assert tuner.serving == serving
    assert word in tuner.reason
    assert tuner.recommend().values == start(space)


def test_of_many_trials_the_process_is_shown_some_and_its_suggestions_serve_for_a_while() -> None:
    tuner = ChosenTuner(RANGES, start(RANGES))
    dice = random.Random(0)
    for _ in range(8):
        trials = []
        for _ in range(500):
            values: dict[str, Value] = {"model": dice.choice("ab"), "x": round(dice.random(), 1)}
            trials.append(Trial(values, score(values) + dice.gauss(0.0, 0.1)))
        tuner.update(trials)
    told = tuner.recommend()
    assert (tuner.serving, told.evidence) == ("gaussian", 4000)
    assert score(told.values) > 0.55
    heir = ChosenTuner(RANGES, start(RANGES))
    assert heir.load(tuner.dump()) == ()
    for _ in range(20):
        assert tuner.suggest() == heir.suggest()
        trial = Trial(tuner.suggest(), 0.5)
        tuner.update([trial])
        heir.update([trial])
    assert heir.dump() == tuner.dump()


def test_scores_of_0_and_1_are_soon_averaged_over() -> None:
    tuner = ChosenTuner(RANGES, start(RANGES))
    lived(tuner, COINS, coins=True)
    assert tuner.serving == "spsa"
    assert "0 and 1" in tuner.reason
    told = tuner.recommend()
    heir = ChosenTuner(RANGES, start(RANGES))
    assert heir.load(tuner.dump()) == ()
    assert (heir.serving, heir.recommend(), heir.dump()) == ("spsa", told, tuner.dump())
    other = ChosenTuner(RANGES, start(RANGES))
    lived(other, COINS, coins=False)
    assert other.serving == "gaussian"


def test_with_contexts_the_process_stays_and_is_shown_some() -> None:
    tuner = ChosenTuner(RANGES, start(RANGES), contextual=True)
    dice = random.Random(0)
    for _ in range(4):
        trials = []
        for _ in range(500):
            values: dict[str, Value] = {"model": dice.choice("ab"), "x": round(dice.random(), 1)}
            trials.append(Trial(values, score(values) + dice.gauss(0.0, 0.1), (("region", dice.choice("ab")),)))
        tuner.update(trials)
    assert tuner.serving == "gaussian"
    told = tuner.recommend((("region", "a"),))
    assert told.evidence == 2000
    assert told.values["model"] == "b"


def test_odd_scores_are_no_trials() -> None:
    tuner = ChosenTuner(RANGES, start(RANGES))
    tuner.update([Trial(start(RANGES), float("nan"))] * 600)
    assert (tuner.serving, tuner.recommend().evidence) == ("gaussian", 0)


def test_a_space_for_another_learner_keeps_the_best_values_and_says_so() -> None:
    tuner = ChosenTuner(FEW, start(FEW))
    lived(tuner, 100)
    assert tuner.recommend().values["model"] == "b"
    other = ChosenTuner(RANGES, start(RANGES))
    assert other.load(tuner.dump()) == (
        "depth is no tunable any more",
        "much of what arms knew: gaussian serves now",
    )
    assert other.recommend().values["model"] == "b"
    back = ChosenTuner(FEW, start(FEW))
    assert back.load(other.dump())[-1] == "much of what gaussian knew: arms serves now"
    assert back.recommend().values["model"] == "b"


def test_it_is_told_before_and_after_that_contexts_matter() -> None:
    tuner = ChosenTuner(FEW, start(FEW))
    lived(tuner, 100)
    other = ChosenTuner(FEW, start(FEW), contextual=True)
    assert other.load(tuner.dump()) == ("much of what arms knew: mixture serves now",)
    assert other.recommend().values["model"] == "b"
