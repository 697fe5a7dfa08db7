"""One writer at a time, over all threads and processes of a machine."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from poet.errors import StoreUnavailable
from poet.stores.location import unavailable

_FIRST_PAUSE = 0.0005  # between two tries [s]; a write takes about as long
_LONGEST_PAUSE = 0.02  # [s]


class Lease:
    """An ``flock`` on a file of its own, taken around every write and every checkpoint.

    SQLite has locks of its own, but its releases 3.7.0 to 3.51.2 may damage a database when one connection checkpoints
    at the very moment when another begins to write; where all of that happens under this lease, it cannot. The kernel
    lifts an ``flock`` when its holder dies, however it dies. Not to be shared by threads without a lock around it.
    """

    def __init__(self, path: Path, patience: float) -> None:
        """``patience``: how long to wait for another holder, > 0 [s]."""
        self.path, self.patience = path, patience
        self._file: int | None = None

    def acquire(self) -> None:
        """Wait for the lease. Raises StoreUnavailable where another holds it for longer than ``patience``."""
        until = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while not self._try():
            if time.monotonic() >= until:
                raise StoreUnavailable(
                    str(self.path),
                    f"another process has been writing for over {self.patience:g} s",
                    f"`fuser {self.path}` names it",
                )
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release the lease and its file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _try(self) -> bool:
        """Whether we hold the lease now. A lock on a file that someone has deleted would guard nothing: then not."""
        try:
            if self._file is None:
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if identity(self.path) == identity(self._file):
                return True
        except BlockingIOError:
            return False
        except OSError as error:
            raise unavailable(self.path, error) from error
        self.close()
        return False


def identity(file: Path | int) -> tuple[int, int] | None:
    """Device and inode: the same for two names of one file. None where there is no such file."""
    try:
        found = os.stat(file)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino
