"""Packages that were damaged, or made to do harm, and a check that a store survives them whole."""

from __future__ import annotations

import base64
import copy
import json
import random
import re
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from poet.errors import PoetError
from poet.exchange import merge, package
from poet.exchange.document import checksum
from poet.exchange.merge import Readable, Receiving
from poet.exchange.package import Packaged
from poet.model.estimate import Estimate
from poet.model.function import FunctionKey
from poet.model.parameters import ParameterSet
from poet.model.tunable import Value
from poet.seams import FunctionRecord, Store
from poet.stores.fitting import fit

RENEWED = 250  # files after which a fresh store takes over, as those taken in make it larger

_ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**300, 0.0, -0.0, 1e-320, 1.7e308, -1e308, .5,
    "", "x", "timeout", "\0", "\ud800", "a\udfffb", "\x1b[31m", "ü" * 600, "9" * 5000, "NaN", "__proto__", "../../etc",
    [], {}, [[]], [None] * 3, {"": 1}, {"timeout": "x"}, [1, 2], [2, 1], [-1, 1e300],
)  # fmt: skip
_RAW = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 5000, b"0x10", b"01", b"1.", b"'", b"\\u0000")


_SINCE = 1_700_000_000.0  # Unix time [s] of all that is made up here
ASK = FunctionKey("shop.oracle", "ask", "0a0a0a0a")
WEIGH = FunctionKey("shop.post", "Parcel.weigh", "0b0b0b0b")
REPORT = FunctionKey("", "nightly report", "0c0c0c0c")
DECLARED: Mapping[str, Value] = MappingProxyType({"timeout": 30.0, "retries": 3, "backoff": 0.1})
BOUNDS: Mapping[str, Sequence[float]] = MappingProxyType(
    {"timeout": [0.001, 120.0], "retries": [0, 5], "backoff": [0.0, 60.0]}
)


class Survived(NamedTuple):
    """What came of an attack."""

    files: int
    refused: int  # with a clear error, and nothing changed
    kept: int  # read well, and nothing of it was taken
    taken: int  # read well, and taken in
    seconds: float
    fields: Mapping[str, int]  # errors by the field that they name, so that it is seen how deep the damage reached


def record(key: FunctionKey, *, learner: str = "adaptive", domain: str | None = None) -> FunctionRecord:
    """A function as a store knows it before its first call."""
    objective = {"value": 1.0, "attempt_cost": 0.03}
    return FunctionRecord(key, domain, learner, DECLARED, objective, 0, 0, 0.0, 0.0, BOUNDS)


def learned(evidence: int = 100, **values: Value) -> ParameterSet:
    """Values that rest on ``evidence`` executions."""
    changed: dict[str, Value] = {"timeout": 0.75, "retries": 2, **values}
    timeout = float(changed["timeout"])
    return ParameterSet(
        values_={**DECLARED, **changed},
        version=2,
        parent=1,
        origin="learned",
        reason="99 % of the answers come within it",
        estimates={"timeout": Estimate(timeout, timeout * 0.75, timeout * 1.5, evidence)},
        evidence=evidence,
        span=(_SINCE, _SINCE + 60.0),
        created=_SINCE,
    )


def genuine(state: bytes) -> str:
    """A package of three functions, of which two learn; ``state`` is of a learner of ``record(ASK)``."""
    functions = (
        Packaged(record(ASK), learned(300), state),
        Packaged(record(WEIGH), learned(10, retries=4), None),
        Packaged(record(REPORT, learner="basic", domain="reports"), ParameterSet(values_=DECLARED, version=1), None),
    )
    return package.write(functions, written_by="poet test", created=_SINCE)


def fill(store: Store, state: bytes) -> None:
    """Make known one function that has less evidence than the package's, and one that has more, and knows ``state``."""
    store.register(record(ASK))
    standing = store.register(record(WEIGH))
    store.publish(WEIGH, learned(50, timeout=2.5), expected=standing.generation)
    store.save_learner(WEIGH, state)


def damaged(genuine: str, seed: int, number: int) -> bytes:
    """The ``number``-th damaged version of the package ``genuine``; the same for the same arguments."""
    rng = random.Random(seed * 1_000_003 + number)
    return rng.choice(_DAMAGES)(genuine, rng)


def attack(fresh: Callable[[], Store], genuine: str, readable: Readable, *, files: int, seed: int = 0) -> Survived:
    """Let stores take in ``files`` damaged versions of ``genuine``.

    fresh: a new store, filled the same way each time; closed by us. Raises AssertionError where an error that is none
    of ours comes out, where a refused file has changed the store, where a value went live that is out of its bounds, or
    where the store itself finds damage.
    """
    began = time.perf_counter()
    refused = kept = taken = 0
    fields: Counter[str] = Counter()
    for start in range(0, files, RENEWED):
        store = fresh()
        try:
            before = listing(store)
            for number in range(start, min(start + RENEWED, files)):
                error = _attempt(store, damaged(genuine, seed, number), readable, force=number % 2 == 1, number=number)
                after = listing(store)
                if error is not None:
                    refused += 1
                    fields[_field(error)] += 1
                    assert after == before, f"file {number} was refused ({error}), and has changed the store"
                elif after == before:
                    kept += 1
                else:
                    taken += 1
                    _check(store, number)
                before = after
            assert all(finding.ok for finding in store.check()), "the store finds damage"
        finally:
            store.close()
    return Survived(files, refused, kept, taken, time.perf_counter() - began, dict(fields))


def listing(store: Store) -> list[tuple[Any, ...]]:
    """All that a package could change in a store."""
    return [
        (
            record,
            store.standing(record.key),
            store.aliases(record.key),
            store.versions(record.key),
            store.history(record.key),
            store.load_learner(record.key),
        )
        for record in store.functions()
    ]


def _attempt(store: Store, data: bytes, readable: Readable, *, force: bool, number: int) -> PoetError | None:
    try:
        merge.take_in(store, package.read(data, "hostile.json"), Receiving("hostile.json", "eve", readable, force))
    except PoetError as error:
        return error
    except Exception as error:
        raise AssertionError(f"file {number}: {type(error).__name__}: {error}") from error
    return None


def _check(store: Store, number: int) -> None:
    for record in store.functions():
        live = store.standing(record.key).live
        notes = fit(live, record.declared, record.space).notes
        assert not notes, f"file {number}: {record.key}: {notes[0]}"


def _field(error: PoetError) -> str:
    """The field that an error names, without its numbers."""
    match = re.match(r"hostile\.json: ([\w.\[\]]+): ", str(error))
    return re.sub(r"\[\d+\]", "[]", match[1]) if match else "(not a field)"


# --- damage ----------------------------------------------------------------------------------------------------------


def _flip(genuine: str, rng: random.Random) -> bytes:
    data = bytearray(genuine.encode())
    for _ in range(rng.randint(1, 8)):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _cut(genuine: str, rng: random.Random) -> bytes:
    return genuine.encode()[: rng.randrange(len(genuine))]


def _splice(genuine: str, rng: random.Random) -> bytes:
    data = genuine.encode()
    a, b = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:a] + data[b:] if rng.random() < 0.5 else data[:b] + data[a:]


def _noise(_: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 2, 100, 10_000)))


def _raw(genuine: str, rng: random.Random) -> bytes:
    """Something that is no JSON, or no JSON of ours, in place of a number."""
    data = genuine.encode()
    places = [match.span() for match in re.finditer(rb"(?<=: )[\d.]+", data)]
    a, b = rng.choice(places)
    return data[:a] + rng.choice(_RAW) + data[b:]


def _nested(genuine: str, rng: random.Random) -> bytes:
    depth = rng.choice((5, 31, 33, 200, 100_000))
    opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
    if depth > 200:
        return (opening * depth + "1" + closing * depth * rng.randint(0, 1)).encode()
    tree = json.loads(genuine)
    holder, name = rng.choice(list(_places(tree)))
    holder[name] = json.loads(opening * depth + "1" + closing * depth)
    return _signed(tree)


def _twice(genuine: str, rng: random.Random) -> bytes:
    """A field that stands twice, the second with another value."""
    fields = list(re.finditer(r'"\w+": ', genuine))
    field = rng.choice(fields)
    return f"{genuine[: field.start()]}{field[0]}{json.dumps(rng.choice(_ODD))}, {genuine[field.start() :]}".encode()


def _swapped(genuine: str, rng: random.Random) -> bytes:
    """Other values in some fields."""
    tree = json.loads(genuine)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        holder, name = rng.choice(list(_places(tree)))
        holder[name] = copy.deepcopy(rng.choice(_ODD))
    return _signed(tree)


def _exchanged(genuine: str, rng: random.Random) -> bytes:
    """Two fields that have each other's value."""
    tree = json.loads(genuine)
    (a, x), (b, y) = (rng.choice(list(_places(tree))) for _ in range(2))
    a[x], b[y] = json.loads(json.dumps(b[y])), json.loads(json.dumps(a[x]))
    return _signed(tree)


def _renamed(genuine: str, rng: random.Random) -> bytes:
    """A field that is missing, has another name, or is one too many."""
    tree = json.loads(genuine)
    holder, name = rng.choice([(holder, name) for holder, name in _places(tree) if isinstance(holder, dict)])
    value = holder[name] if rng.random() < 0.5 else holder.pop(name)
    if rng.random() < 0.7:
        holder[rng.choice(("timeouts", "x", "", "\ud800", "a" * 600, f"{name}s", str(name)[:-1]))] = value
    return _signed(tree)


def _known(genuine: str, rng: random.Random) -> bytes:
    """A learner's state that is damaged, of another kind, or grows when it is unpacked."""
    tree = json.loads(genuine)
    functions = [function for function in tree["functions"] if function["state"]]
    function = rng.choice(functions)
    state = bytearray(base64.b64decode(function["state"]))
    match rng.randrange(5):
        case 0:
            state[rng.randrange(len(state))] ^= 1 << rng.randrange(8)
        case 1:
            del state[rng.randrange(len(state)) :]
        case 2:
            state = bytearray(state[:8] + zlib.compress(bytes(rng.choice((10, 1 << 20, 1 << 25)))))
        case 3:
            state = bytearray(state[:8] + zlib.compress(rng.randbytes(200)))
        case _:
            state = bytearray(b"POETbas1" + json.dumps([rng.randrange(100), [0.5] * rng.randrange(20)]).encode())
    function["state"] = base64.b64encode(state).decode()
    return _signed(tree)


def _plausible(genuine: str, rng: random.Random) -> bytes:
    """Numbers that are wrong without being odd; another name now and then."""
    tree = json.loads(genuine)
    numbers = [
        (holder, name) for holder, name in _places(tree) if isinstance(holder[name], int | float) and holder[name]
    ]
    for _ in range(rng.randint(1, 6)):
        holder, name = rng.choice(numbers)
        kind = type(holder[name])
        holder[name] = kind(holder[name] * rng.choice((0.1, 0.5, 2, 10, 1000)))
    if rng.random() < 0.3:
        rng.choice(tree["functions"])[rng.choice(("qualname", "fingerprint"))] = f"{rng.randrange(1 << 32):08x}"
    return _signed(tree)


_DAMAGES = (
    _flip, _cut, _splice, _noise, _raw, _nested, _twice, _swapped, _swapped, _exchanged, _renamed, _known, _plausible,
)  # fmt: skip


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every field of a document, as what holds it and its name."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        for name, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            yield holder, name
            if isinstance(value, dict | list):
                waiting.append(value)


def _signed(tree: Any) -> bytes:
    """The text of a document, with the checksum that it should have: so that what is wrong is looked at at all."""
    if isinstance(tree, dict) and "checksum" in tree:
        tree["checksum"] = checksum(tree)
    return json.dumps(tree).encode()
