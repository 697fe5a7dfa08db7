"""What a timeout and a number of retries give: a forward recursion over the attempts of a call.

For one attempt the value of a restart is classical (Luby, Sinclair & Zuckerman 1993; van Moorsel & Wolter 2006). Here an
attempt may also fail by an error, and what a retry meets depends on what ended the attempt before it. Three kinds of calls
are followed side by side, each with its share: calls whose attempts are independent, calls that fail whatever one does,
and calls whose latency repeats. All candidates are scored at once, for every draw.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from poet.kernels.online.survival import Grid, read

Array = npt.NDArray[np.float64]


class World(NamedTuple):
    """One or many guesses at how a service behaves."""

    answered: Array  # (n, BINS) chance of an answer by each knot, first attempts
    failed: Array  # (n, BINS) chance of an error by each knot, first attempts
    permanent: Array  # (n,) share of these errors that no retry mends
    fading: Array  # (n, n_retries) share of an error's persistence left at each retry
    repeats: Array  # (n,) chance that a retry after a timeout meets the same slowness


class Outlook(NamedTuple):
    """What a call gives, per candidate: each (n_retries + 1, n, n_timeouts); the first axis is the number of retries."""

    success: Array  # probability
    seconds: Array  # expected duration, pauses included [s]
    requests: Array  # expected number of attempts


def pauses(backoff: float, cap: float, retries: int) -> Array:
    """Upper bounds of the pause before each retry, full jitter: (retries,) [s].

    >>> pauses(0.1, 0.3, 3).tolist()
    [0.1, 0.2, 0.3]
    """
    return np.minimum(cap, max(backoff, 0.0) * 2.0 ** np.arange(retries))


def outlook(world: World, timeouts: Grid, bounds: Array) -> Outlook:
    """The outlook of every timeout with 0 .. n_retries retries.

    bounds: (n_retries,) the pause before each retry is uniform in [0, bound] [s].
    """
    error_share = np.minimum(world.failed[:, -1], 0.98)
    doomed = world.permanent * error_share
    error = ((error_share - doomed) / (1 - doomed))[:, None]  # of the calls that are not doomed
    answer, answer_wait = read(np.minimum(world.answered / (1 - error_share)[:, None], 1.0), timeouts)
    wrong, wrong_wait = read(np.minimum(world.failed / np.maximum(error_share, 1e-9)[:, None], 1.0), timeouts)
    limit = np.broadcast_to(timeouts.times, answer.shape)

    def stacked(independent: Array, permanent: float | Array, repeating: Array) -> Array:
        return np.stack(np.broadcast_arrays(independent, permanent, repeating))

    none = np.zeros_like(answer)
    first = _attempt(stacked(error, 1.0, error), answer, answer_wait, wrong, wrong_wait)
    after_timeout = _attempt(
        stacked(error, 1.0, error),
        stacked(answer, answer, none),
        stacked(answer_wait, answer_wait, limit),
        wrong,
        wrong_wait,
    )
    repeats = world.repeats
    shares = np.stack([(1 - doomed) * (1 - repeats), doomed, (1 - doomed) * repeats])[:, :, None]

    n_retries = len(bounds)
    shape = (n_retries + 1, *answer.shape)
    success, seconds, requests = np.empty(shape), np.empty(shape), np.empty(shape)
    errors, outs = _step(shares, first, success[0], seconds[0])  # calls whose last attempt was an error, a timeout
    requests[0] = 1.0
    for retry in range(1, n_retries + 1):
        again = error + (1 - error) * world.fading[:, retry - 1 : retry]
        after_error = _attempt(stacked(again, 1.0, again), answer, answer_wait, wrong, wrong_wait)
        going = (errors + outs).sum(axis=0)
        requests[retry] = requests[retry - 1] + going
        more, also = np.empty_like(answer), np.empty_like(answer)
        errors_t, outs_t = _step(outs, after_timeout, success[retry], seconds[retry])
        errors_e, outs_e = _step(errors, after_error, more, also)
        success[retry] += success[retry - 1] + more
        seconds[retry] += seconds[retry - 1] + also + going * (0.5 * bounds[retry - 1])
        errors, outs = errors_t + errors_e, outs_t + outs_e
    return Outlook(success, seconds, requests)


class _Attempt(NamedTuple):
    """One attempt, by kind of call: each (3, n, n_timeouts)."""

    answer: Array
    error: Array
    seconds: Array


def _attempt(erring: Array, answer: Array, answer_wait: Array, wrong: Array, wrong_wait: Array) -> _Attempt:
    """Outcome of an attempt that is of the failing sort with chance ``erring``."""
    sound = 1 - erring
    return _Attempt(sound * answer, erring * wrong, sound * answer_wait + erring * wrong_wait)


def _step(reached: Array, attempt: _Attempt, success: Array, seconds: Array) -> tuple[Array, Array]:
    """Let the calls in ``reached`` make an attempt; what it gives is written to ``success`` and ``seconds``.

    Returns the calls that go on after an error, and after a timeout.
    """
    answered, failed = reached * attempt.answer, reached * attempt.error
    answered.sum(axis=0, out=success)
    (reached * attempt.seconds).sum(axis=0, out=seconds)
    return failed, reached - answered - failed
