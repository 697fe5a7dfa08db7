"""What takes care of a function while calls get one of several versions by lot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from poet.model.execution import Execution
from poet.seams import Lot, Probe, Suggestion


class Trial(Protocol):
    """A roll-out or an experiment of one function, as one process sees it. Used under the trainer's lock.

    What it raises is counted as a fault, and the calls go on with the live version.
    """

    def lot(self, probe: Probe) -> Lot | None:
        """How calls get their version from now on; None: all get the live one. probe: of the live version."""

    def heard(self, executions: Sequence[Execution]) -> None:
        """These have ended, by whichever version: take note, decide, and change what is to be changed.

        It may change the function's standing through the trainer (``Trainer.adopt``), and so end itself.
        """

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores that came late, as a learner is told of them (``seams.Learner.rescored``)."""

    def suggested(self, suggestion: Suggestion, *, urgent: bool) -> bool:
        """The function's learner has an idea: whether it was dealt with here, so that it is not to be published.

        urgent: the live version fails, and it cannot wait.
        """

    def stored(self, *, last: bool) -> None:
        """Executions were just handed to the store: tell others what was seen, hear what they have. Raises StoreError.

        last: nothing more will come for now.
        """


@runtime_checkable
class Teaching(Protocol):
    """A trial that teaches learners of its own: of such calls the function's learner hears nothing."""

    def teaches(self, execution: Execution) -> bool:
        """Whether this is not for the function's own learner. Cheap; never raises."""
