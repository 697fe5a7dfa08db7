"""The old rules of thumb, made right: no statistics, no numpy, a nudge for every ten executions."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from poet.learning.notes import was_shed
from poet.model.execution import Execution, Outcome
from poet.model.explanation import Explanation
from poet.model.tunable import Integer, Real, Space, Tunable, Value
from poet.seams import Probe, Suggestion

ROUND = 10  # executions that are judged together
MOST_RETRIES = 5
SLOW, LONGER, LONGEST = 0.8, 1.2, 120.0  # answers in over 0.8 of the timeout: 1.2 times that, at most 120 s
FAST, SHORTER, SHORTEST = 0.3, 0.9, 5.0  # answers in under 0.3 of it: 0.9 times that, at least 5 s

_MAGIC = b"POETbas1"
_NEWS_MAGIC = b"POETbac1"
_SPACE = Space(timeout=Real(0.001, LONGEST, log=True), retries=Integer(0, MOST_RETRIES))
_BLAMELESS = (Outcome.REFUSED, Outcome.CANCELLED)  # failures that neither a retry nor a longer timeout could mend


class BasicRule:
    """Nudges ``timeout`` and ``retries`` by what most of the last ten executions call for; a ``poet.seams.Learner``.

    Where most of them failed, one retry more, up to 5; where most were answered in over 0.8 of the timeout, 1.2 times
    that, up to 120 s; where most took under 0.3 of it, 0.9 times that, down to 5 s. Each nudge starts from the live
    values, and none leaves ``space``. Deterministic: it has no dice.
    """

    scores = False  # that come later

    def __init__(self, *, space: Space | None = None, declared: Mapping[str, Value] | None = None) -> None:
        """space: hard bounds; what is missing there is not tuned. declared: values for what ``live`` lacks."""
        self._space = space if space is not None else _SPACE
        self._declared = dict(declared or {})
        self._seen = self._untold = 0
        # seconds of the answering attempt of each; -1: failed; -2: failed through no fault of ours
        self._round: list[float] = []
        self._judged = False  # whether a round was judged that others may still hold for open

    def update(self, executions: Sequence[Execution]) -> None:
        """Fold them in, oldest first. Never changes them."""
        made = [execution for execution in executions if not was_shed(execution)]
        self._seen += len(made)
        self._untold += len(made)
        self._round = [*self._round, *map(_verdict, made[-ROUND:])][-ROUND:]

    def rescored(self, executions: Sequence[Execution], before: Sequence[Execution]) -> None:
        """Scores say nothing of timeouts and retries: nothing changes."""

    def due(self) -> int:
        """Whether ten executions have come in since the last nudge."""
        return int(len(self._round) >= ROUND)

    def suggest(self, live: Mapping[str, Value]) -> Suggestion | None:
        """A nudge where ten executions have come in since the last and most of them call for the same, else None."""
        if len(self._round) < ROUND:
            return None
        verdicts, self._round, self._judged = self._round, [], True
        timeout, retries = self._value(live, "timeout", 30.0), self._value(live, "retries", 3)
        failed = sum(seconds == -1 for seconds in verdicts)
        slow = sum(seconds > SLOW * timeout for seconds in verdicts)
        fast = sum(0 <= seconds < FAST * timeout for seconds in verdicts)
        if failed > ROUND / 2 and retries < MOST_RETRIES:
            return self._nudge(live, "retries", int(retries) + 1, f"{failed} of the last {ROUND} calls failed")
        if slow > ROUND / 2 and timeout < LONGEST:
            why = f"{slow} of the last {ROUND} answers took over {SLOW:.0%} of the timeout"
            return self._nudge(live, "timeout", min(timeout * LONGER, LONGEST), why)
        if fast > ROUND / 2 and timeout > SHORTEST:
            why = f"{fast} of the last {ROUND} answers took under {FAST:.0%} of the timeout"
            return self._nudge(live, "timeout", max(timeout * SHORTER, SHORTEST), why)
        return None

    def probe(self) -> Probe:
        """It never probes."""
        return Probe()

    def explain(self, live: Mapping[str, Value]) -> Explanation:
        """It has no picture of the service; only the rule itself can be told."""
        timeout, retries = self._value(live, "timeout", 30.0), self._value(live, "retries", 3)
        sentences = (
            f"The basic rule follows what most of {ROUND} calls at a time call for; it has no forecast.",
            f"If most fail, retries go from {int(retries)} to at most {MOST_RETRIES}.",
            f"If most answers take over {SLOW * timeout:.3g} s, the timeout of {timeout:.3g} s grows by a fifth; "
            f"if most take under {FAST * timeout:.3g} s, it shrinks by a tenth, down to {SHORTEST:g} s.",
        )
        return Explanation(self._seen, None, {}, math.nan, math.nan, {}, None, (), sentences)

    def dump(self) -> bytes:
        """All it knows."""
        return _MAGIC + json.dumps([self._seen, self._round], allow_nan=False).encode()

    def load(self, state: bytes) -> None:
        """Take up where ``dump`` left off. Raises ValueError, changing nothing, where ``state`` is of no such kind."""
        try:
            seen, verdicts = _read(state)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"this is no state of a basic rule ({error}); it was left unread") from error
        self._seen, self._round = seen, verdicts
        self._untold, self._judged = 0, False

    def contribution(self) -> bytes | None:
        """What it has seen since the last one was handed out, or since ``load``; None: nothing."""
        if not self._untold and not self._judged:
            return None
        verdicts = self._round[-self._untold :] if self._untold else []
        told = [self._untold, verdicts, self._judged]
        self._untold, self._judged = 0, False
        return _NEWS_MAGIC + json.dumps(told, allow_nan=False).encode()

    def merged(self, shared: bytes | None, contribution: bytes) -> bytes:
        """``shared``, what all know together as ``dump`` writes it, with a contribution of any of them folded in.

        Whoever judges ten executions has judged them for all: no nudge rests on an execution that led to another one.
        None: nobody knows anything yet. Raises ValueError where one of the two is of no such kind.
        """
        pool = BasicRule(space=self._space, declared=self._declared)
        if shared is not None:
            pool.load(shared)
        try:
            seen, verdicts, judged = _read_news(contribution)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"this is no contribution to a basic rule ({error})") from error
        pool._seen += seen
        pool._round = [*([] if judged else pool._round), *verdicts][-ROUND:]
        return pool.dump()

    def _value(self, live: Mapping[str, Value], name: str, default: float) -> float:
        for value in (live.get(name), self._declared.get(name)):
            if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
                return float(value)
        return default

    def _nudge(self, live: Mapping[str, Value], name: str, value: float, why: str) -> Suggestion | None:
        tunable: Tunable | None = self._space.get(name)
        if not isinstance(tunable, Real | Integer):
            return None
        before, after = live.get(name), tunable.clip(value)
        if after == before:
            return None
        shown = f"{before:.4g}" if isinstance(before, float) else str(before)
        return Suggestion({**live, name: after}, f"{name} {shown} -> {after:.4g}: {why}", {}, self._seen)


def _read(state: bytes) -> tuple[int, list[float]]:
    """What ``dump`` wrote. Raises ValueError or TypeError where it is something else."""
    if state[: len(_MAGIC)] != _MAGIC:
        raise ValueError("it does not begin like one")
    seen, verdicts = json.loads(state[len(_MAGIC) :])
    return _checked(seen, verdicts)


def _read_news(contribution: bytes) -> tuple[int, list[float], bool]:
    """What ``contribution`` wrote. Raises ValueError or TypeError where it is something else."""
    if contribution[: len(_NEWS_MAGIC)] != _NEWS_MAGIC:
        raise ValueError("it does not begin like one")
    seen, verdicts, judged = json.loads(contribution[len(_NEWS_MAGIC) :])
    if type(judged) is not bool:
        raise TypeError(f"expected true or false, got {judged!r}")
    return (*_checked(seen, verdicts), judged)


def _checked(seen: object, verdicts: object) -> tuple[int, list[float]]:
    if type(seen) is not int or not 0 <= seen <= 2**53 or type(verdicts) is not list or len(verdicts) > ROUND:
        raise ValueError("its counts are out of range")
    if not all(type(seconds) is float and -2 <= seconds < math.inf for seconds in verdicts):
        raise ValueError("its seconds are no numbers")
    return seen, verdicts


def _verdict(execution: Execution) -> float:
    if execution.outcome.good:
        seconds = next((a.seconds for a in reversed(execution.attempts) if not a.hedge), execution.seconds)
        return float(seconds) if 0 <= seconds < math.inf else -2.0
    return -2.0 if execution.outcome in _BLAMELESS else -1.0
