"""What the learner comes to, kept as figures: a change of these is a change of behaviour, to be made on purpose.

``python tests/golden/test_learned_values.py`` redraws ``learned_values.json``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from poet.learning.online_learner import OnlineLearner
from poet.sim.evaluate import oracle_series
from poet.sim.play import play, share
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

KEPT = Path(__file__).with_name("learned_values.json")
NAMES = ("fast_api", "heavy_tail", "flaky20", "bimodal", "perm_heavy", "slow_llm")
CALLS, SEED = 1000, 0


def lived(name: str) -> dict[str, object]:
    """Share of the oracle's utility, and the changes made, over the first calls of a scenario."""
    scenario = SCENARIOS[name]
    policy = Learned(OnlineLearner(objective=scenario.objective, seed=SEED), seed=SEED)
    record = play(scenario, policy, SEED, CALLS)
    return {
        "share": round(share(record, oracle_series(scenario, calls=CALLS)), 4),
        "changes": [[n, *(said.values[each] for each in ("timeout", "retries", "backoff"))] for n, said in policy.said],
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_learner_comes_to_the_values_that_it_came_to(name: str) -> None:
    """Shares to 0.005; the last values may be one step each off, as another build may round otherwise."""
    kept, now = json.loads(KEPT.read_text(encoding="utf-8"))["figures"][name], lived(name)
    assert now["share"] == pytest.approx(kept["share"], abs=0.005)
    (_, timeout, retries, backoff), (_, *kept_values) = now["changes"][-1], kept["changes"][-1]  # type: ignore[index]
    kept_timeout, kept_retries, kept_backoff = kept_values
    assert 1 / 1.26 < timeout / kept_timeout < 1.26
    assert abs(retries - kept_retries) <= 1
    assert 1 / 2.5 <= backoff / kept_backoff <= 2.5


def redraw() -> None:
    """Write the figures of today."""
    facts = {
        "source": "poet.sim.scenarios, the learner with timeout 30 s, 3 retries, backoff 0.1 s declared",
        "recipe": "python tests/golden/test_learned_values.py",
        "date": datetime.now(tz=UTC).date().isoformat(),
        "seed": SEED,
        "calls": CALLS,
        "figures": {name: lived(name) for name in NAMES},
    }
    KEPT.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    redraw()
