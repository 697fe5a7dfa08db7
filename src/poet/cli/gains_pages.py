"""How ``poet gains`` looks to people: the verdict, the figures, how it went, the changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from rich.console import RenderableType
from rich.text import Text

from poet.cli import words
from poet.cli.pages import _figure, _indented, _say, _table
from poet.cli.views import Document
from poet.model.drawing import blocks
from poet.model.figures import figures

FIGURES = {
    "success": "answered",
    "seconds": "takes",
    "p50": "half within",
    "p99": "99 % within",
    "requests": "requests",
    "utility": "worth",
}
IMPROVED = {True: ("yes", "green"), False: ("no", "red"), None: ("cannot tell", "dim")}
WIDEST = 40  # of the picture [columns]


def page(doc: Document, width: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    """Of one function, or of all."""
    return _all(doc) if "functions" in doc else _one(doc, width, zone)


def _one(doc: Document, width: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    yield _say(words.printable(doc["id"]), "bold")
    if doc["calls"]:
        between = f"{words.moment(doc['first'], zone)} to {words.moment(doc['last'], zone)}"
        yield _indented(_say(f"{words.plural(doc['calls'], 'call')}, {between}"))
    yield Text()
    verdict, *others = doc["sentences"] or [""]
    yield _say(words.printable(verdict), "bold")
    if doc["figures"]:
        yield Text()
        yield _indented(_table_of(doc))
    if doc["running"]:
        yield Text()
        yield from map(_indented, _picture(doc["running"], width))
    if doc["changes"]:
        yield Text()
        yield _indented(_changes(doc["changes"]))
    yield Text()
    for sentence in others:
        yield _say(words.printable(sentence))


def _table_of(doc: Document) -> RenderableType:
    table = _table("per call", "lived", "declared", "range", "difference", "range", right=("lived", "declared"))
    for name, row in doc["figures"].items():
        declared, difference = row["declared"], row["difference"]
        if declared is None:
            table.add_row(FIGURES[name], _figure(name, row["lived"]), words.NOTHING)
            continue
        table.add_row(
            FIGURES[name],
            _figure(name, row["lived"]),
            _figure(name, declared["value"]),
            _range(name, declared),
            _signed(name, difference["value"]),
            f"{_signed(name, difference['low'])} to {_signed(name, difference['high'])}",
        )
    return table


def _range(name: str, estimate: Document) -> str:
    return f"{_figure(name, estimate['low'])} to {_figure(name, estimate['high'])}"


def _signed(name: str, x: float) -> str:
    """A difference, its sign in front; of shares in percentage points."""
    sign = "+" if x > 0 else "-" if x < 0 else ""
    if name == "success":
        return f"{sign}{abs(x) * 100:.2f} pp"
    return sign + (words.span(abs(x)) if name in ("seconds", "p50", "p99") else f"{abs(x):.3f}")


def _picture(running: Sequence[Document], width: int) -> Iterable[Text]:
    """The running effect as a line of blocks, and where its band lies in the end."""
    columns = max(1, min(len(running), WIDEST, width - 20))
    chosen = [running[round(i * (len(running) - 1) / max(columns - 1, 1))] for i in range(columns)]
    values = [moment["gain"] for moment in chosen]
    low, high = min(*values, 0.0), max(*values, 0.0)
    yield _say(f"gain so far {blocks(values, low, high)}  {figures(low)} to {figures(high)} per call")
    last = running[-1]
    if last["low"] == last["low"]:  # a number
        yield _say(
            f"at the end  {figures(last['gain'])} [{figures(last['low'])} to {figures(last['high'])}], a band that "
            "holds at all moments together"
        )


def _changes(changes: Sequence[Document]) -> RenderableType:
    table = _table("change", "by", "predicted", "measured", "improved", "why not told")
    for change in changes:
        said, style = IMPROVED[change["improved"]]
        table.add_row(
            f"v{change['parent']} → v{change['version']}",
            change["origin"],
            _gain(change["predicted"]),
            _gain(change["measured"]),
            _say(said, style),
            _say(words.printable(change["why"]), "dim"),
        )
    return table


def _gain(estimate: Document | None) -> str:
    if estimate is None:
        return words.NOTHING
    return f"{estimate['value']:+.3g} [{figures(estimate['low'])} to {figures(estimate['high'])}]"


def _all(doc: Document) -> Iterable[RenderableType]:
    if doc["functions"]:
        table = _table("function", "calls", "gain", "range", "improved", "how known", right=("calls", "gain"))
        for row in doc["functions"]:
            gain = row["gain"]
            told = [change["improved"] for change in row["changes"] if change["improved"] is not None]
            worse = row["id"] in doc["worse"]
            table.add_row(
                _say(words.printable(row["short_name"]), "red" if worse else ""),
                words.count(row["calls"]),
                words.NOTHING if gain is None else f"{gain['value']:+.3g}",
                "" if gain is None else f"{figures(gain['low'])} to {figures(gain['high'])}",
                f"{sum(told)} of {len(told)}" if told else words.NOTHING,
                row["estimator"] or _say(words.printable(row["sentences"][-1]) if row["sentences"] else "", "dim"),
            )
        yield table
        yield Text()
    for sentence in doc["sentences"]:
        yield _say(words.printable(sentence))


PAGES = {"gains": page}
