"""What S3 holds of a shard's pictures and results, and which lines of a manifest still hold by that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from csci_utils.luigi.listing import look_many
from csci_utils.s3 import ObjectInfo, S3Uri, head, missing
from pipeline.many.manifest import OF_PICTURE, Line, Manifest
from pipeline.many.shards import Shard
from pipeline.results import reason_in_record

NEW, UNTOLD = "not styled yet", "no manifest tells of the result in S3; what holds is kept"
GONE, OTHER = "its result is not in S3 any more", "its result is not the one that was made"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a look found.

    Attributes:
        model: As S3 holds it.
        images: The pictures as S3 holds them, by name; what it does not hold is left out.
        results: The results as S3 holds them, by the picture's name.
    """

    model: ObjectInfo
    images: Mapping[str, ObjectInfo]
    results: Mapping[str, ObjectInfo]


def look_at(shard: Shard) -> Seen:
    """Look at all that belongs to a shard: two listings, and one HEAD for the model.

    Raises:
        ObjectMissingError: there is no such model.
        S3Error: the store refused or did not answer.
    """
    images = {shard.image_uri(image): image for image in shard.images}
    results = {shard.result_uri(image): image for image in shard.images}
    return Seen(
        model=look_at_model(shard.model_uri),
        images={images[uri]: info for uri, info in look_many(images, close_together=True).items()},
        results={results[uri]: info for uri, info in look_many(results, close_together=True).items()},
    )


def look_at_model(uri: S3Uri) -> ObjectInfo:
    """Look a model up.

    Raises:
        ObjectMissingError: there is none.
    """
    info = head(uri)
    if info is None:
        raise missing(uri)
    return info


def holding(manifest: Manifest | None, shard: Shard, seen: Seen, *, of_this_run: bool = False) -> dict[str, Line]:
    """The lines of a manifest that hold: nothing has to be made for their pictures.

    Args:
        manifest: Its lines.
        shard: What is wanted.
        seen: What S3 holds.
        of_this_run: Whether what failed is not to be tried again now, whatever it failed by.
    """
    lines = manifest.lines if manifest is not None else {}
    return {
        image: lines[image]
        for image in shard.images
        if image in lines
        and ((of_this_run and "error" in lines[image]) or why_not(lines[image], image, shard=shard, seen=seen) is None)
    }


def why_not(line: Line | None, image: str, *, shard: Shard, seen: Seen) -> str | None:
    """Why a picture has to be styled (again), in a few words; None when its line holds.

    A failure holds, too, where it comes of the very picture, model and parameters that are there now.
    """
    if line is None:
        return UNTOLD if image in seen.results else NEW
    if "error" in line:
        return _why_failure_does_not_hold(line, image, shard=shard, seen=seen)
    result = seen.results.get(image)
    if result is None:
        return GONE
    if line["result"]["name"] != shard.result_name(image):
        return OTHER
    if (result.etag, result.size_bytes) != (line["result"]["etag"], line["result"].get("size_bytes")):
        return OTHER
    return _why_record_does_not_hold(line, image, shard=shard, seen=seen)


def _why_failure_does_not_hold(line: Line, image: str, *, shard: Shard, seen: Seen) -> str | None:
    if line["error"]["kind"] != OF_PICTURE or shard.retry_failed or shard.forced:
        return "it failed"
    if line.get("max_pixels") != shard.max_pixels:
        return "it failed with another limit"
    made_from = line.get("made_from")
    then = made_from.get("image") if isinstance(made_from, dict) else None
    now = seen.images.get(image)
    if now is not None and isinstance(then, dict) and then.get("etag") not in (None, now.etag):
        return "it failed, and has changed"
    return None


def _why_record_does_not_hold(line: Line, image: str, *, shard: Shard, seen: Seen) -> str | None:
    inputs = {"model": seen.model} | ({"image": seen.images[image]} if image in seen.images else {})
    return reason_in_record(dict(line), inputs=inputs, parameters=shard.parameters(image), forced=shard.forced)
