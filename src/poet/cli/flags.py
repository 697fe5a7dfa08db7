"""``poet flags``: what POET may do, who said so, and how that is changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from poet.cli import views
from poet.cli.views import Document
from poet.errors import ConfigurationError, StoreAway, StoreError, StoreUnavailable
from poet.model import flag as flags
from poet.model.flag import FLAGS, FlagChange, Rule, Whom
from poet.seams import SYSTEM_CLOCK, Finding, Store
from poet.settings import Settings, is_served, person
from poet.training.flags import Flags, history, set_rule, unset_rule

ELSEWHERE = "a file .poet/flags.json, or POET_FLAGS, works on each host while it is away"


def run(
    words: Any, settings: Settings, now: float, there: Callable[[], bool], to_read: Callable[[], Store], to_change: Any
) -> Document:
    """Answer ``poet flags …``. there: whether a store was made; to_read, to_change: open it.

    Raises ConfigurationError, StoreError.
    """
    verb = getattr(words, "verb", None)
    if verb is None:
        return _list(words, settings, now, to_read if there() else None)
    if verb == "history":
        store = to_read()
        try:
            return _history(store, getattr(words, "name", None))
        finally:
            store.close()
    name = words.name
    selected = {
        key: value
        for key in ("function", "host", "tenant", "percent")
        if (value := getattr(words, key, None)) is not None
    }
    rule = flags.rule(name, words.value if verb == "set" else flags.SAFE, **selected)
    if settings.store.startswith("memory"):
        raise StoreUnavailable(settings.store, "only the process that fills it could see the row", ELSEWHERE)
    store = to_change()
    try:
        return _change(store, verb, name, None if getattr(words, "all", False) else rule, words.reason, now)
    except StoreAway as error:
        raise StoreUnavailable(error.location, error.cause, ELSEWHERE) from error
    finally:
        store.close()


def _change(store: Store, verb: str, name: str, rule: Rule | None, reason: str, now: float) -> Document:
    author = person()
    changes: list[FlagChange] | None
    if verb == "set":
        assert rule is not None
        changes = set_rule(store, name, rule, author=author, reason=reason, at=now)
    else:
        changes = unset_rule(store, name, rule, author=author, reason=reason, at=now)
        if changes is None:
            return views.document("flags", action=verb, store=store.url, flag=name, done=False)
    known = [record.key.name for record in store.functions()]
    before = changes[-2].rules if len(changes) > 1 else _before(store, name)
    return views.document(
        "flags",
        action=verb,
        store=store.url,
        flag=name,
        done=True,
        before=_rules(before),
        after=_rules(changes[-1].rules),
        author=author,
        reason=reason,
        at=now,
        functions=None
        if rule is None or rule.function == "*"
        else sum(rule._replace(host="*", tenant="*", percent=100.0).matches(name, Whom(each)) for each in known),
    )


def _before(store: Store, name: str) -> Sequence[Rule]:
    """The rules before the last change, where that lies in the archive."""
    told = history(store, name)
    return told[-2][1].rules if len(told) > 1 else ()


def _list(words: Any, settings: Settings, now: float, to_read: Callable[[], Store] | None) -> Document:
    seen = here(settings)
    faults: list[str] = []
    last: dict[str, FlagChange] = {}
    url = settings.store
    if to_read is not None:
        try:
            store = to_read()
            try:
                url = store.url
                seen.read(store)
                last = dict(history(store))
            finally:
                store.close()
        except (StoreError, ConfigurationError) as error:
            faults.append(f"rows cannot be read now, those known last hold: {error}")
    whom = Whom(
        getattr(words, "function", None) or "",
        getattr(words, "host", None) or seen.host,
        getattr(words, "tenant", None) or seen.tenant,
    )
    rows = []
    for name, flag in FLAGS.items():
        decided = seen.decided(name, whom)
        change = last.get(name)
        rows.append(
            {
                "name": name,
                "value": decided.value,
                "source": decided.source,
                "default": flag.default,
                "phases": list(flag.phases),
                "about": flag.about,
                "rules": [{"source": source, **rule._asdict()} for source, rule in seen.rules(name)],
                "changed": None if change is None else _told(name, change),
            }
        )
    return views.document(
        "flags", action="list", at=now, store=url, whom=whom._asdict(), flags=rows, faults=[*seen.faults, *faults]
    )


def here(settings: Settings) -> Flags:
    """The flags as a process of this host would see them before it asks the store."""
    from poet.app import local_folder

    host = os.uname().nodename if hasattr(os, "uname") else ""
    return Flags(settings, SYSTEM_CLOCK, host=host, folder=local_folder(settings) if is_served(settings) else None)


def seen(store: Store, settings: Settings, name: str) -> Callable[[str], str]:
    """What a flag says for a function; rows of a store that cannot tell are those known last."""
    found = here(settings)
    with suppress(StoreError):
        found.read(store)
    return lambda function: found.value(name, function)


def findings(store: Store, settings: Settings) -> Finding:
    """Whether the flags can be read, and which are not at their defaults; that the store is away is said elsewhere."""
    found = here(settings)
    with suppress(StoreError):
        found.read(store)
    told = []
    for name, flag in FLAGS.items():
        decided = found.decided(name, Whom("", found.host, found.tenant))
        if decided.value != flag.default:
            told.append(f"{name} {decided.value} ({decided.source})")
    said = "; ".join(found.faults) or ", ".join(told) or "all at their defaults"
    return Finding(not found.faults, "flags", said)


def _history(store: Store, name: str | None) -> Document:
    told = history(store, name)
    before: dict[str, Sequence[Rule]] = {}
    entries = []
    for flag, change in told:
        entries.append({**_told(flag, change), "before": _rules(before.get(flag, ())), "after": _rules(change.rules)})
        before[flag] = change.rules
    return views.document("flags", action="history", store=store.url, flag=name, entries=entries)


def _told(name: str, change: FlagChange) -> Document:
    return {
        "flag": name,
        "number": change.number,
        "at": change.at,
        "author": change.author,
        "reason": change.reason,
    }


def _rules(rules: Sequence[Rule]) -> list[Document]:
    return [rule._asdict() for rule in rules]
