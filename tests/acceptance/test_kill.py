"""A store outlives what happens to its process and its disk: real processes, real signals, real limits."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kills import kill_writers_of_a_file, start, wrong
from poet.errors import StoreUnavailable
from poet.stores.sqlite import SqliteStore
from poet.testing.stores import KEY, draft, execution, record

KILLS = 20

FILLER = """
    import sys
    from pathlib import Path
    from poet.errors import StoreUnavailable
    from poet.stores.sqlite import SqliteStore
    from poet.testing.stores import KEY, draft, execution, record

    if sys.argv[2] == "limit":
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
    store, sequence = SqliteStore(Path(sys.argv[1])), 0
    generation = store.register(record()).generation
    try:
        while True:
            store.append(KEY, [execution(i, error=f"E{i:0500}") for i in range(sequence, sequence + 20)])
            sequence += 20
            generation = store.publish(KEY, draft(reason="x" * 2000), expected=generation).generation
    except StoreUnavailable as error:
        print(error, "|", error.__cause__)
    print(sequence, generation, len(store.versions(KEY)), len(list(store.executions(KEY))))
    store.close()
"""


def run(script: str, *arguments: object) -> list[str]:
    process = start(script, *arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.splitlines()


def test_nothing_that_was_committed_is_lost_when_writers_are_killed(tmp_path: Path) -> None:
    """Each round kills two writers of one file, at a random moment after a random number of commits."""
    survived = kill_writers_of_a_file(tmp_path / "poet.db", KILLS)
    assert survived.kills == KILLS
    assert min(survived.executions, survived.versions, survived.contributions) > KILLS


def check_what_is_left(path: Path, lines: list[str]) -> None:
    """Before the last line the error, on it: appended, generation, versions and executions read back."""
    appended, generation, versions, read = map(int, lines[-1].split())
    assert (versions, read) == (generation, appended)
    store = SqliteStore(path)
    assert wrong(store) == []
    assert len(store.versions(KEY)) == versions
    assert store.functions()[0].calls == len(list(store.executions(KEY))) == appended
    store.append(KEY, [execution(10**6)])  # with space again, it goes on
    store.publish(KEY, draft(), expected=generation)
    store.close()


def test_a_file_that_may_not_grow_is_refused_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "poet.db"
    lines = run(FILLER, path, "limit")
    assert str(path) in lines[0]
    assert "limits of file sizes" in lines[0]
    check_what_is_left(path, lines)


def test_a_full_disk_is_named_and_loses_nothing(tmp_path: Path) -> None:
    """On a file system of 400 kB where this process may mount one, else on a file of limited size."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        check_what_is_left(disk / "poet.db", run(FILLER, disk / "poet.db", "limit"))
        return
    try:
        lines = run(FILLER, disk / "poet.db", "disk")
        assert "free some disk space" in lines[0]
        assert "disk is full" in lines[0]
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        check_what_is_left(disk / "poet.db", lines)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


ONLOOKER = """
    import os, sys
    from pathlib import Path
    from poet.errors import StoreUnavailable
    from poet.stores.sqlite import SqliteStore
    from poet.testing.stores import KEY, execution, record

    if os.geteuid() == 0:  # root may write anywhere
        os.setgid(65534)
        os.setuid(65534)
    os.chdir(sys.argv[1])
    for path in ("poet.db", "new/poet.db"):
        try:
            SqliteStore(Path(path)).append(KEY, [execution(9)])
        except StoreUnavailable as error:
            print(type(error).__name__, error)
    onlooker = SqliteStore(Path("poet.db"), readonly=True)
    print(onlooker.standing(KEY).live.version, len(list(onlooker.executions(KEY))))
    onlooker.close()
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_folder_that_may_not_be_written_is_refused_with_advice_and_may_be_read(open_folder: Path) -> None:
    folder = open_folder / "shared"
    store = SqliteStore(folder / "poet.db")
    store.register(record())
    store.append(KEY, [execution(i) for i in range(3)])
    store.close()
    (folder / "poet.db.lock").unlink()
    before = (folder / "poet.db").read_bytes()
    (folder / "poet.db").chmod(0o444)
    folder.chmod(0o555)
    lines = run(ONLOOKER, folder)
    folder.chmod(0o755)
    assert len(lines) == 3
    for line in lines[:2]:
        assert line.startswith("StoreUnavailable")
        assert "permission denied" in line
        assert "POET_STORE" in line
    assert lines[2] == "1 3"
    assert (folder / "poet.db").read_bytes() == before
    assert [found.name for found in folder.iterdir()] == ["poet.db"]


@pytest.mark.parametrize("path", ["/proc/version/poet.db", "/dev/null/.poet/poet.db"])
def test_a_path_where_no_store_can_be_is_refused_before_anything_is_made(path: str) -> None:
    with pytest.raises(StoreUnavailable, match="POET_STORE") as caught:
        SqliteStore(Path(path))
    assert isinstance(caught.value.__cause__, OSError) or os.path.isfile(Path(path).parent)


DENIED = """
    import os, sys
    from pathlib import Path
    import poet.stores.memory, poet.stores.sqlite, poet.stores.steady
    from poet.app import build
    from poet.decorator import bind
    from poet.settings import Settings
    from poet.testing.clock import VirtualClock

    clock, root = VirtualClock(100.0), Path(sys.argv[1])

    def agent(store="sqlite:///poet.db"):
        made = build(Settings(store=store, root=root, seed=1), clock=clock, thread=False)

        @bind(made)(enable_training=True, name="fetch")
        def fetch():
            clock.sleep(0.05)
            return 1

        return made, fetch

    def work(made, fetch):
        for _ in range(30):
            fetch()
            made.flush()
        told = fetch.poet.status()
        print(told["calls"], told["away"] is None, told["last_fault"], flush=True)

    work(*agent("memory:"))  # loads what is loaded when it is first needed, while this user may read it
    if os.geteuid() == 0:  # root may write anywhere
        os.setgid(65534)
        os.setuid(65534)
    one = agent()
    work(*one)
    sys.stdin.readline()
    work(*one)  # has the file open
    other = agent()
    work(*other)  # would have to open it
    sys.stdin.readline()
    clock.sleep(10.0)
    work(*one)
    work(*other)
    for made, _ in (one, other):
        made.close()
"""


def test_a_file_that_is_made_read_only_stops_nothing_and_is_caught_up_with_later(open_folder: Path) -> None:
    folder = open_folder / "shared"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    process = start(DENIED, folder)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdout.readline()
    told = [process.stdout.readline().split(" ", 2)]
    files = [path for path in folder.iterdir() if path.is_file()]
    for path in files:
        path.chmod(0o444)
    folder.chmod(0o555)
    print(file=process.stdin, flush=True)
    told += [process.stdout.readline().split(" ", 2) for _ in range(2)]
    folder.chmod(0o755)
    for path in files:
        path.chmod(0o644)
    print(file=process.stdin, flush=True)
    told += [process.stdout.readline().split(" ", 2) for _ in range(2)]
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert [(calls, there) for calls, there, _ in told] == [
        ("30", "True"),
        ("60", "True"),
        ("30", "False"),
        ("90", "True"),
        ("60", "True"),
    ]
    assert "permission denied" in told[2][2].lower()
    assert err.count("permission denied") <= 2  # said once or twice, not with every round
    store = SqliteStore(folder / "poet.db")
    assert wrong(store) == []
    (record_,) = store.functions()
    assert record_.calls == len(list(store.executions(record_.key))) == 150
    store.close()
