"""The face that users meet: ``@poet``, the handle ``f.poet``, and the default agent behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

from poet.app import Agent, Decorated, build
from poet.errors import ConfigurationError, StoreAway, UnknownArgument, nearest
from poet.learners import explained, of_all_calls
from poet.model.dependency import Dependency
from poet.model.execution import Execution, Feedback, from_record
from poet.model.explanation import Explanation
from poet.model.fixed import spread
from poet.model.flag import DEFAULTS, OFF
from poet.model.function import FunctionKey
from poet.model.gains import Gains, Overhead
from poet.model.objective import Goal, Objective, scored
from poet.model.parameters import Change, ParameterSet, Standing
from poet.model.replay import Replay
from poet.model.rollout import KIND, Rollout, RolloutPolicy
from poet.model.tunable import Integer, Real, Tunable, Value
from poet.options import RETRIES, TIMEOUT, USABLE, Algorithm, Options
from poet.seams import Probe, Store
from poet.settings import Settings, person
from poet.training.by_hand import promote, withdraw
from poet.training.orders import ordering
from poet.training.rollback import roll_back
from poet.transfers import told

if TYPE_CHECKING:
    from poet.app import Enrolment
    from poet.calls.choosing import Score
    from poet.calls.enforce import Enforce
    from poet.calls.listeners import Callback
    from poet.calls.perceive import Perceive
    from poet.calls.transient import RetryOn
    from poet.calls.wrapper import Mode
    from poet.learning.online_learner import OnlineLearner
    from poet.model.experiment import Experiment
    from poet.model.likeness import SimilarFunction
    from poet.training.trainee import Trainee

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")

_default = build()


class Handle:
    """``f.poet``: what a decorated function knows of itself, and the levers."""

    __slots__ = ("_agent", "_cell", "_function", "_options")

    def __init__(self, agent: Agent, function: Callable[..., Any], decorated: Decorated) -> None:
        self._agent, self._function = agent, function
        self._cell, self._options = decorated.cell, decorated.options

    @property
    def name(self) -> str:
        """What the command line calls this function."""
        return self._enrolment.key.name

    @property
    def key(self) -> FunctionKey:
        """Who the function is, in the store."""
        return self._enrolment.key

    @property
    def parameters(self) -> ParameterSet:
        """The live values: a mapping that never changes; ask again for newer ones."""
        plan = self._cell.plan
        if plan is not None:
            return plan.parameters
        if self._agent.settings.learning == "off":
            return ParameterSet(values_=self._enrolment.options.declared)
        return self._cell.compile(self._trainee.standing.live, Probe()).parameters

    @property
    def last(self) -> Execution | None:
        """This context's last call of the function; None where it made none, or measuring is off."""
        record = self._enrolment.channel.last.get()
        if record is None:
            return None
        clock = self._agent.clock
        return from_record(record, self._agent.writer, clock.wall() - clock.now())

    def status(self) -> dict[str, Any]:
        """State, counts and moving averages since this process began, and faults of training in this process.

        ``training_seconds``: CPU that training has taken here, of all functions [s]; ``training_executions``: for so
        many executions.
        """
        trainee = self._trainee
        trainer = self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            online = of_all_calls(trainee.learner)
            tally, standing = trainee.tally, trainee.standing
            return {
                "function": self.name,
                "state": self._state(trainee),
                "calls": tally.calls,
                "failures": tally.failures,
                "requests": tally.requests,
                "hedges": tally.hedges,
                "shed": tally.shed,
                "success": tally.success,
                "seconds": tally.seconds,
                "parameters": dict(standing.live),
                "version": standing.live.version,
                "reason": standing.live.reason,
                "pinned": dict(standing.pinned),
                "paused": standing.paused,
                "trying": next(({"kind": each.kind, "name": each.name} for each in standing.steering), None),
                "converged": self._converged(trainee, online),
                "listening": 0 if online is None else online.listening,
                "dependency": self._brakes(),
                "transfers": told(trainer, trainee.key),
                "store": trainer.store.url,
                "away": trainer.store.away or None,
                "dropped": trainer.dropped,
                "exploration": getattr(trainee.learner, "exploration", None),
                "feedback_lost": trainee.feedback_lost,
                "feedback_waiting": trainee.feedback_waiting,
                "training_seconds": trainer.spent,
                "training_executions": trainer.taken_in,
                "faults": trainer.faults.count,
                "last_fault": trainer.faults.last,
            }

    def explain(self) -> Explanation:
        """Why these values, in words and figures. Raises ConfigurationError where the function does not learn."""
        trainee = self._trainee
        trainer = self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            learner = trainee.learner
            if learner is None:
                raise ConfigurationError(f"{self.name} does not learn: decorate it with enable_training=True")
            return explained(learner, trainee.standing.live, self._agent.clock.wall())

    def replay(self, *, since: float = 0.0, **values: Value) -> Replay:
        """What other parameters would have made of the recorded calls: ``f.poet.replay(timeout=2.0, retries=1)``.

        values: ``timeout`` [s], ``retries``, ``backoff`` [s], ``hedges``, ``hedge_delay`` [s]; those that are not given
        are the live ones. since: only calls that started then or later, Unix time [s].
        Raises ConfigurationError where a value is none of these or off the bounds, StoreError where no call can be had.
        """
        from poet.learning import replay  # here: it loads the maths

        trainee = self._trainee
        trainer = self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            key, live, learner = trainee.key, trainee.standing.live, trainee.learner
            objective = None if learner is None else learner.explain(live).objective
        store = trainer.store
        record = next(record for record in store.functions() if record.key == key)
        return replay.of_store(store, record, replay.wanted(values, live, record.space), objective, since=since)

    def similar(self, top: int = 5) -> list[SimilarFunction]:
        """The functions of the store whose learning is likeliest to help this one, best first, each with its reasons.

        top: how many at most, >= 1. Raises ConfigurationError, StoreUnavailable.
        """
        key = self._trainee.key
        trainer = self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
        self._agent.introduce(trainer)
        return self._agent.relatives.registry(trainer.store).find_similar_functions(key, top=top)

    def gains(self, *, since: float = 0.0) -> Gains:
        """What learning has gained on the recorded calls, against the declared values, and what it cost.

        since: only calls that started then or later, Unix time [s]. It takes a second or more.
        Raises StoreError where no call can be had.
        """
        from poet.learning.analytics import report  # here: it loads the maths

        trainee = self._trainee
        trainer = self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            key, live, learner = trainee.key, trainee.standing.live, trainee.learner
            objective = None if learner is None else learner.explain(live).objective
            spent, taken = trainer.spent, trainer.taken_in
        store = trainer.store
        record = next(record for record in store.functions() if record.key == key)
        overhead = Overhead(spent, taken, _own_cost())
        return report.of_store(store, record, objective, since=since, overhead=overhead)

    def feedback(self, score: float | Mapping[str, float], execution_id: str | None = None) -> None:
        """Say what an execution was worth, 0 worst .. 1 best; it may come late, and of several the last counts.

        score: where there are ``goals``, numbers by their names, each on its goal's scale; some now and others later.
        execution_id: ``last.id`` as it was then; None: this context's last execution. The score is kept with the
        execution, in the store. Raises ConfigurationError.
        """
        value, goals = scored(score, self._enrolment.options.goals)
        if execution_id is None:
            last = self.last
            if last is None:
                raise ConfigurationError(f"{self.name}: no execution in this context yet; say which with execution_id")
            execution_id = last.id
        writer, mark, number = execution_id.rpartition("-") if isinstance(execution_id, str) else ("", "", "")
        if not (writer and mark and number.isascii() and number.isdecimal()):
            raise ConfigurationError(f"execution_id must be like '1a2b3c4d-7', got {execution_id!r}")
        trainee = self._trainee
        with self._agent.open().turn:
            trainee.said(Feedback(writer, int(number), value, self._agent.clock.wall(), goals))

    def versions(self) -> list[ParameterSet]:
        """All versions of the parameters, oldest first."""
        key = self._trainee.key
        return self._agent.open().store.versions(key)

    def history(self) -> list[Change]:
        """Who changed what, when and why, oldest first."""
        key = self._trainee.key
        return self._agent.open().store.history(key)

    def rollback(self, to: int | None = None, reason: str = "by hand") -> ParameterSet:
        """Make an older version live (default: the parent of the live one) and pause learning; ``resume`` ends that.

        What is open of a roll-out or an experiment ends with it. While a server's store is away, this host's processes
        follow, and the server gets it when it is back; so with ``pause`` and ``resume``. Raises UnknownVersion.
        """
        trainee, trainer = self._trainee, self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            now = self._agent.clock.wall()
            standing = self._by_hand(
                lambda store: roll_back(store, trainee.key, to, author=person(), reason=reason, at=now)
            )
            trainer.adopt(trainee.key, standing)
        return standing.live

    def rollouts(self) -> list[Rollout]:
        """How new versions reached, or reach, the calls, oldest first. Raises StoreError."""
        trainee, trainer = self._trainee, self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            return [Rollout.of(document) for document in trainer.store.documents(KIND, trainee.key)]

    def promote(self, reason: str = "by hand") -> ParameterSet:
        """All calls get the version that is being rolled out, now. Raises ConfigurationError where there is none."""
        return self._stepped(promote, reason)

    def withdraw(self, reason: str = "by hand") -> ParameterSet:
        """All calls get the version of before the roll-out. Raises ConfigurationError where there is none."""
        return self._stepped(withdraw, reason)

    def pin(self, **values: Value) -> ParameterSet:
        """Fix values from the next call on; learning leaves them alone. Raises ConfigurationError off the bounds.

        For calls in one context only: ``f.poet.pin(**{"timeout@region=eu": 1.0})``.
        """
        fixed = self._agent.checked(self._cell, self._options, values)
        standing = self._trainee.standing
        return self._steer(pinned={**standing.pinned, **spread(fixed, standing.live)})

    def unpin(self) -> ParameterSet:
        """Lift all pins: learning may change the values again."""
        return self._steer(pinned={})

    def using(self, **values: Value) -> Callable[..., Any]:
        """The function with other values than the live ones, for some of its callers: ``f.poet.using(timeout=1)(x)``.

        It shares the function's record, brakes and learning. Of a method: a function that takes the object first.
        Raises ConfigurationError off the bounds.
        """
        variant = self._agent.variant(self._function, self._cell, self._options, values)
        call: Callable[..., Any] = _handled(self._agent, self._function, variant)
        return call

    def pause(self, reason: str = "by hand") -> ParameterSet:
        """Keep the live values; executions are still recorded and learned from."""
        return self._steer(paused=True, reason=reason)

    def resume(self, reason: str = "by hand") -> ParameterSet:
        """Let learning change the values again."""
        return self._steer(paused=False, reason=reason)

    def experiment(
        self,
        arms: Mapping[str, Mapping[str, Value] | str],
        *,
        shares: Mapping[str, float] | None = None,
        reason: str = "by hand",
        **rules: Any,
    ) -> Experiment:
        """Try parameters or learners beside each other: ``f.poet.experiment({"quick": {"timeout": 2.0}})``.

        arms: by name: values; ``{"learner": "basic"}``, also with ``learning_rate`` and the like; or ``"live"``, which
        is added as the first arm where there is one only. The others are compared with the first one. shares: of the
        calls, by name; those that are not named share the rest. rules: fields of ``poet.model.experiment.Rules``.
        Raises ConfigurationError: off the bounds, another trial under way, too few calls to know what a call is worth.
        """
        from poet.model.experiment import CONTROL, Rules, strategy  # here: few functions have any
        from poet.training import experiments

        given = shares or {}
        for name in given:
            if name not in arms and name != CONTROL:
                raise ConfigurationError(f"shares names no arm {name!r}: {nearest(name, arms)}")
        for name in rules:
            if name not in Rules.__dataclass_fields__:
                hint = nearest(name, Rules.__dataclass_fields__)
                raise ConfigurationError(f"an experiment has no rule {name!r}: {hint}")
        chosen = [strategy(name, arm, given.get(name, 0.0)) for name, arm in arms.items()]
        if len(chosen) == 1 and CONTROL in given and CONTROL not in arms:
            chosen.insert(0, strategy(CONTROL, CONTROL, given[CONTROL]))
        wanted, trainee, trainer = Rules(**rules), self._trainee, self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
            store, now = trainer.store, self._agent.clock.wall()
            record = next(record for record in store.functions() if record.key == trainee.key)
            made = experiments.start(store, record, chosen, wanted, author=person(), reason=reason, now=now)
            trainer.reload(trainee.key)
        return made

    def experiments(self) -> list[Experiment]:
        """All experiments of the function, oldest first, with what is known by now."""
        from poet.training import experiments

        trainee, trainer = self._trainee, self._agent.open()
        with trainer.turn:
            trainer.round(last=True)
        found = experiments.everything(trainer.store, trainee.key)
        return [experiments.told(trainer.store, key, each) for key, each in found]

    @property
    def _enrolment(self) -> Enrolment:
        enrolment: Enrolment = self._cell.owner
        return enrolment

    @property
    def _trainee(self) -> Trainee:
        if self._agent.settings.learning == "off":
            raise ConfigurationError("learning is off (POET_LEARNING=off): functions are called as if not decorated")
        return self._agent.trainee(self._enrolment)

    def _steer(self, *, reason: str = "by hand", **change: Any) -> ParameterSet:
        trainee, trainer = self._trainee, self._agent.open()
        with trainer.turn:
            standing = self._by_hand(lambda store: store.steer(trainee.key, author=person(), reason=reason, **change))
            trainer.adopt(trainee.key, standing)
        return standing.live

    def _by_hand(self, step: Callable[[Store], Standing]) -> Standing:
        """A change in the store; while that is away, as far as it can be done without, an order on this host."""
        agent, trainer = self._agent, self._agent.open()
        try:
            return step(trainer.store)
        except StoreAway:
            if trainer.orders is None:
                raise
            host = agent.report().host
            return step(ordering(trainer.store, trainer.orders, now=agent.clock.wall(), host=host))

    def _stepped(self, step: Callable[..., Standing], reason: str) -> ParameterSet:
        trainee, trainer = self._trainee, self._agent.open()
        with trainer.turn:
            now = self._agent.clock.wall()
            standing = step(trainer.store, trainee.key, author=person(), reason=reason, now=now)
            trainer.adopt(trainee.key, standing)
        return standing.live

    def _brakes(self) -> dict[str, Any]:
        brakes = self._cell.brakes
        calls, spent = brakes.bucket.recent(self._agent.clock.now())
        return {
            "name": brakes.name,
            "calls": round(calls),
            "extra_requests": round(spent),
            "breaker": None if brakes.circuit is None else brakes.circuit.state,
            "running": brakes.running if brakes.slots is not None else None,
        }

    def _state(self, trainee: Trainee) -> str:
        if not trainee.learns:
            return "recording"
        if trainee.standing.paused:
            return "paused"
        trainer = self._agent.open()
        phase = trainer.flags.value("learn.online", self.name)
        if phase in (OFF, DEFAULTS):
            return phase
        return "learning" if trainer.applied(trainee) else "observing"

    def _converged(self, trainee: Trainee, learner: OnlineLearner | None) -> bool | None:
        """Whether further learning is worth less than it costs, see ``OnlineLearner.converged``.

        Under a latency target: whether no neighbour is expected to be better by more than ``convergence_threshold`` of
        a success's value.
        """
        if learner is None:
            return None
        if learner.objective.latency_target is None:
            return learner.converged
        picture = learner.explain(trainee.standing.live)
        if picture.live is None or picture.objective is None or not picture.neighbours:
            return None
        best = max(forecast.utility.value for forecast in picture.neighbours)
        gain = (best - picture.live.utility.value) / picture.objective.value
        return gain < self._enrolment.options.convergence_threshold


CALLS_TIMED = 500  # of each of ``ROUNDS`` rounds
ROUNDS = 9


@lru_cache(maxsize=1)
def _own_cost() -> float:
    """What a plain decorated call that learns takes beyond its function, here and now, the median of rounds [s].

    Measured once in a process, on a function that does nothing, in an agent of its own.
    """
    from statistics import median  # here: it loads more than all of this

    agent = build(Settings(store="memory:"), thread=False)

    def nothing() -> None:
        return None

    call = agent.decorate(nothing, Options(enable_training=True, collect_metrics=False)).call
    call()  # the first one opens the store
    taken = []
    for _ in range(ROUNDS):
        moments = [perf_counter()]
        for each in (call, nothing):
            for _ in range(CALLS_TIMED):
                each()
            moments.append(perf_counter())
        taken.append((moments[1] - moments[0]) - (moments[2] - moments[1]))
        agent.flush()  # what was learned of nothing goes with the agent
    agent.close()
    return max(median(taken), 0.0) / CALLS_TIMED


class Tuned(Protocol[P, R_co]):
    """A decorated function: called as before, with its handle."""

    @property
    def poet(self) -> Handle:
        """The handle."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""

    @overload
    def __get__(self, instance: None, owner: type, /) -> Tuned[P, R_co]: ...

    @overload
    def __get__(self: Tuned[Concatenate[S, Q], R], instance: S, owner: type[S] | None = None, /) -> Bound[Q, R]: ...

    def __get__(self, instance: Any, owner: Any = None, /) -> Any: ...


class Bound(Protocol[P, R_co]):
    """A decorated method, bound to its object."""

    @property
    def poet(self) -> Handle:
        """The handle."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function."""


@overload
def poet(function: Callable[P, R], /) -> Tuned[P, R]: ...


@overload
def poet(
    retries: int = 3,
    timeout: float = 30.0,
    domain: str | None = None,
    enable_training: bool = False,
    collect_metrics: bool = True,
    learning_algorithm: Algorithm = "adaptive",
    learning_rate: float = 0.05,
    convergence_threshold: float = 0.01,
    enable_cross_function_learning: bool = False,
    performance_tracking: bool = True,
    *,
    name: str | None = None,
    objective: Objective | None = None,
    context: str | Sequence[str] | Callable[..., object] | None = None,
    retry_on: RetryOn | None = None,
    perceive: Perceive | None = None,
    enforce: Enforce | None = None,
    deadline: float | None = None,
    backoff: float = 0.1,
    idempotent: bool = True,
    enforce_timeout: Mode = "cooperative",
    tunables: Mapping[str, Tunable] | None = None,
    dependency: str | Dependency | None = None,
    hedge_delay: float | None = None,
    hedges: int | None = None,
    timeout_arg: str | tuple[str, Callable[[float], object]] | None = None,
    key_arg: str | None = None,
    item_timeout: float | None = None,
    cost: Callable[[Any], float] | None = None,
    cost_limit: float | None = None,
    score: Score | None = None,
    goals: Mapping[str, Goal] | None = None,
    exploration: float = 0.02,
    rollout: RolloutPolicy | Literal["direct"] | None = None,
) -> Callable[[Callable[P, R]], Tuned[P, R]]: ...


def poet(*positional: Any, **named: Any) -> Any:
    """Make a function tune its own timeout, retries, backoff and hedges: plain, async, generator or async generator.

    retries: attempts after the first, to begin with, >= 0. They stay within the dependency's budget.
    timeout: limit of each attempt, to begin with, > 0 [s]. An async attempt is cancelled at it; for a plain function
        see ``enforce_timeout``. Of a generator: limit of its first item.
    domain: the trade whose rules apply: arguments are normalised and results checked (``poet.domains``; of generators
        the arguments only). Another word is a label, recorded with the function.
    enable_training: learn timeout, retries, backoff and hedges from every call, and use what was learned.
    collect_metrics: keep each execution in the store: times and outcomes, never arguments or results.
    learning_algorithm: ``"statistical"``: the model of latency and failures; ``"adaptive"``: the same until there are
        strategies to choose from; ``"basic"``: fixed rules.
    learning_rate: how fast the old is forgotten, in (0, 1]; also the weight of the newest call in the moving averages
        of ``f.poet.status()``.
    convergence_threshold: gain per call that is not worth learning for, as a share of a success's value, in (0, 1]:
        ``f.poet.status()`` calls a function converged when further learning promises no more than that and its cost.
    enable_cross_function_learning: while it is new, it asks the functions most like it for what they have learned; both
        sides' flags must allow that (``poet flags set share.read on``, ``share.write on``).
    performance_tracking: keep counts and moving averages for ``f.poet.status()``.
    name: identifies the function in place of its module and qualified name.
    objective: what a call is worth; default ``Objective()``.
    context: what calls differ in that may matter to the parameters: names of arguments, ``context=("region", "size")``,
        or a function of the arguments that gives features by name, as ``perceive`` may. They are recorded with the
        execution, beside those of ``perceive``, over which they win; an argument that is None is left out. A value for
        one context only has the name ``timeout@region=eu``. Where the function fails or gives what is no feature, that
        is counted as a fault, and the call goes on without them.
    retry_on: exception types that are transient beside the usual ones; or a predicate that decides for every
        exception; or ``on_result(predicate)`` for results that are to be asked for again; or several of these.
    perceive: gets the arguments, returns those to use as ``(args, kwargs)`` or ``(args, kwargs, features)``, or None:
        as they are. ValueError rejects the input. The features, by name, are recorded with the execution.
    enforce: a predicate of the result, a validator that raises, a type, a pydantic model or TypeAdapter. An attempt
        whose result it rejects has failed.
    deadline: limit of the whole call, pauses included, > 0 [s].
    backoff: bound of the pause before the first retry, in [0, 60] [s]; it doubles with each retry up to 8 s, and the
        pause is uniform below it (full jitter). Where the dependency says how long to wait, that is added.
    idempotent: False: repeated only where the failed attempt surely had no effect, and never hedged.
    enforce_timeout: what happens to a plain function at its limit. ``"cooperative"``: it is told its deadline
        (``poet.remaining()``) and not interrupted; an answer that comes late all the same is returned. ``"thread"``:
        it runs in a thread, which is left behind. ``"signal"``: it is interrupted; main thread, POSIX. ``"process"``:
        it runs in a process, which is killed.
    tunables: hard bounds of what is learned: ``{"timeout": Real(0.1, 5), "retries": Integer(0, 2)}``; where both bounds
        are equal it stays there, as ``{"backoff": Real(0.1, 0.1)}``. Also parameters of the function itself that have a
        default, ``{"k": Integer(1, 64)}``, in place of an annotation: ``k: Annotated[int, Integer(1, 64)] = 8``.
        A value that the caller passes wins, for that call.
    dependency: what the function calls: a name, or a ``Dependency`` with its budget, breaker and limit. All functions
        that name the same one share these.
    hedge_delay: a copy of an attempt is sent when it has taken this long, > 0 [s]; None: never, unless training finds
        that it pays. For async functions and ``enforce_timeout="thread"``.
    hedges: copies of an attempt, at most, to begin with; default 1 where there is a ``hedge_delay``.
    timeout_arg: argument that each attempt gets its remaining seconds in; ``(name, function)``: what the function
        makes of them.
    key_arg: argument that all attempts of a call get the same random key in, unless the caller gives one.
    item_timeout: longest wait for each item after the first, > 0 [s]; for generators.
    cost, cost_limit: what a rejected result has cost, and how much of it one call may spend before it gives up.
    score: what an answer was worth: a function of the result and the seconds of the call that gives a number, 0 worst
        .. 1 best, or with ``goals`` numbers by name; None: nothing yet, ``f.poet.feedback`` says it later. It runs in
        the call, so it should be quick. What it raises, and what is no such number, is counted as a fault.
    goals: what answers are scored by, each with its scale, weight and constraint: ``{"quality": Goal(at_least=0.8),
        "cost": Goal(high=0.05, weight=-20.0)}``. The score is the sum of weight times value.
    exploration: share of a success's value, in [0, 1], that calls may lose on average by trying out values of the
        function's own tunables; 0: nothing is tried.
    rollout: how versions that were learned reach the calls: a ``RolloutPolicy``, step by step, watched, and taken back
        where they do harm; ``"direct"``: all calls at once; None: as the settings say, which is step by step.

    Raises ConfigurationError (a ValueError) or UnknownArgument (a TypeError) where an argument cannot be. A call
    raises what the function raises; or PoetTimeout (a TimeoutError) where an attempt was cut off, InputRejected (a
    ValueError), ResultRejected, and CircuitOpen or Overloaded where the call was not made.
    """
    return _decorate_for(_default, positional, named)


def bind(agent: Agent) -> Callable[..., Any]:
    """``poet`` for an agent of one's own."""

    def bound(*positional: Any, **named: Any) -> Any:
        return _decorate_for(agent, positional, named)

    return bound


def _decorate_for(agent: Agent, positional: tuple[Any, ...], named: dict[str, Any]) -> Any:
    bare = len(positional) == 1 and not named and (callable(positional[0]) or hasattr(positional[0], "__func__"))
    options = _options(() if bare else positional, named)

    def decorate(function: Callable[..., Any]) -> Any:
        return _handled(agent, function, agent.decorate(function, options))

    return decorate(positional[0]) if bare else decorate


def _handled(agent: Agent, function: Callable[..., Any], decorated: Decorated) -> Any:
    call: Any = decorated.call
    call.poet = Handle(agent, function, decorated)
    return call


def _options(positional: tuple[Any, ...], named: dict[str, Any]) -> Options:
    known = USABLE
    for argument in named:
        if argument not in known:
            raise UnknownArgument(argument, known)
    if len(positional) > POSITIONAL:
        raise TypeError(f"poet() takes at most {POSITIONAL} positional arguments, got {len(positional)}")
    given = dict(zip(known, positional, strict=False))
    for argument in named:
        if argument in given:
            raise TypeError(f"poet() got {argument!r} by position and by name")
    values = {**given, **named}
    if isinstance(values.get("tunables"), Mapping):
        values = {**_usual_within(values["tunables"]), **values}
    return Options(**values)


def _usual_within(tunables: Mapping[str, object]) -> dict[str, Value]:
    """Who draws bounds and says no value means the usual one, as near as they allow."""
    timeout, retries = tunables.get("timeout"), tunables.get("retries")
    values: dict[str, Value] = {}
    if isinstance(timeout, Real):  # another kind is refused further on, as it was given
        values["timeout"] = timeout.clip(TIMEOUT)
    if isinstance(retries, Integer):
        values["retries"] = retries.clip(RETRIES)
    return values


def configure(**settings: Any) -> None:
    """Set how POET runs in this process: ``store``, ``learning`` and the other fields of ``poet.settings.Settings``.

    Best called before the first call of a decorated function; later it stores and closes what was open, and functions
    go on with what the new store holds. Raises ConfigurationError or StoreError; then nothing has changed.
    """
    _default.reconfigure(Settings.load(**settings))


def listen(callback: Callback, *, finished: bool = False) -> Callable[[], None]:
    """Call ``callback`` with every ``Event`` from now on; what is returned ends that.

    finished: also with one of every call that is over, good or bad, for counters and histograms. These come later, in
        the trainer's thread, and not where ``POET_LEARNING=off``.

    It is called in the thread of the call, where something other than a first success happens: a failed attempt, a
    retry, a hedge, a breaker's change … What it raises is counted as a fault and logged once.
    """
    return _default.listeners.add(callback, finished=finished)


class set_testing:  # noqa: N801 - a function that is a context manager, too
    """For users' tests: calls make no pauses and no hedges, at most ``attempts``, and nothing is learned or stored.

    Holds from now on, until ``set_testing(False)`` or the end of a ``with`` block. Raises ConfigurationError.
    """

    def __init__(self, active: bool = True, *, attempts: int = 1) -> None:
        if active and attempts is None:
            raise ConfigurationError("attempts must be a whole number >= 1, got None")
        self._before = _default.attempts
        _default.set_testing(attempts if active else None)

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _default.set_testing(self._before)


def flush() -> None:
    """Return when all executions so far are learned from and stored."""
    _default.flush()


POSITIONAL = 10  # arguments that existing code passes by position
