from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any

import pytest
from rich.console import Console

from houses import House, Script
from poet.cli import experiment_pages, views
from poet.cli.arguments import UsageError, parse
from poet.cli.experiment_words import wanted
from poet.cli.experiments import act
from poet.cli.pages import show_page
from poet.errors import AmbiguousFunction, ConfigurationError, UnknownFunction


class Desk:
    """A store with a function that was called, and the command line over it."""

    def __init__(self) -> None:
        self.house = House(rollout="direct")
        script = Script(self.house.clock, *[0.1, 0.3, ConnectionError("no"), 0.2] * 400)

        @self.house.poet(name="shop.quote", retries=0, timeout=5.0)
        def quote() -> int:
            return script()

        self.quote: Any = quote
        self.run(40)

    def run(self, calls: int) -> None:
        for n in range(calls):
            with suppress(ConnectionError):
                self.quote()
            if n % 10 == 9:
                self.house.agent.flush()

    def __call__(self, line: str) -> dict[str, Any]:
        asked = wanted(parse(["experiment", *line.split()], "0"))
        doc = act(self.house.store, asked, self.house.clock.wall())
        told: dict[str, Any] = json.loads(json.dumps(views.plain(doc), allow_nan=False))
        return told

    def page(self, line: str, width: int = 100) -> str:
        asked = wanted(parse(["experiment", *line.split()], "0"))
        doc = act(self.house.store, asked, self.house.clock.wall())
        console = Console(width=width, markup=False, highlight=False, emoji=False)
        with console.capture() as captured:
            show_page(doc, console, further=experiment_pages.PAGES)
        return "\n".join(text.rstrip() for text in captured.get().splitlines())


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_one_is_started_shown_listed_and_stopped(desk: Desk) -> None:
    started = desk("start quote --arm again:retries=2 --share again=0.3 --metric success --reason see --alpha 1e-6")
    told = started["experiment"]
    assert (started["command"], started["action"], told["id"], told["phase"]) == (
        "experiment",
        "start",
        "quote-1",
        "running",
    )
    assert [(arm["name"], arm["kind"], arm["share"]) for arm in told["arms"]] == [
        ("live", "live", 0.7),
        ("again", "parameters", 0.3),
    ]
    assert (told["reason"], told["rules"]["metric"]) == ("see", "success")
    desk.run(200)
    shown = desk("show quote-1")
    assert shown["experiment"]["figures"]["calls"] >= 190
    assert len(shown["series"]) > 5
    assert {"at", "calls", "effects"} == set(shown["series"][0])
    assert [row["id"] for row in desk("list quote")["experiments"]] == ["quote-1"]
    stopped = desk("stop quote-1 --reason enough")["experiment"]
    assert (stopped["phase"], stopped["verdict"]) == ("ended", "stopped")
    assert stopped["why"].endswith(": enough")


def test_a_page_tells_the_health_before_the_effect_and_draws_it(desk: Desk) -> None:
    desk("start quote --arm again:retries=2 --metric success --guard-alpha 0.000001 --alpha 0.000001")
    desk.run(300)
    page = desk.page("show quote-1")
    places = [page.index(word) for word in ("health", "calls per arm", "missing", "guards of again", "effect on", "█")]
    assert places == sorted(places)
    assert "as the calls came in" in page
    assert "retries=2" in page
    assert all(len(line) <= 100 for line in page.splitlines())
    assert "quote-1" in desk.page("list")
    assert "what is live" in desk.page("leaderboard")


def test_pages_say_what_to_do_next(desk: Desk) -> None:
    assert "no experiment yet: poet experiment start FN" in desk.page("list")
    assert "nothing to compare yet" in desk.page("leaderboard")
    desk("start quote --arm again:retries=2 --metric success --most-calls 50")
    desk.run(100)
    told = desk("show quote-1")["experiment"]
    assert told["phase"] == "ended"
    made = desk("promote quote-1 again --reason sure")["experiment"]
    assert made["promoted"] == "again"
    assert desk.quote.poet.status()["parameters"]["retries"] == 2
    assert "made live" in desk.page("show quote-1")


def test_a_page_says_why_no_lots_are_drawn(desk: Desk) -> None:
    desk("start quote --arm again:retries=2 --metric success")
    assert desk("show quote-1")["experiment"]["waiting"] is None
    desk.quote.poet.pause("an incident")
    assert "waits    all calls get what is live: learning is paused: an incident" in desk.page("show quote-1")
    desk.quote.poet.resume()
    desk.quote.poet.pin(retries=1)
    assert desk("show quote-1")["experiment"]["waiting"] == "retries is pinned at 1, and again has 2"


def test_one_that_changes_is_another_one(desk: Desk) -> None:
    desk("start quote --arm again:retries=2 --metric success")
    desk.run(50)
    told = desk("change quote-1 --share again=0.2 --reason less")["experiment"]
    assert (told["id"], told["replaces"]) == ("quote-2", "quote-1")
    assert [arm["share"] for arm in told["arms"]] == [0.8, 0.2]
    assert told["rules"]["metric"] == "success"
    old = desk("show quote-1")["experiment"]
    assert old["why"].startswith("changed: share of live 0.5 → 0.8, share of again 0.5 → 0.2; it goes on as quote-2")
    with pytest.raises(ConfigurationError, match="quote-1 has ended: start another one"):
        desk("change quote-1 --share again=0.4")


@pytest.mark.parametrize(
    ("line", "kind", "said"),
    [
        ("start quot --arm a:retries=2", UnknownFunction, "did you mean"),
        ("start quote", ConfigurationError, "say at least one arm"),
        ("start quote --arm a:retires=2", ConfigurationError, "no parameter 'retires': did you mean 'retries'"),
        ("start quote --arm a:timeout=9999", ConfigurationError, "timeout must be in"),
        ("start quote --arm a:timeout", ConfigurationError, "takes name=value, got 'timeout'"),
        ("start quote --arm a:learner=basc", ConfigurationError, "no learner 'basc': did you mean 'basic'"),
        ("start quote --arm a:learner=basic,learning_rate=x", ConfigurationError, "learning_rate must be a number"),
        ("start quote --arm a:retries=2 --share b=0.2", ConfigurationError, "got 'b=0.2'"),
        ("start quote --arm a:retries=2 --share a=x", ConfigurationError, "share must be a number, got 'x'"),
        ("start quote --arm a:retries=2 --metric sucess", ConfigurationError, "did you mean 'success'"),
        ("show quote-9", ConfigurationError, "no experiment 'quote-9'"),
        ("promote quote-9 a", ConfigurationError, "no experiment 'quote-9'"),
        ("leaderboard --level 2", ConfigurationError, r"level must be in \(0, 1\)"),
        ("begin quote", UsageError, "invalid choice: 'begin'"),
        ("show", UsageError, "ID"),
        ("start quote --arm a:retries=2 --minimum-efect 0.1", UsageError, "did you mean '--minimum-effect'"),
        ("start quote --arm a:retries=2 --block 5 --by-host", UsageError, "not allowed with"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_nearest(desk: Desk, line: str, kind: Any, said: str) -> None:
    with pytest.raises(kind, match=said):
        desk(line)


def test_an_arm_that_is_what_is_live_cannot_be_promoted(desk: Desk) -> None:
    desk("start quote --arm again:retries=2 --metric success")
    with pytest.raises(ConfigurationError, match="live is what is live already"):
        desk("promote quote-1 live")
    with pytest.raises(ConfigurationError, match="quote-1 has no arm 'agan': did you mean 'again'"):
        desk("promote quote-1 agan")


def test_all_words_of_the_command_line_reach_the_rules() -> None:
    line = (
        "experiment start f --arm a:retries=1 --block 30 --metric cost --minimum-effect 0.2 --alpha 0.1 "
        "--guard-alpha 0.02 --on-harm hold --most-calls 500 --longest 2d --promote winner"
    )
    assert dict(wanted(parse(line.split(), "0")).rules) == {
        "assignment": "block",
        "block": 30.0,
        "metric": "cost",
        "minimum_effect": 0.2,
        "alpha": 0.1,
        "guard_alpha": 0.02,
        "on_harm": "hold",
        "most_calls": 500,
        "longest": 172_800.0,
        "promote": "winner",
    }
    assert dict(wanted(parse(["experiment", "start", "f", "--by-host"], "0")).rules) == {"assignment": "host"}
    assert math.isclose(wanted(parse(["experiment", "leaderboard"], "0")).level, 0.05)


def test_functions_that_cannot_be_told_apart_are_not_guessed(desk: Desk) -> None:
    @desk.house.poet(name="till.quote")
    def other() -> int:
        return 1

    other()
    desk.house.agent.flush()
    with pytest.raises(AmbiguousFunction):
        desk("start quote --arm again:retries=2")
