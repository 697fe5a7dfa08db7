"""Texts of users as PostgreSQL can keep them: it takes no NUL, and no halves of characters."""

from __future__ import annotations

from poet.stores.rows import text

_MARK = "\x1a"  # announces a digit: 0 for a NUL, 1 for itself


def said(words: str) -> str:
    """For the database; the halves of characters that odd bytes from a terminal leave behind become question marks.

    >>> heard(said("a\\0b")) == "a\\0b"
    True
    """
    words = text(words)
    return words.replace(_MARK, _MARK + "1").replace("\0", _MARK + "0") if "\0" in words or _MARK in words else words


def heard(words: str) -> str:
    """The inverse of ``said``."""
    return words.replace(_MARK + "0", "\0").replace(_MARK + "1", _MARK) if _MARK in words else words
