"""A picture on the disk is written band by band as `save_image` writes one in memory."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from neural_style import band_writer, libvips
from neural_style.band_writer import encode_in_bands, refuse_unwritable_in_bands
from neural_style.bands import BandedPicture
from neural_style.contract import WRITABLE_SUFFIXES
from neural_style.errors import OutputError, PictureError, SettingError
from neural_style.images import Picture, load_image, save_image
from neural_style.pixel_file import BandFile
from tests.neural_style.test_bands import drawing
from tests.neural_style.test_pixel_file import files_no_larger_than

MakeBanded = Callable[..., BandedPicture]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.fixture(autouse=True)
def _small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small pictures have many of them."""
    monkeypatch.setattr(band_writer, "_STRIP_BYTES", 1500)


def banded(folder: Path, picture: Picture) -> BandedPicture:
    """The same picture on the disk."""
    files = []
    for pixels in (picture.rgb_HW3, None if picture.alpha_HW is None else picture.alpha_HW[..., None]):
        if pixels is not None:
            files.append(BandFile(folder, shape=pixels.shape))
            files[-1].write(0, 0, pixels)
    return BandedPicture(files[0], files[1] if len(files) > 1 else None, picture.icc_profile)


def picture_of(*, alpha: bool = False, profile: bytes | None = None) -> Picture:
    return Picture(drawing(), drawing(2)[..., 1].copy() if alpha else None, profile)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_same(found: Picture, wanted: Picture) -> None:
    assert np.array_equal(found.rgb_HW3, wanted.rgb_HW3)
    assert (found.alpha_HW is None) == (wanted.alpha_HW is None)
    assert wanted.alpha_HW is None or np.array_equal(found.alpha_HW, wanted.alpha_HW)
    assert found.icc_profile == wanted.icc_profile


@pytest.mark.parametrize("profile", [None, SRGB], ids=["plain", "profile"])
@pytest.mark.parametrize("alpha", [False, True], ids=["opaque", "alpha"])
@pytest.mark.parametrize("suffix", WRITABLE_SUFFIXES)
def test_every_format_holds_what_save_image_writes(
    tmp_path: Path, suffix: str, alpha: bool, profile: bytes | None
) -> None:
    """JPEG and what is composited for it included: to the pixel."""
    picture = picture_of(alpha=alpha, profile=profile)
    save_image(picture, tmp_path / f"ever{suffix}", quality=83)
    encode_in_bands(banded(tmp_path, picture), tmp_path / f"bands{suffix}", quality=83)
    wanted = load_image(tmp_path / f"ever{suffix}")
    assert_same(load_image(tmp_path / f"bands{suffix}"), wanted)
    if suffix in (".png", ".tif", ".tiff"):
        assert_same(wanted, picture)
    assert names_in(tmp_path) == [f"bands{suffix}", f"ever{suffix}"]


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.booleans(), st.sampled_from([".png", ".tif", ".jpg"]))
def test_every_size_goes_out_and_comes_in(
    tmp_path_factory: pytest.TempPathFactory, width: int, height: int, alpha: bool, suffix: str
) -> None:
    rng = np.random.default_rng(width * 71 + height)
    pixels = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    picture = Picture(np.ascontiguousarray(pixels[..., :3]), pixels[..., 3].copy() if alpha else None)
    folder = tmp_path_factory.getbasetemp()
    encode_in_bands(banded(folder, picture), folder / f"out{suffix}")
    found = load_image(folder / f"out{suffix}")
    if suffix == ".jpg":
        save_image(picture, folder / "ever.jpg")
        assert_same(found, load_image(folder / "ever.jpg"))
    else:
        assert_same(found, picture)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_the_same_picture_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        encode_in_bands(banded(tmp_path, picture_of(profile=SRGB)), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp"])
def test_the_disk_is_not_waited_for_where_a_file_need_not_last(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    encode_in_bands(banded(tmp_path, picture_of()), tmp_path / f"out{suffix}", durable=False)
    assert synced == []
    encode_in_bands(banded(tmp_path, picture_of()), tmp_path / f"out{suffix}")
    assert len(synced) == 2


def test_a_jpeg_is_as_save_image_writes_it(tmp_path: Path) -> None:
    save_image(picture_of(), tmp_path / "ever.jpg", quality=70)
    encode_in_bands(banded(tmp_path, picture_of()), tmp_path / "bands.jpg", quality=70)
    with Image.open(tmp_path / "ever.jpg") as wanted, Image.open(tmp_path / "bands.jpg") as found:
        assert found.quantization == wanted.quantization
        assert found.layer == wanted.layer  # the subsampling
        assert "progressive" not in found.info


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_nothing_else_is_in_the_file(tmp_path: Path, suffix: str) -> None:
    encode_in_bands(banded(tmp_path, picture_of()), tmp_path / f"out{suffix}")
    with Image.open(tmp_path / f"out{suffix}") as image:
        assert set(image.info) <= {"compression", "dpi", "jfif", "jfif_version", "jfif_unit", "jfif_density"}
        assert round(image.info.get("dpi", (72,))[0]) == 72


def test_a_tiff_that_could_exceed_four_gigabytes_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode_in_bands(banded(tmp_path, picture_of(alpha=True)), tmp_path / "small.tif")
    monkeypatch.setattr(band_writer, "_TIFF_BYTES", 5000)
    encode_in_bands(banded(tmp_path, picture_of(alpha=True)), tmp_path / "big.tif")
    assert (tmp_path / "small.tif").read_bytes()[:4] == b"II*\0"
    assert (tmp_path / "big.tif").read_bytes()[:4] == b"II+\0"
    assert_same(load_image(tmp_path / "big.tif"), picture_of(alpha=True))


def test_alpha_that_a_jpeg_cannot_hold_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        encode_in_bands(banded(tmp_path, picture_of(alpha=True)), tmp_path / "out.jpg")
    assert caplog.messages == [f"{tmp_path}/out.jpg: JPEG holds no transparency; composited on white"]


@pytest.mark.parametrize(
    ("name", "size", "sentence"),
    [
        ("out.gif", (1, 1), r"cannot write '\.gif' pictures; use one of"),
        ("out.jpg", (65501, 1), "JPEG holds 65500 pixels a side, not 65501 x 1; use .png"),
        ("out.webp", (16384, 1), "WEBP holds 16383 pixels a side"),
        ("out.webp", (16000, 16000), r"16000 x 16000 pixels are written in bands, which \.webp pictures are not; use"),
        ("out.bmp", (16000, 16000), r"which \.bmp pictures are not; use \.png or \.tif"),
    ],
)
def test_what_cannot_be_written_is_refused(name: str, size: tuple[int, int], sentence: str) -> None:
    with pytest.raises(PictureError, match=sentence):
        refuse_unwritable_in_bands(name, width=size[0], height=size[1])


@pytest.mark.parametrize("name", ["out.png", "out.tif", "OUT.TIFF"])
def test_the_largest_pictures_can_be_written(name: str) -> None:
    refuse_unwritable_in_bands(name, width=63_000, height=63_000)


@pytest.mark.parametrize("quality", [0, 101])
def test_senseless_qualities_are_refused(tmp_path: Path, quality: int) -> None:
    with pytest.raises(SettingError, match=f"the quality is 1 to 100, not {quality}"):
        encode_in_bands(banded(tmp_path, picture_of()), tmp_path / "out.jpg", quality=quality)


# --- faults


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("limit_bytes", [0, 100, 3000])
def test_a_full_disk_keeps_the_old_picture_and_leaves_nothing_else(
    tmp_path: Path, rng: np.random.Generator, capfd: pytest.CaptureFixture[str], suffix: str, limit_bytes: int
) -> None:
    (tmp_path / f"out{suffix}").write_bytes(b"old")
    picture = banded(tmp_path, Picture(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8)))
    with (
        files_no_larger_than(limit_bytes),
        pytest.raises(OutputError, match=rf"out{suffix}: could not be written: File too large") as caught,
    ):
        encode_in_bands(picture, tmp_path / f"out{suffix}")
    assert caught.value.errno == errno.EFBIG
    assert (tmp_path / f"out{suffix}").read_bytes() == b"old"
    assert names_in(tmp_path) == [f"out{suffix}"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_scratch_file_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], suffix: str
) -> None:
    picture = banded(tmp_path, picture_of())
    preadv, reads = os.preadv, []

    def fail(*args: object) -> int:
        reads.append(args)
        if len(reads) > 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return preadv(*args)

    monkeypatch.setattr(os, "preadv", fail)
    with pytest.raises(OutputError, match=r"a scratch file of 6\.5 kB failed: Input/output error"):
        encode_in_bands(picture, tmp_path / f"out{suffix}")
    assert names_in(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_picture_that_does_not_decode_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, share: float
) -> None:
    (tmp_path / f"out{suffix}").write_bytes(b"old")
    encode = band_writer._encode

    def cut(picture: BandedPicture, scratch: Path, **options: Any) -> None:
        encode(picture, scratch, **options)
        os.truncate(scratch, int(scratch.stat().st_size * share))

    monkeypatch.setattr(band_writer, "_encode", cut)
    with pytest.raises(OutputError, match=rf"out{suffix}: what was written cannot be read back, so nothing was kept"):
        encode_in_bands(banded(tmp_path, picture_of()), tmp_path / f"out{suffix}")
    assert (tmp_path / f"out{suffix}").read_bytes() == b"old"
    assert names_in(tmp_path) == [f"out{suffix}"]


def test_an_encoder_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver, options = band_writer._SAVERS[".png"]
    monkeypatch.setitem(band_writer._SAVERS, ".png", (saver, {**options, "filter": "odd"}))
    with pytest.raises(OutputError, match=rf"^{tmp_path}/out.png: could not be encoded: .*odd") as caught:
        encode_in_bands(banded(tmp_path, picture_of()), tmp_path / "out.png")
    assert "\n" not in str(caught.value)
    assert names_in(tmp_path) == []


def test_a_folder_of_that_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(OutputError, match="found a folder of that name"):
        encode_in_bands(banded(tmp_path, picture_of()), tmp_path / "out.png")


@pytest.fixture
def slow_reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Each band of the scratch file takes a twentieth of a second; returns those that were read."""
    read, places = BandFile.read, []

    def slow(file: BandFile, *place: int) -> NDArray:
        places.append(place)
        time.sleep(0.05)
        return read(file, *place)

    monkeypatch.setattr(BandFile, "read", slow)
    monkeypatch.setattr(libvips, "_WAIT_S", 0.01)
    return places


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_ctrl_c_keeps_the_old_picture_and_leaves_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], slow_reads: list[tuple[int, ...]], suffix: str
) -> None:
    (tmp_path / f"out{suffix}").write_bytes(b"old")

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt("stop")

    with pytest.raises(KeyboardInterrupt, match="stop"):
        encode_in_bands(banded(tmp_path, picture_of()), tmp_path / f"out{suffix}", on_progress=stop)
    assert len(slow_reads) < 4
    assert (tmp_path / f"out{suffix}").read_bytes() == b"old"
    assert names_in(tmp_path) == [f"out{suffix}"]
    assert [thread.name for thread in threading.enumerate() if thread.name == "bands"] == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_progress_goes_from_nothing_to_all(tmp_path: Path, slow_reads: list[tuple[int, ...]]) -> None:
    told: list[float] = []
    encode_in_bands(banded(tmp_path, picture_of()), tmp_path / "out.png", on_progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert 0.7 in told  # encoded, and still to be read again
    assert [fraction for fraction in told if 0.1 < fraction < 0.6]
    assert len(slow_reads) == 5
