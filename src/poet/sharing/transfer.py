"""May one function have what another one has learned? All that can be said before any call, with the reason."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from poet.errors import ConfigurationError, StaleDocument, StoreError, UnknownFunction
from poet.model import flag as flags
from poet.model.function import FunctionKey
from poet.model.likeness import Behaviour
from poet.model.transfer import KIND, Transfer
from poet.seams import FunctionRecord, Store

READ, WRITE = "share.read", "share.write"
OPERATIONAL = ("timeout", "retries", "backoff", "hedges", "hedge_delay")
LEAST_CALLS = 40  # of a source: below that it has nothing to tell
MOST_CALLS = (
    10**9
)  # from which on a number is one that somebody made up; whatever it is, a table of 300 attempts is lent
DEEPEST = 32  # transfers behind transfers that are followed

Consent = Callable[[str, str], str]
"""The phase of a flag for a function, by its full name."""


class Answer(NamedTuple):
    """Whether it may, and why or why not."""

    may: bool
    why: str


def consent_of(store: Store) -> Consent:
    """What the environment, and rows in ``store``, say of flags; a process that trains knows its project's files, too.

    What cannot be read says ``off``.
    """
    said = [flags.from_words(os.environ.get("POET_FLAGS", ""))]
    rows: dict[str, tuple[flags.Rule, ...]] = {}
    for row in store.documents(flags.KIND):
        if row.function is None and row.name in flags.FLAGS:
            try:
                changes = flags.changes_of(row.name, row.body)
                rows[row.name] = changes[-1].rules if changes else ()
            except ConfigurationError:
                rows[row.name] = (flags.Rule(flags.SAFE),)
    said.append(flags.Said(rows, ()))

    def value(name: str, function: str) -> str:
        for each in said:
            rule = flags.decided(name, each.of(name), flags.Whom(function, "", ""))
            if rule is not None:
                return str(rule.value)
        return flags.flag(name).default

    return value


def ask(
    store: Store,
    source: FunctionKey,
    target: FunctionKey,
    helps: float,
    *,
    threshold: float,
    consent: Consent,
    refused: Mapping[FunctionKey, str],
    behaviour: Behaviour | None,
) -> Answer:
    """Let ``target`` have what ``source`` has learned, where nothing speaks against it.

    helps: how probable it is that this helps, in [0, 1]; threshold: how probable it must be. refused: fingerprints that
    cannot be true, and why. behaviour: of the source. Raises UnknownFunction, StoreError.
    """
    records = {record.key: record for record in store.functions() if record.key in (source, target)}
    for key in (source, target):
        if key not in records:
            raise UnknownFunction(key.name, tuple(sorted(each.name for each in records)))
    kept = {each.name: each for each in store.documents(KIND, target)}
    why = (
        _of_pair(source, target)
        or _of_flags(source, target, consent)
        or _of_records(records[source], records[target])
        or _of_source(store, records[source], refused, behaviour)
        or _of_past(store, source, target)
    )
    if not why and helps < threshold:
        why = (
            f"what {source.name} has learned helps {target.name} with a probability of {100 * helps:.3g} %, and "
            f"{100 * threshold:.3g} % are asked for"
        )
    if why:
        return Answer(False, why)
    asked = Transfer(source=source, target=target, helps=helps, asked=time.time(), why="asked for")
    document = asked.document()
    before = kept.get(document.name)
    try:
        store.keep(document._replace(revision=0 if before is None else before.revision))
    except StaleDocument:
        return Answer(False, f"somebody else is asking for what {source.name} has learned: ask again")
    return Answer(
        True,
        f"{target.name} has what {source.name} has learned, as a prior, from its next round of training on; values "
        "that follow from it are rolled out step by step",
    )


def transfers(store: Store, target: FunctionKey) -> list[Transfer]:
    """All that a function has taken over, or was to, oldest first; what cannot be read is passed over."""
    found = []
    for document in store.documents(KIND, target):
        try:
            found.append(Transfer.of(document))
        except ValueError:
            continue
    return sorted(found, key=lambda each: each.asked)


def _of_pair(source: FunctionKey, target: FunctionKey) -> str:
    return f"{source.name} cannot learn from itself" if source == target else ""


def _of_flags(source: FunctionKey, target: FunctionKey, consent: Consent) -> str:
    for flag, key, what in ((READ, target, "may take over"), (WRITE, source, "may give away")):
        phase = consent(flag, key.name)
        if phase != flags.ON:
            meant = "is observed only: it would be asked for" if phase == flags.OBSERVE else f"is {phase!r}"
            return f"the flag {flag}, whether {key.name} {what} what was learned, {meant}: poet flags set {flag} on"
    return ""


def _of_records(source: FunctionRecord, target: FunctionRecord) -> str:
    for record in (source, target):
        if record.learner in ("", "basic"):
            how = "by the basic rule, which has no statistics to share" if record.learner else "nothing"
            return f"{record.key.name} learns {how}"
    for name in sorted({*source.space, *target.space}):
        mine, other = target.space.get(name), source.space.get(name)
        if name in OPERATIONAL and mine is not None and other is not None and _apart(mine, other):
            return (
                f"{name} of {source.key.name} may be {_range(other)}, and of {target.key.name} {_range(mine)}: "
                "these have nothing in common, as if in other units"
            )
    for name in ("timeout", "retries"):
        if (name in source.space) != (name in target.space):
            has, lacks = (source, target) if name in source.space else (target, source)
            return f"{has.key.name} tunes {name}, and {lacks.key.name} does not"
    return ""


def _of_source(
    store: Store, source: FunctionRecord, refused: Mapping[FunctionKey, str], behaviour: Behaviour | None
) -> str:
    key = source.key
    if key in refused:
        return f"what is kept of {key.name} cannot be true: {refused[key]}"
    if not 0 <= source.failures <= source.calls or source.calls >= MOST_CALLS:
        return f"what is kept of {key.name} cannot be true: {source.failures} of {source.calls} calls failed"
    claimed = 0 if behaviour is None else behaviour.executions
    if claimed >= MOST_CALLS:
        return f"what is kept of {key.name} cannot be true: it claims {claimed} calls"
    if store.load_learner(key) is None:
        return f"{key.name} has learned nothing yet"
    if source.calls < LEAST_CALLS:
        return f"{key.name} has learned from {source.calls} calls only, and {LEAST_CALLS} are the least"
    return ""


def _of_past(store: Store, source: FunctionKey, target: FunctionKey) -> str:
    for each in transfers(store, target):
        if each.source == source and each.phase == "withdrawn":
            return f"it was tried before, and withdrawn: {each.why}"
        if each.source == source and each.phase != "refused":
            return f"{target.name} has it already: {each.phase}"
    waiting, seen = [source], {source}
    for _ in range(DEEPEST):
        if not waiting:
            break
        key = waiting.pop()
        for each in transfers(store, key):
            if each.phase in ("refused", "withdrawn") or each.source in seen:
                continue
            if each.source == target:
                return f"{source.name} has learned from {target.name} itself: that would go in a circle"
            seen.add(each.source)
            waiting.append(each.source)
    return ""


def _apart(one: Sequence[float], other: Sequence[float]) -> bool:
    return one[1] < other[0] or other[1] < one[0]


def _range(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:g} to {bounds[1]:g}"


def away(error: StoreError) -> Answer:
    """The registry cannot be reached."""
    return Answer(False, f"the registry cannot be reached: {error}")
