"""Thompson sampling where there are few choices: every combination of values is a candidate.

Each is tried as often as it is likely to be the best (Thompson 1933), with spreads a little smaller than that asks for,
as regret over hundreds of calls is what counts here. See ``kernels.online.arms`` for the posteriors. Nothing is assumed
of how options act together but that effects add up until a combination is known itself; contexts are not heeded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from poet.errors import ConfigurationError
from poet.kernels.online import arms
from poet.kernels.online.arms import Arms, Beliefs
from poet.kernels.online.response import trusted
from poet.learning.tuners.candidates import MOST, combinations, key, plain, same_option
from poet.learning.tuners.dumps import (
    Scale,
    changes,
    packed,
    rng_of,
    rng_state,
    scales,
    scales_of,
    unpacked,
)
from poet.learning.tuners.outputs import outputs_of
from poet.learning.tuners.spsa import BATCH, HORIZON, tried
from poet.model.execution import Context
from poet.model.policy import Policy
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Space, Value

Array = npt.NDArray[np.float64]

HALF_LIVES = (60.0, 600.0, 10000.0)  # of the memories [trials]
PRIOR = (0.005, 0.02, 0.975)  # trust in each of them: changes are rare, and a short one tries much in vain
SHARE = 0.003  # of trust that is dealt out anew with each trial [1]
TEMPER = 0.5  # of the draws' spread [1]
UNTRIED_UNTIL, UNTRIED_SHARE = 200, 0.25  # trials, and suggestions, of options that were never tried
_Z90 = 1.645


def _typed(value: Value) -> tuple[type, Value]:
    return type(value), value  # as 1, 1.0 and True are three options


class ArmTuner:
    """See above. Arguments as all tuners have them.

    start: the declared values, within ``space``. constraints: how many slacks each trial has. most: combinations that
    are still few. Raises ConfigurationError where there are more.
    """

    def __init__(
        self, space: Space, start: Mapping[str, Value], *, seed: int = 0, constraints: int = 0, most: int = MOST
    ) -> None:
        self._space, self._start, self._most = space, {name: start[name] for name in space}, most
        found = combinations(space, self._start, most)
        if found is None:
            raise ConfigurationError(f"more than {most} combinations of values: another tuner serves, or coarser steps")
        self._candidates = found
        self._numbers = {key(values.values()): number for number, values in enumerate(found)}
        self._constraints = constraints
        self._rng = np.random.default_rng(seed)
        self._design = _design(found)
        self._costs = np.array([space[name].change_cost for name in space])
        self._arms = Arms.empty(len(HALF_LIVES), len(found), 1 + constraints)
        self._keep = np.array([0.5 ** (1.0 / half_life) for half_life in HALF_LIVES])
        self._trust = np.array(PRIOR)
        self._offset = np.zeros(1 + constraints)  # scores are kept as differences from it
        self._coins = True  # whether all scores were 0 or 1
        self._trials = 0
        self._held = 0  # the candidate that is believed to be the best
        self._waiting: list[tuple[int, Array]] = []  # candidates and scores that are to be learned from
        self._known: Beliefs | None = None

    # ------------------------------------------------------------ learning

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in; those whose score or slack is not finite, or whose values are no candidate, are passed over."""
        for trial in trials:
            scores, arm = outputs_of(trial, self._constraints), self._number(trial.values)
            if scores is None or arm is None:
                continue
            told = np.array(scores, dtype=float)
            if self._coins and float(told[0]) not in (0.0, 1.0):
                self._coins = False
            if not self._trials and not self._coins:
                self._offset = told
            self._waiting.append((arm, told - self._offset))
            self._trials += 1
            if len(self._waiting) >= min(max(1, self._trials // 25), BATCH):
                self._fold()

    def _fold(self) -> None:
        """What waits is learned from; while little is known after each trial, later after some, as that is quicker."""
        waiting, self._waiting = self._waiting, []
        if self._trials > 10:
            number, scores = np.array([arm for arm, _ in waiting]), np.array([told[0] for _, told in waiting])
            likelihood = arms.log_likelihood(self._beliefs(), number, scores, coins=self._coins)
            self._trust = trusted(self._trust, likelihood, SHARE, np.array(PRIOR), len(waiting))
        for arm, told in waiting:
            self._arms = arms.rewarded(self._arms, arm, told, self._keep)
        self._known = None
        self._held = self._best(np.einsum("m,mnk->nk", self._trust, self._beliefs().mean))

    def _number(self, values: Mapping[str, Value]) -> int | None:
        if any(name not in values for name in self._space):
            return None
        return self._numbers.get(key(plain(self._space, values, self._start).values()))

    def _beliefs(self) -> Beliefs:
        if self._known is None:
            self._known = arms.beliefs(self._arms, self._design)
        return self._known

    def _best(self, scores: Array) -> int:
        """The best candidate by ``scores``, (n, k), less what it costs to change to it; in a tie the held one."""
        score = scores[:, 0]
        if self._costs.any():
            score = score - np.array([self._cost(values) for values in self._candidates]) / HORIZON
        if self._constraints:
            slack = scores[:, 1:] + self._offset[1:]
            kept = (slack >= 0).all(axis=1)
            scale = np.maximum(np.abs(slack).max(axis=0), 1e-300)
            score = np.where(kept, score, -np.inf) if kept.any() else (slack / scale).min(axis=1)
        best = int(np.argmax(score))
        now = score[self._held]
        better = not np.isfinite(now) or score[best] - now > 1e-9 * max(1.0, abs(float(now)))  # and no rounding's
        return best if better else self._held

    def _cost(self, values: Mapping[str, Value]) -> float:
        held = self._candidates[self._held]
        costs = zip(self._space, self._costs.tolist(), strict=True)
        return float(sum(cost for name, cost in costs if values[name] != held[name]))

    # ------------------------------------------------------------ telling

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next, the best known included; the start where nothing was tried. The context is not heeded."""
        if not self._trials:
            return dict(self._start)
        untried = self._untried()
        if untried and self._rng.random() < UNTRIED_SHARE:
            return dict(self._candidates[untried[int(self._rng.integers(len(untried)))]])
        memory = int(np.searchsorted(np.cumsum(self._trust)[:-1], self._rng.random()))
        draw = arms.drawn(self._beliefs(), memory, TEMPER, self._rng, coins=self._coins)
        return dict(self._candidates[self._best(draw)])

    def _untried(self) -> list[int]:
        """Candidates that differ from what is held in one option, which was not seen with anything yet.

        Where scores have hardly any noise, what was never tried is believed to be just like what was, and draws alone
        would never come to it.
        """
        if self._trials > UNTRIED_UNTIL:
            return []
        seen = np.flatnonzero(self._arms.weight[-1] > 0)
        held = self._candidates[self._held]
        told = {name: {_typed(self._candidates[arm][name]) for arm in (*seen.tolist(), self._held)} for name in held}
        found = []
        for arm, values in enumerate(self._candidates):
            new = [name for name in held if not same_option(values[name], held[name])]
            if len(new) == 1 and _typed(values[new[0]]) not in told[new[0]]:
                found.append(arm)
        return found

    def recommend(self, context: Context = ()) -> Recommendation:
        """The candidate of the best posterior mean. The context is not heeded."""
        values = dict(self._candidates[self._held])
        if not self._trials:
            return Recommendation(dict(self._start), 0.0, -math.inf, math.inf, 0)
        found = self._beliefs()
        told = self._trust @ found.mean[:, self._held] + self._offset
        half = _Z90 * float(self._trust @ found.spread[:, self._held, 0])
        score = float(told[0])
        return Recommendation(values, score, score - half, score + half, self._trials, bool((told[1:] >= 0).all()))

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score [utility]; of values that are no candidate, the mean of all."""
        number = self._number(values)
        if number is None:
            return float(self._trust @ arms.pooled(self._arms)[0][:, 0] + self._offset[0])
        return float(self._trust @ self._beliefs().mean[:, number, 0] + self._offset[0])

    def policy(self, share: float, tries: int, own: Mapping[str, Value] | None = None) -> Policy:
        """Some calls try one of ``tries`` draws, the others use what is live."""
        return tried([self.suggest() for _ in range(tries)], share)

    # ------------------------------------------------------------ keeping

    def dump(self) -> bytes:
        """All it knows; exact."""
        head = {
            "scales": scales(self._space),
            "names": list(self._space),
            "candidates": [list(values.values()) for values in self._candidates],
            "constraints": self._constraints,
            "coins": self._coins,
            "trials": self._trials,
            "held": self._held,
            "waiting": [arm for arm, _ in self._waiting],
            "rng": rng_state(self._rng),
        }
        told = np.array([scores for _, scores in self._waiting]).reshape(-1, 1 + self._constraints)
        return packed("arms", head, (*self._arms, self._trust, self._offset, told))

    def load(self, state: bytes) -> tuple[str, ...]:
        """Take up where ``dump`` left off; what had to be dropped, in words. Raises ValueError, unchanged."""
        head, arrays = unpacked("arms", state)
        try:
            return self._taken(head, arrays)
        except (KeyError, TypeError, IndexError) as wrong:
            raise ValueError(f"no state of a tuner of arms: {wrong!r}") from wrong

    def _taken(self, head: dict[str, Any], arrays: Sequence[Array]) -> tuple[str, ...]:
        weight, mean, scatter, trust, offset, told = arrays
        heir = ArmTuner(self._space, self._start, constraints=self._constraints, most=self._most)
        old = scales_of(head["scales"])
        words = changes(old, {name: Scale.of(tunable) for name, tunable in self._space.items()})
        kept, lost = min(mean.shape[2], 1 + self._constraints), 0.0
        if mean.shape[2] != 1 + self._constraints:
            words.append(f"{mean.shape[2] - 1} constraints were learned, {self._constraints} are declared")
            weight, kept = np.zeros_like(weight), 0  # without their slacks scores would mislead
        else:
            heir._offset = offset
        now: dict[int, int] = {}  # numbers of candidates, then and now
        for number, values in enumerate(head["candidates"]):
            there = {**self._start, **dict(zip(head["names"], values, strict=True))}
            arm = heir._number({name: value for name, value in there.items() if name in self._space})
            if arm is None:
                lost += float(weight[-1, number])
                continue
            now[number] = arm
            if number == head["held"]:
                heir._held = arm
            if kept:
                _merge(heir._arms, arm, weight[:, number], mean[:, number], scatter[:, number])
        if lost and not words:
            words.append(f"values that are not to be had any more: {lost:.0f} trials' worth of evidence")
        heir._trust, heir._coins, heir._trials = trust, bool(head["coins"]), int(head["trials"])
        if kept:
            waiting = zip(head["waiting"], told, strict=True)
            heir._waiting = [(now[number], scores) for number, scores in waiting if number in now]
        heir._rng = rng_of(head["rng"])
        self.__dict__.update(heir.__dict__)
        return tuple(words)


def _merge(state: Arms, arm: int, weight: Array, mean: Array, scatter: Array) -> None:
    """Fold what another candidate had into ``arm``, in place."""
    own = state.weight[:, arm]
    total = np.where(own > 0, own + weight, weight)
    share = np.divide(weight, total, out=np.ones_like(weight), where=(total > 0) & (own > 0))[:, None]
    delta = mean - state.mean[:, arm]
    state.scatter[:, arm] += scatter + share * own[:, None] * delta**2
    state.mean[:, arm] = np.where(share == 1.0, mean, state.mean[:, arm] + share * delta)
    state.weight[:, arm] = total


def _design(candidates: Sequence[Mapping[str, Value]]) -> Array | None:
    """Which options each candidate has; None where only one tunable varies."""
    columns: list[list[float]] = []
    varied = 0
    for name in candidates[0]:
        seen = list(dict.fromkeys((type(each[name]), each[name]) for each in candidates))
        if len(seen) < 2:
            continue
        varied += 1
        columns.extend([float((type(each[name]), each[name]) == option) for each in candidates] for option in seen)
    return np.array(columns).T if varied > 1 else None
