"""What a requirements file declares, and the files that it names, line by line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import parse_qs, urldefrag, urlsplit

from csci_utils.deps.entries import as_extras
from csci_utils.deps.errors import RequirementsError
from csci_utils.deps.facts import VCS, Declared, Source, normal_name

SECTION = "requirements"

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
    for line, text in _logical_lines(_decoded(path.read_bytes())):
        option = _OPTION.fullmatch(text)
        if option is None:
            yield _declared(text, file=path, line=line, editable=False)
        elif option["option"] in ("-e", "--editable"):
            yield _declared(option["value"].strip(), file=path, line=line, editable=True)
        elif option["option"] in ("-r", "--requirement"):
            other = path.parent / option["value"].strip()
            if not other.is_file():
                raise RequirementsError(f"{path}:{line}: wanted the file {other}, found none; mend or remove the line")
            yield from _read(other, seen=seen)


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

    text = _TRAILING_OPTIONS.sub("", text).strip()
    try:
        found = Requirement(text)
    except InvalidRequirement as err:
        if editable or _looks_like_address(text):
            return _of_address(text, file=file, line=line, editable=editable)
        what = f"wanted a requirement, found {text!r}; mend or remove the line"
        raise RequirementsError(f"{file}:{line}: {what}") from err
    source: Source = "index"
    address = ref = None
    if found.url:
        source, address, ref = _taken_apart(found.url)
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
    text, _, marker = text.partition(" ;")
    address, fragment = urldefrag(text.strip())
    source, plain, ref = _taken_apart(address)
    extras = re.search(r"\[([^\]]*)\]$", plain)
    plain = plain[: extras.start()] if extras else plain
    egg = parse_qs(fragment).get("egg", [""])[0]
    last = PurePosixPath(urlsplit(plain).path.rstrip("/")).name
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


def _taken_apart(address: str) -> tuple[Source, str, str | None]:
    """Tell a repository (`git+https://host/x@ref`) from a URL and a path."""
    kind, plus, rest = address.partition("+")
    for vcs in VCS:
        if plus and kind == vcs:
            head, at, ref = rest.rpartition("@")
            return (vcs, head, ref) if at and "/" not in ref and "://" in head else (vcs, rest, None)
    return ("url" if "://" in address and not address.startswith("file:") else "path"), address, None
