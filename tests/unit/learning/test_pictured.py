"""What a learner's explanation draws."""

from __future__ import annotations

import pytest

from poet.learning.online_learner import OnlineLearner
from poet.model.explanation import Explanation
from poet.model.tunable import Integer, Real, Space, Value
from poet.sim.play import Fixed, play
from poet.sim.scenarios import SCENARIOS
from poet.testing.learners import Learned

LIVE: dict[str, Value] = {"timeout": 2.0, "retries": 1, "backoff": 0.1}


def explained(name: str, *, calls: int = 600, space: Space | None = None, live: dict[str, Value] = LIVE) -> Explanation:
    learner = OnlineLearner(objective=SCENARIOS[name].objective, space=space)
    policy = Learned(learner, live)
    policy.parameters = Fixed(30.0, 1, 0.1).parameters  # type: ignore[method-assign]  # it hears, and does not steer
    play(SCENARIOS[name], policy, 0, calls)
    return learner.explain(live)


@pytest.mark.parametrize("name", ["fast_api", "bimodal", "heavy_tail", "slow_llm", "flaky20"])
def test_the_spread_tells_when_answers_come(name: str) -> None:
    explanation = explained(name)
    come = 0.0
    for part in explanation.spread:
        assert 0 <= part.low < part.high
        assert part.share > 0
        for share, seconds in explanation.latency.items():
            if part.low < seconds <= part.high:
                assert come <= share + 1e-9
                assert share <= come + part.share + 1e-9
        come += part.share
    assert come == pytest.approx(1 - explanation.unanswered)


@pytest.mark.parametrize("name", ["fast_api", "bimodal", "heavy_tail", "slow_llm"])
def test_charted_timeouts_rise_and_the_live_one_is_among_them(name: str) -> None:
    explanation = explained(name)
    timeouts = [float(each.values["timeout"]) for each in explanation.timeouts]
    assert timeouts == sorted(set(timeouts))
    assert 2.0 in timeouts
    assert 8.0 in timeouts
    assert len(timeouts) <= 24
    assert all(
        {**each.values, "timeout": 2.0} == explanation.timeouts[0].values | {"timeout": 2.0}
        for each in explanation.timeouts
    )
    assert explanation.live is not None
    charted = explanation.timeouts[timeouts.index(2.0)]
    assert charted.utility.low - 0.02 <= explanation.live.utility.value <= charted.utility.high + 0.02


def test_the_chart_keeps_within_the_bounds() -> None:
    space = Space(timeout=Real(1.0, 3.0, log=True))
    timeouts = [float(each.values["timeout"]) for each in explained("heavy_tail", space=space).timeouts]
    assert (timeouts[0], timeouts[-1]) == (1.0, 3.0)


def test_a_fixed_timeout_is_the_only_one_charted() -> None:
    space = Space(timeout=Real(2.0, 2.0, log=True))
    assert len(explained("heavy_tail", space=space).timeouts) == 1


def test_where_next_to_nothing_is_known_nothing_is_drawn() -> None:
    explanation = OnlineLearner().explain(LIVE)
    assert (explanation.spread, explanation.timeouts, explanation.picture()) == ((), (), [])
    assert str(explanation).startswith("0 calls seen")


def test_a_neighbour_is_told_by_what_would_differ_only() -> None:
    sentences = [sentence for sentence in explained("fast_api").sentences if sentence.startswith("Why not")]
    assert len(sentences) >= 4
    for sentence in sentences:
        for said in sentence.rpartition(": ")[2].rstrip(".").split(", "):
            new, mark, old = said.partition(" instead of ")
            if mark:
                assert new.removeprefix("success ").removesuffix(" requests") != old
            else:
                assert said == "next to nothing would change"


def test_neighbours_are_asked_for_in_order() -> None:
    asked = [sentence.split("?")[0] for sentence in explained("fast_api").sentences if sentence.startswith("Why not")]
    order = ["a lower timeout", "a higher timeout", "fewer retries", "more retries"]
    order += ["shorter pauses", "longer pauses", "as declared"]
    places = [order.index(each.removeprefix("Why not ")) for each in asked]
    assert places == sorted(places)


def test_other_pauses_are_neighbours_where_they_are_tuned() -> None:
    space = Space(timeout=Real(0.001, 120.0, log=True), retries=Integer(0, 5), backoff=Real(0.0, 60.0))
    asked = [each for each in explained("sticky_err", space=space).sentences if "pauses?" in each]
    assert [each.split("?")[0] for each in asked] == ["Why not shorter pauses", "Why not longer pauses"]
    none = explained("sticky_err", space=space, live={**LIVE, "retries": 0}).sentences
    assert not any("pauses?" in each for each in none)
