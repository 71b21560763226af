from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from csci_utils.io import sweep
from csci_utils.luigi import process
from csci_utils.luigi.process import ForkedTask
from csci_utils.signals import lasting_interrupts
from tests.csci_utils.fake_store import wait_until
from tests.processes import is_running, wait_until_gone

pytestmark = pytest.mark.slow

REPO = Path(__file__).parents[3]
TASKS = """
import os, sys, time, luigi
from pathlib import Path
from csci_utils.io import atomic_path
from csci_utils.luigi.run import ExplainedTask, build

class Slow(ExplainedTask):
    name = luigi.Parameter()
    folder = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(str(Path(self.folder, self.name)))

    def run(self):
        with atomic_path(self.output().path) as scratch:
            scratch.write_text(str(os.getpid()))
            end = time.monotonic() + 4
            while time.monotonic() < end:
                time.sleep(0.01)

class Both(luigi.WrapperTask):
    folder = luigi.Parameter()

    def requires(self):
        return [Slow(name=name, folder=self.folder) for name in "ab"]
"""
BUILD = "import sys; from slow import *; print(build([Both(folder=sys.argv[1])], workers=2))"
COMMAND = "import sys; from luigi.cmdline import luigi_run; luigi_run(sys.argv[2:] + ['--folder', sys.argv[1]])"
CALLS = {
    "build": [BUILD],
    "luigi": [COMMAND, "--module", "slow", "Both", "--local-scheduler", "--workers", "2"],
}


@pytest.fixture(params=CALLS)
def running(request, tmp_path):
    """A program with two task processes at work: itself, its folder, their ids."""
    (tmp_path / "slow.py").write_text(TASKS)
    folder = tmp_path / "made"
    folder.mkdir()
    code, *arguments = CALLS[request.param]
    config = str(REPO / "luigi.cfg") if request.param == "luigi" else os.devnull
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *arguments],
        env={**os.environ, "PYTHONPATH": f"{REPO}:{tmp_path}", "LUIGI_CONFIG_PATH": config},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(pids(folder)) == 2, timeout_s=60)
    yield program, folder, pids(folder)
    if program.poll() is None:
        program.kill()
    program.communicate()


def pids(folder: Path) -> list[int]:
    return [int(text) for text in (path.read_text() for path in folder.iterdir()) if text]


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@linux
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_tasks_end_with_their_parent_and_publish_nothing(running, signum):
    program, folder, children = running
    program.send_signal(signum)
    program.wait(20)
    wait_until_gone(*children)
    assert os.listdir(folder) == []
    assert "Traceback" not in program.stderr.read()


@pytest.mark.slow
@linux
@pytest.mark.parametrize(
    ("signum", "num_left"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)], ids=["cleans-up", "at-once"]
)
def test_a_task_that_is_told_to_end_publishes_nothing_and_the_other_goes_on(running, signum, num_left):
    program, folder, children = running
    os.kill(children[0], signum)
    wait_until_gone(children[0])
    assert len(os.listdir(folder)) == num_left
    sweep(folder)
    out, err = program.communicate(timeout=60)
    assert f"died unexpectedly with exit code -{signum:d}" in out + err
    assert "Traceback" not in err
    assert [path.read_text() for path in folder.iterdir()] == [str(children[1])]
    assert not next(folder.iterdir()).name.startswith(".")


DISGUISED = """
import os, signal, sys, time
import luigi
from csci_utils.luigi.run import ExplainedTask, build
from csci_utils.signals import lasting_interrupts, raise_interrupt

class Disguising(ExplainedTask):
    name = luigi.Parameter()
    done = False

    def run(self):
        self.done = self.name != sys.argv[1]
        if self.done:
            return
        try:
            os.kill(os.getpid() if sys.argv[2] == "1" else os.getppid(), signal.SIGINT)
            time.sleep(2)
        except KeyboardInterrupt:  # as an extension module does that is being imported
            raise ImportError("initialization failed")

    def complete(self):
        return self.done

signal.signal(signal.SIGINT, lambda *_: raise_interrupt())
try:
    with lasting_interrupts():
        build([Disguising(name=name) for name in "ab"], workers=int(sys.argv[2]))
    print("went on")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("name", ["a", "b"])
def test_an_interrupt_that_reaches_luigi_as_another_exception_is_one_still(workers, name):
    done = subprocess.run(
        [sys.executable, "-c", DISGUISED, name, workers], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


@linux
def test_ctrl_c_prints_no_traceback_of_the_tasks(running, request):
    program, folder, children = running
    os.killpg(program.pid, signal.SIGINT)
    _, err = program.communicate(timeout=60)
    assert "ContextManagedTaskProcess" not in err
    assert err.count("Traceback") <= 1, err  # the program's own
    assert "ignored" not in err, err
    assert not any(map(is_running, children))
    if request.node.callspec.params["running"] == "luigi":
        sweep(folder)  # luigi by itself sends its SIGTERM at once, which may be faster than the SIGINT
    assert os.listdir(folder) == []


class InThisProcess:
    use_multiprocessing = True
    result_queue = None


@pytest.mark.parametrize("multiprocessing", [True, False])
def test_in_the_process_of_luigi_itself_it_does_nothing(multiprocessing):
    task = InThisProcess()
    task.use_multiprocessing = multiprocessing
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    context = ForkedTask(task)
    context.__enter__()
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert task.result_queue is None
    context.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_interrupted_task_sends_no_result():
    class Queue(list):  # type: ignore[type-arg]
        put = list.append

    queue = Queue()
    results = process._Results(queue)
    for number, fault in enumerate([ValueError, KeyboardInterrupt]):
        with suppress(fault):
            try:
                raise fault
            finally:  # as luigi does
                results.put(number)
    results.put("done")
    assert queue == [0, "done"]


def test_a_second_signal_is_let_pass_without_a_word():
    ending = (signal.SIGINT, signal.SIGTERM)
    before = {each: signal.getsignal(each) for each in ending}
    try:
        with lasting_interrupts(), pytest.raises(KeyboardInterrupt, match="^$"):
            process._interrupt()
        # SIG_IGN would make Python write "Signal 15 ignored due to race condition"
        assert {signal.getsignal(each) for each in ending} == {process._ignore}
        assert signal.alarm(0) in range(1, process.CLEAN_UP_S + 1)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_task_whose_parent_has_gone_is_interrupted_and_then_killed(monkeypatch):
    sent: list[int] = []
    parents = iter([7, 7, 1])
    monkeypatch.setattr(process, "_WATCH_S", 0.001)
    monkeypatch.setattr(process, "CLEAN_UP_S", 0.001)
    monkeypatch.setattr(process.os, "getppid", lambda: next(parents))
    monkeypatch.setattr(process.os, "kill", lambda _, signum: sent.append(signum))
    process._watch(7)
    assert sent == [signal.SIGINT, signal.SIGKILL]


WATCHED = """
import multiprocessing, os, sys, time
from csci_utils.luigi import process

class Child(multiprocessing.get_context("fork").Process):
    use_multiprocessing, result_queue = True, None

    def run(self):
        with process.ForkedTask(self):
            print(os.getpid(), flush=True)
            {work}

Child().start()
"""


@linux
@pytest.mark.parametrize(
    "work", ["time.sleep(30)", "time.sleep(0.2); os.kill(os.getpid(), 15); time.sleep(30)"], ids=["parent", "itself"]
)
def test_a_watched_process_ends(work):
    code = WATCHED.replace("{work}", work) + ("os.waitpid(-1, 0)" if "kill" in work else "time.sleep(30)")
    program = subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True)
    child = int(program.stdout.readline())
    if "kill" not in work:
        time.sleep(0.2)
        program.kill()
    wait_until_gone(child)
    program.kill()
    program.communicate()


@pytest.mark.slow
@linux
def test_a_task_that_swallows_its_interruption_is_ended_all_the_same():
    work = "\n            ".join(
        ["process.CLEAN_UP_S = 1", "while True:", "    try: time.sleep(30)", "    except BaseException: pass"]
    )
    code = WATCHED.replace("{work}", work) + "time.sleep(30)"
    program = subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stdout=subprocess.PIPE, text=True)
    child = int(program.stdout.readline())
    time.sleep(0.2)
    os.kill(child, signal.SIGINT)
    wait_until_gone(child)
    program.kill()
    program.communicate()


STUCK = """
import hashlib, os, sys, luigi
from pathlib import Path
from csci_utils.luigi import process
from csci_utils.luigi.run import ExplainedTask, build

process.CLEAN_UP_S = 1

class Stuck(ExplainedTask):
    worker_timeout = int(os.environ["TIMEOUT_S"])
    name = luigi.Parameter()
    folder = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(str(Path(self.folder, "made", self.name)))

    def run(self):
        Path(self.folder, self.name).write_text(str(os.getpid()))
        if "HOLD" in os.environ:
            sum(range(10**11))  # native code that keeps Python from running at all
        hashlib.pbkdf2_hmac("sha256", b"", b"", 10**10)  # as torch does, it lets other threads run

class Both(luigi.WrapperTask):
    folder = luigi.Parameter()

    def requires(self):
        return [Stuck(name=name, folder=self.folder) for name in "ab"]
"""
STUCK_BUILD = """
import signal, sys
from stuck import *
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
build([Both(folder=sys.argv[1])], workers=2)
"""
STUCK_CALLS = {
    "build": [STUCK_BUILD],
    "luigi": [COMMAND, "--module", "stuck", "Both", "--local-scheduler", "--workers", "2"],
}


@pytest.mark.slow
@linux
@pytest.mark.parametrize("call", STUCK_CALLS)
@pytest.mark.parametrize(
    ("signum", "holds"),
    [(None, True), (None, False), (signal.SIGTERM, False), (signal.SIGKILL, False)],
    ids=["timeout-held", "timeout", "term", "kill"],
)
def test_a_task_that_is_stuck_in_native_code_is_ended(tmp_path, call, signum, holds):
    """By its worker_timeout, or with its parent."""
    (tmp_path / "stuck.py").write_text(STUCK)
    folder = tmp_path / "pids"
    folder.mkdir()
    code, *arguments = STUCK_CALLS[call]
    program = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *(arguments or [call])],
        env={
            **os.environ,
            "PYTHONPATH": f"{REPO}:{tmp_path}",
            "LUIGI_CONFIG_PATH": str(REPO / "luigi.cfg"),
            "TIMEOUT_S": "0" if signum else "2",
            **({"HOLD": "1"} if holds else {}),
        },
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    children: list[int] = []
    try:
        wait_until(lambda: len(pids(folder)) == 2, timeout_s=20)
        children = pids(folder)
        if signum:
            time.sleep(0.3)
            program.send_signal(signum)
        program.wait(60)
        wait_until_gone(*children, within_s=30)
    finally:
        program.kill()  # nothing, where it has been waited for: its number may be another's
        program.wait()
        for pid in filter(is_running, children):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
