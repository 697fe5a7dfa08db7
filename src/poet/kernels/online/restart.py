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
from poet.kernels.online.survival import Grid, read

Array = npt.NDArray[np.float64]


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


def outlook(world: World, timeouts: Grid, bounds: Array) -> Outlook:
    """The outlook of every timeout with 0 .. n_retries retries.

    bounds: (n_retries,) or, one column per guess, (n_retries, n): the pause before each retry is uniform in
        [0, bound] [s].
    """
    error_share = np.minimum(world.failed[:, -1], 0.98)
    doomed = world.permanent * error_share
    error = ((error_share - doomed) / (1 - doomed))[:, None]  # of the calls that are not doomed
    right, right_seconds = read(np.minimum(world.answered / (1 - error_share)[:, None], 1.0), timeouts)
    wrong, wrong_seconds = read(np.minimum(world.failed / np.maximum(error_share, 1e-9)[:, None], 1.0), timeouts)
    fading = world.fading(bounds)
    n_retries, size = len(bounds), right.shape
    # uniform below its bound: half of it on average
    halves = 0.5 * (bounds[..., None] if bounds.ndim > 1 else bounds[:, None, None])

    # Of calls whose attempts are independent, and of calls whose latency repeats: those that make an attempt, after an
    # error and otherwise, and what that gives; (2, n, n_timeouts) each.
    after_error, otherwise = np.zeros((2, *size)), np.ones((2, *size))
    success, seconds, requests = (np.empty((n_retries + 1, 2, *size)) for _ in range(3))
    answer, answer_seconds = right, right_seconds
    again = error
    for retry in range(n_retries + 1):
        first_bad, again_bad = otherwise * error, after_error * again
        bad, good, good_again = first_bad + again_bad, otherwise - first_bad, after_error - again_bad
        answered = np.add(good * answer, good_again * right, out=success[retry])
        np.add(good * answer_seconds, good_again * right_seconds, out=seconds[retry])
        seconds[retry] += bad * wrong_seconds
        going = np.add(otherwise, after_error, out=requests[retry])
        if retry:
            seconds[retry] += halves[retry - 1] * going
        if retry == n_retries:
            break
        after_error = bad * wrong
        otherwise = going - answered - after_error
        if retry == 0:  # from now on, who timed out and repeats is out again; the first attempt came after nothing
            answer = np.stack([right, np.zeros(size)])
            answer_seconds = np.stack([right_seconds, np.broadcast_to(timeouts.times, size)])
        again = error + (1 - error) * fading[:, retry : retry + 1]

    weights = np.stack([(1 - doomed) * (1 - world.repeats), (1 - doomed) * world.repeats])[..., None]
    success, seconds, requests = ((weights * part).sum(axis=1).cumsum(axis=0) for part in (success, seconds, requests))
    number = np.arange(1, n_retries + 2)[:, None, None]
    requests += doomed[:, None] * number  # fails again and again
    paused = np.concatenate([np.zeros((1, *halves.shape[1:])), halves.cumsum(axis=0)])
    seconds += doomed[:, None] * (number * wrong_seconds + paused)
    return Outlook(success, seconds, requests)
