"""The learner on recorded traffic: every service's own record, in its own order.

    POET_TRACES=folder python -m benchmarks.traces [services] [seeds] [split]

The data sets are not part of the project; the folder that holds them is named in ``POET_TRACES``, or lies in a
``data`` folder beside the project. Four are read: ``wsdream2`` (web services seen by clients all over the world every
15 minutes), ``upptime`` (status checks over years), ``llm_api_latency`` (calls of language models) and
``netlatency_seattle`` (round trips between pairs of hosts). A folder's ``dev`` files are read, or those of another
``split``.

How a record becomes a service. Its answers, errors and silences come one call after the other, as they were recorded.
The second request of a call – a retry or a copy – meets what the *same client* recorded next, the third what it
recorded after that, and so on; at the end of a record it goes back. So outages, spells of slowness and what is far
away stay what they were, and luck is the same for every policy that sends as many requests. What the record cannot
tell: that a retry comes seconds and not minutes later (outages look shorter than they are to a retry, so waiting
before it gains nothing here), and that load changes anything. No answer by the recorder's own limit counts as none
ever; an error of unknown duration as a tenth of the median answer. Short records are played again from their
beginning until ``LEAST_CALLS``.

A second costs 0.05 / median answer, a request 0.03. "Best fixed" is the best of a grid of timeouts, retries, pauses
and hedge delays in hindsight, on this very record.
"""

from __future__ import annotations

import csv
import gzip
import math
import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.rivals import OURS, RIVALS
from benchmarks.table import Row, show
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.objective import Objective
from poet.sim.play import Fixed, Policy
from poet.sim.scenarios import START
from poet.sim.services import ATTEMPTS, Plan

Floats = NDArray[np.float64]

# The bars: what must hold for the benchmark to pass.
LEAST_SHARE = 0.98  # of the best fixed parameters' utility, mean over services
MOST_BELOW_DEFAULTS = 0.01  # of a success's value, in any service
LEAST_ABOVE_RULE = 0.9  # of the services

LEAST_SAMPLES = 90  # of a record that is used
LEAST_ANSWERS = 0.05  # share of them that are answers: without any there is nothing to learn, nor an objective
LEAST_CALLS, MOST_CALLS = 500, 5000  # that are played
WORTH_SHARING = 0.1  # best utility per call below which a share of it says nothing
EARLY = 20  # calls
LEVEL = 0.001  # where the best fixed parameters are not that far above the rule, nobody can be [1]
RULE = "1.5 p99"
PEERS = (RULE, "1.5 p99 + hedge at p95", "Restate + hedge at p95", "Thompson grid", "OPPerTune, 4")
MOST_COPIES = 2
REQUESTS = ATTEMPTS * (1 + MOST_COPIES)  # of one call
RETRIES = 5  # most that the grid considers
BACKOFFS = (0.0, 0.1, 1.0)  # [s]
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # of answers, as hedge delays of the grid
LAST_TIMEOUT = 120.0  # of the grid [s]
LIVE = ("timeout", "retries", "backoff", "hedges", "hedge_delay")
SETS = ("wsdream2", "upptime", "llm_api_latency", "netlatency_seattle")


class Trace(NamedTuple):
    """A service's record: one entry a request, in the order of time."""

    name: str
    seconds: Floats  # until its end; infinite: never answered; nan: an error of unknown duration [s]
    failed: NDArray[np.bool_]  # whether that was an error
    client: NDArray[np.int64]  # who made it
    at: Floats  # when, from any origin [s]

    @property
    def answers(self) -> Floats:
        """How long those took that were answered [s]."""
        return self.seconds[~self.failed & np.isfinite(self.seconds)]

    def objective(self) -> Objective:
        """What a call of it is worth."""
        return Objective(latency_cost=0.05 / float(np.median(self.answers)), attempt_cost=0.03)


# --- loading ----------------------------------------------------------------------------------------------------------


def folder() -> Path | None:
    """Where the data sets are; None: not here."""
    named = os.environ.get("POET_TRACES")
    places = [Path(named)] if named else [found.parent for found in sorted(Path("..").glob("*/data/wsdream2"))]
    return next((place for place in places if place.is_dir()), None)


def _trace(name: str, rows: Iterable[tuple[float, float, bool, int]]) -> Trace:
    """From (at, seconds, failed, client), sorted by time."""
    at, seconds, failed, client = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    return Trace(name, np.asarray(seconds), np.asarray(failed), np.asarray(client), np.asarray(at))


def wsdream2(place: Path, split: str) -> Iterator[Trace]:
    """A service as all its users see it: slice by slice, in each of them user by user."""
    with np.load(place / f"{split}.npz") as arrays:
        times, services, step = arrays["rt_ms"], arrays["service_id"], 60.0 * float(arrays["slice_minutes"])
    for number, service in enumerate(services.tolist()):
        slices, users = np.nonzero(times[:, number, :].T != 65535)
        ms = times[users, number, slices].astype(float)
        seconds = np.where(ms >= 20000, np.inf, np.maximum(ms, 0.5) / 1000)
        yield Trace(
            f"service {service}", seconds, np.zeros(len(ms), bool), users.astype(np.int64), step * slices.astype(float)
        )


def netlatency_seattle(place: Path, split: str) -> Iterator[Trace]:
    """A pair of hosts; how far apart its measurements are is not known: a minute is made up."""
    with np.load(place / f"{split}.npz") as arrays:
        times, pairs = arrays["rtt_ms"], arrays["pairs"]
    for number, (one, other) in enumerate(pairs.tolist()):
        slices = np.flatnonzero(times[:, number])
        nobody = np.zeros(len(slices), np.int64)
        yield Trace(
            f"{one}-{other}", times[slices, number] / 1000, nobody.astype(bool), nobody, 60.0 * slices.astype(float)
        )


def _table(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            yield from csv.DictReader(text)


def upptime(place: Path, split: str) -> Iterator[Trace]:
    """A checked address; down with an HTTP status is an error, down without one no answer."""
    rows: dict[str, list[tuple[float, float, bool, int]]] = defaultdict(list)
    for row in _table(place / f"{split}.csv.gz"):
        down, spoke = row["status"] == "down", int(row["http_code"] or 0) > 0
        ms = float(row["latency_ms"])
        seconds = max(ms, 0.5) / 1000
        if down and ms == 0:
            seconds = math.nan if spoke else math.inf
        rows[row["eid"]].append((float(row["ts"]), seconds, down and seconds != math.inf, 0))
    for name, found in rows.items():
        yield _trace(f"address {name}", found)


def llm_api_latency(place: Path, split: str) -> Iterator[Trace]:
    """A model at a provider, by each of the three recorders."""
    rows: dict[str, list[tuple[float, float, bool, int]]] = defaultdict(list)
    clients: dict[str, int] = {}
    for row in _table(place / f"{split}_llmperf.csv.gz"):
        failed, seconds = bool(row["error_code"]), float(row["e2e_s"])
        own = rows[f"llmperf {row['provider']} {row['model_size']}"]
        own.append((float(row["req_index"]), math.nan if failed and seconds == 0 else seconds, failed, 0))
    for row in _table(place / f"{split}_thefastest.csv.gz"):
        client = clients.setdefault(row["region"], len(clients))
        at = np.datetime64(row["time_utc"]).astype("datetime64[ms]").astype(float) / 1000
        rows[f"thefastest {row['model']}"].append((float(at), float(row["total_s"]), False, client))
    for number, row in enumerate(_table(place / f"{split}_llm_calls.csv.gz")):
        seconds, failed = float(row["latency_s"] or "nan"), bool(row["error"])
        rows[f"calls {row['model']}"].append((float(number), seconds, failed, 0))
    for name, found in rows.items():
        yield _trace(name, [row for row in found if row[2] or row[1] > 0])


LOADERS: Mapping[str, Callable[[Path, str], Iterator[Trace]]] = {
    "wsdream2": wsdream2,
    "upptime": upptime,
    "llm_api_latency": llm_api_latency,
    "netlatency_seattle": netlatency_seattle,
}


@lru_cache(maxsize=4)
def load(name: str, place: Path, split: str = "dev") -> list[Trace]:
    """The services of a data set that have samples enough, under the set's name."""
    found = []
    for trace in LOADERS[name](place / name, split):
        if len(trace.seconds) >= LEAST_SAMPLES and len(trace.answers) >= LEAST_ANSWERS * len(trace.seconds):
            unknown = np.isnan(trace.seconds)
            seconds = np.where(unknown, 0.1 * np.median(trace.answers), trace.seconds)
            found.append(trace._replace(name=f"{name} {trace.name}", seconds=seconds))
    return found


def sample(place: Path, services: int, split: str = "dev", seed: int = 0) -> list[Trace]:
    """A seeded sample, as even over the data sets as there are services; ``services`` in all."""
    pools = {name: load(name, place, split) for name in SETS if (place / name).is_dir()}
    left, chosen = services, list[Trace]()
    for number, (name, pool) in enumerate(sorted(pools.items(), key=lambda item: len(item[1]))):
        n = min(len(pool), left // (len(pools) - number))
        left -= n
        chosen += [pool[i] for i in sorted(random.Random(f"{seed} {name}").sample(range(len(pool)), n))]
    return chosen


# --- replay -----------------------------------------------------------------------------------------------------------


class Replay(NamedTuple):
    """What each request of each call meets: (calls, REQUESTS)."""

    seconds: Floats  # infinite: never answered [s]
    failed: NDArray[np.bool_]
    at: Floats  # when each call begins, (calls,) [s]


def replay(trace: Trace) -> Replay:
    """The record as calls: request j of a call meets what the same client recorded j entries later."""
    n = len(trace.seconds)
    later = np.empty((n, REQUESTS), np.int64)
    for client in np.unique(trace.client):
        own = np.flatnonzero(trace.client == client)
        places = np.arange(len(own))[:, None] + np.arange(REQUESTS)[None]
        turn = max(1, 2 * (len(own) - 1))
        places = places % turn  # there and back again
        later[own] = own[np.minimum(places, turn - places) if len(own) > 1 else 0 * places]
    calls = np.arange(min(MOST_CALLS, max(LEAST_CALLS, n)))
    later, rounds = later[calls % n], calls // n
    at = trace.at[calls % n] - trace.at[0] + rounds * (trace.at[-1] - trace.at[0] + 1.0)
    return Replay(trace.seconds[later], trace.failed[later], at)


def perform(
    seconds: Sequence[float], failed: Sequence[bool], plan: Plan, copies: int, jitter: Sequence[float]
) -> tuple[Outcome, float, tuple[Attempt, ...]]:
    """One call: its outcome, duration [s] and attempts.

    seconds, failed: what its requests meet, in the order in which they are sent. copies: of a slow request, at most;
    the first is sent after the hedge delay, the second after twice that. jitter: of the pause before each attempt, as a
    share of its bound. An attempt ends with its first answer, or when all requests that were sent have failed.
    """
    attempts: list[Attempt] = []
    total, sent, outcome = 0.0, 0, Outcome.TIMEOUT
    for k in range(plan.retries + 1):
        pause = jitter[k] * plan.longest_pause(k) if k else 0.0
        out: list[tuple[float, float, bool]] = []  # start, end, whether it fails
        answered, over = math.inf, math.inf
        for copy in range(1 + (copies if plan.hedged else 0)):
            start = copy * plan.hedge_delay
            if out and not start < min(answered, over, plan.timeout):
                break
            out.append((start, start + seconds[sent], failed[sent]))
            sent += 1
            answered = min((end for _, end, fails in out if not fails), default=math.inf)
            over = max(end for _, end, _ in out) if all(fails for _, _, fails in out) else math.inf
        took = min(answered, over, plan.timeout)
        good = answered <= plan.timeout
        outcome = Outcome.SUCCESS if good else Outcome.ERROR if over <= plan.timeout else Outcome.TIMEOUT
        given_up = Outcome.TIMEOUT if outcome is Outcome.TIMEOUT else Outcome.CANCELLED
        for copy, (start, end, fails) in enumerate(out):
            ended = Outcome.ERROR if fails else Outcome.SUCCESS if end == answered else Outcome.CANCELLED
            own = ended if end <= took else given_up if copy == 0 else Outcome.CANCELLED
            attempts.append(Attempt(own, min(end, took) - start, start if copy else pause, hedge=copy > 0))
        total += pause + took
        if good:
            break
    return outcome, total, tuple(attempts)


def lived(replay: Replay, policy: Policy, objective: Objective, seed: int) -> Floats:
    """Utility of each call under a policy that hears of each as it ends. seed: of the pauses."""
    jitter = np.random.default_rng(seed).random((len(replay.seconds), ATTEMPTS)).tolist()
    seconds, failed, worth = replay.seconds.tolist(), replay.failed.tolist(), list[float]()
    error = {Outcome.ERROR: "ConnectionError", Outcome.TIMEOUT: "PoetTimeout"}
    for t, at in enumerate(replay.at.tolist()):
        values = policy.parameters(t)
        plan = Plan.of(values)
        stretch, extra = float(values.get("limit_stretch", 1.0)), int(values.get("extra_retry", 0))  # type: ignore[arg-type, call-overload]
        calm = bool(values.get("calm", False))
        plan = plan._replace(timeout=plan.timeout * stretch, retries=0 if calm else plan.retries + extra)
        copies = 0 if calm else min(MOST_COPIES, int(values.get("hedges", 1)))  # type: ignore[call-overload]
        outcome, took, attempts = perform(seconds[t], failed[t], plan, copies, jitter[t])
        worth.append(objective.utility(outcome.good, took, len(attempts)))
        policy.observe(Execution("trace", t, at, took, outcome, 1, attempts, error.get(outcome, "")))
    return np.asarray(worth)


class Grid(NamedTuple):
    """Candidates: every timeout with every delay, pause and number of retries from 0 to ``RETRIES``."""

    timeouts: tuple[float, ...]  # [s]
    delays: tuple[float, ...]  # of a copy [s]; 0: none
    backoffs: tuple[float, ...]  # [s]

    @classmethod
    def of(cls, answers: Floats) -> Grid:
        """Around what answers take [s]; the defaults are among them."""
        first = min(0.4 * float(np.median(answers)), 1.0)
        timeouts = sorted({*np.geomspace(first, LAST_TIMEOUT, 40).tolist(), START.timeout})
        delays = sorted({0.0, *np.quantile(answers, QUANTILES).tolist()})
        return cls(tuple(timeouts), tuple(delays), BACKOFFS)


def worths(replay: Replay, grid: Grid, objective: Objective) -> Floats:
    """Mean utility per call of every candidate, pauses at their mean: (delays, timeouts, backoffs, RETRIES + 1).

    All calls go through an attempt at once, and those without an answer on to the next one.
    """
    found = np.empty((len(grid.delays), len(grid.timeouts), len(grid.backoffs), RETRIES + 1))
    pauses = np.asarray(
        [
            [Plan(1.0, 0, backoff).longest_pause(k) / 2 if k else 0.0 for backoff in grid.backoffs]
            for k in range(RETRIES + 1)
        ]
    )
    for d, delay in enumerate(grid.delays):
        for i, timeout in enumerate(grid.timeouts):
            found[d, i] = _worth(replay, timeout, delay, pauses, objective)
    return found


def _worth(replay: Replay, timeout: float, delay: float, pauses: Floats, objective: Objective) -> Floats:
    """The same of one timeout and delay [s], (backoffs, RETRIES + 1). pauses: before each attempt, by backoff [s]."""
    n = len(replay.seconds)
    left, sent = np.arange(n), np.zeros(n, np.int64)
    cost = objective.latency_cost or 0.0
    utility = np.zeros(pauses.shape[1])
    rows = []
    for k in range(RETRIES + 1):
        end, failed = replay.seconds[left, sent], replay.failed[left, sent]
        answered, over = np.where(failed, np.inf, end), np.where(failed, end, np.inf)
        requests = np.ones(len(left), np.int64)
        if 0.0 < delay < timeout:
            copied = np.flatnonzero(end > delay)
            rows_, next_ = left[copied], sent[copied] + 1
            other, bad = delay + replay.seconds[rows_, next_], replay.failed[rows_, next_]
            over[copied] = np.where(failed[copied] & bad, np.maximum(end[copied], other), np.inf)
            answered[copied] = np.minimum(answered[copied], np.where(bad, np.inf, other))
            requests[copied] = 2
        took = np.minimum(np.minimum(answered, over), timeout)
        good = answered <= timeout
        again = len(left) if k else 0
        utility = utility + objective.value * good.sum() - cost * (took.sum() + again * pauses[k])
        utility = utility - objective.attempt_cost * (requests.sum() - (0 if k else n))
        rows.append(utility)
        left, sent = left[~good], (sent + requests)[~good]
    return np.stack(rows, axis=-1) / n


# --- measuring --------------------------------------------------------------------------------------------------------


class Life(NamedTuple):
    """One service: mean utility per call of each policy, mean over seeds."""

    service: str
    calls: int
    ours: float
    best: float  # of the best fixed parameters in hindsight
    plain: float  # of the best without copies
    defaults: float
    peers: Mapping[str, float]
    late: tuple[float, float]  # ours and best without the first ``EARLY`` calls, in which the defaults may hold
    plan: Plan  # the best
    last: Mapping[str, object]  # what ours held at the end, under the last seed

    @property
    def rule(self) -> float:
        """The usual rule's."""
        return self.peers[RULE]

    @property
    def set(self) -> str:
        """The data set."""
        return self.service.split()[0]


def live(trace: Trace, seeds: int) -> Life:
    """Let all live through one service's record."""
    objective, calls = trace.objective(), replay(trace)
    grid = Grid.of(trace.answers)
    values = worths(calls, grid, objective)
    d, i, b, r = (int(place) for place in np.unravel_index(int(values.argmax()), values.shape))
    delay = grid.delays[d] if grid.delays[d] < grid.timeouts[i] else 0.0
    best = Plan(grid.timeouts[i], r, grid.backoffs[b], delay)
    start = grid.timeouts.index(START.timeout), grid.backoffs.index(START.backoff), START.retries
    own, kept, last = list[Floats](), list[Floats](), dict[str, object]()
    for seed in range(seeds):
        policy = RIVALS[OURS](objective, seed)
        own.append(lived(calls, policy, objective, seed))
        kept.append(lived(calls, Fixed(*best), objective, seed))
        last = dict(policy.parameters(len(calls.at)))
    peers = {}
    for peer in PEERS:  # those that are there for comparison only live twice at most
        lives = range(seeds if peer == RULE else min(seeds, 2))
        worth = [lived(calls, RIVALS[peer](objective, seed), objective, seed) for seed in lives]
        peers[peer] = float(np.mean(worth))
    late = float(np.mean(np.stack(own)[:, EARLY:])), float(np.mean(np.stack(kept)[:, EARLY:]))
    uncopied = values[grid.delays.index(0.0)]
    means = float(np.mean(own)), float(values.max()), float(uncopied.max()), float(uncopied[start])
    return Life(trace.name, len(calls.at), *means, peers, late, best, last)


def measured(place: Path, services: int, seeds: int, split: str = "dev") -> list[Life]:
    """All services of the sample, in two processes."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return [job.result() for job in [pool.submit(live, trace, seeds) for trace in sample(place, services, split)]]


def shares(lives: Iterable[Life]) -> list[float]:
    """Of the best fixed parameters' utility, where there is any to speak of."""
    return [life.ours / life.best for life in lives if life.best >= WORTH_SHARING]


def told(lives: Iterable[Life]) -> Iterator[str]:
    """Every service, as a Markdown table."""
    what = ("service", "calls", "POET", "best fixed", "defaults", "1.5 × p99", "best: timeout, retries, backoff, hedge")
    yield "| " + " | ".join((*what, "POET at the end")) + " |"
    yield "|---" * 8 + "|"
    for life in lives:
        figures = " | ".join(f"{x:.3f}" for x in (life.ours, life.best, life.defaults, life.rule))
        plan = ", ".join(f"{x:.3g}" for x in life.plan)
        last = ", ".join(f"{name} {life.last[name]:.3g}" for name in LIVE if name in life.last)
        yield f"| {life.service} | {life.calls} | {figures} | {plan} | {last} |"


def rows(lives: Sequence[Life]) -> Iterator[Row]:
    """The figures against their bars, and by data set."""
    for name in SETS:
        own = [life for life in lives if life.set == name]
        if not own:
            continue
        means = " / ".join(
            f"{np.mean([getattr(life, p) for life in own]):.3f}" for p in ("ours", "best", "defaults", "rule")
        )
        ahead = float(np.mean([life.ours > life.rule for life in own]))
        shown = f"{means}; share {np.mean(shares(own)):.3f}; above the rule in {ahead:.0%}"
        yield Row(f"{name}, {len(own)} services: POET / best fixed / defaults / 1.5 × p99", "for comparison", shown)
    plain = float(np.mean([life.plain / life.best for life in lives if life.best >= WORTH_SHARING]))
    yield Row("the best fixed parameters without copies", "for comparison", f"share of the best fixed {plain:.3f}")
    for peer in PEERS[1:]:
        behind = float(np.mean([life.ours > life.peers[peer] for life in lives]))
        parts = [life.peers[peer] / life.best for life in lives if life.best >= WORTH_SHARING]
        lowest = min(life.peers[peer] - life.defaults for life in lives)
        shown = f"share of the best fixed {np.mean(parts):.3f}; worst beside the defaults {lowest:+.2f}"
        shown += f"; behind POET in {behind:.0%}"
        yield Row(peer, "for comparison", shown)
    kept = shares(lives)
    share, low = float(np.mean(kept)), float(np.quantile(kept, 0.1))
    what = f"share of the best fixed parameters' utility in hindsight, mean of {len(kept)} services"
    yield Row(
        what,
        f">= {LEAST_SHARE}",
        f"{share:.4f}; median {np.median(kept):.3f}, a tenth below {low:.3f}",
        share >= LEAST_SHARE,
    )
    later = float(np.mean([life.late[0] / life.late[1] for life in lives if life.best >= WORTH_SHARING]))
    yield Row(f"… without the first {EARLY} calls, in which the defaults may hold", "for comparison", f"{later:.4f}")
    missed = float(np.mean([life.best - life.ours for life in lives]))
    whole = sum(life.ours for life in lives) / sum(life.best for life in lives)
    shown = f"{missed:.4f}; the sums' share {whole:.4f}"
    yield Row(f"… what is missed per call, mean of all {len(lives)}", "for comparison", shown)
    worst = min(lives, key=lambda life: life.ours - life.defaults)
    lead, below = worst.ours - worst.defaults, sum(life.ours < life.defaults - MOST_BELOW_DEFAULTS for life in lives)
    what = f"least lead over the defaults in {len(lives)} services; in how many further below"
    bar = f">= -{MOST_BELOW_DEFAULTS}"
    yield Row(what, bar, f"{lead:+.4f} in {worst.service}; {below}", lead >= -MOST_BELOW_DEFAULTS)
    open_ = [life for life in lives if life.best > life.rule + LEVEL]
    above = float(np.mean([life.ours > life.rule for life in open_])) if open_ else 1.0
    shown = f"{above:.0%}; of all {len(lives)} in {np.mean([life.ours > life.rule for life in lives]):.0%}"
    what = f"services in which it is above 1.5 × p99, of the {len(open_)} in which anything fixed is, by {LEVEL}"
    yield Row(what, f">= {LEAST_ABOVE_RULE:.0%}", shown, above >= LEAST_ABOVE_RULE)


def run(services: int = 40, seeds: int = 1) -> list[Row]:
    """Measure everything; the figures against their bars. One row that says so where there are no data."""
    place = folder()
    if place is None:
        return [Row("recorded traffic", "for comparison", "not here: name its folder in POET_TRACES")]
    return list(rows(measured(place, services, seeds)))


def main(arguments: list[str]) -> int:
    """Measure, tell all, and fail where a bar is missed."""
    services, seeds = (int(x) for x in (*arguments[:2], *("40", "1")[len(arguments[:2]) :]))
    place = folder()
    if place is None:
        print("no recorded traffic here: name its folder in POET_TRACES", file=sys.stderr)
        return 2
    found = measured(place, services, seeds, arguments[2] if len(arguments) > 2 else "dev")
    print("\n".join(told(found)))
    return 0 if show("Recorded traffic", rows(found)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
