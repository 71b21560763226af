"""The one border to S3: a client per process, verified transfers, exact keys, errors in built-in exceptions."""

from csci_utils.s3.backend import ObjectInfo, OnBytes, Stored
from csci_utils.s3.client import (
    ADDRESSING_STYLES,
    S3Limits,
    addressing_style,
    client,
    default_journal,
    forget_client,
    limits,
    use_addressing_style,
    use_journal,
    use_limits,
)
from csci_utils.s3.errors import (
    FAULTS_OF_ONE_OBJECT,
    AccessRefusedError,
    BucketMissingError,
    CredentialsMissingError,
    DigestMismatchError,
    KeysRefusedError,
    ObjectChangedError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectUnreadableError,
    S3Error,
    StoreTimeoutError,
    StoreUnreachableError,
    translated,
)
from csci_utils.s3.journal import sweep_uploads
from csci_utils.s3.listing import list_objects
from csci_utils.s3.many import Outcome, each, get_many, put_many
from csci_utils.s3.receive import FetchedObject
from csci_utils.s3.texts import get_record, get_text, put_text
from csci_utils.s3.threads import check_stopped
from csci_utils.s3.transfer import bucket_exists, delete, get, head, look, missing
from csci_utils.s3.upload import put
from csci_utils.s3.uri import S3Uri

__all__ = [
    "FAULTS_OF_ONE_OBJECT",
    "ADDRESSING_STYLES",
    "AccessRefusedError",
    "BucketMissingError",
    "CredentialsMissingError",
    "DigestMismatchError",
    "FetchedObject",
    "KeysRefusedError",
    "ObjectChangedError",
    "ObjectExistsError",
    "ObjectInfo",
    "ObjectMissingError",
    "ObjectUnreadableError",
    "OnBytes",
    "Outcome",
    "S3Error",
    "S3Limits",
    "S3Uri",
    "StoreTimeoutError",
    "StoreUnreachableError",
    "Stored",
    "addressing_style",
    "bucket_exists",
    "check_stopped",
    "client",
    "default_journal",
    "delete",
    "each",
    "forget_client",
    "get",
    "get_many",
    "get_record",
    "get_text",
    "head",
    "limits",
    "list_objects",
    "look",
    "missing",
    "put",
    "put_many",
    "put_text",
    "sweep_uploads",
    "translated",
    "use_addressing_style",
    "use_journal",
    "use_limits",
]
