"""Batches of pictures: the same whatever the number of threads and processes, wherever a run goes on."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from neural_style import train_data
from neural_style.crop import CENTER, RANDOM, cut, shuffled
from neural_style.errors import DatasetError, PictureError, SettingError
from neural_style.images import decode_rgb, load_image
from neural_style.plugins import CheckpointPlugin, Plugin
from neural_style.train import Model, Trainer
from neural_style.train_data import PictureDataModule, Preparation
from tests.conftest import REPO

NUM_PICTURES = 11


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Eleven small pictures of several sizes, in two folders."""
    pictures = tmp_path / "pictures"
    for number in range(NUM_PICTURES):
        path = pictures / ("a" if number < 6 else "b") / f"{number:02d}.{'png' if number % 3 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = rng.integers(12, 40, 2)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return pictures


def module(
    folder: Path, *, rank: int = 0, world_size: int = 1, workers: int = 2, max_broken: int = 3, **preparation: object
) -> PictureDataModule:
    how = Preparation(**{"image_px": 16, "batch_size": 4, "seed": 5, "crop": RANDOM, **preparation})
    data = PictureDataModule(folder, how, workers=workers, max_broken=max_broken)
    data.trainer = SimpleNamespace(rank=rank, world_size=world_size, device=torch.device("cpu"))
    data.setup()
    return data


def epoch_of(data: PictureDataModule, epoch: int = 0, start_step: int = 0) -> list[torch.Tensor]:
    data.set_epoch(epoch, start_step)
    return list(data.train_loader())


def same(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(map(torch.equal, some, others))


def loader_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_batches_are_float_pictures_in_channels_last_memory(folder):
    batches = epoch_of(module(folder))
    assert [batch.shape for batch in batches] == [(4, 3, 16, 16)] * 2
    assert all(batch.is_contiguous(memory_format=torch.channels_last) for batch in batches)
    values = torch.cat(batches)
    assert (values.dtype, values.min() >= 0, 250 < values.max() <= 255) == (torch.float32, True, True)
    assert torch.equal(values, values.round())


def test_batches_are_what_order_and_crops_say(folder):
    """Each by another route: one picture after the other, no loader."""
    data = module(folder)
    order = shuffled(NUM_PICTURES, seed=5, epoch=3)
    expected = [
        cut(decode_rgb(data.pictures.read(n), name="x"), 16, crop=RANDOM, seed=5, epoch=3, number=n) for n in order[:8]
    ]
    assert np.array_equal(torch.cat(epoch_of(data, 3)).permute(0, 2, 3, 1).numpy(), np.stack(expected))


@pytest.mark.slow  # torchvision's import
def test_the_published_preparation_gives_the_published_scripts_batches(folder):
    from torchvision import datasets, transforms

    transform = transforms.Compose(
        [
            transforms.Resize(16),
            transforms.CenterCrop(16),
            transforms.ToTensor(),
            transforms.Lambda(lambda pixels: pixels.mul(255)),
        ]
    )
    theirs = torch.utils.data.DataLoader(datasets.ImageFolder(str(folder), transform), batch_size=4)
    ours = epoch_of(module(folder, crop=CENTER, shuffle=False, drop_last=False))
    assert [len(batch) for batch in ours] == [4, 4, 3]
    for batch, (their_batch, _) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(batch, their_batch, rtol=0, atol=1e-4)


@pytest.mark.parametrize("workers", [0, 1, 5])
def test_the_number_of_threads_changes_nothing(folder, workers: int):
    assert same(epoch_of(module(folder, workers=workers)), epoch_of(module(folder)))


def test_an_epoch_shows_each_picture_once_and_the_next_in_another_order(folder):
    orders = []
    for epoch in range(2):
        batches = epoch_of(module(folder, batch_size=1, crop=CENTER), epoch)
        orders.append([batch.numpy().tobytes() for batch in batches])
    assert [len(set(order)) for order in orders] == [NUM_PICTURES] * 2
    assert (set(orders[0]) == set(orders[1]), orders[0] != orders[1]) == (True, True)


def test_seed_and_epoch_change_crops_too(folder):
    first = epoch_of(module(folder, shuffle=False))
    assert not same(first, epoch_of(module(folder, shuffle=False), 1))
    assert not same(first, epoch_of(module(folder, shuffle=False, seed=6)))
    assert same(first, epoch_of(module(folder, shuffle=False)))


@pytest.mark.parametrize("start_step", [0, 1, 2, 3])
def test_a_resumed_epoch_goes_on_without_decoding_what_was_done(folder, monkeypatch, start_step: int):
    whole, decoded = epoch_of(module(folder, batch_size=3), 7), []
    decode = train_data.decode_rgb

    def count(data: bytes, **options: object) -> Image.Image:
        decoded.append(data)
        return decode(data, **options)

    monkeypatch.setattr(train_data, "decode_rgb", count)
    assert same(epoch_of(module(folder, batch_size=3), 7, start_step), whole[start_step:])
    assert len(decoded) == 9 - 3 * start_step


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_each_batch_and_together_see_what_one_sees(folder, world_size: int):
    shares = [epoch_of(module(folder, rank=rank, world_size=world_size), 1) for rank in range(world_size)]
    assert same([torch.cat(share) for share in zip(*shares, strict=True)], epoch_of(module(folder), 1))


def test_processes_leave_out_a_batch_that_is_too_small_for_them(folder):
    shares = [epoch_of(module(folder, rank=rank, world_size=2, drop_last=False)) for rank in range(2)]
    assert [len(batch) for share in shares for batch in share] == [2, 2, 2, 2]
    assert [len(batch) for batch in epoch_of(module(folder, drop_last=False))] == [4, 4, 3]


def test_shards_give_the_same_batches_as_the_folder(folder, tmp_path):
    shards = tmp_path / "shards"
    shards.mkdir()
    for name in ("a", "b"):
        with tarfile.open(shards / f"{name}.tar", "w") as file:
            for path in sorted((folder / name).iterdir(), reverse=True):
                file.add(path, path.name)
    assert same(epoch_of(module(shards)), epoch_of(module(folder)))
    assert module(shards).digest() != module(folder).digest()


# --- broken pictures


def break_pictures(folder: Path, *numbers: int) -> None:
    for path in sorted(folder.rglob("*.*")):
        if int(path.stem) in numbers:
            path.write_bytes(path.read_bytes()[:60])


def test_a_broken_picture_is_told_of_once_and_replaced_by_the_next_one(folder, caplog):
    caplog.set_level(logging.WARNING)
    whole = epoch_of(module(folder, batch_size=1, crop=CENTER, shuffle=False))
    break_pictures(folder, 4, 5)
    data = module(folder, batch_size=1, crop=CENTER, shuffle=False)
    assert same(epoch_of(data), [*whole[:4], whole[6], whole[6], *whole[6:]])
    epoch_of(data, 1)
    assert sorted(data.broken) == ["a/04.png", "a/05.png"]
    assert caplog.text.count("left out: a/04.png: cannot be read as a picture") == 1
    assert len(caplog.records) == 2


def test_the_last_picture_is_replaced_by_the_first(folder):
    whole = epoch_of(module(folder, batch_size=1, crop=CENTER, shuffle=False))
    break_pictures(folder, 10)
    found = epoch_of(module(folder, batch_size=1, crop=CENTER, shuffle=False))
    assert same(found, [*whole[:10], whole[0]])


def test_broken_pictures_change_nothing_elsewhere_whatever_the_threads_or_the_start(folder):
    before = torch.cat(epoch_of(module(folder)))
    break_pictures(folder, 4, 5)
    found = [epoch_of(module(folder, workers=workers)) for workers in (0, 1, 4)]
    assert same(found[0], found[1])
    assert same(found[0], found[2])
    assert same(found[0][1:], epoch_of(module(folder), start_step=1))
    order = shuffled(NUM_PICTURES, seed=5, epoch=0)[:8]
    stayed = torch.from_numpy(~np.isin(order, [4, 5]))
    assert torch.equal(torch.cat(found[0])[stayed], before[stayed])
    assert not torch.equal(torch.cat(found[0])[~stayed], before[~stayed])


def test_what_takes_the_place_of_another_is_cut_as_that_would_have_been(folder):
    """Or a batch would hold the same crop twice."""
    break_pictures(folder, 4)
    data = module(folder, batch_size=1, shuffle=False)
    next_one = decode_rgb(data.pictures.read(5), name="x")
    found = epoch_of(data)[4][0].permute(1, 2, 0).numpy()
    assert np.array_equal(found, cut(next_one, 16, crop=RANDOM, seed=5, epoch=0, number=4))


def test_no_more_pictures_are_tried_for_one_place_than_may_be_broken(folder, monkeypatch):
    break_pictures(folder, *range(NUM_PICTURES))
    data, tried = module(folder, max_broken=2, workers=0), []
    monkeypatch.setattr(data.pictures, "read", lambda number: tried.append(number) or b"")
    with pytest.raises(DatasetError, match="3 of 11 pictures are broken"):
        epoch_of(data)
    assert len(tried) == 3


@pytest.mark.parametrize("workers", [0, 3])
def test_too_many_broken_pictures_end_it_when_the_last_of_them_is_met(folder, workers: int):
    break_pictures(folder, 1, 4, 7)
    data = module(folder, workers=workers, batch_size=1, shuffle=False, max_broken=2)
    loader, got = data.train_loader(), []
    with pytest.raises(
        DatasetError,
        match=r"3 of 11 pictures are broken, and 2 may be: a/01\.png: .*a/04\.png: .*; mend or remove them, or",
    ) as caught:
        got.extend(loader)
    assert (len(got), "\n" in str(caught.value), loader_threads()) == (7, False, [])


def test_a_folder_without_a_whole_picture_is_said_to_be_one(folder):
    break_pictures(folder, *range(NUM_PICTURES))
    with pytest.raises(DatasetError, match=r"none of the 11 pictures can be read: [ab]/\d.*; \.\.\.; are they pic"):
        epoch_of(module(folder, max_broken=100))


def test_a_picture_that_is_a_line_counts_as_broken(folder):
    Image.new("RGB", (60000, 1)).save(folder / "a" / "00.png")
    data = module(folder, batch_size=1, crop=CENTER, image_px=64)
    epoch_of(data)
    assert list(data.broken.values()) == ["a/00.png: 60000 x 1 pixels are too long to cut a square out of"]


def test_a_disk_that_fails_is_not_taken_for_a_broken_picture(folder, monkeypatch):
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    data = module(folder)
    monkeypatch.setattr("neural_style.picture_set.os.pread", fail)
    with pytest.raises(DatasetError, match="cannot be read: Input/output error; see to it and go on from there"):
        epoch_of(data)
    assert (data.broken, loader_threads()) == ({}, [])


# --- bad input


def test_fewer_pictures_than_a_batch_is_said(folder):
    with pytest.raises(DatasetError, match=r"pictures: wanted pictures for a batch of 12, found 11; add some, or make"):
        module(folder, batch_size=12)


def test_no_pictures_are_said_before_anything_begins(tmp_path):
    with pytest.raises(DatasetError, match="there is no such folder of pictures"):
        module(tmp_path / "none")


def test_processes_that_cannot_share_a_batch_are_said(folder):
    with pytest.raises(SettingError, match="batch_size: wanted a number that 3 processes share evenly, found 4"):
        module(folder, world_size=3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 0}, "batch_size: wanted 1 or more, found 0"),
        ({"image_px": -1}, "image_px: wanted 1 or more, found -1"),
        ({"crop": "middle"}, "crop: wanted 'center' or 'random', found 'middle'"),
        ({"workers": -1}, "workers=-1"),
        ({"max_broken": -1}, "max_broken=-1"),
    ],
)
def test_settings_that_make_no_sense_are_said(folder, options, said: str):
    with pytest.raises(SettingError, match=said):
        module(folder, **options)


# --- threads and handles


def test_a_loop_that_fails_leaves_no_threads(folder):
    data = module(folder, batch_size=1)
    for fault in (RuntimeError("in the step"), KeyboardInterrupt("stop")):
        with pytest.raises(type(fault), match=str(fault)):
            leave(data, fault)
        data.teardown()
        assert not loader_threads()


def leave(data: PictureDataModule, fault: BaseException) -> None:
    for _ in data.train_loader():
        assert loader_threads()
        raise fault


def test_a_new_epoch_ends_the_one_before(folder):
    data = module(folder, batch_size=1)
    first = data.train_loader()
    next(first)
    second = data.train_loader()
    assert next(first, None) is None
    assert next(second) is not None
    data.teardown()
    assert not loader_threads()


def test_no_handle_stays_open(folder):
    data = module(folder)
    epoch_of(data)
    before = len(os.listdir("/proc/self/fd"))
    for epoch in range(5):
        epoch_of(data, epoch)
        next(data.train_loader())
    data.teardown()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_no_more_is_decoded_ahead_than_a_batch_and_two_for_each_thread(folder, monkeypatch):
    data, decoded = module(folder, batch_size=1, workers=2), []
    decode = train_data.decode_rgb

    def count(content: bytes, **options: object) -> Image.Image:
        decoded.append(content)
        return decode(content, **options)

    monkeypatch.setattr(train_data, "decode_rgb", count)
    loader = data.train_loader()
    next(loader)
    deadline = time.monotonic() + 60
    while len(decoded) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(decoded) == 6
    data.teardown()


@pytest.mark.slow
def test_the_rest_of_the_program_may_use_pillow_meanwhile(folder, tmp_path):
    """Its own limits belong to the whole process: those of one thread must not make another's pictures broken."""
    expected, small = epoch_of(module(folder)), tmp_path / "small.png"
    Image.new("RGB", (2, 2)).save(small)
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            load_image(small, max_pixels=4)

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(5):
            data = module(folder)
            assert same(epoch_of(data), expected)
            assert data.broken == {}
    finally:
        stop.set()
        thread.join()


TRAINING = """
import sys, time
from neural_style.train_data import PictureDataModule, Preparation
data = PictureDataModule(sys.argv[1], Preparation(image_px=16, batch_size=1, seed=1), workers=3)
data.setup()
for epoch in range(10**9):
    data.set_epoch(epoch, 0)
    for batch in data.train_loader():
        print("batch", flush=True)
        time.sleep(0.01)
"""


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_program_that_is_told_to_end_ends_at_once(folder, signum):
    program = subprocess.Popen(
        [sys.executable, "-c", TRAINING, str(folder)],
        cwd=REPO,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    for _ in range(20):
        assert program.stdout.readline() == "batch\n"
    before = time.monotonic()
    program.send_signal(signum)
    _, err = program.communicate(timeout=60)
    assert time.monotonic() - before < 20
    assert program.returncode == -signum
    assert ("KeyboardInterrupt" in err) == (signum == signal.SIGINT)


@pytest.mark.slow
def test_memory_stays_flat_over_many_epochs(folder):
    data = module(folder, batch_size=4, image_px=64)
    sizes = []
    for epoch in range(400):
        for _ in data.train_loader():
            pass
        data.set_epoch(epoch, 0)
        if epoch % 50 == 49:
            gc.collect()
            sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert max(sizes[2:]) < 1.02 * sizes[1]


def test_reasons_are_pictures_errors_only(folder, monkeypatch):
    """A defect of ours is not taken for a broken picture."""

    def fail(*_: object, **__: object) -> None:
        raise AttributeError("a slip")

    monkeypatch.setattr(train_data, "cut", fail)
    with pytest.raises(AttributeError, match="a slip"):
        epoch_of(module(folder))
    monkeypatch.setattr(train_data, "cut", lambda *_, **__: (_ for _ in ()).throw(PictureError("x: broken")))
    with pytest.raises(DatasetError, match="broken, and 3 may be"):
        epoch_of(module(folder))


# --- in a run


class Recorder(Model):
    """Learns nothing, and keeps what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def train_step(self, batch: torch.Tensor) -> None:
        self.seen.append(batch)


class StopAfter(Plugin):
    """As a kill does it, but that the program goes on."""

    def __init__(self, steps: int) -> None:
        super().__init__("stop")
        self.steps = steps

    def between_steps(self) -> None:
        if self.trainer.state.step == self.steps:
            raise RuntimeError("killed")


def run(folder: Path, checkpoints: Path | None = None, *, stop_after: int | None = None) -> list[torch.Tensor]:
    trainer, model = Trainer(max_steps=7, device="cpu"), Recorder()
    if checkpoints is not None:
        CheckpointPlugin(checkpoints, every_steps=1).configure_trainer(trainer)
    if stop_after is not None:
        StopAfter(stop_after).configure_trainer(trainer)
    how = Preparation(image_px=16, batch_size=3, seed=5, crop=RANDOM)
    with pytest.raises(RuntimeError, match="killed") if stop_after is not None else nullcontext():
        trainer.fit(model, PictureDataModule(folder, how, workers=2))
    assert not loader_threads()
    return model.seen


def test_a_run_sees_one_epoch_after_the_other(folder):
    data = module(folder, batch_size=3)
    assert same(run(folder), [*epoch_of(data, 0), *epoch_of(data, 1), *epoch_of(data, 2)[:1]])


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_resumed_run_sees_what_an_unbroken_one_sees(folder, tmp_path, stop_after: int):
    first = run(folder, tmp_path / "checkpoints", stop_after=stop_after)
    second = run(folder, tmp_path / "checkpoints")
    assert (len(first), len(second)) == (stop_after, 7 - stop_after)
    assert same([*first, *second], run(folder))
