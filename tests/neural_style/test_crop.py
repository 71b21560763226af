"""Squares cut out of pictures: the published script's middle, or anywhere."""

from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from PIL import Image

from neural_style import images
from neural_style.crop import CENTER, RANDOM, cut, least_side_px, shuffled
from neural_style.images import decode_rgb


def noise(rng: np.random.Generator, *, width: int, height: int) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.slow  # torchvision's import
def test_the_middle_is_that_of_the_published_script(rng) -> None:
    from torchvision import transforms

    for width, height in rng.integers(17, 200, (60, 2)):
        image, image_px = noise(rng, width=width, height=height), int(rng.integers(16, 120))
        theirs = transforms.Compose([transforms.Resize(image_px), transforms.CenterCrop(image_px)])(image)
        ours = cut(image, image_px, crop=CENTER, seed=1, epoch=0, number=0)
        assert np.array_equal(ours, np.asarray(theirs)), (width, height, image_px)


def test_random_crops_depend_on_seed_epoch_and_number_alone(rng) -> None:
    image = noise(rng, width=60, height=50)
    keys = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
    crops = [cut(image, 32, crop=RANDOM, seed=seed, epoch=epoch, number=number) for seed, epoch, number in keys]
    again = cut(image, 32, crop=RANDOM, seed=1, epoch=0, number=0)
    assert np.array_equal(crops[0], again)
    assert len({crop.tobytes() for crop in crops}) == 4


def test_random_crops_come_from_everywhere_and_half_of_them_are_mirrored() -> None:
    columns = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None], (33, 40, 3))
    rows = np.broadcast_to(np.arange(33, dtype=np.uint8)[:, None, None], (33, 40, 3))
    lefts, tops, num_mirrored = set(), set(), 0
    for number in range(400):
        crop = cut(Image.fromarray(columns), 32, crop=RANDOM, seed=7, epoch=0, number=number)[0, :, 0].astype(int)
        mirrored = crop[0] > crop[-1]
        num_mirrored += mirrored
        lefts.add(crop[-1] if mirrored else crop[0])
        tops.add(int(cut(Image.fromarray(rows), 32, crop=RANDOM, seed=7, epoch=0, number=number)[0, 0, 0]))
    assert (lefts, tops) == (set(range(9)), {0, 1})
    assert 150 < num_mirrored < 250


@pytest.mark.parametrize(
    ("size", "seen_px"),
    [((400, 300), 64), ((100, 50), 50), ((20, 30), 32)],
    ids=["shrunk to twice the crop", "left alone", "enlarged"],
)
def test_how_much_of_the_short_side_a_random_crop_shows(size, seen_px: int) -> None:
    """A ramp along the short side: the step from pixel to pixel tells the scale."""
    ramp = np.linspace(0, 255, min(size)).astype(np.float32)
    pixels = np.broadcast_to(ramp[:, None] if size[1] < size[0] else ramp[None, :], (size[1], size[0]))
    image = Image.fromarray(np.repeat(pixels[..., None], 3, axis=-1).round().astype(np.uint8))
    crop = cut(image, 32, crop=RANDOM, seed=1, epoch=0, number=0)[..., 0].astype(float)
    along = crop[:, 0] if size[1] < size[0] else crop[0]
    assert abs(along[24] - along[8]) == pytest.approx(16 * 255 / seen_px, abs=8)


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own() -> None:
    orders = [shuffled(1000, seed=seed, epoch=epoch).tolist() for seed, epoch in [(1, 0), (1, 1), (2, 0)]]
    assert all(sorted(order) == list(range(1000)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert shuffled(10, seed=1, epoch=0).tolist() == [9, 2, 4, 7, 5, 0, 8, 6, 3, 1]  # in every version of NumPy


# --- decoding for it


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_load_image(rng, tmp_path, image_format: str, mode: str) -> None:
    image = noise(rng, width=30, height=20).convert(mode)
    (tmp_path / "picture").write_bytes(encoded(image, image_format))
    expected = np.asarray(images.load_image(tmp_path / "picture"))
    found = decode_rgb((tmp_path / "picture").read_bytes(), name="picture")
    assert (found.mode, np.array_equal(np.asarray(found), expected)) == ("RGB", True)


def test_what_is_transparent_keeps_its_colour_and_grey_of_16_bit_its_range(rng) -> None:
    image = noise(rng, width=30, height=20)
    pixels = np.asarray(image)
    image.putalpha(0)
    assert np.array_equal(np.asarray(decode_rgb(encoded(image, "PNG"), name="x")), pixels)
    grey = Image.fromarray(np.full((4, 4), 257 * 200, dtype=np.uint16))
    assert np.unique(np.asarray(decode_rgb(encoded(grey, "PNG"), name="x"))).tolist() == [200]


def test_pictures_are_upright(rng) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_rgb(encoded(noise(rng, width=30, height=20), "JPEG", exif=exif), name="x").size == (20, 30)


@pytest.mark.parametrize(("least_px", "size"), [(None, (96, 64)), (33, (96, 64)), (32, (48, 32)), (8, (12, 8))])
def test_a_jpeg_is_decoded_small_where_that_is_enough(rng, least_px, size) -> None:
    image = noise(rng, width=96, height=64)
    assert decode_rgb(encoded(image, "JPEG"), name="x", least_side_px=least_px).size == size
    assert decode_rgb(encoded(image, "PNG"), name="x", least_side_px=least_px).size == (96, 64)


def test_the_published_preparation_decodes_all_of_a_jpeg() -> None:
    assert (least_side_px(CENTER, 256), least_side_px(RANDOM, 256)) == (None, 1024)


def test_broken_pictures_and_bombs_are_one_sentence(rng) -> None:
    whole = encoded(noise(rng, width=30, height=20), "JPEG")
    for data, said in [
        (whole[:300], r"^x y: cannot be read as a picture, it may be truncated or damaged: "),
        (b"", r"^x y: the file is empty"),
        (b"hello", r"^x y: not a picture of a kind"),
        (b"<!DOCTYPE html><html>", r"^x y: this looks like a web page"),
    ]:
        with pytest.raises(images.PictureError, match=said):
            decode_rgb(data, name="x\ny")
    images.hush_pillow()  # which warns, in this program, where it might as well refuse
    for image_format in ("JPEG", "GIF", "TIFF"):
        for max_pixels in (599, 200):
            with pytest.raises(images.PictureTooLargeError, match=rf"^x: declares more than {max_pixels} pixels"):
                decode_rgb(encoded(noise(rng, width=30, height=20), image_format), name="x", max_pixels=max_pixels)
    assert decode_rgb(whole, name="x", max_pixels=600).size == (30, 20)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "ICO", "JPEG2000"])
def test_the_limit_of_another_thread_is_not_met(rng, monkeypatch, image_format: str) -> None:
    data = encoded(noise(rng, width=32, height=32), image_format)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert decode_rgb(data, name="x").size == (32, 32)
    assert Image.MAX_IMAGE_PIXELS == 1


def test_a_tiled_tiff_does_not_meet_it_either(rng, monkeypatch) -> None:
    data = encoded(noise(rng, width=32, height=32), "TIFF", compression="jpeg", tiffinfo={322: 16, 323: 16})
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    assert decode_rgb(data, name="x").size == (32, 32)


@pytest.mark.slow
def test_pictures_are_not_opened_while_another_thread_has_its_limit_set(rng) -> None:
    data, sizes = encoded(noise(rng, width=32, height=32), "PNG"), []
    thread = threading.Thread(target=lambda: sizes.append(decode_rgb(data, name="x").size))
    with images._pillow_limit(1):
        thread.start()
        thread.join(0.1)
        assert sizes == []
    thread.join()
    assert sizes == [(32, 32)]


def test_too_little_memory_is_not_the_pictures_fault(rng, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    data = encoded(noise(rng, width=30, height=20), "PNG")
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    with pytest.raises(MemoryError):
        decode_rgb(data, name="x")
