"""Many small matrices: threads of a linear-algebra library would wait for each other longer than they work."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib import import_module
from typing import Any


def single() -> AbstractContextManager[Any]:
    """While it lasts, numpy and scipy keep to the thread that calls them. Others may feel it, too."""
    found = _controller()
    return nullcontext() if found is None else found.limit(limits=1)


@lru_cache(maxsize=1)
def _controller() -> Any:
    """Of the libraries that are loaded by now; None: nobody can steer them."""
    import scipy.linalg  # noqa: F401 - it brings libraries of its own

    try:
        return import_module("threadpoolctl").ThreadpoolController()
    except ImportError:
        return None
