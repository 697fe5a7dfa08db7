"""Extra requests that make things worse are done without, and where they do not, they cost nothing.

A short form of ``benchmarks/learning.py``: two seeds. All dice are seeded: a run is the same every time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from poet.learning.online_learner import OnlineLearner
from poet.sim.evaluate import oracle_series
from poet.sim.play import Record, play, share
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

SEEDS = (0, 1)


def lived(name: str, seed: int, *, mind_load: bool = True) -> tuple[Record, OnlineLearner]:
    scenario = SCENARIOS[name]
    learner = OnlineLearner(objective=scenario.objective, mind_load=mind_load, seed=seed)
    return play(scenario, Learned(learner, seed=seed), seed), learner


def mean_share(name: str, records: list[Record]) -> float:
    oracle = oracle_series(SCENARIOS[name])
    return float(np.mean([share(record, oracle) for record in records]))


@pytest.fixture(scope="module")
def minded() -> list[tuple[Record, OnlineLearner]]:
    return [lived("overload", seed) for seed in SEEDS]


def test_overload_of_our_own_making_is_found_and_ended(minded: list[tuple[Record, OnlineLearner]]) -> None:
    """Six seeds lie between 0.97 and 1.02: the oracle is one of parameters that stay; the benchmark asks for 0.94."""
    assert mean_share("overload", [record for record, _ in minded]) >= 0.94


def test_who_does_not_mind_load_feeds_it(minded: list[tuple[Record, OnlineLearner]]) -> None:
    careless = [lived("overload", seed, mind_load=False)[0] for seed in SEEDS]
    assert mean_share("overload", careless) < 0.6
    requests = [float(np.mean([record.requests.mean() for record in part])) for part in (careless, [minded[0][0]])]
    assert requests[0] > 1.5 * requests[1]


def test_where_failures_come_by_chance_it_costs_next_to_nothing() -> None:
    """One call in five fails, whatever the load: retries are raised to what pays."""
    lives = [lived("flaky20", seed) for seed in SEEDS]
    assert mean_share("flaky20", [record for record, _ in lives]) >= 0.97
    assert not any(learner._evidence.strain.feared for _, learner in lives if learner._evidence.strain is not None)


def test_an_outage_is_not_taken_for_load() -> None:
    """Next to nothing answers for 300 calls, whatever is sent: when it has listened, it fears nothing, and as many
    extra requests are allowed as before. (An outage that ends just while it listens looks like load of its own.)
    """
    scenario = SCENARIOS["flaky20"]
    learner = OnlineLearner(objective=scenario.objective)
    policy = Learned(learner)
    play(scenario, policy, 0, 1500)
    strain = learner._evidence.strain
    assert strain is not None
    allowed = strain.allowed
    silent = replace(scenario.at(0), hang=0.999)
    play(replace(scenario, at=lambda _: silent), policy, 1, 300)
    assert learner._evidence.strain is not None
    assert not learner._evidence.strain.feared
    assert learner._evidence.strain.allowed >= allowed
