"""Pictures come in upright, in 8-bit RGB with alpha and profile, and go out whole or not at all."""

from __future__ import annotations

import io
import logging
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, features

from neural_style import images
from neural_style.contract import WRITABLE_SUFFIXES, result_suffix
from neural_style.errors import (
    NeuralStyleError,
    OutputError,
    PictureError,
    PictureNotFoundError,
    PictureTooLargeError,
    SettingError,
)
from neural_style.images import Picture, load_image, save_image, verify_image

MakePicture = Callable[..., Path]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- what comes in


def test_pixels_come_in_as_they_are(make_picture: MakePicture, rgb_HW3: NDArray[np.uint8]) -> None:
    picture = load_image(make_picture())
    assert np.array_equal(np.asarray(picture), rgb_HW3)
    assert (picture.width, picture.height, picture.alpha_HW, picture.icc_profile) == (30, 20, None, None)
    assert np.asarray(picture).flags.c_contiguous


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_in_upright(make_picture: MakePicture, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = make_picture(f"phone{suffix}", exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert np.array_equal(np.asarray(load_image(path)), expected)
    assert expected.shape[:2] == ((20, 30) if orientation < 5 else (30, 20))


def test_a_result_says_nothing_of_how_the_camera_was_held(make_picture: MakePicture, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    save_image(load_image(make_picture("phone.jpg", exif=exif)), tmp_path / "out.jpg")
    with Image.open(tmp_path / "out.jpg") as image:
        assert not image.getexif()


@pytest.mark.parametrize(
    "exif",
    [
        b"II*\0\xff\xff\xff\xff nothing here",
        b"II*\0" + struct.pack("<IHHHI4sI", 8, 1, 0x0112, 2, 4, b"abc\0", 0),  # a text where the number should be
        b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 9, 0, 0),  # 9: there are eight ways to hold a camera
    ],
    ids=["nowhere", "text", "nine"],
)
def test_damaged_exif_means_upright(make_picture: MakePicture, exif: bytes) -> None:
    assert load_image(make_picture("cat.jpg", exif=b"Exif\0\0" + exif)).width == 30


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB", "I;16"])
def test_tiff_of_every_mode_is_read(make_picture: MakePicture, rgb_HW3: NDArray[np.uint8], mode: str) -> None:
    source = Image.fromarray(rgb_HW3)
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        stored = ImageCms.profileToProfile(source, ImageCms.createProfile("sRGB"), lab, outputMode="LAB")
        assert stored is not None
    else:
        stored = source.convert("L").convert(mode) if mode == "I;16" else source.convert(mode)
    picture = load_image(make_picture("cat.tif", stored))
    assert picture.rgb_HW3.shape == (20, 30, 3)
    assert picture.alpha_HW is None
    if mode in ("RGB", "YCbCr", "LAB"):
        assert np.abs(picture.rgb_HW3.astype(int) - rgb_HW3).mean() < 4


MODES = {"RGBX": (9, 8, 7), "HSV": None, "RGBa": (9, 8, 7), "La": (9, 9, 9), "PA": (9, 8, 7)}


@pytest.mark.parametrize("mode", MODES)
def test_modes_that_files_seldom_hold_are_converted(mode: str) -> None:
    source = Image.new("RGBA", (3, 2), (9, 8, 7, 255))
    route = {"La": "LA", "PA": "PA", "RGBa": "RGBa"}.get(mode, "RGB")
    stored = source.convert(route).convert(mode)
    rgb, _ = images.colour.to_rgb(stored, name="cat")
    assert rgb.mode == ("RGB" if mode in ("RGBX", "HSV") else "RGBA")
    if MODES[mode] is not None:
        wanted = (8, 8, 8) if mode == "La" else MODES[mode]  # 0.299 * 9 + 0.587 * 8 + 0.114 * 7 = 8.2
        assert rgb.convert("RGB").getpixel((2, 1)) == wanted


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I"])
def test_16_bit_grey_is_scaled_to_the_nearest_8_bit_value(mode: str) -> None:
    values = [0, 128, 129, 256, 257, 32767, 32768, 65406, 65407, 65535]
    by_hand = [0, 0, 1, 1, 1, 127, 128, 254, 255, 255]  # value / 257: 128 / 257 = 0.498, 129 / 257 = 0.502, ...
    code = {"I": "<10i", "I;16B": ">10H"}.get(mode, "<10H")
    stored = Image.frombytes(mode, (10, 1), struct.pack(code, *values))
    rgb, _ = images.colour.to_rgb(stored, name="cat")
    assert [rgb.getpixel((x, 0)) for x in range(10)] == [(value,) * 3 for value in by_hand]


def test_16_bit_png_is_not_clipped(make_picture: MakePicture) -> None:
    path = make_picture("deep.png", Image.fromarray(np.array([[0, 30000, 65535]], dtype=np.uint16)))
    assert load_image(path).rgb_HW3[0, :, 0].tolist() == [0, 117, 255]


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        (Image.new("F", (3, 2), 0.5), "floating point pixels, whose range is unknown"),
        (Image.new("I", (3, 2), 70000), "pixels from 70000 to 70000, wanted 0 to 65535"),
        (Image.new("I", (3, 2), -1), "pixels from -1 to -1, wanted 0 to 65535"),
    ],
    ids=["float", "too-large", "negative"],
)
def test_pixels_without_a_known_range_are_refused(make_picture: MakePicture, image: Image.Image, sentence: str) -> None:
    with pytest.raises(PictureError, match=sentence):
        load_image(make_picture("odd.tif", image))


ALPHA_HW = np.tile(np.arange(30, dtype=np.uint8) * 8, (20, 1))


@pytest.mark.parametrize(("mode", "suffix"), [("RGBA", ".png"), ("LA", ".png"), ("RGBA", ".tif"), ("RGBA", ".webp")])
def test_alpha_is_kept(make_picture: MakePicture, rgb_HW3: NDArray[np.uint8], mode: str, suffix: str) -> None:
    stored = Image.fromarray(rgb_HW3)
    stored.putalpha(Image.fromarray(ALPHA_HW))
    options = {"lossless": True} if suffix == ".webp" else {}
    picture = load_image(make_picture(f"cut{suffix}", stored.convert(mode), **options))
    assert picture.alpha_HW is not None
    assert np.array_equal(picture.alpha_HW, ALPHA_HW)


def test_a_transparent_palette_entry_becomes_alpha(make_picture: MakePicture) -> None:
    stored = Image.new("P", (3, 1))
    stored.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    stored.putdata([0, 1, 2])
    picture = load_image(make_picture("flat.png", stored, transparency=1))
    assert picture.rgb_HW3.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert picture.alpha_HW is not None
    assert picture.alpha_HW.tolist() == [[255, 0, 255]]


@pytest.mark.parametrize(
    ("pixels", "transparent"),
    [
        (np.array([[1, 2, 3]], dtype=np.uint8), 2),
        (np.array([[1, 2, 3]], dtype=np.uint16), 2),
        (np.array([[[1, 1, 1], [2, 3, 4], [5, 5, 5]]], dtype=np.uint8), (2, 3, 4)),
    ],
    ids=["L", "I;16", "RGB"],
)
def test_a_transparent_colour_becomes_alpha(make_picture: MakePicture, pixels: NDArray, transparent: object) -> None:
    picture = load_image(make_picture("keyed.png", Image.fromarray(pixels), transparency=transparent))
    assert picture.alpha_HW is not None
    assert picture.alpha_HW.tolist() == [[255, 0, 255]]


@pytest.mark.parametrize(
    ("depth", "kind", "row", "transparent", "alpha"),
    [
        (1, 0, bytes([0b0101_0000]), (1,), [255, 0, 255, 0]),
        (2, 0, bytes([0b00_01_10_11]), (1,), [255, 0, 255, 255]),
        (4, 0, bytes([0x01, 0x23]), (2,), [255, 255, 0, 255]),
        (8, 0, bytes([0, 1, 2, 3]), (3,), [255, 255, 255, 0]),
        (16, 0, bytes([0, 1, 0, 2, 0, 3, 0, 4]), (2,), [255, 0, 255, 255]),
        (8, 2, bytes([0, 1, 2] * 3 + [9, 9, 9]), (9, 9, 9), [255, 255, 255, 0]),
        (16, 2, bytes([1, 99, 2, 99, 3, 99] * 3 + [7] * 6), (0x0707,) * 3, [255, 255, 255, 0]),
    ],
    ids=["grey-1", "grey-2", "grey-4", "grey-8", "grey-16", "rgb-8", "rgb-16"],
)
def test_the_transparent_colour_of_a_png_is_found_at_every_depth(
    tmp_path: Path, depth: int, kind: int, row: bytes, transparent: tuple[int, ...], alpha: list[int]
) -> None:
    """Put together by hand (ISO/IEC 15948), since Pillow writes few of them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, kind, 0, 0, 0))
    key = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    body = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    (tmp_path / "keyed.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + key + body)
    found = load_image(tmp_path / "keyed.png").alpha_HW
    assert found is not None
    assert found.tolist() == [alpha]


def test_the_first_frame_of_an_animation_is_read_and_said(
    make_picture: MakePicture, caplog: pytest.LogCaptureFixture
) -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    path = make_picture("moving.gif", red, save_all=True, append_images=[blue, red])
    with caplog.at_level(logging.WARNING, "neural_style"):
        picture = load_image(path)
    assert picture.rgb_HW3[0, 0].tolist() == [255, 0, 0]
    assert caplog.messages == [f"{path}: holds 3 frames; only the first is read"]


# --- profiles


def test_an_rgb_profile_is_kept_and_the_numbers_stay(make_picture: MakePicture, rgb_HW3: NDArray[np.uint8]) -> None:
    picture = load_image(make_picture(icc_profile=SRGB))
    assert picture.icc_profile == SRGB
    assert np.array_equal(picture.rgb_HW3, rgb_HW3)


def test_grey_with_a_profile_becomes_srgb(make_picture: MakePicture, linear_grey_profile: bytes) -> None:
    path = make_picture("grey.png", Image.new("L", (3, 2), 128), icc_profile=linear_grey_profile)
    picture = load_image(path)
    # linear 128 / 255 in IEC 61966-2-1: 1.055 * 0.50196 ** (1 / 2.4) - 0.055 = 0.7367 = 187.9 / 255
    assert picture.rgb_HW3[0, 0].tolist() == [188, 188, 188]
    assert picture.icc_profile is not None
    assert "sRGB" in ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(picture.icc_profile)))


def test_cmyk_with_a_profile_becomes_srgb(make_picture: MakePicture, lightness_cmyk_profile: bytes) -> None:
    path = make_picture("print.tif", Image.new("CMYK", (3, 2), (0, 0, 0, 128)), icc_profile=lightness_cmyk_profile)
    picture = load_image(path)
    # L* 49.8: Y = ((49.8 + 16) / 116) ** 3 = 0.1825, and as above 118.4; without the profile it would be 127
    assert picture.rgb_HW3[0, 0].tolist() == [118, 118, 118]
    assert picture.icc_profile is not None
    assert picture.icc_profile[16:20] == b"RGB "


def test_the_profile_we_attach_is_the_same_in_every_run() -> None:
    assert images.colour.srgb_profile()[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@pytest.mark.parametrize("length", [len(SRGB) // 2, 20, 200], ids=["half", "stub", "header"])
def test_a_broken_profile_is_dropped_and_said(
    make_picture: MakePicture, caplog: pytest.LogCaptureFixture, length: int
) -> None:
    picture = load_image(make_picture("cat.jpg", icc_profile=SRGB[:length]))
    assert picture.icc_profile is None
    assert len(caplog.messages) == 1
    assert "its colour profile is broken" in caplog.messages[0]


def test_a_profile_of_another_kind_of_pixels_is_dropped_and_said(
    make_picture: MakePicture, caplog: pytest.LogCaptureFixture, linear_grey_profile: bytes
) -> None:
    assert load_image(make_picture(icc_profile=linear_grey_profile)).icc_profile is None
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        "its colour profile is for GRAY, its pixels are RGB; dropped"
    ]


# --- sizes


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"max_side": 15}, (15, 10)),
        ({"max_side": 1}, (1, 1)),
        ({"max_side": 30}, (30, 20)),
        ({"max_side": 500}, (30, 20)),
        ({"scale": 2.0}, (15, 10)),
        ({"scale": 0.5}, (60, 40)),
        ({"scale": 7.0}, (4, 2)),
        ({"scale": 1000.0}, (1, 1)),
        ({"scale": 0.5, "max_side": 12}, (12, 8)),
    ],
    ids=str,
)
def test_pictures_are_resized_on_the_way_in(make_picture: MakePicture, options: dict, size: tuple[int, int]) -> None:
    picture = load_image(make_picture(), **options)
    assert (picture.width, picture.height) == size


def test_shrinking_does_not_bleed_hidden_colours_into_the_edges(make_picture: MakePicture) -> None:
    stored = np.zeros((16, 16, 4), np.uint8)
    stored[:, :, 0] = 255  # red, and transparent, but for
    stored[:, 6:] = (0, 0, 255, 255)  # opaque blue
    picture = load_image(make_picture("edge.png", Image.fromarray(stored)), max_side=4)
    assert picture.alpha_HW is not None
    assert picture.rgb_HW3[picture.alpha_HW > 40][:, 0].max() == 0


@pytest.mark.slow
def test_a_huge_picture_is_refused_before_it_is_decoded(
    make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_picture("wall.png", Image.new("1", (9000, 9000)))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(PictureTooLargeError, match=r"wall.png: declares more than 80999999 pixels and was not decoded"):
        load_image(path, max_pixels=80_999_999)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif", ".webp", ".tif", ".bmp", ".ico"])
@pytest.mark.parametrize("share", [1.0, 0.51, 0.5, 0.49, 0.05])
def test_the_limit_alone_decides(make_picture: MakePicture, suffix: str, share: float) -> None:
    path = make_picture(f"cat{suffix}")
    with Image.open(path) as image:
        num_pixels = image.width * image.height
    before = Image.MAX_IMAGE_PIXELS
    assert load_image(path, max_pixels=num_pixels).width > 0
    limit = int(num_pixels * share) - 1
    with pytest.raises(PictureTooLargeError, match=f"declares more than {limit} pixels"):
        load_image(path, max_pixels=limit)
    assert before == Image.MAX_IMAGE_PIXELS


def test_more_than_pillows_own_limit_is_read_when_allowed(
    make_picture: MakePicture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert load_image(make_picture()).width == 30


def test_enlarging_past_the_limit_is_refused(make_picture: MakePicture) -> None:
    with pytest.raises(PictureTooLargeError, match=r"--content-scale 1e-06 makes 30000000 x 20000000 pixels"):
        load_image(make_picture(), scale=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"max_side": 0}, "longest side is at least 1 pixel, not 0"),
        ({"scale": 0.0}, "scale is a number above 0"),
        ({"scale": float("nan")}, "scale is a number above 0"),
        ({"max_pixels": 0}, "limit is at least 1 pixel"),
    ],
    ids=str,
)
def test_senseless_settings_are_refused(make_picture: MakePicture, options: dict, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        load_image(make_picture(), **options)


# --- what is no picture


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"\n <!DOCTYPE html><html>404</html>", "looks like a web page, not a picture"),
        (b"just text", "not a picture of a kind that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture of a kind that can be read"),
        (b"\x89PNG\r\n\x1a\n", "not a picture|cannot be read as a picture"),
    ],
    ids=["empty", "web-page", "text", "postscript", "header-only"],
)
def test_what_is_no_picture_is_refused_in_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "bad\nname.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError, match=sentence) as caught:
        load_image(path)
    assert str(caught.value).startswith(f"{tmp_path}/bad name.jpg: ")
    assert "\n" not in str(caught.value)


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(PictureNotFoundError, match=r"no\.jpg: there is no such picture; check the name"):
        load_image(tmp_path / "no.jpg")


def test_a_missing_picture_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such picture"):
        load_image(tmp_path / "no.jpg")


def test_a_folder_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="wanted a picture file, found a folder"):
        load_image(tmp_path)


def test_a_pipe_is_no_picture_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(PictureError, match="found a pipe or device"):
        load_image(tmp_path / "pipe.jpg")


@pytest.mark.parametrize("name", ["a\0b.jpg", "a" * 300 + ".jpg"], ids=["nul", "too-long"])
def test_impossible_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match="read"):
        load_image(tmp_path / name)


KINDS: dict[str, tuple[str, dict]] = {
    "jpeg": (".jpg", {}),
    "progressive": (".jpg", {"progressive": True}),
    "png": (".png", {}),
    "webp": (".webp", {}),
    "webp-lossless": (".webp", {"lossless": True}),
    "tiff": (".tif", {}),
    "tiff-lzw": (".tif", {"compression": "tiff_lzw"}),
    "bmp": (".bmp", {}),
    "gif": (".gif", {}),
    "ppm": (".ppm", {}),
    "tga": (".tga", {}),
    "ico": (".ico", {}),
    "pcx": (".pcx", {}),
    "sgi": (".sgi", {}),
    "jpeg2000": (".jp2", {}),
    "avif": (".avif", {}),
    "qoi": (".qoi", {}),
    "exif-and-profile": (".jpg", {"exif": b"Exif\0\0" + Image.Exif().tobytes(), "icc_profile": SRGB}),
    "profile": (".png", {"icc_profile": SRGB}),
}
KINDS = {kind: found for kind, found in KINDS.items() if kind != "avif" or features.check("avif")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_picture_is_refused(make_picture: MakePicture, kind: str, share: float) -> None:
    suffix, options = KINDS[kind]
    path = make_picture(f"cut{suffix}", **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PictureError, match=rf"cut{suffix}: .*(truncated|beginning is damaged)"):
        load_image(path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_give_a_picture_or_one_sentence(
    make_picture: MakePicture, rng: np.random.Generator, kind: str
) -> None:
    suffix, options = KINDS[kind]
    path = make_picture(f"mutant{suffix}", **options)
    content = path.read_bytes()
    outcomes, sentences = {True: 0, False: 0}, set()
    for _ in range(200):
        mutant = bytearray(content)
        # Heads hold the sizes and offsets that hurt: half of the damage goes there.
        for _ in range(int(rng.integers(1, 8))):
            place = int(rng.integers(0, min(len(content), 64 if rng.random() < 0.5 else len(content))))
            mutant[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        path.write_bytes(mutant)
        try:
            picture = load_image(path, max_pixels=1_000_000)
        except NeuralStyleError as err:
            sentences.add(str(err))
            outcomes[False] += 1
        else:
            assert picture.rgb_HW3.ndim == 3
            outcomes[True] += 1
    assert outcomes[False] > 0
    assert not [sentence for sentence in sentences if "\n" in sentence or path.name not in sentence]


# --- what goes out


@pytest.mark.parametrize("suffix", [".png", ".tif", ".TIFF", ".bmp"])
def test_lossless_formats_give_back_every_pixel(tmp_path: Path, rgb_HW3: NDArray[np.uint8], suffix: str) -> None:
    save_image(Picture(rgb_HW3), tmp_path / f"out{suffix}")
    assert np.array_equal(np.asarray(load_image(tmp_path / f"out{suffix}")), rgb_HW3)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".jfif", ".webp"])
def test_lossy_formats_obey_the_quality(tmp_path: Path, rgb_HW3: NDArray[np.uint8], suffix: str) -> None:
    errors = []
    for quality in (10, 95):
        save_image(Picture(rgb_HW3), tmp_path / f"out{suffix}", quality=quality)
        errors.append(np.abs(load_image(tmp_path / f"out{suffix}").rgb_HW3.astype(int) - rgb_HW3).mean())
    assert errors[1] < errors[0] / 1.5
    assert errors[1] < 8


@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_the_format_is_the_suffixs_and_the_bytes_are_the_same_each_time(
    tmp_path: Path, rgb_HW3: NDArray[np.uint8], suffix: str
) -> None:
    wanted = {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}
    picture = Picture(rgb_HW3, icc_profile=images.colour.srgb_profile())
    save_image(picture, tmp_path / f"a{suffix}")
    save_image(picture, tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert image.format == wanted.get(suffix, suffix[1:].upper())


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_a_profile_goes_out_with_the_picture(tmp_path: Path, rgb_HW3: NDArray[np.uint8], suffix: str) -> None:
    save_image(Picture(rgb_HW3, icc_profile=SRGB), tmp_path / f"out{suffix}")
    assert load_image(tmp_path / f"out{suffix}").icc_profile == SRGB


def test_a_profile_that_bmp_cannot_hold_is_applied(tmp_path: Path, rgb_HW3: NDArray[np.uint8]) -> None:
    swapped = bytearray(SRGB)  # a profile in which red and blue are exchanged
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    save_image(Picture(rgb_HW3, icc_profile=bytes(swapped)), tmp_path / "out.bmp")
    found = load_image(tmp_path / "out.bmp")
    assert found.icc_profile is None
    assert np.abs(found.rgb_HW3.astype(int) - rgb_HW3[..., ::-1]).max() <= 2


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_alpha_goes_out_with_the_picture(tmp_path: Path, rgb_HW3: NDArray[np.uint8], suffix: str) -> None:
    save_image(Picture(rgb_HW3, ALPHA_HW), tmp_path / f"out{suffix}")
    found = load_image(tmp_path / f"out{suffix}")
    assert found.alpha_HW is not None
    assert np.array_equal(found.alpha_HW, ALPHA_HW)
    if suffix != ".webp":
        assert np.array_equal(found.rgb_HW3, rgb_HW3)  # under transparent pixels too


def test_styled_colours_stay_under_transparent_pixels_of_a_webp(tmp_path: Path, rgb_HW3: NDArray[np.uint8]) -> None:
    save_image(Picture(rgb_HW3, np.zeros((20, 30), np.uint8)), tmp_path / "out.webp")
    assert np.abs(load_image(tmp_path / "out.webp").rgb_HW3.astype(int) - rgb_HW3).mean() < 8


@pytest.mark.parametrize("suffix", [".jpg", ".bmp"])
def test_alpha_that_cannot_be_held_is_composited_on_white_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    alpha_HW = np.zeros((16, 32), np.uint8)
    alpha_HW[:, 16:] = 255
    save_image(Picture(np.full((16, 32, 3), 40, np.uint8), alpha_HW), tmp_path / f"out{suffix}")
    found = load_image(tmp_path / f"out{suffix}").rgb_HW3
    assert (found[:, :8] >= 253).all()
    assert (np.abs(found[:, 24:].astype(int) - 40) <= 2).all()
    assert len(caplog.messages) == 1
    assert "holds no transparency; composited on white" in caplog.messages[0]


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.jpg", ".jpg"),
        ("a.JPEG", ".JPEG"),
        ("b/c.d.webp", ".webp"),
        ("a.gif", ".png"),
        ("a", ".png"),
        (".jpg", ".png"),
    ],
)
def test_results_keep_the_suffix_that_can_be_written(name: str, suffix: str) -> None:
    assert result_suffix(name) == suffix


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("out.gif", (1, 1), r"cannot write '\.gif' pictures; use one of \.jpg"),
        ("out", (1, 1), "cannot write '' pictures"),
        ("out.jpg", (65501, 1), "JPEG holds 65500 pixels a side, not 65501 x 1; use .png"),
        ("out.webp", (1, 16384), "WEBP holds 16383 pixels a side"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, name: str, size: tuple[int, int], sentence: str) -> None:
    with pytest.raises(PictureError, match=sentence):
        save_image(Picture(np.zeros((size[1], size[0], 3), np.uint8)), tmp_path / name)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize(("name", "size"), [("out.jpg", (65500, 1)), ("out.webp", (1, 16383))])
def test_the_longest_sides_can_be_written(tmp_path: Path, name: str, size: tuple[int, int]) -> None:
    save_image(Picture(np.zeros((size[1], size[0], 3), np.uint8)), tmp_path / name)
    verify_image(tmp_path / name, size)


@pytest.mark.parametrize("quality", [0, 101])
def test_senseless_qualities_are_refused(tmp_path: Path, rgb_HW3: NDArray[np.uint8], quality: int) -> None:
    with pytest.raises(SettingError, match=f"the quality is 1 to 100, not {quality}"):
        save_image(Picture(rgb_HW3), tmp_path / "out.jpg", quality=quality)


def test_a_full_disk_keeps_the_old_picture_and_leaves_nothing_else(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "out.png").write_bytes(b"old")
    noise = Picture(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # the system's own refusal, half way through
    try:
        with pytest.raises(OutputError, match=r"out\.png: could not be written: File too large"):
            save_image(noise, tmp_path / "out.png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "out.png").read_bytes() == b"old"
    assert names_in(tmp_path) == ["out.png"]


def test_a_picture_that_does_not_decode_is_not_kept(
    tmp_path: Path, rgb_HW3: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.png").write_bytes(b"old")
    encoded = images._encoded
    monkeypatch.setattr(images, "_encoded", lambda *args, **kwargs: encoded(*args, **kwargs)[:-60])
    with pytest.raises(OutputError, match=r"out\.png: what was written cannot be read back, so nothing was kept"):
        save_image(Picture(rgb_HW3), tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes() == b"old"
    assert names_in(tmp_path) == ["out.png"]


def test_an_encoder_that_fails_is_named(
    tmp_path: Path, rgb_HW3: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise ValueError("no")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OutputError, match=r"out\.png: could not be encoded as PNG: no"):
        save_image(Picture(rgb_HW3), tmp_path / "out.png")


def test_a_folder_of_that_name_is_an_error(tmp_path: Path, rgb_HW3: NDArray[np.uint8]) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(OSError, match="found a folder of that name"):
        save_image(Picture(rgb_HW3), tmp_path / "out.png")


def test_a_picture_of_another_size_is_not_verified(make_picture: MakePicture) -> None:
    with pytest.raises(PictureError, match="wanted 20 x 30 pixels, found 30 x 20"):
        verify_image(make_picture(), (20, 30))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "loads"), [(".jpg", "False"), (".png", "False"), (".gif", "False"), (".webp", "True")]
)
def test_only_a_rare_format_has_all_of_pillows_imported(tmp_path: Path, suffix: str, loads: str) -> None:
    path = tmp_path / f"picture{suffix}"
    Image.new("RGB", (9, 7)).save(path)
    program = (
        "import sys; from neural_style.images import load_image; assert load_image(sys.argv[1]).width == 9\n"
        "print('PIL.SgiImagePlugin' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == loads


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_jpeg_that_is_cut_anywhere_is_seen(tmp_path: Path, progressive: bool, kept: float) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, progressive=progressive)
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    verify_image(tmp_path / "x.jpg", (120, 90))
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue()[: int(kept * len(buffer.getvalue()))])
    with pytest.raises(PictureError, match="truncated or damaged"):
        verify_image(tmp_path / "x.jpg", (120, 90))
