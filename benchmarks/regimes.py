"""A service that goes back and forth: how soon parameters are right again, with the memory for regimes and without.

    python -m benchmarks.regimes [seeds]
    python -m benchmarks.regimes [seeds] parts

Situations of ``LEG`` calls per regime, ``LEGS`` of them. What counts are the switches to a regime that was there
before; in the controls the switches at the same places. Expected utilities are exact (``poet.sim.evaluate``), and both
learners meet the same dice. Extra requests are not held back (``mind_load=False``), as spells of listening would cover
what is measured. The memory does two things at an alarm: it gives back what was believed of retries before, and it
takes up a regime that it knows again. ``parts`` tells what each of them is worth alone.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import interval
from benchmarks.online import MOST_BYTES
from benchmarks.ours import DECLARED, SPACE, Ours
from benchmarks.rivals import calls_to_near
from benchmarks.table import Row, show
from poet.learning.online_learner import OnlineLearner
from poet.learning.regimes import Regimes
from poet.learning.states import State
from poet.model.objective import Objective
from poet.sim.evaluate import oracle_series
from poet.sim.play import play, regret
from poet.sim.scenarios import Scenario
from poet.sim.services import Mode, Service

LEG, LEGS = 600, 7  # calls of one regime, and how many follow one another
UNNOTICED = 40  # calls after a switch within which a picture of what was before may still be put aside
WINDOW = 20  # calls whose mean must be within 5 % of the oracle's
OBJECTIVE = Objective(latency_cost=0.08, attempt_cost=0.04)

QUICK = Service((Mode(1.0, 0.2, 0.5),), hang=0.01, error=0.01)
SLOW = Service((Mode(1.0, 3.0, 0.5),), hang=0.01, error=0.01)
ERRING = Service((Mode(1.0, 0.2, 0.5),), hang=0.01, error=0.2)
BOTH = Service((Mode(1.0, 3.0, 0.5),), hang=0.01, error=0.2)
ALIKE = Service((Mode(0.85, 0.2, 0.5), Mode(0.15, 6.0, 0.5)), hang=0.01, error=0.01)  # as quick, and another tail

# By situation, the regimes in turn.
NEVER = tuple(Service((Mode(1.0, median, 0.5),), hang=0.01, error=0.01) for median in (0.2, 3, 0.7, 8, 0.1, 1.5, 0.4))
SITUATIONS: dict[str, Sequence[Service]] = {
    "latency": [QUICK, SLOW] * 4,
    "errors": [QUICK, ERRING] * 4,
    "both": [QUICK, BOTH] * 4,
    "three": [QUICK, SLOW, ERRING] * 3,
    "none comes back": NEVER,
    "the third resembles the first": [QUICK, SLOW, ALIKE, SLOW, ALIKE, SLOW, ALIKE],
}
RECURRING = ("latency", "errors", "both", "three")

# The bars: what must hold for the benchmark to pass.
MOST_RATIO = 0.8  # of regret with the memory to that without, where regimes come back
CONTROLS = {"none comes back": 1.5, "the third resembles the first": 1.5}  # the same where they do not, or seem to
MOST_MISTAKEN = 0.05  # share of the switches to something new at which an old regime is taken up


class GivenBackOnly(Regimes):
    """Never knows a regime again."""

    def known(self) -> None:
        """None."""


class TakenUpOnly(Regimes):
    """Leaves what is believed of retries as it is; a regime that is taken up still brings its own."""

    def given_back(self, state: State) -> State:
        """As it is."""
        return state


PARTS: dict[str, type[Regimes] | None] = {
    "without": None,
    "what was believed of retries given back": GivenBackOnly,
    "a regime taken up": TakenUpOnly,
    "both": Regimes,
}
DISSECTED = ("latency", "both", "none comes back")


class Life(NamedTuple):
    """One life in one situation."""

    situation: str
    recall: bool
    seed: int
    back: tuple[float, ...]  # by switch: calls until within 5 % of the oracle; infinite: not before the next
    lost: tuple[float, ...]  # by switch: regret until the next
    early: tuple[float, ...]  # by switch: regret within 100 calls
    bytes: int  # of the state
    recalled: tuple[str, ...]  # of these switches: what was taken up first: "right", "wrong", "" for nothing


@lru_cache(maxsize=8)
def scenario_of(name: str) -> Scenario:
    """A situation."""
    regimes = SITUATIONS[name]
    return Scenario(f"regimes_{name}", lambda t: regimes[t // LEG], OBJECTIVE, calls=LEG * LEGS)


@lru_cache(maxsize=8)
def _oracle(name: str) -> NDArray[np.float64]:
    return oracle_series(scenario_of(name))


class Watched(Ours):
    """The learner as a policy; notes when it knows a regime again."""

    def __init__(self, seed: int, *, recall: bool, mind_load: bool) -> None:
        super().__init__(OBJECTIVE, seed)
        self.learner = OnlineLearner(
            objective=OBJECTIVE,
            space=SPACE,
            declared=DECLARED,
            hedge_budget=1.0,
            mind_load=mind_load,
            recall=recall,
            seed=seed,
        )
        self.known: list[tuple[int, int]] = []  # call, and the call up to which the regime had been in force

    def observe(self, execution: object) -> None:
        super().observe(execution)  # type: ignore[arg-type]
        found = self.learner.recalled
        if found is not None and (not self.known or self.known[-1][0] != found.call):
            self.known.append((found.call, found.last))


def life(name: str, recall: bool, mind_load: bool, seed: int, memory: type[Regimes] = Regimes) -> Life:
    """One life."""
    scenario, oracle = scenario_of(name), _oracle(name)
    policy = Watched(seed, recall=recall, mind_load=mind_load)
    if recall:
        policy.learner._evidence._regimes = memory()
    record = play(scenario, policy, seed)
    missed = np.append(0.0, regret(record, oracle))
    back, lost, early, recalled = [], [], [], []
    for leg in range(2, LEGS):
        first = leg * LEG
        part = slice(first, first + LEG)
        back.append(calls_to_near(record.expected[part], oracle[part], window=WINDOW, after=200))
        lost.append(float(missed[first + LEG] - missed[first]))
        early.append(float(missed[first + 100] - missed[first]))
        recalled.append(_verdict(name, leg, [each for each in policy.known if first < each[0] <= first + LEG]))
    return Life(name, recall, seed, tuple(back), tuple(lost), tuple(early), len(policy.learner.dump()), tuple(recalled))


def _verdict(name: str, leg: int, known: Sequence[tuple[int, int]]) -> str:
    """Whether the first that was taken up is the right one. known: when, and up to which call it had been in force."""
    if not known:
        return ""
    regimes = SITUATIONS[name]
    return "right" if regimes[(known[0][1] - UNNOTICED) // LEG] == regimes[leg] else "wrong"


def measured(seeds: int, *, processes: int = 2) -> list[Life]:
    """All lives, in parallel."""
    names = [(name, recall, False, seed) for name in SITUATIONS for seed in range(seeds) for recall in (False, True)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(life, *zip(*names, strict=True), chunksize=2 * max(1, seeds // 2)))


def _of(lives: Sequence[Life], name: str) -> tuple[list[Life], list[Life]]:
    """Those without the memory, and those with it."""
    mine = [life for life in lives if life.situation == name]
    return [life for life in mine if not life.recall], [life for life in mine if life.recall]


def table(lives: Sequence[Life]) -> Iterator[str]:
    """By situation, without the memory and with it."""
    yield (
        "| situation | regret per switch: without | with | within 100 calls: without | with "
        "| calls until within 5 %, mean: without | with | first taken up: right, wrong, none |"
    )
    yield "|---" * 8 + "|"
    for name in SITUATIONS:
        cells = []
        pair = _of(lives, name)
        for part in ("lost", "early"):
            for each in pair:
                mean, low, high = interval(float(np.mean(getattr(life, part))) for life in each)
                cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]")
        cells += [f"{np.mean([_until(life) for life in each]):.0f}" for each in pair]
        said = [verdict for life in pair[1] for verdict in life.recalled]
        cells.append(", ".join(str(said.count(verdict)) for verdict in ("right", "wrong", "")))
        yield f"| {name} | " + " | ".join(cells) + " |"


def _until(life: Life) -> float:
    """Mean calls until within 5 %; never counts as the whole of a leg."""
    return float(np.mean([min(each, LEG) for each in life.back]))


def _ratio(lives: Sequence[Life], names: Sequence[str]) -> tuple[float, float, float]:
    """Regret with the memory as a share of that without, over several situations, and its 90 % interval."""
    pairs = [_of(lives, name) for name in names]
    without, with_ = (
        np.array([[sum(life.lost) for life in pair[place]] for pair in pairs]).sum(axis=0) for place in (0, 1)
    )
    draws = np.random.default_rng(0).integers(0, len(without), (2000, len(without)))
    low, high = np.quantile(with_[draws].sum(axis=1) / without[draws].sum(axis=1), (0.05, 0.95))
    return float(with_.sum() / without.sum()), float(low), float(high)


def bars(lives: Sequence[Life]) -> Iterator[Row]:
    """The figures against their bars."""
    ratio, low, high = _ratio(lives, RECURRING)
    what = "regret per switch to a regime that was there before, as a share of that without the memory"
    yield Row(what, f"<= {MOST_RATIO}", f"{ratio:.2f} [{low:.2f}, {high:.2f}]", ratio <= MOST_RATIO)
    until = [float(np.mean([_until(life) for name in RECURRING for life in _of(lives, name)[k]])) for k in (0, 1)]
    yield Row(
        "… calls until within 5 % of the oracle, mean",
        "fewer",
        f"{until[1]:.0f} of {until[0]:.0f}",
        until[1] < until[0],
    )
    for name, most in CONTROLS.items():
        ratio, low, high = _ratio(lives, [name])
        yield Row(f"{name}: the same share", f"<= {most}", f"{ratio:.2f} [{low:.2f}, {high:.2f}]", ratio <= most)
    said = [verdict for life in _of(lives, "none comes back")[1] for verdict in life.recalled]
    share = said.count("wrong") / len(said)
    yield Row(
        "none comes back: switches at which one is taken up",
        f"<= {MOST_MISTAKEN}",
        f"{share:.2f}",
        share <= MOST_MISTAKEN,
    )
    most_bytes = max(life.bytes for life in lives if life.recall)
    yield Row("state of a function", f"<= {MOST_BYTES} bytes", f"{most_bytes} bytes", most_bytes <= MOST_BYTES)


def run(seeds: int = 4) -> Iterator[Row]:
    """Measure everything; the figures against their bars."""
    yield from bars(measured(seeds))


def parts(seeds: int) -> Iterator[str]:
    """What each part of the memory is worth alone: regret per switch, and calls until within 5 %."""
    yield f"| regret per switch; calls until within 5 % | {' | '.join(PARTS)} |"
    yield "|---" * (1 + len(PARTS)) + "|"
    for name in DISSECTED:
        cells = []
        for memory in PARTS.values():
            lives = [life(name, memory is not None, False, seed, memory or Regimes) for seed in range(seeds)]
            cells.append(
                f"{np.mean([each.lost for each in lives]):.2f}; {np.mean([_until(each) for each in lives]):.0f}"
            )
        yield f"| {name} | {' | '.join(cells)} |"


def main(arguments: list[str]) -> int:
    """Measure, tell all, and fail where a bar is missed."""
    if "parts" in arguments:
        print("\n".join(parts(int(arguments[0]))))
        return 0
    lives = measured(int(arguments[0]) if arguments else 10)
    print("\n".join(table(lives)))
    return 0 if show("A service that goes back and forth", bars(lives)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
