"""A simulated question-answering pipeline that tunes its model, temperature and number of passages while it serves.

What an answer costs is known at once; whether it was right is said later, by the reader, of one answer in three. The
models are made up: ``large`` is better and dearer, ``code`` is best for code and poor at everything else; too high a
temperature, and too few or too many passages, make answers worse. So the best model depends on the topic, which the
caller tells as context. The aim: nine answers in ten right, as cheaply as that can be had.

    python examples/tune_an_llm_pipeline.py [questions]
"""

from __future__ import annotations

import asyncio
import random
import sys
from statistics import fmean
from typing import Annotated

import poet as the_house
from poet import Choice, Goal, Integer, Real, poet

PRICE = {"small": 0.001, "large": 0.012, "code": 0.004}  # of an answer [$], and a tenth of a cent per passage
SKILL = {  # chance that an answer is right when all else is well
    "chat": {"small": 0.95, "large": 0.97, "code": 0.60},
    "code": {"small": 0.55, "large": 0.85, "code": 0.95},
    "law": {"small": 0.60, "large": 0.96, "code": 0.40},
}
TOPICS = tuple(SKILL)
READERS = 1 / 3  # share of answers of which a reader says whether it was right
WORTH = 1.0  # of a right answer, in the same unit as ...
DOLLAR = 20.0  # ... so many of them
DECLARED = {"model": "large", "temperature": 0.9, "passages": 8}


def chance(topic: str, model: str, temperature: float, passages: int) -> float:
    """Of a right answer."""
    return SKILL[topic][model] * (1 - 0.35 * max(0.0, temperature - 0.3) ** 2) * (1 - 0.02 * abs(passages - 4))


def price(model: str, passages: int) -> float:
    """Of an answer [$]."""
    return PRICE[model] + 0.001 * passages


def worth(topic: str, model: str, temperature: float, passages: int) -> float:
    """Expected worth of an answer."""
    return WORTH * chance(topic, model, temperature, passages) - DOLLAR * price(model, passages)


@poet(
    enable_training=True,
    timeout=5.0,
    context="topic",
    goals={"right": Goal(weight=WORTH), "dollars": Goal(high=0.05, weight=-DOLLAR)},
    exploration=0.05,
)
async def answer(
    question: str,
    topic: str,
    *,
    model: Annotated[str, Choice("small", "large", "code")] = "large",
    temperature: Annotated[float, Real(0.0, 1.0, step=0.1)] = 0.9,
    passages: Annotated[int, Integer(0, 12, step=4)] = 8,
) -> tuple[str, str, float, int]:
    """The values that it was given, in place of an answer."""
    await asyncio.sleep(0.02)
    return topic, model, temperature, passages


async def serve(questions: int, seed: int) -> list[float]:
    """Expected worth of each answer, in order."""
    dice = random.Random(seed)
    served: list[float] = []

    async def one(number: int) -> None:
        topic = dice.choice(TOPICS)
        used = await answer(f"question {number}", topic)
        served.append(worth(*used))
        if dice.random() < READERS:
            right = float(dice.random() < chance(*used))
            last = answer.poet.last
            assert last is not None
            answer.poet.feedback({"right": right, "dollars": price(used[1], used[3])}, last.id)

    for first in range(0, questions, 8):  # eight at a time
        await asyncio.gather(*(one(first + k) for k in range(min(8, questions - first))))
    return served


def main(questions: int = 3000, seed: int = 0) -> dict[str, float]:
    """Expected worth of an answer: of the first and the last fifth, as declared, and at best."""
    the_house.configure(store="memory:", learning="on", seed=seed, train_interval=0.02, cpu_share=0.5)
    served = asyncio.run(serve(questions, seed))
    the_house.flush()
    fifth = max(1, questions // 5)
    every = [(m, t / 10, p) for m in PRICE for t in range(11) for p in (0, 4, 8, 12)]
    found = {
        "first": fmean(served[:fifth]),
        "last": fmean(served[-fifth:]),
        "declared": fmean(worth(topic, *DECLARED.values()) for topic in TOPICS),  # type: ignore[arg-type]
        "one for all": max(fmean(worth(topic, *values) for topic in TOPICS) for values in every),
        "best": fmean(max(worth(topic, *values) for values in every) for topic in TOPICS),
    }
    print(f"worth of an answer: first {fifth} {found['first']:.3f}, last {fifth} {found['last']:.3f}")
    print(f"as declared {found['declared']:.3f}; best for all topics alike {found['one for all']:.3f},", end=" ")
    print(f"for each {found['best']:.3f}")
    for sentence in answer.poet.explain().sentences[-5:]:
        print(" ", sentence)
    return found


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
