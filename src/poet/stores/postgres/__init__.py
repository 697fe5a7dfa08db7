"""A store in PostgreSQL, for all hosts that share a database. Needs its driver, which is an extra of this package."""

from __future__ import annotations

from poet.errors import ConfigurationError

try:
    import psycopg as _driver  # noqa: F401 - to say what is missing before anything else fails
except ImportError as error:
    raise ConfigurationError("a store in PostgreSQL needs its driver: pip install 'poet-runtime[postgres]'") from error

from poet.stores.postgres.faults import may_pass
from poet.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore", "may_pass"]
