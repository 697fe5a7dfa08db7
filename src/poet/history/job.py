"""An analysis of a whole history: its parts, an engine, and the findings of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from poet.history.sources import Part, StorePart, TablePart, of_store
from poet.learning.batch.analysis import Found, analyse, together
from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import Read
from poet.learning.batch.threads import single
from poet.model.insight import OptimizationInsights
from poet.model.objective import Objective
from poet.seams import Engine, FunctionRecord, Store
from poet.settings import Settings

SMALL = 200_000  # calls, below which one process is quicker than several
PARTS_EACH = 4  # parts per worker, so that none has to wait long for the last one


@dataclass(frozen=True, slots=True)
class Task:
    """A part, and what to look for in it."""

    part: Part
    asked: Asked


def do(task: Task) -> list[Found]:
    """Analyse all functions of a part. Knows no engine."""
    with single():
        return [_one(task.asked, *each) for each in task.part.functions()]


def _one(asked: Asked, function: str, read: Read, record: FunctionRecord | None) -> Found:
    if record is not None:
        declared = {name: value for name, value in record.objective.items() if value is not None}
        asked = replace(asked, objective=Objective(**declared), live=record.declared, space=record.space)
    return analyse(function, read, asked)


def parts_of_tables(
    paths: Sequence[str], workers: int, only: Sequence[str] = (), since: float = 0.0
) -> list[TablePart]:
    """Tables cut into parts for so many workers."""
    n = 1 if workers == 1 else PARTS_EACH * workers
    return [TablePart(tuple(paths), i, n, tuple(only), since) for i in range(n)]


def parts_of_store(settings: Settings, workers: int, only: Sequence[str] = (), since: float = 0.0) -> list[StorePart]:
    """A store, which each worker opens, cut into parts for so many workers. only: full names with fingerprints."""
    n = 1 if workers == 1 else PARTS_EACH * workers
    return [StorePart(settings, i, n, tuple(only), since) for i in range(n)]


def run(
    parts: Sequence[Part],
    engine: Engine,
    asked: Asked | None = None,
    dependencies: Mapping[str, str] = MappingProxyType({}),
) -> OptimizationInsights:
    """All findings of all parts: the same whatever the engine and the number of parts.

    dependencies: see ``together``.
    """
    tasks = [Task(part, asked or Asked()) for part in parts]
    return together((found for part in engine.map(do, tasks) for found in part), dependencies=dependencies)


def of_open_store(
    store: Store,
    only: Sequence[str] = (),
    since: float = 0.0,
    asked: Asked | None = None,
    dependencies: Mapping[str, str] = MappingProxyType({}),
) -> OptimizationInsights:
    """All findings of a store that is open, in this process. dependencies: see ``together``."""
    with single():
        found = (_one(asked or Asked(), *each) for each in of_store(store, tuple(only), since))
        return together(found, dependencies=dependencies)
