"""What happens during a call, for whoever listens."""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal[
    "attempt_failed",  # an attempt has ended without an answer that counts
    "retry",  # another attempt will follow after ``wait``
    "hedge",  # a copy was sent while the first request is still running
    "hedge_won",  # a copy answered first
    "gave_up",  # no further attempt: the caller gets the error
    "budget_spent",  # a retry or a hedge was not made: the budget is used up
    "shed",  # an attempt was not made: the breaker is open, a limit reached or the deadline around the call over
    "breaker",  # a breaker has changed its state: ``detail`` names the new one
    "abandoned",  # a body runs on in its thread, behind its limit or where another answer won
    "late",  # an abandoned body has ended after all, ``seconds`` after its start
    "killed",  # an attempt was stopped at its limit, in a process
    "rolled_back",  # calls have the version of before again, as the new one did harm: ``detail`` tells it in figures
    "rollout_paused",  # the same, until a person decides
    "harm_observed",  # the new version does harm, and goes on
    "experiment_held",  # all calls get what is live, until a person decides: ``detail`` tells why
    "experiment_ended",  # ``detail`` tells what it found, in figures
    "finished",  # a call is over, whatever came of it: told later, off the call path, to those who ask for it
]
ALARMING: tuple[Kind, ...] = ("rolled_back", "rollout_paused", "harm_observed", "experiment_held")
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # the Literal's own list


class Event(NamedTuple):
    """One thing that happened. Neither arguments nor results are in it."""

    kind: Kind
    function: str
    dependency: str = ""
    attempt: int = 0  # from 1; 0: does not belong to one; of a finished call: how many requests it made
    seconds: float = 0.0  # how long that attempt, or the finished call, took, >= 0 [s]
    wait: float = 0.0  # pause before the next one, >= 0 [s]
    pushback: bool = False  # whether the dependency asked for that pause
    outcome: str = ""  # of the attempt, in lower case: error, timeout, refused ...
    error: str = ""  # the type's name
    detail: str = ""
