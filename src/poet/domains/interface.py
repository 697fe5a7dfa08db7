"""What a domain is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from inspect import Signature

Perceive = Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]
"""``perceive(*args, **kwargs) -> (args, kwargs)``: the arguments to call the function with.

As many as came, in the same order; only values differ. It changes none of the caller's objects. Raises ValueError,
with the reason, where the input is rejected: then the function must not run.
"""

Enforce = Callable[[Any], Any]
"""``enforce(result) -> result``: what the caller gets, the very same object or a changed copy, never one it changed.

Raises ValueError, with the reason, where the result is rejected: then the caller must not get it.
"""


class Checks(NamedTuple):
    """What a domain does in the calls of one function. None: nothing, so that a call pays nothing.

    Both are plain functions without state, the same for sync and async functions, safe to call from several threads.
    """

    perceive: Perceive | None = None
    enforce: Enforce | None = None


class Domain(Protocol):
    """A trade's knowledge, as a plug-in."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def for_function(self, signature: Signature) -> Checks:
        """What applies to a function of this signature, asked once, when it is decorated.

        Raises ConfigurationError where the function's declaration itself breaks the domain's rules.
        """
