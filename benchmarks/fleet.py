"""Do eight processes that share a store learn as one? Beside a single learner that sees all their calls.

    python -m benchmarks.fleet [--store URL] [--seeds N] [--every CALLS]

Eight real processes call one simulated service under values that they share, learn, and exchange what they have learned
through the store after every few calls each. The single learner meets the very same calls, with the same dice, one by
one. When all have made ``CALLS`` of them, so that a process has made an eighth of that, they are compared. Both go on
until each process has made a sixth as many, to see what stays.

An estimate is what the learner itself says: success, seconds and utility per call that it foresees for one and the same
plan, that which the single learner holds to then, and quantiles of latency. One is reached for good when it is within
2 % of the single learner's of then, and stays there; as new calls move all estimates, the single learner's does not
always stay there either. How far apart two single learners are that see the same calls, but draw
otherwise, says how much of a difference is chance. Beside it stands what the live values are really worth, exactly
(``poet.sim.evaluate``). Brackets hold the 90 % interval of a mean, by bootstrap over services and seeds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.learning import DECLARED, interval
from benchmarks.table import Row, show
from poet.app import open_store
from poet.errors import StaleParameters
from poet.learning.online_learner import OnlineLearner
from poet.model.execution import Execution
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Store, Suggestion
from poet.settings import Settings
from poet.sim.evaluate import expected_utility
from poet.sim.play import perform
from poet.sim.scenarios import SCENARIOS, Scenario
from poet.sim.services import Dice, Plan
from poet.testing.learners import Learned

SERVICES = ("fast_api", "heavy_tail", "flaky20", "bimodal", "perm_heavy")
PROCESSES = 8
CALLS = 2400  # of all together, when they are compared
EVERY = 5  # calls of each process from one exchange to the next
CLOSE = 0.02  # what counts as the same
SPEED = 6  # the bar: a process makes so many times fewer calls than the single learner, or fewer still
MOST = PROCESSES * CALLS // SPEED  # calls of all processes together
PATIENCE = 60.0  # for the slowest of the processes [s]

Estimates = Mapping[str, float]


class Moment(NamedTuple):
    """What was known and in force after some calls."""

    calls: int  # of all together
    state: bytes
    live: Mapping[str, Value]


class Life(NamedTuple):
    """One fleet, or one learner, with one service."""

    service: str
    seed: int
    moments: list[Moment]
    changes: int
    size: float = 0.0  # of a contribution, mean [bytes]
    taken: float = 0.0  # by an exchange, median [s]


class Trio(NamedTuple):
    """A fleet beside the learner that saw the same calls, and another one that did, and drew otherwise."""

    fleet: Life
    single: Life
    twin: Life


# --- one process -----------------------------------------------------------------------------------------------------


def host(
    index: int, url: str, lives: Sequence[tuple[str, int]], every: int, together: Barrier, told: Queue[Life]
) -> None:
    """Live through all of ``lives`` beside the other processes; the first tells how it went."""
    with tempfile.TemporaryDirectory() as folder:  # for what a store keeps beside it, as each were a host of its own
        store = open_store(Settings(store=url, root=Path(folder)))
        for service, seed in lives:
            life = _lived(index, store, service, seed, every, together)
            if not index:
                told.put(life)
        store.close()


def _lived(index: int, store: Store, service: str, seed: int, every: int, together: Barrier) -> Life:
    scenario, dice = SCENARIOS[service], Dice(seed, service, MOST)
    key = FunctionKey("benchmarks", f"{service}_{seed}_{every}", "00000000")
    standing = store.register(FunctionRecord(key, None, "adaptive", DECLARED, {}, 0, 0, 0.0, 0.0))
    policy = Learned(_learner(scenario, index), standing.live, seed=PROCESSES * seed + index)
    moments: list[Moment] = []
    sizes, times = [0], [0.0]
    number = 0
    for first in range(0, MOST, PROCESSES * every):
        policy.live = dict(standing.live)
        for call in range(first + index, min(first + PROCESSES * every, MOST), PROCESSES):
            policy.learner.update((_called(scenario, policy, dice, call),))
            suggestion = policy.learner.suggest(policy.live)
            if suggestion is not None:
                standing = _published(store, key, standing, suggestion)
                policy.live = dict(standing.live)
        contribution = policy.learner.contribution()
        if contribution is not None:
            began, number = time.perf_counter(), number + 1
            learner = policy.learner
            state = store.exchange(key, f"host-{index}", number, lambda s: learner.merged(s, contribution))  # noqa: B023 - called at once
            learner.load(state)
            sizes.append(len(contribution))
            times.append(time.perf_counter() - began)
        together.wait(PATIENCE)
        standing = store.standing(key)
        if not index:
            moments.append(Moment(first + PROCESSES * every, store.load_learner(key) or b"", dict(standing.live)))
        together.wait(PATIENCE)
    return Life(
        service, seed, moments, standing.live.version - 1, float(np.mean(sizes[1:])), float(np.median(times[1:]))
    )


def _published(store: Store, key: FunctionKey, standing: Standing, suggestion: Suggestion) -> Standing:
    draft = ParameterSet(values_=suggestion.values, parent=standing.live.version, origin="learned")
    try:
        return store.publish(key, draft, expected=standing.generation)
    except StaleParameters:  # another process was faster
        return store.standing(key)


def _learner(scenario: Scenario, seed: int) -> OnlineLearner:
    return OnlineLearner(objective=scenario.objective, declared=DECLARED, seed=seed)


def _called(scenario: Scenario, policy: Learned, dice: Dice, call: int) -> Execution:
    asked = policy.parameters(call)
    plan = Plan.of(asked)
    probed = plan._replace(
        timeout=plan.timeout * float(asked["limit_stretch"]),  # type: ignore[arg-type]
        retries=0 if asked["calm"] else plan.retries + int(asked["extra_retry"]),  # type: ignore[call-overload]
    )
    done = perform(scenario.service(call), probed, dice.call(call))
    return Execution("host", call, 0.0, done.seconds, done.outcome, 1, done.attempts)


# --- all of them -----------------------------------------------------------------------------------------------------


def fleets(url: str, lives: Sequence[tuple[str, int]], every: int) -> list[Life]:
    """All lives of a fleet of processes that share the store at ``url``, one after the other."""
    context = multiprocessing.get_context("spawn")
    together, told = context.Barrier(PROCESSES), context.Queue()
    hosts = [
        context.Process(target=host, args=(index, url, lives, every, together, told), daemon=True)
        for index in range(PROCESSES)
    ]
    for process in hosts:
        process.start()
    try:
        return [told.get(timeout=2 * PATIENCE) for _ in lives]
    finally:
        for process in hosts:
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()


def alone(service: str, seed: int, every: int, draws: int = 0) -> Life:
    """A single learner that makes all the calls. draws: seed of what it draws by itself."""
    scenario, dice = SCENARIOS[service], Dice(seed, service, MOST)
    policy = Learned(_learner(scenario, draws), DECLARED, seed=PROCESSES * seed + draws)
    moments = []
    for call in range(MOST):
        policy.observe(_called(scenario, policy, dice, call))
        if (call + 1) % (PROCESSES * every) == 0:
            moments.append(Moment(call + 1, policy.learner.dump(), dict(policy.live)))
    return Life(service, seed, moments, len(policy.said))


def estimates(moment: Moment, scenario: Scenario, plan: Mapping[str, Value]) -> Estimates:
    """What the learner says then of ``plan``, and of latency; what it does not know is missing."""
    learner = _learner(scenario, 0)
    learner.load(moment.state)
    told = learner.explain(plan)
    found = {f"p{100 * share:g}": seconds for share, seconds in told.latency.items() if share in (0.5, 0.9, 0.99)}
    if told.live is not None:
        found |= {
            "utility": told.live.utility.value,
            "success": told.live.success,
            "seconds": told.live.seconds,
        }
    return found


def reached(moments: Iterable[Moment], values: Iterable[float | None], goal: float) -> int | None:
    """Calls of all together from which on a value stays within ``CLOSE`` of ``goal``; None: not in the end either."""
    since = None
    for moment, value in zip(moments, values, strict=True):
        if value is None or abs(value - goal) > CLOSE * abs(goal):
            since = None
        elif since is None:
            since = moment.calls
    return since


class Comparison(NamedTuple):
    """One service and seed: the fleet's estimates against the single learner's last ones, and when it reaches them."""

    apart: Estimates  # by how much the fleet's differs when it has seen as many calls, as a share
    twins: Estimates  # the same of another single learner
    fleet: Mapping[str, int | None]  # calls of each process until it is reached
    single: Mapping[str, int | None]  # calls of the single learner until its own last one is
    worth: float  # by how much what is live in the end is truly worth more, as a share


def compared(trio: Trio) -> Comparison:
    """The figures of a fleet."""
    fleet, single, twin = trio
    scenario = SCENARIOS[single.service]
    then = next(number for number, moment in enumerate(single.moments) if moment.calls >= CALLS)
    plan = single.moments[then].live
    mine, theirs = ([estimates(moment, scenario, plan) for moment in life.moments] for life in (fleet, single))
    goals, other = theirs[then], estimates(twin.moments[then], scenario, plan)
    really = [[_worth(scenario, moment) for moment in life.moments] for life in (fleet, single)]

    def when(life: Life, told: list[Estimates], exact: list[float], share: int) -> Mapping[str, int | None]:
        found = {name: reached(life.moments, [each.get(name) for each in told], goal) for name, goal in goals.items()}
        found["worth"] = reached(life.moments, exact, really[1][then])
        return {name: None if calls is None else calls // share for name, calls in found.items()}

    return Comparison(
        _apart(mine[then], goals),
        _apart(other, goals),
        when(fleet, mine, really[0], PROCESSES),
        when(single, theirs, really[1], 1),
        (really[0][-1] - really[1][-1]) / abs(really[1][-1]),
    )


def _apart(told: Estimates, goals: Estimates) -> Estimates:
    return {name: abs(told[name] - goal) / abs(goal) for name, goal in goals.items() if name in told}


def _worth(scenario: Scenario, moment: Moment) -> float:
    return expected_utility(scenario, moment.calls - 1, Plan.of(moment.live))


# --- telling ---------------------------------------------------------------------------------------------------------


def rows(trios: list[Trio], every: int) -> Iterator[Row]:
    """The figures of all fleets, of one interval between exchanges."""
    found = [compared(trio) for trio in trios]
    told = f"after {CALLS} calls of {PROCESSES} processes, an exchange every {every} of each"
    for name in ("utility", "success", "seconds", "p50", "p90", "p99"):
        apart = [each.apart[name] for each in found if name in each.apart]
        twins = [each.twins[name] for each in found if name in each.twins]
        barred = name in ("utility", "success")
        if apart:
            mean, low, high = interval(apart)
            within = sum(x <= CLOSE for x in apart)
            yield Row(
                f"{told}: {name}, from the single learner's; another single learner's",
                f"≤ {100 * CLOSE:g} %" if barred else "",
                f"{100 * mean:.2f} % [{100 * low:.2f}, {100 * high:.2f}], within 2 % in {within} of {len(apart)}; "
                f"{100 * np.mean(twins):.2f} %, in {sum(x <= CLOSE for x in twins)} of {len(twins)}",
                mean <= CLOSE if barred else None,
            )
    for name, what in (("utility", "the estimated utility"), ("worth", "the true utility of what is live")):
        mine = [calls for each in found if (calls := each.fleet[name]) is not None]
        theirs = [calls for each in found if (calls := each.single[name]) is not None]
        ratio = float(np.median(theirs)) / max(float(np.median(mine)), 1.0)
        yield Row(
            f"… calls of each process until {what} stays within {100 * CLOSE:g} %; of the single learner",
            "",
            f"{_told(mine, len(found))}; {_told(theirs, len(found))}; {ratio:.1f} times",
        )
    worth = interval(each.worth for each in found)
    yield Row(
        "… true utility of what is live in the end, more than the single learner's",
        "",
        "{:+.2f} % [{:+.2f}, {:+.2f}]".format(*(100 * x for x in worth)),
    )
    changes = [np.mean([life.changes for life in lives]) for lives in zip(*trios, strict=True)]
    yield Row("… changes of what is live; single learners'", "", "{:.1f}; {:.1f}, {:.1f}".format(*changes))
    size, taken = (float(np.mean([getattr(trio.fleet, name) for trio in trios])) for name in ("size", "taken"))
    yield Row("… a contribution; an exchange, the store's part included", "", f"{size:.0f} bytes; {1e3 * taken:.1f} ms")


def _told(calls: Sequence[int], of: int) -> str:
    return f"median {np.median(calls):.0f}, most {max(calls)}, in {len(calls)} of {of}" if calls else "never"


def run(url: str | None = None, seeds: int = 3, every: Sequence[int] = (EVERY,)) -> list[Row]:
    """All rows. url: of the store, whose server is there; None: a SQLite file."""
    lives = [(service, seed) for service in SERVICES for seed in range(seeds)]
    found: list[Row] = []
    for calls in every:
        with tempfile.TemporaryDirectory() as folder:
            shared = fleets(url or f"sqlite:///{folder}/poet.db", lives, calls)
        single, twins = ([alone(service, seed, calls, draws) for service, seed in lives] for draws in range(2))
        found += rows([Trio(*trio) for trio in zip(shared, single, twins, strict=True)], calls)
    return found


def main(arguments: list[str]) -> int:
    """Measure, tell, and fail where a bar is missed."""
    parser = argparse.ArgumentParser(description="Do eight processes that share a store learn as one?")
    parser.add_argument("--store", help="its URL; left out: a SQLite file of its own")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, nargs="+", default=[EVERY], help="calls of a process between exchanges")
    asked = parser.parse_args(arguments)
    return 0 if show("A fleet learns as one", run(asked.store, asked.seeds, asked.every)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
