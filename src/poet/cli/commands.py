"""What each command does with a store: gather, hand to ``views``, return the document. Nothing is printed here."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from poet.cli import views
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.cli.words import TIMES
from poet.errors import ConfigurationError, StoreAway, StoreCorrupt, StoreError, StoreTooNew, nearest
from poet.model.bounds import check_bounds
from poet.model.execution import Execution
from poet.model.explanation import Explanation
from poet.model.fixed import base_of, spelt, spread
from poet.model.function import FunctionKey
from poet.model.objective import Objective
from poet.model.parameters import Change, Standing
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Store
from poet.settings import person, upkeep_at

if TYPE_CHECKING:
    from poet.cli.analysis import Analyze
    from poet.cli.experiment_words import Wanted
    from poet.cli.rollback import Rollback
    from poet.cli.transfer import Export
    from poet.learning.online_learner import Headline

BY_HAND = "from the command line"


class Asked(NamedTuple):
    """What a command was asked for, beside the function's name."""

    now: float  # Unix time [s]
    learning: Callable[[str], str] = lambda function: "on"  # how far it goes for a function, as settings and flags say
    reason: str = ""
    rollback: Rollback | None = None  # how to go back
    values: tuple[str, ...] = ()  # ``name=value``, to pin
    action: str | None = None  # what a roll-out is to do
    export: Export | None = None  # what is to leave
    analyze: Analyze | None = None  # what is to be found out
    experiment: Wanted | None = None  # what is to be done with experiments
    keep_executions: float = 30.0  # [days]
    keep_hours: float = 400.0  # [days]
    top: int = 5  # functions that are alike, >= 1
    last: int | None = None  # newest entries of a history, >= 1; None: all
    since: float | None = None  # how far back calls are replayed [s]; None: all that are kept

    @property
    def steps(self) -> bool:
        """Whether a roll-out is to be changed, and not only to be seen."""
        return bool(self.values or self.action)


class NotLearned(StoreError):
    """The learner's state cannot be read. Look at what ``poet doctor`` says of the store."""


def _found(store: Store, name: str) -> tuple[FunctionRecord, str]:
    """The function that is meant, and its short name."""
    records = store.functions()
    record = find(name, records)
    return record, short_name(record, records)


def _lately(store: Store, function: FunctionKey, now: float) -> list[Execution] | None:
    """The calls of the last hour, or the newest of them."""
    return _newest(store, function, views.NEWEST, now - views.LATELY)


def _newest(store: Store, function: FunctionKey, limit: int, since: float = 0.0) -> list[Execution] | None:
    """The newest calls that started at or after ``since`` [Unix s], oldest first; None where they cannot be read.

    What holds can be told without them; ``poet doctor`` says what is wrong with them.
    """
    try:
        return list(store.executions(function, since=since, limit=limit))
    except (StoreAway, StoreCorrupt, StoreTooNew):
        return None


def _changes(store: Store, function: FunctionKey) -> list[Change]:
    """The history; none where the store is away."""
    try:
        return store.history(function)
    except StoreAway:
        return []


def status(store: Store, asked: Asked) -> Document:
    """All functions and processes."""
    records = store.functions()
    rows = [
        views.status_row(
            record,
            store.standing(record.key),
            _changes(store, record.key),
            _lately(store, record.key, asked.now),
            short=short_name(record, records),
            learning=asked.learning(record.key.name),
            learned=_learned(store, record),
        )
        for record in records
    ]
    return views.status(rows, store.processes(), store=store.url, now=asked.now, away=store.away or None)


def maintain(store: Store, asked: Asked) -> Document:
    """Retention, compaction and late scores, now."""
    kept = {"keep_executions": asked.keep_executions, "keep_hours": asked.keep_hours}
    upkeep = store.maintain(**upkeep_at(asked.now, **kept))
    return views.maintained(upkeep, store=store.url, **kept)


def show(store: Store, name: str, asked: Asked) -> Document:
    """What holds for one function. Raises UnknownFunction, AmbiguousFunction."""
    record, short = _found(store, name)
    key = record.key
    return views.show(
        record,
        store.standing(key),
        store.versions(key),
        store.history(key),
        _lately(store, key, asked.now),
        _newest(store, key, views.LISTED),
        short=short,
        learning=asked.learning(key.name),
        aliases=store.aliases(key),
        learned=_learned(store, record),
        now=asked.now,
    )


def explain(store: Store, name: str, asked: Asked) -> Document:
    """Why the live values hold. Raises UnknownFunction, AmbiguousFunction, NotLearned."""
    record, short = _found(store, name)
    standing = store.standing(record.key)
    return views.explain(record, standing, _picture(store, record, standing, asked.now), short=short, now=asked.now)


def _learned(store: Store, record: FunctionRecord) -> Headline | None:
    """How learning stands; None: it does not, or that cannot be read. It loads no maths."""
    if not record.learner:
        return None
    from poet.learners import state_of_all_calls  # here, as most commands do without
    from poet.learning.online_learner import headline

    try:
        state = store.load_learner(record.key)
        return None if state is None else headline(state_of_all_calls(state))
    except (StoreAway, StoreCorrupt, StoreTooNew, ValueError):
        return None


NO_PICTURE = Explanation(0, None, {}, 0.0, 0.0, {}, None, (), ())


def _picture(store: Store, record: FunctionRecord, standing: Standing, now: float) -> Explanation:
    if not record.learner:
        return NO_PICTURE
    from poet.learners import explained, learner_for  # here, as it may load the maths, which no other command needs

    try:
        learner = learner_for(record, store.load_learner(record.key))
    except ValueError as error:
        raise NotLearned(f"{record.key.name}: what its learner knew cannot be read ({error})") from error
    return explained(learner, standing.live, now)


def replay(store: Store, name: str, asked: Asked) -> Document:
    """What other parameters would have made of the recorded calls.

    Raises UnknownFunction, AmbiguousFunction, ConfigurationError.
    """
    from poet.learning import replay as replays  # here: it loads the maths

    record, short = _found(store, name)
    standing = store.standing(record.key)
    given = parse_values(asked.values, replays.USUAL, "replay")
    values = replays.wanted(given, standing.live, record.space)
    since = 0.0 if asked.since is None else asked.now - asked.since
    told = replays.of_store(store, record, values, objective_of(store, record, asked.now), since=since)
    return views.replay(record, standing, told, short=short, since=since or None, now=asked.now)


def objective_of(store: Store, record: FunctionRecord, now: float) -> Objective | None:
    """What calls are worth, with the scale that the learner goes by; None: it has none. now: Unix time [s]."""
    try:
        return _picture(store, record, store.standing(record.key), now).objective
    except NotLearned:  # the record is there all the same
        return None


def history(store: Store, name: str, asked: Asked) -> Document:
    """All that was done to one function. Raises UnknownFunction, AmbiguousFunction."""
    record, short = _found(store, name)
    key = record.key
    doc = views.history(
        record, store.standing(key), store.versions(key), store.history(key), short=short, now=asked.now
    )
    return views.newest(doc, asked.last)


def pin(store: Store, name: str, asked: Asked) -> Document:
    """Hold values, beside those held already. Raises UnknownFunction, AmbiguousFunction, ConfigurationError."""
    record, short = _found(store, name)
    before = store.standing(record.key)
    fixed = parse_values(asked.values, {**record.declared, **before.live}, choices=record.choices)
    pinned = {**before.pinned, **spread(fixed, before.live)}
    check_bounds(pinned, record.space, record.choices)
    after = store.steer(record.key, author=person(), reason=asked.reason or f"pinned {BY_HAND}", pinned=pinned)
    return views.steered("pin", record, before, after, short=short)


def unpin(store: Store, name: str, asked: Asked) -> Document:
    """Lift all pins. Raises UnknownFunction, AmbiguousFunction."""
    record, short = _found(store, name)
    before = store.standing(record.key)
    if not before.pinned:
        return views.steered("unpin", record, before, before, short=short, done=False)
    after = store.steer(record.key, author=person(), reason=asked.reason or f"unpinned {BY_HAND}", pinned={})
    return views.steered("unpin", record, before, after, short=short)


def pause(store: Store, name: str | None, asked: Asked) -> Document:
    """Stop learning from publishing, for one function or all. Raises UnknownFunction, AmbiguousFunction."""
    return _steer_paused(store, "pause", name, asked)


def resume(store: Store, name: str | None, asked: Asked) -> Document:
    """Let learning publish again, for one function or all. Raises UnknownFunction, AmbiguousFunction."""
    return _steer_paused(store, "resume", name, asked)


def _steer_paused(store: Store, command: str, name: str | None, asked: Asked) -> Document:
    if name is not None:
        return _pause_one(store, command, *_found(store, name), asked)
    records = store.functions()
    parts = [_pause_one(store, command, record, short_name(record, records), asked) for record in records]
    return views.steered_all(command, parts, store=store.url)


def _pause_one(store: Store, command: str, record: FunctionRecord, short: str, asked: Asked) -> Document:
    before = store.standing(record.key)
    paused = command == "pause"
    if bool(before.paused) is paused:
        return views.steered(command, record, before, before, short=short, done=False)
    reason = asked.reason or f"{command}d {BY_HAND}"
    after = store.steer(record.key, author=person(), reason=reason, paused=paused)
    return views.steered(command, record, before, after, short=short)


def parse_values(
    texts: tuple[str, ...],
    known: Mapping[str, Value],
    command: str = "pin",
    choices: Mapping[str, Sequence[Value]] = MappingProxyType({}),
) -> dict[str, Value]:
    """Values of known parameters from ``name=value``, each of the kind of the known value, or one of its ``choices``.

    One for some contexts only is written as ``name@feature=…=value``, and is of its parent's kind. Raises
    ConfigurationError where a text has no such form, a name is unknown or a value does not suit its parameter.

    >>> parse_values(("timeout=2", "retries=1"), {"timeout": 30.0, "retries": 3})
    {'timeout': 2.0, 'retries': 1}
    >>> parse_values(("timeout@region=eu=1.5",), {"timeout": 30.0})
    {'timeout@region=eu': 1.5}
    """
    values: dict[str, Value] = {}
    for text in texts:
        special = "@" in text.partition("=")[0]
        name, mark, said = (part.strip() for part in (text.rpartition("=") if special else text.partition("=")))
        if not (mark and name and said):
            raise ConfigurationError(f"{command} takes name=value, got {text!r}; for instance timeout=2.5")
        base = base_of(name)
        if base not in known:
            raise ConfigurationError(f"no parameter {base!r}: {nearest(base, known)}")
        options = {str(option): option for option in choices.get(base, ())}
        if options and said not in options:
            raise ConfigurationError(f"{name} must be one of {', '.join(options)}, got {said}")
        values[spelt(name)] = options[said] if options else _parse(base, said, known[base])
    return values


def _parse(name: str, said: str, like: Value) -> Value:
    if isinstance(like, bool):
        if said.lower() not in ("true", "false"):
            raise ConfigurationError(f"{name} must be true or false, got {said!r}")
        return said.lower() == "true"
    if isinstance(like, str):
        return said
    if isinstance(like, int) and name not in TIMES:  # a timeout declared as 30 is a span all the same
        try:
            whole = int(said)
        except ValueError:
            raise ConfigurationError(f"{name} must be a whole number, got {said!r}") from None
        if name == "retries" and whole < 0:
            raise ConfigurationError(f"retries must be 0 or more, got {whole}; 0 makes a single attempt")
        return whole
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        unit = "a number of seconds, without a unit" if name in TIMES else "a finite number"
        raise ConfigurationError(f"{name} must be {unit}, got {said!r}")
    if name in ("timeout", "deadline") and not number > 0:
        raise ConfigurationError(f"{name} must be above 0 seconds, got {said}")
    if name in TIMES and number < 0:
        raise ConfigurationError(f"{name} must be 0 seconds or more, got {said}")
    return number
