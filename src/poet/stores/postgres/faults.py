"""What the driver and the server say, in our words: what it is, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from poet.errors import StoreCorrupt, StoreTooNew, StoreUnavailable
from poet.stores.postgres.address import Address

_WAIT = "it is tried again by itself"
_MIGRATE = "run `python -m poet.stores.postgres URL` once, with the URL of a role that may create tables"
GRANT = "let the database's owner run: GRANT poet_agent TO this role (poet_viewer: to look only)"
_DISK = "free some disk space on the database's server; what was kept before is safe"


class _Kind(NamedTuple):
    """An error of the server: the beginning of its code, its text when a connection is refused, and our advice."""

    code: str  # of SQLSTATE, see appendix A of PostgreSQL's manual
    text: str  # lower case; a refused connection bears no code
    advice: str
    passes: bool  # may be over the next time; else a person must mend it


_KINDS = (
    _Kind("57P03", "starting up", f"the server is starting, stopping or recovering; {_WAIT}", True),
    _Kind("57P03", "not accepting connections", f"the server is starting, stopping or recovering; {_WAIT}", True),
    _Kind("53300", "too many clients", "raise the server's max_connections, or run fewer processes", True),
    _Kind("53300", "remaining connection slots", "raise the server's max_connections, or run fewer processes", True),
    _Kind("53300", "too many connections", "raise the connection limit of this role or database", True),
    _Kind("53100", "no space left on device", _DISK, True),
    _Kind("53", "out of memory", f"the server is short of something; {_WAIT}", True),
    _Kind("28", "authentication failed", "correct the user or the password in the store's URL", False),
    _Kind("28", "no password supplied", "put a password into the store's URL, PGPASSWORD or ~/.pgpass", False),
    _Kind("28", "no pg_hba.conf entry", "let the server's pg_hba.conf admit this user from this host", False),
    _Kind("28", "is not permitted to log in", "give the role LOGIN", False),
    _Kind("3D000", "does not exist", "create the database or the role, or correct the store's URL", False),
    _Kind("42501", "permission denied", GRANT, False),
    _Kind("42P01", "", _MIGRATE, False),
    _Kind("3F000", "", _MIGRATE, False),
    _Kind("25006", "session is not read-write", "none of the hosts takes writes now; after a failover one will", True),
    _Kind("25006", "session is read-only", "none of the hosts takes writes now; after a failover one will", True),
    _Kind("55P03", "", "other transactions hold it for long; `poet doctor` shows connections", True),
    _Kind("57014", "", f"the server took too long; {_WAIT}", True),
    _Kind("57P01", "terminating connection", _WAIT, True),
    _Kind("08", "connection refused", f"no server listens there; {_WAIT} once it runs", True),
    _Kind("08", "could not translate host name", f"correct the host in the store's URL, or {_WAIT}", True),
    _Kind("08", "failed to resolve host", f"correct the host in the store's URL, or {_WAIT}", True),
    _Kind("08", "timeout expired", f"no answer from there; {_WAIT}", True),
    _Kind("08", "no such file or directory", f"no server listens there; {_WAIT} once it runs", True),
    _Kind("08", "ssl", "set sslmode and its certificates in the store's URL as the server wants them", False),
)
_SETTLED = (TransactionStatus.IDLE, TransactionStatus.INTRANS, TransactionStatus.INERROR)  # no answer is outstanding
_DAMAGE = ("XX001", "XX002")  # a page or an index that cannot be read


class Silence(psycopg.OperationalError):
    """The server has not answered for longer than patience allows."""


def is_lost(error: psycopg.Error, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
    """Whether the connection is of no more use; a new one may work."""
    return (
        connection.closed
        or connection.broken
        or connection.info.transaction_status not in _SETTLED
        or isinstance(error, Silence | errors.AdminShutdown | errors.CrashShutdown | errors.ReadOnlySqlTransaction)
        or (error.sqlstate or "")[:2] == "08"
    )


def is_undone(error: psycopg.Error) -> bool:
    """Whether the server has undone the transaction for the sake of another; repeated, it may succeed."""
    return isinstance(error, errors.SerializationFailure | errors.DeadlockDetected)


def may_pass(error: StoreUnavailable) -> bool:
    """Whether what has made a store unavailable may be over by itself. False: a person must mend it."""
    if isinstance(error, StoreCorrupt | StoreTooNew):
        return False
    cause = error.__cause__
    kind = _kind_of(cause) if isinstance(cause, psycopg.Error) else None
    return True if kind is None else kind.passes


def translated(address: Address, error: psycopg.Error) -> StoreUnavailable:
    """An error of the driver as one of ours, with what can be done about it; tells no secret."""
    cause = address.without_secrets(_one_line(str(error)) or type(error).__name__)
    if error.sqlstate in _DAMAGE:
        return StoreCorrupt(address.url, cause, "restore a backup, or let an expert look at the server's disk")
    kind = _kind_of(error)
    return StoreUnavailable(address.url, cause, kind.advice if kind else "`poet doctor` shows what can be reached")


def _kind_of(error: psycopg.Error) -> _Kind | None:
    code, text = error.sqlstate, str(error).lower()
    if code:
        return next((kind for kind in _KINDS if code.startswith(kind.code)), None)
    return next((kind for kind in _KINDS if kind.text and kind.text in text), None)


def _one_line(text: str) -> str:
    """The first line says what; a connection to several hosts has one for each, of which the last is the newest."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("LINE ")]
    return "; ".join(lines[:4])
