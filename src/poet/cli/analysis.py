"""``poet analyze``: what the recorded calls of functions show, and the values that they prove to be better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from poet.cli import views
from poet.cli.find import find, short_name
from poet.cli.flags import seen
from poet.cli.views import Document
from poet.cli.words import moment
from poet.errors import ConfigurationError, StaleParameters
from poet.model.bounds import check_bounds
from poet.model.flag import OFF, ON
from poet.model.insight import Analysed, Insight, OptimizationInsights
from poet.model.parameters import ParameterSet, Standing
from poet.model.phases import replaced, zone_of
from poet.seams import Clock, FunctionRecord, Store
from poet.settings import Settings, person
from poet.training import by_hand

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
    zone: str = ""  # that hours of the day are told in; empty: UTC
    top: int = 20
    apply: bool = False
    reason: str = ""
    dependencies: tuple[tuple[str, str], ...] = ()  # functions, by any name of theirs, and what they call
    every: float | None = None  # from one time to the next [s]; None: once, now

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
    if zone_of(asked.zone) is None:
        raise ConfigurationError(f"no time zone {asked.zone!r}; say it as 'Europe/Berlin', or 'UTC'")
    if asked.every is not None and asked.tables:
        raise ConfigurationError("--every is for a store, and --from reads tables: leave one of them out")
    if asked.apply and asked.tables:
        raise ConfigurationError(
            "--apply changes the functions of a store, and --from reads tables: leave one of them out"
        )


def of_tables(asked: Analyze) -> Document:
    """Of exported tables. Raises Unreadable."""
    from poet.history import job

    with _engine(asked) as (engine, workers):
        parts = job.parts_of_tables(asked.tables, workers, (asked.function,) if asked.function else (), asked.start)
        told = job.run(parts, engine, _wanted(asked), dict(asked.dependencies))
    return document(told, asked, shown=", ".join(asked.tables))


def _wanted(asked: Analyze) -> Asked:
    from poet.learning.batch.asked import Asked

    return Asked(alarms=asked.alarms, costs=asked.costs, zone="" if asked.zone == "UTC" else asked.zone)


def of_store(store: Store, settings: Settings, asked: Analyze) -> Document:
    """Of a store. Raises UnknownFunction, AmbiguousFunction."""
    from poet.history import job

    records = store.functions()
    wanted = [find(asked.function, records)] if asked.function is not None else records
    if asked.apply:
        _refuse_where_off(store, settings, wanted)
    only = tuple(str(record.key) for record in wanted)
    calls = sum(record.calls for record in wanted)
    called = {str(find(name, records).key): dependency for name, dependency in asked.dependencies}
    if asked.engine == "local" and (asked.workers == 1 or len(only) == 1 or calls < job.SMALL):
        told = job.of_open_store(store, only, asked.start, _wanted(asked), called)
    else:
        with _engine(asked) as (engine, workers):
            parts = job.parts_of_store(settings, workers, only, asked.start)
            told = job.run(parts, engine, _wanted(asked), called)
    applied = _applied(store, settings, wanted, told, asked) if asked.apply else []
    names = {str(record.key): short_name(record, records) for record in records}
    return document(told, asked, shown=store.url, names=names, applied=applied)


def again_and_again(
    settings: Settings,
    asked: Analyze,
    ask: Callable[[Analyze], Document],
    show: Callable[[Document], None],
    say: Callable[[str], None],
    clock: Clock,
    wait: Callable[[float], bool],
) -> None:
    """Analyse a store every so often, one process at a time, until ``wait`` says that it is to end.

    ask: makes one document. show: gets each. say: hears of what went wrong. Raises ConfigurationError.
    """
    from poet.history.schedule import Job, Turn, keep_on, ledger_of

    assert asked.every is not None
    name = "analyze" if asked.function is None else f"analyze {asked.function}"

    def told(turn: Turn) -> None:
        if turn.state == "failed":
            say(f"{turn.job}: {turn.fault} (it goes on; next {moment(turn.due)})")

    def task() -> None:
        show(ask(replace(asked, now=clock.wall())))

    keep_on([Job(name, ledger_of(settings, name), asked.every, task)], clock, wait, told)


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


def _refuse_where_off(store: Store, settings: Settings, wanted: Sequence[FunctionRecord]) -> None:
    """Raises ConfigurationError where the flag is off for all of them: nothing could be applied."""
    phase = seen(store, settings, "learn.batch")
    if wanted and all(phase(record.key.name) == OFF for record in wanted):
        raise ConfigurationError("the flag learn.batch is off: analyze without --apply, or see poet flags")


def _applied(
    store: Store, settings: Settings, wanted: Sequence[FunctionRecord], told: OptimizationInsights, asked: Analyze
) -> list[Document]:
    """Roll out what is proposed for all calls and proved to be better; one version for each function.

    The same way as everything that is learned: within bounds, past pins and pauses, as a version with its evidence.
    """
    done: list[Document] = []
    phase = seen(store, settings, "learn.batch")
    for record in wanted:
        named = str(record.key)
        best = [each for each in told.of(named) if _proved(each)]
        if not best:
            continue
        insight = best[0]  # most at stake
        assert insight.proposal is not None
        standing = store.standing(record.key)
        why = _held(record, bool(standing.paused), insight, dict(standing.pinned))
        values = replaced(standing.live, insight.proposal.values)
        if why is None and values == dict(standing.live):
            why = "it holds already"
        if why is None and phase(record.key.name) != ON:
            why = f"the flag learn.batch says {phase(record.key.name)}"
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
                version = _handed_over(store, settings, record, standing, draft)
            except StaleParameters:
                why = "something else changed it meanwhile: analyze again"
            except ConfigurationError as error:  # another roll-out, or an experiment, is open
                why = str(error)
            else:
                rolls = settings.rollout == "canary"
                told_of = {"version": version, "rollout": rolls, "values": dict(insight.proposal.values)}
                done.append({"function": named, **told_of})
                continue
        done.append({"function": named, "version": None, "values": dict(insight.proposal.values), "left": why})
    return done


def _handed_over(
    store: Store, settings: Settings, record: FunctionRecord, standing: Standing, draft: ParameterSet
) -> int:
    """Roll it out, or make it live where the settings say so; gives its version. Raises StoreError and others."""
    if settings.rollout == "direct":
        return store.publish(record.key, draft, expected=standing.generation).live.version
    after = by_hand.roll_out(store, record.key, standing, draft, now=draft.created)
    assert after.canary is not None
    return after.canary.version


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
        "also": [short.get(name, name) for name in each.also],
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
