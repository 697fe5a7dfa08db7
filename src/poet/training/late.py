"""Scores that come late, brought together with the executions that they are about.

Most come soon: the newest executions of a function that had none are at hand for them. Others are of executions of long
ago, of a process before a restart or of another process altogether: those are looked for in the store, whenever it is
written to. What neither has is lost to learning, and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from poet.model.execution import Execution, Feedback, rescored

RECENT = 250  # executions of a function that are at hand: some 0.1 MB
WAITING = 1000  # scores of a function that wait for their executions, at most; then the oldest are lost
PATIENCE = 60.0  # so long another process may take to store an execution [s]

Place = tuple[str, int]  # writer and sequence


class Pair(NamedTuple):
    """An execution whose score or goals came late, or anew."""

    before: Execution  # as it was told of last
    after: Execution


class Late:
    """Scores of one function that wait, and the executions that they may be of. One thread at a time."""

    __slots__ = ("_recent", "_waiting", "lost", "newest_lost")

    def __init__(self) -> None:
        self._recent: dict[Place, Execution] = {}  # oldest first
        self._waiting: list[tuple[Feedback, bool]] = []  # and whether the store has it already; oldest first
        self.lost = 0  # scores that no execution was found for
        self.newest_lost = ""  # id of the execution that the newest of them was said to be of

    @property
    def waiting(self) -> int:
        """Scores whose execution was not found yet."""
        return len(self._waiting)

    def seen(self, executions: Iterable[Execution]) -> None:
        """These are at hand now, but for those that came with a score: of them hardly anything is said later."""
        unscored = [execution for execution in executions if execution.score is None][-RECENT:]
        self._recent |= {(execution.writer, execution.sequence): execution for execution in unscored}
        if len(self._recent) > RECENT:  # in a new one, as what was large once stays so
            self._recent = dict(islice(self._recent.items(), len(self._recent) - RECENT, None))

    def said(self, feedback: Feedback) -> None:
        """It waits from now on."""
        self._waiting.append((feedback, False))
        while len(self._waiting) > WAITING:
            self.lose(self._waiting.pop(0)[0])

    def joined(self) -> list[Pair]:
        """What was said of executions that are at hand; it does not wait any more."""
        if not self._waiting:
            return []
        return self._join(self._recent)

    def wanted(self) -> list[Place]:
        """Executions to be looked for in the store."""
        return list(dict.fromkeys((each.writer, each.sequence) for each, _ in self._waiting))

    def stored(self) -> None:
        """All that waits is in the store now."""
        self._waiting = [(each, True) for each, _ in self._waiting]

    def found(self, executions: Sequence[Execution], *, lost: str, now: float) -> list[Pair]:
        """What was said of ``executions``, which the store had before it had the scores that were said since.

        lost: a writer all of whose executions have come in, so that what was not found of it never will be.
        now: Unix time [s]; whoever else was to store an execution has had ``PATIENCE`` for it.
        """
        # Where the store had a score already, what was known before it is not told any more.
        known = {(each.writer, each.sequence) for each, stored in self._waiting if stored}
        there = {(row.writer, row.sequence): row for row in executions}
        for place in known & there.keys():
            there[place] = there[place]._replace(score=None, goals=())
        pairs = self._join(there)
        left = []
        for each, stored in self._waiting:
            if each.writer == lost or now - each.at >= PATIENCE:
                self.lose(each)
            else:
                left.append((each, stored))
        self._waiting = left
        return pairs

    def give_up(self) -> None:
        """Nothing will come any more."""
        for each, _ in self._waiting:
            self.lose(each)
        self._waiting = []

    def _join(self, executions: dict[Place, Execution]) -> list[Pair]:
        """Of several scores of one execution the newest counts, and of its goals the newest of each."""
        before: dict[Place, Execution] = {}
        left = []
        for each, stored in self._waiting:
            place = each.writer, each.sequence
            execution = executions.get(place)
            if execution is None:
                left.append((each, stored))
                continue
            before.setdefault(place, execution)
            executions[place] = rescored(execution, each.score, each.goals)
        self._waiting = left
        return [Pair(old, executions[place]) for place, old in before.items() if executions[place] != old]

    def lose(self, feedback: Feedback) -> None:
        """There is no such execution."""
        self.lost += 1
        self.newest_lost = f"{feedback.writer}-{feedback.sequence}"
