"""Which option, by context: linear models of all scales of differences, weighed by their evidence.

The models explain the same scores. In some the context does not matter; in others it matters to the choice, from as
good as nothing to much, and shifts the scores of all options alike besides. In some, options differ by a tenth of the
noise, in others by twenty times as much: which it is, the data say. Each is hierarchical (``kernels.online.linear``):
options are alike until they are known to differ. The models are averaged, each as likely as it is to be the true one
(Bayesian model averaging; Hoeting et al. 1999), and what is kept of them are means and covariances of all together.

A suggestion is the option with the highest upper bound, some standard deviations above its mean; how many is drawn, the
same for all (randomised upper bounds: Vaswani et al. 2020): so options are not tried that are worse by chance only, and
none is given up for ever. Tries of a policy, which serve for many calls, are normal draws for each option (Thompson
1933).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.errors import ConfigurationError
from poet.kernels.online import linear
from poet.kernels.online.linear import Prior, Sums
from poet.kernels.online.student import half_width
from poet.learning.checks import count, finite
from poet.learning.tuners.candidates import MOST, combinations, key, levels, plain
from poet.learning.tuners.dumps import packed, rng_of, rng_state, unpacked
from poet.learning.tuners.features import MOST_WIDTH, Features
from poet.learning.tuners.outputs import outputs_of
from poet.model.execution import Context
from poet.model.policy import Contextual, Drawn, Pick, Weights
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Choice, Space, Value

Array = npt.NDArray[np.float64]

CELLS = 4500  # numbers of all options' sums, so that memory and dump stay small
LEVEL = 0.9  # of the interval that a recommendation tells

# Variances of the prior, as multiples of the noise's: of what all options share, of what a feature does to all alike;
# those of options' own are in MODELS.
SHARED, SHARED_SLOPE = 1.0, 0.5**2
FEW = 4.0  # features from which on each is believed to matter the less, the more there are
SHAPE = 2.0  # of the noise's prior: it is worth four scores
NOISE = 0.075  # variance of the noise, as a share of the squared range of scores, until scores were seen
TEMPER = 0.5  # how far trials go beyond the means
LEAST_REACH, MORE_REACH = 0.8, 1.2  # of a suggestion, and mean of an exponential law on top; times the temper [sd]
LEAST_HEAT, MORE_HEAT = 0.7, 0.3  # the same of a policy's tries, whose draws are normal; times the temper
TEMPERED = 1000.0  # trials after which the temper of tries is half way to 1
HALF_LIFE = 5000.0  # trials until what was seen weighs half
REFRESH = 0.04  # share of the trials known that may come before beliefs are brought up to date
OWN_REFRESH = 0.25  # share of an option's own that may
LONGEST_REFRESH = 256  # trials
REVIEW = 1.25  # times as many trials as at the last look at all models, refuted or not
LONGEST_REVIEW = 5000  # trials
REFUTED = 0.003  # probability below which a model is left out till then

# The watch for a change: cumulative sums of surprises, by option.
SHIFT = 0.5  # standard deviations of a score that are waited for
ALARM = 12.0  # evidence of a shift that raises an alarm [nats]: by chance once in some 160,000 trials, or more seldom
KNOWN = 20.0  # trials that an option's mean must rest on, before its scores can surprise
MOST_SURPRISE = 3.0  # standard deviations that one score counts for, at most
LEFT = 0.1  # of the weight of what was seen, after an alarm

# Where a change costs: how long it is believed to last.
HORIZON, TRIAL_HORIZON = 1000.0, 200.0  # trials; of a recommendation, and of what is tried out
CONTEXTS = 32  # that a policy's loss is averaged over
HOLD = 20  # trials that an option is held for, at least

_NO_KIND = (KeyError, TypeError, ValueError, OverflowError, IndexError, RecursionError)


class Model(NamedTuple):
    """What one of the models believes; variances are multiples of the noise's."""

    own: float  # of an option's own mean
    slope: float | None  # of what a feature does to it; None: nothing, nor to all options alike
    odds: float  # before anything was seen


# By what features do and by how far options differ; what was likely before is about what bandits meet: small effects.
MODELS = tuple(
    Model(own * own, None if slope is None else slope * slope, odds * likely)
    for slope, odds in ((None, 2.0), (0.01, 1.0), (0.15, 2.0), (0.4, 3.0), (1.0, 1.0))
    for own, likely in ((0.1, 1.0), (0.3, 6.0), (1.0, 1.5), (4.0, 0.3), (20.0, 0.1))
)


class _Watch(NamedTuple):
    """Evidence that an option's scores have become better, or worse [nats]."""

    up: float = 0.0
    down: float = 0.0


def arms_of(space: Space, start: Mapping[str, Value]) -> list[dict[str, Value]]:
    """All combinations of values that differ in what matters, the one of ``start`` first.

    Values that do not matter are as in ``start``. Raises ConfigurationError where there are more than 64, or where a
    tunable is a range.
    """
    usual: dict[str, Value] = {}
    for name, tunable in space.items():
        options = tunable.options if isinstance(tunable, Choice) else levels(tunable, MOST)
        if options is None:
            raise ConfigurationError(
                f"{name} is a range: a mixture chooses among at most {MOST} values, got {tunable!r}"
            )
        usual[name] = start.get(name, options[0])
    found = combinations(space, usual)
    if found is None:
        raise ConfigurationError(f"too many combinations of values: at most {MOST} are told apart")
    return found


def _apart(values: Mapping[str, Value], own: Mapping[str, Value]) -> dict[str, Value]:
    """Those of ``values`` that differ from ``own``."""
    return {name: value for name, value in values.items() if name not in own or key([value]) != key([own[name]])}


class MixtureTuner:
    """Chooses among at most 64 combinations of values, by context; implements ``poet.seams.Tuner``.

    space: Choices, or numbers with few steps. start: the declared defaults. constraints: slacks that each trial has.
    contextual: whether contexts may matter at all. half_life: trials until what was seen weighs half; inf: never.
    temper: how far trials go beyond what is believed, > 0: 0.5 explores as much as pays in the first thousand calls.
    seed: of the draws.

    Raises ConfigurationError where the space has a range, or too many combinations, or an argument is out of range.
    """

    def __init__(
        self,
        space: Space,
        start: Mapping[str, Value],
        *,
        seed: int = 0,
        constraints: int = 0,
        contextual: bool = True,
        half_life: float = HALF_LIFE,
        temper: float = TEMPER,
    ) -> None:
        if not half_life > 0:
            raise ConfigurationError(f"half_life must be > 0, got {half_life!r}")
        if not 0 < temper < math.inf:
            raise ConfigurationError(f"temper must be > 0 and finite, got {temper!r}")
        self._space, self._start = space, dict(start)
        self._arms = arms_of(space, start)
        self._targets = 1 + constraints
        self._contextual = contextual
        self._keep = 0.5 ** (1.0 / half_life)
        self._temper = temper
        self._rng = np.random.default_rng(seed)
        self._numbers = {key(arm.values()): number for number, arm in enumerate(self._arms)}
        self._simple = not any(tunable.condition for tunable in space.values())
        width = min(MOST_WIDTH, int(math.sqrt(CELLS / len(self._arms) / math.sqrt(self._targets))))
        self._features = Features(max(2, width) if contextual else 1)
        self._sums = Sums.none(len(self._arms), self._features.width, self._targets)
        self._tried = [0] * len(self._arms)  # trials, ever
        self._trials = self._passed = self._alarms = 0
        self._offset = np.zeros(self._targets)  # the first score and slacks, so that large ones lose no digits
        self._low, self._high = [0.0] * self._targets, [0.0] * self._targets
        self._watches = [_Watch()] * len(self._arms)
        costs = {name: tunable.change_cost for name, tunable in space.items() if tunable.change_cost > 0}
        self._costs = costs
        self._groups = self._grouped(costs)
        self._live = self._held = 0  # groups: that is recommended, and that is tried
        self._held_since = 0  # trials
        self._refreshed = -1  # trials known when beliefs were brought up to date
        self._reviewed = 0  # trials known when all models were looked at
        self._models: list[Model] = []  # those that are not refuted, without a context first
        self._known = np.zeros(len(self._arms))  # trials of each option then, those long ago the less
        self._new = [0] * len(self._arms)  # ... and since
        self._due = False  # whether an option has so many new ones that beliefs are to be brought up to date
        # of all models together, at the last refresh
        self._means = np.zeros((len(self._arms), 1, self._targets))
        self._lines = np.zeros((self._targets, len(self._arms), 1))  # the means by target, as suggestions want them
        self._swings = np.zeros((self._targets, len(self._arms), 1, 1))  # covariances of the weights
        self._noise = np.zeros(self._targets)  # variance of a score, and of slacks
        self._degrees = 2.0 * SHAPE
        # of those without a context: their probability; mean and variance of every option
        self._without = np.ones(self._targets)
        self._free = np.zeros((2, len(self._arms), self._targets))

    # --- what is seen -------------------------------------------------------------------------------------------------

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in, oldest first."""
        for trial in trials:
            self._fold(trial)

    def _fold(self, trial: Trial) -> None:
        arm, told = self._arm(trial.values), outputs_of(trial, self._targets - 1)
        if arm is None or told is None:
            self._passed += 1
            return
        y = np.array(told, dtype=float)
        if not self._trials:
            self._offset = y
            self._low, self._high = list(told), list(told)
        for target, value in enumerate(told):
            if not self._low[target] <= value <= self._high[target]:
                self._low[target] = min(value, self._low[target])
                self._high[target] = max(value, self._high[target])
        y = y - self._offset
        if self._contextual and trial.context:
            basis = self._features.observe(trial.context)
            if basis is not None:
                self._sums.change_basis(basis)
                self._refreshed = -1
            x = self._features.vector(trial.context)
            if len(x) > self._means.shape[1]:
                self._refreshed = -1
        else:
            x = _ONE
        if self._refreshed >= 0:
            self._look(arm, x, float(y[0]))
        self._sums.add(arm, x, y, self._keep)
        self._tried[arm] += 1
        self._trials += 1
        self._new[arm] += 1
        if self._new[arm] > OWN_REFRESH * self._known[arm]:
            self._due = True

    def _arm(self, values: Mapping[str, Value]) -> int | None:
        """The number of the arm with these values; None: there is none."""
        try:
            if not self._simple:
                values = plain(self._space, values, self._arms[0])
            return self._numbers.get(key(values[name] for name in self._space))
        except (KeyError, TypeError):
            return None

    def _look(self, arm: int, x: Array, score: float) -> None:
        """Watch for a change of what options score; after an alarm what was seen weighs less."""
        known = self._sums.gram[arm, 0, 0] / self._sums.unit
        if known < KNOWN:
            return
        mean = float(x @ self._means[arm, : len(x), 0])
        noise = float(self._noise[0]) * (1.0 + 1.0 / known)
        z = (score - mean) / math.sqrt(noise) if noise > 0 else 0.0
        z = max(-MOST_SURPRISE, min(MOST_SURPRISE, z))
        up, down = self._watches[arm]
        up = max(0.0, up + SHIFT * (z - 0.5 * SHIFT))
        down = max(0.0, down + SHIFT * (-z - 0.5 * SHIFT))
        if up > ALARM or down > ALARM:
            self._alarms += 1
            self._sums.gram *= LEFT
            self._sums.cross *= LEFT
            self._sums.squares *= LEFT
            self._sums.weight *= LEFT
            self._watches = [_Watch()] * len(self._arms)
            self._refreshed = -1
            return
        self._watches[arm] = _Watch(up, down)

    # --- what is believed ---------------------------------------------------------------------------------------------

    def _refresh(self, few: int | None = None) -> None:
        """Bring beliefs up to date, where more than ``few`` trials have come since; None: than are few."""
        if few is None:
            few = min(LONGEST_REFRESH, int(REFRESH * self._refreshed))
        if self._refreshed >= 0 and self._trials - self._refreshed <= few and not self._due:
            return
        self._due = False
        whole = self._refreshed < 0 or self._trials >= self._reviewed * REVIEW or self._trials < self._reviewed
        whole = whole or self._trials - self._reviewed >= LONGEST_REVIEW
        self._refreshed = self._trials
        sums = self._sums
        weight = sums.weight / sums.unit
        low, high = np.array(self._low), np.array(self._high)
        span = np.where(high > low, high - low, np.where(high != 0, np.abs(high), 1.0))
        centre = sums.cross[:, 0].sum(axis=0) / sums.weight if sums.weight > 0 else np.zeros(self._targets)
        scatter = np.maximum(sums.squares / sums.unit - weight * centre * centre, 0.0)
        total = (scatter + NOISE * span * span) / (weight + 1.0)
        d = self._features.used
        self._known = sums.gram[:, 0, 0] / sums.unit
        self._new = [0] * len(self._arms)
        if whole:
            self._reviewed = self._trials
            self._models = [model for model in MODELS if d > 1 or model.slope is None]
        models = self._models
        beliefs = [linear.posterior(sums, self._prior(model, d, centre, total)) for model in models]
        odds = np.log([[model.odds] for model in models])
        shares = linear.weights(np.array([belief.evidence for belief in beliefs]) + odds)
        plain = [number for number, model in enumerate(models) if model.slope is None]
        self._means, self._swings = linear.together(beliefs, shares, d)
        self._lines = np.ascontiguousarray(self._means.transpose(2, 0, 1))
        own = linear.weights(np.array([beliefs[number].evidence for number in plain]) + odds[plain])
        means, swings = linear.together([beliefs[number] for number in plain], own, 1)
        self._free = np.stack([means[:, 0], swings[:, :, 0, 0].T])
        self._noise = sum(share * belief.noise for share, belief in zip(shares, beliefs, strict=True))
        self._degrees = beliefs[0].degrees
        self._without = shares[plain].sum(axis=0)
        if whole:
            best = plain[int(np.argmax(own.max(axis=1)))]
            self._models = [m for n, m in enumerate(models) if n == best or shares[n].max() >= REFUTED]
        if self._costs:
            self._live = self._paying(self._free_means(), self._live, HORIZON)

    def _prior(self, model: Model, d: int, centre: Array, total: Array) -> Prior:
        """What the model believes of d features.

        All models expect the same spread of scores: the more options differ, the less of it is noise.
        """
        rate = SHAPE * total / (1.0 + model.own)
        if model.slope is None:
            return Prior(np.full(1, SHARED), np.full(1, model.own), centre, SHAPE, rate)
        shared = np.full(d, SHARED_SLOPE)
        shared[0] = SHARED
        own = np.full(d, model.slope / max(1.0, self._features.names / FEW))
        own[0] = model.own
        return Prior(shared, own, centre, SHAPE, rate)

    def _vector(self, context: Context) -> Array:
        """The context as a vector; of length 1 where nothing is known of it."""
        if not context or not self._contextual:
            return _ONE
        x = self._features.vector(context)
        return x if x[1:].any() else _ONE

    def _free_means(self) -> Array:
        """Mean of every option's score and slacks, whatever the context: (arms, targets)."""
        return np.asarray(self._free[0] + self._offset)

    def _best(self, told: Array, among: Sequence[int] | None = None) -> int:
        """The best option by ``told``, (arms, targets): of those that keep all constraints, else the least broken."""
        if self._targets == 1 and among is None:
            return int(told[:, 0].argmax())
        arms = range(len(told)) if among is None else among
        if self._targets == 1:
            return max(arms, key=told[:, 0].__getitem__)
        broken = self._kept(told)
        return max(arms, key=lambda arm: (broken[arm], told[arm, 0]))

    def _kept(self, told: Array) -> Array:
        """By how much every option breaks the constraints, in standard deviations of a slack: (arms,), <= 0."""
        return np.asarray((np.minimum(told[:, 1:], 0.0) / self._slack_scale).sum(axis=1))

    @property
    def _slack_scale(self) -> Array:
        return np.sqrt(np.maximum(self._noise[1:], 1e-300))

    # --- where a change costs -----------------------------------------------------------------------------------------

    def _grouped(self, costs: Mapping[str, float]) -> list[list[int]]:
        """Options that are changed between at no cost; the first group is that of the start."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for number, arm in enumerate(self._arms):
            groups.setdefault(key(arm[name] for name in costs), []).append(number)
        return list(groups.values())

    def _paying(self, told: Array, now: int, horizon: float) -> int:
        """The group to be in by ``told``, (arms, targets): another one than ``now`` where the change pays."""
        here = self._best(told, self._groups[now])
        best, most = now, 0.0
        for number, group in enumerate(self._groups):
            there = self._best(told, group)
            if self._targets > 1:
                kept = self._kept(told)
                if kept[there] < kept[here]:
                    continue
                if kept[there] > kept[here]:  # a constraint is worth any cost
                    return number
            a, b = self._arms[here], self._arms[there]
            cost = sum(cost for name, cost in self._costs.items() if key([a[name]]) != key([b[name]]))
            gain = horizon * float(told[there, 0] - told[here, 0]) - cost
            if gain > most:
                best, most = number, gain
        return best

    def _among(self) -> Sequence[int] | None:
        """The options that may be tried now; None: all."""
        if not self._costs:
            return None
        if self._trials - self._held_since >= HOLD or not self._trials:
            told = self._hoped(_ONE)
            group = self._paying(told, self._held, TRIAL_HORIZON)
            if group != self._held:
                self._held, self._held_since = group, self._trials
        return self._groups[self._held]

    # --- what to do ---------------------------------------------------------------------------------------------------

    def _hoped(self, x: Array) -> Array:
        """What every option's score and slacks may well be: (arms, targets).

        Bounds above the means, by as many standard deviations for all options: one draw, with a long tail.
        """
        means, variances = self._about(x)
        reach = self._temper * (LEAST_REACH + MORE_REACH * self._rng.exponential())
        return np.asarray(means + reach * np.sqrt(variances))

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next in such a call."""
        self._refresh()
        among = self._among()
        return dict(self._arms[self._best(self._hoped(self._vector(context)), among)])

    def _told(self, context: Context) -> tuple[Array, Array]:
        """Mean and variance of every option's mean, of all models together: (arms, targets) each."""
        self._refresh()
        return self._about(self._vector(context))

    def _about(self, x: Array) -> tuple[Array, Array]:
        """Mean and variance of every option's mean at a vector; beliefs as they are."""
        if len(x) == 1:
            means, variances = self._free
        else:
            means, variances = (self._lines @ x).T, ((self._swings @ x) @ x).T
        return means + self._offset, np.maximum(variances, 0.0)

    def recommend(self, context: Context = ()) -> Recommendation:
        """What is best in such a call; where nothing is known of the context, in all calls together."""
        self._refresh(0)
        means, variances = self._told(context)
        arm = self._best(means, self._groups[self._live] if self._costs else None)
        mean = float(means[arm, 0])
        half = half_width(LEVEL, self._degrees) * math.sqrt(variances[arm, 0])
        feasible = bool((means[arm, 1:] >= 0).all())
        return Recommendation(dict(self._arms[arm]), mean, mean - half, mean + half, self._trials, feasible)

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score of ``values``; of what is no combination of this space, that of all together."""
        means, _ = self._told(context)
        arm = self._arm(values)
        return float(means[:, 0].mean() if arm is None else means[arm, 0])

    def policy(self, share: float, tries: int, own: Mapping[str, Value] | None = None) -> Contextual:
        """How calls choose, each by its context, with draws made now.

        own: the values that calls use anyway, from which a pick names what differs; None: those of ``recommend()``.
        Raises ValueError where ``share`` is not in [0, 1] or ``tries`` is below 1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"share must be in [0, 1], got {share!r}")
        if tries < 1:
            raise ValueError(f"tries must be >= 1, got {tries!r}")
        self._refresh(0)
        live = self._groups[self._live] if self._costs else None
        own = own if own is not None else self._arms[self._best(self._free_means(), live)]
        best = self._made(0, self._means.copy(), live, own)._replace(unknown=self._unknown(self._free_means(), live))
        if share == 0:
            return Contextual(self._features.reading, 0.0, best)
        among = self._among()
        places = self._typical()
        drawn = tuple(self._try(number + 1, places, among, own) for number in range(tries))
        return Contextual(self._features.reading, float(share), best, drawn, self._loss(drawn, among, places))

    def _loss(self, tries: Sequence[Drawn], among: Sequence[int] | None, contexts: Array) -> float:
        """By how much the tries are believed to score less than the best, on average [score].

        Over contexts as they came, as far as their means and covariances tell.
        """
        arms = np.array(among if among is not None else range(len(self._arms)))
        means = contexts @ self._means[:, :, 0].T
        lost = []
        for drawn in tries:
            chosen = np.full(len(contexts), drawn.unknown)
            if drawn.scores:
                chosen = np.argmax(contexts @ np.array(drawn.scores).T, axis=1)
            lost.append(np.maximum(means.max(axis=1) - means[np.arange(len(contexts)), arms[chosen]], 0.0).mean())
        return float(np.mean(lost))

    def _typical(self) -> Array:
        """Vectors with the means and covariances of those that were seen, always the same ones: (n, used)."""
        d = self._features.used
        if d == 1 or not self._sums.weight:
            return np.eye(1, d)
        gram = self._sums.gram[:, :d, :d].sum(axis=0) / self._sums.weight
        centre = gram[0].copy()
        values, vectors = np.linalg.eigh(gram - np.outer(centre, centre))
        normal = np.random.default_rng(0).standard_normal((CONTEXTS, d))
        contexts = np.asarray(centre + normal * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)
        contexts[:, 0] = 1.0
        return contexts

    def _try(self, number: int, places: Array, among: Sequence[int] | None, own: Mapping[str, Value]) -> Drawn:
        """A draw of all weights, off their means as far as one of ``places`` shows most, and so not everywhere at once.

        Where nothing is known of a call's context, one of what is best whatever the context.
        """
        late = self._trials / (self._trials + TEMPERED)
        heat = self._temper + (1.0 - self._temper) * late
        means, variances = self._free
        free = means + heat * np.sqrt(np.maximum(variances, 0.0)) * self._rng.standard_normal(means.shape)
        plain = self._rng.random(self._targets) < self._without
        if plain.all():
            return self._made(number, free[:, None], among, own)
        place = places[int(self._rng.integers(len(places)))]
        told = self._swings @ place
        told /= np.sqrt(np.maximum(told @ place, 1e-300))[..., None]
        heat *= LEAST_HEAT + MORE_HEAT * self._rng.exponential()
        told *= heat * self._rng.standard_normal(told.shape[:2])[..., None]
        weights = self._means + told.transpose(1, 2, 0)
        weights[:, :, plain] = 0.0
        weights[:, 0, plain] = free[:, plain]
        drawn = self._made(number, weights, among, own)
        return drawn._replace(unknown=self._unknown(free + self._offset, among))

    def _unknown(self, told: Array, among: Sequence[int] | None) -> int:
        arms = list(among) if among is not None else list(range(len(told)))
        return arms.index(self._best(told, arms))

    def _made(self, number: int, told: Array, among: Sequence[int] | None, own: Mapping[str, Value]) -> Drawn:
        """One idea of all weights, (arms, d, targets), for the call path; changed in place."""
        told[:, 0] += self._offset
        arms = list(among) if among is not None else list(range(len(self._arms)))
        picks = tuple(Pick(number, _apart(self._arms[arm], own)) for arm in arms)
        unknown = self._unknown(told[:, 0], arms)
        if told.shape[1] == 1:
            return Drawn(picks, (), (), unknown)
        scales = np.ones(self._targets)
        scales[1:] = self._slack_scale
        by_target: list[Weights] = [
            tuple(map(tuple, (told[arms, :, target] / scales[target]).tolist())) for target in range(self._targets)
        ]
        return Drawn(picks, by_target[0], tuple(by_target[1:]), unknown)

    def notes(self) -> Iterator[str]:
        """What is bounded, left out or was noticed, in words."""
        yield from self._features.notes()
        if self._passed:
            yield f"{self._passed} trials passed over: values that are no combination of the space, or no finite score"
        if self._alarms:
            yield f"{self._alarms} times the scores changed, and what was seen before lost weight"

    # --- kept ---------------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """All it knows; beliefs are brought up to date, so that whoever loads it goes on as this one does."""
        self._refreshed = -1
        self._refresh(0)
        sums, used = self._sums, self._features.used
        rows, columns = np.tril_indices(used)
        tried = [number for number, n in enumerate(self._tried) if n]
        facts = {
            "arms": [[self._arms[number], self._tried[number], *self._watches[number]] for number in tried],
            "targets": self._targets,
            "features": self._features.dump(),
            "weight": sums.weight,
            "unit": sums.unit,
            "trials": [self._trials, self._passed, self._alarms, self._held_since],
            "spans": [self._offset.tolist(), self._low, self._high],
            "groups": [self._arms[self._groups[self._live][0]], self._arms[self._groups[self._held][0]]],
            "dice": rng_state(self._rng),
        }
        return packed("mixt", facts, (sums.gram[tried][:, rows, columns], sums.cross[tried][:, :used], sums.squares))

    def load(self, state: bytes) -> tuple[str, ...]:
        """Take up where ``dump`` left off."""
        try:
            return self._take(*unpacked("mixt", state))
        except _NO_KIND as error:
            raise ValueError(f"no state of a MixtureTuner: {error}") from error

    def _take(self, facts: Mapping[str, Any], parts: Sequence[Array]) -> tuple[str, ...]:
        """Become what was dumped, by a tuner of this space or of another one."""
        said: list[str] = []
        made = MixtureTuner.__new__(MixtureTuner)
        made.__dict__.update(self.__dict__)
        targets, kept = count(facts["targets"], least=1), facts["arms"]
        used = count(facts["features"]["used"], MOST_WIDTH, 1)
        triangles, cross, squares = parts
        shapes = [(len(kept), used * (used + 1) // 2), (len(kept), used, targets), (targets,)]
        if [part.shape for part in parts] != shapes or not all(np.isfinite(part).all() for part in parts):
            raise ValueError("numbers are missing")
        rows, columns = np.tril_indices(used)
        gram = np.zeros((len(kept), used, used))
        gram[:, rows, columns] = gram[:, columns, rows] = triangles
        shared = self._targets
        if targets < self._targets:
            said.append("all scores, as nothing is known of how they kept the constraints that are new")
            shared = 0
        width = self._features.width
        made._features = Features.load(facts["features"], width) if self._contextual else Features(1)
        fits = min(used, width)
        if fits < used and not self._contextual:
            said.append("what was known by context, as contexts are not to matter any more")
        elif fits < used:
            said.append(f"{used - fits} of {used} estimates of each option by context, as there is no more room")
        made._sums = Sums.none(len(self._arms), width, self._targets)
        made._tried, made._watches = [0] * len(self._arms), [_Watch()] * len(self._arms)
        for row, (values, tried, up, down) in enumerate(kept if shared else ()):
            arm, lost = self._mapped(values)
            said += [word for word in lost if word not in said]
            if arm is None:
                continue
            made._sums.gram[arm, :fits, :fits] += gram[row, :fits, :fits]
            made._sums.cross[arm, :fits, :shared] += cross[row, :fits, :shared]
            made._tried[arm] += count(tried)
            made._watches[arm] = _Watch(finite(up), finite(down))
        made._sums.unit = finite(facts["unit"])
        made._sums.weight = finite(facts["weight"])
        if not (made._sums.unit > 0 and made._sums.weight >= 0):
            raise ValueError("weights that cannot be")
        made._sums.squares[:shared] = squares[:shared]
        made._trials, made._passed, made._alarms, made._held_since = (count(each) for each in facts["trials"])
        spans = np.array([[finite(each) for each in row] for row in facts["spans"]])
        if spans.shape != (3, targets):
            raise ValueError("spans that cannot be")
        known = np.zeros((3, self._targets))
        known[:, :shared] = spans[:, :shared]
        made._offset, made._low, made._high = known[0], known[1].tolist(), known[2].tolist()
        live, held = (self._mapped(values)[0] or 0 for values in facts["groups"])
        made._live, made._held = (
            next(number for number, group in enumerate(self._groups) if arm in group) for arm in (live, held)
        )
        made._rng = rng_of(facts["dice"])
        if said and made._sums.gram[:, 0, 0].sum() < made._sums.weight * (1 - 1e-9):
            made._reweigh()  # what is gone has no part in what is known
        made._refreshed = -1
        made._refresh(0)
        if not shared:
            made._trials = made._held_since = 0
        self.__dict__.update(made.__dict__)
        return tuple(said)

    def _reweigh(self) -> None:
        """Forget what the options that are gone have scored."""
        sums = self._sums
        share = float(sums.gram[:, 0, 0].sum() / sums.weight)
        sums.weight *= share
        sums.squares *= share

    def _mapped(self, values: Mapping[str, Value]) -> tuple[int | None, list[str]]:
        """The arm that what was known of ``values`` is still true of, None where there is none; what was dropped."""
        told: dict[str, Value] = {}
        gone = "{}, which is no tunable any more: its values count together"
        lost = [gone.format(name) for name in values if name not in self._space]
        for name, tunable in self._space.items():
            value = values.get(name, self._arms[0][name])
            try:
                told[name] = tunable.check(name, value)
            except ConfigurationError:
                return None, [*lost, f"{name}={value!r}, which is no option any more"]
        arm = self._arm(told)
        return arm, lost if arm is not None else [*lost, f"{told!r}, which is no option any more"]


_ONE = np.ones(1)
_ONE.flags.writeable = False
