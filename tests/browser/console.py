"""What a page complains of while a test uses it: console errors, uncaught exceptions, answers of 400 and more."""

import re
from collections.abc import Iterable

from playwright.async_api import ConsoleMessage, Page, Request, Response

_ECHO = re.compile(r"Failed to load resource: ")
"""Chromium's own line for an answer that is told with its address already."""


class Console:
    """The complaints of one page. `expect(pattern)` names one that the test is about; all others fail it."""

    def __init__(self) -> None:
        self._complaints: list[str] = []
        self._expected: list[re.Pattern[str]] = []

    def watch(self, page: Page) -> None:
        """Listens to a page from now on."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._complaints.append(f"uncaught: {error}"))
        page.on("response", self._look)
        page.on("requestfailed", self._miss)

    def expect(self, pattern: str) -> None:
        """Complaints in which this regular expression is found are part of the test."""
        self._expected.append(re.compile(pattern))

    @property
    def unexpected(self) -> tuple[str, ...]:
        """What was complained of and not expected, in order."""
        return tuple(_without(self._complaints, self._expected))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _ECHO.match(message.text):
            self._complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _look(self, response: Response) -> None:
        if response.status >= 400:
            self._complaints.append(f"{response.status}: {response.request.method} {response.url}")

    def _miss(self, request: Request) -> None:
        # A page that goes on to another address drops what it was loading; that is no fault.
        if request.failure and "ERR_ABORTED" not in request.failure:
            self._complaints.append(f"{request.failure}: {request.method} {request.url}")


def _without(complaints: Iterable[str], expected: list[re.Pattern[str]]) -> Iterable[str]:
    return (line for line in complaints if not any(pattern.search(line) for pattern in expected))
