"""What is made of models is kept whole, checked when it is read, bounded, and never missed."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import csci_utils.io
from neural_style import model_cache
from neural_style.model_cache import ModelCache, warn_once
from tests.conftest import REPO
from tests.faults import fill_disk

MODELS = [f"{n:064x}" for n in range(70)]


@pytest.fixture(autouse=True)
def _forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that other tests left in memory."""
    model_cache._in_memory.clear()
    model_cache._warned.clear()


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_kept_is_read_by_another_process(tmp_path: Path) -> None:
    ModelCache(tmp_path / "cache").keep(MODELS[0], "weights", b"numbers")
    assert ModelCache(tmp_path / "cache").read(MODELS[0], "weights") == b"numbers"
    assert model_cache._in_memory == {}  # so it came from the disk
    assert ModelCache(tmp_path / "cache").read(MODELS[0], "other") is None
    assert ModelCache(tmp_path / "cache").read(MODELS[1], "weights") is None
    assert files(tmp_path) == [f"cache/{MODELS[0]}/weights"]


@pytest.mark.parametrize("damage", ["cut", "changed", "longer", "empty"])
def test_damaged_files_are_thrown_away_with_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    cache = ModelCache(tmp_path)
    cache.keep(MODELS[0], "weights", b"numbers" * 100)
    path = tmp_path / MODELS[0] / "weights"
    sound = path.read_bytes()
    broken = {"cut": sound[:-1], "changed": sound[:-1] + b"?", "longer": sound + b"\0", "empty": b""}[damage]
    path.write_bytes(broken)
    with caplog.at_level(logging.WARNING, "neural_style"):
        assert cache.read(MODELS[0], "weights") is None
    assert caplog.messages == [f"{path}: damaged; it is thrown away and made again"]
    assert not path.exists()


def test_the_models_used_last_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "_NUM_KEPT", 3)
    cache = ModelCache(tmp_path)
    (tmp_path / "somebody's").mkdir()
    for age, model in enumerate(MODELS[:3]):
        cache.keep(model, "weights", b"")
        os.utime(tmp_path / model, (1000 + age, 1000 + age))
    assert cache.read(MODELS[0], "weights") == b""  # now the youngest
    cache.keep(MODELS[3], "weights", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["somebody's", MODELS[0], MODELS[2], MODELS[3]])


def test_a_removal_that_was_cut_off_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_cache, "_NUM_KEPT", 1)
    monkeypatch.setattr(model_cache.shutil, "rmtree", lambda *_, **__: None)
    for model in MODELS[:2]:
        ModelCache(tmp_path).keep(model, "weights", b"")
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.undo()
    (left,) = (path for path in tmp_path.iterdir() if path.name != MODELS[1])
    of_the_dead = re.sub(r"-[0-9]+-[0-9a-f]{8}-", "-4194304-12345678-", left.name)
    left.rename(left.with_name(of_the_dead))
    csci_utils.io._swept.clear()
    ModelCache(tmp_path).keep(MODELS[2], "weights", b"")
    assert sorted(path.name for path in tmp_path.iterdir()) == MODELS[1:3]


def test_sixty_four_models_stay(tmp_path: Path) -> None:
    for model in MODELS:
        (tmp_path / model).mkdir()
    ModelCache(tmp_path).keep("f" * 64, "weights", b"")
    assert len(list(tmp_path.iterdir())) == 64
    assert (tmp_path / ("f" * 64)).is_dir()


def test_a_full_disk_is_one_warning_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill_disk(monkeypatch, "*weights*")
    cache = ModelCache(tmp_path / "cache")
    with caplog.at_level(logging.WARNING, "neural_style"):
        cache.keep(MODELS[0], "weights", b"numbers")
        cache.keep(MODELS[0], "weights", b"numbers")
    assert len(caplog.messages) == 1
    assert "weights: could not be written: No space left on device; free some" in caplog.text
    assert "this model is converted anew in each run" in caplog.text
    assert list((tmp_path / "cache").iterdir()) == []
    assert cache.read(MODELS[0], "weights") == b"numbers"  # in this process


@pytest.mark.skipif(os.name != "posix", reason="a folder's permissions are POSIX's")
def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")  # a folder of mode 0500 would stop everybody but root
    cache = ModelCache(tmp_path / "file" / "cache")
    with caplog.at_level(logging.WARNING, "neural_style"):
        cache.keep(MODELS[0], "weights", b"numbers")
    assert "weights: could not be written: Not a directory" in caplog.text
    assert cache.read(MODELS[0], "weights") == b"numbers"


def test_without_a_folder_the_last_models_stay_in_memory() -> None:
    cache = ModelCache(None)
    for model in MODELS[:4]:
        cache.keep(model, "weights", model.encode())
    assert [cache.read(model, "weights") for model in MODELS[:4]] == [None, None, *(m.encode() for m in MODELS[2:4])]


def test_what_is_in_memory_for_want_of_a_folder_is_no_reason_not_to_fill_one(tmp_path: Path) -> None:
    ModelCache(None).keep(MODELS[0], "weights", b"numbers")
    assert ModelCache(tmp_path).read(MODELS[0], "weights") is None


def test_a_warning_comes_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "neural_style"):
        for sentence in ("one", "one", "other", "one"):
            warn_once(sentence)
    assert caplog.messages == ["one", "other"]


@pytest.mark.slow
def test_a_kill_leaves_nothing_that_is_seen(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom neural_style.model_cache import ModelCache\n"
        f"cache = ModelCache(sys.argv[1])\nprint('ready', flush=True)\n"
        f"while True: cache.keep({MODELS[0]!r}, 'weights', bytes(1 << 22))"
    )
    for delay_s in (0.0, 0.003, 0.011, 0.05):
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay_s)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        kept = ModelCache(tmp_path).read(MODELS[0], "weights")
        assert kept is None or kept == bytes(1 << 22)
        assert [name for name in files(tmp_path) if not Path(name).name.startswith(".")] in (
            [],
            [f"{MODELS[0]}/weights"],
        )
