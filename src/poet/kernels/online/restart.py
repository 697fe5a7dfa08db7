"""What a timeout and a number of retries give: a forward recursion over the attempts of a call.

For one attempt the value of a restart is classical (Luby, Sinclair & Zuckerman 1993; van Moorsel & Wolter 2006). Here
an attempt may also fail by an error, and what a retry meets depends on what ended the attempt before it. Three kinds of
calls are followed side by side, each with its share: calls whose attempts are independent, calls that fail whatever one
does, and calls whose latency repeats. All candidates are scored at once, for every draw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.repetition import jittered_fading
from poet.kernels.online.survival import Grid, areas

Array = npt.NDArray[np.float64]

MOST_ERRORS = 0.98  # share of first attempts that err


class World(NamedTuple):
    """One or many guesses at how a service behaves."""

    answered: Array  # (n, BINS) chance of an answer by each knot, first attempts
    failed: Array  # (n, BINS) chance of an error by each knot, first attempts
    permanent: Array  # (n,) share of these errors that no retry mends
    persistence: Array  # (n, n_persistence) chance of each of ``repetition.PERSISTENCE``
    repeats: Array  # (n,) chance that a retry after a timeout meets the same slowness

    def times(self, n: int) -> World:
        """Each guess ``n`` times, one after the other."""
        return World(*(np.repeat(part, n, axis=0) for part in self))

    def fading(self, bounds: Array) -> Array:
        """Share of an error's persistence left at each retry: (n, n_retries). bounds: as for ``outlook``."""
        left = jittered_fading(bounds)
        result: Array = self.persistence @ left.T if bounds.ndim == 1 else (left * self.persistence).sum(axis=-1).T
        return result


class Outlook(NamedTuple):
    """What a call gives, per candidate: each (n_retries + 1, n, n_timeouts), the first axis being the retries."""

    success: Array  # probability
    seconds: Array  # expected duration, pauses included [s]
    requests: Array  # expected number of attempts


def pauses(backoff: float, cap: float, retries: int) -> Array:
    """Upper bounds of the pause before each retry, full jitter: (retries,) [s].

    >>> pauses(0.1, 0.3, 3).tolist()
    [0.1, 0.2, 0.3]
    """
    doublings = np.minimum(np.arange(retries), 60)  # more would overflow in the end, and every cap is reached by then
    bounds: Array = np.minimum(cap, max(backoff, 0.0) * 2.0**doublings)
    return bounds


class Chances(NamedTuple):
    """What becomes of one attempt of a call that is not doomed; each broadcasts to (..., n_timeouts)."""

    right: Array  # chance of an answer within the limit, where the attempt does not err
    right_seconds: Array  # expected duration then [s]
    wrong: Array  # chance of the error within the limit, where it errs
    wrong_seconds: Array  # expected duration then [s]
    error: Array  # chance that it errs
    doomed: Array  # share of the calls that fail whatever one does


def chances(
    answered: Array,
    failed: Array,
    permanent: Array,
    timeouts: Grid,
    *,
    weights: Array | None = None,
    each: bool = False,
) -> Chances:
    """Of a first attempt.

    answered, failed: (..., n_knots) chance of an answer, and of an error, by each knot; those behind the longest limit
    but the last may be left out. permanent: (...,) share of these errors that no retry mends.
    weights: ``survival.areas`` of the timeouts, where they are at hand.
    each: curves have a limit of their own each: (n, n_timeouts, n_knots) and (n, n_timeouts).
    """
    error_share = np.minimum(failed[..., -1:], MOST_ERRORS)
    doomed = permanent[..., None] * error_share
    error = (error_share - doomed) / (1 - doomed)
    worth = 1 - error_share, np.maximum(error_share, 1e-9)  # of those that err, and those that do not
    # where the curve of errors reaches its end too early, or both together come to more than there is
    if (error_share >= MOST_ERRORS).any() or (answered[..., -1:] > worth[0] * (1 + 1e-12)).any():
        answered, failed = np.minimum(answered / worth[0], 1.0), np.minimum(failed / worth[1], 1.0)
        worth = np.ones_like(worth[0]), np.ones_like(worth[1])
    if weights is None:
        weights = areas(timeouts)
    parts: list[Array] = []
    for curve, share in zip((answered, failed), worth, strict=True):
        before = curve[..., : len(weights)]
        if each:
            column = np.arange(len(timeouts.times))
            low, high = curve[:, column, timeouts.knot], curve[:, column, timeouts.knot + 1]
            area, share = np.einsum("ijk,kj->ij", before, weights), share[..., 0]
        else:
            low, high = curve.take(timeouts.knot, axis=-1), curve.take(timeouts.knot + 1, axis=-1)
            area = before @ weights
        high -= low
        high *= timeouts.share
        high += low
        high /= share
        area /= share
        parts += [np.minimum(high, 1.0, out=high), np.subtract(timeouts.times, area, out=area)]
    if each:
        error, doomed = error[..., 0], doomed[..., 0]
    right, right_seconds, wrong, wrong_seconds = parts
    return Chances(right, right_seconds, wrong, wrong_seconds, error, doomed)


class Steps(NamedTuple):
    """What each attempt of a call gives: (n_retries + 1, n_kinds, ..., n_timeouts) each, the first axis being them."""

    going: Array  # chance that it is made
    success: Array  # chance that it brings the answer
    seconds: Array  # what it adds to the expected duration, the pause before it left out [s]

    def of(self, kind: int) -> Steps:
        """Those of one kind of calls: without that axis."""
        return Steps(*(part[:, kind] for part in self))


def followed(attempt: Chances, fading: Array, times: Array, shares: tuple[Array | float, ...]) -> Steps:
    """The recursion over the attempts of calls that are not doomed.

    It is linear in the two ways to come to a retry, after an error and otherwise, so that the coefficients of all steps
    are computed at once.

    fading: (n_retries, ..., 1) share of an error's persistence left at each retry; times: (n_timeouts,) the limits [s];
    shares: of calls whose attempts are independent and, where there is a second one, of calls whose latency repeats: a
    number, or (..., 1).
    """
    right, right_seconds, wrong, wrong_seconds, error, _ = attempt
    n_retries, shape = len(fading), np.broadcast_shapes(right.shape, fading.shape[1:])
    again = error + (1 - error) * fading
    # by answer, seconds, error, and neither: of what an attempt after an error gives, by retry
    after = np.empty((n_retries, 4, *shape))
    fresh = 1 - again
    np.multiply(fresh, right, out=after[:, 0])
    np.multiply(fresh, right_seconds, out=after[:, 1])
    after[:, 1] += again * wrong_seconds
    np.multiply(again, wrong, out=after[:, 2])
    np.subtract(1 - after[:, 0], after[:, 2], out=after[:, 3])
    # of what any other gives, by kind of call
    other = np.empty((4, len(shares), *right.shape))
    good = 1 - error
    other[0, 0] = good * right
    other[1] = error * wrong_seconds
    other[1, 0] += good * right_seconds
    other[2] = error * wrong
    other[3, 0] = 1 - other[0, 0] - other[2, 0]
    steps = np.empty((n_retries + 1, 4, len(shares), *shape))
    for kind, share in enumerate(shares):  # the first attempt came after nothing: it is the same for all
        np.multiply(share, other[:, 0], out=steps[0, :, kind])
    if len(shares) > 1:  # from then on, who timed out and repeats is out again
        other[0, 1] = 0.0
        other[1, 1] += good * times
        other[3, 1] = 1 - other[2, 1]
    for retry in range(n_retries):
        np.multiply(steps[retry, 3], other, out=steps[retry + 1])
        steps[retry + 1] += steps[retry, 2] * after[retry, :, None]
    going = np.empty((n_retries + 1, len(shares), *shape))
    for kind, share in enumerate(shares):
        going[0, kind] = share
    np.add(steps[:-1, 2], steps[:-1, 3], out=going[1:])
    return Steps(going, steps[:, 0], steps[:, 1])


def summed(attempt: Chances, steps: Steps, bounds: Array) -> Outlook:
    """The outlook of calls of one kind, doomed ones included: (n_retries + 1, ..., n_timeouts).

    steps: without the axis of the kinds, of calls as many as are not doomed; bounds: of the pause before each retry,
    (n_retries, ...), to be broadcast.
    """
    success, seconds = steps.success.cumsum(axis=0), steps.seconds + attempt.doomed * attempt.wrong_seconds
    going = steps.going + attempt.doomed  # fails again and again
    seconds[1:] += 0.5 * bounds * going[1:]  # uniform below its bound: half of it on average
    return Outlook(success, seconds.cumsum(axis=0), going.cumsum(axis=0))


def outlook(world: World, timeouts: Grid, bounds: Array) -> Outlook:
    """The outlook of every timeout with 0 .. n_retries retries.

    Of calls whose attempts are independent, of calls that fail whatever one does, and of calls whose latency repeats.

    bounds: (n_retries,) or, one column per guess, (n_retries, n): the pause before each retry is uniform in
        [0, bound] [s]. One guess goes with any number of columns.
    """
    attempt = chances(world.answered, world.failed, world.permanent, timeouts)
    if bounds.ndim == 1:
        bounds = bounds[:, None]
    return mixed(attempt, world.fading(bounds).T[..., None], timeouts.times, world.repeats[:, None], bounds[..., None])


def outlook_each(world: World, timeouts: Grid, bounds: Array) -> Outlook:
    """The same of timeouts that have pauses of their own each: (n_retries, n_timeouts)."""
    attempt = chances(world.answered, world.failed, world.permanent, timeouts)
    return mixed(attempt, fading_each(world, bounds), timeouts.times, world.repeats[:, None], bounds[:, None])


def fading_each(world: World, bounds: Array) -> Array:
    """Share of an error's persistence left at each retry of each of some plans: (n_retries, n, n_plans).

    bounds: (n_retries, n_plans).
    """
    left: Array = jittered_fading(bounds) @ world.persistence.T
    return left.swapaxes(1, 2)


def mixed(attempt: Chances, fading: Array, times: Array, repeats: Array, bounds: Array) -> Outlook:
    """The outlook of all kinds of calls together. Arguments as for ``followed`` and ``summed``."""
    mended = 1 - attempt.doomed
    shares = ((1 - repeats) * mended, repeats * mended) if repeats.any() else (mended,)
    steps = followed(attempt, fading, times, shares)
    return summed(attempt, Steps(*(part.sum(axis=1) for part in steps)), bounds)
