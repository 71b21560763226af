# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Many targets looked up with few requests: one listing tells of up to a thousand keys, a HEAD of one."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from typing import Any, TypeVar

import luigi
from luigi.task import flatten

from csci_utils.luigi.folder import S3FolderTarget
from csci_utils.luigi.target import ExactKeyS3Target
from csci_utils.s3 import AccessRefusedError, BucketMissingError, S3Uri, each, head, list_objects

logger = logging.getLogger("csci_utils.listing")

PAGE_KEYS = 1000
"""How many keys S3 gives in one answer."""

WASTED_SHARE = 10
"""Of so many keys one request may be risked on a listing that proves to be too long."""

TargetT = TypeVar("TargetT", bound=luigi.Target)


def exists_many(targets: Iterable[TargetT]) -> dict[TargetT, bool]:
    """Tell of each target whether it is there, as its own `exists` would, with fewer requests.

    S3 targets that lie together are looked for in a listing, a page at a time, as long as that takes fewer requests
    than a HEAD for each; at worst it costs a tenth more requests (at least one). Other targets are asked one by one.

    Raises:
        S3Error: the store refused or did not answer.
    """
    keys = {target: _exact_key(target) for target in targets}
    found = held_keys(uri for uri in keys.values() if uri is not None)
    return {target: target.exists() if uri is None else uri in found for target, uri in keys.items()}


def held_keys(uris: Iterable[S3Uri]) -> set[S3Uri]:
    """Return those of the addresses at which there is an object of exactly that key.

    Raises:
        S3Error: the store refused or did not answer.
    """
    found: set[S3Uri] = set()
    for _, of_bucket in groupby(sorted(set(uris)), lambda uri: uri.bucket):
        wanted = list(of_bucket)
        search = _Search(max_wasted=max(1, len(wanted) // WASTED_SHARE))
        search.look_in(wanted)
        found |= search.found | _heads(search.left)
    return found


class BulkComplete:
    """Mixin for tasks: luigi's range tools ask for all of a range at once, and are answered by `exists_many`.

    A task with a `complete` of its own, or without outputs, is asked itself.
    """

    @classmethod
    def bulk_complete(cls, parameter_tuples: Iterable[Any]) -> list[Any]:
        """Return those of the parameters for which the task is complete."""
        return bulk_complete(cls, parameter_tuples)


def bulk_complete(make_task: Any, parameter_tuples: Iterable[Any]) -> list[Any]:
    """Return those of the parameters for which the task that ``make_task`` makes of them is complete.

    Args:
        make_task: a task class, or what makes tasks of one (luigi hands over a `functools.partial`).
        parameter_tuples: each a value, a sequence of values, or a dictionary.
    """
    parameters = list(parameter_tuples)
    tasks = [_made(make_task, each) for each in parameters]
    outputs = [_deciding_outputs(task) for task in tasks]
    found = exists_many(target for targets in outputs for target in targets)
    return [
        each
        for each, task, targets in zip(parameters, tasks, outputs, strict=True)
        if (all(found[target] for target in targets) if targets else task.complete())
    ]


class _Search:
    """The search for keys of one bucket: which were found, and which are left to be asked for one by one.

    A page of a listing is worth while when it tells of more than one wanted key. How full a bucket is shows only when
    it is listed, so some pages are risked; further ones only with what earlier ones have saved.
    """

    def __init__(self, *, max_wasted: int) -> None:
        self.found: set[S3Uri] = set()
        self.left: list[S3Uri] = []
        self._to_spend = max_wasted

    def look_in(self, wanted: Sequence[S3Uri]) -> None:
        """Look for keys, sorted, in the listing of what they have in common, then of what parts of them have."""
        if len(wanted) < 2 or self._to_spend < 1:
            self.left.extend(wanted)
            return
        prefix = os.path.commonprefix([wanted[0].key, wanted[-1].key])
        try:
            untold = self._list(wanted, prefix)
        except BucketMissingError:
            return
        except AccessRefusedError as err:  # to list may be forbidden where to look is not
            logger.info("%s; asking for each object", err)
            self._to_spend = 0
            untold = wanted
        for together in _by_folder(untold, prefix):
            self.look_in(together)

    def _list(self, wanted: Sequence[S3Uri], prefix: str) -> Sequence[S3Uri]:
        """Return the keys of which the pages that were worth while tell nothing."""
        infos = list_objects(S3Uri(wanted[0].bucket, prefix))
        while wanted:
            page = [info.uri for info in islice(infos, PAGE_KEYS)]
            self.found.update(set(wanted).intersection(page))
            if page != sorted(page):  # as in directory buckets: what is absent shows only at the very end
                self._to_spend = 0
                return [uri for uri in wanted if uri not in self.found]
            num_told = bisect_right(wanted, page[-1]) if len(page) == PAGE_KEYS else len(wanted)
            wanted = wanted[num_told:]
            self._to_spend += num_told - 1
            if num_told < 2 and (self._to_spend < 1 or _has_folders(wanted, prefix)):
                break
        return wanted


def _by_folder(uris: Sequence[S3Uri], prefix: str) -> list[list[S3Uri]]:
    """Put together what lies in one folder below the prefix; what lies in none stays by itself."""
    grouped = groupby(uris, lambda uri: uri.key[len(prefix) :].partition("/")[0])
    return [list(together) for _, together in grouped]


def _has_folders(uris: Sequence[S3Uri], prefix: str) -> bool:
    return any(len(together) > 1 for together in _by_folder(uris, prefix))


def _heads(uris: Sequence[S3Uri]) -> set[S3Uri]:
    return {uri for uri, info in zip(uris, each(uris, head), strict=True) if info is not None}


def _exact_key(target: luigi.Target) -> S3Uri | None:
    """Return the key whose presence is the target's; None where the target decides otherwise."""
    if isinstance(target, ExactKeyS3Target) and type(target).exists is ExactKeyS3Target.exists:
        return target.uri
    if isinstance(target, S3FolderTarget) and type(target).exists is S3FolderTarget.exists:
        return target.flag_uri
    return None


def _made(make_task: Any, parameters: Any) -> Any:
    if isinstance(parameters, dict):
        return make_task(**parameters)
    return make_task(*parameters) if isinstance(parameters, (list, tuple)) else make_task(parameters)


def _deciding_outputs(task: Any) -> list[Any]:
    """Return the targets on which alone it depends whether a task is complete."""
    return flatten(task.output()) if type(task).complete is luigi.Task.complete else []
