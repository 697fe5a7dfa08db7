"""The contract of a ``Store`` as tests. Whoever writes a store inherits them::

    class TestMyStore(StoreContract):
        def make_store(self, folder: Path) -> Store:
            return MyStore(folder / "store")

For a store that several processes may share there is ``SharedStoreContract``. ``folder`` is new for each test; called
again with the same one, ``make_store`` then opens the same store again. Needs pytest.
"""

# ruff: noqa: D102 -- a test's name is its sentence

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest

from poet.errors import StaleParameters, StoreUnavailable, UnknownFunction, UnknownVersion
from poet.model.document import Document
from poet.model.estimate import Estimate
from poet.model.execution import Attempt, Context, Feedback, Outcome
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, Change, Standing
from poet.model.tunable import Value
from poet.seams import Incoming, Store
from poet.testing.documents import DocumentContract, SharedDocumentContract
from poet.testing.facts import (
    DECLARED,
    FEATURES,
    KEY,
    LEARNED,
    OTHER,
    PRECISION,
    START,
    draft,
    execution,
    failure,
    hedged,
    record,
    report,
    shed,
)

__all__ = [
    "DECLARED",
    "FEATURES",
    "KEY",
    "LEARNED",
    "OTHER",
    "PRECISION",
    "START",
    "SharedStoreContract",
    "StoreContract",
    "draft",
    "execution",
    "failure",
    "hedged",
    "record",
    "report",
    "shed",
]


class StoreContract(DocumentContract):
    """What every store promises."""

    def make_store(self, folder: Path) -> Store:
        """A store that is empty, or that keeps what an earlier one kept in ``folder``."""
        raise NotImplementedError

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """An empty store."""
        store = self.make_store(tmp_path)
        yield store
        store.close()

    def test_the_declared_values_are_version_1_and_live(self, store: Store) -> None:
        standing = store.register(record())
        assert dict(standing.live) == DECLARED
        assert (standing.live.version, standing.live.parent, standing.live.origin) == (1, None, "declared")
        assert (standing.generation, standing.paused, dict(standing.pinned)) == (1, "", {})
        assert store.standing(KEY) == standing
        assert store.versions(KEY) == [standing.live]

    def test_values_keep_their_types(self, store: Store) -> None:
        live = store.register(record(declared={"a": 1, "b": 1.0, "c": True, "d": "1", "e": 10**20, "f": 1e-300})).live
        assert {name: type(value) for name, value in live.items()} == {
            "a": int,
            "b": float,
            "c": bool,
            "d": str,
            "e": int,
            "f": float,
        }
        assert (live["e"], live["f"]) == (10**20, 1e-300)

    def test_names_of_values_for_some_contexts_only_are_kept_as_they_are(self, store: Store) -> None:
        store.register(record())
        names = ("timeout@region=eu", "model@region=eu,tier=a=b", "k@größe=1,2", "x@y=%s'\";--")
        values: dict[str, Value] = {**DECLARED, **dict(zip(names, (0.5, "groß", 3, True), strict=True))}
        standing = store.publish(
            KEY, draft(values_=values, estimates={names[0]: Estimate(1.0, 0.5, 1.5, 9)}), expected=1
        )
        assert dict(standing.live) == dict(store.standing(KEY).live) == dict(store.versions(KEY)[1]) == values
        assert list(store.standing(KEY).live.estimates) == [names[0]]
        pinned = store.steer(KEY, author="ada", reason="", pinned={names[1]: "small"})
        assert dict(pinned.pinned) == {names[1]: "small"}
        assert dict(store.rollback(KEY, 2, author="ada", reason="").live) == values

    def test_registering_again_keeps_versions_and_counters_and_takes_over_the_declaration(self, store: Store) -> None:
        store.register(record())
        before = store.publish(KEY, draft(), expected=1)
        store.append(KEY, [execution(0), failure(1)])
        assert [(r.space, r.choices, r.goals) for r in store.functions()] == [(record().space, {}, {})]
        changed = record(
            declared={"timeout": 10.0},
            domain=None,
            learner="",
            objective={"value": 2.0},
            space={"timeout": [1.0, 20.0]},
            choices={"model": ["small", "größer"], "depth": [1, 2.5], "cached": [True, False]},
            goals={"quality": {"low": 0.0, "high": 1.0, "weight": 1.0}, "cost": {"high": 0.05}},
        )
        assert store.register(changed) == before
        (kept,) = store.functions()
        assert (kept.space, kept.choices, kept.goals) == (changed.space, changed.choices, changed.goals)
        assert [type(option) for option in kept.choices["depth"]] == [int, float]
        assert (kept.declared, kept.domain, kept.learner, kept.objective) == (
            {"timeout": 10.0},
            None,
            "",
            {"value": 2.0},
        )
        assert (kept.calls, kept.failures, kept.seconds, kept.last_call) == (2, 1, 2.0, START + 1)
        assert len(store.versions(KEY)) == 2

    def test_a_new_function_starts_with_counters_at_zero(self, store: Store) -> None:
        store.register(record(calls=7, failures=3, seconds=1.0, last_call=START))
        (kept,) = store.functions()
        assert (kept.calls, kept.failures, kept.seconds, kept.last_call) == (0, 0, 0.0, 0.0)

    def test_functions_come_by_name_and_keep_apart_what_differs_in_the_fingerprint_alone(self, store: Store) -> None:
        twin = KEY._replace(fingerprint="11111111")
        for key in (KEY, twin, OTHER):
            store.register(record(key))
        assert [kept.key for kept in store.functions()] == [OTHER, KEY, twin]
        store.publish(twin, draft(), expected=1)
        assert store.standing(KEY).generation == 1

    def test_an_unknown_function_is_refused_with_the_known_names(self, store: Store) -> None:
        store.register(record(OTHER))
        questions: list[Callable[[], object]] = [
            lambda: store.standing(KEY),
            lambda: store.publish(KEY, draft(), expected=1),
            lambda: store.rollback(KEY, 1, author="a", reason=""),
            lambda: store.steer(KEY, author="a", reason="", paused=True),
            lambda: store.steer(KEY, author="a", reason=""),
            lambda: store.versions(KEY),
            lambda: store.history(KEY),
            lambda: store.append(KEY, [execution(0)]),
            lambda: store.executions(KEY),
            lambda: store.save_learner(KEY, b""),
            lambda: store.aliases(KEY),
            lambda: store.point(KEY, "live", 1, expected=1, author="a", reason=""),
            lambda: store.score(KEY, [Feedback("w1", 0, 1.0, START)]),
            lambda: store.find(KEY, [("w1", 0)]),
            lambda: store.hours(KEY),
            lambda: store.exchange(KEY, "w1", 1, lambda state: b""),
            lambda: store.documents("flag", KEY),
            lambda: store.keep(Document("flag", "learn", "{}", KEY)),
            lambda: store.keep(Document("evidence", "guard", "{}", KEY), quiet=True),
        ]
        for question in questions:
            with pytest.raises(UnknownFunction) as caught:
                question()
            assert (caught.value.name, caught.value.known) == (KEY.name, (OTHER.name,))
        assert store.load_learner(KEY) is None

    def test_publishing_makes_the_next_version_live_with_all_it_says(self, store: Store) -> None:
        store.register(record())
        standing = store.publish(KEY, draft(version=77, parent=55), expected=1)
        assert standing.live == draft(version=2, parent=1)
        assert standing.generation == 2
        assert store.standing(KEY) == standing
        assert [version.version for version in store.versions(KEY)] == [1, 2]

    def test_a_draft_without_a_date_gets_one(self, store: Store) -> None:
        store.register(record())
        assert store.publish(KEY, draft(created=0.0), expected=1).live.created > 0

    def test_a_draft_made_from_another_generation_is_refused(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        for stale in (1, 3):
            with pytest.raises(StaleParameters) as caught:
                store.publish(KEY, draft(), expected=stale)
            assert (caught.value.function, caught.value.ours, caught.value.kept) == (KEY.name, stale, 2)
        assert len(store.versions(KEY)) == 2

    def test_every_change_of_standing_makes_earlier_drafts_stale(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        changes: list[Callable[[], Standing]] = [
            lambda: store.rollback(KEY, 1, author="a", reason=""),
            lambda: store.steer(KEY, author="a", reason="", paused=False),
            lambda: store.steer(KEY, author="a", reason="", pinned={"timeout": 2.0}),
            lambda: store.steer(KEY, author="a", reason="", pinned={}),
        ]
        for change in changes:
            known = store.standing(KEY).generation
            assert change().generation == known + 1
            with pytest.raises(StaleParameters):
                store.publish(KEY, draft(), expected=known)

    def test_the_generation_grows_with_every_change_of_any_function_and_with_nothing_else(self, store: Store) -> None:
        assert store.generation() == 0
        seen = [store.generation()]
        changes: list[Callable[[], Standing]] = [
            lambda: store.register(record()),
            lambda: store.register(record(OTHER)),
            lambda: store.publish(KEY, draft(), expected=1),
            lambda: store.publish(OTHER, draft(), expected=1),
            lambda: store.rollback(KEY, None, author="a", reason=""),
            lambda: store.steer(KEY, author="a", reason="", paused=False),
            lambda: store.steer(KEY, author="a", reason="", pinned={"timeout": 1.0}),
            lambda: store.steer(KEY, author="a", reason="", pinned={}),
        ]
        for change in changes:
            change()
            seen.append(store.generation())
        assert all(earlier < later for earlier, later in pairwise(seen))
        store.register(record(domain="other"))
        store.append(KEY, [execution(0)])
        store.save_learner(KEY, b"state")
        store.steer(KEY, author="a", reason="")
        with pytest.raises(StaleParameters):
            store.publish(KEY, draft(), expected=1)
        assert store.generation() == seen[-1]

    def test_a_rollback_makes_the_parent_live_and_pauses(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        standing = store.rollback(KEY, None, author="ada", reason="slower since noon")
        assert (standing.live.version, standing.generation, standing.paused) == (1, 3, "slower since noon")
        assert dict(standing.live) == DECLARED
        assert len(store.versions(KEY)) == 2

    def test_a_rollback_without_a_reason_still_pauses_and_says_who(self, store: Store) -> None:
        store.register(record())
        assert "ada" in store.rollback(KEY, 1, author="ada", reason="").paused

    def test_a_rollback_may_let_learning_go_on_or_leave_it_paused(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        after = store.rollback(KEY, 1, author="poet", reason="it did harm", pause=False)
        assert (after.live.version, after.paused) == (1, "")
        store.steer(KEY, author="ada", reason="release day", paused=True)
        assert store.rollback(KEY, 2, author="poet", reason="no", pause=False).paused == "release day"

    def test_a_rollback_may_name_any_version_also_a_later_one(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        store.publish(KEY, draft(reason="third"), expected=2)
        assert store.rollback(KEY, 1, author="a", reason="").live.version == 1
        assert store.rollback(KEY, 3, author="a", reason="").live.version == 3

    def test_after_a_rollback_the_next_version_is_a_child_of_the_live_one(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        store.rollback(KEY, 1, author="a", reason="")
        live = store.publish(KEY, draft(), expected=3).live
        assert (live.version, live.parent) == (3, 1)
        assert store.rollback(KEY, None, author="a", reason="").live.version == 1

    def test_a_rollback_to_nowhere_is_refused_with_the_versions_there_are(self, store: Store) -> None:
        before = store.register(record())
        for target in (None, 0, 2, -1):
            with pytest.raises(UnknownVersion) as caught:
                store.rollback(KEY, target, author="a", reason="")
            assert caught.value.known == (1,)
        assert store.standing(KEY) == before

    def test_pausing_and_resuming_keep_the_version(self, store: Store) -> None:
        store.register(record())
        paused = store.steer(KEY, author="ada", reason="release day", paused=True)
        assert (paused.live.version, paused.paused) == (1, "release day")
        assert "ada" in store.steer(KEY, author="ada", reason="", paused=True).paused
        assert store.steer(KEY, author="ada", reason="", paused=False).paused == ""

    def test_a_pin_is_a_new_live_version_with_the_other_values_unchanged(self, store: Store) -> None:
        store.register(record())
        standing = store.steer(KEY, author="ada", reason="the contract says so", pinned={"timeout": 1.0})
        assert dict(standing.live) == {**DECLARED, "timeout": 1.0}
        assert (standing.live.version, standing.live.parent, standing.live.origin) == (2, 1, "manual")
        assert (standing.live.author, standing.live.reason) == ("ada", "the contract says so")
        assert dict(standing.pinned) == {"timeout": 1.0}
        assert standing.paused == ""

    def test_pins_add_up_and_are_lifted_together_with_the_values_left_as_they_are(self, store: Store) -> None:
        store.register(record())
        store.steer(KEY, author="a", reason="", pinned={"timeout": 1.0, "retries": 1})
        both = store.steer(KEY, author="a", reason="", pinned={"retries": 0, "model": "large"})
        assert dict(both.pinned) == {"timeout": 1.0, "retries": 0, "model": "large"}
        lifted = store.steer(KEY, author="a", reason="", pinned={})
        assert dict(lifted.pinned) == {}
        assert lifted.live == both.live
        assert len(store.versions(KEY)) == 3

    def test_pinning_and_pausing_may_come_together(self, store: Store) -> None:
        store.register(record())
        standing = store.steer(KEY, author="a", reason="audit", paused=True, pinned={"retries": 0})
        assert (standing.generation, standing.paused, standing.live["retries"]) == (2, "audit", 0)
        assert [change.action for change in store.history(KEY)] == ["publish", "pin", "pause"]

    def test_a_rollback_behind_a_pin_lifts_it_and_keeps_the_pins_that_agree(self, store: Store) -> None:
        store.register(record())
        store.steer(KEY, author="a", reason="", pinned={"timeout": 1.0, "retries": 3})
        standing = store.rollback(KEY, 1, author="a", reason="")
        assert dict(standing.pinned) == {"retries": 3}
        assert all(standing.live[name] == value for name, value in standing.pinned.items())

    def test_the_history_tells_who_did_what_and_why(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        store.rollback(KEY, None, author="ada", reason="worse")
        store.steer(KEY, author="bob", reason="go on", paused=False)
        store.steer(KEY, author="bob", reason="fixed", pinned={"retries": 1})
        store.steer(KEY, author="bob", reason="free", pinned={})
        store.steer(KEY, author="cy", reason="freeze", paused=True)
        changes = store.history(KEY)
        assert [change[1:] for change in changes[1:]] == [
            ("publish", 2, "adaptive", "a shorter timeout answers sooner"),
            ("rollback", 1, "ada", "worse"),
            ("resume", 1, "bob", "go on"),
            ("pin", 3, "bob", "fixed"),
            ("unpin", 3, "bob", "free"),
            ("pause", 3, "cy", "freeze"),
        ]
        assert changes[0][1:3] == ("publish", 1)
        assert all(change.at > 0 for change in changes)

    def test_what_goes_in_is_not_shared(self, store: Store) -> None:
        declared, objective, values, pins = dict(DECLARED), {"value": 1.0}, dict(LEARNED), {"retries": 1}
        store.register(record(declared=declared, objective=objective))
        store.publish(KEY, draft(values_=values), expected=1)
        store.steer(KEY, author="a", reason="", pinned=pins)
        batch = [execution(0)]
        store.append(KEY, batch)
        for mapping in (declared, objective, values, pins):
            mapping.clear()
        batch.clear()
        (kept,) = store.functions()
        assert (dict(kept.declared), dict(kept.objective)) == (DECLARED, {"value": 1.0})
        assert dict(store.versions(KEY)[1]) == LEARNED
        assert dict(store.standing(KEY).pinned) == {"retries": 1}
        assert len(list(store.executions(KEY))) == 1

    def test_what_comes_out_is_not_shared(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(0)])
        store.report(report("w1"))
        for mapping in (store.functions()[0].declared, store.functions()[0].objective):
            if isinstance(mapping, dict):
                mapping.clear()
        for listed in (store.functions(), store.versions(KEY), store.history(KEY), store.processes()):
            listed.clear()
        (kept,) = store.functions()
        assert (dict(kept.declared), kept.objective["value"]) == (DECLARED, 1.0)
        assert (len(store.versions(KEY)), len(store.history(KEY)), len(store.processes())) == (1, 1, 1)

    def test_executions_come_back_oldest_first_with_all_they_say(self, store: Store) -> None:
        store.register(record())
        rows = [execution(0), failure(1), execution(2, outcome=Outcome.LATE, version=4)]
        store.append(KEY, rows)
        assert list(store.executions(KEY)) == rows
        (kept,) = store.functions()
        assert (kept.calls, kept.failures, kept.seconds, kept.last_call) == (3, 1, 2.25, START + 2)

    def test_hedges_are_told_from_retries(self, store: Store) -> None:
        store.register(record())
        retried = hedged(1)._replace(attempts=tuple(attempt._replace(hedge=False) for attempt in hedged(1).attempts))
        alone = execution(2, attempts=(Attempt(Outcome.SUCCESS, 0.25, hedge=True),))
        rows = [hedged(0), retried, alone]
        store.append(KEY, rows)
        assert list(store.executions(KEY)) == rows

    def test_a_shed_call_is_a_call_without_an_answer(self, store: Store) -> None:
        store.register(record())
        rows = [execution(0), shed(1)]
        store.append(KEY, rows)
        assert list(store.executions(KEY)) == rows
        (kept,) = store.functions()
        assert (kept.calls, kept.failures, kept.seconds, kept.last_call) == (2, 1, 0.25, START + 1)

    def test_features_keep_their_kinds_their_order_and_their_gaps(self, store: Store) -> None:
        store.register(record())
        contexts: list[Context] = [
            FEATURES,
            (),
            FEATURES[::-1],
            (("size", 3.0),),
            (("size", True),),
            (("size", "3"), ("zero", -0.0), ("tiny", 5e-324), ("big", -(10**40))),
            (("naïve 時間 \u2028 'quoted\" \x00", "\ud800"), ("", "")),
            FEATURES,
        ]
        rows = [execution(i, context=context) for i, context in enumerate(contexts)]
        for row in rows:  # so that small pieces are put together, too
            store.append(KEY, [row])
        kept = list(store.executions(KEY))
        assert kept == rows
        assert repr([row.context for row in kept]) == repr(contexts)  # 1, 1.0 and True are equal, and not the same

    def test_features_of_many_executions_are_kept(self, store: Store) -> None:
        store.register(record())
        rows = [
            execution(i, context=(("region", ("eu", "us")[i % 2]), ("size", i), ("load", i / 7))[: i % 4])
            for i in range(2300)
        ]
        for start in range(0, len(rows), 90):
            store.append(KEY, rows[start : start + 90])
        assert list(store.executions(KEY)) == rows
        assert list(store.executions(KEY, limit=40)) == rows[-40:]

    def test_as_many_and_as_long_features_as_are_promised_are_kept(self, store: Store) -> None:
        store.register(record())
        context: Context = tuple((f"{i:0200}", "\U0001f600" * 200) for i in range(32))
        rows = [execution(0, context=context), execution(1, context=(("digest", 2**512 - 1), ("debt", 1 - 2**512)))]
        store.append(KEY, rows)
        assert list(store.executions(KEY)) == rows

    def test_features_that_cannot_be_kept_are_refused_by_name_with_their_whole_batch(self, store: Store) -> None:
        store.register(record())
        odd: Any = None
        contexts: list[tuple[Context, str]] = [
            ((("load", float("nan")),), "load"),
            ((("load", float("-inf")),), "load"),
            ((("query", "x" * 201),), "query"),
            ((("user", 2**512),), "user"),
            ((("user", odd),), "user"),
            ((("size", 1), ("size", 2)), "size"),
            (tuple((f"f{i}", i) for i in range(33)), "f32"),
            ((("x" * 201, 1),), "xxx"),
        ]
        for context, name in contexts:
            with pytest.raises(ValueError, match=name):
                store.append(KEY, [execution(0), execution(1, context=context), execution(0, writer="w2")])
        assert list(store.executions(KEY)) == []
        assert store.functions()[0].calls == 0

    def test_executions_of_several_writers_are_merged_by_their_start(self, store: Store) -> None:
        store.register(record())
        ours = [execution(i) for i in range(2500)]
        theirs = [execution(i, writer="w2", started=START + 2 * i + 0.5) for i in range(1500)]
        for start in range(0, 2500, 500):
            store.append(KEY, ours[start : start + 500])
            store.append(KEY, theirs[start : start + 500])
        merged = sorted(ours + theirs, key=lambda row: row.started)
        assert list(store.executions(KEY)) == merged
        assert list(store.executions(KEY, limit=1700)) == merged[-1700:]
        assert list(store.executions(KEY, since=START + 100)) == [row for row in merged if row.started >= START + 100]

    def test_times_and_durations_keep_their_precision(self, store: Store) -> None:
        store.register(record())
        row = execution(0, started=START + 0.123456, seconds=1 / 3, attempts=(Attempt(Outcome.SUCCESS, 1e-7, 0.7),))
        store.append(KEY, [row])
        (kept,) = store.executions(KEY)
        assert kept.started == pytest.approx(row.started, abs=PRECISION / 2 + 1e-6)
        assert kept.seconds == pytest.approx(1 / 3, rel=2**-24)
        assert kept.attempts[0].seconds == pytest.approx(1e-7, rel=2**-24)
        assert kept.attempts[0].waited == pytest.approx(0.7, rel=2**-24)

    def test_limit_takes_the_newest_and_since_the_later(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(i) for i in range(10)])

        def sequences(**choice: Any) -> list[int]:
            return [row.sequence for row in store.executions(KEY, **choice)]

        assert sequences(limit=3) == [7, 8, 9]
        assert sequences(limit=0) == []
        assert sequences(limit=100) == list(range(10))
        assert sequences(since=START + 7) == [7, 8, 9]
        assert sequences(since=START + 3, limit=2) == [8, 9]
        assert sequences(since=START + 100) == []

    def test_executions_of_a_function_that_was_never_called_are_none(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [])
        assert list(store.executions(KEY)) == []
        assert store.functions()[0].calls == 0

    def test_appending_again_does_not_double(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(i) for i in range(5)])
        store.append(KEY, [execution(i) for i in range(5)])
        store.append(KEY, [execution(i) for i in range(3, 8)])
        assert [row.sequence for row in store.executions(KEY)] == list(range(8))
        assert store.functions()[0].calls == 8

    def test_an_earlier_batch_may_come_late(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(i) for i in range(10, 20)])
        store.append(KEY, [execution(i) for i in range(5, 15)])
        assert [row.sequence for row in store.executions(KEY)] == list(range(5, 20))

    def test_gaps_in_the_sequence_are_kept(self, store: Store) -> None:
        store.register(record())
        numbers = [0, 1, 5, 1000, 10**12]
        store.append(KEY, [execution(i, started=START) for i in numbers])
        assert [row.sequence for row in store.executions(KEY)] == numbers

    def test_the_same_sequence_of_another_writer_or_function_is_another_execution(self, store: Store) -> None:
        store.register(record())
        store.register(record(OTHER))
        store.append(KEY, [execution(0)])
        store.append(KEY, [execution(0, writer="w2")])
        store.append(OTHER, [execution(0)])
        assert [row.writer for row in store.executions(KEY)] == ["w1", "w2"]
        assert len(list(store.executions(OTHER))) == 1

    def test_many_small_appends_give_what_one_large_gives(self, store: Store) -> None:
        store.register(record())
        store.register(record(OTHER))
        rows = [failure(i) if i % 7 == 0 else execution(i) for i in range(2300)]
        store.append(OTHER, rows)
        for start in range(0, len(rows), 9):
            store.append(KEY, rows[start : start + 9])
        assert list(store.executions(KEY)) == list(store.executions(OTHER)) == rows

    def test_a_reader_is_not_disturbed_by_later_appends(self, store: Store) -> None:
        store.register(record())
        rows = [execution(i) for i in range(1500)]
        store.append(KEY, rows[:1200])
        reader = store.executions(KEY)
        first = [next(reader) for _ in range(10)]
        for i in range(1200, 1500, 50):
            store.append(KEY, rows[i : i + 50])
        assert first + list(reader) == rows[:1200]

    def test_the_state_of_a_learner_is_replaced(self, store: Store) -> None:
        store.register(record())
        assert store.load_learner(KEY) is None
        store.save_learner(KEY, b"")
        assert store.load_learner(KEY) == b""
        store.save_learner(KEY, bytes(range(256)) * 100)
        assert store.load_learner(KEY) == bytes(range(256)) * 100

    def test_each_process_has_one_report_newest_first(self, store: Store) -> None:
        assert store.processes() == []
        store.report(report("w1", seen=START))
        store.report(report("w2", seen=START + 5))
        store.report(report("w1", seen=START + 9, faults=3, last_fault="ValueError: no"))
        assert store.processes() == [
            report("w1", seen=START + 9, faults=3, last_fault="ValueError: no"),
            report("w2", seen=START + 5),
        ]

    def test_a_healthy_store_finds_nothing_wrong(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        store.append(KEY, [execution(0), failure(1)])
        store.steer(KEY, author="a", reason="", pinned={"retries": 0})
        store.rollback(KEY, 1, author="a", reason="")
        findings = store.check()
        assert findings
        assert [finding for finding in findings if not finding.ok] == []

    def test_any_text_is_kept(self, store: Store) -> None:
        odd = "naïve 時間 \u2028 'quoted\" \x00 -- ; DROP TABLE"
        key = FunctionKey("", odd, "00000000")
        store.register(record(key, domain=odd, declared={odd: odd}))
        standing = store.steer(key, author=odd, reason=odd, paused=True)
        store.append(key, [execution(0, writer=odd, error=odd, outcome=Outcome.ERROR)])
        assert (standing.paused, dict(standing.live)) == (odd, {odd: odd})
        (row,) = store.executions(key)
        assert (row.writer, row.error, store.functions()[0].key) == (odd, odd, key)

    def test_it_can_be_asked_which_functions_have_changed(self, store: Store) -> None:
        assert store.changed(-1) == (0, [])
        store.register(record())
        store.register(record(OTHER))
        assert store.changed(-1) == store.changed(0) == (2, [OTHER, KEY])
        store.publish(KEY, draft(), expected=1)
        assert store.changed(2) == (3, [KEY])
        assert store.changed(3) == (3, [])
        store.append(KEY, [execution(0)])
        store.register(record(OTHER, declared={"timeout": 1.0}))
        assert store.changed(3) == (3, [])

    def test_names_begin_at_the_declared_version(self, store: Store) -> None:
        store.register(record())
        assert store.aliases(KEY) == {"live": Alias(1, 1), "last_good": Alias(1, 1)}

    def test_a_new_live_version_leaves_the_one_before_as_the_last_good_one(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        assert store.aliases(KEY) == {"live": Alias(2, 2), "last_good": Alias(1, 1)}
        store.publish(KEY, draft(), expected=2)
        assert store.aliases(KEY) == {"live": Alias(3, 3), "last_good": Alias(2, 3)}

    def test_a_canary_is_a_version_beside_the_live_one(self, store: Store) -> None:
        before = store.register(record()).live
        standing = store.publish(KEY, draft(), expected=1, alias="canary")
        assert (standing.live, standing.generation) == (before, 2)
        assert store.aliases(KEY) == {"live": Alias(1, 1), "last_good": Alias(1, 1), "canary": Alias(2, 2)}
        assert [version.version for version in store.versions(KEY)] == [1, 2]
        assert [(change.action, change.version) for change in store.history(KEY)][1:] == [("propose", 2)]

    def test_a_promoted_canary_is_live_and_no_canary_any_more(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1, alias="canary")
        standing = store.point(KEY, "live", 2, expected=2, author="ada", reason="it did well")
        assert standing.live == draft(version=2, parent=1)
        assert store.aliases(KEY) == {"live": Alias(2, 3), "last_good": Alias(1, 1)}
        assert store.history(KEY)[-1]._replace(at=0.0) == Change(0.0, "promote", 2, "ada", "it did well")

    def test_a_canary_is_taken_back_and_the_version_stays(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1, alias="canary")
        store.point(KEY, "canary", None, expected=2, author="ada", reason="")
        assert set(store.aliases(KEY)) == {"live", "last_good"}
        assert (store.history(KEY)[-1].action, store.history(KEY)[-1].version) == ("withdraw", 2)
        store.point(KEY, "canary", 2, expected=3, author="ada", reason="again")
        assert store.aliases(KEY)["canary"] == Alias(2, 4)

    def test_whoever_vouches_for_a_version_makes_it_the_last_good_one(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        store.point(KEY, "last_good", 2, expected=2, author="ada", reason="a week without trouble")
        assert store.aliases(KEY) == {"live": Alias(2, 2), "last_good": Alias(2, 3)}
        assert store.history(KEY)[-1].action == "vouch"

    def test_a_name_that_stands_there_already_is_not_moved(self, store: Store) -> None:
        before = store.register(record())
        assert store.point(KEY, "live", 1, expected=1, author="ada", reason="") == before
        assert (store.generation(), len(store.history(KEY))) == (1, 1)

    def test_a_name_moves_from_the_expected_generation_to_a_version_that_is_there_or_stays(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        told = store.standing(KEY), store.aliases(KEY), store.history(KEY), store.generation()
        with pytest.raises(StaleParameters) as stale:
            store.point(KEY, "live", 1, expected=1, author="ada", reason="")
        assert (stale.value.ours, stale.value.kept) == (1, 2)
        with pytest.raises(UnknownVersion) as unknown:
            store.point(KEY, "canary", 7, expected=2, author="ada", reason="")
        assert unknown.value.known == (1, 2)
        lasting: tuple[Literal["live", "last_good"], ...] = ("live", "last_good")
        for alias in lasting:
            with pytest.raises(ValueError, match=alias):
                store.point(KEY, alias, None, expected=2, author="ada", reason="")
        pinned: Any = "pinned"
        with pytest.raises(ValueError, match="pinned"):
            store.point(KEY, pinned, 1, expected=2, author="ada", reason="")
        with pytest.raises(ValueError, match="pinned"):
            store.publish(KEY, draft(), expected=2, alias=pinned)
        assert (store.standing(KEY), store.aliases(KEY), store.history(KEY), store.generation()) == told

    def test_a_rollback_takes_the_canary_back_and_trusts_what_it_goes_to(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        store.publish(KEY, draft(), expected=2, alias="canary")
        store.rollback(KEY, None, author="ada", reason="")
        assert store.aliases(KEY) == {"live": Alias(1, 4), "last_good": Alias(1, 1)}

    def test_what_holds_the_pins_bears_a_name_as_long_as_there_are_any(self, store: Store) -> None:
        store.register(record())
        store.steer(KEY, author="ada", reason="", pinned={"retries": 1})
        assert store.aliases(KEY) == {"live": Alias(2, 2), "last_good": Alias(1, 1), "pinned": Alias(2, 2)}
        store.publish(KEY, draft(values_={**DECLARED, "timeout": 1.0, "retries": 1}), expected=2)
        assert store.aliases(KEY)["pinned"] == Alias(2, 2)
        store.rollback(KEY, 2, author="ada", reason="")
        assert store.aliases(KEY)["pinned"] == Alias(2, 2)
        store.steer(KEY, author="ada", reason="", pinned={})
        assert "pinned" not in store.aliases(KEY)
        store.steer(KEY, author="ada", reason="", pinned={"retries": 0})
        store.rollback(KEY, 1, author="ada", reason="")
        assert "pinned" not in store.aliases(KEY)

    def test_a_version_tells_between_which_moments_its_evidence_lies(self, store: Store) -> None:
        store.register(record())
        store.publish(KEY, draft(span=(START, START + 90.5)), expected=1)
        assert [version.span for version in store.versions(KEY)] == [(0.0, 0.0), (START, START + 90.5)]

    def test_what_comes_from_elsewhere_is_taken_in_as_a_whole(self, store: Store) -> None:
        store.register(record())
        known = Incoming(record(), draft(origin="import", author="export of b"), b"what it knew", 1)
        new = Incoming(record(OTHER, declared={"timeout": 9.0}), draft(origin="import"), None, 0)
        first, second = store.bring_in([known, new])
        assert (dict(first.live), first.generation, first.live.parent) == (LEARNED, 2, 1)
        assert (dict(second.live), second.generation, second.live.parent) == (LEARNED, 2, 1)
        assert [dict(version) for version in store.versions(OTHER)] == [{"timeout": 9.0}, LEARNED]
        assert (store.load_learner(KEY), store.load_learner(OTHER)) == (b"what it knew", None)
        assert (store.history(KEY)[-1].action, store.history(KEY)[-1].author) == ("import", "export of b")
        assert store.aliases(KEY)["last_good"] == Alias(1, 1)
        assert store.generation() == 4

    def test_of_what_comes_from_elsewhere_nothing_is_taken_in_where_one_part_is_out_of_date(self, store: Store) -> None:
        store.register(record())
        new = Incoming(record(OTHER), draft(), b"state", 0)
        for stale in (Incoming(record(), draft(), b"state", 2), Incoming(record(), draft(), b"state", 0)):
            with pytest.raises(StaleParameters) as caught:
                store.bring_in([new, stale])
            assert (caught.value.function, caught.value.kept) == (KEY.name, 1)
        gone = Incoming(record(OTHER), draft(), None, 3)
        with pytest.raises(StaleParameters) as caught:
            store.bring_in([gone])
        assert (caught.value.ours, caught.value.kept) == (3, 0)
        assert [kept.key for kept in store.functions()] == [KEY]
        assert (store.load_learner(KEY), store.generation()) == (None, 1)

    def test_knowledge_alone_can_be_brought_in(self, store: Store) -> None:
        standing = store.register(record())
        assert store.bring_in([Incoming(record(declared={"timeout": 1.0}), None, b"state", 1)]) == [standing]
        assert (store.load_learner(KEY), store.generation()) == (b"state", 1)
        assert store.functions()[0].declared == DECLARED  # what the code here says stays
        assert store.bring_in([]) == []

    def test_scores_and_draws_are_kept_with_their_executions(self, store: Store) -> None:
        store.register(record())
        rows = [
            execution(0, score=0.0),
            execution(1, score=1.0, draw=7),
            execution(2, draw=2**62 - 1),
            execution(3, score=-2.5),
        ]
        for row in rows:
            store.append(KEY, [row])
        assert list(store.executions(KEY)) == rows

    def test_a_score_that_comes_late_is_joined_to_its_execution_and_the_newest_counts(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(i, score=0.25) for i in range(4)])
        store.score(KEY, [Feedback("w1", 1, 0.5, START + 9), Feedback("w1", 2, 0.5, START + 9)])
        store.score(KEY, [Feedback("w1", 1, 0.75, START + 10), Feedback("w1", 2, 0.125, START + 8)])
        store.score(KEY, [])
        assert [row.score for row in store.executions(KEY)] == [0.25, 0.75, 0.5, 0.25]
        assert [row.score for row in store.executions(KEY, limit=2)] == [0.5, 0.25]

    def test_a_score_may_come_before_its_execution(self, store: Store) -> None:
        store.register(record())
        store.score(KEY, [Feedback("w1", 3, 1.0, START), Feedback("w2", 0, 0.5, START)])
        store.append(KEY, [execution(i) for i in range(5)])
        assert [row.score for row in store.executions(KEY)] == [None, None, None, 1.0, None]

    def test_goals_that_come_late_add_up_by_name_and_the_newest_of_each_counts(self, store: Store) -> None:
        store.register(record())
        cost, good, better = (("cost", 0.25),), (("quality", 0.5),), (("quality", 0.75), ("größe", 0.1))
        store.append(KEY, [execution(i, goals=cost) for i in range(3)])
        store.score(KEY, [Feedback("w1", 1, 0.5, START + 9, good), Feedback("w1", 2, 0.5, START + 9, better)])
        store.score(KEY, [Feedback("w1", 1, 0.75, START + 10, better), Feedback("w1", 2, 0.25, START + 8, good)])
        store.score(KEY, [Feedback("w1", 0, 0.125, START + 10, (("cost", 2),))])
        expected = [(0.125, {"cost": 2.0}), (0.75, dict(cost + better)), (0.5, dict(cost + better))]
        assert [(row.score, dict(row.goals)) for row in store.executions(KEY)] == expected
        for _ in range(2):
            store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 100)
            assert [(row.score, dict(row.goals)) for row in store.executions(KEY)] == expected
        (hour,) = store.hours(KEY)
        assert (hour.scored, hour.score) == (3, 1.375)
        store.score(KEY, [Feedback("w1", 1, 1.0, START + 200, (("cost", 0.0),))])
        (row,) = store.find(KEY, [("w1", 1)])
        assert (row.score, dict(row.goals)) == (1.0, {"cost": 0.0, **dict(better)})

    def test_goals_of_executions_that_never_came_are_forgotten(self, store: Store) -> None:
        store.register(record())
        store.score(KEY, [Feedback("w1", 1, 0.5, START, (("cost", 0.5),))])
        store.maintain(executions_before=START + 50, hours_before=0.0, settled=START + 60)
        store.append(KEY, [execution(1, started=START + 70)])
        assert [(row.score, row.goals) for row in store.executions(KEY)] == [(None, ())]

    def test_values_and_goals_keep_their_kinds_and_their_names(self, store: Store) -> None:
        store.register(record())
        values: Context = (
            ("model@region=eu,model=a", "large"),
            ("cached", True),
            ("k", 1),
            ("temperature", 0.1 + 0.2),
            ("wide", -(2**200)),
        )
        rows = [
            execution(0, values=values, draw=3, goals=(("quality", 0.1), ("cost", -1e300))),
            execution(1),
            execution(2, values=(("k", 1.0),), context=FEATURES),
            execution(3, values=(("k", True),), goals=(("cost", 0.0),)),
        ]
        for row in rows:
            store.append(KEY, [row])
        assert repr(list(store.executions(KEY))) == repr(rows)
        store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 100)
        assert repr(list(store.executions(KEY))) == repr(rows)

    def test_values_and_goals_that_cannot_be_kept_are_refused_with_their_whole_batch(self, store: Store) -> None:
        store.register(record())
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"values": (("k", float("inf")),)}, "value 'k' must be finite"),
            ({"values": (("k", None),)}, "value 'k' must be a bool, int, float or str"),
            ({"values": (("k", 1), ("k", 2))}, "value 'k' is there twice"),
            ({"values": (("k", "x" * 201),)}, "texts of up to 200"),
            ({"goals": (("cost", float("nan")),)}, "goal 'cost' must be finite"),
            ({"goals": (("cost", "0.5"),)}, "goal 'cost' must be a number"),
            ({"goals": (("x" * 201, 0.5),)}, "names of up to 200"),
            ({"goals": tuple((str(i), 0.5) for i in range(33))}, "one too many: 32 are kept"),
            ({"propensity": 0.0}, "propensity must be in"),
            ({"propensity": 1.5}, "propensity must be in"),
            ({"propensity": float("nan")}, "propensity must be in"),
        ]
        for fields, complaint in wrong:
            with pytest.raises(ValueError, match=complaint):
                store.append(KEY, [execution(0), execution(1, **fields)])
        with pytest.raises(ValueError, match="goal 'cost' must be finite"):
            store.score(KEY, [Feedback("w1", 0, 1.0, START), Feedback("w1", 0, 1.0, START, (("cost", float("inf")),))])
        for sequence in (-1, 2**62, 10**30):
            with pytest.raises(ValueError, match="sequence must be"):
                store.score(KEY, [Feedback("w1", sequence, 1.0, START)])
        assert list(store.executions(KEY)) == []

    def test_by_which_chance_a_call_got_its_version_is_kept_to_the_bit(self, store: Store) -> None:
        store.register(record())
        chances = (1.0, 0.05, 0.95, 1 / 3, 5e-324)
        rows = [execution(i, version=1 + i % 2, propensity=chances[i % 5]) for i in range(1700)]
        store.append(KEY, rows[:7])
        store.append(KEY, rows[7:])
        assert list(store.executions(KEY)) == rows
        assert store.find(KEY, [("w1", 4), ("w1", 1600)]) == [rows[4], rows[1600]]
        store.score(KEY, [Feedback("w1", 3, 0.5, START)])
        store.maintain(executions_before=START + 2, hours_before=0.0, settled=START + 10_000)
        assert list(store.executions(KEY, limit=1698)) == [rows[2], rows[3]._replace(score=0.5), *rows[4:]]

    def test_executions_are_found_by_writer_and_sequence_with_what_was_said_of_them(self, store: Store) -> None:
        store.register(record())
        store.register(record(OTHER))
        rows = [execution(i, started=START + i, score=0.5 if i == 7 else None) for i in range(2500) if i % 5]
        store.append(KEY, rows)
        store.append(KEY, [execution(i, writer="w2") for i in range(3)])
        store.append(OTHER, [execution(0, writer="w9")])
        store.append(KEY, [execution(5), execution(2500)])  # an earlier one late
        store.score(KEY, [Feedback("w1", 2499, 0.25, START, (("cost", 1.0),)), Feedback("w1", 5, 0.75, START)])
        ids = [("w1", 2499), ("w2", 1), ("w1", 7), ("w1", 10), ("w9", 0), ("w1", 5), ("w1", 7), ("w3", 1)]
        odd = [("w1", -1), ("w1", 2**70), ("\ud800", 0), ("", 3)]
        expected = [
            execution(2499, score=0.25, goals=(("cost", 1.0),)),
            execution(1, writer="w2"),
            execution(7, score=0.5),
            execution(5, score=0.75),
        ]
        assert store.find(KEY, ids + odd) == expected
        assert store.find(KEY, []) == []
        store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 10_000)
        assert store.find(KEY, ids + odd) == expected
        everything = list(store.executions(KEY))
        assert sorted(store.find(KEY, [(row.writer, row.sequence) for row in everything])) == sorted(everything)
        assert store.find(OTHER, ids) == [execution(0, writer="w9")]

    def test_executions_in_chunks_of_many_writers_are_found(self, store: Store) -> None:
        store.register(record())
        for writer in range(30):
            store.append(KEY, [execution(i, writer=f"p{writer}") for i in range(4, 12)])
        store.maintain(executions_before=START + 6, hours_before=0.0, settled=START + 100)
        found = store.find(KEY, [(f"p{writer}", writer) for writer in range(30)])
        assert found == [execution(i, writer=f"p{i}") for i in range(6, 12)]

    def test_a_score_that_is_no_number_is_refused_with_its_whole_batch(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(0)])
        for wrong in (Feedback("w1", 0, float("nan"), START), Feedback("w1", 0, 1.0, float("inf"))):
            with pytest.raises(ValueError, match="w1-0 must be finite"):
                store.score(KEY, [Feedback("w1", 0, 1.0, START), wrong])
        assert [row.score for row in store.executions(KEY)] == [None]

    def test_executions_add_up_by_the_hour_and_by_version(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(0, score=0.5), failure(1), hedged(2)])
        store.append(KEY, [shed(3), execution(4, score=0.25), execution(0, writer="w2", started=START + 7200)])
        first, second, third = store.hours(KEY)
        assert [(hour.start, hour.version) for hour in (first, second, third)] == [
            (START, 1),
            (START, 2),
            (START + 7200, 1),
        ]
        assert (first.calls, first.outcomes[Outcome.SUCCESS], first.requests, first.hedges) == (2, 2, 2, 0)
        assert (first.seconds, first.scored, first.score) == (0.5, 2, 0.75)
        assert sum(first.latency.values()) == 2
        assert (second.calls, second.failures, second.requests, second.hedges) == (3, 2, 4, 1)
        assert second.outcomes[Outcome.SHED] == second.outcomes[Outcome.ERROR] == 1
        assert sum(second.latency.values()) == 2  # a call that was not made took no time
        assert store.hours(KEY, since=START + 3600) == [third]
        assert store.hours(KEY, since=START + 1) == [first, second, third]

    def test_what_is_appended_twice_is_counted_once(self, store: Store) -> None:
        store.register(record())
        for _ in range(2):
            store.append(KEY, [execution(i) for i in range(5)])
        assert [hour.calls for hour in store.hours(KEY)] == [5]

    def test_what_is_too_old_goes_and_stays_counted(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [failure(i) for i in range(10)])
        store.append(KEY, [execution(i) for i in range(10, 3000)])
        (counted,) = store.functions()
        upkeep = store.maintain(executions_before=START + 1500, hours_before=0.0, settled=0.0)
        assert (upkeep.expired, upkeep.hours) == (1500, 0)
        assert [row.sequence for row in store.executions(KEY)] == list(range(1500, 3000))
        assert store.functions() == [counted]
        assert sum(hour.calls for hour in store.hours(KEY)) == 3000
        again = store.maintain(executions_before=START + 1500, hours_before=START + 3600, settled=0.0)
        assert (again.expired, again.hours) == (0, 2)
        assert store.hours(KEY) == []
        store.append(KEY, [execution(3000)])
        assert [hour.calls for hour in store.hours(KEY)] == [1]
        assert [finding for finding in store.check() if not finding.ok] == []

    def test_small_chunks_of_many_writers_are_put_together_and_nothing_is_lost(self, store: Store) -> None:
        store.register(record())
        rows = [
            execution(i % 7, writer=f"w{i // 7}", started=START + i, context=(("n", i),) if i % 3 else (), draw=i)
            for i in range(700)
        ]
        for start in range(0, 700, 7):
            store.append(KEY, rows[start : start + 7])
        reader = store.executions(KEY)
        first = [next(reader) for _ in range(10)]
        store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 500)
        assert first + list(reader) == rows  # who has begun to read is not disturbed
        assert list(store.executions(KEY)) == rows
        store.append(KEY, rows[:20])  # what was put together is still known
        store.append(KEY, [execution(7, writer="w3", started=START + 9000)])
        assert len(list(store.executions(KEY))) == 701
        store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 10_000)
        assert list(store.executions(KEY, limit=2)) == [rows[-1], execution(7, writer="w3", started=START + 9000)]
        assert [finding for finding in store.check() if not finding.ok] == []

    def test_what_is_left_of_a_chunk_of_several_writers_still_knows_whose_it_is(self, store: Store) -> None:
        store.register(record())
        old = [execution(i, started=START - 100 + i) for i in range(3)]
        new = [execution(i, writer="w2") for i in range(600)]
        store.append(KEY, old)
        store.append(KEY, new[:300])
        store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 10_000)
        reader = store.executions(KEY, since=START)
        assert store.maintain(executions_before=START - 50, hours_before=0.0, settled=0.0).expired == 3
        assert list(reader) == new[:300]
        store.append(KEY, new)
        assert list(store.executions(KEY)) == new
        assert [finding for finding in store.check() if not finding.ok] == []

    def test_upkeep_writes_scores_to_their_executions_and_counts_them(self, store: Store) -> None:
        store.register(record())
        store.append(KEY, [execution(i, score=0.5 if i == 1 else None) for i in range(5)])
        said = [Feedback("w1", 1, 0.25, START + 5), Feedback("w1", 3, 1.0, START + 5), Feedback("w9", 0, 1.0, START)]
        store.score(KEY, [*said, Feedback("w1", 4, 0.75, START + 50)])
        assert [(hour.scored, hour.score) for hour in store.hours(KEY)] == [(1, 0.5)]
        assert store.maintain(executions_before=0.0, hours_before=0.0, settled=START + 10).scored == 2
        assert [(hour.scored, hour.score) for hour in store.hours(KEY)] == [(2, 1.25)]
        assert [row.score for row in store.executions(KEY)] == [None, 0.25, None, 1.0, 0.75]
        store.maintain(executions_before=START + 1, hours_before=0.0, settled=START + 100)
        assert [row.score for row in store.executions(KEY)] == [0.25, None, 1.0, 0.75]
        store.append(KEY, [execution(0, writer="w9")])
        assert [row.score for row in store.executions(KEY) if row.writer == "w9"] == [None]  # nobody waited any longer
        assert [finding for finding in store.check() if not finding.ok] == []

    def test_contributions_are_merged_once_each(self, store: Store) -> None:
        store.register(record())

        def give(writer: str, number: int) -> bytes:
            return store.exchange(KEY, writer, number, lambda state: (state or b"") + f"{writer}{number} ".encode())

        assert give("a", 1) == b"a1 "
        assert give("b", 1) == b"a1 b1 "
        assert give("a", 1) == b"a1 b1 "  # as after a failure that left open whether it was kept
        assert give("a", 2) == b"a1 b1 a2 "
        assert give("a", 1) == b"a1 b1 a2 "
        assert store.load_learner(KEY) == b"a1 b1 a2 "
        store.save_learner(KEY, b"new ")
        assert give("b", 2) == b"new b2 "

    def test_a_merge_that_fails_changes_nothing(self, store: Store) -> None:
        store.register(record())
        store.exchange(KEY, "a", 1, lambda state: b"first")

        def fail(state: bytes | None) -> bytes:
            raise ValueError(f"cannot merge {state!r}")

        with pytest.raises(ValueError, match="cannot merge b'first'"):
            store.exchange(KEY, "a", 2, fail)
        assert store.load_learner(KEY) == b"first"
        assert store.exchange(KEY, "a", 2, lambda state: b"second") == b"second"

    def test_threads_that_contribute_at_once_lose_nothing(self, store: Store) -> None:
        store.register(record())

        def work(writer: str) -> None:
            for number in range(1, 26):
                store.exchange(KEY, writer, number, lambda state: str(int(state or b"0") + 1).encode())

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, ["a", "b", "c", "d"]))
        assert store.load_learner(KEY) == b"100"

    def test_whoever_watches_is_told_how_long_to_wait_at_most(self, store: Store) -> None:
        assert 0.0 <= store.watch(lambda: None) < 3600.0

    def test_of_threads_that_publish_from_one_generation_exactly_one_wins(self, store: Store) -> None:
        store.register(record())
        together = threading.Barrier(4)

        def publish(name: int) -> bool:
            together.wait()
            try:
                store.publish(KEY, draft(author=f"t{name}"), expected=1)
            except StaleParameters:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(publish, range(4))) == 1
        assert len(store.versions(KEY)) == 2

    def test_threads_that_append_and_read_lose_nothing(self, store: Store) -> None:
        store.register(record())

        def work(writer: str) -> None:
            for start in range(0, 300, 20):
                store.append(KEY, [execution(i, writer=writer) for i in range(start, start + 20)])
                assert len(list(store.executions(KEY))) >= start + 20
                store.generation()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, ["a", "b", "c", "d"]))
        assert store.functions()[0].calls == len(list(store.executions(KEY))) == 1200

    def test_a_closed_store_says_so_and_closes_twice(self, store: Store) -> None:
        store.register(record())
        store.close()
        store.close()
        with pytest.raises(StoreUnavailable, match="closed"):
            store.standing(KEY)


class SharedStoreContract(SharedDocumentContract, StoreContract):
    """What a store promises besides where several processes share it, and where it outlives them."""

    def test_another_process_finds_everything_again(self, tmp_path: Path) -> None:
        first = self.make_store(tmp_path)
        first.register(record())
        first.publish(KEY, draft(), expected=1)
        first.steer(KEY, author="ada", reason="fixed", pinned={"retries": 1})
        rows = [execution(0), failure(1), hedged(2), shed(3), execution(4, context=FEATURES)]
        first.append(KEY, rows)
        first.save_learner(KEY, b"state")
        first.report(report("w1"))
        told = _all_of(first)
        first.close()
        second = self.make_store(tmp_path)
        assert _all_of(second) == told
        assert list(second.executions(KEY)) == rows
        second.close()

    def test_a_change_by_another_is_seen_by_its_generation(self, tmp_path: Path) -> None:
        ours, theirs = self.make_store(tmp_path), self.make_store(tmp_path)
        ours.register(record())
        seen = ours.generation()
        theirs.publish(KEY, draft(), expected=1)
        assert ours.generation() > seen
        assert ours.standing(KEY) == theirs.standing(KEY)
        ours.close()
        theirs.close()

    def test_of_processes_that_publish_from_one_generation_exactly_one_wins(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.register(record())
        rounds, rivals = 20, 2
        context = multiprocessing.get_context("spawn")
        together, results = context.Barrier(rivals), context.Queue()
        processes = [
            context.Process(target=_compete, args=(type(self), tmp_path, rounds, together, results))
            for _ in range(rivals)
        ]
        for process in processes:
            process.start()
        won = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert [sum(one) for one in zip(*won, strict=True)] == [1] * rounds
        assert [version.version for version in store.versions(KEY)] == list(range(1, rounds + 2))
        assert store.standing(KEY).generation == rounds + 1
        store.close()

    def test_of_processes_that_promote_at_once_exactly_one_wins_and_the_others_are_told(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.register(record())
        store.publish(KEY, draft(), expected=1)
        rounds, rivals = 20, 2
        context = multiprocessing.get_context("spawn")
        together, results = context.Barrier(rivals), context.Queue()
        processes = [
            context.Process(target=_promote, args=(type(self), tmp_path, rounds, together, results))
            for _ in range(rivals)
        ]
        for process in processes:
            process.start()
        won = [results.get(timeout=60) for _ in processes]
        for process in processes:
            process.join(60)
        assert [sum(one) for one in zip(*won, strict=True)] == [1] * rounds
        assert store.standing(KEY).generation == rounds + 2
        assert [finding for finding in store.check() if not finding.ok] == []
        store.close()

    def test_processes_that_contribute_at_once_lose_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.register(record())
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=_contribute, args=(type(self), tmp_path, w, 40)) for w in ("a", "b")]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        assert store.load_learner(KEY) == b"80"
        store.close()

    def test_processes_that_append_at_once_lose_nothing(self, tmp_path: Path) -> None:
        store = self.make_store(tmp_path)
        store.register(record())
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=_append_all, args=(type(self), tmp_path, writer, 400)) for writer in ("a", "b")
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0]
        rows = list(store.executions(KEY))
        assert {(row.writer, row.sequence) for row in rows} == {(w, i) for w in "ab" for i in range(400)}
        assert len(rows) == store.functions()[0].calls == 800
        assert [finding for finding in store.check() if not finding.ok] == []
        store.close()


def _all_of(store: Store) -> tuple[object, ...]:
    return (
        store.functions(),
        store.generation(),
        store.standing(KEY),
        store.versions(KEY),
        store.history(KEY),
        store.load_learner(KEY),
        store.processes(),
    )


def _compete(contract: type[StoreContract], folder: Path, rounds: int, together: Any, results: Any) -> None:
    """In a process of its own: publish from each generation in turn, and tell which were won."""
    store = contract().make_store(folder)
    won = []
    for generation in range(1, rounds + 1):
        together.wait(60)
        try:
            store.publish(KEY, draft(), expected=generation)
            won.append(True)
        except StaleParameters:
            won.append(False)
    store.close()
    results.put(won)


def _promote(contract: type[StoreContract], folder: Path, rounds: int, together: Any, results: Any) -> None:
    """In a process of its own: move the live name to and fro, and tell which moves were won."""
    store = contract().make_store(folder)
    won = []
    for generation in range(2, rounds + 2):
        together.wait(60)
        try:
            target = 1 if generation % 2 == 0 else 2
            store.point(KEY, "live", target, expected=generation, author="host", reason="")
            won.append(True)
        except StaleParameters as told:
            won.append(False)
            if told.kept <= generation:
                raise
        together.wait(60)
    store.close()
    results.put(won)


def _contribute(contract: type[StoreContract], folder: Path, writer: str, count: int) -> None:
    store = contract().make_store(folder)
    for number in range(1, count + 1):
        for _ in range(2):  # each of them twice, as after a lost answer
            store.exchange(KEY, writer, number, lambda state: str(int(state or b"0") + 1).encode())
    store.close()


def _append_all(contract: type[StoreContract], folder: Path, writer: str, count: int) -> None:
    store = contract().make_store(folder)
    for start in range(0, count, 8):
        store.append(KEY, [execution(i, writer=writer) for i in range(start, start + 8)])
    store.close()
