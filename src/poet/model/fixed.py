"""What a person fixed: for all contexts under a plain name, or for those of a cell, ``timeout@region=eu``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from poet.model.contexts import MARK, conditions, named, parts
from poet.model.phases import checked, parted

V = TypeVar("V")


def base_of(name: str) -> str:
    """The parameter that ``name`` is a context's value of; itself where it is none.

    >>> base_of("timeout@region=eu"), base_of("timeout")
    ('timeout', 'timeout')
    """
    return parts(name)[0]


def spelt(name: str) -> str:
    """``name`` as learning would write it: the features of its cell in order, and then its phases.

    Raises ConfigurationError where what follows the ``@`` is neither.

    >>> spelt("timeout@vip=True,region=eu"), spelt("timeout"), spelt("timeout@8:00-20:00")
    ('timeout@region=eu,vip=True', 'timeout', 'timeout@08:00-20:00')
    """
    if MARK not in name:
        return name
    checked(name)
    rest, phases = parted(name)
    base, cell = parts(rest)
    rule = [] if phases and not cell else sorted(conditions(cell), key=lambda condition: condition.feature)
    return named(base, ",".join(map(str, (*rule, *sorted(phases)))))


def held(values: Mapping[str, V], fixed: Mapping[str, V]) -> dict[str, V]:
    """``values`` with those that somebody fixed: what is fixed for all contexts holds in each.

    >>> held({"timeout": 1.0, "timeout@region=eu": 2.0}, {"timeout": 3.0})
    {'timeout': 3.0}
    """
    return {name: value for name, value in values.items() if base_of(name) not in fixed or name in fixed} | dict(fixed)


def spread(fixed: Mapping[str, V], values: Mapping[str, object]) -> dict[str, V]:
    """What is fixed for all contexts, in those that ``values`` tells apart as well.

    >>> spread({"timeout": 3.0}, {"timeout": 1.0, "timeout@region=eu": 2.0})
    {'timeout': 3.0, 'timeout@region=eu': 3.0}
    """
    told = {name: fixed[base_of(name)] for name in values if base_of(name) in fixed}
    return {**told, **fixed}
