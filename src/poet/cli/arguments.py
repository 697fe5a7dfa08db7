"""The words of the command line. A word that is none of them gets the nearest that is."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NoReturn

from poet.cli import experiment_words
from poet.errors import PoetError, nearest

COMMANDS = {
    "status": "all functions and how they fare",
    "show": "what holds for one function now",
    "explain": "why these values: the evidence, and what others would give",
    "similar": "which functions are alike, how sure that is, and why",
    "replay": "what other parameters would have made of the recorded calls",
    "gains": "what learning has gained against the declared values, and how that is known",
    "analyze": "what the recorded calls show: changes, seasons, groups, relations, incidents",
    "history": "all changes to one function, with their reasons",
    "rollout": "how new versions reach the calls: see, propose, promote, withdraw, hold",
    "rollback": "make an older version live, and pause learning",
    "pin": "hold values that learning must not change",
    "unpin": "free all values held",
    "pause": "stop learning from changing one function, or all",
    "resume": "let learning go on",
    "flags": "what POET may do, for whom, and who said so; set, unset, history",
    "releases": "what left functions for others, and who may have it; allow, deny",
    "export": "parameters for others to import, or executions for other tools",
    "import": "take in what was exported, or what the original POET left",
    "experiment": "try parameters or learners beside each other, and see which are better",
    "maintain": "keep the store in order now: retention, compaction, late scores",
    "doctor": "look for damage, faults and odd settings",
    "demo": "watch it learn from recorded traffic of real services",
}
ENGINES = ("local", "ray")
FORMATS = ("parquet", "arrow", "jsonl", "csv")
CHANGES = ("maintain", "rollout", "rollback", "pin", "unpin", "pause", "resume")
EXIT_CODES = "exit code: 0 done, 1 doctor found something to mend, 2 error or wrong usage"


class UsageError(PoetError):
    """The command line was not understood. Correct it; ``poet COMMAND --help`` lists what there is."""


class _Parser(argparse.ArgumentParser):
    """A parser that raises instead of leaving, and knows its options' names."""

    def __init__(self, **arguments: Any) -> None:
        self.option_names: list[str] = []
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, epilog=EXIT_CODES, **arguments
        )

    def add_argument(self, *names: Any, **arguments: Any) -> argparse.Action:
        self.option_names += [name for name in names if str(name).startswith("--")]
        return super().add_argument(*names, **arguments)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; {self.prog} --help lists what there is")


def parse(argv: Sequence[str], release: str) -> argparse.Namespace:
    """The parsed words. Raises UsageError; leaves with SystemExit where only help or the release was asked for."""
    parser, commands = _build(release)
    command = command_of(argv)
    if command is not None and command not in COMMANDS:
        raise UsageError(f"no command {command!r}: {nearest(command, COMMANDS)}")
    known, extra = parser.parse_known_args(argv)
    if extra and command is not None:
        raise UsageError(_unexpected(command, extra[0], commands[command].option_names))
    if known.command is None:
        raise UsageError(f"a command is missing; known are: {', '.join(COMMANDS)}")
    if known.command in ("pause", "resume") and known.function is not None and known.all:
        raise UsageError(f"{known.command} takes one function, or --all")
    return known


def command_of(argv: Sequence[str]) -> str | None:
    """The first word that is neither an option nor an option's value."""
    words = iter(argv)
    for word in words:
        if word == "--store":
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


def _unexpected(command: str, word: str, options: Sequence[str]) -> str:
    if word.startswith("-"):
        return f"{command} has no option {word!r}: {nearest(word.partition('=')[0], options)}"
    return f"{command} does not expect {word!r}; poet {command} --help lists what it takes"


def _build(release: str) -> tuple[_Parser, dict[str, _Parser]]:
    parser = _Parser(prog="poet", description="See and steer functions that tune their own timeouts and retries.")
    parser.add_argument("--version", action="version", version=f"poet {release}")
    _add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands", parser_class=_Parser)
    built: dict[str, _Parser] = {}
    for name, sentence in COMMANDS.items():
        built[name] = commands.add_parser(name, help=sentence, description=f"{sentence[0].upper()}{sentence[1:]}.")
        if name != "demo":  # it has options of its own
            _add_common(built[name])
            _add_own(name, built[name])
    return parser, built


def _add_common(parser: _Parser) -> None:
    # SUPPRESS: what stands before the command must survive the defaults of the command's own parser.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON document, nothing else"
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        default=argparse.SUPPRESS,
        help="sqlite:///path, from the project's folder; four slashes for an absolute path; or postgresql://…"
        " (default: the project's)",
    )


def _add_own(name: str, parser: _Parser) -> None:
    if name in ("show", "explain", "replay", "history", "pin", "unpin"):
        parser.add_argument("function", metavar="FN", help="full name, its end after any dot, or name#fingerprint")
    elif name in ("pause", "resume", "analyze", "gains"):
        parser.add_argument("function", metavar="FN", nargs="?", help="one function; without it: all")
    if name in ("pause", "resume"):
        parser.add_argument("--all", action="store_true", help="all functions, as without FN")
    if name == "rollout":
        _add_rollout(parser)
    if name == "rollback":
        _add_rollback(parser)
    if name == "flags":
        _add_flags(parser)
    if name == "pin":
        parser.add_argument("values", metavar="name=value", nargs="+", help="for instance timeout=2.5 retries=1")
    if name == "replay":
        parser.add_argument(
            "values",
            metavar="name=value",
            nargs="*",
            help="timeout, retries, backoff, hedges, hedge_delay; for instance timeout=2 retries=1 (default: the live)",
        )
        parser.add_argument("--since", metavar="30d", type=_span, help="only calls of the last 30 days; s, m, h, d, w")
    if name == "gains":
        parser.add_argument("--since", metavar="7d", type=_span, help="only calls of the last 7 days; s, m, h, d, w")
    if name == "analyze":
        _add_analyze(parser)
    if name == "similar":
        parser.add_argument(
            "function", metavar="FN", help="as for show; or a signature as code: 'fetch(url: str) -> bytes'"
        )
        parser.add_argument("--top", metavar="N", type=_positive, default=5, help="how many (default: 5)")
    if name == "history":
        parser.add_argument("--last", metavar="N", type=_positive, help="only the newest N entries")
    if name == "releases":
        _add_releases(parser)
    if name == "export":
        _add_export(parser)
    if name == "import":
        _add_import(parser)
    if name == "experiment":
        experiment_words.add(parser, _add_common, _span)
    if name in CHANGES:
        parser.add_argument("--reason", metavar="TEXT", default="", help="kept in the history")


def _add_rollback(parser: _Parser) -> None:
    parser.add_argument("function", metavar="FN", nargs="?", help="full name, its end after any dot, name#fingerprint")
    parser.add_argument("--all", action="store_true", help="all functions; with --to-before or --to last-good")
    parser.add_argument(
        "--to", metavar="V", type=_version, help="a version, or last-good (default: the one before the live one)"
    )
    parser.add_argument(
        "--to-before", metavar="TIME", help="what was live before: 2026-11-28 18:00, 18:00, or 2h for two hours ago"
    )
    parser.add_argument("--undo", action="store_true", help="restore what was live before the last rollback")
    parser.add_argument("--yes", action="store_true", help="do not ask, as where there is no terminal")


def _add_flags(parser: _Parser) -> None:
    for name, what in (("function", "FN"), ("host", "NAME"), ("tenant", "NAME")):
        parser.add_argument(f"--{name}", metavar=what, default=argparse.SUPPRESS, help=f"values for this {name}")
    verbs = parser.add_subparsers(dest="verb", metavar="set|unset|history", parser_class=_Parser)
    for verb, sentence in (
        ("set", "put a rule before all others of a flag"),
        ("unset", "take away the rule for all, or the one for these"),
        ("history", "who changed what, when and why"),
    ):
        one = verbs.add_parser(verb, help=sentence, description=f"{sentence[0].upper()}{sentence[1:]}.")
        one.add_argument("name", metavar="NAME", nargs="?" if verb == "history" else None, help="such as learn.online")
        if verb == "set":
            one.add_argument("value", metavar="VALUE", help="off, on, or another phase of the flag")
            one.add_argument("--percent", metavar="N", type=_percent, help="of pairs of function and host, in (0, 100]")
        if verb == "unset":
            one.add_argument("--all", action="store_true", help="take away all its rules")
        if verb != "history":
            for name in ("function", "host", "tenant"):
                one.add_argument(f"--{name}", metavar="GLOB", default=argparse.SUPPRESS, help="for these only")
            one.add_argument("--reason", metavar="TEXT", default="", help="kept in the history")
        _add_common(one)
        parser.option_names += one.option_names


def _add_rollout(parser: _Parser) -> None:
    parser.add_argument("function", metavar="FN", nargs="?", help="one function; without it: all")
    parser.add_argument(
        "values", metavar="name=value", nargs="*", help="roll these values out, for instance timeout=2.5 retries=1"
    )
    steps = parser.add_mutually_exclusive_group()
    for word, sentence in (
        ("promote", "all calls get the new version now"),
        ("withdraw", "all calls get the version of before"),
        ("hold", "go no further: all calls have the live version until it goes on"),
        ("go-on", "go on where it was held"),
    ):
        steps.add_argument(f"--{word}", dest="action", action="store_const", const=word, help=sentence)


def _add_analyze(parser: _Parser) -> None:
    parser.add_argument("--since", metavar="30d", type=_span, help="only calls of the last 30 days; s, m, h, d, w")
    parser.add_argument(
        "--from",
        dest="tables",
        metavar="PATH",
        nargs="+",
        help="exported tables of Parquet instead of the store: files, folders, patterns, or an address of fsspec's",
    )
    parser.add_argument("--engine", choices=ENGINES, default="local", help="where it runs (default: this machine)")
    parser.add_argument("--workers", metavar="N", type=_positive, help="processes at work (default: one for each core)")
    parser.add_argument("--address", metavar="URL", help="of a Ray cluster that is there (default: start one here)")
    parser.add_argument(
        "--false-alarms",
        metavar="N",
        type=_rate,
        default=0.01,
        help="per day and series, that incidents may have (default: 0.01)",
    )
    parser.add_argument(
        "--costs",
        metavar=("ALARM", "MISSED", "PER_DAY"),
        nargs=3,
        type=_rate,
        help="in their place: cost of a false alarm and of a missed incident, and incidents expected per day",
    )
    parser.add_argument("--zone", metavar="NAME", default="", help="that hours of the day are told in (default: UTC)")
    parser.add_argument("--top", metavar="N", type=_positive, default=20, help="findings that are shown (default: 20)")
    parser.add_argument(
        "--dependency",
        dest="dependencies",
        metavar="NAME=FN,FN",
        action="append",
        type=_dependency,
        help="functions that call the same thing, so that their incidents are told as one; may be repeated",
    )
    parser.add_argument(
        "--every",
        metavar="6h",
        type=_span,
        help="again and again until interrupted, for a service manager; of several processes one does it",
    )
    parser.add_argument("--apply", action="store_true", help="roll out values that the history proves to be better")
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept in the history with --apply")


def _add_releases(parser: _Parser) -> None:
    parser.add_argument(
        "function", metavar="FN", nargs="?", help="one function, or a pattern with --allow (default: all)"
    )
    parser.add_argument("--last", metavar="N", type=_positive, help="only the newest N (default: 20)")
    steps = parser.add_mutually_exclusive_group()
    for word, sentence in (
        ("allow", "let this tenant's functions have what FN knows, as far as the policy goes"),
        ("deny", "let them not have it"),
        ("forget", "take the rule for this tenant away"),
    ):
        steps.add_argument(f"--{word}", dest="share", metavar="TENANT", type=partial(_sharing, word), help=sentence)
        parser.option_names.append(f"--{word}")
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept with the rule")


def _sharing(word: str, tenant: str) -> tuple[str, str]:
    return word, tenant


def _add_export(parser: _Parser) -> None:
    parser.add_argument("functions", metavar="FN", nargs="*", help="of these functions; parameters: default all")
    parser.add_argument("--output", metavar="FILE", help="default for parameters: print them")
    parser.add_argument("--executions", action="store_true", help="the calls, one row each, instead of the parameters")
    parser.add_argument("--all", action="store_true", help="executions of all functions")
    parser.add_argument("--format", choices=FORMATS, help="of executions (default: by the ending of FILE)")
    parser.add_argument("--since", metavar="30d", type=_span, help="only executions of the last 30 days; s, m, h, d, w")


def _add_import(parser: _Parser) -> None:
    parser.add_argument(
        "path", metavar="PATH", nargs="?", help="a package, or a file or folder of the original POET's (default: all)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be taken, and change nothing")
    parser.add_argument("--force", action="store_true", help="take what rests on less evidence, too; bounds still hold")


_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}


def _span(text: str) -> float:
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isdecimal() or len(number) > 9 or int(number) < 1:
        raise argparse.ArgumentTypeError(f"a time is a whole number and a unit, such as 30d or 12h, got {text!r}")
    return int(number) * _UNITS[unit]


def _dependency(text: str) -> tuple[tuple[str, str], ...]:
    name, mark, functions = text.partition("=")
    found = tuple((function.strip(), name) for function in functions.split(",") if function.strip())
    if not (name and mark and found):
        raise argparse.ArgumentTypeError(f"a dependency is NAME=FN,FN, such as payments=charge,refund, got {text!r}")
    return found


def _version(text: str) -> int | str:
    if text in ("last-good", "last_good"):
        return "last-good"
    try:
        return int(text.removeprefix("v"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"a version is a number such as 3, or last-good, got {text!r}") from None


def _percent(text: str) -> float:
    try:
        return float(text.removesuffix("%"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number in (0, 100], got {text!r}") from None


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, got {text!r}")
    return rate


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return int(text)
