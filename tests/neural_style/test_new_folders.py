from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from neural_style.cli import main
from neural_style.errors import OutputError
from neural_style.new_folders import NewFolders


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_folders_of_a_run_that_fails_go_unless_something_lies_in_them(tmp_path):
    (tmp_path / "there").mkdir()
    with suppress(KeyboardInterrupt), NewFolders() as folders:
        for name in ("there", "new/deep", "kept/deep"):
            folders.make(tmp_path / name, what="curves")
        folders.try_file(tmp_path / "report" / "report.json")
        (tmp_path / "kept" / "mine").write_text("mine")
        raise KeyboardInterrupt
    assert below(tmp_path) == ["kept", "kept/mine", "there"]


def test_folders_of_a_run_that_ends_well_stay(tmp_path):
    with NewFolders() as folders:
        folders.make(tmp_path / "new" / "deep", what="curves")
    assert below(tmp_path) == ["new", "new/deep"]


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "text").write_text("no folder")
    with NewFolders() as folders:
        with pytest.raises(OutputError, match="text: wanted a folder for curves, and cannot make one"):
            folders.make(tmp_path / "text", what="curves")
        with pytest.raises(OutputError, match="text/file: could not be written"):
            folders.try_file(tmp_path / "text" / "file")


@pytest.mark.parametrize("wrong", ["painting", "dataset"])
def test_the_command_leaves_no_folder_for_what_it_does_not_begin(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    if wrong == "dataset":
        Image.new("RGB", (64, 64)).save("wave.png")
    before = below(tmp_path)
    folders = [
        f"--{name}={name}/deep" for name in ("save-model-dir", "checkpoint-model-dir", "tensorboard", "sample-dir")
    ]
    options = ["--dataset=none", "--style-image=wave.png", "--features=random", "--report=report/deep/report.json"]
    assert main(["train", *folders, *options, "--device=cpu"]) == 30
    assert below(tmp_path) == before


@pytest.mark.parametrize("option", ["--tensorboard", "--sample-dir"])
def test_the_command_tries_what_it_writes_on_the_way_before_it_begins(tmp_path, monkeypatch, capsys, option):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64)).save("wave.png")
    touch = Path.touch

    def refuse(path: Path) -> None:
        if path.is_relative_to(tmp_path / "full"):
            raise OSError(28, "No space left on device")
        touch(path)

    monkeypatch.setattr(Path, "touch", refuse)
    options = ["--dataset=none", "--style-image=wave.png", "--save-model-dir=out", "--features=random"]
    assert main(["train", *options, "--device=cpu", "--sample=wave.png", f"{option}={tmp_path / 'full'}"]) == 30
    assert f"{tmp_path / 'full'}" in (said := capsys.readouterr().err)
    assert "could not be written: No space left on device" in said
