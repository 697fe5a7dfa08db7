"""The memo of the few that were asked about last."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from poet.learning.recent import Recent


class Key:
    """Told apart by identity."""


def test_it_gives_what_was_put_and_nothing_for_an_equal_key() -> None:
    memo: Recent[tuple[int, ...], str] = Recent(4)
    one: tuple[int, ...] = (1, 2)
    equal = (*one,)
    assert equal is not one
    assert memo.put(one, "one") == "one"
    assert memo.get(one) == "one"
    assert memo.get(equal) is None


def test_what_was_unused_for_longest_goes_first() -> None:
    memo: Recent[Key, int] = Recent(2)
    a, b, c = Key(), Key(), Key()
    memo.put(a, 1)
    memo.put(b, 2)
    assert memo.get(a) == 1
    memo.put(c, 3)
    assert (memo.get(a), memo.get(b), memo.get(c)) == (1, None, 3)


def test_what_was_dropped_is_gone() -> None:
    memo: Recent[Key, int] = Recent(2)
    a = Key()
    memo.put(a, 1)
    memo.drop(a)
    memo.drop(a)
    assert memo.get(a) is None
    assert len(memo) == 0


@given(st.lists(st.tuples(st.integers(0, 7), st.booleans())), st.integers(1, 5))
def test_it_never_holds_more_than_its_places_and_never_lies(steps: list[tuple[int, bool]], places: int) -> None:
    memo: Recent[Key, int] = Recent(places)
    keys = [Key() for _ in range(8)]
    for which, put in steps:
        if put:
            memo.put(keys[which], which)
            assert memo.get(keys[which]) == which
        else:
            assert memo.get(keys[which]) in (which, None)
        assert len(memo) <= places


def test_threads_may_share_it() -> None:
    memo: Recent[Key, int] = Recent(3)
    keys = [Key() for _ in range(6)]
    lies: list[object] = []

    def use(seed: int) -> None:
        try:
            for step in range(3000):
                which = (step * (seed + 1)) % 6
                found = memo.get(keys[which])
                if found not in (which, None):
                    lies.append(found)
                memo.put(keys[which], which)
                if step % 7 == 0:
                    memo.drop(keys[which])
        except Exception as error:
            lies.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not lies
