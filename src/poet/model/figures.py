"""How numbers are written for people."""

from __future__ import annotations

import math


def figures(x: float) -> str:
    """Three figures, never in powers of ten.

    >>> figures(1234.5), figures(99.96), figures(0.5), figures(0.01234)
    ('1234', '100', '0.5', '0.0123')
    """
    if x == 0 or not math.isfinite(x):
        return f"{x:g}"
    places = max(0, 2 - math.floor(math.log10(abs(x))))
    shown = f"{x:.{places}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown
