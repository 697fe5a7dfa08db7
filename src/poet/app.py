"""All wiring: settings, store, learners, trainer and the functions that were decorated."""

from __future__ import annotations

import atexit
import os
import random
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from poet.calls.cell import Cell, Channel
from poet.calls.plan import Plan
from poet.calls.transient import RetryOn, classifier
from poet.calls.wrapper import Enforce, Perceive, refuse_what_cannot_be_wrapped, wrap
from poet.errors import ConfigurationError, PoetError, StaleParameters, nearest
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet, Standing
from poet.model.tunable import Integer, Real, Space, Tunable, Value
from poet.seams import SYSTEM_CLOCK, Clock, FunctionRecord, Learner, Probe, ProcessReport, Store
from poet.settings import Settings, store_path
from poet.training.trainee import Inbox, Tally, Trainee
from poet.training.trainer import Trainer, complain

Algorithm = Literal["basic", "statistical", "adaptive"]
ALGORITHMS = ("adaptive", "basic", "statistical")
# where nothing is declared
TIMEOUT = 30.0  # [s]
RETRIES = 3
BACKOFF = 0.1  # bound of the first pause before a retry [s]
LONGEST_BACKOFF = 60.0  # [s]
LONGEST_TIMEOUT = 120.0  # what learning may raise a timeout to, unless the user declares bounds [s]
MOST_RETRIES = 5
FIRST_CALL_WAIT = 0.25  # longest time that a first call waits for what was learned before [s]
EXIT_WAIT = 5.0  # longest time that leaving the interpreter waits for training [s]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the decorator was told of one function, checked."""

    retries: int = RETRIES
    timeout: float = TIMEOUT
    domain: str | None = None
    enable_training: bool = False
    collect_metrics: bool = True
    learning_algorithm: Algorithm = "adaptive"
    learning_rate: float = 0.05
    convergence_threshold: float = 0.01
    enable_cross_function_learning: bool = False
    performance_tracking: bool = True
    name: str | None = None
    objective: Objective | None = None
    context: None = None
    retry_on: RetryOn | None = None
    perceive: Perceive | None = None
    enforce: Enforce | None = None
    deadline: float | None = None
    backoff: float = BACKOFF
    idempotent: bool = True
    enforce_timeout: str = "cooperative"
    tunables: Mapping[str, Tunable] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.retries, bool) or not isinstance(self.retries, int) or self.retries < 0:
            raise ConfigurationError(f"retries must be a whole number >= 0, got {self.retries!r}")
        for name in ("timeout", "deadline"):
            span = getattr(self, name)
            if span is None and name == "deadline":
                continue
            if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span < float("inf"):
                raise ConfigurationError(f"{name} must be a finite number of seconds > 0, got {span!r}")
        if (
            isinstance(self.backoff, bool)
            or not isinstance(self.backoff, int | float)
            or not 0 <= self.backoff <= LONGEST_BACKOFF
        ):
            raise ConfigurationError(
                f"backoff must be a number of seconds in [0, {LONGEST_BACKOFF:g}], got {self.backoff!r}"
            )
        for name in ("learning_rate", "convergence_threshold"):
            share = getattr(self, name)
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
                raise ConfigurationError(f"{name} must be in (0, 1], got {share!r}")
        for name in ("enable_training", "collect_metrics", "performance_tracking", "idempotent"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("domain", "name"):
            text = getattr(self, name)
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise ConfigurationError(f"{name} must be a text that is not empty, got {text!r}")
        if self.learning_algorithm not in ALGORITHMS:
            hint = nearest(str(self.learning_algorithm), ALGORITHMS)
            raise ConfigurationError(f"no learning_algorithm {self.learning_algorithm!r}: {hint}")
        if self.enforce_timeout != "cooperative":
            raise ConfigurationError(
                f"enforce_timeout must be 'cooperative', got {self.enforce_timeout!r}: sync functions are told their "
                "deadline (poet.remaining()), async ones are cancelled at it"
            )
        if self.context is not None:
            raise ConfigurationError(
                f"context must be None: functions do not learn per context yet, got {self.context!r}"
            )
        if self.objective is not None and not isinstance(self.objective, Objective):
            raise ConfigurationError(f"objective must be a poet.Objective, got {self.objective!r}")
        for name in ("perceive", "enforce"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                raise ConfigurationError(f"{name} must be callable, got {getattr(self, name)!r}")
        self.space.check(self.declared)

    @property
    def declared(self) -> dict[str, Value]:
        """The values to begin with."""
        retries = self.retries if self.idempotent else 0
        return {"timeout": float(self.timeout), "retries": retries, "backoff": float(self.backoff)}

    @property
    def space(self) -> Space:
        """The hard bounds of all that is learned. Raises ConfigurationError."""
        declared = self.tunables or {}
        if not isinstance(declared, Mapping):
            raise ConfigurationError(f"tunables must be a mapping from name to Real or Integer, got {declared!r}")
        longest = max(LONGEST_TIMEOUT, 4.0 * self.timeout)
        known: dict[str, Tunable] = {
            "timeout": Real(min(0.001, self.timeout), longest, log=True),
            "retries": Integer(0, max(MOST_RETRIES, self.retries)),
        }
        for name, tunable in declared.items():
            if name not in known:
                raise ConfigurationError(f"no tunable {name!r}: {nearest(name, known)}")
            if not isinstance(tunable, type(known[name])):
                wanted = type(known[name]).__name__
                raise ConfigurationError(f"the tunable {name!r} must be a poet.{wanted}, got {tunable!r}")
            known[name] = tunable
        timeout = known["timeout"]
        if isinstance(timeout, Real) and not timeout.low > 0:
            raise ConfigurationError(f"the bounds of timeout must be > 0 seconds, got low {timeout.low!r}")
        retries = known["retries"]
        if isinstance(retries, Integer) and retries.low < 0:
            raise ConfigurationError(f"the bounds of retries must be >= 0, got low {retries.low!r}")
        if not self.idempotent:
            known["retries"] = Integer(0, 0)
        return Space(backoff=Real(0.0, LONGEST_BACKOFF), **known)


@dataclass(slots=True, eq=False)
class Enrolment:
    """One function, by its key; decorated twice, it is still one function with one channel and one learner."""

    key: FunctionKey
    options: Options
    channel: Channel
    cells: weakref.WeakSet[Cell] = field(default_factory=weakref.WeakSet)

    def deliver(self, parameters: ParameterSet, probe: Probe) -> None:
        """Hand parameters down to every wrapper of the function."""
        for cell in list(self.cells):
            cell.plan = cell.compile(parameters, probe)


class Decorated(NamedTuple):
    """What decorating a function gives."""

    call: Callable[..., Any]
    enrolment: Enrolment
    cell: Cell


class Agent:
    """POET in one process. Nothing is opened before the first call of a decorated function, or ``open``."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        *,
        store: Callable[[Settings], Store],
        clock: Clock = SYSTEM_CLOCK,
        thread: bool = True,
    ) -> None:
        """settings, store: asked once, at opening. thread: train in the background; else by ``flush`` only."""
        self._load, self._make_store = settings, store
        self.clock, self._thread = clock, thread
        self.enrolments: dict[FunctionKey, Enrolment] = {}
        self.trainer: Trainer | None = None
        self._settings: Settings | None = None
        self._lock = threading.RLock()
        self._leaving = False
        self.writer = ""  # names this process's executions, once training begins
        self.started = clock.wall()
        self.coin = random.Random()
        self._forks = False  # whether a fork is prepared for

    @property
    def settings(self) -> Settings:
        """The settings in force. Raises ConfigurationError where they are wrong."""
        with self._lock:
            if self._settings is None:
                self._settings = self._load()
                if self._settings.seed is not None:
                    self.coin.seed(self._settings.seed)
            return self._settings

    def decorate(self, function: Callable[..., Any], options: Options) -> Decorated:
        """``function`` under this agent. Raises ConfigurationError."""
        classify = classifier(options.retry_on)
        refuse_what_cannot_be_wrapped(function)
        key = FunctionKey.of(function, options.name)
        enrolment = self.enrolments.get(key)
        if enrolment is None:
            keep = options.enable_training or options.collect_metrics
            channel = Channel(self._buffer_size() if keep else 0)
            enrolment = self.enrolments[key] = Enrolment(key, options, channel)
        space, deadline = options.space, options.deadline
        cell = Cell(
            key.name,
            enrolment.channel,
            classify=classify,
            start=lambda cell: self._start(enrolment, cell),
            compile=lambda parameters, probe: Plan(parameters, space, probe, deadline),
            flip=self.coin.random,
            off=False,
        )
        call = wrap(function, cell, clock=self.clock, perceive=options.perceive, enforce=options.enforce)
        enrolment.cells.add(cell)
        return Decorated(call, enrolment, cell)

    def open(self) -> Trainer:
        """Open the store and begin to train. Raises StoreError; then nothing has changed."""
        with self._lock:
            if self.trainer is None:
                settings = self.settings
                self._begin(Trainer(self._make_store(settings), settings, self.clock, self.report))
            assert self.trainer is not None
            return self.trainer

    def trainee(self, enrolment: Enrolment) -> Trainee:
        """The function as the trainer sees it; known to the store from now on. Raises StoreError."""
        trainer = self.open()
        with trainer.turn:
            known = trainer.trainees.get(enrolment.key)
            if known is None:
                known = self._enrol(trainer, enrolment)
            return known

    def flush(self) -> None:
        """Learn from and store all executions so far; returns when it is done."""
        if self.trainer is not None:
            self.trainer.flush()

    def reconfigure(self, settings: Settings) -> None:
        """Go over to other settings; what was in force is stored and closed. Raises StoreError, nothing changed."""
        with self._lock:
            trainer = None
            if settings.learning != "off":
                trainer = Trainer(self._make_store(settings), settings, self.clock, self.report)
            self.close()
            self._settings = settings
            if settings.seed is not None:
                self.coin.seed(settings.seed)
            if trainer is not None:
                self._begin(trainer)

    def close(self) -> None:
        """Train and store what is left, then release the store. Functions begin anew at their next call."""
        with self._lock:
            trainer, self.trainer = self.trainer, None
            for enrolment in self.enrolments.values():
                for cell in list(enrolment.cells):
                    cell.plan, cell.off = None, False
            if trainer is not None:
                trainer.stop(EXIT_WAIT)
                trainer.store.close()

    def leave(self) -> None:
        """Close for good: the interpreter ends. Calls that still come use their declared parameters."""
        self._leaving = True
        self.close()

    def report(self) -> ProcessReport:
        """How this process fares."""
        trainer = self.trainer
        return ProcessReport(
            writer=self.writer,
            host=_host(),
            pid=os.getpid(),
            started=self.started,
            seen=self.clock.wall(),
            dropped=0 if trainer is None else trainer.dropped,
            faults=0 if trainer is None else trainer.faults.count,
            last_fault="" if trainer is None else trainer.faults.last,
        )

    def _buffer_size(self) -> int:
        """From the settings at decoration; they are not settled by that, as ``configure`` may come later."""
        try:
            return (self._settings or self._load()).buffer
        except PoetError:  # said at the first call, where settings are needed
            return Settings().buffer

    def _begin(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.writer = os.urandom(4).hex()  # not before: a server may have forked since the import
        if trainer.settings.seed is None:
            self.coin.seed()
        atexit.register(_at_exit, weakref.ref(self))
        if not self._forks and hasattr(os, "register_at_fork"):
            # Not before the store is open: what is registered later takes its locks first, and a round of training
            # takes the trainer's lock before the store's.
            self._forks = True
            reference = weakref.ref(self)
            os.register_at_fork(
                before=lambda: _with(reference, Agent._before_fork),
                after_in_parent=lambda: _with(reference, Agent._after_fork_in_parent),
                after_in_child=lambda: _with(reference, Agent._after_fork_in_child),
            )
        if self._thread:
            trainer.start()

    def _start(self, enrolment: Enrolment, cell: Cell) -> Plan | None:
        """The plan for a function's first call. What was learned before is waited for, but not for long."""
        try:
            if self.settings.learning == "off":
                cell.off = True
                return None
        except PoetError as error:
            cell.plan = self._declared(enrolment, cell)
            complain("POET's settings are wrong, functions use their declared parameters: %s", error)
            return cell.plan
        if self._thread and not self._leaving:
            ready = threading.Event()
            threading.Thread(target=self._prepare, args=(enrolment, ready), daemon=True, name="poet-start").start()
            ready.wait(FIRST_CALL_WAIT)
        elif not self._thread:
            self._prepare(enrolment, threading.Event())
        if cell.plan is None:
            cell.plan = self._declared(enrolment, cell)
        return cell.plan

    def _prepare(self, enrolment: Enrolment, ready: threading.Event) -> None:
        try:
            trainee = self.trainee(enrolment)
            enrolment.deliver(trainee.standing.live, Probe())
        except Exception as error:  # noqa: BLE001 - a fault in a store never breaks a call
            self._go_on_without(error)
        finally:
            ready.set()

    def _go_on_without(self, error: BaseException) -> None:
        """The store cannot be opened: learn in memory, say so once, show it in every status."""
        from poet.stores.memory import MemoryStore

        with self._lock:
            if self.trainer is None:
                trainer = Trainer(MemoryStore(), self.settings, self.clock, self.report)
                trainer.faults.add("store", error)
                self._begin(trainer)
            else:
                self.trainer.faults.add("store", error)

    def _declared(self, enrolment: Enrolment, cell: Cell) -> Plan:
        return cell.compile(ParameterSet(values_=enrolment.options.declared), Probe())

    def _enrol(self, trainer: Trainer, enrolment: Enrolment) -> Trainee:
        options = enrolment.options
        objective = options.objective or Objective()
        algorithm = options.learning_algorithm if options.enable_training else ""
        record = FunctionRecord(
            key=enrolment.key,
            domain=options.domain,
            learner=algorithm,
            declared=options.declared,
            objective=_as_numbers(objective),
            calls=0,
            failures=0,
            seconds=0.0,
            last_call=0.0,
            space=_bounds(options.space),
        )
        standing = trainer.store.register(record)
        draft = reconciled(standing, options, self.clock.wall())
        if draft is not None:
            try:
                standing = trainer.store.publish(enrolment.key, draft, expected=standing.generation)
            except StaleParameters:  # another process was faster
                standing = trainer.store.standing(enrolment.key)
        learner = None
        if options.enable_training:
            seed = self.coin.getrandbits(32)
            learner = make_learner(
                algorithm, objective, options.space, options.declared, seed, rate=options.learning_rate
            )
            state = trainer.store.load_learner(enrolment.key)
            if state is not None:
                try:
                    learner.load(state)
                except ValueError as error:
                    trainer.faults.add(f"what {enrolment.key.name} had learned cannot be read", error)
        trainee = Trainee(
            record=record,
            inbox=Inbox(enrolment.channel.records),
            tally=Tally(options.learning_rate),
            tracked=options.performance_tracking,
            learner=learner,
            history=options.collect_metrics,
            apply=self.settings.learning == "on",
            deliver=enrolment.deliver,
            standing=standing,
        )
        trainer.enroll(trainee)
        return trainee

    def _before_fork(self) -> None:
        self._lock.acquire()
        if self.trainer is not None:
            self.trainer.turn.acquire()

    def _after_fork_in_parent(self) -> None:
        if self.trainer is not None:
            self.trainer.turn.release()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        """The child has no trainer's thread, and its executions are its own: begin anew at the next call."""
        self._lock = threading.RLock()
        self.trainer = None
        for enrolment in self.enrolments.values():
            enrolment.channel.records.clear()
            for cell in list(enrolment.cells):
                cell.plan, cell.off = None, False


def build(
    settings: Settings | None = None,
    *,
    store: Store | None = None,
    clock: Clock = SYSTEM_CLOCK,
    thread: bool = True,
) -> Agent:
    """An agent of one's own, beside the default one. thread: train in the background; else by ``flush`` only."""
    fixed = settings
    return Agent(
        Settings.load if fixed is None else lambda: fixed,
        store=open_store if store is None else lambda _: store,
        clock=clock,
        thread=thread,
    )


def open_store(settings: Settings, readonly: bool = False) -> Store:
    """The store that the settings name. Raises StoreError."""
    path = store_path(settings)
    if path is None:
        from poet.stores.memory import MemoryStore

        return MemoryStore()
    from poet.stores.sqlite import SqliteStore

    return SqliteStore(Path(path), readonly=readonly)


def make_learner(
    algorithm: str,
    objective: Objective,
    space: Space,
    declared: Mapping[str, Value],
    seed: int,
    *,
    rate: float = 0.05,
) -> Learner:
    """A learner of this name. ``adaptive`` is the statistical one until strategies are selected."""
    if algorithm == "basic":
        from poet.learning.basic_rule import BasicRule

        return BasicRule(space=space, declared=declared)
    from poet.learning.online_learner import OnlineLearner

    return OnlineLearner(rate, objective=objective, space=space, declared=declared, seed=seed)


def learner_for(record: FunctionRecord, state: bytes | None) -> Learner:
    """The learner of a stored function, as it was left. Raises ValueError where ``state`` cannot be read."""
    values = {name: value for name, value in record.objective.items() if value is not None}
    options = Options()
    bounds = {name: _tunable(name, *pair) for name, pair in record.space.items()}
    learner = make_learner(
        record.learner or "adaptive",
        Objective(**values),
        Space(**{**options.space, **bounds}),
        {**options.declared, **record.declared},
        0,
    )
    if state is not None:
        learner.load(state)
    return learner


def reconciled(standing: Standing, options: Options, now: float) -> ParameterSet | None:
    """What should be live instead, now that the code says ``options``; None: all is well. now: Unix time [s].

    Who edits the declared values of a function that has not learned others means them. Learned values leave with the
    training. Nothing stays outside of bounds that were drawn closer.
    """
    live = standing.live
    declared = {**options.declared, **standing.pinned}
    if live.origin == "declared" and dict(live) != declared:
        values, reason = declared, "declared in the code"
    elif live.origin == "learned" and not options.enable_training:
        values, reason = declared, "training is switched off in the code"
    else:
        values, reason = {**live, **options.space.clip(live)}, "brought within the declared bounds"
    if values == dict(live):
        return None
    origin = live.origin if reason.startswith("brought") else "declared"
    return ParameterSet(values_=values, parent=live.version, origin=origin, reason=reason, created=now)


def _bounds(space: Space) -> dict[str, list[float]]:
    return {name: [t.low, t.high] for name, t in space.items() if isinstance(t, Real | Integer)}


def _tunable(name: str, low: float, high: float) -> Tunable:
    return Integer(int(low), int(high)) if name == "retries" else Real(low, high, log=low > 0)


def _host() -> str:
    if hasattr(os, "uname"):  # spares the import of socket
        return os.uname().nodename
    import socket

    return socket.gethostname()


def _as_numbers(objective: Objective) -> dict[str, float]:
    named = {name: getattr(objective, name) for name in ("value", "latency_cost", "attempt_cost", "success_target")}
    return {name: value for name, value in named.items() if value is not None}


def _with(reference: weakref.ref[Agent], step: Callable[[Agent], None]) -> None:
    agent = reference()
    if agent is not None:
        step(agent)


def _at_exit(reference: weakref.ref[Agent]) -> None:
    agent = reference()
    if agent is not None:
        agent.leave()
