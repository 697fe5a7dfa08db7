"""What a trial tells, where it can be learned from."""

from __future__ import annotations

from poet.model.trial import Trial

LARGEST = 1e100  # scores beyond are no scores


def outputs_of(trial: Trial, constraints: int) -> tuple[float, ...] | None:
    """Its score and its slacks; None: one is missing, or not finite, or there are others than so many constraints."""
    told = (trial.score, *trial.slack)
    fine = len(told) == 1 + constraints and all(abs(value) < LARGEST for value in told)
    return told if fine else None
