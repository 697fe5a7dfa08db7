"""What is taken of a package: better evidence, within bounds, all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from poet.errors import StaleParameters
from poet.exchange import merge
from poet.exchange.merge import Receiving, Verdict
from poet.exchange.package import Packaged, read
from poet.learners import learner_for
from poet.model.parameters import ParameterSet, Standing
from poet.seams import Incoming
from poet.stores.legacy_json import LegacyParameters
from poet.stores.memory import MemoryStore
from poet.testing import hostile
from poet.testing.clock import VirtualClock
from unit.cli import shop
from unit.exchange import parcels
from unit.exchange.parcels import ASK, DECLARED, WEIGH

FILES = int(os.environ.get("POET_HOSTILE_FILES", "2000"))


def receiving(*, force: bool = False) -> Receiving:
    return Receiving("team.json", "ann", learner_for, force)


def take(store: MemoryStore, *functions: Packaged, force: bool = False, dry: bool = False) -> list[Verdict]:
    package = read(parcels.parcel(*functions).encode(), "team.json")
    return merge.take_in(store, package, receiving(force=force), dry=dry)


def new_store() -> MemoryStore:
    return MemoryStore(clock=VirtualClock(wall=shop.NOW))


def test_a_function_that_nobody_called_here_starts_with_what_is_known_elsewhere() -> None:
    store = new_store()
    counted = parcels.record(ASK)._replace(calls=5, failures=1, seconds=1.0, last_call=9.0)
    [verdict] = take(store, Packaged(counted, parcels.learned(100), parcels.knowledge()))
    assert (verdict.taken, verdict.before, verdict.knowledge) == (True, None, True)
    standing = store.standing(ASK)
    assert (dict(standing.live), standing.live.version) == ({**DECLARED, "timeout": 0.75, "retries": 2}, 2)
    assert (standing.live.origin, standing.live.author, standing.live.evidence) == ("import", "ann", 100)
    assert standing.live.reason == "imported from team.json: 99 % of the answers come within it"
    assert dict(standing.live.estimates) == dict(parcels.learned(100).estimates)
    assert store.functions()[0].calls == 0
    assert store.load_learner(ASK) is not None
    assert dict(store.versions(ASK)[0]) == DECLARED


def test_a_function_that_only_declares_is_made_known_as_it_is() -> None:
    store = new_store()
    take(store, Packaged(parcels.record(ASK), ParameterSet(values_=DECLARED, version=1), None))
    assert [version.origin for version in store.versions(ASK)] == ["declared"]


def test_better_evidence_goes_live_and_worse_is_left() -> None:
    store = parcels.filled()
    better, worse = take(
        store, parcels.packaged(ASK, parcels.learned(60)), parcels.packaged(WEIGH, parcels.learned(50))
    )
    assert (better.taken, store.standing(ASK).live["timeout"]) == (True, 0.75)
    assert (worse.taken, store.standing(WEIGH).live["timeout"]) == (False, 2.5)
    assert worse.why == "it rests on 50 executions, ours on 50; --force takes it all the same"
    assert store.history(ASK)[-1].action == "import"


def test_force_takes_worse_evidence() -> None:
    store = parcels.filled()
    [verdict] = take(store, parcels.packaged(WEIGH, parcels.learned(1)), force=True)
    assert (verdict.taken, store.standing(WEIGH).live["timeout"]) == (True, 0.75)


@pytest.mark.parametrize("force", [False, True])
def test_bounds_hold_whatever_is_forced(force: bool) -> None:
    store = parcels.filled()
    wide = parcels.record(ASK)._replace(space={"timeout": [1e-6, 1e6], "retries": [0, 100]})
    foreign = parcels.learned(900, timeout=5000.0, retries=50, speed=3)
    [verdict] = take(store, Packaged(wide, foreign, None), force=force)
    live = store.standing(ASK).live
    assert dict(live) == {**DECLARED, "timeout": 120.0, "retries": 5}
    assert len(verdict.notes) == 3
    assert not live.estimates  # they were about another value


def test_pins_hold_whatever_is_forced() -> None:
    store = parcels.filled()
    store.steer(ASK, author="bob", reason="", pinned={"timeout": 7.0})
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(900)))
    assert (verdict.taken, verdict.why) == (False, "timeout: pinned; unpin, or --force takes the rest")
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(900)), force=True)
    assert verdict.notes == ("timeout stays at 7.0, as it is pinned",)
    standing = store.standing(ASK)
    assert (dict(standing.live), dict(standing.pinned)) == (
        {**DECLARED, "timeout": 7.0, "retries": 2},
        {"timeout": 7.0},
    )


def test_options_bounds_and_pins_hold_in_every_context() -> None:
    store = new_store()
    record = parcels.record(ASK)._replace(
        declared={**DECLARED, "model": "small", "beams": 2}, choices={"model": ["small", "large"], "beams": [1, 2]}
    )
    store.register(record)
    store.steer(ASK, author="ann", reason="", pinned={"retries": 1})
    theirs = {
        "model@region=eu": "large",
        "model": "huge",
        "beams": 2.0,
        "timeout@region=eu": 500.0,
        "retries@region=eu": 2,
        "depth@region=eu": 1,
    }
    [verdict] = take(
        store, Packaged(parcels.record(ASK), parcels.learned(100).changed(values_=theirs), None), force=True
    )
    assert verdict.after == {
        **record.declared,
        "retries": 1,
        "model@region=eu": "large",
        "timeout@region=eu": 120.0,
    }
    told = " ".join(verdict.notes)
    assert "model is left out: it must be one of 'small', 'large', got 'huge'" in told
    assert "beams is left out: it must be one of 1, 2, got 2.0" in told
    assert "timeout@region=eu 500 is outside of [0.001, 120]: 120 is taken" in told
    assert "depth@region=eu is left out: no such parameter" in told


def test_what_a_person_paused_or_set_is_left() -> None:
    store = parcels.filled()
    store.steer(ASK, author="bob", reason="quota", paused=True)
    store.steer(WEIGH, author="bob", reason="", pinned={"retries": 1})
    store.steer(WEIGH, author="bob", reason="", pinned={})
    verdicts = take(store, parcels.packaged(ASK), parcels.packaged(WEIGH))
    assert [verdict.taken for verdict in verdicts] == [False, False]
    assert verdicts[0].why == "learning is paused: quota; resume it, or use --force"
    assert "by hand" in verdicts[1].why


def test_a_function_that_does_not_learn_keeps_what_it_declares() -> None:
    store = parcels.filled()
    store.register(parcels.record(ASK, learner=""))
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(900), parcels.knowledge()))
    assert (verdict.taken, verdict.why.partition(",")[0]) == (False, "it does not learn here")
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(900), parcels.knowledge()), force=True)
    assert verdict.taken
    assert verdict.notes == ("what the learner knew is left out: this function does not learn",)
    assert store.load_learner(ASK) is None


def test_another_signature_is_refused_unless_forced() -> None:
    store = parcels.filled()
    older = ASK._replace(fingerprint="99999999")
    [verdict] = take(store, parcels.packaged(older, parcels.learned(900)))
    assert (verdict.taken, verdict.key) == (False, ASK)
    assert "its signature is another" in verdict.why
    assert [record.key for record in store.functions()] == [ASK, WEIGH]
    [verdict] = take(store, parcels.packaged(older, parcels.learned(900)), force=True)
    assert (verdict.taken, store.standing(ASK).live["timeout"]) == (True, 0.75)


def test_of_two_signatures_the_right_one_goes_first() -> None:
    store = parcels.filled()
    older = parcels.packaged(ASK._replace(fingerprint="00000000"), parcels.learned(900, timeout=9.0))
    first, second = take(store, older, parcels.packaged(ASK, parcels.learned(800)), force=True)
    assert (first.taken, second.taken) == (True, False)
    assert store.standing(ASK).live["timeout"] == 0.75


def test_knowledge_that_our_learner_cannot_read_is_left_and_the_values_are_taken() -> None:
    store = parcels.filled()
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(900), b"POETonl1 not really"))
    assert (verdict.taken, verdict.knowledge, store.load_learner(ASK)) == (True, False, None)
    assert verdict.notes[0].startswith("what the learner knew is left out")


def test_knowledge_goes_only_together_with_the_values() -> None:
    store = parcels.filled()
    before = store.load_learner(WEIGH)
    take(store, parcels.packaged(WEIGH, parcels.learned(1), parcels.knowledge(WEIGH, 300)))
    assert store.load_learner(WEIGH) == before
    take(store, parcels.packaged(WEIGH, parcels.learned(300), parcels.knowledge(WEIGH, 300)))
    assert store.load_learner(WEIGH) == parcels.knowledge(WEIGH, 300)


def test_the_same_again_changes_nothing() -> None:
    store = parcels.filled()
    take(store, parcels.packaged(ASK, parcels.learned(60)))
    before = hostile.listing(store)
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(60)))
    assert not verdict.taken
    [verdict] = take(store, parcels.packaged(ASK, parcels.learned(61)))
    assert (verdict.taken, verdict.why) == (False, "these values are live already")
    assert hostile.listing(store) == before


def test_a_dry_run_says_the_same_and_changes_nothing() -> None:
    store = parcels.filled()
    before = hostile.listing(store)
    functions = parcels.packaged(ASK), parcels.packaged(ASK._replace(qualname="tell"))
    dry = take(store, *functions, dry=True)
    assert hostile.listing(store) == before
    assert dry == take(store, *functions)


class Contested(MemoryStore):
    """A store in which another process changes a function just before something is brought in."""

    times = 1

    def bring_in(self, incoming: Sequence[Incoming]) -> list[Standing]:
        if self.times > 0:
            self.times -= 1
            live = self.standing(ASK).live
            draft = parcels.learned(70, timeout=float(live["timeout"]) / 2)
            self.publish(ASK, draft, expected=self.standing(ASK).generation)
        return super().bring_in(incoming)


def test_where_another_process_was_faster_all_is_judged_anew() -> None:
    store = Contested()
    parcels.fill(store)
    fine, beaten = take(store, parcels.packaged(WEIGH, parcels.learned(60)), parcels.packaged(ASK, parcels.learned(60)))
    assert (fine.taken, beaten.taken) == (True, False)
    assert beaten.why.startswith("it rests on 60 executions, ours on 70")


def test_where_others_never_rest_it_gives_up_and_nothing_has_changed() -> None:
    store = Contested()
    parcels.fill(store)
    store.times = 1000
    with pytest.raises(StaleParameters):
        take(store, parcels.packaged(WEIGH, parcels.learned(60)), parcels.packaged(ASK, parcels.learned(10**6)))
    assert store.standing(WEIGH).live["timeout"] == 2.5


def test_what_the_original_learned_goes_live_where_nothing_was_learned_since() -> None:
    store = parcels.filled()
    found = LegacyParameters({"timeout": 27.0}, Path(".poet/ask_params.json"), ())
    verdicts = [
        merge.judge_legacy(found, record, store.standing(record.key), receiving()) for record in store.functions()
    ]
    assert [verdict.taken for verdict in verdicts] == [True, False]
    assert verdicts[1].why == "version 2 is live already, learned; --force takes these all the same"
    assert verdicts[0].incoming is not None
    store.bring_in([verdicts[0].incoming])
    live = store.standing(ASK).live
    assert (live["timeout"], live.origin, live.evidence) == (27.0, "import", 0)
    [again, _] = [
        merge.judge_legacy(replace_timeout(found), record, store.standing(record.key), receiving())
        for record in store.functions()
    ]
    assert not again.taken


def replace_timeout(found: LegacyParameters) -> LegacyParameters:
    return found._replace(values={"timeout": 26.0})


def test_a_torn_file_of_the_original_is_left_with_the_reason() -> None:
    store = parcels.filled()
    found = LegacyParameters({}, Path("ask_params.json"), ("it is empty",))
    verdict = merge.judge_legacy(found, parcels.record(ASK), store.standing(ASK), receiving(force=True))
    assert (verdict.taken, verdict.why) == (False, "it is empty")


def test_an_import_rests_on_what_it_says_and_its_bounds_are_the_receivers() -> None:
    live = parcels.learned(60).changed(values_={"timeout": 1.0})
    store = parcels.filled()
    [verdict] = take(store, parcels.packaged(ASK, live))
    assert verdict.after == {**DECLARED, "timeout": 1.0}


def test_hostile_files_are_refused_or_taken_whole() -> None:
    survived = hostile.attack(parcels.filled, parcels.whole(), learner_for, files=FILES, seed=1)
    assert survived.files == survived.refused + survived.kept + survived.taken == FILES
    assert survived.taken > FILES / 100
    assert len(survived.fields) > 40  # most of the damage reaches the fields
