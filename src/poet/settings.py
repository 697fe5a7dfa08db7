"""Settings: frozen, checked once at the door; from defaults, ``[tool.poet]``, the environment, the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from poet.errors import ConfigurationError, nearest
from poet.model.aggregate import HOUR

Learning = Literal["off", "observe", "on"]
Rollout = Literal["canary", "direct"]
BACKOFF_CAP = 8.0  # longest pause before a retry [s]
DAY = 24.0 * HOUR  # [s]
SERVED = ("postgresql://", "postgres://")
LONGEST_KEPT = 36_500.0  # [days]
PROJECT_MARKS = (".poet", "pyproject.toml", ".git")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How POET runs in this process."""

    store: str = "sqlite:///.poet/poet.db"  # relative paths count from ``root``; or ``memory:``, or ``postgresql://…``
    tenant: str = ""  # whose functions these are, in a PostgreSQL store that several share
    learning: Learning = "on"  # off: calls are plain calls; observe: recorded and learned from, nothing applied
    rollout: Rollout = "canary"  # of learned versions: step by step, or to all calls at once
    buffer: int = 10_000  # executions per function that may wait for training, >= 1 [1]
    train_interval: float = 0.05  # pause between two rounds of training, > 0 [s]
    store_interval: float = 1.0  # longest time that an execution waits to be stored, > 0 [s]
    poll_interval: float = 5.0  # how often a store that sends hints is asked all the same, > 0 [s]
    keep_executions: float = 30.0  # how long executions are kept, > 0 [days]
    keep_hours: float = 400.0  # how long the sums of each hour are kept, > 0 [days]
    cpu_share: float = 0.1  # share of one core that training may take while calls run, in (0, 1] [1]
    embedding: bool = False  # names and docstrings are compared by a sentence embedding, too; needs its extra
    root: Path = Path()  # the project's folder
    seed: int | None = None  # of everything random; None: from the operating system
    flags: str = ""  # as ``POET_FLAGS`` says them; what of it cannot be understood counts as off (``training.flags``)

    def __post_init__(self) -> None:
        if self.learning not in get_args(Learning):
            raise ConfigurationError(f"learning must be off, observe or on, got {self.learning!r}")
        if self.rollout not in get_args(Rollout):
            raise ConfigurationError(f"rollout must be canary or direct, got {self.rollout!r}")
        if not isinstance(self.embedding, bool):
            raise ConfigurationError(f"embedding must be true or false, got {self.embedding!r}")
        if isinstance(self.buffer, bool) or not isinstance(self.buffer, int) or self.buffer < 1:
            raise ConfigurationError(f"buffer must be a whole number >= 1, got {self.buffer!r}")
        for name in ("train_interval", "store_interval", "poll_interval"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value < 3600):
                raise ConfigurationError(f"{name} must be in (0, 3600) seconds, got {value!r}")
        for name in ("keep_executions", "keep_hours"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST_KEPT:
                raise ConfigurationError(f"{name} must be in (0, {LONGEST_KEPT:g}] days, got {value!r}")
        if not isinstance(self.tenant, str) or "\0" in self.tenant or len(self.tenant) > 200:
            raise ConfigurationError(f"tenant must be a text of up to 200 characters, got {self.tenant!r}")
        if not isinstance(self.flags, str):
            raise ConfigurationError(f"flags must be a text such as 'learn.online=off', got {self.flags!r}")
        if not isinstance(self.root, Path):
            if not isinstance(self.root, str):
                raise ConfigurationError(f"root must be a path, got {self.root!r}")
            object.__setattr__(self, "root", Path(self.root))
        if not (isinstance(self.cpu_share, int | float) and 0 < self.cpu_share <= 1):
            raise ConfigurationError(f"cpu_share must be in (0, 1], got {self.cpu_share!r}")
        store_path(self)

    @classmethod
    def load(
        cls,
        *,
        environ: Mapping[str, str] | None = None,
        start: Path | None = None,
        **overrides: Any,
    ) -> Settings:
        """Settings of the project around ``start`` (default: the working directory). Raises ConfigurationError."""
        environ = os.environ if environ is None else environ
        root = project_root(Path.cwd() if start is None else start)
        known = {f.name for f in fields(cls)} - {"flags"}  # these have a file and rows of their own, and no setting
        values: dict[str, Any] = {"root": root, "flags": environ.get("POET_FLAGS", "")}
        values.update(_checked(_table(root / "pyproject.toml"), known, "[tool.poet]"))
        if environ.get("POET_STORE"):
            values["store"] = environ["POET_STORE"]
        if environ.get("POET_TENANT"):
            values["tenant"] = environ["POET_TENANT"]
        if environ.get("POET_LEARNING"):
            values["learning"] = environ["POET_LEARNING"].strip().lower()
        values.update(_checked(overrides, known, "configure()"))
        return replace(cls(), **values)


def _checked(values: Mapping[str, Any], known: set[str], where: str) -> Mapping[str, Any]:
    for key in values:
        if key not in known:
            raise ConfigurationError(f"{where} has no setting {key!r}: {nearest(key, known)}")
    return values


def _table(pyproject: Path) -> dict[str, Any]:
    """The ``[tool.poet]`` table of a project file, or nothing."""
    try:
        text = pyproject.read_text(encoding="utf-8")
    except OSError:
        return {}
    if "tool.poet" not in text:  # spares most processes the import of a parser
        return {}
    import tomllib

    try:
        table = tomllib.loads(text).get("tool", {}).get("poet", {})
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{pyproject} cannot be read: {error}") from error
    return {key.replace("-", "_"): value for key, value in table.items()}


def person() -> str:
    """Who changes something by hand: the user's name, where the system knows one."""
    import getpass  # slow to load, and seldom needed

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return "unknown"


def project_root(start: Path) -> Path:
    """The nearest folder at or above ``start`` that bears a project's mark; ``start`` where none does."""
    start = start.resolve()
    for folder in (start, *start.parents):
        if any((folder / mark).exists() for mark in PROJECT_MARKS):
            return folder
    return start


def store_path(settings: Settings) -> Path | None:
    """The file of an SQLite store; None for one in memory or of a server. Raises ConfigurationError for others."""
    url = settings.store
    if url in ("memory:", "memory") or is_served(settings):
        return None
    if url.startswith("sqlite:///") and len(url) > len("sqlite:///"):
        return settings.root / url[len("sqlite:///") :]
    raise ConfigurationError(
        "store must be 'memory:', 'sqlite:///path' (four slashes for an absolute path)"
        f" or 'postgresql://user@host/database', got {url!r}"
    )


def upkeep_at(now: float, *, keep_executions: float, keep_hours: float) -> dict[str, float]:
    """What ``maintain`` is given ``now`` [Unix s] where so much is kept [days]; an hour on, hardly any row is late."""
    return {
        "executions_before": now - keep_executions * DAY,
        "hours_before": now - keep_hours * DAY,
        "settled": now - HOUR,
    }


def is_served(settings: Settings) -> bool:
    """Whether the store is a server's, which other hosts may use, too."""
    return settings.store.startswith(SERVED)


def shown_store(settings: Settings) -> str:
    """The store's address as it may be shown: without a password."""
    scheme, mark, rest = settings.store.partition("://")
    user, at, place = rest.rpartition("@")
    if not (is_served(settings) and at):
        return settings.store if "password=" not in settings.store else f"{scheme}{mark}…"
    return f"{scheme}{mark}{user.partition(':')[0]}@{place}" if "password=" not in place else f"{scheme}{mark}…"
