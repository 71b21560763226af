from __future__ import annotations

import pytest

from pipeline.errors import BadNameError
from pipeline.names import check_name, model_file_name

BAD = {
    "empty": ("", "it is empty"),
    "parent": ("../x.jpg", "it leaves its folder"),
    "parent-inside": ("a/../../x.jpg", "it leaves its folder"),
    "only-parent": ("..", "it leaves its folder"),
    "absolute": ("/etc/passwd", "it is absolute"),
    "nul": ("a\0b.jpg", "control character"),
    "newline": ("a\nb.jpg", "control character"),
    "surrogate": ("a\udcff.jpg", "not valid Unicode"),
    "folder": ("holiday/", "empty component"),
    "double-slash": ("a//b.jpg", "empty component"),
    "dot": ("./a.jpg", "empty component or a '.'"),
    "hidden": (".a.jpg.json", "begins with a dot"),
    "hidden-folder": ("a/.b/c.jpg", "begins with a dot"),
    "long-component": ("a" * 260 + ".jpg", "too long"),
    "long": ("/".join(["a" * 200] * 5), "too long"),
}


@pytest.mark.parametrize(("name", "fault"), BAD.values(), ids=BAD)
def test_a_bad_name_is_refused_in_one_line(name, fault):
    with pytest.raises(BadNameError, match=fault) as caught:
        check_name(name, "picture")
    assert "\n" not in str(caught.value)
    assert "picture" in str(caught.value)


@pytest.mark.parametrize(
    "name", ["a.jpg", "holiday/sea.jpg", "été 1.png", "日本/写真.png", "a..b.jpg", "a\\b", "x@2.jpg"]
)
def test_a_good_name_is_taken_as_it_is(name):
    assert check_name(name, "picture") == name


@pytest.mark.parametrize(
    ("model", "file_name"),
    [("mosaic", "mosaic.pth"), ("mosaic.pth", "mosaic.pth"), ("m.onnx", "m.onnx"), ("a.b/mosaic", "a.b/mosaic.pth")],
)
def test_a_model_without_suffix_is_a_pth(model, file_name):
    assert model_file_name(model) == file_name
