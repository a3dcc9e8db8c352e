"""What waits when the service is stopped: told so, with the address to come back to, rather than cut off."""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import TypeVar

from aiohttp import web

T = TypeVar("T")

STOPPING = web.AppKey("stopping", asyncio.Event)
"""Set when the service begins to stop, and nothing more will be heard of its jobs before the next start."""


async def announce(app: web.Application) -> None:
    """For `on_shutdown`, which comes before the wait for handlers."""
    app[STOPPING].set()


async def unless_stopping(app: web.Application, wait: Awaitable[T]) -> T | None:
    """What `wait` gives, or None when the service is stopped before it does; `wait` is cancelled then."""
    waiting, stopping = asyncio.ensure_future(wait), asyncio.ensure_future(app[STOPPING].wait())
    try:
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        stopping.cancel()
        if not waiting.done():
            waiting.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await waiting
