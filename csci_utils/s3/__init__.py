"""The one border to S3: a client per process, verified transfers, exact keys, errors in built-in exceptions."""

from csci_utils.s3.client import S3Limits, client, forget_client, limits, use_limits
from csci_utils.s3.errors import (
    AccessRefusedError,
    BucketMissingError,
    CredentialsMissingError,
    DigestMismatchError,
    ObjectMissingError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    translated,
)
from csci_utils.s3.transfer import FetchedObject, ObjectInfo, OnBytes, bucket_exists, get, head, missing, put
from csci_utils.s3.uri import S3Uri

__all__ = [
    "AccessRefusedError",
    "BucketMissingError",
    "CredentialsMissingError",
    "DigestMismatchError",
    "FetchedObject",
    "ObjectInfo",
    "ObjectMissingError",
    "OnBytes",
    "S3Error",
    "S3Limits",
    "S3Uri",
    "StoreTimeoutError",
    "StoreUnreachableError",
    "bucket_exists",
    "client",
    "forget_client",
    "get",
    "head",
    "limits",
    "missing",
    "put",
    "translated",
    "use_limits",
]
