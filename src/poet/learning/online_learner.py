"""T: learns from every execution.

One execution shows, for every attempt, how long it took – or that it had not ended by its limit – and how it failed.
From that picture the expected outcome of every timeout and every number of retries follows by arithmetic, also of
values never tried. So learning is estimation here, not search: nothing is risked except where the record is censored,
and there the probes look, on calls that are failing anyway.
"""

from __future__ import annotations

import json
import math
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from poet.errors import ConfigurationError
from poet.kernels.online.bins import EDGES
from poet.kernels.online.convergence import Convergence, looked
from poet.kernels.pieces import between
from poet.learning.checks import count, number
from poet.learning.evidence import Evidence
from poet.learning.notes import FIRST_ANSWERS, RECORD_KEEP
from poet.learning.strain import ENOUGH, Strain
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.explanation import Explanation
from poet.model.feedback import ExecutionFeedback
from poet.model.objective import Objective
from poet.model.tunable import Integer, Real, Space, Tunable, Value
from poet.seams import Probe, Suggestion
from poet.settings import BACKOFF_CAP

if TYPE_CHECKING:
    import numpy as np

    from poet.learning.borrowed import Heard, Lent
    from poet.learning.choice import Hedging, Limits, Verdict, Wish
    from poet.learning.folding import Picture
    from poet.learning.guesses import Plan
    from poet.learning.hedge_survey import Scope
    from poet.learning.hedging import Choice
    from poet.learning.parameter_history import ParameterHistory
    from poet.learning.regimes import Recalled
    from poet.learning.statistical import StatisticalOnlineLearner

__all__ = ["ExecutionFeedback", "OnlineLearner", "ParameterHistory", "StatisticalOnlineLearner"]


def __getattr__(name: str) -> Any:
    # loaded when first used: no decorated function needs them
    if name == "StatisticalOnlineLearner":
        from poet.learning.statistical import StatisticalOnlineLearner

        return StatisticalOnlineLearner
    if name == "ParameterHistory":
        from poet.learning.parameter_history import ParameterHistory

        return ParameterHistory
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


SPACE = Space(timeout=Real(0.001, 120.0, log=True), retries=Integer(0, 5))
OBJECTIVE = Objective()  # where none is given
DECLARED: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}

STRETCH = 2.44  # longer limit of a probe: four bins, so that what it sees pays for the wait
CURIOUS = 6.0  # how many retried calls satisfy most of the first curiosity about retries
SATED = 0.4  # of the retries that are probed in the long run, where calls are retried anyway, and that shows as much
KEEN = 4.0  # the same while more retries seem better, and the evidence is not there yet
MOST_PROBED = 0.5  # share of calls
IN_TIME = 0.05, 0.3  # times as many retries, longer limits, are probed under a latency target: calls miss it by them
GENEROUS = 10.0  # usual latencies from which on a declared timeout says how long anybody would wait
STEADFAST = 100.0  # usual latencies that are waited for where it does not say so
LONGING = 4.0  # times as many longer limits where a longer timeout seems better and too little was seen of it

BACKOFFS = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # that are chosen from [s]
MOST_HEDGES = 2  # copies of one request that are made use of

SETTLED = 20  # calls before which nothing has settled
NEAR = 0.9  # share of the timeout from which on an answer has come just in time

_NAMES = ("timeout", "retries", "backoff", "hedges", "hedge_delay")
_FIRST_LOOK = 3  # calls
_FIRST_ALONE = 12  # calls during which what was borrowed is looked at with each, as it may be wrong
_STEP = 3.0  # calls from one look to the next, growing while nothing changes
_RESTED_STEP = 48.0  # the same after a change, where much is known
_LONGING_STEP = 16.0
YOUNG = 60  # calls since the start, or an alarm, during which every look is thorough
_LONGEST_STEP = 768.0
_THOROUGH = 4  # looks, as far apart as they get, of which one weighs all that may be done about slow attempts

_MAGIC = b"POETonl1"
_NEWS_MAGIC = b"POETonc1"
_NO_KIND = (KeyError, TypeError, ValueError, OverflowError, RecursionError, zlib.error, struct.error)
_MOST_BYTES = 1 << 24  # of an unpacked state
_LENGTHS = struct.Struct("<III")  # name, facts, arrays


class OnlineLearner:
    """Learns ``timeout``, ``retries`` and ``backoff`` of one function; implements ``poet.seams.Learner``.

    Where ``hedges`` is in the space it learns whether to send copies of slow requests, too, how many and when.

    base_learning_rate: how fast the old is forgotten, in (0, 1]; 0.05 halves the weight of an execution after 8, 60,
        300, 1500 and 8000 more of them (competing memories), twice the rate after half as many.
    momentum: how long the choice among these memories persists, in [0, 1): their record of foretelling fades by
        (1 - momentum) / 5 per execution.
    confidence_threshold: least posterior probability that a change does no harm, in [0, 1); below 0.9 it counts as 0.9,
        as less than that makes changes that are as often wrong as right.
    exploration_rate: share of calls that may look beyond the live values, in [0, 1], up to four times as much while
        next to nothing is known of retries; it bites only on calls that fail anyway, and never beyond half of them.
    objective: what a call is worth; its latency cost, where None, is derived from the first 20 answers and then kept.
    space: hard bounds of ``timeout`` [s], ``retries``, ``hedges`` (copies of a slow request, of which at most two are
        made use of) and ``hedge_delay`` (when the first is sent, the second after twice that [s]); what is missing
        there is not tuned.
    declared: the values that hold at first; ``backoff`` [s], where the live values have none, is the bound of the pause
        before the first retry, and doubles with each up to ``backoff_cap``; a pause is uniform below its bound.
    hedge_budget: copies per call that hedging may send on average, in [0, 1]. A hard limit beside it should be some 8 %
        higher: copies come in clusters, and those that it refuses are the tail's.
    mind_load: whether extra requests are raised step by step and withdrawn where they make things worse, see
        ``strain``; False: plans send as many as pay.
    recall: whether what was believed before a change is kept, and known again where it comes back, see ``regimes``.
    convergence_threshold: gain per call that is not worth learning for, as a share of a success's value, in [0, 1].
    seed: of the posterior draws. Two learners of equal arguments that see the same do the same.

    Raises ConfigurationError where an argument is out of range.
    """

    scores = False  # that come later

    __slots__ = (
        "__weakref__",
        "_arguments",
        "_cap",
        "_convergence",
        "_declared",
        "_evidence",
        "_exploration",
        "_functions",
        "_gate",
        "_handed_out",
        "_hedge_budget",
        "_keen",
        "_live",
        "_longing",
        "_looks",
        "_mind_load",
        "_next_look",
        "_objective",
        "_recall",
        "_reckoned",
        "_seed",
        "_space",
        "_step",
        "_threshold",
        "_turn",
        "_typical",
        "_untold_looks",
        "successful_updates",
        "update_count",
    )

    def __init__(
        self,
        base_learning_rate: float = 0.05,
        momentum: float = 0.9,
        confidence_threshold: float = 0.7,
        exploration_rate: float = 0.1,
        *,
        objective: Objective | None = None,
        space: Space | None = None,
        declared: Mapping[str, Value] | None = None,
        backoff_cap: float = BACKOFF_CAP,
        hedge_budget: float = 0.1,
        mind_load: bool = True,
        recall: bool = True,
        convergence_threshold: float = 0.01,
        seed: int = 0,
    ) -> None:
        for name, value, fits, range_ in (
            ("base_learning_rate", base_learning_rate, 0 < base_learning_rate <= 1, "(0, 1]"),
            ("momentum", momentum, 0 <= momentum < 1, "[0, 1)"),
            ("confidence_threshold", confidence_threshold, 0 <= confidence_threshold < 1, "[0, 1)"),
            ("exploration_rate", exploration_rate, 0 <= exploration_rate <= 1, "[0, 1]"),
            ("backoff_cap", backoff_cap, 0 <= backoff_cap < math.inf, "[0, inf)"),
            ("hedge_budget", hedge_budget, 0 <= hedge_budget <= 1, "[0, 1]"),
            ("convergence_threshold", convergence_threshold, 0 <= convergence_threshold <= 1, "[0, 1]"),
        ):
            if not fits:
                raise ConfigurationError(f"{name} must be in {range_}, got {value!r}")
        self._arguments = (base_learning_rate, momentum, confidence_threshold, exploration_rate)
        self._objective = objective if objective is not None else OBJECTIVE
        self._space = space if space is not None else SPACE
        self._declared = _completed(tuple((name, type(value), value) for name, value in (declared or {}).items()))
        self._cap = backoff_cap
        self._hedge_budget = hedge_budget
        self._mind_load = mind_load
        self._recall = recall
        self._threshold = convergence_threshold
        self._seed = seed
        self._gate = max(0.9, confidence_threshold)
        self._exploration = exploration_rate
        self._evidence = self._no_evidence()
        self._typical: float | None = None  # latency that the derived cost rests on [s]; None: not fixed yet
        self._next_look = _FIRST_LOOK
        self._step = _STEP
        self._looks = self._untold_looks = 0
        self._turn = 0  # who is to look, of all who learn together: the contribution that made it due; 0: whoever
        self._handed_out = 0  # the last contribution, by its checksum; 0: none, or its turn has been taken
        self._convergence = Convergence()
        self._reckoned = 0  # call at which it was last asked
        self._keen = False  # whether more retries seem better, and the evidence is not there yet
        self._longing = False  # whether a longer timeout seems better, and the evidence is not there yet
        self._live = self._plan_of(self._declared)
        self._functions: dict[str, _Named] = {}
        self.update_count = 0  # executions told to ``update_parameters``
        self.successful_updates = 0  # after which it gave other parameters, probes included

    @property
    def base_learning_rate(self) -> float:
        """As it was given."""
        return self._arguments[0]

    @property
    def momentum(self) -> float:
        """As it was given."""
        return self._arguments[1]

    @property
    def confidence_threshold(self) -> float:
        """As it was given."""
        return self._arguments[2]

    @property
    def exploration_rate(self) -> float:
        """As it was given."""
        return self._arguments[3]

    @property
    def objective(self) -> Objective:
        """As it was given, or the default."""
        return self._objective

    @property
    def recalled(self) -> Recalled | None:
        """The regime that has been known again since the last change; None: none."""
        return self._evidence.recalled

    @property
    def converged(self) -> bool | None:
        """Whether further learning is worth less than it costs, see ``further``; None: that is not known.

        That is: too few calls were seen, or there is a latency target, for which no value of learning is reckoned.
        """
        if self._evidence.calls < SETTLED or self._objective.latency_target is not None:
            return None
        return self._convergence.converged and not self._changed

    @property
    def listening(self) -> int:
        """Calls for which no retries and no copies are sent yet, to see what load does; 0: they are sent."""
        strain = self._evidence.strain
        return max(1, strain.waits(self._evidence.calls)) if strain is not None and strain.listening else 0

    @property
    def _changed(self) -> bool:
        """Whether what was known is out of date, or seems to be, and has not been looked at yet."""
        evidence = self._evidence
        return self.listening > 0 or (evidence.urgent > 1 and evidence.quiet < YOUNG)

    def _no_evidence(self) -> Evidence:
        rate, momentum = self._arguments[:2]
        return Evidence(
            pace=rate / 0.05,
            record_keep=1 - (1 - momentum) / 5 if momentum != 0.9 else RECORD_KEEP,
            hedging=isinstance(self._space.get("hedges"), Integer) and self._hedge_budget < 1,
            strain=Strain() if self._mind_load else None,
            recall=self._recall,
        )

    # ------------------------------------------------------------ the seam

    def update(self, executions: Sequence[Execution]) -> None:
        """Fold them in, oldest first. Never changes them; odd values in them do no harm."""
        self._evidence.observe(executions)

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores say nothing of timeouts and retries: nothing changes."""

    def due(self) -> int:
        """Whether it is time to look; 2: something has happened that must not wait, or it is one's turn."""
        evidence = self._evidence
        if evidence.urgent or self._turn == self._handed_out != 0:
            return 2
        return int(evidence.calls >= self._next_look)

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """Better values than ``live`` where the evidence is good enough, else None; mostly it is too early to look."""
        return self._look(live) if self.due() else None

    def probe(self) -> Probe:
        """How to probe from now on, by the live values that were last shown to ``suggest``.

        Nothing as long as the declared values hold: they were chosen by somebody who meant them.
        """
        timeout, retries, _ = self._live
        strain = self._strain
        if strain is not None and strain.listening:
            stretch = min(STRETCH, self._bounds("timeout", timeout)[1] / timeout)
            if stretch <= 1.05 or timeout >= self._plan_of(self._declared)[0]:
                return Probe(calm=True)
            return Probe(limit=min(MOST_PROBED, 2 * self._exploration), stretch=stretch, calm=True)
        if (timeout, retries) == self._plan_of(self._declared)[:2]:
            return Probe()
        bounds = self._bounds("timeout", timeout), self._bounds("retries", retries)
        stretch = min(STRETCH, bounds[0][1] / timeout)
        retry, limit = IN_TIME if self._objective.latency_target is not None else (1.0, 1.0)
        # after which kind of failure they fall is not ours to choose: each kind counts by how often it is met
        errors, timeouts = (1 + seen for seen in self._evidence.retried)
        unseen = (errors / (1 + errors) + timeouts / (1 + timeouts)) / (errors + timeouts)
        curiosity = (KEEN if self._keen else SATED if retries else 1.0) + CURIOUS * unseen
        return Probe(
            retry=min(MOST_PROBED, self._exploration * retry * curiosity) if retries < bounds[1][1] else 0.0,
            limit=min(MOST_PROBED, self._exploration * limit * (LONGING if self._longing else 1.0))
            if stretch > 1.05
            else 0.0,
            stretch=max(1.0, stretch),
        )

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        """Why ``live``, or why not; it changes nothing."""
        from poet.learning import words

        return words.explanation(
            self._evidence,
            self._plan(live),
            self._plan(self._declared),
            self._limits(live),
            self._wish(),
            live,
            self._rng(),
            self._scope(live),
            self.converged,
            self.listening,
        )

    def dump(self) -> bytes:
        """All it knows, for a store; a few kilobytes, and as much for each function seen by ``update_parameters``."""
        sections = [self._section("", {})]
        sections += [named.learner._section(name, named.facts()) for name, named in self._functions.items()]
        return _MAGIC + zlib.compress(b"".join(sections), 9)

    def load(self, state: bytes) -> None:
        """Take up where ``dump`` left off. Raises ValueError, changing nothing, where ``state`` is of no such kind."""
        other = self._sibling(self._seed)
        try:
            (_, facts, blob), *parts = _sections(state, _MAGIC)
            other._restore(facts, blob)
            other._functions = {name: _Named.of(self._child(name), facts, blob) for name, facts, blob in parts}
        except _NO_KIND as error:
            raise ValueError(f"this is no state of an online learner ({error}); it was left unread") from error
        strain = self._evidence.strain
        if self._evidence.calls and strain is not None:  # what others have found does not end our own experiments
            strain.elsewhere(other._evidence.calls - self._evidence.calls)
            strain.under(other._evidence.limit)
            other._evidence.strain = strain
        for name in (
            "convergence",
            "evidence",
            "functions",
            "keen",
            "live",
            "longing",
            "looks",
            "next_look",
            "reckoned",
            "step",
            "turn",
            "typical",
        ):
            setattr(self, f"_{name}", getattr(other, f"_{name}"))
        self._untold_looks = 0

    def contribution(self) -> bytes | None:
        """What it has seen since the last one was handed out, or since ``load``; None: nothing.

        Some hundred bytes, however many calls it tells of, and as much for each function of ``update_parameters``.
        """
        named = [(name, each) for name, each in self._functions.items() if each.learner._untold]
        if not named and not self._untold:
            return None
        sections = [self._news("", {}), *(each.learner._news(name, each.facts()) for name, each in named)]
        told = _NEWS_MAGIC + zlib.compress(b"".join(sections))
        self._handed_out = zlib.crc32(told)
        return told

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        """``shared``, what all know together as ``dump`` writes it, with a contribution of any of them folded in.

        The calls that a contribution tells of count as the newest, and what was there fades by as many of them, at the
        pace of this learner, whichever its maker has. None: nobody knows anything yet. Raises ValueError where one of
        the two is of no such kind.
        """
        pool = self._sibling(self._seed)
        if shared is not None:
            pool.load(shared)
        pool._evidence.borrowed = _joined(pool._evidence.borrowed, self._evidence.borrowed)
        try:
            (_, facts, blob), *parts = _sections(contribution, _NEWS_MAGIC)
            pool._take_in(facts, blob)
            pool._share_looks(zlib.crc32(contribution))
            for name, facts, blob in parts:
                known = pool._functions.get(name) or _Named(self._child(name))
                known.learner._take_in(facts, blob)
                known.told(facts)
                pool._functions[name] = known
        except _NO_KIND as error:
            raise ValueError(f"this is no contribution to an online learner ({error})") from error
        return pool.dump()

    # ------------------------------------------------------------ relatives

    def lent(self, source: str, helps: float) -> Lent | None:
        """What another function can use of what it knows; None: it has seen too little to help anybody.

        source: the name it goes by there. helps: how probable it is that it helps, in [0, 1].
        """
        return self._evidence.lent(source, helps)

    def borrow(self, relatives: Sequence[Lent]) -> tuple[str, ...]:
        """Take what relatives lend for its prior, the likeliest first, at most twelve; gives the sources that are new.

        Own calls outweigh it, the sooner the less it agrees with them. A source that was given back is not taken again.
        """
        from poet.learning.borrowed import MOST

        evidence = self._evidence
        known = {each.source for each in evidence.borrowed}
        fresh = [each for each in sorted(relatives, key=lambda each: -each.helps) if each.source not in known]
        fresh = fresh[: max(0, MOST - sum(bool(each.table) for each in evidence.borrowed))]
        evidence.borrowed += tuple(fresh)
        if fresh:
            self._next_look = min(self._next_look, evidence.calls + (not evidence.calls))
        return tuple(each.source for each in fresh)

    def give_back(self) -> tuple[str, ...]:
        """Let go of what was borrowed, for good; gives whose it was."""
        from poet.learning.borrowed import given_back

        gone = tuple(each.source for each in self._evidence.borrowed if each.table)
        self._evidence.borrowed = tuple(given_back(each) for each in self._evidence.borrowed)
        return gone

    @property
    def calls(self) -> int:
        """That it has seen."""
        return self._evidence.calls

    @property
    def borrowed(self) -> tuple[str, ...]:
        """Sources of what was borrowed and not given back."""
        return tuple(each.source for each in self._evidence.borrowed if each.table)

    @property
    def heard(self) -> Heard | None:
        """What the relatives come to after the own calls; None: there are none, or they are outweighed."""
        return self._evidence.heard()

    # ------------------------------------------------------------ without a decorated function

    def update_parameters(self, feedback: ExecutionFeedback, current_params: dict[str, Any]) -> dict[str, Any]:
        """Learn from one execution of ``feedback.function_name`` and give the parameters of its next call.

        Returns a new dict with every key of ``current_params``; only ``timeout`` and ``retries``, where they are there,
        may differ: by what was learned, and now and then by a probe that looks beyond it for this one call. Functions
        are told apart by name, and nothing learned of one is used for another.
        """
        named = self._functions.get(feedback.function_name)
        if named is None:
            named = self._functions[feedback.function_name] = _Named(self._child(feedback.function_name))
        told = named.after(
            execution_of(feedback, named.learner._evidence.calls), current_params, blind=feedback.attempts is None
        )
        self.update_count += 1
        self.successful_updates += told != current_params
        return told

    def detect_convergence(self, param_name: str) -> bool:
        """Whether all functions of ``update_parameters`` that have this parameter have settled on its value.

        That is: at least ``SETTLED`` calls, and looks as far apart as they get, none of which has found a gain that is
        credible and large enough. False where no function has it, or it is not one that is tuned.
        """
        having = [named for named in self._functions.values() if param_name in named.kept]
        return bool(having) and param_name in self._space and all(named.learner._settled for named in having)

    def get_learning_stats(self) -> dict[str, Any]:
        """Counts over all functions of ``update_parameters``, by the first POET's names.

        ``success_rate``: share of executions after which parameters changed; ``convergence_status`` by parameter.
        """
        names = sorted({name for named in self._functions.values() for name in named.kept})
        return {
            "update_count": self.update_count,
            "successful_updates": self.successful_updates,
            "success_rate": self.successful_updates / self.update_count if self.update_count else 0.0,
            "parameters_tracked": sum(len(named.kept) for named in self._functions.values()),
            "convergence_status": {name: self.detect_convergence(name) for name in names},
        }

    @property
    def _settled(self) -> bool:
        evidence = self._evidence
        return evidence.calls >= SETTLED and not evidence.urgent and not self._longing and self._step > _STEP

    def _child(self, name: str) -> OnlineLearner:
        return self._sibling(zlib.crc32(name.encode("utf-8", "surrogatepass"), self._seed & 0xFFFFFFFF))

    def _sibling(self, seed: int) -> OnlineLearner:
        return OnlineLearner(
            *self._arguments,
            objective=self._objective,
            space=self._space,
            declared=self._declared,
            backoff_cap=self._cap,
            hedge_budget=self._hedge_budget,
            mind_load=self._mind_load,
            recall=self._recall,
            convergence_threshold=self._threshold,
            seed=seed,
        )

    # ------------------------------------------------------------ looking

    @property
    def _strain(self) -> Strain | None:
        """What is known of our own load on what is called; None: it is not minded."""
        return self._evidence.strain

    @property
    def _strained(self) -> int:
        """The calls that ``_strain`` counts."""
        return self._evidence.calls

    def _look(self, live: Mapping[str, Value]) -> Suggestion | None:
        from poet.learning import choice, hedge_words, targets, words

        evidence = self._evidence
        self._live = self._plan_of(live)
        evidence.limit = self._live[0]
        evidence.fold()
        between()
        changed = self._changed
        wish = self._wish(fix=True)
        before = self._plan(live)
        self._looks += 1
        self._untold_looks += 1
        self._handed_out = 0
        thorough = bool(evidence.urgent) or self._longing or self._looks % _THOROUGH == 0 or evidence.quiet < YOUNG
        verdict: Verdict = choice.Verdict(None)
        strain = self._strain
        listening = strain if strain is not None and strain.listening else None
        heard = evidence.heard()
        picture = evidence.picture() if heard is None else heard.picture
        tried, limits = before, self._limits(live)
        between()
        if listening is not None:  # neither retries nor copies are in use; is the timeout too short?
            tried = before._replace(retries=0, hedges=0, hedge_delay=0.0)
            limits = choice.Limits(before.timeout, max(before.timeout, limits.high), 0, 0, (), self._cap)
        hopeless = listening is not None and not choice.slowed(picture, listening.quick)
        if wish is not None and not hopeless:
            verdict = (targets.decide if wish.aimed else choice.decide)(
                picture,
                tried,
                limits,
                wish,
                gate=self._gate,
                retried=sum(evidence.retried) + (0.0 if heard is None else heard.retried),
                reach=self._reach(),
                seen=evidence.calls,
                fresh=evidence.quiet,
                thorough=thorough,
                dice=self._rng,
            )
        if verdict.bound and listening is None and strain is not None and strain.wants(self._strained):
            evidence.urgent = 2  # it may have it, at the next look
        decision, self._longing, self._keen = verdict.decision, verdict.longing, verdict.keen
        if decision is not None and listening is not None:
            decision = decision._replace(plan=before._replace(timeout=decision.plan.timeout))
        decided = before if decision is None else decision.plan
        hedge = None
        if wish is not None and listening is None:
            hedge = self._hedged(decided, live, wish, thorough=thorough or decision is not None)
        plan = decided if hedge is None else hedge.plan
        turned = hedge is not None and bool(hedge.plan.hedges) != bool(before.hedges)
        if decision is not None or turned or evidence.urgent > 1:
            self._step = max(_STEP, min(evidence.quiet / 8, _RESTED_STEP))
        elif not evidence.urgent:
            self._step = min(_LONGEST_STEP, self._step * 2.0 + 1)
        self._next_look = self._following(_STEP if evidence.urgent else self._step)
        evidence.urgent = 0
        if wish is not None:
            self._settling(picture, plan, live, wish, changed=changed)
        if wish is None or plan == before:
            return None
        values = self._values(plan, live)
        if all(live.get(name) == value for name, value in values.items()):
            return None
        self._live = self._plan_of(values)
        estimates = {} if decision is None else {**decision.optima, "gain": decision.gain}
        reasons = [] if decision is None else [words.reason(before, decision, wish, evidence.calls)]
        if hedge is not None:
            estimates = {"gain": hedge.gain, **estimates, "hedge_delay": hedge.delay}
            reasons.append(hedge_words.reason(decided, hedge, evidence.calls))
        if evidence.recalled is not None and evidence.quiet < YOUNG:
            reasons.append(words.known_again(evidence.recalled))
        if heard is not None and heard.nobody < 0.5:
            reasons.append(heard.words([each.source for each in evidence.borrowed if each.table]))
            return Suggestion(values, "; ".join(reasons), estimates, evidence.calls, origin="transfer")
        return Suggestion(values, "; ".join(reasons), estimates, evidence.calls)

    def _settling(self, picture: Picture, plan: Plan, live: Mapping[str, Value], wish: Wish, *, changed: bool) -> None:
        """After a look that came to ``plan``: is there still something to be learned that pays?

        changed: what was known was out of date. It is not asked while little is known.
        """
        from poet.learning import further

        calls = self._evidence.calls
        if changed:
            self._convergence = looked(self._convergence, per_call=math.nan, horizon=1.0, cost=0.0, drift=True)
            self._reckoned = calls
        elif (
            calls - self._reckoned >= max(further.APART, calls // further.SHARE)
            and self._evidence.quiet >= YOUNG
            and wish.objective.latency_target is None
        ):
            from poet.learning.choice import Case

            self._reckoned = calls
            case = Case(picture, plan, self._limits(live), wish, self._gate, sum(self._evidence.retried), young=False)
            cost = further.cost(case, self.probe()) + self._threshold * wish.objective.value
            self._convergence = looked(
                self._convergence,
                per_call=further.value(case, self._rng(2)),
                horizon=further.HORIZON,
                cost=further.HORIZON * cost,
            )

    def _following(self, step: float) -> int:
        """The call at which to look again."""
        if self._evidence.borrowed and self._evidence.calls < _FIRST_ALONE:
            return self._evidence.calls + 1
        step = min(step, _LONGING_STEP) if self._longing else step
        return self._evidence.calls + int(min(step, max(_FIRST_LOOK, self._evidence.calls // 3)))

    def _hedged(self, plan: Plan, live: Mapping[str, Value], wish: Wish, *, thorough: bool) -> Choice | None:
        """Other hedges, to go with ``plan``; None where these stay.

        While nothing changes only every few looks are thorough: where copies are sent, the others ask whether these are
        too many, as this must not wait.
        """
        scope = self._scope(live)
        if scope is None:
            return None
        from poet.learning import hedging
        from poet.learning.choice import SLOW_SEEN
        from poet.learning.hedge_survey import Setting

        evidence = self._evidence
        if not plan.hedges and (not thorough or evidence.calls * scope.aim < SLOW_SEEN):
            return None
        setting = Setting.of(evidence.picture(), plan, self._limits(live), scope, evidence.durations())
        if not thorough and not hedging.pressing(setting, plan):
            return None
        choice, evidence.near = hedging.choose(
            setting, plan, wish, gate=self._gate, seen=evidence.calls, dice=lambda: self._rng(1)
        )
        return choice

    def _values(self, plan: Plan, live: Mapping[str, Value]) -> dict[str, Value]:
        """``live``, changed to ``plan`` within the space."""
        from poet.learning import choice

        values = dict(live)
        if "timeout" in self._space:
            values["timeout"] = choice.rounded(plan.timeout, self._limits(live))
        if "retries" in self._space:
            values["retries"] = plan.retries
        if "backoff" in self._space:
            values["backoff"] = plan.backoff
        same = plan.hedges == self._hedges_of(live)[0]  # or there are more than are made use of
        if "hedges" in self._space and not (same and _is_number(live.get("hedges", 0))):
            values["hedges"] = plan.hedges
        if plan.hedges and "hedge_delay" in self._space:
            values["hedge_delay"] = plan.hedge_delay
        return {name: value for name, value in self._space.clip(values).items() if name in values}

    def _rng(self, *use: int) -> np.random.Generator:
        """Fresh dice, from the seed and what was seen, so that a stored learner goes on as if never stored."""
        import numpy as np

        return np.random.default_rng((self._seed & 0xFFFFFFFFFFFFFFFF, self._evidence.calls, self._looks, *use))

    def _wish(self, *, fix: bool = False) -> Wish | None:
        """What is aimed for; None while no attempt was seen to take time. ``fix``: keep the derived scale, if ripe."""
        from poet.learning.choice import Wish

        objective = self._objective
        answers = self._evidence.answers
        if not answers and not self._evidence.longest > 0:
            return None  # a picture of nothing says nothing
        if objective.latency_cost is not None:
            return Wish(objective, objective.success_target, derived=False)
        typical = self._typical
        if typical is None:
            # no answer yet: as long as anybody has waited
            typical = sorted(answers)[len(answers) // 2] if answers else self._evidence.longest
            typical = max(typical, EDGES[0])
            if fix and len(answers) >= FIRST_ANSWERS:
                self._typical = typical
        return Wish(objective.for_latency(typical), objective.success_target, derived=True)

    def _reach(self) -> float:
        """Longest wait by which it is judged what success can be had [s]: as declared, or far beyond what is usual."""
        answers = self._evidence.answers
        typical = sorted(answers)[len(answers) // 2] if len(answers) >= FIRST_ANSWERS else 0.0
        declared = self._plan_of(self._declared)[0]
        return declared if declared >= GENEROUS * typical else STEADFAST * typical

    def _plan_of(self, live: Mapping[str, Value]) -> tuple[float, int, float]:
        """Timeout [s], retries and backoff [s] of ``live``; what is missing or no number is as declared."""
        timeout = _number(live.get("timeout"), _number(self._declared["timeout"], 30.0))
        retries = _number(live.get("retries"), _number(self._declared["retries"], 3.0))
        backoff = _number(live.get("backoff"), _number(self._declared["backoff"], 0.1))
        return (timeout if timeout > 0 else EDGES[-1], min(max(round(retries), 0), 20), max(backoff, 0.0))

    def _hedges_of(self, live: Mapping[str, Value]) -> tuple[int, float]:
        """Hedges and hedge delay [s] of ``live``; none where a name is missing, as in old versions."""
        hedges, delay = round(_number(live.get("hedges"), 0.0)), _number(live.get("hedge_delay"), 0.0)
        return (min(hedges, MOST_HEDGES), delay) if hedges > 0 and delay > 0 else (0, 0.0)

    def _plan(self, live: Mapping[str, Value]) -> Plan:
        from poet.learning.guesses import Plan

        return Plan(*self._plan_of(live), *self._hedges_of(live))

    def _bounds(self, name: str, live: float) -> tuple[float, float]:
        tunable: Tunable | None = self._space.get(name)
        if isinstance(tunable, Real | Integer):
            return float(tunable.low), float(tunable.high)
        return live, live

    def _limits(self, live: Mapping[str, Value]) -> Limits:
        from poet.learning.choice import Limits

        timeout, retries, backoff = self._plan_of(live)
        low, high = self._bounds("timeout", timeout)
        if not self._evidence.answers:  # nobody knows how long one takes: to give up sooner might miss them all
            low = min(max(low, timeout, self._plan_of(self._declared)[0]), high)
        fewest, most = self._bounds("retries", retries)
        shortest, longest = self._bounds("backoff", backoff)
        backoffs = tuple(each for each in BACKOFFS if shortest <= each <= min(longest, self._cap))
        strain, hedging = self._strain, self._free_hedging(live)
        limits = Limits(max(low, EDGES[0]), high, int(fewest), int(most), backoffs, self._cap, hedging)
        if strain is None or strain.allowed >= ENOUGH:
            return limits
        return limits._replace(extra=strain.allowed, vouched=None if strain.feared else self._plan(self._declared))

    def _free_hedging(self, live: Mapping[str, Value]) -> Hedging | None:
        """What hedges may be chosen by their worth alone; None: there is a budget of copies, or they are not tuned."""
        bounds = self._hedging(live)
        if bounds is None or self._hedge_budget < 1:
            return None
        return bounds

    def _hedging(self, live: Mapping[str, Value]) -> Hedging | None:
        """The hard bounds of hedges; None: they are not tuned here."""
        hedges = self._space.get("hedges")
        low, high = self._bounds("hedge_delay", _number(live.get("hedge_delay"), 0.0))
        if not isinstance(hedges, Integer) or not high > 0:
            return None
        from poet.learning.choice import Hedging

        most = min(hedges.high, MOST_HEDGES)
        return Hedging(min(max(low, EDGES[0]), high), high, min(hedges.low, most), most)

    def _scope(self, live: Mapping[str, Value]) -> Scope | None:
        """What hedging may choose from within its budget; None: it has none, or it is not tuned here."""
        bounds = self._hedging(live)
        if bounds is None or self._hedge_budget >= 1:
            return None
        from poet.learning.hedge_survey import Scope
        from poet.learning.hedging import aim

        return Scope(*bounds, aim(self._hedge_budget, self._evidence.overdrawn(self._hedge_budget)))

    # ------------------------------------------------------------ keeping

    def _section(self, name: str, more: Mapping[str, Any]) -> bytes:
        facts, blob = self._evidence.dump()
        facts |= {
            "typical": self._typical,
            "next": self._next_look,
            "step": self._step,
            "looks": self._looks,
            "longing": self._longing,
            "converged": self._convergence if self._objective.latency_target is None else None,
            "reckoned": max(0, self._evidence.calls - self._reckoned),  # before now
            "keen": self._keen,
            "live": list(self._live),
            "more": more,
        }
        if self._turn:
            facts["turn"] = self._turn
        return _section(name, facts, blob)

    def _restore(self, facts: Mapping[str, Any], blob: bytes) -> None:
        schedule = _Schedule.of(facts)
        self._evidence.load(facts, blob)
        self._typical = schedule.typical
        self._looks = schedule.looks
        self._turn = count(facts.get("turn", 0))
        self._follow(schedule)

    def _follow(self, schedule: _Schedule) -> None:
        self._next_look, self._step = schedule.next_look, schedule.step
        self._longing, self._keen = schedule.longing, schedule.keen
        self._convergence, self._reckoned = schedule.convergence, self._evidence.calls - schedule.reckoned
        timeout, retries, backoff = schedule.live
        self._live = self._plan_of({"timeout": timeout, "retries": retries, "backoff": backoff})

    # ------------------------------------------------------------ telling others

    @property
    def _untold(self) -> bool:
        return self._evidence.untold or self._untold_looks > 0

    def _news(self, name: str, more: Mapping[str, Any]) -> bytes:
        """The section of a contribution; what it says is told from now on."""
        from poet.learning import news

        facts, blob = news.written(self._evidence.news())
        facts |= {
            "typical": self._typical,
            "next": max(0, self._next_look - self._evidence.calls),  # from there on
            "step": self._step,
            "looks": self._untold_looks,
            "longing": self._longing,
            "converged": self._convergence if self._objective.latency_target is None else None,
            "reckoned": max(0, self._evidence.calls - self._reckoned),  # before now
            "keen": self._keen,
            "live": list(self._live),
            "more": more,
        }
        if self._evidence.strain is not None:
            facts["strain"] = self._evidence.strain.dump()
        self._untold_looks = 0
        return _section(name, facts, blob)

    def _take_in(self, facts: Mapping[str, Any], blob: bytes) -> None:
        """Take in what ``_news`` told. Raises as ``_restore`` does. Whoever looked last sets when to look next."""
        from poet.learning import news

        schedule = _Schedule.of(facts)
        self._evidence.take_in(news.read(facts, blob))
        if self._evidence.strain is not None and "strain" in facts:
            self._evidence.strain = Strain.of(facts["strain"]).after(self._evidence.strain)
        if self._typical is None:
            self._typical = schedule.typical
        if schedule.looks:
            self._looks += schedule.looks
            ahead = min(schedule.next_look, int(_LONGEST_STEP))
            self._follow(schedule._replace(next_look=self._evidence.calls + ahead))

    def _share_looks(self, contribution: int) -> None:
        """Where it is time to look, it is the turn of whoever made this contribution; for all others it is not.

        So all who learn together look about as often as one would; each look may change what holds for all of them.
        """
        self._turn = 0
        if self._evidence.calls >= self._next_look:
            self._turn, self._next_look = contribution, self._following(self._step)


class _Schedule(NamedTuple):
    """When it looks, and what it saw last."""

    typical: float | None  # [s]
    next_look: int  # calls
    step: float  # calls
    looks: int
    longing: bool
    keen: bool
    live: tuple[Any, int, Any]  # timeout [s], retries, backoff [s]
    convergence: Convergence
    reckoned: int  # calls ago

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> _Schedule:
        """From a dump. Raises ValueError, KeyError or TypeError where it is none."""
        typical = facts["typical"]
        if typical is not None and not number(typical) > 0:
            raise ValueError(f"typical must be > 0, got {typical!r}")
        timeout, retries, backoff = facts["live"]
        return cls(
            None if typical is None else float(typical),
            count(facts["next"]),
            number(facts["step"]),
            count(facts["looks"]),
            facts["longing"] is True,
            facts.get("keen") is True,  # states of older releases say nothing of it
            (timeout, int(number(retries)), backoff),
            _convergence(facts.get("converged")),  # states of older releases have none
            count(facts.get("reckoned", 0)),
        )


class _Named:
    """The learner of one function of ``update_parameters``, and what it told last.

    Until the learner has made its first suggestion two hints are followed, since whoever tells of single executions may
    not tell of many: an answer in over ``NEAR`` of the timeout lengthens it by a tenth, and three failures in a row of
    which nobody says what became of their attempts add a retry.
    """

    def __init__(self, learner: OnlineLearner) -> None:
        self.learner = learner
        self._learned = learner._evidence.calls > 0  # one that was stored is taken to have learned
        self._blind = 0  # failures in a row of whose attempts nothing is known
        self._kept: dict[str, Value] = {}  # without the probe
        self._told: dict[str, Value] = {}  # with it

    @classmethod
    def of(cls, learner: OnlineLearner, facts: Mapping[str, Any], blob: bytes) -> _Named:
        """From a dump. Raises ValueError, KeyError or TypeError where it is none."""
        learner._restore(facts, blob)
        named = cls(learner)
        named.told(facts)
        return named

    def told(self, facts: Mapping[str, Any]) -> None:
        """What was told last, from a dump or a contribution. Raises as ``of`` does."""
        for name in ("kept", "told"):
            values = facts["more"][name]
            if not isinstance(values, dict):
                raise TypeError(f"{name} must be a mapping, got {values!r}")
            setattr(self, f"_{name}", {key: value for key, value in values.items() if number(value) >= 0})
        self._told = {key: value for key, value in self._told.items() if key in self._kept}

    def facts(self) -> dict[str, Any]:
        """For a dump."""
        return {"kept": self._kept, "told": self._told}

    @property
    def kept(self) -> Mapping[str, Value]:
        """The parameters told last, without the probe."""
        return self._kept

    def _hinted(self, execution: Execution, live: dict[str, Value], *, blind: bool) -> dict[str, Value]:
        timeout, retries = live.get("timeout"), live.get("retries")
        hinted: dict[str, Value] = {}
        if _is_number(timeout) and execution.outcome.good:
            longest = max((a.seconds for a in execution.attempts if a.outcome.good), default=0.0)
            if NEAR * float(timeout) < longest < math.inf:  # type: ignore[arg-type]
                hinted["timeout"] = 1.1 * float(timeout)  # type: ignore[arg-type]
        self._blind = self._blind + 1 if blind and execution.outcome is Outcome.ERROR else 0
        if _is_number(retries) and self._blind and self._blind % 3 == 0:
            hinted["retries"] = int(retries) + 1  # type: ignore[arg-type]
        for name, value in self.learner._space.clip(hinted).items():
            if value > live[name]:  # type: ignore[operator]  # bounds never make it less than it was
                live[name] = value
        return live

    def after(self, execution: Execution, current: Mapping[str, Any], *, blind: bool = False) -> dict[str, Any]:
        """The parameters of the next call. blind: nobody says what became of the attempts."""
        known = {name: current[name] for name in _NAMES if _is_number(current.get(name))}
        # what was told with a probe comes back as the current value: it was for one call, and is not to be built upon
        live = {name: self._kept[name] if self._told.get(name) == value else value for name, value in known.items()}
        learner = self.learner
        learner.update([execution])
        suggestion = learner.suggest(live)
        if suggestion is not None:
            self._learned = True
            live = {name: suggestion.values[name] for name in live}
        elif not self._learned:
            live = self._hinted(execution, live, blind=blind)
        self._kept = dict(live)
        self._told = self._probing(live)
        return {**current, **self._told}

    def _probing(self, live: Mapping[str, Value]) -> dict[str, Value]:
        """``live``, or now and then a look beyond it."""
        learner = self.learner
        probe = learner.probe()
        dice = random.Random(learner._seed * 1_000_003 + learner._evidence.calls)
        told = dict(live)
        if probe.calm:
            told |= {name: 0 for name in ("retries", "hedges") if name in told}  # within their bounds, see below
        if "retries" in told and dice.random() < probe.retry:
            told["retries"] = int(told["retries"]) + 1
        elif "timeout" in told and dice.random() < probe.limit:
            told["timeout"] = float(told["timeout"]) * probe.stretch
        probing = {name: value for name, value in told.items() if value != live[name]}
        return told | learner._space.clip(probing)  # by values that were set since the last look, too


def execution_of(feedback: ExecutionFeedback, sequence: int) -> Execution:
    """The execution that ``feedback`` tells of; ``sequence`` numbers it.

    Without attempts, a success is one attempt of the whole time; of a failure it is unknown what its attempts were.
    """
    outcome = Outcome.SUCCESS if feedback.success else Outcome.ERROR
    attempts = tuple(feedback.attempts or ())
    if attempts and not feedback.success:
        outcome = attempts[-1].outcome
    if not attempts and feedback.success:
        attempts = (Attempt(Outcome.SUCCESS, feedback.execution_time),)
    return Execution(
        "feedback",
        sequence,
        feedback.timestamp.timestamp(),
        feedback.execution_time,
        outcome,
        0,
        attempts,
        feedback.error_type or "",
    )


@lru_cache
def _completed(declared: tuple[tuple[str, type, Value], ...]) -> Mapping[str, Value]:
    """What is declared, and the usual where it is not; the same object for the same values, as many learners share it.

    declared: names, types and values, as 1 and 1.0 are no difference to the cache.
    """
    return {**DECLARED, **{name: value for name, _, value in declared}}


class Headline(NamedTuple):
    """How learning stands, by a stored state."""

    converged: bool | None  # see ``OnlineLearner.converged``
    listening: int  # calls for which no retries and no copies are sent yet, to see what load does; 0: they are sent


def headline(state: bytes) -> Headline | None:
    """How learning stands by what ``OnlineLearner.dump`` gave; None: that is no such state. It loads no maths."""
    try:
        facts = _sections(state)[0][1]
        calls, convergence = count(facts["calls"]), _convergence(facts.get("converged"))
        changed = count(facts["urgent"]) > 1 and calls - count(facts["last_alarm"]) < YOUNG
        strain = facts.get("strain", {})
        listening = max(1, count(strain["until"]) - calls) if strain.get("listening") is True else 0
    except (*_NO_KIND, AttributeError, IndexError):
        return None
    if calls < SETTLED or facts.get("converged") is None:
        return Headline(None, listening)
    return Headline(convergence.converged and not changed and not listening, listening)


def _joined(first: tuple[Lent, ...], then: tuple[Lent, ...]) -> tuple[Lent, ...]:
    """What both have borrowed; what one of them has given back, both have."""
    found = {each.source: each for each in first}
    for each in then:
        if each.source not in found or not each.table:
            found[each.source] = each
    return tuple(found.values())


def _convergence(values: Sequence[object] | None) -> Convergence:
    """From a dump. Raises ValueError or TypeError where it is none."""
    if values is None:
        return Convergence()
    converged, *counts = values
    return Convergence(converged is True, *map(count, counts))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and _is_number(value) else default


def _section(name: str, facts: Mapping[str, Any], blob: bytes) -> bytes:
    text = json.dumps(facts, separators=(",", ":"), allow_nan=False).encode()
    title = name.encode("utf-8", "surrogatepass")
    return _LENGTHS.pack(len(title), len(text), len(blob)) + title + text + blob


def _sections(state: bytes, magic: bytes = _MAGIC) -> list[tuple[str, dict[str, Any], bytes]]:
    """Name, facts and arrays of each learner in a dump, or in a contribution, its own first.

    Raises ValueError, struct.error or zlib.error where it is none.
    """
    if state[: len(magic)] != magic:
        raise ValueError("it does not begin like one")
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(state[len(magic) :], _MOST_BYTES)
    if not unpacker.eof or unpacker.unused_data:
        raise ValueError("it is cut short, or too long")
    sections = []
    offset = 0
    while offset < len(data):
        lengths = _LENGTHS.unpack_from(data, offset)
        offset += _LENGTHS.size
        if offset + sum(lengths) > len(data):
            raise ValueError("it is cut short")
        title, text, blob = (data[(offset := offset + n) - n : offset] for n in lengths)
        facts = json.loads(text)
        if not isinstance(facts, dict):
            raise ValueError("its facts are no mapping")  # noqa: TRY004 - the caller is promised a ValueError
        sections.append((title.decode("utf-8", "surrogatepass"), facts, blob))
    return sections
