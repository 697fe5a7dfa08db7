"""Which value a flag has now: from the environment, a file of the project, rows in the store, or by default.

The first of these that says something for a function decides. Each works with the others gone: a text that cannot be
read or understood says ``off``, and is counted as a fault; what was known last of a store that is away still holds, and
lies in a file of this host for processes that start meanwhile. Nothing of it is on the call path: the trainer's rounds
look, and calls use what they deliver.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from poet.errors import ConfigurationError, StaleDocument
from poet.model.document import Document
from poet.model.flag import (
    ARCHIVE,
    FLAGS,
    KIND,
    LONGEST_REASON,
    MOST_RULES,
    NOTHING,
    OBSERVE,
    OFF,
    ON,
    SAFE,
    FlagChange,
    Rule,
    Said,
    Whom,
    body_of,
    changes_of,
    decided,
    flag,
    from_json,
    from_words,
    lower,
    parted,
    with_rule,
    without_rule,
)
from poet.seams import Clock, Store
from poet.settings import Settings

VARIABLE = "POET_FLAGS"
FILE, SWITCH = "flags.json", "off"  # in the project's ``.poet``: values or rules; all flags off, by being there
KNOWN = "flags.known"  # in a host's folder beside a server's store: the rows as they were known last
LOOK = 1.0  # time between two looks at the files [s]
LONGEST_FILE = 65_536  # [bytes]
TRIES = 200  # of a change, while others change the same flag

Source = Literal["environment", "file", "row", "default"]
SOURCES: tuple[Source, ...] = ("environment", "file", "row")


class Decided(NamedTuple):
    """What holds of a flag, and who said so."""

    value: str
    source: Source
    rule: Rule | None  # None: of nobody, it is the default


class Flags:
    """The flags as one process sees them. Used by one thread at a time, or under the trainer's lock."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        fault: Callable[[str, BaseException], None] = lambda where, error: None,
        *,
        host: str = "",
        folder: Path | None = None,
    ) -> None:
        """fault: told of what cannot be read, once until that changes. folder: where rows are kept for a store away."""
        self._settings, self._clock, self._fault = settings, clock, fault
        self._files = settings.root / ".poet"
        self._known = None if folder is None else folder / KNOWN
        self.host, self.tenant = host, settings.tenant
        self._said: dict[Source, Said] = {"environment": from_words(settings.flags), "file": NOTHING, "row": NOTHING}
        self._rows: list[Document] | None = None  # None: not known yet
        self._told: dict[Source, tuple[str, ...]] = {}  # faults that were counted
        self._look_at = clock.now()
        self._memo: dict[tuple[str, str], str] = {}
        self._look()
        if self._known is not None:
            self._said["row"] = self._last_known(self._known)
        self._changed()

    def value(self, name: str, function: str = "") -> str:
        """The flag's phase for a function, by its full name; ``canary`` is settled. Raises ConfigurationError."""
        known = self._memo.get((name, function))
        if known is None:
            known = self._memo[name, function] = self.decided(name, Whom(function, self.host, self.tenant)).value
        return known

    def decided(self, name: str, whom: Whom) -> Decided:
        """What holds for them, and why. Raises ConfigurationError where there is no such flag."""
        known = flag(name)
        found = Decided(known.default, "default", None)
        for source in SOURCES:
            rule = decided(name, self._said[source].of(name), whom)
            if rule is not None:
                found = Decided(rule.value, source, rule)
                break
        if name != "learn.online" or self._settings.learning == ON:
            return found
        most = OFF if self._settings.learning == "off" else OBSERVE  # as POET_LEARNING says
        if lower(name, found.value, most) == found.value:
            return found
        return Decided(most, "environment", Rule(most))

    def rules(self, name: str) -> list[tuple[Source, Rule]]:
        """All rules of a flag in the order in which they are asked."""
        return [(source, rule) for source in SOURCES for rule in self._said[source].of(name)]

    @property
    def faults(self) -> list[str]:
        """What cannot be read or understood now, each with its source."""
        return [f"{_NAMES[source]}: {fault}" for source in SOURCES for fault in self._said[source].faults]

    def refresh(self) -> bool:
        """Look at the files, where it is time. Says whether anything may have another value now."""
        now = self._clock.now()
        if 0 <= now - self._look_at < LOOK:
            return False
        self._look_at = now
        return self._look() and self._changed()

    def read(self, store: Store) -> bool:
        """Take over the rows of a store. Says whether anything may have another value now. Raises StoreError."""
        rows = store.documents(KIND)
        if rows == self._rows:
            return False
        self._rows = rows
        said = said_by(rows)
        if self._known is not None:
            self._keep(self._known, rows)
        if said == self._said["row"]:
            return False
        self._said["row"] = said
        return self._changed()

    # ------------------------------------------------------------------ sources

    def _look(self) -> bool:
        said = self._of_files()
        if said == self._said["file"]:
            return False
        self._said["file"] = said
        return True

    def _of_files(self) -> Said:
        said = NOTHING
        try:
            text = _text(self._files / FILE)
        except (OSError, ValueError) as error:
            said = Said({}, (f"{self._files / FILE}: {error}",))
        else:
            if text is not None:
                said = from_json(text)
                said = said._replace(faults=tuple(f"{self._files / FILE}: {fault}" for fault in said.faults))
        try:
            switched = _there(self._files / SWITCH)
        except OSError as error:
            return Said({}, (*said.faults, f"{self._files / SWITCH}: {error}"))
        if not switched:
            return said
        # It says off, to all; where the other file says less than that, to some, it holds for them.
        at_most = {
            name: (*(rule._replace(value=lower(name, rule.value, OFF)) for rule in said.of(name)), Rule(OFF))
            for name in FLAGS
        }
        return Said(at_most, said.faults)

    def _last_known(self, path: Path) -> Said:
        try:
            text = _text(path)
        except (OSError, ValueError) as error:
            return Said({}, (f"{path}: {error}",))
        if text is None:
            return NOTHING
        said = from_json(text)
        return said._replace(faults=tuple(f"{path}: {fault}" for fault in said.faults))

    def _keep(self, path: Path, rows: Sequence[Document]) -> None:
        """A disk that is full costs those their rules who start while the store is away, and nothing else."""
        import json

        said = said_by(rows)
        told = {
            name: [rule.told() for rule in said.of(name)]
            for name in FLAGS
            if said.of(name) or any(row.name == name for row in rows)
        }
        text = json.dumps(told)
        try:
            if _text(path) == text or (not told and not _there(path)):
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        except (OSError, ValueError) as error:
            self._fault("flags", error)

    def _changed(self) -> bool:
        self._memo.clear()
        for source in SOURCES:
            faults = self._said[source].faults
            if faults and faults != self._told.get(source):
                self._fault("flags", ConfigurationError(f"{_NAMES[source]}: {'; '.join(faults)}: taken for {SAFE}"))
            self._told[source] = faults
        return True


_NAMES: Mapping[Source, str] = {"environment": VARIABLE, "file": "file", "row": "row in the store"}


def said_by(rows: Sequence[Document]) -> Said:
    """What rows in a store say; one that is damaged says ``SAFE`` of its own flag only."""
    rules: dict[str, tuple[Rule, ...]] = {}
    faults = []
    for row in rows:
        if row.kind != KIND or row.function is not None or row.name not in FLAGS:  # of a later release
            continue
        try:
            changes = changes_of(row.name, row.body)
            rules[row.name] = changes[-1].rules if changes else ()
        except ConfigurationError as error:
            rules[row.name] = (Rule(SAFE),)
            faults.append(str(error))
    for name in FLAGS if faults else ():
        rules.setdefault(name, ())  # the others are as they are
    return Said(rules, tuple(faults))


def _text(path: Path) -> str | None:
    """What a file says; None: it is not there. Raises OSError, ValueError."""
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(content) > LONGEST_FILE:
        raise ValueError(f"longer than {LONGEST_FILE} bytes")
    return content.decode("utf-8-sig")


def _there(path: Path) -> bool:
    """Whether there is such a file. Raises OSError where that cannot be known."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


# --- changing rows ---------------------------------------------------------------------------------------------------


def set_rule(store: Store, name: str, rule: Rule, *, author: str, reason: str, at: float) -> list[FlagChange]:
    """Put a rule before all others of the flag, in place of one that selects the same. ``at``: Unix time [s].

    Gives the newest changes, this one the last. Raises ConfigurationError where there would be too many, StoreError.
    """
    return _change(store, name, lambda rules: with_rule(rules, rule), author=author, reason=reason, at=at)


def unset_rule(
    store: Store, name: str, rule: Rule | None, *, author: str, reason: str, at: float
) -> list[FlagChange] | None:
    """Take away the rules for the function, host and tenant that ``rule`` names; None: all rules of the flag.

    Gives the newest changes; None: there was nothing to take away. Raises StoreError.
    """

    def step(rules: Sequence[Rule]) -> tuple[Rule, ...]:
        return () if rule is None else without_rule(rules, rule)

    if not (known := _row(store, name)) or step(known[0][-1].rules) == known[0][-1].rules:
        return None
    return _change(store, name, step, author=author, reason=reason, at=at)


def _change(
    store: Store,
    name: str,
    step: Callable[[Sequence[Rule]], tuple[Rule, ...]],
    *,
    author: str,
    reason: str,
    at: float,
) -> list[FlagChange]:
    flag(name)
    if len(reason) > LONGEST_REASON:
        raise ConfigurationError(f"a reason must be of at most {LONGEST_REASON} characters, got {len(reason)}")
    for left in reversed(range(TRIES)):
        changes, revision = _row(store, name) or ([], 0)
        rules = step(changes[-1].rules if changes else ())
        if len(rules) > MOST_RULES:
            raise ConfigurationError(f"{name} may have at most {MOST_RULES} rules: unset one of them first")
        new = FlagChange(revision + 1, at, author[:200], reason, rules)
        gone, kept = parted([*changes, new])
        try:
            if gone:  # first: what is there twice after a crash is told once
                _archive(store, name, gone)
            store.keep(Document(KIND, name, body_of(kept), revision=revision))
        except StaleDocument:  # somebody else was faster
            if not left:
                raise
        else:
            return kept
    raise AssertionError("unreachable")


def _archive(store: Store, name: str, changes: Sequence[FlagChange]) -> None:
    named = f"{name}/{changes[0].number:08d}"
    if not store.documents(ARCHIVE, name=named):
        store.keep(Document(ARCHIVE, named, body_of(changes), open=False), quiet=True)


def _row(store: Store, name: str) -> tuple[list[FlagChange], int] | None:
    """The newest changes of a flag, and the revision of its row.

    One that is damaged counts as without rules, so that the next change mends it.
    """
    rows = [row for row in store.documents(KIND, name=name) if row.function is None]
    if not rows:
        return None
    try:
        return changes_of(name, rows[0].body), rows[0].revision
    except ConfigurationError as error:
        damaged = FlagChange(rows[0].revision, rows[0].at, "unknown", f"damaged: {error}"[:LONGEST_REASON], ())
        return [damaged], rows[0].revision


def history(store: Store, name: str | None = None) -> list[tuple[str, FlagChange]]:
    """All changes of one flag, or of all, oldest first. Raises ConfigurationError, StoreError."""
    names = list(FLAGS) if name is None else [flag(name).name]
    found: dict[tuple[str, int], FlagChange] = {}
    for row in (*store.documents(ARCHIVE), *store.documents(KIND)):
        named = row.name.partition("/")[0]
        if row.function is None and named in names:
            try:
                found.update({(named, change.number): change for change in changes_of(named, row.body)})
            except ConfigurationError as error:
                found[named, row.revision] = FlagChange(row.revision, row.at, "unknown", str(error), ())
    return sorted(((named, change) for (named, _), change in found.items()), key=lambda each: (each[1].at, each[0]))
