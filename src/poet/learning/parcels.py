"""Several learners' states in one piece, with facts beside them."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

_LENGTH = struct.Struct("<I")
_MOST_BYTES = 1 << 24  # of unpacked facts
NO_PARCEL = (ValueError, TypeError, IndexError, RecursionError, zlib.error, struct.error)  # what ``unpacked`` raises


def packed(magic: bytes, facts: Mapping[str, Any], parts: Sequence[bytes]) -> bytes:
    """``facts``, of what JSON knows, and ``parts``, which are packed as tight as they get already."""
    text = zlib.compress(json.dumps(facts, separators=(",", ":"), allow_nan=False).encode(), 9)
    body = b"".join(_LENGTH.pack(len(part)) + part for part in (text, *parts))
    return magic + _LENGTH.pack(zlib.crc32(body)) + body


def unpacked(magic: bytes, data: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """Facts and parts. Raises one of ``NO_PARCEL`` where ``data`` is none, or damaged."""
    if data[: len(magic)] != magic:
        raise ValueError("it does not begin like one")
    (crc,) = _LENGTH.unpack_from(data, len(magic))
    body = data[len(magic) + _LENGTH.size :]
    if zlib.crc32(body) != crc:
        raise ValueError("it is cut short, or damaged")
    found, offset = [], 0
    while offset < len(body):
        (length,) = _LENGTH.unpack_from(body, offset)
        offset += _LENGTH.size
        found.append(body[offset : offset + length])
        offset += length
    unpacker = zlib.decompressobj()
    facts = json.loads(unpacker.decompress(found[0], _MOST_BYTES))
    if not isinstance(facts, dict):
        raise ValueError("its facts are no mapping")  # noqa: TRY004 - the caller is promised a ValueError
    return facts, found[1:]
