"""The connection to a database: opened when first used, renewed when lost, never carried across a fork.

A store has one connection with a lock around it, as it is used off the call path, by the trainer and now and then by a
person. Work is handed over as a function, since it may have to be run again: on a new connection where the old one was
lost, or where the server has undone a transaction for the sake of another. It is run twice at most. Work that must not
be done twice finds out, under the lock that its first run held, whether that one was committed: see ``standing``.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus

from poet.errors import StoreCorrupt, StoreError, StoreUnavailable
from poet.stores.postgres import faults, schema
from poet.stores.postgres.address import Address
from poet.stores.rows import Damage

NAME = "poet"  # what the server's lists call our connections
_FIRST_REST, _LONGEST_REST = 0.1, 2.0  # after a failed connection nobody tries again for so long [s]
_SETTINGS = (
    "SELECT set_config('poet.tenant', %s, false), set_config('lock_timeout', %s, false),"
    " set_config('idle_in_transaction_session_timeout', %s, false)"
)

_SNAPSHOT = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
_DURABLE = ("BEGIN",)
_SOON = ("BEGIN", "SET LOCAL synchronous_commit = off")

T = TypeVar("T")
Row = tuple[Any, ...]
Statement = tuple[str, Sequence[Any]]


class Session(psycopg.Connection[Row]):
    """A connection that does not wait for ever."""

    silence: float | None = None  # longest wait for one answer [s]
    _gone: faults.Silence | None = None

    def wait(self, gen: PQGen[T], *args: Any, **options: Any) -> T:
        """The answer to one request. Raises Silence."""
        if self.silence is None:
            return super().wait(gen, *args, **options)
        try:
            return super().wait(_bounded(gen, time.monotonic() + self.silence, self.silence), *args, **options)
        except faults.Silence as error:
            self._gone = error
            self.pgconn.finish()  # an answer that comes now would be taken for that to another question
            raise

    def __del__(self, *_: Any) -> None:
        """Its link has closed it, or has laid it aside, as it is a parent's."""

    @contextmanager
    def in_one_trip(self) -> Iterator[None]:
        """What is executed inside is sent together; its answers are there afterwards.

        Unlike ``pipeline`` it logs nothing where the connection was lost, as that is told, and awaits no more of it.
        """
        pipeline = self.pipeline()
        pipeline.__enter__()
        try:
            yield
        except BaseException:
            with suppress(psycopg.Error):
                pipeline.__exit__(None, None, None)
            raise
        try:
            pipeline.__exit__(None, None, None)
        except psycopg.Error:
            if self._gone is not None:  # else what follows from it would be told
                raise self._gone from None
            raise


def _bounded(gen: PQGen[T], until: float, silence: float) -> Generator[Any, Any, T]:
    """``gen``, ended when nothing has come ``until`` then."""
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                raise faults.Silence(f"no answer within {silence:.3g} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        value: T = end.value
        return value


class Transaction:
    """One transaction. What is asked in it sees what it wrote. It begins with the first request, on the way."""

    def __init__(self, session: Session, begin: Sequence[str], *, again: bool) -> None:
        self._session, self._begin = session, begin
        self.again = again  # whether an earlier run may have been committed, unseen by us
        self._over = False

    def ask(self, statement: str, facts: Sequence[Any] = ()) -> list[Row]:
        """The rows of one statement; one round trip."""
        return self.ask_all([(statement, facts)])[0]

    def ask_all(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of several statements, each of which sees what those before it did; one round trip in all."""
        begin, self._begin = self._begin, ()
        if len(statements) == 1 and not begin:
            return [_rows(self._session.execute(*statements[0], prepare=True, binary=True))]
        with self._session.in_one_trip():
            for words in begin:
                self._session.execute(words, prepare=True)
            cursors = [self._session.execute(*statement, prepare=True, binary=True) for statement in statements]
        return [_rows(cursor) for cursor in cursors]

    def finish(self, statements: Sequence[Statement] = ()) -> None:
        """Carry out the last statements and commit, in one round trip. Nothing may be asked afterwards."""
        if self._over:
            return
        self._over = True
        if self._begin and not statements:
            return  # nothing was asked
        self.ask_all([*statements, ("COMMIT", ())])

    def undo(self) -> None:
        """As if nothing had been asked."""
        with suppress(psycopg.Error):  # the connection is lost: the server has undone it
            if self._session.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
                self._session.execute("ROLLBACK")


def _carried_out(session: Session, begin: Sequence[str], work: Callable[[Transaction], T], *, again: bool) -> T:
    tx = Transaction(session, begin, again=again)
    try:
        answer = work(tx)
        tx.finish()
    except BaseException:
        tx.undo()
        raise
    return answer


def _rows(cursor: psycopg.Cursor[Row]) -> list[Row]:
    return cursor.fetchall() if cursor.description is not None else []


class Link:
    """The way to one database, for one tenant."""

    def __init__(self, address: Address, *, tenant: str, readonly: bool, patience: float) -> None:
        """patience: longest wait for a lock, or for an answer, > 0 [s]."""
        self.address, self.tenant, self.readonly, self.patience = address, tenant, readonly, patience
        self.openings = 0  # what was read under one number was read from one database
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()  # the listener's as well
        self._silence = 2 * patience  # longer than the server waits for a lock
        self._closed = False
        self._process = os.getpid()
        self._rest, self._rests_until = 0.0, 0.0
        self._refusal: StoreError | None = None
        _open_links.add(self)

    @property
    def backend(self) -> int:
        """The server's number of our connection; 0: there is none."""
        session = self._session
        return 0 if session is None or session.closed else session.info.backend_pid

    def __del__(self) -> None:
        """Whoever drops a store unclosed leaves no connection open; a child leaves its parent's connection alone."""
        if getattr(self, "_process", None) == os.getpid():
            self._forget()

    def ensure(self) -> None:
        """See to it that there is a connection, so that ``openings`` says of which. Raises StoreUnavailable."""
        if self._session is None or self._process != os.getpid():
            self._run(lambda session, _: None)

    def once(self, statement: str, facts: Sequence[Any] = ()) -> list[Row]:
        """The rows of one statement that changes nothing; one round trip. Raises StoreUnavailable."""
        return self._run(lambda session, _: _rows(session.execute(statement, facts, prepare=True, binary=True)))

    def snapshot(self, work: Callable[[Transaction], T], *, at_leisure: bool = False) -> T:
        """``work`` that changes nothing, all of it of one moment. Raises StoreUnavailable.

        at_leisure: an answer may take as long as it takes.
        """

        def run(session: Session, again: bool) -> T:
            session.silence = None if at_leisure else self._silence
            try:
                return _carried_out(session, _SNAPSHOT, work, again=again)
            finally:
                session.silence = self._silence

        return self._run(run)

    def writing(self, work: Callable[[Transaction], T], *, durable: bool = False) -> T:
        """``work`` in a transaction: committed at the end, undone by an exception. Raises StoreUnavailable.

        durable: on the server's disk when it is over, and on those of the standbys that it waits for. Otherwise a crash
        of the server may lose the last moments; never a part of a transaction, never one before a durable one.
        Where the connection is lost it is run again: it must do no harm then that the first run was committed.
        """
        if self.readonly:
            raise StoreUnavailable(self.address.url, "opened for reading only")
        begin = _DURABLE if durable else _SOON
        return self._run(lambda session, again: _carried_out(session, begin, work, again=again))

    def close(self) -> None:
        """Close for good. Closing twice does no harm."""
        if self._process != os.getpid():
            self.start_afresh()
        self._closed = True
        _open_links.discard(self)
        with self._lock:
            self._forget()

    def start_afresh(self) -> None:
        """In a child: leave the parent's connections alone, for ever.

        To end one properly would tell the server, on the socket that both have, that the parent has gone.
        """
        self._session = None
        for session in [session for session in self._sessions if not session.closed]:
            _laid_aside.append(session)
            with suppress(OSError, psycopg.Error):
                os.close(session.fileno())  # so that the server sees when the parent goes
        self._sessions = weakref.WeakSet()
        self._lock = threading.Lock()  # a thread that exists in the parent alone may hold the other
        self._process = os.getpid()

    def connect(self, name: str = NAME) -> Session:
        """A new connection with the settings of ours. Raises psycopg.Error."""
        parameters = self.address.for_connecting(name=name, readonly=self.readonly, patience=self.patience)
        session = Session.connect(**parameters, autocommit=True)  # type: ignore[arg-type]
        try:
            session.silence = self._silence
            milliseconds = str(round(1000 * self.patience))
            session.execute(_SETTINGS, (self.tenant, milliseconds, milliseconds))
            if self.readonly:
                session.execute("SET default_transaction_read_only = on")
        except BaseException:
            session.close()
            raise
        self._sessions.add(session)
        return session

    def _run(self, work: Callable[[Session, bool], T]) -> T:
        if self._process != os.getpid():
            self.start_afresh()
        with self._lock:
            try:
                return self._tried(work)
            except psycopg.Error as error:
                raise faults.translated(self.address, error) from error
            except Damage as error:
                raise StoreCorrupt(self.address.url, str(error), "`poet doctor` lists all damage") from error

    def _tried(self, work: Callable[[Session, bool], T]) -> T:
        again = False
        while True:
            session = self._ready()
            try:
                return work(session, again)
            except psycopg.Error as error:
                lost = faults.is_lost(error, session)
                if lost:
                    self._forget()
                if again or not (lost or faults.is_undone(error)):
                    raise
                again = True
            except BaseException:  # an interrupt, say, in the midst of an answer
                if session.info.transaction_status is not TransactionStatus.IDLE:
                    self._forget()
                raise

    def _ready(self) -> Session:
        """The connection, or a new one. Raises StoreError, psycopg.Error."""
        if self._closed:
            raise StoreUnavailable(self.address.url, "the store was closed", "make a new one")
        session = self._session
        if session is not None and not session.closed:
            return session
        if self._refusal is not None and time.monotonic() < self._rests_until:
            # nobody waits again and again for a server that has just not answered
            raise type(self._refusal)(*self._refusal.args) from self._refusal.__cause__
        try:
            session = self._opened()
        except StoreError as error:
            self._take_a_rest(error)
            raise
        except psycopg.Error as error:
            refusal = faults.translated(self.address, error)
            self._take_a_rest(refusal)
            raise refusal from error
        self._session, self._refusal, self._rest = session, None, 0.0
        self.openings += 1
        return session

    def _opened(self) -> Session:
        session = self.connect()
        try:
            schema.prepare(session, self.address, readonly=self.readonly)
        except BaseException:
            session.close()
            raise
        return session

    def _take_a_rest(self, refusal: StoreError) -> None:
        self._rest = min(max(2 * self._rest, _FIRST_REST), _LONGEST_REST)
        self._rests_until = time.monotonic() + self._rest
        self._refusal = refusal

    def _forget(self) -> None:
        """Close the connection; the next use opens another."""
        session, self._session = self._session, None
        if session is not None:
            with suppress(psycopg.Error):
                session.close()


_open_links: weakref.WeakSet[Link] = weakref.WeakSet()
_laid_aside: list[Session] = []  # connections of a parent process, kept from the garbage collector


def _after_fork_in_child() -> None:
    for link in list(_open_links):
        link.start_afresh()


os.register_at_fork(after_in_child=_after_fork_in_child)
