"""What hedging comes to, kept as figures: a change of these is a change of behaviour, to be made on purpose.

``python tests/golden/test_hedges_kept.py`` redraws ``learned_hedges.json``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poet.learning.online_learner import OnlineLearner
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.hedging import Workload, live
from poet.testing.learners import Learned

KEPT = Path(__file__).with_name("learned_hedges.json")
WORKLOADS = {
    "stragglers": Workload(calls=6000),
    "twice as slow": Workload(calls=6000, slower=2.0),
    "slow by call": Workload(calls=3000, by_call=True),
}
LIVE: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1, "hedges": 0, "hedge_delay": 30.0}
DELAY = Real(0.001, 120.0, log=True)
SPACE = Space(timeout=DELAY, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=DELAY)
BUDGET, SEED = 0.074, 0


def lived(name: str) -> dict[str, object]:
    """The changes made in a workload, and what these brought about."""
    learner = OnlineLearner(space=SPACE, declared=LIVE, hedge_budget=BUDGET, seed=SEED)
    policy = Learned(learner, LIVE, seed=SEED)
    life = live(WORKLOADS[name], policy, SEED)
    names = ("timeout", "retries", "hedges", "hedge_delay")
    return {
        "copies per call": round(float(life.copies.mean()), 4),
        "p99": round(life.figures().p99, 5),
        "changes": [[n, *(said.values[each] for each in names)] for n, said in policy.said],
    }


@pytest.mark.parametrize("name", WORKLOADS)
def test_hedging_comes_to_what_it_came_to(name: str) -> None:
    """Another build may round otherwise, and one change made a look sooner shifts all later ones."""
    kept, now = json.loads(KEPT.read_text(encoding="utf-8"))["figures"][name], lived(name)
    assert now["copies per call"] == pytest.approx(kept["copies per call"], abs=0.006)
    assert now["p99"] == pytest.approx(kept["p99"], rel=0.1)
    (*_, hedges, delay), (*_, kept_hedges, kept_delay) = now["changes"][-1], kept["changes"][-1]  # type: ignore[index]
    assert bool(hedges) == bool(kept_hedges)
    if hedges:
        assert delay == pytest.approx(kept_delay, rel=0.1)


def redraw() -> None:
    """Write the figures of today."""
    facts = {
        "source": "poet.sim.hedging, the learner with timeout 30 s, 3 retries, backoff 0.1 s, no hedges declared",
        "recipe": "python tests/golden/test_hedges_kept.py",
        "date": datetime.now(tz=UTC).date().isoformat(),
        "seed": SEED,
        "budget": BUDGET,
        "figures": {name: lived(name) for name in WORKLOADS},
    }
    KEPT.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    redraw()
