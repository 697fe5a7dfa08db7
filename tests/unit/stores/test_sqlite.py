"""What is the SQLite store's own: its file, who may open it, what is found wrong with it."""

from __future__ import annotations

import gzip
import multiprocessing
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from poet.errors import StoreCorrupt, StoreTooNew, StoreUnavailable, UnknownFunction
from poet.model.document import THIS_VERSION, Document
from poet.model.execution import Attempt, Execution, Feedback, Outcome
from poet.model.parameters import Alias
from poet.seams import Finding
from poet.stores import rules, schema
from poet.stores.lease import Lease
from poet.stores.sqlite import SqliteStore
from poet.testing.stores import (
    FEATURES,
    KEY,
    OTHER,
    START,
    draft,
    execution,
    failure,
    hedged,
    record,
    report,
    shed,
)

NOW = schema.COMPATIBLE << 16 | schema.VERSION


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that holds two versions and 1,600 executions, and that nobody has open."""
    path = tmp_path / "poet.db"
    store = SqliteStore(path)
    store.register(record())
    store.publish(KEY, draft(), expected=1)
    store.append(KEY, [failure(i) if i % 10 == 0 else execution(i) for i in range(1600)])
    store.close()
    return path


@pytest.fixture
def sql(path: Path) -> Iterator[Callable[..., list[Any]]]:
    """Runs a statement in the file, past the store."""

    def run(statement: str, *values: object) -> list[Any]:
        connection = sqlite3.connect(path, isolation_level=None)
        try:
            return connection.execute(statement, values).fetchall()
        finally:
            connection.close()

    return run


def wrong(path: Path) -> dict[str, str]:
    store = SqliteStore(path)
    try:
        return {finding.what: finding.detail for finding in store.check() if not finding.ok}
    finally:
        store.close()


def test_the_url_is_the_one_that_a_user_would_configure(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "poet.db")
    assert store.url == f"sqlite:///{tmp_path}/poet.db"
    store.close()


def test_a_new_poet_folder_tells_git_to_leave_it_alone(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "deep" / ".poet" / "poet.db").close()
    assert (tmp_path / "deep" / ".poet" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("folder", [".poet", "data"])
def test_a_folder_of_the_user_is_left_as_it_is(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir()
    SqliteStore(tmp_path / folder / "poet.db").close()
    assert not (tmp_path / folder / ".gitignore").exists()


def test_another_new_folder_gets_no_gitignore(tmp_path: Path) -> None:
    SqliteStore(tmp_path / "data" / "poet.db").close()
    assert sorted(found.name for found in (tmp_path / "data").iterdir()) == ["poet.db", "poet.db.lock"]


def test_an_onlooker_makes_nothing_and_says_that_nothing_was_recorded(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no function has been recorded yet"):
        SqliteStore(tmp_path / ".poet" / "poet.db", readonly=True)
    assert list(tmp_path.iterdir()) == []


def test_an_onlooker_sees_what_is_there_and_what_comes_and_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    onlooker = SqliteStore(path, readonly=True)
    assert onlooker.standing(KEY).live.version == 2
    assert onlooker.register(onlooker.functions()[0]) == onlooker.standing(KEY)
    assert len(list(onlooker.executions(KEY))) == 1600
    changes: list[Callable[[], object]] = [
        lambda: onlooker.register(record(OTHER)),
        lambda: onlooker.publish(KEY, draft(), expected=2),
        lambda: onlooker.append(KEY, [execution(5000)]),
        lambda: onlooker.report(report("w")),
    ]
    for change in changes:
        with pytest.raises(StoreUnavailable, match="reading only"):
            change()
    assert [finding for finding in onlooker.check() if not finding.ok] == []
    assert path.read_bytes() == before
    writer = SqliteStore(path)
    writer.publish(KEY, draft(), expected=2)
    assert onlooker.standing(KEY).live.version == 3
    writer.close()
    onlooker.close()


def test_an_onlooker_waits_for_a_writer_where_the_file_is_still_empty(tmp_path: Path) -> None:
    (tmp_path / "poet.db").touch()
    with pytest.raises(StoreUnavailable, match="no function has been recorded yet"):
        SqliteStore(tmp_path / "poet.db", readonly=True)
    SqliteStore(tmp_path / "poet.db").close()
    SqliteStore(tmp_path / "poet.db", readonly=True).close()


def test_a_newer_file_is_refused_and_left_as_it_is(path: Path, sql: Callable[..., list[Any]]) -> None:
    sql(f"PRAGMA user_version = {schema.VERSION + 1}")
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(StoreTooNew, match="upgrade"):
            SqliteStore(path, readonly=readonly)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused_also_while_its_writer_runs(path: Path) -> None:
    """Then its version may stand in the write-ahead log only."""
    newer = sqlite3.connect(path, isolation_level=None)
    newer.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreTooNew):
        SqliteStore(path)
    assert newer.execute("PRAGMA user_version").fetchone() == (schema.VERSION + 1,)
    newer.close()


def test_a_newer_file_that_says_we_may_is_read_and_written(path: Path, sql: Callable[..., list[Any]]) -> None:
    """As when a newer release has added to the file while this one works on."""
    working = SqliteStore(path)
    sql(f"PRAGMA user_version = {schema.VERSION << 16 | schema.VERSION + 5}")
    sql("ALTER TABLE version ADD COLUMN colour TEXT NOT NULL DEFAULT 'blue'")
    sql("ALTER TABLE function ADD COLUMN owner TEXT")
    sql("CREATE TABLE experiment (id INTEGER PRIMARY KEY)")
    working.append(KEY, [execution(1600)])
    opened = SqliteStore(path)
    assert opened.publish(KEY, draft(), expected=2).live.version == 3
    opened.register(record(OTHER))
    opened.report(report("w1"))
    assert [finding.detail for finding in opened.check() if finding.what == "layout"] == [
        f"version {schema.VERSION + 5}, newer than this release's {schema.VERSION}, which may use it"
    ]
    assert wrong(path) == {}
    working.close()
    opened.close()
    assert sql("PRAGMA user_version") == [(schema.VERSION << 16 | schema.VERSION + 5,)]


def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE cookies (name TEXT)")
    theirs.close()
    before = path.read_bytes()
    for readonly in (False, True):
        with pytest.raises(StoreCorrupt, match="another program"):
            SqliteStore(path, readonly=readonly)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"x", b"not a database at all" * 500, b"SQLite format 3\x00", b"\x00" * 8192])
def test_what_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "poet.db"
    path.write_bytes(content)
    for readonly in (False, True):
        with pytest.raises(StoreCorrupt, match="move the file away"):
            SqliteStore(path, readonly=readonly)
    assert path.read_bytes() == content
    assert [found.name for found in tmp_path.iterdir()] == ["poet.db"]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused_or_found_damaged(path: Path, share: float) -> None:
    whole = path.read_bytes()
    cut = whole[: int(len(whole) * share)]
    path.write_bytes(cut)
    with pytest.raises(StoreCorrupt):
        SqliteStore(path)
    assert path.read_bytes() == cut


def test_a_file_cut_to_nothing_beside_its_log_is_not_taken_for_a_new_one(path: Path) -> None:
    path.write_bytes(b"")
    path.with_name("poet.db-wal").write_bytes(b"frames")
    with pytest.raises(StoreCorrupt, match="log is not"):
        SqliteStore(path)


def test_a_page_of_garbage_is_found(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2 * 4096 : 3 * 4096] = os.urandom(4096)
    path.write_bytes(content)
    assert "file" in wrong(path)


def test_a_flipped_byte_in_a_chunk_is_found_and_reading_it_says_so(path: Path, sql: Callable[..., list[Any]]) -> None:
    ((identity, body),) = sql("SELECT id, body FROM chunk WHERE NOT growing")
    at = len(body) // 2
    sql("UPDATE chunk SET body = ? WHERE id = ?", body[:at] + bytes((body[at] ^ 0x55,)) + body[at + 1 :], identity)
    assert "cannot be read" in wrong(path)["executions"]
    store = SqliteStore(path)
    with pytest.raises(StoreCorrupt, match="damaged"):
        list(store.executions(KEY))
    store.close()


def test_a_flipped_byte_of_a_chunk_in_the_file_itself_is_found(path: Path, sql: Callable[..., list[Any]]) -> None:
    ((body,),) = sql("SELECT body FROM chunk WHERE NOT growing")
    content = bytearray(path.read_bytes())
    content[content.index(body[100:200]) + 50] ^= 1
    path.write_bytes(content)
    assert list(wrong(path)) == ["executions"]


def test_a_missing_version_is_found_and_reading_it_says_so(path: Path, sql: Callable[..., list[Any]]) -> None:
    sql("DELETE FROM version WHERE number = 2")
    assert {"references", "live versions"} <= set(wrong(path))
    store = SqliteStore(path)
    with pytest.raises(StoreCorrupt, match="version 2"):
        store.standing(KEY)
    store.close()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("DELETE FROM version WHERE number = 1", "versions"),
        ("UPDATE version SET number = 5 WHERE number = 2", "versions"),
        ("UPDATE version SET parent = 2 WHERE number = 1", "versions"),
        ('UPDATE version SET "values" = \'{"timeout": \'', "versions"),
        ("UPDATE alias SET version = 9", "live versions"),
        ("DELETE FROM alias", "live versions"),
        ("DELETE FROM chunk WHERE growing", "executions"),
        ("UPDATE chunk SET executions = executions + 1", "executions"),
        ("UPDATE chunk SET newest = newest + 1", "executions"),
        ("UPDATE chunk SET body = zeroblob(10)", "executions"),
        ("UPDATE chunk SET body = NULL", "file"),
        ("UPDATE counter SET calls = calls - 1", "executions"),
        ("UPDATE counter SET failures = failures + 1", "executions"),
        ("UPDATE counter SET seconds = seconds + 1", "executions"),
        ("DELETE FROM counter", "executions"),
        ("DROP INDEX chunk_of_writer", "layout"),
        ("CREATE TABLE guest (id)", "layout"),
        ("DROP TABLE learner", "layout"),
    ],
)
def test_broken_rules_are_found(path: Path, sql: Callable[..., list[Any]], damage: str, what: str) -> None:
    if damage.endswith("NULL"):
        sql("PRAGMA user_version")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'body BLOB NOT NULL', 'body BLOB         ')")
        connection.close()
        sql(damage)
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'body BLOB         ', 'body BLOB NOT NULL')")
        connection.close()
    else:
        sql(damage)
    assert what in wrong(path)


def test_a_check_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    assert wrong(path) == {}
    assert path.read_bytes() == before


def test_a_check_names_the_release_of_sqlite_and_the_space(path: Path) -> None:
    store = SqliteStore(path)
    found: dict[str, Finding] = {finding.what: finding for finding in store.check()}
    store.close()
    assert found["SQLite"].detail.startswith(sqlite3.sqlite_version)
    assert "free" in found["disk space"].detail


def test_a_file_says_whose_it_is_and_of_which_layout(path: Path, sql: Callable[..., list[Any]]) -> None:
    """Older releases take the two numbers for one that is far above theirs, and refuse it."""
    assert sql("PRAGMA application_id") == [(0x504F4554,)]
    assert sql("PRAGMA user_version") == [(NOW,)]


@pytest.fixture
def old(path: Path) -> Path:
    """A file that the first release made: two versions, and 1,050 calls appended fifty at a time."""
    path.write_bytes(gzip.decompress((Path(__file__).parent / "first_layout.db.gz").read_bytes()))
    return path


def as_told(i: int) -> Execution:
    """Call ``i`` of the old file."""
    start = 1_795_000_000.0 + i / 8
    if i % 10 == 9:
        tries = (Attempt(Outcome.TIMEOUT, 1.25), Attempt(Outcome.ERROR, 0.5, 0.25))
        return Execution("w1", i, start, 2.0, Outcome.ERROR, 2, tries, "ConnectionResetError")
    outcome = (Outcome.SUCCESS, Outcome.LATE, Outcome.REFUSED, Outcome.CANCELLED)[i % 4 if i % 5 == 0 else 0]
    error = "" if outcome.good else "KeyError"
    return Execution("w1", i, start, 0.25, outcome, 1, (Attempt(outcome, 0.25),), error)


def check_old(store: SqliteStore) -> None:
    """All that the first release put in is there, to the bit."""
    (function,) = store.functions()
    standing = store.standing(KEY)
    assert (function.calls, function.last_call) == (1050, as_told(1049).started)
    assert (standing.live.version, standing.live["timeout"], standing.live.parent) == (2, 1.25, 1)
    assert [change.version for change in store.history(KEY)] == [1, 2]
    assert store.load_learner(KEY) == b"what it knew"
    assert store.processes()[0].last_fault == "store: disk is full"
    assert list(store.executions(KEY)) == [as_told(i) for i in range(1050)]
    assert [finding for finding in store.check() if not finding.ok] == []


def test_a_file_of_the_first_layout_is_brought_up_to_date_where_it_is(old: Path, sql: Callable[..., list[Any]]) -> None:
    assert sql("PRAGMA user_version") == [(1,)]
    store = SqliteStore(old)
    check_old(store)
    store.close()
    assert sql("PRAGMA user_version") == [(NOW,)]
    again = SqliteStore(old)
    check_old(again)
    again.close()


def test_an_onlooker_reads_a_file_of_the_first_layout_and_leaves_it_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    onlooker = SqliteStore(old, readonly=True)
    check_old(onlooker)
    onlooker.close()
    assert old.read_bytes() == before


def check_second(store: SqliteStore) -> None:
    """All that the second layout held is there, and what it did not know is as it must have been."""
    standing = store.standing(KEY)
    assert (standing.live.version, standing.live.parent, standing.generation) == (4, 2, 5)
    assert dict(standing.pinned) == {"retries": 1}
    assert store.aliases(KEY) == {"live": Alias(4, 5), "last_good": Alias(2, 5), "pinned": Alias(4, 5)}
    assert store.aliases(OTHER) == {"live": Alias(1, 1), "last_good": Alias(1, 1)}
    actions = [change.action for change in store.history(KEY)]
    assert actions == ["publish", "publish", "publish", "rollback", "pin", "resume"]
    assert [version.span for version in store.versions(KEY)] == [(0.0, 0.0)] * 4
    rows = list(store.executions(KEY))
    assert [row.sequence for row in rows] == list(range(1050))
    assert rows[:4] == [hedged(0), shed(1), failure(2), execution(3, context=FEATURES)]
    assert (store.functions()[1].calls, store.hours(KEY), store.load_learner(KEY)) == (1050, [], b"what it knew")
    assert store.changed(-1) == (6, [OTHER, KEY])
    assert [finding for finding in store.check() if not finding.ok] == []


def test_a_file_of_the_second_layout_is_looked_at_as_it_is_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "poet.db"
    before = gzip.decompress((Path(__file__).parent / "second_layout.db.gz").read_bytes())
    path.write_bytes(before)
    onlooker = SqliteStore(path, readonly=True)
    check_second(onlooker)
    onlooker.close()
    assert path.read_bytes() == before
    store = SqliteStore(path)
    check_second(store)
    store.append(KEY, [execution(1050)])
    store.publish(KEY, draft(), expected=5)
    assert [hour.calls for hour in store.hours(KEY)] == [1]
    store.maintain(executions_before=START + 100, hours_before=0.0, settled=START + 10_000)
    assert store.functions()[1].calls == 1051
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def check_third(store: SqliteStore) -> None:
    """All that the third layout held is there."""
    (function,) = store.functions()
    assert (function.calls, function.space, function.choices, function.goals) == (302, record().space, {}, {})
    assert (store.standing(KEY).live.version, store.load_learner(KEY)) == (2, b"what it knew")
    rows = list(store.executions(KEY))
    assert [row.score for row in rows[:5]] == [0.5, 0.25, None, 0.5, None]
    assert rows[3] == execution(3, score=0.5, context=FEATURES)
    assert rows[300:] == [hedged(300), shed(301)]
    assert store.find(KEY, [("w1", 1), ("w1", 400), ("w1", 300)]) == [execution(1, score=0.25), hedged(300)]
    assert [finding for finding in store.check() if not finding.ok] == []


def test_a_file_of_the_third_layout_is_looked_at_as_it_is_and_brought_up_to_date(
    path: Path, sql: Callable[..., list[Any]]
) -> None:
    before = gzip.decompress((Path(__file__).parent / "third_layout.db.gz").read_bytes())
    path.write_bytes(before)
    onlooker = SqliteStore(path, readonly=True)
    check_third(onlooker)
    onlooker.close()
    assert path.read_bytes() == before
    store = SqliteStore(path)
    check_third(store)
    store.score(KEY, [Feedback("w1", 2, 1.0, START, (("cost", 0.25),))])
    store.append(KEY, [execution(400), execution(401, values=(("k", 3),))])
    assert [row.score for row in store.find(KEY, [("w1", 400), ("w1", 2)])] == [1.0, 1.0]
    store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 10_000)
    assert store.find(KEY, [("w1", 2)]) == [execution(2, score=1.0, goals=(("cost", 0.25),))]
    assert store.find(KEY, [("w1", 401)]) == [execution(401, values=(("k", 3),))]
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()
    assert sql("SELECT count(*) FROM score") == sql("SELECT count(*) FROM goal") == [(0,)]


def check_fourth(store: SqliteStore) -> None:
    """All that the fourth layout held is there."""
    (function,) = store.functions()
    assert (function.calls, function.choices) == (302, {"model": ["small", "large"]})
    assert dict(function.goals) == {"quality": {"low": 0.0, "high": 1.0, "weight": 1.0}}
    now = store.standing(KEY)
    assert (now.live.version, now.generation, now.steering) == (2, 3, ())
    assert now.canary is not None
    assert (now.canary.version, now.canary.reason) == (3, "on trial")
    assert store.documents("rollout") == store.documents("flag", KEY) == []
    rows = list(store.executions(KEY))
    values: dict[str, Any] = {"score": 0.5, "context": FEATURES, "values": (("k", 5),), "goals": (("quality", 0.5),)}
    assert rows[:2] == [execution(0), execution(1, draw=1, score=0.25, goals=(("quality", 0.25),))]
    assert rows[3] == execution(3, **values)
    assert rows[300:] == [hedged(300), shed(301)]
    assert {row.propensity for row in rows} == {1.0}
    assert [finding for finding in store.check() if not finding.ok] == []


def test_a_file_of_the_fourth_layout_is_looked_at_as_it_is_and_brought_up_to_date(path: Path) -> None:
    before = gzip.decompress((Path(__file__).parent / "fourth_layout.db.gz").read_bytes())
    path.write_bytes(before)
    onlooker = SqliteStore(path, readonly=True)
    check_fourth(onlooker)
    onlooker.close()
    assert path.read_bytes() == before
    store = SqliteStore(path)
    check_fourth(store)
    store.append(KEY, [execution(400, propensity=0.25)])
    rollout = store.keep(Document("rollout", "main", "{}", KEY))
    assert store.standing(KEY).steering == (rollout,)
    store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 10_000)
    assert store.find(KEY, [("w1", 400)]) == [execution(400, propensity=0.25)]
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_the_release_before_may_go_on_and_moves_names_without_documents(
    path: Path, sql: Callable[..., list[Any]]
) -> None:
    store = SqliteStore(path)
    store.publish(KEY, draft(), expected=2, alias="canary", beside=[Document("rollout", "main", "{}", KEY)])
    sql("DELETE FROM alias WHERE name = 'canary'")  # as it withdraws one
    sql("UPDATE store SET generation = generation + 1")
    sql("UPDATE function SET generation = generation + 1, changed = (SELECT generation FROM store)")
    sql("INSERT INTO change (function, at, action, version, author, reason) VALUES (1, 0, 'withdraw', 3, 'a', '')")
    now = store.standing(KEY)
    assert (now.canary, len(now.steering), now.generation) == (None, 1, 4)
    store.close()
    assert wrong(path) == {"documents": "shop.orders.fetch: rollout main is under way, but no version is the canary"}


def test_a_rollout_may_outlast_the_canary_where_its_version_went_live(path: Path) -> None:
    store = SqliteStore(path)
    begun = Document("rollout", "main", f'{{"version": {THIS_VERSION}}}', KEY)
    (kept,) = store.publish(KEY, draft(), expected=2, alias="canary", beside=[begun]).steering
    store.point(KEY, "live", 3, expected=3, author="a", reason="", beside=[kept])
    assert len(store.standing(KEY).steering) == 1
    assert wrong(path) == {}
    store.point(KEY, "live", 2, expected=4, author="a", reason="")
    store.close()
    assert "under way" in wrong(path)["documents"]


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE document SET body = '{\"share\": 0.'", "fetch: rollout main is no JSON"),
        ("UPDATE document SET function = 9", "9: rollout main is of a function that is not there"),
        ("UPDATE function SET steering = 0", "fetch: 1 open documents steer it, 0 were counted"),
        ("DELETE FROM document", "fetch: 0 open documents steer it, 1 were counted"),
    ],
)
def test_damaged_documents_are_found(path: Path, sql: Callable[..., list[Any]], damage: str, told: str) -> None:
    store = SqliteStore(path)
    store.publish(KEY, draft(), expected=2, alias="canary", beside=[Document("rollout", "main", "{}", KEY)])
    store.keep(Document("flag", "learn", "true"))
    store.close()
    assert wrong(path) == {}
    sql(damage)
    assert told in wrong(path)["documents"]


def test_as_long_as_no_call_has_values_or_goals_the_release_before_can_read_all(
    path: Path, sql: Callable[..., list[Any]]
) -> None:
    store = SqliteStore(path)
    store.append(KEY, [execution(1600 + i) for i in range(20)])
    assert {bytes(body[:4]) for (body,) in sql("SELECT body FROM chunk")} == {b"PXc3"}
    store.append(KEY, [execution(1700, values=(("k", 1),))])
    assert {bytes(body[:4]) for (body,) in sql("SELECT body FROM chunk")} == {b"PXc3", b"PXc4"}
    store.append(KEY, [execution(1701, propensity=0.5)])
    assert b"PXc5" in {bytes(body[:4]) for (body,) in sql("SELECT body FROM chunk")}
    store.close()


def test_what_is_new_is_merged_with_what_the_first_release_has_begun(old: Path, sql: Callable[..., list[Any]]) -> None:
    new = [
        shed(1050),
        hedged(1051),
        *(execution(i, context=(("region", "eu"), ("size", i))) for i in range(1052, 1090)),
    ]
    store = SqliteStore(old)
    store.append(KEY, new)
    assert list(store.executions(KEY)) == [*map(as_told, range(1050)), *new]
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()
    found = [(body[:4], executions) for body, executions in sql("SELECT body, executions FROM chunk ORDER BY last")]
    assert found == [(b"PXc1", 1000), (b"PXc3", 90)]  # the full one is never written again


def test_chunks_of_a_newer_release_are_told_from_damaged_ones(path: Path, sql: Callable[..., list[Any]]) -> None:
    """As where it has brought the file up to date while we had it open."""
    store = SqliteStore(path)
    for identity, body in sql("SELECT id, body FROM chunk"):
        sql("UPDATE chunk SET body = ? WHERE id = ?", b"PXc6" + body[4:], identity)
    with pytest.raises(StoreTooNew, match="upgrade"):
        list(store.executions(KEY))
    with pytest.raises(StoreTooNew, match="upgrade"):
        store.append(KEY, [execution(1599)])
    store.close()
    assert "a newer POET wrote it" in wrong(path)["executions"]


def test_a_path_below_a_file_is_refused_with_advice(path: Path) -> None:
    for below in (path / "poet.db", path / "deep" / "poet.db"):
        with pytest.raises(StoreUnavailable, match="must be a folder"):
            SqliteStore(below)


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="directory"):
        SqliteStore(tmp_path)


def test_a_folder_where_nothing_can_be_made_is_refused_with_advice() -> None:
    with pytest.raises(StoreUnavailable, match="POET_STORE"):
        SqliteStore(Path("/proc/poet/poet.db"))


def test_small_appends_leave_few_chunks(path: Path, sql: Callable[..., list[Any]]) -> None:
    store = SqliteStore(path)
    for start in range(1600, 4000, 7):
        store.append(KEY, [execution(i) for i in range(start, min(start + 7, 4000))])
    store.close()
    counts = [count for (count,) in sql("SELECT executions FROM chunk ORDER BY last")]
    assert sum(counts) == 4000
    assert len(counts) <= 4 + 10  # the full ones, and of the growing ones each about double the next


def test_a_batch_that_cannot_be_kept_leaves_nothing_behind(path: Path) -> None:
    store = SqliteStore(path)
    batch: list[Execution] = [execution(5000), execution(5001, writer="w2", seconds=-1.0)]
    with pytest.raises(ValueError, match="duration"):
        store.append(KEY, batch)
    store.append(KEY, [execution(5002)])
    assert [row.sequence for row in store.executions(KEY, since=START + 5000)] == [5002]
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_a_store_whose_file_was_removed_makes_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / ".poet" / "poet.db"
    store = SqliteStore(path)
    store.register(record())
    for found in path.parent.iterdir():
        found.unlink()
    path.parent.rmdir()
    with pytest.raises(UnknownFunction):
        store.append(KEY, [execution(0)])
    store.register(record())
    store.append(KEY, [execution(0)])
    store.close()
    assert (path.parent / ".gitignore").exists()
    again = SqliteStore(path)
    assert again.functions()[0].calls == 1
    again.close()


def test_of_reports_the_newest_thousand_stay(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "poet.db")
    for i in range(rules.REPORTS + 3):
        store.report(report(f"w{i}", seen=float(i)))
    kept = store.processes()
    assert (len(kept), kept[0].writer, kept[-1].writer) == (rules.REPORTS, f"w{rules.REPORTS + 2}", "w3")
    store.close()


def test_odd_bytes_in_a_reason_are_replaced(path: Path) -> None:
    store = SqliteStore(path)
    assert store.steer(KEY, author="a", reason="caf\udce9", paused=True).paused == "caf?"
    store.close()


def test_a_writer_that_never_ends_is_named_after_the_patience(path: Path) -> None:
    store = SqliteStore(path, patience=0.05)
    other = Lease(path.with_name("poet.db.lock"), 1.0)
    other.acquire()
    with pytest.raises(StoreUnavailable, match="another process has been writing"):
        store.append(KEY, [execution(5000)])
    assert store.standing(KEY).live.version == 2  # readers do not wait
    other.release()
    store.append(KEY, [execution(5000)])
    other.close()
    store.close()


def test_a_lease_on_a_deleted_file_is_worth_nothing_and_is_taken_anew(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = Lease(path, 0.05), Lease(path, 0.05)
    first.acquire()
    first.release()
    path.unlink()
    second.acquire()
    with pytest.raises(StoreUnavailable):
        first.acquire()
    second.release()
    first.acquire()
    first.close()
    second.close()


def test_a_fork_leaves_both_sides_with_a_store_that_works(path: Path) -> None:
    store = SqliteStore(path)
    process = multiprocessing.get_context("fork").Process(target=_publish_and_append, args=(store, "child"))
    process.start()
    _publish_and_append(store, "parent")
    process.join(60)
    assert process.exitcode == 0
    assert len(store.versions(KEY)) == 4
    assert {row.writer for row in store.executions(KEY)} == {"w1", "parent", "child"}
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_a_fork_while_another_thread_writes_leaves_the_child_with_a_store_that_works(path: Path) -> None:
    """The child must not wait for a lock whose holder exists in the parent alone."""
    store = SqliteStore(path)
    stop = threading.Event()

    def write() -> None:
        sequence = 10_000
        while not stop.is_set():
            store.append(KEY, [execution(sequence, writer="thread")])
            sequence += 1

    thread = threading.Thread(target=write)
    thread.start()
    context = multiprocessing.get_context("fork")
    for i in range(5):
        process = context.Process(target=_publish_and_append, args=(store, f"child{i}"))
        process.start()
        process.join(60)
        assert process.exitcode == 0
    stop.set()
    thread.join()
    assert len(store.versions(KEY)) == 7
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_a_child_that_no_handler_prepared_lays_the_connection_aside(path: Path) -> None:
    """As after a fork in C: only the process's number tells."""
    store = SqliteStore(path)
    store._file._process = -1
    before = store._file._connection
    assert store.standing(KEY).live.version == 2
    assert store._file._connection is not before
    assert store._file._process == os.getpid()
    store.close()


def _publish_and_append(store: SqliteStore, writer: str) -> None:
    for i in range(20):
        store.append(KEY, [execution(i, writer=writer)])
    while True:
        try:
            store.publish(KEY, draft(author=writer), expected=store.standing(KEY).generation)
        except Exception as error:
            if type(error).__name__ != "StaleParameters":
                raise
        else:
            break
