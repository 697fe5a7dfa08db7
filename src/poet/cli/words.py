"""Figures and moments as people read them. Pure: the time now and the zone are handed in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, tzinfo

from poet.model.figures import figures
from poet.model.fixed import base_of
from poet.model.tunable import Value

TIMES = frozenset({"timeout", "backoff", "hedge_delay", "deadline"})  # parameters that are spans [s]
NOTHING = "–"


def printable(text: str) -> str:
    """``text`` on one line, without characters that could steer a terminal; names and reasons come from other programs.

    >>> printable("a\\x1b[31mb\\nc")
    'a [31mb c'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


PLAIN = str.maketrans("▁▂▃▄▅▆▇█─┴→–…", ".:-=+*%#-^>-~")  # what drawings are made of, where a terminal has only ASCII


def sayable(text: str, encoding: str) -> str:
    """``text`` in what an encoding has: plain signs for those that drawings are made of, question marks for the rest.

    >>> sayable("30 s → 840 ms ▁▃█ ü", "ascii"), sayable("→ é", "latin-1"), sayable("→ é", "utf-8")
    ('30 s > 840 ms .-# ?', '> é', '→ é')
    """
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(PLAIN).encode(encoding, "replace").decode(encoding)
    return text


def first_words(text: str, limit: int) -> str:
    """The words at the start of ``text`` that fit in ``limit`` characters, >= 2.

    >>> first_words("a longer timeout pays", 12)
    'a longer…'
    """
    text = printable(text)
    if len(text) <= limit:
        return text
    return (text[: limit - 1].rsplit(" ", 1)[0] or text[: limit - 1]).rstrip(" ,;:.") + "…"


def span(x: float) -> str:
    """A duration [s] with three figures.

    >>> span(0.21), span(1.5), span(30), span(0.000_25), span(600)
    ('210 ms', '1.5 s', '30 s', '0.25 ms', '600 s')
    """
    if not math.isfinite(x):
        return NOTHING if math.isnan(x) else f"{x} s"
    if x != 0 and abs(x) < 0.9995:
        return f"{figures(x * 1000)} ms"
    return f"{figures(x)} s"


def share(x: float | None) -> str:
    """A share in [0, 1] as per cent; only a whole is called 100 %.

    >>> share(0.983), share(1.0), share(0.99996), share(0.0), share(0.00001), share(None)
    ('98.3 %', '100 %', '>99.9 %', '0 %', '<0.1 %', '–')
    """
    if x is None or math.isnan(x):
        return NOTHING
    if x in (0, 1):
        return f"{x * 100:.0f} %"
    if x > 0.9995:
        return ">99.9 %"
    if 0 < x < 0.0005:
        return "<0.1 %"
    return f"{x * 100:.1f} %"


def level(x: float) -> str:
    """A share that somebody chose, in [0, 1], as they would write it.

    >>> level(0.9), level(0.999)
    ('90 %', '99.9 %')
    """
    return f"{x * 100:.6g} %"


def count(n: int) -> str:
    """A number of things in at most six characters.

    >>> count(999), count(12_345), count(123_456), count(1_234_567)
    ('999', '12345', '123k', '1.23M')
    """
    for unit, letter in ((1_000_000_000, "G"), (1_000_000, "M")):
        if n >= unit:
            return f"{figures(n / unit)}{letter}"
    return f"{n // 1000}k" if n >= 100_000 else str(n)


def plural(n: int, thing: str) -> str:
    """``n`` things.

    >>> plural(1, "call"), plural(2, "call"), plural(2, "process")
    ('1 call', '2 calls', '2 processes')
    """
    return f"{n} {thing}" if n == 1 else f"{n} {thing}{'es' if thing.endswith('s') else 's'}"


def requests(n: int, hedges: int = 0) -> str:
    """How often a service was asked; hedges are among the ``n``.

    >>> requests(1), requests(2, 1), requests(0)
    ('1 request', '2 requests, 1 hedged', '0 requests')
    """
    return plural(n, "request") + (f", {hedges} hedged" if hedges else "")


def features(context: Mapping[str, Value]) -> str:
    """What a call told of its input.

    >>> features({"region": "eu", "size": 12, "cached": False, "load": 0.123456, "tag": ""})
    'region eu, size 12, cached False, load 0.1235, tag –'
    """
    return ", ".join(f"{printable(name) or NOTHING} {value('', x) or NOTHING}" for name, x in context.items())


def ago(at: float, now: float) -> str:
    """How long before ``now`` [Unix s] a moment was; 0 says that it never came.

    >>> ago(0, 1e9), ago(1e9 - 180, 1e9), ago(1e9 - 7200, 1e9), ago(1e9 + 500, 1e9)
    ('never', '3 m ago', '2 h ago', 'in 8 m')
    """
    if not at:
        return "never"
    gone = now - at
    size = abs(gone)
    if not math.isfinite(size):  # a damaged store may say anything
        return "at no time"
    for unit, letter in ((365.25 * 86400, "y"), (86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        # Two days and more are told in days, two years and more in years: "36 h ago" says more than "1 d ago".
        if size >= unit * (2 if unit >= 86400 else 1):
            said = f"{int(size // unit)} {letter}"
            return f"{said} ago" if gone > 0 else f"in {said}"
    return "now"


def moment(at: float, zone: tzinfo | None = None) -> str:
    """A Unix time [s] as local time, or as the time of ``zone``.

    >>> from datetime import timezone
    >>> moment(1_700_000_000, timezone.utc)
    '2023-11-14 22:13:20'
    """
    try:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S") if at else "never"
    except (OverflowError, OSError, ValueError):  # a damaged store may say anything
        return f"{at:g} s"


def value(name: str, x: Value | None, *, exact: bool = False) -> str:
    """A parameter's value; ``exact`` shows every digit, so that it can be given back.

    >>> value("timeout@08:00-20:00", 0.84321), value("timeout", 0.84321, exact=True), value("model", "small")
    ('843 ms', '0.84321 s', 'small')
    """
    if x is None:
        return NOTHING
    if isinstance(x, bool | str):
        return printable(str(x))
    if base_of(name) in TIMES:
        return f"{_exact(x)} s" if exact else span(x)
    return _exact(x) if exact or isinstance(x, int) else f"{x:.4g}"


def _exact(x: float) -> str:
    return repr(x).removesuffix(".0")


def change(name: str, old: Value | None, new: Value | None, *, exact: bool = False) -> str:
    """A value before and after.

    >>> change("timeout", 30.0, 0.84), change("timeout", 30.0, 12.5), change("retries", 3, 3)
    ('30 s → 840 ms', '30 → 12.5 s', '3')
    """
    if old == new:
        return value(name, new, exact=exact)
    before, after = value(name, old, exact=exact), value(name, new, exact=exact)
    if base_of(name) in TIMES and before.rpartition(" ")[2] == after.rpartition(" ")[2]:
        before = before.rpartition(" ")[0] or before
    return f"{before} → {after}"


def changes(diff: Mapping[str, tuple[Value | None, Value | None]], *, exact: bool = False) -> str:
    """All that differs between two sets of values, in one line.

    >>> changes({"retries": (3, 2)})
    'retries 3 → 2'
    """
    return ", ".join(f"{printable(name)} {change(name, *pair, exact=exact)}" for name, pair in diff.items())
