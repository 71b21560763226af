"""What styling is told (engine, precision, memory, cache), and what its precision does to what is complete.

The net is a stand-in here that notes what it is asked for; its pictures differ by precision.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from luigi.contrib.external_program import ExternalProgramTask

from csci_utils.io import read_record, write_record
from csci_utils.lock import lock_path
from csci_utils.luigi import page
from csci_utils.luigi.run import ExitStatus, build
from neural_style import stylize as neural_stylize
from neural_style.contract import DEFAULT_MAX_PIXELS
from neural_style.errors import EngineError, PictureTooLargeError
from neural_style.stylize import Styled
from pipeline import progress, settings
from pipeline.loaded import loaded_stylizer
from pipeline.tasks import Stylize, UploadStylized
from tests.pipeline.conftest import ROOT, Bucket, encoded_picture

STYLE = ("-i", "luigi.jpg", "-m", "mosaic")
RESULT = "stylized/mosaic/luigi.jpg"
UP_TO_DATE = ["style-pipeline: nothing to do: 1 result up to date"]
MADE = ["style-pipeline: 1 result made, 0 up to date"]


class Net:
    """Stands for `Stylizer`.

    Attributes:
        loads: What each was made with.
        styles: What each picture was asked for with.
        has_fast: Whether it can do what is asked for as ``fast``.
        fractions: How far it says it is.
        others: What else it says of a picture that it has made.
        fault: What it raises instead of loading.
        takes_s: How long a picture takes.
        num_pixels: Of each picture.
    """

    loads: list[dict[str, Any]]
    styles: list[dict[str, Any]]
    has_fast: bool
    fractions: tuple[float, ...]
    others: dict[str, Any]
    fault: Exception | None
    takes_s: float
    num_pixels = 0

    def __init__(self, model: str | os.PathLike[str], **options: Any) -> None:
        if self.fault is not None:
            raise self.fault
        self.loads.append(options)
        self._precision = options["precision"] if self.has_fast else "float32"

    def style_file(self, content: Path, output: Path, *, on_progress: Any = None, **options: Any) -> Styled:
        self.styles.append(options)
        if options["max_pixels"] < self.num_pixels:
            raise PictureTooLargeError("it declares more")
        for fraction in self.fractions:
            on_progress(fraction)
        time.sleep(self.takes_s)
        Path(output).write_bytes(encoded_picture("x.jpg", seed=len(self._precision)))
        return Styled(width=32, height=24, made_by=self.made_by())

    def made_by(self) -> dict[str, Any]:
        arithmetic = {"float32": "float32", "fast": "bfloat16"}[self._precision]
        made_by = {"engine": "torch", "engine_version": "1", "device": "cpu", "threads": 1}
        return made_by | {"precision": self._precision, "arithmetic": arithmetic, **self.others}


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Net]]:
    """Every net of the test is a stand-in, a new class of it, so that no test meets what another noted."""
    state = {"loads": [], "styles": [], "has_fast": True, "fractions": (), "fault": None, "takes_s": 0.0, "others": {}}
    made = type("Net", (Net,), state)
    monkeypatch.setattr(neural_stylize, "Stylizer", made)
    loaded_stylizer.cache_clear()
    yield made
    loaded_stylizer.cache_clear()


@pytest.fixture
def inputs(store: Bucket) -> Bucket:
    """A picture and a model that the stand-in does not look at."""
    for name in ("images/luigi.jpg", "saved_models/mosaic.pth"):
        store.put_bytes(name, name.encode())
    return store


def precision_of(bucket: Bucket, root: Path | None = None) -> Any:
    record = read_record((root or bucket.local) / RESULT)
    assert record is not None
    return record["parameters"]["precision"]


# --- what the net is told


@pytest.mark.slow
def test_every_choice_reaches_the_net(inputs, run, net):
    options = ("--device", "cpu", "--engine", "openvino", "--precision", "fast", "--memory", "1.5GiB")
    assert run(*STYLE, *options, "--max-pixels", "77")[0] == 0
    assert net.loads == [
        {
            "device": "cpu",
            "engine": "openvino",
            "precision": "fast",
            "memory_bytes": 1_610_612_736,
            "cache": inputs.local / ".cache" / "models",
        }
    ]
    assert net.styles == [{"max_side": None, "max_pixels": 77, "quality": 95}]


@pytest.mark.slow
def test_by_default_the_net_chooses(inputs, run, net, monkeypatch):
    monkeypatch.delenv("PIPELINE_ENGINE")
    assert run(*STYLE)[0] == 0
    (asked,) = net.loads
    assert (asked["engine"], asked["precision"], asked["memory_bytes"]) == ("auto", "float32", None)


@pytest.mark.slow
def test_the_command_line_comes_before_luigi_cfg_of_the_task(inputs, run, net, monkeypatch):
    import luigi

    for name, value in {"engine": "torch", "precision": "fast", "memory": "1GiB", "device": "mps"}.items():
        luigi.configuration.get_config().set("Stylize", name, value)
    try:
        assert run(*STYLE, "--engine", "openvino", "--precision", "float32", "--memory", "2GiB")[0] == 0
    finally:
        luigi.configuration.get_config().remove_section("Stylize")
    (asked,) = net.loads
    assert (asked["engine"], asked["precision"], asked["memory_bytes"]) == ("openvino", "float32", 2 * 1024**3)
    assert asked["device"] == "cpu"


@pytest.mark.slow
def test_a_net_is_loaded_for_each_choice_and_once_for_the_same(inputs, net):
    inputs.put_bytes("images/sea.jpg", b"sea")
    choices = [{}, {"engine": "openvino"}, {"precision": "fast"}, {"memory": "1GiB"}]
    for image, choice in itertools.product(("luigi.jpg", "sea.jpg"), choices):
        Stylize(image=image, model="mosaic", **choice)._make(lambda _: None)
    assert (len(net.loads), len(net.styles)) == (4, 8)


@pytest.mark.slow
def test_the_program_is_told_the_same(inputs, net, monkeypatch):
    """Here something else is run in its place, which leaves the report that it would."""
    told: list[list[str]] = []

    def run_program(task: Stylize) -> None:
        told.append(task.program_args())
        given = dict(argument[2:].split("=", 1) for argument in told[-1][4:])
        Path(given["output-image"]).write_bytes(b"picture")
        made_by = {"engine": "torch", "precision": "float32", "threads": 1}
        Path(given["report"]).write_text(json.dumps({"made_by": made_by, "warnings": []}))

    monkeypatch.setattr(ExternalProgramTask, "run", run_program)
    task = Stylize(image="luigi.jpg", model="mosaic", mode="program", precision="fast", engine="torch", memory="2GiB")
    assert build([task]).exit_status == ExitStatus.OK
    cache = inputs.local / ".cache" / "models"
    assert {"--engine=torch", "--precision=fast", "--memory=2GiB", f"--cache={cache}"} <= set(told[0])
    assert precision_of(inputs) == "float32"  # as the program reports


@pytest.mark.slow
def test_sigterm_while_the_program_runs_ends_with_its_status(inputs, run, net, monkeypatch):
    """Luigi has a handler of its own meanwhile, which exits."""

    def terminated(task: Stylize) -> None:
        raise SystemExit(143)

    monkeypatch.setattr(ExternalProgramTask, "run", terminated)
    status, out, err = run(*STYLE, "--mode", "program")
    assert (status, out, err[-1]) == (143, [], "style-pipeline: error: terminated; nothing half-made was left")
    assert not [name for name in inputs.files() if name.startswith("stylized")]


@pytest.mark.parametrize("choice", [{"engine": "vulkan"}, {"precision": "bf16"}, {"memory": "lots"}], ids=str)
def test_a_task_with_another_choice_cannot_be_made(store, choice):
    from pipeline.errors import NotConfiguredError

    (name,) = choice
    with pytest.raises(NotConfiguredError, match=f"^{name} wants .* found '{choice[name]}'"):
        Stylize(image="cat.jpg", model="mosaic", **choice)


@pytest.mark.slow
@pytest.mark.parametrize("command", [STYLE, (*STYLE, "--publish")], ids=["style", "publish"])
def test_an_engine_that_is_not_installed_is_one_sentence_and_leaves_nothing(inputs, run, net, command):
    net.fault = EngineError("styling with OpenVINO needs openvino; pip install 'neural-style-pipeline[openvino]'")
    status, out, err = run(*command, "--engine", "openvino")
    assert (status, out) == (30, [])
    assert err[0] == f"style-pipeline: error: {net.fault}"
    assert not [name for name in inputs.files() if name.startswith("stylized")]


# --- precision, and what is complete


def test_precision_is_part_of_the_identity_and_the_rest_is_not(store):
    here = Stylize(image="cat.jpg", model="mosaic")
    assert Stylize(image="cat.jpg", model="mosaic", precision="fast").task_id != here.task_id
    assert Stylize(image="cat.jpg", model="mosaic", precision="float32").task_id == here.task_id
    assert Stylize(image="cat.jpg", model="mosaic", engine="torch", memory="2GiB").task_id == here.task_id
    with settings.use(settings.read_settings(precision="fast")):
        assert Stylize(image="cat.jpg", model="mosaic").task_id != here.task_id


@pytest.mark.slow
def test_a_fast_result_is_made_again_for_float32(inputs, run, net):
    run(*STYLE, "--precision", "fast")
    assert precision_of(inputs) == "fast"
    assert run(*STYLE, "--precision", "fast")[2] == UP_TO_DATE
    dry = run(*STYLE, "--dry-run")[2]
    assert dry == [f"style-pipeline: would make {inputs.local / RESULT}: precision changed: fast -> float32"]
    assert run(*STYLE)[2] == MADE
    assert precision_of(inputs) == "float32"


@pytest.mark.slow
def test_a_float32_result_satisfies_who_wants_it_fast(inputs, run, net):
    run(*STYLE)
    assert run(*STYLE, "--precision", "fast")[2] == UP_TO_DATE
    assert precision_of(inputs) == "float32"


@pytest.mark.slow
def test_what_is_asked_for_as_fast_and_made_in_float32_is_float32(inputs, run, net):
    net.has_fast = False
    run(*STYLE, "--precision", "fast")
    assert precision_of(inputs) == "float32"
    assert run(*STYLE)[2] == UP_TO_DATE


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["in-process", "program"])
def test_a_small_picture_is_float32_whatever_is_asked_for(bucket, run, mode):
    """By the net itself."""
    assert run(*STYLE, "--precision", "fast", "--mode", mode)[0] == 0
    assert precision_of(bucket) == "float32"
    assert run(*STYLE)[2] == UP_TO_DATE
    assert run("reproduce", RESULT)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"engine": "openvino"}, {"device": "mps"}, {"threads": 7}, {"arithmetic": "float16"}], ids=str
)
def test_what_made_it_is_no_reason_to_make_it_again(inputs, run, net, change):
    run(*STYLE)
    record = read_record(inputs.local / RESULT)
    assert record is not None
    write_record(inputs.local / RESULT, record | {"made_by": record["made_by"] | change})
    assert run(*STYLE, "--engine", "torch", "--memory", "1GiB")[2] == UP_TO_DATE


@pytest.mark.slow
def test_a_record_of_before_there_were_precisions_holds(inputs, run, net):
    run(*STYLE)
    record = read_record(inputs.local / RESULT)
    assert record is not None
    del record["made_by"]["arithmetic"]
    write_record(inputs.local / RESULT, record)
    assert run(*STYLE, "--precision", "fast")[2] == UP_TO_DATE
    assert run("status")[1] == [str(inputs.local / RESULT)]
    assert run("reproduce", RESULT)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("precisions", [("fast", "float32"), ("float32", "fast")], ids=["fast-first", "float32-first"])
@pytest.mark.parametrize("kind", [Stylize, UploadStylized], ids=lambda kind: kind.__name__)
def test_of_two_tasks_of_a_run_that_differ_in_precision_the_better_result_stays(inputs, net, kind, precisions):
    tasks = [kind(image="luigi.jpg", model="mosaic", precision=each) for each in precisions]
    assert build(tasks).exit_status == ExitStatus.OK
    assert precision_of(inputs) == "float32"
    assert [task.complete() for task in tasks] == [True, True]
    assert len(net.styles) == (1 if precisions[0] == "float32" else 2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("kind", [Stylize, UploadStylized], ids=lambda kind: kind.__name__)
def test_they_may_run_at_once(inputs, net, kind):
    net.takes_s = 0.5
    tasks = [kind(image="luigi.jpg", model="mosaic", precision=each) for each in ("fast", "float32")]
    assert build(tasks, workers=2).exit_status == ExitStatus.OK
    assert precision_of(inputs) == "float32"
    assert [task.complete() for task in tasks] == [True, True]


def test_a_result_that_is_sent_is_not_replaced_meanwhile(inputs, run, net, monkeypatch):
    """Else the record of a better one could follow it."""
    sent = []

    def push(path: Path, *_: Any, **__: Any) -> None:
        sent.append((path.name, lock_path(inputs.local / RESULT).exists()))

    monkeypatch.setattr("pipeline.tasks.publish.push", push)
    UploadStylized(image="luigi.jpg", model="mosaic").run()
    assert sent == [("luigi.jpg", True), (".luigi.jpg.json", True)]
    assert not lock_path(inputs.local / RESULT).exists()


@pytest.mark.slow
def test_fast_does_not_stand_in_for_a_better_result_that_does_not_hold(inputs, run, net):
    run(*STYLE)
    inputs.put_bytes("images/luigi.jpg", b"another")
    assert run(*STYLE, "--precision", "fast")[2] == MADE
    assert precision_of(inputs) == "fast"


# --- published results


@pytest.mark.slow
def test_a_published_fast_result_is_made_and_published_again_for_float32(inputs, run, net):
    run(*STYLE, "--precision", "fast", "--publish")
    assert run(*STYLE, "--precision", "fast", "--publish")[2] == UP_TO_DATE
    (dry,) = run(*STYLE, "--publish", "--dry-run")[2]
    assert dry == (
        f"style-pipeline: would make {inputs.local / RESULT}: precision changed: fast -> float32; "
        f"would publish {ROOT}/{RESULT}: precision changed: fast -> float32"
    )
    assert run(*STYLE, "--publish")[2] == ["style-pipeline: 1 result made, 1 published, 0 up to date"]
    for precision in ("float32", "fast"):
        assert run(*STYLE, "--publish", "--precision", precision)[2] == UP_TO_DATE


@pytest.mark.slow
def test_a_host_fetches_a_published_result_that_is_better_than_its_own(inputs, run, net, tmp_path):
    other = tmp_path / "other"
    run(*STYLE, "--precision", "fast", "--local-root", str(other))
    run(*STYLE, "--publish")
    err = run(*STYLE, "--publish", "--precision", "fast", "--local-root", str(other))[2]
    assert err == ["style-pipeline: 0 results made, 0 published, 1 fetched as published by others, 0 up to date"]
    assert precision_of(inputs, other) == "float32"


@pytest.mark.slow
def test_a_host_keeps_its_own_result_that_is_better_than_the_published_one(inputs, run, net, tmp_path):
    other = tmp_path / "other"
    run(*STYLE, "--local-root", str(other))
    run(*STYLE, "--publish", "--precision", "fast")
    assert run(*STYLE, "--publish", "--precision", "fast", "--local-root", str(other))[2] == UP_TO_DATE
    assert precision_of(inputs, other) == "float32"


# --- status and reproduce


@pytest.mark.slow
def test_status_takes_a_result_for_what_it_is(inputs, run, net):
    run(*STYLE, "--precision", "fast")
    assert run("status")[2] == [
        f"style-pipeline: up to date {inputs.local / RESULT}",
        "style-pipeline: 1 of 1 results up to date",
    ]
    record = read_record(inputs.local / RESULT)
    assert record is not None
    write_record(inputs.local / RESULT, record | {"parameters": record["parameters"] | {"precision": "float8"}})
    err = run("status")[2]
    assert err[0] == f"style-pipeline: stale {inputs.local / RESULT}: precision changed: float8 -> float32"


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "fast"])
def test_a_result_is_reproduced_in_its_precision_and_by_its_engine(inputs, run, net, precision):
    run(*STYLE, "--precision", precision)
    assert run("reproduce", RESULT, "--local-root", str(inputs.local))[0] == 0
    assert net.loads[-1] == {
        "device": "cpu",
        "threads": 1,
        "engine": "torch",
        "precision": precision,
        "memory_bytes": None,
        "cache": inputs.local / ".cache" / "models",
    }


@pytest.mark.slow
def test_what_reproduces_otherwise_says_what_is_different(inputs, run, net):
    run(*STYLE, "--precision", "fast")
    net.has_fast = False
    status, _, err = run("reproduce", RESULT)
    assert status == 30
    assert f"style-pipeline: warning: {inputs.local / RESULT}: made with precision fast, now float32" in err
    assert f"style-pipeline: warning: {inputs.local / RESULT}: made with arithmetic bfloat16, now float32" in err
    assert "made again it differs: largest difference" in err[-1]


@pytest.mark.slow
def test_a_picture_that_was_accepted_once_is_so_again(inputs, run, net):
    net.num_pixels = DEFAULT_MAX_PIXELS + 1
    assert run(*STYLE, "--max-pixels", str(net.num_pixels))[0] == 0
    net.styles.clear()
    assert run("reproduce", RESULT)[0] == 0
    assert [each["max_pixels"] >= net.num_pixels for each in net.styles] == [False, True]


@pytest.mark.slow
def test_pictures_that_do_not_fit_are_not_compared(inputs, run, net, monkeypatch):
    run(*STYLE, "--precision", "fast")
    net.has_fast = False
    monkeypatch.setattr("pipeline.reproduce.DEFAULT_MAX_PIXELS", 100)
    status, _, err = run("reproduce", RESULT)
    assert status == 30
    assert "made again it differs: they are too large to be compared here; recorded sha256 " in err[-1]


BANDS = {"bands": {"kept": "half size", "rows": 64}}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (BANDS, {}, "made in bands of 64 rows (kept: half size), now as a whole; --memory decides it"),
        ({}, BANDS, "made as a whole, now in bands of 64 rows (kept: half size); --memory decides it"),
    ],
    ids=["then", "now"],
)
def test_a_picture_that_was_made_in_bands_is_told_from_one_that_was_not(inputs, run, net, then, now, said):
    net.others = then
    run(*STYLE)
    assert run("reproduce", RESULT)[2][0].startswith("style-pipeline: reproduced")
    net.others = now
    status, _, err = run("reproduce", RESULT, "--memory", "2GiB")
    assert (status, net.loads[-1]["memory_bytes"]) == (0, 2 * 1024**3)
    assert err[0].endswith(said)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "wanted_bytes"), [((), 2**28), (("--memory", "1GiB"), 2**28), (("--memory", "64MiB"), 2**26)], ids=str
)
def test_bands_are_made_again_in_the_memory_that_made_them(inputs, run, net, options, wanted_bytes):
    net.others = {"bands": BANDS["bands"] | {"memory_bytes": 2**28}}
    run(*STYLE)
    assert run("reproduce", RESULT, *options)[0] == 0
    assert net.loads[-1]["memory_bytes"] == wanted_bytes


@pytest.mark.slow
def test_another_memory_that_makes_the_same_bands_is_no_difference(inputs, run, net):
    net.others = {"bands": BANDS["bands"] | {"memory_bytes": 2**28}}
    run(*STYLE)
    net.others = {"bands": BANDS["bands"] | {"memory_bytes": 2**27}}
    assert len(run("reproduce", RESULT)[2]) == 1


@pytest.mark.slow
def test_a_precision_that_this_version_has_not_cannot_be_reproduced(inputs, run, net):
    run(*STYLE)
    record = read_record(inputs.local / RESULT)
    assert record is not None
    write_record(inputs.local / RESULT, record | {"parameters": record["parameters"] | {"precision": "float8"}})
    status, _, err = run("reproduce", RESULT)
    assert (status, len(err)) == (30, 1)
    assert "made by algorithm 1 in float8, which this version has not (it has 1 in float32 and fast)" in err[0]


# --- the cache


@pytest.mark.slow
def test_what_engines_keep_is_no_result_and_nobody_removes_it(inputs, run, net):
    kept = inputs.local / ".cache" / "models" / "0123" / "mosaic.xml"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"converted")
    run(*STYLE)
    assert run("status")[1] == [str(inputs.local / RESULT)]
    status, _, err = run("remove", ".cache/models/0123/mosaic.xml")
    assert (status, "is no file of the mirror" in err[0]) == (2, True)
    assert run("remove", "saved_models/mosaic.pth")[0] == 0
    run(*STYLE, "--force")
    assert kept.read_bytes() == b"converted"


# --- progress


def shown(task: Stylize) -> SimpleNamespace:
    """Have Luigi's page noted while a task runs."""
    noted = SimpleNamespace(messages=[], percentages=[])
    task.set_status_message, task.set_progress_percentage = noted.messages.append, noted.percentages.append
    task.set_tracking_url = lambda url: None
    return noted


@pytest.fixture
def _everything_is_shown(monkeypatch):
    """As if each call came a second after the last."""
    monkeypatch.setattr(progress, "REFRESH_S", 0)

    def said(self: page.Page, message: str, *, percent: int) -> None:
        self._send(message, percent)

    monkeypatch.setattr(page.Page, "say", said)


@pytest.mark.usefixtures("_everything_is_shown")
@pytest.mark.parametrize("kind", [Stylize, UploadStylized], ids=lambda kind: kind.__name__)
def test_luigis_page_shows_how_far_the_net_is(inputs, net, kind):
    net.fractions = (0.0, 0.5, 1.0)
    task = kind(image="luigi.jpg", model="mosaic")
    noted = shown(task)
    task.run()
    assert noted.messages[:5] == [
        "fetching the picture and the model", "styling", "styling: 0%", "styling: 50%", "styling: 100%"
    ]  # fmt: skip
    assert noted.percentages[:5] == [0, 20, 20, 55, 90]
    assert noted.percentages[-1] == 100


@pytest.mark.usefixtures("_everything_is_shown")
def test_a_net_that_tells_every_step_is_mostly_not_listened_to(inputs, net, monkeypatch):
    monkeypatch.setattr(progress, "REFRESH_S", 60)
    net.fractions = tuple(number / 1000 for number in range(1000))
    task = Stylize(image="luigi.jpg", model="mosaic")
    noted = shown(task)
    task.run()
    assert [message for message in noted.messages if "%" in message] == ["styling: 0%"]


@pytest.mark.usefixtures("_everything_is_shown")
def test_the_bar_counts_the_part_of_a_picture_that_is_done(inputs, net, monkeypatch):
    counted = progress.Progress()
    seen = []
    monkeypatch.setattr(progress, "_current", counted)
    monkeypatch.setattr(page.Page, "say", lambda *_, **__: seen.append(counted.num_pictures))
    net.fractions = (0.25, 0.75)
    task = Stylize(image="luigi.jpg", model="mosaic")
    shown(task)
    task.run()
    assert seen == [0, 0, 0.25, 0.75, 0.75]
    assert counted.num_pictures == 1


@pytest.mark.usefixtures("_everything_is_shown")
def test_a_picture_that_fails_half_way_leaves_no_part_on_the_bar(inputs, net, monkeypatch):
    counted = progress.Progress()
    monkeypatch.setattr(progress, "_current", counted)

    def fail(fraction: float) -> None:
        raise EngineError("the output cannot be used")

    net.fractions = (0.5,)
    monkeypatch.setattr(net, "made_by", lambda self: fail(0))
    with pytest.raises(EngineError, match="cannot be used"):
        Stylize(image="luigi.jpg", model="mosaic").run()
    assert counted.num_pictures == 0
