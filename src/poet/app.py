"""All wiring: settings, store, learners, trainer and the functions that were decorated."""

from __future__ import annotations

import atexit
import os
import random
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from poet.calls.brakes import Brakes
from poet.calls.cell import Cell, Channel
from poet.calls.choosing import Chooser, Chosen, Perceptive, Reader, Scorer, Single, compiled
from poet.calls.dealing import Deal, by_block, by_coin
from poet.calls.declaring import OPERATIONAL, plain_annotations
from poet.calls.enforce import Enforcer
from poet.calls.listeners import Listeners
from poet.calls.perceive import Perceiver
from poet.calls.plan import Plan
from poet.calls.transient import classifier
from poet.calls.wrapper import Stages, refuse_what_cannot_be_wrapped, wrap
from poet.errors import (
    ConfigurationError,
    PoetError,
    StaleParameters,
    StoreAway,
    StoreCorrupt,
    StoreTooNew,
    StoreUnavailable,
    nearest,
)
from poet.learners import learner_of, of_all_calls, take_up
from poet.model.contexts import MARK, conditions, parts
from poet.model.dependency import Dependency
from poet.model.estimate import Estimate
from poet.model.event import ALARMING, Event, Kind
from poet.model.execution import Dealt
from poet.model.fixed import base_of, held
from poet.model.flag import ON
from poet.model.function import FunctionKey
from poet.model.objective import Goal, Objective
from poet.model.parameters import Origin, ParameterSet, Standing
from poet.model.phases import at, parted, timed
from poet.model.rollout import RolloutPolicy
from poet.model.tunable import Choice, Integer, Real, Space, Value
from poet.options import Options
from poet.relatives import Relatives, Subject
from poet.seams import SYSTEM_CLOCK, Clock, FunctionRecord, Incoming, Learner, Lot, Probe, ProcessReport, Store
from poet.settings import Settings, is_served, shown_store, store_path
from poet.training.trainee import Trainee
from poet.training.trainer import Faults, Trainer, complain, warn
from poet.training.trials import Trials
from poet.transfers import Transfers

FIRST_CALL_WAIT = 0.25  # longest time that a first call waits for what was learned before [s]
PLANNED = 0.925  # of a budget's share that learning plans hedges with: the rest is for retries, and for clusters
PATIENCE = 3.0  # longest wait of training for a server's answer [s]
EXIT_WAIT = 5.0  # longest time that leaving the interpreter waits for training [s]
USUAL_OBJECTIVE = Objective()  # where none is declared
NO_GOALS: Mapping[str, Mapping[str, float]] = MappingProxyType({})


class Enrolment:
    """One function, by its key; decorated twice, it is still one function with one channel and one learner."""

    __slots__ = ("_more", "_one", "brakes", "channel", "first", "function", "key", "options")

    def __init__(
        self,
        key: FunctionKey,
        options: Options,
        channel: Channel,
        brakes: Brakes,
        function: Callable[..., Any] | None = None,
    ) -> None:
        """function: what was decorated; None: it is only told of."""
        self.key, self.options, self.channel, self.brakes = key, options, channel, brakes
        self.function = function
        self.first = 0  # sequence of the first call that the trainer of now is to hear of
        # Its wrappers: nearly always one, which is kept, as a weak reference in a list takes 0.2 kB.
        self._one: Cell | None = None
        self._more: list[weakref.ref[Cell]] | None = None

    def add(self, cell: Cell) -> None:
        """``cell`` is another of the function's wrappers."""
        if self._one is None:
            self._one = cell
            return
        # Those alive. A list, as it grows, shrinks and is copied in one step each, while other threads add variants.
        more = self._more
        if more is None:
            more = self._more = []
        more.append(weakref.ref(cell, more.remove))

    @property
    def cells(self) -> list[Cell]:
        """The first, and all others that are alive."""
        cells = [] if self._one is None else [self._one]
        return cells + [cell for reference in (self._more or [])[:] if (cell := reference()) is not None]

    @property
    def record(self) -> FunctionRecord:
        """What a store keeps of it."""
        options = self.options
        return FunctionRecord(
            key=self.key,
            domain=options.domain,
            learner=options.learning_algorithm if options.enable_training else "",
            declared=options.declared,
            objective=_as_numbers(options.objective or USUAL_OBJECTIVE),
            calls=0,
            failures=0,
            seconds=0.0,
            last_call=0.0,
            space=_bounds(options.space),
            choices=_choices(options.space),
            goals={name: _as_numbers(goal) for name, goal in options.goals.items()} if options.goals else NO_GOALS,
        )

    def subject(self) -> Subject:
        """What others may know of it."""
        return Subject(self.record, self.function)

    @property
    def dependency(self) -> str:
        """What it calls."""
        return self.brakes.name

    @property
    def rate(self) -> float:
        """Weight of the newest execution in the moving averages, in (0, 1] [1]."""
        return self.options.learning_rate

    @property
    def tracked(self) -> bool:
        """Whether it is counted for ``f.poet.status()``."""
        return self.options.performance_tracking

    @property
    def kept(self) -> bool:
        """Whether its executions are stored."""
        return self.options.collect_metrics

    @property
    def rollout(self) -> RolloutPolicy | Literal["direct"] | None:
        """How new versions that were learned reach its calls; None: as the settings say."""
        return self.options.rollout

    def begin_anew(self) -> None:
        """The next call asks for its plan, and a new trainer counts from it."""
        self.first = self.channel.count() + 1
        for cell in self.cells:
            cell.plan = cell.deal = None
            cell.off = False

    def deliver(self, parameters: ParameterSet, probe: Probe, lot: Lot | None = None) -> None:
        """Hand parameters down to every wrapper of the function; where there is a ``lot``, plans to draw from.

        Wrappers that hold values whatever is live take no part in it.
        """
        for cell in self.cells:
            if lot is None or cell.fixed:
                cell.plan = cell.compile(parameters, probe)
                cell.deal = None
            else:
                cell.deal = _dealt(cell, lot)
                cell.plan = None


def _dealt(cell: Cell, lot: Lot) -> Deal:
    plans = [
        cell.compile(arm.parameters.changed(version=Dealt(arm.parameters.version, arm.share)), arm.probe)
        for arm in lot.arms
    ]
    shares = [arm.share for arm in lot.arms]
    if lot.block:
        return by_block(plans, shares, cell.clock.wall, seconds=lot.block, seed=lot.seed)
    return by_coin(plans, shares, cell.flip)


class _Shared(NamedTuple):
    """What an agent lends to all its functions."""

    now: Callable[[], float]
    start: Callable[[Cell], Plan | None]
    compiler: Callable[[Cell, ParameterSet, Probe], Plan]
    flip: Callable[[], float]
    tell: Callable[[Event], None]


class Decorated(NamedTuple):
    """What decorating a function gives."""

    call: Callable[..., Any]
    cell: Cell
    options: Options


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
        self._faults = Faults()  # of what happens while no trainer counts them
        self.listeners = Listeners(self.fault)
        self.relatives = Relatives(self.fault)
        self.transfers = Transfers(self.relatives, self.introduce, self._asks_relatives)
        self.dependencies: dict[str, Brakes] = {}  # by name, those that were declared
        self._budgets = threading.RLock()  # one for those of all functions
        self.attempts: int | None = None  # in users' tests: most attempts of a call
        self._hooked = False  # whether the process's end and its forks are prepared for
        # Bound once: all functions hold the same ones.
        self._shared = _Shared(
            clock.now,
            self._start,
            self._compiled,
            self.coin.random,
            self.listeners.tell,
        )

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
        refuse_what_cannot_be_wrapped(function)
        fitted = options.fitted(function)
        key = FunctionKey.of(function, options.name, plain_annotations(function, fitted.own) if fitted.own else {})
        options = fitted.unnamed()
        enrolment = self.enrolments.get(key)
        if enrolment is None or options.dependency is not None:
            brakes = self.brakes(options.dependency, key.name)
        else:
            brakes = enrolment.brakes
        if enrolment is None:
            keep = options.enable_training or options.collect_metrics
            channel = Channel(self._buffer_size() if keep else 0)
            enrolment = self.enrolments.setdefault(key, Enrolment(key, options, channel, brakes, function))
        brakes.bucket.measure(enrolment.channel)
        cell = self._cell(enrolment, options, brakes, {}, self._chooser(function, key.name, options))
        return Decorated(self._wrapped(function, options, cell), cell, options)

    def variant(
        self, function: Callable[..., Any], known: Cell, options: Options, values: Mapping[str, Value]
    ) -> Decorated:
        """``function``, decorated before, with ``values`` in place of the live ones. Raises ConfigurationError."""
        fixed = self.checked(known, options, values)
        cell = self._cell(known.owner, options, known.brakes, fixed, known.chooser)
        return Decorated(self._wrapped(function, options, cell), cell, options)

    def _chooser(self, function: Callable[..., Any], name: str, options: Options) -> Chooser | None:
        """What its calls use and tell beside their plan; None: nothing."""
        perceptive = options.perceive is not None
        if not (options.own or perceptive or options.context is not None or options.score is not None):
            return None
        fault = self.fault
        reader = scorer = None
        if options.context is not None:
            context = options.context if callable(options.context) else options.features(function)
            reader = Reader(name, context, fault)
        if options.score is not None:
            scorer = Scorer(name, options.score, options.goals, fault)
        make: Callable[..., Chooser] = Chooser
        if reader is None and scorer is None and not options.own:
            make = Perceptive
        elif reader is None and not perceptive and len(options.own or ()) == 1:
            make = Single
        return make(
            name,
            own=options.own or (),
            perceptive=perceptive,
            reader=reader,
            scorer=scorer,
            flip=self._shared.flip,
            fault=fault,
        )

    def checked(self, cell: Cell, options: Options, values: Mapping[str, object]) -> dict[str, Value]:
        """``values`` that a person wants to hold. Raises ConfigurationError off the bounds.

        Those for some contexts only need a function that knows them.
        """
        for given in values:
            name = parted(given)[0]  # hours of the day hold for any function
            if MARK not in name:
                continue
            if options.context is None and options.perceive is None:
                raise ConfigurationError(
                    f"{cell.name} has no contexts: say {base_of(name)!r} in place of {name!r}, or declare context="
                )
            if options.context is None or callable(options.context) or options.perceive is not None:
                continue  # what features there will be is not known here
            known = (options.context,) if isinstance(options.context, str) else options.context
            for condition in conditions(parts(name)[1]):
                if condition.feature not in known:
                    hint = nearest(condition.feature, known)
                    raise ConfigurationError(f"{name!r}: no feature {condition.feature!r}: {hint}")
        return options.space.check(values)

    def _cell(
        self,
        enrolment: Enrolment,
        options: Options,
        brakes: Brakes,
        fixed: Mapping[str, Value],
        chooser: Chooser | None,
    ) -> Cell:
        """fixed: values that hold whatever is live."""
        shared = self._shared
        cell = Cell(
            enrolment.key.name,
            enrolment.channel,
            owner=enrolment,
            clock=self.clock,
            now=shared.now,
            classify=classifier(options.retry_on),
            start=shared.start,
            compiler=shared.compiler,
            flip=shared.flip,
            brakes=brakes,
            tell=shared.tell,
            space=options.space,
            deadline=options.deadline,
            fixed=fixed,
            idempotent=options.idempotent,
            cost_limit=options.cost_limit,
            chooser=chooser,
            hedges=options.hedging,
        )
        enrolment.add(cell)
        return cell

    def _compiled(self, cell: Cell, parameters: ParameterSet, probe: Probe) -> Plan:
        said = parameters
        if any(timed(name) for name in parameters):
            parameters = parameters.changed(values_=at(parameters, self.clock.wall()))
        if cell.fixed:
            parameters, probe = parameters.changed(values_=held(parameters, cell.fixed)), Probe()
        if self.attempts is not None:
            most = self.attempts - 1
            calm = {**parameters, "hedges": 0}
            for name in {"retries", *(name for name in parameters if base_of(name) in ("retries", "hedges"))}:
                calm[name] = min(most, int(parameters.number(name))) if base_of(name) == "retries" else 0
            parameters, probe = parameters.changed(values_=calm), Probe()
        instant, chooser = self.attempts is not None, cell.chooser
        if chooser is None:
            return Plan(parameters, cell.space, probe, cell.deadline, instant=instant)
        return compiled(
            chooser,
            parameters,
            said,
            probe.policy,
            lambda values: Chosen(values, cell.space, probe, cell.deadline, instant=instant),
        )

    def _wrapped(self, function: Callable[..., Any], options: Options, cell: Cell) -> Callable[..., Any]:
        perceive, refine = _domain_checks(function, options)
        perceiver = enforcer = normal = None
        if perceive is not None and options.own:  # it sees what the function gets, learned values included
            normal, perceive = Perceiver(cell.name, None, perceive), None
        if options.perceive is not None or perceive is not None:
            perceiver = Perceiver(cell.name, options.perceive, perceive)
        if options.enforce is not None or options.repeat or refine is not None:
            enforcer = Enforcer(
                cell.name, enforce=options.enforce, refine=refine, repeat=options.repeat, cost=options.cost
            )
        stages = Stages(
            mode=options.enforce_timeout,
            timeout_arg=options.timeout_arg,
            key_arg=options.key_arg,
            perceiver=perceiver,
            normal=normal,
            enforcer=enforcer,
            repeats=bool(options.repeat),
            between=options.item_timeout,
        )
        return wrap(function, cell, stages)

    def brakes(self, dependency: str | Dependency | None, function: str) -> Brakes:
        """What all callers of ``dependency`` share; without one, what ``function`` has for itself.

        Raises ConfigurationError where it was declared before, otherwise.
        """
        if dependency is None:
            return Brakes(function, self.clock.now(), self.listeners.tell, self._budgets)
        name = dependency if isinstance(dependency, str) else dependency.name
        known = self.dependencies.get(name)
        if known is None:
            spec = Dependency(name) if isinstance(dependency, str) else dependency
            known = self.dependencies.setdefault(
                name, Brakes(spec, self.clock.now(), self.listeners.tell, self._budgets)
            )
        if isinstance(dependency, Dependency) and dependency != known.spec:
            raise ConfigurationError(
                f"the dependency {name!r} was declared before as {known.spec!r}: declare it once, before the first "
                "function that names it, and hand it to all its callers"
            )
        return known

    def set_testing(self, attempts: int | None) -> None:
        """From now on: no pauses, no hedges, at most ``attempts`` per call, nothing learned or stored. None: as usual.

        Raises ConfigurationError.
        """
        if attempts is not None and (isinstance(attempts, bool) or not isinstance(attempts, int) or attempts < 1):
            raise ConfigurationError(f"attempts must be a whole number >= 1, got {attempts!r}")
        with self._lock:
            self.close()
            self.attempts = attempts
            for enrolment in list(self.enrolments.values()):
                enrolment.channel.records.clear()
            self._renew_brakes()

    def fault(self, where: str, error: BaseException) -> None:
        """Count what went wrong beside a call, and say it once."""
        trainer = self.trainer
        if trainer is not None:
            trainer.faults.add(where, error)
        else:
            self._faults.add(where, error)

    def open(self) -> Trainer:
        """Open the store and begin to train. Raises StoreError; then nothing has changed."""
        with self._lock:
            if self.trainer is None:
                settings = self.settings
                store = self._store_for_tests() if self.attempts is not None else self._make_store(settings)
                self._begin(self._trainer(store, settings))
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
                trainer = self._trainer(self._make_store(settings), settings)
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
            if trainer is not None:
                trainer.stop(EXIT_WAIT)
                self.introduce(trainer)
                self.relatives.forget()
                trainer.store.close()
            for enrolment in list(self.enrolments.values()):
                enrolment.begin_anew()

    def introduce(self, trainer: Trainer) -> None:
        """Keep in the store what this process's functions are like, where that is due."""
        if self.attempts is None and trainer.trainees and not trainer.store.away:
            own = [each for key in list(trainer.trainees) if (each := self.enrolments.get(key)) is not None]
            embedding = trainer.settings.embedding
            self.relatives.introduce(trainer.store, [each.subject for each in own], embedding=embedding)

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

    @property
    def _threaded(self) -> bool:
        return self._thread and self.attempts is None

    def _store_for_tests(self) -> Store:
        from poet.stores.memory import MemoryStore

        return MemoryStore()

    def _trainer(self, store: Store, settings: Settings) -> Trainer:
        return Trainer(
            store,
            settings,
            self.clock,
            self.report,
            self.listeners.tell_finished,
            Trials(self._arm_learner, self.report, self._told, self._automatic, self._on_paper),
            errand=self.introduce,
            attend=self.transfers.attend if self.attempts is None else None,
            folder=local_folder(settings) if is_served(settings) and self.attempts is None else None,
        )

    def _arm_learner(self, trainee: Trainee, given: Mapping[str, Value]) -> Learner:
        """The learner of an experiment's arm: as the function's own, but for what was said of it."""
        enrolment = self.enrolments[trainee.key]
        changes: dict[str, Any] = {"learning_algorithm" if name == "learner" else name: x for name, x in given.items()}
        options = replace(enrolment.options, **changes)
        budget = PLANNED * enrolment.brakes.spec.budget.share
        return learner_of(options, options.objective or USUAL_OBJECTIVE, self.coin.getrandbits(32), budget)

    def _on_paper(self, trainee: Trainee, version: ParameterSet, since: float) -> Estimate | None:
        """What the calls recorded since a moment would have gained under ``version``, by replay; None: unknown."""
        from poet.learning import replay as replays  # here: it loads the maths

        record = trainee.subject.record
        values = {name: value for name, value in version.items() if name in replays.USUAL}
        online = of_all_calls(trainee.learner)
        objective = None if online is None else online.explain(trainee.standing.live).objective
        wanted = replays.wanted(values, version, record.space)
        return replays.of_store(self.open().store, record, wanted, objective, since=since).gain

    def _automatic(self, trainee: Trainee) -> bool:
        """Whether roll-outs of the function go on to all calls without a person."""
        trainer = self.trainer
        return trainer is None or trainer.flags.value("rollout.auto", trainee.key.name) == ON

    def _asks_relatives(self, key: FunctionKey) -> bool:
        """Whether a new function asks those that are like it for what they have learned."""
        enrolment = self.enrolments.get(key)
        return enrolment is not None and enrolment.options.enable_cross_function_learning

    def _told(self, kind: Kind, trainee: Trainee, detail: str) -> None:
        """Something has happened to a function's versions: listeners hear of it, and harm is logged."""
        name = trainee.key.name
        self.listeners.tell(Event(kind, name, trainee.subject.dependency, detail=detail))
        version = trainee.standing.canary or trainee.standing.live
        if kind == "rolled_back" and version.origin == "transfer" and self.trainer is not None:
            self.transfers.harmed(self.trainer, trainee, detail)
        if kind in ALARMING:
            warn(kind.replace("_", " "), name, detail)

    def _begin(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.writer = os.urandom(4).hex()  # not before: a server may have forked since the import
        if trainer.settings.seed is None:
            self.coin.seed()
        if not self._hooked:
            self._hooked = True
            self._hook()
        if self._threaded:
            trainer.start()

    def _hook(self) -> None:
        """Prepare for the process's end and for forks.

        Not before the store is open: what is registered later takes its locks first, and a round of training takes the
        trainer's lock before the store's.
        """
        reference = weakref.ref(self)
        atexit.register(_with, reference, Agent.leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=lambda: _with(reference, Agent._before_fork),
                after_in_parent=lambda: _with(reference, Agent._after_fork_in_parent),
                after_in_child=lambda: _with(reference, Agent._after_fork_in_child),
            )

    def _start(self, cell: Cell) -> Plan | None:
        """The plan of a call that finds none: by lot, where several are tried; else it is the function's first call.

        Then what was learned before is waited for, but not for long.
        """
        if (deal := cell.deal) is not None:
            return deal()
        if (plan := cell.plan) is not None:  # the lots have just ended
            return plan
        enrolment: Enrolment = cell.owner
        try:
            if self.settings.learning == "off":
                cell.off = True
                return None
        except PoetError as error:
            cell.plan = self._declared(enrolment, cell)
            complain("POET's settings are wrong, functions use their declared parameters: %s", error)
            return cell.plan
        if self._threaded and not self._leaving:
            ready = threading.Event()
            threading.Thread(target=self._prepare, args=(enrolment, ready), daemon=True, name="poet-start").start()
            ready.wait(FIRST_CALL_WAIT)
        elif not self._threaded:
            self._prepare(enrolment, threading.Event())
        if (deal := cell.deal) is not None:
            return deal()
        if cell.plan is None:
            cell.plan = self._declared(enrolment, cell)
        return cell.plan

    def _prepare(self, enrolment: Enrolment, ready: threading.Event) -> None:
        try:
            self._enlist(enrolment)
        except Exception as error:  # noqa: BLE001 - a fault in a store never breaks a call
            self._go_on_without(error)
            try:
                self._enlist(enrolment)
            except Exception as again:  # noqa: BLE001
                self.fault("store", again)
        finally:
            ready.set()

    def _enlist(self, enrolment: Enrolment) -> None:
        """Let the function be trained, and hand down what holds."""
        trainee = self.trainee(enrolment)
        with self._lock:  # another configuration may have come meanwhile: its own trainer is asked at the next call
            if self.trainer is not None and self.trainer.trainees.get(enrolment.key) is trainee:
                self.trainer.deliver(trainee)

    def _go_on_without(self, error: BaseException) -> None:
        """The store cannot be opened: learn without it, say so once, show it in every status.

        It is tried again now and then where it may yet be there. What a person must mend is not: then all is in memory.
        """
        with self._lock:
            if self.trainer is None:
                trainer = self._trainer(self._substitute(error), self.settings)
                trainer.faults.add("store", error)
                self._begin(trainer)
            else:
                self.trainer.faults.add("store", error)

    def _substitute(self, error: BaseException) -> Store:
        if isinstance(error, StoreUnavailable) and not isinstance(error, StoreCorrupt | StoreTooNew):
            from poet.stores.steady import SteadyStore

            settings = self.settings
            return SteadyStore(lambda: self._make_store(settings), error.location, None, clock=self.clock, cause=error)
        from poet.stores.memory import MemoryStore

        return MemoryStore()

    def _declared(self, enrolment: Enrolment, cell: Cell) -> Plan:
        return cell.compile(ParameterSet(values_=enrolment.options.declared), Probe())

    def _enrol(self, trainer: Trainer, enrolment: Enrolment) -> Trainee:
        options = enrolment.options
        objective = options.objective or USUAL_OBJECTIVE
        record = enrolment.record
        standing = trainer.store.register(record)
        standing = self._forebears(record, standing, trainer.store, trainer.settings.root) or standing
        draft = reconciled(standing, options, self.clock.wall())
        drafted = False  # whether the live version is one that the store does not have yet
        if draft is not None:
            try:
                standing = trainer.store.publish(enrolment.key, draft, expected=standing.generation)
            except StaleParameters:  # another process was faster
                standing = trainer.store.standing(enrolment.key)
            except StoreAway:
                standing, drafted = standing._replace(live=draft), True
        learner, told = None, 0
        if options.enable_training and self.attempts is None:
            seed = self.coin.getrandbits(32)
            learner = learner_of(options, objective, seed, PLANNED * enrolment.brakes.spec.budget.share)
            state = trainer.store.load_learner(enrolment.key)
            if state is not None:
                try:
                    take_up(learner, state)
                    told = hash(state)
                except ValueError as error:
                    trainer.faults.add(f"what {enrolment.key.name} had learned cannot be read", error)
        channel = enrolment.channel
        trainee = Trainee(enrolment, learner, standing, trainer.rest, channel.records, enrolment.first, channel.buffer)
        trainee.draft, trainee.told = drafted, told
        trainer.enroll(trainee)
        return trainee

    def _forebears(self, record: FunctionRecord, standing: Standing, store: Store, root: Path) -> Standing | None:
        """What holds once a function that is new here has what the original POET had learned; None: it left nothing."""
        live = standing.live
        if not record.learner or (live.version, live.origin) != (1, "declared") or standing.paused or standing.pinned:
            return None
        from poet.stores.legacy_files import may_have_parameters

        key, space = record.key, record.space
        home = Path(os.path.expanduser("~"))  # not Path.home(): that raises where nobody has one
        if not may_have_parameters(key.qualname, record.domain, root, home):
            return None
        from poet.stores.legacy_json import draft_of, legacy_parameters

        found = legacy_parameters(key.qualname, record.domain, root, home, declared=record.declared, space=space)
        draft = None if found is None else draft_of(found, live)
        try:
            if draft is None or len(store.versions(key)) > 1:  # had it once, and went back
                return None
            return store.bring_in([Incoming(record, draft, None, standing.generation)])[0]
        except StaleParameters:  # another process was faster
            return store.standing(key)
        except StoreAway:
            return None

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
        self._renew_brakes()
        for enrolment in self.enrolments.values():
            enrolment.channel.records.clear()
            enrolment.begin_anew()

    def _renew_brakes(self) -> None:
        """Those of functions, and of dependencies: a function that is decorated twice may have named several."""
        known = (*(enrolment.brakes for enrolment in list(self.enrolments.values())), *list(self.dependencies.values()))
        self._budgets = threading.RLock()
        for brakes in {id(brakes): brakes for brakes in known}.values():
            brakes.renew(self.clock.now(), self._budgets)


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
    """The store that the settings name. Raises StoreError, and ConfigurationError where a driver is missing.

    readonly: for onlookers, who change nothing. Around a server's store stands one that goes on without it.
    """
    if is_served(settings):
        return _served_store(settings, readonly)
    path = store_path(settings)
    if path is None:
        from poet.stores.memory import MemoryStore

        return MemoryStore()
    from poet.stores.sqlite import SqliteStore

    return SqliteStore(Path(path), readonly=readonly)


def _served_store(settings: Settings, readonly: bool) -> Store:
    from poet.stores.postgres import PostgresStore
    from poet.stores.postgres.faults import may_pass
    from poet.stores.steady import SteadyStore

    return SteadyStore(
        lambda: PostgresStore(
            settings.store, tenant=settings.tenant, readonly=readonly, patience=PATIENCE, poll=settings.poll_interval
        ),
        shown_store(settings),
        local_folder(settings),
        may_pass=may_pass,
        back_stop=settings.poll_interval,
        onlooker=readonly,
    )


def local_folder(settings: Settings) -> Path:
    """Where this host keeps what it knows of a server's store."""
    from hashlib import blake2b

    told = f"{shown_store(settings)}\0{settings.tenant}"
    return settings.root / ".poet" / "away" / blake2b(told.encode(), digest_size=8).hexdigest()


def reconciled(standing: Standing, options: Options, now: float) -> ParameterSet | None:
    """What should be live instead, now that the code says ``options``; None: all is well. now: Unix time [s].

    Who edits the declared values of a function that has not learned others means them. Learned values leave with the
    training. Nothing stays outside of bounds that were drawn closer. A parameter that is no tunable any more, or an
    option that is none, leaves with what was learned of it; one that is new begins with its default.
    """
    live = standing.live
    pinned, _ = _fitting(standing.pinned, options)
    declared = held(options.declared, pinned)
    fitting, lost = _fitting(live, options)
    if live.origin == "declared" and dict(live) != declared:
        values, reason = declared, "declared in the code"
    elif live.origin == "learned" and not options.enable_training:
        values, reason = declared, "training is switched off in the code"
    else:
        values = {**{own.name: own.default for own in options.own or ()}, **fitting}
        reason = "brought within the declared bounds"
        new = [name for name in values if name not in live and name not in lost]
        if lost or new:
            reason = "; ".join(
                [f"{name} {live[name]!r} is dropped: {why}" for name, why in lost.items()]
                + [f"{name} is new" for name in new]
            )
    if values == dict(live):
        return None
    origin: Origin = "declared" if reason.endswith("in the code") else live.origin
    return ParameterSet(values_=values, parent=live.version, origin=origin, reason=reason, created=now)


def _fitting(values: Mapping[str, Value], options: Options) -> tuple[dict[str, Value], dict[str, str]]:
    """Those that the code still has, within its bounds; and why the others are dropped, by name."""
    space = options.space
    kept: dict[str, Value] = {}
    lost: dict[str, str] = {}
    for name, value in values.items():
        tunable = space.get(base_of(name))
        if tunable is None:
            if base_of(name) in OPERATIONAL:  # of hedges that the function cannot have for now
                kept[name] = value
            else:
                lost[name] = "no tunable any more"
        elif isinstance(tunable, Choice):
            if any(value == each and type(value) is type(each) for each in tunable.options):
                kept[name] = value
            else:
                lost[name] = "no option any more"
        elif isinstance(value, bool | str):
            lost[name] = "no number"
        else:
            kept[name] = space.clip({name: value})[name]
    return kept, lost


def _domain_checks(function: Callable[..., Any], options: Options) -> tuple[Callable[..., Any] | None, ...]:
    """What the function's domain does to arguments and to results. Raises ConfigurationError."""
    if options.domain is None:
        return None, None
    import inspect

    from poet.domains import resolve

    domain = resolve(options.domain)
    if domain is None:  # a label
        return None, None
    perceive, enforce = domain.for_function(inspect.signature(function))
    streams = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)
    return perceive, None if streams else enforce


@lru_cache
def _bounds(space: Space) -> Mapping[str, Sequence[float]]:
    """Lowest and highest; the same object for the same space, as many functions share it."""
    return MappingProxyType({n: (t.low, t.high) for n, t in space.items() if isinstance(t, Real | Integer)})


def _choices(space: Space) -> Mapping[str, Sequence[Value]]:
    """Options by name."""
    return MappingProxyType({n: t.options for n, t in space.items() if isinstance(t, Choice)})


def _host() -> str:
    if hasattr(os, "uname"):  # spares the import of socket
        return os.uname().nodename
    import socket

    return socket.gethostname()


@lru_cache
def _as_numbers(objective: Objective | Goal) -> Mapping[str, float]:
    """The same object for the same objective, as many functions share it."""
    named = {each.name: getattr(objective, each.name) for each in fields(objective)}
    return MappingProxyType({name: value for name, value in named.items() if value is not None})


def _with(reference: weakref.ref[Agent], step: Callable[[Agent], None]) -> None:
    agent = reference()
    if agent is not None:
        step(agent)
