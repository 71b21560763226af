"""What is installed at each place, as facts: where each distribution came from, and which one hides the others."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from csci_utils.deps import probe
from csci_utils.deps.conda_and_pipenv import conda_packages
from csci_utils.deps.errors import InterpreterError, one_line
from csci_utils.deps.facts import Distribution, Environment, Origin, normal_name
from csci_utils.deps.interpreter import TIMEOUT_S, ask
from csci_utils.deps.places import Place, is_venv
from csci_utils.deps.text import without_secrets

_AT_A_TIME = 8
_STEP_S = 0.5
_DOUBLED = "more than one metadata folder has its name, {} is found first; reinstall it"


def read_environments(
    places: Sequence[Place], *, modules: bool = False, timeout_s: float = TIMEOUT_S
) -> list[Environment]:
    """Read what is installed at each place, several at a time.

    Args:
        places: from `places.find_places`.
        modules: whether to read what each distribution can be imported as.
        timeout_s: how long each interpreter may take.

    Returns:
        One environment a place, in their order, except that places of the same root become one. What cannot be read
        has no distributions and says so in its `problems`.

    Raises:
        InterpreterError: one that somebody named cannot be read.
    """
    unwanted = threading.Event()

    def read_one(place: Place) -> Environment:
        return read_environment(place, modules=modules, timeout_s=timeout_s, unwanted=unwanted)

    with ThreadPoolExecutor(max_workers=_AT_A_TIME) as pool:
        try:
            read = _results([pool.submit(read_one, place) for place in places])
        except BaseException:  # also an interrupt: nobody waits for those that are left
            unwanted.set()
            pool.shutdown(cancel_futures=True)
            raise
    unique: dict[str, Environment] = {}
    for each in read:
        unique.setdefault(os.path.realpath(each.prefix) if each.python else each.label, each)
    return list(unique.values())


def _results(futures: Sequence[Future[Environment]]) -> list[Environment]:
    """Wait for all, or for the first that fails; in steps, since an interrupt that comes just before a wait waits, too.

    Raises:
        Exception: what one of them raised.
    """
    something_ended = threading.Event()
    for future in futures:
        future.add_done_callback(lambda _future: something_ended.set())
    while True:
        something_ended.clear()
        done = [future for future in futures if future.done()]
        read = [future.result() for future in done]
        if len(done) == len(futures):
            return read
        something_ended.wait(_STEP_S)


def read_environment(
    place: Place, *, modules: bool = False, timeout_s: float = TIMEOUT_S, unwanted: threading.Event | None = None
) -> Environment:
    """Read what is installed at one place: its interpreter is asked; a folder without one is read as it lies there.

    Args:
        place: from `places.find_places`.
        modules: whether to read what each distribution can be imported as.
        timeout_s: how long its interpreter may take.
        unwanted: once this is set, the interpreter is ended.

    Raises:
        InterpreterError: somebody named it, and it cannot be read.
    """
    problems = []
    if place.python is not None:
        try:
            return _asked(place, ask(place.python, modules=modules, timeout_s=timeout_s, unwanted=unwanted))
        except InterpreterError as err:
            if place.kind in ("python", "folder"):
                raise
            problems.append(f"{err}; its folders are read as they lie")
    elif place.kind == "pipenv" or is_venv(place.folder):
        problems.append(
            f"{place.folder}: wanted an environment, found no interpreter in it that can be run; its folders are read "
            "as they lie; make it anew"
        )
    return replace(_from_folder(place, modules=modules), problems=tuple(problems))


def _asked(place: Place, report: Mapping[str, Any]) -> Environment:
    prefix = Path(report["prefix"])
    found = distributions_of(report["distributions"])
    return Environment(
        label=place.label,
        kind=place.kind,
        python=report["executable"] or str(place.python),
        prefix=str(prefix),
        version=report["markers"]["python_full_version"],
        markers=report["markers"],
        stdlib=frozenset(report["stdlib"]) or None,
        distributions=(*found, *_only_condas(prefix, found)),
    )


def _from_folder(place: Place, *, modules: bool) -> Environment:
    """Read the folders of distributions below an environment that cannot be asked, or the one that was named."""
    patterns = ("lib/python*/site-packages", "lib64/python*/site-packages", "Lib/site-packages")
    folders = list(
        {each.resolve(): each for pattern in patterns for each in sorted(place.folder.glob(pattern))}.values()
    )
    raw = [entry for each in folders or [place.folder] for entry in probe.read_folder(str(each), "env", modules)]
    found = distributions_of(raw)
    numbers = re.search(r"python(\d+\.\d+)", str(folders[0] if folders else place.folder))
    if not found and place.kind == "folder" and not folders and not any(place.folder.glob("conda-meta")):
        raise InterpreterError(
            f"{place.label}: wanted an environment or a folder of installed distributions, found neither a Python "
            "nor any metadata; name another one"
        )
    return Environment(
        label=place.label,
        kind=place.kind,
        python=None,
        prefix=str(place.folder),
        version=numbers[1] if numbers else None,
        distributions=(*found, *_only_condas(place.folder, found)),
    )


def _only_condas(prefix: Path, found: Iterable[Distribution]) -> Iterator[Distribution]:
    known = {each.name for each in found}
    return (each for each in conda_packages(prefix) if each.name not in known)


def distributions_of(raw: Iterable[Mapping[str, Any]]) -> tuple[Distribution, ...]:
    """Make facts of what a probe found, and tell which of one name hides the others.

    Args:
        raw: the entries of `probe.report`, in the order in which Python finds them.
    """
    first: dict[str, Distribution] = {}
    found = []
    for each in map(_distribution, raw):
        before = first.setdefault(each.name, each)
        if before is each:
            found.append(each)
        elif not _is_source_of(before, each):
            found.append(_hidden(each, before))
    doubled = {each.hidden_by for each in found if each.hidden_by and _in_one_folder(each.path, each.hidden_by)}
    return tuple(
        replace(each, problems=(*each.problems, _DOUBLED.format(each.path))) if each.path in doubled else each
        for each in found
    )


def _hidden(each: Distribution, before: Distribution) -> Distribution:
    doubled = _in_one_folder(each.path, before.path)
    problems = (*each.problems, _DOUBLED.format(before.path)) if doubled else each.problems
    return replace(each, hidden_by=before.path, problems=problems)


def _in_one_folder(path: str, other: str) -> bool:
    return os.path.dirname(path) == os.path.dirname(other)


def _is_source_of(editable: Distribution, other: Distribution) -> bool:
    """Tell the metadata that an editable installation leaves in its source, which lies on the path with it."""
    return (
        editable.editable
        and other.site == "path"
        and os.path.realpath(os.path.dirname(other.path)).startswith(os.path.realpath(editable.location))
    )


def _distribution(raw: Mapping[str, Any]) -> Distribution:
    direct = raw["direct_url"] or {}
    vcs, info = (part if isinstance(part, dict) else {} for part in (direct.get("vcs_info"), direct.get("dir_info")))
    in_source = raw["site"] == "path" and str(raw["path"]).endswith(".egg-info")
    editable = bool(info.get("editable")) or in_source
    source = _path_of(direct["url"]) if direct and editable else raw["folder"]
    return Distribution(
        name=normal_name(raw["name"]),
        spelled=one_line(raw["name"]),
        version=one_line(raw["version"]) if raw["version"] else None,
        path=raw["path"],
        location=source or raw["folder"],
        site=raw["site"],
        requires=tuple(one_line(without_secrets(each)) for each in raw["requires"]),
        extras=tuple(raw["extras"]),
        modules=tuple(raw["modules"]) if raw["modules"] is not None else None,
        installer=raw["installer"],
        editable=editable,
        origin=_origin(direct["url"], vcs) if direct else None,
        problems=tuple(raw["problems"]),
    )


def _path_of(url: str) -> str | None:
    """Give the folder that an address names; None where it is no address, or what it names can be none."""
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:
        return None
    return path if path.isprintable() else None


def _origin(url: str, vcs: Mapping[str, Any]) -> Origin:
    name, commit = (each if isinstance(each, str) else None for each in (vcs.get("vcs"), vcs.get("commit_id")))
    return Origin(url=without_secrets(url), vcs=name, commit=commit)
