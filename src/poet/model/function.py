"""Who a decorated function is."""

from __future__ import annotations

import inspect
import sys
import zlib
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, NamedTuple


class FunctionKey(NamedTuple):
    """Module, qualified name and a fingerprint of the signature: two functions of one name never mix.

    Evidence survives a change of the body, and starts afresh when the parameters or their annotations change.
    """

    module: str
    qualname: str
    fingerprint: str  # 8 hexadecimal digits

    @property
    def name(self) -> str:
        """The name that people use: ``module.qualname``, or the declared name."""
        # Interned, as a function's name is kept in several places.
        return sys.intern(f"{self.module}.{self.qualname}") if self.module else self.qualname

    def __str__(self) -> str:
        return f"{self.name}#{self.fingerprint}"

    @classmethod
    def of(
        cls, function: Callable[..., Any], name: str | None = None, plain: Mapping[str, str] = MappingProxyType({})
    ) -> FunctionKey:
        """The key of ``function``; a declared ``name`` stands for module and qualified name.

        plain: annotations to go by in place of those of these parameters, as bounds in them make no other function.
        """
        fingerprint = _fingerprint(function, plain)
        if name is not None:
            return cls("", name, fingerprint)
        return cls(_module_of(function), function.__qualname__, fingerprint)


def _module_of(function: Callable[..., Any]) -> str:
    """The module's name; for a script its file's stem, as every script is called ``__main__``."""
    if function.__module__ not in ("__main__", "__mp_main__"):  # the latter in processes that multiprocessing spawns
        return function.__module__
    main = sys.modules.get(function.__module__)
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    path = getattr(main, "__file__", None)
    return PurePath(path).stem if path else "__main__"


def _fingerprint(function: Callable[..., Any], plain: Mapping[str, str]) -> str:
    """A digest of names, kinds and annotations; of defaults only that they exist, as their text may hold addresses."""
    signature = inspect.signature(function)
    parts = [
        f"{p.kind.value}:{p.name}:{plain.get(p.name) or _annotation(p.annotation)}:{p.default is not p.empty}"
        for p in signature.parameters.values()
    ]
    parts.append(_annotation(signature.return_annotation))
    return sys.intern(f"{zlib.crc32('|'.join(parts).encode()):08x}")  # thousands of functions have the same parameters


def _annotation(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    return getattr(annotation, "__qualname__", None) or type(annotation).__qualname__
