from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from poet.errors import ConfigurationError
from poet.exchange import table
from poet.history import sources
from poet.history.sources import TablePart, Unreadable, of_store, part_of
from poet.learning.batch.calls import Calls, Coded
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.seams import FunctionRecord, Store
from poet.stores.memory import MemoryStore

FUNCTIONS = [FunctionKey("shop", name, "0123abcd") for name in ("price", "stock", "weather")]


def filled(calls: int = 300) -> Store:
    """Functions with calls of all kinds."""
    store, rng = MemoryStore(), np.random.default_rng(7)
    for number, key in enumerate(FUNCTIONS):
        declared = {"timeout": 2.0, "retries": 1, "model": "small"}
        record = FunctionRecord(key, None, "adaptive", declared, {"value": 1.0}, 0, 0, 0.0, 0.0)
        standing = store.register(record)
        draft = ParameterSet(values_={**declared, "timeout": 1.5}, parent=1, origin="learned")
        store.publish(key, draft, expected=standing.generation)
        made = []
        for i in range(calls):
            outcome = Outcome(int(rng.choice(7, p=[0.8, 0.05, 0.05, 0.03, 0.03, 0.02, 0.02])))
            seconds = float(rng.lognormal(-2, 0.5))
            made.append(
                Execution(
                    f"w{i % 2}",
                    i,
                    1.7e9 + 60.0 * i + float(rng.random()),
                    seconds,
                    outcome,
                    1 + (i > calls / 2),
                    (Attempt(outcome, seconds),) * (1 + i % 2),
                    error="" if outcome.good else "OSError",
                    context=(("region", ("eu", "us")[i % 2]), ("items", i % 17), ("vip", i % 5 == 0)) if i % 3 else (),
                    draw=int(i % 7 == 0),
                    score=None if i % 4 else 0.5,
                    values=(("model", "large"),) if i % 7 == 0 else (),
                    propensity=(0.05, 0.95, 1.0)[i % 3],
                )
            )
        store.append(key, made[: 100 * number + 50])
        store.append(key, made[100 * number + 50 :])
    return store


def written(store: Store, folder: Path, *, twice: bool = False) -> TablePart:
    """The same functions as tables of Parquet."""
    for record in store.functions():
        table.write(table.rows(store, [record]), folder / f"{record.key.qualname}.parquet", "parquet")
    if twice:
        table.write(table.rows(store, store.functions()), folder / "again.parquet", "parquet")
    return TablePart((str(folder),))


def same(one: Calls, other: Calls) -> None:
    for name in ("started", "seconds", "good", "censored", "requests", "version", "score", "tried", "dealt"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.error.names == other.error.names
    for mine, theirs in ((one.parameters, other.parameters), (one.context, other.context)):
        assert mine.keys() == theirs.keys()
        for name, column in mine.items():
            there = theirs[name]
            assert isinstance(column, Coded) is isinstance(there, Coded), name
            if isinstance(column, Coded) and isinstance(there, Coded):
                assert column.names == there.names
                np.testing.assert_array_equal(column.codes, there.codes)
            else:
                np.testing.assert_array_equal(column, there)
    assert one.attempts is not None
    assert other.attempts is not None
    for i in range(len(one)):
        assert one.attempts.execution(i, 0.0, 0.0, 1) == other.attempts.execution(i, 0.0, 0.0, 1)


@pytest.mark.parametrize("twice", [False, True])
def test_tables_say_what_the_store_says(tmp_path: Path, *, twice: bool) -> None:
    store = filled()
    from_store = {name: read for name, read, _ in of_store(store)}
    from_tables = {name: read for name, read, _ in written(store, tmp_path, twice=twice).functions()}
    assert from_store.keys() == from_tables.keys()
    for name, read in from_store.items():
        same(read.calls, from_tables[name].calls)
        left = dict(from_tables[name].left_out)
        assert (left.pop("told twice", 0) > 0) is twice
        assert left == read.left_out


def test_tables_of_the_release_before_name_no_coin(tmp_path: Path) -> None:
    store = filled(60)
    table.write(table.rows(store, store.functions()), tmp_path / "new.parquet", "parquet")
    rows = pq.read_table(tmp_path / "new.parquet")
    (tmp_path / "old").mkdir()
    pq.write_table(rows.drop_columns(["propensity"]), tmp_path / "old" / "calls.parquet")
    for paths, told in (((str(tmp_path / "old"),), {1.0}), ((str(tmp_path / "new.parquet"),), {0.05, 0.95, 1.0})):
        for _, read, _ in TablePart(paths).functions():
            assert set(read.calls.dealt.tolist()) == told


def test_each_function_is_in_one_part(tmp_path: Path) -> None:
    store = filled(40)
    whole = written(store, tmp_path)
    parts = [TablePart(whole.paths, i, 3) for i in range(3)]
    names = [name for part in parts for name, _, _ in part.functions()]
    assert sorted(names) == [str(key) for key in FUNCTIONS]
    assert all(part_of(name, 3) == i for i, part in enumerate(parts) for name, _, _ in part.functions())


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    store = filled(120)
    tables = written(store, tmp_path)
    middle = 1.7e9 + 60.0 * 60
    for wanted in ("shop.stock", str(FUNCTIONS[1])):
        found = list(TablePart(tables.paths, only=(wanted,), since=middle).functions())
        assert [name for name, _, _ in found] == [str(FUNCTIONS[1])]
        assert (found[0][1].calls.started >= middle).all()
        assert len(found[0][1].calls) > 20


def test_a_function_with_very_many_calls_is_told_by_its_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = written(filled(300), tmp_path)
    monkeypatch.setattr(sources, "ROWS", 100)
    monkeypatch.setattr(sources, "BATCH", 40)
    for _, read, _ in tables.functions():
        assert 100 - 20 <= len(read.calls) <= 140
        assert read.calls.started[-1] > 1.7e9 + 60.0 * 280


def test_an_address_is_opened_by_fsspec(tmp_path: Path) -> None:
    store = filled(40)
    plain = written(store, tmp_path)
    addressed = TablePart((f"file://{tmp_path}/*.parquet",))
    assert [name for name, _, _ in addressed.functions()] == [name for name, _, _ in plain.functions()]


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        list(TablePart((str(tmp_path),)).functions())
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(Unreadable, match="cannot be read"):
        list(TablePart((str(tmp_path),)).functions())
    with pytest.raises(ConfigurationError, match="nowhere"):
        list(TablePart(("nowhere://x/*.parquet",)).functions())
