"""The program as people and programs run it, on a real store in a file."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from poet.cli import arguments
from poet.cli.main import main, progress
from poet.cli.pages import SNIPPET
from poet.learners import learner_for
from poet.seams import ProcessReport
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock
from unit.cli import shop
from unit.cli.shop import NOW, PRICES
from words import faults

COMMANDS = (
    "status",
    "doctor",
    "show prices.fetch",
    "explain prices.fetch",
    "explain send",
    "similar prices.fetch",
    "similar prices.fetch --top 1",
    "replay prices.fetch",
    "replay prices.fetch timeout=0.1 retries=1 hedge_delay=0.05",
    "replay send",
    "history prices.fetch",
    "releases",
    "releases prices.fetch --last 3",
)
CHANGES = (
    "pin prices.fetch timeout=4 retries=1",
    "unpin prices.fetch",
    "rollback prices.fetch --to 1 --reason sluggish",
    "resume prices.fetch",
    "pause prices.fetch",
    "pause",
    "resume",
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a filled store, in which the tests work."""
    for variable in ("POET_STORE", "POET_LEARNING", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "pyproject.toml").write_text("[tool.poet]\ncpu-share = 0.2\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    clock = shop.clock()
    store = SqliteStore(tmp_path / ".poet" / "poet.db", clock=clock)
    shop.fill(store, clock)
    store.close()
    return tmp_path


@pytest.fixture
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nothing was recorded."""
    for variable in ("POET_STORE", "POET_LEARNING"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "poet.cli.main", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environ},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def ask(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    """The program in this process, at the fixed time."""
    code = main(line.split(), clock=VirtualClock(wall=NOW))
    said = capsys.readouterr()
    return code, said.out, said.err


def asked(capsys: pytest.CaptureFixture[str], line: str) -> dict[str, Any]:
    code, out, err = ask(capsys, f"{line} --json")
    assert (code, faults(err)) == (0, ""), err
    document: dict[str, Any] = json.loads(out)
    return document


def test_the_installed_program_answers(project: Path) -> None:
    program = Path(sysconfig.get_path("scripts")) / "poet"
    done = subprocess.run([program, "status"], cwd=project, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, faults(done.stderr)) == (0, "")
    assert "prices.fetch" in done.stdout


def test_status_in_a_pipe_has_no_colour_and_fits_eighty_columns(project: Path) -> None:
    done = run("status", cwd=project, COLUMNS="80")
    assert (done.returncode, faults(done.stderr)) == (0, "")
    assert "\x1b" not in done.stdout
    for name in ("prices.fetch", "stock.fetch", "send", "nightly report"):
        assert name in done.stdout
    table = done.stdout.split("\n\n")[0]
    assert "30 s→843 ms" in table
    assert "90.0 %" in table
    assert "paused" in table
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize("line", [*COMMANDS, *CHANGES])
def test_every_page_fits_eighty_columns(project: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    _, out, err = ask(capsys, line)
    assert err == ""
    folded = re.sub(r"/\S+", "", out)  # the test's own folders may be longer than a line
    assert max(map(len, folded.splitlines())) <= 80


@pytest.mark.parametrize("line", [*COMMANDS, *CHANGES])
def test_every_command_answers_in_json_with_its_name_and_format(
    project: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    _, out, err = ask(capsys, f"{line} --json")
    document = json.loads(out)
    assert (document["format"], document["command"], err) == (1, line.split()[0], "")


def test_a_wide_terminal_shows_full_names_and_the_last_change(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    _, out, _ = ask(capsys, "status")
    row = next(line for line in out.splitlines() if "shop.prices.fetch" in line)
    assert "1 h ago: timeout 2.5 → 0.843 s" in row


def test_status_of_a_new_project_says_how_to_begin_and_makes_nothing(
    nothing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ask(capsys, "status")
    assert code == 0
    assert "nothing yet" in out
    assert "@poet(enable_training=True)" in out
    compile(SNIPPET, "snippet", "exec")
    assert len(SNIPPET.splitlines()) == 6
    assert asked(capsys, "status")["functions"] == []
    assert not (nothing / ".poet").exists()


@pytest.mark.parametrize(
    "line",
    ["show f", "explain f", "replay f timeout=2", "history f", "rollback f", "pin f timeout=1", "pause", "resume f"],
)
def test_nothing_is_made_where_nothing_was_recorded(
    nothing: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    code, out, err = ask(capsys, line)
    assert (code, out) == (2, "")
    assert err.startswith("poet: ")
    assert "no function has been recorded yet" in err
    assert not (nothing / ".poet").exists()


def test_show_tells_what_holds(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask(capsys, "pin prices.fetch retries=1 --reason quota")
    code, out, _ = ask(capsys, "show prices.fetch")
    assert code == 0
    for said in ("shop.prices.fetch#aaaa0001", "pinned", "4 of 4, manual by", "100, 90.0 % good", "30 s", "843 ms"):
        assert said in out


def test_explain_draws_what_the_stored_learner_believes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqliteStore(project / ".poet" / "poet.db")
    record = next(record for record in store.functions() if record.key == PRICES)
    learner = learner_for(record, None)
    learner.update(shop.executions(400))
    store.save_learner(PRICES, learner.dump())
    expected = learner.explain(store.standing(PRICES).live)
    store.close()
    document = asked(capsys, "explain prices.fetch")
    assert document["executions"] == 400
    assert document["sentences"] == list(expected.sentences)
    assert len(document["neighbours"]) == len(expected.neighbours) > 0
    assert [part["share"] for part in document["spread"]] == [part.share for part in expected.spread]
    assert len(document["timeouts"]) == len(expected.timeouts) > 0
    _, out, _ = ask(capsys, "explain prices.fetch")
    assert "█" in out
    assert "what other values would give" in out
    assert "live" in out


def test_explain_says_where_too_little_is_known(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, "explain stock.fetch")["known"] is False
    code, out, _ = ask(capsys, "explain stock.fetch")
    assert code == 0
    assert "too little is known yet" in out
    assert "20 calls recorded" in out
    _, out, _ = ask(capsys, "explain send")
    assert "it does not learn" in out


def test_explain_of_a_state_that_cannot_be_read_is_one_line(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqliteStore(project / ".poet" / "poet.db")
    store.save_learner(PRICES, b"\x00 not a state")
    store.close()
    code, out, err = ask(capsys, "explain prices.fetch")
    assert (code, out) == (2, "")
    assert "shop.prices.fetch: what its learner knew cannot be read" in err
    assert asked(capsys, "replay prices.fetch")["calls"] == 100  # the record is there all the same


def test_replay_tells_what_other_parameters_would_have_made_of_the_record(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = asked(capsys, "replay prices.fetch timeout=0.1")
    assert document["values"] == {"timeout": 0.1, "retries": 2, "backoff": 0.1, "hedges": 0, "hedge_delay": 0.0}
    assert (document["calls"], document["version"], document["since"]) == (100, 3, None)
    success = document["figures"]["success"]
    assert (success["recorded"], success["lowest"]) == (0.9, 0.0)
    assert document["decided"] == pytest.approx(0.1)  # the others are cut off, and no retry was ever made
    assert document["held"] == 10  # the failed ones had retries left
    assert document["gain"]["low"] < document["gain"]["value"]
    _, out, _ = ask(capsys, "replay prices.fetch timeout=0.1")
    assert "timeout 100 ms (live: 843 ms), retries 2" in out
    assert "100 calls, 2023-11-14 22:13:20 to 2023-11-14 22:29:50" in out
    assert re.search(r"good +90\.0 % ", out)
    assert document["sentences"][0] in " ".join(out.split())
    _, out, _ = ask(capsys, "replay prices.fetch")
    assert re.search(r"takes +200 ms +200 ms +exact\n", out)
    assert "The record decides every call" in out


def test_replay_looks_back_as_far_as_it_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = asked(capsys, "replay prices.fetch retries=0 --since 110m")
    assert document["calls"] == 40  # the first call was 120 minutes ago, one every 10 s
    assert document["first"] >= document["since"] == NOW - 6600
    code, out, _ = ask(capsys, "replay prices.fetch --since 1h")
    assert code == 0
    assert "There is no call to replay." in out
    assert asked(capsys, "replay prices.fetch --since 1h")["figures"] == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("timout=2", "no parameter 'timout': did you mean 'timeout'?"),
        ("retries=21", "retries must be in [0, 20], got 21; the nearest is 20"),
        ("retries=-1", "retries must be 0 or more"),
        ("timeout=0", "timeout must be above 0 seconds, got 0"),
        ("timeout=2s", "timeout must be a number of seconds, without a unit, got '2s'"),
        ("timeout", "replay takes name=value, got 'timeout'; for instance timeout=2.5"),
        ("hedges=1", "hedges needs hedge_delay"),
        ("--since yesterday", "a time is a whole number and a unit, such as 30d or 12h, got 'yesterday'"),
        ("--sinse 3d", "replay has no option '--sinse': did you mean '--since'?"),
    ],
)
def test_replay_refuses_what_cannot_be_with_the_nearest_that_can(
    project: Path, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    code, out, err = ask(capsys, f"replay prices.fetch {words}")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_rollback_shows_every_digit_and_the_way_back(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "rollback prices.fetch --to v1 --reason sluggish")
    assert code == 0
    assert "version 3 → 1" in out
    assert re.search(r"timeout +0\.84321 s +30 s +changed", out)
    assert re.search(r"backoff +0\.1 s +0\.1 s\n", out)
    assert "learning is paused: sluggish" in out
    assert "poet rollback prices.fetch --to 3" in out
    assert "poet resume prices.fetch" in out
    assert asked(capsys, "show prices.fetch")["paused"] == "sluggish"
    told = asked(capsys, "history prices.fetch")["entries"][-1]
    assert (told["action"], told["version"], told["reason"]) == ("rollback", 1, "sluggish")


def test_history_tells_the_story_in_order(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for line in CHANGES[:4]:
        assert ask(capsys, line)[0] == 0
    _, out, _ = ask(capsys, "history prices.fetch")
    story = ["v1 declared", "v2 learned", "v3 learned", "v4 pinned", "unpin v4", "rollback v1", "resume v1"]
    places = [out.index(step) for step in story]
    assert places == sorted(places)
    assert "30 → 2.5 s" in out
    assert "from 50 calls" in out
    assert "2023-11-14 22:13:20" in out


def test_what_the_program_changes_is_what_the_store_holds(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def standing() -> tuple[dict[str, Any], dict[str, Any], str]:
        store = SqliteStore(project / ".poet" / "poet.db", readonly=True)
        try:
            live, _, paused, pinned, *_ = store.standing(PRICES)
            return dict(live), dict(pinned), paused
        finally:
            store.close()

    ask(capsys, "pin prices.fetch timeout=4")
    assert standing() == ({"timeout": 4.0, "retries": 2, "backoff": 0.1}, {"timeout": 4.0}, "")
    ask(capsys, "unpin prices.fetch")
    assert standing()[1] == {}
    ask(capsys, "pause prices.fetch --reason audit")
    assert standing()[2] == "audit"
    ask(capsys, "resume")
    assert standing()[2] == ""


READ_ONLY = """
import os, sys
from poet.cli.main import main
lines = sys.argv[2:]
os.chdir(sys.argv[1])
for line in lines:
    main(line.split())  # loads all that is loaded on demand, while it may be read
os.chdir("../closed")
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)  # root may write anywhere; this user may not
assert not os.access(".poet", os.W_OK)
print("as a reader only")
sys.exit(max(main(line.split()) for line in lines))
"""


def test_readers_change_nothing_in_a_folder_that_they_may_not_write() -> None:
    lines = [line for line in COMMANDS if line != "doctor"]
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        project, folder = Path(name) / "closed", Path(name) / "closed" / ".poet"
        clock = shop.clock()
        store = SqliteStore(folder / "poet.db", clock=clock)
        shop.fill(store, clock)
        store.close()
        shutil.copytree(project, Path(name) / "open")
        Path(name).chmod(0o755)
        for path in (project, folder, *folder.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        done = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(Path(name) / "open"), *lines],
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        project.chmod(0o755)
        folder.chmod(0o755)
    assert (done.returncode, faults(done.stderr)) == (0, "")
    assert "prices.fetch" in done.stdout.partition("as a reader only")[2]
    assert after == before


def test_readers_answer_while_another_process_writes(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = SqliteStore(project / ".poet" / "poet.db")
    stop = threading.Event()

    def write() -> None:
        batch = 0
        while not stop.is_set():
            store.append(PRICES, shop.executions(20, writer=f"late{batch}"))
            batch += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        done = run("status", "--json", cwd=project)
        counted = [
            next(row["calls"] for row in asked(capsys, "status")["functions"] if row["name"] == "shop.prices.fetch")
            for _ in range(10)
        ]
    finally:
        stop.set()
        writer.join()
        store.close()
    assert (done.returncode, faults(done.stderr)) == (0, "")
    assert counted == sorted(counted)
    assert all(calls % 20 == 0 for calls in counted)


def test_doctor_finds_the_faults_that_processes_reported(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, "doctor")
    assert (code, err) == (1, "")
    assert "store: disk is full" in out
    assert "7 executions were not recorded" in " ".join(out.split())
    store = SqliteStore(project / ".poet" / "poet.db")
    store.report(ProcessReport("w2", "depot", 4712, NOW - 9, NOW - 5, 0, 0, ""))
    store.close()
    code, out, _ = ask(capsys, "doctor")
    assert code == 0, out
    assert "all is well" in out


def test_doctor_tells_where_each_setting_comes_from(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POET_LEARNING", "observe")
    main(["doctor", "--json", "--store", "sqlite:///.poet/poet.db"], clock=VirtualClock(wall=NOW))
    told = json.loads(capsys.readouterr().out)["settings"]
    assert told["learning"] == {"value": "observe", "source": "environment: POET_LEARNING"}
    assert told["cpu_share"] == {"value": 0.2, "source": f"[tool.poet] in {project / 'pyproject.toml'}"}
    assert told["store"]["source"] == "argument: --store"
    assert told["buffer"]["source"] == "default"


def test_doctor_takes_a_broken_store_for_a_finding(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "text.db").write_text("this is no database at all, only text\n" * 50, encoding="utf-8")
    code, out, err = ask(capsys, "doctor --store sqlite:///text.db")
    assert (code, err) == (1, "")
    assert "NOT OK" in out
    code, out, err = ask(capsys, "status --store sqlite:///text.db")
    assert (code, out) == (2, "")
    assert err.startswith("poet: ")
    assert len(err.splitlines()) == 1


def test_doctor_takes_settings_that_are_wrong_for_a_finding(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "pyproject.toml").write_text("[tool.poet]\ncpu_shar = 0.2\n", encoding="utf-8")
    code, out, _ = ask(capsys, "doctor")
    assert code == 1
    assert "did you mean 'cpu_share'?" in out
    code, _, err = ask(capsys, "status")
    assert code == 2
    assert "did you mean 'cpu_share'?" in err


def test_doctor_sees_that_a_store_can_never_be_made(nothing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (nothing / "file").write_text("", encoding="utf-8")
    code, out, _ = ask(capsys, "doctor --store sqlite:///file/poet.db")
    assert code == 1
    assert "is no folder" in " ".join(out.split())
    assert ask(capsys, "doctor")[0] == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("statsu", "no command 'statsu': did you mean 'status'?"),
        ("", "a command is missing"),
        ("status --jsno", "status has no option '--jsno': did you mean '--json'?"),
        ("show", "required: FN"),
        ("show pricse.fetch", "no function 'pricse.fetch': did you mean 'shop.prices.fetch'?"),
        ("show fetch", "'fetch' means several functions, name one of: shop.prices.fetch, shop.stock.fetch"),
        ("pin prices.fetch timeot=3", "no parameter 'timeot': did you mean 'timeout'?"),
        ("pin prices.fetch timeout=soon", "timeout must be a number of seconds"),
        ("rollback prices.fetch --to 99", "has no version 99; it has: 1, 2, 3"),
        ("rollback prices.fetch --to first", "a version is a number such as 3"),
        ("rollback stock.fetch", "has no version"),
        ("history prices.fetch --last 0", "must be a whole number from 1"),
        ("status --store mysql://x", "store must be 'memory:', 'sqlite:///path'"),
        ("status --store memory:", "only the process that fills it can see it"),
        ("--json demo", "options of the demo stand behind the word demo"),
    ],
)
def test_a_mistake_gets_one_line_on_the_error_stream_and_code_two(
    project: Path, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    code, out, err = ask(capsys, line)
    assert (code, out if "--json" not in line else "") == (2, "")
    assert err.startswith("poet: ")
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_mistake_in_a_process_of_its_own_ends_with_code_two_and_no_traceback(project: Path) -> None:
    done = run("show", "nobody", "--json", cwd=project)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert json.loads(done.stdout)["error"]["kind"] == "UnknownFunction"


def test_options_may_stand_before_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = ask(capsys, "--json --store sqlite:///.poet/poet.db status")
    assert len(json.loads(out)["functions"]) == 4


def test_help_and_release_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "rollback" in capsys.readouterr().out
    assert main(["pin", "--help"]) == 0
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.endswith("\n")


def test_the_demo_without_its_packages_says_what_to_install(project: Path) -> None:
    # A folder of the standard library only, and our own sources: as where nothing else was installed.
    source = Path(__file__).parents[2] / "src"
    code = f"import sys; sys.path.insert(0, {str(source)!r}); from poet.cli.main import main; sys.exit(main(['demo']))"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], cwd=project, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 2
    assert 'pip install "poet-runtime[demo]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_text_from_a_store_cannot_steer_the_terminal(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["pause", "prices.fetch", "--reason", "[red]\x1b[31mred\x1b[0m\nalert"])
    capsys.readouterr()
    for line in COMMANDS:
        _, out, _ = ask(capsys, line)
        assert "\x1b" not in out
    assert "[red]" in ask(capsys, "show prices.fetch")[1]


def test_a_terminal_without_unicode_gets_an_answer(project: Path) -> None:
    store = SqliteStore(project / ".poet" / "poet.db")
    learner = learner_for(next(record for record in store.functions() if record.key == PRICES), None)
    learner.update(shop.executions(400))
    store.save_learner(PRICES, learner.dump())
    store.close()
    pages = {}
    for line in COMMANDS:
        done = run(*line.split(), cwd=project, PYTHONIOENCODING="ascii", NO_COLOR="1")
        assert done.stderr == "", line
        pages[line] = done.stdout
    assert pages["explain prices.fetch"].isascii()
    drawn = pages["explain prices.fetch"].splitlines()
    assert any(line.strip().startswith("answers") and "#" in line for line in drawn)
    assert any("---^---" in line for line in drawn)
    assert "?" not in "".join(line for line in drawn if "Why not" not in line)


def test_a_reader_that_stops_early_is_no_fault(project: Path) -> None:
    program = f"{sys.executable} -m poet.cli.main status --json | head -c 1"
    done = subprocess.run(["sh", "-c", program], cwd=project, capture_output=True, encoding="utf-8", check=False)
    assert (done.stdout, done.stderr) == ("{", "")


def test_progress_is_told_once_patience_ends_and_only_then() -> None:
    class Stream:
        def __init__(self) -> None:
            self.told = threading.Event()
            self.text = ""

        def isatty(self) -> bool:
            return False

        def write(self, text: str) -> int:
            self.text += text
            self.told.set()
            return len(text)

        def flush(self) -> None: ...

    slow, quick = Stream(), Stream()
    with progress("at work", slow, patience=0.01):  # type: ignore[arg-type]
        assert slow.told.wait(30)
    with progress("at work", quick, patience=3600):  # type: ignore[arg-type]
        pass
    assert (slow.text, quick.text) == ("at work\n", "")


NAMES = ("prices.fetch", "send", "fetch", "nightly report")
OPTIONS = ("--to", "2", "--reason", "--last", "timeout=3", "retries=x", "--store", "memory:", "-x", "#", "")
words = st.sampled_from([*(word for word in arguments.COMMANDS if word != "demo"), *NAMES, *OPTIONS])


@given(st.lists(words | st.text(max_size=5), max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_asked_in_json_the_answer_parses(
    project: Path, capsys: pytest.CaptureFixture[str], line: list[str]
) -> None:
    if "demo" in line or any(word.startswith(("-h", "--h")) for word in line):
        return  # the demo speaks for itself, and help is for people
    capsys.readouterr()
    code = main(["--json", *line], clock=VirtualClock(wall=NOW))
    said = capsys.readouterr()
    assert code in (0, 1, 2)
    assert isinstance(json.loads(said.out), dict)
    assert bool(said.err) == (code == 2)


def test_every_key_of_every_document_is_documented(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "read-the-command-line.md").read_text(encoding="utf-8")
    for line in [*COMMANDS, *CHANGES]:
        main([*line.split(), "--json"], clock=VirtualClock(wall=NOW))
        document = json.loads(capsys.readouterr().out)
        rows = [document, *document.get("functions", []), *document.get("entries", []), *document.get("findings", [])]
        rows += [document.get("processes") or {}, *document.get("neighbours", [])]
        calls = document.get("last_calls", [])
        rows += [*calls, *(attempt for call in calls for attempt in call["attempts"])]
        rows += [row["recent"] for row in rows if "recent" in row]
        rows += [*document["parameters"].values()] if "parameters" in document else []
        assert [key for row in rows for key in row if f"`{key}`" not in page] == []
