"""Who wants to know what happens during calls."""

from __future__ import annotations

from collections.abc import Callable

from poet.model.event import Event

Callback = Callable[[Event], object]


class Listeners:
    """Called in the thread of the call, and only where something other than a first success happens."""

    __slots__ = ("_entries", "_fault")

    def __init__(self, fault: Callable[[str, BaseException], None]) -> None:
        """fault: told of a listener that raises, which never breaks the call."""
        self._entries: tuple[tuple[Callback], ...] = ()
        self._fault = fault

    def add(self, callback: Callback) -> Callable[[], None]:
        """Call ``callback`` with every event from now on; the result ends that."""
        entry = (callback,)  # one's own, as the same one may be added twice
        self._entries = (*self._entries, entry)

        def remove() -> None:
            self._entries = tuple(other for other in self._entries if other is not entry)

        return remove

    def tell(self, event: Event) -> None:
        """Hand ``event`` to all."""
        for (callback,) in self._entries:
            try:
                callback(event)
            except Exception as error:  # noqa: BLE001 - a listener never breaks a call
                self._fault(f"listener {getattr(callback, '__qualname__', type(callback).__qualname__)}", error)
