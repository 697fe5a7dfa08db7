"""Users' code as the type checker sees it; never run. ``mypy --strict`` must accept it, ignores included."""

from __future__ import annotations

from typing import assert_type

import poet as package
from poet import Execution, Integer, Objective, Real, poet
from poet.decorator import Handle


@poet
def bare(x: int, *, loud: bool = False) -> str:
    return str(x) * (2 if loud else 1)


@poet()
async def empty(x: int) -> float:
    return x / 2


@poet(3, 3.0, None, True, objective=Objective(latency_cost=0.1), tunables={"timeout": Real(0.1, 5.0)})
def full(x: int) -> list[int]:
    package.remaining()
    return [x]


class Client:
    @poet(enable_training=True, tunables={"retries": Integer(0, 2)})
    def fetch(self, key: str) -> bytes:
        return key.encode()

    @poet
    async def afetch(self, key: str) -> bytes:
        return key.encode()

    @staticmethod
    @poet
    def plain(key: str) -> int:
        return len(key)


async def use() -> None:
    assert_type(bare(1, loud=True), str)
    assert_type(await empty(1), float)
    assert_type(full(2), list[int])
    assert_type(Client().fetch("a"), bytes)
    assert_type(await Client().afetch("a"), bytes)
    assert_type(Client.plain("a"), int)
    assert_type(bare.poet, Handle)
    assert_type(Client().fetch.poet, Handle)
    assert_type(full.poet.last, Execution | None)
    timeout = bare.poet.parameters["timeout"]
    assert isinstance(timeout, float)
    bare("1")  # type: ignore[arg-type]
    bare(1, quiet=True)  # type: ignore[call-arg]
    Client().fetch(1)  # type: ignore[arg-type]
    poet(retires=3)  # type: ignore[call-overload]
    poet(timeout="3")  # type: ignore[call-overload]
    full.other  # type: ignore[attr-defined]  # noqa: B018
