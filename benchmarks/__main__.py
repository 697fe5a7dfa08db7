"""All figures: `python -m benchmarks` (minutes), `python -m benchmarks --study` (more seeds, all scenarios)."""

from __future__ import annotations

import sys

from benchmarks import crowd, hedged_calls, hedging, learning, limits, load, overhead, peers, recorded, storage
from benchmarks.table import show


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
        show("What learning reaches", learning.run(seeds=20 if study else 5)),
        show("Recorded services", recorded.run(orders=20 if study else 6)),
    ]
    return 0 if all(parts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
