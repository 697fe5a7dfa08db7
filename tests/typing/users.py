"""Users' code as the type checker sees it; never run. ``mypy --strict`` must accept it, ignores included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, assert_type

import poet as package
from poet import Breaker, Budget, Dependency, Execution, Integer, Objective, Real, on_result, poet
from poet.decorator import Handle
from poet.learning.online_learner import StatisticalOnlineLearner


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


payments = Dependency("payments", budget=Budget(share=0.2), breaker=Breaker(slow_after=1.0), concurrency=8)


@poet(
    retries=1,
    dependency=payments,
    hedge_delay=0.1,
    hedges=2,
    retry_on=(KeyError, on_result(lambda answer: answer is None)),
    enforce=str,
    perceive=lambda key: ((key,), {}, {"length": len(key)}),
    key_arg="token",
    cost=len,
    cost_limit=3.0,
)
async def guarded(key: str, *, token: str | None = None) -> str:
    return key


@poet(enforce_timeout="thread", timeout_arg=("timeout", lambda left: (min(left, 3.05), left)))
def limited(key: str, timeout: tuple[float, float] = (3.05, 30.0)) -> bytes:
    return key.encode()


@poet(timeout=1.0, item_timeout=0.5, deadline=30.0)
def stream(key: str) -> Iterator[bytes]:
    yield key.encode()


@poet
async def stream_later(key: str) -> AsyncIterator[bytes]:
    yield key.encode()


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
    assert_type(await guarded("a"), str)
    assert_type(limited("a"), bytes)
    assert_type(stream("a"), Iterator[bytes])
    async for item in stream_later("a"):
        assert_type(item, bytes)
    await guarded(1)  # type: ignore[arg-type]
    assert_type(limited.poet.using(timeout=1.0)("a"), Any)
    stop = package.listen(lambda event: print(event.kind, event.seconds), finished=True)
    stop()
    with package.set_testing(attempts=2):
        limited("a")
    poet(enforce_timeout="threads")  # type: ignore[call-overload]
    poet(retires=3)  # type: ignore[call-overload]
    poet(timeout="3")  # type: ignore[call-overload]
    tuner = StatisticalOnlineLearner(space={"x": Real(0, 1), "k": Integer(1, 9)})
    assert_type(tuner.thompson_sampling("mode", ["a", "b"]), str)
    assert_type(tuner.exponential_weighted_moving_average("x", 0.5, 1.0), float)
    tuner.thompson_sampling("mode", [None])  # type: ignore[type-var]
    tuner.bayesian_optimization(["x"], [])  # type: ignore[arg-type]
    full.other  # type: ignore[attr-defined]  # noqa: B018
