"""Pictures of sets: every number where it belongs, nothing written over anything, files whole or not at all."""

from __future__ import annotations

import errno
import functools
import itertools
import json
import math
import re
import xml.etree.ElementTree as ET

import pytest
from PIL import Image

from csci_utils import io as csci_io
from csci_utils.deps import venn
from csci_utils.deps.cli import exit_status
from csci_utils.deps.discs import Disc, arrange
from csci_utils.deps.errors import PictureError
from csci_utils.deps.table import Column
from csci_utils.deps.venn_composing import COLOURS, Outside, compose, crosses, spoken
from csci_utils.deps.venn_drawing import Box, image_of, short, svg_of
from tests.csci_utils.deps.making import PROJECTS, make_conda, make_dist

R = frozenset
NAMES = ["main interpreter", "pipenv default", "pipenv develop"]
LONG = ["/home/somebody/a/very/long/path/to/an/environment/which/never/ends", "conda", "x & <y>"]
CASES = {
    "two": (NAMES[:2], {R({0}): 90, R({1}): 50, R({0, 1}): 10}),
    "two-equal": (NAMES[:2], {R({0, 1}): 40}),
    "two-nested": (NAMES[:2], {R({0}): 100, R({0, 1}): 20}),
    "two-disjoint": (NAMES[:2], {R({0}): 100, R({1}): 20}),
    "one-of-thousands": (NAMES[:2], {R({0}): 9999, R({1}): 1}),
    "three": (NAMES, {R({0}): 62, R({1}): 70, R({2}): 22, R({0, 1}): 36, R({0, 2}): 3, R({1, 2}): 3, R({0, 1, 2}): 2}),
    "three-equal": (NAMES, {R({0, 1, 2}): 1234}),
    "three-disjoint": (NAMES, {R({0}): 10, R({1}): 9, R({2}): 8}),
    "three-nested": (NAMES, {R({0}): 100, R({0, 1}): 20, R({0, 1, 2}): 5}),
    "two-within-one": (NAMES, {R({0}): 10, R({0, 1}): 10, R({0, 2}): 10}),
    "two-within-none-over": (NAMES, {R({0, 1}): 10, R({0, 2}): 10}),
    "only-pairs": (NAMES, {R({0, 1}): 10, R({0, 2}): 10, R({1, 2}): 10}),
    "one-empty": (NAMES, {R({0}): 10, R({0, 1}): 10, R({1}): 3}),
    "two-empty": (NAMES, {R({1}): 3}),
    "all-empty": (NAMES, {}),
    "ones": (NAMES, dict.fromkeys(map(R, [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}]), 1)),
    "four-digits": (LONG, {R({0}): 5000, R({1}): 4000, R({2}): 30, R({0, 1}): 1200, R({0, 2}): 10, R({0, 1, 2}): 4}),
    "dots": (LONG, {R({0}): 9000, R({0, 1}): 1, R({0, 2}): 1, R({2}): 1}),
}


@functools.cache
def scene_of(case):
    """A scene, the names of its sets as it shows them, and what each region holds."""
    names, regions = CASES[case]
    scene = compose(names, regions, arrange(regions, len(names)), title="a title")
    return scene, [short(each) for each in names], regions


def region_at(scene, x, y):
    """The sets whose discs hold a point; discs are told by their colours."""
    return R(COLOURS.index(colour) for disc, colour in scene.discs if math.dist((x, y), (disc.x, disc.y)) < disc.r)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_number_is_where_it_belongs(case):
    scene, names, regions = scene_of(case)
    words = [each.words for each in scene.texts]
    for region, num in regions.items():
        inside = [each for each in scene.texts if each.words == str(num) and region_at(scene, each.x, each.y) == region]
        assert len(inside) == 1 or f"Small: {num} {spoken(region, names)}" in words
    drawn = [each for each in scene.texts if each.words.isdecimal() and region_at(scene, each.x, each.y)]
    for each in drawn:
        assert int(each.words) == regions.get(region_at(scene, each.x, each.y), 0)


@pytest.mark.parametrize("case", CASES)
def test_every_name_is_there_with_its_number(case):
    scene, names, regions = scene_of(case)
    words = [each.words for each in scene.texts]
    for number, name in enumerate(names):
        total = sum(num for region, num in regions.items() if number in region)
        if total:
            assert words[words.index(short(name)) + 1] == f"{total} in all"
        else:
            assert f"{short(name)}: empty" in words


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_written_over_anything(case):
    scene, _, _ = scene_of(case)
    for one, other in itertools.combinations(scene.texts, 2):
        apart = abs(one.x - other.x) - (one.box.width + other.box.width) / 2
        above = abs(one.y - other.y) - (one.box.height + other.box.height) / 2
        assert max(apart, above) > -1, (one, other)
    for line, text in itertools.product(scene.lines, scene.texts):
        touching = math.dist(text.box.nearest(*line.way[0]), line.way[0]) < 25
        assert touching or not crosses(line.way, text.box), (line, text)


def test_what_is_too_small_for_its_number_has_it_beside_with_a_line():
    scene, _, regions = scene_of("one-of-thousands")
    (line,) = (each for each in scene.lines if each.colour not in COLOURS)
    assert region_at(scene, *line.way[1]) == R({1})
    (text,) = (each for each in scene.texts if each.words == "1")
    assert math.dist(text.box.nearest(*line.way[0]), line.way[0]) < 1
    assert not region_at(scene, text.x, text.y)


def test_a_name_that_cannot_stand_at_its_disc_has_a_line_to_it():
    scene, _, _ = scene_of("two-nested")
    (line,) = scene.lines
    inner, colour = scene.discs[1]
    assert line.colour == colour
    assert math.dist(line.way[1], (inner.x, inner.y)) == pytest.approx(inner.r)


def test_no_line_leads_through_what_is_written():
    disc = Disc(0, 0, 4)
    outside = Outside([disc])
    outside.boxes += [Box(-80, -60, 130, 80), Box(80, -60, 130, 80), Box(0, 60, 300, 80), Box(-80, 0, 140, 30)]
    number, way = outside.place(disc, width=10, height=10, towards=0)
    assert number.x > 0 == number.y == way[0][1]
    name, way = outside.place(disc, width=100, height=20, towards=0)  # behind the number would be nearer
    assert name.y < -100
    assert not crosses(way, number)


def test_nothing_is_written_on_a_line():
    disc = Disc(0, 0, 4)
    outside = Outside([disc])
    outside.ways.append(((0, 0), (0, -300)))
    box, _ = outside.place(disc, width=30, height=20, towards=-math.pi / 2)
    assert not crosses(((0, 0), (0, -300)), box)


@pytest.mark.parametrize("case", CASES)
def test_all_of_it_lies_in_the_picture(case):
    scene, _, _ = scene_of(case)
    box = scene.box
    for each in [text.box for text in scene.texts]:
        assert abs(each.x - box.x) + each.width / 2 < box.width / 2
        assert abs(each.y - box.y) + each.height / 2 < box.height / 2
    for disc, _ in scene.discs:
        assert abs(disc.x - box.x) + disc.r < box.width / 2
        assert abs(disc.y - box.y) + disc.r < box.height / 2
    assert box.width < 1200
    assert box.height < 900


def test_discs_that_are_equal_are_both_seen():
    (first, _), (second, _) = scene_of("two-equal")[0].discs
    assert first.r - second.r > 3


@pytest.mark.parametrize("case", ["three", "dots", "all-empty", "four-digits"])
def test_an_svg_holds_all_words_and_what_they_mean(case):
    scene, names, regions = scene_of(case)
    root = ET.fromstring(svg_of(scene))
    svg = "{http://www.w3.org/2000/svg}"
    assert [each.text for each in root.iter(f"{svg}text")] == [each.words for each in scene.texts]
    circles = [float(each.get("r")) for each in root.iter(f"{svg}circle") if each.get("stroke")]
    assert circles == pytest.approx([disc.r for disc, _ in scene.discs], abs=0.06)
    (described,) = (each.text or "" for each in root.iter(f"{svg}desc"))
    assert sorted(filter(None, described.split("; "))) == sorted(f"{n} {spoken(r, names)}" for r, n in regions.items())


@pytest.mark.slow
def test_names_that_neither_xml_nor_a_font_takes_are_shown_without_that():
    names = ["a\x00b\x1b]", "c\udcff", '<&">']
    regions = {R({0}): 1, R({1}): 1, R({2}): 1}
    scene = compose(names, regions, arrange(regions, 3), title="t\x07")
    root = ET.fromstring(svg_of(scene).encode("utf-8"))
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert image_of(scene).size[0] > 100
    assert {"a b ]", "c", '<&">', "t"} <= set(words)


@pytest.mark.slow
def test_a_png_shows_what_the_scene_says():
    scene, _, _ = scene_of("two")
    image = image_of(scene)
    box = scene.box
    assert image.size == (round(2 * box.width), round(2 * box.height))

    def colour(x, y):
        return image.getpixel((round(2 * (x - box.x + box.width / 2)), round(2 * (y - box.y + box.height / 2))))

    (first, _), (second, _) = scene.discs
    assert colour(box.x - box.width / 2 + 3, box.y - box.height / 2 + 3) == (255, 255, 255)
    left, right = colour(first.x - first.r * 0.8, first.y), colour(second.x + second.r * 0.8, second.y)
    both = colour((second.x - second.r + first.x + first.r) / 2, first.y + 30)
    assert left[2] > left[0]  # bluish
    assert right[0] > right[2]  # reddish
    assert sum(both) < min(sum(left), sum(right))
    edge = colour(first.x - first.r, first.y)
    assert sum(edge) < sum(left) - 150


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["svg", "PNG"])
def test_the_command_writes_a_picture_and_says_what_is_in_it(world, capsys, suffix):
    out = world / f"picture.{suffix}"
    assert exit_status(["venn", "--out", str(out), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["file"] == str(out)
    assert [(each["name"], each["num_names"]) for each in answer["sets"]] == [
        ("pip", 1),
        ("pipenv default", 3),
        ("pipenv develop", 1),
    ]
    assert answer["regions"] == [
        {"sets": ["pip"], "names": ["six"]},
        {"sets": ["pipenv default"], "names": ["flask", "ours", "pyyaml"]},
        {"sets": ["pipenv develop"], "names": ["pytest"]},
    ]
    if suffix == "svg":
        assert "project: which distributions are where" in out.read_text()
    else:
        with Image.open(out) as image:
            image.load()
            assert image.format == "PNG"


def test_people_are_told_the_numbers_and_the_file(world, capsys):
    make_dist(world / "folder", "six")
    make_dist(world / "folder", "flask")
    call = ["venn", "--out", "x.svg", "--python", str(world / "folder"), "--set", "pip", "--set", str(world / "folder")]
    assert exit_status(call) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"1  only in {world}/folder", "1  in all", str(world / "project" / "x.svg")]
    assert "Pipfile.lock: wanted a lock, found none" in err


def columns(**cells):
    found = {"conda": None, "pip": None, "pipenv default": None, "pipenv develop": None} | cells
    return [
        Column(name=name, source=name if each is not None else None, cells=each or {}) for name, each in found.items()
    ]


def test_the_first_three_that_there_are_are_shown():
    every = {"conda": {}, "pip": {}, "pipenv default": {}, "pipenv develop": {}}
    assert [each.name for each in venn.choose(columns(**every), [])] == ["pip", "pipenv default", "pipenv develop"]
    del every["pipenv develop"]
    assert [each.name for each in venn.choose(columns(**every), [])] == ["pip", "pipenv default", "conda"]


def test_sets_are_chosen_by_name_in_their_order():
    found = columns(conda={}, pip={}, **{"pipenv default": {}, "pipenv develop": {}, "/x": {}})
    chosen = venn.choose(found, ["/x", "default", "pipenv default", "main"])
    assert [each.name for each in chosen] == ["/x", "pipenv default", "pip"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (["pip"], "wanted two or three sets, found 1"),
        (["pip", "conda", "default", "develop"], "wanted two or three sets, found 4"),
        (["pip", "nothing"], "wanted some of the sets 'conda', 'pip', .*, found 'nothing'; name one of those"),
    ],
    ids=["one", "four", "unknown"],
)
def test_sets_that_cannot_be_shown_are_refused(wanted, sentence):
    found = columns(conda={}, pip={}, **{"pipenv default": {}, "pipenv develop": {}})
    with pytest.raises(PictureError, match=sentence):
        venn.choose(found, wanted)


def test_conda_that_is_not_there_is_refused_by_name(world, capsys):
    assert exit_status(["venn", "--out", str(world / "x.svg"), "--set", "pip", "--set", "conda"]) == 2
    assert "wanted some of the sets 'pip', 'pipenv default', 'pipenv develop', found 'conda'" in capsys.readouterr().err


def test_a_folder_with_only_requirements_shows_conda_where_it_is(world, capsys, monkeypatch):
    project = ["--project", str(PROJECTS / "requirements-only")]
    assert exit_status(["venn", "--out", str(world / "x.svg"), "--json", *project]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["sets"]] == ["pip", "pipenv default"]
    monkeypatch.setenv("CONDA_PREFIX", str(make_conda(world / "tools", "six-1-0")))
    assert exit_status(["venn", "--out", str(world / "x.svg"), "--json", *project]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["sets"]] == ["pip", "pipenv default", "conda"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x.jpg", "x.jpg: wanted a name that ends in .png or .svg, found '.jpg'; give another name"),
        ("x", "wanted a name that ends in .png or .svg, found ''"),
        ("gone/x.svg", "gone/x.svg: wanted a folder .*gone, found none; make it"),
        ("folder.svg", "folder.svg: wanted to write a file, found a folder of that name"),
        ("six.txt/x.svg", "wanted a folder .*six.txt, found none"),
    ],
    ids=["suffix", "no-suffix", "folder-missing", "a-folder", "below-a-file"],
)
def test_a_file_that_cannot_be_written_is_found_out_first(world, capsys, monkeypatch, name, sentence):
    (world / "folder.svg").mkdir()
    (world / "six.txt").touch()
    monkeypatch.setattr(venn, "read_columns", lambda _request: pytest.fail("the long work began"))
    before = sorted(world.iterdir())
    assert exit_status(["venn", "--out", str(world / name)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert re.search(sentence, line), line
    assert sorted(world.iterdir()) == before


def test_no_folder_is_made_for_a_picture(tmp_path):
    with pytest.raises(PictureError, match="wanted a folder"):
        venn.write_picture(tmp_path / "gone" / "x.svg", columns(pip={"a": "1"}, conda={})[:2], title="t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["written", "synced", "moved"])
def test_a_full_disk_is_one_sentence_and_the_old_picture_stays(world, capsys, monkeypatch, where):
    (world / "out").mkdir()
    (world / "out" / "x.svg").write_bytes(b"old")

    def full(*arguments):
        if where == "written":
            with open(arguments[0], "wb") as file:
                file.write(arguments[1][:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "written":
        monkeypatch.setattr("pathlib.Path.write_bytes", full)
    else:
        monkeypatch.setattr(*((csci_io, "sync") if where == "synced" else (csci_io.os, "replace")), full)
    assert exit_status(["venn", "--out", str(world / "out" / "x.svg")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    sentence = f"{world}/out/x.svg: wanted to write the picture, found No space left on device; mend that"
    assert [line for line in err.splitlines() if "error:" in line] == [f"csci_utils.deps: error: {sentence}"]
    assert [(each.name, each.read_bytes()) for each in (world / "out").iterdir()] == [("x.svg", b"old")]


def test_without_a_file_it_is_a_usage_error(world, capsys):
    assert exit_status(["venn"]) == 2
    assert "Missing option '--out'" in capsys.readouterr().err
