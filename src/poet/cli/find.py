"""Which recorded function a person means."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from poet.errors import AmbiguousFunction, UnknownFunction
from poet.model.function import FunctionKey
from poet.seams import FunctionRecord


def find(name: str, records: Sequence[FunctionRecord]) -> FunctionRecord:
    """The function that answers to ``name``.

    name: ``module.qualname`` or the declared name, the qualified name, or any ending of the full name after a dot; each
        may be followed by ``#`` and the first digits of the fingerprint. The fullest form that fits anything decides.
    Raises UnknownFunction, AmbiguousFunction.
    """
    word, mark, digits = name.rpartition("#")
    if not mark or any(record.key.name == name for record in records):  # a declared name may hold a # of its own
        word, digits = name, ""
    there = [record for record in records if record.key.fingerprint.startswith(digits)]
    for matches in (
        [r for r in there if r.key.name == word],
        [r for r in there if r.key.qualname == word],
        [r for r in there if r.key.name.endswith(f".{word}")],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise AmbiguousFunction(name, tuple(_apart([r.key for r in matches])))
    raise UnknownFunction(name, _known(name, [r.key for r in records]))


def short_name(record: FunctionRecord, records: Sequence[FunctionRecord]) -> str:
    """The shortest name by which ``find`` returns this very function."""
    parts = record.key.name.split(".")
    for start in range(len(parts) - 1, -1, -1):
        name = ".".join(parts[start:])
        try:
            if find(name, records).key == record.key:
                return name
        except (AmbiguousFunction, UnknownFunction):
            continue
    return str(record.key)


def _apart(keys: Sequence[FunctionKey]) -> list[str]:
    """Names that tell these functions apart."""
    names = [key.name for key in keys]
    return sorted(str(key) if names.count(key.name) > 1 else key.name for key in keys)


def _known(name: str, keys: Sequence[FunctionKey]) -> tuple[str, ...]:
    """All full names, and the one form of any of them that is nearest to ``name``."""
    forms = {form for key in keys for form in (key.name, key.qualname, key.name.rpartition(".")[2])}
    return tuple(sorted({key.name for key in keys} | set(get_close_matches(name, sorted(forms), n=1))))
