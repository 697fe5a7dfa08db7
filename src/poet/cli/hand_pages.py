"""How rollbacks and flags look to people: pages beside those of ``pages``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from poet.cli import words
from poet.cli.pages import _diff_line, _indented, _say, _steered, _table, _typed
from poet.cli.views import Document

SHOWN = 5  # hosts and processes that are named


def _rolled_back(doc: Document, width: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    if "functions" in doc:
        yield from _all_rolled_back(doc)
        return
    if doc.get("ok") is False:
        yield _say("nothing was changed", "bold")
        return
    yield from _steered(doc, width, zone)
    for line in _touched(doc):
        yield _indented(_say(line, "dim"))


def _touched(doc: Document) -> Iterable[str]:
    """Whom it touches, in words."""
    radius = doc["radius"]
    calls, processes = radius["calls"], radius["processes"]
    hosts = [words.printable(host) for host in radius["hosts"]]
    named = ", ".join(hosts[:SHOWN]) + (f" and {len(hosts) - SHOWN} more" if len(hosts) > SHOWN else "")
    use = f"{words.plural(len(processes), 'process')} on {words.plural(len(hosts), 'host')} ({named})"
    if calls is None:
        yield f"touches: {use if hosts else 'no process that this host knows of'}; calls are not known now"
    else:
        more = "more than " if radius["more_calls"] else ""
        told = f"{more}{words.plural(calls, 'call')} within the last hour, {radius['under_live']} of them under it"
        yield f"touches: {use if hosts else 'no process that has called it lately'}; {told}"
    verb = "would end" if doc["planned"] else "ended"
    for each in doc["ends"]:
        yield f"{verb}: {each['kind']} {words.printable(each['name'])}"


def _all_rolled_back(doc: Document) -> Iterable[RenderableType]:
    parts, left = doc["functions"], doc["left"]
    verb = "would roll back" if doc["planned"] else "rolled back"
    if doc.get("ok") is False:
        yield _say("nothing was changed", "bold")
        return
    if not parts:
        yield _say("nothing to do: no function has changed since", "bold")
        return
    rest = f"; {len(left)} as they were" if left else ""
    yield _say(f"{verb} {words.plural(len(parts), 'function')}{rest}", "bold")
    table = _table("function", "version", "changes", "calls/h", right=("calls/h",))
    for part in parts:
        calls = part["radius"]["calls"]
        table.add_row(
            Text(words.printable(part["short_name"]), overflow="fold"),
            f"{part['before']['version']} → {part['after']['version']}",
            _say(_diff_line(part["diff"], exact=True)),
            words.NOTHING if calls is None else words.count(calls),
        )
    yield _indented(table)
    hosts = sorted({host for part in parts for host in part["radius"]["hosts"]})
    processes = {each["writer"] for part in parts for each in part["radius"]["processes"]}
    touched = f"{words.plural(len(processes), 'process')} on {words.plural(len(hosts), 'host')}"
    yield _indented(_say(f"touches: {touched}", "dim"))
    for part in parts:
        for each in part["ends"]:
            said = f"{part['short_name']}: {each['kind']} {each['name']}"
            yield _indented(_say(f"{'would end' if doc['planned'] else 'ended'}: {words.printable(said)}", "dim"))
    if not doc["planned"]:
        yield _indented(_say("learning of these is paused; poet resume FN lets one learn again", "dim"))
        yield _indented(_say(f"undo one: poet rollback --undo {_typed(parts[0])}", "dim"))


# --- flags -----------------------------------------------------------------------------------------------------------


def _flags(doc: Document, _: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    action = doc["action"]
    if action == "list":
        yield from _listed(doc)
    elif action == "history":
        yield from _changes(doc, zone)
    elif not doc["done"]:
        yield _say(f"{doc['flag']}: there is no such rule", "bold")
    else:
        yield _say(f"{doc['flag']}: {words.printable(_said(doc['after']))}", "bold")
        yield _indented(_say(f"before: {words.printable(_said(doc['before']))}", "dim"))
        if doc["functions"] is not None:
            yield _indented(_say(f"it names {words.plural(doc['functions'], 'function')} that this store knows", "dim"))
        yield _indented(_say("processes take it over by themselves", "dim"))


def _listed(doc: Document) -> Iterable[RenderableType]:
    table = _table("flag", "value", "from", "phases")
    for row in doc["flags"]:
        style = "" if row["value"] == row["default"] else "yellow"
        table.add_row(_say(row["name"]), _say(row["value"], style), row["source"], _say(" ".join(row["phases"]), "dim"))
    yield table
    ruled = [row for row in doc["flags"] if row["rules"]]
    if ruled:
        yield Text()
        yield _say("rules, the first that matches wins", "bold")
        rules = _table("flag", "from", "rule", "why")
        for row in ruled:
            why = row["changed"] or {}
            for rule in row["rules"]:
                said = f"{why.get('reason', '')} ({why.get('author', '')})" if rule["source"] == "row" and why else ""
                rules.add_row(
                    _say(row["name"]), rule["source"], _say(words.printable(_one(rule))), _say(words.printable(said))
                )
        yield _indented(rules)
    whom = doc["whom"]
    asked = [f"{name} {words.printable(x)}" for name, x in whom.items() if x]
    yield Text()
    yield _say(f"values for {', '.join(asked) or 'no one in particular'}; --function FN asks for one function", "dim")
    for fault in doc["faults"]:
        yield _say(words.printable(fault), "yellow")


def _changes(doc: Document, zone: tzinfo | None) -> Iterable[RenderableType]:
    if not doc["entries"]:
        yield _say("no flag was ever changed in this store", "bold")
        return
    table = _table("when", "flag", "who", "before → after", "why")
    for entry in doc["entries"]:
        table.add_row(
            words.moment(entry["at"], zone),
            entry["flag"],
            _say(words.printable(entry["author"])),
            _say(words.printable(f"{_said(entry['before'])} → {_said(entry['after'])}")),
            _say(words.printable(entry["reason"])),
        )
    yield table


def _said(rules: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(map(_one, rules)) or "no rule"


def _one(rule: Mapping[str, Any]) -> str:
    said = [f"{name} {rule[name]}" for name in ("function", "host", "tenant") if rule[name] != "*"]
    said += [f"{rule['percent']:g} %"] if rule["percent"] < 100 else []
    return f"{rule['value']} for {', '.join(said)}" if said else f"{rule['value']}"


PAGES = {"rollback": _rolled_back, "flags": _flags}
