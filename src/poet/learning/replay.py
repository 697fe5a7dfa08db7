"""What would other parameters have made of the recorded calls?

Every call is walked through again under the other parameters. What the record tells for certain is used as it is: an
attempt that answered within the new limit answers, one that ran longer is cut off there. What it cannot tell – how an
attempt that was cut off would have gone on, what a retry or a copy that was never made would have met – is bounded, and
guessed from comparable attempts of the same function: their product limit, resampled by calls (an approximate Bayesian
bootstrap, Rubin & Schenker 1986; multiple imputation, Rubin 1987). So the interval is about these very calls: where
the record decides them all, it is a point. Where nothing compares, both ends of what is plausible go into it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from poet.errors import ConfigurationError, nearest
from poet.learning import replay_words
from poet.learning.replay_hours import OracleOf, Plans, plans_of
from poet.learning.replay_record import FIRST_ANSWERS, Bools, Pools, Record, Used, read
from poet.learning.replay_walk import Best, Candidate, Dice, Guess, Walked, Worst
from poet.model.estimate import Estimate
from poet.model.execution import Execution
from poet.model.fixed import base_of
from poet.model.objective import Objective
from poet.model.phases import at, parted, timed
from poet.model.replay import FIGURES, Replay
from poet.model.tunable import Integer, Real, Space, Value

if TYPE_CHECKING:
    from poet.kernels.online.product_limit import Array, Whole
    from poet.model.parameters import ParameterSet
    from poet.seams import FunctionRecord, Store

MOST = 50_000  # newest calls that are replayed
DRAWS = 100  # of all that nobody saw
LEVEL = 0.9  # of the intervals
LONGEST = 86_400.0  # timeout or delay that makes sense [s]
USUAL: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1, "hedges": 0, "hedge_delay": 0.0}
BOUNDS = Space(
    timeout=Real(0.001, LONGEST),
    retries=Integer(0, 20),
    backoff=Real(0.0, 60.0),
    hedges=Integer(0, 8),
    hedge_delay=Real(0.0, LONGEST),
)


def wanted(
    given: Mapping[str, object], live: Mapping[str, Value], space: Mapping[str, Sequence[float]]
) -> dict[str, Value]:
    """All parameters of a replay: those ``given``, the others as they are ``live``.

    What is given for all hours holds at all of them, and ``timeout@08:00-20:00`` at some, see ``model.phases``.
    space: hard bounds of the function, lowest and highest. Raises ConfigurationError, with the nearest that is right,
    where a name is none of a replay's or a value is out of range.
    """
    for name in given:
        if parted(name)[0] not in USUAL:
            raise ConfigurationError(f"a replay has no parameter {name!r}: {nearest(name, USUAL)}")
    checked = BOUNDS.check({name: _of_kind(name, value) for name, value in given.items()})
    for name, value in checked.items():
        if base_of(name) in space:
            low, high = space[base_of(name)]
            Real(low, high).check(name, value)
    hours = {name: value for name, value in live.items() if timed(name) and parted(name)[0] in USUAL}
    values = {name: live.get(name, usual) for name, usual in USUAL.items()}
    values |= {name: value for name, value in hours.items() if base_of(name) not in checked} | checked
    if checked.get("hedge_delay") and "hedges" not in checked and not values["hedges"]:
        values["hedges"] = 1  # as for the decorator: who says when means that there is one
    if values["hedges"] and not any(value for name, value in values.items() if base_of(name) == "hedge_delay"):
        raise ConfigurationError("hedges needs hedge_delay: the seconds after which a copy is sent")
    if not any(value for name, value in values.items() if base_of(name) == "hedges"):
        values |= {"hedges": 0, "hedge_delay": 0.0}
    return values


def _of_kind(name: str, value: object) -> object:
    whole = isinstance(BOUNDS[base_of(name)], Integer)
    return int(value) if whole and isinstance(value, float) and value.is_integer() else value


def of_store(
    store: Store,
    record: FunctionRecord,
    values: Mapping[str, Value],
    objective: Objective | None = None,
    *,
    since: float = 0.0,
) -> Replay:
    """The stored calls of a function under ``values``, see ``wanted``; at most the newest ``MOST``.

    objective: with its scales, as the learner has it; None: as declared. since: Unix time [s].
    Raises StoreError where they cannot be read.
    """
    declared = Objective(**{name: value for name, value in record.objective.items() if value is not None})
    versions = {version.version: version for version in store.versions(record.key)}
    executions = store.executions(record.key, since=since, limit=MOST + 1)
    return replay(executions, values, objective or declared, used=_used(versions))


def _used(versions: Mapping[int, ParameterSet]) -> Used:
    hours = {number for number, version in versions.items() if any(map(timed, version))}

    def used(execution: Execution) -> Mapping[str, Value] | None:
        version = versions.get(execution.version)
        if version is None:
            return None
        said = at(version, execution.started) if execution.version in hours else version
        return {**said, **dict(execution.values)} if execution.values else said

    return used


def replay(
    executions: Iterable[Execution], values: Mapping[str, Value], objective: Objective, *, used: Used, seed: int = 0
) -> Replay:
    """Recorded calls, oldest first, under ``values``, see ``wanted``. The same for the same arguments.

    objective: where it has no latency cost, that is derived from the first answers. used: the parameters of each call.
    """
    found = list(islice(executions, MOST + 1))
    older = len(found) > MOST
    most = plans_of(values, [each.started for each in found[-MOST:]])
    record = read(found[-MOST:], used, most.n_attempts, most.n_requests)
    plans = most if most.whose is None else plans_of(values, record.started)
    scaled = _scaled(objective, record)
    table = record.table
    n = len(table.made)
    told = Replay(
        dict(values),
        n,
        older,
        record.first,
        record.last,
        record.left_out,
        int(table.held.sum()),
        record.late,
        scaled,
        {},
        {},
        {},
        None,
        0.0,
        0.0,
        record.longest,
        (),
    )
    if not n:
        return told._replace(sentences=replay_words.sentences(told))
    before = Walked(table.success, table.seconds, table.requests)
    worst = plans.walk(table, lambda plan, rows: Worst())
    best = plans.walk(table, lambda plan, rows: Best(record.quickest))
    open_ = _apart(worst, best)
    ends = [_figures(each, scaled) for each in (worst, best)]
    guessed, gains, untold = _guessed(record, plans, worst, open_, scaled, seed)
    told = told._replace(
        recorded=_named(_figures(before, scaled)),
        replayed={name: _estimate(guessed[:, :, i], n) for i, name in enumerate(FIGURES) if name in _known(scaled)},
        bounds={
            name: (min(ends[0][i], ends[1][i]), max(ends[0][i], ends[1][i]))
            for i, name in enumerate(FIGURES)
            if name in _known(scaled)
        },
        gain=None if scaled is None else _estimate(gains, n),
        decided=float(1 - open_.mean()),
        untold=untold,
    )
    return told._replace(sentences=replay_words.sentences(told))


def _scaled(objective: Objective, record: Record) -> Objective | None:
    """With a latency cost; None where there is neither one nor an answer to derive it from."""
    if objective.latency_cost is not None:
        return objective
    answers = sorted(record.answers[:FIRST_ANSWERS])
    typical = answers[len(answers) // 2] if answers else record.longest
    return objective.for_latency(typical) if typical > 0 else None


def _known(objective: Objective | None) -> tuple[str, ...]:
    return FIGURES if objective is not None else FIGURES[:-1]


def _named(figures: tuple[float, ...]) -> dict[str, float]:
    return {name: figure for name, figure in zip(FIGURES, figures, strict=True) if not math.isnan(figure)}


def _apart(one: Walked, other: Walked) -> Bools:
    """Of which calls two walks differ."""
    far = ~np.isclose(one.seconds, other.seconds, rtol=1e-9, atol=1e-9)
    found: Bools = (one.success != other.success) | (one.requests != other.requests) | far
    return found


def _figures(walked: Walked, objective: Objective | None) -> tuple[float, ...]:
    """By ``FIGURES``; no number where there is no scale for it."""
    p50, p99 = np.quantile(walked.seconds, (0.5, 0.99))
    utility = math.nan if objective is None else float(_utilities(walked, objective).mean())
    means = float(walked.success.mean()), float(walked.seconds.mean()), float(walked.requests.mean())
    return means[0], means[1], float(p50), float(p99), means[2], utility


def _utilities(walked: Walked, objective: Objective) -> Array:
    cost = objective.latency_cost or 0.0
    spent = cost * walked.seconds + objective.attempt_cost * (walked.requests - 1)
    return np.asarray(objective.value * walked.success - spent, np.float64)


def _guessed(
    record: Record, plans: Plans, sure: Walked, open_: Bools, objective: Objective | None, seed: int
) -> tuple[Array, Array, float]:
    """Figures by draw, (DRAWS, 2, n_figures), gains of utility, (DRAWS, 2), and the share of calls that is untold.

    The two are the ends of what is plausible where nothing compares. sure: any walk of the calls that are decided;
    open_: those that are not.
    """
    table = record.table
    n, rows = len(table.made), np.flatnonzero(open_)
    part = table.rows(rows)
    before = Walked(table.success, table.seconds, table.requests)
    worth_before: Array = np.zeros(n) if objective is None else _utilities(before, objective)
    figures, gains, untold = np.empty((DRAWS, 2, len(FIGURES))), np.zeros((DRAWS, 2)), 0.0
    rng = np.random.default_rng([seed, n])
    mine = plans.part(rows)
    for draw in range(DRAWS):
        weights: Array = np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)
        dice = Dice(rng, len(rows), plans.n_attempts, plans.n_requests)
        ends = [mine.walk(part, guessing(record.pools, weights, dice, hopeful=hopeful)) for hopeful in (False, True)]
        for i, each in enumerate(ends):
            whole = sure.with_rows(rows, each)
            figures[draw, i] = _figures(whole, objective)
            if objective is not None:
                # no matrix product: on a busy machine its threads wait for each other longer than they work
                gains[draw, i] = (weights * (_utilities(whole, objective) - worth_before)).mean()
        untold += float(_apart(*ends).sum()) / n / DRAWS
    return figures, gains, untold


def guessing(pools: Pools, weights: Array, dice: Dice, *, hopeful: bool) -> OracleOf:
    """What guesses with these dice, by plan."""

    def oracle(plan: Candidate, rows: Whole | None) -> Guess:
        return Guess(pools, weights, dice if rows is None else dice.part(rows), plan, hopeful=hopeful)

    return oracle


def _estimate(draws: Array, n: int) -> Estimate:
    """Of draws by both ends of what is plausible, (DRAWS, 2): the middle, and what holds both intervals."""
    if np.ptp(draws) == 0:
        return Estimate(float(draws[0, 0]), float(draws[0, 0]), float(draws[0, 0]), n, LEVEL)
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, (tail, 1 - tail), axis=0)
    value = float(draws.mean())
    return Estimate(value, min(float(low.min()), value), max(float(high.max()), value), n, LEVEL)
