"""How ``poet releases`` looks to people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from rich.console import RenderableType
from rich.text import Text

from poet.cli import words
from poet.cli.pages import _indented, _name, _say, _table
from poet.cli.views import Document


def _releases(doc: Document, width: int, _: tzinfo | None) -> Iterable[RenderableType]:
    if doc["action"] != "list":
        yield from _agreed(doc)
        return
    if doc["fault"]:
        yield _say(words.printable(doc["fault"]), "bold red")
    if not doc["releases"]:
        yield _say("nothing has left", "bold")
    else:
        yield from _told(doc, width)
    if doc["unread"]:
        yield _say(f"{words.plural(doc['unread'], 'record')} cannot be read")
    if doc["ledgers"]:
        yield Text()
        yield _say("spent by month", "bold")
        table = _table("function", "month", "releases", "epsilon", right=("releases", "epsilon"))
        for each in doc["ledgers"]:
            table.add_row(
                _name(each["short_name"]),
                _say(words.printable(each["month"])),
                str(each["releases"]),
                _epsilon(each["epsilon"] or None),
            )
        yield _indented(table)
    yield Text()
    yield from _rules(doc["rules"])


def _told(doc: Document, width: int) -> Iterable[RenderableType]:
    if doc["earlier"]:
        yield _say(f"the newest; {doc['earlier']} earlier ones with --last", "dim")
    table = _table("when", "function", "for", "what", "epsilon", right=("epsilon",))
    for each in doc["releases"]:
        target = words.printable(each["target"])
        whom = target.rpartition("#")[0] or target
        tenant = f" of {words.printable(each['tenant'])}" if each["tenant"] else ""
        table.add_row(
            words.ago(each["at"], doc["at"]),
            _name(each["short_name"]),
            _say(f"{whom}{tenant}"),
            _say(_what(each)),
            _epsilon(each["epsilon"]),
        )
        if each["why"] or each["by"]:
            said = f": {words.first_words(each['why'], max(20, width - 40))}" if each["why"] else ""
            table.add_row("", "", _say(f"{words.printable(each['by'])}{said}", "dim"), "", "")
    yield table


def _what(each: Document) -> str:
    """What left, in words."""
    if each["refused"]:
        return f"nothing: {words.printable(each['refused'])}"
    left = each["left"]
    try:
        if each["kind"] == "calls":
            n = sum(int(count) for _, count in left["durations"]) + sum(map(int, left["failures"].values()))
            return f"durations and failures, {n:,} calls"
        return f"tunables: {', '.join(words.printable(name) for name in left['cells'])}"
    except (KeyError, TypeError, ValueError, AttributeError):  # a record is a text that anyone may have written
        return "cannot be read; see --json"


def _epsilon(epsilon: float | None) -> str:
    return words.NOTHING if epsilon is None else f"{epsilon:g}"


def _rules(rules: Sequence[Document]) -> Iterable[RenderableType]:
    yield _say("who may have it, the first that fits decides", "bold")
    table = _table("", "", "")
    for each in rules:
        function = "all functions" if each["function"] == "*" else words.printable(each["function"])
        tenant = "all tenants" if each["tenant"] == "*" else f"tenant {words.printable(each['tenant'])}"
        table.add_row(_say(each["value"]), _say(function), _say(tenant))
    table.add_row(_say("deny", "dim"), _say("the rest", "dim"), _say("of other tenants, as no rule allows it", "dim"))
    yield _indented(table)


def _agreed(doc: Document) -> Iterable[RenderableType]:
    whom = f"{words.printable(doc['function'])} to tenant {words.printable(doc['tenant'])}"
    if not doc["done"]:
        yield _say(f"nothing to forget: there is no rule for {whom}", "bold")
    else:
        said = {"allow": "allowed", "deny": "denied", "forget": "forgotten: the rule for"}[doc["action"]]
        yield _say(f"{said} {whom}", "bold")
    yield from _rules(doc["rules"])


PAGES = {"releases": _releases}
