"""How experiments look to people: health first, then the effects, how they went, and the sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import tzinfo
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from poet.cli import words
from poet.cli.pages import _facts, _indented, _say, _table
from poet.cli.views import Document
from poet.model.figures import figures
from poet.training.comparing import signed

WIDEST = 60  # of the picture [columns]
LINES = 10  # of the picture
STYLES = {"running": "green", "held": "yellow", "better": "green", "worse": "red", "harm": "red"}


def page(doc: Document, width: int, zone: tzinfo | None) -> Iterable[RenderableType]:
    """Of one experiment, of all, or of the leaderboard."""
    pages = {"list": _listed, "leaderboard": _board}
    return pages.get(doc["action"], _one)(doc, width)


def _listed(doc: Document, width: int) -> Iterable[RenderableType]:
    rows = doc["experiments"]
    if not rows:
        yield _say("no experiment yet: poet experiment start FN --arm quick:timeout=2,retries=1")
        return
    table = _table("id", "phase", "calls", "arms", "found", right=("calls",))
    for row in rows:
        found = row["sentence"] or row["why"] or words.NOTHING
        table.add_row(
            _say(row["id"]),
            _say(row["phase"], STYLES.get(row["phase"], "dim")),
            words.count(row["figures"].get("calls", 0)),
            _say(", ".join(arm["name"] for arm in row["arms"])),
            _say(words.first_words(found, max(20, width - 50))),
        )
    yield table


def _one(doc: Document, width: int) -> Iterable[RenderableType]:
    told, now = doc["experiment"], doc["at"]
    metric, found = told["metric"], told["figures"]
    phase = Text.assemble(
        (told["id"], "bold"), "  ", (told["phase"], STYLES.get(told["phase"], "")), f"  {words.printable(told['name'])}"
    )
    yield phase
    yield _indented(_facts(_about(told, now)))
    if not found:
        return
    yield Text()
    yield _say("health", "bold")
    yield _indented(_facts(_health(found, told)))
    yield Text()
    yield _say("arms", "bold")
    yield _indented(_arms(told, found))
    yield Text()
    yield _say(f"effect on the {metric}", "bold")
    yield _indented(_effects(found, metric))
    for place, effect in enumerate(found["effects"]):
        picture = list(_over_time(doc["series"], place, metric, width))
        if picture:
            yield Text()
            yield _say(f"{effect['arm']} against {effect['against']}, as the calls came in", "bold")
            yield from map(_indented, picture)
    if told["sentence"]:
        yield Text()
        yield _say(words.printable(told["sentence"]))
    for line in _next_steps(told):
        yield _say(line, "dim")


def _about(told: Document, now: float) -> Iterable[tuple[str, str]]:
    rules = told["rules"]
    dealt = {"call": "a coin for each call", "block": f"blocks of {rules['block']:g} s", "host": "by host"}
    yield (
        "begun",
        f"{words.ago(told['begun'], now)} by {told['author']}" + (f": {told['reason']}" if told["reason"] else ""),
    )
    yield "dealt by", dealt[rules["assignment"]]
    if told["replaces"]:
        yield "replaces", told["replaces"]
    if told["why"]:
        yield told["phase"], words.printable(told["why"])
    if told["waiting"]:
        yield "waits", f"all calls get what is live: {words.printable(told['waiting'])}"
    if told["winner"]:
        yield "winner", told["winner"]
    if told["promoted"]:
        yield "made live", told["promoted"]


def _health(found: Document, told: Document) -> Iterable[tuple[str, str]]:
    health = found["health"]
    e_value = figures(math.exp(min(health["sample_ratio_log_e"], 700.0)))
    if health["sample_ratio_mismatch"]:
        yield "calls per arm", f"do NOT fit the shares (e-value {e_value}): no effect can be believed"
    else:
        yield "calls per arm", f"fit the shares (e-value {e_value}; a mismatch from 1000 on)"
    missing = ", ".join(f"{arm['name']} {arm['missing']} of {arm['calls']}" for arm in found["arms"])
    yield (
        "missing",
        missing + (": the arms differ, so an effect may come from that" if health["missing_differs"] else ""),
    )
    if health["waiting"] and told["phase"] == "running":
        yield "waiting", f"{health['waiting']} calls, until all that began before them are known"
    lost = {name: health[name] for name in ("crossed", "late", "unknown") if health[name]}
    if lost:
        yield "left out", ", ".join(f"{count} {name}" for name, count in lost.items())
    for effect in found["effects"]:
        said = ", ".join(f"{guard['guard']} {guard['verdict']}" for guard in effect["guards"])
        yield f"guards of {effect['arm']}", said


def _arms(told: Document, found: Document) -> RenderableType:
    table = _table(
        "arm", "strategy", "share", "calls", "failed", "mean", "rank", right=("share", "calls", "failed", "mean")
    )
    for arm, seen in zip(told["arms"], found["arms"], strict=True):
        first, last = seen["ranks"]
        mean = words.NOTHING if seen["mean"] is None else _mean(told["metric"], seen["mean"])
        table.add_row(
            _say(arm["name"]),
            _say(words.printable(arm["strategy"]) + (" (ended)" if arm["ended"] else "")),
            "0 %" if arm["ended"] else words.share(arm["share"]),
            words.count(seen["calls"]),
            words.share(seen["failures"] / seen["calls"] if seen["calls"] else None),
            mean,
            f"{first}" if first == last else f"{first}–{last}, tied",
        )
    return table


def _mean(metric: str, x: float) -> str:
    if metric == "latency":
        return words.span(math.exp(x))
    return words.share(x) if metric == "success" else figures(x)


def _effects(found: Document, metric: Any) -> RenderableType:
    table = _table(
        "arm", "against", "effect", "sure at any look", "last calls", "verdict", right=("effect", "last calls")
    )
    for effect in found["effects"]:
        value, low, high = (_number(effect[name]) for name in ("value", "low", "high"))
        known = effect["low"] is not None
        needed = effect["calls_needed"]
        more = f", some {words.count(needed)} more calls" if needed and effect["verdict"] == "undecided" else ""
        table.add_row(
            _say(effect["arm"]),
            _say(effect["against"]),
            words.NOTHING if math.isnan(value) else signed(metric, value),
            f"{signed(metric, low)} to {signed(metric, high)}" if known else "nothing yet",
            words.NOTHING if effect["recent"] is None else signed(metric, effect["recent"]),
            _say(f"{effect['verdict']}{more}", STYLES.get(effect["verdict"], "")),
        )
    return table


def _number(x: float | None) -> float:
    return math.nan if x is None else x


def _over_time(series: Sequence[Document], place: int, metric: Any, width: int) -> Iterable[Text]:
    """A line for each of some moments: the bounds, the effect, and where no effect would be."""
    points = [(point["calls"], point["effects"][place]) for point in series]
    known = [(calls, effect) for calls, effect in points if effect["low"] is not None]
    if not known:
        return
    step = max(1, math.ceil(len(known) / LINES))
    shown = known[::-1][::step][::-1]
    # What was not known at first would make everything else a dot: what does not fit is cut.
    reach = 2.0 * max(abs(shown[len(shown) // 2][1][end]) for end in ("low", "high"))
    room = min(WIDEST, max(20, width - 30))

    def column(x: float) -> int:
        return int((min(max(x, -reach), reach) + reach) / (2.0 * reach) * (room - 1) + 0.5)

    for calls, effect in shown:
        low, high, value = (column(effect[name]) for name in ("low", "high", "value"))
        line = [" "] * room
        line[low : high + 1] = "─" * (high + 1 - low)
        line[column(0.0)] = "┴" if low <= column(0.0) <= high else "|"
        line[value] = "█"
        yield _say(f"{words.count(calls):>6} {''.join(line)} {signed(metric, effect['value'])}")


def _next_steps(told: Document) -> Iterable[str]:
    versions = [arm["name"] for arm in told["arms"] if arm["version"]]
    if told["phase"] == "held":
        yield f"to go on: poet experiment resume {told['id']}; to end it: poet experiment stop {told['id']}"
    if told["winner"] in versions and not told["promoted"]:
        yield f"to make it live: poet experiment promote {told['id']} {told['winner']}"


def _board(doc: Document, width: int) -> Iterable[RenderableType]:
    if not doc["comparisons"]:
        yield _say("nothing to compare yet: poet experiment start FN --arm quick:timeout=2,retries=1")
        return
    table = _table("rank", "strategy", "experiments", right=("experiments",))
    for row in doc["strategies"]:
        rank = f"{row['first']}" if row["first"] == row["last"] else f"{row['first']}–{row['last']}, tied"
        table.add_row(_say(rank), _say(words.printable(row["strategy"])), str(row["experiments"]))
    yield table
    yield Text()
    table = _table("experiment", "strategy", "against", "effect", "verdict", "e-value", right=("effect", "e-value"))
    for row in doc["comparisons"]:
        value = words.NOTHING if row["value"] is None else signed(row["metric"], row["value"])
        table.add_row(
            _say(row["id"]),
            _say(words.printable(row["strategy"])),
            _say(words.printable(row["against"])),
            f"{value} {row['metric']}",
            _say(row["verdict"], STYLES.get(row["verdict"], "")),
            f"{math.exp(min(row['log_e'], 700.0)):.3g}",
        )
    yield table
    yield Text()
    share = words.level(doc["level"])
    yield _say(
        f"of all that is called better or worse here, {share} is not, at most (e-BH); the rest is not told apart"
    )


PAGES = {"experiment": page}
