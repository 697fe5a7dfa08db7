"""A learner that is sure of one thing, whatever it sees: for tests of what stands around learners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from poet.model.execution import Execution
from poet.model.explanation import Explanation
from poet.model.tunable import Value
from poet.seams import Probe, Suggestion


class Believer:
    """It suggests the same values again and again, learns nothing, and has nothing to tell others."""

    scores = False

    def __init__(self, values: Mapping[str, Value], *, urgent: bool = False, after: int = 0) -> None:
        """urgent: it says that this cannot wait. after: executions that it lets pass before it says anything."""
        self.values, self.urgent, self.after, self.seen = dict(values), urgent, after, 0

    def update(self, executions: Sequence[Execution]) -> None:
        """Counts them."""
        self.seen += len(executions)

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Never told, as it wants no scores."""

    def due(self) -> int:
        """Always."""
        return 2 if self.urgent else 1

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """What it believes in."""
        return Suggestion(self.values, "it believes so", {}, self.seen) if self.seen >= self.after else None

    def probe(self) -> Probe:
        """None."""
        return Probe()

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        """It knows no reason."""
        return Explanation(self.seen, None, {}, 0.0, 0.0, {}, None, (), ())

    def dump(self) -> bytes:
        """Nothing."""
        return b""

    def load(self, state: bytes) -> None:
        """Nothing to take up."""

    def contribution(self) -> bytes | None:
        """Nothing."""
        return None

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        """Nothing."""
        return b""
