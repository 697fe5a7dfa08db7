"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from poet.errors import PoetError


class Unwritable(PoetError):
    """A file could not be written; what was there before is still there. Name another, or make room."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(path, cause)
        self.path, self.cause = path, cause

    def __str__(self) -> str:
        return f"{self.path} cannot be written: {self.cause}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside ``path`` to write to; it takes the place of ``path`` at the end, and goes where anything failed.

    Raises Unwritable where the operating system refuses something on the way.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        if path.is_dir():
            raise Unwritable(str(path), "it is a folder")
        yield partial
        _to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        raise Unwritable(str(path), (error.strerror or str(error)).lower()) from error
    finally:
        with suppress(OSError):  # what was wrong has been said
            partial.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Else a power cut after the renaming might leave an empty file under the final name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
