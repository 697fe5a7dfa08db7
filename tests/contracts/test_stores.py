"""Every store keeps the contract, and the one on disk does what the one in memory does."""

from __future__ import annotations

import tempfile
from array import array
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from poet.errors import StoreError
from poet.model.document import THIS_VERSION, Document
from poet.model.execution import Attempt, Execution, Feedback, Outcome
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord, Incoming, ProcessReport, Store
from poet.stores.memory import MemoryStore
from poet.stores.sqlite import SqliteStore
from poet.testing.stores import SharedStoreContract, StoreContract
from unit.stores.strategies import CONTEXTS, GOALS


class TestMemoryStore(StoreContract):
    def make_store(self, folder: Path) -> Store:
        return MemoryStore()


class TestSqliteStore(SharedStoreContract):
    def make_store(self, folder: Path) -> Store:
        return SqliteStore(folder / "poet.db")


class _Steps:
    """A clock that ticks once a reading, so that two stores that read it alike agree."""

    def __init__(self) -> None:
        self.ticks = 0

    def now(self) -> float:
        return 0.0

    def wall(self) -> float:
        self.ticks += 1
        return 1000.0 + self.ticks

    def sleep(self, seconds: float) -> None: ...


KEYS = [FunctionKey("m", name, "00000000") for name in "ab"]
VALUES = st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5)
MAPPINGS = st.dictionaries(st.sampled_from(["timeout", "retries", "model"]), VALUES, max_size=3)
# As a store keeps them, so that both stores must agree to the last bit.
SECONDS = st.floats(0, 1e6, width=32)
STARTS = st.integers(-(10**6), 10**12).map(lambda milliseconds: milliseconds / 1000)
ATTEMPTS = st.builds(Attempt, st.sampled_from(Outcome), SECONDS, SECONDS, st.booleans())
EXECUTIONS = st.builds(
    Execution,
    st.sampled_from(["w1", "w2"]),
    st.integers(0, 40),
    STARTS,
    SECONDS,
    st.sampled_from(Outcome),
    st.integers(0, 3),
    st.lists(ATTEMPTS, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["", "ValueError", "KeyError"]),
    st.just(()) | CONTEXTS,
    st.integers(0, 9),
    st.none() | st.floats(-10, 10, width=32),
    st.just(()) | CONTEXTS,
    st.just(()) | GOALS,
    st.just(1.0) | st.sampled_from([0.05, 1 / 3]) | st.floats(0, 1, exclude_min=True),
)
BODIES = st.sampled_from(["{}", '{"share": 0.05}', '[1, "größe \\u0000"]', f'{{"to": {THIS_VERSION}}}'])
WRITERS = st.sampled_from(["w1", "w2"])
FEEDBACK = st.builds(
    Feedback, WRITERS, st.integers(0, 40), st.floats(-10, 10, width=32), st.integers(0, 9), st.just(()) | GOALS
)


class SameAsMemory(RuleBasedStateMachine):
    """Whatever is asked of both stores, in whatever order, both answer alike."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.memory = MemoryStore(clock=_Steps())
        self.path = Path(self.folder.name) / "poet.db"
        self.clock = _Steps()
        self.sqlite = SqliteStore(self.path, clock=self.clock)

    def both(self, verb: str, *args: Any, **options: Any) -> None:
        answers = []
        for store in (self.memory, self.sqlite):
            try:
                answer = getattr(store, verb)(*args, **options)
                if verb == "executions":
                    answer = list(answer)
                elif verb == "maintain":
                    answer = answer._replace(merged=0)  # only one of them has chunks
                elif verb == "hours":
                    answer = [hour._replace(seconds=0.0, score=0.0) for hour in answer]  # summed in another order
                answers.append(answer)
            except (StoreError, ValueError) as error:
                answers.append((type(error), error.args))
        assert answers[0] == answers[1], verb
        assert repr(answers[0]) == repr(answers[1]), verb  # 1, 1.0 and True are equal, and not the same

    @rule(key=st.sampled_from(KEYS), declared=MAPPINGS, domain=st.none() | st.text(max_size=3))
    def register(self, key: FunctionKey, declared: dict[str, Any], domain: str | None) -> None:
        self.both("register", FunctionRecord(key, domain, "adaptive", declared, {"value": 1.0}, 0, 0, 0.0, 0.0))

    @rule(key=st.sampled_from(KEYS), values=MAPPINGS, expected=st.integers(0, 8), evidence=st.integers(0, 99))
    def publish(self, key: FunctionKey, values: dict[str, Any], expected: int, evidence: int) -> None:
        self.both("publish", key, ParameterSet(values_=values, origin="learned", evidence=evidence), expected=expected)

    def generation(self, key: FunctionKey) -> int:
        try:
            return self.memory.standing(key).generation
        except StoreError:
            return 0

    def document(self, data: st.DataObject, key: FunctionKey | None) -> Document:
        """One to be kept, nearly always in place of what is there."""
        kind = data.draw(st.sampled_from(["rollout", "experiment", "evidence", "flag"]))
        name = data.draw(st.sampled_from(["main", "größe", "\x1a0"]))
        try:
            revision = sum(each.revision for each in self.memory.documents(kind, key, name=name))
        except StoreError:
            revision = 0
        late = data.draw(st.sampled_from([0, 0, 0, 0, 1]))
        return Document(kind, name, data.draw(BODIES), key, data.draw(st.booleans()), revision + late)

    @rule(key=st.sampled_from([None, *KEYS]), quiet=st.booleans(), data=st.data())
    def keep(self, key: FunctionKey | None, quiet: bool, data: st.DataObject) -> None:
        self.both("keep", self.document(data, key), quiet=quiet)

    @rule(keys=st.lists(st.sampled_from([None, *KEYS]), max_size=3), data=st.data())
    def discard(self, keys: list[FunctionKey | None], data: st.DataObject) -> None:
        self.both("discard", [self.document(data, key) for key in keys])

    @rule(key=st.sampled_from([None, *KEYS]), name=st.none() | st.just("main"), ended=st.booleans())
    def documents(self, key: FunctionKey | None, name: str | None, ended: bool) -> None:
        self.both("documents", "experiment", key, name=name, ended=ended)

    def beside(self, data: st.DataObject, key: FunctionKey) -> list[Document]:
        count = data.draw(st.sampled_from([0, 0, 1, 2]))
        return [self.document(data, key) for _ in range(count)]

    @rule(key=st.sampled_from(KEYS), values=MAPPINGS, alias=st.sampled_from(["live", "canary", None]), data=st.data())
    def publish_in_time(self, key: FunctionKey, values: dict[str, Any], alias: str | None, data: st.DataObject) -> None:
        draft = ParameterSet(values_=values, origin="learned", span=(1.0, 2.0))
        self.both("publish", key, draft, expected=self.generation(key), alias=alias, beside=self.beside(data, key))

    @rule(
        key=st.sampled_from(KEYS),
        alias=st.sampled_from(["live", "canary", "last_good"]),
        to=st.none() | st.integers(1, 4),
        late=st.integers(0, 5).map(lambda dice: dice == 0),
        data=st.data(),
    )
    def point(self, key: FunctionKey, alias: str, to: int | None, late: bool, data: st.DataObject) -> None:
        expected, beside = self.generation(key) - late, self.beside(data, key)
        self.both("point", key, alias, to, expected=expected, author="ada", reason="why", beside=beside)

    @rule(keys=st.lists(st.sampled_from(KEYS), unique=True, max_size=2), values=st.none() | MAPPINGS, data=st.data())
    def bring_in(self, keys: list[FunctionKey], values: dict[str, Any] | None, data: st.DataObject) -> None:
        incoming = [
            Incoming(
                FunctionRecord(key, None, "adaptive", {"timeout": 9.0}, {}, 0, 0, 0.0, 0.0),
                None if values is None else ParameterSet(values_=values, origin="import", evidence=7),
                data.draw(st.none() | st.binary(max_size=3)),
                self.generation(key) + data.draw(st.sampled_from([0, 0, 0, 1])),
            )
            for key in keys
        ]
        self.both("bring_in", incoming)

    @rule(key=st.sampled_from(KEYS), said=st.lists(FEEDBACK, max_size=5))
    def score(self, key: FunctionKey, said: list[Feedback]) -> None:
        self.both("score", key, said)

    @rule(
        executions_before=st.sampled_from([-1e9, 0.0, 50.0, 1e6]),
        hours_before=st.sampled_from([-1e9, 0.0, 3600.0, 7200.0]),
        settled=st.sampled_from([-1e9, 3.0, 100.0, 1e12]),
    )
    def maintain(self, **moments: float) -> None:
        self.both("maintain", **moments)

    @rule(key=st.sampled_from(KEYS), writer=st.sampled_from(["w1", "w2"]), number=st.integers(1, 3))
    def exchange(self, key: FunctionKey, writer: str, number: int) -> None:
        self.both("exchange", key, writer, number, lambda state: (state or b"")[-40:] + f"{writer}{number};".encode())

    @rule(key=st.sampled_from(KEYS), to=st.none() | st.integers(0, 5), reason=st.text(max_size=3), data=st.data())
    def rollback(self, key: FunctionKey, to: int | None, reason: str, data: st.DataObject) -> None:
        self.both("rollback", key, to, author="ada", reason=reason, beside=self.beside(data, key))

    @rule(key=st.sampled_from(KEYS), paused=st.none() | st.booleans(), pinned=st.none() | MAPPINGS)
    def steer(self, key: FunctionKey, paused: bool | None, pinned: dict[str, Any] | None) -> None:
        self.both("steer", key, author="ada", reason="", paused=paused, pinned=pinned)

    @rule(key=st.sampled_from(KEYS), rows=st.lists(EXECUTIONS, max_size=8))
    def append(self, key: FunctionKey, rows: list[Execution]) -> None:
        self.both("append", key, rows)

    @rule(key=st.sampled_from(KEYS), first=st.integers(0, 3000), count=st.integers(500, 1500))
    def append_many(self, key: FunctionKey, first: int, count: int) -> None:
        plain = (Attempt(Outcome.SUCCESS, 0.5),)
        rows = [Execution("w3", i, i / 10, 0.5, Outcome.SUCCESS, 1, plain) for i in range(first, first + count)]
        self.both("append", key, rows)

    @rule(key=st.sampled_from(KEYS), since=STARTS, limit=st.none() | st.integers(0, 2000))
    def executions(self, key: FunctionKey, since: float, limit: int | None) -> None:
        self.both("executions", key, since=since, limit=limit)

    @rule(
        key=st.sampled_from(KEYS), ids=st.lists(st.tuples(WRITERS | st.just("w3"), st.integers(-1, 3500)), max_size=9)
    )
    def find(self, key: FunctionKey, ids: list[tuple[str, int]]) -> None:
        self.both("find", key, [(writer, sequence % 41 if writer != "w3" else sequence) for writer, sequence in ids])

    @rule(key=st.sampled_from(KEYS), state=st.binary(max_size=20))
    def save_learner(self, key: FunctionKey, state: bytes) -> None:
        self.both("save_learner", key, state)

    @rule(writer=st.sampled_from(["w1", "w2"]), seen=st.integers(0, 9))
    def report(self, writer: str, seen: int) -> None:
        self.both("report", ProcessReport(writer, "h", 1, 0.0, float(seen), 0, 0, ""))

    @rule()
    def reopen(self) -> None:
        self.sqlite.close()
        self.sqlite = SqliteStore(self.path, clock=self.clock)

    @invariant()
    def the_same_is_kept(self) -> None:
        self.both("generation")
        self.both("changed", -1)
        self.both("changed", 2)
        self.both("processes")
        for kind in ("rollout", "experiment", "evidence", "flag"):
            self.both("documents", kind)
        for key in KEYS:
            for verb in ("standing", "aliases", "versions", "history", "load_learner", "hours"):
                self.both(verb, key)
            self.both("executions", key, since=-1e9)
        ours, theirs = self.memory.functions(), self.sqlite.functions()
        assert [_without_sum(one) for one in ours] == [_without_sum(one) for one in theirs]
        for one, other in zip(ours, theirs, strict=True):  # summed in another order
            assert array("f", [one.seconds]) == array("f", [other.seconds]) or abs(one.seconds - other.seconds) < 1e-3

    def teardown(self) -> None:
        self.sqlite.discard(self.sqlite.documents("rollout", ended=False))  # drawn without a canary
        assert [finding for finding in self.sqlite.check() if not finding.ok] == []
        self.sqlite.close()
        self.folder.cleanup()


def _without_sum(record: FunctionRecord) -> FunctionRecord:
    return record._replace(seconds=0.0)


TestSameAsMemory = SameAsMemory.TestCase
TestSameAsMemory.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
