# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Versions of tasks that follow from all they are made from.

The salted version of a task is a digest over its name, its ``__version__``, its significant parameters and the salted
versions of what it requires. A name that holds it changes when anything upstream does, so that a result of older code
is never taken for one of newer code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

import luigi
from luigi.task_register import Register

VERSION_ATTRIBUTE = "__version__"
"""Class attribute, text or a whole number, that is changed when the results of a task have to be made anew."""


class CycleError(ValueError):
    """A task requires itself, directly or through others; its text names the way round."""


@dataclass(frozen=True)
class _Memo:
    """Versions that were computed, and what they hold for.

    Attributes:
        digests: by task, told apart by all its parameters as in Luigi's own cache of instances.
        declared: each class met, with the version that it declared.
        num_classes: how many task classes there were: one that is defined again (in a notebook) is another one.
    """

    digests: dict[Any, str] = field(default_factory=dict)
    declared: dict[type[luigi.Task], str | None] = field(default_factory=dict)
    num_classes: int = field(default_factory=lambda: len(Register._reg))

    def holds(self) -> bool:
        return self.num_classes == len(Register._reg) and all(
            _declared_version(cls) == version for cls, version in self.declared.items()
        )

    def has(self, task: luigi.Task) -> bool:
        return _key(task) in self.digests

    def learn(self, task: luigi.Task, required: Any) -> None:
        """Compute the version of a task of whose requirements all versions are known."""
        declared = self.declared[type(task)] = _declared_version(type(task))
        own = {
            "task": task.get_task_family(),
            "version": declared,
            "parameters": task.to_str_params(only_significant=True),
            "requires": self._versions_of(required),
        }
        self.digests[_key(task)] = hashlib.sha256(json.dumps(own, sort_keys=True).encode("ascii")).hexdigest()

    def _versions_of(self, required: Any) -> Any:
        """Return the same structure with versions in the place of tasks."""
        if isinstance(required, luigi.Task):
            return self.digests[_key(required)]
        if isinstance(required, dict):
            return {key: self._versions_of(value) for key, value in required.items()}
        versions = [self._versions_of(part) for part in required]
        return sorted(versions, key=json.dumps) if isinstance(required, _Unordered) else versions


class _Unordered(list[Any]):
    """The members of a set, whose order differs from process to process."""


class _Visit:
    """A task whose version is being computed: what it requires, and what of that was not looked at yet."""

    def __init__(self, task: luigi.Task) -> None:
        self.task = task
        self.required = _frozen(task.requires(), of=task)
        self.pending = iter(list(_tasks_in(self.required)))


class _Current:
    """The memo in use; a thread that still walks with an older one is not disturbed."""

    memo = _Memo()


def salted_version(task: luigi.Task) -> str:
    """Return the version of a task and of all it is made from, as 64 hexadecimal digits.

    The same in every process and on every machine. `requires` is asked once for each task and what it answers is kept,
    so that a graph costs as much as it has tasks, however its branches meet. The order of a dictionary's items does not
    matter, its keys do; the order of a list does. Tasks that `run` yields are not part of it: nobody knows them before.

    Raises:
        CycleError: the task requires itself, directly or through others.
        TypeError: something else than tasks is required, or a ``__version__`` is neither text nor a whole number.
    """
    if not _Current.memo.holds():
        forget_versions()
    memo = _Current.memo
    way = {} if memo.has(task) else {_key(task): _Visit(task)}  # from `task` to where we are, in order
    while way:
        here, visit = next(reversed(way.items()))
        upstream = next((each for each in visit.pending if not memo.has(each)), None)
        if upstream is None:
            memo.learn(visit.task, visit.required)
            del way[here]
        elif _key(upstream) in way:
            raise CycleError(_cycle([str(each.task) for each in way.values()], str(upstream)))
        else:
            way[_key(upstream)] = _Visit(upstream)
    return memo.digests[_key(task)]


def forget_versions() -> None:
    """Drop every version computed so far, for a program whose tasks come to require something else while it runs."""
    _Current.memo = _Memo()


def _key(task: luigi.Task) -> Any:
    return type(task), task.task_id, repr(task.param_kwargs)  # not the values themselves: some cannot be hashed


def _declared_version(cls: type[luigi.Task]) -> str | None:
    version = getattr(cls, VERSION_ATTRIBUTE, None)
    if version is None or isinstance(version, str):
        return version
    if isinstance(version, int) and not isinstance(version, bool):
        return str(version)
    what = "wanted text or a whole number (1.10 would be 1.1)"
    raise TypeError(f"{cls.__name__}.{VERSION_ATTRIBUTE}: {what}, found {version!r}; put it in quotes")


def _frozen(required: Any, *, of: luigi.Task) -> Any:
    """Return what `requires` gave as tasks, lists and dictionaries alone: a generator can be read only once."""
    if required is None:
        return []
    if isinstance(required, luigi.Task):
        return required
    if isinstance(required, Mapping):
        return {f"{type(key).__name__} {key}": _frozen(value, of=of) for key, value in required.items()}
    if isinstance(required, Iterable) and not isinstance(required, (str, bytes)):
        parts = [_frozen(part, of=of) for part in required]
        return _Unordered(parts) if isinstance(required, Set) else parts
    raise TypeError(
        f"{of}: wanted tasks from its requires(), found {required!r}; return a task, a list or a dictionary"
    )


def _tasks_in(required: Any) -> Iterator[luigi.Task]:
    if isinstance(required, luigi.Task):
        yield required
    else:
        for part in required.values() if isinstance(required, dict) else required:
            yield from _tasks_in(part)


def _cycle(way: list[str], back_to: str) -> str:
    names = [*way[way.index(back_to) :], back_to]
    if len(names) > 6:
        names = [*names[:3], f"({len(names) - 5} more)", *names[-2:]]
    return f"{back_to}: wanted a task that does not require itself, found {' -> '.join(names)}"
