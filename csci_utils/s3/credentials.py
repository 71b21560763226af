"""What goes wrong while boto3 finds, exchanges or renews credentials: many exceptions, not all of them its own.

The programs and files that give credentials are the user's, and what those say may hold a secret: none of their words
is kept.
"""

from __future__ import annotations

import logging
import traceback

_FINDS_THEM = "botocore.credentials"
_NOT_RENEWED = "Refreshing temporary credentials failed"
_STILL_EXPIRED = "Credentials were refreshed, but"

EXPIRED = (
    "the session has expired, and what renews it gave none that lasts; sign in again, or check this machine's clock"
)
NOT_EXCHANGED = (
    "no session could be had for the AWS profile ({code}); check its role_arn, source_profile and their keys"
)
NO_MFA_CODE = "the AWS profile's role wants an MFA code, and nobody is there to type it; use the keys of a session"
PROCESS_FAILED = "the AWS profile's credential_process failed, or left something out; run it by hand to see why"
UNREADABLE = "what the AWS profile names to give credentials (as its credential_process) gives none that can be read"


def of_credentials(err: BaseException) -> bool:
    """Tell whether an exception came up while credentials were found, exchanged or renewed."""
    return any(frame.f_globals.get("__name__") == _FINDS_THEM for frame, _ in traceback.walk_tb(err.__traceback__))


def what_failed(err: BaseException) -> str | None:
    """Say what an exception `of_credentials` means; None for those whose class says it."""
    if isinstance(getattr(err, "response", None), dict):  # of the service that gives a role's credentials
        return NOT_EXCHANGED
    if type(err).__name__ == "CredentialRetrievalError":
        return PROCESS_FAILED if getattr(err, "kwargs", {}).get("provider") == "custom-process" else None
    if type(err).__module__.startswith("botocore"):
        return None
    if isinstance(err, OSError):
        named = str(err.filename).replace("{", "{{").replace("}", "}}")
        return (
            f"{named}, which is to give the credentials: {err.strerror}; check the AWS profile or the AWS_* variables"
        )
    if isinstance(err, RuntimeError):
        return EXPIRED
    if isinstance(err, EOFError):
        return NO_MFA_CODE
    return f"{UNREADABLE}; run it by hand" if isinstance(err, ValueError | TypeError | AttributeError) else None


class _RenewalFilter(logging.Filter):
    """Makes one line of a renewal that failed: botocore logs it with a traceback, and with its program's own words."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a record, and drop it where an error says the same."""
        if record.msg.startswith(_STILL_EXPIRED):
            return False
        if not record.msg.startswith(_NOT_RENEWED):
            return True
        why = type(record.exc_info[1]).__name__ if isinstance(record.exc_info, tuple) else "unknown"
        needed = record.args == ("mandatory",)
        record.msg = "S3: the credentials end soon and could not be renewed (%s); going on with those at hand"
        record.args, record.exc_info, record.exc_text = (why,), None, None
        return not needed


def shorten_renewal_log() -> None:
    """Keep tracebacks and the words of other programs out of the log of renewals, from now on."""
    logger = logging.getLogger(_FINDS_THEM)
    if not any(isinstance(each, _RenewalFilter) for each in logger.filters):
        logger.addFilter(_RenewalFilter())
