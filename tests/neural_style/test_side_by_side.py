"""Threads with a share of torch's threads each; the order of what they give is that of what they got."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from neural_style.side_by_side import SideBySide


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_things_whichever_is_ready_first():
    torch.set_num_threads(2)
    second_is_done = threading.Event()

    def number(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)
        if item == 1:
            second_is_done.set()
        return item

    assert list(SideBySide(2).map(number, range(5))) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("threads", "most", "wanted"), [(2, 4, (2, 1)), (8, 4, (4, 2)), (8, 3, (3, 2)), (1, 4, (1, 1)), (4, 1, (1, 4))]
)
def test_the_threads_of_torch_are_shared_out(threads, most, wanted):
    torch.set_num_threads(threads)
    together = threading.Barrier(wanted[0])

    def share(_item: int) -> tuple[str, int]:
        together.wait(10)
        return threading.current_thread().name, torch.get_num_threads()

    found = list(SideBySide(most).map(share, range(wanted[0])))
    assert len({name for name, _ in found}) == wanted[0]
    assert {each for _, each in found} == {wanted[1]}
    assert torch.get_num_threads() == threads


def test_threads_that_others_start_later_have_the_number_from_before():
    torch.set_num_threads(6)
    SideBySide(3)
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert found == [6]


def test_what_the_function_raises_comes_out():
    torch.set_num_threads(2)

    def refusing(item: int) -> int:
        if item == 1:
            raise ValueError("no picture")
        return item

    results = SideBySide(2).map(refusing, range(4))
    assert next(results) == 0
    with pytest.raises(ValueError, match="^no picture$"):
        next(results)


def test_its_threads_end_when_it_is_closed_and_come_back_when_they_are_wanted():
    torch.set_num_threads(4)
    before = set(threading.enumerate())
    side_by_side = SideBySide(2)
    for _ in range(2):
        side_by_side.close()
        assert set(threading.enumerate()) <= before
    found = list(side_by_side.map(lambda _: (threading.current_thread().name, torch.get_num_threads()), range(4)))
    assert {share for _, share in found} == {2}
    assert all(name.startswith("picture") for name, _ in found)
    assert torch.get_num_threads() == 4
    side_by_side.close()


def test_its_threads_end_with_it():
    torch.set_num_threads(3)
    before = set(threading.enumerate())
    side_by_side = SideBySide(3)
    started = set(threading.enumerate()) - before
    assert len(started) == 3
    del side_by_side
    for thread in started:
        thread.join(10)
    assert not any(thread.is_alive() for thread in started)
