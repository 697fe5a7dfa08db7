"""Between calls and learners: drains buffers, teaches, publishes, stores. One daemon thread, off the call path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from poet.errors import StaleParameters, StoreAway, StoreError, UnknownFunction
from poet.kernels.pieces import in_pieces
from poet.model.execution import Execution
from poet.model.fixed import held
from poet.model.flag import DEFAULTS, OFF, ON
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.phases import timed
from poet.model.policy import without
from poet.seams import Clock, Learner, Probe, ProcessReport, Reminded, Store, Suggestion, Upkeep
from poet.settings import Settings, upkeep_at
from poet.training.flags import Flags
from poet.training.late import Pair
from poet.training.orders import Orders
from poet.training.phased import Phased
from poet.training.rest import Rest
from poet.training.trainee import Trainee
from poet.training.trial import Teaching, Trial

T = TypeVar("T")

SPOOL = 10  # how many buffers of executions wait for a store that takes none, before the oldest go
NEWS = 0.02  # what was seen goes to the others when it is this share of all that was seen ...
NEWS_AFTER = 15.0  # ... or after this time [s]
EXCHANGE_REST = 0.25  # where others learn, too, a look waits so long for what they know [s]
PIECE = 0.3e-3  # of learning, after which other threads are given the interpreter [s]
REMEMBERED = 20  # functions whose versions this host takes note of with one storing, where a server keeps the store
UPKEEP_EVERY = 3600.0  # time from one upkeep of the store to the next [s]
UPKEEP_AFTER = 0.3  # share of that time until the first one


def complain(message: str, *facts: object) -> None:
    """Log at level ERROR under the name "poet"."""
    import logging  # needed only where something is wrong

    logging.getLogger("poet").error(message, *facts)


def warn(what: str, function: str, detail: str) -> None:
    """Log at level WARNING under the name "poet" what has happened to a function's versions."""
    import logging  # needed only where something is wrong

    logging.getLogger("poet").warning("%s of %s: %s", what, function, detail)


class Faults:
    """Counts faults and logs each kind once: learning never breaks a call, and never fills a log."""

    def __init__(self) -> None:
        self.count = 0
        self.last = ""
        self._logged: set[str] = set()
        self._lock = threading.Lock()

    def add(self, where: str, error: BaseException) -> None:
        """Count one."""
        text = f"{where}: {type(error).__name__}: {error}"
        with self._lock:
            self.count += 1
            self.last = text
            kind = f"{where}:{type(error).__name__}"
            known = kind in self._logged
            self._logged.add(kind)
        if not known:
            complain("%s (calls go on; counted from now on, not logged again)", text)


class Tried(Protocol):
    """Which versions go through a trial, and what takes care of it."""

    def take_up(self, trainer: Trainer, trainee: Trainee, before: Trial | None) -> Trial | None:
        """What takes care of the function from now on, by its standing; ``before``: what did so until now."""

    def propose(self, trainer: Trainer, trainee: Trainee, draft: ParameterSet, *, urgent: bool) -> bool:
        """A learner proposes ``draft``. Gives whether it was dealt with; False: make it live at once."""


class GivingWay:
    """Lets other threads run now and then: called between pieces of work, it does so where enough were done."""

    def __init__(self) -> None:
        self._last = time.perf_counter()
        self.times = 0  # that it did so

    def __call__(self) -> None:
        """A piece has ended."""
        if time.perf_counter() - self._last >= PIECE:
            time.sleep(0)  # for as long as the system takes to come back: whoever waits has taken the interpreter then
            self._last = time.perf_counter()
            self.times += 1


class Trainer:
    """Runs rounds of training over all enrolled functions.

    Safe to use from several threads; a round runs under one lock. ``start`` gives it a thread of its own; without one,
    ``round`` and ``flush`` run in the caller's thread, which makes a simulation repeatable.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        clock: Clock,
        report: Callable[[], ProcessReport],
        heard: Callable[[str, str, Sequence[Execution]], None] = lambda function, dependency, executions: None,
        trials: Tried | None = None,
        errand: Callable[[Trainer], None] | None = None,
        attend: Callable[[Trainer, Trainee], None] | None = None,
        folder: Path | None = None,
    ) -> None:
        """report: how this process fares. folder: where this host keeps what it knows of a server's store.

        heard: tells who listens of finished calls of a function, by its name, of a dependency.
        trials: takes care of roll-outs and experiments; None: what is learned is live at once.
        errand: what else is to be done after each upkeep of the store. attend: what else is to be done for a function
            before its first training, and before those whose calls are stored.
        """
        self.store, self.settings, self.clock = store, settings, clock
        self.applies = settings.learning == "on"  # whether suggestions are published
        self.rest = Rest()
        self._heard = heard
        self._trials = trials
        self._errand, self._attend = errand, attend
        self._attended: set[FunctionKey] = set()
        self.faults = Faults()
        self.flags = Flags(settings, clock, self.faults.add, host=report().host, folder=folder)
        self.orders = None if folder is None else Orders(folder, self.faults.add)
        self.trainees: dict[FunctionKey, Trainee] = {}
        self.turn = threading.RLock()
        self._report = report
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._phased = Phased()
        self._generation = -1
        self._stored = clock.now()
        self._hinted = True  # something may have changed in the store
        self._asked = clock.now()  # whether it has
        self._away = False
        self._next_upkeep = clock.now() + UPKEEP_AFTER * UPKEEP_EVERY
        self._told_of_lost = False  # that scores were said of executions which nobody has
        self._lost = 0  # executions that were dropped while the store took none
        self.spent = 0.0  # CPU of all rounds and of upkeep, whichever thread they ran in [s]
        self.taken_in = 0  # executions that rounds have taken in
        self._back_stop = self._guarded("store", lambda: store.watch(self.hint)) or 0.0

    @property
    def writer(self) -> str:
        """Names this process's executions."""
        return self._report().writer

    @property
    def dropped(self) -> int:
        """Executions lost because a buffer or the spool was full."""
        return self._lost + sum(trainee.dropped for trainee in list(self.trainees.values()))

    def enroll(self, trainee: Trainee) -> None:
        """From now on ``trainee`` is trained. Its parameters are delivered at once."""
        with self.turn:
            self.trainees[trainee.key] = trainee
            if self._generation < 0:  # the first one: learn what the rows of flags say
                self._flags_kept()
            for order in () if self.orders is None else self.orders.waiting():
                if order.function == trainee.key:
                    trainee.standing = order.applied(trainee.standing)
            self._remember(trainee.key)
            self._try_out(trainee)
            self.deliver(trainee)

    def start(self) -> None:
        """Train in a daemon thread from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="poet-trainer", daemon=True)
            self._thread.start()

    def hint(self) -> None:
        """Others may have changed something in the store: look soon. May be called from any thread."""
        self._hinted = True
        self._wake.set()

    def stop(self, timeout: float) -> None:
        """End the thread and train and store what is left, unless a round takes longer than ``timeout`` [s]."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._thread = None
        if self.turn.acquire(timeout=timeout):
            try:
                self.flush()
                for trainee in list(self.trainees.values()):
                    if trainee.late is not None and trainee.late.waiting:
                        lost = trainee.late.lost
                        trainee.late.give_up()
                        self._lost_to_learning(trainee, lost)
            finally:
                self.turn.release()
        else:
            complain("training did not end within %g s; the newest executions are not stored", timeout)

    def flush(self) -> None:
        """Learn from and store all executions so far; returns when it is done."""
        with self.turn:
            self.round(last=True)

    def round(self, *, last: bool = False) -> None:
        """Train everyone once; store when it is time, or when this is the ``last`` round for now."""
        with self.turn:
            began = time.thread_time()
            try:
                self._round(last=last)
            finally:
                self.spent += time.thread_time() - began

    def _round(self, *, last: bool) -> None:
        with self.turn:
            epoch = self.clock.wall() - self.clock.now()
            writer = self.writer
            self._follow(now=last)
            if self.flags.refresh():
                self._flags_changed()
            for key in self._phased.turned(self.clock.wall()):
                self.deliver(self.trainees[key])
            now = self.clock.now()
            storing = last or now - self._stored >= self.settings.store_interval
            # One function after the other, so that the executions of no more than one take room at a time.
            for trainee in list(self.trainees.values()):
                if storing or trainee.key not in self._attended:
                    self._attended.add(trainee.key)
                    self._attended_to(trainee)
                self._train(trainee, writer, epoch, all_of_it=last)
                if storing:
                    self._store(trainee, last=last)
            if storing:
                self._stored = now
                self._guarded("store", lambda: self.store.report(self._report()))
                orders = self.orders
                if orders is not None and not self.store.away:
                    self._guarded("store", lambda: orders.keep(self.store, REMEMBERED))

    def _attended_to(self, trainee: Trainee) -> None:
        attend = self._attend
        if attend is not None and not self.store.away:
            self._guarded("transfer", lambda: attend(self, trainee))

    def consider(self, trainee: Trainee) -> None:
        """The function's learner has come to know more, though not by calls: look at it now."""
        learner = self._pupil(trainee)
        if learner is not None:
            trainee.taught = True
            self._look(trainee, learner, now=True)

    def maintain(self) -> Upkeep | None:
        """Keep the store in order: retention, compaction, late scores. None where it cannot be done now."""
        kept = {"keep_executions": self.settings.keep_executions, "keep_hours": self.settings.keep_hours}
        moments = upkeep_at(self.clock.wall(), **kept)
        began = time.thread_time()
        upkeep = self._guarded("upkeep of the store", lambda: self.store.maintain(**moments))
        self.spent += time.thread_time() - began
        return upkeep

    def adopt(self, key: FunctionKey, standing: Standing) -> None:
        """Someone has changed the function's standing: hand it down."""
        with self.turn:
            trainee = self.trainees.get(key)
            if trainee is not None:
                trainee.standing = standing
                trainee.draft = False
                self._remember(key)
                self._try_out(trainee)
                self.deliver(trainee)

    def learn(self, step: Callable[[], T]) -> T | None:
        """A step of a learner that is tried beside a function's own: a fault in it is counted, and it makes way."""
        return self._learn(step)

    def _try_out(self, trainee: Trainee) -> None:
        """Take up the roll-out or the experiment that the function's standing tells of, or let go of what has ended."""
        trials, trial = self._trials, trainee.trial
        if trials is not None and (trial is not None or trainee.standing.steering):
            trainee.trial = self._guarded("trial", lambda: trials.take_up(self, trainee, trial))

    def applied(self, trainee: Trainee) -> bool:
        """Whether what is learned of the function is published and tried, as settings and flags say."""
        return self.applies and self._phase(trainee) == ON

    def _phase(self, trainee: Trainee) -> str:
        return self.flags.value("learn.online", trainee.key.name)

    def _pupil(self, trainee: Trainee) -> Learner | None:
        """The learner, where there is one and it may learn now."""
        return None if self._phase(trainee) in (OFF, DEFAULTS) else trainee.learner

    def _declared(self, trainee: Trainee) -> ParameterSet:
        """What calls use where the flag says so: what was declared, and what a person pinned."""
        values = held(trainee.subject.record.declared, trainee.standing.pinned)
        return ParameterSet(values_=values, reason="the flag learn.online says so", author="poet")

    def _obey(self) -> None:
        """Follow what was ordered on this host while the store was away, and let the store have it once it is back."""
        orders = self.orders
        if orders is not None:
            self._guarded("store", lambda: orders.obey(self.store, self._standing, self._ordered))

    def _ordered(self, key: FunctionKey, standing: Standing) -> None:
        trainee = self.trainees.get(key)
        if trainee is not None:
            trainee.trial = None  # also one that only this process knows of
            self.adopt(key, standing)

    def _standing(self, key: FunctionKey) -> Standing | None:
        trainee = self.trainees.get(key)
        return None if trainee is None else trainee.standing

    def _remember(self, key: FunctionKey) -> None:
        """Let this host have the function's versions, to go back to while the store is away."""
        if self.orders is not None:
            self.orders.remember(key)

    def _flags_kept(self) -> None:
        """Take over what the store says of flags."""
        if self._guarded("store", lambda: self.flags.read(self.store)):
            self._flags_changed()

    def _flags_changed(self) -> None:
        """Calls get what flags say now."""
        for trainee in list(self.trainees.values()):
            self.deliver(trainee)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.thread_time()
            try:
                self.round()
            except Exception as error:  # noqa: BLE001 - a fault in training must not end training
                self.faults.add("training", error)
            spent = time.thread_time() - began
            self._rest(max(self.settings.train_interval, spent / self.settings.cpu_share - spent))
            if self.clock.now() >= self._next_upkeep and not self._stop.is_set():
                self._next_upkeep = self.clock.now() + UPKEEP_EVERY
                self.maintain()  # not in the turn: whoever asks for a status need not wait for it
                if (errand := self._errand) is not None:
                    self._guarded("upkeep", lambda: errand(self))

    def _rest(self, seconds: float) -> None:
        """Let calls run; a hint ends the rest for as long as it takes to follow it."""
        until = time.monotonic() + seconds
        while not self._stop.is_set() and self._wake.wait(max(0.0, until - time.monotonic())):
            self._wake.clear()
            if not self._stop.is_set():
                with self.turn:
                    self._follow()

    def _train(self, trainee: Trainee, writer: str, epoch: float, *, all_of_it: bool) -> None:
        executions = trainee.take(writer, epoch, all_of_it=all_of_it)
        if executions:
            trial, taken = trainee.trial, executions
            if isinstance(trial, Teaching):  # before it hears of them, as it may end then
                executions = [execution for execution in executions if not trial.teaches(execution)]
            self._take_in(trainee, taken)
        pairs = [] if trainee.late is None else trainee.late.joined()
        if not (executions or pairs):
            return
        learner = self._pupil(trainee)
        if learner is None:
            self._rescore(trainee, pairs)
            return
        if executions:
            self._remind(trainee, learner, executions)
            self._learn(lambda: learner.update(executions))
            trainee.taught = True
        self._rescore(trainee, pairs)
        self._look(trainee, learner, now=all_of_it)

    def _take_in(self, trainee: Trainee, executions: list[Execution]) -> None:
        """Count them, and keep them for the store and for scores to come."""
        subject = trainee.subject
        self.taken_in += len(executions)
        self._heard(subject.key.name, subject.dependency, executions)
        trainee.seen(executions)
        if subject.tracked:
            trainee.count(executions)
        if subject.kept:
            if trainee.unsaved is None:
                trainee.unsaved = executions
            else:
                trainee.unsaved += executions
        if trainee.late is not None:
            trainee.late.seen(executions)
        trial = trainee.trial
        if trial is not None:
            self._guarded("trial", lambda: trial.heard(executions))

    def _rescore(self, trainee: Trainee, pairs: Sequence[Pair]) -> None:
        """Let the learner know of scores that came late."""
        trial = trainee.trial
        if trial is not None and pairs:
            all_after, all_before = [pair.after for pair in pairs], [pair.before for pair in pairs]
            self._guarded("trial", lambda: trial.rescored(all_after, all_before))
            if isinstance(trial, Teaching):
                pairs = [pair for pair in pairs if not trial.teaches(pair.after)]
        learner = self._pupil(trainee)
        if not pairs or learner is None:
            return
        after, before = [pair.after for pair in pairs], [pair.before for pair in pairs]
        self._remind(trainee, learner, after)
        self._guarded("learning", lambda: learner.rescored(after, before))
        trainee.taught = True

    def _remind(self, trainee: Trainee, learner: Learner, executions: Sequence[Execution]) -> None:
        """Tell a learner that asks for it which values the executions' versions say."""
        if isinstance(learner, Reminded):
            self._guarded("learning", lambda: self._told_versions(trainee, learner, executions))

    def _told_versions(self, trainee: Trainee, learner: Reminded, executions: Sequence[Execution]) -> None:
        unknown = {execution.version for execution in executions if not learner.knows(execution.version)}
        live = trainee.standing.live
        if live.version in unknown:
            learner.under(live)
            unknown.remove(live.version)
        if unknown:
            for version in self._guarded("store", lambda: self.store.versions(trainee.key)) or ():
                if version.version in unknown:
                    learner.under(version)

    def _look(self, trainee: Trainee, learner: Learner, *, now: bool) -> None:
        """Take up what the learner suggests, where it should look at what it knows."""
        if not self.applied(trainee) or trainee.standing.paused:
            return
        due = self._due(trainee, learner, now=now)
        if not due:
            return
        suggestion = self._learn(lambda: learner.suggest(trainee.standing.live))
        if suggestion is not None:
            self._publish(trainee, suggestion, urgent=due == 2)
        self.deliver(trainee)

    def _due(self, trainee: Trainee, learner: Learner, *, now: bool) -> int:
        """Whether the learner should look at what it knows; where others learn with it, at what all know by now.

        As ``Learner.due`` says it: 0 no, 1 yes, 2 yes and it must not wait.

        Else each of them would look as often as one alone, each at its own part, and be wrong as often as all together.
        """
        due = self._guarded("learning", learner.due) or 0
        if due != 1 or not trainee.company:
            return due
        if not now and self.clock.now() - trainee.exchanged < EXCHANGE_REST:
            return 0
        try:
            self._exchange(trainee, now=True)
        except StoreError as error:  # then alone
            self._fault("store", error)
        return self._guarded("learning", learner.due) or 0

    def _publish(self, trainee: Trainee, suggestion: Suggestion, *, urgent: bool = False) -> None:
        if trainee.with_pins(suggestion.values) == dict(trainee.standing.live):
            return
        trial = trainee.trial
        if trial is not None and self._guarded("trial", lambda: trial.suggested(suggestion, urgent=urgent)):
            return
        live = trainee.standing.live
        values = trainee.with_pins(suggestion.values)
        said = suggestion.values
        held = [f"{name} {values[name]}" for name in said if name in values and values[name] != said[name]]
        gone = [name for name in live if timed(name) and name not in values]
        draft = ParameterSet(
            values_=values,
            parent=live.version,
            origin=suggestion.origin,
            reason=suggestion.reason
            + (f"; as pinned: {', '.join(held)}" if held else "")
            + (f"; of other times than now: {', '.join(gone)}" if gone else ""),
            author="poet",
            estimates=suggestion.estimates,
            evidence=suggestion.evidence,
            span=trainee.span,
            created=self.clock.wall(),
        )
        try:
            if self._trials is not None and self._trials.propose(self, trainee, draft, urgent=urgent):
                return
            standing = self.store.publish(trainee.key, draft, expected=trainee.standing.generation)
        except StaleParameters:
            self.reload(trainee.key)
        except StoreError as error:
            # The store is away: use what was learned all the same. It is offered again with the next executions.
            self._fault("store", error)
            trainee.standing = trainee.standing._replace(live=draft)
            trainee.draft = True
        else:
            self.adopt(trainee.key, standing)

    def deliver(self, trainee: Trainee) -> None:
        """Hand down what holds for the function now."""
        standing = trainee.standing
        if self._phase(trainee) == DEFAULTS:
            standing = standing._replace(live=self._declared(trainee))
        probe: Probe | None = None
        if self.applied(trainee) and not standing.paused:
            learner = trainee.learner
            if learner is not None:
                probe = self._guarded("learning", lambda: _probe(learner, standing.live))
        if probe is not None and probe.policy is not None and standing.pinned:
            probe = probe._replace(policy=without(probe.policy, frozenset(standing.pinned)))
        trial, given = trainee.trial, probe or Probe()
        lot = None
        if trial is not None and self._phase(trainee) not in (OFF, DEFAULTS):
            lot = self._guarded("trial", lambda: trial.lot(given))
        self._phased.handed_down(trainee.key, standing.live, self.clock.wall())
        self._guarded("delivery", lambda: trainee.subject.deliver(standing.live, given, lot))

    def _store(self, trainee: Trainee, *, last: bool) -> None:
        """Hand over what the store lacks of one function, and let the others know what was learned."""
        unsaved = trainee.unsaved
        excess = len(unsaved or ()) - SPOOL * self.settings.buffer
        if unsaved and excess > 0:
            del unsaved[:excess]
            self._lost += excess
        said = trainee.feedback
        if said and len(said) > SPOOL * self.settings.buffer:
            del said[: len(said) - SPOOL * self.settings.buffer]
        try:
            pairs = self._save(trainee, last=last)
            if pairs:
                self._rescore(trainee, pairs)
            learner = self._pupil(trainee) if pairs else None
            if learner is not None:
                self._look(trainee, learner, now=last)
            self._exchange(trainee, now=last)
            if trainee.trial is not None:
                trainee.trial.stored(last=last)
        except UnknownFunction as error:  # someone has removed the store's file, and a new one was made
            self._fault("store", error)
            self._guarded("store", lambda: self.store.register(trainee.subject.record))
        except StoreError as error:
            self._fault("store", error)
        except ValueError as error:  # executions that no store can keep: to offer them again would not help
            self._fault("store", error)
            self._lost += len(trainee.unsaved or ())
            trainee.unsaved = trainee.feedback = None

    def _save(self, trainee: Trainee, *, last: bool) -> list[Pair]:
        """Hand over what the store lacks. Raises StoreError; then it is kept for the next time.

        Gives what scores were said of executions that only the store has. last: all executions so far have come in.
        """
        live = trainee.standing.live
        if trainee.draft and (live.origin not in ("learned", "transfer") or self.applied(trainee)):
            trainee.draft = False
            try:
                standing = self.store.publish(trainee.key, live, expected=trainee.standing.generation)
            except StaleParameters:
                self.reload(trainee.key)
            except StoreError:
                trainee.draft = True
                if not trainee.unsaved and not trainee.feedback:
                    raise
            else:
                self.adopt(trainee.key, standing)
        if trainee.unsaved:
            self.store.append(trainee.key, list(trainee.unsaved))
            trainee.unsaved = None
        late = trainee.late
        wanted = [] if late is None else late.wanted()
        found: list[Execution] | None = []
        if wanted:  # before the scores go there, so that it tells what was known without them
            try:
                found = self.store.find(trainee.key, wanted)
            except StoreError as error:  # it may take the scores all the same, and let them wait on the disk
                found = None
                self._fault("store", error)
        if trainee.feedback:
            self.store.score(trainee.key, trainee.feedback)
            trainee.feedback = None
        if late is None or not wanted:
            return []
        lost = late.lost
        pairs: list[Pair] = []
        if found is not None:
            pairs = late.found(found, lost=self.writer if last else "", now=self.clock.wall())
        late.stored()
        self._lost_to_learning(trainee, lost)
        return pairs

    def _lost_to_learning(self, trainee: Trainee, before: int) -> None:
        """Log once that scores were lost; ``before``: how many had been by then."""
        late = trainee.late
        if late is not None and late.lost > before and not self._told_of_lost:
            self._told_of_lost = True
            complain(
                "feedback on execution %s of %s: no such execution is stored, so nothing is learned from it"
                " (counted from now on in status()['feedback_lost'], not logged again)",
                late.newest_lost,
                trainee.key.name,
            )

    def _exchange(self, trainee: Trainee, *, now: bool) -> None:
        """Let others know what was seen, and learn what they have seen. Raises StoreError; it is tried again then.

        Where little is new it waits a while, as what is shared is read, merged and written as a whole; but not ``now``.
        """
        if not (trainee.taught or trainee.pending):
            return
        moment = self.clock.now()
        fresh = trainee.news < max(1.0, NEWS * trainee.shared)
        if fresh and moment - trainee.exchanged < NEWS_AFTER and not now:
            return
        learner = trainee.learner
        if learner is None:
            return
        writer = self.writer
        if now and self.store.away:
            state = self._guarded("learning", learner.dump)
            if state is not None:  # for whoever starts on this host meanwhile
                self.store.save_learner(trainee.key, state)
        alone = True
        if trainee.pending is not None:  # whether the store has it is not known
            _, alone = self._merge(trainee, learner, writer, trainee.pending)
        contribution = self._guarded("learning", learner.contribution)
        trainee.taught = False
        if contribution is None:
            return
        trainee.contributions += 1
        trainee.pending = contribution
        state, still_alone = self._merge(trainee, learner, writer, contribution)
        if not (alone and still_alone):  # else it knows all of it, and to go on as it is costs nothing
            try:
                learner.load(state)
            except ValueError as error:  # what others have left cannot be read: go on with what we know
                self.faults.add(f"what others have learned of {trainee.key.name} cannot be read", error)
        trainee.shared += trainee.news
        trainee.news, trainee.exchanged = 0, moment

    def _merge(self, trainee: Trainee, learner: Learner, writer: str, contribution: bytes) -> tuple[bytes, bool]:
        """What all know together, and whether nobody else has told of anything since we did. Raises StoreError."""
        alone = False  # nor is it known where the store had taken the contribution in before

        def merge(state: bytes | None) -> bytes:
            nonlocal alone
            alone = state is None or hash(state) == trainee.told
            try:
                return learner.merged(state, contribution)
            except ValueError:
                if state is None:
                    raise
                return learner.merged(None, contribution)  # what is kept is of another kind: begin anew

        state = self.store.exchange(trainee.key, writer, trainee.contributions, merge)
        trainee.pending, trainee.told, trainee.company = None, hash(state), not alone
        return state, alone

    def _follow(self, *, now: bool = False) -> None:
        """Take over what others have changed in the store; ``now``: whether or not it is time to ask."""
        self._obey()
        moment = self.clock.now()
        if not (self._hinted or now or moment - self._asked >= self._back_stop):
            return
        self._hinted, self._asked = False, moment
        answer = self._guarded("store", lambda: self.store.changed(self._generation))
        if answer is None:
            return
        self._away = False
        generation, changed = answer
        if generation < self._generation:  # another store in place of the one before
            changed = list(self.trainees)
        if generation != self._generation:
            self._flags_kept()
        self._generation = generation
        for key in changed:
            if key in self.trainees:
                self.reload(key)

    def reload(self, key: FunctionKey) -> None:
        """Take over what holds for a function now, where it is not what is known."""
        if self.orders is not None and key in self.orders.pending:
            return  # what was ordered holds, until the store has it
        standing = self._guarded("store", lambda: self.store.standing(key))
        if standing is not None and standing.generation != self.trainees[key].standing.generation:
            self.adopt(key, standing)

    def _fault(self, where: str, error: BaseException) -> None:
        """Count it; that the store is away counts once, not with every question."""
        if isinstance(error, StoreAway):
            if self._away:
                return
            self._away = True
        self.faults.add(where, error)

    def _learn(self, step: Callable[[], T]) -> T | None:
        """Run it guarded and, in a thread of our own, in pieces, as calls wait for the interpreter meanwhile."""
        if threading.current_thread() is not self._thread:
            return self._guarded("learning", step)
        with in_pieces(GivingWay()):
            return self._guarded("learning", step)

    def _guarded(self, where: str, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - a fault in learning or storing never breaks a call
            self._fault(where, error)
            return None


def _probe(learner: Learner, live: ParameterSet) -> Probe:
    if isinstance(learner, Reminded):
        learner.under(live, live=True)
    return learner.probe()
