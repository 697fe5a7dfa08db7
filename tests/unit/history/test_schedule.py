from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.errors import ConfigurationError
from poet.history.schedule import LONGEST_REST, Job, Ledger, Turn, keep_on, ledger_of
from poet.settings import Settings
from poet.stores.lease import Lease
from poet.testing.clock import VirtualClock

HOUR = 3600.0
START = 1_700_000_000.0


class Work:
    """Counts when it was done; fails where it is told to."""

    def __init__(self, clock: VirtualClock, *, takes: float = 0.0, fails: Callable[[int], bool] = lambda run: False):
        self.clock, self.takes, self.fails = clock, takes, fails
        self.at: list[float] = []

    def __call__(self) -> None:
        self.at.append(self.clock.wall() - START)
        self.clock.sleep(self.takes)
        if self.fails(len(self.at)):
            raise RuntimeError(f"run {len(self.at)} went wrong")


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(100.0, wall=START)


def sleeping(clock: VirtualClock, until: float) -> Callable[[float], bool]:
    """Waits on the virtual clock, and ends at a moment."""

    def wait(seconds: float) -> bool:
        clock.sleep(seconds)
        return clock.wall() >= START + until

    return wait


def test_it_is_done_at_once_and_then_every_so_often(tmp_path: Path, clock: VirtualClock) -> None:
    work = Work(clock, takes=100.0)
    keep_on([Job("analyze", tmp_path / "a.json", 6 * HOUR, work)], clock, sleeping(clock, 25 * HOUR))
    assert [round(at / HOUR, 1) for at in work.at] == [0.0, 6.0, 12.0, 18.0, 24.0]
    kept = Job("analyze", tmp_path / "a.json", 6 * HOUR, work).ledger()
    assert (kept.runs, kept.faults, kept.due) == (5, 0, START + 30 * HOUR)


def test_times_that_were_missed_are_made_up_for_once(tmp_path: Path, clock: VirtualClock) -> None:
    work = Work(clock)
    job = Job("analyze", tmp_path / "a.json", HOUR, work)
    assert job.turn(clock).state == "done"
    clock.sleep(10.5 * HOUR)  # nobody was there
    again = Job("analyze", tmp_path / "a.json", HOUR, work)
    assert [again.turn(clock).state for _ in range(3)] == ["done", "not due", "not due"]
    assert again.due(clock.wall()) == START + 11 * HOUR, "the grid stays"


def test_a_run_that_outlasts_its_time_is_not_followed_by_two(tmp_path: Path, clock: VirtualClock) -> None:
    work = Work(clock, takes=2.5 * HOUR)
    keep_on([Job("analyze", tmp_path / "a.json", HOUR, work)], clock, sleeping(clock, 9.5 * HOUR))
    assert [round(at / HOUR, 1) for at in work.at] == [0.0, 3.0, 6.0, 9.0]


def test_a_fault_of_one_job_spares_the_others_and_its_own_next_time(tmp_path: Path, clock: VirtualClock) -> None:
    bad, good = Work(clock, fails=lambda run: run != 2), Work(clock)
    told: list[Turn] = []
    jobs = [Job("bad", tmp_path / "bad.json", HOUR, bad), Job("good", tmp_path / "good.json", HOUR, good)]
    keep_on(jobs, clock, sleeping(clock, 2.5 * HOUR), told.append)
    assert len(bad.at) == len(good.at) == 3
    assert [(turn.job, turn.state) for turn in told[:3]] == [("bad", "failed"), ("good", "done"), ("bad", "done")]
    kept = jobs[0].ledger()
    assert (kept.runs, kept.faults, kept.last_fault) == (3, 2, "RuntimeError: run 3 went wrong")


def test_a_clock_that_is_set_neither_stops_it_nor_makes_it_run_wild(tmp_path: Path, clock: VirtualClock) -> None:
    work = Work(clock)
    job = Job("analyze", tmp_path / "a.json", HOUR, work)
    job.turn(clock)
    clock.set_wall(START - 365 * 24 * HOUR)
    assert job.turn(clock).due == clock.wall() + HOUR
    keep_on([job], clock, lambda seconds: (clock.sleep(seconds), clock.wall() > START - 364.9 * 24 * HOUR)[1])
    assert 2 <= len(work.at) <= 4
    clock.set_wall(START + 365 * 24 * HOUR)
    assert [job.turn(clock).state for _ in range(2)] == ["done", "not due"]


def test_another_interval_counts_from_the_last_run(tmp_path: Path, clock: VirtualClock) -> None:
    work = Work(clock)
    Job("analyze", tmp_path / "a.json", 24 * HOUR, work).turn(clock)
    clock.sleep(2 * HOUR)
    assert Job("analyze", tmp_path / "a.json", HOUR, work).turn(clock).state == "done"
    assert Job("analyze", tmp_path / "a.json", 6 * HOUR, work).turn(clock).due == START + 8 * HOUR


def test_who_comes_while_another_is_at_it_leaves_it_alone(tmp_path: Path, clock: VirtualClock) -> None:
    work = Work(clock)
    job = Job("analyze", tmp_path / "a.json", HOUR, work)
    other = Lease(tmp_path / "a.json.lock", 1.0)
    other.acquire()
    assert job.turn(clock).state == "elsewhere"
    other.close()  # as when its process dies
    assert job.turn(clock).state == "done"
    assert len(work.at) == 1


def _compete(path: str, count: str, together: Any) -> None:
    """A process of its own: does the job where it is its turn, and leaves a mark for each time.

    together: all begin each quarter of an hour at once, as they would by clocks that agree.
    """

    def task() -> None:
        with Path(count).open("a") as file:
            file.write("x")

    clock = VirtualClock(100.0, wall=START)
    job = Job("analyze", Path(path), HOUR, task)
    for _ in range(20):
        together.wait(60)
        job.turn(clock)
        clock.sleep(HOUR / 4)


def test_of_several_processes_one_does_it(tmp_path: Path) -> None:
    """Each lives through the same five hours; whoever is first at an hour does it, and nobody does it again."""
    path, count = str(tmp_path / "a.json"), str(tmp_path / "count")
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(3)
    processes = [context.Process(target=_compete, args=(path, count, together)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert Path(count).read_text() == "x" * 5
    assert json.loads(Path(path).read_text())["runs"] == 5


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"due": "x"}', '{"due": NaN}', "\x00"])
def test_a_damaged_ledger_means_at_once(tmp_path: Path, clock: VirtualClock, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    job = Job("analyze", path, HOUR, Work(clock))
    assert job.ledger() == Ledger()
    assert job.turn(clock).state == "done"


@given(st.lists(st.floats(-1e6, 1e6), max_size=12))
@settings(deadline=None, max_examples=30)
def test_however_the_clock_jumps_it_is_never_off_by_more_than_its_interval(jumps: list[float]) -> None:
    import tempfile

    clock = VirtualClock(100.0, wall=START)
    with tempfile.TemporaryDirectory() as folder:
        job = Job("analyze", Path(folder) / "a.json", HOUR, lambda: None)
        for jump in jumps:
            turn = job.turn(clock)
            assert clock.wall() < turn.due <= clock.wall() + HOUR
            clock.set_wall(clock.wall() + jump)


@pytest.mark.parametrize("every", [0.0, -1.0, 59.0, float("nan"), float("inf")])
def test_an_interval_that_cannot_be_is_refused(tmp_path: Path, every: float) -> None:
    with pytest.raises(ConfigurationError, match="every"):
        Job("analyze", tmp_path / "a.json", every, lambda: None)


def test_without_jobs_it_waits_until_it_ends(clock: VirtualClock) -> None:
    waited: list[float] = []
    keep_on([], clock, lambda seconds: (waited.append(seconds), len(waited) == 2)[1])
    assert waited == [LONGEST_REST, LONGEST_REST]


def test_ledgers_stand_beside_the_store(tmp_path: Path) -> None:
    at = ledger_of(Settings(store="sqlite:///.poet/poet.db", root=tmp_path), "analyze fetch")
    assert at == tmp_path / ".poet" / "poet.db.analyze_fetch.json"
    assert ledger_of(Settings(store="postgresql://u@h/d", root=tmp_path), "analyze").is_relative_to(tmp_path)
    with pytest.raises(ConfigurationError, match="stays"):
        ledger_of(Settings(store="memory:"), "analyze")
