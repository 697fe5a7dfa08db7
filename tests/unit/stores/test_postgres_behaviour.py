"""What the store in PostgreSQL does besides the contract: layouts, rights, tenants, hints, forks, errors."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from poet.errors import ConfigurationError, StaleParameters, StoreTooNew, StoreUnavailable
from poet.model.document import Document
from poet.model.execution import Feedback
from poet.model.function import FunctionKey
from poet.stores.postgres import PostgresStore, may_pass, schema
from poet.stores.postgres.history import SHARDS, shard_of
from poet.testing.stores import KEY, OTHER, draft, execution, failure, record, report
from postgres.server import OWNER, PORT, Server, database_for, shared, until_true


@pytest.fixture
def server() -> Server:
    return shared()


@pytest.fixture
def name(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Iterator[str]:
    """A new database."""
    name = database_for(tmp_path_factory.mktemp("database"))
    server.make_database(name)
    yield name
    server.drop_database(name)


@pytest.fixture
def url(server: Server, name: str) -> str:
    return server.url(name)


@pytest.fixture
def role(server: Server, name: str) -> Iterator[str]:
    """A role that may connect, and nothing else."""
    role = f"{name}_role"
    server.ask(f"CREATE ROLE {role} LOGIN")
    yield role
    server.ask(f"DROP OWNED BY {role}", database=name)
    server.ask(f"DROP ROLE {role}")


def wrong(store: PostgresStore) -> list[object]:
    return [finding for finding in store.check() if not finding.ok]


# ------------------------------------------------------------------------------------------------ layouts

MIGRANT = """
import sys
from poet.stores.postgres import schema
from poet.stores.postgres.address import Address
from poet.stores.postgres.link import Link

address = Address.of(sys.argv[1])
link = Link(address, tenant="", readonly=False, patience=10.0)
with link.connect() as session:
    sys.stdin.readline()
    print(schema.migrate(session, address))
"""


def test_of_eight_processes_that_start_at_once_exactly_one_lays_the_database_out(url: str) -> None:
    command = [sys.executable, "-c", MIGRANT, url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(found) == ["0"] + [str(schema.VERSION)] * 7
    store = PostgresStore(url)
    assert wrong(store) == []
    store.close()


def test_an_agent_works_on_a_newer_layout_that_is_compatible_and_is_told_where_it_is_not(
    server: Server, name: str, url: str
) -> None:
    store = PostgresStore(url)
    store.register(record())
    server.ask("UPDATE poet.store SET version = %s", schema.VERSION + 7, database=name)
    younger = PostgresStore(url)
    younger.append(KEY, [execution(0)])
    assert younger.publish(KEY, draft(), expected=1).generation == 2
    younger.close()
    server.ask("UPDATE poet.store SET compatible = %s", schema.VERSION + 1, database=name)
    for question in (store.generation, lambda: store.changed(0), lambda: PostgresStore(url)):
        with pytest.raises(StoreTooNew, match="upgrade this one"):
            question()
    store.close()


def test_a_layout_that_lacks_its_row_is_damage(server: Server, name: str, url: str) -> None:
    PostgresStore(url).close()
    server.ask("DELETE FROM poet.store", database=name)
    with pytest.raises(StoreUnavailable, match="restore a backup"):
        PostgresStore(url)


def test_the_command_lays_a_database_out(url: str, server: Server, name: str) -> None:
    command = [sys.executable, "-m", "poet.stores.postgres", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"version {schema.VERSION}" in done.stdout
    assert server.ask("SELECT version FROM poet.store", database=name) == [(schema.VERSION,)]
    server.ask("REVOKE ALL ON poet.chunk FROM poet_agent", database=name)
    subprocess.run(command, capture_output=True, check=True)
    assert server.ask("SELECT has_table_privilege('poet_agent', 'poet.chunk', 'DELETE')", database=name) == [(True,)]
    assert subprocess.run([*command[:3]], capture_output=True, check=False).returncode == 2
    missing = subprocess.run([*command[:3], server.url("nowhere")], capture_output=True, text=True, check=False)
    assert missing.returncode == 1
    assert "create the database" in missing.stderr


def test_a_database_of_the_layout_before_is_brought_up_to_date_and_agents_of_both_releases_go_on(
    server: Server, name: str, url: str
) -> None:
    store = PostgresStore(url)
    store.register(record())
    store.append(KEY, [execution(i) for i in range(3)])
    store.score(KEY, [Feedback("w1", 1, 0.5, 1.0)])
    store.close()
    for statement in (  # as it was
        "DROP TABLE poet.goal, poet.document",
        "ALTER TABLE poet.generation DROP COLUMN functionless",
        "ALTER TABLE poet.function DROP COLUMN choices, DROP COLUMN goals",
        "UPDATE poet.store SET version = 1",
    ):
        server.ask(statement, database=name)
    with pytest.raises(StoreUnavailable, match=r"its tables are of version 1, this release reads 3.*start an agent"):
        PostgresStore(url, readonly=True)
    store = PostgresStore(url)
    assert server.ask("SELECT version, compatible FROM poet.store", database=name) == [(3, 1)]
    (kept,) = store.functions()
    assert (kept.calls, kept.choices, kept.goals) == (3, {}, {})
    server.ask(  # of an agent that was there before
        "INSERT INTO poet.function (tenant, module, qualname, fingerprint, learner, declared, objective, space,"
        " generation, changed, paused, pinned) VALUES ('', 'm', 'f', '00000000', '', '{}', '{}', '{}', 0, 0, '', '{}')",
        database=name,
    )
    assert [(one.choices, one.goals) for one in store.functions()] == [({}, {})] * 2
    server.ask("DELETE FROM poet.function WHERE module = 'm'", database=name)
    store.score(KEY, [Feedback("w1", 2, 1.0, 1.0, (("cost", 0.25),))])
    assert [(row.score, row.goals) for row in store.executions(KEY)] == [
        (None, ()),
        (0.5, ()),
        (1.0, (("cost", 0.25),)),
    ]
    store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12)
    assert wrong(store) == []
    store.close()


# ------------------------------------------------------------------------------------------------ rights


def test_a_role_that_may_not_make_tables_is_told_what_to_run(server: Server, name: str, role: str) -> None:
    with pytest.raises(StoreUnavailable, match=r"python -m poet.stores.postgres") as caught:
        PostgresStore(server.url(name, role))
    assert not may_pass(caught.value)
    with pytest.raises(StoreUnavailable, match="no function has been recorded yet"):
        PostgresStore(server.url(name, role), readonly=True)


def test_a_role_without_rights_is_told_which_it_needs(server: Server, name: str, url: str, role: str) -> None:
    PostgresStore(url).close()
    with pytest.raises(StoreUnavailable, match="GRANT poet_agent"):
        PostgresStore(server.url(name, role))


def test_an_agent_may_do_what_trainers_do_and_can_rewrite_no_history(
    server: Server, name: str, url: str, role: str
) -> None:
    PostgresStore(url).close()
    server.ask(f"GRANT poet_agent TO {role}")
    store = PostgresStore(server.url(name, role))
    store.register(record())
    store.publish(KEY, draft(), expected=1)
    store.steer(KEY, author="ada", reason="", pinned={"retries": 1})
    store.rollback(KEY, 1, author="ada", reason="")
    store.append(KEY, [execution(0), failure(1)])
    store.append(KEY, [execution(0, writer="w2")])
    store.score(KEY, [Feedback("w1", 0, 0.5, 1.0)])
    store.exchange(KEY, "w1", 1, lambda state: b"x")
    store.save_learner(KEY, b"y")
    store.report(report("w1"))
    store.keep(store.keep(Document("flag", "learn", "{}", KEY)), quiet=True)
    store.discard(store.documents("flag"))
    store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12)
    assert wrong(store) == []
    store.close()
    with server.connect(name, role) as session:
        session.execute("SET poet.tenant = ''")
        for statement in ("DELETE FROM poet.change", "UPDATE poet.version SET author = 'eve'", "DROP TABLE poet.chunk"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)


def test_a_viewer_may_look_and_nothing_else(server: Server, name: str, url: str, role: str) -> None:
    store = PostgresStore(url)
    store.register(record())
    store.append(KEY, [execution(0)])
    server.ask(f"GRANT poet_viewer TO {role}")
    onlooker = PostgresStore(server.url(name, role), readonly=True)
    assert onlooker.standing(KEY) == store.standing(KEY)
    assert list(onlooker.executions(KEY)) == list(store.executions(KEY))
    assert wrong(onlooker) == []
    with pytest.raises(StoreUnavailable, match="reading only"):
        onlooker.append(KEY, [execution(1)])
    onlooker.close()
    bold = PostgresStore(server.url(name, role))
    with pytest.raises(StoreUnavailable, match="GRANT poet_agent") as caught:
        bold.append(KEY, [execution(1)])
    assert not may_pass(caught.value)
    bold.close()
    store.close()


# ------------------------------------------------------------------------------------------------ tenants


@pytest.mark.parametrize("granted", ["poet_agent", "SUPERUSER"])
def test_a_tenant_sees_and_changes_nothing_of_another(
    server: Server, name: str, url: str, role: str, granted: str
) -> None:
    """Of a superuser the policies are no wall; then the store keeps tenants apart itself."""
    ours = PostgresStore(url, tenant="a")
    ours.register(record())
    ours.append(KEY, [execution(0)])
    ours.exchange(KEY, "w1", 1, lambda state: b"ours")
    flags = [ours.keep(Document("flag", "learn", "{}", key), quiet=True) for key in (None, KEY)]
    ours.report(report("w1"))
    server.ask(f"GRANT {granted} TO {role}" if granted == "poet_agent" else f"ALTER ROLE {role} SUPERUSER")
    theirs = PostgresStore(server.url(name, role), tenant="b")
    assert (theirs.functions(), theirs.processes(), theirs.generation(), theirs.load_learner(KEY)) == ([], [], 0, None)
    assert (theirs.changed(-1), theirs.documents("flag")) == ((0, []), [])
    theirs.register(record())
    theirs.keep(theirs.keep(Document("flag", "learn", "[]")))
    theirs.discard([*theirs.documents("flag"), *flags])
    theirs.publish(KEY, draft(), expected=1)
    theirs.append(KEY, [execution(i) for i in range(3)])
    theirs.exchange(KEY, "w1", 1, lambda state: b"theirs")
    theirs.report(report("w1"))
    theirs.maintain(executions_before=1e12, hours_before=1e12, settled=1e12)
    assert ours.standing(KEY).generation == 1
    assert ours.documents("flag") == flags
    assert (len(list(ours.executions(KEY))), ours.load_learner(KEY), ours.generation()) == (1, b"ours", 1)
    assert wrong(ours) == wrong(theirs) == []
    ours.close()
    theirs.close()


def test_no_sql_of_another_tenant_reaches_a_row(server: Server, name: str, url: str, role: str) -> None:
    store = PostgresStore(url, tenant="a")
    store.register(record())
    store.append(KEY, [execution(i, writer=writer) for i in range(3) for writer in ("w1", "w2")])
    store.score(KEY, [Feedback("w1", 99, 0.5, 1.0, (("cost", 0.25),))])
    store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12)
    store.exchange(KEY, "w1", 1, lambda state: b"x")
    store.report(report("w1"))
    store.keep(Document("flag", "learn", "{}"))
    server.ask(f"GRANT poet_agent TO {role}")
    tables = [table for table in schema.tables() if table != "store"]
    for user in (role, OWNER):
        with server.connect(name, user) as session:
            for tenant in ("b", ""):
                session.execute("SELECT set_config('poet.tenant', %s, false)", (tenant,))
                for table in tables:
                    (count,) = session.execute(f"SELECT count(*) FROM poet.{table}").fetchone() or (None,)
                    assert (table, count) == (table, 0)
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        session.execute(f"INSERT INTO poet.{table} {_a_row(server, name, table)}")
                for table in ("alias", "chunk", "hour", "score", "goal", "document", "function"):
                    changed = session.execute(f"UPDATE poet.{table} SET tenant = 'b'").rowcount
                    assert (table, changed) == (table, 0)
            session.execute("SELECT set_config('poet.tenant', 'a', false)")
            for table in tables:
                (count,) = session.execute(f"SELECT count(*) FROM poet.{table}").fetchone() or (0,)
                assert (table, count > 0) == (table, True)
    store.close()


def _a_row(server: Server, name: str, table: str) -> str:
    """A row of the tenant ``a``, as SQL."""
    rows = server.ask(f"SELECT row_to_json(t)::text FROM poet.{table} t LIMIT 1", database=name)
    assert rows, table
    row = json.loads(str(rows[0][0]))
    assert row["tenant"] == "a"
    literal = json.dumps(row).replace("'", "''")
    return f"OVERRIDING SYSTEM VALUE SELECT (json_populate_record(NULL::poet.{table}, '{literal}')).*"


# ------------------------------------------------------------------------------------------------ hints


def test_a_change_by_another_is_hinted_at_and_ones_own_is_not(url: str) -> None:
    ours, theirs = PostgresStore(url, poll=7.0), PostgresStore(url)
    ours.register(record())
    hints = threading.Semaphore(0)
    assert ours.watch(hints.release) == 7.0
    until_true(lambda: _listens(url))
    ours.publish(KEY, draft(), expected=1)
    theirs.append(KEY, [execution(0)])
    theirs.discard([theirs.keep(Document("evidence", "guard", "{}", KEY), quiet=True)])
    assert not hints.acquire(timeout=0.2)
    theirs.publish(KEY, draft(), expected=2)
    assert hints.acquire(timeout=5)
    for key in (None, KEY):
        theirs.keep(Document("flag", "learn", "{}", key))
        assert hints.acquire(timeout=5)
    other = threading.Semaphore(0)
    ours.watch(other.release)
    theirs.steer(KEY, author="a", reason="", paused=True)
    assert other.acquire(timeout=5)
    assert not hints.acquire(blocking=False)
    ours.close()
    theirs.close()
    until_true(lambda: not _listens(url))


def _listens(url: str) -> bool:
    with psycopg.connect(url, application_name="onlooker") as session:
        rows = session.execute(
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'poet listener' AND query LIKE 'LISTEN%'"
            " AND state = 'idle' AND datname = current_database()"
        ).fetchall()
    return bool(rows)


def test_a_tenant_is_not_woken_by_another(url: str) -> None:
    ours, theirs = PostgresStore(url, tenant="a"), PostgresStore(url, tenant="b")
    hints = threading.Semaphore(0)
    ours.watch(hints.release)
    until_true(lambda: _listens(url))
    theirs.register(record())
    assert not hints.acquire(timeout=0.2)
    ours.close()
    theirs.close()


def test_who_has_lost_the_connection_listens_again_and_asks_once(server: Server, url: str, name: str) -> None:
    ours, theirs = PostgresStore(url), PostgresStore(url)
    ours.register(record())
    hints = threading.Semaphore(0)
    ours.watch(hints.release)
    until_true(lambda: _listens(url))
    server.ask(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'poet listener'"
        " AND datname = %s",
        name,
    )
    assert hints.acquire(timeout=5)
    theirs.publish(KEY, draft(), expected=1)
    assert hints.acquire(timeout=5)
    ours.close()
    theirs.close()


def test_a_hint_that_fails_ends_no_listening(url: str) -> None:
    ours, theirs = PostgresStore(url), PostgresStore(url)
    told = threading.Semaphore(0)

    def hint() -> None:
        told.release()
        raise RuntimeError("no")

    ours.watch(hint)
    until_true(lambda: _listens(url))
    for key in (KEY, OTHER):
        theirs.register(record(key))
        assert told.acquire(timeout=5)
    ours.close()
    theirs.close()


# ------------------------------------------------------------------------------------------------ forks and threads


def test_a_child_has_a_connection_of_its_own_and_leaves_the_parents_alone(server: Server, url: str, name: str) -> None:
    store = PostgresStore(url)
    store.register(record())
    told = threading.Semaphore(0)
    store.watch(told.release)
    until_true(lambda: _listens(url))
    backend = store._link.backend
    child = os.fork()
    if child == 0:
        code = 1
        try:
            store.publish(KEY, draft(reason="by the child"), expected=1)
            store.watch(lambda: None)
            code = 0 if store._link.backend != backend else 2
            store.close()
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert told.acquire(timeout=5)
    assert store._link.backend == backend
    assert store.standing(KEY).live.reason == "by the child"
    assert store.publish(KEY, draft(), expected=2).generation == 3
    assert store._link.backend == backend
    store.close()
    until_true(lambda: not _connected(server, name))


def test_a_child_that_closes_what_it_has_inherited_does_not_end_the_parents_transaction(url: str) -> None:
    store = PostgresStore(url)
    store.register(record())

    def merge(state: bytes | None) -> bytes:
        child = os.fork()
        if child == 0:
            store.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        return b"merged"

    assert store.exchange(KEY, "w1", 1, merge) == b"merged"
    assert store.load_learner(KEY) == b"merged"
    store.close()


def _connected(server: Server, name: str) -> list[object]:
    return list(
        server.ask("SELECT 1 FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'poet%%'", name)
    )


def test_two_who_bring_in_the_same_functions_never_wait_for_each_other_in_a_circle(url: str) -> None:
    from poet.seams import Incoming

    stores = [PostgresStore(url), PostgresStore(url)]
    for round_ in range(10):
        keys = [KEY._replace(qualname=f"f{round_}_{i}") for i in range(3)]
        for key in keys[:2]:
            stores[0].register(record(key))

        def bring_in(store: PostgresStore, order: int, keys: list[object] = list(keys)) -> bool:  # noqa: B006
            incoming = [Incoming(record(key), draft(), b"s", 1) for key in keys[:2]]
            incoming.append(Incoming(record(keys[2]), draft(), None, 0))
            try:
                store.bring_in(incoming[::order])
            except StaleParameters:
                return False
            return True

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(bring_in, stores, (1, -1))) == [False, True]
    assert wrong(stores[0]) == []
    for store in stores:
        store.close()


def test_who_follows_the_generation_misses_no_change(url: str) -> None:
    keys = [KEY._replace(qualname=f"f{i}") for i in range(4)]
    stores = [PostgresStore(url) for _ in keys]
    changes = 40

    def change(store: PostgresStore, key: FunctionKey) -> None:
        store.register(record(key))
        for i in range(changes):
            store.steer(key, author="a", reason=f"{i}", paused=True)

    follower, seen = PostgresStore(url), 0
    known: dict[FunctionKey, int] = {}
    with ThreadPoolExecutor(len(keys)) as pool:
        tasks = [pool.submit(change, store, key) for store, key in zip(stores, keys, strict=True)]
        while seen < len(keys) * (changes + 1):
            generation, changed = follower.changed(seen)
            assert generation >= seen
            known |= {key: follower.standing(key).generation for key in changed}
            seen = generation
            assert sum(known.values()) >= seen  # it may be newer than what was asked for, never older
        for task in tasks:
            task.result()
    assert known == dict.fromkeys(keys, changes + 1)
    assert follower.changed(-1) == (seen, keys)
    for store in (*stores, follower):
        store.close()


PROMOTER = """
import sys
from poet.errors import StaleParameters
from poet.stores.postgres import PostgresStore
from poet.testing.stores import KEY

store = PostgresStore(sys.argv[1])
for line in sys.stdin:
    expected, version = map(int, line.split())
    try:
        store.point(KEY, "live", version, expected=expected, author=sys.argv[2], reason="promoted")
        print("won", flush=True)
    except StaleParameters as stale:
        print("told", stale.kept, flush=True)
store.close()
"""


def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_is_told(url: str) -> None:
    store = PostgresStore(url)
    store.register(record())
    generation = store.publish(KEY, draft(), expected=1).generation
    command = [sys.executable, "-c", PROMOTER, url]
    rivals = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    for round_ in range(20):
        for rival in rivals:
            assert rival.stdin is not None
            rival.stdin.write(f"{generation} {1 + round_ % 2}\n")
            rival.stdin.flush()
        answers = [rival.stdout.readline().split() for rival in rivals if rival.stdout is not None]
        generation += 1
        assert sorted(answers) == [["told", str(generation)], ["won"]]
        assert store.standing(KEY).generation == generation
    for rival in rivals:
        rival.communicate(timeout=30)
    assert wrong(store) == []
    store.close()


# ------------------------------------------------------------------------------------------------ errors


def test_what_cannot_be_reached_is_told_with_advice_and_whether_it_may_pass(
    server: Server, name: str, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    PostgresStore(url).close()
    server.ask(f"CREATE ROLE {name}_r LOGIN CONNECTION LIMIT 0")
    cases = [
        (f"postgresql://ada:hush@127.0.0.1:1/{name}", "no server listens there", True),
        ("host=/nowhere dbname=x password=hush", "no server listens there", True),
        (f"host=db.invalid dbname={name} password=hush", "correct the host", True),
        (server.address("nowhere") + " password=hush", "create the database", False),
        (server.address(name, "nobody_here") + " password=hush", "create the database or the role", False),
        (server.address(name, f"{name}_r") + " password=hush", "raise the connection limit", True),
    ]
    with caplog.at_level(logging.DEBUG):
        for dsn, advice, passing in cases:
            with pytest.raises(StoreUnavailable, match=advice) as caught:
                PostgresStore(dsn, patience=2.0)
            assert may_pass(caught.value) is passing, dsn
            assert "hush" not in str(caught.value) + repr(caught.value.args)
    assert "hush" not in caplog.text
    server.ask(f"DROP ROLE {name}_r")


def test_a_wrong_password_is_for_a_person_to_mend(server: Server, name: str, url: str) -> None:
    PostgresStore(url).close()
    server.ask(f"CREATE ROLE {name}_p LOGIN PASSWORD 'right'")
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all {name}_p scram-sha-256\n{before}")
    try:
        server.ask("SELECT pg_reload_conf()")
        until_true(lambda: bool(server.ask("SELECT 1 FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'")))
        dsn = f"host={server.folder} port={PORT} dbname={name} user={name}_p"
        for password, advice in ((" password=hush", "correct the user or the password"), ("", "put a password")):
            with pytest.raises(StoreUnavailable, match=advice) as caught:
                PostgresStore(dsn + password)
            assert not may_pass(caught.value)
            assert "hush" not in str(caught.value)
    finally:
        rules.write_text(before)
        server.ask("SELECT pg_reload_conf()")
        server.ask(f"DROP ROLE {name}_p")


def test_a_row_that_another_holds_for_long_is_given_up(server: Server, name: str, url: str) -> None:
    store = PostgresStore(url, patience=0.3)
    store.register(record())
    with server.connect(name) as rival:
        rival.execute("BEGIN")
        rival.execute("SELECT FROM poet.function FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="hold it for long"):
            store.publish(KEY, draft(), expected=1)
        rival.execute("ROLLBACK")
    assert store.publish(KEY, draft(), expected=1).generation == 2
    assert wrong(store) == []
    store.close()


def test_a_patience_that_is_none_is_refused() -> None:
    for options in ({"patience": 0.0}, {"patience": float("nan")}, {"poll": -1.0}):
        with pytest.raises(ConfigurationError, match=r"must be in \(0, 86400\) seconds"):
            PostgresStore("dbname=x", **options)


# ------------------------------------------------------------------------------------------------ sums and damage


def test_sums_of_many_writers_lie_in_many_rows_and_are_one_when_read(server: Server, name: str, url: str) -> None:
    store = PostgresStore(url)
    store.register(record())
    for i in range(40):
        store.append(KEY, [execution(0, writer=f"w{i}"), failure(1, writer=f"w{i}")])
    ((rows,),) = server.ask("SELECT count(*) FROM poet.counter", database=name)
    assert rows == len({shard_of(f"w{i}") for i in range(40)}) > SHARDS / 2
    (kept,) = store.functions()
    assert (kept.calls, kept.failures) == (80, 40)
    assert sum(hour.calls for hour in store.hours(KEY)) == 80
    assert wrong(store) == []
    store.close()


@pytest.mark.parametrize(
    ("damage", "check"),
    [
        ("UPDATE poet.chunk SET body = overlay(body placing '\\x00'::bytea from 20)", "executions"),
        ("UPDATE poet.chunk SET executions = executions + 1", "executions"),
        ("INSERT INTO poet.chunk SELECT function, newest, gen_random_uuid(), oldest, last, executions, growing,"
         " tenant, writer, body FROM poet.chunk LIMIT 1", "executions"),
        ("UPDATE poet.counter SET calls = calls + 1", "executions"),
        ("UPDATE poet.hour SET calls = calls + 1", "hours"),
        ("UPDATE poet.hour SET sums = substr(sums, 2)", "hours"),
        ("UPDATE poet.generation SET number = number + 1", "live versions"),
        ("DELETE FROM poet.alias WHERE name = 'live'", "live versions"),
        ("DELETE FROM poet.change WHERE version = 2", "changes"),
        ("INSERT INTO poet.change (tenant, function, at, action, version, author, reason, token)"
         " SELECT tenant, function, at, action, version, author, reason, token FROM poet.change", "changes"),
        ("UPDATE poet.score SET function = 99", "references"),
        ("UPDATE poet.document SET function = 99", "documents"),
        ("UPDATE poet.document SET body = '{'", "documents"),
        ("DELETE FROM poet.alias WHERE name = 'canary'", "documents"),
        ("ALTER TABLE poet.chunk DISABLE ROW LEVEL SECURITY", "layout"),
        ("DROP TABLE poet.contribution", "layout"),
    ],
)  # fmt: skip
def test_every_kind_of_damage_is_found(server: Server, name: str, url: str, damage: str, check: str) -> None:
    store = PostgresStore(url)
    store.register(record())
    store.publish(KEY, draft(), expected=1)
    store.publish(KEY, draft(), expected=2, alias="canary", beside=[Document("rollout", "main", "{}", KEY)])
    store.append(KEY, [execution(i) for i in range(30)])
    store.score(KEY, [Feedback("w1", 0, 0.5, 1.0)])
    assert wrong(store) == []
    server.ask(damage, database=name)
    assert check in {finding.what for finding in store.check() if not finding.ok}
    store.close()
