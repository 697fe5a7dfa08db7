"""How a document of ``views`` looks to people. Text only: nothing that a store holds is taken for markup."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import tzinfo
from types import MappingProxyType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from poet.cli import words
from poet.cli.views import NEWEST, Diff, Document
from poet.model.drawing import Bin, Mark, over_seconds, window
from poet.model.explanation import MARKED

WIDE = 124  # columns from which the reason of the last change fits beside the figures
BAR = 30  # longest bar [columns]
WIDEST = 100  # picture [columns]
SPREAD = 20.0  # ratio of longest to shortest span from which bars show ratios instead of spans

SNIPPET = """\
from urllib.request import urlopen
from poet import poet, remaining

@poet(enable_training=True)
def fetch(url: str) -> bytes:
    return urlopen(url, timeout=remaining()).read()"""

_TRYING = {"rollout": "roll-out", "experiment": "experiment"}
_SHED = "not made, as a breaker was open or a limit reached"
_UNREAD = "the calls of the last hour cannot be read; poet doctor says why"
_LISTENING = (
    "no retries and no copies are sent, to see whether our own load makes first attempts slow; poet explain tells"
)
_CONVERGED = "yes: further learning is worth less than it costs"
_NOT_CONVERGED = "not yet, or not any more: what is not known may be worth more than finding it out costs"
ORDERED = "the store is away: processes on this host follow at once, and the store gets it when it is back"
STATE_STYLES = {
    "learning": "green",
    "paused": "yellow",
    "off": "yellow",
    "defaults": "yellow",
    "pinned": "cyan",
    "declared only": "dim",
    "no calls": "dim",
}


Page = Callable[[Document, int, tzinfo | None], Iterable[RenderableType]]


def show_page(
    doc: Document, console: Console, zone: tzinfo | None = None, further: Mapping[str, Page] = MappingProxyType({})
) -> None:
    """Print the page of a document. further: pages that stand elsewhere, by command; they come first."""
    for part in (further.get(doc["command"]) or _PAGES[doc["command"]])(doc, console.width, zone):
        console.print(part)


def _say(text: str, style: str = "") -> Text:
    return Text(text, style=style, overflow="fold")


def _table(*headers: str, right: Iterable[str] = ()) -> Table:
    """A table without frames; the columns named in ``right`` are figures."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold", show_header=any(headers))
    numeric = set(right)
    for header in headers:
        table.add_column(
            header, justify="right" if header in numeric else "left", no_wrap=header in numeric, overflow="fold"
        )
    return table


def _facts(rows: Iterable[tuple[str, str]]) -> Table:
    table = _table("", "")
    for name, text in rows:
        table.add_row(_say(name, "dim"), _say(words.printable(text)))
    return table


def _indented(part: RenderableType) -> Padding:
    return Padding(part, (0, 0, 0, 2))


# --- status ----------------------------------------------------------------------------------------------------------


def _status(doc: Document, width: int, _: tzinfo | None) -> Iterable[RenderableType]:
    rows, now = doc["functions"], doc["at"]
    if rows:
        yield _status_table(rows, now, wide=width >= WIDE)
        changed = [row for row in rows if row["last_change"]]
        if changed and width < WIDE:
            yield Text()
            yield _say("last changes", "bold")
            table = _table("", "", "")
            for row in changed:
                change = row["last_change"]
                said = words.first_words(change["reason"], max(20, width - 40))
                table.add_row(_name(row["short_name"]), _say(words.ago(change["at"], now)), _say(said))
            yield _indented(table)
    else:
        yield _say("nothing yet: no function has been recorded in this store.")
        yield _say("Decorate one, call it, and look here again:\n")
        yield _indented(_say(SNIPPET))
    yield Text()
    yield _facts(_below(doc))


def _name(name: str) -> Text:
    return Text(words.printable(name), overflow="fold")


def _status_table(rows: Sequence[Document], now: float, *, wide: bool) -> Table:
    headers = ["function", "state", "calls", "good", "mean", "v", "timeout", "retries", "last call"]
    table = _table(*headers, *(["last change"] if wide else []), right=("calls", "good", "mean", "v"))
    for header in ("timeout", "retries", "last call"):
        table.columns[headers.index(header)].no_wrap = True
    for row in rows:
        cells: list[RenderableType] = [
            _name(row["name"] if wide else row["short_name"]),
            _say(row["state"], STATE_STYLES.get(row["state"], "")),
            words.count(row["calls"]),
            words.share(row["success"]),
            words.NOTHING if row["mean_seconds"] is None else words.span(row["mean_seconds"]),
            str(row["version"]),
            *(
                words.change(name, row["declared"].get(name), row["live"].get(name)).replace(" → ", "→")
                for name in ("timeout", "retries")
            ),
            words.ago(row["last_call"] or 0, now),
        ]
        if wide:
            change = row["last_change"]
            cells.append(
                _say(f"{words.ago(change['at'], now)}: {words.first_words(change['reason'], 40)}")
                if change
                else words.NOTHING
            )
        table.add_row(*cells)
    return table


def _below(doc: Document) -> Iterable[tuple[str, str]]:
    fare, now = doc["processes"], doc["at"]
    yield "processes", f"{fare['alive']} seen in the last minute, {fare['seen_today']} within a day"
    yield "dropped", words.plural(fare["dropped"], "execution")
    if doc["away"] or fare["away"]:
        since = words.ago(min(filter(None, (doc["away"], fare["away"]))), now)
        yield "away", f"the store could not be reached, first noticed {since}; this is what was known here last"
    if fare["spooled"]:
        yield "spooled", f"{words.plural(fare['spooled'], 'execution')} wait until it can be reached"
    seen = [(words.printable(row["short_name"]), row["recent"]) for row in doc["functions"]]
    shed = [f"{name} {n['shed']} of {words.plural(n['calls'], 'call')}" for name, n in seen if n and n["shed"]]
    if shed:
        yield "shed", f"{', '.join(shed)}: {_SHED}"
    hedged = [f"{name} {words.requests(n['requests'], n['hedges'])}" for name, n in seen if n and n["hedges"]]
    if hedged:
        yield "hedged", "; ".join(hedged)
    listening = [row["short_name"] for row in doc["functions"] if row["listening"]]
    if listening:
        yield "listening", f"{', '.join(map(words.printable, listening))}: {_LISTENING}"
    converged = [row["short_name"] for row in doc["functions"] if row["converged"]]
    if converged:
        yield "converged", ", ".join(map(words.printable, converged))
    unread = [name for name, n in seen if n is None]
    if unread:
        yield "unread", f"{', '.join(unread)}: {_UNREAD}"
    said = str(fare["faults"])
    last = fare["last_fault"]
    if last:
        text = last["text"] or "no text kept"
        said += f", the last: {text} (process {last['pid']} on {last['host']}, {words.ago(last['seen'], now)})"
    yield "faults", said
    yield "store", doc["store"]


# --- show ------------------------------------------------------------------------------------------------------------


def _show(doc: Document, _: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    now = doc["at"]
    yield _say(words.printable(doc["id"]), "bold")
    yield _indented(_facts(_show_facts(doc, now, zone)))
    yield Text()
    table = _table("parameter", "declared", "live", "likely range", "from", right=("declared", "live", "from"))
    for name, row in doc["parameters"].items():
        table.add_row(
            _name(name),
            words.value(name, row["declared"]),
            words.value(name, row["live"]),
            _range(name, row["estimate"]),
            f"{row['estimate']['n']} calls" if row["estimate"] else words.NOTHING,
        )
    yield _indented(table)
    if doc["last_calls"]:
        yield Text()
        yield _say("newest calls", "bold")
        yield _indented(_calls(doc["last_calls"], now))


def _calls(calls: Sequence[Document], now: float) -> Table:
    told = any(call["context"] for call in calls)
    table = _table("when", "outcome", "took", "made", *(["features"] if told else []), right=("took",))
    for call in calls:
        table.add_row(
            words.ago(call["at"], now),
            _name(f"{call['outcome']} {call['error'] or ''}"),
            words.span(call["seconds"]),
            words.requests(call["requests"], call["hedges"]),
            *([_say(words.features(call["context"]))] if told else []),
        )
    return table


def _range(name: str, estimate: Document | None) -> str:
    if estimate is None:
        return words.NOTHING
    low, high = words.value(name, estimate["low"]), words.value(name, estimate["high"])
    return f"{low} to {high} ({words.level(estimate['level'])})"


def _tried(doc: Document) -> str:
    trying = doc["trying"]
    if trying["kind"] == "rollout":
        return f"{trying['said']}; poet rollout {_typed(doc)} tells more"
    return f"{trying['name']}; poet experiment show {trying['name']} tells more"


def _show_facts(doc: Document, now: float, zone: tzinfo | None) -> Iterable[tuple[str, str]]:
    yield "state", doc["state"]
    if doc["paused"]:
        yield "paused", f"{doc['paused']}; poet resume {_typed(doc)} lets it learn again"
    if doc["trying"]:
        yield _TRYING[doc["trying"]["kind"]], _tried(doc)
    pins = {name: row["pinned"] for name, row in doc["parameters"].items() if row["pinned"] is not None}
    if pins:
        yield "pinned", ", ".join(f"{name} {words.value(name, x)}" for name, x in pins.items())
    yield "learner", doc["learner"] or "none: the declared values are used (enable_training=True lets it learn)"
    if doc["domain"]:
        yield "domain", doc["domain"]
    goal = ", ".join(f"{name} {x:g}" for name, x in doc["objective"].items() if x is not None)
    yield "objective", goal or "the default"
    yield "calls", _counted(doc)
    recent = doc["recent"]
    if recent is None:
        yield "recent", _UNREAD
    elif recent["calls"]:
        asked = words.requests(recent["requests"], recent["hedges"])
        shed = f"; {words.plural(recent['shed'], 'call')} {_SHED}" if recent["shed"] else ""
        of = "the newest" if recent["calls"] >= NEWEST else "in the last hour"
        yield "recent", f"{words.plural(recent['calls'], 'call')}, {of}: {asked}{shed}"
    yield "last call", _when(doc["last_call"], now, zone)
    live = doc["version"]
    yield "version", f"{live['version']} of {doc['versions']}, {live['origin']} by {live['author']}"
    others = [
        f"{name.replace('_', ' ')} {alias['version']}" for name, alias in doc["aliases"].items() if name != "live"
    ]
    yield "also", ", ".join(others)
    yield "since", _when(live["created"], now, zone)
    if live["reason"]:
        yield "reason", live["reason"]
    if doc["converged"] is not None:
        yield "converged", _CONVERGED if doc["converged"] else _NOT_CONVERGED
    if doc["listening"]:
        yield "listening", f"for some {words.plural(doc['listening'], 'call')} more: {_LISTENING}"


def _counted(doc: Document) -> str:
    if not doc["calls"]:
        return "none yet"
    return (
        f"{doc['calls']}, {words.share(doc['success'])} good, {doc['failures']} without an answer,"
        f" {words.span(doc['mean_seconds'])} on average"
    )


def _when(at: float | None, now: float, zone: tzinfo | None) -> str:
    return f"{words.moment(at, zone)} ({words.ago(at, now)})" if at else "never"


# --- explain ---------------------------------------------------------------------------------------------------------


def _explain(doc: Document, width: int, _: tzinfo | None) -> Iterable[RenderableType]:
    yield _say(words.printable(doc["id"]), "bold")
    live = ", ".join(f"{name} {words.value(name, x)}" for name, x in doc["live_values"].items())
    yield _indented(_say(words.printable(f"version {doc['version']['version']} is live: {live}")))
    if doc["version"]["reason"]:
        yield _indented(_say(words.printable(f"because: {doc['version']['reason']}")))
    if doc["known"]:
        yield _indented(_say(f"learned from {words.plural(doc['executions'], 'call')}"))
    for text in _cautions(doc):
        yield _indented(_say(words.printable(text), "yellow"))
    if doc["latency"] or doc["unanswered"] > 0:  # not a number where nothing was seen
        yield Text()
        if doc["spread"]:
            yield _say("how long answers take, and what a timeout there would be worth", "bold")
            yield _indented(Group(*_picture(doc, width)))
        else:
            yield _say("how long answers take", "bold")
            yield _indented(_bars(doc))
    if doc["failure_shares"]:
        yield Text()
        yield _say("how attempts fail", "bold")
        table = _table("", "", right=())
        for name, part in doc["failure_shares"].items():
            table.add_row(_name(name), words.share(part))
        yield _indented(table)
    if doc["neighbours"]:
        yield Text()
        yield _say("what other values would give, per call", "bold")
        yield _indented(_neighbours(doc))
    if doc["sentences"]:
        yield Text()
        for sentence in doc["sentences"]:
            yield _say(words.printable(sentence))


def _cautions(doc: Document) -> Iterable[str]:
    if doc["learner"] is None:
        yield f"it does not learn: the declared values are used; {words.plural(doc['calls'], 'call')} recorded"
    elif not doc["known"]:
        yield (
            f"too little is known yet to compare values: {words.plural(doc['calls'], 'call')} recorded,"
            f" {doc['executions']} of them learned from"
        )
    if doc["paused"]:
        yield f"learning is paused: {doc['paused']}"
    if doc["pinned"]:
        yield f"pinned: {', '.join(f'{name} {words.value(name, x)}' for name, x in doc['pinned'].items())}"
    if doc["listening"]:
        yield f"listening for some {words.plural(doc['listening'], 'call')} more: {_LISTENING}"


def _picture(doc: Document, width: int) -> Iterable[Text]:
    """The distribution of the answers' latency over a logarithmic axis, and the worth of other timeouts below it."""
    live, values = doc["live"], doc["live_values"]
    marks = [(f"p{100 * q['share']:g}", q["seconds"]) for q in doc["latency"] if q["share"] in MARKED]
    marks += [("timeout", values.get("timeout", 0))]
    if values.get("hedges"):
        marks.append(("hedge", values.get("hedge_delay", 0)))
    points = [(row["values"]["timeout"], row["utility"]["value"]) for row in doc["timeouts"]]
    worths = [worth for _, worth in points]
    value = doc["objective"]["value"] if doc["objective"] else 1.0
    between = window(worths, None if live is None else live["utility"]["value"], value)
    lines = over_seconds(
        [Bin(part["low"], part["high"], part["share"]) for part in doc["spread"]],
        [Mark(seconds, f"{name} {words.span(seconds)}") for name, seconds in marks if seconds > 0],
        points,
        between,
        min(width - 2, WIDEST),
    )
    for line in lines:
        yield Text(line, style="cyan" if line.lstrip().startswith("worth") else "", no_wrap=True)
    if points:
        best = max(points, key=lambda point: point[1])
        said = f"worth per call: █ {best[1]:.3f}, best at about {words.span(best[0])}; ▁ {between[0]:.3f} and less"
        yield _say(said, "dim")
    if doc["unanswered"] > 0:
        yield _say(f"{words.share(doc['unanswered'])} not answered within {words.span(doc['longest'])}")


def _bars(doc: Document) -> RenderableType:
    """Each quantile as a bar, the live timeout among them, so that what it cuts off is seen at a glance."""
    rows = [(f"{words.level(q['share'])} within", q["seconds"], "") for q in doc["latency"]]
    timeout = doc["live_values"].get("timeout")
    if isinstance(timeout, int | float) and timeout > 0:
        rows.append(("timeout", timeout, "cyan"))
        rows.sort(key=lambda row: row[1])
    lengths = bar_lengths([seconds for _, seconds, _ in rows])
    table = _table("", "", "")
    for (label, seconds, style), length in zip(rows, lengths, strict=True):
        table.add_row(_say(label, style), Text("█" * length, style=style, no_wrap=True), words.span(seconds))
    parts: list[RenderableType] = [table]
    if doc["unanswered"] > 0:
        parts.append(_say(f"{words.share(doc['unanswered'])} not answered within {words.span(doc['longest'])}"))
    if _ratios([seconds for _, seconds, _ in rows]):
        parts.append(_say("(each bar's length shows the order of magnitude)", "dim"))
    return Group(*parts)


def _ratios(spans: Sequence[float]) -> bool:
    positive = [x for x in spans if x > 0 and math.isfinite(x)]
    return bool(positive) and max(positive) > SPREAD * min(positive)


def bar_lengths(spans: Sequence[float], longest: int = BAR) -> list[int]:
    """Columns of each bar: in proportion, or to a log scale where the spans differ by more than ``SPREAD``.

    spans: >= 0 [s].
    >>> bar_lengths([0.5, 1.0], 10), bar_lengths([0.01, 0.1, 1.0], 30), bar_lengths([0.0])
    ([5, 10], [10, 20, 30], [0])
    """
    positive = [x for x in spans if x > 0 and math.isfinite(x)]
    if not positive:
        return [0 for _ in spans]
    low, high = min(positive), max(positive)
    if not _ratios(spans):
        return [max(1, round(longest * x / high)) if 0 < x < math.inf else 0 for x in spans]
    # One order of magnitude more than there is: the shortest bar stands for it, so that none vanishes.
    orders = math.log10(high) - math.log10(low) + 1
    steps = [math.log10(x) - math.log10(low) + 1 if 0 < x < math.inf else 0 for x in spans]
    return [max(1, round(longest * step / orders)) if step else 0 for step in steps]


def _neighbours(doc: Document) -> Table:
    live = [doc["live"]] if doc["live"] else []
    names = list(dict.fromkeys(name for row in [*live, *doc["neighbours"]] for name in row["values"]))
    figures = ("worth", "better by", "good", "takes", "requests")
    headers = [words.printable(name) for name in names]
    table = _table(*headers, "worth", "range", *figures[1:], right=(*headers, *figures))
    for row in [*live, *doc["neighbours"]]:
        utility, is_live = row["utility"], row in live
        difference = row["difference"]
        table.add_row(
            *(words.value(name, row["values"].get(name)) for name in names),
            f"{utility['value']:.3f}",
            f"{utility['low']:.3f} to {utility['high']:.3f}",
            "live" if is_live else words.NOTHING if difference is None else f"{difference:+.3f}",
            words.share(row["success"]),
            words.span(row["seconds"]),
            f"{row['requests']:.2f}",
            style="cyan" if is_live else "",
        )
    return table


# --- replay ----------------------------------------------------------------------------------------------------------

_FIGURES = {
    "success": "good",
    "seconds": "takes",
    "p50": "half within",
    "p99": "99 % within",
    "requests": "requests",
    "utility": "worth",
}


def _similar(doc: Document, _: int, __: tzinfo | None) -> Iterable[RenderableType]:
    yield _say(words.printable(doc["function"]), "bold")
    if not doc["similar"]:
        yield _indented(_say("no other function is known"))
    for each in doc["similar"]:
        yield Text()
        helps = each["helps"]
        title = Text(f"{words.share(helps['value'])}  ")
        title.append(words.printable(each["name"]), style="bold")
        title.append(f"  its learning helps: {words.share(helps['low'])} to {words.share(helps['high'])}", style="dim")
        yield _indented(title)
        for sentence in each["sentences"]:
            yield _indented(_indented(_say(words.printable(sentence))))
    yield Text()
    taught = (
        "weights as they were fitted once" if not doc["outcomes"] else f"{words.plural(doc['outcomes'], 'transfer')}"
    )
    yield _say(f"of {words.plural(doc['known'], 'function')} that are known; {taught}", "dim")
    for name, why in doc["refused"].items():
        yield _say(f"{words.printable(name)}: known by its name alone, as its fingerprint was refused: {why}", "yellow")


def _replay(doc: Document, _: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    yield _say(words.printable(doc["id"]), "bold")
    live = doc["live_values"]
    said = ", ".join(
        f"{name} {words.value(name, x)}"
        + ("" if name not in live or live[name] == x else f" (live: {_live(doc, name)})")
        for name, x in doc["values"].items()
        if x or name not in ("hedges", "hedge_delay") or live.get("hedges")
    )
    yield _indented(_say(f"replayed with {said}"))
    if doc["calls"]:
        between = f"{words.moment(doc['first'], zone)} to {words.moment(doc['last'], zone)}"
        yield _indented(_say(f"{words.plural(doc['calls'], 'call')}, {between}"))
        yield Text()
        table = _table(
            "per call", "recorded", "replayed", "range", "at least", "at most", right=("recorded", "replayed")
        )
        for name, row in doc["figures"].items():
            new = row["replayed"]
            cells = [_figure(name, x) for x in (row["recorded"], new["value"], row["lowest"], row["highest"])]
            exact = row["lowest"] == row["highest"]
            within = "exact" if exact else f"{_figure(name, new['low'])} to {_figure(name, new['high'])}"
            table.add_row(_FIGURES[name], *cells[:2], within, *(["", ""] if exact else cells[2:]))
        yield _indented(table)
        yield Text()
    for sentence in doc["sentences"]:
        yield _say(words.printable(sentence))


def _live(doc: Document, name: str) -> str:
    return words.value(name, doc["live_values"].get(name))


def _figure(name: str, x: float) -> str:
    if name == "success":
        return words.share(x)
    return words.span(x) if name in ("seconds", "p50", "p99") else f"{x:.3f}"


# --- analyze ---------------------------------------------------------------------------------------------------------

_KIND_STYLES = {
    "incident": "red",
    "change": "yellow",
    "effect": "green",
    "daily": "green",
    "cluster": "cyan",
    "relation": "cyan",
}
MOST_UNTOLD = 5  # functions of which it is said what could not be found out


def _analyze(doc: Document, _: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    calls, many = sum(row["calls"] for row in doc["functions"]), len(doc["functions"])
    between = [row[end] for row in doc["functions"] for end in ("first", "last") if row[end] is not None]
    spanned = f", {words.moment(min(between), zone)} to {words.moment(max(between), zone)}" if between else ""
    yield _say(
        f"{words.plural(len(doc['insights']), 'finding')} in {words.count(calls)} calls of "
        f"{words.plural(many, 'function')}{spanned}",
        "bold",
    )
    shown = doc["insights"][: doc["top"]]
    for number, insight in enumerate(shown, start=1):
        yield Text()
        title = Text(f"{number:2}. ")
        title.append(insight["kind"], style=_KIND_STYLES.get(insight["kind"], ""))
        title.append(f"  {words.printable(insight['name'])}", style="bold")
        yield title
        yield _indented(_indented(_say(words.printable(_sentence(insight["sentence"])))))
        for line in insight["picture"]:
            yield _indented(_indented(Text(line, style="dim", no_wrap=True)))
        yield _indented(_indented(_say(f"→ {words.printable(insight['action'])}")))
    if len(doc["insights"]) > len(shown):
        yield Text()
        yield _say(f"{len(doc['insights']) - len(shown)} more with --top {len(doc['insights'])}", "dim")
    yield from _not_told(doc)
    for done in doc["applied"]:
        said = _values(done["values"])
        if done["version"] is not None:
            how = "is rolled out" if done["rollout"] else "went live"
            yield _say(f"{words.printable(done['function'])}: {said} {how} as version {done['version']}", "green")
        else:
            yield _say(
                f"{words.printable(done['function'])}: {said} left alone: {words.printable(done['left'])}", "yellow"
            )
    if doc["applying"] and not doc["applied"]:
        yield Text()
        yield _say("nothing was applied: no values are proved to be better for all calls", "dim")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _not_told(doc: Document) -> Iterable[RenderableType]:
    silent = [row for row in doc["functions"] if row["untold"] or row["left_out"]]
    if silent:
        yield Text()
    for row in silent[:MOST_UNTOLD]:
        left = [f"{n} calls left out, {reason}" for reason, n in row["left_out"].items()]
        yield _say(words.printable(f"{row['name']}: {'; '.join([*row['untold'], *left])}"), "dim")
    if len(silent) > MOST_UNTOLD:
        yield _say(f"and of {len(silent) - MOST_UNTOLD} more functions not all could be told; --json says what", "dim")


# --- history ---------------------------------------------------------------------------------------------------------


def _history(doc: Document, _: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    yield _say(words.printable(doc["id"]), "bold")
    if doc["left_out"]:
        n = doc["left_out"]
        yield _say(f"  {n} older {'entry is' if n == 1 else 'entries are'} left out", "dim")
    table = _table("when", "what", "change and reason")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    for entry in doc["entries"]:
        table.add_row(
            Group(words.moment(entry["at"], zone), _say(words.ago(entry["at"], doc["at"]), "dim")),
            _what(entry, doc["live"]),
            Group(*_details(entry)),
        )
    yield _indented(table)


def _what(entry: Document, live: int) -> Text:
    number = entry["version"]
    names = {
        "publish": f"v{number} {entry['origin']}",
        "declare": f"v{number} declared",
        "pin": f"v{number} pinned",
        "import": f"v{number} imported",
        "propose": f"v{number} proposed",
        "arm": f"v{number} for an experiment",
        "vouch": f"v{number} vouched for",
    }
    text = Text(names.get(entry["action"], f"{entry['action']} v{number}"))
    if number == live and entry["origin"]:
        text.append(" (live)", style="green")
    return text


def _details(entry: Document) -> Iterable[Text]:
    if entry["diff"]:
        yield _say(_diff_line(entry["diff"]))
    elif entry["parent"] is None and entry["values"]:
        yield _say(", ".join(f"{words.printable(name)} {words.value(name, x)}" for name, x in entry["values"].items()))
    if entry["reason"]:
        yield _say(words.printable(entry["reason"]))
    evidence = f", from {words.plural(entry['evidence'], 'call')}" if entry["evidence"] else ""
    yield _say(words.printable(f"by {entry['author']}{evidence}"), "dim")


def _diff_line(diff: Mapping[str, Any], *, exact: bool = False) -> str:
    pairs: Diff = {name: (pair[0], pair[1]) for name, pair in diff.items()}
    return words.changes(pairs, exact=exact)


# --- commands that change something ----------------------------------------------------------------------------------


def _steered(doc: Document, _: int, __: tzinfo | None) -> Iterable[RenderableType]:
    command, name = doc["command"], words.printable(doc["name"])
    before, after = doc["before"], doc["after"]
    headline = {
        "rollback": f"{name}: version {before['version']} → {after['version']}",
        "pin": f"{name}: pinned {_values(doc['pinned'])}",
        "unpin": f"{name}: pins lifted ({_values(doc['pinned_before'])})",
        "pause": f"{name}: learning is paused: {words.printable(doc['paused'])}",
        "resume": f"{name}: learning goes on",
    }
    idle = {
        "unpin": f"{name}: nothing was pinned",
        "pause": f"{name}: was paused already: {words.printable(doc['paused'])}",
        "resume": f"{name}: was not paused",
    }
    yield _say(headline[command] if doc["done"] else idle.get(command, f"{name}: nothing to do"), "bold")
    if command in ("rollback", "pin"):
        names = list(dict.fromkeys([*before["values"], *after["values"]]))
        table = _table("parameter", f"before (v{before['version']})", f"now (v{after['version']})", "")
        for parameter in names:
            pair = [words.value(parameter, side["values"].get(parameter), exact=True) for side in (before, after)]
            table.add_row(_name(parameter), *pair, "changed" if parameter in doc["diff"] else "")
        yield _indented(table)
    for line in _next_steps(doc):
        yield _indented(_say(line, "dim"))


def _values(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{words.printable(name)} {words.value(name, x, exact=True)}" for name, x in values.items())


def _typed(doc: Document) -> str:
    """The function's name as one would type it into a shell."""
    return words.printable(shlex.quote(doc["short_name"]))


def _next_steps(doc: Document) -> Iterable[str]:
    name, before = _typed(doc), doc["before"]["version"]
    if not doc["done"] or doc.get("planned"):
        return
    if doc["command"] == "rollback":
        lifted = {name: x for name, x in doc["pinned_before"].items() if name not in doc["pinned"]}
        if lifted:
            yield f"pins lifted, as this version has other values: {_values(lifted)}"
        yield f"learning is paused: {words.printable(doc['paused'])}" if doc["paused"] else "learning goes on"
        if not doc.get("undone"):
            yield f"undo:   poet rollback --undo {name}"
            yield f"or:     poet rollback {name} --to {before}"
        if doc["paused"]:
            yield f"resume: poet resume {name}"
    elif doc["command"] == "pin":
        yield f"learning leaves these values alone; poet unpin {name} frees them"
    elif doc["command"] == "unpin":
        yield "the values stay until learning finds better ones"
    elif doc["command"] == "pause":
        yield f"poet resume {name} lets it learn again"
    if doc["paused"] and doc["command"] in ("pin", "unpin"):
        yield f"learning is still paused: {words.printable(doc['paused'])}; poet resume {name}"
    yield ORDERED if doc.get("ordered") else "running processes take it over by themselves"


def _steered_all(doc: Document, width: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    verb = {"pause": "paused", "resume": "resumed"}[doc["command"]]
    done = [part for part in doc["functions"] if part["done"]]
    rest = len(doc["functions"]) - len(done)
    idle = {"pause": "paused already", "resume": "not paused before"}[doc["command"]]
    yield _say(f"{verb} {words.plural(len(done), 'function')}" + (f"; {rest} {idle}" if rest else ""), "bold")
    for part in done:
        yield _indented(_name(part["name"]))
    if doc.get("ordered"):
        yield _say(ORDERED, "dim")
    if doc["command"] == "pause":
        yield _say("functions recorded from now on still learn; POET_LEARNING=observe holds all of a process", "dim")


# --- export and import -----------------------------------------------------------------------------------------------


def _exported(doc: Document, _: int, __: tzinfo | None) -> Iterable[RenderableType]:
    functions = doc["functions"]
    said = words.plural(len(functions), "function")
    if doc["kind"] == "executions":
        yield _say(f"{words.plural(doc['rows'], 'execution')} of {said}: {words.printable(doc['output'])}", "bold")
        return
    yield _say(f"parameters of {said}: {words.printable(doc['output'])}", "bold")
    table = _table("function", "v", "origin", "from", "learner", right=("v", "from"))
    for row in functions:
        live = row["version"]
        evidence = words.plural(live["evidence"], "call") if live["evidence"] else words.NOTHING
        knowledge = "what it knows" if row["knowledge"] else words.NOTHING
        table.add_row(_name(row["short_name"]), str(live["version"]), live["origin"], evidence, knowledge)
    yield _indented(table)
    yield _indented(_say(f"there: poet import {words.printable(shlex.quote(doc['output']))}", "dim"))


def _imported(doc: Document, _: int, __: tzinfo | None) -> Iterable[RenderableType]:
    if not doc["sources"]:
        yield _say(f"nothing to import in {', '.join(map(words.printable, doc['paths']))}", "bold")
        return
    taken = [part for part in doc["functions"] if part["taken"]]
    counted = sum(part["executions"] for told in doc["executions"] for part in told["taken"])
    verb = "would take" if doc["dry_run"] else "took"
    parameters = f"parameters of {words.plural(len(taken), 'function')}"
    yield _say(f"{verb} {parameters}" + (f" and {words.plural(counted, 'execution')}" if counted else ""), "bold")
    for part in taken:
        yield _indented(_name(part["name"]))
        yield _indented(_indented(_say(_changed(part))))
        notes = [part["why"], *part["notes"], *(["what its learner knows came along"] if part["knowledge"] else [])]
        for note in notes:
            yield _indented(_indented(_say(words.printable(note), "dim")))
    left = [part for part in doc["functions"] if not part["taken"]]
    if left or any(source["kind"] == "sums" for source in doc["sources"]):
        yield _say("left", "bold")
    for part in left:
        yield _indented(_name(part["name"] or part["file"]))
        for note in (part["why"], *part["notes"]):
            yield _indented(_indented(_say(words.printable(note), "dim")))
    for file in (source["file"] for source in doc["sources"] if source["kind"] == "sums"):
        yield _indented(_name(file))
        yield _indented(_indented(_say("sums only, which the executions give again", "dim")))
    for told in doc["executions"]:
        yield _say(words.printable(told["file"]), "bold")
        yield _indented(_facts(_told(told)))


def _changed(part: Document) -> str:
    if part["before"] is None:
        return _values(part["after"])
    return _diff_line(part["diff"], exact=True)


def _told(told: Document) -> Iterable[tuple[str, str]]:
    for part in told["taken"]:
        fresh = "" if part["new"] is None else f", {part['new']} of them new"
        yield "taken", f"{words.plural(part['executions'], 'execution')} of {part['name']}{fresh}"
    for part in told["left"]:
        yield "left", f"{words.plural(part['executions'], 'execution')}: {part['why']}"
    if told["bad"]:
        yield "unusable", words.plural(told["bad"], "line")
    for line in told["bad_lines"]:
        yield "", f"line {line['number']}: {line['why']}"
    if told["bad"] > len(told["bad_lines"]):
        yield "", f"and {told['bad'] - len(told['bad_lines'])} more"


# --- doctor ----------------------------------------------------------------------------------------------------------


def _maintained(doc: Document, _: int, __: tzinfo | None) -> Iterable[RenderableType]:
    yield _facts(
        (
            ("executions", f"{doc['expired']} deleted, older than {doc['keep_executions']:g} days; they stay counted"),
            ("hours", f"{doc['hours']} deleted, older than {doc['keep_hours']:g} days"),
            ("chunks", f"{doc['merged']} small ones put together"),
            ("scores", f"{doc['scored']} written to their executions"),
            ("store", doc["store"]),
        )
    )


def _doctor(doc: Document, _: int, __: tzinfo | None) -> Iterable[RenderableType]:
    table = _table("", "", "")
    for finding in doc["findings"]:
        mark = Text("ok", style="green") if finding["ok"] else Text("NOT OK", style="bold red")
        table.add_row(mark, _name(finding["what"]), _say(words.printable(finding["detail"])))
    yield table
    yield Text()
    yield _say("settings", "bold")
    settings = _table("", "", "")
    for name, row in doc["settings"].items():
        settings.add_row(name, _say(words.printable(str(row["value"]))), _say(words.printable(row["source"]), "dim"))
    yield _indented(settings)
    yield Text()
    yield _say(", ".join(f"{name} {version}" for name, version in doc["software"].items()), "dim")
    wrong = sum(not finding["ok"] for finding in doc["findings"])
    if wrong:
        yield _say(f"{words.plural(wrong, 'finding')} to mend", "bold red")
    else:
        yield _say("all is well", "green")


def _one_or_all(doc: Document, width: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    return (_steered_all if "functions" in doc else _steered)(doc, width, zone)


_PAGES: dict[str, Page] = {
    "status": _status,
    "show": _show,
    "explain": _explain,
    "similar": _similar,
    "replay": _replay,
    "analyze": _analyze,
    "history": _history,
    "rollback": _steered,
    "pin": _steered,
    "unpin": _steered,
    "pause": _one_or_all,
    "resume": _one_or_all,
    "export": _exported,
    "import": _imported,
    "maintain": _maintained,
    "doctor": _doctor,
}
