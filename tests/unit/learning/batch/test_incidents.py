from __future__ import annotations

import numpy as np

from poet.learning.batch.analysis import analyse
from poet.learning.batch.asked import Asked
from poet.learning.batch.calls import of_executions, of_rows
from poet.learning.batch.incidents import kinds_of
from poet.model.execution import Attempt, Execution, Outcome
from poet.model.insight import Insight
from poet.model.objective import Objective

START, HOUR = 1_700_438_400.0, 3600.0
ASKED = Asked(Objective(latency_cost=0.1))


def history(error: str, outcome: Outcome = Outcome.ERROR, *, region: bool = False, seed: int = 1) -> list[Execution]:
    """Two weeks, in eight hours of which half of all calls, or of one region's, end in ``error``."""
    rng = np.random.default_rng(seed)
    made = []
    for i, at in enumerate(np.sort(START + rng.uniform(0, 336 * HOUR, 12_000)).tolist()):
        where = str(rng.choice(["eu", "us", "asia"]))
        hit = 200 * HOUR < at - START < 208 * HOUR and (where == "us" or not region)
        name, end = "", Outcome.SUCCESS
        if hit and rng.random() < 0.5:
            name, end = error, outcome
        elif rng.random() < 0.02:
            name, end = str(rng.choice(["ValueError", "OSError"])), Outcome.ERROR
        seconds = float(rng.lognormal(-2, 0.3))
        made.append(
            Execution("w", i, at, seconds, end, 1, (Attempt(end, seconds),), name, context=(("region", where),))
        )
    return made


def incident(executions: list[Execution]) -> Insight:
    found = analyse("f", of_executions(executions, {}), ASKED).insights
    (only,) = [each for each in found if each.kind == "incident" and each.subject == "failures"]
    return only


def test_an_incident_says_which_kind_of_failure_it_was() -> None:
    told = incident(history("ConnectError"))
    assert told.facts["failure 1"] == "ConnectError"
    assert "failure 2" not in told.facts
    assert "of it was ConnectError" in told.sentence
    assert "ConnectError" in told.action


def test_where_a_context_explains_it_both_are_told() -> None:
    told = incident(history("ConnectError", region=True))
    assert told.facts["slice 1"] == "region=us"
    assert told.facts["failure 1"] == "ConnectError"
    assert "region us" in told.action


def test_failures_without_a_type_go_by_their_outcome() -> None:
    told = incident(history("", Outcome.TIMEOUT))
    assert told.facts["failure 1"] == "timeout"


def test_kinds_of_rows_and_of_executions_have_names() -> None:
    rows = [
        {"function": "f", "timestamp": float(i), "success": not name, "error_type": name or None}
        for i, name in enumerate(["", "KeyError", "", "ReadTimeout"])
    ]
    names, codes = kinds_of(of_rows([*rows, {"function": "f", "timestamp": 9.0, "success": False}])[0]["f"].calls)
    assert [names[code] if code >= 0 else "" for code in codes.tolist()] == ["", "KeyError", "", "ReadTimeout", "error"]
