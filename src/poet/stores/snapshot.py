"""What a host knew last of a store that others keep: small files, one for a function and one for a process.

Each is written beside its place and moved there, so that a reader finds the old one or the new one, whole. Of several
processes that write the same one the last stays, which is as good as any: they all tell of the same store.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from poet.model.function import FunctionKey
from poet.model.parameters import Standing
from poet.seams import FunctionRecord, ProcessReport
from poet.stores import location, rows

_HEAD = struct.Struct("<4sIII")  # magic, checksum of what follows, length of the facts, length of the state
_MAGIC = b"PXs1"
_FUNCTION, _PROCESS = ".function", ".process"


class Known(NamedTuple):
    """What was known of one function. On the disk a standing has neither a canary nor what steers it.

    Where there was one, it has no generation either: once the store is back, what it says is news in any case.
    """

    record: FunctionRecord
    standing: Standing
    state: bytes | None  # of its learner
    at: float  # Unix time [s]


class Snapshot:
    """The files in ``folder``, which is made with the first of them. Safe to use from several processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, known: Known) -> None:
        """In place of what was kept of this function. Raises StoreUnavailable."""
        standing = known.standing
        facts = {
            "key": list(known.record.key),
            "record": list(rows.told(known.record)),
            "counted": [known.record.calls, known.record.failures, known.record.seconds, known.record.last_call],
            "version": list(rows.version_fields(standing.live)),
            "generation": 0 if standing.canary is not None or standing.steering else standing.generation,
            "paused": standing.paused,
            "pinned": rows.dumped(standing.pinned),
            "at": known.at,
            "state": known.state is not None,
        }
        self._write(_name_of(known.record.key), facts, known.state or b"")

    def function(self, key: FunctionKey) -> Known | None:
        """What was known of it; None where nothing was, or it cannot be read."""
        known = self._read(self.folder / _name_of(key))
        return known if known is not None and known.record.key == key else None

    def functions(self) -> list[Known]:
        """All that can be read, by name."""
        found = [known for path in self._files(_FUNCTION) if (known := self._read(path)) is not None]
        return sorted(found, key=lambda known: (known.record.key.name, known.record.key))

    def report(self, process: ProcessReport) -> None:
        """In place of the process's report before. Raises StoreUnavailable."""
        said = process._replace(host=rows.text(process.host), last_fault=rows.text(process.last_fault))
        self._write(f"{_digest(process.writer)}{_PROCESS}", said._asdict(), b"")

    def withdraw(self, writer: str) -> None:
        """Forget a process's report: the store has it."""
        (self.folder / f"{_digest(writer)}{_PROCESS}").unlink(missing_ok=True)

    def processes(self) -> list[ProcessReport]:
        """Reports that the store may not have, newest first."""
        found = []
        for path in self._files(_PROCESS):
            content = _content(path)
            if content is not None:
                try:
                    found.append(ProcessReport(**content[0]))
                except TypeError:
                    continue
        return sorted(found, key=lambda process: (-process.seen, process.writer))

    def _files(self, ending: str) -> Iterator[Path]:
        try:
            yield from sorted(path for path in self.folder.iterdir() if path.name.endswith(ending))
        except OSError:
            return

    def _read(self, path: Path) -> Known | None:
        content = _content(path)
        if content is None:
            return None
        facts, state = content
        try:
            return Known(
                rows.record_of((*facts["key"], *facts["record"]), tuple(facts["counted"])),
                Standing(
                    rows.version_of(tuple(facts["version"])),
                    facts["generation"],
                    facts["paused"],
                    rows.loaded(facts["pinned"]),
                ),
                state if facts["state"] else None,
                facts["at"],
            )
        except (KeyError, TypeError, ValueError, rows.Damage):
            return None

    def _write(self, name: str, facts: dict[str, Any], state: bytes) -> None:
        text = json.dumps(facts, separators=(",", ":")).encode()
        head = _HEAD.pack(_MAGIC, zlib.crc32(state, zlib.crc32(text)), len(text), len(state))
        path = self.folder / name
        beside = path.with_name(f"{name}.{os.getpid()}.tmp")
        try:
            location.prepare(path)
            beside.write_bytes(head + text + state)
            beside.replace(path)
        except OSError as error:
            raise location.unavailable(path, error) from error


def _content(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """Facts and state of a file; None where it is none of ours, or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) < _HEAD.size:
        return None
    magic, checksum, length, rest = _HEAD.unpack_from(content)
    text, state = content[_HEAD.size : _HEAD.size + length], content[_HEAD.size + length :]
    if magic != _MAGIC or (len(text), len(state)) != (length, rest) or zlib.crc32(state, zlib.crc32(text)) != checksum:
        return None
    facts = json.loads(text)
    return (facts, state) if isinstance(facts, dict) else None


def _name_of(key: FunctionKey) -> str:
    return _digest("\0".join(key)) + _FUNCTION


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
