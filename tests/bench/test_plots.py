from __future__ import annotations

from PIL import Image

from bench import plots
from bench.plots import draw, draw_all, numbers

RESULTS = """# Results

## style

Measured.

### styling: 512 x 512

|  | s | times |
| --- | ---: | ---: |
| plain eager torch | 0.508 | 1.00 |
| ours, fast | 0.090 | 5.64 |

### styling: where the time goes

- norms 3%

## other

### nothing to draw

|  | kept |
| --- | ---: |
| a | all |
"""


def test_every_table_with_numbers_to_compare_becomes_a_picture(tmp_path):
    paths = draw_all(RESULTS, tmp_path / "plots")
    assert [path.name for path in paths] == ["styling-512-x-512.png"]
    assert list((tmp_path / "plots").iterdir()) == paths
    with Image.open(paths[0]) as image:
        assert image.width == plots._WIDTH_PX


def test_bars_are_as_long_as_their_numbers():
    image = draw({"plain": 1.0, "ours": 4.0}, title="times")
    colours = [plots._PEER_COLOUR, plots._OURS_COLOUR]
    lengths = [sum(image.getpixel((x, y)) == colour for x in range(image.width)) for colour, y in coloured(colours)]
    assert 0.24 < lengths[0] / lengths[1] < 0.26


def coloured(colours: list[str]) -> list[tuple[tuple[int, ...], int]]:
    found = [tuple(int(colour[n : n + 2], 16) for n in (1, 3, 5)) for colour in colours]
    return [(rgb, plots._EDGE_PX + number * plots._ROW_PX + 2) for number, rgb in enumerate(found, 1)]


def test_rows_without_a_number_are_left_out():
    rows = [{"": "a", "s": "1.5"}, {"": "b", "s": "same"}, {"": "c", "s": ""}]
    assert numbers(rows, "s") == {"a": 1.5}
