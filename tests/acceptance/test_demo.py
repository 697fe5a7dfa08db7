from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SERVICES = ("catalog", "lookup", "quote", "archive", "chat", "summary")
ARMS = {"fixed", "rule", "poet"}
POET = str(Path(sys.executable).with_name("poet"))
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("POET_")}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [POET, *words], cwd=folder, env={**PLAIN, "NO_COLOR": "1"}, capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / ".poet").mkdir()
    return folder


@pytest.fixture(scope="module")
def demo(project: Path) -> subprocess.CompletedProcess[str]:
    return run(project, "demo", "--fast", "--seed", "3", "--json", "figures.json")


@pytest.fixture(scope="module")
def figures(project: Path, demo: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert demo.returncode == 0, demo.stderr
    told: dict[str, Any] = json.loads((project / "figures.json").read_text(encoding="utf-8"))
    return told


def test_the_demo_goes_through_without_a_word_of_complaint(demo: subprocess.CompletedProcess[str]) -> None:
    assert demo.returncode == 0, demo.stderr
    assert demo.stderr == ""


def test_the_report_shows_every_arm_of_every_service(demo: subprocess.CompletedProcess[str]) -> None:
    for service in SERVICES:
        assert f"\n{service} – " in demo.stdout
        assert f"poet explain demo.{service}" in demo.stdout
    for row in ("fixed: 30 s, 3 retries", "usual rule: 1.5 × p99", "POET  "):
        assert demo.stdout.count(f"\n  {row}") == len(SERVICES) + 1  # and once in the summary
    assert demo.stdout.count("POET learned") == len(SERVICES)
    assert "all functions" in demo.stdout
    assert "poet status" in demo.stdout


def test_every_call_of_every_arm_is_in_the_figures(figures: dict[str, Any]) -> None:
    assert set(figures["functions"]) == {f"demo.{service}" for service in SERVICES}
    for name, function in figures["functions"].items():
        assert set(function["arms"]) == ARMS
        assert set(function["poet_against"]) == ARMS - {"poet"}
        for arm, row in function["arms"].items():
            assert 0 <= row["success"] <= 1
            assert 0 < row["p95"] <= row["p99"]
            sent = round(function["calls"] * (1 + row["extra"]))
            asked = figures["requests_at_server"][f"{arm} {name.removeprefix('demo.')}"]
            if arm == "fixed":
                assert asked == sent
            else:  # a request that is given up within a few milliseconds may never reach the server
                assert 0 < asked <= sent


def test_all_that_is_tuned_is_told(demo: subprocess.CompletedProcess[str], figures: dict[str, Any]) -> None:
    assert demo.stdout.count(", backoff ") >= len(SERVICES)
    for name, function in figures["functions"].items():
        for values in (function["learned"]["before"], function["learned"]["after"]):
            plain = {"timeout", "retries", "backoff"}  # of a plain function, which cannot be hedged
            hedged = name.removeprefix("demo.") in ("quote", "chat", "summary")
            assert set(values) == (plain | {"hedges", "hedge_delay"} if hedged else plain)


def test_no_arm_beats_the_record(figures: dict[str, Any]) -> None:
    from poet.sim.traffic import Choice, load_recordings, utility

    recordings = load_recordings()
    for name, function in figures["functions"].items():
        recording = recordings[name.removeprefix("demo.")]
        calls = range(function["first_call"], function["first_call"] + function["calls"])
        exact = utility(recording, calls, Choice(30.0, 3, 0.0), recording.objective())
        # What a network, a client and the pauses add only ever costs; nothing hides it.
        assert function["arms"]["fixed"]["utility"] <= exact + 1e-6


def test_status_reads_what_the_demo_left(project: Path, figures: dict[str, Any]) -> None:
    answer = run(project, "status", "--json")
    assert answer.returncode == 0, answer.stderr
    told = json.loads(answer.stdout)
    by_name = {row["name"] if "name" in row else row["function"]: row for row in told["functions"]}
    for service in SERVICES:
        found = next(row for name, row in by_name.items() if name.startswith(f"demo.{service}"))
        assert found["calls"] == figures["functions"][f"demo.{service}"]["calls"]


def test_explain_knows_every_function_of_the_demo(project: Path, figures: dict[str, Any]) -> None:
    for service in SERVICES:
        answer = run(project, "explain", f"demo.{service}")
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.strip()


def test_a_second_demo_begins_anew_in_a_store_that_is_its_own(project: Path, figures: dict[str, Any]) -> None:
    again = run(project, "demo", "--calls", "6", "--json", "again.json")
    assert again.returncode == 0, again.stderr
    assert json.loads((project / "again.json").read_text(encoding="utf-8"))["began_afresh"] is True
    status = json.loads(run(project, "status", "--json").stdout)
    calls = {row["name"]: row["calls"] for row in status["functions"]}
    assert {calls[f"demo.{service}"] for service in SERVICES} == {6}


def test_ctrl_c_ends_the_demo_and_its_server(tmp_path: Path) -> None:
    (tmp_path / ".poet").mkdir()
    demo = subprocess.Popen(
        [POET, "demo"], cwd=tmp_path, env=PLAIN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    for line in demo.stdout:
        if " of " in line and " calls; " in line:  # the first line of progress: all arms are under way
            break
    children = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
    server = int(children.read_text().split()[0]) if children.exists() and children.read_text().strip() else None
    demo.send_signal(signal.SIGINT)
    _, complaint = demo.communicate(timeout=30)
    assert demo.returncode == 130
    assert "interrupted" in complaint
    assert "Traceback" not in complaint
    if server is not None:
        with pytest.raises(ProcessLookupError):
            os.kill(server, 0)


def test_the_brakes_bring_a_dependency_back_that_fixed_retries_keep_down(figures: dict[str, Any]) -> None:
    arms = figures["outage"]["arms"]
    assert set(arms) == {"fixed", "budget", "breaker"}
    assert all(arm["before"]["success"] > 0.5 for arm in arms.values())
    assert arms["breaker"]["slow"]["requests"] < arms["budget"]["slow"]["requests"] < arms["fixed"]["slow"]["requests"]
    assert [change["state"] for change in figures["outage"]["breaker"]][:2] == ["open", "half_open"]
