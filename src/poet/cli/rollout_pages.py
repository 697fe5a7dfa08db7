"""How the document of ``poet rollout`` looks to people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from math import exp, log

from rich.console import RenderableType
from rich.text import Text

from poet.cli import words
from poet.cli.pages import _indented, _say, _table
from poet.cli.views import Document

STYLES = {"harm": "bold red", "safe": "green"}
PHASES = {"done": "green", "rolled back": "red", "withdrawn": "yellow"}


def page(doc: Document, _: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    """Newest first: where it stands, what it changes, what the guards say, what has happened."""
    if "name" in doc:
        yield _say(words.printable(doc["id"]), "bold")
    if not doc["rollouts"]:
        yield _say("nothing was rolled out yet; what is learned, or proposed by hand, is shown here", "dim")
        return
    for told in doc["rollouts"]:
        yield Text()
        yield from _one(told, doc, zone)
    if doc["left_out"]:
        yield _say(f"{doc['left_out']} older ones are left out; name a function to see its own", "dim")


def _one(told: Document, doc: Document, zone: tzinfo | None) -> Iterable[RenderableType]:
    line = Text(f"v{told['base']} -> v{told['version']}  ", style="bold")
    if "name" not in doc:
        line = Text(f"{words.printable(told['short_name'])}  ", style="bold").append_text(line)
    line.append(_where(told), style="yellow" if told["paused"] else PHASES.get(told["phase"], "cyan"))
    yield line
    diff = {name: (before, after) for name, (before, after) in told["changes"].items()}
    yield _indented(_say(words.printable(words.changes(diff))))
    yield _indented(_say(words.printable(told["sentence"] or "nothing is known yet"), STYLES.get(told["verdict"], "")))
    if "name" not in doc:
        return
    guards = told["figures"].get("guards", {})
    if guards:
        table = _table("guard", "says", "with it, against without", "evidence of harm", "enough")
        for name, guard in guards.items():
            ratio = "" if guard["value"] is None else _compared(name, guard["value"])
            table.add_row(
                name,
                Text(guard["verdict"], style=STYLES.get(guard["verdict"], "dim")),
                ratio,
                f"{guard['log_e']:.1f} nats" if guard["log_e"] is not None else "",
                f"{_nats(guard['alpha']):.1f}",
            )
        yield _indented(table)
    for note in told["log"]:
        why = words.first_words(words.printable(note["why"]), 160)
        moment = words.moment(note["at"], zone)
        yield _indented(_say(f"{moment.plain if isinstance(moment, Text) else moment}  {note['what']}: {why}", "dim"))


def _where(told: Document) -> str:
    if told["paused"]:
        return f"{told['phase']}, paused ({words.printable(told['paused'])})"
    return told["phase"] if told["share"] is None else f"{told['phase']} at {100 * told['share']:.3g} %"


def _compared(name: str, value: float) -> str:
    """How many times as likely, as long or as many; of scores the difference."""
    if name == "score":
        return f"{-value:+.3g}"
    return f"x {exp(value) if name in ('latency', 'requests') else value:.3g}"


def _nats(alpha: float) -> float:
    return -log(alpha)


PAGES = {"rollout": page}
