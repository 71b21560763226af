"""Two processes learn a style as one does that has the whole batch: step by step, and through the command."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from neural_style.drawn import draw_painting, draw_scene
from neural_style.vgg import random_vgg16
from neural_style.weights import load_weights
from tests.neural_style import style_child
from tests.neural_style.children import free_port, run_at_once, said_by_torchrun
from tests.neural_style.comparing import assert_equal
from tests.processes import children_of

pytestmark = pytest.mark.slow


# The momenta are the means of the last gradients; at the rate of a real run rounding has grown in them by then.
@pytest.mark.parametrize(
    ("kind", "losses_apart", "momenta_apart"),
    [("vgg16", 1e-3, 0.2), ("random", 1e-4, 0.01), ("painted", 1e-3, 0.2)],
    ids=["vgg16", "random", "painted"],
)
def test_two_processes_follow_one_that_has_the_whole_batch(kind, losses_apart, momenta_apart, tmp_path):
    """Each has half of every batch; the mean of their losses is the whole's, every part of it."""
    places = [{}, *said_by_torchrun()]
    calls = [(style_child.train_in_child, (kind, tmp_path / str(number)), place) for number, place in enumerate(places)]
    assert run_at_once(calls) == [0, 0, 0]
    alone, *two = (torch.load(tmp_path / str(number), weights_only=True) for number in range(3))
    assert_equal(two[1]["weights"], two[0]["weights"])
    assert len(alone["losses"]) == 20
    for step, (wanted, *found) in enumerate(zip(alone["losses"], *(each["losses"] for each in two), strict=True)):
        mean = {name: (found[0][name] + found[1][name]) / 2 for name in wanted}
        assert mean == pytest.approx(wanted, rel=losses_apart), step
    assert (two[0]["momenta"] - alone["momenta"]).norm() < momenta_apart * alone["momenta"].norm()


# --- the command, started by torchrun


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures and a folder with two more, a painting, and weights of VGG16's shape."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(10):
        scene = Image.fromarray(draw_scene(number, width_px=96, height_px=80))
        for name in ("eight", "ten")[number >= 8 :]:
            (folder / name).mkdir(exist_ok=True)
            scene.save(folder / name / f"{number}.png")
    Image.fromarray(draw_painting(width_px=64, height_px=64)).save(folder / "painting.png")
    torch.save(random_vgg16(seed=1).state_dict(), folder / "vgg16.pth")
    return folder


OPTIONS = {
    "vgg16": ["--vgg=vgg16.pth", "--image-size=32", "--steps=20", "--lr=1e-4"],
    # Two processes leave out what is left over at an epoch's end, and so learn from the first eight pictures alone.
    "random": ["--features=random", "--style-size=64", "--image-size=64", "--crop=center", "--epochs=10", "--lr=1e-3"],
}


def train_command(kind: str, inputs: Path, *, dataset: str) -> list[str]:
    options = [option.replace("=vgg16", f"={inputs / 'vgg16'}") for option in OPTIONS[kind]]
    where = ["--save-model-dir=out", "--checkpoint-model-dir=kept", "--checkpoint-interval=5", "--report=report.json"]
    named = [f"--dataset={inputs / dataset}", f"--style-image={inputs / 'painting.png'}", "--batch-size=4"]
    small = ["--widths=4,8,16", "--log-interval=5", "--threads=1", "--device=cpu"]
    return ["-m", "neural_style", "train", *named, *options, *where, *small]


def torchrun(*program: str) -> list[str]:
    address = ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *address, *program]


def started(command: list[str], folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def trained(command: list[str], folder: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """Run a command to its end, and return the weights and the curve."""
    process = started(command, folder)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "out/painting.pth\n"), err
    return load_weights(folder / "out" / "painting.pth"), json.loads((folder / "report.json").read_text())["curve"]


@pytest.fixture(scope="module")
def two(inputs: Path, tmp_path_factory: pytest.TempPathFactory):
    """Runs of two processes that nothing breaks off."""

    @functools.cache
    def run(kind: str) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
        command = train_command(kind, inputs, dataset="eight" if kind == "vgg16" else "ten")
        return trained(torchrun(*command), tmp_path_factory.mktemp("two"))

    return run


@pytest.mark.parametrize("kind", OPTIONS)
def test_the_command_of_two_processes_learns_what_that_of_one_does(kind, inputs, two, tmp_path):
    weights, curve = two(kind)
    alone, curve_alone = trained([sys.executable, *train_command(kind, inputs, dataset="eight")], tmp_path)
    assert [note["step"] for note in curve] == [5, 10, 15, 20]
    for note, wanted in zip(curve, curve_alone, strict=True):
        assert note == pytest.approx(wanted, rel=1e-3)
    flat, flat_alone = (torch.cat([each.flatten() for each in state.values()]) for state in (weights, alone))
    assert (flat - flat_alone).norm() < 1e-3 * flat_alone.norm()


IN_A_FOLDER_OF_ITS_OWN = 'mkdir -p "$RANK" && cd "$RANK" && exec "$@"'


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_run_of_two_processes_goes_on_after_one_was_killed_and_the_first_alone_writes(inputs, two, tmp_path):
    """Each works in a folder of its own, where its files would lie."""
    program = [sys.executable, *train_command("vgg16", inputs, dataset="eight")]
    command = torchrun("--no-python", "sh", "-c", IN_A_FOLDER_OF_ITS_OWN, "sh", *program)
    process = started(command, tmp_path)
    while not list(tmp_path.glob("0/kept/*.step-0000000010.ckpt")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.001)
    os.kill(children_of(process.pid)[1], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (1, ""), err
    assert "train.py" not in err  # no traceback of ours: it hears of the loss, or of torchrun, whichever is faster
    assert files_below(tmp_path / "1") == set()
    assert not files_below(tmp_path / "0" / "out")

    process = started(torchrun(*command[command.index("--no-python") :]), tmp_path)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "out/painting.pth\n"), err
    assert "going on after step 1" in err
    kept = {f"kept/painting.step-{step:010}.ckpt" for step in (15, 20)}
    wanted = {*kept, "out/painting.pth", "report.json"}
    assert (files_below(tmp_path / "0"), files_below(tmp_path / "1")) == (wanted, set())
    weights, curve = two("vgg16")
    assert_equal(load_weights(tmp_path / "0" / "out" / "painting.pth"), weights)
    assert json.loads((tmp_path / "0" / "report.json").read_text())["curve"] == curve
