"""The laws of a tuner, to be run by whoever writes one."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import random
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from poet.model.execution import Context
from poet.model.policy import Policy
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Choice, Integer, Real, Space, Tunable, Value
from poet.seams import Tuner

SPACE = Space(
    model=Choice("small", "medium", "large"),
    temperature=Real(0.0, 1.5),
    batch=Integer(1, 64, log=True),
    threshold=Real(0.0, 1.0, step=0.25),
    depth=Integer(1, 5, when={"model": ("medium", "large")}),
)
MOST_BYTES = 65_536  # of a dump
MOST_MEMORY = 200_000  # bytes of a tuner

Make = Callable[[Space, Mapping[str, Value]], Tuner]

_NO_STATES = (b"", b"\0", b"POET", b"{}", b"[]", b"null", bytes(range(256)), b"\x78\x9c" + bytes(64))
_ODD_CONTEXTS: tuple[Context, ...] = (
    (),
    (("region", "eu"),),
    (("region", 3), ("load", "high")),
    (("nobody", True), ("load", math.nan)),
    (("load", math.inf), ("load", -1e300)),
    (("region", "x" * 200), ("load", 2**512)),
)


def check_tuner(
    make: Make, *, space: Space = SPACE, calls: int = 100_000, seed: int = 0, constraints: int = 0, rounds: int = 120
) -> None:
    """Raise AssertionError where a tuner breaks a law.

    make: a new tuner of a space and its start, each time with the same other arguments and the same seed.
    space: of the kinds of tunables that it can learn. calls: trials over which its memory is watched.
    constraints: how many slacks its trials have. rounds: suggestions, each with its trial, of the other laws.

    The laws: twins of one seed that see the same do the same; what it is given stays untouched; a dump forgets nothing,
    and what is no dump is refused without a change; whatever it says is within bounds and names all tunables, its
    policies no others; scores and slacks that are not finite are passed over; constant scores keep it at
    the start; memory and dump are bounded; a changed space is loaded, and what was dropped is said; values that are not
    of the space do no harm; policies are immutable, made of the standard library, and give the same for the same.
    """
    start = usual(space)
    life = _Laws(make, space, start, constraints, seed, rounds)
    life.twins_agree()
    life.a_dump_forgets_nothing()
    life.no_dump_is_refused()
    life.all_is_within_bounds()
    life.scores_that_are_not_finite_are_passed_over()
    life.constant_scores_keep_it_at_the_start()
    life.values_off_the_space_do_no_harm()
    life.a_changed_space_is_loaded()
    life.memory_is_bounded(calls)


def usual(space: Space) -> dict[str, Value]:
    """A start: first options, and numbers a third of the way up."""
    return {name: _value(tunable, 0.0 if isinstance(tunable, Choice) else 1 / 3) for name, tunable in space.items()}


def score_of(space: Space, values: Mapping[str, Value], context: Context, dice: random.Random) -> float:
    """What a call of a made-up service is worth: the best option and place depend on its region; noise of 0.1."""
    region = 0.2 if ("region", "eu") in context else -0.2
    score = dice.gauss(0.0, 0.1)
    active = space.active(values)
    for number, (name, tunable) in enumerate(space.items()):
        if name not in active:
            continue
        if isinstance(tunable, Choice):
            codes = [k for k, option in enumerate(tunable.options) if option == values[name]]
            score += 0.3 * math.sin(2.0 * codes[0] + number) if codes else 0.0
        else:
            width = float(tunable.high) - float(tunable.low)
            place = (float(values[name]) - float(tunable.low)) / width if width else 0.5
            score -= (place - 0.6 - region) ** 2
    return score


class _Laws:
    def __init__(
        self, make: Make, space: Space, start: Mapping[str, Value], constraints: int, seed: int, rounds: int
    ) -> None:
        self.make, self.space, self.constraints, self.seed, self.rounds = make, space, constraints, seed, rounds
        self.start: Mapping[str, Value] = MappingProxyType(dict(start))  # a write would raise

    def new(self, space: Space | None = None, start: Mapping[str, Value] | None = None) -> Tuner:
        return self.make(space or self.space, self.start if start is None else start)

    def slack(self, values: Mapping[str, Value], dice: random.Random) -> tuple[float, ...]:
        return tuple(0.1 * number + dice.gauss(0.1, 0.2) for number in range(self.constraints))

    def lived(self, tuner: Tuner, rounds: int, seed: int, first: int = 0) -> list[dict[str, Value]]:
        """What it suggests, call by call, while it learns from each."""
        said = []
        for number in range(first, first + rounds):
            dice = random.Random(seed * 1_000_003 + number)
            context: Context = (("region", dice.choice(("eu", "us"))), ("load", dice.random()))
            values = tuner.suggest(context)
            self.check(values, "suggest()")
            said.append(values)
            told = MappingProxyType(dict(values))
            score = score_of(self.space, values, context, dice)
            trials = [Trial(told, score, context, self.slack(values, dice))]
            before = copy.deepcopy([(dict(trial.values), *trial[1:]) for trial in trials])
            tuner.update(trials)
            assert [(dict(trial.values), *trial[1:]) for trial in trials] == before, "update() changed a trial"
            values["model"] = "changed by its owner"  # which must be nobody else's
        return said

    def check(self, values: Mapping[str, Value], whose: str, space: Space | None = None) -> None:
        space = space or self.space
        assert set(values) == set(space), f"{whose} names {sorted(values)}, the space {sorted(space)}"
        assert space.check(values) == dict(values)  # raises where one is out of bounds

    def recommended(self, tuner: Tuner, context: Context = (), space: Space | None = None) -> Recommendation:
        told = tuner.recommend(context)
        self.check(told.values, "recommend()", space)
        assert told.low <= told.mean <= told.high, f"a mean of {told.mean!r} in [{told.low!r}, {told.high!r}]"
        assert math.isfinite(told.mean), f"a mean of {told.mean!r}"
        assert math.isfinite(tuner.expected(told.values, context)), "expected() is not finite"
        return told

    # ------------------------------------------------------------ laws

    def twins_agree(self) -> None:
        one, other = self.new(), self.new()
        assert self.lived(one, self.rounds, self.seed) == self.lived(other, self.rounds, self.seed), (
            "twins made different suggestions"
        )
        for context in ((), (("region", "eu"), ("load", 0.5))):
            assert self.recommended(one, context) == self.recommended(other, context), "twins recommend differently"
        assert one.dump() == other.dump(), "twins know different things"
        assert _picks(one.policy(0.5, 4)) == _picks(other.policy(0.5, 4)), "twins have different policies"
        state = one.dump()
        one.recommend()
        one.expected(self.start)
        assert one.dump() == state, "recommend() or expected() changed what it knows"

    def a_dump_forgets_nothing(self) -> None:
        for share in (0.0, 0.02, 0.3, 1.0):
            before = int(share * self.rounds)
            one = self.new()
            self.lived(one, before, self.seed)
            state = one.dump()
            assert one.dump() == state, "dump() changes what it dumps"
            other = self.new()
            assert tuple(other.load(state)) == (), "something was dropped, and the space is the same"
            assert other.dump() == state, "a loaded tuner dumps something else"
            assert self.recommended(other) == self.recommended(one), "a loaded tuner recommends something else"
            rest = self.rounds // 3
            said = self.lived(one, rest, self.seed + 1, before)
            assert said == self.lived(other, rest, self.seed + 1, before), "a loaded tuner made different suggestions"
            assert one.dump() == other.dump(), "a loaded tuner came to know different things"

    def no_dump_is_refused(self) -> None:
        tuner = self.new()
        self.lived(tuner, 20, self.seed)
        state = tuner.dump()
        dice = random.Random(self.seed)
        torn = [state[: dice.randrange(len(state))] for _ in range(20)]
        for wrong in (*_NO_STATES, *torn, state + b"\0"):
            try:
                tuner.load(wrong)
            except ValueError:
                assert tuner.dump() == state, f"load() refused {wrong[:20]!r} and changed all the same"
            else:
                raise AssertionError(f"load() took {wrong[:20]!r} of {len(wrong)} bytes")

    def all_is_within_bounds(self) -> None:
        tuner = self.new()
        self.policies(tuner)
        assert self.recommended(tuner).values == self.start, "it recommends something without any trial"
        for _ in range(3):
            self.lived(tuner, self.rounds // 3, self.seed)
            self.policies(tuner)
            for context in _ODD_CONTEXTS:
                self.check(tuner.suggest(context), "suggest()")
                self.recommended(tuner, context)

    def policies(self, tuner: Tuner) -> None:
        for share, tries in ((0.0, 1), (0.3, 1), (0.7, 6), (1.0, 3)):
            policy = tuner.policy(share, tries)
            packed = pickle.dumps(policy)
            assert b"numpy" not in packed, "a policy holds something of numpy"
            again = pickle.loads(packed)  # noqa: S301 - our own
            for context in _ODD_CONTEXTS:
                for k in range(41):
                    uniform = min(k / 40, math.nextafter(1.0, 0.0))
                    pick = policy.pick(context, uniform)
                    assert pick == policy.pick(context, uniform), "a policy picks otherwise for the same"
                    assert pick == again.pick(context, uniform), "a pickled policy picks otherwise"
                    assert 0 <= pick.draw < 2**62, f"draw {pick.draw} cannot be stored"
                    assert share or not pick.draw, "a policy that may try nothing does"
                    assert self.space.check(pick.values) == dict(pick.values)
            try:
                policy.share = 2.0  # type: ignore[attr-defined]
            except (AttributeError, TypeError):
                pass
            else:
                raise AssertionError("a policy can be changed")

    def scores_that_are_not_finite_are_passed_over(self) -> None:
        one, other = self.new(), self.new()
        for number in range(40):
            dice = random.Random(number)
            values = {name: _value(tunable, dice.random()) for name, tunable in self.space.items()}
            trial = Trial(values, score_of(self.space, values, (), dice), (), self.slack(values, dice))
            odd = [trial._replace(score=score) for score in (math.nan, math.inf, -math.inf)]
            if self.constraints:
                odd += [trial._replace(slack=(math.nan,) * self.constraints)]
                odd += [trial._replace(slack=(*trial.slack[1:], -math.inf))]
            one.update([trial])
            other.update([odd[0], trial, *odd[1:]])
        assert self.recommended(one) == self.recommended(other), "a score that is not finite was learned from"
        only = self.new()
        only.update(odd)
        assert self.recommended(only).evidence == 0, "a score that is not finite counts as evidence"

    def constant_scores_keep_it_at_the_start(self) -> None:
        for score in (0.0, 1.0, -273.15):
            tuner = self.new()
            for _ in range(self.rounds // 2):
                tuner.update([Trial(tuner.suggest(), score, (), (0.25,) * self.constraints)])
            told = self.recommended(tuner)
            assert told.values == self.start, f"scores were always {score:g}, and it moved to {dict(told.values)}"
            assert abs(told.mean - score) <= 1e-3 * max(1.0, abs(score)), f"of {score:g} it expects {told.mean:g}"

    def values_off_the_space_do_no_harm(self) -> None:
        tuner = self.new()
        self.lived(tuner, self.rounds // 3, self.seed)
        good = dict(self.start)
        for name in self.space:
            for odd in ("no option", math.nan, math.inf, -1e300, 1e300, 10**400, None, True, "", (1, 2)):
                tuner.update([Trial({**good, name: odd}, 1.0, (), (0.25,) * self.constraints)])  # type: ignore[dict-item]
            without = {other: value for other, value in good.items() if other != name}
            tuner.update([Trial(without, 1.0, (), (0.25,) * self.constraints)])
            assert math.isfinite(tuner.expected({**good, name: "no option"})), "expected() of odd values is not finite"
            assert math.isfinite(tuner.expected(without)), "expected() of too few values is not finite"
        tuner.update([Trial({**good, "nobody": 3}, 1.0, (), (0.25,) * self.constraints)])
        for score in (1e300, -1e300, 1e-300):
            tuner.update([Trial(good, score, (), (score,) * self.constraints)])
        self.lived(tuner, 20, self.seed + 1)
        for context in _ODD_CONTEXTS:
            self.recommended(tuner, context)
            tuner.update([Trial(good, 0.5, context, (0.25,) * self.constraints)])
        self.lived(tuner, 20, self.seed + 2)
        other = self.new()
        assert tuple(other.load(tuner.dump())) == ()

    def a_changed_space_is_loaded(self) -> None:
        tuner = self.new()
        self.lived(tuner, self.rounds, self.seed)
        state = tuner.dump()
        for what, space, loses in _changes(self.space):
            start = usual(space)
            heir = self.new(space, start)
            dropped = heir.load(state)
            assert all(isinstance(words, str) and words for words in dropped), f"{what}: not told in words"
            assert dropped or not loses, f"{what}: something means nothing any more, and it does not say so"
            self.recommended(heir, (), space)
            for number in range(40):
                dice = random.Random(number)
                values = heir.suggest()
                self.check(values, f"{what}: suggest()", space)
                heir.update([Trial(values, dice.random(), (), self.slack(values, dice))])
            self.recommended(heir, (), space)
            again = self.new(space, start)
            assert tuple(again.load(heir.dump())) == (), f"{what}: dropped twice"

    def memory_is_bounded(self, calls: int) -> None:
        tuner = self.new()
        fixed = {id(self.space), id(self.start), *map(id, self.space.values())}
        batch, told = 500, 0
        while told < calls:
            dice = random.Random(self.seed + told)
            trials = []
            for _ in range(min(batch, calls - told)):
                values = {name: _value(tunable, dice.random()) for name, tunable in self.space.items()}
                context: Context = (("user", dice.randrange(10**6)), ("region", dice.choice("abcdefgh")))
                score = score_of(self.space, values, context, dice)
                trials.append(Trial(values, score, context, self.slack(values, dice)))
            tuner.update(trials)
            tuner.suggest()
            told += len(trials)
        tuner.policy(0.5, 8)
        size, dump = memory_of(tuner, fixed), len(tuner.dump())
        assert size <= MOST_MEMORY, f"{size} bytes of memory after {told} trials, over {MOST_MEMORY}"
        assert dump <= MOST_BYTES, f"a dump of {dump} bytes after {told} trials, over {MOST_BYTES}"


def memory_of(thing: object, but: set[int] | None = None) -> int:
    """Bytes that ``thing`` holds, with all that it refers to, arrays included; modules, classes and ``but`` are not."""
    seen, ahead, size = set(but or ()), [thing], 0
    while ahead:
        each = ahead.pop()
        if id(each) in seen or isinstance(each, type | types.ModuleType | types.FunctionType | types.BuiltinMethodType):
            continue
        seen.add(id(each))
        base: Any = getattr(each, "base", None)  # of a view on an array
        if base is not None:
            ahead.append(base)
        size += sys.getsizeof(each)
        ahead.extend(gc.get_referents(each))
    return size


def _picks(policy: Policy) -> list[Any]:
    return [policy.pick(context, k / 20) for context in _ODD_CONTEXTS for k in range(20)]


def _value(tunable: Tunable, share: float) -> Value:
    """The value at ``share``, in [0, 1], of the way."""
    if isinstance(tunable, Choice):
        return tunable.options[min(int(share * len(tunable.options)), len(tunable.options) - 1)]
    low, high = float(tunable.low), float(tunable.high)
    return tunable.clip(low * (high / low) ** share if tunable.log else low + share * (high - low))


def _changes(space: Space) -> Iterator[tuple[str, Space, bool]]:
    """Spaces of a later release: what has changed, and whether something of the old one means nothing any more."""
    named = dict(space)
    needed = {other for tunable in named.values() for other, _ in tunable.condition}
    yield "a tunable more", Space(**named, added=Choice("off", "on")), False
    for name, tunable in named.items():
        if name not in needed and len(named) > 1:
            rest = {other: each for other, each in named.items() if other != name}
            yield f"without {name}", Space(**rest), True
        if isinstance(tunable, Choice):
            if name not in needed and len(tunable.options) > 1:
                fewer = Choice(*tunable.options[1:], when=tunable.when)
                yield f"{name} without {tunable.options[0]!r}", Space(**{**named, name: fewer}), True
            more = Choice(*tunable.options, "brand new", when=tunable.when)
            yield f"{name} with one option more", Space(**{**named, name: more}), False
            continue
        other = Choice("now", "texts", when=tunable.when)
        if name not in needed:
            yield f"{name} as a choice", Space(**{**named, name: other}), True
        low, high = _value(tunable, 0.3), _value(tunable, 0.7)
        if low == high or name in needed:
            continue
        narrow: Tunable
        if isinstance(tunable, Integer):
            assert isinstance(low, int)
            assert isinstance(high, int)
            narrow = Integer(low, high, tunable.log, step=tunable.step, when=tunable.when)
        else:
            narrow = Real(float(low), float(high), tunable.log, step=tunable.step, when=tunable.when)
        yield f"{name} in a narrower range", Space(**{**named, name: narrow}), False
