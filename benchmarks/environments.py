"""Recorded tables that were measured in several environments: what one learned there, another can begin with.

``config_multienv``: configurations by hardware, version, input or operation; ``compression``: codec and level by file
and machine; ``retry_grpc``: attempts, first pause and factor by load and share of faults. The score is the logarithm of
what was measured (of retries: their utility), between its 2 % quantile and the best, so that 1 is the best row, with
noise 0.1 a trial; the start is the median row. A tuner's proposal is snapped to the nearest row.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.tunable_problems import Codecs, Floats, Table, scaled


class Environment(NamedTuple):
    """One table."""

    family: str
    name: str


@lru_cache
def _table(place: Path, system: str) -> tuple[Floats, Mapping[str, Floats]]:
    """Options of all rows, and by environment what was measured; a row that failed somewhere is left out."""
    with gzip.open(place / "config_multienv" / f"dev_{system}.csv.gz", "rt") as lines:
        head, *body = csv.reader(lines)
    table = np.array(body, dtype=float)
    outs = [j for j, name in enumerate(head) if name.startswith("y_")]
    table = table[(table[:, outs] > 0).all(axis=1)]
    options = table[:, [j for j, name in enumerate(head) if name.startswith("o_")]]
    options = options[:, [len(np.unique(column)) > 1 for column in options.T]]
    return options, {head[j]: table[:, j] for j in outs}


@lru_cache
def _retries(place: Path) -> tuple[Floats, Mapping[str, Floats]]:
    """Attempts, first pause and factor; utility by environment: successes, less 0.02 a second of the session."""
    found: dict[str, dict[tuple[float, float, float], float]] = {}
    with gzip.open(place / "retry_grpc" / "dev.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            if row["max_attempts"] == "1":
                continue
            values = float(row["max_attempts"]), float(row["initial_backoff_s"]), float(row["multiplier"])
            good, bad = float(row["checkout_success"]), float(row["checkout_error"])
            utility = good / (good + bad) - 0.02 * float(row["iter_avg_ms"]) / 1e3
            found.setdefault(f"{row['users']} users, {row['fault_pct']} % faults", {})[values] = utility
    rows = sorted(set.intersection(*(set(each) for each in found.values())))
    return np.array(rows), {name: np.array([each[row] for row in rows]) for name, each in found.items()}


@lru_cache
def _codecs(place: Path) -> Mapping[str, list[tuple[str, int, float]]]:
    found: dict[str, list[tuple[str, int, float]]] = {}
    with gzip.open(place / "compression" / "dev.csv.gz", "rt") as lines:
        for row in csv.DictReader(lines):
            seconds = float(row["compress_s"]) + float(row["decompress_s"])
            seconds += float(row["compressed_bytes"]) / Codecs.LINK
            option = (f"{row['plugin']}/{row['codec']}", int(row["level"]), seconds)
            found.setdefault(f"{row['dataset']} on {row['machine']}", []).append(option)
    return found


def environments(place: Path, family: str) -> list[Environment]:
    """Of one family, in the order of the file."""
    if family == "compression":
        return [Environment(family, name) for name in _codecs(place)]
    names = _retries(place)[1] if family == "retry_grpc" else _table(place, family)[1]
    return [Environment(family, name) for name in names]


def relatives(place: Path, target: Environment, most: int, seed: int) -> list[Environment]:
    """Others of the family, by lot, without a look at how alike they are."""
    others = [each for each in environments(place, target.family) if each != target]
    order = np.random.default_rng(seed).permutation(len(others))[:most]
    return [others[k] for k in order.tolist()]


def opposed(place: Path, target: Environment, most: int) -> list[tuple[Environment, float]]:
    """Others of the family whose scores correlate negatively with the target's, the most negative first (Spearman)."""
    scores = _table(place, target.family)[1]
    own = _ranks(scores[target.name])
    found = []
    for name, each in scores.items():
        if name != target.name:
            found.append((Environment(target.family, name), float(np.corrcoef(own, _ranks(each))[0, 1])))
    return sorted((pair for pair in found if pair[1] < 0), key=lambda pair: pair[1])[:most]


def _ranks(values: Floats) -> Floats:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)


@lru_cache(maxsize=256)
def _scores(place: Path, target: Environment) -> tuple[Floats, Floats]:
    if target.family == "retry_grpc":
        rows, utilities = _retries(place)
        return rows, scaled(utilities[target.name])
    rows, measured = _table(place, target.family)
    return rows, scaled(-np.log(measured[target.name]))


def task(place: Path, target: Environment, seed: int) -> Table | Codecs:
    """The problem that a tuner meets."""
    if target.family == "compression":
        return Codecs(target.name, _codecs(place)[target.name], seed)
    return Table(f"{target.family}: {target.name}", *_scores(place, target), seed)
