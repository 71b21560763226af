"""A result is made again from its record, as it was made, and compared with it; nothing that lies here is changed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.io import scratch_folder, sha256_of
from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.s3 import S3Uri, get
from neural_style.contract import ALGORITHM_VERSION, DEFAULT_MAX_PIXELS, DEFAULT_QUALITY, ENGINES, PRECISIONS
from neural_style.errors import NeuralStyleError, PictureTooLargeError
from pipeline import settings
from pipeline.errors import InputChangedError, PipelineError
from pipeline.records import Made, find_file, read_made
from pipeline.results import Source
from pipeline.status import local_copy

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]


class NotReproducedError(PipelineError):
    """What was made again is not what was made."""

    exit_status = 30


def reproduce_results(names: Sequence[str], *, result: Callable[[str], None], tell: Tell) -> int:
    """Make results again and compare them with what their records say.

    Args:
        names: Of results.
        result: Called with the path of each that came out the same, byte for byte.
        tell: Called with each line for people.

    Returns:
        0 when all came out the same; 30 when one did not, and what else went wrong by its own status.

    Raises:
        NoResultError: what was named is no result, or has no record.
    """
    wanted = [read_made(find_file(name)) for name in names]
    status = ExitStatus.OK
    for made in wanted:
        try:
            _reproduce(made)
        except (OSError, PipelineError, NeuralStyleError) as err:
            failure = describe_failure(err)
            tell(f"error: {failure.sentence}")
            status = max(status, failure.status)
        else:
            tell(f"reproduced {made.path}: sha256 {made.sha256}")
            result(str(made.path))
    return status


def _reproduce(made: Made) -> None:
    """Make a result again.

    Raises:
        NotReproducedError: it comes out otherwise, or cannot be made as it was.
        InputChangedError: what it was made from is not there any more.
    """
    _refuse_unknown(made)
    with scratch_folder(settings.current().local_root) as folder:
        inputs = {role: _obtain(source, role=role, folder=folder) for role, source in made.sources.items()}
        again = folder / f"again{made.path.suffix}"
        _style(made, inputs, again)
        sha256 = sha256_of(again)
        if sha256 != made.sha256:
            raise NotReproducedError(
                f"{made.path}: made again it differs: {_compared(made, again)}; "
                f"recorded sha256 {made.sha256}, now {sha256}"
            )


def _refuse_unknown(made: Made) -> None:
    """Refuse what this version cannot make."""
    then = made.parameters
    if then.algorithm != ALGORITHM_VERSION or then.precision not in PRECISIONS:
        raise NotReproducedError(
            f"{made.path}: made by algorithm {then.algorithm} in {then.precision}, which this version has not "
            f"(it has {ALGORITHM_VERSION} in {' and '.join(PRECISIONS)}); make it again, or install the version that "
            "made it"
        )


def _obtain(source: Source, *, role: str, folder: Path) -> Path:
    """The very bytes that a result was made from: the local copy, else what S3 holds."""
    uri = S3Uri.parse(source.uri)
    copy = local_copy(uri)
    if copy is not None and copy.is_file() and sha256_of(copy) == source.sha256:
        return copy
    if settings.current().offline:
        raise InputChangedError(f"{uri}: the copy here is not the {role} that was used, and S3 is not to be asked")
    path = folder / f"{role}{PurePosixPath(uri.key).suffix}"
    fetched = get(uri, path)
    if fetched.sha256 != source.sha256:
        raise InputChangedError(
            f"{uri}: the {role} changed, so the result cannot be made as it was: "
            f"sha256 {source.sha256} -> {fetched.sha256}; put the old one back to reproduce it"
        )
    logger.info("%s: fetched to make the result from it; the copy here is of other bytes, or absent", uri)
    return path


def _style(made: Made, inputs: dict[str, Path], again: Path) -> None:
    from neural_style.stylize import Stylizer

    then, current = made.made_by, settings.current()
    threads, engine = then.get("threads"), then.get("engine")
    stylizer = Stylizer(
        inputs["model"],
        device=str(then.get("device", "cpu")),
        threads=threads if isinstance(threads, int) else None,
        engine=engine if engine in ENGINES else ENGINES[0],
        precision=made.parameters.precision,
        memory_bytes=_memory_bytes(then),
        cache=current.model_cache,
    )
    parameters = made.parameters
    style = functools.partial(
        stylizer.style_file,
        inputs["image"],
        again,
        max_side=parameters.max_side,
        quality=parameters.quality if parameters.quality is not None else DEFAULT_QUALITY,
    )
    try:
        styled = style(max_pixels=DEFAULT_MAX_PIXELS)  # beyond it a picture is read in bands, if it can be
    except PictureTooLargeError:
        styled = style(max_pixels=_NO_LIMIT)
    _warn_of_others(made.path, then=then, now=styled.made_by)


_NO_LIMIT = 2**40
"""The picture was accepted once."""


def _memory_bytes(then: dict[str, Any]) -> int | None:
    """The memory that made the bands, for the same bands; less where the settings allow less."""
    bands = then.get("bands")
    recorded = bands.get("memory_bytes") if isinstance(bands, dict) else None
    known = [size for size in (recorded, settings.current().memory_bytes) if isinstance(size, int)]
    return min(known, default=None)


def _warn_of_others(path: Path, *, then: dict[str, Any], now: dict[str, Any]) -> None:
    for name in ("engine", "engine_version", "precision", "arithmetic", "threads"):
        if name in then and then[name] != now.get(name):  # records of old know no arithmetic
            logger.warning("%s: made with %s %s, now %s", path, name, then[name], now.get(name))
    if _bands_in(then) != _bands_in(now):
        logger.warning("%s: made %s, now %s; --memory decides it", path, _bands_in(then), _bands_in(now))


def _bands_in(made_by: dict[str, Any]) -> str:
    bands = made_by.get("bands")
    if not isinstance(bands, dict):
        return "as a whole"
    return f"in bands of {bands.get('rows')} rows (kept: {bands.get('kept')})"


def _compared(made: Made, again: Path) -> str:
    """Say how far the new picture is from the one that lies here, if that is still the one that was made."""
    from neural_style.difference import difference

    if sha256_of(made.path) != made.sha256:
        return "the file here is not the one that was made, so they cannot be compared"
    try:
        return str(difference(made.path, again, max_pixels=DEFAULT_MAX_PIXELS))
    except PictureTooLargeError:
        return "they are too large to be compared here"
