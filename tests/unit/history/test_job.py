from __future__ import annotations

from pathlib import Path

from poet.history import job
from poet.history.engines import Local
from poet.model.insight import OptimizationInsights
from poet.settings import Settings
from poet.stores.sqlite import SqliteStore
from unit.history.test_sources import filled, written


def told(found: OptimizationInsights) -> list[tuple[object, ...]]:
    return [(each.function, each.kind, each.subject, each.sentence, each.effect, each.worth) for each in found]


def test_parts_and_processes_change_nothing(tmp_path: Path) -> None:
    written(filled(400), tmp_path)
    one, *others = (
        job.run(job.parts_of_tables([str(tmp_path)], parts), Local(workers))
        for parts, workers in ((1, 1), (3, 1), (2, 2))
    )
    assert len(one.functions) == 3
    for other in others:
        assert told(other) == told(one)
        assert other.functions == one.functions


def test_a_store_that_each_worker_opens_tells_the_same_as_one_that_is_open(tmp_path: Path) -> None:
    memory = filled(400)
    store = SqliteStore(tmp_path / "poet.db")
    for record in memory.functions():
        store.register(record)
        store.append(record.key, list(memory.executions(record.key)))
    open_ = job.of_open_store(store)
    store.close()
    settings = Settings(store=f"sqlite:///{tmp_path / 'poet.db'}")
    parts = job.parts_of_store(settings, 2)
    assert len(parts) == 8
    assert told(job.run(parts, Local(1))) == told(open_)
    (only,) = job.run(job.parts_of_store(settings, 1, ["shop.stock#0123abcd"]), Local(1)).functions
    assert only.function == "shop.stock#0123abcd"
