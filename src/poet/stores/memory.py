"""A store that lasts as long as its process: for tests, for trying things out, and as the measure for other stores."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from poet.errors import StaleParameters, StoreUnavailable, UnknownFunction, UnknownVersion
from poet.model.execution import Execution
from poet.model.function import FunctionKey
from poet.model.parameters import Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import SYSTEM_CLOCK, Clock, Finding, FunctionRecord, ProcessReport
from poet.stores import features, rules


@dataclass(slots=True)
class _Kept:
    """All that is kept of one function."""

    record: FunctionRecord
    versions: list[ParameterSet]  # version n stands at n - 1
    live: int = 1
    generation: int = 1
    paused: str = ""
    pinned: Mapping[str, Value] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    executions: dict[tuple[str, int], Execution] = field(default_factory=dict)  # by writer and sequence
    learner: bytes | None = None

    def standing(self) -> Standing:
        return Standing(self.versions[self.live - 1], self.generation, self.paused, MappingProxyType(dict(self.pinned)))


class MemoryStore:
    """A ``Store`` in memory. One lock guards all of it; whatever goes in or out is frozen or a copy."""

    url = "memory:"

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # re-entrant, as pinning publishes
        self._kept: dict[FunctionKey, _Kept] = {}
        self._generation = 0
        self._reports: dict[str, ProcessReport] = {}
        self._closed = False

    def register(self, record: FunctionRecord) -> Standing:
        """Make the function known, with ``record.declared`` as version 1 where it has none; else what holds."""
        record = _copied(record)
        with self._open():
            kept = self._kept.get(record.key)
            if kept is not None:
                old = kept.record
                kept.record = record._replace(
                    calls=old.calls, failures=old.failures, seconds=old.seconds, last_call=old.last_call
                )
                return kept.standing()
            first = rules.declared_version(record, self._clock.wall())
            kept = _Kept(record._replace(calls=0, failures=0, seconds=0.0, last_call=0.0), [first])
            kept.changes.append(Change(first.created, "publish", 1, first.author, first.reason))
            self._kept[record.key] = kept
            self._generation += 1
            return kept.standing()

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""
        with self._open():
            records = [_copied(kept.record) for kept in self._kept.values()]
        return sorted(records, key=lambda record: (record.key.name, record.key))

    def generation(self) -> int:
        """A number that grows whenever any function's standing changes."""
        with self._open():
            return self._generation

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now. Raises UnknownFunction."""
        with self._open():
            return self._of(function).standing()

    def publish(self, function: FunctionKey, draft: ParameterSet, *, expected: int) -> Standing:
        """Keep ``draft`` as the next version and make it live. Raises UnknownFunction, StaleParameters."""
        with self._open():
            kept = self._of(function)
            if kept.generation != expected:
                raise StaleParameters(function.name, expected, kept.generation)
            self._publish(kept, draft)
            kept.changes.append(Change(self._clock.wall(), "publish", kept.live, draft.author, draft.reason))
            return self._changed(kept)

    def rollback(self, function: FunctionKey, to: int | None, *, author: str, reason: str) -> Standing:
        """Make an older version live and pause learning. Raises UnknownFunction, UnknownVersion."""
        with self._open():
            kept = self._of(function)
            target = kept.versions[kept.live - 1].parent if to is None else to
            if target is None or not 1 <= target <= len(kept.versions):
                known = tuple(version.version for version in kept.versions)
                raise UnknownVersion(function.name, target or 0, known)
            kept.live = target
            kept.paused = rules.pause_text(reason, author, f"rolled back to version {target}")
            kept.pinned = rules.lasting_pins(kept.pinned, kept.versions[target - 1])
            kept.changes.append(Change(self._clock.wall(), "rollback", target, author, reason))
            return self._changed(kept)

    def steer(
        self,
        function: FunctionKey,
        *,
        author: str,
        reason: str,
        paused: bool | None = None,
        pinned: Mapping[str, Value] | None = None,
    ) -> Standing:
        """Pause or resume learning, pin values or lift all pins. Raises UnknownFunction."""
        with self._open():
            kept = self._of(function)
            if pinned is None and paused is None:
                return kept.standing()
            now = self._clock.wall()
            if pinned:
                self._publish(kept, rules.pinned_draft(kept.versions[kept.live - 1], pinned, author, reason))
                kept.pinned = {**kept.pinned, **pinned}
                kept.changes.append(Change(now, "pin", kept.live, author, reason))
            elif pinned is not None:
                kept.pinned = {}
                kept.changes.append(Change(now, "unpin", kept.live, author, reason))
            if paused is not None:
                kept.paused = rules.pause_text(reason, author, "paused") if paused else ""
                kept.changes.append(Change(now, "pause" if paused else "resume", kept.live, author, reason))
            return self._changed(kept)

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """All versions, oldest first. Raises UnknownFunction."""
        with self._open():
            return list(self._of(function).versions)

    def history(self, function: FunctionKey) -> list[Change]:
        """All changes, oldest first. Raises UnknownFunction."""
        with self._open():
            return list(self._of(function).changes)

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        """Keep executions; those whose writer and sequence are kept already are passed over.

        Raises UnknownFunction, and ValueError where a feature cannot be kept (``features.check``).
        """
        with self._open():
            kept = self._of(function)
            for execution in executions:
                features.check(execution.context)
            for rows in rules.by_writer(executions).values():
                for execution in rows:
                    place = (execution.writer, execution.sequence)
                    if place not in kept.executions:
                        kept.executions[place] = execution
                        kept.record = _counted(kept.record, execution)

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions, oldest first; the newest ``limit`` of those started at or after ``since`` [Unix s].

        Raises UnknownFunction.
        """
        with self._open():
            rows = [row for row in self._of(function).executions.values() if row.started >= since]
        return iter(sorted(rows, key=rules.age) if limit is None else heapq.nlargest(limit, rows, key=rules.age)[::-1])

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before. Raises UnknownFunction."""
        with self._open():
            self._of(function).learner = bytes(state)

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""
        with self._open():
            kept = self._kept.get(function)
            return None if kept is None else kept.learner

    def report(self, process: ProcessReport) -> None:
        """Keep how a process fares, in place of its report before."""
        with self._open():
            self._reports[process.writer] = process
            for stale in self._newest_reports()[rules.REPORTS :]:
                del self._reports[stale.writer]

    def processes(self) -> list[ProcessReport]:
        """The last report of each process, newest first."""
        with self._open():
            return self._newest_reports()

    def check(self) -> list[Finding]:
        """There is no file to be damaged: it only says so."""
        with self._open():
            return [Finding(True, "memory", f"{len(self._kept)} functions, kept until this process ends")]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            self._reports.clear()

    def _open(self) -> threading.RLock:
        if self._closed:
            raise StoreUnavailable(self.url, "the store was closed", "make a new one")
        return self._lock

    def _of(self, function: FunctionKey) -> _Kept:
        kept = self._kept.get(function)
        if kept is None:
            raise UnknownFunction(function.name, tuple(sorted(key.name for key in self._kept)))
        return kept

    def _publish(self, kept: _Kept, draft: ParameterSet) -> None:
        live = kept.versions[kept.live - 1]
        kept.versions.append(rules.next_version(draft, live, len(kept.versions), self._clock.wall()))
        kept.live = len(kept.versions)

    def _changed(self, kept: _Kept) -> Standing:
        kept.generation += 1
        self._generation += 1
        return kept.standing()

    def _newest_reports(self) -> list[ProcessReport]:
        return sorted(self._reports.values(), key=lambda report: (-report.seen, report.writer))


def _copied(record: FunctionRecord) -> FunctionRecord:
    space = {name: list(bounds) for name, bounds in record.space.items()}
    return record._replace(declared=dict(record.declared), objective=dict(record.objective), space=space)


def _counted(record: FunctionRecord, execution: Execution) -> FunctionRecord:
    return record._replace(
        calls=record.calls + 1,
        failures=record.failures + (not execution.outcome.good),
        seconds=record.seconds + execution.seconds,
        last_call=max(record.last_call, execution.started),
    )
