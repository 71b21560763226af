# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Many targets looked up with few requests: one listing tells of up to a thousand keys, a HEAD of one."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import luigi
from luigi.task import flatten

from csci_utils.luigi.folder import S3FolderTarget
from csci_utils.luigi.target import ExactKeyS3Target
from csci_utils.s3 import (
    AccessRefusedError,
    BucketMissingError,
    ObjectInfo,
    S3Uri,
    each,
    head,
    list_objects,
)
from csci_utils.s3.errors import UnsupportedError
from csci_utils.s3.uri import LONGEST_KEY_BYTES

logger = logging.getLogger("csci_utils.listing")

PAGE_KEYS = 1000
"""How many keys S3 gives in one answer."""

WORTH_SHARE = 100
"""A page is worth while that tells of one wanted key in so many of its own."""

TargetT = TypeVar("TargetT", bound=luigi.Target)


def exists_many(targets: Iterable[TargetT]) -> dict[TargetT, bool]:
    """Tell of each target whether it is there, as its own `exists` would, with fewer requests.

    S3 targets are looked up by `look_many`, other targets are asked one by one.

    Raises:
        S3Error: the store refused or did not answer.
    """
    keys = {target: _exact_key(target) for target in targets}
    found = look_many(uri for uri in keys.values() if uri is not None)
    return {target: target.exists() if uri is None else uri in found for target, uri in keys.items()}


def look_many(uris: Iterable[S3Uri], *, close_together: bool = False) -> dict[S3Uri, ObjectInfo]:
    """Tell what is at those of the addresses at which there is an object of exactly that key.

    Keys that lie together are looked for in a listing, which begins at the first and ends at the last of them, as long
    as that pays; others by a HEAD each, several at a time. So it takes about as many requests as there are addresses
    at worst, and one in a thousand of these at best.

    Args:
        uris: the addresses.
        close_together: whether little else is to be expected between the keys: then pages are no larger than they need
            be, since a page of a thousand keys takes a store as long as thirty HEADs.

    Returns:
        Objects by their addresses; ``sha256`` is known of those alone that were asked for by a HEAD.

    Raises:
        S3Error: the store refused or did not answer.
    """
    wanted: dict[str, set[str]] = {}
    for uri in uris:
        if len(uri.key.encode()) <= LONGEST_KEY_BYTES:  # of a longer one the store would say that it cannot be
            wanted.setdefault(uri.bucket, set()).add(uri.key)
    found: dict[S3Uri, ObjectInfo] = {}
    for bucket, keys in wanted.items():
        search = _Search(bucket, close_together=close_together)
        search.look_for(sorted(keys))
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
    """The search for keys of one bucket: what was found, and which are left to be asked for one by one.

    Each page begins at a wanted key, so it tells of that one at least, as a HEAD would. A page that tells of few takes
    longer than their HEADs, of which several go at a time: behind such a page one key is left to these, behind the next
    one twice as many. So what lies together is listed, wherever it lies, and what is scattered costs few pages.
    """

    def __init__(self, bucket: str, *, close_together: bool) -> None:
        self._close_together = close_together
        self.found: dict[S3Uri, ObjectInfo] = {}
        self.left: list[S3Uri] = []
        self._bucket = bucket

    def look_for(self, wanted: Sequence[str]) -> None:
        """Look for keys, sorted, by listing as long as that is worth while."""
        num_to_leave = 1
        try:
            while len(wanted) > 1:
                num_told = self._look_in_page(wanted)
                wanted = wanted[num_told:]
                if num_told >= max(2, PAGE_KEYS // WORTH_SHARE):
                    num_to_leave = 1
                else:
                    self._leave(wanted[:num_to_leave])
                    wanted = wanted[num_to_leave:]
                    num_to_leave *= 2
        except BucketMissingError:
            return
        except (AccessRefusedError, UnsupportedError) as err:  # to list may be forbidden where to look is not
            logger.info("%s; asking for each object", err)
        self._leave(wanted)

    def _look_in_page(self, wanted: Sequence[str]) -> int:
        """Look for keys in one page that begins at the first of them, and return of how many it tells."""
        prefix = os.path.commonprefix([wanted[0], wanted[-1]])
        after, page_keys = S3Uri(self._bucket, _just_before(wanted[0])), self._page_keys(len(wanted))
        infos = list_objects(
            S3Uri(self._bucket, prefix), after=after, first_keys=page_keys if page_keys < PAGE_KEYS else None
        )
        page = {info.uri.key: info for info in islice(infos, page_keys)}
        keys = list(page)
        if keys != sorted(keys):  # as in directory buckets: what is absent shows only at the very end
            self._find(wanted, page)
            self._leave([key for key in wanted if key not in page])
            return len(wanted)
        num_told = bisect_right(wanted, keys[-1]) if len(keys) == page_keys else len(wanted)
        self._find(wanted[:num_told], page)
        return num_told

    def _page_keys(self, num_wanted: int) -> int:
        """Return how many keys a page is to hold; with others in between, a quarter as many as are wanted."""
        return min(PAGE_KEYS, num_wanted + num_wanted // 4 + 8) if self._close_together else PAGE_KEYS

    def _find(self, wanted: Iterable[str], page: Mapping[str, ObjectInfo]) -> None:
        self.found.update((page[key].uri, page[key]) for key in wanted if key in page)

    def _leave(self, keys: Iterable[str]) -> None:
        self.left.extend(S3Uri(self._bucket, key) for key in keys)


def _just_before(key: str) -> str:
    """Return what sorts before a key (by its UTF-8, as S3 sorts) with next to nothing in between.

    In between is, where the key ends in a letter of ASCII, what has the letter before that one in its place and goes on
    with a tilde or something beyond ASCII.
    """
    first, last = key[:-1], key[-1:]
    if last <= " ":
        return first
    before = first if last > "~" else first + chr(ord(last) - 1)
    return before + "~" if len(before.encode()) < LONGEST_KEY_BYTES else before


def _heads(uris: Sequence[S3Uri]) -> dict[S3Uri, ObjectInfo]:
    return {uri: info for uri, info in zip(uris, each(uris, head), strict=True) if info is not None}


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
