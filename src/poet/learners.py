"""Which learner a function gets: made from what was declared, or again from what a store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from poet.calls.declaring import OPERATIONAL
from poet.model.explanation import Explanation
from poet.model.function import FunctionKey
from poet.model.objective import Goal, Objective
from poet.model.phases import at, by_hours
from poet.model.relative import Relatives
from poet.model.tunable import Choice, Integer, Real, Space, Tunable, Value
from poet.options import Options
from poet.seams import FunctionRecord, Learner, Store

if TYPE_CHECKING:
    from poet.learning.borrowed import Lent
    from poet.learning.online_learner import OnlineLearner
    from poet.sharing.collaboration import Member

T = TypeVar("T")


def make_learner(
    algorithm: str,
    objective: Objective,
    space: Space,
    declared: Mapping[str, Value],
    seed: int,
    *,
    rate: float = 0.05,
    hedge_budget: float = 0.1,
    convergence_threshold: float = 0.01,
) -> Learner:
    """A learner of timeout, retries, backoff and hedges. ``adaptive`` is the statistical one until there are others."""
    if algorithm == "basic":
        from poet.learning.basic_rule import BasicRule

        return BasicRule(space=space, declared=declared)
    from poet.learning.online_learner import OnlineLearner

    return OnlineLearner(
        rate,
        objective=objective,
        space=space,
        declared=declared,
        seed=seed,
        hedge_budget=hedge_budget,
        convergence_threshold=convergence_threshold,
    )


def learner_of(
    options: Options, objective: Objective, seed: int, hedge_budget: float, *, prior: Relatives = ()
) -> Learner:
    """The learner of a function that is decorated so. hedge_budget: copies per call, in [0, 1].

    prior: related functions, whose tuners' states (``tuner_state``) its own tunables begin with.
    """
    own = {each.name for each in options.own or ()}
    space, declared = _parted(options.space, own), _parted(options.declared, own)
    learner = make_learner(
        options.learning_algorithm,
        objective,
        Space.shared(**space[0]),
        declared[0],
        seed,
        rate=options.learning_rate,
        hedge_budget=hedge_budget,
        convergence_threshold=options.convergence_threshold,
    )
    contextual = options.context is not None or options.perceive is not None
    if contextual and options.learning_algorithm != "basic":
        learner = _by_context(learner, options)
    if not own:
        return learner
    return _tuned(
        learner,
        Space(**space[1]),
        declared[1],
        seed,
        goals=options.goals or {},
        objective=options.objective,
        scored=options.score is not None,
        exploration=options.exploration,
        contextual=contextual,
        prior=prior,
    )


def learner_for(record: FunctionRecord, state: bytes | None) -> Learner:
    """The learner of a stored function, as it was left. Raises ValueError where ``state`` cannot be read."""
    values = {name: value for name, value in record.objective.items() if value is not None}
    options, objective = Options(), Objective(**values)
    bounds: dict[str, Tunable] = {
        name: _tunable(name, low, high, record.declared.get(name)) for name, (low, high) in record.space.items()
    }
    bounds.update((name, Choice(*offered)) for name, offered in record.choices.items())
    own = {name for name in record.declared if name not in OPERATIONAL}
    space = _parted({**options.space, **bounds}, own)
    declared = _parted({**options.declared, **record.declared}, own)
    learner = make_learner(record.learner or "adaptive", objective, Space(**space[0]), declared[0], 0)
    if state is not None and _is_by_context(state):
        learner = _by_context(learner, Options())
    if own:
        told = _Told(Space(**space[1]), declared[1]) if state is None else _told(state, Space(**space[1]), declared[1])
        learner = _tuned(
            learner,
            told.space,
            told.start,
            0,
            goals={name: Goal(**each) for name, each in record.goals.items()},
            objective=None,
            scored=False,
            exploration=told.exploration,
            contextual=told.contextual,
        )
    if state is not None:
        take_up(learner, state)
    return learner


def take_up(learner: Learner, state: bytes) -> None:
    """Let it go on with what is kept of its function, whatever the code declared then. Raises ValueError: unreadable.

    What was learned of tunables that are gone, or by contexts that are told no more, is left out.
    """
    try:
        learner.load(state)
    except ValueError:
        simpler = _simpler(state)
        if simpler == state:
            raise
        take_up(learner, simpler)


def _simpler(state: bytes) -> bytes:
    """The same without tunables; or, where it has none, without contexts."""
    from poet.learning import contexts, tuned_learner

    told = tuned_learner.declared_in(state)
    return contexts.of_all_calls(state) if told is None else told.operational


def _is_by_context(state: bytes) -> bool:
    from poet.learning import contexts, tuned_learner

    told = tuned_learner.declared_in(state)
    return contexts.is_state(state if told is None else told.operational)


def explained(learner: Learner, live: Mapping[str, Value], now: float) -> Explanation:
    """Why ``live``, or why not: of what holds ``now``, Unix time [s], with what holds at other hours."""
    told = learner.explain(at(live, now))
    hours = tuple(by_hours(live, now))
    return told._replace(sentences=(*told.sentences, *hours)) if hours else told


def of_all_calls(learner: Learner | None) -> OnlineLearner | None:
    """The part of it that hears of the times and failures of all calls; None: there is no such part."""
    from poet.learning.contexts import ContextLearner
    from poet.learning.online_learner import OnlineLearner
    from poet.learning.tuned_learner import TunedLearner

    if isinstance(learner, TunedLearner):
        learner = learner.operational
    if isinstance(learner, ContextLearner):
        learner = learner.parent
    return learner if isinstance(learner, OnlineLearner) else None


def state_of_all_calls(state: bytes) -> bytes:
    """The state of that part. Raises ValueError where ``state`` is damaged."""
    simpler = _simpler(state)
    return state if simpler == state else state_of_all_calls(simpler)


def lent(state: bytes, source: str, helps: float) -> Lent | None:
    """What a function with this stored state can lend to another one; None: it has seen too little.

    source: the name it goes by there. helps: how probable it is that it helps, in [0, 1]. Raises ValueError where
    ``state`` cannot be read.
    """
    from poet.learning.online_learner import OnlineLearner

    learner = OnlineLearner()
    learner.load(state_of_all_calls(state))
    return learner.lent(source, helps)


class _Told(NamedTuple):
    """How tunables were declared."""

    space: Space
    start: Mapping[str, Value]
    exploration: float = 0.0
    contextual: bool = False


def _told(state: bytes, space: Space, start: Mapping[str, Value]) -> _Told:
    """As the state says; where it says nothing, by the other two."""
    from poet.learning import tuned_learner
    from poet.learning.tuners import chosen

    learner = tuned_learner.declared_in(state)
    if learner is None:
        return _Told(space, start)
    tuner = chosen.declared_in(learner.tuner)
    return _Told(tuner.space, tuner.start, learner.exploration, tuner.contextual)


def tuner_state(state: bytes) -> bytes | None:
    """The tuner's own state in that of a learner, as a ``Relative`` hands it on; None: it has no tunables.

    Raises ValueError where ``state`` is damaged.
    """
    from poet.learning import tuned_learner

    told = tuned_learner.declared_in(state)
    return None if told is None else told.tuner


def member_of(store: Store, function: FunctionKey) -> Member | None:
    """A copy of what a store knows of a function's own tunables, for a group; None: nothing, or it has none.

    Raises ValueError where it cannot be read, UnknownFunction, StoreUnavailable.
    """
    from poet.learning.tuners.chosen import opened
    from poet.sharing.collaboration import Member

    kept = store.load_learner(function)
    state = None if kept is None else tuner_state(kept)
    if state is None:
        return None
    tuner, told = opened(state)
    return Member(tuner, told.space, told.start)


def _by_context(learner: Learner, options: Options) -> Learner:
    from poet.learning.contexts import ContextLearner
    from poet.learning.online_learner import OnlineLearner

    named = options.context if not callable(options.context) else None  # what others tell is known when it comes
    features = () if named is None or options.perceive is not None else (named,) if isinstance(named, str) else named
    assert isinstance(learner, OnlineLearner)
    return ContextLearner(learner, features=tuple(features))


def _tuned(
    operational: Learner,
    space: Space,
    start: Mapping[str, Value],
    seed: int,
    *,
    goals: Mapping[str, Goal],
    objective: Objective | None,
    scored: bool,
    exploration: float,
    contextual: bool,
    prior: Relatives = (),
) -> Learner:
    from functools import partial

    from poet.learning.scoring import Scoring
    from poet.learning.tuned_learner import TunedLearner
    from poet.learning.tuners.chosen import ChosenTuner, begin

    scoring = Scoring(tuple(space), goals=goals, objective=objective, scored=scored)
    tuner = partial(
        ChosenTuner,
        space,
        dict(start),
        seed=seed,
        constraints=scoring.constraints,
        contextual=contextual,
        prior=begin(prior, space, start),
    )
    return TunedLearner(
        operational, tuner, space=space, scoring=scoring, exploration=exploration, contextual=contextual
    )


def _parted(named: Mapping[str, T], own: set[str]) -> tuple[dict[str, T], dict[str, T]]:
    """What is every function's, and what is the function's own."""
    return (
        {name: thing for name, thing in named.items() if name not in own},
        {name: thing for name, thing in named.items() if name in own},
    )


def _tunable(name: str, low: float, high: float, declared: Value | None) -> Tunable:
    whole = name in ("retries", "hedges") or (isinstance(declared, int) and isinstance(low, int))
    return Integer(int(low), int(high)) if whole else Real(low, high, log=low > 0)
