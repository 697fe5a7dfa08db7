from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houses import House, Script
from poet.app import build
from poet.decorator import bind
from poet.errors import StoreUnavailable
from poet.kernels import pieces
from poet.model.execution import Execution, Feedback, Record
from poet.model.explanation import Explanation
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import Probe, ProcessReport, Suggestion
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock
from poet.training.late import PATIENCE, RECENT, WAITING
from poet.training.trainee import Inbox
from poet.training.trainer import PIECE, GivingWay


class ScriptedLearner:
    """Suggests what it is told, once each; remembers what it saw."""

    def __init__(self, *suggestions: Mapping[str, Value], fails: bool = False, scores: bool = False) -> None:
        self.suggestions = list(suggestions)
        self.fails, self.scores = fails, scores
        self.told: list[tuple[Execution, Execution]] = []  # of scores that came late: before and after
        self.seen: list[Execution] = []
        self.shared = self.news = 0  # executions that all know of, and that only this one knows of

    def update(self, executions: Sequence[Execution]) -> None:
        if self.fails:
            raise ArithmeticError("learner is broken")
        self.seen.extend(executions)
        self.news += len(executions)

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        if self.fails:
            raise ArithmeticError("learner is broken")
        known = {(row.writer, row.sequence) for row in self.seen}
        assert all((row.writer, row.sequence) in known or row.writer != self.seen[0].writer for row in executions)
        self.told.extend(zip(before, executions, strict=True))

    def due(self) -> int:
        return 1

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        if not self.suggestions:
            return None
        return Suggestion(self.suggestions.pop(0), "because", {}, len(self.seen))

    def probe(self) -> Probe:
        return Probe()

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        return Explanation(len(self.seen), None, {}, 0.0, 0.0, {}, None, (), ())

    def dump(self) -> bytes:
        return b"%d" % (self.shared + self.news)

    def load(self, state: bytes) -> None:
        if not state.isdigit():
            raise ValueError("cannot")
        self.shared, self.news = int(state), 0

    def contribution(self) -> bytes | None:
        news, self.news = self.news, 0
        self.shared += news
        return b"%d" % news if news else None

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        return b"%d" % (int(shared or b"0") + int(contribution))


class FailingStore(MemoryStore):
    """A store that is away while ``gone`` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = False

    def _there(self) -> None:
        if self.gone:
            raise StoreUnavailable("the test", "it is away")

    def publish(self, function: FunctionKey, draft: ParameterSet, **how: Any) -> Standing:
        self._there()
        return super().publish(function, draft, **how)

    def append(self, function: FunctionKey, executions: Sequence[Execution]) -> None:
        self._there()
        super().append(function, executions)

    def score(self, function: FunctionKey, feedback: Sequence[Feedback]) -> None:
        self._there()
        super().score(function, feedback)

    def find(self, function: FunctionKey, ids: Sequence[tuple[str, int]]) -> list[Execution]:
        self._there()
        return super().find(function, ids)

    def changed(self, since: int) -> tuple[int, list[FunctionKey]]:
        self._there()
        return super().changed(since)

    def exchange(self, *told: Any) -> bytes:
        self._there()
        return super().exchange(*told)

    def report(self, process: ProcessReport) -> None:
        self._there()
        super().report(process)


def house_with(learner: ScriptedLearner, store: MemoryStore | None = None, **settings: Any) -> tuple[House, Any]:
    house = House(store=store, **settings)
    script = Script(house.clock, 0.5)

    @house.poet(enable_training=True)
    def fetch() -> int:
        return script()

    fetch()
    fetch.poet._trainee.learner = learner
    return house, fetch


def test_what_is_suggested_is_used_by_the_next_call() -> None:
    house, fetch = house_with(ScriptedLearner({"timeout": 2.5, "retries": 1}))
    house.agent.flush()
    assert dict(fetch.poet.parameters) == {"timeout": 2.5, "retries": 1, "backoff": 0.1}
    assert fetch.poet.parameters.version == 2
    assert fetch.poet.parameters.reason == "because"
    fetch()
    assert fetch.poet.last.version == 2


def test_each_version_knows_its_parent_origin_evidence_and_time() -> None:
    house, fetch = house_with(ScriptedLearner({"timeout": 2.5}, {"timeout": 3.5}))
    house.agent.flush()
    fetch()
    house.agent.flush()
    versions = fetch.poet.versions()
    assert [(v.version, v.parent, v.origin, v.evidence) for v in versions] == [
        (1, None, "declared", 0),
        (2, 1, "learned", 1),
        (3, 2, "learned", 2),
    ]


def test_a_fault_of_a_learner_never_breaks_a_call_and_is_counted_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house, fetch = house_with(ScriptedLearner(fails=True))
    with caplog.at_level(logging.ERROR, "poet"):
        for _ in range(5):
            fetch()
            house.agent.flush()
    status = fetch.poet.status()
    assert status["faults"] >= 5
    assert "learner is broken" in status["last_fault"]
    assert len(caplog.records) == 1
    assert len(list(house.store.executions(fetch.poet._trainee.key))) == 6


def test_while_the_store_is_away_calls_and_learning_go_on_and_nothing_is_lost() -> None:
    store = FailingStore()
    house, fetch = house_with(ScriptedLearner({"timeout": 2.5}), store)
    store.gone = True
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 2.5
    fetch()
    house.agent.flush()
    assert fetch.poet._trainee.standing.live["timeout"] == 2.5
    store.gone = False
    house.agent.flush()
    assert len(list(store.executions(fetch.poet._trainee.key))) == 2
    assert [v["timeout"] for v in store.versions(fetch.poet._trainee.key)] == [30.0, 2.5]
    status = fetch.poet.status()
    assert status["faults"] > 0
    assert "it is away" in status["last_fault"]


def test_a_rollback_by_another_process_reaches_the_calls_and_stops_learning() -> None:
    house, fetch = house_with(ScriptedLearner({"timeout": 2.5}, {"timeout": 1.0}))
    house.agent.flush()
    key = fetch.poet._trainee.key
    house.store.rollback(key, 1, author="someone else", reason="too short")
    fetch()
    house.agent.flush()
    fetch()
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 30.0
    assert fetch.poet.status()["state"] == "paused"
    fetch.poet.resume()
    fetch()
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 1.0


def test_learning_leaves_pinned_values_alone() -> None:
    house, fetch = house_with(ScriptedLearner({"timeout": 2.5, "retries": 1}))
    fetch.poet.pin(timeout=9.0)
    fetch()
    house.agent.flush()
    assert dict(fetch.poet.parameters) == {"timeout": 9.0, "retries": 1, "backoff": 0.1}


def test_in_observe_mode_nothing_learned_is_applied() -> None:
    learner = ScriptedLearner({"timeout": 2.5})
    house, fetch = house_with(learner, learning="observe")
    for _ in range(3):
        fetch()
        house.agent.flush()
    assert len(learner.seen) == 4
    assert fetch.poet.parameters["timeout"] == 30.0
    assert fetch.poet.status()["state"] == "observing"


def test_someone_who_publishes_while_we_decide_wins_and_we_take_theirs() -> None:
    class Overtaken(ScriptedLearner):
        def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
            suggestion = super().suggest(live)
            if suggestion is not None:
                theirs = ParameterSet(values_={**live, "timeout": 7.0}, origin="manual", parent=1)
                house.store.publish(fetch.poet._trainee.key, theirs, expected=1)
            return suggestion

    house, fetch = house_with(Overtaken({"timeout": 2.5}))
    fetch()
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 7.0
    assert fetch.poet.status()["faults"] == 0


def test_a_full_buffer_drops_the_oldest_and_counts_them() -> None:
    house = House(buffer=10)
    script = Script(house.clock, 0.5)

    @house.poet
    def fetch() -> int:
        return script()

    for _ in range(25):
        fetch()
    house.agent.flush()
    assert fetch.poet.status()["dropped"] == 15
    assert [e.sequence for e in house.store.executions(fetch.poet._trainee.key)] == list(range(15, 25))


def test_another_configuration_takes_over_without_a_loss_and_counts_none(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    agent = build(settings, clock=VirtualClock(), thread=False)
    fetch = bind(agent)(lambda: None)
    for _ in range(5):
        fetch()
    agent.reconfigure(settings)
    for _ in range(3):
        fetch()
    status = fetch.poet.status()
    assert (status["calls"], status["dropped"]) == (3, 0)
    (record,) = agent.open().store.functions()
    assert record.calls == 8
    agent.close()


def records(sequences: Sequence[int]) -> Iterator[Record]:
    for sequence in sequences:
        yield (sequence, float(sequence), float(sequence) + 0.5, 1, None)


@given(st.permutations(range(12)), st.lists(st.integers(0, 12), max_size=4))
def test_an_inbox_hands_out_each_record_once_in_rising_order_within_a_batch(order: list[int], cuts: list[int]) -> None:
    buffer: list[Record] = []
    inbox = Inbox(buffer)
    taken: list[int] = []
    edges = sorted({0, *cuts, 12})
    for low, high in zip(edges, [*edges[1:], 12], strict=True):
        buffer.extend(records(order[low:high]))
        batch = [e.sequence for e in inbox.take("w", 0.0)]
        assert batch == sorted(batch)
        taken += batch
    taken += [e.sequence for e in inbox.take("w", 0.0, all_of_it=True)]
    assert sorted(taken) == list(range(12))
    assert inbox.dropped == 0


def test_what_stands_behind_a_gap_waits_one_round_for_it() -> None:
    buffer = list(records([0, 1, 3]))
    inbox = Inbox(buffer)
    assert [e.sequence for e in inbox.take("w", 0.0)] == [0, 1]
    buffer.extend(records([2, 4]))
    assert [e.sequence for e in inbox.take("w", 0.0)] == [2, 3, 4]
    buffer.extend(records([6, 7]))
    assert inbox.take("w", 0.0) == []
    assert [e.sequence for e in inbox.take("w", 0.0)] == [6, 7]
    assert inbox.dropped == 1


def scoring(store: MemoryStore | None = None, **settings: Any) -> tuple[House, Any, ScriptedLearner]:
    learner = ScriptedLearner(scores=True)
    house, fetch = house_with(learner, store, **settings)
    house.agent.flush()
    return house, fetch, learner


def scores(told: list[tuple[Execution, Execution]]) -> list[tuple[int, float | None, float | None]]:
    return [(after.sequence, before.score, after.score) for before, after in told]


def test_a_learner_that_wants_scores_is_told_of_those_that_come_late_and_not_twice() -> None:
    house, fetch, learner = scoring()
    fetch()
    first = fetch.poet.last.id
    fetch()
    fetch.poet.feedback(0.25, first)  # before its execution was taken from the buffer
    assert learner.told == []
    house.agent.flush()
    assert [row.sequence for row in learner.seen][-2:] == [1, 2]
    assert scores(learner.told) == [(1, None, 0.25)]
    fetch.poet.feedback(0.75, first)
    fetch.poet.feedback(0.5, first)
    fetch.poet.feedback(1.0)
    house.agent.flush()
    assert scores(learner.told) == [(1, None, 0.25), (1, 0.25, 0.5), (2, None, 1.0)]
    fetch.poet.feedback(1.0)
    house.agent.flush()
    assert len(learner.told) == 3  # nothing new
    status = fetch.poet.status()
    assert (status["feedback_lost"], status["feedback_waiting"]) == (0, 0)


def test_late_scores_alone_make_the_learner_look_again() -> None:
    house, fetch, learner = scoring()
    learner.suggestions.append({"timeout": 2.5, "retries": 1})
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 30.0
    fetch.poet.feedback(1.0)
    house.agent.flush()
    assert fetch.poet.parameters["timeout"] == 2.5


def test_goals_that_come_one_after_the_other_add_up() -> None:
    house, fetch, learner = scoring()
    trainee = fetch.poet._trainee
    last = fetch.poet.last
    said = Feedback(last.writer, last.sequence, 0.5, house.clock.wall(), (("quality", 0.75),))
    trainee.said(said)
    house.agent.flush()
    trainee.said(said._replace(score=0.25, goals=(("cost", 0.125),)))
    house.agent.flush()
    assert [dict(after.goals) for _, after in learner.told] == [{"quality": 0.75}, {"quality": 0.75, "cost": 0.125}]
    assert [dict(before.goals) for before, _ in learner.told] == [{}, {"quality": 0.75}]
    (kept,) = house.store.find(trainee.key, [(last.writer, last.sequence)])
    assert (kept.score, dict(kept.goals)) == (0.25, {"quality": 0.75, "cost": 0.125})


def test_what_is_not_at_hand_any_more_is_found_in_the_store() -> None:
    house, fetch, learner = scoring()
    first = fetch.poet.last.id
    for _ in range(RECENT + 5):
        fetch()
    house.agent.flush()
    fetch.poet.feedback(0.5, first)
    house.agent.flush()
    fetch.poet.feedback(1.0, first)
    house.agent.flush()
    assert scores(learner.told) == [(0, None, 0.5), (0, 0.5, 1.0)]


def test_executions_of_another_process_and_of_one_before_a_restart_are_found_in_the_store(tmp_path: Path) -> None:
    path = tmp_path / "poet.db"
    one, there, _ = scoring(SqliteStore(path))
    there()
    there.poet.feedback(0.25)
    one.agent.flush()
    ids = [f"{there.poet.last.writer}-{i}" for i in (0, 1)]
    two, here, learner = scoring(SqliteStore(path), clock=one.clock)
    for each in ids:
        here.poet.feedback(0.75, each)
    two.agent.flush()
    assert scores(learner.told) == [(0, None, 0.75), (1, 0.25, 0.75)]
    assert here.poet.status()["feedback_lost"] == 0
    kept = {row.id: row.score for row in two.store.executions(here.poet._trainee.key)}
    assert [kept[each] for each in ids] == [0.75, 0.75]


def test_what_another_process_has_not_stored_yet_is_waited_for() -> None:
    house, fetch, learner = scoring()
    key = fetch.poet._trainee.key
    fetch.poet.feedback(0.5, "other-3")
    house.agent.flush()
    assert fetch.poet.status()["feedback_waiting"] == 1
    house.store.append(key, [fetch.poet.last._replace(writer="other", sequence=3, score=0.25)])
    house.agent.flush()
    assert scores(learner.told) == [(3, None, 0.5)]
    assert fetch.poet.status()["feedback_waiting"] == 0


def test_feedback_on_what_nobody_has_is_counted_and_logged_once_with_the_id(caplog: pytest.LogCaptureFixture) -> None:
    house, fetch, learner = scoring()
    fetch.poet.feedback(0.5, f"{fetch.poet.last.writer}-99")  # of ours there is none, and never will be
    assert fetch.poet.status()["feedback_lost"] == 1
    fetch.poet.feedback(0.5, "other-3")
    fetch.poet.feedback(0.5, f"other-{10**30}")  # of nobody
    status = fetch.poet.status()
    assert (status["feedback_lost"], status["feedback_waiting"]) == (2, 1)
    house.clock.sleep(PATIENCE + 1)
    status = fetch.poet.status()
    assert (status["feedback_lost"], status["feedback_waiting"]) == (3, 0)
    assert (status["faults"], status["dropped"]) == (0, 0)
    assert learner.told == []
    told = [record.getMessage() for record in caplog.records if "feedback" in record.getMessage()]
    assert len(told) == 1
    assert f"{fetch.poet.last.writer}-99" in told[0]


def test_of_more_feedback_than_may_wait_the_oldest_is_lost() -> None:
    house, fetch, _ = scoring()
    for i in range(WAITING + 10):
        fetch.poet.feedback(0.5, f"other-{i}")
    house.agent.flush()
    status = fetch.poet.status()
    assert (status["feedback_lost"], status["feedback_waiting"]) == (10, WAITING)


def test_scores_wait_for_a_store_that_is_away() -> None:
    store = FailingStore()
    house, fetch, learner = scoring(store)
    store.append(fetch.poet._trainee.key, [fetch.poet.last._replace(writer="other", sequence=3)])
    fetch.poet.feedback(0.5, "other-3")
    store.gone = True
    house.agent.flush()
    assert learner.told == []
    store.gone = False
    house.agent.flush()
    assert scores(learner.told) == [(3, None, 0.5)]
    assert [row.score for row in store.find(fetch.poet._trainee.key, [("other", 3)])] == [0.5]


def test_who_wants_no_scores_keeps_nothing_for_them_and_one_that_fails_does_no_harm() -> None:
    house, fetch = house_with(ScriptedLearner())
    assert fetch.poet._trainee.late is None
    fetch.poet.feedback(0.5, "nobody-7")
    assert fetch.poet.status()["feedback_lost"] == 0
    house, fetch, learner = scoring()
    learner.fails = True
    fetch.poet.feedback(0.5)
    house.agent.flush()
    assert fetch.poet.status()["faults"] == 1
    assert fetch() == 2


def test_scores_that_never_found_their_execution_are_told_of_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    house, fetch, _ = scoring()
    fetch.poet.feedback(0.5, "other-3")
    house.agent.close()
    assert "feedback on execution other-3" in caplog.text


def test_learning_gives_way_now_and_then_but_not_at_every_piece() -> None:
    way, began, calls = GivingWay(), time.perf_counter(), 0
    while time.perf_counter() - began < 10 * PIECE:
        way()
        calls += 1
    assert 1 <= way.times <= min(10, calls)


def test_only_the_trainers_own_thread_learns_in_pieces() -> None:
    hooked: list[bool] = []

    class Watching(ScriptedLearner):
        def update(self, executions: Sequence[Execution]) -> None:
            hooked.append(pieces._between.hook is not None)
            super().update(executions)

    house, fetch = house_with(Watching())
    house.agent.flush()
    trainer = house.agent.trainer
    thread = threading.Thread(target=trainer.flush)
    trainer._thread = thread
    fetch()
    thread.start()
    thread.join()
    trainer._thread = None
    assert hooked == [False, True]
