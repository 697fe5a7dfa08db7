"""Words of names and of sentences, cut down to what they share."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

_PARTS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_ENDINGS = ("ization", "isation", "ations", "ation", "ements", "ement", "ments", "ment", "ings", "ing", "ions", "ion")
_MORE_ENDINGS = (
    "ized",
    "ised",
    "izes",
    "ises",
    "ize",
    "ise",
    "ies",
    "ers",
    "ors",
    "ed",
    "er",
    "or",
    "es",
    "s",
    "e",
    "y",
)
SHORTEST = 3  # letters that an ending must leave

# Words that say little of what a function does, in sentences about functions.
_COMMON = """
a an the this that these those it its is are was were be been being as at by for from in into of off on onto or and to
with without not no nor if else then than when where which who whose what while will would can could may might must
shall should do does did done have has had having all any both each few more most other some such only own same so too
very just also but about above after again against before below between during out over under until up down once here
there why how i you he she we they them his her our your their my me us one two see use used uses using return returns
returned returning given give gives value values object objects function functions method default defaults true false
none otherwise note example examples parameter parameters argument arguments arg args kwargs optional raise raises
exception self cls e g ie eg etc like instance type types way new following
"""
COMMON = frozenset(_COMMON.split())


def parts(identifier: str) -> list[str]:
    """The words within a name, in lower case.

    >>> parts("parseHTTPResponse_v2")
    ['parse', 'http', 'response', 'v', '2']
    """
    return [part.lower() for part in _PARTS.findall(identifier)]


@lru_cache(maxsize=4096)
def stem(word: str) -> str:
    """``word`` without the endings that change with grammar; roughly, as it is only compared with others.

    After Porter 1980, "An algorithm for suffix stripping", with one pass and a shorter list: names are short.

    >>> stem("compressed") == stem("compression") == stem("compresses"), stem("json")
    (True, 'json')
    """
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST:
            word = word[: -len(ending)]
            break
    for ending in _MORE_ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST and not word.endswith("ss"):
            word = word[: -len(ending)]
            break
    if len(word) > SHORTEST and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]  # running, run
    return word


def digest(text: str) -> int:
    """A number of 32 bits in place of the text, never 0. No secret: who guesses the word can tell that it was there."""
    return zlib.crc32(text.encode("utf-8", "replace")) or 1
