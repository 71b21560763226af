from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import demo
from pipeline.demo import main
from tests.pipeline.conftest import encoded_picture, model_bytes


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture, weights = tmp_path / "my picture.png", tmp_path / "mosaic.pth"
    picture.write_bytes(encoded_picture("x.png"))
    weights.write_bytes(model_bytes())
    return str(picture), str(weights)


@pytest.mark.slow
def test_the_given_picture_is_styled_by_the_given_model(files, tmp_path, capsys):
    assert main(files) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/data/stylized/mosaic/my picture.png\n"
    page = tmp_path / "data" / "gallery" / "index.html"
    assert err.splitlines()[-1] == f"style-pipeline: look at it: {page.as_uri()}"
    assert "my picture.png" in page.read_text()


@pytest.mark.slow
def test_what_failed_is_not_shown(files, tmp_path, capsys):
    Path(files[1]).write_bytes(b"no weights")
    assert main(files) == 30
    assert "look at it" not in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_time_there_is_nothing_to_do(files, capsys):
    main(files)
    assert main(files) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize("model", ["", "no.pth"])
def test_what_is_no_file_is_asked_for(files, capsys, model):
    image = "x.png" if not model else files[0]
    assert main([image, model]) == 2
    name, value = ("MODEL", model) if model else ("IMAGE", "x.png")
    assert f"make run: error: {name} wants a file, found {value!r}" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("given", [True, False], ids=["a-picture", "nothing"])
def test_without_a_model_one_is_trained_first(files, tmp_path, monkeypatch, capsys, given):
    monkeypatch.setattr(demo, "NUM_SCENES", 3)
    assert main([files[0] if given else "", "", "4"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path}/data/stylized/brush/{'my picture' if given else 'scene'}@512.png\n"
    assert "trained" in err
    assert "published" in err
    assert main([files[0] if given else "", "", "4"]) == 0
    assert "nothing to do" in capsys.readouterr().err
