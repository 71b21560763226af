"""The one border to S3: a client per process, verified transfers, exact keys, errors in built-in exceptions."""

from csci_utils.s3.client import (
    ADDRESSING_STYLES,
    S3Limits,
    addressing_style,
    client,
    forget_client,
    limits,
    use_addressing_style,
    use_limits,
)
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
    "ADDRESSING_STYLES",
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
    "addressing_style",
    "bucket_exists",
    "client",
    "forget_client",
    "get",
    "head",
    "limits",
    "missing",
    "put",
    "translated",
    "use_addressing_style",
    "use_limits",
]
