"""While it listens, and while it holds requests back, it says so, why, and for how long."""

from __future__ import annotations

from collections.abc import Mapping

from poet.learning.online_learner import OnlineLearner, headline
from poet.model.explanation import Explanation
from poet.model.tunable import Value
from poet.sim.play import play
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

LIVE: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 1.0}


class Told(Learned):
    """Asks for an explanation while it listens, and now and then besides."""

    def __init__(self, learner: OnlineLearner) -> None:
        super().__init__(learner, LIVE)
        self.online = learner
        self.told: dict[int, Explanation] = {}

    def observe(self, execution: object) -> None:
        super().observe(execution)  # type: ignore[arg-type]
        if self.online.listening or self.executions % 100 == 0:
            self.told[self.executions] = self.online.explain(self.live)
            told = headline(self.online.dump())
            assert told is not None
            assert told.listening == self.online.listening


def about_load(explanation: Explanation) -> str:
    return " ".join(line for line in explanation.sentences if "sent" in line or "extra requests" in line)


def test_in_an_overload_it_tells_what_it_does_without_and_until_when() -> None:
    scenario = SCENARIOS["overload"]
    policy = Told(OnlineLearner(objective=scenario.objective))
    play(scenario, policy, 0, 1200)
    listening = {at: each for at, each in policy.told.items() if each.listening}
    assert listening
    for at, each in listening.items():
        said = about_load(each)
        assert f"For some {each.listening} calls more no retries and no copies are sent" in said
        assert "% are usual" in said
        assert policy.online.probe().calm or at < policy.executions
        assert each.converged in (None, False)
    first = min(listening)
    assert listening[first + 1].listening == listening[first].listening - 1
    quiet = [each for at, each in policy.told.items() if not each.listening]
    assert all("calls more no retries" not in about_load(each) for each in quiet)


def test_what_its_guard_holds_back_is_told_with_when_more_is_tried() -> None:
    scenario = SCENARIOS["overload"]
    policy = Told(OnlineLearner(objective=scenario.objective))
    play(scenario, policy, 0, 1200)
    said = [about_load(each) for each in policy.told.values() if not each.listening]
    assert any("calls at the earliest" in each or "as soon as a plan wants them" in each for each in said)


def test_who_does_not_mind_its_load_has_nothing_of_it_to_tell() -> None:
    scenario = SCENARIOS["fast_api"]
    policy = Told(OnlineLearner(objective=scenario.objective, mind_load=False))
    play(scenario, policy, 0, 300)
    assert policy.online.listening == 0
    assert not any(about_load(each) for each in policy.told.values())
