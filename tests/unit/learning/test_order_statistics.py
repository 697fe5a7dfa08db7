"""Our own small versions of numpy's give what numpy's give, to the bit."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from poet.learning.choice import quantile
from poet.learning.guesses import distinct

VALUES = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=200) | st.lists(st.integers(0, 6), min_size=1, max_size=50)


@given(VALUES, st.floats(0, 1))
def test_a_quantile_is_the_one_of_numpy(values: list[float], share: float) -> None:
    assert quantile(sorted(values), share) == np.quantile(values, np.array([share]))[0]


@given(VALUES)
def test_distinct_values_and_their_places_are_those_of_numpy(values: list[float]) -> None:
    once, place = distinct(np.array(values))
    expected, places = np.unique(values, return_inverse=True)
    assert once.tolist() == expected.tolist()
    assert place.tolist() == places.tolist()


def test_a_look_at_what_was_learned_loads_no_masked_arrays() -> None:
    """They are 1 MB of code that nothing here needs."""
    code = (
        "import sys\n"
        "from poet.learning.online_learner import OnlineLearner\n"
        "from poet.model.execution import Attempt, Execution, Outcome\n"
        "from poet.model.tunable import Integer, Real, Space\n"
        "delay = Real(0.001, 120.0, log=True)\n"
        "space = Space(timeout=delay, retries=Integer(0, 5), hedges=Integer(0, 2), hedge_delay=delay)\n"
        "learner = OnlineLearner(space=space)\n"
        "live = {'timeout': 30.0, 'retries': 3, 'backoff': 0.1, 'hedges': 0, 'hedge_delay': 5.0}\n"
        "for n in range(300):\n"
        "    seconds = 0.1 if n % 10 else 3.0\n"
        "    attempts = (Attempt(Outcome.SUCCESS, seconds),)\n"
        "    learner.update([Execution('w', n, 0.0, seconds, Outcome.SUCCESS, 1, attempts)])\n"
        "    suggestion = learner.suggest(live)\n"
        "    live = live if suggestion is None else {**live, **suggestion.values}\n"
        "learner.explain(live)\n"
        "assert live['timeout'] != 30.0\n"
        "print('numpy.ma' in sys.modules)\n"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.strip() == "False"
