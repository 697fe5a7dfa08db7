"""The gate: who may have what, above which counts, at what price, and that it is written down."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError, StoreAway
from poet.model.document import Document
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.flag import Rule
from poet.model.function import FunctionKey
from poet.seams import FunctionRecord, ProcessReport, Store
from poet.sharing import consent, releases
from poet.sharing.privacy import Gate, Party, Policy, Refused, Released, known_calls
from poet.sharing.statistics import Calls, Cell, Tunables
from poet.stores.memory import MemoryStore
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock

FETCH, LOAD = FunctionKey("shop.net", "fetch", "00000001"), FunctionKey("shop.web", "load", "00000002")
THEIRS = Party(FunctionKey("acme.net", "get", "00000003"), "acme")
OURS = Rule(consent.ALLOW, tenant="acme")
KEY = b"sixteen bytes or more"
CALLS = Calls(((0.1, 60), (0.5, 30)), {"error": 10}, 3, {"region": "eu", "customer": "ann"})
TUNABLES = Tunables({"model": (Cell("small", 40, 0.5, 0.1), Cell("large", 60, 0.75, 0.05))}, 0.0, 1.0, 3)
MONTH = 31 * 86_400.0


def fill(store: Store) -> None:
    choices = {"model": ("small", "large")}
    for key in (FETCH, LOAD):
        store.register(FunctionRecord(key, None, "adaptive", {"timeout": 2.0}, {}, 0, 0, 0.0, 0.0, choices=choices))


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "poet.db")
    fill(made)
    yield made
    made.close()


def gate(store: Store, clock: VirtualClock | None = None, **policy: Any) -> Gate:
    policy = {"rules": (OURS,), **policy}
    return Gate(store, Policy(**policy), clock=clock or VirtualClock(), dice=Random(1))


def released(told: Released | Refused) -> Released:
    assert isinstance(told, Released), told
    return told


def refused(told: Released | Refused) -> str:
    assert isinstance(told, Refused), told
    return told.reason


# --- who may ------------------------------------------------------------------------------------------------------


def test_nothing_leaves_the_tenant_by_default_and_functions_of_one_tenant_share(store: Store) -> None:
    closed = Gate(store, Policy())
    assert refused(closed.release(FETCH, THEIRS, CALLS)) == "tenant 'acme' is another one, and no rule allows it"
    assert releases.records(store) == ([], 0)
    told = released(closed.release(FETCH, LOAD, CALLS))
    assert told.epsilon is None
    assert told.statistics is CALLS
    ((entry,), _) = releases.records(store)
    assert entry.left["context"] == {}
    assert [count for _, count in entry.left["durations"]] == [60, 30]


@pytest.mark.parametrize(
    ("rules", "target", "allowed"),
    [
        ((OURS,), THEIRS, True),
        ((Rule("allow", function="fetch", tenant="ac*"),), THEIRS, True),
        ((Rule("allow", function="load", tenant="acme"),), THEIRS, False),
        ((Rule("allow", tenant="other"),), THEIRS, False),
        ((Rule("deny", function="shop.*", tenant="acme"), OURS), THEIRS, False),
        ((OURS, Rule("deny", function="shop.*", tenant="acme")), THEIRS, True),  # the first decides
        ((Rule("deny", function="fetch"),), LOAD, False),  # within the tenant, too
    ],
)
def test_rules_by_function_and_tenant_decide(
    store: Store, rules: tuple[Rule, ...], target: FunctionKey | Party, allowed: bool
) -> None:
    assert isinstance(gate(store, rules=rules).release(FETCH, target, CALLS), Released) is allowed


def test_rules_in_the_store_come_before_those_of_the_policy(store: Store) -> None:
    door = gate(store)
    released(door.release(FETCH, THEIRS, CALLS))
    consent.set_rule(store, consent.rule("deny", "fetch", "acme"), author="ann", reason="contract ends", at=1.0)
    assert refused(door.release(FETCH, THEIRS, CALLS)).startswith("a rule denies shop.net.fetch to tenant 'acme'")
    consent.unset_rule(store, consent.rule("deny", "fetch", "acme"), author="ann", reason="", at=2.0)
    released(door.release(FETCH, THEIRS, CALLS))


def test_damaged_rules_deny_all_and_the_next_change_mends_them(store: Store) -> None:
    store.keep(Document(consent.KIND, consent.NAME, '{"format": 1, "rules": 3}'))
    assert "cannot be read, and all is denied" in refused(gate(store).release(FETCH, LOAD, CALLS))
    consent.set_rule(store, consent.rule("allow", "*", "acme"), author="ann", reason="", at=1.0)
    released(gate(store).release(FETCH, THEIRS, CALLS))


def test_another_tenants_function_and_an_unknown_one_cannot_be_a_source(store: Store) -> None:
    assert "tenant 'acme''s, and only '' is guarded here" in refused(gate(store).release(THEIRS, FETCH, CALLS))
    unknown = FunctionKey("a", "b", "00000009")
    assert "is not known to the store" in refused(gate(store).release(unknown, THEIRS, CALLS))


# --- what leaves --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [None, 100.0])
def test_too_few_executions_or_contributors_stay(store: Store, epsilon: float | None) -> None:
    door = gate(store, epsilon=epsilon, releases=1)
    few = CALLS._replace(durations=((0.1, 3),), failures={})
    assert "fewer than 20 executions" in refused(door.release(FETCH, THEIRS, few))
    assert "2 hosts or functions contributed, at least 3" in refused(
        door.release(FETCH, THEIRS, CALLS._replace(contributors=2))
    )
    assert "fewer than 20 executions" in refused(door.release(FETCH, LOAD, few))
    released(door.release(FETCH, LOAD, CALLS._replace(contributors=1)))  # it stays within the tenant


def test_only_allowed_kinds_and_features_leave_and_these_hashed(store: Store) -> None:
    assert refused(gate(store, kinds=frozenset({"calls"})).release(FETCH, THEIRS, TUNABLES)) == (
        "the policy does not let tunables go"
    )
    for odd in ({"calls": 1}, None, object()):
        assert "only calls and tunables may leave" in refused(gate(store).release(FETCH, THEIRS, odd))  # type: ignore[arg-type]
    assert not released(gate(store).release(FETCH, THEIRS, CALLS)).statistics.context
    keyed = gate(store, features=frozenset({"region"}), key=KEY)
    told = released(keyed.release(FETCH, THEIRS, CALLS)).statistics.context
    assert set(told) == {"region"}
    assert "eu" not in str(told["region"])
    assert len(str(told["region"])) == 16
    other = gate(store, features=frozenset({"region"}), key=KEY + b"!")
    assert released(other.release(FETCH, THEIRS, CALLS)).statistics.context != told
    assert "ann" not in "".join(each.body for each in store.documents(releases.RECORD))


@pytest.mark.parametrize("epsilon", [None, 1.0])
@pytest.mark.parametrize(
    "poison",
    [
        CALLS._replace(durations=((0.1, 10**9),)),
        CALLS._replace(durations=((math.nan, 60),)),
        CALLS._replace(failures={"error": -1}),
        CALLS._replace(failures=None),  # type: ignore[arg-type]
        CALLS._replace(durations=((0.1,),)),  # type: ignore[arg-type]
        CALLS._replace(contributors="many"),  # type: ignore[arg-type]
        TUNABLES._replace(cells={"model": (Cell("small", 40, math.nan, 0.1),)}),
        TUNABLES._replace(cells={"model": (None,)}),  # type: ignore[arg-type]
        TUNABLES._replace(low=None),  # type: ignore[arg-type]
    ],
)
def test_poisoned_statistics_are_refused_with_a_reason_and_cost_nothing(
    store: Store, poison: Any, epsilon: float | None
) -> None:
    reason = refused(gate(store, epsilon=epsilon).release(FETCH, THEIRS, poison))
    assert "it cannot be true" in reason or "it cannot be read" in reason
    assert not releases.ledgers(store)


# --- at what price ------------------------------------------------------------------------------------------------


def test_each_release_takes_its_part_until_the_month_is_used_up(store: Store) -> None:
    clock, month = VirtualClock(), {"epsilon": 16.0, "releases": 4}
    door = gate(store, clock, **month)
    left = [released(door.release(FETCH, THEIRS, CALLS)).remaining for _ in range(4)]
    assert left == [12.0, 8.0, 4.0, 0.0]
    other = Party(THEIRS.function, "acme2")
    for target in (THEIRS, other):  # of all targets together
        door = gate(store, clock, **month, rules=(Rule("allow"),))
        assert refused(door.release(FETCH, target, CALLS)) == (
            "epsilon 16 of 16 is spent in this month, and this would take 4"
        )
    assert isinstance(door.release(LOAD, THEIRS, CALLS), Released)  # each function has its own
    assert isinstance(door.release(FETCH, LOAD, CALLS), Released)  # what stays within the tenant takes none
    clock.sleep(MONTH)
    assert released(door.release(FETCH, THEIRS, CALLS)).remaining == 12.0
    assert [(k.qualname, e.month, float(e.spent)) for k, e in releases.ledgers(store)] == [
        ("fetch", "2023-11", 16.0),
        ("load", "2023-11", 4.0),
        ("fetch", "2023-12", 4.0),
    ]


def test_a_release_that_noise_leaves_too_small_is_paid_and_recorded(store: Store) -> None:
    door = gate(store, epsilon=50.0, releases=1)
    assert "epsilon 50 is spent" in refused(door.release(FETCH, THEIRS, CALLS._replace(durations=(), failures={})))
    ((entry,), unread) = releases.records(store)
    assert (entry.epsilon, entry.left, unread) == (50.0, {}, 0)
    assert "fewer than 20" in entry.refused


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "[]",
        "3",
        *(
            json.dumps({"format": 1, "tenant": "", "releases": 1, "spent": "0"} | odd)
            for odd in (
                {"spent": "-1"},
                {"spent": "1/0"},
                {"spent": 0},
                {"format": 9},
                {"tenant": "x"},
                {"releases": -1},
            )
        ),
    ],
)
def test_a_ledger_that_cannot_be_read_lets_nothing_go(store: Store, body: str) -> None:
    clock = VirtualClock()
    store.keep(Document(releases.LEDGER, f"/{releases.month_of(clock.wall())}", body, FETCH))
    assert "cannot be read" in refused(gate(store, clock, epsilon=1.0).release(FETCH, THEIRS, CALLS))
    assert releases.records(store) == ([], 0)


def test_what_is_spent_before_the_store_fails_stays_spent_and_nothing_leaves() -> None:
    class Failing(MemoryStore):
        """Cannot keep records."""

        def keep(self, document: Document, *, quiet: bool = False) -> Document:
            if document.kind == releases.RECORD:
                raise StoreAway(self.url, "the disk is full", "wait")
            return super().keep(document, quiet=quiet)

    store = Failing()
    fill(store)
    assert "the store cannot record it" in refused(gate(store, epsilon=1.0).release(FETCH, THEIRS, CALLS))
    ((_, ledger),) = releases.ledgers(store)
    assert ledger.spent == Fraction(1, 8)


def test_a_store_that_is_away_lets_nothing_go() -> None:
    class Away(MemoryStore):
        """Cannot be reached."""

        def documents(self, *_: Any, **__: Any) -> list[Document]:
            raise StoreAway("postgresql://db", "no route to host", "wait")

    reason = refused(gate(Away()).release(FETCH, LOAD, CALLS))
    assert reason.startswith("the store cannot record it")
    assert "no route to host" in reason


def test_several_at_once_never_spend_more_than_there_is(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "poet.db")
    fill(store)
    told: list[Released | Refused] = []

    def ask(seed: int) -> None:
        door = Gate(store, Policy(rules=(OURS,), epsilon=100.0, releases=10), clock=VirtualClock(), dice=Random(seed))
        told.extend(door.release(FETCH, THEIRS, CALLS) for _ in range(4))

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    why = {each.reason for each in told if isinstance(each, Refused)}
    assert why == {"epsilon 100 of 100 is spent in this month, and this would take 10"}
    assert sum(isinstance(each, Released) for each in told) == 10
    assert [each.number for each in releases.records(store)[0]] == list(range(1, 11))
    store.close()


@given(st.lists(st.tuples(st.floats(1e-3, 100), st.integers(1, 50)), min_size=1, max_size=30))
@settings(deadline=None, max_examples=40)
def test_no_sequence_of_policies_spends_more_than_the_largest_of_them(asked: list[tuple[float, int]]) -> None:
    store = MemoryStore()
    fill(store)
    clock = VirtualClock()
    for epsilon, parts in asked:
        gate(store, clock, epsilon=epsilon, releases=parts).release(FETCH, THEIRS, CALLS)
    spent = sum(ledger.spent for _, ledger in releases.ledgers(store))
    assert spent <= Fraction(max(epsilon for epsilon, _ in asked))


# --- what is written down -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "kind"), [(CALLS, "calls"), (TUNABLES, "tunables")])
@pytest.mark.parametrize("epsilon", [None, 100.0])
def test_each_release_is_recorded_as_it_left(store: Store, state: Any, kind: str, epsilon: float | None) -> None:
    clock = VirtualClock()
    door = gate(store, clock, epsilon=epsilon)
    told = released(door.release(FETCH, THEIRS, state, by="ann", why="acme's pilot"))
    ((entry,), _) = releases.records(store, FETCH)
    assert (entry.function, entry.at, entry.by, entry.why) == (FETCH, clock.wall(), "ann", "acme's pilot")
    assert (entry.target, entry.tenant, entry.kind) == (str(THEIRS.function), "acme", kind)
    assert (entry.number, entry.epsilon, entry.refused) == (told.number, told.epsilon, "")
    if isinstance(told.statistics, Calls):
        assert entry.left["durations"] == [list(pair) for pair in told.statistics.durations]
        assert entry.left["failures"] == told.statistics.failures
    else:
        assert entry.left["cells"] == {"model": [list(cell) for cell in told.statistics.cells["model"]]}
    assert releases.records(store, LOAD) == ([], 0)


def test_records_that_cannot_be_read_are_counted(store: Store) -> None:
    released(gate(store).release(FETCH, THEIRS, CALLS))
    store.keep(Document(releases.RECORD, "odd", json.dumps({"number": "x"}), FETCH))
    told, unread = releases.records(store)
    assert (len(told), unread) == (1, 1)


def test_a_long_name_of_a_tenant_and_long_words_find_room(store: Store) -> None:
    tenant = "t" * 200
    door = Gate(store, Policy(tenant=tenant, rules=(OURS,), epsilon=100.0), clock=VirtualClock(), dice=Random(1))
    released(door.release(FETCH, THEIRS, CALLS, why="w" * 10**6))
    ((_, ledger),) = releases.ledgers(store)
    assert ledger.tenant == tenant


# --- from what the store keeps ------------------------------------------------------------------------------------


def test_calls_that_the_store_keeps_are_counted_with_their_hosts(store: Store) -> None:
    for writer in "abcd":
        store.report(ProcessReport(writer, f"host {writer.replace('d', 'c')}", 1, 0.0, 1.0, 0, 0, ""))
        attempts = (Attempt(Outcome.SUCCESS, 0.125),)
        store.append(FETCH, [Execution(writer, k, 100.0 + k, 0.2, Outcome.SUCCESS, 1, attempts) for k in range(10)])
    told = known_calls(store, FETCH)
    assert (told.n, told.contributors) == (40, 3)
    assert told.durations == ((0.125, 40),)
    assert known_calls(store, FETCH, since=105.0).n == 20
    released(gate(store, epsilon=100.0).release(FETCH, THEIRS, told))


# --- the policy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"kinds": frozenset({"call"})}, "did you mean 'calls'"),
        ({"rules": (Rule("on"),)}, "a rule says allow or deny, got 'on'"),
        ({"rules": (Rule("allow", percent=10.0),)}, "by function and tenant"),
        ({"least": 19}, "least must be a whole number >= 20"),
        ({"least": 20.5}, "least must be a whole number >= 20"),
        ({"contributors": 2}, "contributors must be a whole number >= 3"),
        ({"releases": 0}, "releases must be a whole number >= 1"),
        ({"epsilon": 0.0}, "epsilon must be in (0, 100]"),
        ({"epsilon": math.nan}, "epsilon must be in (0, 100]"),
        ({"epsilon": True}, "epsilon must be in (0, 100]"),
        ({"epsilon": 1e-6, "releases": 2}, "is too little for 2 releases"),
        ({"features": frozenset({"region"})}, "hashed with a key of at least 16 bytes"),
    ],
)
def test_a_policy_that_promises_too_little_is_refused(odd: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        Policy(**odd)
    assert said in str(told.value)


def test_a_policy_does_not_show_its_key_and_its_parts_never_exceed_the_whole() -> None:
    policy = Policy(features=frozenset({"region"}), key=KEY, epsilon=1 / 3, releases=7)
    assert str(KEY) not in repr(policy)
    assert policy.budget is not None
    assert policy.cost * 7 <= policy.budget <= Fraction(1 / 3)
    assert replace(policy, epsilon=None).cost == 0


def test_rules_are_checked_and_there_are_not_too_many(store: Store) -> None:
    for odd in (("perhaps", "*", "acme"), ("allow", "", "acme"), ("allow", "*", "x" * 101), ("allow", "*", "\0")):
        with pytest.raises(ConfigurationError):
            consent.rule(*odd)
    for k in range(20):
        consent.set_rule(store, consent.rule("allow", "*", f"t{k}"), author="ann", reason="", at=float(k))
    with pytest.raises(ConfigurationError, match="at most 20 rules"):
        consent.set_rule(store, consent.rule("allow", "*", "t20"), author="ann", reason="", at=20.0)
    with pytest.raises(ConfigurationError, match="a reason must be of at most 500"):
        consent.set_rule(store, consent.rule("deny", "*", "t1"), author="ann", reason="w" * 501, at=21.0)
    assert consent.unset_rule(store, consent.rule("deny", "*", "nobody"), author="ann", reason="", at=22.0) is None
    known = consent.consent(store)
    assert len(known.rules) == len(known.changes) == 20
    assert known.changes[-1] == consent.Change(19.0, "ann", "", "allow", "*", "t19")
