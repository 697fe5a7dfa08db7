"""Who may have what a tenant's functions know: rules that persons have set, in the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from poet.errors import ConfigurationError, StaleDocument
from poet.model import flag
from poet.model.document import Document
from poet.model.flag import LONGEST_GLOB, LONGEST_REASON, MOST_RULES, Rule
from poet.seams import Store

ALLOW, DENY = "allow", "deny"
KIND, NAME = "sharing", "rules"
FORMAT = 1
KEPT = 40  # newest changes
TRIES = 20


class Change(NamedTuple):
    """What a person has set or taken away."""

    at: float  # Unix time [s]
    author: str
    reason: str
    value: str  # allow, deny; empty: a rule was taken away
    function: str
    tenant: str


class Consent(NamedTuple):
    """Rules, the first that matches decides; and how they came about, oldest first."""

    rules: tuple[Rule, ...] = ()
    changes: tuple[Change, ...] = ()
    fault: str = ""  # why they cannot be read; then everything is denied


def rule(value: object, function: str = "*", tenant: str = "*") -> Rule:
    """A rule, checked. tenant: whose functions may, or may not, have it. Raises ConfigurationError."""
    if value not in (ALLOW, DENY):
        raise ConfigurationError(f"a rule of sharing says {ALLOW} or {DENY}, got {value!r}")
    for name, glob in (("function", function), ("tenant", tenant)):
        if not isinstance(glob, str) or not 0 < len(glob) <= LONGEST_GLOB or "\0" in glob:
            raise ConfigurationError(
                f"{name} must be a name or a pattern of 1 to {LONGEST_GLOB} characters, got {glob!r}"
            )
    return Rule(str(value), function=function, tenant=tenant)


def consent(store: Store) -> Consent:
    """What holds now. Raises StoreError."""
    return _read(_row(store))


def set_rule(store: Store, new: Rule, *, author: str, reason: str, at: float) -> Consent:
    """Put a rule before all others, in place of one for the same. Raises ConfigurationError, StoreError."""
    change = Change(at, author, reason, new.value, new.function, new.tenant)
    return _change(store, lambda rules: flag.with_rule(rules, new), change)


def unset_rule(store: Store, gone: Rule, *, author: str, reason: str, at: float) -> Consent | None:
    """Take away the rule for this function and tenant, whatever it says; None: there is none. Raises StoreError."""
    if gone.selects not in (each.selects for each in consent(store).rules):
        return None
    change = Change(at, author, reason, "", gone.function, gone.tenant)
    return _change(store, lambda rules: flag.without_rule(rules, gone), change)


def _change(store: Store, step: Callable[[Sequence[Rule]], tuple[Rule, ...]], change: Change) -> Consent:
    if len(change.reason) > LONGEST_REASON:
        raise ConfigurationError(f"a reason must be of at most {LONGEST_REASON} characters, got {len(change.reason)}")
    for left in reversed(range(TRIES)):
        row = _row(store)
        known = _read(row)
        rules = step(() if known.fault else known.rules)
        if len(rules) > MOST_RULES:
            raise ConfigurationError(f"there may be at most {MOST_RULES} rules: take one of them away first")
        after = Consent(rules, (*known.changes, change._replace(author=change.author[:200]))[-KEPT:])
        told = {
            "format": FORMAT,
            "rules": [{"value": each.value, "function": each.function, "tenant": each.tenant} for each in rules],
            "changes": [each._asdict() for each in after.changes],
        }
        try:
            store.keep(Document(KIND, NAME, json.dumps(told), revision=row.revision if row else 0))
        except StaleDocument:  # somebody else was faster
            if not left:
                raise
        else:
            return after
    raise AssertionError("unreachable")


def _row(store: Store) -> Document | None:
    return next((each for each in store.documents(KIND, name=NAME) if each.function is None), None)


def _read(row: Document | None) -> Consent:
    if row is None:
        return Consent()
    try:
        told: Mapping[str, Any] = json.loads(row.body)
        if told["format"] != FORMAT:
            raise ConfigurationError(f"format {told['format']!r}, and this release reads {FORMAT}")
        rules = tuple(rule(each["value"], each["function"], each["tenant"]) for each in told["rules"])
        changes = tuple(Change(**each) for each in told["changes"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return Consent((Rule(DENY),), (), f"the rules of sharing cannot be read, and all is denied: {error}")
    return Consent(rules, changes)
