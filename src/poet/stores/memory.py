"""A store that lasts as long as its process: for tests, for trying things out, and as the measure for other stores."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from poet.errors import StaleParameters, StoreUnavailable, UnknownFunction, UnknownVersion
from poet.model.aggregate import HOUR, Hour
from poet.model.document import EVIDENCE, STEERING, Document
from poet.model.execution import Execution, Feedback
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import SYSTEM_CLOCK, Clock, Finding, FunctionRecord, Incoming, ProcessReport, Upkeep
from poet.stores import features, reading, rows, rules, tallying
from poet.stores.reading import Place, Said


@dataclass(slots=True)
class _Kept:
    """All that is kept of one function."""

    record: FunctionRecord
    versions: list[ParameterSet]  # version n stands at n - 1
    aliases: dict[AliasName, Alias]
    generation: int = 1
    changed: int = 0  # generation of the store when this was the newest change
    paused: str = ""
    pinned: Mapping[str, Value] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    executions: dict[tuple[str, int], Execution] = field(default_factory=dict)  # by writer and sequence
    # that are not with their executions yet: what was said last, and what of goals, each with when
    scores: dict[Place, Feedback] = field(default_factory=dict)
    goals: dict[Place, dict[str, tuple[float, float]]] = field(default_factory=dict)
    hours: dict[tuple[int, int], Hour] = field(default_factory=dict)  # by number and version
    learner: bytes | None = None
    contributions: dict[str, tuple[int, float]] = field(default_factory=dict)  # of each writer the last one, and when
    documents: dict[tuple[str, str], Document] = field(default_factory=dict)  # by kind and name

    @property
    def live(self) -> ParameterSet:
        return self.versions[self.aliases["live"].version - 1]

    @property
    def places(self) -> dict[AliasName, int]:
        return {name: alias.version for name, alias in self.aliases.items()}

    def standing(self) -> Standing:
        canary = self.aliases.get("canary")
        return Standing(
            self.live,
            self.generation,
            self.paused,
            MappingProxyType(dict(self.pinned)),
            None if canary is None else self.versions[canary.version - 1],
            tuple(each for place, each in sorted(self.documents.items()) if each.open and place[0] in STEERING),
        )

    def said(self, place: Place) -> Said:
        """What was said of an execution later."""
        goals = sorted(self.goals.get(place, {}).items(), key=lambda goal: (goal[1][1], goal[0]))
        return Said(self.scores[place].score, tuple((name, value) for name, (value, _) in goals))

    def forget(self, place: Place) -> None:
        """What was said of it is with the execution now, or that never came."""
        del self.scores[place]
        self.goals.pop(place, None)


class MemoryStore:
    """A ``Store`` in memory. One lock guards all of it; whatever goes in or out is frozen or a copy."""

    url = "memory:"
    away = 0.0

    def __init__(self, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._lock = threading.RLock()  # re-entrant, as pinning publishes
        self._kept: dict[FunctionKey, _Kept] = {}
        self._generation = 0
        self._documents: dict[tuple[str, str], Document] = {}  # of no function
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
            return self._begin(record).standing()

    def functions(self) -> list[FunctionRecord]:
        """All known functions, by name."""
        with self._open():
            records = [_copied(kept.record) for kept in self._kept.values()]
        return sorted(records, key=lambda record: (record.key.name, record.key))

    def generation(self) -> int:
        """A number that grows whenever any function's standing changes."""
        with self._open():
            return self._generation

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        """The generation now, and the functions whose standing has changed after it was ``since``."""
        with self._open():
            return self._generation, sorted(key for key, kept in self._kept.items() if kept.changed > since)

    def standing(self, function: FunctionKey) -> Standing:
        """What holds now. Raises UnknownFunction."""
        with self._open():
            return self._of(function).standing()

    def aliases(self, function: FunctionKey) -> dict[AliasName, Alias]:
        """Where each name stands. Raises UnknownFunction."""
        with self._open():
            return dict(sorted(self._of(function).aliases.items()))

    def publish(
        self,
        function: FunctionKey,
        draft: ParameterSet,
        *,
        expected: int,
        alias: Literal["live", "canary"] | None = "live",
        beside: Sequence[Document] = (),
    ) -> Standing:
        """Keep ``draft`` as the next version and make it live, or the canary, or neither.

        Raises UnknownFunction, StaleParameters, and ValueError for another alias or documents that cannot be kept.
        """
        rules.check_publishable(alias)
        with self._open():
            kept = self._expected(function, expected)
            self._write(kept, rules.beside(beside, function, len(kept.versions) + 1))
            version = self._keep(kept, draft)
            places = rules.after_publish(kept.places, version, alias)
            return self._changed(kept, places, rules.published_as(alias), version, draft.author, draft.reason)

    def rollback(
        self,
        function: FunctionKey,
        to: int | None,
        *,
        author: str,
        reason: str,
        beside: Sequence[Document] = (),
        pause: bool = True,
    ) -> Standing:
        """Make an older version live and pause learning. Raises UnknownFunction, UnknownVersion, StaleDocument."""
        with self._open():
            kept = self._of(function)
            target = self._version(kept, kept.live.parent if to is None else to)
            self._write(kept, rules.beside(beside, function, target))
            if pause:
                kept.paused = rules.pause_text(reason, author, f"rolled back to version {target}")
            kept.pinned = rules.lasting_pins(kept.pinned, kept.versions[target - 1])
            places = rules.after_rollback(kept.places, target, pinned=bool(kept.pinned))
            return self._changed(kept, places, "rollback", target, author, reason)

    def point(
        self,
        function: FunctionKey,
        alias: Literal["live", "canary", "last_good"],
        version: int | None,
        *,
        expected: int,
        author: str,
        reason: str,
        beside: Sequence[Document] = (),
    ) -> Standing:
        """Move a name. Raises UnknownFunction, UnknownVersion, StaleParameters, StaleDocument, ValueError."""
        with self._open():
            kept = self._expected(function, expected)
            places = rules.after_point(kept.places, alias, version)
            target = kept.places.get(alias, 0) if version is None else self._version(kept, version)
            if places == kept.places and not beside:
                return kept.standing()
            self._write(kept, rules.beside(beside, function, target))
            return self._changed(kept, places, rules.action_of(alias, version), target, author, reason)

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
            places = kept.places
            now = self._clock.wall()
            if pinned:
                version = self._keep(kept, rules.pinned_draft(kept.live, pinned, author, reason))
                places = rules.after_publish(places, version, "live", pinned=True)
                kept.pinned = {**kept.pinned, **pinned}
                kept.changes.append(rules.change(now, "pin", version, author, reason))
            elif pinned is not None:
                places = rules.after_unpin(places)
                kept.pinned = {}
                kept.changes.append(rules.change(now, "unpin", places["live"], author, reason))
            if paused is not None:
                kept.paused = rules.pause_text(reason, author, "paused") if paused else ""
                action = "pause" if paused else "resume"
                kept.changes.append(rules.change(now, action, places["live"], author, reason))
            return self._moved(kept, places)

    def documents(
        self, kind: str, function: FunctionKey | None = None, *, name: str | None = None, ended: bool = True
    ) -> list[Document]:
        """Those of a kind, by function and name; of one function only, of one name only. Raises UnknownFunction."""
        with self._open():
            if function is None:
                found = [
                    *self._documents.values(),
                    *(d for kept in self._kept.values() for d in kept.documents.values()),
                ]
            else:
                found = list(self._of(function).documents.values())
        found = [d for d in found if d.kind == kind and (d.open or ended) and name in (None, d.name)]
        return sorted(found, key=rules.place_of)

    def keep(self, document: Document, *, quiet: bool = False) -> Document:
        """Keep it in place of its revision. Raises StaleDocument, UnknownFunction, ValueError."""
        rules.check_document(document)
        with self._open():
            kept = None if document.function is None else self._of(document.function)
            (written,) = self._write(kept, [document])
            if not quiet:
                self._generation += 1
                if kept is not None:
                    kept.generation += 1
                    kept.changed = self._generation
            return written

    def discard(self, documents: Sequence[Document]) -> None:
        """Delete these. Those that are not there are passed over."""
        with self._open():
            for each in documents:
                kept = self._kept.get(each.function) if each.function is not None else None
                shelf = self._documents if each.function is None else {} if kept is None else kept.documents
                shelf.pop((each.kind, each.name), None)

    def _write(self, kept: _Kept | None, documents: Sequence[Document]) -> list[Document]:
        """All of them or none. Raises StaleDocument."""
        shelf = self._documents if kept is None else kept.documents
        for each in documents:
            there = shelf.get((each.kind, each.name))
            rules.check_revision(each, 0 if there is None else there.revision)
        written = [each._replace(revision=each.revision + 1, at=self._clock.wall()) for each in documents]
        shelf.update({(each.kind, each.name): each for each in written})
        return written

    def bring_in(self, incoming: Sequence[Incoming]) -> list[Standing]:
        """Take in what was learned elsewhere, all of it or nothing. Raises StaleParameters."""
        with self._open():
            for each in incoming:
                known = self._kept.get(each.record.key)
                generation = 0 if known is None else known.generation
                if generation != each.expected:
                    raise StaleParameters(each.record.key.name, each.expected, generation)
            return [self._bring_in(each) for each in incoming]

    def _bring_in(self, each: Incoming) -> Standing:
        kept = self._kept.get(each.record.key) or self._begin(_copied(each.record))
        if each.state is not None:
            kept.learner = bytes(each.state)
        draft = each.draft
        if draft is None:
            return kept.standing()
        version = self._keep(kept, draft)
        places = rules.after_publish(kept.places, version, "live")
        return self._changed(kept, places, "import", version, draft.author, draft.reason)

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

        Raises UnknownFunction, and ValueError where a feature, value or goal cannot be kept
        (``features.check_execution``).
        """
        with self._open():
            kept = self._of(function)
            for execution in executions:
                features.check_execution(execution)
            executions = [
                row._replace(goals=features.check_goals(row.goals)) if row.goals else row for row in executions
            ]
            added = []
            for batch in rules.by_writer(executions).values():
                for execution in batch:
                    place = (execution.writer, execution.sequence)
                    if place not in kept.executions:
                        kept.executions[place] = execution
                        kept.record = _counted(kept.record, execution)
                        added.append(execution)
            for place_, hour in tallying.tallied(added).items():
                known = kept.hours.get(place_)
                kept.hours[place_] = hour if known is None else tallying.added(known, hour)

    def score(self, function: FunctionKey, feedback: Sequence[Feedback]) -> None:
        """Keep what was said of executions. Raises UnknownFunction, and ValueError where it is not finite."""
        told = [rows.check_feedback(each) for each in feedback]
        with self._open():
            kept = self._of(function)
            for each in told:
                place = each.writer, each.sequence
                before = kept.scores.get(place)
                if before is None or each.at >= before.at:
                    kept.scores[place] = each
                for name, value in each.goals:
                    goals = kept.goals.setdefault(place, {})
                    if name not in goals or each.at >= goals[name][1]:
                        goals[name] = value, each.at

    def executions(self, function: FunctionKey, *, since: float = 0.0, limit: int | None = None) -> Iterator[Execution]:
        """Stored executions, oldest first; the newest ``limit`` of those started at or after ``since`` [Unix s].

        Raises UnknownFunction.
        """
        with self._open():
            kept = self._of(function)
            scores = {place: kept.said(place) for place in kept.scores}
            found = [row for row in kept.executions.values() if row.started >= since]
        found = reading.with_scores(found, scores)
        return iter(
            sorted(found, key=rules.age) if limit is None else heapq.nlargest(limit, found, key=rules.age)[::-1]
        )

    def find(self, function: FunctionKey, ids: Sequence[tuple[str, int]]) -> list[Execution]:
        """Those of these executions that are stored, with their scores so far. Raises UnknownFunction."""
        with self._open():
            kept = self._of(function)
            found = [kept.executions[place] for place in dict.fromkeys(ids) if place in kept.executions]
            scores = {place: kept.said(place) for place in ids if place in kept.scores}
        return reading.with_scores(found, scores)

    def hours(self, function: FunctionKey, *, since: float = 0.0) -> list[Hour]:
        """What was counted hour by hour and by version, oldest first. Raises UnknownFunction."""
        with self._open():
            hours = self._of(function).hours
            return [hours[place] for place in sorted(hours) if hours[place].start + HOUR > since]

    def maintain(self, *, executions_before: float, hours_before: float, settled: float) -> Upkeep:
        """Delete what is older, write scores to their executions. There are no chunks to be put together."""
        expired = gone = scored = 0
        with self._open():
            for kept in self._kept.values():
                old = [place for place, row in kept.executions.items() if row.started < executions_before]
                for place in old:
                    del kept.executions[place]
                expired += len(old)
                scored += self._settle(kept, executions_before, settled)
                past = [place for place, hour in kept.hours.items() if hour.start + HOUR <= hours_before]
                for hour in past:
                    del kept.hours[hour]
                gone += len(past)
                for writer in [writer for writer, (_, at) in kept.contributions.items() if at < hours_before]:
                    del kept.contributions[writer]
            for shelf in (self._documents, *(kept.documents for kept in self._kept.values())):
                for old_one in [d for d in shelf.values() if d.kind == EVIDENCE and not d.open and d.at < hours_before]:
                    del shelf[old_one[:2]]
        return Upkeep(expired=expired, hours=gone, scored=scored)

    def _settle(self, kept: _Kept, executions_before: float, settled: float) -> int:
        written = 0
        for place, said in list(kept.scores.items()):
            before = kept.executions.get(place)
            if before is not None and said.at < settled:
                after = kept.executions[place] = reading.scored(before, kept.said(place))
                for hour, (count, total) in tallying.rescored([before], [after]).items():
                    if hour in kept.hours:
                        known = kept.hours[hour]
                        kept.hours[hour] = known._replace(scored=known.scored + count, score=known.score + total)
                kept.forget(place)
                written += 1
            elif before is None and said.at < executions_before:
                kept.forget(place)
        return written

    def save_learner(self, function: FunctionKey, state: bytes) -> None:
        """Keep a learner's state in place of the one before. Raises UnknownFunction."""
        with self._open():
            self._of(function).learner = bytes(state)

    def load_learner(self, function: FunctionKey) -> bytes | None:
        """The state kept last, or None."""
        with self._open():
            kept = self._kept.get(function)
            return None if kept is None else kept.learner

    def exchange(
        self, function: FunctionKey, writer: str, number: int, merge: Callable[[bytes | None], bytes]
    ) -> bytes:
        """Merge a contribution into the kept state, unless it was taken in already. Raises UnknownFunction."""
        with self._open():
            kept = self._of(function)
            last, _ = kept.contributions.get(writer, (0, 0.0))
            if kept.learner is None or last < number:
                kept.learner = bytes(merge(kept.learner))
                kept.contributions[writer] = (number, self._clock.wall())
            return kept.learner

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

    def watch(self, hint: Callable[[], None]) -> float:
        """Nobody else can change anything: 0.0, and ``hint`` is never called."""
        return 0.0

    def check(self) -> list[Finding]:
        """There is no file to be damaged: it only says so."""
        with self._open():
            return [Finding(True, "memory", f"{len(self._kept)} functions, kept until this process ends")]

    def close(self) -> None:
        """Forget everything."""
        with self._lock:
            self._closed = True
            self._kept.clear()
            self._documents.clear()
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

    def _begin(self, record: FunctionRecord) -> _Kept:
        """A function that is new."""
        first = rules.declared_version(record, self._clock.wall())
        aliases, _ = rules.moved({}, rules.first_places(), 1)
        kept = _Kept(record._replace(calls=0, failures=0, seconds=0.0, last_call=0.0), [first], aliases)
        kept.changes.append(rules.change(first.created, "publish", 1, first.author, first.reason))
        self._kept[record.key] = kept
        self._generation += 1
        kept.changed = self._generation
        return kept

    def _expected(self, function: FunctionKey, generation: int) -> _Kept:
        kept = self._of(function)
        if kept.generation != generation:
            raise StaleParameters(function.name, generation, kept.generation)
        return kept

    def _version(self, kept: _Kept, number: int | None) -> int:
        if number is None or not 1 <= number <= len(kept.versions):
            known = tuple(version.version for version in kept.versions)
            raise UnknownVersion(kept.record.key.name, number or 0, known)
        return number

    def _keep(self, kept: _Kept, draft: ParameterSet) -> int:
        version = rules.next_version(draft, kept.live, len(kept.versions), self._clock.wall())
        kept.versions.append(version)
        return version.version

    def _changed(
        self, kept: _Kept, places: rules.Places, action: str, version: int, author: str, reason: str
    ) -> Standing:
        kept.changes.append(rules.change(self._clock.wall(), action, version, author, reason))
        return self._moved(kept, places)

    def _moved(self, kept: _Kept, places: rules.Places) -> Standing:
        kept.generation += 1
        self._generation += 1
        kept.changed = self._generation
        kept.aliases, _ = rules.moved(kept.aliases, places, kept.generation)
        return kept.standing()

    def _newest_reports(self) -> list[ProcessReport]:
        return sorted(self._reports.values(), key=lambda report: (-report.seen, report.writer))


def _copied(record: FunctionRecord) -> FunctionRecord:
    space = {name: list(bounds) for name, bounds in record.space.items()}
    choices = {name: list(options) for name, options in record.choices.items()}
    goals = {name: dict(goal) for name, goal in record.goals.items()}
    return record._replace(
        declared=dict(record.declared), objective=dict(record.objective), space=space, choices=choices, goals=goals
    )


def _counted(record: FunctionRecord, execution: Execution) -> FunctionRecord:
    return record._replace(
        calls=record.calls + 1,
        failures=record.failures + (not execution.outcome.good),
        seconds=record.seconds + execution.seconds,
        last_call=max(record.last_call, execution.started),
    )
