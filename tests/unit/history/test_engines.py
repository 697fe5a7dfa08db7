from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from poet.errors import ConfigurationError
from poet.history.engines import Local, Ray, engine
from poet.seams import Engine

# Tasks go by name, and workers elsewhere know no module of tests: the built-in ``eval`` does what its part says.
SQUARES = [f"({i} * {i}, __import__('os').getpid())" for i in range(5)]


@pytest.mark.parametrize("workers", [1, 2])
def test_this_machine_does_all_parts_in_order(workers: int) -> None:
    here = engine("local", workers)
    told = here.map(eval, SQUARES)
    here.close()
    assert [square for square, _ in told] == [0, 1, 4, 9, 16]
    assert ({pid for _, pid in told} == {os.getpid()}) is (workers == 1)


@pytest.fixture(scope="module")
def ray() -> Iterator[Engine]:
    there = engine("ray", 2)
    yield there
    there.close()
    there.close()


def test_ray_does_all_parts_in_order_and_elsewhere(ray: Engine) -> None:
    told = ray.map(eval, SQUARES)
    assert [square for square, _ in told] == [0, 1, 4, 9, 16]
    assert os.getpid() not in {pid for _, pid in told}


def test_a_fault_of_a_task_comes_out(ray: Engine) -> None:
    for each in (Local(1), Local(2), ray):
        with pytest.raises(ZeroDivisionError):
            each.map(eval, ["1", "1 // 0"])


def test_a_cluster_that_is_there_already_stays(ray: Engine) -> None:
    other = Ray(1)
    other.close()
    assert ray.map(eval, ["2 + 2"]) == [4]


@pytest.mark.parametrize(
    ("name", "more", "word"),
    [
        ("rya", {}, "ray"),
        ("local", {"workers": 0}, "1 or more"),
        ("local", {"address": "ray://head:10001"}, "ray"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(name: str, more: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        engine(name, **more)  # type: ignore[arg-type]
