"""Our learner as the benchmarks of rivals, traces and honesty set it up: the one place that says how."""

from __future__ import annotations

from collections.abc import Mapping

from poet.learning.online_learner import OnlineLearner
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.scenarios import START
from poet.testing.learners import Learned

SPACE = Space(
    timeout=Real(0.001, 120.0, log=True),
    retries=Integer(0, 5),
    backoff=Real(0.0, 60.0),
    hedges=Integer(0, 1),  # the simulated services know of one copy
    hedge_delay=Real(0.001, 120.0, log=True),
)
DECLARED: Mapping[str, Value] = {
    "timeout": START.timeout,
    "retries": START.retries,
    "backoff": START.backoff,
    "hedges": 0,
    "hedge_delay": START.timeout,
}


def ours(objective: Objective, seed: int, declared: Mapping[str, Value] = DECLARED) -> OnlineLearner:
    """The learner, new."""
    return OnlineLearner(objective=objective, space=SPACE, declared=declared, hedge_budget=1.0, seed=seed)


class Ours(Learned):
    """It as a policy, told of what a simulated service needs to know of its values."""

    def __init__(self, objective: Objective, seed: int, declared: Mapping[str, Value] = DECLARED) -> None:
        super().__init__(ours(objective, seed, declared), declared, seed=seed)

    def parameters(self, t: int) -> Mapping[str, object]:
        """The live values, with this call's probe; where no copies are sent, no delay of theirs."""
        values = super().parameters(t)
        return {**values, "hedge_delay": 0.0} if values.get("hedges", 1) == 0 else values
