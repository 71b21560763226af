"""`python -m pipeline gallery`: a page of the results, here and, when asked, in S3; whole, its pictures first."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from csci_utils.io import atomic_path
from csci_utils.lock import locked
from csci_utils.luigi.failure import ExitStatus
from pipeline import settings
from pipeline.errors import PipelineError
from pipeline.folders import GALLERY, IMAGES, STYLIZED
from pipeline.gallery.contents import Contents, gather
from pipeline.gallery.entries import Found, chosen, local_entries
from pipeline.gallery.page import is_gallery, page_of
from pipeline.gallery.table import Place, table_of
from pipeline.gallery.thumbnails import THUMBS, Thumbs

PAGE = "index.html"
_HEAD_CHARACTERS = 4096

Tell = Callable[[str], None]


class CannotWriteGalleryError(PipelineError):
    """The page has no place where it was asked for."""


def write_gallery(
    names: Sequence[str],
    *,
    folder: Path | None = None,
    publish: bool = False,
    result: Callable[[str], None],
    tell: Tell,
) -> int:
    """Write a page of the results, with small pictures beside it.

    Args:
        names: Of results or folders of results; none means all of them.
        folder: Where it goes; None for ``gallery`` below the local root.
        publish: Put it below ``gallery/`` of the S3 root, too.
        result: Called with the page's path.
        tell: Called with each line for people.

    Returns:
        0: what cannot be shown is told on the page.

    Raises:
        CannotWriteGalleryError: there is another page in its place, or nothing may be published.
        NoResultError: a name stands for nothing.
        S3Error: the store refused or did not answer.
        OSError: the folder cannot be written.
    """
    if publish and settings.current().offline:
        raise CannotWriteGalleryError("--publish puts the page into S3, and --offline asks it nothing; leave one out")
    page = (folder or settings.current().local_root / GALLERY).absolute() / PAGE
    _refuse_another(page)
    found = chosen(_found(), names)
    with locked(page):
        thumbs = Thumbs(page.parent / THUMBS)
        with _bar() as on_made:
            contents = gather(found, thumbs, on_made=on_made)
        _write(page, contents, _place_of(page))
        thumbs.remove_all_but(contents.used_thumbs())
        tell(_summary(contents))
        tell(f"look at it: {page.as_uri()}")
        if publish:
            from pipeline.gallery.publish import publish_page

            publish_page(page, contents, tell=tell)
    result(str(page))
    return ExitStatus.OK


def _found() -> Found:
    """Results and failures of every place that may be asked."""
    here = local_entries()
    if settings.current().offline:
        return here
    from pipeline.gallery.manifests import merged, published_entries

    return merged(here, published_entries())


def _write(page: Path, contents: Contents, place: Place) -> None:
    text = page_of(table_of(contents, place, s3_root=settings.current().s3_root))
    with atomic_path(page) as scratch:
        scratch.write_text(text, encoding="utf-8")


def _place_of(page: Path) -> Place:
    """Links that hold wherever the local root is moved to, if the page lies in it."""
    root = settings.current().local_root
    inside = page.is_relative_to(root)
    base = os.path.relpath(root, page.parent) if inside else root.as_uri()
    folders = {name: f"{base}/{name}/" for name in (IMAGES, STYLIZED)}
    return Place(folders=folders, reaches=lambda picture: picture.path is not None)


def _refuse_another(page: Path) -> None:
    """Raise where somebody's own page would be lost."""
    if not page.exists():
        return
    head = page.read_bytes()[:_HEAD_CHARACTERS].decode(errors="replace") if page.is_file() else ""
    if not is_gallery(head):
        raise CannotWriteGalleryError(f"{str(page)!r} is there and no gallery; name another folder with --to")


def _summary(contents: Contents) -> str:
    num_results, num_failures = len(contents.entries), len(contents.failures)
    shown = f"{num_results} result{'s' if num_results != 1 else ''} shown"
    return f"{shown}, {num_failures} failed" if num_failures else shown


@contextmanager
def _bar() -> Iterator[Callable[[int, int], None]]:
    """A bar of the small pictures on standard error, if that is a terminal."""
    from tqdm import tqdm

    from neural_style.progress_bar import terminal_size

    look: dict[str, Any] = {"leave": False, **terminal_size()}
    with tqdm(desc="small pictures", unit="picture", disable=None, **look) as bar:

        def on_made(total: int, done: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield on_made
