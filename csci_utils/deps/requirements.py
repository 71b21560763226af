"""What a requirements file declares, and the files that it names, line by line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urldefrag, urlsplit, urlunsplit

from csci_utils.deps.entries import as_extras
from csci_utils.deps.errors import RequirementsError
from csci_utils.deps.facts import VCS, Declared, Source, normal_name
from csci_utils.deps.files import NotAFileError, read_file
from csci_utils.deps.text import quoted, without_secrets

SECTION = "requirements"

_FROM_INDEX: tuple[Source, str | None, str | None, str] = ("index", None, None, "")
_LOGIN = re.compile(r"(?<=/)[^\s/]*@|[^\s/]*:[^\s/]*@")
"""Of an address that is none by a slip of the pen: `https:/bob:PW@host`."""
_NAMED = re.compile(r"[\w.-]+\s*(\[[^\]]*\])?\s*@\s")
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_OPTION = re.compile(r"(?P<option>-[a-zA-Z]|--[a-z-]+)(?:\s*=\s*|\s+|(?<=^-[a-zA-Z])|$)(?P<value>.*)")
_TRAILING_OPTIONS = re.compile(r"\s+--(hash|global-option|config-settings|install-option)\b.*")
_ARCHIVE = re.compile(
    r"(?P<name>[A-Za-z0-9._]+(?:-[A-Za-z0-9._]+)*?)-(?P<version>[0-9][^-]*)(?:-.*)?\.(?:whl|zip|tar\.\w+|tgz)"
)


def read_requirements(path: Path) -> tuple[Declared, ...]:
    """Read a requirements file and those that it names with `-r`; constraints and options are left out.

    Raises:
        RequirementsError: a line is no requirement, or a file that it names is not there.
        FileNotFoundError: there is no such file.
    """
    return tuple(_read(path, seen=set()))


def _read(path: Path, *, seen: set[Path]) -> Iterator[Declared]:
    if path.resolve() in seen:  # two files may name each other
        return
    seen.add(path.resolve())
    for line, text in _logical_lines(_decoded(_read_file(path))):
        option = _OPTION.fullmatch(text)
        if option is None:
            yield _declared(text, file=path, line=line, editable=False)
        elif option["option"] in ("-e", "--editable"):
            yield _declared(option["value"].strip(), file=path, line=line, editable=True)
        elif option["option"] in ("-r", "--requirement"):
            name = option["value"].strip()
            other = path.parent / name
            if not other.is_file():
                what = f"wanted the file {without_secrets(name)} beside it, found none; mend or remove the line"
                raise RequirementsError(f"{path}:{line}: {what}")
            yield from _read(other, seen=seen)


def _read_file(path: Path) -> bytes:
    try:
        return read_file(path)
    except NotAFileError as err:
        raise RequirementsError(f"{path}: wanted a file, found a {err.what} of that name; rename it") from err


def _decoded(raw: bytes) -> str:
    """Decode as pip does, by the mark at its beginning (PowerShell writes UTF-16), else as UTF-8, else as Latin-1."""
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            return raw.decode(encoding, "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Join lines that end with a backslash, take comments out, and number what is left from 1."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if pending else number
        line = re.sub(r"(^|\s+)#.*$", "", line)
        if line.endswith("\\"):
            pending += line[:-1] + " "
            continue
        joined, pending = (pending + line).strip(), ""
        if joined:
            yield start, joined
    if pending.strip():
        yield start, pending.strip()


def _declared(text: str, *, file: Path, line: int, editable: bool) -> Declared:
    from packaging.requirements import InvalidRequirement, Requirement

    text = without_secrets(_TRAILING_OPTIONS.sub("", text).strip())
    try:
        found = Requirement(text)
        source, address, ref, _ = _taken_apart(found.url) if found.url else _FROM_INDEX
    except ValueError as err:  # what is no requirement, and addresses that are none
        if isinstance(err, InvalidRequirement) and (editable or _looks_like_address(text)) and not _NAMED.match(text):
            return _of_address(text, file=file, line=line, editable=editable)
        raise _no_requirement(text, file, line) from err
    return Declared(
        name=normal_name(found.name),
        spelled=found.name,
        section=SECTION,
        specifier=str(found.specifier),
        extras=as_extras(found.extras),
        marker=str(found.marker) if found.marker else None,
        source=source,
        address=address,
        ref=ref,
        editable=editable,
        file=file,
        line=line,
    )


def _looks_like_address(text: str) -> bool:
    return "://" in text or text.startswith((".", "/", "~")) or bool(_ARCHIVE.fullmatch(PurePosixPath(text).name))


def _of_address(text: str, *, file: Path, line: int, editable: bool) -> Declared:
    """Read a line that is an address: its name is that of its fragment, of the archive, or of the last folder."""
    address, _, marker = text.partition(" ;")
    try:
        source, plain, ref, fragment = _taken_apart(address.strip())
        extras = re.search(r"\[([^\]]*)\]$", plain)
        plain = plain[: extras.start()] if extras else plain
        last = PurePosixPath(urlsplit(plain).path.rstrip("/")).name
    except ValueError as err:
        raise _no_requirement(text, file, line) from err
    egg = parse_qs(fragment).get("egg", [""])[0]
    archive = _ARCHIVE.fullmatch(last)
    if source == "path" and last in ("", ".", ".."):
        last = (file.parent / plain).resolve().name
    name = egg.partition("[")[0] or (archive["name"] if archive else last.removesuffix(".git"))
    return Declared(
        name=normal_name(name),
        spelled=name,
        section=SECTION,
        extras=as_extras(extras[1] if extras else egg.partition("[")[2].rstrip("]")),
        marker=marker.strip() or None,
        source=source,
        address=plain,
        ref=ref,
        editable=editable,
        file=file,
        line=line,
    )


def _no_requirement(text: str, file: Path, line: int) -> RequirementsError:
    text = _LOGIN.sub("***@", text)
    return RequirementsError(f"{file}:{line}: wanted a requirement, found {quoted(text)}; mend or remove the line")


def _taken_apart(address: str) -> tuple[Source, str, str | None, str]:
    """Tell a repository (`git+https://host/x@ref#fragment`) from a URL and a path.

    Returns:
        Where it comes from, the address, the branch, tag or commit (which may hold a slash), and the fragment.

    Raises:
        ValueError: it is no address.
    """
    if not address.isprintable():
        raise ValueError("an address with control characters")
    address, fragment = urldefrag(address)
    kind, plus, rest = address.partition("+")
    for vcs in VCS:
        if plus and kind == vcs:
            parts = urlsplit(rest)
            path, at, ref = parts.path.rpartition("@") if parts.scheme else ("", "", parts.path)
            return vcs, urlunsplit(parts._replace(path=path if at else ref)), (at and ref) or None, fragment
    is_url = "://" in address and not address.startswith("file:")
    return "url" if is_url else "path", address, None, fragment
