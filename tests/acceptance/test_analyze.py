from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poet.cli.main import main
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.function import FunctionKey
from poet.seams import FunctionRecord
from poet.stores.sqlite import SqliteStore
from poet.testing.clock import VirtualClock
from words import faults

DAY, HOUR = 86_400.0, 3_600.0
START = 1_700_006_400.0  # a midnight, Unix time [s]
NOW = START + 21 * DAY
PRICE, CHAT, RARE = (FunctionKey("shop", name, "0123abcd") for name in ("price", "chat", "rare"))

Ask = Callable[[str], tuple[int, str, str]]


def record(key: FunctionKey, **more: Any) -> FunctionRecord:
    values = {"timeout": 2.0, "retries": 1, "backoff": 0.1, **more.pop("values", {})}
    return FunctionRecord(key, None, "adaptive", values, {"value": 1.0, "attempt_cost": 0.03}, 0, 0, 0.0, 0.0, **more)


def call(i: int, at: float, seconds: float, *, good: bool = True, **more: Any) -> Execution:
    outcome = Outcome.SUCCESS if good else Outcome.ERROR
    error = "" if good else "OSError"
    return Execution("w", i, at, seconds, outcome, 1, (Attempt(outcome, seconds),), error, **more)


def prices() -> list[Execution]:
    """Slower by day than by night, by a fifth from the 14th day on; in one region half fails for eight hours."""
    rng = np.random.default_rng(11)
    at = np.sort(START + rng.uniform(0, 21 * DAY, 12_000))
    made = []
    for i, t in enumerate(at.tolist()):
        level = -1.2 + 0.25 * np.sin(2 * np.pi * t / DAY) + (0.2 if t > START + 14 * DAY else 0.0)
        region = ("eu", "us", "asia")[int(rng.integers(3))]
        broken = region == "us" and 8 * DAY + 9 * HOUR < t - START < 8 * DAY + 17 * HOUR
        good = bool(rng.random() > (0.6 if broken else 0.01))
        made.append(call(i, t, float(np.exp(level + rng.normal(0, 0.25))), good=good, context=(("region", region),)))
    return made


def chats() -> list[Execution]:
    """Every fifth call tries another model, by lot, which is better scored."""
    rng = np.random.default_rng(12)
    made = []
    for i, t in enumerate(np.sort(START + rng.uniform(0, DAY, 1500)).tolist()):
        tried = i % 5 == 0
        score = float(np.clip(rng.normal(0.8 if tried else 0.5, 0.2), 0, 1))
        values = (("model", "large"),) if tried else ()
        made.append(call(i, t, 0.3, draw=int(tried), values=values, score=score))
    return made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store's file."""
    path = tmp_path_factory.mktemp("filled") / "poet.db"
    store = SqliteStore(path, clock=VirtualClock(wall=START))
    store.register(record(PRICE))
    store.append(PRICE, prices())
    store.register(record(CHAT, values={"model": "small"}, choices={"model": ("small", "large")}))
    store.append(CHAT, chats())
    store.register(record(RARE))
    store.append(RARE, [call(0, START, 0.1)])
    store.close()
    return path.read_bytes()


@pytest.fixture
def project(tmp_path: Path, filled: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("POET_STORE", "POET_LEARNING", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TZ", "UTC")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    (tmp_path / ".poet").mkdir()
    (tmp_path / ".poet" / "poet.db").write_bytes(filled)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(line: str) -> tuple[int, str, str]:
        code = main(line.split(), clock=VirtualClock(wall=NOW))
        said = capsys.readouterr()
        return code, said.out, faults(said.err)

    return run


def asked(ask: Ask, line: str) -> dict[str, Any]:
    code, out, err = ask(f"{line} --json")
    assert (code, err) == (0, "")
    document: dict[str, Any] = json.loads(out)
    return document


def of(document: dict[str, Any], kind: str, subject: str) -> list[dict[str, Any]]:
    return [each for each in document["insights"] if (each["kind"], each["subject"]) == (kind, subject)]


def test_what_was_planted_is_told_in_words_figures_and_pictures(project: Path, ask: Ask) -> None:
    document = asked(ask, "analyze price")
    (change,) = of(document, "change", "latency")
    assert abs(change["since"] - (START + 14 * DAY)) <= 6 * HOUR
    assert change["effect"]["low"] <= np.expm1(0.2) <= change["effect"]["high"]
    assert "from then on" in change["sentence"]
    assert len(change["picture"]) == 3
    (season,) = of(document, "season", "latency")
    assert season["facts"]["period"] == DAY
    (incident,) = of(document, "incident", "failures")
    assert abs(incident["since"] - (START + 8 * DAY + 9 * HOUR)) <= 2 * HOUR
    assert abs(incident["until"] - (START + 8 * DAY + 17 * HOUR)) <= 4 * HOUR
    assert "region us" in incident["sentence"]
    assert document["functions"][0]["calls"] == 12_000
    worths = [each["worth"] for each in document["insights"]]
    assert worths == sorted(worths, reverse=True)


def test_the_page_shows_the_first_findings_and_how_many_there_are(project: Path, ask: Ask) -> None:
    code, page, err = ask("analyze --top 2")
    assert (code, err) == (0, "")
    assert " 1. effect  chat" in page
    assert "3 more with --top 5" in page
    assert "rare: 1 calls are too few: it takes 20" in page
    assert max(map(len, page.splitlines())) <= 80


def test_what_was_dealt_out_by_lot_and_proved_better_can_be_made_live(project: Path, ask: Ask) -> None:
    document = asked(ask, "analyze chat")
    (effect,) = of(document, "effect", "model")
    assert effect["effect"]["low"] < 0.3 < effect["effect"]["high"]
    assert effect["proposal"]["values"] == {"model": "large"}
    assert document["applied"] == []

    (done,) = asked(ask, "analyze chat --apply --reason reviewed")["applied"]
    assert (done["version"], done["values"]) == (2, {"model": "large"})
    (entry, *_) = reversed(asked(ask, "history chat")["entries"])
    assert entry["values"]["model"] == "large"
    assert "reviewed: history: model large instead of small" in entry["reason"]

    (rollout,) = asked(ask, "rollout chat")["rollouts"]
    assert (rollout["phase"], rollout["version"], rollout["changes"]) == ("canary", 2, {"model": ["small", "large"]})
    (again,) = asked(ask, "analyze chat --apply")["applied"]
    assert again["version"] is None
    assert "has an open rollout" in again["left"]
    assert ask("rollout chat --promote")[0] == 0
    (again,) = asked(ask, "analyze chat --apply")["applied"]
    assert (again["version"], again["left"]) == (None, "it holds already")


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("pause chat", "its learning is paused"),
        ("pin chat model=small", "pinned: model"),
        ("flags set learn.batch observe --function chat", "the flag learn.batch says observe"),
    ],
)
def test_what_a_person_holds_stays(project: Path, ask: Ask, before: str, why: str) -> None:
    assert ask(before)[0] == 0
    (done,) = asked(ask, "analyze chat --apply")["applied"]
    assert (done["version"], done["left"]) == (None, why)


def test_the_same_is_told_from_tables_and_on_either_engine(project: Path, ask: Ask) -> None:
    assert ask("export --executions --all --output calls.parquet")[0] == 0
    here, tables, ray = (
        asked(ask, line)["insights"]
        for line in ("analyze", "analyze --from calls.parquet --workers 1", "analyze --from calls.parquet --engine ray")
    )
    assert ray == tables
    for each in (*here, *tables):
        each.pop("name")  # a store knows shorter ones
    assert [each["sentence"] for each in here] == [each["sentence"] for each in tables]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("analyze nosuch", "nosuch"),
        ("analyze --since never", "30d"),
        ("analyze --engine spark", "ray"),
        ("analyze --from nowhere.parquet", "cannot be read"),
        ("analyze --from x.parquet --apply", "--apply"),
        ("analyze --workers 0", "from 1"),
        ("analyze --every 5s", "every"),
        ("analyze --every 6h --from x.parquet", "--every"),
        ("analyze --zone Europe/Berlim", "Europe/Berlin"),
        ("analyze --false-alarms 0", "above 0"),
        ("analyze --costs 1 2 x", "above 0"),
        ("analyze --address ray://head:1", "ray"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(project: Path, ask: Ask, line: str, word: str) -> None:
    code, _, err = ask(line)
    assert code == 2
    assert word in err


class Interrupted(VirtualClock):
    """As a person's Ctrl-C, at a moment."""

    def __init__(self, wall: float, until: float) -> None:
        super().__init__(wall=wall)
        self.until = until

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.wall() >= self.until:
            raise KeyboardInterrupt


def test_again_and_again_until_it_is_interrupted(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["analyze", "chat", "--every", "6h", "--apply", "--json"]
    assert main(line, clock=Interrupted(NOW, NOW + 13 * HOUR)) == 130
    out = capsys.readouterr().out
    told = [json.loads(part) for part in out.replace("}\n{", "}\0{").split("\0")]
    assert [each["at"] - NOW for each in told] == [0.0, 6 * HOUR, 12 * HOUR]
    assert [each["applied"][0]["version"] for each in told] == [2, None, None]
    assert main(line, clock=Interrupted(NOW + 14 * HOUR, NOW + 15 * HOUR)) == 130
    assert capsys.readouterr().out == "", "not due yet: another process would have to wait as well"


def test_a_store_that_is_away_for_once_is_told_and_asked_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = (project / ".poet" / "poet.db").rename(project / "aside.db")
    clock = Interrupted(NOW, NOW + 7 * HOUR)
    real = clock.sleep

    def sleep(seconds: float) -> None:
        if kept.exists():
            kept.rename(project / ".poet" / "poet.db")
        real(seconds)

    clock.sleep = sleep  # type: ignore[method-assign]
    assert main(["analyze", "chat", "--every", "6h"], clock=clock) == 130
    said = capsys.readouterr()
    assert "no function has been recorded yet" in said.err
    assert "it goes on" in said.err
    assert "effect  chat" in said.out


def test_who_pays_much_for_alarms_gets_fewer(project: Path, ask: Ask) -> None:
    told = [asked(ask, f"analyze price --costs {costs}") for costs in ("1 1000 0.1", "20 5000 0.03", "1000 1 0.001")]
    many, some, none = (len(of(each, "incident", "failures")) for each in told)
    assert many >= some >= 1
    assert none == 0


def test_only_what_is_new_enough_is_looked_at(project: Path, ask: Ask) -> None:
    document = asked(ask, "analyze price --since 7d")
    assert of(document, "change", "latency") == []
    assert document["functions"][0]["first"] >= NOW - 7 * DAY
