"""A draw's number tells its values, in every process and in any order, and no value leaves its bounds."""

from __future__ import annotations

import random
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from poet.model.exploration import SPREAD, explored, uniform
from poet.model.function import FunctionKey
from poet.model.tunable import Value

KEY = FunctionKey("shop", "fetch", "0a1b2c3d")
VALUES: dict[str, Value] = {"timeout": 2.0, "retries": 3, "heat": 0.0, "model": "small", "hedge": True, "free": 7.0}
SPACE = {"timeout": (0.1, 10.0), "retries": (0, 20), "heat": (-1.0, 1.0), "model": (0, 1), "hedge": (0, 1)}


@given(st.integers(0, 2**62 - 1), st.integers(1, 2**31))
def test_the_same_number_draws_the_same_values_and_none_leaves_its_bounds(draw: int, version: int) -> None:
    values = explored(VALUES, SPACE, KEY, version, draw)
    assert values == explored(VALUES, SPACE, KEY, version, draw)
    assert list(values) == list(VALUES)
    assert {name: type(value) for name, value in values.items()} == {n: type(v) for n, v in VALUES.items()}
    assert (values["model"], values["hedge"], values["free"]) == ("small", True, 7.0)
    assert 0.1 <= 2.0 / 100**SPREAD - 1e-9 <= float(values["timeout"]) <= 2.0 * 100**SPREAD + 1e-9
    assert 1 <= int(values["retries"]) <= 5
    assert abs(float(values["heat"])) <= 2 * SPREAD + 1e-9
    if not draw:
        assert values == VALUES


@given(
    st.floats(-1e6, 1e6) | st.integers(-(10**6), 10**6),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
    st.integers(1, 2**62 - 1),
)
def test_bounds_are_hard_whatever_they_are(value: float, low: float, width: float, draw: int) -> None:
    high = low + width
    (drawn,) = explored({"x": value}, {"x": (low, high)}, KEY, 1, draw).values()
    assert type(drawn) is type(value)
    if isinstance(value, float) or any(low <= whole <= high for whole in range(int(low) - 1, int(low) + 2)):
        assert low <= float(drawn) <= high


def test_other_versions_functions_draws_and_names_draw_other_values() -> None:
    other = KEY._replace(fingerprint="11111111")
    places = [(KEY, 1, 1, "a"), (KEY, 1, 1, "b"), (KEY, 1, 2, "a"), (KEY, 2, 1, "a"), (other, 1, 1, "a")]
    assert len({uniform(*place) for place in places}) == len(places)


def test_draws_are_uniform() -> None:
    """Kolmogorov and Smirnov's distance of 4000 draws; beyond .0308 in one of a thousand honest generators."""
    drawn = sorted(uniform(KEY, 1, draw, "x") for draw in range(1, 4001))
    assert max(abs(x - (i + 0.5) / 4000) for i, x in enumerate(drawn)) < 0.0308


def test_the_ends_of_a_whole_numbers_reach_are_as_likely_as_the_rest() -> None:
    drawn = [explored({"n": 10}, {"n": (0, 20)}, KEY, 1, draw)["n"] for draw in range(1, 5001)]
    counts = [drawn.count(n) for n in (8, 9, 10, 11, 12)]
    assert sum(counts) == 5000
    assert max(abs(count - 1000) for count in counts) < 4.5 * (5000 * 0.2 * 0.8) ** 0.5  # one in 30,000 honest ones


def test_another_process_draws_the_same() -> None:
    draws = random.Random(1).sample(range(1, 2**62), 20)
    script = (
        "from poet.model.exploration import explored; from poet.model.function import FunctionKey;"
        f"print([explored({VALUES!r}, {SPACE!r}, FunctionKey(*{tuple(KEY)!r}), 3, draw) for draw in {draws!r}])"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.strip() == repr([explored(VALUES, SPACE, KEY, 3, draw) for draw in draws])
