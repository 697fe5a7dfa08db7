"""Rows of figures against their bars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Row(NamedTuple):
    """One figure."""

    what: str
    bar: str
    measured: str
    holds: bool | None = None  # None: shown for comparison, no bar


def show(title: str, rows: Iterable[Row]) -> bool:
    """Print the rows as a Markdown table, each as soon as it is there; whether every bar holds."""
    print(f"\n## {title}\n\n| what | bar | measured | |\n|---|---|---|---|", flush=True)
    held = True
    for row in rows:
        mark = "" if row.holds is None else "holds" if row.holds else "**missed**"
        print(f"| {row.what} | {row.bar} | {row.measured} | {mark} |", flush=True)
        held = held and row.holds is not False
    return held
