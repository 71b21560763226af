from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import luigi
import luigi.configuration
import luigi.interface
import luigi.rpc
import pytest

from csci_utils.io import atomic_path
from csci_utils.luigi import run
from csci_utils.luigi.run import ExitStatus, ExplainedTask, RunResult, build
from csci_utils.s3 import AccessRefusedError, ObjectMissingError
from tests.csci_utils.fake_store import wait_until

REPO = Path(__file__).parents[3]
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # luigi forks
WORKERS = pytest.mark.parametrize("workers", [1, 2])


class PictureError(ValueError):
    exit_status = 30


FAULTS = {
    "picture": PictureError("x.jpg: not a picture"),
    "disk": OSError(28, "No space left on device", "x.jpg"),
    "store": AccessRefusedError("s3://b/k: refused"),
    "missing": ObjectMissingError("s3://b/k: not there"),
    "defect": ZeroDivisionError("division by zero"),
    "stop": KeyboardInterrupt("stop"),
}


class Input(luigi.ExternalTask):
    path = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(self.path)


class Write(ExplainedTask):
    folder = luigi.Parameter()
    name = luigi.Parameter()
    fault = luigi.Parameter(default="")
    needs = luigi.ListParameter(default=())

    def requires(self):
        return [Input(path=str(Path(self.folder, name))) for name in self.needs]

    def output(self):
        return luigi.LocalTarget(str(Path(self.folder, self.name)))

    def run(self):
        if self.fault == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "nothing":
            return
        with atomic_path(self.output().path) as scratch:
            scratch.write_bytes(b"half")
            if self.fault:
                raise FAULTS[self.fault]


class Plain(Write):
    """A task whose failures do not explain themselves."""

    on_failure = luigi.Task.on_failure


class BrokenLook(Write):
    def complete(self):
        raise FAULTS[self.fault]


class BrokenNeeds(Write):
    def requires(self):
        raise FAULTS[self.fault]


class All(luigi.WrapperTask):
    folder = luigi.Parameter()
    names = luigi.ListParameter()

    def requires(self):
        return [Write(folder=self.folder, name=name) for name in self.names]


@pytest.fixture
def folder(tmp_path) -> str:
    return str(tmp_path)


def only(result: RunResult) -> tuple[int, str]:
    assert len(result.failures) == 1
    failure = next(iter(result.failures.values()))
    assert failure.status == result.exit_status
    return failure.status, failure.sentence


@pytest.mark.slow
@WORKERS
def test_what_ran_to_its_end_is_0(folder, workers):
    task = Write(folder=folder, name="a")
    result = build([task], workers=workers)
    assert result == RunResult(ExitStatus.OK, done=[task.task_id])
    assert build([task], workers=workers) == RunResult(ExitStatus.OK, already_done=[task.task_id])


@pytest.mark.slow
@WORKERS
@pytest.mark.parametrize("kind", [Write, Plain], ids=["explained", "plain"])
@pytest.mark.parametrize(
    ("fault", "status", "sentence"),
    [
        ("picture", 30, "x.jpg: not a picture"),
        ("disk", 30, "x.jpg"),
        ("store", 35, "s3://b/k: refused"),
        ("missing", 20, "s3://b/k: not there"),
        ("defect", 40, "ZeroDivisionError: division by zero"),
        ("nothing", 30, "the task ended without what it promised, or its inputs changed meanwhile; run it again"),
    ],
)
def test_a_task_that_fails_says_why(folder, workers, kind, fault, status, sentence):
    task = kind(folder=folder, name="a", fault=fault)
    result = build([task], workers=workers)
    assert only(result)[0] == status
    assert sentence in only(result)[1]
    assert list(result.failures) == [task.task_id]
    assert os.listdir(folder) == []


def test_a_task_that_writes_nothing_fails_whatever_the_configuration_says(folder, monkeypatch):
    config = luigi.configuration.get_config()
    if not config.has_section("worker"):
        config.add_section("worker")
    monkeypatch.setitem(config["worker"], "check_complete_on_run", "false")
    assert only(build([Write(folder=folder, name="a", fault="nothing")]))[0] == 30


@pytest.mark.slow
def test_a_worker_that_is_killed_is_a_failed_task(folder):
    result = build(
        [Write(folder=folder, name=name, fault=fault) for name, fault in [("a", "die"), ("b", "")]], workers=2
    )
    status, sentence = only(result)
    assert status == 30
    assert "died unexpectedly with exit code -9" in sentence
    assert Path(folder, "b").exists()


def test_an_input_that_is_missing_is_20(folder):
    task = Write(folder=folder, name="a", needs=["b"])
    result = build([task])
    assert result == RunResult(ExitStatus.INPUT_MISSING, missing=[task.requires()[0].task_id])


def test_of_several_failures_the_highest_counts(folder):
    tasks = [Write(folder=folder, name=fault, fault=fault) for fault in ("missing", "store", "picture")]
    result = build([*tasks, Write(folder=folder, name="a", needs=["b"]), Write(folder=folder, name="c")])
    assert result.exit_status is ExitStatus.STORE
    assert sorted(failure.status for failure in result.failures.values()) == [20, 30, 35]
    assert len(result.missing) == len(result.done) == 1


@pytest.mark.parametrize("kind", [BrokenLook, BrokenNeeds], ids=["complete", "requires"])
@pytest.mark.parametrize(("fault", "status"), [("store", 35), ("defect", 40), ("picture", 30)])
def test_a_task_that_cannot_be_scheduled_says_why(folder, caplog, kind, fault, status):
    result = build([kind(folder=folder, name="a", fault=fault)])
    assert only(result) == (status, ("ZeroDivisionError: " if fault == "defect" else "") + str(FAULTS[fault]))
    assert ("Traceback" in caplog.text) == (fault == "defect")
    assert str(FAULTS[fault]) in caplog.text


@pytest.mark.slow
@WORKERS
@pytest.mark.parametrize(("fault", "trace"), [("picture", False), ("defect", True)])
def test_only_a_defect_is_logged_with_its_traceback(folder, capfd, workers, fault, trace):
    handler = logging.StreamHandler()
    logging.getLogger().addHandler(handler)  # forked workers inherit it; caplog would not see them
    try:
        build([Write(folder=folder, name="a", fault=fault)], workers=workers)
    finally:
        logging.getLogger().removeHandler(handler)
    err = capfd.readouterr().err
    assert ("Traceback" in err) == trace
    assert str(FAULTS[fault]) in err


def test_ctrl_c_passes_through(folder):
    with pytest.raises(KeyboardInterrupt, match="stop"):
        build([Write(folder=folder, name="a", fault="stop")])
    assert os.listdir(folder) == []


INTERRUPTED = """
import sys, time, luigi
from pathlib import Path
from csci_utils.io import atomic_path
from csci_utils.luigi.run import ExplainedTask, build

class Slow(ExplainedTask):
    name = luigi.Parameter()

    def output(self):
        return luigi.LocalTarget(str(Path(sys.argv[1], self.name)))

    def run(self):
        with atomic_path(self.output().path) as scratch:
            scratch.write_bytes(b"half")
            time.sleep(60)

build([Slow(name="a"), Slow(name="b")], workers=int(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("send", [os.killpg, os.kill], ids=["at-a-terminal", "to-the-parent"])
@WORKERS
def test_ctrl_c_ends_all_processes_and_leaves_nothing(folder, workers, send):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, folder, str(workers)],
        cwd=REPO,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: len(os.listdir(folder)) == workers, timeout_s=60)
    send(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, err
    assert "KeyboardInterrupt" in err
    assert os.listdir(folder) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_lock_that_is_held_is_10(folder, monkeypatch):
    monkeypatch.setattr(luigi.interface.lock, "acquire_for", lambda *_: False)
    assert only(build([Write(folder=folder, name="a")], no_lock=False)) == (
        10,
        "another process is running the same command and holds luigi's lock",
    )


def test_what_is_no_task_is_a_defect(caplog):
    assert build(["no task"]).exit_status is ExitStatus.DEFECT
    assert "Can not schedule non-task no task" in caplog.text


def test_a_scheduler_that_does_not_answer_is_25(folder, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise luigi.rpc.RPCError("Errors (3 attempts) when connecting")

    monkeypatch.setattr(luigi.rpc.RemoteScheduler, "_request", refuse)
    status, sentence = only(build([Write(folder=folder, name="a")], scheduler_url="http://127.0.0.1:1/"))
    assert status == 25
    assert sentence.startswith("the scheduler at http://127.0.0.1:1/ cannot be used")
    result = build([Write(folder=folder, name="a")], scheduler_url="http://u:hunter2@127.0.0.1:1/")
    assert "hunter2" not in only(result)[1]


def test_the_programs_logging_stays_as_it_was(folder):
    names = [None, "luigi", "luigi-interface"]
    before = [(log.level, list(log.handlers), list(log.filters)) for log in map(logging.getLogger, names)]
    build([Write(folder=folder, name="a")], log_level="DEBUG")
    assert [(log.level, log.handlers, log.filters) for log in map(logging.getLogger, names)] == before


def test_luigis_chatter_is_quiet_unless_asked_for(folder, caplog):
    build([Write(folder=folder, name="a")])
    assert caplog.records == []
    build([Write(folder=folder, name="b")], log_level="INFO")
    assert "Luigi Execution Summary" in caplog.text


def test_no_event_handler_is_left_behind(folder):
    before = {kind: dict(events) for kind, events in luigi.Task._event_callbacks.items()}
    build([Write(folder=folder, name="a", fault="picture")])
    assert luigi.Task._event_callbacks == before


@pytest.mark.slow
def test_a_wrapper_of_many_is_done_with_several_workers(folder):
    result = build([All(folder=folder, names=list("abcdef"))], workers=2)
    assert result.exit_status is ExitStatus.OK
    assert len(result.done) == 7
    assert len(os.listdir(folder)) == 6


def test_a_thread_can_run_tasks(folder):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(build, [Write(folder=folder, name="a")]).result().exit_status is ExitStatus.OK


@pytest.fixture
def luigid(tmp_path_factory):
    """A scheduler in a process of its own."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state = tmp_path_factory.mktemp("luigid") / "state"
    options = ["--port", str(port), "--address", "127.0.0.1", "--state-path", str(state)]
    code = f"import luigi.cmdline; luigi.cmdline.luigid({options})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=REPO, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert process.poll() is None
        assert time.monotonic() < end, "luigid did not start"
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_scheduler_may_want_a_login(folder, luigid):
    address = luigid.replace("://", "://u:hunter2@")
    assert build([Write(folder=folder, name="login")], scheduler_url=address).exit_status is ExitStatus.OK


@pytest.mark.slow
def test_failures_travel_through_a_scheduler_elsewhere(folder, luigid):
    tasks = [Write(folder=folder, name="a", fault="store"), Write(folder=folder, name="b")]
    result = build(tasks, workers=2, scheduler_url=luigid)
    assert only(result) == (35, "s3://b/k: refused")
    assert result.done == [tasks[1].task_id]


def run_elsewhere(task: luigi.Task, scheduler: luigi.rpc.RemoteScheduler) -> None:
    """Let another worker take a task, as if on another host."""
    scheduler.add_worker("elsewhere", [])
    scheduler.add_task(
        worker="elsewhere",
        task_id=task.task_id,
        status="PENDING",
        family=task.task_family,
        params=task.to_str_params(),
        resources=task.process_resources(),
    )
    assert scheduler.get_work(worker="elsewhere", host="elsewhere")["task_id"] == task.task_id


@pytest.mark.slow
def test_a_task_that_another_worker_has_is_10(folder, luigid):
    task = Write(folder=folder, name="a")
    run_elsewhere(task, luigi.rpc.RemoteScheduler(luigid))
    found = build([task], scheduler_url=luigid, wait_for_others=False)
    assert found == RunResult(ExitStatus.LOCKED, elsewhere=[task.task_id])


@pytest.mark.slow
@pytest.mark.parametrize("given_up", [True, False])
def test_a_task_that_another_worker_has_is_waited_for(folder, luigid, monkeypatch, given_up):
    """The other one ends it, or gives it up, when this one has looked twice."""
    task, others = Write(folder=folder, name="a"), luigi.rpc.RemoteScheduler(luigid)
    run_elsewhere(task, others)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            if not given_up:
                task.run()
            others.add_task(worker="elsewhere", task_id=task.task_id, status="FAILED" if given_up else "DONE")

    monkeypatch.setattr(run.time, "sleep", pause)
    found = build([task], scheduler_url=luigid)
    expected = {"done" if given_up else "already_done": [task.task_id]}
    assert found == RunResult(ExitStatus.OK, **expected)
    assert len(pauses) >= 2


class WriteOnGpu(Write):
    resources = {"gpu-of-this-host": 1}  # noqa: RUF012 -- as Luigi has it


@pytest.mark.slow
def test_a_task_whose_resource_is_used_waits_until_it_is_free(folder, luigid, monkeypatch):
    """Longer than a scheduler is given that says nothing."""
    first, second, others = *(WriteOnGpu(folder=folder, name=name) for name in "ab"), luigi.rpc.RemoteScheduler(luigid)
    run_elsewhere(first, others)
    assert build([second], scheduler_url=luigid, wait_for_others=False) == RunResult(
        ExitStatus.NOT_RUN, queued=[second.task_id]
    )
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 20:
            others.add_task(worker="elsewhere", task_id=first.task_id, status="DONE")

    monkeypatch.setattr(run.time, "sleep", pause)
    assert build([second], scheduler_url=luigid) == RunResult(ExitStatus.OK, done=[second.task_id])
    assert len(pauses) >= 20


def test_a_scheduler_that_is_not_there_is_told_at_once(folder, monkeypatch):
    monkeypatch.setattr(run.luigi, "build", lambda *_, **__: pytest.fail("nobody is there to be asked"))
    found = build([Write(folder=folder, name="a")], scheduler_url="http://127.0.0.1:9")
    assert found.exit_status is ExitStatus.NOT_RUN
    said = "the scheduler at http://127.0.0.1:9 cannot be used: [Errno 111] Connection refused"
    assert found.failures == {"": run.Failure(ExitStatus.NOT_RUN, said)}


def test_what_is_wanted_counts_and_not_who_did_it(folder, monkeypatch):
    def with_help(worker):
        return {**summary(worker), "run_by_other_worker": {Write(folder=folder, name="an input made elsewhere")}}

    summary = run._summary_dict
    monkeypatch.setattr(run, "_summary_dict", with_help)
    assert build([Write(folder=folder, name="a")]).exit_status is ExitStatus.OK


@pytest.mark.slow
def test_what_was_seen_is_not_asked_again_at_once(folder):
    asked = []

    class Asked(Write):
        def complete(self):
            asked.append(self.name)
            return super().complete()

    task = Asked(folder=folder, name="a", needs=["input"])
    source = task.requires()[0]
    assert build([task], seen={task: False, source: True}).exit_status == 0  # though there is no such input
    assert asked == ["a"]  # after it ran
    assert (task.complete(), source.complete()) == (True, False)
