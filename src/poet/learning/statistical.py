"""The plan's statistical methods, each truly doing what its name says; for whoever drives his parameters himself.

Performance-weighted moving averages, Thompson sampling and Bayesian optimisation may be asked one by one;
``update_parameters`` combines performance gradients, momentum and adaptive rates into the next call's parameters.
It steps at once, by slopes; ``OnlineLearner``, which decorated functions learn with, has a picture of latency and
failures, and changes nothing before it is sure. benchmarks/README.md has both side by side, and each method by itself.
"""

from __future__ import annotations

import math
import random
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from poet.errors import ConfigurationError
from poet.kernels.online import bandit, ewma
from poet.kernels.online.bandit import Arm
from poet.kernels.online.convergence import Convergence, Watch, improvement, looked, watched
from poet.kernels.online.ewma import Praised, Weighted
from poet.kernels.online.student import half_width
from poet.learning.axes import Axis, Cube, declared_axis, guessed_axis, is_number
from poet.model.estimate import Estimate
from poet.model.execution import Outcome
from poet.model.feedback import ExecutionFeedback
from poet.model.objective import Objective
from poet.model.tunable import Choice, Integer, Real, Space, Value

if TYPE_CHECKING:
    from poet.kernels.online.gradient import Pace, Sketch
    from poet.kernels.online.surrogate import Array, Hyper

Candidate = TypeVar("Candidate", bound=Value)

LIMIT, RETRIES = "timeout", "retries"  # the two whose gradient follows from what each call tells of its own limit
LONGEST, MOST_RETRIES = 300.0, 5  # where no space says otherwise [s], [1]

HALF_LIFE = 100.0  # of all that is remembered [calls]
HORIZON = 1000.0  # calls that an improvement is to be enjoyed for
LEVEL = 0.9  # of all intervals
WINDOW = 0.35  # before a limit, in which answers tell of those behind it [e-folds]
REACH = 0.05  # a step so long halves the weight of what was seen before it: slopes are local [1]
BELIEF = 0.5  # retries' worth of a chance of one half that one mends, before any was seen
STRIDE = 5  # calls from one step along a regressed gradient to the next, so that each sees mostly new calls
LOOK = 5  # calls from one look at convergence to the next
STEADY = 3.0  # half-lives of the mean that new scores are compared with: it must not follow a change at once
EPOCH = 50  # calls whose mean score is compared with that of the next ones
WARM = 30  # scores that say what is usual, before anything can be unusual
WORST = -2.0  # no call scores less, in values of a success: one hang must not drown all else
ABSURD = 86_400.0  # a call that took longer than a day was not measured right [s]
STEADFAST = 100.0  # usual latencies beyond which a limit that always ends the wait is not made longer
FARTHEST = 10.0  # limits as somebody set it that it may become where no answer was ever seen
MOST_ARMS = 64  # values of one parameter that are told apart
MOST_SEEN = 128  # attempts that a limit's slope is taken from
_FITTED = 100  # rows, the newest of them, that hyper-parameters are learned from
_TOLD = 8  # of the last parameters handed out, these are known to be ours
_FADED = 0.1  # what is left of all knowledge after a change


class Gradient(NamedTuple):
    """Slope of the score in one parameter, per step of 1 on its axis, and its standard error; inf: not known yet."""

    value: float
    error: float


class StatisticalOnlineLearner:
    """Learns numeric parameters of functions from scores; every state is kept per function *and* parameter.

    It is no ``OnlineLearner`` and shares no state with one, only ``update_parameters``: the plan lists both beside each
    other, and a subclass would promise all that ``poet.seams.Learner`` does.

    base_learning_rate: longest first step, in (0, 0.5]; 1 is a factor of 10 on a log scale, or the whole range where it
        is narrower. Rates then adapt, between a tenth and four times of it.
    momentum: of the steps, in [0, 1).
    confidence_threshold: least probability that a gradient has its sign for which a step is taken, in [0, 1).
    exploration_rate: how far a call's parameters are varied about the learned ones, in [0, 1], in steps of 1 as above;
        without it a gradient cannot be seen. ``timeout`` and ``retries`` are never varied: their gradients are seen
        without. It ends where learning has converged.
    convergence_threshold: score per call that further learning must promise, >= 0, to be worth its cost.
    objective: what a call is worth. Its success target is not heeded; a latency cost of None is derived from the first
        20 answers.
    space: hard bounds; what is missing there keeps within a tenth and ten times of the first value that is seen,
        ``timeout`` up to 300 s, ``retries`` in 0 .. 5.
    half_life: calls until what was seen weighs one half, > 1.
    seed: of all dice. Two learners of equal arguments that are told the same say the same.

    Raises ConfigurationError where an argument is out of range. Not safe to use from several threads at once.
    """

    __slots__ = (
        "_fitted",
        "_functions",
        "_last",
        "_objective",
        "_seed",
        "_space",
        "base_learning_rate",
        "confidence_threshold",
        "convergence_threshold",
        "exploration_rate",
        "half_life",
        "momentum",
        "successful_updates",
        "update_count",
    )

    def __init__(
        self,
        base_learning_rate: float = 0.05,
        momentum: float = 0.9,
        confidence_threshold: float = 0.7,
        exploration_rate: float = 0.1,
        *,
        convergence_threshold: float = 0.01,
        objective: Objective | None = None,
        space: Mapping[str, Real | Integer | Choice] | None = None,
        half_life: float = HALF_LIFE,
        seed: int = 0,
    ) -> None:
        for name, value, fits, range_ in (
            ("base_learning_rate", base_learning_rate, 0 < base_learning_rate <= 0.5, "(0, 0.5]"),
            ("momentum", momentum, 0 <= momentum < 1, "[0, 1)"),
            ("confidence_threshold", confidence_threshold, 0 <= confidence_threshold < 1, "[0, 1)"),
            ("exploration_rate", exploration_rate, 0 <= exploration_rate <= 1, "[0, 1]"),
            ("convergence_threshold", convergence_threshold, 0 <= convergence_threshold < math.inf, "[0, inf)"),
            ("half_life", half_life, 1 < half_life < math.inf, "(1, inf)"),
        ):
            if not fits:
                raise ConfigurationError(f"{name} must be in {range_}, got {value!r}")
        self.base_learning_rate = base_learning_rate
        self.momentum = momentum
        self.confidence_threshold = confidence_threshold
        self.exploration_rate = exploration_rate
        self.convergence_threshold = convergence_threshold
        self.half_life = half_life
        self.update_count = 0  # calls told of
        self.successful_updates = 0  # after which learned values differed
        self._objective = objective if objective is not None else Objective()
        self._space = Space(**dict(space or {}))
        self._seed = seed
        self._functions: dict[str, _Function] = {}
        self._last: datetime | None = None
        self._fitted: tuple[tuple[tuple[int, ...], bytes, bytes], Hyper] | None = None  # from which rows, and what

    # ------------------------------------------------------------ the three methods

    def exponential_weighted_moving_average(
        self, param_name: str, new_value: float, performance_score: float, *, function_name: str = ""
    ) -> float:
        """The mean of a parameter's values, each weighing by how well it scored, the old ones less and less.

        new_value: what was tried. performance_score: how it did, on any scale, the higher the better.
        A value weighs ``exp(z)`` where its score is z standard deviations above the usual, within +-3.
        Raises ConfigurationError where one of them is no finite number.
        """
        for name, value in (("new_value", new_value), ("performance_score", performance_score)):
            if not is_number(value):
                raise ConfigurationError(f"{name} must be a finite number, got {value!r}")
        return self._function(function_name).tried(param_name, new_value, float(performance_score), self.half_life)

    def record(self, param_name: str, value: Value, performance_score: float, *, function_name: str = "") -> None:
        """Tell ``thompson_sampling`` how a candidate of any kind did; a number's average moves as well.

        Raises ConfigurationError where the score is no finite number.
        """
        if not is_number(performance_score):
            raise ConfigurationError(f"performance_score must be a finite number, got {performance_score!r}")
        self._function(function_name).tried(param_name, value, float(performance_score), self.half_life)

    def thompson_sampling(
        self, param_name: str, candidate_values: Sequence[Candidate], *, function_name: str = ""
    ) -> Candidate:
        """The candidate to try next: each as often as it is likely to be the best by all scores that it had.

        Scores come from ``record``, ``exponential_weighted_moving_average`` and ``update_parameters``, which takes note
        of texts and bools, too. A candidate that was never tried is believed to be like the others, in doubt. Scores
        that were only ever 0 and 1 have Beta posteriors, all others Normal-Gamma ones.
        Raises ConfigurationError where there is no candidate.
        """
        if not len(candidate_values):
            raise ConfigurationError(f"candidate_values of {param_name} are empty: name at least one")
        known = self._function(function_name)
        arms = [known.arm(param_name, value) for value in candidate_values]
        if known.binary(param_name):
            coins = [bandit.Coin(arm.weight * arm.mean, arm.weight * (1.0 - arm.mean)) for arm in arms]
            return candidate_values[bandit.choose_coin(coins, known.dice)]
        return candidate_values[bandit.choose(arms, known.dice)]

    def bayesian_optimization(
        self,
        param_space: Mapping[str, object],
        performance_history: Iterable[object],
        *,
        explore: bool = True,
    ) -> dict[str, Value]:
        """The parameters to try next, by a Gaussian process through all that was tried, and expected improvement.

        param_space: by name a ``poet.Real``, ``Integer`` or ``Choice``, a pair of numbers, or a list of options.
        performance_history: what was tried, oldest first: (parameters, score) pairs, or mappings with ``parameters``
            (or ``parameter_values``, ``parameters_used``) and ``score`` (or ``performance_score``, ``performance``; or
            ``success`` alone, as 1 or 0). Rows that lack one, or whose score is no finite number, are left out; of more
            than 200 the newest count.
        explore: False recommends instead the best of what was tried, by its posterior mean: never the luckiest score.

        Begins in the middle of the space and far from what was tried. The same history gives the same answer. Some
        milliseconds, and now and then, when it learns how rough the score is, some tens more.
        Raises ConfigurationError where a range is none.
        """
        import numpy as np

        from poet.kernels.online import surrogate

        cube = Cube(param_space)
        trials = [(cube.row(values), score) for values, score in map(_trial, performance_history) if score is not None]
        rows = [(row, score) for row, score in trials if row is not None][-surrogate.MOST :]
        if not rows:
            return cube.values([0.5 if not k else 0.0 for k in cube.levels])
        rng = np.random.default_rng((self._seed & 0xFFFFFFFF, len(rows)))
        x = np.array([row for row, _ in rows])
        if explore and len(rows) < len(cube.levels) + 2:
            found = surrogate.anywhere(64, cube.levels, rng)
            gaps = np.abs(found[:, None, :] - x[None, :, :])
            gaps = np.where(np.asarray(cube.levels) > 0, np.minimum(gaps, 1.0), gaps)
            return cube.values(found[int(np.argmax((gaps**2).sum(axis=2).min(axis=1)))].tolist())
        scores = np.array([score for _, score in rows])
        process = surrogate.fit(x, scores, cube.levels, self._hyper(x, scores, cube.levels), learn=False)
        if not explore:
            return cube.values(surrogate.recommended(process).tolist())
        candidates = np.array([cube.rounded(point) for point in surrogate.scattered(process, rng).tolist()])
        return cube.values(surrogate.propose(process, rng, candidates=candidates).point.tolist())

    def _hyper(self, x: Array, scores: Array, levels: tuple[int, ...]) -> Hyper:
        """Hyper-parameters, learned from the first 8, 10, 12, 15 ... rows: rarely anew, and reproducible."""
        from poet.kernels.online import surrogate

        n = len(scores)
        end = 8
        while end * 5 // 4 <= n:
            end = end * 5 // 4
        first = slice(max(0, min(n, end) - _FITTED), min(n, end))
        known = (levels, x[first].tobytes(), scores[first].tobytes())
        if self._fitted is None or self._fitted[0] != known:
            prior = surrogate.usual(levels, trend=True)
            self._fitted = known, surrogate.fit(x[first], scores[first], levels, prior=prior).hyper
        return self._fitted[1]

    # ------------------------------------------------------------ all together

    def update_parameters(self, feedback: ExecutionFeedback, current_params: dict[str, Any]) -> dict[str, Any]:
        """Learn from one call of ``feedback.function_name`` and give the parameters of the next one.

        current_params: those of the call, as returned last; ``feedback.parameters_used`` counts instead where given.
        Returns a new dict of the same keys. Numbers may differ, within bounds; whole numbers stay whole, but for
        ``timeout`` and what ``space`` declares as Real; anything else, and what is nan, stays as it is.

        Nothing is raised for odd feedback; ``statistics()`` counts what was left out: a duration that is negative, nan
        or over a day says nothing of latency, and the call counts by its success alone; a quality beyond [0, 1] is
        clipped, and one that is nan unknown. Timestamps are not used: calls are counted, so that a clock that goes
        back, or a month without calls, changes nothing.
        """
        known = self._function(feedback.function_name)
        self.update_count += 1
        self._last = datetime.now(UTC)
        params, moved = known.after(feedback, current_params, self)
        self.successful_updates += moved
        return params

    # ------------------------------------------------------------ what it knows

    @property
    def parameter_estimators(self) -> dict[str, Praised]:
        """The moving averages; keys are ``function:parameter``, or the parameter alone where no function was named."""
        return {key: track.estimator for key, _, track in self._tracks()}

    @property
    def confidence_intervals(self) -> dict[str, Estimate]:
        """Where the mean of good values lies, with 90 % intervals; infinite ones while there are too few values."""
        found = {}
        for key, _, track in self._tracks():
            values = track.estimator.values
            found[key] = Estimate(values.mean, *ewma.interval(values, LEVEL), values.n, LEVEL)
        return found

    @property
    def learning_rates(self) -> dict[str, float]:
        """Longest step that each parameter takes now; 1 is a factor of 10 on a log scale."""
        return {key: self.base_learning_rate if t.pace is None else t.pace.rate for key, _, t in self._tracks()}

    def detect_convergence(
        self, param_name: str, stability_threshold: float | None = None, *, function_name: str | None = None
    ) -> bool:
        """Whether further learning of this parameter is worth less than ``stability_threshold`` score per call.

        By what its gradient, doubt included, still promises, in three looks in a row; not because it has stopped
        moving, as one does also at a bound that is in its way. None: ``convergence_threshold``, as in ``statistics``.
        function_name: of one function; None: of all that have this parameter. False where none has.
        """
        tracks = [
            (known, known.tracks[param_name])
            for name, known in self._functions.items()
            if param_name in known.tracks and function_name in (None, name)
        ]
        if stability_threshold is None:
            return bool(tracks) and all(track.convergence.converged for _, track in tracks)
        return bool(tracks) and all(
            track.convergence.looks >= 3 and known.promise(param_name, self) < stability_threshold
            for known, track in tracks
        )

    def statistics(self) -> dict[str, dict[str, Any]]:
        """What was learned, function by function.

        ``calls``, ``failures``; ``updates``: calls after which learned values differed; ``score``: of late, with its
        interval; ``gain``: the mean score of the newest 50 calls over that of the first 50 (after the last drift, where
        there was one), None before there are both; ``improvements``, ``setbacks``: how often 50 calls were credibly
        better, or worse, than the 50 before, by a 90 % interval of the difference (without a change one in twenty
        counts as each); ``drifts``: changes noticed; ``converged``, ``rates``, ``gradients`` (slope and its standard
        error, per step of 1) and ``at_bound`` by parameter; ``left_out``: odd feedback, by what was odd.

        What improves may be the service: a gain says that, not why.
        """
        return {name: known.statistics(self) for name, known in self._functions.items()}

    def get_learning_stats(self) -> dict[str, Any]:
        """The same over all functions, with the names that the first POET gave them.

        ``success_rate`` is the share of calls after which learned values differed; ``average_confidence`` the mean
        probability that a gradient has its sign; ``global_performance_trend`` the mean gain of all functions that have
        one, else 0.
        """
        tracks = list(self._tracks())
        sure = [_certainty(track.gradient) for _, _, track in tracks if math.isfinite(track.gradient.error)]
        gains = [known.gain() for known in self._functions.values()]
        told = [gain.value for gain in gains if gain is not None]
        return {
            "update_count": self.update_count,
            "successful_updates": self.successful_updates,
            "success_rate": self.successful_updates / self.update_count if self.update_count else 0.0,
            "parameters_tracked": len(tracks),
            "average_confidence": sum(sure) / len(sure) if sure else 0.5,
            "last_update": None if self._last is None else self._last.isoformat(),
            "convergence_status": {key: track.convergence.converged for key, _, track in tracks},
            "global_performance_trend": sum(told) / len(told) if told else 0.0,
        }

    # ------------------------------------------------------------ within

    def _function(self, name: str) -> _Function:
        known = self._functions.get(name)
        if known is None:
            seed = zlib.crc32(str(name).encode("utf-8", "surrogatepass"), self._seed & 0xFFFFFFFF)
            known = self._functions[name] = _Function(random.Random(seed), self._objective, self._space)
        return known

    def _tracks(self) -> Iterable[tuple[str, _Function, _Track]]:
        for name, known in self._functions.items():
            for parameter, track in known.tracks.items():
                if track.axis is None and not track.estimator.values.n:
                    continue  # a choice: no number to tell of
                yield (f"{name}:{parameter}" if name else parameter), known, track


class _Seen(NamedTuple):
    """One attempt of which it is known how long it took, or that it had not ended by then."""

    seconds: float
    answered: bool


class _Counts(NamedTuple):
    """Fading counts."""

    calls: float = 0.0
    failed: float = 0.0  # of them, with all their retries, and not by their own fault
    mended: float = 0.0  # retries that were answered
    retried: float = 0.0  # that were made
    late_mended: float = 0.0  # of those right after a timeout
    late_retried: float = 0.0

    def faded(self, keep: float) -> _Counts:
        """When they weigh ``keep`` of what they did."""
        return _Counts._make(keep * count for count in self)


class _Track:
    """What is known of one parameter of one function."""

    __slots__ = ("arms", "axis", "binary", "convergence", "estimator", "given", "gradient", "pace", "place", "told")

    def __init__(self) -> None:
        self.estimator = Praised()
        self.arms: dict[Value, Arm] = {}
        self.binary = True  # whether all scores were 0 or 1
        self.axis: Axis | None = None  # None: told of by name only, never updated
        self.place = 0.0  # what was learned, on the axis
        self.given: tuple[float, int | float] | None = None  # a place, and the value that somebody gave there
        self.pace: Pace | None = None
        self.gradient = Gradient(0.0, math.inf)
        self.convergence = Convergence()
        self.told: deque[Value] = deque(maxlen=_TOLD)

    def tried(self, value: Value, score: float, half_life: float) -> None:
        if is_number(value):
            self.estimator = ewma.praise(self.estimator, float(value), score, half_life=half_life)
        self.binary = self.binary and score in (0.0, 1.0)
        keep = 0.5 ** (1.0 / half_life)
        self.arms = {each: bandit.faded(arm, keep) for each, arm in self.arms.items()}
        self.arms[value] = bandit.rewarded(self.arms.get(value, Arm()), score)
        if len(self.arms) > MOST_ARMS:
            del self.arms[min(self.arms, key=lambda each: self.arms[each].weight)]

    def put(self, axis: Axis, value: int | float) -> None:
        """Go on from ``value``, which somebody else has chosen."""
        self.axis, self.place = axis, axis.place(value)
        self.given = (self.place, value) if axis.low <= value <= axis.high else None

    def learned(self) -> int | float:
        """What was learned; as it was given, to the last digit, while nothing was."""
        assert self.axis is not None
        if self.given is not None and self.given[0] == self.place:
            return self.given[1]
        return self.axis.value(self.place)


class _Function:
    """What is known of one function."""

    def __init__(self, dice: random.Random, objective: Objective, space: Space) -> None:
        self.dice = dice
        self.tracks: dict[str, _Track] = {}
        self.left_out: Counter[str] = Counter()
        self.calls = self.failures = self.updates = self.drifts = 0
        self.score = Weighted()
        self._objective = objective
        self._space = space
        self._answers: list[float] = []  # the first 20, or the first 20 after a drift [s]
        self._longest = 0.0  # that anybody has waited [s]
        self._watch = Watch()
        self._moved = 0  # call after which learned values differed last
        self._seen: deque[_Seen] = deque(maxlen=MOST_SEEN)
        self._chosen_limit = math.inf  # that somebody else has set [s]
        self._counts = _Counts()
        self._names: tuple[str, ...] = ()  # of what the gradient is regressed on
        self._sketch: Sketch | None = None
        self._epoch = Weighted()
        self._first: Weighted | None = None
        self._newest: Weighted | None = None
        self._better = self._worse = 0

    # ------------------------------------------------------------ told by name

    def tried(self, name: str, value: Value, score: float, half_life: float) -> float:
        track = self.tracks.setdefault(name, _Track())
        track.tried(value, score, half_life)
        return track.estimator.values.mean

    def arm(self, name: str, value: Value) -> Arm:
        track = self.tracks.get(name)
        return Arm() if track is None else track.arms.get(value, Arm())

    def binary(self, name: str) -> bool:
        track = self.tracks.get(name)
        return track is not None and track.binary and bool(track.arms)

    # ------------------------------------------------------------ one call

    def after(
        self, feedback: ExecutionFeedback, current: Mapping[str, Any], learner: StatisticalOnlineLearner
    ) -> tuple[dict[str, Any], bool]:
        """The next call's parameters, and whether learned values differ."""
        self.calls += 1
        numbers = {name: value for name, value in current.items() if is_number(value)}
        used = {name: v for name, v in {**numbers, **dict(feedback.parameters_used or {})}.items() if name in numbers}
        used = {name: value if is_number(value) else numbers[name] for name, value in used.items()}
        for name, value in numbers.items():
            self._take_up(name, value, learner)
        score = self._scored(feedback)
        drift = self._judge(score, learner)
        choices = {**current, **dict(feedback.parameters_used or {})}
        for name, value in (used | {n: v for n, v in choices.items() if isinstance(v, str | bool)}).items():
            self.tried(name, value, score, learner.half_life)
        self._note(feedback, used, learner)
        before = {name: self.tracks[name].learned() for name in numbers}
        self._regress(used, score, learner)
        for name in numbers:
            self._step(name, learner)
        if drift or self.calls % LOOK == 0:
            for name in numbers:
                self._look(name, learner, drift=drift)
        moved = any(self.tracks[name].learned() != value for name, value in before.items())
        self.updates += moved
        self._moved = self.calls if moved else self._moved
        told = {name: self._varied(name, learner) for name in numbers}
        kept = {name: float(told[name]) if isinstance(value, float) else told[name] for name, value in numbers.items()}
        return {**current, **kept}, moved

    def _take_up(self, name: str, value: int | float, learner: StatisticalOnlineLearner) -> None:
        """Begin with this value, or go on from it where somebody else has set it."""
        track = self.tracks.setdefault(name, _Track())
        if track.axis is None:
            track.put(self._axis(name, value), value)
            track.pace = _pace(learner.base_learning_rate)
        elif value in track.told:
            return
        else:
            track.put(track.axis, value)
        if name == LIMIT:
            self._chosen_limit = float(value)

    def _axis(self, name: str, value: int | float) -> Axis:
        tunable = self._space.get(name)
        if isinstance(tunable, Real | Integer):
            return declared_axis(tunable)
        if name == LIMIT and value > 0:
            return declared_axis(Real(min(0.001, value), max(LONGEST, value), log=True))
        if name == RETRIES and value >= 0:
            return declared_axis(Integer(0, max(MOST_RETRIES, int(value))))
        return guessed_axis(value)

    def _scored(self, feedback: ExecutionFeedback) -> float:
        """What the call was worth [score]."""
        seconds = feedback.execution_time
        if not (is_number(seconds) and 0 <= seconds <= ABSURD):
            self.left_out[f"execution_time {_sort(seconds)}"] += 1
            seconds = math.nan
        good = bool(feedback.success) and bool(feedback.validation_passed)
        self.failures += not good
        if seconds == seconds:  # not nan
            self._longest = max(self._longest, seconds)
            if good and len(self._answers) < 20:
                self._answers.append(seconds)
        quality = 1.0
        for name in ("output_quality", "user_satisfaction"):  # what the user says counts more
            value = getattr(feedback, name)
            if is_number(value):
                quality = min(max(float(value), 0.0), 1.0)
            elif value is not None:
                self.left_out[f"{name} {_sort(value)}"] += 1
        objective = self._worth()
        requests = len(feedback.attempts or ()) or 1
        spent = objective.utility(False, 0.0 if math.isnan(seconds) else seconds, requests)
        return max(WORST * objective.value, objective.value * quality * good + spent)

    def _typical(self) -> float:
        answers = self._answers
        return max(1e-6, sorted(answers)[len(answers) // 2] if answers else self._longest)

    def _worth(self) -> Objective:
        return self._objective.for_latency(self._typical())

    def _judge(self, score: float, learner: StatisticalOnlineLearner) -> bool:
        """Fold the score in; whether scores have changed for good."""
        half_life = STEADY * max(learner.half_life, WARM)
        if self.score.n >= WARM:
            scale = math.sqrt(variance) if (variance := self.score.variance) > 0 else 0.0
            floor = 1e-9 * max(1.0, abs(self.score.mean))
            self._watch = watched(self._watch, (score - self.score.mean) / max(scale, floor))
        drift = self._watch.alarm
        if drift and self._watch.risen > self._watch.fallen and self.calls - self._moved <= EPOCH:
            drift = False  # it is we who have made it better
            self._watch, self.score = Watch(), Weighted()
        if drift:
            self._forget(learner)
        self.score = ewma.weigh(self.score, score, 1.0, half_life=half_life)
        self._epoch = ewma.weigh(self._epoch, score, 1.0, half_life=1e9)
        if self._epoch.n >= EPOCH:
            self._closed()
        return drift

    def _forget(self, learner: StatisticalOnlineLearner) -> None:
        """What was known is out of date: little of it is kept, and rates begin anew."""
        self.drifts += 1
        self._watch, self.score = Watch(), Weighted()
        self._answers = []  # the scale of latency is found anew, so that older scores compare with no newer ones
        self._epoch, self._first, self._newest = Weighted(), None, None
        self._counts = self._counts.faded(_FADED)
        for _ in range(len(self._seen) - 10):
            self._seen.popleft()
        self._sketch = None
        for track in self.tracks.values():
            track.arms = {value: bandit.faded(arm, _FADED) for value, arm in track.arms.items()}
            if track.pace is not None:
                track.pace = _pace(learner.base_learning_rate)

    def _closed(self) -> None:
        """An epoch is over."""
        epoch, self._epoch = self._epoch, Weighted()
        if self._newest is not None:
            change = _difference(epoch, self._newest)
            self._better += change.low > 0
            self._worse += change.high < 0
        self._first = self._first or epoch
        self._newest = epoch

    # ------------------------------------------------------------ what calls tell of their limits

    def _note(self, feedback: ExecutionFeedback, used: Mapping[str, Any], learner: StatisticalOnlineLearner) -> None:
        calls, failed, mended, retried, late_mended, late_retried = self._counts.faded(0.5 ** (1.0 / learner.half_life))
        before = Outcome.SUCCESS
        limit = float(used.get(LIMIT, math.inf))
        attempts = feedback.attempts or ()
        for number, (outcome, seconds, _, hedge) in enumerate(attempts):
            if outcome == Outcome.SHED or not (is_number(seconds) and 0 <= seconds <= ABSURD):
                continue
            if number and not hedge:
                good = float(Outcome(outcome).good)
                mended, retried = mended + good, retried + 1.0
                if before is Outcome.TIMEOUT:
                    late_mended, late_retried = late_mended + good, late_retried + 1.0
            before = before if hedge else Outcome(outcome)
            if outcome in (Outcome.SUCCESS, Outcome.LATE, Outcome.TIMEOUT):
                self._seen.append(_Seen(seconds, outcome != Outcome.TIMEOUT))
        seconds = feedback.execution_time
        known = is_number(seconds) and 0 <= seconds <= ABSURD
        if not feedback.success:
            blameless = bool(attempts) and attempts[-1][0] in (Outcome.REFUSED, Outcome.CANCELLED, Outcome.SHED)
            failed += not blameless
            late = "timeout" in (feedback.error_type or "").lower() or (known and seconds >= 0.95 * limit)
            if not attempts and late and math.isfinite(limit):
                self._seen.append(_Seen(limit, False))
        elif not attempts and known:
            self._seen.append(_Seen(seconds, True))
        self._counts = _Counts(calls + 1.0, failed, mended, retried, late_mended, late_retried)

    def _limit_gradient(self, track: _Track) -> Gradient:
        from poet.kernels.online.gradient import TAIL, limit_slope

        assert track.axis is not None
        limit = float(track.learned())
        start = limit * math.exp(-WINDOW)
        near = over = reached = ended = 0
        for seconds, answered in self._seen:
            if answered and start < seconds <= limit:
                near += 1
            over += seconds > limit if answered else seconds >= limit
            reached += seconds > start
            ended += answered
        objective = self._worth()
        latency_cost = objective.latency_cost or 0.0
        slope, error = limit_slope(
            near=near,
            reached=reached,
            over=over,
            n=len(self._seen),
            window=WINDOW,
            value=self._worth_of_waiting(objective),
            cost=latency_cost * limit,
        )
        newest = list(self._seen)[-8:]
        chosen = self._chosen_limit
        longest = max(chosen, STEADFAST * self._typical()) if self._answers else FARTHEST * chosen
        if len(newest) >= 3 and 2 * sum(not each.answered for each in newest) > len(newest) and limit < longest:
            # nearly nothing is seen of what would come: a tail that nobody has looked at is unknown, not hopeless
            slope, error = 0.5 * objective.value * TAIL, 0.25 * objective.value * TAIL
        elif not ended:
            return Gradient(0.0, math.inf)  # of latency nothing was seen
        unit = track.axis.unit
        return Gradient(slope * unit, error * unit)

    def _worth_of_waiting(self, objective: Objective) -> float:
        """How much more an answer to this attempt is worth than what the retries after its timeout would give."""
        track = self.tracks.get(RETRIES)
        retries = 0 if track is None or track.axis is None else int(track.learned())
        if retries <= 0:  # below: by a caller who gives what cannot be
            return objective.value
        counts = self._counts
        chance = (counts.late_mended + 0.5 * BELIEF) / (counts.late_retried + BELIEF)
        again = objective.attempt_cost + (objective.latency_cost or 0.0) * self._typical()
        return max(0.0, objective.value * (1.0 - chance) ** retries + min(again, objective.value * chance))

    def _retry_gradient(self, track: _Track) -> Gradient:
        from poet.kernels.online.gradient import retry_slope

        assert track.axis is not None
        objective = self._worth()
        cost = objective.attempt_cost + (objective.latency_cost or 0.0) * self._typical()
        slope, error = retry_slope(
            failed=self._counts.failed,
            n=self._counts.calls,
            mended=self._counts.mended,
            retried=self._counts.retried,
            value=objective.value,
            cost=cost,
        )
        # in doubt upwards, as finding out costs next to nothing: it is tried on calls that are failing anyway
        return Gradient((slope + error) * track.axis.unit, error * track.axis.unit)

    # ------------------------------------------------------------ gradients and steps

    def _regress(self, used: Mapping[str, Any], score: float, learner: StatisticalOnlineLearner) -> None:
        from poet.kernels.online.gradient import Sketch, observe, slope

        names = tuple(used)
        if not set(names) - {LIMIT, RETRIES}:
            return
        if self._sketch is None or names != self._names:
            self._names, self._sketch = names, Sketch.empty(len(names))
        places = [axis.place(value) for name, value in used.items() if (axis := self.tracks[name].axis) is not None]
        if len(self._answers) + self.failures > 5:  # before that the scale of latency is not known
            self._sketch = observe(self._sketch, places, score, half_life=learner.half_life)
        if self.calls % STRIDE == 0:
            found = slope(self._sketch)
            for name, value, error in zip(names, found.values.tolist(), found.errors.tolist(), strict=True):
                if name not in (LIMIT, RETRIES):
                    self.tracks[name].gradient = Gradient(value, error)

    def _step(self, name: str, learner: StatisticalOnlineLearner) -> None:
        from poet.kernels.online.gradient import faded, paced

        track = self.tracks[name]
        axis, pace = track.axis, track.pace
        assert axis is not None
        assert pace is not None
        if name == LIMIT:
            track.gradient = self._limit_gradient(track)
        elif name == RETRIES:
            track.gradient = self._retry_gradient(track)
        elif self.calls % STRIDE:
            return
        if _certainty(track.gradient) < learner.confidence_threshold:
            return
        if self.promise(name, learner) < 0.1 * learner.convergence_threshold:
            return  # there is nothing to win, however sure the sign
        slowest, fastest = _rates(learner.base_learning_rate)
        track.pace, step = paced(pace, *track.gradient, slowest=slowest, fastest=fastest, momentum=learner.momentum)
        low, high = axis.ends
        before, place = track.learned(), track.place
        track.place = min(max(track.place + step, low), high)
        if self._sketch is not None and name not in (LIMIT, RETRIES):
            self._sketch = faded(self._sketch, 0.5 ** (abs(track.place - place) / REACH))
        more = track.learned() - before
        if name == RETRIES and more > 0:  # as many failures as these would have mended are not to come
            chance = (self._counts.mended + 0.5 * BELIEF) / (self._counts.retried + BELIEF)
            self._counts = self._counts._replace(failed=self._counts.failed * (1.0 - chance) ** more)

    def promise(self, name: str, learner: StatisticalOnlineLearner) -> float:
        """Score per call that the longest step may still win, doubt included [score]."""
        slope, error = self.tracks[name].gradient
        reach = _rates(learner.base_learning_rate)[1]
        return improvement(abs(slope) * reach, error * reach) if math.isfinite(error) else math.inf

    def _look(self, name: str, learner: StatisticalOnlineLearner, *, drift: bool) -> None:
        track = self.tracks[name]
        track.convergence = looked(
            track.convergence,
            per_call=self.promise(name, learner),
            horizon=HORIZON,
            cost=HORIZON * learner.convergence_threshold,
            drift=drift,
        )

    def _varied(self, name: str, learner: StatisticalOnlineLearner) -> int | float:
        """The learned value, varied where that is needed to see which way to go."""
        track = self.tracks[name]
        axis = track.axis
        assert axis is not None
        width = learner.exploration_rate
        if name in (LIMIT, RETRIES) or track.convergence.converged or not width:
            value = track.learned()
        else:
            low, high = axis.ends
            width = min(width, 0.5 * (high - low))
            centre = min(max(track.place, low + width), high - width)  # both sides within the bounds
            value = axis.value(centre + self.dice.choice((-width, width)), self.dice.random())
        track.told.append(value)
        return value

    # ------------------------------------------------------------ telling

    def gain(self) -> Estimate | None:
        """The newest epoch's mean score over the first one's."""
        if self._first is None or self._newest is None or self._first is self._newest:
            return None
        return _difference(self._newest, self._first)

    def statistics(self, learner: StatisticalOnlineLearner) -> dict[str, Any]:
        tracks = {name: track for name, track in self.tracks.items() if track.axis is not None}
        score = Estimate(self.score.mean, *ewma.interval(self.score, LEVEL), self.score.n, LEVEL)
        return {
            "calls": self.calls,
            "failures": self.failures,
            "updates": self.updates,
            "score": score if self.score.n else None,
            "gain": self.gain(),
            "improvements": self._better,
            "setbacks": self._worse,
            "drifts": self.drifts,
            "converged": {name: track.convergence.converged for name, track in tracks.items()},
            "rates": {name: track.pace.rate for name, track in tracks.items() if track.pace is not None},
            "gradients": {name: track.gradient for name, track in tracks.items()},
            "at_bound": {name: _at_bound(track) for name, track in tracks.items()},
            "left_out": dict(self.left_out),
        }


def _pace(base: float) -> Pace:
    from poet.kernels.online.gradient import Pace

    return Pace(base)


def _rates(base: float) -> tuple[float, float]:
    """The slowest and the fastest rate."""
    return 0.1 * base, 4.0 * base


def _certainty(gradient: Gradient) -> float:
    """Probability that the gradient has its sign."""
    value, error = gradient
    if not error > 0:
        return 1.0 if value else 0.5
    return 0.5 * math.erfc(-abs(value) / error / math.sqrt(2.0)) if math.isfinite(error) else 0.5


def _at_bound(track: _Track) -> bool:
    """Whether it lies at a bound and would go on beyond it."""
    assert track.axis is not None
    low, high = track.axis.ends
    slope = track.gradient.value
    return bool((track.place <= low and slope < 0) or (track.place >= high and slope > 0))


def _difference(newer: Weighted, older: Weighted) -> Estimate:
    """Mean of one over that of the other, by Welch 1947."""
    variances = [(each.error**2, each.size - 1.0) for each in (newer, older)]
    squared = sum(variance for variance, _ in variances)
    lost = sum(variance**2 / df for variance, df in variances)
    width = half_width(LEVEL, squared**2 / lost if lost > 0 else math.inf) * math.sqrt(squared)
    value = newer.mean - older.mean
    return Estimate(value, value - width, value + width, newer.n + older.n, LEVEL)


def _sort(value: object) -> str:
    """What is odd about it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "nan" if value != value else "negative" if value < 0 else "too large"
    return f"no number but a {type(value).__name__}"


def _trial(row: object) -> tuple[Mapping[str, object], float | None]:
    """Parameters and score of a row of history; None: the score is unknown, or no finite number."""
    values: object
    score: object
    if isinstance(row, Mapping):
        values = next((row[k] for k in ("parameters", "parameter_values", "parameters_used") if k in row), row)
        names = ("score", "performance_score", "performance", "success")
        score = next((row[k] for k in names if row.get(k) is not None), None)
    elif isinstance(row, Sequence) and not isinstance(row, str | bytes) and len(row) == 2:
        values, score = row
    else:
        return {}, None
    if isinstance(score, bool):
        score = float(score)
    known = float(score) if isinstance(score, int | float) and is_number(score) else None
    return (values if isinstance(values, Mapping) else {}), known
