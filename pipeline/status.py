"""Which results still hold, and why the others do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.s3 import ObjectInfo, S3Error, S3Uri, each, head
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
        0, whatever holds; another status where the store did not say.

    Raises:
        NoResultError: what was named is no result.
    """
    paths = [find_file(name) for name in names] or results_below(stylized_folder())
    found = {path: _read(path) for path in paths}
    objects = _look({source.uri for made in found.values() if made for source in made.sources.values()})
    num_current, status = 0, ExitStatus.OK
    for path, made in found.items():
        errors = [found for found in _inputs_of(made, objects) if isinstance(found, S3Error)]
        if errors:
            tell(f"cannot tell {path}: {errors[0]}")
            status = max(status, describe_failure(errors[0]).status)
            continue
        reason = "it has no record of what it was made from" if made is None else _reason(made, objects)
        if reason is None:
            num_current += 1
            tell(f"up to date {path}")
            result(str(path))
        else:
            tell(f"stale {path}: {reason}")
    tell(f"{num_current} of {len(found)} results up to date" if found else f"no results below {stylized_folder()}")
    return status


def _read(path: Path) -> Made | None:
    try:
        return read_made(path)
    except NoResultError:
        return None


Looked = ObjectInfo | S3Error | None


def _look(addresses: set[str]) -> dict[str, Looked]:
    """Look each input up once, or, offline, the local copy of it; what cannot be looked up is the error."""
    uris = [S3Uri.parse(address) for address in sorted(addresses)]
    return dict(zip(map(str, uris), each(uris, _try_to_look_up, num_threads=LOOKERS), strict=True))


def _try_to_look_up(uri: S3Uri) -> Looked:
    try:
        return _look_up(uri)
    except S3Error as err:
        return err


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


def _inputs_of(made: Made | None, objects: Mapping[str, Looked]) -> list[Looked]:
    return [] if made is None else [objects[source.uri] for source in made.sources.values()]


def _reason(made: Made, objects: Mapping[str, Looked]) -> str | None:
    """Why a result does not hold; what was looked up are objects, or nothing."""
    inputs = {}
    for name, source in made.sources.items():
        info = objects[source.uri]
        if not isinstance(info, ObjectInfo):
            lacking = "has no whole copy here" if settings.current().offline else "is gone"
            return f"{name} {lacking}: {source.uri}"
        inputs[name] = info
    wanted = dataclasses.replace(made.parameters, algorithm=ALGORITHM_VERSION, precision=PRECISION)
    return reason_to_make(made.path, inputs=inputs, parameters=wanted)
