"""What ``poet experiment`` does with a store; returns the document. Nothing is printed here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from poet.cli import views
from poet.cli.commands import parse_values
from poet.cli.experiment_words import Wanted
from poet.cli.find import find, short_name
from poet.cli.views import Document
from poet.errors import ConfigurationError, nearest
from poet.model.experiment import CONTROL, Experiment, Rules, Strategy, strategy
from poet.model.function import FunctionKey
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Store
from poet.settings import person
from poet.training import experiments
from poet.training.comparing import leaderboard
from poet.training.pooling import SERIES


def act(store: Store, wanted: Wanted, now: float) -> Document:
    """Do what was asked. Raises ConfigurationError, StoreError. now: Unix time [s]."""
    records = store.functions()
    names = {record.key: short_name(record, records) for record in records}
    said: dict[str, Any] = {"author": person(), "reason": wanted.reason, "now": now}
    if wanted.action == "list":
        key = None if wanted.function is None else find(wanted.function, records).key
        rows = [
            described(experiments.told(store, each, one), each, names[each])
            for each, one in experiments.everything(store, key)
        ]
        return views.document("experiment", action="list", at=now, store=store.url, experiments=rows)
    if wanted.action == "leaderboard":
        return _leaderboard(store, wanted, now, names)
    if wanted.action == "start":
        record = find(wanted.function or "", records)
        arms = strategies(wanted.arms, wanted.shares, record)
        rules = Rules(**dict(wanted.rules))
        made = experiments.start(store, record, arms, rules, **said)
        return _one(store, "start", made, record.key, names[record.key], now)
    found = experiments.find(store, wanted.name)
    key, made = found.record.key, found.experiment
    if wanted.action == "stop":
        made = experiments.stop(store, wanted.name, **said)
    elif wanted.action == "resume":
        made = experiments.resume(store, wanted.name, **said)
    elif wanted.action == "promote":
        made = experiments.promote(store, wanted.name, wanted.arm, **said)
    elif wanted.action == "change":
        changed = _changed(made, wanted, found.record)
        made = experiments.change(store, wanted.name, arms=changed, rules=dict(wanted.rules), **said)
    return _one(store, wanted.action, made, key, names[key], now)


def strategies(texts: tuple[str, ...], shares: tuple[str, ...], record: FunctionRecord) -> list[Strategy]:
    """Arms as they were typed. Raises ConfigurationError."""
    if not texts:
        raise ConfigurationError("say at least one arm, for instance --arm quick:timeout=2,retries=1")
    arms = [_strategy(text, record) for text in texts]
    if len(arms) == 1 and arms[0].kind != "live":
        arms.insert(0, Strategy(name=CONTROL, kind="live"))
    return _with_shares(arms, shares)


def _strategy(text: str, record: FunctionRecord) -> Strategy:
    name, mark, said = text.partition(":")
    if not mark or said == CONTROL:
        return strategy(name, CONTROL)
    parts = tuple(said.split(","))
    options: dict[str, Value] = {}
    if any(part.partition("=")[0].strip() == "learner" for part in parts):
        for part in parts:
            option, equals, value = (each.strip() for each in part.partition("="))
            if not (equals and value):
                raise ConfigurationError(f"--arm {name}: takes name=value, got {part!r}; for instance learner=basic")
            options[option] = value if option == "learner" else _number(name, option, value)
        return strategy(name, options)
    return strategy(name, parse_values(parts, record.declared, f"--arm {name}:", record.choices))


def _number(arm: str, option: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigurationError(f"--arm {arm}: {option} must be a number, got {text!r}") from None


def _with_shares(arms: list[Strategy], shares: tuple[str, ...]) -> list[Strategy]:
    names = [arm.name for arm in arms]
    for text in shares:
        name, equals, value = (each.strip() for each in text.partition("="))
        if not equals or name not in names:
            raise ConfigurationError(f"--share takes NAME=SHARE of an arm, got {text!r}: {nearest(name, names)}")
        place = names.index(name)
        arms[place] = replace(arms[place], share=_number(name, "share", value))
    return arms


def _changed(old: Experiment, wanted: Wanted, record: FunctionRecord) -> list[Strategy]:
    if wanted.arms:
        return strategies(wanted.arms, wanted.shares, record)
    silent = not wanted.shares
    kept = [replace(arm, versions=(), ended="", share=arm.share if silent else 0.0) for arm in old.arms]
    return _with_shares(kept, wanted.shares)


def described(experiment: Experiment, function: FunctionKey, short: str) -> Document:
    """One as a document tells it."""
    return {
        "id": experiment.name,
        "name": function.name,
        "short_name": short,
        "phase": experiment.phase,
        "why": experiment.why or None,
        "verdict": experiment.verdict,
        "winner": experiment.winner or None,
        "promoted": experiment.promoted or None,
        "metric": experiment.rules.metric,
        "rules": {name: getattr(experiment.rules, name) for name in Rules.__dataclass_fields__},
        "arms": [
            {
                "name": arm.name,
                "kind": arm.kind,
                "strategy": arm.told,
                "share": arm.share,
                "version": arm.version or None,
                "ended": arm.ended or None,
            }
            for arm in experiment.arms
        ],
        "begun": experiment.begun,
        "ended": experiment.ended or None,
        "author": experiment.author,
        "reason": experiment.reason,
        "replaces": experiment.replaces or None,
        "sentence": experiment.sentence,
        "figures": dict(experiment.figures),
        "log": [{"at": note.at, "what": note.what, "why": note.why} for note in experiment.log],
    }


def _one(store: Store, action: str, made: Experiment, key: FunctionKey, short: str, now: float) -> Document:
    told = experiments.told(store, key, made)
    kept = store.documents(SERIES, key, name=made.name)
    series: Mapping[str, Any] = json.loads(kept[0].body) if kept else {"points": []}
    points = [
        {"at": at, "calls": calls, "effects": [{"value": v, "low": low, "high": high} for v, low, high in effects]}
        for at, calls, effects in series["points"]
    ]
    return views.document(
        "experiment",
        action=action,
        at=now,
        store=store.url,
        experiment={**described(told, key, short), "waiting": experiments.waiting(store, key, told) or None},
        series=points,
    )


def _leaderboard(store: Store, wanted: Wanted, now: float, names: Mapping[FunctionKey, str]) -> Document:
    if not 0 < wanted.level < 1:
        raise ConfigurationError(f"level must be in (0, 1), got {wanted.level!r}")
    told = [(names[key], experiments.told(store, key, one)) for key, one in experiments.everything(store)]
    board = leaderboard(told, wanted.level)
    return views.document("experiment", action="leaderboard", at=now, store=store.url, level=wanted.level, **board)
