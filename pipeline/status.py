"""Which results and trained models still hold, and why the others do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from csci_utils.luigi.failure import ExitStatus, describe_failure
from csci_utils.s3 import ObjectInfo, S3Error, S3Uri, each, head
from neural_style.contract import ALGORITHM_VERSION, DEFAULT_PRECISION, PRECISIONS
from pipeline import settings
from pipeline.plan import LOOKERS
from pipeline.records import Made, NoResultError, find_file, read_made, stylized_folder
from pipeline.results import reason_to_make, results_below
from pipeline.tasks.data import remembered, require_bucket
from pipeline.trained import is_trained, trained_models, why_trained_again

Tell = Callable[[str], None]
Reason = str | OSError | None
"""Why something does not hold, or why nobody can tell; None where it does."""


def tell_status(names: Sequence[str], *, result: Callable[[str], None], tell: Tell) -> int:
    """Say of each result and each trained model whether it holds; none is changed.

    Args:
        names: Of results and trained models; none means all of them.
        result: Called with the path of each that holds.
        tell: Called with each line for people.

    Returns:
        0, whatever holds; another status where the store did not say.

    Raises:
        NoResultError: what was named is no result.
    """
    named = [find_file(name) for name in names]
    models = [path for path in named if is_trained(path)] if named else trained_models()
    results = [path for path in named if path not in models] if named else results_below(stylized_folder())
    told = _Told(result=result, tell=tell)
    if results or not models:
        none_here = f"no results below {stylized_folder()}"
        told.all_of("results", _reasons_of_results(results), otherwise=none_here)
    if models:
        told.all_of("trained models", {path: _asked(why_trained_again, path) for path in models})
    return told.status


class _Told:
    """Tells what holds, and keeps the exit status.

    Attributes:
        status: 0, or that of the worst failure to find out.
    """

    def __init__(self, *, result: Callable[[str], None], tell: Tell) -> None:
        self.status = ExitStatus.OK
        self._result, self._tell = result, tell

    def all_of(self, kind: str, reasons: Mapping[Path, Reason], *, otherwise: str = "") -> None:
        """Tell of each, and how many hold; or, of none, something else."""
        for path, reason in reasons.items():
            if isinstance(reason, OSError):
                self._tell(f"cannot tell {path}: {reason}")
                self.status = max(self.status, describe_failure(reason).status)
            elif reason is not None:
                self._tell(f"stale {path}: {reason}")
            else:
                self._tell(f"up to date {path}")
                self._result(str(path))
        num_current = sum(reason is None for reason in reasons.values())
        self._tell(f"{num_current} of {len(reasons)} {kind} up to date" if reasons else otherwise)


def _asked(why: Callable[[Path], str | None], path: Path) -> Reason:
    try:
        return why(path)
    except OSError as err:
        return err


def _reasons_of_results(paths: Sequence[Path]) -> dict[Path, Reason]:
    found = {path: _read(path) for path in paths}
    objects = _look({source.uri for made in found.values() if made for source in made.sources.values()})
    reasons: dict[Path, Reason] = {}
    for path, made in found.items():
        error = next((each for each in _inputs_of(made, objects) if isinstance(each, S3Error)), None)
        reasons[path] = error or (
            "it has no record of what it was made from" if made is None else _reason(made, objects)
        )
    return reasons


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
    precision = made.parameters.precision if made.parameters.precision in PRECISIONS else DEFAULT_PRECISION
    wanted = dataclasses.replace(made.parameters, algorithm=ALGORITHM_VERSION, precision=precision)
    return reason_to_make(made.path, inputs=inputs, parameters=wanted)
