"""How a store's file is laid out, and the steps that bring an older one up to date."""

from __future__ import annotations

import sqlite3

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
)
VERSION = len(MIGRATIONS)
READABLE = 1  # oldest version that can be looked at as it is: its tables say what those of ``VERSION`` say


def migrate(connection: sqlite3.Connection, found: int) -> None:
    """Bring a file of version ``found`` (0: empty) to ``VERSION``, all or nothing; the caller holds the lease."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in MIGRATIONS[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
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
