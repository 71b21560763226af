"""What cannot be trained is one sentence; nothing is published, and the last good checkpoint and model stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from csci_utils.s3 import S3Uri, list_objects
from neural_style.painted_model import PaintedStyleModel
from tests.faults import fill_disk
from tests.pipeline.conftest import BUCKET, SMALL, Bucket, encoded_picture

pytestmark = pytest.mark.slow

MODEL = ["saved_models/.wave.pth.training.json", "saved_models/wave.pth"]


def in_s3() -> dict[str, str]:
    """ETags by key."""
    return {info.uri.key: info.etag for info in list_objects(S3Uri(BUCKET, ""))}


def models(bucket: Bucket) -> list[str]:
    """What lies where models lie, and checkpoints."""
    return [name for name in bucket.files() if name.startswith(("saved_models", ".training"))]


def checkpoints(bucket: Bucket) -> list[str]:
    return [Path(name).name for name in models(bucket) if name.startswith(".training")]


@pytest.fixture
def complaint(run) -> Callable[..., str]:
    """Have a training that was to be published fail with one sentence; return that. S3 stays as it was."""

    def call(*options: str, status: int = 30, warnings: int = 0) -> str:
        before = in_s3()
        found, out, lines = run(*SMALL, "--publish", *options)
        # click ends the line of a ^C; the losses so far are no errors
        err = [line for line in lines if line and not line.startswith("style-pipeline: info: step ")]
        assert (found, out) == (status, []), err
        warned = [line for line in err if line.startswith("style-pipeline: warning: ")]
        assert (len(warned), len(err)) == (warnings, warnings + 1), err
        assert in_s3() == before
        assert err[-1].startswith("style-pipeline: error: ")
        return err[-1].removeprefix("style-pipeline: error: ")

    return call


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--lr", "-1"], "--lr: wanted a finite number above 0, found -1.0"),
        (["--lr", "nan"], "--lr: wanted a finite number above 0, found nan"),
        (["--steps", "0"], "--steps: wanted a whole number 1 or more, found 0"),
        (["--steps", "x"], "Invalid value for '--steps': 'x' is not a valid integer; see --help"),
        (["--epochs", "1"], "--epochs and --steps: wanted one of them, found 1 and 4"),
        (["--image-size", "63"], "--image-size: wanted a multiple of 4, found 63"),
        (["--image-size", "52"], "--image-size: wanted 56 or more where random features judge, found 52"),
        (["--widths", "a,b"], "--widths wants three whole numbers such as 16,32,64, found 'a,b'"),
        (["--widths", "4,4"], "--widths: wanted three numbers of channels, found (4, 4)"),
        (["--log-interval", "-1"], "Invalid value for '--log-interval': -1 is not in the range x>=1; see --help"),
        (["--checkpoint-interval", "0"], "Invalid value for '--checkpoint-interval': 0 is not"),
        (["--sample-interval", "0"], "Invalid value for '--sample-interval': 0 is not"),
        (["--max-broken", "-1"], "Invalid value for '--max-broken': -1 is not in the range x>=0; see --help"),
        (["--device", "gpu"], "device wants auto, cpu, cuda, cuda:1 or mps, found 'gpu'"),
        (["-s", "../wave.png"], "'../wave.png' cannot name a style: it leaves its folder"),
        (["-d", "a/b"], "'a/b' cannot name a dataset: it has more than one component"),
        (["--sample", "/x.jpg"], "'/x.jpg' cannot name a picture: it is absolute"),
        (["--name", "../wave"], "'../wave' cannot name a model: it leaves its folder"),
        (["--name", "/wave"], "'/wave' cannot name a model: it is absolute"),
        (["--name", ".wave"], "'.wave' cannot name a model: a name that begins with a dot is kept"),
        (["--name", "a\nb"], r"'a\nb' cannot name a model: it holds a control character"),
        (["--name", "x" * 300], "cannot name a model: it is too long"),
        (["--name", "wave.onnx"], "'wave.onnx' cannot name a trained model: weights end with .pth"),
        (["--name", "vgg16-397923af.pth"], "cannot name a model: it is kept for VGG16's weights; give another --name"),
        (["--threads", "0"], "Invalid value for '--threads': 0 is not in the range x>=1"),
        (["--scheduler", "HOST:8082"], "--scheduler wants an address that begins with http://, such as http://HOST"),
        (["--offline"], "--publish sends the model to S3, and --offline asks it nothing"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_a_request_that_makes_no_sense_is_status_2(pictures, complaint, options, said):
    assert said in complaint(*options, status=2)
    assert pictures.files() == []


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["-s", "none.png"], "styles/none.png is not in S3; put it there with `put FILE... --as`, or correct the name"),
        (["-d", "none"], "datasets/none is not in S3, or has no pictures in it; put it there"),
        (["-d", "notes"], "datasets/notes is not in S3, or has no pictures in it; put it there"),
        (["--sample", "none.jpg"], "images/none.jpg is not in S3; put it there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_in_s3_is_status_20(pictures, complaint, options, missing):
    pictures.put_bytes("datasets/notes/notes.txt", b"no picture")
    assert missing in complaint(*options, status=20)
    assert pictures.files() == []


def test_offline_it_is_what_is_not_here(pictures, run):
    status, out, err = run(*SMALL, "--offline")
    assert (status, out, len(err)) == (20, [], 2)
    assert "styles/wave.png is not here, and S3 is not to be asked; " in err[0]


def break_pictures(bucket: Bucket, *numbers: int) -> None:
    for number in numbers:
        bucket.put_bytes(f"datasets/few/{number}.png", b"no picture")


@pytest.mark.parametrize(
    ("change", "options", "warnings", "said"),
    [
        (lambda b: None, ["--batch-size", "4"], 0, "few: wanted pictures for a batch of 4, found 3; add some, or make"),
        (lambda b: break_pictures(b, 0, 1, 2), [], 3, "none of the 3 pictures can be read: "),
        (lambda b: break_pictures(b, 1, 2), ["--max-broken", "1"], 2, "2 of 3 pictures are broken, and 1 may be: "),
        (lambda b: None, ["--lr", "1e30", "--steps", "12"], 0, "diverged, and nothing of it is kept; use a lower lear"),
        (lambda b: (b.local / "saved_models" / "wave.pth").mkdir(parents=True), [], 0, "found a folder of that name"),
    ],
    ids=["small", "broken", "too-broken", "diverged", "folder"],
)
def test_a_training_that_fails_is_status_30_and_leaves_nothing(pictures, complaint, change, options, warnings, said):
    change(pictures)
    assert said in complaint(*options, warnings=warnings)
    assert models(pictures) == []


VGG = ["--features", "vgg16"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-s", "text.png"], "styles/text.png: not a picture of a kind that can be read"),
        (["-s", "small.png"], "the style picture: wanted 16 pixels a side or more, found 3 x 3; take another"),
        (
            ["-s", "long.png"],
            "the style picture: wanted a side of at most 32 times the other, found 2000 x 16; crop it",
        ),
        (["--style-size", "9000000"], "GB of memory to look at 9000000 x 9000000 pixels, found "),
        (["--sample", "text.png"], "images/text.png: not a picture of a kind that can be read"),
        (["--device", "cuda"], "the device 'cuda' is not there; this machine has: cpu"),
        (VGG, "put it into the bucket as saved_models/vgg16-397923af.pth, or here at "),
        ([*VGG, "wrong"], "vgg16-397923af.pth: wanted a sha256 that begins with 397923af, as the name says, found"),
    ],
    ids=["style", "small", "long", "large", "sample", "device", "no-vgg", "wrong-vgg"],
)
def test_a_large_dataset_is_not_fetched_in_vain(pictures, complaint, tmp_path, monkeypatch, options, said):
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("neural_style.devices.available_devices", lambda: ["cpu"])
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("styles/text.png", "images/text.png"):
        pictures.put_bytes(name, b"no picture")
    for name, size in (("small.png", (3, 3)), ("long.png", (2000, 16))):
        pictures.put_bytes(f"styles/{name}", encoded_picture(name, size=size))
    if options[-1] == "wrong":
        pictures.put_bytes("saved_models/vgg16-397923af.pth", b"other weights")
        options = options[:-1]
    assert said in complaint(*options)
    assert not (pictures.local / "datasets").exists()


@pytest.mark.parametrize("option", ["--tensorboard", "--sample"])
def test_a_large_dataset_is_not_fetched_for_what_cannot_be_written(pictures, complaint, tmp_path, option):
    pictures.put_image("luigi.jpg")
    in_the_way = tmp_path / "curves" if option == "--tensorboard" else pictures.local / "samples"
    in_the_way.parent.mkdir(exist_ok=True)
    in_the_way.write_text("no folder")
    said = complaint(option, "luigi.jpg" if option == "--sample" else "curves")
    assert f"{in_the_way.name}/wave/" in said
    assert ": could not be written: " in said
    assert not (pictures.local / "datasets").exists()


def test_a_painting_that_is_none_leaves_no_folder(pictures, complaint, tmp_path):
    pictures.put_image("luigi.jpg")
    pictures.put_bytes("styles/text.png", b"no picture")
    complaint("-s", "text.png", "--tensorboard", "curves", "--sample", "luigi.jpg")
    assert not (tmp_path / "curves").exists()
    assert not (pictures.local / "samples").exists()


def test_a_scheduler_that_is_not_there_says_so(pictures, complaint):
    said = complaint("--scheduler", "http://127.0.0.1:9", status=25)
    assert said.startswith("the scheduler at http://127.0.0.1:9 cannot be used")


def test_processes_of_torchrun_do_not_wait_for_each_other(pictures, complaint, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "a task trains in one process; use `torchrun -m neural_style train`" in complaint(status=2)


# --- what happens on the way


@pytest.fixture
def weights(pictures, run) -> bytes:
    """What an unbroken run makes; it has left no model."""
    assert run(*SMALL, "--name", "other")[0] == 0
    made = (pictures.local / "saved_models" / "other.pth").read_bytes()
    for name in models(pictures):
        (pictures.local / name).unlink()
    return made


@pytest.fixture
def goes_on(pictures, run, weights) -> Callable[[], bool]:
    """Run it again without a fault, and see whether it is published as an unbroken run would have been."""

    def call() -> bool:
        status, _, err = run(*SMALL, "--publish", "--verbose")
        assert (status, models(pictures)) == (0, MODEL), err
        assert any("going on after step 2" in line or "going on after step 4" in line for line in err)
        published = {"styled/saved_models/wave.pth", "styled/saved_models/.wave.pth.training.json"}
        return (pictures.local / MODEL[1]).read_bytes() == weights and published <= set(in_s3())

    return call


KEPT = ["wave.step-0000000002.ckpt", "wave.step-0000000004.ckpt"]


@pytest.mark.parametrize(
    ("pattern", "good_writes", "said", "kept"),
    [
        ("*.ckpt", 1, "wave.step-0000000004.ckpt: could not be written: No space left on device; free some", KEPT[:1]),
        ("*.pth", 0, "space left on device; free some and run it again", KEPT),
        ("*.pth.training*.json", 0, "saved_models: no space is left on the disk; free some and run again", KEPT),
    ],
    ids=["checkpoint", "weights", "record"],
)
def test_a_full_disk_costs_no_checkpoint_and_publishes_nothing(
    pictures, complaint, goes_on, monkeypatch, pattern, good_writes, said, kept
):
    with monkeypatch.context() as patch:
        fill_disk(patch, pattern, good_writes=good_writes)
        assert said in complaint()
    assert checkpoints(pictures) == kept
    assert [name for name in models(pictures) if name.startswith("saved")] == MODEL[1:] * pattern.endswith(".json")
    assert goes_on()


@pytest.mark.parametrize("pattern", ["*.ckpt", "*.pth"], ids=["checkpoint", "weights"])
def test_a_full_disk_keeps_the_model_that_was_published_before(pictures, run, complaint, monkeypatch, pattern):
    assert run(*SMALL, "--publish")[0] == 0
    before = {name: (pictures.local / name).read_bytes() for name in models(pictures)}
    fill_disk(monkeypatch, pattern)
    complaint("--seed", "2")
    assert {name: (pictures.local / name).read_bytes() for name in MODEL} == before


def diverge(model: PaintedStyleModel) -> None:
    with torch.no_grad():
        model.transformer.conv1.conv2d.weight.fill_(torch.nan)


def interrupt(model: PaintedStyleModel) -> None:
    raise KeyboardInterrupt


@pytest.fixture
def at_step_3(monkeypatch):
    """Have something happen to the model in the step after the first checkpoint."""

    def arrange(patch: pytest.MonkeyPatch, fault: Callable[[PaintedStyleModel], None]) -> None:
        train_step = PaintedStyleModel.train_step

        def changed(self: PaintedStyleModel, batch: torch.Tensor) -> None:
            train_step(self, batch)
            if self.trainer.state.step == 2:
                fault(self)

        patch.setattr(PaintedStyleModel, "train_step", changed)

    return arrange


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [(diverge, 30, "training has diverged"), (interrupt, 130, "interrupted; nothing half-made was left")],
    ids=["diverged", "ctrl-c"],
)
def test_a_run_that_ends_on_the_way_goes_on_from_its_last_checkpoint(
    pictures, complaint, goes_on, at_step_3, monkeypatch, fault, status, said
):
    with monkeypatch.context() as patch:
        at_step_3(patch, fault)
        assert said in complaint(status=status)
    assert checkpoints(pictures) == KEPT[:1]
    assert goes_on()


def test_a_checkpoint_that_was_cut_short_is_not_gone_on_from(pictures, run, complaint, goes_on, monkeypatch):
    with monkeypatch.context() as patch:
        fill_disk(patch, "*.pth")
        complaint()
    first, second = sorted((pictures.local / ".training").rglob("*.ckpt"))
    second.write_bytes(second.read_bytes()[:-100])
    whole = first.read_bytes()
    first.write_bytes(whole[:-100])
    said = complaint(warnings=2)
    assert "none of the 2 checkpoints of 'wave' can be read (cut short, damaged or none of ours); remove them" in said
    assert checkpoints(pictures) == KEPT
    first.write_bytes(whole)
    assert goes_on()


def test_another_configuration_leaves_the_checkpoints_of_the_first(pictures, run, complaint, goes_on, monkeypatch):
    with monkeypatch.context() as patch:
        fill_disk(patch, "*.pth")
        complaint()
    before = checkpoints(pictures)
    assert run(*SMALL, "--seed", "2")[0] == 0
    assert checkpoints(pictures) == before == KEPT
    assert goes_on()
