"""The page and its small pictures go to S3: these first, then the page; then what it needs no more is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from csci_utils.copies import push
from csci_utils.io import scratch_folder
from csci_utils.luigi.listing import look_many
from csci_utils.s3 import ObjectInfo, S3Uri, delete, each, list_objects, put_many
from pipeline import settings
from pipeline.folders import GALLERY, IMAGES, STYLIZED
from pipeline.gallery.contents import Contents
from pipeline.gallery.entries import PictureFile
from pipeline.gallery.page import page_of
from pipeline.gallery.table import Place, table_of
from pipeline.gallery.thumbnails import THUMB_NAME, THUMBS


def publish_page(page: Path, contents: Contents, *, tell: Callable[[str], None]) -> None:
    """Put a page of the same contents below ``gallery/`` of the S3 root, with links to what lies in S3.

    Args:
        page: The one that was written here; its small pictures lie beside it.
        contents: What it shows.
        tell: Called with each line for people.

    Raises:
        S3Error: the store refused or did not answer; the older page, if there is one, has all its pictures.
    """
    root = S3Uri.parse(settings.current().required_s3_root())
    thumbs, uri = root.joined(f"{GALLERY}/{THUMBS}"), root.joined(f"{GALLERY}/{page.name}")
    names = {name for thumb in contents.used_thumbs() for name in thumb.names.values()}
    held = {info.uri.key.rpartition("/")[2] for info in list_objects(S3Uri(thumbs.bucket, f"{thumbs.key}/"))}
    lacking = sorted(names - held)
    for outcome in put_many((thumbs.joined(name), page.parent / THUMBS / name) for name in lacking):
        outcome.result()
    with scratch_folder(page.parent) as scratch:
        path = scratch / page.name
        path.write_text(page_of(table_of(contents, _place(contents, root), s3_root=str(root))), encoding="utf-8")
        sent = push(path, uri, replace=True)
    unused = [thumbs.joined(name) for name in sorted(held - names) if THUMB_NAME.fullmatch(name)]
    for _ in each(unused, delete):
        pass
    tell(f"published {uri}" if sent or lacking else f"up to date {uri}")


def _place(contents: Contents, root: S3Uri) -> Place:
    """Links as a static page has them, to what is there."""
    there = look_many(_uris([*contents.originals.values(), *(entry.result for entry in contents.entries)], root))

    def reaches(picture: PictureFile) -> bool:
        info = there.get(_uri(picture, root))
        return info is not None and (picture.path is None or _is_of(info, picture))

    return Place(folders={name: f"../{name}/" for name in (IMAGES, STYLIZED)}, reaches=reaches)


def _is_of(info: ObjectInfo, picture: PictureFile) -> bool:
    """Whether an object is what lies here, as far as a look tells: by its size, and by the digest where it has one."""
    return info.size_bytes == picture.size_bytes and info.sha256 in (None, picture.sha256)


def _uris(pictures: Iterable[PictureFile], root: S3Uri) -> list[S3Uri]:
    return [_uri(picture, root) for picture in pictures]


def _uri(picture: PictureFile, root: S3Uri) -> S3Uri:
    return root.joined(f"{picture.folder}/{picture.name}")
