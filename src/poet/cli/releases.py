"""``poet releases``: what left functions for others, what of epsilon is spent, and who may have it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from poet.cli import views
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.errors import StoreUnavailable
from poet.seams import Store
from poet.settings import Settings, person

NEWEST = 20  # that are listed, unless more are asked for


def run(
    words: Any, settings: Settings, now: float, there: Callable[[], bool], to_read: Callable[[], Store], to_change: Any
) -> Document:
    """Answer ``poet releases …``. there: whether a store was made; to_read, to_change: open it.

    Raises ConfigurationError, StoreError.
    """
    verb, tenant = getattr(words, "share", None) or (None, "")
    if verb is None:
        if not there():
            raise StoreUnavailable(settings.store, "nothing was recorded yet", "call a decorated function first")
        store = to_read()
        try:
            return _list(store, words.function, words.last or NEWEST, now)
        finally:
            store.close()
    from poet.sharing import consent

    glob = words.function or "*"
    rule = consent.rule(consent.DENY if verb == "forget" else verb, glob, tenant)
    if settings.store.startswith("memory"):
        raise StoreUnavailable(settings.store, "only the process that fills it could see the rule", "name a file")
    store = to_change()
    try:
        change = consent.unset_rule if verb == "forget" else consent.set_rule
        after = change(store, rule, author=person(), reason=words.reason, at=now)
        told = after if after is not None else consent.consent(store)
        return views.document(
            "releases",
            action=verb,
            at=now,
            store=store.url,
            done=after is not None,
            function=glob,
            tenant=tenant,
            rules=_rules(told),
        )
    finally:
        store.close()


def _list(store: Store, name: str | None, last: int, now: float) -> Document:
    from poet.sharing import releases
    from poet.sharing.consent import consent

    known = store.functions()
    key = None if name is None else find(name, known).key
    names = {each.key: short_name(each, known) for each in known}
    told, unread = releases.records(store, key)
    agreed = consent(store)
    return views.document(
        "releases",
        action="list",
        at=now,
        store=store.url,
        function=None if key is None else str(key),
        releases=[
            {
                **each._asdict(),
                "function": str(each.function),
                "short_name": names.get(each.function, str(each.function)) if each.function else "",
            }
            for each in told[-last:]
        ],
        earlier=max(0, len(told) - last),
        unread=unread,
        ledgers=[
            {
                "function": str(function),
                "short_name": names.get(function, str(function)),
                "tenant": ledger.tenant,
                "month": ledger.month,
                "releases": ledger.releases,
                "epsilon": float(ledger.spent),
            }
            for function, ledger in releases.ledgers(store, key)
        ],
        rules=_rules(agreed),
        changes=[each._asdict() for each in agreed.changes],
        fault=agreed.fault,
    )


def _rules(agreed: Any) -> list[Document]:
    return [{"value": each.value, "function": each.function, "tenant": each.tenant} for each in agreed.rules]
