"""What a project's pyproject.toml tells `check`, in `[tool.csci_utils.deps]`: what no tool can see by itself.

[tool.csci_utils.deps]
development = ["scripts", "fabfile.py"]         # not part of the package, beside what is called so (tests, docs)
package = ["docs/app"]                          # part of it, whatever it is called
modules = {cv2 = "opencv-python-headless"}      # what brings an import, where no environment tells

[[tool.csci_utils.deps.exceptions]]
kind = "unused"                                 # may be left out: any
name = "gunicorn"                               # a distribution or a module; may be left out: any
file = "deploy/*.py"                            # may be left out: any
reason = "the image starts it"                  # must be there
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.deps.errors import SettingsError
from csci_utils.deps.facts import normal_name
from csci_utils.deps.files import NotAFileError, read_toml, shown
from csci_utils.deps.findings import KINDS, Finding
from csci_utils.deps.text import quoted, without_secrets

_KEYS = ("development", "package", "modules", "exceptions")
_EXCEPTION_KEYS = ("kind", "name", "file", "reason")


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """One finding, or several alike, that shall not be made.

    Attributes:
        kind: one of `KINDS`; empty for any.
        name: in normal form; empty for any.
        file: a pattern, matched with the path from the project's folder; empty for any.
        reason: why.
    """

    kind: str
    name: str
    file: str
    reason: str

    def covers(self, found: Finding, *, folder: Path) -> bool:
        """Tell whether a finding is meant."""
        return (
            self.kind in ("", found.kind)
            and self.name in ("", normal_name(found.name))
            and (not self.file or fnmatch(shown(found.file, folder), self.file))
        )


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """What a project tells `check`.

    Attributes:
        development: folders and files, from the project's folder, that are not part of the package.
        package: those that are.
        modules: what brings an import, by its dotted name.
        exceptions: what shall not be found.
        build_requires: what `[build-system]` has installed to build the package, as PEP 508 writes it.
    """

    development: tuple[str, ...] = ()
    package: tuple[str, ...] = ()
    modules: Mapping[str, str] = field(default_factory=dict)
    exceptions: tuple[Accepted, ...] = ()
    build_requires: tuple[str, ...] = ()


def read_settings(folder: Path) -> CheckSettings:
    """Read the table; without a pyproject.toml or the table, everything is as by default.

    Raises:
        SettingsError: pyproject.toml is no TOML, or the table holds something that nothing reads.
    """
    path = folder / "pyproject.toml"
    try:
        data = read_toml(path)
    except FileNotFoundError:
        return CheckSettings()
    except ValueError as err:  # TOML's and the encoding's errors are both one
        raise SettingsError(f"{path}: wanted TOML, found {without_secrets(str(err))}; mend that") from err
    except NotAFileError as err:
        raise SettingsError(f"{path}: wanted a file, found a {err.what} of that name; rename it") from err
    table = _table(_table(_table(data, "tool", path), "csci_utils", path), "deps", path)
    _refuse_unknown(table, _KEYS, path)
    return CheckSettings(
        development=_paths(table, "development", path),
        package=_paths(table, "package", path),
        modules={str(key): str(value) for key, value in _table(table, "modules", path).items()},
        exceptions=tuple(_accepted(each, path) for each in _list(table, "exceptions", path)),
        build_requires=tuple(map(str, _list(_table(data, "build-system", path), "requires", path))),
    )


def _table(data: Mapping[str, Any], key: str, path: Path) -> Mapping[str, Any]:
    found = data.get(key, {})
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: wanted a table {key!r}, found {quoted(found)}; see the head of check_settings.py")
    return found


def _list(data: Mapping[str, Any], key: str, path: Path) -> Sequence[Any]:
    found = data.get(key, [])
    if not isinstance(found, list):
        raise SettingsError(f"{path}: wanted a list {key!r}, found {quoted(found)}; put it into brackets")
    return found


def _paths(data: Mapping[str, Any], key: str, path: Path) -> tuple[str, ...]:
    """Give paths as they are compared: `./a//b/` is `a/b`."""
    return tuple(str(PurePosixPath(str(each).strip().strip("/"))) for each in _list(data, key, path))


def _accepted(given: object, path: Path) -> Accepted:
    if not isinstance(given, dict) or not str(given.get("reason", "")).strip():
        raise SettingsError(f"{path}: wanted exceptions with a reason each, found {quoted(given)}; say why in `reason`")
    _refuse_unknown(given, _EXCEPTION_KEYS, path)
    texts = {key: str(given.get(key, "")) for key in _EXCEPTION_KEYS}
    if texts["kind"] and texts["kind"] not in KINDS:
        raise SettingsError(f"{path}: wanted a kind of {', '.join(KINDS)}, found {texts['kind']!r}; mend it")
    if not texts["kind"] and not texts["name"] and not texts["file"]:
        raise SettingsError(f"{path}: wanted an exception for something, found one for everything; name what it is for")
    return Accepted(**texts | {"name": normal_name(texts["name"])})


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], path: Path) -> None:
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise SettingsError(f"{path}: wanted {', '.join(known)}, found {unknown[0]!r}; mend or remove it")
