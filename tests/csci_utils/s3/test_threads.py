from __future__ import annotations

import threading
import time

import pytest

from csci_utils.s3.threads import Crew, Stop, StoppedError, check_stopped, hurried, pause, stopped, waking
from tests.csci_utils.fake_store import wait_until


def crew(work, *, num_threads: int = 2, patience_s: float = 5.0) -> Crew:
    return Crew(work, num_threads=num_threads, patience_s=patience_s)


def test_the_work_of_all_threads_is_waited_for():
    done = []

    def work(crew: Crew) -> None:
        time.sleep(0.05)
        done.append(threading.current_thread().name)

    with crew(work, num_threads=3) as threads:
        pass
    assert len(done) == 3
    assert threads.ended


def test_an_error_of_one_thread_ends_the_wait_and_the_others():
    ended = []

    def work(crew: Crew) -> None:
        if threading.current_thread().name == "s3-0":
            raise ValueError("broken")
        wait_until(crew.stop.is_set)
        ended.append(True)

    with pytest.raises(ValueError, match="broken"), crew(work) as threads:
        threads.wait_for(lambda: False)
    assert ended == [True]


def test_an_error_that_nobody_waited_for_is_told_at_the_end():
    def work(crew: Crew) -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), crew(work):
        time.sleep(0.05)


def test_an_error_of_one_thread_ends_the_others_though_nobody_waits():
    def work(crew: Crew) -> None:
        if threading.current_thread().name == "s3-0":
            raise ValueError("broken")
        wait_until(crew.stop.is_set)

    start = time.monotonic()
    with pytest.raises(ValueError, match="broken"), crew(work):
        pass
    assert time.monotonic() - start < 15


def test_threads_that_end_without_a_result_are_a_defect():
    with pytest.raises(RuntimeError, match="every thread ended"), crew(lambda _crew: None) as threads:
        threads.wait_for(lambda: False)


def test_what_the_block_raises_stops_the_threads():
    def work(crew: Crew) -> None:
        wait_until(crew.stop.is_set)
        pause(60)

    with pytest.raises(KeyError), crew(work) as threads:
        raise KeyError("over")
    assert threads.ended


@pytest.mark.slow
def test_a_thread_that_hangs_is_not_waited_for_for_ever():
    release = threading.Event()
    start = time.monotonic()
    with pytest.raises(KeyError), crew(lambda _crew: release.wait(30), patience_s=0.1) as threads:
        raise KeyError("over")
    assert time.monotonic() - start < 15
    assert not threads.ended
    release.set()
    wait_until(lambda: threads.ended)


@pytest.mark.slow
def test_a_call_made_by_a_thread_ends_with_the_call_that_the_thread_works_for():
    inner = []

    def deep(crew: Crew) -> None:
        pause(60)

    def work(outer: Crew) -> None:
        try:
            with crew(deep) as threads:
                inner.append(threads)
                threads.wait_for(lambda: False)
        except StoppedError:
            inner.append("stopped")
            raise

    start = time.monotonic()
    with pytest.raises(AssertionError, match="it did not happen"), crew(work, num_threads=1) as threads:
        wait_until(lambda: len(inner) > 1, timeout_s=0.5)
    assert time.monotonic() - start < 30
    assert inner[1] == "stopped"
    assert threads.ended
    assert inner[0].ended


def test_an_inner_failure_leaves_the_outer_call_alone():
    def work(outer: Crew) -> None:
        def fail(_crew: Crew) -> None:
            raise ValueError("inner")

        with pytest.raises(ValueError, match="inner"), crew(fail) as threads:
            threads.wait_for(lambda: False)
        assert not outer.stop.is_set()

    with crew(work, num_threads=1):
        pass


def test_outside_of_any_crew_nothing_is_ever_stopped(pauses):
    check_stopped()
    assert not stopped()
    with waking(lambda: pytest.fail("woken")):
        pause(3.0)
    assert pauses == [3.0]


def test_a_stop_wakes_those_who_wait_and_those_who_come_late():
    woken = []
    stop = Stop()
    with stop.waking(lambda: woken.append("left")):
        pass
    with stop.waking(lambda: woken.append("waits")):
        stop.set()
    with stop.waking(lambda: woken.append("late")):
        pass
    assert woken == ["waits", "late"]
    with pytest.raises(StoppedError):
        stop.check()


def test_a_waker_that_fails_does_not_keep_the_others_asleep():
    woken = []
    stop = Stop()
    with stop.waking(lambda: 1 / 0), stop.waking(lambda: woken.append("second")):
        stop.set()
    with stop.waking(lambda: 1 / 0):
        woken.append("late")
    assert woken == ["second", "late"]


def test_a_hurried_block_is_like_a_call_that_was_given_up():
    with hurried():
        assert stopped()
    assert not stopped()
