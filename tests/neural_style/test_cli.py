"""The published flags, an honest exit status, the result's path and nothing else on standard output."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from neural_style import progress_bar, stylize
from neural_style.cli import main
from neural_style.images import load_image
from neural_style.stylize import Stylizer

MakePicture = Callable[..., Path]
RunEval = Callable[..., int]


@pytest.fixture
def run_eval(make_picture: MakePicture, small_weights: Path, tmp_path: Path) -> RunEval:
    """Style the picture with the weights into out.png; options that are given again win."""

    def run(*options: str) -> int:
        given = ["--content-image", str(make_picture()), "--model", str(small_weights)]
        return main(["eval", *given, "--output-image", str(tmp_path / "out.png"), *options])

    return run


@pytest.mark.slow
def test_eval_writes_the_picture_and_prints_its_path(
    run_eval: RunEval,
    small_weights: Path,
    rgb_HW3: NDArray[np.uint8],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_eval() == 0
    assert capfd.readouterr() == (f"{tmp_path}/out.png\n", "")
    wanted = Stylizer(small_weights).style(rgb_HW3)
    assert np.array_equal(np.asarray(load_image(tmp_path / "out.png")), wanted)


@pytest.mark.slow
def test_a_name_that_is_not_utf_8_is_printed_as_it_is(
    run_eval: RunEval, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert run_eval("--output-image", f"{tmp_path}/caf\udce9.png") == 0
    assert capfdbinary.readouterr() == (f"{tmp_path}/caf".encode() + b"\xe9.png\n", b"")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--content-scale", "2"], (15, 10)),
        (["--max-side", "12"], (12, 8)),
        (["--max-pixels", "600"], (30, 20)),
        (["--cuda", "0"], (30, 20)),
        (["--device", "cpu"], (30, 20)),
        (["--quality", "50"], (30, 20)),
    ],
    ids=str,
)
def test_options_are_obeyed(run_eval: RunEval, tmp_path: Path, options: list[str], size: tuple[int, int]) -> None:
    assert run_eval(*options) == 0
    picture = load_image(tmp_path / "out.png")
    assert (picture.width, picture.height) == size


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "device"),
    [
        ([], "auto"),
        (["--cuda", "1"], "cuda"),
        (["--cuda", "0"], "cpu"),
        (["--accel"], "accel"),
        (["--device", "cuda:1"], "cuda:1"),
    ],
    ids=str,
)
def test_the_published_device_flags_choose_the_device(
    run_eval: RunEval, monkeypatch: pytest.MonkeyPatch, options: list[str], device: str
) -> None:
    asked = []

    class Watched(Stylizer):
        def __init__(self, model_path: str, *, device: str, **options: object) -> None:
            asked.append(device)
            super().__init__(model_path, device="cpu")

    monkeypatch.setattr(stylize, "Stylizer", Watched)
    assert run_eval(*options) == 0
    assert asked == [device]


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ([], {}),
        (["--engine", "torch"], {"engine": "torch"}),
        (["--precision", "fast"], {"precision": "fast"}),
        (["--memory", "1.5GiB"], {"memory_bytes": 1_610_612_736}),
        (["--memory", "auto"], {}),
        (["--cache", "kept"], {"cache": "kept"}),
    ],
    ids=str,
)
def test_how_the_net_runs_is_handed_on(
    run_eval: RunEval, monkeypatch: pytest.MonkeyPatch, options: list[str], changed: dict[str, object]
) -> None:
    asked = []

    class Watched(Stylizer):
        def __init__(self, model_path: str, *, device: str, **options: object) -> None:
            asked.append(options)
            super().__init__(model_path, device="cpu", engine="torch")

    monkeypatch.setattr(stylize, "Stylizer", Watched)
    assert run_eval(*options) == 0
    assert asked == [{"engine": "auto", "precision": "float32", "memory_bytes": None, "cache": None} | changed]


@pytest.mark.slow
@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_asked_for_where_somebody_sees_it(
    run_eval: RunEval, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    asked = []

    def style_file(self: Stylizer, *paths: object, on_progress: object, **options: object) -> None:
        asked.append(on_progress is not None)

    monkeypatch.setattr(Stylizer, "style_file", style_file)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    assert run_eval() == 0
    assert asked == [is_terminal]


@pytest.mark.slow
def test_the_report_says_how_this_picture_was_made(
    run_eval: RunEval, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made_by = {"engine": "torch", "precision": "float32", "bands": {"rows": 64}}

    def style_file(*paths: object, **options: object) -> stylize.Styled:
        return stylize.Styled(width=30, height=20, made_by=made_by)

    monkeypatch.setattr(Stylizer, "style_file", style_file)
    assert run_eval("--report", str(tmp_path / "report.json"), "--precision", "fast") == 0
    assert json.loads((tmp_path / "report.json").read_text()) == {"made_by": made_by, "warnings": []}


@pytest.mark.slow
def test_a_message_stands_where_the_bar_was(
    run_eval: RunEval, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def style_file(self: Stylizer, *paths: object, on_progress: Callable[[float], None], **options: object) -> None:
        on_progress(0.5)
        logging.getLogger("neural_style").warning("the picture is styled in bands")

    monkeypatch.setattr(Stylizer, "style_file", style_file)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(progress_bar, "FIRST_AFTER_S", 0)
    assert run_eval() == 0
    before, _, after = capsys.readouterr().err.partition("neural_style: warning: the picture is styled in bands\n")
    assert before.endswith("\r")
    assert "styling:  50%|" in before
    assert "styling:  50%|" in after


@pytest.mark.slow
def test_the_quality_reaches_the_file(run_eval: RunEval, tmp_path: Path) -> None:
    for quality in ("5", "95"):
        assert run_eval("--output-image", str(tmp_path / f"{quality}.jpg"), "--quality", quality) == 0
    assert (tmp_path / "5.jpg").stat().st_size * 1.5 < (tmp_path / "95.jpg").stat().st_size


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--cuda", "1", "--accel"], "not allowed with argument --cuda"),
        (["--cuda", "0", "--device", "cpu"], "not allowed with argument --cuda"),
        (["--accel", "--device", "cpu"], "not allowed with argument --accel"),
        (["--cuda", "2"], "invalid choice: 2"),
        (["--quality", "0"], "invalid choice: 0"),
        (["--quality", "101"], "invalid choice: 101"),
        (["--max-side", "0"], "wanted at least 1, found '0'"),
        (["--max-pixels", "x"], "invalid"),
        (["--engine", "vulkan"], "invalid choice: 'vulkan' (choose from"),
        (["--precision", "bf16"], "invalid choice: 'bf16' (choose from"),
        (["--memory", "lots"], "argument --memory: memory wants a size such as 2GiB, 512MiB or 2000000000, or auto"),
        (["--memory", "1MiB"], "argument --memory: memory wants at least 64MiB, found '1MiB'"),
        (["--content-scale", "0"], "wanted a number above 0, found '0'"),
        (["--content-scale", "nan"], "wanted a number above 0, found 'nan'"),
        (["--export_onnx", "model.pb"], "wanted a name that ends with .onnx, found 'model.pb'"),
        (["--model", "m.onnx", "--export-onnx", "n.onnx"], "wants weights as --model; this one is an .onnx model"),
        (["--contentimage", "x"], "unrecognized arguments"),
    ],
    ids=str,
)
def test_usage_errors_leave_with_2_and_write_nothing(
    run_eval: RunEval, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        run_eval(*options)
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("argv", [[], ["eval"], ["evaluate"]], ids=str)
def test_a_missing_command_or_option_is_a_usage_error(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="^2$"):
        main(argv)
    assert capsys.readouterr().out == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--content-image", "no.jpg"], "no.jpg: there is no such picture; check the name"),
        (["--content-image", "bad\nname.jpg"], "bad name.jpg: there is no such picture; check the name"),
        (["--content-image", "."], ".: wanted a picture file, found a folder; name a file"),
        (["--model", "no.pth"], "no.pth: there is no such model file; check the name"),
        (["--model", "no.onnx"], "no.onnx: there is no such model file; check the name"),
        (["--device", "gpu7"], "'gpu7' is no device; use auto, cpu, cuda, cuda:1 or mps (this machine has: cpu)"),
        (["--cuda", "1"], "the device 'cuda' is not there; this machine has: cpu"),
        (["--accel"], "an accelerator (cuda or mps) is not there; this machine has: cpu"),
        (["--output-image", "out.gif"], "out.gif: cannot write '.gif' pictures; use one of"),
        (["--max-pixels", "599"], "cat.png: declares more than 599 pixels and was not decoded"),
    ],
    ids=str,
)
def test_failures_leave_with_30_and_one_line(
    run_eval: RunEval,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    sentence: str,
) -> None:
    monkeypatch.setattr("neural_style.devices.available_devices", lambda: ["cpu"])
    assert run_eval(*options) == 30
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("neural_style: error: ")
    assert sentence in err
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.png", "small.pth"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status", "sentence"),
    [
        (KeyboardInterrupt(), 130, ""),
        (OSError(28, "No space left on device"), 30, "neural_style: error: [Errno 28] No space left on device\n"),
        (MemoryError(), 30, "neural_style: error: there is not enough memory; use --max-side\n"),
        (ZeroDivisionError("ours"), 40, "Traceback"),
    ],
    ids=["ctrl-c", "full-disk", "memory", "defect"],
)
def test_whatever_happens_the_status_says_so(
    run_eval: RunEval,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: BaseException,
    status: int,
    sentence: str,
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise fault

    monkeypatch.setattr(stylize, "save_image", fail)
    assert run_eval() == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(sentence)
    assert bool(err) == bool(sentence)


@pytest.mark.slow
def test_messages_go_to_standard_error(
    run_eval: RunEval, make_picture: MakePicture, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    path = make_picture("cut.png", Image.new("RGBA", (9, 9), (1, 2, 3, 4)))
    assert run_eval("--content-image", str(path), "--output-image", str(tmp_path / "out.jpg")) == 0
    warning = f"neural_style: warning: {tmp_path}/out.jpg: JPEG holds no transparency; composited on white\n"
    assert capsys.readouterr() == (f"{tmp_path}/out.jpg\n", warning)


@pytest.mark.slow
@pytest.mark.parametrize("spelling", ["--export_onnx", "--export-onnx"])
def test_export_is_asked_for_by_either_spelling(
    run_eval: RunEval, monkeypatch: pytest.MonkeyPatch, small_weights: Path, spelling: str
) -> None:
    asked = []
    monkeypatch.setattr("neural_style.onnx_export.export_onnx", lambda *paths: asked.append(paths))
    assert run_eval(spelling, "m.onnx") == 0
    assert asked == [(str(small_weights), "m.onnx")]


def run_program(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "neural_style", *argv]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.mark.slow
@pytest.mark.parametrize("argv", [["--help"], ["eval", "--help"]], ids=str)
def test_help_imports_no_torch(argv: list[str], tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise SystemExit('torch was imported')")
    done = run_program(*argv, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: neural_style" in done.stdout


@pytest.mark.slow
def test_the_program_exports_and_styles_with_what_it_exported(
    make_picture: MakePicture, small_weights: Path, tmp_path: Path
) -> None:
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)
    model, first, second = tmp_path / "m.onnx", tmp_path / "a.png", tmp_path / "b.png"
    content = ["eval", "--content-image", str(make_picture())]
    done = run_program(
        *content, "--model", str(small_weights), "--output-image", str(first), "--export_onnx", str(model)
    )
    assert (done.returncode, done.stdout) == (0, f"{first}\n")
    assert done.stderr == f"neural_style: info: wrote the model to {model}\n"
    done = run_program(*content, "--model", str(model), "--output-image", str(second))
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{second}\n", "")
    difference = np.asarray(load_image(first)).astype(int) - np.asarray(load_image(second))
    assert np.abs(difference).max() <= 1


WAITS_WITH_A_SCRATCH_FILE = """
import runpy, sys, time
from neural_style import images
def wait(path, size):
    sys.stderr.write("waiting\\n")
    sys.stderr.flush()
    time.sleep(60)
images.verify_image = wait
runpy.run_module("neural_style", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["term", "ctrl-c"])
def test_a_signal_in_the_middle_of_writing_leaves_nothing(
    make_picture: MakePicture, small_weights: Path, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    (tmp_path / "new").mkdir()
    argv = ["eval", "--content-image", str(make_picture()), "--model", str(small_weights)]
    argv += ["--output-image", str(tmp_path / "new" / "out.png")]
    command = [sys.executable, "-c", WAITS_WITH_A_SCRATCH_FILE, *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stderr is not None
        assert program.stderr.readline() == "waiting\n"
        assert len(list((tmp_path / "new").iterdir())) == 1  # the scratch file
        program.send_signal(number)
        out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (status, "", "")
    assert list((tmp_path / "new").iterdir()) == []
