"""``python -m neural_style train``: what it makes, and how it fails: one sentence, no weights, the last checkpoint."""

from __future__ import annotations

import errno
import json
import logging
import resource
from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from neural_style import train_style
from neural_style.cli import main
from neural_style.drawn import draw_scene
from neural_style.images import load_image
from neural_style.painted_model import PaintedStyleModel
from neural_style.stylize import Stylizer
from neural_style.weights import load_weights
from tests.faults import fill_disk

Command = Callable[..., int]

TOLD = ("neural_style: info: ", "neural_style: warning: ")


@pytest.fixture
def command(tmp_path, pictures, painting) -> Command:
    """Train for three steps into ``out``; options that are given again win."""

    def call(*options: str, **replaced: object) -> int:
        given = {"dataset": pictures, "style-image": painting, "save-model-dir": tmp_path / "out"} | replaced
        named = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        small = ["--features=random", "--steps=3", "--image-size=64", "--widths=4,4,8", "--threads=1"]
        return main(["train", *named, *small, "--device=cpu", *options])

    return call


@pytest.fixture
def complaint(command, capsys) -> Callable[..., str]:
    """Have the command fail with 30 and one sentence, and return that."""

    def call(*options: str, **replaced: object) -> str:
        capsys.readouterr()
        assert command(*options, **replaced) == 30
        out, err = capsys.readouterr()
        errors = [line for line in err.splitlines() if not line.startswith(TOLD)]
        assert (out, len(errors)) == ("", 1), err
        return errors[0].removeprefix("neural_style: error: ")

    return call


@pytest.fixture
def kept(tmp_path, command) -> Path:
    """Checkpoints of a run of three steps, every two."""
    assert command(*to(tmp_path / "kept")) == 0
    (tmp_path / "out" / "stripes.pth").unlink()
    return tmp_path / "kept"


def to(folder: Path) -> list[str]:
    return [f"--checkpoint-model-dir={folder}", "--checkpoint-interval=2"]


def left(folder: Path) -> list[str]:
    """All that lies in a folder, scratch files too; nothing where there is none."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


CHECKPOINTS = ["stripes.step-0000000002.ckpt", "stripes.step-0000000003.ckpt"]


@pytest.mark.slow
def test_the_command_writes_weights_named_after_the_painting(command, tmp_path, capsys):
    assert command("--log-interval=2", f"--report={tmp_path / 'report.json'}") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'out' / 'stripes.pth'}\n"
    assert "neural_style: info: step 2: loss " in err
    report = json.loads((tmp_path / "report.json").read_text())
    assert [note["step"] for note in report["curve"]] == [2, 3]
    assert set(report) == {"config", "curve", "made_by", "made_from", "metrics", "steps"}
    assert load_weights(tmp_path / "out" / "stripes.pth")
    assert command("--name=mine") == 0
    assert left(tmp_path / "out") == ["mine.pth", "stripes.pth"]


@pytest.mark.slow
def test_the_log_is_left_as_it_was(command):
    before = logging.getLogger("neural_style").level
    assert command() == 0
    assert logging.getLogger("neural_style").level == before


# --- options that change no weights


@pytest.fixture
def scene(tmp_path) -> Path:
    path = tmp_path / "scene.png"
    Image.fromarray(draw_scene(9, width_px=41, height_px=30)).save(path)
    return path


@pytest.mark.slow
def test_samples_and_curves_are_written_and_change_no_weights(command, tmp_path, scene):
    pytest.importorskip("tensorboard")
    assert command() == 0
    weights = tmp_path / "out" / "stripes.pth"
    plain = weights.read_bytes()
    kept = [f"--sample={scene}", "--sample-interval=2", f"--tensorboard={tmp_path / 'curves'}", "--nondeterministic"]
    assert command(*kept, *to(tmp_path / "kept")) == 0
    assert weights.read_bytes() == plain
    assert len(left(tmp_path / "curves" / "stripes")) == 1
    assert left(tmp_path / "kept") == ["scene.step-0000000002.png", "scene.step-0000000003.png", *CHECKPOINTS]
    sample = np.asarray(load_image(tmp_path / "kept" / "scene.step-0000000003.png")).astype(int)
    wanted = Stylizer(weights, device="cpu").style(load_image(scene).rgb_HW3)
    assert np.abs(sample - wanted).max() <= 1  # the weights lie in another order in memory while they are trained


@pytest.mark.slow
def test_samples_lie_where_they_are_wanted_and_else_beside_the_weights(command, tmp_path, scene):
    assert command(f"--sample={scene}", f"--sample-dir={tmp_path / 'seen'}") == 0
    assert left(tmp_path / "seen") == ["scene.step-0000000003.png"]
    assert command(f"--sample={scene}") == 0
    assert left(tmp_path / "out") == ["scene.step-0000000003.png", "stripes.pth"]


@pytest.mark.slow
def test_a_sample_that_cannot_be_made_ends_no_run(command, tmp_path, scene, capsys, monkeypatch):
    fill_disk(monkeypatch, "*.png")
    assert command(f"--sample={scene}") == 0
    assert "warning: no sample after step 3: " in capsys.readouterr().err
    assert left(tmp_path / "out") == ["stripes.pth"]


@pytest.mark.slow
@pytest.mark.parametrize(("option", "deterministic"), [([], True), (["--nondeterministic"], False)])
def test_the_same_bits_are_given_up_only_when_asked(command, monkeypatch, option, deterministic):
    asked = []

    class Watched(train_style.Trainer):
        def __init__(self, **given: object) -> None:
            asked.append(given["deterministic"])
            super().__init__(**given)

    monkeypatch.setattr(train_style, "Trainer", Watched)
    assert command("--steps=1", *option) == 0
    assert asked == [deterministic]


# --- what it is given


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--lr=-1"], "--lr: wanted a finite number above 0, found -1.0"),
        (["--lr=x"], "argument --lr: invalid float value: 'x'"),
        (["--epochs=2"], "--epochs and --steps: wanted one of them, found 2 and 3"),
        (["--steps=0"], "--steps: wanted a whole number 1 or more, found 0"),
        (["--image-size=63"], "--image-size: wanted a multiple of 4, found 63"),
        (["--image-size=52"], "--image-size: wanted 56 or more where random features judge, found 52"),
        (["--content-weight=0", "--style-weight=0"], "--content-weight and --style-weight: wanted one above 0"),
        (["--widths=a,b"], "wanted three whole numbers such as 16,32,64, found 'a,b'"),
        (["--widths=4,4"], "wanted three whole numbers such as 16,32,64, found '4,4'"),
        (["--widths=0,4,8"], "--widths: wanted a whole number from 1 to 4096, found 0"),
        (["--log-interval=-1"], "argument --log-interval: wanted at least 1, found '-1'"),
        (["--checkpoint-interval=0"], "argument --checkpoint-interval: wanted at least 1, found '0'"),
        (["--sample-interval=0"], "argument --sample-interval: wanted at least 1, found '0'"),
        (["--threads=0"], "argument --threads: wanted at least 1, found '0'"),
        (["--max-broken=-1"], "argument --max-broken: wanted at least 0, found '-1'"),
        (["--loaders=-1"], "argument --loaders: wanted at least 0, found '-1'"),
        (["--name=../style"], "--name wants a plain file name, found '../style'"),
        (["--name=a/b"], "--name wants a plain file name, found 'a/b'"),
        (["--name=.style"], "--name wants a plain file name, found '.style'"),
        (["--name=a\nb"], r"--name wants a plain file name, found 'a\nb'"),
        ([f"--name={'x' * 300}"], "--name wants a name of 200 bytes or less"),
        (["--cuda=1"], "not allowed with argument --device"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_usage_leaves_with_2_and_makes_nothing(command, tmp_path, capsys, options, said):
    with pytest.raises(SystemExit, match="^2$"):
        command(*options)
    out, err = capsys.readouterr()
    assert (out, "Traceback" in err) == ("", False)
    assert said in err.splitlines()[-1]
    assert left(tmp_path) == []


@pytest.fixture
def bad(tmp_path) -> Path:
    """Inputs of which nothing can be learned."""
    folder = tmp_path / "bad"
    (folder / "empty").mkdir(parents=True)
    (folder / "broken").mkdir()
    for number in range(3):
        (folder / "broken" / f"{number}.png").write_text("no picture")
    (folder / "mixed").mkdir()
    for number in range(4):
        Image.fromarray(draw_scene(number, width_px=80, height_px=72)).save(folder / "mixed" / f"{number}.png")
    (folder / "mixed" / "2.png").write_text("no picture")
    (folder / "text.png").write_text("no picture")
    Image.new("RGB", (3, 3)).save(folder / "small.png")
    Image.new("RGB", (2000, 16)).save(folder / "long.png")
    (folder / "text").write_text("no folder")
    (folder / "vgg16-397923af.pth").write_bytes(b"other weights")
    (folder / "other.pth").write_bytes(b"other weights")
    return folder


VGG = "--features=vgg16"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--dataset=empty"], "empty: no pictures in it: wanted files like .jpg or .png"),
        (["--dataset=missing"], "missing: there is no such folder of pictures; check the name"),
        (["--dataset=text"], "text: wanted a folder of pictures, found a file"),
        (["--dataset=mixed", "--batch-size=5"], "wanted pictures for a batch of 5, found 4; add some, or make the"),
        (["--dataset=broken"], "none of the 3 pictures can be read: "),
        (["--dataset=mixed", "--steps=4", "--max-broken=0"], "1 of 4 pictures are broken, and 0 may be: 2.png: not a"),
        (["--style-image=text.png"], "text.png: not a picture of a kind that can be read"),
        (["--style-image=missing.png"], "missing.png: there is no such picture; check the name"),
        (["--style-image=small.png"], "the style picture: wanted 16 pixels a side or more, found 3 x 3; take another"),
        (["--style-image=long.png"], "wanted a side of at most 32 times the other, found 2000 x 16; crop it"),
        (["--style-size=9000000"], "GB of memory to look at 9000000 x 9000000 pixels, found "),
        (["--sample=text.png"], "text.png: not a picture of a kind that can be read"),
        (["--lr=1e30", "--steps=12"], "training has diverged, and nothing of it is kept; use a lower learning rate"),
        (["--lr=30", "--steps=30"], "the loss is more than 10 times as high as at first: training has diverged, and"),
        (["--device=cuda"], "the device 'cuda' is not there; this machine has: cpu"),
        (["--device=gpu"], "the device 'gpu' is not there; this machine has: cpu"),
        ([VGG, "--vgg=missing-397923af.pth"], "missing-397923af.pth: there is no such model file; check the name"),
        ([VGG, "--vgg=vgg16-397923af.pth"], "wanted a sha256 that begins with 397923af, as the name says, found"),
        ([VGG, "--vgg=other.pth"], "other.pth: not a readable weight file; wanted VGG16's weights"),
        ([VGG], "give vgg16-397923af.pth with --vgg, put it into the bucket"),
        (["--save-model-dir=text"], "text: wanted a folder for the weights, and cannot make one: File exists; name"),
        (["--checkpoint-model-dir=text"], "text: wanted a folder for checkpoints, and cannot make one"),
        (["--tensorboard=text"], "text: wanted a folder for curves, and cannot make one"),
        (["--sample-dir=text/x"], "text/x: wanted a folder for samples, and cannot make one: Not a directory"),
        (["--report=empty"], "empty: wanted to write a file, found a folder of that name; remove or rename it"),
        (["--report=text/report"], "text/report: could not be written: "),
    ],
    ids=str,
)
def test_what_cannot_be_learned_from_is_one_sentence(complaint, bad, tmp_path, monkeypatch, options, said):
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("neural_style.devices.available_devices", lambda: ["cpu"])
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.chdir(bad)
    before = left(bad)
    assert said in complaint(*options)
    assert left(bad) == before
    assert not list(tmp_path.glob("out/*"))


def test_what_cannot_be_written_is_known_before_anything_is_learned(complaint, tmp_path, monkeypatch):
    monkeypatch.setattr(PaintedStyleModel, "train_step", None)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "touch", refuse)
        assert complaint().endswith("stripes.pth: could not be written: Permission denied")
        patch.setattr(Path, "touch", lambda path: refuse(path) if path.suffix == ".ckpt" else None)
        assert complaint(*to(tmp_path)).endswith("stripes.ckpt: could not be written: Permission denied")
    (tmp_path / "out" / "stripes.pth").mkdir(parents=True)
    assert complaint().endswith("stripes.pth: wanted to write a file, found a folder of that name; remove or rename it")


def refuse(path: Path) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", str(path))


@pytest.mark.slow
def test_an_epoch_may_end_with_a_smaller_batch(command, tmp_path):
    """As in the published script; a whole dataset that is smaller than a batch is refused."""
    report = tmp_path / "report.json"
    options = ["train", "--features=random", "--crop=center", "--epochs=1", "--batch-size=3", "--image-size=64"]
    paths = [f"--save-model-dir={tmp_path / 'out'}", f"--report={report}", "--widths=4,4,8", "--device=cpu"]
    dataset, style = tmp_path / "few", tmp_path / "style.png"
    dataset.mkdir()
    for number in range(4):
        Image.fromarray(draw_scene(number, width_px=80, height_px=72)).save(dataset / f"{number}.png")
    Image.fromarray(draw_scene(5, width_px=80, height_px=72)).save(style)
    assert main([*options, *paths, f"--dataset={dataset}", f"--style-image={style}"]) == 0
    assert json.loads(report.read_text())["steps"] == 2


# --- what happens on the way


def goes_on_to_what_an_unbroken_run_makes(command: Command, tmp_path: Path, kept: Path) -> bool:
    assert command(*to(kept)) == 0
    found = (tmp_path / "out" / "stripes.pth").read_bytes()
    assert command() == 0
    return (tmp_path / "out" / "stripes.pth").read_bytes() == found and left(kept) == CHECKPOINTS


@pytest.mark.slow
def test_a_checkpoint_of_another_configuration_is_refused_and_kept(command, complaint, tmp_path, kept):
    before = {name: (kept / name).read_bytes() for name in left(kept)}
    said = complaint("--seed=2", *to(kept))
    assert "stripes.step-0000000003.ckpt: a checkpoint of another configuration" in said
    assert "use another folder, or remove it to start anew" in said
    assert {name: (kept / name).read_bytes() for name in left(kept)} == before
    assert left(tmp_path / "out") == []
    assert goes_on_to_what_an_unbroken_run_makes(command, tmp_path, kept)


@pytest.mark.slow
def test_styles_may_share_a_folder_of_checkpoints(command, tmp_path, kept):
    assert command("--seed=2", "--name=other", *to(kept)) == 0
    assert left(kept) == ["other.step-0000000002.ckpt", "other.step-0000000003.ckpt", *CHECKPOINTS]


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.slow
def test_a_checkpoint_that_was_cut_short_is_passed_over(command, tmp_path, kept, capsys):
    cut_short(kept / CHECKPOINTS[1])
    assert command(*to(kept)) == 0
    err = capsys.readouterr().err
    assert "warning: " in err
    assert f"{CHECKPOINTS[1]}: not a whole checkpoint (cut short or damaged); looking for the checkpoint before" in err
    assert "going on after step 2" in err
    assert goes_on_to_what_an_unbroken_run_makes(command, tmp_path, kept)


@pytest.mark.slow
def test_without_a_whole_checkpoint_nothing_is_begun_anew_unasked(command, complaint, tmp_path, kept):
    for name in CHECKPOINTS:
        cut_short(kept / name)
    assert "none of the 2 checkpoints of 'stripes' can be read" in complaint(*to(kept))
    assert (left(kept), left(tmp_path / "out")) == (CHECKPOINTS, [])
    for name in CHECKPOINTS:
        (kept / name).unlink()
    assert goes_on_to_what_an_unbroken_run_makes(command, tmp_path, kept)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pattern", "good_writes", "named", "left_behind"),
    [
        ("*.ckpt", 0, CHECKPOINTS[0], []),
        ("*.ckpt", 1, CHECKPOINTS[1], CHECKPOINTS[:1]),
        ("*.pth", 0, "stripes.pth", CHECKPOINTS),
        ("*.json", 0, "report.json", CHECKPOINTS),
    ],
    ids=["first-checkpoint", "second-checkpoint", "weights", "report"],
)
def test_a_full_disk_is_one_sentence_and_costs_no_checkpoint(
    command, complaint, tmp_path, monkeypatch, pattern, good_writes, named, left_behind
):
    kept, report = tmp_path / "kept", f"--report={tmp_path / 'report.json'}"
    with monkeypatch.context() as patch:
        fill_disk(patch, pattern, good_writes=good_writes)
        said = complaint(*to(kept), report)
    assert said.endswith(f"{named}: could not be written: No space left on device; free some and run it again")
    assert left(kept) == left_behind
    assert left(tmp_path / "out") == (["stripes.pth"] if pattern == "*.json" else [])
    assert left(tmp_path) == [name for name in ("kept", "out") if left(tmp_path / name)]
    assert goes_on_to_what_an_unbroken_run_makes(command, tmp_path, kept)


@pytest.mark.slow
def test_the_system_itself_refuses_a_checkpoint_half_way(complaint, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        said = complaint(*to(tmp_path / "kept"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert said.endswith(f"{CHECKPOINTS[0]}: could not be written: File too large")
    assert (left(tmp_path / "kept"), left(tmp_path / "out")) == ([], [])


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, what: Callable[[PaintedStyleModel], None]) -> None:
    """Have something happen to the model when it learns from its n-th batch."""
    train_step = PaintedStyleModel.train_step

    def changed(self: PaintedStyleModel, batch: torch.Tensor) -> None:
        train_step(self, batch)
        if self.trainer.state.step == number - 1:
            what(self)

    monkeypatch.setattr(PaintedStyleModel, "train_step", changed)


def diverge(model: PaintedStyleModel) -> None:
    with torch.no_grad():
        model.transformer.conv1.conv2d.weight.fill_(torch.nan)


def out_of_memory(model: PaintedStyleModel) -> None:
    raise RuntimeError("CUDA out of memory. Tried to allocate 9.00 GiB.\nSee documentation")


def interrupt(model: PaintedStyleModel) -> None:
    raise KeyboardInterrupt


def without_compiler(model: PaintedStyleModel) -> None:
    kind = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})
    raise kind("InvalidCxxCompiler: No working C++ compiler found\n\nSet TORCHDYNAMO_VERBOSE=1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (diverge, "training has diverged, and nothing of it is kept; use a lower learning rate"),
        (out_of_memory, "cpu has not enough memory for batches of 2 pictures of 64 pixels a side; use a smaller"),
        (without_compiler, "used here (InvalidCxxCompiler: No working C++ compiler found); leave --compile out"),
    ],
    ids=["diverged", "memory", "compiler"],
)
def test_a_run_that_fails_on_the_way_keeps_its_last_good_checkpoint(
    command, complaint, tmp_path, monkeypatch, fault, said
):
    kept = tmp_path / "kept"
    with monkeypatch.context() as patch:
        at_step(patch, 3, fault)
        assert said in complaint(*to(kept), "--compile")
    assert (left(kept), left(tmp_path / "out")) == (CHECKPOINTS[:1], [])
    assert goes_on_to_what_an_unbroken_run_makes(command, tmp_path, kept)


@pytest.mark.slow
def test_ctrl_c_keeps_the_last_checkpoint(command, tmp_path, monkeypatch, capsys):
    kept = tmp_path / "kept"
    with monkeypatch.context() as patch:
        at_step(patch, 3, interrupt)
        assert command(*to(kept)) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert (left(kept), left(tmp_path / "out")) == (CHECKPOINTS[:1], [])
    assert goes_on_to_what_an_unbroken_run_makes(command, tmp_path, kept)
