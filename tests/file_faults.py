"""What happens to processes that write one file, done on purpose, for as long as it is wanted."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

from poet.stores.sqlite import SqliteStore
from poet.testing.stores import KEY

WRITER = """
    import os, sys
    from pathlib import Path
    from poet.errors import StaleParameters
    from poet.model.execution import Feedback
    from poet.stores.sqlite import SqliteStore
    from poet.testing.stores import KEY, draft, execution, record

    store, writer, sequence, told = SqliteStore(Path(sys.argv[1])), sys.argv[2], 0, 0
    generation = store.register(record()).generation
    while True:
        rows = [execution(i, writer=writer) for i in range(sequence, sequence + 1 + sequence % 13)]
        store.append(KEY, rows)
        sequence += len(rows)
        os.write(1, f"executions {sequence}\\n".encode())
        told += 1
        store.exchange(KEY, writer, told, lambda state: str(int(state or b"0") + 1).encode())
        os.write(1, f"contributions {told}\\n".encode())
        if told % 5 == 0:
            store.score(KEY, [Feedback(writer, sequence - 1, 0.5, float(told))])
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
    """What was kept, and was there afterwards."""

    kills: int
    executions: int
    versions: int
    contributions: int


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A process that runs ``script``."""
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wrong(store: SqliteStore) -> list[object]:
    """What the store finds wrong with itself; how much space the disk has is no fault of its own."""
    return [finding for finding in store.check() if not finding.ok and finding.what != "disk space"]


def kill_writers(path: Path, kills: int, *, seed: int = 1) -> Survived:
    """Kill ``kills`` writers, two at a time, at random moments; after each look whether all that was told is there.

    What was acknowledged must be there, once; what was not may be, whole.
    """
    rng = random.Random(seed)
    SqliteStore(path).close()
    executions: dict[str, int] = {}  # writer -> how many it was told are kept
    contributions: dict[str, int] = {}
    versions: dict[int, str] = {}  # version -> its reason
    for kill in range(kills // 2):
        processes = {writer: start(WRITER, path, writer) for writer in (f"{kill}a", f"{kill}b")}
        first = processes[f"{kill}a"]
        assert first.stdout is not None
        told = [first.stdout.readline() for _ in range(rng.randint(1, 80))]
        for _ in range(rng.randint(0, 20_000)):  # a moment that has nothing to do with a commit
            pass
        for process in processes.values():
            process.send_signal(signal.SIGKILL)
        for writer, process in processes.items():
            out, err = process.communicate(timeout=60)
            assert process.returncode == -signal.SIGKILL, err
            lines = [*told, *out.splitlines()] if process is first else out.splitlines()
            for words in (line.split() for line in lines):
                match words:
                    case ["executions", count]:
                        executions[writer] = int(count)
                    case ["contributions", count]:
                        contributions[writer] = int(count)
                    case ["version", number, *reason]:
                        versions[int(number)] = " ".join(reason)
        _look(path, executions, contributions, versions, alive=kill + 1)
    return Survived(2 * (kills // 2), sum(executions.values()), len(versions), sum(contributions.values()))


def _look(
    path: Path, executions: dict[str, int], contributions: dict[str, int], versions: dict[int, str], *, alive: int
) -> None:
    store = SqliteStore(path)
    assert wrong(store) == []
    kept = {version.version: version.reason for version in store.versions(KEY)}
    assert {number: kept.get(number) for number in versions} == versions
    stored: dict[str, set[int]] = {}
    for row in store.executions(KEY):
        stored.setdefault(row.writer, set()).add(row.sequence)
    for writer, count in executions.items():
        assert set(range(count)) <= stored[writer]
        assert stored[writer] == set(range(len(stored[writer])))  # and nothing half-written after it
    merged, told = int(store.load_learner(KEY) or b"0"), sum(contributions.values())
    assert told <= merged <= told + 2 * alive  # of each writer that was killed the last may not have been told
    assert store.standing(KEY).live.version == max(kept)
    store.close()
