"""Which of the parameters that come from elsewhere go live: better evidence is kept, bounds and pins hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from poet.errors import StaleParameters
from poet.exchange.package import Package, Packaged
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Incoming, Store
from poet.stores.fitting import fit
from poet.stores.legacy_json import LegacyParameters, draft_of

T = TypeVar("T")
Readable = Callable[[FunctionRecord, bytes], object]
"""Loads a learner's state as the function's own learner would. Raises ValueError where it cannot."""

ROUNDS = 5  # tries, where other processes change the same functions meanwhile
LONGEST_REASON = 2000  # characters of a foreign reason that are kept


class Verdict(NamedTuple):
    """What becomes of one function's parameters."""

    key: FunctionKey  # in the receiving store, or the one it would have there
    taken: bool
    why: str
    notes: tuple[str, ...] = ()  # what was changed or left out of what is taken
    before: Mapping[str, Value] | None = None  # live values so far; None: the function was not known
    after: Mapping[str, Value] | None = None  # live values from now on; None: as before
    knowledge: bool = False  # whether the learner's state is taken, too
    incoming: Incoming | None = None  # for ``Store.bring_in``


class Receiving(NamedTuple):
    """Who takes in, and how."""

    source: str  # names the file in reasons
    author: str
    readable: Readable
    force: bool = False  # take what rests on less evidence, or was learned under another signature


def take_in(store: Store, package: Package, receiving: Receiving, *, dry: bool = False) -> list[Verdict]:
    """Judge all functions of a package and take in, in one step, what may be. dry: judge only.

    Raises StaleParameters, nothing changed, where other processes keep changing the same functions.
    """
    return settled(lambda: _take_in(store, package, receiving, dry))


def settled(step: Callable[[], T]) -> T:
    """What ``step`` gives, run anew where another process changed what it had judged. Raises StaleParameters."""
    for _ in range(ROUNDS - 1):
        try:
            return step()
        except StaleParameters:
            continue
    return step()


def _take_in(store: Store, package: Package, receiving: Receiving, dry: bool) -> list[Verdict]:
    records = store.functions()
    verdicts = []
    targets: set[FunctionKey] = set()
    for function in _exact_first(package.functions, records):
        verdict = judge(function, records, store.standing, receiving)
        if verdict.taken and verdict.key in targets:
            verdict = Verdict(verdict.key, False, "another entry of the package was taken for this function")
        if verdict.taken:
            targets.add(verdict.key)
        verdicts.append(verdict)
    coming = [verdict.incoming for verdict in verdicts if verdict.incoming is not None]
    if coming and not dry:
        store.bring_in(coming)
    return verdicts


def _exact_first(functions: Sequence[Packaged], records: Sequence[FunctionRecord]) -> list[Packaged]:
    """Those of known signatures before others that might stand in for them; else as they are."""
    known = {record.key for record in records}
    return sorted(functions, key=lambda function: function.record.key not in known)


def judge(
    function: Packaged,
    records: Sequence[FunctionRecord],
    standing_of: Callable[[FunctionKey], Standing],
    receiving: Receiving,
) -> Verdict:
    """What becomes of one function of a package."""
    key = function.record.key
    namesakes = [record for record in records if record.key.name == key.name]
    ours = next((record for record in namesakes if record.key == key), None)
    if ours is None and namesakes:
        ours = max(namesakes, key=lambda record: record.last_call)
        if not receiving.force:
            theirs = f"it was learned under {key.fingerprint}, here it is {ours.key.fingerprint}"
            return Verdict(ours.key, False, f"its signature is another: {theirs}; --force takes it all the same")
    if ours is None:
        return _new(function, receiving)
    return _better(function, ours, standing_of(ours.key), receiving)


def _new(function: Packaged, receiving: Receiving) -> Verdict:
    """A function that nobody has called here: it starts with what is known elsewhere."""
    record = function.record
    values, notes = fit(function.live, record.declared, record.space, record.choices)
    live: dict[str, Value] = {**record.declared, **values}
    draft = None if live == dict(record.declared) else _draft(function.live, live, receiving)
    state, more = _state(function, record, receiving)
    return Verdict(
        record.key,
        True,
        "it is new here and starts with these values",
        (*notes, *more),
        None,
        live,
        state is not None,
        Incoming(record._replace(calls=0, failures=0, seconds=0.0, last_call=0.0), draft, state, 0),
    )


def _better(function: Packaged, ours: FunctionRecord, standing: Standing, receiving: Receiving) -> Verdict:
    """A function that is known: its live values give way to better evidence only."""
    live, theirs = standing.live, function.live
    fitted, notes = fit(theirs, ours.declared, ours.space, ours.choices)
    # what is pinned is so in every context
    free = {name: value for name, value in fitted.items() if name.partition("@")[0] not in standing.pinned}
    values = {**live, **free, **standing.pinned}
    rests = f"it rests on {_executions(theirs.evidence)}, ours on {live.evidence}"
    why_not = None
    if not fitted:
        why_not = "it has no value that this function could use"
    elif values == dict(live):
        why_not = "these values are live already"
    elif not receiving.force:
        why_not = _held(ours, standing)
        if why_not is None and theirs.evidence <= live.evidence:
            why_not = f"{rests}; --force takes it all the same"
    if why_not is not None:
        return Verdict(ours.key, False, why_not, notes if not fitted else (), dict(live))
    held = [
        f"{name} stays at {pin}, as it is pinned" for name, pin in standing.pinned.items() if fitted.get(name) != pin
    ]
    state, more = _state(function, ours, receiving)
    return Verdict(
        ours.key,
        True,
        f"{rests}; it was forced" if receiving.force else rests,
        (*notes, *held, *more),
        dict(live),
        values,
        state is not None,
        Incoming(ours, _draft(theirs, values, receiving), state, standing.generation),
    )


def _executions(n: int) -> str:
    return "1 execution" if n == 1 else f"{n} executions"


def _held(record: FunctionRecord, standing: Standing) -> str | None:
    """Why nothing but a person may change what is live; None: learning may."""
    if not record.learner:
        return "it does not learn here, so its declared values hold; --force takes these all the same"
    if standing.paused:
        return f"learning is paused: {standing.paused}; resume it, or use --force"
    if standing.pinned:
        return f"{', '.join(standing.pinned)}: pinned; unpin, or --force takes the rest"
    if standing.live.origin == "manual":
        return "its values were set by hand; --force takes these all the same"
    return None


def _draft(theirs: ParameterSet, values: Mapping[str, Value], receiving: Receiving) -> ParameterSet:
    reason = f"imported from {receiving.source}"
    return ParameterSet(
        values_=values,
        origin="import",
        author=receiving.author,
        reason=f"{reason}: {theirs.reason[:LONGEST_REASON]}" if theirs.reason else reason,
        estimates={name: e for name, e in theirs.estimates.items() if values.get(name) == theirs.get(name)},
        evidence=theirs.evidence,
        span=theirs.span,
    )


def _state(function: Packaged, record: FunctionRecord, receiving: Receiving) -> tuple[bytes | None, tuple[str, ...]]:
    """What the learner knows, where ours can read it; else why not."""
    if function.state is None:
        return None, ()
    if not record.learner:
        return None, ("what the learner knew is left out: this function does not learn",)
    try:
        receiving.readable(record, function.state)
    except ValueError as error:
        return None, (f"what the learner knew is left out: {error}",)
    return function.state, ()


def judge_legacy(found: LegacyParameters, record: FunctionRecord, standing: Standing, receiving: Receiving) -> Verdict:
    """What becomes of the parameters that the original learned; ``found`` is within the function's bounds.

    Nobody knows how much evidence they rest on. So they go live only where nothing better than a declaration is.
    """
    live = standing.live
    draft = draft_of(found, {**live, **standing.pinned})
    why_not = None
    if not found.values:
        why_not = "; ".join(found.notes)
    elif not receiving.force:
        why_not = _held(record, standing)
        if why_not is None and live.origin != "declared":
            why_not = f"version {live.version} is live already, {live.origin}; --force takes these all the same"
    values = {**live, **found.values, **standing.pinned}
    if why_not is None and (draft is None or values == dict(live)):
        why_not = "these values are live already"
    if why_not is not None or draft is None:
        return Verdict(record.key, False, why_not or "", (), dict(live))
    draft = draft.changed(values_=values, author=receiving.author)
    incoming = Incoming(record, draft, None, standing.generation)
    return Verdict(
        record.key, True, "the original POET had learned it", found.notes, dict(live), values, False, incoming
    )
