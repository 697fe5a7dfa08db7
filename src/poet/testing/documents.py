"""The part of a ``Store``'s contract that is about documents, and about versions that are on trial; see ``stores``."""

# ruff: noqa: D102 -- a test's name is its sentence

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from poet.errors import StaleDocument, StaleParameters, UnknownVersion
from poet.model.document import LONGEST_BODY, LONGEST_NAME, THIS_VERSION, Document
from poet.seams import Store
from poet.testing.facts import KEY, OTHER, draft, record

ROLLOUT = Document("rollout", "main", '{"share": 0.05, "größe": "\\u0000"}', KEY)
FLAG = Document("flag", "learn.online", '{"on": true}')


class DocumentContract:
    """What every store promises of documents."""

    def make_store(self, folder: Path) -> Store:
        raise NotImplementedError

    def test_a_document_comes_back_as_it_was_kept(self, store: Store) -> None:
        store.register(record())
        for given in (ROLLOUT, FLAG, ROLLOUT._replace(kind="evidence", name="\x1a größe '\";--%s", open=False)):
            kept = store.keep(given)
            assert kept == given._replace(revision=1, at=kept.at)
            assert kept.at > 0
            assert store.documents(given.kind) == store.documents(given.kind, given.function, name=given.name) == [kept]
            assert type(store.documents(given.kind)[0].open) is bool

    def test_one_is_replaced_whole_where_its_revision_is_the_kept_one(self, store: Store) -> None:
        store.register(record())
        first = store.keep(ROLLOUT)
        second = store.keep(first._replace(body='{"share": 0.5}'))
        assert (second.revision, second.body) == (2, '{"share": 0.5}')
        for late, quiet in ((first, False), (ROLLOUT, True), (second._replace(revision=3), True)):
            with pytest.raises(StaleDocument) as caught:
                store.keep(late._replace(body="{}"), quiet=quiet)
            assert (caught.value.ours, caught.value.kept) == (late.revision, 2)
            assert isinstance(caught.value, StaleParameters)
        with pytest.raises(StaleDocument, match="none is kept"):
            store.keep(ROLLOUT._replace(name="other", revision=1))
        assert store.documents("rollout") == [second]

    def test_they_come_by_function_and_name_and_can_be_asked_for_by_both(self, store: Store) -> None:
        for key in (KEY, OTHER):
            store.register(record(key))
        names = ("b", "a", "größe", "Z")
        kept = {
            (key, name): store.keep(Document("experiment", name, "{}", key, open=name != "b"))
            for key in (KEY, OTHER, None)
            for name in names
        }
        store.keep(FLAG)
        in_order = [kept[key, name] for key in (None, OTHER, KEY) for name in ("Z", "a", "b", "größe")]
        assert store.documents("experiment") == in_order
        assert store.documents("experiment", ended=False) == [each for each in in_order if each.open]
        assert store.documents("experiment", KEY) == in_order[8:]
        assert store.documents("experiment", name="a") == [kept[key, "a"] for key in (None, OTHER, KEY)]
        assert store.documents("experiment", OTHER, name="b") == [kept[OTHER, "b"]]
        assert store.documents("experiment", OTHER, name="b", ended=False) == []
        assert (
            store.documents("experiment", name="c") == store.documents("nothing") == store.documents("flag", KEY) == []
        )

    def test_what_cannot_be_kept_is_refused_and_nothing_is(self, store: Store) -> None:
        store.register(record())
        before = store.generation()
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"kind": ""}, "kind of a document must be"),
            ({"kind": "x" * (LONGEST_NAME + 1)}, "kind of a document must be"),
            ({"name": ""}, "name of a document must be"),
            ({"name": "a\0b"}, "name of a document must be"),
            ({"name": "\ud800"}, "surrogates"),
            ({"body": "{"}, "must be a JSON text"),
            ({"body": ""}, "must be a JSON text"),
            ({"body": '"' + "ö" * (LONGEST_BODY // 2) + '"'}, f"at most {LONGEST_BODY} bytes"),
            ({"revision": -1}, "revision of the rollout 'main' must be >= 0"),
        ]
        for fields, complaint in wrong:
            for quiet in (False, True):
                with pytest.raises(ValueError, match=complaint):
                    store.keep(ROLLOUT._replace(**fields), quiet=quiet)
            with pytest.raises(ValueError, match=complaint):
                store.publish(KEY, draft(), expected=1, beside=[ROLLOUT._replace(**fields)])
        with pytest.raises(ValueError, match="is not about"):
            store.publish(KEY, draft(), expected=1, beside=[FLAG])
        with pytest.raises(ValueError, match="stands twice"):
            store.rollback(KEY, 1, author="a", reason="", beside=[ROLLOUT, ROLLOUT])
        assert store.documents("rollout") == []
        assert (store.generation(), len(store.versions(KEY)), len(store.history(KEY))) == (before, 1, 1)

    def test_the_longest_one_is_kept(self, store: Store) -> None:
        body = json.dumps("x" * (LONGEST_BODY - 2))
        kept = store.keep(Document("k" * LONGEST_NAME, "ö" * LONGEST_NAME, body))
        assert store.documents("k" * LONGEST_NAME) == [kept]
        assert kept.body == body

    def test_a_change_is_announced_as_that_of_its_function_and_a_quiet_one_is_not(self, store: Store) -> None:
        for key in (KEY, OTHER):
            store.register(record(key))
        now = store.generation()
        kept = store.keep(ROLLOUT)
        assert store.generation() > now
        assert store.changed(now) == (store.generation(), [KEY])
        assert [store.standing(key).generation for key in (KEY, OTHER)] == [2, 1]
        with pytest.raises(StaleParameters):
            store.publish(KEY, draft(), expected=1)
        now = store.generation()
        kept = store.keep(kept, quiet=True)
        store.keep(FLAG, quiet=True)
        store.discard([kept])
        assert (store.generation(), store.changed(now)) == (now, (now, []))
        assert store.standing(KEY).generation == 2

    def test_what_is_no_functions_moves_the_stores_generation_alone(self, store: Store) -> None:
        store.register(record())
        now = store.generation()
        kept = store.keep(FLAG)
        store.keep(kept)
        assert store.generation() == now + 2
        assert store.changed(now) == (now + 2, [])
        assert store.standing(KEY).generation == 1
        store.publish(KEY, draft(), expected=1)
        assert store.changed(now + 2) == (now + 3, [KEY])
        assert [finding for finding in store.check() if not finding.ok] == []

    def test_whoever_asks_what_holds_is_told_of_the_canary_and_of_what_steers(self, store: Store) -> None:
        assert (store.register(record()).canary, store.standing(KEY).steering) == (None, ())
        tried = store.publish(KEY, draft(), expected=1, alias="canary")
        assert tried.live.version == 1
        assert tried.canary == store.versions(KEY)[1]
        experiment = store.keep(Document("experiment", "b", "{}", KEY))
        other = store.keep(Document("experiment", "a", "{}", KEY))
        rollout = store.keep(ROLLOUT)
        for kind in ("evidence", "flag"):
            store.keep(Document(kind, "a", "{}", KEY))
        now = store.standing(KEY)
        assert now == tried._replace(generation=7, steering=(other, experiment, rollout))
        assert store.register(record()) == store.register(record(domain="other")) == store.standing(KEY) == now
        assert store.steer(KEY, author="a", reason="", paused=False) == store.standing(KEY)
        ended = store.keep(experiment._replace(open=False))
        assert store.standing(KEY).steering == (other, rollout)
        again = store.keep(ended._replace(open=True), quiet=True)
        assert store.standing(KEY).steering == (other, again, rollout)
        store.discard([other, rollout])
        assert store.standing(KEY).steering == (again,)
        assert store.standing(KEY).canary == tried.canary
        assert store.point(KEY, "canary", None, expected=8 + 1, author="a", reason="").canary is None
        assert store.standing(KEY).canary is None

    def test_a_canary_gives_way_to_the_next_and_is_none_where_it_goes_live(self, store: Store) -> None:
        store.register(record())
        for number in (2, 3):
            now = store.publish(KEY, draft(reason=f"the {number}nd"), expected=number - 1, alias="canary")
            assert now.canary is not None
            assert (now.canary.version, now.canary.reason) == (number, f"the {number}nd")
            assert store.standing(KEY) == now
        now = store.point(KEY, "canary", 2, expected=3, author="a", reason="")
        assert now == store.standing(KEY)
        assert now.canary == store.versions(KEY)[1]
        now = store.point(KEY, "live", 2, expected=4, author="a", reason="")
        assert (now.live.version, now.canary) == (2, None)
        assert store.standing(KEY) == now
        store.point(KEY, "canary", 3, expected=5, author="a", reason="")
        now = store.rollback(KEY, 1, author="a", reason="")
        assert (now.live.version, now.canary) == (1, None)
        assert store.standing(KEY) == now

    def test_a_version_may_be_made_without_a_name(self, store: Store) -> None:
        store.register(record())
        before = store.aliases(KEY)
        now = store.publish(KEY, draft(), expected=1, alias=None)
        assert (now.live.version, now.canary, now.generation) == (1, None, 2)
        assert store.aliases(KEY) == before
        assert store.versions(KEY)[1] == draft(version=2, parent=1)
        assert store.history(KEY)[1][1:] == ("arm", 2, "adaptive", "a shorter timeout answers sooner")
        assert store.point(KEY, "canary", 2, expected=2, author="a", reason="").canary == store.versions(KEY)[1]

    def test_documents_are_kept_in_one_step_with_a_version_whose_number_they_name(self, store: Store) -> None:
        store.register(record())
        body = f'{{"candidate": {THIS_VERSION}, "why": "{THIS_VERSION[1:-1]} is no number"}}'
        other = Document("experiment", "arms", f"[1, {THIS_VERSION}, {THIS_VERSION}]", KEY)
        now = store.publish(KEY, draft(), expected=1, alias="canary", beside=[ROLLOUT._replace(body=body), other])
        assert now == store.standing(KEY)
        assert [(each.kind, each.revision) for each in now.steering] == [("experiment", 1), ("rollout", 1)]
        assert json.loads(now.steering[0].body) == [1, 2, 2]
        assert json.loads(now.steering[1].body) == {"candidate": 2, "why": "$version is no number"}
        experiment, rollout = now.steering
        ended = rollout._replace(open=False, body="{}")
        now = store.point(KEY, "live", 2, expected=2, author="a", reason="", beside=[ended])
        assert (now.live.version, now.canary, now.steering) == (2, None, (experiment,))
        assert store.documents("rollout")[0][:6] == ended._replace(revision=2)[:6]
        now = store.rollback(KEY, 1, author="a", reason="", beside=[experiment._replace(open=False)])
        assert (now.live.version, now.steering) == (1, ())
        assert store.standing(KEY) == now
        assert [change.action for change in store.history(KEY)] == ["publish", "propose", "promote", "rollback"]

    def test_a_step_that_moves_no_name_still_keeps_what_is_beside_it(self, store: Store) -> None:
        store.register(record())
        now = store.point(KEY, "live", 1, expected=1, author="a", reason="", beside=[ROLLOUT._replace(kind="flag")])
        assert now.generation == 2
        assert len(store.documents("flag", KEY)) == 1

    def test_where_one_cannot_be_kept_the_whole_step_is_as_if_it_had_not_been(self, store: Store) -> None:
        store.register(record())
        kept = store.keep(ROLLOUT)
        store.publish(KEY, draft(), expected=2, alias="canary")
        fine, late = Document("evidence", "a", "{}", KEY), ROLLOUT
        before = store.standing(KEY), store.history(KEY), store.aliases(KEY), store.versions(KEY), store.generation()
        steps: list[Callable[[list[Document]], object]] = [
            lambda beside: store.publish(KEY, draft(), expected=3, beside=beside),
            lambda beside: store.publish(KEY, draft(), expected=3, alias=None, beside=beside),
            lambda beside: store.point(KEY, "live", 2, expected=3, author="a", reason="", beside=beside),
            lambda beside: store.point(KEY, "live", 1, expected=3, author="a", reason="", beside=beside),
            lambda beside: store.rollback(KEY, 2, author="a", reason="", beside=beside),
        ]
        for step in steps:
            for beside in ([fine, late], [late, fine]):
                with pytest.raises(StaleDocument):
                    step(beside)
        with pytest.raises(StaleParameters) as caught:
            store.publish(KEY, draft(), expected=2, beside=[fine])
        assert not isinstance(caught.value, StaleDocument)
        with pytest.raises(UnknownVersion):
            store.rollback(KEY, 9, author="a", reason="", beside=[fine])
        assert store.documents("evidence") == []
        assert store.documents("rollout") == [kept]
        after = store.standing(KEY), store.history(KEY), store.aliases(KEY), store.versions(KEY), store.generation()
        assert after == before

    def test_what_is_discarded_is_gone_whatever_its_revision_and_may_be_begun_anew(self, store: Store) -> None:
        store.register(record())
        store.keep(store.keep(ROLLOUT))
        flag = store.keep(FLAG)
        store.discard([ROLLOUT, Document("rollout", "none", "{}", KEY), ROLLOUT._replace(function=OTHER)])
        store.discard([])
        assert (store.documents("rollout"), store.documents("flag")) == ([], [flag])
        assert store.keep(ROLLOUT).revision == 1
        store.discard([FLAG])
        assert store.documents("flag") == []

    def test_upkeep_deletes_old_evidence_that_is_over_and_no_other_document(self, store: Store) -> None:
        store.register(record())
        kinds = ("evidence", "rollout", "experiment", "flag", "fingerprint")
        kept = [
            store.keep(Document(kind, name, "{}", key, open=name == "open"))
            for kind in kinds
            for name in ("open", "over")
            for key in (None, KEY)
        ]
        last = max(each.at for each in kept)
        first = min(each.at for each in kept)
        store.maintain(executions_before=0.0, hours_before=first, settled=0.0)
        assert [each for kind in kinds for each in store.documents(kind)] == sorted(kept, key=_place(kinds))
        store.maintain(executions_before=0.0, hours_before=last + 1, settled=0.0)
        left = [each for each in kept if each.kind != "evidence" or each.open]
        assert [each for kind in kinds for each in store.documents(kind)] == sorted(left, key=_place(kinds))

    def test_of_threads_that_replace_one_revision_exactly_one_wins(self, store: Store) -> None:
        store.register(record())
        together = threading.Barrier(4)

        def replace(document: Document, quiet: bool) -> bool:
            together.wait()
            try:
                store.keep(document, quiet=quiet)
            except StaleDocument:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            for document in (ROLLOUT, FLAG):
                for revision in range(6):
                    answers = pool.map(replace, [document._replace(revision=revision)] * 4, [revision % 2 == 1] * 4)
                    assert sum(answers) == 1


class SharedDocumentContract(DocumentContract):
    """What a store promises besides where several processes share it."""

    def test_processes_that_replace_documents_at_once_lose_no_change_and_mix_no_steps(self, tmp_path: Path) -> None:
        """Each adds to counts, loudly, quietly and beside versions, and reads again where another was faster."""
        store = self.make_store(tmp_path)
        store.register(record())
        context = multiprocessing.get_context("spawn")
        writers, rounds = 3, 15
        processes = [
            context.Process(target=_add, args=(type(self), tmp_path, rounds, writer)) for writer in range(writers)
        ]
        for process in processes:
            process.start()
        seen = 0
        while any(process.is_alive() for process in processes):
            now = store.standing(KEY)
            assert now.generation >= seen
            seen = now.generation
            if now.steering:  # a step is seen whole
                assert now.canary is not None
                assert json.loads(now.steering[0].body)["candidate"] == now.canary.version
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * writers
        for kind, key in (("flag", None), ("flag", KEY), ("evidence", KEY)):
            (kept,) = store.documents(kind, key) if key else [d for d in store.documents(kind) if d.function is None]
            assert (kept.revision, json.loads(kept.body)) == (writers * rounds, writers * rounds)
        (rollout,) = store.standing(KEY).steering
        assert json.loads(rollout.body)["steps"] == rollout.revision == writers * rounds
        assert len(store.versions(KEY)) == 1 + writers * rounds
        assert store.standing(KEY).generation == 1 + 2 * writers * rounds
        assert store.generation() == 1 + 3 * writers * rounds
        assert [finding for finding in store.check() if not finding.ok] == []
        store.close()

    def test_another_process_finds_documents_again(self, tmp_path: Path) -> None:
        first = self.make_store(tmp_path)
        first.register(record())
        first.publish(KEY, draft(), expected=1, alias="canary", beside=[ROLLOUT])
        first.keep(FLAG)
        told = first.standing(KEY), first.documents("rollout"), first.documents("flag")
        first.close()
        second = self.make_store(tmp_path)
        assert (second.standing(KEY), second.documents("rollout"), second.documents("flag")) == told
        second.close()

    def test_what_another_keeps_discards_or_withdraws_is_seen_at_once(self, tmp_path: Path) -> None:
        ours, theirs = self.make_store(tmp_path), self.make_store(tmp_path)
        ours.register(record())
        steps: list[Callable[[], object]] = [
            lambda: theirs.publish(KEY, draft(), expected=1, alias="canary", beside=[ROLLOUT]),
            lambda: theirs.keep(theirs.documents("rollout")[0], quiet=True),
            lambda: theirs.publish(KEY, draft(), expected=2, alias="canary"),
            lambda: theirs.discard([ROLLOUT]),
            lambda: theirs.point(KEY, "canary", None, expected=3, author="a", reason=""),
        ]
        seen = {repr(ours.standing(KEY))}
        for step in steps:
            step()
            assert ours.standing(KEY) == theirs.standing(KEY)
            seen.add(repr(ours.standing(KEY)))
        assert len(seen) == len(steps) + 1
        ours.close()
        theirs.close()


def _place(kinds: tuple[str, ...]) -> Callable[[Document], tuple[object, ...]]:
    return lambda each: (kinds.index(each.kind), each.function or (), each.name)


def _add(contract: type[DocumentContract], folder: Path, rounds: int, writer: int) -> None:
    """In a process of its own."""
    store = contract().make_store(folder)
    for _ in range(rounds):
        for kind, key, quiet in (("flag", None, False), ("flag", KEY, False), ("evidence", KEY, True)):
            _until_kept(lambda kind=kind, key=key, quiet=quiet: _one_more(store, kind, key, quiet))  # type: ignore[misc]
        _until_kept(lambda: _one_version_more(store, writer))
    store.close()


def _until_kept(step: Callable[[], object]) -> None:
    while True:
        try:
            step()
        except StaleParameters:
            continue
        return


def _one_more(store: Store, kind: str, key: Any, quiet: bool) -> None:
    found = [each for each in store.documents(kind, key) if each.function == key]
    before = found[0] if found else Document(kind, "count", "0", key)
    store.keep(before._replace(body=str(int(before.body) + 1)), quiet=quiet)


def _one_version_more(store: Store, writer: int) -> None:
    now = store.standing(KEY)
    before = now.steering[0] if now.steering else Document("rollout", "main", '{"steps": 0}', KEY)
    body = f'{{"steps": {json.loads(before.body)["steps"] + 1}, "candidate": {THIS_VERSION}, "by": {writer}}}'
    beside = [before._replace(body=body)]
    store.publish(KEY, draft(), expected=now.generation, alias="canary", beside=beside)
