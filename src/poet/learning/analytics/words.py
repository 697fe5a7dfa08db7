"""What learning has gained, in plain sentences: the verdict, how it is known, and what is not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from poet.learning.replay_words import LEFT_OUT, NOTHING, named
from poet.model.aggregate import Hour
from poet.model.estimate import Estimate
from poet.model.figures import figures
from poet.model.gains import NEAR, RATE, AllGains, Gains, Saved

CLEAR = 0.0005  # share of calls below which a doubt is not worth a sentence
FEW_BLOCKS = 10  # below which the record is called short
SHORT = 60.0  # blocks of less time share incidents [s]


class Facts(NamedTuple):
    """What sentences need beside the figures."""

    learns: bool  # whether the function learns at all
    hours: Sequence[Hour]  # what was counted, further back than calls are kept
    versions: tuple[int, ...]
    redeclared: bool  # whether the declared values of now are not those of version 1
    late: int = 0  # calls whose answer came behind its limit and was used all the same
    own: tuple[str, ...] = ()  # the function's own parameters that were used otherwise than declared


def sentences(told: Gains, facts: Facts) -> tuple[str, ...]:
    """The verdict first, then how far it may be trusted."""
    return (
        *_verdict(told, facts),
        *_known_by(told),
        *_open(told),
        *_contrast(told),
        *_changes(told),
        *_hindsight(told),
        *_odd(told, facts),
        *_overhead(told),
    )


def of_all(told: AllGains) -> tuple[str, ...]:
    """Over all functions."""
    n = len(told.functions)
    known = sum(each.gain is not None and each.unit == "utility" for each in told.functions)
    if told.gain is None:
        return (f"Of none of {n} functions it can be told what learning has gained.",) if n else ("No function yet.",)
    said = [
        f"Over {told.calls} calls of {known} of {n} functions, learning has gained {_signed(told.gain)} utility per "
        "call."
    ]
    if told.saved is not None:
        said.append(f"Per 1000 calls the declared values would have cost {_cost(told.saved)}.")
    if told.improved is not None:
        said.append(_share_of("Of {n} changes that can be told, {share} improved", told.improved))
    if told.worse:
        said.append(f"Made worse, at a false-discovery rate of {100 * RATE:g} %: {', '.join(told.worse)}.")
    else:
        said.append(f"No function was made worse, at a false-discovery rate of {100 * RATE:g} %.")
    return tuple(said)


def _verdict(told: Gains, facts: Facts) -> Iterable[str]:
    if not told.calls:
        yield "There is no call to compare."
        if not facts.hours:
            return
    elif told.gain is None:
        yield f"What learning has gained on {told.calls} calls cannot be told."
    elif max(abs(told.gain.low), abs(told.gain.high)) < NOTHING:
        yield f"Nothing was gained over the declared values on {told.calls} calls: each would have been worth the same."
    else:
        gain = told.gain
        better = "has gained" if gain.value >= 0 else "has lost"
        low, high = sorted((abs(gain.low), abs(gain.high))) if gain.low * gain.high > 0 else (gain.low, gain.high)
        clear = "" if gain.low * gain.high > 0 else "; it is not clear that it is better, or worse"
        value = abs(gain.value) if gain.low * gain.high > 0 else gain.value
        better = better if gain.low * gain.high > 0 else "has gained"
        yield (
            f"Learning {better} {figures(value)} {told.unit} per call [{figures(low)} to {figures(high)}] on "
            f"{told.calls} calls, against the declared {_declared(told)}{clear}."
        )
    if told.saved is not None and told.gain is not None and told.gain.high - told.gain.low > 0:
        yield f"Per 1000 calls the declared values would have cost {_cost(told.saved)}."


def _declared(told: Gains) -> str:
    try:
        return named({"hedges": 0, "hedge_delay": 0.0, "retries": 3, "backoff": 0.1, "timeout": 30.0, **told.declared})
    except (TypeError, ValueError):
        return "values"


def _cost(saved: Saved) -> str:
    return ", ".join(
        f"{figures(abs(each.value))} {unit} {'more' if each.value >= 0 else less} "
        f"[{figures(each.low)} to {figures(each.high)}]"
        for each, unit, less in (
            (saved.seconds, "s of waiting", "less"),
            (saved.failures, "failures", "fewer"),
            (saved.requests, "requests", "fewer"),
        )
    )


def _signed(x: Estimate) -> str:
    return f"{'+' if x.value > 0 else ''}{figures(x.value)} [{figures(x.low)} to {figures(x.high)}]"


def _known_by(told: Gains) -> Iterable[str]:
    if told.estimator == "replay":
        said = f"How it is known: by a replay of the same calls. The record decides {_share(told.decided)} of them"
        estimated = max(1 - told.decided - told.untold, 0.0)
        if estimated >= CLEAR:
            said += f", {_share(estimated)} are estimated from comparable attempts"
        if told.untold >= CLEAR:
            said += f", of {_share(told.untold)} it cannot tell"
        yield (
            f"{said}. Calls of {_span(told.block)} are taken for one, as they share what happens then: "
            f"{told.blocks} such spells."
        )
        if told.gain is None:
            yield "There are too few of them for an interval."
        elif told.block < SHORT:
            yield "The record is short: an incident that lasts longer than such a spell makes the interval too narrow."
    elif told.estimator == "contrast":
        yield (
            "How it is known: by calls that used the declared values beside others, as a lot decided. What those "
            "gained is taken to hold for all calls that did not use them."
        )


def _open(told: Gains) -> Iterable[str]:
    if told.estimator == "replay" and told.untold >= CLEAR:
        yield (
            "Where it cannot tell, nobody was watched as long as the declared values would wait. What is likely there "
            "rests on how often attempts hang, one in ten thousand to one in ten, and on how retries fared; the "
            "interval holds that. It would be known if a small share of the calls kept to the declared values."
        )
    if told.estimator == "replay" and told.decided < 1:
        yield "The service is taken to answer as it did: that more retries may overload it, a replay cannot know."


def _contrast(told: Gains) -> Iterable[str]:
    if told.contrast is None or told.estimator == "contrast":
        return
    part = told.contrast
    yield (
        f"Beside it: {part.declared} calls used the declared values at the same time as {part.others} others, by lot; "
        f"there the others gained {_signed(part.gain)} {part.unit} per call."
    )


def _changes(told: Gains) -> Iterable[str]:
    if told.improved is not None:
        learned = sum(change.origin == "learned" for change in told.changes)
        yield _share_of(
            f"Of {learned} learned changes {{n}} can be told, and {{share}} of these improved", told.improved
        )
    elif any(change.origin == "learned" for change in told.changes):
        yield "Of no learned change it can be told whether it improved."
    if told.agreed is not None:
        yield _share_of("Of {n} predicted gains, {share} agree with what was measured", told.agreed)


def _share_of(text: str, of: Estimate) -> str:
    return f"{text.format(n=of.n, share=_share(of.value))} [{_share(of.low)} to {_share(of.high)}]."


def _hindsight(told: Gains) -> Iterable[str]:
    best = told.hindsight
    if best is None:
        return
    yield (
        f"The best values in hindsight, of {best.tried} that were compared: {named(best.values)}. Not to have known "
        f"them cost {_signed(best.regret)} utility per call."
    )
    if best.calls is None:
        yield f"The live values are not within {100 * NEAR:g} % of their worth yet."
    elif best.calls:
        yield f"The live values are within {100 * NEAR:g} % of their worth since {best.calls} calls had been made."
    else:
        yield f"All values that were live were within {100 * NEAR:g} % of their worth."


def _odd(told: Gains, facts: Facts) -> Iterable[str]:
    if not facts.learns:
        yield "The function does not learn: decorate it with enable_training=True."
    elif len(facts.versions) <= 1:
        yield "There is one version only, the declared one: nothing was learned yet."
    if facts.own:
        yield (
            f"Calls used {', '.join(facts.own)} otherwise than declared, of which a replay knows nothing"
            + ("." if told.estimator else ", and too few calls kept to the declared values by lot.")
        )
    if facts.late:
        yield (
            f"{facts.late} calls were answered behind their limit, and the answer was used: the function is not "
            "interrupted there, so that its timeout gains nothing."
        )
    if told.calls and told.objective is None:
        yield "No call got an answer, and no latency_cost is declared: a second has no worth to compare by."
    if facts.redeclared:
        yield "The declared values are those of now; version 1 had others."
    if told.older:
        yield f"There are older calls: only the newest {told.calls} were compared."
    gone = [hour for hour in facts.hours if hour.start + 3600 <= told.first] if told.calls else list(facts.hours)
    if gone:
        calls, failures = sum(hour.calls for hour in gone), sum(hour.failures for hour in gone)
        seconds = sum(hour.seconds for hour in gone) / max(calls, 1)
        yield (
            f"Of {calls} older calls only sums by the hour are kept: {_share(1 - failures / max(calls, 1))} got an "
            f"answer, in {figures(seconds)} s on average. What the declared values would have made of them is not "
            "known."
        )
    if told.left_out:
        parts = ", ".join(f"{n} {LEFT_OUT.get(why, why)}" for why, n in told.left_out.items())
        yield f"Calls left out: {parts}."
    goal = told.objective
    if goal is not None and (goal.success_target is not None or goal.latency_target is not None):
        yield "The function aims at a target; gains are told in utility all the same: see success and p99 beside it."


def _overhead(told: Gains) -> Iterable[str]:
    if told.overhead is None:
        return
    part = told.overhead
    yield (
        f"It cost {figures(part.call * 1e6)} µs per call on the call path, and {figures(part.per_execution * 1e6)} µs "
        f"of CPU per call for training, {figures(part.training)} s in all since this process began."
    )


def _span(x: float) -> str:
    return f"{figures(x)} s" if x < 120 else f"{figures(x / 60)} min" if x < 7200 else f"{figures(x / 3600)} h"


def _share(x: float) -> str:
    """A share as per cent; only a whole is called 100 %."""
    if math.isnan(x):
        return "–"
    return ">99.99 %" if 0.99995 <= x < 1 else f"{100 * x:.4g} %"
