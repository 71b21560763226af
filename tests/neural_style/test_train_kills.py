"""A style's training that is killed at random steps, and while it writes, ends in the bits of an unbroken one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from neural_style.checkpoint_file import find_checkpoints, read_checkpoint
from neural_style.drawn import draw_painting, draw_scene
from neural_style.vgg import random_vgg16
from tests.neural_style.comparing import assert_equal
from tests.neural_style.kills import KILLED, Death, Kill, run_child
from tests.neural_style.train_style_child import EVERY_STEPS, train_in_child

pytestmark = [pytest.mark.slow, pytest.mark.soak, pytest.mark.timeout(1800)]

NUM_PICTURES = 9
LONGEST_WAIT_S = 0.03  # one step or two
MARGIN_STEPS = 10  # before the end: a kill may come late where the machine is busy
PLACES = ("half", "written", "moved")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures as PNG and JPEG, a painting, and weights of VGG16's shape that know nothing."""
    folder = tmp_path_factory.mktemp("inputs")
    (folder / "pictures").mkdir()
    for seed in range(NUM_PICTURES):
        scene = Image.fromarray(draw_scene(seed, width_px=96 + 8 * seed, height_px=80))
        scene.save(folder / "pictures" / f"{seed}.{'jpg' if seed % 2 else 'png'}")
    Image.fromarray(draw_painting(width_px=64, height_px=64)).save(folder / "painting.png")
    torch.save(random_vgg16(seed=1).state_dict(), folder / "vgg16.pth")
    return folder


def what_came_of(folder: Path) -> dict[str, Any]:
    """All that a run leaves: weights, curve, and checkpoints whole with optimiser, position and random numbers."""
    assert sorted(path.name for path in folder.iterdir()) == ["kept", "style.pth", "trained"]
    checkpoints = find_checkpoints(folder / "kept", "style")
    assert {path for _, path in checkpoints} == set((folder / "kept").iterdir())
    return {
        "weights": (folder / "style.pth").read_bytes(),
        "trained": torch.load(folder / "trained", weights_only=True),
        "checkpoints": [(step, read_checkpoint(path)) for step, path in checkpoints],
    }


def kills(dice: random.Random, *, num_kills: int, last_step: int) -> list[Kill | Death]:
    """Choose random steps in their order, between them writings of a checkpoint, and at the end those of weights."""
    steps = sorted(dice.sample(range(1, last_step - MARGIN_STEPS), num_kills))
    chosen: list[Kill | Death] = [Kill(step, dice.uniform(0, LONGEST_WAIT_S)) for step in steps]
    for place in PLACES:
        chosen.insert(dice.randint(0, len(chosen)), Death("*.ckpt", place))
    return [*chosen, Death("*.pth", "half"), Death("*.pth", "moved")]


@pytest.mark.parametrize("kind", ["random", "vgg16"])
def test_a_killed_run_ends_in_the_same_bits(kind, inputs, tmp_path, request, say):
    folders = [tmp_path / "unbroken", tmp_path / "killed"]
    for folder in folders:
        folder.mkdir()
    status, last_step = run_child(train_in_child, kind, inputs, folders[0], None)
    assert status == 0
    dice = random.Random(f"20161008 {kind}")
    num_kills = 25 if request.config.getoption("--soak") else 5
    for kill in kills(dice, num_kills=num_kills, last_step=last_step):
        death, from_outside = (kill, None) if isinstance(kill, Death) else (None, kill)
        status, step = run_child(train_in_child, kind, inputs, folders[1], death, kill=from_outside)
        say(f"{kind}: {kill}: killed after step {step} of {last_step}")
        assert status == KILLED, kill
        assert not (folders[1] / "trained").exists()
    assert run_child(train_in_child, kind, inputs, folders[1], None)[0] == 0
    unbroken = what_came_of(folders[0])
    assert [step for step, _ in unbroken["checkpoints"]] == [last_step, last_step - last_step % EVERY_STEPS]
    assert_equal(what_came_of(folders[1]), unbroken)
