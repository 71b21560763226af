"""`csci_utils.s3.backend` by boto3: one client a process, its errors in this package's words."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from csci_utils.s3.backend import Begun, DamagedError, ObjectInfo, Opened, Page, Stored, Upload
from csci_utils.s3.body import FileSlice
from csci_utils.s3.client import client
from csci_utils.s3.digests import etag_in, sha256_in
from csci_utils.s3.errors import StoreUnreachableError, said, translate, translated
from csci_utils.s3.redact import reason_of, strip_secrets
from csci_utils.s3.uri import S3Uri

_CHECKSUM = "Checksum"
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_OF_EACH_REQUEST = ("ExpectedBucketOwner", "RequestPayer")
_OF_EACH_PART = (*_OF_EACH_REQUEST, "SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")


class Boto3Backend:
    """The requests of `csci_utils.s3.backend.Backend` by this process's client."""

    def endpoint(self) -> str:
        """Return scheme, host and port of the client's endpoint."""
        parts = urlsplit(client().meta.endpoint_url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def head(self, uri: S3Uri, *, part: int | None = None, checksums: bool = False) -> Stored:
        """Send a HeadObject, and where that is refused a GetObject, whose answer says why."""
        asked: dict[str, Any] = {} if part is None else {"PartNumber": part}
        if checksums and client().meta.config.response_checksum_validation == "when_supported":
            asked["ChecksumMode"] = "ENABLED"
        with translated(uri, "look it up"):
            try:
                answer = client().head_object(Bucket=uri.bucket, Key=uri.key, **asked)
            except Exception as err:
                told = _asked_why(uri, err)
                if told is None:
                    raise
                raise told from None
        return _stored(uri, answer, size_bytes=int(answer.get("ContentLength", 0)))

    def head_bucket(self, bucket: str) -> None:
        """Send a HeadBucket."""
        with translated(f"s3://{bucket}/", "look it up"):
            client().head_bucket(Bucket=bucket)

    def open(self, uri: S3Uri, *, span: tuple[int, int] | None = None, if_match: str | None = None) -> Opened:
        """Send a GetObject."""
        asked: dict[str, Any] = {}  # boto3 adds that it wants checksums, unless the user or `client` say otherwise
        action = "read it"
        if span is not None:
            asked = {"Range": f"bytes={span[0]}-{span[1] - 1}"}
            action = f"read its bytes {span[0]} to {span[1] - 1}"
        if if_match is not None:
            asked["IfMatch"] = f'"{if_match}"'
        with translated(uri, action):
            answer = client().get_object(Bucket=uri.bucket, Key=uri.key, **asked)
        return _opened(uri, answer, action=action)

    def put(
        self,
        uri: S3Uri,
        data: bytes | FileSlice,
        *,
        md5: bytes,
        arguments: Mapping[str, Any],
        only_if_absent: bool = False,
    ) -> Stored:
        """Send a PutObject with a Content-MD5; bytes without asking first ("Expect: 100-continue"), a request's time.

        botocore (1.44.5) makes a file of bytes, and asks before it sends any file; a bytearray it sends as it is.
        """
        body = bytearray(data) if isinstance(data, bytes) else _from_its_beginning(data)
        asked = {**arguments, **_if_absent(only_if_absent), "ContentMD5": base64.b64encode(md5).decode()}
        with translated(uri, "write it"):
            answer = client().put_object(Bucket=uri.bucket, Key=uri.key, Body=body, **asked)
        _refuse_strangers(uri, answer)
        return _stored(uri, answer, size_bytes=len(data))

    def create_upload(self, uri: S3Uri, *, arguments: Mapping[str, Any]) -> Upload:
        """Send a CreateMultipartUpload."""
        with translated(uri, "write it"):
            answer = client().create_multipart_upload(Bucket=uri.bucket, Key=uri.key, **arguments)
        num_retries = answer.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        return Upload(uri=uri, upload_id=answer["UploadId"], arguments=arguments, num_retries=num_retries)

    def put_part(self, upload: Upload, number: int, data: FileSlice, *, md5: bytes) -> Stored:
        """Send an UploadPart with a Content-MD5."""
        asked = {**_names(upload, _OF_EACH_PART), "ContentMD5": base64.b64encode(md5).decode()}
        with translated(upload.uri, f"write part {number} of it"):
            answer = client().upload_part(PartNumber=number, Body=_from_its_beginning(data), **asked)
        _refuse_strangers(upload.uri, answer)
        return _stored(upload.uri, answer, size_bytes=len(data))

    def complete_upload(self, upload: Upload, etags: Sequence[str], *, only_if_absent: bool = False) -> Stored:
        """Send a CompleteMultipartUpload."""
        parts = [{"PartNumber": number, "ETag": f'"{etag}"'} for number, etag in enumerate(etags, start=1)]
        asked = {**_names(upload, _OF_EACH_PART), **_if_absent(only_if_absent), "MultipartUpload": {"Parts": parts}}
        with translated(upload.uri, "complete it"):
            answer = client().complete_multipart_upload(**asked)
        return _stored(upload.uri, answer, size_bytes=0)

    def abort_upload(self, upload: Upload) -> None:
        """Send an AbortMultipartUpload."""
        with translated(upload.uri, "give up its multipart upload"):
            client().abort_multipart_upload(**_names(upload, _OF_EACH_REQUEST))

    def list_uploads(self, uri: S3Uri) -> list[Begun]:
        """Send a ListMultipartUploads, or as many as the answer has pages."""
        begun = []
        with translated(uri, "list its multipart uploads"):
            pages = client().get_paginator("list_multipart_uploads").paginate(Bucket=uri.bucket, Prefix=uri.key)
            for page in pages:
                for each in page.get("Uploads", ()):
                    if each["Key"] == uri.key:
                        upload = Upload(uri=uri, upload_id=each["UploadId"])
                        begun.append(Begun(upload, each["Initiated"].timestamp()))
        return begun

    def has_parts(self, upload: Upload) -> bool:
        """Send a ListParts that asks for one."""
        with translated(upload.uri, "list the parts of its multipart upload"):
            answer = client().list_parts(MaxParts=1, **_names(upload, _OF_EACH_REQUEST))
        return bool(answer.get("Parts"))

    def delete(self, uri: S3Uri) -> None:
        """Send a DeleteObject."""
        with translated(uri, "remove it"):
            client().delete_object(Bucket=uri.bucket, Key=uri.key)

    def list_page(
        self, prefix: S3Uri, *, token: str | None = None, after: S3Uri | None = None, max_keys: int | None = None
    ) -> Page:
        """Send a ListObjectsV2."""
        asked: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
        if max_keys is not None:
            asked["MaxKeys"] = max_keys
        # What lies before the prefix skips nothing, and old MinIOs (before September 2023) refuse it or find nothing.
        if after is not None and after.key >= prefix.key:
            asked["StartAfter"] = after.key
        with translated(prefix, "list what is there"):
            answer = client().list_objects_v2(Bucket=prefix.bucket, Prefix=prefix.key, **asked)
        infos = [
            ObjectInfo(S3Uri(prefix.bucket, each["Key"]), etag_in(each), int(each["Size"]), None)
            for each in answer.get("Contents", ())
        ]
        return Page(infos, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)


class _Body:
    """The body of a GetObject, whose failures are `DamagedError`."""

    def __init__(self, body: Any, *, uri: S3Uri, action: str) -> None:
        self._body = body
        self._uri = uri
        self._action = action

    @property
    def checked_by(self) -> str | None:
        """Name the checksum that botocore compares at the end: it wraps the body in a class of its own when it does."""
        checksum = getattr(self._body, "checksum", None)
        if checksum is None:
            return None
        return type(checksum).__name__.lower().removeprefix("crt").removesuffix("checksum")

    def read(self, num_bytes: int) -> bytes:
        before = sys.exception()
        try:
            return bytes(self._body.read(num_bytes))
        except Exception as err:
            error = translate(err, uri=self._uri, action=self._action)
            if error is None and type(err).__module__.startswith("urllib3"):  # TLS errors: botocore lets them through
                what = f"the connection broke ({reason_of(err)})"
                error = said(StoreUnreachableError, uri=self._uri, action=self._action, what=what)
            if error is None:
                raise
            error.__cause__ = err if strip_secrets(err, before=before) else None
            raise DamagedError(error) from error.__cause__

    def interrupt(self) -> None:
        self._body._raw_stream.shutdown()  # urllib3 has it since 2.3; errors are the caller's to pass over

    def close(self) -> None:
        self._body.close()


def _refuse_strangers(uri: S3Uri, answer: Mapping[str, Any]) -> None:
    """Raise where something that is no store took bytes: a proxy's page of its own, say."""
    if not etag_in(answer):
        what = "what answered gave no ETag, as every S3 does; check the endpoint's address and proxies"
        raise said(StoreUnreachableError, uri=uri, action="write it", what=what)


def _from_its_beginning(data: FileSlice) -> FileSlice:
    data.seek(0)  # botocore sends a file from where it stands, and an earlier try has moved that
    return data


def _asked_why(uri: S3Uri, err: Exception) -> Exception | None:
    """Ask for the first byte where a HEAD was refused: an answer to a HEAD has no body, which would say why.

    Returns:
        The same refusal with its reason, None where there is no such.
    """
    if _status(err) not in (400, 403):
        return None
    try:
        client().get_object(Bucket=uri.bucket, Key=uri.key, Range="bytes=0-0")["Body"].close()
    except Exception as told:
        return told if _status(told) == _status(err) else None
    return None


def _status(err: Exception) -> int | None:
    response = getattr(err, "response", None)
    return response["ResponseMetadata"].get("HTTPStatusCode") if isinstance(response, dict) else None


def _names(upload: Upload, also: tuple[str, ...]) -> dict[str, Any]:
    also_given = {name: upload.arguments[name] for name in also if name in upload.arguments}
    return {"Bucket": upload.uri.bucket, "Key": upload.uri.key, "UploadId": upload.upload_id, **also_given}


def _if_absent(only_if_absent: bool) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if only_if_absent else {}


def _opened(uri: S3Uri, answer: Mapping[str, Any], *, action: str) -> Opened:
    length, found = answer.get("ContentLength"), _RANGE.fullmatch(str(answer.get("ContentRange", "")))
    stored = _stored(uri, answer, size_bytes=int(found[3]) if found else int(length or 0))
    return Opened(
        stored=replace(stored, checksums={}) if found else stored,  # those of a range would be the range's
        body=_Body(answer["Body"], uri=uri, action=action),
        start_byte=int(found[1]) if found else 0,
        length_bytes=length,
        ranged=found is not None,
        action=action,
    )


def _stored(uri: S3Uri, answer: Mapping[str, Any], *, size_bytes: int) -> Stored:
    encrypted = answer.get("ServerSideEncryption", "AES256") != "AES256" or answer.get("SSECustomerAlgorithm")
    checksums = {
        name.removeprefix(_CHECKSUM).lower(): str(value)
        for name, value in answer.items()
        if name.startswith(_CHECKSUM) and name != "ChecksumType" and "-" not in str(value)
    }
    metadata = {name.lower(): str(value) for name, value in answer.get("Metadata", {}).items()}
    return Stored(
        info=ObjectInfo(uri, etag_in(answer), size_bytes, sha256_in(metadata)),
        etag_is_digest=not encrypted,
        checksums={} if answer.get("ChecksumType") == "COMPOSITE" else checksums,
        num_parts=answer.get("PartsCount"),
        metadata=metadata,
    )
