from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Any

from houses import House
from poet.testing.clock import run


def look(n: int) -> tuple[tuple[int], dict[str, Any], dict[str, int]]:
    return (n + 1,), {}, {"n": n}


def test_features_of_a_stream_stay_its_own_and_what_is_sent_arrives() -> None:
    house = House()

    @house.poet(perceive=look)
    def inner(n: int) -> Generator[Any, Any, None]:
        yield (yield n)

    @house.poet(perceive=lambda n: ((n,), {}, {"outer": n}))
    def outer(n: int) -> int:
        items = inner(n)
        assert next(items) == n + 1
        assert items.send("sent") == "sent"
        items.close()
        return n

    outer(5)
    assert outer.poet.last.context == (("outer", 5),)
    assert inner.poet.last.context == (("n", 5),)


def test_what_is_sent_to_an_async_stream_arrives_too() -> None:
    house = House()

    @house.poet(perceive=look)
    async def stream(n: int) -> AsyncGenerator[Any, Any]:
        yield (yield n)

    async def main() -> None:
        items = stream(1)
        assert await anext(items) == 2
        assert await items.asend("sent") == "sent"
        await items.aclose()
        assert stream.poet.last.context == (("n", 1),)

    run(main(), house.clock)
