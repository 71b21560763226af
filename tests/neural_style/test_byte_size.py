from __future__ import annotations

import pytest

from neural_style.byte_size import LEAST_MEMORY_BYTES, parse_memory
from neural_style.errors import SettingError


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("2GiB", 2_147_483_648),
        ("512MiB", 536_870_912),
        ("2GB", 2_000_000_000),
        ("1.5GiB", 1_610_612_736),
        ("1.5 gib", 1_610_612_736),
        (" 2g ", 2_147_483_648),
        ("70000000", 70_000_000),
        ("70000000B", 70_000_000),
        ("65536KiB", LEAST_MEMORY_BYTES),
        ("1TB", 10**12),
        ("auto", None),
        ("AUTO", None),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size_bytes: int | None) -> None:
    assert parse_memory(text) == size_bytes


@pytest.mark.parametrize(
    "text",
    ["", "lots", "50%", "-2GiB", "2 Gibibytes", "2,5GiB", "1e9", "inf", "nan", "0x10", "²GiB", "٢GiB", "1" * 21],
)
def test_another_text_is_one_sentence_that_shows_how(text: str) -> None:
    with pytest.raises(SettingError, match=r"memory wants a size such as 2GiB, 512MiB or .* or auto .*, found '"):
        parse_memory(text)


@pytest.mark.parametrize("text", ["0", "1", "63MiB", "67108863", "64MB"])
def test_too_little_is_told_as_that(text: str) -> None:
    with pytest.raises(SettingError, match=rf"^memory wants at least 64MiB, found '{text}'$"):
        parse_memory(text)
