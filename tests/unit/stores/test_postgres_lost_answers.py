"""A connection that is lost when the server has committed, and before we hear of it: every change is made once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from poet.errors import StaleParameters, StoreUnavailable
from poet.model.document import THIS_VERSION, Document
from poet.model.execution import Feedback
from poet.model.function import FunctionKey
from poet.seams import Incoming
from poet.stores.postgres import PostgresStore
from poet.testing.stores import KEY, OTHER, draft, execution, record, report
from postgres.proxy import Proxy
from postgres.server import OWNER, database_for, shared


class Line(NamedTuple):
    """A store at the end of a line that can be cut, and one at the server itself."""

    proxy: Proxy
    store: PostgresStore
    direct: PostgresStore


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    server, name = shared(), database_for(tmp_path)
    server.make_database(name)
    with tempfile.TemporaryDirectory(prefix="poet-line-") as folder:
        proxy = Proxy(server, Path(folder))
        store = PostgresStore(proxy.address(name, OWNER), patience=5.0)
        direct = PostgresStore(server.url(name))
        store.register(record())
        store.publish(KEY, draft(reason="second"), expected=1)
        yield Line(proxy, store, direct)
        assert [finding for finding in direct.check() if not finding.ok] == []
        store.close()
        direct.close()
        proxy.close()
    server.drop_database(name)


ROLLOUT = Document("rollout", "main", f"[{THIS_VERSION}]", KEY)
Verb = Callable[[PostgresStore], object]
CHANGES: dict[str, Verb] = {
    "register": lambda store: store.register(record(OTHER)),
    "publish": lambda store: store.publish(KEY, draft(reason="third"), expected=2),
    "propose": lambda store: store.publish(KEY, draft(reason="third"), expected=2, alias="canary"),
    "propose beside": lambda store: store.publish(KEY, draft(), expected=2, alias="canary", beside=[ROLLOUT]),
    "arm": lambda store: store.publish(KEY, draft(), expected=2, alias=None),
    "rollback": lambda store: store.rollback(KEY, 1, author="ada", reason="worse"),
    "point": lambda store: store.point(KEY, "live", 1, expected=2, author="ada", reason="why"),
    "pause": lambda store: store.steer(KEY, author="ada", reason="", paused=True),
    "pin": lambda store: store.steer(KEY, author="ada", reason="", pinned={"retries": 1}),
    "bring in": lambda store: store.bring_in(
        [Incoming(record(), draft(), b"s", 2), Incoming(record(OTHER), draft(), None, 0)]
    )[0],
}


@pytest.mark.parametrize("tag", ["COMMIT", "BEGIN"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_answer_is_lost_is_made_once(line: Line, change: str, tag: str) -> None:
    before = line.direct.generation()
    line.proxy.cut_at(tag)
    standing = CHANGES[change](line.store)
    assert line.proxy.cuts == 1
    key = OTHER if change == "register" else KEY
    assert standing == line.direct.standing(key)
    assert line.direct.generation() == before + (1 if change != "bring in" else 3)
    tokens = [tuple(entry) for entry in line.direct.history(key)]
    assert len(tokens) == len(set(tokens)) == (1 if change == "register" else 3)


@pytest.mark.parametrize("tag", ["COMMIT", "BEGIN"])
@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("key", [KEY, None])
def test_a_document_whose_answer_is_lost_is_kept_once(
    line: Line, key: FunctionKey | None, quiet: bool, tag: str
) -> None:
    before = line.direct.generation()
    document = Document("flag", "learn", "{}", key)
    for revision in (1, 2):
        line.proxy.cut_at(tag)
        document = line.store.keep(document, quiet=quiet)
        assert line.proxy.cuts == revision
        assert line.direct.documents("flag") == [document]
        assert document.revision == revision
    assert line.direct.generation() == before + (0 if quiet else 2)
    line.proxy.cut_at(tag)
    line.store.discard([document])
    assert line.direct.documents("flag") == []


def test_who_was_too_late_all_the_same_is_told(line: Line) -> None:
    line.proxy.cut_at("BEGIN")

    def change(store: PostgresStore) -> object:
        return store.publish(KEY, draft(), expected=1)

    with pytest.raises(StaleParameters):
        change(line.store)
    assert len(line.direct.versions(KEY)) == 2


@pytest.mark.parametrize("tag", ["COMMIT", "BEGIN"])
def test_executions_scores_states_and_reports_are_kept_once(line: Line, tag: str) -> None:
    verbs: list[Verb] = [
        lambda store: store.append(KEY, [execution(i) for i in range(5)]),
        lambda store: store.score(KEY, [Feedback("w1", 0, 0.5, 1.0)]),
        lambda store: store.save_learner(KEY, b"state"),
        lambda store: store.report(report("w1")),
        lambda store: store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12),
    ]
    for count, verb in enumerate(verbs, 1):
        line.proxy.cut_at(tag)
        verb(line.store)
        assert line.proxy.cuts == count
    rows = list(line.direct.executions(KEY))
    assert [row.score for row in rows] == [0.5, None, None, None, None]
    assert line.direct.functions()[0].calls == sum(hour.calls for hour in line.direct.hours(KEY)) == 5
    assert line.direct.load_learner(KEY) == b"state"
    assert line.direct.processes() == [report("w1")]


def test_an_exchange_that_was_kept_is_told_as_such(line: Line) -> None:
    calls = []

    def merge(state: bytes | None) -> bytes:
        calls.append(state)
        return (state or b"") + b"x"

    line.proxy.cut_at("COMMIT")
    assert line.store.exchange(KEY, "w1", 1, merge) == b"x"
    assert line.store.exchange(KEY, "w1", 1, merge) == b"x"
    assert calls == [None]
    line.proxy.cut_at("BEGIN")  # nothing was merged yet
    assert line.store.exchange(KEY, "w1", 2, merge) == b"xx"
    assert calls == [None, b"x"]


def test_an_exchange_that_was_not_kept_may_be_repeated(line: Line) -> None:
    calls: list[bytes | None] = []

    def merge(state: bytes | None) -> bytes:
        calls.append(state)
        backend = line.store._link.backend
        shared().ask("SELECT pg_terminate_backend(%s, 5000)", backend)
        return b"x"

    with pytest.raises(StoreUnavailable, match="repeat it"):
        line.store.exchange(KEY, "w1", 1, merge)
    assert calls == [None]
    assert line.direct.load_learner(KEY) is None
    assert line.store.exchange(KEY, "w1", 1, lambda state: b"y") == b"y"


def test_reading_goes_on_over_a_lost_connection(line: Line) -> None:
    line.store.append(KEY, [execution(i) for i in range(3000)])
    rows = line.store.executions(KEY)
    first = next(rows)
    line.proxy.cut_at("SELECT 1")
    assert [first, *rows] == list(line.direct.executions(KEY))
    assert line.proxy.cuts == 1
    line.proxy.cut_at("SELECT 1")
    assert line.store.standing(KEY) == line.direct.standing(KEY)
    line.proxy.cut_at("SELECT 2")
    assert line.store.versions(KEY) == line.direct.versions(KEY)
    assert line.proxy.cuts == 3
