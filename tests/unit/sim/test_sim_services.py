from __future__ import annotations

import math

import numpy as np
import pytest

from poet.settings import BACKOFF_CAP
from poet.sim.services import ATTEMPTS, Dice, Mode, Plan, Service

STEADY = (Mode(1.0, 0.2, 0.5),)


def test_the_longest_pause_doubles_up_to_the_cap() -> None:
    assert [Plan(1.0, 6, 1.0).longest_pause(k) for k in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, BACKOFF_CAP, BACKOFF_CAP]


def test_a_plan_is_read_from_parameters_and_other_names_are_ignored() -> None:
    assert Plan.of({"timeout": 2, "retries": 1, "backoff": 0.5, "temperature": 0.1}) == Plan(2.0, 1, 0.5, 0.0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"timeout": 0.0, "retries": 1},
        {"timeout": math.nan, "retries": 1},
        {"timeout": 1.0, "retries": ATTEMPTS},
        {"timeout": 1.0, "retries": -1},
        {"timeout": 1.0, "retries": 1, "backoff": -0.1},
        {"timeout": 1.0, "retries": 1, "hedge_delay": math.inf},
        {"retries": 1},
        {"timeout": None, "retries": 1},
    ],
)
def test_a_plan_out_of_range_is_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        Plan.of(parameters)


@pytest.mark.parametrize(
    "wrong",
    [
        {"latency": (Mode(0.9, 1.0, 1.0),)},
        {"latency": (Mode(1.0, 0.0, 1.0),)},
        {"latency": STEADY, "hang": -0.1},
        {"latency": STEADY, "error": 0.96},
        {"latency": STEADY, "permanent": math.nan},
        {"latency": STEADY, "persistence": -1.0},
        {"latency": STEADY, "work": -1.0},
        {"latency": STEADY, "work": ((0.5, 1.0),)},
    ],
)
def test_a_service_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Service(**wrong)  # type: ignore[arg-type]


def test_an_error_fades_from_certainty_to_its_usual_share() -> None:
    service = Service(STEADY, error=0.1, persistence=2.0)
    assert service.error_after(0.0) == 1.0
    assert service.error_after(2.0) == pytest.approx(0.1 + 0.9 / math.e)
    assert service.error_after(1e3) == pytest.approx(0.1)


@pytest.mark.parametrize("bound", [0.0, 1e-9, 0.3, 2.0, 50.0])
def test_the_faded_share_over_a_jittered_pause_is_the_mean_of_its_moments(bound: float) -> None:
    service = Service(STEADY, error=0.1, persistence=2.0)
    moments = [service.error_after(bound * (i + 0.5) / 20_000) for i in range(20_000)]
    assert service.error_after_pause_up_to(bound) == pytest.approx(sum(moments) / len(moments), abs=1e-7)


def test_a_slower_service_is_slower_in_answers_and_not_in_errors() -> None:
    service = Service(STEADY, error=0.9)
    slow = service.slowed(3.0, errors=0.5)
    assert slow.latency[0].median == pytest.approx(0.6)
    assert slow.error_latency == service.error_latency
    assert slow.error == 0.95
    assert service.slowed(1.0) is service


def test_draws_follow_the_mixture() -> None:
    service = Service((Mode(0.7, 0.1, 0.3), Mode(0.3, 10.0, 0.3)), hang=0.1, work=((0.25, 1.0), (0.75, 100.0)))
    dice = Dice(3, "mixture", 20_000)
    drawn = [dice.call(t) for t in range(20_000)]
    seconds = np.asarray([service.seconds(d.mode[0][0], d.normal[0][0], d.hang[0][0]) for d in drawn])
    factors = np.asarray([service.factor(d.work) for d in drawn])
    # Five standard errors each: a false alarm in 2 of a million seeds.
    for share, p in (
        (np.isinf(seconds).mean(), 0.1),
        ((seconds < 1.0).mean(), 0.9 * 0.7),
        ((seconds < 0.1).mean(), 0.9 * 0.35),
        ((factors == 1.0).mean(), 0.25),
    ):
        assert share == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 20_000))


def test_equal_seeds_give_equal_dice_and_names_part_them() -> None:
    assert Dice(1, "a", 5).call(4) == Dice(1, "a", 5).call(4)
    assert Dice(1, "a", 5).call(4) != Dice(1, "b", 5).call(4)
    assert Dice(1, "a", 5).call(4) != Dice(2, "a", 5).call(4)
