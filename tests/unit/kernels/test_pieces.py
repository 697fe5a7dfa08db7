"""Long computations that let others run in between."""

from __future__ import annotations

from threading import Thread

import pytest

from poet.kernels.pieces import between, in_pieces


def test_a_hook_is_called_between_pieces_and_not_afterwards() -> None:
    called = []
    between()
    with in_pieces(lambda: called.append("outer")):
        with in_pieces(lambda: called.append("inner")):
            between()
        between()
    between()
    assert called == ["inner", "outer"]


def test_a_computation_that_fails_leaves_no_hook_behind() -> None:
    called: list[None] = []

    def failing() -> None:
        between()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), in_pieces(lambda: called.append(None)):
        failing()
    between()
    assert len(called) == 1


def test_the_hook_of_one_thread_is_not_that_of_another() -> None:
    called: list[None] = []
    with in_pieces(lambda: called.append(None)):
        other = Thread(target=between)
        other.start()
        other.join()
    assert not called
