from __future__ import annotations

import pickle
import re

import botocore.exceptions as foreign
import pytest
from botocore.parsers import ResponseParserError

from csci_utils.s3 import S3Uri, errors
from csci_utils.s3.errors import (
    AccessRefusedError,
    BucketMissingError,
    CredentialsMissingError,
    DigestMismatchError,
    KeysRefusedError,
    ObjectMissingError,
    ObjectUnreadableError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    translated,
)

URI = S3Uri("bucket", "images/cat.jpg")
SECRET_URL = "https://user:hunter2@store.example:9000/bucket/key?X-Amz-Signature=hunter2"


def client_error(code: str, status: int, message: str = "hunter2", **headers: str) -> foreign.ClientError:
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return foreign.ClientError(answer, "GetObject")


def raised(err: Exception) -> S3Error:
    with (
        pytest.raises(S3Error, match=r"^s3://bucket/images/cat\.jpg: wanted to read it: ") as caught,
        translated(URI, "read it"),
    ):
        raise err
    answer = getattr(err, "response", None) or {}
    refused_keys = answer.get("Error", {}).get("Code") in errors._OF_KEYS
    assert caught.value.__cause__ is (None if refused_keys else err)  # whose words may hold them
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind", "builtin", "sentence"),
    [
        ("NoSuchKey", 404, ObjectMissingError, FileNotFoundError, "there is no such object"),
        ("404", 404, ObjectMissingError, FileNotFoundError, "found nothing there"),
        ("NoSuchBucket", 404, BucketMissingError, FileNotFoundError, "there is no bucket 'bucket'"),
        ("AccessDenied", 403, AccessRefusedError, PermissionError, "the store refused"),
        ("403", 403, AccessRefusedError, PermissionError, "the store refused"),
        ("SomethingNew", 403, AccessRefusedError, PermissionError, r"the store refused \(403 SomethingNew\)"),
        ("InvalidAccessKeyId", 403, KeysRefusedError, PermissionError, "does not know the access key"),
        ("SignatureDoesNotMatch", 403, KeysRefusedError, PermissionError, "secret key does not belong"),
        ("ExpiredToken", 400, KeysRefusedError, PermissionError, "session has expired"),
        ("RequestTimeTooSkewed", 403, KeysRefusedError, PermissionError, "clock is off"),
        ("RequestTimeout", 400, StoreTimeoutError, TimeoutError, "waited too long"),
        ("503", 503, S3Error, OSError, r"the store failed \(503\)"),
        ("InternalError", 500, S3Error, OSError, r"the store failed \(500 InternalError\)"),
        ("SlowDown", 503, S3Error, OSError, "asks to slow down"),
        ("PermanentRedirect", 301, S3Error, OSError, "the bucket is in another region"),
        ("InvalidBucketName", 400, S3Error, OSError, "'bucket' is not a name a bucket can have"),
        ("InvalidObjectState", 403, ObjectUnreadableError, OSError, "archived"),
        ("InvalidRequest", 400, ObjectUnreadableError, OSError, "does not give it without more than its name"),
        ("KMS.DisabledException", 400, ObjectUnreadableError, OSError, "the key that it is encrypted with"),
    ],
)
def test_an_answer_becomes_the_exception_a_caller_expects(code, status, kind, builtin, sentence):
    error = raised(client_error(code, status))
    assert type(error) is kind
    assert isinstance(error, builtin)
    assert re.search(sentence, str(error))


def test_another_region_is_named():
    error = raised(client_error("301", 301, **{"x-amz-bucket-region": "eu-west-1"}))
    assert "in another region, eu-west-1 (301); set AWS_DEFAULT_REGION" in str(error)


def test_an_answer_nobody_foresaw_is_quoted():
    assert "the store answered 400 Odd: what now" in str(
        raised(client_error("Odd", 400, "what\nnow".replace("\n", " ")))
    )


@pytest.mark.parametrize(
    ("err", "kind", "sentence"),
    [
        (foreign.NoCredentialsError(), CredentialsMissingError, "no credentials were found; sign in"),
        (
            foreign.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
            CredentialsMissingError,
            "cannot be used (PartialCredentialsError)",
        ),
        (foreign.ProfileNotFound(profile="me"), CredentialsMissingError, "(me) could not be found; check AWS_PROFILE"),
        (foreign.NoRegionError(), S3Error, "set AWS_DEFAULT_REGION"),
        (
            foreign.EndpointConnectionError(endpoint_url=SECRET_URL, error="refused"),
            StoreUnreachableError,
            "cannot connect to https://store.example:9000 (EndpointConnectionError)",
        ),
        (
            foreign.ConnectTimeoutError(endpoint_url=SECRET_URL, error="slow"),
            StoreTimeoutError,
            "https://store.example:9000 did not answer in time",
        ),
        (foreign.ReadTimeoutError(endpoint_url=SECRET_URL, error="slow"), StoreTimeoutError, "did not answer in time"),
        (foreign.ConnectionClosedError(endpoint_url=SECRET_URL), StoreUnreachableError, "closed the connection"),
        (foreign.SSLError(endpoint_url=SECRET_URL, error="bad certificate"), S3Error, "check its certificate"),
        (foreign.ResponseStreamingError(error="cut"), StoreUnreachableError, "broke in the middle"),
        (foreign.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnreachableError, "broke in the middle"),
        (foreign.FlexibleChecksumError(error_msg="Expected a, found b"), DigestMismatchError, "Expected a, found b"),
        (foreign.ParamValidationError(report="Invalid bucket name"), S3Error, "takes no such bucket name or key"),
        (foreign.InvalidConfigError(error_msg="bad file"), S3Error, "bad file; check the AWS configuration"),
        (foreign.HTTPClientError(error="odd"), StoreUnreachableError, "failed"),
        (ResponseParserError("b'<html>'"), S3Error, "what answered speaks no S3; check the endpoint"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_botocore_raises_becomes_the_exception_a_caller_expects(err, kind, sentence):
    error = raised(err)
    assert type(error) is kind
    assert sentence in str(error)


def every_foreign_error() -> list[Exception]:
    errors = [client_error(code, 400) for code in errors_by_code()]
    for kind in vars(foreign).values():
        if isinstance(kind, type) and issubclass(kind, foreign.BotoCoreError):
            err = kind.__new__(kind)
            Exception.__init__(err, "no\x1b[2Jthing\n" * 3)
            err.kwargs = {"endpoint_url": SECRET_URL}
            errors.append(err)
    return errors


def errors_by_code() -> list[str]:
    return [*errors._BY_CODE, "Unknown"]


@pytest.mark.parametrize("err", every_foreign_error(), ids=lambda err: f"{type(err).__name__}-{err}"[:60])
def test_every_error_is_one_line_without_secrets_and_survives_pickling(err):
    error = raised(err)
    text = str(error)
    assert text.isprintable()
    assert "user" not in text.replace("the user", "")
    assert "{" not in text
    if not text.endswith("answered 400 Unknown: hunter2"):  # a server's own words about what nobody foresaw
        assert "hunter2" not in text
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), text)


def test_a_key_cannot_break_the_line():
    uri = S3Uri("bucket", "a\nb\x1b[2J")
    with pytest.raises(S3Error, match=r"^s3://bucket/a\\nb\\x1b\[2J: wanted to read it"), translated(uri, "read it"):
        raise client_error("403", 403)


def test_errors_of_others_pass_through_unchanged():
    with pytest.raises(ZeroDivisionError, match="mine"), translated(URI, "read it"):
        raise ZeroDivisionError("mine")
