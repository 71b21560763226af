"""Where the objects of a task lie: class properties over the settings, and the S3 root in a task's identity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import luigi

from csci_utils.luigi.run import shorten_luigi_log
from pipeline import settings
from pipeline.errors import NotConfiguredError

# The `luigi` command imports the tasks and nothing else of ours: this is where its log can be made readable.
shorten_luigi_log()


class RootProperty:
    """A read-only property of class and instance alike; a subclass overrides it with a plain string."""

    def __init__(self, read: Callable[[Any], str], doc: str) -> None:
        self._read = read
        self.__doc__ = doc

    def __get__(self, instance: Any, owner: type) -> str:
        return self._read(owner if instance is None else instance)

    def __set__(self, instance: Any, value: str) -> None:
        raise AttributeError("a root is read-only; override it in a subclass, or change the settings")


def _s3_root(holder: Any) -> str:
    return _of_settings("s3_root") if isinstance(holder, type) else str(holder.s3_root)


def _of_settings(name: str) -> str:
    """A setting; empty while the settings make no sense.

    Luigi looks at every attribute of a class to find its parameters, so this must not raise; making a task does.
    """
    try:
        return str(getattr(settings.current(), name))
    except NotConfiguredError:
        return ""


class S3RootParameter(luigi.Parameter):
    """``s3://bucket/prefix``, written one way only, so that one root is one identity."""

    def normalize(self, x: str) -> str:
        """Check the form and drop slashes at the end."""
        return settings.checked_s3_root(x)


class RootedTask(luigi.Task):
    """A task over objects below one S3 root and files below one local root.

    The S3 root is a parameter, so that tasks over two buckets are two tasks to every scheduler; it is taken from the
    class when it is not given. The local root is each host's own affair and no part of the identity (DESIGN rule 7).
    """

    S3_ROOT = RootProperty(_s3_root, "``s3://bucket/prefix`` of the settings, or of the instance.")
    LOCAL_ROOT = RootProperty(lambda _: _of_settings("local_root"), "Absolute path that mirrors `S3_ROOT`.")

    s3_root = S3RootParameter(
        positional=False, description="s3://bucket/prefix that the objects lie under [default: the settings']"
    )

    @classmethod
    def get_param_values(
        cls, params: Sequence[tuple[str, luigi.Parameter]], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> list[tuple[str, Any]]:
        """Luigi's own, with the S3 root of the class where none is given.

        Raises:
            NotConfiguredError: there is none either.
        """
        current = settings.current()
        if not kwargs.get("s3_root"):
            kwargs = kwargs | {"s3_root": cls.S3_ROOT or current.required_s3_root()}
        values: list[tuple[str, Any]] = super().get_param_values(params, args, kwargs)
        return values
