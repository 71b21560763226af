"""What can go wrong at the border to S3, in exceptions a caller would expect and sentences a user can act on.

botocore's exceptions are recognised by name, so that this module costs nothing to import. No text holds a secret:
servers' own messages are left out where keys are refused, of an endpoint's address only scheme, host and port stay, and
what botocore says itself goes through `csci_utils.s3.redact`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from csci_utils.s3.credentials import of_credentials, what_failed
from csci_utils.s3.redact import bad_header, reason_of, strip_secrets, told_by, without_logins
from csci_utils.s3.uri import S3Uri


class S3Error(OSError):
    """Something S3 refused or failed to do; its text is one line that names bucket and key.

    Attributes:
        num_retries: how often the request had been sent before the answer that this error tells of.
    """

    num_retries = 0


SomeS3Error = TypeVar("SomeS3Error", bound=S3Error)


class ObjectMissingError(S3Error, FileNotFoundError):
    """There is no object of that key."""


class BucketMissingError(S3Error, FileNotFoundError):
    """There is no bucket of that name."""


class ObjectExistsError(S3Error, FileExistsError):
    """There is an object of that key already, and it was not to be replaced."""


class AccessRefusedError(S3Error, PermissionError):
    """The store refused this; it may allow the same of another object."""


class KeysRefusedError(S3Error, PermissionError):
    """The store refuses whatever is asked with these keys, or by this machine's clock."""


class CredentialsMissingError(S3Error, PermissionError):
    """No usable credentials were found on this side."""


class StoreTimeoutError(S3Error, TimeoutError):
    """The store stayed silent for too long."""


class StoreUnreachableError(S3Error, ConnectionError):
    """No connection, or one that broke."""


class DigestMismatchError(S3Error):
    """The bytes that came are not the bytes that were stored, or those that were stored not the ones that were sent."""


class ObjectChangedError(S3Error):
    """The object is not, or no longer, the one that a request was to work on."""


class ObjectUnreadableError(S3Error):
    """The object is there, and the store does not give its bytes to anybody as things are."""


class ConflictError(S3Error):
    """Another request about the same object was under way: worth another try, which sees what became of it."""


class UploadMissingError(S3Error, FileNotFoundError):
    """There is no such multipart upload: it was completed or given up."""


class UnsupportedError(S3Error):
    """The store does not know what was asked of it."""


FAULTS_OF_ONE_OBJECT = (
    ObjectMissingError,
    ObjectChangedError,
    ObjectUnreadableError,
    DigestMismatchError,
    AccessRefusedError,
)
"""Why one object could not be had, where others may be."""


class _Border(NamedTuple):
    """What one foreign error becomes; its braces name facts that `translate` fills in."""

    kind: type[S3Error]
    sentence: str


_KEYS_REFUSED = "the store refused the credentials ({code}: {meaning}); check the AWS profile or the AWS_* variables"
_WRONG_REGION = "the bucket is in another region{region} ({code}); set AWS_DEFAULT_REGION or the profile's region to it"

_OF_KEYS = {
    "InvalidAccessKeyId": "it does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "ExpiredToken": "the session has expired, sign in again",
    "ExpiredTokenException": "the session has expired, sign in again",
    "TokenRefreshRequired": "the session has expired, sign in again",
    "InvalidToken": "the session token is not valid",
    "InvalidClientTokenId": "it does not know the access key",
}

_BY_CODE: dict[str, _Border] = {
    "NoSuchBucket": _Border(
        BucketMissingError, "there is no bucket {bucket!r} ({code}); check its name and the endpoint"
    ),
    "NoSuchKey": _Border(ObjectMissingError, "there is no such object ({code}); put it there, or check the key"),
    "404": _Border(ObjectMissingError, "found nothing there ({code}); check the bucket's name and the key"),
    "AccessDenied": _Border(
        AccessRefusedError,
        "the store refused ({code}); ask for permission on it (without permission to list the bucket, "
        "S3 answers the same for an object that is not there)",
    ),
    **{
        code: _Border(KeysRefusedError, _KEYS_REFUSED.replace("{meaning}", meaning))
        for code, meaning in _OF_KEYS.items()
    },
    "RequestTimeTooSkewed": _Border(KeysRefusedError, "this machine's clock is off ({code}); set it right"),
    "RequestExpired": _Border(KeysRefusedError, "this machine's clock is off ({code}); set it right"),
    "RequestTimeout": _Border(StoreTimeoutError, "the store waited too long for bytes from here ({code}); try again"),
    **dict.fromkeys(
        ("301", "307", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"),
        _Border(S3Error, _WRONG_REGION),
    ),
    "InvalidBucketName": _Border(S3Error, "{bucket!r} is not a name a bucket can have ({code})"),
    "InvalidObjectState": _Border(ObjectUnreadableError, "the object is archived ({code}); restore it first"),
    **dict.fromkeys(
        ("412", "PreconditionFailed", "416", "InvalidRange"),
        _Border(ObjectChangedError, "the object is not the one that was seen before ({code}); look it up again"),
    ),
    **dict.fromkeys(
        ("ConditionalRequestConflict", "OperationAborted"),
        _Border(ConflictError, "another request about it was under way ({code}); try again"),
    ),
    "NoSuchUpload": _Border(UploadMissingError, "the store knows no such multipart upload ({code}); send it again"),
    **dict.fromkeys(
        ("501", "NotImplemented"), _Border(UnsupportedError, "the store cannot do this ({code}); use another store")
    ),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"),
        _Border(DigestMismatchError, "other bytes arrived there than were sent ({code}); check the network"),
    ),
    "IncompleteBody": _Border(
        DigestMismatchError, "fewer bytes arrived there than were sent ({code}); check the network and proxies"
    ),
    "EntityTooLarge": _Border(S3Error, "the object is larger than the store takes ({code})"),
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "429"),
        _Border(S3Error, "the store asks to slow down ({code}); try again later, with fewer workers"),
    ),
}
_BY_CODE["NotFound"] = _BY_CODE["404"]
_BY_CODE["403"] = _BY_CODE["Forbidden"] = _BY_CODE["AllAccessDisabled"] = _BY_CODE["AccessDenied"]
_OF_WRITES: dict[str, _Border] = {
    **dict.fromkeys(
        ("404", "NotFound", "NoSuchKey"),
        _Border(S3Error, "the store knows no such place ({code}); check the bucket's name, the key and the endpoint"),
    ),
    "400": _Border(
        DigestMismatchError, "the store could not read what arrived there ({code}); check the network and proxies"
    ),
}
_KEY_UNUSABLE = _Border(
    ObjectUnreadableError, "the key that it is encrypted with cannot be used ({code}: {detail}); have the key enabled"
)
_OF_READS: dict[str, _Border] = {
    "InvalidRequest": _Border(
        ObjectUnreadableError,
        "the store does not give it without more than its name ({code}: {detail}); an object that is encrypted with a "
        "customer's own key has to be put there without it",
    ),
}
_SERVER_FAILED = _Border(S3Error, "the store failed ({code}) however often it was asked; try again later")
_UNKNOWN_CODE = _Border(S3Error, "the store answered {code}: {detail}")

_NO_CREDENTIALS = (
    "no credentials were found; sign in, set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
)
_BAD_CREDENTIALS = (
    "the credentials configured here cannot be used ({name}); check the AWS profile or the AWS_* variables"
)
_SILENT = (
    "{endpoint} did not answer in time ({name}); check the endpoint's address, the network and proxies, then try again"
)
_TAKES_NOTHING = "{endpoint} took no more bytes in time; check the network and proxies, then try again"
_NO_CONNECTION = "cannot connect to {endpoint} ({name}); check the endpoint's address, the network and proxies"

_BAD_HEADER = _Border(
    CredentialsMissingError,
    "{header} holds a line break, which cannot be sent; set AWS_ACCESS_KEY_ID and "
    "AWS_SESSION_TOKEN, or the profile, again",
)

_BY_CLASS: dict[str, _Border] = {
    "NoCredentialsError": _Border(CredentialsMissingError, _NO_CREDENTIALS),
    **dict.fromkeys(
        (
            "PartialCredentialsError",
            "CredentialRetrievalError",
            "NoAuthTokenError",
            "TokenRetrievalError",
            "UnknownCredentialError",
            "RefreshWithMFAUnsupportedError",
            "SSOError",
            "LoginError",
            "MetadataRetrievalError",
        ),
        _Border(CredentialsMissingError, _BAD_CREDENTIALS),
    ),
    "ProfileNotFound": _Border(CredentialsMissingError, "{detail}; check AWS_PROFILE"),
    "ConnectTimeoutError": _Border(StoreTimeoutError, _SILENT),
    "ReadTimeoutError": _Border(StoreTimeoutError, _SILENT),
    "SSLError": _Border(
        S3Error, "no secure connection to {endpoint} ({reason}); check its certificate and AWS_CA_BUNDLE"
    ),
    "ResponseStreamingError": _Border(
        StoreUnreachableError, "the connection broke in the middle of the bytes; try again"
    ),
    "IncompleteReadError": _Border(StoreUnreachableError, "the connection broke in the middle of the bytes; try again"),
    "ConnectionClosedError": _Border(StoreUnreachableError, "{endpoint} closed the connection; try again"),
    "ConnectionError": _Border(StoreUnreachableError, _NO_CONNECTION),
    "HTTPClientError": _Border(
        StoreUnreachableError, "the connection to {endpoint} failed ({reason}); check proxies, then try again"
    ),
    "FlexibleChecksumError": _Border(DigestMismatchError, "{detail}; try again, then replace the object"),
    "ParamValidationError": _Border(S3Error, "S3 takes no such bucket name or key: {detail}"),
    "ResponseParserError": _Border(S3Error, "what answered speaks no S3; check the endpoint's address"),
    "NoRegionError": _Border(S3Error, "no region is configured; set AWS_DEFAULT_REGION or the profile's region"),
    "InvalidMaxRetryAttemptsError": _Border(S3Error, "{detail}; check AWS_MAX_ATTEMPTS or the profile's max_attempts"),
    "InvalidRetryModeError": _Border(S3Error, "{detail}; check AWS_RETRY_MODE or the profile's retry_mode"),
    "ConfigParseError": _Border(S3Error, "{detail}; mend it, or check AWS_CONFIG_FILE and AWS_SHARED_CREDENTIALS_FILE"),
    "BotoCoreError": _Border(S3Error, "{detail}; check the AWS configuration"),
    "Boto3Error": _Border(S3Error, "{detail}"),
}


@contextmanager
def translated(uri: S3Uri | str, action: str) -> Iterator[None]:
    """Turn what botocore raises in the block into one of this module's errors; the rest passes through.

    Args:
        uri: what the block works on.
        action: what was wanted, as in "read it".
    """
    before = sys.exception()
    try:
        yield
    except Exception as err:
        error = translate(err, uri=uri, action=action)
        if error is None:
            raise
        told = not of_credentials(err) and not _names_keys(err) and strip_secrets(err, before=before)
        raise error from (err if told else None)


def translate(err: Exception, *, uri: S3Uri | str, action: str) -> S3Error | None:
    """Return the error of this module that says what a botocore error means, None for any other error.

    What comes up while botocore looks for credentials is meant, too, whoever raised it.
    """
    of_theirs = what_failed(err) if of_credentials(err) else None
    if of_theirs is None and type(err).__module__.partition(".")[0] not in ("botocore", "boto3", "s3transfer"):
        return None
    facts = {
        "name": type(err).__name__,
        "endpoint": _endpoint(err),
        "reason": reason_of(err),
        "detail": told_by(err),
        "header": bad_header(err) or "",
        "bucket": _bucket(uri),
    }
    if isinstance(getattr(err, "response", None), dict) and "Error" in err.response:  # type: ignore[attr-defined]
        border = _answer(err.response, facts, action=action)  # type: ignore[attr-defined]
    elif facts["header"]:
        border = _BAD_HEADER
    elif took_no_more(err):
        border = _Border(StoreTimeoutError, _TAKES_NOTHING)
    else:
        names = (cls.__name__ for cls in type(err).__mro__)
        border = next((_BY_CLASS[name] for name in names if name in _BY_CLASS), _BY_CLASS["BotoCoreError"])
    if of_theirs is not None:
        border = _Border(CredentialsMissingError, of_theirs)
    error = said(border.kind, uri=uri, action=action, what=border.sentence.format(**facts))
    error.num_retries = _num_retries(err)
    return error


def took_no_more(err: BaseException | None) -> bool:
    """Tell whether a connection was closed on this side, because the store took no more of a body in time.

    botocore (1.44) calls that a closed connection, as it does one that the other side closed.
    """
    inner = getattr(err, "kwargs", {}).get("error")
    return type(err).__name__ == "ConnectionClosedError" and any(
        isinstance(each, TimeoutError) for each in (inner, *getattr(inner, "args", ()))
    )


def said(kind: type[SomeS3Error], *, uri: S3Uri | str, action: str, what: str) -> SomeS3Error:
    """Make an error whose text is one line: where, what was wanted, what was found and what to do."""
    return kind(one_line(f"{uri}: wanted to {action}: {what}"))


def one_line(text: str) -> str:
    """Escape what would break a line or a terminal, for keys may hold anything."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text.strip()
    )


def _answer(response: dict[str, Any], facts: dict[str, str], *, action: str) -> _Border:
    """Read an answer of the store: its code where it sent one, else the bare HTTP status (a HEAD has no body)."""
    metadata = response.get("ResponseMetadata", {})
    status = metadata.get("HTTPStatusCode", 0)
    code = str(response["Error"].get("Code") or status)
    region = metadata.get("HTTPHeaders", {}).get("x-amz-bucket-region") or response["Error"].get("Region")
    facts["code"] = code if code == str(status) or not status else f"{status} {code}"
    facts["region"] = f", {region}" if region else ""
    facts["detail"] = without_logins(str(response["Error"].get("Message") or "no reason given"))
    reads = action.startswith(("read ", "look "))
    if action.startswith("write ") and code in _OF_WRITES:
        return _OF_WRITES[code]
    if reads and code in _OF_READS:
        return _OF_READS[code]
    if reads and code.startswith("KMS."):
        return _KEY_UNUSABLE
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status >= 500 or code.startswith("5"):
        return _SERVER_FAILED
    return _BY_CODE.get(str(status), _UNKNOWN_CODE)


def _names_keys(err: Exception) -> bool:
    """Tell whether a store refused keys, for its words and the rest of its answer may hold them."""
    response = getattr(err, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") in _OF_KEYS


def _num_retries(err: Exception) -> int:
    response = getattr(err, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    return int(metadata.get("RetryAttempts", 0))


def _endpoint(err: Exception) -> str:
    """Name the server that was asked, without user, password, path or query."""
    url = getattr(err, "kwargs", {}).get("endpoint_url")
    try:
        parts = urlsplit(str(url or ""))
    except ValueError:  # half an IPv6 address
        return "the store"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "the store"


def _bucket(uri: S3Uri | str) -> str:
    return uri.bucket if isinstance(uri, S3Uri) else uri.removeprefix("s3://").partition("/")[0]
