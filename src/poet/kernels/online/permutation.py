"""Does a label say anything of what was seen? An exact test that may be looked at after every block.

Within a block of observations the labels are shuffled, in thought: if they say nothing, each way to deal them out is as
likely as any other, whatever the observations are and however they drift from block to block. A score that was fixed
before the block is summed over the labelled ones; ``exp`` of that sum over its mean by all shuffles is an e-value: its
mean is 1 where labels say nothing (Shafer 2021, "Testing by betting"; the exchangeable case of Shekhar & Ramdas 2023,
"Nonparametric two-sample testing by betting"). The mean over shuffles is an elementary symmetric polynomial of the
``exp`` of all scores, divided by the number of subsets of that size: no sampling is needed.

E-values of blocks multiply. Where a change may come late they are summed up as in Shiryaev & Roberts's procedure, whose
false alarms are at least ``level`` blocks apart on average, whatever is observed (Shin, Ramdas & Rinaldo 2023,
"E-detectors"), as long as labels are exchangeable within blocks: where both come in runs they are not.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def evidence(scores: Array, labels: npt.NDArray[np.bool_]) -> Array:
    """Log e-value of each of several labels [nats]: (n, k) and (n, k) -> (k,).

    scores: of n observations by each label's own score, fixed before they came; within +-10, say. 0.0 where all of a
    block are labelled, or none. O(n * n * k).

    >>> evidence(np.array([[1.0], [-1.0]]), np.array([[True], [False]])).round(3).tolist()
    [0.566]
    """
    n, k = labels.shape
    count = labels.sum(axis=0)
    other = count > n // 2  # the fewer are dealt out: it comes to the same
    signs = np.where(other, -1.0, 1.0)
    chosen = labels != other
    count = np.where(other, n - count, count)
    scores = scores * signs
    factors = np.exp(scores)
    most = int(count.max(initial=0))
    table = np.zeros((most + 1, k))  # sums over subsets of each size, divided by how many there are
    table[0] = 1.0
    sizes = np.arange(1, most + 1)[:, None]
    for seen, factor in enumerate(factors, start=1):
        part = np.minimum(sizes / seen, 1.0)  # of the subsets of this size, those that hold the newest
        table[1:] = part * factor * table[:-1] + (1.0 - part) * table[1:]
    total: Array = (scores * chosen).sum(axis=0) - np.log(table[count, np.arange(k)])
    total[count == 0] = 0.0
    return total


def raised(level: float, gained: float) -> float:
    """The log of Shiryaev & Roberts's statistic after a block whose log e-value is ``gained`` [nats].

    level: its log before; -inf at the start.

    >>> round(raised(-math.inf, 2.0), 6), round(raised(0.0, 0.0), 4)
    (2.0, 0.6931)
    """
    return gained + (max(level, 0.0) + math.log1p(math.exp(-abs(level))) if level > -math.inf else 0.0)
