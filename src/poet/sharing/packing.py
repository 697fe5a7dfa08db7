"""Fingerprints as bytes, at most 2 KB each; and the checks of what others wrote.

The format, little-endian, version 1: ``b"PF"``, a byte for the version, a byte of flags (1: behaviour), the domain
(u32); then words and types, each a u8 for how many, digests (u32) and weights (u8); then the meaning, a u16 for its
length and that many bytes; then a u8 for the tunables, each name (u32), kind (u8), low and high (f32), a u8 for its
options and these (u32); then the behaviour: executions (u64), a u8 for how many numbers, these and their errors (f32,
NaN: not known), a u8 for the kinds of errors, these (u32) and their shares (f32). At the end a CRC-32 of all before.
"""

from __future__ import annotations

import math
import struct
import zlib
from itertools import pairwise

from poet.errors import PoetError
from poet.model.likeness import MEASURED, Behaviour, Declared, Features, Fingerprint

MARK, VERSION = b"PF", 1
LARGEST = 2048  # bytes of one
MOST_EXECUTIONS = 10**7  # that one is believed to rest on: nothing is surer than that many make it
IMPOSSIBLE = 10**15  # executions that no function makes: a thousand a second for thirty thousand years
LONGEST_MEANING = 512  # bytes
MOST_FEATURES = 255
BOUNDS = {  # of what is measured; a figure beyond is no figure
    "level": (-25.0, 20.0),
    "rate": (-12.0, 25.0),
    "day_cos": (-2.0, 2.0),
    "day_sin": (-2.0, 2.0),
    "retries": (0.0, 5.0),
}
USUAL_BOUNDS = (-50.0, 50.0)


class Poisoned(PoetError, ValueError):
    """A fingerprint that cannot be true, or is none. It is passed over; look at who wrote it."""


def packed(fingerprint: Fingerprint) -> bytes:
    """``fingerprint`` as bytes. Raises Poisoned where it cannot be."""
    whole = checked(fingerprint)
    out = [struct.pack("<BBI", VERSION, 1 if whole.behaviour else 0, whole.domain)]
    for features in (whole.words, whole.types):
        out.append(struct.pack("<B", len(features)))
        out.append(struct.pack(f"<{len(features)}I", *(number for number, _ in features)))
        out.append(bytes(weight for _, weight in features))
    out.append(struct.pack("<H", len(whole.meaning)) + whole.meaning)
    out.append(struct.pack("<B", len(whole.tunables)))
    for each in whole.tunables:
        out.append(struct.pack("<IBffB", each.name, each.kind, each.low, each.high, len(each.options)))
        out.append(struct.pack(f"<{len(each.options)}I", *each.options))
    if whole.behaviour is not None:
        told = whole.behaviour
        out.append(struct.pack("<QB", told.executions, len(told.numbers)))
        both = [math.nan if x is None else x for x in (*told.numbers, *told.errors)]
        out.append(struct.pack(f"<{len(both)}f", *both) + struct.pack("<B", len(told.kinds)))
        out += [struct.pack("<If", kind, share) for kind, share in told.kinds]
    body = MARK + b"".join(out)
    if len(body) + 4 > LARGEST:
        raise Poisoned(f"a fingerprint takes at most {LARGEST} bytes, got {len(body) + 4}")
    return body + struct.pack("<I", zlib.crc32(body))


def words_of(data: bytes) -> tuple[bytes, bytes]:
    """The digests (u32 each) and the weights (u8 each) of the words in ``data``, which ``unpacked`` has read before."""
    count = data[8]
    return data[9 : 9 + 4 * count], data[9 + 4 * count : 9 + 5 * count]


def unpacked(data: bytes, *, trusted: bool = False) -> Fingerprint:
    """The fingerprint in ``data``, which anyone may have written. Raises Poisoned with the reason.

    More executions than ``MOST_EXECUTIONS`` are taken for that many. trusted: it was read, and checked, before.
    """
    if trusted:
        return _read(_Reader(data[3:-4]))
    if not 12 <= len(data) <= LARGEST or data[:2] != MARK:
        raise Poisoned(f"no fingerprint: {len(data)} bytes that begin with {data[:2]!r}, not {MARK!r}")
    if data[2] != VERSION:
        raise Poisoned(f"a fingerprint of version {data[2]}, and this release reads version {VERSION}")
    if struct.unpack("<I", data[-4:])[0] != zlib.crc32(data[:-4]):
        raise Poisoned("a damaged fingerprint: its checksum is another one")
    try:
        return checked(_read(_Reader(data[3:-4])))
    except struct.error as error:
        raise Poisoned(f"a fingerprint that ends too soon: {error}") from None


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[float, ...]:
        found = struct.unpack_from(f"<{form}", self.data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return found

    def whole(self, form: str) -> int:
        return int(self.take(form)[0])


def _read(read: _Reader) -> Fingerprint:
    flags, domain = read.whole("B"), read.whole("I")
    words, types = _features(read), _features(read)
    length = read.whole("H")
    meaning = read.data[read.at : read.at + length]
    read.at += length
    found = []
    for _ in range(read.whole("B")):
        name, kind, low, high, options = read.take("IBffB")
        found.append(Declared(int(name), int(kind), low, high, tuple(int(x) for x in read.take(f"{int(options)}I"))))
    behaviour = None
    if flags & 1:
        executions, count = read.whole("Q"), read.whole("B")
        numbers, errors = (_known(read.take(f"{count}f")) for _ in range(2))
        kinds = tuple((int(kind), share) for kind, share in (read.take("If") for _ in range(read.whole("B"))))
        behaviour = Behaviour(executions, numbers, errors, kinds)
    if read.at != len(read.data):
        raise Poisoned(f"{len(read.data) - read.at} bytes too many in a fingerprint")
    return Fingerprint(words, types, meaning, domain, tuple(found), behaviour)


def _features(read: _Reader) -> Features:
    count = read.whole("B")
    numbers, weights = read.take(f"{count}I"), read.take(f"{count}B")
    return tuple((int(number), int(weight)) for number, weight in zip(numbers, weights, strict=True))


def _known(numbers: tuple[float, ...]) -> tuple[float | None, ...]:
    return tuple(None if math.isnan(x) else x for x in numbers)


def checked(fingerprint: Fingerprint) -> Fingerprint:
    """``fingerprint`` where it may be true, with no more executions than are believed. Raises Poisoned."""
    for what, features in (("words", fingerprint.words), ("types", fingerprint.types)):
        numbers = [number for number, _ in features]
        if len(features) > MOST_FEATURES:
            raise Poisoned(f"{len(features)} features in {what}, {MOST_FEATURES} at most")
        if not all(0 < number < 2**32 and 0 < weight < 256 for number, weight in features):
            raise Poisoned(f"a feature in {what} is no digest with a weight in 1 .. 255")
        if not all(a < b for a, b in pairwise(numbers)):
            raise Poisoned(f"the features in {what} are not in their order, each once")
    if not 0 <= fingerprint.domain < 2**32:
        raise Poisoned(f"the domain {fingerprint.domain!r} is no digest")
    if len(fingerprint.meaning) > LONGEST_MEANING:
        raise Poisoned(f"a meaning of {len(fingerprint.meaning)} bytes, {LONGEST_MEANING} at most")
    for each in fingerprint.tunables:
        if not (math.isfinite(each.low) and math.isfinite(each.high) and each.low <= each.high):
            raise Poisoned(f"a tunable's range is [{each.low}, {each.high}]")
        if each.kind not in (0, 1, 2):
            raise Poisoned(f"no kind of tunable: {each.kind}")
    told = fingerprint.behaviour
    return fingerprint if told is None else fingerprint._replace(behaviour=_checked(told))


def _checked(told: Behaviour) -> Behaviour:
    n = told.executions
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise Poisoned(f"a behaviour of {n!r} executions")
    if n >= IMPOSSIBLE:
        raise Poisoned(f"{n} executions are more than any function makes")
    if (len(told.numbers), len(told.errors)) != (len(MEASURED), len(MEASURED)):
        sizes = f"{len(told.numbers)} numbers with {len(told.errors)} errors"
        raise Poisoned(f"{sizes}, where {len(MEASURED)} are measured")
    for name, number, error in zip(MEASURED, told.numbers, told.errors, strict=True):
        if number is None and error is None:
            continue
        low, high = BOUNDS.get(name, USUAL_BOUNDS)
        if number is None or not low <= number <= high:  # so written, a NaN fails too
            raise Poisoned(f"{name} must be in [{low:g}, {high:g}], got {number}")
        if error is None or not 0 < error < math.inf:
            raise Poisoned(f"the error of {name} must be a number > 0, got {error}")
    shares = [share for _, share in told.kinds]
    if not all(0 < share <= 1 for share in shares) or not sum(shares) <= 1.001:
        raise Poisoned(f"shares of kinds of errors must be in (0, 1] and no more than 1 in all, got {shares}")
    return told._replace(executions=min(n, MOST_EXECUTIONS))
