"""What people do with experiments: start, change, stop and promote; and what they read of them. On any store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import median, stdev
from typing import NamedTuple, TypeVar

from poet.errors import ConfigurationError, StaleParameters, nearest
from poet.kernels.online.confidence import planned_calls
from poet.model.bounds import check_bounds
from poet.model.document import Document
from poet.model.execution import Execution
from poet.model.experiment import KIND, Experiment, Rules, Strategy, with_control
from poet.model.fixed import base_of, held, spelt, spread
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Store
from poet.training import arms as arms_learning
from poet.training import evidence as keeping
from poet.training.comparing import facts, read, sentence
from poet.training.deciding import ended, resumed
from poet.training.evidence import Evidence, pooled
from poet.training.experiment import not_now

T = TypeVar("T")

RECENT = 1000  # calls by which outcomes are scaled
FEWEST = 20  # of them
FEWEST_FOR_PLAN = 50
LEAST_PLANNED, MOST_PLANNED = 200.0, 200_000.0  # [calls]
ATTEMPTS = 5  # to change a function that others change meanwhile


def start(
    store: Store,
    record: FunctionRecord,
    arms: Sequence[Strategy],
    rules: Rules,
    *,
    author: str,
    reason: str,
    now: float,
    replacing: Found | None = None,
) -> Experiment:
    """Begin one. replacing: ends in the same step. now: Unix time [s].

    Raises ConfigurationError where it cannot be: arms off the bounds, another trial of the function under way, too few
    calls to scale by, learning paused.
    """
    arms = tuple(_checked(arm, record) for arm in with_control(arms))
    recent = list(store.executions(record.key, limit=RECENT))
    scale = _scale(record, recent) if rules.metric == "utility" else {}
    draft = Experiment(
        name=_name(store, record.key),
        arms=arms,
        rules=rules,
        scale=scale,
        author=author,
        reason=reason,
        begun=now,
        replaces="" if replacing is None else replacing.experiment.name,
    )
    draft = replace(draft, planned=_planned(draft, recent)).noted(now, "begun", reason)
    if replacing is not None:
        old = replacing.experiment
        why = f"in place of {old.name}, as what was seen by its rules is not right by these: {_difference(old, draft)}"
        draft = replace(draft, log=(draft.log[0]._replace(why=why),))
    _clear(store, record.key)

    def begin() -> Experiment:
        old = None if replacing is None else find(store, replacing.experiment.name)
        return _begin(store, record, draft, old)

    return _insisted(record.key.name, begin)


def _insisted(name: str, step: Callable[[], T]) -> T:
    """What ``step`` gives, which reads and changes; again where others changed the same meanwhile."""
    for _ in range(ATTEMPTS):
        try:
            return step()
        except StaleParameters:
            continue
    raise ConfigurationError(f"{name} is changed by others all the time: try again")


def _begin(store: Store, record: FunctionRecord, draft: Experiment, replacing: Found | None) -> Experiment:
    standing = store.standing(record.key)
    _check_free(record, standing, draft, None if replacing is None else replacing.experiment.name)
    live = standing.live
    own = [place for place, arm in enumerate(draft.arms) if arm.kind != "live"]
    for place in own:
        arm = draft.arms[place]
        fixed = spread({spelt(name): value for name, value in arm.values.items()}, live)
        made = ParameterSet(
            values_=held(live, fixed),
            parent=live.version,
            origin="manual",
            author=draft.author,
            reason=f"{arm.name} of {draft.name}",
            created=draft.begun,
        )
        beside: list[Document] = []
        draft = draft.with_arm(place, versions=(0,))
        if place == own[-1]:
            beside = [draft.document(record.key)]
            if replacing is not None:
                beside.append(_stopped(store, replacing, draft))
        standing = store.publish(record.key, made, expected=standing.generation, alias=None, beside=beside)
        if place != own[-1]:
            newest = max(version.version for version in store.versions(record.key))
            draft = draft.with_arm(place, versions=(newest,))
    return next(Experiment.of(each) for each in standing.steering if each.kind == KIND)


def change(
    store: Store,
    name: str,
    *,
    arms: Sequence[Strategy] | None = None,
    rules: Mapping[str, object],
    author: str,
    reason: str,
    now: float,
) -> Experiment:
    """End one and start another that differs: what was seen by other rules cannot be carried over.

    arms: None: the same. rules: those that change, by name. Raises ConfigurationError.
    """
    found = find(store, name)
    record, old = found.record, found.experiment
    if old.over:
        raise ConfigurationError(f"{name} has ended: start another one")
    unknown = next((each for each in rules if each not in Rules.__dataclass_fields__), None)
    if unknown is not None:
        raise ConfigurationError(
            f"an experiment has no rule {unknown!r}: {nearest(unknown, Rules.__dataclass_fields__)}"
        )
    chosen = [replace(arm, versions=(), ended="") for arm in old.arms] if arms is None else arms
    new = replace(old.rules, **rules)  # type: ignore[arg-type]  # checked there
    return start(store, record, chosen, new, author=author, reason=reason, now=now, replacing=found)


def stop(store: Store, name: str, *, author: str, reason: str, now: float) -> Experiment:
    """End one: all calls get what is live. Raises ConfigurationError where it has ended."""

    def once() -> Experiment:
        record, experiment, revision = find(store, name)
        if experiment.over:
            raise ConfigurationError(f"{name} has ended already: {experiment.why}")
        after = _by_hand(store, record.key, experiment, now, f"stopped by {author}" + (f": {reason}" if reason else ""))
        store.keep(after.document(record.key, revision))
        return after

    return _insisted(name, once)


def resume(store: Store, name: str, *, author: str, reason: str, now: float) -> Experiment:
    """Let one go on that is held. Raises ConfigurationError where it is not."""

    def once() -> Experiment:
        record, experiment, revision = find(store, name)
        if experiment.phase != "held":
            raise ConfigurationError(f"{name} is not held: it {'has ended' if experiment.over else 'runs'}")
        after = resumed(experiment, now, reason or f"by {author}")
        store.keep(after.document(record.key, revision))
        return after

    return _insisted(name, once)


def promote(store: Store, name: str, arm: str, *, author: str, reason: str, now: float) -> Experiment:
    """Make an arm live, and end the experiment where it runs. Raises ConfigurationError."""

    def once() -> Experiment:
        record, experiment, revision = find(store, name)
        chosen = experiment.arms[experiment.place(arm)]
        if not chosen.version:
            raise ConfigurationError(f"{arm} is what is live already: to go on with it, poet experiment stop {name}")
        standing = store.standing(record.key)
        if not experiment.over:
            experiment = _by_hand(store, record.key, experiment, now, f"{arm} was made live by {author}")
        after = replace(experiment.noted(now, "promoted", reason or f"by {author}"), promoted=arm)
        store.point(
            record.key,
            "live",
            chosen.version,
            expected=standing.generation,
            author=author,
            reason=f"{arm} of {name}: {reason or experiment.sentence}",
            beside=[after.document(record.key, revision)],
        )
        return after

    return _insisted(name, once)


def _by_hand(store: Store, function: FunctionKey, experiment: Experiment, now: float, why: str) -> Experiment:
    """Ended by a person: the sentence still says what was found."""
    evidence = evidence_of(store, function, experiment)
    after = ended(experiment, evidence, now, why, verdict="stopped")
    return replace(after, sentence=sentence(experiment, read(experiment, evidence)))


# --- reading ----------------------------------------------------------------------------------------------------------


def everything(store: Store, function: FunctionKey | None = None) -> list[tuple[FunctionKey, Experiment]]:
    """All experiments, or those of one function, oldest first."""
    found = []
    for document in store.documents(KIND, function):
        try:
            experiment = Experiment.of(document)
        except ValueError:  # of a later release, say
            continue
        if document.function is not None:
            found.append((document.function, experiment))
    return sorted(found, key=lambda each: (each[1].begun, each[1].name))


class Found(NamedTuple):
    """An experiment, as it was read."""

    record: FunctionRecord
    experiment: Experiment
    revision: int


def find(store: Store, name: str) -> Found:
    """The one of that id, with its function. Raises ConfigurationError."""
    documents = store.documents(KIND)
    there = [document for document in documents if document.name == name and document.function is not None]
    if len(there) != 1:
        known = sorted({document.name for document in documents})
        hint = nearest(name, known) if known else "there has been none yet"
        raise ConfigurationError(f"no experiment {name!r}: {hint}")
    record = next(each for each in store.functions() if each.key == there[0].function)
    return Found(record, Experiment.of(there[0]), there[0].revision)


def evidence_of(store: Store, function: FunctionKey, experiment: Experiment) -> Evidence:
    """What all processes told so far. Parts that cannot be read are passed over."""
    parts = []
    documents = [
        document
        for document in store.documents(keeping.KIND, function)
        if document.name.startswith(f"{experiment.name} ")
    ]
    for document in documents:
        try:
            parts.append(Evidence.read(document.body, experiment))
        except ValueError:
            continue
    folded = [part for part in parts if part.folded]
    for part in parts:
        if experiment.rules.assignment == "block":
            part.units = {
                at: unit for at, unit in part.units.items() if not any(each.is_folded(int(at)) for each in folded)
            }
    return pooled(experiment, parts)


def waiting(store: Store, function: FunctionKey, experiment: Experiment) -> str:
    """Why no lots are drawn for now though it runs; empty: they are, or it does not."""
    if experiment.phase != "running":
        return ""
    known = {version.version: version for version in store.versions(function)}
    standing = store.standing(function)
    arms = {arm.name: known[arm.version] for arm in experiment.arms if arm.version in known and not arm.ended}
    return not_now(standing, arms)


def told(store: Store, function: FunctionKey, experiment: Experiment) -> Experiment:
    """The same with what is known now, in words and figures; as it was found, where it has ended."""
    if experiment.over and experiment.figures:
        return experiment
    evidence = evidence_of(store, function, experiment)
    reading = read(experiment, evidence)
    said = experiment.sentence if experiment.phase == "held" else sentence(experiment, reading)
    return replace(experiment, sentence=said, figures=facts(experiment, evidence, reading))


# --- at the door ------------------------------------------------------------------------------------------------------


def _checked(arm: Strategy, record: FunctionRecord) -> Strategy:
    for name in arm.values:
        if base_of(name) not in record.declared:
            raise ConfigurationError(
                f"{arm.name}: {record.key.name} has no parameter {base_of(name)!r}: "
                f"{nearest(base_of(name), record.declared)}"
            )
    check_bounds(arm.values, record.space, record.choices)
    for name, value in arm.values.items():
        like: Value = record.declared[base_of(name)]
        number = isinstance(like, int | float) and not isinstance(like, bool)
        if number != (isinstance(value, int | float) and not isinstance(value, bool)):
            raise ConfigurationError(f"{arm.name}: {name} must be like {like!r}, got {value!r}")
    return arm


def _check_free(record: FunctionRecord, standing: Standing, draft: Experiment, but: str | None) -> None:
    name = record.key.name
    for document in standing.steering:
        if document.kind == KIND and document.name == but:
            continue
        what, end = "the roll-out", f"poet rollout {name} --promote or --withdraw ends it, or wait until it is done"
        if document.kind == KIND:
            what, end = "the experiment", f"poet experiment stop {document.name} ends it, or wait until it is over"
        raise ConfigurationError(
            f"{what} {document.name} of {name} is under way, and two at once change what each sees: {end}"
        )
    if standing.paused:
        raise ConfigurationError(f"learning of {name} is paused ({standing.paused}): resume it first")
    for arm in draft.arms:
        for each, value in arm.values.items():
            if each in standing.pinned and standing.pinned[each] != value:
                raise ConfigurationError(
                    f"{arm.name}: {each} is pinned at {standing.pinned[each]!r}, got {value!r}: unpin it first"
                )
        same = arm.kind == "parameters" and all(standing.live.get(name) == value for name, value in arm.values.items())
        if same and draft.control.kind == "live":
            raise ConfigurationError(f"{arm.name} has the values that are live: there is nothing to find")


def _scale(record: FunctionRecord, recent: Sequence[Execution]) -> dict[str, float]:
    """Of the utility, fixed as long as it runs."""
    objective = Objective(**{name: value for name, value in record.objective.items() if value is not None})
    if objective.latency_cost is None:
        good = [execution.seconds for execution in recent if execution.outcome.good]
        if len(good) < FEWEST:
            raise ConfigurationError(
                f"the utility of {record.key.name} has no scale yet: it takes {FEWEST} calls that succeed, there are "
                f"{len(good)}; call it, declare its latency_cost, or choose the metric success"
            )
        objective = objective.for_latency(median(good))
    return {
        "value": objective.value,
        "latency_cost": objective.latency_cost or 0.0,
        "attempt_cost": objective.attempt_cost,
    }


def _planned(draft: Experiment, recent: Sequence[Execution]) -> float:
    """Calls by which the least effect worth finding should be found, by how much recent outcomes differ.

    0: not known, or nobody has said what is worth finding.
    """
    if draft.rules.minimum_effect is None:
        return 0.0
    outcomes = [y for execution in recent if (y := draft.outcome(execution)) is not None]
    if len(outcomes) < FEWEST_FOR_PLAN:
        return 0.0
    deviation = stdev(outcomes)
    if not deviation > 0:
        return 0.0
    calls = planned_calls(draft.rules.worth, deviation, draft.rules.alpha / (len(draft.arms) - 1))
    return min(max(calls, LEAST_PLANNED), MOST_PLANNED) if math.isfinite(calls) else 0.0


def _name(store: Store, function: FunctionKey) -> str:
    short = function.name.rpartition(".")[2][:100]
    there = {document.name for document in store.documents(KIND)}
    number = 1
    while f"{short}-{number}" in there:
        number += 1
    return f"{short}-{number}"


def _clear(store: Store, function: FunctionKey) -> None:
    """Let go of what processes told of experiments that are over: what came of it is kept with them."""
    over = {document.name for document in store.documents(KIND, function) if not document.open}
    gone = [
        document
        for kind in (keeping.KIND, arms_learning.KIND)
        for document in store.documents(kind, function)
        if document.name.rpartition(" ")[0] in over
    ]
    if gone:
        store.discard(gone)


def _stopped(store: Store, found: Found, new: Experiment) -> Document:
    function, old = found.record.key, found.experiment
    why = f"changed: {_difference(old, new)}; it goes on as {new.name}, with nothing carried over"
    after = ended(old, evidence_of(store, function, old), new.begun, why, verdict="stopped")
    return after.document(function, found.revision)


def _difference(old: Experiment, new: Experiment) -> str:
    said = []
    for name in Rules.__dataclass_fields__:
        before, after = getattr(old.rules, name), getattr(new.rules, name)
        if before != after:
            said.append(f"{name} {before} → {after}")
    arms = [{arm.name: (arm.told, round(arm.share, 6)) for arm in each.arms} for each in (old, new)]
    for name in dict.fromkeys([*arms[0], *arms[1]]):
        if name not in arms[1]:
            said.append(f"{name} is gone")
        elif name not in arms[0]:
            said.append(f"{name} is new")
        elif arms[0][name] != arms[1][name]:
            (what, share), (what_now, share_now) = arms[0][name], arms[1][name]
            said.append(
                f"{name} {what} → {what_now}" if what != what_now else f"share of {name} {share:g} → {share_now:g}"
            )
    return ", ".join(said) or "nothing, it begins anew"
