"""What Luigi's web page shows of a running task, sent by a thread of its own: who says something never waits."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from csci_utils.s3.redact import without_secrets

Send = Callable[[str, int], object]

logger = logging.getLogger("csci_utils.luigi.page")

EVERY_S = 1.0
_LAST_S = 2.0


class Page:
    """Sends what was said last, and nothing in between; within its block, and once more at its end.

    A scheduler that fails is told of once, and tried again with the next words: no work ends for what is shown of it.
    One that hangs costs the end of the block a short wait, and the thread ends by itself when it is answered.

    Args:
        send: Called with a message and a percentage; may take long, may raise.
        every_s: So many seconds lie between two calls, at least.
        last_s: How many seconds the last one may take.
    """

    def __init__(self, send: Send, *, every_s: float = EVERY_S, last_s: float = _LAST_S) -> None:
        self._send, self._every_s, self._last_s = send, every_s, last_s
        self._latest: deque[tuple[str, int]] = deque(maxlen=1)  # one step to put into, and one to take from
        self._has_news, self._is_ending = threading.Event(), threading.Event()
        self._has_failed = False
        self._sender = threading.Thread(target=self._send_on, name="luigi-page", daemon=True)

    def __enter__(self) -> Page:
        """Begin to send."""
        self._sender.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send the last, and end the thread, if the scheduler lets it."""
        self._is_ending.set()
        self._has_news.set()
        self._sender.join(self._last_s)

    def say(self, message: str, *, percent: int) -> None:
        """Have this shown, unless something newer comes before it is sent."""
        self._latest.append((message, percent))
        self._has_news.set()

    def _send_on(self) -> None:
        is_last = False
        while not is_last:
            self._has_news.wait()
            self._has_news.clear()
            is_last = self._is_ending.is_set()  # looked at first: what was said before the end is sent
            if self._latest:
                self._send_one(*self._latest.pop())
            if not is_last:
                self._is_ending.wait(self._every_s)

    def _send_one(self, message: str, percent: int) -> None:
        try:
            self._send(message, percent)
        except Exception as err:  # of any kind: it is only what is shown
            level = logging.DEBUG if self._has_failed else logging.WARNING
            self._has_failed = True
            logger.log(level, "Luigi's page does not show how far the work is: %s", without_secrets(str(err)))


class ShownTask:
    """Mixes into a task that says what it is doing."""

    set_status_message: Any
    set_progress_percentage: Any
    _page: Page | None = None

    def say(self, message: str, *, percent: int) -> None:
        """Show on Luigi's page what this task is doing, within `shown`."""
        if self._page is not None:
            self._page.say(message, percent=percent)

    @contextmanager
    def shown(self, *others: ShownTask) -> Iterator[None]:
        """Let what this task and others say within the block reach Luigi's page as this task's, while Luigi runs it."""
        show, show_percentage = self.set_status_message, self.set_progress_percentage
        if self._page is not None or show is None or show_percentage is None:
            yield
            return

        def send(message: str, percent: int) -> None:
            show(message)
            show_percentage(percent)

        tasks = (self, *others)
        try:
            with Page(send) as page:
                for task in tasks:
                    task._page = page
                yield
        finally:
            for task in tasks:
                task._page = None
