# mypy: disallow-untyped-calls=False
# (luigi says it is typed, and most of what is called here is not.)
"""Tasks put together from parts: what they require and where they write, said as attributes of the class.

Names and behaviour are the course's (`Requirement`, `Requires`, `TargetOutput`, salted versions)::

    class Report(luigi.Task):
        __version__ = "2"
        day = luigi.DateParameter()

        requires = Requires()
        sales = Requirement(Sales)  # day is shared, for both tasks have it
        before = Requirement(Sales, day=lambda report: report.day - timedelta(days=1))

        output = TargetOutput("reports/{day:%Y}/{task.__class__.__name__}-{day}-{salt}", ext=".csv")

        def run(self):
            with self.sales.output().open() as sales, self.output().open("w") as report:
                ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Generic, Self, TypeVar, overload

import luigi
from luigi.parameter import MissingParameterException

from csci_utils.luigi.lineage import CycleError, forget_versions, salted_version
from csci_utils.luigi.pattern import filled
from csci_utils.luigi.target import SuffixPreservingLocalTarget

__all__ = ["CycleError", "Requirement", "Requires", "TargetOutput", "forget_versions", "salted_version"]

TaskT = TypeVar("TaskT", bound=luigi.Task)
TargetT = TypeVar("TargetT", bound=luigi.Target)


class Requirement(Generic[TaskT]):
    """A required task, as an attribute: on a task it is the task it requires, on the class the requirement itself.

    Parameters that both tasks have are shared (by Luigi's `clone`).

    Args:
        task_class: what is required.
        **params: parameters of its own, which win over shared ones; a function is called with the task that requires.

    Raises:
        TypeError: `task_class` is no class of tasks.
    """

    def __init__(self, task_class: type[TaskT], /, **params: Any) -> None:
        self.task_class: type[TaskT] = _checked_class(task_class)
        self.params = params
        self._name = "Requirement"

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = f"{owner.__name__}.{name}"

    @overload
    def __get__(self, task: None, owner: type) -> Self: ...

    @overload
    def __get__(self, task: luigi.Task, owner: type) -> TaskT: ...

    def __get__(self, task: luigi.Task | None, owner: type) -> Self | TaskT:
        """Return the required task.

        Raises:
            TypeError: it has no parameter of a name that is given, or would share one that is a requirement here.
            MissingParameterException: a parameter is neither given nor shared, and has no default.
        """
        if task is None:
            return self
        self._compare_names(task)
        params = {name: _value(param, task) for name, param in self.params.items()}
        try:
            required: TaskT = task.clone(self.task_class, **params)
        except MissingParameterException as err:
            raise MissingParameterException(f"{self._name}: {err}; give it, or let both tasks have it") from err
        return required

    def _compare_names(self, task: luigi.Task) -> None:
        """Luigi passes over names it does not know, and takes any attribute of a parameter's name for its value."""
        names = self.task_class.get_param_names(include_significant=True)
        unknown = [name for name in self.params if name not in names]
        if unknown:
            raise TypeError(
                f"{self._name}: {self.task_class.__name__} has no parameter {unknown[0]!r}; it has {_listed(names)}"
            )
        for name in names:
            if name not in self.params and isinstance(_attribute(type(task), name), Requirement):
                raise TypeError(
                    f"{self._name}: {self.task_class.__name__} has a parameter {name!r}, which is a requirement of "
                    f"{type(task).__name__}; rename that, or give {name}=... here"
                )


class Requires:
    """Replaces `requires`: all `Requirement` attributes of the task, inherited ones too, as ``{name: task}``.

    A subclass replaces one by another `Requirement`, and removes one by None.
    """

    @overload
    def __get__(self, task: None, owner: type) -> Self: ...

    @overload
    def __get__(self, task: luigi.Task, owner: type) -> Callable[[], dict[str, luigi.Task]]: ...

    def __get__(self, task: luigi.Task | None, owner: type) -> Self | Callable[[], dict[str, luigi.Task]]:
        return self if task is None else partial(self, task)

    def __call__(self, task: luigi.Task) -> dict[str, luigi.Task]:
        """Return what `task` requires, base classes' requirements first.

        Raises:
            TypeError: a subclass replaced a requirement by something that is neither one nor None.
        """
        return {name: getattr(task, name) for name in _requirement_names(type(task))}


class TargetOutput(Generic[TargetT]):
    """Replaces `output`: one target, whose path is a pattern over the task.

    Args:
        file_pattern: a format string; it knows every parameter by name (``{day:%Y}``), ``{task}`` and its attributes,
            ``{salt}`` or ``{task.salt}`` (the first digits of the salted version) and ``{ext}``.
        ext: added at the end, unless the pattern names it.
        target_class: called with the path and `target_kwargs`.
        **target_kwargs: the target's own arguments, such as ``format``.
    """

    @overload
    def __init__(
        self, file_pattern: str = ..., ext: str = ..., *, target_class: Callable[..., TargetT], **target_kwargs: Any
    ) -> None: ...

    @overload
    def __init__(
        self: TargetOutput[SuffixPreservingLocalTarget], file_pattern: str = ..., ext: str = ..., **target_kwargs: Any
    ) -> None: ...

    def __init__(
        self,
        file_pattern: str = "{task.__class__.__name__}",
        ext: str = ".txt",
        *,
        target_class: Callable[..., Any] = SuffixPreservingLocalTarget,
        **target_kwargs: Any,
    ) -> None:
        self.file_pattern = file_pattern
        self.ext = ext
        self.target_class = target_class
        self.target_kwargs = target_kwargs

    @overload
    def __get__(self, task: None, owner: type) -> Self: ...

    @overload
    def __get__(self, task: luigi.Task, owner: type) -> Callable[[], TargetT]: ...

    def __get__(self, task: luigi.Task | None, owner: type) -> Self | Callable[[], TargetT]:
        return self if task is None else partial(self, task)

    def __call__(self, task: luigi.Task) -> TargetT:
        """Return the target of `task`.

        Raises:
            ValueError: the pattern names what the task does not have, or a value in it leads out of its folder.
        """
        target: TargetT = self.target_class(self.path(task), **self.target_kwargs)
        return target

    def path(self, task: luigi.Task) -> str:
        """Fill the pattern in.

        Raises:
            ValueError: as `__call__`.
        """
        return filled(self.file_pattern, task=task, ext=self.ext)


def _requirement_names(cls: type[luigi.Task]) -> list[str]:
    names = {name for base in cls.__mro__ for name, value in vars(base).items() if isinstance(value, Requirement)}
    ordered = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base) if name in names)
    found = {name: _attribute(cls, name) for name in ordered}
    for name, value in found.items():
        if value is not None and not isinstance(value, Requirement):
            raise TypeError(
                f"{cls.__name__}.{name}: a base class has a Requirement of that name, found {value!r}; "
                "replace it by another Requirement, or by None to remove it"
            )
    return [name for name, value in found.items() if value is not None]


def _attribute(cls: type, name: str) -> Any:
    """Return a class's attribute as it was written, without asking a descriptor."""
    return next((vars(base)[name] for base in cls.__mro__ if name in vars(base)), None)


def _value(param: Any, task: luigi.Task) -> Any:
    return param(task) if isinstance(param, FunctionType) else param


def _checked_class(task_class: Any) -> Any:
    if isinstance(task_class, type) and issubclass(task_class, luigi.Task):
        return task_class
    hint = "; give its class, then its parameters" if isinstance(task_class, luigi.Task) else ""
    raise TypeError(f"Requirement: wanted a class of tasks, found {task_class!r}{hint}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
