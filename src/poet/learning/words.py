"""What a learner believes, in words and figures."""

from __future__ import annotations

from poet.learning.choice import Decision, Plan, Wish


def reason(before: Plan, decision: Decision, wish: Wish, executions: int) -> str:
    """One sentence that says what changes and why."""
    changes = []
    if decision.plan.timeout != before.timeout:
        changes.append(f"timeout {before.timeout:.3g} -> {decision.plan.timeout:.3g} s")
    if decision.plan.retries != before.retries:
        changes.append(f"retries {before.retries} -> {decision.plan.retries}")
    gain = decision.gain
    if decision.of_success:
        worth = f"success {100 * gain.value:+.3g} points [{100 * gain.low:.3g}, {100 * gain.high:.3g}]"
    elif wish.target is not None:
        worth = f"expected cost {-gain.value:+.3g} per call [{-gain.high:.3g}, {-gain.low:.3g}] at the same success"
    else:
        worth = f"expected gain {gain.value:+.3g} per call [{gain.low:.3g}, {gain.high:.3g}]"
    return (
        f"{', '.join(changes)}: {100 * decision.answered:.4g} % of the answers come within {decision.plan.timeout:.3g} s; "
        f"{worth}, from {executions} calls"
    )
