"""A process's functions among those of its store: what they are like is kept there, and who is like whom is asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from poet.errors import ConfigurationError
from poet.seams import FunctionRecord, Store

if TYPE_CHECKING:
    from poet.sharing.intelligence_registry import IntelligenceRegistry

AT_ONCE = 0.5  # longest time that introductions of many functions take in one go [s]


class Subject(NamedTuple):
    """A function of this process."""

    record: FunctionRecord
    function: Callable[..., Any] | None  # None: it is only told of


class Relatives:
    """Introduces functions to the store, and keeps the registry. Safe to use from several threads."""

    def __init__(self, fault: Callable[[str, BaseException], None]) -> None:
        """fault: told of what goes wrong."""
        self._fault = fault
        self._next = 0  # place of the function that is introduced first next time
        self._registry: tuple[Store, IntelligenceRegistry] | None = None
        self._lock = threading.Lock()

    def introduce(
        self,
        store: Store,
        subjects: Iterable[Callable[[], Subject]],
        *,
        embedding: bool = False,
        within: float = AT_ONCE,
    ) -> int:
        """Keep what is due of the functions' fingerprints; how many were looked at.

        embedding: also what names and docstrings mean. within: no new one is begun after this time [s], and the next
        introductions go on there. A fault ends them.
        """
        from poet.sharing import fingerprint, keeping

        every = list(subjects)
        if embedding and (missing := _no_embedding()) is not None:
            self._fault("names and docstrings are compared without the sentence embedding", missing)
            embedding = False
        until, looked = time.monotonic() + within, 0
        with self._lock:
            for k in range(len(every)):
                if looked and time.monotonic() >= until:
                    break
                subject = every[(self._next + k) % len(every)]()
                record = subject.record
                try:
                    name, function = record.key.name, subject.function
                    code = (
                        fingerprint.of_words(name, (), "", "")
                        if function is None
                        else fingerprint.of_callable(function, name)
                    )
                    domain, tunables = fingerprint.declared_by(record)
                    code = code._replace(domain=domain, tunables=tunables)
                    keeping.introduce(store, record.key, code, _meaning(subject) if embedding else None)
                except Exception as error:  # noqa: BLE001 - whatever it is, calls and learning go on
                    self._fault(f"what {record.key.name} is like cannot be kept", error)
                    break
                looked += 1
            self._next = (self._next + looked) % max(1, len(every))
        return looked

    def registry(self, store: Store) -> IntelligenceRegistry:
        """That of the store; the same one for the same store."""
        from poet.sharing.intelligence_registry import IntelligenceRegistry

        with self._lock:
            if self._registry is None or self._registry[0] is not store:
                self._registry = store, IntelligenceRegistry(store)
            return self._registry[1]

    def forget(self) -> None:
        """Let go of the registry."""
        with self._lock:
            self._registry = None


def _no_embedding() -> ConfigurationError | None:
    """Why there is none; None: there is one."""
    from poet.sharing import embedding

    return None if embedding.available() else embedding.missing()


def _meaning(subject: Subject) -> Callable[[], bytes]:
    from poet.sharing import embedding, fingerprint

    doc = "" if subject.function is None else fingerprint.doc_of(subject.function)
    return lambda: embedding.meaning(embedding.text_of(subject.record.key.name, doc))
