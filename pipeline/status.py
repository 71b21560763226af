"""Which results still hold, and why the others do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from csci_utils.luigi.failure import ExitStatus
from csci_utils.s3 import ObjectInfo, S3Uri, head
from neural_style.contract import ALGORITHM_VERSION, PRECISION
from pipeline import settings
from pipeline.plan import LOOKERS
from pipeline.records import Made, NoResultError, find_file, read_made, stylized_folder
from pipeline.results import reason_to_make, results_below
from pipeline.tasks.data import remembered, require_bucket

Tell = Callable[[str], None]


def tell_status(names: Sequence[str], *, result: Callable[[str], None], tell: Tell) -> int:
    """Say of each result whether it holds; none is changed.

    Args:
        names: Of results; none means all of them.
        result: Called with the path of each result that holds.
        tell: Called with each line for people.

    Returns:
        0, whatever holds.

    Raises:
        NoResultError: what was named is no result.
        S3Error: the store refused or did not answer.
    """
    paths = [find_file(name) for name in names] or results_below(stylized_folder())
    found = {path: _read(path) for path in paths}
    objects = _look({source.uri for made in found.values() if made for source in made.sources.values()})
    num_current = 0
    for path, made in found.items():
        reason = "it has no record of what it was made from" if made is None else _reason(made, objects)
        if reason is None:
            num_current += 1
            tell(f"up to date {path}")
            result(str(path))
        else:
            tell(f"stale {path}: {reason}")
    tell(f"{num_current} of {len(found)} results up to date" if found else f"no results below {stylized_folder()}")
    return ExitStatus.OK


def _read(path: Path) -> Made | None:
    try:
        return read_made(path)
    except NoResultError:
        return None


def _look(addresses: set[str]) -> dict[str, ObjectInfo | None]:
    """Look each input up once, or, offline, the local copy of it."""
    uris = [S3Uri.parse(address) for address in sorted(addresses)]
    with ThreadPoolExecutor(max_workers=LOOKERS) as lookers:
        return dict(zip(map(str, uris), lookers.map(_look_up, uris), strict=True))


def _look_up(uri: S3Uri) -> ObjectInfo | None:
    current = settings.current()
    if current.offline:
        path = local_copy(uri)
        return None if path is None else remembered(uri, path)
    info = head(uri)
    if info is None:
        require_bucket(uri)
    return info


def local_copy(uri: S3Uri) -> Path | None:
    """Where the local copy of an object lies; None for an object that is not below the S3 root."""
    current = settings.current()
    relative = str(uri).removeprefix(f"{current.required_s3_root()}/")
    return None if relative == str(uri) else current.local_root / relative


def _reason(made: Made, objects: Mapping[str, ObjectInfo | None]) -> str | None:
    inputs = {}
    for name, source in made.sources.items():
        info = objects[source.uri]
        if info is None:
            return f"{name} is gone: {source.uri}"
        inputs[name] = info
    wanted = dataclasses.replace(made.parameters, algorithm=ALGORITHM_VERSION, precision=PRECISION)
    return reason_to_make(made.path, inputs=inputs, parameters=wanted)
