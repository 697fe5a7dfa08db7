"""JSON from strangers: read strictly, checked by a sum, questioned field by field.

A stranger's file may be torn, altered on its way, or made to do harm. So it is measured before it is parsed, nothing in
it may stand twice, and each field is asked for what it must be; what is refused is named by its path.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, NoReturn

from poet.errors import PoetError, nearest
from poet.model.tunable import Value
from poet.stores.fitting import shown

MOST_BYTES = 1 << 26  # of a document
MOST_PARTS = 1_000_000  # commas and opening brackets: each may become an object that is far larger than its text
DEEPEST = 32  # lists and mappings within one another
LONGEST_NAME = 500  # characters of a name
LONGEST_TEXT = 20_000  # characters of any other text


class BadPackage(PoetError):
    """A file cannot be taken in; nothing of it was. Get a whole copy, or have it written anew."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(source, problem)
        self.source, self.problem = source, problem

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


class Misfit(ValueError):
    """A field is not what it must be. The text names it by its path."""


def parse(data: bytes) -> dict[str, Any]:
    """The JSON object that ``data`` is. Raises Misfit.

    Refused are: what is too large or too deep, names that stand twice in a mapping, NaN, infinities, and numbers beyond
    the largest float.
    """
    if len(data) > MOST_BYTES:
        raise Misfit(f"more than {MOST_BYTES >> 20} MiB: a package of fewer functions is needed")
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise Misfit(f"more than {MOST_PARTS} parts: a package of fewer functions is needed")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Misfit(f"no UTF-8 text at byte {error.start}") from None
    try:
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Misfit(f"no JSON, or torn: {error.msg.lower().removesuffix(' at')} at {place}") from None
    except RecursionError:
        raise Misfit(f"nested deeper than {DEEPEST} levels") from None
    except ValueError as error:
        raise (error if isinstance(error, Misfit) else Misfit("a number of too many digits")) from None
    if not isinstance(document, dict):
        raise Misfit(f"must be a mapping, got {shown(document)}")
    _check_depth(document)
    return document


def checksum(document: Mapping[str, Any]) -> str:
    """SHA-256 of all but the key ``checksum``, in hexadecimal, over canonical JSON: names sorted, no blanks, ASCII."""
    rest = {name: part for name, part in document.items() if name != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise Misfit(f"{shown(twice)} stands twice in one mapping")
    return found


def _no_constant(text: str) -> NoReturn:
    raise Misfit(f"{text} is no number")


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise Misfit(f"{shown(text, plain=True)} is larger than any float")
    return number


def _check_depth(document: dict[str, Any]) -> None:
    level: list[Any] = [document]
    for _ in range(DEEPEST):
        level = [
            part
            for whole in level
            for part in (whole.values() if isinstance(whole, dict) else whole)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise Misfit(f"nested deeper than {DEEPEST} levels")


class Part(NamedTuple):
    """A value in a document, with the path that leads to it. Every method raises Misfit, naming that path."""

    path: str
    value: Any

    def fail(self, must: str) -> NoReturn:
        """Raises Misfit: what it must be, and what it is."""
        raise Misfit(f"{self.path}: must be {must}, got {shown(self.value)}")

    def fields(self, needed: Collection[str], known: Collection[str] = (), *, strict: bool = True) -> dict[str, Part]:
        """The fields of a mapping. strict: names beside ``needed`` and ``known`` are refused; else they are passed by.

        A name that is known and missing is left out.
        """
        if not isinstance(self.value, dict):
            self.fail("a mapping")
        for name in needed:
            if name not in self.value:
                raise Misfit(f"{self._under(name)}: is missing")
        expected = {*needed, *known}
        for name in self.value if strict else ():
            if name not in expected:
                raise Misfit(f"{self._under(name)}: no such field; {nearest(name[:LONGEST_NAME], expected)}")
        return {name: Part(self._under(name), part) for name, part in self.value.items() if name in expected}

    def entries(self, most: int) -> dict[str, Part]:
        """A mapping from any names, at most ``most``."""
        if not isinstance(self.value, dict) or len(self.value) > most:
            self.fail(f"a mapping of up to {most} names")
        for name in self.value:
            Part(f"{self.path}: the name {shown(name)}", name).text(LONGEST_NAME, least=1)
        return {name: Part(self._under(name), part) for name, part in self.value.items()}

    def items(self, most: int, least: int = 0) -> list[Part]:
        """A list of ``least`` to ``most`` parts."""
        if not isinstance(self.value, list) or not least <= len(self.value) <= most:
            self.fail(f"a list of {least} parts" if least == most else f"a list of {least} to {most} parts")
        return [Part(f"{self.path}[{at}]", part) for at, part in enumerate(self.value)]

    def text(self, most: int = LONGEST_TEXT, least: int = 0) -> str:
        """A text that any store can keep: of ``least`` to ``most`` characters, without NUL and without half ones."""
        text = self.value
        if not isinstance(text, str) or not least <= len(text) <= most:
            self.fail(f"a text of {least} to {most} characters")
        if "\0" in text or not _whole(text):
            self.fail("a text without NUL and without half characters")
        return text

    def number(self, low: float, high: float) -> float:
        """A number in ``[low, high]``."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int | float) or not low <= number <= high:
            self.fail(f"a number in [{low:g}, {high:g}]")
        return float(number)

    def whole(self, low: int, high: int) -> int:
        """A whole number in ``[low, high]``."""
        number = self.value
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            self.fail(f"a whole number in [{low}, {high}]")
        return number

    def scalar(self, largest: float) -> Value:
        """A truth, a number no larger than ``largest`` either way, or a text."""
        if isinstance(self.value, bool):
            return self.value
        if isinstance(self.value, str):
            return self.text()
        if isinstance(self.value, int):
            return self.whole(-(1 << 53), 1 << 53)  # beyond, it is no float any more
        if not isinstance(self.value, float):
            self.fail("a truth, a number or a text")
        return self.number(-largest, largest)

    def one_of(self, known: Collection[str]) -> str:
        """One of these texts."""
        if not isinstance(self.value, str) or self.value not in known:
            self.fail(f"one of {', '.join(known)}")
        return self.value

    def _under(self, name: str) -> str:
        name = shown(name, plain=True)
        return f"{self.path}.{name}" if self.path else name


def _whole(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
