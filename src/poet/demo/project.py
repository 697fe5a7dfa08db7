"""The store that a run leaves behind, and whether it may begin afresh."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from poet.app import open_store
from poet.model.function import FunctionKey
from poet.settings import Settings, store_path


def is_ours(keys: Iterable[FunctionKey], names: Iterable[str]) -> bool:
    """Whether a store holds functions of the demo and no others: they alone bear these declared names."""
    known = set(names)
    return all(not key.module and key.name in known for key in keys)


def begin_afresh(settings: Settings, names: Iterable[str]) -> bool:
    """Delete the store's file where an earlier demo alone has filled it. False: it holds more, and is kept.

    Raises StoreError where it cannot be read.
    """
    path = store_path(settings)
    if path is None or not path.exists():
        return True
    store = open_store(settings, readonly=True)
    try:
        ours = is_ours([record.key for record in store.functions()], names)
    finally:
        store.close()
    if ours:
        for ending in ("", "-wal", "-shm"):
            Path(f"{path}{ending}").unlink(missing_ok=True)
    return ours
