"""Who tunes the problems of ``tunable_problems``: ours behind ``poet.seams.Tuner``, and the peers, one face for all.

Peers. ``Stay`` keeps the start; ``Anything`` tries points at random. ``Tpe``, ``CmaEs``: Optuna's samplers, asked and
told one trial at a time, the start enqueued first; they recommend their best trial, as Optuna does. ``Oppertune``: the
two-point gradient for numbers and Exp3 for each choice of ``benchmarks.tuners``, with two rates; recommends its centre.
None of them knows of contexts; they meet whatever comes.
"""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from inspect import signature
from typing import Any, Protocol

import numpy as np

from benchmarks.tunable_problems import CONTEXTUAL, Problem, problem
from benchmarks.tuners import ExponentialWeights, TwoPoint
from poet.errors import ConfigurationError
from poet.learning.axes import Cube
from poet.model.execution import Context
from poet.model.trial import Trial
from poet.model.tunable import Choice, Integer, Space, Value
from poet.seams import Tuner

Values = Mapping[str, Value]


class Rival(Protocol):
    """Suggests, is told, recommends."""

    def suggest(self, context: Context) -> Values:
        """What to try next."""

    def tell(self, values: Values, score: float, context: Context) -> None:
        """What it gave."""

    def recommend(self, context: Context) -> Values:
        """What it holds to be best."""


class Ours:
    """A tuner of ours."""

    def __init__(self, tuner: Tuner) -> None:
        self._tuner = tuner

    def suggest(self, context: Context) -> Values:
        return self._tuner.suggest(context)

    def tell(self, values: Values, score: float, context: Context) -> None:
        self._tuner.update([Trial(values, score, context)])

    def recommend(self, context: Context) -> Values:
        return self._tuner.recommend(context).values


class Stay:
    """Leaves everything as it is."""

    def __init__(self, space: Space, start: Values, seed: int) -> None:
        self._start = start

    def suggest(self, context: Context) -> Values:
        return self._start

    def tell(self, values: Values, score: float, context: Context) -> None:
        pass

    def recommend(self, context: Context) -> Values:
        return self._start


class Anything:
    """Tries anything; recommends what scored best."""

    def __init__(self, space: Space, start: Values, seed: int) -> None:
        self._cube, self._dice = Cube(space), np.random.default_rng(seed)
        self._best: tuple[float, Values] = (-np.inf, start)

    def suggest(self, context: Context) -> Values:
        point = [self._dice.random() if not k else float(self._dice.integers(k)) for k in self._cube.levels]
        return self._cube.values(point)

    def tell(self, values: Values, score: float, context: Context) -> None:
        self._best = max(self._best, (score, values), key=lambda pair: pair[0])

    def recommend(self, context: Context) -> Values:
        return self._best[1]


class Optuna:
    """One of Optuna's samplers."""

    def __init__(self, space: Space, start: Values, sampler: Any) -> None:
        """Raises ImportError where Optuna is not installed."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space, self._start = space, start
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._study.enqueue_trial(dict(start))
        self._trial: Any = None

    def suggest(self, context: Context) -> Values:
        self._trial = trial = self._study.ask()
        values: dict[str, Value] = {}
        for name, tunable in self._space.items():
            if isinstance(tunable, Choice):
                values[name] = trial.suggest_categorical(name, tunable.options)
            elif isinstance(tunable, Integer):
                values[name] = trial.suggest_int(name, tunable.low, tunable.high, log=tunable.log)
            else:
                values[name] = trial.suggest_float(name, tunable.low, tunable.high, log=tunable.log)
        return values

    def tell(self, values: Values, score: float, context: Context) -> None:
        self._study.tell(self._trial, score)

    def recommend(self, context: Context) -> Values:
        return dict(self._study.best_params)


def tpe(space: Space, start: Values, seed: int) -> Rival:
    """Tree of Parzen estimators, as it comes."""
    import optuna

    return Optuna(space, start, optuna.samplers.TPESampler(seed=seed))


def cma_es(space: Space, start: Values, seed: int) -> Rival:
    """CMA-ES; choices are drawn at random, as Optuna does."""
    import optuna

    return Optuna(space, start, optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False))


class Oppertune:
    """OPPerTune's hybrid solver."""

    def __init__(self, space: Space, start: Values, seed: int, eta: float) -> None:
        self._cube = Cube(space)
        row = self._cube.row(start)
        assert row is not None
        self._row = row
        self._numbers = [j for j, k in enumerate(self._cube.levels) if not k]
        place = np.array([row[j] for j in self._numbers])
        self._points = TwoPoint(place, np.random.default_rng(seed), eta, 0.1) if self._numbers else None
        dice = random.Random(seed)
        self._choices = {j: ExponentialWeights(k, dice) for j, k in enumerate(self._cube.levels) if k}

    def suggest(self, context: Context) -> Values:
        row = list(self._row)
        if self._points is not None:
            for j, x in zip(self._numbers, self._points.point().tolist(), strict=True):
                row[j] = x
        for j, choice in self._choices.items():
            row[j] = float(choice.choose())
        self._row = row
        return self._cube.values(row)

    def tell(self, values: Values, score: float, context: Context) -> None:
        if self._points is not None:
            self._points.tell(score)
        for choice in self._choices.values():
            choice.tell(score)

    def recommend(self, context: Context) -> Values:
        row = list(self._row)
        if self._points is not None:
            for j, x in zip(self._numbers, self._points.centre.tolist(), strict=True):
                row[j] = x
        for j, choice in self._choices.items():
            row[j] = float(choice.likeliest())
        return self._cube.values(row)


# Ours by name: module and class below poet.learning.tuners; those that are not there say so.
OURS: Mapping[str, tuple[str, str]] = {
    "POET chosen": ("chosen", "ChosenTuner"),
    "POET Gaussian process": ("gaussian", "GaussianTuner"),
    "POET SPSA": ("spsa", "SpsaTuner"),
    "POET arms": ("arms", "ArmTuner"),
    "POET mixture": ("mixture", "MixtureTuner"),
}
PEERS: Mapping[str, Callable[[Space, Values, int], Rival]] = {
    "default": Stay,
    "random": Anything,
    "Optuna TPE": tpe,
    "Optuna CMA-ES": cma_es,
    "OPPerTune, rate .01": lambda space, start, seed: Oppertune(space, start, seed, 0.01),
    "OPPerTune, rate .05": lambda space, start, seed: Oppertune(space, start, seed, 0.05),
}
_NEEDS = {"Optuna TPE": ("optuna",), "Optuna CMA-ES": ("optuna", "cmaes")}


def lacks(name: str) -> str:
    """What is missing for it to run here; empty: nothing."""
    if name in OURS:
        module, kind = OURS[name]
        path = f"poet.learning.tuners.{module}"
        if find_spec(path) is None or not hasattr(importlib.import_module(path), kind):
            return f"no {path}.{kind}"
        return ""
    missing = [each for each in _NEEDS.get(name, ()) if find_spec(each) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


def rival(name: str, task: Problem, seed: int) -> Rival:
    """One, at the beginning of its life. Raises ConfigurationError where it does not serve such spaces."""
    if name in OURS:
        module, kind = OURS[name]
        made = getattr(importlib.import_module(f"poet.learning.tuners.{module}"), kind)
        told = {"contextual": task.name in CONTEXTUAL} if "contextual" in signature(made).parameters else {}
        return Ours(made(task.space, task.start, seed=seed, **told))
    return PEERS[name](task.space, task.start, seed)


def serves(name: str, of: str) -> bool:
    """Whether it serves the space of a problem."""
    try:
        rival(name, problem(of, 0), 0)
    except ConfigurationError:
        return False
    return True
