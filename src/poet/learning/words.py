"""What a learner believes, in words and figures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import RATIO
from poet.learning import hedge_words
from poet.learning.choice import Decision, Limits, Prospect, Wish, prospects, rounded
from poet.learning.evidence import Evidence
from poet.learning.folding import Picture
from poet.learning.further import HORIZON
from poet.learning.guesses import Plan
from poet.learning.hedge_survey import Scope, Setting, surveyed
from poet.learning.regimes import Recalled
from poet.learning.strain import ENOUGH, Strain
from poet.model.drawing import Bin
from poet.model.explanation import Explanation, Forecast
from poet.model.objective import PATIENCE
from poet.model.tunable import Value

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)
FEW = 3  # calls that are too few to say anything
RARE = 0.001  # share below which the figure is not worth a number
FIRST = 0.02  # share of the answers, from which on timeouts are charted
WIDE = 4.0  # times the live timeout, up to which they are
MOST_POINTS = 18
NEAR = RATIO**2  # ratio of a neighbouring timeout: far enough to matter, near enough to be asked for


def reason(before: Plan, decision: Decision, wish: Wish, executions: int) -> str:
    """One sentence that says what changes and why."""
    changes = []
    if decision.plan.timeout != before.timeout:
        changes.append(f"timeout {before.timeout:.3g} -> {decision.plan.timeout:.3g} s")
    if decision.plan.retries != before.retries:
        changes.append(f"retries {before.retries} -> {decision.plan.retries}")
    if decision.plan.backoff != before.backoff:
        changes.append(f"backoff {before.backoff:.3g} -> {decision.plan.backoff:.3g} s")
    if decision.plan.way != before.way:
        changes.append(hedge_words.change(before, decision.plan))
    gain = decision.gain
    if decision.of_success:
        worth = f"success {100 * gain.value:+.3g} points [{100 * gain.low:.3g}, {100 * gain.high:.3g}]"
    elif wish.target is not None:
        worth = f"expected cost {-gain.value:+.3g} per call [{-gain.high:.3g}, {-gain.low:.3g}] at the same success"
    elif wish.objective.latency_target is not None:
        worth = (
            f"expected gain {gain.value:+.3g} per call [{gain.low:.3g}, {gain.high:.3g}] where 99 % of the calls are "
            f"to end within {wish.objective.latency_target:.3g} s"
        )
    else:
        worth = f"expected gain {gain.value:+.3g} per call [{gain.low:.3g}, {gain.high:.3g}]"
    return (
        f"{', '.join(changes)}: {100 * decision.answered:.4g} % of the answers come within "
        f"{decision.plan.timeout:.3g} s; {worth}, from {executions} calls"
    )


def explanation(
    evidence: Evidence,
    live: Plan,
    declared: Plan,
    limits: Limits,
    wish: Wish | None,
    values: Mapping[str, Value],
    rng: np.random.Generator,
    scope: Scope | None = None,
    converged: bool | None = None,
    listening: int = 0,
) -> Explanation:
    """The picture behind ``live``, the choices next to it, and what they would cost.

    scope: what hedging may choose from; None: it is not tuned. converged: whether further learning does not pay.
    listening: calls for which neither retries nor copies are sent yet.
    """
    picture, own = evidence.picture(), evidence.own_picture()  # what is told of its calls is what its calls have shown
    curve = survival.kaplan_meier(*(own.weights @ part for part in own.hazards[:3]))
    latency = {share: seconds for share in QUANTILES if (seconds := survival.quantile(curve, share)) is not None}
    looked = curve[~np.isnan(curve)]
    unanswered = float(1 - looked[-1]) if evidence.longest > 0 else math.nan
    failures = _failures(own) if evidence.calls else {}
    if wish is None or evidence.calls < FEW:
        sentence = f"{evidence.calls} calls seen: too few to say anything; the values in force hold."
        return Explanation(evidence.calls, None, latency, unanswered, evidence.longest, failures, None, (), (sentence,))
    plans = [live, *_neighbours(live, declared, limits)]
    copies: Sequence[str] = ()
    if scope is not None:
        found = surveyed(Setting.of(picture, live, limits, scope, evidence.durations()), live, wish)
        copies = (hedge_words.state(live, found, scope, wish),)
        plans += [plan for plan in hedge_words.neighbours(live, found, scope) if plan not in plans]
    here, *others = prospects(picture, plans, limits.cap, wish, evidence.calls, rng)
    sentences = (
        _latency_in_words(latency, unanswered, evidence.longest),
        *_failures_in_words(failures),
        *copies,
        *(_neighbour_in_words(here, other) for other in others),
        *_relatives_in_words(evidence),
        *_regime_in_words(evidence),
        *_load_in_words(evidence.strain, evidence.calls),
        *_convergence_in_words(converged),
        _scale_in_words(wish),
    )
    return Explanation(
        evidence.calls,
        wish.objective,
        latency,
        unanswered,
        evidence.longest,
        failures,
        _forecast(here, values),
        tuple(_forecast(other, values) for other in sorted(others, key=lambda other: -other.utility.value)),
        sentences,
        _spread(curve),
        tuple(_forecast(each, values) for each in _chart(picture, curve, live, limits, wish, evidence.calls, rng)),
        converged,
        listening,
    )


def _relatives_in_words(evidence: Evidence) -> Iterator[str]:
    """What other functions have to do with it."""
    heard = evidence.heard()
    if heard is not None:
        sources = [each.source for each in evidence.borrowed if each.table]
        yield f"{heard.words(sources)}; its own calls say that none of them is like it with {heard.nobody:.0%}."


def _neighbours(live: Plan, declared: Plan, limits: Limits) -> list[Plan]:
    """Plans next to ``live`` that the bounds allow, and the declared one."""
    near = [
        live._replace(timeout=rounded(min(max(live.timeout * factor, limits.low), limits.high), limits))
        for factor in (1 / NEAR**2, 1 / NEAR, NEAR, NEAR**2)
    ]
    near += [live._replace(retries=live.retries + step) for step in (-1, 1)]
    if live.retries:  # else there is no pause
        shorter = [backoff for backoff in limits.backoffs if backoff < live.backoff]
        longer = [backoff for backoff in limits.backoffs if backoff > live.backoff]
        near += [live._replace(backoff=backoff) for backoff in (*shorter[-1:], *longer[:1])]
    fitting = [plan for plan in near if limits.fewest <= plan.retries <= limits.most]
    return [plan for plan in dict.fromkeys([*fitting, declared]) if plan != live]


def _spread(curve: survival.Array) -> tuple[Bin, ...]:
    """The bins that hold answers. curve: (BINS,) chance of an answer by each knot; nan where nobody has looked."""
    mass = np.diff(np.nan_to_num(curve, nan=np.nanmax(curve)))
    return tuple(
        Bin(float(survival.KNOTS[i]), float(survival.KNOTS[i + 1]), float(mass[i])) for i in np.flatnonzero(mass > 0)
    )


def _chart(
    picture: Picture,
    curve: survival.Array,
    live: Plan,
    limits: Limits,
    wish: Wish,
    calls: int,
    rng: np.random.Generator,
) -> list[Prospect]:
    """What timeouts would give from where the first answers come to well behind the live one, the shortest first."""
    first = survival.quantile(curve, FIRST)
    low = max(limits.low, min(live.timeout / WIDE, live.timeout if first is None else first))
    high = max(min(limits.high, live.timeout * WIDE), low)
    points = 2 + min(int(math.log(high / low) / math.log(RATIO)), MOST_POINTS) if high > low else 1
    timeouts = sorted({rounded(float(x), limits) for x in np.geomspace(low, high, points)} | {live.timeout})
    return prospects(picture, [live._replace(timeout=x) for x in timeouts], limits.cap, wish, calls, rng)


def _forecast(prospect: Prospect, values: Mapping[str, Value]) -> Forecast:
    plan: dict[str, Value] = {"timeout": prospect.plan.timeout, "retries": prospect.plan.retries}
    if "backoff" in values:
        plan["backoff"] = prospect.plan.backoff
    if prospect.plan.hedges or "hedges" in values:
        plan["hedges"] = prospect.plan.hedges
    if prospect.plan.hedges:
        plan["hedge_delay"] = prospect.plan.hedge_delay
    return Forecast({**values, **plan}, prospect.utility, prospect.success, prospect.seconds, prospect.requests)


def _failures(picture: Picture) -> dict[str, float]:
    """Shares of first attempts that err, of calls that are refused, and the chance that a retry is as slow again."""
    error = float(picture.weights @ picture.failed[:, -1])
    permanent = float(picture.errors.sum(axis=1) @ repetition.PERMANENT)
    return {
        "transient": error * (1 - permanent),
        "permanent": error * permanent,
        "refused": picture.refused,
        "repeats": float(picture.repeats @ repetition.REPEATS),
    }


def _latency_in_words(latency: Mapping[float, float], unanswered: float, longest: float) -> str:
    if not latency:
        return f"Fewer than half of the attempts were ever answered, though one was given {longest:.3g} s."
    come = ", ".join(f"{100 * share:g} % within {seconds:.3g} s" for share, seconds in latency.items())
    beyond = f"an estimated {100 * unanswered:.2g} % take longer than {longest:.3g} s, the longest wait"
    return f"Answers come: {come}; {beyond}."


def _failures_in_words(failures: Mapping[str, float]) -> Sequence[str]:
    error = failures["transient"] + failures["permanent"]
    lasting = failures["permanent"] / error if error > 0 else 0.0
    if error < RARE:
        said = ["Next to no attempt ends in an error."]
    else:
        of_these = f"about {100 * lasting:.2g} %" if lasting >= RARE else "next to none"
        said = [
            f"{100 * error:.2g} % of the attempts end in an error; {of_these} of these calls fail whatever one does."
        ]
    repeats = failures["repeats"]
    chance = f"about {100 * repeats:.2g} %" if repeats >= RARE else f"less than {100 * RARE:g} %"
    said.append(f"A retry after a timeout meets the same slowness with a chance of {chance}.")
    if failures["refused"] >= 0.0005:
        said.append(f"{100 * failures['refused']:.2g} % of the calls are refused, which no retry mends.")
    return said


def _neighbour_in_words(here: Prospect, other: Prospect) -> str:
    plan, live = other.plan, here.plan
    which, gain = _which(live, plan), other.gain
    if other.better > 0.9:
        verdict = f"would be better by {gain.value:.3g} per call [{gain.low:.3g}, {gain.high:.3g}]"
    elif other.better < 0.1:
        verdict = f"would cost {-gain.value:.3g} per call [{-gain.high:.3g}, {-gain.low:.3g}]"
    else:
        verdict = f"would be no clear gain ({gain.value:+.3g} per call [{gain.low:.3g}, {gain.high:.3g}])"
    return f"{which} {verdict}: {_differences(here, other)}."


def _which(live: Plan, plan: Plan) -> str:
    """The question why ``plan`` does not hold."""
    moved = {name for name in ("timeout", "retries", "backoff", "way") if getattr(plan, name) != getattr(live, name)}
    if moved == {"timeout"}:
        return f"Why not a {'lower' if plan.timeout < live.timeout else 'higher'} timeout? {plan.timeout:.3g} s"
    if moved == {"retries"}:
        return f"Why not {'fewer' if plan.retries < live.retries else 'more'} retries? {plan.retries}"
    if moved == {"backoff"}:
        if plan.backoff == 0:
            return "Why not retry at once? That"
        other = "shorter" if plan.backoff < live.backoff else "longer"
        return f"Why not {other} pauses? Up to {plan.backoff:.3g} s at first"
    if moved == {"way"} or (moved == {"timeout", "way"} and plan.hedges > live.hedges):
        asked = hedge_words.which(live, plan)
        return f"{asked} That" if asked.endswith("?") else asked
    pause = f" with pauses of up to {plan.backoff:.3g} s at first" if "backoff" in moved else ""
    return f"Why not as declared? {plan.timeout:.3g} s and {plan.retries} retries{pause}"


def _differences(here: Prospect, other: Prospect) -> str:
    """What would be otherwise, as far as it shows."""
    pairs = (
        (f"success {100 * other.success:.4g} %", f"success {100 * here.success:.4g} %"),
        (f"{other.seconds:.3g} s", f"{here.seconds:.3g} s"),
        (f"{other.requests:.3g} requests", f"{here.requests:.3g} requests"),
    )
    said = [
        f"{new} instead of {old.removeprefix('success ').removesuffix(' requests')}" for new, old in pairs if new != old
    ]
    return ", ".join(said) or "next to nothing would change"


def known_again(found: Recalled) -> str:
    """That a regime came back, as part of a reason."""
    told = f"known again at call {found.call}, by {found.attempts} attempts"
    return f"it is as it was before, up to call {found.last}: {told}"


def _regime_in_words(evidence: Evidence) -> Sequence[str]:
    found = evidence.recalled
    if found is None:
        return ()
    return (
        f"The service changed some {evidence.quiet} calls ago, and is as it was before, up to call {found.last}: "
        f"by {found.attempts} attempts it was known again, and what had been learned then counts again.",
    )


def _convergence_in_words(converged: bool | None) -> Sequence[str]:
    if converged is None:
        return ()
    if converged:
        said = "Learning has converged: were all known, the best change would gain less within"
        return (f"{said} {HORIZON:g} calls than learning costs in them. A change of the service takes that back.",)
    said = "Learning has not converged: what is not known yet may be worth more within"
    return (f"{said} {HORIZON:g} calls than it costs to find out, or that was not seen for long enough.",)


def _load_in_words(strain: Strain | None, calls: int) -> Sequence[str]:
    """How many extra requests may be sent, where that is less than plans might want, why, and for how long."""
    if strain is None or strain.allowed >= ENOUGH:
        return ()
    if strain.listening:
        said = (
            f"For some {max(1, strain.waits(calls))} calls more no retries and no copies are sent, whatever the values "
            f"in force: {100 * strain.before:.2g} % of the first attempts came late or not at all, where "
            f"{100 * strain.usual:.2g} % are usual, and our own extra requests may be why. Of late it is "
            f"{100 * strain.share:.2g} %. If they recover without, fewer are sent from then on; if not, the cause lies "
            "outside, and all are sent again."
        )
    elif strain.feared:
        said = (
            f"No more than {strain.allowed:.2g} extra requests per call are planned: "
            "once more of them made first attempts worse, and without them these recovered. "
            f"{_more_in_words(strain, calls)}"
        )
    else:
        said = (
            f"Up to {strain.allowed:.2g} extra requests per call are planned, or as many as the declared values send; "
            f"more of them while first attempts stay as good. {_more_in_words(strain, calls)}"
        )
    return (said,)


def _more_in_words(strain: Strain, calls: int) -> str:
    waits = strain.waits(calls)
    return (
        f"More are tried in {waits} calls at the earliest." if waits else "More are tried as soon as a plan wants them."
    )


def _scale_in_words(wish: Wish) -> str:
    objective = wish.objective
    cost = objective.latency_cost or 0.0
    attempt = objective.attempt_cost
    said = f"An answer is worth {objective.value:g}, a second costs {cost:.3g}, a further request {attempt:g}"
    if wish.derived:
        said += (
            f"; nobody declared what a second costs: {PATIENCE:g} times the usual latency is taken to cost an answer"
        )
    if wish.target is not None:
        said += f"; at least {100 * wish.target:g} % of the calls must succeed"
    if objective.latency_target is not None:
        said += (
            f"; 99 % of the calls must have ended within {objective.latency_target:.3g} s, and then only success counts"
        )
    return said + "."
