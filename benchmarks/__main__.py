"""All figures: `python -m benchmarks` (minutes), `python -m benchmarks --study` (more seeds, and faults survived)."""

from __future__ import annotations

import sys

from tests.postgres.server import running

from benchmarks import (
    alerts,
    contexts,
    crowd,
    daily,
    experiments,
    faults,
    fleet,
    gains,
    guards,
    hedged_calls,
    hedging,
    history,
    honesty,
    learning,
    limits,
    load,
    memory,
    methods,
    offpolicy,
    online,
    overhead,
    peers,
    planted,
    postgres,
    privacy,
    propagation,
    recorded,
    regimes,
    replay,
    rivals,
    rollouts,
    routing,
    sequential,
    series,
    similar,
    storage,
    switches,
    tables,
    targets,
    together,
    traces,
    transfer,
    tunables,
)
from benchmarks.table import Row, show


def main(arguments: list[str]) -> int:
    study = "--study" in arguments
    parts = [
        show("What a call costs", overhead.run()),
        show("Beside the peers", peers.run()),
        show("What each limit does to six bodies", limits.run()),
        show("When to send a copy", hedging.run()),
        show("Hedged calls", hedged_calls.run()),
        show("Load on a dependency in trouble", load.run(seeds=5 if study else 2)),
        show("A crowd", crowd.run()),
        show("What is stored", storage.run()),
        show("What is stored in PostgreSQL", postgres.run()),
        show("How soon a rollback is seen", propagation.run()),
        show("How soon flags and orders hold", switches.run()),
        show("A fleet learns as one", _fleet(seeds=10 if study else 3)),
        show("What an agent holds", memory.run()),
        show("What learning reaches", learning.run(seeds=20 if study else 5)),
        show("What the online learner reaches", online.run(*((10, 50) if study else (2, 6)))),
        show("A service that goes back and forth", regimes.run(seeds=12 if study else 4)),
        show("What each method is worth", methods.run(seeds=20 if study else 10)),
        show("Targets", targets.run(seeds=10 if study else 5)),
        show("Recorded services", recorded.run(orders=20 if study else 6)),
        show("A replay against the truth", replay.run(seeds=5 if study else 1)),
        show("What learning has gained", gains.run(200 if study else 20)),
        show("Beside other tuners", rivals.run(*((10, 50) if study else (1, 2)))),
        show("Choice by context", routing.run(*((20, 20, 1_000_000) if study else (5,)))),
        show("A real job, off-policy", offpolicy.run()),
        show("Values per context", contexts.run(seeds=10 if study else 2)),
        show("Declared tunables", tunables.run(seeds=10 if study else 4, study=study)),
        show("Tables of several environments", tables.run(*((3, 4) if study else (1, 1)))),
        show("Recorded traffic", traces.run(services=200 if study else 40, seeds=10 if study else 1)),
        show("Planted truth", planted.run(200 if study else 40)),
        show("Values that follow the day", daily.run(60 if study else 20)),
        show("Incidents of several functions", together.run(200, 0, 20 if study else 5)),
        show("What is out of the ordinary", alerts.run(draws=20 if study else 10, series=20 if study else 5)),
        show("A history at scale", history.run(study=study)),
        show("What time tells", series.run(200 if study else 40)),
        show("Experiments, end to end", experiments.run(*((10, 100) if study else ()))),
        show("What relatives are worth", transfer.run(*((20, 60, 4) if study else (6, 10, 2)))),
        show("Which functions are alike", similar.run(*((100_000, 20) if study else (20_000, 3)))),
        show("What leaves a tenant", privacy.run(*((50_000, 200) if study else (20_000, 40)))),
        show("Looks at any time", sequential.run(*((2000, 10_000) if study else ()))),
        show("Roll-outs", rollouts.run(*((4, 30, 100) if study else ()))),
        show("Guards", guards.run(*((2000, 50_000) if study else ()))),
        show("Whether it keeps its word", honesty.run(*((10, 100_000) if study else (2, 10_000)))),
    ]
    if study:
        parts.append(show("Faults survived", faults.run()))
    return 0 if all(parts) else 1


def _fleet(seeds: int) -> list[Row]:
    with running() as server, server.database("fleet") as url:
        return fleet.run(url, seeds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
