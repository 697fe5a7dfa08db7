"""Who wants to know what happens during calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from poet.model.event import Event
from poet.model.execution import Execution, Outcome

Callback = Callable[[Event], object]


class Listeners:
    """Called in the thread of the call, where something other than a first success happens."""

    __slots__ = ("_entries", "_fault", "_finished")

    def __init__(self, fault: Callable[[str, BaseException], None]) -> None:
        """fault: told of a listener that raises, which never breaks the call."""
        self._entries: tuple[tuple[Callback], ...] = ()
        self._finished: tuple[tuple[Callback], ...] = ()  # of these, who wants to hear of every call
        self._fault = fault

    def add(self, callback: Callback, *, finished: bool = False) -> Callable[[], None]:
        """Call ``callback`` with every event from now on; the result ends that. finished: of every call, too."""
        entry = (callback,)  # one's own, as the same one may be added twice
        self._entries = (*self._entries, entry)
        if finished:
            self._finished = (*self._finished, entry)

        def remove() -> None:
            self._entries = tuple(other for other in self._entries if other is not entry)
            self._finished = tuple(other for other in self._finished if other is not entry)

        return remove

    def tell(self, event: Event) -> None:
        """Hand ``event`` to all."""
        self._hand(event, self._entries)

    def tell_finished(self, function: str, dependency: str, executions: Sequence[Execution]) -> None:
        """Hand calls that are over to those who want them; off the call path."""
        if not self._finished:
            return
        for execution in executions:
            requests = sum(attempt.outcome is not Outcome.SHED for attempt in execution.attempts)
            outcome = execution.outcome.name.lower()
            event = Event(
                "finished",
                function,
                dependency,
                requests,
                execution.seconds,
                outcome=outcome,
                error=execution.error,
            )
            self._hand(event, self._finished)

    def _hand(self, event: Event, entries: tuple[tuple[Callback], ...]) -> None:
        for (callback,) in entries:
            try:
                callback(event)
            except Exception as error:  # noqa: BLE001 - a listener never breaks a call
                self._fault(f"listener {getattr(callback, '__qualname__', type(callback).__qualname__)}", error)
