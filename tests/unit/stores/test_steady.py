"""A store goes away and comes back: what goes on, what waits, and what is known meanwhile."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doors import Door
from poet.errors import StaleDocument, StaleParameters, StoreAway, StoreCorrupt, StoreUnavailable, UnknownFunction
from poet.model.document import Document
from poet.model.execution import Execution, Feedback
from poet.seams import Store
from poet.stores.memory import MemoryStore
from poet.stores.snapshot import Snapshot
from poet.stores.spool import Entry, Spool
from poet.stores.sqlite import SqliteStore
from poet.stores.steady import LONGEST_REST, SteadyStore
from poet.testing.clock import VirtualClock
from poet.testing.stores import (
    DECLARED,
    KEY,
    LEARNED,
    OTHER,
    START,
    StoreContract,
    draft,
    execution,
    failure,
    record,
    report,
)


class TestSteadyStoreAroundAFile(StoreContract):
    """While the store is there, nobody notices what stands around it."""

    def make_store(self, folder: Path) -> Store:
        return SteadyStore(lambda: SqliteStore(folder / "poet.db"), "far", folder / "away")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(wall=START)


@pytest.fixture
def door() -> Door:
    return Door(MemoryStore())


@pytest.fixture
def reach(door: Door, clock: VirtualClock, tmp_path: Path) -> Iterator[Callable[[], SteadyStore]]:
    """Makes stores of one host, each as of a process of its own."""
    made: list[SteadyStore] = []

    def make(**changes: Any) -> SteadyStore:
        made.append(SteadyStore(door.knock, "far", tmp_path / "away", clock=clock, **changes))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for store in made:
        store.close()


def rest(clock: VirtualClock) -> None:
    """Until it is asked again."""
    clock.sleep(LONGEST_REST)


def test_that_it_is_away_at_the_beginning_is_no_error(door: Door, reach: Callable[[], SteadyStore]) -> None:
    door.open = False
    store = reach()
    assert store.away == START
    standing = store.register(record())
    assert (dict(standing.live), standing.live.version, standing.generation) == (DECLARED, 1, 0)
    assert store.load_learner(KEY) is None


def test_what_a_person_must_mend_is_raised_at_the_beginning(door: Door, reach: Callable[..., SteadyStore]) -> None:
    door.open = False
    with pytest.raises(StoreUnavailable, match="nobody answers"):
        reach(may_pass=lambda error: error.cause != "nobody answers")


def test_damage_is_raised_at_the_beginning(tmp_path: Path) -> None:
    def broken() -> Store:
        raise StoreCorrupt("far", "damaged")

    with pytest.raises(StoreCorrupt):
        SteadyStore(broken, "far", tmp_path)


def test_a_new_process_begins_where_this_host_has_left_off(door: Door, reach: Callable[[], SteadyStore]) -> None:
    before = reach()
    before.register(record())
    standing = before.publish(KEY, draft(), expected=1)
    before.save_learner(KEY, b"what it knew")
    before.close()
    door.open = False
    store = reach()
    assert store.register(record()) == standing
    assert store.load_learner(KEY) == b"what it knew"
    assert [kept.key for kept in store.functions()] == [KEY]
    assert store.standing(KEY) == standing
    with pytest.raises(UnknownFunction):
        store.standing(OTHER)


def test_pins_and_pauses_are_known_too(door: Door, reach: Callable[[], SteadyStore]) -> None:
    before = reach()
    before.register(record())
    before.steer(KEY, author="ada", reason="quota", paused=True, pinned={"retries": 0})
    before.close()
    door.open = False
    standing = reach().register(record())
    assert (standing.paused, dict(standing.pinned)) == ("quota", {"retries": 0})


def test_a_process_that_runs_keeps_the_canary_and_what_steers_and_one_that_starts_has_the_live_version_alone(
    door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]
) -> None:
    store = reach()
    store.register(record())
    rollout = Document("rollout", "main", "{}", KEY)
    now = store.publish(KEY, draft(), expected=1, alias="canary", beside=[rollout])
    assert (now.canary is not None, len(now.steering)) == (True, 1)
    door.open = False
    assert store.standing(KEY) == store.register(record()) == now
    started = reach()
    assert started.register(record()) == now._replace(canary=None, steering=(), generation=0)
    assert started.standing(KEY).canary is None
    door.open = True
    rest(clock)
    assert started.standing(KEY) == store.standing(KEY) == now


def test_documents_are_the_stores_alone(door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]) -> None:
    store = reach()
    store.register(record())
    flag = store.keep(Document("flag", "learn", "{}", KEY))
    door.open = False
    questions: list[Callable[[], object]] = [
        lambda: store.documents("flag"),
        lambda: store.keep(flag),
        lambda: store.keep(Document("evidence", "guard", "{}", KEY), quiet=True),
        lambda: store.discard([flag]),
    ]
    for question in questions:
        with pytest.raises(StoreAway):
            question()
    door.open = True
    rest(clock)
    assert store.documents("flag") == [flag]
    assert store.documents("evidence") == []
    with pytest.raises(StaleDocument):
        store.keep(flag._replace(revision=0))
    assert store.away == 0.0


def test_while_it_is_away_it_is_asked_seldom(door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]) -> None:
    store = reach()
    store.register(record())
    door.open = False
    tried = door.tried
    for _ in range(600):  # a minute of a trainer's rounds
        clock.sleep(0.1)
        with pytest.raises(StoreAway, match="nobody answers"):
            store.changed(0)
    assert 60 / LONGEST_REST <= door.tried - tried <= 60 / LONGEST_REST + 6


def test_what_is_decided_elsewhere_is_refused_while_it_is_away(door: Door, reach: Callable[[], SteadyStore]) -> None:
    store = reach()
    store.register(record())
    door.open = False
    for question in (
        lambda: store.publish(KEY, draft(), expected=1),
        lambda: store.rollback(KEY, 1, author="ada", reason=""),
        lambda: store.exchange(KEY, "w1", 1, lambda state: b""),
        lambda: store.versions(KEY),
        lambda: store.generation(),
    ):
        with pytest.raises(StoreAway):
            question()
    assert [(found.ok, found.what) for found in store.check()] == [(False, "reachable"), (True, "spool")]
    store.append(KEY, [execution(0)])
    assert [found.ok for found in store.check()] == [False, False]


def test_executions_and_scores_wait_and_arrive_once(
    door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]
) -> None:
    store = reach()
    store.register(record())
    rows = [failure(i) if i % 7 == 0 else execution(i) for i in range(2500)]
    store.append(KEY, rows[:100])
    door.open = False
    for start in range(100, 2500, 60):
        store.append(KEY, rows[start : start + 60])
    store.score(KEY, [Feedback("w1", 2000, 0.5, START), Feedback("w1", 9, 1.0, START, (("cost", 0.25),))])
    with pytest.raises(ValueError, match="sequence must be"):  # else it would wait for ever
        store.score(KEY, [Feedback("w1", 10**30, 0.5, START)])
    with pytest.raises(StoreAway):
        store.find(KEY, [("w1", 2000)])
    store.report(report("w1"))
    (seen,) = store.processes()
    assert (seen.away, seen.spooled) == (START, 2400)
    door.open = True
    rest(clock)
    store.append(KEY, [execution(2500)])
    store.report(report("w1"))
    assert (store.away, store.processes()[0].away, store.processes()[0].spooled) == (0.0, 0.0, 0)
    kept = list(store.executions(KEY))
    assert [row._replace(score=None, goals=()) for row in kept] == [*rows, execution(2500)]
    assert (kept[9].score, kept[9].goals) == (1.0, (("cost", 0.25),))
    assert kept[2000].score == 0.5
    assert [finding for finding in store.check() if not finding.ok] == []


def test_whoever_looks_for_an_execution_that_waits_here_finds_it_when_the_store_is_back(
    door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]
) -> None:
    store = reach()
    store.register(record())
    door.open = False
    store.append(KEY, [execution(3)])
    door.open = True
    rest(clock)
    store.changed(-1)
    assert store.find(KEY, [("w1", 3), ("w1", 4)]) == [execution(3)]


def test_a_function_that_was_first_called_meanwhile_is_registered_when_it_is_back(
    door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]
) -> None:
    hints = []
    door.open = False
    store = reach()
    store.watch(lambda: hints.append(clock.now()))
    store.register(record())
    store.append(KEY, [execution(0)])
    door.open = True
    rest(clock)
    generation, changed = store.changed(-1)
    assert (generation, changed) == (1, [KEY])
    assert hints
    assert store.standing(KEY).generation == 1
    with pytest.raises(StaleParameters):  # a version made from what was not known yet
        store.publish(KEY, draft(), expected=0)
    store.report(report("w1"))
    assert list(store.executions(KEY)) == [execution(0)]


def test_what_a_process_left_behind_the_next_one_hands_over(door: Door, tmp_path: Path, clock: VirtualClock) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_dies_while_the_store_is_away, args=(tmp_path / "away",))
    process.start()
    process.join(60)
    assert process.exitcode == 7
    store = SteadyStore(door.knock, "far", tmp_path / "away", clock=clock)  # type: ignore[arg-type]
    store.report(report("w2"))
    assert list(store.executions(KEY)) == [execution(i) for i in range(30)]  # registered from what lay beside them
    assert dict(store.standing(KEY).live) == DECLARED
    store.close()
    assert [path.name for path in (tmp_path / "away" / "spool").iterdir()] == []


def _dies_while_the_store_is_away(folder: Path) -> None:
    door = Door(MemoryStore())
    door.open = False
    store = SteadyStore(door.knock, "far", folder)  # type: ignore[arg-type]
    store.register(record())
    store.append(KEY, [execution(i) for i in range(20)])
    store.append(KEY, [execution(i) for i in range(20, 30)])
    os._exit(7)


def test_what_another_process_that_lives_has_waiting_is_left_to_it(
    door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]
) -> None:
    one, other = reach(), reach()
    one.register(record())
    door.open = False
    one.append(KEY, [execution(0)])
    door.open = True
    rest(clock)
    other.register(record())
    other.report(report("w2"))
    assert list(other.executions(KEY)) == []
    one.report(report("w1"))
    one.report(report("w1"))
    assert list(other.executions(KEY)) == [execution(0)]


def test_an_onlooker_changes_nothing_here(door: Door, tmp_path: Path, reach: Callable[..., SteadyStore]) -> None:
    store = reach()
    store.register(record())
    door.open = False
    store.append(KEY, [execution(0)])
    door.open = True
    before = sorted(path.read_bytes() for path in (tmp_path / "away").rglob("*") if path.is_file())
    onlooker = reach(onlooker=True)
    onlooker.standing(KEY)
    onlooker.close()
    assert sorted(path.read_bytes() for path in (tmp_path / "away").rglob("*") if path.is_file()) == before


def test_a_spool_within_its_bound_drops_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit=1)
    wide = [execution(i, error=os.urandom(400).hex()) for i in range(4000)]
    for start in range(0, 4000, 500):
        spool.add(record(), wide[start : start + 500])
    taken: list[Execution] = []
    assert spool.hand_over(lambda entry: taken.extend(entry.executions))
    assert 0 < len(taken) < 4000
    assert spool.dropped == 4000 - len(taken)
    assert taken == wide[-len(taken) :]
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_taken_stays_for_the_next_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.add(record(), [execution(0)])

    def refuse(entry: Entry) -> None:
        raise StoreUnavailable("far", "nobody answers")

    with pytest.raises(StoreUnavailable):
        spool.hand_over(refuse)
    assert spool.waiting == 1
    taken: list[Execution] = []
    spool.hand_over(lambda entry: taken.extend(entry.executions))
    assert taken == [execution(0)]
    spool.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_of_a_torn_segment_what_was_whole_is_used(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder)
    for i in range(5):
        spool.add(record(), [execution(i)])
    (segment,) = folder.glob("*.spool")
    content = bytearray(segment.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    segment.write_bytes(bytes(content))
    taken: list[Execution] = []
    assert spool.hand_over(lambda entry: taken.extend(entry.executions))
    assert taken == [execution(i) for i in range(len(taken))]
    spool.close()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_of_a_snapshot_is_no_snapshot(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("away")
    clock = VirtualClock()
    store = SteadyStore(lambda: MemoryStore(clock=clock), "far", folder, clock=clock)
    store.register(record())
    standing = store.publish(KEY, draft(), expected=1)
    store.close()
    (path,) = folder.glob("*.function")
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    snapshot = Snapshot(folder)
    assert snapshot.function(KEY) is None
    assert snapshot.functions() == []
    path.write_bytes(b"")
    assert snapshot.functions() == []
    assert dict(standing.live) == LEARNED


def test_a_process_with_nothing_new_to_say_says_so_seldom(
    door: Door, clock: VirtualClock, reach: Callable[[], SteadyStore]
) -> None:
    store = reach()
    before = door.tried
    for _ in range(60):
        clock.sleep(1.0)
        store.report(report("w1", seen=clock.wall()))
    assert door.tried - before <= 8
    assert clock.wall() - store.processes()[0].seen < 11
    store.report(report("w1", seen=clock.wall(), faults=1))
    assert store.processes()[0].faults == 1


def test_a_closed_one_says_so(reach: Callable[[], SteadyStore]) -> None:
    store = reach()
    store.close()
    with pytest.raises(StoreUnavailable, match="closed") as caught:
        store.register(record())
    assert not isinstance(caught.value, StoreAway)
