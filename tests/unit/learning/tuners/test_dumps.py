from __future__ import annotations

import numpy as np
import pytest

from poet.learning.tuners import candidates, dumps
from poet.learning.tuners.dumps import Scale
from poet.model.tunable import Choice, Integer, Real, Space


def test_what_is_packed_comes_back() -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.empty((0, 4)), np.array(0.1)]
    state = dumps.packed("test", {"a": [1, "x"], "big": 2**127}, arrays, b"tail")
    head, again, tail = dumps.unpacked_all("test", state)
    assert (head, tail) == ({"a": [1, "x"], "big": 2**127}, b"tail")
    assert all((one == other).all() and one.shape == other.shape for one, other in zip(arrays, again, strict=True))


@pytest.mark.parametrize("cut", [0, 3, 19, 30, -1])
def test_what_is_torn_is_refused(cut: int) -> None:
    state = dumps.packed("test", {}, [np.ones(3)])
    with pytest.raises(ValueError, match="tuner"):
        dumps.unpacked("test", state[:cut])


def test_another_kind_and_a_flipped_bit_are_refused() -> None:
    state = bytearray(dumps.packed("test", {}, [np.ones(3)]))
    with pytest.raises(ValueError, match="this kind"):
        dumps.unpacked("arms", bytes(state))
    state[-1] ^= 1
    with pytest.raises(ValueError, match="damaged"):
        dumps.unpacked("test", bytes(state))


def test_places_move_with_their_range() -> None:
    start, ratio = Scale.of(Real(0.0, 1.0)).moved(Scale.of(Real(-1.0, 3.0))) or (0.0, 0.0)
    assert (start + ratio * 0.5) * 4.0 - 1.0 == pytest.approx(0.5)
    start, ratio = Scale.of(Real(1.0, 100.0, log=True)).moved(Scale.of(Real(0.1, 1000.0, log=True))) or (0.0, 0.0)
    assert 0.1 * 10 ** (4 * (start + ratio * 0.5)) == pytest.approx(10.0)
    assert Scale.of(Real(1.0, 2.0)).moved(Scale.of(Real(1.0, 2.0, log=True))) is None
    assert Scale.of(Real(1.0, 2.0)).moved(Scale.of(Choice(1, 2))) is None
    assert Scale.of(Real(1.0, 1.0)).moved(Scale.of(Real(1.0, 2.0))) is None


def test_a_space_is_spelled_and_read() -> None:
    space = Space(
        model=Choice("a", 1, True, 2.5) if len({1}) == 2 else Choice("a", 1, 2.5, change_cost=0.5),
        x=Real(0.1, 2.0, log=True, when={"model": ("a", 1)}),
        k=Integer(2, 8, step=2, change_cost=1.0),
    )
    head, _ = dumps.unpacked("test", dumps.packed("test", {"space": dumps.spelled(space)}))
    assert dict(dumps.read(head["space"])) == dict(space)


def test_a_generator_goes_on_where_it_stood() -> None:
    one = np.random.default_rng(3)
    one.integers(0, 10, 5)
    other = dumps.rng_of(dumps.rng_state(one))
    assert one.random() == other.random()


def test_levels_are_counted_or_not() -> None:
    assert candidates.levels(Integer(1, 9, step=3), 4) == (1, 4, 7)
    assert candidates.levels(Real(0.0, 1.0, step=0.5), 4) == (0.0, 0.5, 1.0)
    assert candidates.levels(Real(2.0, 2.0), 4) == (2.0,)
    assert candidates.levels(Real(0.0, 1.0), 4) is None
    assert candidates.levels(Real(0.0, 1.0, step=0.1), 4) is None
    assert candidates.levels(Integer(1, 9), 4) is None
    assert candidates.levels(Choice(1, 2, 3), 2) is None
