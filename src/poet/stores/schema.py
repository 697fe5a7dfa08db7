"""How a store's file is laid out, and the steps that bring an older one up to date."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

APPLICATION = 0x504F4554  # "POET": tells our files from other programs' databases

# Step n brings a file of version n to version n + 1, inside a transaction. Steps are only ever added.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # One row: a number that grows with every change of any function's standing, cheap to poll.
        "CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), generation INTEGER NOT NULL)",
        "INSERT INTO store VALUES (1, 0)",
        """CREATE TABLE function (
            id INTEGER PRIMARY KEY,
            module TEXT NOT NULL,
            qualname TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            domain TEXT,
            learner TEXT NOT NULL,
            declared TEXT NOT NULL,   -- JSON object
            objective TEXT NOT NULL,  -- JSON object
            space TEXT NOT NULL,      -- JSON object of pairs
            paused TEXT NOT NULL,     -- why; empty: it learns
            pinned TEXT NOT NULL,     -- JSON object
            UNIQUE (module, qualname, fingerprint)
        )""",
        # Beside the function, not in it: these change with every append, the row above hardly ever.
        """CREATE TABLE counter (
            function INTEGER PRIMARY KEY REFERENCES function,
            calls INTEGER NOT NULL,
            failures INTEGER NOT NULL,
            seconds REAL NOT NULL,    -- s, summed
            last_call REAL NOT NULL   -- Unix s; 0: never
        )""",
        """CREATE TABLE version (
            function INTEGER NOT NULL REFERENCES function,
            number INTEGER NOT NULL CHECK (number >= 1),
            parent INTEGER,
            origin TEXT NOT NULL,
            author TEXT NOT NULL,
            reason TEXT NOT NULL,
            evidence INTEGER NOT NULL,
            created REAL NOT NULL,    -- Unix s
            "values" TEXT NOT NULL,   -- JSON object
            estimates TEXT NOT NULL,  -- JSON object: name -> [value, low, high, n, level]
            PRIMARY KEY (function, number),
            FOREIGN KEY (function, parent) REFERENCES version (function, number)
        ) WITHOUT ROWID""",
        """CREATE TABLE alias (
            function INTEGER NOT NULL REFERENCES function,
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            PRIMARY KEY (function, name),
            FOREIGN KEY (function, version) REFERENCES version (function, number)
        ) WITHOUT ROWID""",
        """CREATE TABLE change (
            id INTEGER PRIMARY KEY,
            function INTEGER NOT NULL REFERENCES function,
            at REAL NOT NULL,         -- Unix s
            action TEXT NOT NULL,
            version INTEGER NOT NULL,
            author TEXT NOT NULL,
            reason TEXT NOT NULL
        )""",
        "CREATE INDEX change_of_function ON change (function)",
        """CREATE TABLE chunk (
            id INTEGER PRIMARY KEY,
            function INTEGER NOT NULL REFERENCES function,
            writer TEXT NOT NULL,
            last INTEGER NOT NULL,          -- sequence of the last execution
            executions INTEGER NOT NULL CHECK (executions >= 1),
            oldest REAL NOT NULL,           -- least start, Unix s
            newest REAL NOT NULL,           -- greatest start, Unix s
            growing INTEGER NOT NULL,       -- 1: may still be merged with what follows
            body BLOB NOT NULL
        )""",
        "CREATE INDEX chunk_of_writer ON chunk (function, writer, last)",
        "CREATE INDEX growing_chunk ON chunk (function, writer, last) WHERE growing",
        "CREATE TABLE learner (function INTEGER PRIMARY KEY REFERENCES function, state BLOB NOT NULL)",
        """CREATE TABLE process (
            writer TEXT PRIMARY KEY,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            started REAL NOT NULL,    -- Unix s
            seen REAL NOT NULL,       -- Unix s
            dropped INTEGER NOT NULL,
            faults INTEGER NOT NULL,
            last_fault TEXT NOT NULL
        ) WITHOUT ROWID""",
    ),
    # No table changes. But from here on chunks may be of format PXc2, which an older release would take for damage:
    # so it must not open the file.
    (),
    (
        # Names beside "live", and the generation where it belongs: it grows with changes that move no name, too.
        "ALTER TABLE function ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
        # The store's generation when this function changed last.
        "ALTER TABLE function ADD COLUMN changed INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX function_by_change ON function (changed)",
        "UPDATE function SET generation = ("
        "SELECT generation FROM alias WHERE alias.function = function.id AND name = 'live')",
        "INSERT INTO alias SELECT a.function, 'last_good', coalesce(v.parent, v.number), a.generation FROM alias a"
        " JOIN version v ON v.function = a.function AND v.number = a.version WHERE a.name = 'live'",
        "INSERT INTO alias SELECT a.function, 'pinned', a.version, a.generation FROM alias a"
        " JOIN function f ON f.id = a.function WHERE a.name = 'live' AND f.pinned <> '{}'",
        # Starts of the oldest and the newest execution that a version rests on, Unix s; 0: not known.
        "ALTER TABLE version ADD COLUMN since REAL NOT NULL DEFAULT 0",
        "ALTER TABLE version ADD COLUMN until REAL NOT NULL DEFAULT 0",
        # What was counted of executions that retention has deleted since; and of hours.
        "ALTER TABLE counter ADD COLUMN expired_calls INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE counter ADD COLUMN expired_failures INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE counter ADD COLUMN expired_seconds REAL NOT NULL DEFAULT 0",
        "ALTER TABLE counter ADD COLUMN hourless_calls INTEGER NOT NULL DEFAULT 0",
        "UPDATE counter SET hourless_calls = calls",  # before this release nobody counted by the hour
        # A chunk of several writers has none of its own; here is what it holds of each.
        """CREATE TABLE writing (
            function INTEGER NOT NULL REFERENCES function,
            writer TEXT NOT NULL,
            last INTEGER NOT NULL,    -- sequence of the writer's last execution in the chunk
            chunk INTEGER NOT NULL REFERENCES chunk ON DELETE CASCADE,
            PRIMARY KEY (function, writer, last, chunk)
        ) WITHOUT ROWID""",
        "CREATE INDEX writing_in_chunk ON writing (chunk)",
        "CREATE INDEX chunk_by_age ON chunk (function, newest)",
        """CREATE TABLE hour (
            function INTEGER NOT NULL REFERENCES function,
            start INTEGER NOT NULL,   -- hours since 1970
            version INTEGER NOT NULL,
            calls INTEGER NOT NULL,
            sums BLOB NOT NULL,
            PRIMARY KEY (function, start, version)
        ) WITHOUT ROWID""",
        # Of executions whose chunks do not have them yet.
        """CREATE TABLE score (
            function INTEGER NOT NULL REFERENCES function,
            writer TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            score REAL NOT NULL,
            at REAL NOT NULL,         -- Unix s
            PRIMARY KEY (function, writer, sequence)
        ) WITHOUT ROWID""",
        # The last contribution of each writer to a function's learner.
        """CREATE TABLE contribution (
            function INTEGER NOT NULL REFERENCES function,
            writer TEXT NOT NULL,
            number INTEGER NOT NULL,
            at REAL NOT NULL,         -- Unix s
            PRIMARY KEY (function, writer)
        ) WITHOUT ROWID""",
        "ALTER TABLE process ADD COLUMN away REAL NOT NULL DEFAULT 0",  # Unix s; 0: it is not
        "ALTER TABLE process ADD COLUMN spooled INTEGER NOT NULL DEFAULT 0",
    ),
    # From here on chunks of functions with declared tunables may be of format PXc4, which the release before takes for
    # what it is: so it may go on using the file, and refuses those.
    (
        "ALTER TABLE function ADD COLUMN choices TEXT NOT NULL DEFAULT '{}'",  # JSON object of lists
        "ALTER TABLE function ADD COLUMN goals TEXT NOT NULL DEFAULT '{}'",  # JSON object of objects
        # What was said of executions by name, beside ``score``: the release before writes that one to its execution
        # and knows nothing of this one, which waits.
        """CREATE TABLE goal (
            function INTEGER NOT NULL REFERENCES function,
            writer TEXT NOT NULL,
            sequence INTEGER NOT NULL,
            name TEXT NOT NULL,
            value REAL NOT NULL,
            at REAL NOT NULL,         -- Unix s
            PRIMARY KEY (function, writer, sequence, name)
        ) WITHOUT ROWID""",
    ),
    # From here on chunks of functions whose calls a coin was thrown for may be of format PXc5, which the release before
    # takes for what it is. It knows no documents, and moves names without them.
    (
        """CREATE TABLE document (
            function INTEGER NOT NULL,  -- 0: none, or several
            kind TEXT NOT NULL,
            name TEXT NOT NULL,
            open INTEGER NOT NULL,      -- 0: it is over
            revision INTEGER NOT NULL CHECK (revision >= 1),
            at REAL NOT NULL,           -- Unix s
            body TEXT NOT NULL,         -- JSON
            PRIMARY KEY (kind, function, name)
        ) WITHOUT ROWID""",
        # Open documents of the function that say which version a call gets: nearly always none, at no cost.
        "ALTER TABLE function ADD COLUMN steering INTEGER NOT NULL DEFAULT 0",
        # Changes of what is no function's.
        "ALTER TABLE store ADD COLUMN functionless INTEGER NOT NULL DEFAULT 0",
    ),
)
VERSION = len(MIGRATIONS)
READABLE = 5  # oldest version that can be looked at as it is: its tables say what those of ``VERSION`` say
COMPATIBLE = 3  # oldest release, by its ``VERSION``, that may use a file of this ``VERSION``


class Layout(NamedTuple):
    """What the header of a file says of its tables; kept as ``user_version``."""

    version: int  # 0: there are none
    compatible: int  # oldest release, by its ``VERSION``, that may use it

    @classmethod
    def of(cls, number: int) -> Layout:
        """From ``user_version``; the first two releases knew but the version, and nobody older could use it."""
        version, compatible = number & 0xFFFF, number >> 16
        return cls(version, compatible or version)

    @property
    def number(self) -> int:
        """For ``user_version``."""
        return self.compatible << 16 | self.version


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Bring a file of version ``found`` (0: empty) to ``VERSION``, all or nothing; the caller holds the lease."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {Layout(VERSION, COMPATIBLE).number}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def layout(connection: sqlite3.Connection) -> dict[str, str]:
    """Name and text of every table and index."""
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    return dict(rows.fetchall())


def expected_layout() -> dict[str, str]:
    """The layout of a file made by this release."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(connection, 0)
        return layout(connection)
    finally:
        connection.close()
