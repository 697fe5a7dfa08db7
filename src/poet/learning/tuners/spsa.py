"""Simultaneous perturbation for many calls, 0/1 scores and worlds that change; Thompson sampling on choices.

All numbers are varied at once about a centre, and all choices by Thompson sampling (Spall 1992 and 1998 vary by coins;
Thompson 1933). Gradient and curvature come from a regression on the (values, score) pairs themselves, as they arrive,
in several memories (``kernels.online.response``): so scores may be late, repeated, out of order or missing, calls may
overlap, and a caller's own values count as what they are. A draw of the coefficients says where to try next; their
mean says what is best. That is the adaptive, second-order form of Spall 2000, with averaging by regression in place of
averaged iterates, and gains that are the posterior's: long steps while little is known, none where there is nothing to
win.

Options of different choices add up (no interactions), and so do numbers, all within reach of the centre: what is found
is a local optimum. A Gaussian process looks further and costs more; ``learning.tuners.chosen`` says which one serves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.errors import ConfigurationError
from poet.kernels.online import response
from poet.kernels.online.response import Posterior, Surface
from poet.learning.axes import Cube
from poet.learning.tuners.candidates import same_option
from poet.learning.tuners.dumps import (
    Scale,
    alike,
    changes,
    packed,
    rng_of,
    rng_state,
    scales,
    scales_of,
    unpacked,
)
from poet.learning.tuners.outputs import outputs_of
from poet.model.execution import Context
from poet.model.policy import Policy, Tries
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Choice, Space, Value

Array = npt.NDArray[np.float64]

ONE_HALF_LIFE = 1000.0  # where there is room for one memory only [trials]
SHARE = 0.01  # of trust that is dealt out anew with each trial [1]
INTERCEPT = 100.0  # prior's standard deviation [noise]
LEAST_BEND = 1.0  # curvature that is believed in at least [noise per squared unit]
HORIZON = 300.0  # calls over which a gain must pay for a change [1]
BATCH = 24  # trials that are learned from together, at most
CANDIDATES = 24  # places that are compared where constraints or conditions forbid the direct way
MOST_COLUMNS = 36  # of a regression in all memories; beyond, there is but one of them,
MOST_BENT = 60  # and of more columns than these curvatures are not learned,
MOST_PLAIN = 100  # and more than these are not learned at all
_Z90 = 1.645


class Gains(NamedTuple):
    """How scores of one kind are learned from, and what is believed of them beforehand."""

    half_lives: tuple[float, ...]  # of the memories [trials]
    trust: tuple[float, ...]  # in each of them: changes are rare, and a short one tries much in vain; sums to 1
    width: float  # how far numbers are varied about the centre [share of the range]
    reach: float  # distance at which a trial counts for half [share of the range]
    temper: float  # of the draws' spread, of what Thompson sampling asks for [1]
    option: float  # priors' standard deviations [noise]
    slope: float  # [noise per unit]
    bend: float  # [noise per squared unit]
    peak: float = 0.0  # the prior mean of the fall on both sides of the centre, >= 0 [score per squared unit]
    noise: float = 0.0  # what is believed of it until there are scores; 0: nothing [score]
    least_noise: float = 0.0  # [score]


USUAL = Gains((25.0, 200.0, 5000.0), (0.1, 0.2, 0.7), 0.15, 0.45, 0.45, 1.0, 3.0, 40.0)
# A score of 0 or 1 says a tenth of what others do: only far steps show anything. What it may mean is bounded, though.
COIN = Gains((200.0, 5000.0), (0.2, 0.8), 0.35, 2.0, 0.5, 0.5, 3.0, 3.0, peak=3.0, noise=0.45, least_noise=0.2)


class SpsaTuner:
    """See above. Arguments as all tuners have them.

    start: the declared values, within ``space``. constraints: how many slacks each trial has.
    coins: whether scores are 0 or 1 only.
    Raises ConfigurationError where there are more options and numbers than a regression of bounded size holds.
    """

    def __init__(
        self,
        space: Space,
        start: Mapping[str, Value],
        *,
        seed: int = 0,
        constraints: int = 0,
        coins: bool = False,
    ) -> None:
        self._space, self._start = space, {name: start[name] for name in space}
        self._cube = Cube(space, start)
        self._names = tuple(space)
        self._constraints = constraints
        self._gains = COIN if coins else USUAL
        self._rng = np.random.default_rng(seed)
        row = self._cube.row(self._start)
        if row is None:
            raise ConfigurationError(f"start must name a value of each tunable, got {dict(start)!r}")
        levels = self._cube.levels
        self._numbers = [j for j, k in enumerate(levels) if not k]
        self._choices = [j for j, k in enumerate(levels) if k]
        rounded = self._cube.values(row)  # to the digits that people write; the start is no change for all that
        self._rounded = {name: value for name, value in rounded.items() if value != self._start[name]}
        steps = self._cube.steps()
        self._places = [None if (places := steps[j]) is None else np.array(places) for j in self._numbers]
        self._blocks: list[slice] = []
        first = 1
        for j in self._choices:
            self._blocks.append(slice(first, first + levels[j]))
            first += levels[j]
        d = len(self._numbers)
        self._first, self._bends = first, first + 2 * d <= MOST_BENT
        self._columns = first + (2 * d if self._bends else d)
        if self._columns > MOST_PLAIN:
            raise ConfigurationError(
                f"{first - 1} options and {d} numbers are more than can be learned together ({MOST_PLAIN - 1}):"
                " leave some of them fixed"
            )
        lives = self._gains.half_lives if self._columns <= MOST_COLUMNS else (ONE_HALF_LIFE,)
        tunables = [space[name] for name in self._names]
        self._conditional = np.array([bool(tunables[j].condition) for j in self._numbers], dtype=bool)
        self._conditions = any(tunable.condition for tunable in tunables)
        self._costs = np.array([tunable.change_cost for tunable in tunables])
        self._precision, self._middle = _priors(self._gains, first, d, self._columns, 1 + constraints)
        self._keep = np.array([0.5 ** (1.0 / half_life) for half_life in lives])
        # --- what it learns
        self._codes = np.array([int(row[j]) for j in self._choices], dtype=int)  # best options
        self._centre = np.array([row[j] for j in self._numbers])
        self._step = np.zeros(d)  # from the centre to the best numbers
        self._surface = Surface.empty(len(lives), self._columns, 1 + constraints)
        self._prior = np.array(self._gains.trust) if len(lives) > 1 else np.ones(1)
        self._trust = self._prior
        self._offset = np.zeros(1 + constraints)  # scores are kept as differences from the first ones
        self._trials = 0
        self._waiting: list[tuple[Array, Array]] = []  # columns and scores that are to be learned from
        self._known: Posterior | None = None
        self._widths = self._reach()

    # ------------------------------------------------------------ places

    def _reach(self) -> Array:
        """How far each number is varied: at least to its next value."""
        widths = np.full(len(self._numbers), self._gains.width)
        for i, places in enumerate(self._places):
            if places is not None and len(places) > 1:
                gaps = np.abs(places - self._centre[i])
                gaps[np.argmin(gaps)] = np.inf
                widths[i] = max(self._gains.width, 1.01 * float(gaps.min()))
        return widths

    def _values(self, codes: npt.NDArray[np.int_], numbers: Array) -> dict[str, Value]:
        point = [0.0] * len(self._names)
        for j, code in zip(self._choices, codes.tolist(), strict=True):
            point[j] = float(code)
        for j, x in zip(self._numbers, numbers.tolist(), strict=True):
            point[j] = x
        values = self._cube.values(point)
        for name, value in self._rounded.items():
            if values[name] == value:
                values[name] = self._start[name]
        return values

    def _active(self, values: Mapping[str, Value]) -> list[bool]:
        active = self._space.active(values)
        return [name in active for name in self._names]

    def _matrix(self, codes: npt.NDArray[np.int_], steps: Array) -> Array:
        """Columns of several places: codes (n, c), steps from the centre (n, d)."""
        n, d = steps.shape
        matrix = np.zeros((n, self._columns))
        matrix[:, 0] = 1.0
        rows = np.arange(n)
        for i, block in enumerate(self._blocks):
            matrix[rows, block.start + codes[:, i]] = 1.0
        matrix[:, self._first : self._first + d] = steps
        if self._bends:
            matrix[:, self._first + d :] = 0.5 * steps * steps
        if self._conditions:
            for row in range(n):
                self._silence(matrix[row], self._active(self._values(codes[row], self._centre + steps[row])))
        return matrix

    def _silence(self, column: Array, active: Sequence[bool]) -> None:
        """Tunables that do not matter have no part in the score."""
        for j, block in zip(self._choices, self._blocks, strict=True):
            if not active[j]:
                column[block] = 0.0
        d = len(self._numbers)
        for i, j in enumerate(self._numbers):
            if not active[j]:
                column[self._first + i :: d] = 0.0

    def _placed(self, values: Mapping[str, Value]) -> Array | None:
        """The column of ``values``; None where they are nowhere near the space."""
        row = self._cube.row(values)
        if row is None:
            return None
        column = np.zeros(self._columns)
        column[0] = 1.0
        for j, block in zip(self._choices, self._blocks, strict=True):
            column[block.start + int(row[j])] = 1.0
        d = len(self._numbers)
        if d:
            numbers = np.array([row[j] for j in self._numbers])
            if not float(np.abs(numbers - 0.5).max()) <= 1.5:
                return None
            steps = numbers - self._centre
            column[self._first : self._first + d] = steps
            if self._bends:
                column[self._first + d :] = 0.5 * steps * steps
        if self._conditions:
            self._silence(column, self._active(values))
        return column

    # ------------------------------------------------------------ learning

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in; those whose score or slack is not finite, or whose values are nowhere near, are passed over."""
        for trial in trials:
            scores, column = outputs_of(trial, self._constraints), self._placed(trial.values)
            if scores is None or column is None:
                continue
            if not self._trials:
                self._offset = np.array(scores, dtype=float)
            self._waiting.append((column, np.array(scores, dtype=float) - self._offset))
            self._trials += 1
            if len(self._waiting) >= min(max(1, self._trials // 25), BATCH):
                self._fold()

    def _fold(self) -> None:
        """What waits is learned from; while little is known after each trial, later after some, as that is quicker."""
        columns, scores = (np.array(part) for part in zip(*self._waiting, strict=True))
        self._waiting = []
        n, d = len(columns), len(self._numbers)
        if self._trials > 10 and len(self._trust) > 1:
            likelihood = response.log_likelihood(self._posterior(), columns, scores[:, 0])
            self._trust = response.trusted(self._trust, likelihood, SHARE, self._prior, n)
        weights = np.ones(n)
        if d:
            far = np.abs(columns[:, self._first : self._first + d]).max(axis=1)
            weights = 1.0 / (1.0 + (far / self._gains.reach) ** 4)
        self._surface = response.observe(self._surface, columns, scores, self._keep, weights)
        self._known = None
        self._move()

    def _posterior(self) -> Posterior:
        if self._known is None:
            least = 1e-9 * np.maximum(1.0, np.abs(self._offset))
            usual = least.copy()
            if self._gains.noise:
                least[0], usual[0] = self._gains.least_noise, self._gains.noise
            # scores that are all alike, as where nothing ever succeeds, speak for no peak here, nor for another place
            middle = self._middle if self._surface.squares[:, 0].any() else None
            self._known = response.posterior(self._surface, self._precision, least, middle=middle, usual_noise=usual)
        return self._known

    def _mean(self) -> tuple[Array, Array]:
        """Coefficients, (p, k), and noises, (k,), as all memories together believe."""
        post = self._posterior()
        return np.einsum("m,mpk->pk", self._trust, post.mean), self._trust @ post.noise

    def _chosen(self, coefficients: Array, noise: Array) -> tuple[npt.NDArray[np.int_], Array]:
        """The best options and steps from the centre by ``coefficients``, (p, k); in a tie those held for the best."""
        first, d = self._first, len(self._numbers)
        codes = self._codes.copy()
        for i, block in enumerate(self._blocks):
            effects = coefficients[block, 0]
            code = int(np.argmax(effects))
            if effects[code] > effects[codes[i]]:
                codes[i] = code
        slopes = coefficients[first : first + d, 0]
        bends = np.full(d, LEAST_BEND * noise[0])
        if self._bends:
            bends = np.maximum(-coefficients[first + d :, 0], bends)
        steps = np.clip(self._centre + np.clip(slopes / bends, -self._widths, self._widths), 0.0, 1.0) - self._centre
        if self._conditions or self._constraints:
            codes, steps = self._compared(coefficients, noise, codes, steps)
        if self._costs.any():
            codes, steps = self._worth_it(coefficients[:, 0], codes, steps)
        return codes, steps

    def _compared(
        self, coefficients: Array, noise: Array, codes: npt.NDArray[np.int_], steps: Array
    ) -> tuple[npt.NDArray[np.int_], Array]:
        """The best of some places: what is best now, the peak of the score alone, and others about both."""
        n, c, d = CANDIDATES, len(self._choices), len(self._numbers)
        many = np.tile(codes, (n, 1))
        if c:
            now = self._rng.random((n, c)) < 0.3
            other = self._rng.random((n, c)) < 0.25
            sizes = np.array([block.stop - block.start for block in self._blocks])
            many = np.where(now, self._codes, many)
            many = np.where(other, (self._rng.random((n, c)) * sizes).astype(int), many)
            many[0], many[1] = self._codes, codes
        far = np.tile(steps, (n, 1))
        if d:
            kind = self._rng.random((n, d))
            anywhere = self._step + self._widths * self._rng.uniform(-1.0, 1.0, (n, d)) * self._rng.random((n, 1))
            far = np.where(kind < 0.3, self._step, np.where(kind < 0.5, far, anywhere))
            far[0], far[1] = self._step, steps
            far = np.clip(np.clip(far, -self._widths, self._widths) + self._centre, 0.0, 1.0) - self._centre
        told = self._matrix(many, far) @ coefficients
        score = told[:, 0]
        if self._constraints:
            slack = ((told[:, 1:] + self._offset[1:]) / noise[1:]).min(axis=1)
            score = np.where(slack >= 0, score, -np.inf) if (slack >= 0).any() else slack
        best = int(np.argmax(score))
        return many[best], far[best]

    def _worth_it(
        self, coefficients: Array, codes: npt.NDArray[np.int_], steps: Array
    ) -> tuple[npt.NDArray[np.int_], Array]:
        """``codes`` and ``steps``, but for changes that cost more than they gain."""
        now, then = self._values(self._codes, self._centre + self._step), self._values(codes, self._centre + steps)
        cost = sum(
            cost for name, cost in zip(self._names, self._costs.tolist(), strict=True) if now[name] != then[name]
        )
        if not cost:
            return codes, steps
        dear = self._costs > 0
        stay_codes = np.where(dear[self._choices], self._codes, codes) if len(codes) else codes
        stay_steps = np.where(dear[self._numbers], self._step, steps) if len(steps) else steps
        both = self._matrix(np.stack([codes, stay_codes]), np.stack([steps, stay_steps])) @ coefficients
        return (codes, steps) if HORIZON * float(both[0] - both[1]) > cost else (stay_codes, stay_steps)

    def _move(self) -> None:
        """What is best is looked at anew, and the centre moved there where it is far enough away."""
        self._codes, self._step = self._chosen(*self._mean())
        shift = np.where(self._conditional, 0.0, self._step)
        if len(shift) and float(np.abs(shift / self._widths).max()) >= 0.5:
            self._surface = response.recentred(self._surface, shift, self._first)
            self._centre, self._step = self._centre + shift, self._step - shift
            self._widths = self._reach()
            self._known = None

    # ------------------------------------------------------------ telling

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next, the best known included; the start where nothing was tried. The context is not heeded."""
        if not self._trials:
            return dict(self._start)
        post = self._posterior()
        memory = int(np.searchsorted(np.cumsum(self._trust)[:-1], self._rng.random()))
        spread = self._gains.temper * (
            post.root[memory] @ self._rng.standard_normal((self._columns, 1 + self._constraints))
        )
        codes, steps = self._chosen(post.mean[memory] + spread * post.noise[memory], post.noise[memory])
        return self._values(codes, self._centre + steps)

    def _best(self) -> dict[str, Value]:
        return self._values(self._codes, self._centre + self._step) if self._trials else dict(self._start)

    def recommend(self, context: Context = ()) -> Recommendation:
        """The mode of the posterior mean within reach of the centre. The context is not heeded."""
        values = self._best()
        if not self._trials:
            return Recommendation(values, 0.0, -math.inf, math.inf, 0)
        column = self._placed(values)
        assert column is not None
        told = column @ self._mean()[0] + self._offset
        post = self._posterior()
        errors = post.noise[:, 0] * np.sqrt(np.einsum("p,mpq,q->m", column, post.covariance, column))
        half = _Z90 * float(self._trust @ errors)
        score = float(told[0])
        return Recommendation(values, score, score - half, score + half, self._trials, bool((told[1:] >= 0).all()))

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score [utility]; of values that are nowhere near, that of the best known."""
        column = self._placed(values)
        if column is None:
            column = self._placed(self._best())
            assert column is not None
        return float(column @ self._mean()[0][:, 0] + self._offset[0])

    def policy(self, share: float, tries: int, own: Mapping[str, Value] | None = None) -> Policy:
        """Some calls try one of ``tries`` draws, the others use what is live."""
        return tried([self.suggest() for _ in range(tries)], share)

    # ------------------------------------------------------------ keeping

    def dump(self) -> bytes:
        """All it knows; exact."""
        upper = np.triu_indices(self._columns)
        head = {
            "scales": scales(self._cube.tunables),
            "constraints": self._constraints,
            "bends": self._bends,
            "coins": self._gains is COIN,
            "trials": self._trials,
            "options": [self._cube_options(j)[k] for j, k in zip(self._choices, self._codes.tolist(), strict=True)],
            "rng": rng_state(self._rng),
        }
        _, moment, squares, weight = self._surface
        information = np.array([each[upper] for each in self._surface.information])
        waiting = np.array([column for column, _ in self._waiting]).reshape(-1, self._columns)
        told = np.array([scores for _, scores in self._waiting]).reshape(-1, 1 + self._constraints)
        best = (self._centre, self._step, self._trust, self._offset)
        arrays = (*best, information, moment, squares, weight, waiting, told)
        return packed("spsa", head, arrays)

    def _cube_options(self, j: int) -> tuple[Value, ...]:
        tunable = self._space[self._names[j]]
        assert isinstance(tunable, Choice)
        return tunable.options

    def load(self, state: bytes) -> tuple[str, ...]:
        """Take up where ``dump`` left off; what had to be dropped, in words. Raises ValueError, unchanged."""
        head, arrays = unpacked("spsa", state)
        try:
            return self._taken(head, arrays)
        except (KeyError, TypeError, IndexError) as wrong:
            raise ValueError(f"no state of an SPSA tuner: {wrong!r}") from wrong

    def _taken(self, head: dict[str, Any], arrays: Sequence[Array]) -> tuple[str, ...]:
        centre, step, trust, offset, triangles, moment, squares, weight, waiting, told = arrays
        p = moment.shape[1]
        information = np.zeros((len(trust), p, p))
        information[:, *np.triu_indices(p)] = triangles
        information += np.triu(information, 1).transpose(0, 2, 1)
        kept = _Kept(
            scales_of(head["scales"]),
            [*head["options"]],
            centre,
            step,
            trust,
            offset,
            Surface(information, moment, squares, weight),
            bool(head["bends"]),
            COIN if head.get("coins") else USUAL,
        )
        rng, trials = rng_of(head["rng"]), int(head["trials"])
        heir = SpsaTuner(self._space, self._start, constraints=self._constraints, coins=self._gains is COIN)
        same = alike(head["scales"], self._cube.tunables) and len(trust) == len(heir._trust)
        same = same and len(offset) == 1 + self._constraints and kept.bends == heir._bends
        if same:
            heir._codes = np.array([heir._code(i, option) for i, option in enumerate(kept.options)], dtype=int)
            heir._centre, heir._step, heir._surface = centre, step, kept.surface
            heir._trust, heir._offset = trust, offset
            heir._waiting = list(zip(waiting, told, strict=True))
        dropped = () if same else heir._translated(kept)
        heir._rng, heir._trials, heir._widths = rng, trials, heir._reach()
        self.__dict__.update(heir.__dict__)
        return dropped

    def _code(self, i: int, option: Value) -> int:
        """The number of an option of the ``i``-th choice; -1: it is none."""
        options = self._cube_options(self._choices[i])
        return next((k for k, each in enumerate(options) if same_option(each, option)), -1)

    def _translated(self, kept: _Kept) -> tuple[str, ...]:
        """Take over what still means something; the rest in words."""
        words = changes(kept.scales, {name: Scale.of(tunable) for name, tunable in self._cube.tunables.items()})
        old_first = 1 + sum(len(scale.options) for scale in kept.scales.values() if scale.kind == "choice")
        old_numbers = [name for name, scale in kept.scales.items() if scale.kind == "number"]
        before, d = old_first, len(old_numbers)
        target = np.full(kept.surface.moment.shape[1], -1)  # where each column goes; -1: nowhere
        factor = np.ones(len(target))
        target[0], column, best = 0, 1, iter(kept.options)
        for name, scale in kept.scales.items():
            if scale.kind != "choice":
                continue
            held = next(best)
            if name in self._names and (j := self._names.index(name)) in self._choices:
                i = self._choices.index(j)
                for k, option in enumerate(scale.options):
                    code = self._code(i, option)
                    target[column + k] = self._blocks[i].start + code if code >= 0 else -1
                if (code := self._code(i, held)) >= 0:
                    self._codes[i] = code
            column += len(scale.options)
        for k, name in enumerate(old_numbers):
            if name not in self._names or (j := self._names.index(name)) not in self._numbers:
                continue
            moved = kept.scales[name].moved(Scale.of(self._space[name]))
            if moved is None:
                continue
            i, (start, ratio) = self._numbers.index(j), moved
            self._centre[i], self._step[i] = start + ratio * kept.centre[k], ratio * kept.step[k]
            target[before + k], factor[before + k] = self._first + i, ratio
            if kept.bends and self._bends:
                target[before + d + k] = self._first + len(self._numbers) + i
                factor[before + d + k] = ratio * ratio
        if len(kept.offset) != 1 + self._constraints:
            self._inside()
            return (*words, f"{len(kept.offset) - 1} constraints were learned, {self._constraints} are declared")
        precision, middle = _priors(kept.gains, old_first, d, len(target), len(kept.offset))
        surface = response.without(kept.surface, target < 0, precision, middle)
        to, ratios = target[target >= 0], factor[target >= 0]
        rows = [m if len(kept.trust) == len(self._trust) else len(kept.trust) // 2 for m in range(len(self._trust))]
        self._surface.information[:, to[:, None], to] = surface.information[rows] * np.multiply.outer(ratios, ratios)
        self._surface.moment[:, to] = surface.moment[rows] * ratios[:, None]
        self._surface = self._surface._replace(squares=surface.squares[rows], weight=surface.weight[rows])
        self._offset = kept.offset
        if len(kept.trust) == len(self._trust):
            self._trust = kept.trust
        self._inside()
        return tuple(words)

    def _inside(self) -> None:
        """The centre and the best numbers are brought within the bounds."""
        centre = np.clip(self._centre, 0.0, 1.0)
        self._surface = response.recentred(self._surface, centre - self._centre, self._first)
        self._step = np.clip(self._centre + self._step, 0.0, 1.0) - centre
        self._centre = centre


class _Kept(NamedTuple):
    """What a dump tells."""

    scales: dict[str, Scale]
    options: list[Value]  # the best of each choice
    centre: Array
    step: Array
    trust: Array
    offset: Array
    surface: Surface
    bends: bool
    gains: Gains


def _priors(gains: Gains, first: int, numbers: int, columns: int, scores: int) -> tuple[Array, Array | None]:
    """Precisions, (p,), and means, (p, k), of the coefficients' priors; None: they lie about 0.

    first: columns before the numbers' slopes. columns: of all. scores: a trial's, slacks included.
    """
    bends = columns - first - numbers
    deviations = [INTERCEPT, *[gains.option] * (first - 1), *[gains.slope] * numbers, *[gains.bend] * bends]
    middle = np.zeros((columns, scores))
    middle[first + numbers :, 0] = -gains.peak
    return 1.0 / np.square(np.array(deviations)), middle if gains.peak else None


def tried(draws: Sequence[Mapping[str, Value]], share: float) -> Tries:
    """A policy by which ``share`` of the calls try one of ``draws``.

    Each names all values, also those that are as recommended: the version that is live may be behind.
    """
    return Tries(share, tuple(dict(draw) for draw in draws))
