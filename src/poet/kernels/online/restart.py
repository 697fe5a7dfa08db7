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
    sound = read(np.minimum(world.answered / (1 - error_share)[:, None], 1.0), timeouts)
    faulty = read(np.minimum(world.failed / np.maximum(error_share, 1e-9)[:, None], 1.0), timeouts)

    fading = world.fading(bounds)
    n_retries, size = len(bounds), sound[0].shape
    # uniform below its bound: half of it on average
    halves = 0.5 * (bounds[..., None] if bounds.ndim > 1 else bounds[:, None, None])
    success, seconds, requests = (np.empty((n_retries + 1, *size)) for _ in range(3))
    attempt = _Attempt(*(np.zeros((_CAUSES, _KINDS, *size)) for _ in range(3)))
    for cause in (_AFTER_ERROR, _AFTER_TIMEOUT):
        for kind in (_INDEPENDENT, _REPEATING):
            _set(attempt, cause, kind, error, sound, faulty)
        attempt.error[cause, _DOOMED], attempt.seconds[cause, _DOOMED] = faulty

    calls = np.zeros(
        (_CAUSES, _KINDS, *size)
    )  # the share of all calls that make an attempt, by what ended the one before
    calls[_AFTER_TIMEOUT, _INDEPENDENT] = ((1 - doomed) * (1 - world.repeats))[:, None]
    calls[_AFTER_TIMEOUT, _DOOMED] = doomed[:, None]
    calls[_AFTER_TIMEOUT, _REPEATING] = ((1 - doomed) * world.repeats)[:, None]
    for retry in range(n_retries + 1):
        going = calls.sum(axis=(0, 1))
        answered, failed = calls * attempt.answer, calls * attempt.error
        answered.sum(axis=(0, 1), out=success[retry])
        (calls * attempt.seconds).sum(axis=(0, 1), out=seconds[retry])
        requests[retry] = going
        if retry:
            seconds[retry] += halves[retry - 1] * going
        if retry == n_retries:
            break
        calls -= answered
        calls -= failed
        calls.sum(axis=0, out=calls[_AFTER_TIMEOUT])
        failed.sum(axis=0, out=calls[_AFTER_ERROR])
        if retry == 0:  # from now on, who timed out and repeats is out again; the first attempt came after nothing
            _set(attempt, _AFTER_TIMEOUT, _REPEATING, error, (np.zeros(size), timeouts.times), faulty)
        again = error + (1 - error) * fading[:, retry : retry + 1]
        _set(attempt, _AFTER_ERROR, _INDEPENDENT, again, sound, faulty)
        for part in attempt:
            part[_AFTER_ERROR, _REPEATING] = part[_AFTER_ERROR, _INDEPENDENT]
    return Outlook(success.cumsum(axis=0), seconds.cumsum(axis=0), requests.cumsum(axis=0))


_CAUSES, _KINDS = 2, 3
_AFTER_ERROR, _AFTER_TIMEOUT = range(_CAUSES)  # what came before; the first attempt is treated as after a timeout
_INDEPENDENT, _DOOMED, _REPEATING = range(_KINDS)


class _Attempt(NamedTuple):
    """What an attempt gives, by what came before and by kind of call: each (_CAUSES, _KINDS, n, n_timeouts)."""

    answer: Array
    error: Array
    seconds: Array  # [s]


def _set(
    attempt: _Attempt, cause: int, kind: int, error: Array, sound: tuple[Array, Array], faulty: tuple[Array, Array]
) -> None:
    """Fill in an attempt that is faulty with chance ``error``: (n, 1).

    sound, faulty: chance that it has ended by the limit, by an answer and by an error, and the mean time spent [s].
    """
    right = 1 - error
    attempt.answer[cause, kind] = right * sound[0]
    attempt.error[cause, kind] = error * faulty[0]
    attempt.seconds[cause, kind] = right * sound[1] + error * faulty[1]
