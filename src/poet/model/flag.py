"""Flags: what POET may do, for whom; a closed list, with rules of which the first that matches wins."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from typing import Any, NamedTuple

from poet.errors import ConfigurationError, nearest

OFF, ON, OBSERVE, CANARY, DEFAULTS = "off", "on", "observe", "canary", "defaults"
SAFE = OFF  # of every flag: holds where what somebody said of it cannot be read
CANARY_SHARE = 10.0  # of functions for which ``canary`` is ``on``; for the others it is the phase below [%]
MOST_RULES = 20  # of one flag
LONGEST_GLOB, LONGEST_REASON = 100, 500  # [characters]
KIND, ARCHIVE = "flag", "flag.history"  # of the documents that rules, and changes too old for those, are kept in
_ROOM = 48_000  # bytes of changes that stay with a flag, before older ones go to its archive


class Flag(NamedTuple):
    """One of the flags. Its phases go from what does least to what does most."""

    name: str
    phases: tuple[str, ...]
    default: str
    about: str


FLAGS: Mapping[str, Flag] = {
    flag.name: flag
    for flag in (
        Flag(
            "learn.online",
            (DEFAULTS, OFF, OBSERVE, CANARY, ON),
            ON,
            "learning from calls: defaults: calls use the declared values; off: the last good values, learning stands"
            " still; observe: it learns and publishes nothing",
        ),
        Flag(
            "learn.batch",
            (OFF, OBSERVE, CANARY, ON),
            ON,
            "values that the history proves (poet analyze --apply): off: refused; observe: said, not published",
        ),
        Flag(
            "share.read",
            (OFF, OBSERVE, CANARY, ON),
            OFF,
            "taking over what other functions have learned; observe: said, not taken",
        ),
        Flag(
            "share.write",
            (OFF, OBSERVE, CANARY, ON),
            OFF,
            "letting other functions have what this one has learned; observe: said, not given",
        ),
        Flag(
            "rollout.auto",
            (OFF, CANARY, ON),
            ON,
            "roll-outs that go on by themselves; off: new versions are proposed, and a person promotes them",
        ),
        Flag("dashboard.write", (OFF, ON), ON, "changes from the dashboard; off: it only shows"),
    )
}


def flag(name: str) -> Flag:
    """The flag of this name. Raises ConfigurationError with the nearest."""
    known = FLAGS.get(name) if isinstance(name, str) else None
    if known is None:
        raise ConfigurationError(f"no flag {name!r}: {nearest(str(name), FLAGS)}")
    return known


def phase(name: str, value: object) -> str:
    """``value`` where the flag has it. Raises ConfigurationError with the nearest."""
    phases = flag(name).phases
    if not isinstance(value, str) or value not in phases:
        raise ConfigurationError(f"{name} has no value {value!r}: {nearest(str(value), phases)}")
    return value


def lower(name: str, one: str, other: str) -> str:
    """The one of two phases that does less."""
    phases = FLAGS[name].phases
    return min(one, other, key=phases.index)


class Whom(NamedTuple):
    """Whom a flag is asked for."""

    function: str = ""  # full name; empty: no one in particular
    host: str = ""
    tenant: str = ""


class Rule(NamedTuple):
    """Says a value for some.

    function: a glob of the full name, or of its end after any dot, as functions are named on the command line.
    percent: share of pairs of function and host that it holds for, in (0, 100] [%]: always the same ones, and those of
        a smaller share among those of a larger one.
    """

    value: str
    function: str = "*"
    host: str = "*"
    tenant: str = "*"
    percent: float = 100.0

    @property
    def selects(self) -> tuple[str, str, str, bool]:
        """By what a rule is known: a new one that selects the same takes its place."""
        return self.function, self.host, self.tenant, self.percent < 100

    def matches(self, name: str, whom: Whom) -> bool:
        """Whether it says something for them. ``name``: of its flag."""
        return (
            (self.function == "*" or _fits(whom.function, self.function))
            and (self.host == "*" or fnmatchcase(whom.host, self.host))
            and (self.tenant == "*" or fnmatchcase(whom.tenant, self.tenant))
            and (self.percent >= 100 or bucket(name, whom.function, whom.host) < self.percent)
        )

    def told(self) -> dict[str, Any]:
        """For JSON: the value, and what is not for all."""
        usual = Rule(self.value)
        return {key: x for key, x in self._asdict().items() if key == "value" or x != getattr(usual, key)}


def _fits(name: str, glob: str) -> bool:
    if fnmatchcase(name, glob):
        return True
    parts = name.split(".")
    return any(fnmatchcase(".".join(parts[start:]), glob) for start in range(1, len(parts)))


def bucket(name: str, function: str, host: str) -> float:
    """Where a function on a host stands for a flag, in [0, 100): uniform over functions and hosts, always the same.

    A keyed hash (BLAKE2b, RFC 7693, section 2.9) with the flag's name as its key, so that it is not the same few that
    go first with every flag.

    >>> bucket("learn.online", "shop.fetch", "web-1") == bucket("learn.online", "shop.fetch", "web-1")
    True
    """
    told = f"{function}\0{host}".encode("utf-8", "surrogatepass")
    digest = blake2b(told, digest_size=6, key=name.encode()[:64]).digest()  # 48 bits: exact as a float
    return int.from_bytes(digest, "big") / (1 << 48) * 100.0


def rule(name: str, value: object, **selected: object) -> Rule:
    """A rule of the flag ``name``, checked. Raises ConfigurationError."""
    for key in selected:
        if key not in Rule._fields[1:]:
            raise ConfigurationError(f"a rule of {name} has no {key!r}: {nearest(key, Rule._fields)}")
    for key in ("function", "host", "tenant"):
        glob = selected.get(key, "*")
        if not isinstance(glob, str) or not 0 < len(glob) <= LONGEST_GLOB or "\0" in glob:
            raise ConfigurationError(
                f"{key} of a rule must be a name or a pattern of 1 to {LONGEST_GLOB} characters, got {glob!r}"
            )
    percent = selected.get("percent", 100.0)
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 < percent <= 100:
        raise ConfigurationError(f"percent of a rule must be in (0, 100], got {percent!r}")
    return Rule(phase(name, value), **{**selected, "percent": float(percent)})  # type: ignore[arg-type]


def decided(name: str, rules: Iterable[Rule], whom: Whom) -> Rule | None:
    """The first rule that matches, with ``canary`` settled; None: none does."""
    for each in rules:
        if each.matches(name, whom):
            return each._replace(value=settled(name, each.value, whom.function))
    return None


def settled(name: str, value: str, function: str) -> str:
    """``canary`` as it is for a function: ``on`` for a share of them, the phase below for the others.

    By function only, as what is learned of one holds on all hosts. For no function in particular it stays.
    """
    if value != CANARY or not function:
        return value
    if bucket(f"{name} canary", function, "") < CANARY_SHARE:
        return ON
    phases = FLAGS[name].phases
    return phases[phases.index(CANARY) - 1]


# --- as texts --------------------------------------------------------------------------------------------------------


class Said(NamedTuple):
    """What one source says."""

    rules: Mapping[str, tuple[Rule, ...]] = {}  # by flag
    faults: tuple[str, ...] = ()  # what of it cannot be understood; then every flag that it does not name is ``SAFE``

    def of(self, name: str) -> tuple[Rule, ...]:
        """Of one flag, in order."""
        return (*self.rules.get(name, ()), *((Rule(SAFE),) if self.faults and name not in self.rules else ()))


NOTHING = Said()


def from_words(text: str) -> Said:
    """What an environment variable says: ``learn.online=off, rollout.auto=off``. Never raises.

    >>> from_words("learn.online=off").of("learn.online")[0].value
    'off'
    >>> from_words("lern.online=off").faults
    ("no flag 'lern.online': did you mean 'learn.online'?",)
    """
    rules: dict[str, tuple[Rule, ...]] = {}
    faults = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, mark, value = (word.strip() for word in part.partition("="))
        try:
            if not mark:
                flag(name)
                raise ConfigurationError(f"{name} needs a value, as in {name}=off")  # noqa: TRY301
            rules[name] = (rule(name, value.lower()), *rules.get(name, ()))
        except ConfigurationError as error:
            faults.append(str(error))
            if name in FLAGS:
                rules[name] = (Rule(SAFE),)
    return Said(rules, tuple(faults))


def from_json(text: str) -> Said:
    """What a file says: ``{"learn.online": "off", "share.read": [{"value": "on", "function": "shop.*"}]}``.

    Never raises.
    """
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Said({}, (f"no JSON: {error}",))
    if not isinstance(told, dict):
        return Said({}, ("must be an object of flags by name",))
    rules: dict[str, tuple[Rule, ...]] = {}
    faults = []
    for name, value in told.items():
        try:
            flag(name)
            rules[name] = tuple(rules_of(name, value))
        except ConfigurationError as error:
            faults.append(str(error))
            if name in FLAGS:
                rules[name] = (Rule(SAFE),)
    return Said(rules, tuple(faults))


def rules_of(name: str, told: object) -> list[Rule]:
    """The rules of a flag from JSON: a value for all, or a list of them. Raises ConfigurationError."""
    if not isinstance(told, list):
        return [rule(name, told)]
    found = []
    for each in told[: MOST_RULES + 1]:
        if not isinstance(each, dict) or "value" not in each:
            raise ConfigurationError(f"a rule of {name} must be an object with a value, got {each!r}")
        found.append(rule(name, each["value"], **{str(key): x for key, x in each.items() if key != "value"}))
    if len(found) > MOST_RULES:
        raise ConfigurationError(f"{name} may have at most {MOST_RULES} rules, got {len(told)}")
    return found


# --- as they are kept ------------------------------------------------------------------------------------------------


class FlagChange(NamedTuple):
    """One change of a flag's rules: who, when, what and why."""

    number: int  # of the flag's changes, from 1
    at: float  # Unix time [s]
    author: str
    reason: str
    rules: tuple[Rule, ...]  # afterwards; before: those of the change before, or none


def body_of(changes: Sequence[FlagChange]) -> str:
    """The text of a document with these changes, oldest first."""
    told = [{**each._asdict(), "rules": [one.told() for one in each.rules]} for each in changes]
    return json.dumps({"changes": told}, ensure_ascii=False, separators=(",", ":"))


def changes_of(name: str, body: str) -> list[FlagChange]:
    """The inverse of ``body_of``. Raises ConfigurationError where it is damaged."""
    try:
        return [
            FlagChange(
                int(each["number"]),
                float(each["at"]),
                str(each["author"]),
                str(each["reason"]),
                tuple(rules_of(name, each["rules"])),
            )
            for each in json.loads(body)["changes"]
        ]
    except ConfigurationError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigurationError(f"what is kept of {name} cannot be read: {error!r}") from error


def parted(changes: Sequence[FlagChange]) -> tuple[list[FlagChange], list[FlagChange]]:
    """Those that go to the archive, and those that stay with the flag: the newest, and as many as there is room for."""
    kept = list(changes)
    if len(body_of(kept).encode()) <= _ROOM:
        return [], kept
    return kept[:-1], kept[-1:]


def with_rule(rules: Sequence[Rule], new: Rule) -> tuple[Rule, ...]:
    """``new`` before all others, in place of one that selects the same.

    >>> kill = Rule("off")
    >>> [each.value for each in with_rule((Rule("on", function="shop.*"),), kill)]
    ['off', 'on']
    """
    return (new, *(each for each in rules if each.selects != new.selects))


def without_rule(rules: Sequence[Rule], gone: Rule) -> tuple[Rule, ...]:
    """Without those for the same function, host and tenant, whatever their value and share."""
    return tuple(each for each in rules if each.selects[:3] != gone.selects[:3])
