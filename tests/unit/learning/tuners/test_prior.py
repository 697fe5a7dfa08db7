"""Tuners that begin with what related ones know. Seeds are fixed; means are of several, their error rates stated."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
import pytest

from poet.kernels.online import surrogate
from poet.learners import learner_of, tuner_state
from poet.learning.axes import Cube
from poet.learning.tuned_learner import TunedLearner
from poet.learning.tuners.chosen import ChosenTuner, begin, opened
from poet.learning.tuners.prior import Prior
from poet.learning.tuners.sources import MOST_SOURCES, Unfit, asked, clean_odds, common
from poet.model.objective import Objective
from poet.model.relative import Relative
from poet.model.trial import Trial
from poet.model.tunable import Choice, Integer, Real, Space, Value
from poet.options import Options
from poet.seams import Learner

SPACE = Space(model=Choice("a", "b", "c"), heat=Real(0.0, 1.0), batch=Integer(1, 64, log=True))
START: Mapping[str, Value] = {"model": "a", "heat": 0.9, "batch": 1}
Score = Callable[[Mapping[str, Value]], float]


def truth(values: Mapping[str, Value]) -> float:
    """Best: b, 0.2, 16."""
    batch = math.log2(float(values["batch"]))
    return 0.3 * (values["model"] == "b") - (float(values["heat"]) - 0.2) ** 2 - 0.03 * (batch - 4.0) ** 2


def opposite(values: Mapping[str, Value]) -> float:
    return -truth(values)


def lived(tuner: ChosenTuner, score: Score, trials: int, seed: int = 0, noise: float = 0.1) -> float:
    """The mean of the true scores of what it tried."""
    dice, gained = random.Random(seed), 0.0
    for _ in range(trials):
        values = tuner.suggest()
        gained += score(values)
        tuner.update([Trial(values, score(values) + noise * dice.gauss(0, 1))])
    return gained / trials


def known(score: Score, trials: int = 60, seed: int = 0, space: Space = SPACE, factor: float = 1.0) -> bytes:
    tuner = ChosenTuner(space, {name: START[name] for name in space}, seed=seed)
    lived(tuner, lambda values: factor * score(values), trials, seed, noise=0.1 * factor)
    return tuner.dump()


@pytest.fixture(scope="module")
def relatives() -> list[Relative]:
    return [Relative(f"f{seed}", known(truth, seed=seed)) for seed in range(3)]


def test_a_tuner_with_relatives_is_good_from_its_second_try_on(relatives: list[Relative]) -> None:
    # Six pairs of the same noise; alone it loses 0.2 a try at this start, so that the halves are many errors apart.
    seeds = range(6)
    alone = np.mean([lived(ChosenTuner(SPACE, START, seed=seed), truth, 10, seed) for seed in seeds])
    helped = np.mean([lived(ChosenTuner(SPACE, START, seed=seed, prior=relatives), truth, 10, seed) for seed in seeds])
    best = 0.3
    assert best - helped < 0.6 * (best - alone)


def test_units_and_levels_of_a_source_do_not_matter() -> None:
    far = [Relative("dollars", known(lambda values: 7.0 + truth(values), seed=1, factor=1000.0))]
    tuner = ChosenTuner(SPACE, START, seed=3, prior=far)
    assert tuner.refused == ()
    lived(tuner, truth, 12, 3)
    assert truth(tuner.recommend().values) > 0.15


def test_a_source_that_is_wrong_loses_its_weight() -> None:
    wrong = [Relative("wrong", known(opposite, seed=seed)) for seed in range(2)]
    tuner = ChosenTuner(SPACE, START, seed=1, prior=wrong)
    lived(tuner, truth, 25, 1)
    assert any("own trials alone 100%" in note for note in tuner.notes())
    assert truth(tuner.recommend().values) > 0.1


def test_what_it_began_with_survives_a_dump_to_the_bit(relatives: list[Relative]) -> None:
    tuner = ChosenTuner(SPACE, START, seed=5, prior=relatives)
    lived(tuner, truth, 8, 5)
    state = tuner.dump()
    twin = ChosenTuner(SPACE, START, seed=5)
    assert twin.load(state) == ()
    assert [tuner.suggest() for _ in range(3)] == [twin.suggest() for _ in range(3)]
    assert tuner.recommend() == twin.recommend()
    assert tuner.notes() == twin.notes()


def test_few_combinations_keep_what_they_began_with_in_a_dump() -> None:
    space = Space(model=Choice("a", "b", "c"), batch=Choice(1, 2, 4))
    start: Mapping[str, Value] = {"model": "a", "batch": 1}

    def score(values: Mapping[str, Value]) -> float:
        return 0.5 * (values["model"] == "b") + 0.3 * (values["batch"] == 4)

    source = ChosenTuner(space, start)
    lived(source, score, 60)
    assert source.serving == "arms"
    tuner = ChosenTuner(space, start, seed=1, prior=[Relative("arms", source.dump())])
    assert (tuner.serving, tuner.refused) == ("gaussian", ())
    lived(tuner, score, 6, 1)
    assert tuner.recommend().values == {"model": "b", "batch": 4}
    twin = ChosenTuner(space, start, seed=1)
    assert twin.load(tuner.dump()) == ()
    assert twin.serving == "gaussian"
    assert twin.suggest() == tuner.suggest()


def test_a_state_of_eight_relatives_stays_small() -> None:
    space = Space(**{f"x{i}": Real(0.0, 1.0) for i in range(20)})
    start = dict.fromkeys(space, 0.5)
    source = ChosenTuner(space, start)
    lived(source, lambda values: -sum(float(value) ** 2 for value in values.values()), 40)
    state = source.dump()
    tuner = ChosenTuner(space, start, prior=[Relative(f"f{i}", state) for i in range(12)])
    assert len(tuner.refused) == 12 - MOST_SOURCES
    assert "likelier" in tuner.refused[0].why
    assert len(tuner.dump()) < 120_000


def test_only_what_both_have_is_taken_over() -> None:
    other = Space(heat=Real(0.0, 2.0), batch=Integer(1, 64, log=True))

    def score(values: Mapping[str, Value]) -> float:
        return truth({"model": "b", **values})

    tuner = ChosenTuner(SPACE, START, seed=2, prior=[Relative("wider", known(score, space=other))])
    assert tuner.refused == ()
    lived(tuner, truth, 2)
    for _ in range(5):
        SPACE.check(tuner.suggest())


@pytest.mark.parametrize(
    ("space", "why"),
    [
        (Space(other=Real(0, 1)), "it has none"),
        (Space(model=Real(0, 1), heat=Choice("low", "high")), "one of several"),
        (Space(heat=Real(1000.0, 60000.0)), "does not meet"),
        (Space(model=Choice("x", "y")), "no option is the same"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(space: Space, why: str) -> None:
    start = {name: each.options[0] if isinstance(each, Choice) else each.low for name, each in space.items()}
    source = ChosenTuner(space, start)
    lived(source, lambda values: float(len(str(values))), 10)
    tuner = ChosenTuner(SPACE, START, prior=[Relative("odd", source.dump())])
    assert tuner.serving == "gaussian"
    assert why in tuner.refused[0].why
    assert any("Not learned from odd" in note for note in tuner.notes())


def test_poisoned_young_and_damaged_sources_are_refused() -> None:
    young = ChosenTuner(SPACE, START)
    lived(young, truth, 3)
    flat = ChosenTuner(SPACE, START)
    flat.update([Trial({**START, "heat": k / 10}, 0.5) for k in range(10)])
    given = [
        Relative("young", young.dump()),
        Relative("flat", flat.dump()),
        Relative("bytes", b"nothing"),
        Relative("cut", known(truth)[:-5]),
        Relative("nan", young.dump(), math.nan),
        Relative("never", young.dump(), 0.0),
        Relative("sure", young.dump(), 1.5),
    ]
    tuner = ChosenTuner(SPACE, START, prior=given)
    why = {each.name: each.why for each in tuner.refused}
    assert set(why) == {each.name for each in given}
    assert "3 trials" in why["young"]
    assert "alike" in why["flat"]
    assert "probability" in why["nan"]
    assert "not to help" in why["never"]
    assert "[0, 1]" in why["sure"]


def test_a_changed_space_says_that_the_prior_is_gone(relatives: list[Relative]) -> None:
    tuner = ChosenTuner(SPACE, START, seed=5, prior=relatives)
    lived(tuner, truth, 8, 5)
    later = ChosenTuner(Space(**{**SPACE, "beams": Integer(1, 9)}), {**START, "beams": 1})
    assert any("related functions" in word for word in later.load(tuner.dump()))
    later.suggest()


def test_the_odds_leave_room_for_doubt() -> None:
    assert clean_odds(1) == 0.98
    with pytest.raises(Unfit, match="True"):
        clean_odds(True)


def test_common_tunables_are_told_by_name_and_kind() -> None:
    told = common(Space(heat=Integer(0, 5)), SPACE)
    assert told == {"model": "it has none", "heat": "", "batch": "it has none"}


def test_weights_add_up_and_follow_the_evidence() -> None:
    """Scores that are a source's own leave nothing else; those upside down leave nothing of it; in any unit."""
    cube = Cube(SPACE, START)
    tuner, told = opened(known(truth))
    source = asked("one", tuner, (told.space, told.start), (SPACE, cube), helps=0.5)
    prior, hyper = Prior([source], cube.levels), surrogate.usual(cube.levels, trend=True)
    x = surrogate.anywhere(12, cube.levels, np.random.default_rng(0))
    for scale in (1.0, 1000.0):
        right = prior.weighed(surrogate.seen(x, scale * source.mean(x)), cube.levels, hyper)
        wrong = prior.weighed(surrogate.seen(x, -scale * source.mean(x)), cube.levels, hyper)
        assert math.isclose(sum(each.share for each in right), 1.0)
        assert right[0].source == 1
        assert right[0].multiple > 0
        assert [each.source for each in wrong] == [-1]


def test_relatives_are_asked_once_for_many_tuners(relatives: list[Relative]) -> None:
    begun = begin(relatives, SPACE, START)
    one, other = (ChosenTuner(SPACE, START, seed=4, prior=each) for each in (begun, relatives))
    for tuner in (one, other):
        lived(tuner, truth, 4, 4)
    assert one.dump() == other.dump()
    assert begin((), SPACE, START) == (None, ())


def test_a_decorated_function_begins_with_what_another_ones_learner_kept() -> None:
    def answer(question: str, *, heat: Annotated[float, Real(0.0, 1.0)] = 0.9) -> str:
        return question

    def learner(prior: Sequence[Relative] = ()) -> Learner:
        options = Options(enable_training=True).fitted(answer)
        return learner_of(options, Objective(), 1, 0.1, prior=prior)

    kept = tuner_state(learner().dump())
    assert kept is not None
    begun = learner([Relative("young", kept)])
    assert isinstance(begun, TunedLearner)
    assert isinstance(begun.tuner, ChosenTuner)
    assert [each.name for each in begun.tuner.refused] == ["young"]
