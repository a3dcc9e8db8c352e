"""Server-sent events, however the bytes are cut."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import TestServer

from orchestrator.client.events import Event, read_events

STREAM = (
    b': still here\n\nid: 1\nevent: queued\ndata: {"place": 0}\n\n'
    b'id: 2\r\nevent: running\r\ndata: {"node":\r\ndata: "\xc3\xa9"}\r\n\r\n'
    b"event: no data\n\nid: 3\nevent: torn\ndata: {}"
)


async def read(pieces: list[bytes]) -> list[Event]:
    loop = asyncio.get_running_loop()
    content = aiohttp.StreamReader(BaseProtocol(loop), 1 << 16, loop=loop)
    for piece in pieces:
        content.feed_data(piece)
    content.feed_eof()
    return [event async for event in read_events(content)]


async def test_events_are_the_same_however_the_bytes_are_cut() -> None:
    wanted = [Event("1", "queued", {"place": 0}), Event("2", "running", {"node": "é"})]
    assert await read([STREAM]) == wanted
    for size in (1, 2, 7):
        assert await read([STREAM[at : at + size] for at in range(0, len(STREAM), size)]) == wanted


async def test_a_line_longer_than_aiohttps_own_limit_is_read() -> None:
    async def stream(_: web.Request) -> web.Response:
        return web.Response(body=b'data: {"image": "' + b"a" * 3_000_000 + b'"}\n\n')

    app = web.Application()
    app.router.add_get("/", stream)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as answer,
    ):
        (event,) = [event async for event in read_events(answer.content)]
    assert len(event.data["image"]) == 3_000_000


async def test_data_that_is_no_object_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="no JSON object"):
        await read([b"data: 5\n\n"])
    with pytest.raises(ValueError):
        await read([b"data: {\n\n"])
