"""``poet analyze``: what the recorded calls of functions show, and the values that they prove to be better."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from poet.cli import views
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.errors import ConfigurationError, StaleParameters
from poet.model.bounds import check_bounds
from poet.model.insight import Analysed, Insight, OptimizationInsights
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord, Store
from poet.settings import Settings, person

if TYPE_CHECKING:
    from poet.learning.batch.asked import Asked

NEEDED = ("scipy", "statsmodels")
FOR_TABLES = ("duckdb", "pyarrow")
INSTALL = "pip install 'poet-runtime[batch]'"


@dataclass(frozen=True, slots=True)
class Analyze:
    """What was asked for. since: how far back calls are looked at [s]; None: all that are kept."""

    now: float  # Unix time [s]
    function: str | None = None
    since: float | None = None
    tables: tuple[str, ...] = ()
    engine: str = "local"
    workers: int | None = None
    address: str | None = None
    alarms: float = 0.01  # false ones per day and series
    costs: tuple[float, float, float] | None = None  # in their place, see ``learning.batch.asked``
    top: int = 20
    apply: bool = False
    reason: str = ""

    @property
    def start(self) -> float:
        """Of the calls that are looked at, Unix time [s]."""
        return 0.0 if self.since is None else max(self.now - self.since, 0.0)


def check(asked: Analyze) -> None:
    """Raises ConfigurationError, with what to do, where the analysis could not run."""
    missing = [name for name in (*NEEDED, *(FOR_TABLES if asked.tables else ())) if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"analyze needs {', '.join(missing)}: {INSTALL}")
    if asked.engine == "ray" and find_spec("ray") is None:
        raise ConfigurationError("the engine ray needs Ray: pip install 'poet-runtime[batch,ray]'")
    if asked.engine == "local" and asked.address is not None:
        raise ConfigurationError(f"--address {asked.address} is of a Ray cluster: add --engine ray")
    if asked.apply and asked.tables:
        raise ConfigurationError(
            "--apply changes the functions of a store, and --from reads tables: leave one of them out"
        )


def of_tables(asked: Analyze) -> Document:
    """Of exported tables. Raises Unreadable."""
    from poet.history import job

    with _engine(asked) as (engine, workers):
        parts = job.parts_of_tables(asked.tables, workers, (asked.function,) if asked.function else (), asked.start)
        told = job.run(parts, engine, _wanted(asked))
    return document(told, asked, shown=", ".join(asked.tables))


def _wanted(asked: Analyze) -> Asked:
    from poet.learning.batch.asked import Asked

    return Asked(alarms=asked.alarms, costs=asked.costs)


def of_store(store: Store, settings: Settings, asked: Analyze) -> Document:
    """Of a store. Raises UnknownFunction, AmbiguousFunction."""
    from poet.history import job

    records = store.functions()
    wanted = [find(asked.function, records)] if asked.function is not None else records
    only = tuple(str(record.key) for record in wanted)
    calls = sum(record.calls for record in wanted)
    if asked.engine == "local" and (asked.workers == 1 or len(only) == 1 or calls < job.SMALL):
        told = job.of_open_store(store, only, asked.start, _wanted(asked))
    else:
        with _engine(asked) as (engine, workers):
            told = job.run(job.parts_of_store(settings, workers, only, asked.start), engine, _wanted(asked))
    applied = _applied(store, wanted, told, asked) if asked.apply else []
    names = {str(record.key): short_name(record, records) for record in records}
    return document(told, asked, shown=store.url, names=names, applied=applied)


@contextmanager
def _engine(asked: Analyze) -> Iterator[tuple[Any, int]]:
    import os

    from poet.history import engines

    engine = engines.engine(asked.engine, asked.workers, asked.address)
    try:
        yield engine, asked.workers or os.cpu_count() or 1
    finally:
        engine.close()


# --- the hand-over ---------------------------------------------------------------------------------------------------


def _applied(
    store: Store, wanted: Sequence[FunctionRecord], told: OptimizationInsights, asked: Analyze
) -> list[Document]:
    """Publish what is proposed for all calls and proved to be better; one version for each function.

    The same way as everything that is learned: within bounds, past pins and pauses, as a version with its evidence.
    """
    done: list[Document] = []
    for record in wanted:
        named = str(record.key)
        best = [each for each in told.of(named) if _proved(each)]
        if not best:
            continue
        insight = best[0]  # most at stake
        assert insight.proposal is not None
        standing = store.standing(record.key)
        why = _held(record, bool(standing.paused), insight, dict(standing.pinned))
        values = {**standing.live, **insight.proposal.values}
        if why is None and values == dict(standing.live):
            why = "it holds already"
        if why is None:
            said = f"history: {insight.sentence}"
            draft = ParameterSet(
                values_=values,
                parent=standing.live.version,
                origin="learned",
                reason=f"{asked.reason}: {said}" if asked.reason else said,
                author=f"{person()}, poet analyze",
                evidence=insight.calls,
                span=(insight.since, insight.until),
                created=asked.now,
            )
            try:
                after = store.publish(record.key, draft, expected=standing.generation)
            except StaleParameters:
                why = "something else changed it meanwhile: analyze again"
            else:
                done.append({"function": named, "version": after.live.version, "values": dict(insight.proposal.values)})
                continue
        done.append({"function": named, "version": None, "values": dict(insight.proposal.values), "left": why})
    return done


def _proved(insight: Insight) -> bool:
    told = insight.proposal
    return told is not None and not told.context and told.gain is not None and told.gain.low > 0


def _held(record: FunctionRecord, paused: bool, insight: Insight, pinned: dict[str, Any]) -> str | None:
    """Why a proposal may not be taken; None: it may."""
    assert insight.proposal is not None
    if paused:
        return "its learning is paused"
    held = sorted(pinned.keys() & insight.proposal.values.keys())
    if held:
        return f"pinned: {', '.join(held)}"
    try:
        check_bounds(insight.proposal.values, record.space, record.choices)
    except ConfigurationError as error:
        return str(error)
    return None


# --- the document ----------------------------------------------------------------------------------------------------


def document(
    told: OptimizationInsights,
    asked: Analyze,
    *,
    shown: str,
    names: dict[str, str] | None = None,
    applied: Sequence[Document] = (),
) -> Document:
    """All findings, the first ``top`` of which a page shows."""
    short = _names(told) if names is None else names
    return views.document(
        "analyze",
        at=asked.now,
        source=shown,
        since=asked.start or None,
        engine=asked.engine,
        top=asked.top,
        functions=[_looked_at(each, short) for each in told.functions],
        insights=[_insight(each, short) for each in told.insights],
        applied=list(applied),
        applying=asked.apply,
    )


def _names(told: OptimizationInsights) -> dict[str, str]:
    """Names without fingerprints, where there is one function of the name."""
    plain = [each.function.rpartition("#")[0] or each.function for each in told.functions]
    return {
        each.function: name if plain.count(name) == 1 else each.function
        for each, name in zip(told.functions, plain, strict=True)
    }


def _looked_at(each: Analysed, short: dict[str, str]) -> Document:
    return {
        "id": each.function,
        "name": short.get(each.function, each.function),
        "calls": each.calls,
        "first": each.first or None,
        "last": each.last or None,
        "step": each.step or None,
        "left_out": dict(each.left_out),
        "untold": list(each.untold),
    }


def _insight(each: Insight, short: dict[str, str]) -> Document:
    proposal = each.proposal
    return {
        "id": each.function,
        "name": short.get(each.function, each.function),
        "kind": each.kind,
        "subject": each.subject,
        "sentence": each.sentence,
        "action": each.action,
        "effect": views.estimate(each.effect),
        "unit": each.unit,
        "calls": each.calls,
        "since": each.since,
        "until": each.until,
        "worth": each.worth,
        "picture": list(each.picture),
        "facts": dict(each.facts),
        "proposal": None
        if proposal is None
        else {
            "values": dict(proposal.values),
            "context": dict(proposal.context),
            "gain": views.estimate(proposal.gain),
        },
    }
