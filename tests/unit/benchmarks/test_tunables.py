from __future__ import annotations

import numpy as np
import pytest
from benchmarks import tunables
from benchmarks.tunable_peers import OURS, PEERS, lacks, rival, serves
from benchmarks.tunable_problems import CONTEXTUAL, DRIFTING, FRESH, SYNTHETIC, Codecs, Table, problem
from benchmarks.tunables import Life, figures, life, rows

NAMES = [*SYNTHETIC, *CONTEXTUAL, *DRIFTING, *FRESH]


@pytest.mark.parametrize("name", NAMES)
def test_no_score_is_above_the_best_and_the_start_is_in_the_space(name: str) -> None:
    task, dice = problem(name, 3), rival("random", problem(name, 3), 0)
    assert task.space.check(task.start) == dict(task.start)
    for t in (0, 200):
        for _ in range(60):
            context = task.context(t)
            assert task.truth(dice.suggest(()), t, context) <= task.best(t, context) + 1e-3  # of a grid, for ``mixed``


def test_the_same_seed_is_the_same_problem() -> None:
    one, two, other = problem("mixed", 1), problem("mixed", 1), problem("mixed", 2)
    assert [one.draw(one.start, t, ()) for t in range(5)] == [two.draw(two.start, t, ()) for t in range(5)]
    assert one.best(0, ()) != other.best(0, ())


def test_the_mean_regret_of_the_defaults_is_that_of_the_evidence() -> None:
    """0.287 over six problems and four seeds: what the bars were set beside."""
    lost = [(p := problem(name, seed)).best(0, ()) - p.truth(p.start, 0, ()) for name in SYNTHETIC for seed in range(4)]
    assert np.mean(lost) == pytest.approx(0.287, abs=0.001)


def test_tables_are_snapped_to_the_nearest_row() -> None:
    grid = np.array([[float(a), float(b), float(10**c)] for a in (0, 1) for b in (1, 2, 4) for c in (0, 1, 2)])
    scores = np.arange(18) / 17
    table = Table("small", grid, scores, 0)
    values = dict(zip(table.space, (1.0, 3.9, 80.0), strict=True))
    assert table.truth(values, 0, ()) == 1.0
    assert table.best(0, ()) == 1.0
    codecs = Codecs("small", [("a", 1, 1.0), ("a", 9, 4.0), ("b", -1, 2.0)], 0)
    assert codecs.truth({"codec": "a", "effort": 0.2}, 0, ()) == codecs.best(0, ()) == 1.0
    assert codecs.truth({"codec": "a", "effort": 0.9}, 0, ()) < codecs.truth({"codec": "b", "effort": 0.9}, 0, ())


@pytest.mark.parametrize("name", [*OURS, *PEERS])
def test_whoever_is_here_lives_and_gives_figures(name: str) -> None:
    if lacks(name):
        assert "no " in lacks(name) or "not installed" in lacks(name)
        return
    if not serves(name, "sphere2"):
        assert name in OURS
        return
    own = life("sphere2", name, 0, 50)
    assert len(own.regret) == 2
    assert len(own.simple) == 1
    if name == "default":
        assert own.regret[0] == pytest.approx(own.simple[0])
        assert own.worse == 0


def test_bars_are_held_against_what_a_user_gets() -> None:
    lives = [
        Life(name, tuner, seed, (0.2, 0.2, 0.2, regret), (0.1, 0.1, 0.1), 0.0, 1.0)
        for name in ("sphere2", "mixed")
        for tuner, regret in ((tunables.GAUSSIAN, 0.1), ("default", 0.3))
        for seed in (0, 1)
    ]
    assert figures(lives, tunables.GAUSSIAN, ("sphere2", "mixed")).regret[-1] == pytest.approx(0.1)  # type: ignore[union-attr]
    told = {row.what: row.holds for row in rows(lives)}
    assert told[f"synthetic: mean regret of {tunables.GAUSSIAN} over the first 300"] is True
    assert told[f"synthetic: mean regret of {tunables.GAUSSIAN} over the first 100"] is False
