"""Writers of one store, killed on purpose at random moments, for as long as it is wanted."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from poet.seams import Store
from poet.stores.sqlite import SqliteStore
from poet.testing.stores import KEY

WRITER = """
    import os, sys
    from pathlib import Path
    from poet.errors import StaleParameters
    from poet.model.execution import Feedback
    from poet.testing.stores import KEY, draft, execution, record

    place, writer, sequence, told = sys.argv[1], sys.argv[2], 0, 0
    if "://" in place:
        from poet.stores.postgres import PostgresStore
        store = PostgresStore(place)
    else:
        from poet.stores.sqlite import SqliteStore
        store = SqliteStore(Path(place))
    generation = store.register(record()).generation
    while True:
        numbers = range(sequence, sequence + 1 + sequence % 13)
        rows = [execution(i, writer=writer, values=(("k", i % 7),) if i % 3 == 0 else ()) for i in numbers]
        store.append(KEY, rows)
        sequence += len(rows)
        os.write(1, f"executions {sequence}\\n".encode())
        told += 1
        store.exchange(KEY, writer, told, lambda state: str(int(state or b"0") + 1).encode())
        os.write(1, f"contributions {told}\\n".encode())
        if told % 5 == 0:
            goals = (("cost", sequence / 8), ("quality", 0.5))
            store.score(KEY, [Feedback(writer, sequence - 1, 0.5, float(told), goals)])
            os.write(1, f"scored {sequence - 1}\\n".encode())
        if told % 7 == 0:
            store.maintain(executions_before=0.0, hours_before=0.0, settled=1e12)
        try:
            standing = store.publish(KEY, draft(reason=f"{writer} {sequence}"), expected=generation)
        except StaleParameters:
            generation = store.standing(KEY).generation
            continue
        generation = standing.generation
        os.write(1, f"version {standing.live.version} {writer} {sequence}\\n".encode())
"""


class Survived(NamedTuple):
    """What was acknowledged, and was there afterwards."""

    kills: int
    executions: int
    versions: int
    contributions: int


@dataclass
class Told:
    """What writers were told is kept."""

    executions: dict[str, int] = field(default_factory=dict)  # by writer, how many
    contributions: dict[str, int] = field(default_factory=dict)  # by writer, how many
    versions: dict[int, str] = field(default_factory=dict)  # with their reasons
    scored: set[tuple[str, int]] = field(default_factory=set)  # by writer and sequence

    def hear(self, writer: str, lines: list[str]) -> None:
        """Take down what a writer has printed."""
        for words in (line.split() for line in lines):
            match words:
                case ["executions", count]:
                    self.executions[writer] = int(count)
                case ["contributions", count]:
                    self.contributions[writer] = int(count)
                case ["scored", sequence]:
                    self.scored.add((writer, int(sequence)))
                case ["version", number, *reason]:
                    self.versions[int(number)] = " ".join(reason)

    def check(self, store: Store, *, killed: int) -> None:
        """All of it must be there, once; of what was not told, whole things may be. killed: writers so far."""
        assert wrong(store) == []
        kept = {version.version: version.reason for version in store.versions(KEY)}
        assert {number: kept.get(number) for number in self.versions} == self.versions
        stored: dict[str, set[int]] = {}
        for row in store.executions(KEY):
            stored.setdefault(row.writer, set()).add(row.sequence)
            assert row.values == ((("k", row.sequence % 7),) if row.sequence % 3 == 0 else ())
        for writer, count in self.executions.items():
            assert set(range(count)) <= stored[writer]
            assert stored[writer] == set(range(len(stored[writer])))  # and nothing half-written after it
        found = store.find(KEY, sorted(self.scored))
        assert [(row.writer, row.sequence) for row in found] == sorted(self.scored)
        for row in found:
            assert (row.score, dict(row.goals)) == (0.5, {"cost": (row.sequence + 1) / 8, "quality": 0.5})
        merged, contributed = int(store.load_learner(KEY) or b"0"), sum(self.contributions.values())
        assert contributed <= merged <= contributed + killed  # of each writer the last may not have been told
        assert store.standing(KEY).live.version == max(kept)


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs ``script``."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wrong(store: Store) -> list[object]:
    """What the store finds wrong with itself; how much space the disk has is no fault of its own."""
    return [finding for finding in store.check() if not finding.ok and finding.what != "disk space"]


def kill_writers_of_a_file(path: Path, kills: int, *, seed: int = 1) -> Survived:
    """The same, of a store in the file ``path``."""
    return kill_writers(str(path), lambda: SqliteStore(path), kills, seed=seed)


def kill_writers(place: str, opened: Callable[[], Store], kills: int, *, seed: int = 1) -> Survived:
    """Kill ``kills`` writers, two at a time, at random moments; after each look whether all that was told is there.

    place: of the store, a URL or a path. opened: the store itself, once nobody writes any more.
    """
    rng, told = random.Random(seed), Told()
    opened().close()
    for kill in range(kills // 2):
        processes = {writer: start(WRITER, place, writer) for writer in (f"{kill}a", f"{kill}b")}
        first = processes[f"{kill}a"]
        assert first.stdout is not None
        begun = [first.stdout.readline() for _ in range(rng.randint(1, 80))]
        for _ in range(rng.randint(0, 20_000)):  # a moment that has nothing to do with a commit
            pass
        for process in processes.values():
            process.send_signal(signal.SIGKILL)
        for writer, process in processes.items():
            out, err = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL, err
            told.hear(writer, [*(begun if process is first else []), *out.splitlines()])
        store = opened()
        told.check(store, killed=2 * (kill + 1))
        store.close()
    counts = sum(told.executions.values()), len(told.versions), sum(told.contributions.values())
    return Survived(2 * (kills // 2), *counts)
