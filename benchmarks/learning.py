"""How good is the learner? Its share of the oracle's utility, lock-out, and CPU, beside fixed values and a rule.

    python -m benchmarks.learning [seeds]

Every figure is a mean over seeds; brackets hold the 90 % interval of that mean (bootstrap over seeds). Expected
utilities are exact (``poet.sim.evaluate``), so that chance enters by what was seen and not by how it is scored.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np

from benchmarks.overhead import slowness
from benchmarks.table import Row, show
from poet.learning.basic_rule import BasicRule
from poet.learning.online_learner import OnlineLearner
from poet.model.objective import Objective
from poet.model.tunable import Value
from poet.sim.evaluate import oracle_series
from poet.sim.play import Fixed, PercentileRule, Policy, Record, changes, play, share
from poet.sim.scenarios import SCENARIOS, Scenario, random_service, step_slowdown
from poet.testing.learners import Learned

SIX = ("fast_api", "heavy_tail", "flaky20", "bimodal", "perm_heavy", "regime_shift")
OTHERS = tuple(name for name in SCENARIOS if name not in SIX)
RANDOM = range(200, 224)  # seeds of services that nothing was tuned on
FACTORS = (3.0, 10.0, 30.0)
DECLARED: dict[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
STEP = 3000  # call at which ``step_slowdown`` slows down

# The bars: what must hold for the benchmark to pass.
LEAST_SHARE = 0.96  # of the full oracle, mean over the six
MOST_CPU = 40e-6  # per execution, mean over the six [s]
MOST_RECOVERY = 40  # calls until 20 successes in a row, at 30 times slower, in every seed
WORSE_THAN_FIXED = (
    0.01  # share that a random service may lose on fixed values, mean over seeds: the price of finding out
)

POLICIES: dict[str, Callable[[Scenario, int], Policy]] = {
    "learner": lambda scenario, seed: Learned(
        OnlineLearner(objective=scenario.objective, declared=DECLARED, seed=seed), DECLARED, seed=seed
    ),
    "basic": lambda scenario, seed: Learned(BasicRule(declared=DECLARED), DECLARED, seed=seed),
    "fixed b=.1": lambda scenario, seed: Fixed(30.0, 3, 0.1),
    "fixed b=1": lambda scenario, seed: Fixed(30.0, 3, 1.0),
    "1.5 p99": lambda scenario, seed: PercentileRule(),
}


class Life(NamedTuple):
    """One policy's life in one scenario."""

    scenario: str
    policy: str
    seed: int
    share: float  # of the full oracle, which hedges and chooses its backoff
    own: float  # of the oracle that has timeout and retries only, at the learner's backoff
    cpu: float  # of learning, per execution [s]
    changes: int
    improving: int  # of them, by exact expected utility


class Recovery(NamedTuple):
    """Calls from a sudden slow-down until 20 successes in a row; None: never within the run."""

    factor: float
    policy: str
    seed: int
    calls: int | None


class Report(NamedTuple):
    """All that was measured."""

    lives: list[Life]
    recoveries: list[Recovery]


def scenario_of(name: str) -> Scenario:
    """A named scenario; ``random_7`` is the seventh random service."""
    return SCENARIOS[name] if name in SCENARIOS else random_service(int(name.removeprefix("random_")))


def lives(name: str, seeds: int, calls: int | None = None, policies: Iterable[str] = tuple(POLICIES)) -> list[Life]:
    """Every policy through one scenario, ``seeds`` times."""
    scenario = scenario_of(name)
    full = oracle_series(scenario, calls=calls)
    own = oracle_series(scenario, hedging=False, backoff=0.1, calls=calls)
    found = []
    for policy_name in policies:
        for seed in range(seeds):
            policy = POLICIES[policy_name](scenario, seed)
            record = play(scenario, policy, seed, calls)
            cpu = policy.cpu / policy.executions if isinstance(policy, Learned) else 0.0
            moves = changes(scenario, record) if policy_name == "learner" else []
            gains = sum(move.gain > 0 for move in moves)
            found.append(Life(name, policy_name, seed, share(record, full), share(record, own), cpu, len(moves), gains))
            if isinstance(policy, Fixed) and scenario.overload is None:
                break  # exact, and the same under every seed
    return found


def recovered(record: Record, since: int, run: int = 20) -> int | None:
    """Calls after ``since`` until ``run`` successes in a row."""
    length = 0
    for number, good in enumerate(record.success[since:].tolist(), 1):
        length = length + 1 if good else 0
        if length == run:
            return number
    return None


def recoveries(factor: float, seeds: int) -> list[Recovery]:
    """A service that becomes ``factor`` times slower in one step, with the learner started at 30 s and at 0.5 s."""
    scenario = step_slowdown(factor)
    entries = []
    for seed in range(seeds):
        for timeout in (30.0, 0.5):
            for objective in (scenario.objective, Objective()):
                declared = {**DECLARED, "timeout": timeout}
                learner = OnlineLearner(objective=objective, declared=declared, seed=seed)
                record = play(scenario, Learned(learner, declared, seed=seed), seed, STEP + 400)
                cost = "derived" if objective.latency_cost is None else "declared"
                label = f"learner, from {timeout:g} s, {cost} cost"
                entries.append(Recovery(factor, label, seed, recovered(record, STEP)))
        record = play(scenario, PercentileRule(), seed, STEP + 400)
        entries.append(Recovery(factor, "1.5 p99", seed, recovered(record, STEP)))
    return entries


def measured(seeds: int, *, random_seeds: int = 2, processes: int = 2) -> Report:
    """Everything, in parallel."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        named = [pool.submit(lives, name, seeds) for name in (*SIX, *OTHERS)]
        strange = [pool.submit(lives, f"random_{n}", random_seeds) for n in RANDOM]
        steps = [pool.submit(recoveries, factor, seeds) for factor in FACTORS]
        found = [row for job in (*named, *strange) for row in job.result()]
        return Report(found, [recovery for job in steps for recovery in job.result()])


# --- telling ----------------------------------------------------------------------------------------------------------


def interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean, and the 90 % interval of the mean by bootstrap."""
    sample = np.array(list(values))
    draws = np.random.default_rng(0).choice(sample, (2000, len(sample))).mean(axis=1)
    low, high = np.quantile(draws, (0.05, 0.95))
    return float(sample.mean()), float(low), float(high)


def of(lives: Iterable[Life], scenario: str, policy: str) -> list[Life]:
    """The lives of one policy in one scenario."""
    return [life for life in lives if (life.scenario, life.policy) == (scenario, policy)]


def mean_share(lives: list[Life], scenarios: Iterable[str], policy: str) -> float:
    """Mean over scenarios of the mean over seeds."""
    return float(np.mean([np.mean([life.share for life in of(lives, name, policy)]) for name in scenarios]))


def table(lives: list[Life], scenarios: Iterable[str]) -> Iterator[str]:
    """Shares of the full oracle by scenario and policy."""
    yield f"{'scenario':14s}" + "".join(f"{name:>24s}" for name in POLICIES) + "   of own oracle   µs  changes"
    for scenario in scenarios:
        cells = []
        for policy in POLICIES:
            mean, low, high = interval(life.share for life in of(lives, scenario, policy))
            cells.append(f"{mean:8.3f} [{low:.3f}, {high:.3f}]")
        ours = of(lives, scenario, "learner")
        own, cpu, moves = (float(np.mean(x)) for x in zip(*((r.own, r.cpu, r.changes) for r in ours), strict=True))
        yield f"{scenario:14s}" + "".join(f"{cell:>24s}" for cell in cells) + f"{own:13.3f}{1e6 * cpu:9.0f}{moves:8.1f}"


def told(report: Report) -> Iterator[str]:
    """The report for people."""
    lives = report.lives
    yield "Share of the full oracle's expected utility (it hedges and chooses its backoff), 5000 calls"
    yield from table(lives, SIX)
    for policy in POLICIES:
        yield f"  mean of the six, {policy:12s}{mean_share(lives, SIX, policy):8.4f}"
    yield ""
    yield "The other scenarios (in overload our own requests slow the service down)"
    yield from table(lives, OTHERS)
    yield ""
    strange = [f"random_{n}" for n in RANDOM]
    yield "Random services that nothing was tuned on, 2000 calls"
    yield from table(lives, strange)
    yield ""
    ours = [life for life in lives if life.policy == "learner" and life.scenario != "overload"]
    moves, better = sum(life.changes for life in ours), sum(life.improving for life in ours)
    yield f"Changes that improve, without overload: {better} of {moves}, {100 * better / moves:.0f} %"
    yield f"CPU per execution, mean of the six: {1e6 * cpu_of_six(lives):.1f} µs"
    yield ""
    yield "Calls from a sudden slow-down until 20 successes in a row, by seed"
    for factor in FACTORS:
        for policy in dict.fromkeys(recovery.policy for recovery in report.recoveries):
            seen = [f.calls for f in report.recoveries if (f.factor, f.policy) == (factor, policy)]
            shown = " ".join("never" if calls is None else str(calls) for calls in seen)
            yield f"  x{factor:<4g} {policy:36s} {shown}"


def cpu_of_six(lives: list[Life]) -> float:
    """Mean CPU per execution [s]."""
    return float(np.mean([life.cpu for life in lives if life.scenario in SIX and life.policy == "learner"]))


def bars(report: Report) -> list[Row]:
    """The figures against their bars."""
    lives, rows = report.lives, []
    mean, rule = (mean_share(lives, SIX, policy) for policy in ("learner", "1.5 p99"))
    figure = f"{mean:.4f} [{', '.join(f'{x:.4f}' for x in seeds_interval(lives))}]"
    rows.append(Row("share of the full oracle, mean of six services", f">= {LEAST_SHARE}", figure, mean >= LEAST_SHARE))
    own = float(np.mean([life.own for life in lives if life.scenario in SIX and life.policy == "learner"]))
    rows.append(Row("of the oracle that tunes timeout and retries only", "for comparison", f"{own:.4f}"))
    rows.append(Row("the same six by 1.5 x p99 of the last successes", "below the learner", f"{rule:.4f}", rule < mean))
    for policy in ("fixed b=.1", "fixed b=1"):
        margins = {name: mean_share(lives, [name], "learner") - mean_share(lives, [name], policy) for name in SIX}
        worst = min(margins, key=lambda name: margins[name])
        what = f"least lead over {policy} in any of the six"
        rows.append(Row(what, "> 0", f"{margins[worst]:+.4f} in {worst}", margins[worst] > 0))
    leads = [
        mean_share(lives, [name], "learner") - mean_share(lives, [name], "fixed b=.1")
        for name in (f"random_{n}" for n in RANDOM)
    ]
    what = f"least lead over fixed values in {len(RANDOM)} random services; in how many better"
    found = f"{min(leads):+.4f}; {sum(lead > 0 for lead in leads)}"
    rows.append(Row(what, f">= -{WORSE_THAN_FIXED}", found, min(leads) >= -WORSE_THAN_FIXED))
    for factor in FACTORS:
        calls = [f.calls for f in report.recoveries if f.factor == factor and f.policy.startswith("learner")]
        late = [n for n in calls if n is None or n > MOST_RECOVERY]
        what = f"{factor:g} times slower: calls until 20 successes in a row, worst of {len(calls)} runs"
        worst_run = "never" if None in calls else str(max(n for n in calls if n is not None))
        barred = factor == FACTORS[-1]
        rows.append(Row(what, f"<= {MOST_RECOVERY}" if barred else "", worst_run, not late if barred else None))
    cpu = cpu_of_six(lives)
    what = "learning, CPU per execution, mean of the six"
    slower = slowness()
    bar = f"<= {1e6 * MOST_CPU:.0f} µs, times how slow the machine is"
    rows.append(Row(what, bar, f"{1e6 * cpu:.1f} µs, machine {slower:.2f}", cpu <= MOST_CPU * slower))
    return rows


def seeds_interval(lives: list[Life]) -> tuple[float, float]:
    """The 90 % interval of the learner's mean share of the six, by bootstrap over seeds."""
    seeds = {life.seed for life in lives if life.scenario in SIX}
    means = [mean_share([life for life in lives if life.seed == seed], SIX, "learner") for seed in seeds]
    return interval(means)[1:]


def run(seeds: int = 5) -> list[Row]:
    """Measure everything; the figures against their bars."""
    return bars(measured(seeds))


def main(arguments: list[str]) -> int:
    """Measure, tell all, and fail where a bar is missed."""
    report = measured(int(arguments[0]) if arguments else 5)
    print("\n".join(told(report)))
    return 0 if show("What learning reaches", bars(report)) else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
