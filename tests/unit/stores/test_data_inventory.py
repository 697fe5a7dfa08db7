"""The data inventory names every table and every column of both databases, and nothing else."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from poet.stores import schema
from poet.stores.postgres import schema as postgres_schema

PAGE = (Path(__file__).parents[3] / "docs" / "data-inventory.md").read_text(encoding="utf-8")


def told(other: str) -> dict[str, set[str]]:
    """Columns by table that the page names, without those that are the ``other`` database's alone."""
    columns: dict[str, set[str]] = {}
    table = ""
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) != 4 or not re.match(r"^(`\w+`( ◆)?)?$", cells[0]):
            continue
        table = cells[0].strip("`◆ ") or table
        if f"({other})" not in cells[1]:
            columns.setdefault(table, set()).update(re.findall(r"`(\w+)`", cells[1]))
    return columns


def test_every_table_and_column_of_the_file_is_named() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection, 0)
    found = {
        table: {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    }
    connection.close()
    assert told("PostgreSQL") == found


def test_every_table_and_column_of_the_database_is_named() -> None:
    found: dict[str, set[str]] = {}
    for statement in (one for step in postgres_schema.MIGRATIONS for one in step):
        made = re.match(r"CREATE TABLE poet\.(\w+) \((.*)\)", statement, re.DOTALL)
        if made is not None:
            lines = (line.strip() for line in made[2].splitlines())
            found[made[1]] = {line.split()[0].strip('"') for line in lines if re.match(r'"?[a-z]', line)}
        added = re.match(r"ALTER TABLE poet\.(\w+) ADD COLUMN (\w+)", statement)
        if added is not None:
            found[added[1]].add(added[2])
    named = told("SQLite")
    assert {table: names if table == "store" else names | {"tenant"} for table, names in named.items()} == found
