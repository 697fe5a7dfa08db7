"""Guesses at how a service behaves, the mean one or draws from the posterior, and what plans give there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from poet.kernels.online import repetition, survival
from poet.kernels.online.bins import EDGES
from poet.kernels.online.hedging import Ways, hedged, hedged_each
from poet.kernels.online.restart import Outlook, World, outlook, outlook_each, pauses
from poet.kernels.online.survival import Array, Grid
from poet.learning.folding import Picture

T = TypeVar("T", bound=np.generic)


class Plan(NamedTuple):
    """A candidate."""

    timeout: float  # [s]
    retries: int
    backoff: float  # bound of the first pause [s]
    hedges: int = 0
    hedge_delay: float = 0.0  # [s]; 0 where there are no hedges

    @property
    def way(self) -> tuple[int, float]:
        """How it hedges."""
        return self.hedges, self.hedge_delay


def mean_world(picture: Picture, memory: int | None = None) -> World:
    """The picture's mean, or that of one of its memories, as one guess."""
    weights = picture.weights if memory is None else np.eye(len(picture.weights))[memory]
    return World(
        (weights @ picture.answered)[None],
        (weights @ picture.failed)[None],
        np.array([picture.errors.sum(axis=1) @ repetition.PERMANENT]),
        picture.errors.sum(axis=0)[None],
        np.array([picture.repeats @ repetition.REPEATS]),
    )


def drawn_worlds(picture: Picture, n: int, last: float, rng: np.random.Generator) -> World:
    """``n`` draws from the posterior; ``last``: the longest timeout of interest [s]."""
    memory = _drawn(picture.weights, n, rng)
    answer, error = survival.posterior_draws(picture.hazards, memory, int(np.searchsorted(EDGES, last)) + 2, rng)
    answered, failed, _ = survival.incidence(answer, error)
    cell = _drawn(picture.errors.ravel(), n, rng)
    return World(
        answered,
        failed,
        repetition.PERMANENT[cell // len(repetition.PERSISTENCE)],
        np.eye(len(repetition.PERSISTENCE))[cell % len(repetition.PERSISTENCE)],
        repetition.REPEATS[_drawn(picture.repeats, n, rng)],
    )


def _drawn(probabilities: Array, n: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    cumulative = probabilities.cumsum()
    place: npt.NDArray[np.intp] = np.searchsorted(cumulative, rng.random(n) * cumulative[-1], side="right")
    return place.clip(max=len(probabilities) - 1)


def foreseen(world: World, way: tuple[int, float], grid: Grid, bounds: Array) -> Outlook:
    """The outlook of all timeouts of ``grid`` and all retries, hedged in one ``way``: (n_retries + 1, n, n_timeouts).

    bounds: of the pauses, as for ``restart.outlook``.
    """
    if not way[0]:
        return outlook(world, grid, bounds)
    return Outlook(*(part[:, :, 0] for part in hedged(world, grid, bounds, Ways.of(way))))


def scored(world: World, plans: Sequence[Plan], cap: float) -> Outlook:
    """What each of ``plans`` gives in each guess: (n_plans, n). cap: of all pauses [s]."""
    retries = np.array([plan.retries for plan in plans])
    bounds = np.stack([pauses(plan.backoff, cap, int(retries.max())) for plan in plans], axis=1)
    timeouts = Grid.of(np.array([plan.timeout for plan in plans]))
    whole: Sequence[Array]
    if any(plan.hedges for plan in plans):
        whole = hedged_each(world, timeouts, bounds, [plan.way for plan in plans])
    else:
        whole = outlook_each(world, timeouts, bounds)
    column = np.arange(len(plans))
    return Outlook(*(part[retries, :, column] for part in whole))


def rising(times: Iterable[float]) -> Array:
    """``times`` in order, each once. Like ``np.unique``, which loads 1 MB of code for masked arrays."""
    return np.array(sorted(set(times)))


def distinct(values: npt.NDArray[T]) -> tuple[npt.NDArray[T], npt.NDArray[np.intp]]:
    """``values``, (n,), in order, each once, and where in them each is: (n,). As ``np.unique`` does it, likewise."""
    ordered = np.sort(values)
    once = ordered[np.append(True, ordered[1:] != ordered[:-1])]
    place: npt.NDArray[np.intp] = np.searchsorted(once, values)
    return once, place
