"""What ``poet rollout`` does with a store; returns the document. Nothing is printed here."""

from __future__ import annotations

from typing import Any

from poet.cli import views
from poet.cli.commands import BY_HAND, Asked, parse_values
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.model.bounds import check_bounds
from poet.model.rollout import KIND, Rollout
from poet.seams import FunctionRecord, Store
from poet.settings import person
from poet.training import by_hand

ACTIONS = ("promote", "withdraw", "hold", "go-on")
SHOWN = 20  # newest roll-outs in the list of all functions


def act(store: Store, name: str | None, asked: Asked) -> Document:
    """Do what was asked, and tell how roll-outs stand. Raises ConfigurationError, StoreError."""
    records = store.functions()
    if name is None:
        told = [
            described(Rollout.of(document), record, short_name(record, records))
            for record in records
            for document in store.documents(KIND, record.key)
        ]
        told.sort(key=lambda each: (each["ended"], -each["begun"]))
        return views.document(
            "rollout", at=asked.now, store=store.url, rollouts=told[:SHOWN], left_out=len(told[SHOWN:])
        )
    record = find(name, records)
    said: dict[str, Any] = {"author": person(), "reason": asked.reason or BY_HAND, "now": asked.now}
    if asked.values:
        standing = store.standing(record.key)
        values = parse_values(asked.values, {**record.declared, **standing.live}, "rollout", record.choices)
        check_bounds(values, record.space, record.choices)
        by_hand.propose(store, record.key, values, **said)
    elif asked.action is not None:
        step = {
            "promote": by_hand.promote,
            "withdraw": by_hand.withdraw,
            "hold": by_hand.hold,
            "go-on": by_hand.go_on,
        }[asked.action]
        step(store, record.key, **said)
    short = short_name(record, records)
    kept = [Rollout.of(document) for document in store.documents(KIND, record.key)]
    told = [described(rollout, record, short) for rollout in reversed(kept)]
    done = "propose" if asked.values else asked.action
    return views.document(
        "rollout",
        at=asked.now,
        **views.identity(record, short),
        action=done,
        live=store.standing(record.key).live.version,
        rollouts=told,
        left_out=0,
    )


def described(rollout: Rollout, record: FunctionRecord, short: str) -> Document:
    """A roll-out for programs and pages."""
    stage = rollout.stage
    return {
        "function": record.key.name,
        "short_name": short,
        "name": rollout.name,
        "phase": rollout.phase,
        "paused": rollout.paused,
        "ended": rollout.ended,
        "share": None if stage is None or rollout.paused else stage.share,
        "base": rollout.base,
        "version": rollout.version,
        "changes": {name: list(pair) for name, pair in rollout.changes.items()},
        "author": rollout.author,
        "reason": rollout.reason,
        "begun": rollout.begun,
        "verdict": rollout.verdict,
        "sentence": rollout.sentence,
        "figures": dict(rollout.figures),
        "log": [note._asdict() for note in rollout.log],
    }
