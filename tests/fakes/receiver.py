"""A caller's own server that takes webhooks, and does with them as it is told."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Word:
    """One post that came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Listens while its `async with` lasts. `answer` makes the response to the n-th post (from 0), 204 if None."""

    def __init__(self, answer: Callable[[int], web.Response] | None = None, port: int = 0) -> None:
        self.words: list[Word] = []
        self._answer = answer or (lambda _: web.Response(status=204))
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/hook?token=secret-of-the-caller"

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def heard(self, count: int) -> list[Word]:
        """As soon as so many have come."""
        async with asyncio.timeout(40):
            while len(self.words) < count:
                await asyncio.sleep(0.02)
        return self.words

    async def _take(self, request: web.Request) -> web.Response:
        self.words.append(Word(dict(request.headers), await request.read()))
        return self._answer(len(self.words) - 1)
