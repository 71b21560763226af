"""What is used without an import: commands, plug-ins, type stubs, and names in settings."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from csci_utils.deps.facts import Environment, normal_name
from csci_utils.deps.files import parse_toml, read_file, read_text
from csci_utils.io import read_record, record_path

LARGEST_FILE_BYTES = 2**20
"""Nobody writes a longer Makefile; a data file may have the suffix of a configuration."""

_TEXTS = re.compile(
    r"(GNU)?[Mm]akefile|.*\.mk|[Jj]ustfile|Rakefile|Procfile.*|(.*[-.])?Dockerfile.*|Containerfile|Jenkinsfile|Vagrantfile"
    r"|.*\.(ya?ml|toml|cfg|ini|conf|sh|bash|zsh|fish|bat|ps1|cmd|service|json5?|env)|\.flake8|\.pylintrc|\.coveragerc"
    r"|package\.json"
)
_NO_TEXTS = re.compile(
    r"Pipfile|.*\.lock|package-lock\.json|pyproject\.toml|setup\.cfg|.*requirements.*|environment\.ya?ml"
)
_COMMANDS_FOLDERS = re.compile(r"(.*/)?(\.ci|\.circleci|bin|scripts?|ci|\.husky|\.githooks)/[^/.]+")
_COMMENT = re.compile(r"(?m)(^|\s)#.*$|^\s*(//|;).*$")
_NAMING_STRING = re.compile(r"(?P<path>(?:[\w.$~-]*/)*)(?P<said>\w[\w.+-]*)(?P<rest>:.*)?")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")

_BY_FILE = {
    ".pre-commit-config.yaml": "pre-commit",
    ".pylintrc": "pylint",
    ".flake8": "flake8",
    ".coveragerc": "coverage",
    ".isort.cfg": "isort",
    ".bandit": "bandit",
    ".readthedocs.yaml": "sphinx",
    "alembic.ini": "alembic",
    "mkdocs.yml": "mkdocs",
    "mypy.ini": "mypy",
    "pyrightconfig.json": "pyright",
    "pytest.ini": "pytest",
    "ruff.toml": "ruff",
    "tox.ini": "tox",
}
_HOSTS = (
    "pytest",
    "flake8",
    "pylint",
    "mkdocs",
    "sphinx",
    "sphinxcontrib",
    "tox",
    "nox",
    "coverage",
    "babel",
    "jupyter",
)
_INSTALLERS = frozenset({"pip", "setuptools", "wheel", "pipenv"})
_STUBS = re.compile(r"types-(?P<types>.+)|(?P<stubs>.+)-stubs")


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """What the files of a project name, and what is there that it could be plugged into.

    Attributes:
        words: from configurations, scripts and strings in the sources, in normal form.
        present: distributions that are declared or installed, or that something imported comes from.
        environment: the project's, or None.
    """

    words: frozenset[str]
    present: frozenset[str]
    environment: Environment | None

    def use(self, name: str, modules: Iterable[str]) -> bool:
        """Tell whether a distribution is used without an import.

        Args:
            name: in normal form.
            modules: what it can be imported as, dotted.
        """
        if name in _INSTALLERS or self._is_stub(name):
            return True
        entry_points = self._entry_points(name)
        names = {name, *map(normal_name, modules), *entry_points.get("console_scripts", ())}
        if names & self.words:
            return True
        hosts = {normal_name(group.partition(".")[0]) for group in entry_points}
        hosts |= {host.rstrip("0123456789") for host in hosts}  # pytest's is `pytest11`
        hosts |= {host for host in _HOSTS if name.startswith(f"{host}-")}
        return bool((hosts - {name}) & self.present)

    def _is_stub(self, name: str) -> bool:
        """Tell type stubs of what is there: type checkers find them by themselves."""
        if name.startswith("mypy-boto3-"):  # of no use to a type checker but by an import, or through these
            return "boto3-stubs" in self.present
        found = _STUBS.fullmatch(name)
        of = (found["types"] or found["stubs"]) if found else ""
        return bool(of) and any(
            each in self.present for each in (of, f"python-{of}", f"py{of}", of.removesuffix("-python"))
        )

    def _entry_points(self, name: str) -> Mapping[str, set[str]]:
        """Read what an installed distribution offers to others: group to names."""
        found = self.environment.active().get(name) if self.environment else None
        config = configparser.RawConfigParser(delimiters=("=",), strict=False)
        config.optionxform = str  # type: ignore[assignment,method-assign]  # names are compared as they are spelled
        try:
            config.read_string(read_text(Path(found.path, "entry_points.txt"))) if found else None
        except (OSError, ValueError, configparser.Error):
            return {}
        return {group: set(map(normal_name, config[group])) for group in config.sections()}


def read_words(folder: Path, files: Iterable[str], strings: Iterable[str]) -> frozenset[str]:
    """Collect the words of everything that can name a tool, without comments.

    Args:
        folder: the project's.
        files: its files, from there.
        strings: those in its sources.
    """
    words: set[str] = set()
    files = tuple(files)
    reports = set(_reports(folder, files))
    for name in (each for each in files if each not in reports):
        words |= {_BY_FILE[name]} if name in _BY_FILE else set()
        words |= set(_words_of(folder / name, name))
    for each in filter(None, map(_NAMING_STRING.fullmatch, strings)):
        words |= set(_said(each["said"]))
    return frozenset(map(normal_name, words))


def _reports(folder: Path, files: Iterable[str]) -> Iterator[str]:
    """Give the reports among files, with their records: they name all that is installed, and use none of it."""
    for name in (each for each in files if _TEXTS.fullmatch(PurePosixPath(each).name)):
        record = record_path(name)
        if (folder / record).is_file() and "made_from" in (read_record(folder / name) or {}):
            yield from (name, record.as_posix())


def _words_of(path: Path, name: str) -> Iterator[str]:
    base = PurePosixPath(name).name
    if name == "pyproject.toml":
        yield from _words_of_pyproject(_text(path))
    elif name == "setup.cfg":
        yield from _words_of_setup_cfg(_text(path))
    elif name == "Pipfile":
        scripts = _toml(_text(path)).get("scripts", {})
        yield from _said(" ".join(str(each) for each in scripts.values()) if isinstance(scripts, dict) else "")
    elif not _NO_TEXTS.fullmatch(base) and (_TEXTS.fullmatch(base) or _COMMANDS_FOLDERS.fullmatch(name)):
        yield from _said(_COMMENT.sub("", _text(path)))


def _said(text: str) -> Iterator[str]:
    """Give each word of a text, and what it begins with: `uvicorn.workers.UvicornWorker`, `postgresql+psycopg2`."""
    for word in _WORD.findall(text):
        word = word.rstrip(".")
        yield word
        yield from (part for part in re.split(r"[.+]", word) if part)
        head, dot, rest = word.partition(".")
        while dot:
            part, dot, rest = rest.partition(".")
            head = f"{head}.{part}"
            yield head


def _words_of_pyproject(text: str) -> Iterator[str]:
    """Take the tables of tools, and what builds the package; what declares requirements uses none of them."""
    data = _toml(text)
    tools = data.get("tool", {})
    for name, table in tools.items() if isinstance(tools, dict) else ():
        yield name
        if name not in ("csci_utils", "poetry", "pdm", "uv", "hatch", "flit"):
            yield from _words_of_data(table)
    yield from _words_of_data(data.get("build-system", {}))


def _words_of_setup_cfg(text: str) -> Iterator[str]:
    config = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        config.read_string(text)
    except (configparser.Error, AttributeError):  # the second where a key without a value goes on in another line
        return
    for section in config.sections():
        if not section.startswith(("metadata", "options")):
            yield from _said(section.replace(":", " "))
            yield from _said(" ".join(f"{key} {value}" for key, value in config.items(section)))


def _words_of_data(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _said(str(key))
            yield from _words_of_data(value)
    elif isinstance(data, list):
        for each in data:
            yield from _words_of_data(each)
    elif isinstance(data, str):
        yield from _said(data)


def _toml(text: str) -> dict[str, Any]:
    try:
        return parse_toml(text)
    except ValueError:
        return {}


def _text(path: Path) -> str:
    try:
        return read_file(path, largest_bytes=LARGEST_FILE_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""
