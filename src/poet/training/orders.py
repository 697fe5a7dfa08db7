"""What a person orders while a server's store is away: files of a host, which its processes follow at once.

Beside them lies what this host knew last of each function's versions, so that there is something to go back to. An
order is handed over when the store is back, by whichever process gets to it first, and once: under a lock among the
processes of this host; and where one died in the middle, the next finds it in the history. An order that somebody has
overtaken by a later change of their own is dropped, and said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

from poet.errors import PoetError, StoreAway, StoreUnavailable, UnknownFunction, UnknownVersion
from poet.model.document import Document
from poet.model.function import FunctionKey
from poet.model.parameters import Alias, AliasName, Change, ParameterSet, Standing
from poet.model.tunable import Value
from poet.seams import Store
from poet.training.rollback import roll_back

VERSIONS = 30  # of a function that a host remembers, the newest
CHANGES = 100  # of its history
MARK = "ordered on"  # in the reason of what was ordered so

Action = Literal["rollback", "pause", "resume"]


class Overtaken(PoetError):
    """An order was not carried out, as somebody has changed the function since, or the store lacks its version."""


class Order(NamedTuple):
    """One of them."""

    function: FunctionKey
    action: Action
    version: ParameterSet | None  # to go back to
    author: str
    reason: str
    at: float  # Unix time [s]
    host: str
    id: str

    @property
    def text(self) -> str:
        """The reason as the history tells it."""
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return f"{self.reason or self.action} ({MARK} {self.host} at {when}, while the store was away; {self.id})"

    def applied(self, standing: Standing) -> Standing:
        """What holds on this host from now on."""
        if self.action == "resume":
            return standing._replace(paused="")
        if self.version is None:
            return standing._replace(paused=self.text)
        version = self.version
        pinned = {name: x for name, x in standing.pinned.items() if name in version and version[name] == x}
        return standing._replace(live=version, paused=self.text, pinned=pinned, canary=None, steering=())


class Known(NamedTuple):
    """What this host knew last of one function."""

    versions: tuple[ParameterSet, ...]
    aliases: Mapping[AliasName, Alias]
    history: tuple[Change, ...]


class Orders:
    """The files of one host. Used by one thread at a time, and by several processes."""

    def __init__(self, folder: Path, fault: Callable[[str, BaseException], None] = lambda where, error: None) -> None:
        """folder: where the host keeps what it knows of the store. fault: told of what cannot be read, once each."""
        self._orders, self._versions, self._fault = folder / "orders", folder / "versions", fault
        self._read: dict[str, Order | None] = {}  # by file; None: it cannot be read
        self._refused = False  # whether this process may not hand anything over, and has said so
        self._followed: set[str] = set()  # files of orders that this process has obeyed
        self._to_remember: dict[FunctionKey, None] = {}
        self.pending: frozenset[FunctionKey] = frozenset()  # functions of orders that the store has not taken yet

    # ------------------------------------------------------------------ orders

    def leave(self, order: Order) -> None:
        """Give it to the processes of this host. Raises StoreUnavailable where it cannot be written."""
        told = order._asdict() | {
            "function": list(order.function),
            "version": None if order.version is None else _told(order.version),
        }
        self._write(self._orders / f"{order.at:017.6f}-{order.id}.json", told)

    def waiting(self) -> list[Order]:
        """Those that the store has not taken yet, oldest first."""
        try:
            names = sorted(name for name in os.listdir(self._orders) if name.endswith(".json"))
        except OSError:
            names = []
        if not names and not self._read:
            return []
        for name in self._read.keys() - set(names):
            del self._read[name]
            self._followed.discard(name)
        for name in names:
            if name not in self._read:
                self._read[name] = self._order(self._orders / name)
        return [order for name in names if (order := self._read[name]) is not None]

    def new(self) -> list[Order]:
        """Those that wait and that this has not given yet."""
        found = self.waiting()
        fresh = [order for order in found if _name(order) not in self._followed]
        self._followed.update(map(_name, fresh))
        return fresh

    def obey(
        self,
        store: Store,
        standing: Callable[[FunctionKey], Standing | None],
        adopt: Callable[[FunctionKey, Standing], None],
    ) -> None:
        """Follow new orders, and let the store have all that wait. Raises StoreError where it is still away.

        standing: of a function of this process; adopt: hands down what holds from now on.
        """
        self.pending = frozenset(order.function for order in self.waiting())
        if not self.pending:
            return
        for order in self.new():
            before = standing(order.function)
            if before is not None:
                adopt(order.function, order.applied(before))
        for order in self.waiting() if store.url != "memory:" else ():  # one in place of a store that cannot be opened
            after = self.hand_over(order, store)
            if after is not None:
                adopt(order.function, after)
        self.pending = frozenset(order.function for order in self.waiting())

    def hand_over(self, order: Order, store: Store) -> Standing | None:
        """Let the store have it. None: another process was faster, or will be. Raises StoreError: it waits on."""
        path = self._orders / _name(order)
        with self._locked() as ours:
            if not ours or not path.exists():
                return None
            try:
                standing = carried_out(order, store)
            except Overtaken as error:
                self._fault("orders", error)
                standing = store.standing(order.function)
            except UnknownFunction:  # whoever has it will register it
                return None
            with suppress(OSError):
                path.unlink()
        return standing

    def _order(self, path: Path) -> Order | None:
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["action"] not in get_args(Action):
                raise ValueError(f"no action {told['action']!r}")  # noqa: TRY301
            return Order(
                FunctionKey(*told["function"]),
                told["action"],
                None if told["version"] is None else _version(told["version"]),
                str(told["author"]),
                str(told["reason"]),
                float(told["at"]),
                str(told["host"]),
                str(told["id"]),
            )
        except FileNotFoundError:  # handed over meanwhile
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._fault("orders", ValueError(f"{path} cannot be read: {error!r}"))
            return None

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether no other process of this host is at it; where there are no locks, each relies on the history."""
        try:
            import fcntl
        except ImportError:
            yield True
            return
        try:
            file = (self._orders / "lock").open("a")
        except OSError as error:  # another user's folder: one of that user's processes will do it
            if not self._refused:
                self._refused = True
                self._fault("orders", error)
            yield False
            return
        with file:
            _like_its_folder(self._orders / "lock")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    # ------------------------------------------------------------------ what was known

    def remember(self, function: FunctionKey) -> None:
        """Its versions may be others than those that are kept here."""
        self._to_remember[function] = None

    def keep(self, store: Store, most: int) -> None:
        """Keep what the store tells of some of these functions. Raises StoreError; it is tried again then."""
        for function in list(self._to_remember)[:most]:
            versions, history = store.versions(function), store.history(function)
            aliases = store.aliases(function)
            self._to_remember.pop(function, None)
            named = {alias.version for alias in aliases.values()}
            newest = versions[-VERSIONS:]
            told = {
                "function": list(function),
                "versions": [_told(v) for v in versions if v in newest or v.version in named],
                "aliases": {name: list(alias) for name, alias in aliases.items()},
                "history": [list(change) for change in history[-CHANGES:]],
            }
            with suppress(StoreUnavailable):  # a disk that is full costs the way back, and nothing else
                self._write(self._place(function), told)

    def known(self, function: FunctionKey) -> Known | None:
        """What was kept of it; None: nothing, or it cannot be read."""
        try:
            told = json.loads(self._place(function).read_text(encoding="utf-8"))
            return Known(
                tuple(_version(each) for each in told["versions"]),
                {name: Alias(*alias) for name, alias in told["aliases"].items()},
                tuple(Change(*change) for change in told["history"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self._fault("orders", error)
            return None

    def _place(self, function: FunctionKey) -> Path:
        told = "\0".join(function).encode("utf-8", "surrogatepass")
        return self._versions / f"{blake2b(told, digest_size=12).hexdigest()}.json"

    def _write(self, path: Path, told: Mapping[str, Any]) -> None:
        beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            _made(path.parent)
            with beside.open("w", encoding="utf-8") as file:
                file.write(json.dumps(told))
                file.flush()
                os.fsync(file.fileno())
            _like_its_folder(beside)
            beside.replace(path)
        except OSError as error:
            raise StoreUnavailable(str(path), str(error), "make it writable") from error


def _made(folder: Path) -> None:
    """Make it where it is not there, each part with the owner of what it lies in."""
    if folder.exists():
        return
    _made(folder.parent)
    folder.mkdir(exist_ok=True)
    _like_its_folder(folder)


def _like_its_folder(path: Path) -> None:
    """What root leaves for the processes of another user belongs to that user, who is to move and to delete it."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        with suppress(OSError):
            owner = path.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def _name(order: Order) -> str:
    return f"{order.at:017.6f}-{order.id}.json"


def _told(version: ParameterSet) -> dict[str, Any]:
    return {
        "version": version.version,
        "values": dict(version),
        "parent": version.parent,
        "origin": version.origin,
        "reason": version.reason,
        "author": version.author,
        "evidence": version.evidence,
        "created": version.created,
    }


def _version(told: Mapping[str, Any]) -> ParameterSet:
    values = told["values"]
    if not isinstance(values, dict) or any(not isinstance(x, int | float | str) for x in values.values()):
        raise ValueError(f"no values: {values!r}")
    facts = {name: told[name] for name in ("version", "parent", "origin", "reason", "author", "evidence", "created")}
    return ParameterSet(values_=values, **facts)


def carried_out(order: Order, store: Store) -> Standing:
    """What holds once the store has done it, or had done it before. Raises Overtaken, StoreError."""
    function, text = order.function, order.text
    for change in reversed(store.history(function)):
        if change.action == order.action and change.reason == text:
            return store.standing(function)
        by_hand = change.author != "poet" and change.action not in ("publish", "import", "propose", "arm")
        if by_hand and change.at > order.at and MARK not in change.reason:
            raise Overtaken(
                f"{function.name}: {order.action} as {order.author} had ordered was not carried out:"
                f" {change.action} by {change.author} came later ({change.reason})"
            )
    if order.action != "rollback" or order.version is None:
        return store.steer(function, author=order.author, reason=text, paused=order.action != "resume")
    try:
        return roll_back(store, function, order.version.version, author=order.author, reason=text, at=order.at)
    except UnknownVersion as error:
        raise Overtaken(f"{function.name}: {order.action} as {order.author} had ordered: {error}") from error


class Ordering:
    """A store that is away, as one who steers by hand sees it: what was known last, and orders in place of changes.

    What it cannot say or do raises as the store itself does (StoreAway).
    """

    def __init__(self, store: Store, orders: Orders, *, now: float, host: str) -> None:
        self._store, self._of_host, self._now, self._host = store, orders, now, host
        self._left = 0  # orders

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def standing(self, function: FunctionKey) -> Standing:
        """What was known last, and ordered since. Raises UnknownFunction."""
        standing = self._store.standing(function)
        for order in self._of_host.waiting():
            if order.function == function:
                standing = order.applied(standing)
        return standing

    def versions(self, function: FunctionKey) -> list[ParameterSet]:
        """Those that this host knew last. Raises StoreAway where it knows none."""
        return list(self._known(function).versions)

    def aliases(self, function: FunctionKey) -> dict[AliasName, Alias]:
        """As this host knew them last."""
        return dict(self._known(function).aliases)

    def history(self, function: FunctionKey) -> list[Change]:
        """As this host knew it last, the newest of it, and what was ordered since."""
        ordered = [order for order in self._of_host.waiting() if order.function == function]
        told = list(self._known(function).history)
        live = told[-1].version if told else 0
        for order in ordered:
            live = live if order.version is None else order.version.version
            told.append(Change(order.at, order.action, live, order.author, order.text))
        return told

    def documents(self, kind: str, function: FunctionKey | None = None, **which: Any) -> list[Document]:
        """Of one function: none are known here. Else as the store says. Raises StoreAway."""
        return [] if function is not None else self._store.documents(kind, **which)

    def rollback(
        self, function: FunctionKey, to: int | None, *, author: str, reason: str, beside: Sequence[object] = ()
    ) -> Standing:
        """Leave the order. Raises UnknownVersion where this host does not know the version."""
        versions = {version.version: version for version in self.versions(function)}
        live = self.standing(function).live
        target = live.parent if to is None else to
        if target not in versions:
            raise UnknownVersion(function.name, target or 0, tuple(versions))
        return self._ordered(function, "rollback", versions[target], author, reason)

    def point(self, function: FunctionKey, alias: AliasName, version: int | None, **how: object) -> Standing:
        """Needs the store. Raises StoreAway."""
        raise StoreAway(
            self._store.url, "it is away", f"poet rollback {function.name} --to {version} works all the same"
        )

    def steer(
        self,
        function: FunctionKey,
        *,
        author: str,
        reason: str,
        paused: bool | None = None,
        pinned: Mapping[str, Value] | None = None,
    ) -> Standing:
        """Leave the order to pause or to resume. Pins need the store."""
        if pinned is not None or paused is None:
            return self._store.steer(function, author=author, reason=reason, paused=paused, pinned=pinned)
        return self._ordered(function, "pause" if paused else "resume", None, author, reason)

    def _ordered(
        self, function: FunctionKey, action: Action, version: ParameterSet | None, author: str, reason: str
    ) -> Standing:
        standing = self.standing(function)
        self._left += 1  # so that those of one moment keep their order
        number = f"{self._left:04d}{os.urandom(4).hex()}"
        order = Order(function, action, version, author, reason, self._now, self._host, number)
        self._of_host.leave(order)
        return order.applied(standing)

    def _known(self, function: FunctionKey) -> Known:
        known = self._of_host.known(function)
        if known is None:
            raise StoreAway(
                self._store.url,
                f"it is away, and this host remembers no versions of {function.name}",
                "POET_FLAGS=learn.online=defaults, or a file .poet/flags.json, gives calls the declared values",
            )
        return known


def ordering(store: Store, orders: Orders, *, now: float, host: str) -> Store:
    """``Ordering`` of a store that is away."""
    return cast(Store, Ordering(store, orders, now=now, host=host))
