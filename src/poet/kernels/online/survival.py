"""From counts of attempts per latency bin to the chance of an answer, or an error, by any time.

Attempts that were cut off are censored: they were at risk until then and say nothing of what would have come (Kaplan &
Meier 1958). Answer and error compete (cause-specific hazards per bin). Each hazard is a Beta posterior around a weak
prior, so that a tail that nobody has seen stays unknown instead of flat.

Arrays end in the bin axis (``bins.BINS``) or in the knot axis: knot j is the lower edge of bin j, knot 0 being 0 s.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.bins import BINS, EDGES, RATIO

Array = npt.NDArray[np.float64]

KNOTS: Array = np.array((0.0, *EDGES))  # (BINS,) [s]
WIDTHS: Array = np.diff(KNOTS)  # (BINS - 1,) [s]
_HALVES: Array = np.append(0.0, 0.5 * WIDTHS)  # (BINS,) half of the width of the bin before each knot [s]
_SPANS: Array = _HALVES + np.append(0.5 * WIDTHS, 0.0)  # (BINS,) the same on both sides of it [s]

ANSWER, ERROR, CENSORED = range(3)  # rows of a table of counts

NOTHING = 1e-3  # attempts; less is what forgetting has left of one
PRIOR_WEIGHT = 1.0  # attempts that the prior is worth in each bin [1]
_PRIOR_SPREAD = 1.6  # of log latency around its centre [1]: two thirds of the answers within a factor of 5
_PRIOR_CEILING = 0.18  # hazard per bin far beyond the centre: a tail like t ** -0.9, neither hopeless nor sure
_HOPEFUL_CEILING = 0.22  # the same, where no answer was seen
_PRIOR_HANG = 0.01  # share of attempts that never end, as the prior has it: most services have some [1]
_PRIOR_START = 1.0  # centre before anything was seen [s]
_CENTRE_WEIGHT = 0.5  # answers that this centre is worth [1]


def _profiles(hang: float, ceiling: float) -> tuple[Array, Array]:
    """Prior hazards of answer and error by the distance of a bin from the centre, -BINS .. BINS bins."""

    def below(offset: float) -> float:
        return 0.5 * (1 + math.erf(offset * math.log(RATIO) / (_PRIOR_SPREAD * math.sqrt(2))))

    answer, error = [], []
    for offset in range(-BINS, BINS + 1):
        alive, left = (max(1 - (1 - hang) * below(offset + half), 1e-4) for half in (-0.5, 0.5))
        hazard = 1 - left / alive
        answer.append(min(max(hazard, 1e-4), ceiling))
        error.append(0.0025 if -15 <= offset <= 8 else 0.0005)  # summed up: some 5 % of errors, worth half an attempt
    return np.array(answer), np.array(error)


_ANSWER_PROFILE, _ERROR_PROFILE = _profiles(_PRIOR_HANG, _PRIOR_CEILING)
_HOPEFUL_PROFILE, _ = _profiles(0.0, _HOPEFUL_CEILING)  # where no answer was seen: else nobody would ever wait for one
_START_BIN = float(np.searchsorted(KNOTS, _PRIOR_START, side="right") - 1)


class Hazards(NamedTuple):
    """Evidence and prior per bin; each (n_memories, BINS)."""

    answers: Array
    errors: Array
    at_risk: Array
    prior_answer: Array
    prior_error: Array


def hazards(counts: Array) -> Hazards:
    """The evidence per bin in ``counts``: (n_memories, 3, BINS), rows answer, error and censored.

    A censored attempt counts at a knot: it is at risk in all bins below. The prior is centred on the answers seen, so
    that it says the same of a microsecond and of a minute.
    """
    answers, errors, censored = counts[:, ANSWER], counts[:, ERROR], counts[:, CENSORED]
    ended = answers + errors
    at_risk = np.cumsum((ended + censored)[:, ::-1], axis=1)[:, ::-1] - censored
    total = answers.sum(axis=1)
    centre = (answers @ np.arange(BINS) + _CENTRE_WEIGHT * _START_BIN) / (total + _CENTRE_WEIGHT)
    first: npt.NDArray[np.intp] = BINS - np.rint(centre).astype(np.intp)  # where bin 0 lies in the profiles
    index = first[:, None] + np.arange(BINS)
    prior = np.where(total[:, None] < _CENTRE_WEIGHT, _HOPEFUL_PROFILE[index], _ANSWER_PROFILE[index])
    return Hazards(answers, errors, np.maximum(at_risk, ended), prior, _ERROR_PROFILE[index])


def posterior_mean(evidence: Hazards) -> tuple[Array, Array]:
    """Mean hazard of answer and of error per bin: (n_memories, BINS) each."""
    weight = PRIOR_WEIGHT + evidence.at_risk
    return (
        (PRIOR_WEIGHT * evidence.prior_answer + evidence.answers) / weight,
        (PRIOR_WEIGHT * evidence.prior_error + evidence.errors) / weight,
    )


def posterior_draws(
    evidence: Hazards, memory: npt.NDArray[np.intp], last: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws of the two hazards: (n_draws, BINS) each.

    memory: (n_draws,) which memory each draw comes from.
    last: bins from this one on matter to nobody; they get their mean, as do the bins before the first event.
    """
    answer, error = (mean[memory] for mean in posterior_mean(evidence))
    answers, errors, at_risk, prior_answer, prior_error = (array[memory] for array in evidence)
    eventful = np.flatnonzero(np.asarray((evidence.answers + evidence.errors).sum(axis=0) > 0))
    first = max(0, int(eventful[0]) - 2) if len(eventful) else 0
    part = np.s_[:, first : max(last, first + 1)]
    ended = (answers + errors)[part]
    either = PRIOR_WEIGHT * (prior_answer + prior_error)[part]
    hazard = rng.beta(either + ended, PRIOR_WEIGHT - either + np.maximum(at_risk[part] - ended, 0.0))
    share = error[part] / (answer[part] + error[part])  # of errors among what ends in a bin
    seen = np.flatnonzero(evidence.errors[part].sum(axis=0) > 0)
    if len(seen):  # elsewhere the share is next to nothing, and so is its doubt
        wrong = PRIOR_WEIGHT * prior_error[part][:, seen] + errors[part][:, seen]
        right = PRIOR_WEIGHT * prior_answer[part][:, seen] + answers[part][:, seen]
        share[:, seen] = rng.beta(wrong, right)
    answer[part], error[part] = hazard * (1 - share), hazard * share
    return answer, error


def incidence(answer: Array, error: Array) -> tuple[Array, Array, Array]:
    """Chance of an answer, of an error, and of neither, by each knot: (..., BINS) each, from hazards (..., BINS).

    >>> never = np.zeros((1, BINS))
    >>> [float(part[0, -1]) for part in incidence(never, never)]
    [0.0, 0.0, 1.0]
    """
    alive = np.ones_like(answer)
    np.cumprod(1 - np.minimum(answer + error, 0.9999)[..., :-1], axis=-1, out=alive[..., 1:])
    answered, failed = np.zeros_like(answer), np.zeros_like(error)
    np.cumsum((alive * answer)[..., :-1], axis=-1, out=answered[..., 1:])
    np.cumsum((alive * error)[..., :-1], axis=-1, out=failed[..., 1:])
    return answered, failed, alive


class Grid(NamedTuple):
    """Times at which curves given at the knots are read."""

    times: Array  # (n_times,) [s]
    knot: npt.NDArray[np.intp]  # the knot at or before each
    share: Array  # how far on to the next knot, in [0, 1)

    @classmethod
    def of(cls, times: Array) -> Grid:
        """A grid of ``times``, >= 0 [s]."""
        knot = np.minimum(np.searchsorted(KNOTS, times, side="right") - 1, BINS - 2)
        share = np.minimum((times - KNOTS[knot]) / WIDTHS[knot], 1.0)
        return cls(times, knot, share)


def read(curve: Array, grid: Grid) -> tuple[Array, Array]:
    """A distribution function and the mean time spent before it or the limit ends a wait: (..., n_times) each.

    curve: (..., BINS), rising, at the knots; straight between them, flat behind the last. Of the knots only those
    up to the one behind the longest time need be there.
    Returns ``F(t)`` and the integral of ``1 - F`` from 0 to ``t`` [s].
    """
    waited = np.zeros_like(curve)
    np.cumsum(
        (1 - 0.5 * (curve[..., 1:] + curve[..., :-1])) * WIDTHS[: curve.shape[-1] - 1], axis=-1, out=waited[..., 1:]
    )
    low = curve[..., grid.knot]
    value = low + grid.share * (curve[..., grid.knot + 1] - low)
    within = grid.share * WIDTHS[grid.knot]
    behind = grid.times - KNOTS[grid.knot] - within  # the last edge
    return value, waited[..., grid.knot] + within * (1 - 0.5 * (low + value)) + behind * (1 - value)


def areas(grid: Grid) -> Array:
    """Weights by which a curve given at the knots sums up to its integral from 0 to each time: (n_knots, n_times) [s].

    Only the knots up to the one behind the longest time have a row. For many curves and few times that is quicker than
    ``read``, and the same up to rounding.
    """
    size, n_times = int(grid.knot.max(initial=0)) + 2, len(grid.times)
    weights: Array = np.where(np.arange(size)[:, None] < grid.knot, _SPANS[:size, None], 0.0)
    column, within = np.arange(n_times), grid.share * WIDTHS[grid.knot]
    behind = grid.times - KNOTS[grid.knot] - within  # the last edge
    weights[grid.knot, column] = _HALVES[grid.knot] + within * (1 - 0.5 * grid.share)
    weights[grid.knot + 1, column] = 0.5 * within * grid.share + behind
    return weights


def kaplan_meier(answers: Array, errors: Array, at_risk: Array) -> Array:
    """Chance that an answer has come by each knot, errors taken as censored and without a prior: (BINS,).

    answers, errors, at_risk: (BINS,), as in ``Hazards``. nan from the first knot on that nobody has looked at.
    """
    # errors within a bin were at risk for half of it, as in the actuarial estimate
    exposed = np.maximum(at_risk - 0.5 * errors, answers)
    with np.errstate(divide="ignore", invalid="ignore"):
        stay = np.where(exposed > NOTHING, 1 - answers / exposed, np.nan)
    come = np.zeros(BINS)
    come[1:] = 1 - np.cumprod(stay)[:-1]
    return come


def quantile(curve: Array, share: float) -> float | None:
    """The time by which ``share`` has come [s]; None where it was never seen to come.

    curve: (BINS,), rising, at the knots; straight between them; nan where nobody has looked.
    """
    reached = np.flatnonzero(curve >= share)  # never true of a nan
    if not len(reached):
        return None
    knot = int(reached[0])
    if knot == 0:
        return 0.0
    low, high = float(curve[knot - 1]), float(curve[knot])
    return float(KNOTS[knot - 1] + WIDTHS[knot - 1] * (share - low) / (high - low))
