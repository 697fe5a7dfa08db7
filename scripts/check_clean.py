"""Refuses what must not be committed: index options and package addresses, paths of one machine, keys."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FORBIDDEN = {
    "an index or an address in a requirements file": (r"requirements/.*", r"(?m)^\s*(--\S*(index|links|host)|.*://)"),
    "a package registry's address": (
        r".*",
        r"(?i)(pypi\.|pythonhosted\.|registry\.npmjs|deb\.debian)\w*\.?(org|com)?/",
    ),
    "a path of one machine": (r".*", r"(?<![\w.~])/(work|root|home/\w+|Users/\w+)/"),
    "a private key": (r".*", r"-----BEGIN [A-Z ]*PRIVATE KEY"),
}


def main() -> int:
    """0 where the tracked files are clean, else 1."""
    tracked = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    found = 0
    for name in tracked:
        try:
            text = Path(name).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        for what, (where, pattern) in FORBIDDEN.items():
            match = re.search(pattern, text) if re.fullmatch(where, name) and name != "scripts/check_clean.py" else None
            if match:
                found += 1
                line = text.count("\n", 0, match.start()) + 1
                print(f"{name}:{line}: {what}: {match.group().strip()!r}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
