"""Thousands of learners in one process: what each holds while nobody looks, and that the others do not matter to it."""

from __future__ import annotations

import math
import pickle
import random
from collections.abc import Mapping
from types import MappingProxyType

from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.tunable import Integer, Real, Space, Value

DELAY = Real(0.001, 120.0, log=True)
HEDGING = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)
LIVE: Mapping[str, Value] = MappingProxyType(
    {"timeout": 30.0, "retries": 3, "backoff": 0.1, "hedges": 0, "hedge_delay": 5.0}
)


def calls(seed: int, n: int) -> list[Execution]:
    """Answers of varied latency, and now and then an error or a timeout, which are retried."""
    dice, made = random.Random(seed), []
    for number in range(n):
        answer = Attempt(Outcome.SUCCESS, 0.2 * math.exp(0.6 * dice.gauss(0, 1)))
        first = {0: Attempt(Outcome.ERROR, 0.01), 1: Attempt(Outcome.TIMEOUT, 2.0)}.get(dice.randrange(20))
        attempts = (answer,) if first is None else (first, answer)
        made.append(Execution("test", number, 0.0, 0.2, Outcome.SUCCESS, 1, attempts))
    return made


def test_a_learner_at_rest_is_small() -> None:
    """As a pickle, which holds all that the learner does and nothing that many learners share."""
    learner, state = OnlineLearner(space=HEDGING), None
    for part in range(40):
        for execution in calls(part, 15):
            learner.update([execution])
            learner.suggest(LIVE)
        told = learner.contribution()
        assert told is not None
        state = learner.merged(state, told)
        learner.load(state)
    single_durations = 2 * 600  # bytes
    assert len(pickle.dumps(learner)) <= 4096 + single_durations


def test_what_is_drawn_anew_for_many_in_turn_is_what_one_alone_would_see() -> None:
    """More than there is room for pictures and tables, each with a history of its own."""
    crowd = [OnlineLearner() for _ in range(300)]
    for number, learner in enumerate(crowd):
        learner.update(calls(number, 70))
    for step in range(4):
        for number, learner in enumerate(crowd):
            learner.update(calls(1000 * step + number, 1))
    for number in (0, 77, 299):
        alone = OnlineLearner()
        alone.update(calls(number, 70))
        for step in range(4):
            alone.update(calls(1000 * step + number, 1))
        assert crowd[number].dump() == alone.dump()
        assert crowd[number].explain(LIVE) == alone.explain(LIVE)
