"""The lot of a block of time, the same in every process that knows the experiment's seed."""

from __future__ import annotations

from hashlib import blake2b


def block_of(seed: str, number: int) -> float:
    """Uniform in [0, 1): which arm the block gets.

    >>> 0.0 <= block_of("an experiment", 7) < 1.0
    True
    """
    digest = blake2b(f"{seed}\0{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
