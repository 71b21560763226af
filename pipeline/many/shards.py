"""Shards: so many pictures as one unit of work styles with one model, the same ones whoever cuts them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from csci_utils.s3 import S3Uri
from neural_style.contract import ALGORITHM_VERSION, DEFAULT_MAX_PIXELS, LOSSY_SUFFIXES, result_suffix
from pipeline.folders import IMAGES, SAVED_MODELS, STYLIZED
from pipeline.results import Parameters, result_name, results_folder

SHARDS = ".shards"
"""The folder of manifests below a model's results; no listing takes what lies there for a result."""

FEWEST, MOST = 64, 512
"""Pictures in a shard; what is left at the end of a job may be fewer."""

_ENDS_ONE_IN = 128
_MANIFEST_SUFFIX = ".jsonl"


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Pictures that are styled together with one model: plain data, the same on every host.

    Attributes:
        s3_root: ``s3://bucket/prefix`` that all lies under.
        model: File name below ``saved_models/``.
        images: Names below ``images/``, sorted.
        max_side: Longest edge in pixels to shrink pictures to, or None.
        quality: Of JPEG and WebP results, 1 to 100.
        precision: One of `neural_style.contract.PRECISIONS`.
        max_pixels: A picture that declares more is refused before it is decoded; no part of the identity.
        forced: A token: make again what was not made in the run that has it; no part of the identity.
        retry_failed: Whether pictures that failed are tried again though nothing has changed; no part of it either.
    """

    s3_root: str
    model: str
    images: tuple[str, ...]
    max_side: int | None
    quality: int
    precision: str
    max_pixels: int = DEFAULT_MAX_PIXELS
    forced: str = ""
    retry_failed: bool = False

    @cached_property
    def identity(self) -> str:
        """The sha256 over names, model and parameters, hexadecimal."""
        parts = {
            "images": self.images,
            "model": self.model,
            "max_side": self.max_side,
            "quality": self.quality,
            "precision": self.precision,
            "algorithm": ALGORITHM_VERSION,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def manifest_name(self) -> str:
        """Where the manifest lies below ``stylized/``."""
        return f"{results_folder(self.model)}/{SHARDS}/{self.identity}{_MANIFEST_SUFFIX}"

    @property
    def manifest_uri(self) -> S3Uri:
        """Where the manifest lies in S3."""
        return self._uri(STYLIZED, self.manifest_name)

    @property
    def model_uri(self) -> S3Uri:
        """Where the model lies."""
        return self._uri(SAVED_MODELS, self.model)

    def image_uri(self, image: str) -> S3Uri:
        """Where a picture lies."""
        return self._uri(IMAGES, image)

    def result_name(self, image: str) -> str:
        """Where a picture's result lies below ``stylized/``."""
        return self._result_names[image]

    def result_uri(self, image: str) -> S3Uri:
        """Where a picture's result lies in S3."""
        return self._result_uris[image]

    @cached_property
    def _result_names(self) -> dict[str, str]:
        """Of each picture, put together once: paths take longer than all else that a finished job is asked."""
        return {
            image: result_name(image, self.model, max_side=self.max_side, suffix=result_suffix(image))
            for image in self.images
        }

    @cached_property
    def _result_uris(self) -> dict[str, S3Uri]:
        return {image: self._uri(STYLIZED, name) for image, name in self._result_names.items()}

    def parameters(self, image: str) -> Parameters:
        """What changes a result's pixels, besides picture and model."""
        is_lossy = result_suffix(image).lower() in LOSSY_SUFFIXES
        return Parameters(
            max_side=self.max_side,
            quality=self.quality if is_lossy else None,
            precision=self.precision,
            algorithm=ALGORITHM_VERSION,
        )

    def __getstate__(self) -> dict[str, Any]:
        """What goes to other processes: not the names and addresses that were put together of it."""
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def to_dict(self) -> dict[str, Any]:
        """The same as plain data, ready for JSON."""
        return asdict(self)

    def _uri(self, folder: str, name: str) -> S3Uri:
        return self._root.joined(f"{folder}/{name}")

    @cached_property
    def _root(self) -> S3Uri:
        return S3Uri.parse(self.s3_root)


def style_of_manifest(name: str) -> str | None:
    """The folder of results that a manifest is of, by its name below ``stylized/``; None of what is no manifest."""
    style, shards, file_name = name.partition(f"/{SHARDS}/")
    return style if shards and file_name.endswith(_MANIFEST_SUFFIX) else None


def cut(images: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Cut sorted names into shards where the names themselves say so, within `FEWEST` and `MOST`.

    A picture that comes or goes changes the shard that it lies in and sometimes the next ones, until both
    ways of cutting meet again; the others, and their manifests, stay as they are.
    """
    shard: list[str] = []
    for image in images:
        shard.append(image)
        if len(shard) == MOST or (len(shard) >= FEWEST and _ends_a_shard(image)):
            yield tuple(shard)
            shard = []
    if shard:
        yield tuple(shard)


def _ends_a_shard(image: str) -> bool:
    digest = hashlib.sha256(image.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") % _ENDS_ONE_IN == 0
