"""Batch analysis at scale: how long a history takes to be analysed, in how much memory, on which engine.

    python -m benchmarks.history [executions] [--study]

The history is made as tables of Parquet, as ``poet export --executions --all`` writes them: functions with a daily
season, features of calls, parameters that change with versions, and one step in every tenth. Each run is a process of
its own; its peak is that of all its processes together, as the system counts them.
"""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import Row, show

EXECUTIONS, FUNCTIONS = 1_000_000, 1000
DAYS = 30
FILES = 8
LONGEST, LARGEST = 60.0, 1.5  # [s], [GB]
QUICK = 0.3  # 1000 executions of one function [s]
APART = 1e-9
GAIN = 1.6  # two workers over one


def run(executions: int = EXECUTIONS, *, study: bool = False) -> Iterator[Row]:
    """All rows, each as soon as it is measured."""
    functions = max(2, executions * FUNCTIONS // EXECUTIONS)
    yield _one()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), executions, functions)
        two = _child(folder, "local", 2)
        said = f"{executions:,} executions of {functions:,} functions, two processes"
        yield Row(said, f"≤ {LONGEST:g} s", f"{two['seconds']:.1f} s", two["seconds"] <= LONGEST)
        peak = two["peak"] / 1e9
        yield Row("… peak of memory", f"≤ {LARGEST:g} GB", f"{peak:.2f} GB", peak <= LARGEST)
        yield Row("… findings", "", f"{two['insights']:,}")
    with tempfile.TemporaryDirectory() as folder:
        part = max(executions // 10, 1000)
        write(Path(folder), part, max(2, part * FUNCTIONS // EXECUTIONS))
        one, ray_one, ray_two = (_child(folder, *each) for each in (("local", 1), ("ray", 1), ("ray", 2)))
        apart = max(_apart(one["told"], other["told"]) for other in (ray_one, ray_two))
        yield Row(
            f"{part:,} executions: largest difference of a figure between the embedded and the distributed engine",
            f"≤ {APART:g}",
            f"{apart:g}",
            apart <= APART,
        )
        gain = ray_one["work"] / ray_two["work"]
        yield Row("… two workers of Ray over one, once they have begun", f"≥ {GAIN:g}", f"{gain:.2f}", gain >= GAIN)
        yield Row("… embedded, one process", "", f"{one['seconds']:.1f} s")
        yield Row("… to begin with Ray takes longer by", "", f"{ray_two['seconds'] - ray_two['work']:.1f} s")
        if study:
            with tempfile.TemporaryDirectory() as larger:
                write(Path(larger), 10 * executions, functions)
                ten = _child(larger, "local", 2)
            ratio = ten["seconds"] / two["seconds"]
            yield Row(
                f"{10 * executions:,} executions: time, of that of {executions:,}", "≤ 12", f"{ratio:.1f}", ratio <= 12
            )
            yield Row("… peak of memory", "", f"{ten['peak'] / 1e9:.2f} GB")


def _one() -> Row:
    from poet.learning.batch_learner import BatchLearner

    rng = np.random.default_rng(1)
    at = np.sort(1.7e9 + rng.uniform(0, DAYS * 86400, 1000))
    rows = [
        {
            "function": "shop.price",
            "timestamp": float(when),
            "success": bool(rng.random() > 0.03),
            "execution_time": float(rng.lognormal(-1.5, 0.4)),
            "parameters": {"timeout": 2.0, "batch": int(rng.integers(1, 64))},
            "context": {"region": str(rng.choice(["eu", "us"])), "items": int(rng.integers(1, 100))},
        }
        for when in at
    ]
    learner = BatchLearner()
    learner.analyze_execution_patterns(rows)  # libraries are loaded once
    times = []
    for _ in range(3):
        start = time.perf_counter()
        learner.analyze_execution_patterns(rows)
        times.append(time.perf_counter() - start)
    took = min(times)
    return Row("1000 executions of one function", f"≤ {QUICK:g} s", f"{took:.3f} s", took <= QUICK)


def write(folder: Path, executions: int, functions: int, seed: int = 5) -> None:
    """A history as tables of Parquet, functions in order of their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from poet.exchange.table import schema

    rng = np.random.default_rng(seed)
    share = 1.0 / np.arange(1, functions + 1) ** 0.3
    counts = np.maximum((executions * share / share.sum()).astype(int), 20)
    form = schema()
    cuts = np.linspace(0, functions, FILES + 1).astype(int)
    for number in range(FILES):
        path = folder / f"part-{number}.parquet"
        with pq.ParquetWriter(path, form, compression="zstd") as writer:
            for i in range(cuts[number], cuts[number + 1]):
                writer.write_table(_function(pa, form, rng, i, int(counts[i])))


def _function(pa: Any, form: Any, rng: np.random.Generator, i: int, n: int) -> Any:
    at = np.sort(rng.uniform(0, DAYS * 86400, n))
    step = 0.2 * (at > DAYS * 86400 / 2) if i % 10 == 0 else 0.0
    region = rng.integers(0, 3, n)
    items = rng.integers(1, 100, n)
    version = 1 + (at > DAYS * 86400 / 3)
    logs = -1.5 + 0.3 * np.sin(2 * np.pi * at / 86400) + step + 0.1 * region + rng.normal(0, 0.3, n)
    seconds = np.exp(logs)
    failed = rng.random(n) < 0.02
    lost = failed & (rng.random(n) < 0.5)
    outcome = np.where(lost, "timeout", np.where(failed, "error", "success"))
    columns = {
        "function": pa.array([f"shop.function_{i:04}"] * n),
        "fingerprint": pa.array(["0123abcd"] * n),
        "writer": pa.array(["w"] * n),
        "sequence": pa.array(np.arange(n)),
        "id": pa.array([f"w-{j}" for j in range(n)]),
        "started": pa.array(((1.7e9 + at) * 1e6).astype(np.int64)).cast(form.field("started").type),
        "seconds": pa.array(np.where(lost, 2.0, seconds)),
        "outcome": pa.array(outcome),
        "version": pa.array(version),
        "requests": pa.array(np.ones(n, np.int32)),
        "error": pa.array(np.where(failed, np.where(lost, "TimeoutError", "OSError"), None), pa.string()),
        "draw": pa.array(np.zeros(n, np.int64)),
        "score": pa.array(np.full(n, np.nan)),
        "attempts": pa.array([[]] * n, form.field("attempts").type),
        "parameters": _maps(pa, n, {"timeout": np.where(version == 1, "2.0", "1.5"), "retries": np.full(n, "1")}),
        "context": _maps(pa, n, {"region": np.array(['"eu"', '"us"', '"asia"'])[region], "items": items.astype(str)}),
        "values": pa.array([[]] * n, form.field("values").type),
        "goals": pa.array([[]] * n, form.field("goals").type),
    }
    return pa.table({field.name: columns[field.name] for field in form}, schema=form)


def _maps(pa: Any, n: int, named: dict[str, np.ndarray]) -> Any:
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * len(named))
    keys = pa.array(np.tile(np.array(list(named)), n))
    items = pa.array(np.stack(list(named.values()), axis=1).ravel())
    return pa.MapArray.from_arrays(offsets, keys, items)


def _child(folder: str, engine: str, workers: int) -> dict[str, Any]:
    """An analysis in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.history", "child", folder, engine, str(workers)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _measure(folder: str, name: str, workers: int) -> dict[str, Any]:
    from poet.history import engines, job

    start = time.perf_counter()
    engine = engines.engine(name, workers)
    try:
        parts = job.parts_of_tables([folder], 2)  # the same parts for all
        told = job.run(parts, engine)
        took = time.perf_counter() - start
        begun = time.perf_counter()
        if name == "ray":
            job.run(parts, engine)  # again: workers are there, and have loaded what they need
        work = time.perf_counter() - begun
    finally:
        engine.close()
    own, theirs = (resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": took,
        "work": work,
        "peak": own + workers * theirs,  # of children the largest, times their number
        "insights": len(told),
        "told": [
            (each.function, each.kind, each.subject, *each.effect[:3], each.worth, each.since, each.until)
            for each in told
        ],
    }


def _apart(one: list[list[Any]], other: list[list[Any]]) -> float:
    """The largest difference of a figure, relative to it; infinite where they do not tell of the same."""
    if len(one) != len(other):
        return math.inf
    far = 0.0
    for mine, theirs in zip(one, other, strict=True):
        if mine[:3] != theirs[:3]:
            return math.inf
        far = max(far, *(abs(a - b) / max(1.0, abs(a)) for a, b in zip(mine[3:], theirs[3:], strict=True)))
    return far


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        print(json.dumps(_measure(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
    else:
        numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        held = show("A history at scale", run(*(numbers or [EXECUTIONS]), study="--study" in sys.argv))
        sys.exit(0 if held else 1)
