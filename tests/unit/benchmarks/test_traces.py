from __future__ import annotations

import gzip
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks import traces
from benchmarks.traces import REQUESTS, RETRIES, Grid, Trace, perform, replay, worths

from poet.model.execution import Outcome
from poet.model.objective import Objective
from poet.sim.play import Fixed
from poet.sim.services import ATTEMPTS, Plan


def odd_record(n: int = 60, clients: int = 2) -> Trace:
    """A record with everything in it: slow and quick answers, errors early and late, silence."""
    rng = np.random.default_rng(7)
    seconds = np.exp(rng.normal(-1.0, 1.2, n))
    seconds[rng.random(n) < 0.1] = np.inf
    failed = (rng.random(n) < 0.25) & np.isfinite(seconds)
    return Trace("odd", seconds, failed, rng.integers(0, clients, n), np.arange(n, dtype=float))


def test_the_grid_agrees_with_one_call_after_the_other() -> None:
    calls, objective = replay(odd_record()), Objective(latency_cost=0.3, attempt_cost=0.05)
    grid = Grid((0.1, 0.4, 2.0), (0.0, 0.15, 0.4, 1.0), (0.0, 0.2))
    found = worths(calls, grid, objective)
    seconds, failed, half = calls.seconds.tolist(), calls.failed.tolist(), [0.5] * ATTEMPTS
    for (d, delay), (i, timeout), (b, backoff), r in itertools.product(
        enumerate(grid.delays), enumerate(grid.timeouts), enumerate(grid.backoffs), range(RETRIES + 1)
    ):
        total = 0.0
        for t in range(len(seconds)):
            outcome, took, attempts = perform(seconds[t], failed[t], Plan(timeout, r, backoff, delay), 1, half)
            total += objective.utility(outcome.good, took, len(attempts))
        assert found[d, i, b, r] == pytest.approx(total / len(seconds), abs=1e-9)


def test_a_policy_that_keeps_its_parameters_gets_what_the_grid_says() -> None:
    calls, objective = replay(odd_record()), Objective(latency_cost=0.3, attempt_cost=0.05)
    grid = Grid((0.4,), (0.15,), (0.0,))  # without pauses there are no dice
    got = traces.lived(calls, Fixed(0.4, 2, 0.0, 0.15), objective, seed=3)
    assert got.mean() == pytest.approx(float(worths(calls, grid, objective)[0, 0, 0, 2]))


def test_a_retry_meets_what_the_same_client_recorded_next_and_the_end_turns_back() -> None:
    seconds = np.asarray([1.0, 10.0, 2.0, 20.0, 3.0])
    trace = Trace("two", seconds, np.zeros(5, bool), np.asarray([0, 1, 0, 1, 0]), np.arange(5.0))
    met = replay(trace).seconds
    assert met.shape == (traces.LEAST_CALLS, REQUESTS)
    assert met[0, :6].tolist() == [1.0, 2.0, 3.0, 2.0, 1.0, 2.0]
    assert met[1, :4].tolist() == [10.0, 20.0, 10.0, 20.0]
    assert met[4, :3].tolist() == [3.0, 2.0, 1.0]
    assert met[5:10].tolist() == met[:5].tolist()  # a short record begins anew
    assert np.all(np.diff(replay(trace).at) > 0)


def test_a_copy_saves_a_slow_request_and_an_early_error_ends_the_attempt() -> None:
    jitter = [0.0] * ATTEMPTS
    outcome, took, attempts = perform([9.0, 0.2], [False, False], Plan(2.0, 0, 0.0, 0.5), 2, jitter)
    assert (outcome, took) == (Outcome.SUCCESS, 0.7)
    assert [attempt.outcome for attempt in attempts] == [Outcome.CANCELLED, Outcome.SUCCESS]
    assert attempts[1].seconds == pytest.approx(0.2)
    outcome, took, attempts = perform([0.1, 0.2], [True, False], Plan(2.0, 1, 1.0, 0.5), 2, [0.0, 0.5])
    assert outcome is Outcome.SUCCESS
    assert took == pytest.approx(0.1 + 0.5 + 0.2)
    assert [attempt.outcome for attempt in attempts] == [Outcome.ERROR, Outcome.SUCCESS]
    outcome, took, attempts = perform([9.0] * 3, [False] * 3, Plan(2.0, 0, 0.0, 0.5), 2, jitter)
    assert (outcome, took, len(attempts)) == (Outcome.TIMEOUT, 2.0, 3)
    assert [attempt.outcome for attempt in attempts] == [Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.CANCELLED]


def _written(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


def test_wsdream_reads_slice_by_slice_and_takes_the_recorders_limit_for_silence(tmp_path: Path) -> None:
    times = np.asarray([[[100, 20000]], [[65535, 0]]], np.uint16)  # two users, one service, two slices
    (tmp_path / "wsdream2").mkdir()
    np.savez(
        tmp_path / "wsdream2" / "x.npz", rt_ms=times, user_id=[1, 2], service_id=np.asarray([42]), slice_minutes=15
    )
    (trace,) = traces.wsdream2(tmp_path / "wsdream2", "x")
    assert trace.name == "service 42"
    assert trace.seconds.tolist() == [0.1, math.inf, 0.0005]
    assert trace.client.tolist() == [0, 0, 1]
    assert trace.at.tolist() == [0.0, 900.0, 900.0]


def test_netlatency_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "x.npz", rtt_ms=np.asarray([[120, 0], [0, 30]], np.uint16), pairs=np.asarray([[6, 36], [8, 38]])
    )
    one, other = traces.netlatency_seattle(tmp_path, "x")
    assert (one.name, one.seconds.tolist(), other.seconds.tolist()) == ("6-36", [0.12], [0.03])
    assert not one.failed.any()


def test_upptime_tells_errors_from_silence(tmp_path: Path) -> None:
    _written(
        tmp_path / "x.csv.gz",
        "eid,ts,status,http_code,latency_ms\n3,30,down,0,0\n3,10,up,200,22\n3,20,down,503,150\n3,40,down,500,0\n"
        "4,5,up,0,7\n",
    )
    three, four = traces.upptime(tmp_path, "x")
    assert three.seconds[:3].tolist() == [0.022, 0.15, math.inf]
    assert math.isnan(three.seconds[3])
    assert three.failed.tolist() == [False, True, False, True]
    assert three.answers.tolist() == [0.022]
    assert four.seconds.tolist() == [0.007]


def test_llm_calls_of_all_three_recorders_are_read(tmp_path: Path) -> None:
    _written(
        tmp_path / "x_llmperf.csv.gz",
        "provider,model_size,req_index,error_code,e2e_s\na,7b,1,429.0,0\na,7b,0,,1.5\n",
    )
    _written(
        tmp_path / "x_thefastest.csv.gz",
        "time_utc,region,model,total_s,provider\n2024-04-15T08:05:00,sea,m,2.0,p\n2024-04-15T08:04:00,cdg,m,1.0,p\n",
    )
    _written(tmp_path / "x_llm_calls.csv.gz", "model,latency_s,error\nq,19.5,\nq,,oops\n")
    found = {trace.name: trace for trace in traces.llm_api_latency(tmp_path, "x")}
    perf, fastest, calls = (found[name] for name in ("llmperf a 7b", "thefastest m", "calls q"))
    assert perf.seconds[0] == 1.5
    assert perf.failed.tolist() == [False, True]
    assert (fastest.seconds.tolist(), fastest.client.tolist()) == ([1.0, 2.0], [1, 0])
    assert calls.failed.tolist() == [False, True]


def test_an_error_of_unknown_duration_takes_a_tenth_of_the_median_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "LEAST_SAMPLES", 2)
    _written(
        tmp_path / "upptime" / "odd.csv.gz", "eid,ts,status,http_code,latency_ms\n3,1,up,200,400\n3,2,down,500,0\n"
    )
    (trace,) = traces.load("upptime", tmp_path, "odd")
    assert trace.name == "upptime address 3"
    assert trace.seconds.tolist() == pytest.approx([0.4, 0.04])
    assert trace.objective().latency_cost == pytest.approx(0.05 / 0.4)


def test_a_sample_is_even_over_the_sets_and_the_same_each_time(tmp_path: Path) -> None:
    head = "eid,ts,status,http_code,latency_ms\n"
    lines = "".join(f"{eid},{t},up,200,{10 + t % 7}\n" for eid in range(8) for t in range(100))
    _written(tmp_path / "upptime" / "dev.csv.gz", head + lines)
    (tmp_path / "netlatency_seattle").mkdir()
    pairs = np.asarray([[2 * i, 2 * i + 2] for i in range(20)])
    np.savez(tmp_path / "netlatency_seattle" / "dev.npz", rtt_ms=np.full((100, 20), 50, np.uint16), pairs=pairs)
    chosen = [trace.name for trace in traces.sample(tmp_path, 24)]
    assert chosen == [trace.name for trace in traces.sample(tmp_path, 24)]
    assert len(set(chosen)) == 24
    assert sum(name.startswith("upptime") for name in chosen) == 8
