"""Debian's Chromium, driven by Playwright: nothing is downloaded, and nothing is asked of anybody but this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

NAMES = ("chromium", "google-chrome")
LACKING = "no chromium on PATH; install it: apt-get install chromium"
DESK, PHONE = (1280, 800), (360, 740)
expect.set_options(timeout=30_000)  # ms: a busy machine is slow


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; without it tests are skipped, and fail in CI."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(LACKING)
    as_root = ["--no-sandbox"] if os.geteuid() == 0 else []  # whom Chromium gives none
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=as_root)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page, and what went wrong on it.

    Attributes:
        page: Playwright's.
        faults: Errors of scripts, of the policy and of the console, and dialogs that a script opened.
        asked: Addresses that were asked for.
    """

    page: Page
    faults: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, address: str, *, size: tuple[int, int] = DESK, **options: Any) -> Iterator[Opened]:
    """Open an address in a window of its own; at the end nothing may have gone wrong."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    try:
        page = context.new_page()
        seen = Opened(page)
        page.on("pageerror", lambda error: seen.faults.append(str(error)))
        page.on("console", lambda message: seen.faults.append(message.text))
        page.on("dialog", lambda dialog: (seen.faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.on("requestfailed", lambda request: seen.faults.extend(_failure(request)))
        page.goto(address)
        yield seen
        assert seen.faults == []
    finally:
        context.close()


def _failure(request: Request) -> list[str]:
    """What failed; a picture that another has replaced is not waited for, and that is no fault."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"failed {request.url}: {request.failure}"]


def stopwatch(page: Page) -> Callable[[], float]:
    """Begin to measure what a page does; what is returned tells how long its main thread had a processor, seconds."""
    session = page.context.new_cdp_session(page)  # it counts from here on, across addresses
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy_s() -> float:
        found = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return float(found["TaskDuration"])

    return busy_s


def until(page: Page, condition: str) -> None:
    """Wait until an expression is true; Playwright's own way would have the page evaluate texts, which it forbids."""
    for _ in range(600):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"waited in vain for {condition}")
