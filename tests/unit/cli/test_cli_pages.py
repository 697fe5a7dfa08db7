from __future__ import annotations

import io
import math
from datetime import UTC

import pytest
from rich.console import Console

from poet.cli import commands, rollback, views
from poet.cli.commands import Asked
from poet.cli.pages import show_page
from poet.cli.rollback import Rollback
from poet.cli.views import Document
from poet.learning.online_learner import OnlineLearner
from poet.model.drawing import Bin
from poet.model.explanation import Explanation
from poet.model.function import FunctionKey
from poet.sim.play import play
from poet.sim.scenarios import SCENARIOS
from poet.stores.memory import MemoryStore
from poet.testing.learners import Learned
from unit.cli import shop
from unit.cli.shop import NOW, PRICES


def page(doc: Document, width: int = 80) -> str:
    stream = io.StringIO()
    show_page(doc, Console(file=stream, width=width, markup=False, highlight=False, emoji=False), UTC)
    return stream.getvalue()


def filled() -> MemoryStore:
    clock = shop.clock()
    store = MemoryStore(clock=clock)
    shop.fill(store, clock)
    return store


def explained(picture: Explanation) -> Document:
    store = filled()
    record = next(record for record in store.functions() if record.key == PRICES)
    return views.explain(record, store.standing(PRICES), picture, short="prices.fetch", now=NOW)


def test_explain_draws_the_timeout_among_the_quantiles() -> None:
    lines = page(explained(shop.picture())).splitlines()
    bars = [line.split() for line in lines if "█" in line]
    assert [words[0] for words in bars] == ["50", "90", "99", "timeout"]
    lengths = [line.count("█") for line in lines if "█" in line]
    assert lengths == sorted(lengths)


def pictured() -> Document:
    """The picture with its drawing."""
    picture = shop.picture()
    assert picture.live is not None
    live = picture.live
    timeouts = tuple(
        live._replace(values={**live.values, "timeout": 0.2 * 2**k}, utility=live.utility._replace(value=0.9 - k / 20))
        for k in range(6)
    )
    bins = (Bin(0.1, 0.3, 0.6), Bin(0.3, 0.5, 0.3), Bin(0.5, 0.9, 0.09))
    return explained(picture._replace(spread=bins, timeouts=timeouts))


def test_explain_draws_answers_and_the_worth_of_timeouts_over_one_axis() -> None:
    lines = page(pictured()).splitlines()
    first = next(i for i, line in enumerate(lines) if line.strip().startswith("answers "))
    answers, worth, axis = lines[first : first + 3]
    labels = " ".join(lines)
    for label in ("p50 200 ms", "p90 400 ms", "p99 800 ms", "timeout 843 ms"):
        assert label in labels
    assert "█" in answers
    assert "█" in worth
    assert axis.count("┴") >= 3
    assert "best at about 200 ms" in labels
    assert "1.2 % not answered within 30 s" in labels


@pytest.mark.parametrize("width", [40, 60, 80, 130, 250])
def test_the_picture_fits_the_terminal(width: int) -> None:
    lines = [line.rstrip() for line in page(pictured(), width).splitlines()]
    drawn = [line for line in lines if "─" in line or "answers" in line or "timeout 843 ms" in line]
    assert len(drawn) >= 3
    assert max(map(len, drawn)) <= min(width, 110)


def test_the_picture_is_data_for_programs() -> None:
    doc = views.plain(pictured())
    assert doc["spread"][0] == {"low": 0.1, "high": 0.3, "share": 0.6}
    assert [row["values"]["timeout"] for row in doc["timeouts"]] == sorted(
        row["values"]["timeout"] for row in doc["timeouts"]
    )
    assert doc["timeouts"][0]["utility"]["value"] == 0.9


def test_explain_compares_every_neighbour_with_the_live_values() -> None:
    said = page(explained(shop.picture()))
    assert "1.2 % not answered within 30 s" in said
    assert "transient 8.0 %" in said
    assert "learned from 100 calls" in said
    for figures in ("0.880 to 0.920", "live", "+0.010", "-0.200", "99.5 %", "3.2 s", "1.40"):
        assert figures in said
    assert "A shorter timeout would cut off answers that come." in said


def test_bars_of_spans_far_apart_say_that_they_show_magnitudes() -> None:
    assert "order of magnitude" in page(explained(shop.picture()._replace(latency={0.5: 0.001, 0.99: 40.0})))


def test_explain_of_nothing_says_how_many_calls_there_are() -> None:
    said = page(explained(Explanation(3, None, {}, math.nan, 0.0, {}, None, (), ("Nothing to compare yet.",))))
    assert "too little is known yet" in said
    assert "100 calls recorded, 3 of them" in " ".join(said.split())
    assert "Nothing to compare yet." in said
    assert "how long answers take" not in said


@pytest.mark.parametrize("width", [60, 80, 123, 124, 200])
def test_long_names_are_folded_and_never_cut(width: int) -> None:
    store = filled()
    key = FunctionKey("company.department.subsystem", "A_rather_long_class_name_of_age.method_without_end", "f" * 8)
    store.register(shop.record(key))
    said = page(commands.status(store, Asked(now=NOW)), width)
    assert max(map(len, said.splitlines())) <= width
    column = "".join(line.split(" ")[0] for line in said.splitlines())
    assert "method_without_end" in column


def test_status_tells_moments_by_their_distance() -> None:
    said = page(commands.status(filled(), Asked(now=NOW)))
    assert "1 h ago" in said
    assert "1 seen in the last minute, 2 within a day" in said
    assert "7 executions" in said
    assert "2, the last: store: disk is full (process 4712 on depot, 10 m ago)" in said


def test_show_tells_hedges_shed_calls_and_features() -> None:
    store = filled()
    store.append(PRICES, shop.fresh())
    said = page(commands.show(store, "prices.fetch", Asked(now=NOW)), 124)
    assert "3 calls, in the last hour: 3 requests, 1 hedged; 1 call not made, as a breaker was open" in said
    lines = [" ".join(line.split()) for line in said.splitlines() if "m ago" in line and "last call" not in line]
    assert lines == [
        "1 m ago timeout PoetTimeout 1.25 s 1 request",
        "3 m ago shed CircuitOpen 0 s 0 requests region eu-west-1",
        "5 m ago success 750 ms 2 requests, 1 hedged region eu-west-1, size 12000, cached False, load 0.1235",
    ]


def test_show_says_that_calls_cannot_be_read() -> None:
    doc = commands.show(filled(), "prices.fetch", Asked(now=NOW)) | {"recent": None, "last_calls": None}
    said = page(doc)
    assert "the calls of the last hour cannot be read; poet doctor says why" in " ".join(said.split())
    assert "newest calls" not in said


def test_a_page_without_features_hedges_or_shed_calls_does_not_speak_of_them() -> None:
    for said in (page(commands.show(filled(), name, Asked(now=NOW))) for name in ("prices.fetch", "nightly report")):
        for word in ("features", "hedged", "not made"):
            assert word not in said
    assert "newest calls" not in said
    said = page(commands.status(filled(), Asked(now=NOW)))
    assert not any(line.startswith(("shed", "hedged", "unread")) for line in said.splitlines())


def test_features_cannot_steer_a_terminal_and_fit_the_page() -> None:
    store = filled()
    odd = (("re\x1b[31mgion\n", "x" * 200), ("", ""))
    store.append(PRICES, [shop.fresh()[0]._replace(context=odd)])
    said = page(commands.show(store, "prices.fetch", Asked(now=NOW)))
    assert "\x1b" not in said
    assert max(map(len, said.splitlines())) <= 80
    assert "– –" in said


def test_status_names_the_functions_that_hedge_shed_or_cannot_be_read() -> None:
    store = filled()
    store.append(PRICES, shop.fresh())
    doc = commands.status(store, Asked(now=NOW))
    doc["functions"][3]["recent"] = None
    said = page(doc, 124)
    assert "shed      prices.fetch 1 of 3 calls: not made, as a breaker was open or a limit reached" in said
    assert "hedged    prices.fetch 3 requests, 1 hedged" in said
    assert "unread    stock.fetch: the calls of the last hour cannot be read; poet doctor says why" in said


def test_history_is_told_in_the_zone_asked_for() -> None:
    said = page(commands.history(filled(), "prices.fetch", Asked(now=NOW, last=2)))
    assert "2023-11-14 23:13:20" in said
    assert "1 older entries" not in said
    assert "1 older entry is left out" in said


def test_a_command_to_type_next_is_quoted_for_the_shell() -> None:
    said = page(rollback.run(filled(), Rollback(now=NOW, function="prices.fetch")))
    assert "poet resume prices.fetch " in said
    assert "poet resume 'nightly report' " in page(commands.pause(filled(), "nightly report", Asked(now=NOW)))


def test_pages_tell_whether_learning_has_converged_and_whether_it_listens() -> None:
    store = filled()
    learner = OnlineLearner(objective=SCENARIOS["fast_api"].objective)
    play(SCENARIOS["fast_api"], Learned(learner), 0, 600)
    state = learner.dump()
    store.exchange(PRICES, "w1", 1, lambda _: state)
    shown = commands.show(store, "prices.fetch", Asked(now=NOW))
    assert shown["converged"] is True
    assert shown["listening"] == 0
    assert "further learning is worth less than it costs" in page(shown, 124)
    row = next(row for row in commands.status(store, Asked(now=NOW))["functions"] if row["name"] == shown["name"])
    assert (row["converged"], row["listening"]) == (True, 0)
    assert "converged" in page(commands.status(store, Asked(now=NOW)))
    listening = shown | {"converged": False, "listening": 41}
    said = " ".join(page(listening, 124).split())
    assert "for some 41 calls more: no retries and no copies are sent" in said
    assert "not yet, or not any more" in said
    told = page(explained(shop.picture()._replace(listening=1)))
    assert "listening for some 1 call more" in told


def test_a_function_whose_state_tells_nothing_has_no_line_about_it() -> None:
    shown = commands.show(filled(), "prices.fetch", Asked(now=NOW))
    assert (shown["converged"], shown["listening"]) == (None, 0)
    assert "further learning" not in page(shown)
