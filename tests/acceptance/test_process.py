"""Real processes on a real file: what is learned survives, what is recorded is kept, nothing hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from poet.stores.sqlite import SqliteStore

LEARN = """
import time
from poet import poet

@poet(enable_training=True, name="fetch")
def fetch(seconds):
    time.sleep(seconds)

first = None
for i in range({calls}):
    fetch(0.001)
    first = first or dict(fetch.poet.parameters)
print(first["timeout"])
"""


def script(folder: Path, text: str, *, timeout: float = 60, **environ: str) -> subprocess.CompletedProcess[str]:
    (folder / "job.py").write_text(text)
    env = {k: v for k, v in os.environ.items() if not k.startswith("POET_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "job.py"],
        cwd=folder,
        env={**env, **environ},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def stored(folder: Path) -> SqliteStore:
    return SqliteStore(folder / ".poet" / "poet.db", readonly=True)


def test_what_was_learned_survives_the_process_and_the_next_start_begins_there(tmp_path: Path) -> None:
    first = script(tmp_path, LEARN.format(calls=200))
    assert first.returncode == 0, first.stderr
    assert float(first.stdout) == 30.0
    store = stored(tmp_path)
    (record,) = store.functions()
    live = store.standing(record.key).live
    assert 0.001 <= float(live["timeout"]) < 1.0
    assert live.origin == "learned"
    assert "timeout 30 -> " in store.versions(record.key)[1].reason
    second = script(tmp_path, LEARN.format(calls=1))
    assert float(second.stdout) == live["timeout"]
    assert store.load_learner(record.key)


def test_at_a_normal_exit_nothing_is_lost(tmp_path: Path) -> None:
    result = script(tmp_path, LEARN.format(calls=731))
    assert result.returncode == 0, result.stderr
    store = stored(tmp_path)
    (record,) = store.functions()
    assert record.calls == 731
    assert [e.sequence for e in store.executions(record.key)] == list(range(731))


@pytest.mark.parametrize(
    ("last", "code"), [("raise SystemExit(3)", 3), ("raise RuntimeError", 1), ("import sys; sys.exit(0)", 0)]
)
def test_however_the_script_ends_what_it_did_is_stored(tmp_path: Path, last: str, code: int) -> None:
    result = script(tmp_path, LEARN.format(calls=50) + last)
    assert result.returncode == code
    (record,) = stored(tmp_path).functions()
    assert record.calls == 50


def test_a_call_that_hangs_in_another_thread_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    text = LEARN.format(calls=5) + "import threading; threading.Thread(target=fetch, args=(600,), daemon=True).start()"
    start = time.monotonic()
    assert script(tmp_path, text).returncode == 0
    assert time.monotonic() - start < 30


def test_a_call_during_interpreter_exit_still_answers(tmp_path: Path) -> None:
    # Registered before POET's own exit handler, so run after it.
    text = "import atexit\natexit.register(lambda: print('left', fetch(0)))\n" + LEARN.format(calls=5)
    result = script(tmp_path, text)
    assert result.returncode == 0, result.stderr
    assert "left None" in result.stdout
    assert result.stderr == ""


def test_after_a_fork_parent_and_child_record_each_their_own_calls(tmp_path: Path) -> None:
    text = LEARN.format(calls=20) + (
        "import os, poet\n"
        "pid = os.fork()\n"
        "for _ in range(30 if pid else 40): fetch(0)\n"
        "assert fetch.poet.status()['dropped'] == 0\n"
        "if pid: assert os.waitpid(pid, 0)[1] == 0\n"
    )
    result = script(tmp_path, text)
    assert result.returncode == 0, result.stderr
    store = stored(tmp_path)
    (record,) = store.functions()
    writers: dict[str, int] = {}
    for execution in store.executions(record.key):
        writers[execution.writer] = writers.get(execution.writer, 0) + 1
    assert sorted(writers.values()) == [40, 50]
    assert all(finding.ok for finding in store.check())


def test_workers_forked_before_the_first_call_record_each_their_own_calls(tmp_path: Path) -> None:
    text = LEARN.partition("first = None")[0] + (
        "import os\n"
        "pids = []\n"
        "for _ in range(3):\n"
        "    pid = os.fork()\n"
        "    if not pid: break\n"
        "    pids.append(pid)\n"
        "else:\n"
        "    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]\n"
        "    raise SystemExit\n"
        "for _ in range(25): fetch(0)\n"
    )
    result = script(tmp_path, text)
    assert result.returncode == 0, result.stderr
    store = stored(tmp_path)
    (record,) = store.functions()
    assert record.calls == 75
    assert len({execution.writer for execution in store.executions(record.key)}) == 3


def test_threads_lose_and_double_nothing(tmp_path: Path) -> None:
    text = LEARN.format(calls=1) + (
        "import threading\n"
        "threads = [threading.Thread(target=lambda: [fetch(0) for _ in range(1000)]) for _ in range(8)]\n"
        "for t in threads: t.start()\n"
        "for t in threads: t.join()\n"
    )
    result = script(tmp_path, text)
    assert result.returncode == 0, result.stderr
    store = stored(tmp_path)
    (record,) = store.functions()
    assert record.calls == 8001
    assert sorted(e.sequence for e in store.executions(record.key)) == list(range(8001))


def test_several_processes_share_one_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    env = {k: v for k, v in os.environ.items() if not k.startswith("POET_")}
    (tmp_path / "job.py").write_text(LEARN.format(calls=300))
    jobs = [subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path, env=env) for _ in range(3)]
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    store = stored(tmp_path)
    (record,) = store.functions()
    assert record.calls == 900
    assert all(finding.ok for finding in store.check())


def test_kill_9_loses_at_most_the_last_unflushed_second(tmp_path: Path) -> None:
    """Calls are about 2 ms apart; what was made more than 1.5 s before the kill must be there."""
    text = (
        "import time\nfrom poet import poet\n"
        "@poet(enable_training=True, name='fetch')\n"
        "def fetch(): time.sleep(0.002)\n"
        "while True:\n    fetch()\n    print(time.time(), flush=True)\n"
    )
    (tmp_path / "job.py").write_text(text)
    env = {k: v for k, v in os.environ.items() if not k.startswith("POET_")}
    job = subprocess.Popen([sys.executable, "job.py"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    ends: list[float] = []
    for line in job.stdout:
        ends.append(float(line))
        if len(ends) == 1500:
            break
    os.kill(job.pid, signal.SIGKILL)
    ends += [float(line) for line in job.stdout.read().splitlines()[:-1]]
    job.wait()
    job.stdout.close()
    store = stored(tmp_path)
    assert all(finding.ok for finding in store.check())
    (record,) = store.functions()
    due = sum(end < ends[-1] - 1.5 for end in ends)
    assert due > 300
    assert record.calls >= due
    versions = store.versions(record.key)
    assert store.standing(record.key).live.version in {v.version for v in versions}


def test_a_corrupt_store_is_said_once_and_calls_go_on(tmp_path: Path) -> None:
    (tmp_path / ".poet").mkdir()
    (tmp_path / ".poet" / "poet.db").write_bytes(b"this is no database" * 100)
    result = script(tmp_path, LEARN.format(calls=20) + "print(fetch.poet.status())")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("poet.db") == 1
    assert "calls go on" in result.stderr
    assert "StoreCorrupt" in result.stdout
    assert (tmp_path / ".poet" / "poet.db").read_bytes() == b"this is no database" * 100


def test_configure_refuses_a_corrupt_store_at_the_door(tmp_path: Path) -> None:
    (tmp_path / ".poet").mkdir()
    (tmp_path / ".poet" / "poet.db").write_bytes(b"this is no database" * 100)
    result = script(tmp_path, "import poet; poet.configure()")
    assert result.returncode == 1
    assert "StoreCorrupt" in result.stderr.splitlines()[-1]


def test_with_learning_off_calls_are_plain_and_nothing_is_written(tmp_path: Path) -> None:
    text = LEARN.format(calls=5) + "assert fetch.poet.last is None\n"
    result = script(tmp_path, text, POET_LEARNING="off")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / ".poet").exists()


def test_wrong_settings_are_said_and_calls_go_on_with_their_declared_parameters(tmp_path: Path) -> None:
    result = script(tmp_path, LEARN.format(calls=2), POET_STORE="mysql://x")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "30.0\n"
    assert "store must be 'memory:', 'sqlite:///path'" in result.stderr


def test_importing_poet_loads_neither_numpy_nor_a_database(tmp_path: Path) -> None:
    text = "import sys, poet\nfrom poet import poet as p, Objective\n@p\ndef f(): pass\n"
    text += "print([m for m in ('numpy', 'sqlite3', 'asyncio', 'rich') if m in sys.modules])"
    assert script(tmp_path, text).stdout.strip() == "[]"
