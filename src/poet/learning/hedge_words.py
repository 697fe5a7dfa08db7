"""Why copies of slow attempts are sent, or why not, in words and figures."""

from __future__ import annotations

from poet.learning.choice import LEAST_GAIN, SLOW_SEEN, Wish
from poet.learning.guesses import Plan
from poet.learning.hedge_survey import TAIL, Scope, Survey, tail, unhedged
from poet.learning.hedging import Choice

REPEATING = 0.5  # chance that latency repeats, from which on it is named as the reason


def reason(before: Plan, choice: Choice, executions: int) -> str:
    """One sentence that says what changes and why."""
    plan, gain = choice.plan, choice.gain
    changes = [change(before, plan)] if plan.way != before.way else []
    if plan.timeout != before.timeout:
        changes.append(f"timeout {before.timeout:.3g} -> {plan.timeout:.3g} s")
    worth = f"expected gain {gain.value:+.3g} per call [{gain.low:.3g}, {gain.high:.3g}]"
    if not plan.hedges:
        what = f"latency repeats with a chance of {100 * choice.repeats:.2g} %"
    else:
        what = f"{_few(choice.copies)} copies per 100 calls, {_few(choice.aim)} are allowed; {_tail(*choice.tail)}"
    return f"{', '.join(changes)}: {choice.why}; {what}; {worth}, from {executions} calls"


def change(before: Plan, plan: Plan) -> str:
    """What ``plan`` changes in the way to hedge."""
    changes = [] if plan.hedges == before.hedges else [f"hedges {before.hedges} -> {plan.hedges}"]
    if plan.hedges and before.hedges and plan.hedge_delay != before.hedge_delay:
        changes.append(f"hedge_delay {before.hedge_delay:.4g} -> {plan.hedge_delay:.4g} s")
    elif plan.hedges and not before.hedges:
        changes.append(f"hedge_delay {plan.hedge_delay:.4g} s")
    return ", ".join(changes)


def neighbours(live: Plan, found: Survey, scope: Scope) -> list[Plan]:
    """Other ways to hedge that are worth a word."""
    if not live.hedges:
        return [] if found.best is None else [found.best.plan]
    near = [
        live._replace(hedge_delay=delay)
        for delay in (live.hedge_delay / 1.25, live.hedge_delay * 1.25)
        if scope.low <= delay <= min(scope.high, live.timeout)
    ]
    return near if scope.fewest else [unhedged(live), *near]


def which(live: Plan, other: Plan) -> str:
    """The question why ``other``, which hedges in another way, does not hold."""
    if not other.hedges:
        return "Why not without hedges?"
    if not live.hedges:
        under = "" if other.timeout == live.timeout else f" under a timeout of {other.timeout:.3g} s"
        return f"Why not hedge? {_copies(other.hedges)}, from {other.hedge_delay:.3g} s on,{under}"
    shorter = "shorter" if other.hedge_delay < live.hedge_delay else "longer"
    return f"Why not a {shorter} hedge delay? {other.hedge_delay:.3g} s"


def state(live: Plan, found: Survey, scope: Scope, wish: Wish) -> str:
    """Whether slow attempts are hedged, and why."""
    without, repeats = unhedged(live), float(found.world.repeats[0])
    if live.hedges:
        seconds = tail(found.world, without), tail(found.world, live)
        return (
            f"Of a slow attempt up to {_copies(live.hedges)} {'is' if live.hedges == 1 else 'are'} sent, the first "
            f"after {live.hedge_delay:.4g} s: an estimated {_few(found.live.copies)} per 100 calls, "
            f"{_few(scope.aim)} are allowed now; {_tail(*seconds)}."
        )
    none, best = "No copies of slow attempts are sent: ", found.best
    if scope.most == 0 or scope.aim == 0:
        return none + "none are allowed."
    if best is None:
        return none + "none that is due before the timeout keeps within the budget."
    if min(found.slow, scope.aim * found.attempts) < SLOW_SEEN:
        return none + "too few slow ones were seen."
    if best.worth > LEAST_GAIN * wish.objective.value:
        return none + f"they may gain {best.worth:.3g} per call, and that is not certain enough yet."
    if repeats > REPEATING:
        return none + f"slowness lies in the call with a chance of {100 * repeats:.2g} %, and a copy would be as slow."
    return none + f"{_few(best.copies)} per 100 calls would gain {best.worth:.2g} per call, too little to be worth it."


def _copies(number: int) -> str:
    return "one copy" if number == 1 else f"{number} copies"


def _few(share: float) -> str:
    return f"{100 * share:.3g}"


def _tail(without: float | None, with_: float | None) -> str:
    """By when nearly all answers come."""
    share = f"{100 * TAIL:g} % of the answers come within"
    if with_ is None:
        return f"{share} a time that nobody has seen yet"
    return f"{share} {with_:.3g} s" + ("" if without is None else f" instead of {without:.3g} s")
