"""Where things lie, where to run and how patient to be with the store: the only reader of the environment.

Order: command line, environment, ``.env``, luigi.cfg section ``[pipeline]``, default. Secrets are not read here:
boto3 finds them itself, in the environment (where ``.env`` may have put them) or in the AWS profile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from math import isfinite
from pathlib import Path
from typing import Any, get_type_hints

from csci_utils import s3
from csci_utils.s3 import S3Limits
from neural_style.byte_size import AUTO, parse_memory
from neural_style.contract import DEFAULT_PRECISION, ENGINES
from pipeline.choices import CHECKS, one_of
from pipeline.errors import NotConfiguredError

_S3_ROOT = re.compile(r"s3://([a-z0-9][a-z0-9.\-_]*)(/(?!\.{1,2}(/|$))[^/\x00-\x1f]+)*", re.IGNORECASE)
_BUCKET_CHARACTERS = range(3, 64)
_LEAST_PART_BYTES = 5 * 1024 * 1024
_YES_OR_NO = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("0", "false", "no", "off"), False)

HOW_TO_CONFIGURE = (
    "no S3 bucket is configured: set PIPELINE_S3_ROOT=s3://BUCKET/PREFIX (or --s3-root), "
    "or try it without an account with --embedded"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every task of one run relies on.

    Attributes:
        s3_root: ``s3://bucket/prefix`` without a slash at the end; empty when nothing is configured.
        local_root: Absolute path of the folder that mirrors the S3 root.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:<index>`` or ``mps``.
        engine: One of `neural_style.contract.ENGINES`, for styling.
        precision: One of `neural_style.contract.PRECISIONS`, for styling.
        memory: What a picture may take while it is styled, as `neural_style.byte_size.parse_memory` reads it.
        offline: Whether local copies are taken as they are, without asking S3.
        s3_limits: How patient to be with the store.
        s3_addressing_style: How buckets are named in addresses: ``auto``, ``path`` or ``virtual``; empty leaves that to
            boto3 and the AWS profile.

    Raises:
        NotConfiguredError: a value does not have its form.
    """

    s3_root: str
    local_root: Path
    device: str
    engine: str = ENGINES[0]
    precision: str = DEFAULT_PRECISION
    memory: str = AUTO
    offline: bool = False
    s3_limits: S3Limits = S3Limits()
    s3_addressing_style: str = ""

    def __post_init__(self) -> None:
        """Check each field by itself; the message names it."""
        if self.s3_root:
            checked_s3_root(self.s3_root)
        for name, check in CHECKS.items():
            check(getattr(self, name))
        if style := self.s3_addressing_style:
            try:
                one_of(s3.ADDRESSING_STYLES, name="s3_addressing_style", found=style)
            except NotConfiguredError as err:
                raise NotConfiguredError(f"{err}; correct {_origin('s3_addressing_style')}") from err

    @property
    def journal(self) -> Path:
        """Folder in which sends in parts are noted (`csci_utils.s3.put`)."""
        return self.local_root / ".uploads"

    @property
    def model_cache(self) -> Path:
        """Folder in which engines keep models as they want them; it may be removed at any time."""
        return self.local_root / ".cache" / "models"

    @property
    def memory_bytes(self) -> int | None:
        """What a picture may take while it is styled; None for half of what is free."""
        return parse_memory(self.memory)

    def required_s3_root(self) -> str:
        """The S3 root.

        Raises:
            NotConfiguredError: there is none; the message says how to give one.
        """
        if not self.s3_root:
            raise NotConfiguredError(HOW_TO_CONFIGURE)
        return self.s3_root


def checked_s3_root(s3_root: str) -> str:
    """Return an S3 root without slashes at its end.

    Raises:
        NotConfiguredError: it is not ``s3://bucket`` or ``s3://bucket/prefix``.
    """
    root = s3_root.rstrip("/")
    match = _S3_ROOT.fullmatch(root)
    if match is None:
        found = "credentials in it" if "@" in s3_root else repr(s3_root)  # which no message may show
        raise NotConfiguredError(
            f"s3_root wants s3://bucket/prefix, found {found}; correct --s3-root or PIPELINE_S3_ROOT"
        )
    if len(match[1]) not in _BUCKET_CHARACTERS:
        raise NotConfiguredError(
            f"a bucket's name has 3 to 63 characters, found {match[1]!r}; correct --s3-root or PIPELINE_S3_ROOT"
        )
    return root


def read_settings(
    *,
    s3_root: str | None = None,
    local_root: str | None = None,
    device: str | None = None,
    engine: str | None = None,
    precision: str | None = None,
    memory: str | None = None,
    offline: bool | None = None,
    s3_limits: S3Limits | None = None,
    dotenv: bool = True,
) -> Settings:
    """Read the settings; what is given here (the command line) comes first.

    Args:
        s3_root: From ``--s3-root``.
        local_root: From ``--local-root``.
        device: From ``--device``.
        engine: From ``--engine``.
        precision: From ``--precision``.
        memory: From ``--memory``.
        offline: From ``--offline``.
        s3_limits: All limits of the store, from a caller that does not leave them to the user.
        dotenv: Whether ``.env`` of the working folder is read, into the environment, overriding nothing there.

    Raises:
        NotConfiguredError: a value does not have its form.
    """
    if dotenv:
        _load_dotenv()
    root = s3_root if s3_root is not None else _lookup("s3_root", "")
    folder = local_root if local_root is not None else _lookup("local_root", "data")
    if not folder or "\0" in folder:
        raise NotConfiguredError(f"local_root wants a folder, found {folder!r}; set PIPELINE_LOCAL_ROOT")
    return Settings(
        s3_root=root.rstrip("/"),
        local_root=_absolute(folder),
        device=_checked("device", given=device, default="auto"),
        engine=_checked("engine", given=engine, default=ENGINES[0]),
        precision=_checked("precision", given=precision, default=DEFAULT_PRECISION),
        memory=_checked("memory", given=memory, default=AUTO),
        offline=offline if offline is not None else _parsed("offline", _lookup("offline", "no"), bool),
        s3_limits=s3_limits or _s3_limits(),
        s3_addressing_style=_lookup("s3_addressing_style", "").lower(),
    )


def current() -> Settings:
    """The settings of this run; read on the first call, and then in force, unless `use` has set them."""
    global _current
    if _current is None:
        read = read_settings()
        _put_in_force(read.s3_limits, read.s3_addressing_style, read.journal)
        _current = read
    return _current


@contextmanager
def use(settings: Settings) -> Iterator[Settings]:
    """Make `settings` the current ones within the block, and put them in force; forked workers inherit that."""
    global _current
    before, limits, style, journal = _current, s3.limits(), s3.addressing_style(), s3.default_journal()
    _put_in_force(settings.s3_limits, settings.s3_addressing_style, settings.journal)
    _current = settings
    try:
        yield settings
    finally:
        _current = before
        _put_in_force(limits, style, journal)


def is_one_of_several() -> bool:
    """Whether `torchrun` started this process, among others that train together."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


_current: Settings | None = None


def _put_in_force(limits: S3Limits, addressing_style: str | None, journal: Path | None) -> None:
    """Tell `csci_utils.s3`; only what is new to it, for that drops its client and the connections."""
    if s3.limits() != limits:
        s3.use_limits(limits)
    if s3.addressing_style() != (addressing_style or None):
        s3.use_addressing_style(addressing_style or None)
    s3.use_journal(journal)


def _s3_limits() -> S3Limits:
    """Each limit by the name of its field, so that a new one is a setting without a line here."""
    kinds = get_type_hints(S3Limits)
    found = {field.name: _lookup(f"s3_{field.name}", "") for field in fields(S3Limits)}
    given = {name: _parsed(f"s3_{name}", value, kinds[name]) for name, value in found.items() if value}
    if given.get("part_bytes", _LEAST_PART_BYTES) < _LEAST_PART_BYTES:
        wanted = f"s3_part_bytes wants {_LEAST_PART_BYTES} or more, as S3 does, found {given['part_bytes']}"
        raise NotConfiguredError(f"{wanted}; correct {_origin('s3_part_bytes')}")
    try:
        return S3Limits(**given)
    except ValueError as err:  # which names the fields
        what = str(err).replace("S3Limits.", "s3_").replace(": wanted", " wants")
        where = " and ".join(_origin(f"s3_{name}") for name in given if f"s3_{name}" in what)
        raise NotConfiguredError(f"{what}; correct {where or 'it'}") from err


def _parsed(name: str, value: str, kind: type) -> Any:
    """Read a setting's text as what it has to be: a whole number, a number, yes or no, or a text."""
    text = value.strip()
    try:
        if kind is bool:
            return _YES_OR_NO[text.lower()]
        parsed = kind(text)
        if kind is float and not isfinite(parsed):
            raise ValueError(text)
    except (ValueError, KeyError):
        wanted = {bool: "yes or no", int: "a whole number", float: "a number"}[kind]
        raise NotConfiguredError(f"{name} wants {wanted}, found {value!r}; correct {_origin(name)}") from None
    return parsed


def _checked(name: str, *, given: str | None, default: str) -> str:
    """The value given on the command line, or the one found elsewhere; where it came from is named if it is wrong."""
    value = given if given is not None else _lookup(name, default)
    try:
        return CHECKS[name](value)
    except NotConfiguredError as err:
        raise NotConfiguredError(f"{err}; correct {f'--{name}' if given is not None else _origin(name)}") from err


def _lookup(name: str, default: str) -> str:
    """Environment before luigi.cfg before `default`; an empty value counts as none."""
    from luigi.configuration import get_config

    value = os.environ.get(_variable(name)) or get_config().get("pipeline", name, "")
    return str(value) or default


def _variable(name: str) -> str:
    return f"PIPELINE_{name.upper()}"


def _origin(name: str) -> str:
    """Where a setting that is not the default comes from (`.env` is in the environment by now)."""
    return _variable(name) if os.environ.get(_variable(name)) else f"{name} in luigi.cfg's section [pipeline]"


def _absolute(folder: str) -> Path:
    try:
        return Path(folder).expanduser().absolute()
    except RuntimeError as err:
        raise NotConfiguredError(f"local_root wants a folder, found {folder!r}: there is no such user") from err


def _load_dotenv() -> None:
    if not Path(".env").is_file():
        return
    from dotenv import load_dotenv

    try:
        load_dotenv(".env", override=False)
    except (OSError, ValueError) as err:  # no permission, not UTF-8, a NUL; the text may hold a secret, so it stays out
        raise NotConfiguredError(
            f".env of {str(Path.cwd())!r} cannot be read ({type(err).__name__}); mend it, or move it away"
        ) from None
