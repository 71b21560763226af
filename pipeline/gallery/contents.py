"""All that a page shows, put together: results, their pictures as they were and as they are, and small ones of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.gallery.entries import Entry, Failure, Found, PictureFile
from pipeline.gallery.originals import image_sha256, originals_of
from pipeline.gallery.thumbnails import Thumb, Thumbs

PICTURE_CHANGED = "the picture has changed since this was made"
REPLACED = "it was replaced while this page was made; write the page again"
NO_PICTURE = "the picture that this was made from is not to be had"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What is to be seen.

    Attributes:
        entries: Results whose small pictures are there.
        failures: What is not to be seen, and why.
        originals: The pictures as they are now, by name.
        thumbs: The small pictures, by digest.
        fetched: Of pictures that have changed in S3 the digests that came, by those that were asked for.
    """

    entries: list[Entry]
    failures: list[Failure]
    originals: Mapping[str, PictureFile]
    thumbs: Mapping[str, Thumb]
    fetched: Mapping[str, str]

    def now(self, image: str) -> Thumb | None:
        """The small ones of a picture as it is now."""
        original = self.originals.get(image)
        return None if original is None else self.thumbs.get(self.fetched.get(original.sha256, original.sha256))

    def before(self, entry: Entry) -> tuple[Thumb | None, str | None]:
        """The picture to compare a result with, and what has to be said of it."""
        wanted, now = image_sha256(entry), self.now(entry.image)
        then = self.thumbs.get(wanted or "")
        if then is not None:
            return then, PICTURE_CHANGED if now is not None and now != then else None
        if now is not None:
            return now, PICTURE_CHANGED if wanted else None
        return None, NO_PICTURE

    def used_thumbs(self) -> set[Thumb]:
        """The small pictures that the page names."""
        results = {self.thumbs[entry.result.sha256] for entry in self.entries}
        pictures = {self.before(entry)[0] for entry in self.entries} | {self.now(entry.image) for entry in self.entries}
        return results | {thumb for thumb in pictures if thumb is not None}


def gather(found: Found, thumbs: Thumbs, *, on_made: Callable[[int, int], None]) -> Contents:
    """Make the small pictures that are not there yet, and put together what can be shown.

    Args:
        found: Results and failures.
        thumbs: Where small pictures lie, and go.
        on_made: Called with how many there are, and how many of them are done.

    Raises:
        S3Error: the store refused or did not answer.
        OSError: a picture cannot be read, or a small one not be written.
    """
    originals = originals_of(found.entries)
    files = [*originals.now.values(), *originals.former, *(entry.result for entry in found.entries)]
    pictures = {file.sha256: file for file in files}
    made: dict[str, Thumb] = {}
    reasons: dict[str, str] = {}
    for file, thumb in thumbs.make(list(pictures.values())):
        if isinstance(thumb, str):
            reasons[file.sha256] = thumb
        else:
            made[file.sha256] = thumb
        on_made(len(pictures), len(made) + len(reasons))
    fetched = {wanted: thumb.sha256 for wanted, thumb in made.items() if thumb.sha256 != wanted}
    reasons |= dict.fromkeys(
        (entry.result.sha256 for entry in found.entries if entry.result.sha256 in fetched), REPLACED
    )
    return Contents(
        entries=[entry for entry in found.entries if entry.result.sha256 not in reasons],
        failures=[*found.failures, *_failures(found, originals.now, reasons)],
        originals=originals.now,
        thumbs=_by_own_digest(made) | _of_earlier_runs(found, thumbs),
        fetched=fetched,
    )


def _failures(found: Found, originals: Mapping[str, PictureFile], reasons: Mapping[str, str]) -> list[Failure]:
    of_pictures = [
        Failure(image=image, style="", reason=f"the picture itself cannot be shown: {reasons[file.sha256]}")
        for image, file in originals.items()
        if file.sha256 in reasons
    ]
    of_results = [
        Failure(image=entry.image, style=entry.style, reason=reasons[entry.result.sha256])
        for entry in found.entries
        if entry.result.sha256 in reasons
    ]
    return of_pictures + of_results


def _by_own_digest(made: Mapping[str, Thumb]) -> dict[str, Thumb]:
    return {thumb.sha256: thumb for thumb in made.values()}


def _of_earlier_runs(found: Found, thumbs: Thumbs) -> dict[str, Thumb]:
    """Small ones of pictures as they were when they were styled; they stay as long as a result needs them."""
    wanted = {image_sha256(entry) for entry in found.entries}
    known = {sha256: thumbs.find(sha256) for sha256 in wanted if sha256 is not None}
    return {sha256: thumb for sha256, thumb in known.items() if thumb is not None}
