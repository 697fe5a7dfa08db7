"""Series that ask much of whoever reads them."""

from __future__ import annotations

import numpy as np

HOURS = np.arange(720)
ODD: list[list[float]] = [
    [],
    [1.0],
    [np.nan] * 50,
    [3.0] * 50,
    [0.0] * 100,
    [1.0, 2.0],
    [np.inf, 1.0, 2.0] * 20,
    [1.0] * 30 + [np.nan] * 30 + [2.0] * 30,
    [np.nan] * 99 + [1.0],
    list(np.arange(40.0)),
    list(np.r_[np.zeros(200), 1e9, np.zeros(99)]),
]
