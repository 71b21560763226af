"""One S3 client per process: how long it waits, how often it tries, and a line in the log for each new try."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from dataclasses import dataclass, fields
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, cast

from csci_utils.s3.credentials import of_credentials, shorten_renewal_log
from csci_utils.s3.errors import S3Error, one_line, took_no_more, translated
from csci_utils.s3.redact import bad_header, strip_secrets, told_by, without_logins
from csci_utils.s3.threads import stopped

logger = logging.getLogger("csci_utils.s3")

ADDRESSING_STYLES = ("auto", "path", "virtual")
"""Whether a bucket is named in the path of a request's address, in its host, or as boto3 sees fit."""

_GIVEN_UP_S = 60.0
_NUMBERS = {
    "max_attempts": "AWS_MAX_ATTEMPTS",
    "metadata_service_timeout": "AWS_METADATA_SERVICE_TIMEOUT",
    "csm_port": "AWS_CSM_PORT",
    "metadata_service_num_attempts": "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
}
_REASONS = {
    "ConnectTimeoutError": "there was no answer in time",
    "ReadTimeoutError": "there was no answer in time",
    "SSLError": "there was no secure connection",
    "ProxyConnectionError": "there was no connection to the proxy",
    "ConnectionError": "there was no connection",
    "ConnectionClosedError": "the connection was closed",
    "ResponseStreamingError": "the connection broke",
    "IncompleteReadError": "the connection broke",
    "HTTPClientError": "the connection failed",
}


@dataclass(frozen=True, kw_only=True)
class S3Limits:
    """How patient to be with a store.

    Attributes:
        connect_timeout_s: how long one address may take to accept a connection.
        read_timeout_s: how long an accepted connection may stay silent.
        max_attempts: tries of a request that the store answers with a failure that can pass (5xx, "slow down");
            ``AWS_MAX_ATTEMPTS`` or a profile's ``max_attempts`` wins over it.
        connect_attempts: tries when a connection is refused or the host unknown, which shows at once.
        silent_attempts: tries when nothing answers, which shows only after a time-out.
        body_attempts: tries of a whole body that arrives cut or damaged.
        chunk_bytes: how much of a body is held in memory; a file of up to this size is sent from there.
        pool_connections: connections kept open.
        range_bytes: objects of twice this size and more are fetched in ranges of it.
        parallel_ranges: ranges of one object fetched at a time.
        multipart_bytes: files of this size and more are sent in parts.
        part_bytes: how big a part is at least (S3 takes 5 MiB and more); bigger ones of files of more than eight such.
        parallel_parts: parts of one file sent at a time.
        parallel_objects: objects of a group fetched or sent at a time.
        stop_wait_s: how long threads that were told to stop, after an error or Ctrl-C, are waited for.
    """

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    max_attempts: int = 8
    connect_attempts: int = 8
    silent_attempts: int = 3
    body_attempts: int = 5
    chunk_bytes: int = 1024 * 1024
    pool_connections: int = 64
    range_bytes: int = 32 * 1024 * 1024
    parallel_ranges: int = 4
    multipart_bytes: int = 8 * 1024 * 1024
    part_bytes: int = 8 * 1024 * 1024
    parallel_parts: int = 4
    parallel_objects: int = 32
    stop_wait_s: float = 5.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"S3Limits.{field.name}: wanted a positive number, found {value!r}")
            if not field.name.endswith("_s") and not isinstance(value, int):
                raise ValueError(f"S3Limits.{field.name}: wanted a whole number, found {value!r}")


class _Process:
    """What one process holds: its limits, how it names buckets, and its client once one is needed."""

    def __init__(self) -> None:
        self.limits = S3Limits()
        self.addressing_style: str | None = None
        self.journal: Path | None = None
        self.lock = threading.Lock()
        self.client: Any = None
        self.pid = 0


_process = _Process()


def limits() -> S3Limits:
    """Return the limits in force."""
    return _process.limits


def use_limits(new: S3Limits) -> None:
    """Put other limits in force for this process and those it forks; the client is made again."""
    _process.limits = new
    forget_client()


def addressing_style() -> str | None:
    """Return how buckets are named in addresses; None when that is left to boto3 and the AWS profile."""
    return _process.addressing_style


def use_addressing_style(style: str | None) -> None:
    """Name buckets in another way in this process and those it forks; the client is made again.

    Args:
        style: one of `ADDRESSING_STYLES`; None leaves it to boto3 and the AWS profile.
    """
    if style is not None and style not in ADDRESSING_STYLES:
        raise ValueError(f"addressing_style: wanted one of {', '.join(ADDRESSING_STYLES)}, found {style!r}")
    _process.addressing_style = style
    forget_client()


def default_journal() -> Path | None:
    """Return the folder that remembers multipart uploads where a caller names none."""
    return _process.journal


def use_journal(folder: Path | None) -> None:
    """Let a folder remember multipart uploads in this process and those it forks (see `csci_utils.s3.put`)."""
    _process.journal = folder


def client() -> Any:
    """Return this process's S3 client (botocore's, as boto3's is), made at the first call and again after a fork.

    Credentials, endpoint and region are boto3's own affair: environment, profile, role.

    Raises:
        S3Error: the AWS configuration cannot be used.
    """
    with _process.lock:
        if _process.client is None or _process.pid != os.getpid():
            _process.client, _process.pid = _new_client(_process.limits), os.getpid()
        return _process.client


def forget_client() -> None:
    """Drop the client, so that the next call reads the AWS configuration anew."""
    with _process.lock:
        _process.client = None


def _after_fork() -> None:
    """Leave a lock that another thread of the parent may have held, and connections that belong to the parent."""
    _process.lock = threading.Lock()
    _process.client = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _new_client(limits: S3Limits) -> Any:
    import botocore
    import botocore.session  # rather than boto3, whose resources nobody needs here: a third of the time
    from botocore.config import Config

    shorten_renewal_log()
    with translated("S3", "set it up"):
        session = botocore.session.get_session()  # a new one: an old one would remember an older environment
        _check_numbers(session)
        session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_timestamp)
        patience = {"connect_timeout": limits.connect_timeout_s, "read_timeout": limits.read_timeout_s}
        session.set_default_client_config(Config(**patience))  # of what gives a role's credentials
        retries: dict[str, Any] = {}
        if session.get_config_variable("max_attempts") is None:
            retries["total_max_attempts"] = limits.max_attempts
        config = Config(
            **patience,
            max_pool_connections=limits.pool_connections,
            user_agent=f"csci_utils Botocore/{botocore.__version__}",  # its own is put together anew for each request
            request_checksum_calculation=_checksums(session),
            retries=retries,  # the mode is boto3's default, "standard", unless the user configures another
            s3={"addressing_style": addressing_style()} if addressing_style() else {},  # boto3 adds the profile's own
        )
        made = _made(session, config)
    watch = _Tries(limits, max_attempts=made.meta.config.retries.get("total_max_attempts", limits.max_attempts))
    made.meta.events.register_first("before-parameter-build.s3", watch.note_object)
    made.meta.events.register_first("needs-retry.s3", watch.judge)
    made.meta.events.register("request-created.s3", watch.log_new_try)
    made.meta.events.register_last("before-parameter-build", _want_no_checksum_of_a_range)
    _give_each_request_its_tries(made)
    return made


def _give_each_request_its_tries(made: Any) -> None:
    """Lift botocore's bound on the new tries of all requests of a client together: about 35, which threads share.

    Sixteen objects at a time that each meet four times a 503 would fail, most of them, after three tries. How often one
    request is tried stays bounded. (botocore 1.44; its "legacy" mode has no such bound.)
    """
    from botocore.retries.quota import RetryQuota

    for handler in made.meta.events._emitter._handlers.prefix_search("needs-retry.s3"):
        checker = getattr(getattr(handler, "__self__", None), "_retry_quota", None)
        if checker is not None:
            checker._quota = RetryQuota(initial_capacity=sys.maxsize)


def _timestamp(value: Any) -> datetime:
    """Read a date of a header or a listing as the standard library does: botocore's own parser takes ten times as long.

    It is most of what a page of a listing takes here. What is no such date is left to botocore.
    """
    try:
        return datetime.fromisoformat(value) if value[10:11] == "T" else parsedate_to_datetime(value)
    except (TypeError, ValueError, AttributeError):
        from botocore.utils import parse_timestamp

        return cast(datetime, parse_timestamp(value))


def _checksums(session: Any) -> str:
    """When uploads get checksums of boto3's: only on demand, unless the user says otherwise.

    Every upload here carries an MD5, which every store takes; not every store takes the others.
    """
    name = "request_checksum_calculation"
    configured = os.environ.get(f"AWS_{name.upper()}") or session.get_scoped_config().get(name)
    return str(configured or "when_required")


def _want_no_checksum_of_a_range(*, params: dict[str, Any], **_: Any) -> None:
    """Take back what boto3 adds by itself: a store may give the sum of the whole, which boto3 compares with a part."""
    if "Range" in params:
        params.pop("ChecksumMode", None)


def _check_numbers(session: Any) -> None:
    """Name the setting that is no number; botocore names its value alone."""
    for name, variable in _NUMBERS.items():
        try:
            session.get_config_variable(name)
        except ValueError as err:
            what = f"S3: {variable} or the profile's {name}: wanted a whole number, found something else; set it right"
            raise S3Error(what) from err


def _made(session: Any, config: Any) -> Any:
    before = sys.exception()
    try:
        return session.create_client("s3", config=config)
    except ValueError as err:  # how botocore refuses an endpoint's address, without the name of the setting
        if type(err).__module__.startswith("botocore") or of_credentials(err):
            raise
        error = S3Error(one_line(f"S3: {told_by(err)}; check AWS_ENDPOINT_URL_S3"))
        raise error from (err if strip_secrets(err, before=before) else None)


class _Tries:
    """Watches the tries of a client's requests: stops the hopeless ones early, and logs each one that is made again."""

    def __init__(self, limits: S3Limits, *, max_attempts: int) -> None:
        self.limits = limits
        self.max_attempts = max_attempts
        self.gave_up_at_s: float | None = None

    def note_object(self, *, params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        """Keep what a request is about, for the lines of the log."""
        context["csci_utils_about"] = _about(model.name, bucket=params.get("Bucket"), key=params.get("Key"))

    def judge(
        self, *, attempts: int, response: Any, caught_exception: Any, request_dict: dict[str, Any], **_: Any
    ) -> bool | None:
        """Return False to give up where more tries would only cost time; else leave it to botocore."""
        context = request_dict["context"]
        context["csci_utils_why"] = _why(response, caught_exception)
        if stopped():
            return False
        if caught_exception is not None and bad_header(caught_exception):
            return False  # it will not be another header the next time
        kind, allowed = self._allowed(caught_exception)
        seen = context[f"csci_utils_{kind}"] = context.get(f"csci_utils_{kind}", 0) + 1
        context["csci_utils_last"] = min(attempts + max(allowed - seen, 0), self.max_attempts)
        if caught_exception is None:
            self.gave_up_at_s = None
        elif seen >= allowed:
            self.gave_up_at_s = time.monotonic()
            return False
        return None

    def log_new_try(self, *, request: Any, operation_name: str, **_: Any) -> None:
        """Log a request that is made again, with the reason `judge` found."""
        attempt = request.context.get("retries", {}).get("attempt", 1)
        if attempt > 1:
            logger.warning(
                "%s: try %d of %d, because %s",
                request.context.get("csci_utils_about") or _about(operation_name),
                attempt,
                request.context.get("csci_utils_last", self.max_attempts),
                request.context.get("csci_utils_why", "the last one failed"),
            )

    def _allowed(self, caught: Any) -> tuple[str, int]:
        """Return a failure's kind and how often that kind may happen to one request.

        Once, soon after the store was given up: many tasks may ask it one after another.
        """
        names = {cls.__name__ for cls in type(caught).__mro__}
        if names & {"ReadTimeoutError", "ConnectTimeoutError"} or took_no_more(caught):
            kind, allowed = "silent", self.limits.silent_attempts
        elif "ConnectionError" in names and type(caught).__module__.startswith("botocore"):
            kind, allowed = "unreachable", self.limits.connect_attempts
        else:
            return "other", self.max_attempts
        given_up = self.gave_up_at_s is not None and time.monotonic() - self.gave_up_at_s < _GIVEN_UP_S
        return kind, 1 if given_up else allowed


def _about(operation: str, *, bucket: Any = None, key: Any = None) -> str:
    """Name the object of a request, or what there is of it and the operation, as in "s3://bucket (head bucket)"."""
    if bucket and key:
        return one_line(f"s3://{bucket}/{key}")
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", operation).lower()
    return one_line(f"{f's3://{bucket}' if bucket else 'S3'} ({words})")


def _why(response: Any, caught: Any) -> str:
    """Say why a try failed, in words that go after "because"."""
    if caught is not None:
        if took_no_more(caught):
            return "it took no more bytes in time"
        names = (cls.__name__ for cls in type(caught).__mro__)
        return next((_REASONS[name] for name in names if name in _REASONS), f"of {type(caught).__name__}")
    if response is None:
        return "there was no answer"
    http, parsed = response
    code = parsed.get("Error", {}).get("Code") if isinstance(parsed, dict) else None
    status = str(http.status_code)
    return one_line(f"the store answered {status} {without_logins(str(code)) if code and str(code) != status else ''}")
