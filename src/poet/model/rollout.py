"""A roll-out: how a new version reaches more and more calls, and what became of it.

proposed → canary (a step after the other) → bake → done; from each of the first three to rolled back (it did harm), to
withdrawn (a person, or a better one, ended it), and to paused and back. While it is a canary, few calls get the new
version; in the bake it is live, and few still get the old one, so that there is something to compare with.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from poet.errors import ConfigurationError, nearest
from poet.model.document import THIS_VERSION, Document
from poet.model.function import FunctionKey
from poet.model.tunable import Value

Advance = Literal["exposure", "evidence"]
OnHarm = Literal["roll back", "pause", "observe"]
Pace = Literal["steps", "first", "urgent"]
Phase = Literal["proposed", "canary", "bake", "done", "rolled back", "withdrawn"]
KIND = "rollout"
ENDED: tuple[Phase, ...] = ("done", "rolled back", "withdrawn")
MOST_NOTES = 40  # of a roll-out's log


class Step(NamedTuple):
    """So many calls get the new version before more of them do."""

    share: float  # of all calls, in (0, 1)
    calls: int  # that got the new version in this step, >= 1


STEPS = (Step(0.25, 8), Step(0.5, 10))
URGENT = (Step(0.5, 8),)
BAKE = Step(0.9, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutPolicy:
    """How new versions of a function reach its calls: ``poet(rollout=RolloutPolicy(...))``.

    steps: shares of the calls, each above the one before, and how many calls must have got the new version at each.
    first: the same while the live values are the declared ones, of which nobody knows whether they are any better.
    urgent: the same for a change that cannot wait, as the live version fails.
    bake: share of the new version once it is live, and how many calls must have got it before the old one is gone.
    advance: ``"exposure"``: on to the next step after so many calls without harm; ``"evidence"``: only once harm beyond
        ``margin`` is excluded, too.
    on_harm: what harm does: ``"roll back"``; ``"pause"``: the old version for all, until a person decides;
        ``"observe"``: it is told, and nothing else. Also by parameter, ``{"retries": "observe"}``: of those that a
        version changes the strictest holds, and those that are not named are rolled back.
    alpha: probability, in (0, 0.5), that a roll-out of a version that is no worse is ever taken for harm.
    margin: worsening that is none, as a share of the latency or of the requests, >= 0 [1].
    slo: duration of a call from which on it breaches the service level, > 0 [s]; None: what 95 % of the calls before
        kept.
    shadow: calls on which a new version is tried out on paper, by replay, before any call gets it, >= 0.

    >>> RolloutPolicy(steps=((0.1, 50),)).steps
    (Step(share=0.1, calls=50),)
    """

    steps: tuple[Step, ...] = STEPS
    first: tuple[Step, ...] = URGENT
    urgent: tuple[Step, ...] = URGENT
    bake: Step = BAKE
    advance: Advance = "exposure"
    on_harm: OnHarm | Mapping[str, OnHarm] = field(default="roll back", hash=False)
    alpha: float = 0.01
    margin: float = 0.05
    slo: float | None = None
    shadow: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "first", "urgent"):
            steps = tuple(_step(name, each) for each in _several(name, getattr(self, name)))
            shares = [each.share for each in steps]
            if shares != sorted(set(shares)):
                raise ConfigurationError(f"{name} must have growing shares, got {', '.join(map(repr, shares))}")
            object.__setattr__(self, name, steps)
        object.__setattr__(self, "bake", _step("bake", self.bake))
        if self.advance not in get_args(Advance):
            raise ConfigurationError(
                f"advance must be one of {_quoted(get_args(Advance))}, got {self.advance!r}: "
                f"{nearest(str(self.advance), get_args(Advance))}"
            )
        named = self.on_harm if isinstance(self.on_harm, Mapping) else {"": self.on_harm}
        for what in named.values():
            if what not in get_args(OnHarm):
                raise ConfigurationError(
                    f"on_harm must be one of {_quoted(get_args(OnHarm))}, got {what!r}: "
                    f"{nearest(str(what), get_args(OnHarm))}"
                )
        if isinstance(self.on_harm, Mapping):
            object.__setattr__(self, "on_harm", MappingProxyType(dict(self.on_harm)))
        if not _number(self.alpha) or not 0 < self.alpha < 0.5:
            raise ConfigurationError(f"alpha must be in (0, 0.5), got {self.alpha!r}")
        if not _number(self.margin) or self.margin < 0:
            raise ConfigurationError(f"margin must be >= 0 and finite, got {self.margin!r}")
        if self.slo is not None and (not _number(self.slo) or self.slo <= 0):
            raise ConfigurationError(f"slo must be > 0 seconds and finite, got {self.slo!r}")
        if isinstance(self.shadow, bool) or not isinstance(self.shadow, int) or self.shadow < 0:
            raise ConfigurationError(f"shadow must be a whole number of calls >= 0, got {self.shadow!r}")

    def harmed(self, names: Mapping[str, object]) -> OnHarm:
        """What harm by a version does that changes these parameters."""
        if isinstance(self.on_harm, str):
            return self.on_harm
        told = [self.on_harm.get(name, self.on_harm.get(name.partition("@")[0], "roll back")) for name in names]
        return min(told, key=get_args(OnHarm).index, default="roll back")


class Note(NamedTuple):
    """An entry of a roll-out's log."""

    at: float  # Unix time [s]
    what: str  # "proposed", "canary at 25 %" ...
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """Where a roll-out stands. Replaced as a whole with every change."""

    name: str
    base: int  # version that calls had before
    version: int  # that is rolled out
    changes: Mapping[str, tuple[Value | None, Value | None]] = field(default_factory=dict)  # before and after, by name
    policy: RolloutPolicy = field(default_factory=RolloutPolicy)
    pace: Pace = "steps"  # which of the policy's steps it takes
    phase: Phase = "proposed"
    step: int = 0  # of the canary, from 0
    exposed: int = 0  # calls that had got the new version, of all processes, when this step or the bake began
    paused: str = ""  # why it goes no further; empty: it does
    author: str = "poet"
    reason: str = ""
    begun: float = 0.0  # Unix time [s]
    verdict: str = "undecided"  # "harm", "safe" or "undecided"
    sentence: str = ""  # what it rests on, in words and figures
    figures: Mapping[str, Any] = field(default_factory=dict)  # the same for programs
    log: tuple[Note, ...] = ()

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those of its canary."""
        steps: tuple[Step, ...] = getattr(self.policy, self.pace)
        return steps

    @property
    def stage(self) -> Step | None:
        """Share and calls of where it stands; None: no lot is drawn."""
        if self.phase == "canary":
            return self.steps[min(self.step, len(self.steps) - 1)]
        return self.policy.bake if self.phase == "bake" else None

    @property
    def told(self) -> str:
        """Where it stands, in a few words."""
        stage = self.stage
        where = self.phase if stage is None or self.paused else f"{self.phase} at {100 * stage.share:.3g} %"
        return f"v{self.base} -> v{self.version}, {where}{', paused' if self.paused else ''}"

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.phase in ENDED

    def noted(self, at: float, what: str, why: str, **changes: Any) -> Rollout:
        """The same with an entry more in its log, and with ``changes``."""
        return replace(self, log=(*self.log, Note(at, what, why))[-MOST_NOTES:], **changes)

    def document(self, function: FunctionKey, revision: int = 0) -> Document:
        """As it is kept."""
        told: dict[str, Any] = {
            **{name: getattr(self, name) for name in _PLAIN},
            "changes": {name: list(pair) for name, pair in self.changes.items()},
            "policy": _told(self.policy),
            "figures": dict(self.figures),
            "log": [list(note) for note in self.log],
        }
        if not self.version:
            told["version"] = json.loads(THIS_VERSION)
        return Document(KIND, self.name, json.dumps(told), function, not self.ended, revision)

    @classmethod
    def of(cls, document: Document) -> Rollout:
        """As it was kept. Raises ValueError where it cannot be read."""
        try:
            told = json.loads(document.body)
            policy = dict(told["policy"])
            for name in ("steps", "first", "urgent"):
                policy[name] = tuple(Step(*each) for each in policy[name])
            policy["bake"] = Step(*policy["bake"])
            if not document.open and told["phase"] not in ENDED:  # ended by what was done to the function otherwise
                ended = told.get("ended") or {}
                note = [ended.get("at", document.at), "withdrawn", ended.get("why", "")]
                told |= {"phase": "withdrawn", "paused": "", "sentence": note[2], "log": [*told["log"], note]}
            return cls(
                **{name: told[name] for name in _PLAIN},
                changes={name: (before, after) for name, (before, after) in told["changes"].items()},
                policy=RolloutPolicy(**policy),
                figures=told["figures"],
                log=tuple(Note(*note) for note in told["log"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"the roll-out {document.name} cannot be read: {error!r}") from error


_PLAIN = (
    "name",
    "base",
    "version",
    "pace",
    "phase",
    "step",
    "exposed",
    "paused",
    "author",
    "reason",
    "begun",
    "verdict",
    "sentence",
)


def changes_of(before: Mapping[str, Value], after: Mapping[str, Value]) -> dict[str, tuple[Value | None, Value | None]]:
    """What differs, by name; None: there is no such value.

    >>> changes_of({"timeout": 3.0, "retries": 1}, {"timeout": 2.0, "retries": 1})
    {'timeout': (3.0, 2.0)}
    """
    names = dict.fromkeys([*before, *after])
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def _told(policy: RolloutPolicy) -> dict[str, Any]:
    on_harm = policy.on_harm if isinstance(policy.on_harm, str) else dict(policy.on_harm)
    return asdict(replace(policy, on_harm="roll back")) | {"on_harm": on_harm}


def _several(name: str, steps: object) -> list[Any]:
    if not isinstance(steps, list | tuple) or not steps:
        raise ConfigurationError(f"{name} must be pairs of a share and a number of calls, one at least, got {steps!r}")
    return list(steps)


def _step(name: str, given: Any) -> Step:
    try:
        share, calls = given
    except (TypeError, ValueError):
        raise ConfigurationError(f"{name}: a step is a share and a number of calls, got {given!r}") from None
    if not _number(share) or not 0 < share < 1:
        raise ConfigurationError(f"{name}: a share must be in (0, 1), got {share!r}")
    if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
        raise ConfigurationError(f"{name}: calls must be a whole number >= 1, got {calls!r}")
    return Step(float(share), calls)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _quoted(words: tuple[str, ...]) -> str:
    return ", ".join(map(repr, words))
