"""What a call was worth to whoever tunes its declared parameters: executions become trials."""

from __future__ import annotations

import math
from collections.abc import Mapping

from poet.learning.checks import number
from poet.model.execution import Context, Execution, Outcome
from poet.model.objective import Goal, Objective
from poet.model.trial import Trial
from poet.model.tunable import Value

FIRST_ANSWERS = 20  # durations of calls from which a latency cost is derived that nobody declared
_NO_VERDICT = (Outcome.SHED, Outcome.CANCELLED)  # they tell nothing of the values


class Scoring:
    """How good a call was [utility], from what its function declares.

    With ``goals`` it is their weighted sum; else the score that was given. Where an objective is declared, its utility
    is added: the value of a success, less the cost of the time and of extra requests. A function of which nobody has
    ever told a score is judged by that utility alone, and where no objective is declared either, by the usual one,
    whose latency cost comes from the first answers. A call that has failed, and of which nobody says otherwise, has
    the worst score there is, and the worst of every goal.
    """

    __slots__ = ("_durations", "_goals", "_names", "_objective", "_scored", "_sure", "_typical")

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        goals: Mapping[str, Goal],
        objective: Objective | None,
        scored: bool,
    ) -> None:
        """names: of the declared tunables. scored: whether scores are sure to come, by ``score=`` or by ``goals``."""
        self._names, self._goals, self._objective = names, goals, objective
        self._scored = self._sure = scored or bool(goals)
        self._durations: tuple[float, ...] = ()
        self._typical = math.nan  # [s]; nan: not known yet

    @property
    def constraints(self) -> int:
        """How many numbers the slack of a trial has."""
        return sum((goal.at_least is not None) + (goal.at_most is not None) for goal in self._goals.values())

    @property
    def worth(self) -> float:
        """What lies between the worst call and the best one, time left aside [utility]."""
        own = self._objective.value if self._objective is not None else 0.0
        if self._goals:
            return own + sum(abs(goal.weight) * (goal.high - goal.low) for goal in self._goals.values()) or 1.0
        return own + 1.0 if self._scored else own or 1.0

    @property
    def scored(self) -> bool:
        """Whether calls are judged by what is said of them, and not by their outcome and time alone."""
        return self._scored

    def begin_scored(self) -> None:
        """Somebody has told a score: from now on calls without one tell nothing yet."""
        self._scored = True

    def judges(self, execution: Execution) -> bool:
        """Whether all that is to be said of the execution has been said."""
        return self._scored and execution.outcome not in _NO_VERDICT and self._judged(execution) is not None

    def trial(self, execution: Execution, values: Mapping[str, Value], *, contextual: bool) -> Trial | None:
        """What the execution tells of its ``values``; None: nothing, or not yet."""
        if execution.outcome in _NO_VERDICT or len(values) < len(self._names):
            return None  # no verdict, or the caller's own value was none that can be told
        judged = self._judged(execution)
        if judged is None:
            return None
        score, slack = judged
        if self._objective is not None or not self._scored:
            utility = self._utility(execution)
            if utility is None:
                return None
            score += utility
        if not math.isfinite(score):
            return None
        context: Context = execution.context if contextual else ()
        return Trial(values, score, context, slack)

    def _judged(self, execution: Execution) -> tuple[float, tuple[float, ...]] | None:
        """Score and slacks; None: they are still to come."""
        if not self._scored:
            return 0.0, ()
        failed = not execution.outcome.good
        if not self._goals:
            score = execution.score
            if score is None:
                return (0.0, ()) if failed else None
            return score, ()
        told = dict(execution.goals)
        total, slack = 0.0, []
        for name, goal in self._goals.items():
            value = told.get(name)
            if value is None:
                if not failed:
                    return None
                value = _worst(goal)
            total += goal.weight * value
            if goal.at_least is not None:
                slack.append(value - goal.at_least)
            if goal.at_most is not None:
                slack.append(goal.at_most - value)
        return total, tuple(slack)

    def _utility(self, execution: Execution) -> float | None:
        objective = self._objective or Objective()
        seconds = execution.seconds
        if not 0 <= seconds < math.inf:
            return None
        if objective.latency_cost is None:
            if len(self._durations) < FIRST_ANSWERS and execution.outcome.good:
                self._durations = (*self._durations, seconds)
            if math.isnan(self._typical):
                if len(self._durations) < FIRST_ANSWERS:
                    return None  # on another scale than those to come
                self._typical = max(sorted(self._durations)[len(self._durations) // 2], 1e-6)
            objective = objective.for_latency(self._typical)
        return objective.utility(execution.outcome.good, seconds, max(1, len(execution.attempts)))

    def fresh(self) -> Scoring:
        """The same as it was before any call."""
        return Scoring(self._names, goals=self._goals, objective=self._objective, scored=self._sure)

    # ------------------------------------------------------------ for a store

    def facts(self) -> list[object]:
        """All that it has found out, as JSON can say it."""
        return [self._scored, list(self._durations), None if math.isnan(self._typical) else self._typical]

    def restore(self, facts: object) -> None:
        """The inverse of ``facts``. Raises ValueError or TypeError, unchanged, where it is none."""
        if not isinstance(facts, list) or len(facts) != 3:
            raise ValueError("it tells of no scoring")
        scored, durations, typical = facts
        if type(scored) is not bool or not isinstance(durations, list) or len(durations) > FIRST_ANSWERS:
            raise ValueError("it tells of no scoring")
        spans = tuple(number(seconds) for seconds in durations)
        usual = math.nan if typical is None else number(typical)
        self._scored = self._scored or scored
        self._durations, self._typical = spans, usual


def _worst(goal: Goal) -> float:
    """The end of its scale that nobody wants."""
    unwanted = goal.weight < 0 or (goal.weight == 0 and goal.at_least is None)
    return goal.high if unwanted else goal.low
