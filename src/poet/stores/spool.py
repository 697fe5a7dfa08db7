"""Executions and scores that wait on the disk for a store that cannot be reached, within a bound.

Entries are added to segments, files of about a megabyte; where all of them together would take more than the bound, the
oldest go, and are counted. Each process has segments of its own and holds a lock as long as it lives. What a dead one
left behind is handed over by the next that finds its lock free. A segment's end may be torn: what was whole is used.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from poet.model.execution import Execution, Feedback
from poet.seams import FunctionRecord
from poet.stores import chunk, location, rows

LIMIT = 64 << 20  # bytes of all segments of a process; ten million executions or so
_SEGMENT = 1 << 20  # bytes from which on a new segment is begun
_HEAD = struct.Struct("<4sIII")  # magic, checksum of what follows, length of the facts, length of the body
_MAGIC = b"PXq1"
_ENDING, _LOCK = ".spool", ".lock"


class Entry(NamedTuple):
    """What waits: executions of one function and writer, or scores."""

    record: FunctionRecord
    executions: Sequence[Execution]
    feedback: Sequence[Feedback]


class Spool:
    """The segments in ``folder``. One process, one thread at a time."""

    def __init__(self, folder: Path, *, limit: int = LIMIT) -> None:
        """limit: bytes that the process's own segments may take, > 0."""
        self.folder, self._limit = folder, limit
        self._owner = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._lock: int | None = None
        self._segments: dict[int, tuple[int, int]] = {}  # own ones: number -> bytes, executions
        self._newest = 0
        self.dropped = 0  # executions that had to go

    @property
    def waiting(self) -> int:
        """Executions of this process that wait."""
        return sum(executions for _, executions in self._segments.values())

    def segments(self) -> list[Path]:
        """Files of executions and scores that wait, of this process and of others."""
        return self._files(_ENDING)

    def add(self, record: FunctionRecord, executions: Sequence[Execution]) -> None:
        """Let executions of one writer wait, by ascending sequence. Raises ValueError, StoreUnavailable."""
        for start in range(0, len(executions), chunk.ROWS):
            part = executions[start : start + chunk.ROWS]
            self._write(_packed(record, part[0].writer, chunk.encode(part)), len(part))

    def add_feedback(self, record: FunctionRecord, feedback: Sequence[Feedback]) -> None:
        """Let scores wait. Raises StoreUnavailable."""
        # as the release before wrote it, where there are no goals
        said = json.dumps([list(each if each.goals else each[:4]) for each in feedback]).encode()
        self._write(_packed(record, None, said), 0)

    def hand_over(self, take: Callable[[Entry], None], *, most: int = 50) -> bool:
        """Give ``take`` up to ``most`` segments, oldest first; own ones, then those of dead processes.

        A segment goes once all of it was taken; what ``take`` raises comes out, and the segment stays. Gives whether
        nothing is left.
        """
        for number in sorted(self._segments)[:most]:
            path = self._path(number)
            for entry in _entries(path):
                take(entry)
            path.unlink(missing_ok=True)
            del self._segments[number]
            most -= 1
        if most <= 0:
            return False
        return self._hand_over_orphans(take, most) and not self._segments

    def close(self) -> None:
        """Let others have what is left."""
        if self._lock is not None:
            if not self._segments:
                with suppress(OSError):
                    self._lock_path(self._owner).unlink()
            os.close(self._lock)
            self._lock = None

    def _hand_over_orphans(self, take: Callable[[Entry], None], most: int) -> bool:
        for lock in self._files(_LOCK):
            owner = lock.name.removesuffix(_LOCK)
            if owner == self._owner:
                continue
            held = _held(lock)
            if held is None:
                continue
            try:
                for path in self._files(_ENDING):
                    if path.name.rpartition("-")[0] != owner:
                        continue
                    if most <= 0:
                        return False
                    for entry in _entries(path):
                        take(entry)
                    path.unlink(missing_ok=True)
                    most -= 1
                lock.unlink(missing_ok=True)
            finally:
                os.close(held)
        return True

    def _write(self, entry: bytes, executions: int) -> None:
        try:
            if self._lock is None:
                location.prepare(self.folder / "any")
                self._lock = _held(self._lock_path(self._owner), make=True)
            size, held = self._segments.get(self._newest, (_SEGMENT, 0))
            if size >= _SEGMENT:
                self._newest += 1
                size = held = 0
            with self._path(self._newest).open("ab") as file:
                file.write(entry)
        except OSError as error:
            raise location.unavailable(self.folder, error) from error
        self._segments[self._newest] = (size + len(entry), held + executions)
        while len(self._segments) > 1 and sum(size for size, _ in self._segments.values()) > self._limit:
            oldest = min(self._segments)
            self.dropped += self._segments.pop(oldest)[1]
            self._path(oldest).unlink(missing_ok=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{self._owner}-{number:08}{_ENDING}"

    def _lock_path(self, owner: str) -> Path:
        return self.folder / f"{owner}{_LOCK}"

    def _files(self, ending: str) -> list[Path]:
        try:
            return sorted(path for path in self.folder.iterdir() if path.name.endswith(ending))
        except OSError:
            return []


def _packed(record: FunctionRecord, writer: str | None, body: bytes) -> bytes:
    facts = {"key": list(record.key), "record": list(rows.told(record)), "writer": writer}
    text = json.dumps(facts, separators=(",", ":")).encode()
    return _HEAD.pack(_MAGIC, zlib.crc32(body, zlib.crc32(text)), len(text), len(body)) + text + body


def _entries(path: Path) -> Iterator[Entry]:
    """What is whole in a segment; it ends where one is torn."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise location.unavailable(path, error) from error
    at = 0
    while at + _HEAD.size <= len(content):
        magic, checksum, length, size = _HEAD.unpack_from(content, at)
        text = content[at + _HEAD.size : at + _HEAD.size + length]
        at += _HEAD.size + length + size
        body = content[at - size : at]
        if magic != _MAGIC or at > len(content) or zlib.crc32(body, zlib.crc32(text)) != checksum:
            return
        facts = json.loads(text)
        record = rows.record_of((*facts["key"], *facts["record"]), (0, 0, 0.0, 0.0))
        if facts["writer"] is None:
            yield Entry(record, (), list(map(_feedback, json.loads(body))))
        else:
            yield Entry(record, chunk.decode(body, facts["writer"]), ())


def _feedback(said: list[Any]) -> Feedback:
    writer, sequence, score, at, *goals = said  # an older release knew no goals
    return Feedback(writer, sequence, score, at, tuple([(name, value) for name, value in (goals[0] if goals else ())]))


def _held(lock: Path, *, make: bool = False) -> int | None:
    """The open file of a lock that is ours now; None where its owner lives."""
    try:
        file = os.open(lock, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if make else 0), 0o666)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file
