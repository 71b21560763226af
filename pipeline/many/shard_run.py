"""One shard, from objects in S3 to results in S3 and the manifest that tells of them, whoever runs it and wherever.

Each picture has a thread that fetches, styles and sends it. There are more of these than pictures may be styled at
once, so that some come and go meanwhile. A shard that is run again after whatever ended it goes on where it stopped:
what a result was made from is known from its object.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from csci_utils.copies import fetch
from csci_utils.io import atomic_path, record_path, scratch_folder, scratch_path, write_record
from csci_utils.lock import locked
from csci_utils.s3 import (
    FAULTS_OF_ONE_OBJECT,
    FetchedObject,
    check_stopped,
    each,
    get,
    put,
)
from neural_style.errors import DeviceMemoryError, EngineError, OutputError, PictureError
from pipeline import settings
from pipeline.errors import BadNameError
from pipeline.folders import SAVED_MODELS, STYLIZED
from pipeline.loaded import loaded_stylizer
from pipeline.many.looking import Seen, holding, look_at, why_not
from pipeline.many.manifest import (
    OF_PICTURE,
    PASSING,
    Line,
    Manifest,
    failed_line,
    made_line,
    read_manifest,
    write_manifest,
)
from pipeline.many.shards import Shard
from pipeline.many.tally import Tally, TooManyFailuresError
from pipeline.names import check_key, check_name
from pipeline.published import published_record
from pipeline.result_metadata import to_metadata
from pipeline.results import Source, make_record, sha256_in

if TYPE_CHECKING:
    from neural_style.stylize import Stylizer

MOVED_AT_ONCE = 6
"""Pictures that come or go while others are styled."""

AT_ONCE_ON_DEVICE = 4
"""Pictures at once where a device styles them: the others are decoded and encoded meanwhile."""

_FAULTS_OF_PICTURE = (PictureError, BadNameError)
# An output error that the system has no number for is of one result: it cannot be encoded, or not be read back.
_PASSING_FAULTS = (*FAULTS_OF_ONE_OBJECT, EngineError, DeviceMemoryError, MemoryError, OutputError)

logger = logging.getLogger(__name__)

OnLine = Callable[[int, int], None]
"""Called with how many of a shard's pictures are done with, and how many of them failed."""


def run_shard(
    shard: Shard, *, tally: Tally, here: bool = False, workers: int = 1, on_line: OnLine | None = None
) -> Manifest:
    """Style what has to be styled of a shard, and write its manifest last.

    A picture that fails gets a line with its reason. What is wrong with the store, the disk, the model or the device
    ends the shard; the results that are in S3 by then stay, and the next run finds them.

    Args:
        shard: What is wanted.
        tally: Counts what becomes of the pictures that no manifest told of, and says when too many have failed.
        here: Whether the results are to lie on this host, too, each with its record.
        workers: Processes that share this host's processors.
        on_line: Told of progress.

    Raises:
        TooManyFailuresError: the manifest tells of what was done until then.
        ObjectMissingError: there is no such model.
        S3Error, NeuralStyleError, OSError: nothing can be styled, or sent.
    """
    here_path = Path(settings.current().local_root, STYLIZED, shard.manifest_name)
    with locked(here_path):
        return _ShardRun(shard, tally=tally, here=here, workers=workers, on_line=on_line).run()


class _ShardRun:
    """One run of one shard; its stages are called by several threads."""

    def __init__(self, shard: Shard, *, tally: Tally, here: bool, workers: int, on_line: OnLine | None) -> None:
        self._shard, self._tally, self._here, self._workers = shard, tally, here, workers
        self._on_line = on_line or (lambda _done, _failed: None)
        self._lines: dict[str, Line] = {}
        self._num_failed = 0

    def run(self) -> Manifest:
        """See `run_shard`."""
        if self._tally.is_exhausted():
            raise _too_many_failures()
        seen = look_at(self._shard)
        known = holding(read_manifest(self._shard.manifest_uri), self._shard, seen)
        self._lines.update(known)
        self._num_failed = sum("error" in line for line in known.values())
        self._recover(seen)
        todo = [image for image in self._shard.images if image not in self._lines]
        if todo:
            logger.info("%s: styling %d of %d pictures", self._shard.identity[:12], len(todo), len(self._shard.images))
            self._style_all(todo)
        manifest = Manifest(lines=self._lines)
        if len(known) < len(self._shard.images):
            write_manifest(self._shard.manifest_uri, manifest)
        if len(self._lines) < len(self._shard.images):
            raise _too_many_failures()
        return manifest

    def _recover(self, seen: Seen) -> None:
        """Take over results that no manifest tells of, and that say themselves that they are what is wanted."""
        unknown = [image for image in self._shard.images if image not in self._lines and image in seen.results]
        for image, line in zip(unknown, each(unknown, lambda image: self._recovered(image, seen)), strict=True):
            if line is not None:
                self._add(image, line)

    def _recovered(self, image: str, seen: Seen) -> Line | None:
        shard = self._shard
        uris = {"image": shard.image_uri(image), "model": shard.model_uri}
        found = published_record(shard.result_uri(image), uris=uris)
        if found is None or found.record is None or image not in seen.images:
            return None
        if sha256_in(found.record) != found.info.sha256:  # a record beside it may be of an older result
            return None
        line = made_line(image, found.record, name=shard.result_name(image), etag=found.info.etag, seconds=0.0)
        seen = replace(seen, results={image: found.info})
        return line if why_not(line, image, shard=shard, seen=seen) is None else None

    def _style_all(self, todo: list[str]) -> None:
        with scratch_folder(settings.current().local_root) as self._folder:
            self._own = threading.local()
            self._stylizer, self._model = self._load()
            at_once = self._at_once()
            self._styling = threading.BoundedSemaphore(at_once)
            lines = each(todo, self._style_one, num_threads=min(at_once + MOVED_AT_ONCE, len(todo)))
            with closing(lines):
                for image, line in lines:
                    self._add(image, line)
                    if self._tally.is_exhausted():
                        return

    def _load(self) -> tuple[Stylizer, Source]:
        now, shard = settings.current(), self._shard
        path = Path(now.local_root, SAVED_MODELS, shard.model)
        copy = fetch(shard.model_uri, path, on_bytes=lambda num: self._tally.add(num_bytes=num))
        stylizer = loaded_stylizer(
            str(path),
            copy.sha256,
            device=now.device,
            engine=now.engine,
            precision=shard.precision,
            memory_bytes=now.memory_bytes,
            cache=now.model_cache,
            threads=1,
        )
        return stylizer, Source.of_copy(copy)

    def _at_once(self) -> int:
        if self._stylizer.device != "cpu":
            return AT_ONCE_ON_DEVICE
        from neural_style.engines.processor import num_cores

        return max(1, num_cores() // self._workers)

    def _style_one(self, image: str) -> tuple[str, Line]:
        """Fetch, style and send a picture; return its line."""
        path = self._scratch("")
        styled = self._scratch(PurePosixPath(self._shard.result_name(image)).suffix)
        got: FetchedObject | None = None
        try:
            check_name(image, "picture")
            check_key(self._shard.result_uri(image))
            got = get(self._shard.image_uri(image), path, on_bytes=lambda num: self._tally.add(num_bytes=num))
            record, seconds = self._style(image, path, styled, got=got)
        except _FAULTS_OF_PICTURE as err:
            return image, self._failed(image, err, path=path, styled=styled, got=got, kind=OF_PICTURE)
        except _PASSING_FAULTS as err:
            return image, self._failed(image, err, path=path, styled=styled, got=got, kind=PASSING)
        return image, self._send(image, styled, record=record, seconds=seconds)

    def _scratch(self, suffix: str) -> Path:
        """Return the file of this thread with a suffix; to write over one takes less time than to make one."""
        files: dict[str, Path] = self._own.__dict__
        if suffix not in files:
            files[suffix] = scratch_path(self._folder / f"picture{suffix}")
        return files[suffix]

    def _style(self, image: str, path: Path, styled: Path, *, got: FetchedObject) -> tuple[dict[str, Any], float]:
        """Style a file into another, and return the record of it and the seconds that it took."""
        with self._styling, _said_of_disk(styled):
            check_stopped()
            begun = time.perf_counter()
            made = self._stylizer.style_file(
                path,
                styled,
                max_side=self._shard.max_side,
                max_pixels=self._shard.max_pixels,
                quality=self._shard.quality,
                durable=False,
            )
            seconds = time.perf_counter() - begun
        record = make_record(
            styled,
            inputs={"image": Source.of_object(got), "model": self._model},
            parameters=self._shard.parameters(image),
            made_by=made.made_by,
            forced=self._shard.forced,
        )
        return record, seconds

    def _send(self, image: str, styled: Path, *, record: dict[str, Any], seconds: float) -> Line:
        """Put a result into S3, and keep it here where that is wanted."""
        uri, name = self._shard.result_uri(image), self._shard.result_name(image)
        info = put(styled, uri, extra={"Metadata": to_metadata(record)})
        if self._here:
            with suppress(FileExistsError, NotADirectoryError, IsADirectoryError):  # told when all is done
                self._keep(styled, name, record=record)
        return made_line(image, record, name=name, etag=info.etag, seconds=seconds)

    def _keep(self, styled: Path, name: str, *, record: dict[str, Any]) -> None:
        """Move a result to where `Stylize` would have put it."""
        path = Path(settings.current().local_root, STYLIZED, name)
        with locked(path):
            record_path(path).unlink(missing_ok=True)  # of an older result: never one beside what it does not describe
            with atomic_path(path) as scratch:
                os.replace(styled, scratch)
            write_record(path, record)

    def _failed(
        self, image: str, err: BaseException, *, path: Path, styled: Path, got: FetchedObject | None, kind: str
    ) -> Line:
        """Say what was wrong, and where picture and result lie in S3, not here."""
        uri, result_uri = self._shard.image_uri(image), self._shard.result_uri(image)
        sentence = str(err).replace(str(path), str(uri)).replace(str(styled), str(result_uri))
        sentence = sentence or f"{uri}: not enough memory"
        logger.info("%s", sentence)  # and told at the end of the run
        etag = got.info.etag if got is not None else None
        return failed_line(
            image,
            kind=kind,
            sentence=sentence,
            made_from={"image": {"uri": str(uri), "etag": etag}, "model": {"uri": str(self._shard.model_uri)}},
            parameters=asdict(self._shard.parameters(image)),
            max_pixels=self._shard.max_pixels,
        )

    def _add(self, image: str, line: Line) -> None:
        failures = int("error" in line)
        self._lines[image] = line
        self._num_failed += failures
        self._tally.add(pictures=1, failures=failures)
        self._on_line(len(self._lines), self._num_failed)


def _too_many_failures() -> TooManyFailuresError:
    return TooManyFailuresError(
        "more pictures failed than may; see why, and mend them or allow more with --max-failures"
    )


@contextmanager
def _said_of_disk(path: Path) -> Iterator[None]:
    """Let a full disk be told as the system told it: `path` is scratch, which nobody knows."""
    try:
        yield
    except OutputError as err:
        if err.errno is None:
            raise
        raise OSError(err.errno, os.strerror(err.errno), str(path)) from err
