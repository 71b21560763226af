"""Where things lie and where to run: the only reader of the environment.

Order: command line, environment, ``.env``, luigi.cfg section ``[pipeline]``, default. Secrets are not read here:
boto3 finds them itself, in the environment (where ``.env`` may have put them) or in the AWS profile.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import NotConfiguredError

_S3_ROOT = re.compile(r"s3://([a-z0-9][a-z0-9.\-_]*)(/(?!\.{1,2}(/|$))[^/\x00-\x1f]+)*", re.IGNORECASE)
_BUCKET_CHARACTERS = range(3, 64)
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
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
        offline: Whether local copies are taken as they are, without asking S3.

    Raises:
        NotConfiguredError: a value does not have its form.
    """

    s3_root: str
    local_root: Path
    device: str
    offline: bool = False

    def __post_init__(self) -> None:
        """Check each field by itself; the message names it."""
        if self.s3_root:
            checked_s3_root(self.s3_root)
        checked_device(self.device)

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


def checked_device(device: str) -> str:
    """Return a device's name, if it is one.

    Raises:
        NotConfiguredError: it is not.
    """
    if not _DEVICE.fullmatch(device):
        raise NotConfiguredError(f"device wants auto, cpu, cuda, cuda:1 or mps, found {device!r}")
    return device


def read_settings(
    *,
    s3_root: str | None = None,
    local_root: str | None = None,
    device: str | None = None,
    offline: bool | None = None,
    dotenv: bool = True,
) -> Settings:
    """Read the settings; what is given here (the command line) comes first.

    Args:
        s3_root: From ``--s3-root``.
        local_root: From ``--local-root``.
        device: From ``--device``.
        offline: From ``--offline``.
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
        device=device if device is not None else _lookup("device", "auto"),
        offline=offline if offline is not None else _yes_or_no("offline"),
    )


def current() -> Settings:
    """The settings of this run; read on the first call, unless `use` has set them."""
    global _current
    if _current is None:
        _current = read_settings()
    return _current


@contextmanager
def use(settings: Settings) -> Iterator[Settings]:
    """Make `settings` the current ones within the block; forked workers inherit them."""
    global _current
    before, _current = _current, settings
    try:
        yield settings
    finally:
        _current = before


_current: Settings | None = None


def _lookup(name: str, default: str) -> str:
    """Environment before luigi.cfg before `default`; an empty value counts as none."""
    from luigi.configuration import get_config

    value = os.environ.get(f"PIPELINE_{name.upper()}") or get_config().get("pipeline", name, "")
    return str(value) or default


def _yes_or_no(name: str) -> bool:
    value = _lookup(name, "no").strip().lower()
    if value not in _YES_OR_NO:
        raise NotConfiguredError(f"{name} wants yes or no, found {value!r}; set PIPELINE_{name.upper()} right")
    return _YES_OR_NO[value]


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
