"""What an experiment's evidence says: its health first, then each arm against the others, in figures and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, Literal, NamedTuple

from poet.kernels.online.coin import CoinTest
from poet.kernels.online.discoveries import e_bh
from poet.kernels.online.effect import Effect, Side
from poet.kernels.online.sample_ratio import ALPHA as RATIO_ALPHA
from poet.kernels.online.verdict import Finding, Verdict, of_effect, of_events, split
from poet.model.experiment import UNITS, Experiment, Metric
from poet.model.figures import figures
from poet.training.evidence import Evidence

Said = Literal["better", "worse", "same", "undecided"]
MISSING = 3.0  # standard errors from which on two arms miss unlike shares of their outcomes
BAD = "failed or slow"
# An arm that asks again, or gives up sooner, is a little slower, or fails a little more, and may be worth more all the
# same: the metric weighs that. Guards are there for harm that nobody would trade.
TOLERATED = {"failures": 1.5, BAD: 1.5}  # odds against the first arm's, up to which it is no harm
GUARDS = {"failures": 2.0, BAD: 1.0, "latency": 1.0}  # of the rate of false alarms


class Against(NamedTuple):
    """An arm against the first one. Effects are as measured: of a metric of which less is better, < 0 is better."""

    arm: str
    verdict: Said
    value: float  # nan: nothing known
    low: float
    high: float
    log_e: float  # evidence that the two are not the same [nats]
    recent: float  # effect in the last calls; nan
    needed: int | None  # calls still needed to find the least effect worth finding; None: not known yet
    harm: tuple[Finding, ...]  # what each guard says

    @property
    def harmful(self) -> Finding | None:
        """What harm was found."""
        return next((finding for finding in self.harm if finding.verdict is Verdict.HARM), None)


class Reading(NamedTuple):
    """All that it says at one look."""

    calls: int
    units: int  # blocks or hosts, where these are the outcomes
    mismatch: bool  # whether calls went astray, so that no effect can be believed
    log_e_ratio: float  # evidence of that [nats]
    lopsided: bool  # whether arms miss unlike shares of their outcomes
    against: tuple[Against, ...]  # of all arms but the first, ended ones too
    control_harm: Finding | None  # harm to the first arm's calls, where that is not what is live
    best: str  # name of the best arm, once all are decided; empty: none is better than the first
    tied: tuple[str, ...]  # arms that may be as good as the best one
    decided: bool

    @property
    def same(self) -> bool:
        """Whether nothing worth finding differs."""
        return self.decided and not self.best


def read(experiment: Experiment, evidence: Evidence) -> Reading:
    """What the evidence says, at this look as at any."""
    rules = experiment.rules
    alpha = rules.alpha / (len(experiment.arms) - 1)
    parts = split(rules.guard_alpha / (len(experiment.arms) - 1), GUARDS)
    against = tuple(_against(experiment, evidence, place, alpha, parts) for place in range(1, len(experiment.arms)))
    log_e = evidence.ratio.log_e if evidence.ratio.segments else 0.0
    running = [each for place, each in enumerate(against, 1) if not experiment.arms[place].ended]
    decided = bool(running) and all(each.verdict != "undecided" for each in running)
    better = sorted((each for each in running if each.verdict == "better"), key=lambda each: -rules.sign * each.value)
    best = better[0].arm if decided and better else ""
    units = 0
    if rules.assignment != "call":
        units = sum(sum(seen.counts) for seen in evidence.ratio.segments)
    return Reading(
        calls=evidence.calls,
        units=units,
        mismatch=log_e >= -math.log(RATIO_ALPHA),
        log_e_ratio=log_e,
        lopsided=_lopsided(evidence),
        against=against,
        control_harm=_control_harm(experiment, evidence, parts),
        best=best,
        tied=_tied(experiment, evidence, best, [each.arm for each in better], alpha) if best else (),
        decided=decided,
    )


def pair_of(evidence: Evidence, first: int, second: int) -> tuple[Effect, float]:
    """The effect between two arms, and the sign that makes it that of the second over the first."""
    if first < second:
        return evidence.effects[first, second], 1.0
    return evidence.effects[second, first], -1.0


def log_e_better(experiment: Experiment, evidence: Evidence, arm: int, other: int) -> float:
    """Evidence that ``arm`` is better than ``other`` [nats]."""
    effect, sign = pair_of(evidence, other, arm)
    return effect.log_e(0.0, Side.ABOVE if sign * experiment.rules.sign > 0 else Side.BELOW)


def ranks(experiment: Experiment, evidence: Evidence, level: float = 0.05) -> dict[str, tuple[int, int]]:
    """Which ranks each arm may have, 1 being the best; of the pairs put in order, ``level`` is wrong at most."""
    arms = [arm.name for arm in experiment.arms]
    pairs = {
        (arms[a], arms[b]): (
            log_e_better(experiment, evidence, a, b),
            log_e_better(experiment, evidence, b, a),
        )
        for a, b in combinations(range(len(arms)), 2)
    }
    return bands(arms, pairs, level)


def bands(
    names: Sequence[str], pairs: Mapping[tuple[str, str], tuple[float, float]], level: float
) -> dict[str, tuple[int, int]]:
    """Ranks from the number of those known to be better to that of those known to be worse (e-BH over pairs).

    pairs: of each that was compared, evidence that the first is better, and that the second is [nats]. The mean of both
    e-values is one against "they are the same".

    >>> bands(["a", "b", "c"], {("a", "b"): (9.0, -5.0), ("a", "c"): (9.0, -5.0), ("b", "c"): (0.1, 0.0)}, 0.05)
    {'a': (1, 1), 'b': (2, 3), 'c': (2, 3)}
    """
    stands = e_bh([_mean_log_e(*both) for both in pairs.values()], level)
    won = [
        (pair if forth >= back else pair[::-1])
        for (pair, (forth, back)), stand in zip(pairs.items(), stands, strict=True)
        if stand
    ]
    return {
        name: (1 + sum(loser == name for _, loser in won), len(names) - sum(winner == name for winner, _ in won))
        for name in names
    }


def _mean_log_e(one: float, other: float) -> float:
    most = max(one, other)
    return most + math.log(0.5 * (math.exp(one - most) + math.exp(other - most)))


def _against(
    experiment: Experiment, evidence: Evidence, place: int, alpha: float, parts: Mapping[str, float]
) -> Against:
    rules = experiment.rules
    effect = evidence.effects[0, place]
    low, high = effect.interval(alpha)
    verdict: Said = "undecided"
    if low > 0 or high < 0:
        verdict = "better" if (low > 0) == (rules.sign > 0) else "worse"
    elif -rules.worth < low and high < rules.worth:
        verdict = "same"
    recent = effect.recent()
    margin = math.log1p(rules.margin)
    harm = (
        _of_events("failures", evidence.failed[0, place], parts),
        _of_events(BAD, evidence.bad[0, place], parts),
        of_effect("latency", evidence.latencies[0, place], parts["latency"], margin),
    )
    return Against(
        experiment.arms[place].name,
        verdict,
        effect.value,
        low,
        high,
        effect.log_e(),
        math.nan if recent is None else recent.value,
        effect.samples_still_needed(rules.worth, alpha),
        harm,
    )


def _of_events(guard: str, test: CoinTest, parts: Mapping[str, float]) -> Finding:
    tolerated = TOLERATED[guard]
    return of_events(guard, test, parts[guard], tolerated, safe=2.0 * tolerated)


def _control_harm(experiment: Experiment, evidence: Evidence, parts: Mapping[str, float]) -> Finding | None:
    """Harm to the calls of the first arm, which holds values of its own: what is live might do better."""
    if experiment.control.kind == "live":
        return None
    for place in range(1, len(experiment.arms)):
        turned = CoinTest()
        for share, events, whole in evidence.failed[0, place].segments:
            turned = turned.add(1 - share, whole - events, whole)
        found = _of_events("failures", turned, parts)
        if found.verdict is Verdict.HARM:
            return found
    return None


def _lopsided(evidence: Evidence) -> bool:
    """Whether one arm misses more of its outcomes than another."""
    shares = [(arm.missing / arm.calls, arm.calls) for arm in evidence.arms if arm.calls]
    calls = sum(n for _, n in shares)
    mean = sum(share * n for share, n in shares) / calls if calls else 0.0
    return any(
        abs(share - mean) > MISSING * math.sqrt(mean * (1 - mean) / n) + 1.0 / n for share, n in shares if 0 < mean < 1
    )


def _tied(
    experiment: Experiment, evidence: Evidence, best: str, better: Sequence[str], alpha: float
) -> tuple[str, ...]:
    """Arms among the better ones from which the best one is not told apart."""
    top = experiment.place(best)
    found = []
    for name in better:
        if name == best:
            continue
        effect, _ = pair_of(evidence, experiment.place(name), top)
        low, high = effect.interval(alpha)
        if low <= 0 <= high:
            found.append(name)
    return tuple(found)


# --- in words ---------------------------------------------------------------------------------------------------------


def amount(metric: Metric, x: float) -> str:
    """An effect as people read it.

    >>> amount("utility", 0.0213), amount("latency", -0.1), amount("success", 0.0123)
    ('0.0213 utility per call', '9.52 % of the latency', '1.23 % of the calls')
    """
    if not math.isfinite(x):
        return "unknown"
    if metric == "latency":
        return f"{figures(abs(math.expm1(x)) * 100)} % of the latency"
    if metric == "success":
        return f"{figures(abs(x) * 100)} % of the calls"
    return f"{figures(abs(x))} {UNITS[metric]}"


def signed(metric: Metric, x: float) -> str:
    """The same with its sign, without the unit, as a bound."""
    if not math.isfinite(x):
        return "-∞" if x < 0 else "+∞"
    shown = math.expm1(x) * 100 if metric == "latency" else x * 100 if metric == "success" else x
    return f"{'+' if shown >= 0 else '-'}{figures(abs(shown))}{' %' if metric in ('latency', 'success') else ''}"


def sentence(experiment: Experiment, reading: Reading) -> str:
    """What it found so far, in one or two sentences."""
    rules, control = experiment.rules, experiment.control.name
    after = _after(experiment, reading)
    if reading.mismatch:
        return (
            f"calls went astray: the arms' numbers of calls do not fit their shares (e-value "
            f"{_factor(reading.log_e_ratio)}), so no effect can be believed"
        )
    said = []
    for each in reading.against:
        between = f"{signed(rules.metric, each.low)} to {signed(rules.metric, each.high)}"
        chance = f"{figures(100 * (1 - rules.alpha))} %"
        if each.verdict in ("better", "worse"):
            size = amount(rules.metric, each.value)
            said.append(f"{each.arm} is {each.verdict} than {control} by {size} ({chance}, at any look: {between})")
        elif each.verdict == "same":
            worth = amount(rules.metric, rules.worth)
            said.append(f"{each.arm} and {control} are the same: what differs is less than {worth} ({between})")
        elif math.isfinite(each.low):
            rest = (
                ""
                if not each.needed
                else f"; some {_round(each.needed)} more {_things(experiment)} would show {_least(experiment)}"
            )
            said.append(f"{each.arm} and {control} are not told apart yet ({between}){rest}")
        else:
            said.append(f"nothing is known of {each.arm} against {control} yet")
    if reading.tied:
        said.append(f"{reading.best} and {', '.join(reading.tied)} are not told apart from each other")
    return f"{'; '.join(said)}, after {after}"


def harm_said(arm: str, control: str, finding: Finding, evidence: Evidence, place: int) -> str:
    """Why an arm's calls are taken from it."""
    mine, theirs = evidence.arms[place], evidence.arms[0]
    if finding.guard == "latency":
        return (
            f"{arm} takes longer than {control}: by {figures(math.expm1(finding.value) * 100)} %, surely by more than "
            f"{figures(math.expm1(finding.margin) * 100)} %"
        )
    count = "failures" if finding.guard == "failures" else "bad"
    what = "fails" if finding.guard == "failures" else "fails or hangs"
    return (
        f"{arm} {what} more often than {control}: {getattr(mine, count)} of {mine.calls} calls, there "
        f"{getattr(theirs, count)} of {theirs.calls} (e-value {_factor(finding.log_e)})"
    )


def facts(experiment: Experiment, evidence: Evidence, reading: Reading) -> dict[str, Any]:
    """The same for programs: numbers, None where one is not known."""
    rank = ranks(experiment, evidence)
    arms = len(experiment.arms)
    return {
        "calls": reading.calls,
        "units": reading.units,
        "health": {
            "sample_ratio_mismatch": reading.mismatch,
            "sample_ratio_log_e": reading.log_e_ratio,
            "missing_differs": reading.lopsided,
            "crossed": evidence.crossed,
            "late": evidence.late,
            "unknown": evidence.unknown,
            "waiting": evidence.waiting,
        },
        "arms": [
            {
                "name": arm.name,
                "calls": tally.calls,
                "missing": tally.missing,
                "failures": tally.failures,
                "bad": tally.bad,
                "mean": _finite(tally.mean),
                "ranks": list(rank[arm.name]),
            }
            for arm, tally in zip(experiment.arms, evidence.arms, strict=True)
        ],
        "effects": [
            {
                "arm": each.arm,
                "against": experiment.control.name,
                "verdict": each.verdict,
                "value": _finite(each.value),
                "low": _finite(each.low),
                "high": _finite(each.high),
                "log_e": each.log_e,
                "recent": _finite(each.recent),
                "calls_needed": each.needed,
                "guards": [
                    {
                        "guard": finding.guard,
                        "verdict": finding.verdict.value,
                        "log_e": finding.log_e,
                        "value": _finite(finding.value),
                        "low": _finite(finding.low),
                        "high": _finite(finding.high),
                    }
                    for finding in each.harm
                ],
            }
            for each in reading.against
        ],
        "log_e_better": [
            [0.0 if a == b else log_e_better(experiment, evidence, a, b) for b in range(arms)] for a in range(arms)
        ],
    }


def _after(experiment: Experiment, reading: Reading) -> str:
    calls = f"{reading.calls} calls"
    if experiment.rules.assignment == "call":
        return calls
    return f"{reading.units} {experiment.rules.assignment}s of {calls}"


def _things(experiment: Experiment) -> str:
    return "calls" if experiment.rules.assignment == "call" else f"{experiment.rules.assignment}s"


def _least(experiment: Experiment) -> str:
    return f"an effect of {amount(experiment.rules.metric, experiment.rules.worth)}"


def _round(n: int) -> int:
    """To two digits, as it is a guess.

    >>> _round(1234), _round(7)
    (1200, 7)
    """
    digits = max(0, len(str(n)) - 2)
    return round(n, -digits)


def _factor(log_e: float) -> str:
    return f"{math.exp(min(log_e, 700.0)):.3g}"


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


# --- over experiments -------------------------------------------------------------------------------------------------


def leaderboard(told: Sequence[tuple[str, Experiment]], level: float) -> dict[str, Any]:
    """All comparisons of all experiments, and the ranks of the strategies in them.

    told: names of functions, and their experiments with figures. level: of all that is called better, the share that is
    not, at most (e-BH). Evidence of one pair of strategies from several experiments is put together: the product of
    e-values of different calls is one, against "nowhere better".
    """
    rows: list[dict[str, Any]] = []
    log_e: list[float] = []
    pairs: dict[tuple[str, str], tuple[float, float]] = {}
    where: dict[str, set[str]] = {}
    for function, experiment in told:
        matrix = experiment.figures.get("log_e_better")
        if matrix is None:
            continue
        arms = experiment.arms
        for arm in arms:
            where.setdefault(arm.told, set()).add(f"{function} {experiment.name}")
        for a, b in combinations(range(len(arms)), 2):
            one, other = sorted((a, b), key=lambda place: arms[place].told)
            pair = (arms[one].told, arms[other].told)
            if pair[0] != pair[1]:
                forth, back = pairs.get(pair, (0.0, 0.0))
                pairs[pair] = (forth + matrix[one][other], back + matrix[other][one])
        for effect in experiment.figures["effects"]:
            place = experiment.place(effect["arm"])
            log_e.append(_mean_log_e(matrix[place][0], matrix[0][place]))
            rows.append(
                {
                    "function": function,
                    "id": experiment.name,
                    "arm": effect["arm"],
                    "strategy": arms[place].told,
                    "against": arms[0].told,
                    "metric": experiment.rules.metric,
                    "phase": experiment.phase,
                    "value": effect["value"],
                    "low": effect["low"],
                    "high": effect["high"],
                    "log_e": log_e[-1],
                    "better": matrix[place][0] > matrix[0][place],
                }
            )
    for row, stand in zip(rows, e_bh(log_e, level) if log_e else [], strict=True):
        better = row.pop("better")
        row["verdict"] = "not told apart" if not stand else "better" if better else "worse"
    ranked = [
        {"strategy": name, "first": first, "last": last, "experiments": len(where[name])}
        for name, (first, last) in sorted(bands(list(where), pairs, level).items(), key=lambda each: each[::-1])
    ]
    return {"comparisons": rows, "strategies": ranked}
