"""The store in PostgreSQL keeps the contract of all shared stores, on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

from contracts.test_stores import SameAsMemory, _Steps
from poet.seams import Store
from poet.stores.postgres import PostgresStore
from poet.testing.stores import SharedStoreContract
from postgres.server import database_for, shared


class TestPostgresStore(SharedStoreContract):
    def make_store(self, folder: Path) -> Store:
        server, name = shared(), database_for(folder)
        server.make_database(name)
        return PostgresStore(server.url(name))

    @pytest.fixture(autouse=True)
    def database(self, tmp_path: Path) -> Iterator[None]:
        """Dropped after the test, so that a session does not fill the disk."""
        yield
        shared().drop_database(database_for(tmp_path))


class SameAsMemoryInPostgres(SameAsMemory):
    """Whatever is asked of a store in memory and of one in PostgreSQL, in whatever order, both answer alike."""

    def __init__(self) -> None:
        super().__init__()
        self.sqlite.close()
        shared().make_database("poet_alike")
        self.tenant = f"tenant {next(_numbers)}"  # as new and empty as a database of its own, and much sooner there
        self.clock = _Steps()
        self.sqlite = self.open()

    def open(self) -> PostgresStore:
        return PostgresStore(shared().url("poet_alike"), tenant=self.tenant, clock=self.clock)

    @rule()
    def reopen(self) -> None:
        self.sqlite.close()
        self.sqlite = self.open()


_numbers = count()
TestSameAsMemoryInPostgres = SameAsMemoryInPostgres.TestCase
TestSameAsMemoryInPostgres.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
