"""Has this been there before? Newest attempts, judged by pictures that were put aside and by what else may have come.

A picture is a table of counts, as in ``survival``. What it says of new counts is their marginal likelihood: each bin's
hazards of answer and error have a Dirichlet posterior, so that it is a ratio of Gamma functions (Dirichlet-multinomial)
and allows for a picture of few attempts. Its rival is a mixture of three, all made of the picture itself: nothing but
the prior around it, and all latencies 1.56 times as long or as short. Where what came is one of these, the likelihood
ratio passes ``exp(a)`` at any time with a probability of at most ``exp(-a)`` (Ville 1939).
"""

from __future__ import annotations

import math

import numpy as np

from poet.kernels.online.survival import PRIOR_WEIGHT, Array, hazards, incidence, posterior_mean

SHIFTS = (-2, 2)  # bins, of the rivals: what is nearer is as good as the same
_FLOOR = 1e-4  # of a share, where two pictures are compared
_STEPS = np.arange(8.0)  # by which the argument of a Gamma function is raised until Stirling's series is exact enough


def recurrence(pictures: Array, newest: Array) -> tuple[Array, Array]:
    """Log likelihood of ``newest`` by each picture, and evidence for it against its rivals [nats]: (n,) each.

    pictures: (n, 3, BINS), newest: (3, BINS), counts, rows answer, error and censored, as for ``survival.hazards``.

    >>> there = np.zeros((1, 3, 87))
    >>> there[0, 0, 40:44] = 50
    >>> now = there[0] / 10
    >>> bool(recurrence(there, now)[1] > 5), bool(recurrence(there, np.roll(now, 3, axis=1))[1] < 0)
    (True, True)
    """
    n, rivals = len(pictures), len(SHIFTS) + 1
    moved = [_moved(pictures, shift) for shift in SHIFTS]
    there, new = hazards(np.concatenate([pictures, *moved, 0.0 * pictures])), hazards(newest[None])
    there.prior_answer[rivals * n :] = there.prior_answer[:n]  # the prior around the picture
    there.prior_error[rivals * n :] = there.prior_error[:n]
    seen = np.flatnonzero(new.at_risk[0] > 0)
    prior_answer, prior_error = there.prior_answer[:, seen], there.prior_error[:, seen]
    answers, errors, at_risk = (part[:, seen] for part in there[:3])
    weights = np.stack(
        [
            PRIOR_WEIGHT * prior_answer + answers,
            PRIOR_WEIGHT * prior_error + errors,
            PRIOR_WEIGHT * (1 - prior_answer - prior_error) + at_risk - answers - errors,
            PRIOR_WEIGHT + at_risk,
        ]
    )
    came, failed, faced = (part[:, seen] for part in new[:3])
    more = np.stack([came, failed, faced - came - failed, faced])
    told = (log_gamma(weights + more) - log_gamma(weights)).sum(axis=-1)
    likely = (told[:3].sum(axis=0) - told[3]).reshape(rivals + 1, n)
    return likely[0], likely[0] - np.logaddexp.reduce(likely[1:], axis=0) + math.log(rivals)


def divergence(pictures: Array) -> Array:
    """How far the first picture is from each other: what an attempt says of which it comes from, both ways [nats].

    pictures: (1 + n, 3, BINS), counts; gives (n,). Neighbouring bins are pooled, as few attempts were seen in some:
    1/4, 1/2, 1/4. Jeffreys 1946.

    >>> there = np.zeros((3, 87))
    >>> there[0, 40:44] = 50
    >>> apart = divergence(np.stack([there, there, np.roll(there, 4, axis=1)]))
    >>> float(apart[0]), bool(apart[1] > 1)
    (0.0, True)
    """
    answered, failed, alive = incidence(*posterior_mean(hazards(pictures)))
    come = np.diff(answered, axis=1)
    pooled = 0.5 * come
    pooled[:, 1:] += 0.25 * come[:, :-1]
    pooled[:, :-1] += 0.25 * come[:, 1:]
    shares = np.maximum(np.concatenate([pooled, failed[:, -1:], alive[:, -1:]], axis=1), _FLOOR)
    result: Array = ((shares[1:] - shares[0]) * np.log(shares[1:] / shares[0])).sum(axis=1)
    return result


def log_gamma(x: Array) -> Array:
    """``log(Gamma(x))`` for x > 0, to 1e-10 of itself or of 1: Stirling's series for ``x + 8`` (Stirling 1730).

    >>> [round(float(each), 9) for each in log_gamma(np.array([0.5, 1.0, 5.0]))]
    [0.572364943, 0.0, 3.17805383]
    """
    z = x + len(_STEPS)
    series = 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5)
    raised: Array = (z - 0.5) * np.log(z) - z + 0.5 * math.log(2 * math.pi) + series
    result: Array = raised - np.log(np.prod(x[..., None] + _STEPS, axis=-1))
    return result


def _moved(pictures: Array, shift: int) -> Array:
    """``pictures`` with all latencies so many bins longer; what would leave the axis is gathered at its end."""
    result = np.zeros_like(pictures)
    if shift > 0:
        result[..., shift:] = pictures[..., :-shift]
        result[..., -1] += pictures[..., -shift:].sum(axis=-1)
    else:
        result[..., :shift] = pictures[..., -shift:]
        result[..., 0] += pictures[..., :-shift].sum(axis=-1)
    return result
