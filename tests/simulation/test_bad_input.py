"""What comes in may be anything: the online learner through odd clocks, odd durations, odd loads and odd wishes.

What is promised of each stands in its test. All dice are seeded, all time is virtual: a run is the same every time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from houses import House
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Value
from poet.testing.learners import LIVE, MOST_BYTES

Live = dict[str, Value]
HANG = math.inf


def service(*, seconds: float = 0.2, hang: float = 0.02, error: float = 0.0) -> Callable[[random.Random], float | None]:
    """Seconds that an answer takes, log-normal of sigma 0.4 about ``seconds``; inf: never; None: an error at once."""

    def attempt(dice: random.Random) -> float | None:
        if dice.random() < error:
            return None
        return HANG if dice.random() < hang else seconds * math.exp(0.4 * dice.gauss(0, 1))

    return attempt


class Life:
    """A learner, the values that it has brought about, and the coins of its probes."""

    def __init__(self, learner: OnlineLearner, live: Live | None = None, *, seed: int = 1) -> None:
        self.learner, self.live = learner, dict(LIVE if live is None else live)
        self.dice, self.calls = random.Random(seed), 0
        self.good: list[bool] = []
        self.timeouts: list[float] = []

    def through(
        self,
        attempt: Callable[[random.Random], float | None],
        calls: int,
        *,
        started: Callable[[int], float] = float,
        odd: Callable[[Execution], Execution] = lambda execution: execution,
    ) -> Life:
        """``calls`` calls, each learned from; ``odd`` is what becomes of an execution on its way to the learner."""
        for _ in range(calls):
            probe = self.learner.probe()
            timeout, retries = float(self.live["timeout"]), int(self.live["retries"])
            timeout *= probe.stretch if self.dice.random() < probe.limit else 1.0
            retries += self.dice.random() < probe.retry
            retries = 0 if probe.calm else retries
            made: list[Attempt] = []
            for _ in range(retries + 1):
                seconds = attempt(self.dice)
                if seconds is None:
                    made.append(Attempt(Outcome.ERROR, 0.01))
                    continue
                if seconds <= timeout:
                    made.append(Attempt(Outcome.SUCCESS, seconds))
                    break
                made.append(Attempt(Outcome.TIMEOUT, timeout))
            outcome, total = made[-1].outcome, sum(each.seconds for each in made)
            self.good.append(outcome.good)
            self.learner.update([odd(Execution("w", self.calls, started(self.calls), total, outcome, 1, tuple(made)))])
            self.calls += 1
            suggestion = self.learner.suggest(self.live)
            if suggestion is not None:
                self.live = dict(suggestion.values)
            self.timeouts.append(float(self.live["timeout"]))
        return self

    def recovery(self, since: int, run: int = 20) -> float:
        """Calls from ``since`` until ``run`` successes in a row."""
        length = 0
        for number, good in enumerate(self.good[since:], 1):
            length = length + 1 if good else 0
            if length == run:
                return number
        return math.inf


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "started",
    [
        lambda n: 1e9 - 3600.0 * n,
        lambda n: 0.0,
        lambda n: -1e12,
        lambda n: math.nan,
        lambda n: 1e9 + 3600.0 * n,
        lambda n: 1e9 + 30 * 86400.0 * (n >= 150),
        lambda n: 1e9 + 1e-5 * n,
    ],
    ids=["going back", "standing", "before time", "nan", "one call an hour", "a month of silence", "1e5 a second"],
)
def test_learning_counts_calls_and_not_hours(started: Callable[[int], float]) -> None:
    """Whatever the wall clock says, and however far calls lie apart: the same calls teach the same.

    So nothing is forgotten in a month without calls, and what has changed meanwhile is found out by the first calls
    after it; a function that is called once an hour needs as many calls as any other.
    """
    usual = Life(OnlineLearner()).through(service(), 300)
    odd = Life(OnlineLearner()).through(service(), 300, started=started)
    assert odd.timeouts == usual.timeouts
    assert odd.live == usual.live


def test_a_service_that_became_slow_in_a_month_without_calls_is_back_within_thirty_calls() -> None:
    """20 good calls in a row; of eight other seeds seven take 23 to 27, as they did before retries were raised step by
    step, and one takes 105: it is waiting to hear whether the trouble is load of its own.
    """
    life = Life(OnlineLearner()).through(service(), 400)
    life.through(service(seconds=2.0), 100, started=lambda n: n + 30 * 86400.0)
    assert life.recovery(400) <= 30


def called(house: House, calls: int, between: Callable[[int], object], **options: Any) -> Any:
    """A decorated function after ``calls`` calls, with ``between`` after each."""
    dice = random.Random(1)

    @house.poet(enable_training=True, name="fetch", **options)
    def fetch() -> int:
        house.clock.sleep(0.2 * math.exp(0.4 * dice.gauss(0, 1)))
        return 1

    for number in range(calls):
        fetch()
        between(number)
        if number % 20 == 19:
            house.agent.flush()
    return fetch


@pytest.mark.parametrize("case", ["going back", "one call an hour", "a month of silence"])
def test_a_decorated_function_learns_the_same_on_any_clock(case: str) -> None:
    usual, house = House(), House()
    between: dict[str, Callable[[int], object]] = {
        "going back": lambda n: house.clock.set_wall(1.7e9 - 86400.0 * n),
        "one call an hour": lambda n: house.clock.sleep(3600.0),
        "a month of silence": lambda n: house.clock.sleep(30 * 86400.0 if n == 150 else 0.0),
    }
    expected = called(usual, 300, lambda n: None)
    found = called(house, 300, between[case])
    assert dict(found.poet.parameters) == dict(expected.poet.parameters)
    assert found.poet.parameters["timeout"] < 30.0
    assert found.poet.status()["faults"] == 0


# --- durations --------------------------------------------------------------------------------------------------------

ODD = (-1.0, -1e300, math.nan, math.inf, -math.inf)


@pytest.mark.parametrize("seconds", ODD)
def test_an_attempt_whose_duration_cannot_be_is_left_out(seconds: float) -> None:
    """Every second call's attempts are odd: what is learned of the others' is what would be learned of them alone."""

    def broken(execution: Execution) -> Execution:
        if execution.sequence % 2:
            return execution
        attempts = tuple(each._replace(seconds=seconds) for each in execution.attempts)
        return execution._replace(seconds=seconds, attempts=attempts)

    life = Life(OnlineLearner()).through(service(), 400, odd=broken)
    usual = Life(OnlineLearner()).through(service(), 400)
    assert 0.5 < life.live["timeout"] / usual.live["timeout"] < 2.0  # type: ignore[operator]
    assert life.learner.explain(life.live).sentences


@pytest.mark.parametrize("seconds", [1e6, 1e12, 1e300])
def test_an_absurd_duration_counts_as_longer_than_half_an_hour_and_no_more(seconds: float) -> None:
    """One answer in fifty is said to have taken years; it is as if it had never come."""

    def broken(execution: Execution) -> Execution:
        if execution.sequence % 50 or not execution.outcome.good:
            return execution
        return execution._replace(attempts=(Attempt(Outcome.SUCCESS, seconds),))

    life = Life(OnlineLearner()).through(service(), 400, odd=broken)
    assert 0.3 < float(life.live["timeout"]) < 5.0


@pytest.mark.parametrize("seconds", [0.0, 1e-300, 2e-5])
def test_latencies_of_twenty_microseconds_and_less_are_learned_from(seconds: float) -> None:
    """Bins begin at about 10 us; the lowest timeout is 1 ms, which is far above. Hangs are cut short soon."""
    life = Life(OnlineLearner()).through(service(seconds=seconds), 400)
    assert 0.001 <= float(life.live["timeout"]) < 0.1
    assert sum(life.good[100:]) >= 295


def test_latencies_of_twenty_minutes_are_learned_from_where_the_bounds_allow_it() -> None:
    wide = Space(timeout=Real(0.001, 7200.0, log=True), retries=Integer(0, 5))
    declared: Live = {"timeout": 3600.0, "retries": 3, "backoff": 0.1}
    life = Life(OnlineLearner(space=wide, declared=declared), declared).through(service(seconds=1200.0), 300)
    assert 1200.0 < float(life.live["timeout"]) < 7200.0
    assert sum(life.good[100:]) >= 196


def test_a_limit_far_below_latencies_of_twenty_minutes_is_left_behind_in_wide_bounds() -> None:
    """Until the first answer, which is luck, nobody knows that there are any.

    Seven of these eight seeds get there, within 46 to 169 calls; one does not within 200.
    """
    wide = Space(timeout=Real(0.001, 7200.0, log=True), retries=Integer(0, 5))
    needed = [
        Life(OnlineLearner(space=wide, seed=seed), seed=seed).through(service(seconds=1200.0), 200).recovery(0)
        for seed in range(8)
    ]
    assert sum(calls < 180 for calls in needed) >= 7


def test_usual_bounds_hold_where_latencies_are_of_twenty_minutes() -> None:
    """120 s at most, and nothing ever answers: no number of retries mends that, so none are made in the end."""
    life = Life(OnlineLearner()).through(service(seconds=1200.0, hang=0.0), 300)
    assert max(life.timeouts) <= 120.0
    assert life.live["retries"] <= 1  # type: ignore[operator]


def test_a_decorated_function_of_twenty_minutes_has_bounds_of_four_times_its_timeout() -> None:
    house = House()
    dice = random.Random(1)

    @house.poet(enable_training=True, timeout=3600.0, name="report")
    def report() -> int:
        house.clock.sleep(1200.0 * math.exp(0.4 * dice.gauss(0, 1)))
        return 1

    for number in range(200):
        report()
        if number % 20 == 19:
            house.agent.flush()
    assert 1200.0 < report.poet.parameters["timeout"] <= 14_400.0


# --- all calls fail ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [service(hang=1.0), service(error=1.0)], ids=["hangs", "errors"])
@pytest.mark.parametrize("calls", [50, 500])
def test_an_outage_of_all_calls_is_over_for_us_soon_after_it_is_over(attempt: Any, calls: int) -> None:
    """20 good calls in a row within 60 calls of its end; within bounds all the time."""
    life = Life(OnlineLearner()).through(service(), 200).through(attempt, calls).through(service(), 300)
    assert life.recovery(200 + calls) <= 60
    assert all(0.001 <= timeout <= 120.0 for timeout in life.timeouts)


def test_a_function_that_has_failed_from_its_first_call_on_explains_that() -> None:
    life = Life(OnlineLearner()).through(service(error=1.0), 300)
    assert all(0.001 <= timeout <= 120.0 for timeout in life.timeouts)
    assert any("error" in sentence for sentence in life.learner.explain(life.live).sentences)
    life.through(service(), 300)
    assert life.recovery(300) <= 60


# --- loads ------------------------------------------------------------------------------------------------------------


def test_a_hundred_thousand_calls_take_no_more_memory_than_a_thousand() -> None:
    learner = OnlineLearner()
    dice, attempt = random.Random(2), service(hang=0.0)
    sizes = []
    for batch in range(100):
        calls: Iterator[int] = iter(range(1000 * batch, 1000 * batch + 1000))
        learner.update(
            [
                Execution("w", n, 1e9 + 1e-5 * n, s, Outcome.SUCCESS, 1, (Attempt(Outcome.SUCCESS, s),))
                for n in calls
                if (s := attempt(dice)) is not None
            ]
        )
        learner.suggest(LIVE)
        sizes.append(len(learner.dump()))
    assert max(sizes) <= MOST_BYTES
    assert sizes[-1] <= 1.2 * max(sizes[:5])


def test_a_hundred_thousand_calls_within_a_second_are_kept_or_counted_as_lost() -> None:
    """The buffer holds ten thousand; what a trainer that never ran could not take is told, not silently gone."""
    house = House()

    @house.poet(enable_training=True, name="tick")
    def tick() -> int:
        house.clock.sleep(1e-5)
        return 1

    for _ in range(100_000):
        tick()
    house.agent.flush()
    status = tick.poet.status()
    assert status["calls"] + status["dropped"] == 100_000
    assert status["calls"] == 10_000
    assert status["faults"] == 0
    assert tick.poet.parameters["timeout"] < 1.0


# --- objectives that contradict each other ----------------------------------------------------------------------------

CONTRADICTIONS = {
    "a second costs more than any answer is worth": Objective(latency_cost=1e9),
    "a retry costs more than any answer is worth": Objective(latency_cost=0.1, attempt_cost=1e9),
    "nothing costs anything": Objective(latency_cost=0.0, attempt_cost=0.0),
    "a target, and a price that forbids it": Objective(latency_cost=1e6, attempt_cost=1e6, success_target=0.9999),
    "a target that cannot be had": Objective(latency_cost=0.3, success_target=0.999999),
    "an answer is worth next to nothing": Objective(value=1e-12, latency_cost=1.0),
}


PRICED_OUT = ("a second costs more than any answer is worth", "an answer is worth next to nothing")


@pytest.mark.parametrize("name", [name for name in CONTRADICTIONS if name not in PRICED_OUT])
@pytest.mark.parametrize("error", [0.0, 0.3])
def test_contradictions_are_settled_in_favour_of_success(name: str, error: float) -> None:
    """Bounds hold. A target counts before all prices, and one that cannot be had gives as much as can be. Where only
    retries are out of price, the single attempt is waited for.
    """
    objective = CONTRADICTIONS[name]
    life = Life(OnlineLearner(objective=objective)).through(service(error=error), 500)
    assert all(0.001 <= timeout <= 120.0 for timeout in life.timeouts)
    assert 0 <= life.live["retries"] <= 5  # type: ignore[operator]
    if name == "a retry costs more than any answer is worth":
        assert life.live["retries"] == 0
        assert sum(life.good[200:]) >= (0.96 - error) * 300 - 2 * (error * (1 - error) * 300) ** 0.5
    else:
        assert sum(life.good[200:]) >= 0.97 * 300
    if objective.success_target is not None:
        assert sum(life.good[200:]) >= 0.985 * 300
    assert life.learner.explain(life.live).sentences


@pytest.mark.parametrize("name", PRICED_OUT)
@pytest.mark.parametrize("error", [0.0, 0.3])
def test_who_declares_that_waiting_costs_more_than_an_answer_is_not_made_to_wait(name: str, error: float) -> None:
    """By a declared cost, success has a price and no floor: what is said to be not worth it, is not bought."""
    life = Life(OnlineLearner(objective=CONTRADICTIONS[name])).through(service(error=error), 500)
    assert all(0.001 <= timeout <= 120.0 for timeout in life.timeouts)
    assert life.live["retries"] == 0
    assert max(life.timeouts[300:]) < 0.1
    assert life.learner.explain(life.live).sentences
