"""Long computations in pieces, so that whoever asked for them can let others run in between.

A computation says where it may be interrupted, and knows of nothing else: what happens there is the business of
whoever runs it, in whose thread it happens. It changes no result. Standard library only.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Between(threading.local):
    hook: Callable[[], None] | None = None


_between = _Between()


def between() -> None:
    """Here a piece has ended, of a millisecond at most where the machine is quick."""
    hook = _between.hook
    if hook is not None:
        hook()


@contextmanager
def in_pieces(hook: Callable[[], None]) -> Iterator[None]:
    """Within it, ``hook`` is called between two pieces of whatever this thread computes.

    >>> with in_pieces(lambda: print("others may run")):
    ...     between()
    others may run
    >>> between()
    """
    before, _between.hook = _between.hook, hook
    try:
        yield
    finally:
        _between.hook = before
