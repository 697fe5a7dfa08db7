"""``poet gains``: what learning has gained against the declared values, for one function or for all."""

from __future__ import annotations

from dataclasses import asdict, is_dataclass
from typing import Any

from poet.cli import views
from poet.cli.commands import Asked, objective_of
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.model.estimate import Estimate
from poet.model.gains import AllGains, Gains
from poet.seams import Store


def of_store(store: Store, name: str | None, asked: Asked) -> Document:
    """One function, or all. Raises UnknownFunction, AmbiguousFunction, ConfigurationError."""
    from poet.learning.analytics import report  # here: it loads the maths

    records = store.functions()
    since = 0.0 if asked.since is None else max(asked.now - asked.since, 0.0)
    wanted = records if name is None else [find(name, records)]
    found = [
        report.of_store(store, record, objective_of(store, record, asked.now), since=since, thorough=name is not None)
        for record in wanted
    ]
    names = {str(record.key): short_name(record, records) for record in records}
    frame = {"at": asked.now, "store": store.url, "since": since or None}
    if name is not None:
        return views.document("gains", **frame, **views.identity(wanted[0], names[str(wanted[0].key)]), **one(found[0]))
    return views.document("gains", **frame, **all_of(report.over_all(found), names))


def one(told: Gains) -> Document:
    """What learning has gained for one function."""
    return {
        "declared": dict(told.declared),
        "live_values": dict(told.live),
        "calls": told.calls,
        "older": told.older,
        "first": told.first or None,
        "last": told.last or None,
        "left_out": dict(told.left_out),
        "estimator": told.estimator or None,
        "objective": views.goal(told.objective),
        "figures": {name: _plain(figure) for name, figure in told.figures.items()},
        "gain": views.estimate(told.gain),
        "unit": told.unit,
        "worse": told.worse,
        "saved_per_1000_calls": _plain(told.saved),
        "running": [moment._asdict() for moment in told.running],
        "block": told.block or None,
        "blocks": told.blocks,
        "decided": told.decided,
        "untold": told.untold,
        "contrast": _plain(told.contrast),
        "changes": [_plain(change) for change in told.changes],
        "improved": views.estimate(told.improved),
        "agreed": views.estimate(told.agreed),
        "hindsight": _plain(told.hindsight),
        "sentences": list(told.sentences),
    }


def all_of(told: AllGains, names: dict[str, str]) -> Document:
    """Over all functions; each of them as ``one``, without its running effect."""
    rows = []
    for each in told.functions:
        row = one(each)
        del row["running"]
        rows.append({"id": each.function, "short_name": names.get(each.function, each.function), **row})
    return {
        "functions": rows,
        "calls": told.calls,
        "gain": views.estimate(told.gain),
        "saved_per_1000_calls": _plain(told.saved),
        "improved": views.estimate(told.improved),
        "agreed": views.estimate(told.agreed),
        "worse": list(told.worse),
        "sentences": list(told.sentences),
    }


def _plain(x: Any) -> Any:
    """Words of the model as mappings."""
    if isinstance(x, Estimate):
        return views.estimate(x)
    if isinstance(x, tuple) and hasattr(x, "_asdict"):
        return {name: _plain(value) for name, value in x._asdict().items()}
    if is_dataclass(x) and not isinstance(x, type):
        return asdict(x)
    return dict(x) if hasattr(x, "keys") else x
