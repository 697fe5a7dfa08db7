"""Declared tunables beside timeout and retries: one learner of a function that has both.

The operational learner and the tuner know nothing of each other. What calls were tried at, and what came of it, goes to
the tuner; how long they took and why they failed goes to the operational learner. Their values are one version.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from poet.learning.checks import count, features, finite, number
from poet.learning.contexts import of_all_calls
from poet.learning.exploring import Ledger
from poet.learning.parcels import NO_PARCEL, packed, unpacked
from poet.learning.scoring import Scoring
from poet.model.estimate import Estimate
from poet.model.execution import UNTOLD, Execution, Outcome
from poet.model.explanation import Explanation
from poet.model.parameters import ParameterSet
from poet.model.policy import Policy, Tries
from poet.model.trial import Trial
from poet.model.tunable import Space, Value
from poet.seams import Learner, Probe, Suggestion, Tuner

TRIES = 6  # sets of values that are tried at a time
FRESH = 0.05  # share of all trials that must be new before another look pays
LEAST_TRIALS = 6  # before values are changed
DOUBT = 0.5  # standard errors of the best mean by which a gain must exceed 0
LEAST_GAIN = 0.005  # of what lies between the worst call and the best: what is less is no reason to change
MOST_VERSIONS = 64  # whose values are kept in mind
WAITING = 512  # trials that wait to be told to others, at most: the newest

_MAGIC = b"POETtun1"
_NEWS_MAGIC = b"POETtuc1"
_BAD = (*NO_PARCEL, KeyError, OverflowError, AttributeError)


class _Facts(NamedTuple):
    """What is known beside the two learners' own states."""

    trials: int
    looked: int  # trials at the last look
    ledger: Ledger


class TunedLearner:
    """An operational learner and a tuner of declared parameters; a ``poet.seams.Learner``.

    operational: of timeout, retries and so on. tuner: makes one that knows nothing, equal ones each time. space: of the
    declared tunables. scoring: what a call was worth. exploration: share of a success's value that calls may lose on
    average by trying something out, in [0, 1]. contextual: whether features of the call are told to the tuner.
    """

    scores = True  # late scores are wanted, see ``rescored``

    def __init__(
        self,
        operational: Learner,
        tuner: Callable[[], Tuner],
        *,
        space: Space,
        scoring: Scoring,
        exploration: float,
        contextual: bool,
    ) -> None:
        self.operational, self.tuner = operational, tuner()
        self._new = tuner
        self._space, self._scoring = space, scoring
        self._budget, self._contextual = exploration, contextual
        self._facts = _Facts(0, 0, Ledger())
        self._untold: list[Trial] = []
        self._untold_ledger = Ledger()
        self._said: dict[int, ParameterSet] = {}  # by version
        self._live: ParameterSet | None = None
        self._policy: Policy | None = None
        self._policy_at = -1  # trials that it rests on; -1: there is none
        self._loss = 0.0  # expected of one of its tries [utility]
        self._best = math.nan  # expected score of what was best then; nan: nothing is known
        self.dropped: tuple[str, ...] = ()  # of what was known, as the space is another one now

    # ------------------------------------------------------------ the seam

    def under(self, parameters: ParameterSet, *, live: bool = False) -> None:
        """What a version says of the declared tunables: executions only tell what they used otherwise.

        live: whether it is what calls use now.
        """
        if live:
            changed = self._live is None or any(self._live.get(name) != parameters.get(name) for name in self._space)
            self._policy_at = -1 if changed else self._policy_at
            self._live = parameters
        self._said[parameters.version] = parameters
        while len(self._said) > MOST_VERSIONS:
            del self._said[next(iter(self._said))]

    def knows(self, version: int) -> bool:
        """Whether ``under`` has told of it."""
        return version in self._said

    def update(self, executions: Sequence[Execution]) -> None:
        """Fold them in, oldest first. What is not known by version must be named in ``values``."""
        self.operational.update(executions)
        made = [each for each in executions if each.outcome is not Outcome.SHED]
        tries = sum(1 for each in made if each.draw)
        if made:
            ledger = self._facts.ledger.after(len(made), tries, tries * self._loss)
            self._facts = self._facts._replace(ledger=ledger)
            self._untold_ledger = self._untold_ledger.after(len(made), tries, tries * self._loss)
        self._learn(made)

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Executions that it has seen, whose score came later; of several scores the first one that says enough counts.

        The store keeps the newest. What was folded into estimates cannot be taken out of them again.
        """
        self._learn([after for after, told in zip(executions, before, strict=True) if not self._scoring.judges(told)])

    def due(self) -> int:
        """Whether one of the two would look at the evidence now."""
        return self.operational.due() or int(self._is_ripe())

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """Better values than ``live`` where the evidence of one of the two is good enough, else None."""
        told = self.operational.suggest(live)
        found = self._found(live if told is None else told.values) if self._is_ripe() else None
        if found is None:
            return told
        values, estimate, reason = found
        evidence = self._facts.trials
        estimates = {"score": estimate}
        if told is None:
            return Suggestion(values, reason, estimates, evidence)
        return Suggestion(values, f"{told.reason}; {reason}", {**estimates, **told.estimates}, told.evidence)

    def probe(self) -> Probe:
        """The operational learner's, and the policy for declared tunables."""
        self._renew_policy()
        return self.operational.probe()._replace(policy=self._policy)

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        """The operational picture, and what is known of the declared tunables."""
        picture = self.operational.explain(live)
        return picture._replace(sentences=(*picture.sentences, *self._sentences(live)))

    @property
    def exploration(self) -> dict[str, float]:
        """The budget of trying things out and what it has cost, in shares of a success's value; for people."""
        ledger, worth = self._facts.ledger, self._scoring.worth
        return {
            "budget": self._budget,
            "calls": ledger.calls,
            "tries": ledger.tries,
            "spent": ledger.spent / worth,
            "left": max(0.0, ledger.left(self._budget, worth)) / worth,
            "trials": float(self._facts.trials),
        }

    # ------------------------------------------------------------ tunables

    def _learn(self, executions: Sequence[Execution]) -> None:
        if not self._scoring.scored and any(e.score is not None or e.goals for e in executions):
            # from now on calls are judged by what is said of them: on another scale
            self._scoring.begin_scored()
            self.tuner = self._new()
            self._facts = _Facts(0, 0, self._facts.ledger)
            self._untold, self._policy_at = [], -1
        trials = []
        lost = 0.0
        for each in executions:
            trial = self._scoring.trial(each, self._used(each), contextual=self._contextual)
            if trial is not None:
                trials.append(trial)
                lost += self._best - trial.score if each.draw and not math.isnan(self._best) else 0.0
        if lost:
            self._facts = self._facts._replace(ledger=self._facts.ledger.scored(lost))
            self._untold_ledger = self._untold_ledger.scored(lost)
        if trials:
            self._take(trials)
            self._untold = [*self._untold, *trials][-WAITING:]

    def _used(self, execution: Execution) -> dict[str, Value]:
        """The values of declared tunables that it used, as far as they are known."""
        said = self._said.get(execution.version)
        values = {} if said is None else {name: said[name] for name in self._space if name in said}
        values.update(execution.values)
        return {name: values[name] for name in self._space if values.get(name, UNTOLD) != UNTOLD}

    def _take(self, trials: Sequence[Trial]) -> None:
        self.tuner.update(trials)
        self._facts = self._facts._replace(trials=self._facts.trials + len(trials))

    def _is_ripe(self) -> bool:
        trials, looked, _ = self._facts
        return trials >= LEAST_TRIALS and trials - looked >= max(1.0, FRESH * trials)

    def _found(self, live: Mapping[str, Value]) -> tuple[dict[str, Value], Estimate, str] | None:
        """Better declared values than ``live``, what they are believed to score, and why; None: nothing better."""
        self._facts = self._facts._replace(looked=self._facts.trials)
        before = {name: live[name] for name in self._space if name in live}
        best = self.tuner.recommend()
        changed = {name: value for name, value in best.values.items() if before.get(name) != value}
        if not changed or len(before) < len(self._space):
            return None
        scoring = self._scoring
        gain = best.mean - self.tuner.expected(before)
        floor = max(LEAST_GAIN * scoring.worth, DOUBT * (best.high - best.low) / (2 * _Z90))
        cost = sum(self._space[name].change_cost for name in changed) * FRESH / max(1, len(self._space))
        if gain <= floor + cost and not (scoring.constraints and best.feasible):
            return None
        estimate = Estimate(best.mean, best.low, best.high, best.evidence, 0.9)
        what = ", ".join(f"{name} {_shown(before[name])} -> {_shown(value)}" for name, value in changed.items())
        reason = f"{what}: expected score {best.mean:.4g} [{best.low:.4g}, {best.high:.4g}], {gain:+.3g}"
        return {**live, **changed}, estimate, reason

    def _renew_policy(self) -> None:
        trials = self._facts.trials
        if self._policy_at >= 0 and trials - self._policy_at < max(1.0, FRESH * trials):
            return
        self._policy_at = trials
        scoring, ledger = self._scoring, self._facts.ledger
        live = self._live
        own = None if live is None else {name: live[name] for name in self._space if name in live}
        policy = self.tuner.policy(1.0, TRIES, own if own and len(own) == len(self._space) else None)
        best = self.tuner.recommend()
        self._best = best.mean if best.evidence else math.nan
        if isinstance(policy, Tries):
            lost = [max(0.0, best.mean - self.tuner.expected({**best.values, **each})) for each in policy.values]
            self._loss = sum(lost) / len(lost) if lost else 0.0
        else:
            self._loss = float(getattr(policy, "loss", 0.0))
        self._policy = policy.with_share(ledger.share(self._budget, scoring.worth, self._loss))

    def _sentences(self, live: Mapping[str, Value]) -> list[str]:
        trials, _, ledger = self._facts
        names = ", ".join(self._space)
        if not trials:
            waits = "no call has been scored yet" if self._scoring.scored else "too few calls have ended"
            return [f"Of {names} nothing is known: {waits}."]
        best = self.tuner.recommend()
        own = {name: live.get(name, best.values[name]) for name in self._space}
        mean = self.tuner.expected(own)
        by = "what is said of calls" if self._scoring.scored else "outcome and time, as nobody has told a score"
        said = [
            f"{names}: {trials} calls have been judged by {by}; the live values are expected to score {mean:.4g}.",
        ]
        if any(own[name] != value for name, value in best.values.items()):
            what = ", ".join(f"{name} {_shown(value)}" for name, value in best.values.items())
            said.append(f"Best by now: {what}, expected to score {best.mean:.4g} [{best.low:.4g}, {best.high:.4g}].")
        if not best.feasible:
            said.append("No values are known that keep every goal; these break them least.")
        worth = self._scoring.worth
        said.append(
            f"{ledger.tries:.0f} of {ledger.calls:.0f} calls have tried other values, at a cost of "
            f"{ledger.spent / worth:.3g} successes; {max(0.0, ledger.left(self._budget, worth)) / worth:.3g} are left."
        )
        return [*said, *getattr(self.tuner, "notes", tuple)(), *(f"{each}." for each in self.dropped)]

    # ------------------------------------------------------------ for a store, and for others

    def dump(self) -> bytes:
        """All that both know."""
        return _written(self._facts, self._budget, self._scoring, self.operational.dump(), self.tuner)

    def load(self, state: bytes) -> None:
        """Take up where ``dump`` left off; one of an operational learner alone is taken for its part.

        Raises ValueError, changing nothing, where ``state`` is neither.
        """
        if not state.startswith(_MAGIC):
            self.operational.load(state)
            return
        try:
            facts, scoring, tuner, dropped, operational = self._read(state)
            try:
                self.operational.load(operational)
            except ValueError:  # contexts are told no more
                self.operational.load(of_all_calls(operational))
        except _BAD as error:
            raise ValueError(f"this is no state of a learner of declared tunables ({error})") from error
        self._facts, self._scoring, self.tuner, self.dropped = facts, scoring, tuner, dropped
        self._policy_at = -1
        self._untold, self._untold_ledger = [], Ledger()

    def _read(self, state: bytes) -> tuple[_Facts, Scoring, Tuner, tuple[str, ...], bytes]:
        """What ``dump`` wrote; what the tuner had to drop, and the operational learner's own. Raises one of _BAD."""
        facts, (operational, known) = unpacked(_MAGIC, state)
        scoring, tuner = self._scoring.fresh(), self._new()
        scoring.restore(facts["scoring"])
        dropped = tuner.load(known)
        known_facts = _Facts(count(facts["trials"]), count(facts["looked"]), _ledger(facts["ledger"]))
        return known_facts, scoring, tuner, dropped, operational

    def contribution(self) -> bytes | None:
        """What both have seen since the last one was handed out: of the trials at most the newest 512."""
        operational = self.operational.contribution()
        if operational is None and not self._untold:
            return None
        names = list(self._space)
        rows = [[[trial.values[n] for n in names], trial.score, trial.context, trial.slack] for trial in self._untold]
        facts = {"names": names, "trials": rows, "ledger": self._untold_ledger, "scoring": self._scoring.facts()}
        self._untold, self._untold_ledger = [], Ledger()
        return packed(_NEWS_MAGIC, facts, (operational or b"",))

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        """``shared`` with a contribution folded in, as ``dump`` writes it. Raises ValueError where one is none."""
        try:
            told, (news,) = unpacked(_NEWS_MAGIC, contribution)
            trials = [_trial(told["names"], *row) for row in told["trials"]]
            theirs = self._scoring.fresh()
            theirs.restore(told["scoring"])
            facts, scoring, tuner, pooled = _Facts(0, 0, Ledger()), self._scoring.fresh(), self._new(), shared
            if shared is not None and shared.startswith(_MAGIC):
                facts, scoring, tuner, _, pooled = self._read(shared)
            if news or pooled is None:
                pooled = self.operational.merged(pooled, news)
            if theirs.scored and not scoring.scored:  # the first to tell of scores: what was known is on another scale
                scoring, tuner, facts = theirs, self._new(), facts._replace(trials=0, looked=0)
            elif scoring.scored and not theirs.scored:  # who had heard of no score yet
                trials = []
            elif not facts.trials:
                scoring = theirs
            fitting = [trial for trial in trials if self._space.keys() <= trial.values.keys()]
            tuner.update(fitting)
            total = facts.ledger.plus(_ledger(told["ledger"]))
            known = _Facts(facts.trials + len(fitting), facts.looked, total)
            return _written(known, self._budget, scoring, pooled, tuner)
        except _BAD as error:
            raise ValueError(f"this is no contribution to a learner of declared tunables ({error})") from error


_Z90 = 1.645  # standard errors from the middle to each end of a 90 % interval


class Declared(NamedTuple):
    """What a state says of how its learner was declared."""

    operational: bytes  # that learner's own state
    tuner: bytes  # the tuner's
    exploration: float


def declared_in(state: bytes) -> Declared | None:
    """How the learner was declared whose ``dump`` this is; None: it has no tunables. Raises ValueError."""
    if not state.startswith(_MAGIC):
        return None
    try:
        facts, (operational, tuner) = unpacked(_MAGIC, state)
        return Declared(operational, tuner, number(facts["exploration"]))
    except _BAD as error:
        raise ValueError(f"this is no state of a learner of declared tunables ({error})") from error


def _written(facts: _Facts, budget: float, scoring: Scoring, operational: bytes, tuner: Tuner) -> bytes:
    told = {**facts._asdict(), "scoring": scoring.facts(), "exploration": budget}
    return packed(_MAGIC, told, (operational, tuner.dump()))


def _ledger(numbers: Sequence[Any]) -> Ledger:
    """Raises ValueError or TypeError where it is none."""
    calls, tries, expected, seen = numbers
    return Ledger(number(calls), number(tries), number(expected), finite(seen))


def _shown(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _trial(names: Sequence[str], values: Sequence[Any], score: Any, context: Any, slack: Any) -> Trial:
    """Raises ValueError or TypeError where it is none."""
    used = dict(features(zip(names, values, strict=True)))  # of the same kinds as features
    return Trial(used, finite(score), features(context), tuple(finite(each) for each in slack))
