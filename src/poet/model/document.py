"""What is kept beside versions and executions: roll-outs, experiments, flags …; each a text that is replaced whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

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


def closed(documents: Iterable[Document], *, by: str, why: str, at: float) -> list[Document]:
    """What is open of these, over: all that they say, and under ``"ended"`` who ended them, why and when [Unix s].

    To be kept beside the change that ends them, as ``Standing.steering`` tells which these are. One whose text has no
    room for it, or is no object, keeps its text.

    >>> (over,) = closed([Document("rollout", "r", '{"phase": "canary"}', revision=3)], by="ann", why="harm", at=1.0)
    >>> over.open, over.revision, over.body
    (False, 3, '{"phase": "canary", "ended": {"by": "ann", "why": "harm", "at": 1.0}}')
    """
    return [each._replace(open=False, body=_ended(each.body, by, why, at)) for each in documents if each.open]


def _ended(body: str, by: str, why: str, at: float) -> str:
    import json  # here: all processes load this module, and few end anything

    try:
        told: Any = json.loads(body)
    except ValueError:
        return body
    if not isinstance(told, dict):
        return body
    for said in (why, why[:200], ""):
        text = json.dumps({**told, "ended": {"by": by[:200], "why": said, "at": at}}, ensure_ascii=body.isascii())
        if len(text.encode("utf-8", "surrogatepass")) <= LONGEST_BODY:
            return text
    return body
