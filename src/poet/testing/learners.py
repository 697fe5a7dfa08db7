"""The laws of a learner, to be run by whoever writes one."""

from __future__ import annotations

import math
import pickle
import random
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from poet.model.contexts import by_cell, cells, conditions, parts
from poet.model.execution import Attempt, Context, Execution, Outcome
from poet.model.tunable import Integer, Real, Space, Value
from poet.seams import Learner, Suggestion

LIVE: Mapping[str, Value] = {"timeout": 30.0, "retries": 3, "backoff": 0.1}
BOUNDS = Space(timeout=Real(0.001, 120.0, log=True), retries=Integer(0, 5))
MOST_BYTES = 8192  # of a learner's state
_OPERATIONAL = (*LIVE, "hedges", "hedge_delay")
MOST_PER_CELL = 4096  # bytes more for each context that has values of its own

_NO_STATES = (b"", b"\0", b"POET", b"{}", b"[]", b"null", bytes(range(256)), b"\x78\x9c" + bytes(64))


Contexts = Callable[[int], Context]  # features of a call, by its number


def check_learner(
    make: Callable[[], Learner],
    *,
    space: Space = BOUNDS,
    calls: int = 1200,
    seed: int = 0,
    contexts: Contexts | None = None,
    declared: Mapping[str, Value] = LIVE,
    most_bytes: int = MOST_BYTES,
) -> None:
    """Raise AssertionError where a learner breaks a law.

    make: a new learner, each time with the same arguments and the same seed, bounded by ``space``.
    contexts: features of the calls; calls of the first text that comes are a tenth as long as the others.
    declared: what holds at first. Parameters beside timeout, retries and backoff are tunables of the function's own:
    executions tell them, and are scored by them, so that there is something to learn. most_bytes: of a state.

    The laws: twins of one seed that see the same do the same; what it is given stays untouched; a dump forgets nothing,
    and what is no dump is refused without a change; suggestions keep within the bounds, and name every live value, but
    those for some contexts only (``timeout@region=eu``), which come and go, cell by cell, within the bounds of the
    plain names; memory does not grow; odd executions do no harm; no execution is told twice, nor lost, whoever tells of
    it and in whichever order; what is no contribution is refused; scores that come late do no harm, and change nothing
    where it wants none.
    """
    service = Traffic(contexts, declared, most_bytes)
    _twins_agree(make, space, calls, seed, service)
    _a_dump_forgets_nothing(make, space, calls, seed, service)
    _no_dump_is_refused(make, space, seed, service)
    _memory_does_not_grow(make, space, calls, seed, service)
    _odd_executions_do_no_harm(make, space, service)
    _nothing_is_told_twice(make, space, seed, service)
    _contributions_add_up(make, space, seed, service)
    _no_contribution_is_refused(make, space, seed, service)
    _late_scores_do_no_harm(make, space, seed, service)


Call = Callable[[Mapping[str, Value]], Execution]


def traffic(seed: int, calls: int, *, first: int = 0, contexts: Contexts | None = None) -> Iterator[Call]:
    """Calls of a made-up service, one by one, each to be made under the live values of its time.

    Half of the calls are quick, some hang, some err; in the middle it becomes eight times slower, so that there is
    something to learn twice. contexts: as for ``check_learner``.
    """
    for number in range(first, first + calls):
        dice = random.Random(seed * 1_000_003 + number)
        slow = 8.0 if (number // max(1, calls // 2)) % 2 else 1.0
        context = () if contexts is None else contexts(number)
        if contexts is not None and context[:1] == contexts(0)[:1]:
            slow *= 0.1

        def call(
            live: Mapping[str, Value],
            dice: random.Random = dice,
            slow: float = slow,
            number: int = number,
            context: Context = context,
        ) -> Execution:
            return _judged(_call(valid(live, context), dice, slow, number)._replace(context=context), live, dice)

        yield call


class Traffic:
    """``traffic`` of these contexts, and what a learner is declared with."""

    def __init__(
        self, contexts: Contexts | None = None, declared: Mapping[str, Value] = LIVE, most_bytes: int = MOST_BYTES
    ) -> None:
        self.contexts, self.declared, self.most_bytes = contexts, declared, most_bytes

    def __call__(self, seed: int, calls: int, *, first: int = 0) -> Iterator[Call]:
        """As ``traffic``."""
        return traffic(seed, calls, first=first, contexts=self.contexts)


def valid(live: Mapping[str, Value], context: Context) -> dict[str, Value]:
    """The values that hold for a call of this context.

    >>> valid({"timeout": 3.0, "timeout@region=eu": 1.0}, (("region", "eu"),))
    {'timeout': 1.0}
    """
    found = {name: value for name, value in live.items() if "@" not in name}
    told = by_cell(live)
    for cell in cells(live).all(context):
        found.update(told[cell])
    return found


def _call(live: Mapping[str, Value], dice: random.Random, slow: float, number: int) -> Execution:
    timeout, retries = float(live["timeout"]), int(live["retries"])
    attempts: list[Attempt] = []
    for k in range(retries + 1):
        pause = dice.random() * 0.1 if k else 0.0
        draw = dice.random()
        if draw < 0.1:
            attempts.append(Attempt(Outcome.ERROR, 0.01, pause))
            continue
        seconds = math.inf if draw < 0.13 else slow * 0.2 * math.exp(0.5 * dice.gauss(0, 1))
        if seconds <= timeout:
            attempts.append(Attempt(Outcome.SUCCESS, seconds, pause))
            break
        attempts.append(Attempt(Outcome.TIMEOUT, timeout, pause))
    total = sum(attempt.seconds + attempt.waited for attempt in attempts)
    return Execution("laws", number, 1e9 + number, total, attempts[-1].outcome, 1, tuple(attempts))


def _judged(execution: Execution, live: Mapping[str, Value], dice: random.Random) -> Execution:
    """With the tunables of its own that it used, and a score that depends on them."""
    own = tuple((name, value) for name, value in live.items() if name not in _OPERATIONAL and "@" not in name)
    if not own:
        return execution
    numbers = [value for _, value in own if isinstance(value, int | float)]
    score = 1.0 / (1.0 + sum(abs(number - 0.3) for number in numbers)) - 0.2 * dice.random()
    return execution._replace(values=own, score=max(0.0, score))


class _Life:
    """A learner and the values that it has brought about."""

    def __init__(self, learner: Learner, space: Space, live: Mapping[str, Value] = LIVE) -> None:
        self.learner, self.space = learner, space
        self.live: Mapping[str, Value] = MappingProxyType(dict(live))  # a write would raise
        self.said: list[Suggestion] = []

    def through(self, calls: Iterator[Callable[[Mapping[str, Value]], Execution]]) -> _Life:
        for call in calls:
            execution = call(self.live)
            batch = [execution]
            before = repr(execution)
            self.learner.update(batch)
            assert batch == [execution], "update() changed the list of executions"
            assert repr(execution) == before, "update() changed an execution"
            suggestion = self.learner.suggest(self.live)
            if suggestion is not None:
                self.take(suggestion)
        return self

    def take(self, suggestion: Suggestion) -> None:
        named = {name for name in suggestion.values if "@" not in name}
        live = {name for name in self.live if "@" not in name}
        assert live <= named <= {*live, *self.space}, f"not the live values' names: {named!r}"
        for name, value in suggestion.values.items():
            base, cell = parts(name)
            if cell:
                conditions(cell)  # raises where it is none
                assert base in named, f"{name!r} is for some contexts, and no {base!r} for the others"
            if base in self.space:
                assert self.space.check({base: value}) == {base: value}  # raises where one is out of bounds
        assert dict(suggestion.values) != dict(self.live), "a suggestion that changes nothing"
        assert suggestion.reason, "a suggestion without a reason"
        self.said.append(suggestion)
        self.live = MappingProxyType(dict(suggestion.values))


class Learned:
    """A learner as a policy of ``poet.sim.play``: applies what it suggests at once, flips the coins of its probes."""

    def __init__(self, learner: Learner, declared: Mapping[str, Value] = LIVE, *, seed: int = 0) -> None:
        """seed: of the coins."""
        self.learner = learner
        self.live: Mapping[str, Value] = dict(declared)
        self.said: list[tuple[int, Suggestion]] = []  # after how many executions, and what
        self.executions = 0
        self.cpu = 0.0  # spent on learning [s]
        self._coin = random.Random(seed)

    def parameters(self, t: int) -> Mapping[str, object]:
        """The live values, with this call's probe."""
        probe = self.learner.probe()
        stretched, extra = self._coin.random() < probe.limit, self._coin.random() < probe.retry
        return {
            **self.live,
            "limit_stretch": probe.stretch if stretched else 1.0,
            "extra_retry": int(extra),
            "calm": probe.calm,
        }

    def observe(self, execution: Execution) -> None:
        """Let it learn from one execution, and take what it suggests."""
        started = time.thread_time()
        self.learner.update((execution,))
        suggestion = self.learner.suggest(self.live)
        self.cpu += time.thread_time() - started
        self.executions += 1
        if suggestion is not None:
            self.said.append((self.executions, suggestion))
            self.live = dict(suggestion.values)


def _twins_agree(make: Callable[[], Learner], space: Space, calls: int, seed: int, service: Traffic) -> None:
    one, other = (_Life(make(), space, service.declared).through(service(seed, calls)) for _ in range(2))
    assert one.said == other.said, "twins made different suggestions"
    assert one.learner.dump() == other.learner.dump(), "twins know different things"
    assert one.learner.probe() == other.learner.probe(), "twins probe differently"
    explanations = [repr(one.learner.explain(one.live)) for _ in range(2)]
    assert explanations[0] == explanations[1] == repr(other.learner.explain(other.live)), "twins explain differently"
    assert one.learner.dump() == other.learner.dump(), "explain() changed what it knows"


def _a_dump_forgets_nothing(make: Callable[[], Learner], space: Space, calls: int, seed: int, service: Traffic) -> None:
    for share in (0.01, 0.37, 0.7):
        before = int(share * calls)
        one = _Life(make(), space, service.declared).through(service(seed, before))
        state = one.learner.dump()
        assert one.learner.dump() == state, "dump() changes what it dumps"
        restored = make()
        restored.load(state)
        assert restored.dump() == state, "a loaded learner dumps something else"
        other = _Life(restored, space, one.live)
        assert other.learner.probe() == one.learner.probe(), "a loaded learner probes differently"
        rest = 200
        started = len(one.said)
        one.through(service(seed + 1, rest, first=before))
        other.through(service(seed + 1, rest, first=before))
        assert one.said[started:] == other.said, "a loaded learner made different suggestions"
        assert one.learner.dump() == other.learner.dump(), "a loaded learner came to know different things"


def _no_dump_is_refused(make: Callable[[], Learner], space: Space, seed: int, service: Traffic) -> None:
    life = _Life(make(), space, service.declared).through(service(seed, 60))
    learner, state = life.learner, life.learner.dump()
    dice = random.Random(seed)
    torn = [state[: dice.randrange(len(state))] for _ in range(20)]
    for wrong in (*_NO_STATES, *torn, state + b"\0"):
        try:
            learner.load(wrong)
        except ValueError:
            assert learner.dump() == state, f"load() refused {wrong[:20]!r} and changed all the same"
        else:
            raise AssertionError(f"load() took {wrong[:20]!r} of {len(wrong)} bytes")


def _memory_does_not_grow(make: Callable[[], Learner], space: Space, calls: int, seed: int, service: Traffic) -> None:
    life = _Life(make(), space, service.declared)
    for stage in range(3):
        life.through(service(seed, calls, first=stage * calls))
        size = len(life.learner.dump())
        most = service.most_bytes + MOST_PER_CELL * len({parts(name)[1] for name in life.live})
        assert size <= most, f"the state takes {size} bytes after {(stage + 1) * calls} calls, over {most}"


def _odd_executions_do_no_harm(make: Callable[[], Learner], space: Space, service: Traffic) -> None:
    odd_seconds = (0.0, -1.0, math.nan, math.inf, -math.inf, 1e300, 1e-300)
    for outcome in Outcome:
        life = _Life(make(), space, service.declared)
        for number in range(150):
            seconds = odd_seconds[number % len(odd_seconds)]
            attempts = tuple(Attempt(outcome, seconds, odd_seconds[-k]) for k in range(number % 4))
            context = () if service.contexts is None else service.contexts(number)
            life.learner.update([Execution("laws", number, 0.0, seconds, outcome, 1, attempts, "", context)])
            suggestion = life.learner.suggest(life.live)
            if suggestion is not None:
                life.take(suggestion)
        life.learner.explain(life.live)
        restored = make()
        restored.load(life.learner.dump())
    empty = _Life(make(), space, service.declared)
    empty.learner.update([])
    assert empty.learner.suggest(empty.live) is None, "a suggestion without any execution"
    empty.learner.explain(empty.live)


def _nothing_is_told_twice(make: Callable[[], Learner], space: Space, seed: int, service: Traffic) -> None:
    learner = make()
    assert learner.contribution() is None, "a contribution of nothing"
    life = _Life(learner, space, service.declared).through(service(seed, 75))
    copy = pickle.loads(pickle.dumps(learner))  # noqa: S301 - our own
    state = learner.dump()
    told = learner.contribution()
    assert told is not None, "75 executions, and no contribution"
    assert len(told) <= service.most_bytes, f"a contribution takes {len(told)} bytes, over {service.most_bytes}"
    assert copy.contribution() == told, "a pickle forgets what was not told yet"
    after = pickle.loads(pickle.dumps(learner))  # noqa: S301
    for silent in (learner, copy, after):
        assert silent.contribution() is None, "a second contribution of the same executions"
    heir = make()
    heir.load(state)
    assert heir.contribution() is None, "what a dump says is not new to others"
    life.through(service(seed, 5, first=75))
    more = learner.contribution()
    assert more is not None, "5 more executions, and no contribution"
    assert _seen(make, learner.merged(None, more), life.live) == 5, "a contribution tells of what was told before"


def _contributions_add_up(make: Callable[[], Learner], space: Space, seed: int, service: Traffic) -> None:
    many = [_Life(make(), space, service.declared) for _ in range(3)]
    said: list[bytes] = []
    for number, life in enumerate(many):
        told = life.through(service(seed + number, 40 * (number + 1))).learner.contribution()
        assert told is not None, "executions, and no contribution"
        said.append(told)
    judge = make()
    before = judge.dump()
    there = judge.merged(judge.merged(judge.merged(None, said[0]), said[1]), said[2])
    back = judge.merged(judge.merged(judge.merged(None, said[2]), said[1]), said[0])
    again = many[0].learner.merged(many[1].learner.merged(many[2].learner.merged(None, said[0]), said[1]), said[2])
    assert judge.dump() == before, "merged() changed the learner"
    assert judge.contribution() is None, "merged() gave the learner something to tell"
    assert again == there, "what comes out of merged() depends on who merges"
    for shared in (there, back):
        assert _seen(make, shared, service.declared) == 240, "the executions of all contributions do not add up"
        heir = make()
        heir.load(shared)
        assert heir.dump() == shared, "merged() gives something else than dump()"
        _Life(heir, space, service.declared).through(service(seed, 100))


def _no_contribution_is_refused(make: Callable[[], Learner], space: Space, seed: int, service: Traffic) -> None:
    learner = _Life(make(), space, service.declared).through(service(seed, 60)).learner
    told = learner.contribution()
    assert told is not None, "60 executions, and no contribution"
    state = learner.dump()
    dice = random.Random(seed)
    torn = [(state, told[: dice.randrange(len(told))]) for _ in range(20)]
    wrong = [(state, no) for no in (*_NO_STATES, told + b"\0", state)] + [(no, told) for no in (*_NO_STATES, told)]
    for shared, contribution in (*torn, *wrong):
        try:
            learner.merged(shared, contribution)
        except ValueError:
            assert learner.dump() == state, "merged() refused, and changed the learner all the same"
        else:
            raise AssertionError(f"merged() took {shared[:20]!r} and {contribution[:20]!r}")


def _late_scores_do_no_harm(make: Callable[[], Learner], space: Space, seed: int, service: Traffic) -> None:
    one, other = _Life(make(), space, service.declared), _Life(make(), space, service.declared)
    wants = getattr(one.learner, "scores", False)  # as a trainer asks
    assert wants is getattr(other.learner, "scores", False), "one of two twins wants scores"
    if not hasattr(one.learner, "rescored"):
        assert not wants, "it wants scores, and cannot be told of them"
        return
    states = []
    for life in (one, other):
        seen = [call(service.declared) for call in service(seed, 60)]
        for execution in seen:
            life.learner.update([execution])
        state = life.learner.dump()
        dice = random.Random(seed)
        for score in (0.0, 1.0, 0.5, -1.0, math.nan, math.inf, 1e300, None):
            before = [execution._replace(context=(("region", "eu"),)) for execution in dice.sample(seen, 8)]
            after = [row._replace(score=score, goals=(("cost", score or 0.0),)) for row in before]
            shown = repr((after, before))
            life.learner.rescored(after, before)
            life.learner.rescored(after, after)
            life.learner.rescored(before, after)
            assert repr((after, before)) == shown, "rescored() changed an execution"
        life.learner.rescored([], [])
        strange = [execution._replace(writer="another", score=1.0) for execution in seen[:5]]
        life.learner.rescored(strange, [execution._replace(score=None) for execution in strange])
        if not wants:
            assert life.learner.dump() == state, "it wants no scores, and rescored() changed what it knows"
        suggestion = life.learner.suggest(life.live)
        if suggestion is not None:
            life.take(suggestion)
        states.append(life.learner.dump())
        restored = make()
        restored.load(states[-1])
    assert states[0] == states[1], "twins that were told of the same scores know different things"


def _seen(make: Callable[[], Learner], state: bytes, live: Mapping[str, Value]) -> int:
    learner = make()
    learner.load(state)
    return learner.explain(live).executions
