"""How often a body is tried again, and how long is waited before."""

from __future__ import annotations

import logging
import random

from csci_utils.s3.client import limits
from csci_utils.s3.errors import S3Error, StoreTimeoutError
from csci_utils.s3.threads import check_stopped, pause

logger = logging.getLogger("csci_utils.s3")

_LONGEST_PAUSE_S = 8.0


class Tries:
    """Counts the tries of one body; what botocore repeats itself (5xx, no connection) is not counted here."""

    def __init__(self) -> None:
        self._made = 1
        self._stalls = 0

    def again(self, error: S3Error) -> None:
        """Log a failure and pause before the next try.

        Raises:
            S3Error: it, where there were tries enough.
            StoppedError: the call that this thread works for was given up, which may be why the body broke.
        """
        check_stopped()
        self._stalls += isinstance(error, StoreTimeoutError)
        if self._stalls >= limits().silent_attempts or self._made >= limits().body_attempts:
            raise error
        self._made += 1
        logger.warning("%s; try %d of %d", error, self._made, limits().body_attempts)
        pause(random.uniform(0.5, 1.0) * min(2.0 ** (self._made - 2), _LONGEST_PAUSE_S))
