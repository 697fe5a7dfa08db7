"""What every store does alike, wherever it keeps things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from poet.model.execution import Execution
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value
from poet.seams import FunctionRecord

LIVE = "live"  # the alias that calls follow
REPORTS = 1000  # processes whose last report is kept; a script that runs every minute must not fill the store


def declared_version(record: FunctionRecord, at: float) -> ParameterSet:
    """Version 1 of a function: the values of its declaration. ``at``: Unix time [s]."""
    return ParameterSet(values_=record.declared, version=1, reason="declared in the code", created=at)


def next_version(draft: ParameterSet, live: ParameterSet, newest: int, at: float) -> ParameterSet:
    """``draft`` as the version after ``newest``, a child of ``live``; made at ``at`` [Unix s] where it does not say."""
    return replace(draft, version=newest + 1, parent=live.version, created=draft.created or at)


def pinned_draft(live: ParameterSet, pinned: Mapping[str, Value], author: str, reason: str) -> ParameterSet:
    """The live values with those that a person pinned."""
    return ParameterSet(
        values_={**live, **pinned}, origin="manual", author=author, reason=reason, evidence=live.evidence
    )


def lasting_pins(pinned: Mapping[str, Value], restored: ParameterSet) -> dict[str, Value]:
    """The pins that a restored version keeps to; to go back behind a pin is to lift it."""
    return {name: value for name, value in pinned.items() if name in restored and restored[name] == value}


def pause_text(reason: str, author: str, action: str) -> str:
    """Why learning is paused; never empty, as empty says that it is not."""
    return reason or f"{action} by {author or 'an unnamed author'}"


def age(execution: Execution) -> tuple[float, str, int]:
    """The order in which executions come back: oldest start first, and always the same among equals."""
    return execution.started, execution.writer, execution.sequence


def by_writer(executions: Iterable[Execution]) -> dict[str, list[Execution]]:
    """Executions of each writer by ascending sequence; of several with one sequence the first."""
    writers: dict[str, dict[int, Execution]] = {}
    for execution in executions:
        writers.setdefault(execution.writer, {}).setdefault(execution.sequence, execution)
    return {writer: [rows[sequence] for sequence in sorted(rows)] for writer, rows in writers.items()}
