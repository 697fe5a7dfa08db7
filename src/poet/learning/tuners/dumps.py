"""How tuners write down what they know: a head in JSON, arrays as they are, and a checksum over both."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from poet.learning.tuners.candidates import same_option
from poet.model.tunable import Choice, Integer, Real, Space, Tunable, Value

Array = npt.NDArray[np.float64]

_HEAD = struct.Struct(">8sIII")  # magic and kind; checksum of the rest; bytes of the head in JSON, of all packed
_MOST_BYTES = 1 << 22  # of an unpacked dump


def packed(
    kind: str, head: Mapping[str, Any], arrays: Sequence[npt.NDArray[np.floating]] = (), tail: bytes = b""
) -> bytes:
    """``head`` (of what JSON knows; numbers finite), ``arrays`` and ``tail``; exact. kind: four characters.

    Arrays of 32 bits are written as such, others with 64.
    """
    kinds = ["<f4" if array.dtype == np.float32 else "<f8" for array in arrays]
    shapes = [[form, *array.shape] for form, array in zip(kinds, arrays, strict=True)]
    text = json.dumps({**head, "shapes": shapes}, separators=(",", ":"), allow_nan=False).encode()
    numbers = [np.ascontiguousarray(array, form).tobytes() for form, array in zip(kinds, arrays, strict=True)]
    body = zlib.compress(b"".join([text, *numbers, tail]), 6)
    return _HEAD.pack(b"POET" + kind.encode(), zlib.crc32(body), len(text), len(body)) + body


def unpacked(kind: str, state: bytes) -> tuple[dict[str, Any], list[Array]]:
    """What ``packed`` was given, but for the tail. Raises ValueError: it is not of this kind, or damaged."""
    head, arrays, _ = unpacked_all(kind, state)
    return head, arrays


def unpacked_all(kind: str, state: bytes) -> tuple[dict[str, Any], list[Array], bytes]:
    """What ``packed`` was given. Raises ValueError where ``state`` is not of this kind, or was damaged."""
    if len(state) < _HEAD.size:
        raise ValueError(f"no state of a tuner: {len(state)} bytes are too few")
    magic, checksum, length, size = _HEAD.unpack_from(state)
    packed_ = state[_HEAD.size :]
    if magic != b"POET" + kind.encode() or len(packed_) != size or zlib.crc32(packed_) != checksum:
        raise ValueError(f"no state of this kind of tuner ({kind}), or a damaged one")
    inflate = zlib.decompressobj()
    try:
        body = inflate.decompress(packed_, _MOST_BYTES)
    except zlib.error as error:
        raise ValueError(f"no state of a tuner: {error}") from error
    if not inflate.eof or inflate.unused_data:
        raise ValueError(f"no state of a tuner: over {_MOST_BYTES} bytes")
    head = json.loads(body[:length])
    arrays, start = [], length
    for form, *shape in head.pop("shapes"):
        numbers = np.frombuffer(body, dtype=np.dtype(form), count=math.prod(shape), offset=start)
        arrays.append(numbers.reshape(shape).astype(float))
        start += numbers.nbytes
    return head, arrays, body[start:]


class Scale(NamedTuple):
    """What a tunable's values meant when they were learned from."""

    kind: str  # "number" or "choice"
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    options: tuple[Value, ...] = ()

    @classmethod
    def of(cls, tunable: Tunable) -> Scale:
        """That of a tunable."""
        if isinstance(tunable, Choice):
            return cls("choice", options=tunable.options)
        return cls("number", float(tunable.low), float(tunable.high), tunable.log)

    def moved(self, now: Scale) -> tuple[float, float] | None:
        """``a, b``: a place x in [0, 1] of this range is at ``a + b x`` of ``now``; None: the scales do not compare."""
        if self.kind != "number" or now.kind != "number" or self.log != now.log:
            return None
        low, high, there, far = (
            (math.log(end) if self.log else end) for end in (self.low, self.high, now.low, now.high)
        )
        if far == there or high == low:
            return None
        return (low - there) / (far - there), (high - low) / (far - there)


def scales(tunables: Mapping[str, Tunable]) -> list[list[Any]]:
    """The scales of all tunables, in their order, for a head."""
    return [[name, *Scale.of(tunable)] for name, tunable in tunables.items()]


def scales_of(head: Sequence[Sequence[Any]]) -> dict[str, Scale]:
    """The scales again, in the order in which the tunables stood."""
    return {
        name: Scale(kind, float(low), float(high), bool(log), tuple(options))
        for name, kind, low, high, log, options in head
    }


def alike(head: Sequence[Sequence[Any]], tunables: Mapping[str, Tunable]) -> bool:
    """Whether ``head``, as ``scales`` wrote it, is of the very same tunables in the same order."""
    return json.dumps(head) == json.dumps(scales(tunables))


def changes(before: Mapping[str, Scale], now: Mapping[str, Scale]) -> list[str]:
    """What of ``before`` means nothing any more, in words."""
    words = []
    for name, scale in before.items():
        if name not in now:
            words.append(f"{name} is no tunable any more")
        elif scale.kind != now[name].kind:
            words.append(f"{name} was a {scale.kind} and is a {now[name].kind}")
        elif scale.kind == "choice":
            gone = [each for each in scale.options if not any(same_option(each, here) for here in now[name].options)]
            words.extend(f"{name}: {each!r} is no option any more" for each in gone)
        elif scale.log != now[name].log:
            words.append(f"{name} has another scale: log={now[name].log}")
        elif now[name].low > scale.low or now[name].high < scale.high:
            words.append(f"{name} has a narrower range: [{now[name].low:g}, {now[name].high:g}]")
    return words


def spelled(space: Mapping[str, Tunable]) -> list[list[Any]]:
    """A whole space, for a head."""
    found: list[list[Any]] = []
    for name, each in space.items():
        facts: list[Any] = [name, type(each).__name__, each.condition, each.change_cost]
        facts += [each.options] if isinstance(each, Choice) else [each.low, each.high, each.log, each.step]
        found.append(facts)
    return found


def read(told: Sequence[Sequence[Any]]) -> Space:
    """The space that ``spelled`` told of. Raises TypeError, ValueError or KeyError where it is none."""
    found: dict[str, Tunable] = {}
    for name, kind, condition, cost, *facts in told:
        when = tuple((str(other), tuple(options)) for other, options in condition)
        if kind == "Choice":
            found[name] = Choice(*facts[0], when=when, change_cost=cost)
        elif kind == "Integer":
            low, high, log, step = facts
            found[name] = Integer(low, high, log, step=step, when=when, change_cost=cost)
        else:
            low, high, log, step = facts
            found[name] = Real(low, high, log, step=step, when=when, change_cost=cost)
    return Space(**found)


def rng_state(rng: np.random.Generator) -> list[int]:
    """Where a PCG64 generator stands."""
    state: Any = rng.bit_generator.state
    return [state["state"]["state"], state["state"]["inc"], state["has_uint32"], state["uinteger"]]


def rng_of(state: Sequence[int]) -> np.random.Generator:
    """A generator that stands there."""
    rng = np.random.Generator(np.random.PCG64(0))
    rng.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int(state[0]), "inc": int(state[1])},
        "has_uint32": int(state[2]),
        "uinteger": int(state[3]),
    }
    return rng
