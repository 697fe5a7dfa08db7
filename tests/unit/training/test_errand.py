from __future__ import annotations

import threading

from poet.seams import ProcessReport
from poet.settings import Settings
from poet.stores.memory import MemoryStore
from poet.testing.clock import VirtualClock
from poet.training.trainer import UPKEEP_EVERY, Trainer


def test_an_errand_is_run_after_each_upkeep_and_its_faults_end_nothing() -> None:
    clock, ran = VirtualClock(100.0), threading.Semaphore(0)

    def errand(trainer: Trainer) -> None:
        ran.release()
        raise OSError("the errand failed")

    def report() -> ProcessReport:
        return ProcessReport("w", "host", 1, 0.0, 0.0, 0, 0, "")

    trainer = Trainer(MemoryStore(), Settings(store="memory:", train_interval=0.001), clock, report, errand=errand)
    trainer.start()
    for _ in range(2):
        clock.sleep(2 * UPKEEP_EVERY)
        assert ran.acquire(timeout=30)
    trainer.stop(30.0)
    assert "the errand failed" in trainer.faults.last
