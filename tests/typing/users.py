"""Users' code as the type checker sees it; never run. ``mypy --strict`` must accept it, ignores included."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any, assert_type

import poet as package
from poet import Breaker, Budget, Choice, Dependency, Execution, Goal, Integer, Objective, Real, on_result, poet
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


@poet(
    enable_training=True,
    tunables={"k": Integer(1, 64, log=True), "timeout": Real(0.1, 5.0)},
    timeout=5.0,
    context=("region", "question"),
    score=lambda answer, seconds: {"quality": len(answer) / 10, "cost": seconds},
    goals={"quality": Goal(at_least=0.8), "cost": Goal(high=0.05, weight=-20.0)},
    exploration=0.01,
)
async def ask(
    question: str,
    k: int = 8,
    *,
    temperature: Annotated[float, Real(0, 1)] = 0.2,
    model: Annotated[str, Choice("small", "large")] = "small",
    region: str = "eu",
) -> str:
    return question


def by_length(question: str) -> dict[str, int]:
    return {"length": len(question)}


@poet(context=by_length, score=lambda answer, seconds: answer is not None)
def look_up(question: str, depth: Annotated[int | None, Integer(1, 9, when={})] = 1) -> str | None:
    return question or None


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
    assert_type(await ask("a", 3, temperature=0.5), str)
    await ask("a", temperature="hot")  # type: ignore[arg-type]
    await ask("a", temprature=0.5)  # type: ignore[call-arg]
    ask.poet.feedback({"quality": 0.9, "cost": 0.01}, "1a2b3c4d-7")
    ask.poet.feedback(0.5)
    ask.poet.feedback("good")  # type: ignore[arg-type]
    ask.poet.pin(**{"timeout@region=eu": 1.0})
    assert_type(look_up("a", depth=None), str | None)
    poet(context=3)  # type: ignore[call-overload]
    poet(score=3)  # type: ignore[call-overload]
    poet(goals={"quality": 0.8})  # type: ignore[dict-item]
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
