"""One SQLite file: opened with care, written by one at a time, its errors put into our words.

A database has one connection with a lock around it. Stores are used off the call path, by the trainer and now and then
by a person, so threads rarely meet; and one connection can be closed as a whole before a fork.

SQLite must not be carried across a fork: the child would believe that it holds the parent's locks. So every connection
is closed before ``os.fork``, once what runs on it has ended, and opened again on first use, in the parent as in the
child. Where no handler runs before the fork, the child lays the inherited connection aside without touching it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from poet.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from poet.stores import location, schema
from poet.stores.lease import Lease, identity
from poet.stores.rows import Damage

PATIENCE = 10.0  # longest wait for another writer [s]
_FORK_PATIENCE = 5.0  # longest that a fork waits for a transaction of ours to end [s]
_CACHE = 256  # kB of pages that are kept; what else is asked for the system's own cache has, some microseconds away
_STATEMENTS = 32  # that are kept compiled, some 5 kB each; storing and learning take turns with two dozen
_LOG_LIMIT = 4 << 20  # bytes that an idle write-ahead log may occupy
_HEADER = struct.Struct(">16xH10xI28xI4xI28x")  # size of a page, pages, user version, application id: see
# https://sqlite.org/fileformat2.html, section 1.3
_MAGIC = b"SQLite format 3\x00"
_MOVE_AWAY = "move the file away, then a new one is made, or restore a copy; nothing was changed in it"


class Database:
    """The file ``path``. Nothing is shared between two of them, in one process or in several, but the file."""

    def __init__(self, path: Path, *, readonly: bool = False, patience: float = PATIENCE) -> None:
        """Open it, make it where there is none. ``patience``: longest wait for another writer, > 0 [s].

        readonly: make nothing, change nothing. Raises StoreUnavailable.
        """
        self._connection: sqlite3.Connection | None = None
        self.path, self.readonly, self.patience = path, readonly, patience
        self._lease = Lease(path.with_name(path.name + ".lock"), patience)
        self._writer = threading.Lock()  # around the lease; always taken before the next
        self._reader = threading.Lock()  # around the connection
        self._identity: tuple[int, int] | None = None
        self._process = os.getpid()
        self._durable = False
        self._closed = False
        self.openings = 0  # what was read under one number was read from one file
        _open_databases.add(self)
        self._ensure()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one statement. Raises StoreUnavailable."""
        while True:
            _let_forks_pass()
            self._ensure()
            with self._reader:
                if self._connection is not None:  # else another thread closed it meanwhile
                    with self._translated():
                        yield self._connection
                    return

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """The connection, for several statements that all see the same moment. Raises StoreUnavailable."""
        with self.reading() as connection:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction: committed at the end, undone by an exception. Raises StoreUnavailable.

        durable: on the disk when it is over, so that no power cut loses it. Otherwise a power cut, though not
        the death of the process, may lose the last of them; never a part of one, never one before a durable one.
        """
        if self.readonly:
            raise StoreUnavailable(str(self.path), "opened for reading only")
        _let_forks_pass()
        with self._leased(), self._reader, self._translated():
            if self._connection is not None and identity(self.path) != self._identity:
                self._forget()  # someone removed or replaced the file: what we wrote to the old one nobody would see
            connection = self._connection or self._open()
            if durable != self._durable:  # cannot be changed inside a transaction
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # some errors have undone it already
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close for good. Under the lease where it can be had soon: the last connection to close makes a checkpoint."""
        if self._closed:
            return
        self._closed = True
        _open_databases.discard(self)
        if self._process != os.getpid():
            self._abandon()
            return
        with self._writer:
            if not self.readonly:
                with suppress(StoreUnavailable):
                    self._lease.acquire()
            with self._reader:
                self._forget()
            self._lease.close()

    def __del__(self) -> None:
        """Whoever drops a store unclosed leaves no file open; a child leaves its parent's connection alone."""
        if getattr(self, "_process", None) == os.getpid():
            self._forget()

    def _ensure(self) -> None:
        """See to it that there is a connection, made by this process."""
        if self._process != os.getpid():
            self._abandon()
        if self._closed:
            raise StoreUnavailable(str(self.path), "the store was closed", "make a new one")
        if self._connection is not None:
            return
        with self._translated():
            if self.readonly:
                with self._reader:
                    if self._connection is None:
                        self._open_readonly()
                return
            location.prepare(self.path)
            _inspect(self.path)  # before the lease, which would leave its file beside a stranger's
            with self._leased(), self._reader:
                if self._connection is None:
                    self._open()

    @contextmanager
    def _leased(self) -> Iterator[None]:
        if self._process != os.getpid():
            self._abandon()
        if self._closed:
            raise StoreUnavailable(str(self.path), "the store was closed", "make a new one")
        if not self.path.parent.is_dir():
            location.prepare(self.path)
        with self._writer:
            self._lease.acquire()
            try:
                yield
            finally:
                self._lease.release()

    def _open(self) -> sqlite3.Connection:
        """Open for writing, under the lease; make the file or bring it up to date where need be."""
        _inspect(self.path, leased=True)
        connection = self._connect(str(self.path), uri=False)
        try:
            found = self._recognised(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_LIMIT}")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{_CACHE}")
            connection.execute("PRAGMA trusted_schema = OFF")
            if found < schema.VERSION:
                schema.migrate(connection, found)
                # into the file itself, so that whoever looks at its header sees whose it is
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except BaseException:
            connection.close()
            raise
        return self._adopt(connection)

    def _open_readonly(self) -> None:
        """Open what is there. Raises StoreUnavailable where nothing is."""
        if not _inspect(self.path):
            raise StoreUnavailable(
                str(self.path),
                "no function has been recorded yet",
                "call a decorated function once, from this folder or with POET_STORE set to this path",
            )
        address = f"file:{quote(str(self.path.absolute()))}?mode=ro"
        try:
            connection, found = self._looked_into(address)
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or _log_of(self.path).exists():
                raise
            # a folder that we may not write to, and nobody writes: then the file alone is the whole truth
            connection, found = self._looked_into(address + "&immutable=1")
        if not found:
            connection.close()
            raise StoreUnavailable(str(self.path), "it is empty", "run the program that writes it once")
        self._adopt(connection if found >= schema.READABLE else _brought_up_to_date(connection, found))

    def _looked_into(self, address: str) -> tuple[sqlite3.Connection, int]:
        """A connection and the version of the file's layout. Raises sqlite3.Error, StoreCorrupt, StoreTooNew."""
        connection = self._connect(address, uri=True)
        try:
            return connection, self._recognised(connection)
        except BaseException:
            connection.close()
            raise

    def _connect(self, address: str, *, uri: bool) -> sqlite3.Connection:
        return sqlite3.connect(
            address,
            uri=uri,
            timeout=self.patience,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_STATEMENTS,
        )

    def _adopt(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        self._connection, self._durable = connection, False
        self.openings += 1
        self._identity = identity(self.path)
        return connection

    def _recognised(self, connection: sqlite3.Connection) -> int:
        """The version of the file's layout, 0 where it is empty. Raises StoreCorrupt, StoreTooNew."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (number,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        layout = schema.Layout.of(number)
        _check_owner(self.path, application, layout, empty=not tables)
        return layout.version

    def _forget(self) -> None:
        """Close the connection; the next use opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _abandon(self) -> None:
        """In a child: lay the parent's connection aside for ever; even to close it would touch the parent's locks."""
        _laid_aside.append(self._connection)
        self._connection = None
        self._start_afresh()

    def _start_afresh(self) -> None:
        """In a child: locks and lease of its own, as a thread that exists in the parent alone may hold the others."""
        self._writer, self._reader = threading.Lock(), threading.Lock()
        self._lease.close()  # ends nothing: the parent's hold on it ends with the parent's own
        self._lease = Lease(self._lease.path, self.patience)
        self._process = os.getpid()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors in our words."""
        try:
            yield
        except sqlite3.Error as error:
            raise translated(self.path, error) from error
        except Damage as error:
            raise StoreCorrupt(str(self.path), str(error), "`poet doctor` lists all damage") from error

    def _close_for_fork(self) -> bool:
        """Close the connection and keep all threads off it; False where a transaction does not end in time."""
        if not self._reader.acquire(timeout=_FORK_PATIENCE):
            return False
        self._forget()
        return True

    def _go_on_after_fork(self) -> None:
        """In the parent: let threads at the connection again."""
        self._reader.release()


def _brought_up_to_date(connection: sqlite3.Connection, found: int) -> sqlite3.Connection:
    """A copy in memory, of this release's layout, in place of a file that must stay as it is, and is closed."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    try:
        connection.backup(copy)
        schema.migrate(copy, found)
    except BaseException:
        copy.close()
        raise
    finally:
        connection.close()
    return copy


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_laid_aside: list[object] = []  # connections of a parent process, kept from the garbage collector
_closed_for_fork: list[Database] = []
_forking = threading.RLock()  # two threads may fork at once; re-entrant, as a signal handler may


def _let_forks_pass() -> None:
    """Wait while a thread forks: threads that never pause would else keep it from the connection."""
    with _forking:
        pass


def _before_fork() -> None:
    _forking.acquire()
    _closed_for_fork.extend(database for database in list(_open_databases) if database._close_for_fork())


def _after_fork_in_parent() -> None:
    while _closed_for_fork:
        _closed_for_fork.pop()._go_on_after_fork()
    _forking.release()


def _after_fork_in_child() -> None:
    for database in list(_open_databases):
        if database in _closed_for_fork:
            database._start_afresh()
        else:
            database._abandon()
    _closed_for_fork.clear()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


def translated(path: Path, error: sqlite3.Error) -> StoreUnavailable:
    """An SQLite error as one of ours, with what can be done about it."""
    where, cause, code = str(path), str(error), _code(error)
    match code:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(where, cause, _MOVE_AWAY)
        case sqlite3.SQLITE_FULL:
            return StoreUnavailable(where, cause, location.advice_for(path, errno.ENOSPC))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreUnavailable(where, cause, f"another program uses the file; `fuser {path}` names it")
        case sqlite3.SQLITE_IOERR:
            return StoreUnavailable(where, cause, "look at the disk's health, its quota and the limits of file sizes")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return StoreUnavailable(where, cause, location.advice_for(path, errno.EACCES))
        case _:
            return StoreUnavailable(where, cause, "`poet doctor` looks for damage")


def _code(error: sqlite3.Error) -> int:
    """The primary result code; 0 where the error is the driver's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _inspect(path: Path, *, leased: bool = False) -> bool:
    """Whether there is a store's file; reads its header only.

    leased: nobody writes meanwhile, so its length can be judged too.
    Raises StoreCorrupt, StoreTooNew, StoreUnavailable.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise location.unavailable(path, error) from error
    if not header:
        log = _log_of(path)
        if log.exists() and log.stat().st_size:
            raise StoreCorrupt(str(path), "the file is empty, but its write-ahead log is not", "restore a copy of both")
        return False
    if len(header) < _HEADER.size or not header.startswith(_MAGIC):
        raise StoreCorrupt(str(path), "this is not an SQLite database", _MOVE_AWAY)
    page, pages, number, application = _HEADER.unpack(header)
    if application or number:  # else it may be ours, with all but this page in its write-ahead log
        _check_owner(path, application, schema.Layout.of(number), empty=False)
    # SQLite itself misses a cut within the last page. With a log, what is not in the file may be there.
    if leased and not _log_of(path).exists():
        wanted, size = (page if page > 1 else 65536) * pages, path.stat().st_size
        if size < wanted:
            raise StoreCorrupt(str(path), f"the file was cut off: {size} of {wanted} bytes are left", "restore a copy")
    return True


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _check_owner(path: Path, application: int, layout: schema.Layout, *, empty: bool) -> None:
    """Raises StoreCorrupt where the file is another program's, StoreTooNew where a newer release has shut us out."""
    if empty and not application and not layout.version:
        return
    if application != schema.APPLICATION or layout.version < 1:
        raise StoreCorrupt(
            str(path), "this is another program's database", "set POET_STORE to another path; nothing was changed in it"
        )
    if layout.compatible > schema.VERSION:
        raise StoreTooNew(
            str(path),
            f"a newer POET wrote it: its layout is of version {layout.version}, for releases that know"
            f" {layout.compatible}; this one knows up to {schema.VERSION}",
            "upgrade this one; nothing was changed in the file",
        )
