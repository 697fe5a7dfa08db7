"""What may leave a function for another one, and a tenant for another one; nothing else does, and each is recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from hashlib import blake2b
from secrets import SystemRandom
from typing import Any, NamedTuple

from poet.errors import ConfigurationError, StoreError, nearest
from poet.kernels.noise import Dice
from poet.model.execution import Execution
from poet.model.flag import Rule, Whom
from poet.model.function import FunctionKey
from poet.seams import SYSTEM_CLOCK, Clock, FunctionRecord, Store
from poet.sharing.consent import ALLOW, DENY, consent
from poet.sharing.packing import Poisoned
from poet.sharing.releases import DamagedLedger, OverBudget, Record, body_of, charge, enter
from poet.sharing.statistics import (
    Calls,
    Context,
    Space,
    Statistics,
    Tunables,
    calls_of,
    checked,
    coarse,
    needed,
    noisy,
)

KINDS: Mapping[str, type] = {"calls": Calls, "tunables": Tunables}
LEAST, CONTRIBUTORS = 20, 3  # executions, and hosts or functions, below which no policy goes
MOST_EPSILON = 100.0
FINEST = 10**6  # parts of one that epsilon is counted in
SHORTEST_KEY = 16  # [bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a tenant lets go. By default: within the tenant all kinds as they are, and nothing beyond.

    rules: who may have what: ``Rule("allow", function="shop.*", tenant="acme")``: the source, and whose the target is.
        They come after those that persons have set in the store (``poet releases --allow``). The first that matches
        decides; where none does, only the tenant's own functions may have it.
    epsilon: differential privacy of what leaves the tenant: for each function and month, over all targets together;
        each of ``releases`` takes an equal part. None: no noise.
    """

    tenant: str = ""  # whose functions the store has
    rules: tuple[Rule, ...] = ()
    kinds: frozenset[str] = frozenset(KINDS)
    features: frozenset[str] = frozenset()  # of the context that may leave, hashed; all others are dropped
    key: bytes = field(default=b"", repr=False)  # that they are hashed with, >= 16 bytes, kept secret
    least: int = LEAST  # executions, >= 20
    contributors: int = CONTRIBUTORS  # hosts or functions where it leaves the tenant, >= 3
    epsilon: float | None = None  # in (0, 100]
    releases: int = 8  # in a month, >= 1; with an epsilon only

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigurationError(f"no kind of statistics {kind!r}: {nearest(str(kind), KINDS)}")
        for rule in self.rules:
            if rule.value not in (ALLOW, DENY):
                raise ConfigurationError(f"a rule says {ALLOW} or {DENY}, got {rule.value!r}")
            if rule.host != "*" or rule.percent != 100:
                raise ConfigurationError(f"a rule of sharing is by function and tenant, got {rule!r}")
        for name, lowest in (("least", LEAST), ("contributors", CONTRIBUTORS), ("releases", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ConfigurationError(f"{name} must be a whole number >= {lowest}, got {value!r}")
        if self.features and len(self.key) < SHORTEST_KEY:
            raise ConfigurationError(
                f"features leave hashed with a key of at least {SHORTEST_KEY} bytes, none is given"
            )
        epsilon = self.epsilon
        if epsilon is not None:
            if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 < epsilon <= MOST_EPSILON:
                raise ConfigurationError(f"epsilon must be in (0, {MOST_EPSILON:g}], got {epsilon!r}")
            if not self.cost:
                raise ConfigurationError(f"epsilon {epsilon!r} is too little for {self.releases} releases")

    @property
    def budget(self) -> Fraction | None:
        """Epsilon of a month, rounded down to millionths; None: no noise."""
        return None if self.epsilon is None else Fraction(self._parts, FINEST)

    @property
    def cost(self) -> Fraction:
        """Epsilon of one release, rounded down; 0: no noise."""
        return Fraction(0) if self.epsilon is None else Fraction(self._parts // self.releases, FINEST)

    @property
    def _parts(self) -> int:
        return 0 if self.epsilon is None else math.floor(Fraction(self.epsilon) * FINEST)


class Party(NamedTuple):
    """A function, and whose it is."""

    function: FunctionKey
    tenant: str


class Released(NamedTuple):
    """What left, which is all that the target may have."""

    statistics: Statistics  # with noise counts may be below zero: ``statistics.quantile`` and ``failure_rate`` know
    epsilon: float | None  # that it took; None: no noise
    remaining: float | None  # epsilon of this month; None: there is no budget
    number: int  # of its record, within function and month


class Refused(NamedTuple):
    """Nothing left, and why."""

    reason: str


class Gate:
    """Decides what leaves, makes it coarse or noisy, and records it. Safe to use from several threads and processes."""

    def __init__(self, store: Store, policy: Policy, *, clock: Clock = SYSTEM_CLOCK, dice: Dice | None = None) -> None:
        """dice: that noise is drawn with; None: the operating system's, as it must be for privacy."""
        self._store, self._policy, self._clock = store, policy, clock
        self._dice: Dice = SystemRandom() if dice is None else dice

    def release(
        self,
        source: FunctionKey | Party,
        target: FunctionKey | Party,
        state: Statistics,
        *,
        by: str = "",
        why: str = "",
    ) -> Released | Refused:
        """Let ``target`` have what ``source`` knows, as far as the policy goes. A function alone is of the own tenant.

        What stays within the tenant is checked and handed on as it is; its record is coarse all the same.

        by, why: for the record; by: empty: the target. Never raises for what a state says or a store does.
        A release spends its epsilon first; where the store fails after that, it is spent and nothing leaves.
        """
        whence, whither = self._party(source), self._party(target)
        try:
            reason = self._consent(whence, whither, state)
            if reason:
                return Refused(reason)
            record = record_of(self._store, whence.function)
            if record is None:
                return Refused(f"{whence.function} is not known to the store")
            space = Space(record.space, record.choices)
            checked(state, record.calls, space)
            return self._released(whence, whither, state, space, by, why)
        except Poisoned as error:
            return Refused(f"it cannot be true: {error}")
        except (OverBudget, DamagedLedger) as error:
            return Refused(str(error))
        except StoreError as error:
            return Refused(f"the store cannot record it: {error}")
        except (TypeError, AttributeError, ValueError, OverflowError) as error:  # a state of other shapes than it says
            return Refused(f"it cannot be read: {type(error).__name__}: {error}")

    def _party(self, one: FunctionKey | Party) -> Party:
        return one if isinstance(one, Party) else Party(one, self._policy.tenant)

    def _consent(self, source: Party, target: Party, state: object) -> str:
        """Why not; empty: by all that does not hang on what was counted, it may."""
        policy = self._policy
        kind = kind_of(state)
        if kind is None:
            return f"only {' and '.join(KINDS)} may leave, got {type(state).__name__}"
        if kind not in policy.kinds:
            return f"the policy does not let {kind} go"
        if source.tenant != policy.tenant:
            return f"{source.function} is tenant {source.tenant!r}'s, and only {policy.tenant!r} is guarded here"
        known = consent(self._store)
        if known.fault:
            return known.fault
        whom = Whom(source.function.name, "", target.tenant)
        rule = next((each for each in (*known.rules, *policy.rules) if each.matches("sharing", whom)), None)
        whose = f"tenant {target.tenant!r}"
        if rule is not None and rule.value == DENY:
            return f"a rule denies {source.function.name} to {whose}: {rule.told()}"
        if rule is None and target.tenant != policy.tenant:
            return f"{whose} is another one, and no rule allows it"
        return ""

    def _released(
        self, source: Party, target: Party, state: Statistics, space: Space, by: str, why: str
    ) -> Released | Refused:
        policy, kind, at = self._policy, kind_of(state), self._clock.wall()
        assert kind is not None
        away = target.tenant != policy.tenant
        private = away and policy.epsilon is not None
        if away and state.contributors < policy.contributors:
            return Refused(f"{state.contributors} hosts or functions contributed, at least {policy.contributors} must")
        told = state
        if not private:  # with noise, the noisy number decides: see below
            if state.n < policy.least:
                return Refused(f"fewer than {policy.least} executions")
            told = coarse(state._replace(context=self._hashed(state.context)), policy.least, space)
        cost, budget = (policy.cost, policy.budget) if private else (Fraction(0), None)
        epsilon = float(cost) if private else None
        entry = Record(
            source.function, 0, at, by or target.function.name, why, str(target.function), target.tenant, kind, epsilon,
            "", plain(told) if not private else {},
        )  # fmt: skip
        body_of(entry)  # too long: before anything is entered
        ledger = charge(self._store, source.function, policy.tenant, at, cost, budget)
        entry = entry._replace(number=ledger.releases)
        if private:
            told = noisy(state, cost, policy.least, space, self._dice)
            if told.n < (least := needed(state, cost, policy.least)):
                reason = f"with its noise it has fewer than {least} executions"
                enter(self._store, entry._replace(refused=reason), policy.tenant)
                return Refused(f"{reason}; epsilon {epsilon:g} is spent, as this tells something, too")
        enter(self._store, entry._replace(left=plain(told)), policy.tenant)
        remaining = None if budget is None else float(budget - ledger.spent)
        return Released(told if away else state, epsilon, remaining, ledger.releases)

    def _hashed(self, context: Context) -> Context:
        """Features that may leave, by a hash with a key (BLAKE2b, RFC 7693): only who has the key can try values."""
        policy = self._policy
        return {
            name: blake2b(
                f"{name}\0{type(value).__name__}\0{value}".encode("utf-8", "surrogatepass"),
                digest_size=8,
                key=blake2b(policy.key, digest_size=32).digest(),
            ).hexdigest()
            for name, value in context.items()
            if name in policy.features
        }


def kind_of(state: object) -> str | None:
    """What kind of statistics it is; None: of none."""
    return next((kind for kind, known in KINDS.items() if isinstance(state, known)), None)


def plain(statistics: Statistics) -> dict[str, Any]:
    """As JSON can say it."""
    told: dict[str, Any] = {"contributors": statistics.contributors, "context": dict(statistics.context)}
    if isinstance(statistics, Calls):
        return {**told, "durations": [list(pair) for pair in statistics.durations], "failures": statistics.failures}
    cells = {name: [list(cell) for cell in cells] for name, cells in statistics.cells.items()}
    return {**told, "low": statistics.low, "high": statistics.high, "cells": cells}


def known_calls(store: Store, function: FunctionKey, *, since: float = 0.0) -> Calls:
    """What the store keeps of a function's executions started since [Unix s], to be released. Raises StoreError.

    By time and not by number, as else one execution more would push out another one. Contributors are the hosts of all
    processes that have made one, by their reports.
    """
    executions: list[Execution] = list(store.executions(function, since=since))
    hosts = {process.writer: process.host for process in store.processes()}
    made = {hosts[writer] for writer in {each.writer for each in executions} if writer in hosts}
    return calls_of(executions, contributors=len(made))


def record_of(store: Store, function: FunctionKey) -> FunctionRecord | None:
    """What the store keeps of a function; None: nothing."""
    return next((each for each in store.functions() if each.key == function), None)
