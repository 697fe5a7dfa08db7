"""How calls fared, as findings compare it: latency, failures and scores, and what a call was worth."""

from __future__ import annotations

import numpy as np

from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import Array, Calls

FEWEST = 100  # calls of which something must be known
SCORED = 0.5  # share of the calls from which on their scores are what counts


def outcomes(calls: Calls) -> tuple[dict[str, Array], dict[str, Array]]:
    """By name, (n,) each: log10 of the seconds, whether it failed, and the score; and which of it is censored.

    Latency and score only where they are known of enough calls; NaN where not.
    """
    told = (calls.good | calls.censored) & (calls.seconds > 0)
    found = {"failures": (~calls.good).astype(np.float64)}
    if told.sum() >= FEWEST:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {"latency": np.where(told, np.log10(calls.seconds), np.nan), **found}
    if np.isfinite(calls.score).sum() >= FEWEST:
        found["score"] = calls.score
    return found, {"latency": calls.censored.astype(np.float64)} if "latency" in found else {}


def worths(calls: Calls, asked: Asked) -> tuple[Array, str]:
    """(n,) The score of each call where most have one, else its utility by the objective; and the unit."""
    if float(np.isfinite(calls.score).mean()) >= SCORED:
        return calls.score, "score"
    cost = asked.latency_cost * np.nan_to_num(calls.seconds)
    more = asked.objective.attempt_cost * (np.nan_to_num(calls.requests, nan=1.0) - 1.0)
    return np.asarray(asked.value * calls.good - cost - more, np.float64), "utility per call"
