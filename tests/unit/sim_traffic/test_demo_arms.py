from __future__ import annotations

from pathlib import Path

import pytest

from poet.app import build
from poet.decorator import bind
from poet.demo.arms import FIRST, WINDOW, Fixed, UsualRule
from poet.demo.project import begin_afresh
from poet.demo.run import main
from poet.settings import Settings


def test_the_fixed_arm_learns_nothing() -> None:
    rule = Fixed(30.0)
    rule.answered(0.1)
    assert rule.limit() == 30.0


def test_the_usual_rule_waits_for_a_few_answers() -> None:
    rule = UsualRule(30.0)
    for _ in range(FIRST - 1):
        rule.answered(1.0)
    assert rule.limit() == 30.0
    rule.answered(1.0)
    assert rule.limit() == 1.5


def test_the_usual_rule_is_one_and_a_half_times_the_99th_percentile_of_the_last_answers() -> None:
    rule = UsualRule(30.0)
    for seconds in [50.0] * 10 + list(range(1, WINDOW + 1)):
        rule.answered(float(seconds))
    assert rule.limit() == 1.5 * 198


def settings(folder: Path) -> Settings:
    return Settings(root=folder)


def fill(folder: Path, *names: str | None) -> None:
    agent = build(settings(folder), thread=False)
    try:
        for name in names:

            def answer() -> int:
                return 1

            bind(agent)(name=name)(answer)()
        agent.flush()
    finally:
        agent.close()


def test_a_project_without_a_store_begins_afresh(tmp_path: Path) -> None:
    assert begin_afresh(settings(tmp_path), ["demo.a"])


def test_a_store_that_only_the_demo_has_filled_is_deleted(tmp_path: Path) -> None:
    fill(tmp_path, "demo.a", "demo.b")
    assert begin_afresh(settings(tmp_path), ["demo.a", "demo.b"])
    assert not (tmp_path / ".poet" / "poet.db").exists()


@pytest.mark.parametrize("other", ["orders.fetch", None])
def test_a_store_with_other_functions_is_kept(tmp_path: Path, other: str | None) -> None:
    fill(tmp_path, "demo.a", other)
    assert not begin_afresh(settings(tmp_path), ["demo.a"])
    assert (tmp_path / ".poet" / "poet.db").exists()


def test_a_store_in_memory_begins_afresh(tmp_path: Path) -> None:
    assert begin_afresh(Settings(root=tmp_path, store="memory:"), ["demo.a"])


def test_a_file_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for wrong in (tmp_path, tmp_path / "missing" / "figures.json"):
        with pytest.raises(SystemExit):
            main(["--json", str(wrong)])
        assert "must name a file in a folder that exists" in capsys.readouterr().err


@pytest.mark.parametrize("calls", ["0", "-3", "many"])
def test_a_number_of_calls_that_cannot_be_is_refused(calls: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--calls", calls])
    assert exit_.value.code == 2
    assert f"calls must be a whole number >= 1, got '{calls}'" in capsys.readouterr().err
