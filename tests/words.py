"""What a program says to a person who waits, and what it says of its work."""

from __future__ import annotations

WAITING = "poet: still at work on "


def faults(err: str) -> str:
    """All of ``err`` but the word that work goes on, which comes on a busy machine."""
    return "".join(line for line in err.splitlines(keepends=True) if not line.startswith(WAITING))
