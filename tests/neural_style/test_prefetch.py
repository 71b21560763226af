"""Work done ahead: in order, bounded, and over when its reader is."""

from __future__ import annotations

import threading
import time

import pytest

from neural_style.prefetch import done_ahead


def ahead_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_results_come_in_the_order_of_the_items(num_threads: int) -> None:
    def do(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(done_ahead(range(30), do, num_threads=num_threads, num_ahead=5)) == [n * n for n in range(30)]
    assert not ahead_threads()


def test_no_more_is_taken_than_may_be_ahead() -> None:
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    given = done_ahead(items(), lambda item: item, num_threads=2, num_ahead=4)
    for number in range(10):
        assert next(given) == number
        assert len(taken) == number + 5
    given.close()
    assert (len(taken), ahead_threads()) == (14, [])


def test_an_exception_comes_when_its_item_does_and_ends_the_threads() -> None:
    def do(item: int) -> int:
        if item == 3:
            raise ValueError("item 3")
        return item

    given = done_ahead(range(1000), do, num_threads=2, num_ahead=6)
    assert [next(given) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="item 3"):
        next(given)
    assert not ahead_threads()


def test_a_reader_that_goes_away_ends_the_threads() -> None:
    given = done_ahead(range(1000), lambda item: time.sleep(0.001), num_threads=3, num_ahead=6)
    next(given)
    assert len(ahead_threads()) == 3
    del given
    assert not ahead_threads()


def test_what_was_not_begun_is_left() -> None:
    done = []

    def do(item: int) -> None:
        time.sleep(0.01)
        done.append(item)

    given = done_ahead(range(1000), do, num_threads=1, num_ahead=100)
    next(given)
    given.close()
    assert len(done) < 10
