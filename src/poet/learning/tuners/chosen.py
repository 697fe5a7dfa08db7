"""Which learner of declared tunables serves when, and why.

By the space and by what is known, never by a race: differences between learners are a few hundredths a call and noise
is ten times that, so that a bandit over learners would need thousands of calls to tell them apart.

1. Few combinations of values, and no context that might matter: Thompson sampling on each (``arms``). Nothing need be
   assumed of how values act together, and no learner does better on so few.
2. Few combinations, with contexts: linear Thompson sampling, weighed by whether contexts matter (``mixture``).
3. Ranges, or many combinations: a Gaussian process (``gaussian``), as it makes most of each trial, also where tunables
   act on each other, and of contexts. Of more than ``SHOWN`` trials it is shown some, evenly, one in ``RAREST`` in the
   end, and what it suggests then serves until it is shown the next: so a million calls cost microseconds each. (With
   contexts each suggestion is its own, and takes milliseconds; policies, as calls use them, do not.)
4. Scores that are only ever 0 and 1: simultaneous perturbation (``spsa``) takes over after ``COINS`` trials, having
   watched them, with gains for such scores: single ones say next to nothing, and it averages over all (mean regret over
   50 / 100 / 300 such trials of ``bern_mixed``, twenty seeds: 0.28 / 0.22 / 0.15; of the process 0.38 / 0.32 / 0.23,
   six seeds). For other scores it was tried as an heir after 300 trials, in microseconds for ever, and lost what the
   process had won wherever numbers act on each other: from 0.03 to 0.30 on a curved ridge, however narrowly it was
   held to the process's best.
5. Where related functions say something of the space: a Gaussian process, also where combinations are few, as only it
   begins with what they know (``prior``); not where there are too many columns for it.
6. More than ``WIDE`` columns (an option each, and two for a number): ``spsa`` alone, as distances say little there.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from poet.errors import ConfigurationError
from poet.learning.axes import Cube
from poet.learning.tuners.arms import ArmTuner
from poet.learning.tuners.candidates import MOST, combinations
from poet.learning.tuners.dumps import Scale, changes, packed, read, spelled, unpacked_all
from poet.learning.tuners.outputs import outputs_of
from poet.learning.tuners.spsa import MOST_BENT, SpsaTuner
from poet.model.execution import Context
from poet.model.policy import Policy
from poet.model.relative import Refused, Relative, Relatives
from poet.model.trial import Recommendation, Trial
from poet.model.tunable import Choice, Space, Value
from poet.seams import Tuner

if TYPE_CHECKING:
    from poet.learning.tuners.prior import Prior
    from poet.learning.tuners.sources import Source

COINS = 20  # trials, of scores that were only ever 0 and 1
WIDE = MOST_BENT
SHOWN = 500  # trials that a process is shown one by one
RAREST = 256  # of more, one in at most so many
POOL = 2  # suggestions of a process that is rarely shown something
LONGEST = 200  # characters of a relative's name
RETOLD = 16  # of the values that a learner would try are told to one of another kind that takes its place


NAMES = {
    "arms": "Thompson sampling",
    "mixture": "a mixture of linear models",
    "gaussian": "a Gaussian process",
    "spsa": "simultaneous perturbation",
}


class Told(NamedTuple):
    """What a state says of how its tuner was declared."""

    space: Space
    start: Mapping[str, Value]
    contextual: bool
    constraints: int


def declared_in(state: bytes) -> Told:
    """How the tuner was declared whose ``dump`` this is. Raises ValueError where it is none."""
    head, _, _ = unpacked_all("pick", state)
    try:
        return Told(read(head["space"]), dict(head["start"]), bool(head["contextual"]), int(head["constraints"]))
    except (KeyError, TypeError, IndexError, ConfigurationError) as wrong:
        raise ValueError(f"no state of a tuner: {wrong!r}") from wrong


class Begun(NamedTuple):
    """What related tuners said of a space; asking them takes tenths of a second, once for many tuners."""

    prior: Prior | None
    refused: tuple[Refused, ...] = ()


class ChosenTuner:
    """The tuner that suits a space; implements ``poet.seams.Tuner``. Arguments as all tuners have them.

    contextual: whether trials tell features that might matter. prior: related tuners, whose knowledge it begins with;
    of many the likeliest to help; those that say nothing of this space are ``refused``, with the reason.
    Raises ConfigurationError where the space is too wide, or ``start`` is not in it.
    """

    def __init__(
        self,
        space: Space,
        start: Mapping[str, Value],
        *,
        seed: int = 0,
        constraints: int = 0,
        contextual: bool = False,
        prior: Relatives | Begun = (),
    ) -> None:
        self._space, self._start = space, {name: start[name] for name in space}
        self._seed, self._constraints, self._contextual = seed, constraints, contextual
        few = combinations(space, self._start, MOST)
        self._few = 0 if few is None else len(few)
        self._trials = 0
        self._coins = True  # whether all scores were 0 or 1
        self._watching: SpsaTuner | None = None  # that takes over where scores stay 0 and 1
        self._pool: list[dict[str, Value]] = []  # what a process that is rarely shown something suggests
        begun = prior if isinstance(prior, Begun) else begin(prior, space, self._start)
        self._prior, self.refused = begun
        self.serving = self._suited()
        self._tuner = self._made(self.serving)
        if self.serving == "gaussian" and not contextual:
            self._watching = self._spsa(coins=True)

    def _suited(self) -> str:
        if self._few and self._prior is None:
            return "mixture" if self._contextual else "arms"
        return "spsa" if _columns(self._space) > WIDE else "gaussian"

    def _spsa(self, *, coins: bool = False) -> SpsaTuner:
        return SpsaTuner(self._space, self._start, seed=self._seed, constraints=self._constraints, coins=coins)

    def _made(self, serving: str) -> Tuner:
        told: dict[str, Any] = {"seed": self._seed, "constraints": self._constraints}
        if serving == "arms":
            return ArmTuner(self._space, self._start, **told)
        if serving == "mixture":
            from poet.learning.tuners.mixture import MixtureTuner

            return MixtureTuner(self._space, self._start, contextual=self._contextual, **told)
        if serving == "gaussian":
            from poet.learning.tuners.gaussian import GaussianTuner

            return GaussianTuner(self._space, self._start, contextual=self._contextual, prior=self._prior, **told)
        return self._spsa(coins=self._suited() != "spsa")

    @property
    def reason(self) -> str:
        """Why the one that serves does, in words."""
        if self.serving == "arms":
            return f"{self._few} combinations of values, and no context: each is tried as often as it may be the best"
        if self.serving == "mixture":
            return f"{self._few} combinations of values, and contexts: linear models with and without them, by evidence"
        if self.serving == "gaussian" and self._few:
            return "related functions know something of these values, and a Gaussian process begins with it"
        if self.serving == "gaussian":
            return "ranges of values, or many: a Gaussian process makes the most of each trial" + (
                ", in its context" if self._contextual else ""
            )
        if _columns(self._space) > WIDE:
            return "many tunables and options at once: gradients by simultaneous perturbation"
        return "scores of 0 and 1 only: gradients by simultaneous perturbation average over all of them"

    # ------------------------------------------------------------ learning

    def update(self, trials: Sequence[Trial]) -> None:
        """Fold them in; those whose score or slack is not finite are passed over."""
        good = [trial for trial in trials if outputs_of(trial, self._constraints) is not None]
        self._coins = self._coins and all(trial.score in (0.0, 1.0) for trial in good)
        shown = good
        if self.serving == "gaussian" and self._trials + len(good) > SHOWN:
            rare = min(RAREST, max(1, self._trials // SHOWN))
            shown = [trial for number, trial in enumerate(good, self._trials) if number % rare == 0]
        self._trials += len(good)
        if shown:
            self._tuner.update(shown)
            if self.serving == "gaussian" and self._trials > SHOWN and not self._contextual:
                self._pool = [self._tuner.suggest() for _ in range(POOL)]
        if self._watching is not None and not self._coins:
            self._watching = None
        if self._watching is not None:
            self._watching.update(good)
            if self._trials >= COINS:
                self._tuner, self._watching, self.serving = self._watching, None, "spsa"

    # ------------------------------------------------------------ telling

    def suggest(self, context: Context = ()) -> dict[str, Value]:
        """What to try next in such a call, the best known included."""
        if self._pool:
            return dict(self._pool[self._trials % len(self._pool)])
        return self._tuner.suggest(context)

    def recommend(self, context: Context = ()) -> Recommendation:
        """What is best in such a call; the evidence is all trials."""
        return self._tuner.recommend(context)._replace(evidence=self._trials)

    def expected(self, values: Mapping[str, Value], context: Context = ()) -> float:
        """Posterior mean score [utility]."""
        return self._tuner.expected(values, context)

    def policy(self, share: float, tries: int, own: Mapping[str, Value] | None = None) -> Policy:
        """How calls pick values until the next one is made."""
        return self._tuner.policy(share, tries, own)

    def notes(self) -> tuple[str, ...]:
        """Who serves and why, and what it has to say, in words."""
        noted = getattr(self._tuner, "notes", tuple)
        return (
            f"The learner of these is {NAMES[self.serving]}: {self.reason}.",
            *(f"{each}." for each in noted()),
            *(f"Not learned from {each.name}: {each.why}." for each in self.refused),
        )

    def tried(self) -> list[dict[str, Value]]:
        """What was tried, as far as the one that serves can tell."""
        found: list[dict[str, Value]] = getattr(self._tuner, "tried", list)()
        return found

    def shape(self) -> dict[str, float]:
        """Of the process that serves: see ``GaussianTuner.shape``; empty: another one serves."""
        found: dict[str, float] = getattr(self._tuner, "shape", dict)()
        return found

    # ------------------------------------------------------------ keeping

    def dump(self) -> bytes:
        """All it knows."""
        parts = [self._tuner.dump()] + ([self._watching.dump()] if self._watching is not None else [])
        head = {
            "space": spelled(self._space),
            "start": self._start,
            "contextual": self._contextual,
            "constraints": self._constraints,
            "serving": self.serving,
            "sizes": [len(part) for part in parts],
            "trials": self._trials,
            "coins": self._coins,
            "pool": self._pool,
        }
        if self._few and self.serving == "gaussian":
            head["prior"] = True
        return packed("pick", head, (), b"".join(parts))

    def load(self, state: bytes) -> tuple[str, ...]:
        """Take up where ``dump`` left off; what had to be dropped, in words. Raises ValueError, unchanged."""
        head, _, tail = unpacked_all("pick", state)
        try:
            return self._taken(head, tail)
        except (KeyError, TypeError, IndexError) as wrong:
            raise ValueError(f"no state of a tuner: {wrong!r}") from wrong

    def _taken(self, head: Mapping[str, Any], tail: bytes) -> tuple[str, ...]:
        heir = ChosenTuner(
            self._space, self._start, seed=self._seed, constraints=self._constraints, contextual=self._contextual
        )
        first = head["sizes"][0]
        heir._trials, heir._coins = int(head["trials"]), bool(head["coins"])
        before = str(head["serving"])
        heir._prior, heir.refused = self._prior, self.refused
        if before == "gaussian" and heir._few and (heir._prior is not None or head.get("prior")):
            heir.serving = "gaussian"  # as it had related functions to begin with
            heir._tuner, heir._watching = heir._made("gaussian"), None if self._contextual else self._spsa(coins=True)
        if before == "spsa" and heir.serving == "gaussian" and not self._contextual:
            heir._tuner, heir._watching, heir.serving = self._spsa(coins=True), None, "spsa"
        if heir.serving == before:
            words = heir._tuner.load(tail[:first])
            if len(head["sizes"]) == 1:
                heir._watching = None
            elif heir._watching is not None:
                heir._watching.load(tail[first:])
            if not words:
                heir._pool = [self._space.check(each) for each in head["pool"]]
        else:
            words = heir._retold(head, tail[:first])
        self.__dict__.update(heir.__dict__)
        return words

    def _retold(self, head: Mapping[str, Any], part: bytes) -> tuple[str, ...]:
        """Learn from what a learner of another kind would try, and expects of it, in another space."""
        space, start = read(head["space"]), head["start"]
        constraints = int(head["constraints"])
        before = ChosenTuner(space, start, constraints=constraints, contextual=bool(head["contextual"]))
        before._tuner = before._made(head["serving"])
        before._tuner.load(part)
        if self._trials and not self._constraints:
            best = before._tuner.recommend()
            doubt = 0.5 * (best.high - best.low) if math.isfinite(best.high - best.low) else 0.0
            for told in (start, best.values, *(before._tuner.suggest() for _ in range(RETOLD))):
                values = self._space.clip({**self._start, **_common(told, self._space)})
                there = {name: values.get(name, self._start[name]) for name in self._space}
                mean = before._tuner.expected(told)
                self._tuner.update([Trial(there, mean + doubt), Trial(there, mean - doubt)])
        was, now = ({name: Scale.of(each) for name, each in of.items()} for of in (space, self._space))
        return (*changes(was, now), f"much of what {head['serving']} knew: {self.serving} serves now")


def begin(relatives: Relatives, space: Space, start: Mapping[str, Value]) -> Begun:
    """What related tuners say of a space, and which of them say nothing of it."""
    if not relatives:
        return Begun(None)
    if _columns(space) > WIDE:
        why = f"the space has over {WIDE} columns"
        return Begun(None, tuple(Refused(str(each.name), why) for each in relatives))
    from poet.learning.tuners.prior import Prior
    from poet.learning.tuners.sources import MOST_SOURCES, Unfit, anchors_for, asked, clean_odds

    cube = Cube(space, start)
    found: list[Source] = []
    refused: list[Refused] = []
    wanted: list[tuple[float, Relative]] = []
    for each in relatives:
        try:
            wanted.append((clean_odds(each.helps), each))
        except Unfit as unfit:
            refused.append(Refused(str(each.name), str(unfit)))
    wanted.sort(key=lambda pair: -pair[0])
    anchors = anchors_for(min(MOST_SOURCES, len(wanted)), len(space))
    for helps, each in wanted:
        if len(found) == MOST_SOURCES:
            refused.append(Refused(str(each.name), f"{MOST_SOURCES} others are likelier to help"))
            continue
        try:
            tuner, told = opened(each.state)
            theirs = told.space, told.start
            found.append(asked(str(each.name)[:LONGEST], tuner, theirs, (space, cube), helps=helps, anchors=anchors))
        except (Unfit, ValueError) as wrong:
            refused.append(Refused(str(each.name), str(wrong)))
    return Begun(Prior(found, cube.levels) if found else None, tuple(refused))


def opened(state: bytes) -> tuple[ChosenTuner, Told]:
    """A copy of the tuner whose ``dump`` this is, and how it was declared. Raises ValueError where it is none."""
    told = declared_in(state)
    copy = ChosenTuner(told.space, told.start, constraints=told.constraints, contextual=told.contextual)
    copy.load(state)
    return copy, told


def _columns(space: Space) -> int:
    """Of a regression with an effect for each option, and slope and curvature for each number."""
    return 1 + sum(len(each.options) if isinstance(each, Choice) else 2 for each in space.values())


def _common(best: Mapping[str, Value], space: Space) -> dict[str, Value]:
    """What of ``best`` is a value of a tunable of ``space``, in its kind if not in its bounds."""
    found: dict[str, Value] = {}
    for name, value in best.items():
        tunable = space.get(name)
        if tunable is None or (not isinstance(tunable, Choice) and isinstance(value, bool | str)):
            continue
        found[name] = value
    return found
