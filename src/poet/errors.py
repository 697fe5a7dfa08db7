"""What POET raises on purpose. Each says what its catcher should do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from poet import forebears


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


class PoetError(forebears.POETError):
    """Root of all that we raise on purpose. The ``forebears`` are there for code that catches their names."""

    def __init__(self, *facts: object) -> None:
        Exception.__init__(self, *facts)

    def __str__(self) -> str:
        return Exception.__str__(self)

    @property
    def context(self) -> dict[str, Any]:
        """The facts that it carries, by name; the function as ``function_name``."""
        facts = {name: fact for name, fact in vars(self).items() if not name.startswith("_")}
        return {"function_name" if name == "function" else name: fact for name, fact in facts.items()}


class ConfigurationError(PoetError, forebears.ConfigurationError, ValueError):
    """A value was refused at the door. Correct it; a retry cannot help."""


class UnknownArgument(PoetError, TypeError):
    """The decorator was given an argument that it does not have. Correct the call."""

    def __init__(self, argument: str, known: tuple[str, ...]) -> None:
        super().__init__(argument, known)
        self.argument, self.known = argument, known

    def __str__(self) -> str:
        return f"poet() has no argument {self.argument!r}: {nearest(self.argument, self.known)}"


class StageError(PoetError):
    """Something went wrong in one stage of a call: perceive, operate or enforce."""

    stage = ""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(function, reason)
        self.function, self.reason = function, reason

    def __str__(self) -> str:
        return f"{self.function}: {self.stage}: {self.reason}"


class PerceiveError(StageError, forebears.PerceiveError):
    """``perceive`` failed: the function was not run. Mend ``perceive``; the cause is attached."""

    stage = "perceive"


class InputRejected(PerceiveError, forebears.InputValidationError):
    """``perceive`` rejected the input: the function was not run. Correct the input; a retry cannot help."""


class OperateError(StageError, forebears.OperateError):
    """POET ended an attempt, or did not begin it."""

    stage = "operate"


class PoetTimeout(OperateError, forebears.TimeoutError):
    """An attempt, or the whole call, was cut off at its limit. It may have had its effect all the same."""

    def __init__(self, function: str, limit: float) -> None:
        Exception.__init__(self, function, limit)
        self.function, self.limit = function, limit
        self.reason = f"no answer within {limit:.4g} s"

    def __str__(self) -> str:
        return f"{self.function}: {self.reason}"


class Shed(OperateError):
    """The call was not made, so it had no effect. Do without the answer, or try again later."""


class CircuitOpen(Shed):
    """The dependency's circuit breaker is open. A probe is let through after ``retry_after`` seconds."""

    def __init__(self, function: str, dependency: str, retry_after: float) -> None:
        Exception.__init__(self, function, dependency, retry_after)
        self.function, self.dependency, self.retry_after = function, dependency, retry_after
        self.reason = f"the circuit of {dependency} is open for {retry_after:.3g} s more"


class Overloaded(Shed):
    """As many attempts run as the limit allows."""

    def __init__(self, function: str, limited: str, limit: int) -> None:
        Exception.__init__(self, function, limited, limit)
        self.function, self.limited, self.limit = function, limited, limit
        self.reason = f"{limit} {limited} already, that is the limit"


class WorkerError(OperateError, RuntimeError):
    """The body raised, but its own exception cannot be pickled, and this one names it.

    Define that one in a module, and let it hand all its arguments to ``super().__init__``.
    """


class EnforceError(StageError, forebears.EnforceError):
    """``enforce`` failed: whether the result is good is not known. Mend ``enforce``; the cause is attached."""

    stage = "enforce"


class ResultRejected(EnforceError, forebears.OutputValidationError):
    """``enforce`` rejected the result: the attempt counts as failed. It is worth another attempt."""

    def __init__(self, function: str, reason: str = "enforce rejected the result") -> None:
        super().__init__(function, reason)


class StoreError(PoetError):
    """The store cannot do what was asked. Calls go on without it; look at the message, mend the store."""


class StoreUnavailable(StoreError):
    """The store cannot be opened, read or written. The trainer keeps what it has and tries again later."""

    def __init__(self, location: str, cause: str, advice: str = "") -> None:
        super().__init__(location, cause, advice)
        self.location, self.cause, self.advice = location, cause, advice

    def __str__(self) -> str:
        return f"{self.location}: {self.cause}" + (f"; {self.advice}" if self.advice else "")


class StoreAway(StoreUnavailable):
    """The store could not be reached a moment ago and is not asked again yet. Nothing needs to be done."""


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


class StaleDocument(StaleParameters):
    """Another revision of a document is kept. Read it again, and decide anew."""

    def __init__(self, document: str, ours: int, kept: int) -> None:
        super().__init__(document, ours, kept)

    def __str__(self) -> str:
        there = f"revision {self.kept} is kept" if self.kept else "none is kept"
        return f"{self.function}: meant to replace {f'revision {self.ours}' if self.ours else 'nothing'}, but {there}"


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
