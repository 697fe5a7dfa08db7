"""Between calls and learners: drains buffers, teaches, publishes, stores. One daemon thread, off the call path."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from poet.errors import StaleParameters, StoreError, UnknownFunction
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.seams import Clock, Probe, ProcessReport, Store, Suggestion
from poet.settings import Settings
from poet.training.trainee import Trainee

T = TypeVar("T")

SPOOL = 10  # how many buffers of executions wait for a store that is away, before the oldest go


def complain(message: str, *facts: object) -> None:
    """Log at level ERROR under the name "poet"."""
    import logging  # needed only where something is wrong

    logging.getLogger("poet").error(message, *facts)


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


class Trainer:
    """Runs rounds of training over all enrolled functions.

    Safe to use from several threads; a round runs under one lock. ``start`` gives it a thread of its own; without one,
    ``round`` and ``flush`` run in the caller's thread, which makes a simulation repeatable.
    """

    def __init__(self, store: Store, settings: Settings, clock: Clock, report: Callable[[], ProcessReport]) -> None:
        self.store, self.settings, self.clock = store, settings, clock
        self.faults = Faults()
        self.trainees: dict[FunctionKey, Trainee] = {}
        self.turn = threading.RLock()
        self._report = report
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._generation: int | None = None
        self._stored = clock.now()
        self._lost = 0  # executions that were dropped while the store was away

    @property
    def dropped(self) -> int:
        """Executions lost because a buffer or the spool was full."""
        return self._lost + sum(trainee.inbox.dropped for trainee in list(self.trainees.values()))

    def enroll(self, trainee: Trainee) -> None:
        """From now on ``trainee`` is trained. Its parameters are delivered at once."""
        with self.turn:
            self.trainees[trainee.key] = trainee
            self._deliver(trainee)

    def start(self) -> None:
        """Train in a daemon thread from now on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="poet-trainer", daemon=True)
            self._thread.start()

    def stop(self, timeout: float) -> None:
        """End the thread and train and store what is left, unless a round takes longer than ``timeout`` [s]."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        self._thread = None
        if self.turn.acquire(timeout=timeout):
            try:
                self.flush()
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
            epoch = self.clock.wall() - self.clock.now()
            writer = self._report().writer
            self._follow()
            for trainee in list(self.trainees.values()):
                self._train(trainee, writer, epoch, all_of_it=last)
            now = self.clock.now()
            if last or now - self._stored >= self.settings.store_interval:
                self._stored = now
                self._store()

    def adopt(self, key: FunctionKey, standing: Standing) -> None:
        """Someone has changed the function's standing: hand it down."""
        with self.turn:
            trainee = self.trainees.get(key)
            if trainee is not None:
                trainee.standing = standing
                trainee.draft = False
                self._deliver(trainee)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.thread_time()
            try:
                self.round()
            except Exception as error:  # noqa: BLE001 - a fault in training must not end training
                self.faults.add("training", error)
            spent = time.thread_time() - began
            self._stop.wait(max(self.settings.train_interval, spent / self.settings.cpu_share - spent))

    def _train(self, trainee: Trainee, writer: str, epoch: float, *, all_of_it: bool) -> None:
        executions = trainee.inbox.take(writer, epoch, all_of_it=all_of_it)
        if not executions:
            return
        trainee.heard(executions)
        if trainee.tracked:
            for execution in executions:
                trainee.tally.add(execution)
        if trainee.history:
            trainee.unsaved.extend(executions)
        learner = trainee.learner
        if learner is None:
            return
        self._guarded("learning", lambda: learner.update(executions))
        trainee.taught = True
        if not trainee.apply or trainee.standing.paused:
            return
        suggestion = self._guarded("learning", lambda: learner.suggest(trainee.standing.live))
        if suggestion is not None:
            self._publish(trainee, suggestion)
        self._deliver(trainee)

    def _publish(self, trainee: Trainee, suggestion: Suggestion) -> None:
        live = trainee.standing.live
        values = trainee.with_pins(suggestion.values)
        if values == dict(live):
            return
        draft = ParameterSet(
            values_=values,
            parent=live.version,
            origin="learned",
            reason=suggestion.reason,
            author="poet",
            estimates=suggestion.estimates,
            evidence=suggestion.evidence,
            created=self.clock.wall(),
        )
        try:
            standing = self.store.publish(trainee.key, draft, expected=trainee.standing.generation)
        except StaleParameters:
            self._reload(trainee.key)
        except StoreError as error:
            # The store is away: use what was learned all the same. It is offered again with the next executions.
            self.faults.add("store", error)
            trainee.standing = trainee.standing._replace(live=draft)
            trainee.draft = True
        else:
            self.adopt(trainee.key, standing)

    def _deliver(self, trainee: Trainee) -> None:
        learner, standing = trainee.learner, trainee.standing
        probe: Probe | None = None
        if learner is not None and trainee.apply and not standing.paused:
            probe = self._guarded("learning", learner.probe)
        self._guarded("delivery", lambda: trainee.deliver(standing.live, probe or Probe()))

    def _store(self) -> None:
        for trainee in list(self.trainees.values()):
            while len(trainee.unsaved) > SPOOL * self.settings.buffer:
                trainee.unsaved.popleft()
                self._lost += 1
            try:
                self._save(trainee)
            except UnknownFunction as error:  # someone has removed the store's file, and a new one was made
                self.faults.add("store", error)
                self._guarded("store", lambda: self.store.register(trainee.record))  # noqa: B023 - called at once
            except StoreError as error:
                self.faults.add("store", error)
            except ValueError as error:  # executions that no store can keep: to offer them again would not help
                self.faults.add("store", error)
                self._lost += len(trainee.unsaved)
                trainee.unsaved.clear()
        self._guarded("store", lambda: self.store.report(self._report()))

    def _save(self, trainee: Trainee) -> None:
        """Hand over what the store lacks. Raises StoreError; then it is kept for the next time."""
        if trainee.draft:
            trainee.draft = False
            live = trainee.standing.live
            try:
                standing = self.store.publish(trainee.key, live, expected=trainee.standing.generation)
            except StaleParameters:
                self._reload(trainee.key)
            except StoreError:
                trainee.draft = True
                raise
            else:
                self.adopt(trainee.key, standing)
        if trainee.unsaved:
            batch = list(trainee.unsaved)
            self.store.append(trainee.key, batch)
            for _ in batch:
                trainee.unsaved.popleft()
        if trainee.taught and trainee.learner is not None:
            state = self._guarded("learning", trainee.learner.dump)
            if state is not None:
                self.store.save_learner(trainee.key, state)
                trainee.taught = False

    def _follow(self) -> None:
        """Take over what others have changed in the store."""
        generation = self._guarded("store", self.store.generation)
        if generation is None or generation == self._generation:
            return
        self._generation = generation
        for key in list(self.trainees):
            self._reload(key)

    def _reload(self, key: FunctionKey) -> None:
        standing = self._guarded("store", lambda: self.store.standing(key))
        if standing is not None and standing.generation != self.trainees[key].standing.generation:
            self.adopt(key, standing)

    def _guarded(self, where: str, step: Callable[[], T]) -> T | None:
        try:
            return step()
        except Exception as error:  # noqa: BLE001 - a fault in learning or storing never breaks a call
            self.faults.add(where, error)
            return None
