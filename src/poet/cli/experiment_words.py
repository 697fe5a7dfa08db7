"""The words of ``poet experiment``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any, NamedTuple

ACTIONS = {
    "start": "try parameters or learners beside each other on a function's calls",
    "change": "end one and start another that differs; nothing that was seen is carried over",
    "list": "all of them, or those of one function",
    "show": "its health, the effects so far and how they went",
    "stop": "end one: all calls get what is live",
    "resume": "let one go on that is held",
    "promote": "make an arm live",
    "leaderboard": "which strategies are better, over all functions, with few false discoveries",
}
CHANGING = ("start", "change", "stop", "resume", "promote")


class Wanted(NamedTuple):
    """What was asked of experiments."""

    action: str
    changes: bool
    name: str = ""  # id
    arm: str = ""  # to be made live
    function: str | None = None
    arms: tuple[str, ...] = ()  # name:name=value,…
    shares: tuple[str, ...] = ()  # name=share
    rules: tuple[tuple[str, Any], ...] = ()  # those that were said
    reason: str = ""
    level: float = 0.05


def add(parser: Any, common: Callable[[Any], None], span: Callable[[str], float]) -> None:
    """Let ``parser`` take them. common: adds what every command takes. span: reads a time such as 30d."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions", required=True)
    for name, sentence in ACTIONS.items():
        each: ArgumentParser = actions.add_parser(
            name, help=sentence, description=f"{sentence[0].upper()}{sentence[1:]}."
        )
        common(each)
        if name == "start":
            each.add_argument("function", metavar="FN", help="full name, its end after any dot, or name#fingerprint")
        elif name == "list":
            each.add_argument("function", metavar="FN", nargs="?", help="one function; without it: all")
        elif name != "leaderboard":
            each.add_argument("name", metavar="ID", help="as poet experiment list tells it")
        if name == "promote":
            each.add_argument("arm", metavar="ARM", help="name of the arm")
        if name in ("start", "change"):
            _add_rules(each, span)
        if name in CHANGING:
            each.add_argument("--reason", metavar="TEXT", default="", help="kept with it and in the history")
        if name == "leaderboard":
            each.add_argument(
                "--level", metavar="SHARE", type=float, default=0.05, help="of false discoveries (default: 0.05)"
            )
        parser.option_names += each.option_names  # type: ignore[attr-defined]


def _add_rules(parser: ArgumentParser, span: Callable[[str], float]) -> None:
    parser.add_argument(
        "--arm",
        dest="arms",
        metavar="NAME:name=value,…",
        action="append",
        default=[],
        help="values; or NAME:learner=basic, also with learning_rate=…; or NAME:live, which is added where there is one"
        " arm only; the first arm is what the others are compared with",
    )
    parser.add_argument("--share", dest="shares", metavar="NAME=0.2", action="append", default=[], help="of the calls")
    assigned = parser.add_mutually_exclusive_group()
    assigned.add_argument(
        "--block",
        metavar="SECONDS",
        type=float,
        help="one arm for all calls of so many seconds, for calls that interact",
    )
    assigned.add_argument("--by-host", action="store_true", help="one arm for all calls of a host; takes some 20 hosts")
    parser.add_argument("--metric", metavar="NAME", help="utility (default), success, latency, score or cost")
    parser.add_argument("--minimum-effect", metavar="X", type=float, help="least effect worth finding, in its unit")
    parser.add_argument("--alpha", metavar="X", type=float, help="chance of ever calling what is the same different")
    parser.add_argument(
        "--guard-alpha", metavar="X", type=float, help="chance that a guard ever ends what does no harm"
    )
    parser.add_argument("--on-harm", metavar="WHAT", help="end (default), hold or observe")
    parser.add_argument("--most-calls", metavar="N", type=int, help="then it ends, decided or not")
    parser.add_argument("--longest", metavar="7d", type=span, help="then it ends, decided or not; s, m, h, d, w")
    parser.add_argument("--promote", metavar="WHO", help="person (default), or winner: it goes live by itself")


def wanted(words: Namespace) -> Wanted:
    """What the parsed words ask for."""
    rules: dict[str, Any] = {}
    for name in ("metric", "minimum_effect", "alpha", "guard_alpha", "on_harm", "most_calls", "longest", "promote"):
        value = getattr(words, name, None)
        if value is not None:
            rules[name] = value
    if getattr(words, "block", None) is not None:
        rules |= {"assignment": "block", "block": words.block}
    if getattr(words, "by_host", False):
        rules["assignment"] = "host"
    return Wanted(
        words.action,
        words.action in CHANGING,
        name=getattr(words, "name", ""),
        arm=getattr(words, "arm", ""),
        function=getattr(words, "function", None),
        arms=tuple(getattr(words, "arms", ())),
        shares=tuple(getattr(words, "shares", ())),
        rules=tuple(rules.items()),
        reason=getattr(words, "reason", ""),
        level=getattr(words, "level", 0.05),
    )
