"""Results of `python -m pipeline many`, which lie in S3 and, as a rule, nowhere else: its manifests tell of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from csci_utils.s3 import ObjectInfo, S3Uri, each, list_objects
from pipeline import settings
from pipeline.folders import IMAGES, SAVED_MODELS, STYLIZED
from pipeline.gallery.entries import NOT_AS_MADE, Entry, Failure, Found, PictureFile, names_of
from pipeline.gallery.present import address_below, held_at
from pipeline.many.manifest import Line, read_manifest
from pipeline.many.shards import style_of_manifest
from pipeline.results import Source, sources_in

OUTDATED_HERE = "the result that lies here is out of date"
ANOTHER_HERE = "another file of this name lies here"
ANOTHER_IN_S3 = "S3 holds another result of this name"


def published_entries() -> Found:
    """The results that manifests name and S3 still holds, and the pictures that failed and are as they were.

    Raises:
        S3Error: the store refused or did not answer.
    """
    root = S3Uri.parse(settings.current().required_s3_root())
    stylized = _listed(root, STYLIZED)
    styles = {info.uri: style for name, info in stylized.items() if (style := style_of_manifest(name)) is not None}
    if not styles:
        return Found()
    lines = _lines(styles)
    found = [_entry(line, stylized) for _, line in lines if "result" in line]
    entries = {entry.result.name: entry for entry in found if entry is not None}
    return Found(entries=list(entries.values()), failures=_failures(lines, entries.values(), root))


def merged(here: Found, there: Found) -> Found:
    """Both together. Of two results of one name the one that lies here is shown, unless S3's alone is up to date.

    Raises:
        S3Error: the store refused or did not answer.
    """
    others = {entry.result.name: entry for entry in there.entries}
    differing = [
        (entry, other)
        for entry in here.entries
        if (other := others.pop(entry.result.name, None)) is not None and other.result.sha256 != entry.result.sha256
    ]
    held = held_at(uri for both in differing for entry in both for uri, _ in _sources(entry))
    chosen = {entry.result.name: _of_two(entry, other, held) for entry, other in differing}
    return Found(
        entries=[chosen.get(entry.result.name, entry) for entry in here.entries] + list(others.values()),
        failures=here.failures + there.failures,
    )


def _of_two(here: Entry, there: Entry, held: Mapping[S3Uri, ObjectInfo]) -> Entry:
    is_as_made = NOT_AS_MADE not in here.notes
    if _is_current(there, held) and not (is_as_made and _is_current(here, held)):
        note = OUTDATED_HERE if is_as_made and _sources(here) else ANOTHER_HERE
        return replace(there, notes=(*there.notes, note))
    return replace(here, notes=(*here.notes, ANOTHER_IN_S3))


def _is_current(entry: Entry, held: Mapping[S3Uri, ObjectInfo]) -> bool:
    """Whether S3 still holds what a result was made from."""
    sources = _sources(entry)
    return bool(sources) and all(uri in held and held[uri].etag == source.etag for uri, source in sources)


def _sources(entry: Entry) -> list[tuple[S3Uri, Source]]:
    """What a result was made from, and where that lies; nothing if any of it lies where nothing is fetched from."""
    sources, known = sources_in(entry.record), []
    for role, folder in (("image", IMAGES), ("model", SAVED_MODELS)):
        uri = address_below(sources[role], folder) if role in sources else None
        if uri is None:
            return []
        known.append((uri, sources[role]))
    return known


def _listed(root: S3Uri, folder: str) -> dict[str, ObjectInfo]:
    """What lies below a folder of the S3 root, by name."""
    prefix = S3Uri(root.bucket, f"{root.joined(folder).key}/")
    return {info.uri.key.removeprefix(prefix.key): info for info in list_objects(prefix)}


def _lines(styles: Mapping[S3Uri, str]) -> list[tuple[str, Line]]:
    """The lines of manifests, each with the style that its manifest is of."""
    manifests = zip(styles.values(), each(list(styles), read_manifest), strict=True)
    return [(style, line) for style, found in manifests if found is not None for line in found.lines.values()]


def _entry(line: Line, stylized: Mapping[str, ObjectInfo]) -> Entry | None:
    """The result of a line; None where S3 holds another one by now, or none."""
    result = line["result"]
    info = stylized.get(result["name"])
    if info is None or info.etag != result["etag"]:
        return None
    image, style = names_of(result["name"], line)
    return Entry(
        result=PictureFile(
            folder=STYLIZED, name=result["name"], sha256=result["sha256"], size_bytes=info.size_bytes, uri=info.uri
        ),
        image=image,
        style=style,
        record=line,
        seconds=_seconds_of(line),
    )


def _seconds_of(line: Line) -> float | None:
    seconds = line.get("seconds")
    try:
        return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else None
    except OverflowError:
        return None


def _failures(lines: Sequence[tuple[str, Line]], made: Iterable[Entry], root: S3Uri) -> list[Failure]:
    """The pictures that failed, are as they were, and were not styled by a later run.

    Of one that could not even be fetched nobody knows how it was: it is styled if there is a result of what is there.
    """
    failed = [(style, line) for style, line in lines if "error" in line]
    pictures = _listed(root, IMAGES) if failed else {}
    styled = {(entry.style, entry.image, _etag_of_image(entry.record)) for entry in made}
    reasons = {
        (line["image"], style): line["error"]["sentence"]
        for style, line in failed
        if _still_fails(line, pictures) and (style, line["image"], pictures[line["image"]].etag) not in styled
    }
    return [
        Failure(image=image, style=style, reason=reason.removeprefix(f"{root.joined(IMAGES)}/{image}: "))
        for (image, style), reason in reasons.items()
    ]


def _etag_of_image(record: Mapping[str, Any]) -> str | None:
    image = sources_in(record).get("image")
    if image is not None:
        return image.etag
    made_from = record.get("made_from")
    found = made_from.get("image") if isinstance(made_from, dict) else None
    etag = found.get("etag") if isinstance(found, dict) else None
    return etag if isinstance(etag, str) else None


def _still_fails(line: Line, pictures: Mapping[str, ObjectInfo]) -> bool:
    """Whether the picture that failed is there, and the same; of one whose etag nobody knew, whether it is there."""
    info, etag = pictures.get(line["image"]), _etag_of_image(line)
    return info is not None and etag in (None, info.etag)
