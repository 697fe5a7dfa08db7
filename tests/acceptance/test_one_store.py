"""Agents and their store: several learn as one, what is said late is kept, and odd clocks and stores stop nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from houses import Host, House
from poet.app import build
from poet.errors import ConfigurationError
from poet.model.execution import Outcome
from poet.settings import Settings
from poet.stores.sqlite import SqliteStore


@pytest.fixture
def agents(tmp_path: Path) -> Any:
    made = Host(tmp_path, "sqlite:///poet.db")
    yield made
    made.close()


def kept(folder: Path) -> SqliteStore:
    return SqliteStore(folder / "poet.db", readonly=True)


def test_processes_that_share_a_store_learn_as_one(agents: Host, tmp_path: Path) -> None:
    one, other = agents.agent(1), agents.agent(2)
    ours, theirs = agents.fetch(one, 0.05), agents.fetch(other, 0.05)
    for _ in range(150):
        ours()
        theirs()
        one.flush()
        other.flush()
    for fetch in (ours, theirs):
        explained = fetch.poet.explain()
        assert explained.executions >= 299  # the other's newest may be on its way
        assert fetch.poet.parameters["timeout"] < 1.0
    assert ours.poet.parameters == theirs.poet.parameters
    store = kept(tmp_path)
    assert store.functions()[0].calls == 300
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_what_one_process_learned_another_need_not_see(agents: Host) -> None:
    one, other = agents.agent(1), agents.agent(2)
    busy, idle = agents.fetch(one, 0.05), agents.fetch(other, 0.05)
    idle()
    for _ in range(200):
        busy()
        one.flush()
    other.flush()
    idle()
    other.flush()
    assert idle.poet.explain().executions >= 201
    assert idle.poet.parameters["timeout"] < 1.0


def test_a_version_tells_between_which_moments_its_evidence_lies(agents: Host) -> None:
    one = agents.agent()
    fetch = agents.fetch(one, 0.05)
    for _ in range(200):
        fetch()
        one.flush()
    learned = [version for version in fetch.poet.versions() if version.origin == "learned"]
    assert learned
    for version in learned:
        since, until = version.span
        assert agents.clock.wall() - 60 < since < until <= version.created


def test_scores_are_kept_with_their_executions_however_late_they_come(agents: Host, tmp_path: Path) -> None:
    one = agents.agent()
    fetch = agents.fetch(one, 0.05)
    fetch()
    early = fetch.poet.last.id
    one.flush()
    fetch()
    fetch.poet.feedback(0.25)
    fetch.poet.feedback(True)
    fetch()
    one.flush()
    fetch.poet.feedback(0, early)
    one.flush()
    store = kept(tmp_path)
    assert [row.score for row in store.executions(store.functions()[0].key)] == [0.0, 1.0, None]
    store.close()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((1.5,), r"score must be a number in \[0, 1\], got 1.5"),
        ((float("nan"),), "score must be a number"),
        (("good",), "score must be a number"),
        ((1.0, "nonsense"), "execution_id must be like"),
        ((1.0, "abc-"), "execution_id must be like"),
        ((1.0, None), "no execution in this context yet"),
    ],
)
def test_a_score_of_nothing_is_refused(arguments: tuple[Any, ...], sentence: str) -> None:
    house = House()

    @house.poet(enable_training=True)
    def fetch() -> int:
        return 1

    with pytest.raises(ConfigurationError, match=sentence):
        fetch.poet.feedback(*arguments)


def test_a_clock_that_is_set_back_loses_and_doubles_nothing(agents: Host, tmp_path: Path) -> None:
    one = agents.agent()
    fetch = agents.fetch(one, 0.05)
    start = agents.clock.wall()
    for step in (0.0, -7200.0, 3600.0, -86_400.0 * 40):
        agents.clock.set_wall(start + step)
        for _ in range(60):
            fetch()
        one.flush()
    assert one.trainer.maintain() is not None
    agents.clock.set_wall(start)
    fetch()
    one.flush()
    store = SqliteStore(tmp_path / "poet.db")
    (record,) = store.functions()
    rows = list(store.executions(record.key))
    assert record.calls == len(rows) == 241
    assert rows == sorted(rows, key=lambda row: row.started)
    assert {(row.writer, row.sequence) for row in rows} == {(one.writer, i) for i in range(241)}
    assert sum(hour.calls for hour in store.hours(record.key)) == 241
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_a_trainer_keeps_its_store_in_order(agents: Host, tmp_path: Path) -> None:
    one = agents.agent()
    fetch = agents.fetch(one, 0.05)
    for _ in range(10):
        fetch()
        one.flush()
    agents.clock.sleep(31 * 86_400.0)
    fetch()
    one.flush()
    upkeep = one.trainer.maintain()
    assert (upkeep.expired, upkeep.hours) == (10, 0)
    agents.clock.sleep(401 * 86_400.0)
    upkeep = one.trainer.maintain()
    assert (upkeep.expired, upkeep.hours > 1) == (1, True)
    store = kept(tmp_path)
    assert (store.functions()[0].calls, list(store.executions(store.functions()[0].key))) == (11, [])
    store.close()


def test_a_file_that_cannot_be_opened_yet_is_taken_up_when_it_can(
    agents: Host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(store="sqlite:///place/poet.db", root=tmp_path, seed=1)
    agent = build(settings, clock=agents.clock, thread=False)
    agents.made.append(agent)
    fetch = agents.fetch(agent, 0.05)
    (tmp_path / "place").write_text("a file where the folder should be")
    for _ in range(200):
        fetch()
        agent.flush()
    status = fetch.poet.status()
    assert (status["calls"], status["faults"] > 0, status["away"] is not None) == (200, True, True)
    assert "must be a folder" in status["last_fault"]
    assert len(caplog.records) <= 2  # said once, not with every round
    assert fetch.poet.parameters["timeout"] < 1.0
    (tmp_path / "place").unlink()
    agents.clock.sleep(10.0)
    fetch()
    agent.flush()
    agent.flush()
    store = SqliteStore(tmp_path / "place" / "poet.db", readonly=True)
    (record,) = store.functions()
    assert record.calls == len(list(store.executions(record.key))) == 201
    assert store.standing(record.key).live["timeout"] == fetch.poet.parameters["timeout"]
    assert store.load_learner(record.key) is not None
    assert fetch.poet.status()["away"] is None
    assert [finding for finding in store.check() if not finding.ok] == []
    store.close()


def test_a_new_function_begins_with_what_the_original_poet_had_learned(
    agents: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / ".poet").mkdir()
    theirs = tmp_path / ".poet" / "fetch_params.json"
    theirs.write_text(json.dumps({"retries": 1, "timeout": 12.5}))
    one = agents.agent()
    fetch = agents.fetch(one, 0.05)
    fetch()
    assert fetch.poet.last.outcome is Outcome.SUCCESS
    live = fetch.poet.versions()[-1]
    assert (live.version, live.origin, live["timeout"], live["retries"]) == (2, "import", 12.5, 1)
    assert "fetch_params.json" in live.reason
    assert [change.action for change in fetch.poet.history()] == ["publish", "import"]
    fetch.poet.rollback(1)
    fetch.poet.resume()
    again = agents.fetch(agents.agent(2), 0.05)
    again()
    assert again.poet.parameters.version == 1
    assert json.loads(theirs.read_text()) == {"retries": 1, "timeout": 12.5}
