"""The harness itself: that a page's complaints are heard, and that the service answers a browser."""

import asyncio

from playwright.async_api import Page

from tests.browser.conftest import NewPage
from tests.browser.console import Console
from tests.comfyui.backends import free_port
from tests.running import Running


async def test_every_kind_of_complaint_is_heard(page: Page, console: Console, served: Running) -> None:
    await page.goto(f"{served.url}/healthz")
    await page.evaluate("console.error('a line'); setTimeout(() => { throw new Error('a throw') })")
    await page.evaluate("fetch('/nowhere')")
    await page.evaluate("url => fetch(url).catch(() => 0)", f"http://127.0.0.1:{free_port()}/")
    for complaint in ("console: a line", "uncaught: a throw", "404: GET", "ERR_CONNECTION_REFUSED"):
        async with asyncio.timeout(30):
            while not any(complaint in heard for heard in console.unexpected):
                await asyncio.sleep(0.05)
        console.expect(complaint)
    console.expect("CORS")
    assert not console.unexpected


async def test_pages_know_nothing_of_one_another(newcomer: NewPage, served: Running) -> None:
    first, second = await newcomer(), await newcomer()
    for page in (first, second):
        await page.goto(f"{served.url}/healthz")
    await first.evaluate("localStorage.setItem('key', 'value')")
    assert await second.evaluate("localStorage.getItem('key')") is None
