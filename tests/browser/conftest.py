"""What browser tests stand on: one service on the embedded backend, one Chromium, a fresh page for each test.

    async def test_the_page_lists_the_widgets(page: Page, served: Running) -> None:
        await page.goto(served.url)
        await expect(page.get_by_role("heading")).to_have_text("…")

`page` fails the test at its end if anything complained in the console; `console.expect(pattern)` allows for what the
test is about. A failed test leaves `page.png` in its `tmp_path`. `newcomer` makes further pages, which share nothing.
All tests here run on one event loop, and are marked `browser`: `pytest -m browser tests/browser`.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.browser.console import Console
from tests.running import Running, running_service

NewPage = Callable[..., Awaitable[Page]]
"""Opens a page in a context of its own; keywords are Playwright's for `browser.new_context`."""

_WINDOW = {"width": 1280, "height": 800}
_WAIT_MS = 30_000
_REPORT: pytest.StashKey[pytest.TestReport] = pytest.StashKey()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if asyncio.iscoroutinefunction(getattr(item, "obj", None)):
                item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report


def _chromium() -> str:
    for name in filter(None, (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")):
        if (found := shutil.which(name)) is not None:
            return found
    pytest.skip("no Chromium: `make test-browser` installs Debian's, or set CHROMIUM to a browser's path")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's path."""
    return _chromium()


@pytest.fixture(scope="session")
def served(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service that is ready for a job on its embedded backend, one for the whole run."""
    with running_service(tmp_path_factory.mktemp("served")) as service:
        yield service


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Chromium without a window, one for the whole run."""
    async with async_playwright() as playwright:
        # Its own sandbox needs what containers do not give, and a container's /dev/shm is small.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        running = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield running
        await running.close()


@pytest.fixture
def console() -> Console:
    """What the test's pages complain of."""
    return Console()


@pytest_asyncio.fixture(loop_scope="session")
async def newcomer(
    browser: Browser, console: Console, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[NewPage]:
    """Opens pages that know nothing of one another; closes them, and fails the test for what they complained of."""
    pages: list[Page] = []
    async with AsyncExitStack() as contexts:

        async def open_page(**options: Any) -> Page:
            context = await browser.new_context(**{"viewport": _WINDOW, "locale": "en-US"} | options)
            contexts.push_async_callback(context.close)
            context.set_default_timeout(_WAIT_MS)
            page = await context.new_page()
            console.watch(page)
            pages.append(page)
            return page

        yield open_page
        report = request.node.stash.get(_REPORT, None)
        if report is not None and report.failed:
            for number, page in enumerate(pages):
                await page.screenshot(path=tmp_path / f"page{number or ''}.png")
    assert not console.unexpected, "the page complained:\n" + "\n".join(console.unexpected)


@pytest_asyncio.fixture(loop_scope="session")
async def page(newcomer: NewPage) -> Page:
    """A fresh page, 1280 by 800."""
    return await newcomer()
