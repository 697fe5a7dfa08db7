"""What is kept beside versions and executions: roll-outs, experiments, flags …; each a text that is replaced whole."""

from __future__ import annotations

from typing import NamedTuple

from poet.model.function import FunctionKey

LONGEST_BODY = 65_536  # bytes of a body
LONGEST_NAME = 200  # characters of a kind or a name
THIS_VERSION = '"$version"'  # in a body that is kept beside a new version: stands for that one's number
STEERING = ("rollout", "experiment")  # kinds that say, while they are open, which version a call gets
EVIDENCE = "evidence"  # the kind of which those that are over are deleted with old hours


class Document(NamedTuple):
    """One of them, as it is kept or is to be kept.

    >>> Document("flag", "learn.online", '{"on": true}').revision
    0
    """

    kind: str  # "rollout", "experiment", "flag" ...
    name: str  # unique among those of its kind and function
    body: str  # JSON text of at most ``LONGEST_BODY`` bytes
    function: FunctionKey | None = None  # None: it is about no function, or several
    open: bool = True  # False: it is over, and kept for its history
    revision: int = 0  # of what it replaces, or as it was read; 0: there is none yet
    at: float = 0.0  # when it was kept, Unix time [s]
