"""What POET raises on purpose. Each says what its catcher should do."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to ``word``, or lists them all.

    >>> nearest("retires", ["retries", "timeout"])
    "did you mean 'retries'?"
    >>> nearest("xyz", ["retries", "timeout"])
    'known are: retries, timeout'
    """
    from difflib import get_close_matches  # needed only where something is wrong

    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(names)}"


class PoetError(Exception):
    """Root of all that we raise on purpose."""


class ConfigurationError(PoetError, ValueError):
    """A value was refused at the door. Correct it; a retry cannot help."""


class UnknownArgument(PoetError, TypeError):
    """The decorator was given an argument that it does not have. Correct the call."""

    def __init__(self, argument: str, known: tuple[str, ...]) -> None:
        super().__init__(argument, known)
        self.argument, self.known = argument, known

    def __str__(self) -> str:
        return f"poet() has no argument {self.argument!r}: {nearest(self.argument, self.known)}"


class PoetTimeout(PoetError, TimeoutError):
    """An attempt, or the whole call, was cut off at its limit. It may have had its effect all the same."""

    def __init__(self, function: str, limit: float) -> None:
        super().__init__(function, limit)
        self.function, self.limit = function, limit

    def __str__(self) -> str:
        return f"{self.function}: no answer within {self.limit:.6g} s"


class ResultRejected(PoetError):
    """``enforce`` answered False: the attempt counts as failed. It is worth another attempt."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        self.function = function

    def __str__(self) -> str:
        return f"{self.function}: enforce rejected the result"


class StoreError(PoetError):
    """The store cannot do what was asked. Calls go on without it; look at the message, mend the store."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written. The trainer keeps what it has and tries again later."""

    def __init__(self, location: str, cause: str, advice: str = "") -> None:
        super().__init__(location, cause, advice)
        self.location, self.cause, self.advice = location, cause, advice

    def __str__(self) -> str:
        return f"{self.location}: {self.cause}" + (f"; {self.advice}" if self.advice else "")


class StoreCorrupt(StoreUnavailable):
    """The store's file is damaged or is not ours. Move it away or restore a copy; nothing was changed in it."""


class StoreTooNew(StoreUnavailable):
    """A newer POET wrote this store. Upgrade this one; nothing was changed in the store."""


class StaleParameters(StoreError):
    """Newer parameters are kept. The trainer drops its own and reloads; a retry cannot help."""

    def __init__(self, function: str, ours: int, kept: int) -> None:
        super().__init__(function, ours, kept)
        self.function, self.ours, self.kept = function, ours, kept

    def __str__(self) -> str:
        return f"{self.function}: we know generation {self.ours}, the store is at {self.kept}"


class UnknownFunction(StoreError):
    """No function of this name is kept. Correct the name, or call the function once."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name, known)
        self.name, self.known = name, known

    def __str__(self) -> str:
        if not self.known:
            return f"no function {self.name!r}: none has been called yet"
        return f"no function {self.name!r}: {nearest(self.name, self.known)}"


class AmbiguousFunction(StoreError):
    """Several functions answer to this name. Use a longer one."""

    def __init__(self, name: str, matches: tuple[str, ...]) -> None:
        super().__init__(name, matches)
        self.name, self.matches = name, matches

    def __str__(self) -> str:
        return f"{self.name!r} means several functions, name one of: {', '.join(self.matches)}"


class UnknownVersion(StoreError):
    """This function has no such version. Choose one that ``poet history`` lists."""

    def __init__(self, function: str, version: int, known: tuple[int, ...]) -> None:
        super().__init__(function, version, known)
        self.function, self.version, self.known = function, version, known

    def __str__(self) -> str:
        shown = ", ".join(map(str, self.known)) or "none"
        return f"{self.function} has no version {self.version}; it has: {shown}"
