"""A picture is read into files band by band as `load_image` reads it into memory, number by number."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bench.large_pictures import draw_in_bands, drawn_bands
from neural_style import bands, libvips, picture_limits
from neural_style.bands import BandedPicture, decode_in_bands, verify_in_bands
from neural_style.errors import (
    EngineError,
    NeuralStyleError,
    OutputError,
    PictureError,
    PictureNotFoundError,
    PictureTooLargeError,
)
from neural_style.images import Picture, load_image
from neural_style.picture_facts import can_be_banded, read_facts
from tests.conftest import REPO
from tests.neural_style.picture_files import chunk, write_png, write_tiff

MakePicture = Callable[..., Path]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
H, W = 41, 53


@pytest.fixture(autouse=True)
def _small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small pictures have many of them."""
    monkeypatch.setattr(bands, "_FETCH_PX", 7 * W)
    monkeypatch.setattr("neural_style.band_painter._TURNED_PX", 15 * W)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where files of pixels lie, and after each of these tests none."""
    path = tmp_path / "bands"
    path.mkdir()
    return path


def in_memory(picture: BandedPicture) -> Picture:
    alpha = None if picture.alpha is None else picture.alpha.read(0, picture.height)[..., 0]
    return Picture(picture.rgb.read(0, picture.height), alpha, picture.icc_profile)


def assert_read_as_ever(path: Path, folder: Path) -> Picture:
    """Compare with `load_image`, and return what was read."""
    wanted = load_image(path)
    with decode_in_bands(path, folder) as banded:
        found = in_memory(banded)
        assert (banded.width, banded.height) == (wanted.width, wanted.height)
        assert list(folder.iterdir()) == []
    assert np.array_equal(found.rgb_HW3, wanted.rgb_HW3)
    assert (found.alpha_HW is None) == (wanted.alpha_HW is None)
    if wanted.alpha_HW is not None:
        assert found.alpha_HW is not None
        assert np.array_equal(found.alpha_HW, wanted.alpha_HW)
    assert found.icc_profile == wanted.icc_profile
    facts = read_facts(path)
    assert (facts.width, facts.height) == (wanted.width, wanted.height)
    assert facts.has_alpha == (wanted.alpha_HW is not None)
    assert can_be_banded(path)
    return found


def drawing(seed: int = 1) -> NDArray[np.uint8]:
    return np.concatenate(list(drawn_bands(width=W, height=H, seed=seed)))


def noise(rng: np.random.Generator, channels: int) -> NDArray[np.uint16]:
    return rng.integers(0, 2**16, (H, W, channels), dtype=np.uint16)


# --- the same numbers, whatever the file


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_is_read_as_ever(make_picture: MakePicture, folder: Path, suffix: str, mode: str) -> None:
    stored = Image.fromarray(drawing())
    if mode in ("LA", "RGBA"):
        stored.putalpha(Image.fromarray(drawing(2)[..., 0]))
    deep = Image.fromarray(drawing()[..., 0].astype(np.uint16) * 256 + 77)
    assert_read_as_ever(make_picture(f"cat{suffix}", deep if mode == "I;16" else stored.convert(mode)), folder)


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "LA"])
def test_compressed_tiffs_are_read_as_ever(
    make_picture: MakePicture, folder: Path, compression: str, mode: str
) -> None:
    stored = Image.fromarray(drawing())
    stored = stored.convert({"LA": "LA", "RGBA": "RGBA"}.get(mode, mode))
    assert_read_as_ever(make_picture("cat.tif", stored, compression=compression), folder)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_faxes_are_read_as_ever(make_picture: MakePicture, folder: Path, compression: str) -> None:
    assert_read_as_ever(
        make_picture("fax.tif", Image.fromarray(drawing()).convert("1"), compression=compression), folder
    )


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [40, 95])
def test_jpegs_are_read_as_ever(make_picture: MakePicture, folder: Path, subsampling: int, quality: int) -> None:
    stored = Image.fromarray(drawing())
    assert_read_as_ever(make_picture("cat.jpg", stored, quality=quality, subsampling=subsampling), folder)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_modes_are_read_as_ever(make_picture: MakePicture, folder: Path, mode: str) -> None:
    assert_read_as_ever(make_picture("cat.jpg", Image.fromarray(drawing()).convert(mode)), folder)


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)], ids=["grey", "rgb", "grey-a", "rgb-a"])
@pytest.mark.parametrize("depth", [8, 16])
def test_pngs_are_read_as_ever(
    tmp_path: Path, folder: Path, rng: np.random.Generator, kind: int, channels: int, depth: int
) -> None:
    rows = noise(rng, channels) >> (16 - depth)
    assert_read_as_ever(write_png(tmp_path / "cat.png", rows.reshape(H, -1), kind=kind, depth=depth), folder)


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("key", [b"", chunk(b"tRNS", b"\0\1")], ids=["opaque", "keyed"])
def test_pngs_of_few_bits_are_read_as_ever(
    tmp_path: Path, folder: Path, rng: np.random.Generator, depth: int, key: bytes
) -> None:
    rows = rng.integers(0, 256, (H, -(-W * depth // 8)))
    assert_read_as_ever(write_png(tmp_path / "cat.png", rows, kind=0, depth=depth, width=W, before=key), folder)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3)], ids=["grey", "rgb"])
def test_a_transparent_colour_is_read_as_ever(
    tmp_path: Path, folder: Path, rng: np.random.Generator, depth: int, kind: int, channels: int
) -> None:
    """With 16 bits Pillow compares the high bytes of colours, and all of greys; there are pixels of both kinds here."""
    values = rng.integers(0, 2, (H, W, channels)) * (256 if depth == 16 else 1)
    rows = values + (rng.integers(0, 2, (H, W, channels)) if depth == 16 else 0)
    key = chunk(b"tRNS", struct.pack(f">{channels}H", *([256 if depth == 16 else 1] * channels)))
    path = write_png(tmp_path / "cat.png", rows.reshape(H, -1), kind=kind, depth=depth, before=key)
    found = assert_read_as_ever(path, folder)
    assert found.alpha_HW is not None
    assert sorted(np.unique(found.alpha_HW)) == [0, 255]


def test_palettes_with_alpha_are_read_as_ever(make_picture: MakePicture, folder: Path) -> None:
    stored = Image.fromarray(drawing()).convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
    assert_read_as_ever(make_picture("flat.png", stored, transparency=bytes(range(0, 160, 10)), bits=4), folder)
    assert_read_as_ever(make_picture("flat.png", stored, transparency=3), folder)


TIFFS: dict[str, tuple[int, int, dict[int, tuple[int, ...]]]] = {
    "rgb": (3, 8, {262: (2,)}),
    "rgb-16": (3, 16, {262: (2,)}),
    "rgba": (4, 8, {262: (2,), 338: (2,)}),
    "rgba-16": (4, 16, {262: (2,), 338: (2,)}),
    "rgbx": (4, 8, {262: (2,), 338: (0,)}),
    "rgbx-16": (4, 16, {262: (2,), 338: (0,)}),
    "four-unnamed": (4, 8, {262: (2,)}),
    "grey": (1, 8, {262: (1,)}),
    "grey-16": (1, 16, {262: (1,)}),
    "grey-from-white": (1, 8, {262: (0,)}),
    "grey-alpha": (2, 8, {262: (1,), 338: (2,)}),
    "grey-x": (2, 8, {262: (1,), 338: (0,)}),
    "cmyk": (4, 8, {262: (5,)}),
    "cmyk-16": (4, 16, {262: (5,)}),
}


@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
@pytest.mark.parametrize("kind", TIFFS)
def test_tiffs_are_read_as_ever(tmp_path: Path, folder: Path, rng: np.random.Generator, kind: str, order: str) -> None:
    channels, depth, tags = TIFFS[kind]
    pixels = noise(rng, channels) if depth == 16 else noise(rng, channels).astype(np.uint8)
    tags = {258: (depth,) * channels, 277: (channels,), **tags}
    strips = [pixels[top : top + 9] for top in range(0, H, 9)]
    for name, blocks, more in (("one", [pixels], {}), ("many", strips, {278: (9,)})):
        path = write_tiff(tmp_path / f"{name}.tif", blocks, size=(W, H), order=order, tags={**tags, **more})
        assert_read_as_ever(path, folder)


@pytest.mark.parametrize("channels", [3, 4])
def test_tiffs_in_planes_are_read_as_ever(
    tmp_path: Path, folder: Path, rng: np.random.Generator, channels: int
) -> None:
    pixels = noise(rng, channels).astype(np.uint8)
    tags: dict[int, tuple[int, ...]] = {258: (8,) * channels, 262: (2,), 277: (channels,), 284: (2,)}
    if channels == 4:
        tags[338] = (2,)
    planes = [np.ascontiguousarray(pixels[..., number]) for number in range(channels)]
    assert_read_as_ever(write_tiff(tmp_path / "planes.tif", planes, size=(W, H), tags=tags), folder)


@pytest.mark.parametrize("is_wide", [False, True], ids=["narrow", "wide"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_tiles_are_read_as_ever(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, is_wide: bool, orientation: int
) -> None:
    """A row of the tiles of a wide picture is too large to be held: they are fetched one by one."""
    if is_wide:
        monkeypatch.setattr(picture_limits, "_LARGEST_TILE_ROW_BYTES", 16 * W)
        monkeypatch.setattr(bands, "_KEPT_PX", 1)
    padded = np.pad(drawing(), ((0, 48 - H), (0, 64 - W), (0, 0)))
    tiles = [padded[y : y + 16, x : x + 32] for y in range(0, 48, 16) for x in range(0, 64, 32)]
    tags = {258: (8, 8, 8), 262: (2,), 277: (3,), 322: (32,), 323: (16,), 274: (orientation,)}
    path = write_tiff(tmp_path / "tiles.tif", tiles, size=(W, H), tags=tags)
    assert read_facts(path).is_wide == is_wide
    assert_read_as_ever(path, folder)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_come_in_upright(make_picture: MakePicture, folder: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(drawing())
    stored.putalpha(Image.fromarray(drawing(2)[..., 0]))
    stored = stored.convert("RGB") if suffix == ".jpg" else stored
    found = assert_read_as_ever(make_picture(f"phone{suffix}", stored, exif=exif), folder)
    assert (found.width, found.height) == ((W, H) if orientation < 5 else (H, W))


def test_a_png_that_tells_of_the_camera_after_its_pixels_comes_in_upright(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow decodes a whole picture to read that, so we do not ask it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    after = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    path = write_png(tmp_path / "late.png", drawing().reshape(H, -1), kind=2, after=after)
    assert assert_read_as_ever(path, folder).width == H
    load = Image.Image.load
    monkeypatch.setattr(
        "PIL.ImageFile.ImageFile.load", lambda self: load(self) if self.size == (1, 1) else pytest.fail("decoded")
    )
    assert read_facts(path).orientation == 6


def test_bigtiffs_are_read_as_ever(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.large_pictures._TIFF_LIMIT_BYTES", 0)
    draw_in_bands(tmp_path / "big.tif", width=W, height=H)
    assert (tmp_path / "big.tif").read_bytes()[:4] == b"II+\0"
    assert np.array_equal(assert_read_as_ever(tmp_path / "big.tif", folder).rgb_HW3, drawing())


def test_the_first_page_is_read_and_said(
    make_picture: MakePicture, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_picture("pages.tif", Image.fromarray(drawing()), save_all=True, append_images=[Image.new("L", (3, 3))])
    assert_read_as_ever(path, folder)
    assert caplog.messages == [f"{path}: holds 2 frames; only the first is read"] * 2


# --- profiles


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_an_rgb_profile_is_kept(make_picture: MakePicture, folder: Path, suffix: str) -> None:
    path = make_picture(f"cat{suffix}", Image.fromarray(drawing()), icc_profile=SRGB)
    assert assert_read_as_ever(path, folder).icc_profile == SRGB


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_with_a_profile_becomes_srgb(
    make_picture: MakePicture, folder: Path, linear_grey_profile: bytes, mode: str
) -> None:
    stored = Image.fromarray(drawing()).convert(mode)
    found = assert_read_as_ever(make_picture("grey.png", stored, icc_profile=linear_grey_profile), folder)
    assert found.icc_profile is not None
    assert found.icc_profile != linear_grey_profile


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".jpg", ".tif"])
def test_cmyk_with_a_profile_becomes_srgb(
    make_picture: MakePicture, folder: Path, lightness_cmyk_profile: bytes, suffix: str
) -> None:
    stored = Image.fromarray(drawing()).convert("CMYK")
    found = assert_read_as_ever(make_picture(f"print{suffix}", stored, icc_profile=lightness_cmyk_profile), folder)
    assert found.icc_profile is not None


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_broken_profile_is_dropped_and_said_once(
    make_picture: MakePicture, folder: Path, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    path = make_picture("cat.tif", Image.fromarray(drawing()).convert(mode), icc_profile=SRGB[: len(SRGB) // 2])
    decode_in_bands(path, folder).close()
    assert len(caplog.messages) == 1
    reason = "is for RGB, its pixels are CMYK" if mode == "CMYK" else "is broken"
    assert f"its colour profile {reason}" in caplog.messages[0]
    assert_read_as_ever(path, folder)


# --- what cannot be read in bands


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("cat.webp", {}, "WEBP pictures cannot be read in bands; save it as a TIFF or PNG of 8-bit RGB"),
        ("cat.bmp", {}, "BMP pictures cannot be read in bands"),
        ("cat.jpg", {"progressive": True}, "a progressive JPEG cannot be read in bands; save it as a baseline"),
    ],
    ids=["webp", "bmp", "progressive"],
)
def test_what_needs_all_of_the_memory_is_refused(
    make_picture: MakePicture, folder: Path, name: str, options: dict, sentence: str
) -> None:
    path = make_picture(name, **options)
    with pytest.raises(PictureError, match=rf"{name}: {sentence}"):
        decode_in_bands(path, folder)
    assert not can_be_banded(path)


def test_an_interlaced_png_is_refused(tmp_path: Path, folder: Path) -> None:
    path = write_png(tmp_path / "cat.png", drawing().reshape(H, -1), kind=2, interlaced=True)
    with pytest.raises(PictureError, match=r"an interlaced PNG cannot be read in bands; save it without interlacing"):
        decode_in_bands(path, folder)


def test_a_jpeg_whose_channels_come_one_after_the_other_is_refused(make_picture: MakePicture, folder: Path) -> None:
    """It says that it is sequential, and all of it has to be held all the same."""
    path = make_picture("cat.jpg")
    content = bytearray(path.read_bytes())
    scan = content.index(b"\xff\xda")
    content[scan + 4] = 1
    path.write_bytes(content)
    assert not can_be_banded(path)


REFUSED: dict[str, tuple[int, type, dict[int, tuple[int, ...]], str]] = {
    "premultiplied": (4, np.uint8, {262: (2,), 338: (1,)}, "pixels of the kind 'RGBa' cannot be read in bands; save"),
    "lab": (3, np.uint8, {262: (8,)}, "pixels of the kind 'LAB'"),
    "ycbcr": (3, np.uint8, {262: (6,), 530: (1, 1)}, "pixels of the kind 'YCbCr'"),
    "signed": (1, np.uint8, {262: (1,), 339: (2,)}, "a TIFF of signed numbers or fractions"),
    "32-bit": (1, np.uint32, {262: (1,)}, "pixels of the kind 'I;32N'"),
    "planes-16": (3, np.uint16, {262: (2,), 284: (2,)}, "a TIFF of 16 bits in planes, or from white to black"),
    "white-16": (1, np.uint16, {262: (0,)}, "a TIFF of 16 bits in planes, or from white to black"),
    "five": (5, np.uint8, {262: (2,), 338: (2, 0)}, "pixels of the kind 'RGBAX'"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_tiffs_that_would_be_approximately_right_are_refused(tmp_path: Path, folder: Path, kind: str) -> None:
    channels, dtype, tags, sentence = REFUSED[kind]
    pixels = np.zeros((H, W, channels), dtype)
    blocks = [pixels] if tags.get(284) is None else [pixels[..., number] for number in range(channels)]
    tags = {258: (pixels.itemsize * 8,) * channels, 277: (channels,), **tags}
    path = write_tiff(tmp_path / "odd.tif", blocks, size=(W, H), tags=tags)
    with pytest.raises(PictureError, match=rf"odd\.tif: {sentence}"):
        decode_in_bands(path, folder)


@pytest.mark.parametrize("compression", ["packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_compressed_ycbcr_is_refused(make_picture: MakePicture, folder: Path, compression: str) -> None:
    path = make_picture("cat.tif", Image.fromarray(drawing()).convert("YCbCr"), compression=compression)
    with pytest.raises(PictureError, match=r"cat\.tif: a TIFF of YCbCr pixels cannot be read in bands; save it as"):
        decode_in_bands(path, folder)


def test_a_compression_that_may_not_be_there_is_refused(make_picture: MakePicture, folder: Path) -> None:
    path = make_picture("cat.tif", Image.fromarray(drawing()), compression="zstd")
    with pytest.raises(PictureError, match="a TIFF of compression 50000 cannot be read in bands"):
        decode_in_bands(path, folder)


@pytest.mark.parametrize(
    ("options", "is_refused"),
    [
        ({}, False),
        ({"tiffinfo": {278: 40}}, True),
        ({"compression": "tiff_lzw"}, True),
        ({"compression": "tiff_lzw", "tiffinfo": {278: 2}}, False),
    ],
    ids=["one-plain-strip", "large-plain-strips", "one-strip", "small-strips"],
)
def test_a_tiff_in_large_pieces_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict, is_refused: bool
) -> None:
    """Flat, so that the strips are small in the file."""
    monkeypatch.setattr(picture_limits, "_LARGEST_BLOCK_BYTES", 1000)
    Image.new("RGB", (W, H)).save(tmp_path / "flat.tif", **options)
    if not is_refused:
        assert_read_as_ever(tmp_path / "flat.tif", folder)
        return
    with pytest.raises(
        PictureError, match=r"a TIFF with strips or tiles of 0 MB cannot be read in bands; save it with"
    ):
        decode_in_bands(tmp_path / "flat.tif", folder)


def test_without_the_library_the_extra_is_named(
    make_picture: MakePicture, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_picture()
    libvips.pyvips.cache_clear()
    monkeypatch.setitem(sys.modules, "pyvips", None)
    try:
        with pytest.raises(EngineError, match=r"pip install 'neural-style-pipeline\[bands\]'"):
            decode_in_bands(path, folder)
    finally:
        libvips.pyvips.cache_clear()
    assert can_be_banded(path)


# --- headers that lie, files that are damaged, disks that fail


def test_more_than_four_gigapixels_are_refused(tmp_path: Path, folder: Path) -> None:
    path = write_png(tmp_path / "wall.png", drawing().reshape(H, -1), kind=2, declared=(70_000, 70_000))
    with pytest.raises(PictureTooLargeError, match=r"wall\.png: declares more than 4000000000 pixels; shrink the pict"):
        decode_in_bands(path, folder)


def test_the_limit_of_the_caller_holds(make_picture: MakePicture, folder: Path) -> None:
    path = make_picture("cat.png", Image.fromarray(drawing()))
    decode_in_bands(path, folder, max_pixels=W * H).close()
    with pytest.raises(PictureTooLargeError, match=f"declares more than {W * H - 1} pixels"):
        decode_in_bands(path, folder, max_pixels=W * H - 1)


@pytest.mark.parametrize("size", [(60_000, 60_000), (1_000_000, 2000)], ids=["square", "long"])
def test_a_header_that_declares_what_no_file_of_its_size_holds_costs_no_space(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(bands, "BandFile", lambda *args, **kwargs: pytest.fail("took space"))
    path = write_png(tmp_path / "lie.png", drawing().reshape(H, -1), kind=2, declared=size)
    with pytest.raises(PictureError, match=rf"lie\.png: declares {size[0]} x {size[1]} pixels, and its .* cannot hold"):
        decode_in_bands(path, folder)


def test_a_png_that_declares_a_little_more_than_it_holds_is_refused(tmp_path: Path, folder: Path) -> None:
    path = write_png(tmp_path / "lie.png", drawing().reshape(H, -1), kind=2, declared=(W, H + 30))
    with pytest.raises(PictureError, match=r"lie\.png: cannot be read as a picture, it may be truncated or damaged"):
        decode_in_bands(path, folder)


def test_a_png_that_declares_less_than_it_holds_is_read_as_ever(tmp_path: Path, folder: Path) -> None:
    path = write_png(tmp_path / "lie.png", drawing().reshape(H, -1), kind=2, declared=(W, H - 20))
    assert np.array_equal(assert_read_as_ever(path, folder).rgb_HW3, drawing()[: H - 20])


def test_a_jpeg_that_declares_far_more_than_it_holds_is_refused(make_picture: MakePicture, folder: Path) -> None:
    path = make_picture("lie.jpg", Image.fromarray(drawing()))
    content = bytearray(path.read_bytes())
    size_at = content.index(b"\xff\xc0") + 5
    content[size_at : size_at + 4] = struct.pack(">2H", 60_000, 60_000)
    path.write_bytes(content)
    with pytest.raises(PictureError, match=r"lie\.jpg: declares 60000 x 60000 pixels, and its .* cannot hold them"):
        decode_in_bands(path, folder)


def test_a_jpeg_that_declares_a_little_more_than_it_holds_is_read_as_ever(
    make_picture: MakePicture, folder: Path
) -> None:
    """It ends as a JPEG ends, and what is missing is grey: no decoder minds."""
    path = make_picture("lie.jpg", Image.fromarray(drawing()))
    content = bytearray(path.read_bytes())
    size_at = content.index(b"\xff\xc0") + 5
    content[size_at : size_at + 2] = struct.pack(">H", H + 64)
    path.write_bytes(content)
    assert_read_as_ever(path, folder)


@pytest.mark.parametrize("missing", [1, 4], ids=["one", "four"])
def test_a_tiff_with_fewer_strips_than_it_declares_is_refused(tmp_path: Path, folder: Path, missing: int) -> None:
    strips = [drawing()[top : top + 9] for top in range(0, H, 9)]
    tags = {258: (8, 8, 8), 262: (2,), 277: (3,), 278: (9,)}
    path = write_tiff(tmp_path / "lie.tif", strips[:-missing], size=(W, H), tags=tags)
    path.write_bytes(path.read_bytes() + bytes(10_000))  # so that there would be room for them
    with pytest.raises(PictureError, match=rf"lie\.tif: declares {W} x {H} pixels, and its \d+ bytes cannot hold them"):
        decode_in_bands(path, folder)


def test_a_tiff_with_fewer_planes_than_it_declares_is_refused(tmp_path: Path, folder: Path) -> None:
    tags = {258: (8, 8, 8), 262: (2,), 277: (3,), 284: (2,)}
    path = write_tiff(tmp_path / "lie.tif", [drawing()[..., 0], drawing()[..., 1]], size=(W, H), tags=tags)
    path.write_bytes(path.read_bytes() + bytes(10_000))
    with pytest.raises(PictureError, match=r"lie\.tif: declares .* cannot hold them"):
        decode_in_bands(path, folder)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_a_tiff_in_one_strip_that_declares_far_more_than_it_holds_is_refused(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    monkeypatch.setattr(bands, "BandFile", lambda *args, **kwargs: pytest.fail("took space"))
    path = tmp_path / "lie.tif"
    Image.fromarray(drawing()).save(path, compression=compression, tiffinfo={278: 2**31})
    content = path.read_bytes()
    number = 3 if compression else 4  # Pillow writes a short one, or a long one
    told, lie = struct.pack("<HHII", 257, number, 1, H), struct.pack("<HHII", 257, 4, 1, 5_000_000)
    assert content.count(told) == 1
    path.write_bytes(content.replace(told, lie))
    with pytest.raises(PictureError, match=rf"lie\.tif: declares {W} x 5000000 pixels, and its \d+ bytes cannot hold"):
        decode_in_bands(path, folder)


KINDS: dict[str, tuple[str, dict]] = {
    "png": (".png", {}),
    "jpeg": (".jpg", {}),
    "tiff": (".tif", {}),
    "tiff-lzw": (".tif", {"compression": "tiff_lzw"}),
    "tiff-jpeg": (".tif", {"compression": "jpeg"}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_picture_is_refused_in_silence(
    make_picture: MakePicture, folder: Path, capfd: pytest.CaptureFixture[str], kind: str, share: float
) -> None:
    suffix, options = KINDS[kind]
    path = make_picture(f"cut{suffix}", Image.fromarray(drawing()), **options)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PictureError, match=rf"cut{suffix}: .*(truncated|beginning is damaged)") as caught:
        decode_in_bands(path, folder)
    assert "\n" not in str(caught.value)
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_give_a_picture_or_one_sentence(
    make_picture: MakePicture,
    folder: Path,
    rng: np.random.Generator,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    suffix, options = KINDS[kind]
    path = make_picture(f"mutant{suffix}", Image.fromarray(drawing()), **options)
    content, sentences, num_read = path.read_bytes(), set(), 0
    for _ in range(300):
        mutant = bytearray(content)
        for _ in range(int(rng.integers(1, 8))):
            place = int(rng.integers(0, min(len(content), 64 if rng.random() < 0.5 else len(content))))
            mutant[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        path.write_bytes(mutant)
        try:
            decode_in_bands(path, folder, max_pixels=1_000_000).close()
            num_read += 1
        except NeuralStyleError as err:
            sentences.add(str(err))
    assert len(sentences) > 0
    assert (num_read > 0) == (kind != "png")  # every byte of a PNG is under a checksum
    assert not [sentence for sentence in sentences if "\n" in sentence or path.name not in sentence]
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_missing_picture_is_named(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(PictureNotFoundError, match=r"no\.png: there is no such picture; check the name"):
        decode_in_bands(tmp_path / "no.png", folder)


def test_a_name_that_is_no_unicode_is_read(tmp_path: Path, folder: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.fromarray(drawing()).save(path, "PNG")
    assert_read_as_ever(path, folder)


def test_a_picture_on_a_disk_that_fails_is_refused(
    make_picture: MakePicture, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = make_picture("cat.tif", Image.fromarray(drawing()))
    pread = os.pread

    def fail(descriptor: int, num_bytes: int, position: int) -> bytes:
        if position > 3000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(descriptor, min(num_bytes, 1000), position)

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(PictureError, match=r"cat\.tif: the picture cannot be read: Input/output error"):
        decode_in_bands(path, folder)
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_fills_up_while_decoding_is_told(
    make_picture: MakePicture, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_picture("cat.png", Image.fromarray(drawing()))
    writes = []
    pwrite = os.pwrite

    def full(*args: object) -> int:
        writes.append(args)
        if len(writes) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pwrite(*args)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OutputError, match=r"bands: wanted 6\.5 kB for a scratch file, and .* are free; free some"):
        decode_in_bands(path, folder)
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_full_is_told_before_decoding(
    make_picture: MakePicture, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(bands, "_blocks", lambda *args: pytest.fail("decoded"))
    with pytest.raises(OutputError, match=r"wanted 1\.8 kB for a scratch file"):
        decode_in_bands(make_picture(), folder)


@pytest.fixture
def slow_places(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each place takes a twentieth of a second; returns those that were begun."""
    begun: list[object] = []
    plan = bands._plan

    def slowly(places: list[bands.Place]) -> Iterator[bands.Place]:
        for place in places:
            begun.append(place)
            time.sleep(0.05)
            yield place

    monkeypatch.setattr(bands, "_plan", lambda facts: (slowly(places) for places in plan(facts)))
    monkeypatch.setattr(libvips, "_WAIT_S", 0.01)
    return begun


@pytest.mark.slow
def test_progress_is_told(make_picture: MakePicture, folder: Path, slow_places: list[object]) -> None:
    told: list[float] = []
    decode_in_bands(make_picture("cat.png", Image.fromarray(drawing())), folder, on_progress=told.append).close()
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert [fraction for fraction in told if 0.2 < fraction < 0.8]
    assert len(slow_places) == 6


def test_ctrl_c_ends_it_soon(make_picture: MakePicture, folder: Path, slow_places: list[object]) -> None:
    def stop(fraction: float) -> None:
        raise KeyboardInterrupt("stop")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        decode_in_bands(make_picture("cat.png", Image.fromarray(drawing())), folder, on_progress=stop)
    assert len(slow_places) < 4
    assert [thread.name for thread in threading.enumerate() if thread.name == "bands"] == []
    assert list(folder.iterdir()) == []


def test_memory_is_given_back_when_a_picture_is_decoded(
    make_picture: MakePicture, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: list[list[str]] = []
    monkeypatch.setattr(libvips, "give_back", lambda: running.append([each.name for each in threading.enumerate()]))
    decode_in_bands(make_picture(), folder).close()
    assert len(running) == 1
    assert "bands" not in running[0]


def decode_until_killed(path: Path, folder: Path, pipe: Connection) -> None:
    def wait(fraction: float) -> None:
        if fraction > 0.1:
            pipe.send(fraction)
            signal.pause()

    libvips._WAIT_S = 0.005
    decode_in_bands(path, folder, on_progress=wait)


@pytest.mark.slow
def test_a_process_killed_half_way_leaves_nothing(tmp_path: Path, folder: Path) -> None:
    draw_in_bands(tmp_path / "large.png", width=2000, height=1500)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(target=decode_until_killed, args=(tmp_path / "large.png", folder, theirs))
    child.start()
    assert ours.poll(60)
    assert 0.1 < ours.recv() <= 1.0
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert list(folder.iterdir()) == []


def test_several_pictures_are_read_at_the_same_time(make_picture: MakePicture, folder: Path) -> None:
    paths = [make_picture(f"{seed}.png", Image.fromarray(drawing(seed))) for seed in range(6)]
    wrong: list[Path] = []

    def read(seed: int) -> None:
        with decode_in_bands(paths[seed], folder) as banded:
            if not np.array_equal(banded.rgb.read(0, H), drawing(seed)):
                wrong.append(paths[seed])

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- verification


def test_a_whole_picture_is_verified(make_picture: MakePicture) -> None:
    verify_in_bands(make_picture("cat.png", Image.fromarray(drawing())), (W, H))


@pytest.mark.parametrize(
    ("size", "sentence"),
    [((H, W), rf"wanted {H} x {W} pixels, found {W} x {H}"), ((5, 5), "declares more than 25 pixels")],
    ids=["turned", "smaller"],
)
def test_a_picture_of_another_size_is_not_verified(
    make_picture: MakePicture, size: tuple[int, int], sentence: str
) -> None:
    with pytest.raises(PictureError, match=sentence):
        verify_in_bands(make_picture("cat.png", Image.fromarray(drawing())), size)


def test_a_picture_whose_end_is_damaged_is_not_verified(make_picture: MakePicture) -> None:
    path = make_picture("cat.png", Image.fromarray(drawing()))
    content = path.read_bytes()
    path.write_bytes(content[:-40] + bytes(8) + content[-32:])
    with pytest.raises(PictureError, match="truncated or damaged"):
        verify_in_bands(path, (W, H))


# --- memory

MEMORY_PROGRAM = """
import sys
from neural_style.band_writer import encode_in_bands
from neural_style.bands import decode_in_bands
from neural_style.libvips import pyvips

def peak_kib():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

pyvips()
before = peak_kib()
with decode_in_bands(sys.argv[1], sys.argv[2]) as picture:
    encode_in_bands(picture, sys.argv[3])
print((peak_kib() - before) * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="only Linux tells")
@pytest.mark.parametrize(("stored", "written"), [(".png", ".jpg"), (".tif", ".png"), (".png", ".tif")])
def test_a_large_picture_takes_little_memory(tmp_path: Path, stored: str, written: str) -> None:
    """60 megapixels, 180 MB; in and out."""
    source, result = tmp_path / f"large{stored}", tmp_path / f"result{written}"
    draw_in_bands(source, width=10_000, height=6000)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, str(source), str(tmp_path), str(result)],
        capture_output=True,
        text=True,
        cwd=REPO,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) < 120e6
    if written == ".tif":
        with Image.open(result) as image:
            Image.MAX_IMAGE_PIXELS, before = None, Image.MAX_IMAGE_PIXELS
            try:
                found = np.asarray(image.crop((0, 5936, 10_000, 6000)))
            finally:
                Image.MAX_IMAGE_PIXELS = before
        for band in drawn_bands(width=10_000, height=6000):
            last = band
        assert np.array_equal(found[-len(last) :], last)


def test_nothing_is_said_of_odd_metadata(
    make_picture: MakePicture, folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_picture("cat.png", Image.fromarray(drawing()))
    content = path.read_bytes()
    damaged = chunk(b"gAMA", bytes(4)) + chunk(b"bKGD", bytes(1)) + chunk(b"teSt", b"what is it")
    path.write_bytes(content[:33] + damaged + content[33:])
    assert_read_as_ever(path, folder)
    tags = {258: (8, 8, 8), 262: (2,), 277: (3,), 65_000: (1, 2, 3), 60_000: (1,), 50_000: (7,)}
    assert_read_as_ever(write_tiff(path.with_suffix(".tif"), [drawing()], size=(W, H), tags=tags), folder)
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []
