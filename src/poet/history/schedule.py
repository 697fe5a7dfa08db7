"""Work that is to be done every so often, by one process at a time, whoever of many is there to do it.

When a job is due next stands in a small file beside the store, so that it is known after a restart; while it is done,
a lock on another file is held, which the system lifts when its holder dies, however it dies. Due times lie on a grid:
those that were missed, as nobody ran or the machine slept, are made up for once, not once each. A fault of one job is
counted and told, the job waits for its next time, and the others go on.

All processes of one machine that name the same file share a schedule. Several machines do not: of those that share a
server's store one should run it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from poet.errors import ConfigurationError, PoetError, StoreUnavailable
from poet.exchange.files import replacing
from poet.seams import Clock
from poet.settings import Settings, is_served, store_path
from poet.stores.lease import Lease

SHORTEST = 60.0  # between two times [s]
LONGEST = 366 * 86_400.0  # [s]
LONGEST_REST = 60.0  # before it is looked at the clock again, which may have been set [s]
AT_ONCE = 1e-9  # how long another holder of the lock is waited for [s]

State = Literal["done", "failed", "not due", "elsewhere"]
Wait = Callable[[float], bool]  # for so long [s], or until it is to end; whether it is to end


class Ledger(NamedTuple):
    """What is kept of a job."""

    due: float = 0.0  # next time, Unix time [s]; 0: at once
    every: float = 0.0  # as it was then [s]
    last: float = 0.0  # when it was done last, well or not, Unix time [s]; 0: never
    runs: int = 0
    faults: int = 0
    last_fault: str = ""
    runner: str = ""  # who did it


class Turn(NamedTuple):
    """What became of one look at a job."""

    job: str
    state: State
    due: float  # next time, Unix time [s]
    fault: str = ""


@dataclass(frozen=True)
class Job:
    """Something to do every so often.

    name: for people. path: of its ledger; its lock stands beside it. every: from one time to the next, in [60 s, 366
    days] [s]. task: does it; what it raises is a fault of the job. Raises ConfigurationError.
    """

    name: str
    path: Path
    every: float
    task: Callable[[], Any]

    def __post_init__(self) -> None:
        if not (SHORTEST <= self.every <= LONGEST):
            raise ConfigurationError(f"every must be in [{SHORTEST:g}, {LONGEST:g}] seconds, got {self.every!r}")

    def ledger(self) -> Ledger:
        """What is kept; of a file that is missing or damaged nothing, so that the job is done at once."""
        try:
            told = json.loads(self.path.read_text(encoding="utf-8"))
            kept = Ledger(**{name: type(usual)(told[name]) for name, usual in Ledger()._asdict().items()})
        except (OSError, ValueError, TypeError, KeyError):
            return Ledger()
        return kept if all(math.isfinite(x) for x in (kept.due, kept.every, kept.last)) else Ledger()

    def due(self, now: float) -> float:
        """When it is to be done next, Unix time [s]. now: Unix time [s].

        Where the clock was set back, or ``every`` is shorter than before, that is never farther off than ``every``.
        """
        kept = self.ledger()
        if not kept.runs:
            return 0.0
        return min(kept.due if kept.every == self.every else kept.last + self.every, now + self.every)

    def turn(self, clock: Clock) -> Turn:
        """Do it where it is due and nobody else is at it. Raises nothing but what ends a process, and Unwritable."""
        due = self.due(clock.wall())
        if clock.wall() < due and not self._off(clock.wall()):
            return Turn(self.name, "not due", due)
        with _alone(self.path.with_name(f"{self.path.name}.lock")) as alone:
            if not alone:
                return Turn(self.name, "elsewhere", due)
            due, now = self.due(clock.wall()), clock.wall()
            if now < due:  # somebody has done it meanwhile; or the clock was set back, and it counts from now on
                if self._off(now):
                    self._keep(self.ledger()._replace(due=due, every=self.every))
                return Turn(self.name, "not due", due)
            fault = ""
            try:
                self.task()
            except Exception as error:  # noqa: BLE001 - a fault of one job must not end the others, nor the next time
                fault = str(error) if isinstance(error, PoetError) else f"{type(error).__name__}: {error}"
            kept = self.ledger()
            after = max(clock.wall(), now)
            first = due if due > 0 else now
            following = first + (math.floor((after - first) / self.every) + 1) * self.every
            self._keep(
                Ledger(
                    following if following > after else after + self.every,
                    self.every,
                    now,
                    kept.runs + 1,
                    kept.faults + bool(fault),
                    fault or kept.last_fault,
                    f"process {os.getpid()}",
                )
            )
            return Turn(self.name, "failed" if fault else "done", self.due(clock.wall()), fault)

    def _off(self, now: float) -> bool:
        """Whether what is kept lies farther ahead than it can, as the clock was set back since."""
        kept = self.ledger()
        return (kept.due if kept.every == self.every else kept.last + self.every) > now + self.every

    def _keep(self, ledger: Ledger) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as partial:
            partial.write_text(json.dumps(ledger._asdict()), encoding="utf-8")


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether nobody else has the lock; it is held meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lease = Lease(path, AT_ONCE)
    try:
        lease.acquire()
    except StoreUnavailable:
        lease.close()
        yield False
        return
    try:
        yield True
    finally:
        lease.release()
        lease.close()


def keep_on(jobs: Sequence[Job], clock: Clock, wait: Wait, told: Callable[[Turn], None] = lambda turn: None) -> None:
    """Do the jobs, each when it is due, until ``wait`` says that it is to end.

    wait: ``threading.Event().wait`` of an event that ends it, say. told: hears of each that was done, or has failed.
    """
    ended = False
    while not ended:
        for job in jobs:
            turn = job.turn(clock)
            if turn.state in ("done", "failed"):
                told(turn)
        now = clock.wall()
        rest = min((job.due(now) - now for job in jobs), default=LONGEST_REST)
        ended = wait(min(max(rest, 1.0), LONGEST_REST))


def ledger_of(settings: Settings, name: str) -> Path:
    """Where the ledger of a job on this store stands: beside its file, or where this host keeps what is a server's.

    Raises ConfigurationError where the store is in memory.
    """
    safe = "".join(mark if mark.isalnum() or mark in "._-" else "_" for mark in name)
    path = store_path(settings)
    if path is not None:
        return path.with_name(f"{path.name}.{safe}.json")
    if not is_served(settings):
        raise ConfigurationError(f"a schedule needs a store that stays, not {settings.store!r}")
    from poet.app import local_folder

    return local_folder(settings) / f"{safe}.json"
