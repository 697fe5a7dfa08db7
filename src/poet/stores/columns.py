"""Columns of a chunk: numbers and texts as bytes that deflate packs well, and a reader that believes no length.

Each column of numbers is cut into planes (all low bytes, then all second bytes ...): the bytes of one plane resemble
each other, so deflate finds what repeats. All is little-endian.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

_COUNT = struct.Struct("<I")
_WIDTHS = {1: "B", 2: "H", 4: "I", 8: "Q"}


def numbers(values: Iterable[int]) -> bytes:
    """The numbers, each in [0, 2**64), at the least width that holds all; the first byte says which.

    Raises ValueError where one is outside.
    """
    column = values if isinstance(values, list | tuple | bytes) else list(values)
    largest = max(column, default=0)
    width = next((width for width in _WIDTHS if largest < 1 << (8 * width)), 8)
    try:
        return bytes((width,)) + planes(array(_WIDTHS[width], column))
    except OverflowError as error:
        raise ValueError(f"numbers must be in [0, 2**64), got {min(column)} to {largest}") from error


def texts(values: Sequence[str]) -> bytes:
    """How many texts, how long each is in UTF-8, and all of them. Half characters are kept."""
    encoded = [value.encode("utf-8", "surrogatepass") for value in values]
    return count(len(encoded)) + numbers(map(len, encoded)) + b"".join(encoded)


def count(number: int) -> bytes:
    """How many of something follow, in [0, 2**32)."""
    return _COUNT.pack(number)


def zigzag(number: int) -> int:
    """Signed to unsigned, small stays small.

    >>> [zigzag(number) for number in (0, -1, 1, -2)]
    [0, 1, 2, 3]
    """
    return 2 * number if number >= 0 else -2 * number - 1


def unzigzag(code: int) -> int:
    """Back again.

    >>> [unzigzag(code) for code in (0, 1, 2, 3)]
    [0, -1, 1, -2]
    """
    return -(code >> 1) - 1 if code & 1 else code >> 1


def planes(column: array[Any]) -> bytes:
    """The bytes of ``column``, plane by plane."""
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    flat = column.tobytes()
    return b"".join(flat[at :: column.itemsize] for at in range(column.itemsize))


def _unplanes(planes: bytes, column: array[Any]) -> None:
    """Fill an empty ``column`` from the planes of one of its kind."""
    flat = bytearray(len(planes))
    rows = len(planes) // column.itemsize
    for at in range(column.itemsize):
        flat[at :: column.itemsize] = planes[at * rows : (at + 1) * rows]
    column.frombytes(bytes(flat))
    if sys.byteorder == "big":
        column.byteswap()


class Reader:
    """Takes columns off a body; what a column would take beyond the end is an error before it is allocated.

    Every method raises ValueError where the body does not hold what is asked for.
    """

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        end = self._at + length
        if end > len(self._body):
            raise ValueError(f"a chunk that ends too early: {end} bytes wanted, {len(self._body)} there")
        part = self._body[self._at : end]
        self._at = end
        return part

    def numbers(self, rows: int) -> list[int]:
        """A column of ``rows`` numbers."""
        width = self.take(1)[0]
        if width not in _WIDTHS:
            raise ValueError(f"no column is {width} bytes wide")
        column: array[int] = array(_WIDTHS[width])
        _unplanes(self.take(rows * width), column)
        return column.tolist()

    def singles(self, rows: int) -> array[float]:
        """A column of ``rows`` 32-bit floats, whatever they say."""
        column = array("f")
        _unplanes(self.take(rows * column.itemsize), column)
        return column

    def doubles(self, rows: int) -> array[float]:
        """A column of ``rows`` 64-bit floats, whatever they say."""
        column = array("d")
        _unplanes(self.take(rows * column.itemsize), column)
        return column

    def count(self, most: int) -> int:
        """How many of something follow: ``most`` at most, as small things are many in few bytes."""
        (number,) = _COUNT.unpack(self.take(_COUNT.size))
        if number > most:
            raise ValueError(f"at most {most} can be there, not {number}")
        return int(number)

    def texts(self, most: int) -> list[str]:
        """A column of texts, ``most`` at most, with their number."""
        return [self.take(length).decode("utf-8", "surrogatepass") for length in self.numbers(self.count(most))]

    def finish(self) -> None:
        """Nothing may be left."""
        if self._at != len(self._body):
            raise ValueError(f"a chunk with {len(self._body) - self._at} bytes too many")
