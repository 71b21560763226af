from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from neural_style.colour import srgb_profile
from neural_style.errors import PictureError
from pipeline.gallery import shrinking
from pipeline.gallery.shrinking import LARGE_PX, SMALL_PX, shrink

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


@pytest.fixture
def picture(tmp_path):
    def make(size=(1200, 600), name="x.png", colour=RED, **options):
        path = tmp_path / name
        image = colour if isinstance(colour, Image.Image) else Image.new("RGB", size, colour)
        image.save(path, **options)
        return path

    return make


def decoded(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


def colour_of(jpeg: bytes, at=(3, 3)) -> np.ndarray:
    return np.asarray(decoded(jpeg).getpixel(at))


def test_a_picture_comes_in_two_sizes_of_its_own_shape(picture):
    shrunk = shrink(picture((1200, 600)))
    assert (shrunk.width, shrunk.height) == (1200, 600)
    assert {side: decoded(jpeg).size for side, jpeg in shrunk.jpegs.items()} == {
        SMALL_PX: (320, 160),
        LARGE_PX: (1024, 512),
    }


@pytest.mark.parametrize(
    ("size", "sides"),
    [((1, 1), {320: (1, 1)}), ((320, 8), {320: (320, 8)}), ((9, 321), {320: (9, 320), 1024: (9, 321)})],
    ids=str,
)
def test_nothing_is_enlarged(picture, size, sides):
    assert {side: decoded(jpeg).size for side, jpeg in shrink(picture(size)).jpegs.items()} == sides


def test_a_strip_keeps_a_pixel_of_its_height(picture):
    assert decoded(shrink(picture((4000, 2))).jpegs[SMALL_PX]).size == (320, 1)


def test_a_picture_held_on_its_side_stands_upright(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    shrunk = shrink(picture((900, 600), "x.jpg", exif=exif))
    assert (shrunk.width, shrunk.height) == (600, 900)
    assert decoded(shrunk.jpegs[SMALL_PX]).size == (213, 320)


def test_what_is_transparent_is_white(picture):
    image = Image.new("RGBA", (40, 40), (*RED, 0))
    image.paste((*RED, 255), (20, 0, 40, 40))
    jpeg = shrink(picture(colour=image)).jpegs[SMALL_PX]
    assert abs(colour_of(jpeg) - WHITE).max() < 8
    assert abs(colour_of(jpeg, at=(36, 20)) - RED).max() < 8


def test_a_profile_is_applied_and_not_kept(picture):
    swapped = srgb_profile().replace(b"rXYZ", b"----").replace(b"bXYZ", b"rXYZ").replace(b"----", b"bXYZ")
    jpeg = shrink(picture((40, 40), colour=RED, icc_profile=swapped)).jpegs[SMALL_PX]
    assert abs(colour_of(jpeg) - BLUE).max() < 8  # by the profile, full red is the blue of sRGB
    assert "icc_profile" not in decoded(jpeg).info


@pytest.mark.parametrize("length", [20, 200], ids=["head-only", "half"])
def test_a_broken_profile_is_passed_over(picture, length):
    jpeg = shrink(picture((40, 40), icc_profile=srgb_profile()[:length])).jpegs[SMALL_PX]
    assert abs(colour_of(jpeg) - RED).max() < 8


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "I;16"])
def test_every_kind_of_pixels_is_shown(picture, mode):
    image = Image.new(mode, (40, 40))
    assert decoded(shrink(picture(name="x.tif", colour=image)).jpegs[SMALL_PX]).mode == "RGB"


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40], ids=["empty", "text", "cut"]
)
def test_what_is_no_picture_is_told(tmp_path, content):
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"x\.png: (the file is empty|not a picture|cannot be read)"):
        shrink(path)


@pytest.fixture
def in_bands(monkeypatch):
    """Every picture is too large to be decoded as a whole."""
    monkeypatch.setattr(shrinking, "DEFAULT_MAX_PIXELS", 100)


@pytest.mark.slow
@pytest.mark.usefixtures("in_bands")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_what_is_too_large_is_read_in_bands(picture, suffix):
    shrunk = shrink(picture((1300, 650), f"x{suffix}"))
    assert {side: decoded(jpeg).size for side, jpeg in shrunk.jpegs.items()} == {320: (320, 160), 1024: (1024, 512)}
    assert abs(colour_of(shrunk.jpegs[SMALL_PX]) - RED).max() < 8


@pytest.mark.usefixtures("in_bands")
def test_what_is_read_in_bands_stands_upright_and_on_white_too(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    shrunk = shrink(picture(colour=Image.new("RGBA", (60, 30), (*RED, 0)), exif=exif))
    assert (shrunk.width, shrunk.height) == decoded(shrunk.jpegs[SMALL_PX]).size == (30, 60)
    assert abs(colour_of(shrunk.jpegs[SMALL_PX]) - WHITE).max() < 8


@pytest.mark.usefixtures("in_bands")
def test_what_cannot_be_read_in_bands_is_told(picture):
    with pytest.raises(PictureError, match="are too many to be shown: WEBP pictures cannot be read in bands"):
        shrink(picture((40, 40), "x.webp"))


@pytest.mark.usefixtures("in_bands")
def test_what_is_damaged_in_the_middle_of_its_bands_is_told(picture):
    path = picture(name="x.png", colour=Image.effect_noise((200, 200), 90).convert("RGB"))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(PictureError, match="cannot be read as a picture"):
        shrink(path)
