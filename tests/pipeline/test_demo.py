from __future__ import annotations

import pytest

from pipeline.demo import main
from tests.pipeline.conftest import encoded_picture, model_bytes


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    picture, weights = tmp_path / "my picture.png", tmp_path / "mosaic.pth"
    picture.write_bytes(encoded_picture("x.png"))
    weights.write_bytes(model_bytes())
    return str(picture), str(weights)


def test_the_given_picture_is_styled_by_the_given_model(files, tmp_path, capsys):
    assert main(files) == 0
    assert capsys.readouterr().out == f"{tmp_path}/data/stylized/mosaic/my picture.png\n"


@pytest.mark.slow
def test_a_second_time_there_is_nothing_to_do(files, capsys):
    main(files)
    assert main(files) == 0
    assert "nothing to do" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "model", "sentence"),
    [
        ("", "", "no IMAGE is given"),
        ("x.png", "", "IMAGE wants a file, found 'x.png'"),
        (None, "", "no MODEL is given"),
        (None, "no.pth", "MODEL wants a file, found 'no.pth'"),
    ],
    ids=str,
)
def test_what_is_not_given_is_asked_for(files, capsys, image, model, sentence):
    assert main([files[0] if image is None else image, model]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert "make run IMAGE=" in err
