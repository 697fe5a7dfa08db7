"""Relations: found where planted, with confounding made visible, and not where drifts pass each other by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from poet.kernels.batch.correlation import Relation, relations
from poet.kernels.batch.dependence import fit, less, orthogonal
from poet.kernels.batch.findings import adjusted
from poet.kernels.batch.ranks import shares, thinned


def drifting(rng: np.random.Generator, n: int, keep: float) -> np.ndarray:
    """An autoregressive series of unit variance."""
    noise = rng.normal(size=n + 400)
    for place in range(1, len(noise)):
        noise[place] = keep * noise[place - 1] + math.sqrt(1 - keep * keep) * noise[place]
    return noise[400:]


def history(seed: int, n: int = 1500) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    hour = np.sort(rng.random(n)) * 14 * 24 % 24
    load = np.exp(0.6 * np.sin(2 * np.pi * (hour - 8) / 24) + 0.2 * drifting(rng, n, 0.9))
    causes = {
        "size": rng.normal(size=n),
        "batch": rng.uniform(0, 10, n),
        "cache": rng.normal(size=n),
        "workers": np.log(load) + 0.4 * rng.normal(size=n),
        "inert": rng.normal(size=n),
        "drift": np.cumsum(rng.normal(size=n)),
    }
    latency = (
        0.3 * causes["size"]
        + 0.04 * (causes["batch"] - 6) ** 2
        + 0.4 * causes["cache"] * np.sin(2 * np.pi * hour / 24)
        + 0.8 * np.log(load)
        + 0.5 * drifting(rng, n, 0.7)
    )
    return causes, {"latency": latency}, {"hour": hour, "load": load}


def by_cause(found: tuple[Relation, ...]) -> dict[str, Relation]:
    return {each.cause: each for each in found}


def test_each_kind_of_relation_is_told_for_what_it_is() -> None:
    found = by_cause(relations(*history(1)))
    assert found["size"].linear
    assert found["size"].partial.low > found["size"].raw.value > 0
    assert found["batch"].bent
    optimum = found["batch"].optimum
    assert optimum is not None
    assert not optimum.highest
    assert optimum.where.low <= 6 <= optimum.where.high
    assert optimum.gain.low > 0
    change = next(each for each in found["cache"].changes if each.confounder == "hour")
    assert found["cache"].varies
    assert change.lowest.high < 0 < change.highest.low
    assert 15 < change.lowest_at < 21
    assert 3 < change.highest_at < 9
    assert not found["inert"].found
    assert not found["drift"].found


def test_confounding_is_made_visible() -> None:
    found = by_cause(relations(*history(2)))["workers"]
    assert not found.found
    assert found.raw.low > 0.1
    assert found.partial.low < 0 < found.partial.high
    assert found.explained_by == "load"
    assert abs(found.held.value) < 0.1


def test_an_effect_is_in_units_of_the_outcome() -> None:
    rng = np.random.default_rng(5)
    x = rng.uniform(0, 1, 4000)
    y = 2.0 * x + 0.3 * rng.normal(size=4000)
    found = relations({"x": x}, {"y": y})[0]
    assert found.effect.low < 1.6 < found.effect.high
    assert found.high - found.low == pytest.approx(0.8, abs=0.05)


def test_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, 500).astype(float)
    y = x + 4 * rng.normal(size=500)
    assert relations({"x": x}, {"y": y})[0].raw.value == pytest.approx(spearmanr(x, y).statistic, abs=1e-12)


PAIRS = [("walk", 0.95), ("steps", 0.9), ("steps", 0.0), ("ar", 0.98), ("white", 0.9)]


@pytest.mark.parametrize(("kind", "keep"), PAIRS)
def test_rows_that_resemble_their_neighbours_make_no_discoveries(kind: str, keep: float) -> None:
    """A 5 % test, 100 times: 12 would be 1 in 200. The usual test says yes to most of the slow ones."""
    rng = np.random.default_rng(int(100 * keep) + len(kind))
    below = 0
    for _ in range(100):
        n = 400
        if kind == "walk":
            x = np.cumsum(rng.normal(size=n))
        elif kind == "steps":
            x = np.repeat(rng.normal(size=4), n // 4)
        else:
            x = drifting(rng, n, 0.98 if kind == "ar" else 0.0)
        z, y = (less(shares(each) - 0.5, np.full((n, 1), n**-0.5)) for each in (x, drifting(rng, n, keep)))
        below += fit(z[:, None], y).p() < 0.05
    assert below <= 11


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """90 % of 200 within 4 standard deviations: 83 to 97 %; input and errors both drift."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        n = 300
        x, y = drifting(rng, n, 0.8), drifting(rng, n, 0.8)
        mean = np.full((n, 1), n**-0.5)
        z = less(x, mean)[:, None]
        _, low, high = fit(z, less(0.5 * x + y, mean)).interval([1.0])
        held += low <= 0.5 <= high
    assert 166 <= held <= 194


BAD = {
    "empty": np.empty(0),
    "one row": np.ones(1),
    "constant": np.ones(200),
    "unknown": np.full(200, math.nan),
    "few": np.arange(20.0),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_says_nothing_is_told_so(kind: str) -> None:
    x = BAD[kind]
    y = np.arange(len(x), dtype=float)
    for found in (*relations({"x": x}, {"y": y}), *relations({"y": y}, {"x": x}, {"c": x})):
        assert not found.found
        assert found.note


def test_causes_that_cannot_be_told_apart_say_so() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=600)
    y = x + rng.normal(size=600)
    found = by_cause(relations({"a": x, "b": x + 0.01 * rng.normal(size=600)}, {"y": y}))
    assert found["a"].linear
    assert found["a"].twins == ("b",)


def test_unknown_values_leave_out_rows_only() -> None:
    causes, outcomes, confounders = history(4)
    causes["size"][::9] = math.nan
    outcomes["latency"][1::9] = math.nan
    confounders["load"][2::9] = math.nan
    found = by_cause(relations(causes, outcomes, confounders))
    assert found["size"].linear
    assert found["size"].n < found["batch"].n < 1500
    assert not found["workers"].linear or abs(found["workers"].partial.value) < 0.3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(width=32), st.integers(0, 2), st.floats(width=32)), max_size=80))
def test_any_input_gives_figures_within_range(rows: list[tuple[float, int, float]]) -> None:
    x, c, y = (np.array([row[k] for row in rows], float) for k in range(3))
    (found,) = relations({"x": x}, {"y": y}, {"c": c})
    for figure in (found.raw, found.partial):
        assert math.isnan(figure.value) or -1 <= figure.low <= figure.value <= figure.high <= 1
    assert math.isnan(found.p) or 0 <= found.p <= found.q <= 1


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=40))
def test_shares_are_mid_ranks(values: list[int]) -> None:
    expected = [(sum(b < a for b in values) + 0.5 * sum(b == a for b in values)) / len(values) for a in values]
    assert shares(values).tolist() == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30))
def test_shares_of_censored_values_average_one_half_and_keep_order(rows: list[tuple[int, bool]]) -> None:
    """As Prentice's scores do, where the largest value is no censored one."""
    values, cut = [row[0] for row in rows] + [7], [row[1] for row in rows] + [False]
    found = shares(values, cut)
    assert float(found.mean()) == pytest.approx(0.5)
    for a in range(len(values)):
        for b in range(len(values)):
            if values[a] < values[b] and not cut[a]:
                assert found[a] <= found[b] + 1e-12


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.01, 0.5))
def test_adjusted_is_the_step_up_procedure(p: list[float], rate: float) -> None:
    ordered = sorted(p)
    passing = [value for place, value in enumerate(ordered, start=1) if value <= rate * place / len(p)]
    limit = max(passing, default=-1.0)
    q = adjusted(p)
    for value, each in zip(p, q, strict=True):
        if abs(each - rate) > 1e-9:
            assert (each <= rate) == (value <= limit)


def test_thinned_rows_are_in_order_and_one_of_each_span() -> None:
    rows = thinned(1003, 100)
    assert rows is not None
    assert (np.diff(rows) > 0).all()
    assert rows[0] < 11
    assert rows[-1] >= 992
    assert thinned(5, 100) is None


def test_an_orthonormal_basis_spans_what_it_was_made_of() -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(50, 4))
    basis = orthogonal(np.column_stack((columns, columns[:, 0] * 1e6)))
    assert basis.shape == (50, 4)
    assert np.allclose(basis.T @ basis, np.eye(4))
    assert np.allclose(less(columns, basis), 0.0)


def test_wrong_input_is_named() -> None:
    with pytest.raises(ValueError, match="one length"):
        relations({"x": np.ones(3)}, {"y": np.ones(4)})
    with pytest.raises(ValueError, match="rate must be in"):
        relations({}, {}, rate=1.0)
    with pytest.raises(ValueError, match="least must be in"):
        relations({}, {}, least=-0.1)
    with pytest.raises(ValueError, match="censored names 'z'"):
        relations({"x": np.ones(3)}, {"y": np.ones(3)}, censored={"z": np.ones(3)})
