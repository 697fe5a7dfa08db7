"""The folder that a store's file lives in, and what is wrong with it where it cannot."""

from __future__ import annotations

import errno
from pathlib import Path

from poet.errors import StoreUnavailable

PROJECT_FOLDER = ".poet"


def prepare(path: Path) -> None:
    """Make the folder of the file ``path``; a new ``.poet`` tells git to leave it alone. Raises StoreUnavailable."""
    try:
        if path.parent.is_dir():
            return
        ours = next((folder for folder in path.parents if folder.name == PROJECT_FOLDER), None)
        new = ours is not None and not ours.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        if ours is not None and new:
            (ours / ".gitignore").write_text("*\n", encoding="utf-8")
    except FileExistsError:
        raise unavailable(path, NotADirectoryError(errno.ENOTDIR, "a part of the path is a file")) from None
    except OSError as error:
        raise unavailable(path, error) from error


def unavailable(path: Path, error: OSError) -> StoreUnavailable:
    """What the operating system said, and what can be done about it."""
    return StoreUnavailable(str(path), (error.strerror or str(error)).lower(), advice_for(path, error.errno))


def advice_for(path: Path, code: int | None) -> str:
    """What a user can do about an error of the operating system; ``code`` is its errno."""
    match code:
        case errno.ENOSPC | errno.EDQUOT:
            return "free some disk space; what was kept before is safe"
        case errno.ENOTDIR | errno.EEXIST:
            return f"{path.parent} must be a folder; set POET_STORE to another path"
        case errno.EMFILE | errno.ENFILE:
            return "this process or machine has too many files open"
        case _:
            return f"let this user write to {path.parent}, or set POET_STORE to a path that it may write"
