from __future__ import annotations

import logging
import threading
import time

from luigi.rpc import RPCError

from csci_utils.luigi.page import Page, ShownTask

LONG_S = 60.0


def test_the_first_and_the_last_words_are_sent_and_few_between():
    sent = []
    with Page(lambda *said: sent.append(said), every_s=LONG_S) as page:
        page.say("begin", percent=0)
        wait_until(lambda: sent)
        for step in range(1000):
            page.say(f"step {step}", percent=50)
    assert sent == [("begin", 0), ("step 999", 50)]


def test_words_are_sent_no_more_often_than_they_may():
    times = []
    with Page(lambda *_: times.append(time.monotonic()), every_s=0.05) as page:
        while len(times) < 4:
            page.say("on", percent=1)
            time.sleep(0.001)
    gaps = [later - earlier for earlier, later in zip(times, times[1:-1], strict=False)]  # the last one is the end's
    assert min(gaps) >= 0.05


def test_nothing_is_sent_where_nothing_was_said():
    sent = []
    with Page(lambda *said: sent.append(said)):
        pass
    assert sent == []


def test_a_scheduler_that_fails_is_told_of_once_and_tried_again(caplog):
    tries, answers = [], [RPCError("gone"), RPCError("gone"), None]

    def send(message: str, percent: int) -> None:
        tries.append(message)
        answer = answers[min(len(tries) - 1, 2)]
        if answer is not None:
            raise answer

    with caplog.at_level(logging.WARNING), Page(send, every_s=0.0) as page:
        for number in range(1, 4):
            page.say(f"step {number}", percent=number)
            wait_until(lambda number=number: len(tries) == number)
    assert tries == ["step 1", "step 2", "step 3"]
    assert [record.getMessage() for record in caplog.records] == [
        "Luigi's page does not show how far the work is: gone"
    ]


def test_a_scheduler_that_hangs_holds_up_nobody_and_its_thread_ends_when_it_answers():
    answers, asked = threading.Event(), threading.Event()

    def hang(message: str, percent: int) -> None:
        asked.set()
        answers.wait(LONG_S)

    begin = time.monotonic()
    with Page(hang, every_s=0.0, last_s=0.05) as page:
        page.say("begin", percent=0)
        assert asked.wait(LONG_S)
        for step in range(1000):
            page.say(f"step {step}", percent=50)
    assert time.monotonic() - begin < LONG_S / 2
    (sender,) = [thread for thread in threading.enumerate() if thread.name == "luigi-page"]
    assert sender.daemon  # no process waits for it, either
    answers.set()
    sender.join(LONG_S)
    assert not sender.is_alive()


class Task(ShownTask):
    def __init__(self, shown: list[object] | None) -> None:
        self.set_status_message = None if shown is None else shown.append
        self.set_progress_percentage = None if shown is None else shown.append


def test_what_a_task_runs_within_itself_is_shown_as_its_own():
    shown: list[object] = []
    task, other = Task(shown), Task(None)
    with task.shown(other):
        with other.shown():
            other.say("half", percent=50)
            wait_until(lambda: len(shown) == 2)
        task.say("done", percent=100)
    other.say("too late", percent=0)
    assert shown == ["half", 50, "done", 100]


def test_a_task_that_luigi_does_not_run_says_nothing():
    task = Task(None)
    with task.shown():
        task.say("half", percent=50)


def wait_until(holds) -> None:
    end = time.monotonic() + LONG_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)
