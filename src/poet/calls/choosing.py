"""What a call uses and tells beside its plan: values of its own tunables, features of its context, its score.

Decided at decoration: a function without any of these has no ``Chooser``, and its calls only look whether there is one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any, NamedTuple

from poet.calls.declaring import NOWHERE, Own
from poet.calls.perceive import FEATURES
from poet.calls.plan import Plan
from poet.errors import ConfigurationError
from poet.model.contexts import Matcher, by_cell, conditions
from poet.model.execution import (
    LONGEST_TEXT,
    MOST_FEATURES,
    UNTOLD,
    Context,
    Detail,
    Goals,
    Outcome,
    Plainly,
    detailed,
    kept,
)
from poet.model.objective import Goal, scored
from poet.model.parameters import ParameterSet
from poet.model.policy import Pick, Policy, Tries
from poet.model.tunable import Tunable, Value

Fault = Callable[[str, BaseException], None]  # counts what went wrong beside a call
Score = Callable[[Any, float], Any]  # the result, and the seconds of the whole call
Told = tuple[Plan, Context, int, Context]
"""What a call uses: its plan, the features of its context, its draw, and what its version says otherwise."""

SUCCESS = Outcome.SUCCESS  # an enum's members take time to look up
NO_SCORE: tuple[float | None, Goals] = (None, ())
MOST_ENTRIES = 512  # sets of values that a plan remembers
MOST_CALLS = 2**31  # of one pause
MOST_PLANS = 4096  # of contexts, that a plan keeps


class Entry(NamedTuple):
    """Values of the function's own tunables, ready to be put into a call."""

    source: object  # the policy's own mapping, so that it stays alive and its identity its own
    given: Mapping[str, Value]
    otherwise: Context  # those of them that the version does not say for all contexts, by name


class Chosen(Plan):
    """The plan of a function that has a ``Chooser``, in one context or in all that have no plan of their own."""

    __slots__ = ("cells", "entries", "pause", "policy", "said", "share", "silent", "usual", "value")

    cells: Cells | None  # plans of contexts; None: none has one
    entries: dict[int, Entry]  # of the policy's sets of values, by their identity
    pause: Iterator[None]  # as many calls as it gives None for use what is usual, then one asks the policy
    policy: Policy | None
    said: Mapping[str, Value]  # values of the function's own tunables by its version
    share: float  # of calls that the policy is asked about, in [0, 1]
    silent: bool  # whether there is nothing to tell of a call that uses what is usual
    usual: Entry  # where nothing is tried
    value: Value  # of the only tunable, where there is one

    def entry(self, pick: Pick, own: tuple[Own, ...]) -> Entry:
        """The values of a pick, within the bounds whatever it says."""
        source = pick.values
        found = self.entries.get(id(source))
        if found is None:
            values = dict(self.usual.given)
            for name, tunable, _, _ in own:
                if name in source:
                    values[name] = _within(tunable, name, source[name], values[name])
            if len(self.entries) >= MOST_ENTRIES:
                self.entries.clear()
            found = self.entries[id(source)] = _entry(source, values, self.said)
        return found


class Cells:
    """Plans by context, made when parameters are delivered."""

    __slots__ = ("_apart", "_make", "_matcher", "_plans")

    def __init__(self, cells: Iterable[str], make: Callable[[Sequence[str]], Chosen]) -> None:
        """cells: that have values of their own. make: the plan where all these apply, the more general ones first."""
        self._matcher, self._make = Matcher(cells), make
        rules = {cell: frozenset(conditions(cell)) for cell in self._matcher.cells}
        told = [condition for rule in rules.values() for condition in rule]
        # The usual case: values of one feature. Then a call is in one cell at most.
        self._apart = len({each.feature for each in told}) == 1 and len(told) == len(rules)
        self._apart = self._apart and all(each.how == "=" for each in told)
        self._plans: dict[tuple[str, ...], Chosen] = {}
        for rule in rules.values():
            self._plan(tuple(cell for cell, other in rules.items() if other <= rule))

    def plan(self, context: Context, parent: Chosen) -> Chosen:
        """The plan of calls in ``context``; ``parent`` where no value is for it."""
        if self._apart:
            cell = self._matcher(context)
            return parent if cell is None else self._plan((cell,))
        matching = self._matcher.all(context)
        return self._plan(matching) if matching else parent

    def _plan(self, matching: tuple[str, ...]) -> Chosen:
        found = self._plans.get(matching)
        if found is None:  # at delivery; or cells of different features meet here for the first time
            if len(self._plans) >= MOST_PLANS:
                self._plans.clear()
            found = self._plans[matching] = self._make(matching)
        return found


class Reader:
    """Tells the features of a call's context, by ``context=``."""

    __slots__ = ("_fault", "_name", "_names", "_user")

    def __init__(self, name: str, context: Callable[..., Any] | Sequence[tuple[str, int, Any]], fault: Fault) -> None:
        """context: a function of the arguments, or names, places and defaults of those that are features."""
        self._name, self._fault = name, fault
        self._user = context if callable(context) else None
        self._names = () if callable(context) else tuple(sorted(context, key=_name))

    def features(self, args: tuple[Any, ...], kwargs: dict[str, Any], perceived: Context) -> Context:
        """The features, with those that ``perceive`` has told; only these where something is wrong: counted."""
        try:
            if self._user is None:
                found: list[tuple[str, Any]] = []
                quick = not perceived
                for name, place, default in self._names:
                    value = kwargs[name] if name in kwargs else args[place] if len(args) > place else default
                    if value is not None:
                        found.append((name, value))
                        if type(value) is not str or len(value) > LONGEST_TEXT:
                            quick = False
                return tuple(found) if quick else _merged(found, perceived)
            given = self._user(*args, **kwargs)
            if given is None:
                return perceived
            if not isinstance(given, Mapping):
                raise ConfigurationError(f"context must give a mapping from name to value, got {type(given).__name__}")  # noqa: TRY301
            return _merged(given.items(), perceived)
        except Exception as error:  # noqa: BLE001 - learning never breaks a call
            self._fault(f"context of {self._name}", error)
            return perceived


def _name(named: tuple[str, int, Any]) -> str:
    return named[0]


def _merged(found: Iterable[tuple[Any, Any]], perceived: Context) -> Context:
    together = dict(perceived)
    for name, value in found:
        known = kept(value)
        if known is None:
            raise ConfigurationError(
                f"the feature {name!r} must be a finite number, True, False or a text of at most {LONGEST_TEXT} "
                f"characters, got {type(value).__name__}"
            )
        if not (isinstance(name, str) and len(name) <= LONGEST_TEXT):
            raise ConfigurationError(f"a feature's name must be a text of at most {LONGEST_TEXT} characters")
        together[name] = known
    if len(together) > MOST_FEATURES:
        raise ConfigurationError(f"at most {MOST_FEATURES} features are kept, got {len(together)}")
    return tuple(sorted(together.items()))


class Scorer:
    """Says what a result was worth, by ``score=``."""

    __slots__ = ("_fault", "_goals", "_name", "_user")

    def __init__(self, name: str, user: Score, goals: Mapping[str, Goal] | None, fault: Fault) -> None:
        self._name, self._user, self._goals, self._fault = name, user, goals, fault

    def score(self, result: Any, seconds: float) -> tuple[float | None, Goals]:
        """Its score, and its goals; nothing where the user's function says nothing, or something wrong: counted."""
        try:
            given = self._user(result, seconds)
            if type(given) is float and self._goals is None and 0.0 <= given <= 1.0:
                return given, ()
            return NO_SCORE if given is None else scored(given, self._goals)
        except Exception as error:  # noqa: BLE001 - learning never breaks a call
            self._fault(f"score of {self._name}", error)
            return NO_SCORE


class Chooser:
    """What calls of one function use and tell beside their plan. The same for all its calls; holds none of them."""

    __slots__ = ("_fault", "_first", "_name", "_perceptive", "_reader", "flip", "own", "scorer")

    def __init__(
        self,
        name: str,
        *,
        own: tuple[Own, ...] = (),
        perceptive: bool = False,
        reader: Reader | None = None,
        scorer: Scorer | None = None,
        flip: Callable[[], float],
        fault: Fault,
    ) -> None:
        """own: tunables that are parameters. perceptive: whether ``perceive`` may tell features. flip: in [0, 1)."""
        self._name, self.own, self._perceptive, self._reader, self.scorer = name, own, perceptive, reader, scorer
        self.flip, self._fault = flip, fault
        self._first = min((each.place for each in own), default=NOWHERE)  # of them among the positional arguments

    def choose(self, plan: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told | None:
        """What a call uses; None: its plan as it is, and there is nothing to tell.

        Writes the values of own tunables into ``kwargs``, the call's own, but for those that the caller gives.
        plan: a ``Chosen``.
        """
        parent, context = plan, FEATURES.get() if self._perceptive else ()
        if self._reader is not None:
            context = self._reader.features(args, kwargs, context)
        if plan.cells is not None and context:
            plan = plan.cells.plan(context, plan)
        if next(plan.pause, plan) is not None:
            return self._trying(plan, context, args, kwargs)
        entry = plan.usual
        given = entry.given
        if len(args) <= self._first and (not kwargs or kwargs.keys().isdisjoint(given)):
            kwargs.update(given)
            return None if plan.silent and not context and plan is parent else (plan, context, 0, entry.otherwise)
        return self._partly(plan, context, entry, 0, args, kwargs)

    def _trying(self, plan: Chosen, context: Context, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told:
        """What a call uses that the policy is asked about."""
        entry, draw = plan.usual, 0
        uniform = self.flip() * plan.share
        plan.pause = pause_of(plan.share, self.flip())
        if plan.policy is not None:
            try:
                pick = plan.policy.pick(context, uniform)
                if pick.values:
                    entry, draw = plan.entry(pick, self.own), pick.draw
            except Exception as error:  # noqa: BLE001 - learning never breaks a call
                self._fault(f"policy of {self._name}", error)
        given = entry.given
        if len(args) <= self._first and (not kwargs or kwargs.keys().isdisjoint(given)):
            kwargs.update(given)
            return plan, context, draw, entry.otherwise
        return self._partly(plan, context, entry, draw, args, kwargs)

    def _partly(
        self,
        plan: Chosen,
        context: Context,
        entry: Entry,
        draw: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Told:
        """The caller has values of his own: they win, and are told as what they are."""
        told = dict(entry.otherwise)
        for name, _, _, place in self.own:
            if name in kwargs:
                passed = kwargs[name]
            elif len(args) > place:
                passed = args[place]
            else:
                kwargs[name] = entry.given[name]
                continue
            if told.pop(name, None) is not None:
                draw = 0  # it is not that try any more
            value = kept(passed)
            if value is None:
                told[name] = UNTOLD
            elif not _same(value, plan.said[name]):
                told[name] = value
        return plan, context, draw, tuple(sorted(told.items()))

    def detail(self, plainly: Plainly | None, told: Told, result: Any, seconds: float) -> Detail | None:
        """How a call went that was answered, first or last."""
        _, context, draw, otherwise = told
        scorer = self.scorer
        if scorer is None:
            if not (otherwise or draw or plainly):
                return (SUCCESS, (), "", context) if context else None
            scores = NO_SCORE
        else:
            scores = scorer.score(result, seconds)
        return detailed(plainly, context, draw, otherwise, scores)


class Perceptive(Chooser):
    """The same, the quick way, for functions of which only ``perceive`` tells features."""

    __slots__ = ()

    def choose(self, plan: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told | None:
        """What a call uses."""
        context = FEATURES.get()
        if not context:
            return None
        if plan.cells is not None:
            plan = plan.cells.plan(context, plan)
        return plan, context, 0, ()


class Single(Chooser):
    """The same, the quick way, for functions that have one tunable of their own and no context."""

    __slots__ = ("_only",)

    def __init__(self, name: str, *, own: tuple[Own, ...], **more: Any) -> None:
        super().__init__(name, own=own, **more)
        self._only = own[0].name

    def choose(self, plan: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Told | None:
        """What a call uses."""
        if next(plan.pause, plan) is not None:
            return self._trying(plan, (), args, kwargs)
        if (args or kwargs) and (self._only in kwargs or len(args) > self._first):
            return self._partly(plan, (), plan.usual, 0, args, kwargs)
        kwargs[self._only] = plan.value
        return None if plan.silent else (plan, (), 0, plan.usual.otherwise)


def compiled(
    chooser: Chooser,
    parameters: ParameterSet,
    said: ParameterSet,
    policy: Policy | None,
    plan: Callable[[ParameterSet], Chosen],
) -> Chosen:
    """The plan for calls under ``parameters``, with those of contexts in it.

    said: what the version says, which ``parameters`` may differ from, as in a variant of the function. plan: makes one
    of which only its own part is missing.
    """
    own, silent = chooser.own, chooser.scorer is None
    # By the version, for all contexts together: so a reader need not know what holds in which.
    version = {n: _within(tunable, n, said.get(n), default) for n, tunable, default, _ in own}
    special = by_cell(parameters)

    def made(cells: Sequence[str]) -> Chosen:
        values = dict(parameters)
        for cell in cells:
            values.update(special[cell])
        chosen = plan(parameters.changed(values_=values) if cells else parameters)
        chosen.policy, chosen.cells, chosen.entries, chosen.said = policy, None, {}, version
        ours = {n: _within(tunable, n, values.get(n), version[n]) for n, tunable, _, _ in own}
        chosen.usual = _entry(ours, ours, version)
        chosen.value = next(iter(ours.values()), "")
        chosen.silent = silent and not chosen.usual.otherwise
        chosen.share = 0.0 if policy is None else policy.share if isinstance(policy, Tries) else 1.0
        chosen.pause = pause_of(chosen.share, chooser.flip() if chosen.share else 0.0)
        return chosen

    root = made(())
    if special:
        root.cells = Cells(special, made)
    return root


def pause_of(share: float, uniform: float) -> Iterator[None]:
    """Gives None for as many calls as pass before the next that asks the policy.

    That is how long a coin of probability ``share`` is thrown before it first falls so: tossed once for all of them,
    and not in each call. share: in [0, 1]. uniform: in [0, 1).

    >>> [len(list(pause_of(0.5, uniform))) for uniform in (0.2, 0.6, 0.9)]
    [0, 1, 3]
    """
    if share <= 0.0:
        return repeat(None)
    calls = 0.0 if share >= 1.0 else math.log1p(-uniform) / math.log1p(-share)
    return repeat(None, int(min(calls, MOST_CALLS)))


def _entry(source: object, values: Mapping[str, Value], said: Mapping[str, Value]) -> Entry:
    return Entry(
        source, values, tuple(sorted((name, value) for name, value in values.items() if not _same(value, said[name])))
    )


def _within(tunable: Tunable, name: str, value: object, otherwise: Value) -> Value:
    """``value`` where the bounds allow it, else the other one."""
    try:
        return tunable.check(name, value)
    except ConfigurationError:
        return otherwise


def _same(value: object, other: object) -> bool:
    return value == other and isinstance(value, bool) is isinstance(other, bool)
