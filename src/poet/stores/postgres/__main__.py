"""``python -m poet.stores.postgres URL``: lay out a database, or bring it up to date, with the rights of URL's role.

For databases whose agents have a role that may not make tables. Gives the roles of POET their rights, too.
"""

from __future__ import annotations

import sys

import psycopg

from poet.errors import PoetError
from poet.stores.postgres import schema
from poet.stores.postgres.address import Address
from poet.stores.postgres.faults import translated
from poet.stores.postgres.link import Link
from poet.stores.postgres.store import PATIENCE, PostgresStore


def main(arguments: list[str]) -> int:
    """0 where the database can be used afterwards."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        store = PostgresStore(arguments[0])
    except PoetError as error:
        print(error, file=sys.stderr)
        return 1
    store.close()
    address = Address.of(arguments[0])
    try:
        with Link(address, tenant="", readonly=False, patience=PATIENCE).connect() as session, session.transaction():
            schema.give_rights(session)
    except psycopg.Error as error:
        print(translated(address, error), file=sys.stderr)
        return 1
    print(f"{store.url}: laid out, version {schema.VERSION}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
