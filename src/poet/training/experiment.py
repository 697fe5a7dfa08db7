"""An experiment as one process sees it: deals its arms, teaches their learners, pools what was seen, and decides.

Whoever decides first decides for all: each change is a compare-and-set, and the others follow. While the store is away
the arms and shares stay as they are and what is seen is kept here, to be told later; harm is answered here at once.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, count
from typing import Any, NamedTuple

from poet.errors import StaleParameters, StoreError, UnknownFunction
from poet.kernels.online.exceedance import Limit
from poet.model.blocks import block_of
from poet.model.document import Document
from poet.model.execution import Execution, Outcome
from poet.model.experiment import Experiment
from poet.model.parameters import ParameterSet, Standing
from poet.seams import Arm, Lot, Probe, ProcessReport, Suggestion
from poet.training.arms import ArmLearners, Learners
from poet.training.deciding import decided
from poet.training.evidence import Call, Evidence, pooled
from poet.training.late import Late
from poet.training.pooling import Pool
from poet.training.told import Tell, silent
from poet.training.trainee import Trainee
from poet.training.trainer import Trainer

LONGEST_WAIT = 120.0  # a call waits no longer for those that began before it [s]
FOREVER = 1e15  # a block that does not end [s]
GRACE = 3.0  # after the end of a block, until what all processes saw of it is told [s]
CAP = 8.0  # longest pause before a retry [s]
MOST_WAITING = 20_000  # calls


class Score(NamedTuple):
    """What was said of a call later."""

    arm: int
    shares: tuple[float, ...]
    score: float
    key: str | None  # of its block or host


class ExperimentTrial:
    """One experiment of one function, in one process."""

    def __init__(
        self,
        trainer: Trainer,
        trainee: Trainee,
        document: Document,
        learners: Learners,
        report: Callable[[], ProcessReport],
        tell: Tell = silent,
    ) -> None:
        """document: that keeps it. report: tells the host. Raises ValueError where the document cannot be read."""
        self.experiment = Experiment.of(document)
        self.evidence = Evidence.of(self.experiment)
        self._revision = document.revision
        self._trainer, self._trainee, self._report = trainer, trainee, report
        self._learners = ArmLearners(trainer, trainee, self.experiment.name, learners)
        self._tell = tell
        self._shares: list[tuple[float, ...]] = []  # of all arms, as they were, the newest last
        self._arms: dict[int, int] = {}  # place of an arm by the version that its calls got
        self._lives: set[int] = set()  # versions that were live meanwhile
        self._known: dict[int, ParameterSet] = {}
        self._numbers = count()
        self._waiting: list[tuple[float, int, Call]] = []  # heap of calls, by when they count
        self._events: list[tuple[float, int, Call]] = []  # the same of failed and of slow calls
        self._scores: list[tuple[float, int, Score]] = []  # the same of scores that came late
        self._longest = 0.0  # call without a timeout [s]
        self._limit = Limit()
        self._pool = Pool(trainer, trainee, self.experiment)
        self._untold = False  # whether the store does not know of the last change yet
        if self.experiment.rules.metric == "score" and trainee.late is None:
            trainee.late = Late()
        self._took_over()

    # ------------------------------------------------------------ as a trial

    def lot(self, probe: Probe) -> Lot | None:
        """The running arms by their shares; None where all get what is live."""
        experiment, standing = self.experiment, self._trainee.standing
        if self.why_not() or len(experiment.running) < 2:
            return None
        self._lives.add(standing.live.version)
        arms = []
        for place, share in zip(experiment.running, experiment.shares, strict=True):
            parameters = self._parameters(place)
            arm = experiment.arms[place]
            if arm.kind != "live":
                probe_of = self._learners.probe(arm, parameters) if arm.kind == "learner" else Probe()
            arms.append(Arm(parameters, share, probe if arm.kind == "live" else probe_of))
        rules, seed = experiment.rules, experiment.seed
        if rules.assignment == "block":
            return Lot(tuple(arms), seed, rules.block)
        if rules.assignment == "host":
            return Lot(tuple(arms), self._host_seed, FOREVER)
        return Lot(tuple(arms))

    def why_not(self) -> str:
        """Why no lots are drawn now; empty: they are."""
        standing, experiment = self._trainee.standing, self.experiment
        if experiment.phase != "running":
            return experiment.why or experiment.phase
        if not self._trainer.applied(self._trainee):
            return "learning is not on, as the settings or the flag learn.online say"
        arms = {experiment.arms[place].name: self._parameters(place) for place in experiment.running}
        return not_now(standing, arms)

    def teaches(self, execution: Execution) -> bool:
        """Whether it is of an arm that has a version of its own."""
        return execution.version in self._arms

    def heard(self, executions: Sequence[Execution]) -> None:
        """Take note, teach the arms' learners, and decide."""
        now = self._trainer.clock.now()
        by_arm: dict[int, list[Execution]] = {}
        for execution in executions:
            place = self._place(execution)
            if place is None:
                continue
            if self.experiment.arms[place].kind == "learner":
                by_arm.setdefault(place, []).append(execution)
            self._note(execution, place)
        self._release(now)
        self._decide()
        for place, own in by_arm.items():
            if self._trainee.trial is self and not self.experiment.arms[place].ended:
                self._teach(place, own)

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores that came late."""
        by_arm: dict[int, tuple[list[Execution], list[Execution]]] = {}
        for after, earlier in zip(executions, before, strict=True):
            place = self._place(after)
            if place is None:
                continue
            if self.experiment.arms[place].kind == "learner":
                afters, befores = by_arm.setdefault(place, ([], []))
                afters.append(after)
                befores.append(earlier)
            if self.experiment.rules.metric == "score" and earlier.score is None and after.score is not None:
                shares = self._shares_of(after, place)
                if shares is not None:
                    said = Score(place, shares, after.score, self._key(after.started))
                    wait = self._patience()[0] if said.key is None else 0.0  # not before the call itself
                    heapq.heappush(self._scores, (self._due(after.started, wait), next(self._numbers), said))
        for place, (afters, befores) in by_arm.items():
            self._learners.rescored(self.experiment.arms[place], afters, befores)
        self._release(self._trainer.clock.now())
        self._decide()

    def suggested(self, suggestion: Suggestion, *, urgent: bool) -> bool:
        """What is live goes on learning: its new versions are live at once, as they are watched here."""
        return False

    def stored(self, *, last: bool) -> None:
        """Tell others what was seen, hear what they have, fold what is over. Raises StoreError."""
        try:
            self._stored(last=last)
        except (ValueError, KeyError, TypeError) as error:  # it goes on by what is known here
            self._trainer.faults.add("what is kept of an experiment cannot be read", error)

    def _stored(self, *, last: bool) -> None:
        now = self._trainer.clock.now()
        self._release(now, all_of_them=last)
        if self._untold:
            self._keep_again()
        grace = GRACE + 2.0 * self._trainer.settings.store_interval + self._patience()[0]
        self._pool.exchange(self.experiment, self.evidence, grace)
        self._learners.exchange()
        self._decide()
        if not self.experiment.over:  # else it was drawn when it ended
            self._pool.draw(self.experiment, self.whole())

    # ------------------------------------------------------------ what others changed

    def follow(self, document: Document) -> None:
        """Somebody has changed it. Raises ValueError where the document cannot be read."""
        if document.revision == self._revision:  # what was decided here meanwhile is still to be told
            return
        self.experiment, self._revision, self._untold = Experiment.of(document), document.revision, False
        self._took_over()

    @property
    def name(self) -> str:
        """Its id."""
        return self.experiment.name

    def whole(self) -> Evidence:
        """What all saw, as far as it is known here."""
        return pooled(self.experiment, [self._pool.others, self.evidence])

    def _took_over(self) -> None:
        experiment = self.experiment
        for place, arm in enumerate(experiment.arms):
            self._arms.update(dict.fromkeys(arm.versions, place))
        shares = [0.0] * len(experiment.arms)
        for place, share in zip(experiment.running, experiment.shares, strict=True):
            shares[place] = share
        if tuple(shares) not in self._shares:
            self._shares.append(tuple(shares))

    # ------------------------------------------------------------ calls

    @property
    def _host_seed(self) -> str:
        return f"{self.experiment.seed}/{self._report().host}"

    def _place(self, execution: Execution) -> int | None:
        """Which arm dealt a call its version; None: none did."""
        if execution.propensity >= 1.0:
            return None
        place = self._arms.get(execution.version)
        if place is None and execution.version in self._lives:
            return next((p for p, arm in enumerate(self.experiment.arms) if arm.kind == "live"), None)
        return place

    def _shares_of(self, execution: Execution, place: int) -> tuple[float, ...] | None:
        """All arms' shares when the call drew its own; None: not known."""
        for shares in reversed(self._shares):
            if abs(shares[place] - execution.propensity) < 1e-9:
                return shares
        return None

    def _note(self, execution: Execution, place: int) -> None:
        shares = self._shares_of(execution, place)
        if shares is None:
            self.evidence.unknown += 1
            return
        made = execution.outcome not in (Outcome.SHED, Outcome.CANCELLED) and execution.seconds > 0
        timed_out = any(attempt.outcome in (Outcome.TIMEOUT, Outcome.LATE) for attempt in execution.attempts)
        slow = made and self._limit.breached(execution.seconds)
        if made and place == 0:
            self._limit = self._limit.add(execution.seconds)
        if not timed_out:
            self._longest = max(self._longest, execution.seconds)
        call = Call(
            execution.started,
            place,
            shares,
            self.experiment.outcome(execution),
            made and not execution.outcome.good,
            slow,
            math.log(execution.seconds) if made else None,
        )
        rules = self.experiment.rules
        if rules.assignment != "call":
            self._note_unit(call)
            return
        # Of two calls that began together, that of the arm with the shorter limit is known sooner where nothing
        # answers. So a call counts once all that began before it are known, as they began.
        patience, pauses = self._patience()
        heapq.heappush(self._waiting, (self._due(execution.started, patience), next(self._numbers), call))
        if call.failed or call.slow:
            wait = patience if timed_out or slow else min(patience, max(pauses, self._longest))
            heapq.heappush(self._events, (self._due(execution.started, wait), next(self._numbers), call))

    def _due(self, started: float, wait: float) -> float:
        """When ``wait`` seconds after a call began are over, by the monotonic clock; no later than from now on [s]."""
        clock = self._trainer.clock
        return clock.now() + wait - min(max(0.0, clock.wall() - started), wait)

    def _note_unit(self, call: Call) -> None:
        key = self._key(call.started)
        assert key is not None
        if self.experiment.rules.assignment == "host":
            lot = block_of(self._host_seed, 0)
        elif self.evidence.is_folded(int(key)) or self._pool.others.is_folded(int(key)):
            self.evidence.late += 1
            return
        else:
            lot = block_of(self.experiment.seed, int(key))
        there = [place for place, share in enumerate(call.shares) if share]
        bounds = list(accumulate(call.shares[place] for place in there))[:-1]
        if there[bisect(bounds, lot)] != call.arm:
            self.evidence.crossed += 1
            return
        self.evidence.add_to(key, call)

    def _key(self, started: float) -> str | None:
        """Of the block or the host that a call belongs to; None: it is an outcome of its own."""
        rules = self.experiment.rules
        if rules.assignment == "call":
            return None
        return self._report().host if rules.assignment == "host" else str(int(started // rules.block))

    def _patience(self) -> tuple[float, float]:
        """Longest time that a call of any arm takes, and longest pauses within one [s]."""
        most = pauses = 0.0
        for place in self.experiment.running:
            parameters = self._parameters(place)
            retries = int(parameters.number("retries"))
            waits = sum(min(CAP, parameters.number("backoff") * 2.0**n) for n in range(min(retries, 20)))
            most = max(most, parameters.number("timeout") * (retries + 1) + waits)
            pauses = max(pauses, waits)
        return min(most, LONGEST_WAIT), min(pauses, LONGEST_WAIT)

    def _release(self, now: float, *, all_of_them: bool = False) -> None:
        """Count what has waited long enough: calls before what was said of them."""
        evidence = self.evidence
        waiting: list[tuple[list[tuple[float, int, Any]], Callable[[Any], None]]] = [
            (self._waiting, evidence.add),
            (self._events, evidence.event),
            (self._scores, lambda said: evidence.scored(*said)),
        ]
        for heap, take in waiting:
            while heap and (all_of_them or heap[0][0] <= now or len(heap) > MOST_WAITING):
                take(heapq.heappop(heap)[2])
        evidence.waiting = len(self._waiting)

    # ------------------------------------------------------------ arms

    def _parameters(self, place: int) -> ParameterSet:
        """What an arm's calls get. Raises StoreError where that is to be read and cannot be."""
        version = self.experiment.arms[place].version
        if not version:
            return self._trainee.standing.live
        if version not in self._known:
            wanted = {arm.version for arm in self.experiment.arms}
            self._known = {
                each.version: each
                for each in self._trainer.store.versions(self._trainee.key)
                if each.version in wanted or each.version in self._known
            }
        return self._known[version]

    def _teach(self, place: int, executions: list[Execution]) -> None:
        parameters = self._parameters(place)
        due = self._learners.teach(self.experiment.arms[place], parameters, executions)
        if not due or self.why_not():
            return
        suggestion = self._learners.suggestion(self.experiment.arms[place], parameters)
        if suggestion is not None:
            self._publish(place, parameters, suggestion)
        elif self._trainee.trial is self:
            self._trainer.deliver(self._trainee)

    def _publish(self, place: int, before: ParameterSet, suggestion: Suggestion) -> None:
        """An arm's learner has found better values for it."""
        trainer, trainee, experiment = self._trainer, self._trainee, self.experiment
        values = trainee.with_pins(suggestion.values)
        if values == dict(before):
            return
        arm = experiment.arms[place]
        draft = ParameterSet(
            values_=values,
            parent=before.version,
            origin="learned",
            reason=f"{arm.name} of {experiment.name}: {suggestion.reason}",
            author="poet",
            estimates=suggestion.estimates,
            evidence=suggestion.evidence,
            span=trainee.span,
            created=trainer.clock.wall(),
        )
        changed = experiment.with_arm(place, versions=(*arm.versions, 0))
        try:
            standing = trainer.store.publish(
                trainee.key,
                draft,
                expected=trainee.standing.generation,
                alias=None,
                beside=[changed.document(trainee.key, self._revision)],
            )
        except StaleParameters:
            trainer.reload(trainee.key)
        except StoreError as error:  # it is suggested again
            trainer.faults.add("store", error)
        else:
            trainer.adopt(trainee.key, standing)

    # ------------------------------------------------------------ decisions

    def _decide(self) -> None:
        """End it, an arm of it, or hold it, where it is time."""
        if self.experiment.phase != "running":
            return
        evidence = self.whole()
        changed = decided(self.experiment, evidence, self._trainer.clock.wall())
        if changed is not None:
            self._change(changed)

    def _change(self, changed: Experiment) -> None:
        """Replace it, here and in the store; where the store is away, here first."""
        self.experiment, self._untold = changed, True
        self._took_over()
        try:
            self._keep_again()
        except StoreError as error:
            self._trainer.faults.add("store", error)
            self._trainer.deliver(self._trainee)

    def _keep_again(self) -> None:
        """Tell the store of the last change; where others were faster, theirs holds. Raises StoreError."""
        trainer, trainee, changed = self._trainer, self._trainee, self.experiment
        document = changed.document(trainee.key, self._revision)
        wins = changed.over and changed.rules.promote == "winner" and changed.winner
        version = changed.arms[changed.place(changed.winner)].version if wins else 0
        try:
            if version and not trainee.standing.paused:
                promoted = changed.noted(changed.ended, "promoted", changed.winner, promoted=changed.winner)
                trainer.store.point(
                    trainee.key,
                    "live",
                    version,
                    expected=trainee.standing.generation,
                    author="poet",
                    reason=f"{changed.winner} won {changed.name}: {changed.sentence}",
                    beside=[promoted.document(trainee.key, self._revision)],
                )
            else:
                trainer.store.keep(document)
        except UnknownFunction:  # the store was replaced: nobody knows of it any more
            self._untold = False
            trainer.reload(trainee.key)
            return
        except StaleParameters:
            self._reread()
            return
        self._untold = False
        if changed.phase == "held":
            self._tell("experiment_held", trainee, changed.why)
        elif changed.over:
            self._pool.draw(changed, self.whole())
            self._tell("experiment_ended", trainee, changed.sentence)
        trainer.reload(trainee.key)

    def _reread(self) -> None:
        """Somebody else has changed it, or the function: go on from there, and decide again. Raises StoreError."""
        found = self._trainer.store.documents("experiment", self._trainee.key, name=self.name)
        self._untold = False
        if found:
            self._revision = -1
            self.follow(found[0])
        self._trainer.reload(self._trainee.key)


def not_now(standing: Standing, arms: Mapping[str, ParameterSet]) -> str:
    """Why all calls must get what is live, whatever an experiment's arms are; empty: they need not."""
    if standing.paused:
        return f"learning is paused: {standing.paused}"
    for arm, parameters in arms.items():
        for name, value in standing.pinned.items():
            if parameters.get(name, value) != value:
                return f"{name} is pinned at {value}, and {arm} has {parameters[name]}"
    return ""
