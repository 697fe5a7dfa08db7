"""How a database is laid out, who may do what in it, and the steps that bring an older one up to date.

All is in the schema ``poet``. Every table but ``store`` has a column ``tenant``, and a policy that shows a session the
rows of the tenant whose name it has set as ``poet.tenant``; it holds for the owner of the tables, too, and for all but
superusers. Texts of users are written with ``said`` of this room's ``texts``, as PostgreSQL keeps no NUL.
"""

from __future__ import annotations

import psycopg
from psycopg import errors

from poet.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from poet.stores.postgres import faults
from poet.stores.postgres.address import Address

_LOCK = 0x504F4554  # "POET": the advisory lock of whoever migrates
_SHARED = {  # tables with a tenant, and what an agent may do with them besides SELECT
    "generation": "INSERT, UPDATE",
    "function": "INSERT, UPDATE",
    "version": "INSERT",  # never changed, never deleted
    "alias": "INSERT, UPDATE, DELETE",
    "change": "INSERT",
    "chunk": "INSERT, UPDATE, DELETE",
    "writing": "INSERT, UPDATE, DELETE",
    "hour": "INSERT, UPDATE, DELETE",
    "score": "INSERT, UPDATE, DELETE",
    "goal": "INSERT, UPDATE, DELETE",
    "document": "INSERT, UPDATE, DELETE",
    "counter": "INSERT, UPDATE",
    "learner": "INSERT, UPDATE",
    "contribution": "INSERT, UPDATE, DELETE",
    "process": "INSERT, UPDATE, DELETE",
}
SMALL = 500  # executions of a chunk that may still be put together with others
SHARDS = 16  # of rows that many hosts write at once
_LATER = ("goal", "document")  # tables that came with later steps
ROLES = ("poet_viewer", "poet_agent", "poet_admin")


def _guarded(table: str) -> tuple[str, ...]:
    """Shows a session the rows of its tenant only."""
    return (
        f"ALTER TABLE poet.{table} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE poet.{table} FORCE ROW LEVEL SECURITY",
        f"CREATE POLICY own_tenant ON poet.{table} USING (tenant = current_setting('poet.tenant', true))",
    )


# Step n brings a database of version n to version n + 1, inside a transaction. Steps are only ever added, and only ever
# add: while one runs, and afterwards, older agents go on working, unless ``COMPATIBLE`` shuts them out. A step that
# changes rows must lift FORCE ROW LEVEL SECURITY meanwhile, as else its owner sees no tenant's.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        # One row: the layout, and the oldest one whose agents may still use it.
        """CREATE TABLE poet.store (
            id integer PRIMARY KEY CHECK (id = 1),
            version integer NOT NULL,
            compatible integer NOT NULL
        )""",
        "INSERT INTO poet.store VALUES (1, 0, 0)",
        # A row for each tenant: a number that grows with every change of any function's standing. As whoever changes it
        # holds its row until the commit, its values are seen in their order: who has seen one misses no earlier change.
        """CREATE TABLE poet.generation (
            tenant text PRIMARY KEY,
            number bigint NOT NULL
        ) WITH (fillfactor = 50)""",
        """CREATE TABLE poet.function (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            module text NOT NULL,
            qualname text NOT NULL,
            fingerprint text NOT NULL,
            domain text,
            learner text NOT NULL,
            declared text NOT NULL,    -- JSON object
            objective text NOT NULL,   -- JSON object
            space text NOT NULL,       -- JSON object of pairs
            generation bigint NOT NULL,
            changed bigint NOT NULL,   -- the tenant's generation at its last change
            paused text NOT NULL,      -- why; empty: it learns
            pinned text NOT NULL,      -- JSON object
            UNIQUE (tenant, module, qualname, fingerprint)
        ) WITH (fillfactor = 70)""",
        """CREATE TABLE poet.version (
            function bigint NOT NULL REFERENCES poet.function,
            number integer NOT NULL CHECK (number >= 1),
            tenant text NOT NULL,
            parent integer,
            origin text NOT NULL,
            author text NOT NULL,
            reason text NOT NULL,
            evidence bigint NOT NULL,
            since double precision NOT NULL,    -- Unix s; 0: not known
            until double precision NOT NULL,    -- Unix s; 0: not known
            created double precision NOT NULL,  -- Unix s
            "values" text NOT NULL,             -- JSON object
            estimates text NOT NULL,            -- JSON object: name -> [value, low, high, n, level]
            PRIMARY KEY (function, number),
            FOREIGN KEY (function, parent) REFERENCES poet.version (function, number)
        )""",
        """CREATE TABLE poet.alias (
            function bigint NOT NULL REFERENCES poet.function,
            name text NOT NULL,
            tenant text NOT NULL,
            version integer NOT NULL,
            generation bigint NOT NULL,
            PRIMARY KEY (function, name),
            FOREIGN KEY (function, version) REFERENCES poet.version (function, number)
        ) WITH (fillfactor = 70)""",
        """CREATE TABLE poet.change (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            tenant text NOT NULL,
            function bigint NOT NULL REFERENCES poet.function,
            at double precision NOT NULL,       -- Unix s
            action text NOT NULL,
            version integer NOT NULL,
            author text NOT NULL,
            reason text NOT NULL,
            token uuid NOT NULL                 -- of the request: tells whether it was committed
        )""",
        "CREATE INDEX change_of_function ON poet.change (function, id)",
        "CREATE INDEX changed_function ON poet.function (tenant, changed)",
        # From here on nothing refers to ``function`` by a foreign key: functions are never deleted, and to check it
        # would make every host that appends lock the one row of the function.
        #
        # The primary key has the time in it, so that the table may be partitioned by it, and serves reading by age.
        """CREATE TABLE poet.chunk (
            function bigint NOT NULL,
            newest double precision NOT NULL,   -- greatest start, Unix s
            id uuid NOT NULL,                   -- drawn by whoever writes it
            oldest double precision NOT NULL,   -- least start, Unix s
            last bigint NOT NULL,               -- sequence of the last execution
            executions integer NOT NULL CHECK (executions >= 1),
            growing boolean NOT NULL,           -- may still be merged with what follows
            tenant text NOT NULL,
            writer text NOT NULL,               -- empty: several, see ``writing``
            body bytea NOT NULL,                -- deflated
            PRIMARY KEY (function, newest, id) INCLUDE (oldest)
        ) WITH (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05)""",
        "ALTER TABLE poet.chunk ALTER COLUMN body SET STORAGE EXTERNAL",  # it packs no further
        "CREATE INDEX chunk_of_writer ON poet.chunk (function, writer, last)",
        f"CREATE INDEX small_chunk ON poet.chunk (function, newest) WHERE executions <= {SMALL}",
        # What a chunk of several writers holds of each.
        """CREATE TABLE poet.writing (
            function bigint NOT NULL,
            last bigint NOT NULL,               -- sequence of the writer's last execution in the chunk
            newest double precision NOT NULL,   -- of the chunk
            chunk uuid NOT NULL,
            tenant text NOT NULL,
            writer text NOT NULL,
            PRIMARY KEY (function, writer, last, chunk)
        )""",
        # Both are written by all hosts at once, so each row is one of ``SHARDS``, which are summed when they are read.
        """CREATE TABLE poet.hour (
            function bigint NOT NULL,
            start integer NOT NULL,             -- hours since 1970
            version integer NOT NULL,
            shard smallint NOT NULL,
            calls bigint NOT NULL,
            tenant text NOT NULL,
            sums bytea NOT NULL,
            PRIMARY KEY (function, start, version, shard)
        ) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.1)""",
        """CREATE TABLE poet.counter (
            function bigint NOT NULL,
            shard smallint NOT NULL,
            tenant text NOT NULL,
            calls bigint NOT NULL DEFAULT 0,
            failures bigint NOT NULL DEFAULT 0,
            seconds double precision NOT NULL DEFAULT 0,    -- s, summed
            last_call double precision NOT NULL DEFAULT 0,  -- Unix s; 0: never
            expired_calls bigint NOT NULL DEFAULT 0,        -- of executions that retention has deleted since
            expired_failures bigint NOT NULL DEFAULT 0,
            expired_seconds double precision NOT NULL DEFAULT 0,
            hourless_calls bigint NOT NULL DEFAULT 0,       -- of hours that retention has deleted since
            PRIMARY KEY (function, shard)
        ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1)""",
        # Of executions whose chunks do not have them yet.
        """CREATE TABLE poet.score (
            function bigint NOT NULL,
            sequence bigint NOT NULL,
            score double precision NOT NULL,
            at double precision NOT NULL,       -- Unix s
            tenant text NOT NULL,
            writer text NOT NULL,
            PRIMARY KEY (function, writer, sequence)
        )""",
        """CREATE TABLE poet.learner (
            function bigint PRIMARY KEY,
            tenant text NOT NULL,
            state bytea                         -- none: nobody knows anything yet
        ) WITH (autovacuum_vacuum_scale_factor = 0.1, toast.autovacuum_vacuum_scale_factor = 0.1)""",
        # The last contribution of each writer to a function's learner.
        """CREATE TABLE poet.contribution (
            function bigint NOT NULL,
            number bigint NOT NULL,
            at double precision NOT NULL,       -- Unix s
            tenant text NOT NULL,
            writer text NOT NULL,
            PRIMARY KEY (function, writer)
        ) WITH (fillfactor = 70)""",
        """CREATE TABLE poet.process (
            tenant text NOT NULL,
            writer text NOT NULL,
            host text NOT NULL,
            pid bigint NOT NULL,
            started double precision NOT NULL,  -- Unix s
            seen double precision NOT NULL,     -- Unix s
            dropped bigint NOT NULL,
            faults bigint NOT NULL,
            last_fault text NOT NULL,
            away double precision NOT NULL,     -- Unix s; 0: it is not
            spooled bigint NOT NULL,
            PRIMARY KEY (tenant, writer)
        ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1)""",
        *(statement for table in _SHARED if table not in _LATER for statement in _guarded(table)),
    ),
    # From here on chunks of functions with declared tunables may be of format PXc4, which agents of the release before
    # take for what it is; they go on with all other functions.
    (
        "ALTER TABLE poet.function ADD COLUMN choices text NOT NULL DEFAULT '{}'",  # JSON object of lists
        "ALTER TABLE poet.function ADD COLUMN goals text NOT NULL DEFAULT '{}'",  # JSON object of objects
        # What was said of executions by name, beside ``score``.
        """CREATE TABLE poet.goal (
            function bigint NOT NULL,
            sequence bigint NOT NULL,
            value double precision NOT NULL,
            at double precision NOT NULL,       -- Unix s
            tenant text NOT NULL,
            writer text NOT NULL,
            name text NOT NULL,
            PRIMARY KEY (function, writer, sequence, name)
        )""",
        *_guarded("goal"),
    ),
    # From here on chunks of functions whose calls a coin was thrown for may be of format PXc5, which agents of the
    # release before take for what it is. They know no documents, and move names without them.
    (
        """CREATE TABLE poet.document (
            function bigint NOT NULL,           -- 0: none, or several
            revision bigint NOT NULL CHECK (revision >= 1),
            at double precision NOT NULL,       -- Unix s
            open boolean NOT NULL,              -- false: it is over
            tenant text NOT NULL,
            kind text NOT NULL,
            name text NOT NULL,
            token uuid NOT NULL,                -- of the request that kept it: tells whether it was committed
            body text NOT NULL,                 -- JSON
            PRIMARY KEY (tenant, kind, function, name)
        ) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.1)""",
        # Changes of what is no function's.
        "ALTER TABLE poet.generation ADD COLUMN functionless bigint NOT NULL DEFAULT 0",
        *_guarded("document"),
    ),
)
VERSION = len(MIGRATIONS)
COMPATIBLE = 1  # oldest release, by its ``VERSION``, that may use a database of this ``VERSION``

Connection = psycopg.Connection[tuple[object, ...]]


def prepare(connection: Connection, address: Address, *, readonly: bool) -> None:
    """See to it that the database can be used; lay it out, or bring it up to date, where need be and this role may.

    Raises StoreUnavailable, StoreTooNew, StoreCorrupt, psycopg.Error.
    """
    found = recognised(connection, address)
    if found >= VERSION:
        return
    if readonly:
        if found:
            raise StoreUnavailable(
                address.url,
                f"its tables are of version {found}, this release reads {VERSION}",
                "start an agent of this release, or run `python -m poet.stores.postgres URL` once",
            )
        raise StoreUnavailable(
            address.url,
            "no function has been recorded yet",
            "call a decorated function once, with POET_STORE set to this URL",
        )
    try:
        migrate(connection, address)
    except errors.InsufficientPrivilege as error:
        raise StoreUnavailable(
            address.url,
            "its tables are not there yet, and this role may not make them"
            if not found
            else f"its tables are of version {found}, and this role may not bring them to {VERSION}",
            "run `python -m poet.stores.postgres URL` once, with the URL of a role that may",
        ) from error


def recognised(connection: Connection, address: Address) -> int:
    """The version of the database's layout, 0 where there is none. Raises StoreTooNew, StoreCorrupt, psycopg.Error."""
    rows = connection.execute(
        "SELECT c.oid IS NOT NULL, n.oid IS NULL OR has_schema_privilege(n.oid, 'USAGE') FROM"
        " (VALUES (1)) one LEFT JOIN pg_namespace n ON n.nspname = 'poet'"
        " LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'store'"
    ).fetchall()
    (there, usable) = rows[0]
    if not there:
        return 0
    if not usable:
        raise StoreUnavailable(address.url, "this role may not use the tables of poet", faults.GRANT)
    kept = connection.execute("SELECT version, compatible FROM poet.store").fetchone()
    if kept is None:
        raise StoreCorrupt(address.url, "the row of poet.store is missing", "restore a backup; nothing was changed")
    version, compatible = (int(str(number)) for number in kept)
    check_compatible(address, version, compatible)
    return version


def check_compatible(address: Address, version: int, compatible: int) -> None:
    """Raises StoreTooNew where a newer release has shut this one out."""
    if compatible > VERSION:
        raise StoreTooNew(
            address.url,
            f"a newer POET wrote it: its layout is of version {version}, for releases that know {compatible};"
            f" this one knows up to {VERSION}",
            "upgrade this one; nothing was changed in the database",
        )


def migrate(connection: Connection, address: Address) -> int:
    """Bring the database to ``VERSION``, all or nothing; of several who try at once, one does, and all wait for it.

    Gives the version that was found. Raises StoreTooNew, psycopg.Error.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        found = recognised(connection, address)
        if found >= VERSION:
            return found
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'poet'").fetchall():
            connection.execute("CREATE SCHEMA poet")
        for step in MIGRATIONS[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute("UPDATE poet.store SET version = %s, compatible = %s", (VERSION, COMPATIBLE))
        give_rights(connection)
    return found


def give_rights(connection: Connection) -> None:
    """Make the roles where this one may, and tell them what they may do. They belong to the server, not to a database.

    A server that one role uses alone needs none of them. Raises psycopg.Error, where the tables are another's.
    """
    known = {str(name) for (name,) in connection.execute("SELECT rolname FROM pg_roles").fetchall()}
    for role in ROLES:
        if role not in known:
            try:
                with connection.transaction():
                    connection.execute(f"CREATE ROLE {role} NOLOGIN")
            except errors.InsufficientPrivilege:
                return
            except (errors.DuplicateObject, errors.UniqueViolation):  # made for another database at this very moment
                pass
    connection.execute("GRANT USAGE ON SCHEMA poet TO poet_viewer, poet_agent, poet_admin")
    connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA poet TO poet_viewer, poet_agent, poet_admin")
    for table, rights in _SHARED.items():
        connection.execute(f"GRANT {rights} ON poet.{table} TO poet_agent")
        connection.execute(f"GRANT INSERT, UPDATE, DELETE ON poet.{table} TO poet_admin")
        if not connection.execute(
            "SELECT 1 FROM pg_policies WHERE schemaname = 'poet' AND tablename = %s AND policyname = 'all_tenants'",
            (table,),
        ).fetchall():
            connection.execute(f"CREATE POLICY all_tenants ON poet.{table} TO poet_admin USING (true)")


def tables() -> list[str]:
    """All tables of this release."""
    return ["store", *_SHARED]
