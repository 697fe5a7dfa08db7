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
    """Print the rows as a Markdown table; whether every bar holds."""
    rows = list(rows)
    print(f"\n## {title}\n\n| what | bar | measured | |\n|---|---|---|---|")
    for row in rows:
        mark = "" if row.holds is None else "holds" if row.holds else "**missed**"
        print(f"| {row.what} | {row.bar} | {row.measured} | {mark} |")
    return all(row.holds is not False for row in rows)
