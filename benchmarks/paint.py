"""How soon the page is there: first contentful paint and the form's end in Chromium on loopback, and bytes in all.

Each load is a new browser context, so nothing is cached. The floor is what the browser itself takes: the first paint of
one line of text, `/healthz`, in the same run.
"""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright

from benchmarks.report import figure
from benchmarks.service import serving

_LOADS = 15
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
_BYTES = """performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
    .filter((one) => one.name.includes('/page/') || one.entryType === 'navigation')
    .reduce((sum, one) => [sum[0] + one.decodedBodySize, sum[1] + one.transferSize], [0, 0])"""


async def _load(browser: Browser, url: str) -> tuple[float, float, list[int]]:
    """Milliseconds to the first paint and to a form that can be sent; bytes as they are and as they were sent."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = await context.new_page()
        await page.goto(url)
        await page.wait_for_selector("#run:enabled")
        usable = float(await page.evaluate("performance.now()"))
        await page.wait_for_timeout(200)  # a paint is told of a moment later
        sizes: Any = await page.evaluate(_BYTES)
        return float(await page.evaluate(_PAINT)), usable, [int(size) for size in sizes]
    finally:
        await context.close()


async def _floor(browser: Browser, url: str) -> float:
    """Milliseconds to the first paint of one line of text."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    try:
        page = await context.new_page()
        await page.goto(f"{url}/healthz")
        await page.wait_for_timeout(200)
        return float(await page.evaluate(_PAINT))
    finally:
        await context.close()


async def main() -> None:
    path = next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), "chromium", "google-chrome"))), None)
    if path is None:
        print("page: not measured without a Chromium; set CHROMIUM to a browser's path", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder)) as session, async_playwright() as playwright:
            async with session.get("/healthz") as answer:
                url = str(answer.url.origin())
            arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
            browser = await playwright.chromium.launch(executable_path=path, args=arguments)
            await _load(browser, url)
            loads, floors = [], []
            for _ in range(_LOADS):
                loads.append(await _load(browser, url))
                floors.append(await _floor(browser, url))
            await browser.close()
    for name, times in (("first paint", [one for one, _, _ in loads]), ("form usable", [one for _, one, _ in loads])):
        figure(f"page: {name}, median", statistics.median(times), "ms", _LOADS)
        figure(f"page: {name}, worst", max(times), "ms", _LOADS)
    figure("page: first paint of one line of text, median", statistics.median(floors), "ms", _LOADS)
    figure("page: bytes", loads[0][2][0] / 1000, "kB", 1)
    figure("page: bytes sent, compressed", loads[0][2][1] / 1000, "kB", 1)


if __name__ == "__main__":
    asyncio.run(main())
