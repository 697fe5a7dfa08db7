"""An experiment: which strategies are tried beside each other on a function's calls, how, and what came of it.

It is replaced as a whole with every change. What it compares never changes: who wants other arms, shares or rules ends
it and starts another one, as calls that were dealt by other rules would pass for its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from poet.errors import ConfigurationError, nearest
from poet.model.document import THIS_VERSION, Document
from poet.model.execution import Execution, Outcome
from poet.model.function import FunctionKey
from poet.model.tunable import Value

ArmKind = Literal["live", "parameters", "learner"]
Assignment = Literal["call", "block", "host"]
OnHarm = Literal["end", "hold", "observe"]
Phase = Literal["running", "held", "ended"]
Promote = Literal["person", "winner"]
Metric = Literal["utility", "success", "latency", "score", "cost"]

KIND = "experiment"
CONTROL = "live"  # name of the arm that is added where only one was said
MOST_ARMS = 6
LEAST_SHARE = 0.01
LONGEST_BLOCK = 86_400.0  # [s]
MOST_VERSIONS = 100  # of an arm, the newest, that its calls are known by
MOST_NOTES = 40  # of its log
LEARNERS = ("adaptive", "basic", "statistical")
LEARNING = ("learner", "learning_rate", "convergence_threshold", "exploration")  # what may be said of a learner
WORTH: Mapping[str, float] = MappingProxyType(
    {"utility": 0.02, "success": 0.01, "latency": 0.05, "score": 0.02, "cost": 0.05}
)
"""The least effect worth finding, where nobody says it: utility, a share, a share of the latency, score, requests."""
UNITS: Mapping[str, str] = MappingProxyType(
    {"utility": "utility per call", "success": "of the calls", "latency": "", "score": "score", "cost": "requests"}
)
LESS_IS_BETTER = ("latency", "cost")


class Note(NamedTuple):
    """An entry of its log."""

    at: float  # Unix time [s]
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What an arm's calls get.

    kind: ``"live"``: whatever is live, and its learner goes on; ``"parameters"``: ``values``, and nothing is learned;
    ``"learner"``: begins with the live values and changes them by a learner of its own, made with ``options``.

    >>> Strategy(name="quick", values={"timeout": 2.0}).told
    'timeout=2.0'
    """

    name: str
    kind: ArmKind = "parameters"
    values: Mapping[str, Value] = field(default_factory=dict)  # by which it differs from what is live at its start
    options: Mapping[str, Value] = field(default_factory=dict)  # of its learner
    share: float = 0.0  # of the calls, in (0, 1); 0: as large as those of the others that say none
    versions: tuple[int, ...] = ()  # that its calls get, the newest last; none of what is live
    ended: str = ""  # why it gets no calls any more; empty: it does

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or len(self.name) > 40 or set(self.name) & set(":=,/ \0"):
            raise ConfigurationError(
                f"an arm's name must be 1 to 40 characters without : = , / or blanks, got {self.name!r}"
            )
        if self.kind not in get_args(ArmKind):
            raise ConfigurationError(
                f"{self.name}: no kind of arm {self.kind!r}: {nearest(str(self.kind), get_args(ArmKind))}"
            )
        for option in self.options:
            if option not in LEARNING:
                raise ConfigurationError(
                    f"{self.name}: a learner has no option {option!r}: {nearest(option, LEARNING)}"
                )
        if self.kind == "parameters" and not self.values:
            raise ConfigurationError(f"{self.name}: say values, for instance timeout=2; or that it is {CONTROL}")
        if not _number(self.share) or not 0 <= self.share < 1:
            raise ConfigurationError(f"{self.name}: a share must be in (0, 1), got {self.share!r}")
        object.__setattr__(self, "values", MappingProxyType(dict(self.values)))
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    @property
    def told(self) -> str:
        """What it is, whatever its name: arms of two experiments that say the same are the same strategy."""
        if self.kind == "live":
            return "what is live"
        said = self.values if self.kind == "parameters" else {"learner": "adaptive", **self.options}
        return ",".join(f"{name}={said[name]}" for name in sorted(said))

    @property
    def version(self) -> int:
        """That its calls get now; 0: the live one."""
        return self.versions[-1] if self.versions else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How arms are dealt, compared and ended: ``f.poet.experiment(arms, rules=Rules(metric="success"))``.

    assignment: ``"call"``: a coin for each call. ``"block"``: all calls of ``block`` seconds get the same, for calls
        that act on each other, as through a cache or a limit; then a block is one outcome. ``"host"``: a host keeps its
        arm; then a host is one outcome, and some twenty are needed.
    metric: what decides: ``"utility"`` by the function's objective; ``"success"``; ``"latency"``: the logarithm of the
        seconds of all calls that were made; ``"score"``; ``"cost"``: requests per call.
    minimum_effect: the least that is worth finding, > 0: in units of the metric, of latency as a share of it. It makes
        the bounds narrowest there, and what surely lies below it is called the same. None: ``WORTH``.
    alpha: chance, in (0, 0.5), that an arm which is the same is ever called better or worse, over all looks and arms.
    on_harm: what becomes of an arm whose calls surely fail or hang far more often than the first arm's, or take far
        longer (``training.comparing.TOLERATED`` and ``margin``), whatever the metric says:
        ``"end"``: it gets no more calls, and with it the experiment where only one is left; ``"hold"``: all calls get
        what is live until a person decides; ``"observe"``: it is told.
    guard_alpha: chance that this ever befalls an arm that is no worse, in (0, 0.5).
    margin: rise of the latency that is no harm, as a share of it, >= 0.
    most_calls: that it takes before it ends undecided, >= 1; longest: the same in seconds, > 0. None: no limit.
    promote: ``"person"``: whoever asks makes the winner live; ``"winner"``: it goes live by itself.
    """

    assignment: Assignment = "call"
    block: float = 60.0
    metric: Metric = "utility"
    minimum_effect: float | None = None
    alpha: float = 0.05
    on_harm: OnHarm = "end"
    guard_alpha: float = 0.01
    margin: float = 0.5
    most_calls: int | None = None
    longest: float | None = None
    promote: Promote = "person"

    def __post_init__(self) -> None:
        for name, known in (
            ("assignment", get_args(Assignment)),
            ("metric", get_args(Metric)),
            ("on_harm", get_args(OnHarm)),
            ("promote", get_args(Promote)),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ConfigurationError(
                    f"{name} must be one of {', '.join(map(repr, known))}, got {value!r}: {nearest(str(value), known)}"
                )
        if not _number(self.block) or not 1 <= self.block <= LONGEST_BLOCK:
            raise ConfigurationError(f"block must be in [1, {LONGEST_BLOCK:g}] seconds, got {self.block!r}")
        for name in ("alpha", "guard_alpha"):
            if not _number(getattr(self, name)) or not 0 < getattr(self, name) < 0.5:
                raise ConfigurationError(f"{name} must be in (0, 0.5), got {getattr(self, name)!r}")
        if self.minimum_effect is not None and not (_number(self.minimum_effect) and self.minimum_effect > 0):
            raise ConfigurationError(f"minimum_effect must be > 0 and finite, got {self.minimum_effect!r}")
        if not _number(self.margin) or self.margin < 0:
            raise ConfigurationError(f"margin must be >= 0 and finite, got {self.margin!r}")
        if self.longest is not None and not (_number(self.longest) and self.longest > 0):
            raise ConfigurationError(f"longest must be > 0 seconds and finite, got {self.longest!r}")
        most = self.most_calls
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise ConfigurationError(f"most_calls must be a whole number >= 1, got {most!r}")

    @property
    def worth(self) -> float:
        """The least effect worth finding, in units of an outcome: of latency in those of its logarithm."""
        least = WORTH[self.metric] if self.minimum_effect is None else self.minimum_effect
        return math.log1p(least) if self.metric == "latency" else least

    @property
    def sign(self) -> float:
        """1: more is better; -1: less."""
        return -1.0 if self.metric in LESS_IS_BETTER else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One, as it stands. The first arm is what the others are compared with."""

    name: str  # its id, "quote-1" say
    arms: tuple[Strategy, ...]
    rules: Rules = field(default_factory=Rules)
    scale: Mapping[str, float] = field(default_factory=dict)  # of the utility: value, latency_cost, attempt_cost
    planned: float = 0.0  # calls by which the least effect worth finding should be found; 0: not known
    author: str = "poet"
    reason: str = ""
    begun: float = 0.0  # Unix time [s]
    replaces: str = ""  # the one that it was made from
    phase: Phase = "running"
    why: str = ""  # it is held, or has ended
    ended: float = 0.0  # Unix time [s]; 0: not yet
    verdict: str = "undecided"  # or "decided", "same", "harm", "stopped"
    winner: str = ""  # name of the arm
    promoted: str = ""  # name of the arm that was made live
    sentence: str = ""  # what it found, in words and figures
    figures: Mapping[str, Any] = field(default_factory=dict)  # the same for programs, once it has ended
    log: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", _shared_out(self.arms))

    @property
    def control(self) -> Strategy:
        """What the others are compared with."""
        return self.arms[0]

    @property
    def running(self) -> tuple[int, ...]:
        """Places of the arms that get calls."""
        return tuple(place for place, arm in enumerate(self.arms) if not arm.ended)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the calls, by the running arms."""
        whole = sum(self.arms[place].share for place in self.running)
        return tuple(self.arms[place].share / whole for place in self.running)

    @property
    def seed(self) -> str:
        """Of its blocks and hosts."""
        return f"{self.name}/{self.begun!r}"

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.phase == "ended"

    def place(self, name: str) -> int:
        """Of an arm. Raises ConfigurationError."""
        names = [arm.name for arm in self.arms]
        if name not in names:
            raise ConfigurationError(f"{self.name} has no arm {name!r}: {nearest(name, names)}")
        return names.index(name)

    def noted(self, at: float, what: str, why: str, /, **changes: Any) -> Experiment:
        """The same with an entry more in its log, and with ``changes``."""
        return replace(self, log=(*self.log, Note(at, what, why))[-MOST_NOTES:], **changes)

    def with_arm(self, place: int, **changes: Any) -> Experiment:
        """The same but for one arm."""
        arms = list(self.arms)
        arms[place] = replace(arms[place], **changes)
        arms[place] = replace(arms[place], versions=arms[place].versions[-MOST_VERSIONS:])
        return replace(self, arms=tuple(arms))

    def outcome(self, execution: Execution) -> float | None:
        """What a call says by the metric; None: nothing, as it was not made, was given up or nobody has said."""
        if execution.outcome in (Outcome.SHED, Outcome.CANCELLED):
            return None
        metric = self.rules.metric
        if metric == "success":
            return float(execution.outcome.good)
        if metric == "latency":
            return math.log(execution.seconds) if execution.seconds > 0 else None
        if metric == "score":
            return execution.score
        requests = sum(attempt.outcome is not Outcome.SHED for attempt in execution.attempts)
        if metric == "cost":
            return float(requests)
        scale = self.scale
        worth = scale["value"] * execution.outcome.good - scale["latency_cost"] * execution.seconds
        return worth - scale["attempt_cost"] * (max(1, requests) - 1)

    def document(self, function: FunctionKey, revision: int = 0) -> Document:
        """As it is kept."""
        told: dict[str, Any] = {name: getattr(self, name) for name in _PLAIN}
        told["rules"] = {name: getattr(self.rules, name) for name in Rules.__dataclass_fields__}
        told["arms"] = [
            {name: _jsonable(getattr(arm, name)) for name in Strategy.__dataclass_fields__} for arm in self.arms
        ]
        for arm in told["arms"]:  # 0: the one that is published beside it
            arm["versions"] = [version or json.loads(THIS_VERSION) for version in arm["versions"]]
        told |= {"scale": dict(self.scale), "figures": dict(self.figures), "log": [list(note) for note in self.log]}
        return Document(KIND, self.name, json.dumps(told), function, self.phase != "ended", revision)

    @classmethod
    def of(cls, document: Document) -> Experiment:
        """As it was kept. Raises ValueError where it cannot be read."""
        try:
            told = json.loads(document.body)
            if isinstance(told["ended"], Mapping):  # by whoever rolled back: as ``model.document.closed`` tells
                by, why, at = (told["ended"][name] for name in ("by", "why", "at"))
                told |= {"phase": "ended", "ended": at, "why": f"{why} ({by})", "verdict": "stopped"}
            return cls(
                **{name: told[name] for name in _PLAIN},
                arms=tuple(Strategy(**{**arm, "versions": tuple(arm["versions"])}) for arm in told["arms"]),
                rules=Rules(**told["rules"]),
                scale=told["scale"],
                figures=told["figures"],
                log=tuple(Note(*note) for note in told["log"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the experiment {document.name} cannot be read: {error!r}") from error


_PLAIN = (
    "name",
    "planned",
    "author",
    "reason",
    "begun",
    "replaces",
    "phase",
    "why",
    "ended",
    "verdict",
    "winner",
    "promoted",
    "sentence",
)


def strategy(name: str, given: Mapping[str, Value] | str, share: float = 0.0) -> Strategy:
    """An arm as people write it: values by name; or what its learner is, ``{"learner": "basic"}``; or ``"live"``.

    Raises ConfigurationError.

    >>> strategy("old", {"learner": "basic"}).kind, strategy("now", "live").kind, strategy("a", {"timeout": 2.0}).kind
    ('learner', 'live', 'parameters')
    """
    if isinstance(given, str):
        if given != CONTROL:
            raise ConfigurationError(f"{name}: an arm is values by name, a learner or {CONTROL!r}, got {given!r}")
        return Strategy(name=name, kind="live", share=share)
    if "learner" not in given:
        return Strategy(name=name, values=given, share=share)
    if given["learner"] not in LEARNERS:
        raise ConfigurationError(f"{name}: no learner {given['learner']!r}: {nearest(str(given['learner']), LEARNERS)}")
    for option in ("learning_rate", "convergence_threshold", "exploration"):
        value = given.get(option, 0.5)
        if not _number(value) or not 0 <= value <= 1 or (value == 0 and option != "exploration"):  # type: ignore[operator]
            raise ConfigurationError(f"{name}: {option} must be in (0, 1], got {value!r}")
    return Strategy(name=name, kind="learner", options=given, share=share)


def with_control(arms: Sequence[Strategy]) -> tuple[Strategy, ...]:
    """``arms`` with what is live before them, where only one was said. Raises ConfigurationError.

    >>> [arm.name for arm in with_control([Strategy(name="quick", values={"timeout": 2.0}, share=0.2)])]
    ['live', 'quick']
    """
    if len(arms) == 1 and arms[0].kind != "live":
        arms = (Strategy(name=CONTROL, kind="live"), *arms)
    return _shared_out(arms)


def _shared_out(arms: Iterable[Strategy]) -> tuple[Strategy, ...]:
    """With the shares of those that say none. Raises ConfigurationError."""
    arms = tuple(arms)
    names = [arm.name for arm in arms]
    if not 2 <= len(arms) <= MOST_ARMS:
        raise ConfigurationError(f"an experiment has 2 to {MOST_ARMS} arms, got {len(arms)}: {', '.join(names) or '-'}")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"two arms have one name: {', '.join(names)}")
    if sum(arm.kind == "live" for arm in arms) > 1:
        raise ConfigurationError("only one arm can be what is live")
    told = [(arm.kind, dict(arm.values), dict(arm.options)) for arm in arms if arm.kind == "parameters"]
    if any(one in told[place + 1 :] for place, one in enumerate(told)):
        raise ConfigurationError("two arms have the same values: there is nothing to find")
    said = sum(arm.share for arm in arms)
    silent = sum(not arm.share for arm in arms)
    rest = 1.0 - said
    if silent:
        if rest < LEAST_SHARE * silent:
            raise ConfigurationError(f"the shares said add up to {said:g}, nothing is left for the others")
        arms = tuple(arm if arm.share else replace(arm, share=rest / silent) for arm in arms)
    elif abs(rest) > 1e-6:
        raise ConfigurationError(f"shares must add up to 1, got {said:g}; the nearest are {_nearest(arms, said)}")
    for arm in arms:
        if arm.share < LEAST_SHARE:
            raise ConfigurationError(
                f"{arm.name}: a share must be at least {LEAST_SHARE:g}, got {arm.share:g}: an arm of fewer calls tells "
                "nothing"
            )
    return arms


def _nearest(arms: Sequence[Strategy], said: float) -> str:
    return ", ".join(f"{arm.name}={arm.share / said:.3g}" for arm in arms)


def _jsonable(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else list(value) if isinstance(value, tuple) else value


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
