"""What each command has to say, as a document of plain values: ``--json`` prints it, ``pages`` lays it out for people.

Every function here is pure. Moments are Unix times [s], spans seconds, shares are in [0, 1]; None says "not known".
The keys are documented in ``docs/how-to/read-the-command-line.md`` and only ever added to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poet.model.estimate import Estimate
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.explanation import Explanation, Forecast
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.replay import Replay
from poet.model.rollout import KIND, Rollout
from poet.model.tunable import Value
from poet.seams import Finding, FunctionRecord, ProcessReport, Upkeep

if TYPE_CHECKING:
    from poet.learning.online_learner import Headline

Document = dict[str, Any]
Diff = dict[str, tuple[Value | None, Value | None]]

FORMAT = 1  # grows when a key changes its meaning or goes
ALIVE = 60.0  # a process that reported within this time runs [s]
NO_VERSION: Document = {"origin": None, "evidence": None, "parent": None, "diff": {}, "values": None}
RECENT = 86_400.0  # faults of processes seen within this time are still news [s]
LATELY = 3_600.0  # calls within this time tell what a function asks for now [s]
NEWEST = 1000  # of them are counted, at most
LISTED = 5  # newest calls, however old


def document(command: str, **parts: Any) -> Document:
    """The frame that every document has."""
    return {"format": FORMAT, "command": command, **parts}


def plain(x: Any) -> Any:
    """``x`` as JSON can say it: mappings with text as keys, lists, and None for what is no finite number.

    >>> plain({"a": (1, float("nan")), 0.5: True})
    {'a': [1, None], '0.5': True}
    """
    if isinstance(x, float):
        return x if math.isfinite(x) else None
    if isinstance(x, Mapping):
        return {str(key): plain(value) for key, value in x.items()}
    if isinstance(x, list | tuple):
        return [plain(item) for item in x]
    return x


def diff(old: Mapping[str, Value], new: Mapping[str, Value]) -> Diff:
    """What differs, by name; None stands where a side has no such value.

    >>> diff({"timeout": 30.0, "retries": 3}, {"timeout": 30.0, "retries": 2})
    {'retries': (3, 2)}
    """
    names = [*old, *(name for name in new if name not in old)]
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def state(record: FunctionRecord, standing: Standing, learning: str) -> str:
    """One or two words on how a function fares; ``learning``: how far it goes, as settings and flags say."""
    if not record.learner:
        return "declared only"
    if standing.paused:
        return "paused"
    if standing.pinned:
        return "pinned"
    if not record.calls:
        return "no calls"
    return {"observe": "observing", "off": "off", "defaults": "defaults"}.get(learning, "learning")


def identity(record: FunctionRecord, short: str) -> Document:
    """Who the function is; ``short`` is the shortest name that every command understands."""
    return {
        "name": record.key.name,
        "short_name": short,
        "fingerprint": record.key.fingerprint,
        "id": str(record.key),
    }


def counters(record: FunctionRecord) -> Document:
    """What was counted of a function; ``success`` and ``mean_seconds`` are None before its first call."""
    calls = record.calls
    return {
        "calls": calls,
        "failures": record.failures,
        "success": 1 - record.failures / calls if calls else None,
        "mean_seconds": record.seconds / calls if calls else None,
        "last_call": record.last_call or None,
    }


def recent(calls: Sequence[Execution] | None) -> Document | None:
    """What ``calls`` asked of the service: those of the last hour, or the newest of these. None: they cannot be read.

    ``requests``: attempts that were made, hedges included; ``shed``: calls that were not made.
    """
    if calls is None:
        return None
    made = [attempt for execution in calls for attempt in _made(execution)]
    return {
        "calls": len(calls),
        "requests": len(made),
        "hedges": sum(attempt.hedge for attempt in made),
        "shed": sum(execution.outcome is Outcome.SHED for execution in calls),
    }


def call(execution: Execution) -> Document:
    """One call with its attempts and features; ``at`` is its start."""
    made = _made(execution)
    return {
        "id": execution.id,
        "at": execution.started,
        "seconds": execution.seconds,
        "outcome": execution.outcome.name.lower(),
        "error": execution.error or None,
        "version": execution.version,
        "requests": len(made),
        "hedges": sum(attempt.hedge for attempt in made),
        "attempts": [{**attempt._asdict(), "outcome": attempt.outcome.name.lower()} for attempt in execution.attempts],
        "context": dict(execution.context),
    }


def _made(execution: Execution) -> list[Attempt]:
    return [attempt for attempt in execution.attempts if attempt.outcome is not Outcome.SHED]


def status_row(
    record: FunctionRecord,
    standing: Standing,
    history: Sequence[Change],
    lately: Sequence[Execution] | None,
    *,
    short: str,
    learning: str,
    learned: Headline | None,
) -> Document:
    """One function in ``poet status``; ``lately``: the calls for ``recent``; ``learned``: how learning stands."""
    return {
        **identity(record, short),
        "state": state(record, standing, learning),
        **counters(record),
        "recent": recent(lately),
        "version": standing.live.version,
        "declared": dict(record.declared),
        "live": dict(standing.live),
        "pinned": dict(standing.pinned),
        "paused": standing.paused,
        "trying": trying(standing),
        **headline(learned),
        "last_change": history[-1]._asdict() if history else None,
    }


def trying(standing: Standing) -> Document | None:
    """The roll-out or the experiment that calls take part in; None: there is none."""
    for kept in standing.steering:
        said = ""
        if kept.kind == KIND:
            try:
                said = Rollout.of(kept).told
            except ValueError:  # poet doctor says so
                said = "cannot be read"
        return {"kind": kept.kind, "name": kept.name, "said": said}
    return None


def headline(learned: Headline | None) -> Document:
    """How learning stands; None: it does not, or that cannot be read."""
    return {
        "converged": None if learned is None else learned.converged,
        "listening": 0 if learned is None else learned.listening,
    }


def processes(reports: Iterable[ProcessReport], now: float) -> Document:
    """How the processes that used the store fare: those of the last minute, and what went wrong within a day."""
    known = list(reports)
    recent = [report for report in known if now - report.seen <= RECENT]
    at_fault = max((r for r in recent if r.faults), key=lambda r: r.seen, default=None)
    return {
        "alive": sum(now - report.seen <= ALIVE for report in known),
        "seen_today": len(recent),
        "dropped": sum(report.dropped for report in recent),
        "away": min((report.away for report in recent if report.away), default=None),
        "spooled": sum(report.spooled for report in recent),
        "faults": sum(report.faults for report in recent),
        "last_fault": at_fault and {"text": at_fault.last_fault, "seen": at_fault.seen, **process_name(at_fault)},
    }


def process_name(report: ProcessReport) -> Document:
    """Which process it is."""
    return {"host": report.host, "pid": report.pid, "writer": report.writer}


def status(
    rows: Sequence[Document], reports: Iterable[ProcessReport], *, store: str, now: float, away: float | None = None
) -> Document:
    """All functions and processes of a store; ``away``: since when it cannot be reached, as far as this host knows."""
    return document("status", at=now, store=store, away=away, functions=list(rows), processes=processes(reports, now))


def show(
    record: FunctionRecord,
    standing: Standing,
    versions: Sequence[ParameterSet],
    history: Sequence[Change],
    lately: Sequence[Execution] | None,
    newest: Sequence[Execution] | None,
    *,
    short: str,
    learning: str,
    aliases: Mapping[AliasName, Alias],
    learned: Headline | None,
    now: float,
) -> Document:
    """What holds for one function now.

    lately: the calls for ``recent``; newest: those to list, newest last; learned: how learning stands.
    """
    live = standing.live
    names = [*record.declared, *(name for name in live if name not in record.declared)]
    return document(
        "show",
        at=now,
        **identity(record, short),
        state=state(record, standing, learning),
        domain=record.domain,
        trying=trying(standing),
        learner=record.learner or None,
        objective=dict(record.objective),
        **counters(record),
        recent=recent(lately),
        last_calls=None if newest is None else [call(execution) for execution in reversed(newest)],
        parameters={
            name: {
                "declared": record.declared.get(name),
                "live": live.get(name),
                "pinned": standing.pinned.get(name),
                "estimate": estimate(live.estimates.get(name)),
            }
            for name in names
        },
        version=version(live),
        versions=len(versions),
        generation=standing.generation,
        aliases={name: alias._asdict() for name, alias in aliases.items()},
        paused=standing.paused,
        **headline(learned),
        last_change=history[-1]._asdict() if history else None,
    )


def version(parameters: ParameterSet) -> Document:
    """One version, without its values."""
    return {
        "version": parameters.version,
        "parent": parameters.parent,
        "origin": parameters.origin,
        "author": parameters.author,
        "reason": parameters.reason,
        "evidence": parameters.evidence,
        "created": parameters.created or None,
    }


def estimate(e: Estimate | None) -> Document | None:
    """A number with its interval."""
    return None if e is None else dict(e._asdict())


def explain(record: FunctionRecord, standing: Standing, picture: Explanation, *, short: str, now: float) -> Document:
    """Why the live values hold, as the learner's picture has it."""
    return document(
        "explain",
        at=now,
        **identity(record, short),
        learner=record.learner or None,
        **counters(record),
        version=version(standing.live),
        live_values=dict(standing.live),
        pinned=dict(standing.pinned),
        paused=standing.paused,
        executions=picture.executions,
        known=bool(record.learner and picture.live is not None),
        objective=goal(picture.objective),
        latency=[{"share": part, "seconds": limit} for part, limit in sorted(picture.latency.items())],
        unanswered=picture.unanswered,
        longest=picture.longest,
        failure_shares=dict(picture.failures),
        live=None if picture.live is None else forecast(picture.live, picture.live),
        neighbours=[forecast(neighbour, picture.live) for neighbour in picture.neighbours],
        sentences=list(picture.sentences),
        spread=[part._asdict() for part in picture.spread],
        timeouts=[forecast(each, picture.live) for each in picture.timeouts],
        converged=picture.converged,
        listening=picture.listening,
    )


def replay(
    record: FunctionRecord, standing: Standing, told: Replay, *, short: str, since: float | None, now: float
) -> Document:
    """What other parameters would have made of the recorded calls; ``since``: from when on they were asked for."""
    return document(
        "replay",
        at=now,
        **identity(record, short),
        version=standing.live.version,
        live_values=dict(standing.live),
        values=dict(told.values),
        since=since,
        first=told.first or None,
        last=told.last or None,
        calls=told.calls,
        older=told.older,
        left_out=dict(told.left_out),
        held=told.held,
        late=told.late,
        objective=goal(told.objective),
        figures={
            name: {
                "recorded": told.recorded[name],
                "replayed": estimate(told.replayed[name]),
                "lowest": told.bounds[name][0],
                "highest": told.bounds[name][1],
            }
            for name in told.replayed
        },
        gain=estimate(told.gain),
        decided=told.decided,
        untold=told.untold,
        longest=told.longest,
        sentences=list(told.sentences),
    )


def goal(objective: Objective | None) -> Document | None:
    """What a call is worth, with its scales."""
    if objective is None:
        return None
    return {
        "value": objective.value,
        "latency_cost": objective.latency_cost,
        "attempt_cost": objective.attempt_cost,
        "success_target": objective.success_target,
        "latency_target": objective.latency_target,
    }


def forecast(candidate: Forecast, live: Forecast | None) -> Document:
    """What a candidate would give, and how much more than ``live``."""
    return {
        "values": dict(candidate.values),
        "utility": estimate(candidate.utility),
        "success": candidate.success,
        "seconds": candidate.seconds,
        "requests": candidate.requests,
        "difference": None if live is None else candidate.utility.value - live.utility.value,
    }


def history(
    record: FunctionRecord,
    standing: Standing,
    versions: Sequence[ParameterSet],
    changes: Sequence[Change],
    *,
    short: str,
    now: float,
) -> Document:
    """All that was done to a function, oldest first; a version stands at the change that made it."""
    by_number = {v.version: v for v in versions}
    unborn = dict(by_number)
    entries: list[Document] = []
    for change in changes:
        # A store may keep no change for the declared version, and a clock may be set back: numbers decide, not times.
        entries += [_birth(unborn.pop(number), by_number, None) for number in [*unborn] if number < change.version]
        born = unborn.pop(change.version, None)
        if born is not None and change.action in ("publish", "pin", "propose", "import", "arm"):
            entries.append(_birth(born, by_number, change))
            continue
        if born is not None:
            entries.append(_birth(born, by_number, None))
        entries.append({**change._asdict(), **NO_VERSION})
    entries += [_birth(v, by_number, None) for v in unborn.values()]
    return document(
        "history", at=now, **identity(record, short), live=standing.live.version, left_out=0, entries=entries
    )


def newest(doc: Document, last: int | None) -> Document:
    """A history with its ``last`` entries only, >= 1; None: as it is."""
    entries = doc["entries"]
    if last is None or len(entries) <= last:
        return doc
    return {**doc, "left_out": len(entries) - last, "entries": entries[-last:]}


def _birth(born: ParameterSet, known: Mapping[int, ParameterSet], change: Change | None) -> Document:
    parent = known.get(born.parent) if born.parent is not None else None
    return {
        "at": change.at if change else born.created,
        "action": change.action if change else "declare" if born.origin == "declared" else "publish",
        "version": born.version,
        "author": change.author if change else born.author,
        "reason": born.reason or (change.reason if change else ""),
        "origin": born.origin,
        "evidence": born.evidence,
        "parent": born.parent,
        "diff": diff(parent, born) if parent is not None else {},
        "values": dict(born),
    }


def steered(
    command: str,
    record: FunctionRecord,
    before: Standing,
    after: Standing,
    *,
    short: str,
    done: bool = True,
) -> Document:
    """What a command changed; ``done`` is false where it found nothing to do."""
    return document(
        command,
        **identity(record, short),
        done=done,
        before={"version": before.live.version, "values": dict(before.live)},
        after={"version": after.live.version, "values": dict(after.live)},
        diff=diff(before.live, after.live),
        paused=after.paused,
        pinned=dict(after.pinned),
        pinned_before=dict(before.pinned),
    )


def maintained(upkeep: Upkeep, *, store: str, keep_executions: float, keep_hours: float) -> Document:
    """What was done to keep a store in order; what is kept, in days."""
    return document("maintain", store=store, **upkeep._asdict(), keep_executions=keep_executions, keep_hours=keep_hours)


def steered_all(command: str, parts: Sequence[Document], *, store: str) -> Document:
    """What a command changed in all functions of a store."""
    return document(command, store=store, functions=[dict(part) for part in parts])


LEGACY_KINDS = ("parameters", "executions", "sums")


def exported_parameters(
    named: Sequence[Document],
    live: Sequence[tuple[ParameterSet, bool]],
    *,
    output: str | None,
    package: Document | None,
) -> Document:
    """What went into a package, and whether with what the learner knows.

    package: the package itself, where it goes into no file.
    """
    functions = [
        {**who, "version": version(parameters), "knowledge": known}
        for who, (parameters, known) in zip(named, live, strict=True)
    ]
    return document("export", kind="parameters", output=output, functions=functions, package=package)


def exported_executions(named: Sequence[Document], *, output: str, form: str, rows: int) -> Document:
    """What went into a table."""
    return document("export", kind="executions", output=output, file_format=form, rows=rows, functions=list(named))


def imported(
    now: float,
    store: str,
    functions: Sequence[Document],
    *,
    sources: Sequence[Document],
    executions: Sequence[Document],
    paths: Sequence[str],
    dry: bool,
) -> Document:
    """What was found, what was taken of it, and what was left and why."""
    return document(
        "import",
        at=now,
        store=store,
        dry_run=dry,
        paths=list(paths),
        sources=list(sources),
        functions=list(functions),
        executions=list(executions),
    )


def source(file: Path, kind: str) -> Document:
    """A file that was looked at."""
    return {"file": str(file), "kind": kind}


def judged(
    file: Path,
    key: FunctionKey,
    *,
    taken: bool,
    why: str,
    notes: Sequence[str],
    before: Mapping[str, Value] | None,
    after: Mapping[str, Value] | None,
    knowledge: bool,
) -> Document:
    """What became of one function's parameters; ``before`` is None for a function that is new."""
    return {
        "file": str(file),
        "name": key.name,
        "id": str(key),
        "taken": taken,
        "why": why,
        "notes": list(notes),
        "before": None if before is None else dict(before),
        "after": None if after is None else dict(after),
        "diff": {} if after is None else diff(before or {}, after),
        "knowledge": knowledge,
    }


def left(file: Path, why: str) -> Document:
    """A file of parameters that are no function's."""
    nobody: Document = {"name": None, "id": None, "before": None, "after": None, "diff": {}, "knowledge": False}
    return {"file": str(file), **nobody, "taken": False, "why": why, "notes": []}


def told(
    file: Path, taken: Sequence[Document], left: Sequence[Document], lines: Sequence[Document], *, bad: int
) -> Document:
    """What became of the executions in a file; ``lines``: the first of the ``bad`` ones, with the reason."""
    return {"file": str(file), "taken": list(taken), "left": list(left), "bad": bad, "bad_lines": list(lines)}


def process_findings(reports: Iterable[ProcessReport], now: float) -> list[Finding]:
    """Faults and losses that processes reported within a day; what is older is no news."""
    known = list(reports)
    recent = [report for report in known if now - report.seen <= RECENT]
    findings: list[Finding] = []
    for report in recent:
        who = f"process {report.pid} on {report.host}"
        if report.faults:
            said = f", the last: {report.last_fault}" if report.last_fault else ""
            findings.append(Finding(False, "faults", f"{who}: {report.faults} while learning or storing{said}"))
        if report.dropped:
            advice = "raise the setting buffer or cpu_share"
            findings.append(Finding(False, "losses", f"{who}: {report.dropped} executions were not recorded; {advice}"))
    if not findings:
        alive = sum(now - report.seen <= ALIVE for report in known)
        detail = f"{alive} in the last minute, {len(recent)} within a day, none with a fault or a loss"
        findings.append(Finding(True, "processes", detail))
    return findings


def doctor(
    findings: Sequence[Finding],
    settings: Mapping[str, tuple[Any, str]],
    software: Mapping[str, str],
    *,
    store: str | None,
    now: float,
) -> Document:
    """The state of health; ``settings`` holds each value with its source."""
    return document(
        "doctor",
        at=now,
        store=store,
        ok=all(finding.ok for finding in findings),
        findings=[finding._asdict() for finding in findings],
        settings={name: {"value": value, "source": source} for name, (value, source) in settings.items()},
        software=dict(software),
    )
