"""A store behind a door: shut, it cannot be reached."""

from __future__ import annotations

from typing import Any

from poet.errors import StoreUnavailable
from poet.seams import Store


class Door:
    """Hands every verb on while it is open; counts how often somebody has tried it."""

    def __init__(self, store: Store) -> None:
        self.store, self.open = store, True
        self.tried = 0

    def __getattr__(self, verb: str) -> Any:
        self.knock()
        return getattr(self.store, verb)

    def knock(self) -> Door:
        """Itself. Raises StoreUnavailable where it is shut."""
        self.tried += 1
        if not self.open:
            raise StoreUnavailable("far away", "nobody answers")
        return self

    def close(self) -> None:
        """Leave the store as it is: others may use it."""
