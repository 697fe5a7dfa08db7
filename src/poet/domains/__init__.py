"""Domains: what a trade knows of the values that its functions take and give.

A domain is found by its name among the entry points of the group ``poet.domains``, ours like anyone's, or registered by
hand. It decides once, at decoration, what it does for a function: ``perceive`` puts arguments in order that it knows by
name, ``enforce`` checks what comes back. ``docs/how-to/write-a-domain.md`` shows how to write one.
"""

from __future__ import annotations

from poet.domains.interface import Checks, Domain, Enforce, Perceive
from poet.domains.registry import find, known, register, resolve
from poet.domains.table import Quantity, TableDomain

__all__ = [
    "Checks",
    "Domain",
    "Enforce",
    "Perceive",
    "Quantity",
    "TableDomain",
    "find",
    "known",
    "register",
    "resolve",
]
