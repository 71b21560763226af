"""Plug-ins by name, so that a configuration or a command line can ask for one."""

from __future__ import annotations

from typing import Any, TypeVar

from ..errors import PluginError
from .base import Plugin

P = TypeVar("P", bound=type[Plugin])

_registered: dict[str, type[Plugin]] = {}


def register_plugin(kind: P) -> P:
    """Make a class known to `create_plugin`, by its own name and by its ``plugin_id`` if it has one.

    Works as a decorator.

    Raises:
        PluginError: it is no plug-in, or another class has one of these names.
    """
    if not (isinstance(kind, type) and issubclass(kind, Plugin)):
        raise PluginError(f"wanted a class derived from Plugin to register, found {kind!r}")
    own_id = vars(kind).get("plugin_id")  # not an inherited one: that is its parent's
    names = [kind.__name__, own_id] if isinstance(own_id, str) else [kind.__name__]
    for name in names:
        other = _registered.get(name, kind)
        if other is not kind:
            raise PluginError(f"two plug-ins named {name!r}: {_origin(other)} and {_origin(kind)}; rename one")
    _registered.update(dict.fromkeys(names, kind))
    return kind


def create_plugin(name: str, *args: Any, **kwargs: Any) -> Plugin:
    """Make the plug-in of this name from these arguments.

    Raises:
        PluginError: none is registered under it; the sentence says which are.
    """
    try:
        kind = _registered[name]
    except KeyError:
        raise PluginError(
            f"there is no plug-in {name!r}; there are: {', '.join(registered_plugins())} "
            "(import the module of your own first)"
        ) from None
    return kind(*args, **kwargs)


def registered_plugins() -> list[str]:
    """Name all that `create_plugin` knows, sorted."""
    return sorted(_registered)


def _origin(kind: type[Plugin]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
