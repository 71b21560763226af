"""A picture of how the names of two or three sources overlap."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from csci_utils.deps.errors import PictureError
from csci_utils.deps.options import Request, with_request
from csci_utils.deps.table import CONDA, DEFAULT, DEVELOP, PIP, Column, read_columns
from csci_utils.deps.text import columns

SUFFIXES = (".png", ".svg")

_SPOKEN = {PIP: "main interpreter"}
_ALSO = {"main": PIP, "default": DEFAULT, "develop": DEVELOP}
_FIRST = (PIP, DEFAULT, DEVELOP, CONDA)


def regions_of(sets: Sequence[Column]) -> dict[frozenset[int], list[str]]:
    """Give the names by the sets that have them and no others, `frozenset({0, 2})`; each in order, none empty."""
    found: dict[frozenset[int], list[str]] = {}
    for name in sorted({name for each in sets for name in each.cells}):
        found.setdefault(frozenset(number for number, each in enumerate(sets) if name in each.cells), []).append(name)
    return found


def choose(found: Sequence[Column], wanted: Sequence[str]) -> list[Column]:
    """Choose two or three columns by their names; with none wanted, the first that there are.

    Raises:
        PictureError: there is none of that name, or too few or too many.
    """
    there = {each.name: each for each in found}
    if not wanted:
        chosen = [there[name] for name in _FIRST if there[name].source is not None][:3]
    else:
        names = list(dict.fromkeys(name if name in there else _ALSO.get(name, name) for name in wanted))
        unknown = [name for name in names if name not in there or there[name].source is None]
        if unknown:
            known = ", ".join(repr(each.name) for each in found if each.source is not None)
            raise PictureError(f"wanted some of the sets {known}, found {unknown[0]!r}; name one of those with --set")
        chosen = [there[name] for name in names]
    if len(chosen) not in (2, 3):
        raise PictureError(
            f"wanted two or three sets, found {len(chosen)}; name them with --set, or more with --python"
        )
    return chosen


def write_picture(file: Path, sets: Sequence[Column], *, title: str) -> None:
    """Draw how sets overlap, and write the picture whole or not at all.

    Args:
        file: where it goes; `.svg` is text, `.png` pixels. Its folder must be there.
        sets: two or three.
        title: above the picture.

    Raises:
        PictureError: the name has another suffix, or the picture cannot be written there.
    """
    check_place(file)
    from csci_utils.io import atomic_path

    content = picture_of(sets, title=title, as_svg=file.suffix.lower() == ".svg")
    try:
        with atomic_path(file) as scratch:
            scratch.write_bytes(content)
    except OSError as err:
        raise PictureError(f"{file}: wanted to write the picture, found {err.strerror or err}; mend that") from err


def check_place(file: Path) -> None:
    """Look whether a picture can go to a place, before the long work begins.

    Raises:
        PictureError: as `write_picture`.
    """
    if file.suffix.lower() not in SUFFIXES:
        raise PictureError(f"{file}: wanted a name that ends in .png or .svg, found {file.suffix!r}; give another name")
    if not file.parent.is_dir():
        raise PictureError(f"{file}: wanted a folder {file.parent}, found none; make it or name another one")
    if file.is_dir():
        raise PictureError(f"{file}: wanted to write a file, found a folder of that name; give another name")


def picture_of(sets: Sequence[Column], *, title: str, as_svg: bool) -> bytes:
    """Draw how two or three sets overlap; the content of an SVG, or of a PNG."""
    from csci_utils.deps.discs import arrange
    from csci_utils.deps.venn_composing import compose
    from csci_utils.deps.venn_drawing import image_of, svg_of

    counts = {region: len(names) for region, names in regions_of(sets).items()}
    spoken = [_SPOKEN.get(each.name, each.name) for each in sets]
    scene = compose(spoken, counts, arrange(counts, len(sets)), title=title)
    if as_svg:
        return svg_of(scene).encode("utf-8")
    buffer = io.BytesIO()
    image_of(scene).save(buffer, "png", optimize=True)
    return buffer.getvalue()


@click.command()
@with_request
@click.option("--out", metavar="FILE", required=True, help="The picture's name; it ends in .png or .svg.")
@click.option(
    "--set",
    "wanted",
    metavar="NAME",
    multiple=True,
    help="A column of `table`: conda, pip, 'pipenv default', 'pipenv develop' (or default, develop), or what --python "
    "names; two or three.  [default: pip and both of pipenv; conda where there is no Pipfile]",
)
def command(request: Request, *, out: str, wanted: Sequence[str]) -> int:
    """Draw how the names of two or three sources overlap.

    The sources are the columns of `table`; its --help says what each is. Areas are in proportion to the numbers of
    names: exactly for two sets, as near as circles can come for three.
    """
    file = Path(os.path.abspath(out))
    check_place(file)
    project, found = read_columns(request)
    sets = choose(found, wanted)
    write_picture(file, sets, title=title_of(project.folder))
    regions = regions_of(sets)
    request.answer(_data(file, sets, regions), _lines(file, sets, regions))
    return 0


def title_of(folder: Path) -> str:
    """Give the words above the picture of a project."""
    return f"{folder.name}: which distributions are where"


def _data(file: Path, sets: Sequence[Column], regions: Mapping[frozenset[int], Sequence[str]]) -> dict[str, object]:
    from csci_utils.deps.venn_composing import sorted_regions

    return {
        "file": file,
        "sets": [{"name": each.name, "source": each.source, "num_names": len(each.cells)} for each in sets],
        "regions": [
            {"sets": [sets[each].name for each in sorted(region)], "names": names}
            for region, names in sorted_regions(regions)
        ],
    }


def _lines(file: Path, sets: Sequence[Column], regions: Mapping[frozenset[int], Sequence[str]]) -> list[str]:
    from csci_utils.deps.venn_composing import sorted_regions, spoken

    called = [each.name for each in sets]
    rows = [(str(len(names)), spoken(region, called)) for region, names in sorted_regions(regions)]
    return [*columns(rows), str(file)]
